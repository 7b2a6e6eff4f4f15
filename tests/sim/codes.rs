//! Feature codes: transfer of whom a phone has on hold, and calls of nobody.

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use media::command::MediaReport;
use sip::HeaderName;
use switch::account::{RouteTarget, Service};
use switch::{Codes, Config, Input};
use tests::sim::{Do, PhoneId, World, for_seeds};
use words::{EndCause, LegId};

/// Ann talks with Bob, who has her on hold.
fn held(seed: u64) -> (World, [PhoneId; 3]) {
    let (mut world, [ann, bob, carl]) = office(seed);
    connect(&mut world, ann, bob, "102");
    world.tell(bob, Do::Hold);
    wait(&mut world, 3, |world| !world.hears(bob, ann));
    world.pass(millis(200));
    (world, [ann, bob, carl])
}

fn has_ended(world: &World, phone: PhoneId, line: usize) -> bool {
    world.at_phone(phone).lines[line].is_over()
}

#[test]
fn who_is_held_goes_to_a_number() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = held(seed);
        world.tell(bob, Do::call("*2103"));
        wait(&mut world, 3, |world| world.rings(carl) && has_ended(world, bob, 1));
        assert_eq!(world.line(bob).status(), Some(200), "the code is taken");
        let invite = world.line(carl).invite.clone().unwrap();
        assert!(invite.header(HeaderName::ReferredBy).unwrap().contains("sip:102@"));
        assert_eq!(world.line(carl).number, "101");
        assert!(!has_ended(&world, bob, 0), "until somebody answers nothing is lost");
        world.tell(carl, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, carl) && has_ended(world, bob, 0));
        assert!(world.line(ann).shows.last().unwrap().contains("sip:103@"));
        let records = world.finish();
        assert_eq!(records.len(), 2);
    });
}

#[test]
fn where_nobody_answers_the_held_party_stays() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = held(seed);
        world.phone_mut(carl).habits.when_called = vec![(millis(20), Do::Refuse(486))];
        world.tell(bob, Do::call("*2103"));
        wait(&mut world, 3, |world| world.is_over(carl) && has_ended(world, bob, 1));
        world.pass(secs(1));
        world.tell_line(bob, 0, Do::Resume);
        world.pass(secs(2));
        assert!(world.line(ann).talks() && !has_ended(&world, bob, 0));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| has_ended(world, bob, 0));
        world.finish();
    });
}

#[test]
fn who_hangs_up_after_a_consultation_joins_both() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = held(seed);
        world.tell(bob, Do::call("*3103"));
        wait(&mut world, 3, |world| world.rings(carl));
        assert_eq!(world.line(carl).number, "102", "the consultation is a call of Bob");
        world.tell_in(millis(200), carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(bob, carl));
        world.pass(secs(1));
        world.tell(bob, Do::HangUp);
        wait(&mut world, 5, |world| world.talk(ann, carl) && has_ended(world, bob, 0) && has_ended(world, bob, 1));
        assert!(world.line(ann).shows.last().unwrap().contains("sip:103@"));
        assert!(world.line(carl).shows.last().unwrap().contains("sip:101@"));
        world.tell(carl, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.finish().len(), 2);
    });
}

#[test]
fn who_hangs_up_while_it_rings_leaves_the_held_party_waiting_for_it() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = held(seed);
        world.tell(bob, Do::call("*3103"));
        wait(&mut world, 3, |world| world.rings(carl));
        world.pass(millis(300));
        world.tell(bob, Do::HangUp);
        world.pass(secs(1));
        assert!(world.rings(carl));
        world.tell(carl, Do::Answer);
        wait(&mut world, 5, |world| world.talk(ann, carl) && has_ended(world, bob, 0));
        world.finish();
    });
}

