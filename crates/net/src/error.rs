//! What can go wrong at a socket, in words of the one who can change it.

use std::io;
use std::net::SocketAddr;
use words::Transport;
use words::diagnosis::Diagnosis;

/// A listener could not be opened. The operator's: a port, an address or a right.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({transport}): {source}")]
pub struct BindError {
    /// What it would have carried.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

impl BindError {
    /// The diagnosis that explains it, when it is one that people meet.
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        (self.source.kind() == io::ErrorKind::AddrInUse).then_some(Diagnosis::PortInUse)
    }
}

/// Bytes could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The other side does not take them as fast as we give: dropped on UDP, the end of a connection.
    #[error("the queue to the other side is full")]
    Full,
    /// The connection is gone, or the local address is none of ours.
    #[error("there is no such connection or local address")]
    Gone,
    /// The kernel refused: no route, too big, a firewall.
    #[error("the kernel refused: {0}")]
    Refused(io::ErrorKind),
}
