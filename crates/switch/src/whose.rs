//! Whose a request is: the listener's account, a peer's, the domain's, or the user's.

use crate::account::{Account, Peer};
use crate::down::Down;
use crate::names::Names;
use crate::need::{Found, Known, Need};
use crate::switch::{Incoming, Switch, Waiter};
use crate::whereabouts::Named;
use registrar::{Claim, Presented};
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Uri};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use words::{AccountId, Chance, Flow, PeerId, Seed, Time};

/// The static peers: who they are, from where they speak, where their names lead; and the realms that strangers are shown.
#[derive(Serialize, Deserialize)]
pub(crate) struct Peers {
    /// By id.
    #[serde(default)]
    all: BTreeMap<PeerId, Arc<Peer>>,
    by_source: HashMap<IpAddr, Vec<Arc<Peer>>>,
    /// Those that have a name.
    #[serde(default)]
    named: BTreeMap<PeerId, Named>,
    /// When their names are looked up again.
    #[serde(default)]
    due: BTreeSet<(Time, PeerId)>,
    #[serde(default)]
    pub(crate) names: Names<Waiter>,
    #[serde(default)]
    pub(crate) down: Down,
    realms: Vec<String>,
    sole: Option<AccountId>,
    salt: u64,
    /// How often chance was drawn.
    #[serde(default)]
    draws: Cell<u64>,
}

impl Peers {
    pub(crate) fn new(salt: u64, now: Time) -> Self {
        Peers {
            all: BTreeMap::new(),
            by_source: HashMap::new(),
            named: BTreeMap::new(),
            due: BTreeSet::new(),
            names: Names::new(now),
            down: Down::default(),
            realms: Vec::new(),
            sole: None,
            salt,
            draws: Cell::new(0),
        }
    }

    /// Takes the list that replaces the one before. What is known of names that are still there stays known. Gives those
    /// that are to be located.
    pub(crate) fn set(&mut self, peers: Vec<Peer>) -> Vec<PeerId> {
        let mut before = std::mem::take(&mut self.named);
        self.all = peers.into_iter().map(|peer| (peer.id, Arc::new(peer))).collect();
        let mut unknown = Vec::new();
        for (&id, peer) in &self.all {
            let Some(wanted) = &peer.by_name else { continue };
            let known = before.remove(&id).filter(|named| named.wanted == *wanted);
            let named = known.unwrap_or_else(|| {
                unknown.push(id);
                Named::new(wanted.clone())
            });
            self.named.insert(id, named);
        }
        let named = &self.named;
        self.due.retain(|(_, id)| named.contains_key(id) && !unknown.contains(id));
        self.index();
        unknown
    }

