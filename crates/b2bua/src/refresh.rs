//! Session timers at work (RFC 4028): granted and learned with each answer, refreshed by us, missed when others do not.

use crate::bridge::Carried;
use crate::call::{Call, Ending};
use crate::desk::{Desk, Due};
use crate::end::End;
use crate::event::Output;
use crate::exchange::{Exchange, Move, Stage};
use crate::leg::LegState;
use crate::session::{self, Overdue, Session};
use crate::view::CallState;
use media::sdp::{Description, Direction};
use sip::{ClientTxn, HeaderName, Message, MessageBuilder, Method, Outgoing, Refresher};
use std::time::Duration;
use words::{EndCause, Time};

impl Call {
    /// A 2xx of ours to an INVITE or UPDATE inside the session: says what we grant.
    pub(crate) fn grant_session(
        &mut self,
        desk: &mut Desk,
        at: usize,
        request: &Message,
        builder: &mut MessageBuilder,
        now: Time,
    ) {
        let known = self.session(at).filter(|session| !session.watches);
        let granted = session::grant(request, known, desk.config.session, now);
        if let Some((session, refresher)) = granted {
            push_expires(builder, session.interval_s, refresher);
            if refresher == Refresher::Uac {
                // RFC 4028 §9: it must know that it has to.
                builder.push_header(HeaderName::Require, session::OPTION);
            }
        }
        self.set_session(desk, at, granted.map(|(session, _)| session));
    }

    /// A 2xx to a request of ours: takes what it says. One that says nothing ends the timer (RFC 4028 §7.2).
    pub(crate) fn learn_session(&mut self, desk: &mut Desk, at: usize, response: &Message, min_s: u32, now: Time) {
        let min_s = self.session(at).map_or(min_s, |session| session.min_s);
        let learned = session::learn(response, min_s, desk.config.session, now);
        self.set_session(desk, at, learned);
    }

    /// What a request of ours inside a session says about it.
    pub(crate) fn push_session(&self, at: usize, builder: &mut MessageBuilder) {
        let Some(session) = self.session(at).filter(|session| !session.watches) else { return };
        let (interval_s, refresher) = session.in_request();
        builder.push_header(HeaderName::Supported, session::OPTION);
        push_expires(builder, interval_s, refresher);
        push_min(builder, session.min_s);
    }

    pub(crate) fn session(&self, at: usize) -> Option<Session> {
        self.legs[at].more.as_ref().and_then(|more| more.session)
    }

    fn set_session(&mut self, desk: &mut Desk, at: usize, session: Option<Session>) {
        if session.is_some() || self.session(at).is_some() {
            self.legs[at].more().session = session;
            self.arm_sessions(desk);
        }
    }

    /// Sets the one timer for all legs.
    pub(crate) fn arm_sessions(&mut self, desk: &mut Desk) {
        let next = (0..self.legs.len()).filter_map(|at| Some(self.session(at)?.at)).min();
        match next.filter(|_| self.state == CallState::Answered) {
            Some(next) => self.set_timer(desk, Due::Session, next),
            None => self.clear_timer(desk, Due::Session),
        }
    }

    /// The time of some leg's session has come.
    pub(crate) fn handle_session_due(&mut self, desk: &mut Desk, now: Time) {
        for at in 0..self.legs.len() {
            let Some(mut session) = self.session(at).filter(|session| session.at <= now) else { continue };
            let n = self.legs[at].n;
            match session.overdue(now) {
                Overdue::End if self.goes_on_without(n) => {
                    self.legs[at].more().session = None;
                    self.lose_leg(desk, at, now);
                }
                Overdue::End if self.legs[at].state.is_live() => {
                    return self.end(desk, &Ending::new(EndCause::SignallingLost, Some(n)), now);
                }
                Overdue::End => self.legs[at].more().session = None,
                Overdue::Refresh => {
                    self.legs[at].more().session = Some(session);
                    self.refresh(desk, at, now);
                }
            }
        }
        self.arm_sessions(desk);
    }

