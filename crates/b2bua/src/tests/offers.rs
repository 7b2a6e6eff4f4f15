//! Offers and answers with more than one line of audio in both directions (RFC 3264).

use super::kit::*;
use crate::Step;
use media::command::MediaCommand;
use media::sdp::Direction;
use sip::{Dialog, HeaderName, Method};

/// What the relay was told last about an end.
fn end(w: &World, n: u16) -> (Direction, Vec<u8>) {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. } if end.n == n => {
            Some((terms.direction, terms.payload_types.iter().collect()))
        }
        _ => None,
    };
    w.media.iter().rev().find_map(of).expect("the end was opened")
}

/// The `m=` lines of a body, without the words before their port.
fn media(body: &str) -> Vec<(String, u16)> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("m="));
    let parts = lines.map(|line| line.split_once(' ').unwrap());
    parts.map(|(kind, rest)| (kind.to_owned(), rest.split(' ').next().unwrap().parse().unwrap())).collect()
}

/// A change by `asker`, answered by `other`: what the other was offered, what the asker was answered.
pub(super) fn change(
    w: &mut World,
    (asker, dialog): (usize, &mut Dialog),
    other: usize,
    offer: &str,
    answer: &str,
) -> (String, String) {
    w.send(asker, dialog, Method::Invite, Some(offer));
    let asked = w.asked(other, Method::Invite);
    w.answer(other, &asked, 200, Some(answer));
    w.acked(other);
    w.settle(other, &asked);
    let ok = w.got(asker, 200);
    w.ack(asker, dialog, None);
    (body(&asked.message).to_owned(), body(&ok).to_owned())
}

#[test]
fn media_that_is_not_carried_is_declined_in_its_place() {
    let video = "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    let mut w = World::new().rings(&[B]);
    let offer = sdp(A).replace("m=audio", &format!("{video}m=audio")) + "m=application 5002 TCP/BFCP *\r\n";
    w.invite(A, "1001", Some(&offer));
    let asked = w.asked(B, Method::Invite);
    let kinds = |body: &str| media(body).into_iter().map(|(kind, port)| (kind, port != 0)).collect::<Vec<_>>();
    let expected = [("video".to_owned(), false), ("audio".to_owned(), true), ("application".to_owned(), false)];
    assert_eq!(kinds(body(&asked.message)), expected);
    // Whatever the callee makes of it, the caller's lines are its own.
    let answer = sdp(B).replace("m=audio", "m=video 0 RTP/AVP 96\r\nm=audio");
    w.answer(B, &asked, 200, Some(&answer));
    w.settle(B, &asked);
    let ok = w.got(A, 200);
    assert_eq!(kinds(body(&ok)), expected);
    let caller = Dialog::uac(ok.header(HeaderName::From).unwrap(), ok.call_id().unwrap(), 1, &ok).unwrap();
    w.ack(A, &caller, None);
    // The callee's next offer has as many as it was shown, though it names one.
    let mut callee = Dialog::uas(&asked.message, "phone1").unwrap();
    w.send(B, &mut callee, Method::Invite, Some(&answer));
    let asked = w.asked(A, Method::Invite);
    assert_eq!(kinds(body(&asked.message)), expected);
}

#[test]
fn audio_that_is_switched_off_comes_back() {
    for (asker, other) in [(A, B), (B, A)] {
        let mut w = World::new().rings(&[B]);
        let (caller, callee) = w.talk();
        let mut dialog = if asker == A { caller } else { callee };
        let off = |phone: usize| sdp(phone).replace(&format!("m=audio 4000{phone}"), "m=audio 0");
        let (offered, answered) = change(&mut w, (asker, &mut dialog), other, &off(asker), &off(other));
        assert_eq!((media(&offered)[0].1, media(&answered)[0].1), (0, 0));
        assert_eq!((end(&w, 0).0, end(&w, 1).0), (Direction::Inactive, Direction::Inactive));
        let (offered, answered) = change(&mut w, (asker, &mut dialog), other, &sdp(asker), &sdp(other));
        assert!(media(&offered)[0].1 != 0 && media(&answered)[0].1 != 0);
        assert_eq!((end(&w, 0).0, end(&w, 1).0), (Direction::SendRecv, Direction::SendRecv));
    }
}

#[test]
fn a_change_that_is_declined_by_port_0_takes_the_audio_away() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    let declined = sdp(B).replace("m=audio 40001", "m=audio 0");
    let (_, answered) = change(&mut w, (A, &mut caller), B, &sdp(A), &declined);
    assert_eq!(media(&answered)[0].1, 0);
    assert_eq!((end(&w, 0).0, end(&w, 1).0), (Direction::Inactive, Direction::Inactive));
    assert_eq!(w.calls.len(), 1);
}

