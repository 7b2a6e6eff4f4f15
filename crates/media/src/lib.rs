//! Media as values: session descriptions, RTP and its relatives as views over packets, and the words in which the
//! switch commands the relay.
//!
//! This crate refuses to move a packet or to read a clock, and knows nothing of calls.
//!
//! RFC 8866 (SDP), RFC 3264 (offer/answer), RFC 3550 and 3551 (RTP), RFC 4733 (telephone events), RFC 7983
//! (demultiplexing), RFC 8489 (STUN), RFC 8445 and 8839 (ICE, its lite side), RFC 3605 (`a=rtcp`), RFC 5761 (`a=rtcp-mux`).
//!
//! An offer is carried from one leg to the other with the exchange's own address in it:
//!
//! ```
//! use media::offer::{Local, carry};
//! use media::sdp::Description;
//!
//! let offer = Description::parse(
//!     b"v=0\r\no=alice 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
//!       m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\nm=video 4002 RTP/AVP 96\r\n",
//! )?;
//! let ours = Local { session_id: 7, version: 1, address: "203.0.113.5".parse()?, ports: &[10_000] };
//! let carried = carry(&offer, &ours)?;
//! let audio = carried.audio().expect("the offer has audio");
//! assert_eq!(audio.remote.map(|r| r.rtp), Some("203.0.113.5:10000".parse()?));
//! assert_eq!(audio.telephone_event, Some(101));
//! assert_eq!(carried.media().map(|m| m.port).collect::<Vec<_>>(), [10_000, 0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Limits: a description has at most 65,535 bytes, 1,024 lines of 4,096 bytes, 32 media with 128 formats each.

pub mod bursts;
pub mod clocks;
pub mod codec;
pub mod command;
pub mod demux;
pub mod dtmf;
pub mod emodel;
pub mod ice;
pub mod monitor;
pub mod offer;
pub mod own;
pub mod ports;
pub mod renew;
pub mod rewrite;
pub mod rtcp;
pub mod rtp;
pub mod sdes;
pub mod sdp;
pub mod srtp;
pub mod stats;
pub mod stun;
pub mod xr;
