//! What phones and switches write in ways of their own: numbers, names of ours, and where they are.

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use switch::account::RouteTarget;
use tests::sim::{Do, PhoneId, Site, World, for_seeds};
use words::{EndCause, Transport};

#[test]
fn a_number_is_dialled_however_a_phone_writes_it() {
    for_seeds(4, |seed| {
        for written in [
            "sip:102;phone-context=office.example@office.example;user=phone",
            "sip:1-02@office.example;user=phone",
            "sip:102;cpc=ordinary@office.example",
            "sip:%31%30%32@office.example",
            "SIP:102@Office.Example",
            "tel:1-0-2",
            "tel:102;phone-context=office.example",
        ] {
            let (mut world, [ann, bob]) = office(seed);
            connect(&mut world, ann, bob, written);
            world.tell(ann, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(bob));
            assert_eq!(world.finish()[0].to.number.as_str(), "102", "{written}");
        }
    });
}

#[test]
fn a_code_is_known_with_its_stars_escaped() {
    for_seeds(4, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(millis(300));
        world.tell(carl, Do::call("sip:%2A%2A102@office.example;user=phone"));
        wait(&mut world, 3, |world| world.talk(ann, carl) && world.is_over(bob));
        world.finish();
    });
}

/// Ann, and a peer to which numbers with a plus go.
fn with_peer(seed: u64) -> (World, PhoneId, PhoneId) {
    let mut world = World::new(seed);
    let ann = world.phone("101");
    let (peer, carrier) = world.peer("carrier");
    world.route("+*", RouteTarget::Peer { peer, strip: 0, prepend: String::new() });
    world.register(&[ann]);
    (world, ann, carrier)
}

#[test]
fn a_peer_is_sent_a_uri_whatever_was_dialled() {
    for_seeds(4, |seed| {
        for (dialled, sent) in [("+7495%23", "+7495%23"), ("+7%20495%0D%0AX%3a%20y%40z", "+7%20495%0D%0AX%3A%20y%40z")]
        {
            let (mut world, ann, carrier) = with_peer(seed);
            let host = world.at_phone(carrier).address;
            world.tell(ann, Do::call(&format!("sip:{dialled}@office.example")));
            wait(&mut world, 3, |world| world.rings(carrier));
            let invite = world.line(carrier).invite.clone().unwrap();
            assert_eq!(invite.request_uri(), format!("sip:{sent}@{host}"));
            assert_eq!(invite.to().unwrap().uri, invite.request_uri());
            world.tell(ann, Do::HangUp);
            world.finish();
        }
    });
}

#[test]
fn a_caller_is_shown_without_what_its_operator_adds() {
    for_seeds(4, |seed| {
        let (mut world, ann, carrier) = with_peer(seed);
        world.phone_mut(carrier).identity.number = "+74951234567;cpc=ordinary;npdi".into();
        world.tell(carrier, Do::call("101"));
        wait(&mut world, 3, |world| world.rings(ann));
        assert_eq!(world.line(ann).number, "+74951234567");
        world.tell(ann, Do::HangUp);
        world.finish();
    });
}

/// Three phones that know the exchange by another name than their account's domain.
fn at_another_name(seed: u64) -> (World, [PhoneId; 3]) {
    let mut world = World::new(seed);
    let phones = ["101", "102", "103"].map(|extension| world.phone(extension));
    for phone in phones {
        world.phone_mut(phone).identity.host = "pbx.lan".into();
    }
    world.register(&phones);
    (world, phones)
}

#[test]
fn a_phone_transfers_to_the_name_that_it_knows_us_by() {
    for_seeds(SEEDS, |seed| {
        for by_callee in [true, false] {
            let (mut world, [ann, bob, carl]) = at_another_name(seed);
            connect(&mut world, ann, bob, "102");
            let (by, stays) = if by_callee { (bob, ann) } else { (ann, bob) };
            world.tell(by, Do::transfer("103"));
            wait(&mut world, 3, |world| world.rings(carl));
            world.tell_in(millis(300), carl, Do::Answer);
            wait(&mut world, 4, |world| world.talk(stays, carl) && world.is_over(by));
            // It is its own name for us, not anybody's.
            world.tell(carl, Do::transfer("sip:102@elsewhere.lan"));
            wait(&mut world, 3, |world| world.line(carl).notified.last().is_some_and(|told| told.contains("403")));
            world.finish();
        }
    });
}

#[test]
fn a_phone_forwards_to_the_name_that_it_knows_us_by() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = at_another_name(seed);
        let redirect = Do::Redirect(vec!["<sip:103@PBX.lan:5060;user=phone>".into()]);
        world.phone_mut(bob).habits.when_called = vec![(millis(20), redirect)];
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(carl));
        world.tell(carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, carl));
        world.finish();
    });
}

