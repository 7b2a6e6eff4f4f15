//! The start after a crash: what the journal holds is folded into the database, calls that were cut off are closed.

use crate::calls::{call_id, insert_cdr};
use crate::error::AdminError;
use crate::store::journal::Frame;
use crate::store::{Store, record};
use books::{Moment, call_of};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::collections::BTreeMap;
use words::{AccountId, CallId, EndCause, Event, Fact, Seq, ShardId, StoredBinding, UserId, Wall};

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
    write_bindings(&transaction, fold.bindings.iter())?;
    transaction.execute_batch("DELETE FROM open_call; DELETE FROM binding WHERE user NOT IN (SELECT id FROM user)")?;
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

/// Registrations by user and key; `None` is one that ended.
pub(crate) type Bindings = BTreeMap<(UserId, String), Option<Bound>>;

/// A registration as its row has it.
pub(crate) struct Bound {
    pub(crate) account: AccountId,
    /// When it was bound or refreshed.
    pub(crate) since: Wall,
    pub(crate) binding: StoredBinding,
}

/// Takes a fact about a registration in; others change nothing.
pub(crate) fn take_registration(bindings: &mut Bindings, event: Event) {
    match event.fact {
        Fact::Bound { user, binding } => {
            let bound = Bound { account: event.account, since: event.wall, binding };
            bindings.insert((user, bound.binding.key.clone()), Some(bound));
        }
        Fact::Unbound { user, key } => {
            bindings.insert((user, key), None);
        }
        Fact::CallOpened { .. }
        | Fact::LegOpened { .. }
        | Fact::LegRang { .. }
        | Fact::LegEnded { .. }
        | Fact::CallAnswered { .. }
        | Fact::CallTransferred { .. }
        | Fact::CallEnded { .. } => {}
    }
}

/// Brings the table of registrations up to `bindings`.
pub(crate) fn write_bindings<'a>(
    connection: &Connection,
    bindings: impl Iterator<Item = (&'a (UserId, String), &'a Option<Bound>)>,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO binding (user, key, account, bound, expires, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (user, key) DO UPDATE SET account = excluded.account, bound = excluded.bound,
         expires = excluded.expires, body = excluded.body",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM binding WHERE user = ?1 AND key = ?2")?;
    for ((user, key), bound) in bindings {
        match bound {
            Some(Bound { account, since, binding }) => {
                let body = crate::account::to_json(binding);
                upsert.execute(params![user.0, key, account.0, since.0, binding.expires.0, body])?
            }
            None => delete.execute(params![user.0, key])?,
        };
    }
    Ok(())
}

#[derive(Default)]
struct Fold {
    open: BTreeMap<CallId, Open>,
    bindings: Bindings,
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
                None => take_registration(&mut self.bindings, event),
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
        let Some(open) = self.open.get_mut(&call) else { return Ok(()) };
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
