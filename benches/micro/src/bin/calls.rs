//! Calls through a whole exchange in given time: `calls [COUNT] [COLD_KIB] [refuse]` prints the time that the exchange
//! takes per call, with `refuse` per call that it refuses under overload. With `COLD_KIB` so much memory is written between any two messages: a loop that sleeps between messages
//! finds its caches as empty. Instructions are counted by
//! `valgrind --tool=callgrind --collect-atstart=no --toggle-collect=switch::switch::Switch::handle`.

use benches_micro::exchange::{Exchange, Moment};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let count = arguments.next().unwrap_or(10_000);
    let mut cold = vec![0_u64; arguments.next().unwrap_or(0) * 128];
    let mut exchange = Exchange::new();
    let spent = Rc::new(Cell::new(Duration::ZERO));
    let sum = Rc::clone(&spent);
    let mut since = now();
    exchange.watch(move |moment| match moment {
        Moment::Before => {
            cold.iter_mut().step_by(8).for_each(|word| *word = word.wrapping_add(1));
            black_box(&mut cold);
            since = now();
        }
        Moment::After => sum.set(sum.get() + since.elapsed()),
    });
    let refuse = std::env::args().any(|text| text == "refuse");
    exchange.overload(refuse);
    for _ in 0..if refuse { count } else { 0 } {
        exchange.refuse();
    }
    for _ in 0..if refuse { 0 } else { count } {
        let up = exchange.set_up();
        exchange.end(&up);
        exchange.wait(Duration::from_millis(1));
    }
    assert_eq!(exchange.calls_up(), 0);
    println!("{:.1} us per call", spent.get().as_secs_f64() * 1e6 / count as f64);
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn now() -> Instant {
    Instant::now()
}
