//! Phones that do ICE (RFC 8445, RFC 8839) beside phones that do not: the exchange is the lite side of each by itself.

use crate::flows::{SEEDS, connect, invite_of, millis, secs, wait};
use tests::sim::{Do, PhoneId, SINGLE_PORT, Site, World, for_seeds};
use words::EndCause;

fn checks(world: &World, phone: PhoneId) -> Option<String> {
    world.line(phone).session.checks().map(|checks| checks.ours.ufrag.into())
}

fn phones(seed: u64, ice: [bool; 2]) -> (World, PhoneId, PhoneId) {
    let mut world = World::new(seed);
    let (ann, bob) = (world.phone("101"), world.phone("102"));
    // They do not say so when they register.
    world.register(&[ann, bob]);
    world.phone_mut(ann).habits.ice = ice[0];
    world.phone_mut(bob).habits.ice = ice[1];
    (world, ann, bob)
}

#[test]
fn a_phone_that_does_ice_is_answered_and_nobody_else_hears_of_it() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = phones(seed, [true, false]);
        connect(&mut world, ann, bob, "102");
        assert!(!invite_of(&world, bob).contains("ice-"));
        let names = checks(&world, ann).expect("ICE is agreed");
        assert_eq!(checks(&world, bob), None);
        for (who, other) in [(ann, bob), (bob, ann)] {
            world.tell(who, Do::Hold);
            wait(&mut world, 3, |world| world.hears(other, who) && !world.hears(who, other));
            world.tell_in(secs(1), who, Do::Resume);
            wait(&mut world, 3, |world| world.talk(who, other));
            world.pass(millis(300));
        }
        assert_eq!(checks(&world, ann), Some(names.clone()), "the names last as long as the phone's own");
        // It goes elsewhere, and is checked by other names.
        world.tell(ann, Do::Move);
        wait(&mut world, 3, |world| checks(world, ann).is_some_and(|now| now != names) && world.talk(ann, bob));
        world.pass(millis(300));
        world.tell(bob, Do::HangUp);
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
    });
}

#[test]
fn who_is_called_has_ice_once_it_asks_for_it() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = phones(seed, [false, true]);
        connect(&mut world, ann, bob, "102");
        assert!(!invite_of(&world, bob).contains("ice-"), "nobody is offered what he did not ask for");
        assert_eq!(checks(&world, bob), None);
        world.tell(bob, Do::Hold);
        wait(&mut world, 3, |world| checks(world, bob).is_some() && world.hears(ann, bob));
        let names = checks(&world, bob);
        world.tell(bob, Do::Resume);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        // From now on it is offered.
        world.pass(millis(300));
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.hears(bob, ann) && !world.hears(ann, bob));
        assert_eq!(checks(&world, bob), names);
        world.pass(millis(300));
        // It forgets how: the call goes on without.
        world.phone_mut(bob).lines[0].session.ice = false;
        world.tell(ann, Do::Resume);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        assert_eq!((checks(&world, ann), checks(&world, bob)), (None, None));
        world.pass(millis(300));
        world.finish();
    });
}

/// A phone says in its Contact that it does ICE (RFC 5768): then it is offered it from the start.
#[test]
fn who_registers_with_ice_is_offered_it() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").behind(nat)));
        let plain = world.add(Site::new("102").second_device());
        world.phone_mut(bob).habits.ice = true;
        world.register(&[ann, bob, plain]);
        // Both devices ring; each is offered what it knows.
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob) && world.rings(plain));
        assert!(invite_of(&world, bob).contains("a=ice-lite\r\n"), "{}", invite_of(&world, bob));
        assert!(!invite_of(&world, plain).contains("ice-"));
        let winner = if seed % 2 == 0 { bob } else { plain };
        world.tell(winner, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, winner));
        assert_eq!(checks(&world, winner).is_some(), winner == bob);
        world.pass(millis(300));
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.hears(winner, ann) && !world.hears(ann, winner));
        world.tell_in(secs(1), ann, Do::Resume);
        wait(&mut world, 3, |world| world.talk(ann, winner));
        world.tell(ann, Do::HangUp);
        world.pass(secs(3));
        // It says so and does not keep its word: the call goes without.
        world.phone_mut(bob).habits.ice = false;
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        assert!(invite_of(&world, bob).contains("a=ice-lite\r\n"));
        world.tell(bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        assert_eq!(checks(&world, bob), None);
        world.finish();
    });
}

