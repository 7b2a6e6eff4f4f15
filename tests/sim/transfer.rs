//! Transfers (RFC 3515, RFC 5589, RFC 5359).

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use crate::hostile::{Letter, stranger};
use switch::ListenerConfig;
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

/// Who has hung up answers 481 to what it is asked then, and that may come before its goodbye.
#[test]
fn who_stays_changes_something_while_who_transfers_hangs_up() {
    for_seeds(SEEDS, |seed| {
        for (offset, update) in (0..16).flat_map(|offset| [(offset, false), (offset, true)]) {
            let (mut world, ann, bob, carl) = trio(seed * 1_000 + offset);
            for phone in [ann, bob] {
                let habits = &mut world.phone_mut(phone).habits;
                (habits.takes_update, habits.changes_by_update) = (update, update);
            }
            world.phone_mut(bob).habits.parts = Parts::AtOnce;
            // So long that the silence of who has left would be noticed.
            world.phone_mut(carl).habits.when_called = vec![(millis(50), Do::Ring), (secs(25), Do::Answer)];
            world.pass(secs(40));
            world.tell_in(millis(200), bob, Do::transfer("103"));
            world.tell_in(millis(190 + 8 * offset), ann, Do::Move);
            wait(&mut world, 40, |world| world.is_over(bob) && world.talk(ann, carl));
            world.tell_in(secs(6), carl, Do::HangUp);
            wait(&mut world, 8, |world| world.is_over(ann));
            let cdr = world.finish().remove(0);
            assert_eq!((cdr.transfers.len(), cdr.ended.map(|end| end.cause)), (1, Some(EndCause::Normal)));
        }
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

/// Bob holds Ann and calls Carl on a line of his own.
fn consult(world: &mut World, bob: PhoneId, carl: PhoneId, answers: bool) {
    consult_by(world, bob, carl, answers, Do::call("103"));
}

fn consult_by(world: &mut World, bob: PhoneId, carl: PhoneId, answers: bool, call: Do) {
    hold(world, bob);
    world.tell(bob, call);
    wait(world, 3, |world| world.rings(carl));
    world.pass(millis(300));
    if answers {
        world.tell(carl, Do::Answer);
        wait(world, 3, |world| world.talk(bob, carl));
        world.pass(millis(200));
    }
}

/// Whether all lines of a phone are over.
fn is_rid(world: &World, phone: PhoneId) -> bool {
    world.at_phone(phone).lines.iter().all(tests::sim::Line::is_over)
}

/// RFC 5359 §2.5: who transfers has talked to the third before.
#[test]
fn transfer_attended() {
    for_seeds(2 * SEEDS, |seed| {
        for (line, parts) in [(0, Parts::AtSuccess), (1, Parts::AtSuccess), (0, Parts::Never), (1, Parts::Never)] {
            let (mut world, ann, bob, carl) = trio(seed);
            world.phone_mut(bob).habits.parts = parts;
            consult(&mut world, bob, carl, true);
            if line == 0 {
                hold(&mut world, bob);
            }
            let other = 1 - line;
            world.tell_line(bob, line, Do::transfer_to_line(if other == 0 { "101" } else { "103" }, other));
            wait(&mut world, 4, |world| world.talk(ann, carl));
            wait(&mut world, 3, |world| is_rid(world, bob));
            assert_eq!(world.at_phone(bob).lines[line].refers, [202]);
            assert!(world.line(ann).shows.last().is_some_and(|shown| shown.contains("sip:103@")));
            assert!(world.line(carl).shows.last().is_some_and(|shown| shown.contains("sip:101@")));
            world.pass(secs(40));
            assert!(world.talk(ann, carl));
            world.tell(ann, Do::Hold);
            wait(&mut world, 3, |world| !world.hears(ann, carl) && world.hears(carl, ann));
            world.tell_in(secs(2), carl, Do::HangUp);
            wait(&mut world, 4, |world| world.is_over(ann));
            let cdrs = world.finish();
            // The call in which REFER was sent goes on, the other one ends in it.
            let (on, gone) = (&cdrs[line], &cdrs[other]);
            assert_eq!((on.ended.unwrap().cause, gone.ended.unwrap().cause), (EndCause::Normal, EndCause::Transferred));
            assert_eq!((on.transfers[0].with, gone.transfers[0].with), (Some(gone.call), Some(on.call)));
            let who = [&on.transfers[0], &gone.transfers[0]].map(|transfer| transfer.who.number.as_str());
            assert_eq!(who, if line == 0 { ["103", "101"] } else { ["101", "103"] });
        }
    });
}

/// The third one still rings: who is transferred waits for him.
#[test]
fn transfer_semi_attended() {
    for_seeds(2 * SEEDS, |seed| {
        for (parts, late) in
            [(Parts::AtOnce, false), (Parts::AtSuccess, false), (Parts::Never, false), (Parts::AtSuccess, true)]
        {
            let (mut world, ann, bob, carl) = trio(seed);
            world.phone_mut(bob).habits.parts = parts;
            consult_by(&mut world, bob, carl, false, Do::Call { number: "103".into(), without_offer: late });
            world.tell_line(bob, 0, Do::transfer_to_line("103", 1));
            // His own call to the third one is not his any more.
            wait(&mut world, 3, |world| world.is_over(bob));
            assert_eq!(world.line(bob).status(), Some(487));
            world.tell_in(secs(2), carl, Do::Answer);
            wait(&mut world, 6, |world| world.talk(ann, carl));
            wait(&mut world, 3, |world| is_rid(world, bob));
            if parts != Parts::AtOnce {
                assert_eq!(world.at_phone(bob).lines[0].notified.last().map(|body| &body[8..11]), Some("200"));
            }
            assert!(world.line(ann).shows.last().is_some_and(|shown| shown.contains("sip:103@")));
            world.tell(carl, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(ann));
            let cdrs = world.finish();
            assert_eq!(cdrs[1].ended.unwrap().cause, EndCause::Transferred);
            assert!(cdrs[1].answered.is_none() && cdrs[0].transfers[0].with == Some(cdrs[1].call));
        }
    });
}

#[test]
fn the_third_one_of_a_semi_attended_transfer_refuses() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = trio(seed);
        consult(&mut world, bob, carl, false);
        world.tell_line(bob, 0, Do::transfer_to_line("103", 1));
        world.tell_in(secs(2), carl, Do::Refuse(486));
        let told =
            |world: &World| world.at_phone(bob).lines[0].notified.last().is_some_and(|body| body.contains("486"));
        wait(&mut world, 6, told);
        world.tell_line(bob, 0, Do::Resume);
        wait(&mut world, 3, |world| world.line(ann).talks() && world.at_phone(bob).lines[0].session.sends());
        world.pass(secs(2));
        assert!(world.at_phone(bob).lines[0].talks() && world.line(ann).session.hears());
        world.finish();
    });
}

