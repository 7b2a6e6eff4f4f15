//! Users: an extension with its credentials.

use crate::account::{self, check_text};
use crate::error::AdminError;
use crate::limit;
use crate::password;
use crate::store::Store;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use sip::digest::Ha1;
use words::{AccountId, Chance, Secret, Srtp, UserId, Wall};

/// A user's row without its keys.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct UserRecord {
    /// Whose account.
    pub account: AccountId,
    /// Its id, never used again.
    pub id: UserId,
    /// The number that rings it, unique within its account.
    pub extension: String,
    /// The name in its digest, unique on the server: a phone that knows only our address is found by it.
    pub auth_user: String,
    /// The realm of its account.
    pub realm: String,
    /// HA1 with MD5 (RFC 7616 §3.4.2).
    #[serde(skip)]
    pub ha1_md5: [u8; 16],
    /// HA1 with SHA-256.
    #[serde(skip)]
    pub ha1_sha256: [u8; 32],
    /// HA1 with SHA-512/256.
    #[serde(skip)]
    pub ha1_sha512_256: [u8; 32],
    /// What it is challenged with.
    pub algorithms: AlgorithmPolicy,
    /// What the other side's display shows.
    pub display_name: String,
    /// Whether it may register and call.
    pub enabled: bool,
    /// Whether its media are to be encrypted.
    pub srtp: Srtp,
    /// When it was made.
    pub created: Wall,
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord").field("account", &self.account).field("id", &self.id).finish_non_exhaustive()
    }
}

/// Which digest algorithms a device is offered: some give up on what they read first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlgorithmPolicy {
    /// MD5, SHA-256 and SHA-512-256, in this order.
    #[default]
    All,
    /// MD5 only.
    Md5Only,
    /// SHA-256 only.
    Sha256Only,
}

impl AlgorithmPolicy {
    const fn name(self) -> &'static str {
        match self {
            AlgorithmPolicy::All => "all",
            AlgorithmPolicy::Md5Only => "md5_only",
            AlgorithmPolicy::Sha256Only => "sha256_only",
        }
    }
}

/// A user to be made.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Whose account.
    pub account: AccountId,
    /// The number.
    pub extension: String,
    /// The name in its digest; when `None` the extension if nobody has it, else `<account>-<extension>`.
    pub auth_user: Option<String>,
    /// What the other side's display shows.
    pub display_name: String,
    /// What it is challenged with.
    pub algorithms: AlgorithmPolicy,
    /// Whether its media are to be encrypted.
    pub srtp: Srtp,
    /// Its password.
    pub password: NewPassword<'a>,
}

/// Where a password comes from.
#[derive(Debug)]
pub enum NewPassword<'a> {
    /// Made here, from a stream that nothing else draws from.
    Generated(&'a mut Chance),
    /// Somebody else's choice: an import, or a phone that cannot be changed.
    Given(Secret),
}

/// What is typed into the phone. Told once: the password is not kept.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: UserRecord,
    /// The SIP domain of its account.
    pub domain: String,
    /// The password.
    pub password: Secret,
}

impl<'a> NewUser<'a> {
    /// A user without a display name whose digest name is chosen here.
    pub fn new(account: AccountId, extension: &str, password: NewPassword<'a>) -> Self {
        NewUser {
            account,
            extension: extension.into(),
            auth_user: None,
            display_name: String::new(),
            algorithms: AlgorithmPolicy::All,
            srtp: Srtp::default(),
            password,
        }
    }
}

impl Store {
    /// Makes a user and tells its credentials.
    pub fn add_user(&self, new: NewUser<'_>, now: Wall) -> Result<Credentials, AdminError> {
        check_extension(&new.extension)?;
        if !new.display_name.is_empty() {
            check_text("the display name", &new.display_name)?;
        }
        let password = take_password(new.password)?;
        let transaction = self.connection.unchecked_transaction()?;
        let account = account::account(&transaction, new.account)?.ok_or(AdminError::Missing { what: "account" })?;
        if user(&transaction, account.id, &new.extension)?.is_some() {
            return Err(AdminError::Taken { what: "the extension" });
        }
        let auth_user = match new.auth_user {
            Some(name) => {
                check_text("the user name", &name)?;
                if user_by_auth(&transaction, &name)?.is_some() {
                    return Err(AdminError::Taken { what: "the user name" });
                }
                name
            }
            None => free_auth_user(&transaction, &account.name, &new.extension)?,
        };
        let hashes = Ha1::new(&auth_user, &account.realm, password.reveal());
        let mut made = UserRecord {
            account: account.id,
            id: UserId(0),
            extension: new.extension,
            auth_user,
            realm: account.realm,
            ha1_md5: hashes.md5,
            ha1_sha256: hashes.sha256,
            ha1_sha512_256: hashes.sha512_256,
            algorithms: new.algorithms,
            display_name: new.display_name,
            enabled: true,
            srtp: new.srtp,
            created: now,
        };
        made.id = insert(&transaction, &made)?;
        transaction.commit()?;
        Ok(Credentials { user: made, domain: account.domain, password })
    }

