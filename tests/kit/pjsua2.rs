//! Phones of PJSIP, driven by `tests/interop/pjsua2/flows.py` in the virtual environment that `make setup-test` makes.

use crate::program::{Program, binary};
use std::path::Path;
use std::process::Command;

/// Plays a flow against the office of `program` with the users 101, 102 and 103; panics when it did not go as it should.
/// `None`, with the reason on standard error: it cannot be played on this machine.
pub fn play(program: &Program, flow: &str) -> Option<serde_json::Value> {
    let python = binary().parent()?.parent()?.join("pjsua2/bin/python");
    if !python.exists() {
        crate::skip("pjsua2", flow);
        return None;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/pjsua2");
    let mut command = Command::new("timeout");
    command.arg("60").arg(python).arg(folder.join("flows.py")).args([flow, "--server", &program.sip.to_string()]);
    if let Some(tls) = program.tls {
        command.args(["--tls", &tls.to_string()]).arg("--trust").arg(program.data().join("certificate.pem"));
    }
    let output = command.output().expect("timeout runs");
    let text = String::from_utf8_lossy(&output.stdout);
    // The library says some things on standard output before it is told not to.
    let last = text.lines().last().unwrap_or_default();
    let result: serde_json::Value = serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{flow}: {error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(
        result["ok"],
        true,
        "{flow}: {} {}\n{}\n{}",
        result["why"],
        result["seen"],
        result["log"],
        program.log()
    );
    Some(result)
}
