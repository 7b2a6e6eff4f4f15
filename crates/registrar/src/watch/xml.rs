//! As much XML as presence needs: text written safely, and a reader of elements that never builds a tree.

use std::borrow::Cow;

/// Appends text so that it stays text, inside an element or an attribute. Control characters, which XML does not have,
/// become spaces.
pub(crate) fn push(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
}

/// Appends a SIP URI of a user, with what may not stand in a user part escaped (RFC 3261 §25.1), and then as XML.
pub(crate) fn push_uri(out: &mut String, user: &str, host: &str) {
    let mut uri = String::with_capacity(user.len() + host.len() + 5);
    uri.push_str("sip:");
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push('%');
            uri.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    uri.push('@');
    uri.push_str(host);
    push(out, &uri);
}

/// A piece of a document. Names come without their prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// `<name …>`, or `<name …/>`, after which the same name ends.
    Start(&'a str),
    /// `</name>`.
    End(&'a str),
    /// What stands between, with entities read.
    Text(Cow<'a, str>),
}

/// What makes a document unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Reads the pieces of a document one after another, nesting checked by whoever reads.
///
/// There is no entity but the five of XML and those by number, and a document type is not read at all: nothing can
/// grow, and nothing is fetched.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    rest: &'a str,
    /// The element that ended with `/>`.
    empty: Option<&'a str>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(document: &'a str) -> Self {
        Pieces { rest: document.strip_prefix('\u{feff}').unwrap_or(document), empty: None }
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece<'a>>, Unreadable> {
        if let Some(name) = self.empty.take() {
            return Ok(Some(Piece::End(name)));
        }
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            if let Some(rest) = self.rest.strip_prefix("<!--") {
                self.rest = after(rest, "-->")?;
            } else if let Some(rest) = self.rest.strip_prefix("<?") {
                self.rest = after(rest, "?>")?;
            } else if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
                let end = rest.find("]]>").ok_or(Unreadable)?;
                self.rest = &rest[end + 3..];
                return Ok(Some(Piece::Text(Cow::Borrowed(&rest[..end]))));
            } else if self.rest.starts_with("<!") {
                return Err(Unreadable);
            } else if let Some(rest) = self.rest.strip_prefix('<') {
                return self.tag(rest).map(Some);
            } else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return unescaped(text).map(|text| Some(Piece::Text(text)));
            }
        }
    }

    fn tag(&mut self, rest: &'a str) -> Result<Piece<'a>, Unreadable> {
        let end = tag_end(rest).ok_or(Unreadable)?;
        let inside = &rest[..end];
        self.rest = &rest[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            return local(name.trim_end()).map(Piece::End);
        }
        let (inside, is_empty) = inside.strip_suffix('/').map_or((inside, false), |inside| (inside, true));
        let name = local(inside.split(char::is_whitespace).next().unwrap_or_default())?;
        self.empty = is_empty.then_some(name);
        Ok(Piece::Start(name))
    }
}

fn after<'a>(text: &'a str, mark: &str) -> Result<&'a str, Unreadable> {
    text.find(mark).map(|at| &text[at + mark.len()..]).ok_or(Unreadable)
}

/// Where a tag ends: at the first `>` outside quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'<') => return None,
            (Some(open), byte) if open == byte => quote = None,
            (None | Some(_), _) => {}
        }
    }
    None
}

/// A name without its prefix.
fn local(name: &str) -> Result<&str, Unreadable> {
    let local = name.rsplit(':').next().unwrap_or(name);
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.') || b >= 0x80;
    if local.is_empty() || !local.bytes().all(is_name) { Err(Unreadable) } else { Ok(local) }
}

fn unescaped(text: &str) -> Result<Cow<'_, str>, Unreadable> {
    if !text.contains('&') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let (name, tail) = rest[at + 1..].split_once(';').ok_or(Unreadable)?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => numbered(name).ok_or(Unreadable)?,
        });
        rest = tail;
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn numbered(name: &str) -> Option<char> {
    let number = name.strip_prefix('#')?;
    let number = match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(number.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Unreadable> {
        let mut pieces = Pieces::new(text);
        let mut all = Vec::new();
        while let Some(piece) = pieces.next()? {
            all.push(match piece {
                Piece::Start(name) => format!("<{name}"),
                Piece::End(name) => format!("{name}>"),
                Piece::Text(text) => text.into_owned(),
            });
        }
        Ok(all)
    }

    #[test]
    fn elements_texts_and_entities_are_read() {
        let text = "<?xml version='1.0'?><!-- <x> --><p:a b=\"1>2\" c='\"'>x &amp; &#x44f;<b/ ></p:a>";
        assert_eq!(read(text), Err(Unreadable), "a slash stands right before the end");
        let text = "<?xml version='1.0'?><!-- <x> --><p:a b=\"1>2\" c='\"'>x &amp; &#x44f;<b/><![CDATA[<&]]></p:a >";
        assert_eq!(read(text).unwrap(), ["<a", "x & я", "<b", "b>", "<&", "a>"]);
    }

    #[test]
    fn what_could_grow_or_break_out_is_unreadable() {
        for text in [
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
            "<a>&b;</a>",
            "<a",
            "<a b='></a>",
            "<>",
            "<a<b>>",
            "<!-- ",
            "&#xd800;",
        ] {
            assert_eq!(read(text), Err(Unreadable), "{text}");
        }
    }

    #[test]
    fn text_stays_text() {
        let mut out = String::new();
        push(&mut out, "a<b>&\"'\r\n\u{0}я");
        assert_eq!(out, "a&lt;b&gt;&amp;&quot;'   я");
        out.clear();
        push_uri(&mut out, "10 1\"<@я", "office.example");
        assert_eq!(out, "sip:10%201%22%3C%40%D1%8F@office.example");
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_run_on() {
        let mut chance = words::Chance::new(words::Seed::from_number(3));
        let alphabet =
            ["<", ">", "/", "&", ";", "a", " ", "\"", "'", "!", "--", "[CDATA[", "]]>", "?", "#", "x", "я", ":"];
        for _ in 0..20_000 {
            let text: String = (0..chance.below(24)).map(|_| alphabet[chance.below(18) as usize]).collect();
            let mut pieces = Pieces::new(&text);
            let mut count = 0;
            while let Ok(Some(_)) = pieces.next() {
                count += 1;
                assert!(count <= 2 * text.len(), "{text}");
            }
        }
    }
}
