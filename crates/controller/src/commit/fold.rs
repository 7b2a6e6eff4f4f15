//! The folding thread: brings the database up to the journal, some hundred calls at a time.
//!
//! A record of a call is written when the call has ended. Registrations, subscriptions and calls that are still open stay in the
//! journal alone until their segment of it is wanted again, so one that is refreshed often is written once per round,
//! and a call shorter than a round never touches the table of open calls.

use super::Shared;
use super::handover::{Ask, Handover, Stored};
use crate::calls::{add_to_cdr, insert_cdr};
use crate::limit;
use crate::recovery::{Kept, set_folded};
use crate::store::record;
use books::call_of;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use words::{AccountId, CallId, Event, Fact};

pub(crate) struct Folder {
    connection: Connection,
    handover: Arc<Handover>,
    shared: Arc<Shared>,
    /// Calls that are open, in the order of their beginning.
    open: BTreeMap<CallId, OpenCall>,
    /// Calls that ended and have no record in the table yet.
    ended: Vec<OpenCall>,
    /// Facts of calls that have their record in the table.
    late: Vec<(AccountId, CallId, Vec<u8>)>,
    /// Registrations and subscriptions that changed since the tables were last brought up to them.
    kept: Kept,
    asks: Vec<Ask>,
    /// The last frame that was taken in.
    taken: u64,
    free_to: u64,
}

struct OpenCall {
    call: CallId,
    /// Its facts so far, as records.
    events: Vec<u8>,
    /// The frame that has its beginning.
    first_frame: u64,
    in_table: bool,
    /// Whether it has facts that the table lacks.
    changed: bool,
}

impl Folder {
    pub(crate) fn new(connection: Connection, handover: Arc<Handover>, shared: Arc<Shared>) -> Self {
        Folder {
            connection,
            handover,
            shared,
            open: BTreeMap::new(),
            ended: Vec::new(),
            late: Vec::new(),
            kept: Kept::default(),
            asks: Vec::new(),
            taken: 0,
            free_to: 0,
        }
    }

    pub(crate) fn run(&mut self) {
        loop {
            let failing = self.shared.database_failing.load(Ordering::Relaxed);
            if failing {
                self.handover.gather(limit::RETRY);
            } else {
                self.handover.wait(None);
                self.handover.gather(limit::FOLD);
                self.handover.catch_up();
            }
            let waiting = self.handover.take();
            self.asks.extend(waiting.asks);
            self.free_to = waiting.free_to;
            for stored in waiting.frames {
                self.take(stored);
            }
            self.bring_up();
            self.answer();
            if waiting.stop {
                return;
            }
        }
    }

    fn take(&mut self, stored: Stored) {
        self.taken = stored.frame;
        let mut records = record::split(&stored.bytes);
        for event in stored.events {
            let bytes = records.next().unwrap_or_default();
            match call_of(&event.fact) {
                Some(call) => self.take_call_fact(call, &event, bytes, stored.frame),
                None => self.kept.take(event),
            }
        }
    }

    fn take_call_fact(&mut self, call: CallId, event: &Event, bytes: &[u8], frame: u64) {
        match &event.fact {
            Fact::CallOpened { .. } => {
                // Room for a usual call, so that it is moved once at most.
                let mut events = Vec::with_capacity(CALL_BYTES);
                events.extend_from_slice(bytes);
                self.open.insert(call, OpenCall { call, events, first_frame: frame, in_table: false, changed: true });
            }
            Fact::CallEnded { .. } => {
                if let Some(mut open) = self.open.remove(&call) {
                    open.events.extend_from_slice(bytes);
                    self.ended.push(open);
                }
            }
            Fact::LegMeasured { .. } => {
                // It comes a moment after the end of the call, whose record waits for the next round.
                let ended = self.ended.iter_mut().rev().find(|ended| ended.call == call);
                match self.open.get_mut(&call).or(ended) {
                    Some(open) => {
                        open.events.extend_from_slice(bytes);
                        open.changed = true;
                    }
                    None => self.late.push((event.account, call, bytes.to_vec())),
                }
            }
            Fact::LegOpened { .. }
            | Fact::LegRang { .. }
            | Fact::LegEnded { .. }
            | Fact::CallAnswered { .. }
            | Fact::CallTransferred { .. } => {
                if let Some(open) = self.open.get_mut(&call) {
                    open.events.extend_from_slice(bytes);
                    open.changed = true;
                }
            }
            Fact::Bound { .. } | Fact::Unbound { .. } | Fact::Subscribed { .. } | Fact::Unsubscribed { .. } => {}
        }
    }

    /// One transaction with everything that is due. When the database takes nothing, all of it stays for the next try.
    fn bring_up(&mut self) {
        let frees = self.free_to > self.shared.folded.load(Ordering::Relaxed);
        let was_failing = self.shared.database_failing.load(Ordering::Relaxed);
        // A try that writes nothing says nothing about the disk.
        if self.ended.is_empty() && self.late.is_empty() && !frees && !was_failing {
            return;
        }
        match self.write(frees) {
            Ok(()) => self.written(frees, was_failing),
            Err(error) => {
                // SQLite has rolled back by itself after most errors.
                let _ = self.connection.execute_batch("ROLLBACK");
                if !was_failing {
                    let diagnosis = words::diagnosis::Diagnosis::StoreFailing.id();
                    tracing::error!(%error, diagnosis, "the database takes no records");
                }
                self.shared.failures.fetch_add(1, Ordering::Relaxed);
                self.shared.database_failing.store(true, Ordering::Relaxed);
            }
        }
    }

    fn write(&self, frees: bool) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        {
            let mut delete = connection.prepare_cached("DELETE FROM open_call WHERE call = ?1")?;
            for ended in &self.ended {
                insert_cdr(connection, &ended.events)?;
                if ended.in_table {
                    delete.execute([ended.call.0.to_be_bytes()])?;
                }
            }
        }
        for (account, call, bytes) in &self.late {
            add_to_cdr(connection, *account, *call, bytes)?;
        }
        if frees {
            let mut keep = connection
                .prepare_cached("INSERT OR REPLACE INTO open_call (call, up_to, events) VALUES (?1, ?2, ?3)")?;
            for open in self.open.values().filter(|open| self.must_be_kept(open)) {
                keep.execute(params![open.call.0.to_be_bytes(), self.taken as i64, open.events])?;
            }
            self.kept.write(connection)?;
            set_folded(connection, self.free_to)?;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Whether facts of the call lie in frames that are about to be freed, and nowhere else.
    fn must_be_kept(&self, open: &OpenCall) -> bool {
        open.changed && open.first_frame <= self.free_to
    }

    fn written(&mut self, frees: bool, was_failing: bool) {
        self.shared.folds.fetch_add(1, Ordering::Relaxed);
        self.ended.clear();
        self.late.clear();
        if frees {
            self.kept = Kept::default();
            let free_to = self.free_to;
            for open in self.open.values_mut().filter(|open| open.changed && open.first_frame <= free_to) {
                (open.in_table, open.changed) = (true, false);
            }
            self.shared.folded.store(free_to, Ordering::Release);
        }
        if was_failing {
            tracing::info!("the database takes records again");
            self.shared.database_failing.store(false, Ordering::Relaxed);
        }
    }

    fn answer(&mut self) {
        for Ask { call, answer } in self.asks.drain(..) {
            let events = call.and_then(|call| self.open.get(&call)).map(|open| open.events.clone());
            // Who asked may have gone.
            let _ = answer.try_send(events.unwrap_or_default());
        }
    }
}

/// Units: bytes.
const CALL_BYTES: usize = 384;
