//! Bytes to a message: one pass over the lines, offsets only; errors carry their place.

use super::header::CSeq;
use super::lex::{find_near, is_lws, is_token};
use super::method::Method;
use super::name::HeaderName;
use super::{Address, DIRECT, Kept, Line, Message, Mixed, Span, Start, Top};
use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;
use words::limit::{HEADER_LINES, MESSAGE_BYTES};

/// What keeps bytes from being a message that may be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Neither request nor response: nothing to answer.
    NotSip,
    /// The request line is not `Method SP Request-URI SP SIP-Version` (RFC 3261 §7.1).
    StartLine,
    /// White space, quotes or angle brackets in the Request-URI (RFC 3261 §7.1).
    RequestUri,
    /// A version other than SIP/2.0.
    Version,
    /// A status that is no number from 100 to 699 (RFC 3261 §7.2).
    Status,
    /// A line that is no `name: value`.
    HeaderLine,
    /// It ends in the middle of a header line.
    Incomplete,
    /// More than [`MESSAGE_BYTES`] bytes or [`HEADER_LINES`] lines.
    TooLarge,
    /// A mandatory header is missing (RFC 3261 §8.1.1).
    Missing(HeaderName),
    /// A header that may be there once is there again (RFC 3261 §7.3.1).
    Repeated(HeaderName),
    /// A header whose value breaks its grammar or its range.
    Bad(HeaderName),
    /// The CSeq names another method than the request line (RFC 3261 §8.1.1.5).
    CSeqMethod,
    /// Content-Length promises more than the datagram has (RFC 3261 §18.3).
    BodyShort,
}

/// Bytes that are no message that may be worked on.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{} at byte {at}", self.reason())]
pub struct ParseError {
    /// Where. Units: bytes from the start.
    pub at: usize,
    /// What is wrong.
    pub what: Malformed,
    salvage: Option<Box<Message>>,
}

impl ParseError {
    fn new(at: usize, what: Malformed) -> Self {
        ParseError { at, what, salvage: None }
    }

    /// The status that answers it: 400, 505 or 513.
    pub const fn status(&self) -> u16 {
        match self.what {
            Malformed::Version => 505,
            Malformed::TooLarge => 513,
            Malformed::NotSip
            | Malformed::StartLine
            | Malformed::RequestUri
            | Malformed::Status
            | Malformed::HeaderLine
            | Malformed::Incomplete
            | Malformed::Missing(_)
            | Malformed::Repeated(_)
            | Malformed::Bad(_)
            | Malformed::CSeqMethod
            | Malformed::BodyShort => 400,
        }
    }

    /// The reason phrase of that answer: names the header.
    pub const fn reason(&self) -> &'static str {
        match self.what {
            Malformed::NotSip => "Not SIP",
            Malformed::StartLine => "Bad Request Line",
            Malformed::RequestUri => "Bad Request-URI",
            Malformed::Version => "Version Not Supported",
            Malformed::Status => "Bad Status",
            Malformed::HeaderLine => "Bad Header Line",
            Malformed::Incomplete => "Incomplete Header",
            Malformed::TooLarge => "Message Too Large",
            Malformed::Missing(name) => name.missing(),
            Malformed::Repeated(name) => name.repeated(),
            Malformed::Bad(name) => name.bad(),
            Malformed::CSeqMethod => "CSeq Method Differs From Request",
            Malformed::BodyShort => "Content-Length Exceeds Body",
        }
    }

    /// What could be read of a request that has at least a Via: enough to build a stateless answer from. `None` for
    /// responses, for ACK (RFC 3261 §17: never answered) and for what has no Via; these are dropped.
    pub fn salvage(&self) -> Option<&Message> {
        self.salvage.as_deref()
    }
}

