//! The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1), with the retransmission of 2xx answers that
//! RFC 3261 §13.3.1.4 asks of the user above it.

use super::{Effect, Row};
use crate::timer::Timer;
use serde::{Deserialize, Serialize};

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The user decides.
    Proceeding,
    /// Answered 300–699; the ACK is awaited.
    Completed,
    /// The ACK came; more of it are absorbed.
    Confirmed,
    /// Answered 2xx; the user awaits the ACK (RFC 6026).
    Accepted,
    /// Answered 2xx and acknowledged; retransmitted INVITEs are absorbed.
    Acknowledged,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The INVITE came.
    Start,
    /// The INVITE came again.
    Retransmission,
    /// The user answers 100–199.
    Provisional,
    /// The user answers 200–299.
    Success,
    /// The user answers 300–699.
    Failure,
    /// An ACK with the INVITE's branch.
    Ack,
    /// The user matched an ACK to its 2xx.
    Acked,
    /// An answer could not be sent.
    TransportFailed,
    /// The user stayed silent.
    TimerTrying,
    /// Timer G.
    TimerG,
    /// Timer H.
    TimerH,
    /// Timer I.
    TimerI,
    /// Timer L.
    TimerL,
    /// The interval between two 2xx.
    TimerSuccess,
}

use Effect::{
    Again, DropRequest, DropResponse, PassUp, ResendResponse, SendResponse, SendTrying, Start, StopGuard, StopRepeat,
    TellNoAck, TellServerFailed,
};
use State::{Accepted, Acknowledged, Completed, Confirmed, Proceeding, Terminated};

/// The machine. `Start` is a move from Proceeding to itself: a transaction is born there.
#[rustfmt::skip]
pub const TABLE: &[Row<State, Event>] = &[
    Row { from: Proceeding, event: Event::Start, to: Proceeding, effects: &[PassUp, Start(Timer::Trying)] },
    Row { from: Proceeding, event: Event::TimerTrying, to: Proceeding, effects: &[SendTrying, DropRequest] },
    Row { from: Proceeding, event: Event::Retransmission, to: Proceeding, effects: &[ResendResponse] },
    Row { from: Proceeding, event: Event::Provisional, to: Proceeding, effects: &[StopRepeat, DropRequest, SendResponse] },
    Row { from: Proceeding, event: Event::Success, to: Accepted, effects: &[StopRepeat, DropRequest, SendResponse, Start(Timer::Success), Start(Timer::L)] },
    Row { from: Proceeding, event: Event::Failure, to: Completed, effects: &[StopRepeat, DropRequest, SendResponse, Start(Timer::G), Start(Timer::H)] },
    Row { from: Proceeding, event: Event::TransportFailed, to: Terminated, effects: &[TellServerFailed] },
    Row { from: Completed, event: Event::Retransmission, to: Completed, effects: &[ResendResponse] },
    Row { from: Completed, event: Event::TimerG, to: Completed, effects: &[ResendResponse, Again(Timer::G)] },
    Row { from: Completed, event: Event::TimerH, to: Terminated, effects: &[TellNoAck] },
    Row { from: Completed, event: Event::TransportFailed, to: Terminated, effects: &[TellServerFailed] },
    Row { from: Completed, event: Event::Ack, to: Confirmed, effects: &[StopRepeat, StopGuard, DropResponse, Start(Timer::I)] },
    Row { from: Confirmed, event: Event::Ack, to: Confirmed, effects: &[] },
    Row { from: Confirmed, event: Event::Retransmission, to: Confirmed, effects: &[] },
    Row { from: Confirmed, event: Event::TimerI, to: Terminated, effects: &[] },
    Row { from: Accepted, event: Event::Retransmission, to: Accepted, effects: &[] },
    Row { from: Accepted, event: Event::Success, to: Accepted, effects: &[SendResponse] },
    Row { from: Accepted, event: Event::TimerSuccess, to: Accepted, effects: &[ResendResponse, Again(Timer::Success)] },
    Row { from: Accepted, event: Event::Ack, to: Accepted, effects: &[PassUp] },
    Row { from: Accepted, event: Event::Acked, to: Acknowledged, effects: &[StopRepeat, DropResponse] },
    Row { from: Accepted, event: Event::TransportFailed, to: Accepted, effects: &[StopRepeat, DropResponse, TellServerFailed] },
    Row { from: Accepted, event: Event::TimerL, to: Terminated, effects: &[TellNoAck] },
    Row { from: Acknowledged, event: Event::Retransmission, to: Acknowledged, effects: &[] },
    Row { from: Acknowledged, event: Event::Ack, to: Acknowledged, effects: &[PassUp] },
    Row { from: Acknowledged, event: Event::TimerL, to: Terminated, effects: &[] },
];
