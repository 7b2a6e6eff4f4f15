//! Datagrams for signalling: one socket per local address, so that each datagram says which of our addresses it came
//! to and its answer leaves from there (RFC 3581 §4).

use crate::{BindError, SendError, host};
use bytes::Bytes;
use rustix::net::{SendFlags, sendto, sockopt};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use words::{ConnectionId, Flow, Transport};

/// The signalling sockets of one loop. Must be made and used inside its runtime.
#[derive(Debug)]
pub struct Udp {
    /// What was asked for, to look again when the host's addresses change.
    listeners: Vec<(u16, SocketAddr)>,
    sockets: Vec<Bound>,
    /// Local address to place in `sockets`, sorted.
    by_local: Vec<(SocketAddr, usize)>,
    /// Where the next receive begins, so that no socket starves another.
    turn: Cell<usize>,
    buffer: RefCell<Box<[u8]>>,
    counters: Cell<Counters>,
}

/// What happened to datagrams since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams handed to the loop.
    pub received: u64,
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// Datagrams dropped because the kernel's send buffer was full.
    pub send_full: u64,
    /// Datagrams that the kernel refused.
    pub send_refused: u64,
    /// Errors of receive calls.
    pub receive_failed: u64,
}

#[derive(Debug)]
struct Bound {
    /// Registered for reading alone: a socket registered for writing too wakes its loop after each datagram that it sent.
    socket: AsyncFd<UdpSocket>,
    local: SocketAddr,
    listener: u16,
}

impl Udp {
    /// Opens sockets for `listeners`, each a number (its place in the configuration) and an address. A wildcard address
    /// becomes a socket on each address of the host, see [`host::addresses`].
    ///
    /// # Errors
    /// The first address that was named and cannot be bound. Of a wildcard's addresses those that fail for another
    /// reason than a taken port are skipped and tried again by [`Udp::refresh`]: IPv6 addresses need a second to settle.
    pub fn bind(listeners: &[(u16, SocketAddr)]) -> Result<Self, BindError> {
        let mut udp = Udp {
            listeners: listeners.to_vec(),
            sockets: Vec::new(),
            by_local: Vec::new(),
            turn: Cell::new(0),
            buffer: RefCell::new(vec![0; DATAGRAM_BYTES].into_boxed_slice()),
            counters: Cell::new(Counters::default()),
        };
        udp.refresh()?;
        Ok(udp)
    }

    /// Follows the host's addresses: opens sockets on new ones and closes those on addresses that are gone. True when
    /// something changed. Cheap enough for every few seconds.
    ///
    /// # Errors
    /// As of [`Udp::bind`].
    pub fn refresh(&mut self) -> Result<bool, BindError> {
        let wanted = self.wanted()?;
        let before = self.sockets.len();
        self.sockets.retain(|bound| wanted.iter().any(|w| w.is(bound)));
        let mut changed = self.sockets.len() != before;
        for want in &wanted {
            if self.sockets.len() == SOCKETS {
                tracing::warn!(limit = SOCKETS, "more local addresses than sockets: the rest is not served over UDP");
                break;
            }
            if self.sockets.iter().any(|bound| want.is(bound)) {
                continue;
            }
            match open(want.listener, want.address) {
                Ok(bound) => {
                    self.sockets.push(bound);
                    changed = true;
                }
                Err(source) if !want.wildcard || source.kind() == io::ErrorKind::AddrInUse => {
                    return Err(BindError { transport: Transport::Udp, address: want.address, source });
                }
                Err(error) => tracing::debug!(address = %want.address, %error, "skipped for now"),
            }
        }
        self.by_local = self.sockets.iter().enumerate().map(|(n, bound)| (bound.local, n)).collect();
        self.by_local.sort_unstable();
        Ok(changed)
    }

