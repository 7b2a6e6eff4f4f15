//! The server transaction of every request but INVITE, ACK and CANCEL (RFC 3261 §17.2.2, RFC 4320).

use super::{Effect, Row};
use crate::timer::Timer;
use serde::{Deserialize, Serialize};

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The user decides.
    Trying,
    /// The user answered provisionally.
    Proceeding,
    /// Answered; retransmissions get the same answer.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The request came.
    Start,
    /// The request came again.
    Retransmission,
    /// The user answers 100–199.
    Provisional,
    /// The user answers 200–699.
    Final,
    /// An answer could not be sent.
    TransportFailed,
    /// Timer J.
    TimerJ,
    /// The user takes long: the client is told once that its request is being worked on (RFC 4320 §4.1).
    TimerSlow,
    /// The client has given up by now, so no answer may follow (RFC 4320 §4.2).
    TimerLate,
}

use Effect::{DropRequest, PassUp, ResendResponse, SendResponse, SendTrying, Start, StopGuard, TellServerFailed};
use State::{Completed, Proceeding, Terminated, Trying};

/// The machine. `Start` is a move from Trying to itself: a transaction is born there.
#[rustfmt::skip]
pub const TABLE: &[Row<State, Event>] = &[
    Row { from: Trying, event: Event::Start, to: Trying, effects: &[PassUp, Start(Timer::Slow)] },
    Row { from: Trying, event: Event::Retransmission, to: Trying, effects: &[] },
    Row { from: Trying, event: Event::Provisional, to: Proceeding, effects: &[StopGuard, DropRequest, SendResponse, Start(Timer::Late)] },
    Row { from: Trying, event: Event::TimerSlow, to: Proceeding, effects: &[SendTrying, DropRequest, Start(Timer::Late)] },
    Row { from: Trying, event: Event::Final, to: Completed, effects: &[StopGuard, DropRequest, SendResponse, Start(Timer::J)] },
    Row { from: Trying, event: Event::TransportFailed, to: Terminated, effects: &[TellServerFailed] },
    Row { from: Proceeding, event: Event::Retransmission, to: Proceeding, effects: &[ResendResponse] },
    Row { from: Proceeding, event: Event::Provisional, to: Proceeding, effects: &[SendResponse] },
    Row { from: Proceeding, event: Event::Final, to: Completed, effects: &[StopGuard, SendResponse, Start(Timer::J)] },
    Row { from: Proceeding, event: Event::TransportFailed, to: Terminated, effects: &[TellServerFailed] },
    Row { from: Proceeding, event: Event::TimerLate, to: Terminated, effects: &[TellServerFailed] },
    Row { from: Completed, event: Event::Retransmission, to: Completed, effects: &[ResendResponse] },
    Row { from: Completed, event: Event::TransportFailed, to: Terminated, effects: &[TellServerFailed] },
    Row { from: Completed, event: Event::TimerJ, to: Terminated, effects: &[] },
];