    /// Refreshes a leg's session: by UPDATE where that is taken, else by an INVITE that says what we said before.
    fn refresh(&mut self, desk: &mut Desk, at: usize, now: Time) {
        let leg = &self.legs[at];
        let ready = leg.state == LegState::Confirmed && !leg.lost;
        if ready && self.session(at).is_some_and(|session| session.watches) {
            return self.look(desk, at);
        }
        if ready && leg.takes.update {
            return self.refresh_by_update(desk, at, None);
        }
        if !ready || self.exchange.is_some() || self.is_asking() {
            return self.refresh_later(desk, at, BUSY, now);
        }
        let other = Some(leg.n);
        let mut exchange = Exchange::new(NOBODY, other, None, None);
        exchange.refreshes = true;
        let end = self.ends.get(leg.end);
        let for_other = end.and_then(|end| end.ours.last()).map(Description::print);
        self.exchange = Some(Box::new(exchange));
        self.advance(desk, Move::Ask, Carried { for_other, ..Carried::default() }, now);
    }

    /// An UPDATE without a description touches nothing but the timer (RFC 4028 §7.4).
    pub(crate) fn refresh_by_update(&mut self, desk: &mut Desk, at: usize, shown: Option<usize>) {
        let txn = desk.client_txn(self.slot);
        let Some(mut builder) = self.target_refresh(desk, at, Method::Update) else { return };
        self.push_session(at, &mut builder);
        if let Some(shown) = shown {
            self.push_shown(&mut builder, at, shown);
        }
        self.legs[at].more().refreshing = Some(txn);
        let target = self.legs[at].way();
        desk.push(Output::Request { txn, request: Outgoing::new(builder), target });
    }

    /// An OPTIONS inside the dialog of a leg without a timer: any answer but 481 is a sign of life (RFC 3261 §11.2).
    fn look(&mut self, desk: &mut Desk, at: usize) {
        let txn = desk.client_txn(self.slot);
        let leg = &mut self.legs[at];
        let Some(mut builder) = leg.request(Method::Options) else { return };
        builder.push_header(HeaderName::UserAgent, &desk.config.server);
        leg.more().refreshing = Some(txn);
        desk.push(Output::Request { txn, request: Outgoing::new(builder), target: leg.way() });
    }

    /// Legs on hold are watched, as nobody misses their media; those that talk are not.
    pub(crate) fn watch_holds(&mut self, desk: &mut Desk, now: Time) {
        for at in 0..self.legs.len() {
            let setting = self.ends.get(self.legs[at].end).and_then(End::setting);
            let held = setting.is_some_and(|setting| setting.direction != Direction::SendRecv);
            let watched = self.session(at).map(|session| session.watches);
            match watched {
                None if held && self.is_party(self.legs[at].n) => {
                    let session = Session::watch(desk.config.session, now);
                    self.set_session(desk, at, Some(session));
                }
                Some(true) if !held => self.set_session(desk, at, None),
                Some(_) | None => {}
            }
        }
    }

    /// The leg whose session an UPDATE of ours refreshes, or that was looked after.
    pub(crate) fn refreshing(&self, txn: ClientTxn) -> Option<usize> {
        let is_it = |more: &crate::more::More| more.refreshing == Some(txn);
        self.legs.iter().position(|leg| leg.more.as_deref().is_some_and(is_it))
    }

    /// The answer to our UPDATE.
    pub(crate) fn handle_refreshed(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) {
        let status = response.status();
        if status < 200 {
            return;
        }
        self.legs[at].more().refreshing = None;
        let watched = self.session(at).filter(|session| session.watches);
        match status {
            408 | 481 => self.refresh_refused(desk, at, status, true, now),
            _ if watched.is_some() => {
                let session = watched.map(|mut session| {
                    session.refreshed(now);
                    session
                });
                self.set_session(desk, at, session);
            }
            200..300 => {
                if let Some(dialog) = &mut self.legs[at].dialog {
                    dialog.refresh_target(response);
                }
                self.learn_session(desk, at, response, session::SHORTEST_S, now);
            }
            422 if self.raise_session(at, response) => self.refresh_by_update(desk, at, None),
            _ => self.refresh_refused(desk, at, status, true, now),
        }
    }

