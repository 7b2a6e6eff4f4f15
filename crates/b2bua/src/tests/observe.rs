//! What whoever watches calls gets to see of them.

use super::kit::*;
use crate::{CallView, DialogIds, LegState};
use sip::Method;

/// The calls that changed, each once.
fn changed(w: &mut World) -> usize {
    let mut calls = Vec::new();
    while let Some(call) = w.calls.next_changed() {
        if !calls.contains(&call) {
            calls.push(call);
        }
    }
    calls.len()
}

fn view(w: &World) -> CallView<'_> {
    w.calls.views().next().expect("a call is up")
}

fn ids(w: &World, n: usize) -> DialogIds {
    view(w).legs[n].ids()
}

#[test]
fn unobserved_calls_note_nothing() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    assert_eq!(changed(&mut w), 0);
    w.calls.observe(true);
    w.send(A, &mut caller, Method::Bye, None);
    assert_eq!(changed(&mut w), 1);
    w.calls.observe(false);
    w.invite(A, "1001", Some(&sdp(A)));
    assert_eq!(changed(&mut w), 0);
}

#[test]
fn a_ringing_leg_is_known_by_the_ids_of_its_own_phone() {
    let mut w = World::new().rings(&[B]);
    w.calls.observe(true);
    w.invite(A, "1001", Some(&sdp(A)));
    assert_eq!(changed(&mut w), 1);
    let asked = w.asked(B, Method::Invite);
    assert_eq!((ids(&w, 1).theirs.as_str(), view(&w).legs[1].state), ("", LegState::Calling));
    w.answer(B, &asked, 180, None);
    assert_eq!(changed(&mut w), 1);
    let ringing = ids(&w, 1);
    assert_eq!(view(&w).legs[1].state, LegState::Ringing);
    assert_eq!(Some(ringing.call_id.as_str()), asked.message.header(sip::HeaderName::CallId));
    assert_eq!(Some(ringing.ours.as_str()), asked.message.from_tag());
    assert_eq!((ringing.theirs.as_str(), ringing.is_ours), (format!("phone{B}").as_str(), true));
    assert!(!ids(&w, 0).is_ours, "the caller's dialog is its own");
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    w.settle(B, &asked);
    assert_eq!(ids(&w, 1), ringing, "an answer changes nothing of it");
    assert_eq!(view(&w).legs[0].other.number, view(&w).legs[1].party.number, "the caller talks to who answered");
}

#[test]
fn a_hold_is_seen_at_the_leg_that_does_not_listen() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk();
    let held = |w: &World| view(w).legs.iter().map(|leg| (leg.holds, leg.held)).collect::<Vec<_>>();
    assert_eq!(held(&w), [(false, false), (false, false)]);
    w.send(B, &mut callee, Method::Invite, Some(&sdp_with(B, "sendonly")));
    let asked = w.asked(A, Method::Invite);
    w.answer(A, &asked, 200, Some(&sdp_with(A, "recvonly")));
    w.settle(A, &asked);
    w.got(B, 200);
    w.ack(B, &callee, None);
    assert_eq!(held(&w), [(false, true), (true, false)]);
}
