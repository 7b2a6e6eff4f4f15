//! A random call graph: people who do things, seen by the exchange and by the model.

use super::deed::Deed;
use super::look::{differs, records};
use super::reference::{At, Model, Phone, Stands, Temper};
use crate::flows::{millis, secs};
use std::time::Duration;
use switch::account::RouteTarget;
use tests::sim::{Do, NatKey, Parts, PhoneId, Rel, Site, Timers, Weather, World};
use words::{Chance, Seed, Time};

/// A graph on its way.
pub(crate) struct Graph {
    pub(crate) world: World,
    dice: Chance,
    phones: Vec<PhoneId>,
    /// Where it stands, as far as is known: who came first in a race shows later.
    models: Vec<Model>,
    /// How long it may take until all have heard of a deed.
    patience: Duration,
    /// What was done.
    deeds: Vec<Deed>,
}

/// What a graph came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: usize,
    pub(crate) answered: usize,
    pub(crate) transferred: usize,
    pub(crate) races: usize,
    pub(crate) lossy: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.calls += other.calls;
        self.answered += other.answered;
        self.transferred += other.transferred;
        self.races += other.races;
        self.lossy += other.lossy;
    }
}

impl Tally {
    /// So many graphs have had something of everything: else they would show nothing.
    pub(crate) fn is_rich(&self, graphs: usize) {
        assert!(self.calls >= 3 * graphs && 2 * self.answered >= graphs, "{self:?}");
        assert!(6 * self.transferred >= graphs && 3 * self.races >= graphs && 5 * self.lossy >= graphs, "{self:?}");
    }
}

/// Plays the graph of a seed.
pub(crate) fn play(seed: u64) -> (Tally, World) {
    let mut graph = Graph::new(seed);
    let steps = 6 + graph.dice.below(11);
    for _ in 0..steps {
        graph.step();
    }
    graph.finish()
}

impl Graph {
    fn new(seed: u64) -> Graph {
        let mut dice = Chance::new(Seed::from_number(seed ^ 0x6d6f_6465_6c00));
        let mut world = World::new(seed);
        if !seed.is_multiple_of(SNAPSHOT_EVERY) {
            world.snapshot_every(0);
        }
        world.ring_for(RING_FOR);
        let nat = world.nat();
        let (peer, carrier) = world.peer("carrier");
        let mut phones: Vec<PhoneId> =
            ["101", "102", "103"].map(|number| world.add(site(number, nat, &mut dice))).to_vec();
        phones.push(world.add(site("102", nat, &mut dice).second_device()));
        phones.push(world.add(site("104", nat, &mut dice)));
        world.user("109");
        for &phone in &phones {
            world.phone_mut(phone).habits.refreshes = true;
        }
        world.register(&phones);
        phones.push(carrier);
        world.route("9*", RouteTarget::Peer { peer, strip: 1, prepend: String::new() });
        let lists = [("600", vec!["102", "103", "104"], false), ("601", vec!["103", "101", "104"], true)];
        for (number, extensions, in_order) in &lists {
            world.ring_list(number, extensions, RING_FOR, *in_order);
        }
        let owned = |list: &[&str]| list.iter().map(|&one| one.to_owned()).collect();
        let lists = lists.iter().map(|(number, list, in_order)| ((*number).to_owned(), owned(list), *in_order));
        let (lists, now, ring_for) = (lists.collect(), world.now(), RING_FOR);
        let model = Model { phones: Vec::new(), calls: Vec::new(), now, lists, ring_for };
        let mut graph = Graph { world, dice, phones, models: vec![model], patience: secs(6), deeds: Vec::new() };
        graph.settle_in();
        graph
    }

    /// Habits, tempers and weather.
    fn settle_in(&mut self) {
        // Half of the offices have people who sit there and decide; those can do two things at once.
        let kinds = if self.dice.below(2) == 0 { 12 } else { 1 };
        for n in 0..self.phones.len() {
            let temper = match 12 - kinds + self.dice.below(kinds) {
                0 => Temper::Refuses(self.pick(&[486, 603, 480, 404, 500])),
                // One of them: who of several sends the call on for the last time would be a matter of chance.
                1 if !self.models[0].phones.iter().any(Phone::forwards) => Temper::Forwards(self.number()),
                _ => Temper::Rings,
            };
            let leaves_at_once = self.dice.below(4) == 0;
            let number = self.world.at_phone(self.phones[n]).identity.number.clone();
            let called = if n + 1 == self.phones.len() { "555".to_owned() } else { number.clone() };
            let phone = Phone { number, called, temper, leaves_at_once, dead: false, lines: Vec::new() };
            self.habits(n, &phone);
            self.models[0].phones.push(phone);
        }
        match self.dice.below(4) {
            0 => self.world.net.weather = Weather { loss: 0, twice: 200, ..Weather::rough(0) },
            1 => {
                self.world.net.weather = Weather::rough(50);
                self.patience = secs(70);
            }
            _ => {}
        }
    }

