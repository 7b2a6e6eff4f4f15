//! Calls without end in one world: nothing may grow. `make soak` plays a million of them over a day.

use crate::flows::{millis, secs};
use std::time::Duration;
use switch::view::Status;
use tests::sim::{Do, Parts, PhoneId, Rel, Site, Timers, World};
use words::{Chance, EndCause, Seed};

/// How many calls a run of the tests plays.
const CALLS: u64 = 50_000;
/// How many the long one does, and in what time.
const DAY_CALLS: u64 = 1_000_000;
const DAY: Duration = Duration::from_hours(24);

/// Another process for a run of its own, so that what it takes of memory is its own. The environment variable
/// `SOAK_CALLS` says how many calls.
#[test]
fn calls_without_end_take_no_more_than_the_first() {
    let own = std::env::current_exe().expect("a test has an executable");
    let run = std::process::Command::new(own)
        .args(["--exact", "soak::alone", "--ignored", "--nocapture"])
        .env("SOAK_CALLS", CALLS.to_string())
        .output()
        .expect("it can be started again");
    let (said, shouted) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}\n{shouted}");
    eprint!("{shouted}");
}

#[test]
#[ignore = "calls_without_end_take_no_more_than_the_first starts it in a process of its own, and so does `make soak`"]
fn alone() {
    let calls = std::env::var("SOAK_CALLS").map_or(DAY_CALLS, |text| text.parse().expect("SOAK_CALLS is a number"));
    let seed = tests::sim::seeds(1)[0];
    let mut soak = Soak::new(seed);
    soak.play(calls / 20);
    let mut readings = vec![soak.read()];
    for quarter in 1..=4 {
        soak.play(calls * quarter / 4);
        readings.push(soak.read());
        let (hours, reading) = (soak.world.now().as_millis() / 3_600_000, &readings[quarter as usize]);
        let Reading { state, live, resident_kb, status } = reading;
        eprintln!("{} calls, {hours} h: {live} bytes in use, of the exchange's state {state}", soak.begun);
        eprintln!("  {resident_kb} KB resident, {:?}", status.counters);
    }
    // The first half brings the busiest moments, and tables keep the room that they took.
    for reading in &readings[3..] {
        reading.is_like(&readings[2]);
    }
    soak.finish(calls);
}

struct Soak {
    world: World,
    dice: Chance,
    phones: Vec<PhoneId>,
    /// Calls that were begun, and their records.
    begun: u64,
    records: u64,
    answered: u64,
    silent: u64,
}

/// What is in use while nobody calls.
#[derive(Debug)]
struct Reading {
    status: Status,
    /// The exchange as a snapshot has it: what it knows, without the room that its tables keep. Units: bytes.
    state: usize,
    /// What was asked of the allocator and not given back, by the exchange and everything around it. Units: bytes.
    live: usize,
    /// What the process has, most of it cut up by the allocator: that varies, and is not judged.
    resident_kb: u64,
}

impl Reading {
    /// It is not more than another one: a byte for each call would be seen.
    fn is_like(&self, before: &Reading) {
        let tables = |of: &Reading| (of.status.calls, of.status.transactions, of.status.held, of.status.needs);
        assert_eq!(tables(self), tables(before), "tables grow");
        assert_eq!(self.status.registrations, before.status.registrations);
        assert!(self.state <= before.state + STATE_SLACK, "what it knows grew from {} to {}", before.state, self.state);
        assert!(self.live <= before.live + LIVE_SLACK, "what is in use grew from {} to {}", before.live, self.live);
    }
}

impl Soak {
    fn new(seed: u64) -> Soak {
        let mut world = World::with(seed, |config| {
            config.calls = 500;
            config.ports = media::ports::PoolConfig { pairs_max: 2_000, low_water: 100 };
            // A phone that was asked a moment ago whether it is there is not at rest.
            config.asks_devices = false;
        });
        world.hush();
        world.snapshot_every(0);
        let mut phones = Vec::new();
        for n in 0..PHONES {
            let site = Site::new(&(1_000 + n).to_string());
            let phone = world.add(if n % 5 == 4 { site.tcp() } else { site });
            let habits = &mut world.phone_mut(phone).habits;
            habits.rel = if n % 3 == 1 { Rel::Supports } else { Rel::No };
            habits.takes_update = n % 2 == 1;
            habits.changes_by_update = n % 4 == 1;
            habits.timers = (n % 7 == 2).then(|| Timers::of(120));
            phones.push(phone);
        }
        world.ring_list("600", &["1000", "1001", "1002"], secs(20), false);
        world.register(&phones);
        let dice = Chance::new(Seed::from_number(seed ^ 0x736f_616b));
        Soak { world, dice, phones, begun: 0, records: 0, answered: 0, silent: 0 }
    }

    /// Plays until so many calls were begun; now and then everybody rests, and the phones are switched off and on.
    fn play(&mut self, calls: u64) {
        while self.begun < calls {
            let shift = (calls - self.begun).min(SHIFT);
            for _ in 0..shift {
                self.call();
                self.world.pass(EVERY);
            }
            self.rest();
        }
    }

