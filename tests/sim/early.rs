//! Reliable provisional answers (RFC 3262), and what is agreed before the answer to a call.

use crate::flows::{SEEDS, millis, office, secs, unacknowledged, wait};
use media::sdp::Direction;
use tests::sim::{Do, PhoneId, Rel, Site, Weather, World, for_seeds};
use words::EndCause;

/// Two phones with these habits, the second of which is early heard before it answers; they talk.
fn heard_early(world: &mut World, ann: PhoneId, bob: PhoneId, offers: bool) {
    world.tell(ann, if offers { Do::call("102") } else { Do::call_without_offer("102") });
    wait(world, 5, |world| world.rings(bob));
    world.tell_in(millis(300), bob, Do::Early);
    world.tell_in(millis(900), bob, Do::Answer);
    wait(world, 10, |world| world.talk(ann, bob));
    world.pass(millis(500));
}

#[test]
fn each_leg_by_itself_knows_them_or_not() {
    for_seeds(SEEDS, |seed| {
        for (caller, callee) in [
            (Rel::No, Rel::Supports),
            (Rel::Supports, Rel::No),
            (Rel::Supports, Rel::Supports),
            (Rel::Requires, Rel::No),
            (Rel::Requires, Rel::Supports),
        ] {
            for offers in [true, false] {
                let (mut world, [ann, bob]) = office(seed);
                world.phone_mut(ann).habits.rel = caller;
                world.phone_mut(bob).habits.rel = callee;
                heard_early(&mut world, ann, bob, offers);
                let rang = world.line(ann).statuses.contains(&180);
                assert!(rang || caller == Rel::Requires && !offers, "{:?}", world.line(ann).statuses);
                // And the call is one as any other.
                world.tell(bob, Do::Hold);
                wait(&mut world, 3, |world| world.hears(ann, bob) && !world.hears(bob, ann));
                assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
            }
        }
    });
}

