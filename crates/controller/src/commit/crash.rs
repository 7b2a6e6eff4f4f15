//! The store across the death of its process and a full disk, each played by a child of this test.

use crate::{CdrFilter, CommitLoop, Durability, NewAccount, NewPassword, NewUser, Outcome, Store};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use words::{
    AccountId, CallId, Clock, EndCause, Event, Fact, LegId, Party, Secret, Seq, ShardId, StoredBinding, Time,
    Transport, UserId, Wall,
};

const ACCOUNT: AccountId = AccountId(1);
const USER: UserId = UserId(1);

#[test]
fn nothing_that_was_told_stored_is_lost_when_the_process_dies() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let mut child = start("commit::crash::child_that_dies", dir.path(), round);
        let told = lines(&mut child).into_iter().filter_map(|line| line.strip_prefix("stored ")?.parse().ok()).max();
        let (told, status): (u64, _) = (told.unwrap(), child.wait().unwrap());
        assert!(!status.success() && told > FACTS_PER_CALL, "the child aborts in the middle");

        let store = Store::open(dir.path(), Durability::Process).unwrap();
        let rows = store.cdrs(&CdrFilter { account: Some(ACCOUNT), limit: 10_000, ..CdrFilter::default() }).unwrap();
        let calls: BTreeSet<CallId> = rows.iter().map(|row| row.call).collect();
        assert_eq!(calls.len(), rows.len(), "a call has one record");
        for n in 0..told / FACTS_PER_CALL {
            let row = rows.iter().find(|row| row.call == call(round, n)).unwrap();
            assert_eq!((row.cause.as_str(), row.talk_ms), ("normal", 2), "call {n} ended and was told stored");
        }
        let interrupted = rows.iter().filter(|row| row.cause == "interrupted").count();
        assert!(interrupted > 0 && interrupted as u64 <= (round + 1) * 20_000);
        let live = store.live_bindings(Wall(0)).unwrap();
        let cseq = live[0].binding.cseq;
        assert!(u64::from(cseq) >= told / FACTS_PER_CALL, "registrations survive too: {cseq} {told}");
        assert_eq!(
            store.recovered().interrupted.len(),
            rows.iter().filter(|row| is_of(round, row.call)).filter(|row| row.cause == "interrupted").count()
        );
    }
}

#[test]
fn a_full_disk_loses_no_call_and_is_left_within_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start("commit::crash::child_with_a_full_disk", dir.path(), 0);
    let lines = lines(&mut child);
    assert!(child.wait().unwrap().success(), "{lines:?}");
    let calls: usize = lines.iter().find_map(|line| line.strip_prefix("calls ")?.parse().ok()).unwrap();
    let store = Store::open(dir.path(), Durability::Process).unwrap();
    assert_eq!(store.cdrs(&CdrFilter { limit: 10_000, ..CdrFilter::default() }).unwrap().len(), calls);
    assert_eq!(store.recovered().interrupted, []);
    assert!(store.live_bindings(Wall(0)).unwrap().is_empty(), "the registration was refused");
}

#[test]
#[ignore = "the child of another test: it aborts"]
fn child_that_dies() {
    let (dir, round) = role();
    let (commits, told, _store) = open(&dir);
    let mut seq = 0;
    let mut out = std::io::stdout();
    for n in 0.. {
        for (ms, facts) in whole_call(call(round, n), n as u32, "x@y") {
            append(&commits, &mut seq, n * 10 + ms, facts);
        }
        // A call that never ends.
        append(&commits, &mut seq, n * 10 + 9, opened(call(round, n | 1 << 40), "x@y"));
        while let Ok(Outcome::Stored { up_to, .. }) = told.try_recv() {
            writeln!(out, "stored {}", up_to.0).unwrap();
            if up_to.0 > 2_000 + round * 777 {
                std::process::abort();
            }
        }
        if n % 50 == 0 {
            std::thread::yield_now();
        }
        // The queue is bounded: let it drain.
        while commits.stats().queued > 5_000 {
            std::thread::yield_now();
        }
    }
}

#[test]
#[ignore = "the child of another test: it limits the size of its files"]
fn child_with_a_full_disk() {
    let (dir, _) = role();
    let (commits, told, store) = open(&dir);
    let mut seq = 0;
    // What a running call had before the disk was full.
    let running = call(0, 1 << 41);
    append(&commits, &mut seq, 0, opened(running, "x@y"));
    limit_files(Some(FULL_BYTES));
    let long = "x".repeat(60_000);
    let mut calls = 1;
    let failed = loop {
        for (ms, facts) in whole_call(call(0, calls), 1, &long) {
            append(
                &commits,
                &mut seq,
                calls * 10 + ms,
                facts.into_iter().filter(|fact| !is_registration(fact)).collect(),
            );
        }
        calls += 1;
        match outcome_of(&told, seq) {
            Outcome::Stored { .. } if commits.stats().failing => {}
            Outcome::Stored { .. } => {
                // Asking brings the database up to the journal.
                store.cdrs(&CdrFilter { limit: 1, ..CdrFilter::default() }).unwrap();
            }
            failed @ Outcome::Failed { .. } => break failed,
        }
        assert!(calls < 5_000, "the disk never fills");
    };
    assert!(matches!(failed, Outcome::Failed { reserved: true, .. }));
    // A registration is refused, the end of the running call is kept.
    append(&commits, &mut seq, 100_000, vec![bound(9)]);
    append(&commits, &mut seq, 100_001, ended(running));
    assert!(matches!(outcome_of(&told, seq), Outcome::Failed { reserved: true, .. }));

    limit_files(None);
    loop {
        if let Outcome::Stored { up_to, .. } = told.recv_timeout(Duration::from_secs(5)).unwrap() {
            assert_eq!(up_to, Seq(seq));
            break;
        }
    }
    append(&commits, &mut seq, 100_002, opened(call(0, calls), "x@y"));
    append(&commits, &mut seq, 100_003, ended(call(0, calls)));
    assert!(matches!(outcome_of(&told, seq), Outcome::Stored { .. }));
    println!("calls {}", calls + 1);
}

