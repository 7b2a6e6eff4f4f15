//! The client transactions: their memory, and what the effects of their tables do.

use super::dial::{Dialled, Reached, Waiting};
use super::event::{ClientTxn, Event, Target, Undelivered};
use super::follower::{print_ack, print_cancel};
use super::shared::{Shared, Side};
use crate::error::Refused;
use crate::msg::{Message, Method, Outgoing};
use crate::timer::Timer;
use crate::txn::index::Index;
use crate::txn::key::Branch;
use crate::txn::slots::Slots;
use crate::txn::{Effect, Illegal, client, invite_client, step};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use words::{ConnectionId, Flow, Time, TimerToken};

/// All client transactions.
#[derive(Serialize, Deserialize)]
#[serde(from = "Kept")]
pub(super) struct Clients {
    slots: Slots<Client>,
    #[serde(skip)]
    by_user: Index,
}

/// What a snapshot says: the index is made again.
#[derive(Deserialize)]
struct Kept {
    slots: Slots<Client>,
}

impl From<Kept> for Clients {
    fn from(Kept { slots }: Kept) -> Self {
        let mut clients = Clients { slots, ..Clients::new() };
        for slot in clients.slots.taken().collect::<Vec<_>>() {
            clients.enter(slot);
        }
        clients
    }
}

