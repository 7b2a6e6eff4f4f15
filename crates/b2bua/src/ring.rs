//! Ring lists: who is rung, what provisional answers mean to the caller, and who wins.

use crate::body::read_body;
use crate::bridge::{Agreed, agreement};
use crate::call::{Call, Ending, SDP};
use crate::cause::{ELSEWHERE, Failure, reason_of};
use crate::desk::{Desk, Due};
use crate::early::Tell;
use crate::end::{End, Said};
use crate::event::Output;
use crate::fork::Fork;
use crate::identity;
use crate::leg::{Acking, Leg, LegEvent, LegState, OurInvite, Takes};
use crate::more::{Dialled, More};
use crate::prack::Hears;
use crate::refresh::{push_expires, push_min};
use crate::secure::{Saying, offered};
use crate::session::RAISED;
use crate::single::Offering;
use crate::step::{DialTarget, StepError};
use bytes::Bytes;
use media::command::Family;
use media::offer::carry;
use media::renew::meet;
use media::sdp::Description;
use sip::advertise::{SUPPORTED_IN_CALLS, SUPPORTED_LATE};
use sip::{HeaderName, Message, MessageBuilder, Outgoing, Refresher, Target};
use std::time::Duration;
use words::{ConnectionId, EndCause, Fact, Flow, Time};

impl Call {
    /// A provisional answer of a leg.
    pub(crate) fn handle_provisional(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) {
        let status = response.status();
        let leg = &mut self.legs[at];
        let n = leg.n;
        let hears = leg.hear(response);
        match hears {
            Hears::Again => return,
            Hears::Next | Hears::Aside => {
                leg.takes = Takes::of(response);
                self.acknowledge_early(desk, at, response, hears, now);
            }
            Hears::Plain => {}
        }
        let leg = &mut self.legs[at];
        // What nobody knows is progress (RFC 3261 §8.1.3.2). A 199 tells a proxy's caller that one branch is gone (RFC 6228).
        let status = match status {
            ..=100 | 199 => return,
            180..=182 => status,
            _ => 183,
        };
        let first = leg.state == LegState::Calling;
        if leg.state.apply(LegEvent::Provisional).is_err() || !leg.state.is_inviting() {
            return;
        }
        if desk.observed
            && let (Some(setup), Some(tag)) = (&mut self.setup, response.to_tag())
        {
            setup.keep_tag(n, tag);
        }
        if first {
            desk.say(self.account, Fact::LegRang { leg: self.leg_id(n) });
        }
        let Some(setup) = &self.setup else { return };
        // Who stays talks with who refers, and hears nobody else before an answer.
        let heard = setup.offer.is_some() && setup.asked.is_some() && hears != Hears::Aside;
        let body = Some(response.body_bytes()).filter(|body| !body.is_empty() && heard);
        match (setup.ear.decide(n, status, body.as_ref()), body) {
            (Tell::Nothing, _) => {}
            (Tell::Status | Tell::Description, None) | (Tell::Status, Some(_)) => self.tell(desk, status, None, now),
            (Tell::Description, Some(body)) => {
                let carried = self.tell_words(desk, n, body, response, now);
                self.tell(desk, status, carried, now);
            }
        }
    }

    /// A leg is heard before the answer: what the caller gets for its words, if it gets them in a provisional answer.
    fn tell_words(&mut self, desk: &mut Desk, n: u16, words: Bytes, response: &Message, now: Time) -> Option<Bytes> {
        // What cannot be read is not heard; that it rings is still true.
        let at = self.place(n)?;
        let answer = read_body(response, self.legs[at].srtp).ok()??;
        if !self.fits(at, &answer, true) {
            return None;
        }
        self.legs[at].keep_early(response);
        if self.caller_has_description() {
            self.turn_early(desk, n, words, answer, now);
            return None;
        }
        let (carried, offered, answered) = self.carry_to_caller(desk, &answer)?;
        self.connect(desk, (0, offered), (n, answered));
        if let Some(setup) = &mut self.setup {
            setup.ear.hear(n, words, carried.clone());
        }
        if let Some(told) = self.told_mut() {
            told.agreed_with = Some((n, answer.print()));
        }
        Some(carried)
    }

