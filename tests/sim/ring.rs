//! Ring lists: together, one after another, and early media of several.

use crate::flows::{SEEDS, millis, office, secs, wait};
use tests::sim::{Do, Ending, LineState, PhoneId, World, for_seeds};
use words::EndCause;

const ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// Ann calls 600, which rings the three others.
fn rung(seed: u64, in_order: bool) -> (World, PhoneId, [PhoneId; 3]) {
    let (mut world, [ann, bob, carl, dora]) = office(seed);
    world.ring_list("600", &["102", "103", "104"], secs(20), in_order);
    world.tell(ann, Do::call("600"));
    (world, ann, [bob, carl, dora])
}

#[test]
fn a_ring_list_has_one_winner_and_the_others_know_why() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, [bob, carl, dora]) = rung(seed, false);
        wait(&mut world, 3, |world| [bob, carl, dora].iter().all(|&phone| world.rings(phone)));
        world.pass(secs(1));
        world.tell(carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, carl) && world.is_over(bob) && world.is_over(dora));
        for loser in [bob, dora] {
            assert_eq!(world.line(loser).ending, Some(Ending::Cancelled { reason: Some(ELSEWHERE.into()) }));
        }
        assert!(!world.hears(ann, bob));
        let cdr = world.finish().remove(0);
        assert_eq!(cdr.answered.unwrap().by.unwrap().n, 2);
        let causes: Vec<_> = cdr.legs.iter().map(|leg| leg.ended.map(|(_, cause)| cause)).collect();
        assert_eq!(causes[0], Some(EndCause::AnsweredElsewhere));
        assert_eq!(causes[2], Some(EndCause::AnsweredElsewhere));
    });
}

#[test]
fn two_answer_at_once_and_one_of_them_talks() {
    for_seeds(4 * SEEDS, |seed| {
        let (mut world, ann, [bob, carl, dora]) = rung(seed, false);
        wait(&mut world, 3, |world| [bob, carl, dora].iter().all(|&phone| world.rings(phone)));
        for phone in [bob, carl, dora] {
            world.tell_in(secs(1), phone, Do::Answer);
        }
        world.pass(secs(4));
        let talking = [bob, carl, dora].iter().filter(|&&phone| world.talk(ann, phone)).count();
        assert_eq!(talking, 1);
        let up = [bob, carl, dora].iter().filter(|&&phone| !world.is_over(phone)).count();
        assert_eq!(up, 1, "the others were told goodbye");
        assert_eq!(world.finish().len(), 1);
    });
}

#[test]
fn a_loser_that_answers_all_the_same_is_told_goodbye() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, [bob, carl, _]) = rung(seed, false);
        world.phone_mut(bob).habits.stubborn = true;
        wait(&mut world, 3, |world| world.rings(bob) && world.rings(carl));
        world.pass(secs(1));
        world.tell(carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, carl) && world.is_over(bob));
        assert_eq!(world.line(bob).reason(), Some(ELSEWHERE).filter(|_| world.line(bob).reason().is_some()));
        assert!(matches!(world.line(bob).ending, Some(Ending::Bye { .. })));
        world.finish();
    });
}

#[test]
fn those_in_order_ring_one_after_another() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, [bob, carl, dora]) = rung(seed, true);
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(secs(19));
        assert!(world.at_phone(carl).lines.is_empty());
        wait(&mut world, 3, |world| world.rings(carl) && world.is_over(bob));
        world.tell(carl, Do::Refuse(486));
        wait(&mut world, 3, |world| world.rings(dora));
        world.tell(dora, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, dora));
        let cdr = world.finish().remove(0);
        let causes: Vec<_> = cdr.legs.iter().filter_map(|leg| leg.ended.map(|(_, cause)| cause)).collect();
        assert_eq!(&causes[..2], [EndCause::NoAnswer, EndCause::Busy]);
    });
}

/// RFC 5359 §2.8: a number whose first is busy rings the next. The caller hears of none of it.
#[test]
fn who_is_busy_is_followed_by_the_next_at_once() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, [bob, carl, dora]) = rung(seed, true);
        // Busy before it rings, as a phone on its only line is.
        world.phone_mut(bob).habits.when_called = vec![(millis(50), Do::Refuse(486))];
        wait(&mut world, 1, |world| world.rings(carl));
        assert!(world.is_over(bob) && world.at_phone(dora).lines.is_empty());
        assert_eq!(world.line(ann).state, LineState::Calling);
        world.tell(carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, carl));
        let cdr = world.finish().remove(0);
        let causes: Vec<_> = cdr.legs.iter().filter_map(|leg| leg.ended.map(|(_, cause)| cause)).collect();
        assert_eq!((causes[0], cdr.ended.unwrap().cause), (EndCause::Busy, EndCause::Normal));
    });
}

#[test]
fn a_decline_ends_its_leg_and_not_the_list() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, [bob, carl, dora]) = rung(seed, false);
        wait(&mut world, 3, |world| world.rings(bob) && world.rings(carl) && world.rings(dora));
        world.tell(bob, Do::Refuse(603));
        world.pass(secs(3));
        assert!(world.rings(carl) && world.rings(dora));
        assert_eq!(world.line(ann).state, LineState::Calling);
        world.tell(dora, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, dora));
        world.finish();
    });
}

#[test]
fn when_all_refuse_the_most_telling_answer_is_told() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, [bob, carl, dora]) = rung(seed, false);
        wait(&mut world, 3, |world| world.rings(bob) && world.rings(carl) && world.rings(dora));
        for (phone, status) in [(bob, 503), (carl, 486), (dora, 480)] {
            world.tell(phone, Do::Refuse(status));
        }
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(486));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Busy);
    });
}

#[test]
fn the_first_that_speaks_is_heard_until_somebody_answers() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, [bob, carl, dora]) = rung(seed, false);
        wait(&mut world, 3, |world| world.rings(bob) && world.rings(carl) && world.rings(dora));
        world.pass(millis(500));
        world.tell(carl, Do::Early);
        wait(&mut world, 2, |world| world.line(ann).statuses.contains(&183));
        assert!(world.hears(ann, carl));
        world.tell(bob, Do::Early);
        world.pass(secs(1));
        assert!(world.hears(ann, carl) && !world.hears(ann, bob));
        world.tell(dora, Do::Answer);
        wait(&mut world, 2, |world| world.talk(ann, dora));
        assert!(!world.hears(ann, carl));
        world.pass(secs(1));
        assert!(world.is_over(bob) && world.is_over(carl));
        world.finish();
    });
}

#[test]
fn early_media_of_the_winner_goes_on() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, [bob, carl, _]) = rung(seed, false);
        wait(&mut world, 3, |world| world.rings(bob) && world.rings(carl));
        world.tell(bob, Do::Early);
        wait(&mut world, 2, |world| world.line(ann).statuses.contains(&183));
        assert!(world.hears(ann, bob));
        world.tell_in(secs(2), bob, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn the_caller_of_a_list_gives_up() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, phones) = rung(seed, false);
        wait(&mut world, 3, |world| phones.iter().all(|&phone| world.rings(phone)));
        world.pass(millis(500));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann) && phones.iter().all(|&phone| world.is_over(phone)));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Cancelled);
    });
}
