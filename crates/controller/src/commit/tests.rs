//! The commit loop on a real file.

use super::*;
use crate::store::record;
use crate::{CdrFilter, Durability, NewAccount, NewPassword, NewUser};
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use words::{AccountId, CallId, EndCause, Fact, LegId, Party, Secret, StoredSubscription, Time, UserId, Wall};

/// A store with one account and one user, its commit loop, and what the loop told.
struct Bench {
    store: Store,
    commits: Option<CommitLoop>,
    told: Receiver<Outcome>,
    clock: Arc<AtomicU64>,
    seq: u64,
}

const ACCOUNT: AccountId = AccountId(1);
const USER: UserId = UserId(1);

impl Bench {
    fn open(dir: &Path) -> Bench {
        let store = Store::open(dir, Durability::Process).unwrap();
        if store.accounts().unwrap().is_empty() {
            store.create_account(&NewAccount::named("a", "a.example"), Wall(0)).unwrap();
            let password = NewPassword::Given(Secret::new("correct horse"));
            store.add_user(NewUser::new(ACCOUNT, "101", password), Wall(0)).unwrap();
        }
        let (tell, told) = sync_channel(10_000);
        let clock = Arc::new(AtomicU64::new(1_000));
        let read = Arc::clone(&clock);
        let clock_of = move || clock_at(read.load(Ordering::Relaxed));
        let commits = CommitLoop::start(&store, clock_of, move |outcome| tell.send(outcome).unwrap()).unwrap();
        Bench { store, commits: Some(commits), told, clock, seq: 0 }
    }

    fn append(&mut self, ms: u64, facts: Vec<Fact>) -> Seq {
        self.clock.store(ms, Ordering::Relaxed);
        let mut events = Vec::new();
        for fact in facts {
            self.seq += 1;
            let clock = clock_at(ms);
            let (shard, seq) = (ShardId(0), Seq(self.seq));
            events.push(Event { shard, seq, account: ACCOUNT, at: clock.mono, wall: clock.wall, fact });
        }
        self.commits.as_ref().unwrap().append(events).unwrap();
        Seq(self.seq)
    }

    /// Waits until the last fact was dealt with.
    fn outcome(&self) -> Outcome {
        loop {
            let outcome = self.told.recv_timeout(Duration::from_secs(10)).unwrap();
            let (Outcome::Stored { up_to, .. } | Outcome::Failed { up_to, .. }) = outcome;
            if up_to.0 == self.seq {
                return outcome;
            }
        }
    }

    fn store(&mut self, ms: u64, facts: Vec<Fact>) {
        let up_to = self.append(ms, facts);
        assert_eq!(self.outcome(), Outcome::Stored { shard: ShardId(0), up_to });
    }

    /// A copy of the folder as a crash at this moment leaves it.
    fn crash(from: &Path) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["crosspoint.db", "crosspoint.db-wal", "journal"] {
            std::fs::copy(from.join(name), dir.path().join(name)).unwrap();
        }
        dir
    }
}

fn clock_at(ms: u64) -> Clock {
    Clock { mono: Time::from_millis(ms), wall: Wall(1_700_000_000_000 + ms as i64) }
}

fn call(n: u64) -> CallId {
    CallId(((1_700_000_000_000 + u128::from(n)) << 80) | u128::from(n))
}

fn party(number: &str) -> Party {
    Party { number: number.into(), user: Some(USER), ..Party::default() }
}

fn opened(call: CallId) -> Vec<Fact> {
    let leg = LegId { call, n: 1 };
    let source = "192.0.2.1:5060".parse().unwrap();
    let (from, to) = (party("101"), party("102"));
    vec![
        Fact::CallOpened { call, from, to: to.clone(), sip_call_id: "x@y".into(), source },
        Fact::LegOpened { leg, to },
        Fact::LegRang { leg },
    ]
}

fn answered(call: CallId) -> Vec<Fact> {
    vec![Fact::CallAnswered { call, by: Some(LegId { call, n: 1 }), who: party("102") }]
}

