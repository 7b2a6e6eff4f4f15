//! Bodies of several parts (RFC 2046 §5.1, RFC 5621): where in a body the part of a wanted type lies.
//!
//! Some switches put a description beside a location, recording data or the messages of the old telephone network. What
//! is beside it may be passed over unless its sender insists: RFC 5621 §5.2 takes a part without `handling` for required,
//! which nobody means who sends ISUP to a SIP server.

use super::Message;
use super::header::Params;
use std::borrow::Cow;

/// Why there is nothing to read in a body that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A body of several parts whose boundaries cannot be found, or with more parts or levels than we read; 400.
    #[error("bad multipart body")]
    Malformed,
    /// Another type, or a part of another type that must be understood; 415.
    #[error("unsupported body")]
    Unsupported,
}

impl Message {
    /// The body of a type such as `application/sdp`, or the part of that type in a body of several. A body without a type
    /// passes for it. `None` where there is no body, or one with nothing but parts that may be passed over.
    ///
    /// ```
    /// # use sip::{BodyError, HeaderName, Message, MessageBuilder};
    /// # let request = |kind, body: &[u8]| {
    /// #     let builder = MessageBuilder::request("INVITE", "sip:a@h")
    /// #         .header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bK1")
    /// #         .header(HeaderName::From, "<sip:a@h>;tag=1")
    /// #         .header(HeaderName::To, "<sip:a@h>")
    /// #         .header(HeaderName::CallId, "c")
    /// #         .header(HeaderName::CSeq, "1 INVITE");
    /// #     Message::parse(builder.finish_with_body(kind, body)).unwrap()
    /// # };
    /// let body = b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n";
    /// let invite = request("multipart/mixed; boundary=b", body);
    /// assert_eq!(invite.body_of("application/sdp"), Ok(Some(&b"v=0\r\n"[..])));
    /// assert_eq!(request("text/plain", b"v=0").body_of("application/sdp"), Err(BodyError::Unsupported));
    /// ```
    ///
    /// # Errors
    /// As of [`BodyError`].
    pub fn body_of(&self, wanted: &str) -> Result<Option<&[u8]>, BodyError> {
        if self.body().is_empty() {
            return Ok(None);
        }
        match self.content_type() {
            None => Ok(Some(self.body())),
            Some(kind) if is_type(kind, wanted) => Ok(Some(self.body())),
            Some(kind) if is_multipart(kind) => {
                let mut parts_left = PARTS;
                let found = find(kind, self.body(), wanted, LEVELS, &mut parts_left)?;
                if found.part.is_none() && found.insists { Err(BodyError::Unsupported) } else { Ok(found.part) }
            }
            Some(_) => Err(BodyError::Unsupported),
        }
    }
}

/// What a look through a body brought.
#[derive(Default)]
struct Found<'a> {
    part: Option<&'a [u8]>,
    /// Another part was there that its sender does not call optional.
    insists: bool,
}

/// One part.
struct Part<'a> {
    kind: Cow<'a, str>,
    disposition: Cow<'a, str>,
    encoding: Cow<'a, str>,
    body: &'a [u8],
}

fn find<'a>(
    kind: &str,
    body: &'a [u8],
    wanted: &str,
    levels: u8,
    parts_left: &mut usize,
) -> Result<Found<'a>, BodyError> {
    let boundary = boundary(kind).ok_or(BodyError::Malformed)?;
    // Of alternatives the last is the best (RFC 2046 §5.1.4); elsewhere the first is what is meant.
    let last = is_type(kind, "multipart/alternative");
    let mut found = Found::default();
    let mut rest = after_delimiter(body, boundary).ok_or(BodyError::Malformed)?;
    while let Some(from) = rest {
        *parts_left = parts_left.checked_sub(1).ok_or(BodyError::Malformed)?;
        let (part, next) = cut(from, boundary).ok_or(BodyError::Malformed)?;
        rest = next;
        let part = Part::read(part).ok_or(BodyError::Malformed)?;
        let inside = if is_multipart(&part.kind) {
            let levels = levels.checked_sub(1).ok_or(BodyError::Malformed)?;
            find(&part.kind, part.body, wanted, levels, parts_left)?
        } else if is_type(&part.kind, wanted) && part.is_plain() {
            Found { part: Some(part.body), insists: false }
        } else if part.handling() == Some("required") {
            // Whatever else is there: this must be understood.
            return Err(BodyError::Unsupported);
        } else {
            Found { part: None, insists: part.handling().is_none() }
        };
        found.insists |= inside.insists;
        if inside.part.is_some() && (last || found.part.is_none()) {
            found.part = inside.part;
        }
    }
    Ok(found)
}

