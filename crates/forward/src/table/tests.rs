//! Ends that are opened, linked, held and closed, and what passes between them.

use super::*;
use crate::kit::{REPORT, above, leg, media_at, packet, phone, ports, stranger, terms};
use media::clocks::Clocks;
use media::command::{EndCounters, Family, PayloadTypes, SourceRule, Terms, Whereabouts};

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// What is agreed with a phone here: events too, and its silence counts.
fn agreed(at: SocketAddr) -> Terms {
    let silence = Some(Duration::from_secs(30)).into();
    Terms { silence, telephone_event: Some(101), ..terms(at, PayloadTypes::NONE.with(0).with(101)) }
}

/// A table with legs 0 and 1 in its slots of the same numbers, and a generation that rises.
struct Bench {
    table: Table,
    generation: Generation,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        let mut table = Table::new(true);
        (0..3).for_each(|n| assert_eq!(table.add(0, 10_000 + n * 2, Family::V4), u32::from(n)));
        Bench { table, generation: Generation::default(), now: Time::from_millis(1_000) }
    }

    fn open(&mut self, n: u16) -> &mut Self {
        let (generation, terms) = (self.generation.step(), agreed(phone(n)));
        let command = MediaCommand::Open { end: leg(n), ports: ports(n), generation, terms };
        self.table.apply(command, self.now);
        self
    }

    fn latch(&mut self, n: u16, rtp: Option<SocketAddr>, direction: Direction) -> &mut Self {
        let terms = Terms { remote: rtp.map(media_at), direction, ..agreed(phone(n)) };
        let command = MediaCommand::Latch { end: leg(n), generation: self.generation.step(), terms };
        self.table.apply(command, self.now);
        self
    }

    fn link(&mut self, from: u16, to: u16) -> &mut Self {
        let generation = self.generation.step();
        self.table.apply(MediaCommand::Link { from: leg(from), to: leg(to), generation }, self.now);
        self
    }

    fn close(&mut self, n: u16) -> EndCounters {
        let generation = self.generation.step();
        self.table.apply(MediaCommand::Close { end: leg(n), generation }, self.now);
        let closed = self.outputs().into_iter().find_map(|output| match output {
            Output::Report(MediaReport::Closed { end, counters, .. }) if end == leg(n) => Some(counters),
            _ => None,
        });
        closed.expect("a close is answered")
    }

    /// What the phone of leg `n` sends, or somebody else to its port.
    fn speak(&mut self, n: u16, from: SocketAddr, payload_type: u8, sequence: u16) -> Verdict {
        self.now += Duration::from_millis(20);
        let socket = SocketId::rtp(u32::from(n));
        let from = (!self.table.is_connected(u32::from(n))).then_some(from);
        self.table.forward(socket, from, &packet(payload_type, sequence), self.now)
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.table.poll()).collect()
    }
}

fn sent(to: u32, address: Option<SocketAddr>) -> Verdict {
    Verdict::Send(Route { socket: SocketId::rtp(to), to: address })
}

#[test]
fn two_linked_ends_hear_each_other_and_are_connected_one_by_one() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(0, 1).link(1, 0);
    assert_eq!(bench.speak(0, phone(0), 0, 1), sent(1, Some(phone(1))));
    let first = MediaReport::FirstPacket { end: leg(0), from: phone(0) };
    assert_eq!(bench.outputs(), [Output::Connect { slot: 0, to: phone(0) }, Output::Report(first)]);
    assert!(!bench.table.is_connected(0));
    bench.table.drained(0);
    assert!(bench.table.is_connected(0));
    assert_eq!(bench.speak(1, phone(1), 0, 1), sent(0, None));
    assert_eq!(bench.speak(0, phone(0), 0, 3), sent(1, Some(phone(1))));
    bench.table.drained(1);
    assert_eq!(bench.speak(0, phone(0), 0, 5), sent(1, None));
    let counters = bench.close(0);
    assert_eq!((counters.packets_in, counters.packets_out, counters.bytes_in, counters.lost), (3, 1, 516, 2));
}

