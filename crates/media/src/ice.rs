//! ICE as its lite side (RFC 8445 §2.5): the other side checks our one address, and we judge its checks, which are STUN
//! binding requests with integrity (§7.3).
//!
//! A check is worth what its password is: whoever sent it knows what our description told. It proves where the other side
//! is better than its description or its first packet do. A check that was copied and sent again from elsewhere proves
//! nothing; [`Check::transaction_id`] tells it.

use crate::stun::{
    BINDING, Class, ERROR_CODE, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, OPTIONAL, StunView, TransactionId,
    UNKNOWN_ATTRIBUTES, USERNAME, begin, push, push_fingerprint, push_integrity, push_xor_mapped_address,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use words::{Chance, Secret};

/// How an agent is named in checks (RFC 8445 §5.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The username fragment.
    pub ufrag: Box<str>,
    /// The password: the key of checks that come to the agent, and of its answers.
    pub pwd: Secret,
}

impl Credentials {
    /// New ones from chance, which must be one that nobody outside can guess: 48 bits of name, so that each end of a shared
    /// port has its own, and 144 of password.
    pub fn draw(chance: &mut Chance) -> Credentials {
        let mut bytes = [0; 24];
        chance.fill(&mut bytes);
        let (ufrag, pwd) = bytes.split_at(UFRAG_BYTES * 3 / 4);
        let text = |bytes: &[u8]| BASE64_STANDARD_NO_PAD.encode(bytes);
        Credentials { ufrag: text(ufrag).into(), pwd: Secret::new(text(pwd)) }
    }

    /// The values of `a=ice-ufrag` and `a=ice-pwd`; `None` when they are not what RFC 8839 §5.4 allows.
    pub fn parse(ufrag: &str, pwd: &str) -> Option<Credentials> {
        let fits = |text: &str, shortest| {
            (shortest..=LONGEST).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
        };
        (fits(ufrag, 4) && fits(pwd, 22)).then(|| Credentials { ufrag: ufrag.into(), pwd: Secret::new(pwd) })
    }
}

/// By what checks that come to an end are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Ours: their USERNAME begins with the fragment, and the password is their key.
    pub ours: Credentials,
    /// The fragment of the other side, with which it ends.
    pub theirs: Box<str>,
    /// One port has RTP and RTCP (RFC 5761): there is one component, and nothing is checked for another.
    pub rtcp_mux: bool,
}

/// How long our fragments are: the port that many ends share finds an end by it. Units: bytes.
pub const UFRAG_BYTES: usize = 8;

/// The fragment of ours that a binding request names, as far as it is one: nothing of it is proven.
pub fn named(datagram: &[u8]) -> Option<[u8; UFRAG_BYTES]> {
    let view = StunView::parse(datagram)?;
    let username = view.attribute(USERNAME)?;
    let (ufrag, rest) = username.split_first_chunk()?;
    (rest.first() == Some(&b':')).then_some(*ufrag)
}

/// What a check says that is genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Each check has its own, and only repetitions of one have the same.
    pub transaction_id: TransactionId,
    /// How much the other side likes this pair (RFC 8445 §7.1.1); 0 where it does not say.
    pub priority: u32,
    /// It has USE-CANDIDATE: this pair is to be used (§8.1.1).
    pub nominates: bool,
}

/// What a datagram is to an end that has ICE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No STUN.
    Other,
    /// STUN that is not answered: an indication, an answer to nothing, or damaged.
    Silent,
    /// A request that proves nothing about where the other side is, and the error that it may be answered with.
    Refused(Vec<u8>),
    /// A check, and its answer.
    Valid(Check, Vec<u8>),
}

