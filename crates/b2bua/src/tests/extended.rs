//! Extended reports (RFC 3611 §5): who speaks with the exchange, or with one that knows none, gets what it asked for from
//! us, and between two who know them their own pass.

use super::kit::*;
use crate::Step;
use media::command::{MediaCommand, Terms};
use media::own::Extended;
use sip::Method;

const ASKED: &str = "a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup voip-metrics\r\n";
const TAKEN: &str = "a=rtcp-xr:voip-metrics rcvr-rtt=all stat-summary=loss\r\n";
const ALL: Extended = Extended { metrics: true, round_trip: true, summary: true };
const NONE: Extended = Extended { metrics: false, round_trip: false, summary: false };

/// What the relay was told last of the end of a leg.
fn terms(w: &World, n: u16) -> Terms {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. } if end.n == n => Some(*terms),
        _ => None,
    };
    w.media.iter().rev().find_map(of).expect("the end was opened")
}

#[test]
fn an_echo_takes_up_what_was_offered_and_sends_it() {
    for (asked, taken, wanted) in [
        (ASKED, TAKEN, ALL),
        ("a=rtcp-xr:voip-metrics\r\n", "a=rtcp-xr:voip-metrics\r\n", Extended { metrics: true, ..NONE }),
        ("", "", NONE),
    ] {
        let mut w = World::new();
        w.plan = vec![Step::Echo];
        w.invite(A, "*43", Some(&(sdp(A) + asked)));
        let ok = w.got(A, 200);
        assert_eq!(body(&ok).contains("rtcp-xr"), !taken.is_empty(), "{}", body(&ok));
        assert!(body(&ok).contains(taken), "{}", body(&ok));
        assert_eq!(terms(&w, 0).extended, wanted);
    }
}

/// The line of extended reports in a description, with its end.
fn reports(description: &str) -> String {
    description.split_inclusive("\r\n").filter(|line| line.starts_with("a=rtcp-xr")).collect()
}

#[test]
fn between_two_who_know_them_nothing_of_ours_is_said_and_of_one_who_does_not_we_say_it() {
    let others = "a=rtcp-xr:pkt-loss-rle\r\n";
    for (offer, answer, told, wanted) in [
        (ASKED, ASKED, ASKED, [NONE, NONE]),
        // What passes is theirs, whatever it is.
        (ASKED, others, others, [NONE, NONE]),
        ("", "", "", [NONE, NONE]),
        (ASKED, "", TAKEN, [ALL, NONE]),
        (
            "a=rtcp-xr:stat-summary\r\n",
            "",
            "a=rtcp-xr:stat-summary=loss\r\n",
            [Extended { summary: true, ..NONE }, NONE],
        ),
        // Nothing that we could make.
        (others, "", "", [NONE, NONE]),
        // Who knows none hears nothing of them.
        ("", ASKED, "", [NONE, ALL]),
    ] {
        let mut w = World::new().rings(&[B]);
        w.invite(A, "1001", Some(&(sdp(A) + offer)));
        let asked = w.asked(B, Method::Invite);
        assert_eq!(reports(body(&asked.message)), offer);
        w.answer(B, &asked, 200, Some(&(sdp(B) + answer)));
        w.acked(B);
        assert_eq!(reports(body(&w.got(A, 200))), told, "{offer:?} {answer:?}");
        assert_eq!([0, 1].map(|n| terms(&w, n).extended), wanted, "{offer:?} {answer:?}");
    }
}

#[test]
fn before_the_answer_and_by_a_late_offer_it_is_the_same() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&(sdp(A) + ASKED)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 183, Some(&sdp(B)));
    assert_eq!(reports(body(&w.got(A, 183))), TAKEN);
    assert_eq!([0, 1].map(|n| terms(&w, n).extended), [ALL, NONE]);
    // The callee offers; what the caller answers with is asked of it, and the ACK takes it up.
    for (offer, answer, taken, wanted) in
        [(ASKED, "", TAKEN, [NONE, ALL]), (ASKED, ASKED, ASKED, [NONE, NONE]), ("", ASKED, "", [ALL, NONE])]
    {
        let mut w = World::new().rings(&[B]);
        w.invite(A, "1001", None);
        let asked = w.asked(B, Method::Invite);
        w.answer(B, &asked, 200, Some(&(sdp(B) + offer)));
        let ok = w.got(A, 200);
        assert_eq!(reports(body(&ok)), offer);
        let dialog = sip::Dialog::uac(ok.header(sip::HeaderName::From).unwrap(), ok.call_id().unwrap(), 1, &ok);
        w.ack(A, &dialog.unwrap(), Some(&(sdp(A) + answer)));
        assert_eq!(reports(body(&w.acked(B))), taken, "{offer:?} {answer:?}");
        assert_eq!([0, 1].map(|n| terms(&w, n).extended), wanted, "{offer:?} {answer:?}");
    }
}

/// A phone changes the call, with what it says of extended reports; gives what the other was offered of them, which answers
/// with its own, and what the first is told.
fn change(w: &mut World, dialog: &mut sip::Dialog, who: usize, says: &str, answers: &str) -> (String, String) {
    let other = if who == A { B } else { A };
    w.send(who, dialog, Method::Invite, Some(&(sdp_with(who, "sendonly") + says)));
    let asked = w.asked(other, Method::Invite);
    let offered = reports(body(&asked.message));
    w.answer(other, &asked, 200, Some(&(sdp_with(other, "recvonly") + answers)));
    w.acked(other);
    w.settle(other, &asked);
    let told = reports(body(&w.got(who, 200)));
    w.ack(who, dialog, None);
    (offered, told)
}

#[test]
fn who_asked_once_is_offered_them_by_who_knows_none() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&(sdp(A) + ASKED)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 200, Some(&sdp(B)));
    w.acked(B);
    w.settle(B, &asked);
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    let mut callee = sip::Dialog::uas(&asked.message, &format!("phone{B}")).unwrap();
    let wanted = |w: &World| [0, 1].map(|n| terms(w, n).extended);
    // The callee holds, and never hears of them.
    let crossed = change(&mut w, &mut callee, B, "", ASKED);
    assert_eq!((crossed, wanted(&w)), ((TAKEN.to_owned(), String::new()), [ALL, NONE]));
    let crossed = change(&mut w, &mut caller, A, ASKED, "");
    assert_eq!((crossed, wanted(&w)), ((ASKED.to_owned(), TAKEN.to_owned()), [ALL, NONE]));
    // The caller wants no more, and is not asked again.
    let crossed = change(&mut w, &mut caller, A, "", "");
    assert_eq!((crossed, wanted(&w)), ((String::new(), String::new()), [NONE, NONE]));
    let crossed = change(&mut w, &mut callee, B, "", "");
    assert_eq!((crossed, wanted(&w)), ((String::new(), String::new()), [NONE, NONE]));
    // Both do: their own pass.
    let crossed = change(&mut w, &mut callee, B, ASKED, ASKED);
    assert_eq!((crossed, wanted(&w)), ((ASKED.to_owned(), ASKED.to_owned()), [NONE, NONE]));
}
