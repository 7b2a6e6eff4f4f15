//! A packet's way through the exchange, as values: who may speak, what passes, and to whom it goes.
//!
//! [`Table`] holds one row per pair of ports. It is changed by [`MediaCommand`](media::command::MediaCommand)s between
//! packets, and asked once for each packet: one look at the row of the socket it came from, one at the row it goes to.
//! This crate refuses to touch a socket or a clock: a worker does what [`Table::poll`] says.
//!
//! RFC 3550 (RTP and RTCP), RFC 4733 (telephone events), RFC 7983 and 5761 (what is no RTP), RFC 8445
//! (checks of ICE, as its lite side).
//!
//! ```
//! use forward::{Output, SocketId, Table, Verdict};
//! use media::clocks::Clocks;
//! use media::command::{
//!     Family, Generation, MediaAddress, MediaCommand, PayloadTypes, PortPair, SourceRule, Terms, Whereabouts,
//! };
//! use media::sdp::Direction;
//! use words::{CallId, LegId, Time};
//!
//! let now = Time::ZERO;
//! let mut table = Table::new(true);
//! let ports = PortPair { worker: 0, slot: table.add(0, 10_000, Family::V4), rtp_port: 10_000, family: Family::V4 };
//! let phone = "192.0.2.1:4000".parse()?;
//! let end = LegId { call: CallId(1), n: 0 };
//! table.apply(
//!     MediaCommand::Open {
//!         end,
//!         ports,
//!         generation: Generation(1),
//!         terms: Terms {
//!              source: SourceRule::Strict,
//!              whereabouts: Whereabouts::default(),
//!              remote: Some(MediaAddress { rtp: phone, rtcp: "192.0.2.1:4001".parse()? }),
//!              payload_types: PayloadTypes::NONE.with(0),
//!              clocks: Clocks::NONE,
//!              telephone_event: None,
//!              direction: Direction::SendRecv,
//!              extended: Default::default(),
//!              silence: None.into(),
//!         },
//!     },
//!     now,
//! );
//! table.apply(MediaCommand::Link { from: end, to: end, generation: Generation(2) }, now);
//!
//! let packet = [0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7, 0xff];
//! let rtp = SocketId::rtp(ports.slot);
//! assert_eq!(table.forward(rtp, Some("203.0.113.9:4000".parse()?), &packet, now), Verdict::Refused);
//! // The phone itself is echoed, and its socket may be connected to it: the kernel then refuses strangers.
//! assert!(matches!(table.forward(rtp, Some(phone), &packet, now), Verdict::Send(_)));
//! assert!(matches!(table.poll(), Some(Output::Connect { slot: 0, to }) if to == phone));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! Limits: a row takes 608 bytes at most, and there are as many as the worker has bound pairs. Each packet gives at
//! most two outputs, each command at most four. An end with ICE knows [`VALID_MAX`] sources of each component, remembers
//! [`SEEN_MAX`] checks, and answers [`ERRORS_MAX`] wrong ones a second.

mod carry;
mod counters;
mod ice;
#[cfg(test)]
mod kit;
mod latch;
mod mux;
mod row;
mod secure;
mod single;
mod table;

pub use carry::{CARRY_AFTER, Carriage, Speaker, TRIAL_PACKETS_MAX};
pub use counters::{JITTER_BOUNDS_MS, Judged, MOS_BOUNDS_X100, Totals};
pub use ice::{ERRORS_MAX, SEEN_MAX, VALID_FOR, VALID_MAX};
pub use latch::{CANDIDATE_PATIENCE, Judgement, LEARN_PACKETS, LEARN_SPAN, Latch, PASSING_PACKETS, PASSING_SILENCE};
pub use secure::OLD_KEY;
pub use table::{Output, Route, SocketId, Table, UNPROVEN_PATIENCE, Verdict};
