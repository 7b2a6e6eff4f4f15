//! The loop: one thread, one exchange.
//!
//! The order within a turn: what the store said (it releases answers), then what the directory said, datagrams and streams up to a
//! budget, media, commands, timers. Facts of a turn go to the store together at its end. When nothing is left the loop
//! sleeps until something comes.

use super::StartError;
use super::bell::Bell;
use super::facts::Facts;
use super::interface::EdgeGauges;
use super::load::{Lateness, Load};
use super::names::Names;
use super::promises::Promises;
use crate::directory::PeerAddresses;
use crate::edge::{self, Fate, StreamGate};
use crate::setup::Setup;
use api::exchange::Asked;
use bytes::Bytes;
use controller::{CommitLoop, Outcome};
use media::command::MediaReport;
use net::clock::Clocks;
use net::stream::{ConnectError, Connections, NetEvent};
use net::tls::Trust;
use net::udp::Udp;
use relay::Relay;
use sip::Undelivered;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use switch::{Input, Need, Output, ReplyId, Switch};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use words::diagnosis::Diagnosis;
use words::{ConnectionId, Flow, PeerId, Time, Transport};

/// Everything that the loop owns.
pub(crate) struct Running {
    pub(crate) setup: Setup,
    pub(crate) switch: Switch,
    pub(crate) clocks: Clocks,
    pub(crate) wire: Wire,
    pub(crate) inbox: Inbox,
    pub(crate) commit: CommitLoop,
    pub(crate) promises: Promises,
    pub(crate) needs: SyncSender<Need>,
    pub(crate) relay: Relay,
    pub(crate) trace: broadcast::Sender<Arc<str>>,
    pub(crate) gauges: Arc<EdgeGauges>,
    pub(crate) facts: Facts,
    pub(crate) replies: HashMap<ReplyId, oneshot::Sender<switch::Reply>>,
    pub(crate) last_reply: ReplyId,
    pub(crate) load: Load,
    pub(crate) wake: Option<Time>,
    /// Wakes the loop at the time that was wanted soonest.
    pub(crate) alarm: Pin<Box<Sleep>>,
}

/// What carries messages.
pub(crate) struct Wire {
    pub(crate) udp: Udp,
    pub(crate) connections: Connections,
    /// Which strangers `connections` hears.
    pub(crate) gate: StreamGate,
    pub(crate) names: Names,
    /// Whom to trust when a peer is connected to.
    pub(crate) peers: PeerAddresses,
    pub(crate) counters: WireCounters,
}

/// What the edge saw, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WireCounters {
    pub(crate) keep_alives: u64,
    pub(crate) garbage: u64,
    pub(crate) foreign: u64,
    /// What had no room on its way out.
    pub(crate) unsent: u64,
    pub(crate) panics: u64,
}

/// What comes from other threads and tasks; each channel is bounded where it is made.
pub(crate) struct Inbox {
    pub(crate) net: mpsc::Receiver<NetEvent>,
    /// From the directory.
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) reports: std::sync::mpsc::Receiver<MediaReport>,
    /// Rung when there are reports, and when the store said something.
    pub(crate) bell: Bell,
    pub(crate) commands: mpsc::Receiver<Asked>,
    pub(crate) stop: mpsc::Receiver<()>,
}

impl Running {
    /// Runs until a signal comes, then ends what it can within [`GRACE`]: calls hear goodbye, facts are stored.
    pub(crate) async fn until_stopped(mut self) -> Result<(), StartError> {
        self.turns().await;
        tracing::info!("stopping");
        self.wire.connections.stop_accepting();
        let now = self.clocks.now();
        self.guarded(|switch| switch.stop(now));
        let deadline = self.clocks.now() + GRACE;
        while self.switch.calls_up() > 0 && self.clocks.now() < deadline {
            self.turn();
            tokio::time::sleep(STEP).await;
        }
        self.turn();
        let deadline = self.clocks.now() + GRACE;
        while !self.facts.is_empty() && self.clocks.now() < deadline {
            tokio::time::sleep(STEP).await;
            self.store();
        }
        self.wire.connections.shutdown(STEP).await;
        self.commit.stop();
        Ok(())
    }

    /// Lets the relay bind its first ports, as who calls in the first moment would find none. Where they cannot be bound,
    /// the start goes on: calls without media ports of their own are refused and told of.
    pub(crate) fn await_ports(&mut self) {
        self.input(Input::Clock(self.clocks.clock()));
        let deadline = self.clocks.now() + PORTS_WITHIN;
        while !self.switch.has_ports() && self.clocks.now() < deadline {
            if let Ok(report) = self.inbox.reports.recv_timeout(STEP) {
                self.input(Input::Media(report));
            }
        }
    }

