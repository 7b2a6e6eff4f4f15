//! Requests in the dialogs of an answered call, and its ends.

use super::kit::*;
use crate::{CallState, Step};
use media::command::{MediaCommand, Sound};
use sip::{Dialog, HeaderName, Method};
use std::time::Duration;
use words::{EndCause, Fact};

#[test]
fn either_side_hangs_up() {
    for (by, other) in [(A, B), (B, A)] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, mut callee) = w.talk();
        if by == A {
            w.send(A, &mut caller, Method::Bye, None)
        } else {
            w.send(B, &mut callee, Method::Bye, None)
        };
        w.got(by, 200);
        w.asked(other, Method::Bye);
        let ended = w.facts.iter().find_map(|fact| match fact {
            Fact::CallEnded { by, .. } => *by,
            _ => None,
        });
        assert_eq!(ended.map(|leg| usize::from(leg.n)), Some(by));
        w.is_clean();
    }
}

#[test]
fn both_hang_up_at_once() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    w.send(A, &mut caller, Method::Bye, None);
    w.send(B, &mut callee, Method::Bye, None);
    w.got(A, 200);
    w.got(B, 200);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::Normal]);
    w.is_clean();
}

#[test]
fn no_bye_goes_to_a_caller_that_has_not_acknowledged_yet() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    let mut callee = sip::Dialog::uas(&asked.message, "phone1").unwrap();
    w.send(B, &mut callee, Method::Bye, None);
    w.got(B, 200);
    assert!(w.try_asked(A, Method::Bye).is_none());
    let caller = w.caller(A);
    w.ack(A, &caller, None);
    w.asked(A, Method::Bye);
    w.is_clean();
}

#[test]
fn a_goodbye_that_overtakes_its_ack_ends_the_repetition_of_our_200() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    let mut caller = w.caller(A);
    w.send(A, &mut caller, Method::Bye, None);
    w.got(A, 200);
    let bye = w.asked(B, Method::Bye);
    w.answer(B, &bye, 200, None);
    let carried = w.carried;
    w.pass(Duration::from_secs(10));
    assert_eq!(w.carried, carried);
    w.is_clean();
}

#[test]
fn a_missing_ack_ends_both() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    w.pass(Duration::from_secs(33));
    w.asked(A, Method::Bye);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.is_clean();
}

#[test]
fn a_lost_ack_of_ours_is_sent_again() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    w.pass(Duration::from_millis(600));
    w.acked(B);
    w.settle(B, &asked);
}

#[test]
fn a_lost_ack_is_sent_again_also_after_a_later_change_was_refused() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp(A)));
    let first = w.asked(B, Method::Invite);
    w.answer(B, &first, 200, Some(&sdp(B)));
    let ack = w.acked(B);
    w.got(A, 200);
    w.ack(A, &caller, None);
    // Its ACK was lost, so it takes no other change.
    w.send(A, &mut caller, Method::Invite, Some(&sdp(A)));
    let second = w.asked(B, Method::Invite);
    w.answer(B, &second, 491, None);
    w.got(A, 491);
    w.pass(Duration::from_millis(600));
    let again = w.acked(B);
    assert_eq!(again.header(HeaderName::CSeq), ack.header(HeaderName::CSeq));
    w.settle(B, &first);
}

