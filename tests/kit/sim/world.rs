//! The world: one exchange, its shell, its phones, and the order in which things happen to them.

mod carry;
mod end;
mod hand;
mod long;
mod look;
mod people;
mod twin;

pub use hand::Heard;
pub(crate) use people::exchange_for;
pub use people::{NatKey, PhoneId, Site};
use twin::Twin;

use crate::sim::directory::{Directory, Mood};
use crate::sim::dns::Dns;
use crate::sim::laws::Laws;
use crate::sim::net::Network;
use crate::sim::phone::{Phone, PhoneOutput};
use crate::sim::relay::Relay;
use crate::sim::script::Do;
use crate::sim::seed;
use crate::sim::store::Store;
use crate::sim::transcript::Transcript;
use bytes::Bytes;
use media::command::{Generation, MediaReport};
use media::ports::PoolConfig;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use switch::{Command, Config, Input, ListenerConfig, Need, Reply, Switch};
use words::dns::{Answer, Question};
use words::{AccountId, Chance, Clock, ConnectionId, Flow, LegId, Seed, Time, Transport, Wall};

/// An account, as tests name it.
pub type AccountKey = AccountId;

/// Everything there is.
pub struct World {
    /// The exchange.
    pub switch: Switch,
    /// Its directory.
    pub directory: Directory,
    /// Its resolver's double.
    pub dns: Dns,
    /// Its store.
    pub store: Store,
    /// Its relay.
    pub relay: Relay,
    /// What lies between it and the phones.
    pub net: Network,
    /// The account that is there from the start.
    pub office: AccountKey,
    seed: u64,
    chance: Chance,
    now: Time,
    process: Process,
    phones: Vec<Phone>,
    queue: Queue,
    laws: Laws,
    hands: hand::Hands,
    transcript: Transcript,
    twin: Twin,
}

/// The process that the exchange runs in.
struct Process {
    config: Config,
    /// When it began: the exchange counts its time from here.
    started: Time,
    /// Counts processes: what was under way inside one does not reach the next.
    epoch: u32,
    /// When the exchange wants to be woken.
    wake: Option<Time>,
    replies: Vec<Reply>,
}

/// What is to happen, in its order.
#[derive(Default)]
struct Queue {
    due: BTreeMap<(Time, u64), Due>,
    count: u64,
    /// How many things happened at this very moment.
    spins: u32,
    /// Nobody begins anything any more.
    closing: bool,
}

/// What is to happen.
#[derive(Debug)]
enum Due {
    ToExchange {
        flow: Flow,
        bytes: Bytes,
    },
    ToPhone {
        phone: usize,
        flow: Flow,
        bytes: Bytes,
    },
    Act {
        phone: usize,
        line: usize,
        what: Do,
    },
    PhoneDials {
        phone: usize,
        id: u64,
    },
    Closes {
        connection: ConnectionId,
    },
    Clock,
    /// What happens inside a process.
    Inside(u32, Inside),
}

#[derive(Debug)]
enum Inside {
    Dials { id: u64, transport: Transport, remote: SocketAddr },
    Answers(Need),
    Resolves(Question, Answer),
    Commits,
    Reports(MediaReport),
    Watches { end: LegId, generation: Generation },
}

impl World {
    /// A world with one account, `office`, and no phones.
    pub fn new(seed: u64) -> Self {
        World::with(seed, |_| ())
    }

