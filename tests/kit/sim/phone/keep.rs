//! A phone's session timers (RFC 4028) and its UPDATEs (RFC 3311).

use super::register::TRIES;
use super::{Asked, Phone, SDP};
use crate::sim::line::{Ending, LineState};
use crate::sim::script::{Do, Timers};
use sip::{HeaderName, Message, MessageBuilder, Method, Outgoing, Refresher, ServerTxn};
use std::time::Duration;
use words::Time;

/// The session timer of a line.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Units: seconds.
    pub interval: u32,
    /// Whether this phone refreshes.
    pub mine: bool,
    /// How often it was set: what waits for an older one is out of date.
    pub(crate) nth: u32,
}

impl Phone {
    /// What a request says about its timer, and what the phone takes.
    pub(super) fn with_timer(&self, builder: MessageBuilder, line: usize) -> MessageBuilder {
        let builder = if self.habits.takes_update { builder.header(HeaderName::Allow, ALLOW) } else { builder };
        let Some(Timers { interval, refresher, .. }) = self.habits.timers else { return builder };
        let builder = builder.header(HeaderName::Supported, "timer");
        let found = &self.lines[line];
        let raised = found.min_se.unwrap_or_default();
        let (interval, mine) = match found.timer {
            Some(session) => (session.interval, Some(session.mine)),
            None => (interval, refresher.map(|refresher| refresher == Refresher::Uac)),
        };
        let builder =
            if raised > 0 { builder.header_fmt(HeaderName::MinSe, format_args!("{raised}")) } else { builder };
        let interval = interval.max(raised);
        match mine {
            _ if interval == 0 => builder,
            None => builder.header_fmt(HeaderName::SessionExpires, format_args!("{interval}")),
            Some(mine) => {
                let who = if mine { "uac" } else { "uas" };
                builder.header_fmt(HeaderName::SessionExpires, format_args!("{interval};refresher={who}"))
            }
        }
    }

    /// A 2xx to its request.
    pub(super) fn timer_granted(&mut self, line: usize, message: &Message) {
        let said = message.session_expires().expect("the exchange writes it well");
        let timer = said.map(|said| (said.seconds, said.refresher.expect("who refreshes is named") == Refresher::Uac));
        self.set_session(line, timer);
    }

    /// What its own 2xx says.
    pub(super) fn grant_timer(&mut self, line: usize, request: &Message, builder: MessageBuilder) -> MessageBuilder {
        let builder = if self.habits.takes_update { builder.header(HeaderName::Allow, ALLOW) } else { builder };
        let asked = request.session_expires().expect("the exchange writes it well");
        let (Some(Timers { refresher, .. }), Some(asked)) = (self.habits.timers, asked) else {
            self.set_session(line, None);
            return builder;
        };
        let refresher = asked.refresher.or(refresher).unwrap_or(Refresher::Uac);
        self.set_session(line, Some((asked.seconds, refresher == Refresher::Uas)));
        let builder = if refresher == Refresher::Uac { builder.header(HeaderName::Require, "timer") } else { builder };
        let value = format!("{};refresher={}", asked.seconds, refresher.as_str());
        builder.header(HeaderName::SessionExpires, &value)
    }

    /// Whether a request's session is too short for the phone; then it is refused.
    pub(super) fn too_short(&mut self, txn: ServerTxn, request: &Message, now: Time) -> bool {
        let Some(Timers { min, grows, .. }) = self.habits.timers else { return false };
        let Some(asked) = request.session_expires().ok().flatten() else { return false };
        let min = if grows && request.to_tag().is_some() { asked.seconds + 1 } else { min };
        if asked.seconds >= min {
            return false;
        }
        self.too_short += 1;
        let tag = format!("{:08x}", self.chance.u32());
        let builder = MessageBuilder::response(request, 422, "", Some(&tag));
        self.respond(txn, builder.header_fmt(HeaderName::MinSe, format_args!("{min}")), None, now);
        true
    }

    /// 422: asks for a longer session from now on. Whether it did not before.
    pub(super) fn raise(&mut self, line: usize, message: &Message) -> bool {
        let min = message.min_se().expect("a 422 says how long a session must be");
        let raised = self.lines[line].min_se.is_none_or(|known| known < min);
        self.lines[line].min_se = Some(min);
        raised
    }

    fn set_session(&mut self, line: usize, timer: Option<(u32, bool)>) {
        let nth = self.lines[line].timers_set + 1;
        self.lines[line].timers_set = nth;
        self.lines[line].timer = timer.map(|(interval, mine)| Session { interval, mine, nth });
        let Some((interval, mine)) = timer else { return };
        let whole = Duration::from_secs(interval.into());
        let after = if mine { whole / 2 } else { whole.saturating_sub((whole / 3).min(MARGIN)) };
        self.later(after, line, Do::Keep(nth));
    }

