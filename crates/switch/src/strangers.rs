//! Who is heard while strangers shout: decided from a datagram's source alone, before anything is read or copied.
//!
//! - Whoever has proven who it is lately is heard, whatever the others do: a user whose password was right from that very
//!   address and port, and whoever answered a request of ours or spoke in a dialog from there. So nobody is shut out who
//!   shares an address with a flooder. Static peers and open listeners are not asked at all.
//! - A stranger may send [`SOURCE`]: an office whose phones all start at once comes through, and one machine gets no more
//!   of the loop than that. IPv6 sources count by their /64, which is what one customer has.
//! - All strangers together may send [`CROWD`], however many addresses they make up. What is beyond it is not heard unless
//!   its source has knocked before, as a client that repeats its request does: there is [`AGAIN`] for those.
//!
//! A datagram that is not heard is no failure and no strike: the next one is judged by the same rules.
//!
//! Connections are judged by the same rules, by a [`Strangers`] of their own, as a datagram's source may be made up and a
//! connection's is not: what a flood of datagrams pretends must not keep those waiting who connect from there. Two things
//! differ. Who is out of its share is not passed over but waits: it is not read until it has a share again, so that a
//! sender is slowed down and nothing is lost. And as each connection has another port, proof counts for the address: from
//! where somebody's password was right, whole offices may come, at ten times the pace ([`OFFICE`]) and whatever the crowd
//! does. A connection over which it was right is not asked at all.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::{Chance, Time};

/// Sources, as far as they are remembered. The exchange has one for datagrams; who reads connections has another.
///
/// Limits: [`PROVEN`] proven ones and [`SOURCES`] strangers; those that were noted longest ago give way.
#[derive(Serialize, Deserialize)]
pub struct Strangers {
    /// Of the hash, so that nobody can choose sources that push others out.
    keys: [u64; 2],
    /// Proven sources, each with when: in ticks of [`TICK`].
    proven: Sieve<24, PROVEN>,
    /// What each stranger has used up: until when it pays for it, in milliseconds.
    sources: Sieve<40, SOURCES>,
    crowd: Time,
    again: Time,
    /// The stranger who was heard last.
    #[serde(skip)]
    in_hand: Option<SocketAddr>,
}

/// What becomes of what a stranger sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken in.
    Heard,
    /// This source has sent its share.
    TooMuch,
    /// All strangers together have.
    Crowded,
}

impl Strangers {
    /// Nobody is known. `secrets` decides how sources are spread.
    pub fn new(mut secrets: Chance) -> Self {
        Strangers { keys: [secrets.u64(), secrets.u64()], ..Strangers::default() }
    }

    /// Whether it was never given keys: it comes from a snapshot of a release that had none.
    pub(crate) fn is_keyless(&self) -> bool {
        self.keys == [0; 2]
    }

    /// Whether whoever is there has proven who it is lately.
    pub(crate) fn is_proven(&self, source: SocketAddr, now: Time) -> bool {
        let since = self.proven.get(self.hash(source.ip(), source.port()));
        since.is_some_and(|since| tick(now).wrapping_sub(since) & TICKS <= PROVEN_FOR)
    }

    /// Decides on a datagram of somebody who has not.
    pub(crate) fn hear(&mut self, source: SocketAddr, now: Time) -> Verdict {
        let hash = self.hash(network(source.ip()), 0);
        let before = self.sources.get(hash);
        let until = SOURCE.take(before.map_or(Time::ZERO, Time::from_millis), now);
        let Some(until) = until else { return Verdict::TooMuch };
        self.sources.put(hash, until.as_millis());
        if let Some(until) = CROWD.take(self.crowd, now) {
            self.crowd = until;
        } else if let Some(until) = AGAIN.take(self.again, now).filter(|_| before.is_some()) {
            self.again = until;
        } else {
            return Verdict::Crowded;
        }
        self.in_hand = Some(source);
        Verdict::Heard
    }

    /// Decides on a connection of somebody, or on what comes over one, before anybody has proven who it is over it.
    pub fn hear_connection(&mut self, source: IpAddr, now: Time) -> Verdict {
        let office = SocketAddr::new(network(source), 0);
        if !self.is_proven(office, now) {
            return self.hear(office, now);
        }
        let hash = self.hash(office.ip(), 0);
        let before = self.sources.get(hash).map_or(Time::ZERO, Time::from_millis);
        let Some(until) = OFFICE.take(before, now) else { return Verdict::TooMuch };
        self.sources.put(hash, until.as_millis());
        Verdict::Heard
    }

