//! What a REGISTER changed, to take it back where the store refuses it: its 200 was never sent, so the devices are where
//! they were before.

use crate::binding::Binding;
use crate::contact::Asked;
use crate::registrar::Registrar;
use serde::{Deserialize, Serialize};
use words::limit::BINDINGS_PER_USER;
use words::{Clock, ConnectionId, Fact, Flow, Time, UserId};

/// What a REGISTER changed. Kept until its facts are stored, and given to [`Registrar::undo`] when they will not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    user: UserId,
    /// In the order in which it was done.
    steps: Vec<Step>,
}

/// One binding before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Step {
    /// It was not there.
    Made { id: u32 },
    /// It was like this.
    Renewed(Box<Binding>),
    /// It was like this, and is gone.
    Ended(Box<Binding>),
}

/// What is being changed for a user, and what the store is to be told of it.
pub(crate) struct Changes {
    pub(crate) facts: Vec<Fact>,
    pub(crate) undo: Undo,
}

impl Changes {
    pub(crate) fn of(user: UserId) -> Self {
        Changes { facts: Vec::new(), undo: Undo::nothing(user) }
    }

    /// A binding was taken out of the table for good.
    pub(crate) fn ended(&mut self, binding: Binding) {
        self.facts.push(Fact::Unbound { user: self.undo.user, key: binding.key() });
        self.undo.steps.push(Step::Ended(Box::new(binding)));
    }

    /// A binding that was `before` is as `binding` says now.
    pub(crate) fn bound(&mut self, before: Option<Binding>, binding: &Binding, clock: &Clock) {
        self.facts.push(Fact::Bound { user: self.undo.user, binding: binding.stored(clock) });
        self.undo.steps.push(match before {
            Some(before) => Step::Renewed(Box::new(before)),
            None => Step::Made { id: binding.id },
        });
    }
}

impl Undo {
    /// Of a REGISTER that changed nothing.
    pub const fn nothing(user: UserId) -> Self {
        Undo { user, steps: Vec::new() }
    }

    /// Whose bindings were changed.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The flows that the devices of a REGISTER have left for its own. One that takes a Contact back and names another is one
    /// device, too.
    pub(crate) fn left(&self, asked: &Asked<'_>, here: &Flow) -> Vec<Flow> {
        if !self.steps.iter().any(|step| matches!(step, Step::Made { .. } | Step::Renewed(_))) {
            return Vec::new();
        }
        let flows = self.steps.iter().filter_map(|step| match step {
            Step::Made { .. } => None,
            // Two phones at home and in the office may have one private address, and others end when there is no room for more.
            Step::Renewed(before) | Step::Ended(before) => asked.is_from(before).then_some(before.flow),
        });
        flows.filter(|flow| flow != here).collect()
    }

    /// From now on nothing is taken back: the user was revoked, and nothing of before may return.
    pub fn forget(&mut self) {
        self.steps.clear();
    }
}

impl Registrar {
    /// Takes back what a REGISTER changed. Those that came later for the same user are taken back first. `gone` says which
    /// connections have closed since. Gives the facts that say how it is now, for a store that may have taken in more than
    /// it said.
    pub fn undo(&mut self, undo: Undo, gone: impl Fn(ConnectionId) -> bool, clock: &Clock, now: Time) -> Vec<Fact> {
        let user = undo.user;
        let mut facts = Vec::new();
        for step in undo.steps.into_iter().rev() {
            let before = match step {
                Step::Made { id } => {
                    let made = self.table.take(user, id);
                    facts.extend(made.map(|made| Fact::Unbound { user, key: made.key() }));
                    continue;
                }
                Step::Renewed(before) => {
                    // What ended since, by its time or by order, does not come back.
                    let Some(renewed) = self.table.take(user, before.id) else { continue };
                    let key = Some(renewed.key()).filter(|key| *key != before.key());
                    facts.extend(key.map(|key| Fact::Unbound { user, key }));
                    *before
                }
                Step::Ended(before) => *before,
            };
            if self.table.of(user).len() >= BINDINGS_PER_USER {
                continue;
            }
            facts.push(Fact::Bound { user, binding: before.stored(clock) });
            let open = before.open && !gone(before.flow.connection);
            let binding = Binding { open, ..before };
            self.put_back(user, binding, now);
        }
        facts
    }
}
