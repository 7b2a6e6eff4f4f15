//! Lamps in a whole exchange in given time: `lamps [COUNT] [CALLS]` puts `COUNT` subscriptions to calls in, lets an
//! extension with ten watchers be called, and prints what one NOTIFY costs beyond the call itself: made, sent, answered,
//! its transaction over. The system calls that send it are not in it.

use benches_micro::exchange::{Exchange, Moment};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<u32>().ok());
    let lamps = arguments.next().unwrap_or(5_000);
    let calls = arguments.next().unwrap_or(MOST_CALLS).min(MOST_CALLS);
    // Taken in turns, so that what else the machine does falls on both.
    let (mut plain, mut watched, mut notified) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..3 {
        plain = plain.min(run(0, calls).0);
        let (spent, count) = run(lamps, calls);
        (watched, notified) = (watched.min(spent), count);
    }
    let each = |spent: Duration, of: u64| spent.as_nanos() as u64 / of.max(1);
    println!("{lamps} lamps: {notified} NOTIFYs for {calls} calls");
    println!("test plain call ... bench: {} ns/iter (+/- 0)", each(plain, calls.into()));
    println!("test lamp notification ... bench: {} ns/iter (+/- 0)", each(watched.saturating_sub(plain), notified));
}

/// The time that the exchange takes for so many calls, and how many NOTIFYs left.
fn run(lamps: u32, calls: u32) -> (Duration, u64) {
    let mut exchange = Exchange::new();
    exchange.add_lamps(lamps);
    let before = exchange.notified();
    let spent = Rc::new(Cell::new(Duration::ZERO));
    let sum = Rc::clone(&spent);
    let mut since = now();
    exchange.watch(move |moment| match moment {
        Moment::Before => since = now(),
        Moment::After => sum.set(sum.get() + since.elapsed()),
    });
    for _ in 0..calls {
        let up = exchange.set_up();
        exchange.end(&up);
        // So long that no lamp is told less because it was told too much.
        exchange.pass(Duration::from_secs(4));
    }
    assert_eq!(exchange.calls_up(), 0);
    (spent.get(), exchange.notified() - before)
}

/// What is registered and subscribed to lasts an hour; a call takes four seconds of it.
const MOST_CALLS: u32 = 850;

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn now() -> Instant {
    Instant::now()
}
