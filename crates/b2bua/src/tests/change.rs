//! Offers and answers in the middle of a call, and those that come late.

use super::kit::*;
use media::command::{MediaCommand, MediaReport};
use media::sdp::Direction;
use sip::{HeaderName, Method};
use std::time::Duration;
use words::{EndCause, LegId};

/// What the relay was told last about an end: direction, whether silence counts, where packets go.
fn end(w: &World, n: u16) -> (Direction, bool, Option<u16>) {
    w.media
        .iter()
        .rev()
        .find_map(|command| match command {
            MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. } if end.n == n => {
                Some((terms.direction, terms.silence.counts(), terms.remote.map(|remote| remote.rtp.port())))
            }
            _ => None,
        })
        .expect("the end was opened")
}

#[test]
fn hold_and_resume_cross_in_both_directions() {
    for (holder, held) in [(A, B), (B, A)] {
        let mut w = World::new().rings(&[B]);
        w.silence = Some(Duration::from_secs(30));
        let (caller, callee) = w.talk();
        let mut dialog = if holder == A { caller } else { callee };
        assert_eq!(end(&w, 0), (Direction::SendRecv, true, Some(40_000)));

        w.send(holder, &mut dialog, Method::Invite, Some(&sdp_with(holder, "sendonly")));
        let asked = w.asked(held, Method::Invite);
        assert!(body(&asked.message).contains("a=sendonly"));
        w.answer(held, &asked, 200, Some(&sdp_with(held, "recvonly")));
        w.acked(held);
        w.settle(held, &asked);
        assert!(body(&w.got(holder, 200)).contains("a=recvonly"));
        w.ack(holder, &dialog, None);
        assert_eq!(end(&w, holder as u16).0, Direction::RecvOnly);
        assert_eq!(end(&w, held as u16).0, Direction::SendOnly);
        assert!(!end(&w, 0).1 && !end(&w, 1).1, "silence does not count on hold");

        w.send(holder, &mut dialog, Method::Invite, Some(&sdp(holder)));
        let asked = w.asked(held, Method::Invite);
        w.answer(held, &asked, 200, Some(&sdp(held)));
        w.settle(held, &asked);
        w.got(holder, 200);
        w.ack(holder, &dialog, None);
        assert_eq!((end(&w, 0).0, end(&w, 1).0, end(&w, 0).1), (Direction::SendRecv, Direction::SendRecv, true));
        assert_eq!(w.calls.len(), 1);
    }
}

#[test]
fn hold_by_an_address_of_nowhere_crosses_as_a_direction() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    let old_hold = sdp(A).replace("c=IN IP4 10.0.1.1", "c=IN IP4 0.0.0.0");
    w.send(A, &mut caller, Method::Invite, Some(&old_hold));
    let asked = w.asked(B, Method::Invite);
    assert!(body(&asked.message).contains("a=sendonly") && !body(&asked.message).contains("0.0.0.0"));
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    assert_eq!(end(&w, 0), (Direction::RecvOnly, false, None));
}

#[test]
fn media_that_moves_is_followed() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk();
    let moved = sdp(B).replace("m=audio 40001", "m=audio 40551");
    w.send(B, &mut callee, Method::Invite, Some(&moved));
    let asked = w.asked(A, Method::Invite);
    w.answer(A, &asked, 200, Some(&sdp(A)));
    assert_eq!(end(&w, 1).2, Some(40_551));
    assert_eq!(end(&w, 0).2, Some(40_000));
}

#[test]
fn our_descriptions_count_their_versions() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    let origin = |message: &sip::Message| {
        let line = body(message).lines().find(|line| line.starts_with("o=")).unwrap().to_owned();
        let mut parts = line.split(' ').skip(1).map(str::to_owned);
        (parts.next().unwrap(), parts.next().unwrap().parse::<u64>().unwrap())
    };
    let mut seen = Vec::new();
    for direction in ["sendonly", "sendonly", "sendrecv"] {
        w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, direction)));
        let asked = w.asked(B, Method::Invite);
        seen.push(origin(&asked.message));
        w.answer(B, &asked, 200, Some(&sdp(B)));
        w.settle(B, &asked);
        w.got(A, 200);
        w.ack(A, &caller, None);
    }
    assert!(seen.iter().all(|(id, _)| *id == seen[0].0));
    let versions: Vec<u64> = seen.iter().map(|(_, version)| *version).collect();
    assert_eq!(versions, [2, 2, 3]);
}

