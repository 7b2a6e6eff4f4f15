//! The pool of media ports, owned by the core: only pairs that a worker has bound are handed out, each to one end at a
//! time, and after use each rests for a while, so that late packets of one call never reach the next.

use crate::command::{Family, MediaCommand, PortPair};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;
use words::{Chance, OwnMap, Time};

/// How long a pair rests after use: longer than a packet is on its way. A side that has not heard of the end yet is kept
/// out by the source check of the next call, and every second of rest is pairs that must be bound besides.
pub const QUARANTINE: Duration = Duration::from_secs(1);

/// How long pairs must have been more than needed until they are given up: bursts that come back within it find them.
pub const IDLE: Duration = Duration::from_secs(30);

/// How long a wish for stock may go unanswered before it is said again.
pub const WISH_PATIENCE: Duration = Duration::from_secs(5);

/// What a pool keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The most pairs of one family, which is what the port range and the descriptors of the host allow.
    pub pairs_max: u32,
    /// Wishes for more when fewer than this many of a family are ready, or an eighth of all.
    pub low_water: u32,
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig { pairs_max: 11_000, low_water: 64 }
    }
}

/// Why a pair was not taken back, or not taken in: our own bug or the worker's, never a caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The pair is not among those in use: it was given back before, or never handed out.
    #[error("the media ports are not in use")]
    NotTaken,
}

/// How many pairs of a family are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolCounts {
    /// Can be handed out.
    pub ready: u32,
    /// In use by an end.
    pub taken: u32,
    /// Waiting out their quarantine.
    pub resting: u32,
}

impl PoolCounts {
    /// All of them.
    pub const fn known(self) -> u32 {
        self.ready + self.taken + self.resting
    }
}

/// The pairs, each ready, taken or resting.
#[derive(Debug, Serialize, Deserialize)]
pub struct PortPool {
    #[serde(skip)]
    config: PoolConfig,
    chance: Chance,
    /// What may be handed out, by family and worker.
    ready: [Vec<Vec<PortPair>>; 2],
    /// In the order of their times: the rest is the same for all.
    resting: VecDeque<(Time, PortPair)>,
    /// Where each pair is, by worker and slot.
    states: OwnMap<(u16, u32), State>,
    counts: [PoolCounts; 2],
    wishes: [Option<Wish>; 2],
    /// The most pairs of a family that were not ready at a time, since it was last looked what is idle.
    #[serde(default)]
    peaks: [u32; 2],
    /// When it is looked next; `None` while nothing could be given up.
    #[serde(default)]
    look_at: Option<Time>,
    /// How often there was nothing to hand out.
    #[serde(default)]
    refused: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Ready(PortPair),
    Taken(PortPair),
    Resting(PortPair),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Wish {
    pairs: u32,
    said: Time,
}

impl PortPool {
    /// An empty pool. Ports are drawn by `chance`, so that a stranger cannot tell the next from the last.
    pub fn new(config: PoolConfig, chance: Chance) -> Self {
        PortPool {
            config,
            chance,
            ready: [Vec::new(), Vec::new()],
            resting: VecDeque::new(),
            states: OwnMap::default(),
            counts: [PoolCounts::default(); 2],
            wishes: [None; 2],
            peaks: [0; 2],
            look_at: None,
            refused: 0,
        }
    }

    /// Takes the limits of this start: a snapshot has none.
    pub fn configure(&mut self, config: PoolConfig) {
        self.config = config;
    }

    /// Takes in pairs that a worker has bound. One that is known already is passed over.
    pub fn add_ready(&mut self, pairs: &[PortPair], now: Time) {
        for &pair in pairs {
            let family = pair.family as usize;
            if self.states.contains_key(&(pair.worker, pair.slot))
                || self.counts[family].known() >= self.config.pairs_max
            {
                continue;
            }
            self.counts[family].ready += 1;
            self.put_ready(pair);
        }
        for (counts, wish) in self.counts.iter().zip(&mut self.wishes) {
            wish.take_if(|wish| counts.known() >= wish.pairs);
        }
        self.look_at = self.look_at.or(self.is_above_least().then(|| now + IDLE));
    }

