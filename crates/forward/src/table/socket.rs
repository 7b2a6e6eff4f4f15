//! The sockets of a table, as numbers that go through the operating system and come back.

use media::command::Family;

/// One of the two sockets of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(u32);

impl SocketId {
    /// The RTP socket of a slot.
    pub const fn rtp(slot: u32) -> Self {
        SocketId(slot << 1)
    }

    /// The RTCP socket of a slot.
    pub const fn rtcp(slot: u32) -> Self {
        SocketId(slot << 1 | 1)
    }

    /// The socket of a family that many ends share.
    pub const fn single(family: Family, is_rtcp: bool) -> Self {
        SocketId((SINGLE + family as u32) << 1 | is_rtcp as u32)
    }

    /// Whether many ends share it.
    pub const fn is_single(self) -> bool {
        self.slot() >= SINGLE
    }

    /// The slot.
    pub const fn slot(self) -> u32 {
        self.0 >> 1
    }

    /// Whether it is the RTCP socket.
    pub const fn is_rtcp(self) -> bool {
        self.0 & 1 == 1
    }

    /// As a number, to hand to the operating system.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// From the number that [`SocketId::as_u32`] gave.
    pub const fn from_u32(n: u32) -> Self {
        SocketId(n)
    }
}

/// Slots from here on stand for sockets that many ends share, one for each family.
const SINGLE: u32 = 0x7fff_0000;
