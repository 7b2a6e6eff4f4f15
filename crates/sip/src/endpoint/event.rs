//! The words between the endpoint, the user above it and the shell below.

use crate::msg::Message;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use words::{Flow, PeerId, Time, Transport};

/// A client transaction, named by its user; no two that live at the same time may have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientTxn(pub u64);

/// A server transaction, named by the endpoint: its slot and the generation that tells the slot's users apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerTxn {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Along a way that is known.
    Flow(Flow),
    /// To an address: on UDP that is a flow at once; otherwise a connection that we opened to it before is used, else
    /// one is opened.
    Dial {
        /// What carries it.
        transport: Transport,
        /// The listener it goes out from.
        listener: u16,
        /// That listener's address, which our Via names.
        local: SocketAddr,
        /// Where to.
        remote: SocketAddr,
        /// Whose certificate a TLS connection has to show (RFC 5922); `None`: anybody's, as phones have them.
        peer: Option<PeerId>,
    },
}

/// Why a request could not be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Undelivered {
    /// There is no way to where it goes, or nobody there.
    #[default]
    Unreachable,
    /// Who is there did not prove to be who is meant.
    Untrusted,
}

/// What the endpoint tells its user.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new request; answer it with [`super::Endpoint::respond`].
    Request {
        /// Its transaction.
        txn: ServerTxn,
        /// The request.
        message: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// An ACK to a 2xx, or to nothing we know; never answered.
    Ack {
        /// The ACK.
        message: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// A CANCEL for an INVITE that has no final answer yet. It was answered 200; the user answers the INVITE, 487 as a
    /// rule (RFC 3261 §9.2).
    Cancelled {
        /// The INVITE's transaction.
        txn: ServerTxn,
        /// The CANCEL.
        message: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// An answer, 100 included; 2xx answers to an INVITE come as often as they arrive, from each branch of a fork.
    Response {
        /// The transaction.
        txn: ClientTxn,
        /// The answer.
        message: Message,
        /// Where it came from.
        flow: Flow,
    },
    /// No final answer came in time; as a 408 (RFC 3261 §8.1.3.1). The transaction is gone.
    Timeout {
        /// The transaction.
        txn: ClientTxn,
    },
    /// The request could not be delivered; as a 503 (RFC 3261 §8.1.3.1). The transaction is gone.
    TransportFailed {
        /// The transaction.
        txn: ClientTxn,
        /// Why.
        why: Undelivered,
    },
    /// Nobody acknowledged our final answer to an INVITE (RFC 3261 §13.3.1.4, §17.2.1). The transaction is gone.
    NoAck {
        /// The transaction.
        txn: ServerTxn,
    },
    /// Our answer could not be delivered, or came so late that RFC 4320 forbids it.
    ServerFailed {
        /// The transaction.
        txn: ServerTxn,
    },
}

/// What [`super::Endpoint::poll`] gives.
#[expect(
    clippy::large_enum_variant,
    reason = "a box would cost each message an allocation; few outputs wait at a time"
)]
#[derive(Clone, Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// Along this way.
        flow: Flow,
        /// One message.
        bytes: Bytes,
    },
    /// Open a connection; the answer goes to [`super::Endpoint::handle_connected`].
    Connect {
        /// Names the attempt.
        id: u64,
        /// What kind of connection.
        transport: Transport,
        /// The listener it belongs to.
        listener: u16,
        /// That listener's address; the connection leaves from the same host address.
        local: SocketAddr,
        /// Where to.
        remote: SocketAddr,
        /// Whose certificate it has to show; `None`: anybody's.
        peer: Option<PeerId>,
    },
    /// Tell the user.
    Event(Event),
    /// Nothing more; call [`super::Endpoint::handle_timeout`] then. `None`: truly asleep.
    Timeout(Option<Time>),
}
