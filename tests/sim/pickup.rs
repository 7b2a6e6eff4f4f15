//! Calls that ring elsewhere are picked up (RFC 3891, RFC 5359 §2.16).

use crate::flows::{SEEDS, millis, office, secs, wait};
use crate::hostile::Letter;
use tests::sim::{Do, PhoneId, Rel, Site, Timers, World, for_seeds};
use words::EndCause;

/// Ann calls Bob, with an offer unless she is `late` with hers, and it has rung for a moment.
fn rings_a_while(world: &mut World, ann: PhoneId, bob: PhoneId, late: bool) {
    world.tell(ann, Do::Call { number: "102".into(), without_offer: late });
    wait(world, 3, |world| world.rings(bob));
    world.pass(millis(300));
}

/// RFC 5359 §2.16, by the dialog that a lamp told of; seen from either side.
#[test]
fn call_pickup_by_replaces() {
    for_seeds(2 * SEEDS, |seed| {
        for (turned, late) in [(false, false), (true, false), (false, true)] {
            let (mut world, [ann, bob, carl]) = office(seed);
            rings_a_while(&mut world, ann, bob, late);
            let mut replaces = world.at_phone(bob).replaces(0).unwrap();
            if turned {
                replaces = replaces.replace("to-tag", "x").replace("from-tag", "to-tag").replace(";x", ";from-tag");
            }
            world.tell(carl, Do::CallInstead { number: "102".into(), replaces: format!("{replaces};early-only") });
            picked_up(world, ann, bob, carl);
        }
    });
}

#[test]
fn call_pickup_by_code() {
    for_seeds(2 * SEEDS, |seed| {
        // The caller offers, or who picks up does, or both, or neither.
        for (late, silent) in [(false, false), (true, false), (false, true), (true, true)] {
            let (mut world, [ann, bob, carl]) = office(seed);
            world.tell(carl, Do::call("**102"));
            wait(&mut world, 3, |world| world.is_over(carl));
            assert_eq!(world.line(carl).status(), Some(404));
            rings_a_while(&mut world, ann, bob, late);
            world.tell(carl, Do::Call { number: "**102".into(), without_offer: silent });
            picked_up(world, ann, bob, carl);
        }
    });
}

/// RFC 3891 §3: an INVITE that names several is refused, and all of them go on.
#[test]
fn an_invite_takes_one_place_at_most() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        rings_a_while(&mut world, ann, bob, false);
        let (home, ringing) = (world.at_phone(carl).address, world.at_phone(bob).replaces(0).unwrap());
        let letter = Letter::new("INVITE", home, 1).with("Contact", &format!("<sip:103@{home}>"));
        let letter =
            Letter { from: "<sip:103@office.example>;tag=hand".to_owned(), ..letter.describing("198.51.100.3") };
        let letter = letter.with("Replaces", &ringing).with("Replaces", &ringing.replacen('@', "x@", 1));
        let asked = letter.send(&mut world);
        assert_eq!(letter.proving(asked.last().unwrap(), "office-103").status(&mut world), 400);
        assert!(world.rings(bob));
        world.tell(bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        world.finish();
    });
}

/// Its session may be no shorter than that of any other call (RFC 4028 §9).
#[test]
fn a_pickup_with_too_short_a_session_is_told_so() {
    for_seeds(SEEDS, |seed| {
        for by_code in [true, false] {
            let (mut world, [ann, bob, carl]) = office(seed);
            world.phone_mut(carl).habits.timers = Some(Timers::of(60));
            rings_a_while(&mut world, ann, bob, false);
            let replaces = world.at_phone(bob).replaces(0).unwrap();
            let instead = Do::CallInstead { number: "102".into(), replaces };
            world.tell(carl, if by_code { Do::call("**102") } else { instead });
            wait(&mut world, 3, |world| world.talk(ann, carl) && world.is_over(bob));
            assert!(world.line(carl).statuses.contains(&422), "{:?}", world.line(carl).statuses);
            picked_up(world, ann, bob, carl);
        }
    });
}

