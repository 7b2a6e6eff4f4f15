//! The clocks of RTP timestamps by payload type: of static ones by RFC 3551, of dynamic ones as descriptions say it.

use crate::codec::static_codec;
use serde::{Deserialize, Serialize};

/// What descriptions say of the clocks of dynamic payload types (`a=rtpmap`, RFC 8866 §6.6), in four bits each: 0 for nothing,
/// the place of a rate in [`RATES`], or behind those one in [`EVENT_RATES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Clocks(u128);

/// When a packet was sampled, as its sender says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its timestamp (RFC 3550 §5.1). Units: ticks.
    pub ticks: u32,
    /// How many of them a second has. Units: Hz.
    pub clock_hz: u32,
}

impl Clocks {
    /// Nothing is said.
    pub const NONE: Clocks = Clocks(0);

    /// The clock of a payload type whose timestamps run with what is heard. `None` for telephone events, which stand still
    /// while they last, and for what nobody said. Units: Hz.
    #[inline]
    pub const fn of(self, payload_type: u8) -> Option<u32> {
        if payload_type < FIRST {
            return match static_codec(payload_type) {
                Some((_, clock_hz, _)) => Some(clock_hz),
                None => None,
            };
        }
        at(&RATES, self.place(payload_type).wrapping_sub(1))
    }

    /// The clock of telephone events of a payload type. Units: Hz.
    pub const fn of_events(self, payload_type: u8) -> Option<u32> {
        at(&EVENT_RATES, self.place(payload_type).wrapping_sub(RATES.len() + 1))
    }

    /// These, and what a description says of one more. What was said first holds; clocks that no audio has are not kept.
    #[must_use]
    pub fn with(self, payload_type: u8, name: &str, clock_hz: u32) -> Clocks {
        // The timestamps of tones (RFC 4733 §4) stand still, too.
        if !DYNAMIC.contains(&payload_type) || self.place(payload_type) != 0 || name.eq_ignore_ascii_case("tone") {
            return self;
        }
        let is_event = name.eq_ignore_ascii_case("telephone-event");
        let (rates, before): (&[u32], usize) = if is_event { (&EVENT_RATES, RATES.len()) } else { (&RATES, 0) };
        let Some(place) = rates.iter().position(|known| *known == clock_hz) else { return self };
        Clocks(self.0 | ((before + place + 1) as u128) << shift(payload_type))
    }

    /// These, and what others say of payload types that nothing is said of here.
    #[must_use]
    pub fn or(self, others: Clocks) -> Clocks {
        let of = |payload_type: u8| {
            let mine = self.0 & PLACE << shift(payload_type);
            if mine == 0 { others.0 & PLACE << shift(payload_type) } else { mine }
        };
        Clocks(DYNAMIC.map(of).fold(0, |all, one| all | one))
    }

    const fn place(self, payload_type: u8) -> usize {
        if payload_type < FIRST || payload_type > LAST {
            return 0;
        }
        (self.0 >> shift(payload_type) & PLACE) as usize
    }
}

const fn at(rates: &[u32], place: usize) -> Option<u32> {
    if place < rates.len() { Some(rates[place]) } else { None }
}

const fn shift(payload_type: u8) -> u32 {
    (payload_type - FIRST) as u32 * 4
}

/// Clocks that audio has (RFC 3551 §4.5, and formats after it: 48,000 is Opus, 16,000 AMR-WB). Units: Hz.
const RATES: [u32; 10] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000];
/// Those of telephone events beside them (RFC 4733 §2.1). Units: Hz.
const EVENT_RATES: [u32; 5] = [8_000, 16_000, 24_000, 32_000, 48_000];
/// The payload types that descriptions give away (RFC 3551 §6).
const DYNAMIC: std::ops::RangeInclusive<u8> = FIRST..=LAST;
const FIRST: u8 = 96;
const LAST: u8 = 127;
/// What one payload type has.
const PLACE: u128 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_those_of_the_table_or_as_they_were_said() {
        let clocks = Clocks::NONE
            .with(96, "AMR-WB", 16_000)
            .with(111, "opus", 48_000)
            .with(111, "speex", 8_000)
            .with(127, "L16", 90_000)
            .with(101, "Telephone-Event", 8_000)
            .with(110, "telephone-event", 48_000)
            .with(112, "tone", 8_000)
            .with(113, "made-up", 7_999)
            .with(9, "G722", 16_000)
            .with(128, "opus", 48_000);
        assert_eq!([96, 111, 127].map(|of| clocks.of(of)), [Some(16_000), Some(48_000), Some(90_000)]);
        assert_eq!([97, 101, 110, 112, 113, 128, 200, 50].map(|of| clocks.of(of)), [None; 8]);
        // RFC 3551 §4.5.2: G.722 has 8,000 whatever is said of it.
        assert_eq!(
            [0, 9, 10, 6, 2].map(|of| clocks.of(of)),
            [Some(8_000), Some(8_000), Some(44_100), Some(16_000), None]
        );
        assert_eq!(
            [101, 110, 111, 0, 255].map(|of| clocks.of_events(of)),
            [Some(8_000), Some(48_000), None, None, None]
        );
    }

    #[test]
    fn what_one_side_does_not_say_the_other_does() {
        let one = Clocks::NONE.with(111, "opus", 48_000);
        let both = one.or(Clocks::NONE.with(111, "speex", 16_000).with(98, "iLBC", 8_000));
        assert_eq!((both.of(111), both.of(98), both.of(99)), (Some(48_000), Some(8_000), None));
    }
}
