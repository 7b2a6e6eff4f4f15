//! A small world: phones with endpoints of their own around one exchange, joined by a network without delay. Time
//! stands still until a test lets it pass.
pub(crate) use super::names::*;
use crate::{Calls, Config, Output, Step};
use bytes::Bytes;
use media::command::{Family, MediaCommand, MediaReport, PortPair};
use sip::{
    ClientTxn, Dialog, Endpoint, EndpointConfig, Event, HeaderName, Message, MessageBuilder, Method, Outgoing,
    ServerTxn, Target,
};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use words::{AccountId, CallId, Chance, Clock, EndCause, Fact, Flow, Seed, Time, Wall};

/// Phones by number: 0 is the caller as a rule.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const C: usize = 2;
pub(crate) const D: usize = 3;
/// Speaks TCP.
pub(crate) const E: usize = 4;

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) calls: Calls,
    pub(crate) facts: Vec<Fact>,
    pub(crate) media: Vec<MediaCommand>,
    /// What a call is told when it asks.
    pub(crate) plan: Vec<Step>,
    pub(crate) asked: Vec<CallId>,
    pub(crate) refusal: Option<(u16, String)>,
    pub(crate) silence: Option<Duration>,
    /// Which message is lost: counts down, -1: none.
    pub(crate) lose: Box<dyn FnMut() -> bool>,
    /// How many messages went over the network.
    pub(crate) carried: usize,
    /// Events that belonged to no call.
    pub(crate) strays: Vec<Event>,
    endpoint: Endpoint,
    phones: Vec<Phone>,
    last_txn: u64,
    /// The slots that are bound of each family.
    bound: [BTreeSet<u32>; 2],
}

