//! How a flow lies in the memory that the programme reads and writes: `struct flow` and `struct rest` of `relay.bpf.c`.

use super::Flow;
use crate::batch::monotonic_nanos;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of what each packet of a flow needs: a line of a processor's cache. Units: words of 64 bits.
pub(super) const FLOW_WORDS: usize = 8;
/// The size of what a packet needs that is not as most are. Units: words of 64 bits.
pub(super) const REST_WORDS: usize = 16;

/// The memory of a flow.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    /// What each packet needs.
    pub(super) words: &'a [AtomicU64],
    /// What is needed seldom.
    pub(super) rest: &'a [AtomicU64],
}

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
    /// When the last one came, by the monotonic clock, to a microsecond; 0 for none. Units: nanoseconds.
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

/// Our address that a flow comes to, and that which it leaves from with the interface: `struct side`. Of IPv6 the last words,
/// the others are in `struct rest`.
pub(super) fn sides(flow: &Flow) -> [Side; 2] {
    [(flow.local, None), (flow.source, flow.interface)]
        .map(|(at, interface)| Side { address: address(at)[3], interface: interface.unwrap_or(0) })
}

/// An address of ours, and the interface by which packets leave it; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) address: u32,
    pub(super) interface: u32,
}

impl Record<'_> {
    /// Writes what user space alone writes, into a record that no packet finds.
    /// `sides`: their numbers; `by_driver`: it may leave by the driver of the card that it came to or of another.
    pub(super) fn write(self, flow: &Flow, sides: [u8; 2], by_driver: bool) {
        let Record { words, rest } = self;
        words[STATE].store(OFF, Ordering::SeqCst);
        let [local, remote, source, target] = [flow.local, flow.remote, flow.source, flow.target].map(address);
        let header =
            flow.header.unwrap_or(Header { ssrc: None, sequence_added: 0, timestamp_added: 0, payload_type: None });
        let all = types(flow.payload_types, flow.paced);
        let (usual, has_more) = usual(flow.payload_types, flow.paced);
        let traits = [
            flow.header.is_some(),
            header.payload_type.is_some(),
            header.ssrc.is_some(),
            flow.local.is_ipv6(),
            by_driver,
            has_more,
            flow.clock_hz == USUAL_HZ,
            flow.local.port() & 1 == 1,
        ];
        let traits = (0..).zip(traits).fold(0, |all, (bit, set)| all | u8::from(set) << bit);
        let ports = [flow.remote, flow.source, flow.target].map(|at| at.port().to_be());
        let tos = (flow.dscp & 63) << 2;
        let last = [sides[0], sides[1], tos, traits, header.payload_type.unwrap_or(0), usual[0], usual[1], 0];
        for (word, value) in words[FIXED..].iter().zip([
            two(remote[3], target[3]),
            two(header.ssrc.unwrap_or(0).to_be(), header.timestamp_added),
            two(pair(header.sequence_added, ports[0]), pair(ports[1], ports[2])),
            u64::from_le_bytes(last),
        ]) {
            word.store(value, Ordering::Relaxed);
        }
        // The two addresses change places in the sum, which does not mind.
        let first = |address: &[u32; 4]| [address[0], address[1], address[2]];
        let [from, to] = [[local, remote], [target, source]].map(|both| both.map(|address| first(&address)));
        rest[CLOCK].store(two(flow.clock_hz, (!flow.paced >> 96) as u32), Ordering::Relaxed);
        rest[TYPES].store(all, Ordering::Relaxed);
        rest[SUM].store(u64::from(difference(from.as_flattened(), to.as_flattened())), Ordering::Relaxed);
        let addresses = [local, remote, source, target].map(|address| first(&address));
        for (word, both) in rest[ADDRESSES..].iter().zip(addresses.as_flattened().chunks_exact(2)) {
            word.store(two(both[0], both[1]), Ordering::Relaxed);
        }
    }

    /// Goes on from a reception and switches the record on.
    pub(super) fn resume(self, from: &Reception) {
        self.begin(from);
        self.words[STATE].store(0, Ordering::SeqCst);
    }

    /// Has each packet of a record that is off leave its mark on its way to the socket.
    pub(super) fn hold(self) {
        self.words[STATE].store(OFF | HELD, Ordering::SeqCst);
    }

    /// Goes on from a reception and switches a record that is held on, if the last packet that went to the socket is the one
    /// with this number and timestamp; whether it was.
    pub(super) fn open(self, from: &Reception, sequence: u16, timestamp: u32) -> bool {
        let mark = OFF | HELD | MARKED | u64::from(sequence) << 32 | u64::from(timestamp);
        if self.words[STATE].load(Ordering::SeqCst) != mark {
            return false;
        }
        // Nobody else writes these while it is held.
        self.begin(from);
        self.words[STATE].compare_exchange(mark, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn begin(self, from: &Reception) {
        let Record { words, rest } = self;
        words[DONE].store(0, Ordering::Relaxed);
        words[STREAM].store(two(from.ssrc, from.highest), Ordering::Relaxed);
        words[TRANSIT].store(two(from.transit, from.jitter_x16), Ordering::Relaxed);
        let known = u64::from(from.received != 0) | u64::from(from.has_transit) << 1;
        let fixed = words[LAST].load(Ordering::Relaxed) << 8 >> 8;
        words[LAST].store(fixed | known << KNOWN_AT, Ordering::Relaxed);
        rest[LOST].store(two(from.lost_before, from.gap_packets), Ordering::Relaxed);
        rest[BASE].store(two(from.base, from.expected_after_jump), Ordering::Relaxed);
        // Nothing is done yet, so what was received stands below zero.
        rest[APART].store(two(from.received.wrapping_neg(), u32::from(from.gaps)), Ordering::Relaxed);
    }

    /// Takes the counts out of a record that is on.
    pub(super) fn take(self) -> Counts {
        if self.words[STATE].load(Ordering::Relaxed) == 0 {
            return Counts::default();
        }
        self.counts(self.words[STATE].swap(0, Ordering::SeqCst))
    }

    /// Switches a record that is on off, and takes its counts.
    pub(super) fn pause(self) -> Counts {
        self.counts(self.words[STATE].swap(OFF, Ordering::SeqCst))
    }

    /// Switches a record off.
    pub(super) fn close(self) {
        self.words[STATE].store(OFF, Ordering::SeqCst);
    }

    /// Whether as many packets were understood since the record was switched on. It counts in 32 bits.
    pub(super) fn has_done(self, packets: u64) -> bool {
        let done = self.words[DONE].load(Ordering::SeqCst) as u32;
        done.wrapping_sub(packets as u32).cast_signed() >= 0
    }

    /// What the programme found out.
    pub(super) fn reception(self) -> Reception {
        let halves = |word: &AtomicU64| {
            let word = word.load(Ordering::Relaxed);
            (word as u32, (word >> 32) as u32)
        };
        let Record { words, rest } = self;
        let (done, _) = halves(&words[DONE]);
        let (ssrc, highest) = halves(&words[STREAM]);
        let (transit, jitter_x16) = halves(&words[TRANSIT]);
        let (lost_before, gap_packets) = halves(&rest[LOST]);
        let (base, expected_after_jump) = halves(&rest[BASE]);
        let (apart, gaps) = halves(&rest[APART]);
        Reception {
            ssrc,
            base,
            highest,
            expected_after_jump,
            received: done.wrapping_sub(apart),
            jitter_x16,
            transit,
            has_transit: words[LAST].load(Ordering::Relaxed) >> KNOWN_AT & 2 != 0,
            lost_before,
            gaps: gaps as u16,
            gap_packets,
        }
    }

    fn counts(self, state: u64) -> Counts {
        let packets = (state & !OFF) >> 40;
        if packets == 0 {
            return Counts::default();
        }
        // The record has the lower bits of a time that is no more than an hour ago: flows are asked a few times a second.
        let last = (self.words[DONE].load(Ordering::Relaxed) >> 32) as u32;
        let now = monotonic_nanos() >> LAST_SHIFT;
        let ago = u64::from((now as u32).wrapping_sub(last));
        Counts { packets, bytes: state & ((1 << 40) - 1), last_nanos: now.saturating_sub(ago) << LAST_SHIFT }
    }
}

/// Payload types as the programme knows them: those between 32 and 95 (RFC 3551 §6: reserved or not assigned) go to the
/// sockets, and so do those below that have no clock or another one.
fn types(of: u128, paced: u128) -> u64 {
    u64::from((of & paced) as u32) | u64::from((of >> 96) as u32) << 32
}

/// The first two of them whose timestamps run at the flow's clock, and whether there are others.
fn usual(of: u128, paced: u128) -> ([u8; 2], bool) {
    let ours = (0..32).chain(96..128).filter(|bit| of >> bit & 1 == 1 && (paced >> bit & 1 == 1 || *bit >= 96));
    let mut usual = [NO_TYPE; 2];
    let mut timed = ours.clone().filter(|bit| paced >> bit & 1 == 1);
    for (to, bit) in usual.iter_mut().zip(timed.by_ref()) {
        *to = bit;
    }
    (usual, ours.count() > usual.iter().filter(|bit| **bit != NO_TYPE).count())
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

/// Two numbers of 16 bits as they lie after each other.
fn pair(first: u16, second: u16) -> u32 {
    u32::from(first) | u32::from(second) << 16
}

/// The same of 32 bits.
fn two(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// What it adds to a checksum (RFC 1071) that the first words are replaced by the second.
fn difference(from: &[u32], to: &[u32]) -> u32 {
    let mut sum: u64 = from.iter().map(|word| u64::from(!word)).chain(to.iter().map(|word| u64::from(*word))).sum();
    while sum >> 32 != 0 {
        sum = (sum & 0xffff_ffff) + (sum >> 32);
    }
    sum as u32
}

const OFF: u64 = 1 << 63;
const HELD: u64 = 1 << 62;
const MARKED: u64 = 1 << 61;
const NO_TYPE: u8 = 255;
const USUAL_HZ: u32 = 8_000;
/// Units of the time of the last packet are 2 to the power of it, in nanoseconds.
const LAST_SHIFT: u32 = 10;

/// Words of `struct flow`.
const STATE: usize = 0;
const DONE: usize = 1;
const STREAM: usize = 2;
const TRANSIT: usize = 3;
const FIXED: usize = 4;
const LAST: usize = 7;
/// Where in the last word it stands what is known of the stream. Units: bits.
const KNOWN_AT: u32 = 56;

/// Words of `struct rest`.
const LOST: usize = 0;
const BASE: usize = 1;
const APART: usize = 2;
const CLOCK: usize = 3;
const TYPES: usize = 4;
const SUM: usize = 5;
const ADDRESSES: usize = 8;
