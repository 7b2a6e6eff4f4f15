//! The tier `kernel` over loopback. Where the host does not allow it, each test says so and what is left is the fallback.

use crate::kit::{Exchange, Phone};
use crate::log::Log;
use media::command::{MediaReport, SourceRule};
use media::sdp::Direction;
use relay::{Mode, Tier};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

fn host(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 9, n).into()
}

/// Lets both speak and hear until the kernel carries both directions; gives the next number.
pub(crate) fn settle_in(exchange: &Exchange, a: &mut Phone, b: &mut Phone, mut n: u16) -> u16 {
    let before = exchange.relay.counters().packets_carried;
    for _ in 0..2_000 {
        a.speak(n);
        assert_eq!(b.hear(), n);
        b.speak(n);
        assert_eq!(a.hear(), n);
        n += 1;
        let counters = exchange.relay.counters();
        if counters.carried == 2 && counters.packets_carried >= before + 10 {
            return n;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the kernel carries nothing: {:?}", exchange.relay.counters());
}

#[test]
fn a_settled_call_goes_through_the_kernel_and_its_figures_are_those_of_the_worker() {
    let Some(mut exchange) = Exchange::start_in_kernel(host(30)) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    let n = settle_in(&exchange, &mut a, &mut b, 0);
    // Two numbers are left out, so two packets are lost.
    for n in n + 2..n + 102 {
        a.speak(n);
        assert_eq!(b.hear(), n);
    }
    a.report();
    b.hear_report();
    let [of_a, of_b] = exchange.close([&a, &b]);
    let (spoken_a, spoken_b) = (u64::from(n) + 100, u64::from(n));
    assert_eq!((of_a.packets_in, of_a.packets_out, of_a.lost, of_a.rtcp_in), (spoken_a, spoken_b, 2, 1));
    assert_eq!((of_b.packets_in, of_b.packets_out, of_b.lost, of_b.rtcp_out), (spoken_b, spoken_a, 0, 1));
    assert_eq!((of_a.bytes_in, of_b.bytes_out, of_b.bytes_in), (spoken_a * 172, spoken_a * 172, spoken_b * 172));
    assert_eq!((of_a.dropped_source, of_a.dropped_type, of_a.dropped_unlinked), (0, 0, 0));
    assert!(of_a.jitter_us < 1_000_000);
    let counters = exchange.counters_when(|counters| counters.totals.ends == 0);
    assert_eq!((counters.totals.packets, counters.carried), (spoken_a + spoken_b, 0));
    assert!(counters.packets_carried >= 100);
}

#[test]
fn a_thousand_switches_of_tier_under_load_lose_double_and_overtake_nothing() {
    // Records rest for a second after use, and there are as many as ports allow.
    let more = |config: &mut relay::Config| config.port_max = 28_499;
    let Some(mut exchange) = Exchange::start_in_kernel_with(host(31), more) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    let mut heard = [Vec::new(), Vec::new()];
    let mut sent = 0;
    // There and back again counts twice, and so do the two directions.
    while exchange.relay.counters().switches < 2_000 {
        assert!(sent < 60_000, "too few switches: {:?}", exchange.relay.counters());
        for _ in 0..24 {
            a.speak(sent);
            b.speak(sent);
            sent += 1;
            // The kernel takes over between two packets: a dozen a millisecond leave little room for that, and some.
            std::thread::sleep(Duration::from_micros(50));
            heard[0].extend(std::iter::from_fn(|| a.heard()));
            heard[1].extend(std::iter::from_fn(|| b.heard()));
            // Some are always under way, and never so many that a buffer overflows.
            while heard[0].len() + UNDER_WAY < usize::from(sent) {
                heard[0].push(a.hear());
            }
            while heard[1].len() + UNDER_WAY < usize::from(sent) {
                heard[1].push(b.hear());
            }
        }
        let phone = if sent % 48 == 0 { &mut a } else { &mut b };
        let described = phone.described;
        exchange.latch(phone, Some(described), Direction::SendRecv);
    }
    while heard[0].len() < usize::from(sent) {
        heard[0].push(a.hear());
    }
    while heard[1].len() < usize::from(sent) {
        heard[1].push(b.hear());
    }
    for heard in &heard {
        assert_eq!(heard.iter().copied().collect::<BTreeSet<_>>(), (0..sent).collect::<BTreeSet<_>>());
        assert_eq!(heard.len(), usize::from(sent), "something came twice");
        // What waits in the socket while the kernel takes over is not overtaken by what comes behind it.
        let overtaken: Vec<_> = heard.windows(2).filter(|two| two[1] < two[0]).collect();
        assert!(overtaken.is_empty(), "{overtaken:?} of {sent}");
    }
    assert_eq!((a.heard(), b.heard()), (None, None));
    let [of_a, of_b] = exchange.close([&a, &b]);
    let sent = u64::from(sent);
    assert_eq!((of_a.packets_in, of_a.packets_out, of_a.lost), (sent, sent, 0));
    assert_eq!((of_b.packets_in, of_b.packets_out, of_b.lost), (sent, sent, 0));
    assert!(exchange.relay.counters().packets_carried > 1_000);
}

#[test]
fn a_stranger_is_not_heard_beside_a_flow_in_the_kernel_and_does_not_disturb_it() {
    let Some(mut exchange) = Exchange::start_in_kernel(host(32)) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    a.rule = SourceRule::LearnOnce;
    exchange.call(&mut a, &mut b);
    let n = settle_in(&exchange, &mut a, &mut b, 0);
    let mut stranger = exchange.phone(9);
    stranger.aim_at(&a);
    let before = exchange.relay.counters().switches;
    for n in n..n + 100 {
        stranger.speak(30_000 + n);
        a.speak(n);
        assert_eq!(b.hear(), n);
        b.speak(n);
        assert_eq!(a.hear(), n);
    }
    stranger.assert_heard_nothing();
    exchange.settle(&a);
    assert_eq!(exchange.relay.counters().switches, before);
    let [of_a, _] = exchange.close([&a, &b]);
    assert_eq!(of_a.packets_in, u64::from(n) + 100);
}

#[test]
fn who_was_learnt_loses_its_flow_when_the_described_address_speaks() {
    let Some(mut exchange) = Exchange::start_in_kernel(host(33)) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    a.rule = SourceRule::LearnOnce;
    exchange.call(&mut a, &mut b);
    let mut thief = exchange.phone(9);
    thief.aim_at(&a);
    thief.speak_until_heard_by(&mut b);
    let mut n = 1_000;
    while exchange.relay.counters().carried < 2 {
        thief.speak(n);
        assert_eq!(b.hear(), n);
        b.speak(n);
        assert_eq!(thief.hear(), n);
        n += 1;
    }
    a.speak(7);
    assert_eq!(b.hear(), 7);
    for n in 10..60 {
        thief.speak(9_000 + n);
        b.speak(n);
        assert_eq!(a.hear(), n);
        a.speak(n);
        assert_eq!(b.hear(), n);
    }
    thief.assert_heard_nothing();
    exchange.close([&a, &b]);
}

#[test]
fn a_new_description_and_hold_take_a_flow_out_at_once() {
    let Some(mut exchange) = Exchange::start_in_kernel(host(34)) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    let n = settle_in(&exchange, &mut a, &mut b, 0);
    let mut moved = exchange.phone(5);
    moved.aim_at(&a);
    exchange.latch(&mut a, Some(moved.described), Direction::SendRecv);
    exchange.settle(&a);
    a.speak(900);
    b.speak(n);
    assert_eq!(moved.hear(), n);
    let n = settle_in(&exchange, &mut moved, &mut b, 2_000);
    a.assert_heard_nothing();
    let described = b.described;
    exchange.latch(&mut b, Some(described), Direction::Inactive);
    exchange.settle(&b);
    moved.speak(n);
    b.speak(n);
    moved.report();
    b.hear_report();
    assert_eq!((moved.heard(), b.heard()), (None, None));
    let [of_a, of_b] = exchange.close([&a, &b]);
    assert_eq!((of_a.dropped_unlinked, of_b.dropped_unlinked), (1, 1));
}

#[test]
fn digits_are_told_while_the_kernel_carries_speech_and_speech_goes_back_there() {
    let Some(mut exchange) = Exchange::start_in_kernel(host(35)) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    let n = settle_in(&exchange, &mut a, &mut b, 0);
    a.press('7', 100);
    let digit = MediaReport::Dtmf { end: a.name, digit: '7', duration_ms: 100 };
    while exchange.report() != digit {}
    // The end of the digit is said three times.
    a.speak(n + 10);
    while b.hear_packet().len() < 172 {}
    settle_in(&exchange, &mut a, &mut b, n + 20);
    exchange.close([&a, &b]);
}

#[test]
fn speech_in_the_kernel_is_no_silence_and_its_end_is() {
    let Some(mut exchange) = Exchange::start_in_kernel(host(36)) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    a.silence = Some(Duration::from_millis(1_500));
    exchange.call(&mut a, &mut b);
    let n = settle_in(&exchange, &mut a, &mut b, 0);
    let first = [exchange.report(), exchange.report()];
    assert!(first.iter().all(|report| matches!(report, MediaReport::FirstPacket { .. })), "{first:?}");
    for n in n..n + 90 {
        a.speak(n);
        assert_eq!(b.hear(), n);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(exchange.reports.try_recv().is_err());
    assert_eq!(exchange.report(), MediaReport::Silent { end: a.name });
    exchange.close([&a, &b]);
}

#[test]
fn an_echo_and_ipv6_are_carried_too() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return eprintln!("skipped: this host has no IPv6");
    }
    let Some(mut exchange) = Exchange::start_in_kernel(Ipv6Addr::LOCALHOST.into()) else { return };
    let mut a = exchange.phone(0);
    exchange.open(&mut a);
    let (from, generation) = (a.name, a.generation.step());
    exchange.apply(media::command::MediaCommand::Link { from, to: from, generation });
    let mut n = 0;
    while exchange.relay.counters().packets_carried < 20 {
        a.speak(n);
        assert_eq!(a.hear(), n);
        n += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    let [counters, _] = exchange.close([&a, &a]);
    assert_eq!((counters.packets_in, counters.packets_out, counters.lost), (u64::from(n), u64::from(n), 0));
}

#[test]
fn without_the_right_to_it_calls_go_by_sockets_and_the_reason_is_told() {
    let drop_rights = || {
        let none = rustix::thread::CapabilitySet::empty();
        let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).expect("rights can be given up");
    };
    // Rights are those of a thread: the relay's threads inherit what this one has.
    let thread = std::thread::spawn(move || {
        drop_rights();
        let mut exchange = Exchange::start(37, Mode::Kernel);
        let why = net::offload::OffloadError::NotPermitted;
        assert_eq!(exchange.relay.tier(), &Tier::Batch { why: Some(why) });
        assert!(exchange.relay.tier().to_string().starts_with("batch (not permitted"));
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        for n in 0..50 {
            a.speak(n);
            assert_eq!(b.hear(), n);
        }
        assert_eq!(exchange.relay.counters().switches, 0);
        exchange.close([&a, &b]);
    });
    thread.join().unwrap();
}

/// How many packets of a direction may be under way.
const UNDER_WAY: usize = 16;

/// More directions of audio than the kernel has records for: the others go by sockets, that is counted and said, and when a call
/// ends the next one goes through the kernel.
#[test]
fn flows_that_the_kernel_has_no_room_for_go_by_sockets() {
    // Workers have threads of their own: what they say is in the log of the process.
    let log = Log::of_all();
    let Some(mut exchange) = Exchange::start_in_kernel_with(host(247), |config| config.flows_max = 2) else { return };
    let mut calls = [0, 1].map(|_| (exchange.phone(0), exchange.phone(1)));
    let ready = exchange.ready.clone();
    for ((a, b), ports) in calls.iter_mut().zip(ready.chunks(2)) {
        exchange.call_on(a, b, [ports[0], ports[1]]);
    }
    let talk = |calls: &mut [(Phone, Phone)], n| {
        for (a, b) in calls {
            a.speak(n);
            b.speak(n);
            assert_eq!((b.hear(), a.hear()), (n, n));
        }
    };
    let mut n = 0;
    let mut until = |exchange: &Exchange, calls: &mut [(Phone, Phone)], is_so: &dyn Fn(&relay::Counters) -> bool| {
        for _ in 0..2_000 {
            talk(calls, n);
            n += 1;
            if is_so(&exchange.relay.counters()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("{:?}", exchange.relay.counters());
    };
    until(&exchange, &mut calls, &|counters| counters.carried == 2 && counters.flows_refused > 0);
    assert_eq!(exchange.relay.counters().carried, 2);
    // Each further one would say the same: it is said once a minute.
    let told: Vec<_> = log.lines().into_iter().filter(|line| line.contains("kernel-tier-full")).collect();
    let [line] = &told[..] else { panic!("{told:?} of {:?}", log.lines()) };
    let text = words::diagnosis::Diagnosis::KernelTierFull.text(words::diagnosis::Language::En);
    assert!(line.starts_with("INFO") && line.contains("carried=2"), "{line}");
    assert!([text.what, text.means, text.todo].iter().all(|words| line.contains(words)), "{line}");
    let [(a, b), other] = &mut calls;
    let closed = exchange.close([a, b]);
    let carried = exchange.counters_when(|counters| counters.carried < 2);
    assert!(closed.iter().all(|of| of.lost == 0) && carried.carried < 2, "{carried:?}");
    // Its records rest for a second; whose turn did not come is asked again later and later.
    until(&exchange, std::slice::from_mut(other), &|counters| counters.carried == 2);
    let [of_a, of_b] = exchange.close([&other.0, &other.1]);
    assert_eq!((of_a.lost, of_b.lost, of_a.packets_in), (0, 0, of_b.packets_in));
}
