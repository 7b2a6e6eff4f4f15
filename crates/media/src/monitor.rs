//! The figures of one leg over time: what came from it, what it says that it heard, and how long the way is.
//!
//! A [`Monitor`] is fed every few seconds with what was counted, and with each report that passes; per packet it costs
//! nothing. Reports may pass between two ends that speak with each other through us: the round trip to an end is then
//! that of a sender report which was passed to it and came back in a report of its own (RFC 3550 §6.4.1).

use crate::emodel::{Codec, Way, mos_x100, rating};
use crate::own::Own;
use crate::rtcp::{PACKETS_PER_DATAGRAM, Packets, ReportBlock, RtcpView};
use crate::xr::{self, Blocks, UNKNOWN, VoipMetrics};
use std::time::Duration;
use words::{LegFigures, LiveFigures, LiveStream, StreamFigures, Time};

/// How often what comes from a leg is judged.
pub const WINDOW: Duration = Duration::from_secs(5);

/// No payload type: that of a stream whose clock nobody said, so that ticks of it cannot be read as time.
pub const CLOCK_UNKNOWN: u8 = u8::MAX;

/// What was counted of a stream until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets that came.
    pub packets: u64,
    /// Packets that did not.
    pub lost: u64,
    /// How many times packets were missing, and how many in all those times.
    pub gaps: u32,
    /// See `gaps`.
    pub gap_packets: u32,
    /// Interarrival jitter. Units: microseconds.
    pub jitter_us: u32,
    /// What it is made of.
    pub payload_type: u8,
}

/// Figures of one end.
#[derive(Clone, Debug)]
pub struct Monitor {
    next: Time,
    counted: Counted,
    from: Opinions,
    to: Opinions,
    /// What the last look found; `None` before the first.
    looked: Option<Moment>,
    /// What the end said last of what it hears.
    heard: Option<Heard>,
    /// The last times that were passed to it, in sender reports and extended ones: the middle of each, and when.
    passed: [(u32, Time); PASSED],
    round_trip_us: Option<u32>,
    /// Units: milliseconds.
    far_delay_ms: u16,
    /// What we say to it ourselves; `None` where others speak with it.
    own: Option<Box<Own>>,
}

/// A few seconds of a stream.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// When they ended.
    at: Time,
    /// 0 where too little came.
    mos_x100: u16,
    /// Units: hundredths of a percent.
    loss_x10000: u16,
}

/// What an end says of what it hears.
#[derive(Clone, Copy, Debug)]
struct Heard {
    moment: Moment,
    ssrc: u32,
    /// Packets of this stream that it misses.
    lost: u32,
    /// Those of streams before: somebody else speaks to it, after a transfer for one.
    lost_before: u32,
    jitter_us: u32,
}

/// The mean of opinions, and the worst.
#[derive(Clone, Copy, Debug, Default)]
struct Opinions {
    sum: u32,
    count: u32,
    worst: u16,
}

impl Opinions {
    fn add(&mut self, mos_x100: u16) {
        self.worst = if self.count == 0 { mos_x100 } else { self.worst.min(mos_x100) };
        self.sum = self.sum.saturating_add(mos_x100.into());
        self.count += 1;
    }

    fn mean(&self) -> u16 {
        (self.sum / self.count.max(1)) as u16
    }
}

impl Monitor {
    /// Nothing is known.
    pub fn new(now: Time) -> Monitor {
        Monitor {
            next: now + WINDOW,
            counted: Counted::default(),
            from: Opinions::default(),
            to: Opinions::default(),
            looked: None,
            heard: None,
            passed: [(0, Time::ZERO); PASSED],
            round_trip_us: None,
            far_delay_ms: 0,
            own: None,
        }
    }

    /// Whether [`Monitor::look`] is due.
    pub fn is_due(&self, now: Time) -> bool {
        now >= self.next
    }

