//! Asks the system's resolver the questions it is handed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The addresses of `host` (a name, or an address with or without brackets), each with `port`, in the resolver's order.
///
/// # Errors
/// What the resolver said, `TimedOut` after [`TIMEOUT`], `NotFound` when the name has no address.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host((host, port))).await??;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if addresses.len() == ADDRESSES {
            break;
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(addresses)
}

/// How long the resolver may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The most addresses that are taken of one name.
pub const ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_need_no_resolver_and_localhost_is_known() {
        assert_eq!(resolve("[2001:db8::1]", 5060).await.unwrap(), ["[2001:db8::1]:5060".parse().unwrap()]);
        assert_eq!(resolve("192.0.2.1", 5061).await.unwrap(), ["192.0.2.1:5061".parse().unwrap()]);
        assert!(resolve("localhost", 5060).await.unwrap().iter().all(|a| a.ip().is_loopback()));
    }
}
