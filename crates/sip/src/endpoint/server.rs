//! The server transactions: their memory, and what the effects of their tables do.

use super::dial::{Dialled, Reached, Waiting};
use super::event::{Event, ServerTxn};
use super::shared::{Shared, Side};
use crate::msg::{HeaderName, Message, MessageBuilder, Method, Outgoing, Via};
use crate::timer::Timer;
use crate::txn::index::Index;
use crate::txn::key::{Key, has_cookie};
use crate::txn::slots::Slots;
use crate::txn::{Effect, Illegal, invite_server, server, step};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use words::{ConnectionId, Flow, Time, TimerToken, Transport};

/// All server transactions.
#[derive(Serialize, Deserialize)]
#[serde(from = "Kept")]
pub(super) struct Servers {
    slots: Slots<Server>,
    #[serde(skip)]
    by_key: Index,
    /// Requests outside dialogs that were not refused, by what §8.2.2.2 compares.
    #[serde(skip)]
    by_merge: Index,
}

/// What a snapshot says: the indexes are made again.
#[derive(Deserialize)]
struct Kept {
    slots: Slots<Server>,
}

impl From<Kept> for Servers {
    fn from(Kept { slots }: Kept) -> Self {
        let mut servers = Servers { slots, ..Servers::new() };
        for slot in servers.slots.taken().collect::<Vec<_>>() {
            servers.enter(slot);
        }
        servers
    }
}

/// One server transaction.
#[derive(Serialize, Deserialize)]
struct Server {
    machine: Machine,
    /// How often the timer that repeats has fired.
    fired: u8,
    way: Way,
    /// The CANCEL was told already.
    cancelled: bool,
    /// RFC 2543: the ACK must be checked by its To tag.
    legacy: bool,
    key: Key,
    merge: Option<Key>,
    /// Where answers go.
    flow: Flow,
    /// The port of sent-by, when answers may be taken there over a new connection; else 0 (RFC 3261 §18.2.2).
    port: u16,
    /// The request until its first answer, for a 100.
    request: Bytes,
    /// The last answer, while it may be needed again.
    response: Bytes,
    repeat: Option<TimerToken>,
    guard: Option<TimerToken>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Machine {
    Invite(invite_server::State),
    Other(server::State),
}

/// The state of the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    Open,
    Dialling,
    Closed,
}

/// An event of either machine.
#[derive(Clone, Copy, Debug)]
enum Input {
    Invite(invite_server::Event),
    Other(server::Event),
}

/// What a machine may hand up or send: the message that came, or the answer that goes.
struct Parcel {
    up: Option<(Message, Flow)>,
    answer: Bytes,
}

/// What a CANCEL does to its INVITE.
pub(super) enum Cancelled {
    /// It was being decided, and its user hears of it for the first time.
    Now(ServerTxn),
    /// It has its final answer, or was cancelled before: nothing (RFC 3261 §9.2).
    TooLate,
}

