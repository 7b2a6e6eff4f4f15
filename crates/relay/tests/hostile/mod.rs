//! Attacks from a third address on calls of each tier: nothing foreign is relayed, nothing is sent to strangers, the
//! parties lose nothing, and the counters show it.

use crate::kit::{Exchange, Phone};
use media::command::SourceRule;
use media::rtcp::{print_bye, print_receiver_report};
use media::rtp::RtpHeader;
use media::srtp::Suite;
use relay::{Mode, Tier};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Each tier on an address of its own; where the host has no kernel tier, its tests run in the one below.
fn tiers(host: u8) -> [Exchange; 3] {
    let tiers = [(host, Mode::Batch), (host + 1, Mode::Basic), (host + 2, Mode::Auto)];
    tiers.map(|(host, mode)| Exchange::start(host, mode))
}

/// A packet as the phone of leg 0 writes it.
fn as_if_from_a(n: u16, ssrc: u32) -> Vec<u8> {
    let timestamp = u32::from(n) * 160;
    let header = RtpHeader { marker: false, payload_type: 0, sequence: n, timestamp, ssrc };
    [&header.print()[..], &[0x11; 160]].concat()
}

const SSRC_OF_A: u32 = 0xa000;

/// Both speak `packets` times, while a stranger does what it does.
fn talk(a: &mut Phone, b: &mut Phone, from: u16, packets: u16, mut meanwhile: impl FnMut(u16)) {
    for n in from..from + packets {
        meanwhile(n);
        a.speak(n);
        assert_eq!(b.hear(), n);
        meanwhile(n);
        b.speak(n + 10_000);
        assert_eq!(a.hear(), n + 10_000);
    }
}

/// Asserts that the parties' packets went by the tier that the test stands for: the kernel where it can, and there and elsewhere
/// no packet is counted that did not.
fn assert_carried(exchange: &Exchange) {
    let passed = exchange.counters_when(|counters| counters.totals.packets > 0).totals.packets;
    assert!(passed > 0, "nothing passed: {:?}", exchange.relay.counters());
    match exchange.relay.tier() {
        Tier::Kernel { .. } => {
            let counters = exchange.counters_when(|counters| counters.packets_carried > 0);
            assert!(counters.packets_carried > 0, "the kernel carried nothing: {counters:?}");
        }
        Tier::Batch { why } => {
            if let Some(why) = why {
                eprintln!("skipped: not in the kernel: {why}");
            }
            assert_eq!(exchange.relay.counters().packets_carried, 0);
        }
        Tier::Basic => assert_eq!(exchange.relay.counters().packets_carried, 0),
    }
}

/// The same where something of the call is for workers alone, in each tier.
fn assert_by_sockets(exchange: &Exchange) {
    let counters = exchange.counters_when(|counters| counters.totals.packets > 0);
    assert!(counters.totals.packets > 0 && counters.packets_carried == 0, "{counters:?}");
}

#[test]
fn a_call_sprayed_from_its_beginning_is_heard_by_its_parties_alone() {
    for mut exchange in tiers(100) {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        exchange.settle(&a);
        let mut strangers = [exchange.phone(9), exchange.phone(10)];
        strangers[0].aim_at(&a);
        strangers[1].aim_at(&b);
        // Before anybody spoke, in the moment that they begin, and when all is settled.
        for n in 0..100 {
            for stranger in &mut strangers {
                stranger.speak(n);
            }
            if n % 10 == 9 {
                // More at once than a socket holds is lost in the kernel, whoever sent it.
                exchange.settle(&a);
            }
        }
        talk(&mut a, &mut b, 0, 120, |n| {
            for stranger in &mut strangers {
                stranger.speak(n);
                // As the phone itself numbers and names its packets.
                stranger.send(&as_if_from_a(n + 1, SSRC_OF_A));
                stranger.report();
            }
        });
        strangers.iter_mut().for_each(Phone::assert_heard_nothing);
        assert_carried(&exchange);
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_a.packets_out, of_b.packets_in, of_b.packets_out), (120, 120, 120, 120));
        assert_eq!((of_a.lost, of_b.lost, of_a.rtcp_in, of_b.rtcp_in), (0, 0, 0, 0));
        assert!(of_a.dropped_source >= 100 && of_b.dropped_source >= 100, "{of_a:?} {of_b:?}");
    }
}

