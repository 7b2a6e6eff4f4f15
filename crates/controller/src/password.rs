//! Passwords: made here, hashed here, stored nowhere.

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use words::{Chance, Secret};

/// The three HA1 values of one password (RFC 7616 §3.4.2, RFC 8760 §2.1).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hashes {
    pub(crate) md5: [u8; 16],
    pub(crate) sha256: [u8; 32],
    pub(crate) sha512_256: [u8; 32],
}

impl Hashes {
    pub(crate) fn of(auth_user: &str, realm: &str, password: &str) -> Hashes {
        let text = Secret::new(format!("{auth_user}:{realm}:{password}"));
        let bytes = text.reveal().as_bytes();
        Hashes {
            md5: Md5::digest(bytes).into(),
            sha256: Sha256::digest(bytes).into(),
            sha512_256: Sha512_256::digest(bytes).into(),
        }
    }
}

/// A password that can be read out on the telephone and typed on one: 31 letters and digits that nobody confuses, so
/// 20 of them are 99 bits.
pub(crate) fn generate(chance: &mut Chance) -> Secret {
    let pick = |_| char::from(ALPHABET[chance.below(ALPHABET.len() as u64) as usize]);
    Secret::new((0..CHARS).map(pick).collect::<String>())
}

/// No 0, 1, i, l, o.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
const CHARS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use words::Seed;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| char::from(b"0123456789abcdef"[usize::from(n)])).collect()
    }

    #[test]
    fn hashes_are_those_of_the_rfc() {
        // RFC 7616 §3.9.1 gives the user, realm and password; the values are those of `md5sum` and `sha256sum`.
        let hashes = Hashes::of("Mufasa", "http-auth@example.org", "Circle of Life");
        assert_eq!(hex(&hashes.md5), "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(hex(&hashes.sha256), "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
        assert_eq!(hex(&hashes.sha512_256), "fb174f5c3c7802721517cae13b98e2b8dae2e0118cb705d94ee29946319204ce");
    }

    #[test]
    fn passwords_are_long_and_differ() {
        let mut chance = Chance::new(Seed::from_number(1));
        let (one, other) = (generate(&mut chance), generate(&mut chance));
        assert_eq!(one.reveal().len(), 20);
        assert!(one != other && one.reveal().bytes().all(|b| ALPHABET.contains(&b)));
    }
}
