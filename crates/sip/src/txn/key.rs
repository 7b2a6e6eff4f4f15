//! How a message finds its transaction (RFC 3261 §17.1.3, §17.2.3), without keeping or copying text.
//!
//! Requests are found by a keyed 128-bit hash (SipHash) of what the RFC compares: nobody who lacks the key can make
//! two requests meet, and chance will not. Answers are found by our own branch, which carries the place of its
//! transaction and 64 random bits that prove it.

use crate::msg::{Glance, HeaderName, Message, Method, Via};
use serde::{Deserialize, Serialize};
use words::ShardId;

/// The name of a server transaction or of what §8.2.2.2 compares.
pub(crate) type Key = u128;

/// The secret that keys are made with.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Keyring {
    k0: u64,
    k1: u64,
}

impl Keyring {
    pub(crate) fn new(chance: &mut words::Chance) -> Self {
        Keyring { k0: chance.u64(), k1: chance.u64() }
    }

    /// The name of the transaction that `request` belongs to as if its method were `method` (RFC 3261 §17.2.3): an
    /// ACK belongs to its INVITE, and a CANCEL asks for the INVITE that it ends.
    pub(crate) fn transaction(&self, request: &Message, via: &Via<'_>, method: Method) -> Key {
        let mut hash = Sip::new(self.k0, self.k1);
        if !hash.branch(via) {
            // RFC 2543. The To tag is left out, as the ACK has one that the INVITE had not.
            hash.part(request.request_uri().as_bytes());
            hash.part(request.from_tag().unwrap_or("").as_bytes());
            hash.part(value(request, HeaderName::CallId));
            hash.word(u64::from(request.cseq().map_or(0, |cseq| cseq.number)));
            hash.part(value(request, HeaderName::Via));
        }
        hash.method(method, request);
        hash.finish()
    }

    /// [`Keyring::transaction`] of a request that was only looked at; `None` when its branch is RFC 2543's.
    pub(crate) fn transaction_at_sight(&self, request: &Glance<'_>) -> Option<Key> {
        let mut hash = Sip::new(self.k0, self.k1);
        let named = hash.branch(&request.via);
        hash.word(request.method as u64);
        named.then(|| hash.finish())
    }

    /// What a merged request has in common with the one before it (RFC 3261 §8.2.2.2).
    pub(crate) fn merge(&self, request: &Message) -> Key {
        let mut hash = Sip::new(self.k0, !self.k1);
        hash.part(request.from_tag().unwrap_or("").as_bytes());
        hash.part(value(request, HeaderName::CallId));
        hash.word(u64::from(request.cseq().map_or(0, |cseq| cseq.number)));
        hash.method(request.method(), request);
        hash.finish()
    }

    /// A To tag that the same request always gets (RFC 3261 §8.2.7).
    pub(crate) fn stateless_tag(&self, request: &Message) -> Hex<18> {
        let [via, call_id, from] =
            [HeaderName::Via, HeaderName::CallId, HeaderName::From].map(|name| value(request, name));
        self.stateless_tag_of(via, call_id, from)
    }

    /// [`Keyring::stateless_tag`] of the values of the topmost Via line, Call-ID and From.
    pub(crate) fn stateless_tag_of(&self, via: &[u8], call_id: &[u8], from: &[u8]) -> Hex<18> {
        let mut hash = Sip::new(!self.k0, self.k1);
        hash.part(via);
        hash.part(call_id);
        hash.part(from);
        let mut tag = Hex([0; 18]);
        tag.0[..2].copy_from_slice(STATELESS);
        write_hex(&mut tag.0[2..], hash.finish() as u64);
        tag
    }
}

/// To tags for answers that nobody remembers (RFC 3261 §8.2.6.2, §8.2.7): a request that comes again gets the same one, and
/// nobody else can tell which.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Tags(Keyring);

impl Tags {
    /// Tags that only these can make.
    pub fn new(chance: &mut words::Chance) -> Self {
        Tags(Keyring::new(chance))
    }

    /// Whether they were never given a key: they come from a snapshot of a release that had none.
    pub fn is_keyless(&self) -> bool {
        (self.0.k0, self.0.k1) == (0, 0)
    }

