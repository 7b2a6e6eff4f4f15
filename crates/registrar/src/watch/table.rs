//! All subscriptions, with the ways to find them kept in step.

use super::state::State;
use super::subscription::{Subscription, secret_of};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use words::{ConnectionId, OwnMap, Places, UserId};

/// Limits: its owner makes room before it inserts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    slots: Places<Box<Subscription>>,
    /// By the number in our tag.
    by_secret: OwnMap<u64, u32>,
    by_watcher: OwnMap<UserId, Vec<u32>>,
    connections: BTreeSet<(ConnectionId, u32)>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Subscription> {
        self.slots.get(slot as usize).map(|found| &**found)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Subscription> {
        self.slots.get_mut(slot as usize).map(|found| &mut **found)
    }

    /// The subscription with that tag of ours.
    pub(crate) fn find(&self, tag: &str) -> Option<u32> {
        self.by_secret.get(&secret_of(tag)?).copied()
    }

    pub(crate) fn of(&self, watcher: UserId) -> &[u32] {
        self.by_watcher.get(&watcher).map_or(&[], Vec::as_slice)
    }

    /// `None` when its tag is taken: it is there already.
    pub(crate) fn insert(&mut self, subscription: Subscription) -> Option<u32> {
        let slot = self.slots.vacant_key() as u32;
        if self.by_secret.contains_key(&subscription.secret) {
            return None;
        }
        self.by_secret.insert(subscription.secret, slot);
        self.by_watcher.entry(subscription.who.watcher).or_default().push(slot);
        self.ride(subscription.flow.connection, slot);
        self.slots.insert(Box::new(subscription));
        Some(slot)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Subscription> {
        let subscription = self.slots.try_remove(slot as usize)?;
        self.by_secret.remove(&subscription.secret);
        self.connections.remove(&(subscription.flow.connection, slot));
        if let Some(slots) = self.by_watcher.get_mut(&subscription.who.watcher) {
            slots.retain(|&other| other != slot);
            if slots.is_empty() {
                self.by_watcher.remove(&subscription.who.watcher);
            }
        }
        Some(*subscription)
    }

    /// From now on its NOTIFYs go another way.
    pub(crate) fn set_flow(&mut self, slot: u32, flow: words::Flow) {
        let Some(subscription) = self.slots.get_mut(slot as usize) else { return };
        let before = std::mem::replace(&mut subscription.flow, flow);
        self.connections.remove(&(before.connection, slot));
        self.ride(flow.connection, slot);
    }

    /// Those on a connection that is gone; they ride on none any more.
    pub(crate) fn close(&mut self, connection: ConnectionId) -> Vec<u32> {
        let range = (connection, 0)..=(connection, u32::MAX);
        let slots: Vec<u32> = self.connections.range(range).map(|&(_, slot)| slot).collect();
        for &slot in &slots {
            self.connections.remove(&(connection, slot));
            if let Some(subscription) = self.get_mut(slot) {
                subscription.flow.connection = ConnectionId::NONE;
            }
        }
        slots
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Subscription)> {
        self.slots.iter().map(|(slot, found)| (slot as u32, &**found))
    }

    /// Whether it holds together. Gives how many timers its subscriptions have.
    pub(crate) fn check(&self) -> Result<usize, String> {
        let (mut riding, mut timers) = (BTreeSet::new(), 0);
        for (slot, subscription) in self.iter() {
            timers += usize::from(subscription.expiry.is_some()) + usize::from(subscription.wait.is_some());
            if subscription.state == State::Ended {
                return Err(format!("subscription {slot} is over and still there"));
            }
            if subscription.state == State::Owed && !subscription.in_line && subscription.wait.is_none() {
                return Err(format!("subscription {slot} is owed a NOTIFY and waits for nothing"));
            }
            if subscription.expiry.is_none() && subscription.ending.is_none() {
                return Err(format!("subscription {slot} never ends"));
            }
            if self.find(&subscription.dialog.local_tag) != Some(slot) {
                return Err(format!("subscription {slot} is not found by its tag"));
            }
            if !self.of(subscription.who.watcher).contains(&slot) {
                return Err(format!("subscription {slot} is not among its watcher's"));
            }
            if subscription.flow.connection != ConnectionId::NONE {
                riding.insert((subscription.flow.connection, slot));
            }
        }
        if riding != self.connections || self.by_secret.len() != self.slots.len() {
            return Err("connections, tags and subscriptions do not agree".into());
        }
        Ok(timers)
    }

    fn ride(&mut self, connection: ConnectionId, slot: u32) {
        if connection != ConnectionId::NONE {
            self.connections.insert((connection, slot));
        }
    }
}
