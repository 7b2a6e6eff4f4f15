//! Arrows point down only.

use crate::source::{files, metadata, root, without_tests};
use std::collections::{BTreeMap, BTreeSet};

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

/// The rooms and what their files import, whatever the manifests say.
fn imports() -> Uses {
    let rooms: Vec<&str> = MAY_USE.iter().map(|(room, _)| *room).chain(["crosspoint"]).collect();
    let mut uses = Uses::new();
    for room in &rooms {
        let used = uses.entry((*room).to_owned()).or_default();
        for file in files(&root().join("crates").join(room).join("src"), "rs") {
            let text = std::fs::read_to_string(&file).expect("a source file is text");
            for other in rooms.iter().filter(|other| *other != room) {
                if without_tests(&text).lines().any(|line| line.trim_start().starts_with(&format!("use {other}::"))) {
                    used.insert((*other).to_owned());
                }
            }
        }
    }
    uses
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

#[test]
fn a_planted_import_breaks_it() {
    let mut uses = imports();
    uses.get_mut("b2bua").expect("b2bua is a room").insert("registrar".into());
    uses.get_mut("relay").expect("relay is a room").insert("sip".into());
    assert_eq!(broken(&uses), ["b2bua must not use registrar", "relay must not use sip"]);
}
