//! Peers that are known by name: found by DNS (RFC 3263), with failover among their servers.

use crate::flows::{SEEDS, millis, secs, wait};
use sip::HeaderName;
use sip::locate::Wanted;
use switch::account::RouteTarget;
use switch::{Command, Reply};
use tests::sim::{Do, PhoneId, World, for_seeds};
use words::dns::Kind;
use words::{EndCause, PeerId, Transport};

const FIRST: &str = "198.18.1.1:5060";
const SECOND: &str = "198.18.1.2:5060";

/// Ann, and a peer with two servers: the second one is called when the first one fails.
fn two_servers(seed: u64) -> (World, PhoneId, PeerId, [PhoneId; 2]) {
    let mut world = World::new(seed);
    let ann = world.phone("101");
    let (peer, servers) = two_servers_in(&mut world);
    world.register(&[ann]);
    (world, ann, peer, servers)
}

/// Numbers that begin with 9 go to a peer whose name leads to two servers, one before the other.
pub(crate) fn two_servers_in(world: &mut World) -> (PeerId, [PhoneId; 2]) {
    world.dns.naptr(
        "carrier.example",
        &[(20, 10, "SIP+D2T", "_sip._tcp.carrier.example"), (10, 10, "SIP+D2U", "_sip._udp.carrier.example")],
    );
    world
        .dns
        .srv("_sip._udp.carrier.example", &[(20, 0, 5060, "b.carrier.example"), (10, 0, 5060, "a.carrier.example")]);
    world.dns.host("a.carrier.example", &["198.18.1.1"]);
    world.dns.host("b.carrier.example", &["198.18.1.2"]);
    let servers = [FIRST, SECOND].map(|address| world.server(address, Transport::Udp));
    (carrier(world, Wanted::host("carrier.example")), servers)
}

/// Numbers that begin with 9 go to the peer `carrier`.
fn carrier(world: &mut World, wanted: Wanted) -> PeerId {
    let peer = world.named_peer("carrier", wanted);
    world.route("9*", RouteTarget::Peer { peer, strip: 1, prepend: String::new() });
    peer
}

fn view(world: &mut World) -> switch::view::PeerView {
    match world.command(Command::PeersSeen) {
        Reply::Peers(mut peers) => peers.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_goes_to_the_server_of_the_best_priority() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, peer, [first, second]) = two_servers(seed);
        world.tell(ann, Do::call("94951234"));
        wait(&mut world, 3, |world| world.rings(first));
        let invite = world.line(first).invite.clone().unwrap();
        assert_eq!(invite.request_uri(), "sip:4951234@carrier.example", "whoever answers there is the domain");
        world.tell(first, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, first));
        world.tell_in(secs(3), ann, Do::HangUp);
        wait(&mut world, 5, |world| world.is_over(first));
        assert!(world.at_phone(second).lines.is_empty());
        assert_eq!(world.finish()[0].answered.as_ref().unwrap().who.peer, Some(peer));
    });
}

/// Its INVITE may have been lost or may still be answered, so its transaction goes on to its end (timer B, RFC 3261
/// §17.1.1.2), and nothing else.
#[test]
fn a_silent_server_holds_nothing_of_a_call_that_is_over() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, [first, second]) = two_servers(seed);
        world.unplug(first);
        world.unplug(second);
        world.tell(ann, Do::call("9100"));
        world.pass(secs(1));
        assert_eq!(world.calls().len(), 1);
        world.tell(ann, Do::HangUp);
        wait(&mut world, 2, |world| world.is_over(ann));
        world.pass(millis(100));
        let record = world.store.cdrs().next().cloned().unwrap();
        assert_eq!(record.ended.map(|ended| ended.cause), Some(EndCause::Cancelled));
        assert!(world.calls().is_empty());
        // Ports rest for a while after each use.
        world.pass(secs(3));
        assert_eq!((world.status().calls, world.ports_taken()), (0, 0));
        assert!(world.status().transactions > 0);
        world.pass(secs(40));
        assert_eq!(world.status().transactions, 0);
        world.finish();
    });
}

