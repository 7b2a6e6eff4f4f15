//! What one leg's INVITE in the middle of a call means to the other: offers and answers carried across (RFC 3264,
//! RFC 3261 §14), hold and resume among them.

use crate::body::read_body;
use crate::call::{Call, Ending, SDP};
use crate::cause::Failure;
use crate::desk::{Desk, Due};
use crate::end::Said;
use crate::event::{Output, Refusal};
use crate::exchange::{Effect, Exchange, Move, Stage};
use crate::family::{incompatible, warning};
use crate::leg::{Acking, LegEvent, LegState};
use crate::refuse::PENDING;
use crate::secure::Saying;
use crate::session;
use crate::view::CallState;
use bytes::Bytes;
use media::codec::Codec;
use media::command::Family;
use media::offer::{answer_audio, carry_again, carry_answer, offer_audio};
use media::sdp::Description;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, MessageBuilder, Method, Outgoing, ServerTxn};
use std::convert::Infallible;
use std::time::Duration;
use words::{EndCause, Time};

/// What a move of the exchange works with.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// The body for the asking leg.
    pub(crate) for_asker: Option<Bytes>,
    /// The body for the other leg.
    pub(crate) for_other: Option<Bytes>,
    /// What both agreed on.
    pub(crate) agreed: Option<Agreed>,
    /// The status for the asking leg.
    pub(crate) status: u16,
    /// The addresses that could not be reached, as a `Warning` to it tells.
    pub(crate) misfit: Option<Family>,
    /// Why the call ends, if it does.
    pub(crate) cause: Option<EndCause>,
}

/// An agreement about media.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Agreed {
    /// Between two legs: who offered, who answered.
    Legs((u16, Said), (u16, Said)),
    /// Between the caller and the exchange; whether the caller's was the answer.
    Here(Said, bool),
    /// As before, but a leg's media may have moved.
    Moved(u16, Said),
}

impl Call {
    /// A leg wants to change the media (RFC 3261 §14.2).
    pub(crate) fn reinvite(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: Message, now: Time) {
        let n = self.legs[at].n;
        let open = self.exchange.as_ref();
        let twice = open.is_some_and(|exchange| exchange.asker == n && exchange.stage == Stage::Asked);
        if twice || self.legs[at].state == LegState::Incoming {
            // Its INVITE before this one has no final answer yet.
            return self.refuse_for_now(desk, at, txn, &message, 500);
        }
        let other = self.other_of(n);
        let free = |n: u16| self.place(n).is_some_and(|at| self.legs[at].is_there());
        if !self.is_party(n) || self.is_asking() || open.is_some() || !free(n) || !other.is_none_or(free) {
            return self.refuse_request(desk, n, txn, &message, 491, PENDING);
        }
        let offer = session::check(&message, desk.config.session).and_then(|()| self.read_request(at, &message));
        let offer = match offer {
            Ok(offer) => offer,
            Err(refusal) => return self.refuse_with(desk, at, txn, &message, &refusal),
        };
        // What says nothing new keeps its session alive (RFC 4028 §7.2), and is nobody's business but ours.
        let again = offer.as_ref().and_then(|offer| self.last_answer(at, offer));
        let refreshes = again.is_some();
        let carried = match (again, other) {
            (Some(body), _) => Some(Carried { for_asker: Some(body), ..Carried::default() }),
            (None, Some(other)) => self.question(desk, other, offer.as_ref()),
            (None, None) => self.own_answer(desk, offer.as_ref()),
        };
        let Some(carried) = carried else {
            return self.refuse_with(desk, at, txn, &message, &Refusal::of_offer(offer.as_ref()));
        };
        let other_there = self.legs[at].learn_other(&message);
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        self.legs[at].theirs = Some((txn, cseq));
        desk.watch(txn, self.slot, n);
        let other = other.filter(|_| !refreshes);
        let event = match (other, &offer) {
            (Some(_), _) => Move::Ask,
            (None, Some(_)) => Move::Answer,
            (None, None) => Move::AnswerWithOffer,
        };
        let mut exchange = Exchange::new(n, other, offer, Some(message));
        exchange.shows = other_there.then_some(n);
        self.exchange = Some(Box::new(exchange));
        self.advance(desk, event, carried, now);
    }

