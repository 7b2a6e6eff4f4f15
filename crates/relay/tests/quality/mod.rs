//! How well ends hear and are heard, over loopback: what is lost on purpose is what is told.

use crate::kernel::settle_in;
use crate::kit::{Exchange, Phone};
use media::command::{MediaCommand, Sound};
use media::own::{Extended, OWN_REPORT_BYTES, OwnReport, own_ssrc};
use media::rtcp::{
    Packets, ReportBlock, RtcpView, SenderWords, print_cname, print_receiver_report, print_sender_report,
};
use media::rtp::RtpView;
use media::srtp::Suite;
use media::xr;
use net::batch::monotonic_nanos;
use relay::Mode;
use std::net::Ipv4Addr;
use std::time::Duration;
use words::{LegFigures, LiveFigures, LiveStream};

/// `a` says the numbers that are not lost, and `b` hears each.
fn say(a: &mut Phone, b: &mut Phone, numbers: std::ops::Range<u16>, is_lost: impl Fn(u16) -> bool) {
    for n in numbers.filter(|n| !is_lost(*n)) {
        a.speak(n);
        assert_eq!(b.hear(), n);
    }
}

/// A receiver report of `who` about the stream of `of`.
fn report(who: &Phone, of: &Phone, block: ReportBlock) -> Vec<u8> {
    let mut report = Vec::new();
    print_receiver_report(&mut report, who.ssrc(), &[ReportBlock { ssrc: of.ssrc(), ..block }]);
    print_cname(&mut report, who.ssrc(), b"phone");
    report
}

#[test]
fn what_is_lost_is_told_exactly_and_sounds_worse() {
    for (host, mode) in [(40, Mode::Batch), (41, Mode::Basic)] {
        let mut exchange = Exchange::start(host, mode);
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        say(&mut a, &mut b, 0..400, |n| n % 10 == 3);
        // As many in fewer runs.
        say(&mut b, &mut a, 0..400, |n| n % 200 / 20 == 3);
        let [(_, of_a), (_, of_b)] = exchange.close_measured([&a, &b]);
        assert_eq!((of_a.from.packets, of_a.from.lost, of_a.to), (360, 40, None));
        assert_eq!((of_b.from.packets, of_b.from.lost, of_b.to), (360, 40, None));
        // Packets of 20 ms that come all at once: each differs by 160 ticks, to which the mean of RFC 3550 A.8 rises.
        assert!((10_000..30_000).contains(&of_a.from.jitter_us), "{of_a:?}");
        // One by one 10 % cost Ie,eff = 95 * 10 / (10 + 25.1) = 27.1: 3.3. In runs of twenty, BurstR = 20 * 0.9 = 18, they
        // cost 95 * 10 / (10 / 18 + 25.1) = 37.0: 2.8.
        assert!((300..345).contains(&of_a.from.mos_x100), "{of_a:?}");
        assert!((250..300).contains(&of_b.from.mos_x100), "{of_b:?}");

        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        say(&mut a, &mut b, 0..400, |_| false);
        let [(_, of_a), (_, of_b)] = exchange.close_measured([&a, &b]);
        assert!(of_a.from.lost == 0 && of_a.from.mos_x100 > 420, "{of_a:?}");
        assert_eq!(of_b.from.packets, 0, "who said nothing is not judged");
    }
}

