//! Views of single header values: nothing is copied, and what nobody asks for is not read.

use super::lex::{find_near, is_lws, is_token, is_uri_text, skip_lws, trim};
use super::method::Method;
use super::name::HeaderName;
use std::borrow::Cow;
use std::net::IpAddr;

/// A header that cannot be read as its RFC has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", self.reason())]
pub struct HeaderError {
    /// Which header.
    pub name: HeaderName,
    /// What is wrong with it, for operators.
    pub what: &'static str,
}

impl HeaderError {
    pub(crate) const fn new(name: HeaderName, what: &'static str) -> Self {
        HeaderError { name, what }
    }

    pub(crate) const fn missing(name: HeaderName) -> Self {
        HeaderError { name, what: MISSING }
    }

    /// The reason phrase of the 400 that answers it: names the header.
    pub fn reason(&self) -> &'static str {
        if self.what == MISSING { self.name.missing() } else { self.name.bad() }
    }
}

const MISSING: &str = "missing";

/// Parameters after a value: `;name=value;flag`, as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// The parameters in `text`, which is empty or begins with `;`. What cannot be read is skipped later.
    pub const fn new(text: &'a str) -> Self {
        Params(text)
    }

    /// As written, with the leading `;`.
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// The value of the first parameter of that name (any case): without quotes, `""` when it has none.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Each name and value, quotes taken off (escapes inside stay).
    pub const fn iter(self) -> ParamIter<'a> {
        ParamIter { rest: self.0 }
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = ParamIter<'a>;

    fn into_iter(self) -> ParamIter<'a> {
        self.iter()
    }
}

/// The parameters one by one. See [`Params::iter`].
#[derive(Clone, Debug)]
pub struct ParamIter<'a> {
    rest: &'a str,
}

impl<'a> ParamIter<'a> {
    /// The next parameter as written, quotes included.
    pub(crate) fn next_raw(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        let start = bytes.iter().position(|b| !is_lws(*b) && *b != b';')?;
        let end = param_end(bytes, start);
        let param = &self.rest[start..end];
        self.rest = &self.rest[end..];
        Some(param)
    }
}

impl<'a> Iterator for ParamIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let param = self.next_raw()?;
            let (name, value) = match find_near(param.as_bytes(), b'=') {
                Some(at) => (trim(&param[..at]), unquote(trim(&param[at + 1..]))),
                None => (trim(param), ""),
            };
            if !name.is_empty() {
                return Some((name, value));
            }
        }
    }
}

/// Where the parameter that starts at `at` ends: at the next `;` outside quotes.
fn param_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b';' => return at,
            b'"' => at = quoted_end(bytes, at).unwrap_or(bytes.len()),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Takes the quotes off.
pub(crate) fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value)
}

/// Where the quoted string that starts at `at` ends (one past its closing quote); `None` when it does not.
pub(crate) fn quoted_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Reads parameters from `at` up to a comma or the end, and says where they end. RFC 3261 §25.1 `generic-param`.
/// The first value of the parameter `wanted`, which is lower case, is noted on the way.
fn check_params<'a>(
    text: &'a str,
    mut at: usize,
    wanted: &str,
    found: &mut Option<&'a str>,
) -> Result<usize, &'static str> {
    let bytes = text.as_bytes();
    loop {
        at = skip_lws(bytes, at);
        match bytes.get(at) {
            None | Some(b',') => return Ok(at),
            Some(b';') => at = skip_lws(bytes, at + 1),
            Some(_) => return Err("unexpected text after the value"),
        }
        let start = at;
        at = token_end(bytes, at);
        if at == start {
            return Err("parameter without a name");
        }
        let is_wanted = found.is_none() && bytes[start..at].eq_ignore_ascii_case(wanted.as_bytes());
        at = skip_lws(bytes, at);
        let mut value = "";
        if bytes.get(at) == Some(&b'=') {
            let value_at = skip_lws(bytes, at + 1);
            at = if bytes.get(value_at) == Some(&b'"') {
                quoted_end(bytes, value_at).ok_or("quote without an end")?
            } else {
                param_value_end(bytes, value_at)
            };
            value = &text[value_at..at];
        }
        if is_wanted {
            *found = Some(unquote(value));
        }
    }
}

fn param_value_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] > b' ' && !matches!(bytes[at], b';' | b',' | b'"') {
        at += 1;
    }
    at
}

/// The topmost Via (RFC 3261 §20.42, RFC 3581).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport token as written, such as `UDP`.
    pub transport: &'a str,
    /// The host of sent-by; IPv6 addresses in brackets.
    pub host: &'a str,
    /// The port of sent-by.
    pub port: Option<u16>,
    /// Its parameters.
    pub params: Params<'a>,
    branch: Option<&'a str>,
}

