//! Ends that share one port: whose packet one is, told by where it comes from, or by the SSRC that a description names.
//!
//! An address stands for one end: the first that has it. An end behind NAT is not known by the address of its description,
//! which many sites have alike, but by its SSRC until its source is learnt, and by that from then on. Whoever is neither
//! known by address nor by SSRC is heard by nobody.
//!
//! An end with ICE is known by the name in its checks, and by where genuine ones came from: that is proven, and goes before
//! what descriptions say. There is one name for each end, and [`crate::VALID_MAX`] sources of each component.

use crate::latch::{Latch, canonical};
use crate::row::Kernel;
use crate::table::{Output, SocketId, Table};
use media::command::{Refusal, SourceRule};
use media::demux::{Protocol, protocol};
use media::ice::{UFRAG_BYTES, named};
use std::collections::HashMap;
use std::net::SocketAddr;
use words::LegId;

/// Who is known by what.
#[derive(Debug, Default)]
pub(crate) struct Single {
    rtp: HashMap<SocketAddr, u32>,
    rtcp: HashMap<SocketAddr, u32>,
    ssrcs: HashMap<u32, u32>,
    /// By the names in checks.
    ufrags: HashMap<[u8; UFRAG_BYTES], u32>,
    /// By where genuine checks came from, of RTP and of RTCP.
    checked: [HashMap<SocketAddr, u32>; 2],
}

impl Table {
    /// As what a packet counts that came to the shared port, or to the one above it for RTCP; `None` when it is nobody's.
    #[inline]
    pub fn find(&mut self, is_rtcp: bool, from: SocketAddr, packet: &[u8]) -> Option<SocketId> {
        let from = canonical(from);
        let single = &self.single;
        let known = if is_rtcp { &single.rtcp } else { &single.rtp };
        let slot = single
            .by_name(packet)
            .or_else(|| single.checked[usize::from(is_rtcp)].get(&from))
            .or_else(|| known.get(&from))
            .or_else(|| single.ssrcs.get(&ssrc(packet)?))
            .copied();
        if slot.is_none() {
            self.totals.dropped_source += 1;
        }
        slot.map(|slot| if is_rtcp { SocketId::rtcp(slot) } else { SocketId::rtp(slot) })
    }

    /// Makes an end known by what its description says, if it shares the port.
    pub(crate) fn enter(&mut self, name: LegId) {
        let Some(&slot) = self.slots.get(&name) else { return };
        let Some(end) = self.rows.get_mut(slot as usize).and_then(|row| row.end.as_mut()) else { return };
        end.single = end.latch.is_single();
        if !end.single {
            return;
        }
        // It may have had its own port before, connected to where it is: the shared one is connected to nobody.
        let disconnect = end.kernel.is_connected();
        if disconnect {
            end.kernel = Kernel::Open;
        }
        let told = self.single.enter(slot, &end.latch);
        if !told && end.latch.has_remote() {
            self.refuse(name, Refusal::NotTold);
        }
        if disconnect {
            self.say(Output::Disconnect { slot });
        }
    }

    /// Forgets what an end was known by.
    pub(crate) fn leave(&mut self, name: LegId) {
        let Some(&slot) = self.slots.get(&name) else { return };
        let Some(end) = self.rows.get_mut(slot as usize).and_then(|row| row.end.as_mut()) else { return };
        if std::mem::take(&mut end.single) {
            self.single.leave(slot, &end.latch);
        }
    }

    /// Takes note of where an end that shares the port is heard from.
    pub(crate) fn learn(&mut self, slot: u32) {
        if let Some(end) = self.rows.get(slot as usize).and_then(|row| row.end.as_ref())
            && end.single
            && let Some(from) = end.heard
        {
            self.single.rtp.entry(canonical(from)).or_insert(slot);
        }
    }
}

impl Single {
    /// The end that a check names.
    #[inline]
    fn by_name(&self, packet: &[u8]) -> Option<&u32> {
        if self.ufrags.is_empty() || protocol(packet) != Protocol::Stun {
            return None;
        }
        self.ufrags.get(&named(packet)?)
    }

    /// A genuine check of an end came from there.
    pub(crate) fn enter_checked(&mut self, is_rtcp: bool, from: SocketAddr, slot: u32) {
        self.checked[usize::from(is_rtcp)].entry(from).or_insert(slot);
    }

    /// It may not speak from there any more.
    pub(crate) fn forget_checked(&mut self, is_rtcp: bool, from: SocketAddr, slot: u32) {
        let checked = &mut self.checked[usize::from(is_rtcp)];
        if checked.get(&from) == Some(&slot) {
            checked.remove(&from);
        }
    }

