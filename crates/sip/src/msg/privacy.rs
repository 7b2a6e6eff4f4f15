//! Who somebody is said to be, and what of it others may know: `P-Asserted-Identity` (RFC 3325), `Privacy` (RFC 3323),
//! the older `Remote-Party-ID`, and the hops of a call that went elsewhere before (RFC 5806, RFC 7044).

use super::header::NameAddr;
use super::{HeaderName, Message, Scheme, Uri};
use std::borrow::Cow;

/// What a message wants kept from those whom its sender does not trust (RFC 3323 §4.2).
///
/// What we always hide (hops, addresses, the path of media) need not be asked for: a back-to-back user agent carries
/// none of it across.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privacy {
    /// Who sent it: `id` (RFC 3325 §9.3), `user` or `header`.
    pub identity: bool,
    /// Where the call was before: `history` (RFC 7044 §10.1) or `header`.
    pub history: bool,
}

impl Message {
    /// What its sender wants kept secret; nothing where it says `none`.
    pub fn privacy(&self) -> Privacy {
        let mut privacy = Privacy::default();
        // The values are parted by semicolons (RFC 3323 §4.2); phones use commas too.
        for value in self.headers(HeaderName::Privacy).flat_map(|line| line.split([';', ','])).map(str::trim) {
            let is = |word: &str| value.eq_ignore_ascii_case(word);
            if is("none") {
                return Privacy::default();
            }
            privacy.identity |= is("id") || is("user") || is("header");
            privacy.history |= is("history") || is("header");
        }
        privacy
    }

    /// Whether it says `Privacy: none`: its sender wants to be seen, whatever else stands there.
    pub fn is_open(&self) -> bool {
        let mut values = self.headers(HeaderName::Privacy).flat_map(|line| line.split([';', ',']));
        values.any(|value| value.trim().eq_ignore_ascii_case("none"))
    }

    /// Whether From names nobody (RFC 3323 §4.1.1.3).
    pub fn is_from_nobody(&self) -> bool {
        let Ok(uri) = self.from().map_err(drop).and_then(|from| Uri::parse(from.uri).map_err(drop)) else {
            return false;
        };
        uri.host.eq_ignore_ascii_case("anonymous.invalid") || uri.user.eq_ignore_ascii_case("anonymous")
    }

    /// Who its sender is, as somebody says whose word is taken: the first P-Asserted-Identity with a number
    /// (RFC 3325 §9.1), else Remote-Party-ID; and whether that one wants to be kept secret itself.
    ///
    /// Never ask this of a message whose sender is not trusted.
    pub fn asserted(&self) -> Option<(NameAddr<'_>, bool)> {
        let named = |address: &NameAddr<'_>| {
            let sip_or_tel = |uri: &Uri<'_>| matches!(uri.scheme, Scheme::Sip | Scheme::Sips | Scheme::Tel);
            Uri::parse(address.uri).is_ok_and(|uri| sip_or_tel(&uri) && !uri.user.is_empty())
        };
        let mut asserted = self.addresses(HeaderName::PAssertedIdentity).filter_map(Result::ok);
        if let Some(found) = asserted.find(named) {
            return Some((found, false));
        }
        let of_caller =
            |address: &NameAddr<'_>| address.param("party").is_none_or(|p| p.eq_ignore_ascii_case("calling"));
        let mut older = self.addresses(HeaderName::RemotePartyId).filter_map(Result::ok);
        let found = older.find(|address| named(address) && of_caller(address))?;
        let secret = found.param("privacy").is_some_and(|level| !level.eq_ignore_ascii_case("off"));
        Some((found, secret))
    }

    /// The values of Diversion (RFC 5806 §4) that can be read, the latest first; with `all` those too that want to be
    /// kept from people.
    pub fn diversions(&self, all: bool) -> impl Iterator<Item = &str> {
        self.values(HeaderName::Diversion).take(HOPS).filter(move |value| {
            let shown = |address: NameAddr<'_>| {
                all || address.param("privacy").is_none_or(|level| level.eq_ignore_ascii_case("off"))
            };
            value.len() <= HOP_BYTES && NameAddr::parse(HeaderName::Diversion, value).is_ok_and(shown)
        })
    }

    /// The values of History-Info (RFC 7044 §5) that can be read and have an index, in their order. Without `all` the
    /// URIs that want to be kept from people are replaced (§10.1.2).
    pub fn history(&self, all: bool) -> impl Iterator<Item = Cow<'_, str>> {
        self.values(HeaderName::HistoryInfo).take(HOPS).filter_map(move |value| {
            let entry = NameAddr::parse(HeaderName::HistoryInfo, value).ok()?;
            let index = entry.param("index").filter(|index| is_index(index) && value.len() <= HOP_BYTES)?;
            let secret = |uri: Uri<'_>| uri.header("Privacy").is_some_and(|wish| !wish.eq_ignore_ascii_case("none"));
            if !all && Uri::parse(entry.uri).is_ok_and(secret) {
                return Some(Cow::Owned(format!("<sip:anonymous@anonymous.invalid>;index={index}")));
            }
            Some(Cow::Borrowed(value))
        })
    }
}

