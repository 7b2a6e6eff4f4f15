//! How files look: their length, their exceptions, their words.

use crate::source::{files, root, without_tests};
use std::path::PathBuf;

fn sources() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for dir in ["crates", "tests", "benches"] {
        for file in files(&root().join(dir), "rs") {
            let text = std::fs::read_to_string(&file).expect("a source file is text");
            all.push((file, text));
        }
    }
    all
}

#[test]
fn files_stop_at_600_lines() {
    for (file, text) in sources() {
        let lines = without_tests(&text).lines().count();
        assert!(lines <= 600, "{} has {lines} lines without its tests", file.display());
    }
}

#[test]
fn files_begin_with_what_they_are() {
    for (file, text) in sources() {
        assert!(text.starts_with("//!") || text.starts_with("#!"), "{} has no module doc", file.display());
        assert!(text.ends_with('\n') && !text.contains('\t'), "{}: tabs or no last newline", file.display());
    }
}

#[test]
fn unsafe_lives_in_one_file() {
    let word = ["uns", "afe"].concat();
    for (file, text) in sources() {
        if file.ends_with("net/src/batch.rs") || file.starts_with(root().join("tests")) {
            continue;
        }
        let found = text.lines().any(|l| {
            !l.trim_start().starts_with("//")
                && (l.contains(&format!("{word} {{"))
                    || l.contains(&format!("{word} fn"))
                    || l.contains(&format!("{word} impl")))
        });
        assert!(!found, "{} has {word} code", file.display());
    }
}

#[test]
fn exceptions_have_reasons() {
    let (allow, expect) = (["#[al", "low("].concat(), ["#[exp", "ect("].concat());
    for (file, text) in sources() {
        for (at, _) in text.match_indices(&allow).chain(text.match_indices(&expect)) {
            let item: String = text[at..].chars().take_while(|c| *c != ']').collect();
            assert!(item.contains("reason"), "{}: {item}] has no reason", file.display());
        }
    }
}

#[test]
fn nothing_is_left_for_later_or_skipped_in_silence() {
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["unimpl", "emented!"].concat(),
        ["to", "do!("].concat(),
        ["#[ig", "nore]"].concat(),
    ];
    for (file, text) in sources() {
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} contains {word}", file.display());
        }
    }
}

#[test]
fn what_is_not_tried_with_others_says_why() {
    let text = std::fs::read_to_string(root().join("tests/interop/skips.toml")).expect("it is part of the repository");
    let rows: toml::Table = text.parse().expect("it is TOML");
    for (name, row) in &rows {
        let words = |field| row.get(field).and_then(toml::Value::as_str).is_some_and(|words| words.len() > 10);
        assert!(words("what") && words("why"), "skips.toml: {name} does not say what is skipped, or why");
        let always = row.get("always").is_some_and(|always| always.as_bool() == Some(true));
        let call = format!("skip(\"{name}\"");
        assert_eq!(always, !sources().iter().any(|(_, text)| text.contains(&call)), "skips.toml: {name}");
    }
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    let places = [["/ro", "ot/"].concat(), ["/ho", "me/"].concat(), ["/wo", "rk/"].concat()];
    let mut all = sources();
    for ending in ["md", "toml", "xml", "py", "sh", "yml"] {
        for file in files(&root(), ending) {
            all.push((file.clone(), std::fs::read_to_string(&file).unwrap_or_default()));
        }
    }
    for (file, text) in all {
        for place in &places {
            assert!(!text.contains(place.as_str()), "{} names {place}", file.display());
        }
    }
}

/// Whoever is refused reads why: none of our refusals leaves its phrase to the RFC.
#[test]
fn no_refusal_is_without_words() {
    for (file, text) in sources() {
        let own = file.strip_prefix(root()).unwrap_or(&file);
        let speak = ["sip", "registrar", "b2bua", "switch"].map(|name| format!("crates/{name}/src"));
        if !speak.iter().any(|folder| own.starts_with(folder)) || own.iter().any(|part| part == "tests") {
            continue;
        }
        // What comes after the tests of a file is no refusal.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in code.match_indices("\"\"") {
            let before = code[..at].trim_end();
            let status = before.strip_suffix(',').and_then(|before| before.get(before.len().saturating_sub(3)..));
            let status = status.and_then(|status| status.parse::<u16>().ok());
            let refuses = status.is_some_and(|status| (400..700).contains(&status)) || before.ends_with("reason:");
            let line = code[..at].lines().count();
            assert!(
                !refuses,
                "{}:{line}: a refusal says nothing: which mistake is it, and what helps?",
                file.display()
            );
        }
    }
}