/// One client transaction.
#[derive(Serialize, Deserialize)]
struct Client {
    machine: Machine,
    cancel: Cancel,
    /// How often the timer that repeats has fired.
    fired: u8,
    /// The connection is not up yet: nothing can be sent.
    dialling: bool,
    /// It went out a second time, as the first connection was dead.
    #[serde(default)]
    again: bool,
    /// Why it could not be sent, when it could not.
    #[serde(default)]
    why: Undelivered,
    user: ClientTxn,
    /// The random half of our branch.
    secret: u64,
    flow: Flow,
    /// The request; from a 300–699 answer on, its ACK.
    message: Bytes,
    repeat: Option<TimerToken>,
    guard: Option<TimerToken>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Machine {
    Invite(invite_client::State),
    /// The CANCEL of the INVITE in that slot, whose branch it shares (RFC 3261 §9.1).
    Cancel(client::State, u32),
    Other(client::State),
}

/// The CANCEL of an INVITE.
#[derive(Serialize, Deserialize)]
enum Cancel {
    No,
    Wanted(Option<Box<str>>),
    /// Its slot.
    Sent(u32),
}

/// An event of either machine.
#[derive(Clone, Copy, Debug)]
enum Input {
    Invite(invite_client::Event),
    Other(client::Event),
}

/// An answer on its way up.
type Answer = Option<(Message, Flow)>;

impl Clients {
    pub(super) fn new() -> Self {
        Clients { slots: Slots::new(), by_user: Index::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// See [`super::Endpoint::check`].
    pub(super) fn check(&self) -> Result<(), String> {
        if self.by_user.len() > self.slots.len() {
            return Err(format!("{} names for {} client transactions", self.by_user.len(), self.slots.len()));
        }
        Ok(())
    }

    /// Starts a transaction. What cannot be started fails as an event, so that its user has one path.
    pub(super) fn request(&mut self, shared: &mut Shared, user: ClientTxn, out: Outgoing, target: Target, now: Time) {
        let slot = self.slots.next();
        let secret = shared.chance.u64();
        let branch = Branch { shard: shared.config.shard, slot, secret };
        let (message, reached) = launch(shared, out, target, branch, Waiting::Client { slot, secret }, now);
        let (flow, dialling) = match reached {
            Reached::Open(flow) => (flow, false),
            Reached::Opening => (flow_of(target), true),
            Reached::Full => {
                return shared.tell(Event::TransportFailed { txn: user, why: Undelivered::Unreachable });
            }
        };
        let machine = if message.starts_with(b"INVITE ") {
            Machine::Invite(invite_client::State::Calling)
        } else {
            Machine::Other(client::State::Trying)
        };
        let (repeat, guard) = (None, None);
        let cancel = Cancel::No;
        let why = Undelivered::default();
        let again = false;
        let client =
            Client { machine, cancel, fired: 0, dialling, again, why, user, secret, flow, message, repeat, guard };
        self.slots.insert(client);
        self.enter(slot);
        shared.ride(&flow, Side::Client, slot);
        let start = match machine {
            Machine::Invite(_) => Input::Invite(invite_client::Event::Start),
            Machine::Cancel(..) | Machine::Other(_) => Input::Other(client::Event::Start),
        };
        self.run(shared, slot, start, None, now);
    }

    /// RFC 3261 §9.1: only an INVITE is cancelled, and only after a provisional answer.
    pub(super) fn cancel(&mut self, shared: &mut Shared, user: ClientTxn, reason: Option<&str>, now: Time) {
        let Some(slot) = self.by_user.find(user.0, |slot| self.slots.at(slot)?.name()) else { return };
        let Some(client) = self.slots.at_mut(slot) else { return };
        if !matches!(client.cancel, Cancel::No) || !matches!(client.machine, Machine::Invite(_)) {
            return;
        }
        client.cancel = Cancel::Wanted(reason.map(Box::from));
        self.run(shared, slot, Input::Invite(invite_client::Event::Cancel), None, now);
    }

    /// RFC 3261 §17.1.3, §18.1.2.
    pub(super) fn answer(
        &mut self,
        shared: &mut Shared,
        message: Message,
        flow: Flow,
        now: Time,
    ) -> Result<(), Refused> {
        let via = message.via().map_err(|error| Refused::BadHeader(error.into()))?;
        let branch = via.branch().and_then(Branch::parse).ok_or(Refused::NotOurs)?;
        let invite = self.slots.at(branch.slot).filter(|client| client.secret == branch.secret);
        let invite = invite.ok_or(Refused::Stray)?;
        let Flow { transport, listener, local, .. } = invite.flow;
        if !same_sent_by(shared.sent_by(transport, listener, local), via.host, via.port) {
            return Err(Refused::NotOurs);
        }
        let (slot, client) = match (message.method(), &invite.cancel) {
            (Method::Cancel, Cancel::Sent(slot)) => (*slot, self.slots.at(*slot).ok_or(Refused::Stray)?),
            _ => (branch.slot, invite),
        };
        let status = message.status();
        let input = match client.machine {
            Machine::Invite(_) if message.method() == Method::Invite => Input::Invite(match status {
                ..200 => invite_client::Event::Provisional,
                200..300 => invite_client::Event::Success,
                300.. => invite_client::Event::Failure,
            }),
            Machine::Cancel(..) if message.method() == Method::Cancel => Input::Other(class(status)),
            Machine::Other(_) if same_method(&message, &client.message) => Input::Other(class(status)),
            Machine::Invite(_) | Machine::Cancel(..) | Machine::Other(_) => return Err(Refused::Stray),
        };
        self.run(shared, slot, input, Some((message, flow)), now);
        Ok(())
    }

    pub(super) fn timeout(&mut self, shared: &mut Shared, slot: u32, timer: Timer, now: Time) {
        let Some(client) = self.slots.at_mut(slot) else { return };
        match timer {
            Timer::A | Timer::E => client.repeat = None,
            _ => client.guard = None,
        }
        if let Some(input) = input_of(timer) {
            self.run(shared, slot, input, None, now);
        }
    }

    /// The connection that a request waited for is up.
    pub(super) fn connected(&mut self, shared: &mut Shared, slot: u32, secret: u64, flow: Flow, now: Time) {
        let Some(client) = self.slots.at_mut(slot).filter(|client| client.secret == secret) else { return };
        client.dialling = false;
        let (cancelled, heard) = (matches!(client.cancel, Cancel::Wanted(_)), client.is_proceeding());
        if cancelled && !heard {
            // Cancelled before it was ever sent: it need not be.
            return self.transport_failed(shared, slot, now);
        }
        client.flow = flow;
        shared.ride(&flow, Side::Client, slot);
        if cancelled {
            return self.send_wanted_cancel(shared, slot, now);
        }
        // Its answer may have come over another connection meanwhile.
        if client.is_open() {
            shared.transmit(flow, client.message.clone());
        }
    }

    /// The connection that a request waited for did not come up.
    pub(super) fn not_connected(&mut self, shared: &mut Shared, slot: u32, secret: u64, why: Undelivered, now: Time) {
        if let Some(client) = self.slots.at_mut(slot).filter(|client| client.secret == secret) {
            client.why = why;
            self.transport_failed(shared, slot, now);
        }
    }

    /// The connection is gone that a request went over. One that we opened long ago may have been dead for as long, with
    /// nobody to tell us: what was sent over it and had no answer goes out once more over another one. Its branch is the
    /// same, so nobody takes it for two. So does an INVITE that is being answered, where that was asked for: a server may
    /// close what was idle while somebody rang, and answer over another connection (RFC 3261 §18.2.2); one that is gone
    /// cannot be reached again.
    pub(super) fn flow_closed(&mut self, shared: &mut Shared, slot: u32, dialled: Option<Dialled>, now: Time) {
        if !dialled.is_some_and(|dialled| self.goes_again(shared, slot, dialled, now)) {
            self.transport_failed(shared, slot, now);
        }
    }

    fn goes_again(&mut self, shared: &mut Shared, slot: u32, dialled: Dialled, now: Time) -> bool {
        let ringing = shared.config.calls_again;
        let goes = |client: &&mut Client| client.is_open() && !client.again && (ringing || !client.is_proceeding());
        let Some(client) = self.slots.at_mut(slot).filter(goes) else { return false };
        shared.riders.remove(&(client.flow.connection, Side::Client, slot));
        client.flow.connection = ConnectionId::NONE;
        client.again = true;
        match shared.dial(dialled, Waiting::Client { slot, secret: client.secret }, now) {
            Reached::Open(flow) => {
                client.flow = flow;
                shared.ride(&flow, Side::Client, slot);
                shared.transmit(flow, client.message.clone());
                true
            }
            Reached::Opening => {
                client.dialling = true;
                true
            }
            Reached::Full => false,
        }
    }

    /// The request's way is gone. An INVITE that was answered 2xx lives on: more may come another way.
    pub(super) fn transport_failed(&mut self, shared: &mut Shared, slot: u32, now: Time) {
        let Some(client) = self.slots.at_mut(slot) else { return };
        shared.riders.remove(&(client.flow.connection, Side::Client, slot));
        client.flow.connection = ConnectionId::NONE;
        let input = match client.machine {
            Machine::Invite(_) => Input::Invite(invite_client::Event::TransportFailed),
            Machine::Cancel(..) | Machine::Other(_) => Input::Other(client::Event::TransportFailed),
        };
        self.run(shared, slot, input, None, now);
    }

    /// A datagram to this address could not be sent.
    pub(super) fn send_failed(&mut self, shared: &mut Shared, slot: u32, flow: &Flow, now: Time) {
        if self.slots.at(slot).is_some_and(|client| client.flow == *flow) {
            self.transport_failed(shared, slot, now);
        }
    }

    /// Makes a move, and those that follow from it because a timer's length is zero.
    fn run(&mut self, shared: &mut Shared, slot: u32, input: Input, mut answer: Answer, now: Time) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let Some(client) = self.slots.at_mut(slot) else { return };
            let Ok((machine, effects)) = client.machine.step(input) else { return };
            client.machine = machine;
            for &effect in effects {
                if let Some(timer) = self.carry_out(shared, slot, effect, &mut answer, now) {
                    next = input_of(timer);
                }
            }
            if machine.is_terminated() {
                return self.end(shared, slot);
            }
        }
    }