impl<'a> Part<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let plain = Cow::Borrowed("text/plain");
        let mut part =
            Part { kind: plain, disposition: Cow::Borrowed(""), encoding: Cow::Borrowed(""), body: Default::default() };
        let mut rest = bytes;
        loop {
            let (line, next) = header_line(rest);
            rest = next;
            if line.is_empty() {
                break;
            }
            let line = std::str::from_utf8(line).ok()?;
            let (name, value) = line.split_once(':')?;
            let value = unfolded(value.trim());
            match name.trim().to_ascii_lowercase().as_str() {
                "content-type" | "c" => part.kind = value,
                "content-disposition" => part.disposition = value,
                "content-transfer-encoding" => part.encoding = value,
                _ => {}
            }
        }
        part.body = rest;
        Some(part)
    }

    /// Whether its bytes are what they stand for: SIP is clean for eight bits, nobody need encode (RFC 5621 §3.2).
    fn is_plain(&self) -> bool {
        ["", "binary", "8bit", "7bit"].iter().any(|plain| self.encoding.eq_ignore_ascii_case(plain))
    }

    fn handling(&self) -> Option<&str> {
        params(&self.disposition).get("handling")
    }
}

/// The line at the front with those that continue it, without its end, and what follows.
fn header_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut end = 0;
    loop {
        let length = memchr::memchr(b'\n', &bytes[end..]).map_or(bytes.len() - end, |at| at + 1);
        let is_first = end == 0;
        end += length;
        // An empty line ends the headers, whatever the next one begins with.
        let blank = bytes[..end].iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        let continues = matches!(bytes.get(end), Some(b' ' | b'\t'));
        if length == 0 || is_first && blank || !continues {
            return (bytes[..end].trim_ascii_end(), &bytes[end..]);
        }
    }
}

fn unfolded(value: &str) -> Cow<'_, str> {
    if value.contains(['\r', '\n']) { value.replace(['\r', '\n'], " ").into() } else { value.into() }
}

/// What follows the first delimiter; `Some(None)` when that is the closing one already.
#[expect(clippy::option_option, reason = "no delimiter at all is an error, a closing one is not")]
fn after_delimiter<'a>(body: &'a [u8], boundary: &str) -> Option<Option<&'a [u8]>> {
    cut(body, boundary).map(|(_, next)| next)
}

/// The bytes up to the next delimiter, without the line end that belongs to it, and what follows it: `None` after the
/// closing one. No delimiter, no result.
fn cut<'a>(bytes: &'a [u8], boundary: &str) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let mut at = 0;
    loop {
        let end = memchr::memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |length| at + length + 1);
        let line = bytes[at..end].trim_ascii_end();
        if let Some(after) = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary.as_bytes()))
            && matches!(after, b"" | b"--")
        {
            let before = &bytes[..at];
            let before = before.strip_suffix(b"\n").unwrap_or(before);
            let before = before.strip_suffix(b"\r").unwrap_or(before);
            return Some((before, after.is_empty().then_some(&bytes[end..])));
        }
        if end == bytes.len() {
            return None;
        }
        at = end;
    }
}

fn boundary(kind: &str) -> Option<&str> {
    let boundary = params(kind).get("boundary")?;
    let fits = |byte: u8| byte >= b' ' && byte != 0x7f;
    ((1..=BOUNDARY_BYTES).contains(&boundary.len()) && boundary.bytes().all(fits)).then_some(boundary)
}

