//! Which links the kernel may carry by itself, what it must know for that, and what comes back from there.
//!
//! An end asks for it once [`CARRY_AFTER`] packets have gone through the worker, and again after each packet that the
//! kernel left to the worker, later each time, so that an end whose packets often need eyes stays where they are.

use crate::row::Kernel;
use crate::table::{Table, quality};
use media::command::PayloadTypes;
use media::own::own_ssrc;
use media::rewrite::Rewrite;
use media::rtp::{HEADER_BYTES, RtpView};
use media::stats::Reception;
use std::net::SocketAddr;
use words::{LegId, Time};

/// After how many packets of an end, or after a command to it, the kernel is asked to carry its packets.
pub const CARRY_AFTER: u64 = 8;

/// The most packets after which it is asked again.
pub const TRIAL_PACKETS_MAX: u32 = 3_200;

/// What the kernel must know to forward the packets of a link as the worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriage {
    /// Whose packets.
    pub slot: u32,
    /// Who hears them.
    pub to_slot: u32,
    /// From where alone they come.
    pub from: SocketAddr,
    /// To where they go.
    pub to: SocketAddr,
    /// The payload types that nobody here needs to see.
    pub payload_types: PayloadTypes,
    /// Those of them whose timestamps tell jitter.
    pub paced: PayloadTypes,
    /// The clock of all those. Units: Hz.
    pub clock_hz: u32,
    /// What changes in their headers.
    pub rewrite: Rewrite,
}

/// Who sent a packet that came to the worker's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Nobody whose packet will be taken.
    Nobody,
    /// Who is heard already.
    Known,
    /// Who takes the place of one that was learnt: the address of the description, or the host of the signalling.
    Better,
}

impl Table {
    /// How the kernel may carry the packets of an end at this moment; `None` while the worker must.
    pub fn carriage(&self, slot: u32) -> Option<Carriage> {
        let end = self.rows.get(slot as usize).and_then(|row| row.end.as_ref()).filter(|_| self.carries)?;
        let settled = match end.kernel {
            Kernel::Open | Kernel::Proven | Kernel::Never => end.direction.receives(),
            Kernel::Draining | Kernel::Unproven => false,
        };
        let (from, link) = (end.heard.filter(|_| settled)?, end.link?);
        let row = self.rows.get(link.slot as usize).filter(|row| row.epoch == link.epoch)?;
        let out = row.end.as_ref().filter(|out| out.direction.sends() && !out.plays && out.heard.is_some())?;
        // Late packets of who is watched are told from missing ones; what goes to it may be carried.
        if !(end.is_plain() && out.is_plain()) || end.is_watched() {
            return None;
        }
        let to = out.latch.rtp_target().filter(|to| to.is_ipv4() == from.is_ipv4())?;
        let seen = |payload_type: u8| end.telephone_event == Some(payload_type) || RTCP_TYPES.contains(&payload_type);
        // A packet of another clock than that of the last ones comes to the worker, which changes clocks.
        let clock_hz = end.reception.clock_hz();
        let runs_else = |of: u8| end.clocks.of(of).is_some_and(|hz| hz != clock_hz);
        let payload_types: PayloadTypes = end.payload_types.iter().filter(|&of| !seen(of) && !runs_else(of)).collect();
        let paced = payload_types.iter().filter(|&of| end.clocks.of(of).is_some()).collect();
        // An echo is heard as ours.
        let ssrc = (link.slot == slot).then(|| own_ssrc(end.name));
        let rewrite = Rewrite { ssrc, ..Rewrite::default() };
        Some(Carriage { slot, to_slot: link.slot, from, to, payload_types, paced, clock_hz, rewrite })
    }

    /// Says that the kernel does not carry an end's packets, or not any more, after it carried so many.
    pub fn carry_later(&mut self, slot: u32, carried: u64) {
        let carries = self.carries;
        if let Some(end) = self.end_at(slot)
            && carries
        {
            end.trial.later(end.counters.packets_in, carried);
        }
    }

    /// Who sent a packet to the RTP socket of `slot`; `from` as for [`Table::forward`].
    pub fn speaker(&self, slot: u32, from: Option<SocketAddr>, packet: &[u8]) -> Speaker {
        let Some(end) = self.rows.get(slot as usize).and_then(|row| row.end.as_ref()) else { return Speaker::Nobody };
        if !RtpView::parse(packet).is_some_and(|rtp| end.payload_types.contains(rtp.payload_type())) {
            return Speaker::Nobody;
        }
        match from {
            None => Speaker::Known,
            Some(_) if from == end.heard => Speaker::Known,
            Some(from) if end.latch.outranks(from) => Speaker::Better,
            Some(_) => Speaker::Nobody,
        }
    }

