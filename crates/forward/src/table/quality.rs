//! What is known of how well the ends hear and are heard. Packets cost nothing here: a look every few seconds, and one at
//! each report that passes.

use super::{Route, SocketId, Table, Verdict};
use crate::counters::Totals;
use crate::row::{End, Informed};
use media::monitor::Monitor;
use media::own::{OWN_REPORT_BYTES, OwnReport, own_ssrc, ssrc_aside};
use media::rewrite::Rewrite;
use media::rtcp::{Packets, RtcpView};
use media::rtp::{HEADER_BYTES, RtpView};
use words::{LegId, LiveFigures, Time};

/// Judges what came from an end, when that is due; says whether it was.
pub(super) fn look(end: &mut End, totals: &mut Totals, now: Time) -> bool {
    match &end.monitor {
        // What speaks no RTP has nothing to be judged by.
        None if end.counters.packets_in == 0 || end.payload_types.is_empty() => return false,
        None => end.monitor = Some(Box::new(Monitor::new(now))),
        Some(known) if !known.is_due(now) => return false,
        Some(_) => {
            judge(end, totals, now);
            return true;
        }
    }
    false
}

/// Whether an end that was just looked at is to be told what we hear and what we send.
pub(super) fn is_to_be_told(end: &mut End, slot: u32, now: Time) -> bool {
    let speaks = end.speaks_with_us(slot);
    (speaks || misses_reports(end))
        && !end.payload_types.is_empty()
        && end.latch.rtcp_target().is_some()
        && end.monitor.as_mut().is_some_and(|known| {
            let own = known.own();
            own.is_due(now) && (speaks || own.has_news(end.counters.packets_in))
        })
}

/// Whether an end wants extended reports that nobody else sends it, and is known to be where it says.
fn misses_reports(end: &End) -> bool {
    !end.extended.is_empty() && end.informed != Informed::Extended && end.heard.is_some()
}

/// A packet of a sound goes to an end.
pub(super) fn sounds(end: &mut End, packet: &[u8], now: Time) {
    if let Some(rtp) = RtpView::parse(packet) {
        let monitor = end.monitor.get_or_insert_with(|| Box::new(Monitor::new(now)));
        monitor.own().sends(rtp.ssrc(), rtp.timestamp(), rtp.payload().len(), now);
    }
}

/// Packets of an end go back to it; `bytes` of payload.
pub(crate) fn echoes(end: &mut End, packets: u64, bytes: u64, now: Time) {
    end.monitor.get_or_insert_with(|| Box::new(Monitor::new(now))).own().echoes(packets, bytes);
}

/// A packet of ours did not go out: `bytes` of it.
pub(super) fn unsent(end: &mut End, slot: u32, bytes: usize) {
    let (speaks, plays) = (end.speaks_with_us(slot), end.plays);
    if let Some(known) = end.monitor.as_mut().filter(|_| speaks) {
        known.own().takes_back(plays, bytes.saturating_sub(HEADER_BYTES));
    }
}

/// The last look: what came since the one before.
pub(super) fn close(end: &mut End, totals: &mut Totals, now: Time) {
    if end.monitor.is_none() && end.counters.packets_in > 0 && !end.payload_types.is_empty() {
        end.monitor = Some(Box::new(Monitor::new(now)));
    }
    judge(end, totals, now);
    totals.judged.lost += end.reception.lost();
}

fn judge(end: &mut End, totals: &mut Totals, now: Time) {
    let counted = end.counted();
    if let Some(mos) = end.monitor.as_mut().and_then(|known| known.look(&counted, now)) {
        totals.judged.opinion(mos);
        totals.judged.jitter(counted.jitter_us);
    }
}

/// Reads a report of an end, which speaks with us alone or with another; gives an opinion of what it hears, when it says so.
pub(super) fn read(end: &mut End, packet: &[u8], with_us: bool, now: Time) -> Option<u16> {
    // Two who speak with each other mostly speak the same.
    let (speaks, clock_hz) = (end.speaks, end.reception.clock_hz());
    let monitor = end.monitor.get_or_insert_with(|| Box::new(Monitor::new(now)));
    if with_us || !end.extended.is_empty() {
        let own = monitor.own();
        if own.is_ours(packet) {
            return None;
        }
        own.read(packet, now);
    }
    monitor.read(packet, speaks, clock_hz, now)
}

/// A report goes to an end.
pub(super) fn pass(end: &mut End, packet: &[u8], now: Time) {
    let extended = end.monitor.get_or_insert_with(|| Box::new(Monitor::new(now))).passes(packet, now);
    end.informed = end.informed.max(if extended { Informed::Extended } else { Informed::Reports });
}

impl Table {
    /// Whether what came from an end is about to be judged: whoever counts in the worker's place tells first.
    pub fn is_judged(&self, slot: u32, now: Time) -> bool {
        let end = self.rows.get(slot as usize).and_then(|row| row.end.as_ref());
        end.and_then(|end| end.monitor.as_ref()).is_some_and(|known| known.is_due(now))
    }

