//! Connections that do harm, on TCP, TLS, WebSocket and secure WebSocket: they end, they cost next to nothing, and an
//! honest caller notices none of it.

use std::process::{Command, Stdio};
use std::time::Duration;
use tests::program::{Program, wait_for};
use tests::sipp::{folder, run};

/// Per attack and transport.
const CONNECTIONS: &str = "6";

#[test]
fn connections_that_do_harm_end_and_honest_calls_go_on() {
    let program = Program::office_with("silent_s = 3\n");
    program.people("office", &[("101", "secret101")]);
    let users = program.data().join("users.csv");
    std::fs::write(&users, "SEQUENTIAL\noffice101;[authentication username=office101 password=secret101]\n").unwrap();
    let users = users.display().to_string();
    let calls = |count: &str| {
        run(&program, "uac_auth", &["--service", "*43", "--rate", "10", "--calls", count, "--users", &users]);
        let tcp = ["--service", "*43", "--rate", "5", "--calls", "5", "--users", &users, "--transport", "t1"];
        run(&program, "uac_auth", &tcp);
    };
    // What the first calls and handshakes take is not the attackers' doing.
    calls("20");
    let before = program.pss_kb();

    let places = [("tcp", Some(program.sip)), ("tls", program.tls), ("ws", program.ws), ("wss", program.wss)];
    let places = places.map(|(transport, at)| format!("{transport}={}", at.expect("an office listens on all of them")));
    let attackers = Command::new("python3")
        .arg(folder().join("streams.py"))
        .args(["--connections", CONNECTIONS, "--seconds", "20"])
        .args(&places)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut most = before;
    std::thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let mut most = 0;
            // A number of looks, so that the test ends whatever happens.
            for _ in 0..60 {
                most = program.pss_kb().max(most);
                std::thread::sleep(Duration::from_millis(300));
            }
            most
        });
        calls("100");
        most = most.max(watched.join().unwrap());
    });
    let output = attackers.wait_with_output().expect("python3 ends");
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    for (name, row) in rows.as_object().unwrap() {
        assert_eq!(row["ended"], row["connections"], "{name}: {rows:#}");
        // Opening may take ten seconds, and so may a message.
        assert!(row["lived_s"].as_f64().unwrap() < 15.0, "{name}: {row}");
    }
    assert_eq!(rows.as_object().unwrap().len(), 31);
    assert!(most <= before + 32 * 1_024, "{before} KB before, {most} KB meanwhile: {rows:#}");
    assert!(wait_for(Duration::from_secs(12), || program.metric("crosspoint_connections_active") == 0));
    calls("10");
}