    async fn turns(&mut self) {
        loop {
            self.turn();
            if !self.sleep().await {
                return;
            }
        }
    }

    fn turn(&mut self) {
        for outcome in self.promises.take() {
            self.input(match outcome {
                Outcome::Stored { up_to, .. } => Input::Stored { up_to },
                Outcome::Failed { up_to, .. } => Input::StoreFailed { up_to },
            });
        }
        while let Ok(input) = self.inbox.inputs.try_recv() {
            self.input(input);
        }
        self.datagrams();
        self.streams();
        while let Ok(report) = self.inbox.reports.try_recv() {
            self.input(Input::Media(report));
        }
        self.commands();
        let now = self.clocks.now();
        if self.wake.is_some_and(|at| at <= now) {
            self.guarded(|switch| switch.handle_timeout(now));
        }
        self.tell_ports(now);
        if now >= self.load.next_clock {
            self.load.next_clock = now + CLOCK_EVERY;
            self.input(Input::Clock(self.clocks.clock()));
            self.look_after();
        }
        self.store();
    }

    /// Says that calls found no media ports: once in a while, with how many there were since the last time.
    fn tell_ports(&mut self, now: Time) {
        let refused = self.switch.ports_refused();
        if refused > std::mem::replace(&mut self.load.ports_missed, refused) {
            self.load.short_until = now + PORTS_SHORT;
        }
        if now < self.load.short_until {
            self.relay.settle();
        }
        if refused == self.load.ports_refused || now < self.load.next_ports {
            return;
        }
        let legs = refused.saturating_sub(self.load.ports_refused);
        (self.load.ports_refused, self.load.next_ports) = (refused, now + PORTS_TOLD_EVERY);
        let text = Diagnosis::PortsExhausted.text(words::diagnosis::Language::En);
        tracing::warn!(diag = Diagnosis::PortsExhausted.id(), legs, "{} {} {}", text.what, text.means, text.todo);
    }

    fn datagrams(&mut self) {
        let now = self.clocks.now();
        self.shed(self.load.datagrams.lasts(now));
        for taken in 1..=DATAGRAMS_PER_TURN {
            let (setup, switch) = (&self.setup, &mut self.switch);
            let sorted = self.wire.udp.try_recv_with(|bytes, flow| {
                let fate = if may_speak(setup, &flow) {
                    edge::sort(bytes, &flow, |flow| switch.hears(flow, now))
                } else {
                    Fate::Foreign
                };
                (fate, flow)
            });
            let Some((fate, flow)) = sorted else {
                self.load.backlog = false;
                self.load.datagrams = Lateness::default();
                return self.shed(false);
            };
            if taken % WEIGHED == 0 {
                let late = self.load.datagrams.judge(self.wire.udp.waited(), self.clocks.now());
                self.shed(late);
            }
            self.datagram(fate, flow);
        }
        self.load.backlog = true;
    }

    /// Sheds new work while what comes has waited too long: datagrams by the last one that was asked, of streams each message by
    /// itself, so that a flood over the one costs the other nothing. Refusing costs a tenth of a call, so a backlog of new
    /// calls shrinks as soon as they are late, and what is under way is hardly held up.
    fn shed(&mut self, late: bool) {
        if late == self.load.shedding {
            return;
        }
        self.load.shedding = late;
        let now = self.clocks.now();
        if late && now >= self.load.next_warning {
            self.load.next_warning = now + CLOCK_EVERY;
            tracing::warn!("the loop is at its limit: calls that come too late are refused");
        }
        self.input(Input::Overloaded(late));
    }

    fn datagram(&mut self, fate: Fate, flow: Flow) {
        match fate {
            Fate::Sip(bytes) => self.message(flow, bytes),
            Fate::Answer(answer) => {
                // An unsent STUN answer is asked for again.
                let sent = self.wire.udp.send(&flow, &answer);
                self.wire.counters.unsent += u64::from(sent.is_err());
            }
            Fate::KeepAlive => self.wire.counters.keep_alives += 1,
            Fate::Unheard => {}
            Fate::Garbage => self.wire.counters.garbage += 1,
            Fate::Foreign => self.wire.counters.foreign += 1,
        }
    }

