//! Services of RFC 5359, and registrations of RFC 3665, that no other flow plays.

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use tests::sim::{Do, Site, World, for_seeds};

/// RFC 3665 §2.2 and §2.3: a user has a second device, and asks which there are.
#[test]
fn a_phone_asks_which_devices_are_bound() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let desk = world.phone("101");
        let mobile = world.add(Site::new("101").tcp().second_device());
        let asked = |world: &mut World| {
            world.tell(desk, Do::AskBindings);
            wait(world, 3, |world| !world.at_phone(desk).registration.asking);
            let answer = world.at_phone(desk).registration.answers.last().cloned().expect("it was answered");
            answer.values(sip::HeaderName::Contact).map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(asked(&mut world).is_empty());
        world.register(&[desk]);
        let one = asked(&mut world);
        assert!(
            matches!(&one[..], [contact] if contact.starts_with("<sip:101@198.51.100.1:5060>;expires=")),
            "{one:?}"
        );
        world.register(&[mobile]);
        let both = asked(&mut world);
        assert!(both.len() == 2 && both.iter().any(|contact| contact.contains("transport=tcp")), "{both:?}");
        world.finish();
    });
}

/// RFC 5359 §2.2: somebody is held while another one is asked, and talked to again.
#[test]
fn consultation_hold() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        connect(&mut world, ann, bob, "102");
        world.tell(bob, Do::Hold);
        wait(&mut world, 3, |world| !world.hears(bob, ann) && world.hears(ann, bob));
        connect(&mut world, bob, carl, "103");
        assert!(world.line(ann).talks() && !world.hears_on((bob, 0), (ann, 0)));
        world.tell(bob, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(bob) && world.is_over(carl));
        world.tell_line(bob, 0, Do::Resume);
        wait(&mut world, 3, |world| world.hears_on((bob, 0), (ann, 0)) && world.hears_on((ann, 0), (bob, 0)));
        world.pass(secs(40));
        assert!(world.at_phone(bob).lines[0].talks());
        assert_eq!(world.finish().len(), 2);
    });
}

/// RFC 5359 §2.17: who was told that somebody is busy watches him, and calls again when he is free.
#[test]
fn automatic_redial() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        connect(&mut world, bob, carl, "103");
        world.phone_mut(bob).habits.when_called = vec![(millis(50), Do::Refuse(486))];
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(486));
        world.tell(ann, Do::watch("102"));
        wait(&mut world, 3, |world| world.lamp(ann, "102") == "busy");
        world.tell_in(secs(20), carl, Do::HangUp);
        wait(&mut world, 30, |world| world.lamp(ann, "102") == "idle");
        world.phone_mut(bob).habits.when_called = vec![(millis(50), Do::Ring), (secs(1), Do::Answer)];
        world.tell(ann, Do::call("102"));
        wait(&mut world, 4, |world| world.talk(ann, bob));
        assert_eq!(world.finish().len(), 3);
    });
}

/// Some phones transfer by changes of media alone: they hold one party, call another, and then tell each side the address that
/// we told them for the other (RFC 3725 §4). Both hear each other through us. Their phone stays in both calls, so the records
/// have both, and each ends when one of its own two sides says so.
#[test]
fn a_phone_joins_two_calls_by_telling_each_of_the_other() {
    for_seeds(SEEDS, |seed| {
        for ends in 0..4 {
            let (mut world, [ann, bob, carl]) = office(seed);
            connect(&mut world, ann, bob, "102");
            world.tell(bob, Do::Hold);
            wait(&mut world, 3, |world| !world.hears(bob, ann) && world.hears(ann, bob));
            connect(&mut world, bob, carl, "103");
            let told = [0, 1].map(|line| world.at_phone(bob).lines[line].session.remote().expect("both talk"));
            // It says nothing itself any more.
            world.phone_mut(bob).habits.speaks = false;
            for (line, other) in [(0, told[1]), (1, told[0])] {
                world.phone_mut(bob).lines[line].session.address = other;
                world.tell_line(bob, line, Do::Resume);
            }
            let joined = |world: &World| world.hears_on((carl, 0), (ann, 0)) && world.hears_on((ann, 0), (carl, 0));
            wait(&mut world, 5, joined);
            // For longer than anybody may be silent.
            world.pass(secs(90));
            assert!(joined(&world) && world.line(ann).talks() && world.line(carl).talks());
            match ends {
                // Whoever hangs up, the phone between them is told, and lets the other go.
                1 => world.tell(carl, Do::HangUp),
                2 => (0..2).for_each(|line| world.tell_line(bob, line, Do::HangUp)),
                // The last time the phone forgets to let the other go: who hears nobody any more is let go all the same.
                _ => world.tell(ann, Do::HangUp),
            }
            let over = |world: &World, line: usize| world.at_phone(bob).lines[line].is_over();
            if ends < 2 {
                wait(&mut world, 3, |world| over(world, ends));
                assert!(!over(&world, 1 - ends));
                world.tell_line(bob, 1 - ends, Do::HangUp);
            }
            wait(&mut world, if ends == 3 { 60 } else { 3 }, |world| world.is_over(ann) && world.is_over(carl));
            wait(&mut world, 3, |world| over(world, 0) && over(world, 1));
            let records = world.finish();
            let numbers = |cdr: &books::Cdr| (cdr.from.number.as_str().to_owned(), cdr.to.number.as_str().to_owned());
            let of = |from: &str, to: &str| (from.to_owned(), to.to_owned());
            assert_eq!(records.iter().map(numbers).collect::<Vec<_>>(), [of("101", "102"), of("102", "103")]);
        }
    });
}
