//! The store's double: it commits after a while, folds what it was told, and holds the stream to its laws.

use books::{Cdr, Moment};
use std::collections::BTreeMap;
use std::time::Duration;
use switch::Input;
use words::{
    AccountId, CallId, Clock, EndCause, Event, Fact, LegId, Seq, StoredBinding, StoredSubscription, Time, UserId,
};

/// What became of a binding's fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Stored,
    Refused,
}

/// The store.
pub struct Store {
    /// How long a commit takes.
    pub delay: Duration,
    /// Whether commits fail: facts of calls go to reserved space, registrations are refused.
    pub(crate) failing: bool,
    waiting: Vec<Event>,
    last: Seq,
    told: Seq,
    cdrs: BTreeMap<CallId, Cdr>,
    /// The caller's Call-ID, to know which call a BYE ends.
    by_call_id: BTreeMap<String, CallId>,
    /// When each call ended, and the place of that fact.
    ended: BTreeMap<CallId, (Seq, Time)>,
    /// When each leg left a call that went on, and the place of that fact.
    left: BTreeMap<LegId, (Seq, Time)>,
    /// By Call-ID and CSeq of the REGISTER.
    registrations: BTreeMap<(String, u32), Fate>,
    /// The REGISTERs without a fact that were answered 200 since the exchange was let speak last.
    answered: Vec<(String, u32)>,
    bindings: BTreeMap<(UserId, String), (AccountId, StoredBinding)>,
    subscriptions: BTreeMap<(UserId, String), (AccountId, StoredSubscription)>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Store {
            delay: Duration::from_millis(4),
            failing: false,
            waiting: Vec::new(),
            last: Seq(0),
            told: Seq(0),
            cdrs: BTreeMap::new(),
            by_call_id: BTreeMap::new(),
            ended: BTreeMap::new(),
            left: BTreeMap::new(),
            registrations: BTreeMap::new(),
            answered: Vec::new(),
            bindings: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
        }
    }

    /// The records of all calls that were stored, in the order in which they began.
    pub fn cdrs(&self) -> impl Iterator<Item = &Cdr> {
        self.cdrs.values()
    }

    /// The bindings as the store has them.
    pub fn bindings(&self) -> impl Iterator<Item = (AccountId, UserId, &StoredBinding)> {
        self.bindings.iter().map(|((user, _), (account, binding))| (*account, *user, binding))
    }

    /// The subscriptions as the store has them.
    pub fn subscriptions(&self) -> impl Iterator<Item = (AccountId, UserId, &StoredSubscription)> {
        self.subscriptions.iter().map(|((user, _), (account, one))| (*account, *user, one))
    }

    /// A fact is handed over. Gives whether a commit is to be begun for it.
    pub(crate) fn take(&mut self, event: Event, now: Time) -> bool {
        assert_eq!(event.seq.0, self.last.0 + 1, "the stream has a gap");
        self.last = event.seq;
        match &event.fact {
            Fact::CallOpened { call, sip_call_id, .. } => {
                self.by_call_id.insert(sip_call_id.clone(), *call);
            }
            Fact::CallEnded { call, .. } => {
                let before = self.ended.insert(*call, (event.seq, now));
                assert_eq!(before, None, "call {call} ended twice");
            }
            Fact::Bound { binding, .. } => {
                let early = self.answered.contains(&(binding.call_id.clone(), binding.cseq));
                assert!(!early, "a 200 to a REGISTER left before it was said what it binds");
                self.mark(binding, Fate::Waiting);
            }
            Fact::LegEnded { leg, .. } => {
                self.left.insert(*leg, (event.seq, now));
            }
            Fact::Unbound { .. }
            | Fact::Subscribed { .. }
            | Fact::Unsubscribed { .. }
            | Fact::LegOpened { .. }
            | Fact::LegRang { .. }
            | Fact::LegMeasured { .. }
            | Fact::CallTransferred { .. }
            | Fact::CallAnswered { .. } => {}
        }
        self.waiting.push(event);
        self.waiting.len() == 1
    }

    /// The commit is done: what the exchange is told.
    pub(crate) fn commit(&mut self) -> Input {
        let failing = self.failing;
        for event in std::mem::take(&mut self.waiting) {
            self.told = event.seq;
            self.keep(&event, failing);
        }
        if failing { Input::StoreFailed { up_to: self.told } } else { Input::Stored { up_to: self.told } }
    }

    fn keep(&mut self, event: &Event, failing: bool) {
        match &event.fact {
            Fact::CallOpened { call, .. } => {
                let cdr = Cdr::open(event).expect("an opening opens a record");
                assert!(self.cdrs.insert(*call, cdr).is_none(), "call {call} was opened twice");
            }
            Fact::Bound { user, binding } if !failing => {
                self.bindings.insert((*user, binding.key.clone()), (event.account, binding.clone()));
                self.mark(binding, Fate::Stored);
            }
            Fact::Unbound { user, key } if !failing => {
                self.bindings.remove(&(*user, key.clone()));
            }
            Fact::Subscribed { user, subscription } if !failing => {
                let one = (event.account, StoredSubscription::clone(subscription));
                self.subscriptions.insert((*user, subscription.key.clone()), one);
            }
            Fact::Unsubscribed { user, key } if !failing => {
                self.subscriptions.remove(&(*user, key.clone()));
            }
            Fact::Bound { binding, .. } => self.mark(binding, Fate::Refused),
            Fact::Unbound { .. } | Fact::Subscribed { .. } | Fact::Unsubscribed { .. } => {}
            Fact::LegOpened { .. }
            | Fact::LegRang { .. }
            | Fact::LegMeasured { .. }
            | Fact::LegEnded { .. }
            | Fact::CallAnswered { .. }
            | Fact::CallTransferred { .. }
            | Fact::CallEnded { .. } => {
                let call = books::call_of(&event.fact).expect("it is about a call");
                let cdr = self.cdrs.get_mut(&call).expect("a call is opened first");
                cdr.apply(event).unwrap_or_else(|error| panic!("{:?} of {call}: {error}", event.fact));
            }
        }
    }

    /// Whether a 200 to a BYE with this Call-ID may leave: the end of its call, or that its leg left a call that goes
    /// on, is stored or has waited for two seconds.
    pub(crate) fn may_end(&self, call_id: &str, now: Time) -> Result<(), String> {
        let ours =
            call_id.split_once('-').and_then(|(call, n)| Some(LegId { call: call.parse().ok()?, n: n.parse().ok()? }));
        let caller = || self.by_call_id.get(call_id).map(|&call| LegId { call, n: 0 });
        // A newcomer to a call (RFC 3891) came with a Call-ID that no fact tells.
        let Some(leg) = ours.or_else(caller) else { return Ok(()) };
        let call = leg.call;
        let said: Vec<_> = [self.ended.get(&call), self.left.get(&leg)].into_iter().flatten().collect();
        if said.is_empty() {
            return Err(format!("200 to a BYE, and call {call} goes on"));
        }
        let promised = |(seq, since): &&(Seq, Time)| *seq <= self.told || now.since(*since) >= Duration::from_secs(2);
        if said.iter().any(promised) { Ok(()) } else { Err(format!("200 to a BYE before the end of {call} is stored")) }
    }

    /// Whether a 200 to a REGISTER with this Call-ID and CSeq may leave: what it bound is stored.
    pub(crate) fn may_bind(&mut self, call_id: &str, cseq: u32) -> Result<(), String> {
        match self.registrations.get(&(call_id.to_owned(), cseq)) {
            None => {
                // It asked only, or changed nothing, or what it bound is still to be said.
                self.answered.push((call_id.to_owned(), cseq));
                Ok(())
            }
            Some(Fate::Stored) => Ok(()),
            Some(fate @ (Fate::Waiting | Fate::Refused)) => Err(format!("200 to a REGISTER whose binding is {fate:?}")),
        }
    }

    /// The exchange has said everything for now.
    pub(crate) fn rest(&mut self) {
        self.answered.clear();
    }

    /// Takes out the records of calls that ended `late` ago, and forgets what else is known of them.
    pub(crate) fn take_records(&mut self, now: Time, late: Duration) -> Vec<Cdr> {
        let is_late = |since: Time| now.since(since) >= late;
        let over: Vec<CallId> =
            self.ended.iter().filter(|(_, (_, since))| is_late(*since)).map(|(call, _)| *call).collect();
        let taken = over.iter().filter_map(|call| self.cdrs.remove(call)).collect();
        for call in &over {
            self.ended.remove(call);
        }
        self.left.retain(|_, (_, since)| !is_late(*since));
        let cdrs = &self.cdrs;
        self.by_call_id.retain(|_, call| cdrs.contains_key(call));
        self.registrations.retain(|_, fate| *fate != Fate::Stored);
        taken
    }

    fn mark(&mut self, binding: &StoredBinding, fate: Fate) {
        // What is said again of one that was promised takes nothing back.
        let now = self.registrations.entry((binding.call_id.clone(), binding.cseq)).or_insert(fate);
        if *now != Fate::Stored {
            *now = fate;
        }
    }

    /// The process is started anew: its stream begins again, what was not committed is lost, and what was cut off is
    /// closed as interrupted.
    pub(crate) fn restart(&mut self, clock: Clock) {
        self.waiting.clear();
        (self.last, self.told) = (Seq(0), Seq(0));
        self.registrations.clear();
        for cdr in self.cdrs.values_mut().filter(|cdr| cdr.ended.is_none()) {
            let moment = Moment { at: cdr.opened.at, wall: clock.wall };
            cdr.ended = Some(books::Ending { moment, cause: EndCause::Interrupted, by: None });
        }
        self.ended = self.cdrs.keys().map(|&call| (call, (Seq(0), clock.mono))).collect();
    }

    /// What is wrong once everything is over.
    pub(crate) fn check_quiet(&self) {
        assert!(self.waiting.is_empty(), "facts wait for a commit");
        for cdr in self.cdrs.values() {
            assert!(cdr.ended.is_some(), "call {} has a record without an end", cdr.call);
        }
        assert_eq!(self.ended.len(), self.cdrs.len(), "as many calls ended as there are records");
    }
}
