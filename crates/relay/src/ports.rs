//! Binding pairs of sockets and giving them up, a few at a time, so that calls in progress hear nothing of it.

use media::command::{Family, PortPair};
use net::batch::DatagramSocket;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// How many pairs are bound or given up in one turn of a worker.
pub(crate) const PAIRS_PER_TURN: usize = 16;

/// What is asked of the kernel for each socket: it grants twice that, some 85 packets of G.711: what is older
/// than a second and a half is of no use to anybody. Units: bytes.
pub const RECEIVE_BUFFER: usize = 32 * 1_024;

/// What is asked of the kernel for a socket that many ends share; it grants what `net.core.rmem_max` allows. Units: bytes.
pub(crate) const SINGLE_BUFFER: usize = 4 * 1_024 * 1_024;

/// The sockets of a pair.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) rtp: DatagramSocket,
    pub(crate) rtcp: DatagramSocket,
}

impl Pair {
    /// Binds `rtp_port` and the port above it.
    fn bind(address: IpAddr, rtp_port: u16, dscp: u8) -> io::Result<Pair> {
        Pair::bind_with(address, rtp_port, dscp, RECEIVE_BUFFER)
    }

    /// The port that many ends share, and the one above it.
    pub(crate) fn bind_single(address: IpAddr, rtp_port: u16, dscp: u8) -> io::Result<Pair> {
        Pair::bind_with(address, rtp_port, dscp, SINGLE_BUFFER)
    }

    fn bind_with(address: IpAddr, rtp_port: u16, dscp: u8, buffer: usize) -> io::Result<Pair> {
        let socket = |port| DatagramSocket::bind(SocketAddr::new(address, port), buffer);
        let pair = Pair { rtp: socket(rtp_port)?, rtcp: socket(rtp_port + 1)? };
        for socket in [&pair.rtp, &pair.rtcp] {
            // A host that does not let packets be marked still carries them. Reports go as what they report of
            // (RFC 7657 §5.4).
            let _ = socket.mark(dscp);
        }
        Ok(pair)
    }
}

/// The share of the ports that one worker may bind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) port_min: u16,
    pub(crate) port_max: u16,
    /// The number of this worker, and how many there are.
    pub(crate) worker: u16,
    pub(crate) workers: u16,
    /// The most pairs over both families.
    pub(crate) pairs_max: usize,
    /// How packets are marked.
    pub(crate) dscp: u8,
}

/// What is bound, what is to be bound yet, and what is to be given up.
#[derive(Debug)]
pub(crate) struct Stock {
    share: Share,
    families: [Supply; 2],
    /// Over both families, with what is still to be given up.
    bound: usize,
    idle: Vec<PortPair>,
}

#[derive(Debug)]
struct Supply {
    family: Family,
    address: Option<IpAddr>,
    /// The next even port to try, as a number that can pass the last one.
    next_port: u32,
    /// Ports below it that were given up.
    given_up: Vec<u16>,
    wanted: usize,
    /// Without what is to be given up.
    bound: usize,
}

impl Stock {
    /// Nothing bound yet. A family without an address stays empty.
    pub(crate) fn new(share: Share, ipv4: Option<IpAddr>, ipv6: Option<IpAddr>) -> Self {
        let first = u32::from(share.port_min).next_multiple_of(2) + 2 * u32::from(share.worker);
        let supply = |family, address| {
            let given_up = Vec::new();
            Supply { family, address, next_port: first, given_up, wanted: 0, bound: 0 }
        };
        Stock { share, families: [supply(Family::V4, ipv4), supply(Family::V6, ipv6)], bound: 0, idle: Vec::new() }
    }

    /// Wants at least `pairs` of a family in all.
    pub(crate) fn want(&mut self, pairs: u32, family: Family) {
        let supply = &mut self.families[family as usize];
        supply.wanted = supply.wanted.max(pairs as usize);
    }

    /// Wants these pairs no longer.
    pub(crate) fn give_up(&mut self, ports: Vec<PortPair>) {
        for pair in &ports {
            let supply = &mut self.families[pair.family as usize];
            supply.bound = supply.bound.saturating_sub(1);
            supply.wanted = supply.wanted.min(supply.bound);
        }
        self.idle.extend(ports);
    }

    /// Whether [`Stock::unbind_next`] or [`Stock::bind_next`] has something to do.
    pub(crate) fn is_due(&self) -> bool {
        !self.idle.is_empty() || self.families.iter().any(|supply| supply.wanted > supply.bound)
    }

    /// How many pairs are bound.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// One more pair whose sockets are to be closed, before anything else is bound.
    pub(crate) fn unbind_next(&mut self) -> Option<PortPair> {
        let pair = self.idle.pop()?;
        self.bound = self.bound.saturating_sub(1);
        self.families[pair.family as usize].given_up.push(pair.rtp_port);
        Some(pair)
    }

