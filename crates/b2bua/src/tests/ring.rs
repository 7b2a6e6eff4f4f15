//! From INVITE to answer.

use super::kit::*;
use crate::leg::LegState;
use crate::{Step, StepError};
use media::command::{MediaCommand, Sound};
use sip::{HeaderName, Method};
use std::time::Duration;
use words::{EndCause, Fact};

#[test]
fn a_call_is_set_up_talked_and_ended() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Bye, None);
    w.got(A, 200);
    w.asked(B, Method::Bye);
    let kinds: Vec<&str> = w
        .facts
        .iter()
        .map(|fact| match fact {
            Fact::CallOpened { .. } => "opened",
            Fact::LegOpened { .. } => "leg",
            Fact::LegRang { .. } => "rang",
            Fact::CallAnswered { .. } => "answered",
            Fact::CallEnded { .. } => "ended",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["opened", "leg", "rang", "answered", "ended"]);
    assert_eq!(w.ends(), [EndCause::Normal]);
    w.is_clean();
}

#[test]
fn the_callee_sees_the_number_we_know_and_nothing_private() {
    let mut w = World::new().rings(&[B]);
    let builder = w
        .invite_builder(A, "1001")
        .header(HeaderName::PAssertedIdentity, "<sip:ceo@office.example>")
        .header(HeaderName::RemotePartyId, "<sip:ceo@office.example>")
        .header(HeaderName::Privacy, "id")
        .header(HeaderName::Diversion, "<sip:x@y>")
        .header(HeaderName::RecordRoute, "<sip:10.9.9.9;lr>")
        .raw("X-Bill-To", "somebody")
        .raw("P-Charging-Vector", "icid-value=1");
    w.request(A, builder, Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    let from = asked.message.from().unwrap();
    assert_eq!((from.display_name().as_ref(), from.uri), ("Anna", "sip:1000@office.example"));
    assert_eq!(asked.message.to().unwrap().uri, "sip:1001@office.example");
    assert_eq!(asked.message.max_forwards(), Ok(Some(69)));
    let text = std::str::from_utf8(asked.message.bytes()).unwrap();
    for private in ["P-", "Remote-Party", "Privacy", "Diversion", "X-", "10.9.9.9", "10.0.1.1", "u0", "call0"] {
        assert!(!text.contains(private), "{private} crossed:\n{text}");
    }
}

#[test]
fn media_goes_through_the_relay() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    assert!(body(&asked.message).contains("c=IN IP4 10.0.0.1") && !body(&asked.message).contains("40000"));
    assert!(w.media.is_empty(), "who may be heard there is not known yet");
    w.answer(B, &asked, 200, Some(&sdp(B)));
    let ok = w.got(A, 200);
    assert!(body(&ok).contains("c=IN IP4 10.0.0.1") && !body(&ok).contains("40001"));
    let opened: Vec<_> = w
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Open { end, ports, terms, .. } => Some((end.n, ports.worker, terms.remote.unwrap().rtp)),
            _ => None,
        })
        .collect();
    assert_eq!(opened.len(), 2);
    assert_eq!(opened[0].1, opened[1].1, "both ends are on one worker");
    assert_eq!((opened[0].0, opened[0].2), (0, "10.0.1.1:40000".parse().unwrap()));
    assert_eq!((opened[1].0, opened[1].2), (1, "10.0.1.2:40001".parse().unwrap()));
    let links: Vec<_> = w
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Link { from, to, .. } => Some((from.n, to.n)),
            _ => None,
        })
        .collect();
    assert_eq!(links, [(0, 1), (1, 0)]);
}

#[test]
fn ringing_is_told_once_and_by_its_leg() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    for phone in [B, C] {
        let asked = w.asked(phone, Method::Invite);
        w.answer(phone, &asked, 180, None);
    }
    assert!(body(&w.got(A, 180)).is_empty());
    assert!(w.try_got(A, 180).is_none());
    let rang: Vec<u16> = w
        .facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::LegRang { leg } => Some(leg.n),
            _ => None,
        })
        .collect();
    assert_eq!(rang, [1, 2]);
}

