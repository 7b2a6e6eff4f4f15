//! The commit thread: gather, store, tell, tidy up.

use super::checkpoint::{self, Checkpointer};
use super::fold::{Fold, Step};
use super::pending::Pending;
use super::{Outcome, Shared, Work};
use crate::calls::insert_cdr;
use crate::limit;
use crate::store::reserve::Reserve;
use rusqlite::{Connection, params};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use words::{Clock, Time};

pub(crate) struct Worker<C, T> {
    connection: Connection,
    reserve: Reserve,
    checkpointer: Checkpointer,
    shared: Arc<Shared>,
    clock: C,
    tell: T,
    pending: Pending,
    fold: Fold,
    /// The last row of the journal.
    row: i64,
    commits_to_checkpoint: u64,
    /// When the last commit began.
    last_commit: Option<Time>,
    failing: Option<Failing>,
}

struct Failing {
    retry_at: Time,
    /// How much of the pending facts of calls lies in the reserve.
    reserved: usize,
}

impl<C: Fn() -> Clock, T: FnMut(Outcome)> Worker<C, T> {
    pub(crate) fn new(
        connection: Connection,
        reserve: Reserve,
        checkpointer: Checkpointer,
        shared: Arc<Shared>,
        clock: C,
        tell: T,
    ) -> Self {
        Worker {
            connection,
            reserve,
            checkpointer,
            shared,
            clock,
            tell,
            pending: Pending::default(),
            fold: Fold::new(),
            row: 0,
            commits_to_checkpoint: limit::CHECKPOINT_COMMITS,
            last_commit: None,
            failing: None,
        }
    }

    pub(crate) fn run(&mut self, work: &Receiver<Work>) {
        loop {
            let goes_on = match self.wait(work) {
                Waited::Facts(events) => {
                    self.take(events);
                    self.gather(work)
                }
                Waited::Nothing => true,
                Waited::Stop => false,
            };
            self.commit(goes_on);
            if !goes_on {
                return;
            }
        }
    }

