//! Bodies of several parts.

use bytes::Bytes;
use sip::{HeaderName, Message, MessageBuilder};

/// The first line is a Content-Type, the rest the body.
pub(super) fn multipart(input: &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let (kind, body) = (String::from_utf8_lossy(&input[..end]), &input[end..]);
    let builder = MessageBuilder::request("INVITE", "sip:a@h")
        .header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bK1")
        .header(HeaderName::From, "<sip:a@h>;tag=1")
        .header(HeaderName::To, "<sip:a@h>")
        .header(HeaderName::CallId, "c")
        .header(HeaderName::CSeq, "1 INVITE");
    let Ok(message) = Message::parse(builder.finish_with_body(&kind, body)) else { return };
    for wanted in ["application/sdp", "text/plain", ""] {
        let Ok(Some(found)) = message.body_of(wanted) else { continue };
        let (outer, inner) = (message.body().as_ptr_range(), found.as_ptr_range());
        assert!(found.is_empty() || outer.start <= inner.start && inner.end <= outer.end, "a part lies in its body");
        // A part can be sent as a body of its own.
        let builder =
            MessageBuilder::request("INVITE", "sip:a@h").header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bK1");
        let _: Bytes = builder.finish_with_body(wanted, found);
    }
}
