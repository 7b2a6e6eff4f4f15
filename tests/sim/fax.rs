//! Fax by T.38 between two sides that speak it, and speech as before where one does not.

use crate::flows::{SEEDS, millis, secs, talking, wait};
use switch::account::RouteTarget;
use tests::sim::{Do, PhoneId, World, for_seeds};

fn faxes(world: &World, phones: [PhoneId; 2]) -> bool {
    phones.into_iter().all(|phone| world.line(phone).session.faxes())
}

#[test]
fn a_fax_goes_there_and_back_to_speech() {
    for_seeds(SEEDS, |seed| {
        for asks in [0, 1] {
            let (mut world, ann, bob) = talking(seed);
            let (asks, asked) = if asks == 0 { (ann, bob) } else { (bob, ann) };
            world.tell(asks, Do::Fax);
            wait(&mut world, 3, |world| faxes(world, [ann, bob]) && world.line(asks).changes == [200]);
            assert!(world.talk(ann, bob), "datagrams go where the descriptions say");
            // Whoever receives pages is silent for longer than a call may be.
            world.phone_mut(asked).habits.speaks = false;
            world.pass(secs(120));
            assert!(!world.is_over(ann) && !world.is_over(bob));
            world.phone_mut(asked).habits.speaks = true;
            world.tell(asks, Do::Resume);
            wait(&mut world, 3, |world| world.line(asks).changes == [200, 200]);
            assert!(world.talk(ann, bob) && !faxes(&world, [ann, bob]));
            world.tell(asks, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(asked));
            assert_eq!(world.finish().len(), 1);
        }
    });
}

#[test]
fn who_speaks_no_t38_leaves_the_speech_as_it_was() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.phone_mut(bob).habits.refuses_changes = Some(488);
        world.tell(ann, Do::Fax);
        wait(&mut world, 3, |world| world.line(ann).changes == [488]);
        assert!(world.talk(ann, bob) && !faxes(&world, [ann, bob]));
        world.phone_mut(bob).habits.refuses_changes = None;
        world.pass(secs(1));
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.hears(bob, ann) && !world.hears(ann, bob));
        world.finish();
    });
}

/// A 200 that declines the fax is a refusal to who asks for it; and speech has to be asked for anew.
#[test]
fn who_answers_a_fax_with_nothing_refuses_it() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        world.phone_mut(bob).lines[0].session.declines_fax = true;
        world.tell(ann, Do::Fax);
        wait(&mut world, 3, |world| world.line(ann).changes == [488]);
        assert!(world.line(ann).talks() && world.line(bob).talks());
        world.pass(millis(500));
        let asked = world.line(bob).asked;
        world.tell(ann, Do::Resume);
        wait(&mut world, 3, |world| world.line(ann).changes == [488, 200]);
        assert_eq!(world.line(bob).asked, asked + 1);
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn the_exchange_itself_takes_no_fax() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = crate::flows::office(seed);
        world.tell(ann, Do::call("*43"));
        wait(&mut world, 3, |world| world.line(ann).talks());
        world.pass(millis(200));
        world.tell(ann, Do::Fax);
        wait(&mut world, 3, |world| world.line(ann).changes == [488]);
        assert!(world.line(ann).talks());
        world.finish();
    });
}

#[test]
fn a_fax_gateway_behind_a_peer_is_reached() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann]) = crate::flows::office(seed);
        let (peer, gateway) = world.peer("gateway");
        world.route("9*", RouteTarget::Peer { peer, strip: 1, prepend: String::new() });
        crate::flows::connect(&mut world, ann, gateway, "9495");
        world.tell(gateway, Do::Fax);
        wait(&mut world, 3, |world| faxes(world, [ann, gateway]));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(gateway));
        world.finish();
    });
}

/// A refresh that says what was said is answered here; the other phone hears nothing of it.
#[test]
fn a_refresh_that_says_nothing_new_stays_here() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        let said = world.line(bob).asked;
        world.tell(ann, Do::Repeated);
        wait(&mut world, 3, |world| world.line(ann).changes == [200]);
        assert!(world.talk(ann, bob));
        assert_eq!(world.line(bob).asked, said);
        world.pass(millis(500));
        world.tell(ann, Do::Hold);
        wait(&mut world, 3, |world| world.line(ann).changes == [200, 200]);
        assert!(world.hears(bob, ann) && !world.hears(ann, bob));
        assert_eq!(world.line(bob).asked, said + 1);
        world.finish();
    });
}