#[test]
fn strangers_and_foreign_payloads_pass_at_no_time() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(0, 1);
    assert_eq!(bench.speak(0, stranger(), 0, 1), Verdict::Refused);
    assert_eq!(bench.speak(0, phone(0), 8, 2), Verdict::Refused);
    assert_eq!(bench.speak(0, phone(0), 0, 3), sent(1, Some(phone(1))));
    // Connected, but the stranger's packet had been waiting in the queue.
    assert_eq!(bench.speak(0, stranger(), 0, 4), Verdict::Refused);
    assert_eq!(bench.speak(0, phone(0), 8, 5), Verdict::Dropped);
    assert_eq!(bench.table.forward(SocketId::rtp(0), Some(phone(0)), b"\0\x01", bench.now), Verdict::Dropped);
    assert_eq!(bench.speak(2, phone(0), 0, 6), Verdict::Refused);
    let counters = bench.close(0);
    assert_eq!((counters.dropped_source, counters.dropped_type, counters.packets_in), (2, 3, 1));
}

#[test]
fn rtcp_goes_from_where_it_is_expected_to_where_it_is_wanted() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(0, 1);
    let socket = SocketId::rtcp(0);
    let out = Verdict::Send(Route { socket: SocketId::rtcp(1), to: Some(above(phone(1))) });
    assert_eq!(bench.table.forward(socket, Some(above(phone(0))), &REPORT, bench.now), out);
    assert_eq!(bench.table.forward(socket, Some(phone(0)), &REPORT, bench.now), Verdict::Refused);
    let rtp = packet(0, 1);
    assert_eq!(bench.table.forward(socket, Some(above(phone(0))), &rtp, bench.now), Verdict::Dropped);
    bench.latch(0, Some(phone(0)), Direction::Inactive);
    assert_eq!(bench.table.forward(socket, Some(above(phone(0))), &REPORT, bench.now), out);
    assert_eq!(bench.close(0).rtcp_in, 2);
}

#[test]
fn hold_stops_one_direction_or_both() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(0, 1).link(1, 0);
    bench.latch(0, Some(phone(0)), Direction::SendOnly);
    assert_eq!(bench.speak(0, phone(0), 0, 1), Verdict::Dropped);
    assert!(matches!(bench.speak(1, phone(1), 0, 1), Verdict::Send(_)));
    bench.latch(0, None, Direction::Inactive);
    assert!(bench.outputs().contains(&Output::Disconnect { slot: 0 }));
    assert_eq!(bench.speak(0, phone(0), 0, 2), Verdict::Refused);
    assert_eq!(bench.speak(1, phone(1), 0, 2), Verdict::Dropped);
    bench.latch(0, Some(phone(0)), Direction::SendRecv);
    assert!(matches!(bench.speak(0, phone(0), 0, 3), Verdict::Send(_)));
    assert_eq!(bench.close(1).dropped_unlinked, 1);
}

#[test]
fn a_new_address_takes_over_from_the_old_one() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(0, 1).link(1, 0);
    bench.speak(0, phone(0), 0, 1);
    bench.table.drained(0);
    bench.outputs();
    let moved = at("192.0.2.77:7000");
    bench.latch(0, Some(moved), Direction::SendRecv);
    assert_eq!(bench.outputs(), [Output::Disconnect { slot: 0 }]);
    assert_eq!(bench.speak(1, phone(1), 0, 1), sent(0, Some(moved)));
    assert_eq!(bench.speak(0, phone(0), 0, 2), Verdict::Refused);
    assert!(matches!(bench.speak(0, moved, 0, 3), Verdict::Send(_)));
    assert!(bench.outputs().contains(&Output::Connect { slot: 0, to: moved }));
}

#[test]
fn repeated_and_late_commands_do_no_harm() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(0, 1);
    let old = Generation(1);
    bench.table.apply(MediaCommand::Unlink { from: leg(0), generation: old }, bench.now);
    bench.table.apply(MediaCommand::Close { end: leg(0), generation: old }, bench.now);
    bench.open(0);
    assert!(matches!(bench.speak(0, phone(0), 0, 1), Verdict::Send(_)));
    bench.close(0);
    let again = MediaCommand::Close { end: leg(0), generation: bench.generation };
    bench.table.apply(again, bench.now);
    assert_eq!(bench.outputs(), []);
}