    /// The users of an account, by extension.
    pub fn users(&self, account: AccountId) -> Result<Vec<UserRecord>, AdminError> {
        let sql = format!("{SELECT} WHERE account = ?1 ORDER BY length(extension), extension");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([account.0], read)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// Gives a user another password. Its registrations are void from here on.
    pub fn reset_user(
        &self,
        account: AccountId,
        extension: &str,
        password: NewPassword<'_>,
        now: Wall,
    ) -> Result<Credentials, AdminError> {
        let password = take_password(password)?;
        let transaction = self.connection.unchecked_transaction()?;
        let domain = account::account(&transaction, account)?.ok_or(AdminError::Missing { what: "account" })?.domain;
        let mut user = known(&transaction, account, extension)?;
        let hashes = Ha1::new(&user.auth_user, &user.realm, password.reveal());
        transaction.execute(
            "UPDATE user SET ha1_md5 = ?3, ha1_sha256 = ?4, ha1_sha512_256 = ?5 WHERE account = ?1 AND id = ?2",
            params![account.0, user.id.0, hashes.md5, hashes.sha256, hashes.sha512_256],
        )?;
        revoke(&transaction, &user, now)?;
        transaction.commit()?;
        (user.ha1_md5, user.ha1_sha256, user.ha1_sha512_256) = (hashes.md5, hashes.sha256, hashes.sha512_256);
        Ok(Credentials { user, domain, password })
    }

    /// Lets a user register and call again, or forbids it; then its registrations are void.
    pub fn enable_user(
        &self,
        account: AccountId,
        extension: &str,
        enabled: bool,
        now: Wall,
    ) -> Result<UserRecord, AdminError> {
        let transaction = self.connection.unchecked_transaction()?;
        let mut user = known(&transaction, account, extension)?;
        transaction.execute(
            "UPDATE user SET enabled = ?3 WHERE account = ?1 AND id = ?2",
            params![account.0, user.id.0, enabled],
        )?;
        if !enabled {
            revoke(&transaction, &user, now)?;
        }
        transaction.commit()?;
        user.enabled = enabled;
        Ok(user)
    }

    /// Removes a user with its registrations. Its records stay.
    pub fn delete_user(&self, account: AccountId, extension: &str, now: Wall) -> Result<UserRecord, AdminError> {
        let transaction = self.connection.unchecked_transaction()?;
        let user = known(&transaction, account, extension)?;
        revoke(&transaction, &user, now)?;
        transaction.execute("DELETE FROM user WHERE account = ?1 AND id = ?2", params![account.0, user.id.0])?;
        transaction.commit()?;
        Ok(user)
    }
}

pub(crate) fn user(
    connection: &Connection,
    account: AccountId,
    extension: &str,
) -> rusqlite::Result<Option<UserRecord>> {
    let sql = format!("{SELECT} WHERE account = ?1 AND extension = ?2");
    connection.prepare_cached(&sql)?.query_row(params![account.0, extension], read).optional()
}

pub(crate) fn user_by_auth(connection: &Connection, auth_user: &str) -> rusqlite::Result<Option<UserRecord>> {
    connection.prepare_cached(&format!("{SELECT} WHERE auth_user = ?1"))?.query_row([auth_user], read).optional()
}

/// The users of an account whose devices are not offered all algorithms: up to `limit`, in the order in which they were
/// made.
pub(crate) fn other_algorithms(
    connection: &Connection,
    account: AccountId,
    limit: usize,
) -> rusqlite::Result<Vec<UserRecord>> {
    let sql = format!("{SELECT} WHERE account = ?1 AND algorithms <> 'all' ORDER BY id LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![account.0, limit as i64], read)?;
    rows.collect()
}

pub(crate) fn users_from(
    connection: &Connection,
    first: &UserRecord,
    limit: usize,
) -> rusqlite::Result<Vec<UserRecord>> {
    let sql = format!("{SELECT} WHERE account = ?1 AND id >= ?2 ORDER BY id LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![first.account.0, first.id.0, limit as i64], read)?;
    rows.collect()
}

pub(crate) fn insert(connection: &Connection, user: &UserRecord) -> rusqlite::Result<UserId> {
    connection
        .prepare_cached(
            "INSERT INTO user (account, extension, auth_user, realm, ha1_md5, ha1_sha256, ha1_sha512_256, algorithms,
             display_name, enabled, created, srtp) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            user.account.0,
            user.extension,
            user.auth_user,
            user.realm,
            user.ha1_md5,
            user.ha1_sha256,
            user.ha1_sha512_256,
            user.algorithms.name(),
            user.display_name,
            user.enabled,
            user.created.0,
            user.srtp.as_str(),
        ])?;
    Ok(UserId(connection.last_insert_rowid() as u32))
}

fn known(connection: &Connection, account: AccountId, extension: &str) -> Result<UserRecord, AdminError> {
    user(connection, account, extension)?.ok_or(AdminError::Missing { what: "user" })
}

/// Voids the registrations of a user: those in the table at once, those still in the journal by the date.
fn revoke(connection: &Connection, user: &UserRecord, now: Wall) -> rusqlite::Result<()> {
    connection.execute("UPDATE user SET revoked = ?2 WHERE id = ?1", params![user.id.0, now.0])?;
    connection.execute("DELETE FROM binding WHERE user = ?1", [user.id.0])?;
    Ok(())
}

fn free_auth_user(connection: &Connection, account: &str, extension: &str) -> Result<String, AdminError> {
    let with_account = || format!("{account}-{extension}");
    let numbered = (2..AUTH_USER_TRIES).map(|n| format!("{account}-{extension}-{n}"));
    for name in std::iter::once(extension.to_owned()).chain(std::iter::once_with(with_account)).chain(numbered) {
        if user_by_auth(connection, &name)?.is_none() {
            return Ok(name);
        }
    }
    Err(AdminError::Taken { what: "the user name" })
}

fn take_password(password: NewPassword<'_>) -> Result<Secret, AdminError> {
    let given = match password {
        NewPassword::Generated(chance) => return Ok(password::generate(chance)),
        NewPassword::Given(given) => given,
    };
    let text = given.reveal();
    if text.chars().count() < limit::PASSWORD_CHARS {
        return Err(AdminError::Invalid { what: "the password", why: "it has fewer than 8 characters" });
    }
    if text.len() > limit::NAME_BYTES || text.chars().any(char::is_control) {
        return Err(AdminError::Invalid { what: "the password", why: "it is too long or has control characters" });
    }
    Ok(given)
}

/// What a phone can dial and a URI can carry without escapes (RFC 3261 §25.1, unreserved and `*`, `+`).
fn check_extension(extension: &str) -> Result<(), AdminError> {
    check_text("the extension", extension)?;
    if extension.len() <= EXTENSION_BYTES
        && extension.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+*".contains(&b))
    {
        return Ok(());
    }
    Err(AdminError::Invalid { what: "the extension", why: "use up to 32 letters, digits, '-', '_', '.', '+' and '*'" })
}

fn read(row: &Row<'_>) -> rusqlite::Result<UserRecord> {
    Ok(UserRecord {
        id: UserId(row.get(0)?),
        account: AccountId(row.get(1)?),
        extension: row.get(2)?,
        auth_user: row.get(3)?,
        realm: row.get(4)?,
        ha1_md5: row.get(5)?,
        ha1_sha256: row.get(6)?,
        ha1_sha512_256: row.get(7)?,
        algorithms: match row.get_ref(8)?.as_str()? {
            "md5_only" => AlgorithmPolicy::Md5Only,
            "sha256_only" => AlgorithmPolicy::Sha256Only,
            _ => AlgorithmPolicy::All,
        },
        display_name: row.get(9)?,
        enabled: row.get(10)?,
        created: Wall(row.get(11)?),
        srtp: Srtp::parse(row.get_ref(12)?.as_str()?).unwrap_or_default(),
    })
}

const SELECT: &str = "SELECT id, account, extension, auth_user, realm, ha1_md5, ha1_sha256, ha1_sha512_256, algorithms, \
                      display_name, enabled, created, srtp FROM user";
/// Units: bytes.
const EXTENSION_BYTES: usize = 32;
/// How many suffixes are tried for a digest name before somebody must choose one.
const AUTH_USER_TRIES: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, NewAccount};
    use words::Seed;

    fn store() -> (tempfile::TempDir, Store, AccountId, AccountId) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        let a = store.create_account(&NewAccount::named("a", "a.example"), Wall(0)).unwrap().id;
        let b = store.create_account(&NewAccount::named("b", "b.example"), Wall(0)).unwrap().id;
        (dir, store, a, b)
    }

    fn given(account: AccountId, extension: &str) -> NewUser<'static> {
        NewUser::new(account, extension, NewPassword::Given(Secret::new("correct horse")))
    }

    #[test]
    fn two_accounts_with_the_same_extensions_never_see_each_other() {
        let (_dir, store, a, b) = store();
        let in_a = store.add_user(given(a, "101"), Wall(0)).unwrap().user;
        let in_b = store.add_user(given(b, "101"), Wall(0)).unwrap().user;
        assert_eq!((in_a.auth_user.as_str(), in_b.auth_user.as_str()), ("101", "b-101"));
        let directory = store.directory().unwrap();
        assert_eq!(directory.user(a, "101").unwrap().unwrap().id, in_a.id);
        assert_eq!(directory.user(b, "101").unwrap().unwrap().id, in_b.id);
        assert_eq!(directory.user_by_auth("b-101").unwrap().unwrap().account, b);
        assert_eq!(store.users(a).unwrap(), std::slice::from_ref(&in_a));
        // What is done to one leaves the other alone.
        store.enable_user(b, "101", false, Wall(1)).unwrap();
        store.delete_user(b, "101", Wall(2)).unwrap();
        assert_eq!(store.users(a).unwrap(), [in_a]);
        assert!(directory.user(b, "101").unwrap().is_none());
    }

    #[test]
    fn users_with_other_algorithms_are_found_without_the_others() {
        let (_dir, store, a, b) = store();
        let with = |account, extension, algorithms| NewUser { algorithms, ..given(account, extension) };
        store.add_user(given(a, "101"), Wall(0)).unwrap();
        let md5 = store.add_user(with(a, "102", AlgorithmPolicy::Md5Only), Wall(0)).unwrap().user;
        let sha = store.add_user(with(a, "103", AlgorithmPolicy::Sha256Only), Wall(0)).unwrap().user;
        store.add_user(with(b, "104", AlgorithmPolicy::Md5Only), Wall(0)).unwrap();
        let directory = store.directory().unwrap();
        assert_eq!(directory.other_algorithms(a, 10).unwrap(), [md5.clone(), sha]);
        assert_eq!(directory.other_algorithms(a, 1).unwrap(), [md5]);
    }

    #[test]
    fn digest_names_stay_unique_on_the_server() {
        let (_dir, store, a, b) = store();
        store.add_user(NewUser { auth_user: Some("b-7".into()), ..given(a, "7") }, Wall(0)).unwrap();
        store.add_user(NewUser { auth_user: Some("7".into()), ..given(a, "8") }, Wall(0)).unwrap();
        assert_eq!(store.add_user(given(b, "7"), Wall(0)).unwrap().user.auth_user, "b-7-2");
        let taken = store.add_user(NewUser { auth_user: Some("7".into()), ..given(b, "9") }, Wall(0));
        assert!(matches!(taken, Err(AdminError::Taken { what: "the user name" })));
        assert!(matches!(store.add_user(given(b, "7"), Wall(0)), Err(AdminError::Taken { what: "the extension" })));
    }

    #[test]
    fn only_hashes_are_stored_and_a_reset_changes_them() {
        let (dir, store, a, _) = store();
        let before = store.add_user(given(a, "101"), Wall(0)).unwrap();
        assert!(before.user.ha1_md5 == Ha1::new("101", "a.example", "correct horse").md5);
        let mut chance = Chance::new(Seed::from_number(1));
        let after = store.reset_user(a, "101", NewPassword::Generated(&mut chance), Wall(9)).unwrap();
        let read = store.directory().unwrap().user(a, "101").unwrap().unwrap();
        assert!(read == after.user && read.ha1_sha256 != before.user.ha1_sha256);
        drop(store);
        let bytes = std::fs::read(dir.path().join("crosspoint.db")).unwrap();
        for secret in ["correct horse", after.password.reveal()] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
        assert!(!format!("{before:?}").contains("correct"));
    }

    #[test]
    fn weak_passwords_and_odd_extensions_are_refused() {
        let (_dir, store, a, _) = store();
        let weak = NewUser::new(a, "101", NewPassword::Given(Secret::new("1234567")));
        assert!(matches!(store.add_user(weak, Wall(0)), Err(AdminError::Invalid { .. })));
        for extension in ["", "1 2", "a@b", "<1>", "1;2", "é"] {
            assert!(matches!(store.add_user(given(a, extension), Wall(0)), Err(AdminError::Invalid { .. })));
        }
        assert!(matches!(store.add_user(given(AccountId(9), "1"), Wall(0)), Err(AdminError::Missing { .. })));
    }
}
