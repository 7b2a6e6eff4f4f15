//! A quick hasher for keys that we make ourselves: slots, ids, transactions. A stranger who chose such keys could make
//! them collide, so whatever comes from the wire stays with the standard hasher.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by keys of our own making.
pub type OwnMap<K, V> = HashMap<K, V, BuildHasherDefault<OwnHasher>>;

/// Folds whole words by a multiplication each.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnHasher(u64);

impl OwnHasher {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(ODD);
        self.0 = (product as u64) ^ (product >> 64) as u64 ^ ODD;
    }
}

impl Hasher for OwnHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.fold(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.fold(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.fold(value);
    }

    fn write_u128(&mut self, value: u128) {
        self.fold(value as u64);
        self.fold((value >> 64) as u64);
    }
}

/// 2⁶⁴ divided by the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::BuildHasher as _;

    #[test]
    fn neighbours_fall_far_apart() {
        let build = BuildHasherDefault::<OwnHasher>::default();
        for shift in [0, 4, 32] {
            let hashes: Vec<u64> = (0..4_096_u64).map(|n| build.hash_one((n as u32, n >> shift))).collect();
            let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0xfff).collect();
            let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(low.len() > 2_200 && high.len() == 128, "{} {}", low.len(), high.len());
        }
    }
}
