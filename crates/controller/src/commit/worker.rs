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
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
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
    /// Frames that are not known to be on disk, in their order.
    pending: VecDeque<Frame>,
    pending_bytes: usize,
    /// The last fact of each shard that was taken in, and whether it was told.
    seen: Vec<(ShardId, Seq)>,
    /// Calls that are open.
    open: usize,
    /// When frames were last stored.
    last_commit: Option<Time>,
    /// Whether the last look at the queue found facts: then more are on their way.
    busy: bool,
    /// Whether the last outcome that was told was a failure.
    failing: bool,
    /// Whether registrations were left out and nobody has been told yet.
    refused: bool,
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
            pending: VecDeque::new(),
            pending_bytes: 0,
            seen: Vec::new(),
            open: 0,
            last_commit: None,
            busy: false,
            failing: false,
            refused: false,
        }
    }

    pub(crate) fn run(&mut self, work: &Receiver<Work>) {
        loop {
            let goes_on = match self.wait(work) {
                Waited::Facts(events) => {
                    self.busy = true;
                    self.take(events);
                    self.gather(work)
                }
                Waited::Nothing => {
                    self.busy = false;
                    true
                }
                Waited::Stop => false,
            };
            self.commit();
            if !goes_on {
                return;
            }
        }
    }

    /// Waits for facts, or for what else is to be done. Under load it looks again by itself: a queue whose reader sleeps
    /// for a set time costs who fills it no call of the kernel.
    fn wait(&self, work: &Receiver<Work>) -> Waited {
        if self.pending_bytes > limit::UNWRITTEN_BYTES {
            // The queue fills, and whoever appends hears it.
            std::thread::sleep(limit::RETRY);
            return Waited::Nothing;
        }
        if self.busy {
            self.rest();
            return match work.try_recv() {
                Ok(Work::Facts(events)) => Waited::Facts(events),
                Ok(Work::Stop) | Err(TryRecvError::Disconnected) => Waited::Stop,
                Err(TryRecvError::Empty) => Waited::Nothing,
            };
        }
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
        match work.recv_timeout(rest) {
            Ok(Work::Facts(events)) => Waited::Facts(events),
            Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => Waited::Stop,
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
        }
    }

    /// Lets facts come together after the last commit.
    fn rest(&self) {
        let Some(last) = self.last_commit else { return };
        let every = if self.journal.survives_power() { limit::GATHER_SYNCED } else { limit::GATHER };
        let rest = (last + every).since((self.clock)().mono);
        if rest > Duration::ZERO {
            std::thread::sleep(rest);
        }
    }

    /// Takes what has come; `false` when it is the last.
    fn gather(&mut self, work: &Receiver<Work>) -> bool {
        while self.pending_bytes + self.records.len() < limit::COMMIT_BYTES {
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
                | Fact::CallTransferred { .. }
                | Fact::LegMeasured { .. }
                | Fact::Bound { .. }
                | Fact::Unbound { .. }
                | Fact::Subscribed { .. }
                | Fact::Unsubscribed { .. } => {}
            }
            // What is left of the journal is for calls that are up; who registers hears that it failed.
            if self.failing && call_of(&event.fact).is_none() {
                self.handover.give_up(1);
                self.refused = true;
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
            // The next will be about as large: what grows by doubling leaves memory of every size behind.
            let capacity = self.records.len().min(limit::COMMIT_BYTES);
            let bytes = std::mem::replace(&mut self.records, Vec::with_capacity(capacity));
            let room = Vec::with_capacity(self.events.len());
            let events = std::mem::replace(&mut self.events, room);
            self.pending_bytes += bytes.len();
            self.pending.push_back(Frame { number: None, bytes, events });
        }
    }

    /// Stores what was taken, and says so.
    fn commit(&mut self) {
        let clock = (self.clock)();
        self.seal();
        if self.pending.is_empty() && !self.is_sign_due(clock.mono) {
            if self.failing || self.shared.is_failing() {
                self.tell(true);
            }
            return;
        }
        let written = self.write(clock);
        let stored = self.sync(clock.mono).and(written);
        if let Err(error) = &stored {
            if !self.failing {
                let diagnosis = words::diagnosis::Diagnosis::StoreFailing.id();
                tracing::error!(%error, diagnosis, "the journal takes no records");
            }
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            self.refuse_registrations();
        }
        let tight = self.journal.is_tight(self.shared.folded.load(Ordering::Acquire));
        self.shared.journal_failing.store(stored.is_err() || tight, Ordering::Relaxed);
        self.tell(stored.is_ok());
    }

    /// Whether an empty frame is to be written: as a sign of life while calls are up, or to try a journal that failed.
    fn is_sign_due(&self, now: Time) -> bool {
        let quiet = self.last_commit.is_none_or(|last| now.since(last) >= limit::HEARTBEAT);
        self.shared.journal_failing.load(Ordering::Relaxed) || (self.open > 0 && quiet)
    }

    /// Puts the frames into the journal that are not in it, and a sign of life when there are none at all. From here on
    /// they outlive the process.
    fn write(&mut self, clock: Clock) -> std::io::Result<()> {
        let folded = self.shared.folded.load(Ordering::Acquire);
        if self.pending.is_empty() {
            self.journal.write(&[], clock, folded)?;
        }
        for frame in self.pending.iter_mut().filter(|frame| frame.number.is_none()) {
            frame.number = Some(self.journal.write(&frame.bytes, clock, folded)?);
        }
        Ok(())
    }

    /// Makes the frames last that are in the journal, and hands them over. When that fails they are as if never written.
    fn sync(&mut self, began: Time) -> std::io::Result<()> {
        let result = self.journal.sync();
        let done = (self.clock)().mono;
        self.last_commit = Some(done);
        if result.is_err() {
            self.pending.iter_mut().for_each(|frame| frame.number = None);
            return result;
        }
        let mut facts = 0;
        while let Some(Frame { number: Some(number), .. }) = self.pending.front() {
            let frame = *number;
            let Some(Frame { bytes, events, .. }) = self.pending.pop_front() else { break };
            self.pending_bytes -= bytes.len();
            facts += events.len();
            self.handover.push(Stored { frame, bytes, events }, self.journal.sealed_to());
        }
        self.count(facts, done.since(began));
        result
    }

    /// Takes the registrations out of what waits: those who wait for them hear that they failed.
    fn refuse_registrations(&mut self) {
        self.pending_bytes = 0;
        for Frame { bytes, events, .. } in &mut self.pending {
            let before = events.len();
            events.retain(|event| call_of(&event.fact).is_some());
            self.handover.give_up(before - events.len());
            self.refused |= before > events.len();
            bytes.clear();
            for event in events {
                record::write(event, &mut self.scratch, bytes);
            }
            self.pending_bytes += bytes.len();
        }
        self.pending.retain(|frame| !frame.events.is_empty());
    }

    /// Tells each shard where it stands, as far as that is news.
    fn tell(&mut self, written: bool) {
        let (was_failing, failing) = (self.failing, self.shared.is_failing());
        self.failing = failing;
        let refused = std::mem::take(&mut self.refused);
        for &(shard, up_to) in &self.seen {
            // What was left out stays so, also when the store works again by now.
            if refused && !failing {
                (self.tell)(Outcome::Failed { shard, up_to, reserved: written });
            }
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

/// Facts that go to disk together.
struct Frame {
    /// Its number once the journal took it.
    number: Option<u64>,
    bytes: Vec<u8>,
    events: Vec<Event>,
}

enum Waited {
    Facts(Vec<Event>),
    Nothing,
    Stop,
}
