//! How many wrong passwords are heard out.
//!
//! - Each source has a bucket for all its wrong answers. When it is empty, wrong answers are refused instead of challenged
//!   again; right ones go through, so a shared address shuts nobody out. Known and unknown names fill it alike, so it
//!   tells nobody which names exist.
//! - Each source and user together have a bucket for guesses. A phone that repeats an old password guesses nothing, but
//!   what it sends cannot be told from a guess, so it may use half of the bucket only: a sender who failed there already
//!   (by its port or its Call-ID) waits once ten tries are gone, and its turn comes again, later the more there are of its
//!   kind. A sender who never failed has the other half. Who has to wait gets no password looked at, right or wrong.
//! - Where the user has been let in from that source, guesses come from behind the same address as the owner. Then the
//!   bucket is far wider, and the port that the owner used last never waits.
//!
//! So whoever guesses at a user from one address has twenty passwords looked at, and one a minute from then on, however it
//! changes ports and Call-IDs; from where the owner was let in, fifty and ten a second. Meanwhile the owner comes in from
//! every other address, and from the same one by the port that it used last. An owner who was not let in yet from the very
//! address where somebody guesses on purpose, under ever new ports and Call-IDs, has to share those tries with the guesser.
//!
//! IPv6 sources count by their /64, which is what one customer has.

use crate::limit::{PROVEN_PER_USER, SENDERS, SOURCES};
use crate::recent::Recent;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use words::{Time, UserId};

/// Counts of wrong passwords, and what follows from them.
///
/// Limits: [`SOURCES`] sources and as many pairs (those that failed longest ago are forgotten first),
/// [`PROVEN_PER_USER`] sources per user from which it was let in, [`SENDERS`] senders per pair.
#[derive(Debug, Serialize, Deserialize)]
pub struct Throttle {
    sources: Recent<IpAddr, Tries>,
    pairs: Recent<(UserId, IpAddr), Guesses>,
    proven: BTreeMap<UserId, SmallVec<[Proven; 1]>>,
}

/// Who sends a request, as far as that can be told without a password: from where, and under which Call-ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    source: SocketAddr,
    call: u32,
}

/// Who is out of tries; for `phones bans`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The source. An IPv6 address stands for its /64.
    pub source: IpAddr,
    /// The user whose password was guessed; `None` when it is about all wrong answers from there.
    pub user: Option<UserId>,
    /// How many wrong passwords in a row.
    pub failures: u32,
    /// When the next try is due.
    pub until: Time,
}

/// A bucket that empties by one try per [`Pace::every`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Tries {
    full_again: Time,
    failures: u32,
}

/// The guesses at one user from one source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Guesses {
    #[serde(default)]
    tries: Tries,
    /// Who made them.
    #[serde(default)]
    senders: SmallVec<[Failed; 1]>,
}

/// A sender who failed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Failed {
    port: u16,
    call: u32,
    last: Time,
}

/// A source from which a user was let in with its present password.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Proven {
    source: IpAddr,
    port: u16,
    last: Time,
    tries: Tries,
}

struct Pace {
    tries: u32,
    every: Duration,
}

impl Throttle {
    /// Nobody has failed yet.
    pub fn new() -> Self {
        Throttle { sources: Recent::new(SOURCES), pairs: Recent::new(SOURCES), proven: BTreeMap::new() }
    }

    /// Whether the password that `sender` offers for `user` may be looked at.
    pub fn may_try(&self, sender: Sender, user: UserId, now: Time) -> bool {
        let network = network(sender.source.ip());
        if let Some(proven) = self.proven_from(user, network) {
            return proven.port == sender.source.port() || !proven.tries.is_out(&BESIDE_OWNER, now);
        }
        self.pairs.get(&(user, network)).is_none_or(|guesses| guesses.may_try(sender, now))
    }

    /// Whether wrong answers from `source` are refused instead of challenged again.
    pub fn is_out(&self, source: IpAddr, now: Time) -> bool {
        self.sources.get(&network(source)).is_some_and(|tries| tries.is_out(&GUESSES, now))
    }

