//! Answers that ACKs bring: a 2xx of ours had the offer (RFC 3261 §13.2.1, §13.2.2.4).

use crate::body::read_body;
use crate::bridge::{Agreed, Carried, agreement};
use crate::call::Call;
use crate::desk::Desk;
use crate::end::Said;
use crate::exchange::Move;
use crate::leg::{Acking, Leg};
use crate::secure::Saying;
use media::offer::carry;
use media::sdp::Description;
use sip::Message;
use words::{EndCause, Srtp, Time};

impl Call {
    /// The ACK of a leg whose 2xx had an offer: it must have the answer.
    pub(crate) fn handle_owed_answer(&mut self, desk: &mut Desk, asker: u16, message: &Message, now: Time) {
        let Some(exchange) = &self.exchange else { return };
        let (other, is_ours) = (exchange.other, exchange.offer.is_none());
        let srtp = self.place(asker).map_or(Srtp::default(), |at| self.legs[at].srtp);
        let answer = read_body(message, srtp).ok().flatten();
        let fits = |answer: &Description| self.place(asker).is_none_or(|at| self.fits(at, answer, true));
        let Some(answer) = answer.filter(fits) else { return self.miss_answer(desk, now) };
        match other {
            None => {
                let agreed = Some(Agreed::Here(Said::of(&answer), true));
                self.advance(desk, Move::Ack, Carried { agreed, ..Carried::default() }, now);
            }
            Some(n) if is_ours => self.offer_on(desk, asker, n, answer, now),
            Some(n) => self.take_owed_answer(desk, asker, n, answer, now),
        }
    }

    /// The ACK had no answer, or none that is one: nothing was agreed on, and the call is over.
    fn miss_answer(&mut self, desk: &mut Desk, now: Time) {
        let carried = Carried { cause: Some(EndCause::MediaMismatch), ..Carried::default() };
        self.advance(desk, Move::BadAck, carried, now);
    }

    /// An answer to the other leg's offer.
    fn take_owed_answer(&mut self, desk: &mut Desk, asker: u16, n: u16, answer: Description, now: Time) {
        // Whoever left the call meanwhile is told that nothing of its offer is wanted.
        let there = self.place(n).filter(|_| self.is_party(n));
        let offer = self.exchange.as_mut().filter(|_| there.is_some()).and_then(|exchange| exchange.offer.take());
        let (Some(offer), Some(at)) = (offer, there) else {
            return self.advance(desk, Move::End, Carried::default(), now);
        };
        let waits = self.exchange.as_ref().is_some_and(|exchange| exchange.newcomer.is_some());
        // A caller that agreed to something before its 2xx has no answer in it, and is offered this one after its ACK.
        let turns = waits && n == self.caller && self.caller_has_description();
        let answered_before = !waits && !self.legs[at].owes_ack();
        let for_other = if turns || answered_before { None } else { self.answer_for(desk, at, &answer, &offer) };
        let (offered, answered) = agreement(&offer, &answer);
        let differs = (offered.payload_types, offered.telephone_event, offered.direction)
            != (answered.payload_types, answered.telephone_event, answered.direction.reversed());
        let agreed = Some(Agreed::Legs((n, offered), (asker, answered)));
        if let Some(told) = self.told_mut().filter(|_| turns) {
            told.turn = Some((asker, answer.clone()));
        }
        self.advance(desk, Move::Ack, Carried { for_other, agreed, ..Carried::default() }, now);
        if answered_before && differs && self.exchange.is_none() {
            self.offer_words(desk, asker, n, answer, now);
        }
    }

    /// Both legs left the offer to us: what the first answered to ours is the offer to the other, whose INVITE waited for
    /// it. Should that one answer something narrower, the first is offered that (RFC 3264 §8).
    fn offer_on(&mut self, desk: &mut Desk, asker: u16, n: u16, words: Description, now: Time) {
        let made =
            self.place(n).and_then(|at| self.describe(desk, at, Saying::Offer, |local, _| carry(&words, local)).ok());
        let Some(body) = made else { return self.miss_answer(desk, now) };
        if let Some(exchange) = &mut self.exchange {
            (exchange.asker, exchange.other) = (n, Some(asker));
            exchange.request = exchange.newcomer.take().map(|invite| *invite);
            exchange.offer = Some(words);
        }
        self.advance(desk, Move::AckWithOffer, Carried { for_asker: Some(body), ..Carried::default() }, now);
    }
}

impl Leg {
    /// Whether the ACK to its 2xx waits for an answer to the offer in it.
    fn owes_ack(&self) -> bool {
        self.ours.as_ref().is_some_and(|ours| matches!(ours.ack, Acking::Owed))
    }
}