impl Servers {
    pub(super) fn new() -> Self {
        Servers { slots: Slots::new(), by_key: Index::default(), by_merge: Index::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// See [`super::Endpoint::check`].
    pub(super) fn check(&self) -> Result<(), String> {
        let (slots, keys, merges) = (self.slots.len(), self.by_key.len(), self.by_merge.len());
        if keys != slots || merges > slots {
            return Err(format!("{keys} keys and {merges} merge keys for {slots} server transactions"));
        }
        Ok(())
    }

    /// Whether another way brought the same request (RFC 3261 §8.2.2.2).
    pub(super) fn is_merged(&self, merge: Key) -> bool {
        self.by_merge.find(merge, |slot| self.slots.at(slot)?.merge).is_some()
    }

    /// Absorbs a retransmission; `false` when the request is new.
    pub(super) fn absorb(&mut self, shared: &mut Shared, key: Key, now: Time) -> bool {
        let Some((slot, server)) = self.named(key) else { return false };
        let input = match server.machine {
            Machine::Invite(_) => Input::Invite(invite_server::Event::Retransmission),
            Machine::Other(_) => Input::Other(server::Event::Retransmission),
        };
        self.run(shared, slot, input, Parcel::empty(), now);
        true
    }

    /// Starts a transaction.
    pub(super) fn open(
        &mut self,
        shared: &mut Shared,
        message: Message,
        flow: Flow,
        key: Key,
        merge: Option<Key>,
        now: Time,
    ) {
        let Ok(via) = message.via() else { return };
        let invite = message.method() == Method::Invite;
        let (machine, input) = if invite {
            (Machine::Invite(invite_server::State::Proceeding), Input::Invite(invite_server::Event::Start))
        } else {
            (Machine::Other(server::State::Trying), Input::Other(server::Event::Start))
        };
        let server = Server {
            machine,
            fired: 0,
            way: Way::Open,
            cancelled: false,
            legacy: !via.branch().is_some_and(has_cookie),
            key,
            merge,
            flow: reply_flow(&via, flow, shared.config.force_rport),
            port: port_for_new_connection(&via, &flow),
            request: message.bytes().clone(),
            response: Bytes::new(),
            repeat: None,
            guard: None,
        };
        shared.ride(&server.flow, Side::Server, self.slots.next());
        let (slot, _) = self.slots.insert(server);
        self.enter(slot);
        self.run(shared, slot, input, Parcel { up: Some((message, flow)), answer: Bytes::new() }, now);
    }

    /// An ACK. `Some` when it belongs to no transaction: it may be for a 2xx.
    pub(super) fn ack(
        &mut self,
        shared: &mut Shared,
        key: Key,
        message: Message,
        flow: Flow,
        now: Time,
    ) -> Option<Message> {
        let Some((slot, server)) = self.named(key) else { return Some(message) };
        // RFC 3261 §17.2.3: without a unique branch, the ACK must have the To tag of the answer.
        if server.legacy && !server.response.is_empty() {
            let answer = Message::parse(server.response.clone()).ok();
            if answer.is_none_or(|answer| answer.to_tag() != message.to_tag()) {
                return Some(message);
            }
        }
        let parcel = Parcel { up: Some((message, flow)), answer: Bytes::new() };
        self.run(shared, slot, Input::Invite(invite_server::Event::Ack), parcel, now);
        None
    }

    /// A CANCEL for the INVITE of that name; `None` when there is none. Gives the INVITE's last answer as well.
    pub(super) fn cancel(&mut self, key: Key) -> Option<(Cancelled, Bytes)> {
        let (slot, _) = self.named(key)?;
        let generation = self.slots.generation(slot);
        let server = self.slots.at_mut(slot)?;
        let first = server.machine.is_deciding() && !std::mem::replace(&mut server.cancelled, true);
        let cancelled = if first { Cancelled::Now(ServerTxn { slot, generation }) } else { Cancelled::TooLate };
        Some((cancelled, server.response.clone()))
    }

    /// The user answers.
    pub(super) fn respond(&mut self, shared: &mut Shared, txn: ServerTxn, response: Outgoing, now: Time) -> bool {
        let Some(server) = self.find(txn) else { return false };
        let answer = response.finish_response(&server.flow);
        let class = answer.get(8).copied().unwrap_or(b'6');
        let input = match (server.machine, class) {
            (Machine::Invite(_), b'1') => Input::Invite(invite_server::Event::Provisional),
            (Machine::Invite(_), b'2') => Input::Invite(invite_server::Event::Success),
            (Machine::Invite(_), _) => Input::Invite(invite_server::Event::Failure),
            (Machine::Other(_), b'1') => Input::Other(server::Event::Provisional),
            (Machine::Other(_), _) => Input::Other(server::Event::Final),
        };
        // What was refused is not being worked on: the same CSeq may come again, with credentials say.
        if class >= b'3'
            && server.machine.is_deciding()
            && let Some(merge) = server.merge.take()
        {
            self.by_merge.remove(merge, txn.slot);
        }
        self.run(shared, txn.slot, input, Parcel { up: None, answer }, now);
        true
    }

    /// The user answers, and the transaction is gone at once. Whether there was one that had no final answer.
    pub(super) fn respond_once(&mut self, shared: &mut Shared, txn: ServerTxn, response: Outgoing) -> bool {
        let Some(server) = self.find(txn).filter(|server| server.machine.is_deciding()) else { return false };
        if server.way == Way::Open {
            shared.transmit(server.flow, response.finish_response(&server.flow));
        }
        self.end(shared, txn.slot);
        true
    }

    /// The user matched an ACK to its 2xx.
    pub(super) fn acked(&mut self, shared: &mut Shared, txn: ServerTxn) {
        if self.find(txn).is_some() {
            // The move only stops timers, so it needs no time.
            self.run(shared, txn.slot, Input::Invite(invite_server::Event::Acked), Parcel::empty(), Time::ZERO);
        }
    }

    pub(super) fn timeout(&mut self, shared: &mut Shared, slot: u32, timer: Timer, now: Time) {
        let Some(server) = self.slots.at_mut(slot) else { return };
        if is_repeat(timer) {
            server.repeat = None;
        } else {
            server.guard = None;
        }
        if let Some(input) = input_of(timer) {
            self.run(shared, slot, input, Parcel::empty(), now);
        }
    }

    /// The connection that an answer waited for is up, or did not come up.
    pub(super) fn connected(&mut self, shared: &mut Shared, txn: ServerTxn, flow: Option<Flow>, now: Time) {
        let Some(server) = self.find(txn) else { return };
        let Some(flow) = flow else {
            (server.way, server.port) = (Way::Closed, 0);
            let failed = server.failed();
            return self.run(shared, txn.slot, failed, Parcel::empty(), now);
        };
        (server.way, server.flow) = (Way::Open, flow);
        if !server.response.is_empty() {
            shared.transmit(flow, server.response.clone());
        }
        shared.ride(&flow, Side::Server, txn.slot);
    }

    /// The connection that a request came on is gone. Nothing fails before there is something to say.
    pub(super) fn flow_closed(&mut self, shared: &mut Shared, slot: u32) {
        if let Some(server) = self.slots.at_mut(slot) {
            shared.leave(&server.flow, Side::Server, slot);
            server.flow.connection = ConnectionId::NONE;
            server.way = Way::Closed;
        }
    }

    /// Lets a transaction be found.
    fn enter(&mut self, slot: u32) {
        let Some(&Server { key, merge, .. }) = self.slots.at(slot) else { return };
        self.by_key.set(key, slot, |slot| Some(self.slots.at(slot)?.key));
        if let Some(merge) = merge {
            self.by_merge.set(merge, slot, |slot| self.slots.at(slot)?.merge);
        }
    }

    fn named(&self, key: Key) -> Option<(u32, &Server)> {
        let slot = self.by_key.find(key, |slot| Some(self.slots.at(slot)?.key))?;
        Some((slot, self.slots.at(slot)?))
    }

    fn find(&mut self, txn: ServerTxn) -> Option<&mut Server> {
        if self.slots.generation(txn.slot) != txn.generation {
            return None;
        }
        self.slots.at_mut(txn.slot)
    }

    /// Makes a move, and those that follow from it: a timer whose length is zero, an answer that cannot be sent.
    fn run(&mut self, shared: &mut Shared, slot: u32, input: Input, mut parcel: Parcel, now: Time) {
        let txn = ServerTxn { slot, generation: self.slots.generation(slot) };
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let Some(server) = self.slots.at_mut(slot) else { return };
            let Ok((machine, effects)) = server.machine.step(input) else { return };
            server.machine = machine;
            for &effect in effects {
                next = server.carry_out(shared, txn, effect, &mut parcel, now).or(next);
            }
            if machine.is_terminated() {
                return self.end(shared, slot);
            }
        }
    }

    fn end(&mut self, shared: &mut Shared, slot: u32) {
        let Some(mut server) = self.slots.remove(slot) else { return };
        shared.stop(&mut server.repeat);
        shared.stop(&mut server.guard);
        shared.leave(&server.flow, Side::Server, slot);
        self.by_key.remove(server.key, slot);
        if let Some(merge) = server.merge {
            self.by_merge.remove(merge, slot);
        }
    }
}

impl Server {
    /// Does what one effect says; gives what follows at once.
    fn carry_out(
        &mut self,
        shared: &mut Shared,
        txn: ServerTxn,
        effect: Effect,
        parcel: &mut Parcel,
        now: Time,
    ) -> Option<Input> {
        match effect {
            Effect::PassUp => {
                if let Some((message, flow)) = parcel.up.take() {
                    let ack = message.method() == Method::Ack;
                    shared.tell(if ack { Event::Ack { message, flow } } else { Event::Request { txn, message, flow } });
                }
            }
            Effect::SendResponse => {
                self.response = std::mem::take(&mut parcel.answer);
                return self.send(shared, txn, now);
            }
            Effect::ResendResponse => return self.send(shared, txn, now),
            Effect::SendTrying => {
                self.response = print_trying(&self.request, &self.flow).unwrap_or_default();
                return self.send(shared, txn, now);
            }
            Effect::TellNoAck => shared.tell(Event::NoAck { txn }),
            Effect::TellServerFailed => shared.tell(Event::ServerFailed { txn }),
            Effect::Start(timer) => return self.start(shared, txn.slot, timer, now),
            Effect::Again(timer) => {
                self.fired = self.fired.saturating_add(1);
                let after = timer.again(&shared.config.timers, self.fired);
                self.repeat = Some(shared.start(Side::Server, txn.slot, timer, now + after));
            }
            Effect::StopRepeat => shared.stop(&mut self.repeat),
            Effect::StopGuard => shared.stop(&mut self.guard),
            Effect::DropRequest => self.request = Bytes::new(),
            Effect::DropResponse => self.response = Bytes::new(),
            // Effects of client tables.
            Effect::SendRequest
            | Effect::ResendRequest
            | Effect::SendAck
            | Effect::ResendAck
            | Effect::SendWantedCancel
            | Effect::WantCancel
            | Effect::TellTimeout
            | Effect::TellTransportFailed
            | Effect::AgainAtT2 => {}
        }
        None
    }