fn params(value: &str) -> Params<'_> {
    Params::new(value.find(';').map_or("", |at| &value[at..]))
}

fn is_type(kind: &str, wanted: &str) -> bool {
    kind.split(';').next().unwrap_or(kind).trim().eq_ignore_ascii_case(wanted)
}

fn is_multipart(kind: &str) -> bool {
    MULTIPARTS.iter().any(|known| is_type(kind, known))
}

/// The kinds of several parts that are looked into.
const MULTIPARTS: [&str; 3] = ["multipart/mixed", "multipart/alternative", "multipart/related"];

/// The longest boundary (RFC 2046 §5.1.1). Units: bytes.
const BOUNDARY_BYTES: usize = 70;

/// The most parts, those of inner levels counted.
const PARTS: usize = 32;

/// How many levels may lie inside the outermost.
const LEVELS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeaderName, MessageBuilder};

    const SDP: &str = "application/sdp";

    fn invite(kind: &str, body: &str) -> Message {
        let builder = MessageBuilder::request("INVITE", "sip:a@h")
            .header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bK1")
            .header(HeaderName::From, "<sip:a@h>;tag=1")
            .header(HeaderName::To, "<sip:a@h>")
            .header(HeaderName::CallId, "c")
            .header(HeaderName::CSeq, "1 INVITE");
        Message::parse(builder.finish_with_body(kind, body.as_bytes())).unwrap()
    }

    fn found(kind: &str, body: &str) -> Result<Option<String>, BodyError> {
        let invite = invite(kind, body);
        let body = invite.body_of(SDP)?;
        Ok(body.map(|body| String::from_utf8(body.to_vec()).unwrap()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "what `found` is compared with")]
    fn sdp(text: &str) -> Result<Option<String>, BodyError> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn a_part_is_found_beside_others() {
        let isup = "--x\r\nContent-Type: application/isup;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n\x01\x02\r\n";
        let part = "--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n\r\n";
        for body in [
            format!("{part}{isup}--x--"),
            format!("{isup}{part}--x--\r\n"),
            format!("to whom it may concern\r\n\r\n{part}--x--\r\nbye\r\n--x\r\n"),
            format!("{}--x--", part.replace("Content-Type: ", "c:")),
            format!(
                "{}--x--",
                part.replace("Content-Type: application/sdp", "CONTENT-TYPE :\r\n\tApplication/SDP ;charset=\"a;b\"")
            ),
            format!("{}--x--", part.replace("--x", "--x  ")),
        ] {
            assert_eq!(found("multipart/mixed;boundary=x", &body), sdp("v=0\r\ns=-\r\n"), "{body}");
        }
        let body = format!("{part}--x--").replace('\r', "");
        assert_eq!(found("Multipart/Mixed ; Boundary=\"x\"", &body), sdp("v=0\ns=-\n"));
    }

    #[test]
    fn the_only_body_and_none_are_what_they_are() {
        assert_eq!(found(SDP, "v=0"), sdp("v=0"));
        assert_eq!(found("APPLICATION/sdp; x=y", "v=0"), sdp("v=0"));
        assert_eq!(found(SDP, ""), Ok(None));
        assert_eq!(found("text/plain", "v=0"), Err(BodyError::Unsupported));
        assert_eq!(found("multipart/signed;boundary=x", "--x--"), Err(BodyError::Unsupported));
    }

    /// Whatever stands in a boundary (ES2017-02 had a backtick), it is compared and never interpreted.
    #[test]
    fn boundaries_are_compared_byte_by_byte() {
        for boundary in ["`", "a`b", "''", "a'()+_,-./:=?", "--", "a b", ".*", "[", "\u{e9}"] {
            let body = format!("--{boundary}\r\nc: application/sdp\r\n\r\nv=0\r\n--{boundary}x\r\n--{boundary}--");
            let kind = format!("multipart/mixed;boundary=\"{boundary}\"");
            assert_eq!(found(&kind, &body), sdp(&format!("v=0\r\n--{boundary}x")), "{boundary}");
        }
        assert_eq!(found("multipart/mixed;boundary=`", "--`\r\nc:application/sdp\r\n\r\nv=0\r\n--`--"), sdp("v=0"));
        let long = "b".repeat(BOUNDARY_BYTES);
        let body = |boundary: &str| format!("--{boundary}\r\nc:application/sdp\r\n\r\nv=0\r\n--{boundary}--");
        assert_eq!(found(&format!("multipart/mixed;boundary={long}"), &body(&long)), sdp("v=0"));
        let longer = long + "b";
        assert_eq!(found(&format!("multipart/mixed;boundary={longer}"), &body(&longer)), Err(BodyError::Malformed));
    }

    #[test]
    fn what_has_no_boundaries_is_malformed() {
        let kind = "multipart/mixed;boundary=x";
        for body in
            ["v=0", "--x", "--x\r\n", "--x\r\nc:application/sdp\r\n\r\nv=0", "--x\r\nno header\r\n\r\n--x--", "-x--"]
        {
            assert_eq!(found(kind, body), Err(BodyError::Malformed), "{body:?}");
        }
        for kind in ["multipart/mixed", "multipart/mixed;boundary=", "multipart/mixed;boundary=\"\""] {
            assert_eq!(found(kind, "--\r\nc:application/sdp\r\n\r\nv=0\r\n----"), Err(BodyError::Malformed), "{kind}");
        }
        assert_eq!(found(kind, "--x--"), Ok(None));
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_unsupported() {
        let with = |disposition: &str| {
            format!(
                "--x\r\nc:application/sdp\r\n\r\nv=0\r\n--x\r\nc:a/b\r\nContent-Disposition: x{disposition}\r\n\r\n?\r\n--x--"
            )
        };
        let kind = "multipart/mixed;boundary=x";
        assert_eq!(found(kind, &with("")), sdp("v=0"));
        assert_eq!(found(kind, &with(";handling=optional")), sdp("v=0"));
        assert_eq!(found(kind, &with(";handling=required")), Err(BodyError::Unsupported));
        // Alone, it is what the request is about, unless it says that it is not.
        assert_eq!(found(kind, "--x\r\nc:a/b\r\n\r\n?\r\n--x--"), Err(BodyError::Unsupported));
        let optional = "--x\r\nc:a/b\r\nContent-Disposition: y;handling=optional\r\n\r\n?\r\n--x--";
        assert_eq!(found(kind, optional), Ok(None));
        let encoded = "--x\r\nc:application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--x--";
        assert_eq!(found(kind, encoded), Err(BodyError::Unsupported));
    }

    #[test]
    fn of_alternatives_the_last_counts_and_levels_may_lie_in_each_other() {
        let two = "--x\r\nc:application/sdp\r\n\r\nfirst\r\n--x\r\nc:application/sdp\r\n\r\nsecond\r\n--x--";
        assert_eq!(found("multipart/alternative;boundary=x", two), sdp("second"));
        assert_eq!(found("multipart/mixed;boundary=x", two), sdp("first"));
        let mut body = String::from("--b0\r\nc:application/sdp\r\n\r\nv=0\r\n--b0--");
        for level in 1..=usize::from(LEVELS) {
            body = format!("--b{level}\r\nc:multipart/related;boundary=b{}\r\n\r\n{body}\r\n--b{level}--", level - 1);
        }
        assert_eq!(found(&format!("multipart/mixed;boundary=b{LEVELS}"), &body), sdp("v=0"));
        let body = format!("--y\r\nc:multipart/mixed;boundary=b{LEVELS}\r\n\r\n{body}\r\n--y--");
        assert_eq!(found("multipart/mixed;boundary=y", &body), Err(BodyError::Malformed));
        let many = "--x\r\n\r\n\r\n".repeat(PARTS + 1) + "--x--";
        assert_eq!(found("multipart/mixed;boundary=x", &many), Err(BodyError::Malformed));
    }
}
