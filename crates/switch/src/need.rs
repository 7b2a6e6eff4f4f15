//! What the core does not have, it asks for: accounts and users, cached until somebody says they changed.
//!
//! A request that lacks something is parked under what it lacks and begun again when the answer comes: it asks for one
//! thing at a time, and each thing is asked for once however many wait for it.

use crate::account::Account;
use registrar::User;
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use words::{AccountId, Time, TimerQueue, TimerToken};

/// A question to the directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Need {
    /// The account by its id.
    Account(AccountId),
    /// The account whose SIP domain this is, in lower case.
    Domain(String),
    /// The user whose digest user name this is; unique on the server.
    AuthUser(String),
    /// The user of an account by extension.
    Extension {
        /// The account.
        account: AccountId,
        /// The extension as dialled.
        extension: String,
    },
}

/// What the directory had.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Found {
    /// An account.
    Account(Arc<Account>),
    /// A user.
    User(Arc<User>),
}

/// What the cache says at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Known {
    /// It is there.
    Found(Found),
    /// The directory has no such thing.
    Absent,
}

/// Answers kept, and those who wait for answers.
///
/// Limits: [`CACHE_ENTRIES`] answers (the oldest go first), [`WAITING_PER_NEED`] waiting per question.
#[derive(Serialize, Deserialize)]
pub(crate) struct Directory<W> {
    known: HashMap<Need, (Known, Option<Time>)>,
    /// Keys in the order in which they were learned, to forget the oldest when the cache is full.
    order: VecDeque<Need>,
    asked: HashMap<Need, Asked<W>>,
    timers: TimerQueue<Need>,
    unasked: VecDeque<Need>,
    /// When an answer was last forgotten: what the directory read before may still be on its way.
    forgot: Option<Time>,
}

#[derive(Serialize, Deserialize)]
struct Asked<W> {
    waiting: Vec<W>,
    timer: TimerToken,
}

impl<W> Directory<W> {
    pub(crate) fn new(now: Time) -> Self {
        Directory {
            known: HashMap::new(),
            order: VecDeque::new(),
            asked: HashMap::new(),
            timers: TimerQueue::new(now),
            unasked: VecDeque::new(),
            forgot: None,
        }
    }

    /// What is known of `need`; `Err` when it must be asked for.
    pub(crate) fn known(&self, need: &Need, now: Time) -> Option<&Known> {
        let (known, until) = self.known.get(need)?;
        until.is_none_or(|until| now < until).then_some(known)
    }

    /// Parks `waiter` until `need` is answered. Gives it back when too many wait already.
    pub(crate) fn park(&mut self, need: Need, waiter: W, now: Time) -> Result<(), W> {
        if let Some(asked) = self.asked.get_mut(&need) {
            if asked.waiting.len() >= WAITING_PER_NEED {
                return Err(waiter);
            }
            asked.waiting.push(waiter);
            return Ok(());
        }
        if self.asked.len() >= NEEDS_ASKED {
            return Err(waiter);
        }
        let timer = self.timers.insert(now + words::limit::NEED, need.clone());
        self.unasked.push_back(need.clone());
        self.asked.insert(need, Asked { waiting: vec![waiter], timer });
        Ok(())
    }

    /// Takes the directory's answer in and gives back those who waited for it.
    pub(crate) fn answer(&mut self, need: &Need, known: Known, now: Time) -> Vec<W> {
        // Strangers may ask for endless names: what is absent is kept for a short time only.
        let until = match known {
            Known::Absent => Some(now + ABSENT_KEPT),
            Known::Found(_) if self.is_settled(now) => None,
            Known::Found(_) => Some(now + words::limit::NEED),
        };
        self.keep(need, known, until);
        self.release(need)
    }

    /// Takes in what nobody asked for. What is known already stays, and so does what was just changed.
    pub(crate) fn learn(&mut self, found: Vec<(Need, Found)>, now: Time) {
        if !self.is_settled(now) {
            return;
        }
        for (need, found) in found.into_iter().take(LEARNED) {
            if self.known(&need, now).is_none() {
                self.keep(&need, Known::Found(found), None);
            }
        }
    }

    /// Makes answers one again that are kept under several questions and that a snapshot therefore has several times.
    pub(crate) fn share(&mut self) {
        let (mut accounts, mut users) = (BTreeMap::new(), BTreeMap::new());
        for need in &self.order {
            match self.known.get_mut(need) {
                Some((Known::Found(Found::Account(account)), _)) => same(accounts.entry(account.id), account),
                Some((Known::Found(Found::User(user)), _)) => same(users.entry(user.id), user),
                Some((Known::Absent, _)) | None => {}
            }
        }
    }

