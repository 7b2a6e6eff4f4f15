//! Who somebody is: what a name costs to ask about, whose credentials count, and whom wrong passwords keep waiting.

use super::{Letter, asking, stranger};
use crate::flows::{SEEDS, connect, secs};
use registrar::AlgorithmPolicy;
use sip::HeaderName;
use sip::digest::Ha1;
use std::net::SocketAddr;
use std::time::Duration;
use switch::view::BanView;
use switch::{Command, Reply};
use tests::sim::{Do, Heard, PhoneId, Site, World, for_seeds};
use words::UserId;

const CONTACT: &str = "<sip:101@198.51.100.66>";
/// How many seeds a flow runs with that takes an hour.
const FEW: u64 = 4;
const OUTER: &str = "Digest username=\"ann\", realm=\"outer.example\", nonce=\"abc\", uri=\"sip:102@office.example\", \
                     response=\"0123456789abcdef0123456789abcdef\"";

/// What a letter cost: the time until its answer, and questions to the directory. And the answer.
fn cost(world: &mut World, letter: &Letter) -> (Duration, u32, Heard) {
    let (began, asked) = (world.now(), world.directory.questions);
    world.post(letter.source, &letter.text());
    loop {
        let answer = world.heard_by_hand(letter.source).into_iter().find(|heard| heard.status >= 200);
        if let Some(answer) = answer {
            return (world.now().since(began), world.directory.questions - asked, answer);
        }
        world.pass(Duration::from_micros(50));
        assert!(world.now().since(began) < secs(5), "no answer to {}", letter.text());
    }
}

/// Asks with a name, guesses with it, guesses once more, comes with a nonce that is none of ours, with a realm that is
/// none, and with an answer that could be used again.
fn sound_out(world: &mut World, letter: &Letter, user: &str) -> Vec<(Duration, u32, u16)> {
    let (time, questions, asked) = cost(world, letter);
    let mut costs = vec![(time, questions, asked.status)];
    let guess = letter.proving(&asked, user);
    let right = guess.more.clone();
    let changes = [
        ("nc=00000001", "nc=00000002"),
        ("nc=00000001", "nc=00000003"),
        ("nonce=\"", "nonce=\"0"),
        ("realm=\"", "realm=\"x"),
        (", qop=auth", ""),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let mut guess = guess.clone();
        guess.branch.push_str(&n.to_string());
        guess.more = right.replacen(change.0, change.1, 1);
        let (time, questions, answer) = cost(world, &guess);
        costs.push((time, questions, answer.status));
    }
    costs
}

/// Users who were here lately, users whom only the directory knows, and names that nobody has, asked about for the first
/// time and again: an answer takes the same time for each, and the same questions.
#[test]
fn a_name_costs_the_same_whoever_has_it() {
    for_seeds(SEEDS, |seed| {
        for accounts in [1, 2] {
            for host in ["office.example", "192.0.2.10"] {
                let mut world = World::new(seed);
                let ann = world.phone("101");
                world.user("103");
                if accounts == 2 {
                    world.account("shop");
                }
                world.register(&[ann]);
                // The accounts themselves are known by then.
                let mut letter = Letter::register(stranger(), CONTACT, 999);
                letter.to = format!("<sip:office-101@{host}>");
                letter.uri = format!("sip:{host}");
                letter.send(&mut world);
                let names = ["office-101", "office-103", "office-199", "office-199", "office-103", "office-101"];
                let mut costs = Vec::new();
                for (n, name) in (0..).zip(names) {
                    // Each from an address of its own: wrong answers are counted by address.
                    let source = SocketAddr::from(([203, 0, 113, 10 + n as u8], 5060));
                    let mut letter = Letter::register(source, CONTACT, n);
                    letter.to = format!("<sip:{name}@{host}>");
                    letter.uri = format!("sip:{host}");
                    costs.push(sound_out(&mut world, &letter, name));
                }
                assert!(costs.iter().all(|one| one == &costs[0]), "{accounts} accounts, {host}: {costs:#?}");
                assert_eq!(costs[0].iter().map(|cost| cost.2).collect::<Vec<_>>(), [401, 401, 401, 401, 401, 400]);
            }
        }
    });
}

/// The same for whom a request is about: a stranger with made-up credentials learns nothing of numbers either.
#[test]
fn a_number_costs_the_same_whether_it_exists() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        let mut costs = Vec::new();
        for (n, number) in (0..).zip(["102", "103", "199", "102"]) {
            for (method, uri) in
                [("MESSAGE", number.to_owned()), ("SUBSCRIBE", number.to_owned()), ("INVITE", format!("**{number}"))]
            {
                let source = SocketAddr::from(([203, 0, 113, 10 + n as u8], 5060));
                let mut letter = Letter::new(method, source, n).with("Event", "dialog").with("Contact", CONTACT);
                letter.uri = format!("sip:{uri}@office.example");
                letter.to = format!("<{}>", letter.uri);
                costs.push((method, sound_out(&mut world, &letter, "office-199")));
            }
        }
        let first: Vec<_> = costs[..3].to_vec();
        assert!(costs.chunks(3).all(|chunk| chunk == first), "{costs:#?}");
        // Who is somebody is served although its request had to wait for the directory after its password was right.
        let mut message = Letter::new("MESSAGE", world.at_phone(ann).address, 77).with("Content-Type", "text/plain");
        (message.uri, message.body) = ("sip:198@office.example".to_owned(), "hello".to_owned());
        let asked = message.send(&mut world).pop().unwrap();
        assert_eq!(message.proving(&asked, "office-101").status(&mut world), 404);
    });
}

