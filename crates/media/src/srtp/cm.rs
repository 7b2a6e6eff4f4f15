//! AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1 and §4.2.1; RFC 6188), and the derivation of session keys.

use super::suite::MasterKey;
use aes::cipher::{Block, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use aes::{Aes128, Aes256};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// A block cipher of AES.
pub(super) trait Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit {}
impl Aes for Aes128 {}
impl Aes for Aes256 {}

/// The session keys of one direction, RTP or RTCP.
#[derive(Clone)]
pub(super) struct Cm<C> {
    cipher: C,
    mac: Hmac<Sha1>,
    salt: [u8; 14],
    tag_bytes: usize,
}

impl<C: Aes> Cm<C> {
    pub(super) fn new(keys: &SessionKeys, tag_bytes: usize) -> Self {
        Cm {
            cipher: C::new_from_slice(&keys.key[..C::key_size()]).expect("a session key has the length of its cipher"),
            mac: <Hmac<Sha1> as KeyInit>::new_from_slice(&keys.auth).expect("HMAC takes keys of every length"),
            salt: keys.salt,
            tag_bytes,
        }
    }

    /// Encrypts what begins at `from` of `length` bytes and puts the tag over all of them and `trailer` behind; the
    /// new length. `written`: how much of the trailer stands in the packet, before the tag.
    pub(super) fn seal(&self, buffer: &mut [u8], span: Span, iv: Iv, trailer: [u8; 4], written: usize) -> usize {
        let Span { from, end } = span;
        keystream(&self.cipher, self.counter(iv), &mut buffer[from..end]);
        let tag = self.tag(&buffer[..end], trailer);
        buffer[end..end + written].copy_from_slice(&trailer[..written]);
        let end = end + written;
        buffer[end..end + self.tag_bytes].copy_from_slice(&tag[..self.tag_bytes]);
        end + self.tag_bytes
    }

    /// Whether the tag is right. Takes as long for a wrong one as for a right one.
    pub(super) fn is_genuine(&self, packet: &[u8], trailer: [u8; 4], tag: &[u8]) -> bool {
        bool::from(self.tag(packet, trailer)[..self.tag_bytes].ct_eq(tag))
    }

    pub(super) fn decrypt(&self, iv: Iv, data: &mut [u8]) {
        keystream(&self.cipher, self.counter(iv), data);
    }

    fn tag(&self, packet: &[u8], trailer: [u8; 4]) -> [u8; 20] {
        let mut mac = self.mac.clone();
        mac.update(packet);
        mac.update(&trailer);
        mac.finalize().into_bytes().into()
    }

    /// The first counter block of a packet (§4.1.1): salt, SSRC and index laid over each other.
    fn counter(&self, Iv { ssrc, index }: Iv) -> [u8; 16] {
        let mut block = [0; 16];
        block[..14].copy_from_slice(&self.salt);
        let laid = u128::from(ssrc) << 64 | u128::from(index) << 16;
        (u128::from_be_bytes(block) ^ laid).to_be_bytes()
    }
}

/// A part of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: usize,
    pub(super) end: usize,
}

/// What makes the keystream of a packet its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Iv {
    pub(super) ssrc: u32,
    pub(super) index: u64,
}

/// Session keys (§4.3), as long as the longest suite needs them.
#[derive(Clone)]
pub(super) struct SessionKeys {
    pub(super) key: [u8; 32],
    pub(super) auth: [u8; 20],
    pub(super) salt: [u8; 14],
}

impl Drop for SessionKeys {
    fn drop(&mut self) {
        self.key.fill(0);
        self.auth.fill(0);
        self.salt.fill(0);
        std::hint::black_box(&*self);
    }
}

impl SessionKeys {
    /// Those of RTP (labels 0 to 2) or of RTCP (3 to 5), with a key derivation rate of 0 (§4.3.1).
    pub(super) fn derive(master: &MasterKey, of_rtcp: bool) -> SessionKeys {
        let first = if of_rtcp { 3 } else { 0 };
        let mut keys = SessionKeys { key: [0; 32], auth: [0; 20], salt: [0; 14] };
        let length = master.suite().key_bytes();
        derive(master, first, &mut keys.key[..length]);
        derive(master, first + 1, &mut keys.auth);
        derive(master, first + 2, &mut keys.salt);
        keys
    }
}

