//! Answers to the core's questions, from a connection that only reads.

use crate::account::{self, AccountRecord};
use crate::error::StoreError;
use crate::peer::{self, PeerRecord};
use crate::route::{self, RouteRecord};
use crate::store::{Durability, open_reader};
use crate::user::{self, UserRecord};
use rusqlite::Connection;
use std::path::Path;
use words::AccountId;

/// Reads accounts and users. It may move to a thread of its own: answers see every change that was made before.
#[derive(Debug)]
pub struct Directory {
    connection: Connection,
}

impl Directory {
    pub(crate) fn open(file: &Path, durability: Durability) -> Result<Directory, StoreError> {
        Ok(Directory { connection: open_reader(file, durability)? })
    }

    /// The account of an id.
    pub fn account(&self, id: AccountId) -> rusqlite::Result<Option<AccountRecord>> {
        account::account(&self.connection, id)
    }

    /// The account of a SIP domain, in any case.
    pub fn account_by_domain(&self, domain: &str) -> rusqlite::Result<Option<AccountRecord>> {
        account::account_by_domain(&self.connection, &domain.to_ascii_lowercase())
    }

    /// The user of an account by extension.
    pub fn user(&self, account: AccountId, extension: &str) -> rusqlite::Result<Option<UserRecord>> {
        user::user(&self.connection, account, extension)
    }

    /// The user of a digest name, on the whole server: what it returns says the account.
    pub fn user_by_auth(&self, auth_user: &str) -> rusqlite::Result<Option<UserRecord>> {
        user::user_by_auth(&self.connection, auth_user)
    }

    /// Up to `limit` users of an account from this one on, in the order in which they were made.
    pub fn users_from(&self, first: &UserRecord, limit: usize) -> rusqlite::Result<Vec<UserRecord>> {
        user::users_from(&self.connection, first, limit)
    }

    /// Up to `limit` users of an account whose devices are not offered all algorithms.
    pub fn other_algorithms(&self, account: AccountId, limit: usize) -> rusqlite::Result<Vec<UserRecord>> {
        user::other_algorithms(&self.connection, account, limit)
    }

    /// The peers of an account, by name.
    pub fn peers(&self, account: AccountId) -> rusqlite::Result<Vec<PeerRecord>> {
        peer::peers(&self.connection, account)
    }

    /// The peers of all accounts: whose call is it that comes from an address.
    pub fn all_peers(&self) -> rusqlite::Result<Vec<PeerRecord>> {
        peer::all_peers(&self.connection)
    }

    /// The realms of all accounts, for answers to those whom nobody knows.
    pub fn realms(&self) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.connection.prepare_cached("SELECT DISTINCT realm FROM account ORDER BY realm")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    }

    /// The routes of an account, by pattern.
    pub fn routes(&self, account: AccountId) -> rusqlite::Result<Vec<RouteRecord>> {
        route::routes(&self.connection, account)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Durability, NewAccount, Store};
    use words::{AccountId, Wall};

    #[test]
    fn changes_are_seen_from_another_thread_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        let directory = store.directory().unwrap();
        assert!(directory.account_by_domain("a.example").unwrap().is_none());
        let made = store.create_account(&NewAccount::named("a", "a.example"), Wall(0)).unwrap();
        std::thread::spawn(move || {
            assert_eq!(directory.account_by_domain("A.Example").unwrap(), Some(made.clone()));
            assert_eq!(directory.account(made.id).unwrap(), Some(made));
            assert_eq!(directory.account(AccountId(77)).unwrap(), None);
            assert_eq!(directory.realms().unwrap(), ["a.example"]);
            assert!(directory.all_peers().unwrap().is_empty());
        })
        .join()
        .unwrap();
    }
}
