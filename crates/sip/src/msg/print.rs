//! Values to bytes.

use super::Message;
use super::glance::Glance;
use super::header::Via;
use super::lex::find_near;
use super::method::reason_phrase;
use super::name::HeaderName;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use words::Flow;

/// Builds a message from its first byte to its last; nothing is stored in between.
///
/// Values go in unchecked, except that CR, LF and NUL become spaces: no value can add a header.
///
/// ```
/// use sip::{HeaderName, MessageBuilder};
/// let bytes = MessageBuilder::request("BYE", "sip:a@h")
///     .header(HeaderName::Subject, "x\r\nEvil: y")
///     .finish_with_via("SIP/2.0/UDP h;branch=z9hG4bK1", None);
/// assert_eq!(
///     &bytes[..],
///     b"BYE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nSubject: x  Evil: y\r\nContent-Length: 0\r\n\r\n"
/// );
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageBuilder {
    out: Vec<u8>,
    /// Where the headers start: right after the start line.
    headers_at: usize,
    /// The value of the topmost Via of a response, while nobody changed it.
    via: Option<(usize, usize)>,
}

impl MessageBuilder {
    /// A request without any header.
    pub fn request(method: &str, uri: &str) -> Self {
        let mut builder = MessageBuilder::empty(ROOM_BYTES);
        builder.push(method);
        builder.out.push(b' ');
        builder.push(uri);
        builder.end_start_line(b" SIP/2.0\r\n");
        builder
    }

    /// A response: all Via, From, To, Call-ID and CSeq of the request (RFC 3261 §8.2.6.2). `to_tag` is added where
    /// the request's To has none. An empty `reason` is the standard one.
    pub fn response(request: &Message, status: u16, reason: &str, to_tag: Option<&str>) -> Self {
        let mut builder = MessageBuilder::status(status, reason);
        for via in request.header_bytes(HeaderName::Via) {
            builder.push_value(HeaderName::Via, via);
            let end = builder.out.len() - 2;
            builder.via.get_or_insert((end - via.len(), end));
        }
        builder.push_copy(request, HeaderName::From);
        if let Some(to) = request.header_bytes(HeaderName::To).next() {
            builder.push_to(to, to_tag.filter(|_| request.to_tag().is_none()));
        }
        builder.push_copy(request, HeaderName::CallId);
        builder.push_copy(request, HeaderName::CSeq);
        builder
    }

    /// As [`MessageBuilder::response_via`], to a request that was only looked at.
    pub(crate) fn response_at_sight(
        request: &Glance<'_>,
        flow: &Flow,
        status: u16,
        reason: &str,
        to_tag: &str,
    ) -> Self {
        let mut builder = MessageBuilder::status(status, reason);
        let mut stamped = SmallVec::new();
        let top = request.top.as_bytes();
        let is_stamped = !is_exact(top, flow) && stamp(request.top, &request.via, flow, &mut stamped);
        let first = if is_stamped { &stamped } else { top };
        builder.push_value(HeaderName::Via, first);
        for via in &request.vias[1..] {
            builder.push_value(HeaderName::Via, via);
        }
        builder.push_value(HeaderName::From, request.from);
        builder.push_to(request.to, Some(to_tag));
        builder.push_value(HeaderName::CallId, request.call_id);
        builder.push_value(HeaderName::CSeq, request.cseq);
        builder
    }

    fn status(status: u16, reason: &str) -> Self {
        let mut builder = MessageBuilder::empty(ROOM_BYTES);
        builder.out.extend_from_slice(b"SIP/2.0 ");
        builder.push_number(u32::from(status));
        builder.out.push(b' ');
        builder.push(if reason.is_empty() { reason_phrase(status) } else { reason });
        builder.end_start_line(b"\r\n");
        builder
    }

