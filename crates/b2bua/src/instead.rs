//! An INVITE that comes in another's place (RFC 3891): of who talks, or of who is rung, which is a pickup (RFC 5359
//! §2.16).

use crate::body::read_body;
use crate::bridge::{Agreed, CODECS, Carried};
use crate::call::{Call, SDP};
use crate::calls::Calls;
use crate::claim::Claimant;
use crate::desk::Desk;
use crate::end::Said;
use crate::event::{Invite, Output, Refusal};
use crate::exchange::{Exchange, Move};
use crate::family;
use crate::leg::{Leg, LegEvent};
use crate::newcomer::NO_MORE;
use crate::refuse::NO_DIALOG;
use crate::ring::elsewhere;
use crate::secure::Saying;
use crate::session;
use crate::setup::check_accept;
use crate::single::Offering;
use crate::transfer::TRANSFERS;
use crate::view::CallState;
use bytes::Bytes;
use media::command::Family;
use media::offer::{carry, offer_audio};
use media::renew::{common, meet};
use media::sdp::Description;
use sip::{Dialog, Outgoing, Replaces};
use words::{AccountId, CallId, EndCause, Fact, LegId, Time, UserId};

impl Calls {
    /// Takes in an INVITE that is to take the place of the dialog it names, which must be of its account. Nothing is
    /// asked: the call that it comes into is there already.
    ///
    /// # Errors
    /// [`Refusal`]: the answer to the INVITE, as RFC 3891 §3 has it.
    pub fn replace(&mut self, invite: Invite, replaces: &Replaces, now: Time) -> Result<CallId, Refusal> {
        let named = self.named(replaces, invite.account, Claimant { party: &invite.from, flow: &invite.flow });
        let (slot, n) = named.map_err(|(status, reason)| Refusal::new(status, reason))?;
        self.enter(slot, n, invite, now)
    }

    /// Takes in an INVITE from somebody who answers the call that rings elsewhere.
    ///
    /// # Errors
    /// [`Refusal`]: 481 when it rings no more.
    pub fn pick_up(&mut self, invite: Invite, ringing: LegId, now: Time) -> Result<CallId, Refusal> {
        let gone = Refusal::new(481, NO_MORE);
        let &slot = self.by_id.get(&ringing.call).ok_or(gone.clone())?;
        self.enter(slot, ringing.n, invite, now)
    }

    /// The leg that rings at a user, of the call that waits longest. Looks at every call: for a person who asks, not
    /// for what every call does.
    pub fn ringing_at(&self, account: AccountId, user: UserId) -> Option<LegId> {
        let of_account = self.slots.iter().filter(|(_, call)| call.account == account);
        let rings = |leg: &&Leg| leg.state.is_inviting() && leg.party.user == Some(user);
        let ringing =
            of_account.filter_map(|(_, call)| Some((call.times.began, call.id, call.legs.iter().find(rings)?.n)));
        ringing.min().map(|(_, call, n)| LegId { call, n })
    }

    fn enter(&mut self, slot: u32, n: u16, invite: Invite, now: Time) -> Result<CallId, Refusal> {
        let gone = Refusal::new(481, NO_DIALOG);
        let entered = self.with(slot, |call, desk| call.enter(desk, n, invite, now).map(|()| call.id));
        entered.unwrap_or(Err(gone))
    }
}