    /// The tag for answers to `request`.
    pub fn of(&self, request: &Message) -> String {
        let tag = self.0.stateless_tag(request);
        // Without its beginning, by which the ACK to an answer is passed over that has no transaction for sure.
        tag.as_str().trim_start_matches("s-").to_owned()
    }
}

/// Whether these bytes are an ACK whose To has one of [`Keyring::stateless_tag`]: it ends a refusal that nobody
/// remembers. Under overload there is one for each call, so it is not parsed.
pub(crate) fn ends_stateless(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"ACK ") {
        return false;
    }
    memchr::memmem::find_iter(bytes, b";tag=s-").any(|at| {
        let line = memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |lf| lf + 1);
        let name = bytes[line..at].split(|&byte| byte == b':').next().unwrap_or_default().trim_ascii_end();
        name.eq_ignore_ascii_case(b"To") || name.eq_ignore_ascii_case(b"t")
    })
}

/// No tag of a dialog of ours begins so.
const STATELESS: &[u8] = b"s-";

fn value(request: &Message, name: HeaderName) -> &[u8] {
    request.header_bytes(name).next().unwrap_or_default()
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// Whether a branch is unique as RFC 3261 §8.1.1.7 asks; without the cookie it is RFC 2543's.
pub(crate) fn has_cookie(branch: &str) -> bool {
    branch.len() > COOKIE.len() && branch.as_bytes()[..COOKIE.len()].eq_ignore_ascii_case(COOKIE)
}

const COOKIE: &[u8; 7] = b"z9hG4bK";

/// A branch of ours: cookie, shard, slot, 64 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) shard: ShardId,
    pub(crate) slot: u32,
    pub(crate) secret: u64,
}

impl Branch {
    /// The slot of what has no transaction: an ACK to a 2xx.
    pub(crate) const NO_SLOT: u32 = u32::MAX;

    pub(crate) fn print(self) -> Hex<35> {
        let mut text = Hex([0; 35]);
        text.0[..7].copy_from_slice(COOKIE);
        write_hex(&mut text.0[7..11], u64::from(self.shard.0));
        write_hex(&mut text.0[11..19], u64::from(self.slot));
        write_hex(&mut text.0[19..], self.secret);
        text
    }

    /// Reads a branch of ours; `None` for everybody else's.
    pub(crate) fn parse(text: &str) -> Option<Branch> {
        let text = text.as_bytes();
        if text.len() != 35 || text[..7] != *COOKIE {
            return None;
        }
        let shard = ShardId(read_hex(&text[7..11])? as u16);
        Some(Branch { shard, slot: read_hex(&text[11..19])? as u32, secret: read_hex(&text[19..])? })
    }
}

/// The shard in a branch of ours, so that an answer finds the loop that asked; `None` for everybody else's.
pub fn shard_of_branch(branch: &str) -> Option<ShardId> {
    Branch::parse(branch).map(|branch| branch.shard)
}

/// A few characters on the stack.
#[derive(Clone, Copy)]
pub(crate) struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII was written")
    }
}

