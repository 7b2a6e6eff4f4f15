//! Connections that close under a call.

use super::kit::*;
use sip::{HeaderName, Method};
use std::time::Duration;
use words::{ConnectionId, EndCause, Flow};

#[test]
fn a_caller_whose_connection_closes_has_given_up() {
    let mut w = World::new().rings(&[B]);
    w.invite(E, "1001", Some(&sdp(E)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 180, None);
    w.close(E);
    w.cancelled(B).expect("it stops ringing");
    w.answer(B, &asked, 487, None);
    assert_eq!(w.ends(), [EndCause::SignallingLost]);
    w.is_clean();
    w.pass(Duration::from_secs(70));
    assert_eq!(w.transactions(), 0, "its INVITE was answered, though nobody heard it");
}

#[test]
fn a_callee_whose_connection_closes_rings_no_more() {
    let mut w = World::new().rings(&[E]);
    w.invite(A, "1001", Some(&sdp(A)));
    let asked = w.asked(E, Method::Invite);
    w.answer(E, &asked, 180, None);
    w.close(E);
    assert_eq!(w.got(A, 480).header(HeaderName::Reason), Some("SIP;cause=503;text=\"Service Unavailable\""));
    assert_eq!(w.ends(), [EndCause::Unavailable]);
    w.is_clean();
}

#[test]
fn a_talking_phone_that_does_not_come_back_ends_the_call() {
    for (a, b, other) in [(E, B, B), (A, E, A)] {
        let mut w = World::new().rings(&[b]);
        w.talk_between(a, b);
        w.close(E);
        w.pass(Duration::from_secs(31));
        assert_eq!(w.calls.len(), 1, "its media goes on meanwhile");
        w.pass(Duration::from_secs(2));
        let bye = w.asked(other, Method::Bye);
        assert!(bye.message.header(HeaderName::Reason).is_some_and(|reason| reason.contains("cause=27")));
        assert_eq!(w.ends(), [EndCause::SignallingLost]);
        w.is_clean();
    }
}

#[test]
fn a_talking_phone_comes_back_over_a_new_connection() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk_between(E, B);
    w.close(E);
    w.phone(E).dead = false;
    w.pass(Duration::from_secs(10));
    let back = Flow { connection: ConnectionId { slot: 77, generation: 3 }, ..flow(E) };
    let bytes = caller
        .request(Method::Options)
        .header(HeaderName::Via, "SIP/2.0/TCP 10.0.1.5:5060;branch=z9hG4bKback")
        .finish();
    w.receive(back, bytes);
    w.pass(Duration::from_mins(2));
    assert_eq!(w.calls.len(), 1);
    w.send(B, &mut callee, Method::Bye, None);
    w.asked(E, Method::Bye);
    w.is_clean();
}