/// Judges a datagram that came from `source` (RFC 8445 §7.3, RFC 8489 §9.1.3). No answer is longer than what it answers but
/// for a few bytes.
pub fn judge(datagram: &[u8], checks: &Checks, source: SocketAddr) -> Outcome {
    let Some(view) = StunView::parse(datagram) else { return Outcome::Other };
    let damaged = view.fingerprint_is_right() == Some(false);
    // A missing fingerprint is let pass, though checks must have one (§7.1.1): their integrity says more.
    if view.class() != Class::Request || view.method() != BINDING || damaged {
        return Outcome::Silent;
    }
    let key = checks.ours.pwd.reveal().as_bytes();
    let value = |wanted: u16| view.covered().find(|(number, _)| *number == wanted).map(|(_, value)| value);
    // The user name is compared first: who does not know it costs no more than that.
    let (Some(username), Some(_)) = (value(USERNAME), view.attribute(MESSAGE_INTEGRITY)) else {
        return Outcome::Refused(error(&view, 400, None, &[]));
    };
    if !names(username, checks) || view.integrity_is_right(key) != Some(true) {
        return Outcome::Refused(error(&view, 401, None, &[]));
    }
    let mut unknown = [0; 2 * UNKNOWN_MAX];
    let numbers = view.covered().map(|(number, _)| number).filter(|n| *n < OPTIONAL && !KNOWN.contains(n));
    let places = unknown.chunks_exact_mut(2).zip(numbers);
    let count = places.map(|(place, number)| place.copy_from_slice(&number.to_be_bytes())).count();
    if count > 0 {
        return Outcome::Refused(error(&view, 420, Some(key), &unknown[..2 * count]));
    }
    if value(ICE_CONTROLLED).is_some() {
        // Who is lite never controls (§6.1.1): the other side is told to (§7.3.1.1).
        return Outcome::Refused(error(&view, 487, Some(key), &[]));
    }
    let priority = value(PRIORITY).and_then(|value| value.first_chunk()).map_or(0, |value| u32::from_be_bytes(*value));
    let check = Check { transaction_id: view.transaction_id(), priority, nominates: value(USE_CANDIDATE).is_some() };
    let mut answer = begin(Class::Success, view.transaction_id());
    push_xor_mapped_address(&mut answer, source);
    push_integrity(&mut answer, key);
    push_fingerprint(&mut answer);
    Outcome::Valid(check, answer)
}

/// A check as the other side sends it: towards `to`, from who is called `from`.
pub fn request(to: &Credentials, from: &str, check: &Check, controls: bool) -> Vec<u8> {
    let mut out = begin(Class::Request, check.transaction_id);
    push(&mut out, USERNAME, format!("{}:{from}", to.ufrag).as_bytes());
    push(&mut out, PRIORITY, &check.priority.to_be_bytes());
    push(&mut out, if controls { ICE_CONTROLLING } else { ICE_CONTROLLED }, &[7; 8]);
    if check.nominates {
        push(&mut out, USE_CANDIDATE, &[]);
    }
    push_integrity(&mut out, to.pwd.reveal().as_bytes());
    push_fingerprint(&mut out);
    out
}

/// Whether a USERNAME is `ours:theirs` (RFC 8445 §7.2.2).
fn names(username: &[u8], checks: &Checks) -> bool {
    let ours = username.strip_prefix(checks.ours.ufrag.as_bytes());
    ours.and_then(|rest| rest.strip_prefix(b":")) == Some(checks.theirs.as_bytes())
}

/// With integrity where the request was genuine (RFC 8489 §9.1.3).
fn error(view: &StunView<'_>, code: u16, key: Option<&[u8]>, unknown: &[u8]) -> Vec<u8> {
    let mut out = begin(Class::Error, view.transaction_id());
    push(&mut out, ERROR_CODE, &[0, 0, (code / 100) as u8, (code % 100) as u8]);
    if !unknown.is_empty() {
        push(&mut out, UNKNOWN_ATTRIBUTES, unknown);
    }
    if let Some(key) = key {
        push_integrity(&mut out, key);
    }
    push_fingerprint(&mut out);
    out
}

const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;
/// Attributes that must be understood and are; the integrity by SHA-256 is read past.
const KNOWN: [u16; 5] = [USERNAME, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256, PRIORITY, USE_CANDIDATE];
/// How many attributes that are not understood are told.
const UNKNOWN_MAX: usize = 4;
/// The longest fragment and password (RFC 8839 §5.4). Units: bytes.
const LONGEST: usize = 256;

