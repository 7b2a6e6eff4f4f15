//! baresip registers over UDP and TLS, and what goes in at one end is what comes out at the other.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tests::baresip::{Baresip, Phone};
use tests::program::{Program, free_at, host_address, wait_for};
use tests::tone::share;

fn registered(program: &Program, count: usize) -> bool {
    wait_for(Duration::from_secs(10), || {
        program.json(&["phones"]).as_array().is_some_and(|phones| phones.len() == count)
    })
}

#[test]
fn two_phones_hear_each_other() {
    let program = Program::office();
    program.people("office", &[("101", "one-secret"), ("102", "other-secret")]);
    let certificate = program.data().join("certificate.pem");
    let mut answering = Baresip::start(&Phone {
        user: "101",
        auth_user: "office101",
        password: "one-secret",
        server: program.tls.unwrap(),
        transport: "tls",
        trust: Some(&certificate),
        mediaenc: None,
        tone: 440.0,
        dial: None,
        seconds: 12,
    });
    assert!(registered(&program, 1), "{}\n{}", answering.log(), program.log());
    let uri = format!("sip:101@{}", program.sip);
    let mut calling = Baresip::start(&Phone {
        user: "102",
        auth_user: "office102",
        password: "other-secret",
        server: program.sip,
        transport: "udp",
        trust: None,
        mediaenc: None,
        tone: 1_000.0,
        dial: Some(&uri),
        seconds: 7,
    });
    calling.wait();
    answering.wait();
    for (phone, theirs, own) in [(&answering, 1_000.0, 440.0), (&calling, 440.0, 1_000.0)] {
        let heard = phone.heard().unwrap_or_else(|| panic!("nothing was heard: {}\n{}", phone.log(), program.log()));
        let ((right, seconds), (wrong, _)) = (share(&heard, theirs), share(&heard, own));
        assert!(
            right > 0.95 && wrong < 0.01 && seconds > 1.0,
            "{right} of {theirs} Hz, {wrong} of {own} Hz, {seconds} s\n{}",
            phone.log()
        );
    }
    let records = program.json(&["cdr"]);
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
    sounded_well(&program);
}

/// The record says of both legs that they were heard, without loss over loopback, and what that is worth.
fn sounded_well(program: &Program) {
    // It is measured to the end, which comes into the record a moment after the call.
    let mut record = serde_json::Value::Null;
    soon("the record says how it sounded", program, || {
        record = program.json(&["cdr"])[0].take();
        let call = program.json(&["call", record["call"].as_str().expect("an id")]);
        call["cdr"]["media"].as_array().is_some_and(|legs| legs.len() == 2)
    });
    let mos = |value: &serde_json::Value| value["mos_x100"].as_u64().expect("it was judged");
    assert!(record["mos"].as_f64().is_some_and(|mos| mos > 4.0 && mos <= 4.5), "{record}");
    let call = program.json(&["call", record["call"].as_str().expect("an id")]);
    let legs = call["cdr"]["media"].as_array().expect("media are a list");
    for leg in legs {
        let from = &leg["from"];
        assert!(from["packets"].as_u64().is_some_and(|packets| packets > 50), "{call}");
        assert!(
            from["lost"] == 0 && mos(from) > 400 && from["jitter_us"].as_u64().is_some_and(|us| us < 50_000),
            "{call}"
        );
    }
    // What a phone says that it hears: baresip reports every five seconds. Who reports after it got such a report tells
    // how long the way is.
    let told: Vec<_> = legs.iter().filter(|leg| leg["to"].is_object()).collect();
    assert!(!told.is_empty(), "{call}");
    assert!(told.iter().all(|leg| leg["to"]["lost"].as_u64().is_some_and(|lost| lost < 10)), "{call}");
    assert!(legs.iter().filter_map(|leg| leg["round_trip_us"].as_u64()).all(|us| us < 1_000_000), "{call}");
    // The numbers of media are looked at every few seconds.
    let all =
        ["crosspoint_mos_count", "crosspoint_rtp_jitter_seconds_count", "crosspoint_rtp_packets_total{dir=\"in\"}"];
    soon("metrics know of it", program, || all.iter().all(|name| program.metric(name) > 0));
    assert!(program.metric("crosspoint_rtp_lost_total") < 10);
    assert!(program.get("/metrics").contains("crosspoint_rtp_forward_seconds_bucket{le=\"0.0025\"}"));
}