impl<'a> Via<'a> {
    /// One that was read before.
    pub(super) const fn new(
        transport: &'a str,
        host: &'a str,
        port: Option<u16>,
        params: &'a str,
        branch: Option<&'a str>,
    ) -> Self {
        Via { transport, host, port, params: Params(params), branch }
    }

    /// Reads the first value in `text`.
    pub fn parse(text: &'a str) -> Result<Via<'a>, HeaderError> {
        Via::parse_prefix(text).map(|(via, _)| via).map_err(|what| HeaderError::new(HeaderName::Via, what))
    }

    /// Reads the first value, and says where it ends: at a comma or at the end of the text.
    pub(crate) fn parse_prefix(text: &'a str) -> Result<(Via<'a>, usize), &'static str> {
        let bytes = text.as_bytes();
        let transport_at = protocol_end(bytes).ok_or("not SIP/2.0")?;
        let transport_end = token_end(bytes, transport_at);
        let host_at = skip_lws(bytes, transport_end);
        if transport_end == transport_at || host_at == transport_end {
            return Err("no transport");
        }
        let host_end = host_end(bytes, host_at).ok_or("bad host in sent-by")?;
        let mut at = host_end;
        let mut port = None;
        let colon = skip_lws(bytes, host_end);
        if bytes.get(colon) == Some(&b':') {
            let port_at = skip_lws(bytes, colon + 1);
            at = digits_end(bytes, port_at);
            port = Some(text[port_at..at].parse().map_err(|_| "bad port in sent-by")?);
        }
        let mut branch = None;
        let end = check_params(text, at, "branch", &mut branch)?;
        let (transport, host) = (&text[transport_at..transport_end], &text[host_at..host_end]);
        let branch = branch.filter(|branch| !branch.is_empty());
        Ok((Via { transport, host, port, params: Params(trim(&text[at..end])), branch }, end))
    }

    /// The branch (RFC 3261 §8.1.1.7). One without a value is none.
    pub fn branch(&self) -> Option<&'a str> {
        self.branch
    }

    /// `Some(None)` when the sender asks for its port (`;rport`), `Some(Some(port))` when it was filled in
    /// (RFC 3581 §3).
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|value| value.parse().ok())
    }

    /// The address that the next hop saw (RFC 3261 §18.2.1), as written.
    pub fn received(&self) -> Option<&'a str> {
        self.params.get("received")
    }

    /// [`Via::host`] as an address, when it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        parse_ip(self.host)
    }
}

/// Reads an address, in brackets or not.
pub(crate) fn parse_ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// Where the transport token starts: after `SIP/2.0/`, white space allowed around the slashes.
fn protocol_end(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"SIP/2.0/") {
        return Some(skip_lws(bytes, 8));
    }
    let mut at = 0;
    for word in [&b"SIP"[..], b"/", b"2.0", b"/"] {
        at = skip_lws(bytes, at);
        let found = bytes.get(at..at + word.len())?;
        if !found.eq_ignore_ascii_case(word) {
            return None;
        }
        at += word.len();
    }
    Some(skip_lws(bytes, at))
}

fn token_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is_token(bytes[at]) {
        at += 1;
    }
    at
}

fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at].is_ascii_digit() {
        at += 1;
    }
    at
}

/// Where the host that starts at `at` ends: a name, an IPv4 address or an IPv6 address in brackets.
pub(crate) fn host_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'[') {
        let end = at + find_near(&bytes[at..], b']')?;
        let inside = &bytes[at + 1..end];
        let plausible = inside.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        return (plausible && inside.contains(&b':')).then_some(end + 1);
    }
    let mut end = at;
    // The underscore is no host character in the RFCs, yet machines are called so.
    while end < bytes.len() && (bytes[end].is_ascii_alphanumeric() || matches!(bytes[end], b'.' | b'-' | b'_')) {
        end += 1;
    }
    (end > at).then_some(end)
}

/// A name and an address: From, To, Contact, Route and their kind (RFC 3261 §20.10, §25.1 `name-addr` / `addr-spec`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as written, quotes included; `""` when there is none.
    pub display: &'a str,
    /// The URI, without `<` and `>`.
    pub uri: &'a str,
    /// The header's parameters (those inside `<>` belong to the URI).
    pub params: Params<'a>,
    tag: Option<&'a str>,
}

impl<'a> NameAddr<'a> {
    /// One that was read before.
    pub(super) const fn new(display: &'a str, uri: &'a str, params: &'a str, tag: &'a str) -> Self {
        NameAddr { display, uri, params: Params(params), tag: Some(tag) }
    }