#[test]
fn a_fork_has_one_winner_and_the_others_know_why() {
    let mut w = World::new().rings(&[B, C, D]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked: Vec<Asked> = [B, C, D].into_iter().map(|phone| w.asked(phone, Method::Invite)).collect();
    for (at, phone) in [B, C, D].into_iter().enumerate() {
        w.answer(phone, &asked[at], 180, None);
    }
    w.answer(C, &asked[1], 200, Some(&sdp(C)));
    w.settle(C, &asked[1]);
    for (at, phone) in [(0, B), (2, D)] {
        let (_, cancel) = w.cancelled(phone).expect("losers are cancelled");
        assert_eq!(cancel.header(HeaderName::Reason), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
        w.answer(phone, &asked[at], 487, None);
    }
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    assert_eq!(w.leg_ends(), [(1, EndCause::AnsweredElsewhere), (3, EndCause::AnsweredElsewhere)]);
    assert!(w.facts.iter().any(|fact| matches!(fact, Fact::CallAnswered { by: Some(leg), .. } if leg.n == 2)));
    w.send(A, &mut caller, Method::Bye, None);
    w.asked(C, Method::Bye);
    w.is_clean();
}

/// What is looked for after each input, when a machine fails that should have seen to it.
#[test]
fn a_second_winner_would_be_noticed() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    let (b, c) = (w.asked(B, Method::Invite), w.asked(C, Method::Invite));
    w.answer(C, &c, 180, None);
    let wins = |w: &mut World| {
        let call = w.calls.slots.get_mut(0).unwrap();
        let at = call.place(2).unwrap();
        let state = std::mem::replace(&mut call.legs[at].state, LegState::Confirmed);
        let broken = w.calls.check().unwrap_err();
        w.calls.slots.get_mut(0).unwrap().legs[at].state = state;
        broken
    };
    assert!(wins(&mut w).ends_with("has two who answered, or one whom nobody waits for"));
    w.answer(B, &b, 200, Some(&sdp(B)));
    assert!(wins(&mut w).ends_with("has two winners"));
    let caller = w.caller(A);
    w.ack(A, &caller, None);
    assert!(wins(&mut w).ends_with("has two winners"));
}

#[test]
fn a_late_200_from_a_loser_is_acknowledged_and_ended() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    let (b, c) = (w.asked(B, Method::Invite), w.asked(C, Method::Invite));
    // Both lift at the same moment: the CANCEL to C waits for a provisional answer that never comes.
    w.answer(B, &b, 200, Some(&sdp(B)));
    w.answer(C, &c, 200, Some(&sdp(C)));
    w.acked(C);
    w.settle(C, &c);
    w.asked(C, Method::Bye);
    assert!(w.try_asked(B, Method::Bye).is_none());
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    w.send(A, &mut caller, Method::Bye, None);
    w.settle(B, &b);
    w.asked(B, Method::Bye);
    w.is_clean();
}

#[test]
fn the_offer_of_a_late_200_is_declined_before_its_dialog_ends() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "600", None);
    let (late, winner) = (w.asked(B, Method::Invite), w.asked(C, Method::Invite));
    w.answer(B, &late, 180, None);
    w.answer(C, &winner, 200, Some(&sdp(C)));
    w.cancelled(B).expect("it stops ringing");
    w.answer(B, &late, 200, Some(&sdp(B)));
    assert!(body(&w.acked(B)).contains("m=audio 0 "));
    w.asked(B, Method::Bye);
}

#[test]
fn a_decline_ends_its_leg_and_not_the_ring_list() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    let (b, c) = (w.asked(B, Method::Invite), w.asked(C, Method::Invite));
    w.answer(C, &c, 180, None);
    w.answer(B, &b, 603, None);
    assert_eq!(w.leg_ends(), [(1, EndCause::Declined)]);
    assert!(w.cancelled(C).is_none());
    w.answer(C, &c, 200, Some(&sdp(C)));
    w.got(A, 200);
}

#[test]
fn when_all_refuse_the_most_telling_answer_is_told() {
    for (statuses, told, cause) in [
        ([486, 480], 486, EndCause::Busy),
        ([480, 603], 603, EndCause::Declined),
        ([404, 503], 404, EndCause::NotFound),
        ([408, 500], 480, EndCause::Unavailable),
    ] {
        let mut w = World::new().rings(&[B, C]);
        w.invite(A, "1001", Some(&sdp(A)));
        for (phone, status) in [B, C].into_iter().zip(statuses) {
            let asked = w.asked(phone, Method::Invite);
            w.answer(phone, &asked, status, None);
        }
        w.got(A, told);
        assert_eq!(w.ends(), [cause]);
        w.is_clean();
    }
}

