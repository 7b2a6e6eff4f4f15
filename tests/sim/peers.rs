//! Static peers: calls out to them and in from them.

use crate::flows::{SEEDS, secs, wait};
use books::Direction;
use switch::account::RouteTarget;
use tests::sim::{Do, PhoneId, World, for_seeds};
use words::{EndCause, PeerId};

fn with_peer(seed: u64) -> (World, PhoneId, PeerId, PhoneId) {
    let mut world = World::new(seed);
    let ann = world.phone("101");
    let (id, peer) = world.peer("carrier");
    world.route("9*", RouteTarget::Peer { peer: id, strip: 1, prepend: "00".into() });
    world.register(&[ann]);
    (world, ann, id, peer)
}

#[test]
fn a_call_goes_out_to_a_peer() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, id, peer) = with_peer(seed);
        world.tell(ann, Do::call("94951234"));
        wait(&mut world, 3, |world| world.rings(peer));
        let invite = world.line(peer).invite.clone().unwrap();
        assert!(invite.request_uri().starts_with("sip:004951234@"), "{}", invite.request_uri());
        world.tell(peer, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, peer));
        world.tell_in(secs(5), peer, Do::HangUp);
        wait(&mut world, 8, |world| world.is_over(ann));
        let cdr = world.finish().remove(0);
        assert_eq!((cdr.direction(), cdr.answered.unwrap().who.peer), (Direction::Outbound, Some(id)));
    });
}

#[test]
fn a_call_comes_in_from_a_peer() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, id, peer) = with_peer(seed);
        world.tell(peer, Do::call("101"));
        wait(&mut world, 3, |world| world.rings(ann));
        assert_eq!(world.line(ann).number, "carrier");
        world.tell(ann, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, peer));
        world.tell(peer, Do::Hold);
        wait(&mut world, 3, |world| world.hears(ann, peer) && !world.hears(peer, ann));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(peer));
        assert!(!world.line(peer).statuses.contains(&401), "its address is its password");
        let cdr = world.finish().remove(0);
        assert_eq!((cdr.direction(), cdr.from.peer), (Direction::Inbound, Some(id)));
    });
}

#[test]
fn a_peer_calls_through_to_a_peer() {
    for_seeds(SEEDS, |seed| {
        let (mut world, _, _, peer) = with_peer(seed);
        let (other, other_phone) = world.peer("gateway");
        world.route("8*", RouteTarget::Peer { peer: other, strip: 0, prepend: String::new() });
        world.tell(peer, Do::call("812"));
        wait(&mut world, 3, |world| world.rings(other_phone));
        world.tell(other_phone, Do::Answer);
        wait(&mut world, 3, |world| world.talk(peer, other_phone));
        assert_eq!(world.finish()[0].direction(), Direction::Transit);
    });
}

#[test]
fn a_peer_that_is_gone_does_not_answer() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, peer) = with_peer(seed);
        world.unplug(peer);
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 35, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(480));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::NoAnswer);
    });
}
