//! Static peers: calls out to them and in from them.

use crate::flows::{SEEDS, millis, secs, wait};
use books::Direction;
use switch::account::RouteTarget;
use tests::sim::{Do, PhoneId, World, for_seeds};
use words::{EndCause, PeerId, Transport};

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

/// Where its server is: behind the address at which the peer is called.
const BEHIND: &str = "198.18.0.99:5080";

/// The proxy of a peer passes an INVITE on and does not record itself: what follows goes between the server behind it and us
/// (RFC 3261 §12.2.1.1), and ends the call from either side.
#[test]
fn a_server_behind_the_proxy_of_a_peer_is_spoken_to_itself() {
    for_seeds(SEEDS, |seed| {
        for peer_calls in [false, true] {
            for peer_ends in [false, true] {
                let (mut world, ann, _, peer) = with_peer(seed);
                world.phone_mut(peer).habits.contact_at = Some(BEHIND.parse().unwrap());
                let (caller, callee, number) = if peer_calls { (peer, ann, "101") } else { (ann, peer, "9100") };
                world.tell(caller, Do::call(number));
                wait(&mut world, 3, |world| world.rings(callee));
                // Answers to what came through the proxy go back through it.
                if !peer_calls {
                    world.step_out(peer);
                }
                world.tell(callee, Do::Answer);
                wait(&mut world, 3, |world| world.talk(ann, peer));
                world.pass(millis(100));
                if peer_calls {
                    world.step_out(peer);
                }
                // As long as an answer is repeated whose ACK is missing.
                world.pass(secs(35));
                assert!(world.talk(ann, peer));
                world.tell(ann, Do::Hold);
                wait(&mut world, 3, |world| !world.hears(ann, peer) && world.hears(peer, ann));
                let (ends, other) = if peer_ends { (peer, ann) } else { (ann, peer) };
                world.tell(ends, Do::HangUp);
                wait(&mut world, 3, |world| world.is_over(other) && world.is_over(ends));
                assert_eq!(world.counter("strays"), 0);
                assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
            }
        }
    });
}

/// A peer over TCP whose call rings.
fn ringing_over_tcp(seed: u64) -> (World, PhoneId, PhoneId) {
    let mut world = World::new(seed);
    let ann = world.phone("101");
    let (peer, phone) = world.peer_over("carrier", "198.18.0.9:5060".parse().expect("an address"), Transport::Tcp);
    world.route("9*", RouteTarget::Peer { peer, strip: 1, prepend: String::new() });
    world.register(&[ann]);
    world.phone_mut(phone).habits.rings_on = true;
    world.tell(ann, Do::call("9100"));
    wait(&mut world, 3, |world| world.rings(phone));
    world.pass(secs(10));
    (world, ann, phone)
}

/// RFC 3261 §18.2.2: a server may close a connection that was idle while somebody rang; its answer comes all the same.
#[test]
fn a_peer_that_closes_its_connection_goes_on_ringing() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, peer) = ringing_over_tcp(seed);
        world.cut(peer);
        world.pass(secs(5));
        assert!(world.rings(peer) && !world.is_over(ann));
        assert_eq!(world.at_phone(peer).lines.len(), 1, "it is the same call");
        world.tell(peer, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, peer));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(peer));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);

        // Who gives up in that moment is heard.
        let (mut world, ann, peer) = ringing_over_tcp(seed);
        world.cut(peer);
        world.tell_in(millis(seed % 30), ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann) && world.is_over(peer));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Cancelled);

        // A server that is gone rings nobody.
        let (mut world, ann, peer) = ringing_over_tcp(seed);
        world.unplug(peer);
        world.cut(peer);
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(480));
        world.finish();
    });
}
