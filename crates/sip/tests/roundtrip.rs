//! What is printed is read back, and no bytes make a reader panic or disagree with itself.

use bytes::Bytes;
use proptest::prelude::*;
use sip::digest::Credentials;
use sip::{Contact, Framer, HeaderName, Message, MessageBuilder, NameAddr, Uri, Via, classify_datagram, peek};

/// Texts with the characters that matter: separators, quotes, escapes, line ends, letters beyond ASCII.
const HOSTILE: &str = "[a-z0-9 ;,=<>\"\\\\@:?%\\[\\]\r\n\t\u{0}\u{e9}\u{44f}.*/-]{0,40}";

/// What a value becomes on its way: no line ends, no white space around it.
fn carried(value: &str) -> String {
    value.replace(['\r', '\n', '\0'], " ").trim_matches([' ', '\t']).to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_value_comes_back_and_adds_no_header(subject in HOSTILE, other in HOSTILE, body: Vec<u8>) {
        let bytes = MessageBuilder::request("INVITE", "sip:b@h")
            .header(HeaderName::From, "<sip:a@h>;tag=1")
            .header(HeaderName::To, "<sip:b@h>")
            .header(HeaderName::CallId, "c")
            .header(HeaderName::CSeq, "1 INVITE")
            .header(HeaderName::Subject, &subject)
            .raw("X-Other", &other)
            .finish_with_via("SIP/2.0/UDP h;branch=z9hG4bK1", Some(("text/plain", &body)));
        let message = Message::parse(bytes).unwrap();
        prop_assert_eq!(message.header(HeaderName::Subject).unwrap(), carried(&subject));
        prop_assert_eq!(message.raw_header("x-other").unwrap(), carried(&other));
        prop_assert_eq!(message.all_headers().count(), 9);
        prop_assert_eq!(message.body(), &body[..]);

        let answer = Message::parse(MessageBuilder::response(&message, 200, &subject, Some("t")).finish()).unwrap();
        prop_assert_eq!(answer.call_id(), message.call_id());
        prop_assert_eq!(answer.all_headers().count(), 6);
    }

    #[test]
    fn addresses_come_back(name in "[^\r\n\u{0}\"\\\\]{0,20}", user in "[a-z0-9._-]{1,12}", tag in "[A-Za-z0-9.!%*_+`'~-]{1,16}") {
        let text = format!("\"{name}\" <sip:{user}@example.com;x=1>;tag={tag};q");
        let address = NameAddr::parse(HeaderName::From, &text).unwrap();
        prop_assert_eq!(address.display_name(), name.as_str());
        prop_assert_eq!(address.tag(), Some(tag.as_str()));
        prop_assert_eq!(address.param("q"), Some(""));
        let uri = Uri::parse(address.uri).unwrap();
        prop_assert_eq!((uri.user, uri.host, uri.param("X")), (user.as_str(), "example.com", Some("1")));
        prop_assert!(Uri::equivalent(&uri, &uri));
    }

    #[test]
    fn hostile_values_never_panic(text in HOSTILE) {
        let _ = Uri::parse(&text).map(|uri| (Uri::equivalent(&uri, &uri), uri.user_unescaped().len(), uri.param("x")));
        let _ = Via::parse(&text).map(|via| (via.branch(), via.rport(), via.received(), via.host_ip()));
        let _ = NameAddr::parse(HeaderName::To, &text).map(|to| (to.tag(), to.display_name().len()));
        let _ = Credentials::parse(&format!("Digest {text}"));
        let _ = sip::digest::Challenge::parse(&format!("Digest {text}"));
    }
}

/// Reads all there is to read.
fn exhaust(bytes: &Bytes) {
    let _ = (peek(bytes), classify_datagram(bytes));
    let parsed = Message::parse(bytes.clone());
    let message = match &parsed {
        Ok(message) => message,
        Err(error) => match error.salvage() {
            Some(message) => message,
            None => return,
        },
    };
    let _ = message.check();
    let _ = (message.via(), message.from_tag(), message.to_tag(), message.cseq(), message.call_id(), message.expires());
    let _ = (message.method_token(), message.request_uri(), message.reason(), message.max_forwards());
    for contact in message.contacts().flatten() {
        if let Contact::Address(address) = contact {
            let _ = (Uri::parse(address.uri), address.display_name(), address.params.iter().count());
        }
    }
    for (name, _, value) in message.all_headers() {
        let _ = (message.values(name).count(), Credentials::parse(value));
    }
    if message.is_request() {
        let answer = MessageBuilder::response(message, 400, "", Some("t")).finish();
        let again = Message::parse(answer);
        if let (Ok(_), Ok(call_id)) = (&parsed, message.call_id()) {
            assert_eq!(again.expect("answers can be read").call_id(), Ok(call_id));
        }
    }
}

/// A generator of numbers that needs no crate and is the same in each run.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

const STORED: &str = "the torture messages are part of the repository";

fn corpus() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/torture");
    let mut files: Vec<_> = ["rfc4475", "rfc5118"]
        .iter()
        .flat_map(|rfc| std::fs::read_dir(folder.join(rfc)).expect(STORED).map(|entry| entry.expect(STORED).path()))
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect(STORED)).collect()
}

fn mutate(bytes: &mut Vec<u8>, chance: &mut Xorshift) {
    const BITS: [&[u8]; 14] =
        [b"\r\n", b"\r\n ", b"\"", b"\\", b"<", b">", b",", b";", b"\0", b"\xff", b"\xc3", b": ", b"[", b"99999999999"];
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len());
        match chance.below(4) {
            0 if !bytes.is_empty() => bytes[at] = chance.below(256) as u8,
            1 => {
                let bit = BITS[chance.below(BITS.len())];
                bytes.splice(at..at, bit.iter().copied());
            }
            2 => {
                let end = (at + chance.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + chance.below(60)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = chance.below(bytes.len());
                bytes.splice(to..to, copy);
            }
        }
    }
}

#[test]
fn mutated_messages_never_panic() {
    let corpus = corpus();
    let mut chance = Xorshift(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000 {
        let mut bytes = corpus[round % corpus.len()].clone();
        mutate(&mut bytes, &mut chance);
        exhaust(&Bytes::from(bytes));
    }
}

#[test]
fn a_stream_is_cut_the_same_way_in_any_pieces_and_its_frames_hold_their_whole_body() {
    let corpus = corpus();
    let mut chance = Xorshift(42);
    for round in 0..2_000 {
        let mut bytes = corpus[round % corpus.len()].clone();
        mutate(&mut bytes, &mut chance);
        let mut framer = Framer::new();
        for piece in bytes.chunks(1 + chance.below(200)) {
            framer.push(piece);
            while let Ok(Some(frame)) = framer.next() {
                if let sip::Frame::Message(message) = frame {
                    let length = message.len();
                    let blank = message.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
                    // Both readers must agree on where a message ends, or one could hide in another.
                    if let Ok(message) = Message::parse(message) {
                        assert!(blank == 0 && message.bytes().len() >= length);
                    }
                }
            }
        }
    }
}
