//! Who watches whom: how subscriptions begin and end, presence, mailboxes, registrations.

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use crate::lamps::{behind_nat, lamp, shows, statuses};
use registrar::watch::Messages;
use switch::{Command, Reply};
use tests::sim::{Do, Site, World, for_seeds};

#[test]
fn a_subscription_ends_with_its_time_and_says_so() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, _bob]) = office(seed);
        world.tell(ann, Do::watch_event("102", "dialog", 60));
        wait(&mut world, 2, |world| world.lamp(ann, "102") == "idle");
        assert!(world.at_phone(ann).watching().state.starts_with("active;expires=60"));
        world.pass(secs(61));
        let watching = world.at_phone(ann).watching();
        assert_eq!((watching.state.as_str(), watching.over), ("terminated;reason=timeout", true));
        assert_eq!(world.status().subscriptions, 0);
        assert_eq!(world.store.subscriptions().count(), 0);
        world.finish();
    });
}

#[test]
fn a_subscription_is_refreshed_and_ended() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, _bob]) = office(seed);
        world.phone_mut(ann).habits.refreshes = true;
        world.tell(ann, Do::watch_event("102", "dialog", 60));
        world.pass(secs(200));
        let watching = world.at_phone(ann).watching();
        assert!(!watching.over && watching.notifies > 5, "each refresh is answered with the state");
        assert!(watching.statuses().iter().all(|status| matches!(status, 200 | 401)), "never 202");
        assert_eq!(world.status().subscriptions, 1);
        world.phone_mut(ann).habits.refreshes = false;
        world.tell(ann, Do::watch_on("102", 0));
        wait(&mut world, 2, |world| world.at_phone(ann).watching().over);
        assert_eq!(world.at_phone(ann).watching().state, "terminated;reason=timeout");
        world.pass(millis(200));
        assert_eq!(world.at_phone(ann).watching().granted(), Some(0));
        assert_eq!((world.status().subscriptions, world.store.subscriptions().count()), (0, 0));
        world.finish();
    });
}

#[test]
fn who_asks_for_no_time_is_told_once() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, _bob]) = office(seed);
        world.tell(ann, Do::watch_event("102", "dialog", 0));
        wait(&mut world, 2, |world| world.at_phone(ann).watching().over);
        let watching = world.at_phone(ann).watching();
        assert_eq!((watching.lamp(), watching.notifies), ("idle", 1));
        world.pass(millis(200));
        assert_eq!((world.status().subscriptions, world.store.subscriptions().count()), (0, 0));
        world.finish();
    });
}

#[test]
fn what_cannot_be_watched_is_refused_with_the_reason() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, _bob]) = office(seed);
        let mut ask = |number: &str, event, expires, accepts| {
            world.phone_mut(ann).habits.accepts = accepts;
            world.tell(ann, Do::watch_event(number, event, expires));
            world.pass(secs(1));
            world.at_phone(ann).watching().answers.iter().find(|answer| answer.status() != 401).unwrap().clone()
        };
        let unknown = ask("102", "as-feature-event", 600, None);
        assert_eq!(unknown.header(sip::HeaderName::AllowEvents), Some("dialog, message-summary, presence, reg"));
        assert_eq!(unknown.status(), 489);
        assert_eq!(ask("102", "dialog", 600, Some("application/pidf+xml")).status(), 406);
        let short = ask("102", "dialog", 10, None);
        assert_eq!((short.status(), short.header(sip::HeaderName::MinExpires)), (423, Some("30")));
        assert_eq!(world.at_phone(ann).watching().statuses().last(), Some(&200), "it tried again with the least");
        let mut ask = |number: &str, event| {
            world.phone_mut(ann).habits.accepts = None;
            world.tell(ann, Do::watch_event(number, event, 600));
            world.pass(secs(1));
            *world.at_phone(ann).watching().statuses().last().unwrap()
        };
        assert_eq!(ask("999", "dialog"), 404);
        assert_eq!([ask("102", "message-summary"), ask("102", "reg")], [403, 403]);
        world.finish();
    });
}

