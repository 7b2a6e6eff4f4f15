//! Pure crates hold protocol and decisions: no clock, no entropy, no sockets, no threads, no files.

use crate::source::{files, metadata, root, without_tests};

const PURE: [&str; 9] = ["words", "sip", "media", "voice", "registrar", "b2bua", "forward", "books", "switch"];

/// What no line of a pure crate may name.
const FORBIDDEN: [&str; 14] = [
    "tokio",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
    "Instant::now",
    "SystemTime",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "rusqlite",
    "getrandom",
    "rand::rng",
    "async fn",
];

/// What no manifest of a pure crate may name.
const FORBIDDEN_CRATES: [&str; 10] =
    ["tokio", "socket2", "rustix", "libc", "rusqlite", "getrandom", "rand", "mio", "axum", "rustls"];

fn impure(text: &str) -> Vec<&'static str> {
    let code = without_tests(text).lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<&str> = code.collect();
    FORBIDDEN.into_iter().filter(|word| code.iter().any(|line| line.contains(word))).collect()
}

#[test]
fn pure_crates_touch_nothing() {
    let mut found = Vec::new();
    for room in PURE {
        for file in files(&root().join("crates").join(room).join("src"), "rs") {
            let text = std::fs::read_to_string(&file).expect("a source file is text");
            found.extend(impure(&text).into_iter().map(|word| format!("{} names {word}", file.display())));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn pure_manifests_name_no_shell() {
    let metadata = metadata(false);
    for package in metadata["packages"].as_array().expect("packages is a list") {
        if !PURE.contains(&package["name"].as_str().unwrap_or_default()) {
            continue;
        }
        for dependency in package["dependencies"].as_array().expect("dependencies is a list") {
            let name = dependency["name"].as_str().unwrap_or_default();
            let is_normal = dependency["kind"].is_null();
            assert!(!(is_normal && FORBIDDEN_CRATES.contains(&name)), "{} uses {name}", package["name"]);
        }
    }
}

#[test]
fn a_planted_import_is_found() {
    assert_eq!(impure("use std::net::UdpSocket;\nfn f() {}"), ["UdpSocket"]);
    assert_eq!(impure("// a comment may name tokio\n#[cfg(test)]\nuse tokio;"), Vec::<&str>::new());
}
