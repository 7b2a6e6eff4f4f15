//! A loop for one test, with connections whose messages are lines.

use bytes::Bytes;
use net::clock::Clocks;
use net::stream::{Config, Connections, Framed, Frames, Gate, Limits, NetEvent};
use net::tls::{Acceptor, Authorities};
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::task::LocalSet;
use words::{Flow, Transport};

/// Runs `test` as the loop does: on one thread, beside local tasks. Nothing may take ten seconds.
pub(crate) fn on_loop<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(10), test).await.expect("ten seconds are over") };
    LocalSet::new().block_on(&runtime, bounded)
}

/// Limits that a test can wait for.
pub(crate) fn short() -> Limits {
    let short = Duration::from_millis(50);
    Limits {
        sweep: Duration::from_millis(10),
        open: short,
        silent: short,
        frame: short,
        stall: short,
        ..Limits::default()
    }
}

/// Connections with a listener for `transport` on the IPv4 loopback.
pub(crate) struct Side {
    pub(crate) connections: Connections,
    pub(crate) clocks: Clocks,
    pub(crate) events: Receiver<NetEvent>,
    pub(crate) address: SocketAddr,
}

impl Side {
    pub(crate) fn tcp(limits: Limits) -> Side {
        Side::new(limits, Transport::Tcp, None)
    }

    pub(crate) fn new(limits: Limits, transport: Transport, acceptor: Option<Acceptor>) -> Side {
        Side::trusting(limits, transport, acceptor, Authorities::default())
    }

    /// One that trusts these authorities when it connects.
    pub(crate) fn trusting(
        limits: Limits,
        transport: Transport,
        acceptor: Option<Acceptor>,
        authorities: Authorities,
    ) -> Side {
        Side::make(limits, transport, (acceptor, authorities), None)
    }

    /// One that hears strangers as `gate` says.
    pub(crate) fn gated(limits: Limits, gate: impl Gate + 'static) -> Side {
        Side::make(limits, Transport::Tcp, (None, Authorities::default()), Some(Box::new(gate)))
    }

    fn make(
        limits: Limits,
        transport: Transport,
        (acceptor, authorities): (Option<Acceptor>, Authorities),
        gate: Option<Box<dyn Gate>>,
    ) -> Side {
        let frames = Box::new(|| Box::new(Lines::default()) as Box<dyn Frames>);
        let clocks = Clocks::new();
        let (connections, events) = Connections::new(Config { limits, clocks, frames, gate, acceptor, authorities });
        let address = connections.listen(7, transport, "127.0.0.1:0".parse().unwrap()).unwrap();
        Side { connections, clocks, events, address }
    }

    pub(crate) async fn event(&mut self) -> NetEvent {
        self.events.recv().await.expect("the connections live")
    }

    /// The next event, which must be a message.
    pub(crate) async fn message(&mut self) -> (Flow, Bytes) {
        match self.event().await {
            NetEvent::Received { flow, bytes, .. } => (flow, bytes),
            other => panic!("a message was expected: {other:?}"),
        }
    }

    /// Waits until no connection is left.
    pub(crate) async fn until_empty(&self) {
        while !self.connections.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Messages end with a line feed; `PING` wants `PONG`; what begins with `!` is no message.
#[derive(Default)]
pub(crate) struct Lines(Vec<u8>);

impl Frames for Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Option<Framed>, String> {
        if self.0.starts_with(b"!") {
            return Err("a bang".to_owned());
        }
        let Some(end) = self.0.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        let line: Vec<u8> = self.0.drain(..=end).collect();
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Ok(Some(if line == b"PING\n" { Framed::Reply(b"PONG\n") } else { Framed::Message(line.into()) }))
    }

    fn is_partial(&self) -> bool {
        !self.0.is_empty()
    }
}