    /// How well an end goes at this moment; `None` when it is not open, or nothing of it came.
    pub fn live(&self, name: LegId, now: Time) -> Option<LiveFigures> {
        let end = self.rows.get(self.slot_of(name)? as usize)?.end.as_ref()?;
        Some(end.monitor.as_ref()?.live(end.counters.packets_out, now))
    }

    /// Who speaks with the exchange itself is answered by it: a sender report by a report of ours.
    pub(super) fn answer_report(&mut self, socket: SocketId, packet: &[u8]) -> Verdict {
        let Some(end) = self.end_at(socket.slot()) else { return Verdict::Dropped };
        let Some(RtcpView::SenderReport { .. }) = Packets::new(packet).next() else { return Verdict::Dropped };
        let Some(to) = end.latch.rtcp_target() else { return Verdict::Dropped };
        end.counters.rtcp_out += 1;
        self.totals.rtcp += 1;
        Verdict::Send(Route { socket, to: Some(to) })
    }

    /// Puts what the exchange itself says to an end in the place of what came from it: of a report the answer, and an echo
    /// under our name, as nobody may hear his own (RFC 3550 §8.2). Gives the length of an answer.
    pub(crate) fn own_words(&mut self, socket: SocketId, buffer: &mut [u8], length: usize, now: Time) -> Option<usize> {
        let end = self.end_at(socket.slot())?;
        if end.payload_types.is_empty() {
            return None;
        }
        if !socket.is_rtcp() {
            Rewrite { ssrc: Some(own_ssrc(end.name)), ..Rewrite::default() }.apply(buffer);
            let bytes = buffer.get(..length).and_then(RtpView::parse).map_or(0, |rtp| rtp.payload().len());
            echoes(end, 1, bytes as u64, now);
            return None;
        }
        write(end, socket.slot(), buffer, now)
    }

    /// Writes a report of our own to an end into `buffer`; gives its way and its length.
    pub fn own_report(&mut self, slot: u32, buffer: &mut [u8], now: Time) -> Option<(Route, usize)> {
        let end = self.end_at(slot)?;
        let length = if end.speaks_with_us(slot) {
            write(end, slot, buffer, now)
        } else {
            let speaker = end.link.map_or(slot, |link| link.slot);
            let other = self.end_at(speaker).map_or(0, |other| other.reception.reception().ssrc);
            write_aside(self.end_at(slot)?, other, buffer, now)
        }?;
        let end = self.end_at(slot)?;
        let to = end.latch.rtcp_target()?;
        end.counters.rtcp_out += 1;
        self.totals.rtcp += 1;
        Some((Route { socket: SocketId::rtcp(slot), to: Some(to) }, length))
    }
}

fn write(end: &mut End, slot: u32, buffer: &mut [u8], now: Time) -> Option<usize> {
    let extended = end.extended;
    let counted = end.counted();
    let echoes = !end.plays && end.link.is_some_and(|link| link.slot == slot);
    let echo = echoes.then(|| end.reception.timestamp_at(now).unwrap_or(0));
    let summary = end.reception.missed().filter(|_| extended.summary);
    let heard = (counted.packets > 0).then(|| end.reception.report());
    let monitor = end.monitor.get_or_insert_with(|| Box::new(Monitor::new(now)));
    let mut report = monitor.own().report(end.name, echo, extended, now);
    // What is said beside it names whose stream it is of.
    let of = heard.map(|block| block.ssrc);
    report.metrics = of.filter(|_| extended.metrics).map(|of| (of, monitor.metrics(&counted)));
    report.summary = of.zip(summary);
    report.heard = heard.map(|mut block| {
        monitor.own().give_back(&mut block, now);
        block
    });
    put(&report, monitor, buffer, now)
}

/// A report to an end beside what passes between it and another, whose SSRC is `other`: how we hear it. Where the other
/// reports too, ours is about nobody but for its extended blocks: many phones take any block about them for the other's.
fn write_aside(end: &mut End, other: u32, buffer: &mut [u8], now: Time) -> Option<usize> {
    let extended = end.extended;
    let counted = end.counted();
    let summary = end.reception.missed().filter(|_| extended.summary);
    let mut block = end.reception.report();
    let monitor = end.monitor.get_or_insert_with(|| Box::new(Monitor::new(now)));
    let ssrc = ssrc_aside(end.name, [block.ssrc, other]);
    let mut report = monitor.own().aside(ssrc, counted.packets, extended, now);
    report.metrics = extended.metrics.then(|| (block.ssrc, monitor.metrics(&counted)));
    report.summary = summary.map(|summary| (block.ssrc, summary));
    if end.informed == Informed::Nothing {
        monitor.own().give_back(&mut block, now);
        report.heard = Some(block);
    }
    put(&report, monitor, buffer, now)
}