    /// A pair for an end, of the named worker or of the one with the most to give.
    pub fn take(&mut self, family: Family, worker: Option<u16>, now: Time) -> Option<PortPair> {
        self.handle_timeout(now);
        let worker = match worker {
            Some(worker) => usize::from(worker),
            None => self.richest_in(family),
        };
        let taken = self.take_of(family, worker);
        self.refused += u64::from(taken.is_none());
        taken
    }

    /// Two pairs of one worker for the two sides of a call: of the preferred one where that has them.
    pub fn take_call(
        &mut self,
        a: Family,
        b: Family,
        preferred: Option<u16>,
        now: Time,
    ) -> Option<(PortPair, PortPair)> {
        self.handle_timeout(now);
        let calls = |n| {
            let [ready_a, ready_b] = [a, b].map(|family| self.ready_at(family, n));
            if a == b { ready_a / 2 } else { ready_a.min(ready_b) }
        };
        let preferred = preferred.map(usize::from).filter(|&n| calls(n) > 0);
        let worker = preferred.unwrap_or_else(|| self.richest(calls));
        if calls(worker) == 0 {
            self.refused += 1;
            return None;
        }
        Some((self.take_of(a, worker)?, self.take_of(b, worker)?))
    }

    /// Takes back a pair that an end no longer uses; it rests for [`QUARANTINE`].
    pub fn give_back(&mut self, pair: PortPair, now: Time) -> Result<(), PoolError> {
        match self.states.get_mut(&(pair.worker, pair.slot)) {
            Some(state) if *state == State::Taken(pair) => *state = State::Resting(pair),
            _ => return Err(PoolError::NotTaken),
        }
        let counts = &mut self.counts[pair.family as usize];
        counts.taken -= 1;
        counts.resting += 1;
        self.resting.push_back((now + QUARANTINE, pair));
        Ok(())
    }

    /// Makes ready what has rested. [`PortPool::take`] does so too: nobody needs to wake up for it.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(&(at, pair)) = self.resting.front()
            && at <= now
        {
            self.resting.pop_front();
            let counts = &mut self.counts[pair.family as usize];
            counts.resting -= 1;
            counts.ready += 1;
            self.put_ready(pair);
        }
    }

    /// The command that fills the stock when it runs low, said once until it is answered or [`WISH_PATIENCE`] passed.
    pub fn wants_stock(&mut self, family: Family, now: Time) -> Option<MediaCommand> {
        let counts = self.counts[family as usize];
        if counts.ready >= self.low_water(counts.known()) || counts.known() >= self.config.pairs_max {
            return None;
        }
        if self.is_wished(family, now) {
            return None;
        }
        let pairs = self.size_above(counts.known());
        self.wishes[family as usize] = Some(Wish { pairs, said: now });
        Some(MediaCommand::Stock { pairs, family })
    }

    /// The commands that give up what was not needed for [`IDLE`], one for each worker and family that has any. Asked at
    /// [`PortPool::next_at`].
    pub fn give_up_idle(&mut self, now: Time) -> Vec<MediaCommand> {
        let mut commands = Vec::new();
        if self.look_at.is_none_or(|at| now < at) {
            return commands;
        }
        for family in [Family::V4, Family::V6] {
            let counts = self.counts[family as usize];
            let used = counts.taken + counts.resting;
            let peak = std::mem::replace(&mut self.peaks[family as usize], used);
            let wished = self.is_wished(family, now);
            if let Some(size) = self.size_below(counts.known()).filter(|&size| !wished && peak <= self.fill(size)) {
                self.give_up(family, counts.known() - size, &mut commands);
            }
        }
        self.look_at = self.is_above_least().then(|| now + IDLE);
        commands
    }

    /// When [`PortPool::give_up_idle`] has something to look at.
    pub fn next_at(&self) -> Option<Time> {
        self.look_at
    }

    /// How often an end got no pair, because none was ready.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// How many pairs of a family are in which state.
    pub fn counts(&self, family: Family) -> PoolCounts {
        self.counts[family as usize]
    }

