//! RFC 3261 §17.1.1, §9.1; RFC 6026.

use super::super::*;
use super::kit::*;

#[test]
fn a_call_is_answered_and_forgotten() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.run_to(100);
    for (status, tag) in [(100, ""), (180, "x"), (200, "x")] {
        bed.answer(0, status, tag).unwrap();
    }
    assert_eq!(bed.told(), ["100 100 -", "100 180 x", "100 200 x"]);
    bed.run_to(32_099);
    assert_eq!(bed.endpoint.transactions(), 1);
    bed.run_to(32_100);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
    assert_eq!(bed.sent(), ["0 INVITE"]);
}

#[test]
fn our_via_asks_for_the_port_and_names_our_address() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    let via = bed.sent[0].2.via().unwrap();
    assert_eq!((via.transport, via.host, via.port, via.rport()), ("UDP", "192.0.2.1", Some(5060), Some(None)));
    assert!(via.branch().unwrap().starts_with("z9hG4bK0000"));
    assert!(bed.sent[0].2.header(HeaderName::Via).unwrap().starts_with("SIP/2.0/UDP 192.0.2.1:5060;"));
    let sent_by = "[2001:db8::1]:5060".to_owned();
    let config = EndpointConfig { advertised: vec![Advertised { listener: 0, sent_by }], ..EndpointConfig::default() };
    let mut bed = Bed::with(config);
    bed.request("INVITE", Target::Flow(udp()));
    assert_eq!(bed.sent[0].2.via().unwrap().host, "[2001:db8::1]");
    bed.answer(0, 180, "x").unwrap();
    assert_eq!(bed.endpoint.sent_by(&udp()), "[2001:db8::1]:5060");
}

#[test]
fn timer_a_doubles_and_timer_b_gives_up() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.run_to(60_000);
    let expected = ["0", "500", "1500", "3500", "7500", "15500", "31500"].map(|at| format!("{at} INVITE"));
    assert_eq!(bed.sent(), expected);
    assert_eq!(bed.told(), ["32000 timeout"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

#[test]
fn a_provisional_answer_ends_retransmission_and_the_timeout() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.run_to(600);
    bed.answer(0, 100, "").unwrap();
    bed.run_to(200_000);
    assert_eq!(bed.sent(), ["0 INVITE", "500 INVITE"]);
    assert_eq!(bed.told(), ["600 100 -"]);
}

#[test]
fn no_branch_is_used_twice() {
    let mut bed = Bed::new();
    let mut branches = std::collections::BTreeSet::new();
    for n in 0..200 {
        // Half of them take the place of one that is over.
        bed.request(if n % 2 == 0 { "INVITE" } else { "OPTIONS" }, Target::Flow(tcp(1)));
        let branch = bed.sent[0].2.via().unwrap().branch().unwrap().to_owned();
        assert!(branches.insert(branch), "the {n}th");
        if n % 2 == 0 {
            bed.answer(0, 486, "x").unwrap();
        }
        bed.sent.clear();
    }
    assert_eq!(bed.endpoint.transactions(), 100);
}

#[test]
fn a_failure_is_acknowledged_as_often_as_it_comes() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.answer(0, 486, "x").unwrap();
    bed.run_to(500);
    bed.answer(0, 486, "x").unwrap();
    bed.answer(0, 180, "x").unwrap();
    let ((_, went, invite), (_, goes, ack)) = (&bed.sent[0], &bed.sent[1]);
    assert_eq!((went, ack.request_uri(), ack.to_tag()), (goes, invite.request_uri(), Some("x")));
    for name in [HeaderName::Via, HeaderName::Route, HeaderName::From, HeaderName::CallId] {
        assert_eq!((ack.header(name), ack.values(name).count()), (invite.header(name), 1));
    }
    assert_eq!(ack.header(HeaderName::CSeq), Some("1 ACK"));
    assert!(invite.header(HeaderName::Require).is_some() && ack.header(HeaderName::Require).is_none());
    assert_eq!(bed.sent(), ["0 INVITE", "0 ACK", "500 ACK"]);
    assert_eq!(bed.told(), ["0 486 x"]);
    bed.run_to(31_999);
    assert_eq!(bed.endpoint.transactions(), 1);
    bed.run_to(32_000);
    assert_eq!(bed.endpoint.transactions(), 0);
}

#[test]
fn on_a_stream_nothing_is_sent_twice_and_a_failure_ends_it() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(tcp(1)));
    bed.run_to(20_000);
    bed.answer(0, 603, "x").unwrap();
    assert_eq!(bed.sent(), ["0 INVITE", "20000 ACK"]);
    assert_eq!(bed.endpoint.transactions(), 0);
    assert!(bed.endpoint.shared.riders.is_empty());
}

