//! From the INVITE to the answer: steps, ring lists, provisional answers, the winner.

use crate::bridge::{Agreed, Carried, agreement};
use crate::call::{Call, Ending, SDP, Service, Setup, Times, Who, read_body};
use crate::cause::{ELSEWHERE, Failure};
use crate::desk::{DUES, Desk, Due};
use crate::early::Tell;
use crate::end::{End, Said};
use crate::event::{Invite, Output, Refusal};
use crate::exchange::{Exchange, Move, Stage};
use crate::fork::Fork;
use crate::identity;
use crate::leg::{Acking, Leg, LegEvent, LegState, OurInvite};
use crate::step::{DialTarget, MAX_WAITING, Step, StepError};
use crate::view::CallState;
use bytes::Bytes;
use media::command::{Family, Sound};
use media::offer::carry;
use media::sdp::Description;
use sip::{Dialog, HeaderName, Message, MessageBuilder, Outgoing, Target};
use std::time::Duration;
use words::{CallId, ConnectionId, EndCause, Fact, Flow, Party, Pii, Time};

impl Call {
    /// Takes an INVITE in and asks what is to happen to it.
    pub(crate) fn open(desk: &mut Desk, slot: u32, id: CallId, invite: Invite, now: Time) -> Result<Call, Refusal> {
        let Invite { txn, message, flow, account, from, silence } = invite;
        let refusal = |status, reason| Refusal { status, reason, header: None };
        let forwards = message.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS);
        let forwards = forwards.checked_sub(1).ok_or(refusal(483, ""))?;
        let offer = read_body(&message)?;
        if offer.as_ref().is_some_and(|offer| !offer.media().any(|media| media.is_relayable())) {
            return Err(refusal(488, ""));
        }
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
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let caller = Leg {
            n: 0,
            state: LegState::Incoming,
            tag,
            target: Target::Flow(flow),
            flow,
            lost: false,
            dialog: Some(Box::new(dialog)),
            ours: None,
            theirs: Some((txn, cseq)),
            bye: None,
            end: 0,
            nat: identity::is_behind_nat(&message, &flow),
            secure: message.request_uri().starts_with("sips:"),
            party: from.clone(),
        };
        desk.watch(txn, slot, 0);
        desk.enter(flow.connection, slot);
        desk.push(Output::AskPlan { call: id });
        let setup = Setup::new(txn, message, offer, forwards);
        let mut call = Call {
            id,
            account,
            slot,
            who: Who { from, to },
            times: Times { began: now, answered: None },
            state: CallState::Ringing,
            legs: vec![caller],
            next_leg: 1,
            ends: Vec::new(),
            setup: Some(Box::new(setup)),
            exchange: None,
            relayed: Vec::new(),
            talks_with: None,
            service: None,
            silence,
            timers: [None; DUES],
        };
        call.set_timer(desk, Due::Plan, now + PLAN);
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
                let failure = Some(Failure { status, phrase: reason, cause, reason: None });
                self.end(desk, &Ending { failure, ..Ending::new(cause, None) }, now);
                Ok(())
            }
            Step::Dial { targets, ring_for } => self.dial(desk, targets, ring_for, now),
            Step::Hangup { cause } => {
                self.end(desk, &Ending::new(cause, None), now);
                Ok(())
            }
        }
    }

    /// A provisional answer of a leg.
    pub(crate) fn handle_provisional(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) {
        let status = response.status();
        let leg = &mut self.legs[at];
        let n = leg.n;
        if !(180..190).contains(&status) {
            return;
        }
        let first = leg.state == LegState::Calling;
        if leg.state.apply(LegEvent::Provisional).is_err() || !leg.state.is_inviting() {
            return;
        }
        if first {
            desk.say(self.account, Fact::LegRang { leg: self.leg_id(n) });
        }
        let Some(setup) = &self.setup else { return };
        let body = Some(response.body_bytes()).filter(|body| !body.is_empty() && setup.offer.is_some());
        match setup.ear.decide(n, status, body.as_ref()) {
            Tell::Nothing => {}
            Tell::Status => self.tell(desk, status, None, now),
            Tell::Description => match self.carry_to_caller(desk, response) {
                Some((carried, offered, answered)) => {
                    self.connect(desk, (0, offered), (n, answered));
                    if let (Some(setup), Some(body)) = (&mut self.setup, body) {
                        setup.ear.hear(n, body, carried.clone());
                    }
                    self.tell(desk, status, Some(carried), now);
                }
                // What cannot be read is not heard; that it rings is still true.
                None => self.tell(desk, status, None, now),
            },
        }
    }

    /// A leg answered: it has the call, unless its words make no sense.
    pub(crate) fn handle_success(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) {
        let cseq = self.legs[at].ours.as_ref().map_or(0, |ours| ours.cseq);
        let from = response.header(HeaderName::From).unwrap_or_default();
        let call_id = response.call_id().unwrap_or_default();
        let Ok(dialog) = Dialog::uac(from, call_id, cseq, response) else {
            // Without a Contact there is nowhere to send an ACK to.
            return self.handle_failure(desk, at, Failure::of_answer(502), now);
        };
        self.legs[at].dialog = Some(Box::new(dialog));
        let effect =
            self.legs[at].state.apply(LegEvent::Success).expect("an INVITE without a final answer takes a 2xx");
        let ending = Ending::new(EndCause::AnsweredElsewhere, None);
        if self.legs[at].state != LegState::Confirmed {
            return self.perform(desk, at, effect, &ending);
        }
        if let Some((body, said, owed)) = self.carry_answer_to_caller(desk, at, response) {
            return self.win(desk, at, body, said, owed, now);
        }
        self.acknowledge(desk, at, None);
        self.rid(desk, at, &Ending::new(EndCause::MediaMismatch, None));
        self.lose(desk, at, Failure::of_answer(488), now);
    }

    /// A leg refused, or cannot be reached.
    pub(crate) fn handle_failure(&mut self, desk: &mut Desk, at: usize, failure: Failure, now: Time) {
        let wanted = self.legs[at].state.is_inviting();
        if self.legs[at].state.apply(LegEvent::Failure).is_ok() && wanted {
            self.lose(desk, at, failure, now);
        }
    }

    /// The caller gave up (RFC 3261 §9.2).
    pub(crate) fn handle_cancelled(&mut self, desk: &mut Desk, message: Option<&Message>, now: Time) {
        let reason = message.and_then(|message| message.header(HeaderName::Reason));
        let reason = reason.filter(|reason| reason.len() <= REASON_BYTES).map(str::to_owned);
        self.end(desk, &Ending { reason, ..Ending::new(EndCause::Cancelled, Some(0)) }, now);
    }

    /// It rang long enough.
    pub(crate) fn handle_ring_timeout(&mut self, desk: &mut Desk, now: Time) {
        let inviting: Vec<usize> = (0..self.legs.len()).filter(|&at| self.legs[at].state.is_inviting()).collect();
        let ending = Ending::new(EndCause::NoAnswer, None);
        for at in inviting {
            self.rid(desk, at, &ending);
            let n = self.legs[at].n;
            self.say_leg_ended(desk, n, EndCause::NoAnswer);
            if let Some(setup) = &mut self.setup {
                setup.ear.forget(n);
            }
        }
        match self.setup.as_mut().and_then(|setup| setup.fork.as_mut()) {
            Some(fork) => {
                fork.failed(Failure::no_answer());
                let _ = self.ring_next(desk, now);
            }
            None => self.end(desk, &Ending { failure: Some(Failure::no_answer()), ..ending }, now),
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
        self.end(desk, &Ending::new(EndCause::Overload, None), now);
    }

    /// The setup, for a step that needs it: the call has no answer, and (unless `ringing` may be) rings nobody.
    fn free_setup(&mut self, ringing: bool) -> Result<&mut Setup, StepError> {
        match self.setup.as_deref_mut() {
            None => Err(StepError::Answered),
            Some(setup) if setup.fork.is_some() && !ringing => Err(StepError::Dialling),
            Some(setup) => Ok(setup),
        }
    }

    /// From now on the call rings no longer than the limit, unless a ring list says otherwise.
    fn start_ringing(&mut self, desk: &mut Desk, now: Time) {
        if self.timers[Due::Ring as usize].is_none() {
            self.set_timer(desk, Due::Ring, now + desk.config.ring_limit);
        }
    }

    /// A provisional answer to the caller.
    fn tell(&mut self, desk: &mut Desk, status: u16, body: Option<Bytes>, now: Time) {
        let Some(setup) = &mut self.setup else { return };
        setup.ear.tell(status);
        let txn = setup.txn;
        let Some(setup) = &self.setup else { return };
        let builder = self.dialog_response(desk, 0, &setup.invite, status);
        let response = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Respond { txn, response, after_facts: false });
        self.set_timer(desk, Due::Refresh, now + REFRESH);
    }

    /// Early media of our own.
    fn progress(&mut self, desk: &mut Desk, sound: Option<Sound>, now: Time) -> Result<(), StepError> {
        self.free_setup(false)?.sound = sound;
        self.start_ringing(desk, now);
        let Some(offer) = self.setup.as_ref().and_then(|setup| setup.offer.clone()) else {
            // Without an offer there is nothing that a provisional answer could agree to.
            self.tell(desk, 183, None, now);
            return Ok(());
        };
        self.caller_end(desk, now)?;
        let Some(Carried { for_asker: Some(body), .. }) = self.own_answer(desk, Some(&offer)) else {
            return Err(self.no_common_codec(desk, now));
        };
        self.serve(desk, Said::of(offer.audio()), false);
        if let Some(setup) = &mut self.setup {
            setup.ear.hear(0, setup.invite.body_bytes(), body.clone());
        }
        self.tell(desk, 183, Some(body), now);
        Ok(())
    }

    /// The exchange answers, or changes what an answered caller hears.
    fn answer_here(&mut self, desk: &mut Desk, service: Service, now: Time) -> Result<(), StepError> {
        if self.setup.is_none() {
            if self.talks_with.is_some() {
                return Err(StepError::Answered);
            }
            self.service = Some(service);
            self.perform_service(desk);
            return Ok(());
        }
        self.free_setup(false)?;
        self.caller_end(desk, now)?;
        let offer = self.setup.as_mut().and_then(|setup| setup.offer.take());
        let Some(Carried { for_asker: Some(body), agreed, .. }) = self.own_answer(desk, offer.as_ref()) else {
            return Err(self.no_common_codec(desk, now));
        };
        self.service = Some(service);
        self.accept(desk, None, body, agreed, None, now);
        Ok(())
    }

    fn no_common_codec(&mut self, desk: &mut Desk, now: Time) -> StepError {
        self.end(desk, &Ending::new(EndCause::MediaMismatch, None), now);
        StepError::NoCommonCodec
    }

    fn no_port(&mut self, desk: &mut Desk, now: Time) -> StepError {
        self.end(desk, &Ending::new(EndCause::Overload, None), now);
        StepError::NoPort
    }

    fn dial(
        &mut self,
        desk: &mut Desk,
        targets: Vec<DialTarget>,
        ring_for: Duration,
        now: Time,
    ) -> Result<(), StepError> {
        let setup = self.free_setup(false)?;
        setup.fork = Some(Fork::new(targets, ring_for)?);
        setup.ear.forget(0);
        self.ring_next(desk, now)
    }

    /// Rings those who are next; when nobody is left, tells the caller.
    fn ring_next(&mut self, desk: &mut Desk, now: Time) -> Result<(), StepError> {
        let Some(fork) = self.setup.as_mut().and_then(|setup| setup.fork.as_mut()) else { return Ok(()) };
        let ring_for = fork.ring_for();
        let group = fork.next_group();
        if group.is_empty() {
            let failure = fork.outcome();
            let ending = Ending { failure: Some(failure.clone()), ..Ending::new(failure.cause, None) };
            self.end(desk, &ending, now);
            return Ok(());
        }
        for target in group {
            self.invite(desk, target, now)?;
        }
        self.set_timer(desk, Due::Ring, now + ring_for);
        Ok(())
    }

    /// A new leg: our INVITE, built by us alone.
    fn invite(&mut self, desk: &mut Desk, target: DialTarget, now: Time) -> Result<(), StepError> {
        let DialTarget { to, request_uri, target, route, to_uri, order: _, nat } = target;
        let flow = flow_of(&target);
        let n = self.next_leg;
        self.next_leg += 1;
        let end = self.callee_end(desk, n, Family::of(flow.local.ip()), now)?;
        let tag = desk.tag(self.slot, n);
        let txn = desk.client_txn(self.slot);
        let secure = request_uri.starts_with("sips:");
        let mut builder = MessageBuilder::request("INVITE", &request_uri);
        for hop in &route {
            builder.push_header(HeaderName::Route, hop);
        }
        let forwards = self.setup.as_ref().map_or(0, |setup| setup.forwards);
        let host = identity::from_host(desk, &to_uri, to.user.is_some(), &flow);
        builder.push_header_fmt(HeaderName::MaxForwards, format_args!("{forwards}"));
        builder.push_header(HeaderName::From, &identity::from_value(&self.who.from, &host, tag));
        builder.push_header_fmt(HeaderName::To, format_args!("<{to_uri}>"));
        builder.push_header(HeaderName::CallId, &identity::call_id_value(self.id, n));
        builder.push_header(HeaderName::CSeq, "1 INVITE");
        builder.push_header(HeaderName::Contact, &identity::contact_value(desk, &flow, tag, secure));
        builder.push_header(HeaderName::Allow, &desk.config.allow);
        builder.push_header(HeaderName::UserAgent, &desk.config.server);
        self.legs.push(Leg {
            n,
            state: LegState::Calling,
            tag,
            target,
            flow,
            lost: false,
            dialog: None,
            ours: Some(OurInvite { txn, cseq: 1, ack: Acking::Unneeded }),
            theirs: None,
            bye: None,
            end,
            nat,
            secure,
            party: to.clone(),
        });
        desk.enter(flow.connection, self.slot);
        desk.say(self.account, Fact::LegOpened { leg: self.leg_id(n), to });
        let offer = self.setup.as_mut().and_then(|setup| setup.offer.take());
        let at = self.legs.len() - 1;
        let body = offer.as_ref().and_then(|offer| self.describe(desk, at, |local, _| carry(offer, local)).ok());
        if let Some(setup) = &mut self.setup {
            setup.offer = offer;
        }
        let request = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Request { txn, request, target });
        Ok(())
    }

    /// The caller's media end, made when first needed.
    fn caller_end(&mut self, desk: &mut Desk, now: Time) -> Result<(), StepError> {
        if !self.ends.is_empty() {
            return Ok(());
        }
        let family = Family::of(self.legs[0].flow.local.ip());
        let ports = desk.pool.take(family, None, now);
        desk.stock(family, now);
        let Some(ports) = ports else { return Err(self.no_port(desk, now)) };
        self.ends.push(End::new(self.leg_id(0), ports, desk));
        Ok(())
    }

    /// The media end of those who are rung in one family, on the caller's worker.
    fn callee_end(&mut self, desk: &mut Desk, n: u16, family: Family, now: Time) -> Result<usize, StepError> {
        if let Some(at) = (1..self.ends.len()).find(|&at| self.ends[at].ports.family == family) {
            return Ok(at);
        }
        let ports = if let Some(caller) = self.ends.first() {
            desk.pool.take(family, Some(caller.ports.worker), now)
        } else {
            let callers = Family::of(self.legs[0].flow.local.ip());
            let pairs = desk.pool.take_call(callers, family, now);
            desk.stock(callers, now);
            pairs.map(|(caller, callee)| {
                self.ends.push(End::new(self.leg_id(0), caller, desk));
                callee
            })
        };
        desk.stock(family, now);
        let Some(ports) = ports else { return Err(self.no_port(desk, now)) };
        self.ends.push(End::new(self.leg_id(n), ports, desk));
        Ok(self.ends.len() - 1)
    }

    /// What a leg's answer says, as the caller gets it, and what was agreed.
    fn carry_to_caller(&mut self, desk: &Desk, response: &Message) -> Option<(Bytes, Said, Said)> {
        let answer = read_body(response).ok()??;
        let offer = self.setup.as_mut().and_then(|setup| setup.offer.take())?;
        let carried = self.answer_for(desk, 0, &answer, &offer);
        let (offered, answered) = agreement(&offer, &answer);
        if let Some(setup) = &mut self.setup {
            setup.offer = Some(offer);
        }
        Some((carried?, offered, answered))
    }

    /// What a leg's 2xx says, as the caller gets it: the body, what was agreed, or the offer whose answer is owed.
    fn carry_answer_to_caller(&mut self, desk: &mut Desk, at: usize, response: &Message) -> Option<Winning> {
        let n = self.legs[at].n;
        let setup = self.setup.as_ref()?;
        if setup.offer.is_none() {
            let offer = read_body(response).ok()??;
            let body = self.describe(desk, 0, |local, _| carry(&offer, local)).ok()?;
            return Some((body, None, Some(offer)));
        }
        let heard = setup.ear.carried(n, &response.body_bytes());
        if let Some(body) = heard {
            return Some((body, None, None));
        }
        let (body, offered, answered) = self.carry_to_caller(desk, response)?;
        Some((body, Some(Agreed::Legs((0, offered), (n, answered))), None))
    }

    /// The first to answer has the call.
    fn win(
        &mut self,
        desk: &mut Desk,
        at: usize,
        body: Bytes,
        agreed: Option<Agreed>,
        owed: Option<Description>,
        now: Time,
    ) {
        let n = self.legs[at].n;
        let ending = Ending { reason: Some(ELSEWHERE.to_owned()), ..Ending::new(EndCause::AnsweredElsewhere, None) };
        for loser in 0..self.legs.len() {
            if self.legs[loser].state.is_inviting() {
                self.rid(desk, loser, &ending);
                self.say_leg_ended(desk, self.legs[loser].n, EndCause::AnsweredElsewhere);
            }
        }
        if owed.is_some() {
            if let Some(ours) = &mut self.legs[at].ours {
                ours.ack = Acking::Owed;
            }
        } else {
            self.acknowledge(desk, at, None);
        }
        self.accept(desk, Some(n), body, agreed, owed, now);
    }

    /// 200 to the caller: talk begins.
    fn accept(
        &mut self,
        desk: &mut Desk,
        other: Option<u16>,
        body: Bytes,
        agreed: Option<Agreed>,
        owed: Option<Description>,
        now: Time,
    ) {
        let Some(setup) = self.setup.take() else { return };
        self.state = CallState::Answered;
        self.times.answered = Some(now);
        self.talks_with = other;
        self.clear_timers(desk);
        self.set_timer(desk, Due::Limit, now + desk.config.call_limit);
        let winner = other.and_then(|n| self.place(n)).map(|at| self.legs[at].party.clone());
        let who = winner.unwrap_or_else(|| self.who.to.clone());
        let by = other.map(|n| self.leg_id(n));
        desk.say(self.account, Fact::CallAnswered { call: self.id, by, who });
        let event =
            if agreed.is_none() && (owed.is_some() || other.is_none()) { Move::AnswerWithOffer } else { Move::Answer };
        let heard = agreed.is_none() && owed.is_none();
        let request = Some(setup.invite);
        self.exchange = Some(Box::new(Exchange { stage: Stage::Idle, asker: 0, other, offer: owed, request }));
        self.advance(desk, event, Carried { for_asker: Some(body), agreed, ..Carried::default() }, now);
        if heard {
            self.count_silence(desk);
        }
    }

    /// Media was agreed on before the answer: from here on its absence counts.
    fn count_silence(&mut self, desk: &mut Desk) {
        for end in &mut self.ends {
            if let Some(setting) = end.setting() {
                let silence = self.silence.filter(|_| setting.direction == media::sdp::Direction::SendRecv);
                end.set(crate::end::Setting { silence, ..setting }, desk);
            }
        }
    }

    /// A leg is out: when it was the last that rang, the next ones ring.
    fn lose(&mut self, desk: &mut Desk, at: usize, failure: Failure, now: Time) {
        let n = self.legs[at].n;
        self.say_leg_ended(desk, n, failure.cause);
        let ringing = self.legs.iter().any(|leg| leg.state.is_inviting());
        let Some(setup) = &mut self.setup else { return };
        setup.ear.forget(n);
        if let Some(fork) = &mut setup.fork {
            fork.failed(failure);
        }
        if !ringing {
            let _ = self.ring_next(desk, now);
        }
    }
}

/// What a 2xx means to the caller: the body, what was agreed, the offer that waits for an answer.
type Winning = (Bytes, Option<Agreed>, Option<Description>);

/// The flow that a target speaks through, as far as it is known before it answers.
fn flow_of(target: &Target) -> Flow {
    match *target {
        Target::Flow(flow) => flow,
        Target::Dial { transport, listener, local, remote } => {
            Flow { transport, listener, connection: ConnectionId::NONE, local, remote }
        }
    }
}

/// How long a call waits to be told what to do.
const PLAN: Duration = Duration::from_secs(5);

/// How often a provisional answer is repeated (RFC 3261 §13.3.1.1).
const REFRESH: Duration = Duration::from_mins(1);

/// What a request without Max-Forwards counts as (§16.6).
const MAX_FORWARDS: u8 = 70;

/// The longest `Reason` that is carried across.
const REASON_BYTES: usize = 200;