    /// Whether each pair is in one place and all are counted. For tests, after each input: it looks at every pair.
    pub fn check(&self) -> Result<(), String> {
        let known: u32 = self.counts.iter().map(|counts| counts.known()).sum();
        if known as usize != self.states.len() {
            return Err(format!("{known} pairs counted, {} known", self.states.len()));
        }
        for (family, counts) in [Family::V4, Family::V6].into_iter().zip(self.counts) {
            let ready: usize = self.ready[family as usize].iter().map(Vec::len).sum();
            let resting = self.resting.iter().filter(|(_, pair)| pair.family == family).count();
            if ready != counts.ready as usize || resting != counts.resting as usize {
                return Err(format!("{family:?}: {ready} ready and {resting} resting, but {counts:?}"));
            }
        }
        let of = |pair: &PortPair| self.states.get(&(pair.worker, pair.slot)).copied();
        for pair in self.ready.iter().flatten().flatten() {
            if of(pair) != Some(State::Ready(*pair)) {
                return Err(format!("{pair:?} lies ready but is {:?}", of(pair)));
            }
        }
        for (_, pair) in &self.resting {
            if of(pair) != Some(State::Resting(*pair)) {
                return Err(format!("{pair:?} rests but is {:?}", of(pair)));
            }
        }
        Ok(())
    }

    /// Whether a wish for more of a family may still be answered. One that cannot be met, because others hold the rest
    /// of the range, is over after [`WISH_PATIENCE`].
    fn is_wished(&self, family: Family, now: Time) -> bool {
        self.wishes[family as usize].is_some_and(|wish| now.since(wish.said) < WISH_PATIENCE)
    }

    /// How many pairs of a family are ready at the worker with number `n`.
    fn ready_at(&self, family: Family, n: usize) -> usize {
        self.ready[family as usize].get(n).map_or(0, Vec::len)
    }

    /// The worker with the most that is ready of a family.
    fn richest_in(&self, family: Family) -> usize {
        self.richest(|n| self.ready_at(family, n))
    }

    /// The worker for which `wealth` is highest; the lowest of equals.
    fn richest(&self, wealth: impl Fn(usize) -> usize) -> usize {
        let workers = self.ready.iter().map(Vec::len).max().unwrap_or(0);
        (0..workers).rev().max_by_key(|&n| wealth(n)).unwrap_or(0)
    }

    /// How few may be ready of so many that are bound.
    fn low_water(&self, bound: u32) -> u32 {
        self.config.low_water.max(bound / 8)
    }

    /// How many of so many may be in use for them to be enough, a little less than what makes them grow.
    fn fill(&self, bound: u32) -> u32 {
        let most = bound.saturating_sub(self.low_water(bound));
        most - most / 16
    }

    /// What is bound doubles and halves in steps: so bursts of every size find the same few sizes, wishes stay rare, and
    /// what is bound near what is used.
    fn size_above(&self, bound: u32) -> u32 {
        let mut size = self.least();
        while size <= bound {
            size = size.saturating_mul(2);
        }
        size.min(self.config.pairs_max)
    }

    fn size_below(&self, bound: u32) -> Option<u32> {
        let mut size = self.least();
        while size.saturating_mul(2) < bound {
            size *= 2;
        }
        (size < bound).then_some(size)
    }

    /// What is never given up.
    fn least(&self) -> u32 {
        self.config.low_water.max(1) * 2
    }

    fn is_above_least(&self) -> bool {
        self.counts.iter().any(|counts| counts.known() > self.least())
    }

    fn give_up(&mut self, family: Family, pairs: u32, commands: &mut Vec<MediaCommand>) {
        let mut by_worker: Vec<Vec<PortPair>> = vec![Vec::new(); self.ready[family as usize].len()];
        for _ in 0..pairs {
            // From where most are left, so that calls find both their pairs at one worker.
            let worker = self.richest_in(family);
            let Some(pair) = self.ready[family as usize].get_mut(worker).and_then(Vec::pop) else { break };
            self.states.remove(&(pair.worker, pair.slot));
            self.counts[family as usize].ready -= 1;
            by_worker[worker].push(pair);
        }
        let of_workers = (0..).zip(by_worker).filter(|(_, ports)| !ports.is_empty());
        commands.extend(of_workers.map(|(worker, ports)| MediaCommand::Unbind { worker, ports }));
    }

