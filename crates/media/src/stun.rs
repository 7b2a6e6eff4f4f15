//! STUN binding messages (RFC 8489): what keeps NAT open on SIP ports (RFC 5626 §4.4.2) and tells a client its address.
//!
//! A binding request outside ICE needs no integrity (RFC 8489 §9); [`crate::ice`] asks for it.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use subtle::ConstantTimeEq;

/// The header. Units: bytes.
pub const HEADER_BYTES: usize = 20;

/// The transaction id (§5).
pub type TransactionId = [u8; 12];

/// The class of a message (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// A good answer.
    Success,
    /// A bad answer.
    Error,
}

/// A message whose header and attributes fit its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StunView<'a> {
    bytes: &'a [u8],
}

impl<'a> StunView<'a> {
    /// Looks at a datagram or at a frame of a stream; `None` when it is no STUN message, or its lengths do not fit.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if message_bytes(bytes)? != bytes.len() || bytes[4..8] != COOKIE.to_be_bytes() {
            return None;
        }
        let view = StunView { bytes };
        let mut attributes = view.attributes();
        attributes.by_ref().for_each(drop);
        attributes.rest.is_empty().then_some(view)
    }

    /// The class.
    pub const fn class(&self) -> Class {
        match (self.bytes[0] & 1, self.bytes[1] >> 4 & 1) {
            (0, 0) => Class::Request,
            (0, _) => Class::Indication,
            (_, 0) => Class::Success,
            _ => Class::Error,
        }
    }

    /// The method: 1 for binding.
    pub const fn method(&self) -> u16 {
        let [high, low] = [self.bytes[0] as u16, self.bytes[1] as u16];
        (high & 0x3e) << 6 | (low & 0xe0) >> 1 | low & 0xf
    }

    /// The transaction id.
    pub fn transaction_id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER_BYTES]);
        id
    }

    /// The attributes, each as type and value.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: &self.bytes[HEADER_BYTES..] }
    }

    /// The value of the first attribute of a type.
    pub fn attribute(&self, attribute_type: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(found, _)| *found == attribute_type).map(|(_, value)| value)
    }

    /// The address that the other side saw (§14.2).
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        let (_, &family, &[port_high, port_low], address) = match self.attribute(XOR_MAPPED_ADDRESS)? {
            [zero, family, rest @ ..] => {
                let (port, address) = rest.split_first_chunk::<2>()?;
                (zero, family, port, address)
            }
            _ => return None,
        };
        let port = u16::from_be_bytes([port_high, port_low]) ^ (COOKIE >> 16) as u16;
        let mask = self.mask();
        let ip = match (family, address.len()) {
            (FAMILY_V4, 4) => {
                let mut octets = [0; 4];
                unmask(&mut octets, address, &mask);
                IpAddr::V4(Ipv4Addr::from(octets))
            }
            (FAMILY_V6, 16) => {
                let mut octets = [0; 16];
                unmask(&mut octets, address, &mask);
                IpAddr::V6(Ipv6Addr::from(octets))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The code and reason of an error (§14.8); `None` when there is none or it is too short.
    pub fn error_code(&self) -> Option<(u16, &'a [u8])> {
        match self.attribute(ERROR_CODE)? {
            [_, _, class, number, reason @ ..] => Some((u16::from(class & 7) * 100 + u16::from(*number), reason)),
            _ => None,
        }
    }

    /// Whether it ends with a fingerprint that is right (§14.7). `None` when it has none.
    pub fn fingerprint_is_right(&self) -> Option<bool> {
        let value = self.attribute(FINGERPRINT)?;
        let before = self.bytes.len().checked_sub(FINGERPRINT_BYTES).filter(|at| *at >= HEADER_BYTES)?;
        let (header, said) = self.bytes[before..].split_at(4);
        let is_last = header == [0x80, 0x28, 0, 4];
        Some(is_last && said == value && said == fingerprint(&self.bytes[..before]).to_be_bytes())
    }

    /// Whether its MESSAGE-INTEGRITY was made with this key (§14.5): the password itself, where that is of short term (§9.1.1).
    /// `None` when it has none.
    pub fn integrity_is_right(&self, key: &[u8]) -> Option<bool> {
        let (before, said) = self.integrity()?;
        Some(bool::from(integrity(&self.bytes[..before], key).as_slice().ct_eq(said)))
    }

    /// The attributes that its integrity covers: others behind it but the fingerprint mean nothing (§14.5).
    pub fn covered(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        self.attributes().take_while(|(number, _)| *number != MESSAGE_INTEGRITY)
    }

    /// Where its MESSAGE-INTEGRITY stands, and what it is.
    fn integrity(&self) -> Option<(usize, &'a [u8])> {
        let mut attributes = self.attributes();
        loop {
            let at = self.bytes.len() - attributes.rest.len();
            let (number, value) = attributes.next()?;
            if number == MESSAGE_INTEGRITY {
                return (value.len() == INTEGRITY_BYTES - 4).then_some((at, value));
            }
        }
    }

    fn mask(&self) -> [u8; 16] {
        let mut mask = [0; 16];
        mask.copy_from_slice(&self.bytes[4..HEADER_BYTES]);
        mask
    }
}

/// How long the message is that begins here, header included; `None` when this is no begin of one. For framing on
/// streams, where at least 4 bytes must be there.
pub fn message_bytes(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [0..=63, _, high, low, ..] if low.is_multiple_of(4) => {
            Some(HEADER_BYTES + usize::from(u16::from_be_bytes([high, low])))
        }
        _ => None,
    }
}

