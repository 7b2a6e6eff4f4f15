//! What we send.

use super::index::Stream;
use super::{
    CmPair, ENCRYPTED, Iv, MasterKey, RTCP_HEADER_BYTES, RTCP_INDEX_BYTES, STREAMS, SrtpError, Suite, Transform, cm,
    gcm, rollovers, rtp_header_bytes, sequence_of, word_at,
};

/// The context of packets that are encrypted.
pub struct Outbound {
    suite: Suite,
    pub(super) transform: Transform,
    /// The one of the last packet stands last; the one that was not used for the longest gives its place to a new one.
    streams: Vec<Sending>,
    /// SSRCs under which something went out that is not among `streams` any more: never again.
    spent: Vec<u32>,
    /// Once those are too many, SSRCs are of our own making, each one above the last.
    serial: Option<u32>,
    rtcp_index: u32,
}

/// A stream that is passed on. Its packets come from elsewhere, so they come in disorder and with gaps.
#[derive(Debug)]
struct Sending {
    /// Its SSRC as it comes in; `None` once its sender began anew.
    ssrc: Option<u32>,
    /// And as it goes out, with its indices.
    stream: Stream,
    /// How many packets in a row were too old.
    stale: u8,
}

impl Outbound {
    /// A context with fresh session keys.
    pub fn new(master: &MasterKey) -> Self {
        let transform = Transform::new(master);
        let (streams, spent) = (Vec::new(), Vec::new());
        Outbound { suite: master.suite(), transform, streams, spent, serial: None, rtcp_index: 0 }
    }

    /// Encrypts the RTP packet in the first `length` bytes of `buffer`; [`super::TRAILER_BYTES`] must lie behind.
    /// Gives the new length.
    ///
    /// No two packets are ever encrypted with the same keystream: what was sent before is refused as
    /// [`SrtpError::Replayed`]. A sender that begins anew under its old SSRC gets another one, for no receiver could
    /// follow it under the old.
    ///
    /// # Errors
    /// Never [`SrtpError::Forged`]. The packet is as it was then.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let packet = buffer.get(..length).ok_or(SrtpError::Malformed)?;
        let from = rtp_header_bytes(packet).ok_or(SrtpError::Malformed)?;
        if buffer.len() < length + self.suite.rtp_tag_bytes() {
            return Err(SrtpError::Malformed);
        }
        let sequence = sequence_of(buffer);
        let sending = self.stream_of(word_at(buffer, 8), sequence)?;
        let ssrc = sending.stream.ssrc;
        let index = sending.next(sequence)?;
        buffer[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let (iv, span) = (Iv { ssrc, index }, cm::Span { from, end: length });
        match &self.transform {
            Transform::Cm128(pair) => Ok(pair.rtp.seal(buffer, span, iv, rollovers(index), 0)),
            Transform::Cm256(pair) => Ok(pair.rtp.seal(buffer, span, iv, rollovers(index), 0)),
            Transform::Gcm(pair) => {
                let (about, rest) = buffer.split_at_mut(from);
                let (data, rest) = rest.split_at_mut(length - from);
                let (nonce, tag) = (pair[0].rtp_nonce(iv), &mut rest[..gcm::TAG_BYTES]);
                pair[0].seal(nonce, about, data, tag).ok_or(SrtpError::Malformed)?;
                Ok(length + gcm::TAG_BYTES)
            }
        }
    }

    /// Encrypts the RTCP packet in the first `length` bytes of `buffer` (RFC 3711 §3.4); [`super::TRAILER_BYTES`] must
    /// lie behind. Gives the new length.
    ///
    /// # Errors
    /// As [`Outbound::protect_rtp`].
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, SrtpError> {
        let tag = self.suite.rtcp_tag_bytes();
        let fits = length <= super::PACKET_BYTES && buffer.len() >= length + RTCP_INDEX_BYTES + tag;
        if length < RTCP_HEADER_BYTES || !fits || buffer[0] >> 6 != 2 {
            return Err(SrtpError::Malformed);
        }
        let index = self.rtcp_index;
        if index >= ENCRYPTED {
            return Err(SrtpError::Exhausted);
        }
        self.rtcp_index += 1;
        let ssrc = word_at(buffer, 4);
        let ssrc =
            self.streams.iter().find(|sending| sending.ssrc == Some(ssrc)).map_or(ssrc, |sending| sending.stream.ssrc);
        buffer[4..8].copy_from_slice(&ssrc.to_be_bytes());
        let trailer = (ENCRYPTED | index).to_be_bytes();
        let iv = Iv { ssrc, index: index.into() };
        match &self.transform {
            Transform::Cm128(pair) => Ok(seal_rtcp(pair, buffer, length, iv, trailer)),
            Transform::Cm256(pair) => Ok(seal_rtcp(pair, buffer, length, iv, trailer)),
            Transform::Gcm(pair) => {
                let mut about = [0; RTCP_HEADER_BYTES + RTCP_INDEX_BYTES];
                about[..RTCP_HEADER_BYTES].copy_from_slice(&buffer[..RTCP_HEADER_BYTES]);
                about[RTCP_HEADER_BYTES..].copy_from_slice(&trailer);
                let end = length + gcm::TAG_BYTES;
                let (data, tag) = buffer[RTCP_HEADER_BYTES..end].split_at_mut(length - RTCP_HEADER_BYTES);
                pair[1].seal(pair[1].rtcp_nonce(iv), &about, data, tag).ok_or(SrtpError::Malformed)?;
                buffer[end..end + RTCP_INDEX_BYTES].copy_from_slice(&trailer);
                Ok(end + RTCP_INDEX_BYTES)
            }
        }
    }

