//! How a flow lies in the memory that the programme reads and writes: `struct flow` of `relay.bpf.c`.

use super::Flow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of a record. Units: words of 64 bits.
pub(super) const FLOW_WORDS: usize = 16;

/// What is changed in RTP headers (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The SSRC in place of the sender's.
    pub ssrc: Option<u32>,
    /// What is added to sequence numbers.
    pub sequence_added: u16,
    /// What is added to timestamps.
    pub timestamp_added: u32,
    /// The payload type in place of the sender's.
    pub payload_type: Option<u8>,
}

/// What went through a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// RTP packets.
    pub packets: u64,
    /// Bytes of them. Units: bytes of UDP payload.
    pub bytes: u64,
    /// When the last one came, by the monotonic clock; 0 before the first. Units: nanoseconds.
    pub last_nanos: u64,
}

/// Reception as RFC 3550 A.1, A.3 and A.8 have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reception {
    /// The sender of the present stream.
    pub ssrc: u32,
    /// Its first sequence number.
    pub base: u32,
    /// Its highest sequence number, with cycles.
    pub highest: u32,
    /// What would follow the last packet that was too far off to believe; `u32::MAX` for none.
    pub expected_after_jump: u32,
    /// Its packets.
    pub received: u32,
    /// Interarrival jitter. Units: ticks of the flow's clock, times 16.
    pub jitter_x16: u32,
    /// Transit of the last packet whose timestamp counted.
    pub transit: u32,
    /// Whether there was one.
    pub has_transit: bool,
    /// Packets lost by streams before the present one.
    pub lost_before: u32,
    /// How many times packets were missing, in its lower 16 bits.
    pub gaps: u16,
    /// How many were in all those times; some may have come later.
    pub gap_packets: u32,
}

/// Where the programme looks for what comes to `local`: an index of `places`, and which of the two there.
pub(super) fn place(local: SocketAddr) -> (u32, usize) {
    (u32::from(local.port() >> 2) | u32::from(local.is_ipv6()) << 14, usize::from(local.port() >> 1 & 1))
}

/// Writes what user space alone writes, into a record that no packet finds.
/// `by_driver`: it may leave by the driver of the card that it came to or of another.
pub(super) fn write(words: &[AtomicU64], flow: &Flow, by_driver: bool) {
    words[STATE].store(OFF, Ordering::SeqCst);
    words[STREAM + 3].store(u64::from(flow.dscp & 63) << (TOS_AT + 2), Ordering::Relaxed);
    let [local, remote, source, target] = [flow.local, flow.remote, flow.source, flow.target].map(address);
    let header =
        flow.header.unwrap_or(Header { ssrc: None, sequence_added: 0, timestamp_added: 0, payload_type: None });
    let traits = u32::from(flow.header.is_some())
        | u32::from(header.payload_type.is_some()) << 1
        | u32::from(header.ssrc.is_some()) << 2
        | u32::from(flow.local.is_ipv6()) << 3
        | u32::from(by_driver) << 4;
    let last = u32::from(header.sequence_added) | traits << 16 | u32::from(header.payload_type.unwrap_or(0)) << 24;
    // The two addresses change places in the sum, which does not mind.
    let address_sum = difference([local, remote].as_flattened(), [target, source].as_flattened());
    let port_sum = difference(
        &[u32::from(flow.local.port().to_be()), u32::from(flow.remote.port().to_be())],
        &[u32::from(flow.source.port().to_be()), u32::from(flow.target.port().to_be())],
    );
    let half = |word: u64| [word as u32, (word >> 32) as u32];
    let mut all = [0; 2 * (FLOW_WORDS - FIXED)];
    let parts: [&[u32]; 8] = [
        &[local[3], remote[3], source[3], target[3]],
        &[pair(flow.local.port(), flow.remote.port()), pair(flow.source.port(), flow.target.port())],
        &half(types(flow.payload_types, flow.paced)),
        &[(!flow.paced >> 96) as u32, flow.clock_hz],
        &[flow.interface.unwrap_or(0), address_sum],
        &[port_sum, header.ssrc.unwrap_or(0).to_be()],
        &[header.timestamp_added],
        &[last],
    ];
    for (to, from) in all.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    for (word, two) in words[FIXED..].iter().zip(all.chunks_exact(2)) {
        word.store(u64::from(two[0]) | u64::from(two[1]) << 32, Ordering::Relaxed);
    }
}

/// `struct rest`: what addresses of IPv6 have besides; `None` for IPv4.
pub(super) fn rest(flow: &Flow) -> Option<[u32; REST_WORDS]> {
    let addresses = [flow.local, flow.remote, flow.source, flow.target].map(address);
    let rest = std::array::from_fn(|n| addresses[n / 3][n % 3]);
    flow.local.is_ipv6().then_some(rest)
}

/// Goes on from a reception and switches the record on.
pub(super) fn resume(words: &[AtomicU64], from: &Reception) {
    begin(words, from);
    words[STATE].store(0, Ordering::SeqCst);
}

/// Has each packet of a record that is off leave its mark on its way to the socket.
pub(super) fn hold(words: &[AtomicU64]) {
    words[STATE].store(OFF | HELD, Ordering::SeqCst);
}

