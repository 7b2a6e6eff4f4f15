//! The relay itself with calls opened as the switch opens them.

use crate::{Args, closed, phones, pin};
use media::command::{
    Family, Generation, MediaAddress, MediaCommand, MediaReport, PayloadTypes, PortPair, SourceRule, Terms, Whereabouts,
};
use media::sdp::Direction;
use net::batch::process_cpu_nanos;
use relay::{Config, Mode, Relay};
use std::net::SocketAddr;
use std::time::Duration;
use words::{CallId, LegId, Seed};

/// Opens calls between the phones, tells their ports, forwards until standard input closes and tells what that cost.
pub(crate) fn run(args: &Args) {
    let &Args { secs, workers, .. } = args;
    let (end, calls) = (closed(), args.calls[0]);
    if workers == 1 {
        // Its threads inherit it: the same terms as for the bare loop.
        pin(0);
    }
    let single_port = (args.mode == "single").then_some(SINGLE_PORT);
    let mode = match &*args.mode {
        "kernel" => Mode::Kernel,
        "batch" | "single" => Mode::Batch,
        "basic" => Mode::Basic,
        other => panic!("no mode {other}"),
    };
    let config = Config { mode, workers, single_port, ipv6: None, ..Config::new(10_000, 32_767, Seed::from_number(1)) };
    let (mut relay, reports) = Relay::start(&config, Box::new(|| ())).expect("the relay starts");
    let wanted = 2 * u32::from(calls);
    relay.apply(MediaCommand::Stock { pairs: wanted, family: Family::V4 }).expect("an empty queue");
    let mut pairs: Vec<PortPair> = Vec::new();
    while pairs.len() < wanted as usize {
        if let MediaReport::Ready { ports } = reports.recv().expect("ports") {
            pairs.extend(ports);
        }
    }
    // Both legs of a call are one worker's.
    pairs.sort_by_key(|ports| (ports.worker, ports.slot));
    for call in 0..calls {
        let ports = [pairs[2 * usize::from(call)], pairs[2 * usize::from(call) + 1]];
        open(&mut relay, call, phones(call, args.one_peer), ports, single_port.is_some());
        let [a, b] = phones(call, args.one_peer);
        let [to_a, to_b] = ports.map(|ports| single_port.unwrap_or(ports.rtp_port));
        println!("127.0.0.1:{to_a} 127.0.0.1:{to_b} {a} {b}");
    }
    relay.settle();
    let (mut from, mut ended) = (process_cpu_nanos(), false);
    if mode == Mode::Kernel {
        // What the first packets cost on their way through the worker is another tier's.
        while !ended && relay.counters().carried < u64::from(wanted) {
            ended = end.recv_timeout(SETTLING).is_ok();
        }
        from = process_cpu_nanos();
    }
    // Whoever started this and went away does not leave it behind.
    if !ended && end.recv_timeout(Duration::from_secs(secs + 60)).is_err() {
        return;
    }
    let spent = process_cpu_nanos() - from;
    // The figures are published a few times a second.
    std::thread::sleep(relay::HOUSEKEEPING * 2);
    println!("{} {spent}", relay.counters().totals.packets);
}

fn open(relay: &mut Relay, call: u16, phones: [SocketAddr; 2], ports: [PortPair; 2], single_port: bool) {
    let leg = |n| LegId { call: CallId(u128::from(call) + 1), n };
    for (n, (phone, ports)) in (0..).zip(phones.into_iter().zip(ports)) {
        let rtcp = SocketAddr::new(phone.ip(), phone.port() + 1);
        let open = MediaCommand::Open {
            end: leg(n),
            ports,
            generation: Generation(1),
            terms: Terms {
                source: SourceRule::Strict,
                whereabouts: Whereabouts { single_port, ..Whereabouts::default() },
                remote: Some(MediaAddress { rtp: phone, rtcp }),
                payload_types: PayloadTypes::NONE.with(0).with(101),
                clocks: media::clocks::Clocks::NONE,
                telephone_event: Some(101),
                direction: Direction::SendRecv,
                extended: media::own::Extended::default(),
                silence: Some(Duration::from_mins(1)).into(),
            },
        };
        relay.apply(open).expect("opening is never refused");
    }
    for (from, to) in [(0, 1), (1, 0)] {
        let link = MediaCommand::Link { from: leg(from), to: leg(to), generation: Generation(2) };
        while relay.apply(link.clone()).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How often it is looked whether the kernel carries all.
const SETTLING: Duration = Duration::from_millis(10);

/// The port that all share in the mode `single`: outside of the range of the others.
const SINGLE_PORT: u16 = 9_000;
