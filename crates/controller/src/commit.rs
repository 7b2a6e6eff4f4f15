//! Many facts, one commit: a thread of its own that gathers facts, stores them and says so.

mod checkpoint;
mod fold;
mod pending;
mod worker;

use crate::error::StoreError;
use crate::limit;
use crate::store::{Purpose, Store};
use checkpoint::Checkpointer;
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
    /// The store takes nothing. Registrations up to this one are not stored and will not be. Facts of calls are kept and
    /// stored later.
    Failed {
        /// Whose facts.
        shard: ShardId,
        /// The last of them.
        up_to: Seq,
        /// Whether the facts of calls lie in the reserve, so that they outlive the process all the same.
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
    /// Commits that failed.
    pub failures: u64,
    /// Whether the last commit failed.
    pub failing: bool,
    /// How long the last commit took. Units: microseconds.
    pub last_commit_us: u64,
    /// How long the longest took. Units: microseconds.
    pub longest_commit_us: u64,
    /// Pages in the write-ahead log at the last checkpoint.
    pub wal_pages: u64,
}

/// The running loop. Dropping it stores what waits and ends the thread.
///
/// It sleeps while nothing happens. Under load it commits at most once in [`limit::GATHER`]; a lone fact is stored at
/// once.
#[derive(Debug)]
pub struct CommitLoop {
    sender: SyncSender<Work>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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
    failing: AtomicBool,
    last_commit_us: AtomicU64,
    longest_commit_us: AtomicU64,
    wal_pages: AtomicU64,
}

impl CommitLoop {
    /// Starts the loop. `clock` reads both clocks; `tell` hears what became of each shard's facts.
    pub fn start(
        store: &Store,
        clock: impl Fn() -> Clock + Send + 'static,
        tell: impl FnMut(Outcome) + Send + 'static,
    ) -> Result<CommitLoop, StoreError> {
        let shared = Arc::new(Shared::default());
        let checkpointer = Checkpointer::start(store.open_connection(Purpose::Checkpoint)?, Arc::clone(&shared));
        let (sender, receiver) = sync_channel(limit::QUEUED_BATCHES);
        let connection = store.open_connection(Purpose::Commit)?;
        let reserve = store.open_reserve()?;
        let mut worker = Worker::new(connection, reserve, checkpointer, Arc::clone(&shared), clock, tell);
        let thread = std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || worker.run(&receiver))
            .map_err(|error| store.failed(&error.to_string()))?;
        Ok(CommitLoop { sender, shared, thread: Some(thread) })
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
            Ok(()) | Err(TrySendError::Full(Work::Stop) | TrySendError::Disconnected(Work::Stop)) => Ok(()),
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
            failing: shared.failing.load(Ordering::Relaxed),
            last_commit_us: shared.last_commit_us.load(Ordering::Relaxed),
            longest_commit_us: shared.longest_commit_us.load(Ordering::Relaxed),
            wal_pages: shared.wal_pages.load(Ordering::Relaxed),
        }
    }

    /// Stores what waits and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Behind everything that was appended before. It fails only when the thread is gone.
        let _ = self.sender.send(Work::Stop);
        if thread.join().is_err() {
            tracing::error!("the commit loop panicked");
        }
    }
}

impl Drop for CommitLoop {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