    /// Judges what came since the last look, if that is enough for an opinion: gives it, in hundredths.
    pub fn look(&mut self, counted: &Counted, now: Time) -> Option<u16> {
        self.next = now + WINDOW;
        let before = std::mem::replace(&mut self.counted, *counted);
        let packets = counted.packets.saturating_sub(before.packets);
        let lost = counted.lost.saturating_sub(before.lost);
        if packets < PACKETS_MIN {
            self.looked = Some(Moment { at: now, mos_x100: 0, loss_x10000: 0 });
            return None;
        }
        let loss = lost as f64 / packets.saturating_add(lost) as f64;
        let (gaps, missing) =
            (counted.gaps.wrapping_sub(before.gaps), counted.gap_packets.wrapping_sub(before.gap_packets));
        // By chance alone a run is 1 / (1 - loss) long.
        let burst_ratio = if gaps == 0 { 1.0 } else { f64::from(missing) / f64::from(gaps) * (1.0 - loss) };
        let way = Way { loss, burst_ratio, delay_ms: self.delay_ms(counted.jitter_us, 0) };
        let mos = mos_x100(Codec::of(counted.payload_type), &way);
        self.from.add(mos);
        self.looked = Some(Moment { at: now, mos_x100: mos, loss_x10000: x10000(loss) });
        Some(mos)
    }

    /// Reads a compound packet that the end sent about the stream that goes to it, which is of the payload type `codec`
    /// and has that clock, or is of [`CLOCK_UNKNOWN`]. Gives an opinion of what it hears, in hundredths, when it says so.
    pub fn read(&mut self, packet: &[u8], codec: u8, clock_hz: u32, now: Time) -> Option<u16> {
        let mut blocks = None;
        let mut metrics = None;
        for packet in Packets::new(packet).take(PACKETS_PER_DATAGRAM) {
            match packet {
                RtcpView::SenderReport { reports, .. } | RtcpView::ReceiverReport { reports, .. } => {
                    // Who hears one stream has one block.
                    blocks = blocks.or_else(|| reports.iter().next());
                }
                RtcpView::Other { packet_type: xr::PACKET_TYPE, body } => {
                    metrics = metrics.or_else(|| VoipMetrics::find(body));
                    for (_, middle, ago) in Blocks::new(body).delays() {
                        self.learn_round_trip(middle, ago, now);
                    }
                }
                RtcpView::SourceDescription(_) | RtcpView::Bye(_) | RtcpView::Other { .. } => {}
            }
        }
        let mos = match (blocks, metrics) {
            (Some(block), metrics) => Some(self.take_block(&block, metrics.as_ref(), (codec, clock_hz), now)),
            // The report before it is about nobody.
            (None, Some(metrics)) => Some(self.take_metrics(&metrics, codec, now)),
            (None, None) => None,
        };
        if let Some(mos) = mos {
            self.to.add(mos);
        }
        mos
    }

    fn take_block(
        &mut self,
        block: &ReportBlock,
        metrics: Option<&VoipMetrics>,
        (codec, clock_hz): (u8, u32),
        now: Time,
    ) -> u16 {
        self.learn_round_trip(block.last_sr, block.delay_since_last_sr, now);
        let jitter_us = u64::from(block.jitter_ticks) * 1_000_000 / u64::from(clock_hz.max(1));
        // Ticks of a clock that is not known say nothing.
        let jitter_us = if codec == CLOCK_UNKNOWN { 0 } else { u32::try_from(jitter_us).unwrap_or(u32::MAX) };
        let lost_before = self.heard.map_or(0, |known| {
            if known.ssrc == block.ssrc { known.lost_before } else { known.lost_before.saturating_add(known.lost) }
        });
        // More can come than was sent, which is told as a negative number.
        let lost = u32::try_from(block.lost).unwrap_or(0);
        let plain = (f64::from(block.fraction_lost) / 256.0, 1.0);
        let moment = self.judge_heard(plain, metrics, codec, jitter_us, now);
        self.heard = Some(Heard { moment, ssrc: block.ssrc, lost, lost_before, jitter_us });
        moment.mos_x100
    }

    /// Metrics alone say how it sounds, and not how many packets were lost in all.
    fn take_metrics(&mut self, metrics: &VoipMetrics, codec: u8, now: Time) -> u16 {
        let known =
            self.heard.map_or((0, 0, 0, 0), |known| (known.ssrc, known.lost, known.lost_before, known.jitter_us));
        let (ssrc, lost, lost_before, jitter_us) = known;
        let moment = self.judge_heard((0.0, 1.0), Some(metrics), codec, jitter_us, now);
        self.heard = Some(Heard { moment, ssrc, lost, lost_before, jitter_us });
        moment.mos_x100
    }