fn ended(call: CallId) -> Vec<Fact> {
    let leg = LegId { call, n: 1 };
    let cause = EndCause::Normal;
    vec![Fact::LegEnded { leg, cause }, Fact::CallEnded { call, cause, by: Some(leg) }]
}

fn bound(key: &str, expires: i64) -> Vec<Fact> {
    vec![Fact::Bound { user: USER, binding: record::tests::binding(key, expires) }]
}

fn rows(store: &Store) -> Vec<(CallId, u64, String)> {
    let list = store.cdrs(&CdrFilter { account: Some(ACCOUNT), ..CdrFilter::default() }).unwrap();
    list.into_iter().map(|row| (row.call, row.talk_ms, row.cause)).collect()
}

#[test]
fn a_call_that_was_told_stored_has_its_record_in_the_same_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path());
    bench.store(1_000, opened(call(1)));
    assert_eq!(bench.store.call(None, call(1)).unwrap().unwrap().events.len(), 3);
    assert!(rows(&bench.store).is_empty());
    bench.store(2_000, answered(call(1)));
    bench.store(9_500, ended(call(1)));
    assert_eq!(rows(&bench.store), [(call(1), 7_500, "normal".into())]);
    let record = bench.store.call(Some(ACCOUNT), call(1)).unwrap().unwrap();
    assert_eq!((record.events.len(), record.cdr.legs.len()), (6, 1));
    assert!(bench.store.call(Some(AccountId(2)), call(1)).unwrap().is_none());
    let stats = bench.commits.as_ref().unwrap().stats();
    assert_eq!((stats.events, stats.queued, stats.failing), (6, 0, false));
}

#[test]
fn a_crash_loses_nothing_that_was_stored_and_closes_open_calls_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path());
    bench.store(1_000, opened(call(1)));
    bench.store(1_100, opened(call(2)));
    bench.store(2_000, answered(call(1)));
    bench.store(2_500, bound("phone", i64::MAX));
    bench.store(3_000, [opened(call(3)), ended(call(3))].concat());
    bench.store(4_000, bound("gone", i64::MAX));
    bench.store(5_000, vec![Fact::Unbound { user: USER, key: "gone".into() }]);
    let copy = Bench::crash(dir.path());

    for start in 0..3 {
        let store = Store::open(copy.path(), Durability::Process).unwrap();
        let closed = if start == 0 { vec![(ACCOUNT, call(1)), (ACCOUNT, call(2))] } else { Vec::new() };
        assert_eq!(store.recovered().interrupted, closed);
        // Talk time runs to the last sign of life, not beyond.
        let interrupted = "interrupted".to_owned();
        let expected =
            [(call(3), 0, "normal".into()), (call(2), 0, interrupted.clone()), (call(1), 3_000, interrupted)];
        assert_eq!(rows(&store), expected);
        let live = store.live_bindings(Wall(0)).unwrap();
        assert_eq!(live.iter().map(|live| live.binding.key.as_str()).collect::<Vec<_>>(), ["phone"]);
    }
}

#[test]
fn long_calls_and_registrations_move_to_the_tables_and_survive_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path());
    bench.store(1_000, [opened(call(1)), bound("phone", i64::MAX)].concat());
    // Registrations with a long header, so that the journal goes round once and more.
    let long = || {
        let mut binding = record::tests::binding("other", i64::MAX);
        binding.agent = "x".repeat(60_000);
        vec![Fact::Bound { user: USER, binding }]
    };
    for n in 0..40 {
        bench.store(2_000 + n, (0..10).flat_map(|_| long()).collect());
        bench.store.bring_up(None);
    }
    let count = |table: &str| -> i64 {
        bench.store.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("open_call"), count("binding")), (1, 2));
    bench.store(3_000, answered(call(1)));
    assert_eq!(bench.store.call(None, call(1)).unwrap().unwrap().events.len(), 4);

    let copy = Bench::crash(dir.path());
    let store = Store::open(copy.path(), Durability::Process).unwrap();
    assert_eq!(store.recovered().interrupted, [(ACCOUNT, call(1))]);
    assert_eq!(store.call(None, call(1)).unwrap().unwrap().events.len(), 5);
    assert_eq!(store.live_bindings(Wall(0)).unwrap().len(), 2);
    drop(store);

    // The call that goes on ends as any other, and leaves the table.
    bench.store(4_000, ended(call(1)));
    assert_eq!(bench.store.call(None, call(1)).unwrap().unwrap().cdr.talk(), Duration::from_secs(1));
    let open: i64 = bench.store.connection.query_row("SELECT count(*) FROM open_call", [], |row| row.get(0)).unwrap();
    assert_eq!(open, 0);
}

