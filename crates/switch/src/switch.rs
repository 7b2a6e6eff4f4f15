//! The value itself: its rooms, its inputs, its outputs and the order in which they are served.

use crate::answer::Answers;
use crate::command::{Command, Reply};
use crate::config::Config;
use crate::message::Messages;
use crate::need::{Directory, Found, Known, Need};
use crate::pings::Pings;
use crate::strangers::{Strangers, Verdict};
use crate::stream::{Promise, Registration, Stream};
use crate::watch::Lamps;
use crate::whose::Peers;
use b2bua::Calls;
use bytes::Bytes;
use media::command::{MediaCommand, MediaReport};
use registrar::{Door, Registrar, User};
use serde::{Deserialize, Serialize};
use sip::{Endpoint, Message, Outgoing, Refused, RetryAfter, ServerTxn, Undelivered};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use words::dns::{Answer, Question};
use words::{
    AccountId, CallId, Chance, Clock, ConnectionId, Event, Fact, Flow, LegId, PeerId, Seed, Seq, ShardId, Time,
    Transport,
};

/// Which command a [`Reply`] belongs to; chosen by the shell.
pub type ReplyId = u64;

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// One SIP message.
    Message {
        /// Where it came from.
        flow: Flow,
        /// The datagram or frame.
        bytes: Bytes,
    },
    /// What [`Output::Connect`] asked for.
    Connected {
        /// Its id.
        id: u64,
        /// The flow, or why there is none.
        flow: Result<Flow, Undelivered>,
    },
    /// What DNS says to [`Output::Resolve`].
    Resolved {
        /// What was asked.
        question: Question,
        /// The answer.
        answer: Answer,
    },
    /// A connection is gone.
    FlowClosed {
        /// Which.
        connection: ConnectionId,
    },
    /// A message could not be sent.
    SendFailed {
        /// Where it should have gone.
        flow: Flow,
    },
    /// Facts up to here are stored.
    Stored {
        /// The last of them.
        up_to: Seq,
    },
    /// Facts up to here could not be stored; those that end calls lie in reserved space.
    StoreFailed {
        /// The last of them.
        up_to: Seq,
    },
    /// The directory has it.
    Found {
        /// What was asked.
        need: Need,
        /// The answer.
        found: Found,
    },
    /// The directory has these too: nobody asked yet, and somebody soon will.
    Learned(Vec<(Need, Found)>),
    /// The directory has no such thing.
    Absent {
        /// What was asked.
        need: Need,
    },
    /// The directory cannot tell.
    Unavailable {
        /// What was asked.
        need: Need,
    },
    /// The relay reports.
    Media(MediaReport),
    /// Somebody asks.
    Command {
        /// What the reply carries.
        id: ReplyId,
        /// The question.
        command: Command,
    },
    /// Both clocks, every ten seconds, so that a stepped wall clock is seen.
    Clock(Clock),
    /// The shell cannot keep up: new calls are refused until it says that it can again.
    Overloaded(bool),
}

/// What goes out.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// By this flow.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// Open a connection and say [`Input::Connected`].
    Connect {
        /// Its id.
        id: u64,
        /// TCP or TLS.
        transport: Transport,
        /// The listener it belongs to.
        listener: u16,
        /// From this address of ours.
        local: SocketAddr,
        /// To there.
        remote: SocketAddr,
        /// Whose certificate it has to show; `None`: anybody's.
        peer: Option<PeerId>,
    },
    /// Ask DNS and say [`Input::Resolved`].
    Resolve(Question),
    /// Who is at the other end of a connection has proven who it is.
    Proven {
        /// Which.
        connection: ConnectionId,
    },
    /// Peers speak from these addresses, and from no others: they may connect and speak as often as they like.
    Sources(Vec<IpAddr>),
    /// Store this.
    Event(Event),
    /// Ask the directory.
    Need(Need),
    /// Tell the relay.
    Media(MediaCommand),
    /// The answer to a command.
    Reply {
        /// Whose.
        id: ReplyId,
        /// The answer.
        reply: Reply,
    },
    /// Nothing more; wake up then at the latest.
    Timeout(Option<Time>),
}