#[test]
fn who_registered_with_ice_is_offered_it_after_a_kill() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").behind(nat)));
        world.phone_mut(bob).habits.ice = true;
        world.register(&[ann, bob]);
        world.pass(secs(7));
        world.restart();
        connect(&mut world, ann, bob, "102");
        assert!(invite_of(&world, bob).contains("a=ice-lite\r\n"));
        assert!(checks(&world, bob).is_some() && checks(&world, ann).is_none());
        world.tell(ann, Do::HangUp);
        world.finish();
    });
}

/// Behind routers, each site with the same private addresses: they are told apart by their checks.
#[test]
fn phones_behind_nat_share_the_port_if_they_do_ice() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::with(seed, |config| config.single_port = Some(SINGLE_PORT));
        let nats = [world.nat(), world.nat(), world.nat()];
        let ann = world.add(Site::new("101").behind(nats[0]));
        let carl = world.add(Site::new("103").behind(nats[1]));
        let dora = world.add(Site::new("104").behind(nats[2]));
        let bob = world.phone("102");
        for phone in [ann, carl] {
            world.phone_mut(phone).habits.ice = true;
        }
        world.register(&[ann, bob, carl, dora]);
        let shares = |world: &World, phone: PhoneId| {
            world.line(phone).session.remote().is_some_and(|remote| remote.port() == SINGLE_PORT)
        };
        for (caller, shared) in [(ann, true), (carl, true), (dora, false)] {
            connect(&mut world, caller, bob, "102");
            assert_eq!(shares(&world, caller), shared);
            assert_eq!(checks(&world, caller).is_some(), shared);
            world.tell(caller, Do::Hold);
            wait(&mut world, 3, |world| !world.hears(caller, bob));
            world.tell_in(secs(1), caller, Do::Resume);
            wait(&mut world, 3, |world| world.talk(caller, bob));
            world.pass(millis(300));
            world.tell(caller, Do::Move);
            wait(&mut world, 5, |world| world.line(caller).changes.len() == 3 && world.talk(caller, bob));
            assert_eq!(shares(&world, caller), shared);
            world.tell(caller, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(caller) && world.is_over(bob));
            world.pass(secs(3));
        }
        world.finish();
    });
}

#[test]
fn after_a_transfer_a_leg_with_ice_has_it() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let [ann, bob, carl] = ["101", "102", "103"].map(|extension| world.phone(extension));
        world.phone_mut(ann).habits.ice = true;
        world.phone_mut(bob).habits.ice = true;
        world.register(&[ann, bob, carl]);
        connect(&mut world, ann, bob, "102");
        world.tell(bob, Do::transfer("103"));
        wait(&mut world, 5, |world| world.rings(carl));
        world.tell(carl, Do::Answer);
        wait(&mut world, 5, |world| world.talk(ann, carl));
        assert!(checks(&world, ann).is_some() && checks(&world, carl).is_none());
        world.pass(millis(500));
        world.finish();
    });
}

/// Both calls of who transfers are joined into one: a leg that comes from the other call is named anew there.
#[test]
fn legs_that_change_their_call_are_checked_anew() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let [ann, bob, carl] = ["101", "102", "103"].map(|extension| world.phone(extension));
        for phone in [ann, carl] {
            world.phone_mut(phone).habits.ice = true;
        }
        world.register(&[ann, bob, carl]);
        // Both call, so both have ICE.
        connect(&mut world, ann, bob, "102");
        world.tell(bob, Do::Hold);
        wait(&mut world, 3, |world| !world.hears(bob, ann));
        connect(&mut world, carl, bob, "102");
        let before = [checks(&world, ann), checks(&world, carl)];
        assert!(before.iter().all(Option::is_some));
        world.tell_line(bob, 1, Do::transfer_to_line("101", 0));
        wait(&mut world, 10, |world| world.talk(ann, carl));
        let after = [checks(&world, ann), checks(&world, carl)];
        assert!(after.iter().all(Option::is_some) && after != before, "{before:?} {after:?}");
        world.pass(secs(1));
        world.finish();
    });
}

#[test]
fn the_exchange_itself_is_checked_too() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _) = phones(seed, [true, false]);
        world.tell(ann, Do::call("*43"));
        wait(&mut world, 3, |world| world.line(ann).talks() && world.hears(ann, ann));
        assert!(checks(&world, ann).is_some());
        // Without an offer in its call it is offered none, and asks for it itself.
        world.tell(ann, Do::HangUp);
        world.pass(secs(2));
        world.tell(ann, Do::call_without_offer("*43"));
        wait(&mut world, 3, |world| world.line(ann).talks() && world.hears(ann, ann));
        assert_eq!(checks(&world, ann), None);
        world.tell(ann, Do::HangUp);
        world.finish();
    });
}
