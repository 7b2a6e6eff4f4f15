//! What a REGISTER asks for, read and checked before anything is changed (RFC 3261 §10.3, RFC 3327, RFC 5626 §6).

use crate::binding::{Binding, address_of};
use crate::directory::NatPolicy;
use crate::limit;
use sip::{Contact, HeaderName, Message, NameAddr, Scheme, Uri};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};
use words::{Flow, Transport};

/// A REGISTER as far as it can be read without knowing who sends it.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) contacts: Contacts<'a>,
    pub(crate) call_id: &'a str,
    pub(crate) cseq: u32,
    /// The Expires header in seconds.
    pub(crate) expires: Option<u32>,
    pub(crate) agent: &'a str,
    pub(crate) path: SmallVec<[&'a str; 1]>,
    /// It knows GRUUs (RFC 5627 §5.1).
    pub(crate) gruu: bool,
    /// The host of To, the address of record, for GRUUs.
    pub(crate) host: Option<&'a str>,
    /// The same, where it is a name: so the device calls us.
    pub(crate) home: Option<&'a str>,
}

#[derive(Debug)]
pub(crate) enum Contacts<'a> {
    /// Remove all bindings.
    Star,
    /// Add, refresh and remove these; none means: only ask.
    These(SmallVec<[AskedContact<'a>; 2]>),
}

/// One Contact value.
#[derive(Clone, Debug)]
pub(crate) struct AskedContact<'a> {
    pub(crate) uri: &'a str,
    pub(crate) q: u16,
    /// In seconds; `None` when it is for the Expires header to say.
    pub(crate) expires: Option<u32>,
    pub(crate) instance: Option<&'a str>,
    /// Only from a device that understands flows (RFC 5626 §6) and says which one it is.
    pub(crate) reg_id: Option<u32>,
    /// It does ICE (RFC 5768 §5).
    pub(crate) ice: bool,
}

/// Why a request is refused: what is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The reason phrase; empty for the usual one.
    pub reason: &'static str,
    /// What goes with it, such as Min-Expires.
    pub header: Option<(HeaderName, String)>,
}

impl Refusal {
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Refusal { status, reason, header: None }
    }
}

impl<'a> Asked<'a> {
    pub(crate) fn read(message: &'a Message) -> Result<Self, Refusal> {
        let call_id = message.call_id().map_err(|error| Refusal::new(400, error.reason()))?;
        if call_id.len() > limit::CALL_ID_BYTES {
            return Err(Refusal::new(400, "Bad Call-ID: too long"));
        }
        let cseq = message.cseq().map_err(|error| Refusal::new(400, error.reason()))?.number;
        let path: SmallVec<[&str; 1]> = message.values(HeaderName::Path).take(limit::PATH_VALUES + 1).collect();
        if path.len() > limit::PATH_VALUES || path.iter().any(|value| value.len() > limit::PATH_BYTES) {
            return Err(Refusal::new(400, "Bad Path: too long"));
        }
        let outbound = message.has_token(HeaderName::Supported, "outbound");
        // RFC 3261 §20.19: an Expires that cannot be read counts as 3600.
        let expires = message.expires().unwrap_or(Some(UNREADABLE_EXPIRES));
        let agent = message.header(HeaderName::UserAgent).unwrap_or("");
        let contacts = read_contacts(message, expires, outbound)?;
        let agent = shortened(agent, limit::AGENT_BYTES);
        let gruu = message.has_token(HeaderName::Supported, "gruu");
        let to = message.to().ok().and_then(|to| Uri::parse(to.uri).ok());
        let to = to.filter(|uri| !uri.host.is_empty());
        let host = to.as_ref().filter(|_| gruu).map(|uri| uri.host);
        let home = to.filter(|uri| uri.host_ip().is_none() && uri.host.len() <= limit::HOME_BYTES).map(|uri| uri.host);
        let asked = Asked { contacts, call_id, cseq, expires, agent, path, gruu, host, home };
        asked.check_outbound(message)?;
        Ok(asked)
    }

