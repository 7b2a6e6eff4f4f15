//! Ends that speak SRTP: what is not genuine teaches nothing and passes nowhere, and new keys lose nothing.
#![expect(clippy::unwrap_used, reason = "tests; the lint knows functions marked as tests only")]

use forward::{OLD_KEY, Output, SocketId, Table, Verdict};
use media::command::{
    EndCounters, Family, Generation, Keys, MediaAddress, MediaCommand, MediaReport, PayloadTypes, PortPair, SourceRule,
    Terms, Whereabouts,
};
use media::own::Extended;
use media::rtp::RtpHeader;
use media::sdp::Direction;
use media::srtp::{Inbound, MasterKey, Outbound, Suite, TRAILER_BYTES};
use std::net::SocketAddr;
use std::time::Duration;
use words::{CallId, LegId, Time};

const NAT: &str = "198.51.100.7:61000";
const STRANGER: &str = "203.0.113.66:5555";
const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn leg(n: u16) -> LegId {
    LegId { call: CallId(1), n }
}

fn phone(n: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000 + n * 2))
}

fn rtcp_of(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

fn key(n: u8) -> MasterKey {
    MasterKey::new(Suite::AesCm128HmacSha1Tag80, &[n; 30]).unwrap()
}

fn plain(sequence: u16) -> Vec<u8> {
    let header = RtpHeader { marker: false, payload_type: 0, sequence, timestamp: u32::from(sequence) * 160, ssrc: 5 };
    [&header.print()[..], &[0xd5; 160]].concat()
}

fn sealed(sender: &mut Outbound, packet: &[u8], is_rtcp: bool) -> Vec<u8> {
    let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
    let length = if is_rtcp {
        sender.protect_rtcp(&mut buffer, packet.len())
    } else {
        sender.protect_rtp(&mut buffer, packet.len())
    };
    buffer.truncate(length.unwrap());
    buffer
}

/// Leg 0 speaks SRTP, leg 1 plain RTP, and they hear each other.
struct Bench {
    table: Table,
    generation: Generation,
    now: Time,
}

impl Bench {
    fn new(source: SourceRule) -> Self {
        let mut bench = Bench { table: Table::new(true), generation: Generation(0), now: Time::from_millis(1_000) };
        (0..2).for_each(|n| _ = bench.table.add(0, 10_000 + n * 2, Family::V4));
        bench.rekey(Some(1));
        for n in 0..2 {
            let command = MediaCommand::Open {
                end: leg(n),
                ports: Self::ports(n),
                generation: bench.generation.step(),
                terms: Terms {
                    source,
                    whereabouts: Whereabouts::default(),
                    remote: Some(MediaAddress { rtp: phone(n), rtcp: rtcp_of(phone(n)) }),
                    payload_types: PayloadTypes::NONE.with(0),
                    clocks: media::clocks::Clocks::NONE,
                    telephone_event: None,
                    direction: Direction::SendRecv,
                    extended: Extended::default(),
                    silence: None.into(),
                },
            };
            bench.table.apply(command, bench.now);
        }
        for (from, to) in [(0, 1), (1, 0)] {
            let generation = bench.generation.step();
            bench.table.apply(MediaCommand::Link { from: leg(from), to: leg(to), generation }, bench.now);
        }
        bench
    }

    fn ports(n: u16) -> PortPair {
        PortPair { worker: 0, slot: n.into(), rtp_port: 10_000 + n * 2, family: Family::V4 }
    }

    /// What leg 0 sends is encrypted with key `n`, and what it hears with `n + 1`.
    fn rekey(&mut self, n: Option<u8>) {
        let keys = n.map(|n| Box::new(Keys { inbound: key(n), outbound: key(n + 1) }));
        let (ports, generation) = (Self::ports(0), self.generation.step());
        self.table.apply(MediaCommand::Rekey { end: leg(0), ports, generation, keys }, self.now);
    }

    /// What leaves after a packet came to a leg's port.
    fn relay(&mut self, socket: SocketId, from: SocketAddr, packet: &[u8]) -> Result<Vec<u8>, Verdict> {
        self.now += Duration::from_millis(20);
        let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
        match self.table.relay(socket, Some(from), &mut buffer, packet.len(), self.now) {
            (Verdict::Send(_), length) => Ok(buffer[..length].to_vec()),
            (verdict, _) => Err(verdict),
        }
    }

    fn close(&mut self) -> EndCounters {
        let generation = self.generation.step();
        self.table.apply(MediaCommand::Close { end: leg(0), generation }, self.now);
        let closed = std::iter::from_fn(|| self.table.poll()).find_map(|output| match output {
            Output::Report(MediaReport::Closed { counters, .. }) => Some(counters),
            _ => None,
        });
        closed.unwrap()
    }
}

#[test]
fn one_leg_is_encrypted_and_the_other_is_not_rtcp_too() {
    let mut bench = Bench::new(SourceRule::Strict);
    let (mut sender, mut receiver) = (Outbound::new(&key(1)), Inbound::new(&key(2)));
    for n in 0..100 {
        let packet = sealed(&mut sender, &plain(n), false);
        assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &packet), Ok(plain(n)));
        let mut heard = bench.relay(SocketId::rtp(1), phone(1), &plain(n)).unwrap();
        let length = receiver.unprotect_rtp(&mut heard).unwrap();
        assert_eq!(heard[..length], plain(n));
    }
    let report = sealed(&mut sender, &REPORT, true);
    assert_eq!(bench.relay(SocketId::rtcp(0), rtcp_of(phone(0)), &report), Ok(REPORT.to_vec()));
    let mut heard = bench.relay(SocketId::rtcp(1), rtcp_of(phone(1)), &REPORT).unwrap();
    let length = receiver.unprotect_rtcp(&mut heard).unwrap();
    assert_eq!(heard[..length], REPORT);
    let counters = bench.close();
    assert_eq!((counters.packets_in, counters.bytes_in, counters.packets_out, counters.rtcp_in), (100, 17_200, 100, 1));
    assert_eq!((counters.dropped_forged, counters.dropped_replayed), (0, 0));
}

