//! A packet on its way through a media worker allocates nothing, from the socket that it comes to until it has left; and a
//! worker without calls sleeps until somebody wants something of it.
#![expect(clippy::unwrap_used, reason = "tests; the lint knows functions marked as tests only")]

use media::clocks::Clocks;
use media::command::{
    Family, Generation, Keys, MediaAddress, MediaCommand, MediaReport, PayloadTypes, PortPair, SourceRule, Terms,
    Whereabouts,
};
use media::own::Extended;
use media::sdp::Direction;
use media::srtp::{MasterKey, Outbound, Suite, TRAILER_BYTES};
use relay::{Config, Mode, Relay};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::Receiver;
use std::time::Duration;
use words::{CallId, LegId, Seed};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const PATIENCE: Duration = Duration::from_secs(10);
const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 248);
/// How many ports are bound while nobody has a call.
const PAIRS: u32 = 500;

/// One leg of the call: its socket, and where it sends.
struct Leg {
    name: LegId,
    socket: UdpSocket,
    to: SocketAddr,
    /// What it encrypts with.
    sender: Option<Outbound>,
}

impl Leg {
    fn open(relay: &mut Relay, n: u16, ports: PortPair, suite: Option<Suite>) -> Leg {
        let name = LegId { call: CallId(1), n };
        let socket = UdpSocket::bind((HOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let rtp = socket.local_addr().unwrap();
        let mut sender = None;
        if let Some(suite) = suite {
            let key = |byte| MasterKey::new(suite, &vec![byte; suite.key_bytes() + suite.salt_bytes()]).unwrap();
            sender = Some(Outbound::new(&key(1)));
            let keys = Some(Box::new(Keys { inbound: key(1), outbound: key(2) }));
            relay.apply(MediaCommand::Rekey { end: name, ports, generation: Generation(1), keys }).unwrap();
        }
        let terms = Terms {
            source: SourceRule::Strict,
            whereabouts: Whereabouts::default(),
            remote: Some(MediaAddress { rtp, rtcp: SocketAddr::new(rtp.ip(), 9) }),
            payload_types: PayloadTypes::NONE.with(0).with(111),
            clocks: Clocks::NONE.with(111, "opus", 48_000),
            telephone_event: None,
            direction: Direction::SendRecv,
            extended: Extended::default(),
            silence: None.into(),
        };
        relay.apply(MediaCommand::Open { end: name, ports, generation: Generation(2), terms }).unwrap();
        Leg { name, socket, to: (HOST, ports.rtp_port).into(), sender }
    }

    fn speak(&mut self, n: u16) {
        let mut packet = [0xd5; 172 + TRAILER_BYTES];
        packet[..12].copy_from_slice(&[0x80, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.name.n as u8 + 1]);
        packet[2..4].copy_from_slice(&n.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(n) * 960).to_be_bytes());
        let length = match &mut self.sender {
            Some(sender) => sender.protect_rtp(&mut packet, 172).unwrap(),
            None => 172,
        };
        self.socket.send_to(&packet[..length], self.to).unwrap();
    }

    fn hears(&self, n: u16) -> bool {
        let mut buffer = [0; 512];
        self.socket.recv(&mut buffer).is_ok() && buffer[2..4] == n.to_be_bytes()
    }
}

fn start(mode: Mode) -> (Relay, Receiver<MediaReport>, Vec<PortPair>) {
    let config = Config { mode, ipv4: Some(HOST), ipv6: None, ..Config::new(26_000, 27_999, Seed::from_number(1)) };
    let (mut relay, reports) = Relay::start(&config, Box::new(|| ())).unwrap();
    relay.apply(MediaCommand::Stock { pairs: PAIRS, family: Family::V4 }).unwrap();
    let mut ready = Vec::new();
    while ready.len() < PAIRS as usize {
        match reports.recv_timeout(PATIENCE) {
            Ok(MediaReport::Ready { ports }) => ready.extend(ports),
            other => panic!("no ports: {other:?}"),
        }
    }
    (relay, reports, ready)
}

/// How often the media worker of this process went to sleep so far.
fn sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let worker = tasks
        .into_iter()
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "media-0"));
    let status = std::fs::read_to_string(worker.expect("there is a worker").join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("the kernel counts them")
}

/// How often it wakes in two seconds.
fn wakes_at_rest() -> u64 {
    // What was begun is over.
    std::thread::sleep(relay::HOUSEKEEPING * 3);
    let before = sleeps();
    std::thread::sleep(Duration::from_secs(2));
    sleeps() - before
}

/// What 500 packets in each direction allocate.
fn allocations(legs: &mut [Leg; 2], from: u16) -> u64 {
    let before = dhat::HeapStats::get().total_blocks;
    let [a, b] = legs;
    for n in from..from + 500 {
        a.speak(n);
        assert!(b.hears(n));
        b.speak(n);
        assert!(a.hears(n));
    }
    dhat::HeapStats::get().total_blocks - before
}

/// One test, because the counters belong to the process.
#[test]
fn packets_allocate_nothing_and_rest_is_rest() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for (mode, suite) in [
        (Mode::Batch, None),
        (Mode::Basic, None),
        (Mode::Batch, Some(Suite::AesCm128HmacSha1Tag80)),
        (Mode::Batch, Some(Suite::AeadAes128Gcm)),
    ] {
        let (mut relay, reports, ready) = start(mode);
        let mut legs = [0, 1].map(|n: u16| Leg::open(&mut relay, n, ready[usize::from(n)], suite.filter(|_| n == 0)));
        for (from, to) in [(0, 1), (1, 0)] {
            let (from, to) = (legs[from].name, legs[to].name);
            relay.apply(MediaCommand::Link { from, to, generation: Generation(3) }).unwrap();
        }
        relay.settle();
        allocations(&mut legs, 0);
        // Each quarter of a second a worker looks after its ends and tells; what a packet allocates would be there each time.
        let fewest = (1..=5).map(|n| allocations(&mut legs, n * 500)).min();
        assert_eq!(fewest, Some(0), "{mode:?} {suite:?}: allocations of 1,000 packets");
        for leg in &legs {
            relay.apply(MediaCommand::Close { end: leg.name, generation: Generation(9) }).unwrap();
        }
        relay.settle();
        let closed = std::iter::from_fn(|| reports.recv_timeout(PATIENCE).ok());
        assert_eq!(closed.filter(|report| matches!(report, MediaReport::Closed { .. })).take(2).count(), 2);
        // Ports are bound, and all calls are over.
        if mode == Mode::Batch && suite.is_none() {
            assert_eq!(wakes_at_rest(), 0, "wake-ups at rest");
        }
    }
}
