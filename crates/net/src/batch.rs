//! The system calls of the media path: datagram sockets, one `epoll` for all of them, a wake-up and an absolute sleep.
//!
//! Everything here is a thin, safe layer over `rustix`, whose calls are the bare system calls: no libc in between, no
//! allocation, no lock. What `rustix` lacks is asked of libc: this is the one file of the workspace with `unsafe`.
//!
//! Limits: [`EVENTS`] readiness events a turn; a datagram longer than the caller's buffer is cut, and its true length told.

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How many datagrams the kernel dropped because the socket's receive buffer was full.
///
/// The table of all sockets (`/proc/net/udp`) says it too, and costs a tenth of a second beside ten thousand media ports.
///
/// # Errors
/// What the kernel says; kernels before 4.12 do not know the question.
#[expect(unsafe_code, reason = "SO_MEMINFO is not in rustix")]
pub(crate) fn drops(socket: &impl AsFd) -> io::Result<u32> {
    let mut words = [0_u32; MEMINFO_WORDS];
    let mut length = size_of_val(&words) as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, so it is open for the call; the kernel writes at most `length` bytes into `words`,
    // which has that many, and any bytes make u32s.
    let said = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            words.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if said == 0 { Ok(words[MEMINFO_DROPS]) } else { Err(io::Error::last_os_error()) }
}

/// When the datagram that was received last came in, by the wall clock; `None` when the kernel did not note it.
#[expect(unsafe_code, reason = "SIOCGSTAMPNS is not in rustix")]
pub(crate) fn arrival(socket: &impl AsFd) -> Option<SystemTime> {
    let mut came = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the descriptor is borrowed, so it is open for the call; the kernel writes one timespec, and any bytes make
    // one.
    let said = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSTAMPNS, &raw mut came) };
    let whole = Duration::from_secs(u64::try_from(came.tv_sec).ok()?);
    (said == 0).then(|| SystemTime::UNIX_EPOCH + whole + Duration::from_nanos(came.tv_nsec.unsigned_abs()))
}

/// `SIOCGSTAMPNS` with the machine's own timespec (Linux, asm-generic/sockios.h).
const SIOCGSTAMPNS: libc::Ioctl = 0x8907;

/// Has the runtime watch a socket for reading alone: one that is watched for writing too wakes its loop after each datagram
/// that it sent.
///
/// # Errors
/// What the kernel says.
#[expect(unsafe_code, reason = "the runtime cannot know that the descriptor stays open")]
pub(crate) fn readable(socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: the socket owns its descriptor, gives the same one each time it is asked, and lives as long as the
    // registration that takes it.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(|error| error.into_parts().1)
}

/// Memory that this process shares with the kernel, as 64-bit words that either side may change at any time.
pub(crate) struct SharedWords {
    words: NonNull<AtomicU64>,
    count: usize,
}

