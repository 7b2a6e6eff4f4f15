//! One binding: a device's Contact, the flow it came by and how it is called (RFC 3261 §10, RFC 5626 §6).

use crate::gruu::{Gruus, Names};
use crate::outbound::Pinging;
use serde::{Deserialize, Serialize};
use sip::{Target, Uri};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use words::{AccountId, Clock, Flow, StoredBinding, Time, TimerToken, Transport, UserId};

/// How a device is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By the flow it registered over.
    Flow(Flow),
    /// By a new connection: its own is gone, and its Contact is the address that it registered from.
    Dial {
        /// TCP.
        transport: Transport,
        /// The listener it registered at.
        listener: u16,
        /// Our address it registered at.
        local: SocketAddr,
        /// Where it listens.
        remote: SocketAddr,
    },
    /// Not before it comes back: its connection is gone and it cannot be dialled.
    Gone,
}

impl Reach {
    /// Where a request to the device goes; `None` when it cannot be called.
    pub const fn target(self) -> Option<Target> {
        match self {
            Reach::Flow(flow) => Some(Target::Flow(flow)),
            Reach::Dial { transport, listener, local, remote } => {
                Some(Target::Dial { transport, listener, local, remote, peer: None })
            }
            Reach::Gone => None,
        }
    }
}

/// A device as others see it: to call it, and for `phones`.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and none excludes another")]
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Whose account.
    pub account: AccountId,
    /// Whose.
    pub user: UserId,
    /// The Contact URI as the device wrote it: the Request-URI of calls to it.
    pub contact: &'a str,
    /// Path values, outermost first: the Route of calls to it (RFC 3327 §5.4).
    pub path: &'a [String],
    /// Preference in thousandths.
    pub q: u16,
    /// Whether it sits behind NAT.
    pub nat: bool,
    /// Whether it says that it does ICE (RFC 5768 §5).
    pub ice: bool,
    /// Its instance id (RFC 5626 §4.1).
    pub instance: Option<&'a str>,
    /// Which of its flows this is.
    pub reg_id: Option<u32>,
    /// How it is called.
    pub reach: Reach,
    /// The flow it registered over, open or not.
    pub flow: Flow,
    /// Its User-Agent.
    pub agent: &'a str,
    /// The round trip of the last ping that was answered.
    pub round_trip: Option<Duration>,
    /// Whether it left three pings unanswered, or cannot be called at all.
    pub unreachable: bool,
    /// When the binding ends.
    pub expires: Time,
    /// Whether its device has registered it again since it came.
    pub renewed: bool,
}

/// Limits: strings as [`crate::limit`] says.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and none excludes another")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) id: u32,
    pub(crate) account: AccountId,
    pub(crate) contact: Box<str>,
    /// Its key in the store, where that is not what the Contact makes it: another device has the same Contact elsewhere.
    #[serde(default)]
    pub(crate) own_key: Option<Box<str>>,
    pub(crate) call_id: Box<str>,
    pub(crate) agent: Box<str>,
    pub(crate) instance: Option<Box<str>>,
    pub(crate) path: Box<[String]>,
    /// What its device calls us by, where that is another name than the account's. Not in the store.
    #[serde(default)]
    pub(crate) home: Option<Box<str>>,
    pub(crate) flow: Flow,
    /// Whether bytes sent to `flow` can arrive: its connection is open, or it is UDP from one of our sockets.
    pub(crate) open: bool,
    pub(crate) nat: bool,
    /// Whether its device says that it does ICE.
    #[serde(default)]
    pub(crate) ice: bool,
    pub(crate) q: u16,
    pub(crate) cseq: u32,
    pub(crate) reg_id: Option<u32>,
    pub(crate) expires: Time,
    /// When the last REGISTER for it came.
    pub(crate) refreshed: Time,
    /// Whether that was not the first one. Not in the store.
    #[serde(default)]
    pub(crate) renewed: bool,
    pub(crate) pinging: Option<Box<Pinging>>,
    pub(crate) gruus: Option<Box<Gruus>>,
    /// Set while it is in the table.
    pub(crate) timer: Option<TimerToken>,
}

impl Binding {
    /// What tells it apart from the user's others in the store.
    pub(crate) fn key(&self) -> String {
        self.own_key.as_deref().map_or_else(|| self.common_key(), str::to_owned)
    }

    /// The key of who has this Contact, or these names, nowhere else.
    pub(crate) fn common_key(&self) -> String {
        match (&self.instance, self.reg_id) {
            (Some(instance), Some(reg_id)) => format!("{instance};{reg_id}"),
            (Some(_) | None, _) => self.contact.to_string(),
        }
    }

