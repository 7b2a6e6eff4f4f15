//! Transfer by dialled codes, for phones without a key for it: the party that a user has on hold goes to a number
//! ([`Step::HandOver`](crate::Step::HandOver)), or to whom the user calls meanwhile, once the user hangs up
//! ([`Step::Consult`](crate::Step::Consult)).

use crate::call::Call;
use crate::calls::Calls;
use crate::cause::Failure;
use crate::desk::Desk;
use crate::end::End;
use crate::leg::{Leg, LegState};
use crate::step::StepError;
use crate::transfer::{Stage, TRANSFERS, Wish};
use crate::view::CallState;
use words::{CallId, EndCause, LegId, Time};

impl Calls {
    /// The leg of another call on which the caller of this one holds somebody: of those that he has, one of the device
    /// that he calls with, and the latest. Looks at every call: for a person who dials a code, not for what every call
    /// does.
    pub fn held_by(&self, call: CallId) -> Option<LegId> {
        let asking = self.slots.get(*self.by_id.get(&call)? as usize)?;
        let (user, device) = (asking.who.from.user?, asking.legs.first()?.flow.remote);
        let others = self.slots.iter().filter(|(_, other)| other.account == asking.account && other.id != call);
        let holds = others.flat_map(|(_, other)| {
            let held = other.legs.iter().filter(move |leg| leg.party.user == Some(user) && other.can_hand_over(leg));
            held.filter(|leg| other.holds(leg))
                .map(|leg| (leg.flow.remote == device, other.times.began, other.leg_id(leg.n)))
        });
        holds.max_by_key(|(same, began, leg)| (*same, *began, leg.call)).map(|(_, _, leg)| leg)
    }

    /// Sends who is held on a leg to a number.
    pub(crate) fn hand_over(&mut self, held: LegId, number: &str, now: Time) -> Result<(), StepError> {
        self.refer_held(held, number, None, now)
    }

    /// A leg leaves its call: where that was a consultation, who is held comes into it instead. Done before the leg is
    /// gone, as its place is what is taken; where it cannot be done now the user keeps who is held.
    pub(crate) fn join_held(&mut self, slot: u32, n: u16, now: Time) {
        let Some(call) = self.slots.get_mut(slot as usize) else { return };
        let place = call.leg_id(n);
        let Some(leg) = call.legs.iter_mut().find(|leg| leg.n == n) else { return };
        let Some(held) = leg.more.as_mut().and_then(|more| more.consults.take()) else { return };
        if call.state == CallState::Ended {
            return;
        }
        let number = call.who.to.number.as_str().to_owned();
        let Some(&other) = self.by_id.get(&held.call) else { return };
        if self.refer_held(held, &number, Some(place), now).is_err() {
            return;
        }
        self.set_leaving(slot, n, true);
        self.claim(other, now);
        self.with(other, |call, desk| {
            if call.transfer.as_ref().is_some_and(|transfer| transfer.stage == Stage::Claiming) {
                call.fail_transfer(desk, &Failure::own(480, EndCause::Unavailable), now);
            }
        });
        let over = self.slots.get(slot as usize).is_none_or(|call| call.state == CallState::Ended);
        self.set_leaving(slot, n, over);
    }

    fn set_leaving(&mut self, slot: u32, n: u16, on: bool) {
        let call = self.slots.get_mut(slot as usize);
        let leg = call.and_then(|call| call.legs.iter_mut().find(|leg| leg.n == n));
        if let Some(leg) = leg.filter(|leg| on || leg.more.is_some()) {
            leg.more().leaves = on;
        }
    }

    fn refer_held(&mut self, held: LegId, number: &str, instead_of: Option<LegId>, now: Time) -> Result<(), StepError> {
        let &slot = self.by_id.get(&held.call).ok_or(StepError::NoCall)?;
        let begun = self.with(slot, |call, desk| call.refer_by_code(desk, held.n, number, instead_of, now));
        if begun == Some(true) { Ok(()) } else { Err(StepError::NoCall) }
    }
}

impl Call {
    /// Whether a leg's other side could go elsewhere.
    fn can_hand_over(&self, leg: &Leg) -> bool {
        let talks = self.state == CallState::Answered && leg.state == LegState::Confirmed && self.is_party(leg.n);
        talks && self.other_of(leg.n).is_some() && self.transfer.is_none() && self.transfers < TRANSFERS
    }

    /// Whether a leg does not listen.
    fn holds(&self, leg: &Leg) -> bool {
        self.ends.get(leg.end).and_then(End::setting).is_some_and(|setting| !setting.direction.sends())
    }

    /// What a REFER of a leg would begin (RFC 3515), without one. Whether it could be.
    pub(crate) fn refer_by_code(
        &mut self,
        desk: &mut Desk,
        n: u16,
        number: &str,
        instead_of: Option<LegId>,
        now: Time,
    ) -> bool {
        let Some(at) = self.place(n).filter(|&at| self.can_hand_over(&self.legs[at])) else { return false };
        let by = self.legs[at].party.clone();
        // Dialled here, it names nobody elsewhere.
        let uri = format!("tel:{number}");
        self.seek(desk, Wish { n, by, number: number.to_owned(), uri }, instead_of, now);
        self.transfer.is_some()
    }
}