    fn habits(&mut self, n: usize, phone: &Phone) {
        let rel = self.pick(&[Rel::No, Rel::No, Rel::Supports, Rel::Requires]);
        let timers = [None, None, Some(Timers::of(0)), Some(Timers::of(120))][self.dice.below(4) as usize];
        let update = self.dice.below(2) == 0;
        let by_update = update && self.dice.below(2) == 0;
        let habits = &mut self.world.phone_mut(self.phones[n]).habits;
        (habits.rel, habits.timers) = (rel, timers);
        (habits.takes_update, habits.changes_by_update) = (update, by_update);
        habits.parts = if phone.leaves_at_once { Parts::AtOnce } else { Parts::Never };
        let act = match &phone.temper {
            Temper::Rings => Do::Ring,
            Temper::Refuses(status) => Do::Refuse(*status),
            Temper::Forwards(number) => Do::Redirect(vec![number.clone()]),
        };
        habits.when_called = vec![(millis(20), act)];
    }

    fn pick<T: Clone>(&mut self, some: &[T]) -> T {
        some[self.dice.below(some.len() as u64) as usize].clone()
    }

    /// Something to dial.
    fn number(&mut self) -> String {
        self.pick(&["101", "102", "102", "103", "104", "104", "600", "601", "9555", "*43", "109", "199"]).to_owned()
    }

    /// The model, as far as all agree.
    fn model(&self) -> &Model {
        &self.models[0]
    }

    /// The lines that stand so, of phones that live.
    fn lines(&self, stands: Stands) -> Vec<At> {
        let live = self.model().phones.iter().enumerate().filter(|(_, phone)| !phone.dead);
        live.flat_map(|(n, phone)| {
            let lines = phone.lines.iter().enumerate().filter(move |(_, line)| line.stands == stands);
            lines.map(move |(at, _)| (n, at))
        })
        .collect()
    }

    /// Whether the other side of a line lives, or there is none.
    fn is_whole(&self, at: At) -> bool {
        self.model().other(at).is_none_or(|other| !self.model().phones[other.0].dead)
    }

    /// Something that can be done now.
    fn deed(&mut self) -> Option<Deed> {
        let (rings, talks) = (self.lines(Stands::Rings), self.lines(Stands::Talks));
        let calling = self.lines(Stands::Calling);
        let quiet: Vec<At> = talks.iter().copied().filter(|at| self.is_whole(*at)).collect();
        let transferable = |graph: &Graph, at: &At| {
            graph.model().other(*at).is_some() && !graph.model().is_sought(*at) && at.0 + 1 != graph.phones.len()
        };
        let mut pick = |some: &[At]| (!some.is_empty()).then(|| some[self.dice.below(some.len() as u64) as usize]);
        let (ringing, talking, caller) = (pick(&rings), pick(&quiet), pick(&calling));
        match self.dice.below(24) {
            0..=4 => self.call(),
            5..=8 => ringing.map(Deed::Answer),
            9 => Some(Deed::Refuse(ringing?, self.pick(&[486, 603, 480, 404, 500]))),
            10 => Some(Deed::Forward(ringing?, self.number())),
            11 => caller.map(Deed::HangUp),
            12 => talking.map(Deed::HangUp),
            13 => talking.map(Deed::Hold),
            14 => talking.map(Deed::Resume),
            15 => Some(Deed::Change(talking?, self.pick(&[Do::Refresh, Do::Move]))),
            16..=18 => {
                let at = talking.filter(|at| transferable(self, at))?;
                Some(Deed::Transfer(at, self.number()))
            }
            19 | 20 => self.connect(talking.filter(|at| transferable(self, at))?),
            21 | 22 => self.pick_up(),
            _ => self.die(),
        }
    }

    fn living(&mut self) -> Option<usize> {
        let living: Vec<usize> = (0..self.phones.len()).filter(|&n| !self.model().phones[n].dead).collect();
        (!living.is_empty()).then(|| self.pick(&living))
    }

