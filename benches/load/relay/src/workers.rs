//! What a packet costs two workers with twice the calls, beside one worker: they share nothing that a packet touches.

use crate::{Args, Run, run};
use std::process::ExitCode;

/// How much dearer a packet may be with two workers.
const RATIO_MAX: f64 = 1.1;

/// Measures both in turn and prints their ratio; exit 1 when it is too much. Two workers have both processors, of which the
/// generator uses one: what it takes from their caches counts against them.
pub(crate) fn compare(args: &Args) -> ExitCode {
    let mut held = true;
    for &calls in &args.calls {
        let (mut ones, mut twos, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            let one = run("hold", calls, &Args { workers: 1, ..args.clone() });
            let two = run("hold", 2 * calls, &Args { workers: 2, ..args.clone() });
            ratios.push(two.nanos_per_packet / one.nanos_per_packet);
            ones.push(one);
            twos.push(two);
        }
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        let ok = ratio <= RATIO_MAX;
        held &= ok;
        let worst = |runs: &[Run]| runs.iter().map(|run| run.loss_percent).fold(0.0, f64::max);
        println!(
            "{} relay workers: two with {} calls {ratio:.2} times one with {calls} [{:.2}..{:.2}] (<= {RATIO_MAX}): {:.0} against {:.0} ns, loss {:.3} and {:.3} %",
            if ok { "ok  " } else { "MISS" },
            2 * calls,
            ratios[0],
            ratios[ratios.len() - 1],
            crate::median(&twos).nanos_per_packet,
            crate::median(&ones).nanos_per_packet,
            worst(&twos),
            worst(&ones),
        );
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
