//! Requests that mean something to the other side alone: INFO with digits and the like (RFC 6086), MESSAGE inside a call
//! (RFC 3428 §2). Each goes to whoever its sender talks to, before the answer too, and waits for what that one says.

use crate::call::Call;
use crate::desk::Desk;
use crate::event::Output;
use crate::leg::LegState;
use crate::view::CallState;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sip::advertise::MESSAGE_BODIES;
use sip::{ClientTxn, HeaderName, Message, Method, Outgoing, ServerTxn};
use words::Time;

/// A request that waits for the other leg's answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Relayed {
    pub(crate) server: ServerTxn,
    pub(crate) client: ClientTxn,
    pub(crate) from: u16,
    pub(crate) request: Message,
}

/// Who hears what a leg sends to its other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearer {
    /// This leg, by its place.
    Leg(usize),
    /// The exchange itself.
    Here,
    /// Nobody, or nobody yet.
    Nobody,
}

impl Call {
    /// INFO (RFC 6086): digits and the like go to the other leg, what nobody knows is refused by its type.
    pub(crate) fn handle_info(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: Message, now: Time) {
        let n = self.legs[at].n;
        if message.raw_header("Info-Package").is_some() {
            let builder =
                self.response(desk, at, &message, 469, "Bad Info Package: none is taken").raw("Recv-Info", "");
            return desk.respond(txn, builder);
        }
        let Some(kind) = kind_of(&message, &INFO_BODIES) else {
            if message.body().is_empty() {
                // A sign of life (RFC 2976 §2.2).
                return self.refuse_request(desk, n, txn, &message, 200, "OK");
            }
            return self.refuse_kind(desk, at, txn, &message, &INFO_BODIES);
        };
        self.handle_typed(desk, n, kind, message.body(), now);
        self.relay(desk, at, txn, message, kind);
    }

    /// MESSAGE inside a call, for who is at its other side. One to another user goes outside of calls.
    pub(crate) fn handle_message(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: Message) {
        let n = self.legs[at].n;
        if message.body().len() > MESSAGE_BYTES {
            let phrase = "Request Entity Too Large: a message has 1,000 bytes at most";
            return self.refuse_request(desk, n, txn, &message, 413, phrase);
        }
        match kind_of(&message, &MESSAGE_BODIES) {
            Some(kind) => self.relay(desk, at, txn, message, kind),
            None => self.refuse_kind(desk, at, txn, &message, &MESSAGE_BODIES),
        }
    }

    /// Carries a request to the other side of a leg, or says that nobody is there.
    fn relay(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: Message, kind: &'static str) {
        let (n, method) = (self.legs[at].n, message.method());
        let to = match self.hearer(n) {
            Hearer::Leg(to) => to,
            // It has heard it; nobody here reads messages.
            Hearer::Here if method == Method::Info => return self.refuse_request(desk, n, txn, &message, 200, "OK"),
            // 481 would be about this leg's own dialog (RFC 3261 §12.2.1.2).
            Hearer::Here | Hearer::Nobody => return self.refuse_request(desk, n, txn, &message, 480, NOBODY_HEARS),
        };
        if self.relayed.len() >= RELAYED {
            return self.refuse_request(desk, n, txn, &message, 503, "Too Many Requests In Flight");
        }
        let client = desk.client_txn(self.slot);
        let leg = &mut self.legs[to];
        let Some(mut builder) = leg.request_early(method) else {
            return self.refuse_request(desk, n, txn, &message, 480, NOBODY_HEARS);
        };
        builder.push_header(HeaderName::UserAgent, &desk.config.server);
        let request = Outgoing { builder, body: Some((kind, Bytes::copy_from_slice(message.body()))) };
        desk.push(Output::Request { txn: client, request, target: leg.way() });
        self.relayed.push(Relayed { server: txn, client, from: n, request: message });
    }

    /// Who hears a leg: before the answer the caller and the leg that it hears, then whoever talks.
    fn hearer(&self, n: u16) -> Hearer {
        let leg = |n: u16, states: &[LegState]| {
            let at = self.place(n).filter(|&at| states.contains(&self.legs[at].state));
            at.map_or(Hearer::Nobody, Hearer::Leg)
        };
        match self.state {
            CallState::Ringing => {
                let heard = self.setup.as_ref().and_then(|setup| setup.ear.heard());
                match heard {
                    Some(0) if n == 0 => Hearer::Here,
                    Some(heard) if n == 0 => leg(heard, &[LegState::Ringing, LegState::Confirmed]),
                    Some(heard) if n == heard => leg(0, &[LegState::Incoming]),
                    Some(_) | None => Hearer::Nobody,
                }
            }
            CallState::Answered if !self.is_party(n) => Hearer::Nobody,
            CallState::Answered => match self.other_of(n) {
                // That its ACK is missing keeps a BYE back (RFC 3261 §15), and nothing else.
                Some(other) => leg(other, &[LegState::Accepted, LegState::Confirmed]),
                None => Hearer::Here,
            },
            CallState::Ended => Hearer::Nobody,
        }
    }

    pub(crate) fn handle_relayed(&mut self, desk: &mut Desk, txn: ClientTxn, response: &Message) {
        if response.status() < 200 {
            return;
        }
        let Some(relayed) = self.take_relayed(txn) else { return };
        let status = match response.status() {
            // A dialog of the other leg is not this leg's (§12.2.1.2), and what it can do is not what we can.
            481 | 408 | 405 | 501 => 480,
            300..=399 | 401 | 407 => 403,
            status => status,
        };
        let Some(at) = self.place(relayed.from) else { return };
        let mut builder = self.response(desk, at, &relayed.request, status, "");
        if status == 415 {
            builder.push_copy(response, HeaderName::Accept);
        }
        desk.respond(relayed.server, builder);
    }

    pub(crate) fn take_relayed(&mut self, txn: ClientTxn) -> Option<Relayed> {
        let place = self.relayed.iter().position(|relayed| relayed.client == txn)?;
        Some(self.relayed.swap_remove(place))
    }

    /// 415 with what is carried.
    fn refuse_kind(&self, desk: &mut Desk, at: usize, txn: ServerTxn, message: &Message, kinds: &[&str]) {
        let mut builder = self.response(desk, at, message, 415, "Unsupported Media Type: Accept names what is carried");
        builder.push_header(HeaderName::Accept, &kinds.join(", "));
        desk.respond(txn, builder);
    }
}

/// Which of these kinds of body a request has.
fn kind_of(message: &Message, kinds: &[&'static str]) -> Option<&'static str> {
    let kind = message.content_type()?;
    let kind = kind.split(';').next().unwrap_or(kind).trim();
    kinds.iter().copied().find(|known| known.eq_ignore_ascii_case(kind))
}

/// What INFO may carry from one leg to the other.
const INFO_BODIES: [&str; 4] =
    [DTMF_RELAY, DTMF, "application/media_control+xml", "application/vnd.nortelnetworks.digits"];

/// A key as `Signal=5`.
pub(crate) const DTMF_RELAY: &str = "application/dtmf-relay";

/// A key alone.
pub(crate) const DTMF: &str = "application/dtmf";

/// The longest body of a message: the whole request stays near what a datagram carries unbroken (RFC 3428 §8).
const MESSAGE_BYTES: usize = 1_000;

const NOBODY_HEARS: &str = "Temporarily Unavailable: nobody is there to take it";

/// The most requests of one call that wait for the other leg.
const RELAYED: usize = 4;