fn write_hex(out: &mut [u8], mut value: u64) {
    for byte in out.iter_mut().rev() {
        *byte = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn read_hex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// SipHash-1-3 with 128 bits of result (Aumasson and Bernstein, 2012), fed with whole parts.
struct Sip {
    v: [u64; 4],
    length: u64,
}

impl Sip {
    fn new(k0: u64, k1: u64) -> Self {
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Sip { v, length: 0 }
    }

    fn round(&mut self) {
        let v = &mut self.v;
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    }

    fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.v[0] ^= word;
        self.length = self.length.wrapping_add(8);
    }

    /// A part and its length, so that no two lists of parts are the same bytes.
    fn part(&mut self, bytes: &[u8]) {
        self.part_with(bytes, |word| word);
    }

    fn part_ignoring_case(&mut self, bytes: &[u8]) {
        // Bit 5 tells the cases of a letter apart; digits, dots, colons and brackets of a host keep theirs apart too.
        self.part_with(bytes, |word| word | 0x2020_2020_2020_2020);
    }

    fn part_with(&mut self, bytes: &[u8], fold: impl Fn(u64) -> u64) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(fold(u64::from_le_bytes(chunk.try_into().expect("eight bytes in a chunk of eight"))));
        }
        let rest = chunks.remainder();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(fold(u64::from_le_bytes(last)));
        self.word(bytes.len() as u64);
    }

    /// What RFC 3261 §17.2.3 compares of a Via; `false` when its branch is RFC 2543's.
    fn branch(&mut self, via: &Via<'_>) -> bool {
        let Some(branch) = via.branch().filter(|branch| has_cookie(branch)) else { return false };
        self.part(branch.as_bytes());
        self.part_ignoring_case(via.host.as_bytes());
        self.word(u64::from(via.port.unwrap_or(0)));
        true
    }

    fn method(&mut self, method: Method, request: &Message) {
        match method {
            Method::Ack => self.word(Method::Invite as u64),
            Method::Other => self.part(request.method_token().as_bytes()),
            Method::Invite
            | Method::Options
            | Method::Bye
            | Method::Cancel
            | Method::Register
            | Method::Prack
            | Method::Subscribe
            | Method::Notify
            | Method::Publish
            | Method::Info
            | Method::Refer
            | Method::Message
            | Method::Update => self.word(method as u64),
        }
    }

    fn finish(mut self) -> u128 {
        self.word(self.length);
        self.v[2] ^= 0xee;
        self.rounds_at_end();
        let low = self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3];
        self.v[1] ^= 0xdd;
        self.rounds_at_end();
        let high = self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3];
        u128::from(high) << 64 | u128::from(low)
    }

    fn rounds_at_end(&mut self) {
        for _ in 0..3 {
            self.round();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use words::{Chance, Seed};

    #[test]
    fn our_branches_come_back() {
        let branch = Branch { shard: ShardId(7), slot: 0x00ab_cdef, secret: 0x0123_4567_89ab_cdef };
        let text = branch.print();
        assert_eq!(text.as_str(), "z9hG4bK000700abcdef0123456789abcdef");
        assert_eq!(Branch::parse(text.as_str()), Some(branch));
        assert_eq!(shard_of_branch(text.as_str()), Some(ShardId(7)));
        assert_eq!(Branch::parse("z9hG4bK000700ABCDEF0123456789abcdef"), None);
        assert_eq!(Branch::parse("z9hG4bK-1"), None);
    }

    #[test]
    fn an_ack_to_a_stateless_answer_is_known_by_the_tag_in_its_to() {
        let ack = |lines: &str| ends_stateless(format!("ACK sip:h SIP/2.0\r\n{lines}\r\n\r\n").as_bytes());
        assert!(ack("From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=s-0123456789abcdef"));
        assert!(ack("From: <sip:a@h>;tag=s-1\r\nt : <sip:b@h>;tag=s-0123456789abcdef"));
        // The same letters in a tag that the other side chose.
        assert!(!ack("From: <sip:a@h>;tag=s-0123456789abcdef\r\nTo: <sip:b@h>;tag=7"));
        assert!(!ends_stateless(b"BYE sip:h SIP/2.0\r\nTo: <sip:b@h>;tag=s-0123456789abcdef\r\n\r\n"));
    }

    #[test]
    fn parts_do_not_run_together() {
        let of = |parts: &[&str]| {
            let mut hash = Sip::new(1, 2);
            for part in parts {
                hash.part(part.as_bytes());
            }
            hash.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["", "a"]), of(&["a", ""]));
        assert_ne!(of(&["12345678"]), of(&["12345678", ""]));
        assert_eq!(of(&["12345678", "9"]), of(&["12345678", "9"]));
    }

    #[test]
    fn hosts_meet_in_any_case_and_secrets_differ() {
        let fold = |text: &str| {
            let mut hash = Sip::new(1, 2);
            hash.part_ignoring_case(text.as_bytes());
            hash.finish()
        };
        assert_eq!(fold("PC33.atlanta.com"), fold("pc33.ATLANTA.com"));
        assert_ne!(fold("192.0.2.1"), fold("192.0.2.2"));
        let mut chance = Chance::new(Seed::from_number(1));
        let (a, b) = (Keyring::new(&mut chance), Keyring::new(&mut chance));
        assert_ne!((a.k0, a.k1), (b.k0, b.k1));
    }
}
