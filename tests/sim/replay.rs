//! The same seed gives the same run, byte for byte.

use crate::flows::{connect, millis, office, secs};
use tests::sim::{Do, Site, Weather, World, fnv, for_seeds};

/// A bit of everything, in bad weather.
fn run(seed: u64) -> World {
    let (mut world, [ann, bob, carl]) = office(seed);
    let nat = world.nat();
    let (dora, eve) = (world.add(Site::new("104").behind(nat)), world.add(Site::new("105").tcp()));
    world.register(&[dora, eve]);
    world.ring_list("600", &["102", "103", "104", "105"], secs(15), false);
    connect(&mut world, ann, bob, "102");
    world.net.weather = Weather::rough(150);
    for phone in [carl, dora, eve] {
        world.phone_mut(phone).habits.when_called = vec![(millis(100), Do::Ring), (secs(3), Do::Answer)];
        world.phone_mut(phone).habits.when_answered = vec![(secs(2), Do::Hold), (secs(6), Do::HangUp)];
    }
    world.tell_in(secs(1), ann, Do::Hold);
    world.tell_in(secs(1), bob, Do::Move);
    world.tell_in(secs(2), eve, Do::call("600"));
    world.pass(secs(60));
    world.finish();
    world
}

#[test]
fn the_same_seed_replays_byte_for_byte() {
    for_seeds(4, |seed| {
        let (first, second) = (run(seed), run(seed));
        let (first, second) = (first.transcript().text(), second.transcript().text());
        for (number, (a, b)) in first.lines().zip(second.lines()).enumerate() {
            assert_eq!(a, b, "line {number}");
        }
        assert_eq!(fnv(first.as_bytes()), fnv(second.as_bytes()));
        let lines = first.lines().count();
        assert!(lines > 200, "{lines} lines only");
    });
}

#[test]
fn another_seed_gives_another_run() {
    assert_ne!(run(1).transcript().text(), run(2).transcript().text());
}
