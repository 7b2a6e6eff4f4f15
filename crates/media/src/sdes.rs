//! Keys in descriptions (SDES, RFC 4568): `a=crypto` lines read and printed, and audio lines made fit for them.
//!
//! Three ways in which phones ask for encrypted audio are one here: a line of RTP/SAVP, one of RTP/AVP with keys that
//! the other side may take up or not (RFC 8643), and both beside each other, of which one is to be chosen. [`admit`]
//! leaves of an offer what may be answered; [`dress`] gives a description of ours its keys.
//!
//! Keys that want what we do not do are passed over, as the RFC has it: an MKI, more than one key in a line, a key
//! derivation rate, anything that is not encrypted or not authenticated, FEC with keys of its own. A lifetime is read
//! and not heeded: calls end sooner.

use crate::sdp::{Description, MediaView, cut};
use crate::srtp::{MASTER_BYTES_MAX, MasterKey, Suite};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use words::{Chance, Srtp};

/// One `a=crypto` line that we can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crypto {
    /// What an answer names the line by.
    pub tag: u32,
    /// The key of whoever wrote the line, for what he sends (RFC 4568 §5.1.2).
    pub key: MasterKey,
}

impl Crypto {
    /// The value of `a=crypto` (RFC 4568 §9.1); `None` when it cannot be read or wants what we do not do.
    pub fn parse(value: &str) -> Option<Crypto> {
        let mut fields = value.split_ascii_whitespace();
        let tag = fields.next().filter(|tag| tag.len() <= 9 && tag.bytes().all(|b| b.is_ascii_digit()))?;
        let suite = Suite::parse(fields.next()?)?;
        let (method, inline) = cut(fields.next()?, b':')?;
        if !method.eq_ignore_ascii_case("inline") || !fields.all(is_harmless) {
            return None;
        }
        let mut parts = inline.split('|');
        let key = read_key(suite, parts.next()?)?;
        // What follows is a lifetime, such as `2^20`; with a colon it is an MKI.
        let lifetime = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'^');
        parts.all(lifetime).then_some(())?;
        Some(Crypto { tag: tag.parse().ok()?, key })
    }

    /// The value of `a=crypto`.
    pub fn print(&self) -> String {
        let key = BASE64_STANDARD.encode(self.key.reveal());
        format!("{} {} inline:{key}", self.tag, self.key.suite().name())
    }
}

/// Whether a session parameter (RFC 4568 §6.3) changes nothing for us. What begins with `-` may be passed over.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-')
        || parameter.eq_ignore_ascii_case("KDR=0")
        || parameter.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("WSH="))
}

/// Padding is often forgotten.
fn read_key(suite: Suite, text: &str) -> Option<MasterKey> {
    let text = text.trim_end_matches('=');
    let mut bytes = [0; MASTER_BYTES_MAX + 2];
    let length = BASE64_STANDARD_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    let key = MasterKey::new(suite, &bytes[..length]);
    bytes.fill(0);
    std::hint::black_box(&bytes);
    key
}

impl MediaView<'_> {
    /// The first of its `a=crypto` lines that we can do: what an answer takes up (RFC 4568 §7.1.2).
    pub fn crypto(&self) -> Option<Crypto> {
        self.attributes().filter(|(name, _)| *name == "crypto").find_map(|(_, value)| Crypto::parse(value))
    }

    /// Whether the protocol says that it is encrypted with keys of SDES.
    pub fn is_savp(&self) -> bool {
        self.protocol.eq_ignore_ascii_case("RTP/SAVP") || self.protocol.eq_ignore_ascii_case("RTP/SAVPF")
    }
}

/// Whether anything in a description speaks of SDES at all. Most do not, and cost no more than this look.
pub fn concerns(description: &Description) -> bool {
    let text = description.as_str();
    text.contains("a=crypto") || text.contains("/SAVP") || text.contains("/savp")
}

