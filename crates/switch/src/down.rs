//! Servers that failed: for a while others are called before them.

use b2bua::Trouble;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use words::{Time, Transport};

/// A server, as requests reach it.
pub(crate) type Place = (Transport, SocketAddr);

/// The servers that failed lately. Limit: [`SERVERS`].
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Down {
    since: BTreeMap<Place, Failed>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Failed {
    until: Time,
    trouble: Trouble,
}

impl Down {
    /// A server failed.
    pub(crate) fn failed(&mut self, place: Place, trouble: Trouble, now: Time) {
        let rest = match trouble {
            Trouble::Silent | Trouble::Unreachable | Trouble::Untrusted => REST,
            // RFC 3261 §21.5.4: for as long as it says; a 503 that does not say is about one request.
            Trouble::Busy { retry_after_s: Some(s) } => Duration::from_secs(s.into()).min(LONGEST_REST),
            Trouble::Busy { retry_after_s: None } => return,
        };
        if self.since.len() >= SERVERS {
            self.since.retain(|_, failed| now < failed.until);
        }
        if self.since.len() < SERVERS {
            self.since.insert(place, Failed { until: now + rest, trouble });
        }
    }

    /// What is wrong with a server, and for how long it is passed over yet.
    pub(crate) fn look(&self, place: Place, now: Time) -> Option<(Trouble, Duration)> {
        let failed = self.since.get(&place).filter(|failed| now < failed.until)?;
        Some((failed.trouble, failed.until.since(now)))
    }

    /// Puts those that failed behind the others. None is left out: one that failed is better than none.
    pub(crate) fn put_last<T>(&self, servers: &mut [T], place: impl Fn(&T) -> Place, now: Time) {
        if !self.since.is_empty() {
            servers.sort_by_key(|server| self.look(place(server), now).is_some());
        }
    }
}

/// The most servers that are remembered.
const SERVERS: usize = 1_000;
/// How long a server is passed over that does not answer.
const REST: Duration = Duration::from_mins(1);
/// The longest that one is passed over at its own wish.
const LONGEST_REST: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn place(n: u32) -> Place {
        (Transport::Udp, SocketAddr::from((std::net::Ipv4Addr::from(n), 5060)))
    }

    #[test]
    fn a_server_that_failed_comes_last_for_a_while() {
        let mut down = Down::default();
        down.failed(place(1), Trouble::Silent, Time::ZERO);
        down.failed(place(2), Trouble::Busy { retry_after_s: None }, Time::ZERO);
        let order = |down: &Down, ms| {
            let mut servers = [1, 2, 3];
            down.put_last(&mut servers, |n| place(*n), Time::from_millis(ms));
            servers
        };
        assert_eq!((order(&down, 59_999), order(&down, 60_000)), ([2, 3, 1], [1, 2, 3]));
        down.failed(place(2), Trouble::Busy { retry_after_s: Some(10_000) }, Time::ZERO);
        assert_eq!((order(&down, 299_999), order(&down, 300_000)), ([1, 3, 2], [1, 2, 3]));
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut down = Down::default();
        for n in 0..=SERVERS as u32 {
            down.failed(place(n), Trouble::Silent, Time::ZERO);
        }
        assert_eq!(down.look(place(SERVERS as u32), Time::ZERO), None);
        let later = Time::from_millis(70_000);
        down.failed(place(9_999), Trouble::Silent, later);
        assert!(down.look(place(9_999), later).is_some());
    }
}
