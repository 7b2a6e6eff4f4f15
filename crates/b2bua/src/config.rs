//! What the room is told at its start.

use crate::session::SessionConfig;
use media::command::Family;
use media::ports::PoolConfig;
use std::net::IpAddr;
use std::time::Duration;
use words::ShardId;

/// Settings of all calls of one loop.
#[derive(Clone, Debug)]
pub struct Config {
    /// The loop: our tags carry it.
    pub shard: ShardId,
    /// What `Server` and `User-Agent` say.
    pub server: String,
    /// What `Allow` says.
    pub allow: String,
    /// The most calls at a time; at most [`CALLS_MAX`].
    pub calls: usize,
    /// The longest that a call rings where no step says how long.
    pub ring_limit: Duration,
    /// The longest that an answered call lasts.
    pub call_limit: Duration,
    /// Session timers (RFC 4028).
    pub session: SessionConfig,
    /// Our address as the outside sees it, when it differs from the local ones: told to those whose address is public.
    pub advertised: Option<IpAddr>,
    /// What a user types while talking, before a number and `#`, to send the other side there; empty: nothing.
    pub typed_transfer: String,
    /// Offers RTP and RTCP on one port (RFC 5761); whoever offers that to us has it anyway.
    pub rtcp_mux: bool,
    /// The port that is told to all legs that can be told apart there. The relay has it, too.
    pub single_port: Option<u16>,
    /// The pool of media ports.
    pub ports: PoolConfig,
    /// The families that ports are asked for at once; others when first needed.
    pub families: Vec<Family>,
    /// Our own addresses: one of each family is told to callers whose media are of another family than their signalling.
    pub addresses: Vec<IpAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shard: ShardId(0),
            server: "Crosspoint".to_owned(),
            allow: sip::advertise::ALLOW.to_owned(),
            calls: 5_000,
            ring_limit: Duration::from_mins(3),
            call_limit: words::limit::CALL,
            session: SessionConfig::default(),
            advertised: None,
            typed_transfer: String::new(),
            rtcp_mux: false,
            single_port: None,
            ports: PoolConfig::default(),
            families: vec![Family::V4],
            addresses: Vec::new(),
        }
    }
}

/// The most calls that one loop can tell apart in its transactions.
pub const CALLS_MAX: usize = 1 << 22;
