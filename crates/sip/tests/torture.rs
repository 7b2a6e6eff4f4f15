//! RFC 4475 and RFC 5118: what each of their messages comes to when it is read.
//!
//! `expect.json` says what the RFCs want; `outcomes.txt` says what we make of each message, line by line, so that a
//! change of mind shows.

use bytes::Bytes;
use serde_json::Value;
use sip::{Framer, Message, MessageBuilder, peek};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

const STORED: &str = "the torture messages are part of the repository";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/torture")
}

/// Archive, name, what is expected, bytes.
fn messages() -> Vec<(String, String, Value, Bytes)> {
    let expect: Value = serde_json::from_slice(&fs::read(folder().join("expect.json")).expect(STORED)).expect(STORED);
    let mut all = Vec::new();
    for rfc in ["rfc4475", "rfc5118"] {
        for (name, expected) in expect[rfc].as_object().expect(STORED) {
            let file = folder().join(rfc).join(format!("{name}.dat"));
            all.push((rfc.to_owned(), name.clone(), expected.clone(), on_the_wire(fs::read(file).expect(STORED))));
        }
    }
    all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    all
}

/// The archive of RFC 5118 has Unix line ends, and its two bodies are shorter than their Content-Length.
fn on_the_wire(file: Vec<u8>) -> Bytes {
    if file.contains(&b'\r') {
        return Bytes::from(file);
    }
    let text = String::from_utf8(file).expect(STORED).replace('\n', "\r\n");
    let body = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    let text = text.replace("Content-Length: 268", &format!("Content-Length: {body}"));
    Bytes::from(text.replace("Content-Length: 181", &format!("Content-Length: {body}")))
}

/// `fine`, or the status and reason of the answer, or what is dropped.
fn outcome(bytes: &Bytes) -> String {
    match Message::parse(bytes.clone()) {
        Ok(message) => match message.check() {
            Ok(()) => "fine".to_owned(),
            Err(_) if !message.is_request() => "drop".to_owned(),
            Err(error) => format!("400 {}", error.reason()),
        },
        Err(error) if error.salvage().is_some() => format!("{} {}", error.status(), error.reason()),
        Err(_) => "drop".to_owned(),
    }
}

#[test]
fn each_message_comes_to_what_its_rfc_wants() {
    for (rfc, name, expected, bytes) in messages() {
        let outcome = outcome(&bytes);
        let prefers = |code: u64| expected["prefer"].as_array().is_some_and(|list| list.contains(&code.into()));
        let context = format!("{rfc}/{name}: {outcome}, expected {expected}");
        match expected["class"].as_str().unwrap() {
            "valid" => assert_eq!(outcome, "fine", "{context}"),
            "response" => assert!(!outcome.starts_with("400"), "{context}"),
            "invalid" if prefers(400) && !prefers(404) && !prefers(501) => {
                assert!(outcome.starts_with("400"), "{context}");
            }
            "invalid" if prefers(505) => assert!(outcome.starts_with("505"), "{context}"),
            // What is well-formed but not wanted is for higher layers to refuse.
            "invalid" | "liberal" => assert!(outcome == "fine" || outcome.starts_with("400"), "{context}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn outcomes_are_those_on_file() {
    let mut found = String::new();
    for (rfc, name, _, bytes) in messages() {
        writeln!(found, "{rfc}/{name}: {}", outcome(&bytes)).unwrap();
    }
    let wanted = fs::read_to_string(folder().join("outcomes.txt")).unwrap();
    assert!(found == wanted, "outcomes differ from outcomes.txt; they are:\n{found}");
}

#[test]
fn valid_ones_have_their_headers_readable_and_can_be_answered() {
    for (rfc, name, expected, bytes) in messages() {
        if expected["class"] != "valid" {
            continue;
        }
        let message = Message::parse(bytes.clone()).unwrap();
        let context = format!("{rfc}/{name}");
        assert!(!message.via().unwrap().host.is_empty(), "{context}");
        assert!(!message.from().unwrap().uri.is_empty() && !message.to().unwrap().uri.is_empty(), "{context}");
        assert!(!message.call_id().unwrap().is_empty(), "{context}");
        assert!(message.cseq().is_ok() && message.max_forwards().is_ok(), "{context}");
        assert_eq!(peek(&bytes).unwrap().method, message.method_token(), "{context}");

        let answer = Message::parse(MessageBuilder::response(&message, 404, "", Some("x")).finish()).unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.call_id(), message.call_id());
        assert_eq!(answer.vias().count(), message.vias().count(), "{context}");
        assert!(answer.to_tag().is_some());
    }
}

#[test]
fn every_message_survives_a_stream_cut_into_pieces() {
    for (rfc, name, _, bytes) in messages() {
        let whole = frames(&bytes, bytes.len());
        for size in [1, 7, 64] {
            assert_eq!(frames(&bytes, size), whole, "{rfc}/{name} in pieces of {size}");
        }
    }
}

fn frames(bytes: &Bytes, size: usize) -> String {
    let mut framer = Framer::new();
    let mut out = String::new();
    for piece in bytes.chunks(size) {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(frame)) => writeln!(out, "{frame:?}").expect("a String takes all"),
                Ok(None) => break,
                Err(error) => {
                    writeln!(out, "{error}").expect("a String takes all");
                    return out;
                }
            }
        }
    }
    out
}
