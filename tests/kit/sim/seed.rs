//! Which seeds a test runs, and which one broke it.

use crate::sim::transcript::{Transcript, fnv};
use std::cell::RefCell;

/// The seeds of a flow: `count` of them, or the one that the environment variable `SEED` names.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED").map(|text| text.trim().parse()) {
        Ok(Ok(seed)) => vec![seed],
        Ok(Err(_)) => panic!("SEED must be a number"),
        Err(_) => (1..=count).collect(),
    }
}

/// Runs a flow with `count` seeds. When one fails, says how to replay it. With the first seed it runs twice: what happened is
/// the same, byte for byte.
pub fn for_seeds(count: u64, flow: impl Fn(u64)) {
    for (number, seed) in seeds(count).into_iter().enumerate() {
        let replay = Replay::of(seed);
        PLAYED.with_borrow_mut(Vec::clear);
        flow(seed);
        if number == 0 {
            let first = PLAYED.take();
            flow(seed);
            let again = PLAYED.take();
            assert_eq!(first, again, "worlds, each by lines and hash, of two runs with one seed");
        }
        drop(replay);
    }
}

thread_local! {
    /// The worlds that ended since a flow began, in their order.
    static PLAYED: RefCell<Vec<(usize, u64)>> = const { RefCell::new(Vec::new()) };
}

/// A world ends: this is all that happened in it.
pub(crate) fn played(transcript: &Transcript) {
    let text = transcript.text();
    // A thread that ends has no more use for it.
    let _ = PLAYED.try_with(|played| played.borrow_mut().push((text.lines().count(), fnv(text.as_bytes()))));
}

/// Says how to replay a seed when it is dropped by a panic.
pub struct Replay(u64);

impl Replay {
    /// Of this seed.
    pub fn of(seed: u64) -> Replay {
        Replay(seed)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was seed {0}: SEED={0} make sim", self.0);
        }
    }
}