    /// The next datagram, as an exact copy, and where it came from. Takes from the sockets in turn; `None` when all are
    /// empty as far as the runtime knows: then await [`Udp::readable`].
    ///
    /// One call of the kernel for each: asking for many at a time costs more for one (1.24 against 1.13 µs with the
    /// call that finds the socket empty) and saves a tenth for eight.
    pub fn try_recv(&self) -> Option<(Bytes, Flow)> {
        self.try_recv_with(|bytes, flow| (Bytes::copy_from_slice(bytes), flow))
    }

    /// As [`Udp::try_recv`], without a copy: `take` sees the datagram where the kernel put it, and keeps what it wants.
    pub fn try_recv_with<T>(&self, take: impl FnOnce(&[u8], Flow) -> T) -> Option<T> {
        let mut buffer = self.buffer.try_borrow_mut().ok()?;
        let count = self.sockets.len();
        let first = self.turn.get();
        for step in 0..count {
            let place = (first + step) % count;
            let bound = &self.sockets[place];
            match bound.socket.try_io(Interest::READABLE, |socket| socket.recv_from(&mut buffer)) {
                Ok((length, remote)) => {
                    self.turn.set(place + 1);
                    self.count(|c| c.received += 1);
                    return Some(take(&buffer[..length], bound.flow(remote)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.count(|c| c.receive_failed += 1),
            }
        }
        None
    }

    /// Ready when a socket may have a datagram.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        for bound in &self.sockets {
            if bound.socket.poll_read_ready(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    /// Waits until a socket may have a datagram. Dropping the future loses nothing.
    pub async fn readable(&self) {
        poll_fn(|cx| self.poll_readable(cx)).await;
    }

    /// Sends on a flow that came from [`Udp::try_recv`] or [`Udp::flow`]. Never waits.
    ///
    /// # Errors
    /// As of [`Udp::send_to`].
    pub fn send(&self, flow: &Flow, bytes: &[u8]) -> Result<(), SendError> {
        self.send_to(flow.local, flow.remote, bytes)
    }

    /// Sends from one of our addresses. Never waits.
    ///
    /// # Errors
    /// `Full` when the kernel's buffer is full: the datagram is dropped and counted, its sender's timers repeat it.
    /// `Gone` when `local` is not one of ours. `Refused` when the kernel cannot send it.
    pub fn send_to(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) -> Result<(), SendError> {
        let bound = self.bound(local).ok_or(SendError::Gone)?;
        // Past the runtime: it would hold back the first datagram of a socket until it has looked at it once.
        match sendto(&bound.socket, bytes, SendFlags::empty(), &remote) {
            Ok(_) => {
                self.count(|c| c.sent += 1);
                Ok(())
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => {
                self.count(|c| c.send_full += 1);
                Err(SendError::Full)
            }
            Err(errno) => {
                self.count(|c| c.send_refused += 1);
                Err(SendError::Refused(io::Error::from(errno).kind()))
            }
        }
    }

    /// The flow from `local` (one of [`Udp::locals`]) to `remote`.
    pub fn flow(&self, local: SocketAddr, remote: SocketAddr) -> Option<Flow> {
        Some(self.bound(local)?.flow(remote))
    }

    /// Which of a listener's addresses the kernel would send from towards `remote`; one of the same family otherwise.
    pub fn local_towards(&self, listener: u16, remote: SocketAddr) -> Option<SocketAddr> {
        let family = |bound: &&Bound| bound.listener == listener && bound.local.is_ipv4() == remote.is_ipv4();
        let source = host::source_towards(remote).ok();
        let mut fitting = self.sockets.iter().filter(family);
        let first = fitting.next()?.local;
        if Some(first.ip()) == source {
            return Some(first);
        }
        Some(fitting.find(|bound| Some(bound.local.ip()) == source).map_or(first, |bound| bound.local))
    }

    /// The listener and address of each socket.
    pub fn locals(&self) -> impl Iterator<Item = (u16, SocketAddr)> {
        self.sockets.iter().map(|bound| (bound.listener, bound.local))
    }

    /// The smallest receive buffer that the kernel gave a socket, in its own (doubled) count; 0 without sockets. Units: bytes.
    pub fn receive_buffer_bytes(&self) -> usize {
        self.sockets.iter().filter_map(|b| sockopt::socket_recv_buffer_size(&b.socket).ok()).min().unwrap_or(0)
    }

    /// Datagrams that the kernel dropped because a socket's receive buffer was full: the loop was too slow. Reads a file
    /// of the kernel, so ask every few seconds at most; 0 where there is none.
    pub fn overflowed(&self) -> u64 {
        self.sockets.iter().filter_map(|bound| crate::batch::drops(&bound.socket).ok()).map(u64::from).sum()
    }

    /// How long the last datagram of [`Udp::try_recv`] had waited in its socket; zero when the kernel did not note when
    /// it came. It begins to note with the first question.
    pub fn waited(&self) -> Duration {
        // `turn` is the place behind the socket that gave it.
        let Some(bound) = self.turn.get().checked_sub(1).and_then(|place| self.sockets.get(place)) else {
            return Duration::ZERO;
        };
        crate::batch::arrival(&bound.socket).and_then(|came| came.elapsed().ok()).unwrap_or_default()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    fn count(&self, add: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        add(&mut counters);
        self.counters.set(counters);
    }

    fn bound(&self, local: SocketAddr) -> Option<&Bound> {
        let place = self.by_local.binary_search_by(|(address, _)| address.cmp(&local)).ok()?;
        Some(&self.sockets[self.by_local[place].1])
    }

    fn wanted(&self) -> Result<Vec<Wanted>, BindError> {
        let mut wanted = Vec::new();
        let mut host: Option<Vec<_>> = None;
        for &(listener, address) in &self.listeners {
            if !address.ip().is_unspecified() {
                wanted.push(Wanted { listener, address, wildcard: false });
                continue;
            }
            let failed = |source| BindError { transport: Transport::Udp, address, source };
            let all = match &mut host {
                Some(all) => all,
                none => none.insert(host::addresses().map_err(failed)?),
            };
            for &ip in all.iter().filter(|ip| ip.is_ipv4() == address.is_ipv4()) {
                wanted.push(Wanted { listener, address: SocketAddr::new(ip, address.port()), wildcard: true });
            }
        }
        Ok(wanted)
    }
}

impl Bound {
    fn flow(&self, remote: SocketAddr) -> Flow {
        Flow {
            transport: Transport::Udp,
            listener: self.listener,
            connection: ConnectionId::NONE,
            local: self.local,
            remote: unlabelled(remote),
        }
    }
}

struct Wanted {
    listener: u16,
    address: SocketAddr,
    wildcard: bool,
}

impl Wanted {
    /// Port 0 asks for any port, so each address counts once.
    fn is(&self, bound: &Bound) -> bool {
        self.listener == bound.listener
            && self.address.ip() == bound.local.ip()
            && (self.address.port() == 0 || self.address.port() == bound.local.port())
    }
}

fn open(listener: u16, address: SocketAddr) -> io::Result<Bound> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // A burst must find room while the loop is busy. The forced form passes the host's limit where we may.
    if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, SEND_BYTES).is_err() {
        socket.set_send_buffer_size(SEND_BYTES)?;
    }
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    let local = socket.local_addr()?;
    let socket = crate::batch::readable(socket)?;
    Ok(Bound { socket, local, listener })
}

/// The flow label belongs to a packet, not to an address: with it the same phone would look like many.
pub(crate) fn unlabelled(mut address: SocketAddr) -> SocketAddr {
    if let SocketAddr::V6(v6) = &mut address {
        v6.set_flowinfo(0);
    }
    address
}

/// The most sockets of one loop.
pub const SOCKETS: usize = 256;
/// What is asked of the kernel for what a socket receives: a quarter of a second of 100,000 datagrams a second, so that a
/// flood pushes nobody out while the loop waits for its turn. Units: bytes.
pub const RECEIVE_BYTES: usize = 16 << 20;
/// What is asked of the kernel for what a socket sends. Units: bytes.
pub const SEND_BYTES: usize = 4 << 20;
/// No datagram is longer. Units: bytes.
const DATAGRAM_BYTES: usize = 65_536;
