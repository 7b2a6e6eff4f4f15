//! What follows an INVITE of ours hop by hop: the ACK to its refusal, and its CANCEL.

use crate::msg::{HeaderName, Message, MessageBuilder};
use bytes::Bytes;

/// RFC 3261 §17.1.1.3: the ACK to a 300–699 answer; To is the answer's.
pub(super) fn print_ack(request: &Bytes, answer: &Message) -> Option<Bytes> {
    let request = Message::parse(request.clone()).ok()?;
    Some(print_follower(&request, answer, "ACK").finish())
}

/// RFC 3261 §9.1: the CANCEL of a request, with the reason (RFC 3326) that its user gave.
pub(super) fn print_cancel(request: &Bytes, reason: Option<&str>) -> Option<Bytes> {
    let request = Message::parse(request.clone()).ok()?;
    let mut builder = print_follower(&request, &request, "CANCEL");
    if let Some(reason) = reason {
        builder = builder.header(HeaderName::Reason, reason);
    }
    Some(builder.finish())
}

/// What ACK and CANCEL have in common: everything that routes, from the request; To from elsewhere.
fn print_follower(request: &Message, to: &Message, method: &str) -> MessageBuilder {
    let number = request.cseq().map_or(0, |cseq| cseq.number);
    MessageBuilder::request(method, request.request_uri())
        .copy(request, HeaderName::Via)
        .copy(request, HeaderName::Route)
        .header(HeaderName::MaxForwards, "70")
        .copy(request, HeaderName::From)
        .copy(to, HeaderName::To)
        .copy(request, HeaderName::CallId)
        .cseq(number, method)
}