#[test]
fn a_dead_first_server_costs_four_seconds_once() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, [first, second]) = two_servers(seed);
        world.unplug(first);
        world.tell(ann, Do::call("9100"));
        assert!(!world.until(millis(3_900), |world| world.rings(second)));
        wait(&mut world, 1, |world| world.rings(second));
        world.tell(second, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, second));
        let seen = view(&mut world);
        assert_eq!((seen.servers[0].address.as_str(), seen.servers[0].down), (FIRST, Some("silent")));
        assert_eq!((seen.servers[1].address.as_str(), seen.servers[1].down), (SECOND, None));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 5, |world| world.is_over(second));
        // The next call does not ask the dead one first.
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 1, |world| world.rings(second));
        world.tell(second, Do::Refuse(486));
        wait(&mut world, 3, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(486), "busy is an answer: nobody else is asked");
        let cdrs = world.finish();
        assert_eq!(cdrs[0].legs[0].ended.unwrap().1, EndCause::Unavailable);
    });
}

#[test]
fn a_server_that_comes_back_is_called_again_after_a_minute() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, [first, second]) = two_servers(seed);
        world.unplug(first);
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 6, |world| world.rings(second));
        world.tell(ann, Do::HangUp);
        wait(&mut world, 3, |world| world.is_over(second));
        world.plug(first);
        world.pass(secs(61));
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 1, |world| world.rings(first));
        world.finish();
    });
}

#[test]
fn a_server_that_speaks_too_late_is_cancelled() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, [first, second]) = two_servers(seed);
        world.unplug(first);
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 6, |world| world.rings(second));
        // Its INVITE is still repeated, so that it may be taken back.
        world.plug(first);
        wait(&mut world, 15, |world| world.rings(first));
        wait(&mut world, 3, |world| world.is_over(first));
        assert!(world.rings(second), "the caller waits for the second one");
        world.tell(second, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, second));
        world.finish();
    });
}

#[test]
fn a_server_that_answers_503_is_passed_over_at_once() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, [first, second]) = two_servers(seed);
        world.phone_mut(first).habits.when_called = vec![(millis(20), Do::Refuse(503))];
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 1, |world| world.rings(second));
        let calls = [first, second].map(|server| world.line(server).invite.clone().unwrap());
        let branch = |n: usize| calls[n].via().unwrap().branch().unwrap().to_owned();
        assert_ne!(branch(0), branch(1), "RFC 3263 §4.3: a new transaction");
        assert_eq!(calls[0].request_uri(), calls[1].request_uri());
        world.tell(second, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, second));
        assert_eq!(world.finish()[0].legs[0].ended.unwrap().1, EndCause::Failed(503));
    });
}

#[test]
fn other_refusals_end_the_call() {
    for_seeds(SEEDS, |seed| {
        for status in [404, 480, 500, 603] {
            let (mut world, ann, _, [first, second]) = two_servers(seed);
            world.phone_mut(first).habits.when_called = vec![(millis(20), Do::Refuse(status))];
            world.tell(ann, Do::call("9100"));
            wait(&mut world, 2, |world| world.is_over(ann));
            assert_eq!(world.line(ann).status(), Some(status));
            assert!(world.at_phone(second).lines.is_empty());
            world.finish();
        }
    });
}

#[test]
fn when_all_servers_are_dead_the_caller_hears_504_and_why() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, servers) = two_servers(seed);
        for server in servers {
            world.unplug(server);
        }
        world.tell(ann, Do::call("9100"));
        assert!(!world.until(millis(13_900), |world| world.is_over(ann)));
        wait(&mut world, 1, |world| world.is_over(ann));
        let line = world.line(ann);
        assert_eq!((line.status(), line.reason()), (Some(504), Some("SIP;cause=408;text=\"Request Timeout\"")));
        assert!(line.phrase.contains("no server of carrier answers"), "{}", line.phrase);
        // All are down: they are asked all the same, in their order.
        world.plug(servers[0]);
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 2, |world| world.rings(servers[0]));
        world.finish();
    });
}

#[test]
fn all_servers_busy_is_told_as_a_failure_of_the_other_side() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, servers) = two_servers(seed);
        for server in servers {
            world.phone_mut(server).habits.when_called = vec![(millis(20), Do::Refuse(503))];
        }
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 2, |world| world.is_over(ann));
        let line = world.line(ann);
        assert_eq!((line.status(), line.reason()), (Some(500), Some("SIP;cause=503;text=\"Service Unavailable\"")));
        assert_eq!(servers.map(|server| world.at_phone(server).lines.len()), [1, 1]);
        world.finish();
    });
}

