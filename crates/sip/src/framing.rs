//! Where a message ends on a stream (RFC 3261 §18.3), and what else comes along: keep-alives (RFC 5626 §3.5.1, §5.4)
//! and STUN (RFC 5389, told apart by its first byte: RFC 5626 §8).

use crate::msg::HeaderName;
use crate::msg::lex::is_token;
use bytes::{Buf, Bytes, BytesMut};
use words::limit::{HEADER_LINES, MESSAGE_BYTES};

/// One thing cut from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message, for [`crate::Message::parse`].
    Message(Bytes),
    /// CRLF CRLF: a ping, to be answered with CRLF.
    KeepAlive,
    /// A single CRLF: the answer to a ping of ours, or an empty line between messages.
    Pong,
    /// A STUN message.
    Stun(Bytes),
}

/// Why a stream cannot go on: nobody knows where the next message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Larger than [`MESSAGE_BYTES`], or more than [`HEADER_LINES`] lines.
    #[error("message too large")]
    TooLarge,
    /// No Content-Length, which streams need (RFC 3261 §18.3).
    #[error("no Content-Length")]
    NoContentLength,
    /// Content-Length is no number, or several disagree.
    #[error("bad Content-Length")]
    BadContentLength,
    /// What begins here is neither SIP nor STUN nor a keep-alive.
    #[error("not SIP")]
    NotSip,
}

/// Cuts a stream into frames. Holds no memory while nothing is half received.
///
/// ```
/// use sip::{Frame, Framer};
/// let mut framer = Framer::new();
/// framer.push(b"\r\n\r\nOPTIONS sip:h SIP/2.0\r\nl: 2\r\n\r\nh");
/// assert_eq!(framer.next(), Ok(Some(Frame::KeepAlive)));
/// assert_eq!(framer.next(), Ok(None));
/// framer.push(b"i\r\n");
/// assert!(matches!(framer.next(), Ok(Some(Frame::Message(m))) if m.ends_with(b"\r\n\r\nhi")));
/// assert_eq!(framer.next(), Ok(Some(Frame::Pong)));
/// assert!(framer.is_idle());
/// ```
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// How far the head was searched for its end in vain, so that a slow sender does not cost quadratic time.
    searched: usize,
    /// The whole length of the message at the front, once its head is read.
    length: Option<usize>,
    failed: Option<FramingError>,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new() -> Self {
        Framer::default()
    }

    /// Takes what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether nothing is half received.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole frame; `None` until more is received.
    ///
    /// # Errors
    /// The stream cannot be read on: end the connection. Each further call gives the same error.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end at the first `None`; this one goes on")]
    pub fn next(&mut self) -> Result<Option<Frame>, FramingError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.cut();
        if let Err(error) = result {
            self.failed = Some(error);
            self.buffer = BytesMut::new();
        }
        result
    }

    fn cut(&mut self) -> Result<Option<Frame>, FramingError> {
        match self.buffer.first() {
            None => Ok(None),
            Some(b'\r' | b'\n') => Ok(self.cut_blank()),
            Some(0..=3) => self.cut_stun(),
            Some(_) => self.cut_message(),
        }
    }

    fn cut_blank(&mut self) -> Option<Frame> {
        let data = &self.buffer[..];
        let (length, frame) = if data.starts_with(b"\r\n\r\n") {
            (4, Frame::KeepAlive)
        } else if data[0] == b'\n' {
            (1, Frame::Pong)
        } else if data.len() == 1 || data == b"\r\n\r" {
            return None;
        } else if data[1] == b'\n' {
            (2, Frame::Pong)
        } else {
            (1, Frame::Pong)
        };
        self.take(length);
        Some(frame)
    }

    fn cut_stun(&mut self) -> Result<Option<Frame>, FramingError> {
        let Some(header) = self.buffer.get(..20) else { return Ok(None) };
        if !is_stun(header) {
            return Err(FramingError::NotSip);
        }
        let length = 20 + usize::from(u16::from_be_bytes([header[2], header[3]]));
        if length > STUN_BYTES {
            return Err(FramingError::TooLarge);
        }
        Ok((self.buffer.len() >= length).then(|| Frame::Stun(self.take(length))))
    }

    fn cut_message(&mut self) -> Result<Option<Frame>, FramingError> {
        if self.length.is_none() {
            if self.searched == 0 && !begins_like_sip(&self.buffer) {
                return Err(FramingError::NotSip);
            }
            let Some(head_end) = head_end(&self.buffer, self.searched) else {
                if self.buffer.len() > HEAD_BYTES {
                    return Err(FramingError::TooLarge);
                }
                // The empty line may have begun: look at its first bytes again.
                self.searched = self.buffer.len().saturating_sub(3);
                return Ok(None);
            };
            let length = head_end + content_length(&self.buffer[..head_end])?;
            if length > MESSAGE_BYTES {
                return Err(FramingError::TooLarge);
            }
            self.length = Some(length);
        }
        match self.length {
            Some(length) if self.buffer.len() >= length => Ok(Some(Frame::Message(self.take(length)))),
            Some(_) | None => Ok(None),
        }
    }

    /// Cuts the front off. What is small is copied, so that no frame keeps a whole receive buffer alive.
    fn take(&mut self, length: usize) -> Bytes {
        self.searched = 0;
        self.length = None;
        if length == self.buffer.len() {
            return std::mem::take(&mut self.buffer).freeze();
        }
        let frame = Bytes::copy_from_slice(&self.buffer[..length]);
        self.buffer.advance(length);
        frame
    }
}

