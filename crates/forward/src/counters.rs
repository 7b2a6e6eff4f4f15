//! What went through a table: plain integers of the thread that owns it.

/// Everything since the table was made, except `ends`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Ends that are open at this moment.
    pub ends: u64,
    /// RTP packets that were taken from those who may speak.
    pub packets_in: u64,
    /// RTP packets that were given to a socket to send.
    pub packets: u64,
    /// Bytes of them. Units: bytes of UDP payload.
    pub bytes: u64,
    /// RTCP packets that were given to a socket to send.
    pub rtcp: u64,
    /// Dropped: came from another source than the rule allows, or to a port without an end. Where sockets are connected the
    /// kernel refuses most of that itself: then the host counts it (`NoPorts` of UDP in `/proc/net/snmp`), with whatever
    /// else came to ports that nobody has.
    pub dropped_source: u64,
    /// Dropped: not a payload type of the description, or no RTP at all.
    pub dropped_type: u64,
    /// Dropped: of an end with keys, and not encrypted with them.
    pub dropped_forged: u64,
    /// Dropped: of an end with keys, and seen before.
    pub dropped_replayed: u64,
    /// Dropped: the end was on hold, or linked to nowhere.
    pub dropped_unlinked: u64,
    /// Dropped: the socket did not take it.
    pub dropped_send: u64,
    /// How well it went, as judged every few seconds and by what legs report.
    pub judged: Judged,
}

/// Judgements of streams in both directions of all ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Packets that ends sent and that did not arrive.
    pub lost: u64,
    /// How many opinions were below each of [`MOS_BOUNDS_X100`], and below nothing: a histogram whose buckets do not
    /// hold each other's.
    pub mos: [u64; MOS_BOUNDS_X100.len() + 1],
    /// The sum of the opinions. Units: hundredths.
    pub mos_sum_x100: u64,
    /// How many streams had a jitter below each of [`JITTER_BOUNDS_MS`], and below nothing, at the same moments.
    pub jitter: [u64; JITTER_BOUNDS_MS.len() + 1],
    /// The sum of those. Units: microseconds.
    pub jitter_sum_us: u64,
}

/// Opinions are counted by these. Units: hundredths of a MOS.
pub const MOS_BOUNDS_X100: [u16; 7] = [200, 260, 310, 360, 400, 430, 450];

/// Jitter is counted by these. Units: milliseconds.
pub const JITTER_BOUNDS_MS: [u16; 6] = [1, 5, 10, 20, 50, 100];

impl Judged {
    /// Those of another table, too.
    pub fn add(&mut self, other: &Judged) {
        self.lost += other.lost;
        self.mos_sum_x100 += other.mos_sum_x100;
        self.jitter_sum_us += other.jitter_sum_us;
        self.mos.iter_mut().zip(other.mos).for_each(|(all, of)| *all += of);
        self.jitter.iter_mut().zip(other.jitter).for_each(|(all, of)| *all += of);
    }

    pub(crate) fn opinion(&mut self, mos_x100: u16) {
        self.mos[MOS_BOUNDS_X100.partition_point(|bound| *bound < mos_x100)] += 1;
        self.mos_sum_x100 += u64::from(mos_x100);
    }

    pub(crate) fn jitter(&mut self, jitter_us: u32) {
        self.jitter[JITTER_BOUNDS_MS.partition_point(|bound| u32::from(*bound) * 1_000 < jitter_us)] += 1;
        self.jitter_sum_us += u64::from(jitter_us);
    }
}
