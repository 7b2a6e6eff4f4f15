//! The keys of an end, and what they were before.

use media::command::Keys;
use media::srtp::{Inbound, Outbound, SrtpError};
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

    pub(crate) fn seal(&mut self, buffer: &mut [u8], length: usize, is_rtcp: bool) -> Result<usize, SrtpError> {
        if is_rtcp { self.outbound.protect_rtcp(buffer, length) } else { self.outbound.protect_rtp(buffer, length) }
    }
}
