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
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::sim::{Replay, for_seeds, seeds};

/// How many graphs are played.
const GRAPHS: u64 = 10_000;

#[test]
fn users_see_what_a_plain_model_says() {
    let (seeds, began) = (seeds(GRAPHS), now());
    let (next, all) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let work = || {
        let mut tally = Tally::default();
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let replay = Replay::of(seed);
            tally += play(seed).0;
            drop(replay);
        }
        *all.lock().expect("nobody panics while it adds") += tally;
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
        all.into_inner().expect("all have ended").is_rich(seeds.len());
    }
}

/// How long all of them may take.
const BOUND: Duration = Duration::from_mins(1);

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