    /// What an end hears, by the loss and the length of its runs that its report tells, or by what its metrics do.
    fn judge_heard(
        &mut self,
        plain: (f64, f64),
        metrics: Option<&VoipMetrics>,
        codec: u8,
        jitter_us: u32,
        now: Time,
    ) -> Moment {
        let (mut loss, mut burst_ratio) = plain;
        let mut own_delay = 0;
        if let Some(metrics) = metrics {
            // What came too late to be played was not heard either.
            loss = f64::from(metrics.loss) / 256.0 + f64::from(metrics.discarded) / 256.0;
            burst_ratio = metrics.burst_ratio();
            own_delay = metrics.end_system_delay_ms;
            self.far_delay_ms = own_delay;
        }
        let way = Way { loss, burst_ratio, delay_ms: self.delay_ms(jitter_us, own_delay) };
        Moment { at: now, mos_x100: mos_x100(Codec::of(codec), &way), loss_x10000: x10000(loss) }
    }

    /// Takes note that a compound packet goes to the end: a sender report in it, or the time of who sends nothing (RFC 3611
    /// §4.4), comes back in what it reports. Whether there are extended reports in it.
    pub fn passes(&mut self, packet: &[u8], now: Time) -> bool {
        let (mut ntp, mut extended) = (None, false);
        for packet in Packets::new(packet).take(PACKETS_PER_DATAGRAM) {
            match packet {
                RtcpView::SenderReport { sender, .. } => ntp = ntp.or(Some(sender.ntp)),
                RtcpView::Other { packet_type: xr::PACKET_TYPE, body } => {
                    (ntp, extended) = (ntp.or_else(|| Blocks::new(body).reference_time()), true);
                }
                RtcpView::ReceiverReport { .. }
                | RtcpView::SourceDescription(_)
                | RtcpView::Bye(_)
                | RtcpView::Other { .. } => {}
            }
        }
        if let Some(ntp) = ntp {
            self.passed.rotate_right(1);
            self.passed[0] = ((ntp >> 16) as u32, now);
        }
        extended
    }

    /// What we say to it ourselves.
    pub fn own(&mut self) -> &mut Own {
        self.own.get_or_insert_default()
    }

    /// How we hear it, as extended reports tell it (RFC 3611 §4.7). What loss does to the ear is reckoned with the mean of
    /// its runs, as the E-model has it.
    pub fn metrics(&self, counted: &Counted) -> VoipMetrics {
        let all = counted.packets + counted.lost;
        let loss = if all == 0 { 0.0 } else { counted.lost as f64 / all as f64 };
        let runs = if counted.gaps == 0 { 1.0 } else { f64::from(counted.gap_packets) / f64::from(counted.gaps) };
        let way = Way { loss, burst_ratio: runs * (1.0 - loss), delay_ms: self.delay_ms(counted.jitter_us, 0) };
        let codec = Codec::of(counted.payload_type);
        let x10 = |way: &Way| u8::try_from(mos_x100(codec, way) / 10).unwrap_or(UNKNOWN);
        let bursts = self.own.as_ref().map(|own| own.bursts()).unwrap_or_default();
        VoipMetrics {
            loss: (loss * 256.0).min(255.0) as u8,
            burst_density: bursts.burst_density,
            gap_density: bursts.gap_density,
            burst_ms: bursts.burst_ms,
            gap_ms: bursts.gap_ms,
            round_trip_ms: u16::try_from(self.round_trip_us.unwrap_or(0) / 1_000).unwrap_or(u16::MAX),
            rating: rating(codec, &way).round() as u8,
            mos_lq_x10: x10(&Way { delay_ms: 0.0, ..way }),
            mos_cq_x10: x10(&way),
            ..VoipMetrics::default()
        }
    }

    /// What is known in the end. `counted` is what came from the leg, `sent` how many packets went to it.
    pub fn figures(&self, counted: &Counted, sent: u64) -> LegFigures {
        let to = self.heard.map(|heard| self.heard_figures(&heard, sent));
        LegFigures { from: self.counted_figures(counted), to, round_trip_us: self.round_trip_us }
    }

