//! The flows of one worker that the kernel carries: put there when both ends are settled, taken back before anything
//! about them changes, their figures added to those of the worker.
//!
//! A packet that comes to the worker's socket although its flow is in the kernel needs eyes: the flow is paused, so that
//! one place alone counts, and goes on after some packets more. A change of routes, addresses or interfaces takes all
//! flows back; they find their way anew.

use crate::ports::Pair;
use crate::tier::look_again;
use crate::worker::pair_of;
use forward::{Carriage, Speaker, Table};
use media::command::MediaCommand;
use media::rtp::RtpView;
use media::stats::Reception;
use net::offload::{Counts, Flow, FlowId, Flows, Header, OffloadError};
use net::route::{Changes, Link, Routes, Way};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::Time;
use words::diagnosis::Language;

/// What a worker knows of its flows in the kernel.
#[derive(Debug)]
pub(crate) struct InKernel {
    flows: Flows,
    routes: Routes,
    changes: Changes,
    /// Something changed, and it is not yet time to look what.
    is_stale: bool,
    anew_at: Time,
    /// When it may be told again that a flow was not taken.
    full_at: Time,
    /// Where hosts are, as long as nothing changes.
    ways: HashMap<IpAddr, Way>,
    /// Interfaces by which flows may leave.
    ethernet: Vec<u32>,
    /// By slot, as the rows of the table.
    places: Vec<Place>,
    carried: usize,
    totals: Totals,
    /// Where the next look at figures begins.
    next: usize,
    /// How packets are marked for routers.
    dscp: u8,
    /// The packet that the worker is at, where it may be the last one before a flow is opened.
    at: Option<Last>,
}

/// A packet of a held flow.
#[derive(Clone, Copy, Debug)]
struct Last {
    slot: u32,
    sequence: u16,
    timestamp: u32,
}

/// What happened to all flows of a worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Packets that the kernel forwarded.
    pub(crate) packets: u64,
    /// Times that a flow went into the kernel or came back.
    pub(crate) switches: u64,
    /// Times that the kernel had no room for a flow.
    pub(crate) refused: u64,
}

#[derive(Debug, Default)]
struct Place {
    /// What comes from the end.
    flow: Option<Box<Carried>>,
    /// The slot whose flow goes to the end.
    into: Option<u32>,
}

#[derive(Debug)]
struct Carried {
    id: FlowId,
    carriage: Carriage,
    /// The worker has its packets.
    is_paused: bool,
    /// It has them until none waits in the socket.
    is_held: bool,
    /// Packets since the kernel has them.
    packets: u64,
}

impl InKernel {
    /// No flow yet.
    ///
    /// # Errors
    /// What the operating system says: no descriptors left.
    pub(crate) fn new(flows: Flows, dscp: u8) -> io::Result<Self> {
        let (routes, changes) = (Routes::open()?, Changes::open()?);
        let ethernet = ethernet(&routes)?;
        let (ways, places) = (HashMap::new(), Vec::new());
        let (is_stale, anew_at) = (false, Time::ZERO);
        Ok(InKernel {
            flows,
            routes,
            changes,
            is_stale,
            anew_at,
            full_at: Time::ZERO,
            ways,
            ethernet,
            places,
            carried: 0,
            totals: Totals::default(),
            next: 0,
            dscp,
            at: None,
        })
    }

    /// How many flows are in the kernel, or paused.
    pub(crate) fn carried(&self) -> usize {
        self.carried
    }

    /// What happened so far.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// To be called before a command is carried out: takes back what it may change.
    pub(crate) fn before_command(&mut self, command: &MediaCommand, table: &mut Table, now: Time) {
        if self.carried > 0
            && let Some(slot) = command.end().and_then(|end| table.slot_of(end))
        {
            self.take_back_around(slot, table, now);
        }
    }

