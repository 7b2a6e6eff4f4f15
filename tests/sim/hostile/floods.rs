//! Strangers who shout: each is heard so often, all together are heard so often, and whoever is known notices nothing.

use super::{Letter, final_status, stranger};
use crate::flows::{connect, office, secs};
use std::net::{IpAddr, SocketAddr};
use tests::sim::{Do, Site, World, for_seeds};

/// Seeds: a flood is long.
const SEEDS: u64 = 3;

/// Posts `count` requests, each from the source that `from` gives it.
fn flood(world: &mut World, count: u32, from: impl Fn(u32) -> SocketAddr) {
    for n in 0..count {
        let source = from(n);
        let method = ["REGISTER", "INVITE", "OPTIONS"][n as usize % 3];
        world.post(source, &Letter::new(method, source, n).text());
    }
}

/// An address that nobody has.
fn made_up(n: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4((0xcb00_0000 + n).into()), 5060)
}

#[test]
fn one_source_is_heard_so_often_and_everybody_else_as_ever() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        flood(&mut world, 3_000, |_| stranger());
        let other: SocketAddr = "198.51.100.67:5060".parse().unwrap();
        world.post(other, &Letter::new("OPTIONS", other, 1).text());
        connect(&mut world, ann, bob, "102");
        let answers = world.heard_by_hand(stranger()).iter().filter(|answer| answer.status >= 200).count();
        // 250 at once, and what a few seconds add.
        assert!((250..500).contains(&answers), "{answers} answers");
        assert_eq!(final_status(&world.heard_by_hand(other)), 200);
        assert!(world.counter("strangers_unheard") > 2_000);
        assert_eq!(world.counter("strangers_crowded_out"), 0);
        assert_eq!(world.finish().len(), 1);
    });
}

#[test]
fn an_office_goes_on_behind_the_address_of_a_flooder() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let router = world.nat();
        let [ann, bob] = ["101", "102"].map(|extension| world.add(Site::new(extension).behind(router)));
        world.register(&[ann, bob]);
        let address = world.bound()[0].source.parse::<SocketAddr>().unwrap().ip();
        flood(&mut world, 3_000, |_| SocketAddr::new(address, 999));
        connect(&mut world, ann, bob, "102");
        assert!(world.counter("strangers_unheard") > 2_000);
        world.tell(ann, Do::HangUp);
        world.pass(secs(2));
        assert_eq!(world.finish().len(), 1);
    });
}

#[test]
fn made_up_sources_are_crowded_out_and_who_is_known_is_not() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        flood(&mut world, 12_000, made_up);
        connect(&mut world, ann, bob, "102");
        assert!(world.counter("strangers_crowded_out") > 5_000);
        // Who comes anew while they shout is heard when it knocks again.
        let new = world.phone("103");
        flood(&mut world, 6_000, |n| made_up(50_000 + n));
        world.register(&[new]);
        assert_eq!(world.bound().len(), 3);
        assert_eq!(world.finish().len(), 1);
    });
}

#[test]
fn who_was_registered_before_a_restart_is_known_after_it() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.pass(secs(1));
        world.restart();
        flood(&mut world, 12_000, made_up);
        connect(&mut world, ann, bob, "102");
        assert_eq!(world.finish().len(), 1);
    });
}
