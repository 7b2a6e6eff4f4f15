//! What this host is called and which addresses it has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The host's name as the kernel has it; `localhost` when it is not text.
pub fn name() -> String {
    rustix::system::uname().nodename().to_str().unwrap_or("localhost").to_owned()
}

/// The addresses of all interfaces that are up, sorted, each once. Link-local IPv6 addresses are left out: they mean
/// something only together with an interface, which no SIP header can name.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> =
        if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).filter(is_nameable).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Whether the host has IPv6: an interface with such an address, be it the loopback's.
pub fn has_ipv6() -> bool {
    addresses().is_ok_and(|all| all.iter().any(IpAddr::is_ipv6))
}

/// The address that the kernel sends from towards `remote`. Nothing is sent.
pub fn source_towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = UdpSocket::bind(SocketAddr::new(any, 0))?;
    probe.connect(remote)?;
    Ok(probe.local_addr()?.ip())
}

fn is_nameable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_addresses_and_its_own_source() {
        let loopback: IpAddr = Ipv4Addr::LOCALHOST.into();
        assert!(addresses().unwrap().contains(&loopback));
        assert_eq!(source_towards("127.0.0.1:9".parse().unwrap()).unwrap(), loopback);
        assert!(!name().is_empty());
    }
}
