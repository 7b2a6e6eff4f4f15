//! Extended reports (RFC 3611 §5): who speaks with the exchange gets what it asked for, and between two their own pass.

use super::kit::*;
use crate::Step;
use media::command::{MediaCommand, Terms};
use media::own::Extended;

const ASKED: &str = "a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup voip-metrics\r\n";

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
        (ASKED, "a=rtcp-xr:voip-metrics rcvr-rtt=all\r\n", Extended { metrics: true, round_trip: true }),
        ("a=rtcp-xr:voip-metrics\r\n", "a=rtcp-xr:voip-metrics\r\n", Extended { metrics: true, round_trip: false }),
        ("", "", Extended::default()),
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

#[test]
fn between_two_nothing_of_ours_is_said() {
    for (offer, answer) in [(ASKED, ""), (ASKED, ASKED), ("", "")] {
        let mut w = World::new().rings(&[B]);
        w.invite(A, "1001", Some(&(sdp(A) + offer)));
        let asked = w.asked(B, sip::Method::Invite);
        assert_eq!(body(&asked.message).contains("rtcp-xr"), !offer.is_empty());
        w.answer(B, &asked, 200, Some(&(sdp(B) + answer)));
        w.acked(B);
        assert_eq!(body(&w.got(A, 200)).contains("rtcp-xr"), !answer.is_empty());
        assert_eq!([0, 1].map(|n| terms(&w, n).extended), [Extended::default(); 2]);
    }
}
