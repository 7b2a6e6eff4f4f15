//! Two calls become one: a leg of one comes into another, in the place of who brings them together (attended and
//! semi-attended transfer, RFC 5589 §7).

use crate::call::{Call, Ending};
use crate::calls::Calls;
use crate::cause::Failure;
use crate::desk::{Desk, Due};
use crate::join::{BEAT, JOIN};
use crate::leg::{Leg, LegState};
use crate::refuse::NO_DIALOG;
use crate::reliable::Told;
use crate::single::Offering;
use crate::tag::Tag;
use crate::transfer::{Move, Stage};
use crate::view::CallState;
use media::command::Family;
use media::offer::OurSide;
use media::renew::can_talk;
use sip::{Message, ReferTo, Replaces};
use words::{CallId, EndCause, Fact, Flow, LegId, Party, Time};

/// Why a dialog that somebody named cannot have its place taken: status and phrase.
pub(crate) type Unnamed = (u16, &'static str);

/// What there is to take in the other call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// A leg that talks.
    Talking(u16),
    /// Legs that ring.
    Ringing,
    /// It is busy with something that ends soon.
    Later,
}

/// Who wants the place of a dialog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant<'a> {
    pub(crate) party: &'a Party,
    /// How it speaks to us.
    pub(crate) flow: &'a Flow,
}

impl Claimant<'_> {
    /// A user may have any call of the account, as colleagues pick up for each other. A peer may have what is its own, as
    /// an exchange of an office has that transfers two calls of its people; so may who is nobody, from where he spoke.
    fn may_have(&self, leg: &Leg) -> bool {
        match (self.party.user, self.party.peer) {
            (Some(_), _) => true,
            (None, Some(peer)) => leg.party.peer == Some(peer),
            (None, None) => {
                let theirs = leg.party.user.is_none() && leg.party.peer.is_none();
                theirs && leg.flow.connection == self.flow.connection && leg.flow.remote == self.flow.remote
            }
        }
    }
}

impl Calls {
    /// The leg whose dialog a `Replaces` names, seen from either side of it; only of that account, and only one that `by`
    /// may have (RFC 3891 §3, §8). What others may not have is not there for them: who guesses ids learns nothing.
    pub(crate) fn named(
        &self,
        replaces: &Replaces,
        account: words::AccountId,
        by: Claimant<'_>,
    ) -> Result<(u32, u16), Unnamed> {
        let tags = [(&replaces.to_tag, &replaces.from_tag), (&replaces.from_tag, &replaces.to_tag)];
        let mut found = tags.into_iter().filter_map(|(ours, theirs)| {
            let (slot, n) = self.at_tag(Tag::parse(ours)?)?;
            let call = self.slots.get(slot as usize)?;
            let leg = &call.legs[call.place(n)?];
            let is_it = call.account == account && leg.is_dialog(call.id, &replaces.call_id, theirs);
            (is_it && by.may_have(leg)).then_some((call, leg, slot))
        });
        // RFC 3891 §3: what nobody here has is 481, what is over 603, what is answered and should not be 486.
        let (call, leg, slot) = found.next().ok_or((481, NO_DIALOG))?;
        if call.state == CallState::Ended || !leg.state.is_live() {
            return Err((603, "Declined: that call is over"));
        }
        if replaces.early_only && call.state == CallState::Answered && !leg.state.is_inviting() {
            return Err((486, "Busy Here: that call is answered"));
        }
        Ok((slot, leg.n))
    }

