//! REGISTER by REGISTER, in virtual time.

use super::*;
use crate::kit::{Register, address, at, stream, udp, user};
use crate::{NatPolicy, limit};
use words::{Chance, Seed, Wall};

const HOME: &str = "198.51.100.4:5060";
const OPEN: &str = "<sip:101@198.51.100.4:5060>";
const ANN: UserId = UserId(101);

/// A registrar with a clock that starts at one million seconds.
struct Exchange {
    registrar: Registrar,
    clock: Clock,
    now: Time,
}

impl Exchange {
    fn new() -> Self {
        let own = vec![address("192.0.2.10:5060"), address("192.0.2.10:5061")];
        Self::with(RegistrarConfig { own, ..RegistrarConfig::default() })
    }

    fn with(config: RegistrarConfig) -> Self {
        let clock = Clock { mono: at(0), wall: Wall(1_000_000_000) };
        Exchange { registrar: Registrar::new(config, at(0)), clock, now: at(100) }
    }

    fn send(&mut self, register: &Register, flow: Flow) -> Outcome {
        self.send_as(&user(101), register, flow)
    }

    fn send_as(&mut self, user: &User, register: &Register, flow: Flow) -> Outcome {
        let outcome = self.registrar.register(user, &register.build(), flow, &self.clock, self.now);
        self.registrar.check().unwrap();
        outcome
    }

    fn contacts(&mut self, register: &Register) -> Vec<String> {
        let outcome = self.send(register, udp(HOME));
        contacts(&outcome)
    }

    fn uris(&self) -> Vec<&str> {
        self.registrar.lookup(ANN, self.now).map(|device| device.contact).collect()
    }

    fn first(&self) -> Device<'_> {
        self.registrar.lookup(ANN, self.now).next().unwrap()
    }

    /// Lets time pass and gathers what comes out.
    fn pass(&mut self, seconds: u64) -> Vec<Output> {
        let end = self.now + Duration::from_secs(seconds);
        let mut outputs = Vec::new();
        loop {
            match self.registrar.poll() {
                Output::Timeout(Some(next)) if next <= end => {
                    self.now = self.now.max(next);
                    self.registrar.handle_timeout(self.now);
                }
                Output::Timeout(_) => break,
                other => outputs.push(other),
            }
            self.registrar.check().unwrap();
        }
        self.now = end;
        outputs
    }

    /// A new process that is given what the facts say.
    fn restarted(&self, facts: &[Fact]) -> Exchange {
        let mut next = Exchange::with(self.registrar.config.clone());
        let wall = self.clock.wall_at(self.now);
        next.clock = Clock { mono: at(0), wall };
        next.now = at(0);
        for fact in facts {
            let Fact::Bound { user, binding } = fact else { continue };
            let text = format!("{binding:?}");
            next.registrar.restore(AccountId(1), *user, binding.clone(), &next.clock, next.now);
            let again = next.registrar.table.of(*user)[0].stored(&next.clock);
            assert_eq!(format!("{again:?}"), text, "a binding comes back as it was stored");
        }
        next.registrar.check().unwrap();
        next
    }
}

fn contacts(outcome: &Outcome) -> Vec<String> {
    let Outcome::Accepted { headers, .. } = outcome else { panic!("{outcome:?}") };
    let contacts = headers.iter().filter(|(name, _)| *name == HeaderName::Contact);
    contacts.map(|(_, value)| value.clone()).collect()
}

fn facts(outcome: Outcome) -> Vec<Fact> {
    let Outcome::Accepted { facts, .. } = outcome else { panic!("{outcome:?}") };
    facts
}

fn refused(outcome: &Outcome) -> (u16, &'static str) {
    let Outcome::Refused { status, reason, .. } = outcome else { panic!("{outcome:?}") };
    (*status, reason)
}

fn unbound(key: &str) -> Fact {
    Fact::Unbound { user: ANN, key: key.into() }
}

#[test]
fn a_contact_is_bound_shown_and_stored() {
    let mut exchange = Exchange::new();
    let register = Register::new(&[OPEN]).header("Expires", "600").header("User-Agent", "Yealink SIP-T46S");
    let outcome = exchange.send(&register, udp(HOME));
    assert_eq!(contacts(&outcome), ["<sip:101@198.51.100.4:5060>;expires=600"]);
    let [Fact::Bound { user: ANN, binding }] = &facts(outcome)[..] else { panic!() };
    assert_eq!((binding.key.as_str(), binding.expires), ("sip:101@198.51.100.4:5060", Wall(1_000_700_000)));
    let device = exchange.first();
    assert_eq!((device.reach, device.nat, device.agent), (Reach::Flow(udp(HOME)), false, "Yealink SIP-T46S"));
    assert_eq!((exchange.registrar.len(), exchange.registrar.devices().count()), (1, 1));
    assert!(exchange.registrar.is_bound_from(ANN, address(HOME).ip()));
    assert!(!exchange.registrar.is_bound_from(UserId(102), address(HOME).ip()));
}

