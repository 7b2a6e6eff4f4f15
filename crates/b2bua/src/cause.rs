//! What a failure of one leg means: to the caller, to the records, and in a `Reason` header (RFC 3326).

use crate::refuse::{NO_CODEC, NO_PORT, usual};
use media::command::Family;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message};
use words::EndCause;

/// A final failure as it is told to the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The status for the caller, 400…699.
    pub(crate) status: u16,
    /// The reason phrase; empty for the usual one.
    pub(crate) phrase: String,
    /// What the records say.
    pub(crate) cause: EndCause,
    /// The value of a `Reason` header, where the status alone does not tell.
    pub(crate) reason: Option<String>,
    /// The addresses that could not be reached, as a `Warning` tells.
    #[serde(default)]
    pub(crate) misfit: Option<Family>,
}

impl Failure {
    /// A failure of our own making.
    pub(crate) fn own(status: u16, cause: EndCause) -> Self {
        Failure { status, phrase: own_phrase(status, cause).to_owned(), cause, reason: None, misfit: None }
    }

    /// What a callee's final answer means to the caller.
    ///
    /// What only our hop to the callee is about (its timeouts, its challenges, its redirections, which are not
    /// followed) becomes a status that the caller's phone can show; the original stands in `Reason`.
    pub(crate) fn of_answer(status: u16) -> Self {
        let shown = match status {
            403
            | 404
            | 410
            | 480
            | 482..=486
            | 488
            | 493
            | 500..=502
            | 504
            | 505
            | 513
            | 600
            | 603
            | 604
            | 606..=608 => status,
            401 | 407 => 502,
            408 | 481 | 487 | 491 | 300..=399 | 430 => 480,
            415 => 488,
            433 => 403,
            414 | 416 => 404,
            _ => 500,
        };
        let reason = (shown != status).then(|| sip_reason(status));
        let phrase = match shown {
            // The words of the RFC, which phones show: it is a person who says so.
            _ if shown == status && status != 488 => sip::reason_phrase(status).to_owned(),
            488 => usual(488).to_owned(),
            _ => format!("{}: the callee answered {status} {}", sip::reason_phrase(shown), sip::reason_phrase(status)),
        };
        Failure { phrase, reason, ..Failure::own(shown, cause_of(status)) }
    }

    /// The same of the whole answer: why its sender refuses, in its own words where it has any (RFC 6432).
    pub(crate) fn of_response(response: &Message) -> Self {
        let plain = Failure::of_answer(response.status());
        let is_sip = |value: &str| value.split(';').next().is_some_and(|of| of.trim().eq_ignore_ascii_case("SIP"));
        let has_sip = response.values(HeaderName::Reason).any(is_sip);
        let reason = match (reason_of(response), plain.reason) {
            // One value for each protocol (RFC 3326 §2).
            (Some(theirs), Some(ours)) if !has_sip => Some(format!("{theirs}, {ours}")),
            (theirs, ours) => theirs.or(ours),
        };
        Failure { reason, ..plain }
    }

    /// There is no media port for one of the legs.
    pub(crate) fn no_port() -> Self {
        Failure::own(503, EndCause::Overload)
    }

    /// Nobody answered in the time given.
    pub(crate) fn no_answer() -> Self {
        let reason = Some("Q.850;cause=19;text=\"No answer\"".to_owned());
        Failure { reason, ..Failure::own(480, EndCause::NoAnswer) }
    }

    /// The callee's transport or transaction failed (RFC 3261 §8.1.3.1: 408 and 503).
    pub(crate) fn unreachable(status: u16) -> Self {
        Failure { reason: Some(sip_reason(status)), ..Failure::own(480, EndCause::Unavailable) }
    }

    /// The place in the order of RFC 3261 §16.7 (6): the lowest is told to the caller when all failed.
    ///
    /// 6xx wins there but does not end the ring list. Within 4xx, what tells most about the person comes first.
    pub(crate) fn rank(&self) -> u8 {
        match self.status {
            600..=699 => 0,
            486 => 1,
            480 if self.cause == EndCause::NoAnswer => 2,
            484 | 488 => 3,
            480 => 5,
            400..=499 => 4,
            _ => 6,
        }
    }
}

/// Why the exchange itself refuses.
const fn own_phrase(status: u16, cause: EndCause) -> &'static str {
    match (status, cause) {
        (480, EndCause::NoAnswer) => "Temporarily Unavailable: nobody answered",
        (480, EndCause::SignallingLost) => "Temporarily Unavailable: a connection was lost",
        (480, EndCause::Administrative) => "Temporarily Unavailable: ended by the operator",
        (480, _) => "Temporarily Unavailable: no phone can be reached",
        (488, _) => NO_CODEC,
        (500, _) => "Server Internal Error: the exchange failed, and has logged why",
        (503, EndCause::Interrupted) => "Service Unavailable: the exchange is being restarted",
        (503, _) => NO_PORT,
        (487, EndCause::Transferred) => "Request Terminated: somebody else took the call",
        // Said by somebody, or with a sentence of its own.
        _ => "",
    }
}