    /// Binds one more pair; `None` when there is nothing to bind, or no more can be: then the wish is dropped.
    pub(crate) fn bind_next(&mut self) -> Option<(u16, Family, Pair)> {
        let supply = self.families.iter_mut().find(|supply| supply.wanted > supply.bound)?;
        let why: &dyn std::fmt::Display = 'full: {
            let Some(address) = supply.address else { break 'full &"this family is not served" };
            if self.bound >= self.share.pairs_max {
                break 'full &"the limit of open files or of datagram memory is reached";
            }
            while let Some(port) = supply.port(&self.share) {
                match Pair::bind(address, port, self.share.dscp) {
                    Ok(pair) => {
                        supply.bound += 1;
                        self.bound += 1;
                        return Some((port, supply.family, pair));
                    }
                    // Somebody else's port; the next will do.
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                    Err(error) => {
                        tracing::warn!(port, family = ?supply.family, %error, "cannot bind media ports");
                        // It is nobody's: when the host has its address or its memory again, it is tried again.
                        supply.given_up.push(port);
                        supply.wanted = supply.bound;
                        return None;
                    }
                }
            }
            &"the range of ports is used up"
        };
        tracing::debug!(family = ?supply.family, bound = supply.bound, wanted = supply.wanted, %why, "no more media ports");
        supply.wanted = supply.bound;
        None
    }
}

impl Supply {
    /// The next port to try.
    fn port(&mut self, share: &Share) -> Option<u16> {
        if let Some(port) = self.given_up.pop() {
            return Some(port);
        }
        let port = u16::try_from(self.next_port).ok().filter(|&port| port < share.port_max)?;
        self.next_port += 2 * u32::from(share.workers);
        Some(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// Each test has a host of its own, as they run side by side.
    fn stock(host: u8, worker: u16, pairs_max: usize) -> Stock {
        let share = Share { port_min: 29_001, port_max: 29_020, worker, workers: 2, pairs_max, dscp: 46 };
        Stock::new(share, Some(Ipv4Addr::new(127, 0, 9, host).into()), None)
    }

    fn ports(stock: &mut Stock, pairs: u32, held: &mut Vec<Pair>) -> Vec<u16> {
        stock.want(pairs, Family::V4);
        let mut ports = Vec::new();
        while let Some((port, _, pair)) = stock.bind_next() {
            ports.push(port);
            held.push(pair);
        }
        ports
    }

    #[test]
    fn workers_share_the_range_and_pass_over_ports_of_others() {
        let mut held = Vec::new();
        let taken = DatagramSocket::bind((Ipv4Addr::new(127, 0, 9, 1), 29_007).into(), 4_096).unwrap();
        let (mut first, mut second) = (stock(1, 0, 100), stock(1, 1, 100));
        assert_eq!(ports(&mut first, 2, &mut held), [29_002, 29_010]);
        assert_eq!(ports(&mut second, 9, &mut held), [29_004, 29_008, 29_012, 29_016]);
        assert!(!second.is_due());
        assert_eq!(held[0].rtcp.local().unwrap().port(), 29_003);
        drop(taken);
        let mut few = stock(1, 0, 1);
        held.clear();
        assert_eq!(ports(&mut few, 3, &mut held), [29_002]);
        assert!(few.bind_next().is_none() && !few.is_due());
        let pair = |rtp_port| PortPair { worker: 0, slot: 0, rtp_port, family: Family::V4 };
        few.give_up(vec![pair(29_002)]);
        assert!(few.is_due() && few.bound() == 1);
        assert_eq!(few.unbind_next(), Some(pair(29_002)));
        assert!(few.unbind_next().is_none() && few.bind_next().is_none() && few.bound() == 0);
        held.clear();
        assert_eq!(ports(&mut few, 3, &mut held), [29_002]);
        few.want(3, Family::V6);
        assert!(few.bind_next().is_none() && !few.is_due());
    }

    /// An address that the host loses while it runs costs no port: each wish is told as unanswered, and once the address is
    /// there again, all of them are.
    #[test]
    fn an_address_that_is_lost_for_a_while_is_told_and_costs_no_port() {
        let (mut stock, mut held) = (stock(2, 0, 100), Vec::new());
        let ours = stock.families[0].address.replace(Ipv4Addr::new(203, 0, 113, 77).into());
        let log = crate::log::Log::of_this_thread();
        for pairs in 1..20 {
            assert_eq!(ports(&mut stock, pairs, &mut held), Vec::<u16>::new());
            assert!(!stock.is_due(), "who wishes asks again");
        }
        let lines = log.lines();
        assert!(lines.len() == 19 && lines.iter().all(|line| line.starts_with("WARN")), "{lines:?}");
        assert!(lines[0].contains("cannot bind media ports") && lines[0].contains("port=29002"), "{lines:?}");
        stock.families[0].address = ours;
        assert_eq!(ports(&mut stock, 9, &mut held), [29_002, 29_006, 29_010, 29_014, 29_018]);
    }
}
