//! Ring many, keep one: who rings next, and what the caller is told when nobody answered (RFC 3261 §16.7).

use crate::cause::Failure;
use crate::step::{DialTarget, MAX_TARGETS, StepError};
use std::time::Duration;
use words::EndCause;
use words::limit::FORK_WIDTH;

/// A ring list on its way: those who wait, and the best failure so far.
#[derive(Debug)]
pub(crate) struct Fork {
    /// Sorted so that the next to ring are last.
    waiting: Vec<DialTarget>,
    ring_for: Duration,
    best: Option<Failure>,
}

impl Fork {
    /// A list of targets; those of equal order keep their places.
    pub(crate) fn new(mut targets: Vec<DialTarget>, ring_for: Duration) -> Result<Fork, StepError> {
        if targets.is_empty() {
            return Err(StepError::NoTarget);
        }
        targets.sort_by_key(|target| target.order);
        if targets.len() > MAX_TARGETS || targets.chunk_by(|a, b| a.order == b.order).any(|of| of.len() > FORK_WIDTH) {
            return Err(StepError::TooWide);
        }
        targets.reverse();
        Ok(Fork { waiting: targets, ring_for, best: None })
    }

    /// Those who ring together now; empty when all have been rung.
    pub(crate) fn next_group(&mut self) -> Vec<DialTarget> {
        let Some(order) = self.waiting.last().map(|target| target.order) else { return Vec::new() };
        let from = self.waiting.partition_point(|target| target.order > order);
        let mut group = self.waiting.split_off(from);
        group.reverse();
        group
    }

    /// How long they ring.
    pub(crate) fn ring_for(&self) -> Duration {
        self.ring_for
    }

    /// A leg failed: keeps what the caller should rather hear.
    pub(crate) fn failed(&mut self, failure: Failure) {
        if self.best.as_ref().is_none_or(|best| failure.rank() < best.rank()) {
            self.best = Some(failure);
        }
    }

    /// What the caller is told when all failed.
    pub(crate) fn outcome(&mut self) -> Failure {
        self.best.take().unwrap_or_else(|| Failure::own(480, EndCause::Unavailable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::Target;
    use words::{ConnectionId, Flow, Party, Transport};

    fn target(name: &str, order: u32) -> DialTarget {
        let address = "192.0.2.1:5060".parse().unwrap();
        DialTarget {
            to: Party { number: name.into(), ..Party::default() },
            request_uri: format!("sip:{name}@192.0.2.1"),
            target: Target::Flow(Flow {
                transport: Transport::Udp,
                listener: 0,
                connection: ConnectionId::NONE,
                local: address,
                remote: address,
            }),
            route: Vec::new(),
            to_uri: format!("sip:{name}@example.com"),
            order,
            nat: false,
        }
    }

    fn names(group: &[DialTarget]) -> Vec<&str> {
        group.iter().map(|target| target.to.number.as_str()).collect()
    }

    #[test]
    fn equal_ones_ring_together_in_their_places() {
        let list = vec![target("late", 7), target("a", 1), target("b", 1), target("mid", 2)];
        let mut fork = Fork::new(list, Duration::from_secs(1)).unwrap();
        assert_eq!(names(&fork.next_group()), ["a", "b"]);
        assert_eq!(names(&fork.next_group()), ["mid"]);
        assert_eq!(names(&fork.next_group()), ["late"]);
        assert!(fork.next_group().is_empty());
    }

    #[test]
    fn a_list_has_limits() {
        let list = |many: usize, order: fn(u32) -> u32| (0..many as u32).map(|n| target("x", order(n))).collect();
        let made = |targets| Fork::new(targets, Duration::ZERO).err();
        assert_eq!(made(Vec::new()), Some(StepError::NoTarget));
        assert_eq!(made(list(FORK_WIDTH + 1, |_| 0)), Some(StepError::TooWide));
        assert_eq!(made(list(MAX_TARGETS + 1, |n| n)), Some(StepError::TooWide));
        assert_eq!(made(list(MAX_TARGETS, |n| n)), None);
    }

    #[test]
    fn the_caller_hears_the_most_telling_failure() {
        let mut fork = Fork::new(vec![target("a", 0)], Duration::ZERO).unwrap();
        for status in [503, 480, 486, 404] {
            fork.failed(Failure::of_answer(status));
        }
        assert_eq!(fork.outcome().status, 486);
    }
}
