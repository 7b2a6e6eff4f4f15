//! Who calls, as each side is told it: what is believed, what is kept secret, and where a call was before (RFC 3323, RFC
//! 3325, RFC 5806, RFC 7044).

use crate::flows::{SEEDS, connect, millis, office, secs, wait};
use sip::{HeaderName, Message, Refresher};
use switch::Trust;
use switch::account::RouteTarget;
use tests::sim::{Do, PhoneId, Timers, World, for_seeds};
use words::PeerId;

const BELIEVED: Trust = Trust { believed: true, told: false };
const TOLD: Trust = Trust { believed: false, told: true };

/// An office with two phones, and a peer that numbers with a 9 go to.
fn with_peer(seed: u64, trust: Trust) -> (World, [PhoneId; 2], PeerId, PhoneId) {
    let (mut world, phones) = office(seed);
    let (id, carrier) = world.peer("carrier");
    world.trust(id, trust);
    world.route("9*", RouteTarget::Peer { peer: id, strip: 1, prepend: String::new() });
    (world, phones, id, carrier)
}

fn says(world: &mut World, phone: PhoneId, lines: &[(HeaderName, &str)]) {
    let lines = lines.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    world.phone_mut(phone).habits.says = lines;
}

/// The INVITE that a phone rings with.
fn rung(world: &mut World, phone: PhoneId) -> Message {
    wait(world, 4, |world| world.rings(phone));
    world.line(phone).invite.clone().expect("it rings with an INVITE")
}

fn lines(message: &Message, name: HeaderName) -> Vec<String> {
    message.values(name).map(str::to_owned).collect()
}

fn from(message: &Message) -> String {
    let value = message.header(HeaderName::From).unwrap_or_default();
    value.split(";tag=").next().unwrap_or_default().to_owned()
}

const NOBODY: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// What a customer's phone may not say about itself or others: none of it is carried.
const FORGED: [(HeaderName, &str); 6] = [
    (HeaderName::PAssertedIdentity, "\"Boss\" <sip:100@office.example>"),
    (HeaderName::PPreferredIdentity, "<sip:102@office.example>"),
    (HeaderName::RemotePartyId, "\"Boss\" <sip:100@office.example>;party=calling"),
    (HeaderName::Diversion, "<sip:+74951112233@office.example>;reason=unconditional"),
    (HeaderName::HistoryInfo, "<sip:100@office.example>;index=1"),
    (HeaderName::ReferredBy, "<sip:100@office.example>"),
];

#[test]
fn a_customer_cannot_say_who_it_is() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob], _, carrier) = with_peer(seed, Trust { believed: true, told: true });
        says(&mut world, ann, &FORGED);
        for (number, phone) in [("102", bob), ("9495", carrier)] {
            world.tell(ann, Do::call(number));
            let invite = rung(&mut world, phone);
            assert!(from(&invite).contains("sip:101@"), "{}", from(&invite));
            for (name, value) in FORGED {
                assert!(!lines(&invite, name).contains(&value.to_owned()), "{value} came through");
            }
            assert!(
                lines(&invite, HeaderName::Diversion).is_empty() && lines(&invite, HeaderName::HistoryInfo).is_empty()
            );
            world.tell(ann, Do::HangUp);
            wait(&mut world, 3, |world| world.is_over(phone));
        }
        world.finish();
    });
}