    /// Counts a wrong answer; `user` is `None` when nobody has that name, or when no password was looked at. Call it only
    /// for answers to a nonce that was given to this source, so that nobody can fail in another's name.
    pub fn failed(&mut self, sender: Sender, user: Option<UserId>, now: Time) {
        let network = network(sender.source.ip());
        // It is as deep as that of a pair, and holds all that is in those: who waits there is refused here.
        self.sources.insert(network, next(self.sources.get(&network), &ALL_GUESSES, now));
        let Some(user) = user else { return };
        let places = self.proven.get_mut(&user);
        if let Some(proven) = places.and_then(|places| places.iter_mut().find(|proven| proven.source == network)) {
            proven.tries = next(Some(&proven.tries), &BESIDE_OWNER, now);
        } else {
            let mut guesses = self.pairs.get(&(user, network)).cloned().unwrap_or_default();
            guesses.failed(sender, now);
            self.pairs.insert((user, network), guesses);
        }
    }

    /// Remembers that `user` was let in from `source` with its present password.
    pub fn succeeded(&mut self, source: SocketAddr, user: UserId, now: Time) {
        let network = network(source.ip());
        let places = self.proven.entry(user).or_default();
        if let Some(proven) = places.iter_mut().find(|proven| proven.source == network) {
            (proven.port, proven.last) = (source.port(), now);
            return;
        }
        if places.len() >= PROVEN_PER_USER
            && let Some(oldest) = (0..places.len()).min_by_key(|&n| places[n].last)
        {
            places.swap_remove(oldest);
        }
        places.push(Proven { source: network, port: source.port(), last: now, tries: Tries::default() });
    }

    /// Whether `user` was let in from `source` with its present password.
    pub fn is_proven(&self, source: IpAddr, user: UserId) -> bool {
        self.proven_from(user, network(source)).is_some()
    }

    /// The user's password changed or the user is gone: what was counted and proven with the old one is void.
    pub fn forget_user(&mut self, user: UserId) {
        self.proven.remove(&user);
        self.pairs.retain(|&(other, _), _| other != user);
    }

    /// Forgives a source everything; `false` when it had nothing to forgive.
    pub fn unban(&mut self, source: IpAddr) -> bool {
        let network = network(source);
        let before = self.sources.len() + self.pairs.len();
        self.sources.retain(|&other, _| other != network);
        self.pairs.retain(|&(_, other), _| other != network);
        for proven in self.proven.values_mut().flatten().filter(|proven| proven.source == network) {
            proven.tries = Tries::default();
        }
        self.sources.len() + self.pairs.len() < before
    }

    /// Who is out of tries at the moment.
    pub fn bans(&self, now: Time) -> Vec<Ban> {
        let sources = self.sources.iter().filter_map(|(&source, tries)| tries.ban(source, None, &GUESSES, now));
        let pairs =
            self.pairs.iter().filter_map(|(&(user, source), at)| at.tries.ban(source, Some(user), &GUESSES, now));
        let beside = self.proven.iter().flat_map(|(&user, places)| places.iter().map(move |proven| (user, proven)));
        let beside = beside.filter_map(|(user, at)| at.tries.ban(at.source, Some(user), &BESIDE_OWNER, now));
        sources.chain(pairs).chain(beside).collect()
    }

    fn proven_from(&self, user: UserId, network: IpAddr) -> Option<&Proven> {
        self.proven.get(&user)?.iter().find(|proven| proven.source == network)
    }

    #[cfg(test)]
    pub(crate) fn entries(&self) -> usize {
        self.sources.len() + self.pairs.len() + self.proven.len()
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle::new()
    }
}

impl Sender {
    /// Who sent a request that came from `source`.
    pub fn of(message: &Message, source: SocketAddr) -> Self {
        let call_id = message.header(HeaderName::CallId).unwrap_or_default();
        // FNV-1a. Who makes two Call-IDs meet only takes its own turns away.
        let call =
            call_id.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Sender { source, call }
    }