#[test]
fn the_time_comes_from_the_contact_then_the_header_then_the_default() {
    let mut exchange = Exchange::new();
    let shown = |text: &str| vec![format!("<sip:101@198.51.100.4:5060>;expires={text}")];
    let with = |contact: &str| Register::new(&[&format!("{OPEN}{contact}")]);
    assert_eq!(exchange.contacts(&with(";expires=900").header("Expires", "600")), shown("900"));
    assert_eq!(exchange.contacts(&with("").cseq(2).header("Expires", "600")), shown("600"));
    assert_eq!(exchange.contacts(&with("").cseq(3)), shown("3600"));
    assert_eq!(exchange.contacts(&with(";expires=99999999999").cseq(4)), shown("3600"));
    assert_eq!(exchange.contacts(&with(";expires=soon").cseq(5)), shown("3600"));
}

#[test]
fn too_short_a_time_gets_423_with_the_shortest_allowed() {
    let mut exchange = Exchange::new();
    let outcome = exchange.send(&Register::new(&[OPEN]).header("Expires", "59"), udp(HOME));
    let headers = vec![(HeaderName::MinExpires, "60".to_owned())];
    assert_eq!(outcome, Outcome::Refused { status: 423, reason: "Interval Too Brief", headers });
    assert!(exchange.registrar.is_empty());
    exchange.contacts(&Register::new(&[OPEN]).header("Expires", "60"));
    assert_eq!(exchange.registrar.len(), 1);
}

#[test]
fn a_binding_ends_when_its_time_is_over() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&[OPEN]).header("Expires", "60"));
    assert!(exchange.pass(59).is_empty());
    exchange.contacts(&Register::new(&[OPEN]).cseq(2).header("Expires", "60"));
    assert!(exchange.pass(59).is_empty());
    assert_eq!(exchange.uris().len(), 1);
    let gone = Output::Fact { account: AccountId(1), fact: unbound("sip:101@198.51.100.4:5060") };
    assert_eq!(exchange.pass(1), [gone]);
    assert!(exchange.registrar.is_empty() && exchange.registrar.next_at().is_none());
}

#[test]
fn what_has_expired_is_not_called_even_before_anybody_woke_up() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&[OPEN]).header("Expires", "60"));
    exchange.now += Duration::from_mins(1);
    assert!(exchange.uris().is_empty());
    assert!(exchange.contacts(&Register::new(&[])).is_empty());
}

#[test]
fn without_a_contact_the_bindings_are_listed() {
    let mut exchange = Exchange::new();
    assert!(exchange.contacts(&Register::new(&[])).is_empty());
    exchange.contacts(&Register::new(&[OPEN]));
    exchange.now += Duration::from_secs(10);
    assert_eq!(exchange.contacts(&Register::new(&[])), ["<sip:101@198.51.100.4:5060>;expires=3590"]);
}

#[test]
fn several_devices_are_called_by_q_then_the_newest_first() {
    let mut exchange = Exchange::new();
    for (n, q) in [(1, ";q=0.5"), (2, ""), (3, ";q=0.1"), (4, ";q=0.5"), (5, ";q=1.0")] {
        let contact = format!("<sip:d{n}@198.51.100.4:5060>{q}");
        exchange.contacts(&Register::new(&[&contact]).call_id(&format!("c{n}")));
    }
    let users = exchange.uris().iter().map(|uri| &uri[4..6]).collect::<Vec<_>>();
    assert_eq!(users, ["d5", "d2", "d4", "d1", "d3"]);
    let listed = exchange.contacts(&Register::new(&[]));
    assert_eq!(listed[2], "<sip:d4@198.51.100.4:5060>;expires=3600;q=0.500");
}

#[test]
fn equivalent_uris_are_one_binding() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&["<sip:101@Phone.example:5060;transport=udp>"]));
    let again = Register::new(&["<sip:%3101@phone.EXAMPLE:5060;transport=UDP>"]).cseq(2);
    let facts = facts(exchange.send(&again, udp(HOME)));
    assert_eq!(facts[0], unbound("sip:101@Phone.example:5060;transport=udp"));
    assert!(matches!(facts[1], Fact::Bound { .. }));
    assert_eq!(exchange.uris(), ["sip:%3101@phone.EXAMPLE:5060;transport=UDP"]);
    exchange.contacts(&Register::new(&["<sip:101@phone.example>"]).cseq(3));
    assert_eq!(exchange.uris().len(), 2);
}

#[test]
fn the_same_contact_twice_in_one_request_is_one_binding() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&[OPEN, OPEN]));
    assert_eq!(exchange.uris().len(), 1);
}

