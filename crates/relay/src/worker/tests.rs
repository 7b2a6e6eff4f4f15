//! A packet that breaks the worker ends its own end, and nothing else.

use crate::{Config, Mode, Relay};
use media::clocks::Clocks;
use media::command::{
    Family, Generation, MediaAddress, MediaCommand, MediaReport, PayloadTypes, PortPair, SourceRule, Terms, Whereabouts,
};
use media::own::Extended;
use media::rtp::{RtpHeader, RtpView};
use media::sdp::Direction;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::Receiver;
use std::time::Duration;
use words::{CallId, LegId, Seed};

/// How a packet ends that stands for one which breaks something of ours.
const BREAKS: &[u8] = b"a packet that breaks something";
const PATIENCE: Duration = Duration::from_secs(10);

/// Called for each packet that comes, in tests of this crate alone.
pub(super) fn break_on(packet: &[u8]) {
    assert!(!packet.ends_with(BREAKS), "planted");
}

struct Phone {
    name: LegId,
    socket: UdpSocket,
    to: SocketAddr,
}

impl Phone {
    fn open(relay: &mut Relay, name: LegId, ports: PortPair) -> Phone {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let rtp = socket.local_addr().unwrap();
        let terms = Terms {
            source: SourceRule::Strict,
            whereabouts: Whereabouts::default(),
            remote: Some(MediaAddress { rtp, rtcp: SocketAddr::new(rtp.ip(), 9) }),
            payload_types: PayloadTypes::NONE.with(0),
            clocks: Clocks::NONE,
            telephone_event: None,
            direction: Direction::SendRecv,
            extended: Extended::default(),
            silence: None.into(),
        };
        relay.apply(MediaCommand::Open { end: name, ports, generation: Generation(1), terms }).unwrap();
        Phone { name, socket, to: (Ipv4Addr::new(127, 0, 9, 250), ports.rtp_port).into() }
    }

    fn speak(&self, n: u16, sound: &[u8]) {
        // Of a type that was not agreed on, so that it comes to the worker in the tier `kernel`, too.
        let payload_type = if sound == BREAKS { 99 } else { 0 };
        let header = RtpHeader {
            marker: false,
            payload_type,
            sequence: n,
            timestamp: u32::from(n) * 160,
            ssrc: self.name.n.into(),
        };
        self.socket.send_to(&[&header.print()[..], sound].concat(), self.to).unwrap();
    }

    fn hears(&self, n: u16) -> bool {
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).unwrap_or(0);
        RtpView::parse(&buffer[..length]).is_some_and(|rtp| rtp.sequence() == n)
    }
}

/// Two calls: what comes from each goes to the other of its call.
fn calls(relay: &mut Relay, reports: &Receiver<MediaReport>) -> [Phone; 4] {
    relay.apply(MediaCommand::Stock { pairs: 4, family: Family::V4 }).unwrap();
    let mut ready = Vec::new();
    while ready.len() < 4 {
        match reports.recv_timeout(PATIENCE) {
            Ok(MediaReport::Ready { ports }) => ready.extend(ports),
            other => panic!("no ports: {other:?}"),
        }
    }
    let phones = [0, 1, 2, 3].map(|n: u16| {
        let name = LegId { call: CallId(u128::from(n / 2) + 1), n };
        Phone::open(relay, name, ready[usize::from(n)])
    });
    for (from, to) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        let (from, to): (&Phone, &Phone) = (&phones[from], &phones[to]);
        relay.apply(MediaCommand::Link { from: from.name, to: to.name, generation: Generation(2) }).unwrap();
    }
    relay.settle();
    phones
}

#[test]
fn a_packet_that_breaks_the_worker_ends_its_own_end_alone() {
    for mode in [Mode::Batch, Mode::Basic, Mode::Auto] {
        let address = Ipv4Addr::new(127, 0, 9, 250);
        let config =
            Config { mode, ipv4: Some(address), ipv6: None, ..Config::new(28_800, 28_819, Seed::from_number(1)) };
        let (mut relay, reports) = Relay::start(&config, Box::new(|| ())).unwrap();
        let [a, b, c, d] = calls(&mut relay, &reports);
        for n in 0..20 {
            for (from, to) in [(&a, &b), (&b, &a), (&c, &d), (&d, &c)] {
                from.speak(n, b"talk");
                assert!(to.hears(n));
            }
        }
        // Beside it the other call speaks, and goes on to speak.
        for n in 20..70 {
            if n == 25 || n == 45 {
                a.speak(n, BREAKS);
            }
            for (from, to) in [(&c, &d), (&d, &c)] {
                from.speak(n, b"talk");
                assert!(to.hears(n), "{mode:?}: {n} of a call that nothing broke");
            }
        }
        let told = std::iter::from_fn(|| reports.recv_timeout(PATIENCE).ok())
            .find_map(|report| if let MediaReport::Silent { end } = report { Some(end) } else { None });
        assert_eq!(told, Some(a.name), "its call is to end: {mode:?} {:?}", relay.counters());
        let panics = || {
            (0..500).map(|_| relay.counters().panics).find(|panics| {
                std::thread::sleep(Duration::from_millis(10));
                *panics == 2
            })
        };
        assert_eq!(panics(), Some(2), "{:?}", relay.counters());
        // The switch closes it as any other, with what was counted until then.
        relay.apply(MediaCommand::Close { end: a.name, generation: Generation(9) }).unwrap();
        relay.settle();
        let closed = std::iter::from_fn(|| reports.recv_timeout(PATIENCE).ok()).find_map(|report| match report {
            MediaReport::Closed { end, counters, .. } if end == a.name => Some(counters),
            _ => None,
        });
        assert_eq!(closed.map(|counters| (counters.packets_in, counters.packets_out)), Some((20, 20)));
        c.speak(70, b"talk");
        assert!(d.hears(70));
    }
}
