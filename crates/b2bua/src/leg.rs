//! One leg: a dialog side of a call, and the table of what may happen to it.

use crate::end::Said;
use crate::identity::{call_id_value, is_behind_nat, is_hidden, is_sips};
use crate::more::More;
use crate::step::Trust;
use crate::tag::Tag;
use bytes::Bytes;
use media::command::SourceRule;
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, Dialog, HeaderName, Message, MessageBuilder, Method, ServerTxn, Target};
use words::{CallId, Flow, Party, Srtp};

/// Where a leg stands. The first three rows are the answering side of an INVITE, the next three the asking side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
pub(crate) enum LegEvent {
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
pub(crate) enum LegEffect {
    /// Nothing.
    Nothing,
    /// Answer the INVITE with a failure.
    Refuse,
    /// Cancel the INVITE.
    Cancel,
    /// Send BYE.
    Bye,
    /// Acknowledge the 2xx that nobody wants any more (whoever took it does), then send BYE.
    AckAndBye,
}

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} in {state:?}")]
pub(crate) struct IllegalMove {
    /// Where the leg stood, and stands.
    pub(crate) state: LegState,
    /// What happened.
    pub(crate) event: LegEvent,
}

impl LegState {
    /// Makes a move: changes the state and tells what to do.
    pub(crate) fn apply(&mut self, event: LegEvent) -> Result<LegEffect, IllegalMove> {
        let state = *self;
        let row = MOVES.iter().find(|row| row.1 == state && row.0 == event);
        let &(_, _, to, effect) = row.ok_or(IllegalMove { state, event })?;
        *self = to;
        Ok(effect)
    }

    /// Its word for people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            LegState::Incoming => "incoming",
            LegState::Accepted => "accepted",
            LegState::ByeOwed | LegState::Leaving => "leaving",
            LegState::Calling => "calling",
            LegState::Ringing => "ringing",
            LegState::Cancelling => "cancelling",
            LegState::Confirmed => "confirmed",
            LegState::Ended => "ended",
        }
    }

    /// Whether the leg is a part of the call: not one that only waits for its last answer.
    pub(crate) const fn is_live(self) -> bool {
        match self {
            LegState::Incoming | LegState::Accepted | LegState::Calling | LegState::Ringing | LegState::Confirmed => {
                true
            }
            LegState::ByeOwed | LegState::Cancelling | LegState::Leaving | LegState::Ended => false,
        }
    }

    /// Whether our INVITE on it waits for a final answer that the call wants.
    pub(crate) const fn is_inviting(self) -> bool {
        matches!(self, LegState::Calling | LegState::Ringing)
    }
}

/// One leg of a call.
#[expect(clippy::struct_excessive_bools, reason = "each is true of a leg by itself, and none excludes another")]
#[derive(Debug, Serialize, Deserialize)]
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
    /// Whether that flow's connection closed, or it said that its dialog is over.
    pub(crate) lost: bool,
    /// Its dialog, once there is one.
    pub(crate) dialog: Option<Box<Dialog>>,
    /// Our last INVITE to it.
    pub(crate) ours: Option<OurInvite>,
    /// The one before that was answered 2xx: its ACK may have been lost, and be wanted again while the last one is
    /// under way or was refused (RFC 3261 §13.2.2.4).
    pub(crate) earlier: Option<OurInvite>,
    /// Its last INVITE, until the ACK to our final answer: transaction and CSeq.
    pub(crate) theirs: Option<(ServerTxn, u32)>,
    /// Our BYE.
    pub(crate) bye: Option<ClientTxn>,
    /// What its other side takes.
    pub(crate) takes: Takes,
    /// What it has beyond a plain call.
    pub(crate) more: Option<Box<More>>,
    /// The fingerprint of its description that holds; 0: none does.
    #[serde(default)]
    pub(crate) words: u64,
    /// Its media end, by place in the call's list.
    pub(crate) end: usize,
    /// Whether its media may come from another address than its description says.
    pub(crate) nat: bool,
    /// Whether it said, before it was called, that it does ICE.
    #[serde(default)]
    pub(crate) ice: bool,
    /// Whether its dialog is `sips` (RFC 3261 §12.1.1).
    pub(crate) secure: bool,
    /// What it and we tell each other about who somebody is.
    #[serde(default)]
    pub(crate) trust: Trust,
    /// Whether its media are to be encrypted.
    #[serde(default)]
    pub(crate) srtp: Srtp,
    /// Who is there.
    pub(crate) party: Party,
}

/// What the other side of a leg said that it takes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Takes {
    /// UPDATE (RFC 3311 §4).
    pub(crate) update: bool,
}

impl Takes {
    /// By the Allow of a message that makes a dialog.
    pub(crate) fn of(message: &Message) -> Takes {
        Takes { update: message.has_token(HeaderName::Allow, "UPDATE") }
    }
}

/// An INVITE of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OurInvite {
    pub(crate) txn: ClientTxn,
    pub(crate) cseq: u32,
    /// It had an offer; if not, its 2xx has one.
    pub(crate) offers: bool,
    pub(crate) ack: Acking,
}

