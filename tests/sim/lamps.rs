//! Lamps: what they show of calls, and that they are right after everything that may happen.

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use registrar::NatPolicy;
use tests::sim::{Do, PhoneId, Site, Weather, World, for_seeds};

/// Phones 101, 102 and 103; 101 has a lamp for 102.
pub(crate) fn lamp(seed: u64) -> (World, PhoneId, PhoneId, PhoneId) {
    let (mut world, [ann, bob, carl]) = office(seed);
    world.tell(ann, Do::watch("102"));
    wait(&mut world, 2, |world| world.lamp(ann, "102") == "idle");
    (world, ann, bob, carl)
}

pub(crate) fn shows(world: &mut World, phone: PhoneId, number: &str, lamp: &str) {
    shows_within(world, 3, phone, number, lamp);
}

fn shows_within(world: &mut World, seconds: u64, phone: PhoneId, number: &str, lamp: &str) {
    let before = world.lamp(phone, number);
    assert!(world.until(secs(seconds), |world| world.lamp(phone, number) == lamp), "{before} does not become {lamp}");
}

/// What the exchange cannot see of a phone over TCP, it is told.
pub(crate) fn behind_nat(world: &mut World, phone: PhoneId) {
    let user = world.user_of(phone);
    world.directory.change_user(user, |user| user.nat = NatPolicy::Behind);
}

pub(crate) fn statuses(world: &World, phone: PhoneId) -> Vec<u16> {
    world.at_phone(phone).watching().statuses()
}

#[test]
fn a_lamp_follows_a_call_from_its_ringing_to_its_end() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = lamp(seed);
        world.tell(carl, Do::call("102"));
        shows(&mut world, ann, "102", "ringing");
        let ringing = world.at_phone(ann).watching().clone();
        let invite = world.line(bob).invite.clone().unwrap();
        assert_eq!(ringing.attribute("call-id"), invite.call_id().unwrap());
        assert_eq!(ringing.attribute("remote-tag"), invite.from_tag().unwrap());
        assert!(!ringing.attribute("local-tag").is_empty() && ringing.body.contains(">sip:103@office.example<"));
        assert_eq!((ringing.attribute("display"), ringing.attribute("direction")), ("Phone 103", "recipient"));
        world.tell(bob, Do::Answer);
        shows(&mut world, ann, "102", "busy");
        wait(&mut world, 2, |world| world.talk(bob, carl));
        world.pass(millis(200));
        world.tell(bob, Do::Hold);
        shows(&mut world, ann, "102", "holding");
        world.pass(millis(200));
        world.tell(bob, Do::Resume);
        shows(&mut world, ann, "102", "busy");
        world.pass(millis(200));
        world.tell(carl, Do::Hold);
        shows(&mut world, ann, "102", "held");
        world.tell(carl, Do::HangUp);
        shows(&mut world, ann, "102", "idle");
        world.finish();
    });
}

#[test]
fn a_lamp_shows_who_calls_and_who_was_called_by_whom() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = lamp(seed);
        world.tell(ann, Do::watch("103"));
        world.tell(bob, Do::call("103"));
        shows(&mut world, ann, "102", "calling");
        shows(&mut world, ann, "103", "ringing");
        let watching = &world.at_phone(ann).watchings;
        assert!(
            watching[0].body.contains(">sip:103@office.example<") && watching[0].attribute("direction") == "initiator"
        );
        world.tell(carl, Do::Refuse(486));
        shows(&mut world, ann, "102", "idle");
        shows(&mut world, ann, "103", "idle");
        world.finish();
    });
}

#[test]
fn a_lamp_of_a_ring_list_goes_out_when_another_answers() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl, dora]) = office(seed);
        world.ring_list("600", &["102", "103"], secs(20), false);
        for number in ["102", "103"] {
            world.tell(ann, Do::watch(number));
        }
        world.tell(dora, Do::call("600"));
        shows(&mut world, ann, "102", "ringing");
        shows(&mut world, ann, "103", "ringing");
        world.tell(carl, Do::Answer);
        shows(&mut world, ann, "103", "busy");
        shows(&mut world, ann, "102", "idle");
        wait(&mut world, 1, |world| world.is_over(bob));
        world.finish();
    });
}

#[test]
fn somebody_who_begins_to_watch_sees_the_call_that_is_up() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        connect(&mut world, bob, carl, "103");
        world.tell(ann, Do::watch("103"));
        wait(&mut world, 2, |world| world.lamp(ann, "103") == "busy");
        world.tell(ann, Do::watch("102"));
        wait(&mut world, 2, |world| world.lamp(ann, "102") == "busy");
        assert_eq!(world.at_phone(ann).watching().notifies, 1);
        world.finish();
    });
}