    /// Somebody knew the password over a connection from there, or did so before a restart.
    pub fn prove_connection(&mut self, source: IpAddr, now: Time) {
        self.prove(SocketAddr::new(network(source), 0), now);
    }

    /// Somebody there knew the password, or is registered from there.
    pub(crate) fn prove(&mut self, source: SocketAddr, now: Time) {
        self.proven.put(self.hash(source.ip(), source.port()), tick(now));
    }

    /// Somebody there answered a request of ours, or spoke in a dialog. Costs those nothing who were known before.
    pub(crate) fn prove_in_hand(&mut self, source: SocketAddr, now: Time) {
        if self.in_hand == Some(source) {
            self.in_hand = None;
            self.prove(source, now);
        }
    }

    fn hash(&self, address: IpAddr, port: u16) -> u64 {
        let bits = match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let [first, second] = self.keys;
        fold(fold(bits as u64 ^ first, (bits >> 64) as u64 ^ second), u64::from(port) ^ second)
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Strangers {
            keys: [0; 2],
            proven: Sieve::default(),
            sources: Sieve::default(),
            crowd: Time::ZERO,
            again: Time::ZERO,
            in_hand: None,
        }
    }
}

/// So many at once, and one each so often from then on.
struct Pace {
    at_once: u32,
    every: Duration,
}

impl Pace {
    /// Until when who has paid until `until` pays after one more; `None` when it must wait.
    fn take(&self, until: Time, now: Time) -> Option<Time> {
        let until = until.max(now) + self.every;
        (until.since(now) <= self.every * self.at_once).then_some(until)
    }
}

/// Numbers of `BITS` bits by hash, in sets of [`WAYS`]: where a set is full, the smallest number gives way. The rest of a
/// slot is the hash's upper bits, so that two sources are one in a case of millions only.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u32, u64)>", into = "Vec<(u32, u64)>")]
struct Sieve<const BITS: u32, const SLOTS: usize>(Vec<u64>);

impl<const BITS: u32, const SLOTS: usize> Sieve<BITS, SLOTS> {
    const VALUE: u64 = (1 << BITS) - 1;

    fn get(&self, hash: u64) -> Option<u64> {
        let set = self.0.get(Self::set(hash)..)?.first_chunk::<WAYS>()?;
        set.iter().find(|slot| **slot & !Self::VALUE == Self::mark(hash)).map(|slot| slot & Self::VALUE)
    }

    fn put(&mut self, hash: u64, value: u64) {
        if self.0.is_empty() {
            // Zeros from the system: a page takes memory when something is written to it.
            self.0 = vec![0; SLOTS];
        }
        let set = &mut self.0[Self::set(hash)..][..WAYS];
        let mark = Self::mark(hash);
        let place = set.iter().position(|slot| slot & !Self::VALUE == mark);
        let oldest = || (0..WAYS).min_by_key(|&place| set[place] & Self::VALUE);
        let place = place.or_else(oldest).unwrap_or(0);
        set[place] = mark | value & Self::VALUE;
    }

    /// Where a hash's set begins. The upper bits are left to the mark.
    fn set(hash: u64) -> usize {
        (hash as usize % (SLOTS / WAYS)) * WAYS
    }

    /// Never zero, as empty slots are.
    fn mark(hash: u64) -> u64 {
        (hash | 1 << BITS) & !Self::VALUE
    }
}

/// What is in a snapshot: the slots that are taken.
impl<const BITS: u32, const SLOTS: usize> From<Sieve<BITS, SLOTS>> for Vec<(u32, u64)> {
    fn from(sieve: Sieve<BITS, SLOTS>) -> Self {
        (0..).zip(sieve.0).filter(|(_, slot)| *slot != 0).collect()
    }
}

impl<const BITS: u32, const SLOTS: usize> From<Vec<(u32, u64)>> for Sieve<BITS, SLOTS> {
    fn from(taken: Vec<(u32, u64)>) -> Self {
        let mut slots = if taken.is_empty() { Vec::new() } else { vec![0; SLOTS] };
        for (place, slot) in taken {
            if let Some(place) = slots.get_mut(place as usize) {
                *place = slot;
            }
        }
        Sieve(slots)
    }
}

fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other | 1);
    (product as u64) ^ (product >> 64) as u64
}

/// One customer: an IPv4 address, or the /64 of an IPv6 address.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

fn tick(now: Time) -> u64 {
    (now.as_nanos() / TICK) & TICKS
}