/// A request that came in and has no answer yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Incoming {
    pub(crate) txn: ServerTxn,
    pub(crate) message: Message,
    pub(crate) flow: Flow,
    /// Whether the directory was asked for the user whom it names, after it came.
    #[serde(default)]
    pub(crate) asked: bool,
    /// Who proved to have sent it, before it had to wait for something: credentials count once only.
    #[serde(default)]
    pub(crate) proven: RefCell<Option<Arc<User>>>,
}

/// Who waits for the directory.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Waiter {
    /// A request, to be begun again.
    Request(Box<Incoming>),
    /// A call that asked what to do.
    Plan(CallId),
    /// A leg that sends its call elsewhere.
    Redirect(LegId),
    /// A peer whose name is looked up.
    Peer(PeerId),
}

/// The exchange.
#[derive(Serialize, Deserialize)]
pub struct Switch {
    #[serde(skip)]
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) endpoint: Endpoint,
    pub(crate) calls: Calls,
    pub(crate) registrar: Registrar,
    pub(crate) gate: Gate,
    #[serde(default)]
    pub(crate) strangers: Strangers,
    pub(crate) directory: Directory<Waiter>,
    pub(crate) peers: Peers,
    pub(crate) stream: Stream,
    pub(crate) pings: Pings,
    pub(crate) messages: Messages,
    pub(crate) lamps: Lamps,
    pub(crate) answers: Answers,
    pub(crate) counters: Counters,
    pub(crate) wakes: Wakes,
    #[serde(skip)]
    pub(crate) outputs: VecDeque<Output>,
}

/// When each room wants to be woken, as it said last.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Wakes {
    endpoint: Option<Time>,
    calls: Option<Time>,
    pub(crate) registrar: Option<Time>,
    pub(crate) lamps: Option<Time>,
}

/// Who may come in: passwords, tries, and whether anybody new may.
#[derive(Serialize, Deserialize)]
pub(crate) struct Gate {
    pub(crate) door: Door,
    pub(crate) draining: bool,
    pub(crate) overloaded: bool,
}

/// What happened how often; named as metrics are.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) messages: u64,
    pub(crate) refused_messages: u64,
    pub(crate) registrations: u64,
    pub(crate) auth_failures: u64,
    pub(crate) calls: u64,
    pub(crate) calls_refused: u64,
    pub(crate) strays: u64,
    /// ACKs to refusals that nobody remembers.
    #[serde(default)]
    pub(crate) acks_forgotten: u64,
    /// Datagrams of strangers who had sent their share.
    #[serde(default)]
    pub(crate) strangers_unheard: u64,
    /// Datagrams of strangers when all of them together had.
    #[serde(default)]
    pub(crate) strangers_crowded_out: u64,
}

impl Switch {
    /// An exchange that knows nobody yet. `seed` decides tags, branches and ids; `secrets` decides nonce keys.
    pub fn new(config: Config, seed: Seed, secrets: Seed, clock: Clock, now: Time) -> Self {
        let mut chance = Chance::new(seed);
        let mut secrets = Chance::new(secrets);
        let (door, gruus, strangers) = (secrets.fork(), secrets.fork(), secrets.fork());
        Switch {
            endpoint: Endpoint::new(config.endpoint(), chance.fork(), now),
            calls: Calls::new(config.calls_config(), chance.fork(), now),
            registrar: Registrar::new(config.registrar(), now).with_secrets(gruus),
            gate: Gate { door: Door::new(door, config.throttle, now), draining: false, overloaded: false },
            strangers: Strangers::new(strangers),
            directory: Directory::new(now),
            peers: Peers::new(chance.u64(), now),
            stream: Stream::new(ShardId(0)),
            pings: Pings::default(),
            messages: Messages::default(),
            lamps: Lamps::new(&config.server, chance.fork(), now),
            answers: Answers::new(&config.server, chance.fork()),
            counters: Counters::default(),
            wakes: Wakes::default(),
            outputs: VecDeque::new(),
            config,
            clock,
            chance,
        }
    }

