//! What the store says, fetched by the loop instead of brought to it: a commit wakes nobody.
//!
//! Waking a sleeping loop a hundred times a second costs more than the commits themselves. Under load the loop looks at
//! its next message anyway; when it would sleep while answers wait for the store it looks again after [`LOOK_AGAIN`].

use controller::Outcome;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the loop sleeps at the most while answers wait for the store.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The box that the commit thread puts outcomes into. Copies are the same.
///
/// Limits: two outcomes stay; later ones of a kind replace earlier ones, as "up to" holds for all before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    any: AtomicBool,
    outcomes: Mutex<Vec<Outcome>>,
}

impl Promises {
    /// Called on the commit thread.
    pub(crate) fn put(&self, outcome: Outcome) {
        let mut outcomes = self.0.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.retain(|other| std::mem::discriminant(other) != std::mem::discriminant(&outcome));
        outcomes.push(outcome);
        self.0.any.store(true, Ordering::Release);
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
        let (promises, shard) = (Promises::default(), ShardId(0));
        assert_eq!(promises.take(), []);
        let stored = |n| Outcome::Stored { shard, up_to: Seq(n) };
        let failed = Outcome::Failed { shard, up_to: Seq(2), reserved: true };
        for outcome in [stored(1), stored(2), failed, stored(3)] {
            promises.put(outcome);
        }
        assert_eq!(promises.take(), [failed, stored(3)]);
        assert_eq!(promises.take(), []);
    }
}
