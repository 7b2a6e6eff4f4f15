//! The schema, step by step. A step is never changed after a release; a new one is added.

use super::connection::explain;
use crate::error::StoreError;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::path::Path;

struct Step {
    sql: &'static str,
    /// The oldest schema whose releases still read and write a file with this step. One release back always works.
    readable_from: u32,
}

/// Why a file was not brought forward.
pub(crate) enum MigrationError {
    Newer { found: u32 },
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for MigrationError {
    fn from(error: rusqlite::Error) -> Self {
        MigrationError::Sqlite(error)
    }
}

impl MigrationError {
    pub(crate) fn at(self, file: &Path) -> StoreError {
        match self {
            MigrationError::Newer { found } => StoreError::Newer { path: file.to_owned(), found, known: KNOWN },
            MigrationError::Sqlite(error) => explain(&error, file),
        }
    }
}

/// Brings the schema forward. A file of a newer release is taken as it is when that release says that we may.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), MigrationError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > KNOWN {
        let readable_from: Option<u32> = transaction
            .query_row("SELECT value FROM meta WHERE key = 'readable_from'", [], |row| row.get(0))
            .optional()?;
        if readable_from.is_none_or(|from| from > KNOWN) {
            return Err(MigrationError::Newer { found });
        }
    }
    for step in STEPS.iter().skip(found as usize) {
        transaction.execute_batch(step.sql)?;
        transaction
            .execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('readable_from', ?1)", [step.readable_from])?;
    }
    transaction.pragma_update(None, "user_version", found.max(KNOWN))?;
    // Each start writes something, so that a file that cannot be written is noticed here and not at the first call.
    transaction.execute(
        "INSERT INTO meta (key, value) VALUES ('starts', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1",
        [],
    )?;
    transaction.commit()?;
    Ok(())
}

/// The schema that this release writes.
const KNOWN: u32 = STEPS.len() as u32;

const STEPS: [Step; 8] = [
    Step { sql: ACCOUNTS, readable_from: 1 },
    Step { sql: RECORDS, readable_from: 1 },
    Step { sql: SUBSCRIPTIONS, readable_from: 1 },
    Step { sql: IDENTITY, readable_from: 1 },
    Step { sql: VERIFIED_PEERS, readable_from: 1 },
    Step { sql: SRTP, readable_from: 1 },
    Step { sql: QUALITY, readable_from: 1 },
    Step { sql: ALGORITHMS, readable_from: 1 },
];

/// Accounts and what belongs to them.
const ACCOUNTS: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    domain TEXT NOT NULL UNIQUE,
    realm TEXT NOT NULL,
    settings TEXT NOT NULL DEFAULT '{}',
    created INTEGER NOT NULL
);
CREATE TABLE user (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account (id),
    extension TEXT NOT NULL,
    auth_user TEXT NOT NULL UNIQUE,
    realm TEXT NOT NULL,
    ha1_md5 BLOB NOT NULL,
    ha1_sha256 BLOB NOT NULL,
    ha1_sha512_256 BLOB NOT NULL,
    algorithms TEXT NOT NULL DEFAULT 'all',
    display_name TEXT NOT NULL DEFAULT '',
    enabled INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL,
    -- When the password or the permission last changed: registrations from before are void.
    revoked INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, extension)
);
CREATE TABLE peer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER,
    transport TEXT NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (account, name)
);
CREATE TABLE route (
    account INTEGER NOT NULL REFERENCES account (id),
    pattern TEXT NOT NULL,
    target TEXT NOT NULL,
    PRIMARY KEY (account, pattern)
) WITHOUT ROWID;
";

