//! Call records: written once when a call ends, read by account, time and number.

use crate::error::AdminError;
use crate::limit;
use crate::store::{Store, record};
use books::{Cdr, Direction, cause_name};
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use serde::Serialize;
use std::fmt::Write as _;
use words::{AccountId, CallId, EndCause, Event, Pii, Wall};

/// Which records are wanted. The default is the newest of all accounts.
#[derive(Clone, Debug)]
pub struct CdrFilter {
    /// Whose; `None` for the operator of the server, who sees all.
    pub account: Option<AccountId>,
    /// Begun at this time or later.
    pub since: Option<Wall>,
    /// Begun before this time.
    pub until: Option<Wall>,
    /// The caller's, dialled or answering number is this.
    pub number: Option<String>,
    /// Ended for this cause.
    pub cause: Option<EndCause>,
    /// Which way.
    pub direction: Option<Direction>,
    /// Continue behind the record of this call, the last one seen.
    pub before: Option<CallId>,
    /// How many at most; never more than [`limit::ROWS`].
    pub limit: usize,
}

impl Default for CdrFilter {
    fn default() -> Self {
        let (account, since, until, number, cause, direction, before) = (None, None, None, None, None, None, None);
        CdrFilter { account, since, until, number, cause, direction, before, limit: 50 }
    }
}

/// One record as lists show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CdrRow {
    /// Its place: records of calls that ended later have larger ones.
    pub id: i64,
    /// Whose.
    pub account: AccountId,
    /// The call.
    pub call: CallId,
    /// When the INVITE was taken.
    pub started: Wall,
    /// When it was answered.
    pub answered: Option<Wall>,
    /// When it ended.
    pub ended: Wall,
    /// Talk time on the monotonic clock. Units: milliseconds.
    pub talk_ms: u64,
    /// Which way.
    pub direction: String,
    /// Why it ended, as [`books::cause_name`] writes it.
    pub cause: String,
    /// The caller's number.
    pub from: Pii,
    /// The dialled number.
    pub to: Pii,
    /// The number that answered.
    pub answered_by: Option<Pii>,
    /// How it sounded, in the worst direction of the worst leg: 1 to 4.5 (MOS, ITU-T G.107).
    pub mos: Option<f64>,
}

/// A call with everything that happened in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallRecord {
    /// The fold of the events.
    pub cdr: Cdr,
    /// The events, in order.
    pub events: Vec<Event>,
}

