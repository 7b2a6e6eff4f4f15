//! What we say that we can do, in one place: every answer and request takes it from here.

/// The value of `Allow` (RFC 3261 §20.5).
pub const ALLOW: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO, NOTIFY, UPDATE, PRACK, REFER, SUBSCRIBE, PUBLISH, MESSAGE";

/// The value of `Accept` (RFC 3261 §20.1).
pub const ACCEPT: &str = "application/sdp, application/pidf+xml, multipart/mixed, text/plain, text/html, \
     application/im-iscomposing+xml, message/cpim";

/// What a message may be (RFC 3428).
pub const MESSAGE_BODIES: [&str; 4] = ["text/plain", "text/html", "application/im-iscomposing+xml", "message/cpim"];

/// The same in calls, where descriptions alone are read (RFC 5621 §4).
pub const ACCEPT_IN_CALLS: &str = "application/sdp, multipart/mixed";

/// The value of `Allow-Events` (RFC 6665 §8.2.2): what can be watched here.
pub const ALLOW_EVENTS: &str = "dialog, message-summary, presence, reg";

/// The option tags that a request may require of us (RFC 3261 §20.32): the registrar's, then those of calls.
pub const SUPPORTED: [&str; 7] = ["path", "outbound", "gruu", "100rel", "timer", "norefersub", "replaces"];

/// The value of `Supported` in our INVITEs (RFC 3261 §20.37).
pub const SUPPORTED_IN_CALLS: &str = "100rel, timer, replaces";

/// The same where an offer before the answer could not be answered (RFC 3262 §5).
pub const SUPPORTED_LATE: &str = "timer, replaces";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_message_is_accepted() {
        assert!(MESSAGE_BODIES.iter().all(|kind| ACCEPT.split(", ").any(|accepted| accepted == *kind)), "{ACCEPT}");
    }

    #[test]
    fn the_option_tags_that_we_name_are_registered() {
        // Of IANA's list, with their RFCs, all on the standards track: 5626, 3327, 3262, 4028, 4488, 3891, 5627.
        let registered = ["outbound", "path", "100rel", "timer", "norefersub", "replaces", "gruu"];
        let named = SUPPORTED_IN_CALLS.split(", ").chain(SUPPORTED_LATE.split(", ")).chain(SUPPORTED);
        for tag in named {
            assert!(registered.contains(&tag), "{tag}");
        }
    }
}
