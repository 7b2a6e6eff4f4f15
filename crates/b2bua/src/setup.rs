//! A call before its answer: how it begins, what it is told to do, and its answer to the caller.

use crate::body::read_body;
use crate::bridge::{Agreed, Carried};
use crate::call::{Call, Ending, SDP, Service, Setup, Times, Who};
use crate::cause::Failure;
use crate::desk::{DUES, Desk, Due};
use crate::end::{End, Said};
use crate::event::{Invite, Output, Refusal};
use crate::exchange::{Exchange, Move};
use crate::identity;
use crate::leg::Leg;
use crate::more::More;
use crate::newcomer::NO_MORE;
use crate::reliable::Told;
use crate::session;
use crate::step::{MAX_WAITING, Step, StepError};
use crate::talk::GRACE;
use crate::view::CallState;
use bytes::Bytes;
use media::command::Sound;
use media::sdp::{Description, Direction};
use serde::{Deserialize, Serialize};
use sip::{Dialog, Message, Outgoing};
use std::time::Duration;
use words::{CallId, EndCause, Fact, Party, Pii, Time};

impl Call {
    /// Takes an INVITE in and asks what is to happen to it.
    pub(crate) fn open(desk: &mut Desk, slot: u32, id: CallId, invite: Invite, now: Time) -> Result<Call, Refusal> {
        let Invite { txn, message, flow, back, account, from, trust, srtp, silence, typed_transfer } = invite;
        let refusal = Refusal::new;
        let forwards = message.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS);
        let forwards = forwards.checked_sub(1).ok_or(refusal(483, "Too Many Hops: Max-Forwards is used up"))?;
        session::check(&message, desk.config.session)?;
        check_accept(&message)?;
        let offer = read_body(&message, srtp)?;
        if offer.as_ref().is_some_and(|offer| !offer.is_carried()) {
            return Err(Refusal::of_offer(offer.as_ref()));
        }
        desk.family_of_caller(&flow, offer.as_ref())?;
        desk.codes_of(account, typed_transfer);
        let tag = desk.tag(slot, 0);
        let dialog =
            Dialog::uas(&message, tag.text().as_str()).map_err(|_| refusal(400, "Bad Contact or Record-Route"))?;
        let to = Party { number: Pii::new(identity::dialled(&message)), ..Party::default() };
        desk.say(
            account,
            Fact::CallOpened {
                call: id,
                from: from.clone(),
                to: to.clone(),
                sip_call_id: message.call_id().unwrap_or_default().to_owned(),
                source: flow.remote,
            },
        );
        let mut caller = Leg::incoming(0, tag, txn, &message, flow, dialog, from.clone());
        (caller.trust, caller.srtp) = (trust, srtp);
        caller.more = Told::new(&message, &mut desk.chance)
            .map(|told| Box::new(More { told: Some(Box::new(told)), ..More::default() }));
        caller.comes_back_by(back);
        desk.watch(txn, slot, 0);
        desk.enter(flow.connection, slot);
        desk.push(Output::AskPlan { call: id });
        let setup = Setup::new(Some((txn, message)), offer, forwards);
        let mut legs = Vec::with_capacity(2);
        legs.push(caller);
        let mut call = Call {
            id,
            account,
            slot,
            who: Who { from, to },
            times: Times { began: now, answered: None },
            state: CallState::Ringing,
            legs,
            next_leg: 1,
            // Most calls have two sides; a held call should not keep room for more.
            ends: Vec::with_capacity(2),
            setup: Some(Box::new(setup)),
            exchange: None,
            newcomer: None,
            transfer: None,
            transfers: 0,
            relayed: Vec::new(),
            caller: 0,
            talks_with: None,
            service: None,
            silence,
            timers: [None; DUES],
        };
        call.set_timer(desk, Due::Plan, now + PLAN);
        desk.live += 1;
        Ok(call)
    }

    /// Does what the call is told.
    pub(crate) fn apply(&mut self, desk: &mut Desk, step: Step, now: Time) -> Result<(), StepError> {
        if self.state == CallState::Ended {
            return Err(StepError::NoCall);
        }
        if let Some(setup) = self.setup.as_mut().filter(|setup| setup.delayed) {
            if matches!(step, Step::Reject { .. } | Step::Hangup { .. }) {
                setup.waiting.clear();
            } else if setup.waiting.len() >= MAX_WAITING {
                return Err(StepError::Full);
            } else {
                setup.waiting.push_back(step);
                return Ok(());
            }
        }
        self.take_step(desk, step, now)?;
        // A step that failed leaves the call waiting for another one, but not for ever.
        self.clear_timer(desk, Due::Plan);
        Ok(())
    }

    fn take_step(&mut self, desk: &mut Desk, step: Step, now: Time) -> Result<(), StepError> {
        match step {
            Step::Ring => {
                self.free_setup(true)?;
                self.start_ringing(desk, now);
                self.tell(desk, 180, None, now);
                Ok(())
            }
            Step::Progress { sound } => self.progress(desk, sound, now),
            Step::Answer => self.answer_here(desk, Service::Silent, now),
            Step::Echo => self.answer_here(desk, Service::Echo, now),
            Step::Play { sound } => self.answer_here(desk, Service::Play(sound), now),
            Step::AnswerAfter { delay } => {
                self.free_setup(false)?.delayed = true;
                self.set_timer(desk, Due::Delay, now + delay.min(desk.config.call_limit));
                Ok(())
            }
            Step::Reject { status, reason, cause } => {
                self.free_setup(true)?;
                let status = if (300..700).contains(&status) { status } else { 500 };
                let failure = Some(Failure { phrase: reason, ..Failure::own(status, cause) });
                self.nobody(desk, &Ending { failure, ..Ending::new(cause, None) }, now);
                Ok(())
            }
            Step::Dial { targets, ring_for } => self.dial(desk, targets, ring_for, now),
            Step::Hide => {
                self.who.from.private = true;
                self.legs[0].party.private = true;
                Ok(())
            }
            Step::Consult { held } => {
                self.free_setup(false)?;
                self.legs[0].more().consults = Some(held);
                Ok(())
            }
            // Its other call has seen to it.
            Step::HandOver { .. } => Ok(()),
            Step::Hangup { cause } => {
                self.end(desk, &Ending::new(cause, None), now);
                Ok(())
            }
        }
    }

    /// A minute of ringing: the last word is said again (§13.3.1.1).
    pub(crate) fn handle_refresh(&mut self, desk: &mut Desk, now: Time) {
        if let Some(setup) = &self.setup {
            let (status, body) = setup.ear.last();
            self.tell(desk, status, body, now);
        }
    }

    /// The delay of [`Step::AnswerAfter`] is over: answers, and takes the steps that waited.
    pub(crate) fn handle_delay(&mut self, desk: &mut Desk, now: Time) {
        let Some(setup) = &mut self.setup else { return };
        setup.delayed = false;
        let waiting = std::mem::take(&mut setup.waiting);
        for step in std::iter::once(Step::Answer).chain(waiting) {
            if self.apply(desk, step, now).is_err() {
                break;
            }
        }
    }

    /// Nobody said what is to happen to the call.
    pub(crate) fn handle_no_plan(&mut self, desk: &mut Desk, now: Time) {
        self.nobody(desk, &Ending::new(EndCause::Overload, None), now);
    }

    /// The setup, for a step that needs it: the call has no answer, and (unless `ringing` may be) rings nobody.
    pub(crate) fn free_setup(&mut self, ringing: bool) -> Result<&mut Setup, StepError> {
        match self.setup.as_deref_mut() {
            None => Err(StepError::Answered),
            Some(setup) if setup.held.is_some() => Err(StepError::Answered),
            Some(setup) if setup.fork.is_some() && !ringing => Err(StepError::Dialling),
            Some(setup) => Ok(setup),
        }
    }

    /// From now on the call rings no longer than the limit, unless a ring list says otherwise.
    pub(crate) fn start_ringing(&mut self, desk: &mut Desk, now: Time) {
        if self.timers[Due::Ring as usize].is_none() {
            self.set_timer(desk, Due::Ring, now + desk.config.ring_limit);
        }
    }

    /// A provisional answer to the caller.
    pub(crate) fn tell(&mut self, desk: &mut Desk, status: u16, body: Option<Bytes>, now: Time) {
        let Some(setup) = &mut self.setup else { return };
        setup.ear.tell(status);
        if self.setup.as_ref().is_some_and(|setup| setup.asked.is_none()) {
            return self.tell_search(desk, status, now);
        }
        self.set_timer(desk, Due::Refresh, now + REFRESH);
        if self.told().is_some() {
            self.tell_reliably(desk, status, body, now);
        } else {
            self.tell_plainly(desk, status, body);
        }
    }

    /// One that may be lost.
    pub(crate) fn tell_plainly(&mut self, desk: &mut Desk, status: u16, body: Option<Bytes>) {
        let Some((txn, invite)) = self.setup.as_ref().and_then(|setup| setup.asked.as_ref()) else { return };
        let txn = *txn;
        let builder = self.dialog_response(desk, 0, invite, status);
        let response = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Respond { txn, response, after_facts: false });
    }

    /// Early media of our own.
    fn progress(&mut self, desk: &mut Desk, sound: Option<Sound>, now: Time) -> Result<(), StepError> {
        self.free_setup(false)?.sound = sound;
        self.start_ringing(desk, now);
        let offer = self.setup.as_ref().and_then(|setup| setup.offer.clone());
        let hears = self.caller_has_description() && !self.is_seeking();
        if hears || self.is_seeking() || offer.is_none() && self.told().is_none() {
            if hears {
                self.perform_service(desk);
            }
            // Otherwise there is nothing that a provisional answer could agree to.
            self.tell(desk, 183, None, now);
            return Ok(());
        }
        self.caller_end(desk, now)?;
        let Some(Carried { for_asker: Some(body), .. }) = self.own_answer(desk, offer.as_ref()) else {
            return Err(self.no_common_codec(desk, now));
        };
        let said = self.ends[0].ours.last().cloned();
        if let Some(told) = self.told_mut() {
            told.agreed_with = Some((0, Bytes::new()));
            told.offer = said.filter(|_| offer.is_none()).map(|said| (0, said));
        }
        if let Some(offer) = offer {
            self.serve(desk, Said::of(&offer), false);
        }
        if let Some(setup) = &mut self.setup {
            let asked = setup.asked.as_ref().map(|(_, invite)| invite.body_bytes());
            setup.ear.hear(0, asked.unwrap_or_default(), body.clone());
        }
        self.tell(desk, 183, Some(body), now);
        Ok(())
    }

    /// The exchange answers, or changes what an answered caller hears.
    fn answer_here(&mut self, desk: &mut Desk, service: Service, now: Time) -> Result<(), StepError> {
        if self.is_seeking() {
            return self.found_here(desk, service, now);
        }
        if self.setup.is_none() {
            if self.talks_with.is_some() {
                return Err(StepError::Answered);
            }
            self.service = Some(service);
            self.perform_service(desk);
            return Ok(());
        }
        if self.setup.as_ref().is_some_and(|setup| setup.held.is_some()) && self.service.is_some() {
            self.service = Some(service);
            return Ok(());
        }
        self.free_setup(false)?;
        self.caller_end(desk, now)?;
        if self.caller_has_description() {
            self.service = Some(service);
            self.accept(desk, None, None, None, None, now);
            return Ok(());
        }
        let offer = self.setup.as_mut().and_then(|setup| setup.offer.take());
        let Some(Carried { for_asker: Some(body), agreed, .. }) = self.own_answer(desk, offer.as_ref()) else {
            return Err(self.no_common_codec(desk, now));
        };
        self.service = Some(service);
        self.accept(desk, None, Some(body), agreed, None, now);
        Ok(())
    }

    fn no_common_codec(&mut self, desk: &mut Desk, now: Time) -> StepError {
        self.end(desk, &Ending::new(EndCause::MediaMismatch, None), now);
        StepError::NoCommonCodec
    }

    pub(crate) fn no_port(&mut self, desk: &mut Desk, now: Time) -> StepError {
        let failure = Some(Failure::no_port());
        self.nobody(desk, &Ending { failure, ..Ending::new(EndCause::Overload, None) }, now);
        StepError::NoPort
    }

    /// The caller's media end, made when first needed.
    pub(crate) fn caller_end(&mut self, desk: &mut Desk, now: Time) -> Result<(), StepError> {
        if !self.ends.is_empty() {
            return Ok(());
        }
        let family = self.callers_family(desk);
        let preferred = self.sharing_worker(desk, None);
        let ports = preferred.and_then(|worker| desk.pool.take(family, Some(worker), now));
        let ports = ports.or_else(|| desk.pool.take(family, None, now));
        desk.stock(family, now);
        let Some(ports) = ports else { return Err(self.no_port(desk, now)) };
        self.ends.push(End::new(self.leg_id(0), ports, desk));
        Ok(())
    }

    /// 200 to the caller, with a description unless it has one: talk begins.
    pub(crate) fn accept(
        &mut self,
        desk: &mut Desk,
        other: Option<u16>,
        body: Option<Bytes>,
        agreed: Option<Agreed>,
        owed: Option<Description>,
        now: Time,
    ) {
        if self.must_wait() {
            self.clear_timer(desk, Due::Ring);
            if let Some(setup) = &mut self.setup {
                setup.held = Some(Box::new(Held { other, body, agreed, owed }));
            }
            return;
        }
        let Some((_, invite)) = self.setup.take().and_then(|setup| setup.asked) else { return };
        self.begin_talk(desk, other, now);
        let offers = agreed.is_none() && (owed.is_some() || other.is_none()) && body.is_some();
        let event = if offers { Move::AnswerWithOffer } else { Move::Answer };
        let heard = agreed.is_none() && owed.is_none();
        let serves = other.is_none() && body.is_none();
        let request = Some(invite);
        self.exchange = Some(Box::new(Exchange::new(0, other, owed, request)));
        self.advance(desk, event, Carried { for_asker: body, agreed, ..Carried::default() }, now);
        if heard {
            self.count_silence(desk);
        }
        if serves {
            self.perform_service(desk);
        }
    }

    /// A leg answered, or the exchange itself did: the call is up.
    pub(crate) fn begin_talk(&mut self, desk: &mut Desk, other: Option<u16>, now: Time) {
        self.state = CallState::Answered;
        self.turn_newcomer_away(desk, 481, NO_MORE);
        self.ends.iter_mut().for_each(End::trim);
        self.times.answered = Some(now);
        self.talks_with = other;
        self.clear_timers(desk);
        self.set_timer(desk, Due::Limit, now + desk.config.call_limit);
        if self.legs.iter().any(|leg| leg.lost && leg.state.is_live()) {
            // It answered before the caller may be told, and its connection closed meanwhile.
            self.set_timer(desk, Due::Lost, now + GRACE);
        }
        let winner = other.and_then(|n| self.place(n)).map(|at| self.legs[at].party.clone());
        let who = winner.unwrap_or_else(|| self.who.to.clone());
        let by = other.map(|n| self.leg_id(n));
        desk.say(self.account, Fact::CallAnswered { call: self.id, by, who });
        self.arm_sessions(desk);
    }

    /// Media was agreed on before the answer: from here on its absence counts.
    fn count_silence(&mut self, desk: &mut Desk) {
        for end in &mut self.ends {
            if let Some(setting) = end.setting() {
                let silence = self.silence.filter(|_| setting.direction == Direction::SendRecv).into();
                end.set(media::command::Terms { silence, ..setting }, desk);
            }
        }
    }
}

/// Refuses an INVITE whose sender does not take what all our answers to it bring (RFC 3261 §21.4.7).
pub(crate) fn check_accept(invite: &Message) -> Result<(), Refusal> {
    if invite.accepts(SDP) {
        return Ok(());
    }
    Err(Refusal::new(406, "Not Acceptable: Accept does not name application/sdp"))
}

impl Setup {
    /// Whether somebody has answered, and only the caller does not know yet.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

/// An answer to the caller that waits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) other: Option<u16>,
    pub(crate) body: Option<Bytes>,
    pub(crate) agreed: Option<Agreed>,
    pub(crate) owed: Option<Description>,
}

/// How long a call waits to be told what to do.
pub(crate) const PLAN: Duration = Duration::from_secs(5);

/// How often a provisional answer is repeated (RFC 3261 §13.3.1.1).
const REFRESH: Duration = Duration::from_mins(1);

/// What a request without Max-Forwards counts as (§16.6).
pub(crate) const MAX_FORWARDS: u8 = 70;