impl Call {
    /// Somebody comes in the place of a leg.
    pub(crate) fn enter(&mut self, desk: &mut Desk, n: u16, invite: Invite, now: Time) -> Result<(), Refusal> {
        let at = self.place(n).ok_or(Refusal::new(481, NO_DIALOG))?;
        let rings = self.legs[at].state.is_inviting();
        if self.account != invite.account || !(rings || self.state == CallState::Answered && self.is_party(n)) {
            // A caller's own early dialog is none that others may take (RFC 3891 §3).
            return Err(Refusal::new(481, NO_DIALOG));
        }
        if self.transfers >= TRANSFERS {
            return Err(Refusal::new(482, "Loop Detected: the call was transferred too often"));
        }
        session::check(&invite.message, desk.config.session)?;
        check_accept(&invite.message)?;
        let offer = read_body(&invite.message, invite.srtp)?;
        family::check(&invite.flow, offer.as_ref())?;
        match (self.state, rings) {
            (CallState::Ringing, _) => match (self.setup.as_ref().and_then(|setup| setup.offer.clone()), offer) {
                // Both described what they want, and only the caller's answer waits.
                (Some(asked), Some(offer)) => self.answer_elsewhere(desk, &invite, &asked, offer, now),
                (_, _) if self.must_wait() => self.let_wait(desk, n, invite, now),
                (None, Some(offer)) => self.offer_elsewhere(desk, invite, offer, now),
                (asked, None) => self.ask_elsewhere(desk, invite, asked, now),
            },
            (CallState::Answered, _) if !self.is_at_rest(n) => self.let_wait(desk, n, invite, now),
            (CallState::Answered | CallState::Ended, true) => {
                let by = self.transfer.as_ref().map(|transfer| (transfer.wish.n, transfer.near));
                let (by, near) = by.ok_or(Refusal::new(481, NO_DIALOG))?;
                self.come_in(desk, by, near, invite, offer, now)
            }
            (CallState::Answered | CallState::Ended, false) => {
                let other = self.other_of(n).filter(|_| self.transfer.is_none());
                self.come_in(desk, n, other.ok_or(Refusal::new(481, NO_DIALOG))?, invite, offer, now)
            }
        }
    }

    /// The leg of a newcomer; its end is at `end`.
    fn newcomer(&mut self, desk: &mut Desk, invite: &Invite, end: usize) -> Result<u16, Refusal> {
        let n = self.next_leg;
        let tag = desk.tag(self.slot, n);
        let dialog = Dialog::uas(&invite.message, tag.text().as_str());
        let bad = Refusal::new(400, "Bad Contact or Record-Route");
        let dialog = dialog.map_err(|_| bad)?;
        self.next_leg += 1;
        let Invite { txn, message, flow, back, from, trust, srtp, .. } = invite;
        let mut leg = Leg::incoming(n, tag, *txn, message, *flow, dialog, from.clone());
        leg.comes_back_by(*back);
        self.legs.push(Leg { end, trust: *trust, srtp: *srtp, ..leg });
        desk.watch(*txn, self.slot, n);
        desk.enter(flow.connection, self.slot);
        desk.say(self.account, Fact::LegOpened { leg: self.leg_id(n), to: from.clone() });
        Ok(n)
    }

    /// Whoever comes answers the caller: both described what they want, and each gets the other's words as an answer.
    fn answer_elsewhere(
        &mut self,
        desk: &mut Desk,
        invite: &Invite,
        asked: &Description,
        offer: Description,
        now: Time,
    ) -> Result<(), Refusal> {
        if common(asked, &offer).is_none() {
            return Err(Refusal::of_offer(None));
        }
        let family = Family::of(invite.flow.local.ip());
        let end = self.callee_end(desk, self.next_leg, family, Offering::plain(), now).ok_or(Refusal::no_port())?;
        let n = self.newcomer(desk, invite, end)?;
        let (Some(caller), Some(at)) = (self.place(self.caller), self.place(n)) else {
            return Err(Refusal::new(481, NO_MORE));
        };
        let for_newcomer =
            self.describe(desk, at, Saying::Answer(&offer), |local, _| meet(&offer, asked, local).ok_or(()));
        let Ok(for_newcomer) = for_newcomer else {
            self.forget_newcomer(desk, at);
            return Err(Refusal::of_offer(None));
        };
        // What the caller agreed to before the answer holds until it is offered this.
        let for_caller = if self.caller_has_description() {
            None
        } else {
            self.describe(desk, caller, Saying::Answer(asked), |local, _| meet(asked, &offer, local).ok_or(())).ok()
        };
        self.dismiss_ringing(desk, &elsewhere(), now);
        let mut builder = self.dialog_response(desk, at, &invite.message, 200);
        self.grant_session(desk, at, &invite.message, &mut builder, now);
        self.push_shown(&mut builder, at, caller);
        self.legs[at].state.apply(LegEvent::Accept).expect("an INVITE without a final answer can be accepted");
        let response = Outgoing { builder, body: Some((SDP, for_newcomer)) };
        desk.push(Output::Respond { txn: invite.txn, response, after_facts: false });
        let agreed = match for_caller {
            Some(_) => Some(Agreed::Legs((self.caller, Said::of(asked)), (n, Said::of(&offer)))),
            None => self.turn_to(n, offer),
        };
        self.accept(desk, Some(n), for_caller, agreed, None, now);
        Ok(())
    }