/// What a datagram is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Begins like a SIP message.
    Sip,
    /// Empty, line ends, zero bytes or a few bytes of the kinds that phones send to keep a NAT open.
    KeepAlive,
    /// STUN.
    Stun,
    /// Anything else.
    Garbage,
}

/// Tells what a datagram is without reading it.
///
/// ```
/// use sip::{Datagram, classify_datagram};
/// assert_eq!(classify_datagram(b"\r\n\r\n"), Datagram::KeepAlive);
/// assert_eq!(classify_datagram(b"\0\0\0\0"), Datagram::KeepAlive);
/// assert_eq!(classify_datagram(b"OPTIONS sip:h SIP/2.0\r\n\r\n"), Datagram::Sip);
/// assert_eq!(classify_datagram(b"\x80\x08rtp"), Datagram::Garbage);
/// ```
pub fn classify_datagram(bytes: &[u8]) -> Datagram {
    if bytes.len() >= 20 && is_stun(&bytes[..20]) {
        return Datagram::Stun;
    }
    let Some(at) = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n' | 0 | b' ' | b'\t')) else {
        return Datagram::KeepAlive;
    };
    // Phones of several makes send a few letters, such as "jaK" or "hello": too short for any message.
    if bytes.len() <= KEEP_ALIVE_BYTES && bytes.is_ascii() {
        return Datagram::KeepAlive;
    }
    if begins_like_sip(&bytes[at..]) && memchr::memchr(b'\n', bytes).is_some() {
        Datagram::Sip
    } else {
        Datagram::Garbage
    }
}

/// RFC 5389 §6: two zero bits, a length of whole words, the magic cookie.
fn is_stun(header: &[u8]) -> bool {
    header[0] <= 3 && header[3].is_multiple_of(4) && header[4..8] == [0x21, 0x12, 0xa4, 0x42]
}

/// A method or `SIP/2.0`, and a space, as far as they are there.
fn begins_like_sip(bytes: &[u8]) -> bool {
    let window = &bytes[..bytes.len().min(METHOD_BYTES)];
    match window.iter().position(|b| !is_token(*b)) {
        None => window.len() < METHOD_BYTES,
        Some(0) => false,
        Some(at) => {
            window[at] == b' ' || (window[at] == b'/' && b"SIP/2.0 ".starts_with(&window[..window.len().min(8)]))
        }
    }
}

/// One past the empty line that ends the head; `from` is where to begin to look.
fn head_end(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr(b'\n', data.get(at..)?)? + 1;
        match data.get(at..) {
            Some([b'\n', ..]) => return Some(at + 1),
            Some([b'\r', b'\n', ..]) => return Some(at + 2),
            Some(_) | None => {}
        }
    }
}

/// Reads Content-Length from a head.
fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut found = None;
    for (number, line) in head.split(|b| *b == b'\n').enumerate() {
        if number > HEADER_LINES + 2 {
            return Err(FramingError::TooLarge);
        }
        let name_end = line.iter().position(|b| !is_token(*b)).unwrap_or(line.len());
        if number == 0 || HeaderName::from_bytes(&line[..name_end]) != HeaderName::ContentLength {
            continue;
        }
        let value = line[name_end..].trim_ascii();
        let value = value.strip_prefix(b":").ok_or(FramingError::BadContentLength)?.trim_ascii();
        let text = std::str::from_utf8(value).map_err(|_| FramingError::BadContentLength)?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(FramingError::BadContentLength);
        }
        let length = text.parse().map_err(|_| FramingError::TooLarge)?;
        if found.replace(length).is_some_and(|before| before != length) {
            return Err(FramingError::BadContentLength);
        }
    }
    found.ok_or(FramingError::NoContentLength)
}

/// The longest method. Units: bytes.
const METHOD_BYTES: usize = 64;

/// The longest head on a stream. Units: bytes.
const HEAD_BYTES: usize = 32 * 1024;

/// The longest STUN message: none that we serve needs more. Units: bytes.
const STUN_BYTES: usize = 1_500;

/// The longest datagram that may pass for a keep-alive, whatever it says. Units: bytes.
const KEEP_ALIVE_BYTES: usize = 8;
