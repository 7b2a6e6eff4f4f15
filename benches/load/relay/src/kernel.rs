//! What the tier `kernel` adds to packets: beside phones that send to each other directly, in turns, and by itself.

use crate::{Args, Run, Subject, generate, neighbours};
use net::offload::{Config, Entrance, Flow, InDriver, Offload, OffloadError, Reception};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use words::Time;

/// Measures both in turn and prints what the kernel adds; exit 1 when that is too much, 0 with the reason where the host
/// does not allow the tier.
pub(crate) fn compare(args: &Args) -> ExitCode {
    let alone = match alone() {
        Ok(alone) => alone,
        Err(why) => {
            println!("skip relay kernel: {why}");
            return ExitCode::SUCCESS;
        }
    };
    let mut held =
        tell("the programme for one packet, headers warm, without a network", alone.as_nanos() as f64, ALONE_MAX_NS);
    let args = Args { mode: "kernel".to_owned(), calls: args.calls.clone(), verb: None, ..*args };
    for &calls in &args.calls {
        let (mut added, mut delays, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            let mut subject = Subject::start("hold", calls, &args);
            let mut pairs = subject.pairs.clone();
            pairs.extend((0..calls).map(|call| {
                let [a, b] = neighbours(call);
                format!("{b} {a} {a} {b}")
            }));
            let [carried, direct] = generate(&pairs, args.secs);
            let [_, spent] = subject.end()[..] else { panic!("odd figures of the relay") };
            // The relay's threads look after their flows by the clock, also while others talk.
            let looked_after = spent as f64 / (carried[0] + direct[0]).max(1) as f64;
            let (kernel, direct) = (Run::of(&carried, &[0, 0]), Run::of(&direct, &[0, 0]));
            added.push(kernel.all_nanos_per_packet + looked_after - direct.all_nanos_per_packet);
            delays.push(kernel.p99_us as f64 - direct.p99_us as f64);
            losses.push(kernel.loss_percent);
        }
        for figures in [&mut added, &mut delays, &mut losses] {
            figures.sort_by(f64::total_cmp);
        }
        let range = |figures: &[f64]| format!("[{:.0}..{:.0}]", figures[0], figures[figures.len() - 1]);
        let middle = |figures: &[f64]| figures[figures.len() / 2];
        held &= tell(&format!("CPU added per packet @{calls} {}", range(&added)), middle(&added), ADDED_MAX_NS);
        held &= tell(&format!("delay added p99, us @{calls} {}", range(&delays)), middle(&delays), DELAY_MAX_US);
        held &= tell(&format!("loss, % @{calls}"), losses[losses.len() - 1], LOSS_MAX_PERCENT);
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(what: &str, figure: f64, most: f64) -> bool {
    let ok = figure <= most;
    println!("{} relay kernel {what}: {figure:.1} (<= {most})", if ok { "ok  " } else { "MISS" });
    ok
}

/// The time that the programme takes for a packet which it turns into itself, so that it can be had again and again.
fn alone() -> Result<Duration, OffloadError> {
    let addresses = [Some(Ipv4Addr::LOCALHOST.into()), None];
    let config = Config { flows: 2, addresses, in_driver: InDriver::No, entrance: Entrance::best() };
    let offload = Offload::open(config)?;
    let ours = SocketAddr::from(([192, 0, 2, 1], 4_000));
    let theirs = SocketAddr::from(([198, 51, 100, 7], 5_004));
    let flow = Flow {
        local: ours,
        remote: theirs,
        source: theirs,
        target: ours,
        payload_types: 1,
        paced: 1,
        clock_hz: 8_000,
        interface: None,
        header: None,
        dscp: 46,
    };
    let mut flows = offload.flows(0, 1);
    let mut id = flows.install(&flow, &Reception::default(), Time::ZERO)?;
    let (said, _, duration) = offload.try_frame(&FRAME, REPEATS)?;
    let forwarded = flows.take(&mut id).packets;
    assert_eq!((said, forwarded), (0, u64::from(REPEATS)), "the programme let packets through");
    Ok(duration)
}

/// An IPv4 datagram of 172 bytes of RTP from 198.51.100.7:5004 to 192.0.2.1:4000, without a checksum of UDP.
const FRAME: [u8; 214] = {
    let head = [
        2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 8, 0, 0x45, 0, 0, 200, 0, 7, 0x40, 0, 64, 17, 0, 0, 198, 51, 100, 7, 192,
        0, 2, 1, 0x13, 0x8c, 0x0f, 0xa0, 0, 180, 0, 0, 0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 9,
    ];
    let mut frame = [0xd5; 214];
    let mut at = 0;
    while at < head.len() {
        frame[at] = head[at];
        at += 1;
    }
    frame
};
const REPEATS: u32 = 1_000_000;
const ALONE_MAX_NS: f64 = 250.0;
const ADDED_MAX_NS: f64 = 300.0;
const DELAY_MAX_US: f64 = 50.0;
const LOSS_MAX_PERCENT: f64 = 0.1;
