//! Connections that we open: one per listener and remote address, and what waits for it.

use super::event::{Output, ServerTxn};
use super::shared::{Due, Shared};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use words::{ConnectionId, Flow, PeerId, Time, TimerToken, Transport};

/// What tells connections apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Dialled {
    pub(super) transport: Transport,
    pub(super) listener: u16,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// A connection that one peer was proven on is none to another, nor to somebody who may be anybody.
    pub(super) peer: Option<PeerId>,
}

/// What is sent when the connection is up.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Waiting {
    /// A client transaction's request; the number proves that the slot is still its.
    Client { slot: u32, secret: u64 },
    /// A server transaction's last answer.
    Server(ServerTxn),
    /// A message that nobody misses when it is lost: an ACK.
    Bytes(Bytes),
}

/// What asking for a connection brought.
#[derive(Debug)]
pub(super) enum Reached {
    /// It is there.
    Open(Flow),
    /// It is being opened; what waits is sent then.
    Opening,
    /// Too many are being opened, or too much waits for this one.
    Full,
}

/// Connections that are open or being opened.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Dials {
    opening: BTreeMap<u64, Opening>,
    opening_to: HashMap<Dialled, u64>,
    open: HashMap<Dialled, Flow>,
    dialled: HashMap<ConnectionId, Dialled>,
    last: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Opening {
    dialled: Dialled,
    guard: TimerToken,
    waiting: Vec<Waiting>,
}

impl Dials {
    /// How many connections are being opened.
    pub(super) fn opening(&self) -> usize {
        self.opening.len()
    }
}

impl Shared {
    /// Finds or opens a connection. On UDP there is nothing to open.
    pub(super) fn dial(&mut self, dialled: Dialled, waiting: Waiting, now: Time) -> Reached {
        let Dialled { transport, listener, local, remote, peer } = dialled;
        if transport == Transport::Udp {
            return Reached::Open(Flow { transport, listener, connection: ConnectionId::NONE, local, remote });
        }
        if let Some(flow) = self.dials.open.get(&dialled) {
            return Reached::Open(*flow);
        }
        let limits = self.config.limits;
        if let Some(id) = self.dials.opening_to.get(&dialled) {
            let opening = self.dials.opening.get_mut(id).expect("both maps are changed together");
            if opening.waiting.len() >= limits.dial_queue {
                return Reached::Full;
            }
            opening.waiting.push(waiting);
            return Reached::Opening;
        }
        if self.dials.opening.len() >= limits.dials {
            return Reached::Full;
        }
        self.dials.last += 1;
        let id = self.dials.last;
        let guard = self.timers.insert(now + self.config.timers.dial, Due::Dial(id));
        self.dials.opening.insert(id, Opening { dialled, guard, waiting: vec![waiting] });
        self.dials.opening_to.insert(dialled, id);
        self.out.push_back(Output::Connect { id, transport, listener, local, remote, peer });
        Reached::Opening
    }

    /// The attempt came to an end: gives what waited for it, and the flow that it waits for no more.
    pub(super) fn dial_ended(&mut self, id: u64, result: Option<Flow>) -> (Vec<Waiting>, Option<Flow>) {
        let Some(opening) = self.dials.opening.remove(&id) else {
            // It came up after Timer Dial: nobody waits, and nobody knows under which name it could be used again.
            return (Vec::new(), None);
        };
        self.dials.opening_to.remove(&opening.dialled);
        self.timers.cancel(opening.guard);
        let flow = result.map(|flow| Flow { local: opening.dialled.local, remote: opening.dialled.remote, ..flow });
        if let Some(flow) = flow {
            self.dials.open.insert(opening.dialled, flow);
            self.dials.dialled.insert(flow.connection, opening.dialled);
        }
        (opening.waiting, flow)
    }

    /// A connection is gone; it is opened anew when next asked for. Gives to where, when it was we who opened it.
    pub(super) fn forget_connection(&mut self, connection: ConnectionId) -> Option<Dialled> {
        let dialled = self.dials.dialled.remove(&connection)?;
        self.dials.open.remove(&dialled);
        Some(dialled)
    }
}
