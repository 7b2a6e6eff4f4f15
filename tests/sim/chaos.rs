//! Everybody does anything at any time, the network and the shell fail now and then; whatever happens, each call ends
//! once, is on record once, and leaves nothing.

use crate::flows::{millis, secs};
use sip::Refresher;
use std::cell::Cell;
use switch::Command;
use switch::account::RouteTarget;
use tests::sim::{Do, Mood, NatKey, Parts, PhoneId, Rel, Site, Timers, Weather, World, for_seeds};
use words::{Chance, EndCause, Seed};

struct Chaos {
    world: World,
    dice: Chance,
    phones: Vec<PhoneId>,
    nat: NatKey,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let mut dice = Chance::new(Seed::from_number(seed));
        let mut world = World::with(seed, |config| {
            config.calls = 4 + dice.below(8) as usize;
            config.call_limit = secs(60 + dice.below(180));
        });
        let nat = world.nat();
        let (peer, carrier) = world.peer("carrier");
        let phones = vec![
            world.phone("101"),
            world.phone("102"),
            world.add(Site::new("103").behind(nat)),
            world.add(Site::new("104").tcp()),
            world.add(Site::new("105").tcp()),
            world.add(Site::new("102").second_device()),
            carrier,
        ];
        world.route("9*", RouteTarget::Peer { peer, strip: 1, prepend: String::new() });
        world.ring_list("600", &["102", "103", "104"], secs(8), false);
        world.ring_list("601", &["103", "102", "105"], secs(6), true);
        world.register(&phones[..6]);
        Chaos { world, dice, phones, nat }
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.dice.below(n) == 0
    }

    fn any_phone(&mut self) -> PhoneId {
        self.phones[self.dice.below(self.phones.len() as u64) as usize]
    }

    /// Something that a phone may do on a line.
    fn deed(&mut self) -> Do {
        match self.dice.below(18) {
            0 | 1 => Do::Ring,
            2 => Do::Early,
            3..=5 => Do::Answer,
            6 if self.one_in(3) => {
                let numbers = ["101", "102", "103", "600", "*43", "9123", "999", "<sip:1@elsewhere.example>"];
                let many = 1 + self.dice.below(3);
                let pick = |dice: &mut Chance| numbers[dice.below(numbers.len() as u64) as usize].to_owned();
                Do::Redirect((0..many).map(|_| pick(&mut self.dice)).collect())
            }
            6 => Do::Refuse([486, 603, 480, 404, 302, 500][self.dice.below(6) as usize]),
            7..=9 => Do::HangUp,
            10 => Do::Hold,
            11 => Do::Resume,
            12 => Do::Refresh,
            13 => Do::Move,
            14 => Do::Digit('5'),
            15 | 16 => self.referral(),
            _ => Do::Register(60 + self.dice.below(300) as u32),
        }
    }

    /// A transfer to somewhere, or to who is at the other end of another line.
    fn referral(&mut self) -> Do {
        let numbers = ["101", "102", "103", "104", "600", "*43", "9123", "999", "sip:1@elsewhere.example"];
        Do::Refer {
            to: numbers[self.dice.below(numbers.len() as u64) as usize].to_owned(),
            instead_of: self.one_in(2).then(|| self.dice.below(6) as usize),
            silently: self.one_in(5),
        }
    }

    fn habits(&mut self, phone: PhoneId) {
        let reactions = 1 + self.dice.below(3);
        let when_called = (0..reactions).map(|_| (millis(self.dice.below(6_000)), self.deed())).collect();
        let habits = &mut self.world.phone_mut(phone).habits;
        habits.when_called = when_called;
        habits.stubborn = self.dice.below(4) == 0;
        habits.acknowledges = self.dice.below(12) != 0;
        habits.refuses_changes = [None, None, None, Some(488), Some(500)][self.dice.below(5) as usize];
        habits.parts = [Parts::AtOnce, Parts::AtSuccess, Parts::Never][self.dice.below(3) as usize];
        habits.speaks = self.dice.below(10) != 0;
        habits.rel = [Rel::No, Rel::Supports, Rel::Requires][self.dice.below(3) as usize];
        habits.takes_update = self.dice.below(2) == 0;
        habits.changes_by_update = habits.takes_update && self.dice.below(2) == 0;
        let refresher = [None, Some(Refresher::Uac), Some(Refresher::Uas)][self.dice.below(3) as usize];
        let interval = [0, 30, 90, 200][self.dice.below(4) as usize];
        let min = [90, 100, 2_000][self.dice.below(3) as usize];
        let forgets = self.dice.below(4) == 0;
        habits.timers = (self.dice.below(2) == 0).then_some(Timers { interval, min, refresher, forgets, grows: false });
    }

    /// One thing happens.
    fn act(&mut self) {
        let phone = self.any_phone();
        match self.dice.below(40) {
            0..=9 => {
                let numbers = ["101", "102", "103", "104", "600", "601", "*43", "9123", "999", "105", "**102", "**103"];
                let number = numbers[self.dice.below(numbers.len() as u64) as usize];
                let what = if self.one_in(6) { Do::call_without_offer(number) } else { Do::call(number) };
                self.world.tell(phone, what);
            }
            10 => {
                let other = self.any_phone();
                let line = self.dice.below(6) as usize;
                if let Some(replaces) = self.world.at_phone(other).replaces(line) {
                    self.world.tell(phone, Do::CallInstead { number: "102".into(), replaces });
                }
            }
            11..=29 => {
                let lines = self.world.at_phone(phone).lines.len() as u64;
                if lines > 0 {
                    // The newest few are the interesting ones.
                    let line = lines - 1 - self.dice.below(lines.min(3));
                    let what = self.deed();
                    self.world.tell_line(phone, line as usize, what);
                }
            }
            30 | 31 => self.habits(phone),
            32 => self.world.cut(phone),
            33 => {
                let unplug = self.one_in(2);
                if unplug { self.world.unplug(phone) } else { self.world.plug(phone) }
            }
            34 => self.world.rebind(self.nat),
            35 => self.weather(),
            _ => self.shell(),
        }
    }

    fn weather(&mut self) {
        self.world.net.weather = match self.dice.below(3) {
            0 => Weather::FAIR,
            1 => Weather::rough(100),
            _ => Weather::rough(300),
        };
    }

    /// Something happens to the exchange itself.
    fn shell(&mut self) {
        match self.dice.below(14) {
            0 => self.world.fail_store(true),
            1 | 2 => self.world.fail_store(false),
            3 => self.world.store.delay = millis(1 + self.dice.below(3_000)),
            4 => self.world.store.delay = millis(4),
            5 => self.world.directory.mood = Mood::Away,
            6 => self.world.directory.mood = Mood::Unavailable,
            7 | 8 => self.world.directory.mood = Mood::After(millis(1 + self.dice.below(1_500))),
            9 => {
                let on = self.one_in(3);
                self.world.command(Command::Drain { on });
            }
            10 => {
                let account = self.world.office;
                self.world.command(Command::AccountChanged { account });
            }
            11 => {
                if let Some(call) = self.world.calls().first().map(|call| call.call) {
                    self.world.command(Command::HangUp { call, cause: EndCause::Administrative });
                }
            }
            12 => self.world.input(switch::Input::Overloaded(false)),
            _ if self.one_in(3) => self.world.restart(),
            _ => {
                let phone = self.phones[0];
                let (account, user) = (self.world.office, self.world.user_of(phone));
                let auth_user = self.world.at_phone(phone).identity.auth_user.clone();
                self.world.command(Command::UserRevoked { account, user, auth_user });
            }
        }
    }
}

#[test]
fn whatever_happens_each_call_ends_once_and_leaves_nothing() {
    let calls = Cell::new((0, 0));
    for_seeds(400, |seed| {
        let mut chaos = Chaos::new(seed);
        for phone in chaos.phones.clone() {
            chaos.habits(phone);
        }
        chaos.weather();
        for _ in 0..80 {
            chaos.act();
            let pause = if chaos.one_in(8) { 8_000 } else { 900 };
            let pause = millis(chaos.dice.below(pause));
            chaos.world.pass(pause);
        }
        for phone in chaos.phones.clone() {
            chaos.world.plug(phone);
            chaos.world.phone_mut(phone).habits.acknowledges = true;
        }
        let cdrs = chaos.world.finish();
        let (all, answered) = calls.get();
        calls.set((all + cdrs.len(), answered + cdrs.iter().filter(|cdr| cdr.answered.is_some()).count()));
    });
    let (all, answered) = calls.get();
    assert!(all < 100 || 3 * answered > all, "{answered} of {all} calls were answered: the test tests nothing");
}
