//! What RFC 3261 and RFC 3515 demand of each message, where no flow shows it: see `tests/rfc`.

use super::kit::*;
use crate::Step;
use sip::{Dialog, HeaderName, Message, Method};
use std::time::Duration;
use words::EndCause;

#[test]
fn outside_a_dialog_a_request_of_ours_is_whole() {
    let mut w = World::new().rings(&[B, C]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = [w.asked(B, Method::Invite).message, w.asked(C, Method::Invite).message];
    for (invite, phone) in asked.iter().zip([B, C]) {
        assert_eq!(invite.request_uri(), contact(phone).trim_matches(['<', '>']));
        assert!(invite.to_tag().is_none() && invite.from_tag().is_some());
        assert_eq!(invite.values(HeaderName::Contact).count(), 1);
        assert_eq!(invite.header(HeaderName::CSeq), Some("1 INVITE"));
        assert!(invite.has_token(HeaderName::Supported, "replaces"));
        assert_eq!((invite.max_forwards(), invite.vias().count()), (Ok(Some(69)), 1));
        // Later requests find the leg by it.
        let contact = format!("<sip:{}@10.0.0.1:5060>", invite.from_tag().unwrap());
        assert_eq!(invite.header(HeaderName::Contact), Some(contact.as_str()));
    }
    assert_ne!(asked[0].call_id(), asked[1].call_id());
    assert_ne!(asked[0].from_tag(), asked[1].from_tag());
}

#[test]
fn the_hops_of_a_call_go_down_and_end() {
    for (came, goes) in [("5", Some(4)), ("2", Some(1)), ("0", None)] {
        let mut w = World::new().rings(&[B]);
        let invite = String::from_utf8(w.invite_builder(A, "1001").finish().to_vec()).unwrap();
        let invite = invite.replace("Max-Forwards: 70", &format!("Max-Forwards: {came}"));
        let via = "Via: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bKhops\r\n";
        let line = invite.find("\r\n").unwrap() + 2;
        w.receive(flow(A), format!("{}{via}{}", &invite[..line], &invite[line..]).into());
        let asked = w.try_asked(B, Method::Invite);
        assert_eq!(asked.map(|asked| asked.message.max_forwards().unwrap().unwrap()), goes);
        assert_eq!(w.calls.len(), usize::from(goes.is_some()));
    }
}

#[test]
fn a_target_that_moves_is_followed() {
    let takes = [(HeaderName::Allow, "INVITE, ACK, BYE, UPDATE")];
    for by in [Method::Invite, Method::Update] {
        let mut w = World::new().rings(&[B]);
        let (_, mut callee) = w.talk_with(A, B, &takes, &takes);
        // One moves as it asks for a change, the other as it answers.
        let builder = callee.request(by).header(HeaderName::Contact, "<sip:b-moved@10.0.1.2:5099>");
        w.request(B, builder, Some(&sdp_with(B, "sendonly").replacen(" 1 IN", " 2 IN", 1)));
        let asked = w.asked(A, by);
        let moved = [(HeaderName::Contact, "<sip:a-moved@10.0.1.1:5099>")];
        w.answer_with(A, &asked, 200, &moved, Some(&sdp_with(A, "recvonly").replacen(" 1 IN", " 2 IN", 1)));
        w.got(B, 200);
        if by == Method::Invite {
            w.acked(A);
            w.ack(B, &callee, None);
        }
        assert!(w.calls.hang_up(w.asked[0], EndCause::Administrative, w.now));
        w.run();
        let told = [A, B].map(|phone| w.asked(phone, Method::Bye).message.request_uri().to_owned());
        assert_eq!(told, ["sip:a-moved@10.0.1.1:5099", "sip:b-moved@10.0.1.2:5099"], "{by}");
    }
}

#[test]
fn a_route_that_was_recorded_is_repeated_and_used() {
    let recorded = "<sip:p1.example;lr>, <sip:p2.example;lr>";
    let mut w = World::new().rings(&[B]);
    let builder = w.invite_builder(A, "1001").header(HeaderName::RecordRoute, recorded);
    w.request(A, builder, Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    assert!(asked.message.header(HeaderName::RecordRoute).is_none(), "the legs have nothing to do with each other");
    w.answer(B, &asked, 180, None);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.settle(B, &asked);
    let routes = |message: &Message, name| message.values(name).map(str::to_owned).collect::<Vec<_>>();
    let expected = ["<sip:p1.example;lr>", "<sip:p2.example;lr>"];
    for status in [180, 200] {
        let answer = w.got(A, status);
        assert_eq!(routes(&answer, HeaderName::RecordRoute), expected);
        let contact = format!("<sip:{}@10.0.0.1:5060>", answer.to_tag().unwrap());
        assert_eq!(answer.header(HeaderName::Contact), Some(contact.as_str()));
        if status == 200 {
            let caller =
                Dialog::uac(answer.header(HeaderName::From).unwrap(), answer.call_id().unwrap(), 1, &answer).unwrap();
            w.ack(A, &caller, None);
        }
    }
    assert!(w.calls.hang_up(w.asked[0], EndCause::Administrative, w.now));
    w.run();
    let bye = w.asked(A, Method::Bye).message;
    assert_eq!(
        (routes(&bye, HeaderName::Route), bye.max_forwards()),
        (expected.map(str::to_owned).to_vec(), Ok(Some(70)))
    );
    assert_eq!(bye.request_uri(), contact(A).trim_matches(['<', '>']));
}

#[test]
fn a_status_that_nobody_knows_is_progress() {
    for status in [101, 150, 184, 198] {
        let mut w = World::new().rings(&[B]);
        w.invite(A, "1001", Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, status, Some(&sdp(B)));
        assert!(body(&w.got(A, 183)).contains("m=audio"), "{status}");
        w.answer(B, &asked, 199, None);
        assert!(w.try_got(A, 199).is_none());
        w.answer(B, &asked, 200, Some(&sdp(B)));
        w.got(A, 200);
    }
}

#[test]
fn what_is_not_known_counts_as_its_class() {
    for (status, cause) in [
        (399, None),
        (499, Some(EndCause::Failed(499))),
        (599, Some(EndCause::Failed(599))),
        (699, Some(EndCause::Failed(699))),
    ] {
        let mut w = World::new().rings(&[B]);
        w.invite(A, "1001", Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, status, None);
        let ends = w.ends();
        assert!(ends.len() == 1 && cause.is_none_or(|cause| ends[0] == cause), "{status}: {ends:?}");
        w.is_clean();
    }
    // A 2xx that nobody knows is an answer.
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 299, Some(&sdp(B)));
    w.acked(B);
    w.got(A, 200);
}

/// B sends A to another number.
fn refers_unheard(w: &mut World, callee: &mut Dialog) {
    let builder = callee.request(Method::Refer).header(HeaderName::Contact, &contact(B));
    w.request(B, builder.header(HeaderName::ReferTo, "<sip:7777@10.0.0.1>"), None);
    w.got(B, 202);
}

/// The same; what is told at first, which is taken.
fn refers(w: &mut World, callee: &mut Dialog) -> Message {
    refers_unheard(w, callee);
    let notify = w.asked(B, Method::Notify);
    w.answer(B, &notify, 200, None);
    notify.message
}

/// What is told until a transfer failed, each NOTIFY answered.
fn hears_all(w: &mut World) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for _ in 0..10 {
        w.pass(Duration::from_secs(1));
        if let Some(notify) = w.try_asked(B, Method::Notify) {
            w.answer(B, &notify, 200, None);
            let header = |name| notify.message.header(name).unwrap_or_default().to_owned();
            told.push((header(HeaderName::Event), header(HeaderName::SubscriptionState)));
        }
    }
    told
}