/// What became of the ACK to an INVITE of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Acking {
    /// No 2xx came.
    Unneeded,
    /// A 2xx with an offer came; the ACK waits for the other leg's answer.
    Owed,
    /// Sent, and sent again for each repetition of the 2xx (RFC 3261 §13.2.2.4), with what it carried.
    Sent(Option<Bytes>),
}

impl Leg {
    /// A leg without a dialog.
    pub(crate) fn new(n: u16, state: LegState, tag: Tag, target: Target, flow: Flow, party: Party) -> Leg {
        Leg {
            n,
            state,
            tag,
            target,
            flow,
            lost: false,
            dialog: None,
            ours: None,
            earlier: None,
            theirs: None,
            bye: None,
            takes: Takes::default(),
            more: None,
            words: 0,
            end: 0,
            nat: false,
            ice: false,
            secure: false,
            trust: Trust::default(),
            srtp: Srtp::default(),
            party,
        }
    }

    /// A leg that an INVITE from outside makes; its media end is the first.
    pub(crate) fn incoming(
        n: u16,
        tag: Tag,
        txn: ServerTxn,
        invite: &Message,
        flow: Flow,
        dialog: Dialog,
        party: Party,
    ) -> Leg {
        Leg {
            dialog: Some(Box::new(dialog)),
            theirs: Some((txn, invite.cseq().map_or(0, |cseq| cseq.number))),
            takes: Takes::of(invite),
            nat: is_behind_nat(invite, &flow),
            secure: is_sips(invite.request_uri()),
            ..Leg::new(n, LegState::Incoming, tag, Target::Flow(flow), flow, party)
        }
    }

    /// Whether a request with our tag is from the other side of this leg's dialog (RFC 3261 §12).
    pub(crate) fn owns(&self, request: &Message) -> bool {
        let fits = |dialog: &Dialog| {
            request.header(HeaderName::CallId) == Some(dialog.call_id.as_str())
                && request.from_tag().unwrap_or_default() == dialog.remote_tag
        };
        self.dialog.as_deref().is_some_and(fits) || self.early_dialogs().any(fits)
    }

    /// From where its media may come (facts of the leg, and what its description says).
    pub(crate) fn source(&self, said: &Said) -> SourceRule {
        if self.party.peer.is_some() {
            return SourceRule::HearOnce;
        }
        let hidden = said.remote.is_some_and(|remote| is_hidden(remote.rtp.ip(), &self.flow));
        if self.nat || hidden { SourceRule::LearnOnce } else { SourceRule::Strict }
    }

    /// Whether its dialog stands, and nobody waits for it to come back or to say goodbye.
    pub(crate) fn is_there(&self) -> bool {
        self.state == LegState::Confirmed && !self.lost
    }

    /// Whether it can be asked to change something: nothing of that kind is under way on it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_there() && self.theirs.is_none()
    }

    /// Whether its dialog has this Call-ID and this tag of the other side; what an early one has there is not known.
    pub(crate) fn is_dialog(&self, call: CallId, call_id: &str, remote_tag: &str) -> bool {
        match &self.dialog {
            Some(dialog) => dialog.call_id == call_id && dialog.remote_tag == remote_tag,
            None => call_id_value(call, self.n) == call_id,
        }
    }

    /// Another INVITE of ours inside its dialog is on its way.
    pub(crate) fn invites(&mut self, txn: ClientTxn, offers: bool) {
        let cseq = self.dialog.as_ref().map_or(0, |dialog| dialog.local_cseq);
        let last = self.ours.replace(OurInvite { txn, cseq, offers, ack: Acking::Unneeded });
        if last.as_ref().is_some_and(|last| matches!(last.ack, Acking::Sent(_))) {
            self.earlier = last;
        }
    }

    /// A request inside its dialog.
    pub(crate) fn request(&mut self, method: Method) -> Option<MessageBuilder> {
        self.dialog.as_mut().map(|dialog| dialog.request(method))
    }
}

use LegEffect as F;
use LegEvent as E;
use LegState as S;

/// Event, from, to, effect.
#[rustfmt::skip]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_is_the_one_on_file() {
        crate::tests::golden("b2bua_leg", "A leg of a call", MOVES, |row| (row.1, row.0, row.2, row.3));
    }

    #[test]
    fn illegal_moves_change_nothing() {
        let mut state = LegState::Ended;
        assert_eq!(state.apply(LegEvent::Bye), Err(IllegalMove { state: LegState::Ended, event: LegEvent::Bye }));
        assert_eq!(state, LegState::Ended);
    }

    #[test]
    fn no_bye_leaves_before_the_ack() {
        let mut state = LegState::Accepted;
        assert_eq!(state.apply(LegEvent::HangUp), Ok(LegEffect::Nothing));
        assert_eq!(state.apply(LegEvent::Ack), Ok(LegEffect::Bye));
        assert_eq!(state, LegState::Leaving);
    }
}
