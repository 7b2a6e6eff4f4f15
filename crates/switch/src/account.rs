//! An account as the core uses it: its domain, its peers and where its numbers lead.

use b2bua::Trust;
use registrar::AlgorithmPolicy;
use serde::{Deserialize, Serialize};
use sip::locate::Wanted;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use words::{AccountId, PeerId, Srtp, Transport};

/// An account's record. The directory hands out whole ones; the core never changes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its short name, for people.
    pub name: String,
    /// Its SIP domain, in lower case.
    pub domain: String,
    /// Its digest realm, fixed when the account is made: stored HA1 values depend on it.
    pub realm: String,
    /// How long an extension rings before the caller hears that nobody answers.
    pub ring_for: Duration,
    /// What its users type before the number that they transfer to; empty: they do not; `None`: as
    /// [`Codes::typed_transfer`](crate::Codes::typed_transfer) says.
    #[serde(default)]
    pub typed_transfer: Option<String>,
    /// Where dialled strings lead, besides its extensions.
    pub routes: Vec<Route>,
    /// Its static peers.
    pub peers: Vec<Peer>,
    /// What the devices of some users are asked with, by extension and by the user name of their credentials: those that
    /// are not offered what all others are. It stands here so that a challenge needs no look at the user.
    #[serde(default)]
    pub algorithms: BTreeMap<String, AlgorithmPolicy>,
}

/// Where a dialled string leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Which strings.
    pub pattern: Pattern,
    /// Where to.
    pub target: RouteTarget,
}

/// Which dialled strings a route takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// This string only.
    Exact(String),
    /// All strings that begin so; after a prefix that ends in a digit only digits follow.
    Prefix(String),
}

impl Pattern {
    /// Reads `9*` as a prefix and anything else as itself. A string that begins with `*` (a feature code) is exact.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) if !prefix.is_empty() => Pattern::Prefix(prefix.to_owned()),
            _ => Pattern::Exact(text.to_owned()),
        }
    }

    /// How well it fits: `None` not at all, larger is closer.
    pub fn fit(&self, dialled: &str) -> Option<usize> {
        match self {
            Pattern::Exact(text) => (text == dialled).then_some(usize::MAX),
            Pattern::Prefix(prefix) => {
                let rest = dialled.strip_prefix(prefix.as_str())?;
                let digits = rest.bytes().all(|b| b.is_ascii_digit());
                (digits || !prefix.ends_with(|c: char| c.is_ascii_digit())).then_some(prefix.len())
            }
        }
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// The exchange answers itself.
    Service(Service),
    /// A ring list: these extensions of the account.
    Ring {
        /// The extensions.
        extensions: Vec<String>,
        /// How long they ring.
        ring_for: Duration,
        /// One after another instead of all at once.
        in_order: bool,
    },
    /// A static peer.
    Peer {
        /// Which.
        peer: PeerId,
        /// How many leading characters are taken off first.
        strip: u8,
        /// What is put before the rest.
        prepend: String,
    },
}

/// What the exchange itself can do with a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// Answers and sends the audio back.
    Echo,
    /// Answers and plays 440 Hz.
    Tone440,
    /// 486.
    Busy,
    /// Rings for good.
    NoAnswer,
    /// 183 with audio, no answer.
    Early183,
    /// Rings, answers after so long, sends the audio back.
    /// The time is what stands in the place of the pattern's `*`, in seconds, when it is `None`.
    AnswerAfter(Option<Duration>),
}

/// A static peer: a SIP server known by its address or its name. Calls from the addresses that it has belong to its
/// account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: PeerId,
    /// Whose it is.
    pub account: AccountId,
    /// Its name, for people.
    pub name: String,
    /// The host as configured, for Request-URIs.
    pub host: String,
    /// Its addresses. Of a peer that is known by its name the exchange finds them by itself.
    pub addresses: Vec<SocketAddr>,
    /// What is located by DNS when it is called (RFC 3263); `None` when it is known by its address.
    pub by_name: Option<Wanted>,
    /// The listener and the address of ours that requests to it leave from; `None` when no listener fits.
    pub from: Option<(u16, SocketAddr)>,
    /// How it is reached.
    pub transport: Transport,
    /// What it and we tell each other about who somebody is.
    pub trust: Trust,
    /// Whether its media are to be encrypted.
    #[serde(default)]
    pub srtp: Srtp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_of_digits_fits_best() {
        let nine = Pattern::parse("9*");
        let ninety = Pattern::parse("90*");
        assert_eq!((nine.fit("9100"), ninety.fit("9100")), (Some(1), None));
        assert!(ninety.fit("9012") > nine.fit("9012"));
        assert_eq!(nine.fit("9anna"), None);
        assert_eq!(Pattern::parse("*43"), Pattern::Exact("*43".into()));
        assert_eq!(Pattern::parse("*43").fit("*43"), Some(usize::MAX));
        assert_eq!(Pattern::parse("*").fit("*"), Some(usize::MAX));
    }
}
