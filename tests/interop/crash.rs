//! kill -9 in the middle, and a start on what is left.

use std::time::Duration;
use tests::program::{Program, wait_for};
use tests::sipp::{attempt, run};

#[test]
fn registrations_and_records_survive_kill_9() {
    let mut program = Program::bench();
    run(&program, "register", &["--rate", "300", "--calls", "300"]);
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            attempt(&program, "uac", &["--rate", "50", "--calls", "100", "--hold-ms", "60000", "--timeout", "12"])
        });
        assert!(wait_for(Duration::from_secs(10), || program.metric("crosspoint_calls_active") == 100));
        // The last facts are at most ten milliseconds and a commit old.
        std::thread::sleep(Duration::from_millis(200));
        let pid = program.pid().to_string();
        assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        calling.join().unwrap();
    });
    program.kill();
    program.restart();
    assert_eq!(program.metric("crosspoint_registrations_active"), 300);
    let records = program.json(&["cdr", "--limit", "1000"]);
    let interrupted = records.as_array().unwrap().iter().filter(|record| record["cause"] == "interrupted").count();
    assert_eq!((records.as_array().unwrap().len(), interrupted), (100, 100));
    assert_eq!(program.metric("crosspoint_calls_active"), 0);
    run(&program, "uac", &["--rate", "50", "--calls", "50"]);
}

#[test]
fn a_stop_ends_calls_with_goodbye_and_exit_code_0() {
    let mut program = Program::bench();
    std::thread::scope(|scope| {
        let shared = &program;
        let calling = scope.spawn(move || {
            attempt(shared, "uac", &["--rate", "20", "--calls", "10", "--hold-ms", "8000", "--timeout", "15"])
        });
        assert!(wait_for(Duration::from_secs(10), || shared.metric("crosspoint_calls_active") == 10));
        let pid = shared.pid().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        drop(calling.join());
    });
    assert!(program.ends());
    program.restart();
    let records = program.json(&["cdr"]);
    assert!(records.as_array().unwrap().iter().all(|record| record["cause"] == "administrative"), "{records}");
}
