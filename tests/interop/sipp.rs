//! SIPp (Debian's 3.6) against the exchange.

use tests::program::{Program, free};
use tests::sipp::{attempt, run};

#[test]
fn sipp_as_it_ships() {
    let program = Program::bench();
    run(&program, "default", &["--service", "service", "--rate", "50", "--calls", "100"]);
    assert_eq!(program.json(&["cdr", "--limit", "1000"]).as_array().unwrap().len(), 100);
}

#[test]
fn registrations_with_digest() {
    let program = Program::bench();
    run(&program, "register", &["--rate", "200", "--calls", "500"]);
    assert_eq!(program.metric("crosspoint_registrations_active"), 500);
    run(&program, "register", &["--rate", "50", "--calls", "50", "--transport", "t1"]);
}

#[test]
fn a_thousand_calls_through_the_b2bua() {
    let program = Program::bench();
    run(&program, "uac", &["--rate", "100", "--calls", "1000", "--hold-ms", "200"]);
    assert_eq!(program.metric("crosspoint_calls_active"), 0);
    let records = program.json(&["cdr", "--limit", "5000"]);
    assert_eq!(records.as_array().unwrap().len(), 1_000);
    assert!(records.as_array().unwrap().iter().all(|record| record["cause"] == "normal"), "{}", records[0]);
}

#[test]
fn calls_over_tcp() {
    let program = Program::bench();
    run(&program, "uac", &["--rate", "50", "--calls", "100", "--transport", "t1"]);
}

#[test]
fn hold_and_resume_by_reinvite() {
    let program = Program::bench();
    run(&program, "uac_reinvite", &["--rate", "20", "--calls", "40"]);
}

#[test]
fn reliable_provisional_answers_on_both_legs() {
    let program = Program::bench();
    run(&program, "uac_100rel", &["--rate", "20", "--calls", "40"]);
    run(&program, "uac_early_offer", &["--rate", "20", "--calls", "40"]);
    let records = program.json(&["cdr", "--limit", "200"]);
    assert_eq!(records.as_array().unwrap().len(), 80);
    assert!(records.as_array().unwrap().iter().all(|record| record["cause"] == "normal"), "{}", records[0]);
}

#[test]
fn an_offer_that_comes_late() {
    let program = Program::bench();
    run(&program, "uac_late_offer", &["--rate", "20", "--calls", "40"]);
    run(&program, "uac_late_offer", &["--service", "service", "--rate", "20", "--calls", "20"]);
}

#[test]
fn sessions_that_callers_refresh() {
    let program = Program::bench();
    run(&program, "uac_refresh", &["--rate", "20", "--calls", "40"]);
}

#[test]
fn sessions_that_we_refresh_on_both_legs() {
    let program = Program::bench();
    run(&program, "uac_timer", &["--rate", "5", "--calls", "5"]);
    let records = program.json(&["cdr", "--limit", "10"]);
    assert!(records.as_array().unwrap().iter().all(|record| record["cause"] == "normal"), "{}", records[0]);
}

#[test]
fn callers_who_give_up() {
    let program = Program::bench();
    run(&program, "uac_cancel", &["--rate", "20", "--calls", "40"]);
    let records = program.json(&["cdr", "--limit", "100"]);
    assert!(records.as_array().unwrap().iter().all(|record| record["cause"] == "cancelled"), "{}", records[0]);
}

#[test]
fn authenticated_calls() {
    let program = Program::office();
    program.people("office", &[("101", "secret101")]);
    let users = program.data().join("users.csv");
    std::fs::write(&users, "SEQUENTIAL\noffice101;[authentication username=office101 password=secret101]\n").unwrap();
    let users = users.display().to_string();
    run(&program, "uac_auth", &["--service", "*43", "--rate", "10", "--calls", "20", "--users", &users]);

    std::fs::write(&users, "SEQUENTIAL\noffice101;[authentication username=office101 password=wrong]\n").unwrap();
    let refused =
        attempt(&program, "uac_auth", &["--service", "*43", "--rate", "10", "--calls", "3", "--users", &users]);
    assert_eq!(refused["successful"], 0);
    assert_eq!(program.json(&["cdr"]).as_array().unwrap().len(), 20, "a refused INVITE is no call");
}

#[test]
fn who_calls_between_trunks_that_are_trusted() {
    let program = Program::office();
    program.people("office", &[]);
    let caller = free().to_string();
    let callee = program.uas.to_string();
    program.json(&["peer", "add", "office", "carrier", &caller, "--trust-identity"]);
    program.json(&["peer", "add", "office", "gateway", &callee, "--prefix", "9", "--tell-identity"]);
    let peers = program.json(&["peer", "list", "office"]);
    let trust = |n: usize| (peers[n]["trust_identity"] == true, peers[n]["tell_identity"] == true);
    assert_eq!((trust(0), trust(1)), ((true, false), (false, true)), "{peers}");
    run(&program, "uac_identity", &["--local", &caller, "--rate", "10", "--calls", "10"]);
    let records = program.json(&["cdr", "--limit", "20"]);
    let records = records.as_array().unwrap();
    assert_eq!(records.len(), 10);
    assert!(records.iter().all(|record| record["from"] == "+74951112233"), "{}", records[0]);
}

#[test]
fn calls_with_digest_reliable_answers_and_a_timer() {
    let program = Program::bench();
    run(&program, "uac_full", &["--rate", "20", "--calls", "40"]);
    assert_eq!(program.json(&["cdr", "--limit", "200"]).as_array().unwrap().len(), 40);
}

#[test]
fn what_we_can_do_is_told_to_all() {
    let program = Program::office();
    run(&program, "options", &["--rate", "50", "--calls", "50"]);
    run(&program, "options", &["--calls", "10", "--transport", "t1"]);
}

#[test]
fn services_by_name() {
    let program = Program::bench();
    run(&program, "uac", &["--service", "tone440", "--rate", "20", "--calls", "20", "--hold-ms", "100"]);
    run(&program, "uac", &["--service", "answer-1", "--rate", "20", "--calls", "20"]);
    let busy = attempt(&program, "uac", &["--service", "busy", "--rate", "20", "--calls", "20"]);
    assert_eq!((&busy["successful"], &busy["failed"]), (&0.into(), &20.into()));
}
