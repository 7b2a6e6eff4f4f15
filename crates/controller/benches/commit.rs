//! What the commit loop costs: CPU time of its threads per call and per registration, and how long a commit takes.
//!
//! `cargo bench -p controller --bench commit -- [calls|registrations] [per second] [seconds] [power|process] [dir]`

use controller::{CommitLoop, Durability, Outcome, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use words::{
    AccountId, CallId, Clock, EndCause, Event, Fact, LegId, Party, Seq, ShardId, StoredBinding, Time, Transport,
    UserId, Wall,
};

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn instant() -> Instant {
    Instant::now()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let argument = |n: usize, default: &str| arguments.get(n).cloned().unwrap_or_else(|| default.to_owned());
    let (kind, durability) = (argument(0, "both"), argument(3, "power"));
    let rate: u64 = argument(1, "1000").parse().expect("a number per second");
    let seconds: u64 = argument(2, "10").parse().expect("seconds");
    let base = arguments.get(4).map_or_else(std::env::temp_dir, Into::into);
    for (name, facts) in [("calls", calls as Facts), ("registrations", registrations as Facts)] {
        if kind == "both" || kind == name {
            measure(name, facts, rate, seconds, durability.parse().expect("power or process"), &base);
        }
    }
}

/// The facts of one tick of 10 ms as the batches of the loop's turns.
type Facts = fn(tick: u64, per_tick: u64) -> Vec<Vec<(AccountId, Fact)>>;

fn measure(name: &str, facts: Facts, rate: u64, seconds: u64, durability: Durability, base: &std::path::Path) {
    let dir = tempfile::tempdir_in(base).expect("a folder");
    let opening = instant();
    let store = Store::open(dir.path(), durability).expect("a store");
    store.seed_bench("127.0.0.1:5070".parse().expect("an address"), Wall(0)).expect("the profile");
    println!("{name:13} opened with the bench profile in {} ms", opening.elapsed().as_millis());
    let began = instant();
    let clock = move || {
        let nanos = began.elapsed().as_nanos() as u64;
        Clock { mono: Time::from_nanos(nanos), wall: Wall(1_700_000_000_000 + (nanos / 1_000_000) as i64) }
    };
    let stored = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&stored);
    let tell = move |outcome| match outcome {
        Outcome::Stored { up_to, .. } => told.store(up_to.0, Ordering::Relaxed),
        Outcome::Failed { .. } => panic!("the store fails"),
    };
    let commits = CommitLoop::start(&store, clock, tell).expect("a commit loop");
    let (cpu_before, per_tick) = (cpu(), rate / 100);
    let (mut seq, mut marks, mut latencies) = (0, std::collections::VecDeque::new(), Vec::new());
    for tick in 0..seconds * 100 {
        let due = Duration::from_millis(tick * 10);
        while began.elapsed() < due {
            std::thread::sleep(Duration::from_micros(500));
            settle(&stored, &mut marks, &mut latencies);
        }
        for batch in facts(tick, per_tick) {
            let now = clock();
            let event = |(account, fact)| {
                seq += 1;
                Event { shard: ShardId(0), seq: Seq(seq), account, at: now.mono, wall: now.wall, fact }
            };
            commits.append(batch.into_iter().map(event).collect()).expect("room in the queue");
        }
        marks.push_back((seq, instant()));
    }
    let last = seq;
    while stored.load(Ordering::Relaxed) < last {
        std::thread::sleep(Duration::from_micros(500));
    }
    settle(&stored, &mut marks, &mut latencies);
    let (cpu_after, done) = (cpu(), rate / 100 * 100 * seconds);
    let stats = commits.stats();
    latencies.sort_unstable();
    let quantile = |q: usize| latencies[(latencies.len() - 1) * q / 1000].as_micros();
    let each = |n: usize| (cpu_after[n] - cpu_before[n]) as f64 / 1000.0 / done as f64;
    println!(
        "{name:13} {rate}/s {durability:?}: commit {:.2} + fold {:.2} = {:.2} us each; {} commits, {} events; \
         stored after p50 {} p99 {} p99.9 {} max {} us; longest commit {} us; {} folds; files {} KB",
        each(0),
        each(1),
        each(0) + each(1),
        stats.commits,
        stats.events,
        quantile(500),
        quantile(990),
        quantile(999),
        quantile(1000),
        stats.longest_commit_us,
        stats.folds,
        std::fs::read_dir(dir.path())
            .expect("the folder")
            .flatten()
            .map(|f| f.metadata().map_or(0, |m| m.len()))
            .sum::<u64>()
            / 1024,
    );
}

