//! Session timers (RFC 4028) in both roles, each leg by itself.

use super::kit::*;
use crate::{Config, SessionConfig};
use media::command::MediaCommand;
use sip::{HeaderName, Message, Method};
use std::time::Duration;
use words::EndCause;

const ALLOWS: (HeaderName, &str) = (HeaderName::Allow, "INVITE, ACK, BYE, UPDATE");
const KNOWS: (HeaderName, &str) = (HeaderName::Supported, "timer");

const fn expires(value: &str) -> (HeaderName, &str) {
    (HeaderName::SessionExpires, value)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Session-Expires as text.
fn said(message: &Message) -> Option<&str> {
    message.header(HeaderName::SessionExpires)
}

/// A call in which only the caller has a timer.
fn caller_asks(lines: &[(HeaderName, &str)]) -> (World, sip::Dialog, sip::Dialog) {
    let mut w = World::new().rings(&[B]);
    let (caller, callee) = w.talk_with(A, B, lines, &[]);
    (w, caller, callee)
}

#[test]
fn a_plain_call_is_asked_for_a_timer_and_has_none() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    assert_eq!(said(&asked.message), Some("1800;refresher=uac"));
    assert!(asked.message.knows("timer") && asked.message.header(HeaderName::MinSe).is_none());
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    let ok = w.got(A, 200);
    assert!(said(&ok).is_none() && ok.header(HeaderName::Require).is_none());
}

