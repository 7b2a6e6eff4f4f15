//! The whole exchange, fed with dialogs that go wrong in every way.
//!
//! An input is a text of steps with `~` between them. A step's first letter says who does something, the rest is what:
//! `a` (a caller who needs no password), `b` and `c` (registered phones), `t` (a phone on a connection) and `s` (a
//! stranger) send the rest as a message; `w` waits so many milliseconds; `x` ends the connection, `f` says that a message
//! to `b` could not be sent, `d` that the next facts cannot be stored, `h` hangs calls up, `m` says that an end is silent,
//! `o` and `p` that the machine is overloaded and is no longer.
//!
//! In a message `$` and a letter stand for what only the exchange knows: of the last request to the sender `$v` Via,
//! `$f` From, `$t` To, `$i` Call-ID, `$q` CSeq, `$c` the address of its Contact; of the last answer to the sender the same in
//! capitals, `$R` what RAck needs; `$b` a description, `$a` credentials for the last challenge, `$n` a new number.

use bytes::Bytes;
use media::command::{Family, MediaCommand, MediaReport, PortPair};
use registrar::{AlgorithmPolicy, NatPolicy, User};
use sip::digest::{Account as Client, Challenge, Ha1};
use sip::{HeaderName, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use switch::account::Account;
use switch::{Command, Config, Found, Input, ListenerConfig, Need, Output, Switch};
use words::dns::{Answer, Records};
use words::{
    AccountId, Clock, ConnectionId, EndCause, Fact, Flow, LegId, Seed, Seq, StoredBinding, Time, Transport, UserId,
    Wall,
};

/// Steps against one exchange; at the end it is stopped, and nothing may be left.
pub(super) fn exchange(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut play = Play::new();
    for step in text.split('~').take(STEPS) {
        play.step(step);
    }
    play.end();
}

struct Play {
    switch: Switch,
    now: Time,
    parties: [Party; 5],
    ends: BTreeMap<LegId, PortPair>,
    bound: BTreeSet<PortPair>,
    numbers: u32,
    store_fails: bool,
    /// Calls opened and not ended, as the records have it.
    open: i64,
    /// Messages since the last step.
    sent: usize,
}

struct Party {
    letter: char,
    flow: Flow,
    user: &'static str,
    request: Option<Message>,
    answer: Option<Message>,
    /// The last answer that asked for credentials.
    challenge: Option<Message>,
}

impl Party {
    fn new(letter: char, listener: u16, remote: &str, user: &'static str) -> Self {
        let is_stream = letter == 't';
        let flow = Flow {
            transport: if is_stream { Transport::Tcp } else { Transport::Udp },
            listener,
            connection: if is_stream { CONNECTION } else { ConnectionId::NONE },
            local: LISTENERS[usize::from(listener)].parse().expect("an address"),
            remote: remote.parse().expect("an address"),
        };
        Party { letter, flow, user, request: None, answer: None, challenge: None }
    }
}

impl Play {
    fn new() -> Self {
        let now = Time::from_millis(1_000);
        let listener = |open| ListenerConfig { account: Some(AccountId(1)), port: None, open };
        let config = Config {
            listeners: vec![listener(true), listener(false)],
            calls: 8,
            ports: media::ports::PoolConfig { pairs_max: 32, low_water: 4 },
            own: LISTENERS.iter().map(|own| own.parse().expect("an address")).collect(),
            ..Config::default()
        };
        let clock = Clock { mono: now, wall: Wall(1_700_000_000_000) };
        let parties = [
            Party::new('a', 0, "127.0.0.2:5062", "9100"),
            Party::new('b', 0, "127.0.0.3:5070", "9100"),
            Party::new('c', 1, "127.0.0.4:5070", "9101"),
            Party::new('t', 1, "127.0.0.5:40000", "9102"),
            Party::new('s', 1, "198.51.100.9:5060", "9101"),
        ];
        let switch = Switch::new(config, Seed::from_number(1), Seed::from_number(2), clock, now);
        let (ends, sent, open) = (BTreeMap::new(), 0, 0);
        let mut play =
            Play { switch, now, parties, ends, bound: BTreeSet::new(), numbers: 0, store_fails: false, open, sent };
        for (user, phone) in [(1, 1), (2, 2)] {
            let binding = binding(&play.parties[phone]);
            play.switch.restore_binding(AccountId(1), UserId(user), binding, now);
        }
        play.switch
            .handle(Input::Command { id: 1, command: Command::Realms { realms: vec![REALM.into()], sole: None } }, now);
        play.switch.handle_timeout(now);
        play.settle();
        play
    }

    fn step(&mut self, step: &str) {
        let mut characters = step.chars();
        let Some(letter) = characters.next() else { return };
        let rest = characters.as_str();
        self.sent = 0;
        self.now += Duration::from_millis(1);
        if let Some(party) = self.parties.iter().position(|party| party.letter == letter) {
            let bytes = Bytes::from(self.expand(party, rest));
            let flow = self.parties[party].flow;
            return self.input(Input::Message { flow, bytes });
        }
        match letter {
            'w' => self.wait(Duration::from_millis(rest.parse().unwrap_or(500).min(WAIT_MS))),
            'x' => self.input(Input::FlowClosed { connection: CONNECTION }),
            'f' => self.input(Input::SendFailed { flow: self.parties[1].flow }),
            'd' => self.store_fails = true,
            'h' => self.hang_up(),
            'm' => {
                if let Some(&end) = self.ends.keys().next() {
                    self.input(Input::Media(MediaReport::Silent { end }));
                }
            }
            'o' => self.input(Input::Overloaded(true)),
            'p' => self.input(Input::Overloaded(false)),
            _ => {}
        }
    }

    fn hang_up(&mut self) {
        self.switch.handle(Input::Command { id: 1, command: Command::Calls { account: None } }, self.now);
        for call in self.settle() {
            let command = Command::HangUp { call, cause: EndCause::Administrative };
            self.input(Input::Command { id: 2, command });
        }
    }

    /// Everything ends, and nothing stays behind.
    fn end(mut self) {
        self.sent = 0;
        self.switch.stop(self.now);
        self.settle();
        self.wait(Duration::from_mins(5));
        assert_eq!((self.switch.calls_up(), self.open), (0, 0), "calls after the end");
        assert!(self.ends.is_empty() && self.switch.ports_taken(Family::V4) == 0, "ports after the end");
    }

    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        let mut wakes = 0;
        while let Some(at) = self.next_at().filter(|at| *at <= until) {
            wakes += 1;
            assert!(wakes < WAKES, "time stands still at {at:?}");
            self.now = self.now.max(at);
            self.sent = 0;
            self.switch.handle_timeout(self.now);
            self.settle();
        }
        self.now = until;
    }

    fn next_at(&mut self) -> Option<Time> {
        match self.switch.poll() {
            Output::Timeout(at) => at,
            other => panic!("{other:?} after everything was polled"),
        }
    }

    fn input(&mut self, input: Input) {
        self.switch.handle(input, self.now);
        self.settle();
    }

    /// Plays the shell: relay, store and directory answer at once. The calls of a reply come back.
    fn settle(&mut self) -> Vec<words::CallId> {
        let mut calls = Vec::new();
        let mut facts: Option<Seq> = None;
        loop {
            match self.switch.poll() {
                Output::Transmit { flow, bytes } => self.carry(&flow, &bytes),
                Output::Event(event) => {
                    match event.fact {
                        Fact::CallOpened { .. } => self.open += 1,
                        Fact::CallEnded { .. } => self.open -= 1,
                        _ => {}
                    }
                    assert!(self.open >= 0, "a call ended twice");
                    facts = Some(event.seq);
                }
                Output::Need(need) => {
                    let input = found(need);
                    self.switch.handle(input, self.now);
                }
                Output::Media(command) => self.relay(&command),
                Output::Reply { reply, .. } => {
                    if let switch::Reply::Calls(views) = reply {
                        calls.extend(views.iter().map(|view| view.call));
                    }
                }
                Output::Connect { id, .. } => {
                    let flow = Err(sip::Undelivered::Unreachable);
                    self.switch.handle(Input::Connected { id, flow }, self.now);
                }
                Output::Resolve(question) => {
                    let answer = Answer { records: Records::Nothing, ttl: Duration::from_mins(1) };
                    self.switch.handle(Input::Resolved { question, answer }, self.now);
                }
                Output::Proven { .. } | Output::Sources(_) => {}
                Output::Timeout(_) => match facts.take() {
                    Some(up_to) if std::mem::take(&mut self.store_fails) => {
                        self.switch.handle(Input::StoreFailed { up_to }, self.now);
                    }
                    Some(up_to) => self.switch.handle(Input::Stored { up_to }, self.now),
                    None => break,
                },
            }
        }
        if let Err(broken) = self.switch.check() {
            panic!("{broken}");
        }
        calls
    }

    /// A message leaves: it can be read, and keeps what belongs to one hop.
    fn carry(&mut self, flow: &Flow, bytes: &Bytes) {
        self.sent += 1;
        assert!(self.sent <= MESSAGES, "more than {MESSAGES} messages for one step");
        let is_refusal = [&b"SIP/2.0 4"[..], b"SIP/2.0 5"].into_iter().any(|start| bytes.starts_with(start));
        let message = match Message::parse(bytes.clone()) {
            Ok(message) => message,
            // A refusal repeats what was wrong with the request.
            Err(_) if is_refusal || bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => return,
            Err(error) => panic!("writes what cannot be read: {error}: {bytes:?}"),
        };
        if message.is_request() {
            assert_eq!(message.vias().count(), 1, "{bytes:?}");
            assert!(message.header(HeaderName::Authorization).is_none(), "{bytes:?}");
            assert!(message.header(HeaderName::ProxyAuthorization).is_none(), "{bytes:?}");
        }
        let party = self.parties.iter_mut().find(|party| party.flow.remote == flow.remote);
        if let Some(party) = party {
            if matches!(message.status(), 401 | 407) {
                party.challenge = Some(message.clone());
            }
            let last = if message.is_request() { &mut party.request } else { &mut party.answer };
            *last = Some(message);
        }
    }

    fn relay(&mut self, command: &MediaCommand) {
        match *command {
            MediaCommand::Open { end, ports, .. } => {
                assert!(self.ends.insert(end, ports).is_none(), "an end is opened twice");
            }
            MediaCommand::Close { end, .. } => {
                let ports = self.ends.remove(&end).expect("only what is open is closed");
                let (counters, figures) = Default::default();
                let report = MediaReport::Closed { end, ports, counters, figures };
                self.switch.handle(Input::Media(report), self.now);
            }
            MediaCommand::Stock { pairs, family } => {
                let first = 1_000 * family as u32;
                let pair = |n: u32| PortPair { worker: 0, slot: first + n, rtp_port: 10_000 + 2 * n as u16, family };
                let ports = (0..pairs).map(pair).filter(|&pair| self.bound.insert(pair)).collect();
                self.switch.handle(Input::Media(MediaReport::Ready { ports }), self.now);
            }
            MediaCommand::Unbind { ref ports, .. } => {
                for pair in ports {
                    assert!(
                        self.bound.remove(pair) && !self.ends.values().any(|used| used == pair),
                        "{pair:?} is idle"
                    );
                }
            }
            MediaCommand::Latch { .. }
            | MediaCommand::Rekey { .. }
            | MediaCommand::Ice { .. }
            | MediaCommand::Link { .. }
            | MediaCommand::Unlink { .. }
            | MediaCommand::Play { .. }
            | MediaCommand::Stop { .. } => {}
        }
    }

    /// Puts in what only the exchange knows.
    fn expand(&mut self, party: usize, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 256);
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match (character, characters.clone().next()) {
                ('$', Some(letter)) => {
                    characters.next();
                    self.put(&mut out, party, letter, text);
                }
                (other, _) => out.push(other),
            }
            if out.len() > words::limit::MESSAGE_BYTES {
                break;
            }
        }
        out
    }

    fn put(&mut self, out: &mut String, party: usize, letter: char, text: &str) {
        let party = &self.parties[party];
        let message = if letter.is_uppercase() { &party.answer } else { &party.request };
        let header = |name| message.as_ref().and_then(|message| message.header(name)).unwrap_or_default();
        let value = match letter.to_ascii_lowercase() {
            'v' => header(HeaderName::Via),
            'f' => header(HeaderName::From),
            't' => header(HeaderName::To),
            'i' => header(HeaderName::CallId),
            'q' => header(HeaderName::CSeq),
            'c' => header(HeaderName::Contact).split(['<', '>']).nth(1).unwrap_or_default(),
            'b' => DESCRIPTION,
            'n' => {
                self.numbers += 1;
                // Writing to a String cannot fail.
                let _ = write!(out, "{}", self.numbers);
                return;
            }
            'r' => {
                let _ = write!(out, "{} {}", header(HeaderName::RSeq), header(HeaderName::CSeq));
                return;
            }
            'a' => {
                let mut words = text.split_ascii_whitespace();
                let (method, uri) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                let asked = party.challenge.as_ref().and_then(|answer| {
                    answer.header(HeaderName::WwwAuthenticate).or(answer.header(HeaderName::ProxyAuthenticate))
                });
                let Some(Ok(challenge)) = asked.map(Challenge::parse) else { return };
                self.numbers += 1;
                let client = Client { user: party.user, password: "x" };
                out.push_str(&challenge.answer(&client, method, uri, self.numbers, "c"));
                return;
            }
            _ => return,
        };
        out.push_str(value);
    }
}