#[test]
fn echo_gives_back_the_same_tone() {
    let program = Program::office();
    program.people("office", &[("101", "one-secret")]);
    let uri = format!("sip:*43@{}", program.sip);
    let mut phone = Baresip::start(&Phone {
        user: "101",
        auth_user: "office101",
        password: "one-secret",
        server: program.sip,
        transport: "udp",
        trust: None,
        mediaenc: None,
        tone: 440.0,
        dial: Some(&uri),
        seconds: 6,
    });
    phone.wait();
    let heard = phone.heard().unwrap_or_else(|| panic!("nothing was heard: {}\n{}", phone.log(), program.log()));
    let (right, seconds) = share(&heard, 440.0);
    assert!(right > 0.95 && seconds > 1.0, "{right} {seconds}\n{}", phone.log());
}

/// A phone of the office that answers, with a tone of its own.
fn phone(server: SocketAddr, user: &str, tone: f64, trust: Option<&Path>) -> Baresip {
    let auth_user = format!("office{user}");
    let password = format!("secret{user}");
    Baresip::start(&Phone {
        user,
        auth_user: &auth_user,
        password: &password,
        server,
        transport: if trust.is_some() { "tls" } else { "udp" },
        trust,
        mediaenc: None,
        tone,
        dial: None,
        seconds: 40,
    })
}

fn office() -> Program {
    let program = Program::office();
    program.people("office", &[("101", "secret101"), ("102", "secret102"), ("103", "secret103")]);
    program
}

/// Whether so many calls are up and answered.
fn answered(program: &Program, count: usize) -> bool {
    let calls = program.json(&["calls"]);
    let calls = calls.as_array().expect("calls are a list");
    calls.len() == count && calls.iter().all(|call| call["state"] == "answered")
}

fn soon(what: &str, program: &Program, is_true: impl FnMut() -> bool) {
    assert!(wait_for(Duration::from_secs(10), is_true), "{what}\n{}", program.log());
}

#[test]
fn one_sends_the_other_to_a_third() {
    let program = office();
    let certificate = program.data().join("certificate.pem");
    let mut stays = phone(program.sip, "101", 440.0, None);
    let sends = phone(program.sip, "102", 700.0, None);
    let mut comes = phone(program.tls.unwrap(), "103", 1_000.0, Some(&certificate));
    assert!(registered(&program, 3), "{}", program.log());
    stays.command("dial", &format!("sip:102@{}", program.sip));
    soon("101 talks to 102", &program, || answered(&program, 1) && stays.rates().is_some_and(|rates| rates.1 > 0));
    sends.command("transfer", &format!("sip:103@{}", program.sip));
    soon("102 is out", &program, || sends.log().contains("terminated (duration"));
    soon("103 talks", &program, || comes.rates().is_some_and(|rates| rates.1 > 0));
    std::thread::sleep(Duration::from_secs(2));
    assert!(answered(&program, 1));
    stays.quit();
    comes.quit();
    let heard = |phone: &Baresip, hertz| share(&phone.heard().expect("something was heard"), hertz);
    let (right, seconds) = heard(&comes, 440.0);
    assert!(right > 0.95 && seconds > 1.0, "{right} {seconds}");
    // First the one, then the other.
    let ((first, _), (then, seconds)) = (heard(&stays, 700.0), heard(&stays, 1_000.0));
    assert!(first > 0.05 && then > 0.3 && first + then > 0.95 && seconds > 2.0, "{first} {then} {seconds}");
    let records = program.json(&["cdr"]);
    assert_eq!((records.as_array().unwrap().len(), &records[0]["cause"]), (1, &"normal".into()), "{records}");
}

