//! Slots that are used again: a place is an index, and its generation tells users of the same place apart.

/// Values by place.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Slots { entries: Vec::new(), free: Vec::new() }
    }

    /// The place that the next [`Slots::insert`] takes.
    pub(crate) fn next(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.entries.len() as u32)
    }

    /// Takes a place; gives it with its generation.
    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            entry.0 = entry.0.wrapping_add(1);
            entry.1 = Some(value);
            return (slot, entry.0);
        }
        self.entries.push((1, Some(value)));
        (self.entries.len() as u32 - 1, 1)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.entries.get_mut(slot as usize)?.1.take()?;
        self.free.push(slot);
        Some(value)
    }

    pub(crate) fn at(&self, slot: u32) -> Option<&T> {
        self.entries.get(slot as usize)?.1.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize)?.1.as_mut()
    }

    /// The generation of whoever holds the place.
    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.entries.get(slot as usize).map_or(0, |entry| entry.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

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
