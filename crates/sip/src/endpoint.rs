//! The front door: messages in, events up, answers and requests out, all in given time.
//!
//! ```
//! use bytes::Bytes;
//! use sip::{Endpoint, EndpointConfig, Event, MessageBuilder, Output};
//! use words::{Chance, ConnectionId, Flow, Seed, Time, Transport};
//!
//! let now = Time::ZERO;
//! let mut endpoint = Endpoint::new(EndpointConfig::default(), Chance::new(Seed::from_number(1)), now);
//! let flow = Flow {
//!     transport: Transport::Udp,
//!     listener: 0,
//!     connection: ConnectionId::NONE,
//!     local: "192.0.2.1:5060".parse().unwrap(),
//!     remote: "192.0.2.9:5060".parse().unwrap(),
//! };
//! let options = Bytes::from_static(
//!     b"OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1;rport\r\n\
//!       From: <sip:a@h>;tag=1\r\nTo: <sip:192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
//! );
//! endpoint.handle_message(flow, options, now)?;
//! let Output::Event(Event::Request { txn, message, .. }) = endpoint.poll() else { panic!() };
//! endpoint.respond(txn, MessageBuilder::response(&message, 200, "", Some("tag")).into(), now);
//! assert!(matches!(endpoint.poll(), Output::Transmit { bytes, .. } if bytes.starts_with(b"SIP/2.0 200 OK")));
//! # Ok::<(), sip::Refused>(())
//! ```
//!
//! Limits: [`EndpointLimits`]. A CANCEL takes no memory of its own: it is answered from its INVITE's.

mod client;
mod config;
mod dial;
mod event;
mod follower;
mod server;
mod shared;
#[cfg(test)]
mod tests;

pub use config::{Advertised, EndpointConfig, EndpointLimits};
pub use event::{ClientTxn, Event, Output, ServerTxn, Target, Undelivered};
use serde::{Deserialize, Serialize};

use crate::error::Refused;
use crate::msg::{Glance, HeaderName, Message, MessageBuilder, Method, Outgoing, ParseError};
use crate::txn::key::{Branch, ends_stateless};
use bytes::Bytes;
use client::Clients;
use dial::{Reached, Waiting};
use server::{Cancelled, Servers, reply_flow};
use shared::{Due, Shared, Side};
use words::{Chance, ConnectionId, Flow, Time};

/// The transaction layer of one loop (RFC 3261 §17, §18).
#[derive(Serialize, Deserialize)]
pub struct Endpoint {
    shared: Shared,
    clients: Clients,
    servers: Servers,
    /// How new work is refused, while it is.
    busy: Option<RetryAfter>,
    /// How it is refused when there is no room for it.
    #[serde(default)]
    when_full: RetryAfter,
    /// What was left unsent that has no transaction to say so.
    #[serde(default)]
    unsent: u64,
    /// Answers whose transaction was gone.
    #[serde(default)]
    late: u64,
}

/// What a refusal says about when to come again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryAfter {
    /// [`EndpointLimits::retry_after_s`].
    #[default]
    Told,
    /// Nothing: a trunk would send no call at all for that long.
    Withheld,
}

impl Endpoint {
    /// An endpoint without transactions.
    pub fn new(config: EndpointConfig, chance: Chance, now: Time) -> Self {
        Endpoint {
            shared: Shared::new(config, chance, now),
            clients: Clients::new(),
            servers: Servers::new(),
            busy: None,
            when_full: RetryAfter::Told,
            unsent: 0,
            late: 0,
        }
    }

    /// Takes the configuration of this start: a snapshot has none.
    pub fn configure(&mut self, config: EndpointConfig) {
        self.shared.config = config;
    }

    /// From now on new requests that mean work (INVITE, REGISTER, SUBSCRIBE, PUBLISH and MESSAGE outside dialogs) are
    /// answered 503 without a memory, or taken again with `None`. Everything that is under way goes on: a repeated
    /// request is still known.
    pub fn refuse_new(&mut self, how: Option<RetryAfter>) {
        self.busy = how;
    }

    /// Whether there is no room for new work: it is answered 503 without a memory. Whoever asks says how, as that depends
    /// on who sends it: [`Endpoint::refuse_when_full`].
    pub fn is_full(&self) -> bool {
        self.transactions() >= self.shared.config.limits.transactions
    }

    /// What those are told from now on for whom there is no room.
    pub fn refuse_when_full(&mut self, how: RetryAfter) {
        self.when_full = how;
    }