#[test]
fn our_ports_stay_when_theirs_move() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk();
    // The same words under the same version first.
    let before = change(&mut w, (B, &mut callee), A, &sdp(B), &sdp(A));
    let moved = sdp(B).replace("m=audio 40001", "m=audio 40551");
    let after = change(&mut w, (B, &mut callee), A, &moved, &sdp(A));
    assert_eq!((media(&before.0), media(&before.1)), (media(&after.0), media(&after.1)));
    assert!(media(&before.1)[0].1 != 0);
}

#[test]
fn a_new_codec_is_let_through() {
    let mut w = World::new().rings(&[B]);
    let (_, mut callee) = w.talk();
    let with = |phone: usize| {
        sdp(phone).replace(" 0 8 101", " 9 111 0 101").replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:111 opus/48000/2")
    };
    let only = sdp(A).replace(" 0 8 101", " 111 101").replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:111 opus/48000/2");
    let (offered, answered) = change(&mut w, (B, &mut callee), A, &with(B), &only);
    assert!(offered.contains("9 111 0 101") && offered.contains("a=rtpmap:111 opus/48000/2"));
    assert!(answered.contains(" RTP/AVP 111 101"));
    assert_eq!(end(&w, 0).1, [0, 9, 101, 111]);
    assert_eq!(end(&w, 1).1, end(&w, 0).1);
}

#[test]
fn directions_are_turned_and_never_widened() {
    use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
    for (says, hears, told, ends) in [
        ("sendonly", "recvonly", "recvonly", (RecvOnly, SendOnly)),
        ("recvonly", "sendonly", "sendonly", (SendOnly, RecvOnly)),
        ("inactive", "inactive", "inactive", (Inactive, Inactive)),
        // It answers as if nobody held it.
        ("sendonly", "sendrecv", "recvonly", (RecvOnly, SendOnly)),
        ("inactive", "sendrecv", "inactive", (Inactive, Inactive)),
        // It holds, too.
        ("sendonly", "inactive", "inactive", (Inactive, Inactive)),
        ("sendrecv", "sendrecv", "sendrecv", (SendRecv, SendRecv)),
    ] {
        let mut w = World::new().rings(&[B]);
        let (mut caller, _) = w.talk();
        let (offered, answered) = change(&mut w, (A, &mut caller), B, &sdp_with(A, says), &sdp_with(B, hears));
        assert!(offered.contains(&format!("a={says}")) && answered.contains(&format!("a={told}")), "{says} {hears}");
        assert_eq!((end(&w, 0).0, end(&w, 1).0), ends, "{says} {hears}");
    }
}

#[test]
fn the_exchange_itself_can_be_switched_off() {
    let mut w = World::new().does(vec![Step::Echo]);
    w.invite(A, "*43", Some(&sdp(A)));
    let mut caller = w.caller(A);
    w.ack(A, &caller, None);
    for method in [Method::Invite, Method::Update] {
        w.send(A, &mut caller, method, Some(&sdp(A).replace("m=audio 40000", "m=audio 0")));
        assert_eq!(media(body(&w.got(A, 200)))[0].1, 0);
        if method == Method::Invite {
            w.ack(A, &caller, None);
        }
        assert_eq!(end(&w, 0).0, Direction::Inactive);
        w.send(A, &mut caller, Method::Update, Some(&sdp(A)));
        assert!(media(body(&w.got(A, 200)))[0].1 != 0);
        assert_eq!(end(&w, 0).0, Direction::SendRecv);
    }
}

#[test]
fn a_body_that_is_compressed_is_refused_as_such() {
    let mut w = World::new().rings(&[B]);
    let builder = w.invite_builder(A, "1001").header(HeaderName::ContentEncoding, "gzip");
    w.request(A, builder, Some("\u{1f}\u{8b}"));
    w.got(A, 415);
    assert_eq!(w.refusal, Some((415, "Unsupported Media Type: Accept-Encoding names what is read".to_owned())));
    let (mut caller, _) = w.talk();
    for (encoding, status) in [("gzip", 415), ("identity", 200)] {
        let builder = caller.request(Method::Invite).header(HeaderName::Contact, &contact(A));
        w.request(A, builder.header(HeaderName::ContentEncoding, encoding), Some(&sdp(A)));
        let answer = w.got(A, status);
        if status == 415 {
            assert_eq!(answer.header(HeaderName::AcceptEncoding), Some("identity"));
        }
    }
}

