//! What must hold for a call after every input.

use crate::call::Call;
use crate::desk::Due;
use crate::leg::{Leg, LegState};
use crate::view::CallState;

impl Call {
    /// Says what does not add up.
    pub(crate) fn check(&self, slot: u32) -> Result<(), String> {
        if self.slot != slot {
            return Err(format!("lies in slot {slot}, believes in {}", self.slot));
        }
        for (at, leg) in self.legs.iter().enumerate() {
            let at_home = (leg.tag.slot, leg.tag.leg) == (slot, leg.n);
            if !(at_home || leg.is_moved()) || leg.n >= self.next_leg || self.place(leg.n) != Some(at) {
                return Err(format!("leg {} has a wrong tag or number", leg.n));
            }
            if leg.state == LegState::Ended {
                return Err(format!("leg {} ended and is still here", leg.n));
            }
        }
        if self.is_over() {
            return Err("is over and still here".to_owned());
        }
        match self.state {
            CallState::Ringing => self.check_ringing(),
            CallState::Answered => self.check_answered(),
            CallState::Ended => self.check_ended(),
        }
    }

    fn check_ringing(&self) -> Result<(), String> {
        let caller = self.legs.first().is_some_and(|leg| leg.state == LegState::Incoming && leg.theirs.is_some());
        let rule = [
            ("has no setup", self.setup.is_some()),
            ("has no caller that waits", caller),
            // A question to a leg ends with its transaction.
            ("rings without an end", self.waits() || self.exchange.is_some()),
            ("carries media changes before an answer", self.exchange.is_none() || self.told().is_some()),
            ("has two who answered, or one whom nobody waits for", self.answered().all(|n| self.is_held_for(n))),
        ];
        first_broken(&rule)
    }

    fn check_answered(&self) -> Result<(), String> {
        let caller = self.place(self.caller).is_some_and(|at| self.legs[at].state.is_live());
        let callee = self.talks_with.is_none_or(|n| self.place(n).is_some_and(|at| self.legs[at].state.is_live()));
        let seeks = self.transfer.as_ref().is_some_and(|transfer| transfer.is_open());
        let rule = [
            ("has a setup after the answer", self.setup.is_some() == self.is_seeking()),
            ("lost its caller", caller),
            ("lost its callee", callee),
            ("has no limit", self.runs(Due::Limit)),
            ("rings", self.is_seeking() || !self.legs.iter().any(|leg| leg.state.is_inviting())),
            ("seeks without an end", !self.is_seeking() || self.waits()),
            ("joins without an end", self.transfer.is_none() || self.is_seeking() || self.joins()),
            (
                "talks without media ends",
                self.legs.iter().all(|leg| !self.is_party(leg.n) || leg.end < self.ends.len()),
            ),
            ("has two winners", self.answered().all(|n| self.has_a_part(n))),
            ("has nobody to talk to", self.talks_with.is_some() || self.service.is_some() || seeks),
        ];
        first_broken(&rule)
    }

    fn check_ended(&self) -> Result<(), String> {
        let only = self.timers.iter().flatten().count() == 1 && self.runs(Due::Linger);
        let rule = [
            ("has a live leg after its end", !self.legs.iter().any(|leg| leg.state.is_live())),
            ("has media ends after its end", self.ends.is_empty()),
            ("has a setup after its end", self.setup.is_none()),
            ("has an exchange after its end", self.exchange.is_none() && self.relayed.is_empty()),
            ("has a transfer after its end", self.transfer.is_none()),
            ("has timers after its end", only),
        ];
        first_broken(&rule)
    }

    /// Those whose answer we took, and who have had no goodbye.
    fn answered(&self) -> impl Iterator<Item = u16> {
        let took = |leg: &&Leg| matches!(leg.state, LegState::Accepted | LegState::Confirmed);
        self.legs.iter().filter(took).map(|leg| leg.n)
    }

    /// Whether the caller is only to be told of that one.
    fn is_held_for(&self, n: u16) -> bool {
        let held = self.setup.as_ref().and_then(|setup| setup.held.as_ref());
        held.is_some_and(|held| held.other == Some(n))
    }

    /// Whether a leg talks, comes in the place of one that does, or leaves once it was told how that went.
    fn has_a_part(&self, n: u16) -> bool {
        let comes = self
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.wish.n == n || transfer.near == n || transfer.far == Some(n));
        let leaves = self.place(n).is_some_and(|at| {
            let more = self.legs[at].more.as_ref();
            self.legs[at].lost || more.is_some_and(|more| more.leaves || more.referral.is_some())
        });
        self.takes_part(n) || comes || leaves
    }

    fn waits(&self) -> bool {
        [Due::Plan, Due::Ring, Due::Delay, Due::Reliable].iter().any(|&due| self.runs(due))
    }

    fn joins(&self) -> bool {
        // A question ends with its transaction.
        self.runs(Due::Join) || self.is_asking()
    }

    fn runs(&self, due: Due) -> bool {
        self.timers[due as usize].is_some()
    }
}

fn first_broken(rules: &[(&str, bool)]) -> Result<(), String> {
    match rules.iter().find(|(_, holds)| !holds) {
        Some((broken, _)) => Err((*broken).to_owned()),
        None => Ok(()),
    }
}
