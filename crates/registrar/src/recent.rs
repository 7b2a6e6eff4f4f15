//! A map that never grows past its limit: what was not touched for long leaves first.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Two generations: what is touched moves to the young one, and when that is half of the limit the old one goes whole.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Ord + Deserialize<'de>, V: Deserialize<'de>"))]
pub(crate) struct Recent<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
    limit: usize,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Recent { young: BTreeMap::new(), old: BTreeMap::new(), limit }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.limit / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&K, &V) -> bool) {
        self.young.retain(|key, value| stays(key, value));
        self.old.retain(|key, value| stays(key, value));
    }

    /// Each entry, the young ones first, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.young.iter().chain(&self.old)
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_is_touched_and_never_more_than_its_limit() {
        let mut recent = Recent::new(100);
        for n in 1..10_000 {
            recent.insert(n, n);
            recent.insert(0, n);
            assert!(recent.len() <= 100);
        }
        assert_eq!(recent.get(&0), Some(&9_999));
        assert_eq!(recent.get(&9_999), Some(&9_999));
        assert_eq!(recent.get(&5), None);
        assert!(recent.iter().count() == recent.len());
        recent.retain(|&key, _| key == 0);
        assert_eq!(recent.len(), 1);
    }
}
