//! Phones and trunks that break the rules of a call that they are part of.

use super::{Letter, asking, description, final_status, lines};
use crate::flows::{SEEDS, connect, millis, office, secs, talking, wait};
use sip::{HeaderName, Message, Method};
use tests::sim::{Do, Heard, World, for_seeds};

/// An answer of the phone that has this INVITE, by hand.
fn answer(invite: &Message, status: &str, tag: &str, kind: &str, body: &str) -> String {
    let header = |name| invite.header(name).expect("an INVITE of ours has it");
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag={tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:102@198.51.100.2>\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        header(HeaderName::Via),
        header(HeaderName::From),
        header(HeaderName::To),
        header(HeaderName::CallId),
        header(HeaderName::CSeq),
        body.len()
    )
}

/// CVE-2021-21375: negotiation fails twice before the answer.
#[test]
fn two_183_whose_negotiation_fails_end_or_go_on_and_break_nothing() {
    let none =
        description("198.51.100.2").replace("RTP/AVP 8 0", "RTP/AVP 97").replace("rtpmap:8 PCMA", "rtpmap:97 X-OWN");
    let bodies =
        [none, "v=0\r\n".into(), "nonsense".into(), description("198.51.100.2").replace("audio 40000", "audio 0")];
    for_seeds(SEEDS, |seed| {
        for body in &bodies {
            for tags in [["one", "one"], ["one", "two"]] {
                let (mut world, [ann, bob]) = office(seed);
                world.phone_mut(bob).habits.when_called.clear();
                world.tell(ann, Do::call("102"));
                wait(&mut world, 3, |world| lines(world, bob) == 1);
                let (invite, source) = (world.line(bob).invite.clone().unwrap(), world.at_phone(bob).address);
                for tag in tags {
                    world.send_by_hand(source, &answer(&invite, "183 Session Progress", tag, "application/sdp", body));
                }
                world.tell(bob, Do::Answer);
                world.pass(secs(2));
                world.finish();
            }
        }
    });
}

/// CVE-2021-31878.
#[test]
fn a_reinvite_without_a_description_after_bye_is_481() {
    for_seeds(SEEDS, |seed| {
        for wait_for in [0, 20, 2_000, 90_000] {
            let (mut world, ann, bob) = talking(seed);
            let source = world.at_phone(bob).address;
            let late = Letter::inside(&world, bob, Method::Invite, source);
            let mut bye = Letter::inside(&world, bob, Method::Bye, source);
            bye.cseq = late.cseq.clone();
            world.post(source, &bye.text());
            world.pass(millis(wait_for));
            let mut late = Letter { cseq: (late.cseq.parse::<u32>().unwrap() + 1).to_string(), ..late };
            late.branch.push('l');
            let answers = late.send(&mut world);
            let to_it = |answer: &&Heard| answer.header(HeaderName::CSeq).is_some_and(|cseq| cseq.ends_with(" INVITE"));
            let status = answers.iter().rfind(to_it).map_or(0, |answer| answer.status);
            assert_eq!(status, 481, "{wait_for} ms after the BYE");
            wait(&mut world, 3, |world| world.is_over(ann));
            world.finish();
        }
    });
}

/// A phone that asks us for our credentials gets none (ES2021-05): there is nothing that would answer.
#[test]
fn a_phone_that_challenges_our_requests_learns_no_credentials() {
    for_seeds(SEEDS, |seed| {
        for status in [401, 407] {
            let (mut world, [ann, bob]) = office(seed);
            world.phone_mut(bob).habits.when_called.clear();
            world.tell(ann, Do::call("102"));
            wait(&mut world, 3, |world| lines(world, bob) == 1);
            let (invite, source) = (world.line(bob).invite.clone().unwrap(), world.at_phone(bob).address);
            let text = answer(&invite, &format!("{status} Who Are You"), "x", "text/plain", "");
            let challenge = "Digest realm=\"office.example\", nonce=\"x\", algorithm=MD5, qop=\"auth\"";
            let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
            let text = text.replace("Content-Type: text/plain", &format!("{name}: {challenge}"));
            // The kit's laws end the test when a request of ours carries credentials.
            world.post(source, &text);
            wait(&mut world, 5, |world| world.is_over(ann));
            assert_eq!(lines(&world, bob), 1, "it is not asked again");
            world.tell(bob, Do::Refuse(486));
            world.finish();
        }
    });
}

