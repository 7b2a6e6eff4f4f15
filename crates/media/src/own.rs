//! Reports of our own (RFC 3550 §6.4) and extended ones (RFC 3611): to who speaks with the exchange itself, which hears an
//! echo or a sound, and to who asked for extended ones of another that knows none. Written where packets pass, so without
//! allocation.

use crate::bursts::{Bursts, Told};
use crate::clocks::Stamp;
use crate::rtcp::{
    PACKETS_PER_DATAGRAM, Packets, RECEIVER_REPORT, ReportBlock, RtcpView, SENDER_REPORT, SOURCE_DESCRIPTION,
    SenderWords,
};
use crate::stats::Place;
use crate::xr::{self, Blocks, Summary, VoipMetrics};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use words::{LegId, Time};

/// Which extended reports an end asked for in its description, and gets (RFC 3611 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended {
    /// VoIP metrics of what comes from it (§4.7).
    pub metrics: bool,
    /// The round trip without sender reports: our time (§4.4), and how long its own lay here (§4.5).
    pub round_trip: bool,
    /// What of it was missed since the last report (§4.6).
    #[serde(default)]
    pub summary: bool,
}

impl Extended {
    /// None at all.
    pub const fn is_empty(self) -> bool {
        !(self.metrics || self.round_trip || self.summary)
    }
}

/// One compound packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnReport {
    /// Who we are to the end.
    pub ssrc: u32,
    /// What we sent; `None`: nothing since the last report, so this is a receiver report.
    pub sender: Option<SenderWords>,
    /// What we hear.
    pub heard: Option<ReportBlock>,
    /// Our time, as NTP writes it.
    pub reference: Option<u64>,
    /// Whose time came last, the middle of it, and how long ago. Units: 1/65,536 s.
    pub delay: Option<(u32, u32, u32)>,
    /// How we hear it, and whose stream it is.
    pub metrics: Option<(u32, VoipMetrics)>,
    /// What of it was missed since the last report, and whose stream it is.
    pub summary: Option<(u32, Summary)>,
}

impl OwnReport {
    /// Writes it into `out` and gives its length.
    pub fn write(&self, out: &mut [u8; OWN_REPORT_BYTES]) -> usize {
        let mut words = Words { out, at: 0 };
        let (count, length) = if self.heard.is_some() { (1, 6) } else { (0, 0) };
        if let Some(sender) = &self.sender {
            words.header(count, SENDER_REPORT, 6 + length);
            words.put(self.ssrc);
            words.wide(sender.ntp);
            words.all(&[sender.rtp_timestamp, sender.packets, sender.bytes]);
        } else {
            words.header(count, RECEIVER_REPORT, 1 + length);
            words.put(self.ssrc);
        }
        if let Some(block) = &self.heard {
            words.all(&block.words());
        }
        // A list of one item, CNAME (§6.5.1), which ends with a zero and fills whole words.
        words.header(1, SOURCE_DESCRIPTION, 1 + (CNAME.len() / 4) as u32);
        words.put(self.ssrc);
        for chunk in CNAME.as_chunks::<4>().0 {
            words.put(u32::from_be_bytes(*chunk));
        }
        self.write_extended(&mut words);
        words.at
    }

    fn write_extended(&self, words: &mut Words<'_>) {
        let ours = self.reference.map_or(0, |_| 3) + self.delay.map_or(0, |_| 4);
        let length = ours + self.metrics.map_or(0, |_| 9) + self.summary.map_or(0, |_| 10);
        if length == 0 {
            return;
        }
        words.header(0, xr::PACKET_TYPE, 1 + length);
        words.put(self.ssrc);
        if let Some(ntp) = self.reference {
            words.put(u32::from(xr::REFERENCE_TIME) << 24 | 2);
            words.wide(ntp);
        }
        if let Some((of, middle, ago)) = self.delay {
            words.put(u32::from(xr::DELAY) << 24 | 3);
            words.all(&[of, middle, ago]);
        }
        if let Some((of, metrics)) = &self.metrics {
            words.all(&metrics.words(*of));
        }
        if let Some((of, summary)) = &self.summary {
            words.all(&summary.words(*of));
        }
    }
}

/// Words in network order, one after another.
struct Words<'a> {
    out: &'a mut [u8; OWN_REPORT_BYTES],
    at: usize,
}

