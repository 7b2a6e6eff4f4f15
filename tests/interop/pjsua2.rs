//! PJSIP's phones, as many softphones and desk phones have it inside: what they do with each other through the exchange, heard by
//! the tones that they play.

use tests::pjsua2::play;
use tests::program::Program;

/// Plays a flow in an office of its own. The causes of its records, and what went over the wire.
fn flow(name: &str) -> Option<(Vec<String>, serde_json::Value)> {
    let program = Program::office();
    program.people("office", &[("101", "secret101"), ("102", "secret102"), ("103", "secret103")]);
    let result = play(&program, name)?;
    let over = || program.json(&["calls"]).as_array().is_some_and(Vec::is_empty);
    assert!(tests::program::wait_for(std::time::Duration::from_secs(5), over), "{}", program.log());
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
