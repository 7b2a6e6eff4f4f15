//! A scripted phone: real transactions and dialogs, and a script instead of a person.

mod called;
mod calling;
mod change;
mod early;
mod keep;
mod messages;
mod refer;
mod register;
mod watching;

pub use keep::Session as TimedSession;
pub use messages::Messages;
pub use register::Registration;
pub use watching::{Publication, Watching};

use crate::sim::line::{Line, LineState};
use crate::sim::script::{Do, Habits};
use crate::sim::session::Session;
use bytes::Bytes;
use sip::digest::Challenge;
use sip::{
    ClientTxn, Endpoint, EndpointConfig, Event, HeaderName, Message, MessageBuilder, Method, Outgoing, ServerTxn,
    Target,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use words::{Chance, ConnectionId, Flow, Time, Transport};

/// Who a phone says it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The user part of its address: an extension, or what a peer calls itself.
    pub number: String,
    /// The user name of its credentials.
    pub auth_user: String,
    /// Its password; a peer has none.
    pub password: Option<String>,
    /// The host of its requests: the domain, or the exchange's address.
    pub host: String,
}

/// A phone, or a peer, which is one without a password.
pub struct Phone {
    /// Who it says it is.
    pub identity: Identity,
    /// What it does by itself.
    pub habits: Habits,
    /// Its registration.
    pub registration: Registration,
    /// Its calls, the oldest first.
    pub lines: Vec<Line>,
    /// What it watches, the oldest first.
    pub watchings: Vec<Watching>,
    /// What it publishes.
    pub publication: Publication,
    /// The events of NOTIFYs that it did not ask for.
    pub unasked: Vec<String>,
    /// What it was sent, and what became of what it sent.
    pub messages: Messages,
    /// How often it was asked for a session that is too short for it.
    pub too_short: u32,
    /// Whether it has power. Without, nothing comes in or goes out.
    pub plugged: bool,
    /// Its own address, which its Contact names.
    pub address: SocketAddr,
    pub(crate) transport: Transport,
    pub(crate) nat: Option<usize>,
    /// When it wants to be woken.
    pub(crate) wake: Option<Time>,
    pub(crate) outputs: VecDeque<PhoneOutput>,
    server: SocketAddr,
    endpoint: Endpoint,
    chance: Chance,
    asked: BTreeMap<ClientTxn, Asked>,
    next_media_port: u16,
    /// The last challenge and how often it was answered.
    challenge: Option<(String, u32)>,
}

/// What leaves a phone.
#[derive(Debug)]
pub(crate) enum PhoneOutput {
    Transmit { flow: Flow, bytes: Bytes },
    Connect { id: u64 },
    Later { after: Duration, line: usize, what: Do },
}

/// What a request of a phone was about, and how often it was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    Register { expires: u32, tries: u8 },
    Invite { line: usize, tries: u8 },
    Change { line: usize, tries: u8 },
    Bye { line: usize, tries: u8 },
    Update { line: usize, tries: u8 },
    Prack { line: usize, offers: bool },
    Info { line: usize },
    Refer { line: usize, tries: u8 },
    Message { tries: u8 },
    Subscribe { watch: usize, expires: u32, tries: u8 },
    Publish { tries: u8 },
}

impl Phone {
    pub(crate) fn new(
        identity: Identity,
        transport: Transport,
        address: SocketAddr,
        server: SocketAddr,
        mut chance: Chance,
        now: Time,
    ) -> Self {
        Phone {
            registration: Registration::new(format!("{:016x}@{}", chance.u64(), identity.number)),
            identity,
            habits: Habits::default(),
            lines: Vec::new(),
            watchings: Vec::new(),
            publication: Publication::default(),
            unasked: Vec::new(),
            messages: Messages::default(),
            too_short: 0,
            plugged: true,
            address,
            transport,
            nat: None,
            wake: None,
            outputs: VecDeque::new(),
            server,
            endpoint: Endpoint::new(EndpointConfig::default(), chance.fork(), now),
            chance,
            asked: BTreeMap::new(),
            next_media_port: 10_000,
            challenge: None,
        }
    }

    /// Its newest line.
    ///
    /// # Panics
    /// When it has none.
    pub fn line(&self) -> &Line {
        self.lines.last().expect("the phone had a call")
    }

    /// How many transactions it has.
    pub fn transactions(&self) -> usize {
        self.endpoint.transactions()
    }

    /// Whether it sends media from this address.
    pub(crate) fn speaks_from(&self, address: SocketAddr) -> bool {
        let speaks = |line: &Line| line.session.address == address && line.talks() && line.session.sends();
        self.plugged && self.habits.speaks && self.lines.iter().any(speaks)
    }

