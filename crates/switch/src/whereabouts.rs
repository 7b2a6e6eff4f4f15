//! Where peers are: their names are located when they are called, and followed meanwhile, since whoever speaks from an
//! address that a peer's name leads to is that peer.

use crate::account::Peer;
use crate::config::Way;
use crate::down::Place;
use crate::switch::{Output, Switch, Waiter};
use crate::view::{PeerView, ServerView};
use b2bua::{Servers, Trouble};
use serde::{Deserialize, Serialize};
use sip::Target;
use sip::locate::{Found, Lost, Search, Server, Wanted, locate};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use words::dns::{Answer, Question, Records};
use words::{PeerId, Time, Transport};

/// What is known of a peer that has a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) wanted: Wanted,
    /// Its servers, as last located.
    servers: Vec<Server>,
    /// Why it could not be located the last time.
    lost: Option<Lost>,
    /// The addresses that its name led to, and when it last did.
    seen: Vec<(SocketAddr, Time)>,
}

impl Named {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Named { wanted, servers: Vec::new(), lost: None, seen: Vec::new() }
    }

    /// From where it may speak.
    pub(crate) fn sources(&self) -> impl Iterator<Item = SocketAddr> {
        self.seen.iter().map(|(address, _)| *address)
    }

    fn locate(&mut self, found: Found, now: Time) {
        for address in found.all {
            match self.seen.iter_mut().find(|(known, _)| *known == address) {
                Some((_, seen)) => *seen = now,
                None => self.seen.push((address, now)),
            }
        }
        self.forget(now);
        (self.servers, self.lost) = (found.servers, None);
    }

    fn lose(&mut self, why: Lost, now: Time) {
        // While DNS is silent nothing is known to have changed.
        if why != Lost::Silence {
            self.forget(now);
            self.servers.clear();
        }
        self.lost = Some(why);
    }

    /// Names that lead to a few of many addresses at a time lead to the others soon again.
    fn forget(&mut self, now: Time) {
        self.seen.retain(|(_, seen)| now.since(*seen) < SEEN);
        let surplus = self.seen.len().saturating_sub(SOURCES);
        self.seen.sort_by_key(|(_, seen)| *seen);
        self.seen.drain(..surplus);
    }
}

/// What a peer's name led to, for a call.
pub(crate) enum Whereabouts {
    /// These servers, in this order.
    At(Target, Option<Box<Servers>>),
    /// It cannot be said before this is answered.
    Ask(Vec<Question>),
    /// Nowhere: the status and the reason phrase for the caller.
    Nowhere(u16, String),
}

impl Switch {
    /// Where to send a call to a peer.
    pub(crate) fn whereabouts(&self, peer: &Peer, now: Time) -> Whereabouts {
        let Some(wanted) = &peer.by_name else {
            let (Some(&remote), Some((listener, local))) = (peer.addresses.first(), peer.from) else {
                return Whereabouts::Nowhere(480, "Temporarily Unavailable: the peer has no address".to_owned());
            };
            let transport = peer.transport;
            return Whereabouts::At(dial(peer.id, transport, listener, local, remote), None);
        };
        match self.search(wanted, now) {
            Search::Ask(questions) => Whereabouts::Ask(questions),
            Search::Lost { why, .. } => {
                let (status, reason) = refusal(why, &wanted.host);
                Whereabouts::Nowhere(status, reason)
            }
            Search::Found(mut found) => {
                self.peers.down.put_last(&mut found.servers, place, now);
                let mut targets: VecDeque<Target> =
                    found.servers.iter().filter_map(|server| self.target(peer.id, server)).collect();
                let Some(first) = targets.pop_front() else {
                    let (status, reason) = refusal(Lost::NoMeans, &wanted.host);
                    return Whereabouts::Nowhere(status, reason);
                };
                let servers = Servers { name: peer.name.clone(), others: targets };
                Whereabouts::At(first, Some(Box::new(servers)))
            }
        }
    }

    /// Finds out anew where a peer is.
    pub(crate) fn follow_peer(&mut self, id: PeerId, now: Time) {
        let Some(wanted) = self.peers.named(id).map(|named| named.wanted.clone()) else { return };
        let ttl = match self.search(&wanted, now) {
            Search::Ask(questions) => {
                if self.peers.names.ask(questions, Waiter::Peer(id), now).is_ok() {
                    return;
                }
                SOONEST
            }
            Search::Found(found) => {
                let ttl = found.ttl;
                self.change_peer(id, |named| named.locate(found, now));
                ttl
            }
            Search::Lost { why, ttl } => {
                self.change_peer(id, |named| named.lose(why, now));
                ttl
            }
        };
        self.peers.follow_at(id, now + ttl.clamp(SOONEST, LATEST));
    }