#[test]
fn in_dialog_requests_get_their_proper_answers() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    w.send(A, &mut caller, Method::Options, None);
    let ok = w.got(A, 200);
    assert_eq!(ok.header(HeaderName::Accept), Some("application/sdp, multipart/mixed"));
    assert!(ok.header(HeaderName::Allow).is_some());
    w.send(B, &mut callee, Method::Publish, None);
    assert!(w.got(B, 405).header(HeaderName::Allow).is_some());
    for (requires, status) in [("100rel, timer", 200), ("timer, dance", 420)] {
        let builder = callee.request(Method::Update).header(HeaderName::Require, requires);
        w.request(B, builder, None);
        let answer = w.got(B, status);
        assert_eq!(answer.header(HeaderName::Unsupported), (status == 420).then_some("dance"));
    }
    for method in [Method::Notify, Method::Prack] {
        w.send(B, &mut callee, method, None);
        w.got(B, 481);
    }
    w.send(B, &mut callee, Method::Subscribe, None);
    assert_eq!(w.got(B, 489).header(HeaderName::AllowEvents), Some("refer"));
    w.send(B, &mut callee, Method::Refer, None);
    assert_eq!(w.got(B, 400).reason(), "Missing Refer-To");
    let two = callee.request(Method::Refer).header(HeaderName::ReferTo, "<sip:7@10.0.0.1>");
    w.request(B, two.header(HeaderName::ReferTo, "<sip:8@10.0.0.1>"), None);
    w.got(B, 400);
    callee.local_cseq += 1;
    let builder = sip::MessageBuilder::request("DANCE", &callee.remote_target)
        .header(HeaderName::MaxForwards, "70")
        .header(HeaderName::From, &callee.local)
        .header(HeaderName::To, &callee.remote)
        .header(HeaderName::CallId, &callee.call_id)
        .header(HeaderName::CSeq, &format!("{} DANCE", callee.local_cseq));
    w.request(B, builder, None);
    w.got(B, 501);
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn digits_in_info_go_to_the_other_side() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    let builder = caller.request(Method::Info);
    w.request_with(A, builder, Some(("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n")));
    let asked = w.asked(B, Method::Info);
    assert_eq!(body(&asked.message), "Signal=5\r\nDuration=160\r\n");
    assert!(w.try_got(A, 200).is_none(), "the other side's answer is awaited");
    w.answer(B, &asked, 200, None);
    w.got(A, 200);

    let builder = caller.request(Method::Info);
    w.request_with(A, builder, Some(("application/x-secret", "?")));
    assert!(w.got(A, 415).header(HeaderName::Accept).is_some());
    w.send(A, &mut caller, Method::Info, None);
    w.got(A, 200);
    let builder = caller.request(Method::Info).raw("Info-Package", "foo");
    w.request(A, builder, None);
    w.got(A, 469);
    assert!(w.try_asked(B, Method::Info).is_none());
}

#[test]
fn what_belongs_to_no_dialog_is_given_back() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    // The right tags, but another Call-ID; then a tag that is not ours.
    let mut foreign = caller.clone();
    foreign.call_id = "another".to_owned();
    w.send(A, &mut foreign, Method::Bye, None);
    w.got(A, 481);
    let mut foreign = caller.clone();
    foreign.remote = "<sip:1001@10.0.0.1>;tag=00000000000000000000000000000000".to_owned();
    w.send(A, &mut foreign, Method::Bye, None);
    w.got(A, 481);
    let mut foreign = caller.clone();
    foreign.local = "<sip:u0@10.0.0.1>;tag=another".to_owned();
    w.send(A, &mut foreign, Method::Bye, None);
    w.got(A, 481);
    assert_eq!((w.calls.len(), w.strays.len()), (1, 3));
    w.send(A, &mut caller, Method::Bye, None);
    w.got(A, 200);
}

#[test]
fn requests_out_of_order_are_refused() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Options, None);
    w.got(A, 200);
    caller.local_cseq = 0;
    w.send(A, &mut caller, Method::Options, None);
    w.got(A, 500);
}

#[test]
fn the_leg_of_a_message_tells_from_where_it_may_come() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    for (dialog, phone) in [(&mut caller, A), (&mut callee, B)] {
        let bytes = dialog.request(Method::Options).header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bKx").finish();
        let leg = w.calls.leg_of(&sip::Message::parse(bytes).unwrap()).unwrap();
        assert_eq!((usize::from(leg.leg.n), leg.flow), (phone, flow(phone)));
        assert!(leg.user.is_some());
    }
}

#[test]
fn a_phone_that_moved_is_followed() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    // The switch lets a request through that proves its user from a new address.
    let moved = words::Flow { remote: phone_address(C), ..flow(A) };
    let bytes = caller
        .request(Method::Options)
        .header(HeaderName::Via, "SIP/2.0/UDP 10.0.1.3:5060;branch=z9hG4bKmoved")
        .finish();
    w.receive(moved, bytes);
    w.send(B, &mut callee, Method::Bye, None);
    w.asked(C, Method::Bye);
    assert!(w.try_asked(A, Method::Bye).is_none());
}

