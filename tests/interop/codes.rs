//! Fax, feature codes, addresses of one device and the route to us, by SIPp.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use tests::program::{Program, free, wait_for};
use tests::sipp::{Answering, run};

/// The file from which SIPp takes a user's name and password.
fn csv(program: &Program, user: &str, auth_user: &str, password: &str) -> String {
    let path = program.data().join(format!("{user}.csv"));
    let row = format!("SEQUENTIAL\n{user};[authentication username={auth_user} password={password}]\n");
    std::fs::write(&path, row).expect("the users are written");
    path.display().to_string()
}

/// Registers a device; where it is.
fn register(program: &Program, scenario: &str, users: &str) -> SocketAddr {
    let local = free();
    run(program, scenario, &["--calls", "1", "--users", users, "--local", &local.to_string()]);
    local
}

/// An office of three, with what SIPp needs to be each of them.
fn office() -> (Program, [String; 3]) {
    let program = Program::office();
    program.people("office", &[("101", "secret101"), ("102", "secret102"), ("103", "secret103")]);
    let users = ["101", "102", "103"];
    let users = users.map(|user| csv(&program, user, &format!("office{user}"), &format!("secret{user}")));
    (program, users)
}

/// One of the bench account's users.
fn bench_user(program: &Program, user: &str) -> String {
    csv(program, user, user, &format!("secret{user}"))
}

fn causes(program: &Program) -> Vec<String> {
    let records = program.json(&["cdr", "--limit", "100"]);
    let records = records.as_array().expect("records are a list");
    records.iter().map(|record| record["cause"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_fax_goes_through_between_two_sides_that_speak_it() {
    let program = Program::bench();
    run(&program, "uac_fax", &["--rate", "10", "--calls", "10"]);
    assert_eq!(causes(&program), vec!["normal"; 10]);
}

#[test]
fn a_fax_to_who_speaks_none_is_refused_and_the_call_goes_on() {
    let program = Program::bench();
    run(&program, "uac_fax_refused", &["--rate", "10", "--calls", "10"]);
    // The exchange itself takes none either.
    run(&program, "uac_fax_refused", &["--service", "service", "--rate", "10", "--calls", "10"]);
    assert_eq!(causes(&program), vec!["normal"; 20]);
}

#[test]
fn a_call_of_nobody_by_code() {
    let (program, [ann, bob, _]) = office();
    let phone = Answering::start("phone_anonymous", register(&program, "register", &bob));
    run(&program, "uac_auth", &["--service", "*67102", "--calls", "1", "--users", &ann]);
    phone.ends_well();
    assert_eq!(program.json(&["cdr"])[0]["from"], "101", "the record knows who it was");
}

/// Somebody is on hold, and a code sends them to a colleague.
fn sent_by_code(scenario: &str, options: &[&str]) {
    let (program, [ann, bob, carl]) = office();
    let held = Answering::start("uas_refer", register(&program, "register", &bob));
    let third = Answering::start("phone_third", register(&program, "register", &carl));
    thread::scope(|scope| {
        let holding =
            scope.spawn(|| run(&program, "uac_holds", &["--service", "102", "--calls", "1", "--users", &ann]));
        let talk = || program.json(&["calls"])[0]["state"] == "answered";
        assert!(wait_for(Duration::from_secs(5), talk));
        // Until it is on hold.
        thread::sleep(Duration::from_secs(1));
        run(&program, scenario, &[&["--calls", "1", "--users", &ann], options].concat());
        holding.join().expect("the holder is hung up on");
    });
    held.ends_well();
    third.ends_well();
    assert!(wait_for(Duration::from_secs(2), || program.metric("crosspoint_calls_active") == 0));
}

#[test]
fn who_is_held_goes_to_a_number_by_code() {
    sent_by_code("uac_code", &["--service", "*2103"]);
}

#[test]
fn who_is_held_goes_to_whom_the_holder_asked_before() {
    sent_by_code("uac_auth", &["--service", "*3103", "--hold-ms", "500"]);
}

#[test]
fn a_gruu_reaches_one_device_of_two() {
    let program = Program::bench();
    let users = bench_user(&program, "1001");
    let named = register(&program, "register_gruu", &users);
    register(&program, "register", &users);
    let device = Answering::start("phone_answers", named);
    thread::scope(|scope| {
        let calling = scope.spawn(|| run(&program, "uac_gruu", &["--service", "1001", "--calls", "1"]));
        let rings = || program.json(&["calls"])[0]["state"] == "ringing";
        assert!(wait_for(Duration::from_secs(5), rings));
        let legs = program.json(&["calls"])[0]["legs"].clone();
        assert_eq!(legs.as_array().map(Vec::len), Some(2), "the caller and one device: {legs}");
        calling.join().expect("the call ends");
    });
    device.ends_well();
}

#[test]
fn a_phone_that_knows_service_route_calls_by_it() {
    let program = Program::office_with("service_route = true\n");
    program.people("office", &[("101", "secret101")]);
    let ann = csv(&program, "101", "office101", "secret101");
    for transport in ["u1", "t1"] {
        let options = ["--service", "*43", "--calls", "3", "--users", &ann, "--transport", transport];
        run(&program, "uac_service_route", &options);
    }
    assert_eq!(causes(&program), vec!["normal"; 6]);
    // Each was challenged, and acknowledged that: it is told apart from what belongs to nobody.
    let counts = ["acks_forgotten", "strays"].map(|name| program.metric(&format!("crosspoint_{name}_total")));
    assert_eq!(counts, [6, 0]);
}
