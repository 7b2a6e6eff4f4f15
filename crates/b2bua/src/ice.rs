//! ICE of legs that ask for it (RFC 8839): we are the lite side, and what we say of it to one leg the other never hears.
//!
//! An offer with ICE is answered with ours. We offer it to legs only that have it, or that said so when they registered
//! (RFC 5768 §5), so that a phone without it hears nothing of it. Our credentials last as long as those of the leg: where it
//! takes others, so do we, which is a restart (§4.4.1.1.1).

use crate::desk::Desk;
use crate::end::{End, Said};
use crate::secure::Saying;
use media::ice::{Checks, Credentials};
use media::sdp::{AudioView, Description, IceAsked};
use serde::{Deserialize, Serialize};
use words::Chance;

/// The ICE of an end: one whose legs have none has nothing of this.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ice {
    /// How we are named to its leg.
    ours: Option<Credentials>,
    /// How its leg is named. None: it has not answered.
    theirs: Option<Credentials>,
    /// It has no audio now, but a fax, which is checked by nobody.
    rests: bool,
    /// It and we said that one port has RTP and RTCP.
    muxed: bool,
    /// What the relay was told.
    told: Option<Box<Checks>>,
}

impl Ice {
    /// Who was there is gone.
    fn forget(&mut self) {
        (self.ours, self.theirs) = (None, None);
    }
}

impl End {
    /// A description of ours, with ICE where that is right: in answers to who offered it, and in offers to who has it.
    /// `asked` is the audio of an offer that is answered; `offers` says that the leg is called and does ICE.
    pub(crate) fn speak_ice(
        &mut self,
        made: Description,
        saying: Saying<'_>,
        asked: Option<&AudioView<'_>>,
        offers: bool,
        chance: &mut Chance,
    ) -> Description {
        if offers && matches!(saying, Saying::Offer) {
            let ice = self.ice.get_or_insert_default();
            ice.ours.get_or_insert_with(|| Credentials::draw(&mut chance.fork()));
        }
        match asked.map(AudioView::ice) {
            Some(Some(IceAsked::Checks(theirs))) => {
                let ice = self.ice.get_or_insert_default();
                if ice.ours.is_none() || ice.theirs.as_ref() != Some(&theirs) {
                    // Passwords have a stream of chance of their own: what else is drawn here is seen by everybody.
                    ice.ours = Some(Credentials::draw(&mut chance.fork()));
                }
                ice.theirs = Some(theirs);
            }
            Some(Some(IceAsked::Mismatch)) => {
                self.forget_ice();
                return made.with_ice_mismatch();
            }
            Some(None) => self.forget_ice(),
            // Who declines its audio for a while goes on afterwards.
            None => {}
        }
        let Some((ice, ours)) = self.ice.as_ref().and_then(|ice| Some((ice, ice.ours.as_ref()?))) else { return made };
        // Who is offered one port for both may want two.
        let one = match saying {
            Saying::Offer => self.muxes && ice.muxed,
            Saying::Answer(_) => self.muxes,
        };
        made.with_ice(ours, if one { 1 } else { 2 })
    }

    /// How its leg is named in its checks.
    pub(crate) fn heard_ice(&self) -> Option<Box<Credentials>> {
        self.ice.as_ref().and_then(|ice| ice.theirs.clone()).map(Box::new)
    }

    /// Offers ICE to a leg that had it in another call: it is checked anew, by other names.
    pub(crate) fn offer_ice_as(&mut self, other: Option<&End>, chance: &mut Chance) {
        if self.ice.is_none() && other.and_then(|other| other.ice.as_ref()).is_some_and(|ice| ice.ours.is_some()) {
            let ours = Some(Credentials::draw(&mut chance.fork()));
            self.ice = Some(Box::new(Ice { ours, ..Ice::default() }));
        }
    }

    /// What its leg says in an agreement: an answer without ICE to ours ends it.
    pub(crate) fn hear_ice(&mut self, said: &Said) {
        let Some(ice) = &mut self.ice else { return };
        ice.rests = said.fax;
        if let Some(remote) = said.remote {
            ice.muxed = remote.is_muxed() || said.rtcp_mux && self.muxes;
        }
        match &said.ice {
            Some(theirs) if ice.ours.is_some() => ice.theirs = Some((**theirs).clone()),
            None if said.remote.is_some() && !said.fax => ice.forget(),
            Some(_) | None => {}
        }
    }

    /// Makes its ICE known to the relay, before it is told anything else that goes by that.
    pub(crate) fn begin_checks(&mut self, desk: &mut Desk) {
        let Some(checks) = self.checks() else { return };
        let Some(ice) = self.ice.as_mut().filter(|ice| ice.told.as_deref() != Some(&checks)) else { return };
        ice.told = Some(Box::new(checks.clone()));
        self.tell_checks(Some(Box::new(checks)), desk);
    }

    /// Makes its loss known, after all else.
    pub(crate) fn end_checks(&mut self, desk: &mut Desk) {
        if self.ice.is_none() || self.checks().is_some() {
            return;
        }
        if self.ice.as_mut().is_some_and(|ice| ice.told.take().is_some()) {
            self.tell_checks(None, desk);
        }
        self.ice.take_if(|ice| ice.ours.is_none());
    }

    /// By what its checks are known, as far as both sides have said it.
    fn checks(&self) -> Option<Checks> {
        let ice = self.ice.as_ref().filter(|ice| !ice.rests)?;
        let (ours, theirs) = (ice.ours.clone()?, ice.theirs.as_ref()?.ufrag.clone());
        Some(Checks { ours, theirs, rtcp_mux: ice.muxed })
    }

    /// Who was there is gone.
    pub(crate) fn forget_ice(&mut self) {
        if let Some(ice) = &mut self.ice {
            ice.forget();
        }
    }
}
