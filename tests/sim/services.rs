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
