//! The transforms that have a name in SDES, and the master keys that they start from.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use words::Chance;

/// A transform of packets with all its lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Suite {
    /// AES in counter mode, tags of 80 bits: what every phone has (RFC 4568 §6.2.1).
    AesCm128HmacSha1Tag80,
    /// The same, with tags of 32 bits on RTP; those on RTCP keep 80 (RFC 4568 §6.2.2).
    AesCm128HmacSha1Tag32,
    /// As the first, with keys of 256 bits (RFC 6188).
    AesCm256HmacSha1Tag80,
    /// As the second, with keys of 256 bits (RFC 6188).
    AesCm256HmacSha1Tag32,
    /// AES-GCM (RFC 7714).
    AeadAes128Gcm,
    /// AES-GCM with keys of 256 bits (RFC 7714).
    AeadAes256Gcm,
}

impl Suite {
    /// All of them, in the order in which they are offered: what is spread furthest first.
    pub const ALL: [Suite; 6] = [
        Suite::AesCm128HmacSha1Tag80,
        Suite::AesCm128HmacSha1Tag32,
        Suite::AesCm256HmacSha1Tag80,
        Suite::AesCm256HmacSha1Tag32,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ];

    /// Its name in `a=crypto` (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.2).
    pub const fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1Tag80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1Tag32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AesCm256HmacSha1Tag80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AesCm256HmacSha1Tag32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of that name. Case does not matter: some phones write it small.
    pub fn parse(name: &str) -> Option<Suite> {
        // What phones wrote before RFC 6188 settled the order of the words.
        let early = |suite: Suite| match suite {
            Suite::AesCm256HmacSha1Tag80 => name.eq_ignore_ascii_case("AES_CM_256_HMAC_SHA1_80"),
            Suite::AesCm256HmacSha1Tag32 => name.eq_ignore_ascii_case("AES_CM_256_HMAC_SHA1_32"),
            Suite::AesCm128HmacSha1Tag80
            | Suite::AesCm128HmacSha1Tag32
            | Suite::AeadAes128Gcm
            | Suite::AeadAes256Gcm => false,
        };
        Suite::ALL.into_iter().find(|suite| name.eq_ignore_ascii_case(suite.name()) || early(*suite))
    }

    /// The master key, without its salt. Units: bytes.
    pub const fn key_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1Tag80 | Suite::AesCm128HmacSha1Tag32 | Suite::AeadAes128Gcm => 16,
            Suite::AesCm256HmacSha1Tag80 | Suite::AesCm256HmacSha1Tag32 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// The master salt. Units: bytes.
    pub const fn salt_bytes(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// What an RTP packet grows by. Units: bytes.
    pub const fn rtp_tag_bytes(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1Tag80 | Suite::AesCm256HmacSha1Tag80 => 10,
            Suite::AesCm128HmacSha1Tag32 | Suite::AesCm256HmacSha1Tag32 => 4,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
        }
    }

    /// The tag of an RTCP packet, which grows by the index of four bytes beside it. Units: bytes.
    pub const fn rtcp_tag_bytes(self) -> usize {
        if self.is_aead() { 16 } else { 10 }
    }

    /// Whether it is one of AES-GCM.
    pub const fn is_aead(self) -> bool {
        matches!(self, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm)
    }
}

/// A master key with its salt and the suite that it is for. Not shown, and wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    bytes: [u8; MASTER_BYTES_MAX],
}

impl MasterKey {
    /// Key and salt in a row, as SDES writes them; `None` when the length is not the suite's.
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<MasterKey> {
        let mut bytes = [0; MASTER_BYTES_MAX];
        let length = suite.key_bytes() + suite.salt_bytes();
        if key_and_salt.len() != length {
            return None;
        }
        bytes[..length].copy_from_slice(key_and_salt);
        Some(MasterKey { suite, bytes })
    }

    /// A new key from chance, which must be one that nobody outside can guess.
    pub fn draw(suite: Suite, chance: &mut Chance) -> MasterKey {
        let mut bytes = [0; MASTER_BYTES_MAX];
        chance.fill(&mut bytes[..suite.key_bytes() + suite.salt_bytes()]);
        MasterKey { suite, bytes }
    }

    /// For which suite it is.
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Key and salt in a row. The name is long so that a reader sees where secrets go.
    pub fn reveal(&self) -> &[u8] {
        &self.bytes[..self.suite.key_bytes() + self.suite.salt_bytes()]
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_bytes()]
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.reveal()[self.suite.key_bytes()..]
    }
}

impl Serialize for MasterKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.suite, self.reveal()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MasterKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (suite, bytes) = <(Suite, Vec<u8>)>::deserialize(deserializer)?;
        MasterKey::new(suite, &bytes).ok_or_else(|| serde::de::Error::custom("not a key of its suite"))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({}, …)", self.suite.name())
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.bytes.fill(0);
        // Without this the compiler may drop the write to memory that nobody reads again.
        std::hint::black_box(&self.bytes);
    }
}

/// The longest key with the longest salt. Units: bytes.
pub const MASTER_BYTES_MAX: usize = 32 + 14;

#[cfg(test)]
mod tests {
    use super::*;
    use words::Seed;

    #[test]
    fn names_are_read_and_printed() {
        for suite in Suite::ALL {
            assert_eq!(Suite::parse(suite.name()), Some(suite));
        }
        assert_eq!(Suite::parse("aes_cm_128_hmac_sha1_80"), Some(Suite::AesCm128HmacSha1Tag80));
        assert_eq!(Suite::parse("AES_CM_256_HMAC_SHA1_80"), Some(Suite::AesCm256HmacSha1Tag80));
        assert_eq!(Suite::parse("F8_128_HMAC_SHA1_80"), None);
    }

    #[test]
    fn a_key_has_the_length_of_its_suite_and_is_not_shown() {
        assert_eq!(MasterKey::new(Suite::AesCm128HmacSha1Tag80, &[7; 29]), None);
        let key = MasterKey::new(Suite::AesCm128HmacSha1Tag80, &[7; 30]).unwrap();
        assert_eq!((key.key().len(), key.salt().len()), (16, 14));
        assert_eq!(format!("{key:?}"), "MasterKey(AES_CM_128_HMAC_SHA1_80, …)");
        let mut chance = Chance::new(Seed::from_number(1));
        let drawn = MasterKey::draw(Suite::AeadAes256Gcm, &mut chance);
        assert_eq!(drawn.reveal().len(), 44);
        assert_ne!(drawn, MasterKey::draw(Suite::AeadAes256Gcm, &mut chance));
    }
}
