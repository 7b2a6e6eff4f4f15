//! The relay's double: it has no packets, knows where they would go, and holds each command to the protocol.

use crate::sim::world::exchange_for;
use media::command::{
    EndCounters, Family, Generation, Keys, MediaCommand, MediaReport, PortPair, SHARING_WORKER, Sound, Terms,
};
use media::ice::Checks;
use media::monitor::{Counted, Monitor, WINDOW};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use words::{LegFigures, LegId, Time};

/// The relay.
#[derive(Default)]
pub struct Relay {
    ends: BTreeMap<LegId, End>,
    /// Keys of ends that will be opened.
    keys: BTreeMap<LegId, Option<Box<Keys>>>,
    /// ICE of ends that will be opened.
    checks: BTreeMap<LegId, Option<Box<Checks>>>,
    /// Ends that were open once: a name is used once.
    names: BTreeSet<LegId>,
    /// When each pair was free again.
    free: BTreeMap<PortPair, Option<Time>>,
    reports: Vec<(Duration, MediaReport)>,
    /// How many of a hundred packets are lost on their way to the exchange; `None`: nobody measures.
    pub loss: Option<u32>,
    /// Ends whose silence is to be looked at after a while, with the generation that set it.
    watches: Vec<(Duration, LegId, Generation)>,
}

/// An open end.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) ports: PortPair,
    pub(crate) terms: Terms,
    pub(crate) linked: Option<LegId>,
    pub(crate) sound: Option<Sound>,
    pub(crate) keys: Option<Box<Keys>>,
    pub(crate) checks: Option<Box<Checks>>,
    opened: Time,
    generation: Generation,
    /// The command that set `terms`.
    watched: Generation,
    /// Nothing came when it was looked at last: who has just changed something may speak again in a moment.
    quiet: bool,
}

/// What was heard of somebody who spoke all the while, 50 times a second.
fn measured(opened: Time, loss: u32, now: Time) -> LegFigures {
    let mut monitor = Monitor::new(opened);
    let counted = |until: Time| {
        let sent = until.since(opened).as_millis() as u64 / 20;
        let lost = sent * u64::from(loss) / 100;
        let gaps = lost as u32;
        Counted { packets: sent - lost, lost, gaps, gap_packets: gaps, jitter_us: 2_000, payload_type: 8 }
    };
    let mut at = opened + WINDOW;
    while at < now {
        monitor.look(&counted(at), at);
        at += WINDOW;
    }
    let all = counted(now);
    monitor.look(&all, now);
    monitor.figures(&all, 0)
}

/// The port that many share is with one worker.
fn assert_shares_where_it_can(ports: PortPair, terms: &Terms) {
    assert!(
        !terms.whereabouts.single_port || ports.worker == SHARING_WORKER,
        "{ports:?} shares a port that is not there"
    );
}

/// How long a closed end's ports take to come back.
const CLOSED_AFTER: Duration = Duration::from_millis(60);
/// How long ports rest between two ends, so that late packets of one call never reach the next.
const REST: Duration = Duration::from_secs(1);
/// How long new ports take to be bound.
const BOUND_AFTER: Duration = Duration::from_millis(2);

impl Relay {
    pub(crate) fn new() -> Self {
        Relay::default()
    }

    /// How many ends are open.
    pub fn open(&self) -> usize {
        self.ends.len()
    }