impl SharedWords {
    /// Maps the first `count` words of what `of` stands for.
    ///
    /// # Errors
    /// What the kernel says: not to be mapped, no memory.
    #[expect(unsafe_code, reason = "mapped memory has no owner that the compiler knows")]
    pub(crate) fn map(of: impl AsFd, count: usize) -> io::Result<Self> {
        let (whole, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: no address is asked for, so nothing that exists is mapped over; the kernel refuses a length that the
        // object does not have.
        let at = unsafe { mmap(std::ptr::null_mut(), count * size_of::<AtomicU64>(), whole, shared, of, 0) }?;
        let words = NonNull::new(at.cast()).ok_or(Errno::NOMEM)?;
        Ok(SharedWords { words, count })
    }

    /// The words.
    #[expect(unsafe_code, reason = "mapped memory has no owner that the compiler knows")]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `map` got `count` words at a page's begin, which stay mapped until `drop`; any bytes make a word, and
        // whoever else writes them does so in whole words or in parts of words that are read once it has finished.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

// SAFETY: the words are atomic, and the mapping belongs to the process.
#[expect(unsafe_code, reason = "a pointer is neither Send nor Sync by itself")]
unsafe impl Send for SharedWords {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer is neither Send nor Sync by itself")]
unsafe impl Sync for SharedWords {}

impl Drop for SharedWords {
    #[expect(unsafe_code, reason = "mapped memory has no owner that the compiler knows")]
    fn drop(&mut self) {
        // SAFETY: this is what `map` mapped, and no borrow of it outlives `self`.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}

/// What `SO_MEMINFO` tells, and the place of the drops in it (`SK_MEMINFO_DROPS`).
const MEMINFO_WORDS: usize = 9;
const MEMINFO_DROPS: usize = 8;

/// A bound datagram socket that never blocks.
///
/// While it is connected the kernel delivers only what comes from the peer, and sending needs no look at the routes.
#[derive(Debug)]
pub struct DatagramSocket(OwnedFd);

impl DatagramSocket {
    /// Binds `local`. An IPv6 socket takes no IPv4 packets, so both families can own the same port.
    ///
    /// `receive_buffer` is what to ask of the kernel (it grants twice that, up to `net.core.rmem_max`). Units: bytes.
    ///
    /// # Errors
    /// What the kernel says, `AddrInUse` above all.
    pub fn bind(local: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = net::socket_with(family, SocketType::DGRAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        if local.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        sockopt::set_socket_recv_buffer_size(&fd, receive_buffer)?;
        net::bind(&fd, &local)?;
        Ok(DatagramSocket(fd))
    }

    /// Marks what the socket sends for routers and switches (RFC 2474). Voice is 46, Expedited Forwarding (RFC 3246).
    ///
    /// # Errors
    /// What the kernel says; the socket works without the mark.
    pub fn mark(&self, dscp: u8) -> io::Result<()> {
        // The two lower bits of the byte are not part of it (RFC 3168).
        let tos = (dscp & 63) << 2;
        if self.local()?.is_ipv4() {
            sockopt::set_ip_tos(&self.0, tos)?;
        } else {
            sockopt::set_ipv6_tclass(&self.0, u32::from(tos))?;
        }
        Ok(())
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local(&self) -> io::Result<SocketAddr> {
        Ok(net::getsockname(&self.0)?.try_into()?)
    }

    /// Receives one datagram and tells its true length, which may exceed the buffer.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `ConnectionRefused` when the peer's host refused an earlier one of ours.
    #[inline]
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, length) = net::recv(&self.0, buffer, RecvFlags::TRUNC)?;
        Ok(length)
    }

    /// As [`DatagramSocket::receive`], with the sender's address.
    ///
    /// # Errors
    /// As [`DatagramSocket::receive`].
    #[inline]
    pub fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (_, length, from) = net::recvfrom(&self.0, buffer, RecvFlags::TRUNC)?;
        let from = from.ok_or(Errno::INVAL)?;
        Ok((length, from.try_into()?))
    }

    /// Sends one datagram to the peer that it is connected to.
    ///
    /// # Errors
    /// As [`DatagramSocket::send_to`].
    #[inline]
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        // A pending ICMP error is told by the next call, which then does nothing else: the second one sends.
        match net::send(&self.0, packet, SendFlags::empty()) {
            Err(Errno::CONNREFUSED) => net::send(&self.0, packet, SendFlags::empty())?,
            other => other?,
        };
        Ok(())
    }

    /// Sends one datagram to `to`.
    ///
    /// # Errors
    /// What the kernel says: no route, or a full send buffer.
    #[inline]
    pub fn send_to(&self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        match to {
            SocketAddr::V4(to) => net::sendto(&self.0, packet, SendFlags::empty(), &to)?,
            SocketAddr::V6(to) => net::sendto(&self.0, packet, SendFlags::empty(), &to)?,
        };
        Ok(())
    }

    /// Lets the kernel refuse all other sources. What waits in the queue already may still be theirs.
    ///
    /// # Errors
    /// What the kernel says: no route.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        Ok(net::connect(&self.0, &peer)?)
    }

    /// Takes [`DatagramSocket::connect`] back; a local port that was named at binding stays.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn disconnect(&self) -> io::Result<()> {
        Ok(net::connect_unspec(&self.0)?)
    }
}

/// Waits for many sockets at once. Readiness is level-triggered: what was not read is told again.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
    waker: Waker,
}

