//! What a packet costs one worker with few calls and with many: it never rises.

use crate::{Args, Run, median, run};
use std::process::ExitCode;

/// How much dearer a packet may be than with fewer calls: two runs of the same differ by as much on a machine that is shared.
const RISE_MAX: f64 = 1.1;
/// How many of a hundred packets may be lost.
const LOSS_MAX_PERCENT: f64 = 0.1;

/// Measures all numbers of calls in turn, from the lowest to the highest, and prints a line for each; exit 1 when one is dearer
/// than the cheapest below it, or loses packets.
pub(crate) fn compare(args: &Args) -> ExitCode {
    let mut calls = args.calls.clone();
    calls.sort_unstable();
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); calls.len()];
    for _ in 0..args.rounds {
        for (runs, calls) in runs.iter_mut().zip(&calls) {
            runs.push(run("hold", *calls, args));
        }
    }
    let (mut held, mut lowest) = (true, None::<f64>);
    for (calls, runs) in calls.iter().zip(&runs) {
        let Run { nanos_per_packet, p50_us, p99_us, .. } = median(runs);
        let loss = runs.iter().map(|run| run.loss_percent).fold(0.0, f64::max);
        let rise = lowest.map_or(1.0, |lowest| nanos_per_packet / lowest);
        lowest = Some(lowest.map_or(nanos_per_packet, |lowest| lowest.min(nanos_per_packet)));
        let ok = rise <= RISE_MAX && loss <= LOSS_MAX_PERCENT;
        held &= ok;
        println!(
            "{} relay {} cost @{calls}, a packet each {} ms: {nanos_per_packet:.0} ns, {rise:.2} times the cheapest with fewer calls (<= {RISE_MAX}), loss {loss:.3} %, p50 {p50_us} p99 {p99_us} us",
            if ok { "ok  " } else { "MISS" },
            args.mode,
            args.ptime,
        );
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
