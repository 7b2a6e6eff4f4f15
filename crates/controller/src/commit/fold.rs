//! Moves what the journal says to the tables, a few rows with each commit, and then drops those rows of the journal.
//!
//! A turn begins every [`limit::FOLD_EVERY`]. It writes the registrations that changed, and those open calls whose
//! beginning lies in rows that are to be dropped: the rows up to where the turn before began. So a call shorter than a
//! turn never touches the table of open calls, and a registration that is refreshed often is written once per turn.

use super::pending::{Bound, Pending};
use crate::limit;
use crate::recovery::{BindingRow, delete_binding, upsert_binding};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, VecDeque};
use words::{CallId, Time, UserId};

type Bindings = BTreeMap<(UserId, String), Option<Bound>>;

pub(crate) struct Fold {
    /// Registrations that changed since the last turn began.
    changed: Bindings,
    /// Those that this turn still has to write.
    bindings: Bindings,
    /// Open calls that this turn still has to write.
    calls: VecDeque<CallId>,
    /// Rows of the journal up to this one go when the turn is done.
    drop_to: i64,
    /// Rows up to this one are gone.
    dropped_to: i64,
    /// The last row when this turn began.
    began_at_row: i64,
    /// The last row that has facts: heartbeats alone need no turn.
    last_facts: i64,
    next_turn: Time,
}

/// How far one step went; told back once its transaction is committed.
#[derive(Default)]
pub(crate) struct Step {
    bindings: usize,
    calls: usize,
    dropped_to: Option<i64>,
    /// The calls that the table has from here on.
    pub(crate) in_table: Vec<CallId>,
}

impl Fold {
    pub(crate) fn new() -> Fold {
        Fold {
            changed: BTreeMap::new(),
            bindings: BTreeMap::new(),
            calls: VecDeque::new(),
            drop_to: 0,
            dropped_to: 0,
            began_at_row: 0,
            last_facts: 0,
            next_turn: Time::ZERO,
        }
    }

    /// A row of the journal with facts was stored, and registrations in it that lead to these.
    pub(crate) fn stored(&mut self, row: i64, bindings: impl Iterator<Item = ((UserId, String), Option<Bound>)>) {
        self.last_facts = row;
        self.changed.extend(bindings);
    }

    /// Begins a turn when it is time; `last_row` is the last row of the journal.
    pub(crate) fn begin(&mut self, pending: &Pending, last_row: i64, now: Time) {
        let due = now >= self.next_turn || self.changed.len() >= CHANGED;
        if !due || self.is_busy() || !self.is_wanted() {
            return;
        }
        self.next_turn = now + limit::FOLD_EVERY;
        self.drop_to = self.began_at_row;
        self.began_at_row = last_row;
        self.bindings = std::mem::take(&mut self.changed);
        let old = pending.open.values().filter(|open| open.changed && open.first_row <= self.drop_to);
        self.calls = old.map(|open| open.call).collect();
    }

    /// Whether the journal has facts that no turn has dropped or is about to drop.
    fn is_wanted(&self) -> bool {
        self.drop_to < self.last_facts
    }

    /// Whether a turn is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.bindings.is_empty() || !self.calls.is_empty() || self.dropped_to < self.drop_to
    }

    /// When a turn should begin though nothing else happens; `None` when nothing waits for one.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.is_wanted().then_some(self.next_turn)
    }

    /// Writes a few rows within the transaction that `connection` is in. `row` is the row of the journal that this
    /// commit writes, or the last one.
    pub(crate) fn step(&self, connection: &Connection, pending: &Pending, row: i64) -> rusqlite::Result<Step> {
        let mut step = Step::default();
        for ((user, key), bound) in self.bindings.iter().take(limit::FOLD_ROWS) {
            step.bindings += 1;
            match bound {
                Some(Bound { account, since, expires, body }) => {
                    let (user, account, bound, expires) = (*user, *account, *since, *expires);
                    upsert_binding(connection, &BindingRow { user, key, account, bound, expires, body })?;
                }
                None => delete_binding(connection, *user, key)?,
            }
        }
        for call in self.calls.iter().take(limit::FOLD_ROWS - step.bindings) {
            step.calls += 1;
            // It may have ended since.
            let Some(open) = pending.open.get(call) else { continue };
            connection
                .prepare_cached("INSERT OR REPLACE INTO open_call (call, up_to, events) VALUES (?1, ?2, ?3)")?
                .execute(params![call.0.to_be_bytes(), row, open.events])?;
            step.in_table.push(*call);
        }
        let all_written = step.bindings == self.bindings.len() && step.calls == self.calls.len();
        if all_written && self.dropped_to < self.drop_to {
            let to = self.drop_to.min(self.dropped_to + limit::FOLD_ROWS as i64);
            connection.prepare_cached("DELETE FROM journal WHERE id <= ?1")?.execute([to])?;
            step.dropped_to = Some(to);
        }
        Ok(step)
    }

    /// The step is on disk.
    pub(crate) fn done(&mut self, step: &Step) {
        if step.bindings == self.bindings.len() {
            self.bindings.clear();
        } else {
            for _ in 0..step.bindings {
                self.bindings.pop_first();
            }
        }
        self.calls.drain(..step.calls);
        self.dropped_to = step.dropped_to.unwrap_or(self.dropped_to);
    }
}

/// Changed registrations at which a turn begins early, so that a storm of them stays small in memory.
const CHANGED: usize = 16_384;
