//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2), with the CANCEL that waits for a provisional
//! answer (RFC 3261 §9.1).

use super::{Effect, Row};
use crate::timer::Timer;
use serde::{Deserialize, Serialize};

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// No answer yet.
    Calling,
    /// A provisional answer came.
    Proceeding,
    /// A 300–699 answer came; more of it are acknowledged here.
    Completed,
    /// A 2xx answer came; more of them go up (RFC 6026).
    Accepted,
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
    /// A 200–299 answer.
    Success,
    /// A 300–699 answer.
    Failure,
    /// The user cancels.
    Cancel,
    /// The transport failed.
    TransportFailed,
    /// Timer A.
    TimerA,
    /// Timer B.
    TimerB,
    /// Timer D.
    TimerD,
    /// Timer M.
    TimerM,
    /// The wait of §9.1 after a CANCEL.
    TimerCancelled,
}

use Effect::{
    Again, DropRequest, PassUp, ResendAck, ResendRequest, SendAck, SendRequest, SendWantedCancel, Start, StopGuard,
    StopRepeat, TellTimeout, TellTransportFailed, WantCancel,
};
use State::{Accepted, Calling, Completed, Proceeding, Terminated};

/// The machine. `Start` is a move from Calling to itself: a transaction is born there.
#[rustfmt::skip]
pub const TABLE: &[Row<State, Event>] = &[
    Row { from: Calling, event: Event::Start, to: Calling, effects: &[SendRequest, Start(Timer::A), Start(Timer::B)] },
    Row { from: Calling, event: Event::TimerA, to: Calling, effects: &[ResendRequest, Again(Timer::A)] },
    Row { from: Calling, event: Event::TimerB, to: Terminated, effects: &[TellTimeout] },
    Row { from: Calling, event: Event::TransportFailed, to: Terminated, effects: &[TellTransportFailed] },
    Row { from: Calling, event: Event::Cancel, to: Calling, effects: &[WantCancel] },
    Row { from: Calling, event: Event::Provisional, to: Proceeding, effects: &[StopRepeat, StopGuard, PassUp, SendWantedCancel] },
    Row { from: Calling, event: Event::Success, to: Accepted, effects: &[StopRepeat, StopGuard, DropRequest, PassUp, Start(Timer::M)] },
    Row { from: Calling, event: Event::Failure, to: Completed, effects: &[StopRepeat, StopGuard, SendAck, DropRequest, PassUp, Start(Timer::D)] },
    Row { from: Proceeding, event: Event::Provisional, to: Proceeding, effects: &[PassUp] },
    Row { from: Proceeding, event: Event::Success, to: Accepted, effects: &[StopGuard, DropRequest, PassUp, Start(Timer::M)] },
    Row { from: Proceeding, event: Event::Failure, to: Completed, effects: &[StopGuard, SendAck, DropRequest, PassUp, Start(Timer::D)] },
    Row { from: Proceeding, event: Event::Cancel, to: Proceeding, effects: &[WantCancel, SendWantedCancel] },
    Row { from: Proceeding, event: Event::TimerCancelled, to: Terminated, effects: &[TellTimeout] },
    Row { from: Proceeding, event: Event::TransportFailed, to: Terminated, effects: &[TellTransportFailed] },
    Row { from: Completed, event: Event::Failure, to: Completed, effects: &[ResendAck] },
    Row { from: Completed, event: Event::TransportFailed, to: Terminated, effects: &[] },
    Row { from: Completed, event: Event::TimerD, to: Terminated, effects: &[] },
    Row { from: Accepted, event: Event::Success, to: Accepted, effects: &[PassUp] },
    Row { from: Accepted, event: Event::TimerM, to: Terminated, effects: &[] },
];