#[test]
fn a_subject_that_must_be_looked_up_costs_no_second_challenge() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = office(seed);
        world.user("150");
        // The nonce of its registration is used up, as after a restart.
        world.restart();
        for number in ["150", "151"] {
            world.tell(ann, Do::watch(number));
            world.pass(secs(1));
        }
        let all: Vec<_> = world.at_phone(ann).watchings.iter().map(tests::sim::Watching::statuses).collect();
        assert_eq!(all, [vec![401, 200], vec![404]]);
        world.finish();
    });
}

#[test]
fn strangers_and_other_accounts_see_nothing() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, _bob]) = office(seed);
        let shop = world.account("shop");
        let theirs = world.add(Site::new("102").of(shop));
        let guesser = world.add(Site::new("101").second_device());
        world.phone_mut(guesser).identity.password = Some("guessed".into());
        world.register(&[theirs]);
        // Of the other account, by its own domain: its own extension, which is free; by ours: a stranger.
        world.tell(theirs, Do::watch("101"));
        world.pass(secs(1));
        assert_eq!(statuses(&world, theirs).last(), Some(&404));
        world.phone_mut(theirs).identity.host = "office.example".into();
        for (phone, what) in [(theirs, "101"), (guesser, "102")] {
            world.tell(phone, Do::watch(what));
            world.tell(phone, Do::publish("mine", 600));
            world.pass(secs(3));
            assert!(statuses(&world, phone).iter().all(|status| *status == 401));
            assert_eq!(world.at_phone(phone).watching().notifies, 0);
            assert!(world.at_phone(phone).publication.statuses.iter().all(|status| *status == 401));
        }
        let (_, peer) = world.peer("trunk");
        world.tell(peer, Do::watch("102"));
        world.pass(secs(1));
        assert_eq!(statuses(&world, peer), [403]);
        assert_eq!((world.status().subscriptions, world.status().publications), (0, 0));
        world.tell(ann, Do::watch("102"));
        wait(&mut world, 1, |world| world.lamp(ann, "102") == "idle");
        world.finish();
    });
}

#[test]
fn inside_a_subscription_only_its_subscriber_speaks() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (here, there) = (world.nat(), world.nat());
        let (ann, bob) = (world.add(Site::new("101").behind(here)), world.phone("102"));
        world.register(&[ann, bob]);
        world.tell(ann, Do::watch("102"));
        shows(&mut world, ann, "102", "idle");
        world.pass(millis(200));
        // From elsewhere the same dialog needs the password.
        world.move_phone(ann, there);
        let password = world.at_phone(ann).identity.password.clone();
        world.phone_mut(ann).identity.password = None;
        world.tell(ann, Do::watch_on("102", 0));
        world.pass(secs(2));
        assert_eq!(statuses(&world, ann).last(), Some(&401));
        assert_eq!(world.status().subscriptions, 1);
        world.phone_mut(ann).identity.password = password;
        let notifies = world.at_phone(ann).watching().notifies;
        world.tell(ann, Do::watch_on("102", 300));
        wait(&mut world, 2, |world| statuses(world, ann).last() == Some(&200));
        wait(&mut world, 2, |world| world.at_phone(ann).watching().notifies == notifies + 1);
        world.finish();
    });
}

#[test]
fn presence_is_published_and_seen() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        world.tell(ann, Do::watch_event("102", "presence", 600));
        let says = |world: &World, text: &str| world.at_phone(ann).watching().body.contains(text);
        wait(&mut world, 2, |world| says(world, "<basic>open</basic>"));
        world.tell(bob, Do::publish("at lunch &amp; back", 120));
        wait(&mut world, 2, |world| says(world, "<note>at lunch &amp; back</note>"));
        world.pass(secs(60));
        world.tell(bob, Do::publish("", 120));
        world.pass(secs(100));
        assert!(says(&world, "at lunch"), "it was refreshed");
        connect(&mut world, bob, carl, "103");
        wait(&mut world, 2, |world| says(world, "<rpid:on-the-phone/>"));
        world.tell(bob, Do::HangUp);
        wait(&mut world, 2, |world| !says(world, "on-the-phone"));
        world.pass(secs(30));
        assert!(!says(&world, "at lunch"), "its time is over");
        world.tell(bob, Do::Unregister);
        wait(&mut world, 2, |world| says(world, "<basic>closed</basic>"));
        let statuses: Vec<u16> = world.at_phone(bob).publication.statuses.clone();
        assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
        world.finish();
    });
}