    /// Carries a command out.
    pub(crate) fn obey(&mut self, command: MediaCommand, now: Time) {
        match command {
            MediaCommand::Stock { pairs, family } => self.stock(pairs, family, now),
            MediaCommand::Unbind { worker, ports } => {
                for pair in ports {
                    assert_eq!(pair.worker, worker, "{pair:?} is not of worker {worker}");
                    let free = self.free.remove(&pair).unwrap_or_else(|| panic!("{pair:?} was never bound"));
                    assert!(free.is_some(), "{pair:?} is in use");
                }
            }
            MediaCommand::Open { end, ports, generation, terms } => {
                let free = self.free.get_mut(&ports).unwrap_or_else(|| panic!("{ports:?} was never bound"));
                let since = free.take().unwrap_or_else(|| panic!("{ports:?} is in use"));
                let rested = since == Time::ZERO || now.since(since) >= REST;
                assert!(rested, "{ports:?} is taken again after {:?}", now.since(since));
                assert!(self.names.insert(end), "end {end} is opened a second time");
                assert_shares_where_it_can(ports, &terms);
                let (linked, sound) = (None, None);
                let watched = generation;
                let keys = self.keys.remove(&end).flatten();
                let checks = self.checks.remove(&end).flatten();
                let quiet = false;
                let opened = now;
                let new = End { ports, terms, linked, sound, keys, checks, opened, generation, watched, quiet };
                self.ends.insert(end, new);
                self.watch(end);
            }
            MediaCommand::Latch { end, generation, terms } => {
                let found = self.touch(end, generation);
                assert_shares_where_it_can(found.ports, &terms);
                (found.terms, found.watched) = (terms, generation);
                self.watch(end);
            }
            MediaCommand::Rekey { end, ports, generation, keys } => match self.ends.get(&end) {
                Some(found) => {
                    assert_eq!(found.ports, ports, "keys for {end} name other ports");
                    self.touch(end, generation).keys = keys;
                }
                None => _ = self.keys.insert(end, keys),
            },
            MediaCommand::Ice { end, ports, generation, checks } => match self.ends.get(&end) {
                Some(found) => {
                    assert_eq!(found.ports, ports, "ICE for {end} names other ports");
                    self.touch(end, generation).checks = checks;
                }
                None => _ = self.checks.insert(end, checks),
            },
            MediaCommand::Link { from, to, generation } => {
                let worker = self.end(to).ports.worker;
                let found = self.touch(from, generation);
                assert_eq!(found.ports.worker, worker, "{from} and {to} are on different workers");
                found.linked = Some(to);
            }
            MediaCommand::Unlink { from, generation } => self.touch(from, generation).linked = None,
            MediaCommand::Play { end, generation, sound, payload_type } => {
                assert!(payload_type == 0 || payload_type == 8, "sound as payload type {payload_type}");
                self.touch(end, generation).sound = Some(sound);
            }
            MediaCommand::Stop { end, generation } => self.touch(end, generation).sound = None,
            MediaCommand::Close { end, generation } => {
                self.touch(end, generation);
                let closed = self.ends.remove(&end).expect("it was there just now");
                let counters = EndCounters::default();
                let figures = self.loss.map(|loss| Box::new(measured(closed.opened, loss, now)));
                self.reports.push((CLOSED_AFTER, MediaReport::Closed { end, ports: closed.ports, counters, figures }));
            }
        }
    }

    /// Forgets the names of ends that are closed.
    pub(crate) fn forget(&mut self) {
        self.names.retain(|name| self.ends.contains_key(name));
    }

    /// What is to be reported, and after how long.
    pub(crate) fn reports(&mut self) -> Vec<(Duration, MediaReport)> {
        std::mem::take(&mut self.reports)
    }

    /// Ends to look at, and after how long.
    pub(crate) fn watches(&mut self) -> Vec<(Duration, LegId, Generation)> {
        std::mem::take(&mut self.watches)
    }

    /// A report leaves: the ports of a closed end are free from now on.
    pub(crate) fn report_leaves(&mut self, report: &MediaReport, now: Time) {
        if let MediaReport::Closed { ports, .. } = report {
            self.free.insert(*ports, Some(now));
        }
    }

    /// Where the phone of an end is.
    pub(crate) fn remote(&self, end: LegId) -> Option<SocketAddr> {
        self.ends.get(&end)?.terms.remote.map(|remote| remote.rtp)
    }

    /// Whether an end is silent: `speaks` tells whether somebody sends from an address. Looks again later if not.
    pub(crate) fn is_silent(
        &mut self,
        end: LegId,
        generation: Generation,
        speaks: impl Fn(SocketAddr) -> bool,
    ) -> bool {
        let Some(found) = self.ends.get_mut(&end) else { return false };
        if !found.terms.silence.counts() || found.watched != generation {
            return false;
        }
        if found.terms.remote.is_some_and(|remote| speaks(remote.rtp)) {
            found.quiet = false;
            self.watch(end);
            return false;
        }
        if !std::mem::replace(&mut found.quiet, true) {
            self.watches.push((LOOK_AGAIN, end, generation));
            return false;
        }
        // It is reported once.
        found.terms.silence = None.into();
        true
    }

    /// The end whose port this is, or that shares it and is known there by the phone's checks or its address.
    ///
    /// # Panics
    /// When more than one is known by that.
    pub(crate) fn at_port(&self, port: u16, phone: SocketAddr, checks: Option<&Checks>) -> Option<(LegId, &End)> {
        let own = |end: &End| end.ports.rtp_port == port && !end.terms.whereabouts.single_port;
        let described = |end: &End| end.checks.is_none() && end.terms.remote.is_some_and(|remote| remote.rtp == phone);
        let named = |end: &End| end.checks.as_deref().is_some_and(|known| checks == Some(known));
        let known = |end: &End| end.terms.whereabouts.single_port && (described(end) || named(end));
        let mut found = self.ends.iter().filter(|(_, end)| own(end) || port == SINGLE_PORT && known(end));
        let first = found.next().map(|(name, end)| (*name, end));
        assert!(found.next().is_none(), "two ends cannot be told apart on port {port}");
        first
    }