#[test]
fn an_encrypted_packet_that_did_not_go_out_counts_for_nothing() {
    let mut bench = Bench::new(SourceRule::Strict);
    let heard = bench.relay(SocketId::rtp(1), phone(1), &plain(1)).unwrap();
    assert!(heard.len() > plain(1).len());
    bench.table.unsent(SocketId::rtp(0), heard.len());
    let (totals, counters) = (bench.table.totals(), bench.close());
    assert_eq!((counters.packets_out, counters.bytes_out, counters.dropped_send), (0, 0, 1));
    assert_eq!((totals.packets, totals.bytes, totals.dropped_send), (0, 0, 1));
}

#[test]
fn forged_and_replayed_packets_are_never_learnt_from() {
    let mut bench = Bench::new(SourceRule::LearnOnce);
    let mut sender = Outbound::new(&key(1));
    let caught: Vec<_> = (0..50).map(|n| sealed(&mut sender, &plain(n), false)).collect();
    for n in 0..50 {
        assert_eq!(bench.relay(SocketId::rtp(0), at(STRANGER), &plain(n)), Err(Verdict::Refused));
        let other = sealed(&mut Outbound::new(&key(7)), &plain(n), false);
        assert_eq!(bench.relay(SocketId::rtp(0), at(STRANGER), &other), Err(Verdict::Refused));
    }
    // What the phone behind NAT sent is heard, and what was caught of it is not heard again from elsewhere.
    let heard = caught.iter().filter(|packet| bench.relay(SocketId::rtp(0), at(NAT), packet).is_ok()).count();
    assert_eq!(heard, 48);
    for packet in &caught {
        assert!(bench.relay(SocketId::rtp(0), at(STRANGER), packet).is_err());
        assert_eq!(bench.relay(SocketId::rtp(0), at(NAT), packet), Err(Verdict::Dropped));
    }
    let next = sealed(&mut sender, &plain(50), false);
    assert_eq!(bench.relay(SocketId::rtp(0), at(NAT), &next), Ok(plain(50)));
    let counters = bench.close();
    assert_eq!((counters.dropped_forged, counters.dropped_replayed, counters.packets_in), (100, 50, 49));
}

/// A report that a stranger caught and sends first must not be what the phone's own is a copy of.
#[test]
fn reports_of_strangers_are_not_even_decrypted() {
    let mut bench = Bench::new(SourceRule::Strict);
    let report = sealed(&mut Outbound::new(&key(1)), &REPORT, true);
    for bytes in [&report[..], &REPORT] {
        assert_eq!(bench.relay(SocketId::rtcp(0), at(STRANGER), bytes), Err(Verdict::Refused));
    }
    assert_eq!(bench.relay(SocketId::rtcp(0), rtcp_of(phone(0)), &report), Ok(REPORT.to_vec()));
    let counters = bench.close();
    assert_eq!((counters.dropped_source, counters.dropped_forged, counters.dropped_replayed), (2, 0, 0));
}

