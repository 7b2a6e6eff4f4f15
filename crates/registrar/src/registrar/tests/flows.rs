//! Flows, paths, pings and GRUUs, and what comes back after a restart.

use super::*;

const INSTANCE: &str = "\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";

fn outbound(uri: &str, reg_id: &str) -> Register {
    Register::new(&[&format!("<{uri}>;+sip.instance={INSTANCE};reg-id={reg_id}")]).header("Supported", "path, outbound")
}

#[test]
fn a_flow_replaces_the_one_with_the_same_instance_and_number() {
    let mut exchange = Exchange::new();
    let first = stream(Transport::Tcp, 1, "203.0.113.7:41000");
    let outcome = exchange.send(&outbound("sip:101@10.0.0.4:5060;transport=tcp", "1"), first);
    let Outcome::Accepted { headers, facts, .. } = outcome else { panic!() };
    assert!(headers.contains(&(HeaderName::Require, "outbound".into())));
    assert!(headers[0].1.ends_with(&format!(";expires=120;+sip.instance={INSTANCE};reg-id=1")));
    let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
    assert_eq!(binding.key, "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>;1");
    // The device starts anew: another port, another Call-ID, another connection.
    let second = stream(Transport::Tcp, 2, "203.0.113.7:41001");
    let outcome = exchange.send(&outbound("sip:101@10.0.0.4:7777;transport=tcp", "1").call_id("c2"), second);
    assert!(matches!(&self::facts(outcome)[..], [Fact::Bound { .. }]));
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
    let Outcome::Accepted { headers, facts, .. } = exchange.send(&register, udp(HOME)) else { panic!() };
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
fn a_device_that_is_watched_is_pinged_wherever_it_sits() {
    let mut exchange = Exchange::new();
    exchange.send(&Register::new(&[OPEN]), udp(HOME));
    assert_eq!(pings_in_a_minute(&mut exchange), 1, "the first question");
    exchange.registrar.heed(ANN, true, exchange.now);
    exchange.registrar.check().unwrap();
    assert!((2..=3).contains(&pings_in_a_minute(&mut exchange)));
    // What registers while it is watched is pinged too.
    exchange.send(&Register::new(&["<sip:101@198.51.100.5:5060>"]).call_id("other"), udp("198.51.100.5:5060"));
    assert!((4..=6).contains(&pings_in_a_minute(&mut exchange)));
    exchange.registrar.heed(ANN, false, exchange.now);
    exchange.registrar.check().unwrap();
    pings_in_a_minute(&mut exchange);
    assert!(pings_in_a_minute(&mut exchange) + pings_in_a_minute(&mut exchange) <= 2);
}

/// How many pings the next minute sees.
fn pings_in_a_minute(exchange: &mut Exchange) -> usize {
    let mut count = 0;
    for _ in 0..60 {
        exchange.now += Duration::from_secs(1);
        exchange.registrar.handle_timeout(exchange.now);
        while !matches!(exchange.registrar.poll(), Output::Timeout(_)) {
            count += 1;
        }
    }
    count
}

/// Bindings that need no ping to stay reachable are asked all the same: once soon after they came, then every two minutes.
#[test]
fn every_device_is_asked_now_and_then() {
    let seconds = |exchange: &mut Exchange| {
        let from = exchange.now;
        let asked = (0..600).filter(|_| !pings(&exchange.pass(1)).is_empty());
        let asked: Vec<u64> = asked.collect();
        assert_eq!(exchange.now, from + Duration::from_mins(10));
        asked
    };
    let streams = [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
    let flows = streams.map(|transport| stream(transport, 1, HOME)).into_iter().chain([udp(HOME)]);
    for flow in flows {
        let mut exchange = Exchange::new();
        // A TLS phone cannot be dialled and has to come back soon: it does.
        exchange.send(&Register::new(&[OPEN]), flow);
        let mut asked = Vec::new();
        for cseq in 2..8 {
            asked.extend(pings(&exchange.pass(100)).iter().map(|ping| (ping.flow, ping.kind)));
            exchange.send(&Register::new(&[OPEN]).cseq(cseq), flow);
        }
        assert_eq!(asked, vec![(flow, PingKind::Options); 5], "{flow}");
    }
    let mut lan = Exchange::new();
    lan.send(&Register::new(&[OPEN]), udp(HOME));
    let asked = seconds(&mut lan);
    assert!(asked[0] < 4 && asked.windows(2).all(|pair| pair[1] - pair[0] == 120), "{asked:?}");
    // Who was there before the start is asked at some time of the two minutes, not all at once.
    let facts = facts(Exchange::new().send(&Register::new(&[OPEN]), udp(HOME)));
    assert!(seconds(&mut lan.restarted(&facts))[0] > 4);
    // Where nobody is to be asked, nobody is.
    let off = RegistrarConfig { ask_every: None, ..RegistrarConfig::default() };
    let mut silent = Exchange::with(off);
    silent.send(&Register::new(&[OPEN]), udp(HOME));
    assert!(seconds(&mut silent).is_empty());
}

#[test]
fn a_phone_that_is_unplugged_is_unreachable_within_four_minutes() {
    for flow in [udp(HOME), stream(Transport::Tcp, 1, HOME)] {
        let mut exchange = Exchange::new();
        exchange.send(&Register::new(&[OPEN]), flow);
        let outputs = exchange.pass(10);
        let [ping] = pings(&outputs)[..] else { panic!() };
        exchange.registrar.pinged(ping.id, true, exchange.now);
        assert!(exchange.first().round_trip.is_some() && !exchange.first().unreachable);
        let (from, id) = (exchange.now, ping.id);
        while !exchange.first().unreachable {
            // Timer F ends each question.
            if !pings(&exchange.pass(1)).is_empty() {
                exchange.pass(31);
                exchange.registrar.pinged(id, false, exchange.now);
            }
            assert!(exchange.now.since(from) < Duration::from_mins(4));
        }
        // It is not asked more often than others because it is gone.
        assert_eq!(pings(&exchange.pass(240)).len(), 2);
        exchange.send(&Register::new(&[OPEN]).cseq(2), flow);
        assert!(!exchange.first().unreachable);
    }
}

/// A connection that is gone is asked nothing.
#[test]
fn who_is_gone_is_asked_nothing() {
    let mut exchange = Exchange::new();
    let flow = stream(Transport::Tls, 1, "203.0.113.7:41000");
    exchange.send(&Register::new(&["<sip:a@10.0.0.4>"]), flow);
    exchange.registrar.flow_closed(flow.connection);
    assert!(pings(&exchange.pass(100)).is_empty() && exchange.first().unreachable);
    let mut silent = Exchange::with(RegistrarConfig { ping_every: None, ..RegistrarConfig::default() });
    silent.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]), udp("203.0.113.7:41000"));
    assert!(pings(&silent.pass(100)).is_empty());
    // A device whose Contact turns out to be right is pinged no longer so often.
    let mut fixed = Exchange::new();
    fixed.send(&Register::new(&["<sip:101@198.51.100.4:5060>"]), udp("198.51.100.4:1"));
    fixed.send(&Register::new(&["<sip:101@198.51.100.4:5060>"]).cseq(2), udp(HOME));
    assert!(!fixed.first().nat && pings(&fixed.pass(100)).len() == 1);
}

