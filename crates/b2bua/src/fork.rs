//! Ring many, keep one: who rings next, and what the caller is told when nobody answered (RFC 3261 §16.7).

use crate::cause::Failure;
use crate::redirect::Pending;
use crate::step::{DialTarget, MAX_TARGETS, StepError};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use words::EndCause;
use words::limit::FORK_WIDTH;

/// A ring list on its way: those who wait, and the best failure so far.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fork {
    /// Those who ring together; the next ones are last.
    waiting: Vec<Vec<DialTarget>>,
    ring_for: Duration,
    best: Option<Failure>,
    /// Redirections whose targets are not known yet.
    pending: Vec<Pending>,
    /// How many were followed.
    followed: u8,
}

impl Fork {
    /// A list of targets; those of equal order keep their places.
    pub(crate) fn new(targets: Vec<DialTarget>, ring_for: Duration) -> Result<Fork, StepError> {
        if targets.is_empty() {
            return Err(StepError::NoTarget);
        }
        let many = targets.len();
        let waiting = groups(targets);
        if many > MAX_TARGETS || waiting.iter().any(|group| group.len() > FORK_WIDTH) {
            return Err(StepError::TooWide);
        }
        Ok(Fork { waiting, ring_for, best: None, pending: Vec::new(), followed: 0 })
    }

    /// Those who ring together now; empty when all have been rung.
    pub(crate) fn next_group(&mut self) -> Vec<DialTarget> {
        self.waiting.pop().unwrap_or_default()
    }

    /// Somebody sends the call elsewhere: the first of those ring at once, the others before whoever waits already.
    pub(crate) fn redirect(&mut self, mut targets: Vec<DialTarget>) -> Vec<DialTarget> {
        targets.truncate(FORK_WIDTH);
        self.waiting.append(&mut groups(targets));
        self.followed += 1;
        self.next_group()
    }

    /// How many redirections there were, those whose targets are not known included.
    pub(crate) fn followed(&self) -> u8 {
        self.followed + self.pending.len() as u8
    }

    /// A redirection waits for its targets.
    pub(crate) fn wait_for(&mut self, pending: Pending) {
        self.pending.push(pending);
    }

    /// The redirection of a leg.
    pub(crate) fn pending(&self, n: u16) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.n == n)
    }

    /// The same, which waits no more.
    pub(crate) fn take_pending(&mut self, n: u16) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.n == n)?;
        Some(self.pending.remove(at))
    }

    /// Whether some redirection waits for its targets.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
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

/// Those of equal order together, the lowest order last.
fn groups(mut targets: Vec<DialTarget>) -> Vec<Vec<DialTarget>> {
    targets.sort_by_key(|target| target.order);
    let mut groups: Vec<Vec<DialTarget>> = Vec::new();
    for target in targets {
        match groups.last_mut().filter(|group| group[0].order == target.order) {
            Some(group) => group.push(target),
            None => groups.push(vec![target]),
        }
    }
    groups.reverse();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Trust;
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
            ice: false,
            diverted: None,
            trust: Trust::default(),
            servers: None,
            instead: None,
            srtp: words::Srtp::default(),
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
    fn who_is_named_by_a_redirection_rings_before_the_others() {
        let mut fork = Fork::new(vec![target("a", 1), target("late", 7)], Duration::from_secs(1)).unwrap();
        fork.next_group();
        let first = fork.redirect(vec![target("y", 9), target("x", 3), target("z", 9)]);
        assert_eq!((names(&first), fork.followed()), (vec!["x"], 1));
        assert_eq!(names(&fork.next_group()), ["y", "z"]);
        assert_eq!(names(&fork.next_group()), ["late"]);
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
