//! From the command line and the configuration to what the exchange needs, with every mistake told before it starts.

use crate::cli::{Profile, RunArgs};
use crate::config::{Config, ConfigError, Durability, PortRange, Tier};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use words::{Seed, Transport};

/// A listener: its place in the list is its number in every flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    /// It is to listen on every IPv6 address of a host that has none. It keeps its number, as registrations are stored with
    /// it, and is passed over.
    pub(crate) absent: bool,
}

/// Everything decided before the start.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) profile: Option<Profile>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) data: Data,
    /// Bench: where numbers beginning with 9 go.
    pub(crate) uas: SocketAddr,
    /// Bench: the network besides loopback that may speak to it.
    pub(crate) allow: Option<Network>,
}

/// The data folder; a temporary one is removed at the end.
#[derive(Debug)]
pub(crate) enum Data {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Data {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Data::Kept(path) => path,
            Data::Temporary(dir) => dir.path(),
        }
    }
}

impl Setup {
    pub(crate) fn new(args: &RunArgs, data: Option<&Path>) -> Result<Setup, ConfigError> {
        let mut config = match &args.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if args.profile == Some(Profile::Bench) {
            bench(&mut config, args);
        }
        overrule(&mut config, args);
        let data = match (data, args.profile) {
            (None, Some(Profile::Bench)) => Data::Temporary(temporary()?),
            (path, _) => Data::Kept(path.unwrap_or(Path::new("data")).to_owned()),
        };
        let allow = args.allow.as_deref().map(Network::parse).transpose()?;
        let listeners = listeners(&config, net::host::has_ipv6())?;
        if args.profile == Some(Profile::Bench) {
            let foreign = listeners.iter().find(|l| !l.address.ip().is_loopback());
            if let (Some(listener), None) = (foreign, allow) {
                return Err(ConfigError(format!(
                    "the bench profile serves loopback only, and {} is not: name the load machine's network with --allow",
                    listener.address
                )));
            }
        }
        Ok(Setup { config, profile: args.profile, listeners, data, uas: args.uas, allow })
    }

    /// The listeners that are opened, with their numbers.
    pub(crate) fn opened(&self) -> impl Iterator<Item = (u16, &Listener)> {
        (0..).zip(&self.listeners).filter(|(_, listener)| !listener.absent)
    }

    pub(crate) fn is_bench(&self) -> bool {
        self.profile == Some(Profile::Bench)
    }

    /// How long a call may be silent; the bench profile does not look.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let seconds = self.config.sip.silence_s;
        (seconds > 0 && !self.is_bench()).then(|| Duration::from_secs(seconds))
    }
}

fn temporary() -> Result<tempfile::TempDir, ConfigError> {
    tempfile::Builder::new()
        .prefix("crosspoint-bench.")
        .tempdir()
        .map_err(|error| ConfigError(format!("no temporary data folder can be made: {error}")))
}

/// What the bench profile changes before the command line has its say.
fn bench(config: &mut Config, args: &RunArgs) {
    let sip = args.sip.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 5060)));
    (config.sip.udp, config.sip.tcp) = (vec![sip], vec![sip]);
    (config.sip.tls, config.sip.ws, config.sip.wss) = (Vec::new(), Vec::new(), Vec::new());
    config.media.ports = PortRange { min: 10_000, max: 32_767 };
    config.limits.calls = 20_000;
}

fn overrule(config: &mut Config, args: &RunArgs) {
    if let (Some(sip), None | Some(Profile::Demo)) = (args.sip, args.profile) {
        (config.sip.udp, config.sip.tcp) = (vec![sip], vec![sip]);
    }
    if let Some(http) = args.http {
        config.http.listen = http;
    }
    if let Some(ports) = args.rtp {
        config.media.ports = ports;
    }
    if let Some(workers) = args.workers {
        config.media.workers = workers;
    }
    if let Some(tier) = args.media {
        config.media.tier = tier;
    }
    if let Some(durability) = args.durability {
        config.store.durability = durability;
    }
}

/// Where media sockets are bound: on the one address that all listeners of a family have, else on all.
pub(crate) fn media_addresses(listeners: &[Listener]) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let all: BTreeSet<IpAddr> = listeners.iter().filter(|one| !one.absent).map(|one| one.address.ip()).collect();
    let v4: Vec<Ipv4Addr> =
        all.iter().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None }).collect();
    let v6: Vec<Ipv6Addr> =
        all.iter().filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None }).collect();
    let one_v4 = if v4.len() > 1 { Some(Ipv4Addr::UNSPECIFIED) } else { v4.first().copied() };
    let one_v6 = if v6.len() > 1 { Some(Ipv6Addr::UNSPECIFIED) } else { v6.first().copied() };
    (one_v4, one_v6)
}

/// What the relay is started with.
pub(crate) fn relay_config(config: &Config, listeners: &[Listener], seed: Seed) -> relay::Config {
    let media = &config.media;
    let (ipv4, ipv6) = media_addresses(listeners);
    relay::Config {
        workers: media.workers,
        ipv4,
        ipv6,
        mode: media.tier.into(),
        xdp: media.xdp,
        dscp: media.dscp,
        single_port: media.single_port,
        ..relay::Config::new(media.ports.min, media.ports.max, seed)
    }
}

