//! How a call sounded stands in its record, and extended reports are made for who asks for them of who knows none.

use crate::flows::{SEEDS, connect, office, secs, wait};
use media::own::Extended;
use tests::sim::{Do, PhoneId, World, for_seeds};

#[test]
fn a_record_says_how_the_call_sounded() {
    for_seeds(SEEDS, |seed| {
        let talk = |loss| {
            let mut world = World::new(seed);
            let (ann, bob) = (world.phone("101"), world.phone("102"));
            world.register(&[ann, bob]);
            world.relay.loss = loss;
            connect(&mut world, ann, bob, "102");
            world.pass(secs(20));
            world.tell(ann, Do::HangUp);
            let [cdr] = &world.finish()[..] else { panic!("one call, one record") };
            cdr.clone()
        };
        let (good, bad) = (talk(Some(0)), talk(Some(8)));
        for cdr in [&good, &bad] {
            let legs: Vec<u16> = cdr.media.iter().map(|media| media.n).collect();
            assert!(legs == [0, 1] || legs == [1, 0], "{legs:?}");
            assert!(cdr.ended.is_some() && cdr.media.iter().all(|media| media.figures.from.packets > 900));
        }
        assert!(
            good.mos_x100().is_some_and(|mos| mos > 430) && good.media.iter().all(|leg| leg.figures.from.lost == 0)
        );
        assert!(bad.mos_x100().is_some_and(|mos| (300..390).contains(&mos)), "{:?}", bad.mos_x100());
        assert!(bad.media.iter().all(|leg| (70..90).contains(&leg.figures.from.lost)), "{:?}", bad.media);
        // Who heard nothing measured nothing.
        assert!(talk(None).media.is_empty());
    });
}

#[test]
fn each_leg_of_a_call_that_was_transferred_has_its_own() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        world.relay.loss = Some(0);
        connect(&mut world, ann, bob, "102");
        world.pass(secs(10));
        world.tell(bob, Do::transfer("103"));
        wait(&mut world, 3, |world| world.rings(carl));
        world.tell(carl, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, carl));
        wait(&mut world, 3, |world| world.is_over(bob));
        world.pass(secs(20));
        world.tell(carl, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann));
        let cdr = world.finish().remove(0);
        let of = |n| {
            let found: Vec<_> = cdr.media.iter().filter(|media| media.n == n).collect();
            let [media] = found[..] else { panic!("leg {n}: {:?}", cdr.media) };
            media.figures.from.packets
        };
        // 50 packets a second: who stayed spoke all the while, the others a part of it.
        let (stayed, left, came) = (of(0), of(1), of(2));
        assert!((500..1_200).contains(&left) && came >= 1_000 && stayed > left.max(came), "{stayed} {left} {came}");
        assert_eq!(cdr.media.len(), 3);
    });
}

const WANTED: &str = "rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics";
const TAKEN: &str = "voip-metrics rcvr-rtt=all stat-summary=loss";
const ALL: Extended = Extended { metrics: true, round_trip: true, summary: true };
const NONE: Extended = Extended { metrics: false, round_trip: false, summary: false };

/// What a phone was told last of extended reports, and which of ours it gets.
fn reports(world: &World, phone: PhoneId) -> (Option<&str>, Extended) {
    (world.line(phone).session.told_reports(), world.extended(phone))
}

#[test]
fn extended_reports_are_ours_for_who_speaks_with_one_that_knows_none() {
    for_seeds(SEEDS, |seed| {
        for (knows, of_ann, of_bob) in [
            ([true, false], (Some(TAKEN), ALL), (Some(WANTED), NONE)),
            ([true, true], (Some(WANTED), NONE), (Some(WANTED), NONE)),
            ([false, true], (None, NONE), (None, NONE)),
        ] {
            let (mut world, [ann, bob, carl]) = office(seed);
            for (phone, knows) in [ann, bob].into_iter().zip(knows) {
                world.phone_mut(phone).habits.reports = knows.then_some(WANTED);
            }
            connect(&mut world, ann, bob, "102");
            assert_eq!((reports(&world, ann), reports(&world, bob)), (of_ann, of_bob), "{knows:?}");
            // Who holds does not change what the other asked for.
            let held = |world: &World| (reports(world, ann).1, reports(world, bob).1);
            let before = held(&world);
            for phone in [bob, ann] {
                world.tell(phone, Do::Hold);
                world.pass(secs(2));
                world.tell(phone, Do::Resume);
                wait(&mut world, 3, |world| world.talk(ann, bob));
                world.pass(secs(1));
            }
            if knows[0] {
                assert_eq!(held(&world), before, "{knows:?}");
            } else {
                // Bob has offered something himself by now.
                assert_eq!(held(&world), (NONE, ALL));
            }
            // Carl knows none.
            world.tell(bob, Do::transfer("103"));
            wait(&mut world, 3, |world| world.rings(carl));
            world.tell(carl, Do::Answer);
            wait(&mut world, 4, |world| world.talk(ann, carl));
            world.pass(secs(1));
            let ann_gets = if knows[0] { ALL } else { NONE };
            assert_eq!((world.extended(ann), world.extended(carl)), (ann_gets, NONE), "{knows:?}");
            world.tell(carl, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(ann));
            world.finish();
        }
    });
}
