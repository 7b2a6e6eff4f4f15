//! A message: start line, headers, body.

mod extension;
mod glance;
mod header;
pub(crate) mod lex;
mod method;
mod multipart;
mod name;
mod parse;
mod peek;
mod print;
mod privacy;
mod refer;
mod uri;

pub use extension::{RAck, Refresher, SessionExpires};
pub(crate) use glance::Glance;
pub use header::{CSeq, Contact, HeaderError, NameAddr, ParamIter, Params, Via};
pub use method::{Method, reason_phrase};
pub use multipart::BodyError;
pub use name::HeaderName;
pub use parse::{Malformed, ParseError};
pub use peek::{Peek, peek};
pub use print::{MessageBuilder, Outgoing};
pub use privacy::Privacy;
pub use refer::{ReferTo, Replaces};
pub use uri::{Scheme, Uri, UriError, push_user};

use bytes::Bytes;
use bytestring::ByteString;
pub(crate) use header::{quoted_end, unescape};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// One SIP message: its bytes and an index of its header lines.
///
/// Parsing allocates nothing; views point into the bytes. What every message needs is checked when it is parsed (the
/// start line, the five mandatory headers, CSeq, Content-Length, Max-Forwards); other headers are read when asked for.
/// A head that is not UTF-8 is read as Latin-1, and folded lines are unfolded, in a copy.
///
/// Limits: [`words::limit::MESSAGE_BYTES`], [`words::limit::HEADER_LINES`].
#[derive(Clone, Debug)]
pub struct Message {
    kept: Kept,
    lines: SmallVec<[Line; 24]>,
    /// For each of the first [`DIRECT`] names: the number of its first line, counted from 1.
    direct: [u16; DIRECT],
    start: Start,
    body_at: u16,
    /// What everybody asks for, read once.
    top: Top,
    from: Address,
    to: Address,
}

/// A message's bytes, known to be text as far as that goes: no part of the head is checked a second time.
#[derive(Clone, Debug)]
enum Kept {
    /// All of it is UTF-8.
    Text(ByteString),
    /// Its body is not.
    Mixed(Box<Mixed>),
}

#[derive(Clone, Debug)]
struct Mixed {
    head: ByteString,
    whole: Bytes,
}

/// How many names have a direct way to their first line.
const DIRECT: usize = 16;

/// Where the start line keeps what.
#[derive(Clone, Copy, Debug)]
struct Start {
    method: Method,
    /// 0 on requests.
    status: u16,
    cseq: u32,
    /// The method's token.
    token: Span,
    /// The Request-URI, or the reason phrase.
    uri: Span,
}

impl Default for Start {
    fn default() -> Self {
        Start { method: Method::Other, status: 0, cseq: 0, token: Span::default(), uri: Span::default() }
    }
}

/// A piece of the bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: u16,
    end: u16,
}

impl Span {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.at)..usize::from(self.end)]
    }

    const fn is_empty(self) -> bool {
        self.at == self.end
    }
}

/// Where the topmost [`Via`] keeps what. Without a host: it could not be read.
#[derive(Clone, Copy, Debug, Default)]
struct Top {
    transport: Span,
    host: Span,
    params: Span,
    branch: Span,
    port: Option<u16>,
    /// It fills its line.
    whole: bool,
}

/// Where a [`NameAddr`] keeps what. Without a URI: it was not read, or could not be.
#[derive(Clone, Copy, Debug, Default)]
struct Address {
    display: Span,
    uri: Span,
    params: Span,
    tag: Span,
}

/// One header line.
#[derive(Clone, Copy, Debug)]
struct Line {
    name: HeaderName,
    name_length: u8,
    name_at: u16,
    value: Span,
}

