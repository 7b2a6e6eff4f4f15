//! 3xx of a phone that is called (RFC 3261 §8.1.3.4).

use crate::flows::{SEEDS, millis, office, secs, wait};
use switch::account::RouteTarget;
use tests::sim::{Do, PhoneId, Site, World, for_seeds};
use words::EndCause;

/// Bob sends his calls to these Contacts.
fn forwards(world: &mut World, bob: PhoneId, after: u64, contacts: &[&str]) {
    let contacts = contacts.iter().map(|&contact| contact.to_owned()).collect();
    let ring = (millis(50), Do::Ring);
    let redirect = (millis(after), Do::Redirect(contacts));
    world.phone_mut(bob).habits.when_called = if after > 50 { vec![ring, redirect] } else { vec![redirect] };
}

/// RFC 5359 §2.7 and §2.9: unconditional, and when nobody answers.
#[test]
fn call_forwarding() {
    for_seeds(SEEDS, |seed| {
        for (after, reason) in [(20, "unconditional"), (2_000, "no-answer")] {
            let (mut world, [ann, bob, carl]) = office(seed);
            forwards(&mut world, bob, after, &["103"]);
            world.tell(ann, Do::call("102"));
            wait(&mut world, 5, |world| world.rings(carl));
            let invite = world.line(carl).invite.clone().unwrap();
            let diversion = invite.header(sip::HeaderName::Diversion).unwrap();
            assert!(diversion.contains("sip:102@") && diversion.ends_with(&format!("reason={reason}")), "{diversion}");
            assert_eq!(world.line(carl).number, "101");
            world.tell_in(millis(300), carl, Do::Answer);
            wait(&mut world, 3, |world| world.talk(ann, carl));
            assert!(world.line(ann).shows.last().is_some_and(|shown| shown.contains("sip:103@")));
            let cdr = world.finish().remove(0);
            assert_eq!(cdr.answered.unwrap().who.number.as_str(), "103");
            assert_eq!(cdr.legs[0].ended.unwrap().1, EndCause::Failed(302));
        }
    });
}

#[test]
fn several_contacts_ring_in_the_order_of_their_q() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl, dora, eve]) = office(seed);
        let contacts =
            ["<sip:103@office.example>;q=0.5", "<sip:104@office.example>;q=0.8", "<sip:105@office.example>;q=0.8"];
        forwards(&mut world, bob, 20, &contacts);
        for phone in [dora, eve] {
            world.phone_mut(phone).habits.when_called = vec![(millis(50), Do::Ring), (secs(2), Do::Refuse(486))];
        }
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(dora) && world.rings(eve));
        assert!(world.at_phone(carl).lines.is_empty());
        wait(&mut world, 4, |world| world.rings(carl));
        world.tell(carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, carl));
        world.finish();
    });
}

#[test]
fn a_redirection_leads_nowhere_that_the_account_does_not() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let shop = world.account("shop");
        let fred = world.add(Site::new("103").of(shop));
        world.register(&[fred]);
        let nowhere = [
            ("<sip:103@shop.example>", "another server"),
            ("<sip:+15550100@198.51.100.66>", "another server"),
            ("<sip:103@office.example>", "no extension or route"),
            ("<mailto:bob@office.example>", "another server"),
            ("*43", "service"),
        ];
        for (contact, why) in nowhere {
            forwards(&mut world, bob, 20, &[contact]);
            world.tell(ann, Do::call("102"));
            wait(&mut world, 3, |world| world.is_over(ann));
            let line = world.line(ann);
            assert_eq!((line.status(), line.reason()), (Some(480), Some("SIP;cause=302;text=\"Moved Temporarily\"")));
            assert!(line.phrase.contains(why), "{contact}: {}", line.phrase);
        }
        assert!(world.at_phone(fred).lines.is_empty());
        world.finish();
    });
}

#[test]
fn a_redirection_to_a_peer_goes_by_the_routes() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        let (peer, carrier) = world.peer("carrier");
        world.route("9*", RouteTarget::Peer { peer, strip: 1, prepend: String::new() });
        forwards(&mut world, bob, 20, &["94951234"]);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(carrier));
        let invite = world.line(carrier).invite.clone().unwrap();
        assert!(invite.request_uri().starts_with("sip:4951234@"));
        assert!(invite.header(sip::HeaderName::Diversion).is_none(), "what the peer may know its row says");
        assert!(invite.header(sip::HeaderName::HistoryInfo).is_none());
        world.finish();
    });
}

#[test]
fn phones_that_send_a_call_round_come_to_an_end() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        forwards(&mut world, bob, 20, &["103"]);
        forwards(&mut world, carl, 20, &["102"]);
        world.tell(ann, Do::call("102"));
        wait(&mut world, 5, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(482));
        assert_eq!((world.at_phone(bob).lines.len(), world.at_phone(carl).lines.len()), (3, 3));
        world.finish();
    });
}

#[test]
fn one_of_several_redirects_and_the_others_ring_on() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl, dora]) = office(seed);
        world.ring_list("600", &["102", "103"], secs(20), false);
        forwards(&mut world, bob, 500, &["104"]);
        world.tell(ann, Do::call("600"));
        wait(&mut world, 3, |world| world.rings(dora));
        assert!(world.rings(carl));
        world.tell(carl, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, carl) && world.is_over(dora));
        world.finish();
    });
}

#[test]
fn a_transfer_is_redirected() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl, dora]) = office(seed);
        crate::flows::connect(&mut world, ann, bob, "102");
        forwards(&mut world, carl, 20, &["104"]);
        world.tell(bob, Do::transfer("103"));
        wait(&mut world, 3, |world| world.rings(dora));
        world.tell_in(millis(300), dora, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, dora) && world.is_over(bob));
        world.finish();
    });
}
