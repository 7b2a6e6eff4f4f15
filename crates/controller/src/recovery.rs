//! The start after a crash: what the journal holds is folded into the database, calls that were cut off are closed.

use crate::calls::{add_to_cdr, call_id, insert_cdr};
use crate::error::AdminError;
use crate::store::journal::Frame;
use crate::store::{Store, record};
use books::{Moment, call_of};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;
use std::collections::BTreeMap;
use words::{AccountId, CallId, EndCause, Event, Fact, Seq, ShardId, StoredBinding, StoredSubscription, UserId, Wall};

/// What the last process left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The calls that were closed as interrupted, with their accounts.
    pub interrupted: Vec<(AccountId, CallId)>,
    /// Frames of the journal that were not in the database yet.
    pub frames: usize,
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
    /// The registrations that the last process left and that are still good at `now`: of users who may register and were
    /// not revoked since.
    pub fn live_bindings(&self, now: Wall) -> Result<Vec<LiveBinding>, AdminError> {
        // What ended while nobody was there to say so. A day of grace, as a wall clock may be wrong at the start.
        self.connection.execute("DELETE FROM binding WHERE expires < ?1", [now.0.saturating_sub(DAY_MS)])?;
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

    /// The subscriptions that the last process left and that are still good at `now`, by the same rules.
    pub fn live_subscriptions(&self, now: Wall) -> Result<Vec<LiveSubscription>, AdminError> {
        self.connection.execute("DELETE FROM subscription WHERE expires < ?1", [now.0.saturating_sub(DAY_MS)])?;
        let mut statement = self.connection.prepare_cached(
            "SELECT subscription.account, subscription.user, subscription.body FROM subscription JOIN user
             ON user.id = subscription.user AND user.account = subscription.account
             WHERE subscription.expires > ?1 AND user.enabled AND subscription.since >= user.revoked
             ORDER BY subscription.user, subscription.key",
        )?;
        let rows = statement.query_map([now.0], |row| {
            let subscription = crate::account::from_json(row, 2)?;
            Ok(LiveSubscription { account: AccountId(row.get(0)?), user: UserId(row.get(1)?), subscription })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A subscription that outlived the process.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveSubscription {
    /// Whose account.
    pub account: AccountId,
    /// Who watches.
    pub user: UserId,
    /// The subscription.
    pub subscription: StoredSubscription,
}

/// Brings the tables up to the journal, in one transaction. Returns the last frame that is in them.
pub(crate) fn recover(connection: &mut Connection, frames: Vec<Frame>) -> rusqlite::Result<(Recovered, u64)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let folded = folded(&transaction)?;
    let last = frames.last().map_or(folded, |frame| frame.number.max(folded));
    let mut fold = Fold::default();
    fold.read_open_calls(&transaction)?;
    for frame in frames {
        fold.take(&transaction, &frame, folded)?;
    }
    let interrupted = fold.close_calls(&transaction)?;
    fold.kept.write(&transaction)?;
    transaction.execute_batch(
        "DELETE FROM open_call; DELETE FROM binding WHERE user NOT IN (SELECT id FROM user);
         DELETE FROM subscription WHERE user NOT IN (SELECT id FROM user)",
    )?;
    set_folded(&transaction, last)?;
    transaction.commit()?;
    Ok((Recovered { interrupted, frames: fold.frames }, last))
}

/// The last frame of the journal that is in the tables.
fn folded(connection: &Connection) -> rusqlite::Result<u64> {
    let row = connection.query_row("SELECT value FROM meta WHERE key = 'folded'", [], |row| row.get::<_, i64>(0));
    Ok(row.optional()?.unwrap_or(0) as u64)
}

/// Says so within the transaction that brought them there.
pub(crate) fn set_folded(connection: &Connection, frame: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('folded', ?1)")?
        .execute([frame as i64])?;
    Ok(())
}

/// Registrations and subscriptions that changed, by user and key; `None` is one that ended.
#[derive(Default)]
pub(crate) struct Kept {
    bindings: BTreeMap<(UserId, String), Option<Row<StoredBinding>>>,
    subscriptions: BTreeMap<(UserId, String), Option<Row<StoredSubscription>>>,
}

/// Something as its row has it.
struct Row<T> {
    account: AccountId,
    /// When it was made or refreshed.
    since: Wall,
    what: T,
}

impl Kept {
    /// Takes a fact about a registration or a subscription in; others change nothing.
    pub(crate) fn take(&mut self, event: Event) {
        let (account, since) = (event.account, event.wall);
        match event.fact {
            Fact::Bound { user, binding } => {
                self.bindings.insert((user, binding.key.clone()), Some(Row { account, since, what: binding }));
            }
            Fact::Unbound { user, key } => {
                self.bindings.insert((user, key), None);
            }
            Fact::Subscribed { user, subscription } => {
                let key = (user, subscription.key.clone());
                self.subscriptions.insert(key, Some(Row { account, since, what: *subscription }));
            }
            Fact::Unsubscribed { user, key } => {
                self.subscriptions.insert((user, key), None);
            }
            Fact::CallOpened { .. }
            | Fact::LegOpened { .. }
            | Fact::LegRang { .. }
            | Fact::LegEnded { .. }
            | Fact::CallAnswered { .. }
            | Fact::CallTransferred { .. }
            | Fact::LegMeasured { .. }
            | Fact::CallEnded { .. } => {}
        }
    }

    /// Brings the tables up to them.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let bindings = self.bindings.iter().map(|(key, one)| (key, one.as_ref().map(|one| (one, one.what.expires))));
        write_rows(connection, "binding", "bound", bindings)?;
        let subscriptions =
            self.subscriptions.iter().map(|(key, one)| (key, one.as_ref().map(|one| (one, one.what.expires))));
        write_rows(connection, "subscription", "since", subscriptions)
    }
}

/// Brings one table up to what changed: each row with the wall time when it ends, or gone.
fn write_rows<'a, T: Serialize + 'a>(
    connection: &Connection,
    table: &str,
    since_column: &str,
    rows: impl Iterator<Item = (&'a (UserId, String), Option<(&'a Row<T>, Wall)>)>,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(&format!(
        "INSERT INTO {table} (user, key, account, {since_column}, expires, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (user, key) DO UPDATE SET account = excluded.account, {since_column} = excluded.{since_column},
         expires = excluded.expires, body = excluded.body",
    ))?;
    let mut delete = connection.prepare_cached(&format!("DELETE FROM {table} WHERE user = ?1 AND key = ?2"))?;
    for ((user, key), one) in rows {
        match one {
            Some((Row { account, since, what }, expires)) => {
                let body = crate::account::to_json(what);
                upsert.execute(params![user.0, key, account.0, since.0, expires.0, body])?
            }
            None => delete.execute(params![user.0, key])?,
        };
    }
    Ok(())
}

#[derive(Default)]
struct Fold {
    open: BTreeMap<CallId, Open>,
    kept: Kept,
    seen: BTreeMap<ShardId, Seq>,
    /// The last time that the process is known to have lived.
    alive: Option<Moment>,
    frames: usize,
}

struct Open {
    events: Vec<u8>,
    /// The last frame that is in `events`.
    up_to: u64,
}

impl Fold {
    fn read_open_calls(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT call, up_to, events FROM open_call")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let call = call_id(row.get_ref(0)?.as_blob()?);
            self.open.insert(call, Open { up_to: row.get::<_, i64>(1)? as u64, events: row.get(2)? });
        }
        Ok(())
    }

    fn take(&mut self, connection: &Connection, frame: &Frame, folded: u64) -> rusqlite::Result<()> {
        // Frames of a life before the last one are folded, and their clock is another.
        if frame.number <= folded {
            return Ok(());
        }
        self.frames += 1;
        self.lived(Moment { at: frame.clock.mono, wall: frame.clock.wall });
        for bytes in record::split(&frame.bytes) {
            let Some(event) = record::parse(bytes) else { continue };
            // A frame that was written twice, because the disk failed in between, counts once.
            if self.seen.insert(event.shard, event.seq).is_some_and(|seen| seen >= event.seq) {
                continue;
            }
            self.lived(Moment::of(&event));
            match call_of(&event.fact) {
                Some(call) => self.take_call_fact(connection, call, &event, bytes, frame.number)?,
                None => self.kept.take(event),
            }
        }
        Ok(())
    }

    fn take_call_fact(
        &mut self,
        connection: &Connection,
        call: CallId,
        event: &Event,
        bytes: &[u8],
        frame: u64,
    ) -> rusqlite::Result<()> {
        if matches!(event.fact, Fact::CallOpened { .. }) {
            self.open.entry(call).or_insert(Open { events: Vec::new(), up_to: 0 });
        }
        let Some(open) = self.open.get_mut(&call) else {
            // Its media were measured after its end, which has its record.
            if matches!(event.fact, Fact::LegMeasured { .. }) {
                add_to_cdr(connection, event.account, call, bytes)?;
            }
            return Ok(());
        };
        if frame > open.up_to {
            open.events.extend_from_slice(bytes);
        }
        if matches!(event.fact, Fact::CallEnded { .. })
            && let Some(open) = self.open.remove(&call)
        {
            // Its record may be in the table already; then this changes nothing.
            insert_cdr(connection, &open.events)?;
        }
        Ok(())
    }

    fn lived(&mut self, moment: Moment) {
        if self.alive.is_none_or(|alive| alive.at < moment.at) {
            self.alive = Some(moment);
        }
    }

    /// Writes the records of calls that never ended.
    fn close_calls(&mut self, connection: &Connection) -> rusqlite::Result<Vec<(AccountId, CallId)>> {
        let (mut interrupted, mut scratch) = (Vec::new(), Vec::new());
        for (call, mut open) in std::mem::take(&mut self.open) {
            let Some(last) = record::read(&open.events).last() else { continue };
            let alive = self.alive.filter(|alive| alive.at > last.at).unwrap_or(Moment::of(&last));
            let fact = Fact::CallEnded { call, cause: EndCause::Interrupted, by: None };
            let (seq, at, wall) = (Seq(last.seq.0 + 1), alive.at, alive.wall);
            let end = Event { shard: last.shard, seq, account: last.account, at, wall, fact };
            record::write(&end, &mut scratch, &mut open.events);
            if insert_cdr(connection, &open.events)? {
                interrupted.push((last.account, call));
            }
        }
        Ok(interrupted)
    }
}

/// Units: milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
