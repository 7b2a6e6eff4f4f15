//! A body that is printed once per change and sent to everybody who watches; only the version differs.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A printed state. A subscription's version is put into its place when it is sent (RFC 4235 §4.1, RFC 3680 §5.1: it
/// counts the documents of one subscription).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Document {
    bytes: Bytes,
    /// Where the version goes.
    version_at: Option<usize>,
}

impl Document {
    /// A body that is the same for everybody.
    pub(crate) fn plain(text: String) -> Self {
        Document { bytes: Bytes::from(text), version_at: None }
    }

    /// A body with a version between its two parts.
    pub(crate) fn versioned(mut head: String, tail: &str) -> Self {
        let version_at = Some(head.len());
        head.push_str(tail);
        Document { bytes: Bytes::from(head), version_at }
    }

    /// The body as one subscriber gets it.
    pub(crate) fn body(&self, version: u32) -> Bytes {
        let Some(at) = self.version_at else { return self.bytes.clone() };
        let (mut digits, mut first, mut rest) = ([b'0'; 10], 9, version);
        while rest > 9 {
            digits[first] += (rest % 10) as u8;
            rest /= 10;
            first -= 1;
        }
        digits[first] += rest as u8;
        let mut body = Vec::with_capacity(self.bytes.len() + digits.len() - first);
        body.extend_from_slice(&self.bytes[..at]);
        body.extend_from_slice(&digits[first..]);
        body.extend_from_slice(&self.bytes[at..]);
        Bytes::from(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_put_into_its_place() {
        let document = Document::versioned("<a v=\"".into(), "\"/>");
        assert_eq!(&document.body(0)[..], b"<a v=\"0\"/>");
        assert_eq!(&document.body(4_294_967_295)[..], b"<a v=\"4294967295\"/>");
        assert_eq!(&document.body(1_090)[..], b"<a v=\"1090\"/>");
        assert_eq!(Document::plain("x".into()).body(7), "x");
    }
}