/// Who picks up asks for the caller's offer and says nothing to it, or the caller gives up meanwhile.
#[test]
fn a_pickup_without_an_offer_that_is_never_acknowledged_ends_for_both() {
    for_seeds(SEEDS, |seed| {
        for gives_up in [false, true] {
            let (mut world, [ann, bob, carl]) = office(seed);
            rings_a_while(&mut world, ann, bob, false);
            world.phone_mut(carl).habits.acknowledges = false;
            world.tell(carl, Do::call_without_offer("**102"));
            wait(&mut world, 3, |world| world.is_over(bob));
            if gives_up {
                world.tell(ann, Do::HangUp);
                wait(&mut world, 3, |world| world.is_over(ann));
                assert_eq!(world.line(ann).status(), Some(487));
            }
            wait(&mut world, 40, |world| world.is_over(ann) && world.is_over(carl));
            world.phone_mut(carl).habits.acknowledges = true;
            let cause = world.finish()[0].ended.unwrap().cause;
            assert_eq!(cause, if gives_up { EndCause::Cancelled } else { EndCause::SignallingLost });
        }
    });
}

/// Bob rings for Ann, who left the offer to whoever answers, and Carl picks up with such an INVITE.
fn picked_up_without_offers(world: &mut World, [ann, bob, carl]: [PhoneId; 3]) {
    rings_a_while(world, ann, bob, true);
    world.tell(carl, Do::call_without_offer("**102"));
}

/// Each is offered something by the exchange and answers in its ACK (RFC 3261 §13.2.1); what the second leaves out the
/// first is told.
#[test]
fn where_neither_offers_both_are_offered_the_same() {
    for_seeds(SEEDS, |seed| {
        for (anns, carls, both, again) in [
            (&[8, 0, 101][..], &[8, 0, 101][..], &[8, 0, 101][..], 0),
            (&[8, 101], &[8, 0, 101], &[8, 101], 1),
            (&[8, 0, 101], &[0], &[0], 0),
        ] {
            let (mut world, [ann, bob, carl]) = office(seed);
            (world.phone_mut(ann).habits.codecs, world.phone_mut(carl).habits.codecs) = (anns, carls);
            picked_up_without_offers(&mut world, [ann, bob, carl]);
            wait(&mut world, 3, |world| world.talk(ann, carl) && world.is_over(bob));
            world.pass(secs(1));
            assert_eq!(
                (world.line(ann).session.agreed(), world.line(carl).session.agreed()),
                (both.to_vec(), both.to_vec())
            );
            assert_eq!((world.line(ann).asked, world.line(carl).asked), (0, again));
            picked_up(world, ann, bob, carl);
        }
    });
}

/// Each step of it may be the last: nothing remains, and there is one record.
#[test]
fn where_neither_offers_either_may_give_up() {
    for_seeds(4 * SEEDS, |seed| {
        for who in 0..2 {
            let (mut world, [ann, bob, carl]) = office(seed);
            picked_up_without_offers(&mut world, [ann, bob, carl]);
            // From before the answer to after the last ACK.
            world.pass(millis(seed * 3));
            let gone = [ann, carl][who];
            world.tell(gone, Do::HangUp);
            if who == 1 && world.line(carl).status().is_none() {
                // Who gave up in time picked up nothing, or hangs up what it has.
                wait(&mut world, 5, |world| world.is_over(carl));
                world.pass(secs(1));
                world.tell(ann, Do::HangUp);
            }
            wait(&mut world, 5, |world| [ann, bob, carl].iter().all(|&phone| world.is_over(phone)));
            let records = world.finish();
            assert_eq!(records.len(), 1);
        }
    });
}

/// One of both never acknowledges what it was offered.
#[test]
fn where_neither_offers_each_must_answer_in_its_ack() {
    for_seeds(SEEDS, |seed| {
        for who in 0..2 {
            let (mut world, phones @ [ann, bob, carl]) = office(seed);
            let silent = [ann, carl][who];
            world.phone_mut(silent).habits.acknowledges = false;
            picked_up_without_offers(&mut world, phones);
            wait(&mut world, 3, |world| world.is_over(bob));
            wait(&mut world, 40, |world| world.is_over(ann) && world.is_over(carl));
            assert_eq!(world.line(ann).status(), Some(if who == 0 { 200 } else { 480 }));
            world.phone_mut(silent).habits.acknowledges = true;
            assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
        }
    });
}

