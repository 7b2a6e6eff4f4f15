//! RTCP (RFC 3550 §6): compound packets looked at where they lie, and reports of our own.

/// One packet of a compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpView<'a> {
    /// A sender report (§6.4.1).
    SenderReport {
        /// Who sends.
        ssrc: u32,
        /// What it says of its own sending.
        sender: SenderWords,
        /// What it says of what it hears.
        reports: Reports<'a>,
    },
    /// A receiver report (§6.4.2).
    ReceiverReport {
        /// Who sends.
        ssrc: u32,
        /// What it says of what it hears.
        reports: Reports<'a>,
    },
    /// A source description (§6.5), after its header.
    SourceDescription(&'a [u8]),
    /// A goodbye (§6.6).
    Bye(Bye<'a>),
    /// Any other packet type.
    Other {
        /// Its number.
        packet_type: u8,
        /// What stands after its header.
        body: &'a [u8],
    },
}

/// What a sender says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderWords {
    /// Its wall time, as NTP writes it.
    pub ntp: u64,
    /// The same moment in its RTP timestamps.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Bytes of payload sent.
    pub bytes: u32,
}

/// What a receiver says of one sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// Of whom.
    pub ssrc: u32,
    /// The share of packets lost since the last report. Units: 1/256.
    pub fraction_lost: u8,
    /// Packets lost in all; 24 bits, negative when more came than were sent.
    pub lost: i32,
    /// The highest sequence number, with its cycles.
    pub highest_sequence: u32,
    /// Interarrival jitter. Units: ticks of the codec's clock.
    pub jitter_ticks: u32,
    /// The middle of the NTP time of the last sender report; 0 when there was none.
    pub last_sr: u32,
    /// How long ago it came. Units: 1/65,536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// It as it stands in a packet.
    pub fn words(&self) -> [u32; 6] {
        let lost = self.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        let second = u32::from(self.fraction_lost) << 24 | lost;
        [self.ssrc, second, self.highest_sequence, self.jitter_ticks, self.last_sr, self.delay_since_last_sr]
    }
}

/// The report blocks of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reports<'a>(&'a [[u8; BLOCK_BYTES]]);

impl<'a> Reports<'a> {
    /// They, in order.
    pub fn iter(self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.0.iter().map(|block| {
            let word = |n: usize| u32::from_be_bytes([block[n], block[n + 1], block[n + 2], block[n + 3]]);
            ReportBlock {
                ssrc: word(0),
                fraction_lost: block[4],
                // Shifted up and back down, so that the 24th bit is the sign.
                lost: (word(4) << 8) as i32 >> 8,
                highest_sequence: word(8),
                jitter_ticks: word(12),
                last_sr: word(16),
                delay_since_last_sr: word(20),
            }
        })
    }
}

/// Who leaves, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye<'a> {
    ssrcs: &'a [[u8; 4]],
    /// The reason in words; empty when none is given.
    pub reason: &'a [u8],
}

impl<'a> Bye<'a> {
    /// Who leaves.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs.iter().map(|&ssrc| u32::from_be_bytes(ssrc))
    }
}

/// The packets of a datagram, in order. It ends at the first that is longer than what is left, or too short for what it
/// claims to hold: the rest is not read.
#[derive(Clone, Debug)]
pub struct Packets<'a>(&'a [u8]);

impl<'a> Packets<'a> {
    /// Looks at a datagram.
    pub const fn new(datagram: &'a [u8]) -> Self {
        Packets(datagram)
    }

    /// Whether it is as a compound packet must be (RFC 3550 A.2): all packets whole, the first a report.
    pub fn is_compound(&self) -> bool {
        let mut packets = self.clone();
        let first = packets.next();
        let is_report = matches!(first, Some(RtcpView::SenderReport { .. } | RtcpView::ReceiverReport { .. }));
        packets.by_ref().for_each(drop);
        is_report && packets.0.is_empty()
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = RtcpView<'a>;

    fn next(&mut self) -> Option<RtcpView<'a>> {
        let (&[first, packet_type, high, low], _) = self.0.split_first_chunk::<4>()?;
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        if first >> 6 != 2 || length > self.0.len() {
            return None;
        }
        let (packet, rest) = self.0.split_at(length);
        let padding = if first & 0x20 == 0 { 0 } else { usize::from(*packet.last()?).max(1) };
        let body = packet[4..].get(..(length - 4).checked_sub(padding)?)?;
        let view = view(packet_type, usize::from(first & 31), body)?;
        self.0 = rest;
        Some(view)
    }
}

fn view(packet_type: u8, count: usize, body: &[u8]) -> Option<RtcpView<'_>> {
    Some(match packet_type {
        SENDER_REPORT => {
            let (ssrc, body) = take_u32(body)?;
            let (words, body) = body.split_first_chunk::<20>()?;
            let (ntp, words) = words.split_first_chunk::<8>()?;
            let (rtp_timestamp, words) = take_u32(words)?;
            let (packets, words) = take_u32(words)?;
            let (bytes, _) = take_u32(words)?;
            let sender = SenderWords { ntp: u64::from_be_bytes(*ntp), rtp_timestamp, packets, bytes };
            RtcpView::SenderReport { ssrc, sender, reports: reports(body, count)? }
        }
        RECEIVER_REPORT => {
            let (ssrc, body) = take_u32(body)?;
            RtcpView::ReceiverReport { ssrc, reports: reports(body, count)? }
        }
        SOURCE_DESCRIPTION => RtcpView::SourceDescription(body),
        BYE => {
            let (ssrcs, _) = body.get(..count * 4)?.as_chunks();
            let rest = &body[count * 4..];
            let reason = match rest.split_first() {
                Some((&length, words)) => words.get(..usize::from(length))?,
                None => rest,
            };
            RtcpView::Bye(Bye { ssrcs, reason })
        }
        _ => RtcpView::Other { packet_type, body },
    })
}

