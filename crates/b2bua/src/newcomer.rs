//! Somebody picks a call up while something is on its way to its caller, or from it: a description whose PRACK is missing,
//! a change by UPDATE. A caller may not be told anything else before that is over (RFC 3262 §3, RFC 3311 §5.1). Or somebody
//! comes into a call that is answered, while its sides are changing something.
//!
//! 491 would be no answer to that: RFC 3261 §14.1 has who gets it try again inside a dialog, and a phone whose INVITE was
//! to begin one just says that it failed. So the INVITE waits, as one does that rings. Before the answer, what it waits for
//! ends by itself: a PRACK is there, or the call is over, after 64*T1, and an UPDATE is answered in that time, too. In an
//! answered call it waits for [`JOIN`] at most, as a change may be put before a person.

use crate::call::{Call, Setup};
use crate::desk::{Desk, Due};
use crate::event::{Invite, Refusal};
use crate::join::{BEAT, JOIN};
use crate::refresh::NOBODY;
use crate::view::CallState;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, ServerTxn};
use words::{ConnectionId, Time};

/// Whoever comes, and the leg in whose place.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Newcomer {
    pub(crate) instead_of: u16,
    pub(crate) invite: Invite,
    /// Since when he waits.
    #[serde(default)]
    since: Time,
}

impl Call {
    /// Whoever comes waits; one at a time.
    ///
    /// # Errors
    /// [`Refusal`]: somebody waits already.
    pub(crate) fn let_wait(
        &mut self,
        desk: &mut Desk,
        instead_of: u16,
        invite: Invite,
        now: Time,
    ) -> Result<(), Refusal> {
        if self.newcomer.is_some() {
            return Err(Refusal { status: 486, reason: "Busy Here: somebody else picks it up", header: None });
        }
        desk.watch(invite.txn, self.slot, NOBODY);
        desk.enter(invite.flow.connection, self.slot);
        self.newcomer = Some(Box::new(Newcomer { instead_of, invite, since: now }));
        if self.state == CallState::Answered {
            self.set_timer(desk, Due::Newcomer, now + BEAT);
        }
        Ok(())
    }

    /// Whether both sides of an answered call are at rest, so that somebody can come in the place of a leg; also when
    /// nobody ever can.
    pub(crate) fn is_at_rest(&self, n: u16) -> bool {
        let rings = self.place(n).is_some_and(|at| self.legs[at].state.is_inviting());
        let near = match &self.transfer {
            Some(transfer) if rings => Some(transfer.near),
            Some(_) => return !self.is_party(n),
            None => self.other_of(n),
        };
        let quiet = |at: usize| self.exchange.is_none() && !self.is_asking() && self.legs[at].is_quiet();
        near.and_then(|n| self.place(n)).is_none_or(quiet)
    }

    /// Looks again whether who waits can come into an answered call, but not for ever.
    pub(crate) fn handle_newcomer_due(&mut self, desk: &mut Desk, now: Time) {
        let Some(newcomer) = self.newcomer.as_ref().filter(|_| self.state == CallState::Answered) else { return };
        if self.is_at_rest(newcomer.instead_of) {
            self.enter_late(desk, now);
        } else if now.since(newcomer.since) >= JOIN {
            let Some(newcomer) = self.take_newcomer(desk) else { return };
            let header = Some((HeaderName::RetryAfter, RETRY_AFTER_S.into()));
            let refusal = Refusal { status: 480, reason: "Temporarily Unavailable: the call is being changed", header };
            refuse_newcomer(desk, newcomer.invite.txn, &newcomer.invite.message, &refusal);
        } else {
            self.set_timer(desk, Due::Newcomer, now + BEAT);
        }
    }

    /// Whether somebody waits.
    pub(crate) fn has_newcomer(&self) -> bool {
        self.newcomer.is_some()
    }

    /// Nothing is on its way any more: whoever waits comes in.
    pub(crate) fn let_in(&mut self, desk: &mut Desk, now: Time) {
        if self.state != CallState::Ringing || self.must_wait() || self.setup.as_deref().is_some_and(Setup::is_held) {
            return;
        }
        self.enter_late(desk, now);
    }

    fn enter_late(&mut self, desk: &mut Desk, now: Time) {
        let Some(newcomer) = self.take_newcomer(desk) else { return };
        let Newcomer { instead_of, invite, since: _ } = *newcomer;
        let (txn, message) = (invite.txn, invite.message.clone());
        if let Err(refusal) = self.enter(desk, instead_of, invite, now) {
            refuse_newcomer(desk, txn, &message, &refusal);
        }
    }

    /// Whoever waits does so in vain.
    pub(crate) fn turn_newcomer_away(&mut self, desk: &mut Desk, status: u16, reason: &'static str) {
        if let Some(newcomer) = self.take_newcomer(desk) {
            let Invite { txn, message, .. } = &newcomer.invite;
            refuse_newcomer(desk, *txn, message, &Refusal { status, reason, header: None });
        }
    }

    /// A connection closed: whoever came over it could not be told that it has the call.
    pub(crate) fn lose_newcomer(&mut self, desk: &mut Desk, connection: ConnectionId) {
        if self.newcomer.as_ref().is_some_and(|newcomer| newcomer.invite.flow.connection == connection) {
            self.turn_newcomer_away(desk, 480, "Temporarily Unavailable: the connection was lost");
        }
    }

    /// CANCEL of an INVITE that has no final answer.
    pub(crate) fn handle_cancel(&mut self, desk: &mut Desk, n: u16, message: &Message, now: Time) {
        match self.place(n) {
            Some(at) if self.is_waiting(at) => self.handle_cancelled(desk, message, now),
            Some(_) => self.handle_cancelled_change(desk, n, now),
            None => self.turn_newcomer_away(desk, 487, "Request Terminated"),
        }
    }

    /// Takes out whoever waits.
    pub(crate) fn take_newcomer(&mut self, desk: &mut Desk) -> Option<Box<Newcomer>> {
        let newcomer = self.newcomer.take()?;
        desk.unwatch(newcomer.invite.txn);
        desk.leave(newcomer.invite.flow.connection, self.slot);
        Some(newcomer)
    }
}

fn refuse_newcomer(desk: &mut Desk, txn: ServerTxn, invite: &Message, refusal: &Refusal) {
    // It has no dialog of the call that its tag could be from.
    let tag = format!("{:016x}", desk.chance.u64());
    desk.refuse(&tag, txn, invite, refusal);
}

/// When who waited in vain may come again. Units: seconds.
const RETRY_AFTER_S: &str = "5";

/// What somebody hears who comes too late.
pub(crate) const NO_MORE: &str = "It rings no more";