fn put(report: &OwnReport, monitor: &mut Monitor, buffer: &mut [u8], now: Time) -> Option<usize> {
    let mut written = [0; OWN_REPORT_BYTES];
    let length = report.write(&mut written);
    buffer.get_mut(..length)?.copy_from_slice(&written[..length]);
    monitor.passes(&written[..length], now);
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{self, above, leg, pair, phone, rtp, terms};
    use media::clocks::Clocks;
    use media::command::PayloadTypes;
    use media::rtcp::{ReportBlock, SenderWords, print_receiver_report, print_sender_report};
    use words::LegFigures;

    /// Ends 0 and 1; what comes from each goes to `links`.
    fn table(links: [u16; 2]) -> Table {
        pair(Table::new(false), links, |n| terms(phone(n), PayloadTypes::NONE.with(8)))
    }

    fn speak(table: &mut Table, n: u16, sequence: u16, now: Time) {
        let packet = rtp(8, sequence, u32::from(n) + 1);
        table.forward(SocketId::rtp(n.into()), Some(phone(n)), &packet, now);
    }

    fn closed(table: &mut Table, n: u16, now: Time) -> LegFigures {
        *kit::closed(table, n, now).1.expect("somebody spoke there")
    }

    #[test]
    fn loss_is_judged_every_few_seconds_and_told_in_the_end() {
        let mut table = table([1, 0]);
        for n in 0..1_000_u16 {
            let now = Time::from_millis(u64::from(n) * 20);
            // The third five seconds miss each tenth.
            if !(500..750).contains(&n) || n % 10 != 0 {
                speak(&mut table, 0, n, now);
            }
            speak(&mut table, 1, n, now);
            if n % 12 == 0 {
                table.handle_timeout(now);
            }
        }
        let end = Time::from_millis(20_000);
        let live = table.live(leg(0), end).and_then(|live| live.from).expect("it was looked at");
        // The last look was at the bad five seconds.
        assert!(live.age < media::monitor::WINDOW && (900..1_000).contains(&live.loss_x10000), "{live:?}");
        assert!(live.mos_x100 < 350 && live.whole.mos_x100 > live.mos_x100, "{live:?}");
        assert_eq!((live.whole.lost, live.whole.mos_min_x100), (25, live.mos_x100));
        assert_eq!((table.live(leg(7), end), table.live(leg(0), end).and_then(|live| live.to)), (None, None));
        let (bad, good) = (closed(&mut table, 0, end), closed(&mut table, 1, end));
        assert_eq!((bad.from.packets, bad.from.lost), (975, 25));
        let mos = |figures: &LegFigures| (figures.from.mos_x100, figures.from.mos_min_x100);
        assert!(mos(&bad).1 < 350 && mos(&bad).0 > 360 && mos(&bad).0 < 430, "{:?}", mos(&bad));
        assert_eq!(mos(&good), (440, 440));
        let judged = table.totals().judged;
        assert_eq!((judged.lost, judged.mos.iter().sum::<u64>()), (25, judged.jitter.iter().sum::<u64>()));
        assert!(judged.mos.iter().sum::<u64>() >= 6 && judged.mos[..4].iter().sum::<u64>() >= 1, "{judged:?}");
    }

    /// 20 ms apart by their timestamps, each third 6 ms late: two of three differ by that from the one before.
    #[test]
    fn jitter_of_each_clock_is_found() {
        let clocks = Clocks::NONE.with(111, "opus", 48_000).with(97, "AMR-WB", 16_000).with(98, "L16", 44_100);
        let clocks = clocks.with(101, "telephone-event", 48_000);
        let all = PayloadTypes::NONE.with(8).with(9).with(10).with(111).with(97).with(98).with(101).with(120);
        let found = [(8, 8_000), (9, 8_000), (10, 44_100), (111, 48_000), (97, 16_000), (98, 44_100), (120, 48_000)]
            .map(|(payload_type, hz)| {
                let mut table =
                    pair(Table::new(false), [1, 0], |n| media::command::Terms { clocks, ..terms(phone(n), all) });
                for n in 0..600_u16 {
                    let now = Time::from_millis(u64::from(n) * 20 + if n % 3 == 0 { 6 } else { 0 });
                    let mut packet = rtp(payload_type, n * 2, 1);
                    packet[4..8].copy_from_slice(&(u32::from(n) * hz / 50).to_be_bytes());
                    table.forward(SocketId::rtp(0), Some(phone(0)), &packet, now);
                    // An event: its timestamp stands still.
                    let mut event = rtp(101, n * 2 + 1, 1);
                    event[4..8].copy_from_slice(&[0, 0, 0, 7]);
                    table.forward(SocketId::rtp(0), Some(phone(0)), &event, now);
                    if n % 12 == 0 {
                        table.handle_timeout(now);
                    }
                }
                // Its reports are of what it hears, which is such a codec, too.
                let mut report = Vec::new();
                let block = ReportBlock { ssrc: 2, jitter_ticks: hz / 50, ..ReportBlock::default() };
                print_receiver_report(&mut report, 1, &[block]);
                table.forward(SocketId::rtcp(0), Some(above(phone(0))), &report, Time::from_millis(12_000));
                let judged = table.totals().judged.jitter;
                let figures = closed(&mut table, 0, Time::from_millis(12_010));
                (figures.from.jitter_us, figures.to.map_or(0, |to| to.jitter_us), figures.from.mos_x100, judged)
            });
        let (mos, counted) = (found[0].2, found[0].3);
        for (from, to, mos_x100, judged) in &found[..6] {
            assert!((3_000..5_000).contains(from) && (19_900..=20_000).contains(to), "{found:?}");
            // What people hear of it, and what metrics count, is the same whatever the clock.
            assert!(mos_x100.abs_diff(mos) <= 2 && *judged == counted, "{found:?}");
        }
        let (from, to, unknown, _) = found[6];
        assert!((from, to) == (0, 0) && unknown > mos, "a clock that nobody said tells nothing: {found:?}");
    }

    #[test]
    fn reports_that_pass_are_read() {
        let mut table = table([1, 0]);
        (0..100).for_each(|n| speak(&mut table, 1, n, Time::from_millis(u64::from(n) * 20)));
        let (mut sent, mut heard) = (Vec::new(), Vec::new());
        let sender = SenderWords { ntp: 5 << 32, packets: 100, ..SenderWords::default() };
        print_sender_report(&mut sent, 2, &sender, &[]);
        let went = table.forward(SocketId::rtcp(1), Some(above(phone(1))), &sent, Time::from_millis(2_000));
        assert_eq!(went, Verdict::Send(Route { socket: SocketId::rtcp(0), to: Some(above(phone(0))) }));
        let (last_sr, delay_since_last_sr) = (5 << 16, 65_536 / 10);
        let block =
            ReportBlock { ssrc: 2, lost: 4, fraction_lost: 10, last_sr, delay_since_last_sr, ..ReportBlock::default() };
        print_receiver_report(&mut heard, 1, &[block]);
        let went = table.forward(SocketId::rtcp(0), Some(above(phone(0))), &heard, Time::from_millis(2_180));
        assert_eq!(went, Verdict::Send(Route { socket: SocketId::rtcp(1), to: Some(above(phone(1))) }));
        let figures = closed(&mut table, 0, Time::from_millis(2_200));
        assert!(figures.round_trip_us.is_some_and(|us| us.abs_diff(80_000) < 20), "{figures:?}");
        let to = figures.to.unwrap();
        assert!((to.packets, to.lost) == (100, 4) && (350..430).contains(&to.mos_x100), "{to:?}");
    }

    /// A packet that comes, as the worker passes it on: what goes out.
    fn relayed(table: &mut Table, socket: SocketId, packet: &[u8], now: Time) -> (Verdict, Vec<u8>) {
        let mut buffer = [0; 512];
        buffer[..packet.len()].copy_from_slice(packet);
        let from = if socket.is_rtcp() { above(phone(0)) } else { phone(0) };
        let (verdict, length) = table.relay(socket, Some(from), &mut buffer, packet.len(), now);
        (verdict, buffer[..length].to_vec())
    }

    /// What the exchange says by itself to leg 0, if it says anything.
    fn told(table: &mut Table, now: Time) -> Option<Vec<u8>> {
        table.handle_timeout(now);
        let wanted = std::iter::from_fn(|| table.poll()).any(|output| output == crate::Output::Inform { slot: 0 });
        let mut buffer = [0; 512];
        let (route, length) = wanted.then(|| table.own_report(0, &mut buffer, now)).flatten()?;
        assert_eq!(route, Route { socket: SocketId::rtcp(0), to: Some(above(phone(0))) });
        assert!(Packets::new(&buffer[..length]).is_compound());
        Some(buffer[..length].to_vec())
    }

    fn sender_of(packet: &[u8]) -> (u32, SenderWords, Option<ReportBlock>) {
        match Packets::new(packet).next() {
            Some(RtcpView::SenderReport { ssrc, sender, reports }) => (ssrc, sender, reports.iter().next()),
            other => panic!("{other:?}"),
        }
    }

    /// The blocks of the extended report in a packet.
    fn extended_of(packet: &[u8]) -> Option<media::xr::Blocks<'_>> {
        Packets::new(packet).find_map(|packet| match packet {
            RtcpView::Other { packet_type: media::xr::PACKET_TYPE, body } => Some(media::xr::Blocks::new(body)),
            _ => None,
        })
    }

    #[test]
    fn who_speaks_with_the_exchange_is_answered_by_it() {
        let mut table = table([0, 0]);
        let ours = own_ssrc(leg(0));
        for n in (0..100).filter(|n| n % 4 != 2) {
            let now = Time::from_millis(u64::from(n) * 20);
            let (verdict, heard) = relayed(&mut table, SocketId::rtp(0), &rtp(8, n, 1), now);
            assert_eq!(verdict, Verdict::Send(Route { socket: SocketId::rtp(0), to: Some(phone(0)) }));
            assert_eq!(heard, rtp(8, n, ours), "an echo is the same under our name");
        }
        let mut sent = Vec::new();
        print_sender_report(&mut sent, 1, &SenderWords { ntp: 7 << 32, ..SenderWords::default() }, &[]);
        let (verdict, answer) = relayed(&mut table, SocketId::rtcp(0), &sent, Time::from_millis(2_000));
        assert_eq!(verdict, Verdict::Send(Route { socket: SocketId::rtcp(0), to: Some(above(phone(0))) }));
        assert!(Packets::new(&answer).is_compound());
        let (ssrc, sender, block) = sender_of(&answer);
        let block = block.unwrap();
        assert_eq!((ssrc, block.ssrc, block.lost, block.last_sr), (ours, 1, 25, 7 << 16));
        // Packet 99 had the timestamp 15,840 at 1.980 s; 20 ms later it is 160 more.
        assert_eq!((sender.packets, sender.bytes, sender.rtp_timestamp), (75, 75 * 160, 16_000));
        assert_eq!((sender.ntp, extended_of(&answer).is_some()), (2 << 32, false));
        // What is no sender report wants no answer. It says how long ours took.
        let (last_sr, delay_since_last_sr) = (2 << 16, 65_536 / 2);
        let block = ReportBlock { ssrc: ours, last_sr, delay_since_last_sr, ..ReportBlock::default() };
        let mut heard = Vec::new();
        print_receiver_report(&mut heard, 1, &[block]);
        let (verdict, _) = relayed(&mut table, SocketId::rtcp(0), &heard, Time::from_millis(2_580));
        assert_eq!(verdict, Verdict::Dropped);
        assert_eq!(closed(&mut table, 0, Time::from_millis(2_600)).round_trip_us, Some(80_000));
    }

    #[test]
    fn who_hears_its_echo_is_told_every_few_seconds_and_two_who_speak_with_each_other_are_not() {
        for links in [[0, 0], [1, 0]] {
            let mut table = table(links);
            let mut reports = Vec::new();
            for n in 0..1_200_u16 {
                let now = Time::from_millis(u64::from(n) * 20);
                // After 20 s it falls silent.
                if n < 1_000 {
                    relayed(&mut table, SocketId::rtp(0), &rtp(8, n, 1), now);
                }
                if n % 12 == 0 {
                    reports.extend(told(&mut table, now));
                }
            }
            if links == [1, 0] {
                assert_eq!(reports, Vec::<Vec<u8>>::new());
                continue;
            }
            assert_eq!(reports.len(), 4);
            let packets: Vec<u32> = reports.iter().take(3).map(|report| sender_of(report).1.packets).collect();
            assert!(packets.is_sorted() && packets[0] > 200 && packets[2] < 1_000, "{packets:?}");
            let times: Vec<u64> = reports.iter().map(|report| sender_of(report).1.ntp >> 32).collect();
            assert_eq!(times, [5, 10, 15, 20]);
        }
    }

    /// What goes from each end goes there from now on.
    fn relink(table: &mut Table, links: [u16; 2], generation: u32) {
        for (from, to) in (0..).zip(links) {
            let generation = media::command::Generation(generation);
            let link = media::command::MediaCommand::Link { from: leg(from), to: leg(to), generation };
            table.apply(link, Time::ZERO);
        }
    }

    #[test]
    fn what_others_sent_to_an_end_before_is_not_told_as_ours() {
        let mut table = table([1, 0]);
        let mut now = Time::ZERO;
        let mut say = |table: &mut Table, n: u16, count: u16| {
            for sequence in 0..count {
                now += std::time::Duration::from_millis(20);
                match n {
                    0 => _ = relayed(table, SocketId::rtp(0), &rtp(8, sequence, 1), now),
                    _ => speak(table, n, sequence, now),
                }
            }
            now
        };
        say(&mut table, 1, 300);
        relink(&mut table, [0, 0], 3);
        say(&mut table, 0, 100);
        // Whoever still sends to it is heard by nobody else's name.
        let now = say(&mut table, 1, 10);
        let mut buffer = [0; 512];
        let mut ours = |table: &mut Table, now| {
            let (_, length) = table.own_report(0, &mut buffer, now).expect("it is known where its reports go");
            let (ssrc, sender, _) = sender_of(&buffer[..length]);
            (ssrc, sender.packets, sender.bytes)
        };
        assert_eq!(ours(&mut table, now), (own_ssrc(leg(0)), 100, 100 * 160));
        relink(&mut table, [1, 0], 4);
        say(&mut table, 1, 300);
        relink(&mut table, [0, 1], 5);
        // What the kernel carried of it counts, what it carried to it from others does not.
        table.carried(0, 0, 50, 50 * 172, now);
        table.carried(1, 0, 20, 20 * 172, now);
        let now = say(&mut table, 0, 50);
        table.unsent(SocketId::rtp(0), 172);
        assert_eq!(ours(&mut table, now), (own_ssrc(leg(0)), 199, 199 * 160));
        let (counters, _) = kit::closed(&mut table, 0, now);
        assert_eq!(counters.packets_out, 300 + 100 + 10 + 300 + 50 + 20 + 50 - 1);
    }

    #[test]
    fn a_sound_is_told_to_who_never_said_anything() {
        let mut table = pair(Table::new(false), [1, 0], |n| terms(phone(n), PayloadTypes::NONE.with(8)));
        let generation = media::command::Generation(3);
        let (sound, payload_type) = (media::command::Sound::Ringback, 8);
        let play = media::command::MediaCommand::Play { end: leg(0), generation, sound, payload_type };
        table.apply(play, Time::ZERO);
        let mut reports = Vec::new();
        for n in 0..300_u16 {
            let now = Time::from_millis(u64::from(n) * 20);
            assert!(table.emit(0, &rtp(8, n, 77), now).is_some());
            reports.extend(told(&mut table, now));
        }
        let [report] = &reports[..] else { panic!("{reports:?}") };
        let (ssrc, sender, block) = sender_of(report);
        assert_eq!((ssrc, block), (77, None));
        let packets = sender.packets;
        assert!((249..=252).contains(&packets) && sender.bytes == packets * 160, "{packets}");
        assert_eq!(sender.rtp_timestamp, (packets - 1) * 160);
        assert!(kit::closed(&mut table, 0, Time::from_millis(6_000)).1.is_none(), "who said nothing has no figures");
    }

    #[test]
    fn extended_reports_are_for_who_asked_for_them_and_measure_the_way_without_sender_reports() {
        for (metrics, round_trip) in [(true, true), (true, false), (false, true), (false, false)] {
            let wanted = media::own::Extended { metrics, round_trip, summary: metrics };
            let with = |n| media::command::Terms { extended: wanted, ..terms(phone(n), PayloadTypes::NONE.with(8)) };
            let mut table = pair(Table::new(false), [0, 0], with);
            for n in (0..240_u16).filter(|n| n % 10 != 3) {
                relayed(&mut table, SocketId::rtp(0), &rtp(8, n, 1), Time::from_millis(u64::from(n) * 20));
                assert!(told(&mut table, Time::from_millis(u64::from(n) * 20)).is_none(), "too soon");
            }
            // The end's own time comes a second before our report.
            let mut theirs = [0; OWN_REPORT_BYTES];
            let time = media::own::OwnReport { ssrc: 1, reference: Some(9 << 32), ..Default::default() };
            let length = time.write(&mut theirs);
            relayed(&mut table, SocketId::rtcp(0), &theirs[..length], Time::from_millis(5_400));
            let report = told(&mut table, Time::from_millis(6_400)).expect("it is time");
            let blocks = extended_of(&report);
            assert_eq!(blocks.is_some(), metrics || round_trip);
            let Some(blocks) = blocks else { continue };
            let found = media::own::Extended {
                metrics: blocks.metrics().is_some(),
                round_trip: blocks.reference_time().is_some(),
                summary: blocks.summary().is_some(),
            };
            assert_eq!((found, blocks.ssrc()), (wanted, Some(own_ssrc(leg(0)))));
            if let Some((of, summary)) = blocks.summary() {
                // All until now, of which each tenth is missing.
                assert_eq!((of, summary), (1, media::xr::Summary { begin: 0, end: 240, lost: 24 }));
            }
            if let Some(metrics) = blocks.metrics() {
                // A tenth of 256, and what that costs by chance: 3.4 as in the tests of the monitor.
                assert_eq!((metrics.loss, metrics.mos_cq_x10, metrics.rating), (25, 33, 65), "{metrics:?}");
                // Nine come between two that do not, so all is one burst from number 3 to 233, of 24 * 256 / 231. Around it
                // are three and six packets.
                assert_eq!((metrics.burst_density, metrics.gap_density), (26, 0), "{metrics:?}");
                assert_eq!((metrics.burst_ms, metrics.gap_ms), (231 * 20, 9 * 20 / 2), "{metrics:?}");
            }
            if round_trip {
                assert_eq!(blocks.delays().collect::<Vec<_>>(), [(1, 9 << 16, 65_536)]);
                let middle = (blocks.reference_time().unwrap() >> 16) as u32;
                let back = media::own::OwnReport {
                    ssrc: 1,
                    delay: Some((own_ssrc(leg(0)), middle, 32_768)),
                    ..Default::default()
                };
                let length = back.write(&mut theirs);
                relayed(&mut table, SocketId::rtcp(0), &theirs[..length], Time::from_millis(6_940));
                assert_eq!(closed(&mut table, 0, Time::from_millis(7_000)).round_trip_us, Some(40_000));
            }
        }
    }

    const ALL: media::own::Extended = media::own::Extended { metrics: true, round_trip: true, summary: true };

    /// Two who speak with each other; the first wants all, and its other side knows nothing of that.
    struct Talk {
        table: Table,
        sequence: u16,
        now: Time,
    }

    impl Talk {
        fn new() -> Talk {
            let wanted = |n| if n == 0 { ALL } else { media::own::Extended::default() };
            let with = |n| media::command::Terms { extended: wanted(n), ..terms(phone(n), PayloadTypes::NONE.with(8)) };
            Talk { table: pair(Table::new(false), [1, 0], with), sequence: 0, now: Time::ZERO }
        }

        /// Both speak for so long, the first losing each tenth; gives what we say to the first meanwhile.
        fn talk(&mut self, seconds: u16) -> Vec<Vec<u8>> {
            let mut reports = Vec::new();
            for _ in 0..seconds * 50 {
                if self.sequence % 10 != 3 {
                    speak(&mut self.table, 0, self.sequence, self.now);
                }
                speak(&mut self.table, 1, self.sequence, self.now);
                if self.sequence.is_multiple_of(12) {
                    reports.extend(told(&mut self.table, self.now));
                }
                self.sequence += 1;
                self.now += std::time::Duration::from_millis(20);
            }
            reports
        }

        /// A report of an end comes, and passes to the other as it is.
        fn pass(&mut self, n: u16, report: &[u8]) {
            let mut buffer = [0; 512];
            buffer[..report.len()].copy_from_slice(report);
            let (from, socket) = (above(phone(n)), SocketId::rtcp(n.into()));
            let (verdict, length) = self.table.relay(socket, Some(from), &mut buffer, report.len(), self.now);
            let to = Route { socket: SocketId::rtcp(u32::from(1 - n)), to: Some(above(phone(1 - n))) };
            assert_eq!((verdict, &buffer[..length]), (Verdict::Send(to), report));
        }
    }

    /// The report of a phone, with what it adds to it.
    fn report_of(report: OwnReport) -> Vec<u8> {
        let mut bytes = [0; OWN_REPORT_BYTES];
        let length = report.write(&mut bytes);
        bytes[..length].to_vec()
    }

    fn receiver_of(packet: &[u8]) -> (u32, Option<ReportBlock>) {
        match Packets::new(packet).next() {
            Some(RtcpView::ReceiverReport { ssrc, reports }) => (ssrc, reports.iter().next()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_wants_extended_reports_of_one_that_knows_none_gets_ours_beside_what_passes() {
        let mut talk = Talk::new();
        let reports = talk.talk(21);
        assert_eq!(reports.len(), 4, "one each five seconds");
        let mut expected = 0;
        for report in &reports {
            // Who hears nothing else of its stream hears all of it from us.
            let (ssrc, block) = receiver_of(report);
            assert_eq!((ssrc, block.map(|block| block.ssrc)), (own_ssrc(leg(0)), Some(1)));
            let blocks = extended_of(report).expect("it asked for them");
            let (of, summary) = blocks.summary().unwrap();
            let (count, lost) = (summary.end - summary.begin, summary.lost);
            assert_eq!(
                (of, summary.begin, lost.abs_diff(u32::from(count) / 10) <= 1),
                (1, expected, true),
                "{summary:?}"
            );
            expected = summary.end;
            let metrics = blocks.metrics().unwrap();
            // What the leg's own figures say: a tenth, which is one burst without end.
            assert_eq!((metrics.loss, metrics.mos_cq_x10), (25, 33), "{metrics:?}");
            assert!((25..=26).contains(&metrics.burst_density), "{metrics:?}");
        }
        assert!(expected > 990, "up to the last report: {expected}");
        // The other reports too: what it says of the stream is not contradicted.
        let block = ReportBlock { ssrc: 1, lost: 7, ..ReportBlock::default() };
        talk.pass(1, &report_of(OwnReport { ssrc: 2, heard: Some(block), ..OwnReport::default() }));
        let reports = talk.talk(10);
        assert_eq!(reports.len(), 2);
        for report in &reports {
            assert_eq!(receiver_of(report), (own_ssrc(leg(0)), None));
            let blocks = extended_of(report).unwrap();
            assert!(blocks.metrics().is_some() && blocks.summary().is_some() && blocks.reference_time().is_some());
        }
        // It knows extended ones after all: those are the better, as they tell what came to an ear.
        let metrics = Some((1, media::xr::VoipMetrics::default()));
        talk.pass(1, &report_of(OwnReport { ssrc: 2, metrics, ..OwnReport::default() }));
        assert_eq!(talk.talk(15), Vec::<Vec<u8>>::new());
        // Another one, and all begins anew.
        relink(&mut talk.table, [1, 1], 3);
        relink(&mut talk.table, [1, 0], 4);
        assert_eq!(talk.talk(10).len(), 2);
        let (counters, _) = kit::closed(&mut talk.table, 0, talk.now);
        assert_eq!((counters.rtcp_in, counters.rtcp_out), (0, 4 + 2 + 2 + 2));
    }

    #[test]
    fn beside_another_the_way_is_measured_by_what_comes_back_to_either() {
        let mut talk = Talk::new();
        let sender = Some(SenderWords { ntp: 3 << 32, ..SenderWords::default() });
        let theirs = OwnReport { ssrc: 1, sender, reference: Some(9 << 32), ..OwnReport::default() };
        talk.talk(4);
        talk.pass(0, &report_of(theirs));
        let report = talk.talk(2).pop().expect("it is time");
        let (_, block) = receiver_of(&report);
        let at = |since: u32| since.abs_diff(65_536 * 104 / 100) < 3_000;
        assert!(block.is_some_and(|block| block.last_sr == 3 << 16 && at(block.delay_since_last_sr)), "{block:?}");
        let blocks = extended_of(&report).unwrap();
        let delays: Vec<_> = blocks.delays().collect();
        assert!(matches!(delays[..], [(1, 0x9_0000, ago)] if at(ago)), "{delays:?}");
        // What the other sends meanwhile does not push our time out.
        for n in 0..3 {
            let sender = Some(SenderWords { ntp: n << 40, ..SenderWords::default() });
            talk.pass(1, &report_of(OwnReport { ssrc: 2, sender, ..OwnReport::default() }));
        }
        let reference = blocks.reference_time().unwrap();
        let sent = Time::from_nanos(((u128::from(reference) * 1_000_000_000) >> 32) as u64);
        talk.now = sent + std::time::Duration::from_millis(540);
        let back = OwnReport {
            ssrc: 1,
            delay: Some((own_ssrc(leg(0)), (reference >> 16) as u32, 32_768)),
            ..OwnReport::default()
        };
        talk.pass(0, &report_of(back));
        let figures = closed(&mut talk.table, 0, talk.now);
        assert!(figures.round_trip_us.is_some_and(|us| us.abs_diff(40_000) < 20), "{figures:?}");
    }

    #[test]
    fn nobody_is_told_beside_another_before_it_was_heard_or_without_news() {
        let mut talk = Talk::new();
        for n in 0..1_000_u16 {
            talk.now = Time::from_millis(u64::from(n) * 20);
            speak(&mut talk.table, 1, n, talk.now);
            // Somebody else speaks in its place, and it says itself that it hears.
            let packet = rtp(8, n, 7);
            let verdict = talk.table.forward(SocketId::rtp(0), Some(kit::stranger()), &packet, talk.now);
            assert_eq!(verdict, Verdict::Refused);
            if n % 12 == 0 {
                talk.pass(0, &kit::REPORT);
                assert_eq!(told(&mut talk.table, talk.now), None);
            }
        }
        assert_eq!(talk.talk(11).len(), 3, "at once, and each five seconds");
        // It moves: until it speaks there, nothing is said there.
        let moved = media::command::Terms { extended: ALL, ..terms(phone(9), PayloadTypes::NONE.with(8)) };
        let generation = media::command::Generation(5);
        talk.table.apply(media::command::MediaCommand::Latch { end: leg(0), generation, terms: moved }, talk.now);
        for _ in 0..50 {
            talk.now += std::time::Duration::from_millis(250);
            assert_eq!(told(&mut talk.table, talk.now), None);
        }
        // And to who says nothing more there is nothing to say, not even at the place where it was heard.
        let mut talk = Talk::new();
        talk.talk(6);
        for n in 0..100 {
            talk.now += std::time::Duration::from_millis(250);
            assert!(told(&mut talk.table, talk.now).is_none() || n < 20);
        }
    }

    #[test]
    fn a_report_of_ours_that_comes_back_tells_nothing_of_the_end() {
        let mut talk = Talk::new();
        let report = talk.talk(6).pop().unwrap();
        talk.pass(0, &report);
        let figures = closed(&mut talk.table, 0, talk.now);
        assert_eq!((figures.to, figures.round_trip_us), (None, None));
    }

    #[test]
    fn metrics_of_a_phone_count_with_a_report_about_nobody_before_them() {
        let mut talk = Talk::new();
        talk.talk(2);
        let metrics = media::xr::VoipMetrics { loss: 26, ..media::xr::VoipMetrics::default() };
        for n in [0, 1] {
            talk.pass(
                n,
                &report_of(OwnReport { ssrc: u32::from(n) + 1, metrics: Some((9, metrics)), ..OwnReport::default() }),
            );
        }
        for n in [0, 1] {
            let to = closed(&mut talk.table, n, talk.now).to.expect("it said how it hears");
            // 10.16 % lost by chance: 3.4, as in the tests of the monitor.
            assert!((330..350).contains(&to.mos_x100), "{to:?}");
        }
    }
}
