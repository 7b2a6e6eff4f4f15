//! What the exchange is told at its start.

use b2bua::SessionConfig;
use media::command::Family;
use media::ports::PoolConfig;
use registrar::RegistrarConfig;
use sip::advertise::ALLOW;
use sip::endpoint::Advertised;
use sip::locate::Means;
use sip::{EndpointConfig, EndpointLimits};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::{AccountId, ShardId, Transport};

/// Settings of the whole exchange. Those of an account come with its record.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own, and none excludes another")]
#[derive(Clone, Debug)]
pub struct Config {
    /// What `Server` and `User-Agent` say.
    pub server: String,
    /// The listeners, in the order of [`words::Flow::listener`].
    pub listeners: Vec<ListenerConfig>,
    /// The most calls at a time.
    pub calls: usize,
    /// The most transactions at a time; [`sip::EndpointLimits::transactions`].
    pub transactions: usize,
    /// How long an answered call may be without media; `None` switches the check off.
    pub silence: Option<Duration>,
    /// The longest that a call may last.
    pub call_limit: Duration,
    /// Session timers (RFC 4028).
    pub session: SessionConfig,
    /// Our addresses as the outside sees them, when they differ from the local ones.
    pub advertised: Option<IpAddr>,
    /// Whether sources are limited for wrong passwords.
    pub throttle: bool,
    /// Whether devices that need no ping to stay reachable are asked now and then whether they are there.
    pub asks_devices: bool,
    /// Whether a device that registers is told to send all that it asks for through us (RFC 3608).
    pub service_route: bool,
    /// Offers RTP and RTCP on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// The media port that all legs share which can be told apart there.
    pub single_port: Option<u16>,
    /// The pool of media ports.
    pub ports: PoolConfig,
    /// The families that media ports exist of.
    pub families: Vec<Family>,
    /// Where the exchange listens: Contacts must not point there.
    pub own: Vec<SocketAddr>,
    /// What users dial to be served by the exchange itself.
    pub codes: Codes,
    /// From where requests can leave to peers that are known by name.
    pub ways: Vec<Way>,
}

/// The feature codes. An empty one is switched off; a number that an account's route names exactly is never one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    /// Answers and sends the audio back.
    pub echo: String,
    /// Before an extension: answers the call that rings there.
    pub pickup: String,
    /// Before a number: whom the caller has on hold goes there.
    pub hand_over: String,
    /// Before a number: calls it; when the caller hangs up, whom he has on hold talks there instead.
    pub consult: String,
    /// While talking, before a number and `#`: the other side goes there. Empty unless somebody says what it is.
    pub typed_transfer: String,
    /// Before a number: calls it without saying who calls.
    pub hide: String,
}

impl Default for Codes {
    fn default() -> Self {
        let [echo, pickup, hand_over, consult, hide] = ["*43", "**", "*2", "*3", "*67"].map(str::to_owned);
        Codes { echo, pickup, hand_over, consult, hide, typed_transfer: String::new() }
    }
}

/// A listener's address, as the source of requests.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What it carries.
    pub transport: Transport,
    /// Its place among the listeners.
    pub listener: u16,
    /// Its address; on streams it may be a wildcard.
    pub local: SocketAddr,
}

impl Way {
    /// The listener and the address of ours that requests to `remote` leave from: those that lie at `source`, from where the
    /// system reaches it, else the first that fit at all.
    pub fn towards(
        ways: &[Way],
        transport: Transport,
        remote: SocketAddr,
        source: Option<IpAddr>,
    ) -> Option<(u16, SocketAddr)> {
        let fits = |way: &&Way| way.transport == transport && way.local.is_ipv4() == remote.is_ipv4();
        let mut fitting = ways.iter().filter(fits);
        let first = fitting.clone().next()?;
        let way = fitting.find(|way| Some(way.local.ip()) == source).unwrap_or(first);
        let ip = if way.local.ip().is_unspecified() { source? } else { way.local.ip() };
        Some((way.listener, SocketAddr::new(ip, way.local.port())))
    }
}

/// A listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerConfig {
    /// The account that everything on it belongs to.
    pub account: Option<AccountId>,
    /// The port that the outside sees, when our address is advertised.
    pub port: Option<u16>,
    /// Whether INVITEs on it are taken without a digest; one that comes is checked. Only a listener on loopback that names its account may say so.
    pub open: bool,
}

