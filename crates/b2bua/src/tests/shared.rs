//! Who is told the port that many share, by what it is told from others there, and why others have ports of their own.

use super::kit::*;
use crate::{Config, Step};
use media::command::{MediaCommand, OwnPorts, Whereabouts};
use sip::{HeaderName, MessageBuilder, Method};
use words::{CallId, LegId};

const PORT: u16 = 9_000;

fn world() -> World {
    World::with(Config { single_port: Some(PORT), ..Config::default() }, 1)
}

/// What the relay was told last of an end.
fn whereabouts(w: &World, call: CallId, n: u16) -> Whereabouts {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. }
            if *end == (LegId { call, n }) =>
        {
            Some(terms.whereabouts)
        }
        _ => None,
    };
    w.media.iter().rev().find_map(of).expect("the end was opened")
}

/// The calls in the order in which they came.
fn calls(w: &World) -> Vec<CallId> {
    let mut calls = Vec::new();
    for command in &w.media {
        if let MediaCommand::Open { end, .. } = command
            && !calls.contains(&end.call)
        {
            calls.push(end.call);
        }
    }
    calls
}

/// A phone behind NAT, by its Contact, calls the echo.
fn from_behind_nat(w: &mut World, call: &str, more: &str) -> u16 {
    let builder = MessageBuilder::request("INVITE", "sip:*43@10.0.0.1")
        .header(HeaderName::MaxForwards, "70")
        .header(HeaderName::From, &format!("<sip:u0@10.0.0.1>;tag={call}"))
        .header(HeaderName::To, "<sip:*43@10.0.0.1>")
        .header(HeaderName::CallId, call)
        .header(HeaderName::CSeq, "1 INVITE")
        .header(HeaderName::Contact, "<sip:u0@192.168.7.7>");
    w.request(A, builder, Some(&(sdp(A) + more)));
    told(&w.got(A, 200))
}

/// The port that a description names.
fn told(answer: &sip::Message) -> u16 {
    let line = body(answer).lines().find_map(|line| line.strip_prefix("m=audio ")).expect("it has audio");
    line.split(' ').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[test]
fn behind_nat_an_ssrc_that_nobody_else_has_makes_known() {
    let mut w = world().does(vec![Step::Echo]);
    assert_eq!(from_behind_nat(&mut w, "one", "a=ssrc:77 cname:phone\r\n"), PORT);
    assert_ne!(from_behind_nat(&mut w, "two", "a=ssrc:77 cname:other\r\n"), PORT);
    assert_ne!(from_behind_nat(&mut w, "three", ""), PORT);
    assert_eq!(from_behind_nat(&mut w, "four", "a=ssrc:78\r\n"), PORT);
    let found = calls(&w);
    let of = |n: usize| whereabouts(&w, found[n], 0);
    assert_eq!((of(0).single_port, of(0).ssrc, of(0).own), (true, Some(77), None));
    assert_eq!((of(1).single_port, of(1).own), (false, Some(OwnPorts::BehindNat)));
    assert_eq!((of(2).single_port, of(2).own), (false, Some(OwnPorts::BehindNat)));
    assert_eq!((of(3).single_port, of(3).ssrc), (true, Some(78)));
}

#[test]
fn of_two_calls_with_one_address_the_second_has_ports_of_its_own() {
    let mut w = world().does(vec![Step::Echo]);
    let mut dialogs = Vec::new();
    for expected in [true, false] {
        w.invite(A, "*43", Some(&sdp(A)));
        let ok = w.got(A, 200);
        assert_eq!(told(&ok) == PORT, expected);
        dialogs.push(sip::Dialog::uac(ok.header(HeaderName::From).unwrap(), ok.call_id().unwrap(), 1, &ok).unwrap());
        w.ack(A, dialogs.last().unwrap(), None);
    }
    let of = |w: &World, n: usize| whereabouts(w, calls(w)[n], 0);
    assert!(of(&w, 0).single_port && !of(&w, 1).single_port);
    assert_eq!(of(&w, 1).own, Some(OwnPorts::SameAddress));
    // Once the first is over, the address is free for the next.
    w.send(A, &mut dialogs[0], Method::Bye, None);
    w.got(A, 200);
    w.invite(A, "*43", Some(&sdp(A)));
    assert_eq!(told(&w.got(A, 200)), PORT);
    assert!(of(&w, 2).single_port);
}

#[test]
fn a_trunk_has_ports_of_its_own() {
    let mut w = world().rings(&[B]);
    for step in &mut w.plan {
        if let Step::Dial { targets, .. } = step {
            for target in targets {
                target.to.peer = Some(words::PeerId(5));
            }
        }
    }
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    assert_ne!(told(&asked.message), PORT);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    assert_eq!(told(&w.got(A, 200)), PORT, "its caller shares");
    let call = calls(&w)[0];
    assert_eq!(whereabouts(&w, call, 1).own, Some(OwnPorts::Trunk));
    assert!(whereabouts(&w, call, 0).single_port);
}
