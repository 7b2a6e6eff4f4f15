//! The characters of RFC 3261 §25.1.

const CLASSES: [bool; 256] = token_table();

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        table[b] = c.is_ascii_alphanumeric()
            || matches!(c, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        b += 1;
    }
    table
}

/// Whether the byte may stand in a `token`.
pub(crate) const fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize]
}

/// Space or tab: folded lines are unfolded before anybody looks.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The first place at or after `at` that is no white space.
pub(crate) fn skip_lws(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is_lws(bytes[at]) {
        at += 1;
    }
    at
}

/// Without white space at both ends.
pub(crate) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let (mut start, mut end) = (0, bytes.len());
    while start < end && is_lws(bytes[start]) {
        start += 1;
    }
    while end > start && is_lws(bytes[end - 1]) {
        end -= 1;
    }
    &text[start..end]
}

/// Whether no byte is one that ends a URI where it stands: white space, controls, quotes, angle brackets.
pub(crate) fn is_uri_text(bytes: &[u8]) -> bool {
    // Not `all`: without an early way out the compiler looks at sixteen bytes at a time.
    let bad = |b: u8| {
        u8::from(b <= b' ') | u8::from(b == b'<') | u8::from(b == b'>') | u8::from(b == b'"') | u8::from(b == 0x7f)
    };
    bytes.iter().fold(0, |found, b| found | bad(*b)) == 0
}

/// Where `needle` first is. For needles that are near: eight bytes at a look, without the call and the set-up that make
/// `memchr` the better choice from some thirty bytes on.
pub(crate) fn find_near(bytes: &[u8], needle: u8) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let pattern = ONES * u64::from(needle);
    let (words, tail) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let differs = u64::from_le_bytes(*word) ^ pattern;
        // A byte of `differs` is zero where the needle is; only the lowest mark is exact, and only it is used.
        let marks = differs.wrapping_sub(ONES) & !differs & HIGH;
        if marks != 0 {
            return Some(number * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    tail.iter().position(|b| *b == needle).map(|at| words.len() * 8 + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_needle_is_found_where_it_first_is() {
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![b';'; length];
                bytes[at] = b':';
                bytes[length - 1] = b':';
                assert_eq!(find_near(&bytes, b':'), Some(at));
                assert_eq!(find_near(&bytes, b'@'), None);
            }
        }
        assert_eq!(find_near(b"\x00\x01\xff\x80\x3b\x3a", b':'), Some(5));
    }

    #[test]
    fn uri_text_has_no_byte_that_ends_it() {
        assert!(is_uri_text("sip:é@h;x=[y]?a=b".as_bytes()));
        for bad in ["a b", "a\0", "<", ">", "\"", "\u{7f}", "\t"] {
            assert!(!is_uri_text(format!("sip:averylongusername{bad}@h").as_bytes()), "{bad:?}");
        }
    }
}
