//! What a forwarded RTP packet costs in the relay, in CPU time of its process, beside a bare loop under the same load.
//!
//! `relay-load [--calls 50,300,1000] [--secs 5] [--rounds 3] [--mode batch|basic|single]` measures both in turn and prints the
//! median of each with their ratio; exit 1 when the ratio is above 1.25 or more than 0.1 % of the packets are lost, or, from
//! 1,800 calls on, when the 99th percentile of their way is above 2.5 ms. From there on all calls are one peer's, with one port
//! on each side (`--peers one`): a socket for each phone makes the generator dearer than what it measures.
//! `relay-load cost [--calls 100,300,1000,2000] [--ptime 60]` tells what a packet costs with few calls and with many, each of which
//! says a packet in `ptime` milliseconds: 2,000 at 20 ms are more than the generator can on most machines.
//! `relay-load kernel [--calls 300,1000]` tells what the tier `kernel` adds to packets that phones send each other over
//! loopback: CPU time of all processes per packet, and delay; and what its programme takes by itself.
//! `relay-load workers [--calls 300,1000]` tells what a packet costs two workers with twice the calls, beside one.
//! `relay-load veth [--mode tc|xdp] [--calls 1000]` tells what a packet costs that goes through the kernel from card to
//! card, and how many calls a core carries so.
//! `relay-load hold --calls N --secs S` only opens the calls and prints their addresses, for another generator:
//! a line `relayA relayB localA localB` each.
//!
//! On a machine that others use, run it under `chrt -f 40`: what starves is neither the relay's cost nor its loss.
//! The generator sends from 127.0.0.12 to 127.0.0.15, from port 36000 on.

mod bare;
mod cost;
mod generate;
mod kernel;
mod subject;
mod veth;
mod workers;

use net::batch::monotonic_nanos;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let args = Args::of(std::env::args().skip(1));
    match args.verb.as_deref() {
        Some("bare") => bare::run(&args),
        Some("hold") => subject::run(&args),
        Some("generate") => generate::run(args.secs, args.kinds, args.ptime),
        Some("cost") => return cost::compare(&args.with_defaults(&COST_CALLS, COST_PTIME)),
        Some("kernel") => return kernel::compare(&args),
        Some("veth") => return veth::compare(&args),
        Some("workers") => return workers::compare(&args),
        Some(other) => {
            eprintln!("no verb {other}: bare, cost, hold, kernel, veth, workers or generate");
            return ExitCode::from(2);
        }
        None => return compare(&args),
    }
    ExitCode::SUCCESS
}

/// What stands on the command line.
#[derive(Clone)]
struct Args {
    verb: Option<String>,
    calls: Vec<u16>,
    secs: u64,
    rounds: usize,
    /// Of `generate`: how many kinds of calls talk in turns.
    kinds: usize,
    /// Of `hold`.
    workers: u16,
    /// How often each leg says a packet. Units: milliseconds.
    ptime: u64,
    mode: String,
    /// Whether all calls are one peer's, with one port on each side.
    one_peer: bool,
    /// Whether `calls` and `ptime` were said.
    said: [bool; 2],
}

impl Args {
    fn of(mut words: impl Iterator<Item = String>) -> Self {
        let calls = vec![50, 300, 1_000];
        let mut args = Args {
            verb: None,
            calls,
            secs: 5,
            rounds: 3,
            kinds: 1,
            workers: 1,
            ptime: 20,
            mode: "batch".into(),
            one_peer: false,
            said: [false; 2],
        };
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                args.verb = Some(word);
                continue;
            };
            let value = words.next().unwrap_or_default();
            let number = || value.parse::<u64>().expect("a number follows the option");
            match option {
                "calls" => {
                    args.calls = value.split(',').map(|n| n.parse().expect("numbers of calls")).collect();
                    args.said[0] = true;
                }
                "ptime" => (args.ptime, args.said[1]) = (number().clamp(5, 200), true),
                "secs" => args.secs = number().clamp(2, 120),
                "rounds" => args.rounds = number().clamp(1, 99) as usize,
                "kinds" => args.kinds = number().clamp(1, 2) as usize,
                "workers" => args.workers = number().clamp(1, 2) as u16,
                "mode" => args.mode = value,
                "peers" => args.one_peer = value == "one",
                _ => panic!("no option --{option}"),
            }
        }
        args
    }

    /// With other values for what was not said.
    fn with_defaults(mut self, calls: &[u16], ptime: u64) -> Self {
        if !self.said[0] {
            self.calls = calls.to_vec();
        }
        if !self.said[1] {
            self.ptime = ptime;
        }
        self
    }
}

const COST_CALLS: [u16; 4] = [100, 300, 1_000, 2_000];
const COST_PTIME: u64 = 60;
/// From how many calls on the way of packets is judged, and how long that of 99 in a hundred may be. Units: microseconds.
const FULL_CALLS: u16 = 1_800;
const WAY_MAX_US: u64 = 2_500;

/// One run: what a process spent, and what the generator saw.
#[derive(Clone, Copy, Debug)]
struct Run {
    nanos_per_packet: f64,
    loss_percent: f64,
    p50_us: u64,
    p99_us: u64,
    /// CPU time of the generator, and of what it measured, per packet.
    all_nanos_per_packet: f64,
}

