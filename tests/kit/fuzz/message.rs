//! Whole messages.

use bytes::Bytes;
use sip::{HeaderName, Message, MessageBuilder, ReferTo, Replaces, peek, reason_phrase};
use words::{ConnectionId, Flow, Transport};

/// A datagram as it comes.
pub(super) fn message(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let _ = peek(&bytes);
    match Message::parse(bytes) {
        Ok(message) => {
            look(&message);
            print_and_read(&message);
            if message.is_request() {
                answer(&message, 200);
            }
        }
        Err(error) => {
            assert!(matches!(error.status(), 400 | 505 | 513), "{error}");
            assert!(error.at <= input.len().max(1) * 3, "{error} of {} bytes", input.len());
            if let Some(request) = error.salvage() {
                look(request);
                answer(request, error.status());
            }
        }
    }
}

/// Every view of it: none panics, and those that say the same twice agree.
fn look(message: &Message) {
    assert!(message.body().len() <= message.bytes().len());
    assert_eq!(message.body_bytes(), message.body());
    assert_eq!(message.is_request(), message.status() == 0);
    let names: Vec<HeaderName> = message.all_headers().map(|(name, ..)| name).collect();
    for name in &names {
        let count = message.all_headers().filter(|(other, ..)| other == name).count();
        assert_eq!(message.headers(*name).count(), count, "{name}");
        let _ = (message.values(*name).count(), message.addresses(*name).count(), message.has_token(*name, "x"));
    }
    if let Ok(via) = message.via() {
        let first = message.vias().next();
        assert!(first.is_some_and(|first| first.is_err() || first == Ok(via)), "the topmost Via is the first");
    }
    for (address, tag) in [(message.from(), message.from_tag()), (message.to(), message.to_tag())] {
        if let Ok(address) = address {
            assert_eq!(address.tag(), tag);
        }
    }
    let _ = (message.check(), message.cseq(), message.call_id(), message.contact(), message.contacts().count());
    let _ = (message.max_forwards(), message.expires(), message.content_type(), message.session_expires());
    let _ = (message.min_se(), message.rseq(), message.rack(), message.knows("timer"), message.raw_header("x"));
    let _ = (ReferTo::of(message), Replaces::of(message));
}

/// Its lines printed anew are the same message.
fn print_and_read(message: &Message) {
    // What would end a line becomes a space in print: a lone CR or a NUL does not come back.
    let is_plain = |text: &str| !text.bytes().any(|byte| matches!(byte, 0 | b'\r'));
    let lines = || message.all_headers().filter(|(name, ..)| *name != HeaderName::ContentLength);
    let whole = message.all_headers().all(|(_, _, value)| is_plain(value));
    if !message.is_request() || !whole || !is_plain(message.request_uri()) {
        return;
    }
    let mut builder = MessageBuilder::request(message.method_token(), message.request_uri());
    for (_, written, value) in lines() {
        if HeaderName::parse(written) != HeaderName::ContentType {
            builder = builder.raw(written, value);
        }
    }
    let kind = message.content_type();
    let printed = match kind {
        Some(kind) => builder.finish_with_body(kind, message.body()),
        None => builder.finish(),
    };
    let Ok(again) = Message::parse(printed.clone()) else {
        // A long message may grow past what is taken in: names in full, line ends of two bytes.
        let grown = printed.len() > words::limit::MESSAGE_BYTES || names_near_limit(message);
        assert!(grown, "cannot read its own {printed:?}");
        return;
    };
    assert_eq!(again.request_uri(), message.request_uri());
    assert_eq!((again.method(), again.cseq()), (message.method(), message.cseq()));
    assert_eq!((again.from(), again.to(), again.via()), (message.from(), message.to(), message.via()));
    if kind.is_some() {
        assert_eq!(again.body(), message.body());
    }
    let other =
        |(name, ..): &(HeaderName, &str, &str)| !matches!(name, HeaderName::ContentLength | HeaderName::ContentType);
    assert!(again.all_headers().filter(other).eq(message.all_headers().filter(other)), "{printed:?}");
}

/// Content-Length and Content-Type come beside what it has.
fn names_near_limit(message: &Message) -> bool {
    message.all_headers().count() + 2 > words::limit::HEADER_LINES
}

/// An answer can be read, and says where the request came from.
fn answer(request: &Message, status: u16) {
    let flow = Flow {
        transport: Transport::Udp,
        listener: 0,
        connection: ConnectionId::NONE,
        local: "192.0.2.1:5060".parse().expect("an address"),
        remote: "198.51.100.7:40123".parse().expect("an address"),
    };
    let bytes = MessageBuilder::response_via(request, &flow, status, "", Some("ours")).finish();
    // It repeats what the request has, and adds a tag, an address and little more.
    assert!(bytes.len() <= request.bytes().len() * 3 + 256, "{} bytes for {}", bytes.len(), request.bytes().len());
    if let Ok(response) = Message::parse(bytes) {
        assert_eq!((response.status(), response.reason()), (status, reason_phrase(status)));
        if let Ok(call_id) = request.call_id() {
            assert_eq!(response.call_id(), Ok(call_id));
        }
        // A NUL becomes a space, so a Via that could not be read may be another afterwards.
        if request.vias().all(|via| via.is_ok()) {
            assert_eq!(response.vias().count(), request.vias().count());
        }
        if let (Ok(stamped), Ok(via)) = (response.via(), request.via()) {
            assert_eq!(stamped.branch(), via.branch());
            assert!(via.rport().is_none() || stamped.rport() == Some(Some(40_123)));
        }
        if request.to().is_ok() {
            assert_eq!(response.to_tag(), request.to_tag().or(Some("ours")));
        }
    }
}