    /// The caller left the offer to who answers: it gets that of whoever comes, whose own answer waits for the caller's.
    fn offer_elsewhere(
        &mut self,
        desk: &mut Desk,
        invite: Invite,
        offer: Description,
        now: Time,
    ) -> Result<(), Refusal> {
        let family = Family::of(invite.flow.local.ip());
        let end = self.callee_end(desk, self.next_leg, family, Offering::plain(), now).ok_or(Refusal::no_port())?;
        let caller = self.place(self.caller).ok_or(Refusal::new(481, NO_MORE))?;
        let for_caller = self.describe(desk, caller, Saying::Offer, |local, _| carry(&offer, local));
        let for_caller = for_caller.map_err(|_| Refusal::of_offer(None))?;
        let n = self.newcomer(desk, &invite, end)?;
        self.dismiss_ringing(desk, &elsewhere(), now);
        self.accept(desk, Some(n), Some(for_caller), None, Some(offer), now);
        if let Some(exchange) = &mut self.exchange {
            exchange.newcomer = Some(Box::new(invite.message));
        }
        Ok(())
    }

    /// Whoever comes left the offer to us: it gets the caller's, whose answer waits for its ACK (RFC 3261 §13.2.1). Where
    /// the caller left it to us, too, it gets one of ours, and the caller then what it answers.
    fn ask_elsewhere(
        &mut self,
        desk: &mut Desk,
        invite: Invite,
        asked: Option<Description>,
        now: Time,
    ) -> Result<(), Refusal> {
        let family = Family::of(invite.flow.local.ip());
        let end = self.callee_end(desk, self.next_leg, family, Offering::plain(), now).ok_or(Refusal::no_port())?;
        let n = self.newcomer(desk, &invite, end)?;
        let at = self.place(n).ok_or(Refusal::new(481, NO_MORE))?;
        let made = self.describe(desk, at, Saying::Offer, |local, _| match &asked {
            Some(asked) => carry(asked, local),
            None => Ok(offer_audio(local, &CODECS)),
        });
        let Ok(body) = made else {
            self.forget_newcomer(desk, at);
            return Err(Refusal::of_offer(None));
        };
        self.dismiss_ringing(desk, &elsewhere(), now);
        let Some((_, callers)) = self.setup.take().and_then(|setup| setup.asked) else {
            return Err(Refusal::new(481, NO_MORE));
        };
        self.begin_talk(desk, Some(n), now);
        let mut exchange = Exchange::new(n, Some(self.caller), asked, Some(invite.message));
        exchange.newcomer = Some(Box::new(callers));
        self.exchange = Some(Box::new(exchange));
        self.advance(desk, Move::AnswerWithOffer, Carried { for_asker: Some(body), ..Carried::default() }, now);
        Ok(())
    }

    /// A newcomer that cannot be taken: it is refused by who brought it.
    fn forget_newcomer(&mut self, desk: &mut Desk, at: usize) {
        let n = self.legs[at].n;
        self.say_leg_ended(desk, n, EndCause::MediaMismatch);
        self.forget_theirs(desk, at);
        let _ = self.legs[at].state.apply(LegEvent::Gone);
    }

