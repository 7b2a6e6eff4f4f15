//! Sides that differ: IPv4 and IPv6 in one call, one port for RTP and RTCP on one side and two on the other.

use crate::kit::{Exchange, Phone};
use crate::log::Log;
use media::command::{OwnPorts, PortPair, SHARING_WORKER, SourceRule, Whereabouts};
use media::srtp::Suite;
use relay::Mode;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

fn talk(a: &mut Phone, b: &mut Phone, packets: std::ops::Range<u16>) {
    for n in packets {
        a.speak(n);
        assert_eq!(b.hear(), n);
        b.speak(n);
        assert_eq!(a.hear(), n);
    }
}

fn report(a: &mut Phone, b: &mut Phone) {
    a.report();
    b.hear_report();
    b.report();
    a.hear_report();
}

#[test]
fn a_phone_of_ipv6_and_one_of_ipv4_hear_each_other() {
    for (host, mode) in [(140, Mode::Batch), (141, Mode::Basic), (142, Mode::Auto)] {
        let Some(mut exchange) = Exchange::start_dual(host, mode) else { return eprintln!("skipped: no IPv6 here") };
        let (mut a, mut b) = (exchange.phone(0), exchange.phone_at(1, IpAddr::V6(Ipv6Addr::LOCALHOST)));
        let ports = [exchange.ready[0], exchange.ready[4]];
        exchange.call_on(&mut a, &mut b, ports);
        talk(&mut a, &mut b, 0..100);
        report(&mut a, &mut b);
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_a.packets_out, of_b.packets_in, of_b.packets_out), (100, 100, 100, 100));
        assert_eq!((of_a.rtcp_in, of_b.rtcp_in, of_a.lost, of_b.lost), (1, 1, 0, 0));
    }
}

#[test]
fn reports_of_a_phone_with_one_port_reach_one_with_two_and_come_back() {
    for (host, mode) in [(143, Mode::Batch), (144, Mode::Basic), (145, Mode::Auto)] {
        for keys in [None, Some(Suite::AesCm128HmacSha1Tag80)] {
            let mut exchange = Exchange::start(host, mode);
            let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
            a.share_port();
            if let Some(suite) = keys {
                a.encrypt(suite);
            }
            exchange.call(&mut a, &mut b);
            report(&mut a, &mut b);
            talk(&mut a, &mut b, 0..30);
            report(&mut a, &mut b);
            let mut stranger = exchange.phone_at(9, Ipv4Addr::new(127, 0, 0, 66).into());
            stranger.aim_at(&a);
            stranger.share_port();
            (0..20).for_each(|_| stranger.report());
            talk(&mut a, &mut b, 30..40);
            exchange.settle(&a);
            b.assert_heard_nothing();
            stranger.assert_heard_nothing();
            let [of_a, of_b] = exchange.close([&a, &b]);
            assert_eq!((of_a.packets_in, of_a.rtcp_in, of_a.rtcp_out), (40, 2, 2), "{of_a:?}");
            assert_eq!((of_b.packets_in, of_b.rtcp_in, of_b.rtcp_out, of_b.dropped_type), (40, 2, 2, 0), "{of_b:?}");
        }
    }
}