#[test]
fn plain_packets_of_the_phone_itself_do_not_pass_while_it_has_keys() {
    let mut bench = Bench::new(SourceRule::Strict);
    assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &plain(1)), Err(Verdict::Refused));
    assert_eq!(bench.relay(SocketId::rtcp(0), rtcp_of(phone(0)), &REPORT), Err(Verdict::Refused));
    bench.rekey(None);
    assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &plain(2)), Ok(plain(2)));
    bench.rekey(Some(1));
    assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &plain(3)), Err(Verdict::Dropped));
}

#[test]
fn the_same_keys_again_forget_nothing_and_new_ones_lose_nothing() {
    let mut bench = Bench::new(SourceRule::Strict);
    let mut sender = Outbound::new(&key(1));
    let first = sealed(&mut sender, &plain(1), false);
    assert!(bench.relay(SocketId::rtp(0), phone(0), &first).is_ok());
    bench.rekey(Some(1));
    assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &first), Err(Verdict::Dropped));
    let on_its_way = sealed(&mut sender, &plain(2), false);
    let too_late = sealed(&mut sender, &plain(3), false);
    bench.rekey(Some(3));
    assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &on_its_way), Ok(plain(2)));
    let next = sealed(&mut Outbound::new(&key(3)), &plain(4), false);
    assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &next), Ok(plain(4)));
    let mut heard = bench.relay(SocketId::rtp(1), phone(1), &plain(5)).unwrap();
    assert!(Inbound::new(&key(4)).unprotect_rtp(&mut heard).is_ok());
    bench.now += OLD_KEY;
    bench.table.handle_timeout(bench.now);
    assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &too_late), Err(Verdict::Dropped));
}

/// Who talks through a bridge, or is transferred again and again, comes with another SSRC each time.
#[test]
fn a_phone_is_heard_under_as_many_ssrcs_as_it_likes() {
    let mut bench = Bench::new(SourceRule::Strict);
    let (mut phone_sends, mut phone_hears) = (Outbound::new(&key(1)), Inbound::new(&key(2)));
    for ssrc in 0..300_u32 {
        for sequence in 0..3 {
            let mut packet = plain(sequence);
            packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
            let sealed = sealed(&mut phone_sends, &packet, false);
            assert_eq!(
                bench.relay(SocketId::rtp(0), phone(0), &sealed).as_deref(),
                Ok(&packet[..]),
                "{ssrc} {sequence}"
            );
            let mut heard = bench.relay(SocketId::rtp(1), phone(1), &packet).expect("and it hears as many");
            let length = phone_hears.unprotect_rtp(&mut heard).unwrap();
            assert_eq!(heard[12..length], packet[12..]);
        }
    }
    let counters = bench.close();
    assert_eq!((counters.packets_in, counters.dropped_forged, counters.dropped_replayed), (900, 0, 0));
}

/// A hold in the fourth half hour of a call: the same keys again forget neither how often numbers went round, in either
/// direction, nor what was heard.
#[test]
fn a_change_after_numbers_went_round_goes_on_counting() {
    let mut bench = Bench::new(SourceRule::Strict);
    let (mut sender, mut receiver) = (Outbound::new(&key(1)), Inbound::new(&key(2)));
    let mut caught = Vec::new();
    for n in 0..200_000_u32 {
        // Each hundredth is enough to follow.
        if n % 100 != 0 {
            continue;
        }
        let packet = sealed(&mut sender, &plain(n as u16), false);
        assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &packet), Ok(plain(n as u16)), "{n}");
        let mut heard = bench.relay(SocketId::rtp(1), phone(1), &plain(n as u16)).unwrap();
        assert!(receiver.unprotect_rtp(&mut heard).is_ok(), "{n}");
        if n % 50_000 == 49_900 {
            bench.rekey(Some(1));
        }
        caught = packet;
    }
    assert_eq!(bench.relay(SocketId::rtp(0), phone(0), &caught), Err(Verdict::Dropped));
    let counters = bench.close();
    assert_eq!((counters.packets_in, counters.dropped_forged, counters.dropped_replayed), (2_000, 0, 1));
}
