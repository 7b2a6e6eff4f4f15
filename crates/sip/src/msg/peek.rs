//! A quick look: what an edge needs to choose where a message goes, before anybody parses it.

use super::header::{NameAddr, Via};
use super::lex::{find_near, is_token, trim};
use super::name::HeaderName;
use words::limit::HEADER_LINES;

/// What [`peek`] saw. Fields are `""` or `None` where the message has nothing readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peek<'a> {
    /// The method's token; `""` on responses.
    pub method: &'a str,
    /// The status code; 0 on requests.
    pub status: u16,
    /// The Request-URI; `""` on responses.
    pub request_uri: &'a str,
    /// The branch of the topmost Via.
    pub branch: Option<&'a str>,
    /// The tag of From.
    pub from_tag: Option<&'a str>,
    /// The tag of To.
    pub to_tag: Option<&'a str>,
    /// Call-ID.
    pub call_id: &'a str,
    /// The `username` of the first Authorization or Proxy-Authorization, as written.
    pub auth_user: Option<&'a str>,
}

/// Looks at a message's head. `None` when the bytes do not begin like SIP. Nothing is checked: a message that can be
/// peeked at may still be refused by [`super::Message::parse`]. Folded lines are read up to their fold.
///
/// ```
/// let seen = sip::peek(b"BYE sip:a@h SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK7\r\nt: <sip:b@h>;tag=x\r\n\r\n").unwrap();
/// assert_eq!((seen.method, seen.branch, seen.to_tag), ("BYE", Some("z9hG4bK7"), Some("x")));
/// ```
pub fn peek(bytes: &[u8]) -> Option<Peek<'_>> {
    let mut at = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let mut seen = Peek::default();
    for number in 0..=HEADER_LINES {
        let Some(lf) = memchr::memchr(b'\n', &bytes[at..]) else { break };
        let line = &bytes[at..at + lf];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += lf + 1;
        if number == 0 {
            seen.read_start(std::str::from_utf8(line).ok()?)?;
        } else if line.is_empty() {
            break;
        } else {
            seen.read_line(line);
        }
    }
    (!seen.method.is_empty() || seen.status != 0).then_some(seen)
}

impl<'a> Peek<'a> {
    fn read_start(&mut self, line: &'a str) -> Option<()> {
        if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
            self.status = rest.get(..3)?.parse().ok()?;
            return Some(());
        }
        let (method, rest) = line.split_once(' ')?;
        let (uri, version) = rest.rsplit_once(' ')?;
        if !version.starts_with("SIP/") || method.is_empty() || !method.bytes().all(is_token) {
            return None;
        }
        self.method = method;
        self.request_uri = uri;
        Some(())
    }

    fn read_line(&mut self, line: &'a [u8]) {
        // Only Via, From, To, Call-ID, Authorization, Proxy-Authorization and their compact forms.
        if !matches!(line[0] | 0x20, b'v' | b'f' | b't' | b'c' | b'i' | b'a' | b'p') {
            return;
        }
        let Some(colon) = find_near(line, b':') else { return };
        let value = || std::str::from_utf8(&line[colon + 1..]).map_or("", trim);
        match HeaderName::from_bytes(line[..colon].trim_ascii_end()) {
            HeaderName::Via if self.branch.is_none() => {
                self.branch = Via::parse(value()).ok().and_then(|via| via.branch());
            }
            HeaderName::From => self.from_tag = tag_of(HeaderName::From, value()),
            HeaderName::To => self.to_tag = tag_of(HeaderName::To, value()),
            HeaderName::CallId => self.call_id = value(),
            HeaderName::Authorization | HeaderName::ProxyAuthorization if self.auth_user.is_none() => {
                self.auth_user = crate::digest::Credentials::parse(value()).ok().map(|found| found.username);
            }
            _ => {}
        }
    }
}

fn tag_of(name: HeaderName, value: &str) -> Option<&str> {
    NameAddr::parse(name, value).ok()?.tag()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_what_an_edge_asks_for() {
        let seen = peek(
            b"\r\nREGISTER sip:h SIP/2.0\r\nVIA : SIP/2.0/UDP a;branch=1\r\nVia: SIP/2.0/UDP b;branch=2\r\nf: <sip:x@h>;tag=f\r\n\
              To: <sip:x@h>\r\ni: id\r\nAuthorization: Digest username=\"1001\",realm=\"r\",nonce=\"n\",uri=\"u\",response=\"0\"\r\n\
              \r\nt: <sip:y@h>;tag=t\r\n",
        )
        .unwrap();
        assert_eq!((seen.method, seen.request_uri, seen.branch), ("REGISTER", "sip:h", Some("1")));
        assert_eq!((seen.from_tag, seen.to_tag, seen.call_id), (Some("f"), None, "id"));
        assert_eq!(seen.auth_user, Some("1001"));
    }

    #[test]
    fn a_response_shows_its_status() {
        assert_eq!(peek(b"SIP/2.0 486 Busy\r\n\r\n").unwrap().status, 486);
    }

    #[test]
    fn what_is_not_sip_is_not_looked_at() {
        for bytes in
            [&b""[..], b"\r\n", b"GET / HTTP/1.1\r\n", b"SIP/2.0 x\r\n", b"\xff sip:h SIP/2.0\r\n", b"A b SIP/2.0"]
        {
            assert_eq!(peek(bytes), None, "{bytes:?}");
        }
    }
}
