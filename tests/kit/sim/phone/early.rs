//! A phone's reliable provisional answers (RFC 3262), in both roles.

use super::{Asked, Phone, SDP};
use crate::sim::line::{LineState, Waits};
use crate::sim::script::{Do, Rel};
use bytes::Bytes;
use sip::{Dialog, HeaderName, Message, MessageBuilder, Method, Outgoing, ServerTxn};
use std::time::Duration;
use words::Time;

impl Phone {
    /// What its INVITE says about them.
    pub(super) fn with_rel(&mut self, builder: MessageBuilder, line: usize) -> MessageBuilder {
        self.lines[line].sip.early.rel = self.habits.rel;
        match self.habits.rel {
            Rel::No => builder,
            Rel::Supports => builder.header(HeaderName::Supported, TAG),
            Rel::Requires => builder.header(HeaderName::Require, TAG),
        }
    }

    /// A provisional answer to its call. Whether it is none that came before.
    pub(super) fn hear(&mut self, line: usize, message: &Message, now: Time) -> bool {
        let Some(rseq) = message.rseq() else {
            let rel = self.lines[line].sip.early.rel;
            assert!(rel != Rel::Requires, "a provisional answer that may be lost, to who takes none");
            return true;
        };
        let own = self.local(line);
        let found = &mut self.lines[line];
        let early = &mut found.sip.early;
        assert!(early.rel != Rel::No && message.has_token(HeaderName::Require, TAG), "nobody asked for it");
        if early.rseq != 0 && rseq != early.rseq + 1 {
            return false;
        }
        early.rseq = rseq;
        let has_description = !message.body().is_empty();
        assert!(!(has_description && early.settled), "a second description to one INVITE");
        assert!(has_description || early.settled || !found.without_offer, "the first reliable answer has no offer");
        early.settled |= has_description;
        let cseq = found.sip.cseq;
        if found.sip.dialog.is_none() {
            let dialog = Dialog::uac(&own, &found.sip.call_id, cseq, message).expect("it makes an early dialog");
            found.sip.dialog = Some(Box::new(dialog));
        }
        let (body, offers) = match has_description {
            true if found.without_offer => (Some(found.session.answer(message.body())), false),
            true => {
                found.session.take(message.body());
                let to = self.habits.moves_by_prack;
                let offer = to.map(|ip| {
                    found.session.save();
                    found.session.address.set_ip(ip);
                    found.session.offer()
                });
                (offer, to.is_some())
            }
            false => (None, false),
        };
        if self.habits.acknowledges {
            self.prack(line, (rseq, cseq), body, offers, now);
        }
        true
    }

    /// The final answer to its PRACK that had an offer.
    pub(super) fn prack_answered(&mut self, line: usize, message: &Message) {
        let found = &mut self.lines[line];
        found.pracks.push(message.status());
        if message.status() < 300 {
            found.session.take(message.body());
        } else {
            found.warning = message.header(HeaderName::Warning).map(str::to_owned);
            found.session.restore();
        }
    }

    fn prack(&mut self, line: usize, (rseq, cseq): (u32, u32), body: Option<Bytes>, offers: bool, now: Time) {
        let Some(dialog) = &mut self.lines[line].sip.dialog else { return };
        let uri = dialog.remote_target.clone();
        let builder = dialog.request(Method::Prack);
        let builder = builder.header_fmt(HeaderName::RAck, format_args!("{rseq} {cseq} INVITE"));
        let request = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        self.send(Asked::Prack { line, offers }, Method::Prack, &uri, request, false, now);
    }

    /// 180, or 183 with a description, to a call.
    pub(super) fn provisional(&mut self, line: usize, status: u16, early: bool, now: Time) {
        let Some((txn, message)) = self.waiting(line) else { return };
        let knows = self.habits.rel != Rel::No && message.knows(TAG);
        let (offers, settled) = (message.body().is_empty(), self.lines[line].sip.early.settled);
        if knows && self.lines[line].sip.early.waits.is_some() {
            // One at a time.
            return;
        }
        let describes = early && !settled && (!offers || knows);
        let reliably = knows && (describes || settled || !offers);
        let body = describes.then(|| self.describe(line, &message));
        let builder = self.response(line, &message, status).header(HeaderName::Contact, &self.contact());
        let builder =
            if self.habits.takes_update { builder.header(HeaderName::Allow, super::keep::ALLOW) } else { builder };
        if !reliably {
            return self.respond(txn, builder, body, now);
        }
        let found = &mut self.lines[line].sip.early;
        found.rseq = if found.rseq == 0 { 1_000 } else { found.rseq + 1 };
        let builder = builder.header(HeaderName::Require, TAG).header_number(HeaderName::RSeq, found.rseq);
        let rseq = found.rseq;
        found.waits = Some(Waits { rseq, builder: builder.clone(), body: body.clone(), sent: 0 });
        self.respond(txn, builder, body, now);
        self.later(T1, line, Do::Repeat(rseq));
    }

    /// A provisional answer of its own has no PRACK yet.
    pub(super) fn repeat(&mut self, line: usize, rseq: u32, now: Time) {
        let Some((txn, _)) = self.waiting(line) else { return };
        let waits = self.lines[line].sip.early.waits.as_mut();
        let Some(waits) = waits.filter(|waits| waits.rseq == rseq) else { return };
        waits.sent += 1;
        let (sent, builder, body) = (waits.sent, waits.builder.clone(), waits.body.clone());
        if sent > DOUBLINGS {
            return self.refuse(line, 504, now);
        }
        self.respond(txn, builder, body, now);
        self.later(T1 * (1 << sent), line, Do::Repeat(rseq));
    }

    /// PRACK of the other side.
    pub(super) fn prack_asked(&mut self, line: usize, txn: ServerTxn, message: &Message, now: Time) {
        let rack = message.rack().expect("the exchange writes it well");
        let found = &mut self.lines[line];
        let waits = found.sip.early.waits.take_if(|waits| waits.rseq == rack.rseq);
        let Some(waits) = waits else {
            return self.respond(txn, self.response(line, message, 481), None, now);
        };
        found.sip.early.settled |= waits.body.is_some();
        if let Some(theirs) = found.sip.theirs.as_mut().filter(|theirs| theirs.offered && waits.body.is_some()) {
            theirs.offered = false;
            found.session.take(message.body());
        }
        let owed = std::mem::take(&mut found.sip.early.answer_owed);
        self.respond(txn, self.response(line, message, 200), None, now);
        if owed {
            self.answer(line, now);
        }
    }

    /// Whether its 200 has to wait for a PRACK; it follows then.
    pub(super) fn owes_answer(&mut self, line: usize) -> bool {
        let early = &mut self.lines[line].sip.early;
        early.answer_owed = early.waits.as_ref().is_some_and(|waits| waits.body.is_some());
        early.answer_owed
    }

    /// Whether it may change its media: in a call, and before the answer when that has begun by agreement.
    pub(super) fn may_change(&self, line: usize, what: &Do) -> bool {
        let Some(found) = self.lines.get(line) else { return false };
        let rings = matches!(found.state, LineState::Calling | LineState::Called);
        let agreed = found.sip.early.settled && found.sip.early.waits.is_none() && !found.cancelled;
        let by_update = self.habits.changes_by_update && !matches!(what, Do::Refresh | Do::Keep(_));
        found.talks() || rings && agreed && by_update
    }
}

const TAG: &str = "100rel";

/// The first interval of its repetitions.
const T1: Duration = Duration::from_millis(500);

/// How often it repeats one.
const DOUBLINGS: u8 = 6;
