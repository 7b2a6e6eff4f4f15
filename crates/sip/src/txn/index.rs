//! From a name to the place of its transaction.

use super::key::Key;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::Hasher as _;
use words::OwnHasher;

/// Places by their names. The names themselves stay in the places (`name_of` reads them there), so an entry takes five bytes:
/// what is looked at for each message stays in the cache beside tens of thousands of transactions, and a table that
/// doubles, which happens late as removed entries leave marks behind, takes little more.
#[derive(Default)]
pub(crate) struct Index(HashTable<u32>);

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The place of that name.
    pub(crate) fn find<N: Name>(&self, name: N, name_of: impl Fn(u32) -> Option<N>) -> Option<u32> {
        self.0.find(name.hash(), |place| name_of(*place) == Some(name)).copied()
    }

    /// Enters a place, instead of another one of that name.
    pub(crate) fn set<N: Name>(&mut self, name: N, place: u32, name_of: impl Fn(u32) -> Option<N>) {
        let is_it = |other: &u32| name_of(*other) == Some(name);
        match self.0.entry(name.hash(), is_it, |other| name_of(*other).map_or(0, N::hash)) {
            Entry::Occupied(mut entry) => *entry.get_mut() = place,
            Entry::Vacant(entry) => {
                entry.insert(place);
            }
        }
    }

    /// Takes a place out, if it is the one of that name.
    pub(crate) fn remove<N: Name>(&mut self, name: N, place: u32) {
        if let Ok(entry) = self.0.find_entry(name.hash(), |other| *other == place) {
            entry.remove();
        }
    }
}

/// What a transaction is found by.
pub(crate) trait Name: Copy + PartialEq {
    fn hash(self) -> u64;
}

/// Keys are hashes already.
impl Name for Key {
    fn hash(self) -> u64 {
        self as u64
    }
}

/// Numbers that count up would fall into neighbouring buckets with equal tags.
impl Name for u64 {
    fn hash(self) -> u64 {
        let mut hasher = OwnHasher::default();
        hasher.write_u64(self);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_latest_place_until_that_is_taken_out() {
        let (mut index, names) = (Index::default(), [7_u64, 8, 7]);
        let name_of = |place: u32| names.get(place as usize).copied();
        for place in 0..2 {
            index.set(names[place as usize], place, name_of);
        }
        assert_eq!([7, 8, 9].map(|name| index.find(name, name_of)), [Some(0), Some(1), None]);
        index.set(7, 2, name_of);
        index.remove(7_u64, 0);
        assert_eq!((index.len(), index.find(7, name_of)), (2, Some(2)));
        index.remove(7_u64, 2);
        assert_eq!((index.len(), index.find(7, name_of)), (1, None));
    }

    #[test]
    fn names_that_come_and_go_for_long_are_found() {
        let mut index = Index::default();
        for name in 0..100_000_u64 {
            index.set(name, name as u32, |place| Some(u64::from(place)));
            if let Some(old) = name.checked_sub(1_000) {
                assert_eq!(index.find(old, |place| Some(u64::from(place))), Some(old as u32));
                index.remove(old, old as u32);
            }
        }
        assert_eq!(index.len(), 1_000);
    }
}
