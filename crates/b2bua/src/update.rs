//! UPDATE (RFC 3311): a refresh is answered here, an offer is carried to the other leg as an UPDATE of ours, or as an
//! INVITE where the other side does not take UPDATE.

use crate::call::{Call, SDP};
use crate::desk::Desk;
use crate::event::{Output, Refusal};
use crate::exchange::{Exchange, Move};
use crate::identity::contact_value;
use crate::leg::LegState;
use crate::session;
use crate::view::CallState;
use bytes::Bytes;
use media::sdp::Description;
use sip::{HeaderName, Message, MessageBuilder, Method, Outgoing, ServerTxn};
use words::Time;

impl Call {
    /// UPDATE inside the dialog of a leg.
    pub(crate) fn handle_update(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: Message, now: Time) {
        let offer = session::check(&message, desk.config.session).and_then(|()| self.read_request(at, &message));
        let offer = match offer {
            Ok(offer) => offer,
            Err(refusal) => return self.refuse_with(desk, at, txn, &message, &refusal),
        };
        let n = self.legs[at].n;
        let Some(offer) = offer else {
            self.answer_update(desk, at, txn, &message, None, now);
            if self.legs[at].learn_other(&message) {
                self.show_other(desk, n, now);
            }
            return;
        };
        if self.state == CallState::Ringing {
            return match self.pending_early(at) {
                Some(status) => self.refuse_for_now(desk, at, txn, &message, status),
                None => self.change_early(desk, at, txn, message, offer, now),
            };
        }
        let other = self.other_of(n);
        if let Some(status) = self.pending(n, other) {
            return self.refuse_for_now(desk, at, txn, &message, status);
        }
        let carried = match other {
            Some(other) => self.question(desk, other, Some(&offer)),
            None => self.own_answer(desk, Some(&offer)),
        };
        let Some(carried) = carried else {
            return self.refuse_with(desk, at, txn, &message, &Refusal::of_offer(Some(&offer)));
        };
        let by_update = other.and_then(|n| self.place(n)).is_some_and(|at| self.legs[at].takes.update);
        let shows = self.legs[at].learn_other(&message).then_some(n);
        let mut exchange = Exchange::new(n, other, Some(offer), Some(message));
        exchange.shows = shows;
        (exchange.server, exchange.by_update) = (Some(txn), by_update);
        self.exchange = Some(Box::new(exchange));
        let event = if other.is_some() { Move::Ask } else { Move::AnswerAtOnce };
        self.advance(desk, event, carried, now);
    }

    /// Why a leg's new offer cannot be taken now: 500 while an offer of its own has no answer, 491 while one that it was
    /// made has none (RFC 3311 §5.2), or while the other leg is not ready.
    fn pending(&self, n: u16, other: Option<u16>) -> Option<u16> {
        let confirmed = |n: u16| self.place(n).is_some_and(|at| self.legs[at].is_there());
        if self.exchange.as_ref().is_some_and(|exchange| exchange.asker == n)
            || self.place(n).is_some_and(|at| self.legs[at].state == LegState::Incoming)
        {
            return Some(500);
        }
        let moves = !self.is_party(n) || self.is_asking();
        (moves || self.exchange.is_some() || !confirmed(n) || !other.is_none_or(confirmed)).then_some(491)
    }

    /// The same before the answer to the call: what the INVITE offered must have its answer.
    fn pending_early(&self, at: usize) -> Option<u16> {
        let leg = &self.legs[at];
        let own = self.exchange.as_ref().map(|exchange| exchange.asker == leg.n);
        let held = self.setup.as_ref().is_some_and(|setup| setup.held.is_some());
        match (own, leg.state) {
            (Some(own), _) => Some(if own { 500 } else { 491 }),
            (None, LegState::Incoming) => {
                let settled = self.told().is_some_and(|told| told.settled && !told.describes());
                (held || !settled).then_some(500)
            }
            (None, _) => (held || leg.settled().is_none()).then_some(491),
        }
    }