#[test]
fn a_change_that_is_refused_keeps_the_call() {
    for (status, told) in [(488, 488), (415, 488), (500, 500), (603, 603)] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, _) = w.talk();
        let before = w.media.len();
        w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, status, None);
        w.got(A, told);
        assert_eq!((w.calls.len(), w.media.len()), (1, before));
        // And the next one passes.
        w.send(A, &mut caller, Method::Invite, Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, 200, Some(&sdp(B)));
        w.got(A, 200);
    }
}

#[test]
fn a_change_that_we_cannot_carry_is_refused() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    let srtp = sdp(A).replace("RTP/AVP", "RTP/SAVP");
    for (body, status) in [(srtp.as_str(), 488), ("v=0\r\nbroken", 400)] {
        w.send(A, &mut caller, Method::Invite, Some(body));
        w.got(A, status);
    }
    assert!(w.try_asked(B, Method::Invite).is_none());
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn glare_while_a_change_is_pending_is_491() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.send(B, &mut callee, Method::Invite, Some(&sdp_with(B, "sendonly")));
    w.got(B, 491);
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    w.settle(B, &asked);
    w.got(A, 200);
    // The first ACK is still missing: that is a change under way, too.
    w.send(B, &mut callee, Method::Invite, Some(&sdp(B)));
    w.got(B, 491);
    w.ack(A, &caller, None);
    w.send(B, &mut callee, Method::Invite, Some(&sdp(B)));
    w.asked(A, Method::Invite);
}

#[test]
fn glare_of_crossing_changes_is_491_on_both_sides() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.send(B, &mut callee, Method::Invite, Some(&sdp_with(B, "sendonly")));
    w.answer(B, &asked, 491, None);
    w.got(A, 491);
    w.got(B, 491);
    // After its wait (RFC 3261 §14.1) the first to try again gets through.
    w.send(B, &mut callee, Method::Invite, Some(&sdp_with(B, "sendonly")));
    let asked = w.asked(A, Method::Invite);
    w.answer(A, &asked, 200, Some(&sdp_with(A, "recvonly")));
    w.got(B, 200);
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn a_second_change_before_the_first_is_answered_is_told_to_wait() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    w.send(A, &mut caller, Method::Invite, Some(&sdp(A)));
    assert!(w.got(A, 500).header(HeaderName::RetryAfter).is_some());
}

#[test]
fn a_change_without_an_offer_asks_the_other_side_for_one() {
    for (asker, other) in [(A, B), (B, A)] {
        let mut w = World::new().rings(&[B]);
        let (caller, callee) = w.talk();
        let mut dialog = if asker == A { caller } else { callee };
        w.send(asker, &mut dialog, Method::Invite, None);
        let asked = w.asked(other, Method::Invite);
        assert!(asked.message.body().is_empty());
        let moved = sdp(other).replace("m=audio 4000", "m=audio 4100");
        w.answer(other, &asked, 200, Some(&moved));
        let ok = w.got(asker, 200);
        assert!(body(&ok).contains("c=IN IP4 10.0.0.1"));
        assert!(w.try_acked(other).is_none(), "its ACK waits for the answer");
        w.ack(asker, &dialog, Some(&sdp(asker)));
        assert!(body(&w.acked(other)).contains("c=IN IP4 10.0.0.1"));
        w.settle(other, &asked);
        assert_eq!(end(&w, other as u16).2, Some(41_000 + other as u16));
        assert_eq!(w.calls.len(), 1);
    }
}

