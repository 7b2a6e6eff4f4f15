//! The whole exchange as bytes: what another process needs to go on as if nothing had happened.
//!
//! **Form.** [`MAGIC`], the version of the form, a checksum, and the state as MessagePack with a name for each field: what a
//! reader does not know it passes over, what is not there has its default. So a field may come or go from one release to
//! the next without a new version, and a downgrade of one step reads what the upgrade wrote. A new version is for what
//! changes its meaning; a release that writes a new one reads the one before too.
//!
//! **Time.** All moments in it are counted from the same start: a process that goes on goes on with that count.
//!
//! **Secrets.** What passwords became ([`sip::digest::Ha1`]), the key of nonces and the state of all chance are in it, so
//! it opens every door of the exchange: [`Snapshot`] shows nothing and is wiped when it is dropped; whoever writes it
//! to a file lets nobody else read that.

use crate::config::Config;
use crate::strangers::Strangers;
use crate::switch::Switch;
use serde::{Deserialize as _, Serialize as _};
use words::Time;

/// The state of an exchange between two inputs.
///
/// It holds secrets: see the module. `Debug` shows its length only.
pub struct Snapshot(Vec<u8>);

impl Snapshot {
    /// The bytes, for [`Switch::restore`].
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot(… {} bytes)", self.0.len())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without this the compiler may drop the write to memory that nobody reads again.
        std::hint::black_box(&self.0);
    }
}

/// Why bytes are no exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// They do not begin as a snapshot does.
    #[error("not a snapshot of an exchange")]
    NotOne,
    /// A version that this release does not read.
    #[error("a snapshot of version {found}; this release reads {VERSION}")]
    Version {
        /// The version that they name.
        found: u16,
    },
    /// They are not what was written.
    #[error("the snapshot is damaged or incomplete")]
    Damaged,
    /// They cannot be read.
    #[error("the snapshot cannot be read: {0}")]
    Unreadable(String),
    /// Its parts do not fit together.
    #[error("the snapshot does not hold together: {0}")]
    Inconsistent(String),
    /// The present lies before it: the count of time did not go on.
    #[error("the snapshot was taken later than now")]
    Later,
}

impl Switch {
    /// The exchange as it is between two inputs, for [`Switch::restore`]. Everything must have been polled.
    #[inline] // So that it is built where it is used: the forms of hundreds of types take the compiler a minute.
    pub fn snapshot(&self) -> Snapshot {
        debug_assert!(self.outputs.is_empty(), "what was not polled is in no snapshot");
        let mut bytes = vec![0; HEADER_BYTES];
        self.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable())
            .expect("every field has a form, and memory takes what is written");
        seal(&mut bytes);
        Snapshot(bytes)
    }

    /// The exchange that [`Switch::snapshot`] wrote, with the configuration of this start. `now` counts from the same
    /// start as it did then.
    ///
    /// # Errors
    /// [`SnapshotError`] says why the bytes are none that can be gone on with.
    #[inline] // As of `snapshot`.
    pub fn restore(config: Config, bytes: &[u8], now: Time) -> Result<Switch, SnapshotError> {
        let body = open(bytes)?;
        let mut reader = rmp_serde::Deserializer::from_read_ref(body).with_human_readable();
        reader.set_max_depth(DEPTH);
        let unreadable = |error: rmp_serde::decode::Error| SnapshotError::Unreadable(error.to_string());
        let mut switch = Switch::deserialize(&mut reader).map_err(unreadable)?;
        switch.configure(config);
        switch.directory.share();
        if now < switch.clock.mono {
            return Err(SnapshotError::Later);
        }
        switch.check().map_err(SnapshotError::Inconsistent)?;
        Ok(switch)
    }

    fn configure(&mut self, config: Config) {
        self.endpoint.configure(config.endpoint());
        self.calls.configure(config.calls_config());
        self.registrar.configure(config.registrar());
        self.gate.door.configure(config.throttle);
        if self.strangers.is_keyless() {
            self.strangers = Strangers::new(self.chance.fork());
        }
        self.lamps.room.configure(&config.server);
        self.answers.configure(&config.server, &mut self.chance);
        self.config = config;
    }
}

/// Writes the header before a state.
fn seal(bytes: &mut [u8]) {
    let sum = sum(&bytes[HEADER_BYTES..]);
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_be_bytes());
    bytes[10..HEADER_BYTES].copy_from_slice(&sum.to_be_bytes());
}

/// The state behind a header that holds.
fn open(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::NotOne)?;
    let (version, rest) = rest.split_first_chunk().ok_or(SnapshotError::Damaged)?;
    let found = u16::from_be_bytes(*version);
    if found != VERSION {
        return Err(SnapshotError::Version { found });
    }
    let (written, body) = rest.split_first_chunk().ok_or(SnapshotError::Damaged)?;
    if u64::from_be_bytes(*written) == sum(body) { Ok(body) } else { Err(SnapshotError::Damaged) }
}

/// FNV-1a over words of eight bytes, and over what is left of them byte by byte: finds damage, not malice.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| fold(sum, u64::from_be_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| fold(sum, u64::from(*byte)))
}

fn fold(sum: u64, word: u64) -> u64 {
    // Turned, so that the upper bits of a word reach the lower ones of the sum.
    (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
}

/// How a snapshot begins.
pub const MAGIC: &[u8; 8] = b"CPSWITCH";

/// The version of the form that is written and read.
pub const VERSION: u16 = 1;

/// Magic, version and checksum.
const HEADER_BYTES: usize = 18;

/// How deep values may lie in each other.
const DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use words::{Clock, Seed};

    fn fresh() -> Switch {
        let (seed, secrets) = (Seed::from_number(1), Seed::from_number(2));
        let mut switch = Switch::new(Config::default(), seed, secrets, Clock::default(), Time::ZERO);
        switch.settle(Time::ZERO);
        while !matches!(switch.poll(), crate::Output::Timeout(_)) {}
        switch
    }

    fn error(bytes: &[u8]) -> String {
        Switch::restore(Config::default(), bytes, Time::ZERO).err().expect("refused").to_string()
    }

    #[test]
    fn what_is_not_known_is_passed_over_and_what_is_missing_is_named() {
        let bytes = fresh().snapshot().as_bytes().to_vec();
        // A map of up to fifteen fields begins with a byte of its own, one of more with three.
        let (fields, at) = match bytes[HEADER_BYTES] {
            short @ 0x80..=0x8f => (u16::from(short & 15), HEADER_BYTES + 1),
            _ => (u16::from_be_bytes([bytes[HEADER_BYTES + 1], bytes[HEADER_BYTES + 2]]), HEADER_BYTES + 3),
        };
        let with = |fields: u16, first: &[u8], rest: &[u8]| {
            let mut made = vec![0; HEADER_BYTES];
            made.push(0xde);
            made.extend(fields.to_be_bytes());
            made.extend(first);
            made.extend(rest);
            seal(&mut made);
            made
        };
        // A field of a release to come: "zz", with the text "what".
        let more = with(fields + 1, b"\xa2zz\xa4what", &bytes[at..]);
        assert!(Switch::restore(Config::default(), &more, Time::ZERO).is_ok());
        assert_eq!(error(&with(0, b"", b"")), "the snapshot cannot be read: missing field `clock`");
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let mut bytes = fresh().snapshot().as_bytes().to_vec();
        assert_eq!(error(b"something else"), "not a snapshot of an exchange");
        assert_eq!(error(&bytes[..bytes.len() - 1]), "the snapshot is damaged or incomplete");
        bytes[9] = 7;
        assert_eq!(error(&bytes), "a snapshot of version 7; this release reads 1");
    }
}
