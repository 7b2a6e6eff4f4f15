//! The names we put into messages of our own: From, Contact, Call-ID; and what a Contact tells about NAT.

use crate::desk::{Desk, is_public};
use crate::show::seen;
use crate::step::Diverted;
use crate::tag::Tag;
use sip::{Message, Uri, push_user};
use std::fmt::Write as _;
use std::net::IpAddr;
use words::{CallId, Flow, Party, Transport};

/// The value of From on a leg that we open: the caller's name and number, and our tag. Nothing else of the caller's
/// own headers is carried across. Who wants to be private is nobody there for everyone.
pub(crate) fn from_value(from: &Party, host: &str, tag: Tag) -> String {
    let mut value = String::with_capacity(96);
    if let Some(from) = seen(from) {
        push_name(&mut value, from.name.as_str());
        value.push_str("<sip:");
        push_user(&mut value, from.number.as_str());
        value.push('@');
        value.push_str(host);
        value.push('>');
    } else {
        value.push_str(NOBODY);
    }
    value.push_str(";tag=");
    value.push_str(tag.text().as_str());
    value
}

/// `"Name" <sip:number@host>` as a header has it (RFC 3325 §9.1, RFC 3892 §2.1); `None` for nobody.
pub(crate) fn uri_value(who: &Party, host: &str) -> Option<String> {
    if who.number.as_str().is_empty() {
        return None;
    }
    let mut value = String::with_capacity(64);
    push_name(&mut value, who.name.as_str());
    value.push_str("<sip:");
    push_user(&mut value, who.number.as_str());
    value.push('@');
    value.push_str(host);
    value.push('>');
    Some(value)
}

/// The value of Diversion (RFC 5806 §4).
pub(crate) fn diversion_value(diverted: &Diverted, host: &str) -> Option<String> {
    let mut value = uri_value(&diverted.by, host)?;
    value.push_str(";reason=");
    value.push_str(diverted.reason);
    Some(value)
}

/// Nobody (RFC 3261 §8.1.1.3, RFC 3323 §4.1.1.3).
pub(crate) const NOBODY: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// The value of Contact: our address on the leg's flow, and a token that finds the leg again.
pub(crate) fn contact_value(desk: &mut Desk, flow: &Flow, tag: Tag, secure: bool) -> String {
    let mut value = String::with_capacity(96);
    value.push_str(if secure { "<sips:" } else { "<sip:" });
    value.push_str(tag.text().as_str());
    value.push('@');
    push_here(&mut value, desk, flow, secure);
    value.push('>');
    value
}

/// Our address on a flow as a value of Route, which its other side puts before what it sends (RFC 3608 §5).
pub(crate) fn route_value(desk: &mut Desk, flow: &Flow, secure: bool) -> String {
    let mut value = String::with_capacity(64);
    value.push_str(if secure { "<sips:" } else { "<sip:" });
    push_here(&mut value, desk, flow, secure);
    value.push_str(";lr>");
    value
}

/// Where we are on a flow, as the rest of a URI.
fn push_here(value: &mut String, desk: &mut Desk, flow: &Flow, secure: bool) {
    value.push_str(desk.host_port(flow));
    if flow.transport != Transport::Udp {
        value.push_str(";transport=");
        // In a sips URI TLS is meant already (RFC 3261 §26.2.2).
        value.push_str(match (secure, flow.transport) {
            (true, Transport::Tls) => Transport::Tcp.uri_token(),
            _ => flow.transport.uri_token(),
        });
    }
}

/// Whether a URI wants TLS all the way (RFC 3261 §26.2.2).
pub(crate) fn is_sips(uri: &str) -> bool {
    uri.get(..SIPS.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SIPS))
}

const SIPS: &str = "sips:";

/// The Call-ID of a leg that we open: it tells which call of ours it belongs to.
pub(crate) fn call_id_value(call: CallId, leg: u16) -> String {
    let mut value = String::with_capacity(38);
    // Writing to a String cannot fail.
    let _ = write!(value, "{call}-{leg}");
    value
}

/// The host that callees of an account can call back to: that of the URI in To; for others our own address.
pub(crate) fn from_host<'a>(desk: &'a mut Desk, to_uri: &'a str, internal: bool, flow: &Flow) -> &'a str {
    if internal
        && let Ok(uri) = Uri::parse(to_uri)
        && !uri.host.is_empty()
    {
        return uri.host;
    }
    let ours = desk.host_port(flow);
    ours.rsplit_once(':').map_or(ours, |(host, _)| host)
}

/// What a Request-URI dials.
pub(crate) fn dialled(message: &Message) -> String {
    match Uri::parse(message.request_uri()) {
        Ok(uri) => uri.dialled().into_owned(),
        Err(_) => String::new(),
    }
}

/// Whether the sender of a request sits behind NAT: its Contact names another address than it came from.
pub(crate) fn is_behind_nat(message: &Message, flow: &Flow) -> bool {
    let Ok(Some(contact)) = message.contact() else { return false };
    let Ok(uri) = Uri::parse(contact.uri) else { return false };
    // A name instead of an address is no sign: a trunk may well be called by it, a browser's `.invalid` is checked by
    // its connection anyway.
    match uri.host_ip() {
        Some(ip) => ip.to_canonical() != flow.remote.ip().to_canonical(),
        None => uri.host.ends_with(".invalid"),
    }
}

/// Whether an address of a description cannot be reached from here though its owner speaks from a public one.
pub(crate) fn is_hidden(media: IpAddr, flow: &Flow) -> bool {
    media != flow.remote.ip().to_canonical() && !is_public(media) && is_public(flow.remote.ip().to_canonical())
}

/// A display name in quotes, and a blank; nothing for none.
fn push_name(value: &mut String, name: &str) {
    if name.is_empty() {
        return;
    }
    value.push('"');
    for c in name.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            value.push('\\');
        }
        value.push(c);
    }
    value.push_str("\" ");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag { shard: 0, slot: 1, leg: 1, chance: 2 };

    fn party(number: &str, name: &str) -> Party {
        Party { number: number.into(), name: name.into(), ..Party::default() }
    }

    #[test]
    fn names_are_quoted_and_numbers_escaped() {
        assert_eq!(
            from_value(&party("10 01", "Anna \"A\" \\\r\n"), "h", TAG),
            "\"Anna \\\"A\\\" \\\\\" <sip:10%2001@h>;tag=00000000000100010000000000000002"
        );
    }

    #[test]
    fn nobody_is_anonymous() {
        let nobody = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=";
        assert!(from_value(&party("", ""), "h", TAG).starts_with(nobody));
        assert!(from_value(&Party { private: true, ..party("101", "Ann") }, "h", TAG).starts_with(nobody));
    }
}