fn reports(body: &[u8], count: usize) -> Option<Reports<'_>> {
    Some(Reports(body.get(..count * BLOCK_BYTES)?.as_chunks().0))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&word, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(word), rest))
}

/// Appends a sender report; of more than 31 blocks the first 31 are taken.
pub fn print_sender_report(out: &mut Vec<u8>, ssrc: u32, sender: &SenderWords, blocks: &[ReportBlock]) {
    let at = begin(out, SENDER_REPORT, blocks.len().min(31));
    out.extend(ssrc.to_be_bytes());
    out.extend(sender.ntp.to_be_bytes());
    for word in [sender.rtp_timestamp, sender.packets, sender.bytes] {
        out.extend(word.to_be_bytes());
    }
    print_blocks(out, blocks);
    end(out, at);
}

/// Appends a receiver report; of more than 31 blocks the first 31 are taken.
pub fn print_receiver_report(out: &mut Vec<u8>, ssrc: u32, blocks: &[ReportBlock]) {
    let at = begin(out, RECEIVER_REPORT, blocks.len().min(31));
    out.extend(ssrc.to_be_bytes());
    print_blocks(out, blocks);
    end(out, at);
}

/// Appends a source description with a CNAME (§6.5.1), which each compound packet has; at most 255 bytes of it.
pub fn print_cname(out: &mut Vec<u8>, ssrc: u32, cname: &[u8]) {
    let at = begin(out, SOURCE_DESCRIPTION, 1);
    let cname = &cname[..cname.len().min(255)];
    out.extend(ssrc.to_be_bytes());
    out.extend([1, cname.len() as u8]);
    out.extend(cname);
    // The list of items ends with a zero, at the least one.
    out.push(0);
    end(out, at);
}

/// Appends a goodbye.
pub fn print_bye(out: &mut Vec<u8>, ssrc: u32) {
    let at = begin(out, BYE, 1);
    out.extend(ssrc.to_be_bytes());
    end(out, at);
}

fn begin(out: &mut Vec<u8>, packet_type: u8, count: usize) -> usize {
    let at = out.len();
    out.extend([0x80 | count as u8, packet_type, 0, 0]);
    at
}

/// Fills up to whole words and writes the length.
fn end(out: &mut Vec<u8>, at: usize) {
    while !(out.len() - at).is_multiple_of(4) {
        out.push(0);
    }
    let words = ((out.len() - at) / 4 - 1) as u16;
    out[at + 2..at + 4].copy_from_slice(&words.to_be_bytes());
}

fn print_blocks(out: &mut Vec<u8>, blocks: &[ReportBlock]) {
    for block in blocks.iter().take(31) {
        for word in block.words() {
            out.extend(word.to_be_bytes());
        }
    }
}

/// A compound packet has two to four.
pub(crate) const PACKETS_PER_DATAGRAM: usize = 8;
pub(crate) const SENDER_REPORT: u8 = 200;
pub(crate) const RECEIVER_REPORT: u8 = 201;
pub(crate) const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const BLOCK_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 2,
        fraction_lost: 12,
        lost: -3,
        highest_sequence: 0x1_0005,
        jitter_ticks: 80,
        last_sr: 7,
        delay_since_last_sr: 65_536,
    };

    fn compound() -> Vec<u8> {
        let mut out = Vec::new();
        let sender = SenderWords { ntp: 1 << 40, rtp_timestamp: 160, packets: 5, bytes: 800 };
        print_sender_report(&mut out, 1, &sender, &[BLOCK]);
        print_cname(&mut out, 1, b"exchange");
        print_bye(&mut out, 1);
        out
    }

    #[test]
    fn a_printed_compound_packet_is_read() {
        let out = compound();
        assert!(Packets::new(&out).is_compound());
        let packets: Vec<_> = Packets::new(&out).collect();
        let [RtcpView::SenderReport { ssrc: 1, sender, reports }, RtcpView::SourceDescription(_), RtcpView::Bye(bye)] =
            packets[..]
        else {
            panic!("{packets:?}")
        };
        assert_eq!((sender.packets, sender.ntp), (5, 1 << 40));
        assert_eq!(reports.iter().collect::<Vec<_>>(), [BLOCK]);
        assert_eq!((bye.ssrcs().collect::<Vec<_>>(), bye.reason), (vec![1], &b""[..]));
    }

    #[test]
    fn a_receiver_report_alone_is_compound_and_a_bye_is_not() {
        let (mut report, mut bye) = (Vec::new(), Vec::new());
        print_receiver_report(&mut report, 9, &[BLOCK; 40]);
        print_bye(&mut bye, 9);
        assert!(Packets::new(&report).is_compound() && !Packets::new(&bye).is_compound());
        let Some(RtcpView::ReceiverReport { reports, .. }) = Packets::new(&report).next() else { panic!() };
        assert_eq!(reports.iter().count(), 31);
    }

    #[test]
    fn a_cut_or_swollen_packet_is_never_read_past_its_end() {
        let whole = compound();
        for length in 0..whole.len() {
            assert!(!Packets::new(&whole[..length]).is_compound() || length == 52 || length == 72);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xa1, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                Packets::new(&bytes).for_each(drop);
            }
        }
    }
}
