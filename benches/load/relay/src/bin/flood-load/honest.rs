//! The honest caller: registered users who register again, ask and call, with the patience of RFC 3261.

use crate::talk::{self, Pair};
use crate::{Args, percentile};
use bytes::Bytes;
use net::batch::{monotonic_nanos, raise_descriptor_limit, sleep_until};
use sip::digest::{Account, Challenge};
use sip::{HeaderName, Message};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};

/// A request until it has its final answer.
struct Ask {
    what: What,
    user: usize,
    call_id: String,
    uri: String,
    to: String,
    cseq: u32,
    text: String,
    began: u64,
    next: u64,
    pause: u64,
    proven: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Register,
    Options,
    /// A call to the echo; the number of the held one, if it is to last.
    Invite(Option<u16>),
    Bye,
}

struct Honest<'a> {
    args: &'a Args,
    socket: UdpSocket,
    at: SocketAddr,
    asks: BTreeMap<String, Ask>,
    pairs: BTreeMap<u16, Pair>,
    held: Vec<(usize, String, String, String)>,
    numbers: u64,
    begun: u64,
    answered: u64,
}

pub(crate) fn run(args: &Args) {
    raise_descriptor_limit();
    assert!(!args.users.is_empty(), "--users names who calls");
    let socket = UdpSocket::bind("127.0.0.21:0").expect("loopback has this address");
    socket.set_nonblocking(true).expect("a socket need not wait");
    let at = socket.local_addr().expect("a bound socket has an address");
    let (asks, pairs, held) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut honest = Honest { args, socket, at, asks, pairs, held, numbers: 0, begun: 0, answered: 0 };
    for user in 0..args.users.len() {
        honest.ask(What::Register, user);
    }
    honest.settle();
    for call in 0..args.calls {
        honest.ask(What::Invite(Some(call)), usize::from(call) % args.users.len());
        honest.listen(monotonic_nanos() + 5 * MILLI);
    }
    honest.settle();
    assert_eq!(honest.pairs.len(), usize::from(args.calls), "calls to the echo are answered");
    println!("ready");
    (honest.begun, honest.answered) = (0, 0);
    let pairs: Vec<Pair> = honest.pairs.values().copied().collect();
    let secs = args.secs;
    let talk = std::thread::spawn(move || talk::run(&pairs, secs));
    honest.work();
    let (begun, answered) = (honest.begun, honest.answered);
    let heard = talk.join().expect("the talk ends");
    for (user, call_id, uri, to) in std::mem::take(&mut honest.held) {
        honest.bye(user, call_id, uri, to);
    }
    honest.settle();
    let at = |thousandths| percentile(&heard.ways, thousandths) / 1_000;
    println!("{begun} {answered} {} {} {} {} {}", heard.sent, heard.ways.len(), at(500), at(990), at(995));
}

