//! Keys of legs that speak SRTP: what is offered to whom, what is answered, and what the relay is told (RFC 4568,
//! RFC 8643).
//!
//! Each leg has its own keys: one may be encrypted and the other not. A key of ours lasts as long as the media end that
//! it belongs to, whatever is negotiated meanwhile, so that its packets are counted on.

use crate::call::Call;
use crate::desk::Desk;
use crate::end::{End, Said};
use crate::leg::{Leg, LegState};
use crate::view::CallState;
use media::command::Keys;
use media::sdes::{self, Crypto, OFFERED, OFFERED_SHORT};
use media::sdp::Description;
use media::srtp::MasterKey;
use serde::{Deserialize, Serialize};
use words::{Chance, Srtp};

/// How a leg that has agreed to nothing yet is offered audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Without keys.
    Plain,
    /// With keys that it may take up or not (RFC 8643).
    Opportunistic,
    /// With keys, or not at all.
    Encrypted,
}

/// What a description of ours is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Saying<'a> {
    /// An offer.
    Offer,
    /// The answer to this offer of the leg.
    Answer(&'a Description),
}

/// The keys of an end: a call without encryption has none of this.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sdes {
    /// Whether the protocol says that audio is encrypted: it is then, or there is none.
    savp: bool,
    /// Our keys towards its legs, as we said them last. None: plain audio was offered, or agreed to.
    lines: Vec<Crypto>,
    /// What the relay was told.
    told: Option<Keys>,
}

impl Sdes {
    /// The line of ours that answers a line of theirs, or that a line of theirs answers.
    fn line(&self, theirs: &Crypto) -> Option<&Crypto> {
        self.lines.iter().find(|ours| ours.tag == theirs.tag && ours.key.suite() == theirs.key.suite())
    }

    /// Answers a line: with the key that there is for its suite, or a new one.
    fn answer(&mut self, theirs: &Crypto, savp: bool, chance: &mut Chance) {
        let suite = theirs.key.suite();
        let known = std::mem::take(&mut self.lines).into_iter().find(|line| line.key.suite() == suite);
        let key = known.map_or_else(|| MasterKey::draw(suite, &mut chance.fork()), |line| line.key);
        (self.savp, self.lines) = (savp, vec![Crypto { tag: theirs.tag, key }]);
    }
}

impl End {
    /// The keys that were offered or agreed to, if any were.
    fn offers(&self) -> Option<&Sdes> {
        self.sdes.as_deref().filter(|sdes| !sdes.lines.is_empty())
    }

    /// The line that its leg agreed with us by.
    pub(crate) fn heard_keys(&self) -> Option<Box<Crypto>> {
        let sdes = self.sdes.as_ref()?;
        let told = sdes.told.as_ref()?;
        let ours = sdes.lines.iter().find(|line| line.key == told.outbound)?;
        Some(Box::new(Crypto { tag: ours.tag, key: told.inbound.clone() }))
    }

    /// Offers what another end of the same leg offered, with new keys: this one counts its packets anew.
    pub(crate) fn offer_as(&mut self, other: Option<&End>, short: bool, chance: &mut Chance) {
        if self.offers().is_none()
            && let Some(sdes) = other.and_then(End::offers)
        {
            let ours = self.sdes.get_or_insert_default();
            (ours.savp, ours.lines) = (sdes.savp, draw(short, chance));
        }
    }

    /// Gives the end its keys, or takes them away.
    fn rekey(&mut self, keys: Option<Keys>, desk: &mut Desk) {
        if self.sdes.as_ref().and_then(|sdes| sdes.told.as_ref()) != keys.as_ref() {
            self.sdes.get_or_insert_default().told.clone_from(&keys);
            self.tell_keys(keys.map(Box::new), desk);
        }
        self.sdes.take_if(|sdes| sdes.told.is_none() && sdes.lines.is_empty());
    }
}

fn draw(short: bool, chance: &mut Chance) -> Vec<Crypto> {
    let suites: &[_] = if short { &OFFERED_SHORT } else { &OFFERED };
    // Keys have a stream of chance of their own: what else is drawn here is seen by everybody.
    sdes::draw(suites, &mut chance.fork())
}

impl Leg {
    /// How it is offered audio.
    pub(crate) fn offered(&self) -> Offered {
        offered(self.srtp, self.flow.transport.is_secure())
    }
}

/// How whoever has this rule is offered audio, over signalling that is encrypted or is not.
pub(crate) fn offered(srtp: Srtp, encrypted: bool) -> Offered {
    match srtp {
        Srtp::Optional if encrypted => Offered::Opportunistic,
        // Keys that everybody on the way can read protect nothing, and some phones stumble over them.
        Srtp::Off | Srtp::Optional => Offered::Plain,
        Srtp::Required => Offered::Encrypted,
    }
}

