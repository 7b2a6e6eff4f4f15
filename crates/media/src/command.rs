//! The words in which the switch commands media and hears back from it.
//!
//! Commands of one end carry rising [`Generation`]s. A worker ignores a command whose generation is not above the last
//! one it applied for that end, so repeating a command does no harm. [`MediaCommand::Open`],
//! [`MediaCommand::Rekey`], [`MediaCommand::Ice`] and [`MediaCommand::Close`] are never refused.

use crate::clocks::Clocks;
use crate::ice::Checks;
use crate::own::Extended;
use crate::sdp::Direction;
use crate::srtp::MasterKey;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::{LegFigures, LegId};

/// An address family of media sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address. An IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.to_canonical().is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// A bound pair of media sockets. RTCP is on `rtp_port + 1` (RFC 3550 §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortPair {
    /// The worker that owns the sockets.
    pub worker: u16,
    /// The place of the pair in that worker's table; stays with the pair as long as it is bound.
    pub slot: u32,
    /// The even port of RTP.
    pub rtp_port: u16,
    /// The family that it is bound in.
    pub family: Family,
}

impl PortPair {
    /// The port of RTCP.
    pub const fn rtcp_port(self) -> u16 {
        self.rtp_port.saturating_add(1)
    }
}

/// The worker that has the port which many ends share: calls with such an end are its calls.
pub const SHARING_WORKER: u16 = 0;

/// How young a command to an end is: the highest wins. For [`MediaCommand::Link`] and [`MediaCommand::Unlink`] it
/// counts with the `from` end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u32);

impl Generation {
    /// Steps to the next one and gives it.
    pub fn step(&mut self) -> Generation {
        self.0 = self.0.wrapping_add(1);
        *self
    }
}

/// Where the other side of an end wants its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MediaAddress {
    /// For RTP.
    pub rtp: SocketAddr,
    /// For RTCP: `a=rtcp` (RFC 3605), else the port above RTP. The same as for RTP where both sides said that one port has
    /// both (RFC 5761): then its RTCP is taken from there and sent there by our RTP port.
    pub rtcp: SocketAddr,
}

/// From where an end takes packets, and to where it sends. Whatever was learnt, packets from elsewhere are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SourceRule {
    /// Hears and sends only the address of the SDP.
    Strict,
    /// The device is known to be behind NAT: may learn one other address, at most once, to hear from and to send to;
    /// goes back for good when the address of the SDP speaks. Until something was learnt it sends to the SDP address.
    /// [`Whereabouts`] say who is learnt sooner than others, and takes the place of who was learnt before it spoke.
    LearnOnce,
    /// A trunk: may learn one other source to hear from, and goes on sending to the address of the SDP.
    HearOnce,
}

/// Why an end cannot share a port with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum OwnPorts {
    /// It is behind NAT, and its description has no ICE and names no SSRC.
    #[error("it is behind NAT, and neither has ICE nor names an SSRC")]
    BehindNat,
    /// It is to be called, and where it will speak from is not known before it answers.
    #[error("where it speaks from is not known before it answers")]
    Called,
    /// Another end has the address of its description.
    #[error("another call has the same address")]
    SameAddress,
    /// It is a trunk, which may speak from elsewhere than it says.
    #[error("a trunk may speak from elsewhere than it says")]
    Trunk,
    /// The other side of its call, or all that there was room for, is at a worker that has not that port.
    #[error("its call is with another worker than the one that has the shared port")]
    OtherWorker,
}

/// What signalling knows of where an end is, beside its description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Whereabouts {
    /// The host that its signalling comes from: a device behind NAT sends its media from there, too. `None`: with
    /// [`SourceRule::LearnOnce`] nobody is learnt, with [`SourceRule::HearOnce`] nobody is preferred.
    pub host: Option<IpAddr>,
    /// We told it the one port that many ends share: its packets come there, and are told from others' by the address of its
    /// description, by `ssrc`, or by what its checks say ([`MediaCommand::Ice`]). Its own pair, which is of
    /// [`SHARING_WORKER`], stays in reserve.
    #[serde(default)]
    pub single_port: bool,
    /// Why it was told its own pair, where there is a port to share.
    #[serde(default)]
    pub own: Option<OwnPorts>,
    /// The SSRC that its description names (RFC 5576 §4.1): what makes known an end behind NAT that shares a port.
    #[serde(default)]
    pub ssrc: Option<u32>,
}

