//! What we receive.

use super::index::{Streams, estimate};
use super::{
    CmPair, ENCRYPTED, Iv, MasterKey, PACKET_BYTES, RTCP_HEADER_BYTES, RTCP_INDEX_BYTES, SrtpError, Suite, Transform,
    cm, gcm, rollovers, rtp_header_bytes, sequence_of, word_at,
};

/// The context of packets that are decrypted.
pub struct Inbound {
    suite: Suite,
    transform: Transform,
    pub(super) rtp: Streams,
    rtcp: Streams,
    /// Where streams stood under the key before this one: some senders go on counting rollovers.
    before: Vec<(u32, u64)>,
}

impl Inbound {
    /// A context with fresh session keys.
    pub fn new(master: &MasterKey) -> Self {
        let transform = Transform::new(master);
        let (rtp, rtcp) = (Streams::default(), Streams::default());
        Inbound { suite: master.suite(), transform, rtp, rtcp, before: Vec::new() }
    }

    /// A context that takes the place of `old`: its streams may go on, with rollovers counted on or anew.
    pub fn succeed(master: &MasterKey, old: &Inbound) -> Self {
        Inbound { before: old.rtp.newest().collect(), ..Inbound::new(master) }
    }

    /// Checks an RTP packet and decrypts it where it lies (RFC 3711 §3.3); gives its new length.
    ///
    /// # Errors
    /// Nothing is learnt from a packet that does not pass, and what is left of it must not be used.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let tag = self.suite.rtp_tag_bytes();
        let from = rtp_header_bytes(packet).ok_or(SrtpError::Malformed)?;
        let end = packet.len().checked_sub(tag).filter(|end| *end >= from).ok_or(SrtpError::Malformed)?;
        let (ssrc, sequence) = (word_at(packet, 8), sequence_of(packet));
        let Some(stream) = self.rtp.find(ssrc) else { return self.begin(packet, from, end) };
        let index = stream.estimate(sequence).filter(|index| stream.is_fresh(*index)).ok_or(SrtpError::Replayed)?;
        self.open_rtp(packet, from, end, Iv { ssrc, index })?;
        self.rtp.note(ssrc, index);
        Ok(end)
    }

    /// The first packet of a stream: its rollover counter is 0, unless we missed how it began. One that gave its place away goes
    /// on where it was.
    fn begin(&mut self, packet: &mut [u8], from: usize, end: usize) -> Result<usize, SrtpError> {
        let (ssrc, sequence) = (word_at(packet, 8), sequence_of(packet));
        if let Some(newest) = self.rtp.retired(ssrc) {
            let index = estimate(newest, sequence).filter(|index| *index > newest).ok_or(SrtpError::Replayed)?;
            self.open_rtp(packet, from, end, Iv { ssrc, index })?;
            self.rtp.note(ssrc, index);
            return Ok(end);
        }
        let counted = self.before.iter().find(|(known, _)| *known == ssrc);
        let counted = counted.and_then(|(_, newest)| estimate(*newest, sequence));
        // Streams begin in the lower half, so as not to wrap soon; one that did not may have wrapped before we heard it.
        let wrapped = (sequence < 1 << 15).then_some(1 << 16 | u64::from(sequence));
        let mut copy = [0; PACKET_BYTES];
        copy[..packet.len()].copy_from_slice(packet);
        for index in [Some(u64::from(sequence)), counted, wrapped].into_iter().flatten() {
            if self.open_rtp(packet, from, end, Iv { ssrc, index }).is_ok() {
                self.rtp.note(ssrc, index);
                return Ok(end);
            }
            packet.copy_from_slice(&copy[..packet.len()]);
        }
        Err(SrtpError::Forged)
    }

    fn open_rtp(&self, packet: &mut [u8], from: usize, end: usize, iv: Iv) -> Result<(), SrtpError> {
        let genuine = match &self.transform {
            Transform::Cm128(pair) => open_rtp(&pair.rtp, packet, from, end, iv),
            Transform::Cm256(pair) => open_rtp(&pair.rtp, packet, from, end, iv),
            Transform::Gcm(pair) => {
                let (about, data) = packet.split_at_mut(from);
                pair[0].open(pair[0].rtp_nonce(iv), about, data)
            }
        };
        if genuine { Ok(()) } else { Err(SrtpError::Forged) }
    }

    /// Checks an RTCP packet and decrypts it where it lies (RFC 3711 §3.4); gives its new length.
    ///
    /// # Errors
    /// As [`Inbound::unprotect_rtp`].
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let behind = RTCP_INDEX_BYTES + self.suite.rtcp_tag_bytes();
        let end = packet.len().checked_sub(behind).filter(|end| *end >= RTCP_HEADER_BYTES);
        let end = end.filter(|_| packet[0] >> 6 == 2 && packet.len() <= PACKET_BYTES).ok_or(SrtpError::Malformed)?;
        // The index stands before the tag of HMAC-SHA1, and behind that of GCM (RFC 7714 §9.3).
        let at = if self.suite.is_aead() { packet.len() - RTCP_INDEX_BYTES } else { end };
        let word = word_at(packet, at);
        let (ssrc, index) = (word_at(packet, 4), u64::from(word & !ENCRYPTED));
        let is_fresh = match self.rtcp.find(ssrc) {
            Some(stream) => stream.is_fresh(index),
            None => self.rtcp.retired(ssrc).is_none_or(|newest| index > newest),
        };
        if !is_fresh {
            return Err(SrtpError::Replayed);
        }
        let iv = Iv { ssrc, index };
        let genuine = match &self.transform {
            Transform::Cm128(pair) => open_rtcp(pair, packet, end, iv, word),
            Transform::Cm256(pair) => open_rtcp(pair, packet, end, iv, word),
            Transform::Gcm(pair) => open_rtcp_gcm(&pair[1], packet, end, iv, word),
        };
        if !genuine {
            return Err(SrtpError::Forged);
        }
        self.rtcp.note(ssrc, index);
        Ok(end)
    }
}

