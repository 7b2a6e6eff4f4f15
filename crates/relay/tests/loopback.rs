//! The relay over real sockets of the loopback interface: each test has an address of its own.

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod ice;
#[cfg(test)]
mod kernel;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod log;
#[cfg(test)]
mod namespaces;
#[cfg(test)]
mod quality;
#[cfg(test)]
mod ways;

use kit::{Exchange, Phone};
use media::command::{Family, Generation, MediaCommand, MediaReport, PortPair, Refusal, Sound, SourceRule};
use media::rtp::RtpView;
use media::sdp::Direction;
use media::srtp::Suite;
use relay::Mode;
use std::collections::BTreeSet;
use std::time::Duration;
use voice::{Law, SAMPLE_RATE_HZ};

/// Each says fifty packets and a report, and the other hears them.
fn converse(a: &mut Phone, b: &mut Phone) {
    for n in 0..50 {
        a.speak(n);
        assert_eq!(b.hear(), n);
        b.speak(n + 1_000);
        assert_eq!(a.hear(), n + 1_000);
    }
    a.report();
    b.hear_report();
    b.report();
    a.hear_report();
}

#[test]
fn two_ends_hear_each_other_over_rtp_and_rtcp() {
    for (host, mode) in [(1, Mode::Batch), (2, Mode::Basic)] {
        let mut exchange = Exchange::start(host, mode);
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        converse(&mut a, &mut b);
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_a.packets_out, of_a.lost, of_a.rtcp_in, of_a.rtcp_out), (50, 50, 0, 1, 1));
        assert_eq!((of_b.bytes_in, of_b.bytes_out, of_b.dropped_source), (50 * 172, 50 * 172, 0));
        assert!(of_a.jitter_us < 1_000_000);
    }
}

#[test]
fn ends_with_keys_hear_each_other_and_those_without() {
    let suites = [Suite::AesCm128HmacSha1Tag80, Suite::AeadAes256Gcm];
    for (host, of_a, of_b) in
        [(20, Some(suites[0]), None), (21, None, Some(suites[1])), (22, Some(suites[0]), Some(suites[1]))]
    {
        let mut exchange = Exchange::start(host, Mode::Batch);
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        for (phone, suite) in [(&mut a, of_a), (&mut b, of_b)] {
            if let Some(suite) = suite {
                phone.encrypt(suite);
            }
        }
        exchange.call(&mut a, &mut b);
        converse(&mut a, &mut b);
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_a.packets_out, of_a.rtcp_in, of_a.dropped_forged), (50, 50, 1, 0));
        assert_eq!((of_b.packets_in, of_b.packets_out, of_b.rtcp_in, of_b.dropped_forged), (50, 50, 1, 0));
    }
}

#[test]
fn an_end_with_keys_hears_a_tone_of_the_exchange() {
    let mut exchange = Exchange::start(23, Mode::Batch);
    let mut phone = exchange.phone(0);
    phone.encrypt(Suite::AesCm128HmacSha1Tag32);
    exchange.open(&mut phone);
    let (end, generation) = (phone.name, phone.generation.step());
    let sound = Sound::Tone { hz: 440, level_dbm0: -10 };
    exchange.apply(MediaCommand::Play { end, generation, sound, payload_type: 0 });
    let heard: Vec<u16> = (0..5).map(|_| phone.hear()).collect();
    assert!(heard.windows(2).all(|pair| pair[0].wrapping_add(1) == pair[1]), "{heard:?}");
}

