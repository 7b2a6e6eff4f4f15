//! INFO and MESSAGE inside calls: carried to whoever is at the other side, before the answer too.

use super::kit::*;
use crate::Step;
use sip::{Dialog, HeaderName, Message, Method};
use std::time::Duration;

/// A phone types a key.
fn types(w: &mut World, phone: usize, dialog: &mut Dialog) {
    let builder = dialog.request(Method::Info);
    w.request_with(phone, builder, Some(("application/dtmf-relay", "Signal=5\r\n")));
}

/// The caller's early dialog, by a provisional answer.
fn early(answer: &Message) -> Dialog {
    Dialog::uac(answer.header(HeaderName::From).unwrap(), answer.call_id().unwrap(), 1, answer).unwrap()
}

fn cseq(message: &Message) -> u32 {
    message.cseq().unwrap().number
}

#[test]
fn keys_before_the_answer_go_to_who_is_heard() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    let (b, c) = (w.asked(B, Method::Invite), w.asked(C, Method::Invite));
    w.answer(C, &c, 180, None);
    let mut caller = early(&w.got(A, 180));
    types(&mut w, A, &mut caller);
    assert!(w.got(A, 480).reason().contains("nobody"), "it rings, and nobody hears");
    w.answer(B, &b, 183, Some(&sdp(B)));
    w.got(A, 183);
    types(&mut w, A, &mut caller);
    assert!(w.try_asked(C, Method::Info).is_none());
    let info = w.asked(B, Method::Info);
    assert_eq!((body(&info.message), cseq(&info.message)), ("Signal=5\r\n", 2));
    assert_eq!(info.message.to_tag(), Some("phone1"));
    assert!(w.try_got(A, 200).is_none(), "its answer is awaited");
    w.answer(B, &info, 200, None);
    w.got(A, 200);

    // Who is heard next has them next.
    w.answer(B, &b, 486, None);
    w.answer(C, &c, 183, Some(&sdp(C)));
    types(&mut w, A, &mut caller);
    let info = w.asked(C, Method::Info);
    w.answer(C, &info, 200, None);
    w.got(A, 200);

    // Its early dialog has become its dialog, and counts on.
    w.answer(C, &c, 200, Some(&sdp(C)));
    w.acked(C);
    w.settle(C, &c);
    w.got(A, 200);
    w.ack(A, &early_acked(&caller), None);
    types(&mut w, A, &mut caller);
    assert_eq!(cseq(&w.asked(C, Method::Info).message), 3);
    w.send(A, &mut caller, Method::Bye, None);
    assert_eq!(cseq(&w.asked(C, Method::Bye).message), 4);
    w.got(A, 200);
    w.is_clean();
}

/// The dialog as it was when its INVITE was sent.
fn early_acked(dialog: &Dialog) -> Dialog {
    Dialog { local_cseq: 1, ..dialog.clone() }
}

#[test]
fn keys_of_who_is_called_go_to_the_caller() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    let mut callee = Dialog::uas(&asked.message, "phone1").unwrap();
    w.answer(B, &asked, 183, Some(&sdp(B)));
    let caller = early(&w.got(A, 183));
    types(&mut w, B, &mut callee);
    let info = w.asked(A, Method::Info);
    assert!(caller.matches(&info.message));
    w.answer(A, &info, 200, None);
    w.got(B, 200);
    // Answered; the caller's ACK is missing.
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    w.settle(B, &asked);
    w.got(A, 200);
    types(&mut w, B, &mut callee);
    let info = w.asked(A, Method::Info);
    w.answer(A, &info, 200, None);
    w.got(B, 200);
    // Older than the last one.
    callee.local_cseq = 0;
    types(&mut w, B, &mut callee);
    w.got(B, 500);
}

#[test]
fn the_exchange_itself_hears_keys_and_reads_no_messages() {
    let mut w = World::new().does(vec![Step::Answer, Step::Echo]);
    w.invite(A, "*43", Some(&sdp(A)));
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    types(&mut w, A, &mut caller);
    w.got(A, 200);
    let builder = caller.request(Method::Message);
    w.request_with(A, builder, Some(("text/plain", "Hello")));
    w.got(A, 480);
}

#[test]
fn a_message_inside_a_call_goes_to_the_other_side() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    for (kind, carried) in [("text/plain;charset=UTF-8", "text/plain"), ("message/cpim", "message/cpim")] {
        let builder = caller.request(Method::Message);
        w.request_with(A, builder, Some((kind, "Hello")));
        let message = w.asked(B, Method::Message);
        assert_eq!((body(&message.message), message.message.content_type()), ("Hello", Some(carried)));
        w.answer(B, &message, 202, None);
        w.got(A, 202);
    }
    let builder = callee.request(Method::Message);
    w.request_with(B, builder, Some(("text/plain", "Hello")));
    let message = w.asked(A, Method::Message);
    // What the other side cannot is not what we cannot.
    w.answer(A, &message, 405, None);
    w.got(B, 480);
    for (kind, text, status) in [("image/png", "?".to_owned(), 415), ("text/plain", "x".repeat(1_001), 413)] {
        let builder = caller.request(Method::Message);
        w.request_with(A, builder, Some((kind, &text)));
        assert_eq!(w.got(A, status).header(HeaderName::Accept).is_some(), status == 415);
    }
    assert!(w.try_asked(B, Method::Message).is_none());
}

/// RFC 4320 §4.1, §4.2: after a time-out there is no answer at all, and never a 408.
#[test]
fn what_nobody_answered_in_time_is_not_answered_late() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.phone(B).dead = true;
    types(&mut w, A, &mut caller);
    w.pass(Duration::from_secs(90));
    // Nothing but that it was heard.
    while w.try_got(A, 100).is_some() {}
    let answered = w.phone(A).events.iter().any(|event| matches!(event, sip::Event::Response { .. }));
    assert!(!answered, "{:?}", w.phone(A).events.len());
}

#[test]
fn a_408_is_told_as_another_status() {
    for (said, told) in [(408, 480), (481, 480), (405, 480), (501, 480), (302, 403), (401, 403), (486, 486)] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, _) = w.talk();
        types(&mut w, A, &mut caller);
        let info = w.asked(B, Method::Info);
        w.answer(B, &info, said, None);
        w.got(A, told);
    }
}

/// RFC 4320 §4.1: nothing but a 100 may come before the answer, and each hop makes its own.
#[test]
fn a_provisional_answer_stays_with_its_hop() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    types(&mut w, A, &mut caller);
    let info = w.asked(B, Method::Info);
    for status in [100, 180, 183, 199] {
        w.answer(B, &info, status, None);
        let answered = w.phone(A).events.iter().any(|event| matches!(event, sip::Event::Response { .. }));
        assert!(!answered, "{status}");
    }
    w.answer(B, &info, 200, None);
    w.got(A, 200);
}
