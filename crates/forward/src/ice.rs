//! Ends whose other side checks us by ICE (RFC 8445), where we are the lite side: its checks are answered, and say from
//! where the end is heard and to where it is sent.
//!
//! | heard | effect |
//! |---|---|
//! | a genuine check from a new source | that may speak; it is sent to if nothing better was checked |
//! | one that nominates | it is sent to, unless another nominated source has a higher priority and was nominated just now |
//! | a genuine check again, from a source that sent none | a copy: dropped |
//! | a wrong one | an error, [`ERRORS_MAX`] a second, as small as it was or smaller |
//!
//! Some nominate once, some with each check of a pair (RFC 5245 §8.1.1), and some change their mind later: the highest priority
//! counts as long as checks that nominate come one after the other, the last word after [`NOMINATION_REST`].

use crate::latch::{canonical, same};
use crate::row::Kernel;
use crate::table::{Output, Route, SocketId, Table, Verdict, keep};
use media::command::Generation;
use media::ice::{Check, Checks, Outcome, UFRAG_BYTES, judge};
use std::net::SocketAddr;
use std::time::Duration;
use words::{LegId, Time};

/// How many sources of one component may speak at a time; past it the one that was heard of longest ago is forgotten.
pub const VALID_MAX: usize = 8;

/// How long a source that is not sent to may speak after its last check.
pub const VALID_FOR: Duration = Duration::from_secs(30);

/// How many checks are remembered, so that a copy from elsewhere proves nothing.
pub const SEEN_MAX: usize = 1_024;

/// How many wrong checks of an end are answered in a second; others meet silence.
pub const ERRORS_MAX: u8 = 8;

/// After how long without a check that nominates the chosen source another one is taken by its word, whatever its priority.
pub(crate) const NOMINATION_REST: Duration = Duration::from_secs(1);

/// What is known of an end by its checks.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    checks: Checks,
    /// Of RTP, and of RTCP where that has a port of its own.
    components: [Component; 2],
    /// From where media came last.
    heard: Option<SocketAddr>,
    /// Of genuine checks, the youngest last; see [`short`].
    seen: Vec<u32>,
    /// Where the next one goes once there are [`SEEN_MAX`].
    next_seen: usize,
    /// When wrong checks were answered, and how many since then.
    errors: (Time, u8),
}

/// The sources of one component.
#[derive(Clone, Debug, Default)]
struct Component {
    selected: Option<Selected>,
    valid: Vec<(SocketAddr, Time)>,
}

/// Where is sent to.
#[derive(Clone, Copy, Debug)]
struct Selected {
    to: SocketAddr,
    priority: u32,
    nominated: bool,
    /// When it was checked last as it is.
    at: Time,
}

/// What a genuine check changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    /// It is sent elsewhere from now on.
    moved: bool,
    /// This source may not speak any more.
    forgotten: Option<SocketAddr>,
}

impl Checked {
    pub(crate) fn new(checks: Checks) -> Self {
        let (components, seen) = (Default::default(), Vec::new());
        Checked { checks, components, heard: None, seen, next_seen: 0, errors: (Time::ZERO, 0) }
    }

    /// Takes other credentials. What was proven by those before holds until something new is (RFC 8445 §9).
    fn renew(&mut self, checks: Checks) {
        if checks.ours == self.checks.ours && checks.theirs != self.checks.theirs {
            // One offer went to many, and somebody else takes it up: nothing is known of him.
            *self = Checked::new(checks);
            return;
        }
        if checks.ours != self.checks.ours {
            self.components.iter_mut().filter_map(|component| component.selected.as_mut()).for_each(|selected| {
                (selected.priority, selected.nominated) = (0, false);
            });
            self.seen = Vec::new();
            self.next_seen = 0;
        }
        self.checks = checks;
    }

    /// By what the shared port finds it.
    pub(crate) fn name(&self) -> Option<[u8; UFRAG_BYTES]> {
        self.checks.ours.ufrag.as_bytes().try_into().ok()
    }

    /// Where is sent to.
    pub(crate) fn target(&self, is_rtcp: bool) -> Option<SocketAddr> {
        self.components[usize::from(is_rtcp)].selected.map(|selected| selected.to)
    }

    /// From where media came last, of those who may speak.
    pub(crate) fn heard(&self) -> Option<SocketAddr> {
        self.heard
    }

