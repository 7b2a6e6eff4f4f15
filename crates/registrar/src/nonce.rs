//! Nonces: made without keeping anything, read without looking anything up, counted once a right answer used them.

use crate::limit::NONCES_PER_USER;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;
use words::{Chance, Time, UserId};

/// Which nonce: rises with each that is made, and carries its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NonceId(u64);

impl NonceId {
    fn issued(self) -> Time {
        Time::from_millis(self.0 >> COUNTER_BITS)
    }

    fn is_good(self, now: Time) -> bool {
        now.since(self.issued()) <= NONCE_LIFETIME
    }
}

/// Makes and reads nonces: id and a MAC over the id and the address it was given to.
///
/// A nonce is bound to the source so that nobody can spend another address's tries by forging its packets: who answers
/// with it has seen the challenge.
#[derive(Serialize, Deserialize)]
pub(crate) struct Mint {
    mac: Keyed,
    last: u64,
}

/// A MAC, and the key that a snapshot makes it from again.
pub(crate) struct Keyed {
    key: [u8; 32],
    pub(crate) mac: Hmac<Sha256>,
}

impl Keyed {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Keyed { key, mac: Hmac::new_from_slice(&key).expect("HMAC takes keys of any length") }
    }
}

impl Serialize for Keyed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.key.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Keyed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 32]>::deserialize(deserializer).map(Keyed::new)
    }
}

impl Mint {
    pub(crate) fn new(mut secret: Chance) -> Self {
        let mut key = [0; 32];
        secret.fill(&mut key);
        Mint { mac: Keyed::new(key), last: 0 }
    }

    pub(crate) fn make(&mut self, source: IpAddr, now: Time) -> String {
        self.last = (now.as_millis() << COUNTER_BITS).max(self.last + 1);
        let id = self.last;
        let mut text = String::with_capacity(NONCE_CHARS);
        push_hex(&mut text, id);
        push_hex(&mut text, self.tag(id, source));
        text
    }

    /// The id of a nonce that we gave to this source within its lifetime.
    pub(crate) fn read(&self, text: &str, source: IpAddr, now: Time) -> Option<NonceId> {
        if text.len() != NONCE_CHARS {
            return None;
        }
        let id = from_hex(text.as_bytes().get(..NONCE_CHARS / 2)?)?;
        let tag = from_hex(text.as_bytes().get(NONCE_CHARS / 2..)?)?;
        // One comparison of two words: its time does not depend on where they differ.
        let ours = self.tag(id, source) == tag;
        let id = NonceId(id);
        (ours && id.is_good(now)).then_some(id)
    }

    fn tag(&self, id: u64, source: IpAddr) -> u64 {
        let source = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut input = [0; 24];
        input[..8].copy_from_slice(&id.to_be_bytes());
        input[8..].copy_from_slice(&source.octets());
        let mut mac = self.mac.mac.clone();
        mac.update(&input);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(8).fold(0, |tag, &byte| tag << 8 | u64::from(byte))
    }
}

/// What each user's nonces were used for, so that no answer is taken twice (RFC 7616 §5.12).
///
/// Entries come from right answers only, and each user has [`NONCES_PER_USER`] of its own: nobody can push out
/// another's. What is pushed out leaves a floor: an untracked nonce at or below it counts as used. Entries that rested for
/// a nonce's lifetime go, a generation at a time.
#[derive(Serialize, Deserialize)]
pub(crate) struct Spent {
    young: HashMap<UserId, Uses>,
    old: HashMap<UserId, Uses>,
    turned: Time,
}

#[derive(Default, Serialize, Deserialize)]
struct Uses {
    floor: u64,
    nonces: SmallVec<[Use; 1]>,
}

/// A nonce and the counts seen with it: the highest, and the 64 up to it as bits.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Use {
    id: u64,
    highest: u32,
    seen: u64,
}

impl Spent {
    pub(crate) fn new(now: Time) -> Self {
        Spent { young: HashMap::new(), old: HashMap::new(), turned: now }
    }

    /// Marks one use; `false` when this count was used before or is too old to tell. Counts may leave gaps and may
    /// overtake each other by up to 64, as they do over UDP.
    pub(crate) fn spend(&mut self, user: UserId, nonce: NonceId, count: u32, now: Time) -> bool {
        self.turn(now);
        if let Some(uses) = self.old.remove(&user) {
            self.young.insert(user, uses);
        }
        self.young.entry(user).or_default().spend(nonce, count, now)
    }

    /// What a user used before no longer matters: its password is another one.
    pub(crate) fn forget(&mut self, user: UserId) {
        self.young.remove(&user);
        self.old.remove(&user);
    }

