//! The bindings of all users, with their timers and the connections they came over kept in step.

use crate::binding::{Binding, Reach};
use crate::undo::Changes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use words::limit::BINDINGS_PER_USER;
use words::{ConnectionId, Time, TimerQueue, UserId};

/// Limits: [`BINDINGS_PER_USER`] per user; the owner of the table makes room before it inserts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Each user's bindings in the order in which they are called; never an empty list.
    users: BTreeMap<UserId, Vec<Binding>>,
    /// Who came over which connection.
    connections: BTreeSet<(ConnectionId, UserId)>,
    timers: TimerQueue<(UserId, u32)>,
    bindings: usize,
    last_id: u32,
}

impl Table {
    pub(crate) fn new(now: Time) -> Self {
        Table {
            users: BTreeMap::new(),
            connections: BTreeSet::new(),
            timers: TimerQueue::new(now),
            bindings: 0,
            last_id: 0,
        }
    }

    pub(crate) fn of(&self, user: UserId) -> &[Binding] {
        self.users.get(&user).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn find_mut(&mut self, user: UserId, id: u32) -> Option<&mut Binding> {
        self.users.get_mut(&user)?.iter_mut().find(|binding| binding.id == id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (UserId, &Binding)> {
        self.users.iter().flat_map(|(&user, bindings)| bindings.iter().map(move |binding| (user, binding)))
    }

    pub(crate) fn len(&self) -> usize {
        self.bindings
    }

    pub(crate) fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.timers.next_at()
    }

    /// The next binding that asked to be woken by now.
    pub(crate) fn due(&mut self, now: Time) -> Option<(UserId, u32)> {
        self.timers.pop(now)
    }

    /// Puts a binding in its place: by q, and before those of the same q that registered earlier. Sets its timer.
    pub(crate) fn insert(&mut self, user: UserId, mut binding: Binding) {
        if binding.open && binding.flow.connection != ConnectionId::NONE {
            self.connections.insert((binding.flow.connection, user));
        }
        binding.timer = Some(self.timers.insert(binding.wakes(), (user, binding.id)));
        let bindings = self.users.entry(user).or_default();
        let place = bindings.partition_point(|other| other.q > binding.q);
        // Most users have one device: a list that grows by doubling would cost four times its size.
        bindings.reserve_exact(1);
        bindings.insert(place, binding);
        self.bindings += 1;
    }

    /// Sets the timer of a binding anew, which stays where it is.
    pub(crate) fn rearm(&mut self, user: UserId, id: u32) {
        let Some(binding) = self.users.get_mut(&user).into_iter().flatten().find(|binding| binding.id == id) else {
            return;
        };
        if let Some(timer) = binding.timer.take() {
            self.timers.cancel(timer);
        }
        binding.timer = Some(self.timers.insert(binding.wakes(), (user, id)));
    }

    /// Takes a binding out.
    pub(crate) fn take(&mut self, user: UserId, id: u32) -> Option<Binding> {
        let bindings = self.users.get_mut(&user)?;
        let place = bindings.iter().position(|binding| binding.id == id)?;
        let mut binding = bindings.remove(place);
        let connection = binding.flow.connection;
        let last = !bindings.iter().any(|other| other.open && other.flow.connection == connection);
        if bindings.is_empty() {
            self.users.remove(&user);
        }
        if last {
            self.connections.remove(&(connection, user));
        }
        if let Some(timer) = binding.timer.take() {
            self.timers.cancel(timer);
        }
        self.bindings -= 1;
        Some(binding)
    }

    /// Takes bindings out and says so.
    pub(crate) fn end(&mut self, user: UserId, ids: impl IntoIterator<Item = u32>, changes: &mut Changes) {
        for id in ids {
            if let Some(binding) = self.take(user, id) {
                changes.ended(binding);
            }
        }
    }

    /// Marks what came over a connection as closed; gives back whose it was.
    pub(crate) fn close(&mut self, connection: ConnectionId) -> Vec<UserId> {
        let from = (connection, UserId(0));
        let users: Vec<UserId> =
            self.connections.range(from..=(connection, UserId(u32::MAX))).map(|&(_, user)| user).collect();
        for &user in &users {
            self.connections.remove(&(connection, user));
            let bindings = self.users.get_mut(&user).into_iter().flatten();
            for binding in bindings.filter(|binding| binding.flow.connection == connection) {
                binding.open = false;
            }
        }
        users
    }

    /// Who leaves when a user has no room for another: what nobody can call, else what was refreshed longest ago.
    pub(crate) fn first_to_go(&self, user: UserId) -> Option<u32> {
        let bindings = self.of(user);
        if bindings.len() < BINDINGS_PER_USER {
            return None;
        }
        let order = |binding: &&Binding| (binding.reach() != Reach::Gone, binding.refreshed, binding.id);
        bindings.iter().min_by_key(order).map(|binding| binding.id)
    }

    /// Whether it holds together.
    pub(crate) fn check(&self) -> Result<(), String> {
        let counted: usize = self.users.values().map(Vec::len).sum();
        if (counted, counted) != (self.bindings, self.timers.len()) {
            return Err(format!("{counted} bindings, counted {}, with {} timers", self.bindings, self.timers.len()));
        }
        let mut over = BTreeSet::new();
        for (&user, bindings) in &self.users {
            if bindings.is_empty() || bindings.len() > BINDINGS_PER_USER {
                return Err(format!("{user:?} has {} bindings", bindings.len()));
            }
            let open = bindings.iter().filter(|binding| binding.open && binding.flow.connection != ConnectionId::NONE);
            over.extend(open.map(|binding| (binding.flow.connection, user)));
        }
        if over == self.connections { Ok(()) } else { Err("connections and bindings do not agree".into()) }
    }
}