    /// All of them, with the addresses that those have from which they may speak.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Peer> {
        self.all.values().map(Arc::as_ref)
    }

    /// What is known of a peer that has a name.
    pub(crate) fn named(&self, id: PeerId) -> Option<&Named> {
        self.named.get(&id)
    }

    /// Changes what is known of one. Whether it speaks from elsewhere now.
    pub(crate) fn change(&mut self, id: PeerId, change: impl FnOnce(&mut Named)) -> bool {
        let Some(named) = self.named.get_mut(&id) else { return false };
        let before: Vec<SocketAddr> = named.sources().collect();
        change(named);
        let moved = !named.sources().eq(before);
        if moved {
            self.index();
        }
        moved
    }

    /// One is looked up again then.
    pub(crate) fn follow_at(&mut self, id: PeerId, at: Time) {
        self.due.insert((at, id));
    }

    /// One that is to be looked up again.
    pub(crate) fn due(&mut self, now: Time) -> Option<PeerId> {
        let &first = self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&first);
        Some(first.1)
    }

    /// When something of this is due.
    pub(crate) fn next_at(&self) -> Option<Time> {
        let due = self.due.first().map(|(at, _)| *at);
        [due, self.names.next_at()].into_iter().flatten().min()
    }

    /// Chance for one search.
    pub(crate) fn draw(&self) -> Chance {
        self.draws.set(self.draws.get().wrapping_add(1));
        Chance::new(Seed::from_number(self.salt ^ self.draws.get()))
    }

    /// Who speaks from where.
    fn index(&mut self) {
        self.by_source.clear();
        for (id, peer) in &mut self.all {
            if let Some(named) = self.named.get(id) {
                let addresses = named.sources().collect();
                if peer.addresses != addresses {
                    *peer = Arc::new(Peer { addresses, ..(**peer).clone() });
                }
            }
            for address in &peer.addresses {
                let there = self.by_source.entry(address.ip()).or_default();
                // A name may lead to several ports of one address.
                if !there.iter().any(|other| other.id == *id) {
                    there.push(Arc::clone(peer));
                }
            }
        }
    }

    /// Takes the realms of all accounts, and the account when there is only one: phones that know our bare address belong
    /// to it then.
    pub(crate) fn set_realms(&mut self, mut realms: Vec<String>, sole: Option<AccountId>) {
        realms.sort_unstable();
        (self.realms, self.sole) = (realms, sole);
    }

    /// The peer that speaks from `source`: by address and port where several share the address.
    pub(crate) fn at(&self, source: SocketAddr) -> Option<&Arc<Peer>> {
        let peers = self.by_source.get(&source.ip())?;
        let exact = peers.iter().find(|peer| peer.addresses.contains(&source));
        // A peer behind a port translator speaks from another port; that is taken only where no doubt is possible.
        exact.or_else(|| if peers.len() == 1 && !source.ip().is_loopback() { peers.first() } else { None })
    }

    /// Whether a peer speaks from `source`. Its port counts only on loopback, where everybody has the same address.
    pub(crate) fn is_from(&self, peer: PeerId, source: SocketAddr) -> bool {
        let here = self.by_source.get(&source.ip()).into_iter().flatten().filter(|found| found.id == peer);
        here.into_iter().any(|found| !source.ip().is_loopback() || found.addresses.contains(&source))
    }

    /// Whether an account has this realm.
    fn is_realm(&self, realm: &str) -> bool {
        self.realms.binary_search_by(|known| known.as_str().cmp(realm)).is_ok()
    }

    /// The realm for a user whom nobody knows: always the same for the same name, so that it tells nothing.
    pub(crate) fn realm_for_stranger(&self, user: &str) -> &str {
        if self.realms.is_empty() {
            return "crosspoint";
        }
        let hash = user.bytes().fold(self.salt, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        &self.realms[(hash % self.realms.len() as u64) as usize]
    }
}

/// Who sends a request, as far as is known before a password is checked.
pub(crate) enum Whose {
    /// Somebody of this account.
    Account(Arc<Account>),
    /// A static peer of this account.
    Peer(Arc<Account>, Arc<Peer>),
    /// Nobody we know.
    Stranger,
}

impl Switch {
    /// Finds the account: listener, peer, domain, user name. `Err` names what must be asked for first.
    pub(crate) fn whose(&self, incoming: &Incoming, presented: &Presented<'_>, now: Time) -> Result<Whose, Need> {
        let peer = match self.peers.at(incoming.flow.remote) {
            Some(peer) if !self.is_beside(incoming, presented, peer, now)? => Some(peer),
            Some(_) | None => None,
        };
        if let Some(id) = self.config.listeners.get(usize::from(incoming.flow.listener)).and_then(|l| l.account) {
            let account = self.account(Need::Account(id), now)?;
            return Ok(match (account, peer.filter(|peer| peer.account == id)) {
                (Some(account), Some(peer)) => Whose::Peer(account, Arc::clone(peer)),
                (Some(account), None) => Whose::Account(account),
                (None, _) => Whose::Stranger,
            });
        }
        if let Some(peer) = peer {
            let account = self.account(Need::Account(peer.account), now)?;
            return Ok(account.map_or(Whose::Stranger, |account| Whose::Peer(account, Arc::clone(peer))));
        }
        if let Some(domain) = domain_of(incoming.message.request_uri())
            && let Some(account) = self.account(Need::Domain(domain), now)?
        {
            return Ok(Whose::Account(account));
        }
        let id = match self.peers.sole {
            Some(sole) => Some(sole),
            None => self.account_by_name(incoming, presented, now)?,
        };
        let Some(id) = id else { return Ok(Whose::Stranger) };
        Ok(self.account(Need::Account(id), now)?.map_or(Whose::Stranger, Whose::Account))
    }

    /// The account of the user whom a request to our bare address names. Unless it answers a challenge it waits for the
    /// directory even where we know that user, as it would for one whom nobody knows.
    fn account_by_name(
        &self,
        incoming: &Incoming,
        presented: &Presented<'_>,
        now: Time,
    ) -> Result<Option<AccountId>, Need> {
        let answers = self.claim(presented, None).is_some_and(Claim::answers);
        let Some(name) = self.name(presented, None) else { return Ok(None) };
        let need = Need::AuthUser(name.into_owned());
        if !answers && !incoming.asked {
            return Err(need);
        }
        Ok(self.user(need, now)?.map(|user| user.account))
    }

