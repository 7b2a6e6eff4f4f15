//! The data folder and its database file.

mod connection;
pub(crate) mod journal;
mod migrations;
pub(crate) mod record;

pub(crate) use connection::Purpose;

use crate::commit::Handover;
use crate::directory::Directory;
use crate::error::StoreError;
use crate::limit;
use crate::recovery::{self, Recovered};
use journal::Journal;
use rusqlite::Connection;
use std::cell::RefCell;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use words::CallId;

/// What a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Loss of power: the disk has confirmed each commit (synchronous FULL).
    #[default]
    Power,
    /// The end of the process, by `kill -9` too: the operating system has each commit.
    Process,
}

impl FromStr for Durability {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "power" => Ok(Durability::Power),
            "process" => Ok(Durability::Process),
            _ => Err("durability is power or process"),
        }
    }
}

/// The open data folder. One per server: a lock keeps others out until it is dropped.
///
/// Its own connection makes the changes that people ask for; [`Store::directory`] and [`crate::CommitLoop::start`] open
/// others.
#[derive(Debug)]
pub struct Store {
    pub(crate) connection: Connection,
    dir: PathBuf,
    durability: Durability,
    recovered: Recovered,
    /// Until a commit loop takes it.
    journal: RefCell<Option<Journal>>,
    /// The way to the commit loop that brings the tables up to the journal.
    commits: RefCell<Weak<Handover>>,
    // Held for its lock.
    _lock: File,
}

impl Store {
    /// Opens the data folder: makes it and the database when they are missing, brings an older schema forward, and
    /// closes the calls that the last process left open.
    pub fn open(dir: &Path, durability: Durability) -> Result<Store, StoreError> {
        create_folder(dir).map_err(|error| unwritable(dir, &error))?;
        let lock = take_lock(dir)?;
        let file = database(dir);
        // The file holds keys that log in: nobody else reads it. SQLite gives its other files the same rights.
        private(OpenOptions::new().create(true).append(true)).open(&file).map_err(|error| unwritable(&file, &error))?;
        let mut connection = connection::open(&file, durability, Purpose::Admin)?;
        migrations::migrate(&mut connection).map_err(|error| error.at(&file))?;
        let path = dir.join(JOURNAL);
        let opened = Journal::open(&path, durability == Durability::Power);
        let (mut journal, frames) = opened.map_err(|error| unwritable(&path, &error))?;
        let (recovered, folded) =
            recovery::recover(&mut connection, frames).map_err(|error| connection::explain(&error, &file))?;
        journal.begin_after(folded);
        if durability == Durability::Power {
            // New files outlive a loss of power only when their folder was written too.
            File::open(dir).and_then(|folder| folder.sync_all()).map_err(|error| unwritable(dir, &error))?;
        }
        let (journal, commits) = (RefCell::new(Some(journal)), RefCell::new(Weak::new()));
        Ok(Store { connection, dir: dir.to_owned(), durability, recovered, journal, commits, _lock: lock })
    }

    /// What the last process left behind: calls that were closed and counts.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// A connection for the core's questions, usable from a thread of its own.
    pub fn directory(&self) -> Result<Directory, StoreError> {
        Directory::open(&database(&self.dir), self.durability)
    }

    pub(crate) fn open_connection(&self, purpose: Purpose) -> Result<Connection, StoreError> {
        connection::open(&database(&self.dir), self.durability, purpose)
    }

    /// An error of the database file.
    pub(crate) fn failed(&self, reason: &str) -> StoreError {
        StoreError::Failed { path: database(&self.dir), reason: reason.to_owned() }
    }

    /// The journal, for the one commit loop.
    pub(crate) fn take_journal(&self) -> Result<Journal, StoreError> {
        self.journal.borrow_mut().take().ok_or_else(|| StoreError::InUse { path: self.dir.clone() })
    }

    pub(crate) fn follow(&self, commits: &Arc<Handover>) {
        *self.commits.borrow_mut() = Arc::downgrade(commits);
    }

    /// Waits until the tables hold what was stored so far. Returns the records of `call` when it is open.
    pub(crate) fn bring_up(&self, call: Option<CallId>) -> Vec<u8> {
        let Some(commits) = self.commits.borrow().upgrade() else { return Vec::new() };
        commits.ask(call).recv_timeout(limit::FOLD_ASKED).unwrap_or_default()
    }
}

pub(crate) fn open_reader(file: &Path, durability: Durability) -> Result<Connection, StoreError> {
    connection::open(file, durability, Purpose::Read)
}

fn create_folder(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = private(OpenOptions::new().create(true).append(true)).open(&path).map_err(|e| unwritable(&path, &e))?;
    // Who is just ending, or whose child has not yet become another program, lets go within moments.
    let mut tries = LOCK_TRIES;
    loop {
        tries -= 1;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tries > 0 => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: dir.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
        }
    }
}

/// How often it is looked whether the folder is free, half a second in all.
const LOCK_TRIES: u32 = 26;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

fn unwritable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unwritable { path: path.to_owned(), reason: error.to_string() }
}

fn database(dir: &Path) -> PathBuf {
    dir.join("crosspoint.db")
}

/// The file of [`Journal`].
const JOURNAL: &str = "journal";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn error(dir: &Path) -> String {
        Store::open(dir, Durability::Process).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_told_in_one_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(error(&file.join("data")).starts_with("the data folder cannot be written: "));
        fs::create_dir(dir.path().join("crosspoint.db")).unwrap();
        assert!(matches!(Store::open(dir.path(), Durability::Process), Err(StoreError::Unwritable { .. })));
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("crosspoint.db");
        let text = "something else of some length, ".repeat(200);
        fs::write(&file, &text).unwrap();
        assert!(matches!(Store::open(dir.path(), Durability::Process), Err(StoreError::Corrupt { .. })));
        assert!(error(dir.path()).contains("is damaged or not a crosspoint database"));
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }

    #[test]
    fn the_store_and_its_loop_may_move_to_other_threads() {
        fn moves<T: Send>() {}
        moves::<Store>();
        moves::<crate::CommitLoop>();
        moves::<Directory>();
    }

    #[test]
    fn one_server_has_the_folder_and_nobody_else_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("deep/data");
        let store = Store::open(&data, Durability::Power).unwrap();
        assert!(error(&data).starts_with("another crosspoint uses the data folder"));
        for name in ["", "crosspoint.db", "crosspoint.db-wal", "journal"] {
            let mode = fs::metadata(data.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name}");
        }
        drop(store);
        Store::open(&data, Durability::Power).unwrap();
        assert_eq!(("power".parse(), "process".parse()), (Ok(Durability::Power), Ok(Durability::Process)));
        assert!("none".parse::<Durability>().is_err());
    }
}
