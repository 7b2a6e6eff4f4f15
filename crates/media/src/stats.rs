//! What a receiver knows of a stream: loss and jitter (RFC 3550 A.1, A.3, A.8), in integers, a few operations a packet.

use crate::clocks::Stamp;
use crate::rtcp::ReportBlock;
use crate::xr::Summary;
use words::Time;

/// The fastest clock that is believed. Video has 90,000. Units: Hz.
pub const CLOCK_MAX_HZ: u32 = 1_000_000;

/// What [`ReceiveStats`] knows, to be carried on by whoever counts in its place and taken back from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// The sender of the present stream.
    pub ssrc: u32,
    /// Its first sequence number.
    pub base: u32,
    /// Its highest sequence number, with cycles.
    pub highest: u32,
    /// What would follow the last packet that was too far off to believe; `u32::MAX` for none.
    pub expected_after_jump: u32,
    /// Its packets.
    pub received: u32,
    /// Interarrival jitter. Units: ticks, times 16.
    pub jitter_x16: u32,
    /// Transit of the last packet whose timestamp counted.
    pub transit: u32,
    /// Whether there was one.
    pub has_transit: bool,
    /// Packets lost by streams before the present one.
    pub lost_before: u64,
    /// How many times packets were missing.
    pub gaps: u32,
    /// How many were in all those times; some may have come later.
    pub gap_packets: u32,
}

/// Where a packet stands in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the first one.
    Begins,
    /// So many numbers after the highest one; 0: it came twice.
    Ahead(u16),
    /// So many before: it is late, or came twice.
    Behind(u16),
    /// It was not expected.
    Nowhere,
}

/// Figures of one direction.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveStats {
    clock_hz: u32,
    known: Reception,
    reported_expected: u32,
    reported_received: u32,
}

impl ReceiveStats {
    /// Nothing came so far. `clock_hz` is the rate of its timestamps until a packet says another one.
    pub fn new(clock_hz: u32) -> Self {
        ReceiveStats {
            clock_hz: believed(clock_hz),
            known: Reception { expected_after_jump: NO_JUMP, ..Reception::default() },
            reported_expected: 0,
            reported_received: 0,
        }
    }

    /// How many times packets were missing, and how many in all those times.
    pub fn gaps(&self) -> (u32, u32) {
        (self.known.gaps, self.known.gap_packets)
    }

    /// Counts a packet, and says where it stands. The timestamp of telephone events stands still while they last: pass `None`
    /// for theirs, and for those whose clock is not known.
    pub fn packet(&mut self, ssrc: u32, sequence: u16, stamp: Option<Stamp>, now: Time) -> Place {
        let place = if self.known.received == 0 || ssrc != self.known.ssrc {
            self.restart(ssrc, sequence);
            Place::Begins
        } else {
            self.count(sequence)
        };
        if let Some(stamp) = stamp {
            if stamp.clock_hz != self.clock_hz {
                self.change_clock(stamp.clock_hz);
            }
            self.time(stamp.ticks, now);
        }
        place
    }

    /// Packets that the sequence numbers miss. Those that came twice make up for lost ones, as in RFC 3550 A.3.
    pub fn lost(&self) -> u64 {
        self.known.lost_before + u64::from(self.expected().saturating_sub(self.known.received))
    }

    /// The clock of what came last. Units: Hz.
    pub fn clock_hz(&self) -> u32 {
        self.clock_hz
    }

    /// Interarrival jitter. Units: ticks of that clock.
    pub fn jitter_ticks(&self) -> u32 {
        self.known.jitter_x16 >> 4
    }

    /// Interarrival jitter. Units: microseconds.
    pub fn jitter_us(&self) -> u64 {
        u64::from(self.known.jitter_x16) * 1_000_000 / 16 / u64::from(self.clock_hz)
    }

    /// The timestamp that its sender gives to what it says at this moment, as far as the last packet tells.
    pub fn timestamp_at(&self, now: Time) -> Option<u32> {
        self.known.has_transit.then(|| self.ticks_at(now).wrapping_sub(self.known.transit))
    }

    /// What it knows at this moment.
    pub fn reception(&self) -> Reception {
        self.known
    }

    /// Goes on from what somebody else counted in the meantime. An interval of [`ReceiveStats::report`] that began in a
    /// stream which ended there begins anew.
    pub fn resume(&mut self, from: &Reception) {
        if from.ssrc != self.known.ssrc || from.base != self.known.base || from.lost_before != self.known.lost_before {
            (self.reported_expected, self.reported_received) = (0, 0);
        }
        self.known = *from;
    }