    /// What we said last to a leg, where it repeats what holds (RFC 3264 §8): that answers it.
    fn last_answer(&self, at: usize, offer: &Description) -> Option<Bytes> {
        let leg = &self.legs[at];
        if leg.words == 0 || leg.words != offer.fingerprint() {
            return None;
        }
        let last = self.ends.get(leg.end)?.ours.last()?;
        (last.media_count() == offer.media_count()).then(|| last.print())
    }

    /// The other leg's final answer to what it was asked.
    pub(crate) fn handle_answer(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) {
        let status = response.status();
        if status >= 300 && self.ask_again(desk, at, response, now) {
            return;
        }
        if status < 300 {
            if let Some(dialog) = &mut self.legs[at].dialog {
                dialog.refresh_target(response);
            }
            self.learn_session(desk, at, response, session::SHORTEST_S, now);
        }
        if self.is_refresh() {
            return self.handle_refresh_answer(desk, at, response, now);
        }
        let Some(exchange) = &mut self.exchange else { return };
        let (asker, offer) = (exchange.asker, exchange.offer.take());
        let (waits, owes_ack) = (exchange.request.is_some(), exchange.is_acknowledged());
        if status >= 300 {
            self.refuse_change(desk, status, now);
            if status == 481 && self.state == CallState::Answered {
                self.handle_gone(desk, at, now);
            }
            return;
        }
        let asks = self.state == CallState::Ringing || self.takes_part(asker);
        let Some(asker_at) = self.place(asker).filter(|_| asks) else {
            return self.drop_exchange(desk, at, response);
        };
        let n = self.legs[at].n;
        let is_answer = offer.is_some();
        // Who answers a fax with nothing at all speaks no T.38.
        let fax = offer.as_ref().is_some_and(|offer| offer.fax().is_some());
        let fits = |said: &Description| self.fits(at, said, is_answer) && (!fax || said.is_carried());
        let body = read_body(response, self.legs[at].srtp).ok().flatten().filter(fits);
        match (offer, body) {
            (Some(offer), Some(answer)) => {
                let for_asker = if waits { self.answer_for(desk, asker_at, &answer, &offer) } else { None };
                self.remember_early(asker, n, &offer, &answer);
                let (offered, answered) = agreement(&offer, &answer);
                let agreed = Some(Agreed::Legs((asker, offered), (n, answered)));
                let carried = Carried { for_asker, agreed, ..Carried::default() };
                self.advance(desk, if owes_ack { Move::Success } else { Move::Settled }, carried, now);
            }
            (None, Some(offer)) => {
                let made = self.describe(desk, asker_at, Saying::Offer, |local, last| {
                    carry_again(&offer, last.unwrap_or(&offer), local)
                });
                if let Ok(body) = made {
                    if let Some(ours) = &mut self.legs[at].ours {
                        ours.ack = Acking::Owed;
                    }
                    if let Some(exchange) = &mut self.exchange {
                        exchange.offer = Some(offer);
                    }
                    let carried = Carried { for_asker: Some(body), ..Carried::default() };
                    self.advance(desk, Move::SuccessWithOffer, carried, now);
                } else {
                    self.decline(desk, at, Some(&offer));
                    self.advance(desk, Move::Failure, Carried { status: 488, ..Carried::default() }, now);
                }
            }
            // It agreed without a word, or to what cannot be: the asking leg keeps what it had.
            (_, None) => {
                let carried = self.refusal_of_agreement(at, response);
                // What it hears now is not what was agreed on before: the next offer is not answered without it.
                self.legs[asker_at].words = 0;
                if !self.exchange.as_ref().is_some_and(|exchange| exchange.by_update) {
                    self.acknowledge(desk, at, None);
                }
                self.advance(desk, Move::Failure, carried, now);
            }
        }
    }

    /// Who asked has left meanwhile: the answer is taken all the same.
    fn drop_exchange(&mut self, desk: &mut Desk, at: usize, response: &Message) {
        self.clear_timer(desk, Due::Exchange);
        if self.exchange.take().is_some_and(|exchange| !exchange.by_update) {
            self.acknowledge_unwanted(desk, at, response);
        }
    }