    fn streams(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            let Ok(event) = self.inbox.net.try_recv() else {
                self.load.streams = Lateness::default();
                return;
            };
            self.stream_event(event);
        }
        self.load.backlog = true;
    }

    fn stream_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Received { flow, bytes, since } if may_speak(&self.setup, &flow) => {
                let now = self.clocks.now();
                let late = self.load.streams.judge(now.since(since), now);
                self.shed(late);
                self.message(flow, bytes);
            }
            NetEvent::Received { flow, .. } => {
                self.wire.counters.foreign += 1;
                self.wire.connections.close(flow.connection);
            }
            NetEvent::Stun { flow, bytes } => {
                match edge::answer_stun(&bytes, &flow) {
                    // Who reads nothing asks again.
                    Some(answer) => {
                        let sent = self.wire.connections.send(flow.connection, answer.into());
                        self.wire.counters.unsent += u64::from(sent.is_err());
                    }
                    None => self.wire.counters.garbage += 1,
                }
            }
            NetEvent::Connected { id, result } => {
                let flow = result.map_err(|error| tell_not_connected(&error));
                self.input(Input::Connected { id, flow });
            }
            NetEvent::Closed { connection, flow, why, detail } => {
                tracing::debug!(remote = %flow.remote, ?why, detail, "a connection ended");
                self.input(Input::FlowClosed { connection });
            }
            NetEvent::TlsFailed { remote, diagnosis, detail, .. } => tell_tls_failure(remote, diagnosis, &detail),
        }
    }

    fn commands(&mut self) {
        while let Ok(asked) = self.inbox.commands.try_recv() {
            self.asked(asked);
        }
    }

    fn asked(&mut self, (command, reply): Asked) {
        self.last_reply += 1;
        self.replies.insert(self.last_reply, reply);
        self.input(Input::Command { id: self.last_reply, command });
    }

    fn message(&mut self, flow: Flow, bytes: Bytes) {
        self.traced("<-", &flow, &bytes);
        self.input(Input::Message { flow, bytes });
    }

    fn input(&mut self, input: Input) {
        let now = self.clocks.now();
        self.guarded(|switch| switch.handle(input, now));
    }

    /// A panic ends the input that caused it and nothing else: it is counted and told, the others go on.
    fn guarded(&mut self, work: impl FnOnce(&mut Switch)) {
        if catch_unwind(AssertUnwindSafe(|| work(&mut self.switch))).is_err() {
            self.wire.counters.panics += 1;
            let now = self.clocks.now();
            let call = catch_unwind(AssertUnwindSafe(|| self.switch.abandon_touched(now)));
            tracing::error!(
                ?call,
                "an input broke the exchange's code: the call it touched is ended, the others go on"
            );
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            match self.switch.poll() {
                Output::Transmit { flow, bytes } => self.transmit(flow, bytes),
                Output::Connect { id, transport, listener, local, remote, peer } => {
                    let trust = self.wire.trust(peer);
                    self.wire.connections.connect(id, transport, listener, local, remote, trust);
                }
                Output::Resolve(question) => {
                    if let Some(refused) = self.wire.names.ask(question) {
                        let now = self.clocks.now();
                        self.switch.handle(refused, now);
                    }
                }
                Output::Proven { connection } => self.prove(connection),
                Output::Sources(sources) => self.wire.gate.set_peers(sources),
                Output::Event(event) => self.facts.push(event),
                Output::Need(need) => {
                    if let Err(refused) = self.needs.try_send(need) {
                        let (std::sync::mpsc::TrySendError::Full(need)
                        | std::sync::mpsc::TrySendError::Disconnected(need)) = refused;
                        let now = self.clocks.now();
                        self.switch.handle(Input::Unavailable { need }, now);
                    }
                }
                Output::Media(command) => self
                    .relay
                    .apply(command)
                    .unwrap_or_else(|full| tracing::error!(%full, "the relay takes no command")),
                Output::Reply { id, mut reply } => {
                    if let Some(sender) = self.replies.remove(&id) {
                        if let switch::Reply::Status(status) = &mut reply {
                            status.counters.extend(self.wire.counted());
                        }
                        // Who asked may be gone.
                        let _ = sender.send(reply);
                    }
                }
                Output::Timeout(at) => {
                    self.wake = at;
                    return;
                }
            }
        }
    }

    fn prove(&self, connection: ConnectionId) {
        if let Some(flow) = self.wire.connections.flow(connection) {
            self.wire.gate.prove(flow.remote.ip(), self.clocks.now());
        }
        self.wire.connections.prove(connection);
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.traced("->", &flow, &bytes);
        let sent = if flow.transport == Transport::Udp {
            self.wire.udp.send(&flow, &bytes)
        } else {
            self.wire.connections.send(flow.connection, bytes)
        };
        match sent {
            Ok(()) => {}
            Err(net::SendError::Full) => self.wire.counters.unsent += 1,
            Err(_) => {
                let now = self.clocks.now();
                self.switch.handle(Input::SendFailed { flow }, now);
            }
        }
    }

    /// Hands the facts of this turn over. While there is no room they wait here, and the exchange takes nothing new once too
    /// many do; what the store says next wakes the loop, which tries again.
    fn store(&mut self) {
        let commit = &self.commit;
        if self.facts.hand_over(|events| commit.append(events)) {
            tracing::error!("the store is too slow: what calls say waits for it, and new ones will be refused");
        }
    }

    /// Waits for something to do; `false` when the loop is to end.
    async fn sleep(&mut self) -> bool {
        if self.load.backlog {
            // Connections are tasks of this thread: a flood must not keep them waiting.
            tokio::task::yield_now().await;
            return self.inbox.stop.try_recv().is_err();
        }
        let wake = self.wake.map_or(self.load.next_clock, |at| at.min(self.load.next_clock));
        let deadline = Instant::from_std(self.clocks.instant(wake));
        // Most deadlines move away before they come. One that is too soon wakes for nothing once; moving it each time costs more.
        if self.alarm.is_elapsed() || deadline < self.alarm.deadline() {
            self.alarm.as_mut().reset(deadline);
        }
        let next = std::future::poll_fn(|cx| self.poll_woken(cx)).await;
        match next {
            Woken::ByItself => {}
            Woken::Stopped => return false,
            Woken::Input(input) => self.input(input),
            Woken::Net(event) => self.stream_event(event),
            Woken::Asked(asked) => self.asked(*asked),
        }
        true
    }

    /// Whether there is something to do. Each place stays told whom to wake, so that a turn costs none of them a visit more.
    fn poll_woken(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        let inbox = &mut self.inbox;
        if self.wire.udp.poll_readable(cx).is_ready() || inbox.bell.poll_rung(cx).is_ready() {
            return Poll::Ready(Woken::ByItself);
        }
        if let Poll::Ready(Some(input)) = inbox.inputs.poll_recv(cx) {
            return Poll::Ready(Woken::Input(input));
        }
        if let Poll::Ready(Some(event)) = inbox.net.poll_recv(cx) {
            return Poll::Ready(Woken::Net(event));
        }
        if let Poll::Ready(Some(asked)) = inbox.commands.poll_recv(cx) {
            return Poll::Ready(Woken::Asked(Box::new(asked)));
        }
        if inbox.stop.poll_recv(cx).is_ready() {
            return Poll::Ready(Woken::Stopped);
        }
        self.alarm.as_mut().poll(cx).map(|()| Woken::ByItself)
    }

    /// What is done now and then: follow the host's addresses, let idle media workers give ports back, count.
    fn look_after(&mut self) {
        match self.wire.udp.refresh() {
            Ok(true) => tracing::info!("the host's addresses changed: listening on the new ones"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "a new address of the host cannot be listened on"),
        }
        self.relay.settle();
        self.count();
    }

    fn count(&self) {
        let counters = self.relay.counters();
        let packets = counters.totals;
        self.gauges.rtp_packets_in_kernel.store(counters.packets_carried, Ordering::Relaxed);
        self.gauges.rtp_flows_in_kernel.store(counters.carried, Ordering::Relaxed);
        self.gauges.rtp_flows_refused.store(counters.flows_refused, Ordering::Relaxed);
        self.gauges.rtp_in.store(packets.packets_in, Ordering::Relaxed);
        self.gauges.rtp_out.store(packets.packets, Ordering::Relaxed);
        self.gauges.rtp_forged.store(packets.dropped_forged, Ordering::Relaxed);
        self.gauges.rtp_replayed.store(packets.dropped_replayed, Ordering::Relaxed);
        self.gauges.rtp_dropped.store(packets.dropped_source + packets.dropped_type, Ordering::Relaxed);
        *self.gauges.judged.lock().unwrap_or_else(PoisonError::into_inner) = (packets.judged, counters.delays);
        self.gauges.connections.store(self.wire.connections.len() as u64, Ordering::Relaxed);
    }

    fn traced(&self, arrow: &str, flow: &Flow, bytes: &Bytes) {
        if self.trace.receiver_count() > 0 {
            let text = format!("{arrow} {} {}\n{}", flow.transport, flow.remote, String::from_utf8_lossy(bytes));
            // Nobody listening any more is no loss.
            let _ = self.trace.send(text.into());
        }
    }
}

