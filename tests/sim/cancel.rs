//! Callers who change their mind.

use crate::flows::{SEEDS, millis, office, secs, wait};
use tests::sim::{Do, Ending, Mood, World, for_seeds};
use words::EndCause;

fn is_cancelled(world: &mut World, ann: tests::sim::PhoneId) {
    wait(world, 5, |world| world.is_over(ann));
    assert_eq!(world.line(ann).status(), Some(487));
    assert_eq!(world.line(ann).ending, Some(Ending::Own));
}

#[test]
fn the_caller_gives_up_while_it_rings() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.line(ann).statuses.contains(&180));
        world.tell(ann, Do::HangUp);
        is_cancelled(&mut world, ann);
        wait(&mut world, 2, |world| world.is_over(bob));
        assert_eq!(world.line(bob).ending, Some(Ending::Cancelled { reason: None }));
        let end = world.finish()[0].ended.unwrap();
        assert_eq!((end.cause, end.by.map(|leg| leg.n)), (EndCause::Cancelled, Some(0)));
    });
}

#[test]
fn the_caller_gives_up_before_anything_rings() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.phone_mut(bob).habits.when_called = vec![(secs(2), Do::Ring)];
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        // The exchange has answered the caller 100 after 200 ms, and the callee has said nothing.
        world.tell_in(millis(300), ann, Do::HangUp);
        is_cancelled(&mut world, ann);
        wait(&mut world, 5, |world| world.is_over(bob));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Cancelled);
    });
}

#[test]
fn a_caller_gives_up_before_the_exchange_knows_who_calls() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let account = world.office;
        world.command(switch::Command::AccountChanged { account });
        world.directory.mood = Mood::After(millis(1_200));
        world.tell(ann, Do::call("102"));
        world.tell_in(millis(500), ann, Do::HangUp);
        is_cancelled(&mut world, ann);
        world.pass(secs(5));
        assert!(world.at_phone(bob).lines.is_empty(), "nobody rings for a call that was cancelled");
        assert!(world.finish().is_empty(), "there was no call");
    });
}

#[test]
fn the_caller_gives_up_while_the_directory_thinks() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.directory.mood = Mood::After(millis(1_200));
        world.tell(ann, Do::call("102"));
        world.tell_in(millis(500), ann, Do::HangUp);
        is_cancelled(&mut world, ann);
        world.pass(secs(5));
        assert!(world.at_phone(bob).lines.is_empty(), "nobody rings for a call that was cancelled");
        let cdrs = world.finish();
        assert!(cdrs.iter().all(|cdr| cdr.ended.unwrap().cause == EndCause::Cancelled), "{cdrs:?}");
    });
}

/// The caller cancels at any moment around the callee's answer: either both talk not at all, or the callee is told that
/// it is over.
#[test]
fn a_cancel_crosses_the_answer() {
    for_seeds(SEEDS, |seed| {
        for offset in 0..40 {
            let (mut world, [ann, bob]) = office(seed * 1_000 + offset);
            world.tell(ann, Do::call("102"));
            wait(&mut world, 3, |world| world.line(ann).statuses.contains(&180));
            world.tell_in(millis(50), bob, Do::Answer);
            world.tell_in(millis(10 + 3 * offset), ann, Do::HangUp);
            wait(&mut world, 5, |world| world.is_over(ann) && world.is_over(bob));
            let status = world.line(ann).status();
            let cause = world.finish()[0].ended.unwrap().cause;
            match status {
                Some(487) => assert_eq!(cause, EndCause::Cancelled),
                Some(200) => assert_eq!(cause, EndCause::Normal),
                other => panic!("ended with {other:?}"),
            }
        }
    });
}

#[test]
fn a_callee_that_answers_all_the_same_is_told_goodbye() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.phone_mut(bob).habits.stubborn = true;
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.line(ann).statuses.contains(&180));
        world.tell(ann, Do::HangUp);
        is_cancelled(&mut world, ann);
        wait(&mut world, 3, |world| world.is_over(bob));
        assert!(matches!(world.line(bob).ending, Some(Ending::Bye { .. })));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Cancelled);
    });
}
