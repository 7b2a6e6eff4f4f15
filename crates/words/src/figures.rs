//! How well the media of a leg went, in integers.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One direction of a leg's audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFigures {
    /// Packets that came from the leg; towards it those that were sent there.
    pub packets: u64,
    /// Packets that its sequence numbers miss; towards a leg those that it says it misses, wherever they were lost.
    pub lost: u64,
    /// Interarrival jitter at the end (RFC 3550 §6.4.1). Units: microseconds.
    pub jitter_us: u32,
    /// The mean of what was estimated every few seconds, as people would say it (MOS, ITU-T G.107): 100 to 450, or 0 where
    /// too little came. Units: hundredths.
    pub mos_x100: u16,
    /// The worst of those.
    pub mos_min_x100: u16,
}

/// Both directions of a leg's audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegFigures {
    /// What came from the leg, as we received it.
    pub from: StreamFigures,
    /// What went to the leg, as it says that it received it (RFC 3550 §6.4.2); `None`: it said nothing.
    pub to: Option<StreamFigures>,
    /// From us to the leg and back, the last that was measured. Units: microseconds.
    pub round_trip_us: Option<u32>,
}

impl LegFigures {
    /// The mean of the worse direction, where any is known.
    pub fn mos_x100(&self) -> Option<u16> {
        worse(Some(self.from.mos_x100), self.to.map(|to| to.mos_x100))
    }
}

/// One direction of a leg's audio while its call goes on, as it was at the last look or in the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveStream {
    /// How long ago that was.
    pub age: Duration,
    /// Since the beginning.
    pub whole: StreamFigures,
    /// How the few seconds before sounded: 100 to 450, or 0 where too little came. Units: hundredths.
    pub mos_x100: u16,
    /// The share that was lost of these. Units: hundredths of a percent.
    pub loss_x10000: u16,
}

/// Both directions of a leg's audio while its call goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveFigures {
    /// What came from the leg; `None`: too little came until now to look at it.
    pub from: Option<LiveStream>,
    /// What went to the leg, as it says that it received it; `None`: it said nothing.
    pub to: Option<LiveStream>,
    /// From us to the leg and back, the last that was measured. Units: microseconds.
    pub round_trip_us: Option<u32>,
}

impl LiveFigures {
    /// How the worse direction sounds, where any is known.
    pub fn mos_x100(&self) -> Option<u16> {
        worse(self.from.map(|from| from.mos_x100), self.to.map(|to| to.mos_x100))
    }
}

/// The lower of two opinions, where any is known; 0 is none.
fn worse(from: Option<u16>, to: Option<u16>) -> Option<u16> {
    [from, to].into_iter().flatten().filter(|mos| *mos != 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_direction_counts_while_a_call_goes_on_too() {
        let stream = |mos_x100| Some(LiveStream { mos_x100, ..LiveStream::default() });
        let live = |from, to| LiveFigures { from, to, round_trip_us: None }.mos_x100();
        assert_eq!((live(stream(430), stream(310)), live(stream(0), stream(310))), (Some(310), Some(310)));
        assert_eq!((live(stream(430), None), live(stream(0), None)), (Some(430), None));
    }

    #[test]
    fn the_worse_direction_counts_and_what_is_not_known_does_not() {
        let of = |mos_x100| StreamFigures { mos_x100, ..StreamFigures::default() };
        let leg = |from, to: Option<u16>| LegFigures { from: of(from), to: to.map(of), round_trip_us: None };
        assert_eq!(leg(441, Some(320)).mos_x100(), Some(320));
        assert_eq!(leg(0, Some(430)).mos_x100(), Some(430));
        assert_eq!(leg(0, Some(0)).mos_x100(), None);
        assert_eq!(leg(0, None).mos_x100(), None);
    }
}