    /// The other leg wants a longer session, or no UPDATE: it is asked the same in another way. Whether it is.
    fn ask_again(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) -> bool {
        let status = response.status();
        let Some(mut exchange) = self.exchange.take() else { return false };
        let again = match status {
            422 => self.raise_session(at, response),
            405 | 501 if exchange.by_update && self.legs[at].state == LegState::Confirmed => {
                self.legs[at].takes.update = false;
                exchange.by_update = false;
                true
            }
            _ => false,
        };
        if again {
            let says = exchange.refreshes || exchange.offer.is_some();
            let last = self.ends.get(self.legs[at].end).and_then(|end| end.ours.last());
            let body = last.filter(|_| says).map(Description::print);
            self.ask(desk, at, &mut exchange, body, now);
        }
        self.exchange = Some(exchange);
        again
    }

    /// The other leg gave no final answer at all.
    pub(crate) fn handle_no_answer(&mut self, desk: &mut Desk, now: Time) {
        self.refuse_change(desk, 408, now);
    }

    /// The other leg refused a change, or is gone. Before the answer to the call its INVITE tells what becomes of it.
    fn refuse_change(&mut self, desk: &mut Desk, status: u16, now: Time) {
        let (event, carried) = match refusal_of_change(status) {
            (_, carried) if self.state == CallState::Ringing && matches!(status, 408 | 481) => {
                (Move::Failure, Carried { status: 504, ..carried })
            }
            refusal => refusal,
        };
        self.advance(desk, event, carried, now);
    }

    /// An ACK to a 2xx of ours.
    pub(crate) fn handle_ack(&mut self, desk: &mut Desk, at: usize, message: &Message, now: Time) {
        let leg = &mut self.legs[at];
        let Some((txn, cseq)) = leg.theirs else { return };
        let asker = leg.n;
        let stage = self.exchange.as_ref().filter(|exchange| exchange.asker == asker).map(|exchange| exchange.stage);
        // Without an exchange it is one whose asker left the call.
        let answered = matches!(leg.state, LegState::Accepted | LegState::ByeOwed)
            || matches!(stage, None | Some(Stage::Answered | Stage::AnswerOwed)) && leg.state != LegState::Incoming;
        if !answered || message.cseq().map(|cseq| cseq.number) != Ok(cseq) {
            return;
        }
        let effect = match leg.state {
            LegState::Accepted | LegState::ByeOwed => leg.state.apply(LegEvent::Ack).ok(),
            _ => None,
        };
        desk.push(Output::Acked(txn));
        self.forget_theirs(desk, at);
        match stage {
            Some(Stage::Answered) => {
                let here = self.exchange.as_ref().filter(|exchange| exchange.other.is_none());
                let shows = here.and_then(|exchange| exchange.shows);
                self.advance(desk, Move::Ack, Carried::default(), now);
                if let Some(n) = shows {
                    self.show_other(desk, n, now);
                }
            }
            Some(Stage::AnswerOwed) => self.handle_owed_answer(desk, asker, message, now),
            Some(Stage::Idle | Stage::Asked) | None => {}
        }
        if let Some(effect) = effect
            && let Some(at) = self.place(asker)
        {
            self.perform(desk, at, effect, &Ending::new(EndCause::Normal, None));
            if asker == self.caller {
                self.turn_after_ack(desk, now);
            }
        }
    }

    /// The ACK to a 2xx of ours never came.
    pub(crate) fn handle_no_ack(&mut self, desk: &mut Desk, at: usize, now: Time) {
        self.forget_theirs(desk, at);
        let leg = &mut self.legs[at];
        let n = leg.n;
        let ending = Ending::new(EndCause::SignallingLost, Some(n));
        if leg.state == LegState::Incoming && self.state == CallState::Answered {
            // A newcomer that cannot even be refused; what was asked for it comes to its end by itself.
            let _ = leg.state.apply(LegEvent::Gone);
            if self.is_party(n) {
                self.end(desk, &ending, now);
            }
            return;
        }
        if leg.state == LegState::Incoming {
            let _ = leg.state.apply(LegEvent::Gone);
            self.setup = None;
            return self.end(desk, &ending, now);
        }
        let gone = leg.state.apply(LegEvent::NoAck);
        if let Ok(effect) = gone {
            self.perform(desk, at, effect, &ending);
        }
        if gone.is_ok() && self.is_party(n) || self.exchange.as_ref().is_some_and(|exchange| exchange.asker == n) {
            self.end(desk, &ending, now);
        }
    }