/// The programme forwards RTP alone: reports on the same port come to the worker, and the flow goes on beside them.
#[test]
fn reports_on_the_port_of_rtp_pass_by_a_flow_in_the_kernel() {
    let Some(mut exchange) = Exchange::start_in_kernel(Ipv4Addr::new(127, 0, 9, 146).into()) else { return };
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    a.share_port();
    b.share_port();
    exchange.call(&mut a, &mut b);
    let mut n = 0;
    while exchange.relay.counters().carried < 2 {
        assert!(n < 5_000, "the kernel carries nothing");
        talk(&mut a, &mut b, n..n + 1);
        n += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    let before = exchange.relay.counters();
    for n in n..n + 100 {
        talk(&mut a, &mut b, n..n + 1);
        report(&mut a, &mut b);
    }
    assert_eq!(exchange.relay.counters().switches, before.switches, "a report took the flow out");
    let [of_a, of_b] = exchange.close([&a, &b]);
    let packets = u64::from(n) + 100;
    assert_eq!((of_a.packets_in, of_b.packets_in, of_a.rtcp_in, of_b.rtcp_in), (packets, packets, 100, 100));
    assert!(exchange.relay.counters().packets_carried >= 150);
}

fn share(phone: &mut Phone) {
    phone.whereabouts.single_port = true;
}

#[test]
fn two_hundred_phones_on_one_port_hear_each_his_own() {
    for (host, mode) in [(147, Mode::Batch), (148, Mode::Basic), (149, Mode::Auto)] {
        let mut exchange = Exchange::start_single(host, mode, 20_500, 200);
        let mut calls = Vec::new();
        for n in 0..100 {
            let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
            share(&mut a);
            share(&mut b);
            // Some reports use the port itself, others the one above.
            if n % 3 == 0 {
                a.share_port();
            }
            let ports = [exchange.ready[2 * n], exchange.ready[2 * n + 1]];
            exchange.call_on(&mut a, &mut b, ports);
            calls.push((a, b));
        }
        let mut stranger = exchange.phone_at(9, Ipv4Addr::new(127, 0, 0, 66).into());
        stranger.aim_at(&calls[0].0);
        for n in 0..10 {
            // All at once, so that many packets wait in the one socket.
            for (a, b) in &mut calls {
                a.speak(n);
                b.speak(n);
            }
            stranger.speak(n);
            stranger.report();
            for (a, b) in &mut calls {
                assert_eq!((b.hear(), a.hear()), (n, n));
            }
        }
        for (a, b) in &mut calls {
            report(a, b);
        }
        stranger.assert_heard_nothing();
        exchange.settle(&calls[0].0);
        let counters = exchange.counters_when(|counters| counters.totals.dropped_source >= 20);
        assert!(counters.totals.dropped_source >= 20, "{counters:?}");
        let phones: Vec<&Phone> = calls.iter().flat_map(|(a, b)| [a, b]).collect();
        for pair in exchange.close_all(&phones).chunks(2) {
            let (of_a, of_b) = (pair[0].0, pair[1].0);
            assert_eq!((of_a.packets_in, of_a.packets_out, of_b.packets_in, of_b.packets_out), (10, 10, 10, 10));
            assert_eq!((of_a.rtcp_in, of_b.rtcp_in, of_a.dropped_source), (1, 1, 0));
        }
    }
}

#[test]
fn one_phone_shares_the_port_and_the_other_has_its_own_behind_nat() {
    let mut exchange = Exchange::start_single(150, Mode::Auto, 20_500, 4);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    share(&mut a);
    b.rule = SourceRule::LearnOnce;
    b.described = exchange.phone(7).described;
    exchange.call(&mut a, &mut b);
    b.speak_until_heard_by(&mut a);
    talk(&mut a, &mut b, 500..600);
    // In the middle of the call it is told its own port, and then the shared one again.
    for single_port in [false, true] {
        a.whereabouts = Whereabouts { single_port, ..a.whereabouts };
        let described = Some(a.described);
        exchange.latch(&mut a, described, media::sdp::Direction::SendRecv);
        exchange.settle(&a);
        exchange.aim(&mut a);
        talk(&mut a, &mut b, 600..650);
    }
    exchange.close([&a, &b]);
}

/// Who is called is told the shared port once it has described itself: in the middle of a call whose socket is connected.
#[test]
fn who_had_a_port_of_its_own_goes_on_on_the_shared_one() {
    for (host, mode) in [(157, Mode::Batch), (158, Mode::Basic), (159, Mode::Auto)] {
        let mut exchange = Exchange::start_single(host, mode, 20_500, 4);
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        share(&mut a);
        exchange.call(&mut a, &mut b);
        talk(&mut a, &mut b, 0..100);
        share(&mut b);
        let described = Some(b.described);
        exchange.latch(&mut b, described, media::sdp::Direction::SendRecv);
        exchange.settle(&b);
        exchange.aim(&mut b);
        talk(&mut a, &mut b, 100..200);
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_b.packets_in, of_a.dropped_send, of_b.dropped_send), (200, 200, 0, 0));
    }
}