/// ES2018-01: a SUBSCRIBE with more Accept values than anybody has room for.
#[test]
fn a_subscribe_with_any_number_of_accepts_is_answered() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.phone("102");
        let source = world.at_phone(ann).address;
        for (n, count) in [1, 31, 32, 33, 100, 250].into_iter().enumerate() {
            let mut letter = Letter::new("SUBSCRIBE", source, n as u32)
                .with("Event", "presence")
                .with("Expires", "0")
                .with("Contact", &format!("<sip:101@{source}>"));
            for accept in 0..count {
                letter = letter.with("Accept", &format!("application/x-{accept}+xml"));
            }
            let letter = letter.with("Accept", "application/pidf+xml");
            let asked = letter.send(&mut world);
            let answers = if final_status(&asked) == 401 {
                letter.proving(asking(&asked), "office-101").send(&mut world)
            } else {
                asked
            };
            let status = answers.iter().map(|answer| answer.status).find(|status| *status >= 200);
            assert!(matches!(status, Some(200 | 400 | 413 | 513)), "{count} values: {status:?}");
        }
        world.pass(secs(60));
        world.finish();
    });
}

/// A call goes on whatever its parties ask in it.
#[test]
fn requests_that_make_no_sense_in_a_call_do_not_end_it() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        connect(&mut world, ann, bob, "102");
        let source = world.at_phone(bob).address;
        let dialog = |world: &World| world.line(bob).dialog().unwrap().clone();
        for (n, method) in [
            Method::Prack,
            Method::Refer,
            Method::Notify,
            Method::Publish,
            Method::Register,
            Method::Message,
            Method::Subscribe,
            Method::Info,
        ]
        .into_iter()
        .enumerate()
        {
            let mut dialog = dialog(&world);
            dialog.local_cseq += n as u32;
            let letter = Letter::of_dialog(dialog, method, source).with("Content-Type", "x/y");
            let status = Letter { body: "\0`".repeat(500), ..letter }.status(&mut world);
            assert!((400..700).contains(&status), "{method:?}: {status}");
        }
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

/// RFC 5621, and ES2017-02: the description lies between boundaries that a careless reader stumbles over.
#[test]
fn an_offer_among_several_parts_is_found_whatever_the_boundary() {
    for_seeds(SEEDS, |seed| {
        for boundary in ["`", "a`b`", "--", "'()+_,-./:=?", "x"] {
            let (mut world, [ann, bob]) = office(seed);
            let source = world.at_phone(ann).address;
            let mut letter = Letter::new("INVITE", source, 1).with("Contact", &format!("<sip:101@{source}>"));
            letter = letter.with("Content-Type", &format!("multipart/mixed;boundary=\"{boundary}\""));
            letter.body = format!(
                "--{boundary}\r\nContent-Type: application/isup;version=x\r\n\r\n\u{1}\r\n--{boundary}\r\n\
                 Content-Type: application/sdp\r\n\r\n{}\r\n--{boundary}--\r\n",
                description("198.51.100.1")
            );
            let asked = letter.send(&mut world);
            let invite = letter.proving(asking(&asked), "office-101");
            assert_eq!(final_status(&invite.send(&mut world)), 0, "{boundary}");
            let told = world.line(bob).invite.clone().unwrap();
            assert_eq!(told.content_type(), Some("application/sdp"));
            assert!(!told.body().contains(&1), "nothing but the description is carried");
            world.tell(bob, Do::Answer);
            world.pass(secs(1));
            let answered = world.heard_by_hand(source);
            let ok = answered.iter().find(|answer| answer.status == 200).expect("it is answered");
            assert!(ok.message.as_ref().unwrap().body().starts_with(b"v=0"));
            world.pass(secs(60));
            world.finish();
        }
    });
}

/// What has no boundaries, or too much between them, is refused.
#[test]
fn several_parts_that_cannot_be_told_apart_are_refused() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let source = world.at_phone(ann).address;
        let many = "--`\r\n\r\n\r\n".repeat(1_000) + "--`--";
        let level = |n: u8| format!("--{n}\r\nc:multipart/mixed;boundary={}\r\n\r\n", n + 1);
        let deep = (0..100).map(level).collect::<Vec<_>>().concat();
        let bodies = [
            ("multipart/mixed", "--`--", 400),
            ("multipart/mixed;boundary=`", "v=0", 400),
            ("multipart/mixed;boundary=`", "--`", 400),
            ("multipart/mixed;boundary=`", &many, 400),
            ("multipart/mixed;boundary=0", &deep, 400),
            ("multipart/mixed;boundary=`", "--`\r\nc:a/b\r\n\r\n?\r\n--`--", 415),
            ("multipart/signed;boundary=`", "--`--", 415),
        ];
        for (n, (kind, body, status)) in bodies.into_iter().enumerate() {
            let mut letter = Letter::new("INVITE", source, n as u32).with("Contact", &format!("<sip:101@{source}>"));
            letter = letter.with("Content-Type", kind);
            letter.body = body.to_owned();
            let asked = letter.send(&mut world);
            let answers = letter.proving(asking(&asked), "office-101").send(&mut world);
            assert_eq!(final_status(&answers), status, "{kind} {body:.100}");
        }
        assert_eq!(lines(&world, bob), 0);
        world.finish();
    });
}