    /// Whether a request comes from a phone that shares its address with a peer, as all do behind one router: from another
    /// port than the peer's, it registers, or is bound where it comes from.
    fn is_beside(&self, incoming: &Incoming, presented: &Presented<'_>, peer: &Peer, now: Time) -> Result<bool, Need> {
        let Incoming { message, flow, .. } = incoming;
        if peer.addresses.contains(&flow.remote) {
            return Ok(false);
        }
        if message.method() == sip::Method::Register {
            return Ok(true);
        }
        // Streams come from any port; those of a peer that speaks so are its own.
        if peer.transport == flow.transport && flow.transport.is_reliable() {
            return Ok(false);
        }
        let Some(name) = self.name(presented, None) else { return Ok(false) };
        let extension = Need::Extension { account: peer.account, extension: name.to_string() };
        let user = match self.user(Need::AuthUser(name.into_owned()), now)? {
            Some(user) => Some(user),
            None => self.user(extension, now)?,
        };
        let bound = |user: Arc<registrar::User>| self.registrar.lookup(user.id, now).any(|device| device.flow == *flow);
        Ok(user.is_some_and(bound))
    }

    /// The credentials that came with a request: to be read once, and handed to whoever asks about them.
    pub(crate) fn presented<'i>(&self, incoming: &'i Incoming, now: Time) -> Presented<'i> {
        self.gate.door.read(&incoming.message, incoming.flow.remote.ip(), now)
    }

    /// Whose credentials are that came with a request to a realm, or to our bare address: of those that answer a challenge
    /// of ours the first, else of those for our realms.
    pub(crate) fn claim<'p, 'i>(&self, presented: &'p Presented<'i>, realm: Option<&str>) -> Option<&'p Claim<'i>> {
        let mut ours = presented.claims().iter().filter(|claim| claim.answers() || self.peers.is_realm(&claim.realm));
        ours.find(|claim| realm.is_none_or(|realm| claim.realm == realm))
    }

    /// The user name that a request comes with: of its credentials, else of its To (REGISTER) or From.
    pub(crate) fn name<'p>(&self, presented: &'p Presented<'_>, realm: Option<&str>) -> Option<Cow<'p, str>> {
        match self.claim(presented, realm) {
            Some(claim) => Some(Cow::Borrowed(&claim.name)),
            None => party_name(presented.message()),
        }
    }

    /// The account that answers `need`; `Ok(None)` when there is none.
    pub(crate) fn account(&self, need: Need, now: Time) -> Result<Option<Arc<Account>>, Need> {
        match self.directory.known(&need, now) {
            Some(Known::Found(Found::Account(account))) => Ok(Some(Arc::clone(account))),
            Some(Known::Found(Found::User(_)) | Known::Absent) => Ok(None),
            None => Err(need),
        }
    }

    /// The user that answers `need`; `Ok(None)` when there is none.
    pub(crate) fn user(&self, need: Need, now: Time) -> Result<Option<Arc<registrar::User>>, Need> {
        match self.directory.known(&need, now) {
            Some(Known::Found(Found::User(user))) => Ok(Some(Arc::clone(user))),
            Some(Known::Found(Found::Account(_)) | Known::Absent) => Ok(None),
            None => Err(need),
        }
    }
}

/// The domain of a Request-URI; `None` when it names us by address.
fn domain_of(uri: &str) -> Option<String> {
    let uri = Uri::parse(uri).ok()?;
    if uri.host_ip().is_some() || uri.host.is_empty() || uri.host.eq_ignore_ascii_case("localhost") {
        return None;
    }
    Some(uri.host.to_ascii_lowercase())
}

impl Incoming {
    pub(crate) fn new(txn: sip::ServerTxn, message: sip::Message, flow: Flow) -> Self {
        Incoming { txn, message, flow, asked: false, proven: RefCell::default() }
    }

    /// Whether it says that it knows a password.
    pub(crate) fn has_credentials(&self) -> bool {
        let names = [HeaderName::Authorization, HeaderName::ProxyAuthorization];
        names.into_iter().any(|name| self.message.header(name).is_some())
    }
}

/// The user part of To (REGISTER) or From.
fn party_name(message: &sip::Message) -> Option<Cow<'_, str>> {
    let party = if message.method() == sip::Method::Register { message.to() } else { message.from() };
    let user = Uri::parse(party.ok()?.uri).ok()?.user_unescaped();
    (!user.is_empty()).then_some(user)
}
