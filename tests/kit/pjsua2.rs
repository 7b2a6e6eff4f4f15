//! Phones of PJSIP, driven by `tests/interop/pjsua2/flows.py` in the virtual environment that `make setup-test` makes.

use crate::program::{Program, binary};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Plays a flow against the office of `program` with the users 101, 102 and 103; panics when it did not go as it should.
/// `None`, with the reason on standard error: it cannot be played on this machine.
pub fn play(program: &Program, flow: &str) -> Option<serde_json::Value> {
    Some(read(flow, &command(program, flow)?.output().expect("timeout runs"), program))
}

/// The same of a program that `meanwhile` kills and starts again: the flow goes on once that is over.
pub fn play_across(
    program: &mut Program,
    flow: &str,
    meanwhile: impl FnOnce(&mut Program),
) -> Option<serde_json::Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let after = folder.path().join("after");
    let mut command = command(program, flow)?;
    let child = command.arg("--after").arg(&after).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("timeout runs");
    meanwhile(program);
    std::fs::write(&after, "").expect("the file is written");
    Some(read(flow, &child.wait_with_output().expect("our own child can be awaited"), program))
}

/// What plays a flow against the program, if that can be had.
fn command(program: &Program, flow: &str) -> Option<Command> {
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
    Some(command)
}

/// What came of it.
fn read(flow: &str, output: &Output, program: &Program) -> serde_json::Value {
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
    result
}
