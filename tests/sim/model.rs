//! Random call graphs against a plain model of what users see: who calls whom, who lifts, refuses, forwards, cancels,
//! holds, transfers, picks up, dies, and two of that at once, over a network that loses, doubles and reorders.
//!
//! After each deed all lines of all phones must stand as the model has them, everybody hear whom he should, and in the end
//! each call be on record as the model's. Who came first in a race nobody knows beforehand: then the model is in several
//! places at once, until what is seen leaves one.

mod deed;
mod graph;
mod look;
mod reference;

use graph::{Tally, play};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::sim::{Replay, for_seeds, seeds};

/// How many graphs are played.
const GRAPHS: u64 = 10_000;

#[test]
fn users_see_what_a_plain_model_says() {
    let (seeds, began) = (seeds(GRAPHS), now());
    let (next, all) = (AtomicU64::new(0), Mutex::new((Tally::default(), Cost::default())));
    let work = || {
        let (mut tally, mut cost) = (Tally::default(), Cost::default());
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            if seed % YARD_EVERY == 0 {
                cost.measure_yard();
            }
            let (replay, before) = (Replay::of(seed), spent());
            tally += play(seed).0;
            cost.graphs += spent().saturating_sub(before);
            drop(replay);
        }
        let mut all = all.lock().expect("nobody panics while it adds");
        all.0 += tally;
        all.1.take_in(&cost);
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(seeds.len()) {
            scope.spawn(work);
        }
    });
    // Beside other tests, on whatever machine, that is for people to see; TIMED=1 holds it to its bound.
    let took = began.elapsed();
    println!("{} graphs in {:.1} s, of {} s", seeds.len(), took.as_secs_f64(), BOUND.as_secs());
    assert!(std::env::var_os("TIMED").is_none() || took < BOUND, "{took:?}");
    // One seed alone, which somebody looks at, need not have everything.
    if seeds.len() > 1 {
        let (tally, cost) = all.into_inner().expect("all have ended");
        tally.is_rich(seeds.len());
        let yards = cost.yards_per_graph(seeds.len());
        println!("a graph costs {yards:.2} yards of {YARDS}");
        assert!(yards < YARDS, "a graph costs {yards:.2} times what the yardstick does: {cost:?}");
    }
}

/// How long all of them may take.
const BOUND: Duration = Duration::from_mins(1);

/// What graphs cost of the processor, and a piece of work beside them that is always the same: on another machine, or on
/// one with much else to do, both take longer.
#[derive(Debug, Default)]
struct Cost {
    graphs: Duration,
    yard: Duration,
    yards: u32,
}

impl Cost {
    fn measure_yard(&mut self) {
        let before = spent();
        let words = (0..2_000_u64).map(|n| (format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), n));
        std::hint::black_box(words.collect::<BTreeMap<String, u64>>());
        self.yard += spent().saturating_sub(before);
        self.yards += 1;
    }

    fn take_in(&mut self, other: &Cost) {
        self.graphs += other.graphs;
        self.yard += other.yard;
        self.yards += other.yards;
    }

    fn yards_per_graph(&self, graphs: usize) -> f64 {
        self.graphs.as_secs_f64() / graphs as f64 / (self.yard.as_secs_f64() / f64::from(self.yards))
    }
}

/// Once in so many graphs the yardstick is laid.
const YARD_EVERY: u64 = 20;

/// What a graph may cost: not three times what it does.
const YARDS: f64 = 28.0;

/// The processor's time that this thread has had.
fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[expect(clippy::disallowed_methods, reason = "how long the test itself takes; nothing that it plays sees a clock")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn a_graph_replays_byte_for_byte() {
    for_seeds(5, |seed| {
        let [first, second] = [(); 2].map(|()| play(seed).1);
        let [first, second] = [&first, &second].map(|world| world.transcript().text());
        assert!(first == second && first.lines().count() > 50);
    });
}