    /// A new offer before the answer to the call, in an UPDATE or a PRACK: carried to whom it was agreed with.
    pub(crate) fn change_early(
        &mut self,
        desk: &mut Desk,
        at: usize,
        txn: ServerTxn,
        message: Message,
        offer: Description,
        now: Time,
    ) {
        let n = self.legs[at].n;
        let other = match self.early_other(n) {
            Ok(other) => other,
            Err(status) => return self.refuse_request(desk, n, txn, &message, status, ""),
        };
        let carried = match other {
            Some(other) => self.question(desk, other, Some(&offer)),
            None => self.own_answer(desk, Some(&offer)),
        };
        let Some(carried) = carried else {
            return self.refuse_with(desk, at, txn, &message, &Refusal::of_offer(Some(&offer)));
        };
        let event = if other.is_some() { Move::Ask } else { Move::AnswerAtOnce };
        if let Some(setup) = self.setup.as_mut().filter(|_| other.is_none()) {
            setup.offer = Some(offer.clone());
        }
        let mut exchange = Exchange::new(n, other, Some(offer), Some(message));
        (exchange.server, exchange.by_update) = (Some(txn), true);
        self.exchange = Some(Box::new(exchange));
        self.advance(desk, event, carried, now);
    }

    /// The other side of a leg before the answer: the leg that the caller agreed with, the caller, or the exchange
    /// itself. 504: there is nobody who could be asked at once (RFC 3311 §5.2).
    fn early_other(&self, n: u16) -> Result<Option<u16>, u16> {
        let agreed = self.told().filter(|told| told.settled && self.exchange.is_none());
        let Some((with, _)) = agreed.and_then(|told| told.agreed_with.as_ref()) else { return Err(504) };
        let takes = |n: u16| self.place(n).is_some_and(|at| self.legs[at].takes.update);
        let settled = |n: u16| self.place(n).is_some_and(|at| self.legs[at].settled().is_some());
        match (n, *with) {
            (0, 0) => Ok(None),
            (0, with) if takes(with) && settled(with) => Ok(Some(with)),
            (n, with) if n == with && takes(0) => Ok(Some(0)),
            _ => Err(504),
        }
    }

    /// 200 to an UPDATE.
    pub(crate) fn answer_update(
        &mut self,
        desk: &mut Desk,
        at: usize,
        txn: ServerTxn,
        request: &Message,
        body: Option<Bytes>,
        now: Time,
    ) {
        let mut builder = self.dialog_response(desk, at, request, 200);
        let leg = &mut self.legs[at];
        if let Some(dialog) = &mut leg.dialog {
            dialog.refresh_target(request);
        }
        if matches!(leg.state, LegState::Accepted | LegState::Confirmed) {
            self.grant_session(desk, at, request, &mut builder, now);
        }
        let response = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Respond { txn, response, after_facts: false });
    }

    /// A request of ours that tells where we are, and what we take.
    pub(crate) fn target_refresh(&mut self, desk: &mut Desk, at: usize, method: Method) -> Option<MessageBuilder> {
        let leg = &mut self.legs[at];
        let contact = contact_value(desk, &leg.flow, leg.tag, leg.secure);
        let mut builder = leg.request(method)?;
        builder.push_header(HeaderName::Contact, &contact);
        builder.push_header(HeaderName::Allow, &desk.config.allow);
        builder.push_header(HeaderName::UserAgent, &desk.config.server);
        Some(builder)
    }

    /// 500 says when to come back, 491 has a rule of its own (RFC 3261 §14.1, RFC 3311 §5.2).
    pub(crate) fn refuse_for_now(&self, desk: &mut Desk, at: usize, txn: ServerTxn, request: &Message, status: u16) {
        let mut builder = self.response(desk, at, request, status, "");
        if status == 500 {
            let wait = desk.chance.below(11);
            builder.push_header_fmt(HeaderName::RetryAfter, format_args!("{wait}"));
        }
        desk.respond(txn, builder);
    }
}