    /// Does what it is told, on a line where that matters.
    pub(crate) fn tell(&mut self, line: usize, what: Do, now: Time) {
        match what {
            Do::Register(expires) => self.register(expires, 0, now),
            Do::Unregister => self.register(0, 0, now),
            Do::AskBindings => {
                self.registration.asks = true;
                self.register(0, 0, now);
            }
            Do::Call { number, without_offer } => self.call(number, without_offer, None, now),
            Do::CallInstead { number, replaces } => self.call(number, false, Some(replaces), now),
            Do::Ring => self.provisional(line, 180, false, now),
            Do::Early => self.provisional(line, 183, true, now),
            Do::Answer => self.answer(line, now),
            Do::Refuse(status) => self.refuse(line, status, now),
            Do::Message { number, text } => self.message(&number, &text, 0, now),
            Do::Redirect(contacts) => self.redirect(line, &contacts, now),
            Do::HangUp => self.hang_up(line, now),
            Do::Hold | Do::Resume | Do::Fax | Do::Refresh | Do::Repeated | Do::Move => self.change(line, what, now),
            Do::Keep(nth) => self.keep(line, nth, now),
            Do::Repeat(rseq) => self.repeat(line, rseq, now),
            Do::Digit(digit) => self.digit(line, digit, now),
            Do::Refer { .. } => self.refer(line, &what, 0, now),
            Do::Watch { number, event, expires } => self.watch(number, event, expires, now),
            Do::WatchOn { number, expires } => self.watch_on(&number, expires, now),
            Do::Publish { note, expires } => self.publish(note, expires, 0, now),
        }
        self.settle(now);
    }

    pub(crate) fn handle_message(&mut self, flow: Flow, bytes: Bytes, now: Time) {
        // A keep-alive is no message.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return;
        }
        // What belongs to nothing any more is no fault: the network repeats things.
        let _ = self.endpoint.handle_message(flow, bytes, now);
        self.settle(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.endpoint.handle_timeout(now);
        self.settle(now);
    }

    pub(crate) fn handle_connected(&mut self, id: u64, flow: Option<Flow>, now: Time) {
        self.endpoint.handle_connected(id, flow.ok_or(sip::Undelivered::Unreachable), now);
        self.settle(now);
    }

    pub(crate) fn handle_flow_closed(&mut self, connection: ConnectionId, now: Time) {
        self.endpoint.handle_flow_closed(connection, now);
        // Nobody could cancel what rings, so it stops by itself.
        let stops = if self.habits.rings_on { 0 } else { self.lines.len() };
        for line in 0..stops {
            self.refuse(line, 480, now);
        }
        self.settle(now);
    }

    /// Polls its endpoint until it has nothing more.
    fn settle(&mut self, now: Time) {
        loop {
            match self.endpoint.poll() {
                sip::Output::Transmit { flow, bytes } => self.outputs.push_back(PhoneOutput::Transmit { flow, bytes }),
                sip::Output::Connect { id, .. } => self.outputs.push_back(PhoneOutput::Connect { id }),
                sip::Output::Event(event) => self.handle_event(event, now),
                sip::Output::Timeout(at) => {
                    self.wake = at;
                    return;
                }
            }
        }
    }

    fn handle_event(&mut self, event: Event, now: Time) {
        match event {
            Event::Request { txn, message, .. } => self.requested(txn, message, now),
            Event::Ack { message, .. } => self.acknowledged(&message, now),
            Event::Cancelled { txn, message, .. } => self.cancelled(txn, &message, now),
            Event::Response { txn, message, .. } => {
                if let Some(&asked) = self.asked.get(&txn) {
                    self.answered(asked, &message, now);
                }
            }
            Event::Timeout { txn } | Event::TransportFailed { txn, .. } => {
                if let Some(asked) = self.asked.remove(&txn) {
                    self.unanswered(asked, now);
                }
            }
            Event::NoAck { txn } | Event::ServerFailed { txn } => self.unacknowledged(txn, now),
        }
    }

    fn answered(&mut self, asked: Asked, message: &Message, now: Time) {
        match asked {
            Asked::Register { expires, tries } => self.registered(expires, tries, message, now),
            Asked::Invite { line, tries } => self.call_answered(line, tries, message, now),
            Asked::Change { line, tries } => self.change_answered(line, tries, message, now),
            Asked::Bye { line, tries } => self.bye_answered(line, tries, message, now),
            Asked::Update { line, tries } => self.update_answered(line, tries, message, now),
            Asked::Subscribe { watch, expires, tries } => self.subscribed(watch, expires, tries, message, now),
            Asked::Publish { tries } => self.published(tries, message, now),
            Asked::Prack { line, offers: true } => self.prack_answered(line, message),
            Asked::Info { line } if message.status() >= 200 => self.lines[line].typed.push(message.status()),
            Asked::Info { .. } | Asked::Prack { .. } => {}
            Asked::Refer { line, tries } => self.refer_answered(line, tries, message, now),
            Asked::Message { tries } => self.message_answered(tries, message, now),
        }
    }

