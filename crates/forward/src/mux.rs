//! Ends whose RTP and RTCP share a port (RFC 5761): their reports come by the RTP socket and leave by it, and are judged
//! and counted as those of the RTCP socket.

use crate::table::{SocketId, Table};
use media::demux::{Protocol, protocol};
use std::net::SocketAddr;

impl Table {
    /// As what a packet counts: a report that came to the RTP socket of an end whose port has both is one of its RTCP
    /// socket (RFC 5761 §4).
    #[inline]
    pub(crate) fn demultiplex(
        &self,
        socket: SocketId,
        from: Option<SocketAddr>,
        packet: &[u8],
    ) -> (SocketId, Option<SocketAddr>) {
        // Packet types of RTCP; of RTP they would be types that nobody may use beside it, with the marker.
        if !matches!(packet, [_, 192..=223, ..]) || socket.is_rtcp() || protocol(packet) != Protocol::Rtcp {
            return (socket, from);
        }
        match self.rows.get(socket.slot() as usize).and_then(|row| row.end.as_ref()) {
            Some(end) if end.latch.is_muxed() => (SocketId::rtcp(socket.slot()), from.or(end.heard)),
            _ => (socket, from),
        }
    }

    /// By which socket a packet leaves that [`Table::forward`] or [`Table::emit`] sends by `socket`: reports to an end
    /// whose port has both leave by the RTP socket, and all to one that shares a port by that.
    #[inline]
    pub fn leaves_by(&self, socket: SocketId) -> SocketId {
        let Some(row) = self.rows.get(socket.slot() as usize) else { return socket };
        let Some(end) = &row.end else { return socket };
        let is_rtcp = socket.is_rtcp() && !end.latch.is_muxed();
        match (end.single, is_rtcp) {
            (true, _) => SocketId::single(row.pair.family, is_rtcp),
            (false, true) => SocketId::rtcp(socket.slot()),
            (false, false) => SocketId::rtp(socket.slot()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::{REPORT, above, closed, media_at, nat, pair, phone, rtp, terms};
    use crate::table::{Route, Verdict};
    use media::command::{PayloadTypes, SourceRule, Terms};
    use media::srtp::TRAILER_BYTES;
    use words::Time;

    /// Leg 0 has one port for both, leg 1 two.
    fn call(source: SourceRule) -> Table {
        pair(Table::new(true), [1, 0], |n| {
            let remote = if n == 0 { media_at(phone(n)).muxed() } else { media_at(phone(n)) };
            Terms { source, remote: Some(remote), ..terms(phone(n), PayloadTypes::NONE.with(0)) }
        })
    }

    fn relay(table: &mut Table, socket: SocketId, from: Option<SocketAddr>, packet: &[u8], ms: u64) -> Verdict {
        let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
        table.relay(socket, from, &mut buffer, packet.len(), Time::from_millis(ms)).0
    }

    #[test]
    fn one_port_on_one_side_and_two_on_the_other() {
        let mut table = call(SourceRule::Strict);
        let to = |n, at| Verdict::Send(Route { socket: SocketId::rtcp(n), to: Some(at) });
        let of_second = above(phone(1));
        assert_eq!(relay(&mut table, SocketId::rtp(0), Some(phone(0)), &REPORT, 1), to(1, of_second));
        assert_eq!(relay(&mut table, SocketId::rtcp(1), Some(of_second), &REPORT, 2), to(0, phone(0)));
        let by = [0, 1].map(|n| table.leaves_by(SocketId::rtcp(n)));
        assert_eq!(by, [SocketId::rtp(0), SocketId::rtcp(1)]);
        assert_eq!(table.leaves_by(SocketId::rtp(1)), SocketId::rtp(1));
        // Reports that nobody agreed to have there, and those of strangers.
        assert_eq!(relay(&mut table, SocketId::rtp(1), Some(phone(1)), &REPORT, 3), Verdict::Refused);
        assert_eq!(relay(&mut table, SocketId::rtp(0), Some(nat()), &REPORT, 4), Verdict::Refused);
        assert!(matches!(relay(&mut table, SocketId::rtp(0), Some(phone(0)), &rtp(0, 1, 5), 5), Verdict::Send(_)));
        // By a socket that is connected to the phone.
        assert_eq!(relay(&mut table, SocketId::rtp(0), None, &REPORT, 6), to(1, of_second));
        table.unsent(SocketId::rtcp(1), REPORT.len());
        let [first, second] = [0, 1].map(|n| closed(&mut table, n, Time::ZERO).0);
        assert_eq!((first.rtcp_in, first.rtcp_out, first.packets_in, first.dropped_source), (2, 1, 1, 1));
        assert_eq!((second.rtcp_in, second.rtcp_out, second.packets_out, second.dropped_type), (1, 1, 1, 1));
    }

    #[test]
    fn behind_nat_both_come_from_what_was_learnt() {
        let mut table = call(SourceRule::LearnOnce);
        assert_eq!(relay(&mut table, SocketId::rtp(0), Some(nat()), &REPORT, 0), Verdict::Refused);
        for n in 0..5 {
            relay(&mut table, SocketId::rtp(0), Some(nat()), &rtp(0, n, 5), u64::from(n) * 20);
        }
        assert!(matches!(relay(&mut table, SocketId::rtp(0), Some(nat()), &REPORT, 100), Verdict::Send(_)));
        assert_eq!(relay(&mut table, SocketId::rtp(0), Some(phone(9)), &REPORT, 101), Verdict::Refused);
        let back = above(phone(1));
        let to_nat = Verdict::Send(Route { socket: SocketId::rtcp(0), to: Some(nat()) });
        assert_eq!(relay(&mut table, SocketId::rtcp(1), Some(back), &REPORT, 102), to_nat);
    }
}