    fn take_of(&mut self, family: Family, worker: usize) -> Option<PortPair> {
        let ready = self.ready[family as usize].get_mut(worker)?;
        if ready.is_empty() {
            return None;
        }
        let pair = ready.swap_remove(self.chance.below(ready.len() as u64) as usize);
        self.states.insert((pair.worker, pair.slot), State::Taken(pair));
        let counts = &mut self.counts[family as usize];
        counts.ready -= 1;
        counts.taken += 1;
        let peak = &mut self.peaks[family as usize];
        *peak = (*peak).max(counts.taken + counts.resting);
        Some(pair)
    }

    fn put_ready(&mut self, pair: PortPair) {
        self.states.insert((pair.worker, pair.slot), State::Ready(pair));
        let workers = &mut self.ready[pair.family as usize];
        if workers.len() <= usize::from(pair.worker) {
            workers.resize_with(usize::from(pair.worker) + 1, Vec::new);
        }
        workers[usize::from(pair.worker)].push(pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use words::Seed;

    fn pool(pairs_max: u32) -> PortPool {
        PortPool::new(PoolConfig { pairs_max, low_water: 4 }, Chance::new(Seed::from_number(1)))
    }

    fn pairs(family: Family, worker: u16, slots: std::ops::Range<u32>) -> Vec<PortPair> {
        let pair = |slot| PortPair { worker, slot, rtp_port: 10_000 + 2 * slot as u16, family };
        slots.map(pair).collect()
    }

    #[test]
    fn a_hundred_thousand_calls_leak_no_port_and_share_none() {
        let mut pool = pool(200);
        let mut bound = BTreeSet::new();
        let mut given_up = 0;
        let mut chance = Chance::new(Seed::from_number(2));
        let mut now = Time::ZERO;
        let mut calls: Vec<[PortPair; 2]> = Vec::new();
        let mut in_use = BTreeSet::new();
        let mut opened = 0;
        while opened < 100_000 {
            now += Duration::from_millis(chance.below(200));
            for command in pool.give_up_idle(now) {
                let MediaCommand::Unbind { worker, ports } = command else { panic!("{command:?}") };
                given_up += ports.len();
                for pair in ports {
                    assert_eq!(pair.worker, worker);
                    assert!(bound.remove(&pair) && !in_use.contains(&pair), "{pair:?} is given up");
                }
            }
            for family in [Family::V4, Family::V6] {
                let Some(MediaCommand::Stock { pairs: wished, family }) = pool.wants_stock(family, now) else {
                    continue;
                };
                let first = 1_000 * family as u32;
                let slots = first..first + wished.div_ceil(2);
                let each = (0..2).flat_map(|worker| pairs(family, worker, slots.clone()));
                let new: Vec<PortPair> = each.filter(|&pair| bound.insert(pair)).collect();
                pool.add_ready(&new, now);
            }
            let family = |chance: &mut Chance| if chance.below(5) == 0 { Family::V6 } else { Family::V4 };
            if let Some((a, b)) = pool.take_call(family(&mut chance), family(&mut chance), None, now) {
                opened += 1;
                assert_eq!(a.worker, b.worker);
                assert!(in_use.insert(a) && in_use.insert(b), "handed out twice");
                calls.push([a, b]);
            } else {
                let resting = [Family::V4, Family::V6].map(|family| pool.counts(family).resting);
                assert!(!calls.is_empty() || resting != [0, 0]);
            }
            // Now many at a time, now few.
            let most = if opened / 5_000 % 2 == 0 { 60 } else { 6 };
            while calls.len() > chance.below(most) as usize {
                let call = calls.swap_remove(chance.below(calls.len() as u64) as usize);
                for pair in call {
                    in_use.remove(&pair);
                    assert_eq!(pool.give_back(pair, now), Ok(()));
                    assert_eq!(pool.give_back(pair, now), Err(PoolError::NotTaken));
                }
            }
            if opened % 500 == 0 {
                assert_eq!(pool.check(), Ok(()));
            }
        }
        for pair in calls.into_iter().flatten() {
            pool.give_back(pair, now).unwrap();
        }
        pool.handle_timeout(now + QUARANTINE);
        for family in [Family::V4, Family::V6] {
            let ready = bound.iter().filter(|pair| pair.family == family).count() as u32;
            assert_eq!(pool.counts(family), PoolCounts { ready, taken: 0, resting: 0 });
        }
        assert!(given_up > 100, "{given_up} pairs were given up");
        assert_eq!(pool.check(), Ok(()));
    }

    #[test]
    fn idle_pairs_are_given_up_by_halves_after_half_a_minute_and_never_what_is_used() {
        let mut pool = pool(100);
        assert_eq!(pool.next_at(), None);
        pool.add_ready(&pairs(Family::V4, 0, 0..32), Time::from_millis(1_000));
        pool.add_ready(&pairs(Family::V4, 1, 0..32), Time::from_millis(1_001));
        let known = |pool: &PortPool| pool.counts(Family::V4).known();
        // 28 of 32 make 32 grow: 64 are kept, though they were over long before.
        let now = Time::from_millis(20_000);
        let calls: Vec<PortPair> = (0..28).map(|_| pool.take(Family::V4, None, now).unwrap()).collect();
        calls[7..].iter().for_each(|&pair| pool.give_back(pair, now).unwrap());
        pool.handle_timeout(now + QUARANTINE);
        assert_eq!(pool.next_at(), Some(Time::from_millis(31_000)));
        assert_eq!(pool.give_up_idle(Time::from_millis(30_999)), []);
        assert_eq!(pool.give_up_idle(Time::from_millis(31_000)), []);
        for (at, left) in [(61_000, 32), (91_000, 16), (121_000, 16)] {
            assert_eq!(pool.next_at(), Some(Time::from_millis(at)));
            let gone = pool.give_up_idle(Time::from_millis(at));
            assert!(
                gone.iter().all(|command| matches!(command, MediaCommand::Unbind { ports, .. } if !ports.is_empty()))
            );
            assert_eq!((known(&pool), pool.check()), (left, Ok(())));
        }
        let counts = pool.counts(Family::V4);
        assert_eq!((counts.taken, counts.ready), (7, 9));
        calls[..7].iter().for_each(|&pair| pool.give_back(pair, Time::from_millis(121_000)).unwrap());
        pool.handle_timeout(Time::from_millis(130_000));
        assert_eq!(pool.give_up_idle(Time::from_millis(151_000)), []);
        assert_eq!(pool.give_up_idle(Time::from_millis(181_000)).len(), 2);
        // What is left is kept, and nobody need wake up for it.
        assert_eq!((known(&pool), pool.next_at()), (8, None));
    }

    #[test]
    fn a_wish_that_cannot_be_met_keeps_no_idle_pairs() {
        let mut pool = pool(100);
        pool.add_ready(&pairs(Family::V4, 0, 0..16), Time::ZERO);
        let now = Time::from_millis(1_000);
        let calls: Vec<PortPair> = (0..14).map(|_| pool.take(Family::V4, None, now).unwrap()).collect();
        assert_eq!(pool.wants_stock(Family::V4, now), Some(MediaCommand::Stock { pairs: 32, family: Family::V4 }));
        // The worker found two of the sixteen: others hold the rest of the range.
        pool.add_ready(&pairs(Family::V4, 0, 16..18), now);
        for pair in calls {
            pool.give_back(pair, now).unwrap();
        }
        pool.handle_timeout(now + QUARANTINE);
        let mut gone = 0;
        for _ in 0..4 {
            let Some(at) = pool.next_at() else { break };
            gone += pool.give_up_idle(at).len();
        }
        assert!(gone > 0);
        assert_eq!(pool.counts(Family::V4), PoolCounts { ready: 8, taken: 0, resting: 0 });
    }

    #[test]
    fn a_pair_rests_a_second_after_use() {
        let mut pool = pool(10);
        pool.add_ready(&pairs(Family::V4, 0, 0..1), Time::ZERO);
        let pair = pool.take(Family::V4, None, Time::ZERO).unwrap();
        pool.give_back(pair, Time::from_millis(100)).unwrap();
        assert_eq!(pool.take(Family::V4, None, Time::from_millis(1_099)), None);
        assert_eq!(pool.take(Family::V4, None, Time::from_millis(1_100)), Some(pair));
    }

    #[test]
    fn a_call_gets_both_pairs_of_one_worker_or_none() {
        let mut pool = pool(100);
        pool.add_ready(&pairs(Family::V4, 0, 0..1), Time::ZERO);
        pool.add_ready(&pairs(Family::V4, 1, 0..1), Time::ZERO);
        assert_eq!(pool.take_call(Family::V4, Family::V4, None, Time::ZERO), None);
        pool.add_ready(&pairs(Family::V6, 1, 1..2), Time::ZERO);
        let (a, b) = pool.take_call(Family::V6, Family::V4, Some(0), Time::ZERO).unwrap();
        assert_eq!((a.worker, b.worker), (1, 1));
        assert_eq!(pool.take(Family::V4, Some(1), Time::ZERO), None);
        assert_eq!(pool.take(Family::V4, Some(7), Time::ZERO), None);
        assert_eq!(pool.check(), Ok(()));
    }

    #[test]
    fn the_preferred_worker_is_taken_as_long_as_it_has_both() {
        let mut pool = pool(100);
        pool.add_ready(&pairs(Family::V4, 0, 0..5), Time::ZERO);
        pool.add_ready(&pairs(Family::V4, 1, 0..20), Time::ZERO);
        let mut worker = |preferred| pool.take_call(Family::V4, Family::V4, preferred, Time::ZERO).unwrap().0.worker;
        assert_eq!([Some(0), Some(0), Some(0), None, Some(9)].map(&mut worker), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn stock_is_wished_once_and_again_when_nobody_answers() {
        let mut pool = pool(10);
        let wish = |pairs| Some(MediaCommand::Stock { pairs, family: Family::V4 });
        assert_eq!(pool.wants_stock(Family::V4, Time::ZERO), wish(8));
        assert_eq!(pool.wants_stock(Family::V4, Time::from_millis(4_999)), None);
        assert_eq!(pool.wants_stock(Family::V4, Time::from_millis(5_000)), wish(8));
        pool.add_ready(&pairs(Family::V4, 0, 0..8), Time::ZERO);
        assert_eq!(pool.wants_stock(Family::V4, Time::from_millis(5_001)), None);
        for _ in 0..5 {
            pool.take(Family::V4, None, Time::from_millis(5_002)).unwrap();
        }
        assert_eq!(pool.wants_stock(Family::V4, Time::from_millis(5_003)), wish(10));
        pool.add_ready(&pairs(Family::V4, 0, 0..10), Time::ZERO);
        assert_eq!(pool.counts(Family::V4).known(), 10);
        pool.add_ready(&pairs(Family::V4, 0, 10..20), Time::ZERO);
        assert_eq!(pool.counts(Family::V4).known(), 10);
        while pool.take(Family::V4, None, Time::from_millis(5_004)).is_some() {}
        assert_eq!(pool.wants_stock(Family::V4, Time::from_millis(99_000)), None);
        assert_eq!(pool.check(), Ok(()));
    }

    #[test]
    fn what_was_never_handed_out_is_not_taken_back() {
        let mut pool = pool(10);
        pool.add_ready(&pairs(Family::V4, 0, 0..2), Time::ZERO);
        let stranger = pairs(Family::V4, 3, 0..1)[0];
        assert_eq!(pool.give_back(stranger, Time::ZERO), Err(PoolError::NotTaken));
        let pair = pool.take(Family::V4, None, Time::ZERO).unwrap();
        let forged = PortPair { rtp_port: 1, ..pair };
        assert_eq!(pool.give_back(forged, Time::ZERO), Err(PoolError::NotTaken));
        assert_eq!(pool.counts(Family::V4), PoolCounts { ready: 1, taken: 1, resting: 0 });
    }
}
