//! The operating system's network: datagrams, streams, TLS, WebSocket, names and clocks, for one loop on one thread.
//!
//! Signalling uses [`udp::Udp`] and [`stream::Connections`]. Both live on one current-thread runtime together with
//! the loop that reads them: nothing here is `Send`, nothing takes a lock, and an idle connection holds no buffer.
//! This crate refuses to know SIP: streams are cut into messages by a [`stream::Frames`] that the caller brings.
//! Where the media path needs `unsafe`, it lives in [`batch`] and nowhere else in the workspace.
//!
//! RFCs: 768 and 9293 as the kernel has them; 3261 §18 (transports), 5246 and 8446 (TLS 1.2 and 1.3),
//! 5922 (certificates), 1035 and 2782 as the resolver has them, 6455 and 7118 (WebSocket).
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! use net::udp::Udp;
//!
//! let ours = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
//! let theirs = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
//! let (from, to) = (ours.locals().next().unwrap().1, theirs.locals().next().unwrap().1);
//!
//! ours.send_to(from, to, b"OPTIONS").unwrap();
//! theirs.readable().await;
//! let (bytes, flow) = theirs.try_recv().unwrap();
//! assert_eq!((&bytes[..], flow.remote, flow.local), (&b"OPTIONS"[..], from, to));
//! # });
//! ```
//!
//! Limits: [`udp::SOCKETS`], [`stream::Limits`], [`ws::HEAD_BYTES`], [`tls::NAMES`], [`dns::RECORDS`], [`dns::TIMEOUT`],
//! [`route::ENTRIES`], [`offload::Config`].

pub mod batch;
pub mod clock;
pub mod dns;
mod error;
pub mod host;
pub mod offload;
pub mod route;
pub mod stream;
pub mod tls;
pub mod udp;
mod wire;
pub mod ws;

pub use error::{BindError, SendError};
