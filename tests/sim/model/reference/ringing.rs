//! Who is rung for a call, in which order, and what is told when nobody comes.

use super::{At, Failure, Model, Search, Stage, Stands, Temper};
use words::{EndCause, Time};

/// Where a number leads.
enum Route {
    Nowhere(Failure),
    Echo,
    Ring(Vec<Vec<usize>>),
}

impl Model {
    fn route(&self, number: &str) -> Route {
        if number == "*43" {
            return Route::Echo;
        }
        let list = self.lists.iter().find(|(name, ..)| name == number);
        let (numbers, in_order) = match list {
            Some((_, numbers, in_order)) => (numbers.clone(), *in_order),
            None => (vec![number.to_owned()], false),
        };
        let peer = number.starts_with('9').then_some("555");
        let of = |number: &String| {
            let called = peer.unwrap_or(number.as_str());
            (0..self.phones.len()).filter(|&phone| self.phones[phone].called == called).collect::<Vec<_>>()
        };
        let mut groups: Vec<Vec<usize>> = numbers.iter().map(of).filter(|group| !group.is_empty()).collect();
        match number {
            "109" => Route::Nowhere(Failure::new(480, EndCause::Unavailable)),
            _ if groups.is_empty() => Route::Nowhere(Failure::new(404, EndCause::NotFound)),
            _ if in_order => {
                groups.reverse();
                Route::Ring(groups)
            }
            _ => Route::Ring(vec![groups.concat()]),
        }
    }

    pub(super) fn begin(&mut self, call: usize, number: &str) {
        match self.route(number) {
            Route::Nowhere(failure) => self.nobody(call, &[failure]),
            Route::Echo => self.echo(call),
            Route::Ring(groups) => {
                if let Some(search) = self.search(call) {
                    search.waiting = groups;
                }
                self.ring_on(call);
            }
        }
    }

    fn echo(&mut self, call: usize) {
        match self.calls[call].stage.clone() {
            Stage::Ringing { caller, .. } => {
                self.line_mut(caller).stands = Stands::Talks;
                self.calls[call].stage = Stage::Echo { near: caller };
                self.calls[call].answered = Some(String::new());
            }
            Stage::Talk { seek: Some(seek), .. } => {
                if let Some(by) = seek.by {
                    self.over(by);
                }
                self.calls[call].transfers.push("*43".to_owned());
                self.calls[call].stage = Stage::Echo { near: seek.near };
            }
            Stage::Talk { .. } | Stage::Echo { .. } | Stage::Over => {}
        }
    }

    /// Rings who is next, when nobody rings.
    pub(super) fn ring_on(&mut self, call: usize) {
        while let Some(search) = self.search(call) {
            if !search.rung.is_empty() {
                return;
            }
            let Some(group) = search.waiting.pop() else {
                let failures = std::mem::take(&mut search.failures);
                return self.nobody(call, &failures);
            };
            self.ring(call, group);
        }
    }

    fn ring(&mut self, call: usize, group: Vec<usize>) {
        let now = self.now;
        let mut rung = Vec::new();
        for phone in group {
            if self.phones[phone].dead {
                self.fail(call, Failure { perhaps: true, ..Failure::new(480, EndCause::Unavailable) });
            } else {
                rung.push(self.open(phone, call, Stands::Rings));
            }
        }
        let Some(search) = self.search(call) else { return };
        if search.rung.is_empty() {
            search.since = now;
        }
        search.rung.extend(&rung);
        for at in rung {
            match self.phones[at.0].temper.clone() {
                Temper::Rings => {}
                Temper::Refuses(status) => self.refuse(at, status),
                Temper::Forwards(to) => self.forward(at, &to),
            }
        }
    }

    pub(super) fn fail(&mut self, call: usize, failure: Failure) {
        if let Some(search) = self.search(call) {
            search.failures.push(failure);
        }
    }