    fn stream_of(&mut self, ssrc: u32, sequence: u16) -> Result<&mut Sending, SrtpError> {
        let known = self.streams.last().is_some_and(|sending| sending.ssrc == Some(ssrc));
        if !known {
            match self.streams.iter().position(|sending| sending.ssrc == Some(ssrc)) {
                Some(at) => self.streams[at..].rotate_left(1),
                None => self.begin(ssrc, sequence)?,
            }
        }
        if let Some(sending) = self.streams.last_mut()
            && sending.begins_anew(sequence)
        {
            // What went out under the old SSRC stays known, so that nothing is ever sent under it again.
            sending.ssrc = None;
            self.begin(ssrc, sequence)?;
        }
        self.streams.last_mut().ok_or(SrtpError::Exhausted)
    }

    /// A stream that was not there, or whose SSRC cannot be used any more.
    fn begin(&mut self, ssrc: u32, sequence: u16) -> Result<(), SrtpError> {
        if self.streams.len() >= STREAMS {
            let idle = self.streams.remove(0).stream.ssrc;
            // Those of our own making need not be known: none is made twice.
            if self.serial.is_none() {
                self.spent.push(idle);
            }
        }
        if self.serial.is_none() && self.spent.len() >= SPENT {
            self.serial = Some(0);
            self.spent.extend(self.streams.iter().map(|sending| sending.stream.ssrc));
        }
        let taken =
            |out: u32| self.streams.iter().any(|sending| sending.stream.ssrc == out) || self.spent.contains(&out);
        let out = match self.serial {
            None => (0..=(STREAMS + SPENT) as u32).map(|n| ssrc.wrapping_add(n)).find(|out| !taken(*out)),
            Some(serial) => (serial..u32::MAX).find(|out| !taken(*out)),
        };
        let out = out.ok_or(SrtpError::Exhausted)?;
        self.serial = self.serial.map(|_| out.saturating_add(1));
        self.streams.push(Sending { ssrc: Some(ssrc), stream: Stream::before(out, sequence.into()), stale: 0 });
        Ok(())
    }
}

impl Sending {
    /// The index of the next packet, taken note of.
    fn next(&mut self, sequence: u16) -> Result<u64, SrtpError> {
        let index = self.stream.estimate(sequence).filter(|index| self.stream.is_fresh(*index));
        let index = index.ok_or(SrtpError::Replayed)?;
        self.stream.note(index);
        self.stale = 0;
        Ok(index)
    }

    /// Whether its sender went back, for good: a late packet does not come alone, but soon newer ones follow it.
    fn begins_anew(&mut self, sequence: u16) -> bool {
        let old = self.stream.estimate(sequence).is_none_or(|index| self.stream.is_stale(index));
        self.stale = if old { self.stale.saturating_add(1) } else { self.stale };
        self.stale >= BEGINS_ANEW
    }
}

fn seal_rtcp<C: cm::Aes>(pair: &CmPair<C>, buffer: &mut [u8], length: usize, iv: Iv, trailer: [u8; 4]) -> usize {
    let span = cm::Span { from: RTCP_HEADER_BYTES, end: length };
    pair.rtcp().seal(buffer, span, iv, trailer, RTCP_INDEX_BYTES)
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outbound({}, {:?})", self.suite.name(), self.streams)
    }
}

/// How many SSRCs of streams that gave their place away are known; from there on those of new streams are of our own making.
pub(super) const SPENT: usize = 1_024;
/// After how many packets in a row from long ago a sender has begun anew.
const BEGINS_ANEW: u8 = 5;
