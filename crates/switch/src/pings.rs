//! Pings to devices: OPTIONS sent by the registrar's wish, answers told to it.

use crate::switch::{Output, Switch};
use bytes::Bytes;
use registrar::watch::Departure;
use registrar::{Ping, PingId, PingKind};
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, HeaderName, MessageBuilder, Outgoing, Target};
use std::collections::HashMap;
use words::{Fact, Time};

/// Pings that wait for an answer, by their transaction.
///
/// Limits: as many as there are bindings that are pinged; each ends with its transaction.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pings {
    last: u64,
    waiting: HashMap<u64, PingId>,
}

impl Pings {
    /// A name for a request whose answer nobody waits for.
    pub(crate) fn unasked(&mut self) -> ClientTxn {
        self.last += 1;
        ClientTxn(OURS | self.last)
    }

    /// Whether a client transaction is a ping. Calls count up from zero and never reach our half.
    #[expect(clippy::unused_self, reason = "asked of the room that owns these transactions")]
    pub(crate) fn is_ours(&self, txn: ClientTxn) -> bool {
        txn.0 & OURS != 0
    }
}

impl Switch {
    /// Carries out what the registrar wants. Whether there was anything.
    pub(crate) fn settle_registrar(&mut self, now: Time) -> bool {
        let mut moved = false;
        loop {
            match self.registrar.poll() {
                registrar::Output::Ping(ping) => self.ping(&ping, now),
                registrar::Output::Fact { account, fact } => {
                    let unbound = if let Fact::Unbound { user, .. } = &fact { Some(*user) } else { None };
                    self.say(account, fact, now);
                    if let Some(user) = unbound {
                        self.tell_departed(user, Departure::Expired, now);
                    }
                }
                registrar::Output::Timeout(at) => {
                    self.wakes.registrar = at;
                    return moved;
                }
            }
            moved = true;
        }
    }

    pub(crate) fn ping(&mut self, ping: &Ping, now: Time) {
        if ping.kind == PingKind::Crlf {
            self.outputs.push_back(Output::Transmit { flow: ping.flow, bytes: Bytes::from_static(b"\r\n\r\n") });
            return;
        }
        let txn = self.pings.unasked();
        let host = ping.flow.local;
        let mut builder = MessageBuilder::request("OPTIONS", &ping.contact);
        for hop in &ping.path {
            builder.push_header(HeaderName::Route, hop);
        }
        let builder = builder
            .header(HeaderName::MaxForwards, "70")
            .header_fmt(HeaderName::From, format_args!("<sip:ping@{host}>;tag={:08x}", self.chance.u32()))
            .header_fmt(HeaderName::To, format_args!("<{}>", ping.contact))
            .header_fmt(HeaderName::CallId, format_args!("{:016x}", self.chance.u64()))
            .header(HeaderName::CSeq, "1 OPTIONS")
            .header(HeaderName::UserAgent, &self.config.server);
        self.pings.waiting.insert(txn.0, ping.id);
        self.endpoint.request(txn, Outgoing { builder, body: None }, Target::Flow(ping.flow), now);
    }

    /// An answer of any status shows that the device is there; no answer shows that it is not.
    pub(crate) fn handle_pong(&mut self, event: &sip::Event, now: Time) {
        let (txn, alive) = match event {
            sip::Event::Response { txn, message, .. } if message.status() >= 200 => (*txn, true),
            sip::Event::Timeout { txn } | sip::Event::TransportFailed { txn, .. } => (*txn, false),
            sip::Event::Request { .. }
            | sip::Event::Response { .. }
            | sip::Event::Ack { .. }
            | sip::Event::Cancelled { .. }
            | sip::Event::NoAck { .. }
            | sip::Event::ServerFailed { .. } => return,
        };
        if let Some(id) = self.pings.waiting.remove(&txn.0) {
            self.registrar.pinged(id, alive, now);
            self.tell_bound(id.user, now);
        }
    }
}

const OURS: u64 = 1 << 63;
