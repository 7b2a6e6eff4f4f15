//! The thread that answers what the exchange asks for, from a connection of its own to the database.

use controller::{AccountRecord, Directory, PeerRecord, RouteRecord, RouteTarget, Service, Strategy, UserRecord};
use net::clock::Clocks;
use net::tls::Trust;
use sip::locate::Wanted;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switch::account::{self, Account, Peer};
use switch::{Found, Input, Need};
use tokio::sync::mpsc;
use words::{AccountId, PeerId, Time, Transport, UserId};

/// Where static peers are that are known by their address, and whom to trust; written by the shell, read here and by the loop.
pub(crate) type PeerAddresses = Arc<Mutex<BTreeMap<PeerId, PeerReach>>>;

/// Where a static peer is, from where it is reached, and whose certificate it has to show.
#[derive(Clone, Debug)]
pub(crate) struct PeerReach {
    /// Its address; none of a name.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The listener and the address of ours that requests to it leave from.
    pub(crate) from: Option<(u16, SocketAddr)>,
    /// What proves who it is.
    pub(crate) trust: Trust,
}

/// The most questions that wait for the thread. The exchange answers 503 by itself when it takes too long.
pub(crate) const QUESTIONS: usize = 4_096;

/// Starts the thread. It ends when the returned sender is dropped.
pub(crate) fn start(
    directory: Directory,
    addresses: PeerAddresses,
    answers: mpsc::Sender<Input>,
) -> std::io::Result<SyncSender<Need>> {
    let (sender, receiver) = sync_channel(QUESTIONS);
    std::thread::Builder::new()
        .name("directory".into())
        .spawn(move || serve(&directory, &addresses, &receiver, &answers))?;
    Ok(sender)
}

fn serve(directory: &Directory, addresses: &PeerAddresses, questions: &Receiver<Need>, answers: &mpsc::Sender<Input>) {
    let mut ahead = Ahead::default();
    while let Ok(need) = questions.recv() {
        let mut seen = None;
        let input = match look_up(directory, addresses, &need, &mut |record| seen = Some(record.clone())) {
            Ok(Some(found)) => Input::Found { need, found },
            Ok(None) => Input::Absent { need },
            Err(error) => {
                tracing::error!(%error, "the directory cannot be read");
                Input::Unavailable { need }
            }
        };
        if answers.blocking_send(input).is_err() {
            return;
        }
        // After the answer, which must not take longer for a user who exists.
        let learned = seen.map(|record| ahead.of(directory, &record)).unwrap_or_default();
        if !learned.is_empty() && answers.blocking_send(Input::Learned(learned)).is_err() {
            return;
        }
    }
}

/// Reads the users of an office together: after a restart its phones come within the same minute, and each question by
/// itself wakes two threads.
///
/// Limits: [`USERS_AHEAD`] users at a time, [`ACCOUNTS_AHEAD`] accounts remembered.
#[derive(Debug, Default)]
struct Ahead {
    /// Up to which user each account was read, and when.
    read: BTreeMap<AccountId, (UserId, Time)>,
    clocks: Clocks,
}

impl Ahead {
    /// This user and those that were made after it, unless they were read a moment ago.
    fn of(&mut self, directory: &Directory, user: &UserRecord) -> Vec<(Need, Found)> {
        let now = self.clocks.now();
        if self.read.get(&user.account).is_some_and(|&(last, at)| user.id <= last && now.since(at) < AHEAD_AGAIN) {
            return Vec::new();
        }
        let records = match directory.users_from(user, USERS_AHEAD) {
            Ok(records) => records,
            Err(error) => {
                tracing::warn!(%error, "the users of an account cannot be read ahead");
                return Vec::new();
            }
        };
        if self.read.len() >= ACCOUNTS_AHEAD {
            self.read.clear();
        }
        if let Some(last) = records.last() {
            self.read.insert(user.account, (last.id, now));
        }
        let found = records.into_iter().map(self::user).flat_map(|user| {
            let by_name = (Need::AuthUser(user.auth_user.clone()), Found::User(Arc::clone(&user)));
            let need = Need::Extension { account: user.account, extension: user.extension.clone() };
            [by_name, (need, Found::User(user))]
        });
        found.collect()
    }
}

fn look_up(
    directory: &Directory,
    addresses: &PeerAddresses,
    need: &Need,
    hear: &mut dyn FnMut(&UserRecord),
) -> Result<Option<Found>, Box<dyn std::error::Error>> {
    let mut told = |record: Option<UserRecord>| {
        record.map(|record| {
            hear(&record);
            Found::User(user(record))
        })
    };
    let account = match need {
        Need::Account(id) => directory.account(*id)?,
        Need::Domain(domain) => directory.account_by_domain(domain)?,
        Need::AuthUser(name) => return Ok(told(directory.user_by_auth(name)?)),
        Need::Extension { account, extension } => return Ok(told(directory.user(*account, extension)?)),
    };
    let Some(account) = account else { return Ok(None) };
    let routes = directory.routes(account.id)?;
    let others = directory.other_algorithms(account.id, OTHER_ALGORITHMS)?;
    let known = addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let peers = directory.peers(account.id)?.into_iter().map(|record| peer(record, &known)).collect();
    Ok(Some(Found::Account(Arc::new(to_account(account, routes, peers, others)))))
}

