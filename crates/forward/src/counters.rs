//! What went through a table: plain integers of the thread that owns it.

/// Everything since the table was made, except `ends`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Ends that are open at this moment.
    pub ends: u64,
    /// RTP packets that were given to a socket to send.
    pub packets: u64,
    /// Bytes of them. Units: bytes of UDP payload.
    pub bytes: u64,
    /// RTCP packets that were given to a socket to send.
    pub rtcp: u64,
    /// Dropped: came from another source than the rule allows, or to a port without an end. Where sockets are connected the
    /// kernel refuses most of that itself: then the host counts it (`NoPorts` of UDP in `/proc/net/snmp`), with whatever
    /// else came to ports that nobody has.
    pub dropped_source: u64,
    /// Dropped: not a payload type of the description, or no RTP at all.
    pub dropped_type: u64,
    /// Dropped: of an end with keys, and not encrypted with them.
    pub dropped_forged: u64,
    /// Dropped: of an end with keys, and seen before.
    pub dropped_replayed: u64,
    /// Dropped: the end was on hold, or linked to nowhere.
    pub dropped_unlinked: u64,
    /// Dropped: the socket did not take it.
    pub dropped_send: u64,
}