/// Connects two, each with the number at which it is called: the first calls, or is called.
fn talk(world: &mut World, calls: bool, first: (PhoneId, &str), second: (PhoneId, &str)) {
    let (caller, callee) = if calls { (first, second) } else { (second, first) };
    connect(world, caller.0, callee.0, callee.1);
}

/// Ends the only call: the other hears of it, and its record says so.
fn hang_up(mut world: World, by: PhoneId, other: PhoneId) {
    world.tell(by, Do::HangUp);
    wait(&mut world, 3, |world| world.is_over(other));
    let ended = world.finish()[0].ended.as_ref().map(|ended| ended.cause);
    assert_eq!(ended, Some(EndCause::Normal));
}

/// A router was switched off and on: the phone registers from another port, and says nothing in its call.
#[test]
fn a_phone_that_registers_from_elsewhere_is_told_the_end_of_its_call_there() {
    for_seeds(SEEDS, |seed| {
        for calls in [true, false] {
            let mut world = World::new(seed);
            let nat = world.nat();
            let (ann, bob) = (world.add(Site::new("101").behind(nat)), world.phone("102"));
            world.register(&[ann, bob]);
            talk(&mut world, calls, (ann, "101"), (bob, "102"));
            world.rebind(nat);
            world.register(&[ann]);
            world.pass(secs(1));
            hang_up(world, bob, ann);
        }
    });
}

/// Its connection broke, and it registers over the next one at once, as phones do.
#[test]
fn a_phone_that_registers_over_its_next_connection_keeps_its_call() {
    for_seeds(SEEDS, |seed| {
        for calls in [true, false] {
            let mut world = World::new(seed);
            let (ann, bob) = (world.add(Site::new("101").tcp()), world.phone("102"));
            world.register(&[ann, bob]);
            talk(&mut world, calls, (ann, "101"), (bob, "102"));
            world.cut(ann);
            world.pass(secs(5));
            world.register(&[ann]);
            world.pass(secs(60));
            assert!(world.talk(ann, bob));
            hang_up(world, bob, ann);
        }
    });
}

/// An office has a switch of its own and a few phones that are ours, all behind one address.
#[test]
fn phones_beside_a_peer_are_phones() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (peer, switch) = world.peer_at("office", "203.0.113.1:5060".parse().unwrap());
        world.route("9*", RouteTarget::Peer { peer, strip: 1, prepend: String::new() });
        let (ann, bob) = (world.add(Site::new("101").behind(nat)), world.phone("102"));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        assert_eq!(world.line(bob).number, "101");
        world.tell(bob, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann));
        connect(&mut world, bob, ann, "101");
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(bob));
        world.tell(ann, Do::call("91234"));
        wait(&mut world, 3, |world| world.rings(switch));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(switch));
        world.tell(switch, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        let records = world.finish();
        let from = records.iter().map(|cdr| (cdr.from.user.is_some(), cdr.from.peer)).collect::<Vec<_>>();
        assert_eq!(from, [(true, None), (true, None), (true, None), (false, Some(peer))]);
    });
}

/// Many a switch closes connections over which nothing was said for two minutes, and opens others when it needs them.
#[test]
fn a_peer_that_closes_idle_connections_keeps_its_calls() {
    for_seeds(SEEDS, |seed| {
        for (calls, hangs_up) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut world = World::new(seed);
            let ann = world.phone("101");
            let address = "198.18.0.9:5060".parse().unwrap();
            let (peer, switch) = world.peer_over("switch", address, Transport::Tcp);
            world.route("9*", RouteTarget::Peer { peer, strip: 1, prepend: String::new() });
            world.register(&[ann]);
            talk(&mut world, calls, (switch, "91234"), (ann, "101"));
            for _ in 0..2 {
                world.pass(secs(10));
                world.cut(switch);
                world.pass(secs(60));
                assert!(world.talk(ann, switch));
                // It is reached over a connection of ours, and what it says over one of its own counts.
                for phone in [ann, switch] {
                    let before = world.line(phone).changes.len();
                    world.tell(phone, Do::Move);
                    wait(&mut world, 3, |world| world.line(phone).changes.len() > before);
                    assert_eq!(world.line(phone).changes.last(), Some(&200));
                    world.pass(millis(300));
                }
                assert!(world.talk(ann, switch));
            }
            world.cut(switch);
            world.pass(secs(1));
            let (first, other) = if hangs_up { (switch, ann) } else { (ann, switch) };
            hang_up(world, first, other);
        }
    });
}