    /// The leg in whose place a REFER wants its target; `None` when it names none.
    pub(crate) fn named_by(&self, slot: u32, n: u16, refer: &Message) -> Option<Result<LegId, Unnamed>> {
        // What cannot be read is refused by who reads the rest.
        let replaces = ReferTo::of(refer).ok()?.replaces?;
        let call = self.slots.get(slot as usize)?;
        let by = &call.legs[call.place(n)?];
        let named = self.named(&replaces, call.account, Claimant { party: &by.party, flow: &by.flow });
        let named = named.and_then(|(other, n)| {
            if other == slot {
                return Err((403, "Forbidden: a call cannot be transferred to itself"));
            }
            let call = self.slots.get(other as usize).ok_or((481, NO_DIALOG))?;
            Ok(call.leg_id(n))
        });
        // 481 would be about the dialog of the REFER, which its phone would give up (RFC 3261 §12.2.1.2, RFC 5057 §5.1).
        Some(named.map_err(|no| if no.0 == 481 { (603, "Declined: the other call is over") } else { no }))
    }

    /// Takes what the transfer of a call waits for out of another one.
    pub(crate) fn claim(&mut self, slot: u32, now: Time) {
        match self.claimable(slot) {
            None => {}
            Some(Err(failure)) => {
                self.with(slot, |call, desk| call.fail_transfer(desk, &failure, now));
            }
            Some(Ok((_, Claim::Later))) => {
                self.with(slot, |call, desk| call.claim_later(desk, now));
            }
            Some(Ok((place, claim))) => {
                let Some(&other) = self.by_id.get(&place.call) else { return };
                let Some((one, two)) = self.slots.get2_mut(slot as usize, other as usize) else { return };
                one.take_from(two, &mut self.desk, place, claim, now);
                for slot in [slot, other] {
                    self.with(slot, |_, _| ());
                }
            }
        }
    }

    /// What a transfer that waits can have now; `None` when none waits.
    fn claimable(&self, slot: u32) -> Option<Result<(LegId, Claim), Failure>> {
        let call = self.slots.get(slot as usize)?;
        let transfer = call.transfer.as_ref().filter(|transfer| transfer.stage == Stage::Claiming)?;
        let (place, words) = (transfer.instead_of?, transfer.words.as_ref());
        let gone = Failure {
            phrase: "Declined: the other call is over".to_owned(),
            ..Failure::own(603, EndCause::Unavailable)
        };
        let Some(other) = self.by_id.get(&place.call).and_then(|&slot| self.slots.get(slot as usize)) else {
            return Some(Err(gone));
        };
        let Some(at) =
            other.place(place.n).filter(|&at| other.state != CallState::Ended && other.legs[at].state.is_live())
        else {
            return Some(Err(gone));
        };
        let nobody = || {
            let phrase = "Forbidden: there is nobody to be joined with".to_owned();
            Failure { phrase, ..Failure::own(403, EndCause::Unavailable) }
        };
        let mismatch = Failure::own(488, EndCause::MediaMismatch);
        let said = other.ends.get(other.legs[at].end).and_then(|end| end.ours.last());
        let claim = match other.state {
            CallState::Ringing => match other.setup.as_deref() {
                Some(setup) if setup.held.is_some() || other.exchange.is_some() => Ok(Claim::Later),
                Some(setup) if setup.fork.is_none() && setup.ear.is_silent() => Ok(Claim::Later),
                Some(setup) if setup.fork.is_none() || place.n != other.caller => Err(nobody()),
                // What they say is on its way to the caller, or its answer to them.
                Some(_) if other.told().is_some_and(Told::describes) => Ok(Claim::Later),
                Some(_) | None => Ok(Claim::Ringing),
            },
            CallState::Answered | CallState::Ended => match other.other_of(place.n).and_then(|n| other.place(n)) {
                _ if other.transfer.is_some() || !other.is_party(place.n) => Ok(Claim::Later),
                None => Err(nobody()),
                Some(_) if !words.zip(said).is_some_and(|(words, said)| can_talk(words, said)) => Err(mismatch),
                Some(at) if other.exchange.is_none() && other.legs[at].is_quiet() => {
                    Ok(Claim::Talking(other.legs[at].n))
                }
                Some(_) => Ok(Claim::Later),
            },
        };
        Some(claim.map(|claim| (place, claim)))
    }
}

