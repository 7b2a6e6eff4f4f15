//! SIP, SIPS and tel URIs, and when two of them mean the same (RFC 3261 §19.1, RFC 3966).

use super::header::{Params, host_end, parse_ip};
use super::lex::{find_near, is_uri_text};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

/// What comes before the first colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:` (RFC 3261 §19.1).
    Sip,
    /// `sips:` (RFC 3261 §19.1).
    Sips,
    /// `tel:` (RFC 3966).
    Tel,
    /// Any other: 416 in a Request-URI (RFC 3261 §8.2.2.1).
    Other,
}

/// Why a text is no URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UriError(&'static str);

impl UriError {
    pub(super) const HEADERS: UriError = UriError("headers where none may be");
}

/// A view of a URI: nothing is copied.
///
/// ```
/// use sip::{Scheme, Uri};
/// let uri = Uri::parse("sips:ann%20b:secret@[2001:db8::1]:5071;transport=tcp;lr?Subject=x")?;
/// assert_eq!((uri.scheme, uri.user, uri.port), (Scheme::Sips, "ann%20b", Some(5071)));
/// assert_eq!(uri.user_unescaped(), "ann b");
/// assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
/// assert_eq!((uri.param("transport"), uri.param("LR"), uri.param("ttl")), (Some("tcp"), Some(""), None));
/// # Ok::<(), sip::UriError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// The user part as written, escapes and all; `""` when there is none; the number of a tel URI.
    pub user: &'a str,
    /// The password, which nobody should use (RFC 3261 §19.1.1).
    pub password: Option<&'a str>,
    /// The host; IPv6 addresses in brackets; `""` for tel and other schemes.
    pub host: &'a str,
    /// The port, when it is written.
    pub port: Option<u16>,
    /// Parameters as written, with the leading `;`.
    pub params_raw: &'a str,
    /// Headers as written, without the leading `?`.
    pub headers_raw: &'a str,
    raw: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI that fills the whole text.
    pub fn parse(raw: &'a str) -> Result<Uri<'a>, UriError> {
        if !is_uri_text(raw.as_bytes()) {
            return Err(UriError("a character that URIs cannot have"));
        }
        let colon = find_near(raw.as_bytes(), b':').filter(|at| *at > 0).ok_or(UriError("no scheme"))?;
        let (scheme, rest) = (&raw[..colon], &raw[colon + 1..]);
        let mut uri = Uri {
            scheme: Scheme::Other,
            user: "",
            password: None,
            host: "",
            port: None,
            params_raw: "",
            headers_raw: "",
            raw,
        };
        if scheme.eq_ignore_ascii_case("sip") {
            uri.scheme = Scheme::Sip;
        } else if scheme.eq_ignore_ascii_case("sips") {
            uri.scheme = Scheme::Sips;
        } else if scheme.eq_ignore_ascii_case("tel") {
            uri.scheme = Scheme::Tel;
            (uri.user, uri.params_raw) = split_at_byte(rest, b';');
            return if uri.user.is_empty() { Err(UriError("no number")) } else { Ok(uri) };
        } else {
            return if rest.is_empty() { Err(UriError("nothing after the scheme")) } else { Ok(uri) };
        }
        uri.read_sip(rest)?;
        Ok(uri)
    }

    /// RFC 3261 §25.1 `SIP-URI` after its scheme.
    fn read_sip(&mut self, rest: &'a str) -> Result<(), UriError> {
        let mut rest = rest;
        if let Some(at) = find_near(rest.as_bytes(), b'@') {
            (self.user, self.password) = match find_near(&rest.as_bytes()[..at], b':') {
                Some(colon) => (&rest[..colon], Some(&rest[colon + 1..at])),
                None => (&rest[..at], None),
            };
            if self.user.is_empty() || !escapes_are_whole(self.user) {
                return Err(UriError("bad user part"));
            }
            rest = &rest[at + 1..];
        }
        let bytes = rest.as_bytes();
        let mut end = host_end(bytes, 0).ok_or(UriError("bad host"))?;
        self.host = &rest[..end];
        if bytes.get(end) == Some(&b':') {
            let port_at = end + 1;
            end = port_at + bytes[port_at..].iter().take_while(|b| b.is_ascii_digit()).count();
            self.port = Some(rest[port_at..end].parse().map_err(|_| UriError("bad port"))?);
        }
        if !matches!(bytes.get(end), None | Some(b';' | b'?')) {
            return Err(UriError("bad host or port"));
        }
        let (params, headers) = split_at_byte(&rest[end..], b'?');
        if params.as_bytes().contains(&b'@') {
            return Err(UriError("two @"));
        }
        self.params_raw = params;
        self.headers_raw = headers.strip_prefix('?').unwrap_or("");
        Ok(())
    }

    /// The whole text.
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The parameters.
    pub const fn params(&self) -> Params<'a> {
        Params::new(self.params_raw)
    }

    /// The value of a parameter, `""` when it has none.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params().get(name)
    }

    /// The value of the first header of that name (any case) in it, its escapes resolved.
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let headers = self.headers_raw.split('&').take(PARAMS_COMPARED);
        let mut pairs = headers.map(|header| header.split_once('=').unwrap_or((header, "")));
        pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| unescape_percent(value))
    }

    /// The user part with its escapes resolved; what is not UTF-8 then stays escaped.
    pub fn user_unescaped(&self) -> Cow<'a, str> {
        unescape_percent(self.user)
    }

    /// What the user part dials: its escapes resolved, and of a telephone number without its parameters (RFC 3261
    /// §19.1.6), which operators add and phones copy; where the URI says that it is one (`tel:`, `user=phone`) also without
    /// what only helps the eye (RFC 3966 §5.1.1).
    ///
    /// ```
    /// use sip::Uri;
    /// let dialled = |uri| Uri::parse(uri).map(|uri| uri.dialled().into_owned());
    /// assert_eq!(dialled("sip:+74951234567;cpc=ordinary@h")?, "+74951234567");
    /// assert_eq!(dialled("tel:+7-495-123-45-67;phone-context=x")?, "+74951234567");
    /// assert_eq!(dialled("sip:ann-lee;day=tuesday@h")?, "ann-lee;day=tuesday");
    /// # Ok::<(), sip::UriError>(())
    /// ```
    pub fn dialled(&self) -> Cow<'a, str> {
        let is_mark = |byte: u8| matches!(byte, b'-' | b'.' | b'(' | b')');
        if !self.user.bytes().any(|byte| byte == b';' || is_mark(byte)) {
            return self.user_unescaped();
        }
        let says_phone = || self.param("user").is_some_and(|user| user.eq_ignore_ascii_case("phone"));
        let is_phone = self.scheme == Scheme::Tel || says_phone();
        let number = unescape_percent(split_at_byte(self.user, b';').0);
        let key = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'*' | b'#') || is_mark(byte);
        match (is_phone, number.bytes().all(key)) {
            (true, true) => number.chars().filter(|c| !c.is_ascii() || !is_mark(*c as u8)).collect(),
            (true, false) | (false, true) => number,
            (false, false) => self.user_unescaped(),
        }
    }

    /// [`Uri::host`] as an address, when it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        parse_ip(self.host)
    }

    /// Whether it asks for TLS on each hop.
    pub const fn is_secure(&self) -> bool {
        matches!(self.scheme, Scheme::Sips)
    }

    /// Whether both mean the same resource (RFC 3261 §19.1.4; tel: RFC 3966 §4).
    pub fn equivalent(a: &Uri<'_>, b: &Uri<'_>) -> bool {
        // A parameter that stands twice makes a URI that the rules find unlike itself.
        if a.raw == b.raw {
            return true;
        }
        if a.scheme != b.scheme {
            return false;
        }
        match a.scheme {
            Scheme::Sip | Scheme::Sips => {
                same_escaped(a.user, b.user)
                    && a.password.unwrap_or("") == b.password.unwrap_or("")
                    && same_host(a, b)
                    && a.port == b.port
                    && params_agree(a, b)
                    && headers_agree(a.headers_raw, b.headers_raw)
            }
            Scheme::Tel => {
                same_number(a.user, b.user) && params_within(a, b, &|_| true) && params_within(b, a, &|_| true)
            }
            Scheme::Other => a.raw == b.raw,
        }
    }
}

