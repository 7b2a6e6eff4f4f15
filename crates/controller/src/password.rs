//! Passwords: made here, stored nowhere.

use words::{Chance, Secret};

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

    #[test]
    fn passwords_are_long_and_differ() {
        let mut chance = Chance::new(Seed::from_number(1));
        let (one, other) = (generate(&mut chance), generate(&mut chance));
        assert_eq!(one.reveal().len(), 20);
        assert!(one != other && one.reveal().bytes().all(|b| ALPHABET.contains(&b)));
    }
}
