//! The shell's work: what leaves the exchange and the phones is carried where it goes.

use super::people::exchange_for;
use super::{Due, Inside, Mood, PhoneOutput, World};
use bytes::Bytes;
use media::command::MediaCommand;
use sip::Undelivered;
use std::net::SocketAddr;
use std::time::Duration;
use switch::{Input, Need, Output};
use words::dns::Question;
use words::{ConnectionId, Event, Flow, Time, Transport};

impl World {
    /// Carries out what the exchange wants, until it sleeps; it must hold together before.
    pub(super) fn carry_out(&mut self) {
        if let Err(broken) = self.switch.check() {
            panic!("at {:?}: {broken}", self.now);
        }
        loop {
            let output = self.switch.poll();
            self.twin.compare(&output);
            match output {
                Output::Transmit { flow, bytes } => self.transmit(flow, bytes),
                Output::Connect { id, transport, remote, .. } => {
                    let after = self.net.delay();
                    self.inside(after, Inside::Dials { id, transport, remote });
                }
                Output::Resolve(question) => self.resolve(question),
                Output::Proven { .. } | Output::Sources(_) => {}
                Output::Event(event) => self.record(event),
                Output::Need(need) => self.ask(need),
                Output::Media(command) => self.command_media(command),
                Output::Reply { reply, .. } => self.process.replies.push(reply),
                Output::Timeout(at) => {
                    self.store.rest();
                    self.process.wake = at.map(|at| self.process.started + at.since(Time::ZERO));
                    let now = self.inside_now();
                    self.twin.rest(&self.switch, &self.process.config, now);
                    return;
                }
            }
        }
    }

    fn record(&mut self, event: Event) {
        self.transcript.note(self.now, format_args!("fact {} {:?}", event.seq.0, event.fact));
        if self.store.take(event, self.now) {
            self.inside(self.store.delay, Inside::Commits);
        }
    }

    fn ask(&mut self, need: Need) {
        self.transcript.note(self.now, format_args!("{need:?}"));
        self.directory.questions += 1;
        match self.directory.mood {
            Mood::After(delay) => self.inside(delay, Inside::Answers(need)),
            Mood::Unavailable => self.input(Input::Unavailable { need }),
            Mood::Away => {}
        }
    }

    /// The exchange's resolver is asked.
    fn resolve(&mut self, question: Question) {
        for ip in self.dns.addresses() {
            self.laws.know_host(ip);
        }
        let said = self.dns.ask(&question);
        self.transcript.note(self.now, format_args!("{question:?}: {said:?}"));
        if let Some((after, answer)) = said {
            self.inside(after, Inside::Resolves(question, answer));
        }
    }

    fn command_media(&mut self, command: MediaCommand) {
        self.transcript.note(self.now, format_args!("{command:?}"));
        self.relay.obey(command, self.now);
        self.watch_media();
    }

    /// What the relay's double has to say or to look at later.
    pub(super) fn watch_media(&mut self) {
        for (after, report) in self.relay.reports() {
            self.inside(after, Inside::Reports(report));
        }
        for (after, end, generation) in self.relay.watches() {
            self.inside(after, Inside::Watches { end, generation });
        }
    }