#[test]
fn a_link_to_an_end_that_closed_does_not_reach_the_next_one_on_its_ports() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(0, 1);
    bench.close(1);
    let mut next = ports(1);
    let generation = bench.generation.step();
    let terms = terms(phone(9), PayloadTypes::ALL);
    let open = |ports| MediaCommand::Open { end: leg(9), ports, generation, terms };
    bench.table.apply(open(next), bench.now);
    assert_eq!(bench.speak(0, phone(0), 0, 1), Verdict::Dropped);
    // Ports that are not there are refused, and yet given back by a close.
    next.slot = 77;
    bench.close(9);
    bench.table.apply(open(next), bench.now);
    let refused = MediaReport::Refused { end: leg(9), why: Refusal::NoSuchPorts };
    assert_eq!(bench.outputs(), [Output::Report(refused)]);
    assert_eq!(bench.close(9), EndCounters::default());
    assert_eq!(bench.table.open_ends(), 1);
}

#[test]
fn commands_to_ends_that_are_not_open_are_told() {
    let mut bench = Bench::new();
    bench.open(0).link(0, 1);
    bench.table.apply(MediaCommand::Stop { end: leg(1), generation: Generation(9) }, bench.now);
    let play = |payload_type| MediaCommand::Play {
        end: leg(0),
        generation: Generation(9),
        sound: Sound::Ringback,
        payload_type,
    };
    bench.table.apply(play(9), bench.now);
    bench.table.apply(play(8), bench.now);
    let refused = |n, why| Output::Report(MediaReport::Refused { end: leg(n), why });
    let expected = [
        refused(1, Refusal::NotOpen),
        refused(0, Refusal::NoSuchSound),
        Output::Play { slot: 0, sound: Sound::Ringback, payload_type: 8 },
    ];
    assert_eq!(bench.outputs(), expected);
}

#[test]
fn a_sound_takes_the_place_of_what_is_linked() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(1, 0);
    let (end, generation) = (leg(0), bench.generation.step());
    let sound = Sound::Tone { hz: 440, level_dbm0: -10 };
    bench.table.apply(MediaCommand::Play { end, generation, sound, payload_type: 0 }, bench.now);
    assert_eq!(bench.speak(1, phone(1), 0, 1), Verdict::Dropped);
    assert_eq!(
        bench.table.emit(0, &packet(0, 1), bench.now),
        Some(Route { socket: SocketId::rtp(0), to: Some(phone(0)) })
    );
    assert_eq!(bench.table.emit(1, &packet(0, 1), bench.now), None);
    let generation = bench.generation.step();
    bench.table.apply(MediaCommand::Stop { end, generation }, bench.now);
    assert!(bench.outputs().contains(&Output::Quiet { slot: 0 }));
    assert!(matches!(bench.speak(1, phone(1), 0, 2), Verdict::Send(_)));
    assert_eq!(bench.table.emit(0, &packet(0, 2), bench.now), None);
    bench.table.unsent(SocketId::rtp(0), 172);
    let counters = bench.close(0);
    assert_eq!((counters.packets_out, counters.dropped_send), (1, 1));
}

#[test]
fn silence_counts_from_the_command_and_rests_on_hold() {
    let silent = |bench: &mut Bench, after_s| {
        bench.now += Duration::from_secs(after_s);
        bench.table.handle_timeout(bench.now);
        let told = |output: &Output| matches!(output, Output::Report(MediaReport::Silent { .. }));
        bench.outputs().iter().filter(|output| told(output)).count()
    };
    let mut bench = Bench::new();
    bench.open(0);
    assert_eq!(silent(&mut bench, 29), 0);
    bench.speak(0, phone(0), 0, 1);
    assert_eq!((silent(&mut bench, 29), silent(&mut bench, 2), silent(&mut bench, 60)), (0, 1, 0));
    bench.latch(0, Some(phone(0)), Direction::SendOnly);
    assert_eq!(silent(&mut bench, 300), 0);
    bench.latch(0, Some(phone(0)), Direction::SendRecv);
    assert_eq!((silent(&mut bench, 29), silent(&mut bench, 2)), (0, 1));
}

/// A phone on mute that sends nothing while nobody speaks still reports (RFC 3550 §6.2): it is there.
#[test]
fn reports_of_the_party_itself_are_life() {
    let mut bench = Bench::new();
    bench.open(0);
    let silent = |bench: &mut Bench, from| {
        for _ in 0..12 {
            bench.now += Duration::from_secs(5);
            bench.table.forward(SocketId::rtcp(0), Some(from), &REPORT, bench.now);
            bench.table.handle_timeout(bench.now);
        }
        let told = |output: &Output| matches!(output, Output::Report(MediaReport::Silent { .. }));
        bench.outputs().iter().any(told)
    };
    assert!(!silent(&mut bench, above(phone(0))));
    assert!(silent(&mut bench, above(stranger())), "those of others are not");
}