/// What of an offer may be answered where `srtp` is the rule: what may not has port 0 from here on, so that it is
/// declined, and keys that are not to be taken up are left out. Of audio in both kinds the encrypted one is left, where
/// the rule allows it.
pub fn admit(offer: Description, srtp: Srtp) -> Description {
    if !concerns(&offer) && srtp != Srtp::Required {
        return offer;
    }
    let secure = offer.media().find(|media| media.is_relayable() && media.is_savp()).map(|media| media.index);
    rewrite(&offer, |media| {
        let audio = media.kind == "audio";
        let open = media.is_plain_rtp() && media.crypto().is_none();
        match srtp {
            Srtp::Off => Rewrite { decline: audio && media.is_savp(), without_keys: true },
            Srtp::Optional => {
                Rewrite { decline: audio && secure.is_some_and(|at| at != media.index), without_keys: false }
            }
            Srtp::Required => {
                Rewrite { decline: audio && (open || secure.is_some_and(|at| at != media.index)), without_keys: false }
            }
        }
    })
}

#[derive(Clone, Copy)]
struct Rewrite {
    decline: bool,
    without_keys: bool,
}

fn rewrite(offer: &Description, rule: impl Fn(&MediaView<'_>) -> Rewrite) -> Description {
    let mut text = String::with_capacity(offer.as_str().len());
    let mut push = |letter: u8, value: &str| {
        text.push(char::from(letter));
        text.push('=');
        text.push_str(value);
        text.push_str("\r\n");
    };
    for (letter, value) in offer.session_lines() {
        push(letter, value);
    }
    for media in offer.media() {
        let rule = rule(&media);
        let port = if rule.decline { 0 } else { media.port };
        let formats: Vec<&str> = media.formats().collect();
        push(b'm', &format!("{} {port} {} {}", media.kind, media.protocol, formats.join(" ")));
        for (letter, value) in media.lines() {
            if !(rule.without_keys && letter == b'a' && is_crypto(value)) {
                push(letter, value);
            }
        }
    }
    Description::parse(text.as_bytes()).expect("a description with other ports and fewer lines is one")
}

fn is_crypto(attribute: &str) -> bool {
    cut(attribute, b':').is_some_and(|(name, _)| name.trim_ascii_end() == "crypto")
}

/// A description of ours with these keys on its audio, over RTP/SAVP if `savp` says so. What is declined gets none.
pub fn dress(made: &Description, savp: bool, lines: &[Crypto]) -> Description {
    let Some(audio) = made.live_audio().filter(|_| !lines.is_empty()) else { return made.clone() };
    let mut text = String::with_capacity(made.as_str().len() + 16 + lines.len() * 112);
    let mut push = |letter: u8, value: &str| {
        text.push(char::from(letter));
        text.push('=');
        text.push_str(value);
        text.push_str("\r\n");
    };
    for (letter, value) in made.session_lines() {
        push(letter, value);
    }
    for media in made.media() {
        let formats: Vec<&str> = media.formats().collect();
        let secure = media.index == audio;
        let protocol = if secure && savp && !media.is_savp() { "RTP/SAVP" } else { media.protocol };
        push(b'm', &format!("{} {} {protocol} {}", media.kind, media.port, formats.join(" ")));
        let lines = if secure { lines } else { &[] };
        for line in lines {
            push(b'a', &format!("crypto:{}", line.print()));
        }
        for (letter, value) in media.lines() {
            push(letter, value);
        }
    }
    Description::parse(text.as_bytes()).expect("a description with keys added is one")
}

/// Keys of ours for an offer: one of each suite, in the order of preference.
pub fn draw(suites: &[Suite], chance: &mut Chance) -> Vec<Crypto> {
    let numbered = (1..).zip(suites);
    numbered.map(|(tag, suite)| Crypto { tag, key: MasterKey::draw(*suite, chance) }).collect()
}

/// What is offered where a description may be long.
pub const OFFERED: [Suite; 6] = Suite::ALL;

/// What is offered in a datagram, which must fit into one packet: what every phone has.
pub const OFFERED_SHORT: [Suite; 2] = [Suite::AesCm128HmacSha1Tag80, Suite::AesCm128HmacSha1Tag32];

#[cfg(test)]
mod tests {
    use super::*;
    use words::Seed;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    const KEY: &str = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    const AVP: &str = "m=audio 4000 RTP/AVP 8\r\n";

    fn sdp(media: &str) -> Description {
        Description::parse(format!("{HEAD}{media}").as_bytes()).unwrap()
    }

    fn parsed(rest: &str) -> Option<Crypto> {
        Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 {rest}"))
    }

    fn savp(port: u16) -> String {
        format!("m=audio {port} RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n")
    }

    fn opportunistic() -> String {
        format!("{AVP}a=crypto:4 AES_CM_128_HMAC_SHA1_32 {KEY}\r\n")
    }

    fn lines(description: &Description) -> Vec<&str> {
        description.as_str().lines().filter(|line| line.starts_with("m=") || line.starts_with("a=crypto")).collect()
    }

    #[test]
    fn a_line_is_read_and_printed() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}");
        let crypto = Crypto::parse(&line).unwrap();
        assert_eq!((crypto.tag, crypto.key.suite()), (1, Suite::AesCm128HmacSha1Tag80));
        assert_eq!(crypto.print(), line);
        assert_eq!(Crypto::parse(&crypto.print()), Some(crypto));
        let mut chance = Chance::new(Seed::from_number(1));
        for drawn in draw(&OFFERED, &mut chance) {
            assert_eq!(Crypto::parse(&drawn.print()), Some(drawn));
        }
    }

    #[test]
    fn what_phones_write_beside_the_key_is_read() {
        for rest in ["|2^20", "|1048576", "|2^31 KDR=0", " WSH=64", " -unknown=1", " kdr=0 wsh=128"] {
            assert!(parsed(&format!("{KEY}{rest}")).is_some(), "{rest}");
        }
        let unpadded = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVzWVNfX19zZW1jdGwgKCkgewky";
        assert!(Crypto::parse(&format!("1 AES_CM_256_HMAC_SHA1_80 {unpadded}")).is_none());
        let gcm = BASE64_STANDARD.encode([1; 28]);
        for key in [gcm.as_str(), gcm.trim_end_matches('=')] {
            assert!(Crypto::parse(&format!("7 AEAD_AES_128_GCM inline:{key}")).is_some(), "{key}");
        }
    }

    #[test]
    fn what_we_do_not_do_is_passed_over() {
        for rest in [
            "|2^20|1:4",
            "|1:4",
            " UNENCRYPTED_SRTP",
            " UNENCRYPTED_SRTCP",
            " UNAUTHENTICATED_SRTP",
            " KDR=1",
            " FEC_KEY=inline:x",
            " strange",
            ";inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
        ] {
            assert_eq!(parsed(&format!("{KEY}{rest}")), None, "{rest}");
        }
        for line in [
            "",
            "1",
            "x AES_CM_128_HMAC_SHA1_80 inline:a",
            "1 F8_128_HMAC_SHA1_80 inline:a",
            "1 AES_CM_128_HMAC_SHA1_80",
        ] {
            assert_eq!(Crypto::parse(line), None, "{line}");
        }
        for key in ["inline:", "inline:AAAA", "inline:!", "outline:x", &format!("{KEY}AAAA"), &"inline:".repeat(200)] {
            assert_eq!(parsed(key), None, "{key}");
        }
        assert_eq!(Crypto::parse(&format!("1234567890 AES_CM_128_HMAC_SHA1_80 {KEY}")), None);
    }

    #[test]
    fn the_first_line_that_we_can_do_is_taken_up() {
        let offer = sdp(&format!(
            "m=audio 4000 RTP/SAVP 8\r\na=crypto:1 F8_128_HMAC_SHA1_80 {KEY}\r\na=crypto:2 AES_CM_128_HMAC_SHA1_80 {KEY}|1:4\r\n\
             a=crypto:3 AES_CM_128_HMAC_SHA1_32 {KEY}\r\na=crypto:4 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"
        ));
        let crypto = offer.audio().unwrap().media().crypto().unwrap();
        assert_eq!((crypto.tag, crypto.key.suite()), (3, Suite::AesCm128HmacSha1Tag32));
        let none = sdp(&format!("m=audio 4000 RTP/SAVP 8\r\na=crypto:1 F8_128_HMAC_SHA1_80 {KEY}\r\n"));
        assert!(!none.audio().unwrap().is_accepted && !none.media().any(|media| media.is_relayable()));
    }

    /// RFC 4568 §7.1: the offerer's order is its preference, so ours is; in answers it is theirs that decides.
    #[test]
    fn our_offers_have_the_suites_in_the_order_that_is_promised_and_answers_follow_theirs() {
        let names = |suites: &[Suite]| -> Vec<(u32, String)> {
            let drawn = draw(suites, &mut Chance::new(Seed::from_number(1)));
            drawn.iter().map(|line| (line.tag, line.key.suite().name().to_owned())).collect()
        };
        let all = [
            "AES_CM_128_HMAC_SHA1_80",
            "AES_CM_128_HMAC_SHA1_32",
            "AES_256_CM_HMAC_SHA1_80",
            "AES_256_CM_HMAC_SHA1_32",
            "AEAD_AES_128_GCM",
            "AEAD_AES_256_GCM",
        ];
        let numbered = |names: &[&str]| (1..).zip(names.iter().map(|name| (*name).to_owned())).collect::<Vec<_>>();
        assert_eq!(names(&OFFERED), numbered(&all));
        assert_eq!(names(&OFFERED_SHORT), numbered(&all[..2]));
        for (first, second) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))).filter(|(a, b)| a != b) {
            let line = |tag, name: &str| {
                let suite = Suite::ALL.into_iter().find(|suite| suite.name() == name).unwrap();
                let key = MasterKey::draw(suite, &mut Chance::new(Seed::from_number(2)));
                format!("a=crypto:{}\r\n", Crypto { tag, key }.print())
            };
            let offer = sdp(&format!("m=audio 4000 RTP/SAVP 8\r\n{}{}", line(7, first), line(3, second)));
            let taken = offer.audio().unwrap().media().crypto().unwrap();
            assert_eq!((taken.tag, taken.key.suite().name()), (7, *first), "before {second}");
        }
    }

    #[test]
    fn the_rule_decides_what_may_be_answered() {
        let admitted = |media: &str, srtp| {
            let admitted = admit(sdp(media), srtp);
            let relayed: Vec<_> = admitted.media().filter(MediaView::is_relayable).collect();
            relayed.first().map(|media| (media.is_savp(), media.crypto().is_some()))
        };
        for (media, off, optional, required) in [
            (AVP.to_owned(), Some((false, false)), Some((false, false)), None),
            (opportunistic(), Some((false, false)), Some((false, true)), Some((false, true))),
            (savp(4_000), None, Some((true, true)), Some((true, true))),
            (format!("{AVP}{}", savp(4_002)), Some((false, false)), Some((true, true)), Some((true, true))),
            (format!("{}{AVP}", savp(4_002)), Some((false, false)), Some((true, true)), Some((true, true))),
            (format!("{AVP}m=audio 4002 RTP/SAVP 8\r\n"), Some((false, false)), Some((false, false)), None),
        ] {
            assert_eq!(admitted(&media, Srtp::Off), off, "{media}");
            assert_eq!(admitted(&media, Srtp::Optional), optional, "{media}");
            assert_eq!(admitted(&media, Srtp::Required), required, "{media}");
        }
        let video = format!("{}m=video 5000 RTP/AVP 96\r\n", savp(4_000));
        assert_eq!(
            admit(sdp(&video), Srtp::Required).media().map(|media| media.port).collect::<Vec<_>>(),
            [4_000, 5_000]
        );
    }

    #[test]
    fn a_description_of_ours_gets_its_keys() {
        let made = sdp(&format!("m=video 0 RTP/AVP 96\r\n{AVP}a=ptime:20\r\na=sendrecv\r\n"));
        let keys = draw(&OFFERED_SHORT, &mut Chance::new(Seed::from_number(1)));
        let dressed = dress(&made, true, &keys);
        let shown = lines(&dressed);
        assert_eq!(shown[..2], ["m=video 0 RTP/AVP 96", "m=audio 4000 RTP/SAVP 8"]);
        assert!(
            shown[2].starts_with("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:") && shown[3].starts_with("a=crypto:2 ")
        );
        assert_eq!(dressed.audio().unwrap().media().crypto().as_ref(), keys.first());
        assert_eq!(lines(&dress(&made, false, &keys))[1], "m=audio 4000 RTP/AVP 8");
        assert_eq!(dress(&made, true, &[]), made);
        let off = sdp("m=audio 0 RTP/AVP 8\r\n");
        assert_eq!(dress(&off, true, &keys), off);
    }
}
