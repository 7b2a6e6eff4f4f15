//! Payload types and their clocks (RFC 3551).

/// A codec that the exchange itself speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law, payload type 0.
    Pcmu,
    /// G.711 A-law, payload type 8.
    Pcma,
    /// Telephone events (RFC 4733), a dynamic payload type.
    TelephoneEvent,
}

impl Codec {
    /// The encoding name (RFC 3551 §6, RFC 4733 §7.1).
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::TelephoneEvent => "telephone-event",
        }
    }

    /// The rate of the RTP timestamp. Units: Hz.
    pub const fn clock_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::TelephoneEvent => 8_000,
        }
    }

    /// The payload type in offers of our own: the static one, or 101, which phones expect for events.
    pub const fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::TelephoneEvent => 101,
        }
    }
}

/// Name, clock (Hz) and channels of a static audio payload type (RFC 3551 §6, table 4).
pub const fn static_codec(payload_type: u8) -> Option<(&'static str, u32, u8)> {
    Some(match payload_type {
        0 => ("PCMU", 8_000, 1),
        3 => ("GSM", 8_000, 1),
        4 => ("G723", 8_000, 1),
        5 => ("DVI4", 8_000, 1),
        6 => ("DVI4", 16_000, 1),
        7 => ("LPC", 8_000, 1),
        8 => ("PCMA", 8_000, 1),
        // G.722 samples at 16 kHz; its clock of 8 kHz is an error of old that stays (RFC 3551 §4.5.2).
        9 => ("G722", 8_000, 1),
        10 => ("L16", 44_100, 2),
        11 => ("L16", 44_100, 1),
        12 => ("QCELP", 8_000, 1),
        13 => ("CN", 8_000, 1),
        14 => ("MPA", 90_000, 1),
        15 => ("G728", 8_000, 1),
        16 => ("DVI4", 11_025, 1),
        17 => ("DVI4", 22_050, 1),
        18 => ("G729", 8_000, 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_static_types_are_those_of_the_table() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            assert_eq!(static_codec(codec.payload_type()), Some((codec.name(), codec.clock_hz(), 1)));
        }
        assert_eq!(static_codec(Codec::TelephoneEvent.payload_type()), None);
    }
}
