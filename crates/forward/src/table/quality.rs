//! What is known of how well the ends hear and are heard. Packets cost nothing here: a look every few seconds, and one at
//! each report that passes.

use super::{Route, SocketId, Table, Verdict};
use crate::counters::Totals;
use crate::row::End;
use media::monitor::Monitor;
use media::rtcp::{ANSWER_BYTES, Packets, RtcpView, write_report};
use words::{LegId, LiveFigures, Time};

/// Judges what came from an end, when that is due.
pub(super) fn look(end: &mut End, totals: &mut Totals, now: Time) {
    match &end.monitor {
        // What speaks no RTP has nothing to be judged by.
        None if end.counters.packets_in == 0 || end.payload_types.is_empty() => {}
        None => end.monitor = Some(Box::new(Monitor::new(now))),
        Some(known) if !known.is_due(now) => {}
        Some(_) => judge(end, totals, now),
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

/// Reads a report of an end; gives an opinion of what it hears, when it says so.
pub(super) fn read(end: &mut End, packet: &[u8], now: Time) -> Option<u16> {
    let speaks = end.speaks;
    end.monitor.get_or_insert_with(|| Box::new(Monitor::new(now))).read(packet, speaks, now)
}

/// A report goes to an end.
pub(super) fn pass(end: &mut End, packet: &[u8], now: Time) {
    end.monitor.get_or_insert_with(|| Box::new(Monitor::new(now))).passes(packet, now);
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

    /// Who speaks with the exchange itself is answered by it: a sender report by a receiver report.
    pub(super) fn own_report(&mut self, socket: SocketId, packet: &[u8]) -> Verdict {
        let Some(RtcpView::SenderReport { .. }) = Packets::new(packet).next() else { return Verdict::Dropped };
        let Some(end) = self.end_at(socket.slot()) else { return Verdict::Dropped };
        let Some(to) = end.latch.rtcp_target() else { return Verdict::Dropped };
        end.counters.rtcp_out += 1;
        self.totals.rtcp += 1;
        Verdict::Send(Route { socket, to: Some(to) })
    }

    /// Puts the answer to the sender report in `buffer` in its place, and gives its length.
    pub(crate) fn write_own_report(&mut self, slot: u32, buffer: &mut [u8], length: usize) -> Option<usize> {
        let Some(RtcpView::SenderReport { ssrc, sender, .. }) = Packets::new(buffer.get(..length)?).next() else {
            return None;
        };
        let end = self.end_at(slot)?;
        let mut block = end.reception.report();
        (block.ssrc, block.last_sr) = (ssrc, (sender.ntp >> 16) as u32);
        let mut answer = [0; ANSWER_BYTES];
        // A number of our own, which cannot be the one of who asks.
        let length = write_report(&mut answer, !ssrc, &block, CNAME);
        buffer.get_mut(..length)?.copy_from_slice(&answer[..length]);
        Some(length)
    }
}

/// Who answers; no name of a host, which is nobody's business.
const CNAME: &[u8] = b"exchange";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{self, above, leg, pair, phone, rtp, terms};
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

    #[test]
    fn who_speaks_with_the_exchange_is_answered_by_it() {
        let mut table = table([0, 0]);
        (0..100).filter(|n| n % 4 != 2).for_each(|n| speak(&mut table, 0, n, Time::from_millis(u64::from(n) * 20)));
        let mut buffer = [0; 256];
        let mut sent = Vec::new();
        print_sender_report(&mut sent, 1, &SenderWords { ntp: 7 << 32, ..SenderWords::default() }, &[]);
        buffer[..sent.len()].copy_from_slice(&sent);
        let (verdict, length) =
            table.relay(SocketId::rtcp(0), Some(above(phone(0))), &mut buffer, sent.len(), Time::from_millis(2_000));
        assert_eq!(verdict, Verdict::Send(Route { socket: SocketId::rtcp(0), to: Some(above(phone(0))) }));
        assert!(Packets::new(&buffer[..length]).is_compound());
        let Some(RtcpView::ReceiverReport { ssrc, reports }) = Packets::new(&buffer[..length]).next() else { panic!() };
        let block = reports.iter().next().unwrap();
        assert_eq!((ssrc, block.ssrc, block.lost, block.last_sr), (!1, 1, 25, 7 << 16));
        // What is no sender report wants no answer.
        let mut heard = Vec::new();
        print_receiver_report(&mut heard, 1, &[]);
        assert_eq!(
            table.forward(SocketId::rtcp(0), Some(above(phone(0))), &heard, Time::from_millis(3_000)),
            Verdict::Dropped
        );
    }
}