#[test]
fn a_lamp_tells_unplugged_from_idle() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").behind(nat)));
        world.register(&[ann]);
        world.tell(ann, Do::watch("102"));
        shows(&mut world, ann, "102", "unplugged");
        world.register(&[bob]);
        shows(&mut world, ann, "102", "idle");
        world.tell(bob, Do::Unregister);
        shows(&mut world, ann, "102", "unplugged");
        world.register(&[bob]);
        shows(&mut world, ann, "102", "idle");
        // Nobody says that the power is gone; pings do, whether a router stands between or not.
        let carl = world.phone("103");
        world.register(&[carl]);
        world.tell(ann, Do::watch("103"));
        shows(&mut world, ann, "103", "idle");
        for phone in [bob, carl] {
            world.unplug(phone);
        }
        wait(&mut world, 110, |world| world.lamp(ann, "102") == "unplugged");
        wait(&mut world, 30, |world| world.lamp(ann, "103") == "unplugged");
        world.plug(carl);
        shows_within(&mut world, 30, ann, "103", "idle");
        world.plug(bob);
        world.finish();
    });
}

#[test]
fn a_lamp_of_a_phone_over_tcp_goes_with_its_connection() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").tcp().behind(nat)));
        behind_nat(&mut world, bob);
        world.register(&[ann, bob]);
        world.tell(ann, Do::watch("102"));
        shows(&mut world, ann, "102", "idle");
        world.cut(bob);
        shows(&mut world, ann, "102", "unplugged");
        world.register(&[bob]);
        shows(&mut world, ann, "102", "idle");
        world.finish();
    });
}

#[test]
fn lamps_are_right_again_after_a_restart_without_a_refresh() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = lamp(seed);
        connect(&mut world, carl, bob, "102");
        shows(&mut world, ann, "102", "busy");
        let before = world.at_phone(ann).watching().clone();
        world.pass(secs(20));
        world.restart();
        shows(&mut world, ann, "102", "idle");
        let after = world.at_phone(ann).watching().clone();
        assert_eq!((after.notifies, after.statuses()), (before.notifies + 1, before.statuses()));
        // The phones still believe in their call; a goodbye of theirs finds nothing.
        for phone in [bob, carl] {
            world.tell(phone, Do::HangUp);
        }
        world.pass(secs(1));
        world.tell(carl, Do::call("102"));
        shows(&mut world, ann, "102", "ringing");
        world.tell(carl, Do::HangUp);
        shows(&mut world, ann, "102", "idle");
        world.tell(ann, Do::watch_on("102", 600));
        wait(&mut world, 2, |world| statuses(world, ann).len() > before.answers.len());
        assert_eq!(statuses(&world, ann).last(), Some(&200), "it is the same subscription");
        world.finish();
    });
}

#[test]
fn a_subscriber_over_tcp_is_told_again_when_it_is_back() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob, carl) = (world.add(Site::new("101").tcp()), world.phone("102"), world.phone("103"));
        world.register(&[ann, bob, carl]);
        world.tell(ann, Do::watch("102"));
        shows(&mut world, ann, "102", "idle");
        for kill in [false, true] {
            if kill {
                world.restart();
            } else {
                world.cut(ann);
            }
            world.tell(carl, Do::call("102"));
            wait(&mut world, 3, |world| world.rings(bob));
            world.pass(secs(1));
            assert_eq!(world.lamp(ann, "102"), "idle", "nobody could tell it");
            world.register(&[ann]);
            shows(&mut world, ann, "102", "ringing");
            world.tell(carl, Do::HangUp);
            shows(&mut world, ann, "102", "idle");
        }
        world.finish();
    });
}

#[test]
fn lamps_follow_a_phone_whose_router_took_another_port() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob, carl) = (world.add(Site::new("101").behind(nat)), world.phone("102"), world.phone("103"));
        world.register(&[ann, bob, carl]);
        world.tell(ann, Do::watch("102"));
        shows(&mut world, ann, "102", "idle");
        world.rebind(nat);
        world.register(&[ann]);
        world.pass(secs(1));
        world.tell(carl, Do::call("102"));
        shows(&mut world, ann, "102", "ringing");
        world.finish();
    });
}

#[test]
fn a_router_that_forgot_us_while_we_were_away_costs_no_lamp() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob, carl) = (world.add(Site::new("101").behind(nat)), world.phone("102"), world.phone("103"));
        world.register(&[ann, bob, carl]);
        world.tell(ann, Do::watch("102"));
        shows(&mut world, ann, "102", "idle");
        world.tell(carl, Do::call("102"));
        shows(&mut world, ann, "102", "ringing");
        world.pass(millis(200));
        world.rebind(nat);
        world.restart();
        world.pass(secs(40));
        assert_eq!((world.lamp(ann, "102"), world.status().subscriptions), ("ringing", 1));
        world.register(&[ann]);
        shows(&mut world, ann, "102", "idle");
        world.finish();
    });
}

