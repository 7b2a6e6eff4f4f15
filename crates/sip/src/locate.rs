//! Finding the servers of a SIP or SIPS URI (RFC 3263).
//!
//! Nothing is kept between two tries: [`locate`] looks at what is known of DNS, and either has the list or names the
//! questions whose answers it lacks. Whoever has those asks, keeps what was answered for its time, and tries again. So a
//! cache is all that there is to keep, and any number of searches share it.
//!
//! ```
//! use sip::locate::{Means, Search, Wanted, locate};
//! use std::time::Duration;
//! use words::dns::{Address, Answer, Kind, Question, Records};
//! use words::{Chance, Seed, Transport};
//!
//! let wanted = Wanted { port: Some(5080), ..Wanted::host("sbc.example") };
//! let means = Means::of([(Transport::Udp, "192.0.2.1".parse().unwrap())]);
//! let mut chance = Chance::new(Seed::from_number(1));
//!
//! let Search::Ask(questions) = locate(&wanted, means, &mut |_| None, &mut chance) else { panic!() };
//! assert_eq!(questions, [Question::new(Kind::A, "sbc.example")]);
//!
//! let address = Address { ip: "192.0.2.7".parse().unwrap(), from: None };
//! let answer = Answer { records: Records::Addresses(vec![address]), ttl: Duration::from_secs(60) };
//! let Search::Found(found) = locate(&wanted, means, &mut |_| Some(&answer), &mut chance) else { panic!() };
//! assert_eq!(found.servers[0].address, "192.0.2.7:5080".parse().unwrap());
//! ```
//!
//! Limits: [`NAPTRS`], [`SRVS`], [`ADDRESSES`], [`SERVERS`], [`QUESTIONS`]. A NAPTR record leads to SRV records or to
//! addresses and no further, and CNAMEs are the resolver's, so nothing can go round in circles.

mod order;
#[cfg(test)]
mod tests;

use crate::msg::{Scheme, Uri};
use order::by_priority_and_weight;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::dns::{Address, Answer, Kind, Naptr, Question, Records, Srv};
use words::{Chance, Transport};

/// What is sought: what of a URI decides where it leads (RFC 3263 §4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// TARGET: a name or an address, IPv6 with or without brackets.
    pub host: Box<str>,
    /// The port, when it is written.
    pub port: Option<u16>,
    /// The transport, when it is written.
    pub transport: Option<Transport>,
    /// `sips`: nothing but TLS will do.
    pub secure: bool,
}

impl Wanted {
    /// A host without port and transport.
    pub fn host(host: &str) -> Wanted {
        Wanted { host: host.into(), port: None, transport: None, secure: false }
    }

    /// What a URI names; `None` when it names no server.
    pub fn of(uri: &Uri<'_>) -> Option<Wanted> {
        let secure = match uri.scheme {
            Scheme::Sip => false,
            Scheme::Sips => true,
            Scheme::Tel | Scheme::Other => return None,
        };
        let transport = match uri.param("transport") {
            None => None,
            Some(token) => Some(*SPOKEN.iter().find(|known| known.uri_token().eq_ignore_ascii_case(token))?),
        };
        // RFC 3263 §4: maddr, when it is there, is the target.
        let host = uri.param("maddr").filter(|maddr| !maddr.is_empty()).unwrap_or(uri.host);
        Some(Wanted { host: host.into(), port: uri.port, transport, secure })
    }

    /// The host as an address, when it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host);
        bare.parse().ok()
    }
}

/// By which transports and address families we can send requests at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means(u8);

impl Means {
    /// Those of listeners, each with its transport and its address.
    pub fn of(listeners: impl IntoIterator<Item = (Transport, IpAddr)>) -> Means {
        Means(listeners.into_iter().fold(0, |bits, (transport, ip)| bits | Means::bit(transport, ip.is_ipv4())))
    }

