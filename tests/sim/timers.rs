//! Session timers (RFC 4028) and UPDATE (RFC 3311) of a whole exchange.

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use sip::Refresher;
use tests::sim::{Do, Ending, PhoneId, Timers, World, for_seeds};
use words::EndCause;

/// What a phone knows: session timers, and whether UPDATE.
fn knows(world: &mut World, phone: PhoneId, timers: Timers, update: bool) {
    let habits = &mut world.phone_mut(phone).habits;
    (habits.timers, habits.takes_update) = (Some(timers), update);
}

/// Refreshes that a phone sent, and that it got: by UPDATE, and by INVITE.
fn counts(world: &World, phone: PhoneId) -> (u32, u32, u32) {
    let line = world.line(phone);
    (line.refreshes, line.refreshed, line.asked)
}

#[test]
fn half_an_hour_that_we_refresh_on_both_legs() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        knows(&mut world, ann, Timers::of(600), true);
        knows(&mut world, bob, Timers::of(0), false);
        connect(&mut world, ann, bob, "102");
        assert!(!world.line(ann).timer.unwrap().mine && !world.line(bob).timer.unwrap().mine);
        assert_eq!(world.line(bob).timer.unwrap().interval, 1_800);
        world.pass(secs(1_799));
        // Each 300 s one by UPDATE; each 900 s one by INVITE.
        assert_eq!((counts(&world, ann), counts(&world, bob)), ((0, 5, 0), (0, 0, 1)));
        assert!(world.talk(ann, bob));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
    });
}

#[test]
fn half_an_hour_that_the_phones_refresh() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        knows(&mut world, ann, Timers::of(600).by(Refresher::Uac), false);
        knows(&mut world, bob, Timers::of(0), true);
        world.phone_mut(bob).habits.timers = None;
        connect(&mut world, ann, bob, "102");
        assert!(world.line(ann).timer.unwrap().mine && world.line(bob).timer.is_none());
        world.pass(secs(1_800));
        // Its INVITEs are carried: the other phone hears of them.
        let (own, _, _) = counts(&world, ann);
        assert!((5..=6).contains(&own), "{own}");
        assert_eq!(counts(&world, bob).2, own);
        assert!(world.talk(ann, bob));

        knows(&mut world, bob, Timers::of(200).by(Refresher::Uac), true);
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(bob));
        connect(&mut world, bob, ann, "101");
        world.pass(secs(1_800));
        let (own, refreshed, _) = counts(&world, bob);
        assert!((17..=18).contains(&own) && refreshed == 0, "{own} {refreshed}");
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn a_phone_that_died_ends_the_call_for_both() {
    for_seeds(SEEDS, |seed| {
        for update in [true, false] {
            let (mut world, [ann, bob]) = office(seed);
            knows(&mut world, bob, Timers::of(0), update);
            connect(&mut world, ann, bob, "102");
            world.tell(ann, Do::Hold);
            wait(&mut world, 3, |world| world.line(ann).changes == [200]);
            // On hold nobody misses its media.
            world.unplug(bob);
            world.pass(secs(800));
            assert!(!world.is_over(ann));
            wait(&mut world, 150, |world| world.is_over(ann));
            assert!(world.line(ann).reason().unwrap().starts_with("Q.850;cause=27"));
            assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
        }
    });
}

#[test]
fn a_hold_with_both_phones_dead_ends() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        knows(&mut world, ann, Timers::of(1_800).by(Refresher::Uac), false);
        knows(&mut world, bob, Timers::of(0), true);
        connect(&mut world, ann, bob, "102");
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.line(ann).changes == [200]);
        world.unplug(ann);
        world.unplug(bob);
        world.pass(secs(940));
        assert!(world.calls().is_empty());
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

#[test]
fn a_hold_of_phones_without_timers_ends_when_they_die() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        connect(&mut world, ann, bob, "102");
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.line(ann).changes == [200]);
        world.pass(secs(3_600));
        assert_eq!(world.calls().len(), 1);
        world.unplug(ann);
        world.unplug(bob);
        world.pass(secs(940));
        assert!(world.calls().is_empty());
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

#[test]
fn a_phone_that_forgets_its_part_loses_its_call() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let timers = Timers { forgets: true, ..Timers::of(600).by(Refresher::Uac) };
        knows(&mut world, ann, timers, false);
        connect(&mut world, ann, bob, "102");
        world.pass(secs(565));
        assert!(world.talk(ann, bob));
        wait(&mut world, 5, |world| world.is_over(ann) && world.is_over(bob));
        assert!(matches!(world.line(ann).ending, Some(Ending::Bye { .. })));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