    /// A leg cancels its INVITE in the middle of the call: the other leg's final answer decides, so that both always
    /// agree.
    pub(crate) fn handle_cancelled_change(&mut self, desk: &mut Desk, n: u16, now: Time) {
        if self.cancel_waiting(desk, n) {
            return self.end(desk, &Ending::new(EndCause::Cancelled, Some(n)), now);
        }
        let asked = |exchange: &Exchange| exchange.asker == n && exchange.stage == Stage::Asked;
        if self.exchange.as_deref().is_some_and(asked) {
            self.advance(desk, Move::Cancel, Carried::default(), now);
        }
    }

    /// A leg thought too long about a change.
    pub(crate) fn handle_patience_over(&mut self, desk: &mut Desk, now: Time) {
        self.cancel_joining(desk);
        let Some(mut exchange) = self.exchange.take() else { return };
        if exchange.server.is_some()
            && let Some(at) = self.place(exchange.asker)
        {
            // An UPDATE cannot wait for a person (RFC 3311 §5.2); what becomes of it nobody asks any more.
            self.refuse(desk, at, &mut exchange, 504, None);
        }
        let asked = exchange.stage == Stage::Asked;
        self.exchange = Some(exchange);
        if asked {
            self.advance(desk, Move::Cancel, Carried::default(), now);
        }
    }

    /// Who asked leaves the call: its INVITE gets its final answer, and that of the other leg ends the exchange.
    pub(crate) fn refuse_asker(&mut self, desk: &mut Desk, status: u16) {
        let Some(mut exchange) = self.exchange.take() else { return };
        if let Some(at) = self.place(exchange.asker) {
            self.refuse(desk, at, &mut exchange, status, None);
        }
        self.exchange = Some(exchange);
    }