    /// Whether a datagram that came so is to be handed in at all: strangers are heard so often only. It is asked before the
    /// datagram is copied.
    pub fn hears(&mut self, flow: &Flow, now: Time) -> bool {
        if !self.config.throttle || self.strangers.is_proven(flow.remote, now) {
            return true;
        }
        let listener = self.config.listeners.get(usize::from(flow.listener));
        if listener.is_some_and(|listener| listener.open) || self.peers.at(flow.remote).is_some() {
            return true;
        }
        match self.strangers.hear(flow.remote, now) {
            Verdict::Heard => return true,
            Verdict::TooMuch => self.counters.strangers_unheard += 1,
            Verdict::Crowded => self.counters.strangers_crowded_out += 1,
        }
        false
    }

    /// Takes one input in. Poll until [`Output::Timeout`] afterwards.
    pub fn handle(&mut self, input: Input, now: Time) {
        match input {
            Input::Message { flow, bytes } => return self.handle_message(flow, bytes, now),
            Input::Connected { id, flow } => self.endpoint.handle_connected(id, flow, now),
            Input::Resolved { question, answer } => self.handle_resolved(&question, answer, now),
            Input::FlowClosed { connection } => self.handle_flow_closed(connection, now),
            Input::SendFailed { flow } => self.endpoint.handle_send_failed(&flow, now),
            Input::Stored { up_to } => self.stream.stored(up_to),
            Input::StoreFailed { up_to } => self.handle_store_failed(up_to, now),
            Input::Found { need, found } => self.handle_known(&need, Known::Found(found), now),
            Input::Learned(found) => self.directory.learn(found, now),
            Input::Absent { need } => self.handle_known(&need, Known::Absent, now),
            Input::Unavailable { need } => {
                let waiting = self.directory.release(&need);
                self.send_away(waiting, now);
            }
            Input::Media(report) => self.calls.handle_media(report, now),
            Input::Command { id, command } => {
                let reply = self.obey(command, now);
                self.outputs.push_back(Output::Reply { id, reply });
            }
            Input::Clock(clock) => self.clock = clock,
            Input::Overloaded(overloaded) => {
                self.gate.overloaded = overloaded;
                self.endpoint.refuse_new(None);
            }
        }
        self.settle(now);
    }

    /// Lets what is due happen. Called at the time that [`Output::Timeout`] named.
    pub fn handle_timeout(&mut self, now: Time) {
        self.endpoint.handle_timeout(now);
        self.calls.handle_timeout(now);
        self.registrar.handle_timeout(now);
        self.lamps.room.handle_timeout(now);
        while let Some(need) = self.directory.overdue(now) {
            let waiting = self.directory.release(&need);
            self.send_away(waiting, now);
        }
        self.handle_names_due(now);
        for held in self.stream.overdue(now) {
            self.endpoint.respond(held.txn, held.response, now);
        }
        self.settle(now);
    }

    /// The next thing to carry out. [`Output::Timeout`] is the last until the next input.
    pub fn poll(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let timers = [
            self.wakes.endpoint,
            self.wakes.calls,
            self.wakes.registrar,
            self.wakes.lamps,
            self.directory.next_at(),
            self.peers.next_at(),
            self.stream.next_at(),
        ];
        Output::Timeout(timers.into_iter().flatten().min())
    }

    /// Puts a binding of the last run back. Its facts are in the store already.
    pub fn restore_binding(
        &mut self,
        account: AccountId,
        user: words::UserId,
        binding: words::StoredBinding,
        now: Time,
    ) {
        if binding.transport == Transport::Udp {
            self.strangers.prove(binding.source, now);
        }
        self.registrar.restore(account, user, binding, &self.clock, now);
    }

    /// How many calls are up.
    pub fn calls_up(&self) -> usize {
        self.calls.len()
    }