    fn call(&mut self) -> Option<Deed> {
        let (phone, number, late_offer) = (self.living()?, self.number(), self.dice.below(6) == 0);
        // A peer's people reach extensions.
        let number = if phone + 1 == self.phones.len() { self.pick(&["101", "104", "600"]).to_owned() } else { number };
        let busy = self.model().phones[phone].lines.iter().filter(|line| line.stands != Stands::Over).count();
        (busy < 3).then_some(Deed::Call { phone, number, late_offer })
    }

    /// An attended transfer, to another line of the same phone whose other side lives or rings.
    fn connect(&mut self, at: At) -> Option<Deed> {
        let model = self.model();
        let fits = |&(n, line): &(usize, usize)| {
            if n != at.0 {
                return false;
            }
            let whole = model.other((n, line)).is_some_and(|other| !model.phones[other.0].dead);
            let here = &model.phones[n].lines[line];
            let rings = here.stands == Stands::Calling;
            let apart = line != at.1 && here.call != model.phones[n].lines[at.1].call;
            // Who was told nothing yet has no dialog that could be named.
            let named = self.world.at_phone(self.phones[n]).replaces(line).is_some();
            apart && named && !model.is_sought((n, line)) && (whole || rings)
        };
        let others: Vec<At> =
            [Stands::Talks, Stands::Calling].iter().flat_map(|stands| self.lines(*stands)).filter(fits).collect();
        (!others.is_empty()).then(|| Deed::Connect(at, self.pick(&others)))
    }

    fn pick_up(&mut self) -> Option<Deed> {
        let (phone, number) = (self.living()?, self.pick(&["101", "102", "103", "104"]).to_owned());
        let in_it = |call: &usize| {
            let lines = &self.model().phones[phone].lines;
            lines.iter().any(|line| line.call == *call && matches!(line.stands, Stands::Calling | Stands::Talks))
        };
        let own = self.model().ringing_at(&number).iter().any(in_it);
        (phone + 1 != self.phones.len() && !own).then_some(Deed::PickUp { phone, number })
    }

    /// A phone dies that calls nobody, and whose calls notice it.
    fn die(&mut self) -> Option<Deed> {
        let phone = self.living().filter(|_| self.dice.below(2) == 0)?;
        let model = self.model();
        let notice = |at: usize| {
            let other = model.other((phone, at));
            let speaks = |at: At| model.line(at).is_some_and(|line| !line.holds) && !model.phones[at.0].dead;
            // Silence on hold means nothing.
            let noticed = |other: At| other.0 != phone && speaks(other) && speaks((phone, at));
            !model.is_sought((phone, at)) && other.map_or(speaks((phone, at)), noticed)
        };
        let lines = &model.phones[phone].lines;
        let fits = |(at, line): (usize, &super::reference::Line)| match line.stands {
            Stands::Over => true,
            Stands::Talks => notice(at),
            Stands::Calling | Stands::Rings => false,
        };
        lines.iter().enumerate().all(fits).then_some(Deed::Die(phone))
    }

    /// Something happens, and the exchange and the model are compared.
    fn step(&mut self) {
        let soon = self.world.now() + self.margin() + secs(40);
        if self.first_deadline().is_some_and(|first| first < soon) || self.dice.below(20) == 0 {
            return self.ring_out();
        }
        let Some(mut deed) = (0..TRIES).find_map(|_| self.deed()) else { return };
        if self.dice.below(3) == 0
            && let Some(other) = self.deed()
            && deed.goes_with(&other, self.model())
        {
            let apart = if self.dice.below(2) == 0 { 0 } else { self.dice.below(200) };
            deed = Deed::Both(Box::new(deed), Box::new(other), millis(apart));
        }
        let mut models = Vec::new();
        for model in &mut self.models {
            model.now = self.world.now();
            models.extend(deed.think(model));
        }
        self.models = models;
        deed.tell(&mut self.world, &self.phones, Duration::ZERO);
        if matches!(deed, Deed::Die(_)) {
            self.patience = self.patience.max(secs(75));
        }
        // Who changes something is seen to have done so at once, or never.
        let unseen = matches!(deed, Deed::Both(..) | Deed::Change(..) | Deed::Hold(_) | Deed::Resume(_));
        let again = if unseen { self.patience / 3 + secs(3) } else { Duration::ZERO };
        self.deeds.push(deed);
        self.settle(again);
    }

    fn first_deadline(&self) -> Option<Time> {
        self.models.iter().flat_map(Model::deadlines).map(|(_, at)| at).min()
    }

