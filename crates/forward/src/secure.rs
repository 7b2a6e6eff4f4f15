//! The keys of an end, and what they were before.

use crate::table::{SocketId, Table, Verdict};
use media::command::Keys;
use media::srtp::{Inbound, Outbound, SrtpError};
use std::net::SocketAddr;
use std::time::Duration;
use words::Time;

/// How long packets with the key before are still taken: some were on their way when it changed.
pub const OLD_KEY: Duration = Duration::from_secs(5);

/// Both directions of an end that speaks SRTP.
#[derive(Debug)]
pub(crate) struct Secure {
    keys: Keys,
    inbound: Inbound,
    outbound: Outbound,
    /// What comes with the key before, and since when it is one.
    before: Option<(Inbound, Time)>,
}

impl Secure {
    pub(crate) fn new(keys: Keys) -> Self {
        let (inbound, outbound) = (Inbound::new(&keys.inbound), Outbound::new(&keys.outbound));
        Secure { keys, inbound, outbound, before: None }
    }

    /// Takes other keys; one that is the same goes on as it is.
    pub(crate) fn rekey(&mut self, keys: Keys, now: Time) {
        if keys.outbound != self.keys.outbound {
            self.outbound = Outbound::new(&keys.outbound);
        }
        if keys.inbound != self.keys.inbound {
            let next = Inbound::succeed(&keys.inbound, &self.inbound);
            self.before = Some((std::mem::replace(&mut self.inbound, next), now));
        }
        self.keys = keys;
    }

    /// Forgets a key that is no longer taken.
    pub(crate) fn age(&mut self, now: Time) {
        self.before.take_if(|(_, since)| now.since(*since) >= OLD_KEY);
    }

    pub(crate) fn open(&mut self, packet: &mut [u8], is_rtcp: bool) -> Result<usize, SrtpError> {
        let open = |inbound: &mut Inbound, packet: &mut [u8]| {
            if is_rtcp { inbound.unprotect_rtcp(packet) } else { inbound.unprotect_rtp(packet) }
        };
        match (open(&mut self.inbound, packet), &mut self.before) {
            (Err(SrtpError::Forged), Some((before, _))) => open(before, packet),
            (opened, _) => opened,
        }
    }

    /// By how much a packet grows that is encrypted. Units: bytes.
    pub(crate) fn tag_bytes(&self) -> usize {
        self.keys.outbound.suite().rtp_tag_bytes()
    }

    pub(crate) fn seal(&mut self, buffer: &mut [u8], length: usize, is_rtcp: bool) -> Result<usize, SrtpError> {
        if is_rtcp { self.outbound.protect_rtcp(buffer, length) } else { self.outbound.protect_rtp(buffer, length) }
    }
}

impl Table {
    /// What becomes of a packet in the first `length` bytes of `buffer`, as it goes out, and how long it is then:
    /// decrypted, judged as [`Table::forward`] does it, and encrypted, where keys want that. Behind it must lie
    /// [`media::srtp::TRAILER_BYTES`].
    #[inline]
    pub fn relay(
        &mut self,
        socket: SocketId,
        from: Option<SocketAddr>,
        buffer: &mut [u8],
        length: usize,
        now: Time,
    ) -> (Verdict, usize) {
        // A first byte of STUN, which is none of RTP, RTCP or DTLS (RFC 7983 §7).
        if matches!(buffer.first(), Some(0..=3))
            && let Some(from) = from
            && let Some(answered) = self.check(socket, from, buffer, length, now)
        {
            return answered;
        }
        let (socket, from) = self.demultiplex(socket, from, buffer.get(..length).unwrap_or_default());
        let length = match self.open_packet(socket, from, buffer, length) {
            Ok(length) => length,
            Err(verdict) => return (verdict, length),
        };
        let verdict = self.forward(socket, from, buffer.get(..length).unwrap_or_default(), now);
        match verdict {
            Verdict::Send(route) => {
                // What the exchange itself answers stands in the place of what asked.
                let own = if route.socket == socket { self.own_words(socket, buffer, length, now) } else { None };
                match self.seal(route.socket, buffer, own.unwrap_or(length)) {
                    Some(sealed) => (verdict, sealed),
                    None => (Verdict::Dropped, length),
                }
            }
            Verdict::Refused | Verdict::Dropped | Verdict::Answer(_) => (verdict, length),
        }
    }

    /// Encrypts what [`Table::emit`] or [`Table::forward`] sends out by `socket`, if its end has keys; gives its length.
    /// `None`: it cannot go out, and is counted as unsent.
    #[inline]
    pub fn seal(&mut self, socket: SocketId, buffer: &mut [u8], length: usize) -> Option<usize> {
        match self.end_at(socket.slot()).and_then(|end| end.secure.as_mut()) {
            None => Some(length),
            Some(secure) => {
                let sealed = secure.seal(buffer, length, socket.is_rtcp()).ok();
                if sealed.is_none() {
                    self.take_back(socket, length);
                }
                sealed
            }
        }
    }

    /// Decrypts a packet if its end has keys. Whoever may not speak to the end is not worth that.
    #[inline]
    fn open_packet(
        &mut self,
        socket: SocketId,
        from: Option<SocketAddr>,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<usize, Verdict> {
        let row = self.rows.get_mut(socket.slot() as usize);
        let Some(end) = row.and_then(|row| row.end.as_mut()) else { return Ok(length) };
        let Some(secure) = &mut end.secure else { return Ok(length) };
        let may_come = |from| if socket.is_rtcp() { end.latch.may_report(from) } else { end.latch.may_speak(from) };
        if from.is_some_and(|from| !may_come(from)) {
            end.counters.dropped_source += 1;
            self.totals.dropped_source += 1;
            return Err(Verdict::Refused);
        }
        let Some(packet) = buffer.get_mut(..length) else { return Err(Verdict::Dropped) };
        let error = match secure.open(packet, socket.is_rtcp()) {
            Ok(length) => return Ok(length),
            Err(error) => error,
        };
        let verdict = if from.is_none() || from == end.heard { Verdict::Dropped } else { Verdict::Refused };
        let (of_end, of_all) = (&mut end.counters, &mut self.totals);
        // A plain packet to an end with keys is as good as forged.
        let (of_end, of_all) = match error {
            SrtpError::Replayed => (&mut of_end.dropped_replayed, &mut of_all.dropped_replayed),
            _ => (&mut of_end.dropped_forged, &mut of_all.dropped_forged),
        };
        *of_end += 1;
        *of_all += 1;
        Err(verdict)
    }
}