/// The caller agreed to something before its 2xx, which has no description then (RFC 3262 §5): it is offered what who
/// picked up answers.
#[test]
fn a_caller_with_early_media_is_picked_up_without_an_offer() {
    for_seeds(2 * SEEDS, |seed| {
        for (late, silent, takes_update) in
            [(false, true, true), (false, true, false), (true, true, true), (false, false, true), (true, false, false)]
        {
            let (mut world, [ann, bob, carl]) = office(seed);
            let habits = &mut world.phone_mut(ann).habits;
            (habits.rel, habits.takes_update) = (Rel::Supports, takes_update);
            world.phone_mut(bob).habits.rel = Rel::Supports;
            world.phone_mut(carl).habits.codecs = &[0, 101];
            world.tell(ann, Do::Call { number: "102".into(), without_offer: late });
            wait(&mut world, 3, |world| world.rings(bob));
            world.tell(bob, Do::Early);
            wait(&mut world, 3, |world| world.hears(ann, bob));
            world.pass(millis(500));
            world.tell(carl, Do::Call { number: "**102".into(), without_offer: silent });
            wait(&mut world, 3, |world| world.talk(ann, carl) && world.is_over(bob));
            world.pass(secs(1));
            assert_eq!(
                (world.line(ann).session.agreed(), world.line(carl).session.agreed()),
                (vec![0, 101], vec![0, 101])
            );
            picked_up(world, ann, bob, carl);
        }
    });
}

/// Ann's call rings at Bob, who is heard already; what is on its way to her, or from her, is not there. Carl picks it up.
fn picked_up_meanwhile(world: &mut World, [ann, bob, carl]: [PhoneId; 3], late: bool, update: bool) {
    for phone in [ann, bob] {
        let habits = &mut world.phone_mut(phone).habits;
        (habits.rel, habits.takes_update, habits.changes_by_update) = (Rel::Supports, update, update);
    }
    rings_a_while(world, ann, bob, late);
    if update {
        world.tell(bob, Do::Early);
        wait(world, 3, |world| world.hears(ann, bob));
        world.pass(millis(300));
        // The UPDATE is carried to Bob, who does not hear it.
        world.unplug(bob);
        world.tell(ann, Do::Move);
    } else {
        world.unplug(ann);
        world.tell(bob, Do::Early);
    }
    world.pass(millis(200));
    world.tell(carl, Do::Call { number: "**102".into(), without_offer: true });
    world.pass(millis(200));
    assert_eq!(world.line(carl).status(), None, "it waits");
}

/// 491 would be no use to a phone whose INVITE begins a dialog: it waits until the caller may be told.
#[test]
fn a_pickup_waits_for_a_prack_and_for_an_update() {
    for_seeds(2 * SEEDS, |seed| {
        for (late, update) in [(false, false), (true, false), (false, true)] {
            let (mut world, phones @ [ann, bob, carl]) = office(seed);
            picked_up_meanwhile(&mut world, phones, late, update);
            world.plug(ann);
            world.plug(bob);
            wait(&mut world, 4, |world| world.talk(ann, carl) && world.is_over(bob));
            picked_up(world, ann, bob, carl);
        }
    });
}