    /// A phone sends its call elsewhere.
    pub(crate) fn forward(&mut self, at: At, to: &str) {
        if self.stands(at) != Stands::Rings {
            return;
        }
        self.over(at);
        let call = self.line_mut(at).call;
        let Some(search) = self.search(call) else { return };
        search.rung.retain(|rung| *rung != at);
        let again = search.followed < FOLLOWED;
        match self.route(to) {
            _ if !again => self.fail(call, Failure::new(482, EndCause::Failed(302))),
            Route::Ring(mut groups) => {
                // They come before whoever waits; the first of them ring at once.
                let first = groups.pop().unwrap_or_default();
                if first.iter().all(|phone| self.phones[*phone].dead) {
                    // Perhaps their registrations are over by now.
                    self.fail(call, Failure { perhaps: true, ..Failure::new(480, EndCause::Failed(302)) });
                }
                if let Some(search) = self.search(call) {
                    search.waiting.append(&mut groups);
                    search.followed += 1;
                }
                self.ring(call, first);
            }
            Route::Nowhere(_) | Route::Echo => self.fail(call, Failure::new(480, EndCause::Failed(302))),
        }
        self.ring_on(call);
    }

    /// A phone refuses its call.
    pub(crate) fn refuse(&mut self, at: At, status: u16) {
        if self.stands(at) != Stands::Rings {
            return;
        }
        self.over(at);
        let cause = match status {
            486 => EndCause::Busy,
            603 => EndCause::Declined,
            404 => EndCause::NotFound,
            480 => EndCause::Unavailable,
            other => EndCause::Failed(other),
        };
        self.lose(at, Failure::new(status, cause));
    }

    pub(super) fn lose(&mut self, at: At, failure: Failure) {
        let call = self.line_mut(at).call;
        self.fail(call, failure);
        if let Some(search) = self.search(call) {
            search.rung.retain(|rung| *rung != at);
        }
        self.ring_on(call);
    }

    /// Nobody came: the caller is told what tells most; a transfer leaves all as it was.
    pub(super) fn nobody(&mut self, call: usize, failures: &[Failure]) {
        let sure = failures.iter().copied().filter(|failure| !failure.perhaps).collect::<Vec<_>>();
        let best = [most_telling(failures), most_telling(&sure)].concat();
        let causes = best.iter().map(|failure| failure.cause).collect();
        match self.calls[call].stage.clone() {
            Stage::Ringing { caller, .. } => {
                let line = self.line_mut(caller);
                line.stands = Stands::Over;
                line.told = best.iter().map(|failure| failure.status).collect();
                self.end(call, causes);
            }
            Stage::Talk { near, far, seek: Some(seek) } => {
                if seek.by.is_some() {
                    self.calls[call].stage = Stage::Talk { near, far, seek: None };
                } else {
                    self.over(seek.near);
                    self.end(call, causes);
                }
            }
            Stage::Talk { .. } | Stage::Echo { .. } | Stage::Over => {}
        }
    }

    pub(super) fn end(&mut self, call: usize, causes: Vec<EndCause>) {
        self.calls[call].stage = Stage::Over;
        self.calls[call].causes = causes;
    }

    /// It has rung for long enough.
    pub(crate) fn ring_out(&mut self, call: usize, deadline: Time) {
        let Some(search) = self.search(call) else { return };
        for at in std::mem::take(&mut search.rung) {
            self.over(at);
        }
        self.fail(call, Failure::new(480, EndCause::NoAnswer));
        let now = std::mem::replace(&mut self.now, deadline);
        self.ring_on(call);
        self.now = now;
    }
}

impl Search {
    pub(super) fn new(since: Time) -> Search {
        Search { rung: Vec::new(), waiting: Vec::new(), failures: Vec::new(), followed: 0, since }
    }
}

/// Those that tell the caller most.
fn most_telling(failures: &[Failure]) -> Vec<Failure> {
    let best = failures.iter().map(|failure| failure.telling()).min();
    failures.iter().copied().filter(|failure| Some(failure.telling()) == best).collect()
}

impl Failure {
    pub(super) fn new(status: u16, cause: EndCause) -> Failure {
        Failure { status, cause, perhaps: false }
    }

    /// What a caller wants to know first: that somebody declined, that he is busy, that nobody lifted.
    fn telling(self) -> usize {
        let order = [&[603][..], &[486], &[], &[404, 482], &[480], &[500]];
        let nobody_lifted = self.cause == EndCause::NoAnswer;
        if nobody_lifted { 2 } else { order.iter().position(|same| same.contains(&self.status)).unwrap_or(order.len()) }
    }
}

/// How often one call is sent elsewhere.
const FOLLOWED: u8 = 5;
