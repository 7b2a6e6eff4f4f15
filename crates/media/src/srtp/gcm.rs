//! AES-GCM (RFC 7714).

use super::cm::{Iv, SessionKeys};
use super::suite::Suite;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// The session keys of one direction, RTP or RTCP.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; NONCE_LEN],
}

impl Gcm {
    pub(super) fn new(suite: Suite, keys: &SessionKeys) -> Self {
        let salt = keys.salt[..NONCE_LEN].try_into().expect("a session salt is longer than a nonce");
        Gcm::with(&keys.key[..suite.key_bytes()], salt)
    }

    fn with(key: &[u8], salt: [u8; NONCE_LEN]) -> Self {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, key).expect("a session key has the length of its cipher");
        Gcm { key: LessSafeKey::new(key), salt }
    }

    /// Encrypts `data` in place and writes its tag of [`TAG_BYTES`]. `None`: longer than any packet.
    pub(super) fn seal(&self, nonce: Nonce, about: &[u8], data: &mut [u8], tag: &mut [u8]) -> Option<()> {
        self.key.seal_in_place_scatter(nonce, Aad::from(about), data, &[], tag).ok()
    }

    /// Decrypts `data`, the tag of which stands at its end, in place. When it is forged nothing of it is left.
    pub(super) fn open(&self, nonce: Nonce, about: &[u8], data: &mut [u8]) -> bool {
        self.key.open_in_place(nonce, Aad::from(about), data).is_ok()
    }

    /// Of an RTP packet (§8.1). An index of 48 bits is the rollover counter and the sequence number.
    pub(super) fn rtp_nonce(&self, iv: Iv) -> Nonce {
        self.nonce(u128::from(iv.ssrc) << 48 | u128::from(iv.index))
    }

    /// Of an RTCP packet (§9.1): two bytes of zeros stand between SSRC and index.
    pub(super) fn rtcp_nonce(&self, iv: Iv) -> Nonce {
        self.nonce(u128::from(iv.ssrc) << 48 | u128::from(iv.index as u32))
    }

    fn nonce(&self, laid: u128) -> Nonce {
        let mut block = [0; 16];
        block[4..].copy_from_slice(&self.salt);
        let block = (u128::from_be_bytes(block) ^ laid).to_be_bytes();
        Nonce::assume_unique_for_key(block[4..].try_into().expect("sixteen bytes without four are a nonce"))
    }
}

/// Units: bytes.
pub(super) const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    const HEADER: &str = "8040f17b8041f8d35501a0b2";
    const PLAIN: &str = "47616c6c696120657374206f6d6e6973206469766973612069 6e207061727465732074726573";

    fn gcm(key: &str) -> Gcm {
        Gcm::with(&hex(key), hex("517569642070726f2071756f").try_into().unwrap())
    }

    fn sealed(gcm: &Gcm, nonce: Nonce, about: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut data = plain.to_vec();
        let mut tag = [0; TAG_BYTES];
        gcm.seal(nonce, about, &mut data, &mut tag).unwrap();
        [&data[..], &tag].concat()
    }

    /// RFC 7714 §16.1.1 and §16.2.1: sequence number 0xf17b, rollover counter 0.
    #[test]
    fn rtp_packets_are_those_of_the_rfc() {
        let iv = Iv { ssrc: 0x5501_a0b2, index: 0xf17b };
        for (key, expected) in [
            (
                "000102030405060708090a0b0c0d0e0f",
                "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
                 899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
                 7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ] {
            let gcm = gcm(key);
            let made = sealed(&gcm, gcm.rtp_nonce(iv), &hex(HEADER), &hex(PLAIN));
            assert_eq!(made, hex(expected), "{} bits", key.len() * 4);
            let mut data = made;
            assert!(gcm.open(gcm.rtp_nonce(iv), &hex(HEADER), &mut data));
            assert_eq!(data[..38], hex(PLAIN));
        }
    }

    /// RFC 7714 §17.1 (index 0x5d4 with the flag) and §17.3 (without encryption).
    #[test]
    fn rtcp_packets_are_those_of_the_rfc() {
        let gcm = gcm("000102030405060708090a0b0c0d0e0f");
        let iv = Iv { ssrc: 0x4d61_7273, index: 0x5d4 };
        let packet = hex(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e930 4c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        );
        let about = [&packet[..8], &hex("800005d4")].concat();
        let expected = "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade";
        assert_eq!(sealed(&gcm, gcm.rtcp_nonce(iv), &about, &packet[8..]), hex(expected));
        let about = [&packet[..], &hex("000005d4")].concat();
        assert_eq!(sealed(&gcm, gcm.rtcp_nonce(iv), &about, &[]), hex("841dd9683dd78ec92ae58790125f62b3"),);
    }
}
