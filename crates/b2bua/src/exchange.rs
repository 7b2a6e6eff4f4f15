//! Offer and answer between two legs in the middle of a call: at most one exchange at a time, in one direction.

use media::sdp::Description;
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, Message, ServerTxn};

/// Where an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// There is none.
    Idle,
    /// The asking leg's INVITE was carried to the other leg, whose final answer is missing.
    Asked,
    /// The asking leg has its 2xx; its ACK is missing.
    Answered,
    /// As before, and the ACK must bring the answer to the offer in that 2xx (RFC 3261 §13.2.2.4).
    AnswerOwed,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// A leg's INVITE is carried to the other leg.
    Ask,
    /// The exchange itself answered an INVITE, or carried the answer of one that it did not ask here.
    Answer,
    /// As before, with an offer in it.
    AnswerWithOffer,
    /// The exchange itself answered an UPDATE, which nobody acknowledges.
    AnswerAtOnce,
    /// The other leg's 2xx brings an answer.
    Success,
    /// As before, and nobody owes an ACK: it was asked by UPDATE, or the exchange asked for itself.
    Settled,
    /// The other leg's 2xx brings an offer.
    SuccessWithOffer,
    /// The other leg refused: the call goes on as it was.
    Failure,
    /// The other leg's dialog is gone (RFC 3261 §12.2.1.2).
    Gone,
    /// The asking leg cancels.
    Cancel,
    /// Its ACK came; with an answer where one was owed.
    Ack,
    /// Its ACK answered an offer of ours, and that is the offer to the other leg, whose INVITE waits: it asks from here on.
    AckWithOffer,
    /// Its ACK came without the answer it owed, or with one that is none.
    BadAck,
    /// It never came.
    NoAck,
    /// The call ends.
    End,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Send the other leg our INVITE.
    Ask,
    /// Send it CANCEL; its final answer decides.
    Cancel,
    /// Send it the ACK.
    Acknowledge,
    /// Send it the ACK with an answer that declines everything.
    Decline,
    /// Answer the asking leg 2xx.
    Answer,
    /// Answer it with a failure.
    Refuse,
    /// Answer it 487 (RFC 3261 §15.1.2).
    Terminate,
    /// Both sides agreed: command the media.
    Connect,
    /// End the call.
    EndCall,
}

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} in {stage:?}")]
pub(crate) struct IllegalExchange {
    /// Where it stood, and stands.
    pub(crate) stage: Stage,
    /// What happened.
    pub(crate) event: Move,
}

impl Stage {
    /// Makes a move: changes the stage and tells what to do, in this order.
    pub(crate) fn apply(&mut self, event: Move) -> Result<&'static [Effect], IllegalExchange> {
        let stage = *self;
        let row = MOVES.iter().find(|row| row.1 == stage && row.0 == event);
        let &(_, _, to, effects) = row.ok_or(IllegalExchange { stage, event })?;
        *self = to;
        Ok(effects)
    }
}

/// An exchange that is not idle.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) stage: Stage,
    /// Whose INVITE or UPDATE it is; [`NOBODY`](crate::refresh::NOBODY): the exchange asks.
    pub(crate) asker: u16,
    /// To whom it is carried; `None` when the exchange itself is the other side.
    pub(crate) other: Option<u16>,
    /// The offer that waits for its answer.
    pub(crate) offer: Option<Description>,
    /// The INVITE or UPDATE, until its final answer.
    pub(crate) request: Option<Message>,
    /// The transaction of an UPDATE.
    pub(crate) server: Option<ServerTxn>,
    /// Whether the other leg is asked by UPDATE.
    pub(crate) by_update: bool,
    /// That UPDATE.
    pub(crate) asking: Option<ClientTxn>,
    /// The asking leg is a newcomer that takes the place of this one.
    pub(crate) instead_of: Option<u16>,
    /// It only refreshes the other leg's session (RFC 4028).
    pub(crate) refreshes: bool,
    /// Who is at the other side of the leg that is asked, where its display is to show another one than before.
    #[serde(default)]
    pub(crate) shows: Option<u16>,
    /// The INVITE of the other leg, which has no final answer yet: what it offers was offered to the asking leg, whose ACK
    /// brings its answer; or an offer of ours was, where it offers nothing. One of both is a newcomer.
    #[serde(default)]
    pub(crate) newcomer: Option<Box<Message>>,
}

impl Exchange {
    /// One that has not begun.
    pub(crate) fn new(asker: u16, other: Option<u16>, offer: Option<Description>, request: Option<Message>) -> Self {
        let stage = Stage::Idle;
        Exchange {
            stage,
            asker,
            other,
            offer,
            request,
            server: None,
            by_update: false,
            asking: None,
            instead_of: None,
            refreshes: false,
            shows: None,
            newcomer: None,
        }
    }

    /// Whether the asking leg acknowledges our 2xx.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.server.is_none() && self.request.is_some()
    }
}

use Effect as F;
use Move as M;
use Stage as S;

/// Event, from, to, effects.
#[rustfmt::skip]
const MOVES: &[(Move, Stage, Stage, &[Effect])] = &[
    (M::Ask, S::Idle, S::Asked, &[F::Ask]),
    (M::Answer, S::Idle, S::Answered, &[F::Answer, F::Connect]),
    (M::AnswerWithOffer, S::Idle, S::AnswerOwed, &[F::Answer]),
    (M::AnswerAtOnce, S::Idle, S::Idle, &[F::Answer, F::Connect]),
    (M::Success, S::Asked, S::Answered, &[F::Acknowledge, F::Answer, F::Connect]),
    (M::Settled, S::Asked, S::Idle, &[F::Acknowledge, F::Answer, F::Connect]),
    (M::SuccessWithOffer, S::Asked, S::AnswerOwed, &[F::Answer]),
    (M::Failure, S::Asked, S::Idle, &[F::Refuse]),
    (M::Gone, S::Asked, S::Idle, &[F::Refuse, F::EndCall]),
    (M::Cancel, S::Asked, S::Asked, &[F::Cancel]),
    (M::End, S::Asked, S::Idle, &[F::Terminate]),
    (M::Ack, S::Answered, S::Idle, &[]),
    (M::NoAck, S::Answered, S::Idle, &[F::EndCall]),
    (M::End, S::Answered, S::Idle, &[]),
    (M::Ack, S::AnswerOwed, S::Idle, &[F::Acknowledge, F::Connect]),
    (M::AckWithOffer, S::AnswerOwed, S::AnswerOwed, &[F::Answer]),
    (M::BadAck, S::AnswerOwed, S::Idle, &[F::Decline, F::EndCall]),
    (M::NoAck, S::AnswerOwed, S::Idle, &[F::Decline, F::EndCall]),
    (M::End, S::AnswerOwed, S::Idle, &[F::Decline]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_is_the_one_on_file() {
        crate::tests::golden("b2bua_exchange", "Offer and answer in the middle of a call", MOVES, |row| {
            (row.1, row.0, row.2, row.3)
        });
    }

    #[test]
    fn a_second_question_waits() {
        let mut stage = Stage::Idle;
        assert_eq!(stage.apply(Move::Ask), Ok(&[Effect::Ask][..]));
        assert!(stage.apply(Move::Ask).is_err());
        assert_eq!(stage, Stage::Asked);
    }
}
