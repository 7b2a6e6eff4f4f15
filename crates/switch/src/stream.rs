//! The one stream of facts, and the answers that wait until what they promise is stored.

use registrar::Undo;
use serde::{Deserialize, Serialize};
use sip::{Message, Outgoing, ServerTxn};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use words::{AccountId, Clock, ConnectionId, Event, Fact, Seq, ShardId, Time, UserId};

/// Numbers facts and keeps back answers. A 200 to REGISTER or BYE leaves when its facts are stored.
///
/// Limits: [`UNSTORED`] events that are not stored yet; past that the exchange takes nothing new.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stream {
    shard: ShardId,
    last: Seq,
    stored: Seq,
    failing: bool,
    held: VecDeque<Held>,
    unsent: VecDeque<Event>,
    /// Connections that closed while answers waited, each with the last fact said before.
    #[serde(default)]
    gone: VecDeque<(Seq, ConnectionId)>,
}

/// An answer that waits.
#[derive(Serialize, Deserialize)]
pub(crate) struct Held {
    seq: Seq,
    since: Time,
    pub(crate) txn: ServerTxn,
    pub(crate) response: Outgoing,
    pub(crate) promise: Promise,
}

/// What an answer that waits would promise, and so what becomes of it when the store fails.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Promise {
    /// "You are registered": refused with 503, and taken back, when that cannot be kept.
    Registration(Box<Registration>),
    /// "The call is over": said within [`BYE_HELD`] whatever happens, as the fact goes to reserved space.
    Ending,
}

/// A REGISTER that was carried out, and is not stored yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) request: Message,
    pub(crate) account: AccountId,
    pub(crate) undo: Undo,
}

impl Stream {
    pub(crate) fn new(shard: ShardId) -> Self {
        Stream {
            shard,
            last: Seq(0),
            stored: Seq(0),
            failing: false,
            held: VecDeque::new(),
            unsent: VecDeque::new(),
            gone: VecDeque::new(),
        }
    }

    /// Appends a fact.
    pub(crate) fn say(&mut self, account: AccountId, fact: Fact, clock: &Clock, now: Time) {
        self.last = Seq(self.last.0 + 1);
        let event = Event { shard: self.shard, seq: self.last, account, at: now, wall: clock.wall_at(now), fact };
        self.unsent.push_back(event);
    }

    /// Keeps `response` until all facts said so far are stored; gives it back when nothing is outstanding.
    pub(crate) fn hold(
        &mut self,
        txn: ServerTxn,
        response: Outgoing,
        promise: Promise,
        now: Time,
    ) -> Option<(ServerTxn, Outgoing)> {
        if self.stored >= self.last {
            return Some((txn, response));
        }
        self.held.push_back(Held { seq: self.last, since: now, txn, response, promise });
        None
    }

    /// Facts up to `up_to` are stored.
    pub(crate) fn stored(&mut self, up_to: Seq) {
        self.stored = self.stored.max(up_to);
        self.failing = false;
        self.forget_gone();
    }

    /// Facts up to `up_to` could not be stored. Nothing is taken until a later one is. Gives the registrations that wait,
    /// the later ones too: what they build on may just have been refused.
    pub(crate) fn failed(&mut self, up_to: Seq) -> Vec<Held> {
        self.stored = self.stored.max(up_to);
        self.failing = true;
        let registers = |held: &Held| matches!(held.promise, Promise::Registration(_));
        let (refused, rest) = std::mem::take(&mut self.held).into_iter().partition(registers);
        self.held = rest;
        Vec::from(refused as VecDeque<Held>)
    }

    /// A connection is gone: what is taken back later does not come back over it.
    pub(crate) fn flow_closed(&mut self, connection: ConnectionId) {
        if !self.held.is_empty() {
            self.gone.push_back((self.last, connection));
        }
    }

    /// The connections that are gone since the oldest answer that waits was made.
    pub(crate) fn take_gone(&mut self) -> BTreeSet<ConnectionId> {
        self.gone.drain(..).map(|(_, connection)| connection).collect()
    }

    /// Nothing of before comes back to a user who was revoked.
    pub(crate) fn revoke(&mut self, user: UserId) {
        for held in &mut self.held {
            if let Promise::Registration(registration) = &mut held.promise
                && registration.undo.user() == user
            {
                registration.undo.forget();
            }
        }
    }

    fn forget_gone(&mut self) {
        while self.gone.front().is_some_and(|(seq, _)| *seq <= self.stored) {
            self.gone.pop_front();
        }
    }

    /// The next answer whose facts were dealt with.
    pub(crate) fn release(&mut self) -> Option<Held> {
        if self.held.front()?.seq <= self.stored { self.held.pop_front() } else { None }
    }

    /// The endings that waited longer than [`BYE_HELD`].
    pub(crate) fn overdue(&mut self, now: Time) -> Vec<Held> {
        if self.next_at().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let late = |held: &Held| matches!(held.promise, Promise::Ending) && held.since + BYE_HELD <= now;
        let (overdue, rest) = std::mem::take(&mut self.held).into_iter().partition(late);
        self.held = rest;
        Vec::from(overdue as VecDeque<Held>)
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.held.iter().find(|held| matches!(held.promise, Promise::Ending)).map(|held| held.since + BYE_HELD)
    }

    pub(crate) fn poll(&mut self) -> Option<Event> {
        self.unsent.pop_front()
    }

    /// Whether nothing new may be promised: the store fails, or too much waits for it.
    pub(crate) fn is_full(&self) -> bool {
        self.failing || self.last.0 - self.stored.0 > UNSTORED
    }

    /// Whether everything that was said is stored.
    pub(crate) fn is_settled(&self) -> bool {
        self.stored >= self.last
    }

    /// Whether the last commit failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }
}

/// The most events that wait for the store.
const UNSTORED: u64 = 20_000;
/// The longest that a 200 to BYE waits for the store.
const BYE_HELD: Duration = Duration::from_secs(2);
