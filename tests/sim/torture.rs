//! RFC 4475 and RFC 5118 against a whole exchange: what each of their messages is answered, by the statuses that
//! `expect.json` names. Whoever calls needs no password, so that what is asked for is reached.

use crate::flows::secs;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use switch::ListenerConfig;
use tests::sim::{Heard, World};

const STORED: &str = "the torture messages are part of the repository";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/torture")
}

/// Archive and name, what is expected, bytes.
fn messages() -> Vec<(String, Value, Vec<u8>)> {
    let expect: Value =
        serde_json::from_slice(&std::fs::read(folder().join("expect.json")).expect(STORED)).expect(STORED);
    let of = |rfc: &'static str| {
        let all = expect[rfc].as_object().expect(STORED).clone();
        all.into_iter().map(move |(name, expected)| {
            let file = std::fs::read(folder().join(rfc).join(format!("{name}.dat"))).expect(STORED);
            (format!("{rfc}/{name}"), expected, on_the_wire(file))
        })
    };
    of("rfc4475").chain(of("rfc5118")).collect()
}

/// The archive of RFC 5118 has Unix line ends, and its two bodies are shorter than their Content-Length.
fn on_the_wire(file: Vec<u8>) -> Vec<u8> {
    if file.contains(&b'\r') {
        return file;
    }
    let text = String::from_utf8(file).expect(STORED).replace('\n', "\r\n");
    let body = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    let text = text.replace("Content-Length: 268", &format!("Content-Length: {body}"));
    text.replace("Content-Length: 181", &format!("Content-Length: {body}")).into_bytes()
}

/// The final answer to a message in a world of its own; `None`: it is dropped.
fn answered(seed: u64, name: &str, message: &[u8]) -> Option<(u16, String)> {
    let mut world = World::with(seed, |config| {
        let open = ListenerConfig { account: Some(words::AccountId(1)), port: None, open: true };
        config.listeners = vec![open; 2];
    });
    assert_eq!(world.office, words::AccountId(1));
    let source = SocketAddr::from(([198, 51, 100, 66], 5060));
    let heard = world.send_octets(source, message);
    let finals: Vec<&Heard> = heard.iter().filter(|answer| answer.status >= 200).collect();
    let of_request =
        |heard: &Heard| String::from_utf8_lossy(&heard.bytes).lines().next().unwrap_or_default().to_owned();
    let first = finals.first().map(|answer| (answer.status, of_request(answer)));
    let other = finals.iter().find(|answer| Some(answer.status) != first.as_ref().map(|(status, _)| *status));
    assert!(other.is_none(), "{name} is answered twice: {first:?}, {other:?}");
    world.pass(secs(100));
    world.finish();
    first
}

/// What is wrong with an answer, by the reading that `_doc` in the file gives.
fn fault(expected: &Value, status: Option<u16>) -> Option<&'static str> {
    let names = |list: &str| -> Vec<u64> {
        expected[list].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    };
    let (class, prefer) = (expected["class"].as_str().expect(STORED), names("prefer"));
    let Some(status) = status.map(u64::from) else {
        return (class != "response" && expected["drop_ok"] != true).then_some("dropped");
    };
    if names("deny").contains(&status) {
        return Some("denied");
    }
    let named = prefer.contains(&status) || names("ok").contains(&status);
    // Well-formed: taken, or refused for who sent it or what it is about, never for how it is written.
    let understood = [200, 401, 403, 404, 405, 407, 480, 481, 488].contains(&status);
    match class {
        "response" => Some("an answer is answered"),
        "valid" if prefer.is_empty() => (!understood).then_some("not understood"),
        "liberal" => (!named && !understood).then_some("neither refused nor understood"),
        _ => (!named).then_some("another status"),
    }
}

#[test]
fn each_message_gets_the_answer_that_its_rfc_wants() {
    let all = messages();
    assert_eq!(all.len(), 61);
    let (mut kept, mut faults) = (0, Vec::new());
    for (n, (name, expected, bytes)) in all.iter().enumerate() {
        let answer = answered(n as u64, name, bytes);
        match fault(expected, answer.as_ref().map(|(status, _)| *status)) {
            None => kept += 1,
            Some(fault) => faults.push(format!("{name}: {fault}: {answer:?}, expected {expected}")),
        }
        if let Some((status, line)) = answer {
            let phrase = line.splitn(3, ' ').nth(2).unwrap_or_default();
            assert!(!phrase.is_empty(), "{name}: {status} without a word");
        }
    }
    println!("{kept} of {} as their RFCs want", all.len());
    // Its sender says nowhere to be reached (RFC 3261 §8.1.1.8): there could be no dialog with it.
    let known = ["rfc4475/inv2543"];
    let others: Vec<_> = faults.iter().filter(|fault| !known.iter().any(|name| fault.starts_with(name))).collect();
    assert!(kept >= 59 && others.is_empty(), "{kept} of 61: {faults:#?}");
}

/// RFC 4475 §3.1.1.8: what follows the body in a datagram is no message.
#[test]
fn octets_after_a_body_get_no_answer() {
    let (_, expected, bytes) = messages().into_iter().find(|(name, ..)| name.ends_with("/dblreq")).expect(STORED);
    let mut world = World::new(1);
    let source = SocketAddr::from(([198, 51, 100, 66], 5060));
    let heard = world.send_octets(source, &bytes);
    let call_ids: Vec<_> = heard.iter().filter_map(|answer| answer.header(sip::HeaderName::CallId)).collect();
    assert_eq!(call_ids, [expected["only_call_id"].as_str().expect(STORED)]);
    world.finish();
}
