//! Answers to challenges that prove nothing.

use super::{Letter, stranger};
use crate::flows::{SEEDS, millis, office, secs};
use sip::HeaderName;
use std::net::SocketAddr;
use tests::sim::{Do, Heard, World, for_seeds};
use words::EndCause;

const CONTACT: &str = "<sip:101@198.51.100.1>";

fn home(world: &World, phone: tests::sim::PhoneId) -> SocketAddr {
    world.at_phone(phone).address
}

/// A REGISTER that was asked who it is, and its answer.
fn proven(world: &mut World, source: SocketAddr, n: u32) -> Letter {
    let letter = Letter::register(source, CONTACT, n);
    let asked = letter.send(world);
    letter.proving(asked.last().expect("strangers are asked"), "office-101")
}

#[test]
fn an_answer_that_was_overheard_is_worth_nothing() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        let home = home(&world, ann);
        let mut letter = proven(&mut world, home, 1);
        assert_eq!(letter.status(&mut world), 200);
        let sources = [stranger(), home];
        for (n, source) in sources.into_iter().enumerate() {
            for again in 0..3 {
                letter.branch = format!("z9hG4bKagain{n}{again}");
                letter.cseq = (10 + n * 10 + again).to_string();
                letter.source = source;
                letter.more = letter.more.replace(CONTACT, "<sip:101@198.51.100.66>");
                let answer = letter.send(&mut world).pop().unwrap();
                assert_eq!(answer.status, 401);
                let stale = answer.header(HeaderName::WwwAuthenticate).unwrap().contains("stale=true");
                assert!(stale, "the password was right, its nonce was used: {answer:?}");
            }
        }
        assert_eq!(world.bound().len(), 1);
        world.finish();
    });
}

#[test]
fn tricks_with_credentials_open_nothing() {
    let tricks: [(&str, &str); 22] = [
        ("nc=00000001", "nc=00000000"),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=ffffffffff"),
        (", nc=00000001", ""),
        ("qop=auth", "qop=auth-int"),
        (", qop=auth", ""),
        ("qop=auth", "qop=\"auth,auth-int\""),
        ("algorithm=MD5", "algorithm=none"),
        ("algorithm=MD5", "algorithm=MD5-sess"),
        ("algorithm=MD5", "algorithm=SHA-256"),
        ("algorithm=MD5", "algorithm=SHA-512-256-sess"),
        ("algorithm=MD5", "algorithm=\"\""),
        ("algorithm=MD5", "algorithm=AKAv1-MD5"),
        ("uri=\"sip:office.example\"", "uri=\"sip:shop.example\""),
        ("uri=\"sip:office.example\"", "uri=\"\""),
        ("uri=\"sip:office.example\"", "uri=\"*\""),
        ("username=\"office-101\"", "username=\"office-101\", username=\"office-102\""),
        ("username=\"office-101\"", "username=\"\""),
        ("realm=\"office.example\"", "realm=\"shop.example\""),
        ("response=\"", "response=\"0"),
        ("cnonce=\"c0ffee\"", "cnonce=\"\""),
        ("Digest ", "Basic "),
    ];
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        let source = home(&world, ann);
        for (n, (from, to)) in tricks.into_iter().enumerate() {
            let mut letter = proven(&mut world, source, n as u32);
            assert!(letter.more.contains(from), "{} has no {from}", letter.more);
            letter.more = letter.more.replacen(from, to, 1);
            let status = letter.status(&mut world);
            assert!(matches!(status, 400 | 401 | 403), "{from} -> {to}: {status}");
        }
        assert!(world.bound().is_empty());
    });
}

#[test]
fn credentials_that_no_parser_expects_are_refused() {
    let long = format!("Digest username=\"{}\"", "a".repeat(4_000));
    let many = format!("Digest {}", "a=b,".repeat(1_000));
    let values = [
        "Digest",
        "Digest ",
        "Digest ,,,,",
        "Digest username",
        "Digest username=",
        "Digest username=\"",
        "Digest username=\"\\",
        "Digest =\"x\"",
        "Digest username=\"office-101\" realm=\"office.example\"",
        "Digest username*=UTF-8''office-101, realm=\"office.example\"",
        "Negotiate AAAA",
        ":::",
        &long,
        &many,
    ];
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        let source = home(&world, ann);
        for (n, value) in values.into_iter().enumerate() {
            for name in ["Authorization", "Proxy-Authorization"] {
                let mut letter = Letter::register(source, CONTACT, n as u32).with(name, value);
                letter.branch.push_str(name);
                letter.call_id.push_str(name);
                let status = letter.status(&mut world);
                assert!(matches!(status, 400 | 401 | 403), "{name}: {value}: {status}");
            }
        }
        assert!(world.bound().is_empty());
    });
}

#[test]
fn who_exists_is_not_told() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        world.phone("101");
        world.account("shop");
        let shape = |answer: &Heard| -> Vec<(String, usize)> {
            let answer = answer.message.as_ref().unwrap();
            answer.all_headers().map(|(_, name, value)| (name.to_owned(), value.len())).collect()
        };
        let mut shapes = Vec::new();
        for (n, user) in ["101", "199", "office-101", "office-199"].into_iter().enumerate() {
            let mut letter = Letter::register(stranger(), CONTACT, n as u32);
            letter.to = format!("<sip:{user:>10}@office.example>").replace(' ', "0");
            let (first, wrong) = ask_and_guess(&mut world, &letter, user);
            assert_eq!((first.status, wrong.status), (401, 401), "{user}");
            shapes.push((shape(&first), shape(&wrong)));
        }
        assert!(shapes.windows(2).all(|pair| pair[0] == pair[1]), "{shapes:#?}");
    });
}

fn ask_and_guess(world: &mut World, letter: &Letter, user: &str) -> (Heard, Heard) {
    let first = letter.send(world).pop().expect("strangers are asked");
    let mut guess = letter.proving(&first, user);
    guess.more = guess.more.replace("response=\"", "response=\"0");
    let wrong = guess.send(world).pop().expect("a guess is answered");
    (first, wrong)
}

/// RFC 3261 §22.1: an ACK cannot be challenged, so what was good for its INVITE is good for it, used nonce or not.
#[test]
fn the_credentials_of_an_invite_are_good_for_its_ack() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.phone_mut(bob).habits.when_called = vec![(millis(50), Do::Answer)];
        let home = home(&world, ann);
        let invite = Letter::new("INVITE", home, 1).with("Contact", CONTACT).describing("198.51.100.1");
        let asked = invite.send(&mut world);
        let proving = invite.proving(asked.last().unwrap(), "office-101");
        let answers = proving.send(&mut world);
        let ok: Vec<&Heard> = answers.iter().filter(|answer| answer.status == 200).collect();
        assert!(ok.len() > 1, "it is repeated until the ACK comes");
        let header = |name| ok[0].header(name).unwrap().to_owned();
        let ack = Letter {
            method: "ACK".to_owned(),
            uri: header(HeaderName::Contact).trim_matches(['<', '>']).to_owned(),
            to: header(HeaderName::To),
            branch: "z9hG4bKack".to_owned(),
            body: String::new(),
            ..proving
        };
        assert!(ack.more.contains("Authorization: Digest"));
        ack.send(&mut world);
        world.heard_by_hand(home);
        world.pass(secs(10));
        assert!(world.heard_by_hand(home).iter().all(|answer| answer.status != 200 && answer.status != 401));
        assert_eq!(world.status().calls, 1);
        world.tell(bob, Do::HangUp);
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
    });
}
