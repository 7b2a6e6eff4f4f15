//! WebSocket as a carrier of SIP (RFC 6455, RFC 7118): the handshake, and one message per frame or row of fragments.

use crate::wire::Wire;
use bytes::Bytes;
use std::io::{self, Read, Write};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use words::limit;

/// The frames of one open connection.
pub(crate) struct WebSocket {
    frames: WebSocketContext,
    /// The kind that the client sent last: it gets the same (RFC 7118 §5.2).
    text: bool,
}

/// What a look at the incoming side brought.
pub(crate) enum Received {
    /// A message.
    Message(Bytes),
    /// A double CRLF, as on streams (RFC 5626 §3.5.1): some browsers' libraries send it.
    KeepAlive,
    /// A frame that means nothing to SIP.
    Ignore,
    /// Nothing now; `partial` when a message has begun.
    Dry {
        /// Whether a message has begun and waits for its rest.
        partial: bool,
    },
    /// The other side closed.
    End,
    /// What came is no WebSocket message.
    Malformed(String),
}

/// Why a client got no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The socket failed or ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The request is none that we answer with a WebSocket.
    #[error("{0}")]
    Request(&'static str),
}

impl WebSocket {
    fn new(rest: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * limit::STREAM_BACKLOG_BYTES)
            .max_message_size(Some(limit::MESSAGE_BYTES))
            .max_frame_size(Some(limit::MESSAGE_BYTES));
        let frames = WebSocketContext::from_partially_read(rest, Role::Server, Some(config));
        WebSocket { frames, text: true }
    }

    /// The next message.
    pub(crate) fn next(&mut self, wire: &mut (impl Read + Write)) -> io::Result<Received> {
        let mut counted = Counted { wire, bytes: 0 };
        let read = self.frames.read(&mut counted);
        let moved = counted.bytes > 0;
        match read {
            Ok(Message::Text(text)) => {
                self.text = true;
                Ok(classify(text.into()))
            }
            Ok(Message::Binary(bytes)) => {
                self.text = false;
                Ok(classify(bytes))
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => Ok(Received::Ignore),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(Received::Dry { partial: moved })
            }
            Err(error) => ended(error),
        }
    }

    /// Puts one message into a frame. It is taken even when the socket takes no more.
    pub(crate) fn write(&mut self, wire: &mut Wire, bytes: Bytes) -> io::Result<()> {
        let message = if self.text {
            Utf8Bytes::try_from(bytes.clone()).map_or(Message::Binary(bytes), Message::Text)
        } else {
            Message::Binary(bytes)
        };
        match self.frames.write(wire, message) {
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other.map_err(as_io),
        }
    }

    /// Brings to the kernel what is in frames.
    pub(crate) fn flush(&mut self, wire: &mut Wire) -> io::Result<()> {
        self.frames.flush(wire).map_err(as_io)
    }

    /// Says goodbye as far as that needs no waiting.
    pub(crate) fn close(&mut self, wire: &mut Wire) {
        let _ = self.frames.close(wire, None);
    }
}

/// Answers the HTTP request that asks for a WebSocket with the subprotocol `sip` (RFC 7118 §4), whatever its path.
pub(crate) async fn accept(wire: &mut Wire) -> Result<WebSocket, Refused> {
    let mut head = Vec::with_capacity(1_024);
    let (length, request) = loop {
        let mut piece = [0; 1_024];
        match wire.read(&mut piece) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(length) => head.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wire.tcp().readable().await?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        match Request::try_parse(&head) {
            Ok(Some(found)) => break found,
            Ok(None) if head.len() < HEAD_BYTES => {}
            Ok(None) => return refuse(wire, "431 Request Header Fields Too Large", "the request is too long").await,
            Err(_) => return refuse(wire, "400 Bad Request", "the request is no HTTP").await,
        }
    };
    let response = match answer(&request) {
        Ok(response) => response,
        Err(why) => return refuse(wire, "400 Bad Request", why).await,
    };
    let mut bytes = Vec::with_capacity(256);
    write_response(&mut bytes, &response).map_err(as_io)?;
    write_all(wire, &bytes).await?;
    Ok(WebSocket::new(head.split_off(length)))
}

