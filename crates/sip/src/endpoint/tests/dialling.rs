//! Streams: connections that are opened, fail and close (RFC 3261 §18).

use super::super::*;
use super::kit::*;
use words::Transport;

#[test]
fn a_request_waits_for_its_connection_and_the_next_one_uses_it() {
    let mut bed = Bed::new();
    bed.request("INVITE", dial());
    bed.endpoint.send_ack(ours("ACK"), dial(), bed.now);
    bed.pump();
    assert_eq!((bed.sent.len(), bed.connects.len()), (0, 1));
    bed.run_to(50);
    bed.connected(Ok(tcp(3)));
    assert_eq!(bed.sent[0].1, tcp(3));
    assert_eq!(bed.sent[0].2.via().unwrap().transport, "TCP");
    bed.answer(0, 180, "x").unwrap();
    bed.endpoint.send_ack(ours("ACK"), dial(), bed.now);
    bed.pump();
    assert_eq!(bed.connects.len(), 0);
    assert_eq!(bed.sent(), ["50 INVITE", "50 ACK", "50 ACK"]);
    bed.endpoint.handle_flow_closed(tcp(3).connection, bed.now);
    bed.endpoint.send_ack(ours("ACK"), dial(), bed.now);
    bed.pump();
    assert_eq!(bed.told(), ["50 180 x", "50 transport failed"]);
    assert_eq!((bed.connects.len(), bed.endpoint.transactions()), (1, 0));
}

/// Its INVITE rings at a server whose connection has just closed.
fn cut_while_it_rings(after_ms: u64) -> Bed {
    let mut bed = Bed::with(EndpointConfig { calls_again: true, ..EndpointConfig::default() });
    bed.request("INVITE", dial());
    bed.connected(Ok(tcp(3)));
    bed.answer(0, 180, "x").unwrap();
    bed.run_to(after_ms);
    bed.endpoint.handle_flow_closed(tcp(3).connection, bed.now);
    bed.pump();
    bed
}

/// RFC 3261 §18.2.2: whoever closes an idle connection while it rings is still ringing, and answers over another one.
#[test]
fn an_invite_that_rings_outlives_its_connection_once() {
    let mut answered = cut_while_it_rings(120_000);
    answered.connected(Ok(tcp(4)));
    answered.answer(1, 200, "x").unwrap();
    assert_eq!(answered.told(), ["0 180 x", "120000 200 x"]);
    assert_eq!(answered.sent(), ["0 INVITE", "120000 INVITE"]);
    // It may be that its server opened one itself, and it is used before ours is there.
    let mut early = cut_while_it_rings(120_000);
    early.answer(0, 486, "x").unwrap();
    early.connected(Ok(tcp(4)));
    assert_eq!(early.told(), ["0 180 x", "120000 486 x"]);
    assert_eq!(early.sent(), ["0 INVITE", "120000 ACK"]);
    let mut gone = cut_while_it_rings(120_000);
    gone.connected(Err(Undelivered::Unreachable));
    assert_eq!(gone.told(), ["0 180 x", "120000 transport failed"]);
    let mut twice = cut_while_it_rings(120_000);
    twice.connected(Ok(tcp(4)));
    twice.endpoint.handle_flow_closed(tcp(4).connection, twice.now);
    twice.pump();
    assert_eq!(twice.told(), ["0 180 x", "120000 transport failed"]);
}

/// Who gives up while the connection is opened anew is still heard: nothing but the CANCEL goes out over it.
#[test]
fn an_invite_that_rings_is_cancelled_over_its_next_connection() {
    let mut bed = cut_while_it_rings(0);
    bed.cancel();
    assert_eq!(bed.sent.len(), 1);
    bed.connected(Ok(tcp(4)));
    assert_eq!((bed.sent.len(), bed.sent[1].1), (2, tcp(4)));
    bed.answer(0, 487, "x").unwrap();
    assert_eq!(bed.sent(), ["0 INVITE", "0 CANCEL", "0 ACK"]);
    assert_eq!(bed.told(), ["0 180 x", "0 487 x"]);
    bed.run_to(40_000);
    assert_eq!(bed.endpoint.transactions(), 0);
}

#[test]
fn a_connection_that_fails_or_stays_away_fails_its_requests() {
    let mut bed = Bed::new();
    bed.request("OPTIONS", dial());
    bed.run_to(100);
    bed.connected(Err(Undelivered::Unreachable));
    assert_eq!(bed.told(), ["100 transport failed"]);
    bed.request("OPTIONS", dial());
    bed.run_to(10_100);
    assert_eq!(bed.told(), ["10100 transport failed"]);
    bed.connected(Ok(tcp(1)));
    assert_eq!((bed.sent().len(), bed.endpoint.transactions(), bed.pump()), (0, 0, None));
}

