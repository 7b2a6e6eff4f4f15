//! Copies the write-ahead log back to the database, beside the commit loop.
//!
//! Copying and syncing takes as long as the disk likes, so a thread of its own does it while commits go on. Commits that
//! went on leave a rest, and the log starts anew only without one: past [`crate::limit::WAL_PAGES`] the commit loop
//! copies that rest itself, right after the thread is done, when it is small.

use super::Shared;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

#[derive(Debug)]
pub(crate) struct Checkpointer {
    sender: Option<SyncSender<()>>,
    finished: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(crate) fn start(connection: Connection, shared: Arc<Shared>) -> Checkpointer {
        let (sender, receiver) = sync_channel::<()>(1);
        let finished = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&finished);
        let work = move || {
            while receiver.recv().is_ok() {
                shared.wal_pages.store(u64::from(copy(&connection)), Ordering::Relaxed);
                done.store(true, Ordering::Release);
            }
        };
        let thread = std::thread::Builder::new().name("checkpoint".into()).spawn(work).ok();
        Checkpointer { sender: Some(sender), finished, thread }
    }

    /// Asks for a copy. One that is under way counts.
    pub(crate) fn ask(&self) {
        if let Some(sender) = &self.sender {
            // Full: it is asked for already.
            let _ = sender.try_send(());
        }
    }

    /// Whether a copy was finished since the last time that this was asked.
    pub(crate) fn take_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire) && self.finished.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

/// Copies what can be copied without waiting for anybody, and says how many pages the log has.
pub(crate) fn copy(connection: &Connection) -> u32 {
    let copied = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(1)));
    match copied {
        Ok(pages) => u32::try_from(pages).unwrap_or(0),
        Err(error) => {
            // The log keeps everything and grows; the next copy tries again.
            tracing::warn!(%error, "the write-ahead log cannot be copied to the database");
            0
        }
    }
}
