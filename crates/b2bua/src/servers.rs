//! A target with several servers: the next one is called when one fails (RFC 3263 §4.3).
//!
//! Each server gets a leg of its own: a transaction, a dialog and a record of what became of it. So a server that says
//! something after it was given up is cancelled or hung up on like anybody who lost a race, and nobody rings for nothing.

use crate::call::{Call, Ending};
use crate::cause::{Failure, sip_reason};
use crate::desk::{Desk, Due};
use crate::event::Output;
use crate::leg::{Leg, LegEvent, LegState};
use crate::more::Dialled;
use crate::step::DialTarget;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, Target, Undelivered};
use std::collections::VecDeque;
use std::time::Duration;
use words::{EndCause, Time};

/// What else a target has beside the server that is called first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Servers {
    /// Whose they are, for people.
    pub name: String,
    /// Those that are called when the ones before failed, in this order.
    pub others: VecDeque<Target>,
}

impl Servers {
    /// How long one of them may say nothing at all before it is given up.
    pub(crate) fn patience(&self) -> Duration {
        if self.others.is_empty() { PATIENCE_WITH_LAST } else { PATIENCE }
    }
}

/// How a server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// It says nothing; as a 408 (RFC 3261 §8.1.3.1).
    Silent,
    /// Nothing can be sent to it; as a 503 (RFC 3261 §8.1.3.1).
    Unreachable,
    /// It did not prove who it is (RFC 5922).
    Untrusted,
    /// It answered 503 (RFC 3261 §21.5.4).
    Busy {
        /// For so long, as it says itself. Units: seconds.
        retry_after_s: Option<u32>,
    },
}

impl Trouble {
    /// The 503 that a server gave.
    pub(crate) fn busy(response: &Message) -> Trouble {
        let value = response.header(HeaderName::RetryAfter).unwrap_or_default();
        let digits = value.find(|c: char| !c.is_ascii_digit()).map_or(value, |end| &value[..end]);
        Trouble::Busy { retry_after_s: digits.parse().ok() }
    }

    /// The status that it is taken for.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Trouble::Silent => 408,
            Trouble::Unreachable | Trouble::Untrusted | Trouble::Busy { .. } => 503,
        }
    }
}

impl From<Undelivered> for Trouble {
    fn from(why: Undelivered) -> Self {
        match why {
            Undelivered::Unreachable => Trouble::Unreachable,
            Undelivered::Untrusted => Trouble::Untrusted,
        }
    }
}

impl Leg {
    /// Its server said something: it lives, and how long it rings is no longer its own matter.
    pub(crate) fn speaks(&mut self) {
        if let Some(dialled) = self.more.as_mut().and_then(|more| more.dialled.as_mut()) {
            dialled.patience = None;
        }
    }

    fn patience(&self) -> Option<Time> {
        let waits = self.state == LegState::Calling;
        self.more.as_ref().filter(|_| waits)?.dialled.as_ref()?.patience
    }

    /// What it was called with, once there is another server to call; the server is taken from the list.
    fn next_server(&mut self) -> Option<(Target, Dialled)> {
        let dialled = &mut self.more.as_mut()?.dialled;
        let next = dialled.as_mut()?.servers.as_mut()?.others.pop_front()?;
        Some((next, dialled.take()?))
    }

    /// What the caller is told when nobody else is left.
    fn failure(&self, trouble: Trouble) -> Failure {
        let dialled = self.more.as_ref().and_then(|more| more.dialled.as_ref());
        let name = dialled.and_then(|dialled| dialled.servers.as_ref()).map(|servers| servers.name.as_str());
        let told = |status, phrase: String| Failure {
            phrase,
            reason: Some(sip_reason(trouble.status())),
            ..Failure::own(status, EndCause::Unavailable)
        };
        match (trouble, name) {
            (Trouble::Busy { .. }, _) => Failure::of_answer(503),
            (Trouble::Untrusted, name) => {
                told(502, format!("Bad Gateway: the certificate of {} is not trusted", name.unwrap_or("the peer")))
            }
            (Trouble::Silent | Trouble::Unreachable, Some(name)) => {
                told(504, format!("Server Time-out: no server of {name} answers"))
            }
            (Trouble::Silent | Trouble::Unreachable, None) => Failure::unreachable(trouble.status()),
        }
    }
}