    /// How late a phone may begin to ring.
    fn margin(&self) -> Duration {
        if self.patience > secs(10) { secs(45) } else { secs(3) }
    }

    /// Lets what rings for the longest time ring out.
    fn ring_out(&mut self) {
        let Some(first) = self.first_deadline() else { return };
        let mut deadlines: Vec<Time> = self.models.iter().flat_map(Model::deadlines).map(|(_, at)| at).collect();
        deadlines.sort_unstable();
        let (margin, mut end) = (self.margin(), first + self.margin());
        for deadline in deadlines {
            if deadline < end + margin {
                end = end.max(deadline + margin);
            }
        }
        let span = end.since(self.world.now());
        self.world.pass(span);
        let mut models = Vec::new();
        for model in &mut self.models {
            model.now = end;
            let mut due: Vec<(usize, Time)> = model.deadlines().into_iter().filter(|(_, at)| *at < end).collect();
            due.sort_by_key(|(_, at)| *at);
            let rung_out = |due: &[(usize, Time)]| {
                let mut then = model.clone();
                for (call, deadline) in due {
                    then.ring_out(*call, *deadline);
                }
                then
            };
            models.push(rung_out(&due));
            // Where messages get lost, who is called later may ring first.
            due.reverse();
            models.push(rung_out(&due));
        }
        self.models = models;
        self.settle(Duration::ZERO);
    }

    /// Waits until the exchange is where the model is, and a while longer.
    fn settle(&mut self, again: Duration) {
        let mut unique: Vec<Model> = Vec::new();
        for model in std::mem::take(&mut self.models) {
            if !unique.contains(&model) {
                unique.push(model);
            }
        }
        self.models = unique;
        // It takes Timer B until nobody waits for a dead phone any more.
        let dead = self.model().phones.iter().any(|phone| phone.dead);
        self.world.pass(if dead { secs(40) } else { millis(250) });
        self.wait();
        // What was there for a moment only is over soon; who asked at the same time tries again after four seconds.
        let while_longer = again + millis(self.dice.below(1_500));
        self.world.pass(while_longer);
        self.wait();
        let (world, phones) = (&self.world, &self.phones);
        let (same, others): (Vec<Model>, Vec<Model>) =
            std::mem::take(&mut self.models).into_iter().partition(|model| differs(world, phones, model).is_ok());
        if same.is_empty() {
            let why: Vec<_> = others.iter().map(|model| differs(world, phones, model)).collect();
            panic!("the exchange is not where the model is: {why:?}\nafter {:#?}\n{:#?}", self.deeds, others[0].phones);
        }
        self.models = same;
    }

    /// Lets time pass until the exchange is where a model is.
    fn wait(&mut self) {
        let end = self.world.now() + self.patience;
        let mut pause = millis(250);
        while self.world.now() < end && self.models.iter().all(|model| self.differs(model).is_err()) {
            self.world.pass(pause);
            pause = (pause * 2).min(secs(2));
        }
    }

    fn differs(&self, model: &Model) -> Result<(), String> {
        differs(&self.world, &self.phones, model)
    }

    fn finish(mut self) -> (Tally, World) {
        for model in &mut self.models {
            model.close();
        }
        let lossy = usize::from(self.patience > secs(10));
        let cdrs = self.world.finish();
        let wrong: Vec<String> =
            self.models.iter().filter_map(|model| records(&cdrs, model, lossy > 0).err()).collect();
        assert!(wrong.len() < self.models.len(), "the records are not the model's: {wrong:?}\nafter {:#?}", self.deeds);
        let races = self.deeds.iter().filter(|deed| matches!(deed, Deed::Both(..))).count();
        let tally = Tally {
            calls: cdrs.len(),
            answered: cdrs.iter().filter(|cdr| cdr.answered.is_some()).count(),
            transferred: cdrs.iter().filter(|cdr| !cdr.transfers.is_empty()).count(),
            races,
            lossy,
        };
        (tally, self.world)
    }
}

fn site(number: &str, nat: NatKey, dice: &mut Chance) -> Site {
    match dice.below(4) {
        0 => Site::new(number).tcp(),
        1 => Site::new(number).behind(nat),
        _ => Site::new(number),
    }
}

/// One graph of so many is played with an exchange that is read back from snapshots beside the first.
const SNAPSHOT_EVERY: u64 = 10;
/// How often something is looked for that can be done.
const TRIES: u8 = 10;
/// How long phones ring: longer than anything that goes wrong takes.
const RING_FOR: Duration = Duration::from_mins(5);