/// The attributes of a message.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    /// Ends at the first attribute that is longer than what is left.
    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let (&[type_high, type_low, high, low], body) = self.rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = body.get(..length)?;
        self.rest = body.get(length.next_multiple_of(4)..)?;
        Some((u16::from_be_bytes([type_high, type_low]), value))
    }
}

/// The answer to a binding request that came from `source`: its address, or error 420 when it asks for something that
/// this server does not know (§6.3.1). `None` when nothing is to be answered.
///
/// It is hardly larger than the request, so nobody gains by a false source address.
pub fn answer(datagram: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let request = StunView::parse(datagram)?;
    if request.class() != Class::Request || request.method() != BINDING {
        return None;
    }
    let has_fingerprint = match request.fingerprint_is_right() {
        Some(false) => return None,
        said => said.is_some(),
    };
    let unknown = request.attributes().map(|(number, _)| number).find(|n| *n < OPTIONAL && !KNOWN.contains(n));
    let mut out = match unknown {
        None => begin(Class::Success, request.transaction_id()),
        Some(_) => begin(Class::Error, request.transaction_id()),
    };
    match unknown {
        None => push_xor_mapped_address(&mut out, source),
        Some(number) => {
            push(&mut out, ERROR_CODE, &[0, 0, 4, 20]);
            push(&mut out, UNKNOWN_ATTRIBUTES, &number.to_be_bytes());
        }
    }
    if has_fingerprint {
        push_fingerprint(&mut out);
    }
    Some(out)
}

/// A binding request.
pub fn binding_request(transaction_id: TransactionId) -> Vec<u8> {
    let mut out = begin(Class::Request, transaction_id);
    push_fingerprint(&mut out);
    out
}

pub(crate) fn begin(class: Class, transaction_id: TransactionId) -> Vec<u8> {
    let message_type = match class {
        Class::Request => BINDING,
        Class::Indication => BINDING | 0x010,
        Class::Success => BINDING | 0x100,
        Class::Error => BINDING | 0x110,
    };
    let mut out = Vec::with_capacity(64);
    out.extend(message_type.to_be_bytes());
    out.extend([0, 0]);
    out.extend(COOKIE.to_be_bytes());
    out.extend(transaction_id);
    out
}

