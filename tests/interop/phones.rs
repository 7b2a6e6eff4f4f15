//! Several phones of an account, each a SIPp of its own.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use tests::program::{Program, free, wait_for};
use tests::sipp::{Answering, run};

/// Registers a device of a user of the bench account.
fn register(program: &Program, user: &str) -> SocketAddr {
    register_by(program, user, "register")
}

fn register_by(program: &Program, user: &str, scenario: &str) -> SocketAddr {
    let local = free();
    let users = csv(program, user);
    run(program, scenario, &["--calls", "1", "--users", &users, "--local", &local.to_string()]);
    local
}

/// The file from which SIPp takes a user's name and password.
fn csv(program: &Program, user: &str) -> String {
    csv_with(program, user, "")
}

/// The same with more fields.
fn csv_with(program: &Program, user: &str, more: &str) -> String {
    let path = program.data().join(format!("{user}{more}.csv"));
    let row = format!("SEQUENTIAL\n{user};[authentication username={user} password=secret{user}]{more}\n");
    std::fs::write(&path, row).expect("the users are written");
    path.display().to_string()
}

#[test]
fn a_call_is_picked_up_by_code() {
    let program = Program::bench();
    let rings = Answering::start("phone_rings", register(&program, "1001"));
    std::thread::scope(|scope| {
        let users = csv(&program, "1000");
        let calling = scope.spawn(|| {
            let users = users;
            run(&program, "uac_waits", &["--service", "1001", "--calls", "1", "--users", &users])
        });
        assert!(wait_for(Duration::from_secs(5), || { program.json(&["calls"])[0]["state"] == "ringing" }));
        let users = csv(&program, "1002");
        run(&program, "uac_picks_up", &["--service", "**1001", "--calls", "1", "--users", &users]);
        calling.join().unwrap();
    });
    rings.ends_well();
    let records = program.json(&["cdr"]);
    assert_eq!((records.as_array().unwrap().len(), &records[0]["cause"]), (1, &"normal".into()), "{records}");
}

#[test]
fn of_two_devices_that_sound_early_one_answers() {
    let program = Program::bench();
    let loses = Answering::start("phone_early", register(&program, "1001"));
    let answers = Answering::start("phone_early_answers", register(&program, "1001"));
    run(&program, "uac_forks", &["--service", "1001", "--calls", "1"]);
    loses.ends_well();
    answers.ends_well();
}

#[test]
fn a_phone_sends_its_calls_to_a_colleague() {
    let program = Program::bench();
    let sends = Answering::start("phone_redirects", register(&program, "1001"));
    let gets = Answering::start("phone_diverted", register(&program, "1002"));
    run(&program, "uac_redirected", &["--service", "1001", "--calls", "1"]);
    sends.ends_well();
    gets.ends_well();
}

#[test]
fn a_message_goes_from_user_to_user() {
    let program = Program::bench();
    let gets = Answering::start("phone_message", register(&program, "1001"));
    let users = csv(&program, "1000");
    run(&program, "message", &["--service", "1001", "--calls", "1", "--users", &users]);
    gets.ends_well();
}

#[test]
fn a_lamp_follows_the_calls_of_a_colleague() {
    let program = Program::bench();
    let rings = Answering::start("phone_answers", register(&program, "1001"));
    let users = csv(&program, "1002");
    let options = ["--service", "1001", "--calls", "1", "--users", &users];
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| run(&program, "lamp", &options));
        assert!(wait_for(Duration::from_secs(5), || program.json(&["status"])["subscriptions"] == 1));
        run(&program, "uac_listens", &["--service", "1001", "--calls", "1"]);
        watching.join().unwrap();
    });
    rings.ends_well();
}

#[test]
fn a_phone_is_reached_through_its_proxy() {
    let program = Program::bench();
    let phone = Answering::start("phone_behind_proxy", register_by(&program, "1001", "register_path"));
    run(&program, "uac", &["--service", "1001", "--calls", "1"]);
    phone.ends_well();
}

/// Registers one of several flows of a phone.
fn register_flow(program: &Program, user: &str, reg_id: u8) -> SocketAddr {
    let local = free();
    let users = csv_with(program, user, &format!(";{reg_id}"));
    run(program, "register_flow", &["--calls", "1", "--users", &users, "--local", &local.to_string()]);
    local
}

/// How many INVITEs came to a phone.
fn invites(phone: &UdpSocket) -> usize {
    phone.set_nonblocking(true).expect("a socket can be told not to wait");
    let mut bytes = [0; 4096];
    let mut many = 0;
    while let Ok(size) = phone.recv(&mut bytes) {
        many += usize::from(bytes[..size].starts_with(b"INVITE "));
    }
    many
}

#[test]
fn a_phone_of_two_flows_rings_once_and_over_the_other_when_one_fails() {
    let program = Program::bench();
    let [first, second] = [1, 2].map(|reg_id| register_flow(&program, "1001", reg_id));
    let old = UdpSocket::bind(first).expect("nobody else has it");
    let rings = Answering::start("phone_answers", second);
    run(&program, "uac_listens", &["--service", "1001", "--calls", "1"]);
    rings.ends_well();
    assert_eq!(invites(&old), 0, "one device is called by one of its flows");
    drop(old);

    let fails = Answering::start("phone_flow_fails", second);
    let rings = Answering::start("phone_answers", first);
    run(&program, "uac_listens", &["--service", "1001", "--calls", "1"]);
    fails.ends_well();
    rings.ends_well();
    assert_eq!(program.json(&["cdr"]).as_array().unwrap().len(), 2);
}
