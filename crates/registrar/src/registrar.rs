//! The table of bindings and what changes it: REGISTER, time, lost connections and pings (RFC 3261 §10).

use crate::binding::{Binding, Device, Reach, address_of, dialable};
use crate::contact::{Asked, AskedContact, Contacts, Refusal, behind_nat, is_special};
use crate::directory::User;
use crate::gruu::{Gruus, Names};
use crate::outbound::{Pace, Ping, PingId, PingKind, Pinging};
use crate::same::{is_elsewhere, is_out_of_order, is_same, is_twin};
use crate::table::Table;
use crate::undo::{Changes, Undo};
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, Uri};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::limit::BINDINGS_PER_USER;
use words::{AccountId, Clock, ConnectionId, Fact, Flow, StoredBinding, Time, Transport, UserId};

/// Settings of a [`Registrar`].
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// Shorter wishes get 423 (RFC 3261 §10.3 item 7).
    pub min_expires: Duration,
    /// Longer wishes are granted this much.
    pub max_expires: Duration,
    /// What a device gets that says nothing.
    pub default_expires: Duration,
    /// The most for devices behind NAT and for those that cannot be dialled when their connection is gone: they must come
    /// back by themselves, and soon.
    pub short_expires: Duration,
    /// How often devices behind NAT are pinged over UDP, and those whose lamps somebody watches; `None`: they are not.
    pub ping_every: Option<Duration>,
    /// What they are pinged with.
    pub ping_kind: PingKind,
    /// How often all others are asked whether they are there, by OPTIONS; `None`: they are not. 10,000 devices that are asked
    /// every two minutes are 83 requests a second.
    pub ask_every: Option<Duration>,
    /// Our own listeners, no wildcards: Contacts must not point there, and UDP bindings of the last run are reachable from
    /// these only.
    pub own: Vec<SocketAddr>,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        RegistrarConfig {
            min_expires: Duration::from_mins(1),
            max_expires: Duration::from_hours(1),
            default_expires: Duration::from_hours(1),
            short_expires: Duration::from_mins(2),
            ping_every: Some(Duration::from_secs(25)),
            ping_kind: PingKind::Options,
            ask_every: Some(Duration::from_mins(2)),
            own: Vec::new(),
        }
    }
}

/// What became of a REGISTER.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// 200 with these headers, once these facts are stored.
    Accepted {
        /// Contact for each binding, Path as it came, Require (RFC 5626 §6).
        headers: Vec<(HeaderName, String)>,
        /// What changed, in order.
        facts: Vec<Fact>,
        /// How it was before, should the store refuse them.
        undo: Undo,
        /// The flows over which its device spoke before: what goes on there goes on here.
        left: Vec<Flow>,
    },
    /// Nothing changed; answer this.
    Refused {
        /// The status.
        status: u16,
        /// The reason phrase.
        reason: &'static str,
        /// What goes with it, such as Min-Expires.
        headers: Vec<(HeaderName, String)>,
    },
}

/// What the registrar wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this ping and say [`Registrar::pinged`].
    Ping(Ping),
    /// Store this.
    Fact {
        /// Whose.
        account: AccountId,
        /// What happened.
        fact: Fact,
    },
    /// Nothing more until then.
    Timeout(Option<Time>),
}

/// Who is reachable where.
///
/// Limits: [`BINDINGS_PER_USER`] bindings per user; the one refreshed longest ago leaves for a new one.
#[derive(Serialize, Deserialize)]
pub struct Registrar {
    #[serde(skip)]
    config: RegistrarConfig,
    #[serde(skip)]
    own: BTreeSet<SocketAddr>,
    peers: BTreeSet<SocketAddr>,
    /// Users whose lamps somebody watches.
    heeded: BTreeSet<UserId>,
    pub(crate) table: Table,
    /// Makes temporary GRUUs.
    pub(crate) names: Option<Names>,
    now: Time,
}

/// A REGISTER and what it is carried out with.
struct Request<'r, 'm> {
    user: &'r User,
    asked: &'r Asked<'m>,
    flow: Flow,
    clock: &'r Clock,
    now: Time,
}

/// A change that was found to be allowed and is still to be made.
struct Change<'a> {
    contact: &'a AskedContact<'a>,
    uri: Uri<'a>,
    /// How long it stands from now; zero removes it.
    expires: Duration,
    nat: bool,
}

impl Registrar {
    /// A registrar without bindings.
    pub fn new(config: RegistrarConfig, now: Time) -> Self {
        Registrar {
            own: config.own.iter().copied().collect(),
            config,
            peers: BTreeSet::new(),
            heeded: BTreeSet::new(),
            table: Table::new(now),
            names: None,
            now,
        }
    }