    /// To be called before the table sees a packet of an RTP socket.
    #[inline]
    pub(crate) fn before_packet(
        &mut self,
        slot: u32,
        from: Option<SocketAddr>,
        packet: &[u8],
        table: &mut Table,
        now: Time,
    ) {
        let Some(place) = self.places.get(slot as usize) else { return };
        if place.flow.is_none() && place.into.is_none() {
            return;
        }
        match table.speaker(slot, from, packet) {
            Speaker::Nobody => {}
            Speaker::Known if self.is_held(slot) => {
                self.at = RtpView::parse(packet).map(|rtp| Last {
                    slot,
                    sequence: rtp.sequence(),
                    timestamp: rtp.timestamp(),
                });
            }
            Speaker::Known => self.pause(slot, table),
            Speaker::Better => self.take_back_around(slot, table, now),
        }
    }

    /// To be called after a packet was sent on: if it is the last one that went to the socket, the kernel has those behind it.
    #[inline]
    pub(crate) fn after_packet(&mut self, table: &mut Table, now: Time) {
        if let Some(last) = self.at.take() {
            self.open(last, table, now);
        }
    }

    /// Whether the packets of an end are taken from its socket as they come, so that the kernel may have those behind them.
    #[inline]
    pub(crate) fn is_held(&self, slot: u32) -> bool {
        let flow = self.places.get(slot as usize).and_then(|place| place.flow.as_ref());
        flow.is_some_and(|flow| flow.is_held)
    }

    fn open(&mut self, last: Last, table: &mut Table, now: Time) {
        let carriage = table.carriage(last.slot);
        let flow = self.places.get_mut(last.slot as usize).and_then(|place| place.flow.as_mut());
        let Some(flow) = flow.filter(|flow| flow.is_held) else { return };
        if Some(flow.carriage) != carriage {
            return self.take_back(last.slot, table, now);
        }
        let reception = reception_of(table, last.slot);
        if self.flows.open(&mut flow.id, &reception, last.sequence, last.timestamp) {
            (flow.is_paused, flow.is_held, flow.packets) = (false, false, 0);
            self.totals.switches += 1;
        }
    }

    /// Lets the kernel carry the packets of an end, if everything is as it must be, from the next one on that finds the
    /// socket empty.
    pub(crate) fn carry(&mut self, slot: u32, table: &mut Table, pairs: &[Option<Pair>], now: Time) {
        let carriage = table.carriage(slot);
        let known = self.places.get_mut(slot as usize).and_then(|place| place.flow.as_mut());
        if let Some(flow) = known.filter(|flow| Some(flow.carriage) == carriage) {
            self.flows.hold(&flow.id);
            flow.is_held = true;
            return;
        }
        self.take_back(slot, table, now);
        if !carriage.is_some_and(|carriage| self.install(carriage, pairs, now)) {
            table.carry_later(slot, 0);
        }
    }

    /// To be called a few times a second: adds up figures, hears of changes, says that somebody is here.
    pub(crate) fn look(&mut self, table: &mut Table, now: Time) {
        self.is_stale |= self.changes.any();
        if self.is_stale && now >= self.anew_at {
            self.is_stale = false;
            self.anew_at = now + ANEW_EVERY;
            self.start_anew(table, now);
        }
        if let Err(error) = self.flows.offload().beat() {
            tracing::warn!(%error, "the programme of the kernel tier lets go in a few seconds");
        }
        for (slot, place) in self.places.iter_mut().enumerate() {
            if let Some(flow) = place.flow.as_mut().filter(|flow| !flow.is_paused)
                && table.is_judged(slot as u32, now)
            {
                self.totals.packets += flow.tell(&self.flows, table);
            }
        }
        let each = self.places.len().div_ceil(LOOKS).max(LOOK_MIN).min(self.places.len());
        for _ in 0..each {
            let slot = self.next % self.places.len();
            self.next = slot + 1;
            if let Some(flow) = self.places[slot].flow.as_mut().filter(|flow| !flow.is_paused) {
                let counts = self.flows.take(&mut flow.id);
                flow.add(counts, table);
                self.totals.packets += counts.packets;
            }
        }
    }

    /// Takes back what comes from an end and what goes to it.
    pub(crate) fn take_back_around(&mut self, slot: u32, table: &mut Table, now: Time) {
        self.take_back(slot, table, now);
        if let Some(from) = self.places.get(slot as usize).and_then(|place| place.into) {
            self.take_back(from, table, now);
        }
    }

