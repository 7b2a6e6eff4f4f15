//! The edge: what of the bytes that come in is SIP, and what is answered before the exchange sees it.

use bytes::Bytes;
use net::stream::{Framed, Frames, Gate};
use sip::framing::{Datagram, Frame, Framer, classify_datagram};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use switch::{Strangers, Verdict};
use words::{Flow, Time};

/// Cuts streams into SIP messages for `net`, which knows none.
#[derive(Debug, Default)]
pub(crate) struct SipFrames(Framer);

impl Frames for SipFrames {
    fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    fn next(&mut self) -> Result<Option<Framed>, String> {
        let frame = self.0.next().map_err(|error| error.to_string())?;
        Ok(frame.map(|frame| match frame {
            Frame::Message(bytes) => Framed::Message(bytes),
            Frame::KeepAlive => Framed::Reply(b"\r\n"),
            Frame::Pong | Frame::Zeros => Framed::Ignore,
            Frame::Stun(bytes) => Framed::Stun(bytes),
        }))
    }

    fn is_partial(&self) -> bool {
        !self.0.is_idle()
    }
}

/// Who may connect, and speak before it has proven who it is (see [`Strangers`]). Copies are the same.
#[derive(Clone)]
pub(crate) struct StreamGate(Rc<RefCell<Known>>);

struct Known {
    strangers: Strangers,
    peers: BTreeSet<IpAddr>,
}

impl StreamGate {
    pub(crate) fn new(strangers: Strangers) -> Self {
        StreamGate(Rc::new(RefCell::new(Known { strangers, peers: BTreeSet::new() })))
    }

    /// Somebody has proven who it is over a connection from there, or had before this start.
    pub(crate) fn prove(&self, source: IpAddr, now: Time) {
        self.0.borrow_mut().strangers.prove_connection(source, now);
    }

    /// Peers speak from there, and from nowhere else.
    pub(crate) fn set_peers(&self, sources: Vec<IpAddr>) {
        self.0.borrow_mut().peers = sources.into_iter().collect();
    }
}

impl Gate for StreamGate {
    fn hears(&self, flow: &Flow, now: Time) -> bool {
        let mut known = self.0.borrow_mut();
        let source = flow.remote.ip().to_canonical();
        known.peers.contains(&source) || known.strangers.hear_connection(source, now) == Verdict::Heard
    }
}

/// What becomes of a datagram.
pub(crate) enum Fate {
    /// The exchange takes it.
    Sip(Bytes),
    /// This goes back at once.
    Answer(Vec<u8>),
    /// A keep-alive: it did its work in the routers on its way.
    KeepAlive,
    /// Its sender has been heard often enough; the exchange has counted it.
    Unheard,
    /// Nothing that we know.
    Garbage,
    /// It comes from where nobody may speak.
    Foreign,
}

/// Sorts a datagram where it lies: only what the exchange takes is worth a copy. Keep-alives of every make are welcome:
/// CRLF, zero bytes, nothing at all, STUN (RFC 5626 §8). `hears` is asked about what would cause work or an answer.
pub(crate) fn sort(bytes: &[u8], flow: &Flow, mut hears: impl FnMut(&Flow) -> bool) -> Fate {
    match classify_datagram(bytes) {
        Datagram::Sip if hears(flow) => Fate::Sip(Bytes::copy_from_slice(bytes)),
        Datagram::Stun if hears(flow) => answer_stun(bytes, flow).map_or(Fate::Garbage, Fate::Answer),
        Datagram::Sip | Datagram::Stun => Fate::Unheard,
        Datagram::KeepAlive => Fate::KeepAlive,
        Datagram::Garbage => Fate::Garbage,
    }
}

/// A binding response that tells a device its address (RFC 8489), when `bytes` is a binding request.
pub(crate) fn answer_stun(bytes: &[u8], flow: &Flow) -> Option<Vec<u8>> {
    media::stun::answer(bytes, flow.remote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use words::{Chance, ConnectionId, Seed, Transport};

    #[test]
    fn peers_connect_as_often_as_they_like_and_strangers_do_not() {
        let gate = StreamGate::new(Strangers::new(Chance::new(Seed::from_number(1))));
        let from = |address: &str| Flow {
            transport: Transport::Tcp,
            listener: 0,
            connection: ConnectionId::NONE,
            local: "192.0.2.10:5060".parse().unwrap(),
            remote: address.parse().unwrap(),
        };
        let heard = |address: &str| (0..10_000).filter(|_| gate.hears(&from(address), Time::ZERO)).count();
        gate.set_peers(vec!["198.51.100.1".parse().unwrap()]);
        assert_eq!([heard("198.51.100.1:40000"), heard("198.51.100.2:40000")], [10_000, 250]);
        gate.set_peers(Vec::new());
        assert_eq!(heard("198.51.100.1:40000"), 250);
        gate.prove("198.51.100.3".parse().unwrap(), Time::ZERO);
        assert_eq!(heard("198.51.100.3:40000"), 2_500);
    }
}