impl Poller {
    /// A poller without sockets.
    ///
    /// # Errors
    /// What the kernel says: no descriptors left.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        // Edge-triggered: the counter need not be read back.
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        Ok(Poller { epoll, waker: Waker(Arc::new(wake)) })
    }

    /// What other threads wake this poller with.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Watches `socket`; `token` comes back when it has something to read.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&self, socket: &DatagramSocket, token: u32) -> io::Result<()> {
        let data = epoll::EventData::new_u64(u64::from(token));
        Ok(epoll::add(&self.epoll, &socket.0, data, epoll::EventFlags::IN)?)
    }

    /// Waits until a socket is ready, somebody wakes it or `timeout` is over (`None`: for good).
    /// Returns how many `events` there are; [`EVENTS`] means that there may be more.
    ///
    /// # Errors
    /// What the kernel says; a signal is no error.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        events.0.clear();
        // Rounded up to the kernel's milliseconds, so that nobody wakes just before the time and spins.
        let timeout = timeout.map(|t| {
            let millis = i64::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX).min(i64::from(i32::MAX));
            Timespec { tv_sec: millis / 1_000, tv_nsec: millis % 1_000 * 1_000_000 }
        });
        match epoll::wait(&self.epoll, spare_capacity(&mut events.0), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(events.0.len()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where a [`Poller`] writes what is ready; stays on its thread.
pub struct Events(Vec<epoll::Event>);

impl Events {
    /// Room for [`EVENTS`].
    pub fn new() -> Self {
        Events(Vec::with_capacity(EVENTS))
    }

    /// The token of the `n`th ready socket, `None` for a wake-up.
    #[inline]
    pub fn token(&self, n: usize) -> Option<u32> {
        u32::try_from(self.0.get(n)?.data.u64()).ok()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries((0..self.0.len()).map(|n| self.token(n))).finish()
    }
}

/// Wakes a [`Poller`] from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Ends the poller's wait, or its next one.
    pub fn wake(&self) {
        // The counter is full only after 2⁶⁴ wake-ups; and then the poller is awake.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// The monotonic clock. Units: nanoseconds since some start.
#[inline]
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// CPU time that all threads of this process used. Units: nanoseconds.
pub fn process_cpu_nanos() -> u64 {
    let used = clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64
}

/// Sleeps until [`monotonic_nanos`] shows `nanos`; a signal may end it earlier.
pub fn sleep_until(nanos: u64) {
    let at = Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 };
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &at);
}

/// Raises the soft limit of open files to the hard one and returns it, [`u64::MAX`] when there is none.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        return limit.current.unwrap_or(u64::MAX);
    }
    limit.maximum.unwrap_or(u64::MAX)
}

/// How many events one [`Poller::wait`] can return.
pub const EVENTS: usize = 512;

