//! Numbers that overflow, lengths that lie, names without end: each is answered, or dropped, and hurts nobody.

use super::{Letter, description, final_status, stranger};
use crate::flows::{SEEDS, connect, office};
use std::net::SocketAddr;
use tests::sim::{World, for_seeds};

fn status_of(world: &mut World, change: impl FnOnce(&mut Letter)) -> u16 {
    let mut letter = Letter::new("OPTIONS", stranger(), 1);
    change(&mut letter);
    letter.status(world)
}

#[test]
fn a_cseq_that_is_no_number_of_32_bits_is_refused() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        for cseq in ["4294967296", "18446744073709551616", "99999999999999999999999999999999", "-1", "1e3", "0x1", ""] {
            assert_eq!(status_of(&mut world, |letter| letter.cseq = cseq.into()), 400, "{cseq}");
        }
        assert_eq!(status_of(&mut world, |letter| letter.cseq = "2147483647".into()), 200);
        // The number and the method must go together.
        let text = Letter::new("OPTIONS", stranger(), 9).text().replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
        assert_eq!(world.send_by_hand(stranger(), &text)[0].status, 400);
    });
}

/// Off by one and far off: names that grow to the largest message that there is.
#[test]
fn branches_tags_and_names_of_any_length_are_answered_or_dropped() {
    for_seeds(3, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        for length in [0, 1, 63, 64, 65, 127, 128, 255, 256, 257, 1_023, 1_024, 4_095, 4_096, 16_384, 60_000] {
            let long = "a".repeat(length);
            let mut letters = vec![Letter::new("OPTIONS", stranger(), length as u32); 6];
            letters[0].branch = format!("z9hG4bK{long}");
            letters[1].from = format!("<sip:101@office.example>;tag={long}");
            letters[2].to = format!("<sip:102@office.example>;tag={long}");
            letters[3].call_id = format!("c{long}");
            letters[4].uri = format!("sip:{long}@office.example");
            letters[5].from = format!("\"{long}\" <sip:101@office.example;{long}=1>;tag=1");
            for (n, mut letter) in letters.into_iter().enumerate() {
                letter.call_id.push_str(&n.to_string());
                letter.branch.push_str(&n.to_string());
                let answers = letter.send(&mut world);
                assert!(answers.len() <= 1, "{n} of {length}");
                let status = answers.first().map_or(0, |answer| answer.status);
                assert!(matches!(status, 0 | 200 | 400 | 413 | 481 | 513), "{n} of {length}: {status}");
            }
        }
        connect(&mut world, ann, bob, "102");
        world.finish();
    });
}

#[test]
fn numbers_of_other_headers_do_not_overflow() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        let source = world.at_phone(ann).address;
        let huge = "99999999999999999999999999";
        let lines = [
            format!("Max-Forwards: {huge}"),
            format!("Expires: {huge}"),
            format!("Min-SE: {huge}"),
            format!("Session-Expires: {huge}"),
            format!("RSeq: {huge}"),
            format!("RAck: {huge} {huge} INVITE"),
            format!("Timestamp: {huge}.{huge}"),
            format!("Retry-After: {huge}"),
            format!("Warning: {huge} h \"x\""),
            format!("Event: dialog;id={}", "x".repeat(5_000)),
            format!("Accept: {}", "application/sdp, ".repeat(400)),
            format!("Supported: {}", "x,".repeat(4_000)),
            format!("Via: SIP/2.0/UDP h:{huge};branch=z9hG4bKx"),
            format!("Via: SIP/2.0/UDP h;rport={huge};ttl={huge};received=:::"),
        ];
        for (n, line) in lines.iter().enumerate() {
            for (m, method) in ["OPTIONS", "INVITE", "REGISTER", "SUBSCRIBE", "PRACK"].into_iter().enumerate() {
                let mut letter = Letter::new(method, source, (n * 10 + m) as u32);
                letter.more = format!("{line}\r\n");
                let text = letter.text();
                let text = if line.starts_with("Max-F") { text.replace("Max-Forwards: 70\r\n", "") } else { text };
                let answers = world.send_by_hand(source, &text);
                assert!(!answers.is_empty() && answers.iter().all(|a| a.status >= 200), "{method} {line}");
            }
        }
        // An expiry beyond all numbers is the longest that is granted (RFC 3261 §20.19).
        let letter = Letter::register(source, &format!("<sip:101@{source}>;expires={huge}"), 99);
        let asked = letter.send(&mut world);
        let granted = letter.proving(asked.last().unwrap(), "office-101").send(&mut world).pop().unwrap();
        assert_eq!(granted.status, 200);
        assert_eq!(world.bound().len(), 1);
        world.finish();
    });
}