/// One that stumbles over a second challenge never sees one, and to know that takes no look at its user.
#[test]
fn a_device_is_asked_with_what_it_was_set_to_from_the_first_time_on() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, _) = (world.phone("101"), world.phone("102"));
        let user = world.user_of(ann);
        world.directory.change_user(user, |user| user.algorithms = AlgorithmPolicy::Md5Only);
        let mut asked = |n: u32, name: &str| {
            let mut letter = Letter::register(stranger(), CONTACT, n).with("User-Agent", &"x".repeat(200));
            letter.to = format!("<sip:{name}@office.example>");
            let answer = letter.send(&mut world).pop().unwrap().message.unwrap();
            answer.headers(HeaderName::WwwAuthenticate).count()
        };
        let names = ["101", "office-101", "102", "office-102", "199"];
        let counts: Vec<usize> = (0..).zip(names).map(|(n, name)| asked(n, name)).collect();
        assert_eq!(counts, [1, 1, 3, 3, 3]);
        world.register(&[ann]);
        // Nobody but who answered was looked up.
        assert!(world.directory.questions <= 3, "{} questions", world.directory.questions);
    });
}

/// RFC 3261 §8.2.7: its credentials are used up, and it is not asked for others.
#[test]
fn who_has_proven_who_he_is_hears_the_same_again() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        let home = world.at_phone(ann).address;
        for (n, method) in ["MESSAGE", "SUBSCRIBE", "INVITE"].into_iter().enumerate() {
            let letter = Letter::new(method, home, n as u32).with("Contact", &format!("<sip:101@{home}>"));
            let letter = Letter { uri: "sip:999@office.example".to_owned(), ..letter };
            let letter = letter.with("Event", "dialog").with("Content-Type", "text/plain");
            let proven = letter.proving(asking(&letter.send(&mut world)), "office-101");
            let [first, again] = [0, 1].map(|_| proven.send(&mut world).pop().unwrap());
            assert!(first.status >= 400 && first.status != 401, "{method}: {}", first.status);
            assert_eq!(first.bytes, again.bytes, "{method}");
        }
        world.finish();
    });
}

/// RFC 3261 §22.3.
#[test]
fn credentials_for_other_realms_are_left_alone() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        let home = world.at_phone(ann).address;
        // A proxy on the way asked in the style of RFC 2069: to us it is as if there were none.
        let invite = Letter::new("INVITE", home, 1).with("Proxy-Authorization", OUTER).describing("198.51.100.1");
        let answer = invite.send(&mut world).into_iter().find(|heard| heard.status >= 200).unwrap();
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(!answer.header(HeaderName::WwwAuthenticate).unwrap().contains("stale"));
        // Before ours, after ours, and many of them.
        for n in 0..15 {
            let letter = Letter::register(home, "<sip:101@198.51.100.1>", 10 + n);
            let asked = letter.send(&mut world).pop().unwrap();
            let mut proven = letter.proving(&asked, "office-101");
            let ours = proven.more.clone();
            let outer = format!("Authorization: {OUTER}\r\n");
            proven.more = if n % 2 == 0 { outer + &ours } else { ours + &outer };
            assert_eq!(proven.status(&mut world), 200, "{}", proven.text());
        }
        assert_eq!(world.counter("auth_failures"), 0);
        world.finish();
    });
}

/// RFC 3261 §8.2.6.2, §8.2.7: what is answered without a memory is answered the same.
#[test]
fn a_request_that_comes_again_gets_the_same_tag() {
    let tag = |heard: &Heard| heard.message.as_ref().unwrap().to_tag().unwrap().to_owned();
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        world.phone("101");
        let letters = [
            Letter::register(stranger(), CONTACT, 1),
            Letter::new("INVITE", stranger(), 2).describing("198.51.100.66"),
            Letter::new("OPTIONS", stranger(), 3),
            Letter::new("MESSAGE", stranger(), 4),
            Letter::new("REFER", stranger(), 5),
            Letter::new("REGISTER", stranger(), 6).with("Require", "no-such-thing"),
        ];
        let mut tags = Vec::new();
        for letter in letters {
            let [first, second] = [0, 1].map(|_| letter.send(&mut world).pop().unwrap());
            assert!(first.status >= 200 && first.status == second.status, "{first:?}");
            assert_eq!(tag(&first), tag(&second), "{}", letter.text());
            let mut other = letter;
            other.branch.push('x');
            tags.extend([tag(&first), tag(&other.send(&mut world).pop().unwrap())]);
        }
        let all = tags.len();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), all, "another request has another tag");
    });
}

