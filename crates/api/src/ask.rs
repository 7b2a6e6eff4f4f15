//! What the command line asks of the running server, and what it gets: one JSON line each over the local socket.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use words::{CallId, Secret, Srtp};

/// A question or an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Counts of the whole exchange.
    Status,
    /// The calls that are up.
    Calls {
        /// The account's name; all when absent.
        account: Option<String>,
    },
    /// One call: up, or from the records.
    Call {
        /// Which.
        call: CallId,
    },
    /// Ends a call.
    HangUp {
        /// Which.
        call: CallId,
    },
    /// Records of ended calls, newest first.
    Cdr {
        /// The account's name; all when absent.
        account: Option<String>,
        /// At the most so many.
        limit: u32,
    },
    /// The registered devices.
    Phones {
        /// The account's name; all when absent.
        account: Option<String>,
    },
    /// The sources that are shut out.
    Bans,
    /// Lets a source in again.
    Unban {
        /// Its address.
        source: IpAddr,
    },
    /// Tells a user's devices to read their settings anew.
    CheckSync {
        /// The account's name; may be left out where the user is the only one of that name.
        account: Option<String>,
        /// The extension, or the user name of the credentials.
        user: String,
        /// Start anew even when nothing changed.
        #[serde(default)]
        reboot: bool,
    },
    /// Makes an account.
    AccountCreate {
        /// Its short name.
        name: String,
        /// Its SIP domain; its name when absent.
        domain: Option<String>,
    },
    /// Changes what can be set of an account; what is absent stays.
    AccountSet {
        /// Its short name.
        name: String,
        /// What its users type before the number that they transfer to; `off`: nothing, `default`: as the configuration says.
        typed_transfer: Option<String>,
        /// How long an extension rings. Units: seconds.
        ring_for_s: Option<u32>,
    },
    /// All accounts.
    AccountList,
    /// Makes a user.
    UserAdd {
        /// The account's name.
        account: String,
        /// The extension.
        extension: String,
        /// The display name.
        name: Option<String>,
        /// The user name of the credentials; chosen when absent.
        auth_user: Option<String>,
        /// The password; made when absent.
        password: Option<Secret>,
        /// Which digests the device may use.
        algorithms: Option<String>,
        /// Whether its media are to be encrypted.
        #[serde(default)]
        srtp: Srtp,
    },
    /// The users of an account.
    UserList {
        /// The account's name.
        account: String,
    },
    /// Gives a user a new password; its devices are out at once.
    UserReset {
        /// The account's name.
        account: String,
        /// The extension.
        extension: String,
        /// The password; made when absent.
        password: Option<Secret>,
    },
    /// Shuts a user out at once, or lets the user in again.
    UserEnable {
        /// The account's name.
        account: String,
        /// The extension.
        extension: String,
        /// In or out.
        enabled: bool,
    },
    /// Adds a static peer.
    PeerAdd {
        /// The account's name.
        account: String,
        /// The peer's name.
        name: String,
        /// Host name or address, with a port when it is not the default or what DNS says.
        host: String,
        /// `udp`, `tcp` or `tls`; `auto`: what DNS says of the name.
        transport: String,
        /// Its certificate is not verified.
        #[serde(default)]
        insecure: bool,
        /// Dialled strings of digits that begin so go to it.
        prefix: Option<String>,
        /// What it says about who calls is believed.
        #[serde(default)]
        trust_identity: bool,
        /// It is told who calls, private callers too.
        #[serde(default)]
        tell_identity: bool,
        /// Whether its media are to be encrypted.
        #[serde(default)]
        srtp: Srtp,
    },
    /// The static peers of an account.
    PeerList {
        /// The account's name.
        account: String,
    },
    /// Removes a static peer and the routes to it.
    PeerRemove {
        /// The account's name.
        account: String,
        /// The peer's name.
        name: String,
    },
    /// Says where a dialled string leads.
    RouteAdd {
        /// The account's name.
        account: String,
        /// The string, or a prefix of digits and `*`.
        pattern: String,
        /// Extensions that ring together.
        ring: Vec<String>,
        /// One after another.
        in_order: bool,
    },
    /// The routes of an account.
    RouteList {
        /// The account's name.
        account: String,
    },
    /// Removes a route.
    RouteRemove {
        /// The account's name.
        account: String,
        /// Its pattern.
        pattern: String,
    },
    /// SIP messages as they pass, a line each, until the asker goes.
    Trace {
        /// Only messages that contain this text.
        filter: Option<String>,
    },
    /// Takes no new calls, or takes them again.
    Drain {
        /// Which of both.
        on: bool,
    },
}

/// What comes back: `{"ok": …}` or `{"error": "…"}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What was asked for.
    Ok(serde_json::Value),
    /// Who erred and what to do, in one sentence.
    Error(String),
}

/// The longest question. Units: bytes.
pub const ASK_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_travel_as_json() {
        let text = serde_json::to_string(&Ask::Drain { on: true }).unwrap();
        assert_eq!(text, r#"{"ask":"drain","on":true}"#);
        assert!(serde_json::from_str::<Ask>(r#"{"ask":"drain","on":true,"x":1}"#).is_err());
    }
}