fn answer(request: &Request) -> Result<Response, &'static str> {
    let offered = request.headers().get_all("Sec-WebSocket-Protocol");
    let mut offered = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
    let mut response = create_response(request).map_err(|_| "the request asks for no WebSocket of version 13")?;
    if !offered.any(|name| name.trim().eq_ignore_ascii_case("sip")) {
        return Err("the WebSocket subprotocol 'sip' is not offered");
    }
    response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
    Ok(response)
}

async fn refuse(wire: &mut Wire, status: &str, why: &'static str) -> Result<WebSocket, Refused> {
    let length = why.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}\n"
    );
    write_all(wire, answer.as_bytes()).await?;
    wire.close();
    Err(Refused::Request(why))
}

async fn write_all(wire: &mut Wire, mut bytes: &[u8]) -> io::Result<()> {
    loop {
        let step = if bytes.is_empty() { wire.flush().map(|()| 0) } else { wire.write(bytes) };
        match step {
            Ok(0) => return if bytes.is_empty() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) },
            Ok(taken) => bytes = &bytes[taken..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wire.tcp().writable().await?,
            Err(error) => return Err(error),
        }
    }
}

fn classify(bytes: Bytes) -> Received {
    if bytes.iter().any(|&byte| !matches!(byte, b'\r' | b'\n' | 0)) {
        return Received::Message(bytes);
    }
    if bytes.len() >= 4 { Received::KeepAlive } else { Received::Ignore }
}

fn ended(error: tungstenite::Error) -> io::Result<Received> {
    match error {
        tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed
        | tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            Ok(Received::End)
        }
        tungstenite::Error::Io(error) => Err(error),
        other => Ok(Received::Malformed(other.to_string())),
    }
}

fn as_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => io::ErrorKind::NotConnected.into(),
        other => io::Error::other(other.to_string()),
    }
}

/// A wire that counts what is read, to tell a message that has begun from silence.
struct Counted<'a, W> {
    wire: &'a mut W,
    bytes: usize,
}

impl<W: Read> Read for Counted<'_, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.wire.read(buf)?;
        self.bytes += length;
        Ok(length)
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.wire.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }
}

/// What the frames of a stream come to, see [`read_frames`].
#[derive(Debug, Default)]
pub struct Frames {
    /// The messages in them.
    pub messages: Vec<Bytes>,
    /// What was sent back, such as pongs. Units: bytes.
    pub answered: usize,
}

/// Reads what follows a handshake as a connection reads it, without one: `stream` comes in pieces of `piece` bytes.
pub fn read_frames(stream: &[u8], piece: usize) -> Frames {
    let mut wire = Pieces { rest: stream, piece: piece.max(1), pause: false, answered: 0 };
    let mut socket = WebSocket::new(Vec::new());
    let mut messages = Vec::new();
    loop {
        match socket.next(&mut wire) {
            Ok(Received::Message(message)) => messages.push(message),
            Ok(Received::KeepAlive | Received::Ignore | Received::Dry { .. }) => {}
            Ok(Received::End | Received::Malformed(_)) | Err(_) => break,
        }
    }
    Frames { messages, answered: wire.answered }
}

/// A stream that brings a piece, then nothing for a while, then the next; it ends with its bytes.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
    pause: bool,
    answered: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.pause = !self.pause && !self.rest.is_empty();
        if !self.pause && !self.rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (now, rest) = self.rest.split_at(self.rest.len().min(self.piece).min(buf.len()));
        buf[..now.len()].copy_from_slice(now);
        self.rest = rest;
        Ok(now.len())
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.answered += buf.len();
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The longest HTTP request that asks for a WebSocket. Units: bytes.
pub const HEAD_BYTES: usize = 8 * 1_024;
/// What an idle WebSocket keeps to read into. Units: bytes.
const READ_BYTES: usize = 2_048;
