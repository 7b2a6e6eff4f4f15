//! The one stream of facts, and the answers that wait until what they promise is stored.

use serde::{Deserialize, Serialize};
use sip::{Message, Outgoing, ServerTxn};
use std::collections::VecDeque;
use std::time::Duration;
use words::{AccountId, Clock, Event, Fact, Seq, ShardId, Time};

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
    /// "You are registered": this request is refused with 503 when that cannot be kept.
    Registration(Box<Message>),
    /// "The call is over": said within [`BYE_HELD`] whatever happens, as the fact goes to reserved space.
    Ending,
}

impl Stream {
    pub(crate) fn new(shard: ShardId) -> Self {
        Stream { shard, last: Seq(0), stored: Seq(0), failing: false, held: VecDeque::new(), unsent: VecDeque::new() }
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
    }

    /// Facts up to `up_to` could not be stored. Nothing is taken until a later one is.
    pub(crate) fn failed(&mut self, up_to: Seq) {
        self.stored = self.stored.max(up_to);
        self.failing = true;
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
