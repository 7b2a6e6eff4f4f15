//! Our dialog tags: they say which leg they belong to, so that a message finds its call without a search.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fmt::Write as _;

/// A local tag (RFC 3261 §19.3): the loop, the call's slot, the leg, and 64 bits of chance that nobody guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tag {
    pub(crate) shard: u16,
    pub(crate) slot: u32,
    pub(crate) leg: u16,
    pub(crate) chance: u64,
}

impl Tag {
    /// Reads a tag that may be ours.
    pub(crate) fn parse(text: &str) -> Option<Tag> {
        let bytes: &[u8; LENGTH] = text.as_bytes().try_into().ok()?;
        let place = parse_hex(&bytes[..LENGTH / 2])?;
        let chance = parse_hex(&bytes[LENGTH / 2..])?;
        Some(Tag { shard: (place >> 48) as u16, slot: (place >> 16) as u32, leg: place as u16, chance })
    }

    /// The tag as text.
    pub(crate) fn text(self) -> TagText {
        let place = u64::from(self.shard) << 48 | u64::from(self.slot) << 16 | u64::from(self.leg);
        let bytes = place.to_be_bytes().into_iter().chain(self.chance.to_be_bytes());
        let mut text = [0; LENGTH];
        for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
            *digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        }
        TagText(text)
    }
}

/// Reads sixteen digits.
fn parse_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

const HEX: [u8; 16] = *b"0123456789abcdef";

/// A tag as hexadecimal digits, without an allocation.
pub(crate) struct TagText([u8; LENGTH]);

impl TagText {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl fmt::Display for TagText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0 {
            f.write_char(char::from(byte))?;
        }
        Ok(())
    }
}

const LENGTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses() {
        let tag = Tag { shard: 1, slot: 70_000, leg: 2, chance: 0xfeed_0000_0000_0001 };
        assert_eq!(tag.text().as_str(), "0001000111700002feed000000000001");
        assert_eq!(Tag::parse(tag.text().as_str()), Some(tag));
    }

    #[test]
    fn foreign_tags_are_not_ours() {
        for text in ["", "1928301774", "0001000111700002FEED000000000001", "0001000111700002feed0000000000011"] {
            assert_eq!(Tag::parse(text), None);
        }
    }
}
