//! What we say that we can do, in one place: every answer and request takes it from here.

/// The value of `Allow` (RFC 3261 §20.5).
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO, NOTIFY";

/// The value of `Accept` (RFC 3261 §20.1).
pub const ACCEPT: &str = "application/sdp";

/// The option tags that a request may require of us (RFC 3261 §20.32): the registrar's.
pub const SUPPORTED: [&str; 2] = ["path", "outbound"];