#[test]
fn the_whole_range_sprayed_gives_nothing_to_hear() {
    for mut exchange in tiers(103) {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        let mut stranger = exchange.phone(9);
        let ports: Vec<u16> = exchange.ready.iter().flat_map(|pair| [pair.rtp_port, pair.rtcp_port()]).collect();
        talk(&mut a, &mut b, 0, 30, |n| {
            for port in &ports {
                stranger.send_to(*port, &as_if_from_a(n, SSRC_OF_A));
                stranger.send_to(*port, &[0x80, 201, 0, 1, 0, 0, 0, 1]);
            }
        });
        stranger.assert_heard_nothing();
        assert_carried(&exchange);
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_b.packets_in, of_a.rtcp_out, of_b.rtcp_out), (30, 30, 0, 0));
    }
}

#[test]
fn after_the_end_nobody_is_heard() {
    for mut exchange in tiers(106) {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        talk(&mut a, &mut b, 0, 20, |_| ());
        assert_carried(&exchange);
        let mut stranger = exchange.phone(9);
        stranger.aim_at(&a);
        exchange.close([&a, &b]);
        for n in 100..150 {
            stranger.speak(n);
            a.speak(n);
            b.report();
        }
        exchange.settle(&a);
        for phone in [&mut stranger, &mut a, &mut b] {
            phone.assert_heard_nothing();
        }
    }
}

#[test]
fn a_thief_who_runs_ahead_of_the_described_address_loses_at_once() {
    for mut exchange in tiers(109) {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        a.rule = SourceRule::LearnOnce;
        exchange.call(&mut a, &mut b);
        exchange.settle(&a);
        let mut thief = exchange.phone(9);
        thief.aim_at(&a);
        // It runs from the answer on, and as fast as it can: that is no speech, and nothing is learnt of it.
        (0..200).for_each(|n| thief.speak(n));
        let mut stolen = 0;
        for n in 0..60 {
            thief.speak(1_000 + n);
            b.speak(n);
            if a.heard_within_a_moment().is_none() {
                stolen += 1;
            }
            a.speak(2_000 + n);
            assert_eq!(b.hear_of(SSRC_OF_A), 2_000 + n);
        }
        assert_eq!(stolen, 0, "the phone hears what the other says from the first packet on");
        let heard = thief.count_heard();
        assert!(heard <= 5, "{heard} packets reached the thief");
        assert_carried(&exchange);
        exchange.close([&a, &b]);
    }
}

#[test]
fn what_was_encrypted_is_heard_once_and_from_nobody_else() {
    for mut exchange in tiers(112) {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        a.rule = SourceRule::LearnOnce;
        a.encrypt(Suite::AesCm128HmacSha1Tag80);
        exchange.call(&mut a, &mut b);
        let mut stranger = exchange.phone(9);
        stranger.aim_at(&a);
        for n in 0..40 {
            let packet = a.say(n);
            assert_eq!(b.hear(), n);
            // The same again from the phone and from elsewhere, changed, and plain.
            a.send(&packet);
            stranger.send(&packet);
            let mut changed = packet.clone();
            changed[20] ^= 1;
            a.send(&changed);
            stranger.send(&changed);
            stranger.send(&as_if_from_a(n + 1, SSRC_OF_A));
            a.send(&as_if_from_a(n + 1, SSRC_OF_A));
        }
        a.speak(900);
        assert_eq!(b.hear(), 900);
        b.assert_heard_nothing();
        stranger.assert_heard_nothing();
        // What is encrypted is not for the kernel.
        assert_by_sockets(&exchange);
        let [of_a, _] = exchange.close([&a, &b]);
        // What is changed has the number of what was heard, and is not even decrypted.
        assert_eq!((of_a.packets_in, of_a.dropped_replayed), (41, 80), "{of_a:?}");
        assert!(of_a.dropped_forged >= 40, "{of_a:?}");
    }
}

