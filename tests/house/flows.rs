//! What the exchange says that it can do has a test each: the call flows of RFC 3665 and RFC 5359 (`tests/rfc/flows.toml`)
//! and each word of what it advertises (`tests/rfc/tokens.toml`).

use crate::rfc::{exceptions, has_test};
use crate::source::root;
use sip::advertise::{ACCEPT, ALLOW, ALLOW_EVENTS, SUPPORTED, SUPPORTED_IN_CALLS, SUPPORTED_LATE};
use std::collections::BTreeSet;

fn read(file: &str) -> toml::Table {
    let text = std::fs::read_to_string(root().join(file)).expect("it is part of the repository");
    text.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Whether a test is there that is named `<file>::<name>`.
fn is_test(named: &str) -> bool {
    let Some((file, name)) = named.split_once("::") else { return false };
    std::fs::read_to_string(root().join(file)).is_ok_and(|text| has_test(&text, name))
}

#[test]
fn each_call_flow_is_played_or_has_a_reason() {
    let (table, exceptions) = (read("tests/rfc/flows.toml"), exceptions());
    let mut used = BTreeSet::new();
    // The sections that are flows: chapter, and how many.
    for (rfc, chapters) in [("rfc3665", &[(2, 5), (3, 11)][..]), ("rfc5359", &[(2, 18)])] {
        let rows = table[rfc].as_table().expect("each RFC has its table");
        let all: Vec<String> =
            chapters.iter().flat_map(|(chapter, last)| (1..=*last).map(move |n| format!("{chapter}.{n}"))).collect();
        assert_eq!(rows.len(), all.len(), "{rfc} has other flows");
        for section in all {
            let row = rows.get(&section).unwrap_or_else(|| panic!("{rfc} §{section} is not listed"));
            let field = |name: &str| row.get(name).and_then(toml::Value::as_str);
            assert!(field("title").is_some_and(|title| !title.is_empty()), "{rfc} §{section} has no title");
            match (field("flow"), field("exception")) {
                (Some(flow), None) => {
                    assert!(
                        flow.starts_with("tests/sim/") && is_test(flow),
                        "{rfc} §{section}: there is no flow {flow}"
                    );
                }
                (None, Some(name)) => {
                    assert!(exceptions.contains_key(name), "{rfc} §{section}: exceptions.md has no row {name}");
                    used.insert(name.to_owned());
                }
                (Some(_), Some(_)) | (None, None) => panic!("{rfc} §{section} needs a flow or an exception, not both"),
            }
        }
    }
    let named: BTreeSet<String> = exceptions.into_keys().filter(|name| name.starts_with("flow-")).collect();
    assert_eq!(named, used, "a reason that no flow needs");
}

#[test]
fn each_word_that_is_advertised_is_shown_by_a_test() {
    let table = read("tests/rfc/tokens.toml");
    let words = |text: &str| text.split(", ").map(str::to_owned).collect::<BTreeSet<String>>();
    let mut supported: BTreeSet<String> = SUPPORTED.iter().map(|&word| word.to_owned()).collect();
    supported.extend(words(SUPPORTED_IN_CALLS).into_iter().chain(words(SUPPORTED_LATE)));
    let advertised = [
        ("allow", words(ALLOW)),
        ("accept", words(ACCEPT)),
        ("allow-events", words(ALLOW_EVENTS)),
        ("supported", supported),
    ];
    assert_eq!(table.len(), advertised.len());
    for (header, words) in advertised {
        let rows = table[header].as_table().expect("each header has its table");
        let listed: BTreeSet<String> = rows.keys().cloned().collect();
        assert_eq!(listed, words, "what {header} says is not what is listed");
        for (word, test) in rows {
            assert!(test.as_str().is_some_and(is_test), "{word} of {header}: there is no test {test}");
        }
    }
}