fn binding(phone: &Party) -> StoredBinding {
    let contact = format!("sip:{}@{}", phone.user, phone.flow.remote);
    StoredBinding {
        key: contact.clone(),
        contact,
        transport: phone.flow.transport,
        listener: phone.flow.listener,
        local: phone.flow.local,
        source: phone.flow.remote,
        path: Vec::new(),
        q: 1000,
        call_id: "binding".into(),
        cseq: 1,
        instance: None,
        reg_id: None,
        agent: "phone".into(),
        nat: false,
        expires: Wall(1_900_000_000_000),
        ice: false,
    }
}

/// The directory's answer: one account with three users.
fn found(need: Need) -> Input {
    let name = match &need {
        Need::Account(_) | Need::Domain(_) => {
            let found = Found::Account(Arc::new(Account {
                id: AccountId(1),
                name: "fuzz".into(),
                domain: REALM.into(),
                realm: REALM.into(),
                ring_for: Duration::from_secs(30),
                typed_transfer: None,
                routes: Vec::new(),
                peers: Vec::new(),
                algorithms: BTreeMap::new(),
            }));
            return Input::Found { need, found };
        }
        Need::Extension { extension, .. } => extension,
        Need::AuthUser(name) => name,
    };
    let Some(id) = ["9100", "9101", "9102"].iter().position(|user| user == name) else { return Input::Absent { need } };
    let found = Found::User(Arc::new(User {
        account: AccountId(1),
        id: UserId(id as u32 + 1),
        extension: name.clone(),
        auth_user: name.clone(),
        realm: REALM.into(),
        ha1: Ha1::new(name, REALM, "x"),
        algorithms: AlgorithmPolicy::All,
        display_name: "Phone".into(),
        enabled: true,
        nat: NatPolicy::Detect,
        srtp: words::Srtp::default(),
    }));
    Input::Found { need, found }
}

