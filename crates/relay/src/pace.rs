//! When a worker sleeps: until something comes, or, when much comes, for a millisecond at a time.
//!
//! Waking a thread for a packet costs more than moving it. Above some two packets per millisecond a worker therefore
//! sleeps by an absolute tick and looks at all its sockets at each: half a millisecond of delay on average.

/// Decides between waiting and ticking. Units of all times: nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    may_tick: bool,
    ticking: bool,
    next_tick: u64,
    window_from: u64,
    window_packets: u32,
}

impl Pace {
    /// Begins with waiting; without `may_tick` it stays with it.
    pub(crate) fn new(may_tick: bool, now: u64) -> Self {
        Pace { may_tick, ticking: false, next_tick: now, window_from: now, window_packets: 0 }
    }

    /// Whether it sleeps by the tick.
    pub(crate) fn is_ticking(&self) -> bool {
        self.ticking
    }

    /// Counts what a turn moved, and looks from time to time how much that was.
    pub(crate) fn count(&mut self, packets: u32, now: u64) {
        self.window_packets += packets;
        let span = now.saturating_sub(self.window_from);
        if span < WINDOW {
            return;
        }
        let per_tick = u64::from(self.window_packets) * TICK * 4 / span;
        let wanted = if self.ticking { per_tick >= 4 } else { per_tick >= 8 };
        if wanted && self.may_tick && !self.ticking {
            self.next_tick = now;
        }
        self.ticking = wanted && self.may_tick;
        (self.window_from, self.window_packets) = (now, 0);
    }

    /// Until when to sleep before the next look; `None` when it is rather to be waited for packets.
    pub(crate) fn tick(&mut self, now: u64) -> Option<u64> {
        if !self.ticking {
            return None;
        }
        self.next_tick += TICK;
        if self.next_tick <= now {
            // Late: no sleep at all, and no hurry to make up for it.
            self.next_tick = now;
        }
        Some(self.next_tick)
    }
}

const TICK: u64 = 1_000_000;
/// Over how long packets are counted.
const WINDOW: u64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn after_a_window(pace: &mut Pace, from: &mut u64, packets: u32) -> bool {
        *from += WINDOW;
        pace.count(packets, *from);
        pace.tick(*from).is_some()
    }

    #[test]
    fn ticking_begins_at_two_packets_and_ends_below_one() {
        let (mut pace, mut now) = (Pace::new(true, 0), 0);
        assert!(!after_a_window(&mut pace, &mut now, 99));
        assert!(after_a_window(&mut pace, &mut now, 100));
        assert!(after_a_window(&mut pace, &mut now, 51));
        assert!(!after_a_window(&mut pace, &mut now, 49));
    }

    #[test]
    fn ticks_are_absolute_and_a_late_one_is_not_made_up_for() {
        let (mut pace, mut now) = (Pace::new(true, 0), 0);
        after_a_window(&mut pace, &mut now, 1_000);
        assert_eq!(pace.tick(now + 1_300_000), Some(now + 2 * TICK));
        assert_eq!(pace.tick(now + 9_000_000), Some(now + 9_000_000));
        assert_eq!(pace.tick(now + 9_000_001), Some(now + 10_000_000));
    }

    #[test]
    fn the_basic_tier_never_ticks() {
        let (mut pace, mut now) = (Pace::new(false, 0), 0);
        assert!(!after_a_window(&mut pace, &mut now, 1_000_000));
    }
}
