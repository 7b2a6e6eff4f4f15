//! Messages that are lost: each one of a flow in turn, and many at random.

use crate::flows::{millis, office, secs, wait};
use std::cell::Cell;
use tests::sim::{Do, Line, PhoneId, Weather, World, for_seeds};
use words::EndCause;

/// A whole call: ring, answer, hold, resume, goodbye. `lose` is the datagram that is lost, counted from its INVITE.
fn whole_call(seed: u64, lose: Option<u64>) -> World {
    let (mut world, [ann, bob]) = office(seed);
    world.pass(secs(40));
    let begin = world.net.carried();
    world.net.lose = lose.map(|number| begin + number);
    world.phone_mut(bob).habits.when_called = vec![(millis(50), Do::Ring), (secs(2), Do::Answer)];
    world.tell(ann, Do::call("102"));
    wait(&mut world, 20, |world| world.line(ann).talks() && !world.at_phone(bob).lines.is_empty());
    wait(&mut world, 20, |world| world.talk(ann, bob));
    world.tell(ann, Do::Hold);
    wait(&mut world, 20, |world| world.line(ann).changes.last() == Some(&200) && world.line(bob).asked > 0);
    wait(&mut world, 20, |world| world.hears(bob, ann) && !world.hears(ann, bob));
    world.tell(bob, Do::Digit('7'));
    wait(&mut world, 20, |world| world.line(ann).digits.len() == 1);
    world.tell(ann, Do::Resume);
    wait(&mut world, 40, |world| world.talk(ann, bob));
    world.pass(secs(5));
    world.tell(bob, Do::HangUp);
    wait(&mut world, 20, |world| world.is_over(ann) && world.is_over(bob));
    world
}

#[test]
fn a_call_survives_the_loss_of_any_one_message() {
    for_seeds(4, |seed| {
        let mut world = whole_call(seed, None);
        let messages = world.net.carried();
        world.finish();
        for lost in 0..messages {
            let mut world = whole_call(seed, Some(lost));
            let cdrs = world.finish();
            assert_eq!(cdrs.len(), 1);
            assert_eq!(cdrs[0].ended.unwrap().cause, EndCause::Normal, "message {lost} was lost");
        }
    });
}

/// A caller who gives up while a list rings.
fn given_up(seed: u64, lose: Option<u64>) -> World {
    let (mut world, [ann, bob, carl]) = office(seed);
    world.ring_list("600", &["102", "103"], secs(20), false);
    world.pass(secs(40));
    let begin = world.net.carried();
    world.net.lose = lose.map(|number| begin + number);
    world.tell(ann, Do::call("600"));
    wait(&mut world, 20, |world| world.rings(bob) && world.rings(carl));
    world.pass(secs(3));
    world.tell(ann, Do::HangUp);
    wait(&mut world, 40, |world| [ann, bob, carl].iter().all(|&phone| world.is_over(phone)));
    world
}

#[test]
fn giving_up_survives_the_loss_of_any_one_message() {
    for_seeds(4, |seed| {
        let messages = given_up(seed, None).net.carried();
        for lost in 0..messages {
            let mut world = given_up(seed, Some(lost));
            assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Cancelled, "message {lost} was lost");
        }
    });
}

fn registered(seed: u64, lose: Option<u64>) -> World {
    let mut world = World::new(seed);
    let ann = world.phone("101");
    world.net.lose = lose;
    world.register(&[ann]);
    world.tell(ann, Do::Register(600));
    wait(&mut world, 20, |world| !world.at_phone(ann).registration.asking);
    world.tell(ann, Do::Unregister);
    wait(&mut world, 20, |world| world.at_phone(ann).registration.granted.is_none());
    assert!(world.bound().is_empty());
    world
}

#[test]
fn a_registration_survives_the_loss_of_any_one_message() {
    for_seeds(4, |seed| {
        let messages = registered(seed, None).net.carried();
        assert!(messages >= 6);
        for lost in 0..messages {
            registered(seed, Some(lost)).finish();
        }
    });
}

/// Somebody calls, somebody answers or not, and everybody does something; a quarter of all messages is lost.
fn stormy(seed: u64) -> World {
    let (mut world, phones) = office::<4>(seed);
    world.ring_list("600", &["102", "103", "104"], secs(15), seed.is_multiple_of(2));
    world.net.weather = Weather::rough(250);
    let number = ["102", "600", "*43", "103"][(seed % 4) as usize];
    for (n, &phone) in phones.iter().enumerate() {
        let after = |step: u64| millis(1_000 + (seed * 397 + step * 1_741 + n as u64 * 733) % 6_000);
        let last = match (seed / 4 + n as u64) % 5 {
            0 => Do::Refuse(486),
            1 => Do::Early,
            _ => Do::Answer,
        };
        let habits = &mut world.phone_mut(phone).habits;
        habits.when_called = vec![(millis(80), Do::Ring), (after(1), last), (secs(9), Do::Answer)];
        habits.stubborn = seed.is_multiple_of(7);
        habits.when_answered = vec![
            (after(2), Do::Hold),
            (secs(8), Do::Resume),
            (secs(9) + after(3), Do::Digit('1')),
            (secs(20), Do::HangUp),
        ];
    }
    world.tell(phones[0], Do::call(number));
    world.tell_in(millis(100 + seed % 900), phones[3], Do::call("101"));
    if seed.is_multiple_of(5) {
        world.tell_in(millis(seed * 31 % 9_000), phones[0], Do::HangUp);
    }
    world
}

fn over(world: &World, phones: &[PhoneId]) -> bool {
    phones.iter().all(|&phone| world.at_phone(phone).lines.iter().all(Line::is_over))
}

#[test]
fn with_a_quarter_of_all_messages_lost_every_call_ends_and_leaves_nothing() {
    let calls = Cell::new((0, 0));
    for_seeds(1_000, |seed| {
        let mut world = stormy(seed);
        let phones: Vec<PhoneId> = world.phones().collect();
        world.until(secs(120), |world| over(world, &phones));
        let cdrs = world.finish();
        assert!(cdrs.iter().all(|cdr| cdr.ended.is_some()));
        let (all, answered) = calls.get();
        calls.set((all + cdrs.len(), answered + cdrs.iter().filter(|cdr| cdr.answered.is_some()).count()));
    });
    let (all, answered) = calls.get();
    assert!(all < 100 || 2 * answered > all, "{answered} of {all} calls were answered: the storm tests nothing");
}
