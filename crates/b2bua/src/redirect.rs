//! 3xx of somebody who is rung (RFC 3261 §8.1.3.4): where he sends the call is asked, and only where his account's
//! routes lead is rung. No Contact decides by itself where a call goes.

use crate::call::Call;
use crate::calls::Calls;
use crate::cause::{Failure, sip_reason};
use crate::desk::{Desk, Due};
use crate::event::Output;
use crate::leg::LegState;
use crate::step::{self, DialTarget, DiversionReason, Diverted, NO_ANSWER, StepError, UNCONDITIONAL};
use serde::{Deserialize, Serialize};
use sip::{Contact, Message, Uri};
use words::{AccountId, EndCause, LegId, Party, Time};

/// A call that somebody who was rung sends elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirection {
    /// Whose call.
    pub account: AccountId,
    /// Who sends it: it is his rights that count.
    pub by: Party,
    /// Where to, the best first.
    pub contacts: Vec<Redirected>,
}

/// One Contact of a 3xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirected {
    /// Whom it names, as a phone would dial it.
    pub number: String,
    /// The URI.
    pub uri: String,
    /// Equal ones are as good as each other, higher ones come after them.
    pub order: u32,
}

impl Redirected {
    /// The `gr` of its URI: one device is meant (RFC 5627 §3.1).
    pub fn gr(&self) -> Option<&str> {
        crate::seek::gr_of(&self.uri)
    }
}

/// A redirection whose targets are not known yet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) n: u16,
    /// Why, as `Diversion` says it.
    #[serde(deserialize_with = "step::reason")]
    reason: DiversionReason,
    redirection: Redirection,
}

impl Calls {
    /// Where a leg sends its call; `None` when nobody waits for that any more.
    pub fn redirection(&self, leg: LegId) -> Option<Redirection> {
        let call = self.slots.get(*self.by_id.get(&leg.call)? as usize)?;
        let fork = call.setup.as_ref()?.fork.as_ref()?;
        Some(fork.pending(leg.n)?.redirection.clone())
    }

    /// Whom the call rings instead; nobody, and why, when that is not to be followed.
    ///
    /// # Errors
    /// [`StepError`] when nobody waits for that any more, or there is no media port.
    pub fn redirect(
        &mut self,
        leg: LegId,
        targets: Vec<DialTarget>,
        refusal: &str,
        now: Time,
    ) -> Result<(), StepError> {
        let &slot = self.by_id.get(&leg.call).ok_or(StepError::NoCall)?;
        let followed = self.with(slot, |call, desk| call.follow_redirection(desk, leg.n, targets, refusal, now));
        followed.unwrap_or(Err(StepError::NoCall))
    }
}

impl Call {
    /// A leg answered 3xx: notes where it sends the call, and asks about that. What it means to the caller unless somebody
    /// rings there.
    pub(crate) fn note_redirection(&mut self, desk: &mut Desk, at: usize, response: &Message) -> Failure {
        let plain = Failure::of_response(response);
        let leg = &self.legs[at];
        let (n, rang, by) = (leg.n, leg.state == LegState::Ringing, leg.party.clone());
        let fork = self.setup.as_mut().and_then(|setup| setup.fork.as_mut());
        let Some(fork) = fork.filter(|_| leg.state.is_inviting()) else { return plain };
        let contacts = contacts(response);
        if contacts.is_empty() {
            return plain;
        }
        if fork.followed() >= REDIRECTIONS {
            let phrase = "Loop Detected: redirected too often".to_owned();
            return Failure { status: 482, phrase, ..plain };
        }
        let redirection = Redirection { account: self.account, by, contacts };
        fork.wait_for(Pending { n, reason: if rang { NO_ANSWER } else { UNCONDITIONAL }, redirection });
        desk.push(Output::AskRedirect { leg: self.leg_id(n) });
        plain
    }

    /// Where a leg sent the call is known.
    fn follow_redirection(
        &mut self,
        desk: &mut Desk,
        n: u16,
        mut targets: Vec<DialTarget>,
        refusal: &str,
        now: Time,
    ) -> Result<(), StepError> {
        let alone = !self.legs.iter().any(|leg| leg.state.is_inviting());
        let fork = self.setup.as_mut().and_then(|setup| setup.fork.as_mut()).ok_or(StepError::NoCall)?;
        let Pending { reason, redirection, .. } = fork.take_pending(n).ok_or(StepError::NoCall)?;
        for target in &mut targets {
            target.diverted = Some(Diverted { by: redirection.by.clone(), reason });
        }
        if targets.is_empty() {
            let told = Failure::own(480, EndCause::Failed(302));
            fork.failed(Failure { phrase: refusal.to_owned(), reason: Some(sip_reason(302)), ..told });
            // Whoever waits for a turn goes on waiting while somebody rings.
            self.ring_on(desk, now);
            return Ok(());
        }
        let (group, ring_for) = (fork.redirect(targets), fork.ring_for());
        if alone && !group.is_empty() {
            self.set_timer(desk, Due::Ring, now + ring_for);
        }
        for target in group {
            self.invite(desk, target, now)?;
        }
        self.ring_on(desk, now);
        Ok(())
    }
}

/// The Contacts that a call could go to, the best first.
fn contacts(response: &Message) -> Vec<Redirected> {
    let mut found: Vec<(u32, Redirected)> = Vec::new();
    for contact in response.contacts().take(CONTACTS) {
        let Ok(Contact::Address(address)) = contact else { continue };
        let Ok(uri) = Uri::parse(address.uri) else { continue };
        let q = address.param("q").map_or(1000, thousandths);
        let (number, uri) = (uri.dialled().into_owned(), uri.raw().split('?').next().unwrap_or_default().to_owned());
        found.push((1000 - q, Redirected { number, uri, order: 0 }));
    }
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(order, redirected)| Redirected { order, ..redirected }).collect()
}

/// A `q` in thousandths, 0…1000 (RFC 3261 §20.10).
fn thousandths(q: &str) -> u32 {
    let (whole, rest) = q.split_once('.').unwrap_or((q, ""));
    if whole.trim_start_matches('0') == "1" {
        return 1000;
    }
    let digits = rest.bytes().take(3).map(|byte| u32::from(byte.wrapping_sub(b'0').min(9)));
    digits.chain(std::iter::repeat(0)).take(3).fold(0, |value, digit| value * 10 + digit)
}

/// How many redirections of one call are followed: who sends it round and round comes to an end.
const REDIRECTIONS: u8 = 5;

/// How many Contacts of one are looked at.
const CONTACTS: usize = 8;
