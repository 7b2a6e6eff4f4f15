//! Requests inside dialogs, and those that feign to be.

use super::{Letter, asking, description, final_status, lines, stranger};
use crate::flows::{SEEDS, connect, millis, office, secs, talking, unacknowledged, wait};
use sip::Method;
use switch::Command;
use switch::account::RouteTarget;
use tests::sim::{Do, PhoneId, Site, World, for_seeds};
use words::EndCause;

/// What can be asked inside a call.
const INSIDE: [Method; 9] = [
    Method::Bye,
    Method::Info,
    Method::Invite,
    Method::Update,
    Method::Refer,
    Method::Prack,
    Method::Notify,
    Method::Options,
    Method::Message,
];

fn forged(world: &World, phone: PhoneId, method: Method, source: std::net::SocketAddr) -> Letter {
    let letter = Letter::inside(world, phone, method, source);
    match method {
        Method::Invite | Method::Update => letter.describing("198.51.100.66"),
        Method::Refer => letter.with("Refer-To", "<sip:103@office.example>"),
        Method::Prack => letter.with("RAck", "1 1 INVITE"),
        Method::Notify => letter.with("Event", "keep-alive"),
        Method::Info => {
            let mut letter = letter.with("Content-Type", "application/dtmf-relay");
            letter.body.push_str("Signal=5\r\nDuration=100\r\n");
            letter
        }
        _ => letter,
    }
}

#[test]
fn a_third_party_with_the_right_dialog_ids_is_asked_who_it_is() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        // Not even another port of the same address is enough: half an office may share one.
        let beside = "198.51.100.2:5099".parse().unwrap();
        for source in [stranger(), beside] {
            for method in INSIDE {
                let answers = forged(&world, bob, method, source).send(&mut world);
                let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
                assert!(statuses.iter().all(|&status| status == 100 || status == 401), "{method:?}: {statuses:?}");
                assert_eq!(final_status(&answers), 401, "{method:?}");
            }
        }
        assert!(world.talk(ann, bob) && world.line(ann).digits.is_empty() && world.line(ann).asked == 0);
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(bob));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
    });
}

#[test]
fn a_user_who_proves_to_be_another_is_no_party_of_a_dialog() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        connect(&mut world, ann, bob, "102");
        let source = world.at_phone(carl).address;
        for method in INSIDE {
            let letter = forged(&world, bob, method, source);
            let asked = letter.send(&mut world);
            let proving = letter.proving(asking(&asked), "office-103");
            assert_eq!(proving.status(&mut world), 403, "{method:?}");
        }
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

#[test]
fn a_phone_that_moved_proves_who_it_is_and_goes_on() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").behind(nat)));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        world.rebind(nat);
        let asked = |world: &World| world.transcript().text().matches("SIP/2.0 401").count();
        let before = asked(&world);
        world.tell(bob, Do::Hold);
        wait(&mut world, 5, |world| world.line(bob).changes == [200]);
        assert_eq!(asked(&world), before + 1);
        world.tell(bob, Do::HangUp);
        wait(&mut world, 5, |world| world.is_over(ann));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
    });
}

#[test]
fn a_phone_that_registered_from_where_it_moved_is_known_there() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let nat = world.nat();
        let (ann, bob) = (world.phone("101"), world.add(Site::new("102").behind(nat)));
        world.register(&[ann, bob]);
        connect(&mut world, ann, bob, "102");
        world.rebind(nat);
        world.tell(bob, Do::Register(3_600));
        world.pass(secs(2));
        let asked = |world: &World| world.transcript().text().matches("SIP/2.0 401").count();
        let before = asked(&world);
        world.tell(bob, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(asked(&world), before);
        world.finish();
    });
}

/// A phone that is registered, and a carrier that numbers after a 9 lead to.
fn with_carrier(seed: u64) -> (World, PhoneId, PhoneId) {
    let mut world = World::new(seed);
    let ann = world.phone("101");
    let (id, carrier) = world.peer("carrier");
    world.route("9*", RouteTarget::Peer { peer: id, strip: 1, prepend: String::new() });
    world.register(&[ann]);
    (world, ann, carrier)
}