#[test]
fn giants_and_dwarfs_hold_nobody_up() {
    for mut exchange in tiers(115) {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        let mut stranger = exchange.phone(9);
        stranger.aim_at(&a);
        let sizes = [0, 1, 2, 11, 12, 13, 1_500, 2_047, 2_049, 9_000, 60_000];
        for (n, size) in (0..).zip(sizes) {
            let zeros = vec![0; size];
            let mut rtp = as_if_from_a(n, SSRC_OF_A);
            rtp.resize(size.max(1), 0x22);
            for bytes in [&zeros, &rtp] {
                stranger.send(bytes);
                stranger.send_report(bytes);
                // What the phone itself writes that is no packet goes nowhere either.
                if !(12..=2_048).contains(&size) {
                    a.send(bytes);
                    a.send_report(bytes);
                }
            }
            a.speak(100 + n);
            assert_eq!(b.hear(), 100 + n);
        }
        b.assert_heard_nothing();
        stranger.assert_heard_nothing();
        // Of a call in which one side says nothing the kernel carries nothing.
        assert_by_sockets(&exchange);
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.packets_in, of_b.packets_out, of_b.rtcp_out), (11, 11, 0));
        assert!(of_a.dropped_type > 0 && of_a.dropped_source > 0, "{of_a:?}");
    }
}

#[test]
fn floods_of_reports_and_forged_goodbyes_reach_nobody() {
    for mut exchange in tiers(118) {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        let mut goodbye = Vec::new();
        print_receiver_report(&mut goodbye, SSRC_OF_A, &[]);
        print_bye(&mut goodbye, SSRC_OF_A);
        let mut strangers = [exchange.phone(9), exchange.phone(10)];
        strangers[0].aim_at(&a);
        strangers[1].aim_at(&b);
        talk(&mut a, &mut b, 0, 50, |_| {
            for stranger in &mut strangers {
                (0..20).for_each(|_| stranger.send_report(&goodbye));
                stranger.send(&goodbye);
            }
        });
        exchange.settle(&a);
        // Reports of the parties pass as before.
        a.report();
        b.hear_report();
        b.report();
        a.hear_report();
        strangers.iter_mut().for_each(Phone::assert_heard_nothing);
        assert_carried(&exchange);
        let [of_a, of_b] = exchange.close([&a, &b]);
        assert_eq!((of_a.rtcp_in, of_a.rtcp_out, of_b.rtcp_in, of_b.rtcp_out), (1, 1, 1, 1));
        assert!(of_a.dropped_source >= 500 && of_b.dropped_source >= 500, "{of_a:?} {of_b:?}");
    }
}

#[test]
fn a_trunk_is_heard_from_one_other_address_and_spoken_to_where_it_says() {
    for mut exchange in tiers(121) {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        // Its audio comes from a machine that its description does not name.
        let mut described = exchange.phone(7);
        a.described = described.described;
        a.rule = SourceRule::HearOnce;
        exchange.call(&mut a, &mut b);
        described.aim_at(&a);
        a.speak_until_heard_by(&mut b);
        let mut stranger = exchange.phone(9);
        stranger.aim_at(&a);
        for n in 0..50 {
            stranger.speak(n);
            b.speak(3_000 + n);
            assert_eq!(described.hear(), 3_000 + n);
            a.speak(4_000 + n);
            assert_eq!(b.hear_of(SSRC_OF_A), 4_000 + n);
        }
        a.assert_heard_nothing();
        stranger.assert_heard_nothing();
        // The described address speaks, and is the only one from then on.
        described.speak(1);
        assert_eq!(b.hear_of(0xa007), 1);
        (0..20).for_each(|n| a.speak(5_000 + n));
        described.speak(2);
        assert_eq!(b.hear_of(0xa007), 2);
        assert_carried(&exchange);
        exchange.close([&a, &b]);
    }
}

