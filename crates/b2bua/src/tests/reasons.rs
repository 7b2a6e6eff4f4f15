//! Why: what one side says of it reaches the other (RFC 3326, RFC 6432), and what we refuse says it in words.

use super::kit::*;
use crate::Step;
use sip::{HeaderName, Message, Method};
use std::time::Duration;

const CLEARING: &str = "Q.850;cause=17;text=\"User busy\"";

#[test]
fn why_somebody_hangs_up_is_told_to_the_other_side() {
    let long = format!("Q.850;cause=16;text=\"{}\"", "x".repeat(200));
    for (reason, told) in [(Some(CLEARING), Some(CLEARING)), (Some(long.as_str()), None), (None, None)] {
        for (leaves, stays) in [(A, B), (B, A)] {
            let mut w = World::new().rings(&[B]);
            let (caller, callee) = w.talk();
            let mut dialog = if leaves == A { caller } else { callee };
            let bye = dialog.request(Method::Bye);
            let bye = reason.into_iter().fold(bye, |bye, reason| bye.header(HeaderName::Reason, reason));
            w.request(leaves, bye, None);
            assert_eq!(w.asked(stays, Method::Bye).message.header(HeaderName::Reason), told);
            w.got(leaves, 200);
            w.is_clean();
        }
    }
}

#[test]
fn why_a_callee_refuses_is_told_to_the_caller() {
    let own = "SIP;cause=408;text=\"Request Timeout\"";
    let both = format!("{CLEARING}, {own}");
    let sip = "sip ;cause=600;text=\"Busy Everywhere\"";
    for (status, reason, shown, told) in [
        (486, CLEARING, 486, CLEARING),
        (486, "", 486, ""),
        // What its status was stands beside its own words, where it becomes another one.
        (408, CLEARING, 480, both.as_str()),
        (408, sip, 480, sip),
        (408, "", 480, own),
    ] {
        let mut w = World::new().rings(&[B]);
        w.invite(A, "1001", Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        let lines = [(HeaderName::Reason, reason)];
        w.answer_with(B, &asked, status, if reason.is_empty() { &[] } else { &lines }, None);
        assert_eq!(w.got(A, shown).header(HeaderName::Reason).unwrap_or_default(), told);
        w.is_clean();
    }
}

const VIDEO: &str = "v=0\r\no=- 1 1 IN IP4 10.0.1.1\r\ns=-\r\nc=IN IP4 10.0.1.1\r\nt=0 0\r\nm=video 5000 RTP/AVP 96\r\n\
     a=rtpmap:96 VP8/90000\r\n";

/// What somebody reads who is refused: the phrase, and the code of a `Warning` (RFC 3261 §20.43).
fn read(answer: &Message) -> (&str, &str) {
    let warning = answer.header(HeaderName::Warning).and_then(|warning| warning.get(..3));
    (answer.reason(), warning.unwrap_or_default())
}

#[test]
fn offers_that_cannot_be_taken_are_refused_with_what_is_wrong() {
    let (audio, codec) = ("neither audio nor a fax is offered", "no codec in common");
    let rare = sdp(A).replace("RTP/AVP 0 8 101", "RTP/AVP 18").replace("RTP/AVP 0 8", "RTP/AVP 18");
    for (offer, words, warning) in [(VIDEO, audio, "304"), (rare.as_str(), codec, "305")] {
        let phrase = format!("Not Acceptable Here: {words}");
        // The exchange itself answers, at first and later.
        let mut w = World::new().does(vec![Step::Answer, Step::Echo]);
        w.invite(A, "*43", Some(offer));
        assert_eq!(read(&w.got(A, 488)), (phrase.as_str(), warning));
        let mut w = World::new().does(vec![Step::Answer, Step::Echo]);
        w.invite(A, "*43", Some(&sdp(A)));
        let mut caller = w.caller(A);
        w.ack(A, &caller, None);
        for method in [Method::Invite, Method::Update] {
            w.send(A, &mut caller, method, Some(offer));
            assert_eq!(read(&w.got(A, 488)), (phrase.as_str(), warning), "{method}");
        }
    }
    // Another user does.
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    w.send(A, &mut caller, Method::Invite, Some(VIDEO));
    assert_eq!(read(&w.got(A, 488)), ("Not Acceptable Here: neither audio nor a fax is offered", "304"));
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 488, None);
    assert_eq!(w.got(A, 488).reason(), "Not Acceptable Here: the other side takes none of these media");
}

#[test]
fn who_is_refused_reads_what_to_do() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, mut callee) = w.talk();
    let refused = |w: &mut World, status| w.got(A, status).reason().to_owned();
    w.send(A, &mut caller, Method::Notify, None);
    assert_eq!(refused(&mut w, 481), "Subscription Does Not Exist");
    w.send(A, &mut caller, Method::Register, None);
    assert_eq!(refused(&mut w, 405), "Method Not Allowed: Allow names what is taken inside a call");
    let request = caller.request(Method::Options).header(HeaderName::Require, "x");
    w.request(A, request, None);
    assert_eq!(refused(&mut w, 420), "Bad Extension: Unsupported names what is not known");
    let request = caller.request(Method::Subscribe).header(HeaderName::Event, "dialog");
    w.request(A, request, None);
    assert_eq!(refused(&mut w, 489), "Bad Event: inside a call there is refer alone");
    let request = caller.request(Method::Prack).header(HeaderName::RAck, "1 1 INVITE");
    w.request(A, request, None);
    assert_eq!(refused(&mut w, 481), "Call/Transaction Does Not Exist: no answer waits for this PRACK");
    // Each wants to change the call while the other does.
    w.send(B, &mut callee, Method::Invite, Some(&sdp_with(B, "sendonly")));
    w.send(A, &mut caller, Method::Invite, Some(&sdp_with(A, "sendonly")));
    assert_eq!(refused(&mut w, 491), "Request Pending: the call is being changed");
    // What is under way when the call ends.
    let info = caller.request(Method::Info);
    w.request_with(A, info, Some(("application/dtmf", "5")));
    w.send(A, &mut caller, Method::Bye, None);
    assert_eq!(refused(&mut w, 487), "Request Terminated: the call is over");
}

#[test]
fn who_is_not_put_through_reads_why() {
    for (says, shown, phrase) in [
        (Some(486), 486, "Busy Here"),
        (Some(603), 603, "Decline"),
        (Some(488), 488, "Not Acceptable Here: the other side takes none of these media"),
        (Some(401), 502, "Bad Gateway: the callee answered 401 Unauthorized"),
        (Some(481), 480, "Temporarily Unavailable: the callee answered 481 Call/Transaction Does Not Exist"),
        (None, 480, "Temporarily Unavailable: nobody answered"),
    ] {
        let mut w = World::new().rings(&[B]);
        w.invite(A, "1001", Some(&sdp(A)));
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, says.unwrap_or(180), None);
        if says.is_none() {
            w.pass(Duration::from_secs(21));
        }
        assert_eq!(w.got(A, shown).reason(), phrase);
    }
}
