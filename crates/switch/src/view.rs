//! The read-only picture that people and programs get.

use b2bua::Calls;
use registrar::{Door, Registrar};
use serde::Serialize;
use std::net::IpAddr;
use words::{AccountId, CallId, Clock, Party, PeerId, Time, Transport, UserId, Wall};

/// A call that is up.
#[derive(Clone, Debug, Serialize)]
pub struct CallView {
    /// Its id.
    pub call: CallId,
    /// Whose.
    pub account: AccountId,
    /// Who calls.
    pub from: Party,
    /// What was dialled.
    pub to: Party,
    /// `ringing`, `answered` and so on.
    pub state: &'static str,
    /// When it began.
    pub began: Wall,
    /// When it was answered.
    pub answered: Option<Wall>,
    /// Its legs.
    pub legs: Vec<LegView>,
}

/// A leg of a call.
#[derive(Clone, Debug, Serialize)]
pub struct LegView {
    /// Its number.
    pub n: u16,
    /// Who it is.
    pub party: Party,
    /// Its state.
    pub state: &'static str,
    /// The address it speaks from.
    pub remote: String,
}

/// A registered device.
#[derive(Clone, Debug, Serialize)]
pub struct PhoneView {
    /// Whose account.
    pub account: AccountId,
    /// Who.
    pub user: UserId,
    /// The Contact it gave.
    pub contact: String,
    /// The address it registered from.
    pub source: String,
    /// What carries it.
    pub transport: Transport,
    /// Its User-Agent.
    pub agent: String,
    /// Whether it sits behind NAT.
    pub nat: bool,
    /// The round trip of the last ping. Units: microseconds.
    pub round_trip_us: Option<u64>,
    /// Whether it stopped answering, or its connection is gone.
    pub unreachable: bool,
    /// When the registration ends.
    pub expires: Wall,
}

/// A source that is shut out.
#[derive(Clone, Debug, Serialize)]
pub struct BanView {
    /// Its address.
    pub source: String,
    /// The user whose password it guessed, when the ban is for that user only.
    pub user: Option<UserId>,
    /// How many wrong passwords.
    pub failures: u32,
    /// Until when. Units: seconds from now.
    pub seconds_left: u64,
}

/// A static peer.
#[derive(Clone, Debug, Serialize)]
pub struct PeerView {
    /// Which.
    pub peer: PeerId,
    /// Whose account.
    pub account: AccountId,
    /// Where it is called, the first first.
    pub servers: Vec<ServerView>,
    /// Why its name leads nowhere: `no-address`, `no-service`, `dns-silent` or `no-listener`.
    pub trouble: Option<&'static str>,
    /// From where it may speak.
    pub sources: Vec<IpAddr>,
}

/// A server of a static peer.
#[derive(Clone, Debug, Serialize)]
pub struct ServerView {
    /// Its address and port.
    pub address: String,
    /// What carries requests to it.
    pub transport: Transport,
    /// Why others are called before it: `silent`, `unreachable`, `untrusted` or `busy`.
    pub down: Option<&'static str>,
    /// For so long yet. Units: seconds.
    pub down_s: Option<u64>,
}

/// Counts of the whole exchange.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Calls that are up.
    pub calls: usize,
    /// Live transactions.
    pub transactions: usize,
    /// Bindings.
    pub registrations: usize,
    /// Who watches whom: lamps, presence, mailboxes, registrations.
    pub subscriptions: usize,
    /// Documents that users publish about themselves.
    pub publications: usize,
    /// Questions to the directory that wait.
    pub needs: usize,
    /// Answers that wait for the store.
    pub held: usize,
    /// Whether the store fails.
    pub store_failing: bool,
    /// Whether it takes no new calls because it is told so.
    pub draining: bool,
    /// Counters, by name.
    pub counters: Vec<(&'static str, u64)>,
}

/// The calls of one account, or of all.
pub(crate) fn calls(calls: &Calls, clock: &Clock, account: Option<AccountId>) -> Vec<CallView> {
    calls.views().filter(|view| account.is_none_or(|id| id == view.account)).map(|view| of_call(&view, clock)).collect()
}

/// One call, when it is up.
pub(crate) fn call(calls: &Calls, clock: &Clock, call: CallId) -> Vec<CallView> {
    calls.view(call).iter().map(|view| of_call(view, clock)).collect()
}

fn of_call(view: &b2bua::CallView<'_>, clock: &Clock) -> CallView {
    CallView {
        call: view.call,
        account: view.account,
        from: view.from.clone(),
        to: view.to.clone(),
        state: view.state.as_str(),
        began: clock.wall_at(view.began),
        answered: view.answered.map(|at| clock.wall_at(at)),
        legs: view
            .legs
            .iter()
            .map(|leg| LegView {
                n: leg.n,
                party: leg.party.clone(),
                state: leg.state.as_str(),
                remote: leg.flow.remote.to_string(),
            })
            .collect(),
    }
}

/// The registered devices of one account, or of all.
pub(crate) fn phones(registrar: &Registrar, clock: &Clock, account: Option<AccountId>) -> Vec<PhoneView> {
    let devices = registrar.devices().filter(|device| account.is_none_or(|id| id == device.account));
    devices
        .map(|device| PhoneView {
            account: device.account,
            user: device.user,
            contact: device.contact.to_owned(),
            source: device.flow.remote.to_string(),
            transport: device.flow.transport,
            agent: device.agent.to_owned(),
            nat: device.nat,
            round_trip_us: device.round_trip.map(|time| time.as_micros() as u64),
            unreachable: device.unreachable,
            expires: clock.wall_at(device.expires),
        })
        .collect()
}

/// The sources that are out of tries.
pub(crate) fn bans(door: &Door, now: Time) -> Vec<BanView> {
    let bans = door.bans(now).into_iter();
    bans.map(|ban| BanView {
        source: ban.source.to_string(),
        user: ban.user,
        failures: ban.failures,
        seconds_left: ban.until.since(now).as_secs(),
    })
    .collect()
}