#[test]
fn the_next_in_order_ring_when_the_first_are_done() {
    let mut w = World::new();
    let targets = vec![target(B, 0), target(C, 1), target(D, 2)];
    w.plan = vec![Step::Dial { targets, ring_for: Duration::from_secs(10) }];
    w.invite(A, "1001", Some(&sdp(A)));
    let b = w.asked(B, Method::Invite);
    assert!(w.try_asked(C, Method::Invite).is_none());
    w.answer(B, &b, 486, None);
    let c = w.asked(C, Method::Invite);
    w.answer(C, &c, 180, None);
    w.pass(Duration::from_secs(10));
    let (txn, _) = w.cancelled(C).expect("nobody answers there");
    assert_eq!(txn, c.txn);
    w.answer(C, &c, 487, None);
    let d = w.asked(D, Method::Invite);
    w.answer(D, &d, 200, Some(&sdp(D)));
    w.got(A, 200);
    assert_eq!(w.leg_ends(), [(1, EndCause::Busy), (2, EndCause::NoAnswer)]);
}

#[test]
fn nobody_answers_in_time() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    w.pass(Duration::from_secs(20));
    let told = w.got(A, 480);
    assert_eq!(told.header(HeaderName::Reason), Some("Q.850;cause=19;text=\"No answer\""));
    w.cancelled(B).expect("it stops ringing");
    w.answer(B, &asked, 487, None);
    assert_eq!((w.ends(), w.leg_ends()), (vec![EndCause::NoAnswer], vec![(1, EndCause::NoAnswer)]));
    w.is_clean();
}

#[test]
fn a_phone_that_is_gone_is_temporarily_unavailable() {
    let mut w = World::new().rings(&[B]);
    w.plan = vec![Step::Dial { targets: vec![target(B, 0)], ring_for: Duration::from_mins(2) }];
    w.phone(B).dead = true;
    w.invite(A, "1001", Some(&sdp(A)));
    w.pass(Duration::from_secs(33));
    let told = w.got(A, 480);
    assert_eq!(told.header(HeaderName::Reason), Some("SIP;cause=408;text=\"Request Timeout\""));
    assert_eq!(w.ends(), [EndCause::Unavailable]);
    w.is_clean();
}

#[test]
fn the_caller_gives_up() {
    let mut w = World::new().rings(&[B, C]);
    let invite = w.invite(A, "1001", Some(&sdp(A)));
    let (b, c) = (w.asked(B, Method::Invite), w.asked(C, Method::Invite));
    w.answer(B, &b, 180, None);
    w.cancel(A, invite);
    w.got(A, 487);
    w.cancelled(B).expect("it stops ringing");
    w.answer(B, &b, 487, None);
    // The other one had said nothing: its CANCEL goes once it does.
    assert!(w.cancelled(C).is_none());
    w.answer(C, &c, 180, None);
    w.cancelled(C).expect("it stops ringing");
    w.answer(C, &c, 487, None);
    assert_eq!(w.ends(), [EndCause::Cancelled]);
    w.is_clean();
}

#[test]
fn a_cancel_that_crosses_the_200_ends_the_callee() {
    let mut w = World::new().rings(&[B]);
    let invite = w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.cancel(A, invite);
    // 100 came from nobody here, so the phone's CANCEL waits: let the exchange's own 100 go out.
    w.pass(Duration::from_millis(300));
    w.got(A, 487);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    w.settle(B, &asked);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::Cancelled]);
    w.is_clean();
}

#[test]
fn a_cancel_after_our_200_comes_too_late() {
    let mut w = World::new().rings(&[B]);
    let invite = w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    w.cancel(A, invite);
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    assert_eq!(w.calls.len(), 1);
    w.send(A, &mut caller, Method::Bye, None);
    w.asked(B, Method::Bye);
    assert_eq!(w.ends(), [EndCause::Normal]);
    w.is_clean();
}