/// The port is with one worker; calls of the other have ports of their own.
#[test]
fn of_two_workers_one_has_the_shared_port() {
    for (host, mode) in [(154, Mode::Batch), (155, Mode::Basic), (156, Mode::Auto)] {
        let mut exchange = Exchange::start_single_with(host, mode, 20_500, 16, 2);
        let mut calls = Vec::new();
        for n in 0..8 {
            let worker = n % 2;
            let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
            if worker == SHARING_WORKER {
                share(&mut a);
                share(&mut b);
            }
            let of_worker = exchange.ready.iter().filter(|pair| pair.worker == worker);
            let ready: Vec<PortPair> = of_worker.skip(usize::from(n / 2 * 2)).take(2).copied().collect();
            exchange.call_on(&mut a, &mut b, [ready[0], ready[1]]);
            calls.push((a, b));
        }
        for n in 0..50 {
            for (a, b) in &mut calls {
                a.speak(n);
                b.speak(n);
            }
            for (a, b) in &mut calls {
                assert_eq!((b.hear(), a.hear()), (n, n));
            }
        }
        for (a, b) in &mut calls {
            report(a, b);
        }
        let phones: Vec<&Phone> = calls.iter().flat_map(|(a, b)| [a, b]).collect();
        for (counters, _) in exchange.close_all(&phones) {
            assert_eq!((counters.packets_in, counters.packets_out, counters.rtcp_in), (50, 50, 1));
        }
    }
}

#[test]
fn a_stranger_does_not_enter_the_shared_port_by_anything_but_the_address_of_another() {
    for (host, mode) in [(151, Mode::Batch), (152, Mode::Basic), (153, Mode::Auto)] {
        let mut exchange = Exchange::start_single(host, mode, 20_500, 4);
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        share(&mut a);
        share(&mut b);
        exchange.call(&mut a, &mut b);
        let mut stranger = exchange.phone_at(9, Ipv4Addr::new(127, 0, 0, 66).into());
        stranger.aim_at(&a);
        for n in 0..100 {
            // The numbers and the name of the phone itself, whatever it may have heard of them.
            let packet = a.say(n);
            stranger.send(&packet);
            stranger.speak(n);
            stranger.report();
            assert_eq!(b.hear(), n);
            b.speak(n);
            assert_eq!(a.hear(), n);
        }
        exchange.settle(&a);
        b.assert_heard_nothing();
        stranger.assert_heard_nothing();
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_b.packets_in, of_a.rtcp_in, of_b.rtcp_out), (100, 100, 0, 0));
    }
}

/// Where there is a port to share, each leg that has ports of its own is in the log with its port and the reason.
#[test]
fn who_has_ports_of_its_own_is_in_the_log_with_the_reason() {
    let log = Log::of_this_thread();
    let mut exchange = Exchange::start_single(249, Mode::Batch, 20_500, 8);
    let line = log.lines().into_iter().find(|line| line.contains("media relay started"));
    assert!(line.is_some_and(|line| line.contains("asked=batch") && line.contains("tier=batch")));
    for (n, why) in [
        (0, Some(OwnPorts::BehindNat)),
        (1, Some(OwnPorts::Called)),
        (2, Some(OwnPorts::SameAddress)),
        (3, Some(OwnPorts::Trunk)),
        (4, None),
    ] {
        let mut phone = exchange.phone(n);
        phone.whereabouts.own = why;
        phone.ports = Some(exchange.ready[usize::from(n)]);
        let before = log.lines().len();
        exchange.open(&mut phone);
        let lines = log.lines().split_off(before);
        let Some(why) = why else {
            assert_eq!(lines, Vec::<String>::new());
            continue;
        };
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let (port, end) = (phone.ports().rtp_port, phone.name);
        assert!(line.starts_with("INFO") && line.contains("a leg has media ports of its own"), "{line}");
        assert!(line.contains(&format!("end={end} port={port} why={why}")), "{line}");
    }
}
