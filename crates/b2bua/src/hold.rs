//! What an agreed pair of descriptions means for the two ends: directions, hold, and whether silence counts.

use crate::call::Call;
use crate::end::Said;
use media::command::{MediaAddress, SourceRule, Terms, Whereabouts};
use media::sdp::Direction;
use std::time::Duration;

/// One side of the agreement beside its description.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) said: Said,
    pub(crate) source: SourceRule,
    pub(crate) whereabouts: Whereabouts,
}

impl Call {
    /// What a leg said, and from where its packets may come.
    pub(crate) fn side(&self, at: usize, said: Said) -> Side {
        let (source, whereabouts) = self.sources(at, &said);
        let remote = self.reached(at, &said);
        Side { said: Said { remote, ..said }, source, whereabouts }
    }

    /// Where a leg's packets go: RTCP to the port of RTP where both it and we said so (RFC 5761 §5.1.1).
    pub(crate) fn reached(&self, at: usize, said: &Said) -> Option<MediaAddress> {
        let muxes = said.rtcp_mux && self.ends.get(self.legs[at].end).is_some_and(|end| end.muxes);
        said.remote.map(|remote| if muxes { remote.muxed() } else { remote })
    }

    /// From where a leg's packets may come, and from whom they are rather expected.
    pub(crate) fn sources(&self, at: usize, said: &Said) -> (SourceRule, Whereabouts) {
        let leg = &self.legs[at];
        let source = leg.source(said);
        let port = self.ends.get(leg.end).map(|end| end.single).unwrap_or_default();
        let whereabouts = port.whereabouts(said.ssrc);
        let whereabouts = match source {
            SourceRule::Strict => whereabouts,
            SourceRule::LearnOnce | SourceRule::HearOnce => {
                Whereabouts { host: Some(leg.flow.remote.ip().to_canonical()), ..whereabouts }
            }
        };
        (source, whereabouts)
    }
}

/// The settings of the ends of who offered and of who answered.
///
/// Silence counts only while both sides send: a side on hold may well be silent.
pub(crate) fn settle(offer: &Side, answer: &Side, silence: Option<Duration>) -> (Terms, Terms) {
    // As the answering side sees it; an answer cannot allow more than the offer did (RFC 3264 §6.1).
    let direction = answer.said.direction.and(offer.said.direction.reversed());
    // The receiver of a fax is silent for whole pages.
    let fax = offer.said.fax || answer.said.fax;
    let silence = silence.filter(|_| direction == Direction::SendRecv && !fax);
    let payload_types = offer.said.payload_types.union(answer.said.payload_types);
    let setting = |side: &Side, other: &Side, direction| Terms {
        source: side.source,
        whereabouts: side.whereabouts,
        remote: side.said.remote,
        payload_types,
        // A sender uses the receiver's numbers.
        clocks: other.said.clocks.or(side.said.clocks),
        telephone_event: other.said.telephone_event.or(side.said.telephone_event),
        direction,
        // Between two who both know extended reports their own pass. Of one that knows none we send them in its place.
        extended: side.said.reports.filter(|_| other.said.reports.is_none()).unwrap_or_default(),
        silence: silence.into(),
    };
    // We are to each leg what the other leg is: our words to the offering side are the answer's.
    (setting(offer, answer, direction), setting(answer, offer, direction.reversed()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::command::PayloadTypes;

    fn side(direction: Direction, types: PayloadTypes) -> Side {
        let said = Said {
            remote: None,
            payload_types: types,
            clocks: media::clocks::Clocks::NONE,
            telephone_event: None,
            direction,
            fax: false,
            ssrc: None,
            reports: None,
            rtcp_mux: false,
            words: 0,
            crypto: None,
            ice: None,
        };
        Side { said, source: SourceRule::Strict, whereabouts: Whereabouts::default() }
    }

    fn directions(offer: Direction, answer: Direction) -> (Direction, Direction, bool) {
        let types = PayloadTypes::NONE.with(0);
        let (a, b) = settle(&side(offer, types), &side(answer, types), Some(Duration::from_secs(1)));
        (a.direction, b.direction, a.silence.counts())
    }

    #[test]
    fn hold_turns_both_ends_and_stops_the_silence_clock() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        assert_eq!(directions(SendRecv, SendRecv), (SendRecv, SendRecv, true));
        // The offering side holds: it sends music, so we take from it and send it nothing.
        assert_eq!(directions(SendOnly, RecvOnly), (RecvOnly, SendOnly, false));
        assert_eq!(directions(Inactive, Inactive), (Inactive, Inactive, false));
        // An answer that says too much is cut down to the offer.
        assert_eq!(directions(SendOnly, SendRecv), (RecvOnly, SendOnly, false));
    }

    #[test]
    fn both_sides_types_may_come() {
        let (offer, answer) = (PayloadTypes::NONE.with(0).with(8), PayloadTypes::NONE.with(8).with(101));
        let (a, b) = settle(&side(Direction::SendRecv, offer), &side(Direction::SendRecv, answer), None);
        assert_eq!(a.payload_types.iter().collect::<Vec<_>>(), [0, 8, 101]);
        assert_eq!(b.payload_types, a.payload_types);
    }

    #[test]
    fn a_number_means_what_the_receiver_said_of_it() {
        let clocks = |types: &[(u8, &str, u32)]| {
            types.iter().fold(media::clocks::Clocks::NONE, |all, (of, name, hz)| all.with(*of, name, *hz))
        };
        let mut offer = side(Direction::SendRecv, PayloadTypes::NONE.with(96).with(111));
        let mut answer = side(Direction::SendRecv, PayloadTypes::NONE.with(96));
        offer.said.clocks = clocks(&[(96, "AMR-WB", 16_000), (111, "opus", 48_000)]);
        answer.said.clocks = clocks(&[(96, "speex", 32_000)]);
        let (a, b) = settle(&offer, &answer, None);
        let of = |terms: &Terms| [96, 111].map(|of| terms.clocks.of(of));
        assert_eq!(of(&a), [Some(32_000), Some(48_000)], "what comes from who offered has the numbers of the answer");
        assert_eq!(of(&b), [Some(16_000), Some(48_000)]);
    }
}