/// 250 datagrams at once, then 25 a second.
const SOURCE: Pace = Pace { at_once: 250, every: Duration::from_millis(40) };
/// 2,500 connections and messages at once, then 250 a second.
const OFFICE: Pace = Pace { at_once: 2_500, every: Duration::from_millis(4) };
/// 4,000 at once, then 2,000 a second.
const CROWD: Pace = Pace { at_once: 4_000, every: Duration::from_micros(500) };
/// 500 at once, then 1,000 a second.
const AGAIN: Pace = Pace { at_once: 500, every: Duration::from_millis(1) };
/// Proven sources that are remembered: half a megabyte.
const PROVEN: usize = 1 << 16;
/// Strangers that are remembered: 100,000 a second leave who knocks again after a second in it. Two megabytes.
const SOURCES: usize = 1 << 18;
/// Slots among which one gives way.
const WAYS: usize = 4;
/// Units: nanoseconds.
const TICK: u64 = 16_000_000_000;
/// As many ticks as are told apart: eight years.
const TICKS: u64 = (1 << 24) - 1;
/// How long a proof counts: two hours, twice as long as phones usually register for. Units: ticks.
const PROVEN_FOR: u64 = 2 * 3_600 / 16;

#[cfg(test)]
mod tests {
    use super::*;
    use words::Seed;

    fn strangers() -> Strangers {
        Strangers::new(Chance::new(Seed::from_number(1)))
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(1_000_000 + millis)
    }