#[test]
fn a_ping_goes_the_way_that_calls_go() {
    let mut exchange = Exchange::new();
    let path = "<sip:edge.example;lr>, <sip:198.51.100.4;lr>";
    exchange
        .send(&Register::new(&["<sip:101@10.0.0.4:5060>"]).header("Supported", "path").header("Path", path), udp(HOME));
    let outputs = exchange.pass(10);
    let [ping] = pings(&outputs)[..] else { panic!() };
    assert_eq!(ping.path, exchange.first().path);
    assert_eq!(ping.path.len(), 2);
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

#[test]
fn a_device_that_knows_gruus_gets_a_public_one_and_temporary_ones() {
    let mut exchange = Exchange::new();
    let config = exchange.registrar.config.clone();
    exchange.registrar = Registrar::new(config, at(0)).with_secrets(Chance::new(Seed::from_number(7)));
    let contact = format!("{OPEN};+sip.instance={INSTANCE}");
    let register = |cseq| Register::new(&[&contact]).cseq(cseq).header("Supported", "gruu");
    let temporary = |contact: &str| {
        let (_, rest) = contact.split_once(";temp-gruu=\"sip:").unwrap();
        let (name, rest) = rest.split_once('@').unwrap();
        assert!(rest.starts_with("office.example;gr\""));
        name.to_owned()
    };
    let outcome = exchange.send(&register(1), udp(HOME));
    let Outcome::Accepted { headers, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(headers.contains(&(HeaderName::Supported, "path, outbound, gruu".to_owned())));
    let first = contacts(&outcome).remove(0);
    let public = ";pub-gruu=\"sip:101@office.example;gr=urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF\"";
    assert!(first.contains(public), "{first}");
    let second = contacts(&exchange.send(&register(2), udp(HOME))).remove(0);
    let names = [temporary(&first), temporary(&second)];
    assert_ne!(names[0], names[1], "each registration gives a new one");
    for name in &names {
        let found = exchange.registrar.temporary(name, exchange.now).unwrap();
        assert_eq!((found.user, found.extension.as_str()), (ANN, "101"));
        assert_eq!(found.gr, "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF");
    }
    // The device starts anew: what it gave out before reaches nobody.
    exchange.send(&register(1).call_id("c2"), udp(HOME));
    assert!(names.iter().all(|name| exchange.registrar.temporary(name, exchange.now).is_none()));
    // Who does not ask gets none, and nobody registers one.
    let plain = Register::new(&[&contact]).call_id("c2").cseq(2);
    assert!(!contacts(&exchange.send(&plain, udp(HOME)))[0].contains("gruu"));
    let gruu = Register::new(&["<sip:101@office.example;gr=urn:uuid:1>"]).call_id("c3");
    assert_eq!(refused(&exchange.send(&gruu, udp(HOME))).0, 403);
}

#[test]
fn streams_are_told_how_often_to_show_a_sign_of_life() {
    let mut exchange = Exchange::new();
    let timer = |outcome: &Outcome| {
        let Outcome::Accepted { headers, .. } = outcome else { panic!("{outcome:?}") };
        headers.iter().find(|(name, _)| *name == HeaderName::FlowTimer).map(|(_, value)| value.clone())
    };
    let tcp = stream(Transport::Tcp, 1, "203.0.113.7:41000");
    let outcome = exchange.send(&outbound("sip:101@10.0.0.4:5060;transport=tcp", "1"), tcp);
    assert_eq!(timer(&outcome).as_deref(), Some("120"));
    let outcome = exchange.send(&outbound("sip:101@198.51.100.4:5060", "2").call_id("c2"), udp(HOME));
    assert_eq!(timer(&outcome), None);
    let device = exchange.first();
    let other = exchange.registrar.other_flow(&device, exchange.now).unwrap();
    assert_eq!((device.reg_id, other.reg_id), (Some(2), Some(1)));
    assert_eq!(timer(&exchange.send(&Register::new(&[OPEN]).call_id("c3"), tcp)), None);
}
