//! The read-only picture that people and programs get.

use serde::Serialize;
use words::{AccountId, CallId, Party, Transport, UserId, Wall};

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
    /// The user name it tried, when the ban is for that name only.
    pub user: Option<String>,
    /// How many wrong passwords.
    pub failures: u32,
    /// Until when. Units: seconds from now.
    pub seconds_left: u64,
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
