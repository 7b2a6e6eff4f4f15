//! Methods and status codes.

macro_rules! methods {
    ($($variant:ident $text:literal $rfc:literal,)*) => {
        /// A request's method, in the order of the RFCs that brought them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method {
            $(#[doc = concat!("`", $text, "` (", $rfc, ").")] $variant,)*
            /// Any other token; see `Message::method_token`.
            Other,
        }

        impl Method {
            /// The method for its token. Methods are case-sensitive (RFC 3261 §7.1).
            pub fn parse(token: &str) -> Method {
                match token { $($text => Method::$variant,)* _ => Method::Other }
            }

            /// The token; `""` for [`Method::Other`].
            pub const fn as_str(self) -> &'static str {
                match self { $(Method::$variant => $text,)* Method::Other => "" }
            }
        }
    };
}

methods! {
    Invite "INVITE" "RFC 3261 §13",
    Ack "ACK" "RFC 3261 §13",
    Options "OPTIONS" "RFC 3261 §11",
    Bye "BYE" "RFC 3261 §15",
    Cancel "CANCEL" "RFC 3261 §9",
    Register "REGISTER" "RFC 3261 §10",
    Prack "PRACK" "RFC 3262",
    Subscribe "SUBSCRIBE" "RFC 6665",
    Notify "NOTIFY" "RFC 6665",
    Publish "PUBLISH" "RFC 3903",
    Info "INFO" "RFC 6086",
    Refer "REFER" "RFC 3515",
    Message "MESSAGE" "RFC 3428",
    Update "UPDATE" "RFC 3311",
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason phrase that the RFCs give to a status code (RFC 3261 §21 and later); for unknown codes that of the
/// class (§8.1.3.2).
pub fn reason_phrase(status: u16) -> &'static str {
    match PHRASES.binary_search_by_key(&status, |(status, _)| *status) {
        Ok(at) => PHRASES[at].1,
        Err(_) => class_phrase(status),
    }
}

const fn class_phrase(status: u16) -> &'static str {
    match status / 100 {
        1 => "Progress",
        2 => "OK",
        3 => "Redirected",
        4 => "Request Failed",
        5 => "Server Failed",
        _ => "Failed",
    }
}

/// In rising order.
const PHRASES: [(u16, &str); 68] = [
    (100, "Trying"),
    (180, "Ringing"),
    (181, "Call Is Being Forwarded"),
    (182, "Queued"),
    (183, "Session Progress"),
    (199, "Early Dialog Terminated"),
    (200, "OK"),
    (202, "Accepted"),
    (204, "No Notification"),
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (305, "Use Proxy"),
    (380, "Alternative Service"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (402, "Payment Required"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (407, "Proxy Authentication Required"),
    (408, "Request Timeout"),
    (410, "Gone"),
    (412, "Conditional Request Failed"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Unsupported URI Scheme"),
    (420, "Bad Extension"),
    (421, "Extension Required"),
    (422, "Session Interval Too Small"),
    (423, "Interval Too Brief"),
    (428, "Use Identity Header"),
    (429, "Provide Referrer Identity"),
    (430, "Flow Failed"),
    (433, "Anonymity Disallowed"),
    (436, "Bad Identity Info"),
    (437, "Unsupported Credential"),
    (438, "Invalid Identity Header"),
    (439, "First Hop Lacks Outbound Support"),
    (469, "Bad Info Package"),
    (480, "Temporarily Unavailable"),
    (481, "Call/Transaction Does Not Exist"),
    (482, "Loop Detected"),
    (483, "Too Many Hops"),
    (484, "Address Incomplete"),
    (485, "Ambiguous"),
    (486, "Busy Here"),
    (487, "Request Terminated"),
    (488, "Not Acceptable Here"),
    (489, "Bad Event"),
    (491, "Request Pending"),
    (493, "Undecipherable"),
    (494, "Security Agreement Required"),
    (500, "Server Internal Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Server Time-out"),
    (505, "Version Not Supported"),
    (513, "Message Too Large"),
    (600, "Busy Everywhere"),
    (603, "Decline"),
    (604, "Does Not Exist Anywhere"),
    (606, "Not Acceptable"),
    (607, "Unwanted"),
    (608, "Rejected"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::parse("INVITE"), Method::Invite);
        assert_eq!(Method::parse("invite"), Method::Other);
        assert_eq!(Method::parse("RE%47IST%45R"), Method::Other);
    }

    #[test]
    fn every_status_has_a_phrase() {
        assert!(PHRASES.is_sorted());
        assert_eq!((reason_phrase(180), reason_phrase(608)), ("Ringing", "Rejected"));
        assert_eq!((reason_phrase(499), reason_phrase(299)), ("Request Failed", "OK"));
    }
}
