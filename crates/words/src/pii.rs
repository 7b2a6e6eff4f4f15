//! Phone numbers, addresses and names of people: kept whole in memory and in records, shortened in logs.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Text that tells who somebody is. `Debug` and `Display` show its length only; records take [`Pii::as_str`].
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pii(Box<str>);

impl Pii {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Pii(text.into().into_boxed_str())
    }

    /// The text itself, for records and for the account's own people.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} chars>", self.0.chars().count())
    }
}

impl fmt::Display for Pii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl From<&str> for Pii {
    fn from(text: &str) -> Self {
        Pii::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_do_not_show_it() {
        assert_eq!(format!("{} {:?}", Pii::new("+74954451120"), Pii::new("Иван")), "<12 chars> <4 chars>");
    }
}
