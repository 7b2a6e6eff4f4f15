//! A media end of a call in the relay: its ports, what we said about it, and what the relay was told.

use crate::desk::Desk;
use crate::ice::Ice;
use crate::secure::Sdes;
use crate::single::Port;
use media::clocks::Clocks;
use media::command::{Generation, Keys, MediaAddress, MediaCommand, PayloadTypes, PortPair, Sound, Terms};
use media::ice::{Checks, Credentials};
use media::offer::OurSide;
use media::own::Extended;
use media::sdes::Crypto;
use media::sdp::{AudioView, Description, Direction, IceAsked, MediaView};
use serde::{Deserialize, Serialize};
use words::{AccountId, LegId};

/// One end. Legs that ring together in one family share theirs: the one that is heard or that answered has it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct End {
    /// Named by the first leg that used it.
    pub(crate) name: LegId,
    pub(crate) ports: PortPair,
    /// What we said to the leg.
    pub(crate) ours: OurSide,
    /// Our descriptions to its legs say that one port has both RTP and RTCP (RFC 5761).
    #[serde(default)]
    pub(crate) muxes: bool,
    /// Whether our descriptions name the port that many share; if not, maybe why.
    #[serde(default)]
    pub(crate) single: Port,
    /// Its keys, where it speaks SRTP or may.
    #[serde(default)]
    pub(crate) sdes: Option<Box<Sdes>>,
    /// Its ICE, where a leg of it has that.
    #[serde(default)]
    pub(crate) ice: Option<Box<Ice>>,
    generation: Generation,
    setting: Option<Terms>,
    linked: Option<LegId>,
    playing: bool,
}

/// What a side's description says about its audio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) remote: Option<MediaAddress>,
    pub(crate) payload_types: PayloadTypes,
    /// The clocks of those of its payload types that have no other name.
    #[serde(default)]
    pub(crate) clocks: Clocks,
    pub(crate) telephone_event: Option<u8>,
    pub(crate) direction: Direction,
    /// It is a fax (T.38), and no RTP.
    #[serde(default)]
    pub(crate) fax: bool,
    /// The SSRC of what it sends, if it says so.
    #[serde(default)]
    pub(crate) ssrc: Option<u32>,
    /// Which extended reports it wants, of those that we can make; `None`: it knows nothing of them.
    #[serde(default)]
    pub(crate) reports: Option<Extended>,
    /// It has one port for RTP and RTCP, if we said so too (RFC 5761).
    #[serde(default)]
    pub(crate) rtcp_mux: bool,
    /// The fingerprint of the whole description; 0: of none.
    #[serde(default)]
    pub(crate) words: u64,
    /// The key of what it sends, if that is encrypted.
    #[serde(default)]
    pub(crate) crypto: Option<Box<Crypto>>,
    /// How it is named in its checks, if it does ICE.
    #[serde(default)]
    pub(crate) ice: Option<Box<Credentials>>,
}

impl Said {
    /// About what is carried of it. Without audio or fax nothing flows.
    pub(crate) fn of(description: &Description) -> Said {
        Said::of_media(description, description.fax().map(|fax| fax.index), description.audio())
    }

    /// The same of an answer: the lines that its offer's stand for.
    pub(crate) fn of_answer(answer: &Description, offer: &Description) -> Said {
        let audio = offer.audio_index().and_then(|index| answer.audio_at(index));
        Said::of_media(answer, offer.fax().map(|fax| fax.index), audio)
    }

    /// What the exchange itself has to say to this.
    pub(crate) fn of_exchange(&self) -> Said {
        let (remote, direction) = (None, Direction::SendRecv);
        Said { remote, direction, reports: None, words: 0, crypto: None, ice: None, ..self.clone() }
    }

    fn of_media(description: &Description, fax: Option<usize>, audio: Option<AudioView<'_>>) -> Said {
        let nothing = Said {
            remote: None,
            payload_types: PayloadTypes::NONE,
            clocks: Clocks::NONE,
            telephone_event: None,
            direction: Direction::Inactive,
            fax: false,
            ssrc: None,
            reports: None,
            rtcp_mux: false,
            words: description.fingerprint(),
            crypto: None,
            ice: None,
        };
        if let Some(at) = fax {
            let Some(fax) = description.media_at(at).filter(MediaView::is_fax) else { return nothing };
            return Said { remote: fax.remote(), direction: fax.direction(), fax: true, ..nothing };
        }
        match audio {
            Some(audio) if audio.is_accepted => Said {
                remote: audio.remote,
                payload_types: audio.payload_types,
                clocks: audio.clocks,
                telephone_event: audio.telephone_event,
                direction: audio.direction,
                ssrc: audio.ssrc,
                reports: description.extended_of(&audio.media()),
                rtcp_mux: audio.rtcp_mux,
                crypto: audio.crypto().map(Box::new),
                ice: match audio.ice() {
                    Some(IceAsked::Checks(theirs)) => Some(Box::new(theirs)),
                    Some(IceAsked::Mismatch) | None => None,
                },
                ..nothing
            },
            _ => nothing,
        }
    }
}

