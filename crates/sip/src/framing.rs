//! Where a message ends on a stream (RFC 3261 §18.3), and what else comes along: keep-alives (RFC 5626 §3.5.1, §5.4)
//! and STUN (RFC 5389, told apart by its first byte and its magic cookie: RFC 5626 §8).

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
    /// A single CRLF: the answer to a ping of ours, an empty line between messages, or the first half of a ping.
    Pong,
    /// Zero bytes, with which some phones keep a router's mapping open.
    Zeros,
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
    /// Whether the last thing cut was a single CRLF: another one makes a ping of both.
    half_ping: bool,
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

    /// Whether nothing is half received that must go on: a zero byte or half a line end may be all that a keep-alive was.
    pub fn is_idle(&self) -> bool {
        self.buffer.len() < COOKIE_ENDS && self.buffer.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0))
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
            Some(0..=3) if may_be_stun(&self.buffer) => self.cut_stun(),
            Some(0) => Ok(Some(self.cut_zeros())),
            Some(_) => self.cut_message(),
        }
    }

    /// A run of line ends that came at once is one ping or pong: a flood of them earns one answer. The two of a ping may come
    /// in two segments.
    fn cut_blank(&mut self) -> Option<Frame> {
        let data = &self.buffer[..];
        let mut run = data.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        // A CR at the end may have its LF still on the way.
        run -= usize::from(run == data.len() && data[run - 1] == b'\r');
        if run == 0 {
            return None;
        }
        let is_ping = data[..run].starts_with(b"\r\n\r\n") || (self.half_ping && data.starts_with(b"\r\n"));
        self.take(run);
        self.half_ping = !is_ping;
        Some(if is_ping { Frame::KeepAlive } else { Frame::Pong })
    }

    /// A run of zero bytes; the last one may begin a STUN message.
    fn cut_zeros(&mut self) -> Frame {
        let run = self.buffer.iter().take_while(|byte| **byte == 0).count();
        self.take(if may_be_stun(&self.buffer[run - 1..]) { run - 1 } else { run });
        Frame::Zeros
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
            // A slow sender shows the first word piece by piece: it is judged until it must be whole.
            if self.searched < METHOD_BYTES && !begins_like_sip(&self.buffer) {
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
            // The same limit, however the head came.
            if head_end > HEAD_BYTES {
                return Err(FramingError::TooLarge);
            }
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
        self.half_ping = false;
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
    if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0 | b' ' | b'\t')) {
        return Datagram::KeepAlive;
    }
    // Phones of several makes send a few letters, such as "jaK" or "hello": too short for any message.
    if bytes.len() <= KEEP_ALIVE_BYTES && bytes.is_ascii() {
        return Datagram::KeepAlive;
    }
    let start = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if begins_like_sip(&bytes[start..]) && memchr::memchr(b'\n', &bytes[start..]).is_some() {
        Datagram::Sip
    } else {
        Datagram::Garbage
    }
}

/// RFC 5389 §6: two zero bits, a length of whole words, the magic cookie.
fn is_stun(header: &[u8]) -> bool {
    header[0] <= 3 && header[3].is_multiple_of(4) && header[4..COOKIE_ENDS] == COOKIE
}

/// Whether STUN begins here, as far as it is there. No type of STUN is zero: method 0 is reserved (RFC 8489 §18.2).
fn may_be_stun(bytes: &[u8]) -> bool {
    let cookie = bytes.get(4..bytes.len().min(COOKIE_ENDS)).unwrap_or_default();
    bytes.first().is_some_and(|first| *first <= 3) && !bytes.starts_with(&[0, 0]) && COOKIE.starts_with(cookie)
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
    let mut at = 0;
    for number in 0.. {
        let Some(lf) = memchr::memchr(b'\n', &head[at..]) else { break };
        if number > HEADER_LINES + 2 {
            return Err(FramingError::TooLarge);
        }
        let name_end = at + head[at..].iter().position(|b| !is_token(*b)).unwrap_or(0);
        if number > 0 && HeaderName::from_bytes(&head[at..name_end]) == HeaderName::ContentLength {
            let length = number_after_colon(&head[name_end..])?;
            if found.replace(length).is_some_and(|before| before != length) {
                return Err(FramingError::BadContentLength);
            }
        }
        at += lf + 1;
    }
    found.ok_or(FramingError::NoContentLength)
}

