//! What the exchange is told at its start.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::AccountId;

/// Settings of the whole exchange. Those of an account come with its record.
#[derive(Clone, Debug)]
pub struct Config {
    /// What `Server` and `User-Agent` say.
    pub server: String,
    /// The listeners, in the order of [`words::Flow::listener`].
    pub listeners: Vec<ListenerConfig>,
    /// The most calls at a time.
    pub calls: usize,
    /// How long an answered call may be without media; `None` switches the check off.
    pub silence: Option<Duration>,
    /// The longest that a call may last.
    pub call_limit: Duration,
    /// Our addresses as the outside sees them, when they differ from the local ones.
    pub advertised: Option<IpAddr>,
    /// Whether sources are limited for wrong passwords.
    pub throttle: bool,
    /// Where the exchange listens: Contacts must not point there.
    pub own: Vec<SocketAddr>,
}

/// A listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerConfig {
    /// The account that everything on it belongs to.
    pub account: Option<AccountId>,
    /// Whether INVITEs on it are taken without a digest. Only a listener on loopback that names its account may say so.
    pub open: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server: "Crosspoint".into(),
            listeners: Vec::new(),
            calls: 5_000,
            silence: Some(Duration::from_secs(30)),
            call_limit: words::limit::CALL,
            advertised: None,
            throttle: true,
            own: Vec::new(),
        }
    }
}
