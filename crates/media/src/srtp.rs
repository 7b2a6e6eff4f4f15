//! SRTP (RFC 3711): packets are encrypted and decrypted where they lie, without an allocation.
//!
//! [`Outbound`] and [`Inbound`] are the cryptographic contexts of one direction. Each holds the session keys of one
//! [`MasterKey`] and, for each SSRC, the index of its packets: of [`STREAMS`] at a time, for whoever holds the key makes
//! SSRCs as he likes. A context lives as long as its key does: descriptions may come and go meanwhile, and neither
//! the rollover counter nor the replay list begins anew with them.
//!
//! AES in counter mode with HMAC-SHA1 (RFC 3711, RFC 6188), AES-GCM (RFC 7714). The key derivation rate is 0, and there
//! is no MKI.
//!
//! ```
//! use media::rtp::RtpHeader;
//! use media::srtp::{Inbound, MasterKey, Outbound, SrtpError, Suite};
//!
//! let key = MasterKey::new(Suite::AesCm128HmacSha1Tag80, &[7; 30]).expect("16 bytes of key and 14 of salt");
//! let (mut sender, mut receiver) = (Outbound::new(&key), Inbound::new(&key));
//!
//! let header = RtpHeader { marker: false, payload_type: 8, sequence: 1, timestamp: 160, ssrc: 5 };
//! let mut buffer = [0; 64];
//! buffer[..12].copy_from_slice(&header.print());
//! buffer[12..16].copy_from_slice(b"talk");
//! let length = sender.protect_rtp(&mut buffer, 16)?;
//! assert!(length == 26 && buffer[12..16] != *b"talk");
//!
//! let mut again = buffer;
//! assert_eq!(receiver.unprotect_rtp(&mut buffer[..length]), Ok(16));
//! assert_eq!(&buffer[12..16], b"talk");
//! assert_eq!(receiver.unprotect_rtp(&mut again[..length]), Err(SrtpError::Replayed));
//! # Ok::<(), SrtpError>(())
//! ```

mod cm;
mod gcm;
mod inbound;
mod index;
mod outbound;
mod suite;

pub use inbound::Inbound;
pub use outbound::Outbound;
pub use suite::{MASTER_BYTES_MAX, MasterKey, Suite};

use aes::{Aes128, Aes256};
use cm::{Cm, Iv, SessionKeys};
use gcm::Gcm;

/// The most that a packet grows by: room for it must lie behind. Units: bytes.
pub const TRAILER_BYTES: usize = 20;

/// The most streams of which a context knows each of the last packets. A new one takes the place of the one that was idle for the
/// longest, of which it stays known where it ended, so that its packets cannot be played again.
pub const STREAMS: usize = 64;

/// The longest packet that is looked at. Units: bytes.
pub const PACKET_BYTES: usize = 2_048;

/// Why a packet does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SrtpError {
    /// It is no RTP or RTCP, shorter than it says, or without room for the tag.
    #[error("no packet of the protocol")]
    Malformed,
    /// Its index was seen, or is too old to tell.
    #[error("replayed")]
    Replayed,
    /// The tag is wrong.
    #[error("forged")]
    Forged,
    /// The key has done as many packets as it may (RFC 3711 §9.2).
    #[error("the key is used up")]
    Exhausted,
}

/// The session keys of one direction.
enum Transform {
    Cm128(Box<CmPair<Aes128>>),
    Cm256(Box<CmPair<Aes256>>),
    Gcm(Box<[Gcm; 2]>),
}

/// RTP has its cipher ready. RTCP comes every few seconds: its cipher is made when it does, and takes no memory
/// meanwhile.
struct CmPair<C> {
    rtp: Cm<C>,
    rtcp: SessionKeys,
}

impl<C: cm::Aes> CmPair<C> {
    fn new(suite: Suite, rtp: &SessionKeys, rtcp: SessionKeys) -> Box<Self> {
        Box::new(CmPair { rtp: Cm::new(rtp, suite.rtp_tag_bytes()), rtcp })
    }

    fn rtcp(&self) -> Cm<C> {
        Cm::new(&self.rtcp, RTCP_TAG_BYTES)
    }
}

impl Transform {
    fn new(master: &MasterKey) -> Self {
        let (rtp, rtcp) = (SessionKeys::derive(master, false), SessionKeys::derive(master, true));
        match master.suite() {
            suite @ (Suite::AesCm128HmacSha1Tag80 | Suite::AesCm128HmacSha1Tag32) => {
                Transform::Cm128(CmPair::new(suite, &rtp, rtcp))
            }
            suite @ (Suite::AesCm256HmacSha1Tag80 | Suite::AesCm256HmacSha1Tag32) => {
                Transform::Cm256(CmPair::new(suite, &rtp, rtcp))
            }
            suite @ (Suite::AeadAes128Gcm | Suite::AeadAes256Gcm) => {
                Transform::Gcm(Box::new([Gcm::new(suite, &rtp), Gcm::new(suite, &rtcp)]))
            }
        }
    }
}

/// Where the payload of an RTP packet begins. Unlike [`crate::rtp::RtpView`] this does not look at the padding, which
/// is encrypted.
fn rtp_header_bytes(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if first >> 6 != 2 || packet.len() < crate::rtp::HEADER_BYTES || packet.len() > PACKET_BYTES {
        return None;
    }
    let mut at = crate::rtp::HEADER_BYTES + usize::from(first & 15) * 4;
    if first & 0x10 != 0 {
        let words = u16::from_be_bytes(packet.get(at + 2..at + 4)?.try_into().ok()?);
        at += 4 + usize::from(words) * 4;
    }
    (at <= packet.len()).then_some(at)
}

fn sequence_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

fn word_at(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

/// The rollover counter of an index, as it is put under the tag.
fn rollovers(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// The header of RTCP and the SSRC stay readable (RFC 3711 §3.4). Units: bytes.
const RTCP_HEADER_BYTES: usize = 8;
/// Of all suites with HMAC-SHA1. Units: bytes.
const RTCP_TAG_BYTES: usize = 10;
/// Encryption flag and index. Units: bytes.
const RTCP_INDEX_BYTES: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

#[cfg(test)]
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[cfg(test)]
mod tests;