#[test]
fn a_bye_before_the_answer_is_a_cancel() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    let ringing = w.got(A, 180);
    let mut early =
        sip::Dialog::uac(ringing.header(HeaderName::From).unwrap(), ringing.call_id().unwrap(), 1, &ringing).unwrap();
    w.send(A, &mut early, Method::Bye, None);
    w.got(A, 200);
    w.got(A, 487);
    w.cancelled(B).expect("it stops ringing");
    w.answer(B, &asked, 487, None);
    assert_eq!(w.ends(), [EndCause::Cancelled]);
    w.is_clean();
}

#[test]
fn early_media_of_the_first_leg_is_heard_until_one_answers() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    let (b, c) = (w.asked(B, Method::Invite), w.asked(C, Method::Invite));
    w.answer(B, &b, 183, Some(&sdp(B)));
    assert!(body(&w.got(A, 183)).contains("m=audio"));
    w.answer(C, &c, 183, Some(&sdp(C)));
    w.answer(C, &c, 180, None);
    assert!(w.try_got(A, 183).is_none() && w.try_got(A, 180).is_none());
    let heard = |w: &World| {
        w.media.iter().rev().find_map(|command| match command {
            MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. } if end.n == 1 => {
                Some((terms.remote.unwrap().rtp.port(), terms.silence.counts()))
            }
            _ => None,
        })
    };
    assert_eq!(heard(&w), Some((40_001, false)));
    w.silence = None;
    w.answer(C, &c, 200, Some(&sdp(C)));
    w.got(A, 200);
    assert_eq!(heard(&w), Some((40_002, false)));
}

#[test]
fn a_200_that_repeats_its_183_is_told_in_the_same_words() {
    let mut w = World::new().rings(&[B]);
    w.silence = Some(Duration::from_secs(30));
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 183, Some(&sdp(B)));
    let early = w.got(A, 183);
    let commands = w.media.len();
    w.answer(B, &asked, 200, Some(&sdp(B)));
    let ok = w.got(A, 200);
    assert_eq!((body(&ok), ok.to_tag()), (body(&early), early.to_tag()));
    let latched = w.media[commands..]
        .iter()
        .filter(|command| matches!(command, MediaCommand::Latch { terms, .. } if terms.silence.counts()))
        .count();
    assert_eq!(latched, 2, "silence counts from the answer");
}

/// A gateway that announced from one address and talks from another says so in its 200 alone; what was said reliably is
/// said (RFC 3262 §5).
#[test]
fn a_200_that_says_something_else_than_its_183_counts() {
    let reliably = [(HeaderName::Require, "100rel"), (HeaderName::RSeq, "1")];
    for (lines, port) in [(&[][..], 40_002), (&reliably[..], 40_001)] {
        let mut w = World::new().rings(&[B]);
        w.invite(A, "1001", Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        w.answer_with(B, &asked, 183, lines, Some(&sdp(B)));
        if let Some(prack) = w.try_asked(B, Method::Prack) {
            w.answer(B, &prack, 200, None);
        }
        w.got(A, 183);
        w.answer(B, &asked, 200, Some(&sdp(C)));
        w.got(A, 200);
        let heard = w.media.iter().rev().find_map(|command| match command {
            MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. } if end.n == 1 => {
                terms.remote
            }
            _ => None,
        });
        assert_eq!(heard.map(|remote| remote.rtp.port()), Some(port), "{lines:?}");
    }
}

#[test]
fn a_callee_may_leave_its_description_out_of_the_200() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 183, Some(&sdp(B)));
    let early = w.got(A, 183);
    w.answer(B, &asked, 200, None);
    assert_eq!(body(&w.got(A, 200)), body(&early));
}

#[test]
fn a_200_without_any_description_loses_the_leg() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, None);
    w.acked(B);
    w.settle(B, &asked);
    w.asked(B, Method::Bye);
    w.got(A, 488);
    assert_eq!(w.ends(), [EndCause::MediaMismatch]);
    w.is_clean();
}

#[test]
fn ringing_is_repeated_each_minute() {
    let mut w = World::new();
    w.plan = vec![Step::Dial { targets: vec![target(B, 0)], ring_for: Duration::from_mins(3) }];
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 100, None);
    assert!(w.try_got(A, 100).is_none(), "that is for its own hop");
    w.answer(B, &asked, 180, None);
    w.pass(Duration::from_secs(130));
    w.answer(B, &asked, 183, Some(&sdp(B)));
    let said = [180, 180, 180, 183].map(|status| w.got(A, status).to_tag().unwrap().to_owned());
    assert!(said.iter().all(|tag| *tag == said[0]), "one dialog");
    assert!(w.try_got(A, 180).is_none());
}

