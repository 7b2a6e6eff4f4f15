//! Contacts that claim to be where no device of a customer is.

use super::{Letter, lines};
use crate::flows::{SEEDS, secs, wait};
use switch::account::RouteTarget;
use tests::sim::{Do, World, for_seeds};

#[test]
fn a_contact_at_our_listeners_at_a_trunk_or_nowhere_is_refused() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        let (id, carrier) = world.peer("carrier");
        world.route("9*", RouteTarget::Peer { peer: id, strip: 1, prepend: String::new() });
        world.register(&[bob]);
        let (source, trunk) = (world.at_phone(ann).address, world.at_phone(carrier).address);
        let ours = "192.0.2.10";
        let contacts = [
            format!("sip:101@{ours}:5060"),
            format!("sip:101@{ours}"),
            format!("sip:101@{ours};transport=tcp"),
            format!("<sip:101@[::ffff:{ours}]:5060>"),
            "<sip:101@[::ffff:c000:20a]>".into(),
            format!("<sip:9123@{trunk}>"),
            format!("<sip:9123@{}>", trunk.ip()),
            "<sip:101@0.0.0.0>".into(),
            "<sip:101@127.0.0.1:5060>".into(),
            "<sip:101@127.9.9.9>".into(),
            "<sip:101@[::1]>".into(),
            "<sip:101@[::ffff:127.0.0.1]>".into(),
            "<sip:101@[::]>".into(),
            "<sip:101@224.0.1.75>".into(),
            "<sip:101@255.255.255.255>".into(),
            "<sip:101@[ff02::1]>".into(),
            "<sip:101@169.254.1.1>".into(),
            "<sip:101@198.51.100.1:0>".into(),
            "<sip:101@198.51.100.1?Route=%3Csip:198.18.0.3;lr%3E>".into(),
            "<sip:101@198.51.100.1?Replaces=x>".into(),
            "<sip:101@198.51.100.1;method=BYE>".into(),
            "<tel:+74951234567>".into(),
            "<http://198.51.100.1/>".into(),
            "<mailto:a@b>".into(),
        ];
        for (n, contact) in contacts.iter().enumerate() {
            let letter = Letter::register(source, contact, n as u32);
            let asked = letter.send(&mut world);
            let status = letter.proving(asked.last().unwrap(), "office-101").status(&mut world);
            assert!(matches!(status, 400 | 403), "{contact}: {status}");
        }
        assert_eq!(world.bound().len(), 1);
        world.tell(bob, Do::call("101"));
        wait(&mut world, 3, |world| world.is_over(bob));
        assert_eq!((world.line(bob).status(), lines(&world, carrier)), (Some(480), 0));
        world.finish();
    });
}

/// Whatever host a Contact names, calls go where its REGISTER came from.
#[test]
fn a_call_goes_to_the_source_of_a_registration() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let (ann, bob) = (world.phone("101"), world.phone("102"));
        let (_, carrier) = world.peer("carrier");
        world.register(&[bob]);
        let source = world.at_phone(ann).address;
        for (n, host) in
            ["carrier.example", "203.0.113.77:5060", "0xC6120003", "3323068419", "localhost"].into_iter().enumerate()
        {
            let letter =
                Letter::register(source, &format!("<sip:101@{host};transport=udp;maddr=198.18.0.3>"), n as u32);
            let asked = letter.send(&mut world);
            assert_eq!(letter.proving(asked.last().unwrap(), "office-101").status(&mut world), 200, "{host}");
        }
        world.tell(bob, Do::call("101"));
        // The kit's laws end the test when a message goes to somebody who never spoke to us.
        wait(&mut world, 3, |world| world.rings(ann));
        assert_eq!(lines(&world, carrier), 0);
        world.tell(bob, Do::HangUp);
        world.pass(secs(40));
        world.finish();
    });
}
