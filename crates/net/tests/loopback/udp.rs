//! Datagrams over loopback.

use crate::kit::on_loop;
use bytes::Bytes;
use net::SendError;
use net::udp::Udp;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::diagnosis::Diagnosis;
use words::{ConnectionId, Flow, Transport};

async fn receive(udp: &Udp) -> (Bytes, Flow) {
    loop {
        if let Some(got) = udp.try_recv() {
            return got;
        }
        udp.readable().await;
    }
}

fn first(udp: &Udp) -> SocketAddr {
    udp.locals().next().unwrap().1
}

#[test]
fn both_families_carry_a_question_and_its_answer() {
    on_loop(async {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let ours = Udp::bind(&[(3, loopback.parse().unwrap())]).unwrap();
            let phone = Udp::bind(&[(0, loopback.parse().unwrap())]).unwrap();

            phone.send_to(first(&phone), first(&ours), b"question").unwrap();
            let (bytes, flow) = receive(&ours).await;

            let connection = ConnectionId::NONE;
            let (local, remote) = (first(&ours), first(&phone));
            assert_eq!(flow, Flow { transport: Transport::Udp, listener: 3, connection, local, remote });
            assert_eq!(&bytes[..], b"question");
            ours.send(&flow, b"answer").unwrap();
            assert_eq!(&receive(&phone).await.0[..], b"answer");
            assert_eq!(ours.counters().received, 1);
            assert_eq!(ours.counters().sent, 1);
        }
    });
}

#[test]
fn an_empty_and_the_longest_datagram_come_exactly() {
    on_loop(async {
        let ours = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
        let phone = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
        for length in [0, 1, 65_507] {
            phone.send_to(first(&phone), first(&ours), &vec![b'x'; length]).unwrap();
            assert_eq!(receive(&ours).await.0.len(), length);
        }
        let too_long = vec![0; 65_508];
        assert!(matches!(phone.send_to(first(&phone), first(&ours), &too_long), Err(SendError::Refused(_))));
    });
}

#[test]
fn a_wildcard_becomes_one_socket_per_address_and_flows_show_which() {
    on_loop(async {
        let mut udp = Udp::bind(&[(0, "0.0.0.0:0".parse().unwrap()), (1, "[::]:0".parse().unwrap())]).unwrap();
        let loopback = udp.locals().find(|(_, local)| local.ip() == IpAddr::from([127, 0, 0, 1])).unwrap().1;
        assert!(udp.locals().all(|(_, local)| !local.ip().is_unspecified() && local.port() != 0));
        assert!(udp.locals().all(|(listener, local)| (listener == 1) == local.is_ipv6()));
        assert!(!udp.refresh().unwrap(), "the addresses stayed, so the sockets stay");

        let phone = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
        phone.send_to(first(&phone), loopback, b"hello").unwrap();

        assert_eq!(receive(&udp).await.1.local, loopback);
        assert_eq!(udp.local_towards(0, first(&phone)), Some(loopback));
        assert!(udp.receive_buffer_bytes() > 100_000);
    });
}

#[test]
fn sockets_are_taken_from_in_turn() {
    on_loop(async {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let ours = Udp::bind(&[(0, any), (1, any)]).unwrap();
        let phone = Udp::bind(&[(0, any)]).unwrap();
        for (_, local) in ours.locals() {
            for _ in 0..10 {
                phone.send_to(first(&phone), local, b"x").unwrap();
            }
        }
        let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
        for _ in 0..10 {
            *seen.entry(receive(&ours).await.1.listener).or_default() += 1;
        }
        assert_eq!(seen, BTreeMap::from([(0, 5), (1, 5)]));
    });
}

#[test]
fn what_the_kernel_drops_is_counted() {
    on_loop(async {
        let ours = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
        let phone = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
        assert_eq!(ours.overflowed(), 0);
        let long = vec![b'x'; 60_000];
        let mut sent = 0;
        while ours.overflowed() == 0 {
            phone.send_to(first(&phone), first(&ours), &long).unwrap();
            sent += 1;
            assert!(sent < 10_000, "the receive buffer is bounded");
        }
        assert_eq!(phone.overflowed(), 0);
    });
}

#[test]
fn a_taken_port_and_a_foreign_address_are_named() {
    on_loop(async {
        let udp = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
        let error = Udp::bind(&[(0, first(&udp))]).unwrap_err();
        assert_eq!(error.diagnosis(), Some(Diagnosis::PortInUse));
        assert!(error.to_string().contains(&first(&udp).to_string()));

        let foreign = Udp::bind(&[(0, "192.0.2.1:5060".parse().unwrap())]).unwrap_err();
        assert_eq!(foreign.diagnosis(), None);
        assert_eq!(udp.send_to("192.0.2.1:5060".parse().unwrap(), first(&udp), b"x"), Err(SendError::Gone));
    });
}

#[test]
fn a_datagram_knows_how_long_it_waited() {
    on_loop(async {
        let ours = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
        let phone = Udp::bind(&[(0, "127.0.0.1:0".parse().unwrap())]).unwrap();
        assert_eq!(ours.waited(), Duration::ZERO);
        // The first question makes the kernel take notes.
        phone.send_to(first(&phone), first(&ours), b"one").unwrap();
        receive(&ours).await;
        ours.waited();
        tokio::time::sleep(Duration::from_millis(50)).await;
        phone.send_to(first(&phone), first(&ours), b"two").unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        receive(&ours).await;
        let waited = ours.waited();
        assert!(waited >= Duration::from_millis(30) && waited < Duration::from_secs(5), "{waited:?}");
    });
}
