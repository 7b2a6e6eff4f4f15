//! What the shell's other rooms do to calls: a store that fails or is slow, a directory that is away, a drain, a stop.

use crate::flows::{SEEDS, connect, millis, office, secs, talking, wait};
use crate::hostile::Letter;
use sip::HeaderName;
use switch::Command;
use tests::sim::{Do, LineState, Mood, Site, World, for_seeds};
use words::EndCause;

#[test]
fn a_failing_store_refuses_what_is_new_and_ends_nothing() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        connect(&mut world, ann, bob, "102");
        world.fail_store(true);
        world.tell(carl, Do::Register(600));
        wait(&mut world, 3, |world| world.at_phone(carl).registration.statuses().last() == Some(&503));
        assert!(world.status().store_failing);
        world.tell(carl, Do::call("101"));
        wait(&mut world, 3, |world| world.is_over(carl));
        assert_eq!(world.line(carl).status(), Some(503));
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.line(ann).changes == [200]);
        world.pass(millis(100));
        world.tell(ann, Do::Resume);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        world.tell(bob, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann) && world.is_over(bob));
        world.fail_store(false);
        world.pass(secs(2));
        assert!(!world.status().store_failing);
        world.register(&[carl]);
        connect(&mut world, carl, ann, "101");
        let cdrs = world.finish();
        assert_eq!(cdrs.len(), 2, "both calls are on record");
        assert_eq!(cdrs[0].ended.unwrap().cause, EndCause::Normal);
    });
}

/// What is bound, by Contact and end.
fn bound(world: &mut World) -> Vec<(String, i64)> {
    let mut bound: Vec<_> = world.bound().into_iter().map(|phone| (phone.contact, phone.expires.0 / 1_000)).collect();
    bound.sort();
    bound
}

#[test]
fn a_registration_that_could_not_be_stored_is_as_if_it_had_never_come() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        let dora = world.add(Site::new("104").tcp());
        let late = world.add(Site::new("105").tcp());
        world.register(&[dora]);
        world.pass(secs(100));
        let before = bound(&mut world);
        // All of them meet the same commit: a refresh, a removal, a phone with a new connection, and a new one.
        world.store.delay = millis(900);
        world.fail_store(true);
        world.cut(dora);
        for (phone, what) in
            [(ann, Do::Register(600)), (bob, Do::Unregister), (dora, Do::Register(600)), (late, Do::Register(600))]
        {
            world.tell(phone, what);
        }
        world.pass(millis(700));
        let meanwhile = bound(&mut world);
        assert_ne!(meanwhile, before, "it is as asked until the store speaks");
        let refused = |world: &World, phone| world.at_phone(phone).registration.statuses().last() == Some(&503);
        wait(&mut world, 3, |world| [ann, bob, dora, late].iter().all(|&phone| refused(world, phone)));
        assert_eq!(bound(&mut world), before);
        world.store.delay = millis(4);
        world.fail_store(false);
        world.pass(secs(2));
        assert_eq!(bound(&mut world), before);
        // Who was refused its removal still rings.
        connect(&mut world, carl, bob, "102");
        world.tell(carl, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(bob));
        // The store never heard anything else.
        world.restart();
        assert_eq!(bound(&mut world), before);
        world.register(&[ann, late]);
        assert_eq!(world.bound().len(), 5);
        world.finish();
    });
}

#[test]
fn who_was_revoked_stays_so_when_the_store_fails() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.store.delay = millis(900);
        world.fail_store(true);
        world.tell(ann, Do::Unregister);
        world.tell(bob, Do::Register(600));
        world.pass(millis(700));
        for phone in [ann, bob] {
            let user = world.user_of(phone);
            let auth_user = world.at_phone(phone).identity.auth_user.clone();
            let account = world.office;
            world.command(Command::UserRevoked { account, user, auth_user });
        }
        world.pass(secs(5));
        assert!(world.bound().is_empty());
        world.finish();
    });
}

#[test]
fn what_is_promised_waits_for_a_slow_store() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        world.store.delay = millis(700);
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        world.tell(ann, Do::Register(600));
        world.pass(millis(600));
        assert_eq!(world.at_phone(ann).registration.granted, None);
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        world.pass(secs(2));
        world.tell(ann, Do::HangUp);
        world.pass(millis(600));
        assert_eq!(world.line(ann).state, LineState::Leaving);
        wait(&mut world, 2, |world| world.is_over(ann));
        world.finish();
    });
}

#[test]
fn a_goodbye_waits_two_seconds_for_the_store_and_not_longer() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.store.delay = secs(10);
        world.tell(ann, Do::HangUp);
        world.pass(millis(1_900));
        assert_eq!(world.line(ann).state, LineState::Leaving);
        wait(&mut world, 1, |world| world.is_over(ann) && world.is_over(bob));
        world.store.delay = millis(4);
        world.pass(secs(10));
        world.finish();
    });
}

