//! Slots that are used again: a place is an index, and its generation tells users of the same place apart.

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
}
