//! Asks DNS what the core wants to know: the system's servers and its hosts file, or servers of its own.
//!
//! Nothing is kept here: the core keeps each answer for its time. A question is answered within [`TIMEOUT`], if only by
//! [`Records::Silence`].

use crate::host;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver as Hickory, TokioResolver};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::dns::{Address, Answer, Kind, Naptr, Question, Records, Srv};

/// What asks. Copies are the same.
#[derive(Clone, Debug)]
pub struct Resolver(TokioResolver);

impl Resolver {
    /// Asks the servers of `/etc/resolv.conf`, and reads `/etc/hosts`.
    ///
    /// # Errors
    /// What is wrong with those files.
    pub fn of_system() -> io::Result<Self> {
        let builder = Hickory::builder_tokio().map_err(io::Error::other)?;
        Resolver::build(builder)
    }

    /// Asks these servers, and reads `/etc/hosts`.
    ///
    /// # Errors
    /// What the resolver finds wrong with them.
    pub fn of_servers(servers: &[SocketAddr]) -> io::Result<Self> {
        let servers = servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let at = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            NameServerConfig::new(server.ip(), true, connections.map(at).to_vec())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        Resolver::build(Hickory::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    fn build(mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>) -> io::Result<Self> {
        let options: &mut ResolverOpts = builder.options_mut();
        (options.timeout, options.attempts, options.cache_size) = (TRY, TRIES, 0);
        builder.build().map(Resolver).map_err(io::Error::other)
    }

    /// Asks, and waits [`TIMEOUT`] at most.
    pub async fn ask(&self, question: &Question) -> Answer {
        let Some(name) = name_of(question) else {
            return Answer { records: Records::Nothing, ttl: NEGATIVE };
        };
        let kind = match question.kind {
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Naptr => RecordType::NAPTR,
            Kind::Srv => RecordType::SRV,
        };
        match tokio::time::timeout(TIMEOUT, self.0.lookup(name, kind)).await {
            Ok(Ok(lookup)) => read(question.kind, &lookup),
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(nothing)))) => {
                let ttl = nothing.negative_ttl.map_or(NEGATIVE, |seconds| Duration::from_secs(seconds.into()));
                Answer { records: Records::Nothing, ttl }
            }
            Ok(Err(error)) => {
                tracing::warn!(name = &*question.name, kind = ?question.kind, %error, "DNS does not answer");
                SILENCE
            }
            Err(_) => {
                tracing::warn!(name = &*question.name, kind = ?question.kind, "DNS did not answer in time");
                SILENCE
            }
        }
    }
}

/// The name as the resolver takes it; `None` when it cannot be one. Only a host's name without a dot is one of the search
/// list's.
fn name_of(question: &Question) -> Option<Name> {
    let mut name = Name::from_ascii(&*question.name).ok()?;
    let of_host = matches!(question.kind, Kind::A | Kind::Aaaa);
    if !of_host || question.name.contains('.') {
        name.set_fqdn(true);
    }
    Some(name)
}

/// What a lookup brought, of the kind that was asked for.
fn read(kind: Kind, lookup: &Lookup) -> Answer {
    let ttl = lookup.answers().iter().map(|record| record.ttl).min();
    let data = lookup.answers().iter().map(|record| &record.data).take(RECORDS);
    let records = match kind {
        Kind::A | Kind::Aaaa => {
            let addresses = data.filter_map(|data| match data {
                RData::A(a) => Some(IpAddr::from(a.0)),
                RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
                _ => None,
            });
            some(addresses.map(reached).collect(), Records::Addresses)
        }
        Kind::Naptr => {
            let naptrs = data.filter_map(|data| if let RData::NAPTR(naptr) = data { Some(naptr) } else { None });
            let record = |naptr: &hickory_resolver::proto::rr::rdata::NAPTR| Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: String::from_utf8_lossy(&naptr.flags).into(),
                services: String::from_utf8_lossy(&naptr.services).into(),
                replacement: text(&naptr.replacement),
            };
            some(naptrs.map(record).collect(), Records::Naptr)
        }
        Kind::Srv => {
            let srvs = data.filter_map(|data| if let RData::SRV(srv) = data { Some(srv) } else { None });
            let record = |srv: &hickory_resolver::proto::rr::rdata::SRV| Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: text(&srv.target),
            };
            some(srvs.map(record).collect(), Records::Srv)
        }
    };
    Answer { records, ttl: ttl.map_or(NEGATIVE, |seconds| Duration::from_secs(seconds.into())) }
}

fn some<T>(found: Vec<T>, records: fn(Vec<T>) -> Records) -> Records {
    if found.is_empty() { Records::Nothing } else { records(found) }
}

/// An address, and the one of ours from which it is reached.
fn reached(ip: IpAddr) -> Address {
    Address { ip, from: host::source_towards(SocketAddr::new(ip, ANY_PORT)).ok() }
}

/// A name in lower case and without the dot at its end.
fn text(name: &Name) -> Box<str> {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).into()
}

/// What is said when nobody answers.
const SILENCE: Answer = Answer { records: Records::Silence, ttl: Duration::ZERO };
/// How long a question may take.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// How long one try may take, and how many follow it.
const TRY: Duration = Duration::from_millis(900);
const TRIES: usize = 2;
/// How long "there is no such thing" is true where DNS does not say.
const NEGATIVE: Duration = Duration::from_mins(1);
/// The most records of an answer that are read.
pub const RECORDS: usize = 64;
/// A port to ask the kernel's routes with: the answer is the same for all.
const ANY_PORT: u16 = 5060;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_known_without_any_server() {
        let resolver = Resolver::of_servers(&["127.0.0.1:9".parse().unwrap()]).unwrap();
        let answer = resolver.ask(&Question::new(Kind::A, "localhost")).await;
        let loopback: IpAddr = [127, 0, 0, 1].into();
        let Records::Addresses(addresses) = answer.records else { panic!("{answer:?}") };
        assert_eq!(addresses, [Address { ip: loopback, from: Some(loopback) }]);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_silent_in_time_and_what_is_no_name_is_nothing() {
        let resolver = Resolver::of_servers(&["127.0.0.1:9".parse().unwrap()]).unwrap();
        let asked = tokio::time::Instant::now();
        let answer = resolver.ask(&Question::new(Kind::Srv, "_sip._udp.example.com")).await;
        assert_eq!(answer.records, Records::Silence);
        assert!(asked.elapsed() < TIMEOUT + Duration::from_secs(1));
        let label = "a".repeat(64);
        let answer = resolver.ask(&Question::new(Kind::A, &label)).await;
        assert_eq!(answer.records, Records::Nothing);
    }
}