fn settle(stored: &AtomicU64, marks: &mut std::collections::VecDeque<(u64, Instant)>, latencies: &mut Vec<Duration>) {
    let stored = stored.load(Ordering::Relaxed);
    while marks.front().is_some_and(|(seq, _)| *seq <= stored) {
        let (_, since) = marks.pop_front().expect("a mark");
        latencies.push(since.elapsed());
    }
}

/// CPU time of the commit and of the folding thread so far. Units: nanoseconds.
fn cpu() -> [u64; 2] {
    let mut times = [0; 2];
    for task in std::fs::read_dir("/proc/self/task").expect("procfs").flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let time = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let time = time.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        match name.trim() {
            "commit" => times[0] += time,
            "fold" => times[1] += time,
            _ => {}
        }
    }
    times
}

/// Each tick opens so many calls, and rings, answers and ends those of the ticks before.
fn calls(tick: u64, per_tick: u64) -> Vec<Vec<(AccountId, Fact)>> {
    let party = |number: String| Party { number: number.as_str().into(), ..Party::default() };
    let call_of = |tick: u64, n: u64| CallId(((1_700_000_000_000 + u128::from(tick * 10)) << 80) | u128::from(n) << 8);
    let account = AccountId(1);
    let mut batches = Vec::new();
    for n in 0..per_tick {
        let call = call_of(tick, n);
        let (from, to) = (party("sipp".into()), party(format!("9{n:05}")));
        let (leg, source) = (LegId { call, n: 1 }, "127.0.0.1:5061".parse().expect("an address"));
        let sip_call_id = format!("{n}-{tick}@127.0.0.1");
        batches.push(vec![
            (account, Fact::CallOpened { call, from, to: to.clone(), sip_call_id, source }),
            (account, Fact::LegOpened { leg, to }),
        ]);
        if tick >= 1 {
            let call = call_of(tick - 1, n);
            let leg = LegId { call, n: 1 };
            batches.push(vec![(account, Fact::LegRang { leg })]);
            let who = party(format!("9{n:05}"));
            batches.push(vec![(account, Fact::CallAnswered { call, by: Some(leg), who })]);
        }
        let held = if n % 2 == 0 { 2 } else { HELD_TICKS };
        if tick >= held {
            let call = call_of(tick - held, n);
            let (by, cause) = (Some(LegId { call, n: 0 }), EndCause::Normal);
            let leg = LegId { call, n: 1 };
            batches
                .push(vec![(account, Fact::LegEnded { leg, cause }), (account, Fact::CallEnded { call, cause, by })]);
        }
    }
    batches
}

/// A thousand users register in turn.
fn registrations(tick: u64, per_tick: u64) -> Vec<Vec<(AccountId, Fact)>> {
    let one = |n: u64| {
        let user = ((tick * per_tick + n) % 1_000) as u32;
        let source = "127.0.0.1:5061".parse().expect("an address");
        let contact = format!("sip:{}@127.0.0.1:5061", 1_000 + user);
        let binding = StoredBinding {
            key: contact.clone(),
            contact,
            transport: Transport::Udp,
            listener: 0,
            local: "127.0.0.1:5060".parse().expect("an address"),
            source,
            path: Vec::new(),
            q: 1_000,
            call_id: format!("{user}-1234@127.0.0.1"),
            cseq: tick as u32,
            instance: None,
            reg_id: None,
            agent: "SIPp".into(),
            nat: false,
            expires: Wall(1_700_000_000_000 + tick as i64 * 10 + 3_600_000),
            ice: false,
        };
        vec![(AccountId(1), Fact::Bound { user: UserId(user + 1), binding })]
    };
    (0..per_tick).map(one).collect()
}

/// Half of the calls last so long, the others 20 ms. Units: ticks.
const HELD_TICKS: u64 = 300;
