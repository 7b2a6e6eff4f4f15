//! Phones that die, acknowledgements that never come, connections that end, media that stops.

use crate::flows::{SEEDS, connect, millis, office, secs, talking, unacknowledged, wait};
use tests::sim::{Do, Ending, Mood, PhoneId, Site, World, for_seeds};
use words::EndCause;

#[test]
fn a_caller_that_never_acknowledges_is_ended_with_its_callee() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = unacknowledged(seed, Do::call("102"));
        world.pass(secs(20));
        assert_eq!(world.calls().len(), 1);
        wait(&mut world, 20, |world| world.is_over(ann) && world.is_over(bob));
        assert!(world.line(bob).reason().unwrap().starts_with("Q.850;cause=27"));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

#[test]
fn a_change_that_is_never_acknowledged_ends_the_call() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.phone_mut(bob).habits.acknowledges = false;
        world.tell(bob, Do::Hold);
        wait(&mut world, 45, |world| world.is_over(ann) && world.is_over(bob));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

#[test]
fn a_call_without_media_ends_with_its_cause() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.pass(secs(100));
        assert!(world.talk(ann, bob));
        world.phone_mut(bob).habits.speaks = false;
        wait(&mut world, 70, |world| world.is_over(ann) && world.is_over(bob));
        assert!(world.line(ann).reason().unwrap().starts_with("Q.850;cause=41"));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::MediaLost);
    });
}

#[test]
fn silence_before_the_answer_does_not_count() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::with(seed, |config| config.silence = Some(secs(5)));
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        world.register(&[ann, bob]);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.tell(bob, Do::Early);
        world.pass(secs(20));
        assert!(world.rings(bob));
        world.tell(bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        world.pass(secs(20));
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn a_callee_without_power_is_unavailable() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.unplug(bob);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 35, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(480));
        world.finish();
    });
}

#[test]
fn a_phone_that_loses_its_power_in_a_call_does_not_keep_the_other() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.unplug(bob);
        wait(&mut world, 70, |world| world.is_over(ann));
        assert!(world.line(ann).reason().unwrap().starts_with("Q.850;cause=41"));
        let cdr = world.finish().remove(0);
        assert_eq!(cdr.ended.unwrap().cause, EndCause::MediaLost);
    });
}

#[test]
fn a_caller_whose_connection_ends_has_given_up() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.add(Site::new("101").tcp()), world.phone("102"));
        world.register(&[ann, bob]);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(millis(300));
        world.cut(ann);
        wait(&mut world, 3, |world| world.is_over(bob));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

#[test]
fn a_caller_whose_connection_ends_before_the_exchange_knows_who_calls_rings_nobody() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.add(Site::new("101").tcp()), world.phone("102"));
        world.register(&[ann, bob]);
        let account = world.office;
        world.command(switch::Command::AccountChanged { account });
        world.directory.mood = Mood::After(millis(1_200));
        world.tell(ann, Do::call("102"));
        world.pass(millis(500));
        world.cut(ann);
        world.pass(secs(5));
        assert!(world.at_phone(bob).lines.is_empty());
        assert!(world.finish().is_empty(), "there was no call");
    });
}

/// A phone on a stream calls somebody, loses its connection, and the call goes on over its next one.
pub(crate) fn comes_back_over_a_new_connection(mut world: World, ann: PhoneId, bob: PhoneId) {
    connect(&mut world, ann, bob, "102");
    world.cut(ann);
    world.pass(secs(5));
    assert!(world.talk(ann, bob), "media goes on");
    world.tell(ann, Do::Move);
    wait(&mut world, 3, |world| world.line(ann).changes == [200]);
    world.pass(secs(60));
    assert!(world.talk(ann, bob));
    world.tell(bob, Do::HangUp);
    wait(&mut world, 3, |world| world.is_over(ann));
    let ended = world.finish()[0].ended.expect("the call is over");
    assert_eq!(ended.cause, EndCause::Normal);
}

#[test]
fn a_talking_phone_comes_back_over_a_new_connection() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.add(Site::new("101").tcp()), world.phone("102"));
        world.register(&[ann, bob]);
        comes_back_over_a_new_connection(world, ann, bob);
    });
}

#[test]
fn a_talking_phone_that_does_not_come_back_ends_the_call() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").tcp()));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        world.cut(bob);
        world.unplug(bob);
        wait(&mut world, 40, |world| world.is_over(ann));
        assert!(matches!(world.line(ann).ending, Some(Ending::Bye { .. })));
        let cause = world.finish()[0].ended.unwrap().cause;
        assert!(matches!(cause, EndCause::SignallingLost | EndCause::MediaLost), "{cause:?}");
    });
}

#[test]
fn a_phone_whose_connection_died_is_dialled_where_it_listens() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").tcp()));
        world.register(&[ann, bob]);
        world.cut(bob);
        connect(&mut world, ann, bob, "102");
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(bob));
        world.finish();
    });
}

#[test]
fn a_dead_connection_is_noticed_when_it_is_used() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").tcp()));
        world.register(&[ann, bob]);
        // Nothing says that it is gone until bytes to it are given up.
        world.unplug(bob);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 35, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(480));
        world.finish();
    });
}
