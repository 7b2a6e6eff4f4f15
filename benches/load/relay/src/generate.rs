//! Phones: each leg sends a packet of 172 bytes every 20 ms, or as often as asked, evenly spread, and looks what comes back.

use crate::pin;
use net::batch::{
    DatagramSocket, EVENTS, Events, Poller, monotonic_nanos, process_cpu_nanos, raise_descriptor_limit, sleep_until,
};
use std::collections::HashMap;
use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

/// Reads pairs from standard input, talks for `secs`, and prints: packets sent, packets that arrived at the other side
/// of their call, the median and 99th percentile of their way in microseconds, and the CPU time of this process
/// in nanoseconds. What comes first does not count.
///
/// With two `kinds` the first half of the pairs and the second talk in turns of [`TURN`], and there is a line for each:
/// what the machine does to one it does to the other.
pub(crate) fn run(secs: u64, kinds: usize, ptime: u64) {
    raise_descriptor_limit();
    pin(1);
    let (mut legs, ears) = open();
    let of_one = legs.len() / kinds;
    let order = shuffled(of_one);
    let mut all: Vec<Kind> = (0..kinds).map(|_| Kind::default()).collect();
    let start = monotonic_nanos() + 50 * MILLI;
    let (counted, end) = (start + kinds as u64 * 1_000 * MILLI, start + secs * 1_000 * MILLI);
    let mut events = Events::new();
    let (mut turn, mut begins) = (0, start);
    while begins < end {
        let ends = if kinds == 1 && begins >= counted { end } else { begins + TURN };
        let kind = &mut all[turn % kinds];
        let cpu = process_cpu_nanos();
        let mut talk = Talk {
            legs: &mut legs,
            first: turn % kinds * of_one,
            order: &order,
            ptime,
            ears: &ears,
            events: &mut events,
        };
        talk.take_turn(kind, [begins, ends], begins >= counted);
        if begins >= counted {
            kind.cpu_nanos += process_cpu_nanos() - cpu;
        }
        (turn, begins) = (turn + 1, ends.max(monotonic_nanos()));
    }
    for kind in &mut all {
        assert_eq!(kind.wrong, 0, "packets came out at a wrong leg");
        kind.ways.sort_unstable();
        let at = |share: usize| kind.ways.get(kind.ways.len() * share / 100).map_or(0, |way| way / 1_000);
        println!("{} {} {} {} {}", kind.sent, kind.ways.len(), at(50), at(99), kind.cpu_nanos);
    }
}

fn open() -> (Vec<Leg>, Ears) {
    let mut calls = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let words: Vec<SocketAddr> = line.expect("a line").split_whitespace().filter_map(|w| w.parse().ok()).collect();
        let &[relay_a, relay_b, local_a, local_b] = &words[..] else { panic!("relayA relayB localA localB") };
        calls.push([(relay_a, local_a), (relay_b, local_b)]);
    }
    let one_peer = calls.iter().skip(1).any(|call| call[0].1 == calls[0][0].1);
    let poller = Poller::new().expect("descriptors");
    let (mut legs, mut ears) = (Vec::new(), Ears { sockets: Vec::new(), poller, legs: HashMap::new() });
    for (leg, (relay, local)) in calls.into_iter().flatten().enumerate() {
        if !one_peer || leg < 2 {
            let socket = DatagramSocket::bind(local, 1 << 20).expect("a free port");
            ears.poller.add(&socket, leg as u32).expect("it can be watched");
            if !one_peer {
                // Connected, because a dear generator is felt by what it measures.
                socket.connect(relay).expect("a way to the relay");
            }
            ears.sockets.push(socket);
        }
        if one_peer {
            ears.legs.insert(relay, leg as u32);
        }
        legs.push(Leg { to: one_peer.then_some(relay), sequence: 0 });
    }
    (legs, ears)
}

/// What the phones hear and speak by: a socket for each leg, or one for each side of all calls.
struct Ears {
    sockets: Vec<DatagramSocket>,
    poller: Poller,
    /// Whose the packets are that come from a port of the relay's, where sockets do not tell.
    legs: HashMap<SocketAddr, u32>,
}

impl Ears {
    fn of(&self, leg: usize) -> &DatagramSocket {
        &self.sockets[if self.legs.is_empty() { leg } else { leg % 2 }]
    }

