//! Connections to the database file: their settings, and SQLite's errors as ours.

use super::Durability;
use crate::error::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Changes that people ask for.
    Admin,
    /// The commit loop's records.
    Fold,
    /// Questions only.
    Read,
}

pub(crate) fn open(file: &Path, durability: Durability, purpose: Purpose) -> Result<Connection, StoreError> {
    let connect = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        configure(&connection, durability, purpose)?;
        Ok(connection)
    };
    connect().map_err(|error| explain(&error, file))
}

fn configure(connection: &Connection, durability: Durability, purpose: Purpose) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Only a new file takes the page size.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(mode, "the file system of the data folder takes no write-ahead log");
    }
    let synchronous = match durability {
        Durability::Power => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "query_only", purpose == Purpose::Read)?;
    Ok(())
}

/// Says whose fault an error is.
pub(crate) fn explain(error: &rusqlite::Error, file: &Path) -> StoreError {
    let (path, reason) = (file.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt { path, reason },
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            StoreError::Unwritable { path, reason }
        }
        _ => StoreError::Failed { path, reason },
    }
}

/// Two connections never write for longer than a few milliseconds; more means that something is stuck.
const BUSY: Duration = Duration::from_secs(2);
/// Of each connection. Units: KiB.
const CACHE_KIB: i64 = 2_048;
/// Units: bytes.
const PAGE_BYTES: u32 = 4_096;