impl Store {
    /// The records that fit `filter`, the newest first: by their beginning within an account, by their end over all.
    pub fn cdrs(&self, filter: &CdrFilter) -> Result<Vec<CdrRow>, AdminError> {
        self.bring_up(None);
        let mut sql = format!("SELECT {COLUMNS} FROM cdr WHERE 1");
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut want = |condition: &str, value: Box<dyn ToSql>| {
            values.push(value);
            let _ = write!(sql, " AND {}", condition.replace('?', &format!("?{}", values.len())));
        };
        if let Some(account) = filter.account {
            want("account = ?", Box::new(account.0));
        }
        // A call id begins with its time, so the index finds these without a look at the rows.
        if let Some(since) = filter.since {
            want("call >= ?", Box::new(first_call_at(since)));
        }
        if let Some(until) = filter.until {
            want("call < ?", Box::new(first_call_at(until)));
        }
        if let Some(number) = &filter.number {
            want("(from_number = ? OR to_number = ? OR answered_by = ?)", Box::new(number.clone()));
        }
        if let Some(cause) = filter.cause {
            want("cause = ?", Box::new(cause_name(cause).into_owned()));
        }
        if let Some(direction) = filter.direction {
            want("direction = ?", Box::new(direction.name()));
        }
        if let Some(before) = filter.before {
            want(if filter.account.is_some() { "call < ?" } else { BEFORE }, Box::new(before.0.to_be_bytes()));
        }
        // Within an account the index has the order of time; over all accounts the order of the rows is near enough.
        let order = if filter.account.is_some() { "call" } else { "id" };
        let _ = write!(sql, " ORDER BY {order} DESC LIMIT {}", filter.limit.min(limit::ROWS));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(rusqlite::params_from_iter(values), read_row)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// A call by its id, with its events: one that ended, or what is stored of an open one. `None` for `account` is the
    /// operator of the server, who sees all.
    pub fn call(&self, account: Option<AccountId>, call: CallId) -> Result<Option<CallRecord>, AdminError> {
        // Asked first: a call that ends meanwhile is then found in the table.
        let open = self.bring_up(Some(call));
        let bytes = self.ended_call(account, call)?.unwrap_or(open);
        let events: Vec<Event> = record::read(&bytes).collect();
        let Some(cdr) = Cdr::fold(&events) else { return Ok(None) };
        Ok(account.is_none_or(|account| account == cdr.account).then_some(CallRecord { cdr, events }))
    }

    fn ended_call(&self, account: Option<AccountId>, call: CallId) -> Result<Option<Vec<u8>>, AdminError> {
        // Each account is asked in turn: the index begins with the account.
        let mut statement = self.connection.prepare_cached(
            "SELECT cdr.events FROM account CROSS JOIN cdr ON cdr.account = account.id
             WHERE cdr.call = ?1 AND (?2 IS NULL OR account.id = ?2)",
        )?;
        let key = call.0.to_be_bytes();
        Ok(statement.query_row(params![key, account.map(|account| account.0)], |row| row.get(0)).optional()?)
    }
}

/// Writes the record of a call from its events; `false` when it has one already or the events make none.
pub(crate) fn insert_cdr(connection: &Connection, events: &[u8]) -> rusqlite::Result<bool> {
    let list: Vec<Event> = record::read(events).collect();
    let Some(cdr) = Cdr::fold(&list) else { return Ok(false) };
    let Some(end) = &cdr.ended else { return Ok(false) };
    let answer = cdr.answered.as_ref();
    // A call has one record, whatever is repeated.
    let mut statement = connection.prepare_cached(
        "INSERT OR IGNORE INTO cdr (account, call, started, answered, ended, talk_ms, direction, cause, from_number,
         to_number, answered_by, events, mos) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    let inserted = statement.execute(params![
        cdr.account.0,
        cdr.call.0.to_be_bytes(),
        cdr.opened.wall.0,
        answer.map(|answer| answer.moment.wall.0),
        end.moment.wall.0,
        cdr.talk().as_millis() as i64,
        cdr.direction().name(),
        cause_name(end.cause),
        cdr.from.number.as_str(),
        cdr.to.number.as_str(),
        answer.map(|answer| answer.who.number.as_str()),
        events,
        cdr.mos_x100(),
    ])?;
    Ok(inserted > 0)
}

/// Adds a fact to the record of a call that ended; one that it has changes nothing.
pub(crate) fn add_to_cdr(
    connection: &Connection,
    account: AccountId,
    call: CallId,
    fact: &[u8],
) -> rusqlite::Result<()> {
    let mut find = connection.prepare_cached("SELECT events FROM cdr WHERE account = ?1 AND call = ?2")?;
    let key = call.0.to_be_bytes();
    let known: Option<Vec<u8>> = find.query_row(params![account.0, key], |row| row.get(0)).optional()?;
    let Some(mut events) = known.filter(|known| !record::split(known).any(|one| one == fact)) else { return Ok(()) };
    events.extend_from_slice(fact);
    let list: Vec<Event> = record::read(&events).collect();
    let mos = Cdr::fold(&list).and_then(|cdr| cdr.mos_x100());
    let mut update =
        connection.prepare_cached("UPDATE cdr SET events = ?3, mos = ?4 WHERE account = ?1 AND call = ?2")?;
    update.execute(params![account.0, key, events, mos])?;
    Ok(())
}

/// A call id as its column has it.
pub(crate) fn call_id(blob: &[u8]) -> CallId {
    blob.try_into().map_or(CallId(0), |bytes| CallId(u128::from_be_bytes(bytes)))
}

/// The smallest id of a call that began at `wall`: its first 48 bits are the time.
fn first_call_at(wall: Wall) -> [u8; 16] {
    let millis = u64::try_from(wall.0).unwrap_or(0).min((1 << 48) - 1);
    (u128::from(millis) << 80).to_be_bytes()
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<CdrRow> {
    Ok(CdrRow {
        id: row.get(0)?,
        account: AccountId(row.get(1)?),
        call: call_id(row.get_ref(2)?.as_blob()?),
        started: Wall(row.get(3)?),
        answered: row.get::<_, Option<i64>>(4)?.map(Wall),
        ended: Wall(row.get(5)?),
        talk_ms: row.get::<_, i64>(6)? as u64,
        direction: row.get(7)?,
        cause: row.get(8)?,
        from: Pii::new(row.get::<_, String>(9)?),
        to: Pii::new(row.get::<_, String>(10)?),
        answered_by: row.get::<_, Option<String>>(11)?.map(Pii::new),
        mos: row.get::<_, Option<u16>>(12)?.map(|x100| f64::from(x100) / 100.0),
    })
}

const BEFORE: &str = "id < (SELECT cdr.id FROM account CROSS JOIN cdr ON cdr.account = account.id WHERE cdr.call = ?)";
const COLUMNS: &str =
    "id, account, call, started, answered, ended, talk_ms, direction, cause, from_number, to_number, answered_by, mos";