/// The listeners of a configuration, in the order of their numbers.
pub(crate) fn listeners(config: &Config, has_ipv6: bool) -> Result<Vec<Listener>, ConfigError> {
    let sip = &config.sip;
    let of = |transport, addresses: &[SocketAddr]| {
        let listener = |&address: &SocketAddr| {
            let absent = address.is_ipv6() && address.ip().is_unspecified() && !has_ipv6;
            Listener { transport, address, absent }
        };
        addresses.iter().map(listener).collect::<Vec<_>>()
    };
    let all = [
        of(Transport::Udp, &sip.udp),
        of(Transport::Tcp, &sip.tcp),
        of(Transport::Tls, &sip.tls),
        of(Transport::Ws, &sip.ws),
        of(Transport::Wss, &sip.wss),
    ];
    let all = all.concat();
    if all.iter().all(|listener| listener.absent) {
        return Err(ConfigError("all listeners are for IPv6, and this machine has no IPv6 address".into()));
    }
    Ok(all)
}

/// A network, written `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn parse(text: &str) -> Result<Network, ConfigError> {
        let wrong = || ConfigError(format!("\"{text}\" is not a network such as 192.0.2.0/24"));
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let (address, bits): (IpAddr, u8) = (address.parse().map_err(|_| wrong())?, bits.parse().map_err(|_| wrong())?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most { Err(wrong()) } else { Ok(Network { address, bits }) }
    }

    /// Whether an address lies in it.
    pub(crate) fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (u32::from(ours) ^ u32::from(theirs)) & mask == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (u128::from(ours) ^ u128::from(theirs)) & mask == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl From<Durability> for controller::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Power => controller::Durability::Power,
            Durability::Process => controller::Durability::Process,
        }
    }
}

impl From<Tier> for relay::Mode {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Auto => relay::Mode::Auto,
            Tier::Kernel => relay::Mode::Kernel,
            Tier::Batch => relay::Mode::Batch,
            Tier::Basic => relay::Mode::Basic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn setup(arguments: &[&str]) -> Result<Setup, ConfigError> {
        let all = [&["crosspoint", "run"][..], arguments].concat();
        let crate::cli::Verb::Run(args) = crate::cli::Cli::try_parse_from(all).unwrap().verb else { panic!() };
        Setup::new(&args, None)
    }

    /// DESIGN §4: loopback, one address for UDP and TCP, and no end for silence.
    #[test]
    fn the_bench_profile_serves_loopback_and_looks_at_no_silence() {
        let bench = setup(&["--profile", "bench"]).unwrap();
        let listeners: Vec<String> =
            bench.opened().map(|(_, listener)| format!("{} {}", listener.transport, listener.address)).collect();
        assert_eq!(listeners, ["UDP 127.0.0.1:5060", "TCP 127.0.0.1:5060"]);
        assert_eq!((bench.silence(), bench.config.http.listen.ip().is_loopback()), (None, true));
        assert_eq!(setup(&["--sip", "127.0.0.1:5060"]).unwrap().silence(), Some(Duration::from_secs(30)));
        let refused = setup(&["--profile", "bench", "--sip", "192.0.2.1:5060"]).unwrap_err();
        assert!(refused.0.contains("serves loopback only, and 192.0.2.1:5060 is not"), "{refused}");
        let allowed = ["--profile", "bench", "--sip", "192.0.2.1:5060", "--allow", "192.0.2.0/24"];
        assert!(setup(&allowed).unwrap().allow.is_some());
    }

    #[test]
    fn a_machine_without_ipv6_is_listened_on_by_ipv4() {
        let config = Config::default();
        let opened = |has_ipv6| -> Vec<(usize, SocketAddr)> {
            let all = listeners(&config, has_ipv6).unwrap().into_iter().enumerate();
            all.filter(|(_, listener)| !listener.absent).map(|(n, listener)| (n, listener.address)).collect()
        };
        assert_eq!(opened(true).len(), 8);
        let left = opened(false);
        assert!(left.len() == 4 && left.iter().all(|one| one.1.is_ipv4() && opened(true).contains(one)), "{left:?}");
        let only = Config::parse("[sip]\nudp = [\"[::]:5060\"]\ntcp = []\ntls = []\nwss = []\n", "x").unwrap();
        assert!(listeners(&only, false).unwrap_err().0.contains("no IPv6 address"));
        // An address that was named is tried, and its failure told.
        let named = Config::parse("[sip]\nudp = [\"[::1]:5060\"]\n", "x").unwrap();
        assert!(listeners(&named, false).unwrap().iter().any(|one| one.address.is_ipv6() && !one.absent));
    }

    #[test]
    fn networks_hold_their_addresses() {
        let network = Network::parse("192.0.2.0/24").unwrap();
        assert!(network.contains("192.0.2.77".parse().unwrap()) && !network.contains("192.0.3.1".parse().unwrap()));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(Network::parse("192.0.2.0/33").is_err() && Network::parse("x").is_err());
    }
}
