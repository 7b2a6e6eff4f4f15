//! What calls leave behind in the exchange: timers that wake its loop, and memory while they are up.

use benches_micro::exchange::Exchange;
use std::time::Duration;

/// Each call leaves four transactions that end seconds later. They do not wake the loop one by one.
#[test]
fn ended_calls_hardly_wake_the_loop() {
    let mut exchange = Exchange::new();
    for _ in 0..3_000 {
        let up = exchange.set_up();
        exchange.end(&up);
        exchange.wait(Duration::from_millis(7));
    }

    let wakes = exchange.wakes(Duration::from_secs(40));

    assert!(wakes < 40 * 12, "{wakes} wake-ups in 40 seconds");
}
