//! One port for RTP and RTCP (RFC 5761): each leg agrees with us on it by itself, whatever the other leg has.

use crate::end::End;
use crate::leg::{Leg, LegState};
use crate::secure::Saying;
use media::sdp::{AudioView, Description};
use words::Chance;

impl End {
    /// A description of ours with what it says of ports and checks.
    pub(crate) fn say_ways(
        &mut self,
        made: Description,
        saying: Saying<'_>,
        leg: &Leg,
        offers_mux: bool,
        chance: &mut Chance,
    ) -> Description {
        let asked = match saying {
            Saying::Answer(offer) => offer.audio().filter(|audio| audio.is_accepted),
            Saying::Offer => None,
        };
        let made = self.share_port(made, saying, asked.as_ref(), offers_mux);
        self.speak_ice(made, saying, asked.as_ref(), leg.ice && leg.state != LegState::Confirmed, chance)
    }

    /// A description of ours, with `a=rtcp-mux` where that is right: in answers to who offered it, and in offers to who
    /// did so before, or to all if `offers`. `asked` is the audio of an offer that is answered.
    fn share_port(
        &mut self,
        made: Description,
        saying: Saying<'_>,
        asked: Option<&AudioView<'_>>,
        offers: bool,
    ) -> Description {
        self.muxes = match saying {
            Saying::Offer => self.muxes || offers,
            Saying::Answer(_) => asked.is_some_and(|audio| audio.rtcp_mux),
        };
        if self.muxes { made.with_rtcp_mux() } else { made }
    }
}