/// Adds a user part, with what may not stand there escaped (RFC 3261 §25.1).
pub fn push_user(out: &mut String, user: &str) {
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn split_at_byte(text: &str, byte: u8) -> (&str, &str) {
    text.split_at(find_near(text.as_bytes(), byte).unwrap_or(text.len()))
}

fn escapes_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| hex_pair(bytes, at).is_some())
}

/// The byte that `%XX` at `at` stands for.
fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    Some((digit(at + 1)? * 16 + digit(at + 2)?) as u8)
}

/// Resolves `%XX`.
fn unescape_percent(text: &str) -> Cow<'_, str> {
    if find_near(text.as_bytes(), b'%').is_none() {
        return Cow::Borrowed(text);
    }
    String::from_utf8(Unescaped::of(text).collect()).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The bytes of an escaped text.
struct Unescaped<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Unescaped<'a> {
    fn of(text: &'a str) -> Self {
        Unescaped { bytes: text.as_bytes(), at: 0 }
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        let escaped = if byte == b'%' { hex_pair(self.bytes, self.at) } else { None };
        self.at += if escaped.is_some() { 3 } else { 1 };
        Some(escaped.unwrap_or(byte))
    }
}

/// Case counts in the user part; an escape equals its character (RFC 3261 §19.1.4), except for reserved ones, which
/// would let `a%40b` pass as `a@b`: those cannot stand in a user part unescaped, so comparing bytes is right.
fn same_escaped(a: &str, b: &str) -> bool {
    Unescaped::of(a).eq(Unescaped::of(b))
}

