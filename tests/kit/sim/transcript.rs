//! Everything that happened, line by line: two runs of one seed must give the same text.

use std::fmt::Write as _;
use words::Time;

/// The lines of a run.
#[derive(Debug, Default)]
pub struct Transcript {
    text: String,
    lines: usize,
    hushed: bool,
}

impl Transcript {
    /// Adds a line.
    pub fn note(&mut self, now: Time, what: std::fmt::Arguments<'_>) {
        if self.hushed {
            return;
        }
        self.lines += 1;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:>12.6} {what}", now.as_nanos() as f64 / 1e9);
    }

    /// Adds a message: its way, its first line, its length and a hash of its bytes.
    pub fn note_message(&mut self, now: Time, way: std::fmt::Arguments<'_>, bytes: &[u8]) {
        if self.hushed {
            return;
        }
        let end = bytes.iter().position(|&byte| byte == b'\r').unwrap_or(bytes.len());
        let first = String::from_utf8_lossy(&bytes[..end]);
        self.note(now, format_args!("{way}: {first} [{} {:016x}]", bytes.len(), fnv(bytes)));
    }

    /// Forgets everything and writes no more: who plays many calls has no room for it.
    pub(crate) fn hush(&mut self) {
        *self = Transcript { hushed: true, ..Transcript::default() };
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The last lines, for whoever reads why a run failed.
    pub fn tail(&self, lines: usize) -> impl Iterator<Item = &str> {
        self.text.lines().skip(self.lines.saturating_sub(lines))
    }
}

/// A hash that is the same on each machine (FNV-1a, 64 bits).
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
