//! Accounts: each is a world of its own.

use crate::error::AdminError;
use crate::limit;
use crate::store::Store;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use words::{AccountId, Wall};

/// An account's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountRecord {
    /// Its id.
    pub id: AccountId,
    /// Its short name, for people and commands.
    pub name: String,
    /// Its SIP domain, in lower case.
    pub domain: String,
    /// Its digest realm, fixed for good: the stored HA1 values contain it.
    pub realm: String,
    /// What can be set.
    pub settings: AccountSettings,
    /// When it was made.
    pub created: Wall,
}

/// What can be set per account. What is absent takes the default of the exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountSettings {
    /// How long an extension rings before the caller hears that nobody answers. Units: seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_for_s: Option<u32>,
    /// The most calls at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// What its users type while talking, before the number that they transfer to; empty: they cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typed_transfer: Option<String>,
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// A host name or address; kept in lower case.
    pub domain: String,
    /// The digest realm; the domain when `None`.
    pub realm: Option<String>,
    /// What can be set.
    pub settings: AccountSettings,
}

impl NewAccount {
    /// An account whose realm is its domain.
    pub fn named(name: &str, domain: &str) -> Self {
        NewAccount { name: name.into(), domain: domain.into(), realm: None, settings: AccountSettings::default() }
    }
}

impl Store {
    /// Makes an account.
    pub fn create_account(&self, new: &NewAccount, now: Wall) -> Result<AccountRecord, AdminError> {
        let domain = new.domain.to_ascii_lowercase();
        check_name("the name", &new.name)?;
        check_host("the domain", &domain)?;
        let realm = new.realm.clone().unwrap_or_else(|| domain.clone());
        check_text("the realm", &realm)?;
        let connection = &self.connection;
        if account_named(connection, &new.name)?.is_some() {
            return Err(AdminError::Taken { what: "the name" });
        }
        if account_by_domain(connection, &domain)?.is_some() {
            return Err(AdminError::Taken { what: "the domain" });
        }
        connection.execute(
            "INSERT INTO account (name, domain, realm, settings, created) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![new.name, domain, realm, to_json(&new.settings), now.0],
        )?;
        let id = AccountId(connection.last_insert_rowid() as u32);
        let (name, settings) = (new.name.clone(), new.settings.clone());
        Ok(AccountRecord { id, name, domain, realm, settings, created: now })
    }

    /// Changes what can be set.
    pub fn set_account(&self, account: AccountId, settings: &AccountSettings) -> Result<(), AdminError> {
        if let Some(code) = &settings.typed_transfer {
            check_keys("the code", code)?;
        }
        let changed = self
            .connection
            .execute("UPDATE account SET settings = ?2 WHERE id = ?1", params![account.0, to_json(settings)])?;
        if changed == 0 { Err(AdminError::Missing { what: "account" }) } else { Ok(()) }
    }

    /// All accounts, by name.
    pub fn accounts(&self) -> Result<Vec<AccountRecord>, AdminError> {
        let mut statement = self.connection.prepare_cached(&format!("{SELECT} ORDER BY name"))?;
        let rows = statement.query_map([], read)?.collect::<Result<_, _>>()?;
        Ok(rows)
    }

    /// The account of a name.
    pub fn account_named(&self, name: &str) -> Result<Option<AccountRecord>, AdminError> {
        Ok(account_named(&self.connection, name)?)
    }
}

pub(crate) fn account(connection: &Connection, id: AccountId) -> rusqlite::Result<Option<AccountRecord>> {
    connection.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?.query_row([id.0], read).optional()
}

pub(crate) fn account_by_domain(connection: &Connection, domain: &str) -> rusqlite::Result<Option<AccountRecord>> {
    connection.prepare_cached(&format!("{SELECT} WHERE domain = ?1"))?.query_row([domain], read).optional()
}

fn account_named(connection: &Connection, name: &str) -> rusqlite::Result<Option<AccountRecord>> {
    connection.prepare_cached(&format!("{SELECT} WHERE name = ?1"))?.query_row([name], read).optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<AccountRecord> {
    Ok(AccountRecord {
        id: AccountId(row.get(0)?),
        name: row.get(1)?,
        domain: row.get(2)?,
        realm: row.get(3)?,
        settings: from_json(row, 4)?,
        created: Wall(row.get(5)?),
    })
}

/// A value of ours as JSON.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records of ours have text keys and no failing serialisers")
}

