//! What passes from the commit thread to the folding one, and what others ask of that.
//!
//! Limits: frames that wait are frames of the journal, so [`crate::limit::JOURNAL_BYTES`] bounds them.

use crate::limit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use words::{CallId, Event};

/// The place between the two threads.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    waiting: Mutex<Waiting>,
    woken: Condvar,
    /// Facts that were said so far.
    said: AtomicU64,
}

/// What the folding thread has to do.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Frames in the order of their numbers.
    pub(crate) frames: Vec<Stored>,
    /// Frames up to this one are to be in the database soon, so that their segments become free.
    pub(crate) free_to: u64,
    /// Who waits until all frames so far are in the database.
    pub(crate) asks: Vec<Ask>,
    /// Whether this is all.
    pub(crate) stop: bool,
    /// Facts that were handed over so far, or given up.
    handed: u64,
    /// The facts that had been said when somebody asked last.
    asked_at: u64,
}

/// The facts of one frame.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) frame: u64,
    /// The records, as the journal has them.
    pub(crate) bytes: Vec<u8>,
    /// The same facts, in the same order.
    pub(crate) events: Vec<Event>,
}

/// A question to the folding thread, answered behind everything that was handed over before it.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The open call whose records are wanted too.
    pub(crate) call: Option<CallId>,
    /// Takes its records; none when no such call is open.
    pub(crate) answer: SyncSender<Vec<u8>>,
}

impl Handover {
    /// Hands a frame over.
    pub(crate) fn push(&self, stored: Stored, free_to: u64) {
        let mut waiting = self.lock();
        // One that has frames is awake, or will look before it sleeps.
        let asleep = waiting.frames.is_empty() || !waiting.asks.is_empty();
        waiting.handed += stored.events.len() as u64;
        waiting.frames.push(stored);
        waiting.free_to = free_to;
        drop(waiting);
        if asleep {
            self.woken.notify_one();
        }
    }

    /// Asks for the database to be brought up to now; the answer comes when it is.
    pub(crate) fn ask(&self, call: Option<CallId>) -> Receiver<Vec<u8>> {
        let (answer, answered) = sync_channel(1);
        let mut waiting = self.lock();
        if waiting.asks.len() < ASKS && !waiting.stop {
            waiting.asks.push(Ask { call, answer });
            waiting.asked_at = self.said.load(Ordering::Acquire);
        }
        drop(waiting);
        self.woken.notify_one();
        answered
    }

    /// So many facts were said; they will be handed over or given up.
    pub(crate) fn expect(&self, facts: usize) {
        self.said.fetch_add(facts as u64, Ordering::AcqRel);
    }

    /// So many facts will not be handed over.
    pub(crate) fn give_up(&self, facts: usize) {
        self.lock().handed += facts as u64;
    }

    /// Lets what was said before somebody asked come in, for a moment: it may still wait for its sync.
    pub(crate) fn catch_up(&self) {
        let behind = |waiting: &mut Waiting| !waiting.stop && waiting.handed < waiting.asked_at;
        drop(self.woken.wait_timeout_while(self.lock(), CATCH_UP, behind));
    }

    /// Nothing more will be handed over.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.woken.notify_one();
    }

    /// Sleeps until there is something to do, at most for `rest`; for good when it is `None`.
    pub(crate) fn wait(&self, rest: Option<Duration>) {
        let waiting = self.lock();
        match rest {
            Some(rest) => drop(self.woken.wait_timeout_while(waiting, rest, |waiting| waiting.is_idle())),
            None => drop(self.woken.wait_while(waiting, |waiting| waiting.is_idle())),
        }
    }

    /// Lets frames come together for `rest`, unless somebody asks.
    pub(crate) fn gather(&self, rest: Duration) {
        let patient = |waiting: &mut Waiting| waiting.asks.is_empty() && !waiting.stop;
        drop(self.woken.wait_timeout_while(self.lock(), rest, patient));
    }

    /// Takes what there is to do.
    pub(crate) fn take(&self) -> Waiting {
        let mut waiting = self.lock();
        let Waiting { free_to, stop, handed, asked_at, .. } = *waiting;
        std::mem::replace(&mut *waiting, Waiting { free_to, stop, handed, asked_at, ..Waiting::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nobody panics while holding it half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_idle(&self) -> bool {
        self.frames.is_empty() && self.asks.is_empty() && !self.stop
    }
}

/// A few syncs: longer only when the journal fails, and then the question is answered with what there is.
const CATCH_UP: Duration = Duration::from_millis(4 * limit::GATHER_SYNCED.as_millis() as u64);
/// Questions that wait at a time; more are answered with what the database has.
const ASKS: usize = 1_000;
