//! Which binding a REGISTER is about: the one that it renews, and those that its device has left.

use crate::binding::{Binding, Reach};
use crate::contact::{Asked, AskedContact};
use sip::Uri;
use std::time::Duration;
use words::{Flow, Time};

/// Whether a Contact means this binding: by instance and flow number, else by URI (RFC 5626 §6, RFC 3261 §19.1.4).
pub(crate) fn is_same(binding: &Binding, contact: &AskedContact<'_>, uri: &Uri<'_>) -> bool {
    match (binding.reg_id, contact.reg_id) {
        (Some(ours), Some(theirs)) => ours == theirs && binding.instance.as_deref() == contact.instance,
        (None, None) => {
            *binding.contact == *contact.uri
                || Uri::parse(&binding.contact).is_ok_and(|ours| Uri::equivalent(&ours, uri))
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether a Contact means another device than the one that is bound with the same: phones at two sites may have one
/// private address. They are behind different hosts, under different Call-IDs. A phone that was started anew is behind the
/// host of before, and one that moved keeps its Call-ID; of one that did both, the binding that it left ends soon, as all
/// behind NAT do.
pub(crate) fn is_elsewhere(
    binding: &Binding,
    contact: &AskedContact<'_>,
    asked: &Asked<'_>,
    flow: &Flow,
    nat: bool,
) -> bool {
    let same_instance = binding.instance.is_some() && binding.instance.as_deref() == contact.instance;
    let apart = !is_one_host(&binding.flow, flow) && *binding.call_id != *asked.call_id;
    nat && binding.nat && apart && !same_instance
}

/// Whether `old` is what is left of the device that now has `binding`. A device that says which one it is and knows nothing
/// of flows has one: its last connection may have died without a word.
pub(crate) fn is_twin(old: &Binding, binding: &Binding) -> bool {
    let same_instance = old.instance.is_some() && old.instance == binding.instance;
    let streams = old.flow.transport.is_reliable() && old.flow.transport == binding.flow.transport;
    let succeeds = same_instance && streams && old.reg_id.is_none() && old.flow.connection != binding.flow.connection;
    let same_device = same_instance || old.call_id == binding.call_id;
    let gone = same_device && old.reg_id == binding.reg_id && (old.reach() == Reach::Gone || succeeds);
    gone || is_in_its_place(old, binding) || old.was_restarted_as(binding)
}

/// Whether a device came to where another one was that had the same Contact: there is room for one only.
fn is_in_its_place(old: &Binding, binding: &Binding) -> bool {
    let by_contact = (old.reg_id, binding.reg_id) == (None, None);
    by_contact && old.contact == binding.contact && is_one_host(&old.flow, &binding.flow)
}

fn is_one_host(one: &Flow, other: &Flow) -> bool {
    one.remote.ip().to_canonical() == other.remote.ip().to_canonical()
}

/// RFC 3261 §10.3 item 7: of the REGISTERs with one Call-ID only those with a higher CSeq count. Phones that make their
/// Call-ID of their hardware address count from one again after a restart: nothing is overtaken for longer than a request
/// is repeated, and a password was proven for this one.
pub(crate) fn is_out_of_order(binding: &Binding, asked: &Asked<'_>, now: Time) -> bool {
    *binding.call_id == *asked.call_id && asked.cseq <= binding.cseq && now.since(binding.refreshed) <= REPEATED
}

/// For how long a request is repeated, at most: 64*T1 (RFC 3261 §17.1.2.2).
const REPEATED: Duration = Duration::from_secs(32);
