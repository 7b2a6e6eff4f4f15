//! An exchange read back from a snapshot goes on as the one that was not. Every flow has a few snapshots at inputs that its
//! seed chooses, and `SNAPSHOT=1 make sim` takes one after every input of each; the flows here always do that.

use crate::flows::{connect, millis, office, secs, wait};
use switch::{Config, SnapshotError, Switch};
use tests::sim::{Do, Site, Weather, World, for_seeds};
use words::Time;

/// Hold, transfer, CANCEL, a lamp, a connection and a router in between, in bad weather.
fn long(seed: u64, inputs: u64) -> World {
    let (mut world, [ann, bob, carl]) = office(seed);
    world.snapshot_every(inputs);
    let nat = world.nat();
    let (dora, eve) = (world.add(Site::new("104").behind(nat)), world.add(Site::new("105").tcp()));
    world.register(&[dora, eve]);
    world.ring_list("600", &["103", "104", "105"], secs(15), false);
    world.tell(dora, Do::watch("102"));
    world.tell(eve, Do::publish("at lunch", 600));
    world.tell(bob, Do::watch_event("105", "presence", 600));
    connect(&mut world, ann, bob, "102");
    world.net.weather = Weather::rough(80);
    world.tell(ann, Do::Hold);
    world.pass(secs(2));
    world.tell(ann, Do::Resume);
    world.pass(secs(2));
    // Ann gives up while three phones ring.
    world.tell(dora, Do::call("600"));
    world.pass(secs(3));
    world.tell(dora, Do::HangUp);
    world.pass(secs(2));
    world.phone_mut(carl).habits.when_called = vec![(millis(100), Do::Ring), (secs(2), Do::Answer)];
    world.tell(bob, Do::transfer("103"));
    world.pass(secs(8));
    world.tell(eve, Do::Message { number: "101".into(), text: "back soon".into() });
    world.pass(secs(30));
    world.finish();
    world
}

#[test]
fn a_long_flow_goes_on_from_a_snapshot_after_each_input() {
    for_seeds(2, |seed| {
        let with = long(seed, 1);
        assert!(with.snapshots() > 150, "{} snapshots only", with.snapshots());
        let without = long(seed, 0);
        assert!(without.transcript().text() == with.transcript().text(), "the transcripts differ");
    });
}

#[test]
fn a_snapshot_with_any_byte_changed_is_refused() {
    let (mut world, [ann, bob]) = office(5);
    connect(&mut world, ann, bob, "102");
    // Until the exchange has heard both clocks.
    world.pass(secs(11));
    let snapshot = world.switch.snapshot();
    let (config, now) = (Config::default(), Time::from_millis(600_000));
    let restored = Switch::restore(config.clone(), snapshot.as_bytes(), now).expect("it is whole");
    assert_eq!(restored.calls_up(), 1);
    assert!(!format!("{snapshot:?}").contains("101"), "{snapshot:?}");
    let mut bytes = snapshot.as_bytes().to_vec();
    for at in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        bytes[at] ^= 0x10;
        let refused = Switch::restore(config.clone(), &bytes, now).err();
        let expected = match at {
            0..8 => SnapshotError::NotOne,
            8..10 => SnapshotError::Version { found: u16::from_be_bytes([bytes[8], bytes[9]]) },
            _ => SnapshotError::Damaged,
        };
        assert_eq!(refused, Some(expected), "at byte {at}");
        bytes[at] ^= 0x10;
    }
    for length in 0..bytes.len().min(400) {
        assert!(Switch::restore(config.clone(), &bytes[..length], now).is_err(), "{length} bytes");
    }
    assert_eq!(Switch::restore(config, &bytes, Time::ZERO).err(), Some(SnapshotError::Later));
    wait(&mut world, 1, |world| world.talk(ann, bob));
}
