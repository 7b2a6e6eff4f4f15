//! Somebody picks a call up while something is on its way to its caller, or from it: a description whose PRACK is missing,
//! a change by UPDATE. A caller may not be told anything else before that is over (RFC 3262 §3, RFC 3311 §5.1).
//!
//! 491 would be no answer to that: RFC 3261 §14.1 has who gets it try again inside a dialog, and a phone whose INVITE was
//! to begin one just says that it failed. So the INVITE waits, as one does that rings. What it waits for ends by itself:
//! a PRACK is there, or the call is over, after 64*T1, and an UPDATE is answered in that time, too.

use crate::call::{Call, Setup};
use crate::desk::Desk;
use crate::event::{Invite, Refusal};
use crate::refresh::NOBODY;
use crate::view::CallState;
use serde::{Deserialize, Serialize};
use sip::{Message, ServerTxn};
use words::{ConnectionId, Time};

/// Whoever comes, and the leg in whose place.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Newcomer {
    pub(crate) instead_of: u16,
    pub(crate) invite: Invite,
}

impl Call {
    /// Whoever comes waits; one at a time.
    ///
    /// # Errors
    /// [`Refusal`]: somebody waits already.
    pub(crate) fn let_wait(&mut self, desk: &mut Desk, instead_of: u16, invite: Invite) -> Result<(), Refusal> {
        let (slot, txn, connection) = (self.slot, invite.txn, invite.flow.connection);
        let Some(told) = self.told_mut().filter(|told| told.newcomer.is_none()) else {
            return Err(Refusal { status: 486, reason: "Busy Here: somebody else picks it up", header: None });
        };
        told.newcomer = Some(Box::new(Newcomer { instead_of, invite }));
        desk.watch(txn, slot, NOBODY);
        desk.enter(connection, slot);
        Ok(())
    }

    /// Whether somebody waits.
    pub(crate) fn has_newcomer(&self) -> bool {
        self.told().is_some_and(|told| told.newcomer.is_some())
    }

    /// Nothing is on its way any more: whoever waits comes in.
    pub(crate) fn let_in(&mut self, desk: &mut Desk, now: Time) {
        if self.state != CallState::Ringing || self.must_wait() || self.setup.as_deref().is_some_and(Setup::is_held) {
            return;
        }
        let Some(newcomer) = self.take_newcomer(desk) else { return };
        let Newcomer { instead_of, invite } = *newcomer;
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
        let newcomer = self.told().and_then(|told| told.newcomer.as_ref());
        if newcomer.is_some_and(|newcomer| newcomer.invite.flow.connection == connection) {
            self.turn_newcomer_away(desk, 480, "");
        }
    }

    /// CANCEL of an INVITE that has no final answer.
    pub(crate) fn handle_cancel(&mut self, desk: &mut Desk, n: u16, message: &Message, now: Time) {
        match self.place(n) {
            Some(at) if self.is_waiting(at) => self.handle_cancelled(desk, Some(message), now),
            Some(_) => self.handle_cancelled_change(desk, n, now),
            None => self.turn_newcomer_away(desk, 487, ""),
        }
    }

    /// Takes out whoever waits.
    pub(crate) fn take_newcomer(&mut self, desk: &mut Desk) -> Option<Box<Newcomer>> {
        let newcomer = self.told_mut()?.newcomer.take()?;
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

/// What somebody hears who comes too late.
pub(crate) const NO_MORE: &str = "It rings no more";