/// See [`Message::parse`].
pub(super) fn parse(bytes: Bytes) -> Result<Message, ParseError> {
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    // RFC 3261 §7.5: empty lines before the start line are ignored.
    let bytes = if blank == 0 { bytes } else { bytes.slice(blank..) };
    if bytes.len() > MESSAGE_BYTES {
        return Err(ParseError::new(MESSAGE_BYTES, Malformed::TooLarge));
    }
    let bytes = match scan(&bytes) {
        Ok(scan) => return scan.finish(bytes),
        Err(Detour::Stop(error)) => return Err(error),
        Err(Detour::Rewrite) => rewrite(&bytes),
    };
    if bytes.len() > MESSAGE_BYTES {
        return Err(ParseError::new(MESSAGE_BYTES, Malformed::TooLarge));
    }
    match scan(&bytes) {
        Ok(scan) => scan.finish(bytes),
        Err(Detour::Stop(error)) => Err(error),
        Err(Detour::Rewrite) => Err(ParseError::new(0, Malformed::HeaderLine)),
    }
}

/// Why a scan ended before its end.
enum Detour {
    /// Folded lines, or a head that is not UTF-8: a rewritten copy is read instead.
    Rewrite,
    Stop(ParseError),
}

/// What one pass finds.
struct Scan {
    start: Start,
    lines: SmallVec<[Line; 24]>,
    direct: [u16; DIRECT],
    body_at: usize,
    /// Whether all of it is ASCII.
    ascii: bool,
    /// The first thing that is wrong, while the rest is still read for the answer.
    problem: Option<(usize, Malformed)>,
}

fn scan(data: &[u8]) -> Result<Scan, Detour> {
    let (start_end, mut at) = line_end(data, 0).ok_or(Detour::Stop(ParseError::new(0, Malformed::NotSip)))?;
    let (start, problem) = read_start(data, start_end).map_err(Detour::Stop)?;
    let mut scan = Scan {
        start,
        lines: SmallVec::new(),
        direct: [0; DIRECT],
        body_at: data.len(),
        ascii: false,
        problem: problem.map(|p| (0, p)),
    };
    loop {
        let Some((end, next)) = line_end(data, at) else {
            // A datagram that ends with its last header line lacks nothing that anybody could mistake; RFC 5118's own
            // archive has such messages.
            if at < data.len() {
                scan.note(at, Malformed::Incomplete);
            }
            break;
        };
        if end == at {
            scan.body_at = next;
            break;
        }
        if is_lws(data[at]) {
            return Err(Detour::Rewrite);
        }
        scan.read_line(data, at, end);
        at = next;
    }
    scan.ascii = data.is_ascii();
    if !scan.ascii && std::str::from_utf8(&data[..scan.body_at]).is_err() {
        return Err(Detour::Rewrite);
    }
    Ok(scan)
}

/// Where the line that starts at `at` ends, without and with its line end. A bare LF ends a line too.
fn line_end(data: &[u8], at: usize) -> Option<(usize, usize)> {
    let lf = at + memchr::memchr(b'\n', data.get(at..)?)?;
    let end = if lf > at && data[lf - 1] == b'\r' { lf - 1 } else { lf };
    Some((end, lf + 1))
}

impl Scan {
    fn note(&mut self, at: usize, what: Malformed) {
        self.problem.get_or_insert((at, what));
    }

    /// Takes one header line into the index.
    fn read_line(&mut self, data: &[u8], at: usize, end: usize) {
        let Some(colon) = find_near(&data[at..end], b':') else { return self.note(at, Malformed::HeaderLine) };
        let mut value_at = at + colon + 1;
        let mut length = colon;
        while length > 0 && is_lws(data[at + length - 1]) {
            length -= 1;
        }
        let written = &data[at..at + length];
        let name = HeaderName::from_bytes(written);
        // A name that we know has only token characters.
        if name == HeaderName::Other && (!(1..=255).contains(&length) || !written.iter().all(|b| is_token(*b))) {
            return self.note(at, Malformed::HeaderLine);
        }
        if self.lines.len() == HEADER_LINES {
            return self.note(at, Malformed::TooLarge);
        }
        while value_at < end && is_lws(data[value_at]) {
            value_at += 1;
        }
        let mut value_end = end;
        while value_end > value_at && is_lws(data[value_end - 1]) {
            value_end -= 1;
        }
        self.lines.push(Line {
            name,
            name_length: length as u8,
            name_at: at as u16,
            value: Span { at: value_at as u16, end: value_end as u16 },
        });
        if (name as usize) < DIRECT {
            let direct = &mut self.direct[name as usize];
            if *direct == 0 {
                *direct = self.lines.len() as u16;
            } else if is_single(name) {
                self.note(at, Malformed::Repeated(name));
            }
        }
    }

