//! Questions to DNS and what it answers, as values: the core asks, the shell has the resolver.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// IPv4 addresses (RFC 1035).
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Services and where their records are (RFC 3403).
    Naptr,
    /// Servers of a service (RFC 2782).
    Srv,
}

/// A question. The resolver follows CNAMEs; what comes back is of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Question {
    /// What is asked for.
    pub kind: Kind,
    /// The name, in lower case and without a dot at its end.
    pub name: Box<str>,
}

impl Question {
    /// A question about a name as somebody wrote it.
    pub fn new(kind: Kind, name: &str) -> Question {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        Question { kind, name: name.into() }
    }
}

/// What DNS says, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What it says.
    pub records: Records,
    /// How long that is true.
    pub ttl: Duration,
}

/// What DNS says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Records {
    /// Addresses, in the resolver's order.
    Addresses(Vec<Address>),
    /// Services.
    Naptr(Vec<Naptr>),
    /// Servers.
    Srv(Vec<Srv>),
    /// There is no such name, or it has nothing of that kind.
    Nothing,
    /// No server answered, or none that knew.
    Silence,
}

/// An address of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The address of ours that packets to it leave from, when there is a way there.
    pub from: Option<IpAddr>,
}

/// A NAPTR record whose replacement is a name (RFC 3403 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naptr {
    /// The lowest is to be taken.
    pub order: u16,
    /// Among equal orders, the lowest is what its owner prefers.
    pub preference: u16,
    /// `s` for a name with SRV records, `a` for one with addresses.
    pub flags: Box<str>,
    /// The service, such as `SIP+D2U`.
    pub services: Box<str>,
    /// Where to look next; empty when there is a regular expression instead.
    pub replacement: Box<str>,
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Srv {
    /// The lowest comes first.
    pub priority: u16,
    /// The share among those of equal priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; empty when the service is decidedly not there.
    pub target: Box<str>,
}
