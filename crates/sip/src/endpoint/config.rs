//! What an endpoint is told once.

use crate::timer::TimerConfig;
use words::ShardId;

/// See [`super::Endpoint::new`].
#[derive(Clone, Debug, Default)]
pub struct EndpointConfig {
    /// The timers' figures.
    pub timers: TimerConfig,
    /// The shard that our branches carry.
    pub shard: ShardId,
    /// The value of Server in answers that the endpoint makes itself; empty: none.
    pub server: String,
    /// What our Via says instead of the local address, by listener: `host` or `host:port`.
    pub advertised: Vec<Advertised>,
    /// Answers go to the port that the request came from even where it did not ask for that (RFC 3581 §4 says only
    /// then). Helps phones behind NAT that do not know it.
    pub force_rport: bool,
    /// An INVITE that is being answered goes out once more when the connection closes that we opened for it. For whoever
    /// calls servers: they close what is idle while somebody rings. A phone that is cut off gives up.
    pub calls_again: bool,
    /// The bounds of its tables.
    pub limits: EndpointLimits,
}

/// The name of a listener to the outside.
#[derive(Clone, Debug)]
pub struct Advertised {
    /// The listener.
    pub listener: u16,
    /// The sent-by of its Via: `host` or `host:port`, IPv6 in brackets.
    pub sent_by: String,
}

/// How much an endpoint holds.
#[derive(Clone, Copy, Debug)]
pub struct EndpointLimits {
    /// Transactions of both sides. On UDP each lives for half a minute after its answer, so a call takes four for as
    /// long. Past it, requests outside dialogs are answered 503 without a memory; requests inside dialogs get an
    /// eighth more, so that running calls can end. Default 400,000.
    pub transactions: usize,
    /// Connections that are being opened at a time. Default 256.
    pub dials: usize,
    /// Messages that wait for one connection to open. Default 64.
    pub dial_queue: usize,
    /// Retry-After in that 503; 0: none. Units: seconds. Default 5.
    pub retry_after_s: u32,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        EndpointLimits { transactions: 400_000, dials: 256, dial_queue: 64, retry_after_s: 5 }
    }
}
