//! One row of the table: a pair of ports and the end that uses it.

use crate::carry::Trial;
use crate::latch::Latch;
use crate::secure::Secure;
use media::clocks::{Clocks, Stamp};
use media::command::{EndCounters, Generation, MediaReport, PayloadTypes, PortPair, Silence, Terms};
use media::dtmf::Detector;
use media::monitor::{CLOCK_UNKNOWN, Counted, Monitor};
use media::own::Extended;
use media::rtp::RtpView;
use media::sdp::Direction;
use media::stats::{Place, ReceiveStats};
use std::net::SocketAddr;
use std::time::Duration;
use words::{LegId, Time};

/// A pair of ports.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its port is 0 when it was given up.
    pub(crate) pair: PortPair,
    /// Counts the ends that had this pair, so that a link to an earlier one leads nowhere.
    pub(crate) epoch: u32,
    /// `None` while the pair is free.
    pub(crate) end: Option<End>,
}

/// What is known of an end that is open.
#[derive(Debug)]
pub(crate) struct End {
    // What each packet touches.
    pub(crate) payload_types: PayloadTypes,
    pub(crate) link: Option<Link>,
    pub(crate) kernel: Kernel,
    /// As our description says it: whether we send to it and take from it.
    pub(crate) direction: Direction,
    /// It hears a sound in place of what is linked to it.
    pub(crate) plays: bool,
    /// It shares a port with others.
    pub(crate) single: bool,
    /// Which extended reports it wants, and gets of nobody but us.
    pub(crate) extended: Extended,
    /// What it hears of whoever it speaks with.
    pub(crate) informed: Informed,
    /// Its first packet was told.
    pub(crate) told_first: bool,
    /// The payload type of the last packet whose clock is known, or [`CLOCK_UNKNOWN`].
    pub(crate) speaks: u8,
    pub(crate) telephone_event: Option<u8>,
    pub(crate) clocks: Clocks,
    /// When the last packet was taken, or silence began to count.
    pub(crate) last: Time,
    /// Where RTP is heard from at this moment, as [`Latch::heard`] says.
    pub(crate) heard: Option<SocketAddr>,
    /// When the kernel is asked to carry its packets.
    pub(crate) trial: Trial,
    pub(crate) reception: ReceiveStats,
    pub(crate) counters: EndCounters,
    /// Its keys, when it speaks SRTP.
    pub(crate) secure: Option<Box<Secure>>,
    // What only few do.
    pub(crate) name: LegId,
    pub(crate) generation: Generation,
    /// Taken when it was told.
    silence: Silence,
    pub(crate) latch: Latch,
    pub(crate) events: Detector,
    /// How well it goes; `None` until something was heard for a while, or reported.
    pub(crate) monitor: Option<Box<Monitor>>,
}

/// Where an end's packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) slot: u32,
    pub(crate) epoch: u32,
}

/// What an end is told by the one that it speaks with through us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Informed {
    /// Nothing so far.
    Nothing,
    /// Reports came from there.
    Reports,
    /// Extended ones, too: nothing that we would add.
    Extended,
}

/// What the kernel does about an end's sources: whether its RTP socket is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// It lets everybody in.
    Open,
    /// It is connected; older packets may still wait.
    Draining,
    /// It is connected and the queue was seen empty; nothing came since.
    Unproven,
    /// It is connected and the peer was heard since.
    Proven,
    /// Connecting failed or silenced the peer: it stays open until the address changes.
    Never,
}

impl Kernel {
    /// Whether the socket is connected and only its peer's packets are in it.
    #[inline]
    pub(crate) fn knows_peer(self) -> bool {
        match self {
            Kernel::Unproven | Kernel::Proven => true,
            Kernel::Open | Kernel::Draining | Kernel::Never => false,
        }
    }

    /// Whether the socket is connected, or was told to be.
    pub(crate) fn is_connected(self) -> bool {
        match self {
            Kernel::Draining | Kernel::Unproven | Kernel::Proven => true,
            Kernel::Open | Kernel::Never => false,
        }
    }
}

impl End {
    /// An end as a command opens it.
    pub(crate) fn new(name: LegId, generation: Generation, terms: &Terms, now: Time) -> End {
        End {
            payload_types: terms.payload_types,
            link: None,
            kernel: Kernel::Open,
            direction: terms.direction,
            plays: false,
            single: false,
            extended: terms.extended,
            informed: Informed::Nothing,
            told_first: false,
            speaks: CLOCK_UNKNOWN,
            telephone_event: terms.telephone_event,
            clocks: terms.clocks,
            last: now,
            heard: None,
            trial: Trial::default(),
            reception: ReceiveStats::new(CLOCK_HZ),
            counters: EndCounters::default(),
            secure: None,
            name,
            generation,
            silence: terms.silence,
            latch: Latch::new(terms.source, terms.whereabouts, terms.remote),
            events: Detector::default(),
            monitor: None,
        }
    }