#[test]
fn an_expiry_of_zero_removes_one() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&[OPEN, "<sip:102@198.51.100.5:5060>"]));
    let remove = Register::new(&[&format!("{OPEN};expires=0")]).cseq(2);
    assert_eq!(facts(exchange.send(&remove, udp(HOME))), [unbound("sip:101@198.51.100.4:5060")]);
    assert_eq!(exchange.uris(), ["sip:102@198.51.100.5:5060"]);
    // What is not there needs no removing.
    let remove = Register::new(&[&format!("{OPEN};expires=0")]).cseq(3);
    assert!(facts(exchange.send(&remove, udp(HOME))).is_empty());
}

#[test]
fn a_star_removes_all_and_stands_alone() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&[OPEN, "<sip:102@198.51.100.5:5060>"]));
    for wrong in [
        Register::new(&["*"]).cseq(2),
        Register::new(&["*"]).cseq(2).header("Expires", "60"),
        Register::new(&["*", OPEN]).cseq(2).header("Expires", "0"),
    ] {
        assert_eq!(refused(&exchange.send(&wrong, udp(HOME))).0, 400);
        assert_eq!(exchange.uris().len(), 2);
    }
    let star = Register::new(&["*"]).cseq(2).header("Expires", "0");
    assert_eq!(facts(exchange.send(&star, udp(HOME))).len(), 2);
    assert!(exchange.registrar.is_empty());
}

#[test]
fn one_call_id_counts_upwards() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&[OPEN]).cseq(5));
    for cseq in [4, 5] {
        let late = Register::new(&[&format!("{OPEN};expires=0")]).cseq(cseq);
        assert_eq!(refused(&exchange.send(&late, udp(HOME))).0, 500);
        let star = Register::new(&["*"]).cseq(cseq).header("Expires", "0");
        assert_eq!(refused(&exchange.send(&star, udp(HOME))).0, 500);
    }
    assert_eq!(exchange.uris().len(), 1);
    // A device that was started anew counts from one under another Call-ID.
    exchange.contacts(&Register::new(&[OPEN]).call_id("call-2").cseq(1));
    exchange.contacts(&Register::new(&[&format!("{OPEN};expires=0")]).call_id("call-2").cseq(2));
    assert!(exchange.registrar.is_empty());
}

#[test]
fn all_or_nothing() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&["<sip:old@198.51.100.4:5060>"]).cseq(9));
    let before = exchange.contacts(&Register::new(&[]));
    for (bad, status) in [
        ("<sip:old@198.51.100.4:5060>", 500),
        ("<sip:new@198.51.100.4:5061>;expires=5", 423),
        ("<sip:new@192.0.2.10:5060>", 403),
        ("<tel:+74954451120>", 400),
    ] {
        for contacts in [[OPEN, bad], [bad, OPEN]] {
            let outcome = exchange.send(&Register::new(&contacts).cseq(9), udp(HOME));
            assert_eq!(refused(&outcome).0, status, "{bad}");
            assert_eq!(exchange.contacts(&Register::new(&[])), before, "{bad}");
        }
    }
}

#[test]
fn a_device_behind_nat_is_called_where_it_came_from_and_comes_back_soon() {
    let mut exchange = Exchange::new();
    let source = udp("203.0.113.7:41000");
    let outcome = exchange.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]), source);
    assert_eq!(contacts(&outcome), ["<sip:101@10.0.0.4:5060>;expires=120"]);
    assert_eq!((exchange.first().reach, exchange.first().nat), (Reach::Flow(source), true));
    // The router gives it another port.
    let moved = udp("203.0.113.7:41001");
    exchange.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]).cseq(2), moved);
    assert_eq!(exchange.first().reach, Reach::Flow(moved));
    assert_eq!(exchange.registrar.len(), 1);
}

#[test]
fn names_and_a_told_policy_count_as_nat() {
    let mut exchange = Exchange::new();
    exchange.send(&Register::new(&["<sip:101@phone.example>"]), udp(HOME));
    assert!(exchange.first().nat);
    let told = User { nat: NatPolicy::Behind, ..user(101) };
    exchange.send_as(&told, &Register::new(&[OPEN]).call_id("c2"), udp(HOME));
    assert!(exchange.first().nat);
}

