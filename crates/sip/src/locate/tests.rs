//! The shortcuts of RFC 3263 §4 one by one, and the order of servers for whatever DNS says.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use words::Seed;

/// What DNS knows; what is not in it is said to be nothing.
#[derive(Default)]
struct Zone {
    known: BTreeMap<Question, Answer>,
    /// What was asked, in turn.
    rounds: Vec<Vec<Question>>,
}

impl Zone {
    fn with(mut self, kind: Kind, name: &str, records: Records) -> Self {
        self.known.insert(Question::new(kind, name), Answer { records, ttl: Duration::from_mins(5) });
        self
    }

    fn naptr(self, name: &str, records: &[(u16, u16, &str, &str, &str)]) -> Self {
        let record = |&(order, preference, flags, services, replacement): &(u16, u16, &str, &str, &str)| Naptr {
            order,
            preference,
            flags: flags.into(),
            services: services.into(),
            replacement: replacement.into(),
        };
        self.with(Kind::Naptr, name, Records::Naptr(records.iter().map(record).collect()))
    }

    fn srv(self, name: &str, records: &[(u16, u16, u16, &str)]) -> Self {
        let record = |&(priority, weight, port, target): &(u16, u16, u16, &str)| srv(priority, weight, port, target);
        self.with(Kind::Srv, name, Records::Srv(records.iter().map(record).collect()))
    }

    fn host(self, name: &str, addresses: &[&str]) -> Self {
        let all: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let of = |ipv4: bool| {
            let fitting = all.iter().filter(|ip| ip.is_ipv4() == ipv4);
            let addresses: Vec<Address> = fitting.map(|&ip| Address { ip, from: None }).collect();
            if addresses.is_empty() { Records::Nothing } else { Records::Addresses(addresses) }
        };
        let (a, aaaa) = (of(true), of(false));
        self.with(Kind::A, name, a).with(Kind::Aaaa, name, aaaa)
    }

    /// Searches until it is done; each round's questions are answered together.
    fn search(&mut self, wanted: &Wanted, means: Means) -> Search {
        let nothing = Answer { records: Records::Nothing, ttl: Duration::from_mins(1) };
        let mut asked: Vec<Question> = Vec::new();
        for _ in 0..4 {
            let known = &self.known;
            let mut look =
                |question: &Question| asked.contains(question).then(|| known.get(question).unwrap_or(&nothing));
            match locate(wanted, means, &mut look, &mut chance(7)) {
                Search::Ask(questions) => {
                    assert!(questions.iter().all(|question| !asked.contains(question)), "asked twice: {questions:?}");
                    asked.extend(questions.iter().cloned());
                    self.rounds.push(questions);
                }
                done @ (Search::Found(_) | Search::Lost { .. }) => return done,
            }
        }
        panic!("it asks and asks: {:?}", self.rounds)
    }

    fn servers(&mut self, uri: &str) -> Vec<String> {
        match self.search(&wanted(uri), everything()) {
            Search::Found(found) => {
                found.servers.iter().map(|server| format!("{} {}", server.transport, server.address)).collect()
            }
            other => vec![format!("{other:?}")],
        }
    }

