//! Encrypted media: keys in descriptions (RFC 4568), offered and taken up in the ways that phones have.

use crate::flows::{SEEDS, connect, invite_of, millis, secs, wait};
use tests::sim::{Do, Keying, PhoneId, Site, World, for_seeds};
use words::{EndCause, Srtp, Transport};

/// Two phones that speak TLS and ask for encrypted media in these ways.
fn over_tls(seed: u64, ann: Keying, bob: Keying) -> (World, PhoneId, PhoneId) {
    let mut world = World::new(seed);
    let phones = [("101", ann), ("102", bob)].map(|(extension, keying)| {
        let phone = world.add(Site::new(extension).over(Transport::Tls));
        world.phone_mut(phone).habits.keying = keying;
        phone
    });
    world.register(&phones);
    (world, phones[0], phones[1])
}

fn encrypts(world: &World, phone: PhoneId) -> bool {
    world.line(phone).session.speaks_with().is_some()
}

#[test]
fn each_leg_is_encrypted_as_its_phone_asks() {
    for_seeds(SEEDS, |seed| {
        let all = [Keying::Never, Keying::Optional, Keying::Always, Keying::Both];
        for caller in all {
            for callee in all {
                let (mut world, ann, bob) = over_tls(seed, caller, callee);
                connect(&mut world, ann, bob, "102");
                assert_eq!(encrypts(&world, ann), caller != Keying::Never, "{caller:?} calls {callee:?}");
                assert_eq!(encrypts(&world, bob), callee != Keying::Never, "{caller:?} calls {callee:?}");
                world.tell(ann, Do::HangUp);
                assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
            }
        }
    });
}

#[test]
fn keys_are_offered_where_nobody_on_the_way_reads_them() {
    for_seeds(SEEDS, |seed| {
        for (tls, srtp, protocol, keys) in [
            (true, Srtp::Optional, "RTP/AVP", 6),
            (true, Srtp::Off, "RTP/AVP", 0),
            (true, Srtp::Required, "RTP/SAVP", 6),
            (false, Srtp::Optional, "RTP/AVP", 0),
            (false, Srtp::Required, "RTP/SAVP", 2),
        ] {
            let mut world = World::new(seed);
            let ann = world.phone("101");
            let bob = world.add(if tls { Site::new("102").over(Transport::Tls) } else { Site::new("102") });
            let encrypts = srtp == Srtp::Required;
            world.phone_mut(bob).habits.keying = if encrypts { Keying::Always } else { Keying::Never };
            world.register(&[ann, bob]);
            world.srtp("102", srtp);
            connect(&mut world, ann, bob, "102");
            let offer = invite_of(&world, bob);
            assert!(offer.contains(&format!(" {protocol} ")), "{offer}");
            assert_eq!(offer.matches("a=crypto:").count(), keys, "{offer}");
            world.finish();
        }
    });
}

#[test]
fn who_must_encrypt_and_does_not_is_refused() {
    for_seeds(SEEDS, |seed| {
        // The caller's own rule.
        let (mut world, ann, bob) = over_tls(seed, Keying::Never, Keying::Never);
        world.srtp("101", Srtp::Required);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(488));
        // A phone that asks for encryption where none is to be.
        world.phone_mut(bob).habits.keying = Keying::Always;
        world.srtp("102", Srtp::Off);
        world.tell(bob, Do::call("101"));
        wait(&mut world, 3, |world| world.is_over(bob));
        assert_eq!(world.line(bob).status(), Some(488));
        world.finish();
    });
}

#[test]
fn an_answer_without_keys_does_not_make_a_call_plain() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = over_tls(seed, Keying::Never, Keying::Never);
        world.srtp("102", Srtp::Required);
        world.phone_mut(bob).habits.keying = Keying::Careless;
        world.tell(ann, Do::call("102"));
        world.tell_in(secs(1), bob, Do::Answer);
        wait(&mut world, 10, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(488));
        world.finish();
    });
}