/// A peer may name a server behind it, which is then heard in that dialog: it alone, and in no other.
#[test]
fn a_server_that_a_trunk_named_is_heard_in_its_dialog_and_nobody_else() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, carrier) = with_carrier(seed);
        let behind = "198.18.7.7:5060".parse().unwrap();
        connect(&mut world, ann, carrier, "9123");
        assert_eq!(forged(&world, carrier, Method::Info, behind).status(&mut world), 403, "nobody named it");
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(carrier));
        world.phone_mut(carrier).habits.contact_at = Some(behind);
        world.tell(ann, Do::call("9123"));
        wait(&mut world, 3, |world| world.rings(carrier));
        world.step_out(carrier);
        world.tell(carrier, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, carrier));
        world.pass(millis(100));
        for method in INSIDE {
            assert_eq!(forged(&world, carrier, method, stranger()).status(&mut world), 403, "{method:?}");
        }
        assert_eq!(Letter::inside(&world, carrier, Method::Bye, behind).status(&mut world), 200);
        wait(&mut world, 3, |world| world.is_over(ann));
        world.tell(carrier, Do::HangUp);
        world.finish();
    });
}

#[test]
fn a_trunk_speaks_from_each_of_its_addresses_and_nobody_else_for_it() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, carrier) = with_carrier(seed);
        let second = "198.18.7.7:5060".parse().unwrap();
        let mut peer = world.directory.peers().remove(0);
        peer.addresses.push(second);
        world.command(Command::Peers { peers: vec![peer] });
        connect(&mut world, ann, carrier, "9123");
        for method in INSIDE {
            assert_eq!(forged(&world, carrier, method, stranger()).status(&mut world), 403, "{method:?}");
        }
        assert!(world.talk(ann, carrier));
        assert_eq!(Letter::inside(&world, carrier, Method::Bye, second).status(&mut world), 200);
        wait(&mut world, 3, |world| world.is_over(ann));
        world.tell(carrier, Do::HangUp);
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
    });
}

#[test]
fn a_to_tag_without_a_dialog_is_481_before_any_routing() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let bob = world.phone("102");
        let (id, carrier) = world.peer("carrier");
        world.route("9*", RouteTarget::Peer { peer: id, strip: 1, prepend: String::new() });
        world.register(&[bob]);
        let trunk = world.at_phone(carrier).address;
        let asked = |world: &World| world.transcript().text().matches("AuthUser(").count();
        let before = asked(&world);
        let methods = [
            "INVITE",
            "BYE",
            "UPDATE",
            "REFER",
            "MESSAGE",
            "SUBSCRIBE",
            "PUBLISH",
            "REGISTER",
            "INFO",
            "OPTIONS",
            "DANCE",
        ];
        for (n, method) in methods.into_iter().enumerate() {
            for to in ["<sip:9100@office.example>;tag=feigned", "<sip:9100@office.example>;tag=0000000000000001"] {
                let mut letter = Letter::new(method, stranger(), n as u32).describing("198.51.100.66");
                letter.uri = format!("sip:9100@{trunk}");
                letter.to = to.to_owned();
                letter.call_id.push_str(to);
                letter.call_id.retain(|c| c.is_ascii_alphanumeric());
                letter.branch.push_str(&letter.call_id.clone());
                letter = letter.with("Route", &format!("<sip:{trunk};lr>")).with("Require", "nonsense");
                assert_eq!(letter.status(&mut world), 481, "{method}");
            }
        }
        let mut cancel = Letter::new("CANCEL", stranger(), 1);
        assert_eq!(cancel.status(&mut world), 481);
        cancel.to.push_str(";tag=feigned");
        assert_eq!(cancel.status(&mut world), 481);
        let mut ack = Letter::new("ACK", stranger(), 1).describing("198.51.100.66");
        assert!(ack.send(&mut world).is_empty());
        ack.to.push_str(";tag=feigned");
        assert!(ack.send(&mut world).is_empty(), "ACK is never answered");
        assert_eq!(asked(&world), before, "the directory was asked for a stranger's dialog");
        assert_eq!((lines(&world, carrier), lines(&world, bob)), (0, 0));
        assert!(world.finish().is_empty());
    });
}