/// Nobody is told that an ACK stayed behind: it is counted.
#[test]
fn acks_without_a_connection_are_counted() {
    let limits = EndpointLimits { dial_queue: 1, ..EndpointLimits::default() };
    let mut bed = Bed::with(EndpointConfig { limits, ..EndpointConfig::default() });
    for _ in 0..3 {
        bed.endpoint.send_ack(ours("ACK"), dial(), bed.now);
    }
    bed.pump();
    assert_eq!(bed.endpoint.unsent(), 2, "one waits for the connection");
    bed.connected(Err(Undelivered::Unreachable));
    assert_eq!((bed.endpoint.unsent(), bed.sent().len(), bed.told().len()), (3, 0, 0));
}

#[test]
fn what_is_cancelled_before_it_was_sent_is_never_sent() {
    let mut bed = Bed::new();
    bed.request("INVITE", dial());
    bed.cancel();
    bed.connected(Ok(tcp(1)));
    assert_eq!(bed.told(), ["0 transport failed"]);
    assert!(bed.sent().is_empty());
}

#[test]
fn dials_and_their_queues_are_bounded() {
    let limits = EndpointLimits { dials: 1, dial_queue: 2, ..EndpointLimits::default() };
    let mut bed = Bed::with(EndpointConfig { limits, ..EndpointConfig::default() });
    for n in 0..3 {
        bed.endpoint.request(ClientTxn(n), ours("OPTIONS"), dial(), bed.now);
    }
    let Target::Dial { transport, local, mut remote, .. } = dial() else { unreachable!() };
    remote.set_port(1);
    let elsewhere = Target::Dial { transport, listener: 0, local, remote, peer: None };
    bed.endpoint.request(ClientTxn(3), ours("OPTIONS"), elsewhere, bed.now);
    bed.pump();
    let failed = |event: &Event| match event {
        Event::TransportFailed { txn, .. } => txn.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(bed.events.iter().map(|(_, event)| failed(event)).collect::<Vec<_>>(), [2, 3]);
    bed.connected(Ok(tcp(1)));
    assert_eq!(bed.sent().len(), 2);
}

#[test]
fn a_closed_connection_takes_only_what_waits_on_it() {
    let mut bed = Bed::new();
    bed.request("INVITE", Target::Flow(tcp(1)));
    bed.endpoint.handle_flow_closed(tcp(2).connection, bed.now);
    bed.endpoint.handle_flow_closed(ConnectionId::NONE, bed.now);
    bed.answer(0, 200, "x").unwrap();
    bed.endpoint.handle_flow_closed(tcp(1).connection, bed.now);
    bed.run_to(100);
    assert_eq!(bed.told(), ["0 200 x"]);
    assert_eq!(bed.endpoint.transactions(), 1);
    bed.run_to(32_000);
    assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None));
}

fn by_tcp(sent_by: &str) -> String {
    text("INVITE", "z9hG4bK1", "").replace("UDP 192.0.2.9:5070", &format!("TCP {sent_by}"))
}

#[test]
fn an_answer_that_finds_no_way_is_told() {
    for method in ["INVITE", "MESSAGE"] {
        let mut bed = Bed::new();
        bed.receive(tcp(1), &by_tcp("192.0.2.9:6000").replace("INVITE", method)).unwrap();
        bed.endpoint.handle_flow_closed(tcp(1).connection, bed.now);
        bed.respond(480);
        bed.connected(Err(Undelivered::Unreachable));
        assert_eq!(bed.told(), [format!("0 {method}"), "0 server failed".to_owned()]);
        assert_eq!((bed.endpoint.transactions(), bed.pump()), (0, None), "{method}");
    }
}

#[test]
fn an_answer_to_a_request_over_tls_goes_no_other_way() {
    let mut bed = Bed::new();
    let tls = |generation| Flow { transport: Transport::Tls, ..tcp(generation) };
    bed.receive(tls(1), &by_tcp("192.0.2.9:6000").replace("SIP/2.0/TCP", "SIP/2.0/TLS")).unwrap();
    bed.endpoint.handle_flow_closed(tls(1).connection, bed.now);
    bed.respond(486);
    // A phone's certificate proves nothing, so nobody is dialled; and nothing goes in the clear.
    assert_eq!((bed.connects.len(), bed.sent.len()), (0, 0));
}

#[test]
fn an_answer_finds_its_way_when_the_connection_is_gone() {
    let mut bed = Bed::new();
    bed.receive(tcp(1), &by_tcp("192.0.2.9:6000")).unwrap();
    bed.endpoint.handle_flow_closed(tcp(1).connection, bed.now);
    bed.respond(180);
    bed.respond(486);
    assert_eq!((bed.connects.len(), bed.sent.len()), (1, 0));
    bed.connected(Ok(Flow { remote: "192.0.2.9:6000".parse().unwrap(), ..tcp(2) }));
    assert_eq!(bed.sent[0].1.connection, tcp(2).connection);
    bed.run_to(5_000);
    assert_eq!(bed.sent(), ["0 486"], "on a stream it is not repeated");
    bed.receive(tcp(2), &text("ACK", "z9hG4bK1", "").replace("UDP 192.0.2.9:5070", "TCP 192.0.2.9:6000")).unwrap();
    bed.run_to(10_000);
    assert_eq!(bed.endpoint.transactions(), 0);
}