#[test]
fn a_second_transfer_in_a_dialog_has_its_own_name() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk();
    w.plan = vec![Step::Reject { status: 404, reason: String::new(), cause: EndCause::NotFound }];
    for first in [true, false] {
        let builder = callee.request(Method::Refer).header(HeaderName::Contact, &contact(B));
        w.request(B, builder.header(HeaderName::ReferTo, "<sip:7777@10.0.0.1>"), None);
        w.got(B, 202);
        let event = if first { "refer".to_owned() } else { format!("refer;id={}", callee.local_cseq) };
        let told = hears_all(&mut w);
        assert!(told.len() >= 2 && told.iter().all(|(name, _)| *name == event), "{told:?}");
        assert_eq!(told.last().map(|(_, state)| state.as_str()), Some("terminated;reason=noresource"));
    }
    assert_eq!(w.calls.len(), 1);
}

/// Event, Subscription-State and body of a NOTIFY.
fn told(notify: &Message) -> (String, String, String) {
    let header = |name| notify.header(name).unwrap_or_default().to_owned();
    (header(HeaderName::Event), header(HeaderName::SubscriptionState), body(notify).trim_end().to_owned())
}

/// B sends A to C, who rings for two minutes.
fn refers_long(w: &mut World) -> (Dialog, Dialog) {
    let dialogs = w.talk();
    w.plan = vec![Step::Dial { targets: vec![target(C, 0)], ring_for: Duration::from_mins(2) }];
    dialogs
}