    fn push_to(&mut self, to: &[u8], tag: Option<&str>) {
        self.push_value(HeaderName::To, to);
        if let Some(tag) = tag {
            self.out.truncate(self.out.len() - 2);
            self.out.extend_from_slice(b";tag=");
            self.push(tag);
            self.end_line();
        }
    }

    /// In a response: writes into the topmost Via where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn stamp_via(mut self, flow: &Flow) -> Self {
        let Some((at, end)) = self.via.take() else { return self };
        if is_exact(&self.out[at..end], flow) {
            return self;
        }
        let Ok(value) = std::str::from_utf8(&self.out[at..end]) else { return self };
        let Ok((via, first_end)) = Via::parse_prefix(value) else { return self };
        let mut stamped = SmallVec::new();
        if stamp(&value[..first_end], &via, flow, &mut stamped) {
            self.replace(at, at + first_end, &stamped);
        }
        self
    }

    /// [`MessageBuilder::response`] and [`MessageBuilder::stamp_via`] in one.
    pub fn response_via(request: &Message, flow: &Flow, status: u16, reason: &str, to_tag: Option<&str>) -> Self {
        MessageBuilder::response(request, status, reason, to_tag).stamp_via(flow)
    }

    /// Adds a header line. [`HeaderName::Other`] has no name to write, so nothing is added for it: see
    /// [`MessageBuilder::raw`].
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.push_header(name, value);
        self
    }

    /// [`MessageBuilder::header`] without moving the builder.
    pub fn push_header(&mut self, name: HeaderName, value: &str) {
        if name != HeaderName::Other {
            self.start_known(name);
            self.push(value);
            self.end_line();
        }
    }

    /// Adds a header unless the whole message could then be longer than `most`, its end and what a Via is stamped with
    /// counted. Strangers who forge their address must not make us send much more than they send.
    pub fn header_within(self, most: usize, name: HeaderName, value: &str) -> Self {
        let length = self.out.len() + name.canonical().len() + value.len() + LINE_BYTES + END_BYTES;
        if length <= most { self.header(name, value) } else { self }
    }

    /// Adds a header line whose value is formatted into place: `format_args!("…")`.
    pub fn header_fmt(mut self, name: HeaderName, value: fmt::Arguments<'_>) -> Self {
        self.push_header_fmt(name, value);
        self
    }

    /// [`MessageBuilder::header_fmt`] without moving the builder.
    pub fn push_header_fmt(&mut self, name: HeaderName, value: fmt::Arguments<'_>) {
        if name != HeaderName::Other {
            self.start_known(name);
            // A value's own `Display` may give up; what it wrote so far stays.
            let _ = Clean(self).write_fmt(value);
            self.end_line();
        }
    }

    /// Adds a header line with a number.
    pub fn header_number(mut self, name: HeaderName, value: u32) -> Self {
        if name != HeaderName::Other {
            self.start_known(name);
            self.push_number(value);
            self.end_line();
        }
        self
    }

    /// Adds the CSeq of a request (RFC 3261 §20.16).
    pub fn cseq(mut self, number: u32, method: &str) -> Self {
        self.start_known(HeaderName::CSeq);
        self.push_number(number);
        self.out.push(b' ');
        self.push(method);
        self.end_line();
        self
    }

    /// Adds a header line with a name that has no [`HeaderName`].
    pub fn raw(mut self, name: &str, value: &str) -> Self {
        self.start_line(name);
        self.push(value);
        self.end_line();
        self
    }

    /// Copies all lines of that name. Nothing for [`HeaderName::Other`].
    pub fn copy(mut self, from: &Message, name: HeaderName) -> Self {
        self.push_copy(from, name);
        self
    }

    /// [`MessageBuilder::copy`] without moving the builder.
    pub fn push_copy(&mut self, from: &Message, name: HeaderName) {
        if name != HeaderName::Other {
            for value in from.header_bytes(name) {
                self.push_value(name, value);
            }
        }
    }

    /// Ends it without a body.
    pub fn finish(mut self) -> Bytes {
        self.end_head(None);
        self.bytes()
    }

    /// Ends it with a body.
    pub fn finish_with_body(mut self, content_type: &str, body: &[u8]) -> Bytes {
        self.end_head(Some((content_type, body)));
        self.bytes()
    }

    /// Ends a request, with a Via right after its start line.
    pub fn finish_with_via(mut self, via: &str, body: Option<(&str, &[u8])>) -> Bytes {
        let at = self.headers_at;
        let mut line: SmallVec<[u8; 256]> = SmallVec::from_slice(b"Via: ");
        line.extend_from_slice(via.as_bytes());
        clean(&mut line);
        line.extend_from_slice(b"\r\n");
        self.replace(at, at, &line);
        self.end_head(body);
        self.bytes()
    }

    /// An exact copy: a message may be kept for its retransmissions, and the roomy buffer is the next message's.
    fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.out)
    }

    fn empty(capacity: usize) -> Self {
        MessageBuilder { out: Vec::with_capacity(capacity), headers_at: 0, via: None }
    }

    fn end_start_line(&mut self, end: &[u8]) {
        self.out.extend_from_slice(end);
        self.headers_at = self.out.len();
    }

    fn start_line(&mut self, name: &str) {
        self.push(name);
        self.out.extend_from_slice(b": ");
    }

    /// A line as it stood in a message.
    fn push_value(&mut self, name: HeaderName, value: &[u8]) {
        self.start_known(name);
        self.push_clean(value);
        self.end_line();
    }

    /// As [`MessageBuilder::start_line`], for a name that is known to be clean.
    fn start_known(&mut self, name: HeaderName) {
        self.out.extend_from_slice(name.canonical().as_bytes());
        self.out.extend_from_slice(b": ");
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// Content-Type, Content-Length, the empty line and the body.
    fn end_head(&mut self, body: Option<(&str, &[u8])>) {
        let (content_type, body) = body.unwrap_or(("", b""));
        if !content_type.is_empty() {
            self.push_header(HeaderName::ContentType, content_type);
        }
        self.out.reserve(32 + body.len());
        self.out.extend_from_slice(b"Content-Length: ");
        self.push_number(body.len() as u32);
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(body);
    }

    /// Writes the text, with a space for each byte that would end a line.
    fn push(&mut self, text: &str) {
        self.push_clean(text.as_bytes());
    }

    fn push_clean(&mut self, text: &[u8]) {
        let at = self.out.len();
        self.out.extend_from_slice(text);
        clean(&mut self.out[at..]);
    }

    fn push_number(&mut self, number: u32) {
        self.out.extend_from_slice(Digits::of(number).as_bytes());
    }

    /// Puts `new` in place of what stands from `at` to `end`.
    fn replace(&mut self, at: usize, end: usize, new: &[u8]) {
        let (tail, moved) = (self.out.len(), at + new.len());
        if moved > end {
            self.out.resize(tail + (moved - end), 0);
        }
        self.out.copy_within(end..tail, moved);
        self.out.truncate(moved + (tail - end));
        self.out[at..moved].copy_from_slice(new);
    }
}