    fn value<'a>(&self, data: &'a [u8], name: HeaderName) -> Option<(usize, &'a [u8])> {
        let line = &self.lines[usize::from(self.direct[name as usize]).checked_sub(1)?];
        Some((usize::from(line.name_at), line.value.of(data)))
    }

    /// Checks what every message must have, and settles where the body ends.
    fn finish(mut self, mut bytes: Bytes) -> Result<Message, ParseError> {
        for name in MANDATORY {
            if self.direct[name as usize] == 0 {
                self.note(self.body_at, Malformed::Missing(name));
            }
        }
        self.check_cseq(&bytes);
        if let Some((at, value)) = self.value(&bytes, HeaderName::MaxForwards)
            && self.start.status == 0
            && digits(value, 255).is_none()
        {
            self.note(at, Malformed::Bad(HeaderName::MaxForwards));
        }
        let body_end = self.body_end(&bytes);
        // What follows the body of a datagram is nobody's (RFC 3261 §18.3); it would only be kept alive.
        bytes.truncate(body_end);
        let Scan { start, lines, direct, body_at, ascii, problem } = self;
        let (top, from, to) = (Top::default(), Address::default(), Address::default());
        let kept = Kept::of(bytes, body_at, ascii);
        let mut message = Message { body_at: body_at as u16, kept, start, lines, direct, top, from, to };
        message.read_ahead();
        let Some((at, what)) = problem else { return Ok(message) };
        let answerable = message.is_request()
            && message.start.method != Method::Ack
            && message.direct[HeaderName::Via as usize] != 0;
        Err(ParseError { at, what, salvage: answerable.then(|| Box::new(message)) })
    }

    fn check_cseq(&mut self, bytes: &Bytes) {
        let Some((at, value)) = self.value(bytes, HeaderName::CSeq) else { return };
        let parsed = std::str::from_utf8(value).ok().and_then(|value| CSeq::parse(value).ok());
        let Some((cseq, token)) = parsed else {
            return self.note(at, Malformed::Bad(HeaderName::CSeq));
        };
        self.start.cseq = cseq.number;
        if self.start.status != 0 {
            self.start.method = cseq.method;
            let end = self.lines[usize::from(self.direct[HeaderName::CSeq as usize]) - 1].value.end;
            self.start.token = Span { at: end - token.len() as u16, end };
        } else if self.start.token.of(bytes) != token.as_bytes() {
            self.note(at, Malformed::CSeqMethod);
        }
    }

    fn body_end(&mut self, bytes: &Bytes) -> usize {
        let Some((at, value)) = self.value(bytes, HeaderName::ContentLength) else { return bytes.len() };
        match digits(value, MESSAGE_BYTES as u32) {
            None => self.note(at, Malformed::Bad(HeaderName::ContentLength)),
            Some(length) if self.body_at + length as usize > bytes.len() => self.note(at, Malformed::BodyShort),
            Some(length) => return self.body_at + length as usize,
        }
        bytes.len()
    }
}