#[test]
fn a_call_does_not_last_for_ever() {
    let mut w = World::new().rings(&[B]);
    w.talk();
    w.pass(Duration::from_hours(12));
    w.asked(A, Method::Bye);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::TooLong]);
    w.is_clean();
}

#[test]
fn the_exchange_hangs_up() {
    let mut w = World::new().rings(&[B]);
    w.talk();
    let call = w.asked[0];
    assert!(w.calls.hang_up(call, EndCause::Administrative, w.now));
    assert!(!w.calls.hang_up(call, EndCause::Administrative, w.now));
    w.run();
    w.asked(A, Method::Bye);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::Administrative]);
    w.is_clean();
}

#[test]
fn the_exchange_ends_a_call_that_rings() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    assert!(w.calls.hang_up(w.asked[0], EndCause::Administrative, w.now));
    w.run();
    w.got(A, 480);
    w.cancelled(B).expect("it stops ringing");
    w.answer(B, &asked, 487, None);
    assert!([A, B].iter().all(|&phone| w.try_asked(phone, Method::Bye).is_none()), "neither has a dialog to end");
    w.is_clean();
}

#[test]
fn a_callee_that_died_does_not_keep_the_caller() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.phone(B).dead = true;
    w.send(A, &mut caller, Method::Invite, Some(&sdp(A)));
    w.pass(Duration::from_secs(33));
    w.got(A, 481);
    w.asked(A, Method::Bye);
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.is_clean();
}

#[test]
fn views_show_who_talks() {
    let mut w = World::new().rings(&[B]);
    w.talk();
    let view = w.calls.view(w.asked[0]).unwrap();
    assert_eq!((view.from.number.as_str(), view.to.number.as_str()), ("1000", "1001"));
    assert_eq!((view.state, view.legs.len()), (CallState::Answered, 2));
    assert_eq!(w.calls.views().count(), 1);
}

#[test]
fn echo_answers_and_sends_the_caller_its_own_media() {
    let mut w = World::new().does(vec![Step::Answer, Step::Echo]);
    w.invite(A, "*43", Some(&sdp(A)));
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    let echoes = w.media.iter().any(|command| matches!(command, MediaCommand::Link { from, to, .. } if from == to));
    assert!(echoes);
    let by_nobody = w.facts.iter().any(|fact| matches!(fact, Fact::CallAnswered { by: None, .. }));
    assert!(by_nobody);

    // Hold and resume towards the exchange itself.
    for (direction, answer) in [("sendonly", "a=recvonly"), ("sendrecv", "a=sendrecv")] {
        w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, direction)));
        assert!(body(&w.got(A, 200)).contains(answer));
        w.ack(A, &caller, None);
    }
    w.send(A, &mut caller, Method::Invite, None);
    assert!(body(&w.got(A, 200)).contains("m=audio"));
    w.ack(A, &caller, Some(&sdp(A)));
    w.send(A, &mut caller, Method::Bye, None);
    w.got(A, 200);
    w.is_clean();
}

#[test]
fn echo_without_an_offer_makes_one() {
    let mut w = World::new().does(vec![Step::Echo]);
    w.invite(A, "*43", None);
    let ok = w.got(A, 200);
    assert!(body(&ok).contains("m=audio "));
    let caller = Dialog::uac(ok.header(HeaderName::From).unwrap(), ok.call_id().unwrap(), 1, &ok).unwrap();
    assert!(w.media.is_empty());
    w.ack(A, &caller, Some(&sdp(A)));
    assert!(matches!(w.media[..], [MediaCommand::Open { .. }, MediaCommand::Link { .. }]));
}

#[test]
fn a_tone_is_played_in_the_codec_that_was_agreed() {
    let sound = Sound::Tone { hz: 440, level_dbm0: -10 };
    for (codecs, payload_type) in [("0 8 101", 0), ("8 101", 8)] {
        let mut w = World::new().does(vec![Step::Answer, Step::Play { sound }]);
        w.invite(A, "tone440", Some(&sdp(A).replace("AVP 0 8 101", &format!("AVP {codecs}"))));
        w.got(A, 200);
        let played = w.media.iter().find_map(|command| match command {
            MediaCommand::Play { payload_type, .. } => Some(*payload_type),
            _ => None,
        });
        assert_eq!(played, Some(payload_type));
    }
}

