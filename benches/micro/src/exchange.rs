//! A whole exchange in given time: calls between two sources with everything around the core played by a few lines, so
//! that instructions and memory per call can be counted without sockets, threads or a disk.

use bytes::Bytes;
use media::command::{EndCounters, Family, MediaCommand, MediaReport, PortPair};
use registrar::{AlgorithmPolicy, NatPolicy, User};
use sip::digest::Ha1;
use sip::{HeaderName, Message, MessageBuilder};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use switch::account::Account;
use switch::{Config, Found, Input, ListenerConfig, Need, Output, Switch};
use words::{
    AccountId, Clock, ConnectionId, Flow, LegId, Seed, StoredBinding, StoredSubscription, Time, Transport, UserId, Wall,
};

/// The exchange, its caller and its callee.
pub struct Exchange {
    switch: Switch,
    now: Time,
    ends: HashMap<LegId, PortPair>,
    /// How many pairs there are, and the slot of the next.
    bound: u32,
    next_slot: u32,
    sent: Vec<(Flow, Bytes)>,
    calls: u32,
    around: Option<Box<dyn FnMut(Moment)>>,
    /// How many NOTIFYs were answered.
    notified: u64,
}

/// Between what a watcher stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The exchange is about to take a message.
    Before,
    /// It has carried out all that followed.
    After,
}

/// A call that is up.
#[derive(Debug)]
pub struct Up {
    number: u32,
    /// The value of To in the 200, tag included.
    to: String,
    /// The Contact of the 200.
    contact: String,
}

const OURS: &str = "127.0.0.1:5060";
const CALLER: &str = "127.0.0.2:5062";
const CALLEE: &str = "127.0.0.3:5070";

impl Exchange {
    /// An exchange with one account, one extension that is registered, and a listener that trusts its callers.
    ///
    /// # Panics
    /// Never: the addresses are constants.
    pub fn new() -> Self {
        let now = Time::from_millis(1_000);
        let account = AccountId(1);
        let config = Config {
            listeners: vec![ListenerConfig { account: Some(account), port: None, open: true }],
            calls: 100_000,
            silence: None,
            ports: media::ports::PoolConfig { pairs_max: 100_000, low_water: 64 },
            ..Config::default()
        };
        let clock = Clock { mono: now, wall: Wall(1_700_000_000_000) };
        let switch = Switch::new(config, Seed::from_number(1), Seed::from_number(2), clock, now);
        let mut exchange = Exchange {
            switch,
            now,
            ends: HashMap::new(),
            bound: 0,
            next_slot: 0,
            sent: Vec::new(),
            calls: 0,
            around: None,
            notified: 0,
        };
        let binding = StoredBinding {
            key: "sip:9100@127.0.0.3:5070".into(),
            contact: "sip:9100@127.0.0.3:5070".into(),
            transport: Transport::Udp,
            listener: 0,
            local: OURS.parse().expect("an address"),
            source: CALLEE.parse().expect("an address"),
            path: Vec::new(),
            q: 1000,
            call_id: "binding".into(),
            cseq: 1,
            instance: None,
            reg_id: None,
            agent: "callee".into(),
            nat: false,
            ice: false,
            expires: Wall(1_900_000_000_000),
        };
        exchange.switch.restore_binding(account, UserId(1), binding, now);
        exchange.stock();
        exchange
    }

    /// Calls `around` before and after each message, to take the time or to empty caches.
    pub fn watch(&mut self, around: impl FnMut(Moment) + 'static) {
        self.around = Some(Box::new(around));
    }

    /// Puts back `count` subscriptions to the calls of extensions: [`WATCHERS`] for each, the one that is called among
    /// them. Their NOTIFYs are answered from here on, at the first opportunity.
    ///
    /// # Panics
    /// Never: the addresses are constants.
    pub fn add_lamps(&mut self, count: u32) {
        for n in 0..count {
            let (subject, watcher) = (1 + n / WATCHERS, 10_000 + n % WATCHERS);
            let stored = StoredSubscription {
                key: format!("w{n:016x}"),
                package: "dialog".into(),
                id: None,
                subject: UserId(subject),
                entity: format!("sip:{}@bench.example", 9_099 + subject),
                call_id: format!("{n}-12345@127.1.0.1"),
                local: format!("<sip:{}@bench.example>;tag=w{n:016x}", 9_099 + subject),
                remote: format!("\"Watcher\" <sip:{watcher}@bench.example>;tag=9fxced76sl{n}"),
                remote_tag: format!("9fxced76sl{n}"),
                target: format!("sip:{watcher}@127.1.0.1:5060;line=8f3a"),
                route: Vec::new(),
                secure: false,
                cseq: 1,
                transport: Transport::Udp,
                listener: 0,
                local_address: OURS.parse().expect("an address"),
                source: format!("127.1.0.{}:5060", 1 + n % WATCHERS).parse().expect("an address"),
                began: Wall(1_700_000_000_000),
                expires: Wall(1_900_000_000_000),
            };
            self.switch.restore_subscription(AccountId(1), UserId(watcher), stored, self.now);
        }
        self.pass(Duration::from_secs(10));
    }

