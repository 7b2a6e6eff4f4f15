//! Routes: where a dialled string leads.

use crate::account::{check_text, from_json, to_json};
use crate::error::AdminError;
use crate::limit;
use crate::peer;
use crate::store::Store;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use std::fmt;
use words::{AccountId, PeerId};

/// A route's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteRecord {
    /// Which dialled strings it takes.
    pub pattern: Pattern,
    /// Where they lead.
    pub target: RouteTarget,
}

/// Which dialled strings a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This string only. A feature code such as `*43` is exact.
    Exact(String),
    /// What begins so; written with a `*` behind. A prefix of digits takes digits only.
    Prefix(String),
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Pattern, AdminError> {
        check_text("the pattern", text)?;
        if text.chars().any(char::is_whitespace) {
            return Err(AdminError::Invalid { what: "the pattern", why: "spaces are not dialled" });
        }
        match text.strip_suffix('*') {
            Some(prefix) if !prefix.is_empty() => Ok(Pattern::Prefix(prefix.to_owned())),
            Some(_) | None => Ok(Pattern::Exact(text.to_owned())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(text) => f.write_str(text),
            Pattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RouteTarget {
    /// The exchange answers itself.
    Service {
        /// How.
        name: Service,
    },
    /// A ring list.
    Ring {
        /// The extensions of the account.
        extensions: Vec<String>,
        /// How long each round rings. Units: seconds.
        ring_for_s: u32,
        /// In which order.
        strategy: Strategy,
    },
    /// A static peer of the account.
    Peer {
        /// Which.
        peer: PeerId,
        /// How many leading characters are taken off first.
        strip: u8,
        /// What is put before the rest.
        prepend: String,
    },
}

/// What the exchange itself can do with a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Answers and sends the audio back.
    Echo,
    /// Answers and plays 440 Hz.
    Tone440,
    /// 486.
    Busy,
    /// Rings for good.
    Noanswer,
    /// 183 with audio, no answer.
    Early183,
    /// Rings, answers after a while, sends the audio back.
    AnswerAfter {
        /// Units: seconds. `None`: what stands in the place of the pattern's `*`.
        seconds: Option<u16>,
    },
}

/// How a ring list rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// All at once.
    #[default]
    All,
    /// One after another.
    InOrder,
}

impl Store {
    /// Adds a route.
    pub fn add_route(&self, account: AccountId, pattern: &Pattern, target: &RouteTarget) -> Result<(), AdminError> {
        let transaction = self.connection.unchecked_transaction()?;
        crate::account::account(&transaction, account)?.ok_or(AdminError::Missing { what: "account" })?;
        check_target(&transaction, account, target)?;
        let there = routes(&transaction, account)?;
        if there.iter().any(|route| route.pattern == *pattern) {
            return Err(AdminError::Taken { what: "the pattern" });
        }
        if there.len() >= limit::ROUTES_PER_ACCOUNT {
            return Err(AdminError::Full { what: "routes", limit: limit::ROUTES_PER_ACCOUNT });
        }
        insert(&transaction, account, pattern, target)?;
        transaction.commit()?;
        Ok(())
    }

    /// The routes of an account, by pattern.
    pub fn routes(&self, account: AccountId) -> Result<Vec<RouteRecord>, AdminError> {
        Ok(routes(&self.connection, account)?)
    }

    /// Removes a route.
    pub fn remove_route(&self, account: AccountId, pattern: &Pattern) -> Result<(), AdminError> {
        let removed = self.connection.execute(
            "DELETE FROM route WHERE account = ?1 AND pattern = ?2",
            params![account.0, pattern.to_string()],
        )?;
        if removed == 0 { Err(AdminError::Missing { what: "route" }) } else { Ok(()) }
    }
}

pub(crate) fn routes(connection: &Connection, account: AccountId) -> rusqlite::Result<Vec<RouteRecord>> {
    let mut statement =
        connection.prepare_cached("SELECT pattern, target FROM route WHERE account = ?1 ORDER BY pattern")?;
    let rows = statement.query_map([account.0], |row| {
        let text: String = row.get(0)?;
        // A row that is there was checked when it was made.
        let pattern = Pattern::parse(&text).unwrap_or(Pattern::Exact(text));
        Ok(RouteRecord { pattern, target: from_json(row, 1)? })
    })?;
    rows.collect()
}

pub(crate) fn insert(
    connection: &Connection,
    account: AccountId,
    pattern: &Pattern,
    target: &RouteTarget,
) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT INTO route (account, pattern, target) VALUES (?1, ?2, ?3)")?.execute(params![
        account.0,
        pattern.to_string(),
        to_json(target)
    ])?;
    Ok(())
}