    /// The caller answered what a newcomer offers, or a newcomer what the caller does: the one whose INVITE has no final
    /// answer yet gets it.
    pub(crate) fn welcome(
        &mut self,
        desk: &mut Desk,
        at: usize,
        exchange: &mut Exchange,
        body: Option<Bytes>,
        now: Time,
    ) {
        let Some(invite) = exchange.newcomer.take() else { return };
        let (Some((txn, _)), Some(caller)) = (self.legs[at].theirs, self.place(exchange.asker)) else { return };
        let mut builder = self.dialog_response(desk, at, &invite, 200);
        self.grant_session(desk, at, &invite, &mut builder, now);
        self.push_shown(&mut builder, at, caller);
        self.legs[at].state.apply(LegEvent::Accept).expect("an INVITE without a final answer can be accepted");
        let response = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Respond { txn, response, after_facts: false });
    }

    /// There was no answer to its offer: nothing becomes of it.
    pub(crate) fn send_away(&mut self, desk: &mut Desk, at: usize, exchange: &mut Exchange, status: u16) {
        let Some(invite) = exchange.newcomer.take() else { return };
        let Some((txn, _)) = self.legs[at].theirs else { return };
        let builder = self.response(desk, at, &invite, status, "");
        self.forget_theirs(desk, at);
        desk.respond(txn, builder);
        let _ = self.legs[at].state.apply(LegEvent::Gone);
    }

    /// A leg gives up whose INVITE waits for what the other says in its ACK. Whether it is one.
    pub(crate) fn cancel_waiting(&mut self, desk: &mut Desk, n: u16) -> bool {
        let waits = |exchange: &mut Box<Exchange>| exchange.newcomer.is_some() && exchange.other == Some(n);
        let Some(mut exchange) = self.exchange.take_if(waits) else { return false };
        if let Some(at) = self.place(n) {
            self.send_away(desk, at, &mut exchange, 487);
        }
        self.exchange = Some(exchange);
        true
    }

    /// Whoever comes talks to who stays, if that one agrees; until then nothing changes.
    fn come_in(
        &mut self,
        desk: &mut Desk,
        by: u16,
        near: u16,
        invite: Invite,
        offer: Option<Description>,
        now: Time,
    ) -> Result<(), Refusal> {
        let near_at = self.place(near).ok_or(Refusal::new(481, NO_DIALOG))?;
        let family = Family::of(invite.flow.local.ip());
        let carried = self.question(desk, near, offer.as_ref()).ok_or(Refusal::of_offer(offer.as_ref()))?;
        let end = self.fresh_end(desk, self.next_leg, family, near_at, now).ok_or(Refusal::no_port())?;
        let made = self.newcomer(desk, &invite, end);
        let n = made.inspect_err(|_| self.tidy_ends(desk, now))?;
        let mut exchange = Exchange::new(n, Some(near), offer, Some(invite.message));
        exchange.instead_of = Some(by);
        self.exchange = Some(Box::new(exchange));
        self.advance(desk, Move::Ask, carried, now);
        Ok(())
    }

    /// A newcomer talks: whose place it took is out.
    pub(crate) fn take_over(&mut self, desk: &mut Desk, by: u16, n: u16, now: Time) {
        let Some(who) = self.place(n).map(|at| self.legs[at].party.clone()) else { return };
        if self.transfer.as_ref().is_some_and(|transfer| transfer.is_open() && transfer.wish.n == by) {
            self.replace(desk, Some(n), who, now);
            self.transfer = None;
            return;
        }
        self.transfers += 1;
        (self.caller, self.talks_with) = if by == self.caller { (n, self.talks_with) } else { (self.caller, Some(n)) };
        let (by_leg, to) = (self.leg_id(by), Some(self.leg_id(n)));
        desk.say(self.account, Fact::CallTransferred { call: self.id, by: by_leg, to, who, with: None });
        self.say_leg_ended(desk, by, EndCause::Transferred);
        self.withdraw(desk, by, now);
        if let Some(at) = self.place(by) {
            self.part(desk, at);
        }
        self.tidy_ends(desk, now);
    }
}