#[test]
fn after_a_restart_a_document_is_published_anew() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.tell(ann, Do::watch_event("102", "presence", 600));
        world.tell(bob, Do::publish("away", 600));
        wait(&mut world, 2, |world| world.at_phone(ann).watching().body.contains("away"));
        world.pass(millis(200));
        world.restart();
        wait(&mut world, 2, |world| !world.at_phone(ann).watching().body.contains("away"));
        world.tell(bob, Do::publish("still away", 600));
        wait(&mut world, 2, |world| world.at_phone(ann).watching().body.contains("still away"));
        assert!(world.at_phone(bob).publication.statuses.contains(&412));
        world.finish();
    });
}

#[test]
fn a_mailbox_lights_the_lamp_of_its_owner() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let (user, other) = (world.user_of(ann), world.user_of(bob));
        // By its own number, and by the number of the voice mail.
        for number in ["101", "*97"] {
            world.tell(ann, Do::watch_event(number, "message-summary", 600));
            wait(&mut world, 2, |world| world.at_phone(ann).watching().notifies == 1);
            assert!(world.at_phone(ann).watching().body.starts_with("Messages-Waiting: no\r\n"));
        }
        let set = |world: &mut World, user, new| {
            let messages = Messages { new, old: 3, ..Messages::default() };
            assert!(matches!(world.command(Command::Messages { user, messages }), Reply::Done(true)));
            world.pass(millis(500));
        };
        set(&mut world, user, 2);
        set(&mut world, other, 7);
        for watching in &world.at_phone(ann).watchings {
            assert_eq!(watching.notifies, 2, "the other mailbox is no news");
            assert!(
                watching.body.contains("Messages-Waiting: yes\r\n") && watching.body.contains("Voice-Message: 2/3 ")
            );
            assert!(watching.body.contains("Message-Account: sip:101@office.example\r\n"));
        }
        set(&mut world, user, 0);
        assert!(world.at_phone(ann).watching().body.starts_with("Messages-Waiting: no\r\n"));
        world.finish();
    });
}

#[test]
fn a_phone_sees_its_own_registrations() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, _bob]) = office(seed);
        world.phone_mut(ann).habits.refreshes = true;
        world.register(&[ann]);
        world.pass(secs(2));
        world.tell(ann, Do::watch_event("101", "reg", 600));
        let says = |world: &World, text: &str| world.at_phone(ann).watching().body.contains(text);
        // It registered twice.
        wait(&mut world, 2, |world| says(world, "state=\"active\" event=\"refreshed\"><uri>sip:101@"));
        let second = world.add(Site::new("101").second_device());
        world.register(&[second]);
        wait(&mut world, 2, |world| world.at_phone(ann).watching().body.matches("<contact ").count() == 2);
        assert!(says(&world, "state=\"active\" event=\"registered\"><uri>sip:101@198.51.100.3"));
        let notifies = world.at_phone(ann).watching().notifies;
        world.register(&[second]);
        world.pass(secs(2));
        assert_eq!(world.at_phone(ann).watching().notifies, notifies, "a refresh is no news");
        world.tell(second, Do::Unregister);
        wait(&mut world, 2, |world| says(world, "state=\"terminated\" event=\"unregistered\""));
        // One that nobody refreshes any more.
        world.register(&[second]);
        world.unplug(second);
        wait(&mut world, 3_700, |world| says(world, "event=\"expired\"><uri>sip:101@198.51.100.3"));
        world.finish();
    });
}

#[test]
fn a_state_that_does_not_come_to_rest_is_told_in_measure() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.tell(ann, Do::watch_event("102", "presence", 3_600));
        wait(&mut world, 2, |world| world.at_phone(ann).watching().notifies == 1);
        for n in 0..100 {
            world.tell(bob, Do::publish(&format!("note {n}"), 600));
            world.pass(millis(100));
        }
        world.pass(secs(3));
        let watching = world.at_phone(ann).watching();
        assert!((10..=19).contains(&watching.notifies), "{} NOTIFYs in 10 s", watching.notifies);
        assert!(watching.body.contains("<note>note 99</note>"), "the last state is the one that is seen");
        world.finish();
    });
}