/// The cause that records keep for a callee's status.
pub(crate) fn cause_of(status: u16) -> EndCause {
    match status {
        486 | 600 => EndCause::Busy,
        603 | 607 | 608 => EndCause::Declined,
        404 | 410 | 414 | 416 | 484 | 485 | 604 => EndCause::NotFound,
        408 | 430 | 480 => EndCause::Unavailable,
        415 | 488 | 606 => EndCause::MediaMismatch,
        other => EndCause::Failed(other),
    }
}

/// What the side that did not end an answered call reads in its BYE.
pub(crate) fn bye_reason(cause: EndCause) -> Option<&'static str> {
    match cause {
        EndCause::MediaLost => Some("Q.850;cause=41;text=\"No media\""),
        EndCause::SignallingLost => Some("Q.850;cause=27;text=\"The other side is gone\""),
        EndCause::TooLong => Some("Q.850;cause=102;text=\"The call reached its longest time\""),
        EndCause::Administrative => Some("Q.850;cause=31;text=\"Ended by the exchange\""),
        EndCause::Internal => Some("SIP;cause=500;text=\"Server Internal Error\""),
        EndCause::MediaMismatch => Some("SIP;cause=488;text=\"Not Acceptable Here\""),
        EndCause::Overload => Some("SIP;cause=503;text=\"No media port\""),
        EndCause::Normal
        | EndCause::Cancelled
        | EndCause::Busy
        | EndCause::NoAnswer
        | EndCause::Declined
        | EndCause::AnsweredElsewhere
        | EndCause::NotFound
        | EndCause::Unavailable
        | EndCause::Failed(_)
        | EndCause::Interrupted
        | EndCause::Transferred => None,
    }
}

/// What the caller of an unanswered call gets when the exchange ends it.
pub(crate) fn refusal_of(cause: EndCause) -> u16 {
    match cause {
        EndCause::Busy => 486,
        EndCause::Declined => 603,
        EndCause::NotFound => 404,
        EndCause::MediaMismatch => 488,
        EndCause::Overload | EndCause::Interrupted => 503,
        EndCause::Internal => 500,
        // The place of a caller whose call still rings was taken, too: its INVITE is not wanted any more.
        EndCause::Cancelled | EndCause::Transferred => 487,
        EndCause::Failed(status @ 400..=699) => status,
        EndCause::Normal
        | EndCause::NoAnswer
        | EndCause::AnsweredElsewhere
        | EndCause::Unavailable
        | EndCause::MediaLost
        | EndCause::SignallingLost
        | EndCause::TooLong
        | EndCause::Administrative
        | EndCause::Failed(_) => 480,
    }
}

/// The `Reason` that tells losers of a fork not to list a missed call (RFC 3326 §3.1).
pub(crate) const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// Why somebody does what he does, as the others may read it.
pub(crate) fn reason_of(message: &Message) -> Option<String> {
    message.header(HeaderName::Reason).filter(|reason| reason.len() <= REASON_BYTES).map(str::to_owned)
}

/// The longest `Reason` that is carried across.
const REASON_BYTES: usize = 200;

/// The `Reason` that says which status it was.
pub(crate) fn sip_reason(status: u16) -> String {
    let phrase = sip::reason_phrase(status);
    format!("SIP;cause={status};text=\"{phrase}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_understands_is_told_as_it_is() {
        for status in [404, 480, 486, 488, 603] {
            let failure = Failure::of_answer(status);
            assert_eq!((failure.status, failure.reason), (status, None));
        }
    }

    #[test]
    fn what_only_our_hop_is_about_is_translated() {
        let statuses = [302, 401, 408, 503, 420].map(|status| Failure::of_answer(status).status);
        assert_eq!(statuses, [480, 502, 480, 500, 500]);
        assert_eq!(Failure::of_answer(408).reason.as_deref(), Some("SIP;cause=408;text=\"Request Timeout\""));
    }

    #[test]
    fn a_decline_outranks_busy_and_busy_outranks_silence() {
        let ranks = [Failure::of_answer(603), Failure::of_answer(486), Failure::no_answer(), Failure::unreachable(408)];
        assert!(ranks.windows(2).all(|pair| pair[0].rank() < pair[1].rank()));
    }
}
