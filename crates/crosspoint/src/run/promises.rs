//! What the store says, from the commit thread to the loop.
//!
//! A sync releases whatever waited for it, so the loop is woken once per sync, some thirty times a second under load, and
//! not once per fact.

use super::bell::Ringer;
use controller::Outcome;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The box that the commit thread puts outcomes into. Copies are the same.
///
/// Limits: [`OUTCOMES`] stay. Of two of a kind that follow each other the later one stands for both, as "up to" holds for
/// all before; past the limit everything before the last one counts as failed.
#[derive(Clone, Debug)]
pub(crate) struct Promises(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    any: AtomicBool,
    outcomes: Mutex<Vec<Outcome>>,
    ringer: Ringer,
}

impl Promises {
    /// Nothing yet. `ringer` tells the loop when there is something.
    pub(crate) fn new(ringer: Ringer) -> Self {
        Promises(Arc::new(Shared { any: AtomicBool::new(false), outcomes: Mutex::default(), ringer }))
    }

    /// Called on the commit thread.
    pub(crate) fn put(&self, outcome: Outcome) {
        let mut outcomes = self.0.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |other: &mut Outcome| std::mem::discriminant(other) == std::mem::discriminant(&outcome);
        outcomes.pop_if(same);
        if outcomes.len() >= OUTCOMES {
            // They take turns, so a failure is among the last two. To refuse what was stored does less harm than to promise
            // what was not.
            let failed = outcomes.iter().rev().find(|other| matches!(other, Outcome::Failed { .. })).copied();
            outcomes.clear();
            outcomes.extend(failed);
            outcomes.pop_if(same);
        }
        outcomes.push(outcome);
        // Whoever was told and did not look yet will find this too.
        if !self.0.any.swap(true, Ordering::AcqRel) {
            self.0.ringer.ring();
        }
    }

    /// What came since the last look, in order. One load when nothing did.
    pub(crate) fn take(&self) -> Vec<Outcome> {
        if !self.0.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut outcomes = self.0.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.any.store(false, Ordering::Release);
        std::mem::take(&mut *outcomes)
    }
}

/// Outcomes that wait for one turn of the loop. It hears of each within milliseconds, and a store that fails is tried again
/// once a second.
const OUTCOMES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use words::{Seq, ShardId};

    #[test]
    fn of_those_of_a_kind_the_last_stays_in_the_order_in_which_they_came() {
        let (ringer, mut bell) = super::super::bell::bell();
        let (promises, shard) = (Promises::new(ringer), ShardId(0));
        let mut rung = || bell.poll_rung(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready();
        assert!(!rung());
        assert_eq!(promises.take(), []);
        let stored = |n| Outcome::Stored { shard, up_to: Seq(n) };
        let failed = Outcome::Failed { shard, up_to: Seq(2), reserved: true };
        for outcome in [stored(1), stored(2), failed, stored(3)] {
            promises.put(outcome);
        }
        assert_eq!([rung(), rung()], [true, false], "it rings once for all of them");
        assert_eq!(promises.take(), [stored(2), failed, stored(3)]);
        assert_eq!(promises.take(), []);
    }

    #[test]
    fn what_failed_is_heard_of_however_often_the_store_changes_its_mind() {
        let (ringer, _bell) = super::super::bell::bell();
        let (promises, shard) = (Promises::new(ringer), ShardId(0));
        let stored = |n| Outcome::Stored { shard, up_to: Seq(n) };
        let failed = |n| Outcome::Failed { shard, up_to: Seq(n), reserved: true };
        for n in 0..50 {
            promises.put(failed(2 * n));
            promises.put(stored(2 * n + 1));
        }
        let heard = promises.take();
        assert!(heard.len() <= OUTCOMES && heard.last() == Some(&stored(99)), "{heard:?}");
        // Nothing is said to be stored that may have failed: before the first "stored" a failure is told.
        assert!(matches!(heard[0], Outcome::Failed { .. }), "{heard:?}");
    }
}
