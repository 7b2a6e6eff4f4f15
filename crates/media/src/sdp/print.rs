//! Descriptions that are made here: lines are appended to the text and indexed at once, so nothing is read twice.

use super::{Description, Line, parse};
use std::fmt::Write as _;
use std::net::IpAddr;

impl Description {
    /// An empty description to which lines are added: `v=`, then `o=` with the exchange's own words.
    pub(crate) fn begin(session_id: u64, version: u64, address: IpAddr) -> Self {
        let mut made = Description {
            text: String::with_capacity(512),
            lines: Vec::with_capacity(24),
            media_at: Vec::with_capacity(2),
        };
        let mut written = String::with_capacity(48);
        push_address(&mut written, address);
        made.line(b'v', &["0"]);
        made.add(b'o', |text| {
            text.push_str("- ");
            push_number(text, session_id);
            text.push(' ');
            push_number(text, version);
            text.push(' ');
            text.push_str(&written);
        });
        made.line(b's', &["-"]);
        made.line(b'c', &[&written]);
        made
    }

    /// Adds a line whose value is these parts in a row.
    pub(crate) fn line(&mut self, letter: u8, parts: &[&str]) {
        self.add(letter, |text| parts.iter().for_each(|part| text.push_str(part)));
    }

    /// The place of the first audio that is not declined.
    pub(crate) fn live_audio(&self) -> Option<usize> {
        self.media().find(|media| media.kind == "audio" && media.port != 0).map(|media| media.index)
    }

    /// The same with more lines at the end of its session, and of the media at this place.
    pub(super) fn insert(self, of_session: &str, index: usize, of_media: &str) -> Description {
        // Before the letter of a line, and its `=`.
        let before =
            |index: usize| self.media_at.get(index).map(|&line| self.lines[usize::from(line)].start as usize - 2);
        let (first, next) = (before(0).unwrap_or(self.text.len()), before(index + 1).unwrap_or(self.text.len()));
        let mut text = self.text;
        text.insert_str(next, of_media);
        text.insert_str(first, of_session);
        parse::index(text).expect("a description with lines more is one")
    }

    /// Adds an `m=` line; the formats follow in a row.
    pub(crate) fn media_line<'a>(
        &mut self,
        kind: &str,
        port: u16,
        protocol: &str,
        formats: impl Iterator<Item = &'a str>,
    ) {
        let place = self.lines.len() as u16;
        self.add(b'm', |text| {
            text.push_str(kind);
            text.push(' ');
            push_number(text, u64::from(port));
            text.push(' ');
            text.push_str(protocol);
            for format in formats {
                text.push(' ');
                text.push_str(format);
            }
        });
        self.media_at.push(place);
    }

    fn add(&mut self, letter: u8, write: impl FnOnce(&mut String)) {
        self.text.push(char::from(letter));
        self.text.push('=');
        let start = self.text.len() as u32;
        write(&mut self.text);
        self.lines.push(Line { letter, start, end: self.text.len() as u32 });
        self.text.push_str("\r\n");
    }
}

/// `IN IP4 192.0.2.1`.
fn push_address(text: &mut String, address: IpAddr) {
    let address = address.to_canonical();
    text.push_str(if address.is_ipv4() { "IN IP4 " } else { "IN IP6 " });
    match address {
        IpAddr::V4(address) => {
            for (n, octet) in address.octets().into_iter().enumerate() {
                if n > 0 {
                    text.push('.');
                }
                push_number(text, u64::from(octet));
            }
        }
        IpAddr::V6(address) => write!(text, "{address}").expect("writing to a String cannot fail"),
    }
}

fn push_number(text: &mut String, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.push_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}
