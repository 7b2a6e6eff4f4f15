//! The tasks: accepting, opening, the life of one connection, and the sweep over all.

use super::carrier::{Carrier, Inbound};
use super::connection::Connection;
use super::{CloseReason, ConnectError, Framed, NetEvent, Shared};
use crate::tls::{self, TlsFailure, Trust};
use crate::udp::unlabelled;
use crate::wire::{TlsWire, Wire};
use crate::ws;
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use words::{ConnectionId, Flow, Transport};

/// Opens a listening socket. Accepted sockets inherit its options, which saves five calls on each.
pub(super) fn open_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    set_options(&socket2::SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn set_options(socket: &socket2::SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // The kernel finds out about phones that vanished without a word, without a timer of ours.
    let probes = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    socket.set_tcp_keepalive(&probes.with_retries(KEEPALIVE_PROBES))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// Accepts for ever.
pub(super) async fn accept(
    shared: Rc<Shared>,
    listener: u16,
    transport: Transport,
    socket: TcpListener,
    bound: SocketAddr,
) {
    loop {
        let Ok((tcp, remote)) = socket.accept().await else {
            shared.count(|c| c.accept_failed += 1);
            // Mostly no descriptor is free: trying again at once would only burn time.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let remote = unlabelled(remote);
        if shared.table.borrow().len() >= shared.limits.connections {
            shared.count(|c| c.refused_full += 1);
            continue;
        }
        if shared.table.borrow().of_source(remote.ip()) >= shared.limits.per_source {
            shared.count(|c| c.refused_source += 1);
            continue;
        }
        let local = if bound.ip().is_unspecified() { tcp.local_addr().map_or(bound, unlabelled) } else { bound };
        let flow = Flow { transport, listener, connection: ConnectionId::NONE, local, remote };
        if !shared.hears(&flow) {
            shared.count(|c| c.refused_stranger += 1);
            continue;
        }
        shared.count(|c| c.accepted += 1);
        let place = Place::take(&shared, flow, true);
        tokio::task::spawn_local(serve(place, tcp));
    }
}

/// Looks at the connections whose timer fired, every [`super::Limits::sweep`].
pub(super) async fn sweep(shared: Rc<Shared>) {
    let mut tick = tokio::time::interval(shared.limits.sweep);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = shared.clocks.now();
        let mut left = SWEEP_BUDGET;
        loop {
            let Some(id) = shared.timers.borrow_mut().pop(now) else { break };
            let connection = shared.table.borrow().get(id).cloned();
            if let Some(connection) = connection {
                connection.timer_fired(&shared, now);
            }
            left -= 1;
            if left == 0 {
                left = SWEEP_BUDGET;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The life of an accepted connection.
async fn serve(place: Place, tcp: TcpStream) {
    let flow = place.connection.flow();
    let opened = match flow.transport {
        Transport::Udp | Transport::Tcp => Ok(place.shared.stream(Wire::Plain(tcp))),
        Transport::Tls | Transport::Ws | Transport::Wss => {
            let opening = open_accepted(&place.shared, flow.transport, tcp);
            // In a box that is gone when it is open: a handshake needs much more room than an idle connection.
            let opened = or_ended(&place.connection, Box::pin(opening)).await;
            opened.unwrap_or_else(|why| Err(OpenError::Ended(why)))
        }
    };
    match opened {
        Ok(carrier) => {
            place.connection.open(&place.shared, flow, carrier);
            live(place).await;
        }
        Err(error) => report_not_opened(&place.shared, flow, error),
    }
}

/// Why an accepted connection did not open.
enum OpenError {
    Ended(CloseReason),
    Tls(TlsFailure),
    Socket(ws::Refused),
}

async fn open_accepted(shared: &Shared, transport: Transport, tcp: TcpStream) -> Result<Carrier, OpenError> {
    let mut wire = Wire::Plain(tcp);
    if transport.is_secure()
        && let Wire::Plain(tcp) = wire
    {
        let acceptor = shared.acceptor.as_ref().expect("a secure listener is refused without a certificate");
        let state = acceptor.begin().map_err(OpenError::Tls)?;
        let state = tls::handshake(&tcp, state.into(), &shared.jobs).await.map_err(OpenError::Tls)?;
        wire = Wire::Tls(Box::new(TlsWire { tcp, tls: state }));
    }
    match transport {
        Transport::Udp | Transport::Tcp | Transport::Tls => Ok(shared.stream(wire)),
        Transport::Ws | Transport::Wss => {
            let socket = ws::accept(&mut wire).await.map_err(OpenError::Socket)?;
            Ok(Carrier::Socket { wire, socket: Box::new(socket) })
        }
    }
}

fn report_not_opened(shared: &Shared, flow: Flow, error: OpenError) {
    match error {
        OpenError::Ended(why) => tracing::debug!(%flow, ?why, "ended before it was open"),
        OpenError::Socket(refused) => {
            shared.count(|c| c.ws_failed += 1);
            tracing::debug!(%flow, why = %refused, "no WebSocket");
        }
        OpenError::Tls(failure) => report_tls(shared, flow, failure),
    }
}

fn report_tls(shared: &Shared, flow: Flow, failure: TlsFailure) {
    shared.count(|c| c.tls_failed += 1);
    let Flow { listener, transport, remote, .. } = flow;
    let TlsFailure { diagnosis, detail, .. } = failure;
    let report = NetEvent::TlsFailed { listener, transport, remote, diagnosis, detail };
    if shared.events.try_send(report).is_err() {
        shared.count(|c| c.reports_dropped += 1);
    }
}

/// Opens a connection and then lives it.
pub(super) async fn connect(shared: Rc<Shared>, id: u64, wanted: Flow, trust: Trust) {
    if shared.table.borrow().len() >= shared.limits.connections {
        shared.count(|c| c.refused_full += 1);
        let full = io::Error::new(io::ErrorKind::QuotaExceeded, "the limit of connections is reached");
        return answer_connect(&shared, id, Err(full.into())).await;
    }
    let place = Place::take(&shared, wanted, false);
    let opening = Box::pin(open_outgoing(&shared, wanted, trust));
    let opened = match or_ended(&place.connection, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    };
    match opened {
        Ok((carrier, local)) => {
            let flow = Flow { local, connection: place.connection.id(), ..wanted };
            place.connection.open(&shared, flow, carrier);
            place.connection.announce();
            shared.count(|c| c.connected += 1);
            answer_connect(&shared, id, Ok(flow)).await;
            live(place).await;
        }
        Err(error) => {
            drop(place);
            shared.count(|c| c.connect_failed += 1);
            answer_connect(&shared, id, Err(error)).await;
        }
    }
}

async fn answer_connect(shared: &Shared, id: u64, result: Result<Flow, ConnectError>) {
    // An error means that the loop is gone, and with it everybody who could want the answer.
    let _ = shared.events.send(NetEvent::Connected { id, result }).await;
}

async fn open_outgoing(shared: &Shared, wanted: Flow, trust: Trust) -> Result<(Carrier, SocketAddr), ConnectError> {
    if !matches!(wanted.transport, Transport::Tcp | Transport::Tls) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "only TCP and TLS connections are opened").into());
    }
    let socket = if wanted.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    set_options(&socket2::SockRef::from(&socket))?;
    if !wanted.local.ip().is_unspecified() {
        socket.bind(SocketAddr::new(wanted.local.ip(), 0))?;
    }
    let tcp = socket.connect(wanted.remote).await?;
    let local = unlabelled(tcp.local_addr()?);
    let wire = if wanted.transport == Transport::Tls {
        let state = shared.connector.begin(&trust, wanted.remote.ip())?;
        let state = tls::handshake(&tcp, state.into(), &shared.jobs).await?;
        Wire::Tls(Box::new(TlsWire { tcp, tls: state }))
    } else {
        Wire::Plain(tcp)
    };
    Ok((shared.stream(wire), local))
}

/// Reads and writes an open connection to its end.
async fn live(place: Place) {
    let (why, detail) = run(&place.shared, &place.connection).await;
    let Place { shared, connection } = &place;
    let announced = connection.finish(why);
    let (shared, flow) = (Rc::clone(shared), connection.flow());
    if why == CloseReason::Malformed {
        shared.count(|c| c.malformed += 1);
    }
    drop(place);
    tracing::debug!(%flow, ?why, detail, "closed");
    if announced {
        // An error means that the loop is gone.
        let _ = shared.events.send(NetEvent::Closed { connection: flow.connection, flow, why, detail }).await;
    }
}

async fn run(shared: &Shared, connection: &Connection) -> (CloseReason, String) {
    // A handshake may have brought the first message along, so the first look does not wait.
    let mut read = true;
    loop {
        if read && connection.ended().is_none() {
            match take_in(shared, connection).await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(error) => {
                    if let Some(failure) = TlsFailure::late(&error) {
                        report_tls(shared, connection.flow(), failure);
                    }
                    return (CloseReason::Broken(error.kind()), error.to_string());
                }
            }
        }
        let ready = poll_fn(|cx| connection.poll_ready(cx)).await;
        if ready.write
            && let Err(error) = connection.flush(shared)
        {
            return (CloseReason::Broken(error.kind()), error.to_string());
        }
        if let Some(why) = connection.ended() {
            return (why, String::new());
        }
        read = ready.read;
    }
}

/// Takes in what came until nothing is left.
async fn take_in(shared: &Shared, connection: &Connection) -> io::Result<Option<(CloseReason, String)>> {
    let mut left = TURN_BUDGET;
    while connection.ended().is_none() {
        if !connection.may_speak(shared) {
            shared.count(|c| c.held_back += 1);
            // What waits now does so because of who sends it.
            connection.caught_up();
            // Nothing is read meanwhile, so TCP holds the sender up.
            if or_ended(connection, Box::pin(tokio::time::sleep(super::HELD_BACK))).await.is_err() {
                return Ok(None);
            }
            continue;
        }
        match connection.next(shared)? {
            Inbound::Framed(framed) => {
                connection.spoke();
                if let Some(event) = piece(shared, connection, framed)
                    && shared.events.send(event).await.is_err()
                {
                    return Ok(Some((CloseReason::Cut, String::new())));
                }
            }
            Inbound::Dry { partial } => {
                if partial {
                    // Who sends byte by byte pays for each.
                    connection.spoke();
                }
                connection.dry(shared, partial);
                return Ok(None);
            }
            Inbound::End => return Ok(Some((CloseReason::Remote, String::new()))),
            Inbound::Malformed(why) => return Ok(Some((CloseReason::Malformed, why))),
        }
        left -= 1;
        if left == 0 {
            left = TURN_BUDGET;
            tokio::task::yield_now().await;
        }
    }
    Ok(None)
}

/// What the loop hears of a piece.
fn piece(shared: &Shared, connection: &Connection, framed: Framed) -> Option<NetEvent> {
    match framed {
        Framed::Message(bytes) => {
            let since = connection.heard(shared.clocks.now());
            connection.announce();
            shared.count(|c| c.received += 1);
            Some(NetEvent::Received { flow: connection.flow(), bytes, since })
        }
        Framed::Stun(bytes) => Some(NetEvent::Stun { flow: connection.flow(), bytes }),
        Framed::Reply(answer) => {
            // A refusal ends the connection by itself.
            let _ = connection.send(shared, Bytes::from_static(answer));
            None
        }
        Framed::Ignore => None,
    }
}

impl Shared {
    fn stream(&self, wire: Wire) -> Carrier {
        Carrier::Stream { wire, frames: (self.frames)() }
    }
}

/// A connection's place in the table; given back when this is dropped, however its task ends.
struct Place {
    shared: Rc<Shared>,
    connection: Rc<Connection>,
}

impl Place {
    fn take(shared: &Rc<Shared>, flow: Flow, accepted: bool) -> Self {
        let mut table = shared.table.borrow_mut();
        let flow = Flow { connection: table.reserve(), ..flow };
        let connection = Rc::new(Connection::new(flow, accepted, shared.clocks.now()));
        table.fill(Rc::clone(&connection));
        drop(table);
        connection.arm(shared);
        Place { shared: Rc::clone(shared), connection }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.shared.table.borrow_mut();
        table.remove(self.connection.id());
        if let Some(token) = self.connection.take_timer() {
            self.shared.timers.borrow_mut().cancel(token);
        }
        if table.len() == 0 {
            self.shared.emptied.notify_one();
        }
    }
}

/// Runs `work` unless the connection is told to end before it is done.
async fn or_ended<T>(connection: &Connection, mut work: impl Future<Output = T> + Unpin) -> Result<T, CloseReason> {
    poll_fn(|cx| {
        if let Poll::Ready(done) = std::pin::Pin::new(&mut work).poll(cx) {
            return Poll::Ready(Ok(done));
        }
        connection.poll_ended(cx).map(Err)
    })
    .await
}

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 1_024;
/// How long accepting rests after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Deadlines looked at in one turn.
const SWEEP_BUDGET: usize = 1_000;
/// Pieces that one connection may bring in one turn.
const TURN_BUDGET: usize = 32;
/// When the kernel begins to ask whether a silent peer is still there, how often, and how many times.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(2);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 4;
/// How long the kernel waits for an acknowledgement of what it sent.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
