//! The double of DNS: what its owners wrote, how long answers take, and who does not prove to be himself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use words::dns::{Address, Answer, Kind, Naptr, Question, Records, Srv};

/// DNS as the exchange's resolver sees it. What is not in it is said to be nothing.
#[derive(Debug)]
pub struct Dns {
    /// How long it takes to answer; `None`: it is silent.
    pub answers_in: Option<Duration>,
    /// How long what it says from now on is true.
    pub ttl: Duration,
    /// Where somebody listens who shows a certificate that is not his.
    pub impostors: BTreeSet<SocketAddr>,
    known: BTreeMap<Question, Answer>,
    asked: Vec<Question>,
}

impl Default for Dns {
    fn default() -> Self {
        Dns {
            answers_in: Some(Duration::from_millis(20)),
            ttl: Duration::from_mins(5),
            impostors: BTreeSet::new(),
            known: BTreeMap::new(),
            asked: Vec::new(),
        }
    }
}

impl Dns {
    /// Writes addresses of a host.
    pub fn host(&mut self, name: &str, addresses: &[&str]) {
        for (kind, ipv4) in [(Kind::A, true), (Kind::Aaaa, false)] {
            let all = addresses.iter().map(|address| address.parse().expect("tests write addresses"));
            let address = |ip| Address { ip, from: None };
            let fitting: Vec<Address> = all.filter(|ip: &std::net::IpAddr| ip.is_ipv4() == ipv4).map(address).collect();
            if !fitting.is_empty() {
                self.put(kind, name, Records::Addresses(fitting));
            }
        }
    }

    /// Writes SRV records: priority, weight, port, host.
    pub fn srv(&mut self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let record = |&(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority,
            weight,
            port,
            target: target.into(),
        };
        self.put(Kind::Srv, name, Records::Srv(records.iter().map(record).collect()));
    }

    /// Writes NAPTR records with the flag `s`: order, preference, services, where to look next.
    pub fn naptr(&mut self, name: &str, records: &[(u16, u16, &str, &str)]) {
        let record = |&(order, preference, services, replacement): &(u16, u16, &str, &str)| Naptr {
            order,
            preference,
            flags: "s".into(),
            services: services.into(),
            replacement: replacement.into(),
        };
        self.put(Kind::Naptr, name, Records::Naptr(records.iter().map(record).collect()));
    }

    /// What it was asked so far.
    pub fn asked(&self) -> &[Question] {
        &self.asked
    }

    /// What it says, and when.
    pub(crate) fn ask(&mut self, question: &Question) -> Option<(Duration, Answer)> {
        self.asked.push(question.clone());
        let nothing = || Answer { records: Records::Nothing, ttl: self.ttl };
        let answer = self.known.get(question).cloned().unwrap_or_else(nothing);
        Some((self.answers_in?, answer))
    }

    /// Every address in it.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = std::net::IpAddr> {
        let of = |answer: &Answer| match &answer.records {
            Records::Addresses(addresses) => addresses.iter().map(|address| address.ip).collect(),
            Records::Naptr(_) | Records::Srv(_) | Records::Nothing | Records::Silence => Vec::new(),
        };
        self.known.values().flat_map(of)
    }

    fn put(&mut self, kind: Kind, name: &str, records: Records) {
        self.known.insert(Question::new(kind, name), Answer { records, ttl: self.ttl });
    }
}