#[test]
fn an_answer_to_behind_a_nat_is_lost_with_its_connection() {
    let mut bed = Bed::new();
    bed.receive(tcp(1), &by_tcp("10.0.0.1:6000")).unwrap();
    bed.endpoint.handle_flow_closed(tcp(1).connection, bed.now);
    bed.respond(180);
    assert_eq!(bed.told(), ["0 INVITE", "0 server failed"]);
    assert_eq!((bed.connects.len(), bed.endpoint.transactions(), bed.pump()), (0, 0, None));
}

#[test]
fn a_refused_connection_loses_the_answer() {
    let mut bed = Bed::new();
    bed.receive(tcp(1), &by_tcp("192.0.2.9:6000")).unwrap();
    bed.respond(200);
    bed.endpoint.handle_flow_closed(tcp(1).connection, bed.now);
    bed.run_to(500);
    assert_eq!(bed.connects.len(), 1);
    bed.connected(Err(Undelivered::Unreachable));
    assert_eq!(bed.told(), ["0 INVITE", "500 server failed"]);
    bed.run_to(40_000);
    assert_eq!(bed.told(), ["32000 no ack"]);
    assert_eq!(bed.sent(), ["0 200"]);
}

#[test]
fn who_is_not_trusted_is_told_so() {
    let mut bed = Bed::new();
    bed.request("OPTIONS", dial());
    bed.run_to(100);
    bed.connected(Err(Undelivered::Untrusted));
    assert_eq!((bed.told(), bed.endpoint.transactions()), (vec!["100 not trusted".to_owned()], 0));
}

#[test]
fn a_connection_that_proved_one_peer_carries_nothing_for_another() {
    let mut bed = Bed::new();
    let Target::Dial { transport, listener, local, remote, .. } = dial() else { unreachable!() };
    let to = |peer| Target::Dial { transport, listener, local, remote, peer };
    bed.request("OPTIONS", to(Some(words::PeerId(1))));
    bed.connected(Ok(tcp(3)));
    for peer in [Some(words::PeerId(2)), None] {
        bed.request("OPTIONS", to(peer));
        assert_eq!((bed.connects.len(), bed.sent.len()), (1, 1), "it opens one of its own");
        bed.connected(Err(Undelivered::Unreachable));
    }
    bed.request("OPTIONS", to(Some(words::PeerId(1))));
    assert_eq!((bed.connects.len(), bed.sent.len()), (0, 2));
}

/// Its other end was switched off and on without a word, and answers what comes over it with a reset.
#[test]
fn a_connection_that_was_dead_for_long_costs_no_request() {
    for method in ["INVITE", "BYE"] {
        let mut bed = Bed::new();
        bed.request("OPTIONS", dial());
        bed.connected(Ok(tcp(3)));
        bed.answer(0, 200, "x").unwrap();
        bed.run_to(1_000);
        bed.request(method, dial());
        bed.endpoint.handle_flow_closed(tcp(3).connection, bed.now);
        bed.pump();
        bed.run_to(1_020);
        bed.connected(Ok(tcp(4)));
        let branches: Vec<_> = bed.sent.iter().map(|(_, _, sent)| sent.via().unwrap().branch().unwrap()).collect();
        assert_eq!(branches[1], branches[2]);
        bed.answer(2, 200, "y").unwrap();
        assert_eq!(bed.told(), ["0 200 x", "1020 200 y"], "{method}");
        assert_eq!(bed.sent(), ["0 OPTIONS".to_owned(), format!("1000 {method}"), format!("1020 {method}")]);
        bed.run_to(40_000);
        assert_eq!(bed.endpoint.transactions(), 0);
    }
}

#[test]
fn a_request_goes_out_again_once_and_not_when_it_was_cancelled_or_came_over_theirs() {
    let mut bed = Bed::new();
    bed.request("INVITE", dial());
    for generation in [3, 4] {
        bed.connected(Ok(tcp(generation)));
        bed.endpoint.handle_flow_closed(tcp(generation).connection, bed.now);
        bed.pump();
    }
    assert_eq!((bed.told(), bed.connects.len()), (vec!["0 transport failed".to_owned()], 0));
    bed.request("INVITE", dial());
    bed.connected(Ok(tcp(5)));
    bed.cancel();
    bed.endpoint.handle_flow_closed(tcp(5).connection, bed.now);
    bed.pump();
    assert_eq!((bed.told(), bed.connects.len()), (vec!["0 transport failed".to_owned()], 0));
    bed.request("OPTIONS", Target::Flow(tcp(6)));
    bed.endpoint.handle_flow_closed(tcp(6).connection, bed.now);
    bed.pump();
    assert_eq!((bed.told(), bed.connects.len()), (vec!["0 transport failed".to_owned()], 0));
    assert_eq!(bed.endpoint.transactions(), 0);
}
