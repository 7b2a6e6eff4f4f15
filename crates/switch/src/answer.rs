//! Answers that the exchange gives outside calls, built in one place.

use sip::{HeaderName, Message, MessageBuilder, Outgoing};

/// Why a request goes no further.
pub(crate) enum Stop {
    /// Something is not known yet: the request waits for it.
    Need(crate::need::Need),
    /// The answer.
    Answer(Outgoing),
}

/// What we can do, as `Allow` says it.
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO, NOTIFY";

/// Builds answers with what each of them carries.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    server: String,
}

impl Answers {
    pub(crate) fn new(server: &str) -> Self {
        Answers { server: server.to_owned() }
    }

    pub(crate) fn builder(&self, request: &Message, status: u16, reason: &str, tag: &str) -> MessageBuilder {
        let mut builder = MessageBuilder::response(request, status, reason, Some(tag));
        builder.header(HeaderName::Server, &self.server);
        builder
    }

    pub(crate) fn plain(&self, request: &Message, status: u16, reason: &str, tag: &str) -> Outgoing {
        Outgoing { builder: self.builder(request, status, reason, tag), body: None }
    }

    /// 503. Phones are told when to try again; a trunk would park itself for that long, so it is not (RFC 3261 §21.5.4).
    pub(crate) fn overloaded(&self, request: &Message, tag: &str, to_phone: bool) -> Outgoing {
        let mut builder = self.builder(request, 503, "Service Unavailable: try again soon", tag);
        if to_phone {
            builder.header(HeaderName::RetryAfter, RETRY_AFTER_SECONDS);
        }
        Outgoing { builder, body: None }
    }

    /// 200 to OPTIONS, with what the exchange can do (RFC 3261 §11.2).
    pub(crate) fn capabilities(&self, request: &Message, tag: &str) -> Outgoing {
        let mut builder = self.builder(request, 200, "OK", tag);
        builder.header(HeaderName::Allow, ALLOW);
        builder.header(HeaderName::Accept, "application/sdp");
        builder.header(HeaderName::Supported, "path, outbound");
        Outgoing { builder, body: None }
    }

    /// 405 with what is allowed (RFC 3261 §8.2.1); 501 for a method that nobody here knows.
    pub(crate) fn not_allowed(&self, request: &Message, tag: &str) -> Outgoing {
        let (status, reason) = if request.method() == sip::Method::Other {
            (501, "Not Implemented")
        } else {
            (405, "Method Not Allowed")
        };
        let mut builder = self.builder(request, status, reason, tag);
        builder.header(HeaderName::Allow, ALLOW);
        Outgoing { builder, body: None }
    }
}

const RETRY_AFTER_SECONDS: &str = "5";