    /// Whether one of its bindings is a flow by RFC 5626.
    pub(crate) fn uses_outbound(&self) -> bool {
        match &self.contacts {
            Contacts::Star => false,
            Contacts::These(contacts) => contacts.iter().any(|contact| contact.reg_id.is_some()),
        }
    }

    /// Whether the device that sends it is the one that had a binding.
    pub(crate) fn is_from(&self, binding: &Binding) -> bool {
        let named = match &self.contacts {
            Contacts::Star => false,
            Contacts::These(contacts) => {
                contacts.iter().any(|one| one.instance.is_some() && one.instance == binding.instance.as_deref())
            }
        };
        named || *binding.call_id == *self.call_id
    }

    /// RFC 5626 §6: one flow per request, and the first hop must keep it.
    fn check_outbound(&self, message: &Message) -> Result<(), Refusal> {
        let Contacts::These(contacts) = &self.contacts else { return Ok(()) };
        let ends = |contact: &&AskedContact<'_>| contact.expires.or(self.expires) == Some(0);
        let flows = contacts.iter().filter(|contact| contact.reg_id.is_some());
        if flows.clone().filter(|contact| !ends(contact)).count() > 1 {
            return Err(Refusal::new(400, "Bad Contact: more than one reg-id"));
        }
        // The hop next to the device writes the last Path value.
        let kept = self.path.last().is_some_and(|value| {
            let uri = NameAddr::parse(HeaderName::Path, value).ok().and_then(|hop| Uri::parse(hop.uri).ok());
            uri.is_some_and(|uri| uri.param("ob").is_some())
        });
        if flows.count() > 0 && message.values(HeaderName::Via).nth(1).is_some() && !kept {
            return Err(Refusal::new(439, "First Hop Lacks Outbound Support"));
        }
        Ok(())
    }
}

fn read_contacts(message: &Message, expires: Option<u32>, outbound: bool) -> Result<Contacts<'_>, Refusal> {
    let mut contacts = SmallVec::new();
    let mut star = false;
    for contact in message.contacts() {
        match contact.map_err(|error| Refusal::new(400, error.reason()))? {
            Contact::Star => star = true,
            Contact::Address(address) => contacts.push(read_contact(&address, outbound)?),
        }
        if contacts.len() > words::limit::BINDINGS_PER_USER {
            return Err(Refusal::new(403, "Forbidden: too many Contacts"));
        }
    }
    match (star, contacts.is_empty(), expires) {
        (false, _, _) => Ok(Contacts::These(contacts)),
        (true, true, Some(0)) => Ok(Contacts::Star),
        // RFC 3261 §10.3 item 6.
        (true, _, _) => Err(Refusal::new(400, "Bad Contact: * needs Expires: 0 and no other Contact")),
    }
}

