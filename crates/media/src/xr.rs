//! Extended reports (RTCP XR, RFC 3611): VoIP metrics that are sent beside reports, and times by which the round trip is
//! known of who sends nothing.

use crate::bursts::GMIN;

/// The packet type (§2).
pub const PACKET_TYPE: u8 = 207;

/// The blocks of a packet, given without its header.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    /// Looks at a packet.
    pub const fn new(body: &'a [u8]) -> Self {
        Blocks(body)
    }

    /// Who sends it.
    pub fn ssrc(self) -> Option<u32> {
        self.0.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The time of who sends it (§4.4), as NTP writes it.
    pub fn reference_time(self) -> Option<u64> {
        self.find(REFERENCE_TIME)?.get(4..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Whose times came to who sends it: whose, the middle of the last, and how long ago (§4.5). Units: 1/65,536 s.
    pub fn delays(self) -> impl Iterator<Item = (u32, u32, u32)> + use<'a> {
        let block = self.find(DELAY).and_then(|block| block.get(4..)).unwrap_or_default();
        block.as_chunks::<12>().0.iter().take(DELAYS).map(|of| {
            let word = |at: usize| u32::from_be_bytes([of[at], of[at + 1], of[at + 2], of[at + 3]]);
            (word(0), word(4), word(8))
        })
    }

    /// How well a stream is heard (§4.7).
    pub fn metrics(self) -> Option<VoipMetrics> {
        VoipMetrics::find(self.0)
    }

    /// What was missed of a stream lately (§4.6), where it says so, and whose stream it is.
    pub fn summary(self) -> Option<(u32, Summary)> {
        let block = self.find(SUMMARY).filter(|block| block.len() >= SUMMARY_BYTES && block[1] & LOSS_FLAG != 0)?;
        let word = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let half = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
        Some((word(4), Summary { begin: half(8), end: half(10), lost: word(12) }))
    }

    /// The first block of a type, with its header.
    fn find(self, kind: u8) -> Option<&'a [u8]> {
        let mut rest = self.0.get(4..)?;
        for _ in 0..BLOCKS {
            let (&[found, _, high, low], _) = rest.split_first_chunk::<4>()?;
            let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
            let block = rest.get(..length)?;
            if found == kind {
                return Some(block);
            }
            rest = &rest[length..];
        }
        None
    }
}

/// The statistics summary block (§4.6): what was missed between two reports. Packets that came twice, jitter and times to
/// live are not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The first sequence number that it is about.
    pub begin: u16,
    /// The one after the last.
    pub end: u16,
    /// How many of those did not come.
    pub lost: u32,
}

impl Summary {
    /// The block about the stream of `ssrc`.
    pub fn words(&self, ssrc: u32) -> [u32; 10] {
        let head = u32::from_be_bytes([SUMMARY, LOSS_FLAG, 0, 9]);
        let span = u32::from(self.begin) << 16 | u32::from(self.end);
        [head, ssrc, span, self.lost, 0, 0, 0, 0, 0, 0]
    }
}

/// The VoIP metrics block (§4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The share of packets lost. Units: 1/256.
    pub loss: u8,
    /// The share thrown away as they came too late or too early. Units: 1/256.
    pub discarded: u8,
    /// The share lost or thrown away within bursts. Units: 1/256.
    pub burst_density: u8,
    /// The same between bursts. Units: 1/256.
    pub gap_density: u8,
    /// The mean length of bursts. Units: milliseconds.
    pub burst_ms: u16,
    /// The mean time between them. Units: milliseconds.
    pub gap_ms: u16,
    /// Between the two interfaces of RTP and back; 0: not known. Units: milliseconds.
    pub round_trip_ms: u16,
    /// From packet to ear, and from mouth to packet. Units: milliseconds.
    pub end_system_delay_ms: u16,
    /// The rating of the E-model, 0 to 100; [`UNKNOWN`]: none.
    pub rating: u8,
    /// The opinion of who listens only; [`UNKNOWN`]: none. Units: tenths.
    pub mos_lq_x10: u8,
    /// The same of who talks, too. Units: tenths.
    pub mos_cq_x10: u8,
}

impl Default for VoipMetrics {
    /// Nothing was lost, and nothing else is known.
    fn default() -> Self {
        VoipMetrics {
            loss: 0,
            discarded: 0,
            burst_density: 0,
            gap_density: 0,
            burst_ms: 0,
            gap_ms: 0,
            round_trip_ms: 0,
            end_system_delay_ms: 0,
            rating: UNKNOWN,
            mos_lq_x10: UNKNOWN,
            mos_cq_x10: UNKNOWN,
        }
    }
}