#[test]
fn who_asks_for_privacy_is_nobody_to_phones_and_strangers() {
    for_seeds(SEEDS, |seed| {
        for ask in ["id", "header", "user;critical", "From"] {
            let (mut world, [ann, bob], peer, carrier) = with_peer(seed, Trust::default());
            if ask == "From" {
                world.phone_mut(ann).habits.anonymous = true;
            } else {
                says(&mut world, ann, &[(HeaderName::Privacy, ask)]);
            }
            world.tell(ann, Do::call("102"));
            let invite = rung(&mut world, bob);
            assert_eq!(from(&invite), NOBODY, "{ask}");
            let text = String::from_utf8_lossy(invite.bytes()).into_owned();
            assert!(!text.contains("sip:101@") && !text.contains("Phone 101"), "{text}");
            world.tell_in(millis(300), bob, Do::Answer);
            wait(&mut world, 3, |world| world.talk(ann, bob));
            world.tell(ann, Do::HangUp);

            world.tell_in(millis(500), ann, Do::call("9495"));
            let invite = rung(&mut world, carrier);
            assert_eq!(from(&invite), NOBODY, "{ask}");
            assert!(lines(&invite, HeaderName::PAssertedIdentity).is_empty());
            world.tell(carrier, Do::Refuse(486));
            wait(&mut world, 3, |world| world.is_over(ann));

            world.trust(peer, TOLD);
            world.tell(ann, Do::call("9495"));
            wait(&mut world, 3, |world| world.at_phone(carrier).lines.len() == 2);
            let invite = rung(&mut world, carrier);
            assert_eq!(from(&invite), NOBODY);
            assert_eq!(invite.header(HeaderName::Privacy), Some("id"));
            let asserted = lines(&invite, HeaderName::PAssertedIdentity).remove(0);
            assert!(asserted.contains("<sip:101@"), "{asserted}");
            let records = world.finish();
            assert!(records.iter().all(|cdr| cdr.from.number.as_str() == "101"), "records say who called");
        }
    });
}

#[test]
fn who_wants_to_be_seen_is_seen() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, _], _, carrier) = with_peer(seed, TOLD);
        world.phone_mut(ann).habits.anonymous = true;
        says(&mut world, ann, &[(HeaderName::Privacy, "none")]);
        world.tell(ann, Do::call("9495"));
        let invite = rung(&mut world, carrier);
        assert!(from(&invite).starts_with("\"Phone 101\" <sip:101@"));
        assert_eq!(lines(&invite, HeaderName::PAssertedIdentity), [from(&invite)]);
        assert_eq!(invite.header(HeaderName::Privacy), None);
        world.finish();
    });
}

#[test]
fn a_peer_is_believed_when_its_row_says_so() {
    let asserts: [(HeaderName, &str); 4] = [
        (HeaderName::PAssertedIdentity, "\"Mary\" <sip:+74951112233@carrier.example>"),
        (HeaderName::Privacy, "id"),
        (HeaderName::Diversion, "<sip:+74950000000@carrier.example>;reason=no-answer"),
        (HeaderName::HistoryInfo, "<sip:+74950000000@carrier.example>;index=1"),
    ];
    for_seeds(SEEDS, |seed| {
        for (trust, open) in [(Trust::default(), false), (BELIEVED, false), (BELIEVED, true)] {
            let (mut world, [_, bob], _, carrier) = with_peer(seed, trust);
            world.phone_mut(carrier).habits.anonymous = !open;
            let said: Vec<_> = asserts.into_iter().filter(|(name, _)| !open || *name != HeaderName::Privacy).collect();
            says(&mut world, carrier, &said);
            world.tell(carrier, Do::call("102"));
            let invite = rung(&mut world, bob);
            let hops = (lines(&invite, HeaderName::Diversion), lines(&invite, HeaderName::HistoryInfo));
            if open {
                assert_eq!(from(&invite), "\"Mary\" <sip:+74951112233@office.example>");
            } else {
                assert_eq!(from(&invite), NOBODY, "{trust:?}");
            }
            if trust.believed {
                assert_eq!(hops.0, [asserts[2].1]);
                assert_eq!(hops.1, [asserts[3].1, "<sip:102@office.example>;index=1.1"]);
            } else {
                assert!(hops.0.is_empty() && hops.1.is_empty());
            }
            world.tell(bob, Do::Answer);
            wait(&mut world, 3, |world| world.talk(carrier, bob));
            let cdr = world.finish().remove(0);
            let known = if trust.believed { "+74951112233" } else { "" };
            assert_eq!(cdr.from.number.as_str(), known);
        }
    });
}