#[test]
fn revoked_and_disabled_users_come_back_without_registrations() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path());
    bench.store(1_000, bound("phone", i64::MAX));
    let now = clock_at(2_000).wall;
    let password = NewPassword::Given(Secret::new("another horse"));
    bench.store.reset_user(ACCOUNT, "101", password, now).unwrap();
    let copy = Bench::crash(dir.path());
    let store = Store::open(copy.path(), Durability::Process).unwrap();
    assert!(store.live_bindings(Wall(0)).unwrap().is_empty());
    drop(store);
    bench.store(3_000, bound("phone", clock_at(9_000).wall.0));
    let copy = Bench::crash(dir.path());
    let store = Store::open(copy.path(), Durability::Process).unwrap();
    assert_eq!(store.live_bindings(clock_at(8_999).wall).unwrap().len(), 1);
    assert!(store.live_bindings(clock_at(9_000).wall).unwrap().is_empty());
    store.enable_user(ACCOUNT, "101", false, now).unwrap();
    assert!(store.live_bindings(Wall(0)).unwrap().is_empty());
}

#[test]
fn subscriptions_survive_as_registrations_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path());
    let subscribed = |key: &str, cseq: u32, expires: i64| {
        let subscription = Box::new(StoredSubscription { cseq, ..record::tests::subscription(key, expires) });
        Fact::Subscribed { user: USER, subscription }
    };
    let until = clock_at(9_000).wall.0;
    bench.store(1_000, vec![subscribed("w1", 1, until), subscribed("w2", 1, until), subscribed("w3", 1, until)]);
    bench.store(2_000, vec![subscribed("w1", 2, until), Fact::Unsubscribed { user: USER, key: "w2".into() }]);
    for from_table in [false, true] {
        if from_table {
            // So much that the journal goes round and its frames are freed.
            for n in 0..40 {
                let mut binding = record::tests::binding("other", i64::MAX);
                binding.agent = "x".repeat(60_000);
                bench.store(2_100 + n, vec![Fact::Bound { user: USER, binding }; 10]);
                bench.store.bring_up(None);
            }
            let rows = bench.store.connection.query_row("SELECT count(*) FROM subscription", [], |row| row.get(0));
            assert_eq!(rows, Ok(2));
        }
        let copy = Bench::crash(dir.path());
        let store = Store::open(copy.path(), Durability::Process).unwrap();
        let live = store.live_subscriptions(clock_at(8_999).wall).unwrap();
        let live: Vec<_> = live.iter().map(|one| (one.user, &*one.subscription.key, one.subscription.cseq)).collect();
        assert_eq!(live, [(USER, "w1", 2), (USER, "w3", 1)]);
        assert!(store.live_subscriptions(clock_at(9_000).wall).unwrap().is_empty());
    }
    let password = NewPassword::Given(Secret::new("another horse"));
    bench.store.reset_user(ACCOUNT, "101", password, clock_at(3_000).wall).unwrap();
    let copy = Bench::crash(dir.path());
    assert!(Store::open(copy.path(), Durability::Process).unwrap().live_subscriptions(Wall(0)).unwrap().is_empty());
}