#[test]
fn a_consultation_that_the_other_ends_leaves_the_held_party() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = held(seed);
        world.tell(bob, Do::call("*3103"));
        wait(&mut world, 3, |world| world.rings(carl));
        world.tell_in(millis(200), carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(bob, carl));
        world.pass(millis(500));
        world.tell(carl, Do::HangUp);
        wait(&mut world, 3, |world| has_ended(world, bob, 1));
        world.pass(secs(1));
        assert!(!has_ended(&world, bob, 0) && world.line(ann).talks());
        world.finish();
    });
}

#[test]
fn without_anybody_on_hold_a_code_is_refused() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        connect(&mut world, ann, bob, "102");
        for code in ["*2103", "*3103"] {
            world.tell(bob, Do::call(code));
            wait(&mut world, 3, |world| world.is_over(bob));
            let line = world.line(bob);
            assert_eq!((line.status(), line.phrase.as_str()), (Some(403), "Forbidden: you have nobody on hold"));
        }
        world.finish();
    });
}

#[test]
fn a_call_of_nobody() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.tell(ann, Do::call("*67102"));
        wait(&mut world, 3, |world| world.rings(bob));
        let invite = world.line(bob).invite.clone().unwrap();
        let from = invite.header(HeaderName::From).unwrap();
        assert!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>"), "{from}");
        assert!(!String::from_utf8_lossy(invite.bytes()).contains("sip:101@"));
        world.tell(bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        assert_eq!(world.finish()[0].from.number.as_str(), "101");
    });
}

#[test]
fn codes_are_what_the_configuration_says() {
    for_seeds(SEEDS, |seed| {
        let codes = Codes { echo: "*9".into(), hand_over: String::new(), ..Codes::default() };
        let mut world = World::with(seed, |config: &mut Config| config.codes = codes);
        let ann = world.phone("101");
        world.register(&[ann]);
        world.route("*3", RouteTarget::Service(Service::Busy));
        world.route("*37", RouteTarget::Service(Service::Busy));
        for (number, status) in [("*9", 200), ("*43", 404), ("*2103", 404), ("*37", 486), ("*38", 403)] {
            world.tell(ann, Do::call(number));
            wait(&mut world, 3, |world| world.line(ann).status().is_some());
            assert_eq!(world.line(ann).status(), Some(status), "{number}");
            world.tell(ann, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(ann));
        }
        let causes: Vec<_> = world.finish().iter().map(|cdr| cdr.ended.unwrap().cause).collect();
        assert!(causes.contains(&EndCause::Busy));
    });
}

/// Ann talks with Bob where users may transfer by typing.
fn typing_office(seed: u64) -> (World, [PhoneId; 3]) {
    let codes = Codes { typed_transfer: "*2".into(), ..Codes::default() };
    let mut world = World::with(seed, |config: &mut Config| config.codes = codes);
    let phones = ["101", "102", "103"].map(|extension| world.phone(extension));
    world.register(&phones);
    connect(&mut world, phones[0], phones[1], "102");
    (world, phones)
}

fn type_keys(world: &mut World, phone: PhoneId, keys: &str) {
    for key in keys.chars() {
        world.tell(phone, Do::Digit(key));
        world.pass(millis(300));
    }
}

#[test]
fn who_types_a_code_while_talking_sends_the_other_side_away() {
    for_seeds(SEEDS, |seed| {
        for caller_types in [true, false] {
            let (mut world, [ann, bob, carl]) = typing_office(seed);
            let (types, stays) = if caller_types { (ann, bob) } else { (bob, ann) };
            type_keys(&mut world, types, "*2103#");
            wait(&mut world, 3, |world| world.rings(carl));
            assert!(world.talk(ann, bob), "until somebody answers nothing is lost");
            world.tell(carl, Do::Answer);
            wait(&mut world, 4, |world| world.talk(stays, carl) && has_ended(world, types, 0));
            assert!(world.line(stays).shows.last().unwrap().contains("sip:103@"));
            world.tell(carl, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(stays));
            world.finish();
        }
    });
}

