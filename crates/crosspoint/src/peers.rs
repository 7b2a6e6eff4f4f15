//! Where static peers are: their names resolved, now and again, and told to the exchange.

use crate::directory::{PeerAddresses, PeerReach, peer};
use crate::setup::Setup;
use api::Exchange;
use net::udp::Udp;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use switch::Command;
use words::Transport;

/// Our addresses, to find the one that a peer is reached from.
#[derive(Clone, Debug)]
pub(crate) struct Locals {
    udp: Vec<(u16, SocketAddr)>,
    streams: Vec<(u16, Transport, SocketAddr)>,
}

impl Locals {
    pub(crate) fn of(udp: &Udp, setup: &Setup) -> Self {
        let streams = setup.listeners.iter().enumerate().filter(|(_, l)| l.transport != Transport::Udp);
        Locals {
            udp: udp.locals().collect(),
            streams: streams.map(|(n, l)| (n as u16, l.transport, l.address)).collect(),
        }
    }

    /// The listener and address that requests to `remote` leave from.
    fn towards(&self, transport: Transport, remote: SocketAddr) -> Option<(u16, SocketAddr)> {
        let source = net::host::source_towards(remote).ok();
        if transport == Transport::Udp {
            let family = self.udp.iter().filter(|(_, local)| local.is_ipv4() == remote.is_ipv4());
            let mut family = family.copied().peekable();
            let first = family.peek().copied();
            return family.find(|(_, local)| Some(local.ip()) == source).or(first);
        }
        let &(listener, _, local) =
            self.streams.iter().find(|(_, t, l)| *t == transport && l.is_ipv4() == remote.is_ipv4())?;
        let ip = if local.ip().is_unspecified() { source? } else { local.ip() };
        Some((listener, SocketAddr::new(ip, local.port())))
    }
}

/// Reads peers and realms at the start, when told that they changed, and every [`AGAIN`]; never ends by itself.
pub(crate) async fn follow(exchange: Exchange, addresses: PeerAddresses, locals: Locals) {
    loop {
        // Told or not, after a while names may have moved.
        let _ = tokio::time::timeout(AGAIN, exchange.reload.notified()).await;
        if let Err(error) = once(&exchange, &addresses, &locals).await {
            tracing::warn!(%error, "static peers could not be read");
        }
    }
}

async fn once(
    exchange: &Exchange,
    addresses: &PeerAddresses,
    locals: &Locals,
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
        let port = record.port.unwrap_or(record.transport.default_port());
        match net::dns::resolve(&record.host, port).await {
            Ok(found) => {
                let from = found.first().and_then(|&remote| locals.towards(record.transport, remote));
                reaches.insert(record.id, PeerReach { addresses: found, from });
            }
            Err(error) => tracing::warn!(peer = record.name, %error, "the peer's host has no address"),
        }
    }
    let peers = records.into_iter().map(|record| peer(record, &reaches)).collect();
    *addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = reaches;
    exchange.command(Command::Peers { peers }).await?;
    exchange.command(Command::Realms { realms, sole }).await?;
    Ok(())
}

/// How often names are resolved again.
const AGAIN: Duration = Duration::from_mins(1);
/// How many realms strangers may be shown.
const REALMS: usize = 1_000;
