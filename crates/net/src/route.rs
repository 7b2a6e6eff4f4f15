//! Which way packets leave this host, which interfaces it has, and whether any of that changed: asked of the kernel over
//! netlink (RFC 3549), without a library in between.
//!
//! Limits: [`ENTRIES`] interfaces or addresses are read; more are left out.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How many interfaces and how many addresses are read.
pub const ENTRIES: usize = 1_024;

/// How packets to an address leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The address is one of this host.
    pub is_local: bool,
    /// The interface by its number.
    pub interface: u32,
    /// The address that the kernel sends from when nobody names one.
    pub source: IpAddr,
}

/// What an interface carries below IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet frames.
    Ethernet,
    /// This host's own packets, in frames as of Ethernet.
    Loopback,
    /// Something else: a tunnel, a modem.
    Other,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub link: Link,
    /// Whether it is switched on.
    pub is_up: bool,
    /// Whether it is made by the kernel alone (a virtual card, a bridge, a VLAN), with no card of its own behind it.
    pub is_virtual: bool,
    /// The kernel's number of the programme in its driver (XDP), if there is one.
    pub in_driver: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What classifies packets at the entrance of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The kernel's number of the programme, where it is one.
    pub programme: Option<u32>,
    /// What it was named when it was put there; of what is no programme its kind.
    pub name: String,
    /// The lower, the sooner.
    pub priority: u16,
    /// Tells it apart from others of its priority.
    pub handle: u32,
}

/// A way to ask.
#[derive(Debug)]
pub struct Routes(OwnedFd);