pub(crate) struct Phone {
    endpoint: Endpoint,
    address: SocketAddr,
    pub(crate) events: VecDeque<Event>,
    /// Whether what comes is thrown away.
    pub(crate) dead: bool,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Config::default(), 1)
    }

    pub(crate) fn with(config: Config, seed: u64) -> World {
        let mut chance = Chance::new(Seed::from_number(seed));
        let mut endpoint = || Endpoint::new(EndpointConfig::default(), chance.fork(), Time::ZERO);
        let phones = (0..6)
            .map(|n| Phone { endpoint: endpoint(), address: phone_address(n), events: VecDeque::new(), dead: false })
            .collect();
        let endpoint = endpoint();
        let calls = Calls::new(config, chance.fork(), Time::ZERO);
        let mut world = World {
            now: Time::ZERO,
            calls,
            facts: Vec::new(),
            media: Vec::new(),
            plan: Vec::new(),
            asked: Vec::new(),
            refusal: None,
            silence: None,
            lose: Box::new(|| false),
            carried: 0,
            strays: Vec::new(),
            endpoint,
            phones,
            last_txn: 0,
            bound: [BTreeSet::new(), BTreeSet::new()],
        };
        world.run();
        world.media.clear();
        world
    }

    /// The plan: ring these phones together.
    pub(crate) fn rings(mut self, phones: &[usize]) -> World {
        let targets = phones.iter().map(|&phone| target(phone, 0)).collect();
        self.plan = vec![Step::Dial { targets, ring_for: Duration::from_secs(20) }];
        self
    }

    pub(crate) fn does(mut self, plan: Vec<Step>) -> World {
        self.plan = plan;
        self
    }

    /// Lets everything that is due happen, without time passing.
    pub(crate) fn run(&mut self) {
        loop {
            let mut moved = self.run_exchange();
            for phone in 0..self.phones.len() {
                moved |= self.run_phone(phone);
            }
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            self.run();
            let phones = self.phones.iter_mut().map(|phone| timeout_of(&mut phone.endpoint));
            let next = phones.chain([timeout_of(&mut self.endpoint), self.calls.next_at()]).flatten().min();
            self.now = next.unwrap_or(until).min(until).max(self.now);
            self.endpoint.handle_timeout(self.now);
            self.calls.handle_timeout(self.now);
            self.checked();
            for phone in &mut self.phones {
                phone.endpoint.handle_timeout(self.now);
            }
            self.run();
            if self.now >= until && next.is_none_or(|next| next > until) {
                return;
            }
        }
    }

    fn checked(&self) {
        if let Err(broken) = self.calls.check() {
            panic!("at {:?}: {broken}", self.now);
        }
    }

    fn run_phone(&mut self, n: usize) -> bool {
        let mut moved = false;
        loop {
            match self.phones[n].endpoint.poll() {
                sip::Output::Transmit { flow, bytes } => {
                    self.carried += 1;
                    if !(self.lose)() {
                        let flow = turned(flow);
                        // What cannot be read was answered by the endpoint itself.
                        let _ = self.endpoint.handle_message(flow, bytes, self.now);
                    }
                }
                sip::Output::Event(event) => self.phones[n].events.push_back(event),
                sip::Output::Connect { .. } => unreachable!("phones speak over what they have"),
                sip::Output::Timeout(_) => return moved,
            }
            moved = true;
        }
    }

    fn run_exchange(&mut self) -> bool {
        let mut moved = false;
        loop {
            let mut idle = true;
            loop {
                match self.endpoint.poll() {
                    sip::Output::Transmit { flow, bytes } => self.carry(&flow, bytes),
                    sip::Output::Event(event) => self.take(event),
                    // Nobody listens for connections.
                    sip::Output::Connect { id, .. } => {
                        self.endpoint.handle_connected(id, Err(sip::Undelivered::Unreachable), self.now);
                    }
                    sip::Output::Timeout(_) => break,
                }
                idle = false;
            }
            idle &= !self.obey_calls();
            if idle {
                return moved;
            }
            moved = true;
        }
    }

    fn carry(&mut self, flow: &Flow, bytes: Bytes) {
        self.carried += 1;
        let Some(phone) = self.phones.iter_mut().find(|phone| phone.address == flow.remote) else { return };
        if !phone.dead && !(self.lose)() {
            let _ = phone.endpoint.handle_message(turned(*flow), bytes, self.now);
        }
    }

    /// What the switch would do with an event.
    fn take(&mut self, event: Event) {
        if let Event::Request { txn, message, flow } = &event
            && message.to_tag().is_none()
            && message.method() == Method::Invite
        {
            let invite = invite(*txn, message.clone(), *flow, self.silence);
            let clock = Clock { mono: self.now, wall: Wall(1_700_000_000_000) };
            if let Err(refusal) = self.calls.open(invite, &clock, self.now) {
                self.refusal = Some((refusal.status, refusal.reason.to_owned()));
                let mut builder = MessageBuilder::response(message, refusal.status, refusal.reason, Some("refused"));
                if let Some((name, value)) = &refusal.header {
                    builder.push_header(*name, value);
                }
                self.endpoint.respond(*txn, builder.into(), self.now);
            }
        } else if let Some(stray) = self.calls.handle(event, self.now) {
            if let Event::Request { txn, message, .. } = &stray {
                let builder = MessageBuilder::response(message, 481, "", Some("stray"));
                self.endpoint.respond(*txn, builder.into(), self.now);
            }
            self.strays.push(stray);
        }
        self.checked();
    }

    fn obey_calls(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.calls.poll() {
                Output::Request { txn, request, target } => self.endpoint.request(txn, request, target, self.now),
                Output::Respond { txn, response, after_facts: _ } => self.endpoint.respond(txn, response, self.now),
                Output::Cancel { txn, reason } => self.endpoint.cancel(txn, reason.as_deref(), self.now),
                Output::Ack { request, target } => self.endpoint.send_ack(request, target, self.now),
                Output::Acked(txn) => self.endpoint.acked(txn),
                Output::Media(command) => self.relay(&command),
                Output::Fact { account, fact } => {
                    assert_eq!(account, AccountId(1));
                    self.facts.push(fact);
                }
                Output::AskPlan { call } => {
                    self.asked.push(call);
                    for step in self.plan.clone() {
                        if self.calls.apply(call, step, self.now).is_err() {
                            break;
                        }
                        self.checked();
                    }
                }
                // Nobody is where anybody sends a call.
                Output::AskRedirect { leg } => {
                    let _ = self.calls.redirect(leg, Vec::new(), "Nobody there", self.now);
                    self.checked();
                }
                Output::ServerFailed { .. } => {}
                Output::Timeout(_) => return moved,
            }
            moved = true;
        }
    }

    /// A relay that always can.
    fn relay(&mut self, command: &MediaCommand) {
        self.media.push(command.clone());
        match *command {
            MediaCommand::Stock { pairs, family } => {
                let bound = &mut self.bound[family as usize];
                let ports = (0..pairs).filter(|&slot| bound.insert(slot)).map(|slot| pair(slot, family)).collect();
                self.calls.handle_media(MediaReport::Ready { ports }, self.now);
            }
            MediaCommand::Unbind { ref ports, .. } => {
                let mut gone = ports.iter().map(|at| self.bound[at.family as usize].remove(&at.slot));
                assert!(gone.all(|was_bound| was_bound), "{ports:?}");
            }
            MediaCommand::Close { end, .. } => {
                let opened = self.media.iter().rev().find_map(|command| match command {
                    MediaCommand::Open { end: opened, ports, .. } if *opened == end => Some(*ports),
                    _ => None,
                });
                let (ports, (counters, figures)) = (opened.expect("only open ends are closed"), Default::default());
                self.calls.handle_media(MediaReport::Closed { end, ports, counters, figures }, self.now);
            }
            MediaCommand::Open { .. }
            | MediaCommand::Latch { .. }
            | MediaCommand::Rekey { .. }
            | MediaCommand::Ice { .. }
            | MediaCommand::Link { .. }
            | MediaCommand::Unlink { .. }
            | MediaCommand::Play { .. }
            | MediaCommand::Stop { .. } => {}
        }
    }

    pub(crate) fn report(&mut self, report: MediaReport) {
        self.calls.handle_media(report, self.now);
        self.checked();
        self.run();
    }

    pub(crate) fn phone(&mut self, n: usize) -> &mut Phone {
        &mut self.phones[n]
    }

    // What phones do.

    /// A phone calls `number`.
    pub(crate) fn invite(&mut self, phone: usize, number: &str, body: Option<&str>) -> ClientTxn {
        let builder = self.invite_builder(phone, number);
        self.request(phone, builder, body)
    }

    pub(crate) fn invite_builder(&mut self, phone: usize, number: &str) -> MessageBuilder {
        let n = self.last_txn;
        MessageBuilder::request("INVITE", &format!("sip:{number}@10.0.0.1"))
            .header(HeaderName::MaxForwards, "70")
            .header(HeaderName::From, &format!("\"Somebody\" <sip:u{phone}@10.0.0.1>;tag=from{n}"))
            .header(HeaderName::To, &format!("<sip:{number}@10.0.0.1>"))
            .header(HeaderName::CallId, &format!("call{n}"))
            .header(HeaderName::CSeq, "1 INVITE")
            .header(HeaderName::Contact, &contact(phone))
    }

    pub(crate) fn request(&mut self, phone: usize, builder: MessageBuilder, body: Option<&str>) -> ClientTxn {
        self.request_with(phone, builder, body.map(|body| (SDP, body)))
    }

    pub(crate) fn request_with(
        &mut self,
        phone: usize,
        builder: MessageBuilder,
        body: Option<(&'static str, &str)>,
    ) -> ClientTxn {
        self.last_txn += 1;
        let txn = ClientTxn(self.last_txn);
        let now = self.now;
        let body = body.map(|(kind, body)| (kind, Bytes::copy_from_slice(body.as_bytes())));
        self.phones[phone].endpoint.request(txn, Outgoing { builder, body }, Target::Flow(to_exchange(phone)), now);
        self.run();
        txn
    }

    /// A request inside a dialog of a phone.
    pub(crate) fn send(&mut self, phone: usize, dialog: &mut Dialog, method: Method, body: Option<&str>) -> ClientTxn {
        // A description that is not the one before has another version (RFC 3264 §8).
        let version = format!(" {} IN IP4", self.last_txn + 2);
        let body = body.map(|body| body.replacen(" 1 IN IP4", &version, 1));
        self.sends(phone, dialog, method, body.as_deref())
    }

    /// The same with a description that is sent as it is.
    pub(crate) fn sends(&mut self, phone: usize, dialog: &mut Dialog, method: Method, body: Option<&str>) -> ClientTxn {
        let mut builder = dialog.request(method);
        if matches!(method, Method::Invite | Method::Update) {
            builder.push_header(HeaderName::Contact, &contact(phone));
        }
        self.request(phone, builder, body)
    }

    /// A phone acknowledges a reliable provisional answer.
    pub(crate) fn prack(
        &mut self,
        phone: usize,
        dialog: &mut Dialog,
        answer: &Message,
        body: Option<&str>,
    ) -> ClientTxn {
        let (rseq, cseq) = (answer.rseq().expect("it is reliable"), answer.cseq().unwrap().number);
        let builder = dialog.request(Method::Prack);
        self.request(phone, builder.header(HeaderName::RAck, &format!("{rseq} {cseq} INVITE")), body)
    }

    pub(crate) fn cancel(&mut self, phone: usize, txn: ClientTxn) {
        let now = self.now;
        self.phones[phone].endpoint.cancel(txn, None, now);
        self.run();
    }

    /// A phone acknowledges a 2xx.
    pub(crate) fn ack(&mut self, phone: usize, dialog: &Dialog, body: Option<&str>) {
        self.send_ack(phone, dialog.ack(dialog.local_cseq), body);
    }

    pub(crate) fn send_ack(&mut self, phone: usize, builder: MessageBuilder, body: Option<&str>) {
        self.phones[phone].endpoint.send_ack(outgoing(builder, body), Target::Flow(to_exchange(phone)), self.now);
        self.run();
    }

    /// A phone answers a request.
    pub(crate) fn answer(&mut self, phone: usize, request: &Asked, status: u16, body: Option<&str>) {
        self.answer_with(phone, request, status, &[], body);
    }

    /// The same with header lines of its own.
    pub(crate) fn answer_with(
        &mut self,
        phone: usize,
        request: &Asked,
        status: u16,
        lines: &[(HeaderName, &str)],
        body: Option<&str>,
    ) {
        let tag = format!("phone{phone}");
        let mut builder = MessageBuilder::response(&request.message, status, "", Some(&tag));
        if lines.iter().all(|(name, _)| *name != HeaderName::Contact) {
            builder.push_header(HeaderName::Contact, &contact(phone));
        }
        for (name, value) in lines {
            builder.push_header(*name, value);
        }
        self.phones[phone].endpoint.respond(request.txn, outgoing(builder, body), self.now);
        self.run();
    }

    /// How many transactions the exchange has.
    pub(crate) fn transactions(&self) -> usize {
        self.endpoint.transactions()
    }

    /// The connection of a phone closes.
    pub(crate) fn close(&mut self, phone: usize) {
        let connection = flow(phone).connection;
        self.endpoint.handle_flow_closed(connection, self.now);
        self.calls.handle_flow_closed(connection, self.now);
        self.phones[phone].dead = true;
        self.checked();
        self.run();
    }

    /// Bytes reach the exchange along a flow.
    pub(crate) fn receive(&mut self, flow: Flow, bytes: Bytes) {
        let _ = self.endpoint.handle_message(flow, bytes, self.now);
        self.run();
    }

    /// A phone (or a proxy before it) sends an answer beside its transaction.
    pub(crate) fn answer_raw(&mut self, phone: usize, builder: MessageBuilder) {
        let flow = flow(phone);
        let bytes = Outgoing::from(builder).finish_response(&flow);
        let _ = self.endpoint.handle_message(flow, bytes, self.now);
        self.run();
    }

    /// The next request that a phone got.
    pub(crate) fn asked(&mut self, phone: usize, method: Method) -> Asked {
        self.try_asked(phone, method).unwrap_or_else(|| {
            panic!("phone {phone} got no {method}, but {:?}", self.phones[phone].events);
        })
    }

    pub(crate) fn try_asked(&mut self, phone: usize, method: Method) -> Option<Asked> {
        let events = &mut self.phones[phone].events;
        let at = events
            .iter()
            .position(|event| matches!(event, Event::Request { message, .. } if message.method() == method))?;
        match events.remove(at) {
            Some(Event::Request { txn, message, .. }) => {
                if method == Method::Bye {
                    // A phone always lets go.
                    let asked = Asked { txn, message };
                    self.answer(phone, &asked, 200, None);
                    return Some(asked);
                }
                Some(Asked { txn, message })
            }
            _ => None,
        }
    }

    /// The next ACK to a 2xx that a phone got.
    pub(crate) fn acked(&mut self, phone: usize) -> Message {
        self.try_acked(phone).unwrap_or_else(|| panic!("no ACK, but {:?}", self.phones[phone].events))
    }

    pub(crate) fn try_acked(&mut self, phone: usize) -> Option<Message> {
        let events = &mut self.phones[phone].events;
        let at = events.iter().position(|event| matches!(event, Event::Ack { .. }))?;
        match events.remove(at) {
            Some(Event::Ack { message, .. }) => Some(message),
            _ => None,
        }
    }

    /// The phone's 2xx to this request is acknowledged.
    pub(crate) fn settle(&mut self, phone: usize, request: &Asked) {
        self.phones[phone].endpoint.acked(request.txn);
    }

    /// The next answer with this status that a phone got.
    pub(crate) fn got(&mut self, phone: usize, status: u16) -> Message {
        self.try_got(phone, status).unwrap_or_else(|| {
            panic!("phone {phone} got no {status}, but {:?}", self.phones[phone].events);
        })
    }

    pub(crate) fn try_got(&mut self, phone: usize, status: u16) -> Option<Message> {
        let events = &mut self.phones[phone].events;
        let at = events
            .iter()
            .position(|event| matches!(event, Event::Response { message, .. } if message.status() == status))?;
        match events.remove(at) {
            Some(Event::Response { message, .. }) => Some(message),
            _ => None,
        }
    }

    /// Whether a CANCEL reached a phone, with its message.
    pub(crate) fn cancelled(&mut self, phone: usize) -> Option<(ServerTxn, Message)> {
        let events = &mut self.phones[phone].events;
        let at = events.iter().position(|event| matches!(event, Event::Cancelled { .. }))?;
        match events.remove(at) {
            Some(Event::Cancelled { txn, message, .. }) => Some((txn, message)),
            _ => None,
        }
    }

    /// A call from A to B that is answered and acknowledged: both phones' dialogs.
    pub(crate) fn talk(&mut self) -> (Dialog, Dialog) {
        self.talk_between(A, B)
    }

    pub(crate) fn talk_between(&mut self, a: usize, b: usize) -> (Dialog, Dialog) {
        self.talk_with(a, b, &[], &[])
    }

    /// The same with header lines of either side in INVITE and 200.
    pub(crate) fn talk_with(
        &mut self,
        a: usize,
        b: usize,
        asks: &[(HeaderName, &str)],
        answers: &[(HeaderName, &str)],
    ) -> (Dialog, Dialog) {
        let builder = self.invite_builder(a, "1001");
        let builder = asks.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        self.request(a, builder, Some(&sdp(a)));
        let asked = self.asked(b, Method::Invite);
        self.answer(b, &asked, 180, None);
        self.answer_with(b, &asked, 200, answers, Some(&sdp(b)));
        self.acked(b);
        self.settle(b, &asked);
        let caller = self.caller(a);
        self.ack(a, &caller, None);
        let callee = Dialog::uas(&asked.message, &format!("phone{b}")).expect("our INVITE makes a dialog");
        self.phones[a].events.clear();
        (caller, callee)
    }

    /// The dialog of a calling phone, from its 200.
    pub(crate) fn caller(&mut self, phone: usize) -> Dialog {
        let ok = self.got(phone, 200);
        Dialog::uac(ok.header(HeaderName::From).unwrap(), ok.call_id().unwrap(), 1, &ok)
            .expect("our 200 makes a dialog")
    }

    /// The causes of all ends of calls.
    pub(crate) fn ends(&self) -> Vec<EndCause> {
        let cause = |fact: &Fact| match fact {
            Fact::CallEnded { cause, .. } => Some(*cause),
            _ => None,
        };
        self.facts.iter().filter_map(cause).collect()
    }

    /// The causes of legs that ended before their calls.
    pub(crate) fn leg_ends(&self) -> Vec<(u16, EndCause)> {
        self.facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::LegEnded { leg, cause } => Some((leg.n, *cause)),
                _ => None,
            })
            .collect()
    }

    /// Everything is over and given back.
    pub(crate) fn is_clean(&mut self) {
        assert_eq!(self.calls.len(), 0, "a call is still up");
        self.pass(Duration::from_secs(80));
        assert_eq!(self.calls.lingering(), 0, "a call lingers");
        assert_eq!(self.calls.ports(Family::V4).taken, 0, "ports leak");
        assert!(self.calls.next_at().is_none(), "a timer runs on");
        super::laws::facts(&self.facts);
        super::laws::media(&self.media);
    }
}

/// A request that a phone got.
pub(crate) struct Asked {
    pub(crate) txn: ServerTxn,
    pub(crate) message: Message,
}

fn outgoing(builder: MessageBuilder, body: Option<&str>) -> Outgoing {
    Outgoing { builder, body: body.map(|body| (SDP, Bytes::copy_from_slice(body.as_bytes()))) }
}

const SDP: &str = "application/sdp";

fn pair(n: u32, family: Family) -> PortPair {
    let slot = n + family as u32 * 5_000;
    PortPair { worker: (slot / 2 % 2) as u16, slot, rtp_port: 10_000 + 2 * slot as u16, family }
}

fn timeout_of(endpoint: &mut Endpoint) -> Option<Time> {
    let sip::Output::Timeout(at) = endpoint.poll() else { panic!("it was polled to the end before") };
    at
}
