//! The table of bindings and what changes it: REGISTER, time, lost connections and pings (RFC 3261 §10).

use crate::binding::{Binding, Device, Reach, address_of, dialable};
use crate::contact::{Asked, AskedContact, Contacts, Refusal, behind_nat, is_special};
use crate::directory::User;
use crate::outbound::{Ping, PingId, PingKind, Pinging};
use sip::{HeaderName, Message, Uri};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::limit::BINDINGS_PER_USER;
use words::{AccountId, Clock, ConnectionId, Fact, Flow, StoredBinding, Time, TimerQueue, Transport, UserId};

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
    /// How often devices behind NAT are pinged over UDP; `None` switches pings off.
    pub ping_every: Option<Duration>,
    /// What they are pinged with.
    pub ping_kind: PingKind,
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
pub struct Registrar {
    config: RegistrarConfig,
    own: BTreeSet<SocketAddr>,
    peers: BTreeSet<SocketAddr>,
    /// Each user's bindings in the order in which they are called; never an empty list.
    users: BTreeMap<UserId, Vec<Binding>>,
    /// The users whose devices came over a connection.
    connections: HashMap<ConnectionId, SmallVec<[UserId; 1]>>,
    timers: TimerQueue<(UserId, u32)>,
    now: Time,
    last_id: u32,
    bindings: usize,
}

