//! Streams: TCP, TLS and WebSocket connections of one loop, accepted and opened, each a small task beside the loop.
//!
//! What comes in goes to the loop over one bounded channel; when that is full, connections wait and TCP slows their
//! senders down. What goes out never waits: it is written at once where the kernel takes it, kept up to
//! [`Limits::backlog_bytes`] where it does not, and past that the connection ends.
//! No connection has a timer of its own: one sweep a second looks at those whose deadline came.

mod carrier;
mod connection;
mod event;
mod serve;
mod table;

pub use event::{CloseReason, ConnectError, Framed, Frames, Gate, NetEvent};

use crate::clock::Clocks;
use crate::tls::{Acceptor, Authorities, Connector, Trust};
use crate::{BindError, SendError};
use bytes::Bytes;
use connection::Connection;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use table::Table;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::AbortHandle;
use words::{ConnectionId, Flow, TimerQueue, Transport, limit};

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections, accepted and opened together. Above it new ones are closed at once.
    pub connections: usize,
    /// The most accepted connections from one IPv4 address or IPv6 /64.
    pub per_source: usize,
    /// How long TLS and WebSocket handshakes, or opening a connection, may take.
    pub open: Duration,
    /// How long an accepted connection may live without one complete message.
    pub silent: Duration,
    /// How long one that did say something may then be silent, unless [`Connections::prove`] was called for it.
    pub idle: Duration,
    /// How long a message may take from its first to its last byte.
    pub frame: Duration,
    /// How long the other side may read nothing of what waits for it.
    pub stall: Duration,
    /// How often the deadlines above are looked at.
    pub sweep: Duration,
    /// What may wait for a slow reader. Units: bytes.
    pub backlog_bytes: usize,
    /// The most events that wait for the loop.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 20_000,
            per_source: 2_000,
            open: Duration::from_secs(10),
            silent: Duration::from_mins(1),
            idle: Duration::from_mins(15),
            frame: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            sweep: Duration::from_secs(1),
            backlog_bytes: limit::STREAM_BACKLOG_BYTES,
            events: 4_096,
        }
    }
}

/// What [`Connections::new`] needs.
pub struct Config {
    /// What connections may cost.
    pub limits: Limits,
    /// The clocks of the loop.
    pub clocks: Clocks,
    /// Makes what cuts a new connection's bytes into messages.
    pub frames: Box<dyn Fn() -> Box<dyn Frames>>,
    /// Decides which strangers are heard; `None` when all are.
    pub gate: Option<Box<dyn Gate>>,
    /// Our certificate; without it no TLS or WSS listener can be opened.
    pub acceptor: Option<Acceptor>,
    /// Who vouches for those to whom we connect.
    pub authorities: Authorities,
}

/// What happened to connections since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections opened by us.
    pub connected: u64,
    /// Connections that we could not open.
    pub connect_failed: u64,
    /// Closed at once: [`Limits::connections`].
    pub refused_full: u64,
    /// Closed at once: [`Limits::per_source`].
    pub refused_source: u64,
    /// Closed at once: the [`Gate`] does not hear who connects.
    pub refused_stranger: u64,
    /// How often a connection was not read for [`HELD_BACK`], because the [`Gate`] did not hear its source.
    pub held_back: u64,
    /// Accept calls that failed, mostly for want of descriptors.
    pub accept_failed: u64,
    /// TLS handshakes that failed.
    pub tls_failed: u64,
    /// WebSocket handshakes that failed.
    pub ws_failed: u64,
    /// Complete messages handed to the loop.
    pub received: u64,
    /// Messages taken for sending.
    pub sent: u64,
    /// Connections ended by a time limit: silent, idle, slow to open or to finish a message.
    pub timed_out: u64,
    /// Connections ended because the other side did not read.
    pub slow_readers: u64,
    /// Connections ended because their bytes were no messages.
    pub malformed: u64,
    /// Reports about failed handshakes that found the event queue full.
    pub reports_dropped: u64,
}

/// The stream connections of one loop; copies are the same. Must be made and used inside a `LocalSet`.
#[derive(Clone)]
pub struct Connections(Rc<Shared>);

/// What the tasks of all connections use.
struct Shared {
    limits: Limits,
    clocks: Clocks,
    frames: Box<dyn Fn() -> Box<dyn Frames>>,
    gate: Option<Box<dyn Gate>>,
    acceptor: Option<Acceptor>,
    connector: Connector,
    events: mpsc::Sender<NetEvent>,
    table: RefCell<Table>,
    timers: RefCell<TimerQueue<ConnectionId>>,
    counters: Cell<Counters>,
    /// Handshakes that may compute at a time, on threads of their own.
    jobs: Semaphore,
    /// Where all connections read into.
    scratch: RefCell<Box<[u8]>>,
    /// Tells [`Connections::shutdown`] that the last connection is gone.
    emptied: Notify,
    /// The tasks that accept.
    listeners: RefCell<Vec<AbortHandle>>,
    /// The task that looks at deadlines.
    sweep: Cell<Option<AbortHandle>>,
}

