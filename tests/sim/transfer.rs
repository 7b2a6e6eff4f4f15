//! Transfers (RFC 3515, RFC 5589, RFC 5359).

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use tests::sim::{Do, Parts, PhoneId, World, for_seeds};
use words::EndCause;

/// Ann called Bob and they talk; Carl is there too.
fn trio(seed: u64) -> (World, PhoneId, PhoneId, PhoneId) {
    let (mut world, [ann, bob, carl]) = office(seed);
    connect(&mut world, ann, bob, "102");
    (world, ann, bob, carl)
}

/// Holds the other side, as phones do before they transfer.
fn hold(world: &mut World, who: PhoneId) {
    let before = world.line(who).changes.len();
    world.tell(who, Do::Hold);
    wait(world, 3, |world| world.line(who).changes.len() > before);
    world.pass(millis(200));
}

/// What a phone was told, by its statuses.
fn told(world: &World, phone: PhoneId) -> Vec<&str> {
    world.line(phone).notified.iter().map(|body| &body[8..11]).collect()
}

/// RFC 5359 §2.4: one side sends the other to a third.
fn unattended(seed: u64, by_callee: bool, parts: Parts, holds: bool) {
    let (mut world, ann, bob, carl) = trio(seed);
    let (by, stays) = if by_callee { (bob, ann) } else { (ann, bob) };
    world.phone_mut(by).habits.parts = parts;
    if holds {
        hold(&mut world, by);
    }
    world.tell(by, Do::transfer("103"));
    wait(&mut world, 3, |world| world.rings(carl));
    let invite = world.line(carl).invite.clone().expect("it rings");
    let number = if by_callee { "101" } else { "102" };
    let from = invite.from().expect("each INVITE has one").uri;
    assert!(from.starts_with(&format!("sip:{number}@")), "{from}");
    let referred_by = invite.header(sip::HeaderName::ReferredBy).expect("users are told who refers");
    assert!(referred_by.contains(if by_callee { "sip:102@" } else { "sip:101@" }), "{referred_by}");
    world.tell_in(millis(700), carl, Do::Answer);
    wait(&mut world, 4, |world| world.talk(stays, carl));
    wait(&mut world, 3, |world| world.is_over(by));
    assert_eq!(world.line(by).refers, [202]);
    if parts != Parts::AtOnce {
        assert_eq!(told(&world, by), ["100", "180", "200"]);
    }
    assert!(world.line(stays).shows.last().is_some_and(|shown| shown.contains("sip:103@")), "the display is old");
    world.pass(secs(40));
    assert!(world.talk(stays, carl));
    world.tell(carl, Do::HangUp);
    wait(&mut world, 3, |world| world.is_over(stays));
    let cdr = world.finish().remove(0);
    assert_eq!(cdr.ended.map(|end| end.cause), Some(EndCause::Normal));
    let transfer = &cdr.transfers[0];
    assert_eq!((transfer.by, transfer.to, transfer.who.number.as_str()), (u16::from(by_callee), Some(2), "103"));
}

#[test]
fn transfer_unattended() {
    for_seeds(SEEDS, |seed| {
        for by_callee in [true, false] {
            for parts in [Parts::AtOnce, Parts::AtSuccess, Parts::Never] {
                for holds in [true, false] {
                    unattended(seed, by_callee, parts, holds);
                }
            }
        }
    });
}

#[test]
fn a_transfer_that_fails_leaves_the_call_as_it_was() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = trio(seed);
        hold(&mut world, bob);
        for (number, last) in [("103", "486"), ("199", "404"), ("sip:103@elsewhere.example", "403")] {
            world.phone_mut(carl).habits.when_called = vec![(millis(50), Do::Ring), (millis(400), Do::Refuse(486))];
            world.tell(bob, Do::transfer(number));
            wait(&mut world, 3, |world| told(world, bob).last() == Some(&last));
            world.pass(millis(300));
        }
        assert_eq!(world.line(bob).refers, [202, 202, 202]);
        world.tell(bob, Do::Resume);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        let cdr = world.finish().remove(0);
        assert!(cdr.transfers.is_empty() && cdr.ended.unwrap().cause == EndCause::Normal);
    });
}

#[test]
fn a_transfer_that_fails_after_who_transferred_has_gone_ends_the_call() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = trio(seed);
        world.phone_mut(bob).habits.parts = Parts::AtOnce;
        world.phone_mut(carl).habits.when_called = vec![(millis(50), Do::Ring), (secs(2), Do::Refuse(486))];
        world.tell(bob, Do::transfer("103"));
        wait(&mut world, 3, |world| world.is_over(bob));
        assert!(!world.is_over(ann));
        wait(&mut world, 4, |world| world.is_over(ann));
        assert!(world.line(ann).reason().is_some_and(|reason| reason.contains("cause=486")));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Busy);
    });
}

#[test]
fn nobody_answers_a_transfer() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = trio(seed);
        world.tell(bob, Do::transfer("103"));
        wait(&mut world, 35, |world| world.is_over(carl));
        wait(&mut world, 3, |world| told(world, bob) == ["100", "180", "480"]);
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn who_waits_for_a_transfer_may_give_up() {
    for_seeds(SEEDS, |seed| {
        for parts in [Parts::AtOnce, Parts::Never] {
            let (mut world, ann, bob, carl) = trio(seed);
            world.phone_mut(bob).habits.parts = parts;
            world.tell(bob, Do::transfer("103"));
            wait(&mut world, 3, |world| world.rings(carl));
            world.pass(secs(2));
            world.tell(ann, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(carl) && world.is_over(bob));
            assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
        }
    });
}

#[test]
fn a_transfer_without_a_subscription() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = trio(seed);
        world.phone_mut(carl).habits.when_called = vec![(millis(50), Do::Ring), (secs(1), Do::Answer)];
        world.tell(bob, Do::Refer { to: "103".into(), instead_of: None, silently: true });
        wait(&mut world, 5, |world| world.talk(ann, carl) && world.is_over(bob));
        assert!(world.line(bob).notified.is_empty());
        world.finish();
    });
}

#[test]
fn a_transfer_to_the_exchange_itself() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, _) = trio(seed);
        hold(&mut world, bob);
        world.tell(bob, Do::transfer("*43"));
        wait(&mut world, 5, |world| world.is_over(bob) && world.hears(ann, ann));
        world.pass(secs(1));
        assert!(world.line(ann).talks());
        assert_eq!(world.finish()[0].transfers[0].to, None);
    });
}

#[test]
fn a_call_goes_from_hand_to_hand_and_not_for_ever() {
    for_seeds(4, |seed| {
        let (mut world, ann, mut by, mut next) = trio(seed);
        for phone in world.phones() {
            world.phone_mut(phone).habits.when_called = vec![(millis(100), Do::Answer)];
        }
        for round in 0.. {
            let number = world.at_phone(next).identity.number.clone();
            world.tell(by, Do::transfer(&number));
            wait(&mut world, 3, |world| !world.line(by).refers.is_empty());
            if world.line(by).refers == [482] {
                assert_eq!(round, 16);
                break;
            }
            wait(&mut world, 5, |world| world.talk(ann, next) && world.is_over(by));
            world.pass(millis(300));
            (by, next) = (next, by);
        }
        assert!(world.talk(ann, by));
        assert_eq!(world.finish()[0].transfers.len(), 16);
    });
}