    /// Whether its device was started anew and now has `next`. Phones of several makes put a word of each start into their
    /// Contact (`line`, `rinstance`): from the same socket, at the same address, both would ring the one phone twice.
    pub(crate) fn was_restarted_as(&self, next: &Binding) -> bool {
        if self.flow != next.flow || self.call_id == next.call_id || (self.reg_id, next.reg_id) != (None, None) {
            return false;
        }
        let (Ok(ours), Ok(theirs)) = (Uri::parse(&self.contact), Uri::parse(&next.contact)) else { return false };
        let address = |uri: &Uri<'_>| (uri.port, uri.host.to_ascii_lowercase());
        self.path.is_empty() && ours.user_unescaped() == theirs.user_unescaped() && address(&ours) == address(&theirs)
    }

    pub(crate) fn reach(&self) -> Reach {
        if self.open {
            return Reach::Flow(self.flow);
        }
        match dialable(self.flow.transport, self.nat, &self.contact, &self.path) {
            Some(remote) => Reach::Dial {
                transport: self.flow.transport,
                listener: self.flow.listener,
                local: self.flow.local,
                remote,
            },
            None => Reach::Gone,
        }
    }

    pub(crate) fn device(&self, user: UserId) -> Device<'_> {
        let reach = self.reach();
        Device {
            account: self.account,
            user,
            contact: &self.contact,
            path: &self.path,
            q: self.q,
            nat: self.nat,
            ice: self.ice,
            instance: self.instance.as_deref(),
            reg_id: self.reg_id,
            reach,
            flow: self.flow,
            agent: &self.agent,
            round_trip: self.pinging.as_ref().and_then(|pinging| pinging.round_trip()),
            unreachable: reach == Reach::Gone || self.pinging.as_ref().is_some_and(|pinging| pinging.is_unreachable()),
            expires: self.expires,
            renewed: self.renewed,
        }
    }

    /// When something is to be done about it.
    pub(crate) fn wakes(&self) -> Time {
        self.pinging.as_ref().map_or(self.expires, |pinging| pinging.next.min(self.expires))
    }

    pub(crate) fn stored(&self, clock: &Clock) -> StoredBinding {
        StoredBinding {
            key: self.key(),
            contact: self.contact.to_string(),
            transport: self.flow.transport,
            listener: self.flow.listener,
            local: self.flow.local,
            source: self.flow.remote,
            path: self.path.to_vec(),
            q: self.q,
            call_id: self.call_id.to_string(),
            cseq: self.cseq,
            instance: self.instance.as_deref().map(str::to_owned),
            reg_id: self.reg_id,
            agent: self.agent.to_string(),
            nat: self.nat,
            expires: clock.wall_at(self.expires),
            ice: self.ice,
        }
    }

    /// Its Contact value in a 200 (RFC 3261 §10.3 item 8).
    pub(crate) fn contact_value(&self, user: UserId, names: Option<&Names>, now: Time) -> String {
        let mut text = String::with_capacity(self.contact.len() + 24);
        text.push('<');
        text.push_str(&self.contact);
        text.push('>');
        // Rounded up: a device must not think that it ended while it still stands. Writing to a String cannot fail.
        let left = self.expires.since(now).as_millis().div_ceil(1_000);
        let _ = write!(text, ";expires={left}");
        if self.q < 1_000 {
            let _ = write!(text, ";q=0.{:03}", self.q);
        }
        if let Some(instance) = &self.instance {
            let _ = write!(text, ";+sip.instance=\"{instance}\"");
        }
        if let Some(reg_id) = self.reg_id {
            let _ = write!(text, ";reg-id={reg_id}");
        }
        if let (Some(gruus), Some(instance)) = (&self.gruus, &self.instance) {
            gruus.push(&mut text, instance, user, names);
        }
        text
    }
}

/// Where a device can be dialled once its connection is gone: over TCP, when it listens at the address it came from and
/// no proxy stands between. A certificate of a phone proves nothing, so TLS is not dialled; WebSocket clients listen nowhere.
pub(crate) fn dialable(transport: Transport, nat: bool, contact: &str, path: &[String]) -> Option<SocketAddr> {
    match transport {
        Transport::Tcp if !nat && path.is_empty() => {
            Uri::parse(contact).ok().and_then(|uri| address_of(&uri, transport))
        }
        Transport::Tcp | Transport::Udp | Transport::Tls | Transport::Ws | Transport::Wss => None,
    }
}

/// The address that a URI names literally.
pub(crate) fn address_of(uri: &Uri<'_>, transport: Transport) -> Option<SocketAddr> {
    let port = uri.port.unwrap_or(if uri.is_secure() { 5061 } else { transport.default_port() });
    Some(SocketAddr::new(uri.host_ip()?.to_canonical(), port))
}