#[test]
fn what_is_lost_is_said_again() {
    for_seeds(4 * SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.phone_mut(ann).habits.rel = [Rel::Supports, Rel::Requires][seed as usize % 2];
        world.phone_mut(bob).habits.rel = [Rel::No, Rel::Supports, Rel::Supports][seed as usize % 3];
        world.net.weather = Weather::rough(200);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 35, |world| world.rings(bob));
        world.tell_in(millis(300), bob, Do::Early);
        world.tell_in(secs(2), bob, Do::Answer);
        wait(&mut world, 35, |world| world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn a_caller_that_acknowledges_nothing_is_refused_after_its_time() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let habits = &mut world.phone_mut(ann).habits;
        (habits.rel, habits.acknowledges) = (Rel::Requires, false);
        world.ring_list("600", &["102"], secs(60), false);
        world.tell(ann, Do::call("600"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(secs(30));
        assert!(world.rings(bob));
        wait(&mut world, 5, |world| world.is_over(ann) && world.is_over(bob));
        assert_eq!(world.line(ann).status(), Some(504));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

#[test]
fn of_two_in_order_the_second_is_heard_by_who_agreed_with_the_first() {
    for_seeds(SEEDS, |seed| {
        for takes_update in [true, false] {
            let (mut world, [ann, bob, carl]) = office(seed);
            world.ring_list("600", &["102", "103"], secs(8), true);
            let habits = &mut world.phone_mut(ann).habits;
            (habits.rel, habits.takes_update) = (Rel::Requires, takes_update);
            world.phone_mut(carl).habits.rel = Rel::Supports;
            world.tell(ann, Do::call("600"));
            wait(&mut world, 3, |world| world.rings(bob));
            world.tell(bob, Do::Early);
            wait(&mut world, 2, |world| world.hears(ann, bob));
            world.tell(bob, Do::Refuse(486));
            wait(&mut world, 3, |world| world.rings(carl));
            world.tell_in(millis(500), carl, Do::Early);
            wait(&mut world, 3, |world| world.hears(ann, carl));
            world.tell_in(millis(500), carl, Do::Answer);
            wait(&mut world, 3, |world| world.talk(ann, carl));
            world.pass(secs(5));
            assert!(world.talk(ann, carl));
            world.finish();
        }
    });
}

#[test]
fn a_hold_before_the_answer_holds_after_it() {
    for_seeds(SEEDS, |seed| {
        for by_caller in [true, false] {
            let (mut world, [ann, bob]) = office(seed);
            for phone in [ann, bob] {
                let habits = &mut world.phone_mut(phone).habits;
                (habits.rel, habits.takes_update, habits.changes_by_update) = (Rel::Supports, true, true);
            }
            world.tell(ann, Do::call("102"));
            wait(&mut world, 3, |world| world.rings(bob));
            world.tell_in(millis(200), bob, Do::Early);
            world.pass(secs(1));
            let who = if by_caller { ann } else { bob };
            world.tell(who, Do::Hold);
            wait(&mut world, 2, |world| world.line(who).changes == [200]);
            world.tell(bob, Do::Answer);
            wait(&mut world, 2, |world| world.line(ann).talks() && world.line(bob).talks());
            let other = if by_caller { bob } else { ann };
            assert!(world.hears(other, who) && !world.hears(who, other));
            assert_eq!(world.line(who).session.wish, Direction::SendOnly);
            world.tell_in(millis(300), who, Do::Resume);
            wait(&mut world, 3, |world| world.talk(ann, bob));
            world.finish();
        }
    });
}

#[test]
fn an_offer_in_a_prack_moves_the_callers_audio_unless_nobody_here_can_reach_it() {
    for_seeds(SEEDS, |seed| {
        for (ip, status) in [("198.51.100.77", 200), ("2001:db8::77", 488)] {
            let (mut world, [ann, bob]) = office(seed);
            for phone in [ann, bob] {
                let habits = &mut world.phone_mut(phone).habits;
                (habits.rel, habits.takes_update) = (Rel::Supports, true);
            }
            world.phone_mut(ann).habits.moves_by_prack = Some(ip.parse().expect("an address"));
            world.tell(ann, Do::call("102"));
            wait(&mut world, 3, |world| world.rings(bob));
            world.tell_in(millis(300), bob, Do::Early);
            wait(&mut world, 3, |world| world.line(ann).pracks == [status]);
            let warns = |warning: &String| warning.starts_with("301 ") && warning.contains("IPv6");
            assert_eq!(world.line(ann).warning.as_ref().is_some_and(warns), status == 488);
            assert_eq!(world.line(ann).session.address.ip().to_string() == ip, status == 200);
            world.tell(bob, Do::Answer);
            wait(&mut world, 3, |world| world.talk(ann, bob));
            world.pass(secs(40));
            assert!(world.talk(ann, bob));
            assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
        }
    });
}

#[test]
fn a_caller_that_gives_up_and_a_callee_that_declines() {
    for_seeds(SEEDS, |seed| {
        for (who, status) in [(0, 487), (1, 486)] {
            let (mut world, phones) = office::<2>(seed);
            for phone in phones {
                world.phone_mut(phone).habits.rel = Rel::Supports;
            }
            world.tell(phones[0], Do::call("102"));
            wait(&mut world, 3, |world| world.rings(phones[1]));
            world.tell_in(millis(200), phones[1], Do::Early);
            world.pass(millis(200 + seed * 3));
            world.tell(phones[who], Do::HangUp);
            wait(&mut world, 3, |world| phones.iter().all(|&phone| world.is_over(phone)));
            assert_eq!(world.line(phones[0]).status(), Some(status));
            world.finish();
        }
    });
}

/// Who answers before the caller may be told, and whose connection ends then, is not waited for without an end.
#[test]
fn who_answered_and_is_lost_before_the_caller_knows_ends_the_call() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        let bob = world.add(Site::new("102").tcp());
        world.register(&[bob]);
        world.phone_mut(ann).habits.rel = Rel::Supports;
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(millis(300));
        world.unplug(ann);
        world.tell(bob, Do::Early);
        world.pass(millis(200));
        world.tell(bob, Do::Answer);
        world.pass(millis(100));
        world.cut(bob);
        world.plug(ann);
        wait(&mut world, 5, |world| world.line(ann).talks());
        wait(&mut world, 40, |world| world.is_over(ann));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

/// A menu that asks for a key before it answers.
#[test]
fn keys_before_the_answer_reach_who_is_heard() {
    for_seeds(SEEDS, |seed| {
        for (caller, callee) in [(Rel::No, Rel::No), (Rel::Supports, Rel::Supports), (Rel::Supports, Rel::No)] {
            let (mut world, [ann, menu]) = office(seed);
            world.phone_mut(ann).habits.rel = caller;
            world.phone_mut(menu).habits.rel = callee;
            world.phone_mut(menu).habits.when_called = vec![(millis(50), Do::Ring), (secs(2), Do::Early)];
            world.tell(ann, Do::call("102"));
            wait(&mut world, 3, |world| world.line(ann).statuses.contains(&180));
            // Until its PRACK is there, which the INFO might overtake.
            world.pass(millis(200));
            world.tell(ann, Do::Digit('4'));
            wait(&mut world, 3, |world| world.line(ann).typed == [480]);
            wait(&mut world, 3, |world| world.line(ann).statuses.contains(&183));
            world.pass(millis(200));
            world.tell(ann, Do::Digit('5'));
            wait(&mut world, 3, |world| world.line(ann).typed == [480, 200]);
            world.tell(menu, Do::Digit('6'));
            wait(&mut world, 3, |world| world.line(menu).typed == [200]);
            assert!(world.line(menu).digits.len() == 1 && world.line(menu).digits[0].starts_with("Signal=5"));
            assert!(world.line(ann).digits.len() == 1 && world.line(ann).digits[0].starts_with("Signal=6"));
            world.tell(menu, Do::Answer);
            wait(&mut world, 3, |world| world.talk(ann, menu));
            world.pass(millis(200));
            world.tell(ann, Do::Digit('7'));
            wait(&mut world, 3, |world| world.line(menu).digits.len() == 2);
            world.tell(ann, Do::Hold);
            wait(&mut world, 3, |world| world.line(ann).changes == [200]);
            world.finish();
        }
    });
}

#[test]
fn keys_cross_while_the_callers_ack_is_missing() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = unacknowledged(seed, Do::call("102"));
        wait(&mut world, 3, |world| world.line(bob).talks() && world.line(ann).talks());
        world.tell(bob, Do::Digit('5'));
        wait(&mut world, 3, |world| world.line(bob).typed == [200]);
        assert_eq!(world.line(ann).digits.len(), 1);
        world.finish();
    });
}
