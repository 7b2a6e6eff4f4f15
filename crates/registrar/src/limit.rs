//! What a REGISTER may bring, and how much is remembered of those who come.

/// The longest Contact URI. Units: bytes.
pub const CONTACT_BYTES: usize = 512;
/// The longest Call-ID. Units: bytes.
pub const CALL_ID_BYTES: usize = 256;
/// The longest instance id. Units: bytes.
pub const INSTANCE_BYTES: usize = 128;
/// What is kept of a User-Agent. Units: bytes.
pub const AGENT_BYTES: usize = 96;
/// The most Path values.
pub const PATH_VALUES: usize = 8;
/// The longest Path value. Units: bytes.
pub const PATH_BYTES: usize = 512;
/// The most sources, and the most pairs of user and source, whose wrong passwords are counted.
pub const SOURCES: usize = 65_536;
/// The most sources per user that are remembered as its own.
pub const PROVEN_PER_USER: usize = 8;
/// The most nonces per user that are remembered as used.
pub const NONCES_PER_USER: usize = 64;
