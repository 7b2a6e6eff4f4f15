//! The commit thread: gather, store, tell.

use super::handover::{Handover, Stored};
use super::{Outcome, Shared, Work};
use crate::limit;
use crate::store::journal::Journal;
use crate::store::record;
use books::call_of;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use words::{Clock, Event, Fact, Seq, ShardId, Time};

pub(crate) struct Worker<C, T> {
    journal: Journal,
    handover: Arc<Handover>,
    shared: Arc<Shared>,
    clock: C,
    tell: T,
    /// Facts for the next commit, and their records.
    events: Vec<Event>,
    records: Vec<u8>,
    scratch: Vec<u8>,
    /// Frames of facts of calls that the journal did not take yet.
    unwritten: VecDeque<(Vec<u8>, Vec<Event>)>,
    unwritten_bytes: usize,
    /// The last fact of each shard that was taken in, and whether it was told.
    seen: Vec<(ShardId, Seq)>,
    /// Calls that are open.
    open: usize,
    /// When the last commit was done.
    last_commit: Option<Time>,
    /// Whether the last outcome that was told was a failure.
    failing: bool,
}

impl<C: Fn() -> Clock, T: FnMut(Outcome)> Worker<C, T> {
    pub(crate) fn new(journal: Journal, handover: Arc<Handover>, shared: Arc<Shared>, clock: C, tell: T) -> Self {
        Worker {
            journal,
            handover,
            shared,
            clock,
            tell,
            events: Vec::new(),
            records: Vec::new(),
            scratch: Vec::new(),
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            seen: Vec::new(),
            open: 0,
            last_commit: None,
            failing: false,
        }
    }

    pub(crate) fn run(&mut self, work: &Receiver<Work>) {
        loop {
            let goes_on = match self.wait(work) {
                Waited::Facts(events) => {
                    self.rest();
                    self.take(events);
                    self.gather(work)
                }
                Waited::Nothing => true,
                Waited::Stop => false,
            };
            self.commit();
            if !goes_on {
                return;
            }
        }
    }

    /// Waits for facts, or for what else is to be done.
    fn wait(&self, work: &Receiver<Work>) -> Waited {
        let rest = if self.failing {
            limit::RETRY
        } else if self.open > 0 {
            limit::HEARTBEAT
        } else {
            return match work.recv() {
                Ok(Work::Facts(events)) => Waited::Facts(events),
                Ok(Work::Stop) | Err(_) => Waited::Stop,
            };
        };
        if self.unwritten_bytes > limit::UNWRITTEN_BYTES {
            // The queue fills, and whoever appends hears it.
            std::thread::sleep(rest);
            return Waited::Nothing;
        }
        match work.recv_timeout(rest) {
            Ok(Work::Facts(events)) => Waited::Facts(events),
            Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => Waited::Stop,
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
        }
    }

    /// Lets facts come together when the last commit was a moment ago.
    fn rest(&self) {
        let Some(last) = self.last_commit else { return };
        let rest = (last + limit::GATHER).since((self.clock)().mono);
        if rest > Duration::ZERO {
            std::thread::sleep(rest);
        }
    }

    /// Takes what has come; `false` when it is the last.
    fn gather(&mut self, work: &Receiver<Work>) -> bool {
        while self.unwritten_bytes + self.records.len() < limit::COMMIT_BYTES {
            match work.try_recv() {
                Ok(Work::Facts(events)) => self.take(events),
                Ok(Work::Stop) => return false,
                Err(_) => return true,
            }
        }
        true
    }

    fn take(&mut self, events: Vec<Event>) {
        self.shared.queued.fetch_sub(events.len(), Ordering::Relaxed);
        for event in events {
            match self.seen.iter_mut().find(|(shard, _)| *shard == event.shard) {
                Some((_, last)) => *last = event.seq,
                None => self.seen.push((event.shard, event.seq)),
            }
            match &event.fact {
                Fact::CallOpened { .. } => self.open += 1,
                Fact::CallEnded { .. } => self.open = self.open.saturating_sub(1),
                Fact::LegOpened { .. }
                | Fact::LegRang { .. }
                | Fact::LegEnded { .. }
                | Fact::CallAnswered { .. }
                | Fact::Bound { .. }
                | Fact::Unbound { .. } => {}
            }
            // What is left of the journal is for calls that are up; who registers hears that it failed.
            if self.failing && call_of(&event.fact).is_none() {
                continue;
            }
            record::write(&event, &mut self.scratch, &mut self.records);
            self.events.push(event);
            if self.records.len() >= limit::COMMIT_BYTES {
                self.seal();
            }
        }
    }

