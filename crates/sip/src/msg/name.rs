//! Header names: one byte per name, found by one look into a perfect table.

/// The most bytes of a header name that are looked at; longer names are [`HeaderName::Other`].
const LONGEST: usize = 32;

macro_rules! header_names {
    ($($variant:ident $text:literal,)*) => {
        /// A header field's name (RFC 3261 §20 and the RFCs that added to it), compact forms included.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $text, "`.")] $variant,)*
            /// A name that the exchange has no word for; the message still has it as written.
            Other,
        }

        const NAMES: &[(HeaderName, &str)] = &[$((HeaderName::$variant, $text),)*];

        impl HeaderName {
            /// The name as the RFCs write it; `""` for [`HeaderName::Other`].
            pub const fn canonical(self) -> &'static str {
                match self { $(HeaderName::$variant => $text,)* HeaderName::Other => "" }
            }

            /// The reason phrase of a 400 to a message that lacks this header.
            pub(crate) const fn missing(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => concat!("Missing ", $text),)*
                    HeaderName::Other => "Missing Header",
                }
            }

            /// The reason phrase of a 400 to a message whose header of this name cannot be read.
            pub(crate) const fn bad(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => concat!("Bad ", $text),)*
                    HeaderName::Other => "Bad Header",
                }
            }

            /// The reason phrase of a 400 to a message that has this header more than once.
            pub(crate) const fn repeated(self) -> &'static str {
                match self {
                    $(HeaderName::$variant => concat!("Repeated ", $text),)*
                    HeaderName::Other => "Repeated Header",
                }
            }
        }
    };
}

// The first sixteen are those that a message keeps a direct way to: see `Message::first`.
header_names! {
    Via "Via",
    From "From",
    To "To",
    CallId "Call-ID",
    CSeq "CSeq",
    MaxForwards "Max-Forwards",
    Contact "Contact",
    Route "Route",
    RecordRoute "Record-Route",
    ContentLength "Content-Length",
    ContentType "Content-Type",
    Expires "Expires",
    Authorization "Authorization",
    ProxyAuthorization "Proxy-Authorization",
    UserAgent "User-Agent",
    Allow "Allow",
    Supported "Supported",
    Require "Require",
    ProxyRequire "Proxy-Require",
    Unsupported "Unsupported",
    WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate",
    AuthenticationInfo "Authentication-Info",
    Server "Server",
    MinExpires "Min-Expires",
    Path "Path",
    ServiceRoute "Service-Route",
    RetryAfter "Retry-After",
    Reason "Reason",
    Event "Event",
    AllowEvents "Allow-Events",
    SubscriptionState "Subscription-State",
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AcceptContact "Accept-Contact",
    RequestDisposition "Request-Disposition",
    ContentEncoding "Content-Encoding",
    ContentLanguage "Content-Language",
    ContentDisposition "Content-Disposition",
    MimeVersion "MIME-Version",
    ReferTo "Refer-To",
    ReferredBy "Referred-By",
    ReferSub "Refer-Sub",
    Replaces "Replaces",
    Join "Join",
    SessionExpires "Session-Expires",
    MinSe "Min-SE",
    RAck "RAck",
    RSeq "RSeq",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    PAccessNetworkInfo "P-Access-Network-Info",
    PAssociatedUri "P-Associated-URI",
    PEarlyMedia "P-Early-Media",
    PChargingVector "P-Charging-Vector",
    Privacy "Privacy",
    RemotePartyId "Remote-Party-ID",
    Diversion "Diversion",
    HistoryInfo "History-Info",
    Identity "Identity",
    CallInfo "Call-Info",
    AlertInfo "Alert-Info",
    AnswerMode "Answer-Mode",
    ErrorInfo "Error-Info",
    InReplyTo "In-Reply-To",
    Organization "Organization",
    Priority "Priority",
    Subject "Subject",
    Date "Date",
    Timestamp "Timestamp",
    Warning "Warning",
    Geolocation "Geolocation",
    InfoPackage "Info-Package",
    RecvInfo "Recv-Info",
    UserToUser "User-to-User",
    TargetDialog "Target-Dialog",
    SecurityClient "Security-Client",
    SecurityVerify "Security-Verify",
    FlowTimer "Flow-Timer",
}