impl Kept {
    /// Of a message whose head is UTF-8.
    fn of(bytes: Bytes, body_at: usize, ascii: bool) -> Kept {
        if ascii {
            return Kept::Text(ByteString::try_from(bytes).expect("ASCII is UTF-8"));
        }
        let head = ByteString::try_from(bytes.slice(..body_at)).expect("a scan ends well with a head of UTF-8 alone");
        match ByteString::try_from(bytes.clone()) {
            Ok(text) => Kept::Text(text),
            Err(_) => Kept::Mixed(Box::new(Mixed { head, whole: bytes })),
        }
    }
}

/// A decimal number up to `most`, leading zeros allowed.
fn digits(value: &[u8], most: u32) -> Option<u32> {
    let number = value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        Some((number * 10 + u64::from(digit)).min(u64::from(u32::MAX)))
    });
    number.filter(|number| !value.is_empty() && *number <= u64::from(most)).map(|number| number as u32)
}

/// Headers that a message has once (RFC 3261 §7.3.1, §20).
const fn is_single(name: HeaderName) -> bool {
    matches!(
        name,
        HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::MaxForwards
            | HeaderName::ContentLength
            | HeaderName::ContentType
            | HeaderName::Expires
    )
}

/// In the order in which the 400 names them (RFC 3261 §8.1.1; without Max-Forwards, which RFC 2543 did not have).
const MANDATORY: [HeaderName; 5] =
    [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];

/// Reads the start line, which ends at `end`.
fn read_start(data: &[u8], end: usize) -> Result<(Start, Option<Malformed>), ParseError> {
    let line = &data[..end];
    if line.len() > 7 && line[..8].eq_ignore_ascii_case(b"SIP/2.0 ") {
        return read_status_line(line);
    }
    let token_end = line.iter().position(|b| !is_token(*b)).unwrap_or(line.len());
    let last = memchr::memrchr(b' ', line).unwrap_or(0);
    let mut start = Start { token: Span { at: 0, end: token_end as u16 }, ..Start::default() };
    if token_end == 0 || line.get(token_end) != Some(&b' ') {
        return Err(ParseError::new(0, Malformed::NotSip));
    }
    start.method = std::str::from_utf8(&line[..token_end]).map_or(Method::Other, Method::parse);
    let version = &line[last + 1..];
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        return match version.get(..4) {
            Some(name) if name.eq_ignore_ascii_case(b"SIP/") => Ok((start, Some(Malformed::Version))),
            _ if memchr::memmem::find(line, b" SIP/2.0").is_some() => Ok((start, Some(Malformed::StartLine))),
            _ => Err(ParseError::new(last, Malformed::NotSip)),
        };
    }
    let uri = line.get(token_end + 1..last).unwrap_or(&[]);
    if uri.is_empty() || uri.iter().any(|b| *b <= b' ' || matches!(b, b'<' | b'>' | b'"')) {
        return Ok((start, Some(Malformed::RequestUri)));
    }
    start.uri = Span { at: token_end as u16 + 1, end: last as u16 };
    Ok((start, None))
}

fn read_status_line(line: &[u8]) -> Result<(Start, Option<Malformed>), ParseError> {
    let digits_end = memchr::memchr(b' ', &line[8..]).map_or(line.len(), |at| 8 + at);
    let status = digits(&line[8..digits_end], 699).filter(|status| *status >= 100);
    let Some(status) = status.filter(|_| digits_end == 11) else {
        return Err(ParseError::new(8, Malformed::Status));
    };
    // RFC 4475 §3.1.1.13: the reason phrase may be empty; some leave out the space before it as well.
    let reason = Span { at: line.len().min(digits_end + 1) as u16, end: line.len() as u16 };
    Ok((Start { status: status as u16, uri: reason, ..Start::default() }, None))
}

