//! Reliable provisional answers (RFC 3262) on either leg, and what is agreed with them.

use super::kit::*;
use crate::Step;
use media::command::{MediaCommand, Sound};
use media::sdp::Direction;
use sip::{ClientTxn, Dialog, HeaderName, Message, Method};
use std::time::Duration;
use words::EndCause;

const ALLOWS: (HeaderName, &str) = (HeaderName::Allow, "INVITE, ACK, BYE, PRACK, UPDATE");
const KNOWS: (HeaderName, &str) = (HeaderName::Supported, "100rel");
const WANTS: (HeaderName, &str) = (HeaderName::Require, "100rel");

const fn rseq(number: &str) -> (HeaderName, &str) {
    (HeaderName::RSeq, number)
}

/// A calls with these lines.
fn call(w: &mut World, lines: &[(HeaderName, &str)], body: Option<&str>) -> ClientTxn {
    let builder = w.invite_builder(A, "1001");
    let builder = lines.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
    w.request(A, builder, body)
}

/// The caller's early dialog.
fn early(answer: &Message) -> Dialog {
    Dialog::uac(answer.header(HeaderName::From).unwrap(), answer.call_id().unwrap(), 1, answer).unwrap()
}

/// Whether an answer is reliable.
fn reliable(answer: &Message) -> bool {
    answer.rseq().is_some() && answer.has_token(HeaderName::Require, "100rel")
}

/// Where the relay sends what goes to an end, and in which direction.
fn end(w: &World, n: u16) -> (Direction, Option<u16>) {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. } if end.n == n => {
            Some((terms.direction, terms.remote.map(|remote| remote.rtp.port())))
        }
        _ => None,
    };
    w.media.iter().rev().find_map(of).expect("the end was opened")
}

/// Another description of a phone: only PCMA.
fn pcma(phone: usize) -> String {
    sdp(phone).replace(" 0 8 101", " 8 101").replace("a=rtpmap:0 PCMU/8000\r\n", "")
}

