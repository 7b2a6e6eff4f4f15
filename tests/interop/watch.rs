//! Lamps and unsolicited NOTIFYs from outside.

use std::time::Duration;
use tests::program::{Program, free, wait_for};
use tests::sipp::run;

/// An office with two users, and the file from which SIPp takes the first one's password.
fn office() -> (Program, String) {
    let program = Program::office();
    program.people("office", &[("101", "secret101"), ("102", "secret102")]);
    let users = program.data().join("users.csv");
    std::fs::write(&users, "SEQUENTIAL\noffice101;[authentication username=office101 password=secret101]\n")
        .expect("the users are written");
    let users = users.display().to_string();
    (program, users)
}

fn subscriptions(program: &Program) -> serde_json::Value {
    program.json(&["status"])["subscriptions"].clone()
}

#[test]
fn lamps_are_subscribed_to_and_given_up() {
    let (program, users) = office();
    run(&program, "subscribe", &["--service", "102", "--rate", "20", "--calls", "60", "--users", &users]);
    run(&program, "subscribe", &["--service", "102", "--calls", "10", "--transport", "t1", "--users", &users]);
    assert_eq!(subscriptions(&program), 0);
}

#[test]
fn presence_is_watched_and_published() {
    let (program, users) = office();
    run(&program, "presence", &["--service", "101", "--rate", "20", "--calls", "1", "--users", &users]);
    assert_eq!(subscriptions(&program), 0);
}

#[test]
fn a_mailbox_is_watched() {
    let (program, users) = office();
    run(&program, "mailbox", &["--service", "101", "--rate", "20", "--calls", "20", "--users", &users]);
    assert_eq!(subscriptions(&program), 0);
}

#[test]
fn registrations_are_watched() {
    let (program, users) = office();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| run(&program, "reg", &["--service", "101", "--calls", "1", "--users", &users]));
        assert!(wait_for(Duration::from_secs(5), || subscriptions(&program) == 1));
        run(&program, "register", &["--calls", "1", "--users", &users]);
        watching.join().unwrap();
    });
    assert_eq!(subscriptions(&program), 0);
}

#[test]
fn a_lamp_outlives_kill_9() {
    let (mut program, users) = office();
    std::thread::scope(|scope| {
        let shared = &mut program;
        let (sip, uas) = (shared.sip.to_string(), shared.uas.to_string());
        let watching = scope.spawn(move || {
            tests::sipp::attempt_at(
                &sip,
                &uas,
                "subscribe_restart",
                &["--service", "102", "--calls", "1", "--users", &users],
            )
        });
        assert!(wait_for(Duration::from_secs(10), || subscriptions(shared) == 1 || watching.is_finished()));
        assert!(!watching.is_finished(), "{}", watching.join().unwrap());
        // The last facts are at most ten milliseconds and a commit old.
        std::thread::sleep(Duration::from_millis(300));
        shared.kill();
        shared.restart();
        let result = watching.join().unwrap();
        assert_eq!(result["successful"], 1, "{result}");
        assert_eq!(subscriptions(shared), 1);
    });
}

#[test]
fn a_phone_is_told_to_read_its_settings() {
    let (program, users) = office();
    let local = free();
    run(&program, "register", &["--calls", "1", "--users", &users, "--local", &local.to_string()]);
    let phone = std::net::UdpSocket::bind(local).unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    program.json(&["phones", "check-sync", "101", "--reboot"]);
    let mut message = [0; 2_000];
    let length = phone.recv(&mut message).unwrap();
    let text = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(text.starts_with("NOTIFY sip:") && text.contains("\r\nEvent: check-sync;reboot=true\r\n"), "{text}");
    let output = program.cli(&["phones", "check-sync", "102"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no device"), "{said}");
    let output = program.cli(&["phones", "check-sync", "999"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no user 999"));
}