    /// How many NOTIFYs left and were answered.
    pub fn notified(&self) -> u64 {
        self.notified
    }

    /// As [`Exchange::wait`], with a look before and after each piece of work.
    pub fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        loop {
            self.tell(Moment::Before);
            let next = self.carry_out();
            self.tell(Moment::After);
            self.answer_notifies();
            let Some(at) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            self.tell(Moment::Before);
            self.switch.handle_timeout(self.now);
            self.tell(Moment::After);
        }
        self.now = self.now.max(until);
    }

    /// The watchers' phones take what they are told.
    fn answer_notifies(&mut self) {
        while let Some(at) = self.sent.iter().position(|(_, bytes)| bytes.starts_with(b"NOTIFY ")) {
            let (flow, bytes) = self.sent.remove(at);
            let notify = Message::parse(bytes).expect("the exchange writes what can be read");
            let ok = MessageBuilder::response(&notify, 200, "", None)
                .header(HeaderName::UserAgent, "Yealink SIP-T46S 66.86.0.15")
                .finish();
            self.notified += 1;
            self.tell(Moment::Before);
            self.switch.handle(Input::Message { flow, bytes: ok }, self.now);
            self.carry_out();
            self.tell(Moment::After);
        }
    }

    /// Lets time go by, with all that is due in it.
    pub fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(at) = self.carry_out()
            && at <= until
        {
            self.now = self.now.max(at);
            self.switch.handle_timeout(self.now);
        }
        self.now = until;
    }

    /// How often a loop that sleeps until the next timer is woken within `span`, and handles what is due.
    pub fn wakes(&mut self, span: Duration) -> u32 {
        let until = self.now + span;
        let mut wakes = 0;
        while let Some(at) = self.carry_out()
            && at <= until
        {
            wakes += 1;
            self.now = self.now.max(at);
            self.switch.handle_timeout(self.now);
        }
        self.now = until;
        wakes
    }

    /// INVITE, 180, 200 and ACK on both legs.
    ///
    /// # Panics
    /// When the exchange does not set the call up.
    pub fn set_up(&mut self) -> Up {
        self.calls += 1;
        let number = self.calls;
        self.input(CALLER, &request("INVITE", number, "sip:9100@127.0.0.1:5060", TO, 1, OFFER));
        let invite = self.take("INVITE ");
        self.input(CALLEE, &answer(&invite, "180 Ringing", ""));
        self.take("SIP/2.0 180");
        self.input(CALLEE, &answer(&invite, "200 OK", OFFER));
        let ok = self.take("SIP/2.0 200");
        let up = Up { number, to: header(&ok, "To"), contact: inside(&header(&ok, "Contact")) };
        self.input(CALLER, &request("ACK", number, &up.contact, &up.to, 1, ""));
        self.take("ACK ");
        self.sent.clear();
        up
    }

    /// BYE and its 200 on both legs.
    ///
    /// # Panics
    /// When the exchange does not end the call.
    pub fn end(&mut self, up: &Up) {
        self.input(CALLER, &request("BYE", up.number, &up.contact, &up.to, 2, ""));
        let bye = self.take("BYE ");
        self.input(CALLEE, &answer(&bye, "200 OK", ""));
        self.take("SIP/2.0 200");
        self.sent.clear();
    }

    /// From now on new calls are refused, or taken again.
    pub fn overload(&mut self, on: bool) {
        self.switch.handle(Input::Overloaded(on), self.now);
    }

    /// A call that is refused: INVITE, 503 and ACK.
    ///
    /// # Panics
    /// When the exchange does not refuse it.
    pub fn refuse(&mut self) {
        self.calls += 1;
        self.input(CALLER, &request("INVITE", self.calls, "sip:9100@127.0.0.1:5060", TO, 1, OFFER));
        let to = header(&self.take("SIP/2.0 503"), "To");
        self.input(CALLER, &request("ACK", self.calls, "sip:9100@127.0.0.1:5060", &to, 1, ""));
        self.sent.clear();
    }

    /// How many calls are up.
    pub fn calls_up(&self) -> usize {
        self.switch.calls_up()
    }

    /// The exchange keeps so many pairs ready from now on.
    fn stock(&mut self) {
        self.switch.handle_timeout(self.now);
        self.carry_out();
    }

    fn input(&mut self, from: &str, text: &str) {
        self.now += Duration::from_micros(300);
        let flow = Flow {
            transport: Transport::Udp,
            listener: 0,
            connection: ConnectionId::NONE,
            local: OURS.parse().expect("an address"),
            remote: from.parse().expect("an address"),
        };
        self.tell(Moment::Before);
        self.switch.handle(Input::Message { flow, bytes: Bytes::copy_from_slice(text.as_bytes()) }, self.now);
        self.carry_out();
        self.tell(Moment::After);
        self.answer_notifies();
    }

    fn tell(&mut self, moment: Moment) {
        if let Some(around) = &mut self.around {
            around(moment);
        }
    }

    /// The first message sent that begins so; all before it are dropped.
    fn take(&mut self, start: &str) -> String {
        let at = self.sent.iter().position(|(_, bytes)| bytes.starts_with(start.as_bytes()));
        let at = at.unwrap_or_else(|| panic!("nothing begins with {start} in {:?}", self.sent));
        String::from_utf8_lossy(&self.sent.remove(at).1).into_owned()
    }

    /// Plays the shell: relay, store and directory answer at once.
    fn carry_out(&mut self) -> Option<Time> {
        let mut facts = None;
        loop {
            match self.switch.poll() {
                Output::Transmit { flow, bytes } => self.sent.push((flow, bytes)),
                Output::Event(event) => facts = Some(event.seq),
                Output::Need(need) => {
                    let input = found(need);
                    self.switch.handle(input, self.now);
                }
                Output::Media(command) => self.relay(&command),
                Output::Connect { .. }
                | Output::Resolve(_)
                | Output::Proven { .. }
                | Output::Sources(_)
                | Output::Reply { .. } => {}
                Output::Timeout(at) => match facts.take() {
                    Some(up_to) => self.switch.handle(Input::Stored { up_to }, self.now),
                    None => return at,
                },
            }
        }
    }

    fn relay(&mut self, command: &MediaCommand) {
        match *command {
            MediaCommand::Open { end, ports, .. } => {
                self.ends.insert(end, ports);
            }
            MediaCommand::Close { end, .. } => {
                if let Some(ports) = self.ends.remove(&end) {
                    let report = MediaReport::Closed { end, ports, counters: EndCounters::default(), figures: None };
                    self.switch.handle(Input::Media(report), self.now);
                }
            }
            MediaCommand::Stock { pairs, family } => {
                let pair = |slot: u32| PortPair { worker: 0, slot, rtp_port: 2 * slot as u16, family };
                let new = pairs.saturating_sub(self.bound);
                let ports = (self.next_slot..self.next_slot + new).map(pair).collect();
                (self.next_slot, self.bound) = (self.next_slot + new, self.bound + new);
                assert_eq!(family, Family::V4);
                self.switch.handle(Input::Media(MediaReport::Ready { ports }), self.now);
            }
            MediaCommand::Unbind { ref ports, .. } => self.bound -= ports.len() as u32,
            MediaCommand::Latch { .. }
            | MediaCommand::Ice { .. }
            | MediaCommand::Rekey { .. }
            | MediaCommand::Link { .. }
            | MediaCommand::Unlink { .. }
            | MediaCommand::Play { .. }
            | MediaCommand::Stop { .. } => {}
        }
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange::new()
    }
}