#[test]
fn a_caller_may_give_up_between_two_servers() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, [first, second]) = two_servers(seed);
        world.unplug(first);
        world.tell(ann, Do::call("9100"));
        world.tell_in(millis(4_000), ann, Do::HangUp);
        wait(&mut world, 6, |world| world.is_over(ann));
        world.pass(secs(1));
        assert!(world.at_phone(second).lines.iter().all(tests::sim::Line::is_over));
        assert_eq!(world.finish()[0].ended.as_ref().unwrap().cause, EndCause::Cancelled);
    });
}

#[test]
fn a_name_that_does_not_exist_is_told_at_once() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        carrier(&mut world, Wanted::host("nowhere.example"));
        world.register(&[ann]);
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 1, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(502));
        assert!(world.line(ann).phrase.contains("DNS has no address of nowhere.example"), "{}", world.line(ann).phrase);
        assert_eq!(view(&mut world).trouble, Some("no-address"));
        // Whoever mends it waits for a minute at most.
        world.dns.host("nowhere.example", &["198.18.1.1"]);
        let server = world.server(FIRST, Transport::Udp);
        world.pass(secs(61));
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 2, |world| world.rings(server));
        world.finish();
    });
}

#[test]
fn a_silent_dns_is_told_within_the_time_of_a_call() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        world.dns.answers_in = None;
        let ann = world.phone("101");
        carrier(&mut world, Wanted::host("carrier.example"));
        world.register(&[ann]);
        world.pass(secs(20));
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 5, |world| world.is_over(ann));
        assert_eq!(world.line(ann).status(), Some(504));
        assert!(
            world.line(ann).phrase.contains("DNS says nothing about carrier.example"),
            "{}",
            world.line(ann).phrase
        );
        world.finish();
    });
}

#[test]
fn calls_go_on_when_dns_falls_silent() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, [first, _]) = two_servers(seed);
        world.pass(secs(1));
        world.dns.answers_in = None;
        world.pass(secs(1_000));
        world.register(&[ann]);
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 5, |world| world.rings(first));
        world.finish();
    });
}

#[test]
fn what_dns_said_is_used_until_its_ttl_is_over() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let [ann, old, new] =
            [world.phone("101"), world.server(FIRST, Transport::Udp), world.server(SECOND, Transport::Udp)];
        world.dns.ttl = secs(120);
        world.dns.host("sbc.example", &["198.18.1.1"]);
        carrier(&mut world, Wanted { port: Some(5060), ..Wanted::host("sbc.example") });
        world.register(&[ann]);
        let call = |world: &mut World, server: PhoneId| {
            world.tell(ann, Do::call("9100"));
            wait(world, 1, |world| world.rings(server));
            world.tell(ann, Do::HangUp);
            wait(world, 3, |world| world.is_over(server));
        };
        call(&mut world, old);
        let asked = world.dns.asked().len();
        world.dns.host("sbc.example", &["198.18.1.2"]);
        world.pass(secs(100));
        call(&mut world, old);
        assert_eq!(world.dns.asked().len(), asked, "a call that finds its answer asks nothing");
        world.pass(secs(20));
        call(&mut world, new);
        assert!(world.dns.asked().iter().all(|question| question.kind == Kind::A), "{:?}", world.dns.asked());
        world.finish();
    });
}

#[test]
fn every_address_of_its_name_is_the_peer() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, peer, [_, second]) = two_servers(seed);
        world.dns.srv("_sip._tcp.carrier.example", &[(10, 0, 5060, "c.carrier.example")]);
        world.dns.host("c.carrier.example", &["198.18.1.3"]);
        let third = world.server("198.18.1.3:5080", Transport::Udp);
        let stranger = world.server("198.18.1.4:5060", Transport::Udp);
        world.pass(secs(400));
        world.register(&[ann]);
        for server in [second, third] {
            world.tell(server, Do::call("101"));
            wait(&mut world, 3, |world| world.rings(ann));
            world.tell(ann, Do::Refuse(486));
            wait(&mut world, 3, |world| world.is_over(server));
            assert!(!world.line(server).statuses.contains(&401), "its address is its password");
        }
        world.tell(stranger, Do::call("101"));
        wait(&mut world, 3, |world| world.is_over(stranger));
        assert!(!world.line(stranger).statuses.contains(&180));
        let cdrs = world.finish();
        assert!(cdrs.len() == 2 && cdrs.iter().all(|cdr| cdr.from.peer == Some(peer)));
    });
}

