//! The table of ends by socket, and the one look that each packet gets.

mod datagram;
mod pairs;
pub(crate) mod quality;
mod socket;

pub use socket::SocketId;

use crate::carry::Trial;
use crate::counters::Totals;
use crate::ice::Checked;
use crate::latch::Judgement;
use crate::row::{End, Informed, Kernel, Link, Row};
use crate::secure::Secure;
use crate::single::Single;
use media::command::{Generation, Keys, MediaCommand, MediaReport, PortPair, Refusal, Sound, Terms};
use media::demux::{Protocol, protocol};
use media::ice::Checks;
use media::rtp::RtpView;
use media::sdp::Direction;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use words::{LegId, OwnMap, Time};

/// How long a connected socket may be silent right after it was connected before that is taken back: where a host has
/// several addresses on one link, connecting can choose another one than the peer sends to.
pub const UNPROVEN_PATIENCE: Duration = Duration::from_secs(1);

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It came from where nothing may come from: others that wait behind it deserve a look at once.
    Refused,
    /// It goes nowhere: no valid packet, on hold, or linked to nobody.
    Dropped,
    /// It goes out.
    Send(Route),
    /// It is answered, and counts as nobody's; others that wait behind it deserve a look.
    Answer(Route),
}

/// The way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// By which socket.
    pub socket: SocketId,
    /// To where; `None`: to the peer that the socket is connected to.
    pub to: Option<SocketAddr>,
}

/// What the worker has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect the RTP socket, then read it with sources until it is empty and say [`Table::drained`].
    Connect {
        /// Whose.
        slot: u32,
        /// To where.
        to: SocketAddr,
    },
    /// Disconnect the RTP socket.
    Disconnect {
        /// Whose.
        slot: u32,
    },
    /// Throw away what waits in both sockets.
    Discard {
        /// Whose.
        slot: u32,
    },
    /// Begin a sound, or change it.
    Play {
        /// For whom.
        slot: u32,
        /// What.
        sound: Sound,
        /// Of which payload type: 0 or 8.
        payload_type: u8,
    },
    /// End the sound.
    Quiet {
        /// For whom.
        slot: u32,
    },
    /// The end has spoken for a while and nothing waits in its socket: let the kernel carry it, if [`Table::carriage`]
    /// says how, else say [`Table::carry_later`].
    Carry {
        /// Whose packets.
        slot: u32,
    },
    /// Packets to the end go elsewhere from now on: what the kernel carries from it or to it is taken back.
    Moved {
        /// Whose.
        slot: u32,
    },
    /// Send a report of our own: [`Table::own_report`] writes it.
    Inform {
        /// To whom.
        slot: u32,
    },
    /// Tell the switch.
    Report(MediaReport),
}

/// The ends of one worker.
#[derive(Debug)]
pub struct Table {
    pub(crate) rows: Vec<Row>,
    /// Slots whose pairs were given up.
    vacant: Vec<u32>,
    /// Slots by the names of ends.
    pub(crate) slots: OwnMap<LegId, u32>,
    /// Ports of ends that could not be opened: closing them is answered all the same.
    refused: OwnMap<LegId, PortPair>,
    /// Keys of ends that will be opened.
    keys: OwnMap<LegId, Box<Keys>>,
    /// By what checks are known that come to ends which will be opened.
    pub(crate) checks: OwnMap<LegId, Box<Checks>>,
    outputs: VecDeque<Output>,
    pub(crate) totals: Totals,
    /// Ends that share a port.
    pub(crate) single: Single,
    /// Whether sockets are connected once the address of the description spoke.
    connects: bool,
    /// Whether the kernel may carry links.
    pub(crate) carries: bool,
}

impl Table {
    /// An empty table. With `connects`, [`Output::Connect`] is said for ends whose source is settled.
    pub fn new(connects: bool) -> Self {
        let outputs = VecDeque::with_capacity(64);
        let (slots, refused) = (OwnMap::default(), OwnMap::default());
        let (keys, checks) = (OwnMap::default(), OwnMap::default());
        let (totals, single) = (Totals::default(), Single::default());
        let (rows, vacant) = (Vec::new(), Vec::new());
        Table { rows, vacant, slots, refused, keys, checks, outputs, totals, single, connects, carries: false }
    }

    /// The same table, whose links the kernel may carry: [`Output::Carry`] is said for ends that are settled.
    #[must_use]
    pub fn with_carriage(mut self) -> Self {
        self.carries = true;
        self
    }