    /// Reads the first value in `text`, a value of header `name`.
    pub fn parse(name: HeaderName, text: &'a str) -> Result<NameAddr<'a>, HeaderError> {
        NameAddr::parse_prefix(text).map(|(found, _)| found).map_err(|what| HeaderError::new(name, what))
    }

    /// Reads the first value, and says where it ends: at a comma or at the end of the text.
    pub(crate) fn parse_prefix(text: &'a str) -> Result<(NameAddr<'a>, usize), &'static str> {
        let bytes = text.as_bytes();
        let start = skip_lws(bytes, 0);
        let open = match bytes.get(start) {
            None => return Err("empty"),
            Some(b'<') => Some(start),
            Some(b'"') => {
                let end = skip_lws(bytes, quoted_end(bytes, start).ok_or("quote without an end")?);
                if bytes.get(end) != Some(&b'<') {
                    return Err("no < after the display name");
                }
                Some(end)
            }
            Some(_) => bare_open(bytes, start),
        };
        let (display, uri, at) = if let Some(open) = open {
            let close = open + find_near(&bytes[open..], b'>').ok_or("< without >")?;
            (trim(&text[start..open]), &text[open + 1..close], close + 1)
        } else {
            let end = addr_spec_end(bytes, start);
            // RFC 3261 §20.10: a URI with a question mark must stand in <>; else its headers are nobody's.
            if bytes[start..end].contains(&b'?') {
                return Err("? outside <>");
            }
            ("", &text[start..end], end)
        };
        if !looks_like_uri(uri.as_bytes()) {
            return Err("not a URI");
        }
        let mut tag = None;
        let end = check_params(text, at, "tag", &mut tag)?;
        Ok((NameAddr { display, uri, params: Params(trim(&text[at..end])), tag }, end))
    }

    /// The tag (RFC 3261 §19.3). An empty one is none: what we answer has ours behind it.
    pub fn tag(&self) -> Option<&'a str> {
        if !self.tag?.is_empty() {
            return self.tag;
        }
        let mut tags = self.params.iter().filter(|(name, _)| name.eq_ignore_ascii_case("tag"));
        tags.find_map(|(_, tag)| (!tag.is_empty()).then_some(tag))
    }

    /// The value of a header parameter, `""` when it has none.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    /// The display name for people: quotes and escapes taken off.
    pub fn display_name(&self) -> Cow<'a, str> {
        match self.display.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
            None => Cow::Borrowed(self.display),
            Some(inner) => unescape(inner),
        }
    }
}

/// Takes backslashes off (RFC 3261 §25.1 `quoted-pair`).
pub(crate) fn unescape(inner: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The `<` of a value whose display name has no quotes; `None` when the value is a URI without `<>`.
fn bare_open(bytes: &[u8], start: usize) -> Option<usize> {
    let at = start + memchr::memchr3(b'<', b';', b',', &bytes[start..])?;
    (bytes[at] == b'<').then_some(at)
}

fn addr_spec_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && !matches!(bytes[at], b';' | b',' | b' ' | b'\t') {
        at += 1;
    }
    at
}

/// A scheme, a colon, something, and nothing that would let it end early elsewhere.
pub(crate) fn looks_like_uri(uri: &[u8]) -> bool {
    let Some(colon) = find_near(uri, b':') else { return false };
    let scheme_ok = uri[0].is_ascii_alphabetic()
        && uri[..colon].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    scheme_ok && colon + 1 < uri.len() && is_uri_text(uri)
}

/// One value of Contact: everything, or one address (RFC 3261 §10.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: all bindings.
    Star,
    /// One address.
    Address(NameAddr<'a>),
}