impl Wire {
    /// What the edge saw, by the names of metrics.
    fn counted(&self) -> [(&'static str, u64); 16] {
        let WireCounters { keep_alives, garbage, foreign, unsent, panics } = self.counters;
        let streams = self.connections.counters();
        [
            ("connections_accepted", streams.accepted),
            ("connections_refused_full", streams.refused_full),
            ("connections_refused_source", streams.refused_source),
            ("connections_refused_strangers", streams.refused_stranger),
            ("connections_held_back", streams.held_back),
            ("connections_timed_out", streams.timed_out),
            ("connections_slow_readers", streams.slow_readers),
            ("connections_malformed", streams.malformed),
            ("connections_tls_failed", streams.tls_failed),
            ("connections_ws_failed", streams.ws_failed),
            ("sip_garbage", garbage),
            ("sip_keep_alives", keep_alives),
            ("sip_foreign", foreign),
            ("sip_unsent", unsent),
            // What the kernel dropped for want of room.
            ("sip_overflowed", self.udp.overflowed()),
            ("panics", panics),
        ]
    }

    /// Whose certificate a connection has to show.
    fn trust(&self, peer: Option<PeerId>) -> Trust {
        let Some(peer) = peer else { return Trust::Anybody };
        let peers = self.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        peers.get(&peer).map_or(Trust::Nobody, |reach| reach.trust.clone())
    }
}

enum Woken {
    ByItself,
    Stopped,
    Input(Input),
    Net(NetEvent),
    Asked(Box<Asked>),
}

/// Why a connection could not be opened, for the log and for the exchange.
fn tell_not_connected(error: &ConnectError) -> Undelivered {
    let Some(diagnosis) = error.diagnosis else {
        tracing::warn!(%error, "a connection could not be opened");
        return Undelivered::Unreachable;
    };
    let text = diagnosis.text(words::diagnosis::Language::En);
    tracing::warn!(diag = diagnosis.id(), %error, "{} {} {}", text.what, text.means, text.todo);
    match diagnosis {
        Diagnosis::TlsPeerOtherName | Diagnosis::TlsPeerUntrusted => Undelivered::Untrusted,
        Diagnosis::AddressNotOwned
        | Diagnosis::BadCertificate
        | Diagnosis::CapacityLow
        | Diagnosis::DataUnwritable
        | Diagnosis::KernelTierForbidden
        | Diagnosis::KernelTierFull
        | Diagnosis::KernelTierOccupied
        | Diagnosis::KernelTierUnsupported
        | Diagnosis::PortInUse
        | Diagnosis::PortsExhausted
        | Diagnosis::ReceiveBufferSmall
        | Diagnosis::StoreFailing
        | Diagnosis::TlsNoCommonCipher
        | Diagnosis::TlsUntrusted
        | Diagnosis::TlsUnverified => Undelivered::Unreachable,
    }
}

/// Whether a source may speak at all: the bench profile serves loopback and the network that was allowed.
fn may_speak(setup: &Setup, flow: &Flow) -> bool {
    !setup.is_bench()
        || flow.remote.ip().is_loopback()
        || setup.allow.is_some_and(|network| network.contains(flow.remote.ip()))
}

fn tell_tls_failure(remote: std::net::SocketAddr, diagnosis: Option<words::diagnosis::Diagnosis>, detail: &str) {
    let Some(diagnosis) = diagnosis else {
        return tracing::info!(%remote, detail, "a TLS handshake failed");
    };
    let text = diagnosis.text(words::diagnosis::Language::En);
    tracing::warn!(diag = diagnosis.id(), %remote, detail, "{} {} {}", text.what, text.means, text.todo);
}

/// Datagrams of one turn, so that everything else has its turn under a flood.
const DATAGRAMS_PER_TURN: usize = 64;
/// Stream events of one turn. Connections, of which 61 run between two turns, are to put in more than is taken out: what
/// waits does so in the queue, where its age is known, and not in sockets that nobody has looked at.
const EVENTS_PER_TURN: usize = 16;
/// Every so many datagrams of a turn the loop asks how long the one in hand has waited.
const WEIGHED: usize = 8;
/// How often both clocks are read together, so that a stepped wall clock is seen.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// How long a start waits for media ports.
const PORTS_WITHIN: Duration = Duration::from_millis(500);
/// How long after ports were missing each end of a call wakes its worker, so that the next call has its ports.
const PORTS_SHORT: Duration = Duration::from_mins(1);
/// How often at most the log says that there are no media ports.
const PORTS_TOLD_EVERY: Duration = Duration::from_mins(1);
/// How long a stop waits for calls to end.
const GRACE: Duration = Duration::from_secs(3);
/// How often it looks.
const STEP: Duration = Duration::from_millis(10);