#[test]
fn a_failing_database_refuses_registrations_and_keeps_the_facts_of_calls() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path());
    let shard = ShardId(0);
    bench.store(1_000, [opened(call(1)), opened(call(2)), opened(call(3))].concat());
    // A lock that nobody gives back stands for a disk that takes nothing.
    bench.store.connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    bench.store(1_500, ended(call(3)));
    while !bench.commits.as_ref().unwrap().stats().failing {
        std::thread::yield_now();
    }
    let up_to = bench.append(2_000, answered(call(1)));
    assert_eq!(bench.told.recv().unwrap(), Outcome::Stored { shard, up_to });
    assert_eq!(bench.told.recv().unwrap(), Outcome::Failed { shard, up_to, reserved: true });
    let up_to = bench.append(5_000, [bound("phone", i64::MAX), ended(call(1))].concat());
    let failed = Outcome::Failed { shard, up_to, reserved: true };
    while bench.told.recv().unwrap() != failed {}

    // The process may die now: the journal has what the database lacks.
    let copy = Bench::crash(dir.path());
    let store = Store::open(copy.path(), Durability::Process).unwrap();
    assert_eq!(store.recovered().interrupted, [(ACCOUNT, call(2))]);
    assert!(rows(&store).contains(&(call(1), 3_000, "normal".into())));
    assert!(store.live_bindings(Wall(0)).unwrap().is_empty(), "it was refused");
    drop(store);

    // Or the disk has space again, and everything goes its usual way.
    bench.store.connection.execute_batch("ROLLBACK").unwrap();
    while bench.told.recv().unwrap() != (Outcome::Stored { shard, up_to }) {}
    assert_eq!(rows(&bench.store).len(), 2);
    bench.store(21_000, ended(call(2)));
    assert_eq!(rows(&bench.store).len(), 3);
}

#[test]
fn who_registers_while_the_store_comes_back_hears_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(dir.path());
    bench.store(1_000, opened(call(1)));
    bench.store.connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    bench.store(1_500, ended(call(1)));
    let failing = |bench: &Bench| bench.commits.as_ref().unwrap().stats().failing;
    while !failing(&bench) {
        std::thread::yield_now();
    }
    // The commit thread hears that itself, and then that it is over, perhaps after the registration came.
    let up_to = bench.append(2_000, opened(call(2)));
    while !matches!(bench.told.recv().unwrap(), Outcome::Failed { up_to: told, .. } if told == up_to) {}
    bench.store.connection.execute_batch("ROLLBACK").unwrap();
    while failing(&bench) {
        std::thread::yield_now();
    }
    let up_to = bench.append(3_000, bound("phone", i64::MAX));
    let mut refused = false;
    loop {
        match bench.told.recv().unwrap() {
            Outcome::Failed { up_to: told, .. } => refused |= told == up_to,
            Outcome::Stored { up_to: told, .. } if told == up_to => break,
            Outcome::Stored { .. } => {}
        }
    }
    let copy = Bench::crash(dir.path());
    let bindings = Store::open(copy.path(), Durability::Process).unwrap().live_bindings(Wall(0)).unwrap();
    assert_eq!(bindings.is_empty(), refused, "{bindings:?}");
}

#[test]
fn a_full_queue_gives_the_events_back() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path());
    let event = |n: u64| {
        let fact = Fact::LegRang { leg: LegId { call: call(1), n: 1 } };
        Event { shard: ShardId(0), seq: Seq(n), account: ACCOUNT, at: Time::ZERO, wall: Wall(0), fact }
    };
    let many: Vec<Event> = (0..=limit::QUEUED_EVENTS as u64).map(event).collect();
    let QueueFull(back) = bench.commits.as_ref().unwrap().append(many).unwrap_err();
    assert_eq!(back.len(), limit::QUEUED_EVENTS + 1);
    assert_eq!(bench.commits.as_ref().unwrap().stats().queued, 0);
}