/// Gives a description of ours what keys it needs.
pub(crate) fn dress(
    end: &mut End,
    leg: &mut Leg,
    made: Description,
    saying: Saying<'_>,
    chance: &mut Chance,
) -> Description {
    match saying {
        Saying::Offer => {
            let is_new = leg.state != LegState::Confirmed || end.ours.last().is_none() || leg.srtp == Srtp::Required;
            let offered = leg.offered();
            if is_new && offered != Offered::Plain && end.offers().is_none() {
                let sdes = end.sdes.get_or_insert_default();
                let short = !leg.flow.transport.is_reliable();
                (sdes.savp, sdes.lines) = (offered == Offered::Encrypted, draw(short, chance));
            }
            match end.offers() {
                Some(sdes) => sdes::dress(&made, sdes.savp, &sdes.lines),
                None => made,
            }
        }
        Saying::Answer(offer) if sdes::concerns(offer) => {
            let audio = offer.audio().filter(|audio| audio.is_accepted);
            let Some((audio, theirs)) = audio.and_then(|audio| Some((audio, audio.crypto()?))) else { return made };
            if made.media_at(audio.index).is_none_or(|media| media.port == 0) {
                return made;
            }
            let savp = audio.media().is_savp();
            if savp {
                // What it asked for it gets as long as it is here.
                leg.srtp = Srtp::Required;
            }
            let sdes = end.sdes.get_or_insert_default();
            sdes.answer(&theirs, savp, chance);
            sdes::dress(&made, false, &sdes.lines)
        }
        Saying::Answer(_) => made,
    }
}

impl Call {
    /// An end that nobody is at any more is told of anew: who was there before knows its keys.
    pub(crate) fn forget_offered(&mut self, at: usize) {
        let end = &self.ends[at];
        if (end.sdes.is_some() || end.ice.is_some() || end.muxes)
            && !self.legs.iter().any(|leg| leg.end == at && self.has_media(leg))
        {
            let end = &mut self.ends[at];
            end.muxes = false;
            end.forget_ice();
            if let Some(sdes) = &mut end.sdes {
                sdes.lines.clear();
            }
        }
    }

    /// Whether a leg's answer has keys that answer ours, or needs none.
    pub(crate) fn keys_fit(&self, at: usize, answer: &Description) -> bool {
        if !sdes::concerns(answer) {
            return true;
        }
        let Some(audio) = answer.audio().filter(|audio| audio.is_accepted) else { return true };
        let sdes = self.ends.get(self.legs[at].end).and_then(End::offers);
        match (audio.crypto(), sdes) {
            (Some(theirs), Some(sdes)) => sdes.line(&theirs).is_some(),
            // Keys in an answer to nothing mean nothing.
            (Some(_), None) => !audio.media().is_savp(),
            (None, _) => true,
        }
    }

    /// What the relay needs to speak with a leg as both said.
    pub(crate) fn keys_of(&mut self, desk: &mut Desk, at: usize, said: &Said) -> Option<Keys> {
        let answered = self.state == CallState::Answered;
        if let Some(end) = self.ends.get_mut(self.legs[at].end) {
            end.hear_ice(said);
        }
        let sdes = self.ends.get_mut(self.legs[at].end)?.sdes.as_deref_mut()?;
        if said.fax {
            // It is not encrypted, and when talk goes on after it, packets are counted anew: not with the same key.
            if !sdes.lines.is_empty() {
                sdes.lines = draw(false, &mut desk.chance);
            }
            return None;
        }
        let ours = said.crypto.as_ref().and_then(|theirs| sdes.line(theirs).cloned());
        if answered && said.remote.is_some() {
            // Nobody else rings any more: what was not taken up is not offered again.
            sdes.lines = ours.iter().cloned().collect();
        }
        let inbound = said.crypto.as_ref()?.key.clone();
        Some(Keys { inbound, outbound: ours?.key })
    }

    /// Makes keys and their loss known to the relay in the order that lets nothing pass between.
    pub(crate) fn agree(&mut self, desk: &mut Desk, at: usize, setting: media::command::Terms, keys: Option<Keys>) {
        let Some(end) = self.ends.get_mut(self.legs[at].end) else { return };
        end.begin_checks(desk);
        if keys.is_some() {
            end.rekey(keys, desk);
            end.set(setting, desk);
        } else {
            // Who wants to hear nothing has no less to do with its keys: taken up again, they must not begin anew.
            let rests = setting.remote.is_none();
            end.set(setting, desk);
            if !rests {
                end.rekey(None, desk);
            }
        }
        end.end_checks(desk);
    }
}