impl Config {
    pub(crate) fn endpoint(&self) -> EndpointConfig {
        let advertised = self.advertised.map(|address| {
            let sent_by = SocketAddr::new(address, 0);
            let listeners = self.listeners.iter().enumerate().filter_map(|(listener, l)| Some((listener, l.port?)));
            listeners
                .map(|(listener, port)| Advertised {
                    listener: listener as u16,
                    sent_by: SocketAddr::new(sent_by.ip(), port).to_string(),
                })
                .collect()
        });
        EndpointConfig {
            shard: ShardId(0),
            server: self.server.clone(),
            advertised: advertised.unwrap_or_default(),
            force_rport: true,
            calls_again: true,
            limits: EndpointLimits { transactions: self.transactions, ..EndpointLimits::default() },
            ..EndpointConfig::default()
        }
    }

    pub(crate) fn calls_config(&self) -> b2bua::Config {
        b2bua::Config {
            shard: ShardId(0),
            server: self.server.clone(),
            allow: ALLOW.to_owned(),
            calls: self.calls,
            call_limit: self.call_limit,
            session: self.session,
            advertised: self.advertised,
            typed_transfer: self.codes.typed_transfer.clone(),
            rtcp_mux: self.rtcp_mux,
            single_port: self.single_port,
            ports: self.ports,
            families: self.families.clone(),
            addresses: self.addresses(),
            ..b2bua::Config::default()
        }
    }

    /// Those that can be told to others.
    fn addresses(&self) -> Vec<IpAddr> {
        let all = self.ways.iter().map(|way| way.local.ip().to_canonical());
        all.filter(|address| !address.is_unspecified()).collect()
    }

    pub(crate) fn means(&self) -> Means {
        Means::of(self.ways.iter().map(|way| (way.transport, way.local.ip())))
    }

    pub(crate) fn registrar(&self) -> RegistrarConfig {
        let usual = RegistrarConfig::default();
        let ask_every = usual.ask_every.filter(|_| self.asks_devices);
        RegistrarConfig { own: self.own.clone(), ask_every, ..usual }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server: "Crosspoint".into(),
            listeners: Vec::new(),
            calls: 5_000,
            transactions: EndpointLimits::default().transactions,
            silence: Some(Duration::from_secs(30)),
            call_limit: words::limit::CALL,
            session: SessionConfig::default(),
            advertised: None,
            throttle: true,
            asks_devices: true,
            service_route: false,
            rtcp_mux: false,
            single_port: None,
            ports: PoolConfig::default(),
            families: vec![Family::V4],
            own: Vec::new(),
            codes: Codes::default(),
            ways: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_leave_by_the_listener_that_lies_on_the_way() {
        let way = |transport, listener, local: &str| Way { transport, listener, local: local.parse().unwrap() };
        let ways = [
            way(Transport::Udp, 0, "192.0.2.1:5060"),
            way(Transport::Udp, 1, "10.0.0.1:5060"),
            way(Transport::Tcp, 2, "0.0.0.0:5060"),
        ];
        let towards = |transport, remote: &str, source: Option<&str>| {
            let found = Way::towards(&ways, transport, remote.parse().unwrap(), source.map(|ip| ip.parse().unwrap()));
            found.map(|(listener, local)| format!("{listener} {local}"))
        };
        assert_eq!(towards(Transport::Udp, "10.0.0.9:5060", Some("10.0.0.1")).unwrap(), "1 10.0.0.1:5060");
        assert_eq!(towards(Transport::Udp, "8.8.8.8:5060", Some("172.16.0.1")).unwrap(), "0 192.0.2.1:5060");
        assert_eq!(towards(Transport::Tcp, "10.0.0.9:5060", Some("10.0.0.1")).unwrap(), "2 10.0.0.1:5060");
        assert_eq!(towards(Transport::Tcp, "10.0.0.9:5060", None), None);
        assert_eq!(towards(Transport::Udp, "[2001:db8::1]:5060", None), None);
        assert_eq!(towards(Transport::Tls, "10.0.0.9:5061", Some("10.0.0.1")), None);
    }
}