    /// Does what one effect says; gives a timer that is over at once.
    fn carry_out(
        &mut self,
        shared: &mut Shared,
        slot: u32,
        effect: Effect,
        answer: &mut Answer,
        now: Time,
    ) -> Option<Timer> {
        let client = self.slots.at_mut(slot)?;
        match effect {
            Effect::SendRequest | Effect::ResendRequest | Effect::ResendAck => {
                if !client.dialling {
                    shared.transmit_of(slot, client.flow, client.message.clone());
                }
            }
            Effect::SendAck => {
                let Some((answer, from)) = answer else { return None };
                if let Some(ack) = print_ack(&client.message, answer) {
                    // While its connection is opened anew, the way that the answer found is the only one.
                    let way = if client.dialling { *from } else { client.flow };
                    client.message = ack.clone();
                    shared.transmit_of(slot, way, ack);
                }
            }
            Effect::SendWantedCancel => self.send_wanted_cancel(shared, slot, now),
            Effect::PassUp => {
                if let (Some((message, flow)), Some(txn)) = (answer.take(), client.told()) {
                    shared.tell(Event::Response { txn, message, flow });
                }
            }
            Effect::TellTimeout => client.told().into_iter().for_each(|txn| shared.tell(Event::Timeout { txn })),
            Effect::TellTransportFailed => {
                let why = client.why;
                client.told().into_iter().for_each(|txn| shared.tell(Event::TransportFailed { txn, why }));
            }
            Effect::Start(timer) => return client.start(shared, slot, timer, now),
            Effect::Again(timer) => client.again(shared, slot, timer, None, now),
            Effect::AgainAtT2 => client.again(shared, slot, Timer::E, Some(shared.config.timers.t2), now),
            Effect::StopRepeat => shared.stop(&mut client.repeat),
            Effect::StopGuard => shared.stop(&mut client.guard),
            // In Completed an INVITE keeps its ACK in the request's place.
            Effect::DropRequest => {
                if !matches!(client.machine, Machine::Invite(invite_client::State::Completed)) {
                    client.message = Bytes::new();
                }
            }
            // `Cancel::Wanted` says it already; the rest are effects of server tables.
            Effect::WantCancel
            | Effect::SendResponse
            | Effect::ResendResponse
            | Effect::SendTrying
            | Effect::TellNoAck
            | Effect::TellServerFailed
            | Effect::DropResponse => {}
        }
        None
    }