#[test]
fn an_account_has_its_own_code_or_none() {
    for_seeds(SEEDS, |seed| {
        for (account, everybody, typed, goes) in [
            (Some("*8"), "", "*8103#", true),
            (Some("*8"), "*2", "*2103#", false),
            (Some(""), "*2", "*2103#", false),
            (None, "*2", "*2103#", true),
        ] {
            let codes = Codes { typed_transfer: everybody.into(), ..Codes::default() };
            let mut world = World::with(seed, |config: &mut Config| config.codes = codes);
            let office = world.office;
            world.directory.change_account(office, |office| office.typed_transfer = account.map(str::to_owned));
            let [ann, bob, carl] = ["101", "102", "103"].map(|extension| world.phone(extension));
            world.register(&[ann, bob, carl]);
            connect(&mut world, ann, bob, "102");
            type_keys(&mut world, ann, typed);
            world.pass(secs(1));
            assert_eq!(world.rings(carl), goes, "{account:?} {everybody} {typed}");
            world.finish();
        }
    });
}

#[test]
fn a_phone_that_says_each_key_twice_types_it_once() {
    for_seeds(SEEDS, |seed| {
        for info_first in [true, false] {
            let (mut world, [ann, bob, carl]) = typing_office(seed);
            world.phone_mut(ann).habits.bare_digits = seed % 2 == 0;
            let call = world.calls()[0].call;
            for digit in "*2103#".chars() {
                let event = Input::Media(MediaReport::Dtmf { end: LegId { call, n: 0 }, digit, duration_ms: 100 });
                if info_first {
                    world.tell(ann, Do::Digit(digit));
                    world.pass(millis(120));
                    world.input(event);
                } else {
                    world.input(event);
                    world.tell(ann, Do::Digit(digit));
                }
                world.pass(millis(180));
            }
            wait(&mut world, 3, |world| world.rings(carl));
            assert_eq!(world.line(carl).number, "102");
            world.tell(carl, Do::Answer);
            wait(&mut world, 4, |world| world.talk(bob, carl));
            world.finish();
        }
    });
}

#[test]
fn telephone_events_are_typed_as_info_is() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = typing_office(seed);
        let call = world.calls()[0].call;
        for digit in "*2103#".chars() {
            let end = LegId { call, n: 1 };
            world.input(Input::Media(MediaReport::Dtmf { end, digit, duration_ms: 100 }));
            world.pass(millis(300));
        }
        wait(&mut world, 3, |world| world.rings(carl));
        world.tell(carl, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, carl) || world.talk(bob, carl));
        world.finish();
    });
}

/// Phones that write the key alone (`application/dtmf`) type as others do.
#[test]
fn bare_keys_are_typed_too() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = typing_office(seed);
        world.phone_mut(ann).habits.bare_digits = true;
        type_keys(&mut world, ann, "*2103#");
        wait(&mut world, 3, |world| world.rings(carl));
        assert_eq!(world.line(bob).digits.len(), 6, "who hears them hears all");
        world.tell(carl, Do::Answer);
        wait(&mut world, 4, |world| world.talk(bob, carl));
        world.finish();
    });
}

#[test]
fn typing_sends_nobody_away_where_nobody_said_so_nor_from_outside() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        connect(&mut world, ann, bob, "102");
        type_keys(&mut world, ann, "*2103#");
        world.pass(secs(1));
        assert!(world.talk(ann, bob) && world.at_phone(carl).lines.is_empty());
        world.finish();

        let (mut world, [ann, bob, carl]) = typing_office(seed);
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(bob));
        let (_, outside) = world.peer("trunk");
        world.tell(outside, Do::call("101"));
        wait(&mut world, 3, |world| world.rings(ann));
        world.tell(ann, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, outside));
        world.pass(millis(200));
        type_keys(&mut world, outside, "*2103#");
        world.pass(secs(1));
        assert!(world.talk(ann, outside) && world.at_phone(carl).lines.is_empty());
        world.finish();
    });
}
