//! Everything of this crate over the loopback interface with real sockets, each test bounded in time.
#![expect(clippy::unwrap_used, reason = "tests; the lint knows functions marked as tests only")]

mod kit;
mod limits;
mod stream;
mod tls;
mod udp;
mod ws;