impl Words<'_> {
    fn put(&mut self, word: u32) {
        // What would not fit is left out; the length of a report that is full stays below that.
        if let Some(place) = self.out.get_mut(self.at..self.at + 4) {
            place.copy_from_slice(&word.to_be_bytes());
            self.at += 4;
        }
    }

    fn all(&mut self, words: &[u32]) {
        for word in words {
            self.put(*word);
        }
    }

    fn wide(&mut self, word: u64) {
        self.put((word >> 32) as u32);
        self.put(word as u32);
    }

    fn header(&mut self, count: u32, packet_type: u8, length: u32) {
        self.put(2 << 30 | count << 24 | u32::from(packet_type) << 16 | length);
    }
}

/// What is known of what we say to an end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    /// The sound that it hears.
    sound: Option<Sound>,
    /// What it heard of its own voice.
    echoed: Sent,
    /// The middle of the time in its last sender report, and when that came.
    their_report: Option<(u32, Time)>,
    /// The same of the time in its extended report, and whose it was.
    their_time: Option<(u32, u32, Time)>,
    reported: Option<Time>,
    /// Of which stream it was last told, and how many packets that had.
    told: Option<(u32, u32)>,
    /// What it wants to hear of bursts.
    bursts: Bursts,
    /// Who we were last beside another that it speaks with.
    aside: Option<u32>,
    /// How many packets it had sent by then.
    aside_packets: u64,
}

/// What went out under one SSRC of ours.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    packets: u32,
    /// Of payload.
    bytes: u32,
}

impl Sent {
    fn add(&mut self, packets: u32, bytes: u32) {
        (self.packets, self.bytes) = (self.packets.wrapping_add(packets), self.bytes.wrapping_add(bytes));
    }
}

/// A stream that we make ourselves.
#[derive(Clone, Copy, Debug)]
struct Sound {
    ssrc: u32,
    sent: Sent,
    /// Of the last packet, and when it went.
    timestamp: u32,
    at: Time,
}

impl Own {
    /// A packet of a sound goes to the end; `bytes` of payload.
    pub fn sends(&mut self, ssrc: u32, timestamp: u32, bytes: usize, now: Time) {
        // Another SSRC counts from none again (RFC 3550 §6.4.1).
        let mut sent = self.sound.filter(|sound| sound.ssrc == ssrc).map_or(Sent::default(), |sound| sound.sent);
        sent.add(1, bytes as u32);
        self.sound = Some(Sound { ssrc, sent, timestamp, at: now });
    }

    /// A packet came from an end that wants metrics, and stands there in its stream; see [`Bursts::packet`].
    pub fn hears(&mut self, place: Place, stamp: Option<Stamp>) {
        self.bursts.packet(place, stamp);
    }

    /// What is known of its bursts, since it wants metrics.
    pub fn bursts(&self) -> Told {
        self.bursts.told()
    }

    /// Packets of the end's own voice go back to it under our SSRC; `bytes` of payload. What others send to it is theirs.
    pub fn echoes(&mut self, packets: u64, bytes: u64) {
        self.echoed.add(packets as u32, bytes as u32);
    }

    /// The last packet of a sound, or else of an echo, did not go out; `bytes` of payload.
    pub fn takes_back(&mut self, of_sound: bool, bytes: usize) {
        let sent = if of_sound { self.sound.as_mut().map(|sound| &mut sound.sent) } else { Some(&mut self.echoed) };
        if let Some(sent) = sent {
            *sent = Sent { packets: sent.packets.saturating_sub(1), bytes: sent.bytes.saturating_sub(bytes as u32) };
        }
    }

    /// The end reports: its times are to be given back (RFC 3550 §6.4.1, RFC 3611 §4.5).
    pub fn read(&mut self, packet: &[u8], now: Time) {
        for packet in Packets::new(packet).take(PACKETS_PER_DATAGRAM) {
            match packet {
                RtcpView::SenderReport { sender, .. } => self.their_report = Some(((sender.ntp >> 16) as u32, now)),
                RtcpView::Other { packet_type: xr::PACKET_TYPE, body } => {
                    let blocks = Blocks::new(body);
                    if let (Some(ssrc), Some(ntp)) = (blocks.ssrc(), blocks.reference_time()) {
                        self.their_time = Some((ssrc, (ntp >> 16) as u32, now));
                    }
                }
                RtcpView::ReceiverReport { .. }
                | RtcpView::SourceDescription(_)
                | RtcpView::Bye(_)
                | RtcpView::Other { .. } => {}
            }
        }
    }