    /// Carries out a command; [`MediaCommand::Stock`] and [`MediaCommand::Unbind`] are none of the table's business.
    pub fn apply(&mut self, command: MediaCommand, now: Time) {
        match command {
            MediaCommand::Open { end, ports, generation, terms } => {
                self.open(end, ports, generation, &terms, now);
                self.enter(end);
            }
            MediaCommand::Latch { end, generation, terms } => {
                self.leave(end);
                if let Some((slot, known)) = self.younger(end, generation, true)
                    && known.renew(&terms, now)
                {
                    self.outputs.push_back(Output::Disconnect { slot });
                }
                self.enter(end);
            }
            MediaCommand::Rekey { end, generation, keys, .. } => self.rekey(end, generation, keys, now),
            MediaCommand::Ice { end, generation, checks, .. } => {
                self.leave(end);
                self.set_checks(end, generation, checks);
                self.enter(end);
            }
            MediaCommand::Link { from, to, generation } => self.link(from, to, generation),
            MediaCommand::Unlink { from, generation } => {
                if let Some((_, end)) = self.younger(from, generation, false) {
                    end.link = None;
                }
            }
            MediaCommand::Play { end, generation, sound, payload_type } => {
                if payload_type != PCMU && payload_type != PCMA {
                    self.refuse(end, Refusal::NoSuchSound);
                } else if let Some((slot, known)) = self.younger(end, generation, true) {
                    known.plays = true;
                    self.outputs.push_back(Output::Play { slot, sound, payload_type });
                }
            }
            MediaCommand::Stop { end, generation } => {
                if let Some((slot, known)) = self.younger(end, generation, false)
                    && std::mem::take(&mut known.plays)
                {
                    self.outputs.push_back(Output::Quiet { slot });
                }
            }
            MediaCommand::Close { end, generation } => self.close(end, generation, now),
            MediaCommand::Stock { .. } | MediaCommand::Unbind { .. } => {}
        }
    }

    /// What becomes of a packet that a socket received, of an end without keys. `from` is `None` where the kernel lets the peer in only, which
    /// is where [`Table::is_connected`] says so.
    #[inline]
    pub fn forward(&mut self, socket: SocketId, from: Option<SocketAddr>, packet: &[u8], now: Time) -> Verdict {
        let Some(Row { end: Some(end), .. }) = self.rows.get_mut(socket.slot() as usize) else {
            self.totals.dropped_source += 1;
            return Verdict::Refused;
        };
        if socket.is_rtcp() {
            return self.forward_rtcp(socket, from, packet, now);
        }
        if end.payload_types.is_empty() {
            return self.forward_datagram(socket.slot(), from, packet, now);
        }
        let rtp = match RtpView::parse(packet) {
            Some(rtp) if end.payload_types.contains(rtp.payload_type()) => rtp,
            _ => {
                end.counters.dropped_type += 1;
                self.totals.dropped_type += 1;
                // From a stranger it must not hold up what waits behind it.
                return if from.is_none() || from == end.heard { Verdict::Dropped } else { Verdict::Refused };
            }
        };
        if let Some(from) = from
            && end.heard != Some(from)
        {
            if end.latch.let_go(end.counters.packets_in, now.since(end.last)) {
                end.heard = None;
            }
            if end.latch.judge_rtp(from, &rtp, end.secure.is_some(), now) == Judgement::Refused {
                end.counters.dropped_source += 1;
                self.totals.dropped_source += 1;
                return Verdict::Refused;
            }
            self.settle(socket.slot(), from);
        }
        self.pass(socket.slot(), &rtp, packet.len(), now)
    }

    /// Takes note that the RTP socket of `slot` was found empty.
    pub fn drained(&mut self, slot: u32) {
        let Some(end) = self.end_at(slot) else { return };
        if end.kernel == Kernel::Draining {
            end.kernel = Kernel::Unproven;
        }
        if end.trial.begin() {
            self.outputs.push_back(Output::Carry { slot });
        }
    }

    /// Takes note that the RTP socket of `slot` could not be connected.
    pub fn connect_failed(&mut self, slot: u32) {
        if let Some(end) = self.end_at(slot) {
            end.kernel = Kernel::Never;
        }
    }

    /// Whether whatever the RTP socket of `slot` receives is from its peer.
    #[inline]
    pub fn is_connected(&self, slot: u32) -> bool {
        let end = self.rows.get(slot as usize).and_then(|row| row.end.as_ref());
        end.is_some_and(|end| end.kernel.knows_peer())
    }

