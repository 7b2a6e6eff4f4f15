//! The names under which causes stand in records and filters.

use std::borrow::Cow;
use words::EndCause;

/// The name of a cause: `busy`, `no_answer`, `failed_486`.
pub fn cause_name(cause: EndCause) -> Cow<'static, str> {
    Cow::Borrowed(match cause {
        EndCause::Normal => "normal",
        EndCause::Cancelled => "cancelled",
        EndCause::Busy => "busy",
        EndCause::NoAnswer => "no_answer",
        EndCause::Declined => "declined",
        EndCause::AnsweredElsewhere => "answered_elsewhere",
        EndCause::NotFound => "not_found",
        EndCause::Unavailable => "unavailable",
        EndCause::MediaMismatch => "media_mismatch",
        EndCause::MediaLost => "media_lost",
        EndCause::SignallingLost => "signalling_lost",
        EndCause::TooLong => "too_long",
        EndCause::Administrative => "administrative",
        EndCause::Overload => "overload",
        EndCause::Failed(status) => return Cow::Owned(format!("failed_{status}")),
        EndCause::Interrupted => "interrupted",
        EndCause::Internal => "internal",
        EndCause::Transferred => "transferred",
    })
}

/// The cause that [`cause_name`] wrote so; `None` when there is no such cause.
pub fn cause_from_name(name: &str) -> Option<EndCause> {
    if let Some(status) = name.strip_prefix("failed_") {
        return status.parse().ok().map(EndCause::Failed);
    }
    PLAIN.into_iter().find(|&cause| cause_name(cause) == name)
}

/// All causes without a status.
const PLAIN: [EndCause; 17] = [
    EndCause::Normal,
    EndCause::Cancelled,
    EndCause::Busy,
    EndCause::NoAnswer,
    EndCause::Declined,
    EndCause::AnsweredElsewhere,
    EndCause::NotFound,
    EndCause::Unavailable,
    EndCause::MediaMismatch,
    EndCause::MediaLost,
    EndCause::SignallingLost,
    EndCause::TooLong,
    EndCause::Administrative,
    EndCause::Overload,
    EndCause::Interrupted,
    EndCause::Internal,
    EndCause::Transferred,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_equal_those_of_json() {
        for cause in PLAIN.into_iter().chain([EndCause::Failed(486)]) {
            assert_eq!(cause_from_name(&cause_name(cause)), Some(cause));
        }
        for cause in PLAIN {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{}\"", cause_name(cause)));
        }
        assert_eq!(cause_from_name("failed_x"), None);
        assert_eq!(cause_from_name("gone"), None);
    }
}
