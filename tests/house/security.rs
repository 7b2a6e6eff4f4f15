//! The table `tests/security/table.toml`: each rule and each bug class has tests that are there, or says what it waits for.

use crate::rfc::has_test;
use crate::source::root;
use std::collections::BTreeMap;

/// The bug classes of the field that we know.
const CLASSES: usize = 25;

#[test]
fn each_rule_and_each_bug_class_has_its_tests_or_what_it_waits_for() {
    let text = std::fs::read_to_string(root().join("tests/security/table.toml")).expect("it is part of the repository");
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(table.keys().collect::<Vec<_>>(), ["classes", "rules"]);
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for (kind, rows) in &table {
        let rows = rows.as_table().expect("rows by number");
        for number in 1..=rows.len() {
            let row = rows.get(&number.to_string()).and_then(toml::Value::as_table);
            let row = row.unwrap_or_else(|| panic!("{kind} has no {number}"));
            let known = row.keys().all(|name| ["what", "tests", "waits_for"].contains(&name.as_str()));
            assert!(known, "{kind} {number} has other fields");
            let text = |name: &str| row.get(name).and_then(toml::Value::as_str).unwrap_or_default();
            let tests = row.get("tests").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
            assert!(!text("what").is_empty(), "{kind} {number} says nothing");
            assert!(tests.is_empty() != text("waits_for").is_empty(), "{kind} {number} has tests or waits");
            for test in tests.iter().map(|test| test.as_str().expect("a name")) {
                let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{test} is not <file>::<name>"));
                let text = files.entry(file.to_owned()).or_insert_with(|| {
                    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
                });
                assert!(has_test(text, name), "{kind} {number}: there is no test {name} in {file}");
            }
        }
        assert!(kind != "classes" || rows.len() == CLASSES, "{} classes", rows.len());
    }
}