    /// Whether the RTP socket of `slot` is to be read until it is empty: then say [`Table::drained`].
    pub fn is_draining(&self, slot: u32) -> bool {
        let end = self.rows.get(slot as usize).and_then(|row| row.end.as_ref());
        end.is_some_and(|end| end.kernel == Kernel::Draining || end.trial.is_due())
    }

    /// The way out for a packet of a sound that the end hears.
    pub fn emit(&mut self, slot: u32, packet: &[u8], now: Time) -> Option<Route> {
        let bytes = packet.len();
        let end = self.end_at(slot)?;
        if !end.plays || !end.direction.sends() {
            return None;
        }
        let to = if end.kernel.knows_peer() { None } else { Some(end.latch.rtp_target()?) };
        end.counters.packets_out += 1;
        end.counters.bytes_out += bytes as u64;
        quality::sounds(end, packet, now);
        self.totals.packets += 1;
        self.totals.bytes += bytes as u64;
        Some(Route { socket: SocketId::rtp(slot), to })
    }

    /// Takes note that a socket did not take a packet which [`Table::forward`] or [`Table::emit`] sent there; `bytes` as it
    /// would have gone out.
    pub fn unsent(&mut self, socket: SocketId, bytes: usize) {
        let secure = self.end_at(socket.slot()).and_then(|end| end.secure.as_ref());
        // It was counted before it was encrypted.
        let tag = secure.map_or(0, |secure| secure.tag_bytes());
        self.take_back(socket, bytes.saturating_sub(tag));
    }

    /// Counts a packet back that was counted as sent, of so many bytes.
    pub(crate) fn take_back(&mut self, socket: SocketId, bytes: usize) {
        self.totals.dropped_send += 1;
        let Some(end) = self.end_at(socket.slot()) else { return };
        let counters = &mut end.counters;
        counters.dropped_send += 1;
        if socket.is_rtcp() {
            counters.rtcp_out -= 1;
            self.totals.rtcp -= 1;
        } else {
            counters.packets_out -= 1;
            counters.bytes_out -= bytes as u64;
            quality::unsent(end, socket.slot(), bytes);
            self.totals.packets -= 1;
            self.totals.bytes -= bytes as u64;
        }
    }

    /// Looks for ends that fell silent; a few times a second is enough.
    pub fn handle_timeout(&mut self, now: Time) {
        for (slot, row) in self.rows.iter_mut().enumerate() {
            let Some(end) = &mut row.end else { continue };
            if let Some(checked) = &mut end.latch.checked {
                checked.age(now, |is_rtcp, from| self.single.forget_checked(is_rtcp, from, slot as u32));
            }
            if let Some(secure) = &mut end.secure {
                secure.age(now);
            }
            if quality::look(end, &mut self.totals, now) && quality::is_to_be_told(end, slot as u32, now) {
                self.outputs.push_back(Output::Inform { slot: slot as u32 });
            }
            if end.falls_silent(now) {
                self.outputs.push_back(Output::Report(MediaReport::Silent { end: end.name }));
            }
            if end.kernel == Kernel::Unproven && now.since(end.last) >= UNPROVEN_PATIENCE {
                end.kernel = Kernel::Never;
                self.outputs.push_back(Output::Disconnect { slot: slot as u32 });
            }
        }
    }

    /// Ends an end whose packet broke something of ours: it is told as silent, so that its call ends.
    pub fn give_up(&mut self, slot: u32) {
        if let Some(end) = self.end_at(slot) {
            (end.link, end.direction) = (None, Direction::Inactive);
            let end = end.name;
            self.outputs.push_back(Output::Report(MediaReport::Silent { end }));
        }
    }

    /// What is to be done next.
    #[inline]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What went through so far.
    pub fn totals(&self) -> Totals {
        Totals { ends: self.slots.len() as u64, ..self.totals }
    }

    /// How many ends are open.
    pub fn open_ends(&self) -> usize {
        self.slots.len()
    }

    fn open(&mut self, name: LegId, ports: PortPair, generation: Generation, terms: &Terms, now: Time) {
        if self.slots.contains_key(&name) {
            // Said twice: the first time it was carried out.
            return;
        }
        match self.rows.get_mut(ports.slot as usize) {
            Some(row) if row.pair == ports && row.end.is_none() => {
                let mut end = End::new(name, generation, terms, now);
                end.secure = self.keys.remove(&name).map(|keys| Box::new(Secure::new(*keys)));
                end.latch.checked = self.checks.remove(&name).map(|checks| Box::new(Checked::new(*checks)));
                if self.carries {
                    end.trial = Trial::new();
                }
                row.end = Some(end);
                self.slots.insert(name, ports.slot);
            }
            _ => {
                self.keys.remove(&name);
                self.checks.remove(&name);
                if self.refused.len() < REFUSED_MAX {
                    self.refused.insert(name, ports);
                }
                self.refuse(name, Refusal::NoSuchPorts);
            }
        }
    }