    /// Counts what the kernel carried from one end to another. `last` is when the last packet came.
    pub fn carried(&mut self, slot: u32, to_slot: u32, packets: u64, bytes: u64, last: Time) {
        if packets == 0 {
            return;
        }
        if let Some(end) = self.end_at(slot) {
            end.counters.packets_in += packets;
            end.counters.bytes_in += bytes;
            end.last = end.last.max(last);
            if slot == to_slot {
                let payload = bytes.saturating_sub(packets * HEADER_BYTES as u64);
                quality::echoes(end, packets, payload, last);
            }
        }
        if let Some(out) = self.end_at(to_slot) {
            out.counters.packets_out += packets;
            out.counters.bytes_out += bytes;
        }
        self.totals.packets_in += packets;
        self.totals.packets += packets;
        self.totals.bytes += bytes;
    }

    /// What is known of an end's stream, for who counts in the worker's place.
    pub fn reception(&self, slot: u32) -> Option<Reception> {
        Some(self.rows.get(slot as usize)?.end.as_ref()?.reception.reception())
    }

    /// Goes on from what was counted in the worker's place.
    pub fn resume(&mut self, slot: u32, from: &Reception) {
        if let Some(end) = self.end_at(slot) {
            end.reception.resume(from);
        }
    }

    /// The slot of an end that is open.
    pub fn slot_of(&self, end: LegId) -> Option<u32> {
        self.slots.get(&end).copied()
    }
}

/// When the kernel is to be asked. The default never asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    /// At how many packets taken.
    at: u64,
    /// How many more it takes the next time.
    step: u32,
    is_due: bool,
}

impl Default for Trial {
    fn default() -> Self {
        Trial { at: u64::MAX, step: 0, is_due: false }
    }
}

impl Trial {
    /// A trial that will ask.
    pub(crate) fn new() -> Self {
        Trial { at: CARRY_AFTER, step: STEP_MIN, is_due: false }
    }

    /// Asks soon, because things changed; one that never asks goes on so.
    pub(crate) fn soon(&mut self, packets: u64) {
        if self.step > 0 {
            (self.at, self.step) = (packets + CARRY_AFTER, STEP_MIN);
        }
    }

    /// Asks after more packets than the last time, or as soon as at first if the kernel carried many.
    fn later(&mut self, packets: u64, carried: u64) {
        self.step = if carried >= MANY { STEP_MIN } else { (self.step * 2).clamp(STEP_MIN, TRIAL_PACKETS_MAX) };
        (self.at, self.is_due) = (packets + u64::from(self.step), false);
    }

    /// Looks at the number of packets.
    #[inline]
    pub(crate) fn count(&mut self, packets: u64) {
        if packets >= self.at {
            (self.at, self.is_due) = (u64::MAX, true);
        }
    }

    /// Whether the socket is to be emptied for it.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Begins, if it is due.
    pub(crate) fn begin(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }
}

