//! The exchange as one value: what comes in, which room takes it, what goes out.
//!
//! A shell hands in datagrams, connections, answers of the directory and of the store, media reports, commands and the
//! time; it carries out what [`Switch::poll`] gives. The same value runs on the wire and, in a test, in virtual time.
//!
//! It refuses to know how a message is carried, where a record lies on disk and how a packet of audio is forwarded.
//!
//! RFCs: 3261 (§8, §10, §22 as its rooms have them), 3263 (§4), 3581, 5626 in part, 6665 and 3903 (who watches whom).
//!
//! ```
//! use switch::{Config, Output, Switch};
//! use words::{Clock, Seed, Time};
//!
//! let mut switch = Switch::new(Config::default(), Seed::from_number(1), Seed::from_number(2), Clock::default(), Time::ZERO);
//! assert!(matches!(switch.poll(), Output::Timeout(_)));
//! ```
//!
//! Limits: `limits.calls` calls, what [`need`] keeps of the directory, what `names` keeps of DNS, what the stream keeps unstored, and those of
//! the rooms below.

pub mod account;
mod answer;
pub mod command;
mod config;
mod dispatch;
mod down;
mod gruu;
mod invite;
mod message;
mod names;
pub mod need;
mod obey;
mod pickup;
mod pings;
mod register;
mod route;
mod sips;
pub mod snapshot;
mod strangers;
mod stream;
mod switch;
pub mod view;
mod watch;
mod whereabouts;
mod whose;

pub use b2bua::{SessionConfig, Trust};
pub use command::{Command, Reply};
pub use config::{Codes, Config, ListenerConfig, Way};
pub use need::{Found, Need};
pub use snapshot::{Snapshot, SnapshotError};
pub use strangers::{Strangers, Verdict};
pub use switch::{Input, Output, ReplyId, Switch};
