//! Flows that stay open: pings to devices behind NAT (RFC 5626 §4.4, §5.4), and which devices stopped answering: the others
//! are asked too, at a gentler pace.

use crate::binding::Binding;
use crate::registrar::RegistrarConfig;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use words::{Flow, Time, Transport, UserId};

/// A ping that the owner should send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// What [`crate::Registrar::pinged`] takes with the result.
    pub id: PingId,
    /// Where to send it.
    pub flow: Flow,
    /// The Contact, for the Request-URI.
    pub contact: String,
    /// Path values, outermost first: its Route (RFC 3327 §5.4).
    pub path: Vec<String>,
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

/// When a device is asked whether it is there.
pub(crate) struct Pace {
    pub(crate) every: Duration,
    /// How soon after it came.
    pub(crate) first: Duration,
    pub(crate) kind: PingKind,
}

impl Pace {
    /// That of a binding; `None` when its device is not asked. What lies behind NAT over UDP is pinged so that its router
    /// keeps the way open, and who is `heeded` as often, so that somebody who watches its lamp learns soon that it is gone.
    pub(crate) fn of(config: &RegistrarConfig, binding: &Binding, heeded: bool) -> Option<Pace> {
        if !binding.open {
            return None;
        }
        if binding.flow.transport == Transport::Udp && (binding.nat || heeded) {
            return config.ping_every.map(|every| Pace { every, first: every, kind: config.ping_kind });
        }
        // A port of this very machine that can be dialled is as near as can be, says by itself that nobody is there, and
        // is mostly a tool's that knows calls only.
        let is_dialled = matches!(binding.flow.transport, Transport::Udp | Transport::Tcp);
        if is_dialled && binding.flow.remote.ip().is_loopback() {
            return None;
        }
        // Who just came is asked soon, so that it is known how far away it is.
        let first = spread(FIRST_ASKED, binding.id);
        config.ask_every.map(|every| Pace { every, first, kind: PingKind::Options })
    }

    /// When a device that was there before is asked first. Otherwise all devices of the exchange were asked in the same
    /// moment after each start.
    pub(crate) fn spread(&self, id: u32) -> Duration {
        spread(self.every, id)
    }
}

fn spread(every: Duration, id: u32) -> Duration {
    let share = id.wrapping_mul(0x9e37_79b9) >> 22;
    every * share / 1_024
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

    /// The next ping is due at `due` at the latest; none is without.
    pub(crate) fn set(pinging: &mut Option<Box<Pinging>>, due: Option<Time>) {
        match (due, &mut *pinging) {
            (Some(at), Some(known)) => known.next = known.next.min(at),
            (Some(at), None) => *pinging = Some(Box::new(Pinging::from(at))),
            (None, _) => *pinging = None,
        }
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
    /// there, and its round trip is measured from the later one. True when the next one is due sooner than before: a device
    /// that did not answer is soon asked again, until it is known to be gone.
    pub(crate) fn result(&mut self, alive: bool, now: Time) -> bool {
        let Some(sent) = self.sent.take() else {
            if alive {
                self.lost = 0;
            }
            return false;
        };
        if alive {
            self.lost = 0;
            self.round_trip_us = Some(u32::try_from(now.since(sent).as_micros()).unwrap_or(u32::MAX));
            return false;
        }
        self.lose();
        let sooner = !self.is_unreachable() && now + ASKED_AGAIN < self.next;
        if sooner {
            self.next = now + ASKED_AGAIN;
        }
        sooner
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

/// Within so long a device that just came is asked for the first time.
const FIRST_ASKED: Duration = Duration::from_secs(4);
/// After so many lost pings in a row a device is shown as unreachable.
const LOST: u8 = 3;
/// How soon a device that did not answer is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

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
