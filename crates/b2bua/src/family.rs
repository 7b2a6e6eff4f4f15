//! Media of another family of addresses than the signalling: a phone that registers by IPv6 and describes audio of IPv4, or
//! the reverse. Where the exchange has an address of that family a caller's media get it; elsewhere, and where a leg's
//! ports are of the other family already, the description is refused as what cannot be reached (RFC 3261 §20.43).

use crate::body::read_body;
use crate::bridge::Carried;
use crate::call::Call;
use crate::cause::Failure;
use crate::desk::Desk;
use crate::event::Refusal;
use media::command::Family;
use media::sdp::Description;
use sip::{HeaderName, Message};
use std::net::IpAddr;
use words::Flow;

impl Desk {
    /// The family of a caller's media.
    pub(crate) fn family_of_caller(&self, flow: &Flow, offer: Option<&Description>) -> Result<Family, Refusal> {
        let signalled = Family::of(flow.local.ip());
        let family = offer.and_then(Description::family).unwrap_or(signalled);
        if family == signalled || self.address_of(family).is_some() { Ok(family) } else { Err(incompatible(family)) }
    }

    /// Our address for media of that family, as the other side of a flow should be told it.
    pub(crate) fn media_address(&self, flow: &Flow, family: Family) -> IpAddr {
        let own = self.address(flow);
        if Family::of(own) == family { own } else { self.address_of(family).unwrap_or(own) }
    }

    fn address_of(&self, family: Family) -> Option<IpAddr> {
        self.config.addresses.iter().copied().find(|address| Family::of(*address) == family)
    }
}

impl Call {
    /// The family of the caller's media, which was found to be one that we have.
    pub(crate) fn callers_family(&self, desk: &Desk) -> Family {
        let flow = &self.legs[0].flow;
        let offer = self.setup.as_ref().and_then(|setup| setup.offer.as_ref());
        desk.family_of_caller(flow, offer).unwrap_or_else(|_| Family::of(flow.local.ip()))
    }

    /// Whether a leg's ports are of the family that its description is about.
    fn family_fits(&self, at: usize, said: &Description) -> bool {
        let Some(end) = self.ends.get(self.legs[at].end) else { return true };
        said.family().is_none_or(|family| family == end.ports.family)
    }

    /// Whether what a leg says can be taken: its addresses can be reached, and the keys of an answer answer ours.
    pub(crate) fn fits(&self, at: usize, said: &Description, is_answer: bool) -> bool {
        self.family_fits(at, said) && (!is_answer || self.keys_fit(at, said))
    }

    /// The description in a request inside a leg's dialog.
    pub(crate) fn read_request(&self, at: usize, request: &Message) -> Result<Option<Description>, Refusal> {
        let said = read_body(request, self.legs[at].srtp)?;
        match said.as_ref().and_then(|offer| self.refusal_of_family(at, offer)) {
            Some(refusal) => Err(refusal),
            None => Ok(said),
        }
    }

    /// Why a leg's description cannot be taken, if its family is why.
    pub(crate) fn refusal_of_family(&self, at: usize, said: &Description) -> Option<Refusal> {
        (!self.family_fits(at, said)).then(|| misfit(said))
    }

    /// Why an answer that a request of a leg brings cannot be taken, if it cannot.
    pub(crate) fn refusal_of_answer(&self, at: usize, said: &Description) -> Option<Refusal> {
        let keys = || (!self.keys_fit(at, said)).then(Refusal::of_transport);
        self.refusal_of_family(at, said).or_else(keys)
    }

    /// What the caller is told of a leg whose 2xx says nothing that can be taken.
    pub(crate) fn mismatch(&self, at: usize, response: &Message) -> Failure {
        let leg = &self.legs[at];
        let said = match leg.settled() {
            Some(words) => Description::parse(words).ok(),
            None => read_body(response, leg.srtp).ok().flatten(),
        };
        let misfit = said.filter(|said| !self.family_fits(at, said)).and_then(|said| said.family());
        Failure { misfit, ..Failure::of_answer(488) }
    }

    /// What who asked for a change is told of a 2xx that agrees to nothing which can be: 488 where it says something, and
    /// why where that is known.
    pub(crate) fn refusal_of_agreement(&self, at: usize, response: &Message) -> Carried {
        let Ok(Some(said)) = read_body(response, self.legs[at].srtp) else {
            return Carried { status: 500, ..Carried::default() };
        };
        let misfit = said.family().filter(|_| !self.family_fits(at, &said));
        Carried { status: 488, misfit, ..Carried::default() }
    }
}

/// The description of somebody who comes into a call by a flow: its ports will be of the family of that.
pub(crate) fn check(flow: &Flow, offer: Option<&Description>) -> Result<(), Refusal> {
    match offer {
        Some(offer) if offer.family().is_some_and(|family| family != Family::of(flow.local.ip())) => Err(misfit(offer)),
        Some(_) | None => Ok(()),
    }
}

fn misfit(offer: &Description) -> Refusal {
    incompatible(offer.family().unwrap_or(Family::V4))
}

/// 488 that says which addresses cannot be reached.
pub(crate) fn incompatible(family: Family) -> Refusal {
    let reason = match family {
        Family::V4 => "Not Acceptable Here: media over IPv4 cannot be reached",
        Family::V6 => "Not Acceptable Here: media over IPv6 cannot be reached",
    };
    Refusal { status: 488, reason, header: Some((HeaderName::Warning, warning(family).into())) }
}

/// A `Warning` that says which addresses cannot be reached.
pub(crate) fn warning(family: Family) -> &'static str {
    // 301: "Incompatible network address formats" (RFC 3261 §20.43). Who warns is told by a pseudonym.
    match family {
        Family::V4 => r#"301 exchange "Incompatible network address formats: no IPv4 for the media of this call""#,
        Family::V6 => r#"301 exchange "Incompatible network address formats: no IPv6 for the media of this call""#,
    }
}
