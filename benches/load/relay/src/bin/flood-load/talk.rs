//! RTP of the calls that are held: each sends a packet of 172 bytes every 20 ms and waits for its echo.

use net::batch::{DatagramSocket, EVENTS, Events, Poller, monotonic_nanos, sleep_until};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The relay's end of a call and ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// What came back.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) sent: u64,
    /// How long packets were on their way there and back, the shortest first. Units: nanoseconds.
    pub(crate) ways: Vec<u64>,
}

/// Where a call hears its echo; calls that do not last share an address that nobody listens at.
pub(crate) fn local(call: Option<u16>) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, 22), call.map_or(40_000, |call| 42_000 + 2 * call)).into()
}

/// Talks for so many seconds.
pub(crate) fn run(pairs: &[Pair], secs: u64) -> Heard {
    let (poller, mut events) = (Poller::new().expect("descriptors"), Events::new());
    let mut sockets = Vec::new();
    for (n, pair) in pairs.iter().enumerate() {
        let socket = DatagramSocket::bind(pair.local, 1 << 20).expect("a free port");
        socket.connect(pair.remote).expect("a way to the relay");
        poller.add(&socket, n as u32).expect("it can be watched");
        sockets.push(socket);
    }
    let mut heard = Heard::default();
    let start = monotonic_nanos();
    let end = start + secs * 1_000 * MILLI;
    loop {
        let now = monotonic_nanos();
        if now >= end + 400 * MILLI {
            break;
        }
        let due = now.min(end).saturating_sub(start) * pairs.len() as u64 / (20 * MILLI);
        while heard.sent < due {
            let leg = heard.sent % pairs.len() as u64;
            send(&sockets[leg as usize], (heard.sent / pairs.len() as u64) as u32, leg as u32);
            heard.sent += 1;
        }
        loop {
            let ready = poller.wait(&mut events, Some(Duration::ZERO)).expect("it waits");
            for n in 0..ready {
                if let Some(leg) = events.token(n) {
                    receive(&sockets[leg as usize], &mut heard);
                }
            }
            if ready < EVENTS {
                break;
            }
        }
        sleep_until(monotonic_nanos() + MILLI / 4);
    }
    heard.ways.sort_unstable();
    heard
}

fn send(socket: &DatagramSocket, sequence: u32, leg: u32) {
    let mut packet = [0xd5; 172];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&sequence.wrapping_mul(160).to_be_bytes());
    packet[8..12].copy_from_slice(&(leg + 1).to_be_bytes());
    packet[12..20].copy_from_slice(&monotonic_nanos().to_be_bytes());
    // A packet that was not sent is one that did not come back.
    let _ = socket.send(&packet);
}

fn receive(socket: &DatagramSocket, heard: &mut Heard) {
    let mut packet = [0; 256];
    if let Ok(172) = socket.receive(&mut packet) {
        let at = packet[12..20].iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        heard.ways.push(monotonic_nanos().saturating_sub(at));
    }
}

/// Units: nanoseconds.
const MILLI: u64 = 1_000_000;
