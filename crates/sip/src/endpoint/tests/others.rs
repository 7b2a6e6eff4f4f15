//! Requests other than INVITE: RFC 3261 §17.1.2, §17.2.2; RFC 4320.

use super::super::*;
use super::kit::*;
use words::Seed;

#[test]
fn timer_e_doubles_up_to_t2_and_timer_f_gives_up() {
    let mut bed = Bed::new();
    bed.request("OPTIONS", Target::Flow(udp()));
    bed.run_to(60_000);
    let times = [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(bed.sent(), times.map(|at| format!("{at} OPTIONS")));
    assert_eq!(bed.told(), ["32000 timeout"]);
}

#[test]
fn after_a_provisional_answer_it_is_sent_every_t2() {
    let mut bed = Bed::new();
    bed.request("BYE", Target::Flow(udp()));
    bed.run_to(100);
    bed.answer(0, 100, "").unwrap();
    bed.run_to(9_000);
    bed.answer(0, 200, "x").unwrap();
    bed.answer(0, 200, "x").unwrap();
    bed.run_to(13_999);
    assert_eq!(bed.endpoint.transactions(), 1);
    bed.run_to(14_000);
    assert_eq!(bed.sent(), ["0 BYE", "500 BYE", "4500 BYE", "8500 BYE"]);
    assert_eq!(bed.told(), ["100 100 -", "9000 200 x"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

#[test]
fn on_a_stream_an_answer_ends_it() {
    let mut bed = Bed::new();
    bed.request("REGISTER", Target::Flow(tcp(1)));
    bed.run_to(3_000);
    bed.answer(0, 200, "x").unwrap();
    assert_eq!(bed.sent(), ["0 REGISTER"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

#[test]
fn a_cancel_of_anything_but_an_invite_is_not_sent() {
    let mut bed = Bed::new();
    bed.request("OPTIONS", Target::Flow(udp()));
    bed.cancel();
    bed.answer(0, 100, "").unwrap();
    assert_eq!(bed.sent(), ["0 OPTIONS"]);
}

#[test]
fn a_retransmitted_request_gets_the_same_answer() {
    let mut bed = Bed::new();
    let bye = text("BYE", "z9hG4bK1", "");
    bed.receive(udp(), &bye).unwrap();
    bed.receive(udp(), &bye).unwrap();
    bed.respond(200);
    bed.run_to(31_999);
    bed.receive(udp(), &bye).unwrap();
    bed.run_to(32_000);
    assert_eq!(bed.sent[0].2.bytes(), bed.sent[1].2.bytes());
    assert_eq!(bed.sent(), ["0 200", "31999 200"]);
    assert_eq!(bed.told(), ["0 BYE"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
    // Nothing is lost on a stream.
    bed.receive(tcp(1), &text("BYE", "z9hG4bK2", "")).unwrap();
    bed.respond(200);
    assert_eq!((bed.sent(), bed.endpoint.transactions()), (vec!["32000 200".into()], 0));
}

#[test]
fn a_second_answer_is_not_sent() {
    let mut bed = Bed::new();
    bed.receive(udp(), &text("BYE", "z9hG4bK1", "")).unwrap();
    for status in [200, 500, 200] {
        bed.respond(status);
    }
    bed.receive(udp(), &text("BYE", "z9hG4bK1", "")).unwrap();
    assert_eq!(bed.sent(), ["0 200", "0 200"]);
}

#[test]
fn methods_nobody_knows_are_transactions_too() {
    let mut bed = Bed::new();
    for method in ["FOO", "FOO", "BAR"] {
        bed.receive(udp(), &text(method, "z9hG4bK1", "")).unwrap();
    }
    assert_eq!(bed.told(), ["0 FOO", "0 BAR"]);
}

/// RFC 6665 §4.6.
#[test]
fn a_cancel_of_a_subscribe_is_answered_and_changes_nothing() {
    let mut bed = Bed::new();
    bed.receive(udp(), &text("SUBSCRIBE", "z9hG4bK1", "")).unwrap();
    assert!(matches!(bed.receive(udp(), &text("CANCEL", "z9hG4bK1", "")), Err(Refused::NothingToCancel)));
    bed.respond(200);
    assert_eq!((bed.told(), bed.sent()), (vec!["0 SUBSCRIBE".into()], vec!["0 481".into(), "0 200".into()]));
}

#[test]
fn an_answer_that_comes_too_late_is_not_sent() {
    let mut bed = Bed::new();
    bed.receive(udp(), &text("MESSAGE", "z9hG4bK1", "")).unwrap();
    bed.run_to(32_000);
    let txn = match &bed.events[0].1 {
        Event::Request { txn, .. } => *txn,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (bed.told(), bed.sent()),
        (vec!["0 MESSAGE".into(), "32000 server failed".into()], vec!["3500 100".into()])
    );
    bed.endpoint.respond(txn, MessageBuilder::request("X", "x:y").into(), bed.now);
    bed.endpoint.respond_once(txn, MessageBuilder::request("X", "x:y").into());
    bed.pump();
    assert_eq!((bed.sent().len(), bed.endpoint.transactions(), bed.endpoint.late()), (0, 0, 2));
}

#[test]
fn a_request_that_takes_long_is_told_so_once() {
    let mut bed = Bed::new();
    let request = text("MESSAGE", "z9hG4bK1", "Timestamp: 54\n");
    bed.receive(udp(), &request).unwrap();
    for ms in [500, 1_500, 3_499] {
        bed.run_to(ms);
        bed.receive(udp(), &request).unwrap();
    }
    assert_eq!(bed.sent(), [""; 0]);
    bed.run_to(3_500);
    let trying = bed.sent[0].2.clone();
    assert_eq!((trying.to_tag(), trying.header(HeaderName::Timestamp)), (None, Some("54")));
    bed.run_to(7_500);
    bed.receive(udp(), &request).unwrap();
    bed.run_to(31_000);
    bed.respond(200);
    assert_eq!(bed.sent(), ["3500 100", "7500 100", "31000 200"]);
    bed.run_to(70_000);
    assert_eq!((bed.told(), bed.endpoint.transactions()), (vec!["0 MESSAGE".into()], 0));
}

/// RFC 4320 §4.1: without regard to the transport.
#[test]
fn over_each_transport_a_slow_answer_is_announced() {
    for flow in [udp(), tcp(1)] {
        let mut bed = Bed::new();
        bed.receive(flow, &text("MESSAGE", "z9hG4bK1", "")).unwrap();
        bed.run_to(31_000);
        assert_eq!(bed.sent(), ["3500 100"]);
    }
}

#[test]
fn an_old_name_does_not_reach_who_has_its_place_now() {
    let mut bed = Bed::new();
    bed.receive(tcp(1), &text("BYE", "z9hG4bK1", "")).unwrap();
    let old = bed.respond(200);
    bed.receive(tcp(1), &text("BYE", "z9hG4bK2", "")).unwrap();
    bed.sent();
    let request = Message::parse(bytes(&text("BYE", "z9hG4bK1", ""))).unwrap();
    bed.endpoint.respond(old, MessageBuilder::response(&request, 500, "", None).into(), bed.now);
    bed.endpoint.acked(old);
    bed.pump();
    assert_eq!((bed.sent().len(), bed.endpoint.transactions()), (0, 1));
}

#[test]
fn timers_that_end_a_wait_fire_together_and_never_early() {
    let config = EndpointConfig::default();
    let step = config.timers.step.as_millis() as u64;
    let mut endpoint = Endpoint::new(config, Chance::new(Seed::from_number(1)), Time::ZERO);
    for n in 0..10 {
        let now = Time::from_millis(1_000 + n);
        let options = text("OPTIONS", &format!("z9hG4bK{n}"), "").replace("Call-ID: c", &format!("Call-ID: {n}"));
        endpoint.handle_message(udp(), bytes(&options), now).unwrap();
        while let Output::Event(Event::Request { txn, message, .. }) = endpoint.poll() {
            endpoint.respond(txn, MessageBuilder::response(&message, 200, "", None).into(), now);
        }
    }
    while !matches!(endpoint.poll(), Output::Timeout(_)) {}
    let mut wakes = Vec::new();
    while let Output::Timeout(Some(at)) = endpoint.poll() {
        let before = endpoint.transactions();
        endpoint.handle_timeout(at);
        if endpoint.transactions() < before {
            wakes.push(at.as_millis());
        }
    }
    assert_eq!(endpoint.transactions(), 0);
    assert!(wakes.len() == 1 && (33_009..33_009 + step).contains(&wakes[0]), "{wakes:?}");
}