#[test]
fn lamps_are_right_in_the_end_whatever_the_weather() {
    for_seeds(2 * SEEDS, |seed| {
        let (mut world, ann, bob, carl) = lamp(seed);
        world.net.weather = Weather::rough(100);
        world.phone_mut(bob).habits.when_called = vec![(millis(100), Do::Ring), (secs(2), Do::Answer)];
        for _ in 0..4 {
            world.tell(carl, Do::call("102"));
            world.pass(secs(12));
            world.tell(carl, Do::HangUp);
            world.pass(secs(12));
        }
        world.net.weather = Weather::FAIR;
        world.pass(secs(40));
        let watching = world.at_phone(ann).watching();
        assert!(watching.over || watching.lamp() == "idle", "{}", watching.body);
        world.finish();
    });
}

/// The network is so slow that the next thing happens before the last one is known to have been heard.
#[test]
fn what_changes_while_a_lamp_is_told_is_told_next() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob, carl) = lamp(seed);
        world.net.weather = Weather { delay: (millis(600), millis(600)), ..Weather::FAIR };
        world.phone_mut(bob).habits.when_called = vec![(millis(20), Do::Ring), (millis(400), Do::Answer)];
        world.tell(carl, Do::call("102"));
        shows_within(&mut world, 6, ann, "102", "ringing");
        shows_within(&mut world, 4, ann, "102", "busy");
        world.tell(carl, Do::HangUp);
        shows_within(&mut world, 6, ann, "102", "idle");
        world.finish();
    });
}

#[test]
fn a_thousand_watchers_of_one_extension_hold_up_nobody() {
    for_seeds(2, |seed| {
        let mut world = World::new(seed);
        let watchers: Vec<PhoneId> = (0..4).map(|n| world.phone(&(201 + n).to_string())).collect();
        let (bob, carl) = (world.phone("102"), world.phone("103"));
        world.register(&watchers);
        world.register(&[bob, carl]);
        for _ in 0..250 {
            for &phone in &watchers {
                world.tell(phone, Do::watch_event("102", "dialog", 3_600));
            }
            world.pass(millis(5));
        }
        world.pass(secs(5));
        let count = |world: &World, lamp: &str| {
            let all = watchers.iter().flat_map(|&phone| &world.at_phone(phone).watchings);
            all.filter(|watching| watching.lamp() == lamp).count()
        };
        assert_eq!(count(&world, "idle"), 1_000);
        world.tell(carl, Do::call("102"));
        wait(&mut world, 1, |world| world.rings(bob));
        let first = world.until(millis(500), |world| count(world, "ringing") > 0);
        assert!(first && count(&world, "ringing") < 200, "they are told in turns");
        wait(&mut world, 1, |world| count(world, "ringing") == 1_000);
        world.finish();
    });
}

#[test]
fn five_thousand_lamps_leave_nothing_behind() {
    for_seeds(1, |seed| {
        let mut world = World::new(seed);
        let watchers: Vec<PhoneId> = (0..10).map(|n| world.phone(&(201 + n).to_string())).collect();
        let phones: Vec<PhoneId> = (0..20).map(|n| world.phone(&(1_000 + n).to_string())).collect();
        for n in 20..500 {
            world.user(&(1_000 + n).to_string());
        }
        world.register(&watchers);
        world.register(&phones);
        for n in 0..500 {
            for &phone in &watchers {
                world.tell(phone, Do::watch_event(&(1_000 + n).to_string(), "dialog", 1_800));
            }
            world.pass(millis(2));
        }
        world.pass(secs(5));
        assert_eq!(world.status().subscriptions, 5_000);
        assert_eq!(world.store.subscriptions().count(), 5_000);
        let lamps = |world: &World, lamp: &str| {
            let all = watchers.iter().flat_map(|&phone| &world.at_phone(phone).watchings);
            all.filter(|watching| watching.lamp() == lamp).count()
        };
        assert_eq!((lamps(&world, "idle"), lamps(&world, "unplugged")), (200, 4_800));
        for pair in phones.chunks(2) {
            let number = world.at_phone(pair[1]).identity.number.clone();
            world.tell(pair[0], Do::call(&number));
        }
        world.pass(secs(2));
        assert_eq!((lamps(&world, "ringing"), lamps(&world, "calling")), (100, 100));
        for pair in phones.chunks(2) {
            world.tell(pair[1], Do::Answer);
        }
        world.pass(secs(2));
        assert_eq!(lamps(&world, "busy"), 200);
        world.restart();
        world.pass(secs(3));
        assert_eq!(lamps(&world, "idle"), 200);
        assert_eq!(world.status().subscriptions, 5_000);
        world.finish();
    });
}
