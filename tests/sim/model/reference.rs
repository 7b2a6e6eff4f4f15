//! What the users of an exchange see, as plainly as it can be said: who rings, who talks, what callers are told, what is
//! on record. Nothing here knows of messages, transactions, timers or retries, and nothing is shared with the exchange
//! but the names of causes.

mod ringing;

use std::time::Duration;
use words::{EndCause, Time};

/// A line of a phone: the phone, and which of its calls, counted from 0.
pub(crate) type At = (usize, usize);

/// Where a line stands, as its user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    Calling,
    Rings,
    Talks,
    Over,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) call: usize,
    pub(crate) stands: Stands,
    /// What a caller was told at the end, one of these; nothing listed: anything.
    pub(crate) told: Vec<u16>,
    /// Puts the other side on hold.
    pub(crate) holds: bool,
    /// As whom it is known to the other side: as whom it calls, or was called.
    name: String,
}

/// What a phone does by itself when it is called.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Temper {
    /// Rings until somebody does something.
    Rings,
    /// Refuses.
    Refuses(u16),
    /// Sends its calls to this number.
    Forwards(String),
}

/// A phone and who sits there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phone {
    /// As whom it calls.
    pub(crate) number: String,
    /// As whom it is called.
    pub(crate) called: String,
    pub(crate) temper: Temper,
    /// Hangs up by itself as soon as a transfer is taken on.
    pub(crate) leaves_at_once: bool,
    pub(crate) dead: bool,
    pub(crate) lines: Vec<Line>,
}

/// Why nobody came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    status: u16,
    cause: EndCause,
    /// Perhaps nobody tried: a phone that has not answered for a while is not called.
    perhaps: bool,
}

/// The phones that are rung for one call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Search {
    rung: Vec<At>,
    /// Who is rung after them; the next ones are last.
    waiting: Vec<Vec<usize>>,
    failures: Vec<Failure>,
    followed: u8,
    since: Time,
}

/// Somebody is sought who takes the place of who transfers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seek {
    /// Who transfers; nobody when he has hung up already.
    by: Option<At>,
    near: At,
    search: Search,
}

/// How far a call is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    Ringing { caller: At, search: Search },
    Talk { near: At, far: At, seek: Option<Box<Seek>> },
    Echo { near: At },
    Over,
}

/// A call, as its record has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) stage: Stage,
    /// Who answered first; an empty name is the exchange itself.
    pub(crate) answered: Option<String>,
    /// Who took somebody's place, in order.
    pub(crate) transfers: Vec<String>,
    /// Why it ended, one of these; nothing listed: any cause.
    pub(crate) causes: Vec<EndCause>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    pub(crate) phones: Vec<Phone>,
    pub(crate) calls: Vec<Call>,
    pub(crate) now: Time,
    /// Numbers that ring several, at once or one after another.
    pub(crate) lists: Vec<(String, Vec<String>, bool)>,
    /// How long phones ring.
    pub(crate) ring_for: Duration,
}

impl Model {
    fn open(&mut self, phone: usize, call: usize, stands: Stands) -> At {
        let Phone { number, called, lines, .. } = &mut self.phones[phone];
        let name = if stands == Stands::Rings { called.clone() } else { number.clone() };
        lines.push(Line { call, stands, told: Vec::new(), holds: false, name });
        (phone, lines.len() - 1)
    }

    /// A line, if it is there.
    pub(crate) fn line(&self, at: At) -> Option<&Line> {
        self.phones[at.0].lines.get(at.1)
    }

    fn line_mut(&mut self, at: At) -> &mut Line {
        &mut self.phones[at.0].lines[at.1]
    }

    fn over(&mut self, at: At) {
        self.line_mut(at).stands = Stands::Over;
    }

    fn stands(&self, at: At) -> Stands {
        self.line(at).map_or(Stands::Over, |line| line.stands)
    }

    /// Who is at the other end of a line that talks.
    pub(crate) fn other(&self, at: At) -> Option<At> {
        match self.stage(at)? {
            Stage::Talk { near, far, seek } => {
                let alone = seek.as_ref().is_some_and(|seek| seek.by.is_none());
                let other = if *near == at { *far } else { *near };
                (!alone && (*near == at || *far == at)).then_some(other)
            }
            Stage::Ringing { .. } | Stage::Echo { .. } | Stage::Over => None,
        }
    }

