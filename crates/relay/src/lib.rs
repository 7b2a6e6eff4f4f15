//! Moves media: worker threads that own bound sockets and walk the tables of [`forward`].
//!
//! The switch [applies](Relay::apply) [`MediaCommand`](media::command::MediaCommand)s and receives
//! [`MediaReport`](media::command::MediaReport)s. A worker keeps its pairs of ports bound from call to call; both legs of
//! a call are on one worker, so a packet is one look at a table, one receive and one send, without a lock, an
//! allocation or a log line. In the tier `kernel` a programme inside the kernel takes
//! over what is settled; `batch` and `basic` do without ([`Mode`], [`Tier`]).
//!
//! This crate refuses to know SIP, calls and accounts, and to decide which ports a call gets: `media::ports` does.
//!
//! RFC 3550 (RTP, RTCP), RFC 4733 (telephone events), RFC 3246 (the mark on voice packets).
//!
//! ```
//! use media::command::{Family, MediaCommand, MediaReport};
//! use relay::{Config, Relay};
//! use std::net::Ipv4Addr;
//! use words::Seed;
//!
//! let config = Config { ipv4: Some(Ipv4Addr::LOCALHOST), ipv6: None, ..Config::new(28_000, 28_099, Seed::from_number(1)) };
//! let (mut relay, reports) = Relay::start(&config, Box::new(|| ()))?;
//! relay.apply(MediaCommand::Stock { pairs: 2, family: Family::V4 }).unwrap();
//! let Ok(MediaReport::Ready { ports }) = reports.recv() else { panic!("no ports") };
//! assert_eq!((ports.len(), ports[0].rtp_port % 2), (2, 0));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Limits: [`ORDERS`] commands and [`REPORTS`] reports wait, a worker keeps [`KEPT`] more reports; datagrams of
//! [`DATAGRAM_BYTES`]; in batch mode a socket gives a packet each millisecond while the worker keeps up; how many pairs
//! fit is what [`Relay::capacity`] says. [`INQUIRIES`] of [`ENDS_PER_TURN`] ends wait for each worker, which answers one in a turn. A pair takes less than 600 bytes here and two descriptors.

mod delay;
mod inquiry;
mod kernel;
#[cfg(test)]
#[path = "../tests/log/mod.rs"]
mod log;
mod orders;
mod pace;
mod ports;
mod relay;
mod report;
mod source;
mod tier;
mod worker;

pub use delay::{DELAY_BOUNDS_US, Delays};
pub use forward::{JITTER_BOUNDS_MS, Judged, MOS_BOUNDS_X100};
pub use inquiry::{ENDS_PER_TURN, INQUIRIES, Inquirer};
pub use orders::{Full, ORDERS};
pub use ports::RECEIVE_BUFFER;
pub use relay::{Config, Counters, Relay};
pub use report::{KEPT, REPORTS};
pub use tier::{Capacity, Limit, Mode, Tier, TierNow};
pub use worker::{COMMANDS, DATAGRAM_BYTES, HOUSEKEEPING, READS_PER_SOCKET};