    /// Makes a frame of what was taken so far.
    fn seal(&mut self) {
        if !self.events.is_empty() {
            let capacity = self.records.len();
            let bytes = std::mem::replace(&mut self.records, Vec::with_capacity(capacity.min(limit::COMMIT_BYTES)));
            self.unwritten_bytes += bytes.len();
            self.unwritten.push_back((bytes, std::mem::take(&mut self.events)));
        }
    }

    fn commit(&mut self) {
        let clock = (self.clock)();
        self.seal();
        if self.unwritten.is_empty() && !self.is_sign_due(clock.mono) {
            self.tell(true);
            return;
        }
        let facts: usize = self.unwritten.iter().map(|(_, events)| events.len()).sum();
        let written = self.write(clock);
        if let Err(error) = &written {
            if !self.failing {
                let diagnosis = words::diagnosis::Diagnosis::StoreFailing.id();
                tracing::error!(%error, diagnosis, "the journal takes no records");
            }
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            self.refuse_registrations();
        }
        let tight = self.journal.is_tight(self.shared.folded.load(Ordering::Acquire));
        self.shared.journal_failing.store(written.is_err() || tight, Ordering::Relaxed);
        let done = (self.clock)().mono;
        self.last_commit = Some(done);
        if written.is_ok() {
            self.count(facts, done.since(clock.mono));
        }
        self.tell(written.is_ok());
    }

    /// Whether an empty frame is to be written: as a sign of life while calls are up, or to try a journal that failed.
    fn is_sign_due(&self, now: Time) -> bool {
        let quiet = self.last_commit.is_none_or(|last| now.since(last) >= limit::HEARTBEAT);
        self.shared.journal_failing.load(Ordering::Relaxed) || (self.open > 0 && quiet)
    }

    /// Puts the frames into the journal, and a sign of life when there are none.
    fn write(&mut self, clock: Clock) -> std::io::Result<()> {
        let folded = self.shared.folded.load(Ordering::Acquire);
        let mut numbers = Vec::with_capacity(self.unwritten.len());
        let mut result = Ok(());
        for (bytes, _) in &self.unwritten {
            match self.journal.write(bytes, clock, folded) {
                Ok(number) => numbers.push(number),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if self.unwritten.is_empty() {
            self.journal.write(&[], clock, folded)?;
        }
        self.journal.sync()?;
        for frame in numbers {
            if let Some((bytes, events)) = self.unwritten.pop_front() {
                self.unwritten_bytes -= bytes.len();
                self.handover.push(Stored { frame, bytes, events }, self.journal.sealed_to());
            }
        }
        result
    }

    /// Takes the registrations out of what waits: those who wait for them hear that they failed.
    fn refuse_registrations(&mut self) {
        self.unwritten_bytes = 0;
        for (bytes, events) in &mut self.unwritten {
            events.retain(|event| call_of(&event.fact).is_some());
            bytes.clear();
            for event in events {
                record::write(event, &mut self.scratch, bytes);
            }
            self.unwritten_bytes += bytes.len();
        }
        self.unwritten.retain(|(_, events)| !events.is_empty());
    }

    /// Tells each shard where it stands, as far as that is news.
    fn tell(&mut self, written: bool) {
        let (was_failing, failing) = (self.failing, self.shared.is_failing());
        self.failing = failing;
        for &(shard, up_to) in &self.seen {
            // What was taken while nothing failed is in the journal whole, also when the database fails since.
            if written && (!was_failing || !failing) {
                (self.tell)(Outcome::Stored { shard, up_to });
            }
            if failing {
                (self.tell)(Outcome::Failed { shard, up_to, reserved: written });
            }
        }
    }

    fn count(&self, facts: usize, took: Duration) {
        let took = took.as_micros() as u64;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.events.fetch_add(facts as u64, Ordering::Relaxed);
        self.shared.last_commit_us.store(took, Ordering::Relaxed);
        self.shared.longest_commit_us.fetch_max(took, Ordering::Relaxed);
    }
}

enum Waited {
    Facts(Vec<Event>),
    Nothing,
    Stop,
}