#[test]
fn an_address_that_a_name_left_is_nobody_s_after_a_while() {
    for_seeds(SEEDS, |seed| {
        let (mut world, _, _, [first, _]) = two_servers(seed);
        world.pass(secs(1));
        world.dns.host("a.carrier.example", &["198.18.1.9"]);
        world.pass(secs(400));
        let sources = |world: &mut World| view(world).sources.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(sources(&mut world), ["198.18.1.1", "198.18.1.2", "198.18.1.9"]);
        world.pass(secs(1_600));
        assert_eq!(sources(&mut world), ["198.18.1.2", "198.18.1.9"]);
        world.tell(first, Do::call("101"));
        wait(&mut world, 3, |world| world.is_over(first));
        assert!(world.finish().is_empty());
    });
}

#[test]
fn an_impostor_gets_no_call() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        world.dns.srv("_sips._tcp.carrier.example", &[(1, 0, 5061, "a.carrier.example")]);
        world.dns.host("a.carrier.example", &["198.18.1.1"]);
        world.dns.impostors.insert("198.18.1.1:5061".parse().unwrap());
        let impostor = world.server("198.18.1.1:5061", Transport::Tls);
        carrier(&mut world, Wanted { transport: Some(Transport::Tls), ..Wanted::host("carrier.example") });
        world.register(&[ann]);
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 2, |world| world.is_over(ann));
        let line = world.line(ann);
        assert_eq!(line.status(), Some(502));
        assert!(line.phrase.contains("the certificate of carrier is not trusted"), "{}", line.phrase);
        assert_eq!(view(&mut world).servers[0].down, Some("untrusted"));
        assert!(world.at_phone(impostor).lines.is_empty());
        world.finish();
    });
}

#[test]
fn tcp_servers_that_refuse_are_passed_over_at_once() {
    for_seeds(SEEDS, |seed| {
        let mut world = World::new(seed);
        let ann = world.phone("101");
        world.dns.host("sbc.example", &["198.18.1.1", "198.18.1.2"]);
        let second = world.server(SECOND, Transport::Tcp);
        carrier(&mut world, Wanted { transport: Some(Transport::Tcp), ..Wanted::host("sbc.example") });
        world.register(&[ann]);
        world.tell(ann, Do::call("9100"));
        wait(&mut world, 1, |world| world.rings(second));
        assert_eq!(view(&mut world).servers[0].down, Some("unreachable"));
        world.tell(second, Do::Answer);
        wait(&mut world, 3, |world| world.talk(ann, second));
        world.finish();
    });
}

#[test]
fn a_redirection_to_a_peer_s_name_goes_where_the_routes_lead() {
    for_seeds(SEEDS, |seed| {
        let (mut world, ann, _, [first, _]) = two_servers(seed);
        let bob = world.phone("102");
        world.register(&[bob]);
        for (contact, heard) in [
            ("<sip:94951234@Carrier.example>", None),
            ("<sip:4951234@carrier.example>", Some("no route leads to that server so")),
            ("<sip:94951234@carrier.example:5099>", Some("another server")),
            ("<sip:94951234@other.example>", Some("another server")),
        ] {
            world.phone_mut(bob).habits.when_called = vec![(millis(20), Do::Redirect(vec![contact.to_owned()]))];
            world.tell(ann, Do::call("102"));
            match heard {
                None => {
                    wait(&mut world, 3, |world| world.rings(first));
                    let invite = world.line(first).invite.clone().unwrap();
                    assert_eq!(invite.request_uri(), "sip:4951234@carrier.example");
                    assert!(invite.header(HeaderName::Diversion).is_none());
                    world.tell(ann, Do::HangUp);
                    wait(&mut world, 3, |world| world.is_over(first));
                }
                Some(why) => {
                    wait(&mut world, 3, |world| world.is_over(ann));
                    assert!(world.line(ann).phrase.contains(why), "{contact}: {}", world.line(ann).phrase);
                }
            }
        }
        assert_eq!(world.at_phone(first).lines.len(), 1);
        world.finish();
    });
}