/// Whether a Via says plainly where the request came from and asks for nothing: nearly every one of a peer's does, and
/// need not be read. `false` does not mean that it must be stamped.
fn is_exact(value: &[u8], flow: &Flow) -> bool {
    let IpAddr::V4(ip) = flow.remote.ip() else { return false };
    let Some(mut rest) = find_near(value, b' ').map(|space| &value[space + 1..]) else { return false };
    for (n, octet) in ip.octets().into_iter().enumerate() {
        let dot: &[u8] = if n == 0 { b"" } else { b"." };
        let after = rest.strip_prefix(dot).and_then(|rest| rest.strip_prefix(Digits::of(u32::from(octet)).as_bytes()));
        let Some(after) = after else { return false };
        rest = after;
    }
    if !matches!(rest.first(), None | Some(b':' | b';')) {
        return false;
    }
    // `rport`, `received`, or anything else that begins so.
    memchr::memchr_iter(b';', rest).all(|at| !matches!(rest.get(at + 1), Some(b'r' | b'R' | b' ' | b'\t')))
}

/// Writes a Via with where the request really came from; `false` when it says so already.
fn stamp(value: &str, via: &Via<'_>, flow: &Flow, stamped: &mut SmallVec<[u8; 256]>) -> bool {
    let remote = flow.remote.ip().to_canonical();
    // Nothing before the parameters can have a semicolon.
    let sent_by = &value[..find_near(value.as_bytes(), b';').unwrap_or(value.len())];
    stamped.extend_from_slice(sent_by.trim_ascii_end().as_bytes());
    let (mut wants_port, mut was_received) = (false, false);
    let mut params = via.params.iter();
    while let Some(param) = params.next_raw() {
        let param = param.as_bytes();
        let name = param.split(|byte| matches!(byte, b'=' | b' ' | b'\t')).next().unwrap_or(param);
        if name.eq_ignore_ascii_case(b"rport") {
            wants_port = true;
        } else if name.eq_ignore_ascii_case(b"received") {
            was_received = true;
        } else {
            stamped.push(b';');
            stamped.extend_from_slice(param);
        }
    }
    let differs = wants_port || via.host_ip().map(|ip| ip.to_canonical()) != Some(remote);
    if differs {
        stamped.extend_from_slice(b";received=");
        match remote {
            IpAddr::V4(ip) => push_ipv4(stamped, ip),
            IpAddr::V6(ip) => stamped.extend_from_slice(ip.to_string().as_bytes()),
        }
    }
    if wants_port {
        stamped.extend_from_slice(b";rport=");
        stamped.extend_from_slice(Digits::of(u32::from(flow.remote.port())).as_bytes());
    }
    differs || was_received
}