#[test]
fn a_content_length_that_lies_is_refused_or_cut() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let with = |lines: &str, body: &str| {
            let mut letter = Letter::new("OPTIONS", stranger(), 3);
            letter.body = "x".into();
            letter.text().replace("Content-Length: 1\r\n\r\nx", &format!("{lines}\r\n\r\n{body}"))
        };
        for lines in [
            "Content-Length: 10",
            "Content-Length: 4294967296",
            "Content-Length: 18446744073709551617",
            "Content-Length: 99999999999999999999999999",
            "Content-Length: -1",
            "Content-Length: +3",
            "Content-Length: 3x",
            "Content-Length: 0x3",
            "Content-Length: 3, 3",
            "Content-Length: 3 3",
            "Content-Length:",
            "Content-Length: 3\r\nl: 2",
            "l: 2\r\nContent-Length: 3",
            "Content-Length: 3\r\n\t3",
        ] {
            assert_eq!(world.send_by_hand(stranger(), &with(lines, "abc"))[0].status, 400, "{lines}");
        }
        for lines in ["Content-Length: 3", "l:3", "L : 3", "Content-Length:\r\n 3", "Content-Length: 0", "X: 1"] {
            assert_eq!(world.send_by_hand(stranger(), &with(lines, "abc"))[0].status, 200, "{lines}");
        }
        // What stands behind a body is no second request.
        let second = Letter::new("OPTIONS", stranger(), 4).text();
        assert_eq!(world.send_by_hand(stranger(), &with("Content-Length: 0", &second)).len(), 1);
    });
}

#[test]
fn descriptions_that_lie_are_refused() {
    let here = "198.51.100.1";
    let change = |from: &str, to: &str| description(here).replace(from, to);
    let long = "x".repeat(20_000);
    let bodies = [
        change("a=rtpmap:8 PCMA/8000", "a=rtpmap:8 PCMA/0"),
        change("a=rtpmap:8 PCMA/8000", "a=rtpmap:99999999999 PCMA/8000"),
        change("a=rtpmap:8 PCMA/8000", "a=rtpmap:8 PCMA/99999999999999999999"),
        change("a=rtpmap:8 PCMA/8000", "a=rtpmap:"),
        change("a=rtpmap:8 PCMA/8000", &format!("a=rtpmap:8 {long}/8000")),
        change("a=rtpmap:8 PCMA/8000", "a=fmtp:8"),
        change("a=rtpmap:8 PCMA/8000", &format!("a=fmtp:8 {long}")),
        change("a=rtpmap:8 PCMA/8000", "a=fmtp:\0 mode=\0"),
        change("m=audio 40000", "m=audio 99999"),
        change("m=audio 40000", "m=audio -1"),
        change("m=audio 40000", "m=audio 40000/99999999"),
        change("RTP/AVP 8 0", "RTP/AVP 8 0 256 999999999999 -1"),
        change("RTP/AVP 8 0", "RTP/AVP"),
        change("c=IN IP4 198.51.100.1", "c=IN IP4 198.51.100.1/127/99999999"),
        change("c=IN IP4 198.51.100.1", "c=IN IP4 999.1.1.1"),
        change("c=IN IP4 198.51.100.1", "c=IN IP6 ::"),
        change("t=0 0", "t=99999999999999999999999 0"),
        change("v=0", "v=0\0"),
        change("\r\n", "\n\n"),
        "m=audio 1 RTP/AVP 0\r\n".repeat(2_000),
        "\0".repeat(1_000),
    ];
    for_seeds(3, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let source: SocketAddr = world.at_phone(ann).address;
        for (n, body) in bodies.iter().enumerate() {
            let mut letter = Letter::new("INVITE", source, n as u32).with("Contact", &format!("<sip:101@{source}>"));
            letter = letter.with("Content-Type", "application/sdp");
            letter.body.clone_from(body);
            let asked = letter.send(&mut world);
            // An answer to the one before may come again, whose ACK never comes.
            let asked = asked.iter().find(|answer| answer.header(sip::HeaderName::WwwAuthenticate).is_some());
            let invite = letter.proving(asked.expect("it is asked who it is"), "office-101");
            let answers = invite.send(&mut world);
            assert!(!answers.is_empty(), "{n}: {body:.200}");
            if final_status(&answers) == 0 {
                let cancel = Letter { method: "CANCEL".into(), more: String::new(), body: String::new(), ..invite };
                assert_eq!(cancel.send(&mut world)[0].status, 200);
            }
        }
        world.pass(crate::flows::secs(70));
        connect(&mut world, ann, bob, "102");
        world.finish();
    });
}