#[test]
fn an_ack_without_the_answer_it_owes_ends_the_call() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Invite, None);
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.got(A, 200);
    w.ack(A, &caller, None);
    assert!(body(&w.acked(B)).contains("m=audio 0 "), "an offer is declined, not ignored");
    w.settle(B, &asked);
    w.asked(B, Method::Bye);
    w.asked(A, Method::Bye);
    assert_eq!(w.ends(), [EndCause::MediaMismatch]);
    w.is_clean();
}

#[test]
fn a_delayed_offer_is_carried_from_the_callee() {
    let mut w = World::new().rings(&[B]);
    w.silence = Some(Duration::from_secs(30));
    w.invite(A, "1001", None);
    let asked = w.asked(B, Method::Invite);
    assert!(asked.message.body().is_empty());
    w.answer(B, &asked, 183, Some(&sdp(B)));
    assert!(body(&w.got(A, 183)).is_empty(), "an offer in a provisional answer that may be lost is none");
    w.answer(B, &asked, 200, Some(&sdp(B)));
    let caller = w.caller(A);
    assert!(w.try_acked(B).is_none() && w.media.is_empty());
    w.ack(A, &caller, Some(&sdp(A)));
    assert!(body(&w.acked(B)).contains("c=IN IP4 10.0.0.1"));
    assert_eq!(end(&w, 0), (Direction::SendRecv, true, Some(40_000)));
    assert_eq!(end(&w, 1), (Direction::SendRecv, true, Some(40_001)));
    // The callee's 200 comes again: its ACK, and the answer in it, was lost.
    w.pass(Duration::from_millis(600));
    assert!(body(&w.acked(B)).contains("c=IN IP4 10.0.0.1"));
    w.settle(B, &asked);
}

#[test]
fn a_delayed_offer_that_is_never_answered_ends_both() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", None);
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.pass(Duration::from_secs(33));
    assert!(body(&w.acked(B)).contains("m=audio 0 "));
    w.asked(B, Method::Bye);
    w.asked(A, Method::Bye);
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.is_clean();
}

#[test]
fn a_change_can_be_cancelled_and_the_answer_decides() {
    for agrees in [false, true] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, _) = w.talk();
        let txn = w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, 180, None);
        w.pass(Duration::from_millis(300));
        w.cancel(A, txn);
        w.cancelled(B).expect("the CANCEL is carried on");
        if agrees {
            w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
            w.settle(B, &asked);
            w.got(A, 200);
        } else {
            w.answer(B, &asked, 487, None);
            w.got(A, 487);
        }
        assert_eq!(w.calls.len(), 1);
    }
}

#[test]
fn a_change_that_nobody_answers_is_cancelled_after_a_minute() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    w.pass(Duration::from_secs(61));
    w.cancelled(B).expect("we lost patience");
    w.answer(B, &asked, 487, None);
    w.got(A, 487);
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn a_dialog_that_the_other_side_forgot_ends_the_call() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 481, None);
    w.got(A, 491);
    w.pass(Duration::from_millis(3_900));
    assert_eq!(w.calls.len(), 1, "perhaps it said goodbye");
    // Nothing is asked of it meanwhile.
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    w.got(A, 491);
    w.pass(Duration::from_millis(200));
    w.asked(A, Method::Bye);
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.is_clean();
}