    fn unanswered(&mut self, asked: Asked, now: Time) {
        match asked {
            Asked::Register { .. } => self.registration.asking = false,
            Asked::Invite { line, .. } => self.lines[line].end(crate::sim::line::Ending::Lost),
            // RFC 3261 §12.2.1.2: the dialog is over.
            Asked::Change { line, .. } => {
                self.lines[line].sip.asking = None;
                self.hang_up(line, now);
            }
            Asked::Update { line, .. } => {
                self.lines[line].sip.updating = None;
                self.hang_up(line, now);
            }
            Asked::Bye { line, .. } => self.lines[line].end(crate::sim::line::Ending::Own),
            Asked::Info { .. }
            | Asked::Prack { .. }
            | Asked::Message { .. }
            | Asked::Refer { .. }
            | Asked::Subscribe { .. }
            | Asked::Publish { .. } => {}
        }
    }

    /// A request in a transaction of its own; with the answer to the last challenge when `proven`.
    fn send(
        &mut self,
        asked: Asked,
        method: Method,
        uri: &str,
        mut request: Outgoing,
        proven: bool,
        now: Time,
    ) -> ClientTxn {
        if proven && let Some(credentials) = self.credentials(method, uri) {
            request.builder.push_header(HeaderName::Authorization, &credentials);
        }
        // A name that none of its other transactions has.
        let txn = ClientTxn(self.chance.u64());
        self.asked.insert(txn, asked);
        self.endpoint.request(txn, request, self.target(), now);
        txn
    }

    fn target(&self) -> Target {
        let (transport, listener, local, remote) = (self.transport, 0, self.address, self.server);
        match transport {
            Transport::Udp => Target::Flow(Flow { transport, listener, connection: ConnectionId::NONE, local, remote }),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                Target::Dial { transport, listener, local, remote, peer: None }
            }
        }
    }

    /// Learns a challenge; `false` when it cannot answer one.
    fn learn(&mut self, message: &Message) -> bool {
        let challenge = message.header(HeaderName::WwwAuthenticate).map(str::to_owned);
        let known = challenge.is_some() && self.identity.password.is_some();
        self.challenge = challenge.map(|challenge| (challenge, 0));
        known
    }

    fn credentials(&mut self, method: Method, uri: &str) -> Option<String> {
        let cnonce = format!("{:08x}", self.chance.u32());
        let (text, count) = self.challenge.as_mut()?;
        let password = self.identity.password.as_deref()?;
        *count += 1;
        let account = sip::digest::Account { user: &self.identity.auth_user, password };
        let challenge = Challenge::parse(text).ok()?;
        Some(challenge.answer(&account, method.as_str(), uri, *count, &cnonce))
    }

    fn later(&mut self, after: Duration, line: usize, what: Do) {
        self.outputs.push_back(PhoneOutput::Later { after, line, what });
    }

    fn new_line(&mut self, state: LineState, number: String, call_id: String) -> usize {
        self.next_media_port += 2;
        let media = SocketAddr::new(self.habits.media_ip.unwrap_or(self.address.ip()), self.next_media_port);
        let tag = format!("{:08x}", self.chance.u32());
        let mut session = Session::new(media, self.chance.u64());
        session.keying = self.habits.keying;
        session.codecs = self.habits.codecs;
        session.rtcp_mux = self.habits.rtcp_mux;
        session.reports = self.habits.reports;
        session.ice = self.habits.ice;
        self.lines.push(Line::new(state, number, call_id, tag, session));
        self.lines.len() - 1
    }

    /// The value of Contact.
    fn contact(&self) -> String {
        let transport = match self.transport {
            Transport::Udp => String::new(),
            other => format!(";transport={}", other.uri_token()),
        };
        let address = self.habits.contact_at.unwrap_or(self.address);
        format!("<sip:{}@{address}{transport}>", self.identity.number)
    }

    fn response(&self, line: usize, request: &Message, status: u16) -> MessageBuilder {
        MessageBuilder::response(request, status, "", Some(&self.lines[line].sip.tag))
    }

    fn respond(&mut self, txn: ServerTxn, builder: MessageBuilder, body: Option<Bytes>, now: Time) {
        self.endpoint.respond(txn, Outgoing { builder, body: body.map(|body| (SDP, body)) }, now);
    }
}

const SDP: &str = "application/sdp";