#[test]
fn sessions_are_as_long_as_everybody_bears() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        knows(&mut world, ann, Timers::of(30), true);
        knows(&mut world, bob, Timers { min: 4_000, ..Timers::of(0) }, true);
        connect(&mut world, ann, bob, "102");
        assert!(world.line(ann).statuses.contains(&422));
        let interval = |phone| world.line(phone).timer.unwrap().interval;
        assert_eq!((interval(ann), interval(bob)), (90, 4_000));
        world.pass(secs(2_100));
        assert_eq!((counts(&world, ann).1, counts(&world, bob).1), (46, 1));
        world.finish();
    });
}

/// Each request that it is asked again would be refused as the one before.
#[test]
fn a_phone_that_always_wants_a_longer_session_is_not_asked_for_ever() {
    let grows = |interval| Timers { grows: true, ..Timers::of(interval) };
    for_seeds(SEEDS, |seed| {
        for update in [true, false] {
            let (mut world, [ann, bob]) = office(seed);
            knows(&mut world, bob, grows(0), update);
            connect(&mut world, ann, bob, "102");
            world.pass(secs(920));
            let refresh = world.at_phone(bob).too_short;
            assert!((1..=7).contains(&refresh), "{refresh} times for one refresh");
            world.tell(ann, Do::Hold);
            wait(&mut world, 3, |world| world.line(ann).changes == [500]);
            let hold = world.at_phone(bob).too_short - refresh;
            assert!((1..=5).contains(&hold), "{hold} times for one change");
            // Nobody could refresh it.
            wait(&mut world, 1_000, |world| world.is_over(ann) && world.is_over(bob));
            let all = world.at_phone(bob).too_short;
            assert!(all < 60, "{all} times for one session");
            world.finish();

            let (mut world, [ann, bob, carl]) = office(seed);
            knows(&mut world, ann, grows(600), update);
            world.phone_mut(carl).habits.when_called = vec![(millis(50), Do::Answer)];
            connect(&mut world, ann, bob, "102");
            world.tell(bob, Do::transfer("103"));
            wait(&mut world, 5, |world| world.talk(ann, carl) && world.is_over(bob));
            assert_eq!(world.at_phone(ann).too_short, 5, "it keeps what it had");
            world.finish();
        }
    });
}

#[test]
fn lost_refreshes_are_sent_again() {
    for_seeds(2 * SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        knows(&mut world, ann, Timers::of(120), seed % 2 == 0);
        knows(&mut world, bob, Timers::of(0), seed % 3 == 0);
        connect(&mut world, ann, bob, "102");
        world.net.weather = tests::sim::Weather::rough(200);
        world.pass(secs(1_200));
        assert!(world.talk(ann, bob));
        assert!(counts(&world, ann).1 + counts(&world, ann).2 >= 18);
        world.finish();
    });
}

#[test]
fn hold_by_update_crosses_as_update_or_as_invite() {
    for_seeds(SEEDS, |seed| {
        for takes in [true, false] {
            let (mut world, [ann, bob]) = office(seed);
            let habits = &mut world.phone_mut(ann).habits;
            (habits.takes_update, habits.changes_by_update) = (true, true);
            world.phone_mut(bob).habits.takes_update = takes;
            connect(&mut world, ann, bob, "102");
            world.tell(ann, Do::Hold);
            wait(&mut world, 3, |world| world.hears(bob, ann) && !world.hears(ann, bob));
            world.pass(secs(40));
            world.tell(ann, Do::Resume);
            wait(&mut world, 3, |world| world.talk(ann, bob));
            world.pass(millis(200));
            assert_eq!((&world.line(ann).changes[..], world.line(bob).asked), (&[200, 200][..], 2));
            world.finish();
        }
    });
}

#[test]
fn updates_that_cross_are_tried_again() {
    for_seeds(2 * SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        for phone in [ann, bob] {
            let habits = &mut world.phone_mut(phone).habits;
            (habits.takes_update, habits.changes_by_update) = (true, true);
        }
        connect(&mut world, ann, bob, "102");
        world.tell_in(secs(1), ann, Do::Hold);
        world.tell_in(secs(1), bob, Do::Move);
        let done = |world: &World, phone| world.line(phone).changes.last() == Some(&200);
        wait(&mut world, 20, |world| done(world, ann) && done(world, bob));
        wait(&mut world, 2, |world| world.hears(bob, ann) && !world.hears(ann, bob));
        world.finish();
    });
}
