//! Whether a device or a peer is to speak encrypted.

use serde::{Deserialize, Serialize};

/// The rule for SRTP with a device or a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Srtp {
    /// Never: keys in its offers are not taken up.
    Off,
    /// Where it asks for it, and offered to it where its signalling is encrypted: keys that everybody can read on the
    /// way are worth nothing.
    #[default]
    Optional,
    /// Always, or no call.
    Required,
}

impl Srtp {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Srtp::Off => "off",
            Srtp::Optional => "optional",
            Srtp::Required => "required",
        }
    }

    /// The rule with that word.
    pub fn parse(word: &str) -> Option<Srtp> {
        [Srtp::Off, Srtp::Optional, Srtp::Required].into_iter().find(|srtp| srtp.as_str() == word)
    }
}

impl std::fmt::Display for Srtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Srtp {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Srtp::parse(word).ok_or_else(|| format!("{word} is none of off, optional, required"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_printed() {
        for srtp in [Srtp::Off, Srtp::Optional, Srtp::Required] {
            assert_eq!(srtp.to_string().parse(), Ok(srtp));
        }
        assert!("always".parse::<Srtp>().is_err());
    }
}