impl Honest<'_> {
    /// Asks as often as it should for as long as it should, then waits for the last answers.
    fn work(&mut self) {
        let start = monotonic_nanos();
        let end = start + self.args.secs * 1_000 * MILLI;
        let mut n = 0;
        while monotonic_nanos() < end {
            let due = (monotonic_nanos() - start) * self.args.rate / (1_000 * MILLI);
            while n < due {
                let what = [What::Register, What::Options, What::Invite(None)][n as usize % 3];
                self.ask(what, n as usize % self.args.users.len());
                n += 1;
            }
            self.listen(monotonic_nanos() + 2 * MILLI);
        }
        self.settle();
    }

    fn settle(&mut self) {
        let end = monotonic_nanos() + PATIENCE;
        while !self.asks.is_empty() && monotonic_nanos() < end {
            self.listen(monotonic_nanos() + 2 * MILLI);
        }
        self.asks.clear();
    }

    fn ask(&mut self, what: What, user: usize) {
        let domain = &self.args.domain;
        let extension = &self.args.users[user];
        let (uri, to) = match what {
            What::Register => (format!("sip:{domain}"), format!("<sip:{extension}@{domain}>")),
            What::Options => (format!("sip:{domain}"), format!("<sip:{domain}>")),
            What::Invite(_) | What::Bye => (format!("sip:*43@{domain}"), format!("<sip:*43@{domain}>")),
        };
        self.numbers += 1;
        // Those of an earlier run are remembered for half a minute.
        let call_id = format!("honest{}x{}", std::process::id(), self.numbers);
        self.begin(Ask {
            what,
            user,
            call_id,
            uri,
            to,
            cseq: 1,
            text: String::new(),
            began: 0,
            next: 0,
            pause: T1,
            proven: false,
        });
    }

    fn bye(&mut self, user: usize, call_id: String, uri: String, to: String) {
        let (text, what) = (String::new(), What::Bye);
        self.begin(Ask { what, user, call_id, uri, to, cseq: 9, text, began: 0, next: 0, pause: T1, proven: true });
    }

    fn begin(&mut self, mut ask: Ask) {
        self.begun += 1;
        ask.began = monotonic_nanos();
        self.send(&mut ask, "");
        self.asks.insert(ask.call_id.clone(), ask);
    }

    fn send(&self, ask: &mut Ask, more: &str) {
        let method = match ask.what {
            What::Register => "REGISTER",
            What::Options => "OPTIONS",
            What::Invite(_) => "INVITE",
            What::Bye => "BYE",
        };
        let body = match ask.what {
            What::Invite(call) => description(talk::local(call)),
            What::Register | What::Options | What::Bye => String::new(),
        };
        ask.text = self.text(method, ask, more, &body);
        (ask.pause, ask.next) = (T1, monotonic_nanos() + T1);
        let _ = self.socket.send_to(ask.text.as_bytes(), self.args.to);
    }

    fn text(&self, method: &str, ask: &Ask, more: &str, body: &str) -> String {
        let (at, extension, domain) = (self.at, &self.args.users[ask.user], &self.args.domain);
        let Ask { uri, to, call_id, cseq, .. } = ask;
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{call_id}{method}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{extension}@{domain}>;tag={call_id}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:{extension}@{at}>\r\nUser-Agent: honest caller\r\n{more}"
        );
        if !body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
        text
    }

    /// Takes answers and repeats what has none, until then.
    fn listen(&mut self, until: u64) {
        loop {
            let mut buffer = [0; 4_096];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                if let Ok(message) = Message::parse(Bytes::copy_from_slice(&buffer[..length])) {
                    self.take(&message);
                }
            }
            let now = monotonic_nanos();
            self.asks.retain(|_, ask| now < ask.began + PATIENCE);
            for ask in self.asks.values_mut().filter(|ask| ask.next <= now) {
                ask.pause *= 2;
                ask.next = now + ask.pause;
                let _ = self.socket.send_to(ask.text.as_bytes(), self.args.to);
            }
            if now >= until {
                return;
            }
            sleep_until((now + MILLI).min(until));
        }
    }

    fn take(&mut self, message: &Message) {
        let call_id = message.call_id().unwrap_or_default();
        if message.is_request() || message.status() < 200 {
            return;
        }
        let Some(mut ask) = self.asks.remove(call_id) else { return };
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        if number != ask.cseq {
            self.asks.insert(ask.call_id.clone(), ask);
            return;
        }
        if let What::Invite(_) = ask.what {
            self.acknowledge(&ask, message);
        }
        let asked = message.header(HeaderName::WwwAuthenticate).and_then(|text| Challenge::parse(text).ok());
        if let (401, Some(challenge), false) = (message.status(), asked, ask.proven) {
            let extension = &self.args.users[ask.user];
            let (user, password) = (format!("office{extension}"), format!("secret{extension}"));
            let method = message.method_token().to_owned();
            let account = Account { user: &user, password: &password };
            let credentials = challenge.answer(&account, &method, &ask.uri, 1, "c0ffee");
            (ask.cseq, ask.proven) = (2, true);
            self.send(&mut ask, &format!("Authorization: {credentials}\r\n"));
            self.asks.insert(ask.call_id.clone(), ask);
            return;
        }
        if message.status() != 200 {
            return;
        }
        self.answered += 1;
        if let What::Invite(call) = ask.what {
            let contact =
                message.contact().ok().flatten().map_or_else(|| ask.uri.clone(), |found| found.uri.to_owned());
            let to = message.header(HeaderName::To).unwrap_or_default().to_owned();
            match call {
                Some(call) => {
                    let remote = media_of(message.body());
                    self.pairs.extend(remote.map(|remote| (call, Pair { remote, local: talk::local(Some(call)) })));
                    self.held.push((ask.user, ask.call_id, contact, to));
                }
                None => self.bye(ask.user, ask.call_id, contact, to),
            }
        }
    }

    fn acknowledge(&self, ask: &Ask, answer: &Message) {
        let uri = answer.contact().ok().flatten().filter(|_| answer.status() < 300);
        let uri = uri.map_or_else(|| ask.uri.clone(), |found| found.uri.to_owned());
        let to = answer.header(HeaderName::To).unwrap_or_default().to_owned();
        let ack = Ask { uri, to, call_id: ask.call_id.clone(), text: String::new(), ..*ask };
        let mut text = self.text("ACK", &ack, "", "");
        if answer.status() >= 300 {
            text =
                text.replace(&format!("{}ACK{}", ask.call_id, ask.cseq), &format!("{}INVITE{}", ask.call_id, ask.cseq));
        }
        let _ = self.socket.send_to(text.as_bytes(), self.args.to);
    }
}

fn description(at: SocketAddr) -> String {
    let (ip, port) = (at.ip(), at.port());
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=ptime:20\r\n")
}

fn media_of(body: &[u8]) -> Option<SocketAddr> {
    media::sdp::Description::parse(body).ok()?.audio()?.remote.map(|remote| remote.rtp)
}

/// Units: nanoseconds.
const MILLI: u64 = 1_000_000;
const T1: u64 = 500 * MILLI;
/// A request that has no answer until then has failed: after four repetitions. Units: nanoseconds.
const PATIENCE: u64 = 8_000 * MILLI;