#[test]
fn a_proxy_that_forks_behind_the_callee_gets_its_second_200_ended() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    w.settle(B, &asked);
    let second = sip::MessageBuilder::response(&asked.message, 200, "", Some("another"))
        .header(HeaderName::Contact, "<sip:other@10.0.1.2>");
    w.answer_raw(B, second);
    let bye = w.asked(B, Method::Bye);
    assert_eq!(bye.message.to_tag(), Some("another"));
    assert_eq!(w.calls.len(), 1);
}

/// Who starts the core waits for that: whoever called before would get 503.
#[test]
fn there_are_ports_once_the_relay_has_brought_them() {
    let config = crate::Config::default();
    let calls = crate::Calls::new(config, words::Chance::new(words::Seed([1; 32])), words::Time::ZERO);
    assert!(!calls.has_ports());
    assert!(World::new().calls.has_ports());
}

#[test]
fn no_port_is_503() {
    let mut config = crate::Config::default();
    config.ports.pairs_max = 1;
    let mut w = World::with(config, 1).rings(&[B]);
    assert!(!w.calls.has_ports());
    w.invite(A, "1001", Some(&sdp(A)));
    let told = w.got(A, 503);
    assert_eq!(told.header(HeaderName::RetryAfter), Some("5"));
    assert_eq!(told.reason(), "Service Unavailable: no media port is free");
    assert_eq!(w.calls.ports_refused(), 1);
    assert!(w.try_asked(B, Method::Invite).is_none());
    assert_eq!(w.ends(), [EndCause::Overload]);
    w.is_clean();
}

#[test]
fn a_full_house_is_503() {
    let config = crate::Config { calls: 1, ..crate::Config::default() };
    let mut w = World::with(config, 1).rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    w.invite(C, "1001", Some(&sdp(C)));
    w.got(C, 503);
    assert_eq!((w.calls.len(), w.asked.len()), (1, 1));
}

#[test]
fn what_we_cannot_carry_is_refused_at_once() {
    let mut w = World::new().rings(&[B]);
    let srtp = sdp(A).replace("RTP/AVP", "RTP/SAVP");
    for (body, status) in [(srtp.as_str(), 488), ("v=0\r\nnonsense", 400)] {
        w.invite(A, "1001", Some(body));
        w.got(A, status);
    }
    let builder = w.invite_builder(A, "1001");
    w.request_with(A, builder, Some(("text/plain", "hello")));
    w.got(A, 415);
    assert!(w.facts.is_empty() && w.calls.is_empty());
}

#[test]
fn a_call_that_nobody_plans_ends() {
    let mut w = World::new().does(Vec::new());
    w.invite(A, "1001", Some(&sdp(A)));
    w.pass(Duration::from_secs(6));
    w.got(A, 503);
    w.is_clean();
}

#[test]
fn steps_that_do_not_fit_change_nothing() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    let call = w.asked[0];
    for step in [
        Step::Ring,
        Step::Progress { sound: None },
        Step::Echo,
        Step::Play { sound: Sound::Ringback },
        Step::AnswerAfter { delay: Duration::ZERO },
        Step::Reject { status: 486, reason: String::new(), cause: EndCause::Busy },
        Step::Dial { targets: vec![target(C, 0)], ring_for: Duration::from_secs(1) },
    ] {
        assert_eq!(w.calls.apply(call, step, w.now), Err(StepError::Answered));
    }
    w.send(A, &mut caller, Method::Bye, None);
    assert_eq!(w.calls.apply(call, Step::Ring, w.now), Err(StepError::NoCall));
}

#[test]
fn busy_and_other_refusals_carry_their_reason() {
    let mut w = World::new().does(vec![Step::Reject {
        status: 404,
        reason: "Not Found: no extension has this number".to_owned(),
        cause: EndCause::NotFound,
    }]);
    w.invite(A, "7777", Some(&sdp(A)));
    assert_eq!(w.got(A, 404).reason(), "Not Found: no extension has this number");
    assert_eq!(w.ends(), [EndCause::NotFound]);
    w.is_clean();
}
