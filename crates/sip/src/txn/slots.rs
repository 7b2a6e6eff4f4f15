//! Slots that are used again: a place is an index, and its generation tells users of the same place apart.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Values by place, in chunks that never move: a table that doubles copies itself and leaves its old memory behind.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    chunks: Vec<Box<[Entry<T>; CHUNK]>>,
    /// Places that were ever taken.
    used: u32,
    free: Vec<u32>,
}

/// A generation and who holds the place.
type Entry<T> = (u32, Option<T>);

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Slots { chunks: Vec::new(), used: 0, free: Vec::new() }
    }

    /// The place that the next [`Slots::insert`] takes.
    pub(crate) fn next(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.used)
    }

    /// Takes a place; gives it with its generation.
    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        let slot = self.next();
        if self.free.pop().is_none() {
            self.used += 1;
            if slot as usize / CHUNK == self.chunks.len() {
                self.chunks.push(Box::new(std::array::from_fn(|_| (0, None))));
            }
        }
        let entry = &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK];
        entry.0 = entry.0.wrapping_add(1);
        entry.1 = Some(value);
        (slot, entry.0)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.entry_mut(slot)?.1.take()?;
        self.free.push(slot);
        Some(value)
    }

    pub(crate) fn at(&self, slot: u32) -> Option<&T> {
        self.entry(slot)?.1.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entry_mut(slot)?.1.as_mut()
    }

    /// The generation of whoever holds the place.
    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.entry(slot).map_or(0, |entry| entry.0)
    }

    /// The places that somebody holds.
    pub(crate) fn taken(&self) -> impl Iterator<Item = u32> {
        (0..self.used).filter(|slot| self.at(*slot).is_some())
    }

    pub(crate) fn len(&self) -> usize {
        self.used as usize - self.free.len()
    }

    fn entry(&self, slot: u32) -> Option<&Entry<T>> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)
    }
}

/// As a snapshot has it: every place that was ever taken with its generation, and the free ones in their order.
impl<T: Serialize> Serialize for Slots<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let taken: Vec<(u32, Option<&T>)> =
            self.chunks.iter().flat_map(|chunk| chunk.iter()).take(self.used as usize).map(borrowed).collect();
        (taken, &self.free).serialize(serializer)
    }
}

fn borrowed<T>(entry: &Entry<T>) -> (u32, Option<&T>) {
    (entry.0, entry.1.as_ref())
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Slots<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (taken, free) = <(Vec<Entry<T>>, Vec<u32>)>::deserialize(deserializer)?;
        let mut slots = Slots::new();
        for (slot, entry) in taken.into_iter().enumerate() {
            if slot / CHUNK == slots.chunks.len() {
                slots.chunks.push(Box::new(std::array::from_fn(|_| (0, None))));
            }
            slots.chunks[slot / CHUNK][slot % CHUNK] = entry;
            slots.used += 1;
        }
        let mut empty: Vec<bool> = (0..slots.used).map(|slot| slots.at(slot).is_none()).collect();
        for &slot in &free {
            let Some(is_free @ true) = empty.get_mut(slot as usize) else { return Err(serde::de::Error::custom(ODD)) };
            *is_free = false;
        }
        if empty.contains(&true) {
            return Err(serde::de::Error::custom(ODD));
        }
        slots.free = free;
        Ok(slots)
    }
}

const ODD: &str = "places that are free and places that nobody holds differ";

/// Places of a chunk.
const CHUNK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_used_again_has_another_generation() {
        let mut slots = Slots::new();
        let (a, first) = slots.insert("a");
        assert_eq!((slots.remove(a), slots.remove(a), slots.next()), (Some("a"), None, a));
        let (b, second) = slots.insert("b");
        assert_eq!((a, slots.len(), slots.generation(b)), (b, 1, second));
        assert_ne!(first, second);
    }

    #[test]
    fn a_copy_goes_on_with_the_same_places_and_generations() {
        let mut slots = Slots::new();
        for n in 0..70 {
            slots.insert(n);
        }
        for slot in [3, 69, 64] {
            slots.remove(slot);
        }
        let text = serde_json::to_string(&slots).unwrap();
        let mut copy: Slots<i32> = serde_json::from_str(&text).unwrap();
        assert_eq!((copy.len(), copy.at(68)), (67, Some(&68)));
        assert_eq!([9; 5].map(|n| copy.insert(n)), [9; 5].map(|n| slots.insert(n)));
        for odd in ["[[[1,null]],[]]", "[[[1,7]],[0]]", "[[[1,null]],[0,0]]", "[[],[0]]"] {
            assert!(serde_json::from_str::<Slots<i32>>(odd).is_err(), "{odd}");
        }
    }
}
