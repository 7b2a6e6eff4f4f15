//! A call: its legs, and what each leg's answer means to the other.
//!
//! An INVITE comes in, the room asks what is to happen ([`Output::AskPlan`]) and is told [`Step`]s: ring these, answer,
//! play, refuse. It builds every message of every leg itself; nothing that names hops or people is carried across. Media
//! always goes through the relay: two ends per call, on one worker, with descriptions rewritten to point at them.
//!
//! The crate refuses to know who is registered where and who may call (a target is handed to it ready), to touch
//! sockets and clocks, and to look into audio. Transactions are the endpoint's: the room names them and says what to
//! send.
//!
//! RFCs: 3261 §12–§15 (dialogs, offers, ends of calls), §16.7 (the best of many failures), §8.1.3.4 (3xx), 3262 (100rel), 3264 (offer
//! and answer across), 3311 (UPDATE), 3326 (`Reason`), 3398 and 3960 (early media: the first leg that speaks is heard),
//! 3323, 3325, 5806 and 7044 (who calls, and where the call was before), 3515, 3892 and 4488 (REFER), 4028 (session timers), 6026, 6086 (INFO).
//!
//! ```
//! use b2bua::{Calls, Config, Output};
//! use words::{Chance, Seed, Time};
//!
//! let mut calls = Calls::new(Config::default(), Chance::new(Seed::from_number(1)), Time::ZERO);
//! // At its start the room wants media ports; then it sleeps until a call comes.
//! assert!(matches!(calls.poll(), Output::Media(_)));
//! assert!(matches!(calls.poll(), Output::Timeout(None)));
//! assert!(calls.is_empty() && calls.check().is_ok());
//! ```
//!
//! Limits: [`Config::calls`]; [`MAX_TARGETS`] targets of a ring list, [`words::limit::FORK_WIDTH`] at a time;
//! [`MAX_WAITING`] steps that wait; 4 INFO requests under way; one change of media at a time (others get 491), and one that waits to pick up; a call's
//! length ([`Config::call_limit`]); 16 transfers of one call. Ringing others after the exchange itself has answered is
//! not here.

mod body;
mod bridge;
mod call;
mod calls;
mod cause;
mod check;
mod claim;
mod config;
mod desk;
mod digits;
mod early;
mod end;
mod event;
mod exchange;
mod family;
mod fork;
mod hold;
mod hop;
mod ice;
mod identity;
mod instead;
mod join;
mod leg;
mod more;
mod mux;
mod newcomer;
mod owed;
mod prack;
mod redirect;
mod refer;
mod refresh;
mod refuse;
mod relayed;
mod reliable;
mod ring;
mod secure;
mod seek;
mod servers;
mod session;
mod setup;
mod show;
mod single;
mod star;
mod step;
mod tag;
mod talk;
mod transfer;
mod turn;
mod update;
mod view;

#[cfg(test)]
mod tests;

pub use calls::Calls;
pub use config::{CALLS_MAX, Config};
pub use event::{Invite, Output, Refusal};
pub use leg::LegState;
pub use redirect::{Redirected, Redirection};
pub use servers::{Servers, Trouble};
pub use session::SessionConfig;
pub use step::{DialTarget, DiversionReason, Diverted, MAX_TARGETS, MAX_WAITING, Step, StepError, Trust};
pub use view::{Asked, CallState, CallView, DialogIds, LegLine, LegView};
