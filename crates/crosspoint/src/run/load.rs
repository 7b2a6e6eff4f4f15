//! Whether the loop keeps up with what comes.

use std::time::Duration;
use words::Time;

/// What the loop knows of its own load.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Whether the last turn left datagrams or stream events behind.
    pub(crate) backlog: bool,
    pub(crate) datagrams: Lateness,
    pub(crate) streams: Lateness,
    /// What the exchange was told.
    pub(crate) shedding: bool,
    pub(crate) next_warning: Time,
    pub(crate) next_clock: Time,
    /// How many legs had no media port when that was told last, and when it may be told next.
    pub(crate) ports_refused: u64,
    pub(crate) next_ports: Time,
    /// How many that were at the last turn, and until when workers that sleep are woken to give ports back.
    pub(crate) ports_missed: u64,
    pub(crate) short_until: Time,
}

/// A request that waited longer, in a socket or behind others of its connection, finds its sender about to repeat it (T1
/// is 500 ms).
const PATIENCE: Duration = Duration::from_millis(200);
/// Work that lay there while the host itself stood still is late as well, and is done in less than this: a core bears ten
/// times what comes in half a second of a busy office.
const STALL: Duration = Duration::from_millis(100);

/// Since when all that was asked of one way in has been late. The loop makes it anew when it finds that way empty.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    since: Option<Time>,
}

impl Lateness {
    /// Whether new work is to be refused, as a message is taken up that has waited for so long: only what stays late for
    /// longer than a stall takes to work off is more than can be done.
    pub(crate) fn judge(&mut self, waited: Duration, now: Time) -> bool {
        if waited <= PATIENCE {
            self.since = None;
            return false;
        }
        self.since.get_or_insert(now);
        self.lasts(now)
    }

    /// Whether it still is, before the next message is asked.
    pub(crate) fn lasts(&self, now: Time) -> bool {
        self.since.is_some_and(|since| now.since(since) >= STALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(536);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn what_a_stall_kept_waiting_is_done() {
        let mut lateness = Lateness::default();
        for millis in 0..100 {
            assert!(!lateness.judge(LATE, at(millis)) && !lateness.lasts(at(millis)));
        }
        assert!(!lateness.judge(PATIENCE, at(100)));
        // The next one begins anew, however much later it is.
        assert!(!lateness.judge(LATE, at(10_000)) && !lateness.lasts(at(10_099)));
    }

    #[test]
    fn what_stays_late_is_refused_until_it_is_in_time_again() {
        let mut lateness = Lateness::default();
        assert!(!lateness.judge(LATE, at(0)));
        assert!(lateness.judge(LATE, at(100)) && lateness.lasts(at(101)));
        assert!(lateness.judge(Duration::from_millis(201), at(5_000)));
        assert!(!lateness.judge(Duration::from_millis(200), at(5_001)) && !lateness.lasts(at(9_000)));
    }
}