/// What an end hears, and where it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// From where packets are taken.
    pub source: SourceRule,
    /// Whom to prefer where one may be learnt.
    #[serde(default)]
    pub whereabouts: Whereabouts,
    /// Where its packets go; `None` while not known or on hold.
    pub remote: Option<MediaAddress>,
    /// What may come: the types that this end listed and those that were listed to it, for a sender uses the
    /// receiver's numbers (RFC 3264 §5.1). Others are dropped and counted. [`PayloadTypes::NONE`] beside an address
    /// in `remote`: no RTP, but datagrams of another kind (T.38 over UDPTL), which pass as they are.
    pub payload_types: PayloadTypes,
    /// The clocks of those whose numbers say nothing, of which jitter is reckoned.
    #[serde(default)]
    pub clocks: Clocks,
    /// The payload type of telephone events (RFC 4733): their ends are reported.
    pub telephone_event: Option<u8>,
    /// As our description to this end says it: whether we send to it, and whether we take from it.
    pub direction: Direction,
    /// What it is told beside plain reports, of what it asked for: by the exchange itself, where it speaks with that, and
    /// else in the place of another end that knows none.
    #[serde(default)]
    pub extended: Extended,
    /// Reports [`MediaReport::Silent`] after so long without a packet, counted from this command on; `None`: never.
    pub silence: Silence,
}

/// After how long without a packet an end is told to be silent: a duration in less room, as each end of each call has one.
/// Units: milliseconds, 49 days at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Duration>", into = "Option<Duration>")]
pub struct Silence {
    /// 0: never.
    ms: u32,
}

impl Silence {
    /// Whether it is ever told.
    pub const fn counts(self) -> bool {
        self.ms != 0
    }
}

impl From<Option<Duration>> for Silence {
    fn from(after: Option<Duration>) -> Self {
        Silence { ms: after.map_or(0, |after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX).max(1)) }
    }
}

impl From<Silence> for Option<Duration> {
    fn from(silence: Silence) -> Self {
        (silence.ms != 0).then(|| Duration::from_millis(silence.ms.into()))
    }
}

/// A set of RTP payload types (RFC 3550 §5.1): a bit for each of the 128.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PayloadTypes(u128);

impl PayloadTypes {
    /// None.
    pub const NONE: PayloadTypes = PayloadTypes(0);
    /// All.
    pub const ALL: PayloadTypes = PayloadTypes(u128::MAX);

    /// Whether `payload_type` is among them; never for a number above 127.
    pub const fn contains(self, payload_type: u8) -> bool {
        payload_type < 128 && self.0 >> payload_type & 1 == 1
    }

    /// Puts `payload_type` in; a number above 127 is none and changes nothing.
    pub const fn insert(&mut self, payload_type: u8) {
        if payload_type < 128 {
            self.0 |= 1 << payload_type;
        }
    }

    /// These with `payload_type`.
    #[must_use]
    pub const fn with(mut self, payload_type: u8) -> Self {
        self.insert(payload_type);
        self
    }

    /// Those in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        PayloadTypes(self.0 | other.0)
    }

    /// Those in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        PayloadTypes(self.0 & other.0)
    }

    /// Whether it is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// From the lowest to the highest.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..128).filter(move |&n| self.contains(n))
    }

    /// The bits themselves, the lowest for payload type 0.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The set with these bits.
    pub const fn from_bits(bits: u128) -> Self {
        PayloadTypes(bits)
    }
}

impl FromIterator<u8> for PayloadTypes {
    fn from_iter<I: IntoIterator<Item = u8>>(types: I) -> Self {
        let mut set = PayloadTypes::NONE;
        types.into_iter().for_each(|n| set.insert(n));
        set
    }
}

impl MediaAddress {
    /// Whether RTP and RTCP go there on one port (RFC 5761).
    pub fn is_muxed(&self) -> bool {
        self.rtp == self.rtcp
    }

    /// The same with one port for both.
    #[must_use]
    pub const fn muxed(self) -> Self {
        MediaAddress { rtp: self.rtp, rtcp: self.rtp }
    }
}

