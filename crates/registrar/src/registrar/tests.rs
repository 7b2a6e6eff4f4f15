//! REGISTER by REGISTER: what is bound, shown, stored and forgotten.

mod flows;
mod undo;

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
    assert_eq!(
        outcome,
        Outcome::Refused { status: 423, reason: "Interval Too Brief: Min-Expires names the shortest", headers }
    );
    assert!(exchange.registrar.is_empty());
    exchange.contacts(&Register::new(&[OPEN]).header("Expires", "60"));
    assert_eq!(exchange.registrar.len(), 1);
}

#[test]
fn a_binding_ends_when_its_time_is_over() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&[OPEN]).header("Expires", "60"));
    assert!(exchange.pass(59).iter().all(|output| matches!(output, Output::Ping(_))));
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
    exchange.contacts(&Register::new(&["<sip:102@198.51.100.4:5060>"]).call_id("call-2"));
    let mut listed = exchange.contacts(&Register::new(&[]));
    listed.sort();
    assert_eq!(listed, ["<sip:101@198.51.100.4:5060>;expires=3590", "<sip:102@198.51.100.4:5060>;expires=3600"]);
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
fn a_record_route_means_nothing_in_a_registration() {
    let mut exchange = Exchange::new();
    let outcome = exchange.send(&Register::new(&[OPEN]).header("Record-Route", "<sip:p;lr>"), udp(HOME));
    let Outcome::Accepted { headers, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(headers.iter().all(|(name, _)| *name != HeaderName::RecordRoute));
    let Fact::Bound { binding, .. } = &facts(outcome)[0] else { panic!() };
    assert!(binding.path.is_empty());
}

#[test]
fn a_registration_is_never_refused_everywhere() {
    for register in [
        Register::new(&[OPEN]).header("Expires", "1"),
        Register::new(&["*"]),
        Register::new(&["*", OPEN]).header("Expires", "0"),
        Register::new(&["<tel:101>"]),
        Register::new(&["<sip:101@192.0.2.10:5060>"]),
        Register::new(&["<sip:101@"]),
    ] {
        let (status, _) = refused(&Exchange::new().send(&register, udp(HOME)));
        assert!((400..600).contains(&status), "{status}");
    }
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
    // Of another Call-ID its number says nothing.
    exchange.contacts(&Register::new(&[OPEN]).cseq(9));
    let star = Register::new(&["*"]).call_id("call-9").cseq(1).header("Expires", "0");
    assert_eq!(facts(exchange.send(&star, udp(HOME))).len(), 1);
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

/// Phones that make their Call-ID of their hardware address count from one again.
#[test]
fn a_device_that_was_started_anew_under_its_old_call_id_is_let_in_after_a_while() {
    let mut exchange = Exchange::new();
    exchange.contacts(&Register::new(&[OPEN]).cseq(70));
    exchange.now += Duration::from_secs(30);
    assert_eq!(refused(&exchange.send(&Register::new(&[OPEN]).cseq(1), udp(HOME))).0, 500);
    exchange.now += Duration::from_secs(30);
    assert_eq!(exchange.contacts(&Register::new(&[OPEN]).cseq(2)).len(), 1);
    assert_eq!(exchange.contacts(&Register::new(&[OPEN]).cseq(3)).len(), 1);
}

fn left(exchange: &mut Exchange, register: &Register, flow: Flow) -> Vec<Flow> {
    let Outcome::Accepted { left, .. } = exchange.send(register, flow) else { panic!() };
    left
}

#[test]
fn a_device_tells_which_flow_it_has_left() {
    let mut exchange = Exchange::new();
    let (here, there) = (udp("203.0.113.7:4000"), udp("203.0.113.7:4100"));
    assert!(left(&mut exchange, &Register::new(&[OPEN]), here).is_empty());
    assert!(left(&mut exchange, &Register::new(&[OPEN]).cseq(2), here).is_empty());
    assert_eq!(left(&mut exchange, &Register::new(&[OPEN]).cseq(3), there), [here]);
    // Some name the address that they are seen at, and take the one before back.
    let (old, new) = ("<sip:101@203.0.113.7:4100>", "<sip:101@203.0.113.7:4200>");
    left(&mut exchange, &Register::new(&[old]).cseq(4), there);
    let both = Register::new(&[new, &format!("{old};expires=0")]).cseq(5);
    assert_eq!(left(&mut exchange, &both, udp("203.0.113.7:4200")), [there]);
    // Another phone of the user has the same private address, behind another router.
    let elsewhere = Register::new(&[new]).call_id("another");
    assert!(left(&mut exchange, &elsewhere, udp("203.0.113.8:4000")).is_empty());
    assert_eq!(left(&mut exchange, &Register::new(&[new]).cseq(6), there), []);
    // Who only takes its Contact back has gone nowhere.
    let gone = Register::new(&[&format!("{new};expires=0")]).cseq(7);
    assert!(left(&mut exchange, &gone, here).is_empty());
    // Somebody else's device stays where it is when there is no room for it any more.
    for n in 0..=BINDINGS_PER_USER {
        let contact = format!("<sip:d{n}@198.51.100.4:5060>");
        let flow = udp(&format!("198.51.100.4:{}", 5_000 + n));
        assert!(left(&mut exchange, &Register::new(&[&contact]).call_id(&format!("c{n}")), flow).is_empty());
    }
}

#[test]
fn a_stream_that_died_without_a_word_gives_way_to_the_next_of_the_same_device() {
    let mut exchange = Exchange::new();
    let instance = ";+sip.instance=\"<urn:uuid:1>\"";
    let over = |port: u32| stream(Transport::Tcp, port, &format!("203.0.113.7:{port}"));
    let register = |port: u32, instance: &str, call_id: &str| {
        Register::new(&[&format!("<sip:101@10.0.0.4:{port};transport=tcp>{instance}")]).call_id(call_id)
    };
    assert!(left(&mut exchange, &register(4000, instance, "a"), over(4000)).is_empty());
    assert_eq!(left(&mut exchange, &register(4100, instance, "b"), over(4100)), [over(4000)]);
    assert_eq!(exchange.uris(), ["sip:101@10.0.0.4:4100;transport=tcp"]);
    // Another device, or one of which nothing is known, is another binding.
    let other = instance.replace(":1", ":2");
    assert!(left(&mut exchange, &register(4200, &other, "c"), over(4200)).is_empty());
    assert!(left(&mut exchange, &register(4300, "", "d"), over(4300)).is_empty());
    assert_eq!(exchange.uris().len(), 3);
}

/// Some put a word of each start into their Contact.
#[test]
fn a_phone_that_was_started_anew_has_one_binding() {
    let mut exchange = Exchange::new();
    let (here, there) = (udp("203.0.113.7:4000"), udp("203.0.113.8:4000"));
    let register = |word: &str, call_id: &str| {
        Register::new(&[&format!("<sip:101@192.168.0.4:5060;line={word}>")]).call_id(call_id)
    };
    exchange.send(&register("one", "a"), here);
    let facts = facts(exchange.send(&register("two", "b"), here));
    assert_eq!(facts[0], unbound("sip:101@192.168.0.4:5060;line=one"));
    assert_eq!(exchange.uris(), ["sip:101@192.168.0.4:5060;line=two"]);
    // One start may want two; another router has another phone behind it, and so has a proxy, as Path tells.
    exchange.send(&register("three", "b").cseq(2), here);
    exchange.send(&register("four", "c"), there);
    exchange.send(&register("five", "d").header("Path", "<sip:p;lr>"), there);
    exchange.send(&register("six", "e").header("Path", "<sip:p;lr>"), there);
    let words: Vec<_> = exchange.uris().iter().map(|uri| uri.split('=').next_back().unwrap().to_owned()).collect();
    assert_eq!(words, ["six", "five", "three", "two"], "{words:?}");
}

/// Two routers give out the same private addresses.
#[test]
fn phones_at_two_sites_with_one_private_address_are_both_bound() {
    let mut exchange = Exchange::new();
    let private = "<sip:101@192.168.1.10:5060>";
    let (office, home, cafe) = (udp("203.0.113.7:4000"), udp("203.0.113.8:4000"), udp("203.0.113.9:4000"));
    let mut stored = Vec::new();
    let mut register = |exchange: &mut Exchange, call_id: &str, cseq, flow| {
        stored.extend(facts(exchange.send(&Register::new(&[private]).call_id(call_id).cseq(cseq), flow)));
    };
    register(&mut exchange, "office", 1, office);
    register(&mut exchange, "home", 1, home);
    let reach = |exchange: &Exchange| {
        let mut all: Vec<_> = exchange.registrar.lookup(ANN, exchange.now).map(|device| device.flow.remote).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(reach(&exchange), [office.remote, home.remote]);
    register(&mut exchange, "office", 2, office);
    register(&mut exchange, "home", 2, home);
    assert_eq!(reach(&exchange), [office.remote, home.remote]);
    // One is started anew, the other is carried elsewhere: each has one binding still.
    register(&mut exchange, "office-2", 1, office);
    register(&mut exchange, "home", 3, cafe);
    assert_eq!(reach(&exchange), [office.remote, cafe.remote]);
    // The store tells them apart, and after a restart they are two again.
    let keys: std::collections::BTreeSet<_> = exchange.registrar.table.of(ANN).iter().map(Binding::key).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    let mut last = std::collections::BTreeMap::new();
    for fact in &stored {
        match fact {
            Fact::Bound { binding, .. } => last.insert(binding.key.clone(), fact.clone()),
            Fact::Unbound { key, .. } => last.remove(key),
            _ => None,
        };
    }
    let mut next = Exchange::with(exchange.registrar.config.clone());
    (next.clock, next.now) = (Clock { mono: at(0), wall: exchange.clock.wall_at(exchange.now) }, at(0));
    for fact in last.values() {
        let Fact::Bound { user, binding } = fact else { continue };
        next.registrar.restore(AccountId(1), *user, binding.clone(), &next.clock, next.now);
    }
    assert_eq!(reach(&next), [office.remote, cafe.remote]);
    assert_eq!(next.registrar.table.of(ANN).iter().map(Binding::key).collect::<std::collections::BTreeSet<_>>(), keys);
    // One goes: the other stays, and so does its row.
    let gone = Register::new(&[&format!("{private};expires=0")]).call_id("home").cseq(4);
    let facts = facts(exchange.send(&gone, cafe));
    assert_eq!((facts.len(), reach(&exchange)), (1, vec![office.remote]));
}

/// Nobody rings twice for ever.
#[test]
fn a_phone_that_moved_and_was_started_anew_leaves_nothing_for_long() {
    let mut exchange = Exchange::new();
    let private = "<sip:101@192.168.1.10:5060>";
    let (home, cafe) = (udp("203.0.113.8:4000"), udp("203.0.113.9:4000"));
    exchange.send(&Register::new(&[private]).call_id("a"), home);
    exchange.now += Duration::from_mins(1);
    exchange.send(&Register::new(&[private]).call_id("b"), cafe);
    assert_eq!(exchange.registrar.len(), 2);
    // And who comes to where another was takes its place.
    exchange.send(&Register::new(&[private]).call_id("b").cseq(2), home);
    assert_eq!(exchange.registrar.len(), 1);
    exchange.send(&Register::new(&[private]).call_id("c"), cafe);
    exchange.pass(100);
    exchange.send(&Register::new(&[private]).call_id("c").cseq(2), cafe);
    exchange.pass(61);
    assert_eq!(exchange.registrar.lookup(ANN, exchange.now).map(|device| device.flow).collect::<Vec<_>>(), [cafe]);
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
