//! Registrations: passwords, refreshes, refusals, and what outlives a process.

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use crate::hostile::Letter;
use media::command::Family;
use sip::{HeaderName, Message};
use tests::sim::{Do, Site, World, for_seeds};
use words::{EndCause, Transport};

#[test]
fn a_phone_proves_its_password_and_is_bound() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        world.register(&[ann]);
        assert_eq!(world.at_phone(ann).registration.statuses(), [401, 200]);
        let bound = world.bound();
        assert_eq!(bound.len(), 1);
        assert!(!bound[0].nat && !bound[0].unreachable);
        assert!(world.finish().is_empty());
    });
}

/// RFC 3261 §10.3: without parameters, escapes undone, a host in whatever case.
#[test]
fn an_address_of_record_is_one_however_it_is_written() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        world.register(&[bob]);
        let (home, user) = (world.at_phone(ann).address, world.user_of(ann));
        for (n, to) in
            ["<sip:%310%31@OFFICE.Example>", "<sip:101@office.example;transport=tcp;x=y>;p=q"].iter().enumerate()
        {
            let contact = format!("<sip:101@{home};n={n}>");
            let letter = Letter { to: (*to).to_owned(), ..Letter::register(home, &contact, n as u32) };
            let asked = letter.send(&mut world).pop().unwrap();
            assert_eq!(letter.proving(&asked, "office-101").status(&mut world), 200, "{to}");
            let bound = world.bound();
            assert!(
                bound.iter().any(|bound| bound.user == user && bound.contact.ends_with(&format!("n={n}"))),
                "{bound:?}"
            );
        }
        world.finish();
    });
}

#[test]
fn a_registration_is_refreshed_and_removed() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        world.phone_mut(ann).habits.refreshes = true;
        world.register(&[ann]);
        let granted = u64::from(world.at_phone(ann).registration.granted.unwrap());
        world.pass(secs(3 * granted));
        assert_eq!(world.bound().len(), 1, "it was refreshed in time");
        assert!(world.at_phone(ann).registration.statuses().iter().all(|status| matches!(status, 200 | 401)));
        world.phone_mut(ann).habits.refreshes = false;
        world.tell(ann, Do::Unregister);
        wait(&mut world, 2, |world| world.at_phone(ann).registration.granted.is_none());
        assert!(world.bound().is_empty());
        assert_eq!(world.store.bindings().count(), 0);
        world.finish();
    });
}

#[test]
fn a_registration_ends_with_its_time() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let granted = u64::from(world.at_phone(bob).registration.granted.unwrap());
        world.pass(secs(granted + 1));
        world.register(&[ann]);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 2, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(480));
        assert!(world.at_phone(bob).lines.is_empty());
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Unavailable);
    });
}

/// RFC 3608 §5, §6.3: each 200 names where the device registered, as a loose route, and no refusal does. What it then sends
/// through that route arrives.
#[test]
fn a_phone_is_told_to_send_all_through_us() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::with(seed, |config| {
            config.families = vec![Family::V4, Family::V6];
            config.service_route = true;
        });
        let sites = [
            (Site::new("101"), "<sip:192.0.2.10:5060;lr>"),
            (Site::new("102").tcp(), "<sip:192.0.2.10:5060;transport=tcp;lr>"),
            (Site::new("103").over(Transport::Tls), "<sip:192.0.2.10:5060;transport=tls;lr>"),
            (Site::new("104").over(Transport::Wss), "<sip:192.0.2.10:5060;transport=ws;lr>"),
            (Site::new("105").ipv6(), "<sip:[2001:db8::10]:5060;lr>"),
        ];
        let expected = sites.clone().map(|(_, route)| route);
        let phones = sites.map(|(site, _)| world.add(site));
        // The first asks what is bound before anything is, and is told the least time after that.
        world.tell(phones[0], Do::AskBindings);
        wait(&mut world, 3, |world| !world.at_phone(phones[0]).registration.asking);
        world.tell(phones[0], Do::Register(5));
        wait(&mut world, 3, |world| world.at_phone(phones[0]).registration.granted.is_some());
        assert_eq!(world.at_phone(phones[0]).registration.statuses(), [401, 200, 423, 200]);
        world.register(&phones[1..]);
        for (phone, route) in phones.into_iter().zip(expected) {
            for answer in &world.at_phone(phone).registration.answers {
                let told: Vec<&str> = answer.values(HeaderName::ServiceRoute).collect();
                assert_eq!(told, if answer.status() == 200 { vec![route] } else { vec![] }, "{}", answer.status());
            }
            world.phone_mut(phone).habits.knows_service_route = true;
        }
        let [ann, rest @ ..] = phones;
        for caller in rest {
            connect(&mut world, caller, ann, "101");
            assert!(world.line(ann).invite.as_ref().unwrap().header(HeaderName::Route).is_none());
            world.tell(ann, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(caller) && world.is_over(ann));
        }
        world.finish();
    });
}