impl std::fmt::Debug for PayloadTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What the exchange itself lets an end hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sound {
    /// The tone that a caller hears while somebody is rung.
    Ringback,
    /// A sine.
    Tone {
        /// Its frequency. Units: Hz, below 4,000.
        hz: u16,
        /// Its level. Units: dBm0 (ITU-T G.711).
        level_dbm0: i8,
    },
}

/// The keys of an end that speaks SRTP (RFC 3711).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// Of what comes from it.
    pub inbound: MasterKey,
    /// Of what is sent to it.
    pub outbound: MasterKey,
}

/// What a worker is told. An end is named by its leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaCommand {
    /// Takes ports into use for an end.
    Open {
        /// The end.
        end: LegId,
        /// Its ports: ready ones of the pool.
        ports: PortPair,
        /// How young this command is.
        generation: Generation,
        /// What it hears and where it sends.
        terms: Terms,
    },
    /// Changes an open end after a new description: address, hold, types. What was learnt is forgotten if the remote
    /// address differs from the one before.
    Latch {
        /// The end.
        end: LegId,
        /// How young this command is.
        generation: Generation,
        /// What it hears and where it sends from now on.
        terms: Terms,
    },
    /// Gives an end its keys, or takes them away. With keys nothing passes that is not encrypted and genuine, and
    /// nothing is learnt from anything else. For an end that is not open yet the keys are kept for its
    /// [`MediaCommand::Open`], so that no packet comes between. A key that was there before goes on with its counters.
    Rekey {
        /// The end.
        end: LegId,
        /// Its ports.
        ports: PortPair,
        /// How young this command is.
        generation: Generation,
        /// They; `None`: it speaks plain RTP.
        keys: Option<Box<Keys>>,
    },
    /// Gives an end ICE, or takes it away. With it the end answers checks, and nothing is learnt but from them: once one was
    /// genuine, the end hears and sends where such came from, and nowhere else. For an end that is not open yet it is kept
    /// for its [`MediaCommand::Open`]. Other credentials than before are a restart (RFC 8445 §9): what was proven holds until
    /// there is something new.
    Ice {
        /// The end.
        end: LegId,
        /// Its ports.
        ports: PortPair,
        /// How young this command is.
        generation: Generation,
        /// By what checks are known; `None`: it has no ICE.
        checks: Option<Box<Checks>>,
    },
    /// What comes from one end goes to another, in this one direction. An end linked to itself is an echo. An end has
    /// one link at most: a new one replaces it.
    Link {
        /// The end that is heard.
        from: LegId,
        /// The end that hears, on the same worker.
        to: LegId,
        /// How young this command is.
        generation: Generation,
    },
    /// What comes from an end goes nowhere.
    Unlink {
        /// The end that was heard.
        from: LegId,
        /// How young this command is.
        generation: Generation,
    },
    /// Lets an end hear a sound until [`MediaCommand::Stop`], in place of what is linked to it.
    Play {
        /// The end.
        end: LegId,
        /// How young this command is.
        generation: Generation,
        /// What it hears.
        sound: Sound,
        /// The payload type to send: 0 (PCMU) or 8 (PCMA), as RFC 3551 has them.
        payload_type: u8,
    },
    /// Ends the sound.
    Stop {
        /// The end.
        end: LegId,
        /// How young this command is.
        generation: Generation,
    },
    /// Forgets an end. Answered by [`MediaReport::Closed`], also when the end is unknown to the worker that owned the
    /// ports.
    Close {
        /// The end.
        end: LegId,
        /// How young this command is.
        generation: Generation,
    },
    /// Have at least so many pairs of this family bound in all, over all workers; the new ones are reported as
    /// [`MediaReport::Ready`].
    Stock {
        /// How many in all.
        pairs: u32,
        /// In which family.
        family: Family,
    },
    /// Give up pairs that nobody has. The same numbers of ports and slots may come back as [`MediaReport::Ready`] later.
    Unbind {
        /// Whose they are.
        worker: u16,
        /// Which; none is in use, and none is handed out again until it is reported anew.
        ports: Vec<PortPair>,
    },
}

