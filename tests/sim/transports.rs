//! Phones of every transport and of both families of addresses: their connections die and come back, and each leg has
//! media of its own family.

use crate::flows::{SEEDS, connect, millis, secs, wait};
use crate::trouble::comes_back_over_a_new_connection;
use media::command::Family;
use tests::sim::{Do, PhoneId, Site, World, for_seeds};
use words::Transport;

const STREAMS: [Transport; 4] = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

/// A world whose exchange has media of both families.
fn both_families(seed: u64) -> World {
    World::with(seed, |config| config.families = vec![Family::V4, Family::V6])
}

/// A phone over a stream, and one over UDP.
fn pair(seed: u64, transport: Transport) -> (World, PhoneId, PhoneId) {
    let mut world = World::new(seed);
    let (ann, bob) = (world.add(Site::new("101").over(transport)), world.phone("102"));
    world.register(&[ann, bob]);
    (world, ann, bob)
}

#[test]
fn phones_of_every_transport_talk_to_each_other() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let mut phones = vec![world.phone("100")];
        for (n, transport) in STREAMS.into_iter().enumerate() {
            phones.push(world.add(Site::new(&(101 + n).to_string()).over(transport)));
        }
        world.register(&phones);
        for n in 0..phones.len() {
            let (caller, callee) = (phones[n], phones[(n + 1) % phones.len()]);
            let number = world.at_phone(callee).identity.number.clone();
            connect(&mut world, caller, callee, &number);
            let invite = world.line(callee).invite.clone().expect("it was called");
            let via = invite.via().expect("each request has one").transport.to_owned();
            world.tell(callee, Do::Hold);
            wait(&mut world, 3, |world| !world.hears(callee, caller) && world.hears(caller, callee));
            world.tell(caller, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(caller) && world.is_over(callee));
            assert_eq!(via, if n + 1 == phones.len() { "UDP" } else { STREAMS[n].via_token() });
        }
        assert_eq!(world.finish().len(), 5);
    });
}

/// A connection that a phone opened cannot be opened by us: a browser or a phone behind TLS is called when it is back.
#[test]
fn who_cannot_be_dialled_is_away_until_it_is_back() {
    for_seeds(SEEDS, |seed| {
        for transport in [Transport::Tls, Transport::Ws, Transport::Wss] {
            let (mut world, ann, bob) = pair(seed, transport);
            world.cut(ann);
            world.tell(bob, Do::call("101"));
            wait(&mut world, 3, |world| world.is_over(bob));
            assert_eq!(world.line(bob).status(), Some(480));
            world.register(&[ann]);
            world.tell(ann, Do::Register(3_600));
            world.pass(secs(2));
            connect(&mut world, bob, ann, "101");
            assert_eq!(world.bound().len(), 2, "it is the same device");
            assert_eq!(world.finish().len(), 2);
        }
    });
}

#[test]
fn a_connection_that_ends_in_the_middle_of_a_call_does_not_end_it() {
    for_seeds(SEEDS, |seed| {
        for transport in STREAMS {
            let (world, ann, bob) = pair(seed, transport);
            comes_back_over_a_new_connection(world, ann, bob);
        }
    });
}

#[test]
fn a_connection_that_died_silently_is_noticed_when_it_is_used() {
    for_seeds(SEEDS, |seed| {
        for transport in STREAMS {
            let (mut world, ann, bob) = pair(seed, transport);
            world.unplug(ann);
            world.tell(bob, Do::call("101"));
            wait(&mut world, 35, |world| world.is_over(bob));
            assert_eq!(world.line(bob).status(), Some(480));
            world.finish();
        }
    });
}

/// Each leg has media of its own family: the exchange stands between.
#[test]
fn a_phone_of_ipv6_talks_to_one_of_ipv4() {
    for_seeds(SEEDS, |seed| {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut world = both_families(seed);
            let (ann, bob) = (world.add(Site::new("101").ipv6().over(transport)), world.phone("102"));
            world.register(&[ann, bob]);
            for (caller, callee, number) in [(ann, bob, "102"), (bob, ann, "101")] {
                connect(&mut world, caller, callee, number);
                let families =
                    [ann, bob].map(|phone| world.line(phone).session.remote().map(|remote| remote.is_ipv6()));
                assert_eq!(families, [Some(true), Some(false)]);
                world.tell(ann, Do::Hold);
                wait(&mut world, 3, |world| !world.hears(ann, bob) && world.hears(bob, ann));
                world.tell_in(secs(1), ann, Do::Resume);
                wait(&mut world, 3, |world| world.talk(ann, bob));
                world.tell(bob, Do::Move);
                wait(&mut world, 3, |world| world.line(bob).changes.len() == 1 && world.talk(ann, bob));
                world.tell(caller, Do::HangUp);
                wait(&mut world, 3, |world| world.is_over(ann) && world.is_over(bob));
            }
            assert_eq!(world.finish().len(), 2);
        }
    });
}

