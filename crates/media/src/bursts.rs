//! Bursts of loss and the gaps between them (RFC 3611 §4.7.2), in fixed memory and a few steps a packet.
//!
//! A burst begins and ends with a packet that did not come, and nowhere in it came [`GMIN`] in a row; all else is gap,
//! with the packets in it that were missed alone. Appendix A.2 guesses the densities from how often one kind of packet
//! follows another; here packets are counted as the definitions say it, which costs no more. They may come in disorder:
//! each is judged when it is [`WINDOW`] numbers old, later than any that still counts as received (RFC 3550 A.1).

use crate::clocks::Stamp;
use crate::stats::Place;

/// How many packets come in a row where no burst is: what §4.7.2 recommends.
pub const GMIN: u8 = 16;

/// What an extended report says of bursts and gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The share missed within bursts. Units: 1/256.
    pub burst_density: u8,
    /// The same between bursts. Units: 1/256.
    pub gap_density: u8,
    /// The mean length of bursts; 0 without any. Units: milliseconds.
    pub burst_ms: u16,
    /// The mean length of what is around them. Units: milliseconds.
    pub gap_ms: u16,
}

/// Watches one stream after another.
#[derive(Clone, Copy, Debug)]
pub struct Bursts {
    /// Which of the last numbers came: the lowest bit is the highest number.
    came: u128,
    /// How many of those bits are numbers that were expected.
    held: u32,
    /// What was before them.
    tally: Tally,
    /// The timestamp of the last packet.
    last: Option<Stamp>,
    /// Between the last packet and the one before. Units: ticks.
    step: u32,
    /// How long a packet lasts. Units: microseconds.
    packet_us: u32,
}

impl Default for Bursts {
    /// Nothing came so far.
    fn default() -> Self {
        Bursts { came: 0, held: 0, tally: Tally::default(), last: None, step: 0, packet_us: PACKET_US }
    }
}

impl Bursts {
    /// A packet came and stands there in its stream. `stamp` is its time, if its clock is known.
    pub fn packet(&mut self, place: Place, stamp: Option<Stamp>) {
        match place {
            Place::Begins => self.begin(),
            // What came before this was told to nobody here.
            Place::Ahead(_) if self.held == 0 => self.begin(),
            Place::Ahead(0) | Place::Nowhere => return,
            Place::Ahead(n) => self.advance(n.into()),
            Place::Behind(n) => {
                if u32::from(n) < self.held {
                    self.came |= 1 << n;
                }
                return;
            }
        }
        self.measure(stamp, place == Place::Ahead(1));
    }

    /// What is known at this moment, as if nothing were missed after it.
    pub fn told(&self) -> Told {
        let tally = self.whole();
        let gaps = tally.all.less(tally.bursts);
        let ms = |span: Span, count: u64| {
            let micros = span.packets.saturating_mul(self.packet_us.into());
            u16::try_from(micros.checked_div(count).unwrap_or(0) / 1_000).unwrap_or(u16::MAX)
        };
        Told {
            burst_density: tally.bursts.density(),
            gap_density: gaps.density(),
            burst_ms: ms(tally.bursts, tally.count),
            // A stream begins with a packet that came, and the next one that comes tells of those that did not: so there
            // is a gap before each burst and one behind the last.
            gap_ms: ms(gaps, tally.count + 1),
        }
    }

    /// Everything, with what may still change.
    fn whole(&self) -> Tally {
        let mut tally = self.tally;
        (0..self.held).rev().for_each(|at| tally.judge(self.came >> at & 1 == 1));
        tally.settle();
        tally
    }

    fn begin(&mut self) {
        self.tally = self.whole();
        (self.came, self.held, self.last, self.step) = (1, 1, None, 0);
    }

    /// The highest number is `n` more.
    fn advance(&mut self, n: u32) {
        while self.held > WINDOW.saturating_sub(n) {
            self.held -= 1;
            self.tally.judge(self.came >> self.held & 1 == 1);
        }
        self.tally.miss(n.saturating_sub(WINDOW).into());
        self.came = self.came.checked_shl(n).unwrap_or(0) | 1;
        self.held = (self.held + n).min(WINDOW);
    }

