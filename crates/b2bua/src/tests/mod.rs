//! Behaviour of whole calls, in virtual time.

mod change;
mod chaos;
mod extended;
mod family;
mod ice;
mod kit;
mod laws;
mod lost;
mod names;
mod observe;
mod offers;
mod reasons;
mod relayed;
mod reliable;
mod rfc;
mod ring;
mod secure;
mod shared;
mod talk;
mod timers;
mod update;

pub(crate) use host::golden;

// What the tests take from their host stands apart: nothing else here may.
#[cfg(test)]
mod host {
    use std::fmt::{Debug, Write};

    /// Compares a machine's table with its graph on file; `UPDATE_GOLDEN=1` rewrites that.
    pub(crate) fn golden<R, S: Debug + PartialEq, E: Debug + PartialEq, F: Debug>(
        name: &str,
        title: &str,
        table: &[R],
        row: impl Fn(&R) -> (S, E, S, F),
    ) {
        let mut text = format!("{title}\n\n");
        for (n, line) in table.iter().enumerate() {
            let (from, event, to, effects) = row(line);
            let again = table[..n].iter().map(&row).any(|other| other.0 == from && other.1 == event);
            assert!(!again, "two rows for {event:?} in {from:?}");
            writeln!(text, "{from:?} --{event:?}--> {to:?}\n    {effects:?}").unwrap();
        }
        let path = format!("{}/../../tests/golden/graphs/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == text, "{path} differs from the table; UPDATE_GOLDEN=1 rewrites it:\n{text}");
    }

    /// The one seed that `SEED` names, else those below `many`.
    pub(crate) fn seeds(many: u64) -> std::ops::Range<u64> {
        match std::env::var("SEED") {
            Ok(seed) => {
                let seed = seed.parse().expect("SEED is a number");
                seed..seed + 1
            }
            Err(_) => 0..many,
        }
    }
}
