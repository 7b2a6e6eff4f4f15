//! The connections of one loop by slot and generation, and how many each source has.

use super::connection::Connection;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use words::ConnectionId;

/// All connections, those being opened included.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Accepted connections of each source, see [`source_of`].
    sources: HashMap<IpAddr, usize>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Rc<Connection>>,
}

impl Table {
    /// A slot for a new connection, which must be filled by [`Table::fill`] at once.
    pub(super) fn reserve(&mut self) -> ConnectionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let generation = &mut self.slots[slot as usize].generation;
        *generation = generation.wrapping_add(1).max(1);
        ConnectionId { slot, generation: *generation }
    }

    /// Puts the connection into the slot that its id names.
    pub(super) fn fill(&mut self, connection: Rc<Connection>) {
        if let Some(source) = connection.source() {
            *self.sources.entry(source_of(source)).or_default() += 1;
        }
        let slot = connection.id().slot as usize;
        self.slots[slot].connection = Some(connection);
    }

    /// Takes a connection out; its slot may be taken again.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Rc<Connection>> {
        self.get(id)?;
        let connection = self.slots[id.slot as usize].connection.take()?;
        self.free.push(id.slot);
        if let Some(source) = connection.source() {
            let source = source_of(source);
            if let Some(count) = self.sources.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    self.sources.remove(&source);
                }
            }
        }
        Some(connection)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Rc<Connection>> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.connection.as_ref().filter(|_| slot.generation == id.generation)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn of_source(&self, source: IpAddr) -> usize {
        self.sources.get(&source_of(source)).copied().unwrap_or(0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Connection>> {
        self.slots.iter().filter_map(|slot| slot.connection.as_ref())
    }
}

/// What counts as one source: an IPv4 address, or the /64 that a provider gives to one customer.
fn source_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & (u128::MAX << 64);
            Ipv6Addr::from(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let ip = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
    }
}