    /// Sends the kept answer the way the request came or, when that connection is gone, over a new one to where the
    /// client said that it listens (RFC 3261 §18.2.2).
    fn send(&mut self, shared: &mut Shared, txn: ServerTxn, now: Time) -> Option<Input> {
        if self.response.is_empty() {
            return None;
        }
        match self.way {
            Way::Open => shared.transmit(self.flow, self.response.clone()),
            Way::Dialling => {}
            Way::Closed if self.port == 0 => return Some(self.failed()),
            Way::Closed => {
                let Flow { transport, listener, local, mut remote, .. } = self.flow;
                remote.set_port(self.port);
                match shared.dial(Dialled { transport, listener, local, remote, peer: None }, Waiting::Server(txn), now)
                {
                    Reached::Open(flow) => {
                        (self.way, self.flow) = (Way::Open, flow);
                        shared.ride(&flow, Side::Server, txn.slot);
                        shared.transmit(flow, self.response.clone());
                    }
                    Reached::Opening => self.way = Way::Dialling,
                    Reached::Full => return Some(self.failed()),
                }
            }
        }
        None
    }

    fn start(&mut self, shared: &mut Shared, slot: u32, timer: Timer, now: Time) -> Option<Input> {
        // An answer that still waits for its connection is lost if its transaction ends at once. It leaves when that is
        // there, and needs no repetition.
        let reliable = self.flow.transport.is_reliable() && (self.way == Way::Open || is_repeat(timer));
        let length = timer.first(&shared.config.timers, reliable)?;
        if length.is_zero() {
            return input_of(timer);
        }
        let token = Some(shared.start(Side::Server, slot, timer, now + length));
        if is_repeat(timer) {
            self.fired = 0;
            self.repeat = token;
        } else {
            self.guard = token;
        }
        None
    }