#[test]
fn holding_keeps_the_keys_and_new_keys_replace_them() {
    for_seeds(SEEDS, |seed| {
        for (caller, callee) in [(Keying::Always, Keying::Never), (Keying::Optional, Keying::Always)] {
            let (mut world, ann, bob) = over_tls(seed, caller, callee);
            connect(&mut world, ann, bob, "102");
            let key = |world: &World, phone| world.line(phone).session.hears_with().cloned();
            let before = (key(&world, ann), key(&world, bob));
            for (who, other) in [(ann, bob), (bob, ann)] {
                world.tell(who, Do::Hold);
                wait(&mut world, 3, |world| world.hears(other, who) && !world.hears(who, other));
                world.tell(who, Do::Resume);
                wait(&mut world, 3, |world| world.talk(who, other));
                world.pass(millis(300));
            }
            assert_eq!((key(&world, ann), key(&world, bob)), before, "our keys last as long as the call");
            // The phone takes new keys; ours stay.
            world.phone_mut(ann).lines[0].session.keys = 7;
            world.tell(ann, Do::Move);
            wait(&mut world, 3, |world| world.line(ann).changes.len() == 3 && world.talk(ann, bob));
            assert_eq!(key(&world, ann), before.0);
            world.pass(millis(300));
            assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
        }
    });
}

#[test]
fn a_device_with_keys_and_one_without_ring_together() {
    for_seeds(2 * SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        let desk = world.add(Site::new("102").over(Transport::Tls));
        let soft = world.add(Site::new("102").second_device());
        world.phone_mut(desk).habits.keying = Keying::Always;
        world.register(&[ann, desk, soft]);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(desk) && world.rings(soft));
        let winner = if seed % 2 == 0 { desk } else { soft };
        world.tell(winner, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, winner));
        assert_eq!(encrypts(&world, winner), winner == desk);
        assert!(!encrypts(&world, ann));
        world.pass(millis(300));
        world.finish();
    });
}

#[test]
fn an_offer_in_the_answer_has_keys_too() {
    for_seeds(SEEDS, |seed| {
        for (caller, callee) in [(Keying::Optional, Keying::Always), (Keying::Always, Keying::Never)] {
            let (mut world, ann, bob) = over_tls(seed, caller, callee);
            world.tell(ann, Do::call_without_offer("102"));
            wait(&mut world, 3, |world| world.rings(bob));
            world.tell(bob, Do::Answer);
            wait(&mut world, 3, |world| world.talk(ann, bob));
            assert!(encrypts(&world, ann));
            assert_eq!(encrypts(&world, bob), callee == Keying::Always);
            world.pass(millis(300));
            world.finish();
        }
    });
}

#[test]
fn the_exchange_itself_speaks_encrypted() {
    for_seeds(SEEDS, |seed| {
        for keying in [Keying::Optional, Keying::Always, Keying::Both] {
            let (mut world, ann, _) = over_tls(seed, keying, Keying::Never);
            world.tell(ann, Do::call("*43"));
            wait(&mut world, 3, |world| world.line(ann).talks());
            world.pass(millis(300));
            assert!(encrypts(&world, ann) && world.hears(ann, ann));
            world.tell(ann, Do::HangUp);
            world.finish();
        }
    });
}

#[test]
fn after_a_transfer_each_leg_is_as_it_was() {
    // Whoever takes no change hears the new one as it heard the old one.
    for_seeds(SEEDS, |seed| {
        for refuses in [None, Some(488)] {
            let mut world = World::new(seed);
            let keys = [("101", Keying::Optional), ("102", Keying::Never), ("103", Keying::Always)];
            let phones = keys.map(|(extension, keying)| {
                let phone = world.add(Site::new(extension).over(Transport::Tls));
                world.phone_mut(phone).habits.keying = keying;
                phone
            });
            world.register(&phones);
            let [ann, bob, carl] = phones;
            world.phone_mut(ann).habits.refuses_changes = refuses;
            connect(&mut world, ann, bob, "102");
            world.tell(bob, Do::transfer("103"));
            wait(&mut world, 5, |world| world.rings(carl));
            world.tell(carl, Do::Answer);
            wait(&mut world, 5, |world| world.talk(ann, carl));
            assert!(encrypts(&world, ann) && encrypts(&world, carl));
            world.pass(millis(500));
            world.finish();
        }
    });
}
