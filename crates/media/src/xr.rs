//! Extended reports (RTCP XR, RFC 3611): the VoIP metrics that phones send beside their receiver reports.

/// The packet type (§2).
pub const PACKET_TYPE: u8 = 207;

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
    /// From packet to ear, and from mouth to packet. Units: milliseconds.
    pub end_system_delay_ms: u16,
}

impl VoipMetrics {
    /// The first such block of a packet, given without its header.
    pub fn find(body: &[u8]) -> Option<VoipMetrics> {
        let mut rest = body.get(4..)?;
        for _ in 0..BLOCKS {
            let (&[kind, _, high, low], _) = rest.split_first_chunk::<4>()?;
            let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
            let block = rest.get(..length)?;
            if kind == VOIP_METRICS && length >= VOIP_METRICS_BYTES {
                let word = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
                return Some(VoipMetrics {
                    loss: block[8],
                    discarded: block[9],
                    burst_density: block[10],
                    gap_density: block[11],
                    burst_ms: word(12),
                    gap_ms: word(14),
                    end_system_delay_ms: word(18),
                });
            }
            rest = &rest[length..];
        }
        None
    }

    /// How long its bursts are beside runs of loss by chance (ITU-T G.107 §3.5): the ends of a run come as often as a packet
    /// arrives, within bursts and between them.
    pub fn burst_ratio(&self) -> f64 {
        let share = |n: u8| f64::from(n) / 256.0;
        let (lost, arrives) = (share(self.loss) + share(self.discarded), 1.0 - share(self.burst_density));
        if self.burst_density == 0 || arrives <= 0.0 { 1.0 } else { ((1.0 - lost) / arrives).max(1.0) }
    }
}

const VOIP_METRICS: u8 = 7;
const VOIP_METRICS_BYTES: usize = 36;
/// How many blocks of a packet are looked at.
const BLOCKS: usize = 16;

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
