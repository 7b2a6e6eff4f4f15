//! A transfer until somebody came: who refers is told how it goes, and the call goes on with him when nobody comes.

use crate::body::read_body;
use crate::call::{Call, Ending, Service, Setup};
use crate::cause::{Failure, refusal_of, sip_reason};
use crate::desk::{Desk, Due};
use crate::end::End;
use crate::event::Output;
use crate::exchange::{Exchange, Move as ExchangeMove, Stage as ExchangeStage};
use crate::fork::Fork;
use crate::identity::{is_sips, uri_value};
use crate::leg::{Leg, LegEvent, LegState};
use crate::ring::elsewhere;
use crate::setup::{MAX_FORWARDS, PLAN};
use crate::single::Offering;
use crate::step::StepError;
use crate::transfer::{Move, Stage, Transfer, Wish};
use crate::view::{Asked, CallState};
use bytes::Bytes;
use media::command::{Family, Sound};
use media::renew::renew;
use media::sdp::Description;
use sip::{Message, Uri};
use words::{EndCause, Fact, LegId, Party, Time};

impl Call {
    /// Whether a leg is one of the two sides.
    pub(crate) fn is_party(&self, n: u16) -> bool {
        n == self.caller || self.talks_with == Some(n)
    }

    /// Whether a leg is a side of the call, or about to become one.
    pub(crate) fn takes_part(&self, n: u16) -> bool {
        let comes = |exchange: &Exchange| exchange.asker == n && exchange.instead_of.is_some();
        self.is_party(n) || self.exchange.as_deref().is_some_and(comes)
    }

    /// Whether a leg is a caller whose call has no answer yet.
    pub(crate) fn is_waiting(&self, at: usize) -> bool {
        self.state == CallState::Ringing && self.legs[at].state == LegState::Incoming
    }