#[test]
fn a_believed_callee_says_who_answered() {
    for_seeds(SEEDS, |seed| {
        for (trust, privacy, shown) in [
            (BELIEVED, None, Some("\"Shop\" <sip:+7800@")),
            (BELIEVED, Some("id"), Some(NOBODY)),
            (TOLD, None, None),
            (TOLD, Some("id"), Some(NOBODY)),
        ] {
            let (mut world, [ann, _], peer, carrier) = with_peer(seed, trust);
            let mut answer = vec![(HeaderName::PAssertedIdentity, "\"Shop\" <sip:+7800@carrier.example>")];
            answer.extend(privacy.map(|wish| (HeaderName::Privacy, wish)));
            says(&mut world, carrier, &answer);
            world.route("7*", RouteTarget::Peer { peer, strip: 0, prepend: String::new() });
            connect(&mut world, ann, carrier, "7800");
            let last = world.line(ann).shows.last().map(String::as_str);
            assert_eq!(last.map(|last| last.starts_with(shown.unwrap_or("nothing"))), shown.map(|_| true), "{last:?}");
            world.finish();
        }
    });
}

/// Behind a peer the call is passed on: by a change of media, by one that says nothing new, by UPDATE with and without an
/// offer. Phones show to whom, by UPDATE or INVITE, where the peer is believed.
#[test]
fn a_believed_peer_says_to_whom_it_passed_a_call_on() {
    let other = (HeaderName::PAssertedIdentity, "\"Desk\" <sip:+7900@carrier.example>");
    for_seeds(SEEDS, |seed| {
        for (change, by_update, takes) in [
            (Some(Do::Move), false, false),
            (Some(Do::Repeated), false, false),
            (Some(Do::Repeated), false, true),
            (Some(Do::Move), true, true),
            (None, true, true),
            (None, true, false),
        ] {
            for (trust, secret, shown) in
                [(BELIEVED, false, Some("\"Desk\" <sip:+7900@")), (BELIEVED, true, Some(NOBODY)), (TOLD, false, None)]
            {
                let (mut world, [_, bob], _, carrier) = with_peer(seed, trust);
                let habits = &mut world.phone_mut(carrier).habits;
                (habits.takes_update, habits.changes_by_update) = (by_update, by_update);
                let refreshes = Timers { refresher: Some(Refresher::Uac), ..Timers::of(120) };
                habits.timers = change.is_none().then_some(refreshes);
                world.phone_mut(bob).habits.takes_update = takes;
                connect(&mut world, carrier, bob, "102");
                let mut lines = vec![(other.0, other.1.to_owned())];
                lines.extend(secret.then(|| (HeaderName::Privacy, "id".to_owned())));
                world.phone_mut(carrier).habits.says_later = lines;
                match &change {
                    Some(change) => world.tell(carrier, change.clone()),
                    None => world.pass(secs(61)),
                }
                world.pass(secs(5));
                let last = world.line(bob).shows.last().map(String::as_str);
                assert_eq!(
                    last.map(|last| last.starts_with(shown.unwrap_or("nothing"))),
                    shown.map(|_| true),
                    "{last:?}"
                );
                assert!(world.talk(carrier, bob));
                // Once is enough.
                let count = world.line(bob).shows.len();
                world.tell(carrier, Do::Move);
                world.pass(secs(5));
                assert_eq!((world.line(bob).shows.len(), world.talk(carrier, bob)), (count, true));
                world.pass(secs(200));
                world.finish();
            }
        }
    });
}

#[test]
fn a_phone_cannot_become_somebody_else() {
    for_seeds(SEEDS, |seed| {
        for by_update in [false, true] {
            let (mut world, [ann, bob]) = office(seed);
            for phone in [ann, bob] {
                world.phone_mut(phone).habits.takes_update = by_update;
            }
            world.phone_mut(ann).habits.changes_by_update = by_update;
            connect(&mut world, ann, bob, "102");
            let lines = FORGED.map(|(name, value)| (name, value.to_owned()));
            world.phone_mut(ann).habits.says_later = lines.to_vec();
            let before = world.line(bob).shows.len();
            for change in [Do::Move, Do::Repeated] {
                world.tell(ann, change);
                world.pass(secs(3));
            }
            assert_eq!((world.line(bob).shows.len(), world.talk(ann, bob)), (before, true));
            world.finish();
        }
    });
}