#[test]
fn contacts_that_point_at_us_at_trunks_or_nowhere_are_refused() {
    let mut exchange = Exchange::new();
    exchange.registrar.set_peers([address("198.51.100.200:5060")]);
    for bad in [
        "192.0.2.10:5060",
        "192.0.2.10:5061",
        "192.0.2.10",
        "198.51.100.200",
        "[::ffff:198.51.100.200]:5060",
        "127.0.0.1:5060",
        "127.8.8.8:5070",
        "[::1]:5060",
        "[::ffff:127.0.0.1]:5060",
        "0.0.0.0:5060",
        "0.1.2.3:5060",
        "[::]:5060",
        "255.255.255.255:5060",
        "224.0.1.75:5060",
        "[ff02::1]:5060",
        "169.254.169.254:80",
        "198.51.100.4:0",
    ] {
        let register = Register::new(&[&format!("<sip:101@{bad}>")]);
        assert_eq!(refused(&exchange.send(&register, udp(HOME))).0, 403, "{bad}");
    }
    for good in ["198.51.100.200:5062", "10.0.0.4:5060", "[2001:db8::4]:5060", "phone.example"] {
        let register = Register::new(&[&format!("<sip:101@{good}>")]);
        contacts(&exchange.send(&register, udp(HOME)));
    }
    let link_local = udp("169.254.1.1:5060");
    contacts(&exchange.send(&Register::new(&["<sip:101@169.254.1.1:5060>"]), link_local));
    let loopback = Flow { local: address("127.0.0.1:5060"), ..udp("127.0.0.1:5070") };
    contacts(&exchange.send(&Register::new(&["<sip:101@127.0.0.1:5070>"]), loopback));
    assert_eq!(refused(&exchange.send(&Register::new(&["<sip:101@127.0.0.1>"]), loopback)).0, 403);
}

#[test]
fn contacts_that_cannot_be_called_are_malformed() {
    let mut exchange = Exchange::new();
    let long = format!("<sip:{}@198.51.100.4>", "a".repeat(limit::CONTACT_BYTES));
    for bad in [
        "<mailto:ann@example.com>",
        "<sip:101@198.51.100.4?Route=%3Csip:evil%3E>",
        "<sip:101@198.51.100.4;method=BYE>",
        "<sip:101@198.51.100.4:99999>",
        long.as_str(),
        "<sip:101@198.51.100.4>;+sip.instance=\"a\\\"b\"",
    ] {
        assert_eq!(refused(&exchange.send(&Register::new(&[bad]), udp(HOME))).0, 400, "{bad}");
    }
    let call_id = "c".repeat(limit::CALL_ID_BYTES + 1);
    assert_eq!(refused(&exchange.send(&Register::new(&[OPEN]).call_id(&call_id), udp(HOME))).0, 400);
    let many: Vec<String> = (0..=BINDINGS_PER_USER).map(|n| format!("<sip:{n}@198.51.100.4>")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refused(&exchange.send(&Register::new(&many), udp(HOME))).0, 403);
    assert!(exchange.registrar.is_empty());
}

#[test]
fn texts_that_are_kept_are_kept_short() {
    let mut exchange = Exchange::new();
    exchange.send(&Register::new(&[OPEN]).header("User-Agent", &"ж".repeat(1_000)), udp(HOME));
    assert_eq!(exchange.first().agent.len(), limit::AGENT_BYTES);
}

#[test]
fn a_new_device_is_always_let_in_and_the_one_refreshed_longest_ago_leaves() {
    let mut exchange = Exchange::new();
    let contact = |n: usize| format!("<sip:d{n}@198.51.100.4:5060>");
    for n in 0..BINDINGS_PER_USER {
        exchange.contacts(&Register::new(&[&contact(n)]).call_id(&format!("c{n}")));
        exchange.now += Duration::from_secs(1);
    }
    exchange.contacts(&Register::new(&[&format!("{};expires=60", contact(0))]).call_id("c0").cseq(2));
    let outcome = exchange.send(&Register::new(&[&contact(99)]).call_id("c99"), udp(HOME));
    assert_eq!(facts(outcome)[0], unbound("sip:d1@198.51.100.4:5060"));
    assert_eq!(exchange.registrar.len(), BINDINGS_PER_USER);
    assert!(exchange.uris().contains(&"sip:d0@198.51.100.4:5060"));
}

const INSTANCE: &str = "\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";

fn outbound(uri: &str, reg_id: &str) -> Register {
    Register::new(&[&format!("<{uri}>;+sip.instance={INSTANCE};reg-id={reg_id}")]).header("Supported", "path, outbound")
}

#[test]
fn a_flow_replaces_the_one_with_the_same_instance_and_number() {
    let mut exchange = Exchange::new();
    let first = stream(Transport::Tcp, 1, "203.0.113.7:41000");
    let outcome = exchange.send(&outbound("sip:101@10.0.0.4:5060;transport=tcp", "1"), first);
    let Outcome::Accepted { headers, facts } = outcome else { panic!() };
    assert!(headers.contains(&(HeaderName::Require, "outbound".into())));
    assert!(headers[0].1.ends_with(&format!(";expires=120;+sip.instance={INSTANCE};reg-id=1")));
    let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
    assert_eq!(binding.key, "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>;1");
    // The device starts anew: another port, another Call-ID, another connection.
    let second = stream(Transport::Tcp, 2, "203.0.113.7:41001");
    let outcome = exchange.send(&outbound("sip:101@10.0.0.4:7777;transport=tcp", "1").call_id("c2"), second);
    assert!(matches!(&crate::registrar::tests::facts(outcome)[..], [Fact::Bound { .. }]));
    assert_eq!(exchange.uris(), ["sip:101@10.0.0.4:7777;transport=tcp"]);
    assert!(exchange.registrar.flow_closed(first.connection).is_empty());
    assert_eq!(exchange.first().reach, Reach::Flow(second));
}