    /// Whether somebody is sought who is to come into the call.
    pub(crate) fn is_seeking(&self) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| transfer.stage == Stage::Seeking)
    }

    /// Whether the call goes on when a leg leaves it.
    pub(crate) fn goes_on_without(&self, n: u16) -> bool {
        let refers = self.transfer.as_ref().is_some_and(|transfer| transfer.is_open() && transfer.wish.n == n);
        self.state == CallState::Answered && (refers || !self.is_party(n))
    }

    /// What is to be planned.
    pub(crate) fn asks(&self) -> Asked<'_> {
        let account = self.account;
        if let Some(Transfer { wish, .. }) = self.transfer.as_deref().filter(|_| self.is_seeking()) {
            let (uri, secure) = (Some(wish.uri.as_str()), is_sips(&wish.uri));
            return Asked { account, number: &wish.number, by: &wish.by, uri, gr: gr_of(&wish.uri), secure };
        }
        let invite = self.setup.as_ref().and_then(|setup| setup.asked.as_ref());
        let dialled = invite.map_or("", |(_, invite)| invite.request_uri());
        let (gr, secure) = (gr_of(dialled), is_sips(dialled));
        Asked { account, number: self.who.to.number.as_str(), by: &self.who.from, uri: None, gr, secure }
    }

    /// Who calls those who are rung: the caller, or who is transferred.
    pub(crate) fn calling(&self) -> &Party {
        let near = self.transfer.as_ref().and_then(|transfer| self.place(transfer.near));
        near.map_or(&self.who.from, |at| &self.legs[at].party)
    }

    /// The value of Referred-By (RFC 3892) for who is called for a transfer; who wants to be private is named to those
    /// alone who are `told`.
    pub(crate) fn referred_by(&self, host: &str, told: bool) -> Option<String> {
        let wish = &self.transfer.as_ref()?.wish;
        uri_value(&wish.by, host).filter(|_| told || !wish.by.private)
    }

    /// Begins a transfer: asks what is to happen to it, or claims somebody who is in another call.
    pub(crate) fn seek(&mut self, desk: &mut Desk, wish: Wish, instead_of: Option<LegId>, now: Time) {
        let Some(near) = self.other_of(wish.n) else { return };
        let said = self.place(wish.n).and_then(|at| self.ends.get(self.legs[at].end)).and_then(|end| end.ours.last());
        let words = said.and_then(renew);
        self.transfers += 1;
        let speechless = words.is_none();
        let stage = if instead_of.is_some() { Stage::Claiming } else { Stage::Seeking };
        let transfer = Transfer { stage, wish, instead_of, left: false, near, far: None, words: None, since: now };
        let transfer = self.transfer.insert(Box::new(transfer));
        if instead_of.is_some() {
            transfer.words = words;
            desk.errands.push(self.slot);
        } else {
            self.setup = Some(Box::new(Setup::new(None, words, MAX_FORWARDS)));
        }
        if speechless {
            return self.fail_transfer(desk, &Failure::own(488, EndCause::MediaMismatch), now);
        }
        if instead_of.is_none() {
            self.set_timer(desk, Due::Plan, now + PLAN);
            desk.push(Output::AskPlan { call: self.id });
        }
    }

    /// Who was claimed rings: he, and those after him, are waited for here.
    pub(crate) fn seek_on(&mut self, desk: &mut Desk, fork: Option<Fork>, now: Time) {
        let Some(transfer) = &mut self.transfer else { return };
        let ring_for = fork.as_ref().map_or(desk.config.ring_limit, Fork::ring_for);
        let mut setup = Setup::new(None, transfer.words.take(), MAX_FORWARDS);
        setup.fork = fork;
        self.setup = Some(Box::new(setup));
        self.set_timer(desk, Due::Ring, now + ring_for);
        self.move_transfer(desk, Move::Rings, now);
        if self.legs.iter().any(|leg| leg.state == LegState::Ringing) {
            self.tell_search(desk, 180, now);
        }
    }

    /// Nobody answered: a caller is refused, a transfer has failed.
    pub(crate) fn nobody(&mut self, desk: &mut Desk, ending: &Ending, now: Time) {
        if !self.transfer.as_ref().is_some_and(|transfer| transfer.is_open()) {
            return self.end(desk, ending, now);
        }
        let own = || Failure::own(refusal_of(ending.cause), ending.cause);
        let failure = ending.failure.clone().unwrap_or_else(own);
        self.fail_transfer(desk, &failure, now);
    }

    /// Nobody came: the call goes on with who refers, and without him it ends.
    pub(crate) fn fail_transfer(&mut self, desk: &mut Desk, failure: &Failure, now: Time) {
        let Some(transfer) = self.transfer.take() else { return };
        self.end_search(desk, &Ending::new(failure.cause, None), now);
        self.tidy_ends(desk, now);
        if transfer.left {
            let reason = Some(sip_reason(failure.status));
            return self.end(desk, &Ending { reason, ..Ending::new(failure.cause, None) }, now);
        }
        if let Some(at) = self.place(transfer.wish.n) {
            self.notify(desk, at, failure.status, &failure.phrase, now);
        }
    }

    /// How far the search is, for who refers.
    pub(crate) fn tell_search(&mut self, desk: &mut Desk, status: u16, now: Time) {
        if let Some(setup) = &mut self.setup {
            setup.ear.tell(status);
        }
        let by = self.transfer.as_ref().map(|transfer| transfer.wish.n);
        if let Some(at) = by.and_then(|n| self.place(n)) {
            self.notify(desk, at, status, "", now);
        }
    }

    /// Somebody who was called for a transfer answered; `settled` is what he said reliably before.
    pub(crate) fn found(&mut self, desk: &mut Desk, at: usize, response: &Message, settled: Option<Bytes>, now: Time) {
        // Who was called by somebody without an offer makes one.
        let late = settled.is_none() && self.legs[at].ours.as_ref().is_some_and(|ours| !ours.offers);
        let srtp = self.legs[at].srtp;
        let offer = read_body(response, srtp).ok().flatten().filter(|_| late);
        let acks = offer.and_then(|offer| self.answer_late(desk, at, &offer));
        let words = match settled {
            _ if late && acks.is_none() => None,
            // It answered to what somebody else had said: it is asked anew.
            _ if self.legs[at].is_moved() => self.setup.as_mut().and_then(|setup| setup.offer.take()),
            Some(settled) => Description::parse(&settled).ok(),
            None => read_body(response, srtp).ok().flatten().filter(|said| self.fits(at, said, !late)),
        };
        let Some(words) = words.filter(|words| words.media().any(|media| media.is_relayable())) else {
            self.acknowledge_unwanted(desk, at, response);
            self.rid(desk, at, &Ending::new(EndCause::MediaMismatch, None));
            return self.lose(desk, at, Failure::of_answer(488), now);
        };
        self.acknowledge(desk, at, acks);
        // A newcomer who was about to pick up comes too late.
        if self.exchange.as_ref().is_some_and(|exchange| exchange.instead_of.is_some()) {
            self.refuse_asker(desk, 486);
        }
        let (n, who) = (self.legs[at].n, self.legs[at].party.clone());
        let event = if self.legs[at].is_moved() { Move::FoundElsewhere } else { Move::Found };
        if let Some(transfer) = &mut self.transfer {
            transfer.words = Some(words);
        }
        self.replace(desk, Some(n), who, now);
        self.move_transfer(desk, event, now);
    }

    /// The exchange itself takes the place.
    pub(crate) fn found_here(&mut self, desk: &mut Desk, service: Service, now: Time) -> Result<(), StepError> {
        self.free_setup(false)?;
        self.service = Some(service);
        let number = self.transfer.as_ref().map(|transfer| transfer.wish.number.as_str()).unwrap_or_default();
        let who = Party { number: number.into(), ..Party::default() };
        self.replace(desk, None, who, now);
        self.move_transfer(desk, Move::Found, now);
        Ok(())
    }

    /// The place is taken: who refers is out.
    pub(crate) fn replace(&mut self, desk: &mut Desk, far: Option<u16>, who: Party, now: Time) {
        let Some(transfer) = &mut self.transfer else { return };
        transfer.far = far;
        transfer.since = now;
        let (by, near, left, with) = (transfer.wish.n, transfer.near, transfer.left, transfer.instead_of);
        (self.caller, self.talks_with) = if by == self.caller { (near, far) } else { (self.caller, far) };
        self.end_search(desk, &elsewhere(), now);
        let (to, with) = (far.map(|n| self.leg_id(n)), with.map(|other| other.call));
        desk.say(self.account, Fact::CallTransferred { call: self.id, by: self.leg_id(by), to, who, with });
        if let Some(at) = self.place(near) {
            let end = self.legs[at].end;
            self.ends[end].stop(desk);
        }
        if !left && let Some(at) = self.place(by) {
            self.say_leg_ended(desk, by, EndCause::Transferred);
            self.withdraw(desk, by, now);
            self.notify(desk, at, 200, "", now);
            self.part(desk, at);
        }
        self.tidy_ends(desk, now);
    }

    /// The other side of a leg is gone, and the call goes on.
    pub(crate) fn lose_leg(&mut self, desk: &mut Desk, at: usize, now: Time) {
        let _ = self.legs[at].state.apply(LegEvent::Gone);
        self.forget_theirs(desk, at);
        self.leave(desk, self.legs[at].n, now);
    }

    /// A leg left a call that goes on.
    pub(crate) fn leave(&mut self, desk: &mut Desk, n: u16, now: Time) {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.wish.n == n) else { return };
        if !transfer.is_open() || std::mem::replace(&mut transfer.left, true) {
            return;
        }
        let near = transfer.near;
        (self.caller, self.talks_with) = (near, None);
        self.say_leg_ended(desk, n, EndCause::Transferred);
        self.withdraw(desk, n, now);
        self.tidy_ends(desk, now);
        // Who waits hears that somebody is rung.
        if let Some(at) = self.place(near) {
            let end = &mut self.ends[self.legs[at].end];
            let hears = end.setting().is_some_and(|it| {
                it.direction.sends() && (it.payload_types.contains(0) || it.payload_types.contains(8))
            });
            if hears {
                end.play(Sound::Ringback, desk);
            }
        }
    }

    /// Nobody is rung any more.
    fn end_search(&mut self, desk: &mut Desk, ending: &Ending, now: Time) {
        self.setup = None;
        for due in [Due::Plan, Due::Ring, Due::Server, Due::Refresh, Due::Delay, Due::Join] {
            self.clear_timer(desk, due);
        }
        self.dismiss_ringing(desk, ending, now);
    }

    /// A leg that leaves has no part in an exchange any more; what others wait for comes to its end.
    pub(crate) fn withdraw(&mut self, desk: &mut Desk, n: u16, now: Time) {
        let relayed = std::mem::take(&mut self.relayed);
        for relayed in relayed {
            if relayed.from == n {
                self.refuse_request(
                    desk,
                    n,
                    relayed.server,
                    &relayed.request,
                    487,
                    "Request Terminated: who sent it has left the call",
                );
            } else {
                self.relayed.push(relayed);
            }
        }
        let Some(exchange) = &self.exchange else { return };
        let (asker, stage) = (exchange.asker, exchange.stage);
        match (asker == n, stage) {
            (true, ExchangeStage::Asked) => self.refuse_asker(desk, 487),
            (true, ExchangeStage::Answered | ExchangeStage::AnswerOwed) => {
                self.advance(desk, ExchangeMove::End, crate::bridge::Carried::default(), now);
            }
            (false, ExchangeStage::Asked) if exchange.other == Some(n) => {
                let carried = crate::bridge::Carried { status: 491, ..crate::bridge::Carried::default() };
                self.advance(desk, ExchangeMove::Failure, carried, now);
            }
            (_, ExchangeStage::Idle) | (false, _) => {}
        }
    }

    /// A media end of its own for those who are called for a transfer, on the worker of who stays.
    pub(crate) fn far_end(
        &mut self,
        desk: &mut Desk,
        n: u16,
        family: Family,
        told: Offering,
        now: Time,
    ) -> Option<usize> {
        // All who are rung share one if they are told the same of it, and who was rung in vain leaves it to the next.
        let single = desk.config.single_port.is_some();
        let differs = |leg: &Leg| !leg.state.is_inviting() || !told.is_for(leg, single);
        if let Some(at) = self.shared_end(0, family, differs) {
            return Some(at);
        }
        let near = self.place(self.transfer.as_ref()?.near)?;
        self.fresh_end(desk, n, family, near, now)
    }

    /// A media end on the worker of another leg.
    pub(crate) fn fresh_end(
        &mut self,
        desk: &mut Desk,
        n: u16,
        family: Family,
        near: usize,
        now: Time,
    ) -> Option<usize> {
        let worker = self.ends.get(self.legs[near].end)?.ports.worker;
        let ports = desk.pool.take(family, Some(worker), now);
        desk.stock(family, now);
        self.ends.push(End::new(self.leg_id(n), ports?, desk));
        Some(self.ends.len() - 1)
    }

    /// Gives back the ends that nobody uses any more.
    pub(crate) fn tidy_ends(&mut self, desk: &mut Desk, now: Time) {
        let mut at = 0;
        while at < self.ends.len() {
            if self.legs.iter().any(|leg| leg.end == at && self.has_media(leg)) {
                at += 1;
                continue;
            }
            let end = self.ends.remove(at);
            for other in &mut self.ends {
                other.unlink(end.name, desk);
            }
            end.close(desk, self.account, now);
            for leg in &mut self.legs {
                leg.end = match leg.end {
                    gone if gone == at => NO_END,
                    later if later > at && later != NO_END => later - 1,
                    end => end,
                };
            }
        }
    }

    pub(crate) fn has_media(&self, leg: &Leg) -> bool {
        // Who left in the middle of an exchange has no part in what comes of it.
        let exchanges = |exchange: &Exchange| {
            let asks = exchange.request.is_some() || exchange.instead_of.is_some();
            let asked = exchange.stage == ExchangeStage::Asked;
            exchange.asker == leg.n && asks || exchange.other == Some(leg.n) && asked
        };
        let takes_part = self.is_party(leg.n) || self.exchange.as_deref().is_some_and(exchanges);
        takes_part || leg.state == LegState::Incoming || leg.state.is_inviting()
    }
}

/// The `gr` of a URI (RFC 5627 §3.1).
pub(crate) fn gr_of(uri: &str) -> Option<&str> {
    // Hardly any has one, and a look is quicker than reading the URI.
    if !uri.contains(";gr") {
        return None;
    }
    Uri::parse(uri).ok()?.param("gr")
}

/// The place of an end that was given back: its leg only waits for last answers.
const NO_END: usize = usize::MAX;