#[test]
fn who_needs_a_directory_that_is_away_is_told_so_after_two_seconds() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let carl = world.phone("103");
        world.directory.mood = Mood::Away;
        // The exchange knows Ann, and has not asked for 102 yet.
        world.tell(ann, Do::call("102"));
        world.tell(carl, Do::Register(600));
        world.pass(millis(1_900));
        assert_eq!(world.line(ann).state, LineState::Calling);
        wait(&mut world, 1, |world| world.is_over(ann) && !world.at_phone(carl).registration.asking);
        assert_eq!(world.line(ann).status(), Some(503));
        // To be asked for a password takes no directory.
        assert_eq!(world.at_phone(carl).registration.statuses(), [401, 503]);
        world.directory.mood = Mood::Unavailable;
        world.tell(ann, Do::call("102"));
        wait(&mut world, 1, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(503));
        world.directory.mood = Mood::After(millis(1_500));
        world.tell(ann, Do::call("102"));
        wait(&mut world, 4, |world| world.rings(bob));
        assert!(world.finish().iter().all(|cdr| cdr.ended.is_some()));
    });
}

#[test]
fn a_drain_takes_nothing_new_and_ends_nothing() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.command(Command::Drain { on: true });
        world.tell(bob, Do::call("101"));
        wait(&mut world, 2, |world| world.is_over(bob));
        assert_eq!(world.line(bob).status(), Some(503));
        assert_eq!(world.calls().len(), 1);
        world.register(&[bob]);
        world.command(Command::Drain { on: false });
        connect(&mut world, bob, ann, "101");
        assert_eq!(world.finish().len(), 2);
    });
}

#[test]
fn an_overloaded_shell_refuses_new_calls() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.input(switch::Input::Overloaded(true));
        world.tell(bob, Do::call("101"));
        wait(&mut world, 2, |world| world.is_over(bob));
        assert_eq!(world.line(bob).status(), Some(503));
        world.input(switch::Input::Overloaded(false));
        connect(&mut world, bob, ann, "101");
        assert_eq!(world.finish().len(), 2);
    });
}

/// A trunk that is told when to come again sends no call at all until then.
#[test]
fn a_full_exchange_tells_phones_when_to_come_again_and_peers_nothing() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::with(seed, |config| (config.transactions, config.asks_devices) = (4, false));
        let ann = world.phone("101");
        let (_, carrier) = world.peer("carrier");
        // Each 200 is remembered for 32 s.
        while world.status().transactions < 4 {
            world.tell(ann, Do::Register(600));
            world.pass(secs(1));
        }
        let refused = |world: &mut World, n: u32, phone| {
            let letter = Letter::new("INVITE", world.at_phone(phone).address, n).describing("198.51.100.1");
            let answer = letter.send(world).into_iter().find(|heard| heard.status >= 200).expect("it is answered");
            (answer.status, answer.header(HeaderName::RetryAfter).map(str::to_owned))
        };
        for n in 0..3 {
            assert_eq!(refused(&mut world, 10 + n, carrier), (503, None));
            assert_eq!(refused(&mut world, 20 + n, ann), (503, Some("5".to_owned())));
        }
        // The same where the shell cannot keep up.
        world.input(switch::Input::Overloaded(true));
        assert_eq!(refused(&mut world, 30, carrier), (503, None));
        assert_eq!(refused(&mut world, 31, ann), (503, Some("5".to_owned())));
        world.input(switch::Input::Overloaded(false));
        world.pass(secs(40));
        assert_eq!(refused(&mut world, 40, ann).0, 401);
    });
}

#[test]
fn a_stop_tells_everybody_goodbye() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        connect(&mut world, ann, bob, "102");
        world.tell(carl, Do::call("102"));
        wait(&mut world, 2, |world| world.rings(bob));
        world.pass(millis(300));
        world.stop();
        let over = |world: &World, phone| world.at_phone(phone).lines.iter().all(tests::sim::Line::is_over);
        wait(&mut world, 2, |world| [ann, bob, carl].iter().all(|&phone| over(world, phone)));
        let cdrs = world.finish();
        assert!(cdrs.iter().all(|cdr| cdr.ended.unwrap().cause == EndCause::Administrative));
    });
}

#[test]
fn a_user_whose_password_is_reset_is_gone_at_once() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let (account, user) = (world.office, world.user_of(bob));
        let auth_user = world.at_phone(bob).identity.auth_user.clone();
        world.command(Command::UserRevoked { account, user, auth_user });
        assert_eq!(world.bound().len(), 1);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 2, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(480));
        world.finish();
    });
}