/// Appends an attribute, filled up to whole words, and sets the length.
pub(crate) fn push(out: &mut Vec<u8>, attribute_type: u16, value: &[u8]) {
    out.extend(attribute_type.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    let length = ((out.len() - HEADER_BYTES) as u16).to_be_bytes();
    out[2..4].copy_from_slice(&length);
}

pub(crate) fn push_xor_mapped_address(out: &mut Vec<u8>, address: SocketAddr) {
    let mut mask = [0; 16];
    mask.copy_from_slice(&out[4..HEADER_BYTES]);
    let port = (address.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
    let mut value = [0; 20];
    value[2..4].copy_from_slice(&port);
    let length = match address.ip().to_canonical() {
        IpAddr::V4(ip) => {
            value[1] = FAMILY_V4;
            unmask(&mut value[4..8], &ip.octets(), &mask);
            8
        }
        IpAddr::V6(ip) => {
            value[1] = FAMILY_V6;
            unmask(&mut value[4..20], &ip.octets(), &mask);
            20
        }
    };
    push(out, XOR_MAPPED_ADDRESS, &value[..length]);
}

/// Appends MESSAGE-INTEGRITY by this key over all before it (§14.5).
pub(crate) fn push_integrity(out: &mut Vec<u8>, key: &[u8]) {
    let value = integrity(out, key);
    push(out, MESSAGE_INTEGRITY, &value);
}

/// HMAC-SHA1 over a message up to its integrity, whose length counts that already (§14.5).
fn integrity(before: &[u8], key: &[u8]) -> [u8; INTEGRITY_BYTES - 4] {
    let length = (before.len() + INTEGRITY_BYTES - HEADER_BYTES) as u16;
    let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(&before[..2]);
    mac.update(&length.to_be_bytes());
    mac.update(&before[4..]);
    mac.finalize().into_bytes().into()
}

pub(crate) fn push_fingerprint(out: &mut Vec<u8>) {
    // The length in the header counts the fingerprint already (§14.7).
    let length = ((out.len() + FINGERPRINT_BYTES - HEADER_BYTES) as u16).to_be_bytes();
    out[2..4].copy_from_slice(&length);
    let value = fingerprint(out);
    push(out, FINGERPRINT, &value.to_be_bytes());
}

fn unmask(out: &mut [u8], masked: &[u8], mask: &[u8; 16]) {
    for ((out, masked), mask) in out.iter_mut().zip(masked).zip(mask) {
        *out = masked ^ mask;
    }
}

/// CRC-32 of ITU-T V.42, xored so that it is not mistaken for one of another protocol (§14.7).
fn fingerprint(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc ^ 0x5354_554e
}

const COOKIE: u32 = 0x2112_a442;
pub(crate) const BINDING: u16 = 1;
pub(crate) const ERROR_CODE: u16 = 0x0009;
pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
pub(crate) const USERNAME: u16 = 0x0006;
pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const INTEGRITY_BYTES: usize = 24;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
const FINGERPRINT_BYTES: usize = 8;
/// Attribute types from here on may be passed over (§14).
pub(crate) const OPTIONAL: u16 = 0x8000;
/// USERNAME and MESSAGE-INTEGRITY of both kinds: a server without credentials reads past them.
const KNOWN: [u16; 3] = [USERNAME, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256];
const FAMILY_V4: u8 = 1;
const FAMILY_V6: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = *b"abcdefghijkl";

    #[test]
    fn a_binding_request_is_answered_with_the_source() {
        for source in ["192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"] {
            let source: SocketAddr = source.parse().unwrap();
            let reply = answer(&binding_request(ID), source).unwrap();
            let view = StunView::parse(&reply).unwrap();
            assert_eq!((view.class(), view.method(), view.transaction_id()), (Class::Success, 1, ID));
            assert_eq!(view.xor_mapped_address(), Some(source));
            assert_eq!(view.fingerprint_is_right(), Some(true));
            assert_eq!(answer(&reply, source), None);
        }
    }

    #[test]
    fn the_smallest_request_gets_no_more_than_it_asked_for() {
        let mut bare = begin(Class::Request, ID);
        let reply = answer(&bare, "192.0.2.1:9".parse().unwrap()).unwrap();
        assert_eq!(reply.len(), 32);
        // CHANGE-REQUEST of RFC 3489 must be understood, so it is refused.
        push(&mut bare, 3, &[0, 0, 0, 6]);
        let reply = answer(&bare, "192.0.2.1:9".parse().unwrap()).unwrap();
        let view = StunView::parse(&reply).unwrap();
        assert_eq!((view.class(), view.error_code()), (Class::Error, Some((420, &b""[..]))));
        assert_eq!(view.attribute(UNKNOWN_ATTRIBUTES), Some(&[0, 3][..]));
        assert!(reply.len() <= 2 * bare.len());
    }

    /// RFC 5769 §2.2: a response to a request with ICE, its fingerprint among its attributes.
    #[test]
    fn the_sample_response_of_rfc_5769_is_read() {
        let sample: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
            \x80\x22\x00\x0btest vector \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
            \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
            \x80\x28\x00\x04\xc0\x7d\x4c\x96";
        let view = StunView::parse(sample).unwrap();
        assert_eq!(view.attribute(0x8022), Some(&b"test vector"[..]));
        assert_eq!(view.xor_mapped_address(), Some("192.0.2.1:32853".parse().unwrap()));
        assert_eq!(view.fingerprint_is_right(), Some(true));
    }

    /// RFC 5769 §2.1 to §2.3, all with one password.
    #[test]
    fn the_samples_of_rfc_5769_have_their_integrity() {
        let key = b"VOkJxbRl1RmTxUk/WvJxBt";
        for sample in crate::ice::samples::ALL {
            let view = StunView::parse(sample).unwrap();
            assert_eq!((view.integrity_is_right(key), view.fingerprint_is_right()), (Some(true), Some(true)));
            assert_eq!(view.integrity_is_right(b"VOkJxbRl1RmTxUk/WvJxBu"), Some(false));
            let integrity = sample.len() - FINGERPRINT_BYTES - INTEGRITY_BYTES;
            let (mut whole, length) = (sample[..integrity].to_vec(), sample[2..4].to_vec());
            push_integrity(&mut whole, key);
            push_fingerprint(&mut whole);
            assert_eq!((&whole[..], &whole[2..4]), (sample, &length[..]));
            assert!(view.covered().all(|(number, _)| number != FINGERPRINT && number != MESSAGE_INTEGRITY));
        }
        assert_eq!(StunView::parse(&binding_request(ID)).unwrap().integrity_is_right(key), None);
    }

    /// CVE-2021-37706: others read past the end of them.
    #[test]
    fn short_error_codes_and_addresses_are_none() {
        for length in 0..4 {
            let mut out = begin(Class::Error, ID);
            push(&mut out, ERROR_CODE, &[0, 0, 4, 20][..length]);
            push(&mut out, XOR_MAPPED_ADDRESS, &[0, 1, 2, 3][..length]);
            let view = StunView::parse(&out).unwrap();
            assert_eq!((view.error_code(), view.xor_mapped_address()), (None, None));
        }
    }

    #[test]
    fn cut_and_changed_messages_are_survived() {
        let source = "192.0.2.1:9".parse().unwrap();
        let mut whole = begin(Class::Request, ID);
        push(&mut whole, 6, b"user");
        push_fingerprint(&mut whole);
        for length in 0..whole.len() {
            assert_eq!(StunView::parse(&whole[..length]), None);
        }
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = answer(&bytes, source);
                if let Some(view) = StunView::parse(&bytes) {
                    let _ = (view.xor_mapped_address(), view.error_code(), view.fingerprint_is_right());
                }
            }
        }
    }

    #[test]
    fn sip_and_rtp_are_not_mistaken_for_it() {
        assert_eq!(StunView::parse(b"INVITE sip:a@b SIP/2.0\r\n\r\n"), None);
        assert_eq!(message_bytes(&[0x80, 0, 0, 0]), None);
        assert_eq!(message_bytes(&binding_request(ID)), Some(28));
        // RFC 3489 had no cookie.
        let mut old = binding_request(ID);
        old[7] ^= 1;
        assert_eq!((StunView::parse(&old), answer(&old, "192.0.2.1:9".parse().unwrap())), (None, None));
    }
}
