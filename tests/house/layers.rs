//! Arrows point down only.

use crate::source::{files, metadata, root, without_tests};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each crate may use beside `words`. The program may use all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("words", &[]),
    ("sip", &[]),
    ("media", &[]),
    ("voice", &[]),
    ("net", &[]),
    ("registrar", &["sip"]),
    ("b2bua", &["sip", "media"]),
    ("forward", &["media"]),
    ("books", &[]),
    ("switch", &["registrar", "b2bua", "sip", "media"]),
    ("relay", &["forward", "media", "voice", "net"]),
    // `registrar` and `sip` for the shape of a user and of what its password becomes.
    ("controller", &["switch", "books", "sip", "registrar"]),
    ("api", &["controller", "switch", "net", "books"]),
];

type Uses = BTreeMap<String, BTreeSet<String>>;

fn broken(uses: &Uses) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut broken = Vec::new();
    for (room, used) in uses.iter().filter(|(room, _)| *room != "crosspoint") {
        let Some(allowed) = table.get(room.as_str()) else {
            broken.push(format!("{room} is not in the table"));
            continue;
        };
        for other in used.iter().filter(|other| *other != "words" && !allowed.contains(&other.as_str())) {
            broken.push(format!("{room} must not use {other}"));
        }
    }
    broken
}

/// The rooms and what their manifests name.
fn manifests() -> Uses {
    let metadata = metadata(false);
    let packages = metadata["packages"].as_array().expect("packages is a list");
    let rooms: BTreeSet<&str> = packages.iter().filter(|p| is_room(p)).filter_map(|p| p["name"].as_str()).collect();
    let mut uses = Uses::new();
    for package in packages.iter().filter(|package| is_room(package)) {
        let named = package["dependencies"].as_array().expect("dependencies is a list").iter();
        let named = named.filter(|d| d["kind"].is_null()).filter_map(|d| d["name"].as_str());
        let used = named.filter(|name| rooms.contains(name)).map(str::to_owned).collect();
        uses.insert(package["name"].as_str().expect("a name").to_owned(), used);
    }
    uses
}

fn is_room(package: &serde_json::Value) -> bool {
    package["manifest_path"].as_str().is_some_and(|path| path.contains("/crates/"))
}

/// The rooms and what their files import, whatever the manifests say. `plant` changes what a file says before it is looked
/// at.
fn imports_of(plant: impl Fn(&Path, String) -> String) -> Uses {
    let rooms: Vec<&str> = MAY_USE.iter().map(|(room, _)| *room).chain(["crosspoint"]).collect();
    let mut uses = Uses::new();
    for room in &rooms {
        let used = uses.entry((*room).to_owned()).or_default();
        for file in files(&root().join("crates").join(room).join("src"), "rs") {
            let text = plant(&file, std::fs::read_to_string(&file).expect("a source file is text"));
            let others = rooms.iter().filter(|other| *other != room && names(without_tests(&text), other));
            used.extend(others.map(|other| (*other).to_owned()));
        }
    }
    uses
}

/// Whether code names a crate: in `use`, or by a path.
fn names(text: &str, room: &str) -> bool {
    let path = format!("{room}::");
    let begins = |line: &str, at: usize| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    };
    let code = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    let mut lines = code.map(|line| line.split(" // ").next().unwrap_or(line));
    lines.any(|line| line.match_indices(&path).any(|(at, _)| begins(line, at)))
}

fn imports() -> Uses {
    imports_of(|_, text| text)
}

#[test]
fn manifests_keep_the_table() {
    assert_eq!(broken(&manifests()), Vec::<String>::new());
}

#[test]
fn imports_keep_the_table() {
    assert_eq!(broken(&imports()), Vec::<String>::new());
}

#[test]
fn every_room_of_the_table_exists_and_is_filled() {
    for (room, _) in MAY_USE {
        let lines: usize = files(&root().join("crates").join(room).join("src"), "rs")
            .iter()
            .map(|file| std::fs::read_to_string(file).expect("a source file is text").lines().count())
            .sum();
        assert!(lines > 100, "{room} has {lines} lines");
    }
}

/// What is planted stands in the source of a room as its author would write it, and the scan of that source finds it.
#[test]
fn a_planted_import_breaks_it() {
    assert!(
        imports()["b2bua"].contains("sip") && imports()["switch"].contains("b2bua"),
        "the scan finds what is there"
    );
    let plants = [
        ("b2bua/src/call.rs", "use registrar::Registrar;\n", "b2bua must not use registrar"),
        ("relay/src/relay.rs", "pub use sip::Message;\n", "relay must not use sip"),
        ("media/src/sdp.rs", "use {net::udp::Udp, std::io};\n", "media must not use net"),
        ("forward/src/table.rs", "type Stolen = switch::Switch;\n", "forward must not use switch"),
        ("words/src/time.rs", "fn now() -> crosspoint::Now { loop {} }\n", "words must not use crosspoint"),
    ];
    for (place, line, told) in plants {
        let uses = imports_of(|file, text| if file.ends_with(place) { planted(&text, line) } else { text });
        assert_eq!(broken(&uses), [told]);
    }
    // In comments and tests it is none.
    for line in ["// use registrar::Registrar;\n", "/// As [`registrar::Registrar`].\n"] {
        let uses =
            imports_of(|file, text| if file.ends_with("b2bua/src/call.rs") { planted(&text, line) } else { text });
        assert_eq!(broken(&uses), Vec::<String>::new());
    }
    let uses = imports_of(|file, text| {
        let in_tests = text.clone() + "\n#[cfg(test)]\nuse registrar::Registrar;\n";
        if file.ends_with("b2bua/src/call.rs") { in_tests } else { text }
    });
    assert_eq!(broken(&uses), Vec::<String>::new());
}

/// A source with one more line behind its first import.
fn planted(text: &str, line: &str) -> String {
    let at = text.find("\nuse ").expect("each of them imports something") + 1;
    let after = at + text[at..].find('\n').expect("a line ends") + 1;
    [&text[..after], line, &text[after..]].concat()
}