    fn send_wanted_cancel(&mut self, shared: &mut Shared, slot: u32, now: Time) {
        let cancel_slot = self.slots.next();
        // What is on its way to another connection is cancelled there.
        let Some(invite) = self.slots.at_mut(slot).filter(|invite| !invite.dialling) else { return };
        let Cancel::Wanted(reason) = &invite.cancel else { return };
        let Some(message) = print_cancel(&invite.message, reason.as_deref()) else { return };
        invite.cancel = Cancel::Sent(cancel_slot);
        invite.start(shared, slot, Timer::Cancelled, now);
        let cancel = Client {
            machine: Machine::Cancel(client::State::Trying, slot),
            cancel: Cancel::No,
            fired: 0,
            dialling: false,
            again: false,
            why: Undelivered::default(),
            user: invite.user,
            // Its own answers are found through the INVITE; nothing else may name this slot.
            secret: shared.chance.u64(),
            flow: invite.flow,
            message,
            repeat: None,
            guard: None,
        };
        shared.ride(&cancel.flow, Side::Client, cancel_slot);
        self.slots.insert(cancel);
        self.run(shared, cancel_slot, Input::Other(client::Event::Start), None, now);
    }

    /// Lets a transaction be found by its user's name for it. A name that was given twice is its latest bearer's.
    fn enter(&mut self, slot: u32) {
        if let Some(name) = self.slots.at(slot).and_then(Client::name) {
            self.by_user.set(name, slot, |slot| self.slots.at(slot)?.name());
        }
    }

    fn end(&mut self, shared: &mut Shared, slot: u32) {
        let Some(mut client) = self.slots.remove(slot) else { return };
        shared.stop(&mut client.repeat);
        shared.stop(&mut client.guard);
        shared.leave(&client.flow, Side::Client, slot);
        match client.machine {
            Machine::Cancel(_, invite) => {
                if let Some(invite) = self.slots.at_mut(invite) {
                    invite.cancel = Cancel::Sent(GONE);
                }
            }
            Machine::Invite(_) | Machine::Other(_) => {
                self.by_user.remove(client.user.0, slot);
            }
        }
        // A CANCEL without its INVITE has nothing to wait for.
        if let Cancel::Sent(cancel) = client.cancel {
            self.end(shared, cancel);
        }
    }
}

/// The slot of a CANCEL that is over: nobody's.
const GONE: u32 = u32::MAX;

impl Client {
    /// What its user calls it. A CANCEL goes by its INVITE.
    fn name(&self) -> Option<u64> {
        match self.machine {
            Machine::Invite(_) | Machine::Other(_) => Some(self.user.0),
            Machine::Cancel(..) => None,
        }
    }

    /// Whether nothing came back at all, or of an INVITE no final answer, and it is still wanted.
    fn is_open(&self) -> bool {
        match self.machine {
            Machine::Invite(state) => {
                let open = matches!(state, invite_client::State::Calling | invite_client::State::Proceeding);
                open && matches!(self.cancel, Cancel::No)
            }
            Machine::Other(state) => state == client::State::Trying,
            Machine::Cancel(..) => false,
        }
    }

    /// Whether an INVITE is being answered.
    fn is_proceeding(&self) -> bool {
        matches!(self.machine, Machine::Invite(invite_client::State::Proceeding))
    }

    /// Whom to tell: nobody asked for the CANCEL's fate.
    fn told(&self) -> Option<ClientTxn> {
        match self.machine {
            Machine::Invite(_) | Machine::Other(_) => Some(self.user),
            Machine::Cancel(..) => None,
        }
    }

    fn start(&mut self, shared: &mut Shared, slot: u32, timer: Timer, now: Time) -> Option<Timer> {
        let length = timer.first(&shared.config.timers, self.flow.transport.is_reliable())?;
        if length.is_zero() {
            return Some(timer);
        }
        let token = Some(shared.start(Side::Client, slot, timer, now + length));
        if timer.repeats() {
            self.repeat = token;
        } else {
            self.guard = token;
        }
        None
    }