const WAKE: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    fn socket(ip: impl Into<std::net::IpAddr>) -> (DatagramSocket, SocketAddr) {
        let ip = ip.into();
        let free = DatagramSocket::bind(SocketAddr::new(ip, 0), 65_536).unwrap().local().unwrap();
        (DatagramSocket::bind(free, 65_536).unwrap(), free)
    }

    #[test]
    fn a_connected_socket_hears_its_peer_only_and_keeps_its_port() {
        let ((us, here), (peer, there), (other, _)) =
            (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        let mut buffer = [0; 16];
        poller.add(&us, 7).unwrap();

        us.connect(there).unwrap();
        let _ = other.send_to(b"foreign", here);
        peer.send_to(b"ours", here).unwrap();
        assert_eq!(poller.wait(&mut events, Some(Duration::from_secs(5))).unwrap(), 1);
        assert_eq!(events.token(0), Some(7));
        assert_eq!(us.receive(&mut buffer).unwrap(), 4);
        assert_eq!(us.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        us.disconnect().unwrap();
        assert_eq!(us.local().unwrap(), here);
        other.send_to(b"foreign", here).unwrap();
        assert_eq!(us.receive_from(&mut buffer).unwrap(), (7, other.local().unwrap()));
    }

    #[test]
    fn both_families_own_one_port_and_long_datagrams_tell_their_length() {
        let (v6, there) = socket(Ipv6Addr::LOCALHOST);
        let _v4 = DatagramSocket::bind((Ipv4Addr::LOCALHOST, there.port()).into(), 65_536).unwrap();
        v6.send_to(&[1; 100], there).unwrap();
        assert_eq!(v6.receive(&mut [0; 10]).unwrap(), 100);
    }

    /// How the datagram that waits is marked, as its IP header has it.
    #[expect(unsafe_code, reason = "rustix does not read this control message")]
    fn mark_of_next(socket: &DatagramSocket) -> u8 {
        let (mut bytes, mut control) = ([0_u8; 16], [0_u64; 8]);
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: all zeros are a message without anything; what it then points to lives longer than the call, with the
        // lengths that are said, and `control` is aligned as headers in it must be.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
            (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control) as _);
            assert_eq!(libc::recvmsg(socket.0.as_raw_fd(), &raw mut message, 0), 4);
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            assert!(!header.is_null(), "nothing is said of its mark");
            assert!([libc::IP_TOS, libc::IPV6_TCLASS].contains(&(*header).cmsg_type));
            // A byte, or an int whose first byte it is.
            *libc::CMSG_DATA(header)
        }
    }

    #[test]
    fn what_is_sent_is_marked_as_asked_in_both_families() {
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let ((us, _), (peer, there)) = (socket(address), socket(address));
            if there.is_ipv4() {
                sockopt::set_ip_recvtos(&peer.0, true).unwrap();
            } else {
                sockopt::set_ipv6_recvtclass(&peer.0, true).unwrap();
            }
            // EF (RFC 3246), CS3 (RFC 2474), no mark.
            for dscp in [46, 24, 0] {
                us.mark(dscp).unwrap();
                us.send_to(b"mark", there).unwrap();
                assert_eq!(mark_of_next(&peer), dscp << 2);
            }
        }
    }

    #[test]
    fn a_wake_up_is_not_lost_and_told_once() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        poller.waker().wake();
        assert_eq!((poller.wait(&mut events, None).unwrap(), events.token(0)), (1, None));
        assert_eq!(poller.wait(&mut events, Some(Duration::ZERO)).unwrap(), 0);
        poller.waker().wake();
        assert_eq!(poller.wait(&mut events, None).unwrap(), 1);
    }

    #[test]
    fn a_refused_datagram_does_not_eat_the_next() {
        let ((us, _), (gone, there)) = (socket(Ipv4Addr::LOCALHOST), socket(Ipv4Addr::LOCALHOST));
        us.connect(there).unwrap();
        drop(gone);
        us.send(b"refused").unwrap();
        let back = DatagramSocket::bind(there, 65_536).unwrap();
        us.send(b"heard").unwrap();
        assert_eq!(back.receive(&mut [0; 16]).unwrap(), 5);
    }

    #[test]
    fn sleeping_ends_at_its_time() {
        let at = monotonic_nanos() + 1_000_000;
        sleep_until(at);
        assert!(monotonic_nanos() >= at && process_cpu_nanos() > 0);
        assert!(raise_descriptor_limit() >= 256);
    }
}