    /// DNS said something.
    pub(crate) fn handle_resolved(&mut self, question: &Question, answer: Answer, now: Time) {
        let waiting = self.peers.names.answer(question, answer, now);
        self.resume(waiting, now);
    }

    /// What waited too long for DNS, and what is to be looked up again.
    pub(crate) fn handle_names_due(&mut self, now: Time) {
        while let Some(question) = self.peers.names.overdue(now) {
            let silence = Answer { records: Records::Silence, ttl: Duration::ZERO };
            self.handle_resolved(&question, silence, now);
        }
        while let Some(id) = self.peers.due(now) {
            self.follow_peer(id, now);
        }
    }

    /// A server of a peer failed.
    pub(crate) fn handle_server_failed(&mut self, target: Target, trouble: Trouble, now: Time) {
        if let Target::Dial { transport, remote, .. } = target {
            self.peers.down.failed((transport, remote), trouble, now);
        }
    }

    /// Tells the rooms who speaks from where.
    pub(crate) fn tell_sources(&mut self) {
        let addresses: Vec<SocketAddr> = self.peers.all().flat_map(|peer| peer.addresses.iter().copied()).collect();
        self.outputs.push_back(Output::Sources(addresses.iter().map(SocketAddr::ip).collect()));
        self.registrar.set_peers(addresses);
    }

    /// The peers as people see them.
    pub(crate) fn view_peers(&self, now: Time) -> Vec<PeerView> {
        let server = |(transport, address): Place| {
            let down = self.peers.down.look((transport, address), now);
            ServerView {
                address: address.to_string(),
                transport,
                down: down.map(|(trouble, _)| trouble_word(trouble)),
                down_s: down.map(|(_, rest)| rest.as_secs()),
            }
        };
        let view = |peer: &Peer| {
            let named = self.peers.named(peer.id);
            let servers = match named {
                Some(named) => named.servers.iter().map(place).map(server).collect(),
                None => peer.addresses.iter().map(|address| server((peer.transport, *address))).collect(),
            };
            let trouble = named.and_then(|named| named.lost).map(lost_word);
            let sources = peer.addresses.iter().map(SocketAddr::ip).collect();
            PeerView { peer: peer.id, account: peer.account, servers, trouble, sources }
        };
        self.peers.all().map(view).collect()
    }

    fn search(&self, wanted: &Wanted, now: Time) -> Search {
        let names = &self.peers.names;
        locate(wanted, self.config.means(), &mut |question| names.look(question, now), &mut self.peers.draw())
    }

    fn change_peer(&mut self, id: PeerId, change: impl FnOnce(&mut Named)) {
        if self.peers.change(id, change) {
            self.tell_sources();
        }
    }

    /// How a server is called: from the listener of its transport that lies on the way.
    fn target(&self, peer: PeerId, server: &Server) -> Option<Target> {
        let Server { transport, address, from } = *server;
        let (listener, local) = Way::towards(&self.config.ways, transport, address, from)?;
        Some(dial(peer, transport, listener, local, address))
    }
}

/// A server of a peer, from one of our listeners.
pub(crate) fn dial(peer: PeerId, transport: Transport, listener: u16, local: SocketAddr, remote: SocketAddr) -> Target {
    // Only TLS tells who is there.
    let peer = transport.is_secure().then_some(peer);
    Target::Dial { transport, listener, local, remote, peer }
}

fn place(server: &Server) -> Place {
    (server.transport, server.address)
}

fn refusal(why: Lost, host: &str) -> (u16, String) {
    match why {
        Lost::NoAddress => (502, format!("Bad Gateway: DNS has no address of {host}")),
        Lost::NoService => (502, format!("Bad Gateway: DNS says that {host} has no SIP server")),
        Lost::Silence => (504, format!("Server Time-out: DNS says nothing about {host}")),
        Lost::NoMeans | Lost::Contradiction => {
            (480, format!("Temporarily Unavailable: no listener of ours reaches {host}"))
        }
    }
}

const fn trouble_word(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Silent => "silent",
        Trouble::Unreachable => "unreachable",
        Trouble::Untrusted => "untrusted",
        Trouble::Busy { .. } => "busy",
    }
}

const fn lost_word(lost: Lost) -> &'static str {
    match lost {
        Lost::NoAddress => "no-address",
        Lost::NoService => "no-service",
        Lost::Silence => "dns-silent",
        Lost::NoMeans | Lost::Contradiction => "no-listener",
    }
}

/// The soonest that a name is looked up again by itself.
const SOONEST: Duration = Duration::from_secs(30);
/// The latest.
const LATEST: Duration = Duration::from_mins(10);
/// How long somebody may speak from an address that his name no longer leads to.
const SEEN: Duration = Duration::from_mins(15);
/// The most addresses that one name's owner may speak from.
const SOURCES: usize = 64;