    /// From where.
    pub fn source(&self) -> SocketAddr {
        self.source
    }
}

impl Guesses {
    fn may_try(&self, sender: Sender, now: Time) -> bool {
        if !self.tries.is_out(&GUESSES, now) {
            return true;
        }
        let waits = || GUESSES.every * 2 * self.senders.len() as u32;
        let turn = self.senders.iter().find(|failed| failed.is(sender)).is_none_or(|it| now >= it.last + waits());
        turn && !self.tries.is_out(&ALL_GUESSES, now)
    }

    fn failed(&mut self, sender: Sender, now: Time) {
        if self.tries.full_again <= now {
            self.senders.clear();
        }
        self.tries = next(Some(&self.tries), &ALL_GUESSES, now);
        self.senders.retain(|failed| !failed.is(sender));
        if self.senders.len() >= SENDERS {
            self.senders.remove(0);
        }
        // The one who failed last stands last.
        self.senders.push(Failed { port: sender.source.port(), call: sender.call, last: now });
    }
}

impl Failed {
    /// Phones on streams change their port, and some their Call-ID with each request.
    fn is(&self, sender: Sender) -> bool {
        self.port == sender.source.port() || self.call == sender.call
    }
}

impl Tries {
    /// When the bucket gives out the next try.
    fn until(&self, pace: &Pace) -> Time {
        let kept = pace.every * (pace.tries - 1);
        Time::from_nanos(self.full_again.as_nanos().saturating_sub(kept.as_nanos() as u64))
    }

    fn is_out(&self, pace: &Pace, now: Time) -> bool {
        self.until(pace) > now
    }

    fn ban(&self, source: IpAddr, user: Option<UserId>, pace: &Pace, now: Time) -> Option<Ban> {
        let Tries { failures, .. } = *self;
        self.is_out(pace, now).then(|| Ban { source, user, failures, until: self.until(pace) })
    }
}

/// The bucket after one more failure.
fn next(before: Option<&Tries>, pace: &Pace, now: Time) -> Tries {
    let before = before.copied().unwrap_or_default();
    let full = now + pace.every * pace.tries;
    let failures = if before.full_again <= now { 0 } else { before.failures };
    Tries { full_again: (before.full_again.max(now) + pace.every).min(full), failures: failures.saturating_add(1) }
}