/// Whether it is numbers with points between them (RFC 7044 §5).
fn is_index(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// How many hops of a call are read.
const HOPS: usize = 8;

/// The longest of them. Units: bytes.
const HOP_BYTES: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(from: &str, lines: &str) -> Message {
        let text = format!(
            "INVITE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: {from};tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n{lines}\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn each_word_of_privacy_is_read() {
        let read = |line: &str| message("<sip:a@h>", line).privacy();
        let of = |identity, history| Privacy { identity, history };
        assert_eq!(read(""), of(false, false));
        assert_eq!(read("Privacy: id\r\n"), of(true, false));
        assert_eq!(read("Privacy: Header;critical\r\n"), of(true, true));
        assert_eq!(read("Privacy: session, user\r\n"), of(true, false));
        assert_eq!(read("Privacy: history\r\nPrivacy: session\r\n"), of(false, true));
        assert_eq!(read("Privacy: id;none\r\n"), of(false, false), "none stands alone: it wins");
        assert!(message("<sip:a@h>", "Privacy: none\r\n").is_open() && !message("<sip:a@h>", "").is_open());
    }

    #[test]
    fn nobody_is_known_by_name_or_host() {
        for nobody in [
            "<sip:anonymous@anonymous.invalid>",
            "\"Anonymous\" <sip:Anonymous@192.0.2.1>",
            "<sip:x@anonymous.invalid>",
        ] {
            assert!(message(nobody, "").is_from_nobody(), "{nobody}");
        }
        assert!(!message("\"Anonymous\" <sip:101@h>", "").is_from_nobody(), "a name is no sign");
    }

    #[test]
    fn the_first_asserted_identity_with_a_number_counts() {
        let who = |lines: &str| {
            let message = message("<sip:a@h>", lines);
            message.asserted().map(|(found, secret)| (found.uri.to_owned(), secret))
        };
        assert_eq!(who("P-Asserted-Identity: <sip:h>, \"A\" <tel:+7495>\r\n"), Some(("tel:+7495".into(), false)));
        assert_eq!(who("Remote-Party-ID: <sip:9@h>;party=calling;privacy=full\r\n"), Some(("sip:9@h".into(), true)));
        assert_eq!(who("Remote-Party-ID: <sip:9@h>;party=called\r\n"), None);
        assert_eq!(who("P-Preferred-Identity: <sip:9@h>\r\n"), None, "that is a wish, no assertion");
        let both = "Remote-Party-ID: <sip:8@h>\r\nP-Asserted-Identity: <sip:9@h>\r\n";
        assert_eq!(who(both), Some(("sip:9@h".into(), false)));
    }

    #[test]
    fn hops_that_want_to_be_secret_are_left_out_for_people() {
        let message = message(
            "<sip:a@h>",
            "Diversion: <sip:1@h>;reason=no-answer;privacy=full, <sip:2@h>;reason=deflection, <broken\r\n\
             History-Info: <sip:1@h?Privacy=history>;index=1, <sip:2@h>;index=1.1, <sip:3@h>, <sip:4@h>;index=1.x\r\n",
        );
        assert_eq!(message.diversions(false).collect::<Vec<_>>(), ["<sip:2@h>;reason=deflection"]);
        assert_eq!(message.diversions(true).count(), 2);
        let shown: Vec<_> = message.history(false).collect();
        assert_eq!(shown, ["<sip:anonymous@anonymous.invalid>;index=1", "<sip:2@h>;index=1.1"]);
        assert_eq!(message.history(true).next().unwrap(), "<sip:1@h?Privacy=history>;index=1");
    }

    #[test]
    fn there_is_an_end_to_hops() {
        let line = |n| format!("History-Info: <sip:{n}@h>;index={n}\r\nDiversion: <sip:{n}@h>\r\n");
        let many = (0..50).map(line).collect::<Vec<_>>().concat();
        let message = message("<sip:a@h>", &many);
        assert_eq!((message.history(true).count(), message.diversions(true).count()), (HOPS, HOPS));
        let long = format!("Diversion: <sip:{}@h>\r\n", "9".repeat(HOP_BYTES));
        assert_eq!(self::message("<sip:a@h>", &long).diversions(true).count(), 0);
    }
}