/// Behind a router the route is the address that phones outside see; by default nobody is told any.
#[test]
fn the_route_to_us_is_the_address_that_phones_see() {
    for_seeds(SEEDS, |seed| {
        let routes = |told: bool| {
            let mut world = World::with(seed, |config| {
                config.advertised = Some("203.0.113.77".parse().unwrap());
                config.service_route = told;
            });
            let (outside, nat) = (world.phone("101"), world.nat());
            let inside = world.add(Site::new("102").behind(nat));
            world.register(&[outside, inside]);
            let routes = [outside, inside].map(|phone| world.at_phone(phone).registration.service_route());
            world.finish();
            routes
        };
        let seen = vec!["<sip:203.0.113.77:5060;lr>".to_owned()];
        assert_eq!(routes(true), [seen.clone(), seen]);
        assert_eq!(routes(false), [Vec::<String>::new(), Vec::new()]);
    });
}

#[test]
fn a_wish_for_too_short_a_time_is_told_the_least() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        world.tell(ann, Do::Register(5));
        wait(&mut world, 2, |world| world.at_phone(ann).registration.granted.is_some());
        assert_eq!(world.at_phone(ann).registration.statuses(), [401, 423, 200]);
        assert_eq!(world.at_phone(ann).registration.granted, Some(60));
        world.finish();
    });
}

/// What of an answer could tell one who guesses something: all but values that differ each time.
fn shape(message: &Message) -> (u16, String, Vec<String>) {
    let headers = message.all_headers().map(|(_, name, value)| {
        let fixed = if name.eq_ignore_ascii_case("WWW-Authenticate") { value.matches("MD5").count() } else { 0 };
        format!("{name} {fixed}")
    });
    (message.status(), message.reason().to_owned(), headers.collect())
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_answered_alike() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, nobody) = (world.phone("101"), world.phone("102"));
        world.phone_mut(ann).identity.password = Some("guessed".into());
        let stranger = &mut world.phone_mut(nobody).identity;
        (stranger.auth_user, stranger.number) = ("office-999".into(), "999".into());
        // More tries than are heard out.
        for _ in 0..8 {
            world.tell(ann, Do::Register(600));
            world.tell(nobody, Do::Register(600));
            world.pass(secs(2));
        }
        let answers = |phone| world.at_phone(phone).registration.answers.iter().map(shape).collect::<Vec<_>>();
        assert_eq!(answers(ann), answers(nobody));
        let statuses = world.at_phone(ann).registration.statuses();
        assert!(statuses.contains(&401) && !statuses.contains(&200), "{statuses:?}");
        assert_eq!(statuses.last(), Some(&403), "in the end it is out of tries");
        assert!(world.bound().is_empty());
        world.finish();
    });
}

#[test]
fn a_disabled_user_hears_so_only_with_the_right_password() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, thief) = (world.phone("101"), world.add(Site::new("101").second_device()));
        let user = world.user_of(ann);
        world.directory.change_user(user, |user| user.enabled = false);
        world.phone_mut(thief).identity.password = Some("guessed".into());
        for phone in [ann, thief] {
            world.tell(phone, Do::Register(600));
            world.pass(secs(1));
        }
        assert_eq!(world.at_phone(ann).registration.statuses(), [401, 403]);
        assert_eq!(world.at_phone(thief).registration.statuses(), [401, 401, 401]);
        world.finish();
    });
}

#[test]
fn two_devices_of_a_user_ring_together() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let second = world.add(Site::new("102").second_device());
        world.register(&[second]);
        assert_eq!(world.bound().len(), 3);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 2, |world| world.rings(bob) && world.rings(second));
        world.tell(second, Do::Answer);
        wait(&mut world, 2, |world| world.talk(ann, second) && world.is_over(bob));
        world.finish();
    });
}

/// What `phones` shows is true of phones that no router stands before, too: how far away they are, and whether they are there.
/// They are asked the way that calls go (RFC 3327 §5.4).
#[test]
fn phones_on_the_same_network_are_asked_whether_they_are_there() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").tcp()));
        world.phone_mut(ann).habits.path = Some("<sip:edge.example;lr>");
        world.register(&[ann, bob]);
        world.pass(secs(5));
        assert!(world.bound().iter().all(|phone| phone.round_trip_us.is_some_and(|us| us > 0) && !phone.unreachable));
        let pings = |world: &World, phone| world.at_phone(phone).registration.pings.clone();
        let routes = |phone| pings(&world, phone)[0].header(HeaderName::Route).map(str::to_owned);
        assert_eq!((routes(ann).as_deref(), routes(bob)), (Some("<sip:edge.example;lr>"), None));
        world.pass(secs(600));
        assert!([ann, bob].iter().all(|&phone| (5..=7).contains(&pings(&world, phone).len())));
        // A phone without power is shown as such, long before its registration ends.
        world.unplug(ann);
        world.pass(secs(240));
        let unreachable: Vec<bool> = world.bound().iter().map(|phone| phone.unreachable).collect();
        assert_eq!(unreachable, [true, false]);
        world.finish();
    });
}

