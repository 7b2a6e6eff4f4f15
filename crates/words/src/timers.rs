//! Many timers, cheaply: a hierarchical wheel with a tick of one millisecond.
//!
//! A transaction sets a handful of timers and cancels almost all of them, so both cost a few list links and no search.
//! Timers fire in the order of their tick; within one tick the order is the same in each run with the same input.

use crate::{Places, Time};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};

/// A timer that was set; cancels it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimerToken {
    slot: u32,
    generation: u32,
}

/// Timers of one machine, each with a key that says what it is for.
///
/// Units: a timer fires at the first millisecond that is not before its time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "Kept<K>")]
pub struct TimerQueue<K> {
    entries: Places<Entry<K>>,
    /// First and last entry of each slot's list.
    #[serde(skip)]
    slots: Vec<[u32; 2]>,
    /// A bit per slot that is not empty.
    #[serde(skip)]
    occupied: [[u64; 4]; LEVELS],
    /// The tick up to which everything was handed out.
    tick: u64,
    generation: u32,
    /// Entries of the current tick and of those that lay in the past when they were set.
    due: VecDeque<u32>,
    /// What the search for the next tick found last, until something happens that it may not hold after.
    found: Cell<Found>,
}

/// What is known of the next tick.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Found {
    /// It must be looked for.
    Unknown,
    /// Nothing is set.
    Nothing,
    /// Here, or where a coarse slot starts.
    At(u64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry<K> {
    key: K,
    tick: u64,
    generation: u32,
    list: u32,
    prev: u32,
    next: u32,
}

/// What a snapshot says, before it is known to fit together.
#[derive(Deserialize)]
struct Kept<K> {
    entries: Places<Entry<K>>,
    tick: u64,
    generation: u32,
    due: VecDeque<u32>,
    found: Cell<Found>,
}

impl<K> TryFrom<Kept<K>> for TimerQueue<K> {
    type Error = &'static str;

    fn try_from(kept: Kept<K>) -> Result<Self, Self::Error> {
        let Kept { entries, tick, generation, due, found } = kept;
        let (slots, occupied) = (vec![[NONE; 2]; LEVELS * SLOTS], [[0; 4]; LEVELS]);
        let mut queue = TimerQueue { entries, slots, occupied, tick, generation, due, found };
        queue.relink().ok_or("timers that are in no order")?;
        Ok(queue)
    }
}

impl<K> Entry<K> {
    /// The first tick of the slot that it lies in; for one beyond [`FARTHEST`] later than where it waits.
    fn starts(&self) -> u64 {
        if self.list == DUE {
            return self.tick;
        }
        let shift = BITS * (self.list / SLOTS as u32);
        self.tick >> shift << shift
    }
}

impl<K> TimerQueue<K> {
    /// An empty queue whose first tick is `now`.
    pub fn new(now: Time) -> Self {
        TimerQueue {
            entries: Places::new(),
            slots: vec![[NONE; 2]; LEVELS * SLOTS],
            occupied: [[0; 4]; LEVELS],
            tick: now.as_millis(),
            generation: 0,
            due: VecDeque::new(),
            found: Cell::new(Found::Nothing),
        }
    }

    /// Sets a timer.
    pub fn insert(&mut self, at: Time, key: K) -> TimerToken {
        let tick = at.as_nanos().div_ceil(1_000_000);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = self.entries.insert(Entry { key, tick, generation, list: DUE, prev: NONE, next: NONE }) as u32;
        self.place(slot);
        let starts = self.entries[slot as usize].starts();
        match self.found.get() {
            Found::Unknown => {}
            Found::Nothing => self.found.set(Found::At(starts)),
            Found::At(found) => self.found.set(Found::At(found.min(starts))),
        }
        TimerToken { slot, generation }
    }

    /// Takes a timer back; `None` when it fired or was cancelled before.
    pub fn cancel(&mut self, token: TimerToken) -> Option<K> {
        let entry = self.entries.get(token.slot as usize)?;
        if entry.generation != token.generation {
            return None;
        }
        // Most timers are taken back, and hardly ever the soonest of all.
        if matches!(self.found.get(), Found::At(found) if entry.starts() <= found) {
            self.found.set(Found::Unknown);
        }
        if entry.list == DUE {
            self.due.retain(|&slot| slot != token.slot);
        } else {
            self.unlink(token.slot);
        }
        self.entries.try_remove(token.slot as usize).map(|entry| entry.key)
    }

    /// The next timer whose time has come. Call until `None`.
    pub fn pop(&mut self, now: Time) -> Option<K> {
        let now_tick = now.as_millis();
        loop {
            if let Some(&slot) = self.due.front()
                && self.entries[slot as usize].tick <= now_tick
            {
                self.due.pop_front();
                self.found.set(Found::Unknown);
                return self.entries.try_remove(slot as usize).map(|entry| entry.key);
            }
            if self.tick >= now_tick {
                return None;
            }
            let Some(next) = self.next_tick() else {
                self.tick = now_tick;
                return None;
            };
            self.advance(next.min(now_tick));
        }
    }

    /// When [`TimerQueue::pop`] should be called next; `None` when nothing is set. May lie before the first timer by
    /// the coarseness of its wheel, never after it.
    pub fn next_at(&self) -> Option<Time> {
        if let Found::Unknown = self.found.get() {
            self.found.set(self.next_tick().map_or(Found::Nothing, Found::At));
        }
        match self.found.get() {
            Found::At(tick) => Some(Time::from_millis(tick)),
            Found::Nothing | Found::Unknown => None,
        }
    }

    /// How many timers are set.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn next_tick(&self) -> Option<u64> {
        if let Some(&slot) = self.due.front() {
            return Some(self.entries[slot as usize].tick);
        }
        (0..LEVELS).filter_map(|level| self.next_tick_of(level)).min()
    }

    /// The start of the first occupied slot of a level after the current tick.
    fn next_tick_of(&self, level: usize) -> Option<u64> {
        let bits = &self.occupied[level];
        if bits.iter().all(|&word| word == 0) {
            return None;
        }
        let shift = BITS * level as u32;
        let position = self.tick >> shift;
        // From the slot after the current one, round the wheel, word by word.
        let first = (position as usize + 1) % SLOTS;
        let step = (0..=bits.len()).find_map(|n| {
            let mut word = bits[(first / 64 + n) % bits.len()];
            if n == 0 {
                word &= u64::MAX << (first % 64);
            } else if n == bits.len() {
                word &= !(u64::MAX << (first % 64));
            }
            (word != 0).then(|| 1 + n * 64 + word.trailing_zeros() as usize - first % 64)
        })?;
        Some((position + step as u64) << shift)
    }

    /// Moves to `tick`, which must not jump over an occupied slot, and hands out or spreads what lies there.
    fn advance(&mut self, tick: u64) {
        self.tick = tick;
        self.found.set(Found::Unknown);
        for level in (0..LEVELS).rev() {
            let shift = BITS * level as u32;
            if tick & ((1 << shift) - 1) != 0 {
                continue;
            }
            let mut slot = self.take_list((level * SLOTS) as u32 + ((tick >> shift) as u32 & (SLOTS as u32 - 1)));
            while slot != NONE {
                let next = self.entries[slot as usize].next;
                self.place(slot);
                slot = next;
            }
        }
    }

    fn place(&mut self, slot: u32) {
        let tick = self.entries[slot as usize].tick;
        if tick <= self.tick {
            self.entries[slot as usize].list = DUE;
            let at = self.due.partition_point(|&other| self.entries[other as usize].tick <= tick);
            self.due.insert(at, slot);
            return;
        }
        let delta = (tick - self.tick).min(FARTHEST);
        let level = (delta.ilog2() / BITS) as usize;
        let position = ((self.tick + delta) >> (BITS * level as u32)) as usize % SLOTS;
        self.link(slot, (level * SLOTS + position) as u32);
    }

    fn link(&mut self, slot: u32, list: u32) {
        let [first, last] = self.slots[list as usize];
        let entry = &mut self.entries[slot as usize];
        (entry.list, entry.prev, entry.next) = (list, last, NONE);
        if last == NONE {
            self.slots[list as usize] = [slot, slot];
            self.occupied[list as usize / SLOTS][list as usize % SLOTS / 64] |= 1 << (list % 64);
        } else {
            self.entries[last as usize].next = slot;
            self.slots[list as usize] = [first, slot];
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Entry { list, prev, next, .. } = self.entries[slot as usize];
        let [mut first, mut last] = self.slots[list as usize];
        if prev == NONE {
            first = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if next == NONE {
            last = prev;
        } else {
            self.entries[next as usize].prev = prev;
        }
        self.slots[list as usize] = [first, last];
        if first == NONE {
            self.occupied[list as usize / SLOTS][list as usize % SLOTS / 64] &= !(1 << (list % 64));
        }
    }

    /// Finds both ends of each list again. `None` when entries do not say one thing.
    fn relink(&mut self) -> Option<()> {
        let mut due = 0;
        for (slot, entry) in self.entries.iter() {
            if entry.tick.max(self.tick) > LAST {
                return None;
            }
            if entry.list == DUE {
                due += 1;
                continue;
            }
            let ends = self.slots.get_mut(entry.list as usize)?;
            let beside = |other: u32| self.entries.get(other as usize).filter(|other| other.list == entry.list);
            for (end, other) in [(0, entry.prev), (1, entry.next)] {
                if other == NONE {
                    // Each list has one first and one last entry.
                    let end = std::mem::replace(&mut ends[end], slot as u32);
                    (end == NONE).then_some(())?;
                } else {
                    let other = beside(other)?;
                    let back = if end == 0 { other.next } else { other.prev };
                    (back == slot as u32).then_some(())?;
                }
            }
            self.occupied[entry.list as usize / SLOTS][entry.list as usize % SLOTS / 64] |= 1 << (entry.list % 64);
        }
        let whole = self.slots.iter().all(|[first, last]| (*first == NONE) == (*last == NONE));
        // An entry that is due stands there once; those of the earliest tick stand first.
        let mut ticks = Vec::with_capacity(self.due.len());
        let mut seen = BTreeSet::new();
        for &slot in &self.due {
            let entry = self.entries.get(slot as usize).filter(|entry| entry.list == DUE && seen.insert(slot))?;
            ticks.push(entry.tick);
        }
        (whole && due == ticks.len() && ticks.is_sorted()).then_some(())
    }

    fn take_list(&mut self, list: u32) -> u32 {
        let [first, _] = std::mem::replace(&mut self.slots[list as usize], [NONE; 2]);
        self.occupied[list as usize / SLOTS][list as usize % SLOTS / 64] &= !(1 << (list % 64));
        first
    }
}

const LEVELS: usize = 4;
const BITS: u32 = 8;
const SLOTS: usize = 1 << BITS;
/// The farthest that a timer can lie ahead; later ones wait there and are placed anew. Units: ticks.
const FARTHEST: u64 = (1 << (BITS * LEVELS as u32)) - (1 << (BITS * (LEVELS as u32 - 1))) - 1;
/// The last tick that a [`Time`] can tell.
const LAST: u64 = u64::MAX / 1_000_000 + 1;
const NONE: u32 = u32::MAX;
/// The list of an entry that is due.
const DUE: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chance, Seed};
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn agrees_with_a_sorted_map_over_random_work() {
        let mut chance = Chance::new(Seed::from_number(3));
        let mut now = Time::from_millis(12_345);
        let mut queue = TimerQueue::new(now);
        let mut model: BTreeMap<(u64, u32), TimerToken> = BTreeMap::new();
        for n in 0..200_000u32 {
            match chance.below(10) {
                0..5 => {
                    let span = [10, 300, 70_000, 20_000_000][chance.below(4) as usize];
                    let at = now + Duration::from_micros(chance.below(span * 1000));
                    model.insert((at.as_nanos().div_ceil(1_000_000), n), queue.insert(at, n));
                }
                5..7 if !model.is_empty() => {
                    let (&key, &token) = model.iter().nth(chance.below(model.len().min(50) as u64) as usize).unwrap();
                    assert_eq!(queue.cancel(token), Some(key.1));
                    assert_eq!(queue.cancel(token), None);
                    model.remove(&key);
                }
                _ => {
                    if let Some(at) = queue.next_at() {
                        assert!(at.as_millis() <= model.first_key_value().unwrap().0.0);
                    }
                    now += Duration::from_micros(chance.below(100_000));
                    while let Some(key) = queue.pop(now) {
                        let tick = model.first_key_value().unwrap().0.0;
                        assert!(model.remove(&(tick, key)).is_some(), "timer {key} is not of the first tick");
                        assert!(tick <= now.as_millis());
                    }
                    if let Some(((tick, _), _)) = model.first_key_value() {
                        assert!(*tick > now.as_millis());
                    }
                }
            }
            assert_eq!(queue.len(), model.len());
        }
    }

    #[test]
    fn an_hour_of_nothing_is_jumped_over() {
        let mut queue = TimerQueue::new(Time::ZERO);
        queue.insert(Time::from_millis(3_600_000), ());
        assert_eq!(queue.pop(Time::from_millis(3_599_999)), None);
        assert_eq!(queue.pop(Time::from_millis(3_600_000)), Some(()));
        assert!(queue.is_empty() && queue.next_at().is_none());
    }
}