    /// Whether a line waits for somebody to come, or somebody is sought for it.
    pub(crate) fn is_sought(&self, at: At) -> bool {
        matches!(self.stage(at), Some(Stage::Talk { seek: Some(_), .. }))
    }

    /// Whether it talks with the exchange itself.
    pub(crate) fn is_echo(&self, at: At) -> bool {
        matches!(self.stage(at), Some(Stage::Echo { .. }))
    }

    fn stage(&self, at: At) -> Option<&Stage> {
        Some(&self.calls.get(self.line(at)?.call)?.stage)
    }

    fn search(&mut self, call: usize) -> Option<&mut Search> {
        match &mut self.calls[call].stage {
            Stage::Ringing { search, .. } => Some(search),
            Stage::Talk { seek, .. } => seek.as_mut().map(|seek| &mut seek.search),
            Stage::Echo { .. } | Stage::Over => None,
        }
    }

    /// When each search has rung for long enough.
    pub(crate) fn deadlines(&self) -> Vec<(usize, Time)> {
        let since = |call: &Call| match &call.stage {
            Stage::Ringing { search, .. } => Some(search.since),
            Stage::Talk { seek, .. } => seek.as_ref().map(|seek| seek.search.since),
            Stage::Echo { .. } | Stage::Over => None,
        };
        let of = |(n, call)| since(call).map(|since| (n, since + self.ring_for));
        self.calls.iter().enumerate().filter_map(of).collect()
    }

    /// Somebody dials a number.
    pub(crate) fn call(&mut self, phone: usize, number: &str) {
        let call = self.calls.len();
        let caller = self.open(phone, call, Stands::Calling);
        let search = Search::new(self.now);
        self.calls.push(Call {
            from: self.phones[phone].number.clone(),
            to: number.to_owned(),
            stage: Stage::Ringing { caller, search },
            answered: None,
            transfers: Vec::new(),
            causes: Vec::new(),
        });
        self.begin(call, number);
    }

    /// Somebody answers.
    pub(crate) fn answer(&mut self, at: At) {
        if self.stands(at) == Stands::Rings {
            let call = self.line_mut(at).call;
            self.line_mut(at).stands = Stands::Talks;
            self.come(call, at);
        }
    }

    /// Somebody came into a call that rang.
    fn come(&mut self, call: usize, at: At) {
        let who = self.line_mut(at).name.clone();
        if let Some(search) = self.search(call) {
            for rung in std::mem::take(&mut search.rung) {
                if rung != at {
                    self.over(rung);
                }
            }
        }
        match self.calls[call].stage.clone() {
            Stage::Ringing { caller, .. } => {
                self.line_mut(caller).stands = Stands::Talks;
                self.calls[call].answered = Some(who);
                self.calls[call].stage = Stage::Talk { near: caller, far: at, seek: None };
            }
            Stage::Talk { seek: Some(seek), .. } => {
                if let Some(by) = seek.by {
                    self.over(by);
                }
                self.calls[call].transfers.push(who);
                self.calls[call].stage = Stage::Talk { near: seek.near, far: at, seek: None };
            }
            Stage::Talk { .. } | Stage::Echo { .. } | Stage::Over => {}
        }
    }

    /// Somebody hangs up.
    pub(crate) fn hang_up(&mut self, at: At) {
        match self.stands(at) {
            Stands::Over => {}
            Stands::Rings => self.refuse(at, 486),
            Stands::Calling => {
                let call = self.line_mut(at).call;
                self.line_mut(at).told = vec![487];
                self.finish(call, EndCause::Cancelled);
            }
            Stands::Talks => {
                let call = self.line_mut(at).call;
                if let Stage::Talk { seek: Some(seek), .. } = &mut self.calls[call].stage
                    && seek.by == Some(at)
                {
                    seek.by = None;
                    return self.over(at);
                }
                self.finish(call, EndCause::Normal);
            }
        }
    }

    /// A call is over for everybody who is in it.
    fn finish(&mut self, call: usize, cause: EndCause) {
        for line in self.phones.iter_mut().flat_map(|phone| &mut phone.lines).filter(|line| line.call == call) {
            line.stands = Stands::Over;
        }
        self.end(call, vec![cause]);
    }

    /// Nobody can say how the call of a line ended.
    pub(crate) fn forget_causes(&mut self, at: At) {
        let call = self.line_mut(at).call;
        self.calls[call].causes.clear();
    }

