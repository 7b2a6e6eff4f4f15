//! Ends with ICE over real sockets, in each tier: who checks is heard and sent to where it is, and whoever else sends
//! checks, wrong or copied, takes nothing from the parties.

use crate::kit::{Exchange, Phone};
use media::command::{MediaCommand, SourceRule};
use media::ice::{Check, Checks, Credentials, request};
use media::rtp::RtpView;
use media::stun::{Class, StunView, TransactionId};
use relay::Mode;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use words::{Chance, Seed};

const THEIRS: &str = "h6vY";

fn named(seed: u64) -> Checks {
    let ours = Credentials::draw(&mut Chance::new(Seed::from_number(seed)));
    Checks { ours, theirs: THEIRS.into(), rtcp_mux: false }
}

/// The relay is told by what a phone's checks are known.
fn give(exchange: &mut Exchange, phone: &mut Phone, checks: &Checks) {
    let (end, ports, generation) = (phone.name, phone.ports(), phone.generation.step());
    exchange.apply(MediaCommand::Ice { end, ports, generation, checks: Some(Box::new(checks.clone())) });
}

fn check(checks: &Checks, n: u64, nominates: bool) -> Vec<u8> {
    let check = Check { transaction_id: id(n), priority: 0x6e00_01ff, nominates };
    request(&checks.ours, THEIRS, &check, true)
}

fn id(n: u64) -> TransactionId {
    let mut id = [0xab; 12];
    id[..8].copy_from_slice(&n.to_be_bytes());
    id
}

/// How a check of a phone is answered: maybe between packets.
fn answer(phone: &mut Phone, n: u64) -> Option<Class> {
    let datagrams = std::iter::from_fn(|| phone.datagram(Duration::from_secs(2)));
    for datagram in datagrams.take(1_000) {
        if let Some(view) = StunView::parse(&datagram) {
            assert_eq!(view.transaction_id(), id(n));
            let told = view.xor_mapped_address();
            assert!(told.is_none_or(|told| told == phone.address));
            return Some(view.class());
        }
    }
    None
}

fn proves(phone: &mut Phone, checks: &Checks, n: u64, nominates: bool) {
    phone.send(&check(checks, n, nominates));
    assert_eq!(answer(phone, n), Some(Class::Success));
}

/// A phone behind NAT that does ICE, described where it is not; the other party; a stranger who aims at its port.
fn behind_nat(exchange: &mut Exchange, host: u8, checks: &Checks) -> [Phone; 3] {
    let mut a = exchange.phone_at(0, Ipv4Addr::new(127, 0, 8, host).into());
    let mut b = exchange.phone(1);
    a.described = exchange.phone(7).described;
    a.rule = SourceRule::LearnOnce;
    exchange.call(&mut a, &mut b);
    give(exchange, &mut a, checks);
    exchange.settle(&a);
    let mut stranger = exchange.phone_at(9, Ipv4Addr::new(127, 0, 0, 66).into());
    stranger.aim_at(&a);
    [a, b, stranger]
}

fn tiers(host: u8) -> [(u8, Exchange); 3] {
    let modes = [(host, Mode::Batch), (host + 1, Mode::Basic), (host + 2, Mode::Auto)];
    modes.map(|(host, mode)| (host, Exchange::start(host, mode)))
}

/// Both speak, and lose nothing.
fn talk(a: &mut Phone, b: &mut Phone, from: u16, packets: u16, mut meanwhile: impl FnMut(u16)) {
    for n in from..from + packets {
        meanwhile(n);
        a.speak(n);
        assert_eq!(b.hear(), n);
        b.speak(n + 10_000);
        assert_eq!(hear(a), n + 10_000);
    }
}

/// The number in the next packet of speech.
fn hear(phone: &mut Phone) -> u16 {
    loop {
        let datagram = phone.datagram(Duration::from_secs(10)).expect("a packet in time");
        if let Some(rtp) = RtpView::parse(&datagram) {
            return rtp.sequence();
        }
    }
}