/// A number in decimal digits, without an allocation.
struct Digits {
    digits: [u8; 10],
    at: usize,
}

impl Digits {
    fn of(mut number: u32) -> Self {
        let (mut digits, mut at) = ([b'0'; 10], 10);
        loop {
            at -= 1;
            digits[at] += (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Digits { digits, at };
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[self.at..]
    }
}

fn push_ipv4(out: &mut SmallVec<[u8; 256]>, ip: Ipv4Addr) {
    for (n, octet) in ip.octets().into_iter().enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(Digits::of(u32::from(octet)).as_bytes());
    }
}

/// Puts a space in place of each byte that would end a line.
fn clean(bytes: &mut [u8]) {
    if may_end_line(bytes) {
        for byte in bytes.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            *byte = b' ';
        }
    }
}

/// Whether CR, LF or NUL may be among the bytes. Eight at a look; the last look overlaps the one before.
fn may_end_line(bytes: &[u8]) -> bool {
    /// Marks bytes below 14: the three, and a few controls that a closer look lets pass.
    fn is_low(word: u64) -> bool {
        const ONES: u64 = 0x0101_0101_0101_0101;
        word.wrapping_sub(ONES * 14) & !word & (ONES * 128) != 0
    }
    match bytes.last_chunk::<8>() {
        Some(last) => {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().chain([last]).any(|word| is_low(u64::from_le_bytes(*word)))
        }
        None => bytes.iter().any(|b| *b < 14),
    }
}

/// Lets formatting write into a builder.
struct Clean<'a>(&'a mut MessageBuilder);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push(text);
        Ok(())
    }
}

/// A request without Via, or a response, with its body: what a transaction user hands to the endpoint, which finishes
/// it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outgoing {
    /// Start line and headers.
    pub builder: MessageBuilder,
    /// Content type and body.
    #[serde(with = "body")]
    pub body: Option<(&'static str, Bytes)>,
}

