//! Media of another family of addresses than the signalling.

use super::kit::*;
use crate::Config;
use media::command::{Family, MediaCommand};
use sip::{Dialog, HeaderName, Message, Method};
use std::time::Duration;

const OURS: &str = "2001:db8::10";

/// What a phone says whose media are at an IPv6 address.
fn sdp6(phone: usize) -> String {
    sdp(phone).replace(&format!("IP4 {}", phone_address(phone).ip()), &format!("IP6 2001:db8::{phone}:1"))
}

/// A provisional answer that wants a PRACK, of somebody who takes UPDATE.
const RELIABLE: [(HeaderName, &str); 3] =
    [(HeaderName::Require, "100rel"), (HeaderName::RSeq, "1"), (HeaderName::Allow, "INVITE, ACK, BYE, PRACK, UPDATE")];

/// The caller's early dialog, or its dialog.
fn early(answer: &Message) -> Dialog {
    Dialog::uac(answer.header(HeaderName::From).unwrap(), answer.call_id().unwrap(), 1, answer).unwrap()
}

fn warns(answer: &Message) -> bool {
    answer.header(HeaderName::Warning).is_some_and(|warning| warning.starts_with("301 ") && warning.contains("IPv6"))
}

#[test]
fn a_caller_whose_media_nobody_here_can_reach_is_told_so() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp6(A)));
    let refused = w.got(A, 488);
    assert!(warns(&refused), "{:?}", refused.header(HeaderName::Warning));
    assert!(w.try_asked(B, Method::Invite).is_none() && w.facts.is_empty());
    // On hold by an unspecified address nothing is to be reached.
    w.invite(A, "1001", Some(&sdp6(A).replace("2001:db8::0:1", "::")));
    w.asked(B, Method::Invite);
}

#[test]
fn a_caller_gets_media_of_its_family_where_we_have_an_address_of_it() {
    let addresses = vec!["10.0.0.1".parse().unwrap(), OURS.parse().unwrap()];
    let config = Config { addresses, families: vec![Family::V4, Family::V6], ..Config::default() };
    let mut w = World::with(config, 1).rings(&[B]);
    w.invite(A, "1001", Some(&sdp6(A)));
    let asked = w.asked(B, Method::Invite);
    assert!(body(&asked.message).contains("c=IN IP4 10.0.0.1\r\n"));
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    let ok = w.got(A, 200);
    assert!(body(&ok).contains(&format!("c=IN IP6 {OURS}\r\n")), "{}", body(&ok));
    let families: Vec<Family> = w
        .media
        .iter()
        .filter_map(|command| if let MediaCommand::Open { ports, .. } = command { Some(ports.family) } else { None })
        .collect();
    assert!(families.len() == 2 && families.contains(&Family::V6) && families.contains(&Family::V4), "{families:?}");
}

/// Plays it in a call that talks for each asker and method, with the asker's dialog.
fn for_changes(play: impl Fn(&mut World, usize, Method, &mut Dialog)) {
    for asker in [A, B] {
        for method in [Method::Invite, Method::Update] {
            let mut w = World::new().rings(&[B]);
            let (caller, callee) = w.talk();
            let mut dialog = if asker == A { caller } else { callee };
            play(&mut w, asker, method, &mut dialog);
        }
    }
}

#[test]
fn a_call_goes_on_as_it_was_when_somebody_moves_to_the_other_family() {
    for_changes(|w, asker, method, dialog| {
        let before = w.media.len();
        w.sends(asker, dialog, method, Some(&sdp6(asker)));
        let refused = w.got(asker, 488);
        assert!(warns(&refused), "{asker} {method:?}");
        assert_eq!(w.media.len(), before);
        assert!(w.try_asked(1 - asker, Method::Invite).is_none());
        // In its own it may move.
        w.sends(asker, dialog, Method::Invite, Some(&sdp(asker).replace("m=audio 4000", "m=audio 4100")));
        w.asked(1 - asker, Method::Invite);
    });
}