fn subscribe(w: &mut World, callee: &mut Dialog, event: &str, expires: Option<&str>) {
    let mut builder = callee.request(Method::Subscribe).header(HeaderName::Contact, &contact(B));
    builder.push_header(HeaderName::Event, event);
    if let Some(expires) = expires {
        builder.push_header(HeaderName::Expires, expires);
    }
    w.request(B, builder, None);
}

#[test]
fn a_transfer_is_watched_as_long_as_was_asked() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = refers_long(&mut w);
    let first = told(&refers(&mut w, &mut callee));
    assert_eq!(first, ("refer".into(), "active;expires=3600".into(), "SIP/2.0 100 Trying".into()));
    for (expires, granted) in [(None, "3600"), (Some("7200"), "3600"), (Some("30"), "30")] {
        w.pass(Duration::from_secs(1));
        subscribe(&mut w, &mut callee, "refer", expires);
        assert_eq!(w.got(B, 200).header(HeaderName::Expires), Some(granted));
    }
    let mut states = Vec::new();
    for _ in 0..40 {
        while let Some(notify) = w.try_asked(B, Method::Notify) {
            w.answer(B, &notify, 200, None);
            states.push(told(&notify.message).1);
        }
        w.pass(Duration::from_secs(1));
    }
    // The NOTIFY of each refresh, as far as one waits for the one before; then nobody refreshed it.
    assert!(states.contains(&"active;expires=30".to_owned()), "{states:?}");
    assert_eq!(states.last().map(String::as_str), Some("terminated;reason=timeout"));
    subscribe(&mut w, &mut callee, "refer", Some("60"));
    w.got(B, 481);
    // What it was about goes on.
    assert!(w.try_asked(C, Method::Invite).is_some() && w.calls.len() == 1);
}

#[test]
fn a_transfer_outlives_nobody_who_watches_it() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = refers_long(&mut w);
    let notify = {
        refers_unheard(&mut w, &mut callee);
        w.asked(B, Method::Notify)
    };
    w.answer(B, &notify, 200, None);
    let asked = w.asked(C, Method::Invite);
    w.answer(C, &asked, 180, None);
    let ringing = w.asked(B, Method::Notify);
    assert_eq!(told(&ringing.message), ("refer".into(), "active;expires=3600".into(), "SIP/2.0 180 Ringing".into()));
    w.answer(B, &ringing, 200, None);
    w.pass(Duration::from_secs(119));
    assert!(w.try_asked(B, Method::Notify).is_none(), "it lasts");
    w.pass(Duration::from_secs(3));
    let last = w.asked(B, Method::Notify);
    assert_eq!(told(&last.message).1, "terminated;reason=noresource");
    assert!(told(&last.message).2.starts_with("SIP/2.0 480"));
}

#[test]
fn a_transfer_can_be_watched_no_longer() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = refers_long(&mut w);
    refers_unheard(&mut w, &mut callee);
    subscribe(&mut w, &mut callee, "refer", Some("0"));
    assert_eq!(w.got(B, 200).header(HeaderName::Expires), Some("0"));
    let first = w.asked(B, Method::Notify);
    assert!(w.try_asked(B, Method::Notify).is_none(), "none overtakes another");
    w.answer(B, &first, 200, None);
    let last = w.asked(B, Method::Notify);
    assert_eq!(told(&last.message).1, "terminated;reason=timeout");
    w.answer(B, &last, 200, None);
    subscribe(&mut w, &mut callee, "refer", Some("60"));
    w.got(B, 481);
}