    /// Somebody holds the other side, or talks again.
    pub(crate) fn hold(&mut self, at: At, holds: bool) {
        if self.stands(at) == Stands::Talks {
            self.line_mut(at).holds = holds;
        }
    }

    /// Somebody transfers the other side to a number.
    pub(crate) fn transfer(&mut self, at: At, number: &str) {
        let Some(near) = self.other(at).filter(|_| !self.is_sought(at)) else { return };
        let call = self.line_mut(at).call;
        let sought = Seek { by: Some(at), near, search: Search::new(self.now) };
        if let Stage::Talk { seek, .. } = &mut self.calls[call].stage {
            *seek = Some(Box::new(sought));
        }
        self.begin(call, number);
    }

    /// Somebody connects the other sides of two of his lines.
    pub(crate) fn connect(&mut self, at: At, with: At) {
        let Some(near) = self.other(at).filter(|_| !self.is_sought(at)) else { return };
        let (call, gone) = (self.line_mut(at).call, self.line_mut(with).call);
        if let Stage::Ringing { search, .. } = self.calls[gone].stage.clone() {
            for rung in &search.rung {
                self.line_mut(*rung).call = call;
            }
            // They ring on for whoever waits now, and as long again.
            let search = Search { since: self.now, ..search };
            let sought = Seek { by: Some(at), near, search };
            if let Stage::Talk { seek, .. } = &mut self.calls[call].stage {
                *seek = Some(Box::new(sought));
            }
            self.line_mut(with).told = vec![487];
        } else if let Some(far) = self.other(with).filter(|_| !self.is_sought(with)) {
            let who = self.line_mut(far).name.clone();
            self.line_mut(far).call = call;
            self.over(at);
            self.calls[call].transfers.push(who);
            self.calls[call].stage = Stage::Talk { near, far, seek: None };
        } else {
            return;
        }
        self.over(with);
        let who = self.line_mut(near).name.clone();
        self.calls[gone].transfers.push(who);
        self.end(gone, vec![EndCause::Transferred]);
    }

    /// The calls that ring at a number.
    pub(crate) fn ringing_at(&self, number: &str) -> Vec<usize> {
        let rings = |phone: &Phone| phone.called == number && !phone.dead;
        let lines = self.phones.iter().filter(|phone| rings(phone)).flat_map(|phone| &phone.lines);
        let mut calls: Vec<usize> = lines.filter(|line| line.stands == Stands::Rings).map(|line| line.call).collect();
        calls.sort_unstable();
        calls.dedup();
        calls
    }

    /// Somebody picks up what rings elsewhere, one of these calls; nobody knows which.
    pub(crate) fn pick_up(&self, phone: usize, number: &str) -> Vec<Model> {
        let calls = self.ringing_at(number);
        let mut models = Vec::new();
        if calls.is_empty() {
            models.push(self.refused(phone));
        }
        for call in calls {
            let mut model = self.clone();
            let at = model.open(phone, call, Stands::Talks);
            model.come(call, at);
            models.push(model);
        }
        models
    }

    /// Somebody is refused who wanted into a call that was there already: it is on no record.
    pub(crate) fn refused(&self, phone: usize) -> Model {
        let mut model = self.clone();
        model.open(phone, NO_CALL, Stands::Over);
        model
    }

    /// A phone loses its power: who talks with it is told after a while that there is no media.
    pub(crate) fn die(&mut self, phone: usize) {
        self.phones[phone].dead = true;
        for line in self.phones[phone].lines.clone() {
            if line.stands == Stands::Talks {
                self.finish(line.call, EndCause::MediaLost);
            }
        }
    }

    /// Everybody hangs up at the same moment.
    pub(crate) fn close(&mut self) {
        for call in 0..self.calls.len() {
            match &self.calls[call].stage {
                Stage::Talk { seek: None, .. } | Stage::Echo { .. } => {
                    self.finish(call, EndCause::Normal);
                    // Whoever said goodbye is silent before anybody has heard it.
                    self.calls[call].causes.push(EndCause::MediaLost);
                }
                Stage::Ringing { .. } | Stage::Talk { .. } => self.end(call, Vec::new()),
                Stage::Over => {}
            }
        }
    }
}

impl Phone {
    pub(crate) fn forwards(&self) -> bool {
        matches!(self.temper, Temper::Forwards(_))
    }
}

/// The call of a line that never was in one.
pub(crate) const NO_CALL: usize = usize::MAX;