fn compare(args: &Args) -> ExitCode {
    let mut held = true;
    for &calls in &args.calls {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        let args = &Args { one_peer: args.one_peer || calls >= FULL_CALLS, ..args.clone() };
        for _ in 0..args.rounds {
            ours.push(run("hold", calls, args));
            bare.push(run("bare", calls, args));
        }
        let (our, floor) = (median(&ours), median(&bare));
        let mut ratios: Vec<f64> =
            ours.iter().zip(&bare).map(|(a, b)| a.nanos_per_packet / b.nanos_per_packet).collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        let loss = ours.iter().map(|run| run.loss_percent).fold(0.0, f64::max);
        let ok = ratio <= 1.25 && loss <= 0.1 && (calls < FULL_CALLS || our.p99_us <= WAY_MAX_US);
        held &= ok;
        println!(
            "{} relay {} @{calls}: {ratio:.2} times the bare loop [{:.2}..{:.2}] (<= 1.25): {:.0} against {:.0} ns, loss {loss:.3} %, p50 {} p99 {} us (bare: {} {})",
            if ok { "ok  " } else { "MISS" },
            args.mode,
            ratios[0],
            ratios[ratios.len() - 1],
            our.nanos_per_packet,
            floor.nanos_per_packet,
            our.p50_us,
            our.p99_us,
            floor.p50_us,
            floor.p99_us,
        );
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn median(runs: &[Run]) -> Run {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|a, b| a.nanos_per_packet.total_cmp(&b.nanos_per_packet));
    sorted[sorted.len() / 2]
}

fn run(verb: &str, calls: u16, args: &Args) -> Run {
    let mut subject = Subject::start(verb, calls, args);
    let [seen] = generate_at(&subject.pairs, args.secs, args.ptime);
    Run::of(&seen, &subject.end())
}

/// Lets phones talk, a packet each 20 ms; gives what they saw of as many kinds of calls.
fn generate<const KINDS: usize>(pairs: &[String], secs: u64) -> [Vec<u64>; KINDS] {
    generate_at(pairs, secs, 20)
}

/// The same at another pace.
fn generate_at<const KINDS: usize>(pairs: &[String], secs: u64, ptime: u64) -> [Vec<u64>; KINDS] {
    let [secs, kinds, ptime] = [secs, KINDS as u64, ptime].map(|n| n.to_string());
    let (mut generator, mut seen) = child(&["generate", "--secs", &secs, "--kinds", &kinds, "--ptime", &ptime]);
    let mut to = generator.stdin.take().expect("the generator reads pairs");
    to.write_all((pairs.join("\n") + "\n").as_bytes()).expect("the generator reads pairs");
    drop(to);
    let seen = std::array::from_fn(|_| numbers(&line(&mut seen)));
    generator.wait().expect("the generator ends");
    seen
}

/// What is measured, as a process of its own.
struct Subject {
    process: Child,
    lines: BufReader<ChildStdout>,
    /// A line for each call: `relayA relayB localA localB`.
    pairs: Vec<String>,
}

impl Subject {
    fn start(verb: &str, calls: u16, args: &Args) -> Self {
        let [count, secs, workers] = [u64::from(calls), args.secs + 3, args.workers.into()].map(|n| n.to_string());
        let peers = if args.one_peer { "one" } else { "many" };
        let words =
            [verb, "--calls", &count, "--secs", &secs, "--workers", &workers, "--mode", &args.mode, "--peers", peers];
        let (process, mut lines) = child(&words);
        let pairs = (0..calls).map(|_| line(&mut lines)).collect();
        Subject { process, lines, pairs }
    }

    /// Packets and the CPU time that they took, in nanoseconds: it tells them when its standard input closes.
    fn end(&mut self) -> Vec<u64> {
        drop(self.process.stdin.take());
        let spent = numbers(&line(&mut self.lines));
        self.process.wait().expect("the subject ends");
        spent
    }
}

impl Run {
    fn of(seen: &[u64], spent: &[u64]) -> Self {
        let (&[sent, received, p50_us, p99_us, generator_nanos], &[packets, cpu_nanos]) = (seen, spent) else {
            panic!("odd figures: {seen:?} {spent:?}")
        };
        let loss_percent = 100.0 * (sent as f64 - received as f64) / sent.max(1) as f64;
        let nanos_per_packet = cpu_nanos as f64 / packets.max(1) as f64;
        let all_nanos_per_packet = (generator_nanos + cpu_nanos) as f64 / sent.max(1) as f64;
        Run { nanos_per_packet, loss_percent, p50_us, p99_us, all_nanos_per_packet }
    }
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().map(|n| n.parse::<u64>().expect("numbers")).collect()
}

fn child(args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let me = std::env::current_exe().expect("this program has a path");
    let mut child =
        Command::new(me).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program starts");
    let out = BufReader::new(child.stdout.take().expect("it was piped"));
    (child, out)
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line.trim().to_string()
}

/// The phones of call `n`; those of one peer speak from one port on each side.
fn phones(n: u16, one_peer: bool) -> [SocketAddr; 2] {
    let port = 36_000 + if one_peer { 0 } else { 2 * n };
    [(Ipv4Addr::new(127, 0, 0, 12), port).into(), (Ipv4Addr::new(127, 0, 0, 13), port).into()]
}

/// Phones of call `n` that need nobody between them.
fn neighbours(n: u16) -> [SocketAddr; 2] {
    let port = 36_000 + 2 * n;
    [(Ipv4Addr::new(127, 0, 0, 14), port).into(), (Ipv4Addr::new(127, 0, 0, 15), port).into()]
}

/// Pins this thread, so that what is compared does not share a processor with its load.
fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    // On a machine with one processor nothing is left to choose.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Becomes true when standard input closes.
fn closed() -> std::sync::mpsc::Receiver<()> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = sender.send(());
    });
    receiver
}

fn deadline(secs: u64) -> u64 {
    monotonic_nanos() + secs * 1_000_000_000
}