impl Outgoing {
    /// Without a body.
    pub fn new(builder: MessageBuilder) -> Self {
        Outgoing { builder, body: None }
    }

    /// With a body.
    pub fn with_body(builder: MessageBuilder, content_type: &'static str, body: Bytes) -> Self {
        Outgoing { builder, body: Some((content_type, body)) }
    }

    /// Ends a response (or a request that has its Via).
    pub fn finish(self) -> Bytes {
        match self.body {
            None => self.builder.finish(),
            Some((content_type, body)) => self.builder.finish_with_body(content_type, &body),
        }
    }

    /// Ends a response that goes back over `flow`.
    pub fn finish_response(self, flow: &Flow) -> Bytes {
        Outgoing { builder: self.builder.stamp_via(flow), body: self.body }.finish()
    }

    /// Ends a request with its Via.
    pub fn finish_with_via(self, via: &str) -> Bytes {
        let Outgoing { builder, body } = self;
        builder.finish_with_via(via, body.as_ref().map(|(content_type, body)| (*content_type, &body[..])))
    }
}

impl From<MessageBuilder> for Outgoing {
    fn from(builder: MessageBuilder) -> Self {
        Outgoing::new(builder)
    }
}

/// A body in a snapshot. Its type is one of those that the exchange writes.
mod body {
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    type Body = Option<(&'static str, Bytes)>;

    pub(super) fn serialize<S: Serializer>(body: &Body, serializer: S) -> Result<S::Ok, S::Error> {
        body.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Body, D::Error> {
        let Some((written, bytes)) = Option::<(String, Bytes)>::deserialize(deserializer)? else { return Ok(None) };
        let known = KEPT.into_iter().find(|known| *known == written);
        known
            .map(|known| Some((known, bytes)))
            .ok_or_else(|| D::Error::custom("a content type that no message of ours has while it waits"))
    }

    /// What messages carry that are kept before they are sent.
    const KEPT: [&str; 1] = ["application/sdp"];
}

/// What nearly every message finds room in, its body included. Units: bytes.
const ROOM_BYTES: usize = 1_500;

/// What a header line has beside name and value. Units: bytes.
const LINE_BYTES: usize = 4;

/// Content-Length, the empty line, and `received` and `rport` of the longest address. Units: bytes.
const END_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use words::{ConnectionId, Transport};

    fn flow(remote: &str) -> Flow {
        Flow {
            transport: Transport::Udp,
            listener: 0,
            connection: ConnectionId::NONE,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    fn request(vias: &str) -> Message {
        let text = format!(
            "OPTIONS sip:h SIP/2.0\r\n{vias}From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 7 OPTIONS\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn stamped(via: &str, remote: &str) -> String {
        let request = request(&format!("Via: {via}\r\n"));
        let answer = MessageBuilder::response_via(&request, &flow(remote), 200, "", Some("t")).finish();
        Message::parse(answer).unwrap().header(HeaderName::Via).unwrap().to_owned()
    }

    #[test]
    fn a_response_carries_what_the_request_had() {
        let request = request("Via: SIP/2.0/UDP h;branch=1, SIP/2.0/UDP i;branch=2\r\nv: SIP/2.0/TCP j;branch=3\r\n");
        let answer = MessageBuilder::response(&request, 180, "", Some("t")).finish();
        let expected = "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP h;branch=1, SIP/2.0/UDP i;branch=2\r\n\
            Via: SIP/2.0/TCP j;branch=3\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=t\r\nCall-ID: c\r\n\
            CSeq: 7 OPTIONS\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(std::str::from_utf8(&answer).unwrap(), expected);
    }

    #[test]
    fn a_to_tag_that_is_there_stays() {
        let bytes = request("Via: SIP/2.0/UDP h\r\n").bytes().clone();
        let text = std::str::from_utf8(&bytes).unwrap().replace("<sip:b@h>", "<sip:b@h>;tag=old");
        let request = Message::parse(Bytes::from(text)).unwrap();
        let answer = Message::parse(MessageBuilder::response(&request, 200, "", Some("new")).finish()).unwrap();
        assert_eq!(answer.to_tag(), Some("old"));
    }

    #[test]
    fn via_says_where_the_request_came_from() {
        // RFC 3581 §4, RFC 3261 §18.2.1
        assert_eq!(stamped("SIP/2.0/UDP 10.1.1.1;branch=b", "10.1.1.1:9"), "SIP/2.0/UDP 10.1.1.1;branch=b");
        assert_eq!(
            stamped("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=b", "192.0.2.9:9988"),
            "SIP/2.0/UDP 10.1.1.1:4540;branch=b;received=192.0.2.9;rport=9988"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP h.example;branch=b", "192.0.2.9:5060"),
            "SIP/2.0/UDP h.example;branch=b;received=192.0.2.9"
        );
        assert_eq!(
            stamped("SIP/2.0/UDP [2001:db8::1];branch=b", "[2001:db8::2]:5060"),
            "SIP/2.0/UDP [2001:db8::1];branch=b;received=2001:db8::2"
        );
    }

    #[test]
    fn lies_in_a_via_are_taken_out_and_its_neighbours_stay() {
        assert_eq!(
            stamped("SIP/2.0/UDP 10.1.1.1 ;received=1.2.3.4;rport=1;x=\"a;b\" , SIP/2.0/UDP i;rport", "10.1.1.1:9"),
            "SIP/2.0/UDP 10.1.1.1;x=\"a;b\";received=10.1.1.1;rport=9, SIP/2.0/UDP i;rport"
        );
        assert_eq!(stamped("SIP/2.0/UDP 10.1.1.1;received=1.2.3.4", "10.1.1.1:9"), "SIP/2.0/UDP 10.1.1.1");
    }

    #[test]
    fn no_value_and_no_name_can_end_a_line() {
        let bytes = MessageBuilder::request("X\r\nA: b", "sip:h\nB: c")
            .raw("N\r\nC: d", "\0")
            .header_fmt(HeaderName::Subject, format_args!("{}\r\n{}", 1, 2))
            .finish_with_body("t\r\nD: e", b"\r\nfree");
        let lines = bytes.split(|b| *b == b'\n').count();
        assert_eq!(lines, 1 + 1 + 1 + 1 + 1 + 1 + 2, "{bytes:?}");
    }

    #[test]
    fn numbers_and_copies_are_written() {
        let request = request("Via: SIP/2.0/UDP h\r\nSupported: a\r\nk: b\r\n");
        let bytes = MessageBuilder::request("INVITE", "sip:x")
            .header_number(HeaderName::Expires, u32::MAX)
            .header_number(HeaderName::MaxForwards, 0)
            .copy(&request, HeaderName::Supported)
            .header(HeaderName::Other, "x")
            .finish();
        let expected = "INVITE sip:x SIP/2.0\r\nExpires: 4294967295\r\nMax-Forwards: 0\r\nSupported: a\r\nSupported: b\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
    }

    #[test]
    fn outgoing_is_finished_as_request_or_response() {
        let body = Bytes::from_static(b"hi");
        let request = Outgoing::with_body(MessageBuilder::request("MESSAGE", "sip:h"), "text/plain", body);
        assert_eq!(
            &request.finish_with_via("SIP/2.0/UDP h")[..],
            b"MESSAGE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
        );
        let incoming = self::request("Via: SIP/2.0/UDP h;rport\r\n");
        let answer =
            Outgoing::new(MessageBuilder::response(&incoming, 200, "Fine", None)).finish_response(&flow("10.0.0.1:7"));
        let answer = Message::parse(answer).unwrap();
        assert_eq!((answer.reason(), answer.via().unwrap().rport()), ("Fine", Some(Some(7))));
    }
}
