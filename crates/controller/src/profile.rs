//! The account that load tests drive.

use crate::error::AdminError;
use crate::route::{self, Pattern, RouteTarget, Service};
use crate::store::Store;
use crate::user::{self, AlgorithmPolicy, UserRecord};
use sip::digest::Ha1;
use std::net::SocketAddr;
use words::{AccountId, PeerId, Transport, UserId, Wall};

/// What [`Store::seed_bench`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchProfile {
    /// The account `bench`.
    pub account: AccountId,
    /// The peer `uas`.
    pub uas: PeerId,
}

impl Store {
    /// Makes the account `bench` with realm and domain `bench`, users `1000` to `1999` with password `secret<user>`, the
    /// services by name, and the peer `uas` behind all numbers that begin with 9. A folder that has it already gets the
    /// peer's address only.
    pub fn seed_bench(&self, uas: SocketAddr, now: Wall) -> Result<BenchProfile, AdminError> {
        if let Some(account) = self.account_named(NAME)? {
            return self.renew_bench(account.id, uas);
        }
        // One transaction around all: a thousand users of their own would be a thousand commits.
        self.connection.execute_batch("SAVEPOINT bench")?;
        let made = self.make_bench(uas, now);
        self.connection.execute_batch(if made.is_ok() {
            "RELEASE bench"
        } else {
            "ROLLBACK TO bench; RELEASE bench"
        })?;
        made
    }

    fn make_bench(&self, uas: SocketAddr, now: Wall) -> Result<BenchProfile, AdminError> {
        let connection = &self.connection;
        connection.execute(
            "INSERT INTO account (name, domain, realm, created) VALUES (?1, ?1, ?1, ?2)",
            rusqlite::params![NAME, now.0],
        )?;
        let account = AccountId(connection.last_insert_rowid() as u32);
        for number in USERS {
            let extension = number.to_string();
            let hashes = Ha1::new(&extension, NAME, &format!("secret{extension}"));
            user::insert(
                connection,
                &UserRecord {
                    account,
                    id: UserId(0),
                    auth_user: extension.clone(),
                    extension,
                    realm: NAME.into(),
                    ha1_md5: hashes.md5,
                    ha1_sha256: hashes.sha256,
                    ha1_sha512_256: hashes.sha512_256,
                    algorithms: AlgorithmPolicy::All,
                    display_name: String::new(),
                    enabled: true,
                    srtp: words::Srtp::default(),
                    created: now,
                },
            )?;
        }
        connection.execute(
            "INSERT INTO peer (account, name, host, port, transport, created) VALUES (?1, 'uas', ?2, ?3, ?4, ?5)",
            rusqlite::params![account.0, uas.ip().to_string(), uas.port(), Transport::Udp.uri_token(), now.0],
        )?;
        let peer = PeerId(connection.last_insert_rowid() as u32);
        for (pattern, name) in SERVICES {
            route::insert(connection, account, &Pattern::parse(pattern)?, &RouteTarget::Service { name })?;
        }
        let target = RouteTarget::Peer { peer, strip: 0, prepend: String::new() };
        route::insert(connection, account, &Pattern::parse("9*")?, &target)?;
        Ok(BenchProfile { account, uas: peer })
    }

    fn renew_bench(&self, account: AccountId, uas: SocketAddr) -> Result<BenchProfile, AdminError> {
        let found = self.peers(account)?.into_iter().find(|peer| peer.name == "uas");
        let peer = found.ok_or(AdminError::Missing { what: "peer" })?.id;
        self.connection.execute(
            "UPDATE peer SET host = ?3, port = ?4 WHERE account = ?1 AND id = ?2",
            rusqlite::params![account.0, peer.0, uas.ip().to_string(), uas.port()],
        )?;
        Ok(BenchProfile { account, uas: peer })
    }
}

const NAME: &str = "bench";
const USERS: std::ops::Range<u32> = 1_000..2_000;
const SERVICES: [(&str, Service); 7] = [
    ("answer-*", Service::AnswerAfter { seconds: None }),
    ("busy", Service::Busy),
    ("early183", Service::Early183),
    ("echo", Service::Echo),
    ("noanswer", Service::Noanswer),
    ("service", Service::Echo),
    ("tone440", Service::Tone440),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Durability;

    #[test]
    fn the_bench_account_is_whole_and_a_second_start_changes_only_the_peer() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Power).unwrap();
        let made = store.seed_bench("127.0.0.1:5070".parse().unwrap(), Wall(0)).unwrap();
        let users = store.users(made.account).unwrap();
        let ends = (users[0].extension.as_str(), users[999].auth_user.as_str());
        assert_eq!((users.len(), ends), (1_000, ("1000", "1999")));
        assert!(users[7].ha1_md5 == Ha1::new("1007", "bench", "secret1007").md5);
        assert_eq!(store.routes(made.account).unwrap().len(), SERVICES.len() + 1);
        let directory = store.directory().unwrap();
        assert_eq!(directory.account_by_domain("bench").unwrap().unwrap().realm, "bench");
        assert_eq!(store.seed_bench("[::1]:5071".parse().unwrap(), Wall(9)).unwrap(), made);
        let peers = directory.peers(made.account).unwrap();
        assert_eq!((peers[0].host.as_str(), peers[0].port, peers.len()), ("::1", Some(5071), 1));
    }
}