#[test]
fn a_stranger_is_heard_neither_before_nor_after_the_phone_and_hears_nothing() {
    let mut exchange = Exchange::start(3, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    let mut stranger = exchange.phone(9);
    stranger.aim_at(&a);
    (0..20).for_each(|n| stranger.speak(5_000 + n));
    // b speaks before a ever did: its voice goes to the address of a's description.
    b.speak(1);
    assert_eq!(a.hear(), 1);
    a.speak(2);
    assert_eq!(b.hear(), 2);
    for n in 0..50 {
        stranger.speak(6_000 + n);
        stranger.report();
        a.speak(100 + n);
        assert_eq!(b.hear(), 100 + n);
    }
    b.speak(3);
    assert_eq!(a.hear(), 3);
    stranger.assert_heard_nothing();
    let [of_a, _] = exchange.close([&a, &b]);
    assert_eq!(of_a.packets_in, 51);
    assert!(of_a.dropped_source >= 20, "{of_a:?}");
}

#[test]
fn behind_nat_one_source_is_learnt_and_a_second_is_not() {
    let mut exchange = Exchange::start(4, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    // What a's description says is not where its packets come from.
    a.described = exchange.phone(7).described;
    a.rule = SourceRule::LearnOnce;
    exchange.call(&mut a, &mut b);
    a.speak_until_heard_by(&mut b);
    b.speak(1);
    assert_eq!(a.hear(), 1);
    let mut stranger = exchange.phone(9);
    stranger.aim_at(&a);
    (0..60).for_each(|n| stranger.speak(9_000 + n));
    a.speak(500);
    assert_eq!(b.hear(), 500);
    b.speak(2);
    assert_eq!(a.hear(), 2);
    stranger.assert_heard_nothing();
    exchange.close([&a, &b]);
}

#[test]
fn who_was_learnt_by_mistake_is_dropped_when_the_described_address_speaks() {
    let mut exchange = Exchange::start(5, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    a.rule = SourceRule::LearnOnce;
    exchange.call(&mut a, &mut b);
    let mut thief = exchange.phone(9);
    thief.aim_at(&a);
    thief.speak_until_heard_by(&mut b);
    b.speak(1);
    assert_eq!(thief.hear(), 1);
    a.speak(700);
    assert_eq!(b.hear(), 700);
    for n in 0..50 {
        thief.speak(9_000 + n);
        b.speak(2 + n);
        assert_eq!(a.hear(), 2 + n);
    }
    a.speak(701);
    assert_eq!(b.hear(), 701);
    thief.assert_heard_nothing();
    exchange.close([&a, &b]);
}

#[test]
fn after_a_new_description_the_new_address_speaks_and_the_old_does_not() {
    let mut exchange = Exchange::start(6, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    for n in 0..10 {
        a.speak(n);
        assert_eq!(b.hear(), n);
    }
    let mut moved = exchange.phone(5);
    moved.aim_at(&a);
    exchange.latch(&mut a, Some(moved.described), Direction::SendRecv);
    exchange.settle(&a);
    a.speak(900);
    moved.speak(100);
    assert_eq!(b.hear(), 100);
    b.speak(200);
    assert_eq!(moved.hear(), 200);
    a.assert_heard_nothing();
    // On hold nothing passes, and after it everything does.
    exchange.latch(&mut a, Some(moved.described), Direction::Inactive);
    exchange.settle(&a);
    moved.speak(101);
    b.speak(201);
    // Reports pass on hold, and these came after.
    moved.report();
    b.hear_report();
    b.report();
    moved.hear_report();
    exchange.latch(&mut a, Some(moved.described), Direction::SendRecv);
    exchange.settle(&a);
    moved.speak(102);
    assert_eq!(b.hear(), 102);
    b.speak(202);
    assert_eq!(moved.hear(), 202);
    exchange.close([&a, &b]);
}

#[test]
fn ports_that_are_used_again_deliver_nothing_stale() {
    let mut exchange = Exchange::start(7, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    a.speak(1);
    assert_eq!(b.hear(), 1);
    // These wait in the sockets, or come after the end.
    (0..30).for_each(|n| a.speak(2_000 + n));
    exchange.close([&a, &b]);
    b.drain();
    (0..30).for_each(|n| a.speak(3_000 + n));
    let (mut c, mut d) = (exchange.phone(2), exchange.phone(3));
    exchange.call_on(&mut c, &mut d, [a.ports(), b.ports()]);
    (0..30).for_each(|n| a.speak(4_000 + n));
    c.speak(7);
    assert_eq!(d.hear(), 7);
    d.speak(8);
    assert_eq!(c.hear(), 8);
    a.assert_heard_nothing();
    b.assert_heard_nothing();
    let [of_c, _] = exchange.close([&c, &d]);
    assert_eq!((of_c.packets_in, of_c.packets_out), (1, 1));
}

#[test]
fn a_fax_passes_in_both_directions_and_speech_after_it() {
    for mode in [Mode::Batch, Mode::Basic] {
        let mut exchange = Exchange::start(9, mode);
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        for n in 0..5 {
            a.speak(n);
            assert_eq!(b.hear(), n);
            b.speak(n);
            assert_eq!(a.hear(), n);
        }
        exchange.latch_fax(&mut a);
        exchange.latch_fax(&mut b);
        exchange.settle(&a);
        for n in 0..20u8 {
            // UDPTL: number, a primary packet, nothing repeated.
            let page = [0, n, 3, 0x8a, n, n, 0, 0];
            a.send(&page);
            assert_eq!(b.hear_packet(), page);
            b.send(&page[..6]);
            assert_eq!(a.hear_packet(), page[..6]);
        }
        for phone in [&mut a, &mut b] {
            let described = phone.described;
            exchange.latch(phone, Some(described), Direction::SendRecv);
        }
        exchange.settle(&a);
        a.send(&[0, 99, 3, 0, 0, 0]);
        a.speak(700);
        assert_eq!(b.hear(), 700, "what is no RTP stays behind");
        exchange.close([&a, &b]);
    }
}

#[test]
fn an_end_that_is_linked_to_itself_is_an_echo() {
    let mut exchange = Exchange::start(8, Mode::Batch);
    let mut a = exchange.phone(0);
    exchange.open(&mut a);
    let generation = a.generation.step();
    exchange.apply(MediaCommand::Link { from: a.name, to: a.name, generation });
    for n in 0..20 {
        a.speak(n);
        assert_eq!(a.hear(), n);
    }
    let [counters, _] = exchange.close([&a, &a]);
    assert_eq!((counters.packets_in, counters.packets_out), (20, 20));
}

#[test]
fn a_tone_has_its_frequency_and_comes_every_20_ms() {
    let mut exchange = Exchange::start(10, Mode::Batch);
    let mut a = exchange.phone(0);
    exchange.open(&mut a);
    let generation = a.generation.step();
    let sound = Sound::Tone { hz: 440, level_dbm0: -10 };
    exchange.apply(MediaCommand::Play { end: a.name, generation, sound, payload_type: 8 });
    let from = net::batch::monotonic_nanos();
    let mut samples = Vec::new();
    let mut last: Option<(u16, u32)> = None;
    for _ in 0..25 {
        let packet = a.hear_packet();
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!((view.payload_type(), view.payload().len(), view.marker()), (8, 160, last.is_none()));
        if let Some((sequence, timestamp)) = last {
            assert_eq!((view.sequence(), view.timestamp()), (sequence.wrapping_add(1), timestamp.wrapping_add(160)));
        }
        last = Some((view.sequence(), view.timestamp()));
        samples.extend(view.payload().iter().map(|&code| Law::A.decode(code)));
    }
    assert!(net::batch::monotonic_nanos() - from >= 24 * 20_000_000 - 20_000_000);
    let crossings = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    let hz = crossings as u32 * SAMPLE_RATE_HZ / samples.len() as u32;
    assert!((436..=444).contains(&hz), "{hz} Hz");
    let generation = a.generation.step();
    exchange.apply(MediaCommand::Stop { end: a.name, generation });
    let [counters, _] = exchange.close([&a, &a]);
    assert!(counters.packets_out >= 25);
}

#[test]
fn silence_is_told_once_even_when_no_packet_ever_came() {
    let mut exchange = Exchange::start(11, Mode::Batch);
    let mut a = exchange.phone(0);
    a.silence = Some(Duration::from_millis(300));
    exchange.open(&mut a);
    assert_eq!(exchange.report(), MediaReport::Silent { end: a.name });
    a.speak(1);
    assert_eq!(exchange.report(), MediaReport::FirstPacket { end: a.name, from: a.address });
    exchange.close([&a, &a]);
}

#[test]
fn digits_are_told_while_they_pass() {
    let mut exchange = Exchange::start(12, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    a.press('#', 100);
    let digit = MediaReport::Dtmf { end: a.name, digit: '#', duration_ms: 100 };
    while exchange.report() != digit {}
    exchange.close([&a, &b]);
}

#[test]
fn a_call_without_media_wakes_nobody() {
    let mut exchange = Exchange::start(13, Mode::Batch);
    let before = exchange.relay.counters().wakeups;
    for _ in 0..20 {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        exchange.latch(&mut a, None, Direction::Inactive);
        exchange.apply_close(&mut a);
        exchange.apply_close(&mut b);
    }
    assert_eq!(exchange.relay.counters().wakeups, before);
    exchange.relay.settle();
    let closed = (0..40).filter(|_| matches!(exchange.report(), MediaReport::Closed { .. })).count();
    assert_eq!((closed, exchange.relay.counters().wakeups), (40, before + 1));
}

#[test]
fn thousands_of_calls_leave_no_descriptor_and_no_end_behind() {
    let mut exchange = Exchange::start(14, Mode::Batch);
    // The other tests of this process open sockets too: count those of this exchange's address.
    let sockets = || kit::sockets_of("0E09007F");
    let before = sockets();
    for n in 0..2_000 {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        if n % 50 == 0 {
            a.speak(n);
            assert_eq!(b.hear(), n);
        }
        exchange.close([&a, &b]);
    }
    assert_eq!(sockets(), before);
    let counters = exchange.counters_when(|counters| counters.totals.ends == 0);
    assert_eq!((counters.totals.packets, counters.pairs, counters.reports_dropped), (40, 4, 0));
}

#[test]
fn pairs_that_are_given_up_are_free_for_others_and_come_back_when_wished() {
    let mut exchange = Exchange::start(61, Mode::Batch);
    let sockets = || kit::sockets_of("3D09007F");
    let stock = |exchange: &mut Exchange, pairs: u32, new: usize| {
        exchange.apply(MediaCommand::Stock { pairs, family: Family::V4 });
        let mut ready = Vec::new();
        while ready.len() < new {
            match exchange.report() {
                MediaReport::Ready { ports } => ready.extend(ports),
                other => panic!("no ports: {other:?}"),
            }
        }
        ready
    };
    let mut more = stock(&mut exchange, 40, 36);
    assert_eq!(sockets(), 80);
    // Two of them are in use while the others go.
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call_on(&mut a, &mut b, [more.swap_remove(20), more.swap_remove(3)]);
    exchange.apply(MediaCommand::Unbind { worker: 0, ports: more.clone() });
    exchange.settle(&a);
    exchange.counters_when(|counters| counters.pairs == 6);
    converse(&mut a, &mut b);
    assert_eq!(sockets(), 12 + 4);
    let ours = more.swap_remove(0).rtp_port;
    let other = std::net::UdpSocket::bind((a.address.ip(), ours)).expect("somebody else takes a port");
    // A name that was given up opens nothing.
    let (mut c, mut d) = (exchange.phone(0), exchange.phone(1));
    exchange.call_on(&mut c, &mut d, [more[0], more[1]]);
    for phone in [&c, &d] {
        let refused = MediaReport::Refused { end: phone.name, why: Refusal::NoSuchPorts };
        while exchange.report() != refused {}
    }
    exchange.close([&c, &d]);
    let again = stock(&mut exchange, 40, 34);
    let ports = |pairs: &[PortPair]| pairs.iter().map(|pair| pair.rtp_port).collect::<BTreeSet<u16>>();
    assert!(ports(&again).is_superset(&ports(&more)) && !ports(&again).contains(&ours));
    let slots: BTreeSet<u32> = again.iter().map(|pair| pair.slot).collect();
    assert_eq!((slots.len(), slots.last().is_some_and(|&last| last < 40)), (34, true));
    let (mut c, mut d) = (exchange.phone(0), exchange.phone(1));
    exchange.call_on(&mut c, &mut d, [again[0], again[33]]);
    converse(&mut c, &mut d);
    converse(&mut a, &mut b);
    exchange.close([&a, &b, &c, &d]);
    drop(other);
}

#[test]
fn ipv6_has_pairs_of_its_own() {
    let Some(mut exchange) = Exchange::start_v6(Mode::Batch) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    for n in 0..5 {
        a.speak(n);
        assert_eq!(b.hear(), n);
        b.speak(n);
        assert_eq!(a.hear(), n);
    }
    exchange.close([&a, &b]);
}

#[test]
fn ends_of_two_workers_are_not_linked() {
    let mut exchange = Exchange::start_with(15, Mode::Batch, 2);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    let of = |exchange: &Exchange, worker| *exchange.ready.iter().find(|pair| pair.worker == worker).unwrap();
    (a.ports, b.ports) = (Some(of(&exchange, 0)), Some(of(&exchange, 1)));
    exchange.open(&mut a);
    exchange.open(&mut b);
    let generation = Generation(9);
    exchange.apply(MediaCommand::Link { from: a.name, to: b.name, generation });
    assert_eq!(exchange.report(), MediaReport::Refused { end: a.name, why: Refusal::DifferentWorkers });
    exchange.close([&a, &b]);
}

#[test]
fn draining_ends_when_the_last_end_closed() {
    let mut exchange = Exchange::start(16, Mode::Batch);
    let mut a = exchange.phone(0);
    exchange.open(&mut a);
    exchange.apply_close(&mut a);
    let Exchange { relay, reports, .. } = exchange;
    relay.drain(Duration::from_secs(30));
    assert!(matches!(reports.try_recv(), Ok(MediaReport::Closed { .. })));
}