    /// Whether requests can go by this transport to an address of this family.
    pub const fn can(self, transport: Transport, ipv4: bool) -> bool {
        self.0 & Means::bit(transport, ipv4) != 0
    }

    const fn speaks(self, transport: Transport) -> bool {
        self.can(transport, true) || self.can(transport, false)
    }

    const fn bit(transport: Transport, ipv4: bool) -> u8 {
        let bit = match transport {
            Transport::Udp => 1,
            Transport::Tcp => 2,
            Transport::Tls => 4,
            // Nobody is called over a connection that only browsers open.
            Transport::Ws | Transport::Wss => 0,
        };
        if ipv4 { bit } else { bit << 4 }
    }
}

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// These answers are needed first.
    Ask(Vec<Question>),
    /// Here they are.
    Found(Found),
    /// There are none.
    Lost {
        /// Why.
        why: Lost,
        /// How long that is true.
        ttl: Duration,
    },
}

/// The servers of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order in which they are to be tried (RFC 3263 §4.3), all by the same transport.
    pub servers: Vec<Server>,
    /// Every address that the name leads to, by whatever transport: whoever speaks from one of them is of that name.
    pub all: Vec<SocketAddr>,
    /// How long that is true.
    pub ttl: Duration,
}

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// How it is reached.
    pub transport: Transport,
    /// Where it is.
    pub address: SocketAddr,
    /// The address of ours that packets to it leave from, when that is known.
    pub from: Option<IpAddr>,
}

/// Why there is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lost {
    /// DNS knows no such name, or no address of it.
    NoAddress,
    /// Its owner says that there is no such service (RFC 2782, a target of `.`).
    NoService,
    /// DNS does not answer.
    Silence,
    /// We have no listener by which it could be reached.
    NoMeans,
    /// What is written in the URI does not go together, such as `sips` and UDP.
    Contradiction,
}

/// Finds the servers of what is wanted. `known` says what DNS said; `chance` draws among equal servers by their weights.
pub fn locate<'k>(
    wanted: &Wanted,
    means: Means,
    known: &mut dyn FnMut(&Question) -> Option<&'k Answer>,
    chance: &mut Chance,
) -> Search {
    let transport = match (wanted.transport, wanted.secure) {
        (Some(Transport::Udp | Transport::Ws), true) => return lost(Lost::Contradiction),
        // RFC 3261 §26.2.2: `sips` over TCP is TLS.
        (Some(_), true) => Some(Transport::Tls),
        (transport, _) => transport,
    };
    if transport.is_some_and(|transport| !means.speaks(transport)) {
        return lost(Lost::NoMeans);
    }
    let plain = transport.unwrap_or(if wanted.secure { Transport::Tls } else { Transport::Udp });
    if let Some(ip) = wanted.ip() {
        if !means.can(plain, ip.is_ipv4()) {
            return lost(Lost::NoMeans);
        }
        let address = SocketAddr::new(ip, wanted.port.unwrap_or(plain.default_port()));
        let servers = vec![Server { transport: plain, address, from: None }];
        return Search::Found(Found { servers, all: vec![address], ttl: FOR_GOOD });
    }
    let mut tracing = Tracing { means, known, asks: Vec::new(), ttl: FOR_GOOD, silence: false, denied: false };
    let services = match (wanted.port, transport) {
        // RFC 3263 §4.1, §4.2: who writes a port means a host.
        (Some(port), _) => vec![tracing.host(plain, &wanted.host, port)],
        (None, Some(transport)) => {
            let by_srv = tracing.srv(transport, &srv_name(transport, &wanted.host), chance);
            let mut services = vec![by_srv];
            if tracing.is_fruitless(&services) {
                services.push(tracing.host(plain, &wanted.host, plain.default_port()));
            }
            services
        }
        (None, None) => tracing.by_naptr(wanted, chance),
    };
    tracing.conclude(services)
}