impl Connections {
    /// No connections yet, and the channel by which the loop hears of them.
    pub fn new(config: Config) -> (Self, mpsc::Receiver<NetEvent>) {
        let (events, receiver) = mpsc::channel(config.limits.events.max(1));
        let shared = Rc::new(Shared {
            limits: config.limits,
            clocks: config.clocks,
            frames: config.frames,
            gate: config.gate,
            acceptor: config.acceptor,
            connector: Connector::new(config.authorities),
            events,
            table: RefCell::new(Table::default()),
            timers: RefCell::new(TimerQueue::new(config.clocks.now())),
            counters: Cell::new(Counters::default()),
            jobs: Semaphore::new(handshake_jobs()),
            scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
            emptied: Notify::new(),
            listeners: RefCell::new(Vec::new()),
            sweep: Cell::new(None),
        });
        let sweep = tokio::task::spawn_local(serve::sweep(Rc::clone(&shared)));
        shared.sweep.set(Some(sweep.abort_handle()));
        (Connections(shared), receiver)
    }

    /// Accepts connections at `address`, which may be a wildcard: a flow's local address never is. Answers with the
    /// address that it got.
    ///
    /// # Errors
    /// What the kernel said; `NotFound` for a secure transport without a certificate, `Unsupported` for UDP.
    pub fn listen(&self, listener: u16, transport: Transport, address: SocketAddr) -> Result<SocketAddr, BindError> {
        let failed = |source| BindError { transport, address, source };
        if transport == Transport::Udp {
            return Err(failed(io::ErrorKind::Unsupported.into()));
        }
        if transport.is_secure() && self.0.acceptor.is_none() {
            return Err(failed(io::Error::new(io::ErrorKind::NotFound, "no certificate")));
        }
        let socket = serve::open_listener(address).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        let task = tokio::task::spawn_local(serve::accept(Rc::clone(&self.0), listener, transport, socket, bound));
        self.0.listeners.borrow_mut().push(task.abort_handle());
        Ok(bound)
    }

    /// Opens a connection from the address of `local` (its port is not used) to `remote`. The answer is
    /// [`NetEvent::Connected`] with this `id`, exactly once. `trust` says whose certificate will do on TLS.
    pub fn connect(
        &self,
        id: u64,
        transport: Transport,
        listener: u16,
        local: SocketAddr,
        remote: SocketAddr,
        trust: Trust,
    ) {
        let wanted = Flow { transport, listener, connection: ConnectionId::NONE, local, remote };
        tokio::task::spawn_local(serve::connect(Rc::clone(&self.0), id, wanted, trust));
    }

    /// Sends one message. Never waits.
    ///
    /// # Errors
    /// `Gone` when the connection is closed or closing. `Full` when the other side left too much unread: it ends.
    pub fn send(&self, id: ConnectionId, bytes: Bytes) -> Result<(), SendError> {
        let connection = self.0.table.borrow().get(id).cloned().ok_or(SendError::Gone)?;
        connection.send(&self.0, bytes)?;
        self.0.count(|c| c.sent += 1);
        Ok(())
    }

    /// Says that who is at the other end has shown who they are: silence then no longer ends the connection.
    pub fn prove(&self, id: ConnectionId) {
        if let Some(connection) = self.0.table.borrow().get(id) {
            connection.prove();
        }
    }

    /// Ends a connection after what waits was written. [`NetEvent::Closed`] follows.
    pub fn close(&self, id: ConnectionId) {
        let found = self.0.table.borrow().get(id).cloned();
        if let Some(connection) = found {
            connection.end(&self.0, CloseReason::Ours);
        }
    }

    /// The flow of an open connection.
    pub fn flow(&self, id: ConnectionId) -> Option<Flow> {
        self.0.table.borrow().get(id).map(|connection| connection.flow())
    }

    /// How many connections there are, those being opened included.
    pub fn len(&self) -> usize {
        self.0.table.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.0.counters.get()
    }

    /// Stops to accept; connections go on.
    pub fn stop_accepting(&self) {
        for task in self.0.listeners.borrow_mut().drain(..) {
            task.abort();
        }
    }

    /// Stops to accept, ends all connections after what waits was written, and cuts what is left after `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        self.stop_accepting();
        self.end_all(CloseReason::Ours);
        if tokio::time::timeout(grace, self.emptied()).await.is_err() {
            self.end_all(CloseReason::Cut);
        }
        if let Some(sweep) = self.0.sweep.take() {
            sweep.abort();
        }
    }

    async fn emptied(&self) {
        while !self.is_empty() {
            self.0.emptied.notified().await;
        }
    }

    fn end_all(&self, why: CloseReason) {
        let all: Vec<Rc<Connection>> = self.0.table.borrow().iter().cloned().collect();
        for connection in all {
            connection.end(&self.0, why);
        }
    }
}

impl Shared {
    /// Whether a stranger is heard now: who connects, or what comes next over a connection.
    fn hears(&self, flow: &Flow) -> bool {
        self.gate.as_ref().is_none_or(|gate| gate.hears(flow, self.clocks.now()))
    }

    fn count(&self, add: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        add(&mut counters);
        self.counters.set(counters);
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).field("counters", &self.counters()).finish()
    }
}

/// Handshakes that compute at the same time: half the cores. A handshake costs about a millisecond of signing, which
/// must not hold up the loop, and a rush of phones after a power cut must not take the whole machine.
fn handshake_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, HANDSHAKE_JOBS))
}

/// How long a connection rests whose source the [`Gate`] does not hear.
pub const HELD_BACK: Duration = Duration::from_secs(1);
/// The most handshakes that compute at the same time.
const HANDSHAKE_JOBS: usize = 4;
/// What one read may bring. Units: bytes.
const READ_BYTES: usize = 16 * 1024;
