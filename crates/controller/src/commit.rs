//! Many facts, one commit. Two threads: one gathers facts, puts them into the journal and says so; the other folds them
//! into the database a little later, where nobody waits.

mod fold;
mod handover;
mod worker;

use crate::error::StoreError;
use crate::limit;
use crate::store::{Purpose, Store};
use fold::Folder;
pub(crate) use handover::Handover;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use words::{Clock, Event, Seq, ShardId};
use worker::Worker;

/// What became of facts. Told on the commit thread: pass it on and return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All facts of the shard up to this one are stored. After a failure it also says that the store works again.
    Stored {
        /// Whose facts.
        shard: ShardId,
        /// The last of them.
        up_to: Seq,
    },
    /// The store takes nothing new. Registrations up to this one are not stored and will not be. Facts of calls are kept
    /// and come into the database later.
    Failed {
        /// Whose facts.
        shard: ShardId,
        /// The last of them.
        up_to: Seq,
        /// Whether the facts of calls are on disk all the same, in space reserved for them.
        reserved: bool,
    },
}

/// The queue has no room for these events, or the loop has ended. They come back to whoever said them.
#[derive(Debug)]
pub struct QueueFull(pub Vec<Event>);

/// Counts since the start, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// Events that wait for a commit.
    pub queued: usize,
    /// Commits done.
    pub commits: u64,
    /// Events stored.
    pub events: u64,
    /// Commits and transactions that failed.
    pub failures: u64,
    /// Whether the store takes nothing new.
    pub failing: bool,
    /// How long the last commit took. Units: microseconds.
    pub last_commit_us: u64,
    /// How long the longest took. Units: microseconds.
    pub longest_commit_us: u64,
    /// Transactions that brought the database up to the journal.
    pub folds: u64,
}

/// The running loop. Dropping it stores what waits and ends its threads.
///
/// It sleeps while nothing happens. Under load it commits at most once in [`limit::GATHER`], where each commit is synced once in
/// [`limit::GATHER_SYNCED`]; a lone fact is stored at once.
#[derive(Debug)]
pub struct CommitLoop {
    sender: SyncSender<Work>,
    shared: Arc<Shared>,
    handover: Arc<Handover>,
    threads: Vec<JoinHandle<()>>,
}

pub(crate) enum Work {
    Facts(Vec<Event>),
    Stop,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    queued: AtomicUsize,
    commits: AtomicU64,
    events: AtomicU64,
    failures: AtomicU64,
    last_commit_us: AtomicU64,
    longest_commit_us: AtomicU64,
    folds: AtomicU64,
    /// Whether the journal fails or is nearly full.
    journal_failing: AtomicBool,
    /// Whether the database fails.
    database_failing: AtomicBool,
    /// The last frame of the journal that is in the database.
    folded: AtomicU64,
}

impl CommitLoop {
    /// Starts the loop. `clock` reads both clocks; `tell` hears what became of each shard's facts. A store has one loop
    /// at a time.
    pub fn start(
        store: &Store,
        clock: impl Fn() -> Clock + Send + 'static,
        tell: impl FnMut(Outcome) + Send + 'static,
    ) -> Result<CommitLoop, StoreError> {
        let connection = store.open_connection(Purpose::Fold)?;
        let journal = store.take_journal()?;
        let (shared, handover) = (Arc::new(Shared::default()), Arc::new(Handover::default()));
        let (sender, receiver) = sync_channel(limit::QUEUED_BATCHES);
        let mut worker = Worker::new(journal, Arc::clone(&handover), Arc::clone(&shared), clock, tell);
        let mut folder = Folder::new(connection, Arc::clone(&handover), Arc::clone(&shared));
        let mut commits = CommitLoop { sender, shared, handover, threads: Vec::new() };
        commits.spawn("commit", move || worker.run(&receiver)).map_err(|error| store.failed(&error.to_string()))?;
        commits.spawn("fold", move || folder.run()).map_err(|error| store.failed(&error.to_string()))?;
        store.follow(&commits.handover);
        Ok(commits)
    }

    /// Hands events over, in the order of their sequence. Never waits.
    pub fn append(&self, events: Vec<Event>) -> Result<(), QueueFull> {
        let count = events.len();
        if count == 0 {
            return Ok(());
        }
        if self.shared.queued.fetch_add(count, Ordering::Relaxed) + count > limit::QUEUED_EVENTS {
            self.shared.queued.fetch_sub(count, Ordering::Relaxed);
            return Err(QueueFull(events));
        }
        match self.sender.try_send(Work::Facts(events)) {
            Err(TrySendError::Full(Work::Facts(events)) | TrySendError::Disconnected(Work::Facts(events))) => {
                self.shared.queued.fetch_sub(count, Ordering::Relaxed);
                Err(QueueFull(events))
            }
            Ok(()) => {
                self.handover.expect(count);
                Ok(())
            }
            Err(TrySendError::Full(Work::Stop) | TrySendError::Disconnected(Work::Stop)) => Ok(()),
        }
    }

    /// Counts since the start.
    pub fn stats(&self) -> CommitStats {
        let shared = &self.shared;
        CommitStats {
            queued: shared.queued.load(Ordering::Relaxed),
            commits: shared.commits.load(Ordering::Relaxed),
            events: shared.events.load(Ordering::Relaxed),
            failures: shared.failures.load(Ordering::Relaxed),
            failing: shared.is_failing(),
            last_commit_us: shared.last_commit_us.load(Ordering::Relaxed),
            longest_commit_us: shared.longest_commit_us.load(Ordering::Relaxed),
            folds: shared.folds.load(Ordering::Relaxed),
        }
    }

    /// Stores what waits and ends the threads.
    pub fn stop(mut self) {
        self.end();
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name.into()).spawn(work)?);
        Ok(())
    }

    fn end(&mut self) {
        if !self.threads.is_empty() {
            // Behind everything that was appended before. It fails only when the thread is gone.
            let _ = self.sender.send(Work::Stop);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
            // The first to end is the commit thread: what it handed over is all.
            self.handover.stop();
        }
    }
}

impl Shared {
    fn is_failing(&self) -> bool {
        self.journal_failing.load(Ordering::Relaxed) || self.database_failing.load(Ordering::Relaxed)
    }
}

impl Drop for CommitLoop {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;