#[test]
fn a_goodbye_that_comes_after_the_refusal_of_a_change_says_who_ended_the_call() {
    for method in [Method::Invite, Method::Update] {
        let mut w = World::new().rings(&[B]);
        let allows = (HeaderName::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE");
        let (mut caller, mut callee) = w.talk_with(A, B, &[], &[allows]);
        w.send(A, &mut caller, method, Some(&sdp_with(A, "sendonly")));
        let asked = w.asked(B, method);
        let goodbye = callee.request(Method::Bye);
        w.answer(B, &asked, 481, None);
        w.got(A, 491);
        w.pass(Duration::from_millis(1_500));
        w.request(B, goodbye, None);
        w.got(B, 200);
        w.asked(A, Method::Bye);
        assert_eq!(w.ends(), [EndCause::Normal]);
        w.is_clean();
    }
}

/// What was offered must be answered, though who offered it was replaced before the answer came.
#[test]
fn who_leaves_while_its_offer_is_considered_is_answered() {
    for answers in [true, false] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, mut callee) = w.talk();
        w.send(A, &mut caller, Method::Invite, None);
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, 200, Some(&sdp(B)));
        assert!(body(&w.got(A, 200)).contains("m=audio"));
        w = w.rings(&[C]);
        let refer = callee.request(Method::Refer).header(HeaderName::Contact, &contact(B));
        w.request(B, refer.header(HeaderName::ReferTo, "<sip:1002@10.0.0.1>"), None);
        w.got(B, 202);
        let rung = w.asked(C, Method::Invite);
        w.answer(C, &rung, 200, Some(&sdp(C)));
        w.settle(C, &rung);
        assert!(w.try_acked(B).is_none());
        if answers {
            w.ack(A, &caller, Some(&sdp(A)));
        } else {
            w.send(A, &mut caller, Method::Bye, None);
            w.got(A, 200);
        }
        assert!(body(&w.acked(B)).contains("m=audio 0 "));
    }
}

#[test]
fn a_bye_during_a_change_ends_everything() {
    for by in [A, B] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, mut callee) = w.talk();
        w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
        let asked = w.asked(B, Method::Invite);
        if by == A {
            w.send(A, &mut caller, Method::Bye, None)
        } else {
            w.send(B, &mut callee, Method::Bye, None)
        };
        w.got(by, 200);
        w.got(A, 487);
        w.asked(if by == A { B } else { A }, Method::Bye);
        // The change was on its way to the callee, who answers it in its own time.
        w.answer(B, &asked, 200, Some(&sdp(B)));
        w.settle(B, &asked);
        assert_eq!(w.ends(), [EndCause::Normal]);
        w.is_clean();
    }
}

#[test]
fn a_reinvite_without_an_offer_after_the_bye_finds_nothing() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    w.send(A, &mut caller, Method::Bye, None);
    w.send(B, &mut callee, Method::Invite, None);
    w.got(B, 481);
    w.asked(B, Method::Bye);
    w.is_clean();
}

#[test]
fn a_lost_ack_to_a_change_ends_the_call() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    w.settle(B, &asked);
    w.pass(Duration::from_secs(33));
    w.asked(A, Method::Bye);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.is_clean();
}

#[test]
fn silence_ends_the_call_with_its_cause() {
    let mut w = World::new().rings(&[B]);
    w.silence = Some(Duration::from_secs(30));
    w.talk();
    let end = LegId { call: w.asked[0], n: 1 };
    w.report(MediaReport::Silent { end });
    for phone in [A, B] {
        let bye = w.asked(phone, Method::Bye);
        assert_eq!(bye.message.header(HeaderName::Reason), Some("Q.850;cause=41;text=\"No media\""));
    }
    assert_eq!(w.ends(), [EndCause::MediaLost]);
    w.is_clean();
}

#[test]
fn silence_that_crosses_a_hold_ends_nothing() {
    let mut w = World::new().rings(&[B]);
    w.silence = Some(Duration::from_secs(30));
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "inactive")));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp_with(B, "inactive")));
    for n in [0, 1] {
        let end = LegId { call: w.asked[0], n };
        w.report(MediaReport::Silent { end });
    }
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn a_relay_that_cannot_ends_the_call() {
    let mut w = World::new().rings(&[B]);
    w.talk();
    let end = LegId { call: w.asked[0], n: 1 };
    w.report(MediaReport::Refused { end, why: media::command::Refusal::NoSuchPorts });
    w.asked(A, Method::Bye);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::Internal]);
    w.is_clean();
}

#[test]
fn after_the_goodbye_no_answer_is_said_again() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    w.settle(B, &asked);
    w.got(A, 200);
    // It hangs up before the ACK is there, which then finds nobody.
    w.send(B, &mut callee, Method::Bye, None);
    w.got(B, 200);
    w.asked(A, Method::Bye);
    w.ack(A, &caller, None);
    w.pass(Duration::from_secs(3));
    assert!(w.try_got(A, 200).is_none());
    w.is_clean();
}
