//! Somebody comes into an answered call in the place of a leg: he is sought, found, and joined to who stays.
//!
//! Who comes (the far leg) and who stays (the near leg) have agreed on nothing yet, or on something with others: the
//! far one is offered what the near one said last, then the near one what the far one answered. A far leg that was
//! called for the purpose has the first of both in its INVITE already.

use media::sdp::Description;
use serde::{Deserialize, Serialize};
use words::{LegId, Party, Time};

/// What somebody wants who refers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// His leg, and who he is.
    pub(crate) n: u16,
    pub(crate) by: Party,
    /// Who is to come, as a phone would dial it.
    pub(crate) number: String,
    /// The URI that named him.
    pub(crate) uri: String,
}

/// A transfer on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) stage: Stage,
    /// Whose place is taken, and by whom.
    pub(crate) wish: Wish,
    /// The leg of another call whose place is taken there, too: the two calls become one.
    pub(crate) instead_of: Option<LegId>,
    /// That leg left before anybody came.
    pub(crate) left: bool,
    /// Who stays.
    pub(crate) near: u16,
    /// Who came; `None` as long as nobody did, and when the exchange itself did.
    pub(crate) far: Option<u16>,
    /// What is offered to the leg that is asked next.
    pub(crate) words: Option<Description>,
    /// Since when they are being joined: not for ever.
    pub(crate) since: Time,
}

/// Where a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Who is to come is in another call, which must be ready for it.
    Claiming,
    /// Who is to come is called.
    Seeking,
    /// The far leg is to be asked, once it is free.
    FarNext,
    /// Our INVITE to it has no final answer.
    FarAsked,
    /// The near leg is to be asked, once it is free.
    NearNext,
    /// Our INVITE to it has no final answer.
    NearAsked,
    /// Both talk.
    Joined,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// Who is to come still rings.
    Rings,
    /// Somebody answered to what the near leg said.
    Found,
    /// Somebody answered to what somebody else had said.
    FoundElsewhere,
    /// Somebody came who talked with somebody else.
    Taken,
    /// The leg that is to be asked can be.
    Free,
    /// The leg that was asked agreed.
    Agreed,
    /// It refused the change, and stays.
    Refused,
    /// It wants to change something itself (RFC 3261 §14.1).
    Glare,
    /// It wants its session longer (RFC 4028 §7.3): it is asked again.
    Longer,
    /// It answers no more, or was not free for too long.
    Gone,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    Nothing,
    /// Ask the next leg when it is free.
    Wait,
    /// The same after a moment: nothing should overtake our ACK.
    Pause,
    /// Ask the far leg.
    AskFar,
    /// Ask the near leg.
    AskNear,
    /// Let both hear each other.
    Connect,
    /// The same, with what the near leg agreed on before.
    ConnectAsBefore,
    /// The call is over.
    EndCall,
}

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} in {stage:?}")]
pub(crate) struct IllegalTransfer {
    /// Where it stood, and stands.
    pub(crate) stage: Stage,
    /// What happened.
    pub(crate) event: Move,
}

impl Transfer {
    /// Whether nobody came yet.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Claiming | Stage::Seeking)
    }
}

impl Stage {
    /// Makes a move: changes the stage and tells what to do.
    pub(crate) fn apply(&mut self, event: Move) -> Result<Effect, IllegalTransfer> {
        let stage = *self;
        let row = MOVES.iter().find(|row| row.1 == stage && row.0 == event);
        let &(_, _, to, effect) = row.ok_or(IllegalTransfer { stage, event })?;
        *self = to;
        Ok(effect)
    }
}

/// How often one call is transferred at most: phones that send it round and round come to an end.
pub(crate) const TRANSFERS: u8 = 16;

use Effect as F;
use Move as M;
use Stage as S;

/// Event, from, to, effect.
#[rustfmt::skip]
const MOVES: &[(Move, Stage, Stage, Effect)] = &[
    (M::Rings, S::Claiming, S::Seeking, F::Nothing),
    (M::Taken, S::Claiming, S::FarNext, F::Wait),
    (M::Found, S::Seeking, S::NearNext, F::Wait),
    (M::FoundElsewhere, S::Seeking, S::FarNext, F::Pause),
    (M::Free, S::FarNext, S::FarAsked, F::AskFar),
    (M::Gone, S::FarNext, S::Joined, F::EndCall),
    (M::Agreed, S::FarAsked, S::NearNext, F::Wait),
    (M::Glare, S::FarAsked, S::FarNext, F::Wait),
    (M::Longer, S::FarAsked, S::FarNext, F::Wait),
    (M::Refused, S::FarAsked, S::Joined, F::EndCall),
    (M::Gone, S::FarAsked, S::Joined, F::EndCall),
    (M::Free, S::NearNext, S::NearAsked, F::AskNear),
    (M::Gone, S::NearNext, S::Joined, F::ConnectAsBefore),
    (M::Agreed, S::NearAsked, S::Joined, F::Connect),
    (M::Glare, S::NearAsked, S::NearNext, F::Wait),
    (M::Longer, S::NearAsked, S::NearNext, F::Wait),
    (M::Refused, S::NearAsked, S::Joined, F::ConnectAsBefore),
    (M::Gone, S::NearAsked, S::Joined, F::EndCall),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_is_the_one_on_file() {
        crate::tests::golden("b2bua_transfer", "Somebody comes in the place of a leg", MOVES, |row| {
            (row.1, row.0, row.2, row.3)
        });
    }

    #[test]
    fn nobody_is_joined_before_he_is_found() {
        let mut stage = Stage::Seeking;
        assert!(stage.apply(Move::Free).is_err());
        assert_eq!(stage, Stage::Seeking);
        assert_eq!(stage.apply(Move::Found), Ok(Effect::Wait));
    }
}
