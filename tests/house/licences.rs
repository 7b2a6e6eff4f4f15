//! What we build on may be given away with us: each dependency's licence is one that `deny.toml` allows.

use crate::source::{metadata, root};

/// Whether an SPDX expression can be met with the allowed licences. `OR` binds weaker than `AND`; `/` is an old `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    expression.split(" OR ").any(|choice| {
        choice.split(" AND ").all(|licence| {
            let licence = licence.trim();
            allowed.iter().any(|a| a == licence)
        })
    })
}

fn allowed() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there");
    let list = text.split("allow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("deny.toml allows");
    list.split(',').map(|item| item.trim().trim_matches('"').to_owned()).filter(|item| !item.is_empty()).collect()
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let (metadata, allowed) = (metadata(true), allowed());
    for package in metadata["packages"].as_array().expect("packages is a list") {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_met(licence, &allowed), "{} {} is {licence:?}", package["name"], package["version"]);
    }
}

#[test]
fn a_foreign_licence_is_found() {
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
    assert!(is_met("MIT OR GPL-3.0", &allowed) && is_met("MIT/Apache-2.0", &allowed));
    assert!(!is_met("GPL-3.0", &allowed) && !is_met("MIT AND GPL-3.0", &allowed));
}
