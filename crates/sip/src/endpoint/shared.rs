//! What both sides of the endpoint work with: timers, the queue of outputs, keys and the names in our Via.

use super::config::EndpointConfig;
use super::dial::Dials;
use super::event::{Event, Output};
use crate::timer::Timer;
use crate::txn::key::{Branch, Keyring};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use words::{Chance, ConnectionId, Flow, Time, TimerQueue, TimerToken, Transport};

/// Whose table a slot belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Side {
    Client,
    Server,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Due {
    Transaction { side: Side, slot: u32, timer: Timer },
    Dial(u64),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Shared {
    #[serde(skip)]
    pub(super) config: EndpointConfig,
    pub(super) timers: TimerQueue<Due>,
    #[serde(skip)]
    pub(super) out: VecDeque<Output>,
    pub(super) keyring: Keyring,
    pub(super) chance: Chance,
    pub(super) dials: Dials,
    /// Which transactions a connection would take with it.
    pub(super) riders: BTreeSet<(ConnectionId, Side, u32)>,
    /// The last requests that went out on UDP, for failures that the system reports by address alone.
    recent: VecDeque<(u32, SocketAddr)>,
    #[serde(skip)]
    names: Vec<Name>,
}

/// The start of our Via on one local address.
struct Name {
    transport: Transport,
    listener: u16,
    local: SocketAddr,
    /// `SIP/2.0/UDP host:port;branch=`
    prefix: String,
}

/// How many requests are remembered for [`Shared::take_recent`].
const RECENT: usize = 64;

/// How many local addresses have their Via at hand; more than that are printed again.
const NAMES: usize = 32;

impl Shared {
    pub(super) fn new(config: EndpointConfig, mut chance: Chance, now: Time) -> Self {
        Shared {
            config,
            timers: TimerQueue::new(now),
            out: VecDeque::new(),
            keyring: Keyring::new(&mut chance),
            chance,
            dials: Dials::default(),
            riders: BTreeSet::new(),
            recent: VecDeque::new(),
            names: Vec::new(),
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub(super) fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.out.push_back(Output::Transmit { flow, bytes });
    }

    /// Sends a request and remembers whose it was.
    pub(super) fn transmit_of(&mut self, slot: u32, flow: Flow, bytes: Bytes) {
        if flow.connection == ConnectionId::NONE {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back((slot, flow.remote));
        }
        self.transmit(flow, bytes);
    }

    /// The slots whose request went to that address lately; they are forgotten.
    pub(super) fn take_recent(&mut self, remote: SocketAddr) -> Vec<u32> {
        let found = self.recent.iter().filter(|(_, to)| *to == remote).map(|(slot, _)| *slot).collect();
        self.recent.retain(|(_, to)| *to != remote);
        found
    }

    pub(super) fn ride(&mut self, flow: &Flow, side: Side, slot: u32) {
        if flow.connection != ConnectionId::NONE {
            self.riders.insert((flow.connection, side, slot));
        }
    }

    pub(super) fn leave(&mut self, flow: &Flow, side: Side, slot: u32) {
        if flow.connection != ConnectionId::NONE {
            self.riders.remove(&(flow.connection, side, slot));
        }
    }

    /// Our Via for a request that leaves from there: sent-by, our branch, and `rport` on UDP (RFC 3581 §3).
    pub(super) fn print_via(
        &mut self,
        transport: Transport,
        listener: u16,
        local: SocketAddr,
        branch: Branch,
    ) -> String {
        let prefix = self.prefix(transport, listener, local);
        let mut via = String::with_capacity(prefix.len() + 41);
        via.push_str(prefix);
        via.push_str(branch.print().as_str());
        if transport == Transport::Udp {
            via.push_str(";rport");
        }
        via
    }

    /// The sent-by of our Via on that local address: `host:port`.
    pub(super) fn sent_by(&mut self, transport: Transport, listener: u16, local: SocketAddr) -> &str {
        let prefix = self.prefix(transport, listener, local);
        let start = "SIP/2.0/ ".len() + transport.via_token().len();
        &prefix[start..prefix.len() - ";branch=".len()]
    }

    fn prefix(&mut self, transport: Transport, listener: u16, local: SocketAddr) -> &str {
        let known = |name: &Name| name.local == local && name.transport == transport && name.listener == listener;
        let at = self.names.iter().position(known).unwrap_or_else(|| {
            let prefix = self.print_prefix(transport, listener, local);
            if self.names.len() == NAMES {
                self.names.remove(0);
            }
            self.names.push(Name { transport, listener, local, prefix });
            self.names.len() - 1
        });
        &self.names[at].prefix
    }

    fn print_prefix(&self, transport: Transport, listener: u16, local: SocketAddr) -> String {
        let mut prefix = format!("SIP/2.0/{transport} ");
        match self.config.advertised.iter().find(|name| name.listener == listener) {
            Some(name) => prefix.push_str(&name.sent_by),
            // Writing to a String cannot fail. A scope id would mean nothing to the other side.
            None if local.is_ipv6() => drop(write!(prefix, "[{}]:{}", local.ip(), local.port())),
            None => drop(write!(prefix, "{local}")),
        }
        prefix.push_str(";branch=");
        prefix
    }

    /// Sets a timer of a transaction; `None` when it does not run on this transport. A zero length is for the caller.
    pub(super) fn start(&mut self, side: Side, slot: u32, timer: Timer, at: Time) -> TimerToken {
        let at = if timer.is_patient() { at.round_up(self.config.timers.step) } else { at };
        self.timers.insert(at, Due::Transaction { side, slot, timer })
    }

    pub(super) fn stop(&mut self, token: &mut Option<TimerToken>) {
        if let Some(token) = token.take() {
            self.timers.cancel(token);
        }
    }
}