#[test]
fn a_dialog_that_is_not_of_the_account_is_not_there() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, _) = trio(seed);
        let shop = world.account("shop");
        let [eve, fred] = ["101", "102"].map(|extension| world.add(tests::sim::Site::new(extension).of(shop)));
        world.register(&[eve, fred]);
        connect(&mut world, eve, fred, "102");
        let replaces = world.at_phone(bob).replaces(0).unwrap();
        let to = format!("sip:102@office.example?Replaces={}", replaces.replace(';', "%3B").replace('=', "%3D"));
        for victim in [&to, "sip:x@shop.example?Replaces=none%3Bto-tag%3Da%3Bfrom-tag%3Db"] {
            let before = world.line(eve).refers.len();
            world.tell(eve, Do::transfer(victim));
            wait(&mut world, 3, |world| world.line(eve).refers.len() > before);
            // Not 481, which would be about the very call that is transferred.
            assert_eq!(world.line(eve).refers.last(), Some(&603));
            assert!(world.talk(eve, fred));
        }
        world.tell(eve, Do::CallInstead { number: "102".into(), replaces });
        wait(&mut world, 3, |world| world.is_over(eve));
        assert_eq!(world.line(eve).status(), Some(481));
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

/// RFC 3891 §3, RFC 5359 §2.5: a phone comes in the place of another one by itself.
#[test]
fn an_invite_takes_the_place_of_who_talks() {
    for_seeds(2 * SEEDS, |seed| {
        for victim in 0..2 {
            let (mut world, ann, bob, carl) = trio(seed);
            let (gone, stays) = if victim == 0 { (ann, bob) } else { (bob, ann) };
            let replaces = world.at_phone(gone).replaces(0).unwrap();
            world.tell(carl, Do::CallInstead { number: "102".into(), replaces: format!("{replaces};early-only") });
            wait(&mut world, 3, |world| world.is_over(carl));
            assert_eq!(world.line(carl).status(), Some(486));
            world.tell(carl, Do::CallInstead { number: "102".into(), replaces });
            wait(&mut world, 4, |world| world.talk(stays, carl) && world.is_over(gone));
            assert!(world.line(stays).shows.last().is_some_and(|shown| shown.contains("sip:103@")));
            world.pass(secs(40));
            assert!(world.talk(stays, carl));
            world.tell(stays, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(carl));
            let cdr = world.finish().remove(0);
            assert_eq!((cdr.transfers[0].by, cdr.transfers[0].who.number.as_str()), (victim, "103"));
        }
    });
}