const REALM: &str = "fuzz.example";
const LISTENERS: [&str; 2] = ["127.0.0.1:5060", "127.0.0.1:5080"];
const CONNECTION: ConnectionId = ConnectionId { slot: 7, generation: 1 };
const DESCRIPTION: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n\
    m=audio 7000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// The most steps of one input.
const STEPS: usize = 64;
/// The longest wait of one step. Units: milliseconds.
const WAIT_MS: u64 = 200_000;
/// The most that may be due within one wait.
const WAKES: usize = 5_000;
/// The most messages that one step, or one moment of a wait, may cause.
const MESSAGES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The stored inputs are worth something only while they get so far.
    #[test]
    fn a_stored_call_is_set_up_and_ends() {
        let text = include_str!("../../fuzz/corpus/exchange/call");
        let mut play = Play::new();
        let mut most = 0;
        for step in text.split('~') {
            play.step(step);
            most = most.max(play.ends.len());
        }
        assert_eq!((most, play.open, play.switch.calls_up()), (2, 0, 0));
        play.end();
    }

    #[test]
    fn a_stored_registration_answers_its_challenge() {
        let text = include_str!("../../fuzz/corpus/exchange/register");
        let mut play = Play::new();
        let statuses: Vec<u16> = text
            .split('~')
            .filter(|step| step.starts_with('t'))
            .map(|step| {
                play.step(step);
                play.parties[3].answer.as_ref().expect("an answer").status()
            })
            .collect();
        assert_eq!(statuses, [401, 200, 200]);
    }
}