    /// Takes a packet in, if there is one.
    fn receive(&self, socket: u32, counts: bool, kind: &mut Kind) -> bool {
        let mut packet = [0; 256];
        let heard = &self.sockets[socket as usize];
        let leg = if self.legs.is_empty() {
            heard.receive(&mut packet).ok().map(|length| (length, Some(&socket)))
        } else {
            heard.receive_from(&mut packet).ok().map(|(length, from)| (length, self.legs.get(&from)))
        };
        let Some((length, leg)) = leg else { return false };
        if length == PACKET {
            let from = u32::from_be_bytes([packet[12], packet[13], packet[14], packet[15]]);
            let at = packet[16..24].iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
            kind.wrong += u64::from(leg != Some(&(from ^ 1)));
            if counts {
                kind.ways.push(monotonic_nanos().saturating_sub(at));
            }
        }
        true
    }
}

/// The legs that talk, and how it is seen what they hear.
struct Talk<'a> {
    legs: &'a mut [Leg],
    /// The first of those that talk; the others are silent.
    first: usize,
    order: &'a [usize],
    /// Units: milliseconds.
    ptime: u64,
    ears: &'a Ears,
    events: &'a mut Events,
}

impl Talk<'_> {
    fn take_turn(&mut self, kind: &mut Kind, [begins, ends]: [u64; 2], counts: bool) {
        let (mut sent, mut tick) = (0, begins);
        loop {
            let now = monotonic_nanos();
            if now >= ends + REST {
                return;
            }
            let due = now.min(ends).saturating_sub(begins) * self.order.len() as u64 / (self.ptime * MILLI);
            // What is late is made up for in parts, and what comes back is read in between.
            let due = due.min(sent + if self.ears.legs.is_empty() { BURST } else { BURST_OF_ONE });
            while sent < due {
                let leg = self.first + self.order[kind.position];
                kind.position = (kind.position + 1) % self.order.len();
                self.legs[leg].send(self.ears.of(leg), leg as u32, monotonic_nanos());
                sent += 1;
                kind.sent += u64::from(counts);
            }
            self.hear(kind, counts);
            tick += 200_000;
            let now = monotonic_nanos();
            if tick > now {
                sleep_until(tick);
            } else {
                tick = now;
            }
        }
    }

    fn hear(&mut self, kind: &mut Kind, counts: bool) {
        loop {
            let ready = self.ears.poller.wait(self.events, Some(Duration::ZERO)).expect("it waits");
            for n in 0..ready {
                let Some(socket) = self.events.token(n) else { continue };
                // Of a leg's own there is one as a rule, and readiness is told again while there is more.
                let at_once = if self.ears.legs.is_empty() { 1 } else { BURST_OF_ONE };
                (0..at_once).all(|_| self.ears.receive(socket, counts, kind));
            }
            if ready < EVENTS {
                return;
            }
        }
    }
}

struct Leg {
    /// Where to, if its socket does not tell.
    to: Option<SocketAddr>,
    sequence: u32,
}

/// What was seen of a kind of calls.
#[derive(Default)]
struct Kind {
    sent: u64,
    /// Where in the order it goes on.
    position: usize,
    cpu_nanos: u64,
    /// How long packets were on their way. Units: nanoseconds.
    ways: Vec<u64>,
    wrong: u64,
}

impl Leg {
    fn send(&mut self, by: &DatagramSocket, leg: u32, now: u64) {
        let mut packet = [0xd5; PACKET];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&(self.sequence as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&self.sequence.wrapping_mul(160).to_be_bytes());
        packet[8..12].copy_from_slice(&(leg + 1).to_be_bytes());
        packet[12..16].copy_from_slice(&leg.to_be_bytes());
        packet[16..24].copy_from_slice(&now.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        // A packet that was not sent is one that did not arrive.
        let _ = self.to.map_or_else(|| by.send(&packet), |to| by.send_to(&packet, to));
    }
}

/// Legs speak in an order that has nothing to do with the relay's.
fn shuffled(legs: usize) -> Vec<usize> {
    let mut chance = words::Chance::new(words::Seed::from_number(7));
    let mut order: Vec<usize> = (0..legs).collect();
    (1..legs).for_each(|n| order.swap(n, chance.below(n as u64 + 1) as usize));
    order
}

/// How long one kind talks.
const TURN: u64 = 250 * MILLI;
/// What is on its way when a turn ends belongs to it.
const REST: u64 = 10 * MILLI;
/// Packets between two looks at what comes back.
const BURST: u64 = 256;
/// The same where one socket hears them all, whose buffer has place for some hundred.
const BURST_OF_ONE: u64 = 64;
/// Bytes of a packet: 20 ms of G.711.
const PACKET: usize = 172;
const MILLI: u64 = 1_000_000;
