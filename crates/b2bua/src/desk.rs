//! What all calls share: chance, timers, ports, the names of transactions, and what is to leave.

use crate::config::Config;
use crate::event::{Output, Refusal};
use crate::leg::Leg;
use crate::single::Sources;
use crate::tag::Tag;
use media::command::{Family, MediaCommand, PortPair};
use media::ports::PortPool;
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, HeaderName, Message, MessageBuilder, Outgoing, ServerTxn};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use words::{AccountId, Chance, ConnectionId, Fact, Flow, LegId, OwnMap, Time, TimerQueue, TimerToken};

/// The desk at which calls are worked on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Desk {
    #[serde(skip)]
    pub(crate) config: Config,
    pub(crate) chance: Chance,
    pub(crate) pool: PortPool,
    /// Who shares the one media port.
    #[serde(default)]
    pub(crate) sources: Sources,
    /// How many calls are not over.
    pub(crate) live: usize,
    /// Ends that were closed and whose ports are not free yet, and whose they are.
    pub(crate) closing: OwnMap<LegId, (PortPair, AccountId)>,
    /// What users of accounts type that have said so themselves.
    #[serde(default)]
    pub(crate) typed_transfers: BTreeMap<AccountId, Box<str>>,
    /// Whether somebody looks at calls as they change.
    pub(crate) observed: bool,
    /// Calls whose transfer wants something of another call.
    pub(crate) errands: Vec<u32>,
    /// Where legs are that came from another call, by the chance in their tags.
    moved: OwnMap<u64, Moved>,
    /// Where the answers to their INVITEs go.
    moved_txns: OwnMap<ClientTxn, u32>,
    #[serde(skip)]
    outputs: VecDeque<Output>,
    timers: TimerQueue<(u32, Due)>,
    /// INVITEs that wait for our final answer or for the ACK to it: slot and leg.
    invites: OwnMap<ServerTxn, (u32, u16)>,
    /// Which calls have a leg on a connection.
    connections: OwnMap<ConnectionId, Vec<u32>>,
    /// Our addresses as text: few, and needed in each message that makes a dialog.
    #[serde(skip)]
    hosts: Vec<(SocketAddr, String)>,
    next_txn: u64,
}

/// A leg that came from another call.
#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    /// Where it is.
    slot: u32,
    /// Its INVITEs from before.
    txns: [Option<ClientTxn>; 2],
}

/// A timer of a call: at most one of each runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Due {
    /// Nobody told the call what to do.
    Plan,
    /// It rang long enough.
    Ring,
    /// A provisional answer is repeated, lest proxies give up (RFC 3261 §13.3.1.1).
    Refresh,
    /// [`crate::Step::AnswerAfter`].
    Delay,
    /// A server says nothing, and there are others (RFC 3263 §4.3).
    Server,
    /// A leg does not answer a re-INVITE.
    Exchange,
    /// Whether a leg is free to be asked for a transfer.
    Join,
    /// Whether somebody who waits can come into an answered call.
    Newcomer,
    /// The call lasts too long.
    Limit,
    /// A provisional answer has no PRACK yet (RFC 3262 §3).
    Reliable,
    /// A session is to be refreshed, or was not (RFC 4028).
    Session,
    /// What a REFER made is watched no longer (RFC 6665 §4.2.1.4).
    Referral,
    /// A connection closed under an answered leg, and it did not come back.
    Lost,
    /// The last answers of an ended call did not come.
    Linger,
}

/// How many kinds of [`Due`] there are.
pub(crate) const DUES: usize = Due::Linger as usize + 1;

/// All of them, in their order.
const ALL: [Due; DUES] = [
    Due::Plan,
    Due::Ring,
    Due::Refresh,
    Due::Delay,
    Due::Server,
    Due::Exchange,
    Due::Join,
    Due::Newcomer,
    Due::Limit,
    Due::Reliable,
    Due::Session,
    Due::Referral,
    Due::Lost,
    Due::Linger,
];

/// The timers of a call in a snapshot, by name: another release may have more of them.
pub(crate) mod by_due {
    use super::{ALL, DUES, Due};
    use serde::{Deserialize as _, Deserializer, Serializer};
    use words::TimerToken;

    type Timers = [Option<TimerToken>; DUES];

