//! How a call sounded stands in its record.

use crate::flows::{SEEDS, connect, office, secs, wait};
use tests::sim::{Do, World, for_seeds};

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