    /// What was missed since the last [`ReceiveStats::report`]; `None`: nothing was expected.
    pub fn missed(&self) -> Option<Summary> {
        let expected = self.expected().checked_sub(self.reported_expected).filter(|expected| *expected > 0)?;
        let end = self.known.highest.wrapping_add(1) as u16;
        let lost = expected.saturating_sub(self.known.received.wrapping_sub(self.reported_received));
        Some(Summary { begin: end.wrapping_sub(expected as u16), end, lost })
    }

    /// The block for a report about this stream (RFC 3550 §6.4.1), and the begin of the next interval of its fraction.
    /// The fields of the last sender report are left to the caller.
    pub fn report(&mut self) -> ReportBlock {
        let expected = self.expected().wrapping_sub(self.reported_expected);
        let received = self.known.received.wrapping_sub(self.reported_received);
        self.reported_expected = self.expected();
        self.reported_received = self.known.received;
        let lost = u64::from(expected.saturating_sub(received));
        let fraction = if expected == 0 { 0 } else { (lost << 8) / u64::from(expected) };
        ReportBlock {
            ssrc: self.known.ssrc,
            fraction_lost: fraction.min(255) as u8,
            lost: (i64::from(self.expected()) - i64::from(self.known.received)).clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.known.highest,
            jitter_ticks: self.jitter_ticks(),
            last_sr: 0,
            delay_since_last_sr: 0,
        }
    }

    fn expected(&self) -> u32 {
        if self.known.received == 0 { 0 } else { self.known.highest.wrapping_sub(self.known.base).wrapping_add(1) }
    }

    fn restart(&mut self, ssrc: u32, sequence: u16) {
        self.known.lost_before = self.lost();
        self.known.ssrc = ssrc;
        self.known.base = u32::from(sequence);
        self.known.highest = self.known.base;
        self.known.received = 1;
        self.known.expected_after_jump = NO_JUMP;
        self.known.has_transit = false;
        (self.reported_expected, self.reported_received) = (0, 0);
    }

    fn count(&mut self, sequence: u16) -> Place {
        let ahead = sequence.wrapping_sub(self.known.highest as u16);
        let place = if ahead < DROPOUT_MAX {
            self.known.highest = self.known.highest.wrapping_add(u32::from(ahead));
            if ahead > 1 {
                self.known.gaps = self.known.gaps.wrapping_add(1);
                self.known.gap_packets = self.known.gap_packets.wrapping_add(u32::from(ahead) - 1);
            }
            Place::Ahead(ahead)
        } else if ahead <= u16::MAX - MISORDER_MAX {
            // Too far to be loss or disorder: two in a row are a sender that began anew (RFC 3550 A.1).
            if u32::from(sequence) == self.known.expected_after_jump {
                self.restart(self.known.ssrc, sequence);
                return Place::Begins;
            }
            self.known.expected_after_jump = u32::from(sequence.wrapping_add(1));
            return Place::Nowhere;
        } else if u32::from(u16::MAX - ahead) >= self.known.highest.wrapping_sub(self.known.base) {
            // From before the first that was heard: it was not expected, so it is not received either.
            return Place::Nowhere;
        } else {
            Place::Behind(ahead.wrapping_neg())
        };
        self.known.received = self.known.received.saturating_add(1);
        place
    }

    /// Its sender took up another codec: jitter stays as long as it was, and the next transit has none before it.
    #[cold]
    fn change_clock(&mut self, clock_hz: u32) {
        let clock_hz = believed(clock_hz);
        let jitter = u64::from(self.known.jitter_x16) * u64::from(clock_hz) / u64::from(self.clock_hz);
        self.known.jitter_x16 = u32::try_from(jitter).unwrap_or(u32::MAX);
        (self.clock_hz, self.known.has_transit) = (clock_hz, false);
    }

    fn ticks_at(&self, now: Time) -> u32 {
        let micros = now.as_nanos() / 1_000;
        (micros.wrapping_mul(u64::from(self.clock_hz)) / 1_000_000) as u32
    }