fn same_host(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    match (a.host_ip(), b.host_ip()) {
        (Some(a), Some(b)) => a == b,
        _ => a.host.eq_ignore_ascii_case(b.host),
    }
}

fn same_value(a: &str, b: &str) -> bool {
    let lower = |b: u8| b.to_ascii_lowercase();
    Unescaped::of(a).map(lower).eq(Unescaped::of(b).map(lower))
}

/// Parameters that must agree even when only one side has them.
fn must_appear_in_both(name: &str) -> bool {
    ["user", "ttl", "method", "maddr", "transport"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn params_agree(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    params_within(a, b, &must_appear_in_both) && params_within(b, a, &must_appear_in_both)
}

/// Each parameter of `a` has the same value in `b`, or `b` lacks it and may.
fn params_within(a: &Uri<'_>, b: &Uri<'_>, required: &dyn Fn(&str) -> bool) -> bool {
    a.params().iter().take(PARAMS_COMPARED).all(|(name, value)| match b.param(name) {
        Some(other) => same_value(value, other),
        None => !required(name),
    })
}

/// The most parameters of a URI that a comparison looks at, so that its cost stays linear.
const PARAMS_COMPARED: usize = 32;

/// Headers are never ignored: each must be on both sides.
fn headers_agree(a: &str, b: &str) -> bool {
    let within = |a: &str, b: &str| {
        a.split('&').filter(|h| !h.is_empty()).take(PARAMS_COMPARED).all(|header| {
            let (name, value) = header.split_once('=').unwrap_or((header, ""));
            b.split('&').any(|other| {
                let (other_name, other_value) = other.split_once('=').unwrap_or((other, ""));
                name.eq_ignore_ascii_case(other_name) && same_escaped(value, other_value)
            })
        })
    };
    a.is_empty() == b.is_empty() && within(a, b) && within(b, a)
}

/// Visual separators do not count (RFC 3966 §4).
fn same_number(a: &str, b: &str) -> bool {
    fn plain(text: &str) -> impl Iterator<Item = u8> {
        text.bytes().filter(|b| !matches!(b, b'-' | b'.' | b'(' | b')')).map(|b| b.to_ascii_lowercase())
    }
    plain(a).eq(plain(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equivalent(a: &str, b: &str) -> bool {
        Uri::equivalent(&Uri::parse(a).unwrap(), &Uri::parse(b).unwrap())
    }

    #[test]
    fn the_rfc_s_examples_of_equal_uris() {
        // RFC 3261 §19.1.4
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
            ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"),
        ] {
            assert!(equivalent(a, b) && equivalent(b, a), "{a} = {b}");
        }
    }

    #[test]
    fn the_rfc_s_examples_of_different_uris() {
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:a@example.com", "sips:a@example.com"),
        ] {
            assert!(!equivalent(a, b) && !equivalent(b, a), "{a} /= {b}");
        }
    }

    #[test]
    fn a_uri_equals_itself_even_with_a_parameter_twice() {
        assert!(equivalent("sip:a@h;x=1;x=2", "sip:a@h;x=1;x=2"));
        assert!(!equivalent("sip:a@h;x=1;x=2", "sip:a@h;x=3"));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for bad in [
            "",
            "sip",
            ":",
            "sip:",
            "sip:@h",
            "sip:a@",
            "sip:a@h:x",
            "sip:a@h:99999",
            "sip:2001:db8::10",
            "sip:a b@h",
            "sip:a@[::1",
            "sip:a@b@c",
            "sip:%4@h",
            "tel:",
            "x:",
        ] {
            assert!(Uri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn user_parts_keep_their_separators() {
        let uri = Uri::parse("sip:user;par=u%40example.net@example.com").unwrap();
        assert_eq!((uri.user, uri.host, uri.params_raw), ("user;par=u%40example.net", "example.com", ""));
        assert_eq!(uri.user_unescaped(), "user;par=u@example.net");
    }

    #[test]
    fn a_number_is_read_however_it_is_written() {
        for (uri, dialled) in [
            ("sip:102@h", "102"),
            ("sip:%2A%2A102%23@h", "**102#"),
            ("sip:102;phone-context=h@h;user=phone", "102"),
            ("sip:+7495%23;npdi;rn=1@h", "+7495#"),
            ("sip:+7(495)123-45.67@h;User=Phone", "+74951234567"),
            ("sip:10-2@h", "10-2"),
            ("sip:10-2;x=y@h", "10-2"),
            ("sip:j.doe@h;user=phone", "j.doe"),
            ("sip:j.doe;x=1@h", "j.doe;x=1"),
            ("tel:8-800;phone-context=+7", "8800"),
            ("sip:h", ""),
        ] {
            assert_eq!(Uri::parse(uri).unwrap().dialled(), dialled, "{uri}");
        }
    }

    #[test]
    fn what_is_put_into_a_user_part_stays_there() {
        let mut uri = "sip:".to_owned();
        push_user(&mut uri, "+7 495#\r\n@x%");
        uri.push_str("@h");
        assert_eq!(uri, "sip:+7%20495%23%0D%0A%40x%25@h");
        assert_eq!(Uri::parse(&uri).unwrap().user_unescaped(), "+7 495#\r\n@x%");
    }

    #[test]
    fn tel_has_a_number_and_parameters() {
        let uri = Uri::parse("tel:+1-201-555-0123;phone-context=example.com").unwrap();
        assert_eq!(
            (uri.scheme, uri.user, uri.param("phone-context")),
            (Scheme::Tel, "+1-201-555-0123", Some("example.com"))
        );
    }
}