    /// A leg answered: it has the call, unless its words make no sense.
    pub(crate) fn handle_success(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) {
        let leg = &mut self.legs[at];
        if !leg.confirm(response) {
            // Without a Contact there is nowhere to send an ACK to.
            return self.handle_failure(desk, at, Failure::of_answer(502), now);
        }
        leg.takes = Takes::of(response);
        leg.learn_who(response);
        let effect =
            self.legs[at].state.apply(LegEvent::Success).expect("an INVITE without a final answer takes a 2xx");
        let ending = Ending::new(EndCause::AnsweredElsewhere, None);
        if self.legs[at].state != LegState::Confirmed {
            self.acknowledge_unwanted(desk, at, response);
            return self.perform(desk, at, effect, &ending);
        }
        if self.is_seeking() {
            let settled = self.legs[at].settled().cloned();
            let min_s = self.legs[at].forget_dialled();
            self.learn_session(desk, at, response, min_s, now);
            return self.found(desk, at, response, settled, now);
        }
        if let Some(winning) = self.carry_answer_to_caller(desk, at, response) {
            let min_s = self.legs[at].forget_dialled();
            self.learn_session(desk, at, response, min_s, now);
            return self.win(desk, at, winning, now);
        }
        let failure = self.mismatch(at, response);
        self.acknowledge_unwanted(desk, at, response);
        self.rid(desk, at, &Ending::new(EndCause::MediaMismatch, None));
        self.lose(desk, at, failure, now);
    }

    /// A leg refused, or cannot be reached.
    pub(crate) fn handle_failure(&mut self, desk: &mut Desk, at: usize, failure: Failure, now: Time) {
        let wanted = self.legs[at].state.is_inviting();
        if self.legs[at].state.apply(LegEvent::Failure).is_ok() && wanted {
            self.lose(desk, at, failure, now);
        }
    }

    /// The way to a leg failed before it said anything: it is called by its other flow, if it has one (RFC 5626 §5.3).
    /// Whether it is.
    pub(crate) fn fail_over(&mut self, desk: &mut Desk, at: usize, status: u16, now: Time) -> bool {
        let leg = &mut self.legs[at];
        let rings = self.setup.as_ref().is_some_and(|setup| setup.fork.is_some());
        if leg.state != LegState::Calling || !rings {
            return false;
        }
        let dialled = leg.more.as_mut().and_then(|more| more.dialled.as_mut());
        let Some(other) = dialled.and_then(|dialled| dialled.instead.take()) else { return false };
        let (n, cause) = (leg.n, Failure::unreachable(status).cause);
        if leg.state.apply(LegEvent::Failure).is_err() {
            return false;
        }
        self.say_leg_ended(desk, n, cause);
        // Where there is no port the call ends by itself.
        let _ = self.invite(desk, *other, now);
        true
    }

