//! A DNS server for tests: one thread, one UDP socket, and the records that it was given.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A record's data.
#[derive(Clone, Debug)]
pub enum Record {
    /// An address.
    A(Ipv4Addr),
    /// Priority, weight, port, host.
    Srv(u16, u16, u16, &'static str),
    /// Order, preference, flags, services, where to look next.
    Naptr(u16, u16, &'static str, &'static str, &'static str),
}

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Record::A(_) => 1,
            Record::Srv(..) => 33,
            Record::Naptr(..) => 35,
        }
    }

    /// RFC 1035 §3.4.1, RFC 2782, RFC 3403 §4.1.
    fn data(&self) -> Vec<u8> {
        match self {
            Record::A(ip) => ip.octets().to_vec(),
            Record::Srv(priority, weight, port, host) => [words(&[*priority, *weight, *port]), name(host)].concat(),
            Record::Naptr(order, preference, flags, services, next) => {
                [words(&[*order, *preference]), text(flags), text(services), text(""), name(next)].concat()
            }
        }
    }
}

/// The records of a zone by their names.
type Zone = Vec<(&'static str, Record)>;

/// A running server. It answers NXDOMAIN to what it does not have.
pub struct Dns {
    /// Where it listens.
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<AtomicU64>,
}

impl Dns {
    /// Starts one on a free port of loopback. Its thread ends with the test's process.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(records: &[(&'static str, Record)]) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let zone = Arc::new(Mutex::new(records.to_vec()));
        let asked = Arc::new(AtomicU64::new(0));
        let (of_thread, count) = (Arc::clone(&zone), Arc::clone(&asked));
        std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                count.fetch_add(1, Ordering::Relaxed);
                let zone = of_thread.lock().expect("nobody panics with it").clone();
                if let Some(answer) = answer(&buffer[..length], &zone) {
                    // Who asked may be gone.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Dns { address, zone, asked }
    }

    /// Says something else from now on.
    ///
    /// # Panics
    /// When its thread did.
    pub fn set(&self, records: &[(&'static str, Record)]) {
        *self.zone.lock().expect("nobody panics with it") = records.to_vec();
    }

    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// RFC 1035 §4.1: header, question, answers.
fn answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let (host, end) = question(query)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let there: Vec<&Record> =
        zone.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&host)).map(|(_, record)| record).collect();
    let found: Vec<&Record> = there.iter().copied().filter(|record| record.kind() == kind).collect();
    let code = if there.is_empty() { 3 } else { 0 };
    // An answer, as authority, recursion wanted and available.
    let flags = 0x8580 | code;
    let mut out = [&query[..2], &words(&[flags, 1, found.len() as u16, 0, 0])[..], query.get(12..end + 4)?].concat();
    for record in found {
        let data = record.data();
        // The name is that of the question; class IN; a TTL of a minute.
        out.extend(words(&[0xc00c, kind, 1, 0, 60, data.len() as u16]));
        out.extend(data);
    }
    Some(out)
}

/// The name of the question, and where it ends.
fn question(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).into_owned());
        at += length;
    }
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels.flat_map(text).chain([0]).collect()
}
