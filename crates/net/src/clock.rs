//! The one place that reads clocks: the monotonic one as [`Time`], and its pair with the wall clock.
#![expect(clippy::disallowed_methods, reason = "everybody else asks here")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use words::{Clock, Time, Wall};

/// Both clocks, counted from when this was made. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    started: Instant,
}

impl Clocks {
    /// Starts counting: this moment is [`Time::ZERO`].
    pub fn new() -> Self {
        Clocks { started: Instant::now() }
    }

    /// The moment on the monotonic clock.
    pub fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// Both clocks, read together.
    pub fn clock(&self) -> Clock {
        Clock { mono: self.now(), wall: wall() }
    }

    /// The moment as the runtime's timers take it.
    pub fn instant(&self, at: Time) -> Instant {
        self.started + at.since(Time::ZERO)
    }
}

impl Default for Clocks {
    fn default() -> Self {
        Clocks::new()
    }
}

/// The wall clock; the epoch when it is set before that.
pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_forward_together() {
        let clocks = Clocks::new();
        let first = clocks.clock();
        let second = clocks.clock();
        assert!(second.mono >= first.mono);
        assert!(first.wall.0 > 1_700_000_000_000, "the wall clock counts milliseconds since 1970");
        assert_eq!(clocks.instant(Time::from_millis(5)) - clocks.instant(Time::ZERO), Duration::from_millis(5));
    }
}