#[test]
fn a_call_shows_how_it_sounds_while_it_goes_on() {
    let program = office();
    let (mut one, mut other) = (phone(program.sip, "101", 440.0, None), phone(program.sip, "102", 700.0, None));
    assert!(registered(&program, 2), "{}", program.log());
    one.command("dial", &format!("sip:102@{}", program.sip));
    soon("they talk", &program, || answered(&program, 1));
    let call = program.json(&["calls"])[0]["call"].as_str().expect("an id").to_owned();
    assert!(program.json(&["call", &call])["legs"][0]["sound"]["from"].is_null(), "it is too young to be judged");
    // Looked at and reported every five seconds.
    let mut shown = serde_json::Value::Null;
    soon("both legs are judged in both directions", &program, || {
        shown = program.json(&["call", &call]);
        let legs = shown["legs"].as_array().expect("legs are a list");
        legs.len() == 2
            && legs.iter().all(|leg| leg["sound"]["from"]["mos"].is_f64() && leg["sound"]["to"]["mos"].is_f64())
    });
    #[expect(clippy::disallowed_methods, reason = "the times that a program shows are held to the clock of the host")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    for leg in shown["legs"].as_array().expect("legs are a list") {
        for (way, packets) in [("from", 100), ("to", 100)] {
            let stream = &leg["sound"][way];
            let number = |name: &str| stream[name].as_f64().unwrap_or_else(|| panic!("{name}: {shown}"));
            assert!((4.0..4.5).contains(&number("mos")) && number("mos_min") <= number("mos_mean"), "{shown}");
            assert!(number("packets") > f64::from(packets) && number("lost") < 10.0, "{shown}");
            assert!(number("loss_percent") < 5.0 && number("jitter_ms") < 50.0, "{shown}");
            let age = now.as_millis() as f64 - number("at");
            assert!((-1_000.0..15_000.0).contains(&age), "{age}: {shown}");
        }
    }
    let mos = program.json(&["calls"])[0]["mos"].as_f64();
    assert!(mos.is_some_and(|mos| (4.0..4.5).contains(&mos)), "{mos:?}");
    assert!(program.read_in("C", &["calls"]).lines().next().is_some_and(|names| names.ends_with("MOS")));
    for (locale, names) in [("C", ["sound:", "from it", "to it"]), ("ru_RU.UTF-8", ["звук:", "от него", "к нему"])]
    {
        let text = program.read_in(locale, &["call", &call]);
        assert!(names.iter().all(|name| text.contains(name)) && text.contains(" UTC  4."), "{text}");
    }
    one.quit();
    other.quit();
}

#[test]
fn one_is_put_on_hold_and_taken_back() {
    let program = office();
    let mut holds = phone(program.sip, "101", 440.0, None);
    let mut held = phone(program.sip, "102", 700.0, None);
    assert!(registered(&program, 2), "{}", program.log());
    holds.command("dial", &format!("sip:102@{}", program.sip));
    let speaks = |phone: &Baresip| phone.rates().is_some_and(|rates| rates.0 > 0 && rates.1 > 0);
    soon("both talk", &program, || answered(&program, 1) && speaks(&holds) && speaks(&held));
    for _ in 0..2 {
        holds.command("hold", "");
        soon("nobody hears anybody", &program, || held.rates() == Some((0, 0)) && holds.rates() == Some((0, 0)));
        holds.command("resume", "");
        soon("both talk again", &program, || speaks(&holds) && speaks(&held));
    }
    held.quit();
    soon("the call is over", &program, || answered(&program, 0));
    holds.quit();
}

