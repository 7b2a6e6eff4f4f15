//! Phones: each leg sends a packet of 172 bytes every 20 ms, evenly spread, and looks what comes back.

use crate::pin;
use net::batch::{
    DatagramSocket, EVENTS, Events, Poller, monotonic_nanos, process_cpu_nanos, raise_descriptor_limit, sleep_until,
};
use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

/// Reads pairs from standard input, talks for `secs`, and prints: packets sent, packets that arrived at the other side
/// of their call, the median and 99th percentile of their way in microseconds, and the CPU time of this process
/// in nanoseconds. The first second does not count.
pub(crate) fn run(secs: u64) {
    raise_descriptor_limit();
    pin(1);
    let (poller, mut events) = (Poller::new().expect("descriptors"), Events::new());
    let mut legs: Vec<Leg> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let words: Vec<SocketAddr> = line.expect("a line").split_whitespace().filter_map(|w| w.parse().ok()).collect();
        let &[relay_a, relay_b, local_a, local_b] = &words[..] else { panic!("relayA relayB localA localB") };
        for (remote, local) in [(relay_a, local_a), (relay_b, local_b)] {
            let socket = DatagramSocket::bind(local, 1 << 20).expect("a free port");
            // Connected, because a dear generator is felt by what it measures.
            socket.connect(remote).expect("a way to the relay");
            poller.add(&socket, legs.len() as u32).expect("it can be watched");
            legs.push(Leg { socket, sequence: 0 });
        }
    }
    let order = shuffled(legs.len());
    let mut cpu_from = None;
    let start = monotonic_nanos() + 50 * MILLI;
    let (counted, end) = (start + 1_000 * MILLI, start + secs * 1_000 * MILLI);
    let (mut seen, mut sent, mut position, mut tick) = (Seen::default(), 0u64, 0, start);
    let mut counted_sent = 0;
    loop {
        let now = monotonic_nanos();
        if now >= end + 400 * MILLI {
            break;
        }
        if now >= counted && cpu_from.is_none() {
            cpu_from = Some(process_cpu_nanos());
        }
        let due = now.min(end).saturating_sub(start) * legs.len() as u64 / (20 * MILLI);
        // What is late is made up for in parts, and what comes back is read in between.
        let due = due.min(sent + BURST);
        while sent < due {
            let leg = order[position];
            position = (position + 1) % order.len();
            let at = monotonic_nanos();
            legs[leg].send(leg as u32, at);
            sent += 1;
            counted_sent += u64::from(at >= counted);
        }
        loop {
            let ready = poller.wait(&mut events, Some(Duration::ZERO)).expect("it waits");
            for n in 0..ready {
                if let Some(leg) = events.token(n) {
                    legs[leg as usize].receive(leg, counted, &mut seen);
                }
            }
            if ready < EVENTS {
                break;
            }
        }
        tick += 200_000;
        let now = monotonic_nanos();
        if tick > now {
            sleep_until(tick);
        } else {
            tick = now;
        }
    }
    let cpu_to = process_cpu_nanos();
    assert_eq!(seen.wrong, 0, "packets came out at a wrong leg");
    seen.ways.sort_unstable();
    let at = |share: usize| seen.ways.get(seen.ways.len() * share / 100).map_or(0, |way| way / 1_000);
    println!("{counted_sent} {} {} {} {}", seen.ways.len(), at(50), at(99), cpu_to - cpu_from.unwrap_or(cpu_to));
}

struct Leg {
    socket: DatagramSocket,
    sequence: u32,
}

#[derive(Default)]
struct Seen {
    /// How long packets were on their way. Units: nanoseconds.
    ways: Vec<u64>,
    wrong: u64,
}

impl Leg {
    fn send(&mut self, leg: u32, now: u64) {
        let mut packet = [0xd5; 172];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&(self.sequence as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&self.sequence.wrapping_mul(160).to_be_bytes());
        packet[8..12].copy_from_slice(&(leg + 1).to_be_bytes());
        packet[12..16].copy_from_slice(&leg.to_be_bytes());
        packet[16..24].copy_from_slice(&now.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        // A packet that was not sent is one that did not arrive.
        let _ = self.socket.send(&packet);
    }

    fn receive(&self, leg: u32, counted: u64, seen: &mut Seen) {
        let mut packet = [0; 256];
        // One at a time: readiness is told again while there is more.
        if let Ok(172) = self.socket.receive(&mut packet) {
            let from = u32::from_be_bytes([packet[12], packet[13], packet[14], packet[15]]);
            let at = packet[16..24].iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
            seen.wrong += u64::from(from != leg ^ 1);
            if at >= counted {
                seen.ways.push(monotonic_nanos().saturating_sub(at));
            }
        }
    }
}

/// Legs speak in an order that has nothing to do with the relay's.
fn shuffled(legs: usize) -> Vec<usize> {
    let mut chance = words::Chance::new(words::Seed::from_number(7));
    let mut order: Vec<usize> = (0..legs).collect();
    (1..legs).for_each(|n| order.swap(n, chance.below(n as u64 + 1) as usize));
    order
}

/// Packets between two looks at what comes back.
const BURST: u64 = 256;
const MILLI: u64 = 1_000_000;
