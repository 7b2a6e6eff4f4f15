//! What the shell knows of static peers: from where those with an address are reached, and whose certificates they show.

use crate::directory::{PeerAddresses, PeerReach, peer};
use crate::setup::Setup;
use api::Exchange;
use net::tls::Trust;
use net::udp::Udp;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use switch::{Command, Way};
use words::diagnosis::{Diagnosis, Language};
use words::{PeerId, Transport};

/// Our addresses, to find the one that a peer is reached from.
#[derive(Clone, Debug)]
pub(crate) struct Locals(Vec<Way>);

impl Locals {
    pub(crate) fn of(udp: &Udp, setup: &Setup) -> Self {
        let way = |transport, listener, local| Way { transport, listener, local };
        let datagrams = udp.locals().map(|(listener, local)| way(Transport::Udp, listener, local));
        let streams = setup.opened().filter(|(_, listener)| listener.transport != Transport::Udp);
        Locals(datagrams.chain(streams.map(|(n, l)| way(l.transport, n, l.address))).collect())
    }

    /// All of them.
    pub(crate) fn ways(&self) -> Vec<Way> {
        self.0.clone()
    }

    /// The listener and address that requests to `remote` leave from.
    fn towards(&self, transport: Transport, remote: SocketAddr) -> Option<(u16, SocketAddr)> {
        Way::towards(&self.0, transport, remote, net::host::source_towards(remote).ok())
    }
}

/// Reads peers and realms at the start, when told that they changed, and every [`AGAIN`]; never ends by itself.
pub(crate) async fn follow(exchange: Exchange, addresses: PeerAddresses, locals: Locals) {
    let mut warned = BTreeSet::new();
    loop {
        // Told or not, after a while our own addresses may have changed.
        let _ = tokio::time::timeout(AGAIN, exchange.reload.notified()).await;
        if let Err(error) = once(&exchange, &addresses, &locals, &mut warned).await {
            tracing::warn!(%error, "static peers could not be read");
        }
    }
}

async fn once(
    exchange: &Exchange,
    addresses: &PeerAddresses,
    locals: &Locals,
    warned: &mut BTreeSet<PeerId>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (records, realms, sole) = exchange
        .with_store(|store| {
            let accounts = store.accounts()?;
            let mut records = Vec::new();
            for account in &accounts {
                records.extend(store.peers(account.id)?);
            }
            let sole = if let [only] = accounts.as_slice() { Some(only.id) } else { None };
            let realms: Vec<String> = accounts.into_iter().map(|account| account.realm).take(REALMS).collect();
            Ok((records, realms, sole))
        })
        .await?;
    let mut reaches = BTreeMap::new();
    for record in &records {
        let trust = if record.verify { Trust::Named(record.host.clone()) } else { Trust::Anybody };
        let mut reach = PeerReach { addresses: Vec::new(), from: None, trust };
        if let Some(remote) = record.address() {
            reach.from = locals.towards(record.transport.unwrap_or(Transport::Udp), remote);
            reach.addresses.push(remote);
        }
        reaches.insert(record.id, reach);
        if !record.verify && record.may_use_tls() && warned.insert(record.id) {
            let text = Diagnosis::TlsUnverified.text(Language::En);
            let diag = Diagnosis::TlsUnverified.id();
            tracing::warn!(diag, peer = record.name, "{} {} {}", text.what, text.means, text.todo);
        }
    }
    let peers = records.into_iter().map(|record| peer(record, &reaches)).collect();
    *addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = reaches;
    exchange.command(Command::Peers { peers }).await?;
    exchange.command(Command::Realms { realms, sole }).await?;
    Ok(())
}

/// How often peers are read again without being told.
const AGAIN: Duration = Duration::from_mins(1);
/// How many realms strangers may be shown.
const REALMS: usize = 1_000;