/// The samples of RFC 5769 §2.1 to §2.3.
#[cfg(test)]
pub(crate) mod samples {
    pub(crate) const REQUEST: &[u8] =
        b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY   \
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const RESPONSE: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
        \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
        \x80\x28\x00\x04\xc0\x7d\x4c\x96";
    const RESPONSE_V6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector \x00\x20\x00\x14\x00\x02\xa1\x47\
        \x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
        \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
        \x80\x28\x00\x04\xc8\xfb\x0b\x4c";
    pub(crate) const ALL: [&[u8]; 3] = [REQUEST, RESPONSE, RESPONSE_V6];
}

#[cfg(test)]
mod tests {
    use super::*;
    use words::Seed;

    const CHECK: Check = Check { transaction_id: *b"abcdefghijkl", priority: 0x6e00_01ff, nominates: true };

    fn checks() -> Checks {
        let ours = Credentials::draw(&mut Chance::new(Seed::from_number(1)));
        Checks { ours, theirs: "h6vY".into(), rtcp_mux: false }
    }

    fn source() -> SocketAddr {
        "192.0.2.1:32853".parse().unwrap()
    }

    fn refusal(outcome: Outcome) -> (u16, Option<bool>) {
        let Outcome::Refused(answer) = outcome else { panic!("{outcome:?}") };
        let view = StunView::parse(&answer).unwrap();
        assert_eq!((view.class(), view.fingerprint_is_right()), (Class::Error, Some(true)));
        (view.error_code().unwrap().0, view.integrity_is_right(checks().ours.pwd.reveal().as_bytes()))
    }

    #[test]
    fn what_is_drawn_is_what_descriptions_may_say() {
        let mut chance = Chance::new(Seed::from_number(1));
        let (one, other) = (Credentials::draw(&mut chance), Credentials::draw(&mut chance));
        assert_eq!((one.ufrag.len(), one.pwd.reveal().len()), (UFRAG_BYTES, 24));
        assert_eq!(Credentials::parse(&one.ufrag, one.pwd.reveal()).as_ref(), Some(&one));
        assert!(one.ufrag != other.ufrag && one.pwd != other.pwd);
        let long = "a".repeat(257);
        for (ufrag, pwd) in
            [("abc", &long[..22]), ("abcd", &long[..21]), (&long, &long[..22]), ("abcd", &long), ("ab-d", &long[..22])]
        {
            assert_eq!(Credentials::parse(ufrag, pwd), None, "{ufrag} {pwd}");
        }
        assert!(!format!("{one:?}").contains(one.pwd.reveal()));
    }

    #[test]
    fn a_check_with_our_password_is_answered_with_its_source() {
        let checks = checks();
        let sent = request(&checks.ours, "h6vY", &CHECK, true);
        let Outcome::Valid(check, answer) = judge(&sent, &checks, source()) else { panic!("it is valid") };
        assert_eq!(check, CHECK);
        let view = StunView::parse(&answer).unwrap();
        assert_eq!((view.class(), view.transaction_id()), (Class::Success, CHECK.transaction_id));
        assert_eq!(view.xor_mapped_address(), Some(source()));
        let key = checks.ours.pwd.reveal().as_bytes();
        assert_eq!((view.integrity_is_right(key), view.fingerprint_is_right()), (Some(true), Some(true)));
        assert!(
            answer.len() <= sent.len()
                && named(&sent).as_ref().map(|ufrag| &ufrag[..]) == Some(checks.ours.ufrag.as_bytes())
        );
        assert_eq!(view.attribute(USERNAME), None);
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        let checks = checks();
        let sent = request(&checks.ours, "h6vY", &CHECK, true);
        let Outcome::Valid(_, answer) = judge(&sent, &checks, source()) else { panic!("it is valid") };
        assert_eq!(judge(&answer, &checks, source()), Outcome::Silent);
        // Indications: to keep a way open, and with a password, right or wrong.
        let bare = begin(Class::Indication, CHECK.transaction_id);
        let signed = |key: &[u8]| {
            let mut out = bare.clone();
            push(&mut out, USERNAME, format!("{}:h6vY", checks.ours.ufrag).as_bytes());
            push_integrity(&mut out, key);
            push_fingerprint(&mut out);
            out
        };
        for indication in [bare.clone(), signed(checks.ours.pwd.reveal().as_bytes()), signed(b"another")] {
            assert_eq!(judge(&indication, &checks, source()), Outcome::Silent);
        }
    }