fn derive(master: &MasterKey, label: u8, out: &mut [u8]) {
    // A salt of 96 bits counts as one of 112 with zeros behind (RFC 7714 §11).
    let mut counter = [0; 16];
    counter[..master.salt().len()].copy_from_slice(master.salt());
    counter[7] ^= label;
    let fits = "a master key has the length of its suite";
    if master.key().len() == 32 {
        keystream(&Aes256::new_from_slice(master.key()).expect(fits), counter, out);
    } else {
        keystream(&Aes128::new_from_slice(master.key()).expect(fits), counter, out);
    }
}

/// Lays the keystream over `data`. The last 16 bits of the counter count blocks, so it is good for 1 MB.
fn keystream<C: Aes>(cipher: &C, counter: [u8; 16], data: &mut [u8]) {
    let mut counter = u128::from_be_bytes(counter);
    let mut blocks = [Block::<C>::default(); BLOCKS];
    for part in data.chunks_mut(BLOCKS * 16) {
        let blocks = &mut blocks[..part.len().div_ceil(16)];
        for block in blocks.iter_mut() {
            block.copy_from_slice(&counter.to_be_bytes());
            counter = counter.wrapping_add(1);
        }
        cipher.encrypt_blocks(blocks);
        let (whole, rest) = part.as_chunks_mut::<16>();
        let laid = whole.len();
        for (bytes, block) in whole.iter_mut().zip(blocks.iter()) {
            let block: [u8; 16] = (*block).into();
            *bytes = (u128::from_ne_bytes(*bytes) ^ u128::from_ne_bytes(block)).to_ne_bytes();
        }
        if let Some(block) = blocks.get(laid) {
            rest.iter_mut().zip(block.iter()).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

/// How many blocks are encrypted at a time: a packet of 20 ms of G.711 has ten.
const BLOCKS: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::super::suite::Suite;
    use super::*;

    fn derived(master: &MasterKey, label: u8, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        derive(master, label, &mut out);
        out
    }

    /// RFC 3711 appendix B.2.
    #[test]
    fn counter_mode_gives_the_keystream_of_the_rfc() {
        let cipher = Aes128::new_from_slice(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let counter = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
        let mut stream = vec![0; 0xff02 * 16];
        keystream(&cipher, counter, &mut stream);
        assert_eq!(stream[..16], hex("E03EAD0935C95E80E166B16DD92B4EB4"));
        assert_eq!(stream[16..32], hex("D23513162B02D0F72A43A2FE4A5F97AB"));
        assert_eq!(stream[0xfeff * 16..][..16], hex("EC8CDF7398607CB0F2D21675EA9EA1E4"));
        assert_eq!(stream[0xff01 * 16..], hex("6A2CC3787889374FBEB4C81B17BA6C44"));
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn session_keys_are_those_of_the_rfc() {
        let master = hex("E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6");
        let master = MasterKey::new(Suite::AesCm128HmacSha1Tag80, &master).unwrap();
        let keys = SessionKeys::derive(&master, false);
        assert_eq!(keys.key[..16], hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(keys.salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(keys.auth[..], hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
        let auth = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68";
        assert_eq!(derived(&master, 1, 94), hex(auth)[..94]);
    }

    /// RFC 6188 §7.2 and §7.3.
    #[test]
    fn keys_of_256_bits_give_what_their_rfc_has() {
        let cipher =
            Aes256::new_from_slice(&hex("57F82FE3613FD170A85EC93C40B1F0922EC4CB0DC025B58272147CC438944A98")).unwrap();
        let counter = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
        let mut stream = vec![0; 0xff02 * 16];
        keystream(&cipher, counter, &mut stream);
        assert_eq!(stream[..16], hex("92BDD28A93C3F52511C677D08B5515A4"));
        assert_eq!(stream[16..32], hex("9DA71B2378A854F67050756DED165BAC"));
        let master = "F0F04914B513F2763A1B1FA130F10E2998F6F6E43E4309D1E622A0E332B9F1B63B04803DE51EE7C96423AB5B78D2";
        let master = MasterKey::new(Suite::AesCm256HmacSha1Tag80, &hex(master)).unwrap();
        let keys = SessionKeys::derive(&master, false);
        assert_eq!(keys.key[..], hex("5BA1064E30EC51613CAD926C5A28EF731EC7FB397F70A960653CAF06554CD8C4"));
        assert_eq!(keys.salt[..], hex("FA31791685CA444A9E07C6C64E93"));
        assert_eq!(keys.auth[..], hex("FD9C32D39ED5FBB5A9DC96B30818454D1313DC05"));
    }
}