/// The number of a header, from behind its name on; its line may be folded (RFC 3261 §7.3.1).
fn number_after_colon(bytes: &[u8]) -> Result<usize, FramingError> {
    let value = bytes.trim_ascii_start().strip_prefix(b":").ok_or(FramingError::BadContentLength)?;
    let mut at = 0;
    while value.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
        if value[at - 1] == b'\n' && !matches!(value.get(at), Some(b' ' | b'\t')) {
            return Err(FramingError::BadContentLength);
        }
    }
    let end = at + value[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = value[end..].iter().find(|b| !matches!(b, b' ' | b'\t' | b'\r'));
    if at == end || rest != Some(&b'\n') {
        return Err(FramingError::BadContentLength);
    }
    let mut length = 0_usize;
    for digit in &value[at..end] {
        length = length.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    }
    if length > MESSAGE_BYTES { Err(FramingError::TooLarge) } else { Ok(length) }
}

/// The magic cookie of STUN (RFC 5389 §6), and one past its place in a message.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const COOKIE_ENDS: usize = 8;

/// The longest method. Units: bytes.
const METHOD_BYTES: usize = 64;

/// The longest head on a stream. Units: bytes.
const HEAD_BYTES: usize = 32 * 1024;

/// The longest STUN message: none that we serve needs more. Units: bytes.
const STUN_BYTES: usize = 1_500;