/// A search under way.
struct Tracing<'s, 'k> {
    means: Means,
    known: &'s mut dyn FnMut(&Question) -> Option<&'k Answer>,
    asks: Vec<Question>,
    ttl: Duration,
    silence: bool,
    denied: bool,
}

impl<'k> Tracing<'_, 'k> {
    /// RFC 3263 §4.1: the owner's NAPTR records choose the transport; without any, what SRV records there are; without
    /// those, the default transport to the host's address.
    fn by_naptr(&mut self, wanted: &Wanted, chance: &mut Chance) -> Vec<Vec<Server>> {
        let naptrs = match self.ask(Kind::Naptr, &wanted.host) {
            Some(Records::Naptr(records)) => self.fitting(records, wanted.secure),
            Some(Records::Nothing | Records::Silence | Records::Addresses(_) | Records::Srv(_)) | None => Vec::new(),
        };
        if !naptrs.is_empty() {
            let walk = |(transport, naptr): (Transport, &Naptr)| match naptr.flags.as_bytes() {
                [b'a' | b'A'] => self.host(transport, &naptr.replacement, transport.default_port()),
                _ => self.srv(transport, &naptr.replacement, chance),
            };
            return naptrs.into_iter().map(walk).collect();
        }
        // Asked at the same time as NAPTR: most names have none, and a call waits.
        let spoken = SPOKEN.iter().filter(|transport| self.means.speaks(**transport));
        let spoken: Vec<Transport> =
            spoken.filter(|transport| !wanted.secure || transport.is_secure()).copied().collect();
        let by_srv = |transport| self.srv(transport, &srv_name(transport, &wanted.host), chance);
        let mut services: Vec<Vec<Server>> = spoken.into_iter().map(by_srv).collect();
        if self.is_fruitless(&services) {
            let plain = if wanted.secure { Transport::Tls } else { Transport::Udp };
            services.push(self.host(plain, &wanted.host, plain.default_port()));
        }
        services
    }

    /// The records that name a service of ours, as their owner prefers them.
    fn fitting<'r>(&self, records: &'r [Naptr], secure: bool) -> Vec<(Transport, &'r Naptr)> {
        let mut fitting: Vec<(Transport, &Naptr)> = Vec::new();
        for naptr in records.iter().take(NAPTRS) {
            let transport = SERVICES.iter().find(|(service, _)| service.eq_ignore_ascii_case(&naptr.services));
            let Some(&(_, transport)) = transport else { continue };
            // RFC 3263 §4.1: for `sips` only `SIPS+…` counts; there is no regular expression.
            if (secure && !transport.is_secure()) || !self.means.speaks(transport) || naptr.replacement.is_empty() {
                continue;
            }
            fitting.push((transport, naptr));
        }
        fitting.sort_by_key(|(_, naptr)| (naptr.order, naptr.preference));
        fitting
    }

    /// The servers that SRV records name (RFC 2782).
    fn srv(&mut self, transport: Transport, name: &str, chance: &mut Chance) -> Vec<Server> {
        let records = match self.ask(Kind::Srv, name) {
            Some(Records::Srv(records)) => records,
            Some(Records::Nothing | Records::Silence | Records::Addresses(_) | Records::Naptr(_)) | None => {
                return Vec::new();
            }
        };
        let records: Vec<&Srv> = records.iter().take(SRVS).collect();
        if let [Srv { target, .. }] = records[..]
            && target.is_empty()
        {
            self.denied = true;
            return Vec::new();
        }
        let records = by_priority_and_weight(records, chance);
        let named = records.into_iter().filter(|srv| !srv.target.is_empty());
        named.flat_map(|srv| self.host(transport, &srv.target, srv.port)).collect()
    }

    /// The addresses of a host: those of IPv4 first, where more of the world's SIP works, then those of IPv6.
    fn host(&mut self, transport: Transport, name: &str, port: u16) -> Vec<Server> {
        // Some owners write an address where a name belongs.
        if let Some(ip) = Wanted::host(name).ip() {
            let server = Server { transport, address: SocketAddr::new(ip, port), from: None };
            return if self.means.can(transport, ip.is_ipv4()) { vec![server] } else { Vec::new() };
        }
        let mut servers = Vec::new();
        for (kind, ipv4) in [(Kind::A, true), (Kind::Aaaa, false)] {
            if !self.means.can(transport, ipv4) {
                continue;
            }
            let Some(Records::Addresses(addresses)) = self.ask(kind, name) else { continue };
            let fitting = addresses.iter().take(ADDRESSES).filter(|address| address.ip.is_ipv4() == ipv4);
            let server =
                |&Address { ip, from }: &Address| Server { transport, address: SocketAddr::new(ip, port), from };
            servers.extend(fitting.map(server));
        }
        servers
    }

    /// What DNS said; `None` when it was not asked yet.
    fn ask(&mut self, kind: Kind, name: &str) -> Option<&'k Records> {
        let question = Question::new(kind, name);
        let Some(answer) = (self.known)(&question) else {
            if self.asks.len() < QUESTIONS && !self.asks.contains(&question) {
                self.asks.push(question);
            }
            return None;
        };
        self.ttl = self.ttl.min(answer.ttl);
        self.silence |= answer.records == Records::Silence;
        Some(&answer.records)
    }

    /// Whether all is known, and it is nothing.
    fn is_fruitless(&self, services: &[Vec<Server>]) -> bool {
        self.asks.is_empty() && !self.denied && services.iter().all(Vec::is_empty)
    }

    /// The list, once nothing is left to ask.
    fn conclude(self, services: Vec<Vec<Server>>) -> Search {
        if !self.asks.is_empty() {
            return Search::Ask(self.asks);
        }
        let mut found = Found { ttl: self.ttl, ..Found::default() };
        for server in services.into_iter().flatten() {
            if !found.all.contains(&server.address) && found.all.len() < 2 * SERVERS {
                found.all.push(server.address);
            }
            // What stands at another transport is another service: one that fails is not made up for by one that may be
            // less secure.
            let fits = found.servers.first().is_none_or(|first| first.transport == server.transport);
            if fits && !found.servers.contains(&server) && found.servers.len() < SERVERS {
                found.servers.push(server);
            }
        }
        if !found.servers.is_empty() {
            return Search::Found(found);
        }
        let why = match (self.silence, self.denied) {
            (true, _) => Lost::Silence,
            (false, true) => Lost::NoService,
            (false, false) => Lost::NoAddress,
        };
        Search::Lost { why, ttl: self.ttl }
    }
}