#[test]
fn of_two_flows_of_one_device_one_is_called() {
    let mut exchange = Exchange::new();
    let flows = [1, 2].map(|slot| stream(Transport::Tls, slot, "203.0.113.7:41000"));
    exchange.send(&outbound("sip:101@10.0.0.4;transport=tls", "1"), flows[0]);
    exchange.send(&outbound("sip:101@10.0.0.4;transport=tls", "2").call_id("c2"), flows[1]);
    assert_eq!(exchange.registrar.len(), 2);
    assert_eq!(
        exchange.registrar.lookup(ANN, exchange.now).map(|device| device.reach).collect::<Vec<_>>(),
        [Reach::Flow(flows[1])]
    );
    // The other takes over when it is gone.
    assert_eq!(exchange.registrar.flow_closed(flows[1].connection), [ANN]);
    let reaches: Vec<Reach> = exchange.registrar.lookup(ANN, exchange.now).map(|device| device.reach).collect();
    assert_eq!(reaches, [Reach::Gone, Reach::Flow(flows[0])]);
}

#[test]
fn flows_follow_their_rfc() {
    let mut exchange = Exchange::new();
    let flow = stream(Transport::Tcp, 1, "203.0.113.7:41000");
    for reg_id in ["0", "x", "", "4294967296"] {
        assert_eq!(refused(&exchange.send(&outbound("sip:101@10.0.0.4", reg_id), flow)).0, 400, "{reg_id}");
    }
    let two = format!("<sip:a@10.0.0.4>;+sip.instance={INSTANCE};reg-id=1");
    let two = Register::new(&[&two, &two.replace("reg-id=1", "reg-id=2")]).header("Supported", "outbound");
    assert_eq!(refused(&exchange.send(&two, flow)).0, 400);
    // A proxy that does not keep flows stands between.
    let proxied = outbound("sip:101@10.0.0.4", "1").header("Via", "SIP/2.0/TCP 10.0.0.9;branch=z9hG4bK2");
    assert_eq!(refused(&exchange.send(&proxied, flow)).0, 439);
    let kept = proxied.header("Path", "<sip:edge.example;lr;ob>");
    contacts(&exchange.send(&kept, flow));
    // Who does not know flows has its reg-id ignored.
    let plain = Register::new(&[&format!("<sip:b@10.0.0.4>;+sip.instance={INSTANCE};reg-id=1")]).call_id("c2");
    assert!(!contacts(&exchange.send(&plain, flow))[0].contains("reg-id"));
    let nameless = Register::new(&["<sip:c@10.0.0.4>;reg-id=1"]).call_id("c3").header("Supported", "outbound");
    assert!(!contacts(&exchange.send(&nameless, flow))[0].contains("reg-id"));
}

#[test]
fn a_path_is_kept_shown_and_stored() {
    let mut exchange = Exchange::new();
    let register = Register::new(&["<sip:101@10.0.0.4:5060>"])
        .header("Supported", "path")
        .header("Path", "<sip:p2.example;lr>, <sip:p1.example;lr;x=\"a,b\">");
    let Outcome::Accepted { headers, facts } = exchange.send(&register, udp(HOME)) else { panic!() };
    let path: Vec<&str> =
        headers.iter().filter(|(name, _)| *name == HeaderName::Path).map(|(_, value)| value.as_str()).collect();
    assert_eq!(path, ["<sip:p2.example;lr>", "<sip:p1.example;lr;x=\"a,b\">"]);
    let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
    assert_eq!((&binding.path[..], exchange.first().path), (exchange.first().path, &binding.path[..]));
    // What lies behind a proxy is the proxy's care.
    assert!(!exchange.first().nat && exchange.first().expires == exchange.now + Duration::from_hours(1));
    let many = ["<sip:p.example;lr>"; limit::PATH_VALUES + 1].join(", ");
    let many = Register::new(&[OPEN]).cseq(2).header("Path", &many);
    assert_eq!(refused(&exchange.send(&many, udp(HOME))).0, 400);
}

