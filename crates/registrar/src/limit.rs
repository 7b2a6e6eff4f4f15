//! What a REGISTER, a SUBSCRIBE and a PUBLISH may bring, and how much is remembered of those who come.

use std::time::Duration;

/// The longest Contact URI. Units: bytes.
pub const CONTACT_BYTES: usize = 512;
/// The longest Call-ID. Units: bytes.
pub const CALL_ID_BYTES: usize = 256;
/// The longest name that a device calls us by and that is remembered (RFC 1035 §2.3.4). Units: bytes.
pub const HOME_BYTES: usize = 255;
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
/// The most senders that are told apart among those who failed at one user from one source.
pub const SENDERS: usize = 16;
/// The most nonces per user that are remembered as used.
pub const NONCES_PER_USER: usize = 64;
/// The most subscriptions of one loop.
pub const SUBSCRIPTIONS: usize = 50_000;
/// The most subscriptions of one user: the largest key modules have fewer lamps.
pub const SUBSCRIPTIONS_PER_USER: usize = 512;
/// The longest id of an event. Units: bytes.
pub const EVENT_ID_BYTES: usize = 64;
/// What a subscription keeps of its SUBSCRIBE: From, To, Contact and routes together. Units: bytes.
pub const SUBSCRIBE_BYTES: usize = 3_072;
/// Shorter wishes get 423 (RFC 6665 §4.2.1.1, RFC 3903 §6 item 5). Some phones refresh each half minute.
pub const EVENT_MIN_EXPIRES: Duration = Duration::from_secs(30);
/// Longer wishes are granted this much.
pub const EVENT_MAX_EXPIRES: Duration = Duration::from_hours(1);
/// How many NOTIFYs a subscription may get at once after it was quiet.
pub const NOTIFY_BURST: u8 = 5;
/// How often it gets one while its state does not come to rest (RFC 4235 §3.10, RFC 3856 §6.10).
pub const NOTIFY_EVERY: Duration = Duration::from_secs(1);
/// How many NOTIFYs leave before other work has its turn.
pub const NOTIFIES_PER_TURN: usize = 64;
/// How long the others have.
pub const NOTIFY_TURN: Duration = Duration::from_millis(2);
/// The longest that Retry-After in an answer to a NOTIFY is heeded.
pub const NOTIFY_RETRY: Duration = Duration::from_mins(1);
/// The most documents that one user publishes at a time.
pub const PUBLICATIONS_PER_USER: usize = 8;
/// The largest document that is published. Units: bytes.
pub const PUBLISHED_BYTES: usize = 16_384;
/// What is kept of a note. Units: bytes.
pub const PRESENCE_NOTE_BYTES: usize = 256;
/// The most mailboxes that have messages.
pub const MAILBOXES: usize = 100_000;