#[test]
fn an_answer_that_cannot_be_reached_is_none_and_the_caller_is_told_why() {
    for early in [false, true] {
        let mut w = World::new().rings(&[B]);
        let builder = w.invite_builder(A, "1001").header(HeaderName::Supported, "100rel");
        w.request(A, builder, Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        if early {
            // What it says reliably before is its word, whatever its 200 says.
            w.answer_with(B, &asked, 183, &RELIABLE, Some(&sdp6(B)));
            let prack = w.asked(B, Method::Prack);
            w.answer(B, &prack, 200, None);
            assert!(w.got(A, 183).body().is_empty());
        }
        w.answer(B, &asked, 200, (!early).then(|| sdp6(B)).as_deref());
        w.acked(B);
        assert!(warns(&w.got(A, 488)), "{early}");
        w.asked(B, Method::Bye);
    }
    // Who refuses by itself warns of nothing.
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 488, None);
    assert_eq!(w.got(A, 488).header(HeaderName::Warning), None);
}

/// Whoever agrees to a change with media that cannot be reached has agreed to nothing: who asked is told why, and the
/// call goes on.
#[test]
fn an_agreement_to_a_change_that_cannot_be_reached_is_none() {
    for_changes(|w, asker, method, dialog| {
        let before = w.media.len();
        let mut change = |w: &mut World, answer: Option<&str>| {
            w.sends(asker, dialog, method, Some(&sdp_with(asker, "sendonly")));
            let asked = w.asked(1 - asker, Method::Invite);
            w.answer(1 - asker, &asked, 200, answer);
            w.acked(1 - asker);
        };
        change(w, Some(&sdp6(1 - asker)));
        assert!(warns(&w.got(asker, 488)), "{asker} {method:?}");
        // Without a word nobody knows what it means.
        change(w, None);
        assert_eq!(w.got(asker, 500).header(HeaderName::Warning), None);
        assert_eq!(w.media.len(), before);
        change(w, Some(&sdp_with(1 - asker, "recvonly")));
        w.got(asker, 200);
        assert!(w.media.len() > before);
    });
}

#[test]
fn what_an_offer_in_a_prack_cannot_have_it_is_told_and_all_stays_as_it_was() {
    let mut w = World::new().rings(&[B]);
    let builder = w.invite_builder(A, "1001").header(HeaderName::Supported, "100rel");
    w.request(A, builder, Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer_with(B, &asked, 183, &RELIABLE, Some(&sdp(B)));
    let prack = w.asked(B, Method::Prack);
    w.answer(B, &prack, 200, None);
    let progress = w.got(A, 183);
    let mut caller = early(&progress);
    let before = w.media.len();
    w.prack(A, &mut caller, &progress, Some(&sdp6(A)));
    assert!(warns(&w.got(A, 488)));
    assert!(w.try_asked(B, Method::Update).is_none() && w.media.len() == before);
    // It was heard all the same, so nothing waits for another PRACK.
    w.pass(Duration::from_secs(2));
    assert!(w.try_got(A, 183).is_none());
    w.answer(B, &asked, 200, None);
    let ok = w.got(A, 200);
    w.ack(A, &early(&ok), None);
    w.send(A, &mut caller, Method::Bye, None);
    w.asked(B, Method::Bye);
    w.is_clean();
}

#[test]
fn what_answers_an_offer_in_a_prack_must_be_reached_too() {
    let mut w = World::new().rings(&[B]);
    let builder = w.invite_builder(A, "1001").header(HeaderName::Supported, "100rel");
    w.request(A, builder, None);
    let asked = w.asked(B, Method::Invite);
    w.answer_with(B, &asked, 183, &RELIABLE, Some(&sdp(B)));
    let progress = w.got(A, 183);
    let mut caller = early(&progress);
    w.prack(A, &mut caller, &progress, Some(&sdp6(A)));
    assert!(warns(&w.got(A, 488)));
    assert!(w.try_asked(B, Method::Prack).is_none());
    w.prack(A, &mut caller, &progress, Some(&sdp(A)));
    w.got(A, 200);
    w.asked(B, Method::Prack);
}