    /// The time of a line's session has come: refreshes it, or gives it up.
    pub(super) fn keep(&mut self, line: usize, nth: u32, now: Time) {
        let Some(found) = self.lines.get_mut(line) else { return };
        let Some(session) = found.timer.filter(|session| session.nth == nth) else { return };
        if !found.talks() {
            return;
        }
        if !session.mine {
            return self.hang_up(line, now);
        }
        if self.habits.timers.is_some_and(|timers| timers.forgets) {
            return;
        }
        if self.habits.takes_update { self.update(line, None, 0, now) } else { self.change(line, Do::Keep(nth), now) }
    }

    /// An UPDATE, with an offer when it changes something.
    pub(super) fn update(&mut self, line: usize, change: Option<&Do>, tries: u8, now: Time) {
        let contact = self.contact();
        let found = &mut self.lines[line];
        let Some(dialog) = &mut found.sip.dialog else { return };
        let uri = dialog.remote_target.clone();
        let builder = dialog.request(Method::Update).header(HeaderName::Contact, &contact);
        let body = change.is_some().then(|| (SDP, found.session.offer()));
        found.change = change.cloned();
        let builder = self.says_later(self.with_timer(builder, line));
        let request = Outgoing { builder, body };
        let txn = self.send(Asked::Update { line, tries }, Method::Update, &uri, request, tries > 0, now);
        self.lines[line].sip.updating = Some(txn);
    }

    pub(super) fn update_answered(&mut self, line: usize, tries: u8, message: &Message, now: Time) {
        let status = message.status();
        if status < 200 || self.lines[line].sip.updating.take().is_none() {
            return;
        }
        let change = self.lines[line].change.clone();
        let again = status == 422 && self.raise(line, message);
        if tries < TRIES && (again || status == 401 && self.learn(message)) {
            return self.update(line, change.as_ref(), tries + 1, now);
        }
        let found = &mut self.lines[line];
        found.change = None;
        if change.is_some() {
            found.changes.push(status);
        }
        match status {
            200..300 => {
                if let Some(dialog) = &mut found.sip.dialog {
                    dialog.refresh_target(message);
                }
                if change.is_some() {
                    found.session.take(message.body());
                } else {
                    found.refreshes += 1;
                }
                self.timer_granted(line, message);
            }
            491 | 500 | 504 => {
                let what = change.or(found.timer.map(|session| Do::Keep(session.nth)));
                found.session.restore();
                if let Some(what) = what {
                    let wait = self.patience(line);
                    self.later(wait, line, what);
                }
            }
            408 | 481 if found.talks() => found.end(Ending::Lost),
            // Its INVITE still waits for an answer.
            408 | 481 => self.hang_up(line, now),
            _ => found.session.restore(),
        }
    }

    /// UPDATE of the other side.
    pub(super) fn update_asked(&mut self, line: usize, txn: ServerTxn, message: &Message, now: Time) {
        if !self.habits.takes_update {
            return self.respond(txn, self.response(line, message, 405), None, now);
        }
        if self.too_short(txn, message, now) {
            return;
        }
        let offers = !message.body().is_empty();
        let found = &mut self.lines[line];
        found.shows.extend(message.header(HeaderName::PAssertedIdentity).map(str::to_owned));
        let refusal = match found.state {
            _ if !offers => None,
            LineState::Calling | LineState::Called if found.sip.early.settled && found.sip.updating.is_none() => {
                self.habits.refuses_changes
            }
            _ if found.sip.is_busy() => Some(491),
            LineState::Talking => self.habits.refuses_changes,
            LineState::Calling | LineState::Called | LineState::Accepted | LineState::Leaving | LineState::Ended => {
                Some(491)
            }
        };
        if let Some(status) = refusal {
            return self.respond(txn, self.response(line, message, status), None, now);
        }
        let body = offers.then(|| found.session.answer(message.body()));
        if offers {
            found.asked += 1;
        } else {
            found.refreshed += 1;
        }
        if let Some(dialog) = &mut found.sip.dialog {
            dialog.refresh_target(message);
        }
        let builder = self.response(line, message, 200).header(HeaderName::Contact, &self.contact());
        let builder = self.grant_timer(line, message, builder);
        self.respond(txn, builder, body, now);
    }
}

/// What a phone with UPDATE takes.
pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, PRACK";

/// How long before the end of a session it is given up, at most (RFC 4028 §10).
const MARGIN: Duration = Duration::from_secs(32);
