//! Verbs that become a question to the running server.

use api::Ask;
use clap::Subcommand;
use std::io::Read;
use std::net::IpAddr;
use words::{Secret, Srtp};

/// `crosspoint account`
#[derive(Debug, Subcommand)]
pub(crate) enum AccountVerb {
    /// Makes an account.
    Create {
        /// Its short name.
        name: String,
        /// Its SIP domain; the name when absent.
        #[arg(long)]
        domain: Option<String>,
    },
    /// Changes what can be set of an account; what is not named stays.
    Set {
        /// Its short name.
        name: String,
        /// What its users type while talking, before a number and `#`, to send the other side there, such as `*2`; `off`:
        /// nothing, `default`: as `codes.typed_transfer` of the configuration says.
        #[arg(long)]
        typed_transfer: Option<String>,
        /// How many seconds an extension rings before the caller hears that nobody answers.
        #[arg(long)]
        ring_for: Option<u32>,
    },
    /// Lists accounts.
    List,
}

/// `crosspoint user`
#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Makes a user and prints the phone's credentials once.
    Add {
        /// The account.
        account: String,
        /// The extension.
        extension: String,
        /// The display name.
        #[arg(long)]
        name: Option<String>,
        /// The user name of the credentials; chosen when absent.
        #[arg(long)]
        auth_user: Option<String>,
        /// Reads the password from standard input instead of making one.
        #[arg(long)]
        password_stdin: bool,
        /// `all`, `md5` or `sha256`: which digests the device may use.
        #[arg(long)]
        algorithms: Option<String>,
        /// `off`, `optional` (where it asks for it, or its signalling is encrypted) or `required`: whether its media are
        /// encrypted.
        #[arg(long, default_value = "optional")]
        srtp: Srtp,
    },
    /// Lists the users of an account.
    List {
        /// The account.
        account: String,
    },
    /// Gives a user a new password; its devices are out within a second.
    Reset {
        /// The account.
        account: String,
        /// The extension.
        extension: String,
        /// Reads the password from standard input instead of making one.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Shuts a user out within a second.
    Disable {
        /// The account.
        account: String,
        /// The extension.
        extension: String,
    },
    /// Lets a user in again.
    Enable {
        /// The account.
        account: String,
        /// The extension.
        extension: String,
    },
}

/// `crosspoint peer`
#[derive(Debug, Subcommand)]
pub(crate) enum PeerVerb {
    /// Adds a peer; with `--prefix`, numbers that begin so go to it.
    Add {
        /// The account.
        account: String,
        /// The peer's name.
        name: String,
        /// Host name or address, with a port when it is not the default. A name without a port is looked up by NAPTR and SRV.
        host: String,
        /// `udp`, `tcp` or `tls`; `auto`: what DNS says of a name, UDP to an address.
        #[arg(long, default_value = "auto")]
        transport: String,
        /// Takes any certificate of it. Whoever sits between hears the calls.
        #[arg(long)]
        insecure: bool,
        /// Dialled strings of digits that begin so go to it.
        #[arg(long)]
        prefix: Option<String>,
        /// Believe what it says about who calls and about where a call was before (P-Asserted-Identity, Diversion).
        #[arg(long)]
        trust_identity: bool,
        /// Tell it who calls (P-Asserted-Identity), callers too who want that kept from others.
        #[arg(long)]
        tell_identity: bool,
        /// `off`, `optional` (where it asks for it, or its signalling is encrypted) or `required`: whether its media are
        /// encrypted.
        #[arg(long, default_value = "optional")]
        srtp: Srtp,
    },
    /// Lists the peers of an account, where they are, and which of their servers are down.
    List {
        /// The account.
        account: String,
    },
    /// Removes a peer and the routes to it.
    Remove {
        /// The account.
        account: String,
        /// The peer's name.
        name: String,
    },
}