/// A copy in which folded lines are one line (RFC 3261 §7.3.1) and the head is UTF-8: bytes that are not are read as
/// Latin-1, as old phones write it.
fn rewrite(bytes: &[u8]) -> Bytes {
    let mut head_end = bytes.len();
    let mut at = 0;
    while let Some((end, next)) = line_end(bytes, at) {
        if end == at {
            head_end = next;
            break;
        }
        at = next;
    }
    let mut out = Vec::with_capacity(bytes.len() + 64);
    for chunk in bytes[..head_end].utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            out.extend_from_slice(char::from(*byte).encode_utf8(&mut [0; 2]).as_bytes());
        }
    }
    for at in 1..out.len() {
        if out[at - 1] == b'\n' && is_lws(out[at]) {
            out[at - 1] = b' ';
            if at > 1 && out[at - 2] == b'\r' {
                out[at - 2] = b' ';
            }
        }
    }
    out.extend_from_slice(&bytes[head_end..]);
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\n";

    fn request(more: &str) -> Result<Message, ParseError> {
        Message::parse(Bytes::from(format!("INVITE sip:b@h SIP/2.0\r\n{HEAD}CSeq: 1 INVITE\r\n{more}")))
    }

    fn start(line: &str) -> Result<Message, ParseError> {
        Message::parse(Bytes::from(format!("{line}\r\n{HEAD}CSeq: 1 INVITE\r\n\r\n")))
    }

    fn why(result: &Result<Message, ParseError>) -> (u16, &'static str, bool) {
        let error = result.as_ref().unwrap_err();
        (error.status(), error.reason(), error.salvage().is_some())
    }

    #[test]
    fn each_missing_header_is_named() {
        for line in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let whole = format!("INVITE sip:b@h SIP/2.0\r\n{HEAD}CSeq: 1 INVITE\r\n\r\n");
            let without: String = whole.split_inclusive('\n').filter(|l| !l.starts_with(&format!("{line}:"))).collect();
            let result = Message::parse(Bytes::from(without));
            assert_eq!(why(&result), (400, HeaderName::parse(line).missing(), line != "Via"));
        }
    }

    #[test]
    fn repeated_and_unreadable_headers_are_named() {
        for (more, reason) in [
            ("t: <sip:c@h>\r\n\r\n", "Repeated To"),
            ("l: 0\r\nContent-Length: 0\r\n\r\n", "Repeated Content-Length"),
            ("Content-Length: -1\r\n\r\n", "Bad Content-Length"),
            ("Content-Length:\r\n\r\n", "Bad Content-Length"),
            ("Content-Length: 5\r\n\r\nbody", "Content-Length Exceeds Body"),
            ("Content-Length: 4294967300\r\n\r\nbody", "Bad Content-Length"),
            ("Max-Forwards: 256\r\n\r\n", "Bad Max-Forwards"),
            ("Max-Forwards: 7O\r\n\r\n", "Bad Max-Forwards"),
            ("nonsense\r\n\r\n", "Bad Header Line"),
            (": x\r\n\r\n", "Bad Header Line"),
            ("a b: x\r\n\r\n", "Bad Header Line"),
            ("Subject: cut", "Incomplete Header"),
        ] {
            assert_eq!(why(&request(more)), (400, reason, true), "{more}");
        }
    }

    #[test]
    fn start_lines_are_strict() {
        for (line, expected) in [
            ("INVITE  sip:b@h SIP/2.0", (400, "Bad Request-URI", true)),
            ("INVITE <sip:b@h> SIP/2.0", (400, "Bad Request-URI", true)),
            ("INVITE SIP/2.0", (400, "Bad Request-URI", true)),
            ("INVITE sip:b@h SIP/2.0 ", (400, "Bad Request Line", true)),
            ("INVITE sip:b@h SIP/7.0", (505, "Version Not Supported", true)),
            ("INVITE sip:b@h HTTP/1.1", (400, "Not SIP", false)),
            ("INVITE", (400, "Not SIP", false)),
            ("@INVITE sip:b@h SIP/2.0", (400, "Not SIP", false)),
            ("SIP/2.0 99 Low", (400, "Bad Status", false)),
            ("SIP/2.0 700 High", (400, "Bad Status", false)),
            ("SIP/2.0 4294967301 Big", (400, "Bad Status", false)),
            ("SIP/2.0 0200 OK", (400, "Bad Status", false)),
        ] {
            assert_eq!(why(&start(line)), expected, "{line}");
        }
        assert_eq!(start("sip/2.0 200 Sehr Schön").unwrap().reason(), "Sehr Schön");
        assert_eq!(start("SIP/2.0 200").unwrap().reason(), "");
        assert_eq!(start("SIP/2.0 180 ").unwrap().method(), Method::Invite);
    }

    #[test]
    fn a_bad_ack_and_a_bad_answer_leave_nothing_to_answer() {
        let ack = Message::parse(Bytes::from(format!("ACK sip:b@h SIP/2.0\r\n{HEAD}CSeq: x\r\n\r\n")));
        assert_eq!(why(&ack), (400, "Bad CSeq", false));
        let answer = Message::parse(Bytes::from(format!("SIP/2.0 200 OK\r\n{HEAD}\r\n")));
        assert_eq!(why(&answer), (400, "Missing CSeq", false));
    }

    #[test]
    fn the_body_ends_where_content_length_says() {
        assert_eq!(request("\r\nrest").unwrap().body(), b"rest");
        let message = request("l: 004\r\n\r\nbodyINVITE sip:x SIP/2.0\r\n").unwrap();
        assert_eq!(message.body(), b"body");
        assert!(message.bytes().ends_with(b"\r\n\r\nbody"));
        assert_eq!(message.body_bytes(), message.body());
    }

    #[test]
    fn folds_become_spaces_and_latin_1_becomes_utf_8() {
        let mut bytes = format!("INVITE sip:b@h SIP/2.0\r\n{HEAD}CSeq: 1\r\n INVITE\r\n").into_bytes();
        bytes.extend_from_slice(b"Subject: J\xfcrgen\r\n\t\xd1\x8f \xe9\r\nX: y\r\n\r\nb\xff\r\n z");
        let message = Message::parse(Bytes::from(bytes)).unwrap();
        assert_eq!(message.cseq().unwrap().method, Method::Invite);
        assert_eq!(message.header(HeaderName::Subject), Some("Jürgen  \tя é"));
        assert_eq!(message.raw_header("x"), Some("y"));
        assert_eq!(message.body(), b"b\xff\r\n z");
    }

    #[test]
    fn bare_line_feeds_and_leading_empty_lines_are_taken() {
        let text = format!("\r\n\n\r\nINVITE sip:b@h SIP/2.0\n{}CSeq: 1 INVITE\n\nbody", HEAD.replace('\r', ""));
        assert_eq!(Message::parse(Bytes::from(text)).unwrap().body(), b"body");
    }

    #[test]
    fn limits_hold_before_work_is_done() {
        assert_eq!(why(&request(&format!("\r\n{}", "x".repeat(MESSAGE_BYTES)))), (513, "Message Too Large", false));
        assert!(request(&"X: y\r\n".repeat(HEADER_LINES - 5)).is_ok());
        assert_eq!(why(&request(&"X: y\r\n".repeat(HEADER_LINES - 4))), (513, "Message Too Large", true));
        let grown = [b"Subject: ".as_slice(), &vec![0xe9; 40_000], b"\r\n\r\n"].concat();
        let bytes = [format!("INVITE sip:b@h SIP/2.0\r\n{HEAD}CSeq: 1 INVITE\r\n").into_bytes(), grown].concat();
        assert_eq!(why(&Message::parse(Bytes::from(bytes))), (513, "Message Too Large", false));
    }

    #[test]
    fn errors_say_where() {
        let error = request("Max-Forwards: x\r\n\r\n").unwrap_err();
        assert_eq!(error.at, 24 + HEAD.len() + 16);
        assert_eq!(error.to_string(), format!("Bad Max-Forwards at byte {}", error.at));
    }
}
