//! The directory's double: accounts, users, routes and peers in memory.

use registrar::{AlgorithmPolicy, NatPolicy, User};
use sip::digest::Ha1;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use switch::account::{Account, Pattern, Peer, Route, RouteTarget};
use switch::{Found, Input, Need};
use words::{AccountId, PeerId, UserId};

/// How the directory answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// After so long.
    After(Duration),
    /// It says at once that it cannot tell.
    Unavailable,
    /// Not at all.
    Away,
}

/// What the exchange asks for.
pub struct Directory {
    /// How it answers from now on.
    pub mood: Mood,
    /// How often it was asked.
    pub questions: u32,
    pub(crate) accounts: Vec<Account>,
    pub(crate) users: Vec<Arc<User>>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Directory { mood: Mood::After(Duration::from_millis(1)), questions: 0, accounts: Vec::new(), users: Vec::new() }
    }

    pub(crate) fn add_account(&mut self, name: &str) -> AccountId {
        let id = AccountId(self.accounts.len() as u32 + 1);
        let domain = format!("{name}.example");
        self.accounts.push(Account {
            id,
            name: name.to_owned(),
            realm: domain.clone(),
            domain,
            ring_for: Duration::from_secs(30),
            typed_transfer: None,
            routes: Vec::new(),
            peers: Vec::new(),
            algorithms: BTreeMap::new(),
        });
        id
    }

    pub(crate) fn add_user(&mut self, account: AccountId, extension: &str, auth_user: &str, password: &str) -> UserId {
        let id = UserId(self.users.len() as u32 + 1);
        let realm = self.account(account).realm.clone();
        self.users.push(Arc::new(User {
            account,
            id,
            extension: extension.to_owned(),
            auth_user: auth_user.to_owned(),
            ha1: Ha1::new(auth_user, &realm, password),
            realm,
            algorithms: AlgorithmPolicy::All,
            display_name: format!("Phone {extension}"),
            enabled: true,
            nat: NatPolicy::Detect,
            srtp: words::Srtp::default(),
        }));
        id
    }

    pub(crate) fn add_peer(&mut self, peer: Peer) {
        let account = self.account_mut(peer.account);
        account.peers.push(peer);
    }

    pub(crate) fn change_peer(&mut self, id: PeerId, change: impl FnOnce(&mut Peer)) {
        let found = self.accounts.iter_mut().flat_map(|account| &mut account.peers).find(|peer| peer.id == id);
        change(found.expect("tests name peers that they made"));
    }

    /// The static peers of all accounts.
    pub fn peers(&self) -> Vec<Peer> {
        self.accounts.iter().flat_map(|account| account.peers.iter().cloned()).collect()
    }

    pub(crate) fn add_route(&mut self, account: AccountId, pattern: &str, target: RouteTarget) {
        self.account_mut(account).routes.push(Route { pattern: Pattern::parse(pattern), target });
    }

    pub(crate) fn account(&self, id: AccountId) -> &Account {
        self.accounts.iter().find(|account| account.id == id).expect("tests name accounts that they made")
    }

    fn account_mut(&mut self, id: AccountId) -> &mut Account {
        self.accounts.iter_mut().find(|account| account.id == id).expect("tests name accounts that they made")
    }

    pub(crate) fn user_of(&self, account: AccountId, extension: &str) -> UserId {
        let found = self.users.iter().find(|user| user.account == account && user.extension == extension);
        found.expect("tests name users that they made").id
    }

    /// Changes an account's record; the exchange is told by whoever calls.
    pub fn change_account(&mut self, id: AccountId, change: impl FnOnce(&mut Account)) {
        change(self.account_mut(id));
    }

    /// Changes a user's record; the exchange is told by whoever calls.
    pub fn change_user(&mut self, user: UserId, change: impl FnOnce(&mut User)) {
        let found = self.users.iter_mut().find(|candidate| candidate.id == user);
        change(Arc::make_mut(found.expect("tests name users that they made")));
    }

    fn other_algorithms(&self, account: AccountId) -> BTreeMap<String, AlgorithmPolicy> {
        let others = |user: &&Arc<User>| user.account == account && user.algorithms != AlgorithmPolicy::All;
        let names = |user: &Arc<User>| [&user.extension, &user.auth_user].map(|name| (name.clone(), user.algorithms));
        self.users.iter().filter(others).flat_map(names).collect()
    }

    /// The answer to a question.
    pub(crate) fn answer(&self, need: Need) -> Input {
        let account = |found: Option<&Account>| {
            found.map(|account| {
                let algorithms = self.other_algorithms(account.id);
                Found::Account(Arc::new(Account { algorithms, ..account.clone() }))
            })
        };
        let user = |found: Option<&Arc<User>>| found.map(|user| Found::User(Arc::clone(user)));
        let found = match &need {
            Need::Account(id) => account(self.accounts.iter().find(|account| account.id == *id)),
            Need::Domain(domain) => account(self.accounts.iter().find(|account| account.domain == *domain)),
            Need::AuthUser(name) => user(self.users.iter().find(|user| user.auth_user == *name)),
            Need::Extension { account, extension } => {
                user(self.users.iter().find(|user| user.account == *account && user.extension == *extension))
            }
        };
        match found {
            Some(found) => Input::Found { need, found },
            None => Input::Absent { need },
        }
    }
}
