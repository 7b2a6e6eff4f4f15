//! The least that forwarding costs through plain sockets: no table, no RTCP, no statistics.

use crate::{Args, closed, deadline, phones, pin};
use net::batch::{
    DatagramSocket, EVENTS, Events, Poller, monotonic_nanos, process_cpu_nanos, raise_descriptor_limit, sleep_until,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Forwards between each pair of legs until standard input closes; a socket a leg, connected to its first source, one
/// receive and one send a packet, a tick of a millisecond.
pub(crate) fn run(args: &Args) {
    let (calls, secs) = (args.calls[0], args.secs);
    raise_descriptor_limit();
    let end = closed();
    pin(0);
    let (poller, mut events) = (Poller::new().expect("descriptors"), Events::new());
    let sockets: Vec<DatagramSocket> = (0..2 * calls)
        .map(|leg| {
            let socket = DatagramSocket::bind(local(leg), 64 * 1_024).expect("a free port");
            poller.add(&socket, u32::from(leg)).expect("it can be watched");
            socket
        })
        .collect();
    for call in 0..calls {
        let [a, b] = phones(call, args.one_peer);
        println!("{} {} {a} {b}", local(2 * call), local(2 * call + 1));
    }
    let mut latched = vec![false; sockets.len()];
    let mut buffer = [0; 2_048];
    let (mut packets, mut cpu_from, mut cpu_to) = (0u64, 0, 0);
    let (deadline, mut next) = (deadline(secs), monotonic_nanos());
    while end.try_recv().is_err() && monotonic_nanos() < deadline {
        let before = packets;
        loop {
            let ready = poller.wait(&mut events, Some(Duration::ZERO)).expect("it waits");
            for n in 0..ready {
                let Some(leg) = events.token(n).map(|n| n as usize) else { continue };
                let length = if latched[leg] {
                    sockets[leg].receive(&mut buffer).ok()
                } else if let Ok((length, from)) = sockets[leg].receive_from(&mut buffer) {
                    latched[leg] = sockets[leg].connect(from).is_ok();
                    Some(length)
                } else {
                    None
                };
                let Some(length) = length else { continue };
                if cpu_from == 0 {
                    cpu_from = process_cpu_nanos();
                }
                if latched[leg ^ 1] {
                    let _ = sockets[leg ^ 1].send(&buffer[..length]);
                    packets += 1;
                }
            }
            if ready < EVENTS {
                break;
            }
        }
        if packets > before {
            cpu_to = process_cpu_nanos();
        }
        next += 1_000_000;
        let now = monotonic_nanos();
        if next <= now {
            next = now;
        } else {
            sleep_until(next);
        }
    }
    println!("{packets} {}", cpu_to.saturating_sub(cpu_from));
}

fn local(leg: u16) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, 14), 40_000 + 2 * leg).into()
}