/// CSeq: a number and the method it counts (RFC 3261 §20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2³¹ (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    /// Reads the value; also gives the method's token.
    pub(crate) fn parse(text: &str) -> Result<(CSeq, &str), &'static str> {
        let bytes = text.as_bytes();
        let end = digits_end(bytes, 0);
        let at = skip_lws(bytes, end);
        let number: u32 = text[..end].parse().map_err(|_| "no number below 2^31")?;
        let token = &text[at..];
        if number > i32::MAX as u32 {
            return Err("no number below 2^31");
        }
        if at == end || token.is_empty() || token_end(bytes, at) != bytes.len() {
            return Err("no method");
        }
        Ok((CSeq { number, method: Method::parse(token) }, token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<NameAddr<'_>, HeaderError> {
        NameAddr::parse(HeaderName::From, text)
    }

    #[test]
    fn via_is_read_with_white_space_everywhere() {
        let via =
            Via::parse("SIP  / 2.0 /TCP     spindle.example.com  : 5070 ;\tbranch  =   z9hG4bK9ikj8  ;ttl=1,").unwrap();
        assert_eq!((via.transport, via.host, via.port), ("TCP", "spindle.example.com", Some(5070)));
        assert_eq!((via.branch(), via.params.get("TTL")), (Some("z9hG4bK9ikj8"), Some("1")));
    }

    #[test]
    fn a_branch_without_a_value_is_none() {
        for via in ["SIP/2.0/UDP h;branch", "SIP/2.0/UDP h;branch=", "SIP/2.0/UDP h;branch=\"\";branch=x"] {
            assert_eq!(Via::parse(via).unwrap().branch(), None, "{via}");
        }
    }

    #[test]
    fn via_takes_ipv6_and_rport() {
        let via = Via::parse("SIP/2.0/UDP [2001:db8::9]:5060;rport;received=[2001:db8::9:255];branch=b").unwrap();
        assert_eq!(via.host_ip(), Some("2001:db8::9".parse().unwrap()));
        assert_eq!((via.rport(), via.received()), (Some(None), Some("[2001:db8::9:255]")));
        assert_eq!(Via::parse("SIP/2.0/UDP h;rport=77").unwrap().rport(), Some(Some(77)));
        assert_eq!(Via::parse("SIP/2.0/UDP h").unwrap().rport(), None);
    }

    #[test]
    fn bad_vias_are_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/ h",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP [2001:db8::9",
            "SIP/2.0/UDP [h]",
            "SIP/2.0/UDP h;;branch=b",
            "SIP/2.0/UDP h;",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP h;a=\"b",
        ] {
            assert_eq!(Via::parse(bad).map_err(|e| e.reason()), Err("Bad Via"), "{bad}");
        }
    }

    #[test]
    fn display_names_may_hold_anything_in_quotes() {
        let text = r#""J <Rosenberg> \\\"x, y" <sip:jdr@example.com;lr> ; tag = "1 2";x"#;
        let found = address(text).unwrap();
        assert_eq!(found.display_name(), r#"J <Rosenberg> \"x, y"#);
        assert_eq!((found.uri, found.tag()), ("sip:jdr@example.com;lr", Some("1 2")));
        assert_eq!((found.param("X"), found.param("lr")), (Some(""), None));
    }

    #[test]
    fn addresses_without_brackets_leave_their_parameters_to_the_header() {
        let found = address("sip:a@h;tag=1").unwrap();
        assert_eq!((found.display, found.uri, found.tag()), ("", "sip:a@h", Some("1")));
        let found = address("Anna Lena<sip:a@h;x=1>;tag=").unwrap();
        assert_eq!((found.display, found.uri, found.tag()), ("Anna Lena", "sip:a@h;x=1", None));
        assert_eq!(address("<sip:a@h> ; tag = ;x;tag=ours").unwrap().tag(), Some("ours"));
        assert_eq!(address("tel:+123;tag=2").unwrap().uri, "tel:+123");
        assert_eq!(address("Иван <sip:i@h>").unwrap().display_name(), "Иван");
    }

    #[test]
    fn bad_addresses_are_refused() {
        for bad in [
            "",
            "ann",
            "<sip:a@h",
            "<>",
            "< sip:a@h >",
            "\"ann <sip:a@h>",
            "\"ann\" sip:a@h",
            "Bell, Alexander <sip:a@h>",
            "sip:a@h?x=y",
            "<sip:a@h>x",
            "<sip:a@h>;;",
            "<sip:a@h>;=1",
            "<sip:>",
            "<1:2>",
            "<sip:a\u{7f}@h>",
        ] {
            assert_eq!(address(bad).map_err(|e| e.reason()), Err("Bad From"), "{bad}");
        }
    }

    #[test]
    fn cseq_has_a_number_below_2_31_and_a_method() {
        let parse = |text| CSeq::parse(text).ok().map(|(cseq, token)| (cseq.number, cseq.method, token));
        assert_eq!(parse("0009 \t INVITE"), Some((9, Method::Invite, "INVITE")));
        assert_eq!(parse("2147483647 X"), Some((2_147_483_647, Method::Other, "X")));
        for bad in ["", "1", "1 ", "INVITE", "-1 ACK", "2147483648 ACK", "99999999999999999999 ACK", "1 A B", "1ACK"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn parameters_are_found_whatever_stands_in_their_quotes() {
        let params = Params::new(r#" ; a = "x;b=1\"," ;; B=2;c"#);
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (Some(r#"x;b=1\","#), Some("2"), Some("")));
        assert_eq!(params.iter().count(), 3);
    }
}