    fn install(&mut self, carriage: Carriage, pairs: &[Option<Pair>], now: Time) -> bool {
        let (slot, to) = (carriage.slot as usize, carriage.to_slot as usize);
        if self.places.len() < pairs.len() {
            self.places.resize_with(pairs.len(), Place::default);
        }
        // Two that speak to one: the worker keeps the second.
        if self.places.get(to).is_none_or(|place| place.into.is_some()) {
            return false;
        }
        let Some(flow) = self.flow(&carriage, pairs) else { return false };
        match self.flows.install_held(&flow, now) {
            Ok(id) => {
                let carried = Carried { id, carriage, is_paused: true, is_held: true, packets: 0 };
                self.places[slot].flow = Some(Box::new(carried));
                self.places[to].into = Some(carriage.slot);
                self.carried += 1;
                true
            }
            Err(error) => {
                self.tell_refused(&error, now);
                false
            }
        }
    }

    /// Counts a flow that was not taken, and says why: each further one would say the same.
    fn tell_refused(&mut self, error: &OffloadError, now: Time) {
        self.totals.refused += 1;
        if now < self.full_at {
            return;
        }
        self.full_at = now + FULL_TOLD_EVERY;
        let carried = self.carried;
        if let Some(diagnosis) = error.diagnosis() {
            let text = diagnosis.text(Language::En);
            tracing::info!(diag = diagnosis.id(), %error, carried, "{} {} {}", text.what, text.means, text.todo);
        } else {
            tracing::warn!(%error, carried, "the kernel does not take a flow: it goes by sockets");
        }
    }

    /// The addresses of a flow and the way of its packets; `None` when the kernel cannot send them so.
    fn flow(&mut self, carriage: &Carriage, pairs: &[Option<Pair>]) -> Option<Flow> {
        let (from, to) = (self.way(carriage.from.ip())?, self.way(carriage.to.ip())?);
        // From the network to this host itself, or back, a packet would need a way that it cannot have come.
        if from.is_local != to.is_local || !to.is_local && !self.ethernet.contains(&to.interface) {
            return None;
        }
        let (local, source) = (pair_of(pairs, carriage.slot)?, pair_of(pairs, carriage.to_slot)?);
        let rewrite = carriage.rewrite;
        Some(Flow {
            local: ours(local, from)?,
            remote: carriage.from,
            source: ours(source, to)?,
            target: carriage.to,
            payload_types: carriage.payload_types.bits(),
            paced: carriage.paced.bits(),
            clock_hz: carriage.clock_hz,
            interface: (!to.is_local).then_some(to.interface),
            header: (!rewrite.is_none()).then_some(Header {
                ssrc: rewrite.ssrc,
                sequence_added: rewrite.sequence_added,
                timestamp_added: rewrite.timestamp_added,
                payload_type: rewrite.payload_type,
            }),
            dscp: self.dscp,
        })
    }

    fn way(&mut self, to: IpAddr) -> Option<Way> {
        if let Some(way) = self.ways.get(&to) {
            return Some(*way);
        }
        // A link-local address means something on one link only, which nobody names.
        if matches!(to, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
            return None;
        }
        let way = self.routes.way(to).ok()?;
        if self.ways.len() >= WAYS_MAX {
            self.ways.clear();
        }
        self.ways.insert(to, way);
        Some(way)
    }

    /// Lets the worker have the packets of an end until [`InKernel::carry`].
    fn pause(&mut self, slot: u32, table: &mut Table) {
        let flow = self.places.get_mut(slot as usize).and_then(|place| place.flow.as_mut());
        if let Some(flow) = flow.filter(|flow| !flow.is_paused) {
            self.totals.packets += flow.pause(&self.flows, table);
            self.totals.switches += 1;
            table.carry_later(slot, flow.packets);
        }
    }

    fn take_back(&mut self, slot: u32, table: &mut Table, now: Time) {
        let Some(mut flow) = self.places.get_mut(slot as usize).and_then(|place| place.flow.take()) else { return };
        if !flow.is_paused {
            self.totals.packets += flow.pause(&self.flows, table);
            self.totals.switches += 1;
        }
        if let Some(place) = self.places.get_mut(flow.carriage.to_slot as usize) {
            place.into = None;
        }
        table.carry_later(slot, flow.packets);
        self.flows.remove(flow.id, now);
        self.carried -= 1;
    }