    fn why(&mut self, uri: &str) -> Lost {
        match self.search(&wanted(uri), everything()) {
            Search::Lost { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }
}

fn chance(seed: u64) -> Chance {
    Chance::new(Seed::from_number(seed))
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
    Srv { priority, weight, port, target: target.into() }
}

fn wanted(uri: &str) -> Wanted {
    Wanted::of(&Uri::parse(uri).unwrap()).unwrap()
}

fn everything() -> Means {
    let both = |transport| [(transport, "192.0.2.1".parse().unwrap()), (transport, "2001:db8::1".parse().unwrap())];
    Means::of([both(Transport::Udp), both(Transport::Tcp), both(Transport::Tls)].concat())
}

#[test]
fn an_address_needs_no_dns() {
    let mut zone = Zone::default();
    assert_eq!(zone.servers("sip:a@192.0.2.7"), ["UDP 192.0.2.7:5060"]);
    assert_eq!(zone.servers("sips:a@192.0.2.7"), ["TLS 192.0.2.7:5061"]);
    assert_eq!(zone.servers("sip:a@[2001:db8::7]:5080;transport=tcp"), ["TCP [2001:db8::7]:5080"]);
    assert_eq!(zone.servers("sip:a@192.0.2.7;transport=tls"), ["TLS 192.0.2.7:5061"]);
    assert_eq!(zone.servers("sips:a@192.0.2.7;transport=tcp"), ["TLS 192.0.2.7:5061"]);
    assert_eq!(zone.servers("sip:a@example.com;maddr=192.0.2.8"), ["UDP 192.0.2.8:5060"]);
    assert!(zone.rounds.is_empty(), "{:?}", zone.rounds);
}

#[test]
fn a_port_means_a_host() {
    let mut zone = Zone::default().host("example.com", &["192.0.2.7", "2001:db8::7"]);
    assert_eq!(zone.servers("sip:a@example.com:5080"), ["UDP 192.0.2.7:5080", "UDP [2001:db8::7]:5080"]);
    assert_eq!(zone.servers("sips:a@Example.COM:5081"), ["TLS 192.0.2.7:5081", "TLS [2001:db8::7]:5081"]);
    assert_eq!(zone.servers("sip:a@example.com:5080;transport=tcp")[0], "TCP 192.0.2.7:5080");
    let kinds: Vec<Kind> = zone.rounds.concat().iter().map(|question| question.kind).collect();
    assert!(kinds.iter().all(|kind| matches!(kind, Kind::A | Kind::Aaaa)), "{kinds:?}");
}

#[test]
fn a_transport_means_its_srv_records() {
    let mut zone = Zone::default()
        .naptr("example.com", &[(1, 1, "s", "SIP+D2U", "elsewhere.example")])
        .srv("_sip._tcp.example.com", &[(1, 0, 5070, "a.example.com")])
        .host("a.example.com", &["192.0.2.7"]);
    assert_eq!(zone.servers("sip:example.com;transport=tcp"), ["TCP 192.0.2.7:5070"]);
    let asked: Vec<Question> = zone.rounds.concat();
    assert!(asked.iter().all(|question| question.kind != Kind::Naptr), "{asked:?}");
}

#[test]
fn a_transport_without_srv_records_means_the_host_and_the_default_port() {
    let mut zone = Zone::default().host("example.com", &["192.0.2.7"]);
    assert_eq!(zone.servers("sip:example.com;transport=tls"), ["TLS 192.0.2.7:5061"]);
    assert_eq!(zone.servers("sip:example.com;transport=udp"), ["UDP 192.0.2.7:5060"]);
}

#[test]
fn naptr_records_choose_the_transport_by_order_and_preference() {
    // RFC 3263 §4.1, its example.
    let mut zone = Zone::default()
        .naptr(
            "example.com",
            &[
                (90, 50, "s", "SIP+D2T", "_sip._tcp.example.com"),
                (50, 50, "s", "SIPS+D2T", "_sips._tcp.example.com."),
                (100, 50, "s", "SIP+D2U", "_sip._udp.example.com"),
                (10, 50, "s", "SIP+D2S", "_sip._sctp.example.com"),
                (20, 50, "u", "E2U+sip", ""),
            ],
        )
        .srv("_sips._tcp.example.com", &[(1, 0, 5061, "s1.example.com"), (2, 0, 5061, "s2.example.com")])
        .srv("_sip._tcp.example.com", &[(1, 0, 5060, "s3.example.com")])
        .srv("_sip._udp.example.com", &[(1, 0, 5060, "s1.example.com")])
        .host("s1.example.com", &["192.0.2.1"])
        .host("s2.example.com", &["192.0.2.2"])
        .host("s3.example.com", &["192.0.2.3"]);
    let Search::Found(found) = zone.search(&wanted("sip:example.com"), everything()) else { panic!() };
    let servers: Vec<String> = found.servers.iter().map(|s| format!("{} {}", s.transport, s.address)).collect();
    assert_eq!(servers, ["TLS 192.0.2.1:5061", "TLS 192.0.2.2:5061"], "the owner prefers TLS, and it stays with it");
    let all: Vec<String> = found.all.iter().map(ToString::to_string).collect();
    assert_eq!(all, ["192.0.2.1:5061", "192.0.2.2:5061", "192.0.2.3:5060", "192.0.2.1:5060"], "they speak from there");
}

#[test]
fn naptr_records_of_transports_that_we_lack_are_passed_over() {
    let mut zone = Zone::default()
        .naptr("example.com", &[(1, 1, "s", "SIPS+D2T", "t.example.com"), (2, 1, "S", "sip+d2u", "u.example.com")])
        .srv("u.example.com", &[(1, 0, 5070, "h.example.com")])
        .host("h.example.com", &["192.0.2.7", "2001:db8::7"]);
    let udp = Means::of([(Transport::Udp, "192.0.2.1".parse().unwrap())]);
    let Search::Found(found) = zone.search(&wanted("sip:example.com"), udp) else { panic!() };
    assert_eq!(found.servers.iter().map(|s| s.address.to_string()).collect::<Vec<_>>(), ["192.0.2.7:5070"]);
    assert!(
        zone.rounds.concat().iter().all(|question| question.kind != Kind::Aaaa && &*question.name != "t.example.com")
    );
}

#[test]
fn a_naptr_record_may_lead_to_a_host() {
    let mut zone = Zone::default()
        .naptr("example.com", &[(1, 1, "a", "SIP+D2T", "h.example.com")])
        .host("h.example.com", &["192.0.2.7"]);
    assert_eq!(zone.servers("sip:example.com"), ["TCP 192.0.2.7:5060"]);
}

#[test]
fn sips_is_never_anything_but_tls() {
    let mut zone = Zone::default()
        .naptr("example.com", &[(1, 1, "s", "SIP+D2U", "u.example.com"), (2, 1, "s", "SIPS+D2T", "t.example.com")])
        .srv("u.example.com", &[(1, 0, 5060, "h.example.com")])
        .srv("t.example.com", &[(1, 0, 5061, "h.example.com")])
        .host("h.example.com", &["192.0.2.7"]);
    assert_eq!(zone.servers("sips:example.com"), ["TLS 192.0.2.7:5061"]);
    assert_eq!(zone.why("sips:example.com;transport=udp"), Lost::Contradiction);
    let mut plain = Zone::default().srv("_sip._udp.example.com", &[(1, 0, 5060, "h.example.com")]);
    assert_eq!(plain.why("sips:example.com"), Lost::NoAddress);
}

#[test]
fn without_naptr_each_transport_s_srv_records_count() {
    let mut zone = Zone::default()
        .srv("_sip._tcp.example.com", &[(1, 0, 5070, "h.example.com")])
        .srv("_sips._tcp.example.com", &[(1, 0, 5071, "g.example.com")])
        .host("h.example.com", &["192.0.2.7"])
        .host("g.example.com", &["192.0.2.8"]);
    assert_eq!(zone.servers("sip:example.com"), ["TCP 192.0.2.7:5070"]);
    assert_eq!(zone.rounds.len(), 2, "what may be needed is asked together: {:?}", zone.rounds);
}

#[test]
fn without_any_the_host_itself_is_called_by_udp() {
    let mut zone = Zone::default().host("example.com", &["192.0.2.7"]);
    assert_eq!(zone.servers("sip:example.com"), ["UDP 192.0.2.7:5060"]);
    assert_eq!(zone.servers("sips:example.com"), ["TLS 192.0.2.7:5061"]);
}

#[test]
fn servers_come_in_the_order_of_their_priority_with_all_their_addresses() {
    let mut zone = Zone::default()
        .srv(
            "_sip._udp.example.com",
            &[(20, 0, 5060, "c.example.com"), (10, 0, 5062, "a.example.com"), (15, 9, 5060, "c.example.com")],
        )
        .host("a.example.com", &["192.0.2.1", "192.0.2.2"])
        .host("c.example.com", &["192.0.2.3"]);
    assert_eq!(
        zone.servers("sip:example.com;transport=udp"),
        ["UDP 192.0.2.1:5062", "UDP 192.0.2.2:5062", "UDP 192.0.2.3:5060"],
        "each once"
    );
}

#[test]
fn a_service_that_is_not_there_is_not_sought_at_the_host() {
    let mut zone = Zone::default().srv("_sip._udp.example.com", &[(0, 0, 0, ".")]).host("example.com", &["192.0.2.7"]);
    // The resolver gives the root without its dot.
    zone = zone.srv("_sip._udp.example.com", &[(0, 0, 0, "")]);
    assert_eq!(zone.why("sip:example.com;transport=udp"), Lost::NoService);
}

#[test]
fn nobody_there_is_told_from_nobody_answering() {
    assert_eq!(Zone::default().why("sip:example.com"), Lost::NoAddress);
    let mut dead = Zone::default();
    for (kind, name) in [
        (Kind::Naptr, "example.com"),
        (Kind::Srv, "_sip._udp.example.com"),
        (Kind::Srv, "_sip._tcp.example.com"),
        (Kind::Srv, "_sips._tcp.example.com"),
        (Kind::A, "example.com"),
        (Kind::Aaaa, "example.com"),
    ] {
        dead = dead.with(kind, name, Records::Silence);
    }
    assert_eq!(dead.why("sip:example.com"), Lost::Silence);
    assert_eq!(dead.rounds.len(), 2, "a call does not wait for one after another: {:?}", dead.rounds);
    // Many a small router never answers to NAPTR.
    let mut router =
        Zone::default().with(Kind::Naptr, "example.com", Records::Silence).host("example.com", &["192.0.2.7"]);
    assert_eq!(router.servers("sip:example.com"), ["UDP 192.0.2.7:5060"]);
}

#[test]
fn what_we_cannot_send_is_not_sought() {
    let udp4 = Means::of([(Transport::Udp, "192.0.2.1".parse().unwrap())]);
    let lost = |uri: &str| Zone::default().search(&wanted(uri), udp4);
    for uri in ["sip:example.com;transport=tcp", "sip:[2001:db8::1]", "sips:192.0.2.1"] {
        assert!(matches!(lost(uri), Search::Lost { why: Lost::NoMeans, .. }), "{uri}");
    }
    assert_eq!(Wanted::of(&Uri::parse("sip:example.com;transport=sctp").unwrap()), None);
    assert_eq!(Wanted::of(&Uri::parse("tel:+123").unwrap()), None);
}

#[test]
fn the_shortest_ttl_limits_the_list() {
    let mut zone = Zone::default().host("example.com", &["192.0.2.7"]);
    let question = Question::new(Kind::A, "example.com");
    zone.known.get_mut(&question).unwrap().ttl = Duration::from_secs(5);
    let Search::Found(found) = zone.search(&wanted("sip:example.com:5060"), everything()) else { panic!() };
    assert_eq!(found.ttl, Duration::from_secs(5));
}

#[test]
fn lists_have_an_end() {
    let many: Vec<(u16, u16, u16, String)> =
        (0..100).map(|n| (n, 0, 5060 + n, format!("h{}.example.com", n % 9))).collect();
    let many: Vec<(u16, u16, u16, &str)> =
        many.iter().map(|(p, w, port, name)| (*p, *w, *port, name.as_str())).collect();
    let mut zone = Zone::default().srv("_sip._udp.example.com", &many);
    for n in 0..9 {
        let addresses: Vec<String> = (0..60).map(|m| format!("10.{n}.0.{m}")).collect();
        zone = zone.host(&format!("h{n}.example.com"), &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let Search::Found(found) = zone.search(&wanted("sip:example.com;transport=udp"), everything()) else { panic!() };
    assert_eq!(found.servers.len(), SERVERS);
    assert!(found.all.len() <= 2 * SERVERS && zone.rounds.iter().all(|round| round.len() <= QUESTIONS));
}

#[test]
fn weights_share_the_calls() {
    let records = [srv(1, 75, 1, "a"), srv(1, 25, 2, "b"), srv(1, 0, 3, "c"), srv(0, 0, 4, "first")];
    let mut chance = chance(1);
    let mut firsts = [0u32; 4];
    for _ in 0..10_000 {
        let ordered = by_priority_and_weight(records.iter().collect(), &mut chance);
        assert_eq!(ordered[0].port, 4, "priority comes before weight");
        firsts[usize::from(ordered[1].port)] += 1;
    }
    assert!((7_200..7_800).contains(&firsts[1]) && (2_200..2_700).contains(&firsts[2]), "{firsts:?}");
    assert!((20..250).contains(&firsts[3]), "without a weight there is a small chance: {firsts:?}");
}

fn records() -> impl Strategy<Value = Vec<Srv>> {
    let one =
        (0u16..4, 0u16..5, 1u16..20, "[a-c]").prop_map(|(p, weight, port, target)| srv(p, weight * 20, port, &target));
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn every_record_stands_once_and_no_priority_comes_too_early(records in records(), seed: u64) {
        let ordered = by_priority_and_weight(records.iter().collect(), &mut chance(seed));
        prop_assert!(ordered.is_sorted_by_key(|srv| srv.priority));
        let sorted = |mut all: Vec<&Srv>| {
            all.sort_by(|a, b| format!("{a:?}").cmp(&format!("{b:?}")));
            all.into_iter().cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(sorted(ordered), sorted(records.iter().collect()));
    }

    #[test]
    fn a_seed_gives_one_order_however_dns_turns_the_records(records in records(), seed: u64, by: usize) {
        let mut turned: Vec<&Srv> = records.iter().collect();
        let length = turned.len().max(1);
        turned.rotate_left(by % length);
        let straight = by_priority_and_weight(records.iter().collect(), &mut chance(seed));
        prop_assert_eq!(straight, by_priority_and_weight(turned, &mut chance(seed)));
    }

    #[test]
    fn whatever_dns_says_a_search_ends(
        naptr in prop::collection::vec((0u16..3, 0u16..3, "[as]", "(SIP|SIPS)\\+D2[UT]", "[a-c]{0,1}"), 0..6),
        servers in prop::collection::vec((0u16..3, 0u16..9, 1u16..9, "[a-c]{0,1}"), 0..6),
        secure: bool,
    ) {
        let naptr: Vec<(u16, u16, &str, &str, &str)> =
            naptr.iter().map(|(o, p, f, s, r)| (*o, *p, f.as_str(), s.as_str(), r.as_str())).collect();
        let servers: Vec<(u16, u16, u16, &str)> = servers.iter().map(|(p, w, port, t)| (*p, *w, *port, t.as_str())).collect();
        let mut zone = Zone::default().naptr("example.com", &naptr).host("a", &["192.0.2.1"]).host("b", &["2001:db8::1"]);
        for name in ["a", "b", "c", "_sip._udp.example.com", "_sips._tcp.example.com"] {
            zone = zone.srv(name, &servers);
        }
        let wanted = Wanted { secure, ..Wanted::host("example.com") };
        if let Search::Found(found) = zone.search(&wanted, everything()) {
            prop_assert!(!found.servers.is_empty() && found.servers.len() <= SERVERS);
            prop_assert!(found.servers.iter().all(|server| !secure || server.transport == Transport::Tls));
        }
    }
}
