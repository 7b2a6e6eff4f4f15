//! Where a subscription stands, and what may happen to it: a table.

/// Where a subscription stands towards its subscriber. At most one NOTIFY is under way, so none overtakes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum State {
    /// The subscriber knows everything.
    Told,
    /// A NOTIFY is to be sent when its turn comes.
    Owed,
    /// One is under way.
    Telling,
    /// One is under way, and what it says is no longer all.
    TellingOwed,
    /// The last one is under way.
    Closing,
    /// The connection to the subscriber is gone; it may come back by another.
    Adrift,
    /// Over.
    Ended,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// There is something to tell; that it ends, maybe.
    News,
    /// Its turn came.
    Turn,
    /// Its turn came, and it ends.
    LastTurn,
    /// The NOTIFY was answered 2xx.
    Answered,
    /// It was answered with Retry-After (RFC 6665 §4.2.2).
    Later,
    /// It was answered with another failure, or not at all (RFC 6665 §4.2.2).
    Failed,
    /// The connection is gone.
    Lost,
    /// The subscriber registered from somewhere else.
    Back,
    /// It ends although nobody can be told.
    Drop,
}

/// What a move asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    Nothing,
    /// Line up for a turn.
    LineUp,
    /// Line up, but not before the time that the answer named.
    LineUpLater,
    /// Send a NOTIFY.
    Notify,
    /// Forget the subscription.
    Forget,
}

/// A move that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IllegalMove;

impl State {
    /// Makes a move: changes the state and tells what to do.
    pub(crate) fn apply(&mut self, event: Event) -> Result<Effect, IllegalMove> {
        let row = MOVES.iter().find(|row| row.1 == *self && row.0 == event);
        let &(_, _, to, effect) = row.ok_or(IllegalMove)?;
        *self = to;
        Ok(effect)
    }

    /// Whether a NOTIFY waits for its answer.
    pub(crate) const fn is_telling(self) -> bool {
        matches!(self, State::Telling | State::TellingOwed | State::Closing)
    }
}

use Effect as F;
use Event as E;
use State as S;
use serde::{Deserialize, Serialize};

/// Event, from, to, effect.
#[rustfmt::skip]
const MOVES: &[(Event, State, State, Effect)] = &[
    (E::News, S::Told, S::Owed, F::LineUp),
    (E::Lost, S::Told, S::Adrift, F::Nothing),
    (E::Back, S::Told, S::Owed, F::LineUp),
    (E::Drop, S::Told, S::Ended, F::Forget),
    (E::News, S::Owed, S::Owed, F::Nothing),
    (E::Turn, S::Owed, S::Telling, F::Notify),
    (E::LastTurn, S::Owed, S::Closing, F::Notify),
    (E::Lost, S::Owed, S::Adrift, F::Nothing),
    (E::Back, S::Owed, S::Owed, F::Nothing),
    (E::Drop, S::Owed, S::Ended, F::Forget),
    (E::News, S::Telling, S::TellingOwed, F::Nothing),
    (E::Answered, S::Telling, S::Told, F::Nothing),
    (E::Later, S::Telling, S::Owed, F::LineUpLater),
    (E::Failed, S::Telling, S::Ended, F::Forget),
    (E::Lost, S::Telling, S::Adrift, F::Nothing),
    (E::Back, S::Telling, S::TellingOwed, F::Nothing),
    (E::Drop, S::Telling, S::Ended, F::Forget),
    (E::News, S::TellingOwed, S::TellingOwed, F::Nothing),
    (E::Answered, S::TellingOwed, S::Owed, F::LineUp),
    (E::Later, S::TellingOwed, S::Owed, F::LineUpLater),
    (E::Failed, S::TellingOwed, S::Ended, F::Forget),
    (E::Lost, S::TellingOwed, S::Adrift, F::Nothing),
    (E::Back, S::TellingOwed, S::TellingOwed, F::Nothing),
    (E::Drop, S::TellingOwed, S::Ended, F::Forget),
    (E::News, S::Closing, S::Closing, F::Nothing),
    (E::Answered, S::Closing, S::Ended, F::Forget),
    (E::Later, S::Closing, S::Ended, F::Forget),
    (E::Failed, S::Closing, S::Ended, F::Forget),
    (E::Lost, S::Closing, S::Ended, F::Forget),
    (E::Back, S::Closing, S::Closing, F::Nothing),
    (E::Drop, S::Closing, S::Ended, F::Forget),
    (E::News, S::Adrift, S::Adrift, F::Nothing),
    (E::Lost, S::Adrift, S::Adrift, F::Nothing),
    (E::Back, S::Adrift, S::Owed, F::LineUp),
    (E::Drop, S::Adrift, S::Ended, F::Forget),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_is_the_one_on_file() {
        crate::kit::golden("registrar_subscription", "A subscription and its subscriber", MOVES, |row| {
            (row.1, row.0, row.2, row.3)
        });
    }

    #[test]
    fn news_during_a_notify_wait_for_its_answer() {
        let mut state = State::Owed;
        let moves = [Event::Turn, Event::News, Event::News, Event::Answered].map(|event| state.apply(event).unwrap());
        assert_eq!(moves, [Effect::Notify, Effect::Nothing, Effect::Nothing, Effect::LineUp]);
        assert_eq!(state, State::Owed);
    }

    #[test]
    fn illegal_moves_change_nothing() {
        let mut state = State::Ended;
        assert_eq!(state.apply(Event::News), Err(IllegalMove));
        assert_eq!(state, State::Ended);
    }

    #[test]
    fn wherever_it_stands_it_can_be_dropped() {
        for state in [State::Told, State::Owed, State::Telling, State::TellingOwed, State::Closing, State::Adrift] {
            assert_eq!({ state }.apply(Event::Drop), Ok(Effect::Forget), "{state:?}");
        }
    }
}
