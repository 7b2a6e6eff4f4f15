//! Bytes, messages, transactions and dialogs as RFC 3261 has them.
//!
//! The crate refuses to know what a call is, to open sockets and to read clocks: bytes and `now` come in, bytes and
//! events go out.
//!
//! RFCs: 3261 (messages, framing, transactions, dialogs), 3581 (rport), 4475 and 5118 (what must not break a parser),
//! 3263 (finding servers), 3323, 3325, 5806 and 7044 (who somebody is, and what of it is secret), 3515 and 3891 (the values of Refer-To and Replaces),
//! 5621 (bodies of several parts), 6026 (2xx answers), 7616 and 8760 (digest), 7118 and 5626 (what streams carry beside messages).
//!
//! ```
//! use bytes::Bytes;
//! use sip::{HeaderName, Message, MessageBuilder};
//!
//! let request = MessageBuilder::request("OPTIONS", "sip:exchange.example")
//!     .header(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport")
//!     .header(HeaderName::From, "\"Ann\" <sip:ann@example.com>;tag=a")
//!     .header(HeaderName::To, "<sip:exchange.example>")
//!     .header(HeaderName::CallId, "c1")
//!     .header(HeaderName::CSeq, "1 OPTIONS")
//!     .finish();
//! let request = Message::parse(request)?;
//! assert_eq!(request.via()?.branch(), Some("z9hG4bK1"));
//! assert_eq!(request.from()?.tag(), Some("a"));
//!
//! let answer = Message::parse(MessageBuilder::response(&request, 200, "", Some("b")).finish())?;
//! assert_eq!((answer.status(), answer.reason(), answer.to_tag()), (200, "OK", Some("b")));
//!
//! let error = Message::parse(Bytes::from_static(b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n")).unwrap_err();
//! assert_eq!((error.status(), error.reason()), (400, "Missing From"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Limits: a message has at most [`words::limit::MESSAGE_BYTES`] bytes and [`words::limit::HEADER_LINES`] header
//! lines; header names have at most 255 bytes. Only bodies of several parts lie in each other, four deep at most.

pub mod advertise;
pub mod dialog;
pub mod digest;
pub mod endpoint;
pub mod error;
pub mod framing;
pub mod locate;
pub mod msg;
pub mod timer;
pub mod txn;

pub use dialog::Dialog;
pub use endpoint::{
    Advertised, ClientTxn, Endpoint, EndpointConfig, EndpointLimits, Event, Output, RetryAfter, ServerTxn, Target,
    Undelivered,
};
pub use error::{DialogError, OutOfOrder, Refused};
pub use framing::{Datagram, Frame, Framer, FramingError, classify_datagram};
pub use msg::{
    BodyError, CSeq, Contact, HeaderError, HeaderName, Malformed, Message, MessageBuilder, Method, NameAddr, Outgoing,
    Params, ParseError, Peek, Privacy, RAck, ReferTo, Refresher, Replaces, RequestError, Scheme, SessionExpires, Uri,
    UriError, Via, peek, push_user, reason_phrase,
};
pub use timer::{Timer, TimerConfig};
pub use txn::{Tags, shard_of_branch};