#[test]
fn a_report_tells_what_is_heard_and_how_long_the_way_is() {
    let mut exchange = Exchange::start(42, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    say(&mut a, &mut b, 0..100, |_| false);
    let mut sent = Vec::new();
    let sender = SenderWords { ntp: 0x0102_0304_0506_0708, packets: 100, ..SenderWords::default() };
    print_sender_report(&mut sent, a.ssrc(), &sender, &[]);
    print_cname(&mut sent, a.ssrc(), b"phone");
    let begun = monotonic_nanos();
    a.send_report(&sent);
    assert_eq!(b.hear_report_packet(), sent);
    // It says that it held the report for 50 ms, and takes longer.
    std::thread::sleep(Duration::from_millis(60));
    let held = Duration::from_millis(50);
    let delay_since_last_sr = 50 * 65_536 / 1_000;
    let block =
        ReportBlock { lost: 7, fraction_lost: 26, last_sr: 0x0304_0506, delay_since_last_sr, ..ReportBlock::default() };
    let heard = report(&b, &a, block);
    b.send_report(&heard);
    assert_eq!(a.hear_report_packet(), heard);
    let most = Duration::from_nanos(monotonic_nanos() - begun).saturating_sub(held) + Duration::from_millis(1);
    let [(_, of_a), (_, of_b)] = exchange.close_measured([&a, &b]);
    let round_trip = of_b.round_trip_us.map(|us| Duration::from_micros(us.into())).expect("it was measured");
    assert!((Duration::from_millis(9)..most).contains(&round_trip), "{round_trip:?} {most:?}");
    let to = of_b.to.expect("it said what it hears");
    assert_eq!((to.packets, to.lost), (100, 7));
    assert!((290..345).contains(&to.mos_x100), "{to:?}");
    assert_eq!((of_a.round_trip_us, of_a.to), (None, None));
}

/// Asks until the five seconds of the first look are over.
fn live(exchange: &Exchange, phone: &Phone) -> LiveStream {
    let inquirer = exchange.relay.inquirer();
    for _ in 0..100 {
        let found = inquirer.ask(&[phone.name], Duration::from_secs(5));
        if let [(name, LiveFigures { from: Some(from), .. })] = found[..] {
            assert_eq!(name, phone.name);
            return from;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("nothing is known of a call that goes on")
}

#[test]
fn a_call_that_goes_on_tells_how_it_sounds_in_each_tier() {
    let tier = |host: u8, mode: Option<Mode>| {
        let started = match mode {
            Some(mode) => Some(Exchange::start(host, mode)),
            None => Exchange::start_in_kernel(Ipv4Addr::new(127, 0, 9, host).into()),
        };
        let Some(mut exchange) = started else { return };
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        let inquirer = exchange.relay.inquirer();
        assert!(inquirer.ask(&[a.name, b.name], Duration::from_secs(5)).is_empty(), "nobody spoke");
        let begun = monotonic_nanos();
        let n = match mode {
            Some(_) => 0,
            None => settle_in(&exchange, &mut a, &mut b, 0),
        };
        say(&mut a, &mut b, n..n + 400, |at| (at - n) % 10 == 3);
        let spoken = monotonic_nanos();
        let heard = report(&b, &a, ReportBlock { lost: 40, fraction_lost: 26, ..ReportBlock::default() });
        b.send_report(&heard);
        assert_eq!(a.hear_report_packet(), heard);
        let from = live(&exchange, &a);
        let (packets, now) = (u64::from(n) + 360, monotonic_nanos());
        assert_eq!((from.whole.packets, from.whole.lost), (packets, 40));
        let all = packets + 40;
        assert_eq!(u64::from(from.loss_x10000), (40 * 10_000 + all / 2) / all);
        assert!(from.mos_x100 > 250 && from.mos_x100 == from.whole.mos_min_x100, "{from:?}");
        assert!(from.age.as_nanos() < u128::from(now - begun) && now - spoken > 3_000_000_000, "{from:?}");
        if mode.is_none() {
            assert!(exchange.relay.counters().packets_carried >= 360);
        }
        let found = exchange.relay.inquirer().ask(&[b.name, exchange.phone(7).name], Duration::from_secs(5));
        let [(_, LiveFigures { to: Some(to), .. })] = found[..] else { panic!("{found:?}") };
        assert_eq!((to.whole.packets, to.whole.lost, to.loss_x10000), (packets, 40, 1_016));
        assert!((290..345).contains(&to.mos_x100), "{to:?}");
        exchange.close([&a, &b]);
        assert!(exchange.relay.inquirer().ask(&[a.name], Duration::from_secs(5)).is_empty(), "it is over");
    };
    std::thread::scope(|scope| {
        for (host, mode) in [(49, Some(Mode::Batch)), (50, Some(Mode::Basic)), (51, None)] {
            scope.spawn(move || tier(host, mode));
        }
    });
}

/// Opus has a clock of 48,000 Hz, which only descriptions say. The same packets at the same moments are heard with the same
/// jitter in each tier, as G.711 is: within what a busy machine adds.
#[test]
fn jitter_of_opus_is_that_of_speech_in_each_tier() {
    for (host, mode) in [(55, Some(Mode::Batch)), (56, Some(Mode::Basic)), (57, None)] {
        let started = match mode {
            Some(mode) => Some(Exchange::start(host, mode)),
            None => Exchange::start_in_kernel(Ipv4Addr::new(127, 0, 9, host).into()),
        };
        let Some(mut exchange) = started else { continue };
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        // What each says comes back from nobody, so only the codec differs.
        a.speaks_opus = true;
        exchange.call(&mut a, &mut b);
        let n = match mode {
            Some(_) => 0,
            None => settle_in(&exchange, &mut a, &mut b, 0),
        };
        let carried = exchange.relay.counters().packets_carried;
        // All come at once, so each differs by 20 ms from where it belongs, to which the mean of RFC 3550 A.8 rises.
        for n in n..n + 200 {
            a.speak(n);
            b.speak(n);
            assert_eq!((b.hear(), a.hear()), (n, n));
        }
        let [(_, of_a), (_, of_b)] = exchange.close_measured([&a, &b]);
        for of in [&of_a, &of_b] {
            assert!((15_000..25_000).contains(&of.from.jitter_us), "{mode:?}: {of:?}");
        }
        assert!(of_a.from.jitter_us.abs_diff(of_b.from.jitter_us) < 2_000, "{mode:?}: {of_a:?} {of_b:?}");
        if mode.is_none() {
            let counters = exchange.counters_when(|counters| counters.carried == 0);
            assert!(counters.packets_carried >= carried + 390, "{counters:?}");
        }
    }
}

/// Reports on the port of RTP (RFC 5761) tell as much as on their own, and are no packets of the stream beside them.
#[test]
fn one_port_for_both_tells_as_much_in_each_tier() {
    for (host, mode) in [(52, Some(Mode::Batch)), (53, Some(Mode::Basic)), (54, None)] {
        let started = match mode {
            Some(mode) => Some(Exchange::start(host, mode)),
            None => Exchange::start_in_kernel(Ipv4Addr::new(127, 0, 9, host).into()),
        };
        let Some(mut exchange) = started else { continue };
        // One port on both sides, and on one of them only.
        for both in [true, false] {
            let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
            a.share_port();
            if both {
                b.share_port();
            }
            exchange.call(&mut a, &mut b);
            let carried = exchange.relay.counters().packets_carried;
            let n = match mode {
                Some(_) => 0,
                None => settle_in(&exchange, &mut a, &mut b, 0),
            };
            let mut sent = Vec::new();
            let sender = SenderWords { ntp: 0x0102_0304_0506_0708, packets: 100, ..SenderWords::default() };
            print_sender_report(&mut sent, a.ssrc(), &sender, &[]);
            print_cname(&mut sent, a.ssrc(), b"phone");
            let begun = monotonic_nanos();
            // Reports stand between the packets of the stream.
            for part in 0..4 {
                say(&mut a, &mut b, n + part * 50..n + part * 50 + 50, |at| (at - n) % 10 == 3);
                a.send_report(&sent);
                assert_eq!(b.hear_report_packet(), sent);
            }
            let block = ReportBlock { lost: 7, fraction_lost: 26, last_sr: 0x0304_0506, ..ReportBlock::default() };
            let heard = report(&b, &a, block);
            b.send_report(&heard);
            assert_eq!(a.hear_report_packet(), heard);
            let most = Duration::from_nanos(monotonic_nanos() - begun);
            let [(of_a, a), (of_b, b)] = exchange.close_measured([&a, &b]);
            let spoken = u64::from(n);
            assert_eq!((a.from.packets, a.from.lost, b.from.packets, b.from.lost), (spoken + 180, 20, spoken, 0));
            assert_eq!((of_a.rtcp_in, of_a.rtcp_out, of_b.rtcp_in, of_b.rtcp_out), (4, 1, 1, 4));
            assert_eq!((of_a.dropped_type, of_a.dropped_source, of_b.dropped_type, of_b.dropped_source), (0, 0, 0, 0));
            let to = b.to.expect("it said what it hears");
            assert_eq!((to.packets, to.lost), (spoken + 180, 7));
            assert!((290..345).contains(&to.mos_x100) && a.to.is_none(), "{to:?}");
            let round_trip = b.round_trip_us.map(|us| Duration::from_micros(us.into())).expect("it was measured");
            assert!(round_trip < most, "{round_trip:?} {most:?}");
            if mode.is_none() {
                let counters = exchange.counters_when(|counters| counters.carried == 0);
                assert!(counters.packets_carried >= carried + 180, "{counters:?}");
            }
        }
    }
}

#[test]
fn reports_after_the_end_are_nobodys_and_not_those_of_who_comes_next() {
    let mut exchange = Exchange::start(43, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    say(&mut a, &mut b, 0..50, |_| false);
    exchange.close([&a, &b]);
    let late = report(&b, &a, ReportBlock { lost: 40, fraction_lost: 200, ..ReportBlock::default() });
    b.send_report(&late);
    let (mut c, mut d) = (exchange.phone(2), exchange.phone(3));
    exchange.call_on(&mut c, &mut d, [a.ports(), b.ports()]);
    b.send_report(&late);
    say(&mut d, &mut c, 0..50, |_| false);
    let [(_, of_c), (of_d, figures)] = exchange.close_measured([&c, &d]);
    assert_eq!((of_c.to, figures.to, figures.from.packets), (None, None, 50));
    assert_eq!((of_d.rtcp_in, of_d.packets_in), (0, 50));
    a.assert_heard_nothing();
}

#[test]
fn who_is_joined_anew_goes_on_and_each_has_its_own() {
    let mut exchange = Exchange::start(44, Mode::Batch);
    let (mut a, mut b, mut c) = (exchange.phone(0), exchange.phone(1), exchange.phone(2));
    exchange.call(&mut a, &mut b);
    say(&mut a, &mut b, 0..100, |n| n == 50);
    say(&mut b, &mut a, 0..60, |_| false);
    let first = report(&a, &b, ReportBlock { lost: 3, ..ReportBlock::default() });
    a.send_report(&first);
    assert_eq!(b.hear_report_packet(), first);
    // A transfer: c takes b's place.
    exchange.open(&mut c);
    exchange.link(&mut a, &c);
    exchange.link(&mut c, &a);
    let [(_, of_b), _] = exchange.close_measured([&b, &b]);
    say(&mut a, &mut c, 100..200, |n| n % 10 == 5);
    say(&mut c, &mut a, 0..80, |_| false);
    let second = report(&a, &c, ReportBlock { lost: 2, ..ReportBlock::default() });
    a.send_report(&second);
    assert_eq!(c.hear_report_packet(), second);
    let [(_, of_a), (_, of_c)] = exchange.close_measured([&a, &c]);
    assert_eq!((of_b.from.packets, of_b.from.lost, of_b.to), (60, 0, None));
    assert_eq!((of_c.from.packets, of_c.from.lost, of_c.to), (80, 0, None));
    assert_eq!((of_a.from.packets, of_a.from.lost), (99 + 90, 1 + 10));
    assert_eq!(of_a.to.map(|to| (to.packets, to.lost)), Some((60 + 80, 3 + 2)));
}

#[test]
fn the_kernel_finds_what_the_worker_finds() {
    let Some(mut kernel) = Exchange::start_in_kernel(Ipv4Addr::new(127, 0, 9, 45).into()) else { return };
    let mut worker = Exchange::start(46, Mode::Batch);
    let mut settled = 0;
    let found = [&mut kernel, &mut worker].map(|exchange| {
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        exchange.call(&mut a, &mut b);
        if settled == 0 {
            settled = settle_in(exchange, &mut a, &mut b, 0);
        } else {
            say(&mut a, &mut b, 0..settled, |_| false);
            say(&mut b, &mut a, 0..settled, |_| false);
        }
        // Five times a dozen in a row.
        say(&mut a, &mut b, settled..settled + 600, |n| (n - settled) % 120 / 12 == 4);
        exchange.close_measured([&a, &b])
    });
    assert!(kernel.relay.counters().packets_carried >= 500);
    let [[(of_a, a), (_, b)], [(as_a, in_a), (_, in_b)]] = found;
    let settled = u64::from(settled);
    assert_eq!((a.from.packets, a.from.lost), (settled + 540, 60));
    assert_eq!((in_a.from.packets, in_a.from.lost), (settled + 540, 60));
    assert_eq!((b.from.packets, in_b.from.packets, b.from.lost + in_b.from.lost), (settled, settled, 0));
    assert_eq!((of_a.packets_in, of_a.bytes_in, of_a.lost), (as_a.packets_in, as_a.bytes_in, as_a.lost));
    // The jitter of a busy machine is not the same twice. Were the runs not seen as such, it would be forty.
    assert!(a.from.mos_x100.abs_diff(in_a.from.mos_x100) <= 20, "{a:?} {in_a:?}");
}

#[test]
fn some_packets_are_timed() {
    let mut exchange = Exchange::start(47, Mode::Batch);
    let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
    exchange.call(&mut a, &mut b);
    say(&mut a, &mut b, 0..640, |_| false);
    exchange.close([&a, &b]);
    let delays = exchange.counters_when(|counters| counters.totals.ends == 0).delays;
    assert_eq!(delays.counts.iter().sum::<u64>(), 640 / 64);
    assert!(delays.sum_ns > 0 && delays.sum_ns < 10 * 1_000_000_000, "{delays:?}");
}

#[test]
fn who_speaks_with_the_exchange_gets_a_report_for_a_report() {
    let mut exchange = Exchange::start(48, Mode::Batch);
    let mut a = exchange.phone(0);
    exchange.open(&mut a);
    let generation = a.generation.step();
    exchange.apply(MediaCommand::Link { from: a.name, to: a.name, generation });
    for n in (0..100).filter(|n| n % 4 != 1) {
        a.speak(n);
        assert_eq!(a.hear(), n);
    }
    let mut sent = Vec::new();
    print_sender_report(&mut sent, a.ssrc(), &SenderWords { ntp: 9 << 32, ..SenderWords::default() }, &[]);
    a.send_report(&sent);
    let answer = a.hear_report_packet();
    let (ssrc, sender, block) = sender_of(&answer);
    let block = block.expect("it heard a stream");
    assert_eq!((block.ssrc, block.lost, block.last_sr), (a.ssrc(), 25, 9 << 16));
    assert_eq!((ssrc, sender.packets, sender.bytes), (own_ssrc(a.name), 75, 75 * 160));
    exchange.close([&a, &a]);
}

fn sender_of(packet: &[u8]) -> (u32, SenderWords, Option<ReportBlock>) {
    match Packets::new(packet).next() {
        Some(RtcpView::SenderReport { ssrc, sender, reports }) => (ssrc, sender, reports.iter().next()),
        other => panic!("{other:?}"),
    }
}

/// What comes without being asked for, within some seconds, to who hears its echo or a sound, and what it tells back.
#[test]
fn who_hears_the_exchange_is_told_what_it_sends_in_each_tier() {
    let tier = |host: u8, mode: Option<Mode>, shares: bool, keys: Option<Suite>| {
        let started = match mode {
            Some(mode) => Some(Exchange::start(host, mode)),
            None => Exchange::start_in_kernel(Ipv4Addr::new(127, 0, 9, host).into()),
        };
        let Some(mut exchange) = started else { return };
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        if shares {
            a.share_port();
        }
        if let Some(suite) = keys {
            a.encrypt(suite);
        }
        // Who wants metrics is looked at packet by packet, which the kernel leaves to the worker.
        let metrics = mode.is_some();
        a.extended = Extended { metrics, round_trip: true, summary: false };
        exchange.open(&mut a);
        let generation = a.generation.step();
        exchange.apply(MediaCommand::Link { from: a.name, to: a.name, generation });
        exchange.open(&mut b);
        let (sound, generation) = (Sound::Tone { hz: 440, level_dbm0: -10 }, b.generation.step());
        exchange.apply(MediaCommand::Play { end: b.name, generation, sound, payload_type: 0 });
        for n in (0..200).filter(|n| !(100..110).contains(n)) {
            a.speak(n);
            assert_eq!(a.hear_of(own_ssrc(a.name)), n);
            // So that the kernel takes over.
            std::thread::sleep(Duration::from_millis(2));
        }
        let told = a.hear_report_packet();
        let (ssrc, sender, block) = sender_of(&told);
        assert_eq!((ssrc, sender.packets, sender.bytes), (own_ssrc(a.name), 190, 190 * 160));
        assert_eq!(block.map(|block| (block.ssrc, block.lost)), Some((a.ssrc(), 10)));
        let extended = Packets::new(&told).find_map(|packet| match packet {
            RtcpView::Other { packet_type: xr::PACKET_TYPE, body } => Some(xr::Blocks::new(body)),
            _ => None,
        });
        let blocks = extended.expect("it asked for that");
        let found = blocks.metrics().map(|of| (of.loss, of.burst_density, of.burst_ms, of.gap_density, of.gap_ms));
        // Ten of 200, all in one burst, and two gaps of 190 packets.
        assert_eq!(found, metrics.then_some((12, 255, 200, 0, 1_900)));
        assert_eq!(blocks.reference_time(), Some(sender.ntp));
        // It knows no sender reports, and says how long the time lay with it.
        let mut back = [0; OWN_REPORT_BYTES];
        let delay = Some((ssrc, (sender.ntp >> 16) as u32, 0));
        let length = OwnReport { ssrc: a.ssrc(), delay, ..OwnReport::default() }.write(&mut back);
        a.send_report(&back[..length]);
        let heard = b.hear_report_packet();
        let (of_tone, sender, block) = sender_of(&heard);
        assert_eq!((RtpView::parse(&b.hear_packet()).map(|rtp| rtp.ssrc()), block), (Some(of_tone), None));
        assert!((100..260).contains(&sender.packets) && sender.bytes == sender.packets * 160, "{sender:?}");
        assert!(Packets::new(&heard).all(|packet| !matches!(packet, RtcpView::Other { .. })), "it asked for nothing");
        if mode.is_none() && keys.is_none() {
            assert!(exchange.relay.counters().packets_carried > 0);
        }
        exchange.settle(&a);
        let [(_, of_a), (_, of_b)] = exchange.close_measured([&a, &b]);
        assert!(of_a.round_trip_us.is_some_and(|us| us < 5_000_000), "{of_a:?}");
        assert_eq!(of_b, LegFigures::default());
    };
    std::thread::scope(|scope| {
        let keys = Some(Suite::AesCm128HmacSha1Tag80);
        for (host, mode, shares, keys) in [
            (55, Some(Mode::Batch), false, None),
            (56, Some(Mode::Batch), true, keys),
            (57, Some(Mode::Basic), false, None),
            (58, None, true, None),
        ] {
            scope.spawn(move || tier(host, mode, shares, keys));
        }
    });
}

/// Of two who speak with each other the first wants extended reports, and the other knows none.
struct Beside {
    host: u8,
    mode: Option<Mode>,
    /// Its reports come by the port of RTP.
    muxes: bool,
    keys: Option<Suite>,
    metrics: bool,
    single: bool,
}

impl Beside {
    fn start(&self) -> Option<Exchange> {
        let host = self.host;
        match self.mode {
            Some(mode) if self.single => Some(Exchange::start_single(host, mode, 23_900, 4)),
            Some(mode) => Some(Exchange::start(host, mode)),
            None => Exchange::start_in_kernel(Ipv4Addr::new(127, 0, 9, host).into()),
        }
    }

    fn check(&self) {
        let Some(mut exchange) = self.start() else { return };
        let (mut a, mut b) = (exchange.phone(0), exchange.phone(1));
        let mut stranger = exchange.phone(2);
        if self.muxes {
            a.share_port();
        }
        if let Some(suite) = self.keys {
            a.encrypt(suite);
        }
        for phone in [&mut a, &mut b] {
            phone.whereabouts.single_port = self.single;
        }
        a.extended = Extended { metrics: self.metrics, round_trip: true, summary: true };
        exchange.call(&mut a, &mut b);
        exchange.settle(&a);
        stranger.aim_at(&a);
        let begun = monotonic_nanos();
        for n in (0..200).filter(|n| !(100..110).contains(n)) {
            a.speak(n);
            assert_eq!(b.hear(), n);
            b.speak(n);
            assert_eq!(a.hear(), n);
            stranger.speak(n);
            // So that the kernel takes over.
            std::thread::sleep(Duration::from_millis(2));
        }
        let told = a.hear_report_packet();
        let waited = Duration::from_nanos(monotonic_nanos() - begun);
        assert!(waited >= Duration::from_secs(5), "{waited:?}");
        assert!(Packets::new(&told).is_compound());
        let Some(RtcpView::ReceiverReport { ssrc, reports }) = Packets::new(&told).next() else { panic!("{told:?}") };
        let block = reports.iter().next().expect("nobody else reports of it");
        assert_eq!((ssrc, block.ssrc, block.lost), (own_ssrc(a.name), a.ssrc(), 10));
        let extended = Packets::new(&told).find_map(|packet| match packet {
            RtcpView::Other { packet_type: xr::PACKET_TYPE, body } => Some(xr::Blocks::new(body)),
            _ => None,
        });
        let blocks = extended.expect("it asked for them");
        assert_eq!(blocks.summary(), Some((a.ssrc(), xr::Summary { begin: 0, end: 200, lost: 10 })));
        let found = blocks.metrics().map(|of| (of.loss, of.burst_density, of.burst_ms, of.gap_density, of.gap_ms));
        assert_eq!(found, self.metrics.then_some((12, 255, 200, 0, 1_900)));
        // The round trip is known by what it gives back, though nobody sent a sender report.
        let reference = blocks.reference_time().expect("it asked for that");
        let mut back = [0; OWN_REPORT_BYTES];
        let delay = Some((ssrc, (reference >> 16) as u32, 0));
        let length = OwnReport { ssrc: a.ssrc(), delay, ..OwnReport::default() }.write(&mut back);
        a.send_report(&back[..length]);
        assert_eq!(b.hear_report_packet(), back[..length], "it passes as any other");
        if self.mode.is_none() {
            // What comes from who wants metrics is looked at, what goes to it is not; else all is carried.
            let carried = exchange.counters_when(|counters| counters.packets_carried > 300).packets_carried;
            assert!(if self.metrics { (100..=190).contains(&carried) } else { carried > 250 }, "{carried}");
        }
        for phone in [&mut b, &mut stranger] {
            phone.assert_heard_nothing();
        }
        let [(counters, of_a), (_, of_b)] = exchange.close_measured([&a, &b]);
        assert_eq!((counters.rtcp_in, counters.rtcp_out), (1, 1));
        assert!(of_a.round_trip_us.is_some_and(|us| us < 5_000_000), "{of_a:?}");
        assert_eq!((of_a.from.lost, of_b.from.lost, of_b.round_trip_us), (10, 10, None));
    }
}

#[test]
fn who_wants_extended_reports_of_one_that_knows_none_gets_ours_in_each_tier() {
    let plain = Beside { host: 59, mode: Some(Mode::Batch), muxes: false, keys: None, metrics: true, single: false };
    let keys = Some(Suite::AesCm128HmacSha1Tag80);
    std::thread::scope(|scope| {
        for beside in [
            Beside { host: 60, muxes: true, keys, ..plain },
            Beside { host: 61, mode: Some(Mode::Basic), ..plain },
            Beside { host: 62, mode: None, ..plain },
            Beside { host: 63, mode: None, metrics: false, muxes: true, ..plain },
            Beside { host: 64, single: true, ..plain },
            plain,
        ] {
            scope.spawn(move || beside.check());
        }
    });
}