fn check_target(connection: &Connection, account: AccountId, target: &RouteTarget) -> Result<(), AdminError> {
    match target {
        RouteTarget::Service { .. } => Ok(()),
        RouteTarget::Ring { extensions, .. } => {
            if extensions.is_empty() || extensions.len() > limit::RING_LIST {
                return Err(AdminError::Invalid { what: "the ring list", why: "it names 1 to 32 extensions" });
            }
            Ok(())
        }
        RouteTarget::Peer { peer, prepend, .. } => {
            if !prepend.is_empty() {
                check_text("what is put before the number", prepend)?;
            }
            let known = peer::peers(connection, account)?.iter().any(|known| known.id == *peer);
            if known { Ok(()) } else { Err(AdminError::Missing { what: "peer" }) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, NewAccount};
    use words::Wall;

    #[test]
    fn patterns_and_targets_are_read_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        let a = store.create_account(&NewAccount::named("a", "a.example"), Wall(0)).unwrap().id;
        let b = store.create_account(&NewAccount::named("b", "b.example"), Wall(0)).unwrap().id;
        let ring = RouteTarget::Ring { extensions: vec!["101".into()], ring_for_s: 20, strategy: Strategy::InOrder };
        let after = RouteTarget::Service { name: Service::AnswerAfter { seconds: Some(3) } };
        let echo = RouteTarget::Service { name: Service::Echo };
        for (pattern, target) in [("*43", &echo), ("600", &ring), ("answer-*", &after)] {
            store.add_route(a, &Pattern::parse(pattern).unwrap(), target).unwrap();
        }
        let read: Vec<_> = store.routes(a).unwrap().into_iter().map(|r| (r.pattern.to_string(), r.target)).collect();
        assert_eq!(read, [("*43".into(), echo.clone()), ("600".into(), ring), ("answer-*".into(), after)]);
        assert!(store.directory().unwrap().routes(b).unwrap().is_empty());
        let feature = Pattern::parse("*43").unwrap();
        assert_eq!(feature, Pattern::Exact("*43".into()));
        assert!(matches!(store.add_route(a, &feature, &echo), Err(AdminError::Taken { .. })));
        assert!(matches!(store.remove_route(b, &feature), Err(AdminError::Missing { .. })));
        store.remove_route(a, &feature).unwrap();
        assert_eq!(store.routes(a).unwrap().len(), 2);
    }

    #[test]
    fn the_json_of_a_target_is_what_people_write() {
        for (json, target) in [
            (r#"{"kind":"service","name":"echo"}"#, RouteTarget::Service { name: Service::Echo }),
            (
                r#"{"kind":"service","name":{"answer_after":{"seconds":5}}}"#,
                RouteTarget::Service { name: Service::AnswerAfter { seconds: Some(5) } },
            ),
            (
                r#"{"kind":"peer","peer":2,"strip":1,"prepend":"8"}"#,
                RouteTarget::Peer { peer: PeerId(2), strip: 1, prepend: "8".into() },
            ),
        ] {
            assert_eq!((to_json(&target).as_str(), serde_json::from_str(json).unwrap()), (json, target));
        }
    }
}