    /// Whether what comes to an end is sent to the phone of another: that is linked to it, or to one that a phone described to
    /// us as its own place, and that is where the linked one sends.
    pub(crate) fn leads(&self, source: &End, to: LegId) -> bool {
        let mut linked = source.linked;
        for _ in 0..OWN_HOPS {
            if linked == Some(to) {
                return true;
            }
            let Some(sink) = linked.and_then(|name| self.ends.get(&name)) else { return false };
            let Some(next) = sink.terms.remote.and_then(|remote| self.own(remote.rtp)) else { return false };
            let back = next.terms.remote.is_some_and(|remote| remote.rtp.port() == sink.ports.rtp_port);
            if !back || !sink.terms.direction.sends() || !next.terms.direction.receives() || sink.sound.is_some() {
                return false;
            }
            linked = next.linked;
        }
        false
    }

    /// Whether packets come from one of our own ports, as somebody speaks to the end that is linked to it.
    pub(crate) fn speaks_from(&self, address: SocketAddr, speaks: impl Fn(SocketAddr) -> bool) -> bool {
        let Some(own) = self.own(address) else { return false };
        let feeds =
            |end: &End| end.linked.and_then(|name| self.ends.get(&name)).is_some_and(|to| to.ports == own.ports);
        let spoken = |end: &End| end.terms.remote.is_some_and(|remote| speaks(remote.rtp));
        self.ends.values().any(|end| feeds(end) && spoken(end))
    }

    fn own(&self, address: SocketAddr) -> Option<&End> {
        let ours = address.ip() == exchange_for(address).ip();
        self.ends.values().find(|end| ours && end.ports.rtp_port == address.port())
    }

    /// What is wrong once everything is over.
    pub(crate) fn check_quiet(&self) {
        let open: Vec<String> = self.ends.keys().map(ToString::to_string).collect();
        assert!(open.is_empty(), "media ends are left: {open:?}");
        assert!(self.checks.is_empty(), "ICE is left of ends that were never opened: {:?}", self.checks);
        assert!(self.keys.is_empty(), "keys are left of ends that were never opened: {:?}", self.keys);
        let taken: Vec<&PortPair> = self.free.iter().filter(|(_, free)| free.is_none()).map(|(pair, _)| pair).collect();
        assert!(taken.is_empty(), "ports are left in use: {taken:?}");
    }

    fn stock(&mut self, pairs: u32, family: Family, _now: Time) {
        let known = self.free.keys().filter(|pair| pair.family == family).count();
        let ports: Vec<PortPair> = (0..pairs)
            .map(|n| PortPair {
                worker: (n % WORKERS) as u16,
                slot: n / WORKERS + if family == Family::V6 { 100_000 } else { 0 },
                rtp_port: if family == Family::V6 { 40_000 } else { 20_000 } + 2 * n as u16,
                family,
            })
            .filter(|pair| !self.free.contains_key(pair))
            .take((pairs as usize).saturating_sub(known))
            .collect();
        for &pair in &ports {
            self.free.insert(pair, Some(Time::ZERO));
        }
        self.reports.push((BOUND_AFTER, MediaReport::Ready { ports }));
    }

    fn end(&self, end: LegId) -> &End {
        self.ends.get(&end).unwrap_or_else(|| panic!("end {end} is not open"))
    }

    /// The end of a command, whose generation must have risen.
    fn touch(&mut self, end: LegId, generation: Generation) -> &mut End {
        let found = self.ends.get_mut(&end).unwrap_or_else(|| panic!("end {end} is not open"));
        assert!(generation > found.generation, "{generation:?} to {end} after {:?}", found.generation);
        found.generation = generation;
        found
    }

    fn watch(&mut self, end: LegId) {
        let found = self.end(end);
        if let Some(silence) = Option::<Duration>::from(found.terms.silence) {
            self.watches.push((silence, end, found.watched));
        }
    }
}

/// When an end from which nothing comes is looked at again: it may be that its phone has changed something.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How many times a packet may come back to us on its way.
const OWN_HOPS: usize = 4;
const WORKERS: u32 = 2;
/// The port that many may share.
pub const SINGLE_PORT: u16 = 9_000;