    /// Our UPDATE got no answer (408) or could not be delivered (503).
    pub(crate) fn handle_not_refreshed(&mut self, desk: &mut Desk, at: usize, status: u16, now: Time) {
        self.legs[at].more().refreshing = None;
        self.refresh_refused(desk, at, status, true, now);
    }

    /// A refresh failed: that ends the call when the other side is gone; else it is tried again until the session's end
    /// (RFC 4028 §10).
    pub(crate) fn refresh_refused(&mut self, desk: &mut Desk, at: usize, status: u16, update: bool, now: Time) {
        let wait = match status {
            481 => return self.handle_gone(desk, at, now),
            408 => {
                let n = self.legs[at].n;
                if self.goes_on_without(n) {
                    return self.lose_leg(desk, at, now);
                }
                return self.end(desk, &Ending::new(EndCause::SignallingLost, Some(n)), now);
            }
            // RFC 3261 §14.1: who owns the Call-ID waits longer. It is ours on each leg that we opened.
            491 => {
                let hundredths =
                    if self.legs[at].n == 0 { desk.chance.below(201) } else { 210 + desk.chance.below(191) };
                Duration::from_millis(10 * hundredths)
            }
            500 | 503 | 504 => BUSY,
            _ if update => {
                // Whatever it has against UPDATE: an INVITE is what it must take.
                self.legs[at].takes.update = false;
                Duration::ZERO
            }
            _ => REFUSED,
        };
        self.refresh_later(desk, at, wait, now);
    }

    fn refresh_later(&mut self, desk: &mut Desk, at: usize, wait: Duration, now: Time) {
        // One that the other side refreshes lasts until its end, whatever became of a request of ours.
        if let Some(mut session) = self.session(at).filter(|session| session.ours) {
            session.postpone(wait, now);
            self.set_session(desk, at, Some(session));
        }
    }

    /// 422 to a request of ours: whether it makes sense to ask for the longer interval.
    pub(crate) fn raise_session(&mut self, at: usize, response: &Message) -> bool {
        let more = self.legs[at].more.as_mut();
        more.and_then(|more| more.session.as_mut()).is_some_and(|session| session.raise(response))
    }

    /// The answer to the INVITE that refreshed a leg's session: what it says is what it said before, or moved.
    pub(crate) fn handle_refresh_answer(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) {
        let status = response.status();
        let event = match status {
            200..300 => Move::Settled,
            408 => Move::Gone,
            _ => Move::Failure,
        };
        let agreed = (event == Move::Settled).then(|| self.moved(at, response)).flatten();
        let cause = Some(EndCause::SignallingLost);
        self.advance(desk, event, Carried { agreed, cause, ..Carried::default() }, now);
        if event == Move::Failure {
            self.refresh_refused(desk, at, status, false, now);
        }
    }

    /// Whether an exchange that refreshes a leg's session waits for its answer.
    pub(crate) fn is_refresh(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.refreshes && exchange.stage == Stage::Asked)
    }
}

/// `Session-Expires`.
pub(crate) fn push_expires(builder: &mut MessageBuilder, interval_s: u32, refresher: Refresher) {
    builder.push_header_fmt(HeaderName::SessionExpires, format_args!("{interval_s};refresher={}", refresher.as_str()));
}

/// `Min-SE`, where it says more than its absence.
pub(crate) fn push_min(builder: &mut MessageBuilder, min_s: u32) {
    if min_s > session::SHORTEST_S {
        builder.push_header_fmt(HeaderName::MinSe, format_args!("{min_s}"));
    }
}

/// The number of no leg: the exchange itself asks.
pub(crate) const NOBODY: u16 = u16::MAX;

/// When a refresh that does not fit in is tried again.
const BUSY: Duration = Duration::from_secs(4);

/// When one that was refused is.
const REFUSED: Duration = Duration::from_secs(30);