#[test]
fn who_stays_may_refuse_who_comes() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = trio(seed);
        world.phone_mut(ann).habits.refuses_changes = Some(488);
        let replaces = world.at_phone(bob).replaces(0).unwrap();
        world.tell(carl, Do::CallInstead { number: "102".into(), replaces });
        wait(&mut world, 3, |world| world.is_over(carl));
        assert_eq!(world.line(carl).status(), Some(488));
        assert!(world.talk(ann, bob));
        assert!(world.finish()[0].transfers.is_empty());
    });
}

#[test]
fn a_transfer_that_rings_is_picked_up() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl, dora]) = office(seed);
        connect(&mut world, ann, bob, "102");
        hold(&mut world, bob);
        world.tell(bob, Do::transfer("103"));
        wait(&mut world, 3, |world| world.rings(carl));
        world.pass(millis(300));
        world.tell(dora, Do::call("**103"));
        wait(&mut world, 4, |world| world.talk(ann, dora) && world.is_over(bob) && world.is_over(carl));
        assert_eq!(told(&world, bob).last(), Some(&"200"));
        world.finish();
    });
}

#[test]
fn a_caller_that_waits_keeps_its_place() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.line(ann).statuses.contains(&180));
        let replaces = world.at_phone(ann).replaces(0).unwrap();
        world.tell(carl, Do::CallInstead { number: "102".into(), replaces });
        wait(&mut world, 3, |world| world.is_over(carl));
        assert_eq!(world.line(carl).status(), Some(481));
        world.tell(bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        world.finish();
    });
}

/// Another phone knows the ids of a dialog, and even has a password of its own: nothing is transferred.
#[test]
fn a_referral_from_another_source_is_refused() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = trio(seed);
        let ids = world.at_phone(bob).replaces(0).unwrap();
        let id = |name: &str| ids.split(';').find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
        let call_id = ids.split(';').next().unwrap();
        let (ours, theirs) = (id("to-tag="), id("from-tag="));
        let refer = sip::MessageBuilder::request("REFER", "sip:102@192.0.2.10")
            .header(sip::HeaderName::MaxForwards, "70")
            .header(sip::HeaderName::From, &format!("<sip:102@office.example>;tag={theirs}"))
            .header(sip::HeaderName::To, &format!("<sip:101@office.example>;tag={ours}"))
            .header(sip::HeaderName::CallId, call_id)
            .header(sip::HeaderName::CSeq, "900 REFER")
            .header(sip::HeaderName::ReferTo, "<sip:103@office.example>")
            .header(sip::HeaderName::Contact, "<sip:103@198.51.100.3>")
            .finish_with_via("SIP/2.0/UDP 198.51.100.3:5060;branch=z9hG4bKevil;rport", None);
        let flow = words::Flow {
            transport: words::Transport::Udp,
            listener: 0,
            connection: words::ConnectionId::NONE,
            local: "192.0.2.10:5060".parse().unwrap(),
            remote: world.at_phone(carl).address,
        };
        world.input(switch::Input::Message { flow, bytes: refer });
        world.pass(secs(2));
        assert!(world.at_phone(carl).lines.is_empty(), "nobody is called");
        assert!(world.talk(ann, bob));
        assert!(world.transcript().text().lines().any(|line| line.contains("-> 198.51.100.3") && line.contains("401")));
        assert!(world.finish()[0].transfers.is_empty());
    });
}

/// Phones with one key for it put both on hold before they bring them together, the second at the same moment.
#[test]
fn an_attended_transfer_joins_two_who_are_both_on_hold() {
    for_seeds(2 * SEEDS, |seed| {
        for (line, at_once) in [(0, false), (1, false), (0, true), (1, true)] {
            let (mut world, ann, bob, carl) = trio(seed);
            consult(&mut world, bob, carl, true);
            world.pass(millis(200));
            let other = 1 - line;
            world.tell_line(bob, 1, Do::Hold);
            if !at_once {
                wait(&mut world, 3, |world| !world.at_phone(bob).lines[1].changes.is_empty());
                world.pass(millis(200));
            }
            let number = if other == 0 { "101" } else { "103" };
            world.tell_line(bob, line, Do::transfer_to_line(&format!("sip:{number}@office.example;user=phone"), other));
            wait(&mut world, 4, |world| world.talk(ann, carl));
            wait(&mut world, 3, |world| is_rid(world, bob));
            world.tell(ann, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(carl));
            world.finish();
        }
    });
}