#[test]
fn a_lost_connection_leaves_only_what_can_be_dialled() {
    let remote = "198.51.100.4:41000";
    for (transport, contact, expected, expires) in [
        (Transport::Tcp, "<sip:101@198.51.100.4:5060;transport=tcp>", Some("198.51.100.4:5060"), 3_600),
        (Transport::Tcp, "<sip:101@198.51.100.4;transport=tcp>", Some("198.51.100.4:5060"), 3_600),
        (Transport::Tcp, "<sip:101@10.0.0.4:5060;transport=tcp>", None, 120),
        (Transport::Tcp, "<sip:101@phone.example;transport=tcp>", None, 120),
        (Transport::Tls, "<sips:101@198.51.100.4:5061>", None, 120),
        (Transport::Ws, "<sip:101@df7jal23ls0d.invalid;transport=ws>", None, 120),
        (Transport::Wss, "<sip:101@df7jal23ls0d.invalid;transport=ws>", None, 120),
    ] {
        let mut exchange = Exchange::new();
        let flow = stream(transport, 3, remote);
        let facts = facts(exchange.send(&Register::new(&[contact]), flow));
        assert_eq!(exchange.first().reach, Reach::Flow(flow));
        assert_eq!(exchange.first().expires, exchange.now + Duration::from_secs(expires), "{contact}");
        let dial = expected.map_or(Reach::Gone, |remote| Reach::Dial {
            transport,
            listener: 0,
            local: flow.local,
            remote: address(remote),
        });
        // So it is after a restart, and so it is when only the connection is lost.
        let restarted = exchange.restarted(&facts);
        assert_eq!((restarted.first().reach, restarted.first().unreachable), (dial, dial == Reach::Gone));
        assert_eq!(exchange.registrar.flow_closed(flow.connection), [ANN]);
        assert_eq!(exchange.first().reach, dial, "{contact}");
        assert!(exchange.registrar.flow_closed(flow.connection).is_empty());
        exchange.registrar.check().unwrap();
        // The device comes back.
        let again = stream(transport, 4, remote);
        exchange.send(&Register::new(&[contact]).cseq(2), again);
        assert_eq!((exchange.first().reach, exchange.registrar.len()), (Reach::Flow(again), 1));
    }
}

#[test]
fn a_device_that_comes_back_under_another_port_replaces_its_lost_self() {
    let mut exchange = Exchange::new();
    let first = stream(Transport::Tls, 1, "203.0.113.7:41000");
    exchange.send(&Register::new(&["<sip:101@10.0.0.4:41000;transport=tls>"]), first);
    exchange.send(&Register::new(&["<sip:desk@10.0.0.5:5061;transport=tls>"]).call_id("desk"), {
        stream(Transport::Tls, 2, "203.0.113.7:42000")
    });
    exchange.registrar.flow_closed(first.connection);
    let again = stream(Transport::Tls, 3, "203.0.113.7:41001");
    let outcome = exchange.send(&Register::new(&["<sip:101@10.0.0.4:41001;transport=tls>"]).cseq(2), again);
    assert_eq!(facts(outcome)[0], unbound("sip:101@10.0.0.4:41000;transport=tls"));
    assert_eq!(exchange.uris(), ["sip:101@10.0.0.4:41001;transport=tls", "sip:desk@10.0.0.5:5061;transport=tls"]);
}

#[test]
fn many_users_over_one_connection_are_told_apart() {
    let mut exchange = Exchange::new();
    let flow = stream(Transport::Tcp, 1, "203.0.113.7:41000");
    for number in 1..=50 {
        let contact = format!("<sip:{number}@10.0.0.4>");
        exchange.send_as(&user(number), &Register::new(&[&contact]), flow);
    }
    exchange.registrar.drop_user(UserId(7));
    exchange.registrar.check().unwrap();
    assert_eq!(exchange.registrar.flow_closed(flow.connection).len(), 49);
    exchange.registrar.check().unwrap();
}

#[test]
fn udp_bindings_of_the_last_run_are_reachable_at_once_from_the_same_socket() {
    let mut exchange = Exchange::new();
    let source = udp("203.0.113.7:41000");
    let facts = facts(exchange.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]), source));
    exchange.now += Duration::from_secs(50);
    let restarted = exchange.restarted(&facts);
    let device = restarted.first();
    assert_eq!((device.reach, device.nat), (Reach::Flow(source), true));
    assert_eq!(device.expires, at(70));
    exchange.registrar.config.own = vec![address("192.0.2.99:5060")];
    assert_eq!(exchange.restarted(&facts).first().reach, Reach::Gone);
}

#[test]
fn what_expired_while_the_exchange_was_down_ends_at_its_start() {
    let mut exchange = Exchange::new();
    let facts = facts(exchange.send(&Register::new(&[OPEN]).header("Expires", "60"), udp(HOME)));
    exchange.now += Duration::from_secs(61);
    let mut restarted = exchange.restarted(&[]);
    let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
    let clock = restarted.clock;
    restarted.registrar.restore(AccountId(1), ANN, binding.clone(), &clock, at(0));
    assert!(restarted.uris().is_empty());
    assert_eq!(restarted.pass(1).len(), 1);
    assert!(restarted.registrar.is_empty());
}

