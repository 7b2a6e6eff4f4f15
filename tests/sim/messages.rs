//! MESSAGE between users of an account (RFC 3428).

use crate::flows::{SEEDS, office, secs, talking, wait};
use crate::hostile::Letter;
use sip::{HeaderName, Method};
use tests::sim::{Do, PhoneId, Site, World, for_seeds};

fn send(world: &mut World, from: PhoneId, number: &str, text: &str) -> u16 {
    let before = world.at_phone(from).messages.statuses.len();
    world.tell(from, Do::Message { number: number.to_owned(), text: text.to_owned() });
    wait(world, 5, |world| world.at_phone(from).messages.statuses.len() > before);
    world.pass(secs(1));
    world.at_phone(from).messages.statuses[before]
}

#[test]
fn a_message_reaches_all_devices_of_a_user_and_nobody_else() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let second = world.add(Site::new("102").second_device());
        let shop = world.account("shop");
        let eve = world.add(Site::new("102").of(shop));
        world.register(&[second, eve]);
        assert_eq!(send(&mut world, ann, "102", "Hello"), 200);
        for phone in [bob, second] {
            let told = [("sip:101@office.example".to_owned(), "Hello".to_owned())];
            assert_eq!(world.at_phone(phone).messages.taken, told);
        }
        assert!(world.at_phone(eve).messages.taken.is_empty());
        assert!(world.finish().is_empty());
    });
}

#[test]
fn a_message_that_cannot_be_carried_is_refused() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let absent = world.phone("103");
        assert_eq!(send(&mut world, ann, "199", "Hello"), 404);
        assert_eq!(send(&mut world, ann, "103", "Hello"), 480);
        assert_eq!(send(&mut world, ann, "102", &"x".repeat(1_001)), 413);
        world.phone_mut(ann).identity.password = Some("guessed".into());
        assert_eq!(send(&mut world, ann, "102", "Hello"), 401);
        assert!([bob, absent].iter().all(|&phone| world.at_phone(phone).messages.taken.is_empty()));
        world.finish();
    });
}

/// What a message may be made of is told to users alone, and to them with what is carried (RFC 3261 §8.2.3).
#[test]
fn a_message_of_several_parts_is_refused_with_what_is_carried() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let letter = Letter::new("MESSAGE", world.at_phone(ann).address, 1);
        let letter = letter.with("Content-Type", "multipart/mixed;boundary=b");
        let body =
            "--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\nContent-Type: image/png\r\n\r\n?\r\n--b--\r\n";
        let letter = Letter { body: body.to_owned(), ..letter };
        let asked = letter.send(&mut world).pop().unwrap();
        assert_eq!((asked.status, asked.header(HeaderName::Accept)), (401, None));
        let refused = letter.proving(&asked, "office-101").send(&mut world).pop().unwrap();
        let accept = refused.header(HeaderName::Accept).unwrap_or_default();
        assert_eq!((refused.status, accept.starts_with("text/plain")), (415, true), "{accept}");
        assert!(world.at_phone(bob).messages.taken.is_empty());
        world.finish();
    });
}

#[test]
fn whom_it_is_for_may_have_to_be_looked_up_and_costs_no_second_challenge() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.user("150");
        for (number, status) in [("150", 480), ("151", 404)] {
            // The nonce of its registration is used up, and nobody is known any more.
            world.restart();
            let before = world.at_phone(ann).messages.challenges;
            assert_eq!(send(&mut world, ann, number, "Hello"), status);
            assert_eq!(world.at_phone(ann).messages.challenges, before + 1, "{number}");
        }
        world.finish();
    });
}

#[test]
fn a_message_inside_a_call_is_for_who_is_there() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        let source = world.at_phone(bob).address;
        let letter = Letter::inside(&world, bob, Method::Message, source).with("Content-Type", "text/plain");
        let letter = Letter { body: "Hello".to_owned(), ..letter };
        assert_eq!(letter.status(&mut world), 200);
        assert_eq!(world.at_phone(ann).messages.taken.len(), 1);
        assert_eq!(world.at_phone(ann).messages.taken[0].1, "Hello");
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn each_kind_of_message_is_carried() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let source = world.at_phone(ann).address;
        for (n, kind) in ["text/html", "application/im-iscomposing+xml", "message/cpim"].into_iter().enumerate() {
            let letter = Letter::new("MESSAGE", source, n as u32).with("Content-Type", kind);
            let letter = Letter { body: "<b>Hello</b>".to_owned(), forwards: 9, ..letter };
            let asked = letter.send(&mut world);
            assert_eq!(letter.proving(asked.last().unwrap(), "office-101").status(&mut world), 200, "{kind}");
            let came = &world.at_phone(bob).messages.requests[n];
            assert_eq!((came.content_type(), came.max_forwards()), (Some(kind), Ok(Some(8))));
        }
        world.finish();
    });
}