impl MediaCommand {
    /// The end that it is about; the one that is heard, for a link.
    pub const fn end(&self) -> Option<LegId> {
        match *self {
            MediaCommand::Open { end, .. }
            | MediaCommand::Latch { end, .. }
            | MediaCommand::Link { from: end, .. }
            | MediaCommand::Unlink { from: end, .. }
            | MediaCommand::Play { end, .. }
            | MediaCommand::Stop { end, .. }
            | MediaCommand::Rekey { end, .. }
            | MediaCommand::Ice { end, .. }
            | MediaCommand::Close { end, .. } => Some(end),
            MediaCommand::Stock { .. } | MediaCommand::Unbind { .. } => None,
        }
    }
}

/// What the workers report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaReport {
    /// New pairs are bound and can be handed out.
    Ready {
        /// They.
        ports: Vec<PortPair>,
    },
    /// The first packet of an end was taken.
    FirstPacket {
        /// The end.
        end: LegId,
        /// Where it came from.
        from: SocketAddr,
    },
    /// Nothing came from an end for as long as its `silence` says. Reported once.
    Silent {
        /// The end.
        end: LegId,
    },
    /// A telephone event ended (RFC 4733).
    Dtmf {
        /// The end that sent it.
        end: LegId,
        /// The digit: `0`…`9`, `*`, `#`, `A`…`D`.
        digit: char,
        /// How long it was held. Units: milliseconds.
        duration_ms: u32,
    },
    /// An end is forgotten, and its ports are free but for their rest in the pool.
    Closed {
        /// The end.
        end: LegId,
        /// Its ports.
        ports: PortPair,
        /// What went through it.
        counters: EndCounters,
        /// How well it went in both directions; `None` where nobody spoke.
        figures: Option<Box<LegFigures>>,
    },
    /// A command could not be carried out.
    Refused {
        /// The end of the command.
        end: LegId,
        /// Why.
        why: Refusal,
    },
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The ends of a link belong to different workers.
    DifferentWorkers,
    /// No pair has that worker and slot, or another end uses it.
    NoSuchPorts,
    /// The end is not open.
    NotOpen,
    /// The payload type is neither PCMU nor PCMA.
    NoSuchSound,
    /// Its packets on the shared port cannot be told from those of another end, or from a stranger's.
    NotTold,
}

/// What went through an end since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndCounters {
    /// RTP packets taken from it.
    pub packets_in: u64,
    /// Bytes of them. Units: bytes of UDP payload.
    pub bytes_in: u64,
    /// RTP packets sent to it.
    pub packets_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// RTCP packets taken from it.
    pub rtcp_in: u64,
    /// RTCP packets sent to it.
    pub rtcp_out: u64,
    /// Packets from it that its sequence numbers miss (RFC 3550 A.3).
    pub lost: u64,
    /// Interarrival jitter of what it sent (RFC 3550 §6.4.1). Units: microseconds.
    pub jitter_us: u64,
    /// Dropped: came from another source than the rule allows. What the kernel itself refuses, because the socket is
    /// connected to the one who is heard, is not among them: the host counts it (`NoPorts` of UDP in `/proc/net/snmp`).
    pub dropped_source: u64,
    /// Dropped: not a payload type of the description, or no RTP at all.
    pub dropped_type: u64,
    /// Dropped: of an end with keys, and not encrypted with them.
    pub dropped_forged: u64,
    /// Dropped: of an end with keys, and seen before.
    pub dropped_replayed: u64,
    /// Dropped: the end was on hold, or linked to nowhere.
    pub dropped_unlinked: u64,
    /// Dropped: the socket did not take it.
    pub dropped_send: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_types_are_a_set_of_seven_bits() {
        let set: PayloadTypes = [0, 8, 101, 127, 128, 255].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 8, 101, 127]);
        assert!(set.contains(101) && !set.contains(229) && !set.contains(255));
        assert_eq!(set.intersection(PayloadTypes::NONE.with(8).with(9)).iter().collect::<Vec<_>>(), [8]);
        assert_eq!(format!("{set:?}"), "{0, 8, 101, 127}");
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        assert_eq!(Family::of("::ffff:192.0.2.1".parse().unwrap()), Family::V4);
        assert_eq!(Family::of("2001:db8::1".parse().unwrap()), Family::V6);
    }
}
