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
    // Counted to the end: without an early way out the compiler looks at sixteen bytes at a time.
    bytes.iter().filter(|b| **b <= b' ' || matches!(b, b'<' | b'>' | b'"' | 0x7f)).count() == 0
}