/// `crosspoint route`
#[derive(Debug, Subcommand)]
pub(crate) enum RouteVerb {
    /// Makes a ring list: `route add office 600 --ring 101,102`.
    Add {
        /// The account.
        account: String,
        /// The dialled string, or a prefix of digits and `*`.
        pattern: String,
        /// Extensions that ring.
        #[arg(long, value_delimiter = ',', required = true)]
        ring: Vec<String>,
        /// One after another instead of together.
        #[arg(long)]
        in_order: bool,
    },
    /// Lists the routes of an account.
    List {
        /// The account.
        account: String,
    },
    /// Removes a route.
    Remove {
        /// The account.
        account: String,
        /// Its pattern.
        pattern: String,
    },
}

/// `crosspoint phones`
#[derive(Debug, Subcommand)]
pub(crate) enum PhonesVerb {
    /// Sources that are shut out for wrong passwords.
    Bans,
    /// Lets a source in again.
    Unban {
        /// Its address.
        source: IpAddr,
    },
    /// Tells a user's devices to read their settings anew.
    CheckSync {
        /// The extension, or the user name of the credentials.
        user: String,
        /// The account, where several have such a user.
        #[arg(long)]
        account: Option<String>,
        /// They start anew even when nothing changed.
        #[arg(long)]
        reboot: bool,
    },
}

impl AccountVerb {
    pub(crate) fn ask(self) -> Ask {
        match self {
            AccountVerb::Create { name, domain } => Ask::AccountCreate { name, domain },
            AccountVerb::Set { name, typed_transfer, ring_for } => {
                Ask::AccountSet { name, typed_transfer, ring_for_s: ring_for }
            }
            AccountVerb::List => Ask::AccountList,
        }
    }
}

impl UserVerb {
    pub(crate) fn ask(self) -> std::io::Result<Ask> {
        Ok(match self {
            UserVerb::Add { account, extension, name, auth_user, password_stdin, algorithms, srtp } => {
                let password = password(password_stdin)?;
                Ask::UserAdd { account, extension, name, auth_user, password, algorithms, srtp }
            }
            UserVerb::List { account } => Ask::UserList { account },
            UserVerb::Reset { account, extension, password_stdin } => {
                Ask::UserReset { account, extension, password: password(password_stdin)? }
            }
            UserVerb::Disable { account, extension } => Ask::UserEnable { account, extension, enabled: false },
            UserVerb::Enable { account, extension } => Ask::UserEnable { account, extension, enabled: true },
        })
    }
}

impl PeerVerb {
    pub(crate) fn ask(self) -> Ask {
        match self {
            PeerVerb::Add { account, name, host, transport, insecure, prefix, trust_identity, tell_identity, srtp } => {
                Ask::PeerAdd { account, name, host, transport, insecure, prefix, trust_identity, tell_identity, srtp }
            }
            PeerVerb::List { account } => Ask::PeerList { account },
            PeerVerb::Remove { account, name } => Ask::PeerRemove { account, name },
        }
    }
}

impl RouteVerb {
    pub(crate) fn ask(self) -> Ask {
        match self {
            RouteVerb::Add { account, pattern, ring, in_order } => Ask::RouteAdd { account, pattern, ring, in_order },
            RouteVerb::List { account } => Ask::RouteList { account },
            RouteVerb::Remove { account, pattern } => Ask::RouteRemove { account, pattern },
        }
    }
}

impl PhonesVerb {
    pub(crate) fn ask(self) -> Ask {
        match self {
            PhonesVerb::Bans => Ask::Bans,
            PhonesVerb::Unban { source } => Ask::Unban { source },
            PhonesVerb::CheckSync { user, account, reboot } => Ask::CheckSync { account, user, reboot },
        }
    }
}

/// The first line of standard input, when a password is to come from there: it never stands in a process list.
fn password(from_stdin: bool) -> std::io::Result<Option<Secret>> {
    if !from_stdin {
        return Ok(None);
    }
    let mut text = String::new();
    std::io::stdin().take(PASSWORD_BYTES).read_to_string(&mut text)?;
    Ok(Some(Secret::new(text.lines().next().unwrap_or_default())))
}

/// The longest password that is read. Units: bytes.
const PASSWORD_BYTES: u64 = 1024;