/// A child that runs one of the ignored tests.
fn start(name: &str, dir: &Path, round: u64) -> Child {
    // A write past the size limit shall fail, not kill: a signal that is ignored stays so across exec.
    Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env("CRASH_DIR", dir)
        .env("CRASH_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn role() -> (PathBuf, u64) {
    let dir = std::env::var_os("CRASH_DIR").expect("the parent sets it").into();
    (dir, std::env::var("CRASH_ROUND").unwrap().parse().unwrap())
}

fn lines(child: &mut Child) -> Vec<String> {
    BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).collect()
}

fn limit_files(bytes: Option<u64>) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Fsize);
    limit.current = bytes.or(limit.maximum);
    setrlimit(Resource::Fsize, limit).unwrap();
}

fn open(dir: &Path) -> (CommitLoop, Receiver<Outcome>, Store) {
    let store = Store::open(dir, Durability::Process).unwrap();
    if store.accounts().unwrap().is_empty() {
        store.create_account(&NewAccount::named("a", "a.example"), Wall(0)).unwrap();
        let password = NewPassword::Given(Secret::new("correct horse"));
        store.add_user(NewUser::new(ACCOUNT, "101", password), Wall(0)).unwrap();
    }
    let (tell, told): (SyncSender<Outcome>, _) = sync_channel(100_000);
    let began = began();
    let clock = move || Clock { mono: Time::from_millis(began.elapsed().as_millis() as u64), wall: Wall(0) };
    let commits = CommitLoop::start(&store, clock, move |outcome| tell.send(outcome).unwrap()).unwrap();
    (commits, told, store)
}

#[expect(clippy::disallowed_methods, reason = "the child lives in real time")]
fn began() -> std::time::Instant {
    std::time::Instant::now()
}

fn outcome_of(told: &Receiver<Outcome>, seq: u64) -> Outcome {
    let mut last = None;
    loop {
        let outcome = match last {
            None => told.recv_timeout(Duration::from_secs(10)).unwrap(),
            // A failure may be told right behind.
            Some(stored) => match told.try_recv() {
                Ok(outcome) => outcome,
                Err(_) => return stored,
            },
        };
        let (Outcome::Stored { up_to, .. } | Outcome::Failed { up_to, .. }) = outcome;
        if up_to.0 == seq {
            last = Some(outcome);
        }
    }
}

fn append(commits: &CommitLoop, seq: &mut u64, ms: u64, facts: Vec<Fact>) {
    let mut event = |fact| {
        *seq += 1;
        let (shard, seq) = (ShardId(0), Seq(*seq));
        Event { shard, seq, account: ACCOUNT, at: Time::from_millis(ms), wall: Wall(ms as i64), fact }
    };
    commits.append(facts.into_iter().map(&mut event).collect()).unwrap();
}

fn call(round: u64, n: u64) -> CallId {
    CallId((1_700_000_000_000 + u128::from(round)) << 80 | u128::from(n))
}

fn is_of(round: u64, call: CallId) -> bool {
    call.0 >> 80 == 1_700_000_000_000 + u128::from(round)
}

fn party(number: &str) -> Party {
    Party { number: number.into(), user: Some(USER), ..Party::default() }
}

fn opened(call: CallId, sip_call_id: &str) -> Vec<Fact> {
    let source = "192.0.2.1:5060".parse().unwrap();
    vec![Fact::CallOpened { call, from: party("101"), to: party("102"), sip_call_id: sip_call_id.into(), source }]
}

fn ended(call: CallId) -> Vec<Fact> {
    vec![Fact::CallEnded { call, cause: EndCause::Normal, by: None }]
}

fn bound(cseq: u32) -> Fact {
    let address = "192.0.2.1:5060".parse().unwrap();
    let binding = StoredBinding {
        key: "phone".into(),
        contact: "sip:101@192.0.2.1".into(),
        transport: Transport::Udp,
        listener: 0,
        local: address,
        source: address,
        path: Vec::new(),
        q: 1_000,
        call_id: "a@b".into(),
        cseq,
        instance: None,
        reg_id: None,
        agent: String::new(),
        nat: false,
        expires: Wall(i64::MAX),
        ice: false,
    };
    Fact::Bound { user: USER, binding }
}

fn is_registration(fact: &Fact) -> bool {
    matches!(fact, Fact::Bound { .. })
}

/// The facts of a call and a registration beside it, by their time in milliseconds.
fn whole_call(call: CallId, n: u32, sip_call_id: &str) -> [(u64, Vec<Fact>); 3] {
    let leg = LegId { call, n: 1 };
    let mut begin = opened(call, sip_call_id);
    begin.push(Fact::LegOpened { leg, to: party("102") });
    let answered = vec![Fact::CallAnswered { call, by: Some(leg), who: party("102") }, bound(n + 1)];
    [(0, begin), (1, answered), (3, ended(call))]
}

/// Those of [`whole_call`] and the one of a call that never ends.
const FACTS_PER_CALL: u64 = 6;
/// The journal fits, a database that grows does not. Units: bytes.
const FULL_BYTES: u64 = 17 << 20;
