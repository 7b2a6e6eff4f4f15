//! What strangers get: an answer, no service, and never more bytes than twice what they send.

use super::{Letter, lines, stranger};
use crate::flows::{SEEDS, connect, office, secs};
use std::net::SocketAddr;
use switch::Input;
use tests::sim::{World, for_seeds};
use words::{ConnectionId, Flow, Transport};

const METHODS: [&str; 13] = [
    "INVITE",
    "REGISTER",
    "OPTIONS",
    "SUBSCRIBE",
    "PUBLISH",
    "MESSAGE",
    "REFER",
    "NOTIFY",
    "INFO",
    "UPDATE",
    "BYE",
    "PRACK",
    "DANCE",
];

/// A request with nothing in it that is not needed.
fn bare(method: &str, source: SocketAddr, n: u32) -> Letter {
    let mut letter = Letter::new(method, source, n);
    letter.uri = "sip:102@192.0.2.10".into();
    letter.branch = format!("z9hG4bK{n}");
    letter.from = "<sip:a@h>;tag=a".into();
    letter.to = "<sip:b@h>".into();
    letter.call_id = n.to_string();
    letter
}

#[test]
fn a_stranger_is_sent_at_most_twice_his_bytes() {
    for_seeds(SEEDS, |seed| {
        for several in [false, true] {
            let mut world = World::new(seed);
            let bob = world.phone("102");
            if several {
                world.account("a-second-account-with-a-long-name-of-its-own");
            }
            world.register(&[bob]);
            for (n, method) in METHODS.into_iter().enumerate() {
                for kind in 0..4 {
                    let source = SocketAddr::new("198.51.100.66".parse().unwrap(), 6_000 + n as u16 * 10 + kind);
                    let mut letter = bare(method, source, n as u32 * 10 + u32::from(kind));
                    match kind {
                        0 => {}
                        1 => letter.from = "<sip:102@office.example>;tag=a".into(),
                        2 => letter = letter.with("Require", "x"),
                        _ => letter.to = "<sip:b@h>;tag=b".into(),
                    }
                    let text = letter.text();
                    world.post(source, &text);
                    world.pass(secs(40));
                    let sent: usize = world.heard_by_hand(source).iter().map(|answer| answer.bytes.len()).sum();
                    assert!(sent > 0, "{method} {kind} has no answer");
                    assert!(sent <= 2 * text.len(), "{method} {kind}: {sent} bytes for {}", text.len());
                }
            }
            world.finish();
        }
    });
}

#[test]
fn what_cannot_be_read_earns_no_more_either() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let whole = bare("OPTIONS", stranger(), 1).text();
        for end in 1..whole.len() {
            world.post(stranger(), &whole[..end]);
            world.pass(secs(1));
            let sent: usize = world.heard_by_hand(stranger()).iter().map(|answer| answer.bytes.len()).sum();
            assert!(sent <= 2 * end, "{sent} bytes for {end}: {:?}", &whole[..end]);
        }
        world.finish();
    });
}

#[test]
fn strangers_get_no_service() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        for (n, method) in METHODS.into_iter().enumerate() {
            for from in ["<sip:101@office.example>;tag=a", "<sip:office-101@office.example>;tag=a", "<sip:x@y>;tag=a"] {
                let mut letter = Letter::new(method, stranger(), n as u32)
                    .with("Event", if method == "NOTIFY" { "message-summary" } else { "dialog" })
                    .with("Contact", "<sip:101@198.51.100.66>")
                    .with("Refer-To", "<sip:101@office.example>");
                letter.from = from.into();
                letter.call_id.push_str(&from.len().to_string());
                letter.branch.push_str(&from.len().to_string());
                letter = match method {
                    "INVITE" => letter.describing("198.51.100.66"),
                    "MESSAGE" => {
                        letter.body = "pay at once".into();
                        letter.with("Content-Type", "text/plain")
                    }
                    "NOTIFY" => {
                        // Many lines, and one that is longer than any buffer for one.
                        letter.body = match from.len() % 2 {
                            0 => "Messages-Waiting: yes\r\n".repeat(2_000),
                            _ => format!("Voice-Message: {}/0 (0/0)\r\n", "9".repeat(40_000)),
                        };
                        letter.with("Content-Type", "application/simple-message-summary")
                    }
                    _ => letter,
                };
                let wanted: &[u16] = match method {
                    "INVITE" | "REGISTER" | "SUBSCRIBE" | "PUBLISH" | "MESSAGE" => &[401],
                    "REFER" => &[403],
                    "INFO" => &[405],
                    "DANCE" => &[501],
                    "OPTIONS" => &[200],
                    _ => &[481],
                };
                let status = letter.status(&mut world);
                assert!(wanted.contains(&status), "{method}: {status}");
            }
        }
        assert_eq!((lines(&world, ann), lines(&world, bob)), (0, 0));
        for phone in [ann, bob] {
            assert!(world.at_phone(phone).messages.taken.is_empty() && world.at_phone(phone).unasked.is_empty());
        }
        assert!(world.finish().is_empty());
    });
}

/// An INVITE storm over connections that close at once (ES2018-04, ES2020-02).
#[test]
fn invites_whose_connections_close_at_once_leave_nothing() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        for n in 0..200 {
            let connection = ConnectionId { slot: 5_000 + n, generation: 1 };
            let remote = SocketAddr::new(stranger().ip(), 10_000 + n as u16);
            let local = "192.0.2.10:5060".parse().unwrap();
            let flow = Flow { transport: Transport::Tcp, listener: 1, connection, local, remote };
            let text = Letter::new("INVITE", remote, n).describing("198.51.100.66").text().replace("/UDP", "/TCP");
            world.input(Input::Message { flow, bytes: text.into() });
            world.input(Input::FlowClosed { connection });
        }
        connect(&mut world, ann, bob, "102");
        assert_eq!(world.finish().len(), 1);
    });
}