    /// Whether a source may speak; `None` as long as no check proved anything.
    pub(crate) fn knows(&self, is_rtcp: bool, from: SocketAddr) -> Option<bool> {
        let component = &self.components[usize::from(is_rtcp)];
        component.selected.map(|_| component.valid.iter().any(|(known, _)| same(from, *known)))
    }

    /// The same, of who speaks just now.
    pub(crate) fn hear(&mut self, from: SocketAddr) -> Option<bool> {
        let knows = self.knows(false, from);
        if knows == Some(true) {
            self.heard = Some(canonical(from));
        }
        knows
    }

    /// The sources that may speak.
    pub(crate) fn sources(&self, is_rtcp: bool) -> impl Iterator<Item = SocketAddr> {
        self.components[usize::from(is_rtcp)].valid.iter().map(|(from, _)| *from)
    }

    /// Forgets sources that were not checked for long, and tells them.
    pub(crate) fn age(&mut self, now: Time, mut forget: impl FnMut(bool, SocketAddr)) {
        for (is_rtcp, component) in [false, true].into_iter().zip(&mut self.components) {
            let selected = component.selected.map(|selected| selected.to);
            component.valid.retain(|(from, at)| {
                let stays =
                    Some(*from) == selected || now.since(*at) < VALID_FOR || !is_rtcp && self.heard == Some(*from);
                if !stays {
                    forget(is_rtcp, *from);
                }
                stays
            });
        }
    }

    /// Takes a genuine check in; `None` when it is a copy of one that came from elsewhere.
    fn note(&mut self, is_rtcp: bool, from: SocketAddr, check: &Check, now: Time) -> Option<Change> {
        let component = &mut self.components[usize::from(is_rtcp)];
        let short = short(check);
        let mut change = Change::default();
        if let Some(known) = component.valid.iter_mut().find(|(known, _)| *known == from) {
            known.1 = now;
        } else if self.seen.contains(&short) {
            return None;
        } else {
            change.forgotten = component.make_room();
            component.valid.push((from, now));
        }
        change.moved = component.choose(from, check, now);
        if !self.seen.contains(&short) {
            match self.seen.get_mut(self.next_seen) {
                Some(oldest) => *oldest = short,
                None => self.seen.push(short),
            }
            self.next_seen = (self.next_seen + 1) % SEEN_MAX;
        }
        Some(change)
    }

    /// Whether another wrong check is answered.
    fn may_err(&mut self, now: Time) -> bool {
        let (since, count) = &mut self.errors;
        if now.since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= ERRORS_MAX
    }
}

impl Component {
    /// The source that was heard of longest ago leaves when there are as many as may be.
    fn make_room(&mut self) -> Option<SocketAddr> {
        if self.valid.len() < VALID_MAX {
            return None;
        }
        let selected = self.selected.map(|selected| selected.to);
        let others = self.valid.iter().enumerate().filter(|(_, (from, _))| Some(*from) != selected);
        let (oldest, _) = others.min_by_key(|(_, (_, at))| *at)?;
        Some(self.valid.swap_remove(oldest).0)
    }

    /// Whether what was checked just now is sent to from now on, and was not before.
    fn choose(&mut self, from: SocketAddr, check: &Check, now: Time) -> bool {
        let next = Selected { to: from, priority: check.priority, nominated: check.nominates, at: now };
        match &mut self.selected {
            Some(selected) if selected.to == from => {
                selected.priority = selected.priority.max(next.priority);
                selected.nominated |= next.nominated;
                if next.nominated || !selected.nominated {
                    selected.at = now;
                }
                false
            }
            Some(selected) => {
                let better = next.priority > selected.priority || now.since(selected.at) >= NOMINATION_REST;
                let takes = if selected.nominated == next.nominated { better } else { next.nominated };
                if takes {
                    *selected = next;
                }
                takes
            }
            None => {
                self.selected = Some(next);
                true
            }
        }
    }
}

