//! SIPp, driven through the runner that we ship to people who load-test the exchange.

use crate::program::{Program, free, wait_for};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

/// A SIPp that answers in the background: a phone, which has registered before from the same address.
pub struct Answering {
    child: Child,
    scenario: String,
    folder: tempfile::TempDir,
}

impl Answering {
    /// Starts one that plays `scenario` once at `local`, and waits until it listens.
    pub fn start(scenario: &str, local: SocketAddr) -> Answering {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (ip, port) = (local.ip().to_string(), local.port().to_string());
        let child = Command::new("sipp")
            .arg("-sf")
            .arg(self::folder().join(format!("{scenario}.xml")))
            .args(["-i", &ip, "-p", &port, "-bind_local", "-mi", &ip, "-mp", &media_port(), "-m", "1", "-nostdin"])
            .args(["-trace_err", "-error_file", "errors", "127.0.0.1"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sipp runs");
        let is_taken = || std::net::UdpSocket::bind(local).is_err();
        assert!(wait_for(Duration::from_secs(10), is_taken), "{scenario} does not listen at {local}");
        Answering { child, scenario: scenario.to_owned(), folder }
    }

    /// Waits until it has played its part; panics when it could not.
    pub fn ends_well(mut self) {
        let ended = wait_for(Duration::from_secs(20), || matches!(self.child.try_wait(), Ok(Some(_))));
        let status = if ended { self.child.wait().ok() } else { None };
        let errors = std::fs::read_to_string(self.folder.path().join("errors")).unwrap_or_default();
        assert!(status.is_some_and(|status| status.success()), "{} {status:?}: {errors}", self.scenario);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free, as those beside it are.
fn media_port() -> String {
    free().port().to_string()
}

/// The folder of scenarios.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp")
}