    /// Whether it can be told from others.
    fn enter(&mut self, slot: u32, latch: &Latch) -> bool {
        let mut told = false;
        if let Some(checked) = &latch.checked {
            told = checked.name().is_some_and(|name| *self.ufrags.entry(name).or_insert(slot) == slot);
            for is_rtcp in [false, true] {
                checked.sources(is_rtcp).for_each(|from| self.enter_checked(is_rtcp, from, slot));
            }
        }
        let Some(remote) = latch.remote() else { return told };
        if latch.rule() != SourceRule::LearnOnce {
            let described = *self.rtp.entry(remote.rtp).or_insert(slot) == slot;
            told |= described;
            if described {
                self.rtcp.entry(remote.rtcp).or_insert(slot);
            }
        }
        if let Some(heard) = latch.heard() {
            told |= *self.rtp.entry(canonical(heard)).or_insert(slot) == slot;
        }
        if let Some(ssrc) = latch.whereabouts().ssrc {
            told |= *self.ssrcs.entry(ssrc).or_insert(slot) == slot;
        }
        told
    }

    fn leave(&mut self, slot: u32, latch: &Latch) {
        if let Some(checked) = &latch.checked {
            if let Some(name) = checked.name().filter(|name| self.ufrags.get(name) == Some(&slot)) {
                self.ufrags.remove(&name);
            }
            for is_rtcp in [false, true] {
                checked.sources(is_rtcp).for_each(|from| self.forget_checked(is_rtcp, from, slot));
            }
        }
        let remote = latch.remote();
        for from in [remote.map(|remote| remote.rtp), latch.heard().map(canonical)].into_iter().flatten() {
            if self.rtp.get(&from) == Some(&slot) {
                self.rtp.remove(&from);
            }
        }
        if let Some(from) = remote.map(|remote| remote.rtcp)
            && self.rtcp.get(&from) == Some(&slot)
        {
            self.rtcp.remove(&from);
        }
        if let Some(ssrc) = latch.whereabouts().ssrc
            && self.ssrcs.get(&ssrc) == Some(&slot)
        {
            self.ssrcs.remove(&ssrc);
        }
    }
}

