//! What is refused before it becomes a transaction.

use super::super::*;
use super::kit::*;

#[test]
fn a_merged_request_is_482_until_the_first_is_refused() {
    let mut bed = Bed::new();
    bed.receive(udp(), &text("INVITE", "z9hG4bK1", "")).unwrap();
    assert!(matches!(bed.receive(udp(), &text("INVITE", "z9hG4bK2", "")), Err(Refused::Merged)));
    bed.respond(401);
    bed.receive(udp(), &text("INVITE", "z9hG4bK3", "")).unwrap();
    bed.respond(200);
    assert!(matches!(bed.receive(udp(), &text("INVITE", "z9hG4bK4", "")), Err(Refused::Merged)));
    assert_eq!(bed.sent(), ["0 482", "0 401", "0 200", "0 482"]);
    bed.run_to(40_000);
    bed.receive(udp(), &text("INVITE", "z9hG4bK5", "")).unwrap();
    assert_eq!(bed.told(), ["0 INVITE", "0 INVITE", "32000 no ack", "32000 no ack", "40000 INVITE"]);
}

#[test]
fn requests_inside_a_dialog_are_never_merged() {
    let mut bed = Bed::new();
    for branch in ["z9hG4bK1", "z9hG4bK2"] {
        bed.receive(udp(), &text("INFO", branch, "").replace("To: <sip:b@h>", "To: <sip:b@h>;tag=b")).unwrap();
    }
    assert_eq!(bed.told(), ["0 INFO", "0 INFO"]);
}

#[test]
fn max_forwards_0_is_483_unless_it_ends_here() {
    let mut bed = Bed::new();
    let tired = |method: &str| text(method, "z9hG4bK1", "").replace("Forwards: 70", "Forwards: 0");
    assert!(matches!(bed.receive(udp(), &tired("INVITE")), Err(Refused::TooManyHops)));
    assert_eq!(bed.sent(), ["0 483"]);
    bed.receive(udp(), &tired("OPTIONS")).unwrap();
    bed.receive(udp(), &tired("BYE").replace("To: <sip:b@h>", "To: <sip:b@h>;tag=b")).unwrap();
    assert_eq!(bed.told(), ["0 OPTIONS", "0 BYE"]);
}

#[test]
fn malformed_requests_get_a_400_that_names_the_header() {
    let mut bed = Bed::new();
    let good = text("INVITE", "z9hG4bK1", "");
    for (what, with, reason) in [
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", "CSeq Method Differs From Request"),
        ("Max-Forwards: 70", "Content-Length: 7", "Content-Length Exceeds Body"),
        ("From: <sip:a@h>", "From: <sip:a@h", "Bad From"),
        ("Forwards: 70", "Forwards: 256", "Bad Max-Forwards"),
    ] {
        assert!(bed.receive(udp(), &good.replace(what, with)).is_err());
        let (_, flow, answer) = bed.sent.pop().unwrap();
        assert_eq!((flow, answer.status(), answer.reason()), (udp(), 400, reason));
        assert!(answer.to_tag().is_some());
    }
    assert_eq!(bed.endpoint.transactions(), 0);
}

#[test]
fn silence_answers_a_malformed_ack_and_a_malformed_answer() {
    let mut bed = Bed::new();
    assert!(bed.receive(udp(), &text("ACK", "z9hG4bK1", "").replace("CSeq: 1", "CSeq: x")).is_err());
    assert!(bed.receive(udp(), &text("ACK", "z9hG4bK1", "").replace("<sip:a@h>", "<sip:a@h")).is_err());
    assert!(bed.receive(udp(), "SIP/2.0 200 OK\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\n\n").is_err());
    assert!(bed.receive(udp(), "\u{1}\u{2}garbage").is_err());
    // One that is shorter than it says.
    bed.request("OPTIONS", Target::Flow(udp()));
    let (_, flow, request) = bed.sent.pop().unwrap();
    let whole = MessageBuilder::response(&request, 200, "", Some("x")).finish();
    let short = String::from_utf8(whole.to_vec()).unwrap().replace("Content-Length: 0", "Content-Length: 9");
    assert!(bed.endpoint.handle_message(flow, short.into(), bed.now).is_err());
    bed.pump();
    assert!(bed.sent().is_empty() && bed.told().is_empty());
}

#[test]
fn the_same_request_gets_the_same_tag_and_other_versions_505() {
    let mut bed = Bed::new();
    let future = text("INVITE", "z9hG4bK1", "").replace("192.0.2.1 SIP/2.0", "192.0.2.1 SIP/7.0");
    assert!(bed.receive(udp(), &future).is_err());
    assert!(bed.receive(udp(), &future).is_err());
    assert_eq!(bed.sent[0].2.bytes(), bed.sent[1].2.bytes());
    assert_eq!(bed.sent(), ["0 505", "0 505"]);
}