    /// The caller gave up (RFC 3261 §9.2).
    pub(crate) fn handle_cancelled(&mut self, desk: &mut Desk, message: &Message, now: Time) {
        let reason = reason_of(message);
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
            self.drop_early_change(desk, n, now);
            if let Some(setup) = &mut self.setup {
                setup.ear.forget(n);
            }
        }
        match self.setup.as_mut().and_then(|setup| setup.fork.as_mut()) {
            Some(fork) => {
                fork.failed(Failure::no_answer());
                let _ = self.ring_next(desk, now);
            }
            None => self.nobody(desk, &Ending { failure: Some(Failure::no_answer()), ..ending }, now),
        }
    }

    pub(crate) fn dial(
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
    pub(crate) fn ring_next(&mut self, desk: &mut Desk, now: Time) -> Result<(), StepError> {
        let Some(fork) = self.setup.as_mut().and_then(|setup| setup.fork.as_mut()) else { return Ok(()) };
        let ring_for = fork.ring_for();
        let group = fork.next_group();
        if group.is_empty() {
            let failure = fork.outcome();
            let ending = Ending { failure: Some(failure.clone()), ..Ending::new(failure.cause, None) };
            self.nobody(desk, &ending, now);
            return Ok(());
        }
        let alone = group.len() == 1;
        if let Some(setup) = &mut self.setup {
            setup.alone = alone;
        }
        for target in group {
            self.invite(desk, target, now)?;
        }
        self.set_timer(desk, Due::Ring, now + ring_for);
        Ok(())
    }

    /// A new leg.
    pub(crate) fn invite(&mut self, desk: &mut Desk, target: DialTarget, now: Time) -> Result<(), StepError> {
        let DialTarget {
            to,
            request_uri,
            target,
            route,
            to_uri,
            order: _,
            nat,
            ice,
            diverted,
            trust,
            srtp,
            servers,
            instead,
        } = target;
        let flow = flow_of(&target);
        let n = self.next_leg;
        self.next_leg += 1;
        let family = Family::of(flow.local.ip());
        let told = Offering::new(desk, offered(srtp, flow.transport.is_secure()), &to, nat, &flow).with_ice(ice);
        let end = if self.is_seeking() {
            self.far_end(desk, n, family, told, now)
        } else {
            self.callee_end(desk, n, family, told, now)
        };
        let Some(end) = end else { return Err(self.no_port(desk, now)) };
        let session_s = (desk.config.session.expires_s, desk.config.session.min_s);
        let secure = identity::is_sips(&request_uri);
        let patience = servers.as_ref().map(|servers| now + servers.patience());
        let dialled =
            Dialled { request_uri, to_uri, route, diverted, session_s, raised: 0, servers, patience, instead };
        let tag = desk.tag(self.slot, n);
        self.legs.push(Leg {
            more: Some(Box::new(More { dialled: Some(dialled), ..More::default() })),
            end,
            nat,
            ice,
            secure,
            trust,
            srtp,
            ..Leg::new(n, LegState::Calling, tag, target, flow, to.clone())
        });
        desk.enter(flow.connection, self.slot);
        desk.say(self.account, Fact::LegOpened { leg: self.leg_id(n), to });
        self.launch(desk, self.legs.len() - 1);
        if patience.is_some() {
            self.arm_patience(desk);
        }
        Ok(())
    }

    /// Our INVITE to a leg, built by us alone.
    fn launch(&mut self, desk: &mut Desk, at: usize) {
        let Some(dialled) = self.legs[at].more().dialled.take() else { return };
        let Dialled { request_uri, to_uri, route, session_s, .. } = &dialled;
        let offer = self.setup.as_mut().and_then(|setup| setup.offer.take());
        let body = offer
            .as_ref()
            .and_then(|offer| self.describe(desk, at, Saying::Offer, |local, _| carry(offer, local)).ok());
        if let Some(setup) = &mut self.setup {
            setup.offer = offer;
        }
        // An early offer is answered by the caller, and only by one that can (RFC 3262 §5).
        let open = self.told().is_some_and(|told| !told.has_description());
        let early = body.is_some() || open && self.setup.as_ref().is_some_and(|setup| setup.alone);
        let txn = desk.client_txn(self.slot);
        let leg = &self.legs[at];
        let host = identity::from_host(desk, to_uri, leg.party.user.is_some(), &leg.flow);
        let from = identity::from_value(self.calling(), host, leg.tag);
        let story = self.story(at, host, &dialled);
        let leg = &mut self.legs[at];
        let cseq = leg.ours.as_ref().map_or(1, |ours| ours.cseq + 1);
        leg.ours = Some(OurInvite { txn, cseq, offers: body.is_some(), ack: Acking::Unneeded });
        let mut builder = MessageBuilder::request("INVITE", request_uri);
        for hop in route {
            builder.push_header(HeaderName::Route, hop);
        }
        let forwards = self.setup.as_ref().map_or(0, |setup| setup.forwards);
        builder = builder.header_number(HeaderName::MaxForwards, u32::from(forwards));
        builder.push_header(HeaderName::From, &from);
        builder.push_header_fmt(HeaderName::To, format_args!("<{to_uri}>"));
        builder.push_header(HeaderName::CallId, &identity::call_id_value(self.id, leg.n));
        builder = builder.cseq(cseq, "INVITE");
        builder.push_header(HeaderName::Contact, &identity::contact_value(desk, &leg.flow, leg.tag, leg.secure));
        builder.push_header(HeaderName::Allow, &desk.config.allow);
        builder.push_header(HeaderName::Supported, if early { SUPPORTED_IN_CALLS } else { SUPPORTED_LATE });
        if session_s.0 > 0 {
            // Whoever may choose refreshes: that is we.
            push_expires(&mut builder, session_s.0.max(session_s.1), Refresher::Uac);
            push_min(&mut builder, session_s.1);
        }
        builder.push_header(HeaderName::UserAgent, &desk.config.server);
        for (name, value) in &story {
            builder.push_header(*name, value);
        }
        leg.more().dialled = Some(dialled);
        let request = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Request { txn, request, target: leg.target });
    }

    /// 422 to our INVITE: asks again for a session as long as the callee wants it (RFC 4028 §7.3). Whether it does.
    pub(crate) fn call_again(&mut self, desk: &mut Desk, at: usize, response: &Message) -> bool {
        let leg = &mut self.legs[at];
        if !leg.state.is_inviting() {
            return false;
        }
        let Some(dialled) = &mut leg.more().dialled else { return false };
        let Some(min_s) = response.min_se().filter(|min_s| *min_s > dialled.session_s.1) else { return false };
        if dialled.raised >= RAISED {
            return false;
        }
        dialled.raised += 1;
        dialled.session_s.1 = min_s;
        self.launch(desk, at);
        true
    }

    /// A media end of that family, from a place on, that nobody has media at whom it does not suit: it is offered anew.
    pub(crate) fn shared_end(&mut self, from: usize, family: Family, unsuited: impl Fn(&Leg) -> bool) -> Option<usize> {
        let is_taken = |at| self.legs.iter().any(|leg| leg.end == at && unsuited(leg) && self.has_media(leg));
        let at = (from..self.ends.len()).find(|&at| self.ends[at].ports.family == family && !is_taken(at))?;
        self.forget_offered(at);
        Some(at)
    }

    /// The media end of those who are rung in one family, on the caller's worker.
    pub(crate) fn callee_end(
        &mut self,
        desk: &mut Desk,
        n: u16,
        family: Family,
        told: Offering,
        now: Time,
    ) -> Option<usize> {
        // Those who are offered audio with keys and those who are not are told different things of their end.
        let single = desk.config.single_port.is_some();
        let differs = |leg: &Leg| !told.is_for(leg, single);
        if let Some(at) = self.shared_end(1, family, differs) {
            return Some(at);
        }
        let ports = if let Some(caller) = self.ends.first() {
            desk.pool.take(family, Some(caller.ports.worker), now)
        } else {
            let callers = self.callers_family(desk);
            let preferred = self.sharing_worker(desk, Some(told));
            let pairs = desk.pool.take_call(callers, family, preferred, now);
            desk.stock(callers, now);
            pairs.map(|(caller, callee)| {
                self.ends.push(End::new(self.leg_id(0), caller, desk));
                callee
            })
        };
        desk.stock(family, now);
        self.ends.push(End::new(self.leg_id(n), ports?, desk));
        Some(self.ends.len() - 1)
    }

    /// What a leg's answer says, as the caller gets it, and what was agreed.
    fn carry_to_caller(&mut self, desk: &mut Desk, answer: &Description) -> Option<(Bytes, Said, Said)> {
        let offer = self.setup.as_mut().and_then(|setup| setup.offer.take())?;
        let carried = self.answer_for(desk, 0, answer, &offer);
        let (offered, answered) = agreement(&offer, answer);
        if let Some(setup) = &mut self.setup {
            setup.offer = Some(offer);
        }
        Some((carried?, offered, answered))
    }

    /// What a leg's 2xx says, as the caller gets it: the body, what was agreed, or the offer whose answer is owed.
    fn carry_answer_to_caller(&mut self, desk: &mut Desk, at: usize, response: &Message) -> Option<Winning> {
        let n = self.legs[at].n;
        // What it said reliably is its word: its 2xx says nothing new (RFC 3262 §5).
        let settled = self.legs[at].settled().cloned();
        let said = match &settled {
            Some(words) => Description::parse(words).ok(),
            None => read_body(response, self.legs[at].srtp).ok()?,
        };
        // A leg that was offered nothing offers in its 2xx, and wants an answer.
        let late = settled.is_none() && self.legs[at].ours.as_ref().is_some_and(|ours| !ours.offers);
        if said.as_ref().is_some_and(|said| !self.fits(at, said, !late)) {
            return None;
        }
        if let Some(told) = self.told().filter(|told| told.has_description()) {
            let with = told.agreed_with.as_ref().map(|(with, _)| *with);
            return match said {
                Some(words) => {
                    let acks = if late { Some(self.answer_late(desk, at, &words)?) } else { None };
                    Some(Winning { acks, agreed: self.turn_to(n, words), ..Winning::default() })
                }
                None => (with == Some(n)).then(Winning::default),
            };
        }
        let setup = self.setup.as_ref()?;
        if setup.offer.is_none() {
            let offer = said?;
            let body = self.describe(desk, 0, Saying::Offer, |local, _| carry(&offer, local)).ok()?;
            return Some(Winning { body: Some(body), owed: Some(offer), ..Winning::default() });
        }
        let heard = setup.ear.carried(n, &settled.unwrap_or_else(|| response.body_bytes()));
        if let Some(body) = heard {
            return Some(Winning { body: Some(body), ..Winning::default() });
        }
        let (body, offered, answered) = self.carry_to_caller(desk, &said?)?;
        let agreed = Some(Agreed::Legs((0, offered), (n, answered)));
        Some(Winning { body: Some(body), agreed, ..Winning::default() })
    }

    /// The answer to an offer in a 2xx, out of what the caller said already; `None` when both have nothing in common.
    pub(crate) fn answer_late(&mut self, desk: &mut Desk, at: usize, offer: &Description) -> Option<Bytes> {
        let callers = self.setup.as_mut().and_then(|setup| setup.offer.take())?;
        let answer = self.describe(desk, at, Saying::Answer(offer), |local, _| meet(offer, &callers, local).ok_or(()));
        if let Some(setup) = &mut self.setup {
            setup.offer = Some(callers);
        }
        answer.ok()
    }

    /// The first to answer has the call.
    fn win(&mut self, desk: &mut Desk, at: usize, winning: Winning, now: Time) {
        let Winning { body, agreed, owed, acks } = winning;
        let n = self.legs[at].n;
        self.dismiss_ringing(desk, &elsewhere(), now);
        if owed.is_some() {
            if let Some(ours) = &mut self.legs[at].ours {
                ours.ack = Acking::Owed;
            }
        } else {
            self.acknowledge(desk, at, acks);
        }
        self.accept(desk, Some(n), body, agreed, owed, now);
    }

    /// Nobody else is wanted any more.
    pub(crate) fn dismiss_ringing(&mut self, desk: &mut Desk, ending: &Ending, now: Time) {
        for at in 0..self.legs.len() {
            if self.legs[at].state.is_inviting() {
                let n = self.legs[at].n;
                self.rid(desk, at, ending);
                self.say_leg_ended(desk, n, ending.cause);
                self.drop_early_change(desk, n, now);
            }
        }
    }

    /// A leg is out: when it was the last that rang, the next ones ring.
    pub(crate) fn lose(&mut self, desk: &mut Desk, at: usize, failure: Failure, now: Time) {
        let n = self.legs[at].n;
        self.say_leg_ended(desk, n, failure.cause);
        self.drop_early_change(desk, n, now);
        let Some(setup) = &mut self.setup else { return };
        setup.ear.forget(n);
        if let Some(fork) = setup.fork.as_mut().filter(|fork| fork.pending(n).is_none()) {
            fork.failed(failure);
        }
        self.ring_on(desk, now);
    }

    /// Rings the next ones when nobody rings or is asked for any more.
    pub(crate) fn ring_on(&mut self, desk: &mut Desk, now: Time) {
        let fork = self.setup.as_ref().and_then(|setup| setup.fork.as_ref());
        let pending = fork.is_some_and(Fork::is_pending);
        if !pending && !self.legs.iter().any(|leg| leg.state.is_inviting()) {
            let _ = self.ring_next(desk, now);
        }
    }
}

/// Somebody else answered.
pub(crate) fn elsewhere() -> Ending {
    Ending { reason: Some(ELSEWHERE.to_owned()), ..Ending::new(EndCause::AnsweredElsewhere, None) }
}

/// What a leg's 2xx means.
#[derive(Debug, Default)]
struct Winning {
    /// The body for the caller.
    body: Option<Bytes>,
    /// What was agreed.
    agreed: Option<Agreed>,
    /// The offer that waits for the caller's answer.
    owed: Option<Description>,
    /// The answer that the ACK to the leg brings.
    acks: Option<Bytes>,
}

/// The flow that a target speaks through, as far as it is known before it answers.
fn flow_of(target: &Target) -> Flow {
    match *target {
        Target::Flow(flow) => flow,
        Target::Dial { transport, listener, local, remote, peer: _ } => {
            Flow { transport, listener, connection: ConnectionId::NONE, local, remote }
        }
    }
}