#[test]
fn a_caller_that_knows_them_gets_them_one_at_a_time() {
    for knows in [KNOWS, WANTS] {
        let mut w = World::new().rings(&[B]);
        call(&mut w, &[knows], Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        assert!(asked.message.knows("100rel"));
        w.answer(B, &asked, 180, None);
        let ringing = w.got(A, 180);
        assert!(reliable(&ringing) && ringing.header(HeaderName::Contact).is_some());
        assert!((1..1 << 31).contains(&ringing.rseq().unwrap()), "there is room to count up");
        // The next one waits for its PRACK.
        w.answer(B, &asked, 183, Some(&sdp(B)));
        assert!(w.try_got(A, 183).is_none());
        let mut caller = early(&ringing);
        w.prack(A, &mut caller, &ringing, None);
        w.got(A, 200);
        let progress = w.got(A, 183);
        assert_eq!(progress.rseq(), ringing.rseq().map(|rseq| rseq + 1));
        assert!(body(&progress).contains("m=audio"));
        // So does the 200, because of the description.
        w.answer(B, &asked, 200, Some(&sdp(B)));
        w.acked(B);
        w.settle(B, &asked);
        assert!(w.try_got(A, 200).is_none());
        w.prack(A, &mut caller, &progress, None);
        assert_eq!(w.got(A, 200).method(), Method::Prack);
        let ok = w.got(A, 200);
        assert!(ok.method() == Method::Invite && ok.body().is_empty(), "it has its answer");
        w.ack(A, &early(&ok), None);
        assert_eq!((end(&w, 0).1, end(&w, 1).1), (Some(40_000), Some(40_001)));
        w.send(A, &mut caller, Method::Bye, None);
        w.got(A, 200);
        w.asked(B, Method::Bye);
        w.is_clean();
    }
}

#[test]
fn without_a_description_a_200_does_not_wait() {
    let mut w = World::new().rings(&[B]);
    call(&mut w, &[KNOWS], Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    let ringing = w.got(A, 180);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    let ok = w.got(A, 200);
    assert!(body(&ok).contains("m=audio"));
    // Its PRACK is taken all the same, and before the ACK or after it.
    let mut caller = early(&ok);
    w.ack(A, &caller, None);
    w.prack(A, &mut caller, &ringing, None);
    w.got(A, 200);
    w.prack(A, &mut caller, &ringing, None);
    w.got(A, 481);
    w.pass(Duration::from_secs(40));
    assert!(w.try_got(A, 180).is_none(), "it is not sent again");
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn it_is_sent_again_until_its_prack_comes_and_at_last_the_call_is_refused() {
    let targets = vec![target(B, 0)];
    let mut w = World::new().does(vec![Step::Dial { targets, ring_for: Duration::from_mins(1) }]);
    call(&mut w, &[WANTS], Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    let first = w.got(A, 180);
    for (after, many) in [(499, 0), (1, 1), (999, 0), (1, 1), (2_000, 1), (4_000, 1), (24_000, 2)] {
        w.pass(Duration::from_millis(after));
        for _ in 0..many {
            assert_eq!(w.got(A, 180).bytes(), first.bytes());
        }
        assert!(w.try_got(A, 180).is_none());
    }
    w.pass(Duration::from_secs(1));
    assert_eq!(w.got(A, 504).reason(), "No PRACK");
    assert!(w.cancelled(B).is_some());
    w.answer(B, &asked, 487, None);
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.is_clean();
}

#[test]
fn a_prack_for_nothing_is_told_so() {
    let mut w = World::new().rings(&[B]);
    call(&mut w, &[KNOWS], Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    let ringing = w.got(A, 180);
    let rseq = ringing.rseq().unwrap();
    let mut caller = early(&ringing);
    for (rack, status) in [
        (format!("{} 1 INVITE", rseq + 1), 481),
        (format!("{rseq} 2 INVITE"), 481),
        (format!("{rseq} 1 UPDATE"), 481),
        ("nonsense".to_owned(), 400),
    ] {
        let builder = caller.request(Method::Prack).header(HeaderName::RAck, &rack);
        w.request(A, builder, None);
        w.got(A, status);
    }
    w.send(A, &mut caller, Method::Prack, None);
    assert_eq!(w.got(A, 400).reason(), "Missing RAck");
    w.prack(A, &mut caller, &ringing, None);
    w.got(A, 200);
}

#[test]
fn a_callee_that_sends_them_gets_its_pracks_in_order() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer_with(B, &asked, 180, &[WANTS, rseq("4711")], None);
    let prack = w.asked(B, Method::Prack);
    assert_eq!(prack.message.header(HeaderName::RAck), Some("4711 1 INVITE"));
    assert_eq!(prack.message.header(HeaderName::CSeq), Some("2 PRACK"));
    w.answer(B, &prack, 200, None);
    // The caller knows nothing of that.
    assert!(!reliable(&w.got(A, 180)));
    // Again, too early, and older than the last.
    for number in ["4711", "4713", "17"] {
        w.answer_with(B, &asked, 183, &[WANTS, rseq(number)], Some(&sdp(B)));
        assert!(w.try_asked(B, Method::Prack).is_none() && w.try_got(A, 183).is_none(), "{number}");
    }
    w.answer_with(B, &asked, 183, &[WANTS, rseq("4712")], Some(&sdp(B)));
    let prack = w.asked(B, Method::Prack);
    assert_eq!(prack.message.header(HeaderName::RAck), Some("4712 1 INVITE"));
    assert!(prack.message.body().is_empty());
    w.answer(B, &prack, 200, None);
    assert!(body(&w.got(A, 183)).contains("m=audio"));
    // It has said all in its 183: the caller gets it in its 200.
    w.answer(B, &asked, 200, None);
    w.acked(B);
    w.settle(B, &asked);
    let ok = w.got(A, 200);
    assert!(body(&ok).contains("m=audio"));
    let mut caller = early(&ok);
    w.ack(A, &caller, None);
    assert_eq!((end(&w, 0).1, end(&w, 1).1), (Some(40_000), Some(40_001)));
    w.send(A, &mut caller, Method::Bye, None);
    // The PRACKs have counted.
    assert_eq!(w.asked(B, Method::Bye).message.header(HeaderName::CSeq), Some("4 BYE"));
    w.is_clean();
}

#[test]
fn of_several_that_ring_the_one_who_answers_is_heard() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    let (b, c) = (w.asked(B, Method::Invite), w.asked(C, Method::Invite));
    w.answer_with(B, &b, 183, &[WANTS, rseq("1")], Some(&sdp(B)));
    w.answer_with(C, &c, 183, &[WANTS, rseq("1")], Some(&pcma(C)));
    for phone in [B, C] {
        let prack = w.asked(phone, Method::Prack);
        w.answer(phone, &prack, 200, None);
    }
    assert!(body(&w.got(A, 183)).contains("PCMU"));
    // The other one answers, and says nothing that it has not said.
    w.answer(C, &c, 200, None);
    w.settle(C, &c);
    let ok = w.got(A, 200);
    assert!(!body(&ok).contains("PCMU") && body(&ok).contains("PCMA"));
    assert_eq!(end(&w, 1).1, Some(40_002));
    assert!(w.cancelled(B).is_some());
}

#[test]
fn a_fork_behind_the_callees_proxy_is_acknowledged_in_each_dialog() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer_with(B, &asked, 180, &[WANTS, rseq("5")], None);
    w.asked(B, Method::Prack);
    let from_other = |status: u16, number: &str| {
        sip::MessageBuilder::response(&asked.message, status, "", Some("other"))
            .header(HeaderName::Contact, "<sip:other@10.0.1.2:5060>")
            .header(WANTS.0, WANTS.1)
            .header(HeaderName::RSeq, number)
    };
    w.answer_raw(B, from_other(180, "90"));
    let prack = w.asked(B, Method::Prack).message;
    assert_eq!((prack.to_tag(), prack.request_uri()), (Some("other"), "sip:other@10.0.1.2:5060"));
    assert_eq!(prack.header(HeaderName::RAck), Some("90 1 INVITE"));
    w.answer_raw(B, from_other(180, "90"));
    assert!(w.try_asked(B, Method::Prack).is_none());
    w.answer_with(B, &asked, 180, &[WANTS, rseq("6")], None);
    assert_eq!(w.asked(B, Method::Prack).message.header(HeaderName::RAck), Some("6 1 INVITE"));
    // The second branch answers: its dialog has counted.
    let ok = sip::MessageBuilder::response(&asked.message, 200, "", Some("other"))
        .header(HeaderName::Contact, "<sip:other@10.0.1.2:5060>");
    let flow = flow(B);
    let body = bytes::Bytes::from(sdp(B));
    let bytes = sip::Outgoing { builder: ok, body: Some(("application/sdp", body)) }.finish_response(&flow);
    w.receive(flow, bytes);
    let ack = w.acked(B);
    assert_eq!((ack.to_tag(), ack.header(HeaderName::CSeq)), (Some("other"), Some("1 ACK")));
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    w.send(A, &mut caller, Method::Bye, None);
    let bye = w.asked(B, Method::Bye).message;
    assert_eq!((bye.to_tag(), bye.header(HeaderName::CSeq)), (Some("other"), Some("3 BYE")));
}

#[test]
fn an_offer_of_the_callee_is_answered_before_the_200_when_both_can() {
    let mut w = World::new().rings(&[B]);
    call(&mut w, &[KNOWS], None);
    let asked = w.asked(B, Method::Invite);
    assert!(asked.message.knows("100rel") && asked.message.body().is_empty());
    // What rings without an offer is told plainly: the first reliable answer has to have one.
    w.answer(B, &asked, 180, None);
    assert!(!reliable(&w.got(A, 180)));
    w.answer_with(B, &asked, 183, &[WANTS, rseq("9")], Some(&sdp(B)));
    assert!(w.try_asked(B, Method::Prack).is_none(), "it waits for the caller's answer");
    let progress = w.got(A, 183);
    assert!(reliable(&progress) && body(&progress).contains("c=IN IP4 10.0.0.1"));
    let mut caller = early(&progress);
    w.prack(A, &mut caller, &progress, Some(&sdp(A)));
    w.got(A, 200);
    let prack = w.asked(B, Method::Prack);
    assert!(body(&prack.message).contains("c=IN IP4 10.0.0.1"));
    w.answer(B, &prack, 200, None);
    assert_eq!((end(&w, 0).1, end(&w, 1).1), (Some(40_000), Some(40_001)));
    w.answer(B, &asked, 200, None);
    assert!(w.acked(B).body().is_empty());
    w.settle(B, &asked);
    let ok = w.got(A, 200);
    assert!(ok.body().is_empty());
    w.ack(A, &early(&ok), None);
    w.send(A, &mut caller, Method::Bye, None);
    w.asked(B, Method::Bye);
    w.is_clean();
}

#[test]
fn an_offer_of_the_callee_waits_for_its_200_when_the_caller_cannot_answer_before() {
    for (lines, many) in [(&[][..], &[B][..]), (&[KNOWS][..], &[B, C][..])] {
        let mut w = World::new().rings(many);
        call(&mut w, lines, None);
        let asked = w.asked(B, Method::Invite);
        assert!(!asked.message.knows("100rel") && asked.message.knows("timer"));
        w.answer(B, &asked, 180, None);
        w.answer(B, &asked, 200, Some(&sdp(B)));
        let ok = w.got(A, 200);
        assert!(body(&ok).contains("m=audio"));
        w.ack(A, &early(&ok), Some(&sdp(A)));
        assert!(body(&w.acked(B)).contains("m=audio"));
    }
}

#[test]
fn a_prack_without_the_answer_that_it_owes_is_refused() {
    let mut w = World::new().rings(&[B]);
    call(&mut w, &[KNOWS], None);
    let asked = w.asked(B, Method::Invite);
    w.answer_with(B, &asked, 183, &[WANTS, rseq("9")], Some(&sdp(B)));
    let progress = w.got(A, 183);
    let mut caller = early(&progress);
    w.prack(A, &mut caller, &progress, None);
    assert_eq!(w.got(A, 400).reason(), "No Answer To The Offer");
    w.prack(A, &mut caller, &progress, Some("v=0\r\nbroken"));
    w.got(A, 400);
    w.prack(A, &mut caller, &progress, Some(&sdp(A)));
    w.got(A, 200);
    w.asked(B, Method::Prack);
}

#[test]
fn a_caller_that_requires_them_and_makes_no_offer_hears_nothing_before_one() {
    let mut w = World::new().rings(&[B]);
    call(&mut w, &[WANTS], None);
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    assert!(w.try_got(A, 180).is_none());
    w.answer_with(B, &asked, 183, &[WANTS, rseq("9")], Some(&sdp(B)));
    assert!(reliable(&w.got(A, 183)));
}

#[test]
fn the_exchanges_own_voice_is_agreed_on_before_the_answer() {
    for offers in [true, false] {
        let sound = Sound::Ringback;
        let mut w = World::new().does(vec![Step::Progress { sound: Some(sound) }]);
        call(&mut w, &[KNOWS], offers.then(|| sdp(A)).as_deref());
        let progress = w.got(A, 183);
        assert!(reliable(&progress) && body(&progress).contains("PCMU"));
        let mut caller = early(&progress);
        w.prack(A, &mut caller, &progress, (!offers).then(|| sdp(A)).as_deref());
        w.got(A, 200);
        assert!(w.media.iter().any(|command| matches!(command, MediaCommand::Play { .. })));
        let (call, now) = (w.asked[0], w.now);
        w.calls.apply(call, Step::Echo, now).unwrap();
        w.run();
        let ok = w.got(A, 200);
        assert!(ok.body().is_empty());
        w.ack(A, &early(&ok), None);
        assert!(matches!(w.media.last(), Some(MediaCommand::Link { from, to, .. }) if from == to));
        w.send(A, &mut caller, Method::Bye, None);
        w.got(A, 200);
        w.is_clean();
    }
}

#[test]
fn an_answer_of_the_exchange_waits_for_the_prack_too() {
    let mut w = World::new().does(vec![Step::Progress { sound: None }, Step::Answer, Step::Echo]);
    call(&mut w, &[KNOWS], Some(&sdp(A)));
    let progress = w.got(A, 183);
    assert!(w.try_got(A, 200).is_none());
    let mut caller = early(&progress);
    w.prack(A, &mut caller, &progress, None);
    w.got(A, 200);
    assert_eq!(w.got(A, 200).method(), Method::Invite);
    w.ack(A, &early(&progress), None);
    assert!(matches!(w.media.last(), Some(MediaCommand::Link { from, to, .. }) if from == to));
}

#[test]
fn a_caller_that_agreed_with_one_is_offered_what_another_says() {
    for by_update in [true, false] {
        let sound = Sound::Ringback;
        let mut w = World::new().rings(&[B]);
        w.plan.insert(0, Step::Progress { sound: Some(sound) });
        let lines = [KNOWS, ALLOWS];
        call(&mut w, if by_update { &lines } else { &lines[..1] }, Some(&sdp(A)));
        let progress = w.got(A, 183);
        let mut caller = early(&progress);
        w.prack(A, &mut caller, &progress, None);
        w.got(A, 200);
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, 200, Some(&pcma(B)));
        w.acked(B);
        w.settle(B, &asked);
        let ok = w.got(A, 200);
        assert!(ok.body().is_empty());
        let method = if by_update { Method::Update } else { Method::Invite };
        assert!(w.try_asked(A, method).is_none(), "its ACK comes first");
        w.ack(A, &early(&ok), None);
        let turn = w.asked(A, method);
        assert!(body(&turn.message).contains("PCMA") && !body(&turn.message).contains("PCMU"));
        w.answer(A, &turn, 200, Some(&pcma(A)));
        if !by_update {
            w.acked(A);
            w.settle(A, &turn);
        }
        assert_eq!((end(&w, 0).1, end(&w, 1).1), (Some(40_000), Some(40_001)));
        assert!(w.try_asked(B, Method::Invite).is_none());
        w.send(A, &mut caller, Method::Bye, None);
        w.asked(B, Method::Bye);
        w.is_clean();
    }
}

#[test]
fn one_after_the_other_is_heard_by_a_caller_that_agreed_with_the_first() {
    let targets = vec![target(B, 0), target(C, 1)];
    let plan = vec![Step::Dial { targets, ring_for: Duration::from_secs(20) }];
    let mut w = World::new().does(plan);
    call(&mut w, &[KNOWS, ALLOWS], Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 183, Some(&sdp(B)));
    let progress = w.got(A, 183);
    let mut caller = early(&progress);
    w.prack(A, &mut caller, &progress, None);
    w.got(A, 200);
    w.answer(B, &asked, 486, None);
    let asked = w.asked(C, Method::Invite);
    w.answer_with(C, &asked, 183, &[WANTS, rseq("1")], Some(&pcma(C)));
    let prack = w.asked(C, Method::Prack);
    w.answer(C, &prack, 200, None);
    let turn = w.asked(A, Method::Update);
    assert!(!body(&turn.message).contains("PCMU"));
    // Meanwhile it answers: that waits for the caller.
    w.answer(C, &asked, 200, None);
    w.acked(C);
    w.settle(C, &asked);
    assert!(w.try_got(A, 200).is_none());
    w.answer(A, &turn, 200, Some(&pcma(A)));
    let ok = w.got(A, 200);
    assert!(ok.body().is_empty());
    w.ack(A, &early(&ok), None);
    assert!(w.try_asked(A, Method::Update).is_none(), "it has agreed already");
    assert_eq!((end(&w, 0).1, end(&w, 1).1), (Some(40_000), Some(40_002)));
    w.send(A, &mut caller, Method::Bye, None);
    w.asked(C, Method::Bye);
    w.is_clean();
}

/// A call whose legs both agreed before the answer: the callee's INVITE, the callers' dialogs.
fn agreed(w: &mut World, lines: &[(HeaderName, &str)]) -> (Asked, Dialog, Dialog) {
    call(w, &[&[KNOWS], lines].concat(), Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer_with(B, &asked, 183, &[&[WANTS, rseq("1")], lines].concat(), Some(&sdp(B)));
    let prack = w.asked(B, Method::Prack);
    w.answer(B, &prack, 200, None);
    let progress = w.got(A, 183);
    let mut caller = early(&progress);
    w.prack(A, &mut caller, &progress, None);
    w.got(A, 200);
    let callee = Dialog::uas(&asked.message, "phone1").unwrap();
    (asked, caller, callee)
}

#[test]
fn an_update_before_the_answer_crosses_in_both_directions() {
    for asker in [A, B] {
        let mut w = World::new().rings(&[B]);
        let (asked, mut caller, mut callee) = agreed(&mut w, &[ALLOWS]);
        let (dialog, other) = if asker == A { (&mut caller, B) } else { (&mut callee, A) };
        w.send(asker, dialog, Method::Update, Some(&sdp_with(asker, "sendonly")));
        let update = w.asked(other, Method::Update);
        // Two at once do not go.
        w.send(asker, dialog, Method::Update, Some(&sdp(asker)));
        assert!(w.got(asker, 500).header(HeaderName::RetryAfter).is_some());
        w.answer(other, &update, 200, Some(&sdp_with(other, "recvonly")));
        assert!(body(&w.got(asker, 200)).contains("a=recvonly"));
        assert_eq!(end(&w, asker as u16).0, Direction::RecvOnly);
        w.answer(B, &asked, 200, None);
        w.settle(B, &asked);
        let ok = w.got(A, 200);
        assert!(ok.body().is_empty());
        w.ack(A, &early(&ok), None);
        assert!(w.try_asked(A, Method::Update).is_none());
        assert_eq!(end(&w, asker as u16).0, Direction::RecvOnly);
        w.send(A, &mut caller, Method::Bye, None);
        w.asked(B, Method::Bye);
        w.is_clean();
    }
}

#[test]
fn an_offer_in_a_prack_is_answered_in_its_200() {
    let mut w = World::new().rings(&[B]);
    call(&mut w, &[KNOWS, ALLOWS], Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer_with(B, &asked, 183, &[WANTS, rseq("1"), ALLOWS], Some(&sdp(B)));
    let prack = w.asked(B, Method::Prack);
    w.answer(B, &prack, 200, None);
    let progress = w.got(A, 183);
    let mut caller = early(&progress);
    w.prack(A, &mut caller, &progress, Some(&sdp_with(A, "sendonly")));
    let update = w.asked(B, Method::Update);
    assert!(body(&update.message).contains("a=sendonly"));
    assert!(w.try_got(A, 200).is_none());
    w.answer(B, &update, 200, Some(&sdp_with(B, "recvonly")));
    let ok = w.got(A, 200);
    assert!(ok.method() == Method::Prack && body(&ok).contains("a=recvonly"));
    w.answer(B, &asked, 200, None);
    assert!(w.got(A, 200).body().is_empty());
}

#[test]
fn what_cannot_be_changed_before_the_answer_is_told_so() {
    // The callee does not take UPDATE.
    let mut w = World::new().rings(&[B]);
    let (_, mut caller, _) = agreed(&mut w, &[]);
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    w.got(A, 504);
    // The caller has agreed to nothing yet: it does not know reliable answers.
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    let mut callee = Dialog::uas(&asked.message, "phone1").unwrap();
    w.answer_with(B, &asked, 183, &[WANTS, rseq("1"), ALLOWS], Some(&sdp(B)));
    w.send(B, &mut callee, Method::Update, Some(&sdp_with(B, "sendonly")));
    w.got(B, 504);
    w.send(B, &mut callee, Method::Update, None);
    w.got(B, 200);
    w.send(B, &mut callee, Method::Invite, Some(&sdp(B)));
    w.got(B, 491);
    w.send(B, &mut callee, Method::Bye, None);
    w.got(B, 481);
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn a_change_that_is_under_way_ends_with_its_leg() {
    let targets = vec![target(B, 0), target(C, 1)];
    let plan = vec![Step::Dial { targets, ring_for: Duration::from_secs(20) }];
    let mut w = World::new().does(plan);
    let (asked, mut caller, _) = agreed(&mut w, &[ALLOWS]);
    w.send(A, &mut caller, Method::Update, Some(&sdp_with(A, "sendonly")));
    w.asked(B, Method::Update);
    w.answer(B, &asked, 486, None);
    w.got(A, 480);
    let asked = w.asked(C, Method::Invite);
    w.answer(C, &asked, 603, None);
    w.got(A, 603);
    w.is_clean();
}

#[test]
fn a_caller_that_gives_up_while_its_answer_waits_ends_both() {
    let mut w = World::new().rings(&[B]);
    let txn = call(&mut w, &[KNOWS], Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 183, Some(&sdp(B)));
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    w.settle(B, &asked);
    w.cancel(A, txn);
    w.got(A, 487);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::Cancelled]);
    w.is_clean();
}

#[test]
fn a_callee_that_hangs_up_while_its_answer_waits_ends_both() {
    let mut w = World::new().rings(&[B]);
    call(&mut w, &[KNOWS], Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 183, Some(&sdp(B)));
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    let mut callee = Dialog::uas(&asked.message, "phone1").unwrap();
    w.send(B, &mut callee, Method::Bye, None);
    w.got(B, 200);
    w.got(A, 480);
    w.is_clean();
}

#[test]
fn an_early_dialog_of_who_is_cancelled_is_acknowledged_all_the_same() {
    let mut w = World::new().rings(&[B]);
    let txn = w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    w.cancel(A, txn);
    w.got(A, 487);
    w.cancelled(B).unwrap();
    w.answer_with(B, &asked, 183, &[WANTS, rseq("1")], Some(&sdp(B)));
    w.asked(B, Method::Prack);
    w.answer(B, &asked, 487, None);
    w.is_clean();
}