/// As its bytes: the index is made again.
impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Message::parse(Bytes::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Message {
    /// Reads one datagram or one frame.
    ///
    /// # Errors
    /// [`ParseError`] says what the 400 says, and keeps what is needed to send it.
    pub fn parse(bytes: Bytes) -> Result<Message, ParseError> {
        parse::parse(bytes)
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        self.start.status == 0
    }

    /// The method; of a response, the one in its CSeq.
    pub fn method(&self) -> Method {
        self.start.method
    }

    /// The method's token as written.
    pub fn method_token(&self) -> &str {
        self.text(self.start.token)
    }

    /// The Request-URI; `""` on responses.
    pub fn request_uri(&self) -> &str {
        if self.is_request() { self.text(self.start.uri) } else { "" }
    }

    /// The status code; 0 on requests.
    pub fn status(&self) -> u16 {
        self.start.status
    }

    /// The reason phrase; `""` on requests.
    pub fn reason(&self) -> &str {
        if self.is_request() { "" } else { self.text(self.start.uri) }
    }

    /// The value of the first line of that name.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.first(name).map(|line| self.text(line.value))
    }

    /// The values of all lines of that name; lists are not split.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        let start = self.first_index(name).unwrap_or(self.lines.len());
        self.lines[start..].iter().filter(move |line| line.name == name).map(|line| self.text(line.value))
    }

    /// [`Message::headers`] as bytes, for copies.
    pub(crate) fn header_bytes(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        let start = self.first_index(name).unwrap_or(self.lines.len());
        self.lines[start..].iter().filter(move |line| line.name == name).map(|line| line.value.of(self.bytes()))
    }

    /// All lines in order: name, name as written, value.
    pub fn all_headers(&self) -> impl Iterator<Item = (HeaderName, &str, &str)> {
        self.lines.iter().map(|line| (line.name, self.name_text(*line), self.text(line.value)))
    }

    /// The value of the first line whose name is written so (any case); meant for names that have no [`HeaderName`].
    pub fn raw_header(&self, name: &str) -> Option<&str> {
        self.all_headers().find(|(_, written, _)| written.eq_ignore_ascii_case(name)).map(|(_, _, value)| value)
    }

    /// The values of all lines of that name, with lists split at commas outside quotes and `<>`.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.headers(name).flat_map(|value| Values { rest: value })
    }

    /// Whether a list has that token (any case): option tags, methods.
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// Whether the sender takes that kind of body. Without an Accept it takes what its request is about (RFC 3261 §20.1,
    /// RFC 6665 §3.1.3).
    pub fn accepts(&self, kind: &str) -> bool {
        let main = kind.split('/').next().unwrap_or(kind);
        let mut any = false;
        for value in self.values(HeaderName::Accept) {
            let range = value.split(';').next().unwrap_or(value).trim();
            let of_main = || range.strip_suffix("/*").is_some_and(|found| found.eq_ignore_ascii_case(main));
            if range.eq_ignore_ascii_case(kind) || range == "*/*" || of_main() {
                return true;
            }
            any |= !range.is_empty();
        }
        !any
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<Via<'_>, HeaderError> {
        let Top { transport, host, params, branch, port, .. } = self.top;
        if host.is_empty() {
            return Via::parse(self.mandatory(HeaderName::Via)?);
        }
        let branch = (!branch.is_empty()).then(|| self.text(branch));
        Ok(Via::new(self.text(transport), self.text(host), port, self.text(params), branch))
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'_>, HeaderError> {
        self.known_address(self.from).map_or_else(|| self.single_address(HeaderName::From), Ok)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'_>, HeaderError> {
        self.known_address(self.to).map_or_else(|| self.single_address(HeaderName::To), Ok)
    }

    /// The tag of From, when it can be read.
    pub fn from_tag(&self) -> Option<&str> {
        self.tag_of(self.from, HeaderName::From)
    }

    /// The tag of To, when it can be read.
    pub fn to_tag(&self) -> Option<&str> {
        self.tag_of(self.to, HeaderName::To)
    }

    /// CSeq: checked when the message was parsed.
    pub fn cseq(&self) -> Result<CSeq, HeaderError> {
        self.mandatory(HeaderName::CSeq)?;
        Ok(CSeq { number: self.start.cseq, method: self.start.method })
    }

    /// Call-ID: not empty, no white space and no controls inside.
    pub fn call_id(&self) -> Result<&str, HeaderError> {
        let value = self.mandatory(HeaderName::CallId)?;
        if value.is_empty() || value.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(HeaderError::new(HeaderName::CallId, "not one word"));
        }
        Ok(value)
    }

    /// The first Contact; `None` for `*`.
    pub fn contact(&self) -> Result<Option<NameAddr<'_>>, HeaderError> {
        let Some(value) = self.header(HeaderName::Contact) else { return Ok(None) };
        star_or_address(value).map(|(found, _)| found).map_err(|what| HeaderError::new(HeaderName::Contact, what))
    }

    /// All contacts, of all lines. After an error nothing more comes from that line.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'_>, HeaderError>> {
        self.stars_and_addresses(HeaderName::Contact).map(|found| Ok(found?.map_or(Contact::Star, Contact::Address)))
    }

    /// The addresses of a list such as Route, Record-Route, Path or P-Asserted-Identity.
    pub fn addresses(&self, name: HeaderName) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.stars_and_addresses(name)
            .map(move |found| found?.ok_or(HeaderError::new(name, "* where an address must be")))
    }

    /// Max-Forwards; `None` when the sender left it out.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        let Some(value) = self.header(HeaderName::MaxForwards) else { return Ok(None) };
        let error = HeaderError::new(HeaderName::MaxForwards, "no number from 0 to 255");
        if value.bytes().all(|b| b.is_ascii_digit()) { value.parse().map(Some).map_err(|_| error) } else { Err(error) }
    }

    /// Expires. Units: seconds. What is more than 32 bits is the most that they hold (RFC 3261 §20.19).
    pub fn expires(&self) -> Result<Option<u32>, HeaderError> {
        let Some(value) = self.header(HeaderName::Expires) else { return Ok(None) };
        seconds(value).map(Some).ok_or(HeaderError::new(HeaderName::Expires, "no number of seconds"))
    }

    /// Content-Type.
    pub fn content_type(&self) -> Option<&str> {
        self.header(HeaderName::ContentType)
    }

    /// The body: as long as Content-Length says, or all that is left.
    pub fn body(&self) -> &[u8] {
        &self.bytes()[usize::from(self.body_at)..]
    }

    /// The body, sharing the message's memory.
    pub fn body_bytes(&self) -> Bytes {
        self.bytes().slice(usize::from(self.body_at)..)
    }

    /// The whole message: as received, but unfolded and UTF-8, and without what followed its body.
    pub fn bytes(&self) -> &Bytes {
        match &self.kept {
            Kept::Text(text) => text.as_bytes(),
            Kept::Mixed(mixed) => &mixed.whole,
        }
    }

    /// Reads what a server must be able to read before it works on a request (RFC 3261 §8.2, RFC 4475 §3.1.2): the
    /// Request-URI, every Via, From, To, Call-ID, Contact, Route, Record-Route, Expires and Date.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.is_request() {
            let uri = Uri::parse(self.request_uri()).map_err(RequestError::RequestUri)?;
            // RFC 3261 §19.1.1, table 1: no headers in a Request-URI.
            if !uri.headers_raw.is_empty() {
                return Err(RequestError::RequestUri(UriError::HEADERS));
            }
        }
        // The topmost was read before.
        self.vias_after(usize::from(self.top.whole)).try_for_each(|via| via.map(drop))?;
        self.from()?;
        self.to()?;
        self.call_id()?;
        self.expires()?;
        self.contacts().try_for_each(|contact| contact.map(drop))?;
        for name in [HeaderName::Route, HeaderName::RecordRoute] {
            self.addresses(name).try_for_each(|address| address.map(drop))?;
        }
        match self.header(HeaderName::Date) {
            Some(date) if !date.ends_with(" GMT") => Err(HeaderError::new(HeaderName::Date, "not in GMT").into()),
            Some(_) | None => Ok(()),
        }
    }

    /// All Via values, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, HeaderError>> {
        self.vias_after(0)
    }

    /// Those of all lines but the first `lines`.
    fn vias_after(&self, lines: usize) -> impl Iterator<Item = Result<Via<'_>, HeaderError>> {
        self.headers(HeaderName::Via)
            .skip(lines)
            .flat_map(|value| List { rest: Some(value), read: Via::parse_prefix })
            .map(|found| found.map_err(|what| HeaderError::new(HeaderName::Via, what)))
    }

    /// `None` stands for `*`.
    fn stars_and_addresses(&self, name: HeaderName) -> impl Iterator<Item = Result<Option<NameAddr<'_>>, HeaderError>> {
        self.headers(name)
            .flat_map(|value| List { rest: Some(value), read: star_or_address })
            .map(move |found| found.map_err(|what| HeaderError::new(name, what)))
    }

    /// Reads what everybody asks for: the topmost Via, and of requests From and To, where they can be read.
    fn read_ahead(&mut self) {
        let span = |part: &str| self.span(part);
        if let Some(value) = self.header(HeaderName::Via)
            && let Ok((via, end)) = Via::parse_prefix(value)
        {
            self.top = Top {
                transport: span(via.transport),
                host: span(via.host),
                params: span(via.params.raw()),
                branch: via.branch().map(span).unwrap_or_default(),
                port: via.port,
                whole: end == value.len(),
            };
        }
        if self.is_request() {
            self.from = self.locate(HeaderName::From);
            self.to = self.locate(HeaderName::To);
        }
    }

    fn locate(&self, name: HeaderName) -> Address {
        let Ok(found) = self.single_address(name) else { return Address::default() };
        Address {
            display: self.span(found.display),
            uri: self.span(found.uri),
            params: self.span(found.params.raw()),
            tag: found.tag().map(|tag| self.span(tag)).unwrap_or_default(),
        }
    }

    /// Where a part of the head stands.
    fn span(&self, part: &str) -> Span {
        if part.is_empty() {
            return Span::default();
        }
        let at = part.as_ptr().addr() - self.bytes().as_ptr().addr();
        Span { at: at as u16, end: (at + part.len()) as u16 }
    }

    fn known_address(&self, address: Address) -> Option<NameAddr<'_>> {
        let Address { display, uri, params, tag } = address;
        if uri.is_empty() {
            return None;
        }
        Some(NameAddr::new(self.text(display), self.text(uri), self.text(params), self.text(tag)))
    }

    fn tag_of(&self, address: Address, name: HeaderName) -> Option<&str> {
        if address.uri.is_empty() {
            return self.single_address(name).ok()?.tag();
        }
        (!address.tag.is_empty()).then(|| self.text(address.tag))
    }

    fn single_address(&self, name: HeaderName) -> Result<NameAddr<'_>, HeaderError> {
        let value = self.mandatory(name)?;
        match NameAddr::parse_prefix(value) {
            Ok((address, end)) if end == value.len() => Ok(address),
            Ok(_) => Err(HeaderError::new(name, "a list where one value must be")),
            Err(what) => Err(HeaderError::new(name, what)),
        }
    }

    fn mandatory(&self, name: HeaderName) -> Result<&str, HeaderError> {
        self.header(name).ok_or(HeaderError::missing(name))
    }

    fn first_index(&self, name: HeaderName) -> Option<usize> {
        match self.direct.get(name as usize) {
            Some(number) => usize::from(*number).checked_sub(1),
            None => self.lines.iter().position(|line| line.name == name),
        }
    }

    fn first(&self, name: HeaderName) -> Option<Line> {
        self.first_index(name).map(|at| self.lines[at])
    }

    fn name_text(&self, line: Line) -> &str {
        self.text(Span { at: line.name_at, end: line.name_at + u16::from(line.name_length) })
    }

    fn text(&self, span: Span) -> &str {
        let head: &str = match &self.kept {
            Kept::Text(text) => text,
            Kept::Mixed(mixed) => &mixed.head,
        };
        &head[usize::from(span.at)..usize::from(span.end)]
    }
}