    /// Takes one datagram or one frame.
    ///
    /// # Errors
    /// [`Refused`] says why it became no event; what has an answer was answered.
    pub fn handle_message(&mut self, flow: Flow, bytes: Bytes, now: Time) -> Result<(), Refused> {
        if ends_stateless(&bytes) {
            return Err(Refused::Forgotten);
        }
        if self.busy.is_some()
            && let Some(seen) = Glance::at(&bytes)
            && let Some(done) = self.refuse_at_sight(&seen, flow, now)
        {
            return done;
        }
        let message = Message::parse(bytes).map_err(|error| self.refuse_malformed(error, flow))?;
        if message.is_request() {
            self.handle_request(message, flow, now)
        } else {
            self.clients.answer(&mut self.shared, message, flow, now)
        }
    }

    /// A connection that [`Output::Connect`] asked for is up, or will not be.
    pub fn handle_connected(&mut self, id: u64, result: Result<Flow, Undelivered>, now: Time) {
        let why = result.err().unwrap_or_default();
        let (waiting, flow) = self.shared.dial_ended(id, result.ok());
        for waiting in waiting {
            match (waiting, flow) {
                (Waiting::Client { slot, secret }, Some(flow)) => {
                    self.clients.connected(&mut self.shared, slot, secret, flow, now);
                }
                (Waiting::Client { slot, secret }, None) => {
                    self.clients.not_connected(&mut self.shared, slot, secret, why, now);
                }
                (Waiting::Server(txn), flow) => self.servers.connected(&mut self.shared, txn, flow, now),
                (Waiting::Bytes(bytes), Some(flow)) => self.shared.transmit(flow, bytes),
                (Waiting::Bytes(_), None) => self.unsent += 1,
            }
        }
    }

    /// A connection is gone: requests that wait for an answer on it fail (RFC 3261 §18.4), but those that had none at all
    /// on one that we opened go out once more, and so do INVITEs without a final one where [`EndpointConfig::calls_again`] says
    /// so; answers that come later may find another way (§18.2.2).
    pub fn handle_flow_closed(&mut self, connection: ConnectionId, now: Time) {
        if connection == ConnectionId::NONE {
            return;
        }
        let dialled = self.shared.forget_connection(connection);
        let riders = self.shared.riders.range((connection, Side::Client, 0)..=(connection, Side::Server, u32::MAX));
        let riders: Vec<_> = riders.copied().collect();
        for (_, side, slot) in riders {
            match side {
                Side::Client => self.clients.flow_closed(&mut self.shared, slot, dialled, now),
                Side::Server => self.servers.flow_closed(&mut self.shared, slot),
            }
        }
    }

    /// The system refused to send along this flow. On UDP the requests that went there last fail; a connection is
    /// taken for gone. An answer is not missed: the request will come again.
    pub fn handle_send_failed(&mut self, flow: &Flow, now: Time) {
        if flow.connection != ConnectionId::NONE {
            return self.handle_flow_closed(flow.connection, now);
        }
        for slot in self.shared.take_recent(flow.remote) {
            self.clients.send_failed(&mut self.shared, slot, flow, now);
        }
    }