    /// Makes a move of the exchange and does what it asks.
    pub(crate) fn advance(&mut self, desk: &mut Desk, event: Move, carried: Carried, now: Time) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let Ok(effects) = exchange.stage.apply(event) else {
            self.exchange = Some(exchange);
            return;
        };
        let Carried { mut for_asker, mut for_other, mut agreed, status, misfit, cause } = carried;
        let connects = agreed.is_some() && self.state == CallState::Answered;
        let (asker, other) = (self.place(exchange.asker), exchange.other.and_then(|n| self.place(n)));
        let (mut ends, mut came) = (false, None);
        for effect in effects {
            match (effect, asker, other) {
                (Effect::Ask, _, Some(at)) => self.ask(desk, at, &mut exchange, for_other.take(), now),
                (Effect::Acknowledge, _, Some(at)) if exchange.newcomer.is_some() => {
                    self.welcome(desk, at, &mut exchange, for_other.take(), now);
                }
                (Effect::Decline, _, Some(at)) if exchange.newcomer.is_some() => {
                    self.send_away(desk, at, &mut exchange, 480);
                }
                // Neither is there for an UPDATE.
                (Effect::Cancel | Effect::Acknowledge, _, Some(_)) if exchange.by_update => {}
                (Effect::Cancel, _, Some(at)) => {
                    if let Some(ours) = &self.legs[at].ours {
                        desk.push(Output::Cancel { txn: ours.txn, reason: None });
                    }
                }
                (Effect::Acknowledge, _, Some(at)) => self.acknowledge(desk, at, for_other.take()),
                (Effect::Decline, _, Some(at)) => self.decline(desk, at, exchange.offer.as_ref()),
                (Effect::Answer, Some(at), _) => self.answer(desk, at, &mut exchange, for_asker.take(), now),
                (Effect::Refuse, Some(at), _) => self.refuse(desk, at, &mut exchange, status, misfit),
                (Effect::Terminate, Some(at), _) => self.refuse(desk, at, &mut exchange, 487, None),
                (Effect::Connect, _, _) => match agreed.take() {
                    Some(Agreed::Legs(offer, answer)) => {
                        self.connect(desk, offer, answer);
                        came = exchange.instead_of.take().map(|by| (by, exchange.asker));
                    }
                    Some(Agreed::Here(said, answer)) => self.serve(desk, said, answer),
                    Some(Agreed::Moved(n, said)) => self.follow_media(desk, n, &said),
                    None => {}
                },
                (Effect::EndCall, _, _) => ends = true,
                // The exchange itself is the other side, or the leg is gone.
                (
                    Effect::Ask
                    | Effect::Cancel
                    | Effect::Acknowledge
                    | Effect::Decline
                    | Effect::Answer
                    | Effect::Refuse
                    | Effect::Terminate,
                    _,
                    _,
                ) => {}
            }
        }
        if exchange.stage != Stage::Asked {
            self.clear_timer(desk, Due::Exchange);
        }
        if connects {
            self.watch_holds(desk, now);
        }
        if exchange.stage != Stage::Idle {
            self.exchange = Some(exchange);
        }
        if let Some((by, n)) = came {
            self.take_over(desk, by, n, now);
        }
        if ends {
            let cause = cause.unwrap_or(EndCause::SignallingLost);
            return self.end(desk, &Ending::new(cause, None), now);
        }
        self.go_on_ringing(desk, now);
    }

    /// What an INVITE to the other leg says; `None` when the offer has nothing that we carry.
    pub(crate) fn question(&mut self, desk: &mut Desk, other: u16, offer: Option<&Description>) -> Option<Carried> {
        let Some(offer) = offer else { return Some(Carried::default()) };
        let at = self.place(other)?;
        let body = self
            .describe(desk, at, Saying::Offer, |local, last| carry_again(offer, last.unwrap_or(offer), local))
            .ok()?;
        Some(Carried { for_other: Some(body), ..Carried::default() })
    }

    /// What the exchange itself answers or offers; `None` when there is no codec in common.
    pub(crate) fn own_answer(&mut self, desk: &mut Desk, offer: Option<&Description>) -> Option<Carried> {
        let at = self.place(self.caller)?;
        let Some(offer) = offer else {
            let made =
                self.describe(desk, at, Saying::Offer, |local, _| Ok::<_, Infallible>(offer_audio(local, &CODECS)));
            return Some(Carried { for_asker: made.ok(), ..Carried::default() });
        };
        let body =
            self.describe(desk, at, Saying::Answer(offer), |local, _| answer_audio(offer, local, &CODECS)).ok()?;
        let agreed = Some(Agreed::Here(Said::of(offer), false));
        Some(Carried { for_asker: Some(body), agreed, ..Carried::default() })
    }

    /// The answer of one leg as the other, whose offer it answers, gets it.
    pub(crate) fn answer_for(
        &mut self,
        desk: &mut Desk,
        at: usize,
        answer: &Description,
        offer: &Description,
    ) -> Option<Bytes> {
        self.describe(desk, at, Saying::Answer(offer), |local, _| {
            Ok::<_, Infallible>(carry_answer(answer, offer, local))
        })
        .ok()
    }

    /// Our INVITE or UPDATE inside a leg's dialog.
    fn ask(&mut self, desk: &mut Desk, at: usize, exchange: &mut Exchange, body: Option<Bytes>, now: Time) {
        let txn = desk.client_txn(self.slot);
        let method = if exchange.by_update { Method::Update } else { Method::Invite };
        let Some(mut builder) = self.target_refresh(desk, at, method) else { return };
        self.push_session(at, &mut builder);
        let newcomer = exchange.instead_of.map(|_| exchange.asker);
        if let Some(shown) = newcomer.or(exchange.shows).and_then(|n| self.place(n)) {
            self.push_shown(&mut builder, at, shown);
        }
        let leg = &mut self.legs[at];
        if exchange.by_update {
            exchange.asking = Some(txn);
        } else {
            leg.invites(txn, body.is_some());
        }
        let request = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Request { txn, request, target: leg.way() });
        let patience = if exchange.server.is_some() { PATIENCE_OF_UPDATE } else { PATIENCE };
        self.set_timer(desk, Due::Exchange, now + patience);
    }

    /// 2xx to the asking leg's INVITE or UPDATE.
    fn answer(&mut self, desk: &mut Desk, at: usize, exchange: &mut Exchange, body: Option<Bytes>, now: Time) {
        let Some(request) = exchange.request.take() else { return };
        if let Some(txn) = exchange.server {
            return self.answer_update(desk, at, txn, &request, body, now);
        }
        let Some((txn, _)) = self.legs[at].theirs else { return };
        let mut builder = self.dialog_response(desk, at, &request, 200);
        self.grant_session(desk, at, &request, &mut builder, now);
        self.push_shown_in_answer(&mut builder, at, exchange.other);
        let leg = &mut self.legs[at];
        if leg.state == LegState::Incoming {
            leg.state.apply(LegEvent::Accept).expect("an INVITE without a final answer can be accepted");
        } else if let Some(dialog) = &mut leg.dialog {
            dialog.refresh_target(&request);
        }
        let response = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Respond { txn, response, after_facts: false });
    }

    /// A failure to the asking leg's INVITE or UPDATE: the call goes on as it was.
    fn refuse(&mut self, desk: &mut Desk, at: usize, exchange: &mut Exchange, status: u16, misfit: Option<Family>) {
        let Some(request) = exchange.request.take() else { return };
        if let Some(txn) = exchange.server {
            return match misfit {
                Some(family) => self.refuse_with(desk, at, txn, &request, &incompatible(family)),
                None => self.refuse_for_now(desk, at, txn, &request, status),
            };
        }
        let Some((txn, _)) = self.legs[at].theirs else { return };
        let mut builder: MessageBuilder = self.response(desk, at, &request, status, "");
        if let Some(family) = misfit {
            builder.push_header(HeaderName::Warning, warning(family));
        }
        self.forget_theirs(desk, at);
        desk.respond(txn, builder);
        if self.legs[at].state == LegState::Incoming {
            let n = self.legs[at].n;
            self.say_leg_ended(desk, n, EndCause::Failed(status));
            let _ = self.legs[at].state.apply(LegEvent::Gone);
        }
    }

    /// The ACK that declines an offer: what cannot be answered must be answered all the same (RFC 3261 §13.2.2.4).
    pub(crate) fn decline(&mut self, desk: &mut Desk, at: usize, offer: Option<&Description>) {
        if self.legs[at].ours.is_none() {
            // It never was asked: what it offers it said in an answer.
            return;
        }
        let has_end = self.ends.get(self.legs[at].end).is_some();
        let body = offer.and_then(|offer| {
            if !has_end {
                return Some(self.nothing_of(desk, at, offer));
            }
            let nothing = |local: &media::offer::Local<'_>, _: Option<&Description>| {
                Ok::<_, Infallible>(carry_answer(offer, offer, &media::offer::Local { ports: &[], ..*local }))
            };
            self.describe(desk, at, Saying::Answer(offer), nothing).ok()
        });
        self.acknowledge(desk, at, body);
    }

    /// The ACK to a 2xx that nobody wants: BYE follows, and an offer in it is answered before all the same.
    pub(crate) fn acknowledge_unwanted(&mut self, desk: &mut Desk, at: usize, response: &Message) {
        let answer = self.declined(desk, at, response);
        self.acknowledge(desk, at, answer);
    }

    /// The answer that declines everything, when the 2xx to an INVITE of ours has an offer. The leg may have no media
    /// end any more.
    pub(crate) fn declined(&self, desk: &mut Desk, at: usize, response: &Message) -> Option<Bytes> {
        let leg = &self.legs[at];
        let offer =
            leg.ours.as_ref().filter(|ours| !ours.offers).and_then(|_| read_body(response, leg.srtp).ok()?)?;
        Some(self.nothing_of(desk, at, &offer))
    }

    /// The same to an offer, of a leg without a media end.
    fn nothing_of(&self, desk: &mut Desk, at: usize, offer: &Description) -> Bytes {
        let session_id = desk.chance.u64() >> crate::end::SESSION_ID_SPARE;
        let address = desk.address(&self.legs[at].flow);
        let local = media::offer::Local { session_id, version: 1, address, ports: &[] };
        carry_answer(offer, offer, &local).print()
    }
}

/// What both descriptions say about what is relayed.
pub(crate) fn agreement(offer: &Description, answer: &Description) -> (Said, Said) {
    (Said::of(offer), Said::of_answer(answer, offer))
}

/// What a leg's refusal of a change means to who asked for it.
fn refusal_of_change(status: u16) -> (Move, Carried) {
    let told = match status {
        // A glare is told as it is: both wait and try again (§14.1). What is over there need not be here: he who said so may
        // have left a call that goes on.
        481 | 491 => 491,
        487 => 487,
        408 => 481,
        other => Failure::of_answer(other).status,
    };
    let event = if status == 408 { Move::Gone } else { Move::Failure };
    (event, Carried { status: told, cause: Some(EndCause::SignallingLost), ..Carried::default() })
}

/// What the exchange itself can hear and play.
pub(crate) const CODECS: [Codec; 3] = [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent];

/// How long a leg may think about a change before it is cancelled.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The same when an UPDATE waits for it, whose transaction lasts for 64*T1 (RFC 3311 §5.2).
const PATIENCE_OF_UPDATE: Duration = Duration::from_secs(20);
