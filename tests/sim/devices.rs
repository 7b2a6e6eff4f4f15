//! One device of several: GRUUs (RFC 5627), and flows of one device that fail (RFC 5626).

use crate::flows::{SEEDS, connect, millis, secs, wait};
use sip::HeaderName;
use tests::sim::{Do, PhoneId, Site, World, for_seeds};

const DESK: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
const HOME: &str = "urn:uuid:00000000-0000-1000-8000-aabbccddeeff";

/// Ann, and Bob with two devices that know GRUUs.
pub(crate) fn two_devices(seed: u64) -> (World, [PhoneId; 3]) {
    let mut world = World::new(seed);
    let (ann, desk) = (world.phone("101"), world.phone("102"));
    let home = world.add(Site::new("102").second_device());
    world.phone_mut(desk).habits.instance = Some((DESK, 1));
    world.phone_mut(home).habits.instance = Some((HOME, 1));
    world.register(&[ann, desk, home]);
    (world, [ann, desk, home])
}

#[test]
fn a_gruu_reaches_one_device() {
    for_seeds(SEEDS, |seed| {
        for kind in ["pub-gruu", "temp-gruu"] {
            let (mut world, [ann, desk, home]) = two_devices(seed);
            let gruu = world.at_phone(home).gruu(kind).unwrap();
            assert_eq!(kind == "pub-gruu", gruu.starts_with("sip:102@"), "{gruu}");
            world.tell(ann, Do::call(&gruu));
            wait(&mut world, 3, |world| world.rings(home));
            world.tell_in(millis(300), home, Do::Answer);
            wait(&mut world, 3, |world| world.talk(ann, home));
            assert!(world.at_phone(desk).lines.is_empty());
            assert_eq!(world.line(home).invite.as_ref().unwrap().to().unwrap().uri, "sip:102@office.example");
            world.tell(ann, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(home));
            // The number reaches both.
            world.tell(ann, Do::call("102"));
            wait(&mut world, 3, |world| world.rings(home) && world.rings(desk));
            world.finish();
        }
    });
}

#[test]
fn a_transfer_to_a_gruu_reaches_one_device() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, desk, home]) = two_devices(seed);
        let carl = world.phone("103");
        world.register(&[carl]);
        connect(&mut world, ann, carl, "103");
        let gruu = world.at_phone(desk).gruu("pub-gruu").unwrap();
        world.tell(carl, Do::transfer(&gruu));
        wait(&mut world, 3, |world| world.rings(desk));
        world.tell_in(millis(300), desk, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, desk));
        assert!(world.at_phone(home).lines.is_empty());
        world.finish();
    });
}

#[test]
fn a_message_to_a_gruu_reaches_one_device() {
    for_seeds(SEEDS, |seed| {
        for kind in ["pub-gruu", "temp-gruu"] {
            let (mut world, [ann, desk, home]) = two_devices(seed);
            let gruu = world.at_phone(home).gruu(kind).unwrap();
            let send = |world: &mut World, number: &str| {
                let before = world.at_phone(ann).messages.statuses.len();
                world.tell(ann, Do::Message { number: number.to_owned(), text: "Hello".to_owned() });
                wait(world, 5, |world| world.at_phone(ann).messages.statuses.len() > before);
                world.pass(secs(1));
                world.at_phone(ann).messages.statuses[before]
            };
            assert_eq!(send(&mut world, &gruu), 200, "{gruu}");
            let taken = |world: &World, phone| world.at_phone(phone).messages.taken.len();
            assert_eq!((taken(&world, desk), taken(&world, home)), (0, 1), "{gruu}");
            world.tell(home, Do::Unregister);
            world.pass(secs(1));
            let gone = format!("sip:102@office.example;gr={HOME}");
            for (uri, status) in [(gone.as_str(), 480), ("sip:tgruu.1@office.example;gr", 404)] {
                assert_eq!(send(&mut world, uri), status, "{uri}");
            }
            assert_eq!(taken(&world, desk), 0);
            world.finish();
        }
    });
}

/// What is told of a user names him, and a temporary name must not.
#[test]
fn a_gruu_is_watched_as_its_user_and_a_temporary_one_by_its_own_alone() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, desk, home]) = two_devices(seed);
        let gruu = |world: &World, kind| world.at_phone(home).gruu(kind).unwrap();
        let (public, temporary) = (gruu(&world, "pub-gruu"), gruu(&world, "temp-gruu"));
        for (watcher, uri, status) in [
            (ann, public.as_str(), 200),
            (ann, &temporary, 403),
            (desk, &temporary, 200),
            (ann, "sip:tgruu.1@office.example;gr", 404),
        ] {
            world.tell(watcher, Do::watch(uri));
            let answered = |world: &World| world.at_phone(watcher).watching().statuses().last().copied();
            wait(&mut world, 5, |world| answered(world).is_some_and(|status| status != 401));
            assert_eq!(answered(&world), Some(status), "{uri}");
        }
        world.finish();
    });
}

#[test]
fn a_gruu_of_nobody_is_told_so() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, desk, home]) = two_devices(seed);
        let temporary = world.at_phone(home).gruu("temp-gruu").unwrap();
        world.tell(home, Do::Unregister);
        world.pass(secs(1));
        let gone = format!("sip:102@office.example;gr={HOME}");
        let calls = [
            (gone.as_str(), 480),
            ("sip:199@office.example;gr=x", 404),
            (&temporary, 404),
            ("sip:tgruu.1@office.example;gr", 404),
        ];
        for (uri, status) in calls {
            world.tell(ann, Do::call(uri));
            wait(&mut world, 3, |world| world.is_over(ann));
            assert_eq!(world.line(ann).status(), Some(status), "{uri}");
        }
        assert!(world.at_phone(desk).lines.is_empty());
        world.finish();
    });
}

#[test]
fn where_one_flow_of_a_device_fails_the_other_rings() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, first) = (world.phone("101"), world.phone("102"));
        let second = world.add(Site::new("102").second_device());
        // Two addresses of one device: it registered by both.
        world.phone_mut(first).habits.instance = Some((DESK, 1));
        world.phone_mut(second).habits.instance = Some((DESK, 2));
        world.register(&[ann, first]);
        world.pass(millis(100));
        world.register(&[second]);
        let answer = world.at_phone(second).registration.answers.last().unwrap().clone();
        assert!(answer.has_token(HeaderName::Require, "outbound") && answer.has_token(HeaderName::Supported, "gruu"));
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(second));
        assert!(world.at_phone(first).lines.is_empty(), "one device, one call");
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(second));
        // A proxy on the way of the later flow says that it is gone.
        world.phone_mut(second).habits.when_called = vec![(millis(20), Do::Refuse(430))];
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(first));
        world.tell_in(millis(300), first, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, first));
        world.finish();
    });
}