    /// Whether it is time for a report that nobody asked for: half of an interval after the last one at the least.
    pub fn is_due(&self, now: Time) -> bool {
        self.reported.is_none_or(|at| now.since(at) >= REST)
    }

    /// Begins a report: who we are, what we sent, and what belongs to the times of the end. `echo` is the timestamp of this
    /// moment where what we send is the end's own voice.
    pub fn report(&mut self, name: LegId, echo: Option<u32>, extended: Extended, now: Time) -> OwnReport {
        let ntp = ntp(now);
        let words =
            |rtp_timestamp, sent: Sent| SenderWords { ntp, rtp_timestamp, packets: sent.packets, bytes: sent.bytes };
        let (ssrc, words) = match (echo, self.sound) {
            (Some(timestamp), _) => (own_ssrc(name), words(timestamp, self.echoed)),
            (None, Some(sound)) => {
                let ticks = (now.since(sound.at).as_micros() / MICROS_PER_TICK) as u32;
                (sound.ssrc, words(sound.timestamp.wrapping_add(ticks), sound.sent))
            }
            (None, None) => (own_ssrc(name), words(0, Sent::default())),
        };
        // Who sent nothing since it reported last is a receiver (§6.4).
        let told = Some((ssrc, words.packets));
        let sender = Some(words).filter(|words| words.packets > 0 && self.told != told);
        (self.told, self.reported) = (told, Some(now));
        let delay = self.their_time.filter(|_| extended.round_trip);
        OwnReport {
            ssrc,
            sender,
            heard: None,
            reference: extended.round_trip.then_some(ntp),
            delay: delay.map(|(of, middle, at)| (of, middle, since_x65536(at, now))),
            metrics: None,
            summary: None,
        }
    }

    /// Begins a report beside those of another that the end speaks with: who we are there, and what belongs to its times.
    /// `packets` came from it until now.
    pub fn aside(&mut self, ssrc: u32, packets: u64, extended: Extended, now: Time) -> OwnReport {
        (self.reported, self.aside, self.aside_packets) = (Some(now), Some(ssrc), packets);
        let delay = self.their_time.filter(|_| extended.round_trip);
        OwnReport {
            ssrc,
            reference: extended.round_trip.then(|| ntp(now)),
            delay: delay.map(|(of, middle, at)| (of, middle, since_x65536(at, now))),
            ..OwnReport::default()
        }
    }

    /// Whether there is anything new to say there.
    pub fn has_news(&self, packets: u64) -> bool {
        packets > self.aside_packets
    }

    /// Whether a report that came from an end is one of ours that came back (RFC 3550 §8.2).
    pub fn is_ours(&self, packet: &[u8]) -> bool {
        let from = packet.get(4..).and_then(|rest| rest.first_chunk()).map(|ssrc| u32::from_be_bytes(*ssrc));
        self.aside.is_some() && from == self.aside
    }

    /// Gives the time of the end's last sender report back in what is reported of its stream.
    pub fn give_back(&self, block: &mut ReportBlock, now: Time) {
        if let Some((middle, at)) = self.their_report {
            (block.last_sr, block.delay_since_last_sr) = (middle, since_x65536(at, now));
        }
    }
}

/// Who we are to an end that speaks with somebody else: neither of the two (RFC 3550 §8.2).
pub fn ssrc_aside(name: LegId, two: [u32; 2]) -> u32 {
    let first = own_ssrc(name);
    (0..2).map(|n| first.wrapping_add(n)).find(|ssrc| !two.contains(ssrc)).unwrap_or(first.wrapping_add(2))
}

/// Who we are to an end where we send no sound: the same for as long as it is there.
pub fn own_ssrc(name: LegId) -> u32 {
    !(name.call.0 as u32).wrapping_add(name.n.into())
}

/// Our time as NTP writes it: that of the host since its start, as nobody but ourselves reads more than differences in it
/// (RFC 3550 §6.4.1).
fn ntp(now: Time) -> u64 {
    let nanos = u128::from(now.as_nanos());
    ((nanos << 32) / 1_000_000_000) as u64
}

/// Units: 1/65,536 s.
fn since_x65536(at: Time, now: Time) -> u32 {
    u32::try_from(now.since(at).as_nanos() * 65_536 / 1_000_000_000).unwrap_or(u32::MAX)
}