#[test]
fn who_checks_is_heard_and_sent_to_where_it_is() {
    for (host, mut exchange) in tiers(160) {
        let checks = named(1);
        let [mut a, mut b, mut stranger] = behind_nat(&mut exchange, host, &checks);
        // However steadily both speak: without a check nobody behind NAT is learnt.
        for n in 0..40 {
            a.speak(n);
            stranger.speak(n);
            assert_eq!(b.heard_within(Duration::from_millis(10)), None);
        }
        proves(&mut a, &checks, 1, false);
        proves(&mut a, &checks, 2, true);
        talk(&mut a, &mut b, 100, 60, |n| stranger.speak(n));
        stranger.assert_heard_nothing();
        // Reports have a port of their own, which is checked by itself.
        a.send_report(&check(&checks, 3, true));
        assert_eq!(StunView::parse(&a.hear_report_packet()).map(|view| view.class()), Some(Class::Success));
        b.report();
        a.hear_report();
        a.report();
        b.hear_report();
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_b.packets_in, of_a.rtcp_in, of_a.rtcp_out), (60, 60, 1, 1));
    }
}

#[test]
fn checks_of_a_third_take_nothing_from_the_parties() {
    for (host, mut exchange) in tiers(163) {
        let checks = named(1);
        let [mut a, mut b, mut stranger] = behind_nat(&mut exchange, host, &checks);
        let copied = check(&checks, 1, true);
        a.send(&copied);
        assert_eq!(answer(&mut a, 1), Some(Class::Success));
        let wrong_password = Credentials { pwd: words::Secret::new("x".repeat(24)), ..checks.ours.clone() };
        let wrong_name = Credentials { ufrag: "stranger".into(), ..checks.ours.clone() };
        let nominating = Check { transaction_id: id(7), priority: u32::MAX, nominates: true };
        let bad = [
            request(&wrong_password, THEIRS, &nominating, true),
            request(&wrong_name, THEIRS, &nominating, true),
            request(&checks.ours, "h6vZ", &nominating, true),
            copied.clone(),
            copied[..40].to_vec(),
            media::stun::binding_request(id(8)),
        ];
        talk(&mut a, &mut b, 0, 100, |n| {
            for packet in &bad {
                stranger.send(packet);
                stranger.send_report(packet);
            }
            stranger.speak(n);
        });
        exchange.settle(&a);
        // It is told that it is wrong, a few times, and hears nothing else.
        let mut told = 0;
        while let Some(datagram) = stranger.datagram(Duration::from_millis(50)) {
            assert_eq!(StunView::parse(&datagram).map(|view| view.class()), Some(Class::Error));
            assert!(datagram.len() <= 36, "{} bytes", datagram.len());
            told += 1;
        }
        assert!((1..200).contains(&told), "{told} errors for 600 checks");
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_a.packets_out, of_b.packets_in, of_b.packets_out), (100, 100, 100, 100));
        // In the kernel tier the parties' packets do not wait for the socket, which may be full of checks then.
        assert!(of_a.dropped_source >= 100, "{of_a:?}");
    }
}

#[test]
fn a_flood_of_checks_does_not_keep_the_party_from_being_checked_and_heard() {
    for (host, mut exchange) in tiers(166) {
        let checks = named(1);
        let [mut a, mut b, mut stranger] = behind_nat(&mut exchange, host, &checks);
        let wrong = Credentials { pwd: words::Secret::new("x".repeat(24)), ..checks.ours.clone() };
        let mut flood = |packets: u64| {
            for n in 0..packets {
                let check = Check { transaction_id: id(1_000 + n), priority: 1, nominates: true };
                stranger.send(&request(&wrong, THEIRS, &check, true));
            }
        };
        // More than the socket holds is lost in the kernel, whoever sent it: a check is repeated until it is answered.
        let mut answered = None;
        for _ in 0..20 {
            flood(50);
            a.send(&check(&checks, 1, true));
            flood(150);
            exchange.settle(&a);
            answered = answered.or_else(|| {
                let datagram = a.datagram(Duration::from_millis(100))?;
                StunView::parse(&datagram).map(|view| view.class())
            });
        }
        assert_eq!(answered, Some(Class::Success));
        for n in 0..50 {
            flood(20);
            a.speak(n);
            assert_eq!(b.hear(), n);
        }
        exchange.close([&a, &b]);
    }
}

