//! What the tests share: the program as a process, SIPp, baresip and PJSIP beside it, tones in WAV files.
//!
//! Everything here ends what it started, by its process id, when it goes out of scope.

use std::io::Write;

pub mod baresip;
pub mod dns;
pub mod fuzz;
pub mod impostor;
pub mod namespace;
pub mod pjsua2;
pub mod program;
pub mod sim;
pub mod sipp;
pub mod tone;

/// Says, past what captures the output of tests, that `test` is passed over for the reason of a row of `interop/skips.toml`.
pub fn skip(row: &str, test: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/skips.toml");
    let text = std::fs::read_to_string(path).expect("it is part of the repository");
    let rows: toml::Table = text.parse().expect("it is TOML");
    let why = rows.get(row).and_then(|row| row.get("why")).and_then(toml::Value::as_str);
    let why = why.unwrap_or_else(|| panic!("{path} has no row {row}"));
    // Nobody reads it: the test passes all the same.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}