    /// Takes the configuration of this start: a snapshot has none.
    pub fn configure(&mut self, config: RegistrarConfig) {
        self.own = config.own.iter().copied().collect();
        self.config = config;
    }

    /// The addresses of static peers and trunks: Contacts must not point there.
    pub fn set_peers(&mut self, peers: impl IntoIterator<Item = SocketAddr>) {
        self.peers = peers.into_iter().collect();
    }

    /// Carries out a REGISTER of `user`, who has proven its password and whom the To names. All or nothing.
    pub fn register(&mut self, user: &User, message: &Message, flow: Flow, clock: &Clock, now: Time) -> Outcome {
        self.now = self.now.max(now);
        let outcome =
            Asked::read(message).and_then(|asked| self.carry_out(&Request { user, asked: &asked, flow, clock, now }));
        outcome.unwrap_or_else(|Refusal { status, reason, header }| Outcome::Refused {
            status,
            reason,
            headers: header.into_iter().collect(),
        })
    }

    /// A user's devices in the order in which they are called: by q, then the one that registered last. Of the flows of one
    /// device only the first that is open is called (RFC 5626 §7).
    pub fn lookup(&self, user: UserId, now: Time) -> impl Iterator<Item = Device<'_>> {
        let bindings = self.table.of(user);
        let stands = move |binding: &&Binding| now < binding.expires;
        let second = move |place: usize, binding: &Binding| {
            let mut before = bindings[..place].iter().filter(stands);
            binding.reg_id.is_some()
                && before.any(|other| {
                    other.reg_id.is_some() && other.instance == binding.instance && other.reach() != Reach::Gone
                })
        };
        let first = bindings.iter().enumerate().filter(move |(place, binding)| !second(*place, binding));
        first.map(|(_, binding)| binding).filter(stands).map(move |binding| binding.device(user))
    }

    /// The bindings of a user.
    pub(crate) fn bindings(&self, user: UserId) -> &[Binding] {
        self.table.of(user)
    }

    /// Another flow of a device that can be called when this one fails (RFC 5626 §5.3).
    pub fn other_flow(&self, device: &Device<'_>, now: Time) -> Option<Device<'_>> {
        let (instance, reg_id) = (device.instance?, device.reg_id?);
        let same = |binding: &&Binding| {
            let other = binding.reg_id.is_some_and(|other| other != reg_id);
            other && binding.instance.as_deref() == Some(instance) && now < binding.expires
        };
        let mut flows = self.table.of(device.user).iter().filter(same);
        flows.find(|binding| binding.reach() != Reach::Gone).map(|binding| binding.device(device.user))
    }

    /// All devices, user by user.
    pub fn devices(&self) -> impl Iterator<Item = Device<'_>> {
        self.table.iter().map(|(user, binding)| binding.device(user))
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Whether a user has a binding that came from `source`.
    pub fn is_bound_from(&self, user: UserId, source: IpAddr) -> bool {
        self.table.of(user).iter().any(|binding| binding.flow.remote.ip() == source)
    }

    /// Puts a binding of the last run back. What has expired meanwhile ends at the next [`Registrar::handle_timeout`].
    pub fn restore(&mut self, account: AccountId, user: UserId, stored: StoredBinding, clock: &Clock, now: Time) {
        if self.table.of(user).len() >= BINDINGS_PER_USER {
            return;
        }
        let flow = Flow {
            transport: stored.transport,
            listener: stored.listener,
            connection: ConnectionId::NONE,
            local: stored.local,
            remote: stored.source,
        };
        let id = self.table.next_id();
        let mut binding = Binding {
            id,
            account,
            contact: stored.contact.into(),
            own_key: None,
            call_id: stored.call_id.into(),
            agent: stored.agent.into(),
            instance: stored.instance.map(Into::into),
            path: stored.path.into(),
            home: None,
            flow,
            open: stored.transport == Transport::Udp && (self.own.is_empty() || self.own.contains(&stored.local)),
            nat: stored.nat,
            ice: stored.ice,
            q: stored.q,
            cseq: stored.cseq,
            reg_id: stored.reg_id,
            // A wall clock that was set back must not make a binding last for years.
            expires: clock.time_at(stored.expires).min(now + self.config.max_expires),
            refreshed: now,
            renewed: false,
            pinging: None,
            // Its device gets new ones when it registers again.
            gruus: None,
            timer: None,
        };
        if stored.key != binding.common_key() {
            binding.own_key = Some(stored.key.into());
        }
        let due = self.pace(user, &binding).map(|pace| now + pace.spread(id));
        Pinging::set(&mut binding.pinging, due);
        self.table.insert(user, binding);
    }

    /// From now on somebody wants to know soon when a device of this user is unplugged, or nobody does any more.
    pub fn heed(&mut self, user: UserId, on: bool, now: Time) {
        self.now = self.now.max(now);
        let changed = if on { self.heeded.insert(user) } else { self.heeded.remove(&user) };
        let ids: SmallVec<[u32; 4]> = self.table.of(user).iter().map(|binding| binding.id).collect();
        for id in ids.into_iter().filter(|_| changed) {
            let found = self.table.of(user).iter().find(|binding| binding.id == id);
            let due = found.and_then(|binding| self.pace(user, binding)).map(|pace| now + pace.spread(id));
            let Some(binding) = self.table.find_mut(user, id) else { continue };
            Pinging::set(&mut binding.pinging, due);
            self.table.rearm(user, id);
        }
    }

    /// Forgets all bindings of a user: its password changed, or it is disabled or gone.
    pub fn drop_user(&mut self, user: UserId) -> Vec<Fact> {
        let mut changes = Changes::of(user);
        self.end_all(user, &mut changes);
        changes.facts
    }

    fn end_all(&mut self, user: UserId, changes: &mut Changes) {
        let ids: SmallVec<[u32; 4]> = self.table.of(user).iter().map(|binding| binding.id).collect();
        self.table.end(user, ids, changes);
    }

    /// A connection is gone: who came over it can be called only where it can be dialled. The bindings stay, as the device
    /// may; gives back whose they are.
    pub fn flow_closed(&mut self, connection: ConnectionId) -> Vec<UserId> {
        self.table.close(connection)
    }

    /// What became of a ping: `alive` when anything came back.
    pub fn pinged(&mut self, id: PingId, alive: bool, now: Time) {
        let pinging = self.table.find_mut(id.user, id.binding).and_then(|found| found.pinging.as_mut());
        if pinging.is_some_and(|pinging| pinging.result(alive, now)) {
            self.table.rearm(id.user, id.binding);
        }
    }

    /// Lets what is due happen; [`Registrar::poll`] says what it is.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// When [`Registrar::handle_timeout`] should be called next.
    pub fn next_at(&self) -> Option<Time> {
        self.table.next_at()
    }

    /// The next thing to do; [`Output::Timeout`] is the last.
    pub fn poll(&mut self) -> Output {
        while let Some((user, id)) = self.table.due(self.now) {
            if let Some(output) = self.wake(user, id) {
                return output;
            }
        }
        Output::Timeout(self.table.next_at())
    }

    /// Whether the table holds together; tests ask after every input.
    pub fn check(&self) -> Result<(), String> {
        self.table.check()
    }

    fn carry_out(&mut self, request: &Request<'_, '_>) -> Result<Outcome, Refusal> {
        let &Request { user, asked, now, .. } = request;
        let mut changes = Changes::of(user.id);
        match &asked.contacts {
            Contacts::Star => {
                // RFC 3261 §10.3 item 6: nothing is removed unless all may be.
                if self.table.of(user.id).iter().any(|binding| is_out_of_order(binding, asked, now)) {
                    return Err(OUT_OF_ORDER);
                }
                self.end_all(user.id, &mut changes);
            }
            Contacts::These(contacts) => {
                let planned = contacts.iter().map(|contact| self.plan(request, contact));
                let planned: SmallVec<[Change<'_>; 2]> = planned.collect::<Result<_, _>>()?;
                for change in planned {
                    self.make(request, &change, &mut changes);
                }
            }
        }
        let current = self.table.of(user.id).iter().filter(|binding| now < binding.expires);
        let mut headers: Vec<_> = current
            .map(|binding| (HeaderName::Contact, binding.contact_value(user.id, self.names.as_ref(), now)))
            .collect();
        // RFC 3327 §5.3: the device is shown the Path that calls to it will take.
        headers.extend(asked.path.iter().map(|&value| (HeaderName::Path, value.to_owned())));
        if asked.uses_outbound() {
            headers.push((HeaderName::Require, "outbound".to_owned()));
            if request.flow.transport != Transport::Udp {
                // RFC 5626 §5.4. Over UDP a device keeps its router's mapping open more often than we would ask for.
                headers.push((HeaderName::FlowTimer, FLOW_TIMER_S.to_string()));
            }
        }
        if asked.gruu || asked.uses_outbound() {
            headers.push((HeaderName::Supported, "path, outbound, gruu".to_owned()));
        }
        let Changes { facts, undo } = changes;
        let left = undo.left(asked, &request.flow);
        Ok(Outcome::Accepted { headers, facts, undo, left })
    }

    /// RFC 3261 §10.3 item 7, without changing anything yet.
    fn plan<'a>(&self, request: &Request<'_, '_>, contact: &'a AskedContact<'a>) -> Result<Change<'a>, Refusal> {
        let Request { user, asked, flow, now, .. } = request;
        let uri = Uri::parse(contact.uri).map_err(|_| Refusal::new(400, "Bad Contact: not a URI"))?;
        let nat = behind_nat(&uri, flow, &asked.path, user.nat);
        let existing = self.same(request, contact, &uri, nat);
        if existing.is_some_and(|binding| *now < binding.expires && is_out_of_order(binding, asked, *now)) {
            return Err(OUT_OF_ORDER);
        }
        let wish = contact.expires.or(asked.expires);
        let wish = wish.map_or(self.config.default_expires, |seconds| Duration::from_secs(seconds.into()));
        if wish.is_zero() {
            return Ok(Change { contact, uri, expires: wish, nat });
        }
        self.check_address(&uri, flow)?;
        if wish < self.config.min_expires {
            let least = self.config.min_expires.as_secs().to_string();
            let header = Some((HeaderName::MinExpires, least));
            return Err(Refusal { status: 423, reason: "Interval Too Brief: Min-Expires names the shortest", header });
        }
        let comes_back_soon = match flow.transport {
            Transport::Udp => nat,
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                !asked.path.is_empty() || dialable(flow.transport, nat, contact.uri, &[]).is_none()
            }
        };
        let most = if comes_back_soon {
            self.config.short_expires.max(self.config.min_expires)
        } else {
            self.config.max_expires
        };
        Ok(Change { contact, uri, expires: wish.min(most), nat })
    }

    /// Devices must not claim to be at our own addresses, at a trunk's, or where nobody can be.
    fn check_address(&self, uri: &Uri<'_>, flow: &Flow) -> Result<(), Refusal> {
        let Some(address) = address_of(uri, flow.transport) else { return Ok(()) };
        if self.own.contains(&address) || address == flow.local {
            return Err(Refusal::new(403, "Forbidden: the Contact is this server"));
        }
        if self.peers.contains(&address) {
            return Err(Refusal::new(403, "Forbidden: the Contact is a trunk or peer"));
        }
        if is_special(address, flow) {
            return Err(Refusal::new(403, "Forbidden: no device can be at the Contact's address"));
        }
        Ok(())
    }

    /// The binding that a Contact means: of several the one of its own Call-ID.
    fn same(
        &self,
        request: &Request<'_, '_>,
        contact: &AskedContact<'_>,
        uri: &Uri<'_>,
        nat: bool,
    ) -> Option<&Binding> {
        let Request { user, asked, flow, .. } = request;
        let same = self.table.of(user.id).iter().filter(|binding| is_same(binding, contact, uri));
        let same = same.filter(|binding| !is_elsewhere(binding, contact, asked, flow, nat));
        same.min_by_key(|binding| *binding.call_id != *asked.call_id)
    }

    fn make(&mut self, request: &Request<'_, '_>, change: &Change<'_>, changes: &mut Changes) {
        let user = request.user.id;
        let same = self.same(request, change.contact, &change.uri, change.nat).map(|binding| binding.id);
        if change.expires.is_zero() {
            self.table.end(user, same, changes);
            return;
        }
        let before = same.and_then(|id| self.table.take(user, id));
        // Another spelling of the same URI: the store knows it by the old one.
        let earlier = before.clone();
        let mut binding = self.renewed(before, request, change);
        let respelled = earlier.as_ref().filter(|old| old.contact != binding.contact && old.key() != binding.key());
        changes.facts.extend(respelled.map(|old| Fact::Unbound { user, key: old.key() }));
        if self.table.of(user).iter().any(|other| other.key() == binding.key() && !is_twin(other, &binding)) {
            binding.own_key = Some(format!("{};{}", binding.common_key(), binding.call_id).into());
        }
        // A device that came back over another connection under another port: its last binding rings nobody.
        let twins: SmallVec<[u32; 2]> =
            self.table.of(user).iter().filter(|old| is_twin(old, &binding)).map(|old| old.id).collect();
        self.table.end(user, twins, changes);
        // The owner must always be able to register.
        let leaves = self.table.first_to_go(user);
        self.table.end(user, leaves, changes);
        changes.bound(earlier, &binding, request.clock);
        self.table.insert(user, binding);
    }

    /// The binding as the REGISTER wants it, from the one before where there was one.
    fn renewed(&mut self, before: Option<Binding>, request: &Request<'_, '_>, change: &Change<'_>) -> Binding {
        let &Request { user, asked, flow, now, .. } = request;
        let (contact, again) = (change.contact, before.is_some());
        let mut binding = before.unwrap_or_else(|| Binding {
            id: self.table.next_id(),
            account: user.account,
            contact: Box::default(),
            own_key: None,
            call_id: Box::default(),
            agent: Box::default(),
            instance: None,
            path: Box::default(),
            home: None,
            flow,
            open: true,
            nat: change.nat,
            ice: contact.ice,
            q: contact.q,
            cseq: asked.cseq,
            reg_id: contact.reg_id,
            expires: now,
            refreshed: now,
            renewed: false,
            pinging: None,
            gruus: None,
            timer: None,
        });
        // A device that began anew has none of its earlier temporary GRUUs (RFC 5627 §5.4.2).
        let earlier = binding.gruus.take().filter(|_| *binding.call_id == *asked.call_id);
        binding.gruus = match (asked.host, contact.instance) {
            (Some(host), Some(_)) => Some(Gruus::renewed(earlier, &user.extension, host, self.names.as_mut())),
            (Some(_) | None, _) => None,
        };
        keep(&mut binding.contact, contact.uri);
        keep(&mut binding.call_id, asked.call_id);
        keep(&mut binding.agent, asked.agent);
        if binding.instance.as_deref() != contact.instance {
            binding.instance = contact.instance.map(Into::into);
        }
        if *binding.path != *asked.path {
            binding.path = asked.path.iter().map(|&value| value.to_owned()).collect();
        }
        let home = asked.home.filter(|home| !home.eq_ignore_ascii_case(&user.realm));
        if binding.home.as_deref() != home {
            binding.home = home.map(Into::into);
        }
        (binding.flow, binding.open, binding.nat) = (flow, true, change.nat);
        (binding.q, binding.cseq, binding.reg_id) = (contact.q, asked.cseq, contact.reg_id);
        binding.ice = contact.ice;
        (binding.expires, binding.refreshed, binding.renewed) = (now + change.expires, now, again);
        let is_new = binding.pinging.is_none();
        if let Some(pinging) = &mut binding.pinging {
            pinging.heard();
        }
        let due = self.pace(user.id, &binding).map(|pace| now + if is_new { pace.first } else { pace.every });
        Pinging::set(&mut binding.pinging, due);
        binding
    }

    /// A binding of before is there again.
    pub(crate) fn put_back(&mut self, user: UserId, mut binding: Binding, now: Time) {
        let due = self.pace(user, &binding).map(|pace| now + pace.spread(binding.id));
        Pinging::set(&mut binding.pinging, due);
        self.table.insert(user, binding);
    }

    /// How often the device is asked, and with what; `None` when it is not.
    fn pace(&self, user: UserId, binding: &Binding) -> Option<Pace> {
        Pace::of(&self.config, binding, self.heeded.contains(&user))
    }

    /// A binding's timer fired: it has ended, or wants a ping.
    fn wake(&mut self, user: UserId, id: u32) -> Option<Output> {
        let now = self.now;
        let binding = self.table.find_mut(user, id)?;
        if binding.expires <= now {
            let binding = self.table.take(user, id)?;
            let fact = Fact::Unbound { user, key: binding.key() };
            return Some(Output::Fact { account: binding.account, fact });
        }
        let binding = self.table.of(user).iter().find(|binding| binding.id == id)?;
        let pace = self.pace(user, binding);
        let binding = self.table.find_mut(user, id)?;
        let mut ping = None;
        if pace.is_none() {
            // Its connection is gone.
            binding.pinging = None;
        } else if let (Some(Pace { every, kind, .. }), Some(pinging)) = (pace, &mut binding.pinging)
            && pinging.next <= now
        {
            pinging.send(kind, every, now);
            let id = PingId { user, binding: id };
            let (contact, path) = (binding.contact.to_string(), binding.path.to_vec());
            ping = Some(Output::Ping(Ping { id, flow: binding.flow, contact, path, kind }));
        }
        self.table.rearm(user, id);
        ping
    }
}

/// Writes only what changed: a refresh says the same again.
fn keep(place: &mut Box<str>, text: &str) {
    if **place != *text {
        *place = text.into();
    }
}

/// After so long without a sign of life a stream may be taken for dead (RFC 5626 §5.4). Units: seconds.
const FLOW_TIMER_S: u32 = 120;

const OUT_OF_ORDER: Refusal = Refusal::new(500, "Server Internal Error: CSeq is not higher than before");

#[cfg(test)]
mod tests;
