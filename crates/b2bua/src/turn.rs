//! A caller that agreed to a description before the answer, and an answer that says something else: it is offered that,
//! by UPDATE while it rings, else after its ACK. So several who ring, one after the other or a voice of our own before
//! them, are heard by a caller that took the first one's word (RFC 3262 §5, RFC 3264 §8).

use crate::bridge::{Agreed, Carried, agreement};
use crate::call::Call;
use crate::desk::Desk;
use crate::exchange::{Exchange, Move};
use crate::reliable::Told;
use crate::view::CallState;
use bytes::Bytes;
use media::sdp::Description;
use words::Time;

impl Call {
    /// A leg answered the call, and the caller may have agreed to other words: it is offered these after its ACK. What
    /// holds meanwhile.
    pub(crate) fn turn_to(&mut self, n: u16, answer: Description) -> Option<Agreed> {
        if self.agreed_with(n, &answer) {
            return None;
        }
        let callers = self.setup.as_ref().and_then(|setup| setup.offer.as_ref());
        let agreed = callers.map(|callers| {
            let (offered, answered) = agreement(callers, &answer);
            Agreed::Legs((0, offered), (n, answered))
        });
        if let Some(told) = self.told_mut() {
            told.turn = Some((n, answer));
        }
        agreed
    }

    /// A leg is heard before the answer, and the caller agreed to other words: it is offered these where it takes
    /// UPDATE; else it hears what it can.
    pub(crate) fn turn_early(&mut self, desk: &mut Desk, n: u16, words: Bytes, answer: Description, now: Time) {
        if let Some(setup) = &mut self.setup {
            setup.ear.hear(n, words, Bytes::new());
        }
        if self.agreed_with(n, &answer) {
            return;
        }
        if let Some(callers) = self.setup.as_ref().and_then(|setup| setup.offer.as_ref()) {
            let (offered, answered) = agreement(callers, &answer);
            self.connect(desk, (0, offered), (n, answered));
        }
        let ready = self.told().is_some_and(|told| told.settled) && self.legs[0].takes.update;
        if ready && self.exchange.is_none() {
            self.offer_turn(desk, n, answer, now);
        }
    }

    /// The caller has acknowledged its 2xx: what it was told before is history, unless something else holds.
    pub(crate) fn turn_after_ack(&mut self, desk: &mut Desk, now: Time) {
        let Some(turn) = self.told_mut().map(|told| told.turn.take()) else { return };
        // It may have agreed meanwhile.
        let turn = turn.filter(|(n, answer)| !self.agreed_with(*n, answer));
        if !self.told().is_some_and(Told::is_waiting) {
            self.legs[0].forget_told();
        }
        let free = self.exchange.is_none() && self.transfer.is_none();
        if let Some((n, answer)) = turn.filter(|_| self.state == CallState::Answered && free) {
            self.offer_turn(desk, n, answer, now);
        }
    }

    fn agreed_with(&self, n: u16, words: &Description) -> bool {
        let agreed = self.told().and_then(|told| told.agreed_with.as_ref());
        agreed.is_some_and(|(with, agreed)| *with == n && agreed[..] == *words.as_str().as_bytes())
    }

    /// Offers the caller what a leg says.
    fn offer_turn(&mut self, desk: &mut Desk, n: u16, answer: Description, now: Time) {
        self.offer_words(desk, n, self.caller, answer, now);
    }

    /// Offers a leg what another one says; nobody waits for the outcome.
    pub(crate) fn offer_words(&mut self, desk: &mut Desk, n: u16, to: u16, words: Description, now: Time) {
        let Some(at) = self.place(to) else { return };
        let Some(carried) = self.question(desk, to, Some(&words)) else { return };
        let mut exchange = Exchange::new(n, Some(to), Some(words), None);
        exchange.by_update = self.legs[at].takes.update;
        self.exchange = Some(Box::new(exchange));
        self.advance(desk, Move::Ask, carried, now);
    }

    /// A change before the answer was agreed on by a leg and the caller.
    pub(crate) fn remember_early(&mut self, asker: u16, other: u16, offer: &Description, answer: &Description) {
        let Some(setup) = self.setup.as_mut().filter(|_| self.state == CallState::Ringing) else { return };
        let (callee, callees, callers) = if asker == 0 { (other, answer, offer) } else { (asker, offer, answer) };
        let words = callees.print();
        setup.offer = Some(callers.clone());
        setup.ear.hear(callee, words.clone(), Bytes::new());
        if let Some(at) = self.place(callee)
            && self.legs[at].settled().is_some()
        {
            self.legs[at].settle(words.clone());
        }
        if let Some(told) = self.told_mut() {
            told.agreed_with = Some((callee, words));
        }
    }

    /// A leg is out before the answer: a change that concerns it comes to nothing.
    pub(crate) fn drop_early_change(&mut self, desk: &mut Desk, n: u16, now: Time) {
        let concerns = |exchange: &Exchange| exchange.asker == n || exchange.other == Some(n);
        if self.state == CallState::Ringing && self.exchange.as_deref().is_some_and(concerns) {
            let carried = Carried { status: 480, ..Carried::default() };
            self.advance(desk, Move::Failure, carried, now);
        }
    }
}
