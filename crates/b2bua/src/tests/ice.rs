//! Legs with ICE (RFC 8839), where the exchange is the lite side, beside legs without.

use super::kit::*;
use super::offers::change;
use media::command::MediaCommand;
use media::ice::Checks;
use media::sdp::{Description, IceAsked};
use sip::{Dialog, HeaderName, Method};

/// The description of a phone that does ICE.
fn checking(n: usize, ufrag: &str) -> String {
    let port = 40_000 + n;
    format!(
        "{}a=ice-ufrag:{ufrag}\r\na=ice-pwd:{ufrag}/abcdefghijklmnopqrst\r\n\
         a=candidate:1 1 UDP 2130706431 10.0.1.{} {port} typ host\r\n",
        sdp(n),
        n + 1
    )
}

/// What the relay was told last about an end's ICE, and how often it was told.
fn told(w: &World, n: u16) -> (Option<Checks>, usize) {
    let all: Vec<_> = w
        .media
        .iter()
        .filter_map(|command| match command {
            MediaCommand::Ice { end, checks, .. } if end.n == n => Some(checks.as_deref().cloned()),
            _ => None,
        })
        .collect();
    (all.last().cloned().flatten(), all.len())
}

/// How we are named in a description of ours, which says that we are lite.
fn named(body: &str) -> Option<String> {
    let said = Description::parse(body.as_bytes()).unwrap();
    let audio = said.audio().unwrap();
    let ufrag = audio.media().attribute("ice-ufrag").map(str::to_owned);
    assert_eq!(ufrag.is_some(), said.attributes().any(|(name, _)| name == "ice-lite"), "{body}");
    assert_eq!(ufrag.is_some(), body.contains("a=candidate:1 1 UDP "), "{body}");
    // Who is lite is not checked by another one that is.
    assert!(!matches!(audio.ice(), Some(IceAsked::Checks(_))));
    ufrag
}

/// A calls B; both as they describe themselves. The dialogs, and what each was told.
fn talk(w: &mut World, offer: &str, answer: &str) -> (Dialog, Dialog, [String; 2]) {
    w.invite(A, "1001", Some(offer));
    let asked = w.asked(B, Method::Invite);
    let callee = Dialog::uas(&asked.message, "phone1").unwrap();
    w.answer(B, &asked, 200, Some(answer));
    w.acked(B);
    w.settle(B, &asked);
    let ok = w.got(A, 200);
    let caller = Dialog::uac(ok.header(HeaderName::From).unwrap(), ok.call_id().unwrap(), 1, &ok).unwrap();
    w.ack(A, &caller, None);
    (caller, callee, [body(&asked.message).to_owned(), body(&ok).to_owned()])
}

#[test]
fn who_asks_for_ice_is_answered_and_nobody_else_hears_of_it() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee, [offered, answered]) = talk(&mut w, &checking(A, "aaaa"), &sdp(B));
    assert!(!offered.contains("ice-") && !offered.contains("candidate"), "{offered}");
    let ours = named(&answered).expect("ICE is answered");
    let (checks, times) = told(&w, 0);
    let checks = checks.expect("the relay knows");
    assert_eq!((&*checks.ours.ufrag, &*checks.theirs, times), (ours.as_str(), "aaaa", 1));
    assert!(answered.contains(&format!("a=ice-pwd:{}", checks.ours.pwd.reveal())));
    assert_eq!(told(&w, 1), (None, 0));
    // The relay knows before it opens the end, which then never hears anybody else.
    let place = |wanted: fn(&MediaCommand) -> bool| w.media.iter().position(wanted).unwrap();
    let opens = place(|command| matches!(command, MediaCommand::Open { end, .. } if end.n == 0));
    assert!(place(|command| matches!(command, MediaCommand::Ice { .. })) < opens);
    // Hold and resume by either side: the same names, in offers too.
    let (offered, answered) = change(
        &mut w,
        (A, &mut caller),
        B,
        &checking(A, "aaaa").replace("sendrecv", "sendonly"),
        &sdp_with(B, "recvonly"),
    );
    assert_eq!((named(&offered), named(&answered)), (None, Some(ours.clone())));
    let (offered, answered) = change(&mut w, (B, &mut callee), A, &sdp_with(B, "sendonly"), &checking(A, "aaaa"));
    assert_eq!((named(&offered), named(&answered)), (Some(ours.clone()), None));
    // Nothing flows for a while.
    let (_, answered) = change(
        &mut w,
        (A, &mut caller),
        B,
        &checking(A, "aaaa").replace("sendrecv", "inactive"),
        &sdp_with(B, "inactive"),
    );
    assert_eq!(named(&answered), Some(ours));
    assert_eq!((told(&w, 0), told(&w, 1)), ((Some(checks), 1), (None, 0)));
}

