//! Values of headers that extensions brought: reliable provisional answers (RFC 3262) and session timers (RFC 4028).

use super::header::{HeaderError, Params};
use super::lex::trim;
use super::{HeaderName, Message, Method, seconds};

/// Who refreshes a session: named by the role in the transaction whose message says it (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

impl Refresher {
    /// Its word in `Session-Expires`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        }
    }
}

/// The value of `Session-Expires` (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// How long a session lives without a refresh. Units: seconds.
    pub seconds: u32,
    /// Who refreshes, when it says so. A word that is neither says nothing.
    pub refresher: Option<Refresher>,
}

/// The value of `RAck` (RFC 3262 §7.2): which provisional answer a PRACK acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The `RSeq` of the answer.
    pub rseq: u32,
    /// The number in its CSeq.
    pub cseq: u32,
    /// The method there.
    pub method: Method,
}

impl Message {
    /// Session-Expires; `None` when there is none.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, HeaderError> {
        let Some(value) = self.header(HeaderName::SessionExpires) else { return Ok(None) };
        let (number, params) = value.split_at(value.find(';').unwrap_or(value.len()));
        let number =
            seconds(trim(number)).ok_or(HeaderError::new(HeaderName::SessionExpires, "no number of seconds"))?;
        let refresher = match Params::new(params).get("refresher") {
            Some(who) if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(who) if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) | None => None,
        };
        Ok(Some(SessionExpires { seconds: number, refresher }))
    }

    /// Min-SE (RFC 4028 §5); `None` when there is none that can be read. Units: seconds.
    pub fn min_se(&self) -> Option<u32> {
        let value = self.header(HeaderName::MinSe)?;
        seconds(trim(value.split(';').next().unwrap_or(value)))
    }

    /// RSeq (RFC 3262 §7.1): from 1 to 2³²−1.
    pub fn rseq(&self) -> Option<u32> {
        number(self.header(HeaderName::RSeq)?).filter(|rseq| *rseq != 0)
    }

    /// RAck.
    pub fn rack(&self) -> Result<RAck, HeaderError> {
        let value = self.header(HeaderName::RAck).ok_or(HeaderError::missing(HeaderName::RAck))?;
        let mut words = value.split_ascii_whitespace();
        let (rseq, cseq) = (words.next().and_then(number), words.next().and_then(number));
        match (rseq, cseq, words.next(), words.next()) {
            (Some(rseq), Some(cseq), Some(method), None) => Ok(RAck { rseq, cseq, method: Method::parse(method) }),
            _ => Err(HeaderError::new(HeaderName::RAck, "not two numbers and a method")),
        }
    }

    /// Whether its sender understands an extension: it says so, or requires it (RFC 3261 §20.32, §20.37).
    pub fn knows(&self, option: &str) -> bool {
        self.has_token(HeaderName::Supported, option) || self.has_token(HeaderName::Require, option)
    }
}

/// Digits only, at most 32 bits.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(lines: &str) -> Message {
        let text = format!(
            "PRACK sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 PRACK\r\n{lines}\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn a_session_tells_its_length_and_who_refreshes() {
        let read = |value: &str| message(&format!("x: {value}\r\n")).session_expires().map(Option::unwrap);
        let of = |seconds, refresher| Ok(SessionExpires { seconds, refresher });
        assert_eq!(read("1800"), of(1_800, None));
        assert_eq!(read("90 ; refresher = UAS"), of(90, Some(Refresher::Uas)));
        assert_eq!(read("90;x=y;refresher=uac"), of(90, Some(Refresher::Uac)));
        assert_eq!(read("90;refresher=nobody"), of(90, None));
        assert_eq!(read("99999999999"), of(u32::MAX, None));
        for bad in ["", ";refresher=uac", "-1", "soon", "1.5"] {
            assert_eq!(read(bad).unwrap_err().reason(), "Bad Session-Expires", "{bad}");
        }
        assert_eq!(message("").session_expires(), Ok(None));
    }

    #[test]
    fn a_shortest_session_that_cannot_be_read_is_none() {
        let read = |line: &str| message(line).min_se();
        assert_eq!(read("Min-SE: 120;x\r\n"), Some(120));
        assert_eq!((read(""), read("Min-SE: x\r\n")), (None, None));
    }

    #[test]
    fn an_acknowledgement_names_answer_and_request() {
        let read = |value: &str| message(&format!("RAck: {value}\r\n")).rack();
        assert_eq!(read("776656 1 INVITE"), Ok(RAck { rseq: 776_656, cseq: 1, method: Method::Invite }));
        assert_eq!(read(" 1\t2  FOO").map(|rack| rack.method), Ok(Method::Other));
        for bad in ["", "1", "1 2", "1 2 INVITE more", "x 2 INVITE", "1 4294967296 INVITE"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(message("").rack().unwrap_err().reason(), "Missing RAck");
    }

    #[test]
    fn sequences_start_at_one() {
        let read = |value: &str| message(&format!("RSeq: {value}\r\n")).rseq();
        assert_eq!(
            (read("1"), read("4294967295"), read("0"), read("4294967296")),
            (Some(1), Some(u32::MAX), None, None)
        );
    }

    #[test]
    fn what_is_required_is_known() {
        assert!(message("k: timer\r\n").knows("timer") && message("Require: 100rel\r\n").knows("100REL"));
        assert!(!message("Supported: timer2\r\n").knows("timer"));
    }
}
