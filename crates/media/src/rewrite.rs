//! What a B2BUA changes in the RTP headers of one direction, so that the other side hears one stream whoever speaks.

use crate::rtp::HEADER_BYTES;

/// A change of RTP headers (RFC 3550 §5.1); the default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite {
    /// The SSRC in place of the sender's.
    pub ssrc: Option<u32>,
    /// What is added to sequence numbers, around their end.
    pub sequence_added: u16,
    /// What is added to timestamps, around their end. Units: ticks of the codec's clock.
    pub timestamp_added: u32,
    /// The payload type in place of the sender's, below 128.
    pub payload_type: Option<u8>,
}

impl Rewrite {
    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        *self == Rewrite::default()
    }

    /// Changes a valid RTP packet in place; what is too short to be one stays as it is.
    #[inline]
    pub fn apply(&self, packet: &mut [u8]) {
        let Some(header) = packet.first_chunk_mut::<HEADER_BYTES>() else { return };
        if let Some(payload_type) = self.payload_type {
            header[1] = header[1] & 0x80 | payload_type & 0x7f;
        }
        let sequence = u16::from_be_bytes([header[2], header[3]]).wrapping_add(self.sequence_added);
        let timestamp = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        header[2..4].copy_from_slice(&sequence.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.wrapping_add(self.timestamp_added).to_be_bytes());
        if let Some(ssrc) = self.ssrc {
            header[8..12].copy_from_slice(&ssrc.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{RtpHeader, RtpView};

    #[test]
    fn numbers_wrap_and_what_is_not_named_stays() {
        let header = RtpHeader { marker: true, payload_type: 8, sequence: u16::MAX, timestamp: u32::MAX, ssrc: 7 };
        let mut packet = [&header.print()[..], b"voice"].concat();
        Rewrite { ssrc: None, sequence_added: 2, timestamp_added: 161, payload_type: Some(101) }.apply(&mut packet);
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!((view.marker(), view.payload_type(), view.sequence()), (true, 101, 1));
        assert_eq!((view.timestamp(), view.ssrc(), view.payload()), (160, 7, &b"voice"[..]));
        let ssrc = Rewrite { ssrc: Some(9), ..Rewrite::default() };
        ssrc.apply(&mut packet);
        assert_eq!(RtpView::parse(&packet).unwrap().ssrc(), 9);
        assert!(Rewrite::default().is_none() && !ssrc.is_none());
        ssrc.apply(&mut packet[..11]);
    }
}