/// One leg is encrypted, over TLS, and the other is not: in the three ways that baresip has, each side calling once.
#[test]
fn a_phone_with_srtp_and_one_without_hear_each_other() {
    for (mediaenc, calls) in [("srtp", true), ("srtp-mand", true), ("srtp", false), ("srtp-mand", false)] {
        let program = Program::office();
        program.people("office", &[("102", "other-secret")]);
        // A phone that takes nothing but encrypted audio has to be known as one: it refuses an offer of either.
        program.person("office", "101", "one-secret", if mediaenc == "srtp-mand" { "required" } else { "optional" });
        let certificate = program.data().join("certificate.pem");
        let (tls, udp) = (program.tls.unwrap(), program.sip);
        let to_plain = format!("sip:102@{tls};transport=tls");
        let to_secure = format!("sip:101@{udp}");
        let secure = |dial, seconds| {
            Baresip::start(&Phone {
                user: "101",
                auth_user: "office101",
                password: "one-secret",
                server: tls,
                transport: "tls",
                trust: Some(&certificate),
                mediaenc: Some(mediaenc),
                tone: 440.0,
                dial,
                seconds,
            })
        };
        let plain = |dial, seconds| {
            Baresip::start(&Phone {
                user: "102",
                auth_user: "office102",
                password: "other-secret",
                server: udp,
                transport: "udp",
                trust: None,
                mediaenc: None,
                tone: 1_000.0,
                dial,
                seconds,
            })
        };
        let mut answering = if calls { plain(None, 12) } else { secure(None, 12) };
        assert!(registered(&program, 1), "{}\n{}", answering.log(), program.log());
        let mut calling = if calls { secure(Some(&to_plain), 7) } else { plain(Some(&to_secure), 7) };
        calling.wait();
        answering.wait();
        let (encrypted, other) = if calls { (&calling, &answering) } else { (&answering, &calling) };
        for (phone, theirs, own) in [(encrypted, 1_000.0, 440.0), (other, 440.0, 1_000.0)] {
            let heard =
                phone.heard().unwrap_or_else(|| panic!("{mediaenc}: nothing: {}\n{}", phone.log(), program.log()));
            let ((right, seconds), (wrong, _)) = (share(&heard, theirs), share(&heard, own));
            let heard = right > 0.95 && wrong < 0.01 && seconds > 1.0;
            assert!(heard, "{mediaenc} calls: {calls}: {right} {wrong} {seconds}\n{}", phone.log());
        }
        assert!(encrypted.log().contains("SRTP is Enabled"), "{mediaenc} calls: {calls}: {}", encrypted.log());
    }
}

/// Two phones that do ICE, and one that does with one that does not, on ports of the call and on the port that many share: each hears the
/// tone of the other, and who does ICE found by its own checks that we are there.
#[test]
fn phones_with_ice_hear_each_other_and_those_without() {
    let Some(host) = host_address() else { return tests::skip("baresip-ice", "calls with ICE") };
    for (shares, both) in [(false, true), (true, false), (true, true)] {
        let single = free_at(host).port() & !1;
        let media = if shares { format!("single_port = {single}\n") } else { String::new() };
        let program = Program::office_at(host, &media, "");
        program.people("office", &[("101", "one-secret"), ("102", "other-secret")]);
        let phone = |user, auth_user, password, tone, dial, seconds| Phone {
            user,
            auth_user,
            password,
            server: program.sip,
            transport: "udp",
            trust: None,
            mediaenc: None,
            tone,
            dial,
            seconds,
        };
        let answers = phone("101", "office101", "one-secret", 440.0, None, 14);
        let mut answering = if both { Baresip::start_with_ice(&answers) } else { Baresip::start(&answers) };
        assert!(registered(&program, 1), "{}\n{}", answering.log(), program.log());
        let uri = format!("sip:101@{}", program.sip);
        // It gathers and checks for three seconds before it speaks.
        let mut calling = Baresip::start_with_ice(&phone("102", "office102", "other-secret", 1_000.0, Some(&uri), 9));
        calling.wait();
        answering.wait();
        let log = calling.log();
        for (phone, does_ice) in [(&calling, true), (&answering, both)] {
            assert_eq!(phone.log().contains("connectivity check is complete"), does_ice, "{}", phone.log());
        }
        assert_eq!(log.contains(&format!("mnat 'ice' connected: raddr {host}:{single}")), shares, "{log}");
        for (phone, theirs, own) in [(&answering, 1_000.0, 440.0), (&calling, 440.0, 1_000.0)] {
            let heard =
                phone.heard().unwrap_or_else(|| panic!("nothing was heard: {}\n{}", phone.log(), program.log()));
            let ((right, seconds), (wrong, _)) = (share(&heard, theirs), share(&heard, own));
            assert!(right > 0.95 && wrong < 0.01 && seconds > 1.0, "{right} {wrong} {seconds} s\n{}", phone.log());
        }
    }
}
