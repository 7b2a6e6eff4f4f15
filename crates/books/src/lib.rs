//! Events folded to records: what the one stream of facts says about each call.
//!
//! A [`Cdr`] (call detail record) is nothing but a fold of the call's events, so it can be made again from them at any
//! time, and two folds of the same events are equal. This crate refuses to store, to ask for the time and to guess:
//! durations are differences of the monotonic clock in the events, so a stepped wall clock changes none of them.
//!
//! ```
//! use books::{Cdr, Direction};
//! use words::{AccountId, CallId, EndCause, Event, Fact, Party, Seq, ShardId, Time, Wall};
//!
//! let event = |seq, ms, fact| Event {
//!     shard: ShardId(0),
//!     seq: Seq(seq),
//!     account: AccountId(1),
//!     at: Time::from_millis(ms),
//!     wall: Wall(1_700_000_000_000 + ms as i64),
//!     fact,
//! };
//! let call = CallId(7);
//! let source = "192.0.2.1:5060".parse().unwrap();
//! let (from, to) = (Party { number: "100".into(), ..Party::default() }, Party { number: "101".into(), ..Party::default() });
//! let mut cdr = Cdr::open(&event(
//!     1,
//!     0,
//!     Fact::CallOpened { call, from, to: to.clone(), sip_call_id: "a@b".into(), source },
//! ))
//! .unwrap();
//! cdr.apply(&event(2, 4_000, Fact::CallAnswered { call, by: None, who: to })).unwrap();
//! cdr.apply(&event(3, 65_000, Fact::CallEnded { call, cause: EndCause::Normal, by: None })).unwrap();
//! assert_eq!(cdr.talk().as_secs(), 61);
//! assert_eq!(cdr.direction(), Direction::Internal);
//! ```
//!
//! Limits: a record keeps at most [`LEGS_PER_CALL`] legs, later ones are counted, not kept; and
//! [`TRANSFERS_PER_CALL`] transfers.

mod cause;
mod cdr;

pub use cause::{cause_from_name, cause_name};
pub use cdr::{
    Answer, Cdr, Direction, Ending, LEGS_PER_CALL, LegMedia, LegRecord, Misplaced, Moment, TRANSFERS_PER_CALL,
    Transfer, call_of,
};