fn to_account(record: AccountRecord, routes: Vec<RouteRecord>, peers: Vec<Peer>, others: Vec<UserRecord>) -> Account {
    let names = |user: UserRecord| {
        let algorithms = to_algorithms(user.algorithms);
        [(user.extension, algorithms), (user.auth_user, algorithms)]
    };
    Account {
        id: record.id,
        name: record.name,
        domain: record.domain,
        realm: record.realm,
        ring_for: record.settings.ring_for_s.map_or(RING_FOR, |seconds| Duration::from_secs(seconds.into())),
        typed_transfer: record.settings.typed_transfer,
        routes: routes.into_iter().map(route).collect(),
        peers,
        algorithms: others.into_iter().flat_map(names).collect(),
    }
}

fn route(record: RouteRecord) -> account::Route {
    let target = match record.target {
        RouteTarget::Service { name } => account::RouteTarget::Service(service(name)),
        RouteTarget::Ring { extensions, ring_for_s, strategy } => account::RouteTarget::Ring {
            extensions,
            ring_for: Duration::from_secs(ring_for_s.into()),
            in_order: strategy == Strategy::InOrder,
        },
        RouteTarget::Peer { peer, strip, prepend } => account::RouteTarget::Peer { peer, strip, prepend },
    };
    let pattern = match record.pattern {
        controller::Pattern::Exact(text) => account::Pattern::Exact(text),
        controller::Pattern::Prefix(prefix) => account::Pattern::Prefix(prefix),
    };
    account::Route { pattern, target }
}

fn service(name: Service) -> account::Service {
    match name {
        Service::Echo => account::Service::Echo,
        Service::Tone440 => account::Service::Tone440,
        Service::Busy => account::Service::Busy,
        Service::Noanswer => account::Service::NoAnswer,
        Service::Early183 => account::Service::Early183,
        Service::AnswerAfter { seconds } => {
            account::Service::AnswerAfter(seconds.map(|seconds| Duration::from_secs(seconds.into())))
        }
    }
}

/// A peer's row with what is known of where it is.
pub(crate) fn peer(record: PeerRecord, reaches: &BTreeMap<PeerId, PeerReach>) -> Peer {
    let reach = reaches.get(&record.id);
    let is_name = record.address().is_none();
    let wanted = || Wanted { port: record.port, transport: record.transport, ..Wanted::host(&record.host) };
    let by_name = is_name.then(wanted);
    let host = match record.port {
        Some(port) if record.host.contains(':') => format!("[{}]:{port}", record.host),
        Some(port) => format!("{}:{port}", record.host),
        None => record.host,
    };
    Peer {
        id: record.id,
        account: record.account,
        name: record.name,
        host,
        trust: switch::Trust { believed: record.trust_identity, told: record.tell_identity },
        addresses: reach.map_or_else(Vec::new, |reach| reach.addresses.clone()),
        by_name,
        from: reach.and_then(|reach| reach.from),
        transport: record.transport.unwrap_or(Transport::Udp),
        srtp: record.srtp,
    }
}

fn to_algorithms(policy: controller::AlgorithmPolicy) -> registrar::AlgorithmPolicy {
    match policy {
        controller::AlgorithmPolicy::All => registrar::AlgorithmPolicy::All,
        controller::AlgorithmPolicy::Md5Only => registrar::AlgorithmPolicy::Md5Only,
        controller::AlgorithmPolicy::Sha256Only => registrar::AlgorithmPolicy::Sha256Only,
    }
}

fn user(record: UserRecord) -> Arc<registrar::User> {
    Arc::new(registrar::User {
        account: record.account,
        id: record.id,
        extension: record.extension,
        auth_user: record.auth_user,
        realm: record.realm,
        ha1: sip::digest::Ha1 { md5: record.ha1_md5, sha256: record.ha1_sha256, sha512_256: record.ha1_sha512_256 },
        algorithms: to_algorithms(record.algorithms),
        display_name: record.display_name,
        enabled: record.enabled,
        nat: registrar::NatPolicy::Detect,
        srtp: record.srtp,
    })
}

/// The most users that are read together.
const USERS_AHEAD: usize = 1_000;
/// After so long the users of an account are read together again: some may have been forgotten.
const AHEAD_AGAIN: Duration = Duration::from_mins(1);
/// The most accounts of which is known how far they were read.
const ACCOUNTS_AHEAD: usize = 100_000;
/// The most users of an account that are set apart for other algorithms; those beyond are asked with all of them first.
const OTHER_ALGORITHMS: usize = 10_000;
/// How long an extension rings where its account says nothing.
const RING_FOR: Duration = Duration::from_secs(45);
