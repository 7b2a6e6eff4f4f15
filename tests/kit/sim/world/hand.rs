//! Messages written by hand, sent from wherever a test says: what strangers send, and phones that do not keep to rules.

use super::people::exchange;
use super::{Due, World};
use bytes::Bytes;
use sip::{HeaderName, Message};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use words::{ConnectionId, Flow, Transport};

/// What came back to who writes by hand.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The message.
    pub bytes: Bytes,
    /// What it says; `None` where a refusal repeats what could not be read.
    pub message: Option<Message>,
    /// The status.
    pub status: u16,
}

impl Heard {
    fn new(bytes: Bytes) -> Heard {
        let message = Message::parse(bytes.clone()).ok();
        let digits = bytes.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.first_chunk::<3>());
        let status = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0);
        Heard { bytes, message, status }
    }

    /// The value of a header of it.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.message.as_ref()?.header(name)
    }
}

/// The addresses that write by hand, and what the exchange sent there.
#[derive(Default)]
pub(super) struct Hands(BTreeMap<SocketAddr, Vec<Bytes>>);

impl Hands {
    /// Whether an answer refuses what was written by hand: it may repeat what cannot be read.
    pub(super) fn is_refused(&self, address: SocketAddr, bytes: &Bytes) -> bool {
        self.0.contains_key(&address) && (bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5"))
    }

    /// A message goes to an address. Whether somebody is there who writes by hand.
    pub(super) fn hear(&mut self, address: SocketAddr, bytes: &Bytes) -> bool {
        let Some(heard) = self.0.get_mut(&address) else { return false };
        // Whether a device is there is nothing that was asked for by hand.
        if !bytes.starts_with(b"OPTIONS ") {
            heard.push(bytes.clone());
        }
        true
    }
}

impl World {
    /// Sends a datagram from an address, which may be a phone's, and gives what the exchange sends there within the next
    /// second.
    pub fn send_by_hand(&mut self, source: SocketAddr, text: &str) -> Vec<Heard> {
        self.send_octets(source, text.as_bytes())
    }

    /// The same with what need not be a text.
    pub fn send_octets(&mut self, source: SocketAddr, octets: &[u8]) -> Vec<Heard> {
        self.post_octets(source, octets);
        self.pass(Duration::from_secs(1));
        self.heard_by_hand(source)
    }

    /// Sends a datagram from an address and waits for nothing.
    pub fn post(&mut self, source: SocketAddr, text: &str) {
        self.post_octets(source, text.as_bytes());
    }

    fn post_octets(&mut self, source: SocketAddr, octets: &[u8]) {
        self.hands.0.entry(source).or_default();
        self.laws.know(source);
        let bytes = Bytes::copy_from_slice(octets);
        self.transcript.note_message(self.now, format_args!("<- {source} (by hand)"), &bytes);
        self.later(Duration::ZERO, Due::ToExchange { flow: by_hand(source), bytes });
    }

    /// What was sent to an address since it was asked last.
    pub fn heard_by_hand(&mut self, source: SocketAddr) -> Vec<Heard> {
        let heard = self.hands.0.get_mut(&source).map(std::mem::take).unwrap_or_default();
        heard.into_iter().map(Heard::new).collect()
    }
}

fn by_hand(remote: SocketAddr) -> Flow {
    Flow { transport: Transport::Udp, listener: 0, connection: ConnectionId::NONE, local: exchange(), remote }
}
