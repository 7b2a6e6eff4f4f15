//! Whose NOTIFY is next: so many at a time, and then the calls have their turn.

use crate::limit;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use words::Time;

/// Subscriptions in line, by slot and the number in their tag.
///
/// Limits: as many as there are subscriptions, each once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Turns {
    waiting: VecDeque<(u32, u64)>,
    /// How many may still leave in this turn.
    left: usize,
    since: Time,
}

impl Turns {
    pub(crate) const fn new(now: Time) -> Self {
        Turns { waiting: VecDeque::new(), left: limit::NOTIFIES_PER_TURN, since: now }
    }

    /// Time has passed: a new turn, perhaps.
    pub(crate) fn begin(&mut self, now: Time) {
        if self.since + limit::NOTIFY_TURN <= now {
            (self.left, self.since) = (limit::NOTIFIES_PER_TURN, now);
        }
    }

    pub(crate) fn wait(&mut self, slot: u32, secret: u64) {
        self.waiting.push_back((slot, secret));
    }

    /// Who is next, if anybody may be.
    pub(crate) fn next(&mut self) -> Option<(u32, u64)> {
        if self.left == 0 { None } else { self.waiting.pop_front() }
    }

    /// A NOTIFY was made.
    pub(crate) fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        if self.waiting.is_empty() { None } else { Some(self.since + limit::NOTIFY_TURN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_so_many_others_have_their_turn() {
        let start = Time::from_millis(10);
        let mut turns = Turns::new(start);
        for slot in 0..limit::NOTIFIES_PER_TURN as u32 + 2 {
            turns.wait(slot, 0);
        }
        let mut told = 0;
        while turns.next().is_some() {
            turns.spend();
            told += 1;
        }
        assert_eq!((told, turns.next_at()), (limit::NOTIFIES_PER_TURN, Some(start + limit::NOTIFY_TURN)));
        turns.begin(start);
        assert_eq!(turns.next(), None);
        turns.begin(start + limit::NOTIFY_TURN);
        assert_eq!(turns.next(), Some((told as u32, 0)));
        assert!(turns.next().is_some() && turns.next_at().is_none());
    }
}