    const fn failed(&self) -> Input {
        match self.machine {
            Machine::Invite(_) => Input::Invite(invite_server::Event::TransportFailed),
            Machine::Other(_) => Input::Other(server::Event::TransportFailed),
        }
    }
}

impl Machine {
    fn step(self, input: Input) -> Result<(Machine, &'static [Effect]), Illegal> {
        Ok(match (self, input) {
            (Machine::Invite(state), Input::Invite(event)) => {
                let (state, effects) = step(invite_server::TABLE, state, event)?;
                (Machine::Invite(state), effects)
            }
            (Machine::Other(state), Input::Other(event)) => {
                let (state, effects) = step(server::TABLE, state, event)?;
                (Machine::Other(state), effects)
            }
            (Machine::Invite(_), Input::Other(_)) | (Machine::Other(_), Input::Invite(_)) => return Err(Illegal),
        })
    }

    fn is_deciding(self) -> bool {
        match self {
            Machine::Invite(state) => state == invite_server::State::Proceeding,
            Machine::Other(state) => matches!(state, server::State::Trying | server::State::Proceeding),
        }
    }

    fn is_terminated(self) -> bool {
        match self {
            Machine::Invite(state) => state == invite_server::State::Terminated,
            Machine::Other(state) => state == server::State::Terminated,
        }
    }
}

impl Parcel {
    const fn empty() -> Self {
        Parcel { up: None, answer: Bytes::new() }
    }
}

/// Which of a transaction's two timers it is.
const fn is_repeat(timer: Timer) -> bool {
    timer.repeats() || matches!(timer, Timer::Trying)
}

fn input_of(timer: Timer) -> Option<Input> {
    Some(match timer {
        Timer::G => Input::Invite(invite_server::Event::TimerG),
        Timer::H => Input::Invite(invite_server::Event::TimerH),
        Timer::I => Input::Invite(invite_server::Event::TimerI),
        Timer::L => Input::Invite(invite_server::Event::TimerL),
        Timer::Trying => Input::Invite(invite_server::Event::TimerTrying),
        Timer::Success => Input::Invite(invite_server::Event::TimerSuccess),
        Timer::J => Input::Other(server::Event::TimerJ),
        Timer::Slow => Input::Other(server::Event::TimerSlow),
        Timer::Late => Input::Other(server::Event::TimerLate),
        Timer::A | Timer::B | Timer::D | Timer::E | Timer::F | Timer::K | Timer::M | Timer::Cancelled | Timer::Dial => {
            return None;
        }
    })
}

/// Where the answer to a request goes (RFC 3261 §18.2.2, RFC 3581 §4): on a connection back along it; on UDP to the
/// address that the request came from, and to the port of sent-by unless the client asked for the one it came from.
/// `maddr` is not followed: whoever sends a request must not choose who gets the answer.
pub(super) fn reply_flow(via: &Via<'_>, mut flow: Flow, force_rport: bool) -> Flow {
    if flow.transport == Transport::Udp && via.rport().is_none() && !force_rport {
        flow.remote.set_port(via.port.unwrap_or(Transport::Udp.default_port()));
    }
    flow
}

/// The port to which a lost connection may be opened anew: only on TCP, and only where no NAT stands between, as the
/// client's own address is the one we see. 0: none.
fn port_for_new_connection(via: &Via<'_>, flow: &Flow) -> u16 {
    let direct = via.host_ip().map(|ip| ip.to_canonical()) == Some(flow.remote.ip().to_canonical());
    if flow.transport == Transport::Tcp && direct { via.port.unwrap_or(flow.transport.default_port()) } else { 0 }
}

/// RFC 3261 §8.2.6.1: a 100 has no To tag of ours, and gives the Timestamp back.
fn print_trying(request: &Bytes, flow: &Flow) -> Option<Bytes> {
    let request = Message::parse(request.clone()).ok()?;
    let trying = MessageBuilder::response(&request, 100, "", None).stamp_via(flow);
    Some(trying.copy(&request, HeaderName::Timestamp).finish())
}

// With its timer and its places in the maps, a call that was answered and acknowledged keeps about 350 bytes here.
const _: () = assert!(size_of::<Server>() <= 256);
