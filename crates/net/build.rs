//! Makes the programme of the kernel tier where clang is; elsewhere, or where clang does not take it, the object that is checked in
//! is taken. Which of the two it is stands in `RELAY_OBJECT`.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=bpf");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("relay.bpf.o");
    let built = match Command::new("sh").arg("bpf/build.sh").arg(&out).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            tell(&String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            tell(&error.to_string());
            false
        }
    };
    if !built {
        std::fs::copy("bpf/relay.bpf.o", &out).expect("the object is checked in beside its source");
    }
    println!("cargo:rustc-env=RELAY_OBJECT={}", if built { "built" } else { "checked in" });
}

/// Says what clang said. That there is none is as it should be on most machines.
fn tell(said: &str) {
    if Command::new("clang").arg("--version").output().is_err() {
        return;
    }
    println!("cargo:warning=bpf/relay.bpf.c was not built, the object that is checked in is taken:");
    for line in said.lines().filter(|line| !line.trim().is_empty()).take(LINES) {
        println!("cargo:warning={line}");
    }
}

/// How much of what clang says is shown.
const LINES: usize = 12;