    #[test]
    fn whoever_does_not_know_both_names_and_the_password_is_nobody() {
        let checks = checks();
        let judged = |request: &[u8]| judge(request, &checks, source());
        let other = Credentials { pwd: Secret::new("a".repeat(24)), ..checks.ours.clone() };
        let stranger = Credentials { ufrag: "stranger".into(), ..checks.ours.clone() };
        for wrong in [
            request(&other, "h6vY", &CHECK, true),
            request(&stranger, "h6vY", &CHECK, true),
            request(&checks.ours, "h6vZ", &CHECK, true),
            request(&checks.ours, "", &CHECK, true),
            request(&checks.ours, &"h6vY".repeat(10_000), &CHECK, true),
            request(&Credentials { ufrag: "x".repeat(60_000).into(), ..checks.ours.clone() }, "h6vY", &CHECK, true),
        ] {
            assert_eq!(refusal(judged(&wrong)), (401, None));
        }
        let bare = crate::stun::binding_request(CHECK.transaction_id);
        assert_eq!(refusal(judged(&bare)), (400, None));
        // Whatever byte is changed before the fingerprint: it is no check any more.
        let right = request(&checks.ours, "h6vY", &CHECK, true);
        for at in 0..right.len() - 8 {
            for flip in [1, 0x80] {
                let mut bytes = right.clone();
                bytes[at] ^= flip;
                assert!(!matches!(judged(&bytes), Outcome::Valid(..)), "byte {at}");
            }
        }
        assert_eq!(
            (judged(b""), judged(&[0x80; 40]), judged(&[0; 20])),
            (Outcome::Other, Outcome::Other, Outcome::Other)
        );
    }

    #[test]
    fn who_is_lite_never_controls() {
        let checks = checks();
        let controlled = request(&checks.ours, "h6vY", &CHECK, false);
        assert_eq!(refusal(judge(&controlled, &checks, source())), (487, Some(true)));
        // The sample of the RFC is one of those.
        let ours = Credentials::parse("evtj", "VOkJxbRl1RmTxUk/WvJxBt").unwrap();
        let sample = Checks { ours, theirs: "h6vY".into(), rtcp_mux: false };
        assert_eq!(refusal(judge(samples::REQUEST, &sample, source())).0, 487);
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_told() {
        let checks = checks();
        let key = checks.ours.pwd.reveal().as_bytes();
        let with = |numbers: &[u16], behind: bool| {
            let mut out = begin(Class::Request, CHECK.transaction_id);
            push(&mut out, USERNAME, format!("{}:h6vY", checks.ours.ufrag).as_bytes());
            numbers.iter().filter(|_| !behind).for_each(|number| push(&mut out, *number, &[]));
            push_integrity(&mut out, key);
            numbers.iter().filter(|_| behind).for_each(|number| push(&mut out, *number, &[]));
            push_fingerprint(&mut out);
            judge(&out, &checks, source())
        };
        let Outcome::Refused(answer) = with(&[3, 0x7000], false) else { panic!("it is refused") };
        let view = StunView::parse(&answer).unwrap();
        assert_eq!((view.error_code().unwrap().0, view.integrity_is_right(key)), (420, Some(true)));
        assert_eq!(view.attribute(UNKNOWN_ATTRIBUTES), Some(&[0, 3, 0x70, 0][..]));
        // More of them than are told; those that may be passed over; and those that are not covered by the integrity.
        assert_eq!(refusal(with(&[3; 9], false)).0, 420);
        let plain = Check { priority: 0, nominates: false, ..CHECK };
        assert!(matches!(with(&[0x8100], false), Outcome::Valid(check, _) if check == plain));
        assert!(matches!(with(&[USE_CANDIDATE, 3], true), Outcome::Valid(check, _) if check == plain));
    }
}
