//! What can go wrong with the database, told in one sentence.

use std::path::PathBuf;

/// Why the store does not open. Each prints as one sentence; the program ends with exit code 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder or a file in it cannot be created or written.
    #[error("the data folder cannot be written: {}: {reason}", path.display())]
    Unwritable {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// Another server has the folder open.
    #[error("another crosspoint uses the data folder {}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file is damaged or no database of ours.
    #[error("the database {} is damaged or not a crosspoint database: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The file was made by a release that this one cannot read.
    #[error("the database {} has schema {found}, this release reads up to {known}: update crosspoint or restore a backup", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this release knows.
        known: u32,
    },
    /// Anything else that SQLite or the disk refuses.
    #[error("the database {} fails: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
}

/// Why a change was not made. Nothing of it is in the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The value breaks a rule.
    #[error("{what} is not valid: {why}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// The rule.
        why: &'static str,
    },
    /// The account, user, peer or route does not exist.
    #[error("there is no such {what}")]
    Missing {
        /// Account, user, peer or route.
        what: &'static str,
    },
    /// The name, domain, extension or user name belongs to somebody else.
    #[error("{what} is taken")]
    Taken {
        /// The field.
        what: &'static str,
    },
    /// A route leads to it.
    #[error("a route leads to this {what}: remove the route first")]
    Used {
        /// What cannot be removed.
        what: &'static str,
    },
    /// The account has as many as it may have.
    #[error("an account has at most {limit} {what}")]
    Full {
        /// Routes or peers.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// The database does not take it.
    #[error("the database fails: {0}")]
    Store(#[from] rusqlite::Error),
}
