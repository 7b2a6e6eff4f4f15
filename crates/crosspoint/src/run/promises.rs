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
/// Limits: two outcomes stay; later ones of a kind replace earlier ones, as "up to" holds for all before.
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
        outcomes.retain(|other| std::mem::discriminant(other) != std::mem::discriminant(&outcome));
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

#[cfg(test)]
mod tests {
    use super::*;
    use words::{Seq, ShardId};

    #[test]
    fn the_last_of_each_kind_stays_in_the_order_in_which_it_came() {
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
        assert_eq!(promises.take(), [failed, stored(3)]);
        assert_eq!(promises.take(), []);
    }
}
