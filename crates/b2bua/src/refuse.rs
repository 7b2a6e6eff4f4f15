//! What we refuse, in words that a person can act on: the usual phrase of a status says that it was refused, and not why.

use crate::event::Refusal;
use media::sdp::Description;
use sip::HeaderName;

impl Refusal {
    /// A status and why.
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Refusal { status, reason, header: None }
    }

    /// 488 to an offer of which nothing can be carried on, or answered by the exchange itself (RFC 3261 §20.43).
    pub(crate) fn of_offer(offer: Option<&Description>) -> Self {
        if offer.is_some_and(|offer| !offer.is_carried()) {
            return Refusal::new(488, NO_AUDIO).warns(NOT_AVAILABLE);
        }
        Refusal::new(488, NO_CODEC).warns(INCOMPATIBLE)
    }

    /// 488 to a description whose audio is encrypted although it may not be, or the other way round.
    pub(crate) fn of_transport() -> Self {
        let reason = "Not Acceptable Here: audio is not encrypted as the rule for SRTP wants it";
        Refusal::new(488, reason).warns(r#"302 exchange "Incompatible transport protocol: see the rule for SRTP""#)
    }

    /// 503: all ports are in use.
    pub(crate) const fn no_port() -> Self {
        Refusal::new(503, NO_PORT)
    }

    fn warns(self, warning: &'static str) -> Self {
        Refusal { header: Some((HeaderName::Warning, warning.into())), ..self }
    }
}

/// What a status says that comes of the other side of a call, and of which nothing else is known here.
pub(crate) fn usual(status: u16) -> &'static str {
    match status {
        405 => "Method Not Allowed: Allow names what is taken inside a call",
        415 => "Unsupported Media Type: the other side does not read it",
        480 => "Temporarily Unavailable: the other side cannot be reached",
        481 => "Call/Transaction Does Not Exist: the other side is gone",
        487 => "Request Terminated: the call is over",
        488 => "Not Acceptable Here: the other side takes none of these media",
        491 => PENDING,
        500 => "Server Internal Error: what was asked before is not answered yet",
        501 => "Not Implemented: Allow names what is taken inside a call",
        504 => "Server Time-out: the other side did not answer",
        status => sip::reason_phrase(status),
    }
}

pub(crate) const NO_AUDIO: &str = "Not Acceptable Here: neither audio nor a fax is offered";

pub(crate) const NO_CODEC: &str = "Not Acceptable Here: no codec in common";

pub(crate) const NO_PORT: &str = "Service Unavailable: no media port is free";

/// Somebody names a dialog that is not there, or not his to name.
pub(crate) const NO_DIALOG: &str = "Call/Transaction Does Not Exist: no such dialog to replace";

/// It can be tried again in a moment.
pub(crate) const PENDING: &str = "Request Pending: the call is being changed";

/// 304: "Media type not available" (RFC 3261 §20.43). Who warns is told by a pseudonym.
const NOT_AVAILABLE: &str = r#"304 exchange "Media type not available: audio and fax are carried""#;

/// 305: "Incompatible media format".
pub(crate) const INCOMPATIBLE: &str = r#"305 exchange "Incompatible media format: no codec in common""#;
