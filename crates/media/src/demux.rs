//! What a datagram on a media port is, told by its first bytes (RFC 7983, RFC 5761 §4).

/// A protocol that shares media ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// STUN (RFC 8489).
    Stun,
    /// ZRTP (RFC 6189).
    Zrtp,
    /// DTLS (RFC 6347).
    Dtls,
    /// A TURN channel (RFC 8656).
    TurnChannel,
    /// RTP (RFC 3550).
    Rtp,
    /// RTCP (RFC 3550).
    Rtcp,
    /// None of them, or too short to tell.
    Unknown,
}

/// Tells by the first byte, and RTCP from RTP by the second: packet types 192 to 223 (RFC 5761 §4).
pub const fn protocol(datagram: &[u8]) -> Protocol {
    match datagram {
        [0..=3, ..] => Protocol::Stun,
        [16..=19, ..] => Protocol::Zrtp,
        [20..=63, ..] => Protocol::Dtls,
        [64..=79, ..] => Protocol::TurnChannel,
        [128..=191, 192..=223, ..] => Protocol::Rtcp,
        [128..=191, _, ..] => Protocol::Rtp,
        _ => Protocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_are_told_apart_as_in_the_figure_of_the_rfc() {
        for (first, expected) in [
            (0, Protocol::Stun),
            (3, Protocol::Stun),
            (4, Protocol::Unknown),
            (15, Protocol::Unknown),
            (16, Protocol::Zrtp),
            (20, Protocol::Dtls),
            (63, Protocol::Dtls),
            (64, Protocol::TurnChannel),
            (80, Protocol::Unknown),
            (127, Protocol::Unknown),
            (128, Protocol::Rtp),
            (191, Protocol::Rtp),
            (192, Protocol::Unknown),
            (255, Protocol::Unknown),
        ] {
            assert_eq!(protocol(&[first, 0, 0]), expected, "{first}");
        }
        assert_eq!(protocol(&[]), Protocol::Unknown);
        assert_eq!(protocol(&[0x80]), Protocol::Unknown);
    }

    #[test]
    fn a_receiver_report_is_not_a_packet_of_type_73_with_marker() {
        assert_eq!(protocol(&[0x81, 201]), Protocol::Rtcp);
        assert_eq!(protocol(&[0x80, 0xe5]), Protocol::Rtp);
        assert_eq!(protocol(&[0x80, 191]), Protocol::Rtp);
    }
}