    /// Learns how long packets last, of two that follow each other; silence between them is longer, but not twice the same.
    fn measure(&mut self, stamp: Option<Stamp>, follows: bool) {
        let two = stamp.zip(self.last).filter(|(stamp, last)| follows && stamp.clock_hz == last.clock_hz);
        let step = two.map_or(0, |(stamp, last)| stamp.ticks.wrapping_sub(last.ticks));
        let hz = stamp.map_or(1, |stamp| stamp.clock_hz.max(1));
        let micros = u64::from(step) * 1_000_000 / u64::from(hz);
        if step != 0
            && step == self.step
            && let Some(micros) = u32::try_from(micros).ok().filter(|micros| *micros <= PACKET_US_MAX)
        {
            self.packet_us = micros;
        }
        (self.last, self.step) = (stamp, step);
    }
}

/// Packets that were expected, and those of them that did not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    packets: u64,
    missed: u64,
}

impl Span {
    fn add(&mut self, packets: u64, missed: u64) {
        (self.packets, self.missed) = (self.packets + packets, self.missed + missed);
    }

    fn less(self, other: Span) -> Span {
        Span { packets: self.packets - other.packets, missed: self.missed - other.missed }
    }

    /// Units: 1/256.
    fn density(self) -> u8 {
        u8::try_from((self.missed * 256).checked_div(self.packets).unwrap_or(0)).unwrap_or(u8::MAX)
    }
}

/// The machine itself: packets in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    all: Span,
    bursts: Span,
    /// How many bursts.
    count: u64,
    /// From one that was missed to the last one that was, too near to each other for a gap; empty while there is none.
    near: Span,
    /// How many came since.
    since: u64,
}

impl Tally {
    fn judge(&mut self, came: bool) {
        if !came {
            return self.miss(1);
        }
        self.all.add(1, 0);
        self.since += 1;
        if self.since == GMIN.into() {
            self.settle();
        }
    }

    /// So many did not come, one after the other.
    fn miss(&mut self, n: u64) {
        if n == 0 {
            return;
        }
        if self.near.missed > 0 {
            self.near.add(self.since, 0);
        }
        self.near.add(n, n);
        self.all.add(n, n);
        self.since = 0;
    }

    /// What is missed from here on is far from what was before.
    fn settle(&mut self) {
        let near = std::mem::take(&mut self.near);
        // One alone is of the gap around it.
        if near.missed > 1 {
            self.count += 1;
            self.bursts.add(near.packets, near.missed);
        }
    }
}

