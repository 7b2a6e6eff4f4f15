//! Calls between two, and calls that come to nothing.

use crate::flows::{SEEDS, connect, millis, office, secs, talking, wait};
use books::Direction;
use switch::account::{RouteTarget, Service};
use tests::sim::{Do, Ending, World, for_seeds};
use words::EndCause;

#[test]
fn two_extensions_talk_and_the_caller_hangs_up() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        assert!(world.line(ann).statuses.contains(&180));
        assert_eq!(world.line(bob).number, "101");
        assert_eq!(world.calls().len(), 1);
        world.pass(secs(60));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(ann) && world.is_over(bob));
        assert_eq!(world.line(bob).ending, Some(Ending::Bye { reason: None }));
        let cdrs = world.finish();
        assert_eq!(cdrs.len(), 1);
        let end = cdrs[0].ended.unwrap();
        assert_eq!((end.cause, end.by.map(|leg| leg.n)), (EndCause::Normal, Some(0)));
        assert_eq!((cdrs[0].direction(), cdrs[0].talk().as_secs()), (Direction::Internal, 60));
        assert!(cdrs[0].rang.is_some());
    });
}

#[test]
fn the_callee_hangs_up() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.tell_in(secs(3), bob, Do::HangUp);
        wait(&mut world, 5, |world| world.is_over(ann) && world.is_over(bob));
        assert_eq!(world.line(ann).ending, Some(Ending::Bye { reason: None }));
        assert_eq!(world.finish()[0].ended.unwrap().by.map(|leg| leg.n), Some(1));
    });
}

#[test]
fn both_hang_up_at_once() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.tell_in(secs(1), bob, Do::HangUp);
        world.tell_in(secs(1), ann, Do::HangUp);
        wait(&mut world, 5, |world| world.is_over(ann) && world.is_over(bob));
        assert_eq!(world.finish().len(), 1);
    });
}

#[test]
fn a_phone_has_several_calls() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        connect(&mut world, ann, bob, "102");
        connect(&mut world, carl, ann, "101");
        connect(&mut world, carl, bob, "102");
        assert_eq!(world.calls().len(), 3);
        assert_eq!(world.finish().len(), 3);
    });
}

#[test]
fn busy_is_told_as_it_is() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.phone_mut(bob).habits.when_called = vec![(millis(300), Do::Refuse(486))];
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).ending, Some(Ending::Refused { status: 486, reason: None }));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Busy);
    });
}

#[test]
fn nobody_answers() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(secs(28));
        assert!(world.rings(bob));
        wait(&mut world, 4, |world| world.is_over(ann) && world.is_over(bob));
        assert_eq!(world.line(ann).status(), Some(480));
        assert!(world.line(ann).reason().unwrap().starts_with("Q.850;cause=19"));
        assert_eq!(world.line(bob).ending, Some(Ending::Cancelled { reason: None }));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::NoAnswer);
    });
}

#[test]
fn an_extension_without_a_phone_is_unavailable() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.phone("102");
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(480));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Unavailable);
    });
}

#[test]
fn an_unknown_number_is_not_found() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.tell(ann, Do::call("999"));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(404));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::NotFound);
    });
}

#[test]
fn a_stranger_calls_nobody() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, _bob]) = office(seed);
        world.phone_mut(ann).identity.password = Some("guessed".into());
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(401));
        assert!(world.finish().is_empty(), "no record of a call that was none");
    });
}

#[test]
fn the_exchange_echoes() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.tell(ann, Do::call("*43"));
        wait(&mut world, 3, |world| world.line(ann).talks() && world.hears(ann, ann));
        world.pass(secs(60));
        assert!(world.line(ann).talks(), "it hears media all the time");
        world.tell(ann, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(ann));
        let cdrs = world.finish();
        assert_eq!(cdrs[0].talk().as_secs(), 60);
        assert_eq!(cdrs[0].answered.as_ref().unwrap().by, None);
    });
}

#[test]
fn services_ring_play_and_answer_late() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.route("440", RouteTarget::Service(Service::Tone440));
        world.route("183", RouteTarget::Service(Service::Early183));
        world.route("486", RouteTarget::Service(Service::Busy));
        world.route("7*", RouteTarget::Service(Service::AnswerAfter(None)));
        world.tell(ann, Do::call("440"));
        wait(&mut world, 2, |world| world.line(ann).talks() && world.hears_sound(ann));
        world.tell(ann, Do::HangUp);
        world.tell(ann, Do::call("183"));
        wait(&mut world, 2, |world| world.line(ann).statuses == [183] && world.hears_sound(ann));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(487));
        world.tell(ann, Do::call("486"));
        wait(&mut world, 2, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(486));
        world.tell(ann, Do::call("75"));
        world.pass(secs(4));
        assert_eq!(world.line(ann).statuses, [180]);
        wait(&mut world, 2, |world| world.line(ann).talks() && world.hears(ann, ann));
        assert_eq!(world.finish().len(), 4);
    });
}

#[test]
fn digits_cross() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.tell(ann, Do::Digit('5'));
        wait(&mut world, 2, |world| world.line(bob).digits.len() == 1);
        assert!(world.line(bob).digits[0].starts_with("Signal=5"));
        world.finish();
    });
}

#[test]
fn an_operator_ends_a_call() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        let call = world.calls()[0].call;
        world.command(switch::Command::HangUp { call, cause: EndCause::Administrative });
        wait(&mut world, 2, |world| world.is_over(ann) && world.is_over(bob));
        assert!(world.line(bob).reason().unwrap().starts_with("Q.850;cause=31"));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Administrative);
    });
}

#[test]
fn a_call_lasts_no_longer_than_its_limit() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::with(seed, |config| config.call_limit = secs(600));
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        world.pass(secs(599));
        assert!(world.talk(ann, bob));
        wait(&mut world, 5, |world| world.is_over(ann) && world.is_over(bob));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::TooLong);
    });
}

#[test]
fn there_is_room_for_so_many_calls_and_no_more() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::with(seed, |config| config.calls = 2);
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        world.register(&[ann, bob]);
        for _ in 0..2 {
            connect(&mut world, ann, bob, "102");
        }
        world.tell(ann, Do::call("102"));
        wait(&mut world, 2, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(503));
        assert_eq!(world.counter("calls_refused"), 1);
        assert_eq!(world.finish().len(), 2);
    });
}

/// A challenged caller acknowledges its 401, which nobody remembers: that is no stray.
#[test]
fn who_is_challenged_leaves_no_stray() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        // The password that was good for its registration is asked for anew.
        world.phone_mut(ann).identity.password = Some("guessed".to_owned());
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(401));
        world.pass(secs(1));
        let forgotten = world.counter("acks_forgotten");
        assert!(forgotten >= 1 && !world.rings(bob));
        assert_eq!(world.counter("strays"), 0);
        world.finish();
    });
}