/// What one customer has: an IPv4 address, or the /64 of an IPv6 address.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Ten wrong answers at once, then one a minute.
const GUESSES: Pace = Pace { tries: 10, every: Duration::from_mins(1) };
/// How deep the bucket is: what is beyond [`GUESSES`] is for those who never failed, and for those whose turn it is.
const ALL_GUESSES: Pace = Pace { tries: 20, every: GUESSES.every };
/// Fifty at once, then ten a second.
const BESIDE_OWNER: Pace = Pace { tries: 50, every: Duration::from_millis(100) };

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn from(source: SocketAddr) -> Sender {
        Sender { source, call: 1 }
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn fail(throttle: &mut Throttle, source: SocketAddr, user: Option<UserId>, times: u32, now: Time) {
        for _ in 0..times {
            throttle.failed(from(source), user, now);
        }
    }

    #[test]
    fn ten_guesses_then_one_a_minute() {
        let source = address("198.51.100.1:5060");
        let mut throttle = Throttle::new();
        fail(&mut throttle, source, Some(ANN), 9, at(0));
        assert!(throttle.may_try(from(source), ANN, at(0)));
        fail(&mut throttle, source, Some(ANN), 1, at(0));
        assert!(!throttle.may_try(from(source), ANN, at(0)) && !throttle.may_try(from(source), ANN, at(59)));
        assert!(throttle.may_try(from(source), ANN, at(60)));
        fail(&mut throttle, source, Some(ANN), 1, at(60));
        assert!(!throttle.may_try(from(source), ANN, at(119)) && throttle.may_try(from(source), ANN, at(120)));
        assert!(throttle.bans(at(1_000)).is_empty());
    }

    #[test]
    fn a_guesser_stops_neither_the_user_elsewhere_nor_others_beside_it() {
        let office = address("198.51.100.1:5060");
        let mut throttle = Throttle::new();
        fail(&mut throttle, office, Some(ANN), 100, at(0));
        assert!(!throttle.may_try(from(office), ANN, at(1)));
        assert!(throttle.may_try(from(address("198.51.100.2:5060")), ANN, at(1)));
        assert!(throttle.may_try(from(office), BOB, at(1)));
    }

    #[test]
    fn strangers_names_and_known_names_empty_the_same_bucket() {
        for user in [None, Some(ANN)] {
            let source = address("198.51.100.1:5060");
            let mut throttle = Throttle::new();
            fail(&mut throttle, source, user, 9, at(0));
            assert!(!throttle.is_out(source.ip(), at(0)));
            fail(&mut throttle, source, user, 1, at(0));
            assert!(throttle.is_out(source.ip(), at(0)) && !throttle.is_out(source.ip(), at(60)));
        }
    }

    #[test]
    fn the_owner_never_waits_while_another_guesses_beside_it() {
        let owner = address("198.51.100.1:5060");
        let guesser = address("198.51.100.1:40000");
        let mut throttle = Throttle::new();
        throttle.succeeded(owner, ANN, at(0));
        fail(&mut throttle, guesser, Some(ANN), 1_000, at(1));
        assert!(throttle.may_try(from(owner), ANN, at(1)));
        assert!(
            !throttle.may_try(from(guesser), ANN, at(1))
                && throttle.may_try(from(address("198.51.100.1:5062")), ANN, at(2))
        );
        assert_eq!(throttle.bans(at(1)).len(), 2);
    }

    #[test]
    fn a_new_password_and_an_unban_forgive() {
        let source = address("198.51.100.1:5060");
        let mut throttle = Throttle::new();
        fail(&mut throttle, source, Some(ANN), 10, at(0));
        throttle.forget_user(ANN);
        assert!(throttle.may_try(from(source), ANN, at(0)));
        fail(&mut throttle, source, Some(ANN), 10, at(0));
        let ban = Ban { source: source.ip(), user: Some(ANN), failures: 10, until: at(60) };
        assert!(throttle.bans(at(0)).contains(&ban));
        assert!(throttle.unban(source.ip()) && !throttle.unban(source.ip()));
        assert!(throttle.may_try(from(source), ANN, at(0)) && throttle.bans(at(0)).is_empty());
        throttle.succeeded(source, ANN, at(0));
        throttle.forget_user(ANN);
        assert!(!throttle.is_proven(source.ip(), ANN));
    }

    #[test]
    fn addresses_of_one_ipv6_customer_are_one_source() {
        let mut throttle = Throttle::new();
        for n in 0..10 {
            fail(&mut throttle, address(&format!("[2001:db8:1:1::{n}]:5060")), Some(ANN), 1, at(0));
        }
        assert!(!throttle.may_try(from(address("[2001:db8:1:1:ffff::1]:1")), ANN, at(0)));
        assert!(throttle.may_try(from(address("[2001:db8:1:2::1]:1")), ANN, at(0)));
    }

    #[test]
    fn many_sources_and_many_places_stay_within_their_limits() {
        let mut throttle = Throttle::new();
        for n in 0..200_000u32 {
            let source = IpAddr::V4(n.into());
            throttle.failed(from(SocketAddr::new(source, 5060)), Some(ANN), at(0));
            throttle.succeeded(SocketAddr::new(source, 5060), BOB, at(u64::from(n)));
        }
        assert!(throttle.entries() <= 2 * SOURCES + 1);
        assert_eq!(throttle.proven[&BOB].len(), PROVEN_PER_USER);
        assert!(throttle.is_proven(IpAddr::V4(199_999.into()), BOB));
    }
}