    /// Somebody calls somebody, and something comes of it.
    fn call(&mut self) {
        self.begun += 1;
        let many = self.phones.len() as u64;
        let caller = self.dice.below(many);
        let callee = (caller + 1 + self.dice.below(many - 1)) % many;
        let (caller, callee) = (self.phones[caller as usize], self.phones[callee as usize]);
        let number = self.world.at_phone(callee).identity.number.clone();
        let number = if self.dice.below(20) == 0 { "600".to_owned() } else { number };
        let third = 1_000 + self.dice.below(many);
        let then = match self.dice.below(20) {
            0 => vec![(millis(800), Do::Hold), (millis(1_600), Do::Resume), (millis(2_400), Do::HangUp)],
            1 => vec![(millis(700), Do::transfer(&third.to_string())), (secs(4), Do::HangUp)],
            2 => vec![(millis(900), Do::Refresh), (millis(1_800), Do::HangUp)],
            _ => vec![(millis(500 + self.dice.below(2_500)), Do::HangUp)],
        };
        let lifts = match self.dice.below(10) {
            0 => (millis(400), Do::Refuse(486)),
            // Nobody lifts, and the caller gives up, or somebody else lifts.
            1 => {
                if self.dice.below(3) == 0 {
                    let other = self.phones[self.dice.below(many) as usize];
                    if other != caller && other != callee {
                        self.world.tell_in(secs(2), other, Do::call(&format!("**{number}")));
                    }
                }
                (secs(9), Do::Refuse(480))
            }
            _ => (millis(200 + self.dice.below(800)), Do::Answer),
        };
        self.world.phone_mut(callee).habits.when_called = vec![(millis(50), Do::Ring), lifts];
        self.world.phone_mut(caller).habits.when_answered = then;
        self.world.phone_mut(caller).habits.parts = Parts::Never;
        match self.dice.below(40) {
            0 => self.world.tell(caller, Do::Watch { number: number.clone(), event: "dialog", expires: 60 }),
            1 => self.world.tell(callee, Do::Message { number: third.to_string(), text: "later".into() }),
            _ => {}
        }
        let late = self.dice.below(15) == 0;
        self.world.tell(caller, Do::Call { number, without_offer: late });
        let line = self.world.at_phone(caller).lines.len() - 1;
        self.world.tell_line_in(secs(6), caller, line, Do::HangUp);
    }

    /// Everybody's calls come to their end, and so do their transactions.
    fn rest(&mut self) {
        // What was on its way to a phone, or what a transfer began, has a line only later.
        for span in [secs(12), secs(48)] {
            self.world.pass(span);
            self.hang_up_all();
        }
        self.world.pass(secs(40));
        for phone in self.phones.clone() {
            if !self.world.reboot(phone) {
                let phone = self.world.at_phone(phone);
                let up: Vec<_> = phone.lines.iter().filter(|line| !line.is_over()).collect();
                panic!("{} is not at rest after {} calls: {up:#?}", phone.identity.number, self.begun);
            }
        }
        self.world.pass(secs(50));
        for cdr in self.world.take_records() {
            self.records += 1;
            self.answered += u64::from(cdr.answered.is_some());
            let cause = cdr.ended.map(|end| end.cause);
            // Both are silent before either's goodbye has come: perhaps that is the moment when silence is looked for.
            self.silent += u64::from(cause == Some(EndCause::MediaLost));
            let odd = [EndCause::Internal, EndCause::SignallingLost, EndCause::Overload];
            assert!(cause.is_some_and(|cause| !odd.contains(&cause)), "a call ended as {cause:?}: {cdr:?}");
        }
    }

    fn hang_up_all(&mut self) {
        for &phone in &self.phones {
            for line in 0..self.world.at_phone(phone).lines.len() {
                self.world.tell_line(phone, line, Do::HangUp);
            }
        }
    }

    fn read(&mut self) -> Reading {
        let status = self.world.status();
        assert_eq!((status.calls, status.transactions, status.held, status.needs), (0, 0, 0, 0));
        let text = std::fs::read_to_string("/proc/self/status").expect("Linux tells what a process uses");
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("it says what is resident");
        let kb = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("it is a number");
        let live = crate::HEAP.allocated();
        let state = self.world.switch.snapshot().as_bytes().len();
        Reading { status, state, live, resident_kb: kb }
    }

    fn finish(mut self, calls: u64) {
        let rest = self.world.finish();
        let (records, answered) = (self.records + rest.len() as u64, self.answered);
        assert_eq!(records, calls, "one record for each call");
        assert!(answered * 10 > records * 6, "{answered} of {records} calls were answered");
        assert!(self.silent <= 1 + records / 5_000, "{} of {records} calls had no media", self.silent);
    }
}

/// Numbers grow longer, and who is bound where differs from rest to rest.
const STATE_SLACK: usize = 8_000;
/// A table may yet meet its busiest moment.
const LIVE_SLACK: usize = 48_000;
const PHONES: u64 = 60;
/// How many calls there are between two rests.
const SHIFT: u64 = 4_000;
/// How long it is from one call to the next: with the rests, a million of them take a day.
const EVERY: Duration = Duration::from_nanos((DAY.as_nanos() as u64 - DAY_CALLS / SHIFT * 150_000_000_000) / DAY_CALLS);