#[test]
fn the_route_of_a_customer_leads_nowhere() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let (_, carrier) = world.peer("carrier");
        let trunk = world.at_phone(carrier).address;
        let source = world.at_phone(ann).address;
        let letter = Letter::new("INVITE", source, 1)
            .describing("198.51.100.1")
            .with("Contact", &format!("<sip:101@{source}>"))
            .with("Route", &format!("<sip:{trunk};lr>, <sip:203.0.113.9;lr>"));
        let asked = letter.send(&mut world);
        let invite = letter.proving(asking(&asked), "office-101");
        let answers = invite.send(&mut world);
        assert!(answers.iter().all(|answer| answer.status < 200), "{answers:?}");
        assert!(world.rings(bob) && lines(&world, carrier) == 0);
        assert!(world.line(bob).invite.as_ref().unwrap().header(sip::HeaderName::Route).is_none());
        let mut cancel = Letter { method: "CANCEL".into(), more: String::new(), body: String::new(), ..invite };
        cancel.source = source;
        assert_eq!(cancel.send(&mut world)[0].status, 200);
        world.pass(secs(40));
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Cancelled);
    });
}

#[test]
fn an_ack_with_the_right_dialog_ids_moves_no_media() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = talking(seed);
        for source in [stranger(), world.at_phone(bob).address] {
            let mut ack = Letter::inside(&world, bob, Method::Ack, source);
            ack = ack.with("Content-Type", "application/sdp");
            ack.body = description("198.51.100.66");
            assert!(ack.send(&mut world).is_empty());
        }
        assert!(world.talk(ann, bob));
        world.finish();
    });
}

/// An ACK cannot be challenged, and where it has the answer to our offer it says where the media goes.
#[test]
fn an_answer_in_an_ack_counts_from_the_dialogs_own_address_alone() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, bob) = unacknowledged(seed, Do::call_without_offer("102"));
        wait(&mut world, 3, |world| world.line(ann).status() == Some(200));
        let own = world.at_phone(ann).address;
        let beside = std::net::SocketAddr::new(own.ip(), 5_099);
        let ack = |world: &World, source| {
            let dialog = world.line(ann).dialog().unwrap().clone();
            let cseq = dialog.local_cseq.to_string();
            Letter { cseq, ..Letter::of_dialog(dialog, Method::Ack, source) }.describing("198.51.100.66")
        };
        let repeated = |world: &World| {
            let to_ann = |line: &&str| line.contains(&format!("-> {own}")) && line.contains("SIP/2.0 200");
            world.transcript().text().lines().filter(to_ann).count()
        };
        for (count, source) in [(1, stranger()), (2, beside), (3, world.at_phone(bob).address)] {
            assert!(ack(&world, source).send(&mut world).is_empty());
            assert_eq!(world.counter("strays"), count);
        }
        let before = repeated(&world);
        world.pass(secs(5));
        assert!(repeated(&world) > before, "the 200 is repeated for Ann");
        ack(&world, own).send(&mut world);
        let before = repeated(&world);
        world.pass(secs(10));
        assert_eq!((repeated(&world), world.counter("strays")), (before, 3));
        world.tell(bob, Do::HangUp);
        assert_eq!(world.finish()[0].ended.unwrap().cause, EndCause::Normal);
    });
}

#[test]
fn a_cancel_goes_by_its_branch_alone() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(millis(200));
        let replaces = world.at_phone(ann).replaces(0).unwrap();
        let call_id = replaces.split(';').next().unwrap().to_owned();
        let tag = replaces.rsplit("from-tag=").next().unwrap().to_owned();
        for source in [stranger(), world.at_phone(ann).address] {
            let mut cancel = Letter::new("CANCEL", source, 7);
            cancel.call_id = call_id.clone();
            cancel.from = format!("<sip:101@office.example>;tag={tag}");
            assert_eq!(cancel.status(&mut world), 481);
        }
        assert!(world.rings(bob));
        world.tell(bob, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, bob));
        world.finish();
    });
}