    /// What is known while it goes on: what came as the last look found it, and what the end reported last. `sent` is how
    /// many packets went to it.
    pub fn live(&self, sent: u64, now: Time) -> LiveFigures {
        let live = |moment: Moment, whole| {
            let Moment { at, mos_x100, loss_x10000 } = moment;
            LiveStream { age: now.since(at), whole, mos_x100, loss_x10000 }
        };
        LiveFigures {
            from: self.looked.map(|moment| live(moment, self.counted_figures(&self.counted))),
            to: self.heard.map(|heard| live(heard.moment, self.heard_figures(&heard, sent))),
            round_trip_us: self.round_trip_us,
        }
    }

    fn counted_figures(&self, counted: &Counted) -> StreamFigures {
        let (mos_x100, mos_min_x100) = (self.from.mean(), self.from.worst);
        let Counted { packets, lost, jitter_us, .. } = *counted;
        StreamFigures { packets, lost, jitter_us, mos_x100, mos_min_x100 }
    }

    fn heard_figures(&self, heard: &Heard, sent: u64) -> StreamFigures {
        let lost = u64::from(heard.lost_before) + u64::from(heard.lost);
        let (mos_x100, mos_min_x100) = (self.to.mean(), self.to.worst);
        StreamFigures { packets: sent, lost, jitter_us: heard.jitter_us, mos_x100, mos_min_x100 }
    }

    /// A time that was passed to the end comes back, which it held for so long. Units: 1/65,536 s.
    fn learn_round_trip(&mut self, middle: u32, held: u32, now: Time) {
        if let Some(round_trip) = self.round_trip(middle, held, now) {
            self.round_trip_us = u32::try_from(round_trip.as_micros()).ok();
        }
    }

    fn round_trip(&self, middle: u32, held: u32, now: Time) -> Option<Duration> {
        let (_, at) = self.passed.iter().find(|(ntp, at)| *ntp == middle && *ntp != 0 && *at != Time::ZERO)?;
        let held = Duration::from_nanos(u64::from(held) * 1_000_000_000 / 65_536);
        let round_trip = now.since(*at).checked_sub(held)?;
        (round_trip <= ROUND_TRIP_MAX).then_some(round_trip)
    }

    /// One way, and what a receiver waits for the late ones.
    fn delay_ms(&self, jitter_us: u32, own_delay: u16) -> f64 {
        let way = f64::from(self.round_trip_us.unwrap_or(0)) / 2_000.0;
        let waits = f64::from(jitter_us) / 1_000.0 * 2.0;
        way + PACKET_MS + waits.max(f64::from(own_delay.max(self.far_delay_ms)))
    }
}

/// A share in hundredths of a percent.
fn x10000(share: f64) -> u16 {
    (share.clamp(0.0, 1.0) * 10_000.0).round() as u16
}

