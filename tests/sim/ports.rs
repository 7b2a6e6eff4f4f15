//! One port for RTP and RTCP (RFC 5761): each leg has it by itself.

use crate::flows::{SEEDS, connect, secs, wait};
use tests::sim::{Do, PhoneId, World, for_seeds};
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
