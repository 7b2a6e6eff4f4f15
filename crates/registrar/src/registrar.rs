//! The table of bindings and what changes it: REGISTER, time, lost connections and pings (RFC 3261 §10).

use crate::binding::{Binding, Device, Reach, address_of, dialable};
use crate::contact::{Asked, AskedContact, Contacts, Refusal, behind_nat, is_special};
use crate::directory::User;
use crate::outbound::{Ping, PingId, PingKind, Pinging};
use crate::table::Table;
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
#[derive(Serialize, Deserialize)]
pub struct Registrar {
    #[serde(skip)]
    config: RegistrarConfig,
    #[serde(skip)]
    own: BTreeSet<SocketAddr>,
    peers: BTreeSet<SocketAddr>,
    /// Users whose lamps somebody watches.
    heeded: BTreeSet<UserId>,
    table: Table,
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
            call_id: stored.call_id.into(),
            agent: stored.agent.into(),
            instance: stored.instance.map(Into::into),
            path: stored.path.into(),
            flow,
            open: stored.transport == Transport::Udp && (self.own.is_empty() || self.own.contains(&stored.local)),
            nat: stored.nat,
            q: stored.q,
            cseq: stored.cseq,
            reg_id: stored.reg_id,
            // A wall clock that was set back must not make a binding last for years.
            expires: clock.time_at(stored.expires).min(now + self.config.max_expires),
            refreshed: now,
            pinging: None,
            timer: None,
        };
        if let Some(every) = self.pings(user, &binding) {
            binding.pinging = Some(Box::new(Pinging::from(now + spread(every, id))));
        }
        self.table.insert(user, binding);
    }

    /// From now on somebody wants to know at once when a device of this user is unplugged, or nobody does any more: a
    /// device on UDP that is not behind NAT would be missed when its binding ends only.
    pub fn heed(&mut self, user: UserId, on: bool, now: Time) {
        self.now = self.now.max(now);
        let changed = if on { self.heeded.insert(user) } else { self.heeded.remove(&user) };
        let ids: SmallVec<[u32; 4]> = self.table.of(user).iter().map(|binding| binding.id).collect();
        for id in ids.into_iter().filter(|_| changed) {
            let every = self.table.of(user).iter().find(|binding| binding.id == id).map(|one| self.pings(user, one));
            let Some(binding) = self.table.find_mut(user, id) else { continue };
            match every.flatten() {
                Some(every) => {
                    let from = || Box::new(Pinging::from(now + spread(every, id)));
                    binding.pinging.get_or_insert_with(from);
                }
                None => binding.pinging = None,
            }
            self.table.rearm(user, id);
        }
    }

    /// Forgets all bindings of a user: its password changed, or it is disabled or gone.
    pub fn drop_user(&mut self, user: UserId) -> Vec<Fact> {
        let ids: SmallVec<[u32; 4]> = self.table.of(user).iter().map(|binding| binding.id).collect();
        let mut facts = Vec::with_capacity(ids.len());
        self.table.end(user, ids, &mut facts);
        facts
    }

    /// A connection is gone: who came over it can be called only where it can be dialled. The bindings stay, as the device
    /// may; gives back whose they are.
    pub fn flow_closed(&mut self, connection: ConnectionId) -> Vec<UserId> {
        self.table.close(connection)
    }

    /// What became of a ping: `alive` when anything came back.
    pub fn pinged(&mut self, id: PingId, alive: bool, now: Time) {
        if let Some(pinging) = self.table.find_mut(id.user, id.binding).and_then(|found| found.pinging.as_mut()) {
            pinging.result(alive, now);
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
        let mut facts = Vec::new();
        match &asked.contacts {
            Contacts::Star => {
                // RFC 3261 §10.3 item 6: nothing is removed unless all may be.
                if self.table.of(user.id).iter().any(|binding| is_out_of_order(binding, asked)) {
                    return Err(OUT_OF_ORDER);
                }
                facts = self.drop_user(user.id);
            }
            Contacts::These(contacts) => {
                let changes = contacts.iter().map(|contact| self.plan(request, contact));
                let changes: SmallVec<[Change<'_>; 2]> = changes.collect::<Result<_, _>>()?;
                for change in changes {
                    self.make(request, &change, &mut facts);
                }
            }
        }
        let current = self.table.of(user.id).iter().filter(|binding| now < binding.expires);
        let mut headers: Vec<_> = current.map(|binding| (HeaderName::Contact, binding.contact_value(now))).collect();
        // RFC 3327 §5.3: the device is shown the Path that calls to it will take.
        headers.extend(asked.path.iter().map(|&value| (HeaderName::Path, value.to_owned())));
        if asked.uses_outbound() {
            headers.push((HeaderName::Require, "outbound".to_owned()));
        }
        Ok(Outcome::Accepted { headers, facts })
    }

    /// RFC 3261 §10.3 item 7, without changing anything yet.
    fn plan<'a>(&self, request: &Request<'_, '_>, contact: &'a AskedContact<'a>) -> Result<Change<'a>, Refusal> {
        let Request { user, asked, flow, now, .. } = request;
        let uri = Uri::parse(contact.uri).map_err(|_| Refusal::new(400, "Bad Contact: not a URI"))?;
        let existing = self.table.of(user.id).iter().find(|binding| is_same(binding, contact, &uri));
        if existing.is_some_and(|binding| *now < binding.expires && is_out_of_order(binding, asked)) {
            return Err(OUT_OF_ORDER);
        }
        let wish = contact.expires.or(asked.expires);
        let wish = wish.map_or(self.config.default_expires, |seconds| Duration::from_secs(seconds.into()));
        let nat = behind_nat(&uri, flow, &asked.path, user.nat);
        if wish.is_zero() {
            return Ok(Change { contact, uri, expires: wish, nat });
        }
        self.check_address(&uri, flow)?;
        if wish < self.config.min_expires {
            let least = self.config.min_expires.as_secs().to_string();
            let header = Some((HeaderName::MinExpires, least));
            return Err(Refusal { status: 423, reason: "Interval Too Brief", header });
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

    fn make(&mut self, request: &Request<'_, '_>, change: &Change<'_>, facts: &mut Vec<Fact>) {
        let user = request.user.id;
        let same = self.table.of(user).iter().find(|binding| is_same(binding, change.contact, &change.uri));
        let same = same.map(|binding| binding.id);
        if change.expires.is_zero() {
            self.table.end(user, same, facts);
            return;
        }
        let before = same.and_then(|id| self.table.take(user, id));
        // Another spelling of the same URI: the store knows it by the old one.
        let respelled = before.as_ref().filter(|old| old.reg_id.is_none() && *old.contact != *change.contact.uri);
        facts.extend(respelled.map(|old| Fact::Unbound { user, key: old.key() }));
        let binding = self.renewed(before, request, change);
        // A device that came back over another connection under another port: its last binding rings nobody.
        let twins: SmallVec<[u32; 2]> =
            self.table.of(user).iter().filter(|old| is_twin(old, &binding)).map(|old| old.id).collect();
        self.table.end(user, twins, facts);
        // The owner must always be able to register.
        let leaves = self.table.first_to_go(user);
        self.table.end(user, leaves, facts);
        facts.push(Fact::Bound { user, binding: binding.stored(request.clock) });
        self.table.insert(user, binding);
    }

    /// The binding as the REGISTER wants it, from the one before where there was one.
    fn renewed(&mut self, before: Option<Binding>, request: &Request<'_, '_>, change: &Change<'_>) -> Binding {
        let &Request { user, asked, flow, now, .. } = request;
        let contact = change.contact;
        let mut binding = before.unwrap_or_else(|| Binding {
            id: self.table.next_id(),
            account: user.account,
            contact: Box::default(),
            call_id: Box::default(),
            agent: Box::default(),
            instance: None,
            path: Box::default(),
            flow,
            open: true,
            nat: change.nat,
            q: contact.q,
            cseq: asked.cseq,
            reg_id: contact.reg_id,
            expires: now,
            refreshed: now,
            pinging: None,
            timer: None,
        });
        keep(&mut binding.contact, contact.uri);
        keep(&mut binding.call_id, asked.call_id);
        keep(&mut binding.agent, asked.agent);
        if binding.instance.as_deref() != contact.instance {
            binding.instance = contact.instance.map(Into::into);
        }
        if *binding.path != *asked.path {
            binding.path = asked.path.iter().map(|&value| value.to_owned()).collect();
        }
        (binding.flow, binding.open, binding.nat) = (flow, true, change.nat);
        (binding.q, binding.cseq, binding.reg_id) = (contact.q, asked.cseq, contact.reg_id);
        (binding.expires, binding.refreshed) = (now + change.expires, now);
        match (self.pings(user.id, &binding), &mut binding.pinging) {
            (Some(_), Some(pinging)) => pinging.heard(),
            (Some(every), pinging @ None) => *pinging = Some(Box::new(Pinging::from(now + every))),
            (None, pinging) => *pinging = None,
        }
        binding
    }

    /// How often the device is pinged; `None` when it is not.
    fn pings(&self, user: UserId, binding: &Binding) -> Option<Duration> {
        let wanted = binding.nat || self.heeded.contains(&user);
        self.config.ping_every.filter(|_| wanted && binding.open && binding.flow.transport == Transport::Udp)
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
        let kind = self.config.ping_kind;
        let mut ping = None;
        if let (Some(every), Some(pinging)) = (self.config.ping_every, &mut binding.pinging)
            && pinging.next <= now
        {
            pinging.send(kind, every, now);
            let id = PingId { user, binding: id };
            ping = Some(Output::Ping(Ping { id, flow: binding.flow, contact: binding.contact.to_string(), kind }));
        }
        self.table.rearm(user, id);
        ping
    }
}

/// When a binding's first ping is due. Otherwise all devices of the exchange were pinged in the same moment after each
/// start.
fn spread(every: Duration, id: u32) -> Duration {
    let share = id.wrapping_mul(0x9e37_79b9) >> 22;
    every * share / 1_024
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

/// Whether `old` is what is left of the device that now has `binding`.
fn is_twin(old: &Binding, binding: &Binding) -> bool {
    let same_device = old.call_id == binding.call_id || (old.instance.is_some() && old.instance == binding.instance);
    same_device && old.reg_id == binding.reg_id && old.reach() == Reach::Gone
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{Register, address, at, stream, udp, user};
    use crate::{NatPolicy, limit};
    use words::{Chance, Seed, Wall};

    const HOME: &str = "198.51.100.4:5060";
    const OPEN: &str = "<sip:101@198.51.100.4:5060>";
    const ANN: UserId = UserId(101);

    /// A registrar with a clock that starts at one million seconds.
    struct Exchange {
        registrar: Registrar,
        clock: Clock,
        now: Time,
    }

    impl Exchange {
        fn new() -> Self {
            let own = vec![address("192.0.2.10:5060"), address("192.0.2.10:5061")];
            Self::with(RegistrarConfig { own, ..RegistrarConfig::default() })
        }

        fn with(config: RegistrarConfig) -> Self {
            let clock = Clock { mono: at(0), wall: Wall(1_000_000_000) };
            Exchange { registrar: Registrar::new(config, at(0)), clock, now: at(100) }
        }

        fn send(&mut self, register: &Register, flow: Flow) -> Outcome {
            self.send_as(&user(101), register, flow)
        }

        fn send_as(&mut self, user: &User, register: &Register, flow: Flow) -> Outcome {
            let outcome = self.registrar.register(user, &register.build(), flow, &self.clock, self.now);
            self.registrar.check().unwrap();
            outcome
        }

        fn contacts(&mut self, register: &Register) -> Vec<String> {
            let outcome = self.send(register, udp(HOME));
            contacts(&outcome)
        }

        fn uris(&self) -> Vec<&str> {
            self.registrar.lookup(ANN, self.now).map(|device| device.contact).collect()
        }

        fn first(&self) -> Device<'_> {
            self.registrar.lookup(ANN, self.now).next().unwrap()
        }

        /// Lets time pass and gathers what comes out.
        fn pass(&mut self, seconds: u64) -> Vec<Output> {
            let end = self.now + Duration::from_secs(seconds);
            let mut outputs = Vec::new();
            loop {
                match self.registrar.poll() {
                    Output::Timeout(Some(next)) if next <= end => {
                        self.now = self.now.max(next);
                        self.registrar.handle_timeout(self.now);
                    }
                    Output::Timeout(_) => break,
                    other => outputs.push(other),
                }
                self.registrar.check().unwrap();
            }
            self.now = end;
            outputs
        }

        /// A new process that is given what the facts say.
        fn restarted(&self, facts: &[Fact]) -> Exchange {
            let mut next = Exchange::with(self.registrar.config.clone());
            let wall = self.clock.wall_at(self.now);
            next.clock = Clock { mono: at(0), wall };
            next.now = at(0);
            for fact in facts {
                let Fact::Bound { user, binding } = fact else { continue };
                let text = format!("{binding:?}");
                next.registrar.restore(AccountId(1), *user, binding.clone(), &next.clock, next.now);
                let again = next.registrar.table.of(*user)[0].stored(&next.clock);
                assert_eq!(format!("{again:?}"), text, "a binding comes back as it was stored");
            }
            next.registrar.check().unwrap();
            next
        }
    }

    fn contacts(outcome: &Outcome) -> Vec<String> {
        let Outcome::Accepted { headers, .. } = outcome else { panic!("{outcome:?}") };
        let contacts = headers.iter().filter(|(name, _)| *name == HeaderName::Contact);
        contacts.map(|(_, value)| value.clone()).collect()
    }

    fn facts(outcome: Outcome) -> Vec<Fact> {
        let Outcome::Accepted { facts, .. } = outcome else { panic!("{outcome:?}") };
        facts
    }

    fn refused(outcome: &Outcome) -> (u16, &'static str) {
        let Outcome::Refused { status, reason, .. } = outcome else { panic!("{outcome:?}") };
        (*status, reason)
    }

    fn unbound(key: &str) -> Fact {
        Fact::Unbound { user: ANN, key: key.into() }
    }

    #[test]
    fn a_contact_is_bound_shown_and_stored() {
        let mut exchange = Exchange::new();
        let register = Register::new(&[OPEN]).header("Expires", "600").header("User-Agent", "Yealink SIP-T46S");
        let outcome = exchange.send(&register, udp(HOME));
        assert_eq!(contacts(&outcome), ["<sip:101@198.51.100.4:5060>;expires=600"]);
        let [Fact::Bound { user: ANN, binding }] = &facts(outcome)[..] else { panic!() };
        assert_eq!((binding.key.as_str(), binding.expires), ("sip:101@198.51.100.4:5060", Wall(1_000_700_000)));
        let device = exchange.first();
        assert_eq!((device.reach, device.nat, device.agent), (Reach::Flow(udp(HOME)), false, "Yealink SIP-T46S"));
        assert_eq!((exchange.registrar.len(), exchange.registrar.devices().count()), (1, 1));
        assert!(exchange.registrar.is_bound_from(ANN, address(HOME).ip()));
        assert!(!exchange.registrar.is_bound_from(UserId(102), address(HOME).ip()));
    }

    #[test]
    fn the_time_comes_from_the_contact_then_the_header_then_the_default() {
        let mut exchange = Exchange::new();
        let shown = |text: &str| vec![format!("<sip:101@198.51.100.4:5060>;expires={text}")];
        let with = |contact: &str| Register::new(&[&format!("{OPEN}{contact}")]);
        assert_eq!(exchange.contacts(&with(";expires=900").header("Expires", "600")), shown("900"));
        assert_eq!(exchange.contacts(&with("").cseq(2).header("Expires", "600")), shown("600"));
        assert_eq!(exchange.contacts(&with("").cseq(3)), shown("3600"));
        assert_eq!(exchange.contacts(&with(";expires=99999999999").cseq(4)), shown("3600"));
        assert_eq!(exchange.contacts(&with(";expires=soon").cseq(5)), shown("3600"));
    }

    #[test]
    fn too_short_a_time_gets_423_with_the_shortest_allowed() {
        let mut exchange = Exchange::new();
        let outcome = exchange.send(&Register::new(&[OPEN]).header("Expires", "59"), udp(HOME));
        let headers = vec![(HeaderName::MinExpires, "60".to_owned())];
        assert_eq!(outcome, Outcome::Refused { status: 423, reason: "Interval Too Brief", headers });
        assert!(exchange.registrar.is_empty());
        exchange.contacts(&Register::new(&[OPEN]).header("Expires", "60"));
        assert_eq!(exchange.registrar.len(), 1);
    }

    #[test]
    fn a_binding_ends_when_its_time_is_over() {
        let mut exchange = Exchange::new();
        exchange.contacts(&Register::new(&[OPEN]).header("Expires", "60"));
        assert!(exchange.pass(59).is_empty());
        exchange.contacts(&Register::new(&[OPEN]).cseq(2).header("Expires", "60"));
        assert!(exchange.pass(59).is_empty());
        assert_eq!(exchange.uris().len(), 1);
        let gone = Output::Fact { account: AccountId(1), fact: unbound("sip:101@198.51.100.4:5060") };
        assert_eq!(exchange.pass(1), [gone]);
        assert!(exchange.registrar.is_empty() && exchange.registrar.next_at().is_none());
    }

    #[test]
    fn what_has_expired_is_not_called_even_before_anybody_woke_up() {
        let mut exchange = Exchange::new();
        exchange.contacts(&Register::new(&[OPEN]).header("Expires", "60"));
        exchange.now += Duration::from_mins(1);
        assert!(exchange.uris().is_empty());
        assert!(exchange.contacts(&Register::new(&[])).is_empty());
    }

    #[test]
    fn without_a_contact_the_bindings_are_listed() {
        let mut exchange = Exchange::new();
        assert!(exchange.contacts(&Register::new(&[])).is_empty());
        exchange.contacts(&Register::new(&[OPEN]));
        exchange.now += Duration::from_secs(10);
        assert_eq!(exchange.contacts(&Register::new(&[])), ["<sip:101@198.51.100.4:5060>;expires=3590"]);
    }

    #[test]
    fn several_devices_are_called_by_q_then_the_newest_first() {
        let mut exchange = Exchange::new();
        for (n, q) in [(1, ";q=0.5"), (2, ""), (3, ";q=0.1"), (4, ";q=0.5"), (5, ";q=1.0")] {
            let contact = format!("<sip:d{n}@198.51.100.4:5060>{q}");
            exchange.contacts(&Register::new(&[&contact]).call_id(&format!("c{n}")));
        }
        let users = exchange.uris().iter().map(|uri| &uri[4..6]).collect::<Vec<_>>();
        assert_eq!(users, ["d5", "d2", "d4", "d1", "d3"]);
        let listed = exchange.contacts(&Register::new(&[]));
        assert_eq!(listed[2], "<sip:d4@198.51.100.4:5060>;expires=3600;q=0.500");
    }

    #[test]
    fn equivalent_uris_are_one_binding() {
        let mut exchange = Exchange::new();
        exchange.contacts(&Register::new(&["<sip:101@Phone.example:5060;transport=udp>"]));
        let again = Register::new(&["<sip:%3101@phone.EXAMPLE:5060;transport=UDP>"]).cseq(2);
        let facts = facts(exchange.send(&again, udp(HOME)));
        assert_eq!(facts[0], unbound("sip:101@Phone.example:5060;transport=udp"));
        assert!(matches!(facts[1], Fact::Bound { .. }));
        assert_eq!(exchange.uris(), ["sip:%3101@phone.EXAMPLE:5060;transport=UDP"]);
        exchange.contacts(&Register::new(&["<sip:101@phone.example>"]).cseq(3));
        assert_eq!(exchange.uris().len(), 2);
    }

    #[test]
    fn the_same_contact_twice_in_one_request_is_one_binding() {
        let mut exchange = Exchange::new();
        exchange.contacts(&Register::new(&[OPEN, OPEN]));
        assert_eq!(exchange.uris().len(), 1);
    }

    #[test]
    fn a_record_route_means_nothing_in_a_registration() {
        let mut exchange = Exchange::new();
        let outcome = exchange.send(&Register::new(&[OPEN]).header("Record-Route", "<sip:p;lr>"), udp(HOME));
        let Outcome::Accepted { headers, .. } = &outcome else { panic!("{outcome:?}") };
        assert!(headers.iter().all(|(name, _)| *name != HeaderName::RecordRoute));
        let Fact::Bound { binding, .. } = &facts(outcome)[0] else { panic!() };
        assert!(binding.path.is_empty());
    }

    #[test]
    fn a_registration_is_never_refused_everywhere() {
        for register in [
            Register::new(&[OPEN]).header("Expires", "1"),
            Register::new(&["*"]),
            Register::new(&["*", OPEN]).header("Expires", "0"),
            Register::new(&["<tel:101>"]),
            Register::new(&["<sip:101@192.0.2.10:5060>"]),
            Register::new(&["<sip:101@"]),
        ] {
            let (status, _) = refused(&Exchange::new().send(&register, udp(HOME)));
            assert!((400..600).contains(&status), "{status}");
        }
    }

    #[test]
    fn an_expiry_of_zero_removes_one() {
        let mut exchange = Exchange::new();
        exchange.contacts(&Register::new(&[OPEN, "<sip:102@198.51.100.5:5060>"]));
        let remove = Register::new(&[&format!("{OPEN};expires=0")]).cseq(2);
        assert_eq!(facts(exchange.send(&remove, udp(HOME))), [unbound("sip:101@198.51.100.4:5060")]);
        assert_eq!(exchange.uris(), ["sip:102@198.51.100.5:5060"]);
        // What is not there needs no removing.
        let remove = Register::new(&[&format!("{OPEN};expires=0")]).cseq(3);
        assert!(facts(exchange.send(&remove, udp(HOME))).is_empty());
    }

    #[test]
    fn a_star_removes_all_and_stands_alone() {
        let mut exchange = Exchange::new();
        exchange.contacts(&Register::new(&[OPEN, "<sip:102@198.51.100.5:5060>"]));
        for wrong in [
            Register::new(&["*"]).cseq(2),
            Register::new(&["*"]).cseq(2).header("Expires", "60"),
            Register::new(&["*", OPEN]).cseq(2).header("Expires", "0"),
        ] {
            assert_eq!(refused(&exchange.send(&wrong, udp(HOME))).0, 400);
            assert_eq!(exchange.uris().len(), 2);
        }
        let star = Register::new(&["*"]).cseq(2).header("Expires", "0");
        assert_eq!(facts(exchange.send(&star, udp(HOME))).len(), 2);
        assert!(exchange.registrar.is_empty());
    }

    #[test]
    fn one_call_id_counts_upwards() {
        let mut exchange = Exchange::new();
        exchange.contacts(&Register::new(&[OPEN]).cseq(5));
        for cseq in [4, 5] {
            let late = Register::new(&[&format!("{OPEN};expires=0")]).cseq(cseq);
            assert_eq!(refused(&exchange.send(&late, udp(HOME))).0, 500);
            let star = Register::new(&["*"]).cseq(cseq).header("Expires", "0");
            assert_eq!(refused(&exchange.send(&star, udp(HOME))).0, 500);
        }
        assert_eq!(exchange.uris().len(), 1);
        // A device that was started anew counts from one under another Call-ID.
        exchange.contacts(&Register::new(&[OPEN]).call_id("call-2").cseq(1));
        exchange.contacts(&Register::new(&[&format!("{OPEN};expires=0")]).call_id("call-2").cseq(2));
        assert!(exchange.registrar.is_empty());
    }

    #[test]
    fn all_or_nothing() {
        let mut exchange = Exchange::new();
        exchange.contacts(&Register::new(&["<sip:old@198.51.100.4:5060>"]).cseq(9));
        let before = exchange.contacts(&Register::new(&[]));
        for (bad, status) in [
            ("<sip:old@198.51.100.4:5060>", 500),
            ("<sip:new@198.51.100.4:5061>;expires=5", 423),
            ("<sip:new@192.0.2.10:5060>", 403),
            ("<tel:+74954451120>", 400),
        ] {
            for contacts in [[OPEN, bad], [bad, OPEN]] {
                let outcome = exchange.send(&Register::new(&contacts).cseq(9), udp(HOME));
                assert_eq!(refused(&outcome).0, status, "{bad}");
                assert_eq!(exchange.contacts(&Register::new(&[])), before, "{bad}");
            }
        }
    }

    #[test]
    fn a_device_behind_nat_is_called_where_it_came_from_and_comes_back_soon() {
        let mut exchange = Exchange::new();
        let source = udp("203.0.113.7:41000");
        let outcome = exchange.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]), source);
        assert_eq!(contacts(&outcome), ["<sip:101@10.0.0.4:5060>;expires=120"]);
        assert_eq!((exchange.first().reach, exchange.first().nat), (Reach::Flow(source), true));
        // The router gives it another port.
        let moved = udp("203.0.113.7:41001");
        exchange.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]).cseq(2), moved);
        assert_eq!(exchange.first().reach, Reach::Flow(moved));
        assert_eq!(exchange.registrar.len(), 1);
    }

    #[test]
    fn names_and_a_told_policy_count_as_nat() {
        let mut exchange = Exchange::new();
        exchange.send(&Register::new(&["<sip:101@phone.example>"]), udp(HOME));
        assert!(exchange.first().nat);
        let told = User { nat: NatPolicy::Behind, ..user(101) };
        exchange.send_as(&told, &Register::new(&[OPEN]).call_id("c2"), udp(HOME));
        assert!(exchange.first().nat);
    }

    #[test]
    fn contacts_that_point_at_us_at_trunks_or_nowhere_are_refused() {
        let mut exchange = Exchange::new();
        exchange.registrar.set_peers([address("198.51.100.200:5060")]);
        for bad in [
            "192.0.2.10:5060",
            "192.0.2.10:5061",
            "192.0.2.10",
            "198.51.100.200",
            "[::ffff:198.51.100.200]:5060",
            "127.0.0.1:5060",
            "127.8.8.8:5070",
            "[::1]:5060",
            "[::ffff:127.0.0.1]:5060",
            "0.0.0.0:5060",
            "0.1.2.3:5060",
            "[::]:5060",
            "255.255.255.255:5060",
            "224.0.1.75:5060",
            "[ff02::1]:5060",
            "169.254.169.254:80",
            "198.51.100.4:0",
        ] {
            let register = Register::new(&[&format!("<sip:101@{bad}>")]);
            assert_eq!(refused(&exchange.send(&register, udp(HOME))).0, 403, "{bad}");
        }
        for good in ["198.51.100.200:5062", "10.0.0.4:5060", "[2001:db8::4]:5060", "phone.example"] {
            let register = Register::new(&[&format!("<sip:101@{good}>")]);
            contacts(&exchange.send(&register, udp(HOME)));
        }
        let link_local = udp("169.254.1.1:5060");
        contacts(&exchange.send(&Register::new(&["<sip:101@169.254.1.1:5060>"]), link_local));
        let loopback = Flow { local: address("127.0.0.1:5060"), ..udp("127.0.0.1:5070") };
        contacts(&exchange.send(&Register::new(&["<sip:101@127.0.0.1:5070>"]), loopback));
        assert_eq!(refused(&exchange.send(&Register::new(&["<sip:101@127.0.0.1>"]), loopback)).0, 403);
    }

    #[test]
    fn contacts_that_cannot_be_called_are_malformed() {
        let mut exchange = Exchange::new();
        let long = format!("<sip:{}@198.51.100.4>", "a".repeat(limit::CONTACT_BYTES));
        for bad in [
            "<mailto:ann@example.com>",
            "<sip:101@198.51.100.4?Route=%3Csip:evil%3E>",
            "<sip:101@198.51.100.4;method=BYE>",
            "<sip:101@198.51.100.4:99999>",
            long.as_str(),
            "<sip:101@198.51.100.4>;+sip.instance=\"a\\\"b\"",
        ] {
            assert_eq!(refused(&exchange.send(&Register::new(&[bad]), udp(HOME))).0, 400, "{bad}");
        }
        let call_id = "c".repeat(limit::CALL_ID_BYTES + 1);
        assert_eq!(refused(&exchange.send(&Register::new(&[OPEN]).call_id(&call_id), udp(HOME))).0, 400);
        let many: Vec<String> = (0..=BINDINGS_PER_USER).map(|n| format!("<sip:{n}@198.51.100.4>")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(refused(&exchange.send(&Register::new(&many), udp(HOME))).0, 403);
        assert!(exchange.registrar.is_empty());
    }

    #[test]
    fn texts_that_are_kept_are_kept_short() {
        let mut exchange = Exchange::new();
        exchange.send(&Register::new(&[OPEN]).header("User-Agent", &"ж".repeat(1_000)), udp(HOME));
        assert_eq!(exchange.first().agent.len(), limit::AGENT_BYTES);
    }

    #[test]
    fn a_new_device_is_always_let_in_and_the_one_refreshed_longest_ago_leaves() {
        let mut exchange = Exchange::new();
        let contact = |n: usize| format!("<sip:d{n}@198.51.100.4:5060>");
        for n in 0..BINDINGS_PER_USER {
            exchange.contacts(&Register::new(&[&contact(n)]).call_id(&format!("c{n}")));
            exchange.now += Duration::from_secs(1);
        }
        exchange.contacts(&Register::new(&[&format!("{};expires=60", contact(0))]).call_id("c0").cseq(2));
        let outcome = exchange.send(&Register::new(&[&contact(99)]).call_id("c99"), udp(HOME));
        assert_eq!(facts(outcome)[0], unbound("sip:d1@198.51.100.4:5060"));
        assert_eq!(exchange.registrar.len(), BINDINGS_PER_USER);
        assert!(exchange.uris().contains(&"sip:d0@198.51.100.4:5060"));
    }

    const INSTANCE: &str = "\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\"";

    fn outbound(uri: &str, reg_id: &str) -> Register {
        Register::new(&[&format!("<{uri}>;+sip.instance={INSTANCE};reg-id={reg_id}")])
            .header("Supported", "path, outbound")
    }

    #[test]
    fn a_flow_replaces_the_one_with_the_same_instance_and_number() {
        let mut exchange = Exchange::new();
        let first = stream(Transport::Tcp, 1, "203.0.113.7:41000");
        let outcome = exchange.send(&outbound("sip:101@10.0.0.4:5060;transport=tcp", "1"), first);
        let Outcome::Accepted { headers, facts } = outcome else { panic!() };
        assert!(headers.contains(&(HeaderName::Require, "outbound".into())));
        assert!(headers[0].1.ends_with(&format!(";expires=120;+sip.instance={INSTANCE};reg-id=1")));
        let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
        assert_eq!(binding.key, "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>;1");
        // The device starts anew: another port, another Call-ID, another connection.
        let second = stream(Transport::Tcp, 2, "203.0.113.7:41001");
        let outcome = exchange.send(&outbound("sip:101@10.0.0.4:7777;transport=tcp", "1").call_id("c2"), second);
        assert!(matches!(&self::facts(outcome)[..], [Fact::Bound { .. }]));
        assert_eq!(exchange.uris(), ["sip:101@10.0.0.4:7777;transport=tcp"]);
        assert!(exchange.registrar.flow_closed(first.connection).is_empty());
        assert_eq!(exchange.first().reach, Reach::Flow(second));
    }

    #[test]
    fn of_two_flows_of_one_device_one_is_called() {
        let mut exchange = Exchange::new();
        let flows = [1, 2].map(|slot| stream(Transport::Tls, slot, "203.0.113.7:41000"));
        exchange.send(&outbound("sip:101@10.0.0.4;transport=tls", "1"), flows[0]);
        exchange.send(&outbound("sip:101@10.0.0.4;transport=tls", "2").call_id("c2"), flows[1]);
        assert_eq!(exchange.registrar.len(), 2);
        assert_eq!(
            exchange.registrar.lookup(ANN, exchange.now).map(|device| device.reach).collect::<Vec<_>>(),
            [Reach::Flow(flows[1])]
        );
        // The other takes over when it is gone.
        assert_eq!(exchange.registrar.flow_closed(flows[1].connection), [ANN]);
        let reaches: Vec<Reach> = exchange.registrar.lookup(ANN, exchange.now).map(|device| device.reach).collect();
        assert_eq!(reaches, [Reach::Gone, Reach::Flow(flows[0])]);
    }

    #[test]
    fn flows_follow_their_rfc() {
        let mut exchange = Exchange::new();
        let flow = stream(Transport::Tcp, 1, "203.0.113.7:41000");
        for reg_id in ["0", "x", "", "4294967296"] {
            assert_eq!(refused(&exchange.send(&outbound("sip:101@10.0.0.4", reg_id), flow)).0, 400, "{reg_id}");
        }
        let two = format!("<sip:a@10.0.0.4>;+sip.instance={INSTANCE};reg-id=1");
        let two = Register::new(&[&two, &two.replace("reg-id=1", "reg-id=2")]).header("Supported", "outbound");
        assert_eq!(refused(&exchange.send(&two, flow)).0, 400);
        // A proxy that does not keep flows stands between.
        let proxied = outbound("sip:101@10.0.0.4", "1").header("Via", "SIP/2.0/TCP 10.0.0.9;branch=z9hG4bK2");
        assert_eq!(refused(&exchange.send(&proxied, flow)).0, 439);
        let kept = proxied.header("Path", "<sip:edge.example;lr;ob>");
        contacts(&exchange.send(&kept, flow));
        // Who does not know flows has its reg-id ignored.
        let plain = Register::new(&[&format!("<sip:b@10.0.0.4>;+sip.instance={INSTANCE};reg-id=1")]).call_id("c2");
        assert!(!contacts(&exchange.send(&plain, flow))[0].contains("reg-id"));
        let nameless = Register::new(&["<sip:c@10.0.0.4>;reg-id=1"]).call_id("c3").header("Supported", "outbound");
        assert!(!contacts(&exchange.send(&nameless, flow))[0].contains("reg-id"));
    }

    #[test]
    fn a_path_is_kept_shown_and_stored() {
        let mut exchange = Exchange::new();
        let register = Register::new(&["<sip:101@10.0.0.4:5060>"])
            .header("Supported", "path")
            .header("Path", "<sip:p2.example;lr>, <sip:p1.example;lr;x=\"a,b\">");
        let Outcome::Accepted { headers, facts } = exchange.send(&register, udp(HOME)) else { panic!() };
        let path: Vec<&str> =
            headers.iter().filter(|(name, _)| *name == HeaderName::Path).map(|(_, value)| value.as_str()).collect();
        assert_eq!(path, ["<sip:p2.example;lr>", "<sip:p1.example;lr;x=\"a,b\">"]);
        let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
        assert_eq!((&binding.path[..], exchange.first().path), (exchange.first().path, &binding.path[..]));
        // What lies behind a proxy is the proxy's care.
        assert!(!exchange.first().nat && exchange.first().expires == exchange.now + Duration::from_hours(1));
        let many = ["<sip:p.example;lr>"; limit::PATH_VALUES + 1].join(", ");
        let many = Register::new(&[OPEN]).cseq(2).header("Path", &many);
        assert_eq!(refused(&exchange.send(&many, udp(HOME))).0, 400);
    }

    #[test]
    fn a_lost_connection_leaves_only_what_can_be_dialled() {
        let remote = "198.51.100.4:41000";
        for (transport, contact, expected, expires) in [
            (Transport::Tcp, "<sip:101@198.51.100.4:5060;transport=tcp>", Some("198.51.100.4:5060"), 3_600),
            (Transport::Tcp, "<sip:101@198.51.100.4;transport=tcp>", Some("198.51.100.4:5060"), 3_600),
            (Transport::Tcp, "<sip:101@10.0.0.4:5060;transport=tcp>", None, 120),
            (Transport::Tcp, "<sip:101@phone.example;transport=tcp>", None, 120),
            (Transport::Tls, "<sips:101@198.51.100.4:5061>", None, 120),
            (Transport::Ws, "<sip:101@df7jal23ls0d.invalid;transport=ws>", None, 120),
            (Transport::Wss, "<sip:101@df7jal23ls0d.invalid;transport=ws>", None, 120),
        ] {
            let mut exchange = Exchange::new();
            let flow = stream(transport, 3, remote);
            let facts = facts(exchange.send(&Register::new(&[contact]), flow));
            assert_eq!(exchange.first().reach, Reach::Flow(flow));
            assert_eq!(exchange.first().expires, exchange.now + Duration::from_secs(expires), "{contact}");
            let dial = expected.map_or(Reach::Gone, |remote| Reach::Dial {
                transport,
                listener: 0,
                local: flow.local,
                remote: address(remote),
            });
            // So it is after a restart, and so it is when only the connection is lost.
            let restarted = exchange.restarted(&facts);
            assert_eq!((restarted.first().reach, restarted.first().unreachable), (dial, dial == Reach::Gone));
            assert_eq!(exchange.registrar.flow_closed(flow.connection), [ANN]);
            assert_eq!(exchange.first().reach, dial, "{contact}");
            assert!(exchange.registrar.flow_closed(flow.connection).is_empty());
            exchange.registrar.check().unwrap();
            // The device comes back.
            let again = stream(transport, 4, remote);
            exchange.send(&Register::new(&[contact]).cseq(2), again);
            assert_eq!((exchange.first().reach, exchange.registrar.len()), (Reach::Flow(again), 1));
        }
    }

    #[test]
    fn a_device_that_comes_back_under_another_port_replaces_its_lost_self() {
        let mut exchange = Exchange::new();
        let first = stream(Transport::Tls, 1, "203.0.113.7:41000");
        exchange.send(&Register::new(&["<sip:101@10.0.0.4:41000;transport=tls>"]), first);
        exchange.send(&Register::new(&["<sip:desk@10.0.0.5:5061;transport=tls>"]).call_id("desk"), {
            stream(Transport::Tls, 2, "203.0.113.7:42000")
        });
        exchange.registrar.flow_closed(first.connection);
        let again = stream(Transport::Tls, 3, "203.0.113.7:41001");
        let outcome = exchange.send(&Register::new(&["<sip:101@10.0.0.4:41001;transport=tls>"]).cseq(2), again);
        assert_eq!(facts(outcome)[0], unbound("sip:101@10.0.0.4:41000;transport=tls"));
        assert_eq!(exchange.uris(), ["sip:101@10.0.0.4:41001;transport=tls", "sip:desk@10.0.0.5:5061;transport=tls"]);
    }

    #[test]
    fn many_users_over_one_connection_are_told_apart() {
        let mut exchange = Exchange::new();
        let flow = stream(Transport::Tcp, 1, "203.0.113.7:41000");
        for number in 1..=50 {
            let contact = format!("<sip:{number}@10.0.0.4>");
            exchange.send_as(&user(number), &Register::new(&[&contact]), flow);
        }
        exchange.registrar.drop_user(UserId(7));
        exchange.registrar.check().unwrap();
        assert_eq!(exchange.registrar.flow_closed(flow.connection).len(), 49);
        exchange.registrar.check().unwrap();
    }

    #[test]
    fn udp_bindings_of_the_last_run_are_reachable_at_once_from_the_same_socket() {
        let mut exchange = Exchange::new();
        let source = udp("203.0.113.7:41000");
        let facts = facts(exchange.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]), source));
        exchange.now += Duration::from_secs(50);
        let restarted = exchange.restarted(&facts);
        let device = restarted.first();
        assert_eq!((device.reach, device.nat), (Reach::Flow(source), true));
        assert_eq!(device.expires, at(70));
        exchange.registrar.config.own = vec![address("192.0.2.99:5060")];
        assert_eq!(exchange.restarted(&facts).first().reach, Reach::Gone);
    }

    #[test]
    fn what_expired_while_the_exchange_was_down_ends_at_its_start() {
        let mut exchange = Exchange::new();
        let facts = facts(exchange.send(&Register::new(&[OPEN]).header("Expires", "60"), udp(HOME)));
        exchange.now += Duration::from_secs(61);
        let mut restarted = exchange.restarted(&[]);
        let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
        let clock = restarted.clock;
        restarted.registrar.restore(AccountId(1), ANN, binding.clone(), &clock, at(0));
        assert!(restarted.uris().is_empty());
        assert_eq!(restarted.pass(1).len(), 1);
        assert!(restarted.registrar.is_empty());
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_binding_last_longer_than_any_may() {
        let mut exchange = Exchange::new();
        let facts = facts(exchange.send(&Register::new(&[OPEN]), udp(HOME)));
        let Fact::Bound { binding, .. } = &facts[0] else { panic!() };
        let mut next = Exchange::new();
        let clock = Clock { mono: at(0), wall: Wall(0) };
        next.registrar.restore(AccountId(1), ANN, binding.clone(), &clock, at(0));
        assert_eq!(next.first().expires, at(3_600));
    }

    #[test]
    fn a_revoked_user_is_gone_at_once() {
        let mut exchange = Exchange::new();
        let flow = stream(Transport::Tcp, 1, "203.0.113.7:41000");
        exchange.send(&Register::new(&["<sip:101@10.0.0.4>"]), flow);
        exchange.send(&Register::new(&[OPEN]).call_id("c2"), udp(HOME));
        assert_eq!(exchange.registrar.drop_user(ANN).len(), 2);
        assert!(exchange.registrar.is_empty() && exchange.registrar.drop_user(ANN).is_empty());
        exchange.registrar.check().unwrap();
        assert!(exchange.pass(10_000).is_empty());
    }

    fn pings(outputs: &[Output]) -> Vec<&Ping> {
        outputs
            .iter()
            .filter_map(|output| match output {
                Output::Ping(ping) => Some(ping),
                Output::Fact { .. } | Output::Timeout(_) => None,
            })
            .collect()
    }

    #[test]
    fn devices_behind_nat_are_pinged_every_25_seconds_and_shown_unreachable_after_three_lost() {
        let mut exchange = Exchange::new();
        let source = udp("203.0.113.7:41000");
        let register = Register::new(&["<sip:101@10.0.0.4:5060>"]);
        exchange.send(&register, source);
        assert!(exchange.pass(24).is_empty());
        let outputs = exchange.pass(1);
        let [ping] = pings(&outputs)[..] else { panic!() };
        assert_eq!((ping.flow, ping.contact.as_str(), ping.kind), (source, "sip:101@10.0.0.4:5060", PingKind::Options));
        exchange.now += Duration::from_millis(40);
        exchange.registrar.pinged(ping.id, true, exchange.now);
        assert_eq!(exchange.first().round_trip, Some(Duration::from_millis(40)));
        // Nobody answers any more: the third lost one shows when the fourth goes out.
        assert_eq!(pings(&exchange.pass(75)).len(), 3);
        assert!(!exchange.first().unreachable);
        let outputs = exchange.pass(19);
        assert!(pings(&outputs).is_empty(), "{outputs:?}");
        exchange.registrar.pinged(ping.id, false, exchange.now);
        assert!(exchange.first().unreachable);
        assert_eq!(exchange.first().reach, Reach::Flow(source), "it is rung all the same");
        exchange.send(&register.clone().cseq(2), source);
        assert!(!exchange.first().unreachable);
        // It ends like any other.
        assert_eq!(pings(&exchange.pass(120)).len(), 5);
        assert!(exchange.registrar.is_empty());
        exchange.registrar.pinged(PingId { user: ANN, binding: 1 }, true, exchange.now);
    }

    #[test]
    fn a_device_that_is_watched_is_pinged_wherever_it_sits() {
        let mut exchange = Exchange::new();
        exchange.send(&Register::new(&[OPEN]), udp(HOME));
        assert_eq!(pings_in_a_minute(&mut exchange), 0);
        exchange.registrar.heed(ANN, true, exchange.now);
        exchange.registrar.check().unwrap();
        assert!((2..=3).contains(&pings_in_a_minute(&mut exchange)));
        // What registers while it is watched is pinged too.
        exchange.send(&Register::new(&["<sip:101@198.51.100.5:5060>"]).call_id("other"), udp("198.51.100.5:5060"));
        assert!((4..=6).contains(&pings_in_a_minute(&mut exchange)));
        exchange.registrar.heed(ANN, false, exchange.now);
        exchange.registrar.check().unwrap();
        assert_eq!(pings_in_a_minute(&mut exchange), 0);
    }

    /// How many pings the next minute sees.
    fn pings_in_a_minute(exchange: &mut Exchange) -> usize {
        let mut count = 0;
        for _ in 0..60 {
            exchange.now += Duration::from_secs(1);
            exchange.registrar.handle_timeout(exchange.now);
            while !matches!(exchange.registrar.poll(), Output::Timeout(_)) {
                count += 1;
            }
        }
        count
    }

    #[test]
    fn only_udp_behind_nat_is_pinged() {
        let mut exchange = Exchange::new();
        exchange.send(&Register::new(&[OPEN]), udp(HOME));
        exchange.send(&Register::new(&["<sip:a@10.0.0.4>"]), stream(Transport::Tls, 1, "203.0.113.7:41000"));
        assert!(pings(&exchange.pass(100)).is_empty());
        let mut silent = Exchange::with(RegistrarConfig { ping_every: None, ..RegistrarConfig::default() });
        silent.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]), udp("203.0.113.7:41000"));
        assert!(pings(&silent.pass(100)).is_empty());
        // A device whose Contact turns out to be right is pinged no longer.
        let mut fixed = Exchange::new();
        fixed.send(&Register::new(&["<sip:101@198.51.100.4:5060>"]), udp("198.51.100.4:1"));
        fixed.send(&Register::new(&["<sip:101@198.51.100.4:5060>"]).cseq(2), udp(HOME));
        assert!(!fixed.first().nat && pings(&fixed.pass(100)).is_empty());
    }

    #[test]
    fn a_ping_changes_nobodys_place() {
        let mut exchange = Exchange::new();
        for n in 1..=3 {
            let contact = format!("<sip:d{n}@10.0.0.{n}:5060>");
            exchange.send(&Register::new(&[&contact]).call_id(&format!("c{n}")), udp("203.0.113.7:41000"));
            exchange.pass(1);
        }
        let before: Vec<String> = exchange.uris().iter().map(ToString::to_string).collect();
        assert_eq!(pings(&exchange.pass(60)).len(), 6);
        assert_eq!(exchange.uris(), before);
    }

    #[test]
    fn pings_after_a_restart_are_spread() {
        let mut exchange = Exchange::new();
        let mut all = Vec::new();
        for number in 1..=1_000 {
            let outcome =
                exchange.send_as(&user(number), &Register::new(&["<sip:101@10.0.0.4:5060>"]), udp("203.0.113.7:41000"));
            all.extend(facts(outcome));
        }
        let mut restarted = exchange.restarted(&all);
        for second in 0..25 {
            let outputs = restarted.pass(1);
            let count = pings(&outputs).len();
            assert!((20..60).contains(&count), "{count} in second {second}");
        }
    }

    #[test]
    fn random_work_keeps_the_table_whole() {
        let mut exchange = Exchange::new();
        let mut chance = Chance::new(Seed::from_number(5));
        let mut cseq = 1;
        for _ in 0..20_000 {
            let number = 1 + chance.below(20) as u32;
            let device = chance.below(14);
            let slot = 1 + chance.below(6) as u32;
            let flow = match chance.below(3) {
                0 => stream(Transport::Tcp, slot, "198.51.100.4:41000"),
                1 => stream(Transport::Wss, slot, "203.0.113.7:41000"),
                _ => udp("203.0.113.7:41000"),
            };
            cseq += 1;
            match chance.below(10) {
                0 => drop(exchange.registrar.flow_closed(ConnectionId { slot, generation: 1 })),
                1 => drop(exchange.registrar.drop_user(UserId(number))),
                2 => drop(exchange.pass(chance.below(60))),
                3 => {
                    let star = Register::new(&["*"]).cseq(cseq).header("Expires", "0");
                    exchange.send_as(&user(number), &star, flow);
                }
                _ => {
                    let expires = [0, 60, 100, 3_600][chance.below(4) as usize];
                    let q = chance.below(10);
                    let reg = if chance.below(3) == 0 {
                        format!(";+sip.instance=\"<i{device}>\";reg-id=1")
                    } else {
                        String::new()
                    };
                    let contact = format!("<sip:d{device}@198.51.100.4:5060>;expires={expires};q=0.{q}{reg}");
                    let register = Register::new(&[&contact]).call_id(&format!("c{device}")).cseq(cseq);
                    let outcome = exchange.send_as(&user(number), &register.header("Supported", "outbound"), flow);
                    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
                }
            }
            exchange.registrar.check().unwrap();
            let devices: Vec<u16> =
                exchange.registrar.lookup(UserId(number), exchange.now).map(|device| device.q).collect();
            assert!(devices.is_sorted_by(|a, b| a >= b));
        }
        exchange.pass(10_000);
        assert!(exchange.registrar.is_empty());
    }
}