/// A phone that registers by IPv6 and has its audio on IPv4, as some do behind dual-stack lines: the exchange has an address
/// of IPv4. One of IPv4 with audio on IPv6 is told that nobody here can reach it.
#[test]
fn audio_may_have_another_family_than_signalling_where_the_exchange_has_it() {
    for_seeds(SEEDS, |seed| {
        let mut world = both_families(seed);
        let (ann, bob) = (world.add(Site::new("101").ipv6()), world.phone("102"));
        world.register(&[ann, bob]);
        world.phone_mut(ann).habits.media_ip = Some("198.51.100.77".parse().expect("an address"));
        connect(&mut world, ann, bob, "102");
        let families = [ann, bob].map(|phone| world.line(phone).session.remote().map(|remote| remote.is_ipv6()));
        assert_eq!(families, [Some(false), Some(false)]);
        world.tell(ann, Do::Move);
        wait(&mut world, 3, |world| world.line(ann).changes.len() == 1 && world.talk(ann, bob));
        world.tell(bob, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann) && world.is_over(bob));
        // Called, it is offered what its signalling speaks, and cannot use it.
        world.tell(bob, Do::call("101"));
        wait(&mut world, 3, |world| world.rings(ann));
        world.tell(ann, Do::Answer);
        wait(&mut world, 3, |world| world.is_over(ann) && world.is_over(bob));
        let warns = |world: &World, family: &str| {
            let line = world.line(bob);
            assert_eq!(line.status(), Some(488));
            let warning = line.warning.as_deref().unwrap_or_default();
            assert!(warning.starts_with("301 ") && warning.contains(family), "{warning}");
        };
        warns(&world, "IPv4");
        world.phone_mut(bob).habits.media_ip = Some("2001:db8::77".parse().expect("an address"));
        world.tell(bob, Do::call("101"));
        wait(&mut world, 3, |world| world.is_over(bob));
        warns(&world, "IPv6");
        world.finish();
    });
}

/// Who comes may have another family than who left.
#[test]
fn a_call_changes_its_family_with_a_transfer() {
    for_seeds(SEEDS, |seed| {
        let mut world = both_families(seed);
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        let carl = world.add(Site::new("103").ipv6());
        world.register(&[ann, bob, carl]);
        connect(&mut world, ann, bob, "102");
        world.tell(bob, Do::transfer("103"));
        wait(&mut world, 3, |world| world.rings(carl));
        world.tell_in(secs(1), carl, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, carl) && world.is_over(bob));
        world.tell(carl, Do::transfer("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.tell_in(secs(1), bob, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, bob) && world.is_over(carl));
        world.pass(secs(40));
        assert!(world.talk(ann, bob));
        assert_eq!(world.finish()[0].transfers.len(), 2);
    });
}

/// A ring list of both families: whoever answers is heard.
#[test]
fn phones_of_both_families_ring_together() {
    for_seeds(SEEDS, |seed| {
        for winner in 0..2 {
            let mut world = both_families(seed);
            let ann = world.phone("101");
            let others = [world.phone("102"), world.add(Site::new("103").ipv6())];
            world.ring_list("600", &["102", "103"], secs(20), false);
            world.register(&[ann, others[0], others[1]]);
            world.tell(ann, Do::call("600"));
            wait(&mut world, 3, |world| others.iter().all(|&phone| world.rings(phone)));
            world.tell_in(secs(1), others[winner], Do::Answer);
            wait(&mut world, 4, |world| world.talk(ann, others[winner]) && world.is_over(others[1 - winner]));
            assert_eq!(world.finish().len(), 1);
        }
    });
}

/// A router that is switched off and on in the middle of a call: the phone is seen elsewhere, proves who it is, and
/// both its signalling and its media are found again.
#[test]
fn a_router_forgets_in_the_middle_of_a_call() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.add(Site::new("101").behind(nat)), world.phone("102"));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        world.rebind(nat);
        world.register(&[ann]);
        world.tell(ann, Do::Move);
        wait(&mut world, 3, |world| world.line(ann).changes.last() == Some(&200));
        assert!(world.talk(ann, bob));
        world.tell(bob, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.finish().len(), 1);
    });
}

/// RFC 3261 §26.2.2: who dials `sips` is not carried in clear behind our back.
#[test]
fn a_sips_call_reaches_whom_tls_reaches() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.add(Site::new("101").over(Transport::Tls));
        let clear = world.phone("102");
        world.register(&[ann, clear]);
        world.tell(ann, Do::call("sips:102@office.example"));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(480));
        assert!(world.line(ann).phrase.contains("TLS") && world.at_phone(clear).lines.is_empty());
        let secret = world.add(Site::new("102").second_device().over(Transport::Tls));
        world.register(&[secret]);
        connect(&mut world, ann, secret, "sips:102@office.example");
        assert!(world.at_phone(clear).lines.is_empty());
        let invite = world.line(secret).invite.clone().unwrap();
        assert!(invite.request_uri().starts_with("sips:102@"), "{}", invite.request_uri());
        assert_eq!(invite.to().unwrap().uri, "sips:102@office.example");
        let targets = |world: &World| {
            [ann, secret].map(|phone| world.line(phone).dialog().unwrap().remote_target.starts_with("sips:"))
        };
        assert_eq!(targets(&world), [true, true]);
        for phone in [ann, secret] {
            world.tell(phone, Do::Hold);
            wait(&mut world, 3, |world| world.line(phone).changes == [200]);
            world.pass(millis(200));
        }
        assert_eq!(targets(&world), [true, true], "each Contact of ours is sips");
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(secret));
        // Who does not mind reaches both.
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(secret) && world.rings(clear));
        world.finish();
    });
}