impl Call {
    /// Looks again whether the other call is ready, but not for ever.
    fn claim_later(&mut self, desk: &mut Desk, now: Time) {
        let Some(transfer) = &self.transfer else { return };
        if now.since(transfer.since) >= JOIN {
            return self.fail_transfer(desk, &Failure::own(480, EndCause::Unavailable), now);
        }
        self.set_timer(desk, Due::Join, now + BEAT);
    }

    /// Takes the other side of a leg of another call over, which ends.
    fn take_from(&mut self, other: &mut Call, desk: &mut Desk, place: LegId, claim: Claim, now: Time) {
        let taken: Vec<u16> = match claim {
            Claim::Talking(n) => vec![n],
            Claim::Ringing => other.legs.iter().filter(|leg| leg.state.is_inviting()).map(|leg| leg.n).collect(),
            Claim::Later => return,
        };
        let near = self.transfer.as_ref().and_then(|transfer| self.place(transfer.near));
        let Some(who) = near.map(|at| self.legs[at].party.clone()) else { return };
        let mut came = None;
        for &n in &taken {
            let Some(at) = other.place(n) else { continue };
            let family = Family::of(other.legs[at].flow.local.ip());
            let leg = &other.legs[at];
            let told = Offering::new(desk, leg.offered(), &leg.party, leg.nat, &leg.flow).with_ice(leg.ice);
            let Some(end) = self.far_end(desk, self.next_leg, family, told, now) else { continue };
            let ours = other.ends.get(other.legs[at].end).map(|end| end.ours.clone());
            let short = !other.legs[at].flow.transport.is_reliable();
            self.ends[end].offer_as(other.ends.get(other.legs[at].end), short, &mut desk.chance);
            self.ends[end].offer_ice_as(other.ends.get(other.legs[at].end), &mut desk.chance);
            let leg = other.give_leg(desk, at);
            came = Some((self.take_leg(desk, leg, end, ours), self.legs.last().map(|leg| leg.party.clone())));
        }
        let Some((n, Some(party))) = came else {
            return self.fail_transfer(desk, &Failure::own(503, EndCause::Overload), now);
        };
        if claim == Claim::Ringing {
            let fork = other.setup.as_mut().and_then(|setup| setup.fork.take());
            self.seek_on(desk, fork, now);
        } else {
            self.replace(desk, Some(n), party, now);
            self.move_transfer(desk, Move::Taken, now);
        }
        other.joined(desk, place, who, self.id, now);
    }

    /// A leg goes to another call.
    fn give_leg(&mut self, desk: &mut Desk, at: usize) -> Leg {
        let leg = self.legs.remove(at);
        desk.leave(leg.flow.connection, self.slot);
        if self.talks_with == Some(leg.n) {
            self.talks_with = None;
        }
        leg
    }

    /// A leg comes from another call.
    fn take_leg(&mut self, desk: &mut Desk, mut leg: Leg, end: usize, ours: Option<OurSide>) -> u16 {
        let n = self.next_leg;
        self.next_leg += 1;
        (leg.n, leg.end) = (n, end);
        desk.enter(leg.flow.connection, self.slot);
        desk.move_leg(&mut leg, self.slot);
        if let Some(ours) = ours {
            // Its dialog goes on: the next description there has the next version of the same session (RFC 3264 §8).
            self.ends[end].ours = ours;
        }
        desk.say(self.account, Fact::LegOpened { leg: self.leg_id(n), to: leg.party.clone() });
        if leg.state == LegState::Ringing {
            desk.say(self.account, Fact::LegRang { leg: self.leg_id(n) });
        }
        self.legs.push(leg);
        self.arm_sessions(desk);
        n
    }

    /// Who a leg of this call was talking to, or calling, is in another call: this one is over.
    fn joined(&mut self, desk: &mut Desk, place: LegId, who: Party, with: CallId, now: Time) {
        let with = Some(with);
        desk.say(self.account, Fact::CallTransferred { call: self.id, by: place, to: None, who, with });
        self.end(desk, &Ending::new(EndCause::Transferred, Some(place.n)), now);
    }
}