/// How many numbers stay open for what comes late. Units: packets.
const WINDOW: u32 = u128::BITS;
/// How long most packets are.
const PACKET_US: u32 = 20_000;
/// Longer ones are none.
const PACKET_US_MAX: u32 = 200_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ReceiveStats;
    use words::{Chance, Seed, Time};

    /// What is told of packets of so many milliseconds that come in this order.
    fn hear(ms: u32, sequences: impl IntoIterator<Item = u32>) -> Told {
        hear_at(8_000, ms, sequences)
    }

    fn hear_at(clock_hz: u32, ms: u32, sequences: impl IntoIterator<Item = u32>) -> Told {
        let (mut stats, mut bursts) = (ReceiveStats::new(8_000), Bursts::default());
        for n in sequences {
            let stamp = Some(Stamp { ticks: n * ms * clock_hz / 1_000, clock_hz });
            bursts.packet(stats.packet(1, n as u16, stamp, Time::ZERO), stamp);
        }
        bursts.told()
    }

    #[test]
    fn what_is_missed_alone_is_no_burst() {
        // 16 come between any two: in 512 packets are 30 alone, one in each 17, which is as bad as a gap gets.
        let told = hear(20, (0..512).filter(|n| n % 17 != 16));
        assert_eq!(told, Told { burst_density: 0, gap_density: 15, burst_ms: 0, gap_ms: 10_240 });
        assert_eq!(hear(20, 0..10), Told { gap_ms: 200, ..Told::default() });
        assert_eq!(hear(20, []), Told::default());
    }

    #[test]
    fn bursts_are_from_their_first_to_their_last_and_gaps_are_the_rest() {
        // 15 come between the two: 17 packets with 2 missed, 2 * 256 / 17 = 30. The gaps have 100 and 83.
        let told = hear(20, (0..200).filter(|n| *n != 100 && *n != 116));
        assert_eq!(told, Told { burst_density: 30, gap_density: 0, burst_ms: 340, gap_ms: 183 * 20 / 2 });
        // Six in a row, 20 that came, and five of seven: 11 of 13 in bursts. One alone of 188 in three gaps: 256 / 188.
        let lost = [40..46, 66..67, 68..71, 72..73, 150..151];
        let told = hear(30, (0..201).filter(|n| !lost.iter().any(|run| run.contains(n))));
        let (bursts, gaps) = (13 * 30 / 2, (201 - 13) * 30 / 3);
        assert_eq!(told, Told { burst_density: (11 * 256 / 13) as u8, gap_density: 1, burst_ms: bursts, gap_ms: gaps });
        // All of a burst.
        assert_eq!(hear(20, (0..1_000).filter(|n| !(100..600).contains(n))).burst_density, 255);
    }

    #[test]
    fn what_comes_late_was_not_missed() {
        let in_order = hear(20, (0..400).filter(|n| n % 40 > 1));
        let mut sequences: Vec<u32> = (0..400).filter(|n| n % 40 > 1).collect();
        sequences.chunks_mut(9).for_each(<[u32]>::reverse);
        // The first one of all is the lowest that counts.
        sequences.retain(|n| *n != 2);
        sequences.insert(0, 2);
        assert_eq!(hear(20, sequences), in_order);
        // And twice is once.
        assert_eq!(hear(20, (2..400).filter(|n| n % 40 > 1).flat_map(|n| [n, n])), in_order);
        assert!(in_order.burst_density == 255 && in_order.burst_ms == 40, "{in_order:?}");
    }

    #[test]
    fn a_stream_after_another_begins_behind_a_gap() {
        let (mut stats, mut bursts) = (ReceiveStats::new(8_000), Bursts::default());
        for (ssrc, n) in [(1, 0), (1, 3), (2, 9_000), (2, 9_003), (2, 9_004)] {
            bursts.packet(stats.packet(ssrc, n, None, Time::ZERO), None);
        }
        // Two bursts of two, and five that came, in three gaps.
        assert_eq!(bursts.told(), Told { burst_density: 255, gap_density: 0, burst_ms: 40, gap_ms: 33 });
    }

    /// What the definitions say, read off a list.
    fn reckon(came: &[bool]) -> (u64, Span, Span) {
        let lost: Vec<usize> = (0..came.len()).filter(|n| !came[*n]).collect();
        let (mut count, mut bursts) = (0, Span::default());
        for run in lost.chunk_by(|a, b| b - a - 1 < usize::from(GMIN)).filter(|run| run.len() > 1) {
            count += 1;
            bursts.add((run[run.len() - 1] - run[0] + 1) as u64, run.len() as u64);
        }
        (count, bursts, Span { packets: came.len() as u64, missed: lost.len() as u64 })
    }

    #[test]
    fn any_loss_and_disorder_is_told_as_the_definitions_say() {
        let mut chance = Chance::new(Seed::from_number(7));
        for round in 0..300 {
            let (length, often) = (2 + chance.below(1_500), 2 + chance.below(40));
            let mut came: Vec<bool> = Vec::new();
            while came.len() < length as usize {
                // Now and then many in a row, more than the window holds.
                let run = if chance.below(100) == 0 { chance.below(400) as usize } else { 1 };
                came.extend(std::iter::repeat_n(chance.below(often) != 0, run.max(1)));
            }
            let last = came.len() - 1;
            (came[0], came[last]) = (true, true);
            let mut order: Vec<usize> = (0..came.len()).filter(|n| came[*n]).collect();
            // Neighbours change places, as far as that is still heard; the first tells where the stream begins.
            for at in 1..order.len().saturating_sub(1) {
                let with = (at + chance.below(8) as usize).min(order.len() - 1);
                if order[with].abs_diff(order[at]) < 20 {
                    order.swap(at, with);
                }
            }
            let (mut stats, mut bursts) = (ReceiveStats::new(8_000), Bursts::default());
            for n in order {
                bursts.packet(stats.packet(1, n as u16, None, Time::ZERO), None);
            }
            let tally = bursts.whole();
            assert_eq!((tally.count, tally.bursts, tally.all), reckon(&came), "round {round}");
        }
    }

    #[test]
    fn nothing_that_comes_breaks_it() {
        let mut chance = Chance::new(Seed::from_number(8));
        let (mut stats, mut bursts) = (ReceiveStats::new(8_000), Bursts::default());
        for _ in 0..50_000 {
            let clock_hz = chance.u32() >> chance.below(32);
            let stamp = (chance.below(3) > 0).then(|| Stamp { ticks: chance.u32() >> chance.below(32), clock_hz });
            let place = stats.packet(chance.below(2) as u32, chance.u32() as u16, stamp, Time::ZERO);
            bursts.packet(place, stamp);
            let told = bursts.told();
            assert!(told.burst_ms == 0 || told.burst_density > 0, "{told:?}");
        }
    }
}
