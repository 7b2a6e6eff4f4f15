//! Static peers: other SIP servers known by their address or their name.

use crate::account::{self, check_host, check_name};
use crate::error::AdminError;
use crate::limit;
use crate::route::RouteTarget;
use crate::store::Store;
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use words::{AccountId, PeerId, Srtp, Transport, Wall};

/// A peer's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerRecord {
    /// Its id, never used again.
    pub id: PeerId,
    /// Whose it is: calls from its address belong to this account.
    pub account: AccountId,
    /// Its name, unique within its account.
    pub name: String,
    /// A host name or an address, IPv6 without brackets.
    pub host: String,
    /// The port; the default of the transport, or what DNS says, when `None`.
    pub port: Option<u16>,
    /// How it is reached; what DNS says of a name, and UDP to an address, when `None`.
    pub transport: Option<Transport>,
    /// Whether its certificate is verified where it is reached by TLS (RFC 5922).
    pub verify: bool,
    /// Whether what it says about who calls is believed (RFC 3325).
    pub trust_identity: bool,
    /// Whether it is told who calls, private callers too.
    pub tell_identity: bool,
    /// Whether its media are to be encrypted.
    pub srtp: Srtp,
    /// When it was added.
    pub created: Wall,
}

/// A peer to be added.
#[derive(Clone, Debug)]
pub struct NewPeer {
    /// Whose it is.
    pub account: AccountId,
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// A host name or an address.
    pub host: String,
    /// The port; the default of the transport when `None`.
    pub port: Option<u16>,
    /// UDP, TCP or TLS; `None`: see [`PeerRecord::transport`].
    pub transport: Option<Transport>,
    /// Whether its certificate is verified.
    pub verify: bool,
    /// Whether what it says about who calls is believed.
    pub trust_identity: bool,
    /// Whether it is told who calls, private callers too.
    pub tell_identity: bool,
    /// Whether its media are to be encrypted.
    pub srtp: Srtp,
}

impl PeerRecord {
    /// Its address, when it is known by that.
    pub fn address(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        let transport = self.transport.unwrap_or(Transport::Udp);
        Some(SocketAddr::new(ip, self.port.unwrap_or(transport.default_port())))
    }

    /// Whether it may be reached by TLS: then its certificate matters.
    pub fn may_use_tls(&self) -> bool {
        self.transport.map_or_else(|| self.address().is_none(), Transport::is_secure)
    }
}

impl Store {
    /// Adds a peer.
    pub fn add_peer(&self, new: &NewPeer, now: Wall) -> Result<PeerRecord, AdminError> {
        check_name("the name", &new.name)?;
        check_host("the host", &new.host)?;
        if matches!(new.transport, Some(Transport::Ws | Transport::Wss)) {
            return Err(AdminError::Invalid { what: "the transport", why: "peers speak UDP, TCP or TLS" });
        }
        let transaction = self.connection.unchecked_transaction()?;
        account::account(&transaction, new.account)?.ok_or(AdminError::Missing { what: "account" })?;
        let there = peers(&transaction, new.account)?;
        if there.iter().any(|peer| peer.name == new.name) {
            return Err(AdminError::Taken { what: "the name" });
        }
        if there.len() >= limit::PEERS_PER_ACCOUNT {
            return Err(AdminError::Full { what: "peers", limit: limit::PEERS_PER_ACCOUNT });
        }
        let host = new.host.trim_matches(['[', ']']).to_ascii_lowercase();
        transaction.execute(
            "INSERT INTO peer (account, name, host, port, transport, created, trust_identity, tell_identity, verify,
             srtp) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                new.account.0,
                new.name,
                host,
                new.port,
                token(new.transport),
                now.0,
                new.trust_identity,
                new.tell_identity,
                new.verify,
                new.srtp.as_str(),
            ],
        )?;
        let id = PeerId(transaction.last_insert_rowid() as u32);
        transaction.commit()?;
        let NewPeer { account, name, port, transport, verify, trust_identity, tell_identity, srtp, .. } = new.clone();
        let created = now;
        Ok(PeerRecord {
            id,
            account,
            name,
            host,
            port,
            transport,
            verify,
            trust_identity,
            tell_identity,
            srtp,
            created,
        })
    }

    /// The peers of an account, by name.
    pub fn peers(&self, account: AccountId) -> Result<Vec<PeerRecord>, AdminError> {
        Ok(peers(&self.connection, account)?)
    }

    /// Removes a peer that no route leads to.
    pub fn remove_peer(&self, account: AccountId, name: &str) -> Result<PeerRecord, AdminError> {
        let transaction = self.connection.unchecked_transaction()?;
        let found = peers(&transaction, account)?.into_iter().find(|peer| peer.name == name);
        let peer = found.ok_or(AdminError::Missing { what: "peer" })?;
        let leads_here =
            |target: &RouteTarget| matches!(target, RouteTarget::Peer { peer: other, .. } if *other == peer.id);
        if crate::route::routes(&transaction, account)?.iter().any(|route| leads_here(&route.target)) {
            return Err(AdminError::Used { what: "peer" });
        }
        transaction.execute("DELETE FROM peer WHERE account = ?1 AND id = ?2", params![account.0, peer.id.0])?;
        transaction.commit()?;
        Ok(peer)
    }
}