    /// Waits for facts, or for what else is to be done.
    fn wait(&self, work: &Receiver<Work>) -> Waited {
        let Some(at) = self.next_at() else {
            return match work.recv() {
                Ok(Work::Facts(events)) => Waited::Facts(events),
                Ok(Work::Stop) | Err(_) => Waited::Stop,
            };
        };
        let rest = at.since((self.clock)().mono);
        if self.pending.calls.len() > limit::UNSTORED_BYTES {
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

    /// When something is to be done though no fact comes; `None` to sleep for good.
    fn next_at(&self) -> Option<Time> {
        let last = self.last_commit?;
        if let Some(failing) = &self.failing {
            return Some(failing.retry_at);
        }
        if self.fold.is_busy() {
            return Some(last + limit::GATHER);
        }
        let heartbeat = (!self.pending.open.is_empty()).then_some(last + limit::HEARTBEAT);
        heartbeat.into_iter().chain(self.fold.next_at()).min()
    }

    /// Lets facts come together until the next commit may begin; `false` when it is the last.
    fn gather(&mut self, work: &Receiver<Work>) -> bool {
        if let Some(last) = self.last_commit {
            let rest = (last + limit::GATHER).since((self.clock)().mono);
            if rest > Duration::ZERO {
                std::thread::sleep(rest);
            }
        }
        while self.pending.events < limit::EVENTS_PER_COMMIT {
            match work.try_recv() {
                Ok(Work::Facts(events)) => self.take(events),
                Ok(Work::Stop) => return false,
                Err(_) => return true,
            }
        }
        true
    }

    fn take(&mut self, events: Vec<words::Event>) {
        self.shared.queued.fetch_sub(events.len(), Ordering::Relaxed);
        for event in events {
            self.pending.take(event, self.row + 1);
        }
    }

    fn commit(&mut self, goes_on: bool) {
        let clock = (self.clock)();
        self.last_commit = Some(clock.mono);
        if let Some(failing) = &self.failing
            && goes_on
            && clock.mono < failing.retry_at
        {
            self.keep_aside(None, clock.mono);
            return;
        }
        self.fold.begin(&self.pending, self.row, clock.mono);
        match self.store(clock) {
            Ok(step) => self.stored(&step, clock.mono),
            Err(error) => {
                // SQLite has rolled back by itself after most errors.
                let _ = self.connection.execute_batch("ROLLBACK");
                self.keep_aside(Some(&error), clock.mono);
            }
        }
    }

    /// One transaction with everything that waits and a few rows of the fold.
    fn store(&self, clock: Clock) -> rusqlite::Result<Step> {
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let pending = &self.pending;
        let row = self.row + i64::from(self.has_row());
        if self.has_row() {
            connection
                .prepare_cached("INSERT INTO journal (id, at, wall, calls, registrations) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    row,
                    clock.mono.as_nanos() as i64,
                    clock.wall.0,
                    pending.calls,
                    pending.registrations
                ])?;
        }
        for ended in &pending.ended {
            insert_cdr(connection, &ended.events)?;
            if ended.in_table {
                connection
                    .prepare_cached("DELETE FROM open_call WHERE call = ?1")?
                    .execute([ended.call.0.to_be_bytes()])?;
            }
        }
        let step = self.fold.step(connection, pending, row)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(step)
    }

    /// Whether this commit writes a row of the journal. Without facts the row is a sign of life, except when the commit
    /// only continues the fold.
    fn has_row(&self) -> bool {
        !self.pending.is_empty() || !self.fold.is_busy()
    }

    fn stored(&mut self, step: &Step, began: Time) {
        self.row += i64::from(self.has_row());
        self.count(began);
        let recovered = self.recovered();
        if recovered || self.pending.events > 0 {
            for &(shard, up_to) in &self.pending.seen {
                (self.tell)(Outcome::Stored { shard, up_to });
            }
        }
        let pending = &mut self.pending;
        if !pending.is_empty() {
            self.fold.stored(self.row, pending.bindings.drain(..));
        }
        for call in &step.in_table {
            if let Some(open) = pending.open.get_mut(call) {
                (open.in_table, open.changed) = (true, false);
            }
        }
        self.fold.done(step);
        pending.clear();
        self.checkpoint();
    }

    /// The database took something: whether it did not before.
    fn recovered(&mut self) -> bool {
        if self.failing.take().is_none() {
            return false;
        }
        tracing::info!("the database takes records again");
        self.shared.failing.store(false, Ordering::Relaxed);
        if let Err(error) = self.reserve.clear() {
            tracing::error!(%error, "the reserve cannot be cleared");
        }
        true
    }

    fn count(&mut self, began: Time) {
        let took = (self.clock)().mono.since(began).as_micros() as u64;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.events.fetch_add(self.pending.events as u64, Ordering::Relaxed);
        self.shared.last_commit_us.store(took, Ordering::Relaxed);
        self.shared.longest_commit_us.fetch_max(took, Ordering::Relaxed);
    }

    /// The database takes nothing: facts of calls go to the reserve, registrations are refused.
    fn keep_aside(&mut self, error: Option<&rusqlite::Error>, now: Time) {
        if let Some(error) = error {
            if self.failing.is_none() {
                tracing::error!(%error, diagnosis = words::diagnosis::Diagnosis::StoreFailing.id(), "the database takes no records");
            }
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            self.shared.failing.store(true, Ordering::Relaxed);
            let reserved = self.failing.as_ref().map_or(0, |failing| failing.reserved);
            self.failing = Some(Failing { retry_at: now + limit::RETRY, reserved });
        }
        self.pending.drop_registrations();
        self.pending.events = 0;
        let Some(failing) = &mut self.failing else { return };
        let new = &self.pending.calls[failing.reserved..];
        let kept = if new.is_empty() { Ok(()) } else { self.reserve.append(new) };
        match kept {
            Ok(()) => failing.reserved = self.pending.calls.len(),
            Err(error) => tracing::error!(%error, "the reserve takes no records: they are in memory only"),
        }
        let reserved = failing.reserved == self.pending.calls.len();
        for &(shard, up_to) in &self.pending.seen {
            (self.tell)(Outcome::Failed { shard, up_to, reserved });
        }
    }

    fn checkpoint(&mut self) {
        if self.checkpointer.take_finished()
            && self.shared.wal_pages.load(Ordering::Relaxed) > u64::from(limit::WAL_PAGES)
        {
            checkpoint::copy(&self.connection);
        }
        self.commits_to_checkpoint -= 1;
        if self.commits_to_checkpoint == 0 {
            self.commits_to_checkpoint = limit::CHECKPOINT_COMMITS;
            self.checkpointer.ask();
        }
    }
}

enum Waited {
    Facts(Vec<words::Event>),
    Nothing,
    Stop,
}
