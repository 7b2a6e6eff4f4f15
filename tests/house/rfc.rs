//! The compliance table `tests/rfc`: each demand of an RFC has a test that is there, or an exception that is written down.

use crate::source::root;
use std::collections::{BTreeMap, BTreeSet};

/// The RFCs whose every MUST is in the table.
const RFCS: [u32; 19] =
    [3261, 3262, 3263, 3264, 3323, 3325, 3515, 3608, 3891, 4028, 4320, 5626, 5627, 5922, 6026, 6665, 8445, 8489, 8839];

/// One demand.
struct Must {
    /// Its RFC, section and number there: `3261 18.1.1-1`.
    id: String,
    words: String,
    test: Option<String>,
    exception: Option<String>,
}

fn table(rfc: u32) -> Vec<Must> {
    let path = root().join(format!("tests/rfc/rfc{rfc}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Two demands with one id are an error of the file's syntax.
    let read: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let one = |(key, value): (&String, &toml::Value)| {
        let field = |name: &str| value.get(name).and_then(toml::Value::as_str).map(str::to_owned);
        let known = value
            .as_table()
            .is_some_and(|fields| fields.keys().all(|name| ["must", "test", "exception"].contains(&name.as_str())));
        assert!(known, "{rfc} {key} has other fields than must, test and exception");
        Must {
            id: format!("{rfc} {key}"),
            words: field("must").unwrap_or_default(),
            test: field("test"),
            exception: field("exception"),
        }
    };
    read.iter().map(one).collect()
}

fn all() -> Vec<Must> {
    RFCS.into_iter().flat_map(table).collect()
}

/// The rows of `exceptions.md`: name, demand, what we do, why.
pub(crate) fn exceptions() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("tests/rfc/exceptions.md")).expect("it is part of the repository");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let name = cells.next().unwrap_or_default();
        assert!(rows.insert(name.clone(), cells.collect()).is_none(), "exceptions.md has two rows {name}");
    }
    rows
}

/// Whether a file has a test with this name.
pub(crate) fn has_test(text: &str, name: &str) -> bool {
    let declared = format!("fn {name}(");
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if line.starts_with(&declared) {
            return is_test;
        } else if !line.starts_with("#[") {
            is_test = false;
        }
    }
    false
}

#[test]
fn each_demand_has_a_test_or_an_exception() {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let exceptions = exceptions();
    for Must { id, words, test, exception } in all() {
        let section = id.split_once(' ').and_then(|(_, key)| key.split_once('-'));
        let (section, number) = section.unwrap_or_else(|| panic!("{id} is not <section>-<number>"));
        assert!(section.split('.').chain([number]).all(|part| part.parse::<u16>().is_ok()), "{id}");
        assert!(!words.is_empty() && words.len() <= 120, "{id} says nothing, or too much");
        match (test, exception) {
            (Some(test), None) => {
                let (file, name) =
                    test.split_once("::").unwrap_or_else(|| panic!("{id}: {test} is not <file>::<name>"));
                let text = files.entry(file.to_owned()).or_insert_with(|| {
                    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{id}: {file}: {error}"))
                });
                assert!(has_test(text, name), "{id}: there is no test {name} in {file}");
            }
            (None, Some(name)) => assert!(exceptions.contains_key(&name), "{id}: exceptions.md has no row {name}"),
            (Some(_), Some(_)) | (None, None) => panic!("{id} needs a test or an exception, and not both"),
        }
    }
}

#[test]
fn each_exception_has_its_reason_and_is_used() {
    let used: BTreeSet<String> = all().into_iter().filter_map(|must| must.exception).collect();
    for (name, cells) in exceptions() {
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "the row {name} is not whole");
        let sections =
            cells[0].split("RFC ").skip(1).map(|rest| rest.split([' ', ',', ':']).next().unwrap_or_default());
        let in_table = sections.into_iter().any(|rfc| rfc.parse().is_ok_and(|rfc: u32| RFCS.contains(&rfc)));
        assert!(cells[0].starts_with("RFC "), "the row {name} does not say of which RFC it is");
        assert!(used.contains(&name) || !in_table, "the row {name} is of no demand in the table");
    }
}

#[test]
fn a_name_that_is_no_test_is_found() {
    let text = "#[test]\nfn here() {}\nfn helper() {}\n    #[test]\n    #[cold]\n    fn there() {}\n";
    assert!(has_test(text, "here") && has_test(text, "there"));
    assert!(!has_test(text, "helper") && !has_test(text, "her") && !has_test(text, "gone"));
}