/// Who sent it, by its own words: the SSRC of RTP, or the sender's of RTCP (RFC 3550 §5.1, §6.4).
fn ssrc(packet: &[u8]) -> Option<u32> {
    let at = match protocol(packet) {
        Protocol::Rtp => 8,
        Protocol::Rtcp => 4,
        Protocol::Stun | Protocol::Zrtp | Protocol::Dtls | Protocol::TurnChannel | Protocol::Unknown => return None,
    };
    Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{REPORT, above, leg, nat, phone, ports, rtp, signalled, stranger, terms};
    use crate::table::{Route, Verdict};
    use media::command::{Family, Generation, MediaCommand, MediaReport, PayloadTypes, Terms, Whereabouts};
    use media::srtp::TRAILER_BYTES;
    use words::Time;

    /// What was agreed with a phone there that shares the port.
    fn shared(at: SocketAddr, source: SourceRule, ssrc: Option<u32>) -> Terms {
        let whereabouts = Whereabouts { single_port: true, ssrc, ..signalled() };
        Terms { source, whereabouts, ..terms(at, PayloadTypes::NONE.with(0)) }
    }

    /// Ends of which each two hear each other.
    struct Bench {
        table: Table,
        generation: Generation,
    }

    impl Bench {
        fn new(ends: u16) -> Bench {
            let mut table = Table::new(true).with_carriage();
            (0..ends).for_each(|n| _ = table.add(0, 10_000 + 2 * n, Family::V4));
            Bench { table, generation: Generation(0) }
        }

        fn open(&mut self, n: u16, at: SocketAddr, source: SourceRule, ssrc: Option<u32>) {
            let (generation, terms) = (self.generation.step(), shared(at, source, ssrc));
            let open = MediaCommand::Open { end: leg(n), ports: ports(n), generation, terms };
            self.table.apply(open, Time::ZERO);
        }

        fn link(&mut self, from: u16, to: u16) {
            let generation = self.generation.step();
            self.table.apply(MediaCommand::Link { from: leg(from), to: leg(to), generation }, Time::ZERO);
        }

        fn latch(&mut self, n: u16, at: Option<SocketAddr>) {
            let terms = shared(at.unwrap_or(phone(n)), SourceRule::Strict, None);
            let terms = Terms { remote: terms.remote.filter(|_| at.is_some()), ..terms };
            let latch = MediaCommand::Latch { end: leg(n), generation: self.generation.step(), terms };
            self.table.apply(latch, Time::ZERO);
        }

        /// To whom a packet goes that came to the port, and by which socket.
        fn speak(&mut self, from: SocketAddr, ssrc: u32, sequence: u16) -> Option<(SocketAddr, SocketId)> {
            let mut buffer = [&rtp(0, sequence, ssrc)[..], &[0; TRAILER_BYTES]].concat();
            let socket = self.table.find(false, from, &buffer[..172])?;
            let now = Time::from_millis(u64::from(sequence) * 20);
            match self.table.relay(socket, Some(from), &mut buffer, 172, now).0 {
                Verdict::Send(Route { socket, to }) => Some((to.unwrap(), self.table.leaves_by(socket))),
                Verdict::Refused | Verdict::Dropped | Verdict::Answer(_) => None,
            }
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.table.poll()).collect()
        }
    }

    fn port() -> SocketId {
        SocketId::single(Family::V4, false)
    }

    #[test]
    fn ends_are_told_apart_by_the_addresses_of_their_descriptions() {
        let mut bench = Bench::new(200);
        (0..200).for_each(|n| bench.open(n, phone(n), SourceRule::Strict, None));
        (0..200).for_each(|n| bench.link(n, n ^ 1));
        for sequence in 0..3 {
            for n in 0..200 {
                assert_eq!(bench.speak(phone(n), n.into(), sequence), Some((phone(n ^ 1), port())));
                assert_eq!(bench.speak(phone(900 + n), n.into(), sequence), None);
            }
        }
        let outputs = bench.outputs();
        assert!(
            outputs.iter().all(|out| matches!(out, Output::Report(MediaReport::FirstPacket { .. }))),
            "{outputs:?}"
        );
        assert_eq!((bench.table.carriage(0), bench.table.totals().dropped_source), (None, 600));
        // RTCP has the port above, and is told apart by its own addresses.
        assert_eq!(bench.table.find(true, above(phone(7)), &REPORT), Some(SocketId::rtcp(7)));
        assert_eq!(bench.table.find(true, phone(7), &REPORT), None);
        assert_eq!(bench.table.leaves_by(SocketId::rtcp(7)), SocketId::single(Family::V4, true));
    }

    #[test]
    fn an_address_stands_for_the_first_that_has_it_until_it_leaves() {
        let mut bench = Bench::new(3);
        bench.open(0, phone(0), SourceRule::Strict, None);
        bench.open(1, phone(1), SourceRule::Strict, None);
        bench.link(0, 1);
        bench.open(2, phone(0), SourceRule::Strict, None);
        bench.link(2, 1);
        assert_eq!(bench.outputs(), [Output::Report(MediaReport::Refused { end: leg(2), why: Refusal::NotTold })]);
        bench.speak(phone(0), 1, 0);
        assert_eq!(bench.table.totals().packets, 1);
        let close = MediaCommand::Close { end: leg(0), generation: bench.generation.step() };
        bench.table.apply(close, Time::ZERO);
        assert_eq!(bench.speak(phone(0), 1, 1), None);
        bench.latch(2, Some(phone(0)));
        assert_eq!(bench.speak(phone(0), 1, 2), Some((phone(1), port())));
        // It moves, and holds by no address at all.
        bench.latch(2, Some(phone(5)));
        assert_eq!((bench.speak(phone(0), 1, 3), bench.speak(phone(5), 1, 4)), (None, Some((phone(1), port()))));
        bench.latch(2, None);
        assert_eq!(bench.speak(phone(5), 1, 5), None);
    }

    #[test]
    fn an_end_that_had_a_connected_port_of_its_own_leaves_by_the_shared_one() {
        let mut bench = Bench::new(2);
        let own = Terms { whereabouts: Whereabouts::default(), ..shared(phone(0), SourceRule::Strict, None) };
        let open = MediaCommand::Open { end: leg(0), ports: ports(0), generation: bench.generation.step(), terms: own };
        bench.table.apply(open, Time::ZERO);
        bench.open(1, phone(1), SourceRule::Strict, None);
        bench.link(0, 1);
        bench.link(1, 0);
        let mut buffer = [&rtp(0, 1, 5)[..], &[0; TRAILER_BYTES]].concat();
        bench.table.relay(SocketId::rtp(0), Some(phone(0)), &mut buffer, 172, Time::ZERO);
        bench.table.drained(0);
        assert!(bench.table.is_connected(0));
        bench.outputs();
        bench.latch(0, Some(phone(0)));
        assert_eq!(bench.outputs(), [Output::Disconnect { slot: 0 }]);
        assert_eq!(bench.speak(phone(1), 1, 2), Some((phone(0), port())));
        assert_eq!(bench.speak(phone(0), 5, 3), Some((phone(1), port())));
        // Nobody connects it again.
        bench.table.drained(0);
        assert!(!bench.table.is_connected(0));
        assert!(bench.outputs().iter().all(|output| !matches!(output, Output::Connect { slot: 0, .. })));
    }

    #[test]
    fn behind_nat_an_end_is_known_by_its_ssrc_and_then_by_what_was_learnt() {
        let (nat, stranger) = (nat(), stranger());
        let mut bench = Bench::new(3);
        bench.open(0, phone(0), SourceRule::LearnOnce, Some(0x77));
        bench.open(1, phone(1), SourceRule::Strict, None);
        bench.link(0, 1);
        bench.link(1, 0);
        // Another site has the same private address, and nothing else to be known by.
        bench.open(2, phone(0), SourceRule::LearnOnce, None);
        assert_eq!(bench.outputs(), [Output::Report(MediaReport::Refused { end: leg(2), why: Refusal::NotTold })]);
        let taken: Vec<bool> = (0..6).map(|n| bench.speak(nat, 0x77, n).is_some()).collect();
        assert_eq!(taken, [false, false, true, true, true, true]);
        // Its source is known: it may change its SSRC, and whoever has learnt the old one is nobody.
        assert!(bench.speak(nat, 0x99, 6).is_some());
        assert_eq!((bench.speak(stranger, 0x77, 7), bench.speak(stranger, 0x99, 7)), (None, None));
        assert_eq!(bench.speak(phone(1), 1, 8), Some((nat, port())));
    }
}
