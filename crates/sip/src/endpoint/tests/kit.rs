//! A bench for one endpoint: it keeps what was sent and told, with the millisecond of each.

use super::super::*;
use words::{Seed, Transport};

pub(super) struct Bed {
    pub(super) endpoint: Endpoint,
    pub(super) now: Time,
    pub(super) sent: Vec<(u64, Flow, Message)>,
    pub(super) events: Vec<(u64, Event)>,
    pub(super) connects: Vec<u64>,
}

pub(super) fn udp() -> Flow {
    flow(Transport::Udp, 0)
}

pub(super) fn tcp(generation: u32) -> Flow {
    flow(Transport::Tcp, generation)
}

fn flow(transport: Transport, generation: u32) -> Flow {
    Flow {
        transport,
        listener: 0,
        connection: ConnectionId { slot: u32::from(generation != 0), generation },
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.9:5070".parse().unwrap(),
    }
}

/// Where our requests go that need a connection first.
pub(super) fn dial() -> Target {
    let Flow { transport, listener, local, remote, .. } = tcp(0);
    Target::Dial { transport, listener, local, remote, peer: None }
}

/// A request of the peer, without its empty line; `extra` are header lines.
pub(super) fn text(method: &str, branch: &str, extra: &str) -> String {
    format!(
        "{method} sip:b@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch={branch};rport\n\
         From: <sip:a@h>;tag=a\nTo: <sip:b@h>\nCall-ID: c\nCSeq: 1 {method}\nMax-Forwards: 70\n{extra}\n"
    )
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::from(text.replace('\n', "\r\n"))
}

/// A request of ours.
pub(super) fn ours(method: &str) -> Outgoing {
    MessageBuilder::request(method, "sip:b@192.0.2.9:5070")
        .header(HeaderName::Route, "<sip:192.0.2.9:5070;lr>")
        .header(HeaderName::From, "<sip:a@h>;tag=a")
        .header(HeaderName::To, "<sip:b@h>")
        .header(HeaderName::CallId, "c")
        .header(HeaderName::CSeq, &format!("1 {method}"))
        .header(HeaderName::Require, "100rel")
        .into()
}

pub(super) const TXN: ClientTxn = ClientTxn(7);

impl Bed {
    pub(super) fn new() -> Self {
        Bed::with(EndpointConfig::default())
    }

    /// Timers fire to the millisecond here.
    pub(super) fn with(mut config: EndpointConfig) -> Self {
        config.timers.step = std::time::Duration::ZERO;
        let endpoint = Endpoint::new(config, Chance::new(Seed::from_number(1)), Time::ZERO);
        Bed { endpoint, now: Time::ZERO, sent: Vec::new(), events: Vec::new(), connects: Vec::new() }
    }

    /// Takes all outputs; gives when to come back.
    pub(super) fn pump(&mut self) -> Option<Time> {
        loop {
            let at = self.now.as_millis();
            match self.endpoint.poll() {
                Output::Transmit { flow, bytes } => self.sent.push((at, flow, Message::parse(bytes).unwrap())),
                Output::Connect { id, .. } => self.connects.push(id),
                Output::Event(event) => self.events.push((at, event)),
                Output::Timeout(next) => {
                    self.endpoint.check().unwrap();
                    return next;
                }
            }
        }
    }

    pub(super) fn run_to(&mut self, ms: u64) {
        let end = Time::from_millis(ms);
        while let Some(next) = self.pump().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
        }
        self.now = end;
    }

    pub(super) fn receive(&mut self, flow: Flow, text: &str) -> Result<(), Refused> {
        let result = self.endpoint.handle_message(flow, bytes(text), self.now);
        self.pump();
        result
    }

    pub(super) fn request(&mut self, method: &str, target: Target) {
        self.endpoint.request(TXN, ours(method), target, self.now);
        self.pump();
    }

    pub(super) fn cancel(&mut self) {
        self.endpoint.cancel(TXN, Some("SIP;cause=200"), self.now);
        self.pump();
    }

    /// The peer answers the `n`th message that we sent.
    pub(super) fn answer(&mut self, n: usize, status: u16, tag: &str) -> Result<(), Refused> {
        let (_, flow, request) = &self.sent[n];
        let answer = MessageBuilder::response(request, status, "", Some(tag)).finish();
        let result = self.endpoint.handle_message(*flow, answer, self.now);
        self.pump();
        result
    }

    /// We answer the latest request.
    pub(super) fn respond(&mut self, status: u16) -> ServerTxn {
        let latest = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Request { txn, message, .. } => Some((*txn, message.clone())),
            _ => None,
        });
        let (txn, request) = latest.unwrap();
        let answer = MessageBuilder::response(&request, status, "", Some("us"));
        self.endpoint.respond(txn, answer.into(), self.now);
        self.pump();
        txn
    }

    pub(super) fn connected(&mut self, result: Result<Flow, Undelivered>) {
        let id = self.connects.pop().unwrap();
        self.endpoint.handle_connected(id, result, self.now);
        self.pump();
    }

    /// What was sent since the last call: `<ms> <method or status>`.
    pub(super) fn sent(&mut self) -> Vec<String> {
        self.sent.drain(..).map(|(at, _, message)| format!("{at} {}", name(&message))).collect()
    }

    /// What was told since the last call.
    pub(super) fn told(&mut self) -> Vec<String> {
        let told = |(at, event): (u64, Event)| match event {
            Event::Request { message, .. } => format!("{at} {}", name(&message)),
            Event::Ack { .. } => format!("{at} ACK"),
            Event::Cancelled { .. } => format!("{at} cancelled"),
            Event::Response { message, txn, .. } => {
                assert_eq!(txn, TXN);
                format!("{at} {} {}", name(&message), message.to_tag().unwrap_or("-"))
            }
            Event::Timeout { .. } => format!("{at} timeout"),
            Event::TransportFailed { why: Undelivered::Unreachable, .. } => format!("{at} transport failed"),
            Event::TransportFailed { why: Undelivered::Untrusted, .. } => format!("{at} not trusted"),
            Event::NoAck { .. } => format!("{at} no ack"),
            Event::ServerFailed { .. } => format!("{at} server failed"),
        };
        self.events.drain(..).map(told).collect()
    }
}

fn name(message: &Message) -> String {
    if message.is_request() { message.method_token().to_owned() } else { message.status().to_string() }
}