/// The longest datagram that may pass for a keep-alive, whatever it says. Units: bytes.
const KEEP_ALIVE_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"OPTIONS sip:h SIP/2.0\r\nCall-ID: 1\r\nContent-Length: 3\r\n\r\nabc";

    fn all(bytes: &[u8]) -> Result<Vec<Frame>, FramingError> {
        let mut framer = Framer::new();
        framer.push(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = framer.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn error(bytes: &[u8]) -> FramingError {
        all(bytes).unwrap_err()
    }

    #[test]
    fn several_messages_in_one_piece_are_told_apart() {
        let message = Frame::Message(Bytes::from_static(REQUEST));
        let stream = [REQUEST, b"\r\n\r\n", REQUEST, b"\r\n"].concat();
        assert_eq!(all(&stream), Ok(vec![message.clone(), Frame::KeepAlive, message, Frame::Pong]));
    }

    #[test]
    fn a_message_in_single_bytes_comes_whole_and_leaves_nothing_behind() {
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        for byte in REQUEST {
            framer.push(&[*byte]);
            frames.extend(framer.next().unwrap());
        }
        assert_eq!(frames, [Frame::Message(Bytes::from_static(REQUEST))]);
        assert!(framer.is_idle() && framer.buffer.capacity() == 0);
    }

    #[test]
    fn a_flood_of_pings_earns_one_answer() {
        assert_eq!(all(&b"\r\n".repeat(5_000)), Ok(vec![Frame::KeepAlive]));
    }

    /// What comes of segments, each read to its end before the next, and whether nothing was left half received.
    fn by_segments(segments: &[&[u8]]) -> (Vec<Frame>, bool) {
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        for segment in segments {
            framer.push(segment);
            while let Some(frame) = framer.next().expect("a keep-alive is no error") {
                frames.push(frame);
            }
        }
        (frames, framer.is_idle())
    }

    /// RFC 5626 §4.4.1: two CRLF are a ping, however TCP cuts them.
    #[test]
    fn a_ping_in_pieces_is_a_ping() {
        let pings = |segments: &[&[u8]]| {
            let (frames, idle) = by_segments(segments);
            assert!(idle, "{segments:?}");
            frames.iter().filter(|frame| **frame == Frame::KeepAlive).count()
        };
        for segments in [&[&b"\r\n"[..], b"\r\n"][..], &[b"\r", b"\n\r", b"\n"], &[b"\r\n\r", b"\n"], &[b"\r\n\r\n"]] {
            assert_eq!(pings(segments), 1, "{segments:?}");
        }
        assert_eq!(pings(&[b"\r\n", b"\r\n", b"\r\n", b"\r\n"]), 2);
        assert_eq!(pings(&[b"\r\n", REQUEST, b"\r\n"]), 0, "empty lines around a message");
    }

    #[test]
    fn zero_bytes_keep_a_stream_alive() {
        let message = Frame::Message(Bytes::from_static(REQUEST));
        let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        stun.extend([7; 12]);
        for zeros in 1..=20 {
            let zeros = vec![0; zeros];
            assert!(by_segments(&[&zeros]).1, "{zeros:?} alone");
            for next in [REQUEST, &stun] {
                let expected =
                    if next == REQUEST { message.clone() } else { Frame::Stun(Bytes::copy_from_slice(&stun)) };
                let joined = [&zeros[..], next].concat();
                for segments in [&[&zeros[..], next][..], &[&joined]] {
                    let (frames, idle) = by_segments(segments);
                    assert_eq!(frames.last(), Some(&expected), "{} zeros", zeros.len());
                    assert!(idle && frames[..frames.len() - 1].iter().all(|frame| *frame == Frame::Zeros));
                }
                let (frames, _) = by_segments(&joined.chunks(1).collect::<Vec<_>>());
                assert_eq!(frames.last(), Some(&expected), "{} zeros byte by byte", zeros.len());
            }
        }
        assert_eq!(by_segments(&[b"\0\r\n\0\r\n\r\n"]).0.last(), Some(&Frame::KeepAlive));
    }

    #[test]
    fn stun_is_cut_by_its_length() {
        let mut stun = vec![0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42];
        stun.extend([7; 16]);
        let stream = [&stun[..], REQUEST].concat();
        let frames = all(&stream).unwrap();
        assert_eq!(frames[0], Frame::Stun(Bytes::from(stun.clone())));
        assert_eq!(frames.len(), 2);
        assert_eq!(classify_datagram(&stun), Datagram::Stun);
    }

    #[test]
    fn content_length_may_be_compact_spaced_and_folded() {
        for line in ["l:3", "CONTENT-LENGTH  :  3  ", "Content-Length:\r\n\t3"] {
            let text = format!("OPTIONS sip:h SIP/2.0\r\n{line}\r\n\r\nabc");
            assert_eq!(all(text.as_bytes()), Ok(vec![Frame::Message(Bytes::from(text.clone()))]), "{line}");
        }
    }

    #[test]
    fn a_stream_that_cannot_be_cut_ends() {
        let with = |line: &str| format!("OPTIONS sip:h SIP/2.0\r\n{line}\r\n\r\n").into_bytes();
        assert_eq!(error(&with("X: 1")), FramingError::NoContentLength);
        for bad in ["l: -1", "l: 1a", "l: 1 2", "l:", "l", "l: 1\r\nl: 2"] {
            assert_eq!(error(&with(bad)), FramingError::BadContentLength, "{bad}");
        }
        assert_eq!(error(&with("l: 99999999999999999999999")), FramingError::TooLarge);
        assert_eq!(error(&with(&"a:b\r\n".repeat(300))), FramingError::TooLarge);
        assert_eq!(error(&[b"OPTIONS sip:h SIP/2.0\r\nX: ", &vec![b'x'; 40_000][..]].concat()), FramingError::TooLarge);
        assert_eq!(error(b"\x16\x03\x01\x02\x00\x01"), FramingError::NotSip);
        assert_eq!(error(b"HTTP/1.1 200 OK\r\n"), FramingError::NotSip);
        assert_eq!(error(&[b'A'; 100]), FramingError::NotSip);
    }

    #[test]
    fn pieces_are_judged_like_the_whole() {
        let long = [b"OPTIONS sip:h SIP/2.0\r\nX: ", &vec![b'x'; 33_000][..], b"\r\nl: 0\r\n\r\n"].concat();
        for (bad, expected) in [
            (&b"OPTIO3-111\nCall-ID: 1\n"[..], FramingError::NotSip),
            (b"GET / HTTP/1.1\r\n\r\n", FramingError::NoContentLength),
            (b"POST\t/ HTTP/1.1\r\n", FramingError::NotSip),
            (&long, FramingError::TooLarge),
        ] {
            let mut framer = Framer::new();
            let by_bytes = bad.iter().find_map(|byte| {
                framer.push(&[*byte]);
                framer.next().err()
            });
            assert_eq!((by_bytes, error(bad)), (Some(expected), expected));
        }
    }

    #[test]
    fn an_error_stays() {
        let mut framer = Framer::new();
        framer.push(b"\x16\x03\x01");
        assert_eq!(framer.next(), Err(FramingError::NotSip));
        framer.push(REQUEST);
        assert_eq!(framer.next(), Err(FramingError::NotSip));
        assert!(framer.is_idle());
    }

    #[test]
    fn datagrams_are_told_apart() {
        for keep_alive in [&b""[..], b"\r\n", b"\0", b"\0\0\0\0", b"jaK", b"hello"] {
            assert_eq!(classify_datagram(keep_alive), Datagram::KeepAlive, "{keep_alive:?}");
        }
        for garbage in [&b"\x80\x00\x12\x34"[..], b"GET / HTTP", b"<xml>\n</xml>", &[0xff; 64]] {
            assert_eq!(classify_datagram(garbage), Datagram::Garbage, "{garbage:?}");
        }
        assert_eq!(classify_datagram(REQUEST), Datagram::Sip);
        assert_eq!(classify_datagram(b"\r\nSIP/2.0 200 OK\r\n\r\n"), Datagram::Sip);
    }
}