/// Payload types that cannot be told from RTCP on one port (RFC 5761 §4).
const RTCP_TYPES: std::ops::RangeInclusive<u8> = 64..=95;
const STEP_MIN: u32 = 50;
/// Ten seconds of speech.
const MANY: u64 = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{leg, media_at, packet, phone, ports, signalled, terms};
    use crate::table::{Output, SocketId, Verdict};
    use media::clocks::Clocks;
    use media::command::{Family, Generation, MediaCommand, MediaReport, Sound, SourceRule, Terms};
    use media::own::Extended;
    use media::sdp::Direction;
    use std::time::Duration;

    /// Two phones behind NAT, linked both ways.
    struct Call {
        table: Table,
        generation: Generation,
        now: Time,
        spoken: u16,
    }

    impl Call {
        fn new(table: Table) -> Self {
            let mut call = Call { table, generation: Generation::default(), now: Time::from_millis(1_000), spoken: 0 };
            for n in 0..2 {
                let (end, ports, generation) = (leg(n), ports(n), call.generation.step());
                call.table.add(0, ports.rtp_port, Family::V4);
                let terms = hidden(n, PayloadTypes::NONE.with(0).with(72).with(101), Some(101));
                let open = MediaCommand::Open { end, ports, generation, terms };
                call.table.apply(open, call.now);
            }
            for (from, to) in [(0, 1), (1, 0)] {
                call.command(|generation| MediaCommand::Link { from: leg(from), to: leg(to), generation });
            }
            call
        }

        fn command(&mut self, command: impl Fn(Generation) -> MediaCommand) {
            self.table.apply(command(self.generation.step()), self.now);
        }

        fn latch(&mut self, n: u16, direction: Direction) {
            let terms = Terms { direction, ..hidden(n, PayloadTypes::NONE.with(0), None) };
            self.command(|generation| MediaCommand::Latch { end: leg(n), generation, terms });
        }

        /// So many packets of a phone; gives after how many of them the kernel was asked to carry on.
        fn speak(&mut self, n: u16, packets: u16) -> Option<u16> {
            self.speak_as(n, 0, packets)
        }

        fn speak_as(&mut self, n: u16, payload_type: u8, packets: u16) -> Option<u16> {
            let mut asked = None;
            for count in 1..=packets {
                self.now += Duration::from_millis(20);
                self.spoken += 1;
                let slot = u32::from(n);
                let verdict = self.table.forward(
                    SocketId::rtp(slot),
                    Some(heard(n)),
                    &packet(payload_type, self.spoken),
                    self.now,
                );
                assert!(verdict != Verdict::Refused || count < 3);
                if self.table.is_draining(slot) {
                    self.table.drained(slot);
                }
                let carry = std::iter::from_fn(|| self.table.poll()).any(|out| out == Output::Carry { slot });
                asked = asked.or(carry.then_some(count));
            }
            asked
        }
    }

    /// What was agreed with a phone behind NAT.
    fn hidden(n: u16, payload_types: PayloadTypes, telephone_event: Option<u8>) -> Terms {
        let (source, silence) = (SourceRule::LearnOnce, Some(Duration::from_secs(10)).into());
        Terms { source, silence, telephone_event, ..terms(phone(n), payload_types) }
    }

    fn heard(n: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 7], 9_000 + n * 2))
    }

    fn call() -> Call {
        Call::new(Table::new(true).with_carriage())
    }

    #[test]
    fn what_both_ends_settled_is_offered_without_what_needs_eyes() {
        let mut call = call();
        // Of three packets the third is taken first.
        assert_eq!(call.speak(0, 20), Some(CARRY_AFTER as u16 + 2));
        assert_eq!(call.table.carriage(0), None, "the other end was not heard");
        call.speak(1, 5);
        let carriage = call.table.carriage(0).unwrap();
        let types = PayloadTypes::NONE.with(0);
        assert_eq!((carriage.from, carriage.to, carriage.to_slot), (heard(0), heard(1), 1));
        assert_eq!((carriage.payload_types, carriage.paced, carriage.rewrite.is_none()), (types, types, true));
    }

    #[test]
    fn each_clock_is_carried_by_itself() {
        let mut call = call();
        let clocks =
            Clocks::NONE.with(111, "opus", 48_000).with(96, "AMR-WB", 16_000).with(101, "telephone-event", 48_000);
        let types = PayloadTypes::NONE.with(0).with(96).with(101).with(111).with(120);
        for n in 0..2 {
            let terms = Terms { clocks, ..hidden(n, types, None) };
            call.command(|generation| MediaCommand::Latch { end: leg(n), generation, terms });
        }
        call.speak_as(0, 0, 5);
        call.speak_as(1, 111, 5);
        let of = |call: &Call, slot| {
            let carriage = call.table.carriage(slot).expect("both ends are settled");
            (
                carriage.clock_hz,
                carriage.payload_types.iter().collect::<Vec<_>>(),
                carriage.paced.iter().collect::<Vec<_>>(),
            )
        };
        // Events to which nobody listens pass, and so does what nobody knows the clock of; neither is timed.
        assert_eq!(of(&call, 0), (8_000, vec![0, 101, 120], vec![0]));
        assert_eq!(of(&call, 1), (48_000, vec![101, 111, 120], vec![111]));
        call.speak_as(1, 96, 1);
        assert_eq!(of(&call, 1), (16_000, vec![96, 101, 120], vec![96]));
    }

    #[test]
    fn hold_sounds_and_missing_links_stay_with_the_worker() {
        let mut call = call();
        call.speak(0, 5);
        call.speak(1, 5);
        assert!(call.table.carriage(0).is_some());
        call.latch(1, Direction::RecvOnly);
        assert!(call.table.carriage(0).is_none() && call.table.carriage(1).is_some());
        call.latch(1, Direction::SendRecv);
        let sound = Sound::Ringback;
        call.command(|generation| MediaCommand::Play { end: leg(1), generation, sound, payload_type: 0 });
        assert_eq!(call.table.carriage(0), None);
        call.command(|generation| MediaCommand::Stop { end: leg(1), generation });
        assert!(call.table.carriage(0).is_some());
        let latch = |payload_types| {
            move |generation| MediaCommand::Latch {
                end: leg(1),
                generation,
                terms: Terms {
                    source: SourceRule::LearnOnce,
                    whereabouts: signalled(),
                    remote: Some(media_at(phone(1))),
                    payload_types,
                    clocks: media::clocks::Clocks::NONE,
                    telephone_event: None,
                    direction: Direction::SendRecv,
                    extended: Extended::default(),
                    silence: None.into(),
                },
            }
        };
        call.command(latch(PayloadTypes::NONE));
        assert_eq!((call.table.carriage(0), call.table.carriage(1)), (None, None), "one side sends a fax");
        call.command(latch(PayloadTypes::NONE.with(0)));
        assert!(call.table.carriage(0).is_some());
        let wants = |extended| Terms { extended, ..hidden(1, PayloadTypes::NONE.with(0), None) };
        let metrics = Extended { metrics: true, ..Extended::default() };
        let others = Extended { round_trip: true, summary: true, ..Extended::default() };
        for (extended, carried) in [(metrics, false), (others, true)] {
            let terms = wants(extended);
            call.command(|generation| MediaCommand::Latch { end: leg(1), generation, terms });
            assert_eq!(call.table.carriage(1).is_some(), carried, "each packet counts of who wants metrics");
            assert!(call.table.carriage(0).is_some(), "what goes to it does not");
        }
        call.command(latch(PayloadTypes::NONE.with(0)));
        call.command(|generation| MediaCommand::Unlink { from: leg(0), generation });
        assert_eq!(call.table.carriage(0), None);
    }

    #[test]
    fn what_the_kernel_carried_counts_as_if_the_worker_had() {
        let mut call = call();
        call.speak(0, 5);
        call.speak(1, 5);
        let before = call.table.totals();
        call.now += Duration::from_mins(1);
        call.table.carried(0, 1, 3_000, 3_000 * 172, call.now);
        call.table.carried(0, 1, 0, 0, Time::ZERO);
        assert_eq!(call.table.totals().packets, before.packets + 3_000);
        let reception = Reception { received: 3_003, highest: 3_010, ..call.table.reception(0).unwrap() };
        call.table.resume(0, &reception);
        call.table.handle_timeout(call.now);
        let silent: Vec<Output> = std::iter::from_fn(|| call.table.poll()).collect();
        assert_eq!(silent, [Output::Report(MediaReport::Silent { end: leg(1) })]);
        let mut closed = [0, 1].map(|n| {
            call.command(|generation| MediaCommand::Close { end: leg(n), generation });
            let report = std::iter::from_fn(|| call.table.poll()).find_map(|output| match output {
                Output::Report(MediaReport::Closed { counters, .. }) => Some(counters),
                _ => None,
            });
            report.expect("a close is answered")
        });
        let [a, b] = &mut closed;
        assert_eq!((a.packets_in, a.bytes_in, b.packets_out), (3_003, 3_003 * 172, 3_003));
        assert_eq!((a.lost, b.bytes_out), (u64::from(3_010 - reception.base + 1) - 3_003, 3_003 * 172));
    }

    #[test]
    fn who_often_needs_eyes_is_tried_more_and_more_rarely() {
        let mut call = call();
        assert!(call.speak(0, 20).is_some());
        let mut after = Vec::new();
        for carried in [0, 0, 0, MANY, 0] {
            call.table.carry_later(0, carried);
            after.push(call.speak(0, 1_000));
        }
        assert_eq!(after, [Some(100), Some(200), Some(400), Some(50), Some(100)]);
        (0..20).for_each(|_| call.table.carry_later(0, 0));
        assert_eq!(call.speak(0, TRIAL_PACKETS_MAX as u16), Some(TRIAL_PACKETS_MAX as u16));
        call.table.carry_later(0, 0);
        call.latch(0, Direction::SendRecv);
        assert_eq!(call.speak(0, 20), Some(CARRY_AFTER as u16));
    }

    #[test]
    fn a_table_that_does_not_carry_never_asks() {
        let mut call = Call::new(Table::new(true));
        call.speak(1, 5);
        assert_eq!(call.speak(0, 1_000), None);
        call.latch(0, Direction::SendRecv);
        call.table.carry_later(0, 0);
        assert_eq!((call.speak(0, 1_000), call.table.carriage(0)), (None, None));
    }

    #[test]
    fn speakers_are_told_apart() {
        let mut call = call();
        call.speak(0, 5);
        let speaker = |from, payload_type| call.table.speaker(0, from, &packet(payload_type, 9));
        assert_eq!((speaker(Some(heard(0)), 0), speaker(None, 101)), (Speaker::Known, Speaker::Known));
        assert_eq!(speaker(Some(media_at(phone(0)).rtp), 0), Speaker::Better);
        assert_eq!((speaker(Some(heard(1)), 0), speaker(Some(heard(0)), 8)), (Speaker::Nobody, Speaker::Nobody));
        assert_eq!(call.table.slot_of(leg(1)), Some(1));
    }
}