const fn lost(why: Lost) -> Search {
    Search::Lost { why, ttl: FOR_GOOD }
}

/// Where the SRV records of a transport are (RFC 3263 §4.1).
fn srv_name(transport: Transport, host: &str) -> String {
    let service = match transport {
        Transport::Udp => "_sip._udp.",
        Transport::Tcp => "_sip._tcp.",
        Transport::Tls => "_sips._tcp.",
        // RFC 7118 defines no service for DNS.
        Transport::Ws | Transport::Wss => "_sip._ws.",
    };
    format!("{service}{host}")
}

/// The NAPTR services that we know (RFC 3263 §4.1); `SIP+D2S` is SCTP, which we do not speak.
const SERVICES: [(&str, Transport); 3] =
    [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
/// The transports of calls to others, those that nearly every server has first.
const SPOKEN: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
/// How long what no record limits is true.
const FOR_GOOD: Duration = Duration::from_hours(24);
/// The most NAPTR records of a name that are looked at.
pub const NAPTRS: usize = 16;
/// The most SRV records of a name that are looked at.
pub const SRVS: usize = 16;
/// The most addresses of a host that are looked at, of each family.
pub const ADDRESSES: usize = 16;
/// The most servers of a target.
pub const SERVERS: usize = 16;
/// The most questions that a search asks at a time.
pub const QUESTIONS: usize = 64;