/// A change that was found to be allowed and is still to be made.
struct Change<'a> {
    contact: AskedContact<'a>,
    existing: Option<u32>,
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
            users: BTreeMap::new(),
            connections: HashMap::new(),
            timers: TimerQueue::new(now),
            now,
            last_id: 0,
            bindings: 0,
        }
    }

    /// The addresses of static peers and trunks: Contacts must not point there.
    pub fn set_peers(&mut self, peers: impl IntoIterator<Item = SocketAddr>) {
        self.peers = peers.into_iter().collect();
    }

    /// Carries out a REGISTER of `user`, who has proven its password and whom the To names. All or nothing.
    pub fn register(&mut self, user: &User, message: &Message, flow: Flow, clock: &Clock, now: Time) -> Outcome {
        self.now = self.now.max(now);
        match self.carry_out(user, message, flow, clock, now) {
            Ok(outcome) => outcome,
            Err(Refusal { status, reason, header }) => {
                Outcome::Refused { status, reason, headers: header.into_iter().collect() }
            }
        }
    }

    /// A user's devices in the order in which they are called: by q, then the one that registered last.
    pub fn lookup(&self, user: UserId, now: Time) -> impl Iterator<Item = Device<'_>> {
        let bindings = self.users.get(&user).map_or(&[][..], Vec::as_slice);
        bindings.iter().filter(move |binding| now < binding.expires).map(move |binding| binding.device(user))
    }

    /// All devices, user by user.
    pub fn devices(&self) -> impl Iterator<Item = Device<'_>> {
        self.users.iter().flat_map(|(&user, bindings)| bindings.iter().map(move |binding| binding.device(user)))
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.bindings
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bindings == 0
    }

    /// Whether a user has a binding that came from `source`.
    pub fn is_bound_from(&self, user: UserId, source: IpAddr) -> bool {
        let bindings = self.users.get(&user).map_or(&[][..], Vec::as_slice);
        bindings.iter().any(|binding| binding.flow.remote.ip() == source)
    }

    /// Puts a binding of the last run back. What has expired meanwhile ends at the next [`Registrar::handle_timeout`].
    pub fn restore(&mut self, account: AccountId, user: UserId, stored: StoredBinding, clock: &Clock, now: Time) {
        let udp = stored.transport == Transport::Udp;
        let flow = Flow {
            transport: stored.transport,
            listener: stored.listener,
            connection: ConnectionId::NONE,
            local: stored.local,
            remote: stored.source,
        };
        if self.users.get(&user).is_some_and(|bindings| bindings.len() >= BINDINGS_PER_USER) {
            return;
        }
        // A wall clock that was set back must not make a binding last for years.
        let expires = clock.time_at(stored.expires).min(now + self.config.max_expires);
        let id = self.next_id();
        let mut binding = Binding {
            id,
            account,
            contact: stored.contact.into(),
            call_id: stored.call_id.into(),
            agent: stored.agent.into(),
            instance: stored.instance.map(Into::into),
            path: stored.path.into(),
            flow,
            open: udp && self.own.contains(&stored.local),
            nat: stored.nat,
            q: stored.q,
            cseq: stored.cseq,
            reg_id: stored.reg_id,
            expires,
            pinging: None,
            timer: self.timers.insert(expires, (user, id)),
        };
        if let Some(every) = self.pings(&binding) {
            // Spread, or all devices of the exchange were pinged in the same moment after each start.
            let share = id.wrapping_mul(0x9e37_79b9) >> 22;
            binding.pinging = Some(Box::new(Pinging::from(now + every * share / 1_024)));
        }
        self.rearm(&mut binding, user);
        self.insert(user, binding);
    }

    /// Forgets all bindings of a user: its password changed, or it is disabled or gone.
    pub fn drop_user(&mut self, user: UserId) -> Vec<Fact> {
        let bindings = self.users.remove(&user).unwrap_or_default();
        self.bindings -= bindings.len();
        bindings.into_iter().map(|binding| self.end(user, &binding)).collect()
    }

    /// A connection is gone: who came over it can be called only where it can be dialled. The bindings stay, as the device
    /// may; gives back whose they are.
    pub fn flow_closed(&mut self, connection: ConnectionId) -> SmallVec<[UserId; 1]> {
        let users = self.connections.remove(&connection).unwrap_or_default();
        for user in &users {
            let bindings = self.users.get_mut(user).into_iter().flatten();
            for binding in bindings.filter(|binding| binding.flow.connection == connection) {
                binding.open = false;
            }
        }
        users
    }

    /// What became of a ping: `alive` when anything came back.
    pub fn pinged(&mut self, id: PingId, alive: bool, now: Time) {
        let bindings = self.users.get_mut(&id.user).into_iter().flatten();
        for binding in bindings.filter(|binding| binding.id == id.binding) {
            if let Some(pinging) = &mut binding.pinging {
                pinging.result(alive, now);
            }
        }
    }

    /// Lets what is due happen; [`Registrar::poll`] says what it is.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// When [`Registrar::handle_timeout`] should be called next.
    pub fn next_at(&self) -> Option<Time> {
        self.timers.next_at()
    }

    /// The next thing to do; [`Output::Timeout`] is the last.
    pub fn poll(&mut self) -> Output {
        while let Some((user, id)) = self.timers.pop(self.now) {
            if let Some(output) = self.wake(user, id) {
                return output;
            }
        }
        Output::Timeout(self.timers.next_at())
    }

    /// Whether the table holds together; tests ask after every input.
    pub fn check(&self) -> Result<(), String> {
        let counted: usize = self.users.values().map(Vec::len).sum();
        let streams = |binding: &&Binding| binding.open && binding.flow.connection != ConnectionId::NONE;
        for (user, bindings) in &self.users {
            if bindings.is_empty() || bindings.len() > BINDINGS_PER_USER {
                return Err(format!("{user:?} has {} bindings", bindings.len()));
            }
            let lost = |binding: &Binding| {
                !self.connections.get(&binding.flow.connection).is_some_and(|users| users.contains(user))
            };
            if bindings.iter().filter(streams).any(lost) {
                return Err(format!("a connection of {user:?} does not know it"));
            }
        }
        if (counted, counted) == (self.bindings, self.timers.len()) {
            Ok(())
        } else {
            Err(format!("{counted} bindings, counted {}, with {} timers", self.bindings, self.timers.len()))
        }
    }

    fn carry_out(
        &mut self,
        user: &User,
        message: &Message,
        flow: Flow,
        clock: &Clock,
        now: Time,
    ) -> Result<Outcome, Refusal> {
        let asked = Asked::read(message)?;
        let mut facts = Vec::new();
        match &asked.contacts {
            Contacts::Star => self.remove_all(user.id, &asked, &mut facts)?,
            Contacts::These(contacts) => {
                let changes = contacts.iter().map(|contact| self.plan(user, contact, &asked, &flow, now));
                let changes: SmallVec<[Change<'_>; 2]> = changes.collect::<Result<_, _>>()?;
                for change in changes {
                    self.make(user, change, &asked, flow, clock, now, &mut facts);
                }
            }
        }
        let bindings = self.users.get(&user.id).map_or(&[][..], Vec::as_slice);
        let mut headers = Vec::with_capacity(bindings.len() + 1);
        let current = bindings.iter().filter(|binding| now < binding.expires);
        headers.extend(current.map(|binding| (HeaderName::Contact, binding.contact_value(now))));
        // RFC 3327 §5.3: the device is shown the Path that calls to it will take.
        headers.extend(asked.path.iter().map(|&value| (HeaderName::Path, value.to_owned())));
        if asked.uses_outbound() {
            headers.push((HeaderName::Require, "outbound".to_owned()));
        }
        Ok(Outcome::Accepted { headers, facts })
    }

    /// RFC 3261 §10.3 item 6: nothing is removed unless all may be.
    fn remove_all(&mut self, user: UserId, asked: &Asked<'_>, facts: &mut Vec<Fact>) -> Result<(), Refusal> {
        let bindings = self.users.get(&user).map_or(&[][..], Vec::as_slice);
        if bindings.iter().any(|binding| is_out_of_order(binding, asked)) {
            return Err(OUT_OF_ORDER);
        }
        facts.extend(self.drop_user(user));
        Ok(())
    }

    /// RFC 3261 §10.3 item 7, without changing anything yet.
    fn plan<'a>(
        &self,
        user: &User,
        contact: &AskedContact<'a>,
        asked: &Asked<'_>,
        flow: &Flow,
        now: Time,
    ) -> Result<Change<'a>, Refusal> {
        let uri = Uri::parse(contact.uri).map_err(|_| Refusal::new(400, "Bad Contact: not a URI"))?;
        let bindings = self.users.get(&user.id).map_or(&[][..], Vec::as_slice);
        let existing = bindings.iter().find(|binding| is_same(binding, contact, &uri));
        if existing.is_some_and(|binding| now < binding.expires && is_out_of_order(binding, asked)) {
            return Err(OUT_OF_ORDER);
        }
        let nat = behind_nat(&uri, flow, &asked.path, user.nat);
        let wish = contact.expires.or(asked.expires);
        let wish = wish.map_or(self.config.default_expires, |seconds| Duration::from_secs(seconds.into()));
        if !wish.is_zero() {
            self.check_address(&uri, flow)?;
            if wish < self.config.min_expires {
                let least = self.config.min_expires.as_secs().to_string();
                let header = Some((HeaderName::MinExpires, least));
                return Err(Refusal { status: 423, reason: "Interval Too Brief", header });
            }
        }
        let most = if self.comes_back_soon(flow, nat, contact, asked) {
            self.config.short_expires.max(self.config.min_expires)
        } else {
            self.config.max_expires
        };
        let existing = existing.map(|binding| binding.id);
        Ok(Change { contact: contact.clone(), existing, expires: wish.min(most), nat })
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

    /// Whether a device must be made to come back soon: its way to us may be gone without a sign.
    fn comes_back_soon(&self, flow: &Flow, nat: bool, contact: &AskedContact<'_>, asked: &Asked<'_>) -> bool {
        match flow.transport {
            Transport::Udp => nat,
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                !asked.path.is_empty() || dialable(flow.transport, nat, contact.uri, &[]).is_none()
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the REGISTER, where it came from and when, and what it leads to")]
    fn make(
        &mut self,
        user: &User,
        change: Change<'_>,
        asked: &Asked<'_>,
        flow: Flow,
        clock: &Clock,
        now: Time,
        facts: &mut Vec<Fact>,
    ) {
        let Change { contact, existing, expires, nat } = change;
        let before = existing.and_then(|id| self.take(user.id, id));
        if expires.is_zero() {
            facts.extend(before.map(|binding| self.end(user.id, &binding)));
            return;
        }
        let until = now + expires;
        let path: Box<[String]> = asked.path.iter().map(|&value| value.to_owned()).collect();
        let mut binding = match before {
            Some(before) => {
                self.leave(user.id, before.flow.connection);
                if &*before.contact != contact.uri && before.reg_id.is_none() {
                    // Another spelling of the same URI: the store knows it by the old one.
                    facts.push(Fact::Unbound { user: user.id, key: before.key() });
                }
                before
            }
            None => {
                let id = self.next_id();
                Binding {
                    id,
                    account: user.account,
                    contact: Box::default(),
                    call_id: Box::default(),
                    agent: Box::default(),
                    instance: None,
                    path: Box::default(),
                    flow,
                    open: true,
                    nat,
                    q: contact.q,
                    cseq: asked.cseq,
                    reg_id: contact.reg_id,
                    expires: until,
                    pinging: None,
                    timer: self.timers.insert(until, (user.id, id)),
                }
            }
        };
        keep(&mut binding.contact, contact.uri);
        keep(&mut binding.call_id, asked.call_id);
        keep(&mut binding.agent, asked.agent);
        if binding.instance.as_deref() != contact.instance {
            binding.instance = contact.instance.map(Into::into);
        }
        (binding.path, binding.flow, binding.open, binding.nat) = (path, flow, true, nat);
        (binding.q, binding.cseq, binding.reg_id, binding.expires) = (contact.q, asked.cseq, contact.reg_id, until);
        match (self.pings(&binding), &mut binding.pinging) {
            (Some(_), Some(pinging)) => pinging.heard(),
            (Some(every), pinging @ None) => *pinging = Some(Box::new(Pinging::from(now + every))),
            (None, pinging) => *pinging = None,
        }
        self.rearm(&mut binding, user.id);
        self.replace_twins(user.id, &binding, facts);
        facts.push(Fact::Bound { user: user.id, binding: binding.stored(clock) });
        self.make_room(user.id, facts);
        self.join(user.id, flow.connection);
        self.insert(user.id, binding);
    }

    /// A device that came back over a new connection under another port: what is left of its last one rings nobody.
    fn replace_twins(&mut self, user: UserId, binding: &Binding, facts: &mut Vec<Fact>) {
        let bindings = self.users.get(&user).map_or(&[][..], Vec::as_slice);
        let gone = bindings.iter().filter(|twin| twin.reach() == Reach::Gone && twin.reg_id == binding.reg_id);
        let twins = gone.filter(|twin| {
            twin.call_id == binding.call_id || (twin.instance.is_some() && twin.instance == binding.instance)
        });
        let twins: SmallVec<[u32; 2]> = twins.map(|twin| twin.id).collect();
        for id in twins {
            facts.extend(self.take(user, id).map(|twin| self.end(user, &twin)));
        }
    }

    /// The owner must always be able to register, so the binding that was refreshed longest ago leaves.
    fn make_room(&mut self, user: UserId, facts: &mut Vec<Fact>) {
        let bindings = self.users.get(&user).map_or(&[][..], Vec::as_slice);
        if bindings.len() < BINDINGS_PER_USER {
            return;
        }
        let first_to_go = |binding: &&Binding| (binding.reach() != Reach::Gone, binding.expires, binding.id);
        let Some(id) = bindings.iter().min_by_key(first_to_go).map(|binding| binding.id) else { return };
        facts.extend(self.take(user, id).map(|binding| self.end(user, &binding)));
    }

    /// Puts a binding in its place: by q, and before those of the same q that registered earlier.
    fn insert(&mut self, user: UserId, binding: Binding) {
        let bindings = self.users.entry(user).or_default();
        let place = bindings.partition_point(|other| other.q > binding.q);
        // Most users have one device: a list that grows by doubling would cost four times its size.
        bindings.reserve_exact(1);
        bindings.insert(place, binding);
        self.bindings += 1;
    }

    /// Takes a binding out; its timer and connection go with [`Registrar::end`].
    fn take(&mut self, user: UserId, id: u32) -> Option<Binding> {
        let bindings = self.users.get_mut(&user)?;
        let place = bindings.iter().position(|binding| binding.id == id)?;
        let binding = bindings.remove(place);
        if bindings.is_empty() {
            self.users.remove(&user);
        }
        self.bindings -= 1;
        Some(binding)
    }

    /// The end of a binding that was taken out of the table.
    fn end(&mut self, user: UserId, binding: &Binding) -> Fact {
        self.timers.cancel(binding.timer);
        self.leave(user, binding.flow.connection);
        Fact::Unbound { user, key: binding.key() }
    }

    fn join(&mut self, user: UserId, connection: ConnectionId) {
        if connection != ConnectionId::NONE {
            let users = self.connections.entry(connection).or_default();
            if !users.contains(&user) {
                users.push(user);
            }
        }
    }

    /// Forgets that a user came over a connection, unless another of its bindings did too.
    fn leave(&mut self, user: UserId, connection: ConnectionId) {
        let others = self.users.get(&user).into_iter().flatten();
        if others.into_iter().any(|binding| binding.flow.connection == connection) {
            return;
        }
        if let Some(users) = self.connections.get_mut(&connection) {
            users.retain(|other| *other != user);
            if users.is_empty() {
                self.connections.remove(&connection);
            }
        }
    }

    /// How often the device is pinged; `None` when it is not.
    fn pings(&self, binding: &Binding) -> Option<Duration> {
        self.config.ping_every.filter(|_| binding.nat && binding.open && binding.flow.transport == Transport::Udp)
    }

    fn rearm(&mut self, binding: &mut Binding, user: UserId) {
        self.timers.cancel(binding.timer);
        binding.timer = self.timers.insert(binding.wakes(), (user, binding.id));
    }

    /// A binding's timer fired: it has ended, or wants a ping.
    fn wake(&mut self, user: UserId, id: u32) -> Option<Output> {
        let now = self.now;
        let binding = self.users.get_mut(&user)?.iter_mut().find(|binding| binding.id == id)?;
        if binding.expires <= now {
            let binding = self.take(user, id)?;
            return Some(Output::Fact { account: binding.account, fact: self.end(user, &binding) });
        }
        let kind = self.config.ping_kind;
        let mut ping = None;
        if let (Some(every), Some(pinging)) = (self.config.ping_every, &mut binding.pinging)
            && pinging.next <= now
        {
            pinging.send(kind, every, now);
            let id = PingId { user, binding: id };
            ping = Some(Output::Ping(Ping { id, flow: binding.flow, contact: binding.contact.to_string(), kind }));
        }
        binding.timer = self.timers.insert(binding.wakes(), (user, id));
        ping
    }

    fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }
}

/// Whether a Contact means this binding: by instance and flow number, else by URI (RFC 5626 §6, RFC 3261 §19.1.4).
fn is_same(binding: &Binding, contact: &AskedContact<'_>, uri: &Uri<'_>) -> bool {
    match (binding.reg_id, contact.reg_id) {
        (Some(ours), Some(theirs)) => ours == theirs && binding.instance.as_deref() == contact.instance,
        (None, None) => {
            *binding.contact == *contact.uri
                || Uri::parse(&binding.contact).is_ok_and(|ours| Uri::equivalent(&ours, uri))
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// RFC 3261 §10.3 item 7: of the REGISTERs with one Call-ID only those with a higher CSeq count.
fn is_out_of_order(binding: &Binding, asked: &Asked<'_>) -> bool {
    *binding.call_id == *asked.call_id && asked.cseq <= binding.cseq
}

/// Writes only what changed: a refresh says the same again.
fn keep(place: &mut Box<str>, text: &str) {
    if **place != *text {
        *place = text.into();
    }
}

const OUT_OF_ORDER: Refusal = Refusal::new(500, "Server Internal Error: CSeq is not higher than before");
