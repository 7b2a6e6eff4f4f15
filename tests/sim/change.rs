//! Changes of media in the middle of a call.

use crate::flows::{SEEDS, millis, office, secs, talking, wait};
use tests::sim::{Do, PhoneId, World, for_seeds};
use words::EndCause;

/// One side holds, the other hears it only; then both talk again.
fn holds(world: &mut World, who: PhoneId, other: PhoneId) {
    let before = world.line(who).changes.len();
    world.tell(who, Do::Hold);
    wait(world, 3, |world| world.line(who).changes.len() == before + 1);
    wait(world, 3, |world| world.hears(other, who) && !world.hears(who, other));
    // Longer than silence is borne: on hold it does not count.
    world.pass(secs(40));
    world.tell(who, Do::Resume);
    wait(world, 3, |world| world.talk(who, other));
    world.pass(millis(200));
    assert_eq!(&world.line(who).changes[before..], [200, 200]);
}

#[test]
fn each_side_holds_and_resumes() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        holds(&mut world, ann, bob);
        holds(&mut world, bob, ann);
        assert_eq!((world.line(ann).asked, world.line(bob).asked), (2, 2));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
    });
}

#[test]
fn both_hold_and_nobody_hears_anybody() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.tell(ann, Do::Hold);
        world.pass(secs(2));
        world.tell(bob, Do::Hold);
        world.pass(secs(2));
        assert!(!world.hears(ann, bob) && !world.hears(bob, ann));
        world.tell(ann, Do::Resume);
        world.pass(secs(2));
        world.tell(bob, Do::Resume);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn a_glare_is_told_to_both_and_both_try_again() {
    for_seeds(2 * SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.tell_in(secs(1), ann, Do::Hold);
        world.tell_in(secs(1), bob, Do::Move);
        let done = |world: &World, phone| world.line(phone).changes.last() == Some(&200);
        wait(&mut world, 20, |world| done(world, ann) && done(world, bob));
        let glares = [ann, bob].map(|phone| world.line(phone).changes.contains(&491));
        assert!(glares.contains(&true), "they did not cross");
        wait(&mut world, 2, |world| world.hears(bob, ann) && !world.hears(ann, bob));
        world.tell(ann, Do::Resume);
        wait(&mut world, 10, |world| world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn a_phone_that_moves_its_media_is_followed() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        for who in [ann, bob] {
            world.tell(who, Do::Move);
            wait(&mut world, 3, |world| !world.line(who).changes.is_empty() && world.talk(ann, bob));
        }
        world.finish();
    });
}

#[test]
fn a_change_that_is_refused_leaves_the_call_as_it_was() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.phone_mut(bob).habits.refuses_changes = Some(488);
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.line(ann).changes == [488]);
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn a_change_without_an_offer_asks_for_one() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        for who in [ann, bob] {
            world.tell(who, Do::Refresh);
            wait(&mut world, 3, |world| world.line(who).changes == [200]);
            world.pass(secs(1));
            assert!(world.talk(ann, bob));
        }
        world.finish();
    });
}

#[test]
fn the_callee_offers_when_the_caller_does_not() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.tell(ann, Do::call_without_offer("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.tell_in(millis(200), bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        holds(&mut world, bob, ann);
        world.finish();
    });
}

#[test]
fn the_exchange_offers_when_the_caller_does_not() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.tell(ann, Do::call_without_offer("*43"));
        wait(&mut world, 3, |world| world.line(ann).talks());
        wait(&mut world, 1, |world| world.hears(ann, ann));
        world.finish();
    });
}

#[test]
fn an_echo_is_put_on_hold() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.tell(ann, Do::call("*43"));
        wait(&mut world, 3, |world| world.line(ann).talks());
        world.pass(millis(100));
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.line(ann).changes == [200] && !world.hears(ann, ann));
        world.pass(secs(60));
        world.tell(ann, Do::Resume);
        wait(&mut world, 3, |world| world.line(ann).changes == [200, 200] && world.hears(ann, ann));
        world.finish();
    });
}

#[test]
fn a_goodbye_crosses_a_change() {
    for_seeds(SEEDS, |seed| {
        for offset in 0..20 {
            let (mut world, ann, bob) = talking(seed * 1_000 + offset);
            world.tell_in(millis(200), ann, Do::Hold);
            world.tell_in(millis(180 + 5 * offset), bob, Do::HangUp);
            wait(&mut world, 8, |world| world.is_over(ann) && world.is_over(bob));
            // A phone that has said goodbye answers 481 to the change; that may come before its goodbye.
            let end = world.finish()[0].ended.unwrap();
            assert_eq!((end.cause, end.by.map(|leg| leg.n)), (EndCause::Normal, Some(1)));
        }
    });
}

/// Who holds goes on with its music while the other listens again.
#[test]
fn of_two_who_hold_either_may_resume_first() {
    for_seeds(SEEDS, |seed| {
        for (turned, update) in [(false, false), (true, false), (false, true), (true, true)] {
            let (mut world, [ann, bob]) = crate::flows::office(seed);
            for phone in [ann, bob] {
                let habits = &mut world.phone_mut(phone).habits;
                (habits.takes_update, habits.changes_by_update) = (update, update);
            }
            crate::flows::connect(&mut world, ann, bob, "102");
            for phone in [ann, bob] {
                world.tell(phone, Do::Hold);
                world.pass(secs(2));
            }
            let (first, second) = if turned { (bob, ann) } else { (ann, bob) };
            world.tell(first, Do::Resume);
            wait(&mut world, 3, |world| world.hears(first, second) && !world.hears(second, first));
            world.pass(secs(40));
            world.tell(second, Do::Resume);
            wait(&mut world, 3, |world| world.talk(ann, bob));
            assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
        }
    });
}
