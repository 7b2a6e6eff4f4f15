//! What the tests of this crate have in common: ends, their phones, and what passes between them.

use crate::table::{Output, Table};
use media::command::{
    EndCounters, Family, Generation, MediaAddress, MediaCommand, MediaReport, PayloadTypes, PortPair, SourceRule,
    Terms, Whereabouts,
};
use media::own::Extended;
use media::rtp::RtpHeader;
use media::sdp::Direction;
use std::net::SocketAddr;
use words::{CallId, LegFigures, LegId, Time};

/// A receiver report without blocks.
pub(crate) const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

/// Somebody who belongs to no call.
pub(crate) fn stranger() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 66], 5_555))
}

/// Where a router shows a phone that is behind it.
pub(crate) fn nat() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 61_000))
}

pub(crate) fn leg(n: u16) -> LegId {
    LegId { call: CallId(1), n }
}

/// The phone of leg `n`, as it describes itself.
pub(crate) fn phone(n: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000 + n * 2))
}

/// The port above: where the reports are of who speaks from this one.
pub(crate) fn above(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// Both.
pub(crate) fn media_at(rtp: SocketAddr) -> MediaAddress {
    MediaAddress { rtp, rtcp: above(rtp) }
}

/// Our ports in a slot.
pub(crate) fn ports(slot: u16) -> PortPair {
    PortPair { worker: 0, slot: slot.into(), rtp_port: 10_000 + slot * 2, family: Family::V4 }
}

/// Signalling comes from the host of [`nat`].
pub(crate) fn signalled() -> Whereabouts {
    Whereabouts { host: Some(nat().ip()), ..Whereabouts::default() }
}

/// What was agreed with a phone there: talk both ways, whose silence does not count.
pub(crate) fn terms(at: SocketAddr, payload_types: PayloadTypes) -> Terms {
    Terms {
        source: SourceRule::Strict,
        whereabouts: signalled(),
        remote: Some(media_at(at)),
        payload_types,
        clocks: media::clocks::Clocks::NONE,
        telephone_event: None,
        direction: Direction::SendRecv,
        extended: Extended::default(),
        silence: None.into(),
    }
}

/// A table with ends 0 and 1 in the slots of the same numbers; what comes from each goes to `links`.
pub(crate) fn pair(mut table: Table, links: [u16; 2], terms: impl Fn(u16) -> Terms) -> Table {
    for n in 0..2 {
        let ports = ports(n);
        assert_eq!(table.add(0, ports.rtp_port, Family::V4), u32::from(n));
        let open = MediaCommand::Open { end: leg(n), ports, generation: Generation(1), terms: terms(n) };
        table.apply(open, Time::ZERO);
    }
    for (from, to) in (0..).zip(links) {
        table.apply(MediaCommand::Link { from: leg(from), to: leg(to), generation: Generation(2) }, Time::ZERO);
    }
    table
}

/// RTP with a mark of who sends it.
pub(crate) fn rtp(payload_type: u8, sequence: u16, ssrc: u32) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    let header = RtpHeader { marker: false, payload_type, sequence, timestamp, ssrc };
    [&header.print()[..], &[0xd5; 160]].concat()
}

/// RTP of somebody.
pub(crate) fn packet(payload_type: u8, sequence: u16) -> Vec<u8> {
    rtp(payload_type, sequence, 5)
}

/// Closes an end, and what is said of it then.
pub(crate) fn closed(table: &mut Table, n: u16, now: Time) -> (EndCounters, Option<Box<LegFigures>>) {
    table.apply(MediaCommand::Close { end: leg(n), generation: Generation(9) }, now);
    let report = std::iter::from_fn(|| table.poll()).find_map(|output| match output {
        Output::Report(MediaReport::Closed { counters, figures, .. }) => Some((counters, figures)),
        _ => None,
    });
    report.expect("a close is answered")
}