#[test]
fn a_caller_without_a_codec_in_common_is_told_so() {
    let mut w = World::new().does(vec![Step::Echo]);
    w.invite(A, "*43", Some(&sdp(A).replace("AVP 0 8 101", "AVP 18")));
    w.got(A, 488);
    assert_eq!(w.ends(), [EndCause::MediaMismatch]);
    w.is_clean();
}

#[test]
fn early_media_of_the_exchange_gives_way_to_the_callee() {
    let mut w = World::new();
    let targets = vec![target(B, 0)];
    w.plan = vec![
        Step::Progress { sound: Some(Sound::Ringback) },
        Step::Dial { targets, ring_for: Duration::from_secs(20) },
    ];
    w.invite(A, "1001", Some(&sdp(A)));
    assert!(body(&w.got(A, 183)).contains("m=audio"));
    assert!(matches!(w.media[..], [MediaCommand::Open { .. }, MediaCommand::Play { .. }]));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.got(A, 200);
    assert!(w.media.iter().any(|command| matches!(command, MediaCommand::Stop { .. })));
}

#[test]
fn early_media_alone_ends_when_it_rang_long_enough() {
    let mut w = World::new().does(vec![Step::Progress { sound: Some(Sound::Ringback) }]);
    w.invite(A, "early183", Some(&sdp(A)));
    w.got(A, 183);
    w.pass(Duration::from_mins(3));
    w.got(A, 480);
    w.is_clean();
}

#[test]
fn ringing_for_nobody_ends_in_no_answer() {
    let mut w = World::new().does(vec![Step::Ring]);
    w.invite(A, "noanswer", Some(&sdp(A)));
    w.got(A, 180);
    w.pass(Duration::from_mins(3));
    w.got(A, 480);
    assert_eq!(w.ends(), [EndCause::NoAnswer]);
    w.is_clean();
}

#[test]
fn a_late_answer_takes_the_steps_that_waited() {
    let mut w = World::new().does(vec![Step::Ring, Step::AnswerAfter { delay: Duration::from_secs(2) }, Step::Echo]);
    w.invite(A, "answer-2", Some(&sdp(A)));
    w.got(A, 180);
    w.pass(Duration::from_millis(1_900));
    assert!(w.try_got(A, 200).is_none());
    w.pass(Duration::from_millis(200));
    let caller = w.caller(A);
    w.ack(A, &caller, None);
    assert!(w.media.iter().any(|command| matches!(command, MediaCommand::Link { from, to, .. } if from == to)));
}

#[test]
fn a_caller_may_give_up_while_the_exchange_waits() {
    let mut w = World::new().does(vec![Step::Ring, Step::AnswerAfter { delay: Duration::from_secs(9) }]);
    let invite = w.invite(A, "answer-9", Some(&sdp(A)));
    w.cancel(A, invite);
    w.got(A, 487);
    w.is_clean();
}

#[test]
fn a_call_that_cannot_be_hung_up_is_dropped_whole() {
    for answered in [false, true] {
        let mut w = World::new().rings(&[B]);
        if answered {
            w.talk();
        } else {
            w.invite(A, "1001", Some(&sdp(A)));
        }
        assert_eq!(w.calls.touched(), Some(w.asked[0]));
        w.calls.discard(w.asked[0], w.now);
        w.run();
        assert!(w.try_asked(B, Method::Bye).is_none());
        assert_eq!(w.ends(), [EndCause::Internal]);
        w.is_clean();
    }
}

#[test]
fn a_held_call_is_small() {
    use crate::{call::Call, end::End, leg::Leg};
    let fixed = size_of::<Call>() + 2 * (size_of::<Leg>() + size_of::<End>() + size_of::<sip::Dialog>());
    assert!(fixed <= 2_368, "{fixed} bytes");
    let mut w = World::new().rings(&[B]);
    w.talk();
    // Measured by a counting allocator, the strings and lists of a call like this add less than 1.2 KB.
    assert!(w.calls.text_bytes() < 1_200, "{} bytes", w.calls.text_bytes());
}