fn read_contact<'a>(address: &NameAddr<'a>, outbound: bool) -> Result<AskedContact<'a>, Refusal> {
    let uri = Uri::parse(address.uri).map_err(|_| Refusal::new(400, "Bad Contact: not a URI"))?;
    match uri.scheme {
        Scheme::Sip | Scheme::Sips => {}
        Scheme::Tel | Scheme::Other => return Err(Refusal::new(400, "Bad Contact: only SIP URIs can be bound")),
    }
    // What stands behind `?` would become headers of each call to the device (RFC 3261 §19.1.1).
    if !uri.headers_raw.is_empty() || uri.param("method").is_some() {
        return Err(Refusal::new(400, "Bad Contact: the URI carries headers or a method"));
    }
    // Calls to it would come back here for ever (RFC 5627 §5.1).
    if uri.param("gr").is_some() {
        return Err(Refusal::new(403, "Forbidden: a GRUU is no Contact"));
    }
    if address.uri.len() > limit::CONTACT_BYTES {
        return Err(Refusal::new(400, "Bad Contact: too long"));
    }
    let instance = address.param("+sip.instance").filter(|instance| !instance.is_empty());
    if instance.is_some_and(|instance| instance.len() > limit::INSTANCE_BYTES || instance.contains(['"', '\\'])) {
        return Err(Refusal::new(400, "Bad Contact: +sip.instance"));
    }
    let reg_id = match address.param("reg-id") {
        // RFC 5626 §6: without an instance, or from a device that does not know flows, it is ignored.
        Some(reg_id) if outbound && instance.is_some() => {
            let number = reg_id.parse::<u32>().ok().filter(|&number| number > 0);
            Some(number.ok_or(Refusal::new(400, "Bad Contact: reg-id"))?)
        }
        Some(_) | None => None,
    };
    let q = address.param("q").map_or(1_000, thousandths);
    let expires = address.param("expires").map(seconds);
    let ice = address.param("+sip.ice").is_some();
    Ok(AskedContact { uri: address.uri, q, expires, instance, reg_id, ice })
}

/// Delta-seconds (RFC 3261 §20.19): overflow is as long as it gets, and what cannot be read counts as 3600 (§10.3).
fn seconds(text: &str) -> u32 {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return UNREADABLE_EXPIRES;
    }
    text.parse().unwrap_or(u32::MAX)
}

/// A qvalue `0.5` or `1` in thousandths (RFC 3261 §25.1); what cannot be read counts as 1.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if digits => fraction.bytes().chain(*b"000").take(3).fold(0, |q, digit| q * 10 + u16::from(digit - b'0')),
        _ => 1_000,
    }
}

fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Whether a device sits behind NAT: its Contact is not the address that its packets come from. Streams come from any
/// port, so only the address counts there. A device behind a proxy (RFC 3327) is that proxy's care.
pub(crate) fn behind_nat(uri: &Uri<'_>, flow: &Flow, path: &[&str], policy: NatPolicy) -> bool {
    match policy {
        NatPolicy::Behind => return true,
        NatPolicy::Detect if !path.is_empty() => return false,
        NatPolicy::Detect => {}
    }
    let Some(address) = address_of(uri, flow.transport) else { return true };
    let source = SocketAddr::new(flow.remote.ip().to_canonical(), flow.remote.port());
    match flow.transport {
        Transport::Udp => address != source,
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => address.ip() != source.ip(),
    }
}

/// Whether no device may be at that address. Loopback is fine where the listener itself is on loopback.
pub(crate) fn is_special(address: SocketAddr, flow: &Flow) -> bool {
    if address.port() == 0 {
        return true;
    }
    let on_loopback = flow.local.ip().to_canonical().is_loopback();
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => {
            let [first, ..] = v4.octets();
            let local_link = v4.is_link_local() && flow.remote.ip().to_canonical() != IpAddr::V4(v4);
            first == 0 || first >= 224 || local_link || (v4.is_loopback() && !on_loopback)
        }
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast() || (v6.is_loopback() && !on_loopback),
    }
}

/// What an unreadable expiry counts as (RFC 3261 §10.3 item 7).
const UNREADABLE_EXPIRES: u32 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_read_count_as_the_rfc_says() {
        assert_eq!(["0", "60", "99999999999999", "", "-1", "1h"].map(seconds), [0, 60, u32::MAX, 3600, 3600, 3600]);
        assert_eq!(
            ["0", "0.", "0.5", "0.25", "0.001", "1", "1.0", "1.000", "0.1234", "2", "x", "0.-1"].map(thousandths),
            [0, 0, 500, 250, 1, 1000, 1000, 1000, 1000, 1000, 1000, 1000]
        );
    }

    #[test]
    fn agents_are_shortened_between_characters() {
        assert_eq!(shortened("телефон", 5), "те");
        assert_eq!(shortened("abc", 5), "abc");
    }
}