#[test]
fn without_a_wish_of_ours_nobody_is_asked_and_others_may_ask() {
    let config = Config { session: SessionConfig { expires_s: 0, min_s: 90 }, ..Config::default() };
    let mut w = World::with(config, 1).rings(&[B]);
    let builder = w.invite_builder(A, "1001").header(KNOWS.0, KNOWS.1).header(HeaderName::SessionExpires, "3600");
    w.request(A, builder, Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    assert!(said(&asked.message).is_none() && asked.message.knows("timer"));
    w.answer(B, &asked, 200, Some(&sdp(B)));
    assert_eq!(said(&w.got(A, 200)), Some("3600;refresher=uas"));
}

#[test]
fn a_caller_that_refreshes_keeps_its_call() {
    let mut w = World::new().rings(&[B]);
    let builder = w.invite_builder(A, "1001").header(KNOWS.0, KNOWS.1);
    let builder = builder.header(HeaderName::SessionExpires, "600;refresher=uac");
    w.request(A, builder, Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    let ok = w.got(A, 200);
    assert_eq!((said(&ok), ok.header(HeaderName::Require)), (Some("600;refresher=uac"), Some("timer")));
    let from = ok.header(HeaderName::From).unwrap();
    let mut caller = sip::Dialog::uac(from, ok.call_id().unwrap(), 1, &ok).unwrap();
    w.ack(A, &caller, None);
    for n in 0..6 {
        w.pass(secs(300));
        let method = if n % 2 == 0 { Method::Update } else { Method::Invite };
        let mut builder = caller.request(method).header(HeaderName::Contact, &contact(A));
        builder.push_header(KNOWS.0, KNOWS.1);
        builder.push_header(HeaderName::SessionExpires, "600;refresher=uac");
        w.request(A, builder, (n % 2 == 1).then(|| sdp(A)).as_deref());
        assert!(w.try_asked(B, method).is_none(), "what it said before is answered here");
        let again = w.got(A, 200);
        assert_eq!(said(&again), Some("600;refresher=uac"));
        if method == Method::Invite {
            assert_eq!(body(&again), body(&ok), "under the same version");
            w.ack(A, &caller, None);
        }
    }
    // And then it does not: 32 s before the end the call is over.
    w.pass(secs(567));
    assert_eq!(w.calls.len(), 1);
    w.pass(secs(2));
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.asked(A, Method::Bye);
    w.asked(B, Method::Bye);
    w.is_clean();
}

#[test]
fn we_refresh_a_caller_by_update_where_it_takes_that() {
    let (mut w, _, _) = caller_asks(&[KNOWS, ALLOWS]);
    for _ in 0..3 {
        w.pass(secs(901));
        let asked = w.asked(A, Method::Update);
        assert!(asked.message.body().is_empty() && asked.message.header(HeaderName::Contact).is_some());
        assert!(asked.message.knows("timer") && asked.message.header(HeaderName::Require).is_none());
        assert_eq!(said(&asked.message), Some("1800;refresher=uac"));
        w.answer_with(A, &asked, 200, &[expires("1800;refresher=uac")], None);
        assert!(w.try_asked(B, Method::Update).is_none(), "the other leg has nothing to do with it");
    }
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn we_refresh_by_an_invite_that_says_what_was_said_before() {
    let (mut w, _, mut callee) = caller_asks(&[KNOWS, expires("200")]);
    let before = w.media.len();
    for _ in 0..3 {
        w.pass(secs(101));
        let asked = w.asked(A, Method::Invite);
        assert!(body(&asked.message).contains(" 1 IN IP4 10.0.0.1"), "{}", body(&asked.message));
        assert_eq!(said(&asked.message), Some("200;refresher=uac"));
        // Changes wait meanwhile.
        w.send(B, &mut callee, Method::Invite, Some(&sdp_with(B, "sendonly")));
        w.got(B, 491);
        w.answer_with(A, &asked, 200, &[expires("200;refresher=uac")], Some(&sdp(A)));
        w.acked(A);
        w.settle(A, &asked);
    }
    assert_eq!((w.calls.len(), w.media.len()), (1, before));
    w.send(B, &mut callee, Method::Bye, None);
    w.asked(A, Method::Bye);
    w.is_clean();
}

#[test]
fn a_refresh_may_move_the_media() {
    let (mut w, _, _) = caller_asks(&[KNOWS, expires("200")]);
    w.pass(secs(101));
    let asked = w.asked(A, Method::Invite);
    let moved = sdp(A).replace("m=audio 40000", "m=audio 40550");
    w.answer_with(A, &asked, 200, &[expires("200;refresher=uac")], Some(&moved));
    w.acked(A);
    let Some(MediaCommand::Latch { end, terms, .. }) = w.media.last() else { panic!("{:?}", w.media) };
    assert_eq!((end.n, terms.remote.map(|remote| remote.rtp.port())), (0, Some(40_550)));
}

#[test]
fn a_callee_is_refreshed_or_refreshes_as_it_says() {
    let mut w = World::new().rings(&[B]);
    w.talk_with(A, B, &[], &[ALLOWS, expires("1800;refresher=uac")]);
    w.pass(secs(901));
    let asked = w.asked(B, Method::Update);
    // Without the header there is no timer any more.
    w.answer(B, &asked, 200, None);
    w.pass(secs(7_200));
    assert!(w.try_asked(B, Method::Update).is_none());
    assert_eq!(w.calls.len(), 1);

    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk_with(A, B, &[], &[expires("1800;refresher=uas")]);
    w.pass(secs(900));
    // Now it is the client of the request that refreshes.
    let builder = callee.request(Method::Update).header(KNOWS.0, KNOWS.1);
    w.request(B, builder.header(HeaderName::SessionExpires, "1800;refresher=uac"), None);
    assert_eq!(said(&w.got(B, 200)), Some("1800;refresher=uac"));
    w.pass(secs(1_767));
    assert_eq!(w.calls.len(), 1);
    w.pass(secs(2));
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
}

#[test]
fn a_session_that_is_too_short_is_refused() {
    let mut w = World::new().rings(&[B]);
    let short = [KNOWS, expires("30")];
    let builder = w.invite_builder(A, "1001");
    let builder = short.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
    w.request(A, builder, Some(&sdp(A)));
    assert_eq!(w.refusal.take().map(|refusal| refusal.0), Some(422));
    let (mut caller, _) = w.talk();
    for method in [Method::Invite, Method::Update] {
        let builder = caller.request(method).header(KNOWS.0, KNOWS.1).header(HeaderName::SessionExpires, "30");
        w.request(A, builder, None);
        assert_eq!(w.got(A, 422).header(HeaderName::MinSe), Some("90"));
    }
    assert!(w.try_asked(B, Method::Invite).is_none());
}

#[test]
fn a_callee_gets_as_long_a_session_as_it_wants() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    let first = asked.message.clone();
    w.answer_with(B, &asked, 422, &[(HeaderName::MinSe, "3600")], None);
    let asked = w.asked(B, Method::Invite);
    assert_eq!(
        (said(&asked.message), asked.message.header(HeaderName::MinSe)),
        (Some("3600;refresher=uac"), Some("3600"))
    );
    assert_eq!(asked.message.header(HeaderName::CSeq), Some("2 INVITE"));
    for name in [HeaderName::CallId, HeaderName::From, HeaderName::To] {
        assert_eq!(asked.message.header(name), first.header(name));
    }
    assert_eq!((asked.message.request_uri(), body(&asked.message)), (first.request_uri(), body(&first)));
    // A Min-SE that is no longer than what it was asked is nonsense: it is out.
    w.answer_with(B, &asked, 422, &[(HeaderName::MinSe, "3600")], None);
    assert!(w.try_asked(B, Method::Invite).is_none());
    let asked = w.asked(C, Method::Invite);
    w.answer_with(C, &asked, 422, &[(HeaderName::MinSe, "2000")], None);
    let asked = w.asked(C, Method::Invite);
    w.answer_with(C, &asked, 200, &[expires("2000;refresher=uac")], Some(&sdp(C)));
    w.acked(C);
    w.settle(C, &asked);
    let caller = w.caller(A);
    w.ack(A, &caller, None);
    w.pass(secs(1_001));
    let asked = w.asked(C, Method::Invite);
    assert_eq!(
        (said(&asked.message), asked.message.header(HeaderName::MinSe)),
        (Some("2000;refresher=uac"), Some("2000"))
    );
    assert_eq!(asked.message.header(HeaderName::CSeq), Some("3 INVITE"));
}

#[test]
fn a_refresh_that_is_too_short_is_made_longer() {
    for (lines, method) in [([KNOWS, expires("1800")], Method::Invite), ([KNOWS, ALLOWS], Method::Update)] {
        let (mut w, _, _) = caller_asks(&lines);
        w.pass(secs(901));
        let asked = w.asked(A, method);
        w.answer_with(A, &asked, 422, &[(HeaderName::MinSe, "5000")], None);
        let asked = w.asked(A, method);
        assert_eq!(said(&asked.message), Some("5000;refresher=uac"));
        assert_eq!(asked.message.header(HeaderName::MinSe), Some("5000"));
        assert_eq!(asked.message.body().is_empty(), method == Method::Update);
        let body = (method == Method::Invite).then(|| sdp(A));
        w.answer_with(A, &asked, 200, &[expires("5000;refresher=uac")], body.as_deref());
        w.settle(A, &asked);
        w.pass(secs(2_499));
        assert!(w.try_asked(A, method).is_none());
        w.pass(secs(2));
        w.asked(A, method);
    }
}

#[test]
fn the_shortest_session_that_was_heard_is_repeated() {
    let (mut w, mut caller, _) = caller_asks(&[KNOWS, ALLOWS, (HeaderName::MinSe, "200")]);
    for (heard, repeated) in [(None, "200"), (Some("400"), "400"), (Some("300"), "400")] {
        if let Some(heard) = heard {
            let builder = caller.request(Method::Update).header(KNOWS.0, KNOWS.1);
            w.request(A, builder.header(HeaderName::MinSe, heard), None);
            assert!(w.got(A, 200).header(HeaderName::MinSe).is_none(), "it is said in a 422 only");
        }
        w.pass(secs(901));
        let asked = w.asked(A, Method::Update);
        assert_eq!(asked.message.header(HeaderName::MinSe), Some(repeated));
        w.answer_with(A, &asked, 200, &[expires("1800;refresher=uac")], None);
    }
}

#[test]
fn who_is_gone_ends_the_call_for_both() {
    for (lines, method) in [([KNOWS, expires("1800")], Method::Invite), ([KNOWS, ALLOWS], Method::Update)] {
        for status in [Some(481), Some(408), None] {
            let (mut w, _, _) = caller_asks(&lines);
            w.phone(A).dead = status.is_none();
            w.pass(secs(900));
            match status {
                Some(status) => {
                    let asked = w.asked(A, method);
                    w.answer(A, &asked, status, None);
                    // Who says that his dialog is over may have said goodbye.
                    assert_eq!(w.calls.len(), usize::from(status == 481));
                    w.pass(secs(4));
                }
                None => w.pass(secs(33)),
            }
            let bye = w.asked(B, Method::Bye);
            assert_eq!(bye.message.header(HeaderName::Reason), Some("Q.850;cause=27;text=\"The other side is gone\""));
            assert_eq!(w.ends(), [EndCause::SignallingLost]);
            w.phone(A).dead = false;
            w.is_clean();
        }
    }
}

#[test]
fn a_refresh_waits_for_the_end_of_a_change() {
    let (mut w, mut caller, _) = caller_asks(&[KNOWS, expires("200")]);
    w.pass(secs(90));
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.pass(secs(15));
    assert!(w.try_asked(A, Method::Invite).is_none(), "its own INVITE has no answer");
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    w.settle(B, &asked);
    w.got(A, 200);
    w.pass(secs(5));
    assert!(w.try_asked(A, Method::Invite).is_none(), "nor that answer its ACK");
    w.ack(A, &caller, None);
    // What it asked has refreshed its session.
    w.pass(secs(96));
    let asked = w.asked(A, Method::Invite);
    w.answer_with(A, &asked, 200, &[expires("200;refresher=uac")], Some(&sdp_with(A, "sendonly")));
    w.acked(A);
    w.settle(A, &asked);
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn a_refresh_that_does_not_fit_in_is_tried_again() {
    let (mut w, _, _) = caller_asks(&[KNOWS, ALLOWS]);
    w.pass(secs(901));
    for status in [491, 500, 503] {
        let asked = w.asked(A, Method::Update);
        w.answer(A, &asked, status, None);
        assert!(w.try_asked(A, Method::Update).is_none());
        w.pass(secs(5));
    }
    // Who does not know UPDATE after all gets an INVITE.
    let asked = w.asked(A, Method::Update);
    w.answer(A, &asked, 405, None);
    w.pass(Duration::from_millis(10));
    let asked = w.asked(A, Method::Invite);
    w.answer(A, &asked, 488, None);
    w.pass(secs(31));
    let asked = w.asked(A, Method::Invite);
    w.answer_with(A, &asked, 200, &[expires("1800;refresher=uac")], Some(&sdp(A)));
    w.settle(A, &asked);
    w.pass(secs(850));
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn who_refuses_every_refresh_is_given_up_at_the_end() {
    let (mut w, _, _) = caller_asks(&[KNOWS, expires("90")]);
    w.pass(secs(46));
    let asked = w.asked(A, Method::Invite);
    w.answer(A, &asked, 403, None);
    w.pass(secs(30));
    let asked = w.asked(A, Method::Invite);
    w.answer(A, &asked, 403, None);
    w.pass(secs(15));
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.asked(A, Method::Bye);
    w.asked(B, Method::Bye);
    w.is_clean();
}

#[test]
fn legs_on_hold_without_a_timer_are_looked_after() {
    for dead in [None, Some(A), Some(B)] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, _) = w.talk();
        w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
        w.settle(B, &asked);
        w.got(A, 200);
        w.ack(A, &caller, None);
        for _ in 0..2 {
            w.pass(secs(901));
            for (phone, status) in [(A, 200), (B, 501)] {
                let asked = w.asked(phone, Method::Options);
                assert!(said(&asked.message).is_none());
                w.answer(phone, &asked, status, None);
            }
        }
        if let Some(dead) = dead {
            w.phone(dead).dead = true;
            w.pass(secs(935));
            assert_eq!(w.ends(), [EndCause::SignallingLost]);
            continue;
        }
        // Who talks is heard by the relay.
        w.send(A, &mut caller, Method::Invite, Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, 200, Some(&sdp(B)));
        w.settle(B, &asked);
        w.got(A, 200);
        w.ack(A, &caller, None);
        w.pass(secs(3_600));
        assert!(w.try_asked(A, Method::Options).is_none() && w.try_asked(B, Method::Options).is_none());
        assert_eq!(w.calls.len(), 1);
    }
}

#[test]
fn a_change_that_is_carried_refreshes_both_legs() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk_with(A, B, &[KNOWS, ALLOWS], &[ALLOWS, expires("1800;refresher=uac")]);
    w.pass(secs(600));
    let builder = caller.request(Method::Invite).header(HeaderName::Contact, &contact(A)).header(KNOWS.0, KNOWS.1);
    w.request(A, builder, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    assert_eq!(said(&asked.message), Some("1800;refresher=uac"));
    w.answer_with(B, &asked, 200, &[expires("1800;refresher=uac")], Some(&sdp_with(B, "recvonly")));
    w.settle(B, &asked);
    assert_eq!(said(&w.got(A, 200)), Some("1800;refresher=uas"));
    w.ack(A, &caller, None);
    w.pass(secs(899));
    assert!(w.try_asked(A, Method::Update).is_none() && w.try_asked(B, Method::Update).is_none());
    w.pass(secs(2));
    for phone in [A, B] {
        let asked = w.asked(phone, Method::Update);
        w.answer_with(phone, &asked, 200, &[expires("1800;refresher=uac")], None);
    }
}
