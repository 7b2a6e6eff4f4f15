//! Bytes to a description. What a phone may get wrong without harm is let through; what cannot be relayed is not.

use super::{Connection, Description, Line, Origin};
use std::borrow::Cow;

/// The longest description. Units: bytes.
pub const DESCRIPTION_BYTES: usize = words::limit::MESSAGE_BYTES;

/// The longest line. Units: bytes.
pub const LINE_BYTES: usize = 4_096;

/// The most lines.
pub const LINES: usize = 1_024;

/// The most media.
pub const MEDIA: usize = 32;

/// The most formats of one media.
pub const FORMATS: usize = 128;

/// Why a text is no description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct SdpError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong with it.
    pub fault: SdpFault,
}

/// What can be wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpFault {
    /// No line `v=0` stands first (RFC 8866 §5.1).
    #[error("a description begins with v=0")]
    Version,
    /// The text ends, or media begin, without an `o=` (RFC 8866 §5.2).
    #[error("there is no o= line before the first m=")]
    NoOrigin,
    /// An `o=` line has too few fields, or is the second one.
    #[error("the o= line cannot be read")]
    Origin,
    /// A `c=` line has too few fields (RFC 8866 §5.7).
    #[error("the c= line cannot be read")]
    Connection,
    /// An `m=` line has too few fields or no port (RFC 8866 §5.14).
    #[error("the m= line cannot be read")]
    Media,
    /// Neither a letter and an equals sign nor blank.
    #[error("the line does not begin with a letter and =")]
    Shape,
    /// A NUL, or a CR within a line (RFC 8866 §9).
    #[error("there is a NUL or CR in the line")]
    Control,
    /// More than [`DESCRIPTION_BYTES`], [`LINE_BYTES`], [`LINES`], [`MEDIA`] or [`FORMATS`].
    #[error("the description is larger than the limits")]
    TooLarge,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Description, SdpError> {
    let too_large = |line| SdpError { line, fault: SdpFault::TooLarge };
    if bytes.len() > DESCRIPTION_BYTES {
        return Err(too_large(1));
    }
    let source = decode(bytes);
    let mut reader = Reader {
        // Two spare bytes for a last line without an end: most descriptions are then read without a second allocation.
        made: Description {
            text: String::with_capacity(source.len() + 2),
            lines: Vec::with_capacity(source.len() / 16),
            media_at: Vec::new(),
        },
        has_origin: false,
    };
    let mut number = 0;
    let mut rest = Some(&*source);
    while let Some(text) = rest {
        let line;
        (line, rest) = cut(text, b'\n').map_or((text, None), |(line, rest)| (line, Some(rest)));
        number += 1;
        let line = without_cr(line);
        if !line.bytes().all(|b| b.is_ascii_whitespace()) {
            reader.line(line).map_err(|fault| SdpError { line: number, fault })?;
        }
    }
    if reader.made.lines.is_empty() {
        return Err(SdpError { line: 1, fault: SdpFault::Version });
    }
    if !reader.has_origin {
        return Err(SdpError { line: number, fault: SdpFault::NoOrigin });
    }
    Ok(reader.made)
}

/// Indexes a text that was a description's before: there every line ends with CRLF. No limits are held to it, as one
/// that was made of another may be a little longer than that.
pub(super) fn index(text: String) -> Option<Description> {
    let mut made = Description { text: String::new(), lines: Vec::new(), media_at: Vec::new() };
    let mut start = 2;
    let mut has_origin = false;
    for line in text.strip_suffix("\r\n")?.split("\r\n") {
        let [letter @ (b'A'..=b'Z' | b'a'..=b'z'), b'=', ..] = *line.as_bytes() else { return None };
        let value = &line[2..];
        match letter {
            _ if value.bytes().any(|b| matches!(b, 0 | b'\r' | b'\n')) => return None,
            b'v' if made.lines.is_empty() => {}
            _ if made.lines.is_empty() => return None,
            b'o' => {
                origin(value).filter(|_| made.media_at.is_empty())?;
                has_origin = true;
            }
            b'c' => drop(connection(value)?),
            b'm' => {
                media(value).filter(|_| has_origin)?;
                made.media_at.push(u16::try_from(made.lines.len()).ok()?);
            }
            _ => {}
        }
        let end = start + u32::try_from(value.len()).ok()?;
        made.lines.push(Line { letter, start, end });
        start = end + 4;
    }
    has_origin.then_some(Description { text, ..made })
}

