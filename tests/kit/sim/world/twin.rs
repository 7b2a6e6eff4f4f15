//! A second exchange beside the first: read back from a snapshot in the middle of a flow, it gets the same inputs from
//! then on, and whatever it says must be what the first one says.

use bytes::Bytes;
use switch::{Config, Input, Output, Switch};
use words::{Chance, Flow, Seed, Time};

/// The second exchange, while there is one, and when the next snapshot is taken.
///
/// Each run has a few snapshots, each of the exchange that was read back from the one before, and then some time to show
/// that nothing was forgotten. `SNAPSHOT=1` takes one after every input (of a large exchange after some
/// more), `SNAPSHOT=5` after every fifth, `SNAPSHOT=0` none.
pub(super) struct Twin {
    switch: Option<Switch>,
    chance: Chance,
    every: Option<u64>,
    snapshots: u32,
    inputs: u64,
    next: u64,
    /// After which input the last snapshot was taken.
    taken: u64,
}

impl Twin {
    pub(super) fn new(seed: u64) -> Self {
        let every = std::env::var("SNAPSHOT").ok().and_then(|every| every.parse().ok());
        let chance = Chance::new(Seed::from_number(!seed));
        let mut twin = Twin { switch: None, chance, every, snapshots: 0, inputs: 0, next: 0, taken: 0 };
        twin.plan();
        twin
    }

    /// Takes snapshots after every so many inputs from now on; none with 0.
    pub(super) fn snapshot_every(&mut self, inputs: u64) {
        self.every = Some(inputs);
        self.switch.take_if(|_| inputs == 0);
        self.plan();
    }

    /// How many snapshots were taken.
    pub(super) fn snapshots(&self) -> u32 {
        self.snapshots
    }

    /// The process is gone, and the second exchange with it.
    pub(super) fn forget(&mut self) {
        self.switch = None;
    }

    pub(super) fn handle(&mut self, input: &Input, now: Time) {
        self.with(|switch| switch.handle(input.clone(), now));
    }

    /// Asks it what the first one was asked about a datagram.
    pub(super) fn hears(&mut self, flow: &Flow, heard: bool, now: Time) {
        if let Some(switch) = &mut self.switch {
            let hears = switch.hears(flow, now);
            assert_eq!(hears, heard, "whether {} is heard, read back after input {}", flow.remote, self.taken);
        }
    }

    /// Lets it do what the first one was let do.
    pub(super) fn with(&mut self, work: impl FnOnce(&mut Switch)) {
        if let Some(switch) = &mut self.switch {
            work(switch);
        }
        self.inputs += 1;
    }

    /// The first one said this.
    pub(super) fn compare(&mut self, said: &Output) {
        let Some(switch) = &mut self.switch else { return };
        let says = switch.poll();
        assert!(
            same(said, &says),
            "read back after input {} (this is input {}) it says {} and should say {}",
            self.taken,
            self.inputs,
            show(&says),
            show(said)
        );
    }

    /// Everything was polled: perhaps it is time for a snapshot.
    pub(super) fn rest(&mut self, first: &Switch, config: &Config, now: Time) {
        if self.inputs < self.next || self.every == Some(0) {
            return;
        }
        if self.every.is_none() && self.snapshots == SNAPSHOTS {
            self.switch = None;
            self.next = u64::MAX;
            return;
        }
        let snapshot = self.switch.as_ref().unwrap_or(first).snapshot();
        let restored = Switch::restore(config.clone(), snapshot.as_bytes(), now);
        self.switch = Some(restored.unwrap_or_else(|error| panic!("after input {}: {error}", self.inputs)));
        (self.snapshots, self.taken) = (self.snapshots + 1, self.inputs);
        self.plan();
        // A large exchange would be written and read again for hours.
        self.next += snapshot.as_bytes().len() as u64 / LARGE;
    }

    fn plan(&mut self) {
        // As likely soon as late: flows have ten inputs or a thousand.
        let span = 1 << self.chance.below(9);
        self.next = self.inputs
            + match self.every {
                Some(every) => every,
                None if self.snapshots == SNAPSHOTS => SHOWS,
                None => 1 + self.chance.below(span),
            };
    }
}

fn same(a: &Output, b: &Output) -> bool {
    match (a, b) {
        (Output::Transmit { flow, bytes }, Output::Transmit { flow: flow_b, bytes: bytes_b }) => {
            flow == flow_b && bytes == bytes_b
        }
        (Output::Event(a), Output::Event(b)) => a == b,
        (Output::Timeout(a), Output::Timeout(b)) => a == b,
        (Output::Media(a), Output::Media(b)) => a == b,
        _ => format!("{a:?}") == format!("{b:?}"),
    }
}

fn show(output: &Output) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Output::Transmit { flow, bytes } => format!("to {flow}:\n{}", text(bytes)),
        other => format!("{other:?}"),
    }
}

/// How many snapshots a run has.
const SNAPSHOTS: u32 = 3;

/// For each so many bytes of a snapshot the next one is taken an input later.
const LARGE: u64 = 200_000;

/// How many inputs the last one goes on for.
const SHOWS: u64 = 2_000;