    /// Lets timers fire whose time has come.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(due) = self.shared.timers.pop(now) {
            match due {
                Due::Transaction { side: Side::Client, slot, timer } => {
                    self.clients.timeout(&mut self.shared, slot, timer, now);
                }
                Due::Transaction { side: Side::Server, slot, timer } => {
                    self.servers.timeout(&mut self.shared, slot, timer, now);
                }
                Due::Dial(id) => self.handle_connected(id, Err(Undelivered::Unreachable), now),
            }
        }
    }

    /// Sends a request in a transaction of its own; it gets its Via here. Do not send ACK or CANCEL so: see
    /// [`Endpoint::send_ack`] and [`Endpoint::cancel`].
    pub fn request(&mut self, txn: ClientTxn, request: Outgoing, target: Target, now: Time) {
        if self.transactions() >= self.shared.config.limits.transactions + self.headroom() {
            return self.shared.tell(Event::TransportFailed { txn, why: Undelivered::Unreachable });
        }
        self.clients.request(&mut self.shared, txn, request, target, now);
    }

    /// Cancels an INVITE that has no final answer: at once, or when the first provisional answer comes (RFC 3261 §9.1).
    /// `reason` becomes a Reason header (RFC 3326). The INVITE still ends with an answer, which may be a 2xx, or with
    /// [`Event::Timeout`].
    pub fn cancel(&mut self, txn: ClientTxn, reason: Option<&str>, now: Time) {
        self.clients.cancel(&mut self.shared, txn, reason, now);
    }

    /// Answers a request. A 2xx to an INVITE is sent again until [`Endpoint::acked`], or for 64 times T1, and then
    /// [`Event::NoAck`] follows (RFC 3261 §13.3.1.4). Nothing happens when the transaction is gone or has a final
    /// answer.
    pub fn respond(&mut self, txn: ServerTxn, response: Outgoing, now: Time) {
        self.late += u64::from(!self.servers.respond(&mut self.shared, txn, response, now));
    }

    /// Answers a request for good and forgets it at once: how strangers are answered, so that they take no memory and
    /// get no retransmissions (RFC 3261 §8.2.7). A request that comes again is a new one, and the ACK to such an answer
    /// comes up as [`Event::Ack`]. Nothing happens when a final answer was given before.
    pub fn respond_once(&mut self, txn: ServerTxn, response: Outgoing) {
        self.late += u64::from(!self.servers.respond_once(&mut self.shared, txn, response));
    }

    /// The user matched an ACK to the 2xx that it gave there.
    pub fn acked(&mut self, txn: ServerTxn) {
        self.servers.acked(&mut self.shared, txn);
    }

    /// Sends the ACK to a 2xx, which is no transaction: once, with a branch of its own (RFC 3261 §13.2.2.4, §17.1.1.3).
    pub fn send_ack(&mut self, ack: Outgoing, target: Target, now: Time) {
        let secret = self.shared.chance.u64();
        let branch = Branch { shard: self.shared.config.shard, slot: Branch::NO_SLOT, secret };
        let (bytes, reached) = client::launch(&mut self.shared, ack, target, branch, Waiting::Bytes(Bytes::new()), now);
        match reached {
            Reached::Open(flow) => self.shared.transmit(flow, bytes),
            Reached::Opening => {}
            Reached::Full => self.unsent += 1,
        }
    }

    /// Answers a request that has no transaction, without a memory of it (RFC 3261 §8.2.7).
    pub fn send_response_statelessly(&mut self, request: &Message, flow: Flow, response: Outgoing) {
        let to = request.via().map_or(flow, |via| reply_flow(&via, flow, self.shared.config.force_rport));
        self.shared.transmit(to, response.finish_response(&flow));
    }

    /// The next output. Call until [`Output::Timeout`], after each input.
    pub fn poll(&mut self) -> Output {
        self.shared.out.pop_front().unwrap_or_else(|| Output::Timeout(self.shared.timers.next_at()))
    }

    /// How many messages without a transaction, ACKs to 2xx above all, were dropped for want of a connection.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// How many answers were dropped because their transaction was over: RFC 4320 §4.2 wants none after it.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// How many transactions live, of both sides.
    pub fn transactions(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// What must be true between two inputs.
    ///
    /// # Errors
    /// A sentence on what is not.
    pub fn check(&self) -> Result<(), String> {
        self.clients.check()?;
        self.servers.check()?;
        let most = 2 * self.transactions() + self.shared.dials.opening();
        if self.shared.timers.len() > most {
            return Err(format!("{} timers where at most {most} are needed", self.shared.timers.len()));
        }
        if self.shared.riders.len() > self.transactions() {
            return Err(format!("{} riders for {} transactions", self.shared.riders.len(), self.transactions()));
        }
        Ok(())
    }

    /// What our Via names as sent-by on this flow: `host:port`.
    pub fn sent_by(&mut self, flow: &Flow) -> &str {
        self.shared.sent_by(flow.transport, flow.listener, flow.local)
    }

    /// New work while there is too much already: 503, and not a step more than that takes. `None` when it has to be
    /// read after all.
    fn refuse_at_sight(&mut self, seen: &Glance<'_>, flow: Flow, now: Time) -> Option<Result<(), Refused>> {
        let key = self.shared.keyring.transaction_at_sight(seen)?;
        if self.servers.absorb(&mut self.shared, key, now) {
            return Some(Ok(()));
        }
        let tag = self.shared.keyring.stateless_tag_of(seen.vias[0], seen.call_id, seen.from);
        let reason = Refused::Busy.reason();
        let answer = self.signed(MessageBuilder::response_at_sight(seen, &flow, 503, reason, tag.as_str()));
        let to = reply_flow(&seen.via, flow, self.shared.config.force_rport);
        self.shared.transmit(to, self.with_retry_after(answer).finish());
        Some(Err(Refused::Busy))
    }

    fn handle_request(&mut self, message: Message, flow: Flow, now: Time) -> Result<(), Refused> {
        let via = message.via().map_err(|error| Refused::BadHeader(error.into()));
        let via = via.inspect_err(|refused| self.refuse(&message, flow, refused))?;
        match message.method() {
            Method::Ack => {
                let key = self.shared.keyring.transaction(&message, &via, Method::Invite);
                if let Some(message) = self.servers.ack(&mut self.shared, key, message, flow, now) {
                    message.check()?;
                    self.shared.tell(Event::Ack { message, flow });
                }
                Ok(())
            }
            Method::Cancel => {
                let key = self.shared.keyring.transaction(&message, &via, Method::Invite);
                self.handle_cancel(message, flow, key)
            }
            Method::Invite
            | Method::Options
            | Method::Bye
            | Method::Register
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Info
            | Method::Refer
            | Method::Message
            | Method::Update
            | Method::Other => {
                let key = self.shared.keyring.transaction(&message, &via, message.method());
                if self.servers.absorb(&mut self.shared, key, now) {
                    return Ok(());
                }
                let merge = self.admit(&message).inspect_err(|refused| self.refuse(&message, flow, refused))?;
                self.servers.open(&mut self.shared, message, flow, key, merge, now);
                Ok(())
            }
        }
    }

    /// RFC 3261 §9.2. Its 200 needs no memory: the same CANCEL finds the same INVITE and gets the same answer.
    fn handle_cancel(&mut self, message: Message, flow: Flow, key: u128) -> Result<(), Refused> {
        message.check().map_err(Refused::from).inspect_err(|refused| self.refuse(&message, flow, refused))?;
        let Some((cancelled, answer)) = self.servers.cancel(key) else {
            self.refuse(&message, flow, &Refused::NothingToCancel);
            return Err(Refused::NothingToCancel);
        };
        // RFC 3261 §9.2: the To tag is the one that the INVITE was answered with.
        let answer = Message::parse(answer).ok();
        let tag = answer.as_ref().and_then(Message::to_tag);
        let ok = self.stateless(&message, 200, "", tag);
        self.send_response_statelessly(&message, flow, ok.into());
        match cancelled {
            Cancelled::Now(txn) => self.shared.tell(Event::Cancelled { txn, message, flow }),
            Cancelled::TooLate => {}
        }
        Ok(())
    }

    /// What a new request must pass; gives the key under which it is found when it comes again on another way.
    fn admit(&self, message: &Message) -> Result<Option<u128>, Refused> {
        let in_dialog = message.to_tag().is_some();
        let work = [Method::Invite, Method::Register, Method::Subscribe, Method::Publish, Method::Message];
        if self.busy.is_some() && !in_dialog && work.contains(&message.method()) {
            return Err(Refused::Busy);
        }
        message.check()?;
        let most = self.shared.config.limits.transactions + if in_dialog { self.headroom() } else { 0 };
        if self.transactions() >= most {
            return Err(Refused::Full);
        }
        if in_dialog {
            return Ok(None);
        }
        // RFC 3261 §16.3: OPTIONS is answered by whom it reaches with nothing left; REGISTER goes no further here.
        let ends_here = matches!(message.method(), Method::Options | Method::Register);
        if !ends_here && matches!(message.max_forwards(), Ok(Some(0))) {
            return Err(Refused::TooManyHops);
        }
        let merge = self.shared.keyring.merge(message);
        if self.servers.is_merged(merge) { Err(Refused::Merged) } else { Ok(Some(merge)) }
    }

    /// What requests inside dialogs may take beyond the limit.
    fn headroom(&self) -> usize {
        self.shared.config.limits.transactions / 8
    }

    fn refuse_malformed(&mut self, error: ParseError, flow: Flow) -> Refused {
        if let Some(request) = error.salvage() {
            let answer = self.stateless(request, error.status(), error.reason(), None);
            self.send_response_statelessly(request, flow, answer.into());
        }
        Refused::Malformed(error)
    }

    /// Answers what was refused, without a memory of it.
    fn refuse(&mut self, request: &Message, flow: Flow, refused: &Refused) {
        let Some(status) = refused.status() else { return };
        let mut answer = self.stateless(request, status, refused.reason(), None);
        if matches!(refused, Refused::Full | Refused::Busy) {
            answer = self.with_retry_after(answer);
        }
        self.send_response_statelessly(request, flow, answer.into());
    }

    /// An answer whose To tag, unless it is given, is the same each time (RFC 3261 §8.2.7).
    fn stateless(&self, request: &Message, status: u16, reason: &str, tag: Option<&str>) -> MessageBuilder {
        let own = self.shared.keyring.stateless_tag(request);
        self.signed(MessageBuilder::response(request, status, reason, tag.or(Some(own.as_str()))))
    }

    fn signed(&self, mut answer: MessageBuilder) -> MessageBuilder {
        if !self.shared.config.server.is_empty() {
            answer.push_header(HeaderName::Server, &self.shared.config.server);
        }
        answer
    }

    fn with_retry_after(&self, answer: MessageBuilder) -> MessageBuilder {
        let retry_after_s = self.shared.config.limits.retry_after_s;
        let told = self.busy.unwrap_or(self.when_full) == RetryAfter::Told && retry_after_s > 0;
        if told { answer.header_number(HeaderName::RetryAfter, retry_after_s) } else { answer }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("transactions", &self.transactions()).finish_non_exhaustive()
    }
}
