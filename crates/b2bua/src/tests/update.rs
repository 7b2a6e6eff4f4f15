//! UPDATE (RFC 3311) in the middle of a call.

use super::kit::*;
use crate::Step;
use media::command::MediaCommand;
use media::sdp::Direction;
use sip::{HeaderName, Method};
use std::time::Duration;
use words::EndCause;

const ALLOWS: (HeaderName, &str) = (HeaderName::Allow, "INVITE, ACK, BYE, UPDATE");

/// The direction that the relay was told last for an end.
fn direction(w: &World, n: u16) -> Direction {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. } if end.n == n => {
            Some(terms.direction)
        }
        _ => None,
    };
    w.media.iter().rev().find_map(of).expect("the end was opened")
}

#[test]
fn an_offer_is_carried_as_update_where_that_is_taken() {
    for (asker, other) in [(A, B), (B, A)] {
        let mut w = World::new().rings(&[B]);
        let (caller, callee) = w.talk_with(A, B, &[ALLOWS], &[ALLOWS]);
        let mut dialog = if asker == A { caller } else { callee };
        w.send(asker, &mut dialog, Method::Update, Some(&sdp_with(asker, "sendonly")));
        let asked = w.asked(other, Method::Update);
        assert!(body(&asked.message).contains("a=sendonly") && body(&asked.message).contains("10.0.0.1"));
        assert!(asked.message.header(HeaderName::Contact).is_some());
        w.answer(other, &asked, 200, Some(&sdp_with(other, "recvonly")));
        let ok = w.got(asker, 200);
        assert!(body(&ok).contains("a=recvonly") && ok.header(HeaderName::Contact).is_some());
        assert_eq!(direction(&w, asker as u16), Direction::RecvOnly);
        // And at once the next one: nothing waits for an ACK.
        w.send(asker, &mut dialog, Method::Update, Some(&sdp(asker)));
        let asked = w.asked(other, Method::Update);
        w.answer(other, &asked, 200, Some(&sdp(other)));
        w.got(asker, 200);
        assert_eq!(direction(&w, asker as u16), Direction::SendRecv);
    }
}

#[test]
fn an_offer_is_carried_as_invite_where_update_is_not_taken() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    w.acked(B);
    w.settle(B, &asked);
    assert!(body(&w.got(A, 200)).contains("a=recvonly"));
    assert_eq!(direction(&w, 0), Direction::RecvOnly);
    w.send(A, &mut caller, Method::Bye, None);
    w.asked(B, Method::Bye);
    w.is_clean();
}

#[test]
fn who_says_that_it_takes_update_and_refuses_it_gets_an_invite() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk_with(A, B, &[], &[ALLOWS]);
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Update);
    w.answer(B, &asked, 501, None);
    let asked = w.asked(B, Method::Invite);
    assert!(body(&asked.message).contains("a=sendonly"));
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    w.acked(B);
    w.got(A, 200);
}

#[test]
fn a_refused_offer_leaves_the_call_as_it_was() {
    for (status, told) in [(488, 488), (491, 491), (603, 603), (415, 488)] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, _) = w.talk_with(A, B, &[], &[ALLOWS]);
        let before = w.media.len();
        w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
        let asked = w.asked(B, Method::Update);
        w.answer(B, &asked, status, None);
        w.got(A, told);
        assert_eq!((w.calls.len(), w.media.len()), (1, before));
    }
}

#[test]
fn an_update_without_a_description_is_answered_here() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk_with(A, B, &[ALLOWS], &[ALLOWS]);
    // The other side has moved: our next request goes to its new Contact.
    let builder = callee.request(Method::Update).header(HeaderName::Contact, "<sip:new@10.0.1.2:5060>");
    w.request(B, builder, None);
    let ok = w.got(B, 200);
    assert!(ok.body().is_empty() && ok.header(HeaderName::SessionExpires).is_none());
    assert!(w.try_asked(A, Method::Update).is_none());
    let call = w.asked[0];
    let now = w.now;
    w.calls.hang_up(call, EndCause::Administrative, now);
    w.run();
    assert_eq!(w.asked(B, Method::Bye).message.request_uri(), "sip:new@10.0.1.2:5060");
}

