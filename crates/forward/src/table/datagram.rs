//! Ends that speak no RTP: fax over UDPTL (ITU-T T.38). Their datagrams pass as they are, from the same sources by the
//! same rule as RTP.

use super::{Table, Verdict};
use crate::latch::Judgement;
use crate::row::Kernel;
use std::net::SocketAddr;
use words::Time;

impl Table {
    /// What becomes of a datagram that came to an end without payload types.
    #[cold]
    pub(super) fn forward_datagram(
        &mut self,
        slot: u32,
        from: Option<SocketAddr>,
        packet: &[u8],
        now: Time,
    ) -> Verdict {
        let Some(end) = self.end_at(slot) else { return Verdict::Refused };
        // An end that declined its media, or does not know yet where they go, takes nothing.
        if !end.latch.has_remote() || packet.len() < UDPTL_BYTES_MIN {
            end.counters.dropped_type += 1;
            let known = from.is_none() || from == end.heard;
            self.totals.dropped_type += 1;
            return if known { Verdict::Dropped } else { Verdict::Refused };
        }
        if let Some(from) = from
            && end.heard != Some(from)
        {
            if end.latch.judge_udptl(from, packet, now) == Judgement::Refused {
                end.counters.dropped_source += 1;
                self.totals.dropped_source += 1;
                return Verdict::Refused;
            }
            self.settle(slot, from);
        }
        let Some(end) = self.end_at(slot) else { return Verdict::Dropped };
        end.last = now;
        end.counters.packets_in += 1;
        end.counters.bytes_in += packet.len() as u64;
        if end.kernel == Kernel::Unproven {
            end.kernel = Kernel::Proven;
        }
        self.send_on(slot, packet.len())
    }
}

/// A sequence number, and the lengths of a primary packet and of what repeats earlier ones (ITU-T T.38 §9.1).
const UDPTL_BYTES_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{nat, pair, phone, stranger, terms};
    use crate::table::{Route, SocketId};
    use media::command::{MediaAddress, PayloadTypes, SourceRule, Terms};

    /// UDPTL: number, then a primary packet of two bytes and nothing repeated.
    fn udptl(sequence: u16) -> [u8; 6] {
        let [high, low] = sequence.to_be_bytes();
        [high, low, 1, 6, 0, 0]
    }

    /// Two ends that carry a fax, linked with each other.
    fn table(source: SourceRule, payload_types: PayloadTypes) -> Table {
        pair(Table::new(false), [1, 0], |n| {
            let remote = MediaAddress { rtp: phone(n), rtcp: phone(n) };
            Terms { source, remote: Some(remote), ..terms(phone(n), payload_types) }
        })
    }

    fn to(n: u16) -> Verdict {
        Verdict::Send(Route { socket: SocketId::rtp(u32::from(n)), to: Some(phone(n)) })
    }

    #[test]
    fn a_fax_passes_as_it_is_in_both_directions() {
        let mut table = table(SourceRule::Strict, PayloadTypes::NONE);
        for n in 0..20 {
            let now = Time::from_millis(u64::from(n) * 30);
            assert_eq!(table.forward(SocketId::rtp(0), Some(phone(0)), &udptl(n), now), to(1));
            assert_eq!(table.forward(SocketId::rtp(1), Some(phone(1)), &udptl(n), now), to(0));
        }
        assert_eq!(table.totals().packets, 40);
        let short = table.forward(SocketId::rtp(0), Some(phone(0)), &[0, 1, 2], Time::ZERO);
        assert_eq!(short, Verdict::Dropped);
    }

    #[test]
    fn strangers_do_not_speak_into_a_fax() {
        let mut table = table(SourceRule::Strict, PayloadTypes::NONE);
        for n in 0..50 {
            let now = Time::from_millis(u64::from(n) * 30);
            assert_eq!(table.forward(SocketId::rtp(0), Some(stranger()), &udptl(n), now), Verdict::Refused);
        }
    }

    #[test]
    fn a_fax_behind_nat_is_learnt_once() {
        let (nat, stranger) = (nat(), stranger());
        let mut table = table(SourceRule::LearnOnce, PayloadTypes::NONE);
        let mut taken = 0;
        for n in 0..10u16 {
            // Each datagram comes twice, as some gateways send them.
            for _ in 0..2 {
                let now = Time::from_millis(u64::from(n) * 30);
                taken += usize::from(table.forward(SocketId::rtp(0), Some(nat), &udptl(n), now) == to(1));
            }
        }
        assert!(taken >= 14, "{taken} of 20");
        let back = table.forward(SocketId::rtp(1), Some(phone(1)), &udptl(0), Time::from_millis(400));
        assert_eq!(back, Verdict::Send(Route { socket: SocketId::rtp(0), to: Some(nat) }));
        assert_eq!(
            table.forward(SocketId::rtp(0), Some(stranger), &udptl(11), Time::from_millis(1_000)),
            Verdict::Refused
        );
    }

    #[test]
    fn what_is_no_rtp_does_not_pass_where_rtp_was_agreed() {
        let mut table = table(SourceRule::Strict, PayloadTypes::NONE.with(8));
        assert_eq!(table.forward(SocketId::rtp(0), Some(phone(0)), &udptl(1), Time::ZERO), Verdict::Refused);
    }
}