impl Call {
    /// The server of a leg failed: the next one is called, or the leg has failed.
    pub(crate) fn handle_trouble(&mut self, desk: &mut Desk, at: usize, trouble: Trouble, now: Time) {
        let failure = self.legs[at].failure(trouble);
        if !self.legs[at].state.is_inviting() {
            return self.handle_failure(desk, at, failure, now);
        }
        self.report(desk, at, trouble);
        match self.legs[at].next_server() {
            Some(next) => {
                self.legs[at].state.apply(LegEvent::Failure).expect("an INVITE without a final answer can fail");
                self.call_next(desk, at, next, trouble, now);
            }
            None => self.handle_failure(desk, at, failure, now),
        }
    }

    /// Servers said nothing for too long. What they may still say is waited for, and nobody wants it.
    pub(crate) fn handle_impatience(&mut self, desk: &mut Desk, now: Time) {
        let is_due = |leg: &&Leg| leg.patience().is_some_and(|until| until <= now);
        let due: Vec<u16> = self.legs.iter().filter(is_due).map(|leg| leg.n).collect();
        for n in due {
            let Some(at) = self.place(n) else { continue };
            let failure = self.legs[at].failure(Trouble::Silent);
            self.report(desk, at, Trouble::Silent);
            let next = self.legs[at].next_server();
            self.rid(desk, at, &Ending::new(EndCause::Unavailable, None));
            match next {
                Some(next) => self.call_next(desk, at, next, Trouble::Silent, now),
                None => self.lose(desk, at, failure, now),
            }
        }
        self.arm_patience(desk);
    }

    /// Wakes the call when the next server has been silent for too long.
    pub(crate) fn arm_patience(&mut self, desk: &mut Desk) {
        match self.legs.iter().filter_map(Leg::patience).min() {
            Some(at) => self.set_timer(desk, Due::Server, at),
            None => self.clear_timer(desk, Due::Server),
        }
    }

    fn report(&self, desk: &mut Desk, at: usize, trouble: Trouble) {
        let leg = &self.legs[at];
        if leg.party.peer.is_some() {
            desk.push(Output::ServerFailed { target: leg.target, trouble });
        }
    }

    /// Calls the next server in the place of a leg that is given up.
    fn call_next(&mut self, desk: &mut Desk, at: usize, next: (Target, Dialled), trouble: Trouble, now: Time) {
        let (target, Dialled { request_uri, to_uri, route, diverted, servers, .. }) = next;
        let leg = &self.legs[at];
        let (n, to, nat, ice) = (leg.n, leg.party.clone(), leg.nat, leg.ice);
        let (trust, srtp) = (leg.trust, leg.srtp);
        let cause = match trouble {
            Trouble::Silent | Trouble::Unreachable | Trouble::Untrusted => EndCause::Unavailable,
            Trouble::Busy { .. } => EndCause::Failed(503),
        };
        self.say_leg_ended(desk, n, cause);
        self.drop_early_change(desk, n, now);
        let alone = !self.legs.iter().any(|leg| leg.state.is_inviting());
        let Some(setup) = &mut self.setup else { return };
        setup.ear.forget(n);
        let ring_for = setup.fork.as_ref().filter(|_| alone).map(crate::fork::Fork::ring_for);
        // Whoever is called next has as long to answer as the first one had.
        if let Some(ring_for) = ring_for {
            self.set_timer(desk, Due::Ring, now + ring_for);
        }
        let target = DialTarget {
            to,
            request_uri,
            target,
            route,
            to_uri,
            order: 0,
            nat,
            ice,
            diverted,
            trust,
            srtp,
            servers,
            instead: None,
        };
        // Without a media port the call ends by itself.
        let _ = self.invite(desk, target, now);
    }
}

/// How long a server may be silent while there are others: it was asked four times by then (RFC 3261 §17.1.1.2: at 0,
/// 0.5, 1.5 and 3.5 s), and a caller who hears nothing is still there.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the last one may be: RFC 3261's 32 s are longer than people wait, and what was asked five times is dead.
const PATIENCE_WITH_LAST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_server_may_say_for_how_long() {
        for (header, said) in [
            ("Retry-After: 120 (maintenance);duration=3600\r\n", Some(120)),
            ("Retry-After: 5\r\n", Some(5)),
            ("Retry-After: soon\r\n", None),
            ("Retry-After: 99999999999\r\n", None),
            ("", None),
        ] {
            let text = format!(
                "SIP/2.0 503 Busy\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=a\r\n\
                 To: <sip:b@h>;tag=b\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{header}\r\n"
            );
            let response = Message::parse(text.into()).unwrap();
            assert_eq!(Trouble::busy(&response), Trouble::Busy { retry_after_s: said }, "{header}");
        }
    }
}
