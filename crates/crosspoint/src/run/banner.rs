//! What a person reads when the exchange is ready.

use super::turn::{Running, Wire};
use crate::cli::Profile;
use crate::doctor;
use crate::host::Capacity;
use crate::profile;
use net::udp::Udp;
use std::net::SocketAddr;
use words::diagnosis::Language;

/// Prints the addresses, the demo account and what the host allows.
pub(crate) fn print(running: &Running, demo: Option<&str>, capacity: &Capacity, interrupted: usize) {
    let Running { setup, wire: Wire { udp, .. }, relay, .. } = running;
    let language = Language::from(setup.config.language);
    let russian = language == Language::Ru;
    println!("Crosspoint {}", env!("CARGO_PKG_VERSION"));
    for (_, listener) in setup.opened() {
        println!("  {:4} {}", listener.transport.via_token(), listener.address);
    }
    println!("  HTTP {} (/metrics, /readyz)", setup.config.http.listen);
    if interrupted > 0 {
        println!(
            "{}",
            if russian {
                format!("Звонков, прерванных прошлой остановкой и закрытых в записях: {interrupted}")
            } else {
                format!("Calls cut by the last stop and closed in the records: {interrupted}")
            }
        );
    }
    for line in capacity.tell(language) {
        println!("{line}");
    }
    println!("{}", doctor::tell_tier(relay.tier(), language));
    if let Some(port) = setup.config.media.single_port {
        println!("{}", doctor::tell_single_port(port, language));
    }
    if setup.profile == Some(Profile::Demo) {
        let address = best_address(udp).map_or_else(|| "127.0.0.1:5060".to_owned(), |address| address.to_string());
        let other = outward(udp, SocketAddr::is_ipv6).filter(|other| other.to_string() != address);
        let other = other.map_or(String::new(), |other| format!(", {other}"));
        println!("SIP {} {address}{other}", if russian { "адрес" } else { "address" });
        for line in profile::tell(demo.unwrap_or_default(), &address, language) {
            println!("{line}");
        }
    }
    println!("{}", if russian { "Готова." } else { "Ready." });
}

/// The address that a phone on the same network would use.
fn best_address(udp: &Udp) -> Option<SocketAddr> {
    let any = || outward(udp, SocketAddr::is_ipv6).or_else(|| udp.locals().map(|(_, address)| address).next());
    outward(udp, SocketAddr::is_ipv4).or_else(any)
}

/// The first of a family that others can reach.
fn outward(udp: &Udp, of_family: fn(&SocketAddr) -> bool) -> Option<SocketAddr> {
    let mut all = udp.locals().map(|(_, address)| address);
    all.find(|address| of_family(address) && !address.ip().is_loopback())
}