/// The phone of leg 0 behind NAT: it is at an address of its own, where its signalling comes from too, and describes
/// another; the other party; and a stranger who aims at the phone's port.
fn behind_nat(exchange: &mut Exchange, host: u8) -> [Phone; 3] {
    let mut a = exchange.phone_at(0, Ipv4Addr::new(127, 0, 8, host).into());
    let mut b = exchange.phone(1);
    a.described = exchange.phone(7).described;
    a.rule = SourceRule::LearnOnce;
    exchange.call(&mut a, &mut b);
    exchange.settle(&a);
    let mut stranger = exchange.phone_at(9, Ipv4Addr::new(127, 0, 0, 66).into());
    stranger.aim_at(&a);
    [a, b, stranger]
}

/// A phone that suppresses silence, or is muted, may say nothing for long: what the other says goes to nobody else.
#[test]
fn a_stranger_who_speaks_in_the_place_of_a_silent_phone_behind_nat_gets_nothing() {
    for (host, mut exchange) in (124..).zip(tiers(124)) {
        let [mut a, mut b, mut stranger] = behind_nat(&mut exchange, host);
        // As steadily as a phone.
        for n in 0..150 {
            stranger.speak(n);
            b.speak(n);
            assert_eq!(b.heard_within(Duration::from_millis(20)), None);
        }
        stranger.assert_heard_nothing();
        a.speak_until_heard_by(&mut b);
        talk_beside(&mut a, &mut b, &mut stranger, 200);
        assert_carried(&exchange);
        exchange.close([&a, &b]);
    }
}

/// Both parties hear each other, and a stranger who speaks all the while, from that number on, hears nothing.
fn talk_beside(a: &mut Phone, b: &mut Phone, stranger: &mut Phone, from: u16) {
    for n in 0..50 {
        stranger.speak(from + n);
        b.speak(3_000 + n);
        assert_eq!(a.hear(), 3_000 + n);
        a.speak(4_000 + n);
        assert_eq!(b.hear_of(SSRC_OF_A), 4_000 + n);
    }
    stranger.assert_heard_nothing();
}

/// A burst of more packets than a receive buffer holds ([`relay::RECEIVE_BUFFER`]) is met by what the socket is: one
/// that is connected is not reached by it. Of one that is not, a party may lose the packets that come while the buffer
/// is full, which lasts until the worker's next look: a thousandth of a second, or as long as it takes to read
/// [`relay::READS_PER_SOCKET`] packets at a time.
#[test]
fn bursts_cost_a_settled_call_nothing_and_a_young_one_moments() {
    for mut exchange in tiers(130) {
        let connects = !matches!(exchange.relay.tier(), Tier::Basic);
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        exchange.settle(&a);
        let mut strangers = [exchange.phone_at(9, Ipv4Addr::new(127, 0, 0, 66).into()), exchange.phone(10)];
        strangers[0].aim_at(&a);
        strangers[1].aim_at(&b);
        let mut burst = || {
            for n in 0..400 {
                for stranger in &mut strangers {
                    stranger.speak(n);
                }
            }
        };
        // Before anybody spoke: both are heard within a few packets of the pace of a phone.
        burst();
        assert!(a.speaks_to(&mut b, 0, 5) && b.speaks_to(&mut a, 0, 5));
        talk(&mut a, &mut b, 100, 20, |_| ());
        exchange.settle(&a);
        let mut lost = 0;
        for n in 0..20 {
            burst();
            a.speak(1_000 + n);
            b.speak(2_000 + n);
            lost += usize::from(!b.hears(1_000 + n)) + usize::from(!a.hears(2_000 + n));
            assert!(a.speaks_to(&mut b, 3_000 + 10 * n, 5) && b.speaks_to(&mut a, 3_000 + 10 * n, 5));
        }
        assert!(!connects || lost == 0, "{lost} packets of the parties were lost");
        strangers.iter_mut().for_each(Phone::assert_heard_nothing);
        assert_carried(&exchange);
        exchange.close([&a, &b]);
    }
}