    pub(crate) fn serialize<S: Serializer>(timers: &Timers, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ALL.iter().zip(timers).filter_map(|(due, token)| Some((due, token.as_ref()?))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timers, D::Error> {
        let mut timers = [None; DUES];
        for (due, token) in Vec::<(Due, TimerToken)>::deserialize(deserializer)? {
            timers[due as usize] = Some(token);
        }
        Ok(timers)
    }
}

impl Desk {
    pub(crate) fn new(config: Config, mut chance: Chance, now: Time) -> Self {
        let pool = PortPool::new(config.ports, chance.fork());
        let mut desk = Desk {
            config,
            chance,
            pool,
            sources: Sources::default(),
            live: 0,
            closing: OwnMap::default(),
            typed_transfers: BTreeMap::new(),
            observed: false,
            errands: Vec::new(),
            moved: OwnMap::default(),
            moved_txns: OwnMap::default(),
            outputs: VecDeque::new(),
            timers: TimerQueue::new(now),
            invites: OwnMap::default(),
            connections: OwnMap::default(),
            hosts: Vec::new(),
            next_txn: 0,
        };
        for family in desk.config.families.clone() {
            desk.stock(family, now);
        }
        desk
    }

    /// Asks for more ports when they run low.
    pub(crate) fn stock(&mut self, family: Family, now: Time) {
        if let Some(command) = self.pool.wants_stock(family, now) {
            self.push(Output::Media(command));
        }
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn say(&mut self, account: AccountId, fact: Fact) {
        self.push(Output::Fact { account, fact });
    }

    pub(crate) fn media(&mut self, command: MediaCommand) {
        self.push(Output::Media(command));
    }

    /// A failure as whoever found the fault says it, in a dialog's tag of ours.
    pub(crate) fn refuse(&mut self, tag: &str, txn: ServerTxn, request: &Message, refusal: &Refusal) {
        let mut builder = MessageBuilder::response(request, refusal.status, refusal.reason, Some(tag));
        builder.push_header(HeaderName::Server, &self.config.server);
        if let Some((name, value)) = &refusal.header {
            builder.push_header(*name, value);
        }
        self.respond(txn, builder);
    }

    pub(crate) fn respond(&mut self, txn: ServerTxn, builder: MessageBuilder) {
        self.push(Output::Respond { txn, response: Outgoing { builder, body: None }, after_facts: false });
    }

    pub(crate) fn poll(&mut self) -> Output {
        match self.outputs.pop_front() {
            Some(output) => output,
            None => Output::Timeout(self.timers.next_at()),
        }
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        [self.timers.next_at(), self.pool.next_at()].into_iter().flatten().min()
    }

    pub(crate) fn set_timer(&mut self, slot: u32, due: Due, at: Time) -> TimerToken {
        self.timers.insert(at, (slot, due))
    }

    pub(crate) fn clear_timer(&mut self, token: TimerToken) {
        self.timers.cancel(token);
    }

    pub(crate) fn pop_timer(&mut self, now: Time) -> Option<(u32, Due)> {
        self.timers.pop(now)
    }

    pub(crate) fn timers(&self) -> usize {
        self.timers.len()
    }

    /// A fresh name for a transaction of ours: the call's slot above, a count below. The topmost bit stays clear.
    pub(crate) fn client_txn(&mut self, slot: u32) -> ClientTxn {
        self.next_txn = (self.next_txn + 1) & TXN_COUNT;
        ClientTxn(u64::from(slot) << TXN_BITS | self.next_txn)
    }

    /// The slot of the call that a transaction of ours belongs to.
    pub(crate) fn slot_of(&self, txn: ClientTxn) -> u32 {
        if !self.moved_txns.is_empty()
            && let Some(&slot) = self.moved_txns.get(&txn)
        {
            return slot;
        }
        (txn.0 >> TXN_BITS) as u32
    }

    /// A leg is in another call from now on: its tag and the INVITEs that it was sent there say otherwise.
    pub(crate) fn move_leg(&mut self, leg: &mut Leg, slot: u32) {
        self.forget_moved(leg);
        leg.more().moved = true;
        let txns = [leg.ours.as_ref().map(|ours| ours.txn), leg.earlier.as_ref().map(|earlier| earlier.txn)];
        for txn in txns.into_iter().flatten() {
            self.moved_txns.insert(txn, slot);
        }
        self.moved.insert(leg.tag.chance, Moved { slot, txns });
    }

    /// It is gone, or moves on.
    pub(crate) fn forget_moved(&mut self, leg: &Leg) {
        if !leg.is_moved() {
            return;
        }
        let moved = self.moved.remove(&leg.tag.chance);
        for txn in moved.into_iter().flat_map(|moved| moved.txns).flatten() {
            self.moved_txns.remove(&txn);
        }
    }

    /// The slot of the call that a leg with this tag moved to.
    pub(crate) fn moved_to(&self, tag: Tag) -> Option<u32> {
        self.moved.get(&tag.chance).map(|moved| moved.slot)
    }

    /// How many legs moved.
    pub(crate) fn moved(&self) -> usize {
        self.moved.len()
    }

    pub(crate) fn tag(&mut self, slot: u32, leg: u16) -> Tag {
        Tag { shard: self.config.shard.0, slot, leg, chance: self.chance.u64() }
    }

    pub(crate) fn watch(&mut self, txn: ServerTxn, slot: u32, leg: u16) {
        self.invites.insert(txn, (slot, leg));
    }

    pub(crate) fn unwatch(&mut self, txn: ServerTxn) {
        self.invites.remove(&txn);
    }

    pub(crate) fn watched(&self, txn: ServerTxn) -> Option<(u32, u16)> {
        self.invites.get(&txn).copied()
    }

    pub(crate) fn watching(&self) -> usize {
        self.invites.len()
    }

    /// A leg of a call speaks over a connection.
    pub(crate) fn enter(&mut self, connection: ConnectionId, slot: u32) {
        if connection != ConnectionId::NONE {
            self.connections.entry(connection).or_default().push(slot);
        }
    }

    /// It no longer does.
    pub(crate) fn leave(&mut self, connection: ConnectionId, slot: u32) {
        if connection == ConnectionId::NONE {
            return;
        }
        if let Some(slots) = self.connections.get_mut(&connection) {
            if let Some(at) = slots.iter().position(|&other| other == slot) {
                slots.swap_remove(at);
            }
            if slots.is_empty() {
                self.connections.remove(&connection);
            }
        }
    }

    /// The calls with a leg on a connection that closed.
    pub(crate) fn on_connection(&self, connection: ConnectionId) -> Vec<u32> {
        let mut slots = self.connections.get(&connection).cloned().unwrap_or_default();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// `host:port` of our side of a flow, as the other side should be told it.
    pub(crate) fn host_port(&mut self, flow: &Flow) -> &str {
        let address = SocketAddr::new(self.address(flow), flow.local.port());
        let at = self.hosts.iter().position(|(known, _)| *known == address).unwrap_or_else(|| {
            if self.hosts.len() >= HOSTS {
                self.hosts.clear();
            }
            self.hosts.push((address, address.to_string()));
            self.hosts.len() - 1
        });
        &self.hosts[at].1
    }

    /// Our address as the other side of a flow should be told it.
    pub(crate) fn address(&self, flow: &Flow) -> IpAddr {
        let local = flow.local.ip().to_canonical();
        match self.config.advertised {
            Some(public) if public.is_ipv4() == local.is_ipv4() && is_public(flow.remote.ip().to_canonical()) => public,
            _ => local,
        }
    }
}

/// How many of our own addresses are kept as text.
const HOSTS: usize = 64;

/// Whether an address lies outside the ranges that never leave a site.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

/// How many bits of a transaction's name count.
const TXN_BITS: u32 = 40;
const TXN_COUNT: u64 = (1 << TXN_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use words::Seed;

    #[test]
    fn transactions_tell_their_slot() {
        let mut desk = Desk::new(Config::default(), Chance::new(Seed::from_number(1)), Time::ZERO);
        let slot = crate::config::CALLS_MAX as u32 * 2 - 1;
        let (a, b) = (desk.client_txn(slot), desk.client_txn(0));
        assert_eq!((desk.slot_of(a), desk.slot_of(b)), (slot, 0));
        assert!(a.0 >> 63 == 0 && a != b);
    }

    #[test]
    fn only_the_outside_is_told_the_public_address() {
        let config = Config { advertised: Some("203.0.113.1".parse().unwrap()), ..Config::default() };
        let desk = Desk::new(config, Chance::new(Seed::from_number(1)), Time::ZERO);
        let flow = |remote: &str| Flow {
            transport: words::Transport::Udp,
            listener: 0,
            connection: ConnectionId::NONE,
            local: "10.0.0.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
        };
        assert_eq!(desk.address(&flow("198.51.100.7:5060")).to_string(), "203.0.113.1");
        assert_eq!(desk.address(&flow("192.168.1.7:5060")).to_string(), "10.0.0.1");
    }
}