#[test]
fn a_peer_that_connecting_silenced_is_heard_without() {
    let mut bench = Bench::new();
    bench.open(0).link(0, 0);
    bench.speak(0, phone(0), 0, 1);
    bench.table.drained(0);
    bench.outputs();
    bench.now += UNPROVEN_PATIENCE;
    bench.table.handle_timeout(bench.now);
    assert_eq!(bench.outputs(), [Output::Disconnect { slot: 0 }]);
    assert_eq!(bench.speak(0, phone(0), 0, 2), sent(0, Some(phone(0))));
    assert_eq!(bench.outputs(), []);
}

#[test]
fn digits_are_told_and_pass() {
    let mut bench = Bench::new();
    bench.open(0).open(1).link(0, 1);
    let mut event = packet(101, 1);
    event.splice(12.., [5, 0x8a, 3, 0x20]);
    let verdict = bench.table.forward(SocketId::rtp(0), Some(phone(0)), &event, bench.now);
    assert!(matches!(verdict, Verdict::Send(_)));
    let dtmf = MediaReport::Dtmf { end: leg(0), digit: '5', duration_ms: 100 };
    assert!(bench.outputs().contains(&Output::Report(dtmf)));
    // RFC 4733 §2.1: events beside Opus have its clock.
    let clocks = Clocks::NONE.with(101, "telephone-event", 48_000);
    let generation = bench.generation.step();
    bench
        .table
        .apply(MediaCommand::Latch { end: leg(0), generation, terms: Terms { clocks, ..agreed(phone(0)) } }, bench.now);
    event.splice(2.., [0, 2, 0, 0, 9, 0, 0, 0, 0, 5, 6, 0x8a, 0x12, 0xc0]);
    bench.table.forward(SocketId::rtp(0), Some(phone(0)), &event, bench.now);
    let dtmf = MediaReport::Dtmf { end: leg(0), digit: '6', duration_ms: 100 };
    assert!(bench.outputs().contains(&Output::Report(dtmf)));
}

#[test]
fn a_row_is_small() {
    assert!(size_of::<Row>() <= 608, "{}", size_of::<Row>());
}

/// A trunk whose audio comes from nowhere that it names, as asymmetric carriers have it, and a stranger who was there first.
#[test]
fn a_stranger_who_came_by_does_not_keep_the_audio_of_a_trunk_out() {
    let (carrier, stranger) = (at("198.51.100.200:7000"), stranger());
    // How many packets each says at the pace of speech, and what passes of the carrier's then.
    for (said, silent_ms, passes) in [(10, 2_000, true), (10, 400, false), (80, 2_000, false)] {
        let mut bench = Bench::new();
        bench.open(0).open(1).link(0, 1).link(1, 0);
        let terms = Terms { source: SourceRule::HearOnce, whereabouts: Whereabouts::default(), ..agreed(phone(0)) };
        let generation = bench.generation.step();
        bench.table.apply(MediaCommand::Latch { end: leg(0), generation, terms }, bench.now);
        let speak = |bench: &mut Bench, from, ssrc, count: u16| {
            let mut passed = 0;
            for n in 0..count {
                bench.now += Duration::from_millis(20);
                let packet = crate::kit::rtp(0, n, ssrc);
                let verdict = bench.table.forward(SocketId::rtp(0), Some(from), &packet, bench.now);
                passed += u16::from(matches!(verdict, Verdict::Send(_)));
                if let Verdict::Send(route) = verdict {
                    assert_eq!((route.socket, route.to), (SocketId::rtp(1), Some(phone(1))));
                }
            }
            passed
        };
        assert_eq!(speak(&mut bench, stranger, 7, said), said - 2, "whoever comes first is heard");
        bench.now += Duration::from_millis(silent_ms);
        assert_eq!(speak(&mut bench, carrier, 8, 20), if passes { 18 } else { 0 }, "{said} {silent_ms}");
        if passes {
            // And that one stays: what it says less than a second apart is its own, and the stranger is one.
            assert_eq!((speak(&mut bench, stranger, 7, 40), speak(&mut bench, carrier, 8, 20)), (0, 20));
        }
    }
}