impl HeaderName {
    /// The name for its text: any case, compact forms too (RFC 3261 §7.3.1, §7.3.3).
    ///
    /// ```
    /// use sip::HeaderName;
    /// assert_eq!(HeaderName::parse("call-id"), HeaderName::CallId);
    /// assert_eq!(HeaderName::parse("i"), HeaderName::CallId);
    /// assert_eq!(HeaderName::parse("X-Whatever"), HeaderName::Other);
    /// ```
    pub fn parse(name: &str) -> HeaderName {
        HeaderName::from_bytes(name.as_bytes())
    }

    /// [`HeaderName::parse`] on bytes.
    pub(crate) fn from_bytes(name: &[u8]) -> HeaderName {
        match name {
            [] => HeaderName::Other,
            [letter] => HeaderName::from_compact(*letter),
            _ if name.len() > LONGEST => HeaderName::Other,
            _ => {
                let found = TABLE[slot(name)];
                if found == 0 {
                    return HeaderName::Other;
                }
                let (candidate, text) = NAMES[found as usize - 1];
                // Nearly everybody writes names as the RFCs do: that is one comparison of memory.
                if text.as_bytes() == name || text.as_bytes().eq_ignore_ascii_case(name) {
                    candidate
                } else {
                    HeaderName::Other
                }
            }
        }
    }

    /// Compact forms: RFC 3261 §20, and the registry's later ones (3265, 3515, 3841, 3892, 4028, 8224).
    const fn from_compact(letter: u8) -> HeaderName {
        match letter.to_ascii_lowercase() {
            b'a' => HeaderName::AcceptContact,
            b'b' => HeaderName::ReferredBy,
            b'c' => HeaderName::ContentType,
            b'd' => HeaderName::RequestDisposition,
            b'e' => HeaderName::ContentEncoding,
            b'f' => HeaderName::From,
            b'i' => HeaderName::CallId,
            b'k' => HeaderName::Supported,
            b'l' => HeaderName::ContentLength,
            b'm' => HeaderName::Contact,
            b'o' => HeaderName::Event,
            b'r' => HeaderName::ReferTo,
            b's' => HeaderName::Subject,
            b't' => HeaderName::To,
            b'u' => HeaderName::AllowEvents,
            b'v' => HeaderName::Via,
            b'x' => HeaderName::SessionExpires,
            b'y' => HeaderName::Identity,
            _ => HeaderName::Other,
        }
    }
}

impl std::fmt::Display for HeaderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.canonical())
    }
}

/// How many slots the table has: a power of two.
const SLOTS: usize = 512;

/// The multipliers were searched for so that no two names share a slot; `build_table` proves it when compiled.
const fn slot(name: &[u8]) -> usize {
    let first = (name[0] | 0x20) as usize;
    let middle = (name[name.len() / 2] | 0x20) as usize;
    let last = (name[name.len() - 1] | 0x20) as usize;
    (name.len() * 206 + first * 13 + last * 129 + middle * 7) % SLOTS
}

static TABLE: [u8; SLOTS] = build_table();

const fn build_table() -> [u8; SLOTS] {
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < NAMES.len() {
        let at = slot(NAMES[i].1.as_bytes());
        assert!(table[at] == 0, "two header names share a slot: search other multipliers");
        assert!(NAMES[i].1.len() <= LONGEST);
        table[at] = i as u8 + 1;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for (name, text) in NAMES {
            assert_eq!(HeaderName::parse(text), *name);
            assert_eq!(HeaderName::parse(&text.to_lowercase()), *name);
            assert_eq!(HeaderName::parse(&text.to_uppercase()), *name);
        }
    }

    #[test]
    fn strangers_are_other() {
        for name in ["", "Z", "Viaa", "Frim", "Content-Lengthy", "X", "-", "Fröm"] {
            let found = HeaderName::parse(name);
            assert!(matches!(found, HeaderName::Other | HeaderName::SessionExpires), "{name} became {found:?}");
        }
    }
}