    fn rekey(&mut self, name: LegId, generation: Generation, keys: Option<Box<Keys>>, now: Time) {
        if !self.slots.contains_key(&name) {
            return keep(&mut self.keys, name, keys);
        }
        let Some((_, end)) = self.younger(name, generation, false) else { return };
        match (keys, &mut end.secure) {
            (Some(keys), Some(secure)) => secure.rekey(*keys, now),
            (Some(keys), secure @ None) => *secure = Some(Box::new(Secure::new(*keys))),
            (None, secure) => *secure = None,
        }
    }

    fn link(&mut self, from: LegId, to: LegId, generation: Generation) {
        let Some(&slot) = self.slots.get(&to) else {
            return self.refuse(to, Refusal::NotOpen);
        };
        let link = Link { slot, epoch: self.rows[slot as usize].epoch };
        if let Some((_, end)) = self.younger(from, generation, true)
            && end.link.replace(link) != Some(link)
            && let Some(hearer) = self.end_at(slot)
        {
            hearer.informed = Informed::Nothing;
        }
    }

    fn close(&mut self, name: LegId, generation: Generation, now: Time) {
        if let Some(ports) = self.refused.remove(&name) {
            let (counters, figures) = Default::default();
            return self.outputs.push_back(Output::Report(MediaReport::Closed { end: name, ports, counters, figures }));
        }
        let Some((slot, _)) = self.younger(name, generation, false) else { return };
        self.leave(name);
        let row = &mut self.rows[slot as usize];
        if let Some(end) = &mut row.end {
            quality::close(end, &mut self.totals, now);
        }
        row.epoch = row.epoch.wrapping_add(1);
        self.slots.remove(&name);
        let Some(end) = row.end.take() else { return };
        if end.plays {
            self.outputs.push_back(Output::Quiet { slot });
        }
        if end.kernel.is_connected() {
            self.outputs.push_back(Output::Disconnect { slot });
        }
        if end.was_spoken_to() {
            self.outputs.push_back(Output::Discard { slot });
        }
        self.outputs.push_back(Output::Report(end.closed(row.pair)));
    }

    /// The end, when the command is younger than all before it. An end that is not open is told if it is `needed`.
    pub(crate) fn younger(&mut self, name: LegId, generation: Generation, needed: bool) -> Option<(u32, &mut End)> {
        let Some(&slot) = self.slots.get(&name) else {
            if needed {
                self.refuse(name, Refusal::NotOpen);
            }
            return None;
        };
        let end = self.rows[slot as usize].end.as_mut()?;
        if (generation.0.wrapping_sub(end.generation.0) as i32) <= 0 {
            return None;
        }
        end.generation = generation;
        end.trial.soon(end.counters.packets_in);
        Some((slot, end))
    }

