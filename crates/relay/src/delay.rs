//! How long packets lie in the relay: a histogram of one in [`SAMPLED`], so that the others cost no look at a clock.
//!
//! When a packet came to its socket is not asked: stamps of arrival are switched on for all sockets of a host together,
//! and each packet would pay for them, those in the kernel tier, too. A packet is reckoned to have come right after the
//! worker last found its sockets empty, which is the longest that it can have waited, or when the worker woke up for it.
//! What the kernel forwards by itself takes microseconds and is not in here.

/// Of how many packets one is measured.
pub(crate) const SAMPLED: u32 = 64;

/// Delays are counted by these. Units: microseconds.
pub const DELAY_BOUNDS_US: [u32; 11] = [50, 100, 250, 500, 1_000, 1_500, 2_500, 5_000, 10_000, 20_000, 50_000];

/// How long forwarded packets were held at the most, from their coming to the end of the send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// How many were held up to each of [`DELAY_BOUNDS_US`], and for longer: a histogram whose buckets do not hold each
    /// other's.
    pub counts: [u64; DELAY_BOUNDS_US.len() + 1],
    /// The sum of all. Units: nanoseconds.
    pub sum_ns: u64,
}

impl Delays {
    /// Those of another worker, too.
    pub(crate) fn add(&mut self, other: &Delays) {
        self.counts.iter_mut().zip(other.counts).for_each(|(all, of)| *all += of);
        self.sum_ns += other.sum_ns;
    }

    fn count(&mut self, nanos: u64) {
        self.counts[DELAY_BOUNDS_US.partition_point(|bound| u64::from(*bound) * 1_000 < nanos)] += 1;
        self.sum_ns += nanos;
    }
}

/// Measures some packets of a worker. Units of all times: nanoseconds of the monotonic clock.
#[derive(Debug)]
pub(crate) struct Sampler {
    delays: Delays,
    /// Packets until the next that is measured.
    left: u32,
    /// Since when packets of this turn may have waited.
    since: u64,
    /// When the sockets were looked at last.
    looked: u64,
}

impl Sampler {
    pub(crate) fn new(now: u64) -> Self {
        Sampler { delays: Delays::default(), left: SAMPLED, since: now, looked: now }
    }

    /// A turn begins: the worker waited for packets from `from` on and knows since `now` which sockets have some. With
    /// `ticks` it slept whatever came.
    pub(crate) fn turn(&mut self, ticks: bool, from: u64, now: u64) {
        let woken = !ticks && now.saturating_sub(from) > AT_ONCE;
        self.since = if woken { now } else { self.looked };
        self.looked = now;
    }

    /// Whether the packet that was just sent is to be measured.
    #[inline]
    pub(crate) fn is_due(&mut self) -> bool {
        self.left -= 1;
        if self.left == 0 {
            self.left = SAMPLED;
            return true;
        }
        false
    }

    /// It was sent by now.
    #[cold]
    pub(crate) fn sent(&mut self, now: u64) {
        self.delays.count(now.saturating_sub(self.since));
    }

    pub(crate) fn delays(&self) -> Delays {
        self.delays
    }
}

/// Who waits for a shorter time found packets that were there before.
const AT_ONCE: u64 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn one_of_many_is_measured_from_when_it_may_have_come() {
        let mut sampler = Sampler::new(0);
        let due = |sampler: &mut Sampler| (0..6_400).filter(|_| sampler.is_due()).count();
        assert_eq!(due(&mut sampler), 100);
        // A tick: it may have come right after the look before.
        sampler.turn(true, 10 * MS, 11 * MS);
        sampler.turn(true, 11 * MS + 100, 12 * MS);
        sampler.sent(12 * MS + 200_000);
        // Woken by it, after a sleep.
        sampler.turn(false, 12 * MS + 300_000, 32 * MS);
        sampler.sent(32 * MS + 30_000);
        // It was there when the worker came back from a turn before.
        sampler.turn(false, 32 * MS + 600_000, 32 * MS + 601_000);
        sampler.sent(32 * MS + 640_000);
        let delays = sampler.delays();
        let bucket = |us: u32| delays.counts[DELAY_BOUNDS_US.iter().position(|bound| *bound == us).unwrap()];
        assert_eq!((bucket(1_500), bucket(50), bucket(1_000)), (1, 1, 1));
        assert_eq!((delays.counts.iter().sum::<u64>(), delays.sum_ns), (3, 1_200_000 + 30_000 + 640_000));
        let mut sum = delays;
        sum.count(10_000 * MS);
        sum.add(&delays);
        assert_eq!((sum.counts[DELAY_BOUNDS_US.len()], sum.counts.iter().sum::<u64>()), (1, 7));
    }
}
