//! Floods of strangers, and an honest caller beside them.
//!
//! `flood-load garbage|register|invite|options --to A [--rate N] [--secs N] [--sources N] [--users 101,102]` sends from so
//! many addresses of loopback and prints: datagrams sent, their bytes, datagrams that came back, their bytes.
//! `flood-load honest --to A --users 101,102 [--domain D] [--calls N] [--rate N] [--secs N]` registers these users (user
//! `office101` has the password `secret101`), holds calls to the echo, says `ready`, and for so many seconds registers, asks
//! and calls as often as `--rate` says while RTP runs. It prints: requests begun, requests answered in time, RTP packets
//! sent, RTP packets that came back, and the median, the 99th and the 99.5th percentile of their way in microseconds.

mod flood;
mod honest;
mod talk;

use std::net::SocketAddr;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::of(std::env::args().skip(1));
    match args.verb.as_str() {
        "garbage" => flood::run(flood::Kind::Garbage, &args),
        "register" => flood::run(flood::Kind::Register, &args),
        "invite" => flood::run(flood::Kind::Invite, &args),
        "options" => flood::run(flood::Kind::Options, &args),
        "honest" => honest::run(&args),
        other => {
            eprintln!("no verb {other:?}: garbage, register, invite, options or honest");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// What stands on the command line.
struct Args {
    verb: String,
    to: SocketAddr,
    domain: String,
    rate: u64,
    secs: u64,
    calls: u16,
    sources: usize,
    users: Vec<String>,
}

impl Args {
    fn of(mut words: impl Iterator<Item = String>) -> Self {
        let mut args = Args {
            verb: String::new(),
            to: SocketAddr::from(([127, 0, 0, 1], 5060)),
            domain: "office.example".into(),
            rate: 50,
            secs: 5,
            calls: 20,
            sources: 64,
            users: Vec::new(),
        };
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                args.verb = word;
                continue;
            };
            let value = words.next().unwrap_or_default();
            let number = || value.parse::<u64>().expect("a number follows the option");
            match option {
                "to" => args.to = value.parse().expect("an address follows --to"),
                "domain" => args.domain = value,
                "rate" => args.rate = number().clamp(1, 1_000_000),
                "secs" => args.secs = number().clamp(1, 600),
                "calls" => args.calls = number().clamp(1, 1_000) as u16,
                "sources" => args.sources = number().clamp(1, 10_000) as usize,
                "users" => args.users = value.split(',').map(str::to_owned).collect(),
                _ => panic!("no option --{option}"),
            }
        }
        args
    }
}

/// A percentile of sorted numbers, in thousandths.
fn percentile(sorted: &[u64], thousandths: usize) -> u64 {
    sorted.get(sorted.len() * thousandths / 1_000).or(sorted.last()).copied().unwrap_or(0)
}