/// Why a request is refused before anybody works on it. See [`Message::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The Request-URI cannot be read.
    #[error("Request-URI: {0}")]
    RequestUri(UriError),
    /// A header cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl RequestError {
    /// The reason phrase of the 400 that answers it.
    pub fn reason(&self) -> &'static str {
        match self {
            RequestError::RequestUri(_) => "Bad Request-URI",
            RequestError::Header(error) => error.reason(),
        }
    }
}

/// A number of seconds: digits only, clamped to 32 bits.
pub(crate) fn seconds(value: &str) -> Option<u32> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(value.parse().unwrap_or(u32::MAX))
}

/// Splits a list at commas outside quotes and `<>`; empty elements are left out.
struct Values<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let end = value_end(self.rest.as_bytes());
            let value = lex::trim(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or("");
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

fn value_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b',' => return at,
            b'"' => at = quoted_end(bytes, at).unwrap_or(bytes.len()),
            b'<' => at = memchr::memchr(b'>', &bytes[at..]).map_or(bytes.len(), |close| at + close + 1),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Reads one value, and says where it ends.
type Reader<'a, T> = fn(&'a str) -> Result<(T, usize), &'static str>;

/// The values of one line, each read by `read`; ends after the first error.
struct List<'a, T> {
    rest: Option<&'a str>,
    read: Reader<'a, T>,
}