/// q-ordered forking (RFC 3261 §16.6): those of the highest q ring together, and the next when none of them answered.
#[test]
fn devices_of_a_user_ring_in_the_order_of_q() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let [desk, soft, mobile] = std::array::from_fn(|_| world.add(Site::new("102").second_device()));
        for (phone, q) in [(bob, "1.0"), (desk, "1.0"), (soft, "0.5"), (mobile, "0.05")] {
            world.phone_mut(phone).habits.q = Some(q);
        }
        world.register(&[mobile, soft, bob, desk]);
        assert_eq!(world.bound().len(), 5);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 2, |world| world.rings(bob) && world.rings(desk));
        world.pass(secs(1));
        let called = |world: &World, phone| !world.at_phone(phone).lines.is_empty();
        assert!(!called(&world, soft) && !called(&world, mobile));
        // One that refuses leaves the others ringing.
        world.tell(bob, Do::Refuse(486));
        world.pass(secs(1));
        assert!(world.rings(desk) && !called(&world, soft));
        world.tell(desk, Do::Refuse(480));
        wait(&mut world, 2, |world| world.rings(soft));
        assert!(!called(&world, mobile));
        // Who does not answer in its time gives way to the next.
        wait(&mut world, 60, |world| world.rings(mobile) && world.is_over(soft));
        world.tell(mobile, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, mobile));
        assert_eq!(world.finish().len(), 1);
    });
}

#[test]
fn a_phone_that_knows_our_address_only_is_found_by_its_name() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        let bare = world.add(Site::new("102").by_address());
        world.register(&[ann, bare]);
        assert_eq!(world.at_phone(bare).registration.statuses(), [401, 200]);
        connect(&mut world, ann, bare, "102");
        world.tell(ann, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(bare));
        connect(&mut world, bare, ann, "101");
        world.finish();
    });
}

#[test]
fn a_phone_behind_a_router_is_called_where_it_speaks_from() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").behind(nat)));
        world.phone_mut(bob).habits.refreshes = true;
        world.register(&[ann, bob]);
        assert!(world.bound().iter().any(|phone| phone.nat));
        // Pings keep the router's memory of it for longer than the router itself would.
        world.pass(secs(110));
        connect(&mut world, ann, bob, "102");
        world.pass(secs(100));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(bob));
        world.finish();
    });
}

#[test]
fn a_router_that_forgets_is_noticed() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").behind(nat)));
        world.register(&[ann, bob]);
        world.rebind(nat);
        world.pass(secs(100));
        assert!(world.bound().iter().any(|phone| phone.nat && phone.unreachable));
        world.register(&[bob]);
        world.pass(secs(30));
        assert!(world.bound().iter().all(|phone| !phone.unreachable), "{:?}", world.bound());
        connect(&mut world, ann, bob, "102");
        world.finish();
    });
}

#[test]
fn a_phone_that_moves_within_a_call_proves_itself() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (here, there) = (world.nat(), world.nat());
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").behind(here)));
        world.register(&[ann, bob]);
        connect(&mut world, bob, ann, "101");
        world.move_phone(bob, there);
        world.tell(bob, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(ann) && world.is_over(bob));
        let failures = world.counter("auth_failures");
        assert_eq!(failures, 0);
        world.finish();
    });
}

#[test]
fn registrations_are_there_again_after_a_kill() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let nat = world.nat();
        let carl = world.add(Site::new("103").behind(nat));
        world.register(&[carl]);
        world.pass(secs(7));
        world.restart();
        assert_eq!(world.bound().len(), 3);
        connect(&mut world, ann, bob, "102");
        world.tell(bob, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(ann));
        connect(&mut world, ann, carl, "103");
        world.tell(ann, Do::HangUp);
        world.pass(millis(500));
        // The nonce of before is from another process: the phone is challenged anew, and told that nothing is wrong.
        world.register(&[bob]);
        assert_eq!(world.at_phone(bob).registration.statuses().last(), Some(&200));
        assert_eq!(world.counter("auth_failures"), 0);
        world.finish();
    });
}

#[test]
fn a_phone_over_tcp_is_called_over_its_connection() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").tcp()));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        world.tell(bob, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(ann));
        world.finish();
    });
}
