//! The client transaction of every request but INVITE and ACK (RFC 3261 §17.1.2).

use super::{Effect, Row};
use crate::timer::Timer;
use serde::{Deserialize, Serialize};

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// No answer yet.
    Trying,
    /// A provisional answer came.
    Proceeding,
    /// The final answer came; more of it are absorbed.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The user sends it.
    Start,
    /// A 100–199 answer.
    Provisional,
    /// A 200–699 answer.
    Final,
    /// The transport failed.
    TransportFailed,
    /// Timer E.
    TimerE,
    /// Timer F.
    TimerF,
    /// Timer K.
    TimerK,
}

use Effect::{
    Again, AgainAtT2, DropRequest, PassUp, ResendRequest, SendRequest, Start, StopGuard, StopRepeat, TellTimeout,
    TellTransportFailed,
};
use State::{Completed, Proceeding, Terminated, Trying};

/// The machine. `Start` is a move from Trying to itself: a transaction is born there.
#[rustfmt::skip]
pub const TABLE: &[Row<State, Event>] = &[
    Row { from: Trying, event: Event::Start, to: Trying, effects: &[SendRequest, Start(Timer::E), Start(Timer::F)] },
    Row { from: Trying, event: Event::TimerE, to: Trying, effects: &[ResendRequest, Again(Timer::E)] },
    Row { from: Trying, event: Event::TimerF, to: Terminated, effects: &[TellTimeout] },
    Row { from: Trying, event: Event::TransportFailed, to: Terminated, effects: &[TellTransportFailed] },
    Row { from: Trying, event: Event::Provisional, to: Proceeding, effects: &[PassUp] },
    Row { from: Trying, event: Event::Final, to: Completed, effects: &[StopRepeat, StopGuard, DropRequest, PassUp, Start(Timer::K)] },
    Row { from: Proceeding, event: Event::TimerE, to: Proceeding, effects: &[ResendRequest, AgainAtT2] },
    Row { from: Proceeding, event: Event::TimerF, to: Terminated, effects: &[TellTimeout] },
    Row { from: Proceeding, event: Event::TransportFailed, to: Terminated, effects: &[TellTransportFailed] },
    Row { from: Proceeding, event: Event::Provisional, to: Proceeding, effects: &[PassUp] },
    Row { from: Proceeding, event: Event::Final, to: Completed, effects: &[StopRepeat, StopGuard, DropRequest, PassUp, Start(Timer::K)] },
    Row { from: Completed, event: Event::TimerK, to: Terminated, effects: &[] },
];