/// Enough of a transaction's id to know it again: chance drew them all.
fn short(check: &Check) -> u32 {
    check
        .transaction_id
        .chunks(4)
        .fold(0, |all, part| all ^ part.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
}

impl Table {
    /// Gives an end ICE, or takes it away.
    pub(crate) fn set_checks(&mut self, name: LegId, generation: Generation, checks: Option<Box<Checks>>) {
        if !self.slots.contains_key(&name) {
            return keep(&mut self.checks, name, checks);
        }
        let Some((slot, end)) = self.younger(name, generation, false) else { return };
        match (checks, &mut end.latch.checked) {
            (Some(checks), Some(checked)) => checked.renew(*checks),
            (Some(checks), checked @ None) => *checked = Some(Box::new(Checked::new(*checks))),
            (None, checked) => *checked = None,
        }
        end.heard = end.latch.heard();
        // Checks come from anywhere.
        let disconnect = end.latch.checked.is_some() && end.kernel.is_connected();
        if disconnect {
            end.kernel = Kernel::Open;
            self.say(Output::Disconnect { slot });
        }
    }

    /// Answers what came to an end with ICE if it is STUN: the answer lies in `buffer` then, and is sent back where it came
    /// from. `None`: it is none, or the end has no ICE.
    #[cold]
    pub(crate) fn check(
        &mut self,
        socket: SocketId,
        from: SocketAddr,
        buffer: &mut [u8],
        length: usize,
        now: Time,
    ) -> Option<(Verdict, usize)> {
        let (slot, is_rtcp, from) = (socket.slot(), socket.is_rtcp(), canonical(from));
        let end = self.rows.get_mut(slot as usize)?.end.as_mut()?;
        let checked = end.latch.checked.as_mut()?;
        let outcome = judge(buffer.get(..length)?, &checked.checks, from);
        if outcome == Outcome::Other {
            return None;
        }
        let known = checked.knows(is_rtcp, from) == Some(true);
        let answer = match outcome {
            // With one port for both nobody has business at the other.
            _ if is_rtcp && checked.checks.rtcp_mux => None,
            Outcome::Valid(check, answer) => {
                checked.note(is_rtcp, from, &check, now).map(|change| (Some(change), answer))
            }
            Outcome::Refused(answer) => checked.may_err(now).then_some((None, answer)),
            // To keep a way through NAT open (RFC 8445 §11).
            Outcome::Silent if known => return Some((Verdict::Dropped, length)),
            Outcome::Silent | Outcome::Other => None,
        };
        let Some((change, answer)) = answer else { return Some((self.refuse_source(slot), length)) };
        match change {
            Some(change) => self.follow_check(slot, is_rtcp, from, change),
            None => _ = self.refuse_source(slot),
        }
        let Some(room) = buffer.get_mut(..answer.len()) else { return Some((Verdict::Dropped, length)) };
        room.copy_from_slice(&answer);
        Some((Verdict::Answer(Route { socket, to: Some(from) }), answer.len()))
    }

    fn refuse_source(&mut self, slot: u32) -> Verdict {
        if let Some(end) = self.end_at(slot) {
            end.counters.dropped_source += 1;
        }
        self.totals.dropped_source += 1;
        Verdict::Refused
    }

    /// Draws the consequences of a genuine check.
    fn follow_check(&mut self, slot: u32, is_rtcp: bool, from: SocketAddr, change: Change) {
        let Some(end) = self.end_at(slot) else { return };
        if !is_rtcp {
            end.heard = end.latch.heard();
        }
        if end.single {
            self.single.enter_checked(is_rtcp, from, slot);
            if let Some(forgotten) = change.forgotten {
                self.single.forget_checked(is_rtcp, forgotten, slot);
            }
        }
        if change.moved && !is_rtcp && self.carries {
            self.say(Output::Moved { slot });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{REPORT, above, leg, media_at, nat, pair, phone, ports, rtp, stranger, terms};
    use media::command::{Family, MediaCommand, PayloadTypes, SourceRule, Terms, Whereabouts};
    use media::ice::{Credentials, request};
    use media::srtp::TRAILER_BYTES;
    use media::stun::{Class, StunView};
    use words::{Chance, Seed};

    /// Leg 0 does ICE, leg 1 does not, and they hear each other.
    struct Bench {
        table: Table,
        generation: Generation,
        checks: Checks,
        now: Time,
        sent: u8,
    }

    impl Bench {
        fn new(rtcp_mux: bool) -> Bench {
            let checks = named(1, rtcp_mux);
            let mut table = Table::new(true).with_carriage();
            let ice = MediaCommand::Ice {
                end: leg(0),
                ports: ports(0),
                generation: Generation(1),
                checks: Some(Box::new(checks.clone())),
            };
            table.apply(ice, Time::ZERO);
            let table = pair(table, [1, 0], |n| {
                let remote = if n == 0 && rtcp_mux { media_at(phone(n)).muxed() } else { media_at(phone(n)) };
                let source = if n == 0 { SourceRule::LearnOnce } else { SourceRule::Strict };
                Terms { source, remote: Some(remote), ..terms(phone(n), PayloadTypes::NONE.with(0)) }
            });
            Bench { table, generation: Generation(9), checks, now: Time::from_millis(1_000), sent: 0 }
        }

        fn pass(&mut self, ms: u64) -> &mut Self {
            self.now += Duration::from_millis(ms);
            self
        }

        /// Any packet to a socket.
        fn send(&mut self, socket: SocketId, from: SocketAddr, packet: &[u8]) -> (Verdict, Vec<u8>) {
            let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
            let (verdict, length) = self.table.relay(socket, Some(from), &mut buffer, packet.len(), self.now);
            (verdict, buffer[..length].to_vec())
        }

        fn checked(&mut self, priority: u32, nominates: bool) -> Vec<u8> {
            self.sent += 1;
            let check = Check { transaction_id: [self.sent; 12], priority, nominates };
            request(&self.checks.ours, &self.checks.theirs, &check, true)
        }

        /// A genuine check of RTP; whether it was answered well.
        fn check(&mut self, from: SocketAddr, priority: u32, nominates: bool) -> bool {
            let sent = self.checked(priority, nominates);
            self.is_answered(SocketId::rtp(0), from, &sent) == Some(Class::Success)
        }

        /// How a check is answered, to where it came from.
        fn is_answered(&mut self, socket: SocketId, from: SocketAddr, packet: &[u8]) -> Option<Class> {
            match self.send(socket, from, packet) {
                (Verdict::Answer(route), answer) => {
                    assert_eq!(route, Route { socket, to: Some(from) });
                    Some(StunView::parse(&answer).unwrap().class())
                }
                (Verdict::Refused, _) => None,
                other => panic!("{other:?}"),
            }
        }

        /// Whether what leg 0 says passes.
        fn hears(&mut self, from: SocketAddr) -> bool {
            let packet = rtp(0, 1, 5);
            matches!(self.pass(20).send(SocketId::rtp(0), from, &packet).0, Verdict::Send(_))
        }

        /// Where leg 0 hears what leg 1 says.
        fn target(&mut self) -> SocketAddr {
            match self.send(SocketId::rtp(1), phone(1), &rtp(0, 1, 6)).0 {
                Verdict::Send(route) => route.to.expect("it is not connected"),
                other => panic!("{other:?}"),
            }
        }

        fn ice(&mut self, checks: Option<Checks>) {
            let generation = self.generation.step();
            let checks = checks.map(Box::new);
            self.table.apply(MediaCommand::Ice { end: leg(0), ports: ports(0), generation, checks }, self.now);
        }

        fn outputs(&mut self) -> Vec<Output> {
            std::iter::from_fn(|| self.table.poll()).collect()
        }

        fn dropped(&self) -> u64 {
            self.table.totals().dropped_source
        }
    }

    fn named(seed: u64, rtcp_mux: bool) -> Checks {
        let ours = Credentials::draw(&mut Chance::new(Seed::from_number(seed)));
        Checks { ours, theirs: "h6vY".into(), rtcp_mux }
    }

    #[test]
    fn nothing_is_learnt_but_from_checks_and_then_nobody_else_is_heard() {
        let mut bench = Bench::new(false);
        // A phone behind NAT that does ICE is not learnt by its speech.
        assert!((0..100).all(|_| !bench.hears(nat())));
        assert_eq!(bench.target(), phone(0));
        assert!(bench.hears(phone(0)), "until something is proven, its description counts");
        assert!(bench.check(nat(), 100, false));
        assert_eq!(bench.target(), nat());
        assert!(bench.hears(nat()) && !bench.hears(phone(0)) && !bench.hears(stranger()));
        // Never connected, as checks come from anywhere.
        assert!(bench.outputs().iter().all(|output| !matches!(output, Output::Connect { slot: 0, .. })));
        assert!(bench.check(phone(0), 200, true));
        assert_eq!(bench.target(), phone(0));
        assert!(bench.hears(nat()) && bench.hears(phone(0)), "both are proven");
        // A description that names another address proves nothing.
        let generation = bench.generation.step();
        let terms = terms(phone(7), PayloadTypes::NONE.with(0));
        bench.table.apply(MediaCommand::Latch { end: leg(0), generation, terms }, bench.now);
        assert_eq!(bench.target(), phone(0));
        assert!(!bench.hears(phone(7)) && bench.hears(phone(0)));
    }

    #[test]
    fn a_copy_of_a_check_proves_nothing_wherever_it_comes_from() {
        let mut bench = Bench::new(false);
        let sent = bench.checked(100, true);
        let rtp = SocketId::rtp(0);
        assert_eq!(bench.is_answered(rtp, nat(), &sent), Some(Class::Success));
        let before = bench.dropped();
        for _ in 0..50 {
            assert_eq!(bench.pass(500).is_answered(rtp, stranger(), &sent), None);
            assert_eq!(bench.is_answered(SocketId::rtcp(0), stranger(), &sent), None);
        }
        assert_eq!(bench.dropped(), before + 100);
        assert!(!bench.hears(stranger()) && bench.hears(nat()));
        // Its answer was lost: the same again from the same place.
        assert_eq!(bench.is_answered(rtp, nat(), &sent), Some(Class::Success));
        assert_eq!(bench.target(), nat());
    }

    #[test]
    fn wrong_checks_are_answered_a_few_times_a_second() {
        let mut bench = Bench::new(false);
        let other = Checks { theirs: "h6vZ".into(), ..bench.checks.clone() };
        let wrong =
            request(&other.ours, &other.theirs, &Check { transaction_id: [1; 12], priority: 1, nominates: true }, true);
        for _ in 0..2 {
            let answered: Vec<_> =
                (0..100).filter_map(|_| bench.is_answered(SocketId::rtp(0), stranger(), &wrong)).collect();
            assert_eq!(answered, [Class::Error; ERRORS_MAX as usize]);
            bench.pass(1_000);
        }
        // The party itself is answered all the while, also right after them.
        (0..100).for_each(|_| _ = bench.is_answered(SocketId::rtp(0), stranger(), &wrong));
        assert!(bench.check(nat(), 1, true) && bench.hears(nat()) && !bench.hears(stranger()));
        // Keep-alives are taken from whom is known, without a word.
        let mut indication = media::stun::binding_request([3; 12]);
        indication.truncate(20);
        (indication[1], indication[3]) = (0x11, 0);
        assert_eq!(bench.send(SocketId::rtp(0), nat(), &indication).0, Verdict::Dropped);
        assert_eq!(bench.send(SocketId::rtp(0), stranger(), &indication).0, Verdict::Refused);
        // An end without ICE answers nobody.
        assert_eq!(bench.send(SocketId::rtp(1), phone(1), &wrong).0, Verdict::Refused);
    }

    #[test]
    fn the_highest_priority_counts_until_nobody_nominates_any_more() {
        let mut bench = Bench::new(false);
        let places = [phone(20), phone(21), phone(22)];
        // As those do who nominate with each check.
        for (place, priority, chosen) in [(0, 10, 0), (2, 30, 2), (1, 20, 2), (2, 30, 2), (0, 10, 2)] {
            assert!(bench.pass(50).check(places[place], priority, true));
            assert_eq!(bench.target(), places[chosen]);
        }
        // Later it thinks otherwise.
        bench.pass(1_000);
        assert!(bench.check(places[1], 20, false));
        assert_eq!(bench.target(), places[2], "it did not nominate");
        assert!(bench.check(places[1], 20, true));
        assert_eq!(bench.target(), places[1]);
        // Whoever nominates counts more than the priority of those who were only checked.
        let mut bench = Bench::new(false);
        assert!(
            bench.check(places[0], 99, false) && bench.check(places[1], 1, true) && bench.check(places[0], 99, false)
        );
        assert_eq!(bench.target(), places[1]);
    }

    #[test]
    fn a_restart_keeps_what_was_proven_until_there_is_something_new() {
        let mut bench = Bench::new(false);
        let old = bench.checked(1_000, true);
        assert!(bench.check(nat(), 1_000, true) && bench.hears(nat()));
        let next = named(2, false);
        bench.ice(Some(next.clone()));
        assert!(bench.hears(nat()));
        assert_eq!(bench.target(), nat());
        // What the old names sign proves nothing any more.
        assert_eq!(bench.is_answered(SocketId::rtp(0), stranger(), &old), Some(Class::Error));
        bench.checks = next;
        assert!(bench.check(phone(30), 1, true) && bench.hears(phone(30)));
        assert_eq!(bench.target(), phone(30));
        // Who was there before may speak for a while.
        assert!(bench.hears(nat()) && bench.hears(phone(30)));
        bench.pass(VALID_FOR.as_millis() as u64);
        let now = bench.now;
        bench.table.handle_timeout(now);
        assert!(!bench.hears(nat()) && bench.hears(phone(30)));
        // Somebody else takes up what was offered to both: nothing is proven of him.
        bench.checks.theirs = "other".into();
        bench.ice(Some(bench.checks.clone()));
        assert!(!bench.hears(phone(30)) && bench.hears(phone(0)));
        assert!(bench.check(phone(30), 1, true) && bench.hears(phone(30)));
        // Without ICE the description counts again.
        bench.ice(None);
        assert!(!bench.hears(phone(30)) && bench.hears(phone(0)));
        assert_eq!(bench.target(), phone(0));
    }

    #[test]
    fn many_sources_push_out_the_oldest_but_never_the_chosen_one() {
        let mut bench = Bench::new(false);
        assert!(bench.check(phone(0), 1_000, true) && bench.check(phone(1), 1, false));
        for n in 0..VALID_MAX as u16 + 4 {
            assert!(bench.pass(10).check(phone(100 + n), 1, false));
        }
        assert!(bench.hears(phone(0)) && !bench.hears(phone(1)) && bench.hears(phone(100 + VALID_MAX as u16 + 3)));
        assert_eq!(bench.target(), phone(0));
    }

    #[test]
    fn reports_have_checks_of_their_own_unless_they_share_the_port() {
        let mut bench = Bench::new(false);
        let is_taken =
            |bench: &mut Bench, socket, from| matches!(bench.send(socket, from, &REPORT).0, Verdict::Send(_));
        assert!(bench.check(nat(), 1, true));
        assert!(is_taken(&mut bench, SocketId::rtcp(0), above(phone(0))), "nothing is proven of them yet");
        let sent = bench.checked(1, true);
        assert_eq!(bench.is_answered(SocketId::rtcp(0), above(nat()), &sent), Some(Class::Success));
        assert!(is_taken(&mut bench, SocketId::rtcp(0), above(nat())));
        assert!(!is_taken(&mut bench, SocketId::rtcp(0), above(phone(0))));
        let to = Verdict::Send(Route { socket: SocketId::rtcp(0), to: Some(above(nat())) });
        assert_eq!(bench.send(SocketId::rtcp(1), above(phone(1)), &REPORT).0, to);

        let mut bench = Bench::new(true);
        assert!(bench.check(nat(), 1, true));
        assert!(is_taken(&mut bench, SocketId::rtp(0), nat()) && !is_taken(&mut bench, SocketId::rtp(0), phone(0)));
        let sent = bench.checked(1, true);
        assert_eq!(bench.is_answered(SocketId::rtcp(0), above(nat()), &sent), None);
        assert_eq!(bench.table.leaves_by(SocketId::rtcp(0)), SocketId::rtp(0));
    }

    #[test]
    fn what_the_kernel_carries_follows_the_chosen_address() {
        let mut bench = Bench::new(false);
        assert!(bench.check(nat(), 1, true) && bench.hears(nat()) && bench.target() == nat());
        // The other end is connected, and has spoken since.
        bench.table.drained(1);
        let mut buffer = [&rtp(0, 2, 6)[..], &[0; TRAILER_BYTES]].concat();
        bench.table.relay(SocketId::rtp(1), None, &mut buffer, 172, bench.now);
        let carriage = bench.table.carriage(0).expect("both were heard");
        assert_eq!((carriage.from, carriage.to), (nat(), phone(1)));
        assert_eq!(bench.table.carriage(1).map(|carriage| carriage.to), Some(nat()));
        bench.outputs();
        assert!(bench.check(nat(), 2, true) && bench.check(phone(3), 1, false));
        assert_eq!(bench.outputs(), [], "nothing has moved");
        assert!(bench.check(phone(3), 3, true));
        assert_eq!(bench.outputs(), [Output::Moved { slot: 0 }]);
        assert_eq!(bench.table.carriage(1).map(|carriage| carriage.to), Some(phone(3)));
        let speaker = bench.table.speaker(0, Some(phone(3)), &rtp(0, 9, 5));
        assert_eq!(speaker, crate::carry::Speaker::Better);
    }

    #[test]
    fn an_end_that_was_connected_is_open_once_it_has_ice() {
        let mut bench = Bench::new(false);
        bench.ice(None);
        assert!(bench.hears(phone(0)));
        bench.table.drained(0);
        assert!(bench.table.is_connected(0));
        bench.outputs();
        let checks = bench.checks.clone();
        bench.ice(Some(checks));
        assert_eq!(bench.outputs(), [Output::Disconnect { slot: 0 }]);
        assert!(!bench.table.is_connected(0) && bench.check(nat(), 1, true) && bench.hears(nat()));
    }

    #[test]
    fn on_the_shared_port_an_end_is_found_by_its_name_and_then_by_where_it_is() {
        let mut table = Table::new(true);
        let whereabouts = Whereabouts { single_port: true, ..Whereabouts::default() };
        let all: Vec<Checks> = (0..3).map(|n| named(n, false)).collect();
        for n in 0..3 {
            table.add(0, 10_000 + 2 * n, Family::V4);
            let checks = Some(Box::new(all[usize::from(n)].clone()));
            table.apply(
                MediaCommand::Ice { end: leg(n), ports: ports(n), generation: Generation(1), checks },
                Time::ZERO,
            );
            // All behind NAT, and described alike.
            let terms =
                Terms { source: SourceRule::LearnOnce, whereabouts, ..terms(phone(0), PayloadTypes::NONE.with(0)) };
            let open = MediaCommand::Open { end: leg(n), ports: ports(n), generation: Generation(2), terms };
            table.apply(open, Time::ZERO);
        }
        assert_eq!(table.poll(), None, "each can be told from the others");
        let place = |n: u16| SocketAddr::from(([198, 51, 100, 7], 61_000 + n));
        let sent = |n: u16| {
            let check = Check { transaction_id: [n as u8; 12], priority: 1, nominates: true };
            request(&all[usize::from(n)].ours, "h6vY", &check, true)
        };
        let check = |table: &mut Table, n: u16, from: SocketAddr, is_rtcp: bool| {
            let mut buffer = sent(n);
            let length = buffer.len();
            let socket = table.find(is_rtcp, from, &buffer)?;
            Some((socket, table.relay(socket, Some(from), &mut buffer, length, Time::ZERO).0))
        };
        for n in 0..3 {
            assert_eq!(table.find(false, place(n), &rtp(0, 1, 5)), None);
            let socket = SocketId::rtp(n.into());
            let answered = Some((socket, Verdict::Answer(Route { socket, to: Some(place(n)) })));
            assert_eq!(check(&mut table, n, place(n), false), answered);
            assert_eq!(table.leaves_by(socket), SocketId::single(Family::V4, false));
            assert_eq!(table.find(false, place(n), &rtp(0, 1, 5)), Some(socket));
            assert_eq!(table.find(true, place(n), &REPORT), None);
        }
        // A stranger who names one of them is looked at, and gets nowhere.
        assert!(matches!(check(&mut table, 1, stranger(), false), Some((_, Verdict::Refused))));
        assert_eq!(table.find(false, stranger(), &rtp(0, 1, 5)), None);
        // Another name: the old one finds nobody, what was proven stays.
        let next = named(9, false);
        let checks = Some(Box::new(next));
        table.apply(MediaCommand::Ice { end: leg(1), ports: ports(1), generation: Generation(3), checks }, Time::ZERO);
        assert_eq!(check(&mut table, 1, stranger(), false), None);
        assert_eq!(table.find(false, place(1), &rtp(0, 1, 5)), Some(SocketId::rtp(1)));
        table.apply(MediaCommand::Close { end: leg(1), generation: Generation(4) }, Time::ZERO);
        assert_eq!(table.find(false, place(1), &rtp(0, 1, 5)), None);
        assert_eq!(table.find(false, place(2), &rtp(0, 1, 5)), Some(SocketId::rtp(2)));
    }
}