/// A diversion of ours, on top of those that came, is told to users and to peers that are told.
#[test]
fn a_diverted_call_brings_its_history() {
    for_seeds(SEEDS, |seed| {
        for trust in [BELIEVED, Trust { believed: true, told: true }] {
            let (mut world, [_, bob], _, carrier) = with_peer(seed, trust);
            says(
                &mut world,
                carrier,
                &[
                    (HeaderName::Diversion, "<sip:1@x>;reason=deflection;privacy=full"),
                    (HeaderName::HistoryInfo, "<sip:1@x?Privacy=history>;index=1, <sip:2@x>;index=1.1"),
                ],
            );
            world.phone_mut(bob).habits.when_called = vec![(millis(20), Do::Redirect(vec!["9495".into()]))];
            let (other, gateway) = world.peer("gateway");
            world.trust(other, trust);
            world.route("94*", RouteTarget::Peer { peer: other, strip: 1, prepend: String::new() });
            world.tell(carrier, Do::call("102"));
            let invite = rung(&mut world, gateway);
            let (diversion, history) = (lines(&invite, HeaderName::Diversion), lines(&invite, HeaderName::HistoryInfo));
            if trust.told {
                assert!(diversion[0].contains("<sip:102@") && diversion[0].ends_with(";reason=unconditional"));
                assert_eq!(diversion[1], "<sip:1@x>;reason=deflection;privacy=full");
                assert_eq!(history[..2], ["<sip:1@x?Privacy=history>;index=1", "<sip:2@x>;index=1.1"]);
                assert!(history[2].contains("?Reason=SIP%3Bcause%3D302>;index=1.1.1"), "{history:?}");
                assert!(history[3].ends_with(";index=1.1.1.1;mp=1.1.1"), "{history:?}");
            } else {
                assert!(diversion.is_empty() && history.is_empty());
            }
            world.finish();
        }
    });
}

#[test]
fn a_transfer_keeps_a_private_caller_private() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        says(&mut world, ann, &[(HeaderName::Privacy, "id")]);
        connect(&mut world, ann, bob, "102");
        world.tell(bob, Do::transfer("103"));
        let invite = rung(&mut world, carl);
        assert_eq!(from(&invite), NOBODY);
        assert!(lines(&invite, HeaderName::ReferredBy)[0].contains("sip:102@"));
        world.tell_in(millis(300), carl, Do::Answer);
        wait(&mut world, 4, |world| world.talk(ann, carl) && world.is_over(bob));
        assert!(world.line(ann).shows.last().unwrap().contains("sip:103@"));
        world.finish();
    });
}

#[test]
fn an_attended_transfer_shows_nobody_where_somebody_is_private() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        says(&mut world, ann, &[(HeaderName::Privacy, "user")]);
        connect(&mut world, ann, bob, "102");
        world.tell(bob, Do::Hold);
        world.pass(millis(500));
        connect(&mut world, bob, carl, "103");
        world.tell_line(bob, 0, Do::transfer_to_line("103", 1));
        wait(&mut world, 5, |world| world.talk(ann, carl));
        assert_eq!(world.line(carl).shows.last().map(String::as_str), Some(NOBODY));
        assert!(world.line(ann).shows.last().unwrap().contains("sip:103@"));
        world.finish();
    });
}

#[test]
fn a_lamp_shows_nobody_where_the_caller_is_private() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob, carl]) = office(seed);
        says(&mut world, ann, &[(HeaderName::Privacy, "id")]);
        world.tell(carl, Do::watch("102"));
        world.pass(millis(500));
        world.tell(ann, Do::call("102"));
        wait(&mut world, 3, |world| world.rings(bob));
        world.pass(millis(500));
        let body = world.at_phone(carl).watching().body.clone();
        assert!(body.contains("anonymous@anonymous.invalid") && !body.contains("sip:101@"), "{body}");
        world.finish();
    });
}

#[test]
fn a_message_of_somebody_private_comes_from_nobody() {
    for_seeds(SEEDS, |seed| {
        let (mut world, [ann, bob]) = office(seed);
        world.phone_mut(ann).habits.anonymous = true;
        world.tell(ann, Do::Message { number: "102".into(), text: "hello".into() });
        wait(&mut world, 3, |world| !world.at_phone(bob).messages.taken.is_empty());
        assert_eq!(world.at_phone(bob).messages.taken[0].0, "sip:anonymous@anonymous.invalid");
        world.finish();
    });
}
