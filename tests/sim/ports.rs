//! One port for RTP and RTCP (RFC 5761), which each leg has by itself, and one port for many legs.

use crate::flows::{SEEDS, connect, secs, wait};
use media::command::{Family, SHARING_WORKER};
use tests::sim::{Do, PhoneId, SINGLE_PORT, Site, World, for_seeds};
use words::EndCause;

/// Two phones, of which some want one port for both, and an exchange that offers it or does not.
fn phones(seed: u64, wants: [bool; 2], offers: bool) -> (World, PhoneId, PhoneId) {
    let mut world = World::with(seed, |config| config.rtcp_mux = offers);
    let (ann, bob) = (world.phone("101"), world.phone("102"));
    for (phone, wants) in [(ann, wants[0]), (bob, wants[1])] {
        world.phone_mut(phone).habits.rtcp_mux = wants;
    }
    world.register(&[ann, bob]);
    (world, ann, bob)
}

/// Both sides of a leg and the relay are of one mind.
fn muxes(world: &World, phone: PhoneId) -> bool {
    let agreed = world.line(phone).session.is_muxed();
    assert_eq!(world.is_muxed(phone), agreed, "the relay sends its reports elsewhere");
    agreed
}

#[test]
fn one_port_for_both_is_agreed_with_each_phone_by_itself() {
    for_seeds(SEEDS, |seed| {
        for offers in [false, true] {
            for wants in [[false, false], [true, false], [false, true], [true, true]] {
                let (mut world, ann, bob) = phones(seed, wants, offers);
                connect(&mut world, ann, bob, "102");
                let invite = world.line(bob).invite.as_ref().expect("it was called").body().to_vec();
                let offered = String::from_utf8_lossy(&invite).contains("a=rtcp-mux\r\n");
                assert_eq!(offered, offers, "what the caller says of its own ports is not carried across");
                let expected = [wants[0], wants[1] && offers];
                assert_eq!([ann, bob].map(|phone| muxes(&world, phone)), expected);
                // A change in the middle of the call leaves it as it was.
                world.tell(ann, Do::Hold);
                wait(&mut world, 3, |world| !world.hears(ann, bob));
                world.tell_in(secs(1), ann, Do::Resume);
                wait(&mut world, 3, |world| world.talk(ann, bob));
                assert_eq!([ann, bob].map(|phone| muxes(&world, phone)), expected);
                world.tell(bob, Do::Move);
                wait(&mut world, 3, |world| world.line(bob).changes.len() == 1 && world.talk(ann, bob));
                assert_eq!(muxes(&world, ann), expected[0]);
                world.tell(ann, Do::HangUp);
                assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
            }
        }
    });
}

/// Whether a phone was told the port that many share.
fn shares(world: &World, phone: PhoneId) -> bool {
    world.line(phone).session.remote().is_some_and(|remote| remote.port() == SINGLE_PORT)
}

/// An exchange with a port that many share, on both families.
fn sharing(seed: u64) -> World {
    World::with(seed, |config| {
        config.single_port = Some(SINGLE_PORT);
        config.families = vec![Family::V4, Family::V6];
    })
}

#[test]
fn whoever_can_be_told_apart_shares_a_port_and_others_have_their_own() {
    for_seeds(SEEDS, |seed| {
        let mut world = sharing(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        let (carl, dora) = (world.add(Site::new("103").ipv6()), world.add(Site::new("104").ipv6()));
        let fred = world.add(Site::new("105").behind(nat));
        world.register(&[ann, bob, carl, dora, fred]);
        // A caller says where it is before it is told; a callee of IPv6 is believed.
        for (caller, callee, number, shared) in [
            (ann, bob, "102", [true, false]),
            (carl, dora, "104", [true, true]),
            (fred, ann, "101", [false, false]),
            (ann, fred, "105", [true, false]),
        ] {
            connect(&mut world, caller, callee, number);
            assert_eq!([caller, callee].map(|phone| shares(&world, phone)), shared, "{number}");
            // Who changes something is told the same, or more if more is known of it.
            world.tell(callee, Do::Hold);
            wait(&mut world, 3, |world| !world.hears(callee, caller));
            world.tell_in(secs(1), callee, Do::Resume);
            wait(&mut world, 3, |world| world.talk(caller, callee));
            world.tell(caller, Do::Move);
            wait(&mut world, 3, |world| world.line(caller).changes.len() == 1 && world.talk(caller, callee));
            assert_eq!(shares(&world, caller), shared[0]);
            world.tell(caller, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(caller) && world.is_over(callee));
            world.pass(secs(3));
        }
        // Two calls at once.
        connect(&mut world, ann, bob, "102");
        connect(&mut world, carl, dora, "104");
        assert!(world.talk(ann, bob) && world.talk(carl, dora));
        assert_eq!(world.finish().len(), 6);
    });
}

#[test]
fn calls_on_the_shared_port_are_with_its_worker_and_others_with_all() {
    for_seeds(SEEDS, |seed| {
        let mut world = sharing(seed);
        let nat = world.nat();
        let [ann, bob, dora] = ["101", "102", "106"].map(|extension| world.phone(extension));
        let [fred, gina] = ["103", "104"].map(|extension| world.add(Site::new(extension).behind(nat)));
        let carl = world.add(Site::new("105").ipv6());
        world.register(&[ann, bob, fred, gina, carl, dora]);
        // Who is behind NAT cannot share it, nor can who is called on IPv4.
        connect(&mut world, fred, ann, "101");
        connect(&mut world, gina, bob, "102");
        let workers = [fred, gina].map(|phone| world.worker(phone).expect("it has media"));
        assert_ne!(workers[0], workers[1], "they are spread");
        let elsewhere = if workers[0] == SHARING_WORKER { (gina, bob) } else { (fred, ann) };
        // The caller can.
        connect(&mut world, dora, carl, "105");
        assert_eq!([dora, carl].map(|phone| world.worker(phone)), [Some(SHARING_WORKER); 2]);
        assert!(shares(&world, dora) && shares(&world, carl));
        // Who could share it once it describes itself stays where its call is.
        let (caller, callee) = elsewhere;
        world.tell(callee, Do::Hold);
        wait(&mut world, 3, |world| !world.hears(callee, caller));
        world.tell_in(secs(1), callee, Do::Resume);
        wait(&mut world, 3, |world| world.talk(caller, callee));
        assert!(!shares(&world, callee));
        world.finish();
    });
}

/// Who rings beside others is told what fits him, whoever answers.
#[test]
fn whoever_answers_of_a_ring_list_is_heard_on_the_port_that_he_was_told() {
    for_seeds(SEEDS, |seed| {
        for winner in 0..3 {
            let mut world = sharing(seed);
            let ann = world.phone("101");
            let carl = world.add(Site::new("102").ipv6());
            let fred = world.add(Site::new("103"));
            let gina = world.add(Site::new("104").ipv6());
            let rung = [carl, fred, gina];
            world.ring_list("600", &["102", "103", "104"], secs(20), false);
            world.register(&[ann, carl, fred, gina]);
            world.tell(ann, Do::call("600"));
            wait(&mut world, 3, |world| rung.iter().all(|&phone| world.rings(phone)));
            world.tell_in(secs(1), rung[winner], Do::Answer);
            wait(&mut world, 4, |world| world.talk(ann, rung[winner]));
            assert_eq!(shares(&world, rung[winner]), winner != 1);
            assert_eq!(world.finish().len(), 1);
        }
    });
}