    /// Whether the relay has brought the ports that were wished for at the start: until then a call finds none.
    pub fn has_ports(&self) -> bool {
        self.calls.has_ports()
    }

    /// How often there was no media port for a leg of a call.
    pub fn ports_refused(&self) -> u64 {
        self.calls.ports_refused()
    }

    /// How many pairs of media ports of a family are in use, or closed and not reported free yet.
    pub fn ports_taken(&self, family: media::command::Family) -> u32 {
        self.calls.ports(family).taken
    }

    /// Whether the core holds together; tests ask after every input.
    pub fn check(&self) -> Result<(), String> {
        self.calls.check()?;
        self.endpoint.check()?;
        self.registrar.check()?;
        self.lamps.check()?;
        if self.stream.held() > 0 && self.stream.is_settled() {
            return Err(format!("{} answers wait although everything is stored", self.stream.held()));
        }
        Ok(())
    }

    /// Ends every call: the program stops.
    pub fn stop(&mut self, now: Time) {
        self.gate.draining = true;
        let calls: Vec<CallId> = self.calls.views().map(|view| view.call).collect();
        for call in calls {
            self.calls.hang_up(call, words::EndCause::Administrative, now);
        }
        self.settle(now);
    }

    /// After a panic: gives up the call that was being worked on; the others go on.
    pub fn abandon_touched(&mut self, now: Time) -> Option<CallId> {
        let call = self.calls.touched()?;
        self.calls.hang_up(call, words::EndCause::Internal, now);
        self.settle(now);
        Some(call)
    }

    fn handle_message(&mut self, flow: Flow, bytes: Bytes, now: Time) {
        self.counters.messages += 1;
        if self.gate.overloaded || self.endpoint.is_full() {
            let trunk = self.peers.at(flow.remote).is_some();
            let how = if trunk { RetryAfter::Withheld } else { RetryAfter::Told };
            self.endpoint.refuse_when_full(how);
            if self.gate.overloaded {
                self.endpoint.refuse_new(Some(how));
            }
        }
        match self.endpoint.handle_message(flow, bytes, now) {
            Ok(()) => return self.settle(now),
            Err(Refused::Busy) => self.counters.calls_refused += 1,
            Err(Refused::Forgotten) => self.counters.acks_forgotten += 1,
            Err(_) => self.counters.refused_messages += 1,
        }
        // What was refused moved nothing: there is at most its answer.
        self.settle_endpoint(now);
    }

    fn handle_flow_closed(&mut self, connection: ConnectionId, now: Time) {
        self.endpoint.handle_flow_closed(connection, now);
        self.calls.handle_flow_closed(connection, now);
        // Nobody would hear what becomes of requests that still wait for the directory.
        let came_so =
            |waiter: &Waiter| matches!(waiter, Waiter::Request(incoming) if incoming.flow.connection == connection);
        while let Some(Waiter::Request(incoming)) = self.directory.withdraw(came_so) {
            let response = self.answers.overloaded(&incoming.message, true);
            self.endpoint.respond_once(incoming.txn, response);
        }
        self.stream.flow_closed(connection);
        // What was bound over it stays bound, and unreachable, until it expires or comes back.
        self.lamps.room.flow_closed(connection, now);
        for user in self.registrar.flow_closed(connection) {
            self.tell_bound(user, now);
        }
    }

    fn handle_store_failed(&mut self, up_to: Seq, now: Time) {
        let refused = self.stream.failed(up_to);
        let gone = self.stream.take_gone();
        // The last first, as each stands on those before.
        for held in refused.into_iter().rev() {
            let response = match held.promise {
                Promise::Ending => held.response,
                Promise::Registration(promised) => {
                    let Registration { request, account, undo } = *promised;
                    let user = undo.user();
                    let facts = self.registrar.undo(undo, |connection| gone.has(connection), &self.clock, now);
                    for fact in facts {
                        self.say(account, fact, now);
                    }
                    self.tell_bound(user, now);
                    self.answers.overloaded(&request, true)
                }
            };
            self.endpoint.respond(held.txn, response, now);
        }
    }