    /// Whether the directory's answers were read after the last change.
    fn is_settled(&self, now: Time) -> bool {
        self.forgot.is_none_or(|forgot| now.since(forgot) > words::limit::NEED)
    }

    /// What the directory has changed: what it read before is not believed for long. Before anything was asked nothing can be
    /// on its way, and the phones of an office that come right after a start are read together.
    fn unsettle(&mut self, now: Time) {
        if self.forgot.is_some() || !self.order.is_empty() || !self.asked.is_empty() {
            self.forgot = Some(now);
        }
    }

    fn keep(&mut self, need: &Need, known: Known, until: Option<Time>) {
        if self.known.insert(need.clone(), (known, until)).is_none() {
            self.order.push_back(need.clone());
        }
        while self.order.len() > CACHE_ENTRIES {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// The directory could not answer: gives back those who waited.
    pub(crate) fn release(&mut self, need: &Need) -> Vec<W> {
        let Some(asked) = self.asked.remove(need) else { return Vec::new() };
        self.timers.cancel(asked.timer);
        asked.waiting
    }

    /// Takes back one who waits no longer. Looks at all who wait: for what happens seldom.
    pub(crate) fn withdraw(&mut self, is_it: impl Fn(&W) -> bool) -> Option<W> {
        self.asked.values_mut().find_map(|asked| {
            let place = asked.waiting.iter().position(&is_it)?;
            Some(asked.waiting.remove(place))
        })
    }

    /// Forgets an answer that is no longer true.
    pub(crate) fn forget(&mut self, need: &Need, now: Time) {
        self.unsettle(now);
        if self.known.remove(need).is_some() {
            self.order.retain(|other| other != need);
        }
    }

    /// Forgets everything of one account: its record, its users and its domain.
    pub(crate) fn forget_account(&mut self, account: AccountId, now: Time) {
        self.unsettle(now);
        let known = &mut self.known;
        self.order.retain(|need| {
            let stays = match known.get(need) {
                Some((Known::Found(Found::Account(found)), _)) => found.id != account,
                Some((Known::Found(Found::User(found)), _)) => found.account != account,
                // What was absent may be what was just made.
                Some((Known::Absent, _)) | None => false,
            };
            if !stays {
                known.remove(need);
            }
            stays
        });
    }

    /// The next question that nobody has carried out yet.
    pub(crate) fn poll(&mut self) -> Option<Need> {
        self.unasked.pop_front()
    }

    /// A question that nobody answered in time.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<Need> {
        self.timers.pop(now)
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.timers.next_at()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.asked.len()
    }
}

/// The most answers kept.
const CACHE_ENTRIES: usize = 200_000;
/// The most that is taken in at a time without a question.
const LEARNED: usize = 4_000;
/// The most that wait for one answer.
const WAITING_PER_NEED: usize = 1_000;
/// The most questions open at a time.
const NEEDS_ASKED: usize = 10_000;
/// How long "there is no such thing" is believed.
const ABSENT_KEPT: Duration = Duration::from_secs(10);

/// Puts the first of several equal values in the place of the others.
fn same<K: Ord, T: PartialEq>(first: Entry<'_, K, Arc<T>>, value: &mut Arc<T>) {
    let first = first.or_insert_with(|| Arc::clone(value));
    if first == value {
        *value = Arc::clone(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(name: &str) -> Need {
        Need::AuthUser(name.into())
    }

    #[test]
    fn many_wait_for_one_question() {
        let mut directory = Directory::new(Time::ZERO);
        directory.park(need("100"), 1, Time::ZERO).unwrap();
        directory.park(need("100"), 2, Time::ZERO).unwrap();
        assert_eq!(directory.poll(), Some(need("100")));
        assert_eq!(directory.poll(), None);
        assert_eq!(directory.answer(&need("100"), Known::Absent, Time::ZERO), vec![1, 2]);
        assert!(directory.known(&need("100"), Time::ZERO).is_some());
        assert!(directory.known(&need("100"), Time::ZERO + ABSENT_KEPT).is_none());
        assert_eq!(directory.next_at(), None);
    }

    #[test]
    fn an_unanswered_question_comes_back_after_its_time() {
        let mut directory = Directory::new(Time::ZERO);
        directory.park(need("100"), 1, Time::ZERO).unwrap();
        assert_eq!(directory.overdue(Time::from_millis(1_999)), None);
        assert_eq!(directory.overdue(Time::from_millis(2_000)), Some(need("100")));
        assert_eq!(directory.release(&need("100")), vec![1]);
    }

    fn account(n: u32) -> Vec<(Need, Found)> {
        let (name, domain, realm) = Default::default();
        let (routes, peers, ring_for) = (Vec::new(), Vec::new(), Duration::from_secs(30));
        let (typed_transfer, algorithms) = Default::default();
        let id = AccountId(n);
        let account = Account { id, name, domain, realm, ring_for, typed_transfer, routes, peers, algorithms };
        vec![(need(&n.to_string()), Found::Account(Arc::new(account)))]
    }

    #[test]
    fn one_account_under_two_names_is_one_again_after_a_snapshot() {
        let mut directory: Directory<()> = Directory::new(Time::ZERO);
        let found = account(1).remove(0).1;
        for name in ["1", "office.example"] {
            directory.learn(vec![(need(name), found.clone())], Time::ZERO);
        }
        let bytes = rmp_serde::to_vec_named(&directory).unwrap();
        let mut copy: Directory<()> = rmp_serde::from_slice(&bytes).unwrap();
        let is_shared = |directory: &Directory<()>| {
            let of = |name| match directory.known(&need(name), Time::ZERO) {
                Some(Known::Found(Found::Account(account))) => Arc::as_ptr(account),
                other => panic!("{other:?}"),
            };
            of("1") == of("office.example")
        };
        assert!(is_shared(&directory) && !is_shared(&copy));
        copy.share();
        assert!(is_shared(&copy));
    }

    #[test]
    fn what_was_learned_needs_no_question_unless_something_just_changed() {
        let mut directory: Directory<()> = Directory::new(Time::ZERO);
        directory.learn(account(1), Time::ZERO);
        assert!(directory.known(&need("1"), Time::ZERO).is_some());
        directory.forget(&need("1"), Time::from_millis(5_000));
        // It may have been read before the change.
        directory.learn(account(1), Time::from_millis(6_000));
        assert!(directory.known(&need("1"), Time::from_millis(6_000)).is_none());
        directory.answer(&need("1"), Known::Found(account(1)[0].1.clone()), Time::from_millis(6_000));
        assert!(directory.known(&need("1"), Time::from_millis(7_999)).is_some());
        assert!(directory.known(&need("1"), Time::from_millis(8_000)).is_none());
        directory.learn(account(2), Time::from_millis(8_000));
        assert!(directory.known(&need("2"), Time::from_millis(9_000)).is_some());
        // What is no longer believed does not stand in the way.
        directory.learn(account(1), Time::from_millis(8_000));
        assert!(directory.known(&need("1"), Time::from_millis(9_000)).is_some());
    }

    #[test]
    fn what_changes_before_anything_was_asked_spoils_no_answer() {
        let mut directory: Directory<u8> = Directory::new(Time::ZERO);
        // As at a start, when the peers are told.
        directory.forget_account(AccountId(1), Time::ZERO);
        directory.learn(account(1), Time::ZERO);
        assert!(directory.known(&need("1"), Time::from_millis(60_000)).is_some());
        let mut directory: Directory<u8> = Directory::new(Time::ZERO);
        directory.park(need("1"), 1, Time::ZERO).unwrap();
        directory.forget_account(AccountId(1), Time::ZERO);
        directory.learn(account(1), Time::ZERO);
        assert!(directory.known(&need("1"), Time::ZERO).is_none(), "it may have been read before the change");
    }

    #[test]
    fn the_oldest_answer_leaves_a_full_cache() {
        let mut directory: Directory<()> = Directory::new(Time::ZERO);
        for n in 0..=CACHE_ENTRIES {
            directory.answer(&need(&n.to_string()), Known::Absent, Time::ZERO);
        }
        assert!(directory.known(&need("0"), Time::ZERO).is_none());
        assert!(directory.known(&need("1"), Time::ZERO).is_some());
    }

    #[test]
    fn who_gives_up_waits_no_longer() {
        let mut directory = Directory::new(Time::ZERO);
        for (name, waiter) in [("100", 1), ("100", 2), ("101", 3)] {
            directory.park(need(name), waiter, Time::ZERO).unwrap();
        }
        assert_eq!(directory.withdraw(|waiter| *waiter == 2), Some(2));
        assert_eq!(directory.withdraw(|waiter| *waiter == 2), None);
        assert_eq!(directory.answer(&need("100"), Known::Absent, Time::ZERO), vec![1]);
    }

    #[test]
    fn too_many_waiting_are_sent_away() {
        let mut directory = Directory::new(Time::ZERO);
        for n in 0..WAITING_PER_NEED {
            directory.park(need("100"), n, Time::ZERO).unwrap();
        }
        assert_eq!(directory.park(need("100"), 7, Time::ZERO), Err(7));
    }
}