/// A JSON column.
pub(crate) fn from_json<T: for<'de> Deserialize<'de>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Letters, digits, `-`, `_` and `.`.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), AdminError> {
    check_text(what, name)?;
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Ok(());
    }
    Err(AdminError::Invalid { what, why: "use letters, digits, '-', '_' and '.'" })
}

/// A host name, an IPv4 address, or an IPv6 address with or without brackets.
pub(crate) fn check_host(what: &'static str, host: &str) -> Result<(), AdminError> {
    check_text(what, host)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let is_name = bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_name || bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    Err(AdminError::Invalid { what, why: "it is a host name or an IP address" })
}

/// Keys of a phone that can be typed before a number; `#` ends one.
fn check_keys(what: &'static str, keys: &str) -> Result<(), AdminError> {
    if keys.len() <= CODE_KEYS && keys.bytes().all(|key| key.is_ascii_digit() || key == b'*') {
        return Ok(());
    }
    Err(AdminError::Invalid { what, why: "it has at most 8 keys, digits and '*'" })
}

/// Text that fits into a quoted string of a header: not empty, no control characters, quotes or backslashes.
pub(crate) fn check_text(what: &'static str, text: &str) -> Result<(), AdminError> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > limit::NAME_BYTES {
        "it is longer than 128 bytes"
    } else if text.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        "control characters, quotes and backslashes are not allowed"
    } else {
        return Ok(());
    };
    Err(AdminError::Invalid { what, why })
}

/// The longest code.
const CODE_KEYS: usize = 8;

const SELECT: &str = "SELECT id, name, domain, realm, settings, created FROM account";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Durability;

    #[test]
    fn domains_are_kept_in_lower_case_and_belong_to_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        let made = store.create_account(&NewAccount::named("acme", "SIP.Acme.Example"), Wall(5)).unwrap();
        assert_eq!((made.domain.as_str(), made.realm.as_str()), ("sip.acme.example", "sip.acme.example"));
        let again = store.create_account(&NewAccount::named("other", "sip.ACME.example"), Wall(5));
        assert!(matches!(again, Err(AdminError::Taken { what: "the domain" })));
        let again = store.create_account(&NewAccount::named("acme", "b.example"), Wall(5));
        assert!(matches!(again, Err(AdminError::Taken { what: "the name" })));
        assert_eq!(store.accounts().unwrap(), [made]);
    }

    #[test]
    fn what_could_break_a_header_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        for (name, domain) in [("", "a"), ("a b", "a"), ("a", "a b"), ("a", ""), ("a", "x\r\ny"), ("a", "a/b")] {
            let result = store.create_account(&NewAccount::named(name, domain), Wall(0));
            assert!(matches!(result, Err(AdminError::Invalid { .. })), "{name:?} {domain:?}");
        }
        let new = NewAccount { realm: Some("a\"b".into()), ..NewAccount::named("a", "a.example") };
        assert!(store.create_account(&new, Wall(0)).is_err());
    }

    #[test]
    fn settings_change_and_unknown_ones_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        let made = store.create_account(&NewAccount::named("acme", "a.example"), Wall(0)).unwrap();
        let code = |code: &str| AccountSettings { typed_transfer: Some(code.into()), ..AccountSettings::default() };
        for bad in ["#2", "*2#", "12345678*", "a", " "] {
            assert!(matches!(store.set_account(made.id, &code(bad)), Err(AdminError::Invalid { .. })), "{bad}");
        }
        let settings = AccountSettings { ring_for_s: Some(20), ..code("*2") };
        store.set_account(made.id, &settings).unwrap();
        assert_eq!(store.account_named("acme").unwrap().unwrap().settings, settings);
        store.connection.execute("UPDATE account SET settings = '{\"ring_for_s\":9,\"later\":true}'", []).unwrap();
        assert_eq!(store.accounts().unwrap()[0].settings.ring_for_s, Some(9));
        assert!(matches!(store.set_account(AccountId(77), &settings), Err(AdminError::Missing { .. })));
    }
}
