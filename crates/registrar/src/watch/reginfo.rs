//! The Contacts of a user: `application/reginfo+xml` (RFC 3680).

use super::document::Document;
use super::xml;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A Contact as those see it who watch it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The Contact URI.
    pub uri: String,
    /// Preference in thousandths.
    pub q: u16,
    /// Whether its device can be called: its connection is open, and it answers.
    pub reachable: bool,
    /// Whether its device has registered it again since it came.
    #[serde(default)]
    pub renewed: bool,
}

impl Registered {
    /// Whether nobody who watches has to be told the difference: a refresh is no news.
    pub(crate) fn is_like(&self, other: &Registered) -> bool {
        (&self.uri, self.q, self.reachable) == (&other.uri, other.q, other.reachable)
    }
}

/// Why a Contact is bound no longer (RFC 3680 §4.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Departure {
    /// Its device said so.
    Unregistered,
    /// It was not refreshed.
    Expired,
    /// We took it away: whoever is there proves anew who it is.
    Deactivated,
}

impl Departure {
    /// The event that a document tells.
    const fn as_str(self) -> &'static str {
        match self {
            Departure::Unregistered => "unregistered",
            Departure::Expired => "expired",
            Departure::Deactivated => "deactivated",
        }
    }
}

/// Prints the Contacts of `entity`, a `sip:user@domain`: those bound, and those that went since the document before.
/// When a binding ends is left out, as each refresh would be news; only where we had shortened it must that be told (RFC 3680
/// §5.2), and we never do. That it was refreshed stands in the documents that come for another reason.
pub(crate) fn print(entity: &str, bound: &[Registered], gone: &[(Registered, Departure)]) -> Document {
    let head = String::from(concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n",
        "<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"",
    ));
    let mut tail = String::with_capacity(192 + 192 * (bound.len() + gone.len()));
    tail.push_str("\" state=\"full\">\r\n<registration aor=\"");
    xml::push(&mut tail, entity);
    tail.push_str("\" id=\"aor\" state=\"");
    tail.push_str(match (bound.is_empty(), gone.is_empty()) {
        (false, _) => "active",
        (true, false) => "terminated",
        (true, true) => "init",
    });
    tail.push_str("\">\r\n");
    for contact in bound {
        // Each came by REGISTER: `created` is for those that somebody writes down (RFC 3680 §4.7.1).
        push_contact(&mut tail, contact, "active", if contact.renewed { "refreshed" } else { "registered" });
    }
    for (contact, why) in gone {
        push_contact(&mut tail, contact, "terminated", why.as_str());
    }
    tail.push_str("</registration>\r\n</reginfo>\r\n");
    Document::versioned(head, &tail)
}

fn push_contact(out: &mut String, contact: &Registered, state: &str, event: &str) {
    // The same Contact has the same id in each document (RFC 3680 §5.2). Writing to a String cannot fail.
    let id = contact.uri.bytes().fold(FNV, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    let _ = write!(out, "<contact id=\"c{id:016x}\" state=\"{state}\" event=\"{event}\"");
    if contact.q < 1_000 {
        let _ = write!(out, " q=\"0.{:03}\"", contact.q);
    }
    out.push_str("><uri>");
    xml::push(out, &contact.uri);
    out.push_str("</uri></contact>\r\n");
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(uri: &str, q: u16) -> Registered {
        Registered { uri: uri.into(), q, reachable: true, renewed: false }
    }

    fn text(bound: &[Registered], gone: &[(Registered, Departure)]) -> String {
        String::from_utf8(print("sip:1@a.example", bound, gone).body(3).to_vec()).unwrap()
    }

    #[test]
    fn contacts_come_and_go() {
        let (a, b) = (registered("sip:1@10.0.0.1;x=<y>", 1_000), registered("sip:1@10.0.0.2", 500));
        let both = text(&[a.clone(), b.clone()], &[]);
        assert!(both.contains("version=\"3\" state=\"full\"") && both.contains("id=\"aor\" state=\"active\""));
        assert!(both.contains("state=\"active\" event=\"registered\"><uri>sip:1@10.0.0.1;x=&lt;y&gt;</uri>"));
        assert!(both.contains(" q=\"0.500\"><uri>sip:1@10.0.0.2</uri>"));
        let again = text(&[Registered { renewed: true, ..a.clone() }], &[]);
        assert!(again.contains("state=\"active\" event=\"refreshed\"><uri>sip:1@10.0.0.1"), "{again}");
        for why in [Departure::Unregistered, Departure::Expired, Departure::Deactivated] {
            let gone = text(&[], &[(b.clone(), why)]);
            assert!(gone.contains("id=\"aor\" state=\"terminated\""));
            assert!(gone.contains(&format!("state=\"terminated\" event=\"{}\"", why.as_str())), "{gone}");
        }
        assert!(text(&[], &[]).contains("id=\"aor\" state=\"init\""));
        let id = |text: &str| text.split("contact id=\"").nth(1).unwrap()[..17].to_owned();
        let gone = [(a.clone(), Departure::Expired)];
        assert_eq!(id(&text(&[a], &[])), id(&text(&[], &gone)));
    }
}