/// What the caller asks.
fn request(method: &str, number: u32, uri: &str, to: &str, cseq: u32, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let length = body.len();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK-{number}-{cseq}-{method};rport\r\n\
         From: \"user1\" <sip:user1@{OURS}>;tag=12345u{number}\r\nTo: {to}\r\nCall-ID: {number}-12345@127.0.0.2\r\n\
         CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:user1@{CALLER};transport=UDP>\r\n\
         User-Agent: SIPp\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// What the callee answers.
fn answer(request: &str, status: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=777s1\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:sipp@{CALLEE};transport=UDP>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        header(request, "Via"),
        header(request, "From"),
        header(request, "To").split(";tag").next().unwrap_or_default(),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        body.len()
    )
}

/// The directory's answer.
fn found(need: Need) -> Input {
    let found = match &need {
        Need::Account(_) | Need::Domain(_) => Found::Account(Arc::new(Account {
            id: AccountId(1),
            name: "bench".into(),
            domain: "bench.example".into(),
            realm: "bench.example".into(),
            ring_for: Duration::from_secs(30),
            typed_transfer: None,
            routes: Vec::new(),
            peers: Vec::new(),
            algorithms: std::collections::BTreeMap::default(),
        })),
        Need::Extension { .. } | Need::AuthUser(_) => Found::User(Arc::new(User {
            account: AccountId(1),
            id: UserId(1),
            extension: "9100".into(),
            auth_user: "9100".into(),
            realm: "bench.example".into(),
            ha1: Ha1::new("9100", "bench.example", "x"),
            algorithms: AlgorithmPolicy::All,
            display_name: "Callee".into(),
            enabled: true,
            nat: NatPolicy::Detect,
            srtp: words::Srtp::default(),
        })),
    };
    Input::Found { need, found }
}

fn header(message: &str, name: &str) -> String {
    let value = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {name} in {message}")).to_owned()
}

fn inside(value: &str) -> String {
    value.split(['<', '>']).nth(1).unwrap_or(value).to_owned()
}

/// How many watch each extension.
const WATCHERS: u32 = 10;
const TO: &str = "<sip:9100@127.0.0.1:5060>";
const OFFER: &str = "v=0\r\no=sipp 123451 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n\
    m=audio 7000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