#[test]
fn other_names_are_a_restart_and_none_are_the_end_of_it() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee, [_, answered]) = talk(&mut w, &checking(A, "aaaa"), &sdp(B));
    let first = named(&answered);
    let (_, answered) = change(&mut w, (A, &mut caller), B, &checking(A, "bbbb"), &sdp(B));
    let second = named(&answered);
    assert!(second.is_some() && second != first);
    let (checks, times) = told(&w, 0);
    assert_eq!((checks.map(|checks| checks.theirs), times), (Some("bbbb".into()), 2));
    // The same words at the session in place of the media are the same.
    let names = "a=ice-ufrag:bbbb\r\na=ice-pwd:bbbb/abcdefghijklmnopqrst\r\n";
    let moved = checking(A, "bbbb").replace(names, "").replace("m=audio", &format!("{names}m=audio"));
    let (_, answered) = change(&mut w, (A, &mut caller), B, &moved, &sdp(B));
    assert_eq!((named(&answered), told(&w, 0).1), (second.clone(), 2));
    // The password alone is enough.
    let other = checking(A, "bbbb").replace("/abc", "/xyz");
    let (_, answered) = change(&mut w, (A, &mut caller), B, &other, &sdp(B));
    assert!(named(&answered).is_some_and(|third| Some(third) != second));
    // A phone that answers without is a phone without.
    change(&mut w, (B, &mut callee), A, &sdp_with(B, "sendonly"), &sdp_with(A, "recvonly"));
    assert_eq!(told(&w, 0), (None, 4));
    let (offered, _) = change(&mut w, (B, &mut callee), A, &sdp(B), &sdp(A));
    assert_eq!(named(&offered), None);
    // And one that comes back to it begins anew.
    let (_, answered) = change(&mut w, (A, &mut caller), B, &checking(A, "bbbb"), &sdp(B));
    assert_eq!(named(&answered).as_deref(), told(&w, 0).0.map(|checks| checks.ours.ufrag).as_deref());
    assert_eq!(told(&w, 0).1, 5);
}

/// Who has nominated a pair says so in its next offer (RFC 8839 §4.4.1.2.2): it is our only candidate.
#[test]
fn what_the_other_side_has_selected_is_what_we_say_anyway() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _, [_, answered]) = talk(&mut w, &checking(A, "aaaa"), &sdp(B));
    let of_ours = |body: &str| {
        let port = Description::parse(body.as_bytes()).unwrap().audio().unwrap().media().port;
        let host = body.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).unwrap().to_owned();
        (host, port)
    };
    let (host, port) = of_ours(&answered);
    let selected = format!("{}a=remote-candidates:1 {host} {port} 2 {host} {}\r\n", checking(A, "aaaa"), port + 1);
    let (offered, again) = change(&mut w, (A, &mut caller), B, &selected, &sdp(B));
    assert_eq!((of_ours(&again), named(&again)), ((host.clone(), port), named(&answered)));
    for (component, port) in [(1, port), (2, port + 1)] {
        let line = again.lines().find(|line| line.starts_with(&format!("a=candidate:1 {component} UDP "))).unwrap();
        assert!(line.contains(&format!(" {host} {port} typ host")), "{line}");
    }
    assert!(!again.contains("remote-candidates") && !offered.contains("remote-candidates"), "{again} {offered}");
}

#[test]
fn an_address_that_was_changed_on_the_way_is_told_and_used_as_without_ice() {
    let mut w = World::new().rings(&[B]);
    let changed = checking(A, "aaaa").replace("UDP 2130706431 10.0.1.1", "UDP 2130706431 192.168.7.7");
    let (_, _, [_, answered]) = talk(&mut w, &changed, &sdp(B));
    assert!(answered.contains("a=ice-mismatch\r\n") && named(&answered).is_none(), "{answered}");
    assert_eq!(told(&w, 0), (None, 0));
}

#[test]
fn another_lite_side_and_a_callee_that_was_not_asked_do_without() {
    let lite = checking(A, "aaaa").replace("m=audio", "a=ice-lite\r\nm=audio");
    let mut w = World::new().rings(&[B]);
    let (_, _, [_, answered]) = talk(&mut w, &lite, &checking(B, "bbbb"));
    assert_eq!(named(&answered), None);
    assert_eq!((told(&w, 0), told(&w, 1)), ((None, 0), (None, 0)));
}

#[test]
fn who_has_one_port_for_both_is_told_one_candidate() {
    for (mux, candidates) in [("", 2), ("a=rtcp-mux\r\n", 1)] {
        let mut w = World::new().rings(&[B]);
        let (_, mut callee, [_, answered]) = talk(&mut w, &(checking(A, "aaaa") + mux), &sdp(B));
        assert_eq!(answered.matches("a=candidate:").count(), candidates, "{answered}");
        assert_eq!(told(&w, 0).0.map(|checks| checks.rtcp_mux), Some(candidates == 1));
        let (offered, _) = change(&mut w, (B, &mut callee), A, &sdp_with(B, "sendonly"), &(checking(A, "aaaa") + mux));
        assert_eq!(offered.matches("a=candidate:").count(), candidates, "{offered}");
    }
}
