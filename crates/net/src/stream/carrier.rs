//! What carries messages over an open connection: a cut stream, or WebSocket frames.

use super::{Framed, Frames};
use crate::wire::Wire;
use crate::ws::{Received, WebSocket};
use bytes::{Buf, Bytes};
use std::io::{self, Read, Write};
use tokio::net::TcpStream;

/// An open connection as its messages see it. Nothing here waits: what cannot go on says `WouldBlock`.
pub(super) enum Carrier {
    /// TCP or TLS: the stream is cut (RFC 3261 §18.3).
    Stream {
        /// The bytes.
        wire: Wire,
        /// What cuts them.
        frames: Box<dyn Frames>,
    },
    /// WebSocket: each message is one (RFC 7118 §5.2).
    Socket {
        /// The bytes.
        wire: Wire,
        /// The frames around the messages.
        socket: Box<WebSocket>,
    },
}

/// What a look at the incoming side brought.
pub(super) enum Inbound {
    /// A piece.
    Framed(Framed),
    /// Nothing now.
    Dry {
        /// Whether a message has begun and waits for its rest.
        partial: bool,
    },
    /// The other side closed.
    End,
    /// What came is no message.
    Malformed(String),
}

impl Carrier {
    /// The socket, to wait on.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Carrier::Stream { wire, .. } | Carrier::Socket { wire, .. } => wire.tcp(),
        }
    }

    /// The next piece. `scratch` is where a stream reads into.
    pub(super) fn next(&mut self, scratch: &mut [u8]) -> io::Result<Inbound> {
        match self {
            Carrier::Stream { wire, frames } => next_of_stream(wire, frames.as_mut(), scratch),
            Carrier::Socket { wire, socket } => socket.next(wire).map(Inbound::from),
        }
    }

    /// Writes from the front of `bytes` and takes off what was taken. Call only after [`Carrier::flush`] went through.
    pub(super) fn write(&mut self, bytes: &mut Bytes) -> io::Result<()> {
        match self {
            Carrier::Stream { wire, .. } => {
                let taken = wire.write(bytes)?;
                if taken == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                bytes.advance(taken);
                Ok(())
            }
            Carrier::Socket { wire, socket } => socket.write(wire, std::mem::take(bytes)),
        }
    }

    /// Brings to the kernel what the layers between hold.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Carrier::Stream { wire, .. } => wire.flush(),
            Carrier::Socket { wire, socket } => socket.flush(wire),
        }
    }

    /// Says goodbye as far as that needs no waiting.
    pub(super) fn close(&mut self) {
        match self {
            Carrier::Stream { wire, .. } => wire.close(),
            Carrier::Socket { wire, socket } => {
                socket.close(wire);
                wire.close();
            }
        }
    }
}

impl From<Received> for Inbound {
    fn from(received: Received) -> Self {
        match received {
            Received::Message(bytes) => Inbound::Framed(Framed::Message(bytes)),
            Received::KeepAlive => Inbound::Framed(Framed::Reply(b"\r\n")),
            Received::Ignore => Inbound::Framed(Framed::Ignore),
            Received::Dry { partial } => Inbound::Dry { partial },
            Received::End => Inbound::End,
            Received::Malformed(why) => Inbound::Malformed(why),
        }
    }
}

fn next_of_stream(wire: &mut Wire, frames: &mut dyn Frames, scratch: &mut [u8]) -> io::Result<Inbound> {
    loop {
        match frames.next() {
            Ok(Some(framed)) => return Ok(Inbound::Framed(framed)),
            Ok(None) => {}
            Err(why) => return Ok(Inbound::Malformed(why)),
        }
        match wire.read(scratch) {
            Ok(0) => return Ok(Inbound::End),
            Ok(length) => frames.push(&scratch[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Inbound::Dry { partial: frames.is_partial() });
            }
            Err(error) => return Err(error),
        }
    }
}