    fn start_anew(&mut self, table: &mut Table, now: Time) {
        for slot in 0..self.places.len() {
            self.take_back(slot as u32, table, now);
        }
        self.ways.clear();
        match ethernet(&self.routes) {
            Ok(ethernet) => self.ethernet = ethernet,
            Err(error) => tracing::warn!(%error, "cannot list interfaces"),
        }
        look_again(self.flows.offload());
    }
}

impl Carried {
    /// Gives how many packets the kernel forwarded since the last look.
    fn pause(&mut self, flows: &Flows, table: &mut Table) -> u64 {
        let (counts, reception) = flows.pause(&mut self.id);
        self.is_paused = true;
        self.add(counts, table);
        self.know(&reception, table);
        counts.packets
    }

    /// Tells the table what is known, while packets go on; gives how many the kernel forwarded since the last look.
    fn tell(&mut self, flows: &Flows, table: &mut Table) -> u64 {
        let counts = flows.take(&mut self.id);
        self.add(counts, table);
        self.know(&flows.peek(&self.id), table);
        counts.packets
    }

    fn know(&self, reception: &net::offload::Reception, table: &mut Table) {
        let before = table.reception(self.carriage.slot).unwrap_or_default();
        table.resume(self.carriage.slot, &known(reception, &before));
    }

    fn add(&mut self, counts: Counts, table: &mut Table) {
        let Counts { packets, bytes, last_nanos } = counts;
        self.packets += packets;
        table.carried(self.carriage.slot, self.carriage.to_slot, packets, bytes, Time::from_nanos(last_nanos));
    }
}

/// What the kernel found out, as the table knows it, which knew `before`.
fn known(reception: &net::offload::Reception, before: &Reception) -> Reception {
    Reception {
        ssrc: reception.ssrc,
        base: reception.base,
        highest: reception.highest,
        expected_after_jump: reception.expected_after_jump,
        received: reception.received,
        jitter_x16: reception.jitter_x16,
        transit: reception.transit,
        has_transit: reception.has_transit,
        lost_before: reception.lost_before.into(),
        gaps: before.gaps.wrapping_add(reception.gaps.wrapping_sub(before.gaps as u16).into()),
        gap_packets: reception.gap_packets,
    }
}

/// What the kernel goes on from.
fn reception_of(table: &Table, slot: u32) -> net::offload::Reception {
    let from = table.reception(slot).unwrap_or_default();
    net::offload::Reception {
        ssrc: from.ssrc,
        base: from.base,
        highest: from.highest,
        expected_after_jump: from.expected_after_jump,
        received: from.received,
        jitter_x16: from.jitter_x16,
        transit: from.transit,
        has_transit: from.has_transit,
        lost_before: u32::try_from(from.lost_before).unwrap_or(u32::MAX),
        gaps: from.gaps as u16,
        gap_packets: from.gap_packets,
    }
}

/// The address of ours that a peer's packets come to and are sent from: the socket's, else the way's.
fn ours(pair: &Pair, way: Way) -> Option<SocketAddr> {
    let local = pair.rtp.local().ok()?;
    Some(if local.ip().is_unspecified() { SocketAddr::new(way.source, local.port()) } else { local })
}

fn ethernet(routes: &Routes) -> io::Result<Vec<u32>> {
    let all = routes.interfaces()?.into_iter();
    Ok(all.filter(|interface| interface.link == Link::Ethernet).map(|interface| interface.index).collect())
}

/// Over how many looks all figures are read, where that is more than [`LOOK_MIN`].
const LOOKS: usize = 4;
const LOOK_MIN: usize = 1_024;
/// How often at most all flows are taken back because something changed.
const ANEW_EVERY: Duration = Duration::from_secs(1);
/// How often at most it is told that flows are not taken.
const FULL_TOLD_EVERY: Duration = Duration::from_mins(1);
/// How many hosts' ways are remembered.
const WAYS_MAX: usize = 1_024;
