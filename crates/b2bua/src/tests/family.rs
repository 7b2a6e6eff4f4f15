//! Media of another family of addresses than the signalling.

use super::kit::*;
use crate::Config;
use media::command::{Family, MediaCommand};
use sip::{HeaderName, Message, Method};

const OURS: &str = "2001:db8::10";

/// What a phone says whose media are at an IPv6 address.
fn sdp6(phone: usize) -> String {
    sdp(phone).replace(&format!("IP4 {}", phone_address(phone).ip()), &format!("IP6 2001:db8::{phone}:1"))
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

#[test]
fn a_call_goes_on_as_it_was_when_somebody_moves_to_the_other_family() {
    for asker in [A, B] {
        for method in [Method::Invite, Method::Update] {
            let mut w = World::new().rings(&[B]);
            let (caller, callee) = w.talk();
            let mut dialog = if asker == A { caller } else { callee };
            let before = w.media.len();
            w.sends(asker, &mut dialog, method, Some(&sdp6(asker)));
            let refused = w.got(asker, 488);
            assert!(warns(&refused), "{asker} {method:?}");
            assert_eq!(w.media.len(), before);
            assert!(w.try_asked(1 - asker, Method::Invite).is_none());
            // In its own it may move.
            w.sends(asker, &mut dialog, Method::Invite, Some(&sdp(asker).replace("m=audio 4000", "m=audio 4100")));
            w.asked(1 - asker, Method::Invite);
        }
    }
}

#[test]
fn an_answer_that_cannot_be_reached_is_none() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp6(B)));
    w.acked(B);
    w.got(A, 488);
    w.asked(B, Method::Bye);
}
