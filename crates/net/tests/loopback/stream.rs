//! TCP connections over loopback.

use crate::kit::{Side, on_loop};
use bytes::Bytes;
use net::SendError;
use net::stream::{CloseReason, Limits, NetEvent};
use net::tls::Trust;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use words::diagnosis::Diagnosis;
use words::{ConnectionId, Time, Transport};

#[test]
fn messages_are_cut_however_the_stream_is_split() {
    on_loop(async {
        let mut side = Side::tcp(Limits::default());
        let mut phone = TcpStream::connect(side.address).await.unwrap();

        for piece in ["on", "e\ntw", "o\nthree\n", "PING\n"] {
            phone.write_all(piece.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }

        let (flow, bytes) = side.message().await;
        assert_eq!((&bytes[..], flow.listener, flow.transport), (&b"one\n"[..], 7, Transport::Tcp));
        assert_eq!((flow.local, flow.remote), (side.address, phone.local_addr().unwrap()));
        assert_eq!(&side.message().await.1[..], b"two\n");
        assert_eq!(&side.message().await.1[..], b"three\n");

        side.connections.send(flow.connection, Bytes::from_static(b"answer\n")).unwrap();
        let mut answer = [0; 12];
        phone.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"PONG\nanswer\n");

        drop(phone);
        match side.event().await {
            NetEvent::Closed { connection, why, .. } => {
                assert_eq!((connection, why), (flow.connection, CloseReason::Remote));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(side.connections.send(flow.connection, Bytes::new()), Err(SendError::Gone));
    });
}

#[test]
fn a_slot_that_is_taken_again_has_another_generation() {
    on_loop(async {
        let mut side = Side::tcp(Limits::default());
        let mut seen: Vec<ConnectionId> = Vec::new();
        for _ in 0..3 {
            let mut phone = TcpStream::connect(side.address).await.unwrap();
            phone.write_all(b"x\n").await.unwrap();
            seen.push(side.message().await.0.connection);
            drop(phone);
            assert!(matches!(side.event().await, NetEvent::Closed { .. }));
        }
        assert!(seen.iter().all(|id| id.slot == seen[0].slot && id.generation != 0));
        assert!(seen.is_sorted_by(|a, b| a.generation < b.generation));
    });
}

#[test]
fn what_is_no_message_ends_the_connection() {
    on_loop(async {
        let mut side = Side::tcp(Limits::default());
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(b"good\n!\n").await.unwrap();
        side.message().await;
        match side.event().await {
            NetEvent::Closed { why, detail, .. } => {
                assert_eq!((why, &detail[..]), (CloseReason::Malformed, "a bang"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(side.connections.counters().malformed, 1);
    });
}

#[test]
fn a_connection_of_ours_carries_both_ways() {
    on_loop(async {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut ours = Side::tcp(Limits::default());
            let mut theirs = Side::tcp(Limits::default());
            let remote = theirs.connections.listen(9, Transport::Tcp, address.parse().unwrap()).unwrap();
            let local = address.parse().unwrap();

            ours.connections.connect(42, Transport::Tcp, 7, local, remote, Trust::Anybody);
            let flow = match ours.event().await {
                NetEvent::Connected { id: 42, result } => result.unwrap(),
                other => panic!("{other:?}"),
            };
            ours.connections.send(flow.connection, Bytes::from_static(b"hello\n")).unwrap();

            let (back, bytes) = theirs.message().await;
            assert_eq!((&bytes[..], back.remote, back.listener), (&b"hello\n"[..], flow.local, 9));
            theirs.connections.send(back.connection, Bytes::from_static(b"welcome\n")).unwrap();
            assert_eq!(&ours.message().await.1[..], b"welcome\n");
        }
    });
}

#[test]
fn a_connection_that_nobody_takes_is_answered_with_the_error() {
    on_loop(async {
        let mut side = Side::tcp(Limits::default());
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        side.connections.connect(1, Transport::Tcp, 0, side.address, nobody, Trust::Anybody);
        match side.event().await {
            NetEvent::Connected { id: 1, result: Err(error) } => {
                assert_eq!(error.kind, io::ErrorKind::ConnectionRefused);
            }
            other => panic!("{other:?}"),
        }
        assert!(side.connections.is_empty());
    });
}

#[test]
fn a_taken_port_and_a_missing_certificate_are_named() {
    on_loop(async {
        let side = Side::tcp(Limits::default());
        let error = side.connections.listen(0, Transport::Tcp, side.address).unwrap_err();
        assert_eq!(error.diagnosis(), Some(Diagnosis::PortInUse));
        let error = side.connections.listen(0, Transport::Tls, "127.0.0.1:0".parse().unwrap()).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    });
}

#[test]
fn a_full_event_queue_slows_senders_and_loses_nothing() {
    on_loop(async {
        let mut side = Side::tcp(Limits { events: 2, ..Limits::default() });
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        let lines = (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n") + "\n";
        phone.write_all(lines.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(side.connections.counters().received < 10, "the connection waits for the loop");
        for n in 0..1_000 {
            assert_eq!(side.message().await.1, format!("{n}\n"));
        }
    });
}

#[test]
fn shutdown_writes_what_waits_and_then_closes() {
    on_loop(async {
        let mut side = Side::tcp(Limits::default());
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(b"x\n").await.unwrap();
        let (flow, _) = side.message().await;
        let long = Bytes::from(vec![b'y'; 200 * 1_024]);
        side.connections.send(flow.connection, long.clone()).unwrap();

        let connections = side.connections.clone();
        let stopping = tokio::task::spawn_local(async move { connections.shutdown(Duration::from_secs(5)).await });
        let mut got = Vec::new();
        phone.read_to_end(&mut got).await.unwrap();
        stopping.await.unwrap();

        assert_eq!(got.len(), long.len());
        assert!(side.connections.is_empty());
        assert!(TcpStream::connect(side.address).await.is_err(), "nobody listens");
    });
}

#[test]
fn a_storm_of_connections_that_end_at_once_leaves_nothing_behind() {
    on_loop(async {
        let mut side = Side::tcp(Limits::default());
        for _ in 0..300 {
            let mut phone = TcpStream::connect(side.address).await.unwrap();
            phone.write_all(b"INVITE\nhalf").await.unwrap();
            // A reset instead of an orderly end.
            phone.set_zero_linger().unwrap();
        }
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(b"still there\n").await.unwrap();
        while side.message_or_end().await != Some(Bytes::from_static(b"still there\n")) {}
        drop(phone);
        while !side.connections.is_empty() {
            side.event().await;
        }
    });
}

/// What waits for the loop, in its queue or in the socket, says for how long.
#[test]
fn a_message_says_since_when_its_connection_waits() {
    on_loop(async {
        let mut side = Side::tcp(Limits { events: 1, ..Limits::default() });
        let clocks = side.clocks;
        let mut phone = TcpStream::connect(side.address).await.unwrap();
        phone.write_all(&b"INVITE\n".repeat(100)).await.unwrap();
        let patience = Duration::from_millis(100);
        for taken in 0..100 {
            let since = side.since().await;
            let waited = clocks.now().since(since);
            assert_eq!(waited >= patience, taken > 0, "{taken}: {waited:?}");
            if taken == 0 {
                tokio::time::sleep(patience).await;
            }
        }
        // It has caught up.
        tokio::time::sleep(Duration::from_millis(20)).await;
        phone.write_all(b"INVITE\n").await.unwrap();
        assert!(clocks.now().since(side.since().await) < patience);
    });
}

impl Side {
    async fn since(&mut self) -> Time {
        match self.event().await {
            NetEvent::Received { since, .. } => since,
            other => panic!("a message was expected: {other:?}"),
        }
    }

    async fn message_or_end(&mut self) -> Option<Bytes> {
        match self.event().await {
            NetEvent::Received { bytes, .. } => Some(bytes),
            _ => None,
        }
    }
}
