//! One port for RTP and RTCP (RFC 5761): each leg agrees with us on it by itself, whatever the other leg has.

use crate::end::End;
use crate::secure::Saying;
use media::sdp::{AudioView, Description};

impl End {
    /// A description of ours, with `a=rtcp-mux` where that is right: in answers to who offered it, and in offers to who
    /// did so before, or to all if `offers`. `asked` is the audio of an offer that is answered.
    pub(crate) fn share_port(
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
