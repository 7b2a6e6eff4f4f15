//! RFC 3261 §17.2.1, §13.3.1.4, §9.2; RFC 6026; RFC 3581.

use super::super::*;
use super::kit::*;

const BRANCH: &str = "z9hG4bK1";

fn invited() -> Bed {
    let mut bed = Bed::new();
    bed.receive(udp(), &text("INVITE", BRANCH, "")).unwrap();
    bed
}

#[test]
fn a_call_is_answered_acknowledged_and_forgotten() {
    let mut bed = invited();
    bed.respond(180);
    bed.receive(udp(), &text("INVITE", BRANCH, "")).unwrap();
    bed.run_to(300);
    let txn = bed.respond(200);
    bed.run_to(2_000);
    bed.receive(udp(), &text("ACK", "z9hG4bK2", "")).unwrap();
    bed.endpoint.acked(txn);
    bed.receive(udp(), &text("INVITE", BRANCH, "")).unwrap();
    bed.run_to(60_000);
    assert_eq!(bed.sent(), ["0 180", "0 180", "300 200", "800 200", "1800 200"]);
    assert_eq!(bed.told(), ["0 INVITE", "2000 ACK"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

#[test]
fn a_100_comes_after_200_ms_of_silence_only() {
    let mut bed = Bed::new();
    bed.receive(udp(), &text("INVITE", BRANCH, "Timestamp: 54\n")).unwrap();
    bed.run_to(199);
    bed.receive(udp(), &text("INVITE", BRANCH, "")).unwrap();
    assert!(bed.sent.is_empty());
    bed.run_to(200);
    let trying = &bed.sent[0].2;
    assert_eq!((trying.to_tag(), trying.header(HeaderName::Timestamp)), (None, Some("54")));
    bed.run_to(500);
    bed.receive(udp(), &text("INVITE", BRANCH, "")).unwrap();
    assert_eq!(bed.sent(), ["200 100", "500 100"]);
    let mut bed = invited();
    bed.run_to(150);
    bed.respond(180);
    bed.run_to(10_000);
    assert_eq!(bed.sent(), ["150 180"]);
}

#[test]
fn a_2xx_that_nobody_acknowledges_is_given_up_on_streams_too() {
    for flow in [udp(), tcp(1)] {
        let mut bed = Bed::new();
        bed.receive(flow, &text("INVITE", BRANCH, "")).unwrap();
        bed.respond(200);
        bed.run_to(60_000);
        let times = [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(bed.sent(), times.map(|at| format!("{at} 200")));
        assert_eq!(bed.told(), ["0 INVITE", "32000 no ack"]);
        assert_eq!(bed.endpoint.transactions(), 0);
    }
}

#[test]
fn an_ack_with_the_branch_of_its_invite_goes_up_all_the_same() {
    let mut bed = invited();
    bed.respond(200);
    bed.receive(udp(), &text("ACK", BRANCH, "")).unwrap();
    assert_eq!(bed.told(), ["0 INVITE", "0 ACK"]);
}

#[test]
fn a_failure_is_sent_again_until_its_ack() {
    let mut bed = invited();
    bed.respond(486);
    bed.run_to(1_600);
    bed.receive(udp(), &text("ACK", BRANCH, "")).unwrap();
    bed.receive(udp(), &text("INVITE", BRANCH, "")).unwrap();
    bed.receive(udp(), &text("ACK", BRANCH, "")).unwrap();
    bed.run_to(6_599);
    assert_eq!(bed.endpoint.transactions(), 1);
    bed.run_to(6_600);
    assert_eq!(bed.sent(), ["0 486", "500 486", "1500 486"]);
    assert_eq!(bed.told(), ["0 INVITE"]);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

#[test]
fn a_lost_ack_is_told_after_timer_h() {
    for (flow, sent) in [(udp(), 11), (tcp(1), 1)] {
        let mut bed = Bed::new();
        bed.receive(flow, &text("INVITE", BRANCH, "")).unwrap();
        bed.respond(404);
        bed.run_to(60_000);
        assert_eq!(bed.told(), ["0 INVITE", "32000 no ack"]);
        assert_eq!(bed.sent().len(), sent);
        assert_eq!(bed.endpoint.transactions(), 0);
    }
}

#[test]
fn on_a_stream_a_failure_is_sent_once_and_its_ack_ends_it() {
    let mut bed = Bed::new();
    bed.receive(tcp(1), &text("INVITE", BRANCH, "")).unwrap();
    bed.respond(486);
    bed.run_to(5_000);
    bed.receive(tcp(1), &text("ACK", BRANCH, "")).unwrap();
    assert_eq!(bed.sent(), ["0 486"]);
    assert_eq!(bed.endpoint.transactions(), 0);
}

#[test]
fn a_second_final_answer_is_ignored() {
    let mut bed = invited();
    bed.respond(486);
    bed.respond(200);
    bed.respond(180);
    assert_eq!(bed.sent(), ["0 486"]);
}

#[test]
fn a_cancel_is_answered_each_time_and_told_once() {
    let mut bed = invited();
    bed.respond(180);
    bed.receive(udp(), &text("CANCEL", BRANCH, "")).unwrap();
    bed.receive(udp(), &text("CANCEL", BRANCH, "")).unwrap();
    bed.respond(487);
    bed.receive(udp(), &text("CANCEL", BRANCH, "")).unwrap();
    assert_eq!((bed.sent[1].2.bytes(), bed.sent[1].2.to_tag()), (bed.sent[4].2.bytes(), Some("us")));
    assert_eq!(bed.sent(), ["0 180", "0 200", "0 200", "0 487", "0 200"]);
    assert_eq!(bed.told(), ["0 INVITE", "0 cancelled"]);
}

#[test]
fn a_cancel_that_crosses_the_200_has_no_effect() {
    let mut bed = invited();
    bed.respond(200);
    bed.receive(udp(), &text("CANCEL", BRANCH, "")).unwrap();
    assert_eq!(bed.sent(), ["0 200", "0 200"]);
    assert_eq!(bed.told(), ["0 INVITE"]);
}

#[test]
fn require_means_nothing_in_cancel_and_ack() {
    let mut bed = invited();
    bed.respond(180);
    let needs = "Require: no-such-thing\nProxy-Require: neither\n";
    bed.receive(udp(), &text("CANCEL", BRANCH, needs)).unwrap();
    bed.respond(487);
    bed.receive(udp(), &text("ACK", BRANCH, needs)).unwrap();
    bed.run_to(10_000);
    assert_eq!(bed.sent(), ["0 180", "0 200", "0 487"]);
    assert_eq!((bed.told(), bed.endpoint.transactions()), (vec!["0 INVITE".into(), "0 cancelled".into()], 0));
}

#[test]
fn a_cancel_for_nothing_is_481() {
    let mut bed = invited();
    assert!(matches!(bed.receive(udp(), &text("CANCEL", "z9hG4bK9", "")), Err(Refused::NothingToCancel)));
    let elsewhere = text("CANCEL", BRANCH, "").replace("192.0.2.9:5070", "192.0.2.9:5071");
    assert!(matches!(bed.receive(udp(), &elsewhere), Err(Refused::NothingToCancel)));
    assert_eq!(bed.sent(), ["0 481", "0 481"]);
}

#[test]
fn a_branch_that_is_there_with_another_method_or_sender_is_another_request() {
    let mut bed = invited();
    bed.receive(udp(), &text("BYE", BRANCH, "")).unwrap();
    bed.receive(
        udp(),
        &text("INVITE", BRANCH, "").replace("192.0.2.9:5070", "192.0.2.9:5071").replace("ID: c", "ID: d"),
    )
    .unwrap();
    assert_eq!((bed.told().len(), bed.endpoint.transactions()), (3, 3));
    bed.receive(udp(), &text("BYE", BRANCH, "")).unwrap();
    assert_eq!((bed.told().len(), bed.endpoint.transactions()), (0, 3));
}

#[test]
fn a_request_of_rfc_2543_is_matched_by_its_headers() {
    let mut bed = Bed::new();
    let invite = text("INVITE", "1", "");
    bed.receive(udp(), &invite).unwrap();
    bed.receive(udp(), &invite).unwrap();
    bed.respond(486);
    let ack = text("ACK", "1", "");
    bed.receive(udp(), &ack.replace("To: <sip:b@h>", "To: <sip:b@h>;tag=other")).unwrap();
    assert_eq!(bed.told(), ["0 INVITE", "0 ACK"]);
    bed.receive(udp(), &ack.replace("To: <sip:b@h>", "To: <sip:b@h>;tag=us")).unwrap();
    bed.run_to(5_000);
    assert_eq!(bed.sent(), ["0 486"]);
    assert_eq!((bed.told().len(), bed.endpoint.transactions()), (0, 0));
    bed.receive(udp(), &invite.replace("CSeq: 1", "CSeq: 2")).unwrap();
    bed.receive(udp(), &text("CANCEL", "1", "").replace("CSeq: 1", "CSeq: 2")).unwrap();
    assert_eq!(bed.told(), ["5000 INVITE", "5000 cancelled"]);
    // Its ACK is found when it was answered by a 2xx, too.
    let mut bed = Bed::new();
    bed.receive(udp(), &invite).unwrap();
    bed.respond(200);
    bed.receive(udp(), &ack.replace("To: <sip:b@h>", "To: <sip:b@h>;tag=us")).unwrap();
    assert_eq!(bed.told(), ["0 INVITE", "0 ACK"]);
}

#[test]
fn answers_go_back_as_rport_and_received_ask() {
    let via = |via: &str| text("INVITE", BRANCH, "").replace("192.0.2.9:5070;branch=z9hG4bK1;rport", via);
    let answered = |via_value: &str, config: EndpointConfig| {
        let mut bed = Bed::with(config);
        bed.receive(udp(), &via(via_value)).unwrap();
        bed.respond(180);
        let (_, flow, answer) = bed.sent.pop().unwrap();
        (flow.remote.to_string(), answer.header(HeaderName::Via).unwrap()["SIP/2.0/UDP ".len()..].to_owned())
    };
    let plain = |via: &str| answered(via, EndpointConfig::default());
    let is = |to: &str, via: &str| (to.to_owned(), via.to_owned());
    let stamped = "10.0.0.1:99;branch=z9hG4bK1;received=192.0.2.9";
    assert_eq!(plain("10.0.0.1:99;branch=z9hG4bK1;rport"), is("192.0.2.9:5070", &format!("{stamped};rport=5070")));
    assert_eq!(plain("10.0.0.1:99;branch=z9hG4bK1"), is("192.0.2.9:99", stamped));
    assert_eq!(plain("192.0.2.9;branch=z9hG4bK1"), is("192.0.2.9:5060", "192.0.2.9;branch=z9hG4bK1"));
    assert_eq!(
        plain("192.0.2.9;branch=z9hG4bK1;maddr=198.51.100.1"),
        is("192.0.2.9:5060", "192.0.2.9;branch=z9hG4bK1;maddr=198.51.100.1")
    );
    let forced = EndpointConfig { force_rport: true, ..EndpointConfig::default() };
    assert_eq!(answered("10.0.0.1:99;branch=z9hG4bK1", forced).0, "192.0.2.9:5070");
}

#[test]
fn what_a_held_call_keeps_is_small() {
    let mut bed = invited();
    let txn = bed.respond(200);
    let kept = bed.sent.pop().unwrap().2.bytes().clone();
    assert!(!kept.is_unique());
    bed.endpoint.acked(txn);
    assert!(kept.is_unique(), "after the ACK nobody needs the 2xx");
}