#[test]
fn a_clock_that_was_set_back_makes_no_binding_last_longer_than_any_may() {
    let mut exchange = Exchange::new();
    let facts = facts(exchange.send(&Register::new(&[OPEN]), udp(HOME)));
    let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
    let mut next = Exchange::new();
    let clock = Clock { mono: at(0), wall: Wall(0) };
    next.registrar.restore(AccountId(1), ANN, binding.clone(), &clock, at(0));
    assert_eq!(next.first().expires, at(3_600));
}

#[test]
fn a_revoked_user_is_gone_at_once() {
    let mut exchange = Exchange::new();
    let flow = stream(Transport::Tcp, 1, "203.0.113.7:41000");
    exchange.send(&Register::new(&["<sip:101@10.0.0.4>"]), flow);
    exchange.send(&Register::new(&[OPEN]).call_id("c2"), udp(HOME));
    assert_eq!(exchange.registrar.drop_user(ANN).len(), 2);
    assert!(exchange.registrar.is_empty() && exchange.registrar.drop_user(ANN).is_empty());
    exchange.registrar.check().unwrap();
    assert!(exchange.pass(10_000).is_empty());
}

fn pings(outputs: &[Output]) -> Vec<&Ping> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Ping(ping) => Some(ping),
            Output::Fact { .. } | Output::Timeout(_) => None,
        })
        .collect()
}

#[test]
fn devices_behind_nat_are_pinged_every_25_seconds_and_shown_unreachable_after_three_lost() {
    let mut exchange = Exchange::new();
    let source = udp("203.0.113.7:41000");
    let register = Register::new(&["<sip:101@10.0.0.4:5060>"]);
    exchange.send(&register, source);
    assert!(exchange.pass(24).is_empty());
    let outputs = exchange.pass(1);
    let [ping] = pings(&outputs)[..] else { panic!() };
    assert_eq!((ping.flow, ping.contact.as_str(), ping.kind), (source, "sip:101@10.0.0.4:5060", PingKind::Options));
    exchange.now += Duration::from_millis(40);
    exchange.registrar.pinged(ping.id, true, exchange.now);
    assert_eq!(exchange.first().round_trip, Some(Duration::from_millis(40)));
    // Nobody answers any more: the third lost one shows when the fourth goes out.
    assert_eq!(pings(&exchange.pass(75)).len(), 3);
    assert!(!exchange.first().unreachable);
    let outputs = exchange.pass(19);
    assert!(pings(&outputs).is_empty(), "{outputs:?}");
    exchange.registrar.pinged(ping.id, false, exchange.now);
    assert!(exchange.first().unreachable);
    assert_eq!(exchange.first().reach, Reach::Flow(source), "it is rung all the same");
    exchange.send(&register.clone().cseq(2), source);
    assert!(!exchange.first().unreachable);
    // It ends like any other.
    assert_eq!(pings(&exchange.pass(120)).len(), 5);
    assert!(exchange.registrar.is_empty());
    exchange.registrar.pinged(PingId { user: ANN, binding: 1 }, true, exchange.now);
}

#[test]
fn only_udp_behind_nat_is_pinged() {
    let mut exchange = Exchange::new();
    exchange.send(&Register::new(&[OPEN]), udp(HOME));
    exchange.send(&Register::new(&["<sip:a@10.0.0.4>"]), stream(Transport::Tls, 1, "203.0.113.7:41000"));
    assert!(pings(&exchange.pass(100)).is_empty());
    let mut silent = Exchange::with(RegistrarConfig { ping_every: None, ..RegistrarConfig::default() });
    silent.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]), udp("203.0.113.7:41000"));
    assert!(pings(&silent.pass(100)).is_empty());
    // A device whose Contact turns out to be right is pinged no longer.
    let mut fixed = Exchange::new();
    fixed.send(&Register::new(&["<sip:101@198.51.100.4:5060>"]), udp("198.51.100.4:1"));
    fixed.send(&Register::new(&["<sip:101@198.51.100.4:5060>"]).cseq(2), udp(HOME));
    assert!(!fixed.first().nat && pings(&fixed.pass(100)).is_empty());
}

#[test]
fn a_ping_changes_nobodys_place() {
    let mut exchange = Exchange::new();
    for n in 1..=3 {
        let contact = format!("<sip:d{n}@10.0.0.{n}:5060>");
        exchange.send(&Register::new(&[&contact]).call_id(&format!("c{n}")), udp("203.0.113.7:41000"));
        exchange.pass(1);
    }
    let before: Vec<String> = exchange.uris().iter().map(ToString::to_string).collect();
    assert_eq!(pings(&exchange.pass(60)).len(), 6);
    assert_eq!(exchange.uris(), before);
}