    /// Takes new terms; true when the socket must be disconnected, because its peer is another.
    pub(crate) fn renew(&mut self, terms: &Terms, now: Time) -> bool {
        let moved = self.latch.renew(terms.source, terms.whereabouts, terms.remote);
        let disconnect = moved && self.kernel.is_connected();
        if moved {
            self.kernel = Kernel::Open;
        }
        self.heard = self.latch.heard();
        self.payload_types = terms.payload_types;
        (self.telephone_event, self.clocks) = (terms.telephone_event, terms.clocks);
        (self.direction, self.extended) = (terms.direction, terms.extended);
        (self.silence, self.last) = (terms.silence, now);
        disconnect
    }

    /// Counts a packet that was taken from it.
    #[inline]
    pub(crate) fn count(&mut self, rtp: &RtpView<'_>, bytes: usize, now: Time) {
        self.last = now;
        self.counters.packets_in += 1;
        self.counters.bytes_in += bytes as u64;
        let stamp = self.clocks.of(rtp.payload_type()).map(|clock_hz| Stamp { ticks: rtp.timestamp(), clock_hz });
        if stamp.is_some() {
            self.speaks = rtp.payload_type();
        }
        let place = self.reception.packet(rtp.ssrc(), rtp.sequence(), stamp, now);
        if self.is_watched() {
            self.watch(place, stamp, now);
        }
    }

    /// Whether each of its packets is looked at, as it wants to know of bursts of loss and hears of them from nobody else.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.extended.metrics && self.informed != Informed::Extended
    }

    /// Looks for bursts of loss, of whose lengths it wants to know.
    #[cold]
    fn watch(&mut self, place: Place, stamp: Option<Stamp>, now: Time) {
        self.monitor.get_or_insert_with(|| Box::new(Monitor::new(now))).own().hears(place, stamp);
    }

    /// Whether it hears the exchange itself: a sound, or its own echo. `slot` is its own.
    pub(crate) fn speaks_with_us(&self, slot: u32) -> bool {
        self.plays || self.link.is_some_and(|link| link.slot == slot)
    }

    /// Whether it has been silent for too long; says so once.
    pub(crate) fn falls_silent(&mut self, now: Time) -> bool {
        let limit = Option::<Duration>::from(self.silence).filter(|_| self.direction.receives());
        let falls = limit.is_some_and(|limit| now.since(self.last) >= limit);
        if falls {
            self.silence = None.into();
        }
        falls
    }

    /// Whether the kernel, which forwards RTP as it is, may have packets from this end or to it.
    pub(crate) fn is_plain(&self) -> bool {
        // All fields are named, so that whoever adds one that changes packets or must see them says so here.
        let End {
            payload_types,
            link: _,
            kernel: _,
            direction: _,
            plays: _,
            single,
            extended: _,
            informed: _,
            told_first: _,
            speaks: _,
            telephone_event: _,
            clocks: _,
            last: _,
            heard: _,
            trial: _,
            reception: _,
            counters: _,
            name: _,
            generation: _,
            silence: _,
            latch: _,
            events: _,
            monitor: _,
            secure,
        } = self;
        // What speaks no RTP is not looked at there, and what is encrypted cannot be; many of one port are not told apart.
        !payload_types.is_empty() && secure.is_none() && !single
    }

    /// Whether anything ever came, so that more may wait in the sockets.
    pub(crate) fn was_spoken_to(&self) -> bool {
        let EndCounters { packets_in, rtcp_in, dropped_source, dropped_type, .. } = self.counters;
        let EndCounters { dropped_forged, dropped_replayed, .. } = self.counters;
        packets_in + rtcp_in + dropped_source + dropped_type + dropped_forged + dropped_replayed > 0
    }

    /// What was counted of what it sends.
    pub(crate) fn counted(&self) -> Counted {
        let (gaps, gap_packets) = self.reception.gaps();
        Counted {
            packets: self.counters.packets_in,
            lost: self.reception.lost(),
            gaps,
            gap_packets,
            jitter_us: u32::try_from(self.reception.jitter_us()).unwrap_or(u32::MAX),
            payload_type: self.speaks,
        }
    }

    /// What is reported when it closes.
    pub(crate) fn closed(&self, ports: PortPair) -> MediaReport {
        let (lost, jitter_us) = (self.reception.lost(), self.reception.jitter_us());
        let (counted, sent) = (self.counted(), self.counters.packets_out);
        // Who only heard a sound and never said anything has no figures.
        let spoke = self.counters.packets_in > 0 || self.counters.rtcp_in > 0;
        let figures = self.monitor.as_ref().filter(|_| spoke).map(|known| Box::new(known.figures(&counted, sent)));
        let counters = EndCounters { lost, jitter_us, ..self.counters };
        MediaReport::Closed { end: self.name, ports, counters, figures }
    }
}

/// The clock that is taken until a packet says another one: that of G.711, G.722 and G.729 (RFC 3551 §4.5). Units: Hz.
const CLOCK_HZ: u32 = 8_000;