#[test]
fn a_subscriber_that_knows_nothing_of_it_is_told_nothing_more() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = lamp(seed);
        // It started anew, and does not know its subscription of before.
        world.pass(millis(200));
        world.phone_mut(ann).watchings[0].over = true;
        world.tell(carl, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(secs(1));
        assert_eq!((world.status().subscriptions, world.store.subscriptions().count()), (0, 0));
        world.finish();
    });
}

#[test]
fn a_subscriber_without_power_is_given_up() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = lamp(seed);
        world.unplug(ann);
        world.tell(carl, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(secs(30));
        assert_eq!(world.status().subscriptions, 1);
        world.pass(secs(4));
        assert_eq!(world.status().subscriptions, 0);
        world.finish();
    });
}

/// RFC 6665 §4.2.2, with Retry-After and without.
#[test]
fn a_subscriber_that_asks_for_patience_gets_it() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = lamp(seed);
        let habits = &mut world.phone_mut(ann).habits;
        (habits.refuses_notifies, habits.retry_after_s) = (Some(503), Some(20));
        let notifies = world.at_phone(ann).watching().notifies;
        world.tell(carl, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(secs(1));
        // What changes meanwhile is told with the rest.
        world.phone_mut(ann).habits.refuses_notifies = None;
        world.tell(bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(carl, bob));
        world.pass(secs(17));
        assert_eq!(world.at_phone(ann).watching().notifies, notifies, "it asked for 20 seconds");
        assert_eq!((world.status().subscriptions, world.lamp(ann, "102")), (1, "idle"));
        wait(&mut world, 3, |world| world.lamp(ann, "102") == "busy");
        assert_eq!(world.at_phone(ann).watching().notifies, notifies + 1);
        let habits = &mut world.phone_mut(ann).habits;
        (habits.refuses_notifies, habits.retry_after_s) = (Some(500), None);
        world.tell(bob, Do::HangUp);
        world.pass(secs(2));
        assert_eq!(world.status().subscriptions, 0, "a failure without Retry-After ends it");
        world.finish();
    });
}

/// RFC 3891 §3: only what an INVITE began.
#[test]
fn a_subscription_is_no_call_to_be_replaced() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.tell(ann, Do::watch("102"));
        shows(&mut world, ann, "102", "idle");
        world.pass(millis(200));
        let granted = world.at_phone(ann).watching().answers.last().unwrap().clone();
        let (ours, theirs) = (granted.to_tag().unwrap(), granted.from_tag().unwrap());
        for (to, from) in [(ours, theirs), (theirs, ours)] {
            let replaces = format!("{};to-tag={to};from-tag={from}", granted.call_id().unwrap());
            world.tell(bob, Do::CallInstead { number: "102".into(), replaces });
            wait(&mut world, 3, |world| world.is_over(bob));
            assert_eq!(world.line(bob).status(), Some(481));
        }
        assert_eq!(world.status().subscriptions, 1);
        world.finish();
    });
}

#[test]
fn a_new_password_ends_what_was_watched_with_the_old_one() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _bob, _carl) = lamp(seed);
        let (account, user) = (world.office, world.user_of(ann));
        let auth_user = world.at_phone(ann).identity.auth_user.clone();
        world.command(Command::UserRevoked { account, user, auth_user });
        wait(&mut world, 2, |world| world.at_phone(ann).watching().over);
        assert_eq!(world.at_phone(ann).watching().state, "terminated;reason=deactivated");
        world.finish();
    });
}

#[test]
fn phones_are_told_to_read_their_settings() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, second) = (world.phone("101"), world.add(Site::new("101").second_device().tcp().behind(nat)));
        behind_nat(&mut world, ann);
        world.register(&[ann, second]);
        let user = world.user_of(ann);
        assert!(matches!(world.command(Command::CheckSync { user, reboot: false }), Reply::Done(true)));
        world.pass(secs(1));
        for phone in [ann, second] {
            assert_eq!(world.at_phone(phone).unasked, ["check-sync;reboot=false"]);
        }
        world.cut(second);
        world.command(Command::CheckSync { user, reboot: true });
        world.pass(secs(1));
        assert_eq!(world.at_phone(ann).unasked[1], "check-sync;reboot=true");
        world.tell(ann, Do::Unregister);
        world.pass(secs(1));
        assert!(matches!(world.command(Command::CheckSync { user, reboot: false }), Reply::Done(false)));
        world.finish();
    });
}