impl VoipMetrics {
    /// The first such block of a packet, given without its header.
    pub fn find(body: &[u8]) -> Option<VoipMetrics> {
        let block = Blocks::new(body).find(VOIP_METRICS).filter(|block| block.len() >= VOIP_METRICS_BYTES)?;
        let word = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
        Some(VoipMetrics {
            loss: block[8],
            discarded: block[9],
            burst_density: block[10],
            gap_density: block[11],
            burst_ms: word(12),
            gap_ms: word(14),
            round_trip_ms: word(16),
            end_system_delay_ms: word(18),
            rating: block[24],
            mos_lq_x10: block[26],
            mos_cq_x10: block[27],
        })
    }

    /// The block about the stream of `ssrc`. Levels of sound are not measured, and nothing is held back to play it in
    /// step, as a phone would.
    pub fn words(&self, ssrc: u32) -> [u32; 9] {
        let bytes = |a: u8, b: u8, c: u8, d: u8| u32::from_be_bytes([a, b, c, d]);
        let halves = |a: u16, b: u16| u32::from(a) << 16 | u32::from(b);
        [
            bytes(VOIP_METRICS, 0, 0, 8),
            ssrc,
            bytes(self.loss, self.discarded, self.burst_density, self.gap_density),
            halves(self.burst_ms, self.gap_ms),
            halves(self.round_trip_ms, self.end_system_delay_ms),
            bytes(UNKNOWN, UNKNOWN, UNKNOWN, GMIN),
            bytes(self.rating, UNKNOWN, self.mos_lq_x10, self.mos_cq_x10),
            0,
            0,
        ]
    }

    /// How long its bursts are beside runs of loss by chance (ITU-T G.107 §3.5): the ends of a run come as often as a packet
    /// arrives, within bursts and between them.
    pub fn burst_ratio(&self) -> f64 {
        let share = |n: u8| f64::from(n) / 256.0;
        let (lost, arrives) = (share(self.loss) + share(self.discarded), 1.0 - share(self.burst_density));
        if self.burst_density == 0 || arrives <= 0.0 { 1.0 } else { ((1.0 - lost) / arrives).max(1.0) }
    }
}

/// What is not known of a rating, an opinion or a level.
pub const UNKNOWN: u8 = 127;
/// The block of a receiver's time (§4.4).
pub const REFERENCE_TIME: u8 = 4;
/// The block that gives such times back (§4.5).
pub const DELAY: u8 = 5;
const SUMMARY: u8 = 6;
const SUMMARY_BYTES: usize = 40;
/// Says that a summary tells what was lost.
const LOSS_FLAG: u8 = 0x80;
const VOIP_METRICS: u8 = 7;
const VOIP_METRICS_BYTES: usize = 36;
/// How many blocks of a packet are looked at.
const BLOCKS: usize = 16;
/// How many of whom times are given back to.
const DELAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Vec<u8> {
        let mut body = vec![0, 0, 0, 1];
        // A block of receiver reference time (§4.4) stands before it.
        body.extend([4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
        body.extend([7, 0, 0, 8, 0, 0, 0, 9, 12, 5, 128, 3, 1, 0x2c, 0x10, 0, 0, 60, 0, 80]);
        body.extend([127; 16]);
        body
    }

    #[test]
    fn the_metrics_are_found_behind_other_blocks() {
        let metrics = VoipMetrics::find(&body()).unwrap();
        assert_eq!((metrics.loss, metrics.discarded, metrics.burst_density, metrics.gap_density), (12, 5, 128, 3));
        assert_eq!((metrics.burst_ms, metrics.gap_ms, metrics.end_system_delay_ms), (300, 4_096, 80));
        // G.107 (3-30): BurstR = (1 - Ppl) / q, where q is how often a packet arrives after a lost one. RFC 3611 4.7.2: in
        // bursts 128/256 do not arrive, so q = 1/2; Ppl = (12 + 5) / 256. (239 / 256) / (1 / 2) = 1.8672.
        assert!((metrics.burst_ratio() - 1.8672).abs() < 0.0001, "{}", metrics.burst_ratio());
    }

    #[test]
    fn what_is_cut_or_swollen_is_none() {
        let whole = body();
        assert!((0..whole.len()).all(|length| VoipMetrics::find(&whole[..length]).is_none()));
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Some(metrics) = VoipMetrics::find(&bytes) {
                    assert!(metrics.burst_ratio() >= 1.0);
                }
            }
        }
    }
}