fn open_rtp<C: cm::Aes>(cm: &cm::Cm<C>, packet: &mut [u8], from: usize, end: usize, iv: Iv) -> bool {
    let genuine = cm.is_genuine(&packet[..end], rollovers(iv.index), &packet[end..]);
    if genuine {
        cm.decrypt(iv, &mut packet[from..end]);
    }
    genuine
}

fn open_rtcp<C: cm::Aes>(pair: &CmPair<C>, packet: &mut [u8], end: usize, iv: Iv, word: u32) -> bool {
    let cm = pair.rtcp();
    let genuine = cm.is_genuine(&packet[..end], word.to_be_bytes(), &packet[end + RTCP_INDEX_BYTES..]);
    if genuine && word & ENCRYPTED != 0 {
        cm.decrypt(iv, &mut packet[RTCP_HEADER_BYTES..end]);
    }
    genuine
}

fn open_rtcp_gcm(gcm: &gcm::Gcm, packet: &mut [u8], end: usize, iv: Iv, word: u32) -> bool {
    let tagged = end + gcm::TAG_BYTES;
    if word & ENCRYPTED != 0 {
        let mut about = [0; RTCP_HEADER_BYTES + RTCP_INDEX_BYTES];
        about[..RTCP_HEADER_BYTES].copy_from_slice(&packet[..RTCP_HEADER_BYTES]);
        about[RTCP_HEADER_BYTES..].copy_from_slice(&word.to_be_bytes());
        return gcm.open(gcm.rtcp_nonce(iv), &about, &mut packet[RTCP_HEADER_BYTES..tagged]);
    }
    // Not encrypted: all of it is what the tag is about (RFC 7714 §9.3).
    let mut about = [0; PACKET_BYTES + RTCP_INDEX_BYTES];
    about[..end].copy_from_slice(&packet[..end]);
    about[end..end + RTCP_INDEX_BYTES].copy_from_slice(&word.to_be_bytes());
    gcm.open(gcm.rtcp_nonce(iv), &about[..end + RTCP_INDEX_BYTES], &mut packet[end..tagged])
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbound({}, {:?})", self.suite.name(), self.rtp)
    }
}