    pub(crate) fn say(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn refuse(&mut self, end: LegId, why: Refusal) {
        self.outputs.push_back(Output::Report(MediaReport::Refused { end, why }));
    }

    pub(crate) fn end_at(&mut self, slot: u32) -> Option<&mut End> {
        self.rows.get_mut(slot as usize)?.end.as_mut()
    }

    /// Draws the consequences of a packet that was taken from `from`.
    fn settle(&mut self, slot: u32, from: SocketAddr) {
        let connects = self.connects;
        let Some(end) = self.end_at(slot) else { return };
        end.heard = end.latch.heard();
        let connect = connects && end.kernel == Kernel::Open && end.latch.has_spoken() && !end.single;
        if connect {
            end.kernel = Kernel::Draining;
        }
        let first = !std::mem::replace(&mut end.told_first, true);
        let (end, to, single) = (end.name, end.heard, end.single);
        if single {
            self.learn(slot);
        }
        if let (true, Some(to)) = (connect, to) {
            self.outputs.push_back(Output::Connect { slot, to });
        }
        if first {
            self.outputs.push_back(Output::Report(MediaReport::FirstPacket { end, from }));
        }
    }

    /// Counts a packet that was taken and finds its way out.
    #[inline]
    fn pass(&mut self, slot: u32, rtp: &RtpView<'_>, bytes: usize, now: Time) -> Verdict {
        let Some(end) = self.rows[slot as usize].end.as_mut() else { return Verdict::Dropped };
        self.totals.packets_in += 1;
        end.count(rtp, bytes, now);
        end.trial.count(end.counters.packets_in);
        if end.kernel == Kernel::Unproven {
            end.kernel = Kernel::Proven;
        }
        if end.direction.receives()
            && end.telephone_event == Some(rtp.payload_type())
            && let Some(digit) = end.events.packet(rtp.timestamp(), rtp.payload())
        {
            let clock_hz = end.clocks.of_events(rtp.payload_type()).unwrap_or(EVENT_HZ);
            let duration_ms = (u64::from(digit.duration_ticks) * 1_000 / u64::from(clock_hz)) as u32;
            let (end, digit) = (end.name, digit.digit);
            self.outputs.push_back(Output::Report(MediaReport::Dtmf { end, digit, duration_ms }));
        }
        self.send_on(slot, bytes)
    }

    /// Finds the way out for what was taken.
    #[inline]
    fn send_on(&mut self, slot: u32, bytes: usize) -> Verdict {
        if let Some(end) = self.rows[slot as usize].end.as_ref()
            && end.direction.receives()
            && let Some(link) = end.link
            && let Some(route) = self.route(link)
        {
            self.totals.packets += 1;
            self.totals.bytes += bytes as u64;
            let out = &mut self.rows[link.slot as usize];
            if let Some(out) = &mut out.end {
                out.counters.packets_out += 1;
                out.counters.bytes_out += bytes as u64;
            }
            return Verdict::Send(route);
        }
        if let Some(end) = self.end_at(slot) {
            end.counters.dropped_unlinked += 1;
        }
        self.totals.dropped_unlinked += 1;
        Verdict::Dropped
    }

    /// The way of RTP to the end of a link; `None` when it hears nothing.
    #[inline]
    fn route(&self, link: Link) -> Option<Route> {
        let row = self.rows.get(link.slot as usize).filter(|row| row.epoch == link.epoch)?;
        let out = row.end.as_ref().filter(|out| out.direction.sends() && !out.plays)?;
        let to = if out.kernel.knows_peer() { None } else { Some(out.latch.rtp_target()?) };
        Some(Route { socket: SocketId::rtp(link.slot), to })
    }

    /// RTCP passes whatever the direction: a held end goes on reporting (RFC 3264 §5.1).
    fn forward_rtcp(&mut self, socket: SocketId, from: Option<SocketAddr>, packet: &[u8], now: Time) -> Verdict {
        let Some(end) = self.end_at(socket.slot()) else { return Verdict::Refused };
        let taken = from.is_some_and(|from| end.latch.judge_rtcp(from) == Judgement::Taken);
        if !taken {
            end.counters.dropped_source += 1;
            self.totals.dropped_source += 1;
            return Verdict::Refused;
        }
        if protocol(packet) != Protocol::Rtcp || packet.len() < RTCP_BYTES_MIN {
            end.counters.dropped_type += 1;
            self.totals.dropped_type += 1;
            return Verdict::Dropped;
        }
        end.last = now;
        end.counters.rtcp_in += 1;
        let link = end.link;
        let with_us = end.speaks_with_us(socket.slot());
        if let Some(mos) = quality::read(end, packet, with_us, now) {
            self.totals.judged.opinion(mos);
        }
        if with_us {
            return self.answer_report(socket, packet);
        }
        let Some(link) = link else { return Verdict::Dropped };
        let row = self.rows.get_mut(link.slot as usize).filter(|row| row.epoch == link.epoch);
        let Some(out) = row.and_then(|row| row.end.as_mut()).filter(|out| !out.plays) else { return Verdict::Dropped };
        let Some(to) = out.latch.rtcp_target() else { return Verdict::Dropped };
        out.counters.rtcp_out += 1;
        quality::pass(out, packet, now);
        self.totals.rtcp += 1;
        Verdict::Send(Route { socket: SocketId::rtcp(link.slot), to: Some(to) })
    }
}

/// Keeps what an end is to be opened with: it must never be open without.
pub(crate) fn keep<T>(kept: &mut OwnMap<LegId, Box<T>>, name: LegId, what: Option<Box<T>>) {
    if let Some(what) = what
        && kept.len() < REFUSED_MAX
    {
        kept.insert(name, what);
    }
}

/// The common header and one SSRC (RFC 3550 §6.1).
const RTCP_BYTES_MIN: usize = 8;
/// The clock of telephone events where nothing is said of it: that beside G.711, G.722 and G.729 (RFC 4733 §2.1). Units: Hz.
const EVENT_HZ: u32 = 8_000;
const PCMU: u8 = 0;
const PCMA: u8 = 8;
/// How many ends that could not be opened are remembered.
const REFUSED_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