#[test]
fn offers_that_cross_are_told_so() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk_with(A, B, &[ALLOWS], &[ALLOWS]);
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Update);
    // Its own offer has no answer yet.
    w.send(A, &mut caller, Method::Update, Some(&sdp(A)));
    assert!(w.got(A, 500).header(HeaderName::RetryAfter).is_some());
    // The one that it was made has none.
    w.send(B, &mut callee, Method::Update, Some(&sdp(B)));
    w.got(B, 491);
    w.send(B, &mut callee, Method::Invite, Some(&sdp(B)));
    w.got(B, 491);
    // Without an offer there is nothing to cross.
    w.send(B, &mut callee, Method::Update, None);
    w.got(B, 200);
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    w.got(A, 200);
}

#[test]
fn before_the_answer_an_offer_waits_and_a_refresh_does_not() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 183, Some(&sdp(B)));
    let early = w.got(A, 183);
    let from = early.header(HeaderName::From).unwrap();
    let mut caller = sip::Dialog::uac(from, early.call_id().unwrap(), 1, &early).unwrap();
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    assert!(w.got(A, 500).header(HeaderName::RetryAfter).is_some());
    w.send(A, &mut caller, Method::Update, None);
    assert!(w.got(A, 200).body().is_empty());
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.got(A, 200);
}

#[test]
fn what_cannot_be_carried_is_refused() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk_with(A, B, &[], &[ALLOWS]);
    let srtp = sdp(A).replace("RTP/AVP", "RTP/SAVP");
    for (body, status) in [(srtp.as_str(), 488), ("v=0\r\nbroken", 400)] {
        w.send(A, &mut caller, Method::Update, Some(body));
        w.got(A, status);
    }
    let builder = caller.request(Method::Update);
    w.request_with(A, builder, Some(("text/plain", "hello")));
    assert_eq!(w.got(A, 415).header(HeaderName::Accept), Some("application/sdp, multipart/mixed"));
    assert!(w.try_asked(B, Method::Update).is_none());
}

#[test]
fn the_exchange_itself_answers_for_its_services() {
    let mut w = World::new().does(vec![Step::Echo]);
    w.invite(A, "*43", Some(&sdp(A)));
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    assert!(body(&w.got(A, 200)).contains("a=recvonly"));
    assert_eq!(direction(&w, 0), Direction::RecvOnly);
    w.send(A, &mut caller, Method::Bye, None);
    w.got(A, 200);
    w.is_clean();
}

#[test]
fn a_person_who_thinks_too_long_about_it_is_not_waited_for() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 100, None);
    w.pass(Duration::from_secs(21));
    w.got(A, 504);
    let (txn, _) = w.cancelled(B).unwrap();
    assert_eq!(txn, asked.txn);
    w.answer(B, &asked, 487, None);
    w.pass(Duration::from_secs(40));
    assert_eq!(w.calls.len(), 1);
    // The next change passes.
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    w.asked(B, Method::Invite);
}

#[test]
fn an_update_that_nobody_answers_ends_the_call() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk_with(A, B, &[], &[ALLOWS]);
    w.phone(B).dead = true;
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    w.pass(Duration::from_secs(33));
    w.asked(A, Method::Bye);
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.is_clean();
}

#[test]
fn a_goodbye_ends_what_is_under_way() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk_with(A, B, &[], &[ALLOWS]);
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Update);
    w.send(B, &mut callee, Method::Bye, None);
    w.got(A, 487);
    w.asked(A, Method::Bye);
    w.answer(B, &asked, 481, None);
    assert_eq!(w.ends(), [EndCause::Normal]);
    w.is_clean();
}