pub(crate) fn peers(connection: &Connection, account: AccountId) -> rusqlite::Result<Vec<PeerRecord>> {
    let sql = format!("{SELECT} WHERE account = ?1 ORDER BY name");
    connection.prepare_cached(&sql)?.query_map([account.0], read)?.collect()
}

pub(crate) fn all_peers(connection: &Connection) -> rusqlite::Result<Vec<PeerRecord>> {
    connection.prepare_cached(&format!("{SELECT} ORDER BY id"))?.query_map([], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<PeerRecord> {
    Ok(PeerRecord {
        id: PeerId(row.get(0)?),
        account: AccountId(row.get(1)?),
        name: row.get(2)?,
        host: row.get(3)?,
        port: row.get(4)?,
        transport: match row.get_ref(5)?.as_str()? {
            "tcp" => Some(Transport::Tcp),
            "tls" => Some(Transport::Tls),
            AUTO => None,
            _ => Some(Transport::Udp),
        },
        created: Wall(row.get(6)?),
        trust_identity: row.get(7)?,
        tell_identity: row.get(8)?,
        verify: row.get(9)?,
        srtp: Srtp::parse(row.get_ref(10)?.as_str()?).unwrap_or_default(),
    })
}

/// How a row names a transport. A release that does not know `auto` takes it for UDP.
fn token(transport: Option<Transport>) -> &'static str {
    transport.map_or(AUTO, Transport::uri_token)
}

const AUTO: &str = "auto";
const SELECT: &str =
    "SELECT id, account, name, host, port, transport, created, trust_identity, tell_identity, verify, srtp FROM peer";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, NewAccount, Pattern};

    #[test]
    fn a_peer_belongs_to_one_account_and_stays_while_a_route_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        let a = store.create_account(&NewAccount::named("a", "a.example"), Wall(0)).unwrap().id;
        let b = store.create_account(&NewAccount::named("b", "b.example"), Wall(0)).unwrap().id;
        let (name, host) = ("uas".to_owned(), "[2001:DB8::1]".to_owned());
        let new = NewPeer {
            account: a,
            name,
            host,
            port: Some(5070),
            transport: Some(Transport::Tcp),
            verify: true,
            trust_identity: true,
            tell_identity: false,
            srtp: Srtp::Required,
        };
        let peer = store.add_peer(&new, Wall(3)).unwrap();
        assert_eq!((peer.host.as_str(), store.peers(a).unwrap()), ("2001:db8::1", vec![peer.clone()]));
        assert!(store.peers(b).unwrap().is_empty());
        assert!(matches!(store.add_peer(&new, Wall(3)), Err(AdminError::Taken { .. })));
        store.add_peer(&NewPeer { account: b, ..new.clone() }, Wall(3)).unwrap();
        let target = RouteTarget::Peer { peer: peer.id, strip: 1, prepend: String::new() };
        let pattern = Pattern::parse("9*").unwrap();
        assert!(matches!(store.add_route(b, &pattern, &target), Err(AdminError::Missing { what: "peer" })));
        store.add_route(a, &pattern, &target).unwrap();
        assert!(matches!(store.remove_peer(a, "uas"), Err(AdminError::Used { .. })));
        store.remove_route(a, &pattern).unwrap();
        store.remove_peer(a, "uas").unwrap();
        assert_eq!((store.peers(a).unwrap().len(), store.peers(b).unwrap().len()), (0, 1));
        let ws = NewPeer { transport: Some(Transport::Ws), name: "x".into(), ..new.clone() };
        assert!(matches!(store.add_peer(&ws, Wall(0)), Err(AdminError::Invalid { .. })));
        let named = NewPeer { host: "Carrier.example".into(), port: None, transport: None, verify: false, ..new };
        let made = store.add_peer(&named, Wall(4)).unwrap();
        assert_eq!((made.transport, made.verify, made.address()), (None, false, None));
        assert_eq!(store.peers(a).unwrap(), vec![made]);
        assert_eq!(peer.address(), Some("[2001:db8::1]:5070".parse().unwrap()));
    }
}