    fn turn(&mut self, now: Time) {
        if now.since(self.turned) <= NONCE_LIFETIME {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if now.since(self.turned) > NONCE_LIFETIME * 2 {
            self.old = HashMap::new();
        }
        self.turned = now;
    }

    #[cfg(test)]
    pub(crate) fn tracked(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

impl Uses {
    fn spend(&mut self, NonceId(id): NonceId, count: u32, now: Time) -> bool {
        if let Some(found) = self.nonces.iter_mut().find(|used| used.id == id) {
            return found.spend(count);
        }
        if self.nonces.len() == self.nonces.capacity() {
            // Those that Mint reads no more need no memory; room is made for more than one.
            self.nonces.retain(|used| NonceId(used.id).is_good(now));
        }
        if id <= self.floor || count == 0 {
            return false;
        }
        if self.nonces.len() >= NONCES_PER_USER
            && let Some(oldest) = (0..self.nonces.len()).min_by_key(|&n| self.nonces[n].id)
        {
            if self.nonces[oldest].id > id {
                return false;
            }
            self.floor = self.nonces[oldest].id;
            self.nonces.swap_remove(oldest);
        }
        self.nonces.push(Use { id, highest: count, seen: 1 });
        true
    }
}

impl Use {
    fn spend(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if count == 0 || behind >= u64::BITS {
            return false;
        }
        let fresh = self.seen >> behind & 1 == 0;
        self.seen |= 1 << behind;
        fresh
    }
}

fn push_hex(text: &mut String, value: u64) {
    for nibble in (0..16).rev() {
        text.push(char::from(HEX[(value >> (nibble * 4)) as usize & 15]));
    }
}

fn from_hex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// How long a nonce is good for. A device that keeps one longer hears `stale=true` and answers the next by itself.
pub(crate) const NONCE_LIFETIME: Duration = Duration::from_mins(5);
const NONCE_CHARS: usize = 32;
const HEX: &[u8; 16] = b"0123456789abcdef";
/// Below the milliseconds of an id: four million nonces within one are told apart.
const COUNTER_BITS: u32 = 22;

#[cfg(test)]
mod tests {
    use super::*;
    use words::Seed;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const ANN: UserId = UserId(1);

    fn mint() -> Mint {
        Mint::new(Chance::new(Seed::from_number(1)))
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    #[test]
    fn nonces_that_are_read_no_more_take_no_memory() {
        let mut spent = Spent::new(at(0));
        for second in (20..7_200).step_by(20) {
            let nonce = NonceId(at(second).as_millis() << COUNTER_BITS);
            assert!(spent.spend(ANN, nonce, 1, at(second)));
        }
        let uses = spent.young.get(&ANN).unwrap();
        assert!(uses.nonces.capacity() <= 32, "{}", uses.nonces.capacity());
        assert!(!spent.spend(ANN, NonceId(at(7_180).as_millis() << COUNTER_BITS), 1, at(7_190)));
    }

    #[test]
    fn a_nonce_is_read_where_and_while_it_is_good() {
        let mut mint = mint();
        let nonce = mint.make(HOME, at(10));
        assert!(mint.read(&nonce, HOME, at(10)).is_some());
        assert!(mint.read(&nonce, HOME, at(310)).is_some());
        assert!(mint.read(&nonce, HOME, at(311)).is_none());
        assert!(mint.read(&nonce, AWAY, at(10)).is_none());
    }

    #[test]
    fn no_changed_nonce_is_ours() {
        let mut mint = mint();
        let nonce = mint.make(HOME, at(10));
        for place in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[place] = if forged[place] == b'0' { b'1' } else { b'0' };
            assert!(mint.read(std::str::from_utf8(&forged).unwrap(), HOME, at(10)).is_none());
        }
        assert!(mint.read("", HOME, at(10)).is_none());
        assert!(mint.read("ffffffffffffffffффффффф!", HOME, at(10)).is_none());
        assert!(mint.read(&nonce.to_uppercase(), HOME, at(10)).is_none() || nonce == nonce.to_uppercase());
    }

    #[test]
    fn two_nonces_of_one_moment_differ() {
        let mut mint = mint();
        let nonces: std::collections::BTreeSet<String> = (0..1_000).map(|_| mint.make(HOME, at(1))).collect();
        assert_eq!(nonces.len(), 1_000);
    }

    #[test]
    fn each_count_is_taken_once_in_any_order_within_the_window() {
        let mut spent = Spent::new(at(0));
        let nonce = NonceId(5 << COUNTER_BITS);
        let mut take = |count| spent.spend(ANN, nonce, count, at(1));
        assert_eq!(
            [1, 3, 2, 3, 2, 1, 100, 36, 37, 37, 0].map(&mut take),
            [true, true, true, false, false, false, true, false, true, false, false]
        );
        assert!(take(u32::MAX) && !take(u32::MAX) && !take(1) && take(u32::MAX - 1));
    }

    #[test]
    fn pushed_out_nonces_cannot_come_back() {
        let mut spent = Spent::new(at(0));
        for n in 1..=500 {
            assert!(spent.spend(ANN, NonceId(n), 1, at(1)));
        }
        for n in 1..=500 {
            assert!(!spent.spend(ANN, NonceId(n), 1, at(1)), "nonce {n} was taken twice");
        }
        assert!(spent.spend(ANN, NonceId(500), 2, at(1)));
        assert!(spent.young[&ANN].nonces.len() <= NONCES_PER_USER);
    }

    #[test]
    fn what_one_user_spends_pushes_out_nothing_of_another() {
        let mut spent = Spent::new(at(0));
        assert!(spent.spend(ANN, NonceId(7), 1, at(1)));
        for n in 8..2_000 {
            spent.spend(UserId(2), NonceId(n), 1, at(1));
        }
        assert!(!spent.spend(ANN, NonceId(7), 1, at(1)));
        assert!(spent.spend(ANN, NonceId(7), 2, at(1)));
    }

    #[test]
    fn what_rested_is_forgotten_but_not_before_its_nonce_is_stale() {
        let mut mint = mint();
        let mut spent = Spent::new(at(0));
        let text = mint.make(HOME, at(290));
        let nonce = mint.read(&text, HOME, at(299)).unwrap();
        assert!(spent.spend(ANN, nonce, 1, at(299)));
        for second in 300..=590 {
            spent.spend(UserId(2), NonceId(second), 1, at(second));
            assert!(mint.read(&text, HOME, at(second)).is_none() || !spent.spend(ANN, nonce, 1, at(second)));
        }
        assert!(spent.spend(UserId(3), NonceId(9), 1, at(2_000)));
        assert_eq!(spent.tracked(), 1);
    }
}
