//! Time as machines see it: nanoseconds since start, and the wall clock only as a pair with it.

use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment on the monotonic clock.
///
/// Units: nanoseconds since the process (or the simulation) began. 64 bits last 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(u64);

impl Time {
    /// The start.
    pub const ZERO: Time = Time(0);

    /// The moment that lies `nanos` after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Time(nanos)
    }

    /// The moment that lies `millis` after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Time(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The first moment from here on that is a multiple of `step` since the start. For timers that may be late: what
    /// falls due together wakes a loop once. A step of zero changes nothing.
    pub const fn round_up(self, step: Duration) -> Time {
        let step = step.as_nanos() as u64;
        if step == 0 { self } else { Time(self.0.next_multiple_of(step)) }
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub for Time {
    type Output = Duration;
    fn sub(self, rhs: Time) -> Duration {
        self.since(rhs)
    }
}

/// A moment of the wall clock, for people and records; never for measuring how long something took.
///
/// Units: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wall(pub i64);

/// One reading of both clocks. A machine that was given it can tell the wall time of any `Time`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The monotonic side of the reading.
    pub mono: Time,
    /// The wall side of the reading.
    pub wall: Wall,
}

impl Clock {
    /// The wall time at `at`, which may lie before or after the reading.
    pub fn wall_at(&self, at: Time) -> Wall {
        let ahead = at.since(self.mono).as_millis() as i64;
        let behind = self.mono.since(at).as_millis() as i64;
        Wall(self.wall.0 + ahead - behind)
    }

    /// The moment at which the wall clock shows (or showed) `wall`; the start when it lies before it.
    pub fn time_at(&self, wall: Wall) -> Time {
        let millis = (self.mono.as_millis() as i64).saturating_add(wall.0.saturating_sub(self.wall.0));
        Time::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_follows_the_reading_both_ways() {
        let clock = Clock { mono: Time::from_millis(1_000), wall: Wall(50_000) };
        assert_eq!(clock.wall_at(Time::from_millis(1_500)), Wall(50_500));
        assert_eq!(clock.wall_at(Time::from_millis(400)), Wall(49_400));
        assert_eq!(clock.time_at(Wall(50_500)), Time::from_millis(1_500));
        assert_eq!(clock.time_at(Wall(0)), Time::ZERO);
    }
}