    /// A message leaves the exchange.
    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        if let Err(broken) = self.laws.judge(&flow, &bytes, &mut self.store, self.now)
            && !self.hands.is_refused(flow.remote, &bytes)
        {
            panic!("at {:?} the exchange {broken}", self.now);
        }
        if flow.transport == Transport::Udp { self.datagram_out(flow, &bytes) } else { self.stream_out(flow, bytes) }
    }

    fn datagram_out(&mut self, flow: Flow, bytes: &Bytes) {
        let by_hand = self.hands.hear(flow.remote, bytes);
        let copies = self.net.datagram();
        let phone = self.phone_at(flow.remote).filter(|&phone| self.phones[phone].plugged);
        let fate = if copies.is_empty() { " (lost)" } else { "" };
        let fate = if phone.is_some() || by_hand { fate } else { " (nobody there)" };
        self.transcript.note_message(self.now, format_args!("-> {}{fate}", flow.remote), bytes);
        let Some(phone) = phone else {
            if !by_hand {
                self.net.nobody_there();
            }
            return;
        };
        let back = Flow { local: self.phones[phone].address, remote: flow.local, ..flow };
        for after in copies {
            self.later(after, Due::ToPhone { phone, flow: back, bytes: bytes.clone() });
        }
    }

    fn stream_out(&mut self, flow: Flow, bytes: Bytes) {
        self.transcript.note_message(self.now, format_args!("-> {} {}", flow.transport, flow.remote), &bytes);
        let at = self.net.on_stream(flow.connection, 1, self.now);
        let connection = self.net.connection(flow.connection).copied();
        let (Some(at), Some(connection)) = (at, connection) else {
            self.input(Input::SendFailed { flow });
            return;
        };
        let phone = connection.phone;
        if !self.phones[phone].plugged {
            // Nobody acknowledges the bytes: the system gives the connection up after a while.
            self.later(GIVEN_UP, Due::Closes { connection: connection.id });
            return;
        }
        let local = self.phones[phone].address;
        let back = Flow { local, remote: exchange_for(local), listener: 0, ..flow };
        self.at(at, Due::ToPhone { phone, flow: back, bytes });
    }

    /// Carries out what a phone wants.
    pub(super) fn settle_phone(&mut self, phone: usize) {
        while let Some(output) = self.phones[phone].outputs.pop_front() {
            match output {
                PhoneOutput::Transmit { flow, bytes } => self.phone_sends(phone, flow, bytes),
                PhoneOutput::Connect { id } => {
                    let after = self.net.delay();
                    self.later(after, Due::PhoneDials { phone, id });
                }
                PhoneOutput::Later { after, line, what } => self.later(after, Due::Act { phone, line, what }),
            }
        }
    }

    fn phone_sends(&mut self, phone: usize, flow: Flow, bytes: Bytes) {
        if !self.phones[phone].plugged {
            return;
        }
        if flow.transport != Transport::Udp {
            return self.stream_in(flow, bytes);
        }
        let source = match self.phones[phone].nat {
            Some(nat) => self.net.nats[nat].outward(flow.local, self.now),
            None => flow.local,
        };
        let copies = self.net.datagram();
        let fate = if copies.is_empty() { " (lost)" } else { "" };
        self.transcript.note_message(self.now, format_args!("<- {source}{fate}"), &bytes);
        self.laws.know(source);
        let flow = Flow { listener: 0, local: exchange_for(source), remote: source, ..flow };
        for after in copies {
            self.later(after, Due::ToExchange { flow, bytes: bytes.clone() });
        }
    }

    fn stream_in(&mut self, flow: Flow, bytes: Bytes) {
        let Some(at) = self.net.on_stream(flow.connection, 0, self.now) else { return };
        let Some(connection) = self.net.connection(flow.connection).copied() else { return };
        self.transcript.note_message(self.now, format_args!("<- {} {}", flow.transport, connection.source), &bytes);
        let flow = Flow { listener: 1, local: exchange_for(connection.source), remote: connection.source, ..flow };
        self.at(at, Due::ToExchange { flow, bytes });
    }

    /// The phone whose address this is from outside.
    fn phone_at(&self, address: SocketAddr) -> Option<usize> {
        let behind = |nat: usize| self.net.nats[nat].inward(address, self.now);
        self.phones.iter().position(|phone| match phone.nat {
            Some(nat) => behind(nat) == Some(phone.address),
            None => phone.address == address,
        })
    }

    /// A phone's connection comes up.
    pub(super) fn phone_connects(&mut self, phone: usize, id: u64) {
        let source = SocketAddr::new(self.phones[phone].address.ip(), 30_000 + self.net.connected as u16);
        let connection = self.net.connect(phone, source);
        let flow = self.phone_flow(phone, connection.id);
        self.transcript.note(self.now, format_args!("{source} connects"));
        self.phones[phone].handle_connected(id, Some(flow), self.now);
        self.settle_phone(phone);
    }

    /// A connection that the exchange wants comes up, or does not.
    pub(super) fn exchange_connects(&mut self, id: u64, transport: Transport, remote: SocketAddr) {
        let listens = |phone: &crate::sim::phone::Phone| {
            phone.plugged && phone.nat.is_none() && phone.address == remote && phone.transport == transport
        };
        let impostor = transport.is_secure() && self.dns.impostors.contains(&remote);
        let phone = self.phones.iter().position(listens).filter(|_| !impostor);
        let flow = phone.map(|phone| {
            let connection = self.net.connect(phone, remote);
            Flow { transport, listener: 1, connection: connection.id, local: exchange_for(remote), remote }
        });
        let why = if impostor { Undelivered::Untrusted } else { Undelivered::Unreachable };
        let flow = flow.ok_or(why);
        self.transcript.note(self.now, format_args!("a connection to {remote}: {}", flow.is_ok()));
        self.input(Input::Connected { id, flow });
    }

    /// A connection ends; the phone hears of it, and so does the exchange unless it is being killed.
    pub(super) fn close(&mut self, id: ConnectionId, tell_exchange: bool) {
        let Some(connection) = self.net.connections.remove(&id) else { return };
        self.transcript.note(self.now, format_args!("the connection of {} ends", connection.source));
        self.phones[connection.phone].handle_flow_closed(id, self.now);
        self.settle_phone(connection.phone);
        if tell_exchange {
            self.input(Input::FlowClosed { connection: id });
        }
    }

    fn phone_flow(&self, phone: usize, connection: ConnectionId) -> Flow {
        let (transport, local) = (self.phones[phone].transport, self.phones[phone].address);
        Flow { transport, listener: 0, connection, local, remote: exchange_for(local) }
    }
}

/// How long a system tries to deliver bytes to a connection whose other end is gone.
const GIVEN_UP: Duration = Duration::from_secs(20);