/// A refresh by INVITE whose description is the one that holds (RFC 4028 §7.2, RFC 3264 §8).
#[test]
fn an_offer_that_says_nothing_new_is_answered_here() {
    for asker in [A, B] {
        let mut w = World::new().rings(&[B]);
        let (caller, callee) = w.talk();
        let mut dialog = if asker == A { caller } else { callee };
        let before = w.media.len();
        w.sends(asker, &mut dialog, Method::Invite, Some(&sdp(asker)));
        assert!(w.try_asked(1 - asker, Method::Invite).is_none());
        let ok = w.got(asker, 200);
        assert_eq!((media(body(&ok)).len(), w.media.len()), (1, before), "media goes on as it was");
        w.ack(asker, &dialog, None);
        // Then something new is carried again, and what held before is new after it.
        for direction in ["sendonly", "sendrecv"] {
            let words = sdp_with(asker, direction);
            w.sends(asker, &mut dialog, Method::Invite, Some(&words));
            let asked = w.asked(1 - asker, Method::Invite);
            w.answer(1 - asker, &asked, 200, Some(&sdp(1 - asker)));
            w.acked(1 - asker);
            w.settle(1 - asker, &asked);
            w.got(asker, 200);
            w.ack(asker, &dialog, None);
        }
    }
}

const T38: &str = "m=image 4999 udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n";

fn fax(phone: usize, audio: bool) -> String {
    let speech = sdp(phone);
    let head = &speech[..speech.find("m=audio").unwrap()];
    let audio = if audio { "m=audio 0 RTP/AVP 8\r\n" } else { "" };
    format!("{head}{audio}{T38}")
}

/// Whether the relay was told that an end has a fax: no payload types, and a place to send to.
fn has_fax(w: &World, n: u16) -> bool {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Open { end, terms, .. } | MediaCommand::Latch { end, terms, .. } if end.n == n => {
            Some(terms.payload_types.is_empty() && terms.remote.is_some())
        }
        _ => None,
    };
    w.media.iter().rev().find_map(of).expect("the end was opened")
}

#[test]
fn a_fax_is_carried_between_two_that_speak_it() {
    for audio in [true, false] {
        let mut w = World::new().rings(&[B]);
        w.silence = Some(std::time::Duration::from_secs(30));
        let (mut caller, _) = w.talk();
        let (offered, answered) = change(&mut w, (A, &mut caller), B, &fax(A, audio), &fax(B, audio));
        for body in [offered, answered] {
            assert!(body.contains("a=T38FaxUdpEC:t38UDPRedundancy") && !body.contains("image 4999"), "{body}");
        }
        assert!(has_fax(&w, 0) && has_fax(&w, 1));
        let silence = w.media.iter().rev().find_map(|command| match command {
            MediaCommand::Latch { terms, .. } => Some(terms.silence.counts()),
            _ => None,
        });
        assert_eq!(silence, Some(false), "a page takes longer than silence may last");
        change(&mut w, (A, &mut caller), B, &sdp(A), &sdp(B));
        assert!(!has_fax(&w, 0) && !has_fax(&w, 1));
        assert_eq!(end(&w, 0).1, [0, 8, 101]);
    }
}

#[test]
fn a_fax_that_is_refused_changes_nothing() {
    let mut w = World::new().rings(&[B]);
    let (mut caller, _) = w.talk();
    let before = w.media.len();
    w.send(A, &mut caller, Method::Invite, Some(&fax(A, true)));
    let asked = w.asked(B, Method::Invite);
    w.answer(B, &asked, 488, None);
    w.got(A, 488);
    assert_eq!((w.media.len(), w.calls.len()), (before, 1));
}

#[test]
fn a_call_may_begin_as_a_fax_and_the_exchange_takes_none() {
    let mut w = World::new().rings(&[B]);
    w.invite(A, "1001", Some(&fax(A, false)));
    let asked = w.asked(B, Method::Invite);
    assert!(body(&asked.message).contains("a=T38FaxVersion:0"));
    w.answer(B, &asked, 200, Some(&fax(B, false)));
    w.settle(B, &asked);
    assert!(body(&w.got(A, 200)).contains(" udptl t38"));
    assert!(has_fax(&w, 0) && has_fax(&w, 1));
    let mut w = World::new().does(vec![Step::Echo]);
    w.invite(A, "*43", Some(&fax(A, false)));
    w.got(A, 488);
}
