//! The network between phones and the exchange: weather, routers that translate addresses, connections.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::{Chance, ConnectionId, Time};

/// What happens to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How many of a thousand are lost.
    pub loss: u64,
    /// How many of a thousand come twice.
    pub twice: u64,
    /// How long they take, at least and at most: those that differ overtake each other.
    pub delay: (Duration, Duration),
}

impl Weather {
    /// Nothing is lost; what follows closely may still be overtaken.
    pub const FAIR: Weather =
        Weather { loss: 0, twice: 0, delay: (Duration::from_millis(1), Duration::from_millis(30)) };

    /// So many of a thousand are lost, some come twice, some late.
    pub const fn rough(loss: u64) -> Weather {
        Weather { loss, twice: 50, delay: (Duration::from_millis(5), Duration::from_millis(150)) }
    }
}

/// The network.
pub struct Network {
    /// What happens to datagrams from now on.
    pub weather: Weather,
    /// The one datagram that is lost whatever the weather, counted from 0.
    pub lose: Option<u64>,
    chance: Chance,
    carried: u64,
    lost: u64,
    pub(crate) nats: Vec<Nat>,
    /// Those that are open.
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    /// How many there ever were.
    pub(crate) connected: u32,
}

/// A stream connection between a phone and the exchange.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) phone: usize,
    /// The phone's address as the exchange sees it.
    pub(crate) source: SocketAddr,
    /// The latest arrival at either side: nothing overtakes on a stream.
    pub(crate) latest: [Time; 2],
}

impl Network {
    pub(crate) fn new(chance: Chance) -> Self {
        let (nats, connections) = (Vec::new(), BTreeMap::new());
        Network { weather: Weather::FAIR, lose: None, chance, carried: 0, lost: 0, nats, connections, connected: 0 }
    }

    /// How many datagrams were sent.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// How many of them were lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// A datagram is sent: when its copies arrive; none when it is lost.
    pub(crate) fn datagram(&mut self) -> Vec<Duration> {
        let number = self.carried;
        self.carried += 1;
        // Drawn in any case, so that one lost datagram changes nothing else.
        let (loss, twice) = (self.chance.below(1_000), self.chance.below(1_000));
        let delays = [self.delay(), self.delay()];
        if self.lose == Some(number) || loss < self.weather.loss {
            self.lost += 1;
            return Vec::new();
        }
        let copies = if twice < self.weather.twice { 2 } else { 1 };
        delays[..copies].to_vec()
    }

    /// A datagram finds nobody at its address.
    pub(crate) fn nobody_there(&mut self) {
        self.lost += 1;
    }

    /// How long something takes that is not lost.
    pub(crate) fn delay(&mut self) -> Duration {
        let (least, most) = self.weather.delay;
        least + Duration::from_nanos(self.chance.below((most.saturating_sub(least)).as_nanos() as u64 + 1))
    }

    pub(crate) fn connect(&mut self, phone: usize, source: SocketAddr) -> Connection {
        let id = ConnectionId { slot: self.connected, generation: 1 };
        self.connected += 1;
        let connection = Connection { id, phone, source, latest: [Time::ZERO; 2] };
        self.connections.insert(id, connection);
        connection
    }

    pub(crate) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// When bytes on a stream arrive; `side` 0 is the exchange, 1 the phone.
    pub(crate) fn on_stream(&mut self, id: ConnectionId, side: usize, now: Time) -> Option<Time> {
        let at = now + self.delay();
        let connection = self.connection(id)?;
        let at = at.max(connection.latest[side] + Duration::from_nanos(1));
        connection.latest[side] = at;
        Some(at)
    }
}

/// A router that translates addresses: each device behind it speaks from a port of its own, as long as it speaks.
#[derive(Debug)]
pub struct Nat {
    public: IpAddr,
    keep: Duration,
    next_port: u16,
    mappings: Vec<Mapping>,
}

#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    port: u16,
    used: Time,
}

impl Nat {
    pub(crate) fn new(public: IpAddr) -> Self {
        Nat { public, keep: Duration::from_mins(1), next_port: 40_000, mappings: Vec::new() }
    }

    /// Forgets who spoke from where, as when it is switched off and on: the next datagram gets another port.
    pub fn rebind(&mut self) {
        self.mappings.clear();
    }

    /// A device speaks: from where the world sees it.
    pub(crate) fn outward(&mut self, inside: SocketAddr, now: Time) -> SocketAddr {
        let keep = self.keep;
        self.mappings.retain(|mapping| now.since(mapping.used) < keep);
        if let Some(mapping) = self.mappings.iter_mut().find(|mapping| mapping.inside == inside) {
            mapping.used = now;
            return SocketAddr::new(self.public, mapping.port);
        }
        self.next_port += 7;
        self.mappings.push(Mapping { inside, port: self.next_port, used: now });
        SocketAddr::new(self.public, self.next_port)
    }

    /// To whom a datagram from outside goes.
    pub(crate) fn inward(&self, outside: SocketAddr, now: Time) -> Option<SocketAddr> {
        let mapping = self.mappings.iter().find(|mapping| SocketAddr::new(self.public, mapping.port) == outside)?;
        (now.since(mapping.used) < self.keep).then_some(mapping.inside)
    }
}
