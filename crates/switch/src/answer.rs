//! Answers that the exchange gives outside calls, built in one place.

use crate::switch::Incoming;
use serde::{Deserialize, Serialize};
use sip::advertise::{ACCEPT, ALLOW, ALLOW_EVENTS, SUPPORTED};
use sip::{HeaderName, Message, MessageBuilder, Outgoing, Tags};
use words::Chance;

/// Why a request goes no further.
pub(crate) enum Stop {
    /// Something is not known yet: the request waits for it.
    Need(crate::need::Need),
    /// The answer.
    Answer(Outgoing),
    /// There is no room, nor any for a memory of that.
    Busy(Outgoing),
}

/// Builds answers with what each of them carries, our tag among it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answers {
    #[serde(skip)]
    server: String,
    #[serde(default)]
    tags: Tags,
}

impl Answers {
    pub(crate) fn new(server: &str, mut chance: Chance) -> Self {
        Answers { server: server.to_owned(), tags: Tags::new(&mut chance) }
    }

    /// Takes the configuration of this start: a snapshot has none.
    pub(crate) fn configure(&mut self, server: &str, chance: &mut Chance) {
        server.clone_into(&mut self.server);
        if self.tags.is_keyless() {
            self.tags = Tags::new(chance);
        }
    }

    pub(crate) fn builder(&self, request: &Message, status: u16, reason: &str) -> MessageBuilder {
        let tag = self.tags.of(request);
        MessageBuilder::response(request, status, reason, Some(&tag)).header(HeaderName::Server, &self.server)
    }

    /// Whether an ACK is to an answer of ours that nobody remembers: what its To tag was made of is in the ACK as well
    /// (RFC 3261 §17.1.1.3).
    pub(crate) fn are_acknowledged_by(&self, ack: &Message) -> bool {
        ack.to_tag().is_some_and(|tag| tag == self.tags.of(ack))
    }

    pub(crate) fn plain(&self, request: &Message, status: u16, reason: &str) -> Outgoing {
        Outgoing { builder: self.builder(request, status, reason), body: None }
    }

    /// 503. Phones are told when to try again; a trunk would park itself for that long, so it is not (RFC 3261 §21.5.4).
    pub(crate) fn overloaded(&self, request: &Message, to_phone: bool) -> Outgoing {
        let mut builder = self.builder(request, 503, "Service Unavailable: try again soon");
        if to_phone {
            builder = builder.header(HeaderName::RetryAfter, RETRY_AFTER_SECONDS);
        }
        Outgoing { builder, body: None }
    }

    /// 200 to OPTIONS, with what the exchange can do (RFC 3261 §11.2), as far as it fits into `most` bytes.
    pub(crate) fn capabilities(&self, request: &Message, most: usize) -> Outgoing {
        let builder = self
            .builder(request, 200, "OK")
            .header_within(most, HeaderName::Allow, ALLOW)
            .header_within(most, HeaderName::Supported, &SUPPORTED.join(", "))
            .header_within(most, HeaderName::Accept, ACCEPT)
            .header_within(most, HeaderName::AllowEvents, ALLOW_EVENTS);
        Outgoing { builder, body: None }
    }

    /// 405 with what is allowed (RFC 3261 §8.2.1); 501 for a method that nobody here knows.
    pub(crate) fn not_allowed(&self, request: &Message, most: usize) -> Outgoing {
        let (status, reason) = if request.method() == sip::Method::Other {
            (501, "Not Implemented: Allow names what is taken")
        } else {
            (405, "Method Not Allowed: Allow names what is taken")
        };
        let builder = self.builder(request, status, reason).header_within(most, HeaderName::Allow, ALLOW);
        Outgoing { builder, body: None }
    }
}

impl Incoming {
    /// How long an answer may be that anybody gets: a datagram's source may be forged, and must not earn its victim more
    /// than twice the bytes. Units: bytes.
    pub(crate) fn answer_bytes(&self) -> usize {
        if self.flow.transport.is_reliable() { usize::MAX } else { AMPLIFICATION * self.message.bytes().len() }
    }
}

/// How many bytes a stranger gets for each of his.
const AMPLIFICATION: usize = 2;

const RETRY_AFTER_SECONDS: &str = "5";
