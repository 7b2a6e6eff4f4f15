//! Limits of connections, over loopback.

use crate::kit::{Side, on_loop, short};
use bytes::Bytes;
use net::SendError;
use net::stream::{CloseReason, Gate, HELD_BACK, Limits, NetEvent};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use words::{Flow, Time};

async fn closed(side: &mut Side) -> CloseReason {
    match side.event().await {
        NetEvent::Closed { why, .. } => why,
        other => panic!("the end of a connection was expected: {other:?}"),
    }
}

/// The other side ended the connection; what it still said.
async fn rest(phone: &mut TcpStream) -> usize {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = phone.read_to_end(&mut rest).await;
    rest.len()
}

#[test]
fn a_silent_connection_ends_and_one_that_spoke_lives() {
    on_loop(async {
        let mut side = Side::tcp(short());
        let mut speaking = TcpStream::connect(side.address).await.unwrap();
        speaking.write_all(b"x\n").await.unwrap();
        side.message().await;
        let mut silent = TcpStream::connect(side.address).await.unwrap();
        let mut pinging = TcpStream::connect(side.address).await.unwrap();
        pinging.write_all(b"PING\n").await.unwrap();

        assert_eq!(rest(&mut silent).await, 0);
        assert_eq!(rest(&mut pinging).await, 5, "keep-alives are no messages");
        assert_eq!(side.connections.len(), 1);
        assert_eq!(side.connections.counters().timed_out, 2);
    });
}

#[test]
fn one_that_spoke_once_ends_unless_it_proved_itself() {
    on_loop(async {
        let mut side = Side::tcp(Limits { idle: Duration::from_millis(50), ..short() });
        let mut known = TcpStream::connect(side.address).await.unwrap();
        known.write_all(b"x\n").await.unwrap();
        let (flow, _) = side.message().await;
        side.connections.prove(flow.connection);
        let mut unknown = TcpStream::connect(side.address).await.unwrap();
        unknown.write_all(b"x\n").await.unwrap();
        side.message().await;

        assert_eq!(closed(&mut side).await, CloseReason::Idle);
        rest(&mut unknown).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(side.connections.flow(flow.connection), Some(flow));
    });
}

#[test]
fn half_a_message_ends_the_connection_even_when_it_grows() {
    on_loop(async {
        let mut side = Side::tcp(short());
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(b"whole\nha").await.unwrap();
        side.message().await;
        let drip = async {
            while phone.write_all(b"l").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = drip => panic!("the loop must hear of it first"),
            why = closed(&mut side) => assert_eq!(why, CloseReason::SlowFrame),
        }
    });
}

#[test]
fn a_reader_that_leaves_too_much_unread_ends() {
    on_loop(async {
        let mut side = Side::tcp(Limits::default());
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(b"x\n").await.unwrap();
        let (flow, _) = side.message().await;
        let message = Bytes::from(vec![b'y'; 60_000]);

        let mut taken = 0;
        while side.connections.send(flow.connection, message.clone()).is_ok() {
            taken += 1;
            assert!(taken < 1_000, "the kernel's buffers and ours are bounded");
        }
        assert_eq!(side.connections.send(flow.connection, message), Err(SendError::Gone));
        assert_eq!(closed(&mut side).await, CloseReason::SlowReader);
    });
}

