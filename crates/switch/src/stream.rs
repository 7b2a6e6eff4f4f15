//! The one stream of facts, and the answers that wait until what they promise is stored.

use registrar::Undo;
use serde::{Deserialize, Serialize};
use sip::{Message, Outgoing, ServerTxn};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use words::{AccountId, Clock, ConnectionId, Event, Fact, Seq, ShardId, Time, UserId};

/// Numbers facts and keeps back answers. A 200 to REGISTER or BYE leaves when its facts are stored.
///
/// Limits: [`UNSTORED`] events that are not stored yet; past that the exchange takes nothing new. [`GONE`] connections
/// that closed while answers waited; past that all count as closed.
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
    /// The last fact said before the last one closed that is not among them.
    #[serde(default)]
    more_gone: Option<Seq>,
}

/// Connections that are gone.
pub(crate) struct Gone {
    known: BTreeSet<ConnectionId>,
    all: bool,
}

impl Gone {
    /// Whether this one is. What came without a connection cannot lose it.
    pub(crate) fn has(&self, connection: ConnectionId) -> bool {
        connection != ConnectionId::NONE && (self.all || self.known.contains(&connection))
    }
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
            more_gone: None,
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
        if self.held.is_empty() {
            return;
        }
        if self.gone.len() < GONE {
            self.gone.push_back((self.last, connection));
        } else {
            self.more_gone = Some(self.last);
        }
    }

    /// The connections that are gone since the oldest answer that waits was made.
    pub(crate) fn take_gone(&mut self) -> Gone {
        let known = self.gone.drain(..).map(|(_, connection)| connection).collect();
        Gone { known, all: self.more_gone.take().is_some() }
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
        self.more_gone.take_if(|seq| *seq <= self.stored);
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
/// The most connections that are remembered to have closed while answers waited. When more did, whatever is taken back
/// counts as gone: a phone that is still connected is called again once it registers anew, and nobody is called over a
/// connection that is another one's by then.
const GONE: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use sip::MessageBuilder;
    use words::CallId;

    /// A stream whose answer waits for one fact.
    fn waiting() -> Stream {
        let mut stream = Stream::new(ShardId(0));
        let fact = Fact::CallEnded { call: CallId(1), cause: words::EndCause::Normal, by: None };
        stream.say(AccountId(1), fact, &Clock::default(), Time::ZERO);
        // Transactions are named by endpoints alone: it is read as out of a snapshot.
        let named = rmp_serde::to_vec(&(0_u32, 1_u32)).unwrap();
        let txn: ServerTxn = rmp_serde::from_slice(&named).unwrap();
        let response = Outgoing::new(MessageBuilder::request("OPTIONS", "sip:h"));
        assert!(stream.hold(txn, response, Promise::Ending, Time::ZERO).is_none());
        stream
    }

    fn connection(slot: u32) -> ConnectionId {
        ConnectionId { slot, generation: 1 }
    }

    fn closed(stream: &mut Stream, connections: usize) {
        for n in 0..connections {
            stream.flow_closed(connection(n as u32 + 1));
        }
    }

    #[test]
    fn what_closes_while_answers_wait_is_known_until_they_left() {
        let mut stream = waiting();
        closed(&mut stream, 3);
        let gone = stream.take_gone();
        assert!(gone.has(connection(3)) && !gone.has(connection(4)) && !gone.has(ConnectionId::NONE));
        closed(&mut stream, 3);
        stream.stored(Seq(1));
        assert!(!stream.take_gone().has(connection(3)));
        assert!(stream.release().is_some());
        closed(&mut stream, 3);
        assert!(!stream.take_gone().has(connection(3)), "no answer waits");
    }

    #[test]
    fn where_too_many_closed_all_did() {
        let mut stream = waiting();
        closed(&mut stream, GONE);
        assert_eq!((stream.gone.len(), stream.more_gone), (GONE, None));
        closed(&mut stream, 2 * GONE);
        assert_eq!(stream.gone.len(), GONE);
        let other = connection(u32::MAX);
        let gone = stream.take_gone();
        assert!(gone.has(other) && !gone.has(ConnectionId::NONE));
        closed(&mut stream, 2 * GONE);
        stream.stored(Seq(1));
        assert!(!stream.take_gone().has(other));
    }
}