/// What is folded from the stream of facts. `meta.folded` is the last frame of the journal that is in here.
const RECORDS: &str = "
CREATE TABLE binding (
    user INTEGER NOT NULL,
    key TEXT NOT NULL,
    account INTEGER NOT NULL,
    bound INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (user, key)
) WITHOUT ROWID;
-- Calls that were open for a while; younger ones are in the journal only.
CREATE TABLE open_call (
    call BLOB PRIMARY KEY,
    -- The last frame of the journal whose events are in here.
    up_to INTEGER NOT NULL,
    events BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE cdr (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL,
    call BLOB NOT NULL,
    started INTEGER NOT NULL,
    answered INTEGER,
    ended INTEGER NOT NULL,
    talk_ms INTEGER NOT NULL,
    direction TEXT NOT NULL,
    cause TEXT NOT NULL,
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    answered_by TEXT,
    -- All events of the call, in order.
    events BLOB NOT NULL
);
-- A call id begins with its time, so this is the order of time too. It is unique: a call has one record.
CREATE UNIQUE INDEX cdr_call ON cdr (account, call);
";

/// Who watches whom. A release that does not know the table leaves it as it is; what is in it expires.
const SUBSCRIPTIONS: &str = "
CREATE TABLE subscription (
    user INTEGER NOT NULL,
    key TEXT NOT NULL,
    account INTEGER NOT NULL,
    since INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (user, key)
) WITHOUT ROWID;
";

/// How calls sounded. A release that does not know the column shows it for no call.
const QUALITY: &str = "
ALTER TABLE cdr ADD COLUMN mos INTEGER;
";

/// Whether the media of devices and peers are to be encrypted. A release that does not know the columns encrypts none.
const SRTP: &str = "
ALTER TABLE user ADD COLUMN srtp TEXT NOT NULL DEFAULT 'optional';
ALTER TABLE peer ADD COLUMN srtp TEXT NOT NULL DEFAULT 'optional';
";

/// What peers and we tell each other about who somebody is. A release that does not know the columns trusts nobody.
const IDENTITY: &str = "
ALTER TABLE peer ADD COLUMN trust_identity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE peer ADD COLUMN tell_identity INTEGER NOT NULL DEFAULT 0;
";

/// Whether the certificate of a peer is verified. A release that does not know the column verifies none.
const VERIFIED_PEERS: &str = "
ALTER TABLE peer ADD COLUMN verify INTEGER NOT NULL DEFAULT 1;
";

/// The few users of an account whose devices are not offered all algorithms are found without a look at the others.
const ALGORITHMS: &str = "
CREATE INDEX user_algorithms ON user (account, id) WHERE algorithms <> 'all';
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, Store};

    fn older(dir: &Path, steps: usize) -> Connection {
        let connection = Connection::open(dir.join("crosspoint.db")).unwrap();
        for step in &STEPS[..steps] {
            connection.execute_batch(step.sql).unwrap();
        }
        connection.pragma_update(None, "user_version", steps as u32).unwrap();
        connection
    }

    #[test]
    fn a_file_of_the_first_schema_is_brought_forward_with_its_accounts() {
        let dir = tempfile::tempdir().unwrap();
        let file = older(dir.path(), 1);
        file.execute("INSERT INTO account (name, domain, realm, created) VALUES ('acme', 'a.example', 'r', 0)", [])
            .unwrap();
        drop(file);
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        assert_eq!(store.accounts().unwrap()[0].realm, "r");
        assert!(store.cdrs(&crate::CdrFilter::default()).unwrap().is_empty());
        drop(store);
        Store::open(dir.path(), Durability::Process).unwrap();
    }

    #[test]
    fn a_newer_file_opens_when_it_says_so_and_is_refused_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let file = older(dir.path(), STEPS.len());
        file.pragma_update(None, "user_version", KNOWN + 1).unwrap();
        file.execute("INSERT INTO meta VALUES ('readable_from', ?1)", [KNOWN]).unwrap();
        drop(Store::open(dir.path(), Durability::Process).unwrap());
        let version: u32 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, KNOWN + 1, "the newer release finds its schema again");
        file.execute("UPDATE meta SET value = ?1 WHERE key = 'readable_from'", [KNOWN + 1]).unwrap();
        let error = Store::open(dir.path(), Durability::Process).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found, known, .. } if (found, known) == (KNOWN + 1, KNOWN)));
    }
}
