//! RTP packets (RFC 3550 §5.1), looked at where they lie.

/// The fixed header. Units: bytes.
pub const HEADER_BYTES: usize = 12;

/// A packet whose header, extension and padding fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpView<'a> {
    bytes: &'a [u8],
    payload_at: usize,
    payload_end: usize,
}

impl<'a> RtpView<'a> {
    /// Looks at a datagram; `None` when it is no RTP packet of version 2, or shorter than it says.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        if first >> 6 != 2 || bytes.len() < HEADER_BYTES {
            return None;
        }
        let mut payload_at = HEADER_BYTES + usize::from(first & 15) * 4;
        if first & 0x10 != 0 {
            let words = u16::from_be_bytes(bytes.get(payload_at + 2..payload_at + 4)?.try_into().ok()?);
            payload_at += 4 + usize::from(words) * 4;
        }
        let padding = if first & 0x20 == 0 { 0 } else { usize::from(*bytes.last()?).max(1) };
        let payload_end = bytes.len().checked_sub(padding).filter(|end| *end >= payload_at)?;
        Some(RtpView { bytes, payload_at, payload_end })
    }

    /// The marker bit: of audio, the first packet after silence (RFC 3551 §4.1).
    pub const fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// The payload type.
    pub const fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    /// The sequence number.
    pub const fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The timestamp. Units: ticks of the codec's clock.
    pub const fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.bytes[4], self.bytes[5], self.bytes[6], self.bytes[7]])
    }

    /// Who sends.
    pub const fn ssrc(&self) -> u32 {
        u32::from_be_bytes([self.bytes[8], self.bytes[9], self.bytes[10], self.bytes[11]])
    }

    /// Who contributed.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let (list, _) = self.bytes[HEADER_BYTES..][..usize::from(self.bytes[0] & 15) * 4].as_chunks();
        list.iter().map(|&csrc| u32::from_be_bytes(csrc))
    }

    /// What stands between header and padding.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_at..self.payload_end]
    }
}

/// The header of a packet of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// The marker bit.
    pub marker: bool,
    /// The payload type, below 128.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp. Units: ticks of the codec's clock.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
}

impl RtpHeader {
    /// The bytes that stand before the payload.
    pub const fn print(self) -> [u8; HEADER_BYTES] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        let second = if self.marker { 0x80 } else { 0 } | self.payload_type & 0x7f;
        [0x80, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RtpHeader =
        RtpHeader { marker: true, payload_type: 101, sequence: 65_535, timestamp: 1 << 31, ssrc: 0xdead_beef };

    #[test]
    fn what_is_printed_is_read() {
        let packet = [&HEADER.print()[..], b"abc"].concat();
        let view = RtpView::parse(&packet).unwrap();
        assert!(view.marker());
        assert_eq!((view.payload_type(), view.sequence()), (101, 65_535));
        assert_eq!((view.timestamp(), view.ssrc(), view.payload()), (1 << 31, 0xdead_beef, &b"abc"[..]));
    }

    #[test]
    fn csrcs_extension_and_padding_are_not_payload() {
        let mut packet = HEADER.print().to_vec();
        packet[0] |= 0x20 | 0x10 | 2;
        packet.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
        packet.extend(b"abc\0\0\x03");
        let view = RtpView::parse(&packet).unwrap();
        assert_eq!(view.csrcs().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(view.payload(), b"abc");
    }

    #[test]
    fn a_packet_shorter_than_it_says_is_none() {
        let mut padded = HEADER.print().to_vec();
        padded[0] |= 0x20;
        padded.push(2);
        assert_eq!(RtpView::parse(&padded), None);
        for first in 0..=255 {
            for length in 0..80 {
                let mut packet = vec![0xff; length];
                if let Some(byte) = packet.first_mut() {
                    *byte = first;
                }
                if let Some(view) = RtpView::parse(&packet) {
                    assert!(view.payload().len() + view.csrcs().count() * 4 + HEADER_BYTES <= length);
                }
            }
        }
    }
}