    fn time(&mut self, timestamp: u32, now: Time) {
        let transit = self.ticks_at(now).wrapping_sub(timestamp);
        let difference = transit.wrapping_sub(self.known.transit).cast_signed().unsigned_abs();
        self.known.transit = transit;
        // The first packet has nothing to differ from; a jump of more than a second is a new time base, not jitter.
        if !std::mem::replace(&mut self.known.has_transit, true) || difference > self.clock_hz {
            return;
        }
        self.known.jitter_x16 = self.known.jitter_x16 + difference - ((self.known.jitter_x16 + 8) >> 4);
    }
}

/// 0 and more than [`CLOCK_MAX_HZ`] count as 8,000.
fn believed(clock_hz: u32) -> u32 {
    if (1..=CLOCK_MAX_HZ).contains(&clock_hz) { clock_hz } else { 8_000 }
}

/// No sequence number: they have 16 bits.
const NO_JUMP: u32 = u32::MAX;
/// RFC 3550 A.1: how far ahead counts as loss.
const DROPOUT_MAX: u16 = 3_000;
/// RFC 3550 A.1: how far behind counts as disorder.
const MISORDER_MAX: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn stamp(ticks: u32) -> Stamp {
        Stamp { ticks, clock_hz: 8_000 }
    }

    fn hear(stats: &mut ReceiveStats, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            stats.packet(1, sequence, None, Time::ZERO);
        }
    }

    #[test]
    fn gaps_are_lost_across_the_wrap_and_disorder_is_not() {
        let mut stats = ReceiveStats::new(8_000);
        hear(&mut stats, (65_530..=u16::MAX).chain(0..10));
        assert_eq!(stats.lost(), 0);
        hear(&mut stats, [14, 12, 13, 10, 17]);
        assert_eq!(stats.lost(), 3);
        assert_eq!(stats.report().highest_sequence, 0x1_0011);
    }

    #[test]
    fn what_somebody_else_counts_in_between_makes_no_difference() {
        let (mut whole, mut here, mut there) =
            (ReceiveStats::new(8_000), ReceiveStats::new(8_000), ReceiveStats::new(8_000));
        for n in 0..400u16 {
            let (ssrc, sequence) = (1 + u32::from(n / 300), n * 3 / 2);
            let now = Time::from_millis(u64::from(n) * 20 + u64::from(n % 7));
            let by = if n / 50 % 2 == 0 { &mut here } else { &mut there };
            by.packet(ssrc, sequence, Some(stamp(u32::from(n) * 160)), now);
            whole.packet(ssrc, sequence, Some(stamp(u32::from(n) * 160)), now);
            if n % 50 == 49 {
                let (from, to) = if n / 50 % 2 == 0 { (&here, &mut there) } else { (&there, &mut here) };
                to.resume(&from.reception());
            }
        }
        assert_eq!((here.lost(), here.jitter_us()), (whole.lost(), whole.jitter_us()));
        assert_eq!(here.reception(), whole.reception());
    }

    #[test]
    fn runs_of_missing_packets_are_told_apart_from_single_ones() {
        let (mut single, mut run) = (ReceiveStats::new(8_000), ReceiveStats::new(8_000));
        hear(&mut single, (0..100).filter(|n| n % 10 != 5));
        hear(&mut run, (0..100).filter(|n| !(40..50).contains(n)));
        assert_eq!((single.lost(), run.lost()), (10, 10));
        assert_eq!((single.gaps(), run.gaps()), ((10, 10), (1, 10)));
    }

    #[test]
    fn a_sender_that_begins_anew_loses_nothing_by_it() {
        let mut stats = ReceiveStats::new(8_000);
        hear(&mut stats, [1, 2, 4]);
        hear(&mut stats, [30_000, 30_001, 30_002, 30_004]);
        assert_eq!(stats.lost(), 2);
        stats.packet(2, 7, None, Time::ZERO);
        stats.packet(2, 9, None, Time::ZERO);
        assert_eq!(stats.lost(), 3);
    }

    #[test]
    fn what_was_missed_is_told_between_two_reports_across_the_wrap() {
        let mut stats = ReceiveStats::new(8_000);
        assert_eq!(stats.missed(), None);
        for n in (65_530..65_540_u32).filter(|n| n % 4 != 0) {
            stats.packet(1, n as u16, None, Time::ZERO);
        }
        // 65,532 and 65,536 are missing; the last one that came is 65,539.
        assert_eq!(stats.missed(), Some(Summary { begin: 65_530, end: 4, lost: 2 }));
        stats.report();
        assert_eq!(stats.missed(), None, "nothing was expected since");
        stats.packet(1, 4, None, Time::ZERO);
        assert_eq!(stats.missed(), Some(Summary { begin: 4, end: 5, lost: 0 }));
    }

    #[test]
    fn the_fraction_counts_since_the_last_report() {
        let mut stats = ReceiveStats::new(8_000);
        hear(&mut stats, (0..100).filter(|n| n % 4 != 1));
        let first = stats.report();
        assert_eq!((first.fraction_lost, first.lost), (64, 25));
        hear(&mut stats, 100..200);
        let second = stats.report();
        assert_eq!((second.fraction_lost, second.lost), (0, 25));
    }

    #[test]
    fn jitter_agrees_with_the_formula_in_fractions() {
        let mut stats = ReceiveStats::new(8_000);
        let mut exact = 0.0f64;
        let mut last: Option<f64> = None;
        for n in 0..2_000u32 {
            // 20 ms apart, every third 4 ms late.
            let at_us = 1_000_000 + u64::from(n) * 20_000 + if n % 3 == 0 { 4_000 } else { 0 };
            let now = Time::ZERO + Duration::from_micros(at_us);
            stats.packet(1, n as u16, Some(stamp((n * 160).wrapping_add(4_000_000_000))), now);
            let transit = at_us as f64 * 0.008 - f64::from(n) * 160.0;
            if let Some(last) = last.replace(transit) {
                exact += ((transit - last).abs() - exact) / 16.0;
            }
        }
        assert!((f64::from(stats.jitter_ticks()) - exact).abs() <= 1.5, "{} {exact}", stats.jitter_ticks());
        assert!((stats.jitter_us() as f64 - exact * 125.0).abs() <= 200.0);
    }

    #[test]
    fn each_clock_tells_the_same_jitter_and_another_codec_adds_none() {
        let mut stats = [8_000, 16_000, 44_100, 48_000].map(|clock_hz| (ReceiveStats::new(8_000), clock_hz));
        for n in 0..2_000_u64 {
            let now = Time::ZERO + Duration::from_micros(n * 20_000 + if n % 3 == 0 { 4_000 } else { 0 });
            for (stats, clock_hz) in &mut stats {
                let ticks = (n * u64::from(*clock_hz) / 50) as u32;
                stats.packet(1, n as u16, Some(Stamp { ticks, clock_hz: *clock_hz }), now);
            }
        }
        let jitter = stats.map(|(stats, _)| stats.jitter_us());
        // Two of three differ by 4 ms from the one before, and the estimate swings around that.
        assert!(jitter.iter().all(|us| us.abs_diff(2_666) < 400 && us.abs_diff(jitter[0]) < 200), "{jitter:?}");
        // From G.711 to Opus: another clock at a moment's notice is no jitter, and what was found stays.
        let (mut stats, _) = stats[0];
        let before = stats.jitter_us();
        let opus = |n: u32| Some(Stamp { ticks: n * 960 + 77_000_000, clock_hz: 48_000 });
        stats.packet(1, 2_000, opus(0), Time::from_millis(40_020));
        assert!(stats.jitter_us().abs_diff(before) < 20 && stats.clock_hz() == 48_000);
        for n in 1..200 {
            stats.packet(1, 2_000 + n as u16, opus(n), Time::from_millis(40_020 + u64::from(n) * 20));
        }
        assert!(stats.jitter_us() < 50, "{}", stats.jitter_us());
    }

    #[test]
    fn a_jump_of_the_time_base_is_no_jitter() {
        let mut stats = ReceiveStats::new(8_000);
        for (n, timestamp) in [0, 160, 320, 3_000_000_000, 3_000_000_160].into_iter().enumerate() {
            stats.packet(1, n as u16, Some(stamp(timestamp)), Time::from_millis(n as u64 * 20));
        }
        assert_eq!(stats.jitter_ticks(), 0);
    }

    #[test]
    fn any_order_of_any_numbers_is_survived() {
        let mut chance = words::Chance::new(words::Seed::from_number(5));
        let mut stats = ReceiveStats::new(0);
        for n in 0..100_000 {
            let now = Time::from_nanos(chance.u64() >> chance.below(64));
            stats.packet(
                chance.below(2) as u32,
                chance.u32() as u16,
                Some(Stamp { ticks: chance.u32(), clock_hz: chance.u32() >> chance.below(32) }),
                now,
            );
            if n % 100 == 0 {
                let _ = (stats.report(), stats.lost(), stats.jitter_us());
            }
        }
    }
}