    /// A world whose exchange has another configuration.
    pub fn with(seed: u64, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            listeners: vec![ListenerConfig::default(); 2],
            ports: PoolConfig { pairs_max: 64, low_water: 8 },
            own: people::own(),
            ways: people::ways(),
            ..Config::default()
        };
        change(&mut config);
        let mut chance = Chance::new(Seed::from_number(seed));
        let net = Network::new(chance.fork());
        let switch = build(&config, &mut chance, Clock { mono: Time::ZERO, wall: WALL });
        let mut directory = Directory::new();
        let office = directory.add_account("office");
        let mut world = World {
            switch,
            directory,
            dns: Dns::default(),
            store: Store::new(),
            relay: Relay::new(),
            net,
            office,
            seed,
            chance,
            now: Time::ZERO,
            process: Process { config, started: Time::ZERO, epoch: 0, wake: None, replies: Vec::new() },
            phones: Vec::new(),
            queue: Queue::default(),
            laws: Laws::default(),
            hands: hand::Hands::default(),
            transcript: Transcript::default(),
            twin: Twin::new(seed),
        };
        world.later(CLOCK_EVERY, Due::Clock);
        world.boot();
        world
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.now
    }

    /// From now on the exchange is read back from a snapshot after every so many inputs; never with 0.
    pub fn snapshot_every(&mut self, inputs: u64) {
        self.twin.snapshot_every(inputs);
    }

    /// How often the exchange was read back from a snapshot.
    pub fn snapshots(&self) -> u32 {
        self.twin.snapshots()
    }

    /// Everything that happened.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Lets time pass.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    /// Lets time pass until something is so, for `limit` at most. Whether it is.
    pub fn until(&mut self, limit: Duration, is_so: impl Fn(&World) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if is_so(self) {
                return true;
            }
            if !self.step(end) {
                return false;
            }
        }
    }

    /// Asks the exchange something.
    pub fn command(&mut self, command: Command) -> Reply {
        self.input(Input::Command { id: 1, command });
        self.process.replies.pop().expect("each command is answered at once")
    }

    /// Tells the exchange something that the shell would.
    pub fn input(&mut self, input: Input) {
        let now = self.inside_now();
        if let Input::Message { flow, bytes } = &input {
            self.laws.hear(flow, bytes, self.now);
        }
        self.twin.handle(&input, now);
        self.switch.handle(input, now);
        self.carry_out();
    }

    /// What the edge asks about a datagram.
    fn is_heard(&mut self, flow: &Flow) -> bool {
        let now = self.inside_now();
        if flow.transport != Transport::Udp {
            return true;
        }
        let heard = self.switch.hears(flow, now);
        self.twin.hears(flow, heard, now);
        heard
    }

    /// Stops the exchange: every call ends.
    pub fn stop(&mut self) {
        let now = self.inside_now();
        self.twin.with(|switch| switch.stop(now));
        self.switch.stop(now);
        self.carry_out();
    }

    /// Kills the process and starts it again: calls are gone, what was stored comes back.
    pub fn restart(&mut self) {
        self.transcript.note(self.now, format_args!("the process is killed and started again"));
        self.twin.forget();
        self.laws.forget();
        self.process.epoch += 1;
        self.process.started = self.now;
        let clock = self.clock();
        self.store.restart(clock);
        self.relay = Relay::new();
        let open: Vec<ConnectionId> = self.net.connections.keys().copied().collect();
        for connection in open {
            self.close(connection, false);
        }
        self.switch = build(&self.process.config, &mut self.chance, clock);
        let bindings: Vec<_> = self.store.bindings().map(|(a, user, binding)| (a, user, binding.clone())).collect();
        for (account, user, binding) in bindings {
            self.switch.restore_binding(account, user, binding, Time::ZERO);
        }
        let subscriptions: Vec<_> = self.store.subscriptions().map(|(a, user, one)| (a, user, one.clone())).collect();
        for (account, user, subscription) in subscriptions {
            self.switch.restore_subscription(account, user, subscription, Time::ZERO);
        }
        self.boot();
    }

    /// What a fresh process is told and does at once.
    fn boot(&mut self) {
        self.carry_out();
        self.tell_directory();
        self.pass(Duration::from_millis(10));
    }

    fn tell_directory(&mut self) {
        let peers = self.directory.peers();
        for address in peers.iter().flat_map(|peer| &peer.addresses) {
            self.laws.know(*address);
        }
        self.command(Command::Peers { peers });
        let accounts = &self.directory.accounts;
        let realms = accounts.iter().map(|account| account.realm.clone()).collect();
        let sole = if let [account] = &accounts[..] { Some(account.id) } else { None };
        self.command(Command::Realms { realms, sole });
    }

    /// The time as the process counts it.
    fn inside_now(&self) -> Time {
        Time::ZERO + self.now.since(self.process.started)
    }

    fn clock(&self) -> Clock {
        Clock { mono: self.inside_now(), wall: Wall(WALL.0 + self.now.as_millis() as i64) }
    }

    fn later(&mut self, after: Duration, due: Due) {
        self.at(self.now + after, due);
    }

    fn at(&mut self, at: Time, due: Due) {
        self.queue.count += 1;
        self.queue.due.insert((at, self.queue.count), due);
    }

    fn inside(&mut self, after: Duration, what: Inside) {
        self.later(after, Due::Inside(self.process.epoch, what));
    }

    /// Lets the next thing happen, if it happens before `end`; else it is `end`.
    fn step(&mut self, end: Time) -> bool {
        let queued = self.queue.due.first_key_value().map(|((at, _), _)| *at);
        let phones = self.phones.iter().filter_map(|phone| phone.wake).min();
        let next = [queued, phones, self.process.wake].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.queue.spins = if next > self.now { 0 } else { self.queue.spins + 1 };
        assert!(self.queue.spins < SPINS, "time stands still: somebody wants to be woken again and again");
        self.now = self.now.max(next);
        if queued == Some(next) {
            let (_, due) = self.queue.due.pop_first().expect("its time was read just now");
            self.happen(due);
        } else if self.process.wake == Some(next) {
            let now = self.inside_now();
            self.twin.with(|switch| switch.handle_timeout(now));
            self.switch.handle_timeout(now);
            self.carry_out();
        } else if let Some(phone) = self.phones.iter().position(|phone| phone.wake == Some(next)) {
            let now = self.now;
            self.phones[phone].handle_timeout(now);
            self.settle_phone(phone);
        }
        true
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::ToExchange { flow, bytes } => {
                if self.is_heard(&flow) {
                    self.input(Input::Message { flow, bytes });
                }
            }
            Due::ToPhone { phone, flow, bytes } => {
                let now = self.now;
                if self.phones[phone].plugged {
                    self.phones[phone].handle_message(flow, bytes, now);
                    self.settle_phone(phone);
                }
            }
            Due::Act { phone, line, what } => {
                let now = self.now;
                if self.phones[phone].plugged && !self.queue.closing {
                    self.transcript.note(now, format_args!("phone {phone} line {line}: {what:?}"));
                    self.phones[phone].tell(line, what, now);
                    self.settle_phone(phone);
                }
            }
            Due::PhoneDials { phone, id } => self.phone_connects(phone, id),
            Due::Closes { connection } => self.close(connection, true),
            Due::Clock => {
                self.later(CLOCK_EVERY, Due::Clock);
                self.laws.rest(self.now);
                let clock = self.clock();
                self.input(Input::Clock(clock));
            }
            Due::Inside(epoch, what) if epoch == self.process.epoch => self.happen_inside(what),
            Due::Inside(..) => {}
        }
    }

    fn happen_inside(&mut self, what: Inside) {
        match what {
            Inside::Dials { id, transport, remote } => self.exchange_connects(id, transport, remote),
            Inside::Resolves(question, answer) => self.input(Input::Resolved { question, answer }),
            Inside::Answers(need) => {
                let input = self.directory.answer(need);
                self.input(input);
            }
            Inside::Commits => {
                let input = self.store.commit();
                self.transcript.note(self.now, format_args!("{input:?}"));
                self.input(input);
            }
            Inside::Reports(report) => {
                self.relay.report_leaves(&report, self.now);
                self.input(Input::Media(report));
            }
            Inside::Watches { end, generation } => {
                let phones = &self.phones;
                let speaks = |from: SocketAddr| phones.iter().any(|phone| phone.speaks_from(from));
                let remote = self.relay.remote(end);
                let relayed = remote.is_some_and(|from| self.relay.speaks_from(from, speaks));
                if self.relay.is_silent(end, generation, |from| relayed || speaks(from)) {
                    self.input(Input::Media(MediaReport::Silent { end }));
                }
                self.watch_media();
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = std::env::var("TAIL").ok().and_then(|lines| lines.parse().ok()).unwrap_or(TAIL);
            eprintln!("the last of what happened, with seed {} (TAIL=9999 shows more):", self.seed);
            for line in self.transcript.tail(lines) {
                eprintln!("{line}");
            }
        } else {
            seed::played(&self.transcript);
        }
    }
}

fn build(config: &Config, chance: &mut Chance, clock: Clock) -> Switch {
    let (seed, secrets) = (Seed::from_number(chance.u64()), Seed::from_number(chance.u64()));
    Switch::new(config.clone(), seed, secrets, clock, Time::ZERO)
}

/// When the world begins, for people.
const WALL: Wall = Wall(1_700_000_000_000);
/// How often the exchange is told both clocks.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// How much may happen at one moment.
const SPINS: u32 = 100_000;
/// How much of the transcript a failure shows.
const TAIL: usize = 80;
