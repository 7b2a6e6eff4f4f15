//! Who is to be called, and whose place is to be taken: `Refer-To` (RFC 3515) and `Replaces` (RFC 3891).

use super::Message;
use super::header::{HeaderError, NameAddr, Params};
use super::lex::{find_near, trim};
use super::method::Method;
use super::name::HeaderName;
use super::uri::{Scheme, Uri};

/// The dialog whose place somebody wants to take (RFC 3891 §6.1), as its receiver sees that dialog.
///
/// ```
/// use sip::{Replaces, Uri};
/// let uri = Uri::parse("sip:c@example.com?Replaces=a%40h%3Bto-tag%3Dx%3Bfrom-tag%3Dy%3Bearly-only")?;
/// let replaces = Replaces::of_uri(&uri)?.ok_or("none")?;
/// assert_eq!((&*replaces.call_id, &*replaces.to_tag, &*replaces.from_tag), ("a@h", "x", "y"));
/// assert!(replaces.early_only);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// The Call-ID.
    pub call_id: String,
    /// The tag of whoever gets the header.
    pub to_tag: String,
    /// The tag of the other side.
    pub from_tag: String,
    /// Only while the dialog is early (RFC 3891 §3).
    pub early_only: bool,
}

impl Replaces {
    /// Reads the value of the header.
    ///
    /// # Errors
    /// [`HeaderError`]: 400.
    pub fn parse(value: &str) -> Result<Replaces, HeaderError> {
        let bad = |what| HeaderError::new(HeaderName::Replaces, what);
        let (call_id, params) = value.split_at(find_near(value.as_bytes(), b';').ok_or(bad("no tags"))?);
        let (call_id, params) = (trim(call_id), Params::new(params));
        if call_id.is_empty() {
            return Err(bad("no Call-ID"));
        }
        let once = |name: &str, missing| {
            let mut found = params.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            match (found.next(), found.next()) {
                (Some((_, tag)), None) if !tag.is_empty() => Ok(tag.to_owned()),
                _ => Err(bad(missing)),
            }
        };
        Ok(Replaces {
            call_id: call_id.to_owned(),
            to_tag: once("to-tag", "not one to-tag")?,
            from_tag: once("from-tag", "not one from-tag")?,
            early_only: params.get("early-only").is_some(),
        })
    }

    /// The one of a request; `None` when it has none.
    ///
    /// # Errors
    /// [`HeaderError`]: it cannot be read, or there are several (RFC 3891 §3): 400.
    pub fn of(message: &Message) -> Result<Option<Replaces>, HeaderError> {
        let mut values = message.headers(HeaderName::Replaces);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => Replaces::parse(value).map(Some),
            (Some(_), Some(_)) => Err(HeaderError::new(HeaderName::Replaces, "more than one")),
        }
    }

    /// The one that a URI carries among its headers, as that of Refer-To does for an attended transfer.
    ///
    /// # Errors
    /// As [`Replaces::parse`].
    pub fn of_uri(uri: &Uri<'_>) -> Result<Option<Replaces>, HeaderError> {
        uri.header("Replaces").map(|value| Replaces::parse(&value)).transpose()
    }
}

/// Who is to be called (RFC 3515 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferTo<'a> {
    /// The URI, its headers included.
    pub uri: Uri<'a>,
    /// Whose place is to be taken there.
    pub replaces: Option<Replaces>,
}

impl<'a> ReferTo<'a> {
    /// The one of a REFER: exactly one (RFC 3515 §2.4.2).
    ///
    /// # Errors
    /// [`HeaderError`]: 400.
    pub fn of(message: &'a Message) -> Result<ReferTo<'a>, HeaderError> {
        let mut found = message.addresses(HeaderName::ReferTo);
        let bad = |what| HeaderError::new(HeaderName::ReferTo, what);
        let address: NameAddr<'a> = found.next().ok_or(HeaderError::missing(HeaderName::ReferTo))??;
        if found.next().is_some() {
            return Err(bad("more than one"));
        }
        let uri = Uri::parse(address.uri).map_err(|_| bad("not a URI"))?;
        let replaces = Replaces::of_uri(&uri)?;
        Ok(ReferTo { uri, replaces })
    }

    /// Whether it asks for a call: a SIP or tel URI, and INVITE or no word about the method (RFC 3515 §2.1).
    pub fn is_call(&self) -> bool {
        let method = self.uri.param("method").is_none_or(|method| Method::parse(method) == Method::Invite);
        self.uri.scheme != Scheme::Other && method
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn refer(headers: &str) -> Message {
        let text = format!(
            "REFER sip:x@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 7 REFER\r\n{headers}\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn one_target_is_read_and_none_or_two_are_not() {
        let message = refer("Refer-To: \"C\" <sip:c@h;method=INVITE>\r\n");
        let found = ReferTo::of(&message).unwrap();
        assert_eq!((found.uri.user, found.replaces.is_none(), found.is_call()), ("c", true, true));
        for bad in ["", "Refer-To: <sip:c@h>, <sip:d@h>\r\n", "r: <sip:c@h>\r\nRefer-To: <sip:d@h>\r\n", "r: x\r\n"] {
            assert!(ReferTo::of(&refer(bad)).is_err(), "{bad}");
        }
        for other in ["<sip:c@h;method=BYE>", "<mailto:c@h>"] {
            assert!(!ReferTo::of(&refer(&format!("Refer-To: {other}\r\n"))).unwrap().is_call(), "{other}");
        }
    }

    #[test]
    fn a_replaces_needs_a_call_id_and_each_tag_once() {
        let whole = Replaces::parse("98@h;from-tag=f;to-tag=t;early-only=1").unwrap();
        assert_eq!((&*whole.to_tag, &*whole.from_tag, whole.early_only), ("t", "f", true));
        for bad in
            ["98@h", "98@h;to-tag=t", ";to-tag=t;from-tag=f", "c;to-tag=t;to-tag=u;from-tag=f", "c;to-tag;from-tag=f"]
        {
            assert!(Replaces::parse(bad).is_err(), "{bad}");
        }
        assert!(
            Replaces::of(&refer("Replaces: c;to-tag=t;from-tag=f\r\nReplaces: d;to-tag=t;from-tag=f\r\n")).is_err()
        );
        assert!(ReferTo::of(&refer("Refer-To: <sip:c@h?Replaces=c%3Bto-tag%3Dt>\r\n")).is_err());
    }
}