    fn again(&mut self, shared: &mut Shared, slot: u32, timer: Timer, after: Option<Duration>, now: Time) {
        self.fired = self.fired.saturating_add(1);
        let after = after.unwrap_or_else(|| timer.again(&shared.config.timers, self.fired));
        self.repeat = Some(shared.start(Side::Client, slot, timer, now + after));
    }
}

impl Machine {
    fn step(self, input: Input) -> Result<(Machine, &'static [Effect]), Illegal> {
        Ok(match (self, input) {
            (Machine::Invite(state), Input::Invite(event)) => {
                let (state, effects) = step(invite_client::TABLE, state, event)?;
                (Machine::Invite(state), effects)
            }
            (Machine::Cancel(state, invite), Input::Other(event)) => {
                let (state, effects) = step(client::TABLE, state, event)?;
                (Machine::Cancel(state, invite), effects)
            }
            (Machine::Other(state), Input::Other(event)) => {
                let (state, effects) = step(client::TABLE, state, event)?;
                (Machine::Other(state), effects)
            }
            (Machine::Invite(_), Input::Other(_)) | (Machine::Cancel(..) | Machine::Other(_), Input::Invite(_)) => {
                return Err(Illegal);
            }
        })
    }

    fn is_terminated(self) -> bool {
        match self {
            Machine::Invite(state) => state == invite_client::State::Terminated,
            Machine::Cancel(state, _) | Machine::Other(state) => state == client::State::Terminated,
        }
    }
}

fn input_of(timer: Timer) -> Option<Input> {
    Some(match timer {
        Timer::A => Input::Invite(invite_client::Event::TimerA),
        Timer::B => Input::Invite(invite_client::Event::TimerB),
        Timer::D => Input::Invite(invite_client::Event::TimerD),
        Timer::M => Input::Invite(invite_client::Event::TimerM),
        Timer::Cancelled => Input::Invite(invite_client::Event::TimerCancelled),
        Timer::E => Input::Other(client::Event::TimerE),
        Timer::F => Input::Other(client::Event::TimerF),
        Timer::K => Input::Other(client::Event::TimerK),
        Timer::G
        | Timer::H
        | Timer::I
        | Timer::J
        | Timer::L
        | Timer::Trying
        | Timer::Success
        | Timer::Slow
        | Timer::Late
        | Timer::Dial => return None,
    })
}

const fn class(status: u16) -> client::Event {
    if status < 200 { client::Event::Provisional } else { client::Event::Final }
}

/// Whether an answer's CSeq names the method of the request (RFC 3261 §17.1.3). A request that was let go of has been
/// answered, so whatever comes is absorbed.
fn same_method(answer: &Message, request: &[u8]) -> bool {
    let token = answer.method_token().as_bytes();
    request.is_empty() || (request.starts_with(token) && request.get(token.len()) == Some(&b' '))
}

/// RFC 3261 §18.1.2: `host:port` as we wrote it against what came back.
fn same_sent_by(ours: &str, host: &str, port: Option<u16>) -> bool {
    let Some(rest) = ours.get(host.len()..) else { return false };
    if !ours[..host.len()].eq_ignore_ascii_case(host) {
        return false;
    }
    match (rest.strip_prefix(':'), port) {
        (Some(digits), Some(port)) => digits.parse() == Ok(port),
        (None, None) => rest.is_empty(),
        // Some leave the default port out, or write it where we did not.
        (Some(digits), None) => digits == "5060" || digits == "5061",
        (None, Some(port)) => rest.is_empty() && (port == 5060 || port == 5061),
    }
}

/// Prints a request with our Via, and finds or opens its way.
pub(super) fn launch(
    shared: &mut Shared,
    out: Outgoing,
    target: Target,
    branch: Branch,
    waiting: Waiting,
    now: Time,
) -> (Bytes, Reached) {
    let Flow { transport, listener, local, .. } = flow_of(target);
    let via = shared.print_via(transport, listener, local, branch);
    let message = out.finish_with_via(&via);
    let reached = match target {
        Target::Flow(flow) => Reached::Open(flow),
        Target::Dial { transport, listener, local, remote, peer } => {
            let waiting = match waiting {
                Waiting::Bytes(_) => Waiting::Bytes(message.clone()),
                Waiting::Client { .. } | Waiting::Server(_) => waiting,
            };
            shared.dial(Dialled { transport, listener, local, remote, peer }, waiting, now)
        }
    };
    (message, reached)
}

fn flow_of(target: Target) -> Flow {
    match target {
        Target::Flow(flow) => flow,
        Target::Dial { transport, listener, local, remote, peer: _ } => {
            Flow { transport, listener, connection: ConnectionId::NONE, local, remote }
        }
    }
}

const _: () = assert!(size_of::<Client>() <= 224);
