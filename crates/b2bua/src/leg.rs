//! One leg: a dialog side of a call, and the table of what may happen to it.

use crate::tag::Tag;
use sip::dialog::Dialog;
use sip::endpoint::{ClientTxn, Target};
use words::{Flow, Party};

/// Where a leg stands. The first three rows are the answering side of an INVITE, the next three the asking side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegState {
    /// An INVITE came in and has no final answer yet (RFC 3261 §13.3.1).
    Incoming,
    /// Our 2xx left, its ACK is missing (§13.3.1.4).
    Accepted,
    /// As before, and the leg is to end: a BYE may not leave before the ACK came (§15).
    ByeOwed,
    /// Our INVITE left, nothing but 100 came back (§13.2).
    Calling,
    /// A provisional answer above 100 came.
    Ringing,
    /// CANCEL left, the final answer is missing (§9.1).
    Cancelling,
    /// The dialog stands.
    Confirmed,
    /// BYE left, its answer is missing (§15.1.1).
    Leaving,
    /// Nothing more will come.
    Ended,
}

/// What can happen to a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegEvent {
    /// We answer 2xx.
    Accept,
    /// The ACK to our 2xx came.
    Ack,
    /// It never came (§13.3.1.4).
    NoAck,
    /// 101…199.
    Provisional,
    /// 2xx.
    Success,
    /// 3xx…6xx, or no answer at all.
    Failure,
    /// The call wants to be rid of the leg.
    HangUp,
    /// The other side sent BYE.
    Bye,
    /// Our BYE was answered, or nobody will answer it.
    Done,
    /// The other side cannot be reached any more: nothing is sent.
    Gone,
}

/// What a move asks of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegEffect {
    /// Nothing.
    Nothing,
    /// Answer the INVITE with a failure.
    Refuse,
    /// Cancel the INVITE.
    Cancel,
    /// Send BYE.
    Bye,
    /// Acknowledge the 2xx that nobody wants any more, then send BYE.
    AckAndBye,
}

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} in {state:?}")]
pub struct IllegalMove {
    /// Where the leg stood, and stands.
    pub state: LegState,
    /// What happened.
    pub event: LegEvent,
}

impl LegState {
    /// Makes a move: changes the state and tells what to do.
    pub fn apply(&mut self, event: LegEvent) -> Result<LegEffect, IllegalMove> {
        let state = *self;
        let row = MOVES.iter().find(|row| row.1 == state && row.0 == event);
        let &(_, _, to, effect) = row.ok_or(IllegalMove { state, event })?;
        *self = to;
        Ok(effect)
    }

    /// Whether the leg is a part of the call: not one that only waits for its last answer.
    pub const fn is_live(self) -> bool {
        match self {
            LegState::Incoming
            | LegState::Accepted
            | LegState::Calling
            | LegState::Ringing
            | LegState::Confirmed => true,
            LegState::ByeOwed | LegState::Cancelling | LegState::Leaving | LegState::Ended => false,
        }
    }

    /// Whether our INVITE on it waits for a final answer that the call wants.
    pub const fn is_inviting(self) -> bool {
        matches!(self, LegState::Calling | LegState::Ringing)
    }
}

/// One leg of a call.
#[derive(Debug)]
pub(crate) struct Leg {
    /// Its number in the call: 0 is the caller's.
    pub(crate) n: u16,
    /// Where it stands.
    pub(crate) state: LegState,
    /// Our tag in its dialog.
    pub(crate) tag: Tag,
    /// Where our requests go: the flow it came from or was registered from, or a peer's address. Never its Contact.
    pub(crate) target: Target,
    /// The flow that it speaks through.
    pub(crate) flow: Flow,
    /// Its dialog, once there is one.
    pub(crate) dialog: Option<Box<Dialog>>,
    /// Our INVITE, later our BYE; 0 on the caller's leg before that.
    pub(crate) txn: ClientTxn,
    /// The CSeq of an INVITE of ours whose 2xx still waits for its ACK.
    pub(crate) ack_owed: Option<u32>,
    /// The last ACK's answer, kept because the ACK may be lost (only where the ACK carried one).
    pub(crate) ack_body: Option<bytes::Bytes>,
    /// Its media end, by place in the call's list.
    pub(crate) end: u8,
    /// Whether its packets may come from another address than its SDP tells.
    pub(crate) nat: bool,
    /// Whether its dialog is `sips` (§12.1.1).
    pub(crate) secure: bool,
    /// Whether it said that it rings.
    pub(crate) rang: bool,
    /// Who is there.
    pub(crate) party: Party,
}

use LegEffect as F;
use LegEvent as E;
use LegState as S;

/// Event, from, to, effect.
const MOVES: &[(LegEvent, LegState, LegState, LegEffect)] = &[
    (E::Accept, S::Incoming, S::Accepted, F::Nothing),
    (E::HangUp, S::Incoming, S::Ended, F::Refuse),
    (E::Gone, S::Incoming, S::Ended, F::Nothing),
    (E::Ack, S::Accepted, S::Confirmed, F::Nothing),
    (E::NoAck, S::Accepted, S::Leaving, F::Bye),
    (E::HangUp, S::Accepted, S::ByeOwed, F::Nothing),
    (E::Bye, S::Accepted, S::Ended, F::Nothing),
    (E::Gone, S::Accepted, S::Ended, F::Nothing),
    (E::Ack, S::ByeOwed, S::Leaving, F::Bye),
    (E::NoAck, S::ByeOwed, S::Leaving, F::Bye),
    (E::Bye, S::ByeOwed, S::Ended, F::Nothing),
    (E::Gone, S::ByeOwed, S::Ended, F::Nothing),
    (E::Provisional, S::Calling, S::Ringing, F::Nothing),
    (E::Success, S::Calling, S::Confirmed, F::Nothing),
    (E::Failure, S::Calling, S::Ended, F::Nothing),
    (E::HangUp, S::Calling, S::Cancelling, F::Cancel),
    (E::Gone, S::Calling, S::Ended, F::Nothing),
    (E::Provisional, S::Ringing, S::Ringing, F::Nothing),
    (E::Success, S::Ringing, S::Confirmed, F::Nothing),
    (E::Failure, S::Ringing, S::Ended, F::Nothing),
    (E::HangUp, S::Ringing, S::Cancelling, F::Cancel),
    (E::Gone, S::Ringing, S::Ended, F::Nothing),
    (E::Provisional, S::Cancelling, S::Cancelling, F::Nothing),
    (E::Success, S::Cancelling, S::Leaving, F::AckAndBye),
    (E::Failure, S::Cancelling, S::Ended, F::Nothing),
    (E::Gone, S::Cancelling, S::Ended, F::Nothing),
    (E::HangUp, S::Confirmed, S::Leaving, F::Bye),
    (E::Bye, S::Confirmed, S::Ended, F::Nothing),
    (E::Gone, S::Confirmed, S::Ended, F::Nothing),
    (E::Done, S::Leaving, S::Ended, F::Nothing),
    (E::Bye, S::Leaving, S::Ended, F::Nothing),
    (E::Gone, S::Leaving, S::Ended, F::Nothing),
];
