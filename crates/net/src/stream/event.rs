//! What the loop hears of its connections, and how it brings in what cuts a stream.

use bytes::Bytes;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use words::diagnosis::Diagnosis;
use words::{ConnectionId, Flow, Time, Transport};

/// Cuts the bytes of one stream into messages (RFC 3261 §18.3). An idle one should hold no memory.
pub trait Frames {
    /// Takes bytes as they came.
    fn push(&mut self, bytes: &[u8]);

    /// The next piece; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream can no longer be cut: the connection ends, the text says why.
    fn next(&mut self) -> Result<Option<Framed>, String>;

    /// Whether a piece has begun that is not complete.
    fn is_partial(&self) -> bool;
}

/// Decides which strangers are heard. It is asked for each connection before it is taken, and for each piece that comes
/// over it before it is read, until [`super::Connections::prove`] is called for it.
pub trait Gate {
    /// Whether who is there may connect, or say one thing more. What it says yes to, it counts.
    fn hears(&self, flow: &Flow, now: Time) -> bool;
}

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// A message.
    Message(Bytes),
    /// A keep-alive that wants this answer (RFC 5626 §3.5.1).
    Reply(&'static [u8]),
    /// A STUN message.
    Stun(Bytes),
    /// Something that means nothing, such as the answer to a keep-alive.
    Ignore,
}

/// What the loop hears.
#[derive(Debug)]
pub enum NetEvent {
    /// A complete message.
    Received {
        /// The way it came.
        flow: Flow,
        /// The message.
        bytes: Bytes,
        /// Since when its connection has had more to say than was taken from it, this message included: how long this one
        /// has waited, at the most.
        since: Time,
    },
    /// A STUN message between SIP messages.
    Stun {
        /// The way it came.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// The answer to [`super::Connections::connect`].
    Connected {
        /// The number it was asked with.
        id: u64,
        /// The open connection, or why there is none.
        result: Result<Flow, ConnectError>,
    },
    /// A connection of which the loop has heard before is gone.
    Closed {
        /// Which.
        connection: ConnectionId,
        /// What it was.
        flow: Flow,
        /// Why.
        why: CloseReason,
        /// More about it, for a trace; may be empty.
        detail: String,
    },
    /// A TLS handshake with somebody who connected to us failed.
    TlsFailed {
        /// The listener.
        listener: u16,
        /// The transport: TLS or WSS.
        transport: Transport,
        /// The phone's address.
        remote: SocketAddr,
        /// What people are told, when the cause is one that they can change.
        diagnosis: Option<Diagnosis>,
        /// What exactly went wrong.
        detail: String,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side closed it.
    Remote,
    /// We were told to close it.
    Ours,
    /// We stopped without waiting.
    Cut,
    /// The kernel or TLS reported an error.
    Broken(io::ErrorKind),
    /// Its bytes are no messages.
    Malformed,
    /// Its handshake failed or it could not be opened.
    NotOpened,
    /// It took too long to open: [`super::Limits::open`].
    SlowOpen,
    /// A message took too long: [`super::Limits::frame`].
    SlowFrame,
    /// The other side left too much unread, or read nothing for too long.
    SlowReader,
    /// No complete message came: [`super::Limits::silent`].
    Silent,
    /// Nothing came for long and nobody proved who it is: [`super::Limits::idle`].
    Idle,
}

/// Why a connection could not be opened.
#[derive(Clone, Debug)]
pub struct ConnectError {
    /// The kind of error.
    pub kind: io::ErrorKind,
    /// What people are told, when the cause is one that they can change.
    pub diagnosis: Option<Diagnosis>,
    /// What exactly went wrong.
    pub detail: String,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        ConnectError { kind: error.kind(), diagnosis: None, detail: error.to_string() }
    }
}