impl<T> Iterator for List<'_, T> {
    type Item = Result<T, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        Some((self.read)(rest).map(|(value, end)| {
            self.rest = rest.get(end + 1..);
            value
        }))
    }
}

/// `None` for `*`.
fn star_or_address(text: &str) -> Result<(Option<NameAddr<'_>>, usize), &'static str> {
    if lex::trim(text) == "*" {
        return Ok((None, text.len()));
    }
    NameAddr::parse_prefix(text).map(|(address, end)| (Some(address), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(more: &str) -> Message {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=1\r\nf: A <sip:a@h>;tag=1\r\nT: <sip:a@h>\r\n\
             i: c\r\nCSeq: 1 REGISTER\r\n{more}\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn contacts_come_from_all_lines_and_lists() {
        let message = message(
            "Contact: \"a,b\" <sip:a@h;x=1,2>;q=0.5, <sip:b@h>;+sip.instance=\"<urn:uuid:1,2>\"\r\nm: sip:c@h;expires=60\r\n",
        );
        let uris: Vec<_> = message
            .contacts()
            .map(|contact| match contact.unwrap() {
                Contact::Star => "*",
                Contact::Address(address) => address.uri,
            })
            .collect();
        assert_eq!(uris, ["sip:a@h;x=1,2", "sip:b@h", "sip:c@h"]);
        let second = message.addresses(HeaderName::Contact).nth(1).unwrap().unwrap();
        assert_eq!(second.param("+SIP.instance"), Some("<urn:uuid:1,2>"));
        assert_eq!(message.contact().unwrap().unwrap().param("q"), Some("0.5"));
    }

    #[test]
    fn a_star_is_no_address() {
        let message = message("Contact: *\r\n");
        assert_eq!(message.contacts().collect::<Vec<_>>(), [Ok(Contact::Star)]);
        assert_eq!(message.contact(), Ok(None));
        assert!(message.check().is_ok());
    }

    #[test]
    fn values_split_at_commas_outside_quotes_and_brackets() {
        let message = message("Supported: a,b ,, c\r\nk: \"d,e\", <f,g>\r\n");
        assert_eq!(message.values(HeaderName::Supported).collect::<Vec<_>>(), ["a", "b", "c", "\"d,e\"", "<f,g>"]);
        assert!(message.has_token(HeaderName::Supported, "C") && !message.has_token(HeaderName::Supported, "d"));
    }

    #[test]
    fn headers_are_found_by_name_and_as_written() {
        let message = message("X-One: 1\r\nSubject: s\r\nx-one: 2\r\n");
        assert_eq!(message.raw_header("x-ONE"), Some("1"));
        assert_eq!((message.header(HeaderName::Subject), message.header(HeaderName::Reason)), (Some("s"), None));
        let names: Vec<_> = message.all_headers().map(|(_, written, _)| written).collect();
        assert_eq!(names, ["Via", "f", "T", "i", "CSeq", "X-One", "Subject", "x-one"]);
    }

    #[test]
    fn expires_is_clamped_and_never_negative() {
        assert_eq!(message("Expires: 99999999999999999\r\n").expires(), Ok(Some(u32::MAX)));
        assert_eq!(message("").expires(), Ok(None));
        for bad in ["", "-1", "soon", "1 2"] {
            assert_eq!(message(&format!("Expires: {bad}\r\n")).expires().unwrap_err().reason(), "Bad Expires");
        }
    }

    #[test]
    fn max_forwards_may_be_absent() {
        assert_eq!(message("").max_forwards(), Ok(None));
        assert_eq!(message("Max-Forwards: 0068\r\n").max_forwards(), Ok(Some(68)));
    }

    #[test]
    fn check_names_the_first_header_that_cannot_be_read() {
        for (line, reason) in [
            ("Contact: a, b", "Bad Contact"),
            ("Route: *", "Bad Route"),
            ("Record-Route: <sip:a@h", "Bad Record-Route"),
            ("Via: SIP/2.0/UDP", "Bad Via"),
            ("Via: SIP/2.0/UDP h, nonsense", "Bad Via"),
            ("Date: Fri, 01 Jan 2010 16:00:00 EST", "Bad Date"),
        ] {
            assert_eq!(message(&format!("{line}\r\n")).check().unwrap_err().reason(), reason, "{line}");
        }
    }

    #[test]
    fn a_list_in_from_is_refused() {
        let bytes = message("").bytes().clone();
        let text = std::str::from_utf8(&bytes).unwrap().replace(";tag=1", ";tag=1, <sip:b@h>;tag=2");
        let message = Message::parse(Bytes::from(text)).unwrap();
        assert_eq!(message.from().unwrap_err().reason(), "Bad From");
        assert_eq!(message.from_tag(), None);
    }
}