#[test]
fn a_full_table_answers_503_and_running_calls_go_on() {
    let limits = EndpointLimits { transactions: 8, ..EndpointLimits::default() };
    let config = EndpointConfig { limits, server: "Crosspoint".to_owned(), ..EndpointConfig::default() };
    let mut bed = Bed::with(config);
    let options = |n: u32| text("OPTIONS", &format!("z9hG4bK{n}"), "").replace("Call-ID: c", &format!("Call-ID: {n}"));
    for n in 0..8 {
        bed.receive(udp(), &options(n)).unwrap();
    }
    assert!(matches!(bed.receive(udp(), &options(8)), Err(Refused::Full)));
    let answer = bed.sent.pop().unwrap().2;
    assert_eq!((answer.status(), answer.header(HeaderName::RetryAfter)), (503, Some("5")));
    assert_eq!(answer.header(HeaderName::Server), Some("Crosspoint"));
    let bye = |n: u32| options(n).replace("To: <sip:b@h>", "To: <sip:b@h>;tag=b");
    bed.receive(udp(), &bye(8)).unwrap();
    assert!(matches!(bed.receive(udp(), &bye(9)), Err(Refused::Full)));
    bed.told();
    bed.request("BYE", Target::Flow(udp()));
    assert_eq!(bed.told(), ["0 transport failed"]);
}

#[test]
fn a_stranger_is_answered_and_forgotten() {
    let mut bed = Bed::new();
    for _ in 0..2 {
        bed.receive(udp(), &text("INVITE", "z9hG4bK1", "")).unwrap();
        let Some((_, Event::Request { txn, message, .. })) = bed.events.last() else { panic!() };
        let (txn, answer) = (*txn, MessageBuilder::response(message, 401, "", Some("us")));
        bed.endpoint.respond_once(txn, answer.clone().into());
        bed.endpoint.respond_once(txn, answer.into());
        assert_eq!((bed.pump(), bed.endpoint.transactions()), (None, 0));
    }
    bed.receive(udp(), &text("ACK", "z9hG4bK1", "")).unwrap();
    assert_eq!(bed.sent(), ["0 401", "0 401"]);
    assert_eq!(bed.told(), ["0 INVITE", "0 INVITE", "0 ACK"]);
}

#[test]
fn an_ack_to_nothing_goes_up() {
    let mut bed = Bed::new();
    bed.receive(udp(), &text("ACK", "z9hG4bK1", "")).unwrap();
    assert_eq!(bed.told(), ["0 ACK"]);
    assert!(bed.sent().is_empty());
}

#[test]
fn a_busy_endpoint_refuses_new_work_without_a_memory() {
    let config = EndpointConfig { server: "Crosspoint".to_owned(), ..EndpointConfig::default() };
    let mut bed = Bed::with(config);
    bed.receive(udp(), &text("INVITE", "z9hG4bK1", "")).unwrap();
    bed.respond(486);
    bed.endpoint.refuse_new(Some(RetryAfter::Told));
    let kept = bed.endpoint.transactions();
    for method in ["INVITE", "REGISTER", "SUBSCRIBE", "PUBLISH", "MESSAGE"] {
        let plain = text(method, "z9hG4bK2", "Subject: x\n");
        // A folded line is left to the parser; the answer is the same.
        for request in [plain.clone(), plain.replace("Subject: x", "Subject:\n x")] {
            assert!(matches!(bed.receive(udp(), &request), Err(Refused::Busy)));
        }
        let [(.., first), (.., second)] = &bed.sent[bed.sent.len() - 2..] else { panic!() };
        assert_eq!(first.bytes(), second.bytes());
        assert_eq!((first.status(), first.header(HeaderName::RetryAfter)), (503, Some("5")));
        assert_eq!(
            first.header(HeaderName::Via),
            Some("SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK2;received=192.0.2.9;rport=5070")
        );
        let ack =
            text("ACK", "z9hG4bK2", "").replace("<sip:b@h>", &format!("<sip:b@h>;tag={}", first.to_tag().unwrap()));
        assert!(matches!(bed.receive(udp(), &ack), Err(Refused::Forgotten)));
    }
    assert_eq!(bed.endpoint.transactions(), kept);
    // What is under way goes on: the known request again, and one inside a dialog.
    let before = bed.sent.len();
    bed.receive(udp(), &text("INVITE", "z9hG4bK1", "")).unwrap();
    assert_eq!(bed.sent[before].2.status(), 486);
    bed.receive(udp(), &text("INVITE", "z9hG4bK3", "").replace("<sip:b@h>", "<sip:b@h>;tag=us")).unwrap();
    assert_eq!(bed.told(), ["0 INVITE", "0 INVITE"]);
    bed.endpoint.refuse_new(Some(RetryAfter::Withheld));
    assert!(bed.receive(udp(), &text("INVITE", "z9hG4bK4", "")).is_err());
    assert_eq!(bed.sent.last().unwrap().2.header(HeaderName::RetryAfter), None);
}