/// Goes on from a reception and switches a record that is held on, if the last packet that went to the socket is the one
/// with this number and timestamp; whether it was.
pub(super) fn open(words: &[AtomicU64], from: &Reception, sequence: u16, timestamp: u32) -> bool {
    let mark = OFF | HELD | MARKED | u64::from(sequence) << 32 | u64::from(timestamp);
    if words[STATE].load(Ordering::SeqCst) != mark {
        return false;
    }
    // Nobody else writes these while it is held.
    begin(words, from);
    words[STATE].compare_exchange(mark, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

fn begin(words: &[AtomicU64], from: &Reception) {
    let two = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    words[DONE].store(0, Ordering::Relaxed);
    words[LAST].store(0, Ordering::Relaxed);
    words[LOST].store(two(from.lost_before, from.gap_packets), Ordering::Relaxed);
    words[STREAM].store(two(from.ssrc, from.base), Ordering::Relaxed);
    words[STREAM + 1].store(two(from.highest, from.expected_after_jump), Ordering::Relaxed);
    // Nothing is done yet, so what was received stands below zero.
    words[STREAM + 2].store(two(from.received.wrapping_neg(), from.jitter_x16), Ordering::Relaxed);
    let tos = words[STREAM + 3].load(Ordering::Relaxed) >> TOS_AT << TOS_AT;
    let rest = two(from.transit, u32::from(from.gaps) | u32::from(from.has_transit) << 16);
    words[STREAM + 3].store(rest | tos, Ordering::Relaxed);
}

/// Takes the counts out of a record that is on.
pub(super) fn take(words: &[AtomicU64]) -> Counts {
    if words[STATE].load(Ordering::Relaxed) == 0 {
        return Counts::default();
    }
    let state = words[STATE].swap(0, Ordering::SeqCst);
    counts(state, words)
}

/// Switches a record that is on off, and takes its counts.
pub(super) fn pause(words: &[AtomicU64]) -> Counts {
    let state = words[STATE].swap(OFF, Ordering::SeqCst);
    counts(state, words)
}

/// Switches a record off.
pub(super) fn close(words: &[AtomicU64]) {
    words[STATE].store(OFF, Ordering::SeqCst);
}

/// How many packets were understood since the record was switched on.
pub(super) fn done(words: &[AtomicU64]) -> u64 {
    words[DONE].load(Ordering::SeqCst)
}

/// What the programme found out.
pub(super) fn reception(words: &[AtomicU64]) -> Reception {
    let two = |at: usize| {
        let word = words[at].load(Ordering::Relaxed);
        (word as u32, (word >> 32) as u32)
    };
    let (ssrc, base) = two(STREAM);
    let (highest, expected_after_jump) = two(STREAM + 1);
    let (apart, jitter_x16) = two(STREAM + 2);
    let received = (words[DONE].load(Ordering::Relaxed) as u32).wrapping_sub(apart);
    let (transit, rest) = two(STREAM + 3);
    let (lost_before, gap_packets) = two(LOST);
    Reception {
        ssrc,
        base,
        highest,
        expected_after_jump,
        received,
        jitter_x16,
        transit,
        has_transit: rest >> 16 & 1 != 0,
        lost_before,
        gaps: rest as u16,
        gap_packets,
    }
}

fn counts(state: u64, words: &[AtomicU64]) -> Counts {
    Counts {
        packets: (state & !OFF) >> 40,
        bytes: state & ((1 << 40) - 1),
        last_nanos: words[LAST].load(Ordering::Relaxed),
    }
}

/// Payload types as the programme knows them: those between 32 and 95 (RFC 3551 §6: reserved or not assigned) go to the
/// sockets, and so do those below that have no clock or another one.
fn types(of: u128, paced: u128) -> u64 {
    u64::from((of & paced) as u32) | u64::from((of >> 96) as u32) << 32
}

/// An address as four words in network order, IPv4 mapped into IPv6.
fn address(of: SocketAddr) -> [u32; 4] {
    let octets = match of {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(v6) => v6.ip().octets(),
    };
    let (words, _) = octets.as_chunks();
    std::array::from_fn(|n| u32::from_ne_bytes(words[n]))
}

/// Two ports as they lie after each other.
fn pair(first: u16, second: u16) -> u32 {
    u32::from(first.to_be()) | u32::from(second.to_be()) << 16
}

/// What it adds to a checksum (RFC 1071) that the first words are replaced by the second.
fn difference(from: &[u32], to: &[u32]) -> u32 {
    let mut sum: u64 = from.iter().map(|word| u64::from(!word)).chain(to.iter().map(|word| u64::from(*word))).sum();
    while sum >> 32 != 0 {
        sum = (sum & 0xffff_ffff) + (sum >> 32);
    }
    sum as u32
}

/// The size of what addresses of IPv6 have besides. Units: words of 32 bits.
pub(super) const REST_WORDS: usize = 12;
const OFF: u64 = 1 << 63;
const HELD: u64 = 1 << 62;
const MARKED: u64 = 1 << 61;
const STATE: usize = 0;
const DONE: usize = 1;
const LAST: usize = 2;
const LOST: usize = 3;
const STREAM: usize = 4;
/// Where in the last word of a stream the mark stands. Units: bits.
const TOS_AT: u32 = 56;
const FIXED: usize = 8;