#[test]
fn packets_follow_a_changed_nomination_and_a_restart() {
    for (host, mut exchange) in tiers(169) {
        let checks = named(1);
        let [mut a, mut b, _] = behind_nat(&mut exchange, host, &checks);
        proves(&mut a, &checks, 1, true);
        // Long enough for the kernel to carry it, where that is possible.
        for n in 0..150 {
            talk(&mut a, &mut b, n, 1, |_| ());
            std::thread::sleep(Duration::from_millis(1));
        }
        // The phone is in another network now.
        let mut there = exchange.phone_at(0, Ipv4Addr::new(127, 0, 8, 200).into());
        there.aim_at(&a);
        std::thread::sleep(Duration::from_millis(1_050));
        proves(&mut there, &checks, 2, true);
        a.drain();
        talk(&mut there, &mut b, 1_000, 100, |_| ());
        a.assert_heard_nothing();
        // Another one, after a restart: what is proven holds until there is something new.
        let next = named(2);
        give(&mut exchange, &mut a, &next);
        exchange.settle(&a);
        talk(&mut there, &mut b, 2_000, 100, |_| ());
        proves(&mut a, &next, 3, true);
        talk(&mut a, &mut b, 3_000, 100, |_| ());
        there.assert_heard_nothing();
        let [of_a, _] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_a.packets_out), (450, 450));
    }
}

#[test]
fn phones_behind_nat_share_one_port_and_are_told_by_their_checks() {
    for (host, mode) in [(172, Mode::Batch), (173, Mode::Basic), (174, Mode::Auto)] {
        let mut exchange = Exchange::start_single(host, mode, 20_500, 40);
        let described = exchange.phone(0).described;
        let mut calls = Vec::new();
        for n in 0..20_u64 {
            let address: IpAddr = Ipv4Addr::new(127, 0, 8, n as u8 + 1).into();
            let (mut a, mut b) = (exchange.phone_at(0, address), exchange.phone(1));
            a.whereabouts.single_port = true;
            // Many sites have the same private addresses.
            (a.described, a.rule) = (described, SourceRule::LearnOnce);
            a.ports = Some(exchange.ready[2 * n as usize]);
            let checks = named(n);
            give(&mut exchange, &mut a, &checks);
            let ports = [exchange.ready[2 * n as usize], exchange.ready[2 * n as usize + 1]];
            exchange.call_on(&mut a, &mut b, ports);
            calls.push((a, b, checks));
        }
        exchange.settle(&calls[0].0);
        let mut stranger = exchange.phone_at(9, Ipv4Addr::new(127, 0, 0, 66).into());
        stranger.aim_at(&calls[0].0);
        for (n, (a, b, checks)) in (0..).zip(&mut calls) {
            a.speak(1);
            assert_eq!(b.heard_within(Duration::from_millis(5)), None);
            let copied = check(checks, n, true);
            a.send(&copied);
            assert_eq!(answer(a, n), Some(Class::Success));
            stranger.send(&copied);
            let unknown = Credentials { ufrag: "stranger".into(), ..checks.ours.clone() };
            stranger.send(&request(
                &unknown,
                THEIRS,
                &Check { transaction_id: id(n), priority: 1, nominates: true },
                true,
            ));
        }
        for n in 0..20 {
            for (a, b, _) in &mut calls {
                a.speak(n);
                b.speak(n);
            }
            stranger.speak(n);
            for (a, b, _) in &mut calls {
                assert_eq!((b.hear(), hear(a)), (n, n));
            }
        }
        stranger.assert_heard_nothing();
        let phones: Vec<&Phone> = calls.iter().flat_map(|(a, b, _)| [a, b]).collect();
        for pair in exchange.close_all(&phones).chunks(2) {
            assert_eq!((pair[0].0.packets_in, pair[0].0.packets_out), (20, 20));
        }
    }
}
