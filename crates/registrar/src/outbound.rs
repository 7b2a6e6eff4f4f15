//! Flows that stay open: pings to devices behind NAT (RFC 5626 §4.4, §5.4), and which devices stopped answering.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use words::{Flow, Time, UserId};

/// A ping that the owner should send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// What [`crate::Registrar::pinged`] takes with the result.
    pub id: PingId,
    /// Where to send it.
    pub flow: Flow,
    /// The Contact, for the Request-URI.
    pub contact: String,
    /// What to send.
    pub kind: PingKind,
}

/// Which binding was pinged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PingId {
    /// Whose.
    pub user: UserId,
    /// Which of its bindings; unique while the process lives.
    pub(crate) binding: u32,
}

/// What keeps a flow open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PingKind {
    /// OPTIONS: any answer shows that the device is there and how far away.
    #[default]
    Options,
    /// CRLF CRLF: keeps the router's mapping, and nobody answers over UDP.
    Crlf,
}

/// The pings of one binding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pinging {
    /// When the next one is due.
    pub(crate) next: Time,
    sent: Option<Time>,
    round_trip_us: Option<u32>,
    lost: u8,
}

impl Pinging {
    pub(crate) fn from(next: Time) -> Self {
        Pinging { next, sent: None, round_trip_us: None, lost: 0 }
    }

    /// One goes out. The one before counts as lost when nothing came back.
    pub(crate) fn send(&mut self, kind: PingKind, every: Duration, now: Time) {
        if self.sent.is_some() {
            self.lose();
        }
        self.sent = match kind {
            PingKind::Options => Some(now),
            PingKind::Crlf => None,
        };
        self.next = now + every;
    }

    /// What became of it. An answer after the next ping went out is told apart by nobody: it shows that the device is
    /// there, and its round trip is measured from the later one.
    pub(crate) fn result(&mut self, alive: bool, now: Time) {
        let Some(sent) = self.sent.take() else {
            if alive {
                self.lost = 0;
            }
            return;
        };
        if alive {
            self.lost = 0;
            self.round_trip_us = Some(u32::try_from(now.since(sent).as_micros()).unwrap_or(u32::MAX));
        } else {
            self.lose();
        }
    }

    /// The device spoke by itself: what is under way no longer counts against it.
    pub(crate) fn heard(&mut self) {
        self.lost = 0;
        self.sent = None;
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip_us.map(|us| Duration::from_micros(us.into()))
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        self.lost >= LOST
    }

    fn lose(&mut self) {
        self.sent = None;
        self.lost = self.lost.saturating_add(1);
    }
}

/// After so many lost pings in a row a device is shown as unreachable.
const LOST: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(25);

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn three_lost_in_a_row_make_it_unreachable_and_one_answer_reachable() {
        let mut pinging = Pinging::from(at(0));
        for n in 0..3 {
            pinging.send(PingKind::Options, EVERY, at(n * 25_000));
            assert!(!pinging.is_unreachable());
        }
        pinging.result(false, at(60_000));
        assert!(pinging.is_unreachable());
        pinging.send(PingKind::Options, EVERY, at(75_000));
        pinging.result(true, at(75_040));
        assert!(!pinging.is_unreachable());
        assert_eq!(pinging.round_trip(), Some(Duration::from_millis(40)));
        assert_eq!(pinging.next, at(100_000));
    }

    #[test]
    fn nobody_is_blamed_for_not_answering_crlf() {
        let mut pinging = Pinging::from(at(0));
        for n in 0..10 {
            pinging.send(PingKind::Crlf, EVERY, at(n * 25_000));
        }
        assert!(!pinging.is_unreachable());
    }

    #[test]
    fn a_device_that_speaks_is_reachable() {
        let mut pinging = Pinging::from(at(0));
        for n in 0..5 {
            pinging.send(PingKind::Options, EVERY, at(n * 25_000));
        }
        pinging.heard();
        assert!(!pinging.is_unreachable());
    }
}
