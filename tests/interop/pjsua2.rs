//! PJSIP's phones, as many softphones and desk phones have it inside: what they do with each other through the exchange, heard by
//! the tones that they play.

use std::time::Duration;
use tests::baresip::{Baresip, Phone};
use tests::pjsua2::{play, play_across};
use tests::program::{Program, free_at, host_address, wait_for};
use tests::tone::share;

/// Plays a flow in an office of its own. The causes of its records, and what went over the wire.
fn flow(name: &str) -> Option<(Vec<String>, serde_json::Value)> {
    flow_in(&office(Program::office()), name)
}

/// The people of its flows.
fn office(program: Program) -> Program {
    program.people("office", &[("101", "secret101"), ("102", "secret102"), ("103", "secret103")]);
    program
}

fn flow_in(program: &Program, name: &str) -> Option<(Vec<String>, serde_json::Value)> {
    let result = play(program, name)?;
    let over = || program.json(&["calls"]).as_array().is_some_and(Vec::is_empty);
    assert!(wait_for(Duration::from_secs(5), over), "{}", program.log());
    let records = program.json(&["cdr"]);
    let records = records.as_array().expect("records are a list").iter();
    let causes = records.map(|record| record["cause"].as_str().unwrap_or_default().to_owned());
    Some((causes.collect(), result))
}

#[test]
fn a_call_is_held_and_taken_back() {
    let Some((causes, _)) = flow("hold") else { return };
    assert_eq!(causes, ["normal"]);
}

/// These phones obey Service-Route (RFC 3608) wherever they are told one.
#[test]
fn phones_that_are_told_a_route_to_us_take_it() {
    let program = office(Program::office_with("service_route = true\n"));
    let Some((causes, result)) = flow_in(&program, "blind") else { return };
    assert_eq!(causes, ["normal"]);
    assert!(result["seen"]["routed"].as_u64() >= Some(2), "{result}");
}

#[test]
fn a_call_is_sent_to_a_third() {
    let Some((causes, result)) = flow("blind") else { return };
    assert_eq!(causes, ["normal"]);
    assert_eq!(result["told"].as_array().unwrap().last(), Some(&200.into()), "{result}");
}

#[test]
fn two_calls_are_joined() {
    let Some((mut causes, _)) = flow("attended") else { return };
    causes.sort();
    assert_eq!(causes, ["normal", "transferred"]);
}

#[test]
fn phones_that_require_reliable_answers_get_them() {
    let Some((_, result)) = flow("reliable") else { return };
    assert_eq!(result["seen"]["PRACK"], 2, "{result}");
}

#[test]
fn phones_that_require_session_timers_get_them() {
    let Some((_, result)) = flow("timer") else { return };
    let said = |role: &str| {
        let line = format!("Session-Expires: 90;refresher={role}");
        result["seen"]["sessions"].as_array().unwrap().iter().any(|seen| *seen == line)
    };
    assert!(said("uac") && said("uas") && result["seen"]["UPDATE"].as_u64() >= Some(2), "{result}");
}

#[test]
fn phones_over_tls_hear_each_other() {
    let Some((causes, _)) = flow("tls") else { return };
    assert_eq!(causes, ["normal"]);
}

/// Offices where ICE can be: not on loopback, with ports of each call and with one that many share.
fn offices_with_ice() -> Option<[Program; 2]> {
    let Some(host) = host_address() else {
        tests::skip("pjsua2-ice", "calls with ICE");
        return None;
    };
    let single = format!("single_port = {}\n", free_at(host).port() & !1);
    Some(["", &single].map(|media| office(Program::office_at(host, media, ""))))
}

/// Each phone that does ICE checks us once for each of its calls, and once more where hold and taking back change its names.
#[test]
fn phones_with_ice_hear_each_other_and_those_without() {
    for program in offices_with_ice().into_iter().flatten() {
        let Some((causes, result)) = flow_in(&program, "ice") else { return };
        assert_eq!(causes, ["normal"; 3]);
        let seen = |what: &str| result["seen"][what].as_u64().unwrap_or_default();
        assert!(seen("checked") >= 4 && seen("lite") >= 4, "{result}");
    }
}

/// PJSIP's ICE and that of baresip, each with us in between, and a baresip without.
#[test]
fn a_phone_with_ice_calls_another_make() {
    for (program, does_ice) in offices_with_ice().into_iter().flatten().zip([true, false]) {
        let phone = Phone {
            user: "102",
            auth_user: "office102",
            password: "secret102",
            server: program.sip,
            transport: "udp",
            trust: None,
            mediaenc: None,
            tone: 700.0,
            dial: None,
            seconds: 14,
        };
        let mut answering = if does_ice { Baresip::start_with_ice(&phone) } else { Baresip::start(&phone) };
        let registered = || program.json(&["phones"]).as_array().is_some_and(|phones| phones.len() == 1);
        assert!(wait_for(Duration::from_secs(10), registered), "{}\n{}", answering.log(), program.log());
        let Some((causes, result)) = flow_in(&program, "ice_calls") else { return };
        answering.wait();
        assert_eq!((causes, &result["seen"]["checked"]), (vec!["normal".to_owned()], &1.into()), "{result}");
        let heard = answering.heard().unwrap_or_else(|| panic!("nothing: {}\n{}", answering.log(), program.log()));
        let ((right, seconds), (wrong, _)) = (share(&heard, 440.0), share(&heard, 700.0));
        assert!(right > 0.95 && wrong < 0.01 && seconds > 1.0, "{right} {wrong} {seconds}\n{}", answering.log());
    }
}

#[test]
fn who_registered_with_ice_is_offered_it_after_kill_9() {
    let Some([mut program, _]) = offices_with_ice() else { return };
    let result = play_across(&mut program, "ice_restart", |program| {
        let registered = || program.json(&["phones"]).as_array().is_some_and(|phones| phones.len() == 2);
        assert!(wait_for(Duration::from_secs(20), registered), "{}", program.log());
        // The last facts are at most ten milliseconds and a commit old.
        std::thread::sleep(Duration::from_millis(300));
        program.kill();
        program.restart();
    });
    let Some(result) = result else { return };
    // Of both the called one does ICE: unasked it would not have checked us.
    assert!(result["seen"]["lite"].as_u64() >= Some(1) && result["seen"]["checked"] == 1, "{result}");
}
