//! What the endpoint and dialogs refuse, and which status answers it.

use crate::msg::{HeaderError, ParseError, RequestError};

/// Why a message did not become an event. What can be answered was answered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The peer's bytes are no message.
    #[error("malformed: {0}")]
    Malformed(#[from] ParseError),
    /// The message has a header that must be read and cannot be.
    #[error("malformed: {0}")]
    BadHeader(#[from] RequestError),
    /// An answer whose topmost Via is not ours (RFC 3261 §18.1.2).
    #[error("an answer to somebody else's request")]
    NotOurs,
    /// An answer that comes when its transaction is gone.
    #[error("an answer to no transaction")]
    Stray,
    /// A CANCEL for nothing that could be cancelled (RFC 3261 §9.2).
    #[error("a CANCEL for no transaction")]
    NothingToCancel,
    /// An ACK to an answer that nobody remembers (RFC 3261 §8.2.7): it ends there.
    #[error("an ACK to a refusal without a memory")]
    Forgotten,
    /// The same request on a second way (RFC 3261 §8.2.2.2).
    #[error("a merged request")]
    Merged,
    /// Max-Forwards was used up (RFC 3261 §8.1.1.6).
    #[error("too many hops")]
    TooManyHops,
    /// The table of transactions is full.
    #[error("too many transactions")]
    Full,
    /// New work is not taken now, see [`crate::Endpoint::refuse_new`].
    #[error("overloaded")]
    Busy,
}

impl Refused {
    /// The status of the answer; `None` when silence is the answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Refused::Malformed(error) => error.salvage().map(|_| error.status()),
            Refused::BadHeader(_) => Some(400),
            Refused::NotOurs | Refused::Stray | Refused::Forgotten => None,
            Refused::NothingToCancel => Some(481),
            Refused::Merged => Some(482),
            Refused::TooManyHops => Some(483),
            Refused::Full | Refused::Busy => Some(503),
        }
    }
}

impl Refused {
    /// The phrase of the answer; empty for the usual one.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Refused::BadHeader(error) => error.reason(),
            Refused::NothingToCancel => "Call/Transaction Does Not Exist: nothing to cancel",
            Refused::Merged => "Loop Detected: the same request came by another way",
            Refused::TooManyHops => "Too Many Hops: Max-Forwards is used up",
            Refused::Full | Refused::Busy => "Service Unavailable: try again soon",
            Refused::Malformed(_) | Refused::NotOurs | Refused::Stray | Refused::Forgotten => "",
        }
    }
}

/// Why a message makes no dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialogError {
    /// A header that the dialog is made of cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// No Contact, so nowhere to send to (RFC 3261 §12.1.1).
    #[error("no Contact")]
    NoContact,
    /// An answer without a To tag: RFC 2543, or a 100.
    #[error("no To tag")]
    NoTag,
    /// More Record-Route entries than [`crate::dialog::ROUTES`].
    #[error("too many Record-Route entries")]
    TooManyRoutes,
}

impl DialogError {
    /// The status that answers a request which makes no dialog.
    pub const fn status(self) -> u16 {
        match self {
            DialogError::Header(_) | DialogError::NoContact | DialogError::NoTag => 400,
            DialogError::TooManyRoutes => 513,
        }
    }
}

/// A request in a dialog whose CSeq is lower than one before: 500 (RFC 3261 §12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CSeq {found} after {last}")]
pub struct OutOfOrder {
    /// The highest number so far.
    pub last: u32,
    /// What came.
    pub found: u32,
}
