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
    use crate::table::{Output, Route, Verdict};
    use media::command::{
        EndCounters, Family, Generation, MediaAddress, MediaCommand, MediaReport, PayloadTypes, PortPair, SourceRule,
        Terms, Whereabouts,
    };
    use media::rtp::RtpHeader;
    use media::sdp::Direction;
    use media::srtp::TRAILER_BYTES;
    use words::{CallId, LegId, Time};

    const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

    fn leg(n: u16) -> LegId {
        LegId { call: CallId(1), n }
    }

    fn phone(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 4_000 + n * 10))
    }

    fn nat() -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 7], 61_000))
    }

    /// Leg 0 has one port for both, leg 1 two.
    fn call(source: SourceRule) -> Table {
        let mut table = Table::new(true);
        for n in 0..2 {
            let rtp_port = 10_000 + 2 * n;
            let slot = table.add(0, rtp_port, Family::V4);
            let remote = MediaAddress { rtp: phone(n), rtcp: SocketAddr::new(phone(n).ip(), phone(n).port() + 1) };
            let open = MediaCommand::Open {
                end: leg(n),
                ports: PortPair { worker: 0, slot, rtp_port, family: Family::V4 },
                generation: Generation(1),
                terms: Terms {
                    source,
                    whereabouts: Whereabouts::default(),
                    remote: Some(if n == 0 { remote.muxed() } else { remote }),
                    payload_types: PayloadTypes::NONE.with(0),
                    telephone_event: None,
                    direction: Direction::SendRecv,
                    silence: None.into(),
                },
            };
            table.apply(open, Time::ZERO);
        }
        for (from, to) in [(0, 1), (1, 0)] {
            table.apply(MediaCommand::Link { from: leg(from), to: leg(to), generation: Generation(2) }, Time::ZERO);
        }
        table
    }

    fn relay(table: &mut Table, socket: SocketId, from: Option<SocketAddr>, packet: &[u8], ms: u64) -> Verdict {
        let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
        table.relay(socket, from, &mut buffer, packet.len(), Time::from_millis(ms)).0
    }

    fn rtp(sequence: u16) -> Vec<u8> {
        let timestamp = u32::from(sequence) * 160;
        let header = RtpHeader { marker: true, payload_type: 0, sequence, timestamp, ssrc: 5 };
        [&header.print()[..], &[0xd5; 160]].concat()
    }

    fn closed(table: &mut Table, n: u16) -> EndCounters {
        table.apply(MediaCommand::Close { end: leg(n), generation: Generation(9) }, Time::ZERO);
        let report = std::iter::from_fn(|| table.poll()).find_map(|output| match output {
            Output::Report(MediaReport::Closed { counters, .. }) => Some(counters),
            _ => None,
        });
        report.expect("a close is answered")
    }

    #[test]
    fn one_port_on_one_side_and_two_on_the_other() {
        let mut table = call(SourceRule::Strict);
        let to = |n, at| Verdict::Send(Route { socket: SocketId::rtcp(n), to: Some(at) });
        let of_second = SocketAddr::new(phone(1).ip(), phone(1).port() + 1);
        assert_eq!(relay(&mut table, SocketId::rtp(0), Some(phone(0)), &REPORT, 1), to(1, of_second));
        assert_eq!(relay(&mut table, SocketId::rtcp(1), Some(of_second), &REPORT, 2), to(0, phone(0)));
        let by = [0, 1].map(|n| table.leaves_by(SocketId::rtcp(n)));
        assert_eq!(by, [SocketId::rtp(0), SocketId::rtcp(1)]);
        assert_eq!(table.leaves_by(SocketId::rtp(1)), SocketId::rtp(1));
        // Reports that nobody agreed to have there, and those of strangers.
        assert_eq!(relay(&mut table, SocketId::rtp(1), Some(phone(1)), &REPORT, 3), Verdict::Refused);
        assert_eq!(relay(&mut table, SocketId::rtp(0), Some(nat()), &REPORT, 4), Verdict::Refused);
        assert!(matches!(relay(&mut table, SocketId::rtp(0), Some(phone(0)), &rtp(1), 5), Verdict::Send(_)));
        // By a socket that is connected to the phone.
        assert_eq!(relay(&mut table, SocketId::rtp(0), None, &REPORT, 6), to(1, of_second));
        table.unsent(SocketId::rtcp(1), REPORT.len());
        let (first, second) = (closed(&mut table, 0), closed(&mut table, 1));
        assert_eq!((first.rtcp_in, first.rtcp_out, first.packets_in, first.dropped_source), (2, 1, 1, 1));
        assert_eq!((second.rtcp_in, second.rtcp_out, second.packets_out, second.dropped_type), (1, 1, 1, 1));
    }

    #[test]
    fn behind_nat_both_come_from_what_was_learnt() {
        let mut table = call(SourceRule::LearnOnce);
        assert_eq!(relay(&mut table, SocketId::rtp(0), Some(nat()), &REPORT, 0), Verdict::Refused);
        for n in 0..5 {
            relay(&mut table, SocketId::rtp(0), Some(nat()), &rtp(n), u64::from(n) * 20);
        }
        assert!(matches!(relay(&mut table, SocketId::rtp(0), Some(nat()), &REPORT, 100), Verdict::Send(_)));
        assert_eq!(relay(&mut table, SocketId::rtp(0), Some(phone(9)), &REPORT, 101), Verdict::Refused);
        let back = SocketAddr::new(phone(1).ip(), phone(1).port() + 1);
        let to_nat = Verdict::Send(Route { socket: SocketId::rtcp(0), to: Some(nat()) });
        assert_eq!(relay(&mut table, SocketId::rtcp(1), Some(back), &REPORT, 102), to_nat);
    }
}