    fn source(n: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(n.into()), 5060)
    }

    /// How many of `count` datagrams from `source` are heard at once.
    fn heard(strangers: &mut Strangers, source: SocketAddr, count: u32, now: Time) -> usize {
        (0..count).filter(|_| strangers.hear(source, now) == Verdict::Heard).count()
    }

    #[test]
    fn one_source_is_heard_so_often_and_the_next_not_less_for_it() {
        let mut strangers = strangers();
        assert_eq!(heard(&mut strangers, source(1), 10_000, at(0)), 250);
        assert_eq!(strangers.hear(source(1), at(0)), Verdict::TooMuch);
        assert_eq!(heard(&mut strangers, source(2), 10_000, at(0)), 250);
        assert_eq!(heard(&mut strangers, source(1), 10_000, at(1_000)), 25);
        assert_eq!(heard(&mut strangers, source(1), 10_000, at(60_000)), 250);
    }

    #[test]
    fn addresses_and_ports_of_one_customer_are_one_source() {
        let mut strangers = strangers();
        let of = |text: String| text.parse().unwrap();
        let six = |strangers: &mut Strangers, net: u32| {
            let mut all = (0..1_000).map(|n: u32| of(format!("[2001:db8:1:{net}:{n:x}::1]:{}", 1_024 + n)));
            all.by_ref().filter(|source| strangers.hear(*source, at(0)) == Verdict::Heard).count()
        };
        assert_eq!((six(&mut strangers, 1), six(&mut strangers, 2)), (250, 250));
        let mut four = (0..1_000).map(|n| of(format!("198.51.100.1:{}", 1_024 + n)));
        assert_eq!(four.by_ref().filter(|source| strangers.hear(*source, at(0)) == Verdict::Heard).count(), 250);
    }

    #[test]
    fn who_has_proven_himself_is_known_by_address_and_port_for_two_hours() {
        let mut strangers = strangers();
        let office: SocketAddr = "198.51.100.1:5060".parse().unwrap();
        strangers.prove(office, at(0));
        for minutes in [0, 30, 119] {
            assert!(strangers.is_proven(office, at(minutes * 60_000)));
        }
        assert!(!strangers.is_proven(office, at(121 * 60_000)));
        for other in ["198.51.100.1:5062", "198.51.100.2:5060", "[2001:db8::1]:5060"] {
            assert!(!strangers.is_proven(other.parse().unwrap(), at(0)), "{other}");
        }
    }

    #[test]
    fn an_answer_proves_the_stranger_in_hand_and_nobody_else() {
        let mut strangers = strangers();
        assert_eq!(strangers.hear(source(1), at(0)), Verdict::Heard);
        strangers.prove_in_hand(source(2), at(0));
        assert!(!strangers.is_proven(source(1), at(0)) && !strangers.is_proven(source(2), at(0)));
        strangers.prove_in_hand(source(1), at(0));
        assert!(strangers.is_proven(source(1), at(0)));
        strangers.prove_in_hand(source(2), at(0));
        assert!(!strangers.is_proven(source(2), at(0)));
    }

    #[test]
    fn made_up_sources_leave_room_for_who_knocks_again() {
        let mut strangers = strangers();
        let (mut through, mut again, mut made_up) = (0, 0, 0_u32);
        // 100,000 a second, each from an address of its own, and five newcomers a second who repeat as RFC 3261 has it.
        let mut due: Vec<(u64, u32, u64)> = (0..50).map(|n| (2_000 + u64::from(n) * 200, n, 500)).collect();
        for millis in 0..16_000 {
            for _ in 0..100 {
                made_up += 1;
                through += u32::from(strangers.hear(source(made_up), at(millis)) == Verdict::Heard);
            }
            for (when, n, pause) in due.iter_mut().filter(|(when, ..)| *when == millis) {
                if strangers.hear(source(u32::MAX - *n), at(millis)) == Verdict::Heard {
                    *when = 0;
                    again += 1;
                } else {
                    (*when, *pause) = (*when + *pause, (*pause * 2).min(4_000));
                }
            }
        }
        assert!(through <= 4_000 + 16 * 2_000 + 100, "{through} made-up sources were heard");
        assert!(again >= 45, "{again} of 50 newcomers came in");
    }

    #[test]
    fn a_flood_forgets_no_proven_source_and_keeps_its_own_debts() {
        let mut strangers = strangers();
        for n in 0..10_000 {
            strangers.prove(source(n), at(0));
        }
        assert_eq!(heard(&mut strangers, source(1 << 30), 10_000, at(0)), 250);
        for n in 0..60_000 {
            strangers.hear(source(1 << 31 | n), at(0));
        }
        let known = (0..10_000).filter(|&n| strangers.is_proven(source(n), at(1))).count();
        assert!(known > 9_900, "{known}");
        assert_eq!(strangers.hear(source(1 << 30), at(0)), Verdict::TooMuch);
        assert_eq!((strangers.proven.0.len(), strangers.sources.0.len()), (PROVEN, SOURCES));
    }

    #[test]
    fn connections_of_an_office_are_heard_ten_times_as_often() {
        let mut strangers = strangers();
        let [office, other, six]: [IpAddr; 3] =
            ["198.51.100.1", "198.51.100.2", "2001:db8:1:1::1"].map(|text| text.parse().unwrap());
        let mut heard =
            |source, now| (0..10_000).filter(|_| strangers.hear_connection(source, now) == Verdict::Heard).count();
        assert_eq!([heard(office, at(0)), heard(other, at(0)), heard(six, at(0))], [250; 3]);
        strangers.prove_connection(office, at(0));
        strangers.prove_connection("2001:db8:1:1:ffff::9".parse().unwrap(), at(0));
        let mut heard =
            |source, now| (0..10_000).filter(|_| strangers.hear_connection(source, now) == Verdict::Heard).count();
        assert_eq!([heard(office, at(1_000)), heard(other, at(1_000)), heard(six, at(1_000))], [250, 25, 250]);
        assert_eq!([heard(office, at(60_000)), heard(other, at(60_000)), heard(six, at(60_000))], [2_500, 250, 2_500]);
        assert_eq!(heard(office, at(3 * 3_600_000)), 250, "a proof counts for two hours");
    }

    #[test]
    fn a_crowd_that_connects_does_not_keep_an_office_waiting() {
        let mut strangers = strangers();
        let office: IpAddr = "203.0.113.1".parse().unwrap();
        strangers.prove_connection(office, at(0));
        let crowd: Vec<Verdict> = (0..20_000).map(|n| strangers.hear_connection(source(n).ip(), at(0))).collect();
        assert!(crowd.iter().filter(|verdict| **verdict == Verdict::Heard).count() <= 4_500);
        assert_eq!(crowd.last(), Some(&Verdict::Crowded));
        assert_eq!(strangers.hear_connection(office, at(0)), Verdict::Heard);
    }

    #[test]
    fn a_snapshot_knows_who_is_proven_and_who_has_had_his_share() {
        let mut strangers = strangers();
        strangers.prove(source(1), at(0));
        heard(&mut strangers, source(2), 1_000, at(0));
        let bytes = rmp_serde::to_vec_named(&strangers).unwrap();
        assert!(bytes.len() < 200, "{}", bytes.len());
        let mut read: Strangers = rmp_serde::from_slice(&bytes).unwrap();
        assert!(read.is_proven(source(1), at(1)) && !read.is_proven(source(2), at(1)) && !read.is_keyless());
        assert_eq!((read.hear(source(2), at(0)), read.hear(source(3), at(0))), (Verdict::TooMuch, Verdict::Heard));
    }
}
