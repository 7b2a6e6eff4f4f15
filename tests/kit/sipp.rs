//! SIPp, driven through the runner that we ship to people who load-test the exchange.

use crate::program::Program;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `tests/sipp/run.py SCENARIO` against the program and returns its result; panics when calls failed.
pub fn run(program: &Program, scenario: &str, options: &[&str]) -> serde_json::Value {
    let result = attempt(program, scenario, options);
    assert_eq!(result["successful"], result["calls"], "{scenario} {options:?}: {result}\n{}", program.log());
    result
}

/// The same without looking at the result.
pub fn attempt(program: &Program, scenario: &str, options: &[&str]) -> serde_json::Value {
    attempt_at(&program.sip.to_string(), &program.uas.to_string(), scenario, options)
}

/// The same against addresses: the program may be killed and started meanwhile.
pub fn attempt_at(sip: &str, uas: &str, scenario: &str, options: &[&str]) -> serde_json::Value {
    let local = crate::program::free().to_string();
    let output = Command::new("python3")
        .arg(folder().join("run.py"))
        .args([scenario, "--sip", sip, "--uas", uas, "--local", &local, "--timeout", "90"])
        .args(options)
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim())
        .unwrap_or_else(|error| panic!("{scenario}: {error}: {text} {}", String::from_utf8_lossy(&output.stderr)))
}

/// The folder of scenarios.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp")
}