/// Both sides of the first such byte, which must be ASCII. For texts of a line: a search that looks at many bytes at
/// once would take longer to begin than this to end.
pub(crate) fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = text.as_bytes().iter().position(|b| *b == byte)?;
    Some((&text[..at], &text[at + 1..]))
}

fn without_cr(mut line: &str) -> &str {
    while let Some(shorter) = line.strip_suffix('\r') {
        line = shorter;
    }
    line
}

/// What is not UTF-8 is read as Latin-1: old phones write the user's name so.
fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect()),
    }
}

struct Reader {
    made: Description,
    has_origin: bool,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), SdpFault> {
        let (letter, value) = match line.as_bytes() {
            [letter, b'=', ..] if letter.is_ascii_alphabetic() => (*letter, &line[2..]),
            _ => return Err(SdpFault::Shape),
        };
        // Counting has no early way out, so the compiler looks at many bytes at once.
        if value.bytes().filter(|b| matches!(b, 0 | b'\r')).count() != 0 {
            return Err(SdpFault::Control);
        }
        if line.len() > LINE_BYTES || self.made.lines.len() >= LINES {
            return Err(SdpFault::TooLarge);
        }
        self.check(letter, value)?;
        let start = self.made.text.len() as u32 + 2;
        self.made.text.push_str(line);
        self.made.lines.push(Line { letter, start, end: self.made.text.len() as u32 });
        self.made.text.push_str("\r\n");
        Ok(())
    }

    fn check(&mut self, letter: u8, value: &str) -> Result<(), SdpFault> {
        if (letter == b'v' && value.trim_ascii() == "0") != self.made.lines.is_empty() {
            return Err(SdpFault::Version);
        }
        match letter {
            b'o' => {
                origin(value).filter(|_| !self.has_origin && self.made.media_at.is_empty()).ok_or(SdpFault::Origin)?;
                self.has_origin = true;
            }
            b'c' => {
                connection(value).ok_or(SdpFault::Connection)?;
            }
            b'm' => self.check_media(value)?,
            _ => {}
        }
        Ok(())
    }

    fn check_media(&mut self, value: &str) -> Result<(), SdpFault> {
        if !self.has_origin {
            return Err(SdpFault::NoOrigin);
        }
        let (_, _, _, formats) = media(value).ok_or(SdpFault::Media)?;
        if self.made.media_at.len() >= MEDIA || formats.split_ascii_whitespace().nth(FORMATS).is_some() {
            return Err(SdpFault::TooLarge);
        }
        self.made.media_at.push(self.made.lines.len() as u16);
        Ok(())
    }
}

/// The five last fields stand fixed, so a user name with blanks, which some phones take from a display name, is whole.
pub(super) fn origin(value: &str) -> Option<Origin<'_>> {
    let (rest, address) = last_field(value)?;
    let (rest, address_type) = last_field(rest)?;
    let (rest, _network) = last_field(rest)?;
    let (rest, version) = last_field(rest)?;
    let (rest, session_id) = last_field(rest)?;
    let username = rest.trim_ascii();
    Some(Origin { username, session_id, version, address_type, address })
}

fn last_field(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_end();
    let (rest, field) = match text.bytes().rposition(is_blank) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => ("", text),
    };
    (!field.is_empty()).then_some((rest, field))
}

pub(super) fn connection(value: &str) -> Option<Connection<'_>> {
    let mut fields = value.split_ascii_whitespace();
    let _network = fields.next()?;
    let address_type = fields.next()?;
    let address = fields.next()?;
    let address = cut(address, b'/').map_or(address, |(address, _)| address);
    Some(Connection { address_type, address })
}

/// Kind, port, protocol and formats. Formats may be missing: declined media are sometimes written so.
pub(super) fn media(value: &str) -> Option<(&str, u16, &str, &str)> {
    let (kind, rest) = first_field(value)?;
    let (port, rest) = first_field(rest)?;
    let (protocol, formats) = first_field(rest)?;
    // `49170/2` asks for two ports in a row, which nobody does for audio.
    let port = cut(port, b'/').map_or(port, |(port, _)| port);
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((kind, port.parse().ok()?, protocol, formats.trim_ascii()))
}

fn first_field(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_start();
    let at = text.bytes().position(is_blank).unwrap_or(text.len());
    (at != 0).then(|| text.split_at(at))
}

/// Bytes are looked at, not characters: blanks are never part of a longer character.
fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}