/// Phones that know our bare address ask with their extension first, which may be a user name of another account.
#[test]
fn an_answer_to_another_accounts_challenge_is_no_wrong_password() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let shop = world.account("shop");
        let (ann, _) = (world.phone("101"), world.add(Site::new("101").of(shop)));
        let user = world.user_of(ann);
        world.directory.change_user(user, |user| {
            user.auth_user = "101".into();
            user.ha1 = Ha1::new("101", "office.example", "secret of 101");
        });
        let realm = |heard: &Heard| {
            let challenge = heard.header(HeaderName::WwwAuthenticate).expect("it is asked who it is").to_owned();
            challenge.split('"').nth(1).unwrap().to_owned()
        };
        for n in 0..15 {
            let source = SocketAddr::from(([203, 0, 113, 4], 5060 + n as u16));
            let mut letter = Letter::register(source, &format!("<sip:101@192.168.0.{n}>"), n);
            (letter.uri, letter.to) = ("sip:192.0.2.10".to_owned(), "<sip:101@192.0.2.10>".to_owned());
            let first = letter.send(&mut world).pop().unwrap();
            assert_eq!(realm(&first), "office.example");
            let second = letter.proving(&first, "shop-101").send(&mut world).pop().unwrap();
            assert_eq!((second.status, realm(&second).as_str()), (401, "shop.example"));
            let mut third = letter.proving(&second, "shop-101");
            third.branch.push('3');
            assert_eq!(third.status(&mut world), 200);
        }
        assert_eq!(world.counter("auth_failures"), 0);
        assert!(bans(&mut world).is_empty());
    });
}

fn bans(world: &mut World) -> Vec<BanView> {
    match world.command(Command::Bans) {
        Reply::Bans(bans) => bans,
        other => panic!("{other:?}"),
    }
}

/// Gives a user a new password, which one of its phones knows and the others do not.
fn reset(world: &mut World, user: UserId, knows: PhoneId) {
    let (account, auth_user) = (world.office, world.at_phone(knows).identity.auth_user.clone());
    let ha1 = Ha1::new(&auth_user, "office.example", "the new one");
    world.directory.change_user(user, |user| user.ha1 = ha1);
    world.phone_mut(knows).identity.password = Some("the new one".into());
    world.command(Command::UserRevoked { account, user, auth_user });
}

/// Behind one address: a desk phone that repeats the old password for an hour, the new phone of its user, and colleagues.
#[test]
fn an_old_password_keeps_neither_its_user_nor_an_office_waiting() {
    for_seeds(FEW, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (desk, carl) = (world.add(Site::new("101").behind(nat)), world.add(Site::new("103").behind(nat)));
        let new = world.add(Site::new("101").behind(nat).second_device());
        let colleagues = ["104", "105", "106"].map(|extension| world.add(Site::new(extension).behind(nat)));
        world.register(&[desk, carl]);
        let user = world.user_of(desk);
        reset(&mut world, user, new);
        for n in 0..360 {
            world.tell(desk, Do::Register(600));
            world.pass(secs(10));
            if n % 120 == 60 {
                let colleague = colleagues[n / 120];
                world.register(&[colleague]);
                assert_eq!(world.at_phone(colleague).registration.statuses(), [401, 200]);
            }
        }
        assert_eq!(world.at_phone(desk).registration.statuses().last(), Some(&403));
        world.register(&[new]);
        assert_eq!(world.at_phone(new).registration.statuses(), [401, 200]);
        world.register(&[carl]);
        // People see who is turned away, and may forgive it.
        let seen = bans(&mut world);
        assert!(seen.iter().any(|ban| ban.source == "203.0.113.1" && ban.user.is_none()), "{seen:?}");
        let source = "203.0.113.1".parse().unwrap();
        assert!(matches!(world.command(Command::Unban { source }), Reply::Done(true)));
        assert!(bans(&mut world).is_empty());
        assert!(matches!(world.command(Command::Unban { source }), Reply::Done(false)));
        world.finish();
    });
}

/// The same after a restart that outlived the binding: nothing is known but the store.
#[test]
fn an_old_password_keeps_nobody_waiting_after_a_restart() {
    for_seeds(FEW, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let desk = world.add(Site::new("101").behind(nat));
        let new = world.add(Site::new("101").behind(nat).second_device());
        world.register(&[new]);
        world.unplug(new);
        world.pass(secs(400));
        world.restart();
        assert!(world.bound().is_empty());
        world.phone_mut(desk).identity.password = Some("the old one".into());
        for _ in 0..60 {
            world.tell(desk, Do::Register(600));
            world.pass(secs(10));
        }
        world.plug(new);
        let before = world.at_phone(new).registration.statuses().len();
        world.tell(new, Do::Register(600));
        world.pass(secs(2));
        // Its nonce is from the process before.
        assert_eq!(world.at_phone(new).registration.statuses()[before..], [401, 200]);
        world.finish();
    });
}
