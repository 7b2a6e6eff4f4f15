//! What release builds are told of the paths that run often fits in every folder (`deploy/profile`).

use crate::source::root;
use std::process::Command;

/// What the compiler is asked for where Cargo asks for this.
fn asked(of_cargo: &[&str]) -> Vec<String> {
    let wrapper = root().join("deploy/profile/rustc");
    let mut command = Command::new(wrapper);
    let output = command.arg("echo").args(of_cargo).current_dir(root()).env_remove("PROFILE_INTO").output();
    let output = output.expect("the wrapper runs");
    let words = String::from_utf8(output.stdout).expect("it was asked for text");
    words.split_whitespace().map(str::to_owned).collect()
}

/// The mark that Cargo gives a crate tells the folder of the workspace and the versions of all dependencies. Names of
/// functions are made with it, and by its name a function is found in the profile.
#[test]
fn functions_of_a_release_build_have_the_same_names_everywhere() {
    let build =
        |mark: &str| asked(&["--crate-name", "sip", "-C", "opt-level=2", "-C", mark, "-C", "extra-filename=-1f05"]);
    let here = build("metadata=1f056a6475778d37");
    assert_eq!(here, build("metadata=57d7f5b2bfd16915"));
    let kept = ["--crate-name", "sip", "-C", "opt-level=2", "-C", "metadata=crosspoint", "-C", "extra-filename=-1f05"];
    assert_eq!(here, kept);
}

#[test]
fn other_builds_are_asked_for_as_cargo_asks() {
    let of_cargo = ["--crate-name", "sip", "-C", "opt-level=1", "-C", "metadata=1f056a6475778d37"];
    assert_eq!(asked(&of_cargo), of_cargo);
}
