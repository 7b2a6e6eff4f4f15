//! The start after a crash: what the journal and the reserve hold is folded, calls that were cut off are closed.

use crate::calls::{self, insert_cdr};
use crate::error::AdminError;
use crate::store::Store;
use crate::store::record;
use crate::store::reserve::Reserve;
use books::{Moment, call_of};
use rusqlite::{Connection, TransactionBehavior, params};
use std::collections::BTreeMap;
use words::{AccountId, CallId, EndCause, Event, Fact, Seq, ShardId, StoredBinding, Time, UserId, Wall};

/// What the last process left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The calls that were closed as interrupted, with their accounts.
    pub interrupted: Vec<(AccountId, CallId)>,
    /// Events that were in the reserve only.
    pub from_reserve: usize,
}

/// A registration that outlived the process.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveBinding {
    /// Whose account.
    pub account: AccountId,
    /// Whose.
    pub user: UserId,
    /// The binding.
    pub binding: StoredBinding,
}

impl Store {
    /// The registrations that are still good at `now`: of users who may register and were not revoked since.
    pub fn live_bindings(&self, now: Wall) -> Result<Vec<LiveBinding>, AdminError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT binding.account, binding.user, binding.body FROM binding JOIN user
             ON user.id = binding.user AND user.account = binding.account
             WHERE binding.expires > ?1 AND user.enabled AND binding.bound >= user.revoked
             ORDER BY binding.user, binding.key",
        )?;
        let rows = statement.query_map([now.0], |row| {
            let binding = crate::account::from_json(row, 2)?;
            Ok(LiveBinding { account: AccountId(row.get(0)?), user: UserId(row.get(1)?), binding })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Brings the tables up to the journal and the reserve, in one transaction, and empties both.
pub(crate) fn recover(connection: &mut Connection, mut reserve: Reserve) -> rusqlite::Result<Recovered> {
    let kept = reserve.contents().unwrap_or_else(|error| {
        tracing::error!(%error, "the reserve cannot be read");
        Vec::new()
    });
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut fold = Fold::default();
    fold.read_open_calls(&transaction)?;
    fold.read_journal(&transaction)?;
    let from_reserve = fold.read_reserve(&kept);
    let interrupted = fold.close_calls(&transaction)?;
    fold.write_bindings(&transaction)?;
    transaction.execute_batch("DELETE FROM open_call; DELETE FROM journal")?;
    transaction.commit()?;
    if let Err(error) = reserve.clear() {
        // Read again at the next start, its events meet the records that they became, and change nothing.
        tracing::error!(%error, "the reserve cannot be cleared");
    }
    Ok(Recovered { interrupted, from_reserve })
}

#[derive(Default)]
struct Fold {
    open: BTreeMap<CallId, Open>,
    /// Calls whose end stands in the reserve only: they have no record yet.
    ended: Vec<Vec<u8>>,
    bindings: BTreeMap<(UserId, String), Option<(Event, StoredBinding)>>,
    /// The last event of each shard in the journal: the reserve may repeat what the journal has.
    journal_seq: BTreeMap<ShardId, Seq>,
    /// The last time that the process is known to have lived.
    alive: Option<Moment>,
    scratch: Vec<u8>,
}

struct Open {
    events: Vec<u8>,
    /// The last row of the journal that is in `events` already.
    up_to: i64,
}

impl Fold {
    fn read_open_calls(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT call, up_to, events FROM open_call")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let call = calls::call_id(row.get_ref(0)?.as_blob()?);
            self.open.insert(call, Open { up_to: row.get(1)?, events: row.get(2)? });
        }
        Ok(())
    }

    fn read_journal(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT id, at, wall, calls, registrations FROM journal ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let at = Time::from_nanos(row.get::<_, i64>(1)? as u64);
            self.lived(Moment { at, wall: Wall(row.get(2)?) });
            for event in record::read(row.get_ref(3)?.as_blob_or_null()?.unwrap_or_default()) {
                self.journal_seq.insert(event.shard, event.seq);
                // The record of a call that ended is in the same commit, so only the open ones are of interest.
                self.take_call_event(&event, Some(id));
            }
            for event in record::read(row.get_ref(4)?.as_blob_or_null()?.unwrap_or_default()) {
                self.take_registration(event);
            }
        }
        Ok(())
    }

    fn read_reserve(&mut self, kept: &[u8]) -> usize {
        let mut count = 0;
        for event in record::read(kept) {
            if self.journal_seq.get(&event.shard).is_some_and(|last| event.seq <= *last) {
                continue;
            }
            count += 1;
            self.take_call_event(&event, None);
        }
        count
    }

    fn take_call_event(&mut self, event: &Event, row: Option<i64>) {
        self.lived(Moment::of(event));
        let Some(call) = call_of(&event.fact) else { return };
        if matches!(event.fact, Fact::CallOpened { .. }) {
            let open = self.open.entry(call).or_insert(Open { events: Vec::new(), up_to: 0 });
            if open.events.is_empty() {
                record::write(event, &mut self.scratch, &mut open.events);
            }
            return;
        }
        let Some(open) = self.open.get_mut(&call) else { return };
        if row.is_none_or(|row| row > open.up_to) {
            record::write(event, &mut self.scratch, &mut open.events);
        }
        if matches!(event.fact, Fact::CallEnded { .. }) {
            let ended = self.open.remove(&call).map(|open| open.events);
            if row.is_none() {
                self.ended.extend(ended);
            }
        }
    }

    fn take_registration(&mut self, event: Event) {
        self.lived(Moment::of(&event));
        match &event.fact {
            Fact::Bound { user, binding } => {
                let (key, binding) = ((*user, binding.key.clone()), binding.clone());
                self.bindings.insert(key, Some((event, binding)));
            }
            Fact::Unbound { user, key } => {
                self.bindings.insert((*user, key.clone()), None);
            }
            Fact::CallOpened { .. }
            | Fact::LegOpened { .. }
            | Fact::LegRang { .. }
            | Fact::LegEnded { .. }
            | Fact::CallAnswered { .. }
            | Fact::CallEnded { .. } => {}
        }
    }

    fn lived(&mut self, moment: Moment) {
        if self.alive.is_none_or(|alive| alive.at < moment.at) {
            self.alive = Some(moment);
        }
    }

    /// Writes the records of calls that ended in the reserve, and of those that never ended.
    fn close_calls(&mut self, connection: &Connection) -> rusqlite::Result<Vec<(AccountId, CallId)>> {
        for events in std::mem::take(&mut self.ended) {
            insert_cdr(connection, &events)?;
        }
        let mut interrupted = Vec::new();
        for (call, mut open) in std::mem::take(&mut self.open) {
            let Some(last) = record::read(&open.events).last() else { continue };
            let alive = self.alive.filter(|alive| alive.at > last.at).unwrap_or(Moment::of(&last));
            let fact = Fact::CallEnded { call, cause: EndCause::Interrupted, by: None };
            let (seq, at, wall) = (Seq(last.seq.0 + 1), alive.at, alive.wall);
            let end = Event { shard: last.shard, seq, account: last.account, at, wall, fact };
            record::write(&end, &mut self.scratch, &mut open.events);
            if insert_cdr(connection, &open.events)? {
                interrupted.push((last.account, call));
            }
        }
        Ok(interrupted)
    }

    fn write_bindings(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for ((user, key), bound) in std::mem::take(&mut self.bindings) {
            match bound {
                Some((event, binding)) => upsert_binding(
                    connection,
                    &BindingRow {
                        user,
                        key: &key,
                        account: event.account,
                        bound: event.wall,
                        expires: binding.expires,
                        body: &record::binding_json(&binding),
                    },
                )?,
                None => delete_binding(connection, user, &key)?,
            }
        }
        Ok(())
    }
}

/// A row of the table of registrations.
pub(crate) struct BindingRow<'a> {
    pub(crate) user: UserId,
    pub(crate) key: &'a str,
    pub(crate) account: AccountId,
    /// When it was bound or refreshed.
    pub(crate) bound: Wall,
    pub(crate) expires: Wall,
    /// The [`StoredBinding`] as JSON.
    pub(crate) body: &'a str,
}

pub(crate) fn upsert_binding(connection: &Connection, row: &BindingRow<'_>) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO binding (user, key, account, bound, expires, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (user, key) DO UPDATE SET account = excluded.account, bound = excluded.bound,
             expires = excluded.expires, body = excluded.body",
        )?
        .execute(params![row.user.0, row.key, row.account.0, row.bound.0, row.expires.0, row.body])?;
    Ok(())
}

pub(crate) fn delete_binding(connection: &Connection, user: UserId, key: &str) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM binding WHERE user = ?1 AND key = ?2")?.execute(params![user.0, key])?;
    Ok(())
}
