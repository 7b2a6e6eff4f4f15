//! What all rooms say: identifiers, time, flows, the one stream of facts, seeded chance, secrets and limits.
//!
//! This crate refuses to decide anything and to touch the world: no clock, no entropy, no sockets. Whoever owns a
//! machine hands it `now` and a seed.
//!
//! ```
//! use std::time::Duration;
//! use words::{Time, TimerQueue};
//!
//! let mut timers = TimerQueue::new(Time::ZERO);
//! let token = timers.insert(Time::ZERO + Duration::from_millis(500), "Timer A");
//! assert_eq!(timers.pop(Time::from_millis(499)), None);
//! assert_eq!(timers.cancel(token), Some("Timer A"));
//! ```
//!
//! Limits: a timer lies at most 2³² ms (49 days) ahead; later ones fire then.

mod chance;
pub mod diagnosis;
pub mod dns;
pub mod event;
mod figures;
mod flow;
mod hash;
mod id;
pub mod limit;
mod pii;
mod places;
mod secret;
mod srtp;
mod time;
mod timers;

pub use chance::{Chance, Seed};
pub use event::{EndCause, Event, Fact, Party, StoredBinding, StoredSubscription};
pub use figures::{LegFigures, LiveFigures, LiveStream, StreamFigures};
pub use flow::{ConnectionId, Flow, Transport};
pub use hash::{OwnHasher, OwnMap};
pub use id::{AccountId, CallId, LegId, PeerId, Seq, ShardId, UserId};
pub use pii::Pii;
pub use places::Places;
pub use secret::Secret;
pub use srtp::Srtp;
pub use time::{Clock, Time, Wall};
pub use timers::{TimerQueue, TimerToken};
