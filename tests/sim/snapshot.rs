//! An exchange read back from a snapshot goes on as the one that was not. Every flow has a few snapshots at inputs that its
//! seed chooses, and `SNAPSHOT=1 make sim` takes one after every input of each; the flows here always do that.

use crate::devices::two_devices;
use crate::flows::{connect, millis, office, secs, wait};
use crate::servers::two_servers_in;
use registrar::watch::Messages;
use std::path::PathBuf;
use switch::{Command, Config, Input, Output, SnapshotError, Switch};
use tests::sim::{Do, Rel, Site, Timers, Weather, World, for_seeds};
use words::{Chance, Fact, Seed, Time};

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

/// What else an exchange remembers: temporary GRUUs, a mailbox, who watches registrations, 100rel, session timers, what DNS
/// said and who of it failed, a transfer with consultation, a call that is picked up, one that is sent elsewhere.
fn various(seed: u64, inputs: u64) -> World {
    let (mut world, [ann, desk, home]) = two_devices(seed);
    world.snapshot_every(inputs);
    let (carl, dora) = (world.phone("103"), world.phone("104"));
    let habits = &mut world.phone_mut(carl).habits;
    (habits.rel, habits.takes_update, habits.timers) = (Rel::Supports, true, Some(Timers::of(120)));
    world.register(&[carl, dora]);
    let (_, [first, second]) = two_servers_in(&mut world);
    world.unplug(first);
    let user = world.user_of(dora);
    for (number, event) in [("102", "dialog"), ("104", "reg"), ("104", "message-summary")] {
        world.tell(dora, Do::watch_event(number, event, 300));
    }
    world.tell(desk, Do::publish("at lunch", 600));
    world.pass(secs(1));
    world.command(Command::Messages { user, messages: Messages { new: 2, ..Messages::default() } });
    let gruu = world.at_phone(home).gruu("temp-gruu").expect("it asked for one");
    connect(&mut world, ann, home, &gruu);
    // With consultation.
    world.tell(ann, Do::Hold);
    world.pass(secs(1));
    world.tell(ann, Do::call("103"));
    wait(&mut world, 3, |world| world.rings(carl));
    world.tell(carl, Do::Answer);
    wait(&mut world, 3, |world| world.line(ann).talks());
    world.tell_line(ann, 0, Do::transfer_to_line("103", 1));
    wait(&mut world, 6, |world| world.talk(home, carl));
    // Picked up, and sent elsewhere, to a trunk whose first server is dead.
    world.tell(dora, Do::call("102"));
    wait(&mut world, 3, |world| world.rings(desk));
    world.tell(ann, Do::call("**102"));
    wait(&mut world, 4, |world| world.talk(dora, ann));
    world.tell(dora, Do::HangUp);
    world.pass(secs(1));
    world.phone_mut(desk).habits.when_called = vec![(millis(50), Do::Redirect(vec!["94951234".to_owned()]))];
    world.tell(dora, Do::call("102"));
    wait(&mut world, 9, |world| world.rings(second));
    world.tell(second, Do::Answer);
    world.pass(secs(920));
    let line = world.line(carl);
    assert!(line.talks() && line.refreshes + line.refreshed > 0, "{line:?}");
    world.finish();
    world
}

#[test]
fn various_flows_go_on_from_a_snapshot_after_each_input() {
    for_seeds(1, |seed| {
        let with = various(seed, 1);
        assert!(with.snapshots() > 200, "{} snapshots only", with.snapshots());
        let without = various(seed, 0);
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

/// Two calls, one of them held and one that rings, a lamp, a phone on a connection, one behind a router.
fn busy() -> World {
    let (mut world, [ann, bob, carl]) = office(11);
    let nat = world.nat();
    let (dora, eve) = (world.add(Site::new("104").behind(nat)), world.add(Site::new("105").tcp()));
    world.register(&[dora, eve]);
    world.tell(eve, Do::watch("102"));
    world.pass(secs(1));
    connect(&mut world, ann, bob, "102");
    world.tell(bob, Do::Hold);
    world.pass(secs(1));
    world.tell(carl, Do::call("104"));
    wait(&mut world, 3, |world| world.rings(dora));
    world.pass(secs(11));
    world
}

fn stored(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// `UPDATE_GOLDEN=1` writes it anew. Once a release has written such snapshots, that is no answer any more: a field that is
/// added to state then has `#[serde(default)]`.
#[test]
fn what_an_earlier_build_wrote_is_read_and_gone_on_with() {
    let (path, input) = (stored("golden/snapshot/1.bin"), stored("fuzz/corpus/snapshot/busy"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let snapshot = busy().switch.snapshot();
        std::fs::write(&path, snapshot.as_bytes()).expect("the file can be written");
        // Fuzzing makes the header itself.
        std::fs::write(&input, &snapshot.as_bytes()[18..]).expect("the file can be written");
    }
    let (bytes, now) = (std::fs::read(&path).expect("the file is there"), Time::from_millis(60_000));
    let mut switch = Switch::restore(Config::default(), &bytes, now)
        .unwrap_or_else(|error| panic!("{error}: a new field of a state type wants #[serde(default)]"));
    assert_eq!(switch.calls_up(), 2);
    switch.handle(Input::Command { id: 1, command: Command::Status }, now);
    let Output::Reply { reply: switch::Reply::Status(status), .. } = switch.poll() else { panic!("no answer") };
    assert_eq!((status.registrations, status.subscriptions), (5, 1));
    switch.stop(now);
    let (mut sent, mut ended) = (Vec::new(), 0);
    loop {
        match switch.poll() {
            Output::Transmit { bytes, .. } => sent.push(String::from_utf8_lossy(&bytes[..4]).into_owned()),
            Output::Event(event) => ended += usize::from(matches!(event.fact, Fact::CallEnded { .. })),
            Output::Timeout(_) => break,
            _ => {}
        }
    }
    let count = |start: &str| sent.iter().filter(|sent| *sent == start).count();
    // Both ends of the one, the callee and the caller of the other, and the lamp.
    assert_eq!((count("BYE "), count("CANC"), count("SIP/"), count("NOTI"), ended), (2, 1, 1, 1, 2), "{sent:?}");
}

#[test]
fn a_state_with_anything_changed_is_refused_or_holds_together() {
    let target = tests::fuzz::target("snapshot").expect("it is among the targets");
    let whole = std::fs::read(stored("fuzz/corpus/snapshot/busy")).expect("the file is there");
    for_seeds(4_000, |seed| {
        let mut chance = Chance::new(Seed::from_number(seed));
        let mut changed = whole.clone();
        for _ in 0..=chance.below(3) {
            let at = chance.below(changed.len() as u64) as usize;
            let end = (at + 1 + chance.below(40) as usize).min(changed.len());
            match chance.below(5) {
                0 => changed[at] = chance.u32() as u8,
                1 => changed[at] ^= 1 << chance.below(8),
                2 => changed[at..end].fill(0xff),
                3 => drop(changed.drain(at..end)),
                _ => {
                    let piece = changed[at..end].to_vec();
                    changed.splice(at..at, piece);
                }
            }
        }
        target.run(&changed);
    });
}