#[test]
fn a_cancel_waits_for_a_provisional_answer() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.cancel();
    bed.run_to(400);
    assert_eq!(bed.sent.len(), 1);
    bed.answer(0, 100, "").unwrap();
    let (invite, cancel) = (&bed.sent[0].2, &bed.sent[1].2);
    assert_eq!((cancel.method(), cancel.header(HeaderName::CSeq)), (Method::Cancel, Some("1 CANCEL")));
    assert_eq!(cancel.header(HeaderName::Via), invite.header(HeaderName::Via));
    assert_eq!(cancel.header(HeaderName::To), invite.header(HeaderName::To));
    assert_eq!(cancel.header(HeaderName::Reason), Some("SIP;cause=200"));
    bed.answer(1, 200, "x").unwrap();
    bed.answer(0, 487, "x").unwrap();
    assert_eq!(bed.told(), ["400 100 -", "400 487 x"]);
    bed.run_to(40_000);
    assert_eq!(bed.sent(), ["0 INVITE", "400 CANCEL", "400 ACK"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

#[test]
fn a_cancel_follows_the_route_of_its_invite() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(tcp(1)));
    bed.answer(0, 180, "x").unwrap();
    bed.cancel();
    let ((_, went, invite), (_, goes, cancel)) = (&bed.sent[0], &bed.sent[1]);
    assert_eq!((cancel.method(), went), (Method::Cancel, goes));
    assert_eq!(cancel.header(HeaderName::Route), Some("<sip:192.0.2.9:5070;lr>"));
    assert_eq!(cancel.header(HeaderName::CSeq), Some("1 CANCEL"));
    assert!(invite.header(HeaderName::Require).is_some());
    for name in [HeaderName::Via, HeaderName::Route, HeaderName::From, HeaderName::To, HeaderName::CallId] {
        assert_eq!(cancel.header(name), invite.header(name));
    }
    assert_eq!(cancel.request_uri(), invite.request_uri());
    assert_eq!(cancel.values(HeaderName::Via).count(), 1);
    assert!(cancel.header(HeaderName::Require).is_none() && cancel.header(HeaderName::ProxyRequire).is_none());
}

#[test]
fn an_answer_over_another_connection_is_taken() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(tcp(1)));
    let answer = MessageBuilder::response(&bed.sent[0].2, 200, "", Some("x")).finish();
    bed.endpoint.handle_message(tcp(2), answer, bed.now).unwrap();
    bed.pump();
    assert_eq!(bed.told(), ["0 200 x"]);
}

#[test]
fn a_200_that_crosses_the_cancel_goes_up() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.answer(0, 180, "x").unwrap();
    bed.cancel();
    bed.answer(0, 200, "x").unwrap();
    bed.run_to(600);
    bed.answer(1, 481, "y").unwrap();
    bed.run_to(32_000);
    assert_eq!(bed.told(), ["0 180 x", "0 200 x"]);
    assert_eq!(bed.sent(), ["0 INVITE", "0 CANCEL", "500 CANCEL"]);
    assert_eq!(bed.endpoint.transactions(), 0);
}

#[test]
fn a_200_before_the_wanted_cancel_makes_it_moot() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.cancel();
    bed.answer(0, 200, "x").unwrap();
    bed.run_to(40_000);
    assert_eq!(bed.sent(), ["0 INVITE"]);
    assert_eq!(bed.told(), ["0 200 x"]);
}

#[test]
fn a_cancel_that_nobody_hears_ends_the_invite() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.answer(0, 180, "x").unwrap();
    bed.run_to(10_000);
    bed.cancel();
    bed.cancel();
    bed.run_to(41_999);
    assert_eq!(bed.told(), ["0 180 x"]);
    bed.run_to(42_000);
    assert_eq!(bed.told(), ["42000 timeout"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

#[test]
fn both_answers_of_a_fork_and_their_repetitions_go_up() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.answer(0, 200, "x").unwrap();
    bed.answer(0, 200, "y").unwrap();
    bed.run_to(500);
    bed.answer(0, 200, "x").unwrap();
    bed.answer(0, 486, "z").unwrap();
    assert_eq!(bed.told(), ["0 200 x", "0 200 y", "500 200 x"]);
    assert_eq!(bed.sent(), ["0 INVITE"]);
}

#[test]
fn answers_to_what_is_not_ours_are_dropped() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    let via = bed.sent[0].2.header(HeaderName::Via).unwrap().to_owned();
    let answer = |via: &str, cseq: &str| {
        format!("SIP/2.0 200 OK\nVia: {via}\nFrom: <sip:a@h>;tag=a\nTo: <sip:b@h>;tag=x\nCall-ID: c\nCSeq: {cseq}\n\n")
    };
    let foreign = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-x";
    let moved = via.replace("192.0.2.1", "192.0.2.2");
    let guessed = format!("{}0000", &via[..via.find(";rport").unwrap() - 4]);
    assert!(matches!(bed.receive(udp(), &answer(foreign, "1 INVITE")), Err(Refused::NotOurs)));
    assert!(matches!(bed.receive(udp(), &answer(&moved, "1 INVITE")), Err(Refused::NotOurs)));
    assert!(matches!(bed.receive(udp(), &answer(&guessed, "1 INVITE")), Err(Refused::Stray)));
    assert!(matches!(bed.receive(udp(), &answer(&via, "1 BYE")), Err(Refused::Stray)));
    assert!(matches!(bed.receive(udp(), &answer(&via, "1 CANCEL")), Err(Refused::Stray)));
    assert_eq!(bed.told(), [""; 0]);
    bed.receive(udp(), &answer(&via.replace("192.0.2.1:5060", "192.0.2.1"), "1 INVITE")).unwrap();
    assert_eq!(bed.told(), ["0 200 x"]);
}

#[test]
fn a_datagram_that_cannot_be_sent_fails_its_request() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    bed.endpoint.handle_send_failed(&udp(), bed.now);
    bed.run_to(100);
    assert_eq!(bed.told(), ["0 transport failed"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

#[test]
fn the_kept_request_goes_when_the_answer_has_come() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(udp()));
    let bytes = bed.sent.pop().unwrap().2.bytes().clone();
    assert!(!bytes.is_unique());
    let answer = MessageBuilder::response(&Message::parse(bytes.clone()).unwrap(), 200, "", Some("x")).finish();
    bed.endpoint.handle_message(udp(), answer, bed.now).unwrap();
    assert!(bytes.is_unique());
}