#[test]
fn pings_after_a_restart_are_spread() {
    let mut exchange = Exchange::new();
    let mut all = Vec::new();
    for number in 1..=1_000 {
        let outcome =
            exchange.send_as(&user(number), &Register::new(&["<sip:101@10.0.0.4:5060>"]), udp("203.0.113.7:41000"));
        all.extend(facts(outcome));
    }
    let mut restarted = exchange.restarted(&all);
    for second in 0..25 {
        let outputs = restarted.pass(1);
        let count = pings(&outputs).len();
        assert!((20..60).contains(&count), "{count} in second {second}");
    }
}

#[test]
fn random_work_keeps_the_table_whole() {
    let mut exchange = Exchange::new();
    let mut chance = Chance::new(Seed::from_number(5));
    let mut cseq = 1;
    for _ in 0..20_000 {
        let number = 1 + chance.below(20) as u32;
        let device = chance.below(14);
        let slot = 1 + chance.below(6) as u32;
        let flow = match chance.below(3) {
            0 => stream(Transport::Tcp, slot, "198.51.100.4:41000"),
            1 => stream(Transport::Wss, slot, "203.0.113.7:41000"),
            _ => udp("203.0.113.7:41000"),
        };
        cseq += 1;
        match chance.below(10) {
            0 => drop(exchange.registrar.flow_closed(ConnectionId { slot, generation: 1 })),
            1 => drop(exchange.registrar.drop_user(UserId(number))),
            2 => drop(exchange.pass(chance.below(60))),
            3 => {
                let star = Register::new(&["*"]).cseq(cseq).header("Expires", "0");
                exchange.send_as(&user(number), &star, flow);
            }
            _ => {
                let expires = [0, 60, 100, 3_600][chance.below(4) as usize];
                let q = chance.below(10);
                let reg = if chance.below(3) == 0 {
                    format!(";+sip.instance=\"<i{device}>\";reg-id=1")
                } else {
                    String::new()
                };
                let contact = format!("<sip:d{device}@198.51.100.4:5060>;expires={expires};q=0.{q}{reg}");
                let register = Register::new(&[&contact]).call_id(&format!("c{device}")).cseq(cseq);
                let outcome = exchange.send_as(&user(number), &register.header("Supported", "outbound"), flow);
                assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
            }
        }
        exchange.registrar.check().unwrap();
        let devices: Vec<u16> =
            exchange.registrar.lookup(UserId(number), exchange.now).map(|device| device.q).collect();
        assert!(devices.is_sorted_by(|a, b| a >= b));
    }
    exchange.pass(10_000);
    assert!(exchange.registrar.is_empty());
}

/// `cargo test -p registrar --release -- --ignored --nocapture` prints what a REGISTER and a binding cost.
#[test]
#[ignore = "a measurement, not a test"]
#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn what_it_costs() {
    use crate::Door;
    let mut exchange = Exchange::new();
    let mut door = Door::new(Chance::new(Seed::from_number(1)), true, at(0));
    let users: Vec<User> = (1..=1_000).map(user).collect();
    let source = address(HOME);
    let mut messages = Vec::new();
    for n in 0..100_000u32 {
        let user = &users[n as usize % users.len()];
        let challenge = door.challenge(&user.realm, user.algorithms, false, source.ip(), exchange.now).swap_remove(0);
        let password = format!("secret{}", user.auth_user);
        messages.push(Register::new(&[OPEN]).cseq(n + 1).answering(&challenge, &user.auth_user, &password, 1));
    }
    let begun = std::time::Instant::now();
    for (n, message) in messages.iter().enumerate() {
        let user = &users[n % users.len()];
        assert_eq!(door.admit(message, Some(user), source, false, exchange.now), crate::Admission::Admitted);
    }
    let admitted = begun.elapsed() / 100_000;
    let begun = std::time::Instant::now();
    for (n, message) in messages.iter().enumerate() {
        exchange.registrar.register(&users[n % users.len()], message, udp(HOME), &exchange.clock, exchange.now);
    }
    let registered = begun.elapsed() / 100_000;
    let begun = std::time::Instant::now();
    for _ in 0..100_000 {
        door.challenge("office.example", crate::AlgorithmPolicy::All, false, source.ip(), exchange.now);
    }
    let challenged = begun.elapsed() / 100_000;
    let mut wrong = |known: bool| {
        let begun = std::time::Instant::now();
        for (n, message) in messages.iter().enumerate() {
            // The nonces are spent and still good; the names are another's.
            let user = known.then_some(&users[(n + 1) % users.len()]);
            assert_ne!(door.admit(message, user, source, false, exchange.now), crate::Admission::Admitted);
        }
        begun.elapsed() / 100_000
    };
    let (unknown, known) = (wrong(false), wrong(true));
    println!("wrong password: unknown user {unknown:?}, known user {known:?}");
    println!("challenge {challenged:?}, admit {admitted:?}, register {registered:?}");
    println!("binding {} bytes, timer and index aside", size_of::<Binding>());
}
