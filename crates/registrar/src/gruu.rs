//! GRUUs (RFC 5627): URIs that reach one device of a user and no other. The public one names the user and the device's
//! instance; a temporary one tells nobody whose it is.

use crate::nonce::Keyed;
use crate::registrar::Registrar;
use hmac::Mac;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use words::{AccountId, Chance, Time, UserId};

/// What a device that asked for GRUUs has.
///
/// Limits: [`TEMPORARIES`]; older ones reach nobody any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gruus {
    /// The user and host of its address of record, as its To has them.
    user: Box<str>,
    host: Box<str>,
    /// The numbers of its temporary ones, the latest last.
    temporaries: Vec<u64>,
}

/// Whose device a temporary GRUU reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// Whose account.
    pub account: AccountId,
    /// Whose.
    pub user: UserId,
    /// The user part of the user's address.
    pub extension: String,
    /// The device, as [`gr_of`] writes it.
    pub gr: String,
}

/// Makes names that only their maker can read: each is a number, and the user hidden by what a secret makes of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Names {
    chance: Chance,
    mac: Keyed,
}

impl Names {
    pub(crate) fn new(mut secrets: Chance) -> Names {
        let key: [u8; 32] = std::array::from_fn(|_| secrets.u32() as u8);
        Names { chance: secrets, mac: Keyed::new(key) }
    }

    fn mask(&self, number: u64) -> u32 {
        let mut mac = self.mac.mac.clone();
        mac.update(&number.to_be_bytes());
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(4).fold(0, |mask, &byte| mask << 8 | u32::from(byte))
    }

    fn print(&self, user: UserId, number: u64) -> String {
        format!("{TEMPORARY}{number:016x}{:08x}", user.0 ^ self.mask(number))
    }

    fn read(&self, name: &str) -> Option<(UserId, u64)> {
        let digits = name.strip_prefix(TEMPORARY).filter(|digits| digits.len() == 24 && digits.is_ascii())?;
        let number = u64::from_str_radix(&digits[..16], 16).ok()?;
        let hidden = u32::from_str_radix(&digits[16..], 16).ok()?;
        Some((UserId(hidden ^ self.mask(number)), number))
    }
}

impl Gruus {
    /// Of a device that registers: one more temporary GRUU (RFC 5627 §3.2), beside those before it unless it began anew.
    #[expect(clippy::unnecessary_box_returns, reason = "it is boxed where it is kept")]
    pub(crate) fn renewed(
        before: Option<Box<Gruus>>,
        extension: &str,
        host: &str,
        names: Option<&mut Names>,
    ) -> Box<Gruus> {
        let mut gruus = before
            .filter(|gruus| *gruus.host == *host)
            .unwrap_or_else(|| Box::new(Gruus { user: extension.into(), host: host.into(), temporaries: Vec::new() }));
        if let Some(names) = names {
            if gruus.temporaries.len() >= TEMPORARIES {
                gruus.temporaries.remove(0);
            }
            gruus.temporaries.push(names.chance.u64());
        }
        gruus
    }

    /// The parameters of its Contact in a 200 (RFC 5627 §5.3).
    pub(crate) fn push(&self, text: &mut String, instance: &str, user: UserId, names: Option<&Names>) {
        // Writing to a String cannot fail.
        let _ = write!(text, ";pub-gruu=\"sip:{}@{};gr={}\"", self.user, self.host, gr_of(instance));
        if let (Some(number), Some(names)) = (self.temporaries.last(), names) {
            let _ = write!(text, ";temp-gruu=\"sip:{}@{};gr\"", names.print(user, *number), self.host);
        }
    }
}

impl Registrar {
    /// Whether a device of a user calls us by that name: it registered there.
    pub fn is_home(&self, user: UserId, host: &str) -> bool {
        let homes = self.bindings(user).iter().filter_map(|binding| binding.home.as_deref());
        homes.into_iter().any(|home| home.eq_ignore_ascii_case(host))
    }

    /// Gives it a secret of its own: without one there are no temporary GRUUs.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Chance) -> Registrar {
        self.names = Some(Names::new(secrets));
        self
    }

    /// Whose device the user part of a temporary GRUU means; `None`: nobody's, or not any more.
    pub fn temporary(&self, name: &str, now: Time) -> Option<Temporary> {
        let (user, number) = self.names.as_ref()?.read(name)?;
        let has = |gruus: &Gruus| gruus.temporaries.contains(&number);
        let mut bindings = self.bindings(user).iter().filter(|binding| now < binding.expires);
        let found = bindings.find(|binding| binding.gruus.as_deref().is_some_and(has))?;
        let (gruus, instance) = (found.gruus.as_deref()?, found.instance.as_deref()?);
        let (extension, gr) = (gruus.user.to_string(), gr_of(instance));
        Some(Temporary { account: found.account, user, extension, gr })
    }
}

/// The value of `gr` for an instance (RFC 5627 §5.4): without brackets, and escaped as a URI parameter is.
pub fn gr_of(instance: &str) -> String {
    let inner = instance.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(instance);
    let mut gr = String::with_capacity(inner.len());
    for byte in inner.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'():/[]&+$".contains(&byte) {
            gr.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(gr, "%{byte:02X}");
        }
    }
    gr
}

/// How the user part of a temporary GRUU begins.
const TEMPORARY: &str = "tgruu.";

/// How many temporary GRUUs of one device reach it.
const TEMPORARIES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use words::Seed;

    #[test]
    fn an_instance_is_written_as_a_parameter() {
        assert_eq!(gr_of("<urn:uuid:f81d4fae-7dec>"), "urn:uuid:f81d4fae-7dec");
        assert_eq!(gr_of("a;b=\u{e9}"), "a%3Bb%3D%C3%A9");
    }

    #[test]
    fn a_temporary_name_is_read_by_its_maker_alone() {
        let names = Names::new(Chance::new(Seed::from_number(1)));
        let other = Names::new(Chance::new(Seed::from_number(2)));
        let name = names.print(UserId(7), 99);
        assert_eq!(names.read(&name), Some((UserId(7), 99)));
        assert_ne!(other.read(&name), Some((UserId(7), 99)));
        let again = names.print(UserId(7), 100);
        assert_ne!(name[22..], again[22..], "two names of one user have nothing in common");
        for bad in ["", "tgruu.", "tgruu.00", "101", "tgruu.0000000000000000zzzzzzzz", "tgruu.éééééééééééé"]
        {
            assert_eq!(names.read(bad), None, "{bad}");
        }
    }
}