/// How many times that passed are known: those of its other side, and of ours where we report beside that.
const PASSED: usize = 4;
/// Less than this is no opinion: half a second of speech.
const PACKETS_MIN: u64 = 25;
/// How long most packets are. Units: milliseconds.
const PACKET_MS: f64 = 20.0;
/// More is a clock that jumped.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{SenderWords, print_receiver_report, print_sender_report};

    fn counted(packets: u64, lost: u64) -> Counted {
        Counted { packets, lost, ..Counted::default() }
    }

    fn secs(n: u64) -> Time {
        Time::from_millis(n * 1_000)
    }

    #[test]
    fn each_window_is_judged_by_itself() {
        let mut monitor = Monitor::new(Time::ZERO);
        assert!(!monitor.is_due(secs(4)) && monitor.is_due(secs(5)));
        // G.107 with one packet of delay, T = 20 ms: TERV = 65 - 40 lg(3 / 1.1333) = 48.09, Re = 80 + 2.5 (TERV - 14) =
        // 165.23, half = (94.77 - Re) / 2 = -35.23, Idte = half + sqrt(half^2 + 100) - 1 = 0.39. Rle = 1228.5 / 41^0.25 =
        // 485.5, Idle = -195.4 + sqrt(195.4^2 + 169) = 0.43. R = 94.77 - 1.41 - 0.82 = 92.53, so MOS = 1 + 0.035 R +
        // R (R - 60) (100 - R) 7e-6 = 1 + 3.2386 + 0.1574 = 4.396.
        assert_eq!(monitor.look(&counted(250, 0), secs(5)), Some(440));
        assert!(!monitor.is_due(secs(9)));
        // 225 of 250 came. 10 % lost cost Ie,eff = 95 * 10 / (10 + 25.1) = 27.07: R = 65.46, MOS = 1 + 2.2913 + 0.0865.
        let bad = monitor.look(&counted(475, 25), secs(10)).unwrap();
        assert_eq!(bad, 338);
        assert_eq!(monitor.look(&counted(480, 25), secs(15)), None, "five packets are no opinion");
        let figures = monitor.figures(&counted(480, 25), 0);
        assert_eq!((figures.from.mos_x100, figures.from.mos_min_x100), (389, 338), "the mean of both, and the worse");
        assert_eq!((figures.from.packets, figures.from.lost, figures.to), (480, 25, None));
    }

    #[test]
    fn while_it_goes_on_the_last_look_is_told_with_its_age() {
        let mut monitor = Monitor::new(Time::ZERO);
        assert_eq!(monitor.live(0, secs(4)), LiveFigures::default());
        monitor.look(&counted(250, 0), secs(5));
        monitor.look(&counted(475, 25), secs(10));
        let live = monitor.live(90, secs(13));
        let from = live.from.unwrap();
        assert_eq!((from.age, from.mos_x100, from.loss_x10000), (Duration::from_secs(3), 338, 1_000));
        assert_eq!((from.whole.packets, from.whole.lost, from.whole.mos_x100), (475, 25, 389));
        assert_eq!((live.to, live.mos_x100()), (None, Some(338)));
        monitor.look(&counted(475, 25), secs(15));
        let silent = monitor.live(90, secs(15));
        assert_eq!(
            (silent.from.map(|from| (from.age, from.mos_x100)), silent.mos_x100()),
            (Some((Duration::ZERO, 0)), None)
        );
        let mut report = Vec::new();
        let block = ReportBlock { ssrc: 1, fraction_lost: 64, lost: 9, jitter_ticks: 16, ..ReportBlock::default() };
        print_receiver_report(&mut report, 2, &[block]);
        let mos = monitor.read(&report, 8, 8_000, secs(16)).unwrap();
        let to = monitor.live(90, secs(18)).to.unwrap();
        assert_eq!((to.age, to.mos_x100, to.loss_x10000), (Duration::from_secs(2), mos, 2_500));
        assert_eq!((to.whole.packets, to.whole.lost, to.whole.jitter_us), (90, 9, 2_000));
    }

    #[test]
    fn bursts_and_jitter_are_worse_than_loss_alone() {
        let judge = |gaps, jitter_us| {
            let counted = Counted { gaps, gap_packets: 12, jitter_us, ..counted(238, 12) };
            Monitor::new(Time::ZERO).look(&counted, secs(5)).unwrap()
        };
        assert!(judge(3, 0) < judge(12, 0) && judge(12, 120_000) < judge(12, 0));
    }

    #[test]
    fn a_report_that_comes_back_measures_the_way() {
        let mut monitor = Monitor::new(Time::ZERO);
        let mut sent = Vec::new();
        let sender = SenderWords { ntp: 0x1122_3344_5566_7788, ..SenderWords::default() };
        print_sender_report(&mut sent, 1, &sender, &[]);
        monitor.passes(&sent, secs(1));
        let block = |last_sr| ReportBlock {
            ssrc: 1,
            last_sr,
            delay_since_last_sr: 65_536 / 2,
            fraction_lost: 26,
            lost: 10,
            jitter_ticks: 80,
            ..ReportBlock::default()
        };
        let read = |monitor: &mut Monitor, last_sr, at_ms| {
            let mut report = Vec::new();
            print_receiver_report(&mut report, 2, &[block(last_sr)]);
            monitor.read(&report, 8, 8_000, Time::from_millis(at_ms))
        };
        assert!(read(&mut monitor, 0x9999_9999, 1_560).is_some());
        assert_eq!(monitor.figures(&counted(0, 0), 100).round_trip_us, None);
        let mos = read(&mut monitor, 0x3344_5566, 1_560).unwrap();
        // RFC 3550 6.4.1: it went at 1.000 s and came back at 1.560 s, of which it lay 0.500 s there: 60 ms. 80 ticks of
        // 8,000 Hz are 10 ms of jitter, for which twice that is waited: T = 30 + 20 + 20 = 70 ms.
        // TERV = 65 - 40 lg(8 / 1.4667) = 35.53, Re = 133.82, Idte = 1.41; Rle = 1228.5 / 141^0.25 = 356.5, Idle = 0.64.
        // 26/256 = 10.16 % lost: Ie,eff = 95 * 10.16 / 35.26 = 27.37. R = 93.36 - 1.41 - 0.64 - 27.37 = 63.93,
        // MOS = 1 + 2.2377 + 0.0635.
        assert_eq!(mos, 330);
        let figures = monitor.figures(&counted(0, 0), 100);
        assert_eq!(figures.round_trip_us, Some(60_000));
        let heard = figures.to.unwrap();
        assert_eq!((heard.packets, heard.lost, heard.jitter_us), (100, 10, 10_000));
        // A clock that says more than was there measures nothing.
        read(&mut monitor, 0x3344_5566, 1_100);
        assert_eq!(monitor.figures(&counted(0, 0), 0).round_trip_us, Some(60_000));
    }

    #[test]
    fn what_is_missed_of_several_streams_adds_up() {
        let mut monitor = Monitor::new(Time::ZERO);
        let mut hear = |ssrc, lost, codec| {
            let mut report = Vec::new();
            let block = ReportBlock { ssrc, lost, jitter_ticks: 8, ..ReportBlock::default() };
            print_receiver_report(&mut report, 2, &[block]);
            assert!(monitor.read(&report, codec, if codec == 111 { 48_000 } else { 8_000 }, secs(1)).is_some());
            monitor.figures(&counted(0, 0), 100).to.map(|to| (to.packets, to.lost, to.jitter_us))
        };
        assert_eq!(hear(1, 3, 8), Some((100, 3, 1_000)));
        assert_eq!(hear(1, 5, 8), Some((100, 5, 1_000)));
        // After a transfer somebody else speaks, whose packets are counted from none again; one was doubled.
        assert_eq!(hear(7, -1, 8), Some((100, 5, 1_000)));
        assert_eq!(hear(7, 2, CLOCK_UNKNOWN), Some((100, 7, 0)));
        // Eight ticks of Opus are a sixth of a millisecond.
        assert_eq!(hear(7, 2, 111), Some((100, 7, 166)));
    }

    #[test]
    fn metrics_alone_say_how_it_sounds_and_not_how_much_was_lost() {
        use crate::own::{OWN_REPORT_BYTES, OwnReport};
        let mut monitor = Monitor::new(Time::ZERO);
        let mut report = Vec::new();
        print_receiver_report(&mut report, 2, &[ReportBlock { ssrc: 1, lost: 9, ..ReportBlock::default() }]);
        assert_eq!(monitor.read(&report, 8, 8_000, secs(1)), Some(440));
        let metrics = VoipMetrics { loss: 26, ..VoipMetrics::default() };
        let mut bytes = [0; OWN_REPORT_BYTES];
        let length = OwnReport { ssrc: 2, metrics: Some((1, metrics)), ..OwnReport::default() }.write(&mut bytes);
        let mos = monitor.read(&bytes[..length], 8, 8_000, secs(6)).unwrap();
        assert!((330..350).contains(&mos), "{mos}");
        let to = monitor.figures(&counted(0, 0), 100).to.unwrap();
        assert_eq!((to.lost, to.mos_x100, to.mos_min_x100), (9, u16::midpoint(440, mos), mos));
    }

    #[test]
    fn no_bytes_break_it() {
        let mut chance = words::Chance::new(words::Seed::from_number(9));
        let mut monitor = Monitor::new(Time::ZERO);
        for n in 0..20_000 {
            let mut bytes: Vec<u8> = (0..chance.below(80)).map(|_| chance.u32() as u8).collect();
            if let Some(first) = bytes.first_mut() {
                *first = 0x80 | *first & 0x3f;
            }
            if let Some(kind) = bytes.get_mut(1) {
                *kind = 200 + *kind % 8;
            }
            monitor.read(&bytes, bytes.len() as u8, chance.u32() >> chance.below(32), Time::from_millis(n));
            monitor.passes(&bytes, Time::from_millis(n));
            let _ = monitor.look(&counted(chance.u64(), chance.u64() >> 1), Time::from_millis(n));
        }
    }
}
