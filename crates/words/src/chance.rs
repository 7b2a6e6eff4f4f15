//! Seeded chance: the same seed gives the same tags, branches and ports, so that a simulation replays byte for byte.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// What a generator starts from. A shell draws it from the operating system; a test writes it down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// A seed for tests, from a number that a person can type.
    pub fn from_number(n: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        Seed(bytes)
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// A generator that one machine owns. ChaCha with 12 rounds: outsiders cannot guess the next tag from those they saw.
#[derive(Serialize, Deserialize)]
pub struct Chance(ChaCha12Rng);

impl Chance {
    /// A generator that starts from `seed`.
    pub fn new(seed: Seed) -> Self {
        Chance(ChaCha12Rng::from_seed(seed.0))
    }

    /// A generator for a part of the machine, independent of what this one gives afterwards.
    pub fn fork(&mut self) -> Chance {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        Chance::new(Seed(seed))
    }

    /// 32 random bits.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chance(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let mut a = Chance::new(Seed::from_number(7));
        let mut b = Chance::new(Seed::from_number(7));
        assert_eq!((a.u64(), a.u32(), a.fork().u64()), (b.u64(), b.u32(), b.fork().u64()));
        assert!((0..1_000).all(|_| a.below(10) < 10));
    }
}