#[test]
fn a_reader_that_reads_nothing_at_all_ends_below_the_limit_too() {
    on_loop(async {
        let mut side = Side::tcp(short());
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(b"x\n").await.unwrap();
        let (flow, _) = side.message().await;
        let message = Bytes::from(vec![b'y'; 60_000]);
        // Fills the kernel's buffers as they are drained into the other side's.
        for _ in 0..200 {
            if side.connections.send(flow.connection, message.clone()).is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(closed(&mut side).await, CloseReason::SlowReader);
    });
}

#[test]
fn a_flood_of_keep_alives_whose_answers_nobody_reads_ends_and_disturbs_nobody() {
    on_loop(async {
        let mut side = Side::tcp(Limits { backlog_bytes: 16 * 1_024, ..Limits::default() });
        let address = side.address;
        let flood = tokio::task::spawn_local(async move {
            let mut phone = TcpStream::connect(address).await.unwrap();
            let pings = b"PING\n".repeat(10_000);
            let mut sent = 0;
            while phone.write_all(&pings).await.is_ok() {
                sent += pings.len();
            }
            sent
        });
        let mut honest = TcpStream::connect(address).await.unwrap();
        let mut answer = [0; 3];
        for _ in 0..20 {
            honest.write_all(b"hi\n").await.unwrap();
            let (flow, bytes) = side.message().await;
            side.connections.send(flow.connection, bytes).unwrap();
            honest.read_exact(&mut answer).await.unwrap();
        }
        assert!(flood.await.unwrap() > 0, "the flood was cut off");
        assert_eq!(side.connections.len(), 1);
    });
}

#[test]
fn connections_beyond_the_limits_are_closed_at_once() {
    on_loop(async {
        for (limits, full, source) in [
            (Limits { connections: 3, ..Limits::default() }, 2, 0),
            (Limits { per_source: 3, ..Limits::default() }, 0, 2),
        ] {
            let side = Side::tcp(limits);
            let mut phones = Vec::new();
            for _ in 0..5 {
                phones.push(TcpStream::connect(side.address).await.unwrap());
            }
            for phone in &mut phones[3..] {
                assert_eq!(rest(phone).await, 0);
            }
            let counters = side.connections.counters();
            assert_eq!((counters.accepted, counters.refused_full, counters.refused_source), (3, full, source));

            phones.truncate(3);
            drop(phones);
            side.until_empty().await;
            let mut again = TcpStream::connect(side.address).await.unwrap();
            again.write_all(b"PING\n").await.unwrap();
            let mut pong = [0; 5];
            again.read_exact(&mut pong).await.unwrap();
        }
    });
}

/// Hears so many connections and pieces, then none until somebody allows more.
#[derive(Clone)]
struct Share(Rc<Cell<u32>>);

impl Gate for Share {
    fn hears(&self, flow: &Flow, _: Time) -> bool {
        assert!(flow.remote.ip().is_loopback());
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

#[test]
fn a_stranger_out_of_his_share_waits_and_loses_nothing() {
    on_loop(async {
        let share = Share(Rc::new(Cell::new(4)));
        let mut side = Side::gated(Limits::default(), share.clone());
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        // One for the connection, so three lines are heard at once.
        phone.write_all(b"1\n2\n3\n4\nPING\n5\n").await.unwrap();
        for line in ["1\n", "2\n", "3\n"] {
            assert_eq!(side.message().await.1, line);
        }
        assert!(tokio::time::timeout(HELD_BACK / 2, side.event()).await.is_err());
        assert_eq!(side.connections.counters().held_back, 1);
        // Who connects now is not taken.
        let mut other = TcpStream::connect(side.address).await.unwrap();
        assert_eq!(rest(&mut other).await, 0);
        assert_eq!(side.connections.counters().refused_stranger, 1);
        share.0.set(10);
        let (flow, line) = side.message().await;
        assert_eq!(line, "4\n");
        assert_eq!(side.message().await.1, "5\n");
        // Lines, keep-alives, and one that is still to come.
        assert_eq!(share.0.get(), 6);
        // A piece costs the same for each of its parts.
        for part in ["6", "7", "8\n"] {
            phone.write_all(part.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(side.message().await.1, "678\n");
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(share.0.get(), 3);
        // Who has proven who it is is not asked about.
        share.0.set(0);
        side.connections.prove(flow.connection);
        phone.write_all(b"9\n10\n").await.unwrap();
        assert_eq!((side.message().await.1, side.message().await.1), ("9\n".into(), "10\n".into()));
        side.connections.close(flow.connection);
        assert_eq!(closed(&mut side).await, CloseReason::Ours);
    });
}

#[test]
fn a_stranger_who_is_not_heard_ends_like_any_other() {
    on_loop(async {
        let share = Share(Rc::new(Cell::new(2)));
        let mut side = Side::gated(Limits { silent: Duration::from_mins(1), ..short() }, share.clone());
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(b"1\n2\n").await.unwrap();
        let (flow, _) = side.message().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        side.connections.close(flow.connection);
        let began = net::batch::monotonic_nanos();
        assert_eq!(closed(&mut side).await, CloseReason::Ours);
        let took = Duration::from_nanos(net::batch::monotonic_nanos() - began);
        assert!(took < HELD_BACK / 2, "it need not wait to be heard");
        assert_eq!(rest(&mut phone).await, 0);
    });
}