#[test]
fn a_refer_may_say_the_method_that_it_means_anyway() {
    for_seeds(4, |seed| {
        for (to, status) in [
            ("sip:103@office.example;method=INVITE", 202),
            ("sip:103@office.example;user=phone;method=INVITE?X-Any=1", 202),
            ("sip:103@office.example;method=BYE", 403),
            ("tel:1-0-3", 202),
        ] {
            let (mut world, ann, bob, carl) = trio(seed);
            world.tell(bob, Do::transfer(to));
            wait(&mut world, 3, |world| !world.line(bob).refers.is_empty());
            assert_eq!(world.line(bob).refers, [status], "{to}");
            if status == 202 {
                wait(&mut world, 3, |world| world.rings(carl));
                world.tell(carl, Do::Answer);
                wait(&mut world, 4, |world| world.talk(ann, carl) && world.is_over(bob));
            }
            world.finish();
        }
    });
}

/// RFC 3891 §3, §8: whose people are not of the account has no part in its calls, whatever ids he knows.
#[test]
fn from_outside_nobody_takes_the_place_of_others() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = trio(seed);
        let (_, pbx) = world.peer("pbx");
        let replaces = world.at_phone(bob).replaces(0).unwrap();
        world.tell(pbx, Do::CallInstead { number: "102".into(), replaces: replaces.clone() });
        wait(&mut world, 3, |world| world.is_over(pbx));
        assert_eq!(world.line(pbx).status(), Some(481));
        // By REFER in a call of its own neither.
        world.tell(pbx, Do::call("103"));
        wait(&mut world, 3, |world| world.rings(carl));
        world.tell(carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(pbx, carl));
        world.pass(millis(200));
        let escaped = replaces.replace(';', "%3B").replace('=', "%3D").replace('@', "%40");
        world.tell(pbx, Do::transfer(&format!("sip:102@office.example?Replaces={escaped}")));
        wait(&mut world, 3, |world| world.line(pbx).refers == [603]);
        assert!(world.talk(ann, bob) && world.talk(pbx, carl));
        // What is its own it may have: so an exchange of an office transfers.
        let own = world.at_phone(pbx).replaces(1).unwrap();
        world.tell(pbx, Do::CallInstead { number: "103".into(), replaces: own });
        wait(&mut world, 4, |world| world.line(pbx).talks() && world.talk(pbx, carl));
        wait(&mut world, 3, |world| world.at_phone(pbx).lines[1].is_over());
        world.finish();
    });
}

/// On a listener where nobody is asked for a password.
#[test]
fn a_stranger_takes_the_place_of_nobody() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::with(seed, |config| {
            let open = ListenerConfig { account: Some(words::AccountId(1)), port: None, open: true };
            config.listeners = vec![open; 2];
        });
        let [ann, bob] = ["101", "102"].map(|extension| world.phone(extension));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        let replaces = world.at_phone(bob).replaces(0).unwrap();
        let source = stranger();
        let letter = Letter::new("INVITE", source, 1).with("Contact", &format!("<sip:x@{source}>"));
        let letter = letter.with("Replaces", &replaces).describing("198.51.100.66");
        assert_eq!(letter.status(&mut world), 481);
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

/// 491 would end the matter for a phone whose INVITE begins a dialog.
#[test]
fn who_comes_waits_for_a_change_and_not_for_ever() {
    for_seeds(SEEDS, |seed| {
        for what in 0..3 {
            let (mut world, ann, bob, carl) = trio(seed);
            let replaces = world.at_phone(ann).replaces(0).unwrap();
            world.unplug(bob);
            world.tell(ann, Do::Hold);
            world.pass(millis(200));
            world.tell(carl, Do::CallInstead { number: "102".into(), replaces });
            world.pass(secs(2));
            assert_eq!(world.line(carl).status(), None, "it waits");
            match what {
                0 => {
                    world.plug(bob);
                    wait(&mut world, 8, |world| world.talk(bob, carl) && world.is_over(ann));
                    world.pass(secs(40));
                    assert!(world.talk(bob, carl));
                }
                1 => {
                    wait(&mut world, 22, |world| world.is_over(carl));
                    assert_eq!(world.line(carl).status(), Some(480));
                    assert!(world.line(carl).phrase.contains("being changed") && world.line(ann).talks());
                }
                _ => {
                    world.tell(carl, Do::HangUp);
                    wait(&mut world, 3, |world| world.is_over(carl));
                    assert_eq!(world.line(carl).status(), Some(487));
                    world.plug(bob);
                    wait(&mut world, 8, |world| world.line(ann).changes == [200]);
                }
            }
            world.finish();
        }
    });
}