    fn handle_known(&mut self, need: &Need, known: Known, now: Time) {
        let waiting = self.directory.answer(need, known, now);
        self.resume(waiting, now);
    }

    /// Takes up again what had to wait.
    pub(crate) fn resume(&mut self, waiting: Vec<Waiter>, now: Time) {
        for waiter in waiting {
            match waiter {
                Waiter::Request(incoming) => self.dispatch(*incoming, now),
                Waiter::Plan(call) => self.plan(call, now),
                Waiter::Redirect(leg) => self.redirect(leg, now),
                Waiter::Peer(id) => self.follow_peer(id, now),
            }
        }
    }

    pub(crate) fn say(&mut self, account: AccountId, fact: Fact, now: Time) {
        self.stream.say(account, fact, &self.clock, now);
    }

    pub(crate) fn respond(&mut self, txn: ServerTxn, response: Outgoing, now: Time) {
        self.endpoint.respond(txn, response, now);
    }

    /// Polls the rooms until none has anything more, and gathers what leaves.
    pub(crate) fn settle(&mut self, now: Time) {
        loop {
            let mut moved = self.settle_endpoint(now) | self.settle_calls(now) | self.settle_registrar(now);
            moved |= self.settle_lamps(now);
            while let Some(held) = self.stream.release() {
                self.endpoint.respond(held.txn, held.response, now);
                moved = true;
            }
            if !moved {
                break;
            }
        }
        while let Some(need) = self.directory.poll() {
            self.outputs.push_back(Output::Need(need));
        }
        while let Some(question) = self.peers.names.poll() {
            self.outputs.push_back(Output::Resolve(question));
        }
        while let Some(event) = self.stream.poll() {
            self.outputs.push_back(Output::Event(event));
        }
    }

    fn settle_endpoint(&mut self, now: Time) -> bool {
        let mut moved = false;
        loop {
            match self.endpoint.poll() {
                sip::Output::Transmit { flow, bytes } => self.outputs.push_back(Output::Transmit { flow, bytes }),
                sip::Output::Connect { id, transport, listener, local, remote, peer } => {
                    self.outputs.push_back(Output::Connect { id, transport, listener, local, remote, peer });
                }
                sip::Output::Event(event) => self.handle_sip(event, now),
                sip::Output::Timeout(at) => {
                    self.wakes.endpoint = at;
                    return moved;
                }
            }
            moved = true;
        }
    }

    fn settle_calls(&mut self, now: Time) -> bool {
        let mut moved = false;
        loop {
            match self.calls.poll() {
                b2bua::Output::Request { txn, request, target } => self.endpoint.request(txn, request, target, now),
                b2bua::Output::Respond { txn, response, after_facts } => {
                    let ready = if after_facts {
                        self.stream.hold(txn, response, Promise::Ending, now)
                    } else {
                        Some((txn, response))
                    };
                    if let Some((txn, response)) = ready {
                        self.endpoint.respond(txn, response, now);
                    }
                }
                b2bua::Output::Cancel { txn, reason } => self.endpoint.cancel(txn, reason.as_deref(), now),
                b2bua::Output::Ack { request, target } => self.endpoint.send_ack(request, target, now),
                b2bua::Output::Acked(txn) => self.endpoint.acked(txn),
                b2bua::Output::Media(command) => self.outputs.push_back(Output::Media(command)),
                b2bua::Output::Fact { account, fact } => self.say(account, fact, now),
                b2bua::Output::AskPlan { call } => self.plan(call, now),
                b2bua::Output::AskRedirect { leg } => self.redirect(leg, now),
                b2bua::Output::ServerFailed { target, trouble } => self.handle_server_failed(target, trouble, now),
                b2bua::Output::Timeout(at) => {
                    self.wakes.calls = at;
                    return moved;
                }
            }
            moved = true;
        }
    }
}