#[test]
fn one_of_several_transfers_is_watched_by_its_name() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk();
    w.plan = vec![Step::Reject { status: 404, reason: String::new(), cause: EndCause::NotFound }];
    refers_unheard(&mut w, &mut callee);
    hears_all(&mut w);
    w.plan = vec![Step::Dial { targets: vec![target(C, 0)], ring_for: Duration::from_mins(2) }];
    refers_unheard(&mut w, &mut callee);
    let id = callee.local_cseq;
    let first = w.asked(B, Method::Notify);
    w.answer(B, &first, 200, None);
    for event in ["refer".to_owned(), format!("refer;id={}", id + 1), "refer;id=x".to_owned()] {
        subscribe(&mut w, &mut callee, &event, Some("60"));
        w.got(B, 403);
        assert!(w.try_asked(B, Method::Notify).is_none());
    }
    subscribe(&mut w, &mut callee, &format!("refer;id={id}"), Some("60"));
    w.got(B, 200);
    let again = w.asked(B, Method::Notify);
    assert_eq!(told(&again.message).0, format!("refer;id={id}"));
    assert_eq!(told(&again.message).1, "active;expires=60");
}

#[test]
fn what_was_never_referred_to_cannot_be_watched() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk();
    for (event, status) in [("refer", 403), ("refer;id=2", 403), ("dialog", 489)] {
        let builder = callee.request(Method::Subscribe).header(HeaderName::Contact, &contact(B));
        w.request(B, builder.header(HeaderName::Event, event), None);
        w.got(B, status);
        assert!(w.try_asked(B, Method::Notify).is_none());
    }
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn inside_a_call_no_provisional_answer_is_reliable() {
    let reliable = "100rel";
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk_with(A, B, &[(HeaderName::Supported, reliable)], &[]);
    let builder = caller.request(Method::Invite).header(HeaderName::Contact, &contact(A));
    w.request(A, builder.header(HeaderName::Supported, reliable), Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    for status in [180, 183] {
        w.answer(B, &asked, status, None);
        w.pass(Duration::from_millis(300));
    }
    w.answer(B, &asked, 200, Some(&sdp_with(B, "recvonly")));
    w.acked(B);
    w.settle(B, &asked);
    for status in [100, 180, 183] {
        while let Some(answer) = w.try_got(A, status) {
            assert!(answer.rseq().is_none() && answer.header(HeaderName::Require).is_none(), "{status}");
        }
    }
    w.got(A, 200);
    w.ack(A, &caller, None);
}

#[test]
fn a_100_is_acknowledged_by_nobody() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    let lines = [(HeaderName::Require, "100rel"), (HeaderName::RSeq, "7")];
    w.answer_with(B, &asked, 100, &lines, None);
    assert!(w.try_asked(B, Method::Prack).is_none());
    // Its number does not count either.
    let lines = [(HeaderName::Require, "100rel"), (HeaderName::RSeq, "3")];
    w.answer_with(B, &asked, 180, &lines, None);
    let prack = w.asked(B, Method::Prack).message;
    assert_eq!(prack.header(HeaderName::RAck), Some("3 1 INVITE"));
    assert!(prack.header(HeaderName::Require).is_none(), "only an INVITE may require them");
}

#[test]
fn a_dialog_that_is_over_or_answered_is_not_replaced() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, callee) = w.talk();
    let text = format!("{};to-tag={};from-tag={}", callee.call_id, callee.local_tag, callee.remote_tag);
    let replaces = sip::Replaces::parse(&text).unwrap();
    let early = sip::Replaces::parse(&format!("{text};early-only")).unwrap();
    let (party, flow) = (words::Party { user: Some(words::UserId(9)), ..words::Party::default() }, flow(C));
    let by = crate::claim::Claimant { party: &party, flow: &flow };
    let named =
        |w: &World, replaces| w.calls.named(replaces, words::AccountId(1), by).map(|(_, n)| n).map_err(|no| no.0);
    assert_eq!((named(&w, &replaces), named(&w, &early)), (Ok(1), Err(486)));
    let other = sip::Replaces::parse(&format!("x{text}")).unwrap();
    assert_eq!(named(&w, &other), Err(481));
    // The other side has not answered our BYE: its dialog is known and over.
    w.phone(B).dead = true;
    w.send(A, &mut caller, Method::Bye, None);
    assert_eq!(named(&w, &replaces), Err(603));
    w.pass(Duration::from_secs(40));
    assert_eq!(named(&w, &replaces), Err(481));
}