impl End {
    pub(crate) fn new(name: LegId, ports: PortPair, desk: &mut Desk) -> End {
        End {
            name,
            ports,
            ours: OurSide::new(desk.chance.u64() >> SESSION_ID_SPARE),
            muxes: false,
            single: Port::default(),
            sdes: None,
            ice: None,
            generation: Generation::default(),
            setting: None,
            linked: None,
            playing: false,
        }
    }

    /// Opens the end, or changes what differs.
    pub(crate) fn set(&mut self, setting: Terms, desk: &mut Desk) {
        if self.setting == Some(setting) {
            return;
        }
        let before = self.setting.replace(setting);
        if desk.config.single_port.is_some() {
            desk.sources.change(self.name, before.as_ref(), Some(&setting));
        }
        let first = before.is_none();
        let (end, generation) = (self.name, self.generation.step());
        desk.media(if first {
            MediaCommand::Open { end, ports: self.ports, generation, terms: setting }
        } else {
            MediaCommand::Latch { end, generation, terms: setting }
        });
    }

    /// Tells the relay its keys.
    pub(crate) fn tell_keys(&mut self, keys: Option<Box<Keys>>, desk: &mut Desk) {
        let (end, ports, generation) = (self.name, self.ports, self.generation.step());
        desk.media(MediaCommand::Rekey { end, ports, generation, keys });
    }

    /// Tells the relay by what its checks are known.
    pub(crate) fn tell_checks(&mut self, checks: Option<Box<Checks>>, desk: &mut Desk) {
        let (end, ports, generation) = (self.name, self.ports, self.generation.step());
        desk.media(MediaCommand::Ice { end, ports, generation, checks });
    }

    /// Gives back what room our descriptions were made in: a copy has no more than it needs, and it is kept for hours.
    pub(crate) fn trim(&mut self) {
        self.ours = self.ours.clone();
    }

    /// What the relay was told last.
    pub(crate) fn setting(&self) -> Option<Terms> {
        self.setting
    }

    /// What comes from here goes to `to`.
    pub(crate) fn link(&mut self, to: LegId, desk: &mut Desk) {
        if self.setting.is_some() && self.linked != Some(to) {
            self.linked = Some(to);
            let generation = self.generation.step();
            desk.media(MediaCommand::Link { from: self.name, to, generation });
        }
    }

    /// What comes from here goes nowhere, if it went to `to`.
    pub(crate) fn unlink(&mut self, to: LegId, desk: &mut Desk) {
        if self.linked.take_if(|linked| *linked == to).is_some() {
            let generation = self.generation.step();
            desk.media(MediaCommand::Unlink { from: self.name, generation });
        }
    }

    /// The leg hears a sound.
    pub(crate) fn play(&mut self, sound: Sound, desk: &mut Desk) {
        let Some(setting) = self.setting else { return };
        self.playing = true;
        let payload_type = if setting.payload_types.contains(0) { 0 } else { 8 };
        let generation = self.generation.step();
        desk.media(MediaCommand::Play { end: self.name, generation, sound, payload_type });
    }

    /// It hears no sound.
    pub(crate) fn stop(&mut self, desk: &mut Desk) {
        if std::mem::take(&mut self.playing) {
            let generation = self.generation.step();
            desk.media(MediaCommand::Stop { end: self.name, generation });
        }
    }

    /// Gives the end up. Ports that the relay never heard of go back at once, others when it reports them.
    pub(crate) fn close(mut self, desk: &mut Desk, account: AccountId, now: words::Time) {
        if desk.config.single_port.is_some() {
            desk.sources.change(self.name, self.setting.as_ref(), None);
        }
        if self.setting.is_some() {
            desk.closing.insert(self.name, (self.ports, account));
            let generation = self.generation.step();
            desk.media(MediaCommand::Close { end: self.name, generation });
        } else {
            desk.pool.give_back(self.ports, now).expect("an end's ports were taken when it was made");
        }
    }
}

/// Bits that a session id leaves out: some phones keep it in 32 bits, signed ([`OurSide::new`] takes one more away).
pub(crate) const SESSION_ID_SPARE: u32 = 32;
