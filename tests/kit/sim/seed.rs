//! Which seeds a test runs, and which one broke it.

/// The seeds of a flow: `count` of them, or the one that the environment variable `SEED` names.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED").map(|text| text.trim().parse()) {
        Ok(Ok(seed)) => vec![seed],
        Ok(Err(_)) => panic!("SEED must be a number"),
        Err(_) => (1..=count).collect(),
    }
}

/// Runs a flow with `count` seeds. When one fails, says how to replay it.
pub fn for_seeds(count: u64, flow: impl Fn(u64)) {
    for seed in seeds(count) {
        let replay = Replay::of(seed);
        flow(seed);
        drop(replay);
    }
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
