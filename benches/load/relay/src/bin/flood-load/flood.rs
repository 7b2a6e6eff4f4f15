//! Strangers: many sources, no password, no manners.

use crate::Args;
use net::batch::{monotonic_nanos, raise_descriptor_limit, sleep_until};
use sip::digest::{Account, Challenge};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use words::{Chance, Seed};

/// What they send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What is no SIP: noise, other protocols, messages that are torn or lie.
    Garbage,
    /// REGISTER of known and unknown users, without credentials and with wrong ones.
    Register,
    /// INVITE without credentials.
    Invite,
    /// OPTIONS.
    Options,
}

struct Source {
    socket: UdpSocket,
    address: SocketAddr,
    /// The last challenge, to answer it wrongly.
    challenge: Option<String>,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    sent_bytes: u64,
    heard: u64,
    heard_bytes: u64,
}

pub(crate) fn run(kind: Kind, args: &Args) {
    raise_descriptor_limit();
    let mut sources: Vec<Source> = (0..args.sources).map(Source::new).collect();
    let mut chance = Chance::new(Seed::from_number(args.rate));
    let noise = noises(&mut chance);
    let mut counts = Counts::default();
    let start = monotonic_nanos();
    let end = start + args.secs * 1_000 * TICK;
    let (mut n, mut tick) = (0u64, start);
    while monotonic_nanos() < end {
        let due = (monotonic_nanos() - start) * args.rate / (1_000 * TICK);
        // What is late is made up for in parts, and what comes back is read in between.
        let due = due.min(n + BURST);
        while n < due {
            let source = (n as usize) % args.sources;
            if kind == Kind::Garbage {
                let piece = &noise[(n as usize * 7) % noise.len()];
                sources[source].send(piece, args.to, &mut counts);
            } else {
                let text = request(kind, n, &sources[source], args);
                sources[source].send(text.as_bytes(), args.to, &mut counts);
            }
            n += 1;
        }
        for near in 0..DRAINED {
            sources[(n as usize + near) % args.sources].drain(&mut counts);
        }
        tick += TICK;
        let now = monotonic_nanos();
        if tick > now { sleep_until(tick) } else { tick = now }
    }
    sleep_until(end + 200 * TICK);
    for source in &mut sources {
        source.drain(&mut counts);
    }
    println!("{} {} {} {}", counts.sent, counts.sent_bytes, counts.heard, counts.heard_bytes);
}

impl Source {
    fn new(n: usize) -> Self {
        let address = Ipv4Addr::new(127, 7 + (n / 40_000) as u8, (n / 200 % 200) as u8, 1 + (n % 200) as u8);
        let socket = UdpSocket::bind((address, 0)).expect("loopback has all these addresses");
        socket.set_nonblocking(true).expect("a socket need not wait");
        let address = socket.local_addr().expect("a bound socket has an address");
        Source { socket, address, challenge: None }
    }

    fn send(&self, bytes: &[u8], to: SocketAddr, counts: &mut Counts) {
        // What the kernel does not take was not sent.
        if self.socket.send_to(bytes, to).is_ok() {
            counts.sent += 1;
            counts.sent_bytes += bytes.len() as u64;
        }
    }

    fn drain(&mut self, counts: &mut Counts) {
        let mut buffer = [0; 4_096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            counts.heard += 1;
            counts.heard_bytes += length as u64;
            let text = String::from_utf8_lossy(&buffer[..length]);
            let asked = text.lines().find_map(|line| line.strip_prefix("WWW-Authenticate: "));
            if let Some(asked) = asked {
                self.challenge = Some(asked.to_owned());
            }
        }
    }
}

fn request(kind: Kind, n: u64, source: &Source, args: &Args) -> String {
    let (method, uri) = match kind {
        Kind::Garbage => unreachable!("noise is made beforehand"),
        Kind::Register => ("REGISTER", format!("sip:{}", args.domain)),
        Kind::Invite => ("INVITE", format!("sip:101@{}", args.domain)),
        Kind::Options => ("OPTIONS", format!("sip:{}", args.to)),
    };
    // Every other name is one that there is.
    let known = if n.is_multiple_of(2) { args.users.get(n as usize / 2 % args.users.len().max(1)) } else { None };
    let name = known.map_or_else(|| format!("stranger{}", n % 5_003), |user| format!("office{user}"));
    let mut more = String::new();
    if kind == Kind::Register
        && n % 4 >= 2
        && let Some(asked) = &source.challenge
    {
        let account = Account { user: &name, password: "guessed" };
        if let Ok(challenge) = Challenge::parse(asked) {
            more = format!("Authorization: {}\r\n", challenge.answer(&account, method, &uri, 1, "c0ffee"));
        }
    }
    let body = if kind == Kind::Invite { DESCRIPTION } else { "" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{n:x};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{name}@{domain}>;tag={n:x}\r\nTo: <sip:{name}@{domain}>\r\nCall-ID: {n:x}@{at}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:{name}@{at}>\r\n{more}{kind}Content-Length: {length}\r\n\r\n{body}",
        at = source.address,
        domain = args.domain,
        length = body.len()
    )
}

/// What is no SIP, of every kind.
fn noises(chance: &mut Chance) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for n in 0..256usize {
        let mut random = vec![0; 8 + chance.below(600) as usize];
        chance.fill(&mut random);
        all.push(match n % 8 {
            0 | 1 => random,
            2 => [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &random].concat(),
            3 => [&b"INVITE sip:"[..], &random].concat(),
            4 => [&[0x80, 0][..], &random].concat(),
            5 => [&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42][..], &random].concat(),
            6 => b"OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nX: torn".to_vec(),
            _ => [&b"SIP/2.0 200 OK\r\nCall-ID: "[..], &random[..8], b"\r\n\r\n"].concat(),
        });
    }
    all
}

const DESCRIPTION: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n";
/// Units: nanoseconds.
const TICK: u64 = 1_000_000;
/// Datagrams between two looks at what comes back.
const BURST: u64 = 512;
/// Sources that are looked at each time.
const DRAINED: usize = 16;