/// More than the longest report, which has 184. Units: bytes.
pub const OWN_REPORT_BYTES: usize = 192;
/// The item and the name of who reports, no name of a host, which is nobody's business: `exchange`, and what fills it up.
const CNAME: &[u8; 12] = b"\x01\x08exchange\0\0";
/// Half of the least interval (RFC 3550 §6.2).
const REST: Duration = Duration::from_millis(2_500);
/// Of 8,000 Hz, which all have that the exchange sends.
const MICROS_PER_TICK: u128 = 125;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{print_cname, print_receiver_report, print_sender_report};
    use words::CallId;

    const NAME: LegId = LegId { call: CallId(7), n: 1 };
    const ALL: Extended = Extended { metrics: true, round_trip: true, summary: true };

    fn block() -> ReportBlock {
        ReportBlock {
            ssrc: 2,
            fraction_lost: 12,
            lost: -3,
            highest_sequence: 0x1_0005,
            jitter_ticks: 80,
            ..Default::default()
        }
    }

    fn written(report: &OwnReport) -> Vec<u8> {
        let mut out = [0xff; OWN_REPORT_BYTES];
        let length = report.write(&mut out);
        assert!(Packets::new(&out[..length]).is_compound());
        out[..length].to_vec()
    }

    #[test]
    fn reports_are_what_would_be_printed() {
        let sender = SenderWords { ntp: 1 << 40, rtp_timestamp: 160, packets: 5, bytes: 800 };
        for heard in [None, Some(block())] {
            let blocks: Vec<ReportBlock> = heard.into_iter().collect();
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            print_sender_report(&mut sent, 9, &sender, &blocks);
            print_receiver_report(&mut received, 9, &blocks);
            for (printed, sender) in [(&mut sent, Some(sender)), (&mut received, None)] {
                print_cname(printed, 9, b"exchange");
                assert_eq!(written(&OwnReport { ssrc: 9, sender, heard, ..OwnReport::default() }), *printed);
            }
        }
    }

    #[test]
    fn extended_reports_stand_behind_and_are_read_as_they_were_meant() {
        let metrics = VoipMetrics { loss: 5, round_trip_ms: 60, rating: 90, mos_cq_x10: 43, ..VoipMetrics::default() };
        let whole = OwnReport {
            ssrc: 9,
            sender: Some(SenderWords::default()),
            heard: Some(block()),
            reference: Some(0x0102_0304_0506_0708),
            delay: Some((2, 77, 65_536)),
            metrics: Some((2, metrics)),
            summary: Some((2, Summary { begin: 65_500, end: 214, lost: 25 })),
        };
        let bytes = written(&whole);
        assert_eq!(bytes.len(), 184);
        let found = Packets::new(&bytes).find_map(|packet| match packet {
            RtcpView::Other { packet_type: xr::PACKET_TYPE, body } => Some(body),
            _ => None,
        });
        let blocks = Blocks::new(found.unwrap());
        assert_eq!((blocks.ssrc(), blocks.reference_time()), (Some(9), Some(0x0102_0304_0506_0708)));
        assert_eq!(blocks.delays().collect::<Vec<_>>(), [(2, 77, 65_536)]);
        assert_eq!(VoipMetrics::find(found.unwrap()), Some(metrics));
        // RFC 3611 §4.6: type, flag of loss, length; of whom; from and to; lost. Nothing else is told.
        let summary = [6, 0x80, 0, 9, 0, 0, 0, 2, 0xff, 0xdc, 0, 214, 0, 0, 0, 25];
        assert_eq!(bytes[144..160], summary);
        assert_eq!(bytes[160..], [0; 24]);
        assert_eq!(blocks.summary(), Some((2, Summary { begin: 65_500, end: 214, lost: 25 })));
    }

    #[test]
    fn beside_two_who_speak_we_are_neither_and_know_ourselves_again() {
        let first = own_ssrc(NAME);
        let next = |n: u32| first.wrapping_add(n);
        for (two, ours) in [([1, 2], 0), ([first, 2], 1), ([2, first], 1), ([next(1), first], 2), ([next(1), 5], 0)] {
            assert_eq!(ssrc_aside(NAME, two), next(ours), "{two:?}");
        }
        let mut own = Own::default();
        assert!(own.has_news(1) && !own.has_news(0));
        let report = own.aside(9, 40, Extended { round_trip: true, ..Extended::default() }, Time::from_millis(500));
        assert_eq!((report.ssrc, report.reference, report.delay), (9, Some(1 << 31), None));
        assert!(report.sender.is_none() && report.heard.is_none());
        // Eight bytes are a receiver report about nobody, and it is compound with its name and its time.
        let back = written(&report);
        assert_eq!((back[..8].to_vec(), back.len()), (vec![0x80, 201, 0, 1, 0, 0, 0, 9], 8 + 20 + 20));
        assert!(own.is_ours(&back) && !own.is_ours(&back[4..]) && !own.is_ours(&[]));
        assert!(!own.has_news(40) && own.has_news(41) && !Own::default().is_ours(&back));
    }

    #[test]
    fn a_sound_is_told_as_it_is_at_this_moment_and_only_while_it_is_heard() {
        let mut own = Own::default();
        assert!(own.is_due(Time::ZERO));
        for n in 0..10 {
            own.sends(3, 1_000 + n * 160, 160, Time::from_millis(u64::from(n) * 20));
        }
        let report = own.report(NAME, None, Extended::default(), Time::from_millis(190));
        let sender = report.sender.unwrap();
        // 10 ms after the last packet are 80 ticks more.
        assert_eq!(
            (report.ssrc, sender.packets, sender.bytes, sender.rtp_timestamp),
            (3, 10, 1_600, 1_000 + 1_440 + 80)
        );
        // 190 ms: 0.19 * 2^32 = 816,043,786.24.
        assert_eq!((sender.ntp, report.reference, report.delay), (816_043_786, None, None));
        assert!(!own.is_due(Time::from_millis(2_600)) && own.is_due(Time::from_millis(2_690)));
        let silent = own.report(NAME, None, Extended::default(), Time::from_millis(5_000));
        assert_eq!((silent.ssrc, silent.sender), (3, None));
    }

    #[test]
    fn each_stream_of_ours_is_counted_by_itself() {
        let mut own = Own::default();
        let sent = |own: &mut Own, echo| {
            let report = own.report(NAME, echo, Extended::default(), Time::ZERO);
            report.sender.map(|sender| (report.ssrc, sender.rtp_timestamp, sender.packets, sender.bytes))
        };
        let ours = own_ssrc(NAME);
        assert_eq!(sent(&mut own, Some(1)), None, "nothing was sent");
        own.echoes(3, 480);
        assert_eq!((sent(&mut own, Some(1)), sent(&mut own, Some(2))), (Some((ours, 1, 3, 480)), None));
        own.sends(5, 700, 160, Time::ZERO);
        own.sends(5, 860, 160, Time::ZERO);
        own.takes_back(true, 160);
        assert_eq!(sent(&mut own, None), Some((5, 860, 1, 160)));
        // Another sound has another SSRC, and the echo goes on where it was.
        own.sends(6, 40, 160, Time::ZERO);
        assert_eq!(sent(&mut own, None), Some((6, 40, 1, 160)));
        own.echoes(2, 320);
        own.takes_back(false, 160);
        assert_eq!(sent(&mut own, Some(9)), Some((ours, 9, 4, 640)));
    }

    #[test]
    fn the_times_of_the_end_are_given_back() {
        let mut own = Own::default();
        let mut sent = Vec::new();
        print_sender_report(&mut sent, 2, &SenderWords { ntp: 0x0102_0304_0506_0708, ..SenderWords::default() }, &[]);
        let mut theirs = [0; OWN_REPORT_BYTES];
        let time = OwnReport { ssrc: 2, reference: Some(0x1122_3344_5566_7788), ..OwnReport::default() };
        let length = time.write(&mut theirs);
        own.read(&sent, Time::from_millis(1_000));
        own.read(&theirs[..length], Time::from_millis(2_000));
        let mut block = block();
        own.give_back(&mut block, Time::from_millis(2_500));
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x0304_0506, 98_304));
        own.echoes(7, 1_120);
        let report = own.report(NAME, Some(5), ALL, Time::from_millis(2_500));
        assert_eq!((report.ssrc, report.delay), (own_ssrc(NAME), Some((2, 0x3344_5566, 32_768))));
        assert_eq!(report.sender.map(|sender| (sender.packets, Some(sender.ntp))), Some((7, report.reference)));
        assert_eq!(own.report(NAME, Some(5), Extended::default(), Time::from_millis(9_000)).delay, None);
    }
}
