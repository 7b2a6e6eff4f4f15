//! Snapshots: bytes that somebody else wrote, or that a disk forgot.

use switch::snapshot::{MAGIC, VERSION};
use switch::{Config, Output, Switch};
use words::Time;

/// The input as it is, and as the state behind a header that fits it: the checksum keeps chance out, not malice.
pub(super) fn snapshot(input: &[u8]) {
    let whole = restore(input);
    assert!(whole.is_none() || input.starts_with(MAGIC), "something else is read as a snapshot");
    let Some(mut switch) = restore(&sealed(input)) else { return };
    assert!(matches!(switch.poll(), Output::Timeout(_)), "it does something by itself");
    let again = switch.snapshot();
    let copy = restore(again.as_bytes()).expect("what was read is written so that it can be read");
    assert_eq!(copy.snapshot().as_bytes().len(), again.as_bytes().len());
}

fn restore(bytes: &[u8]) -> Option<Switch> {
    let switch = Switch::restore(Config::default(), bytes, NOW).ok()?;
    switch.check().expect("what is read holds together");
    Some(switch)
}

/// A state with the header of a snapshot.
fn sealed(state: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend(sum(state).to_be_bytes());
    bytes.extend(state);
    bytes
}

/// The checksum, as the form of snapshots has it.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let parts = words.iter().map(|word| u64::from_be_bytes(*word)).chain(rest.iter().map(|byte| u64::from(*byte)));
    parts.fold(0xcbf2_9ce4_8422_2325, |sum, part| (sum ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(29))
}

/// Later than any clock reading of the stored inputs.
const NOW: Time = Time::from_millis(3_600_000);