impl Routes {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel says: no descriptors left.
    pub fn open() -> io::Result<Self> {
        let socket = netlink(SocketFlags::CLOEXEC)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Routes(socket))
    }

    /// The way to an address.
    ///
    /// # Errors
    /// What the kernel says: `NetworkUnreachable` where there is no way.
    pub fn way(&self, to: IpAddr) -> io::Result<Way> {
        let (family, address) = match to {
            IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
        };
        let mut body = vec![family, address.len() as u8 * 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        body.extend((4 + address.len() as u16).to_ne_bytes());
        body.extend(RTA_DST.to_ne_bytes());
        body.extend(address);
        let mut found = None;
        self.ask(RTM_GETROUTE, REQUEST, &body, RTM_NEWROUTE, |body| {
            let mut way = Way { is_local: body.get(7) == Some(&RTN_LOCAL), interface: 0, source: to };
            for (kind, value) in attributes(body.get(12..).unwrap_or_default()) {
                match kind {
                    RTA_OIF => way.interface = u32_of(value),
                    RTA_PREFSRC => way.source = ip_of(value).unwrap_or(to),
                    _ => {}
                }
            }
            found = Some(way);
        })?;
        found.filter(|way| way.interface != 0).ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// All interfaces with their addresses.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let mut all: Vec<Interface> = Vec::new();
        self.ask(RTM_GETLINK, REQUEST | DUMP, &[0; 16], RTM_NEWLINK, |body| {
            let (Some(head), true) = (body.get(..16), all.len() < ENTRIES) else { return };
            let link = match u16::from_ne_bytes([head[2], head[3]]) {
                ARPHRD_ETHER => Link::Ethernet,
                ARPHRD_LOOPBACK => Link::Loopback,
                _ => Link::Other,
            };
            let of = |wanted| attributes(&body[16..]).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
            let name = of(IFLA_IFNAME).map_or_else(String::new, text_of);
            let is_up = u32_of(&head[8..12]) & IFF_UP != 0;
            let is_virtual =
                of(IFLA_LINKINFO).is_some_and(|about| attributes(about).any(|(kind, _)| kind == IFLA_INFO_KIND));
            let in_driver = attributes(of(IFLA_XDP).unwrap_or_default()).find(|(kind, _)| *kind == IFLA_XDP_PROG_ID);
            let in_driver = in_driver.map(|(_, value)| u32_of(value));
            let (index, addresses) = (u32_of(&head[4..8]), Vec::new());
            all.push(Interface { index, name, link, is_up, is_virtual, in_driver, addresses });
        })?;
        let mut addresses = 0;
        self.ask(RTM_GETADDR, REQUEST | DUMP, &[0; 8], RTM_NEWADDR, |body| {
            let (Some(head), true) = (body.get(..8), addresses < ENTRIES) else { return };
            // IFA_LOCAL is ours where the other is the peer's of a point-to-point link.
            let mut known: Vec<(u16, IpAddr)> =
                attributes(&body[8..]).filter_map(|(kind, value)| Some((kind, ip_of(value)?))).collect();
            known.retain(|(kind, _)| matches!(*kind, IFA_ADDRESS | IFA_LOCAL));
            let ours = known.iter().max_by_key(|(kind, _)| *kind);
            let interface = all.iter_mut().find(|interface| interface.index == u32_of(&head[4..8]));
            if let (Some((_, ip)), Some(interface)) = (ours, interface) {
                interface.addresses.push(*ip);
                addresses += 1;
            }
        })?;
        Ok(all)
    }

    /// What classifies packets at the entrance of an interface (tc clsact), in the order in which it sees them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn filters(&self, interface: u32) -> io::Result<Vec<Filter>> {
        let mut body = vec![0; 4];
        for word in [interface, 0, INGRESS, 0] {
            body.extend(word.to_ne_bytes());
        }
        let mut all = Vec::new();
        self.ask(RTM_GETTFILTER, REQUEST | DUMP, &body, RTM_NEWTFILTER, |body| {
            let (Some(head), true) = (body.get(..20), all.len() < ENTRIES) else { return };
            let of = |wanted| attributes(&body[20..]).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
            let handle = u32_of(&head[8..12]);
            // The kernel also lists the priorities themselves, each without a handle.
            if u32_of(&head[4..8]) != interface || handle == 0 {
                return;
            }
            let options = of(TCA_OPTIONS).unwrap_or_default();
            let option = |wanted| attributes(options).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
            let is_bpf = of(TCA_KIND).map(text_of).as_deref() == Some("bpf");
            let name = option(TCA_BPF_NAME).filter(|_| is_bpf).or_else(|| of(TCA_KIND));
            let programme = option(TCA_BPF_ID).filter(|_| is_bpf).map(u32_of);
            let priority = (u32_of(&head[16..20]) >> 16) as u16;
            all.push(Filter { programme, name: name.map_or_else(String::new, text_of), priority, handle });
        })?;
        Ok(all)
    }

    /// Asks one question and hands out the bodies of the answers of the `wanted` kind.
    fn ask(&self, kind: u16, flags: u16, body: &[u8], wanted: u16, mut answer: impl FnMut(&[u8])) -> io::Result<()> {
        let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
        message.extend((HEADER_BYTES as u32 + body.len() as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        send(&self.0, &message, SendFlags::empty())?;
        let mut buffer = vec![0; ANSWER_BYTES];
        for _ in 0..ANSWERS_MAX {
            let (_, length) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some(head) = rest.get(..HEADER_BYTES) {
                let length = u32_of(&head[..4]) as usize;
                let Some(body) = rest.get(HEADER_BYTES..length) else { break };
                let (kind, flags) = (u16::from_ne_bytes([head[4], head[5]]), u16::from_ne_bytes([head[6], head[7]]));
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = u32_of(body.get(..4).unwrap_or_default()).cast_signed();
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    kind if kind == wanted => answer(body),
                    _ => {}
                }
                if flags & NLM_F_MULTI == 0 {
                    return Ok(());
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Hears of changes to interfaces, addresses and routes.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Listens from this moment on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let socket = netlink(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Changes(socket))
    }

    /// Whether anything changed since it was asked last.
    pub fn any(&self) -> bool {
        let mut any = false;
        let mut buffer = [0; 4_096];
        for _ in 0..ANSWERS_MAX {
            match recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Err(Errno::WOULDBLOCK) => break,
                // An error says that so much changed that not all of it was kept.
                Ok(_) | Err(_) => any = true,
            }
        }
        any
    }
}

fn netlink(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?)
}

/// The attributes of a message, each with its kind.
fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = rest.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([head[2], head[3]]) & ATTRIBUTE_MASK, value))
    })
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

fn u32_of(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

// Names and numbers of linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, if_arp.h and pkt_cls.h.
const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_MULTI: u16 = 2;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const RTN_LOCAL: u8 = 2;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_PROG_ID: u16 = 4;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// TC_H_CLSACT with TC_H_MIN_INGRESS.
const INGRESS: u32 = 0xffff_fff2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFF_UP: u32 = 1;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const ATTRIBUTE_MASK: u16 = 0x3fff;
const ANSWER_BYTES: usize = 32 * 1_024;
/// How many datagrams an answer may have.
const ANSWERS_MAX: usize = 256;
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_interface_and_the_way_to_itself() {
        let routes = Routes::open().unwrap();
        let all = routes.interfaces().unwrap();
        let lo = all.iter().find(|interface| interface.link == Link::Loopback).expect("a host has one");
        let here = IpAddr::from(Ipv4Addr::new(127, 0, 3, 4));
        assert_eq!((lo.name.as_str(), lo.is_up), ("lo", true));
        assert!(lo.addresses.contains(&Ipv4Addr::LOCALHOST.into()));
        let way = routes.way(here).unwrap();
        assert_eq!((way.is_local, way.interface), (true, lo.index));
    }

    #[test]
    fn attributes_that_do_not_fit_end_the_list() {
        let bytes = [8, 0, 4, 0, 2, 0, 0, 0, 9, 0, 7, 0, 1];
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(4, &[2, 0, 0, 0][..])]);
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
    }
}