/// Somebody else answers meanwhile, another one comes for it, or who waits or who called gives up.
#[test]
fn a_pickup_may_wait_in_vain() {
    for_seeds(SEEDS, |seed| {
        for what in 0..4 {
            let (mut world, [ann, bob, carl, dora]) = office(seed);
            // Who owes an answer to his own offer cannot answer before it is there, and comes too late.
            let late = what != 0 && seed % 2 == 0;
            picked_up_meanwhile(&mut world, [ann, bob, carl], late, false);
            match what {
                0 => world.tell(bob, Do::Answer),
                1 => {
                    world.tell(dora, Do::call_without_offer("**102"));
                    wait(&mut world, 3, |world| world.is_over(dora));
                    assert_eq!(world.line(dora).status(), Some(486));
                }
                2 => {
                    world.tell(carl, Do::HangUp);
                    wait(&mut world, 3, |world| world.is_over(carl));
                    assert_eq!(world.line(carl).status(), Some(487));
                    world.tell(bob, Do::Answer);
                }
                _ => {}
            }
            world.plug(ann);
            if what == 3 {
                world.tell(ann, Do::HangUp);
                wait(&mut world, 5, |world| [ann, bob, carl].iter().all(|&phone| world.is_over(phone)));
            } else {
                let winner = if what == 1 { carl } else { bob };
                wait(&mut world, 5, |world| world.talk(ann, winner) && world.is_over(carl) == (what != 1));
            }
            assert!(what != 0 || world.line(carl).status() == Some(481));
            assert_eq!(world.finish().len(), 1);
        }
    });
}

/// Who waits over a connection that ends is not given the call.
#[test]
fn a_pickup_whose_connection_ends_waits_no_longer() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let carl = world.add(Site::new("103").tcp());
        world.register(&[carl]);
        picked_up_meanwhile(&mut world, [ann, bob, carl], false, false);
        world.cut(carl);
        world.pass(millis(200));
        world.plug(ann);
        world.pass(secs(3));
        assert!(world.rings(bob));
        world.tell(bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        let record = world.finish().remove(0);
        assert_eq!(record.answered.map(|answer| answer.who.number.as_str().to_owned()).as_deref(), Some("102"));
    });
}

/// What it waits for ends by itself (RFC 3262 §3).
#[test]
fn a_pickup_waits_no_longer_than_the_caller_may() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        let habits = &mut world.phone_mut(ann).habits;
        (habits.rel, habits.acknowledges) = (Rel::Supports, false);
        world.ring_for(secs(60));
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.tell(bob, Do::Early);
        world.pass(millis(500));
        world.tell(carl, Do::call_without_offer("**102"));
        world.pass(secs(30));
        assert!(world.rings(bob) && !world.is_over(carl));
        wait(&mut world, 5, |world| [ann, bob, carl].iter().all(|&phone| world.is_over(phone)));
        assert_eq!((world.line(ann).status(), world.line(carl).status()), (Some(504), Some(481)));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
    });
}

/// The caller says what it wants in its ACK, and does not, or has nothing in common with who picked up, or has gone.
#[test]
fn a_pickup_without_an_answer_of_the_caller_ends_for_both() {
    for_seeds(SEEDS, |seed| {
        for silent in [false, true] {
            let (mut world, [ann, bob, carl]) = office(seed);
            rings_a_while(&mut world, ann, bob, true);
            world.phone_mut(ann).habits.acknowledges = !silent;
            world.tell(carl, Do::call("**102"));
            if silent {
                wait(&mut world, 40, |world| world.is_over(carl) && world.is_over(ann));
                assert_eq!(world.line(carl).status(), Some(480));
                world.phone_mut(ann).habits.acknowledges = true;
                assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::SignallingLost);
            } else {
                // Who changes his mind has the call, and hangs up.
                world.tell_in(millis(40), carl, Do::HangUp);
                wait(&mut world, 5, |world| world.is_over(carl) && world.is_over(ann) && world.is_over(bob));
                world.finish();
            }
        }
    });
}

/// Carl has answered the call of Ann that rang at Bob.
fn picked_up(mut world: World, ann: PhoneId, bob: PhoneId, carl: PhoneId) {
    wait(&mut world, 3, |world| world.talk(ann, carl) && world.is_over(bob));
    assert!(world.line(bob).reason().is_some_and(|reason| reason.contains("elsewhere")));
    assert!(world.line(ann).shows.last().is_some_and(|shown| shown.contains("sip:103@")));
    world.pass(secs(40));
    assert!(world.talk(ann, carl));
    world.tell(carl, Do::HangUp);
    wait(&mut world, 3, |world| world.is_over(ann));
    let cdr = world.finish().remove(0);
    assert_eq!(cdr.answered.map(|answer| answer.who.number.as_str().to_owned()).as_deref(), Some("103"));
}
