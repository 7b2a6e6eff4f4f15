//! What people and programs may ask of the running exchange.

use crate::account::Peer;
use crate::need::Need;
use crate::view::{BanView, CallView, PeerView, PhoneView, Status};
use registrar::watch::Messages;
use words::{AccountId, CallId, EndCause, UserId};

/// A question or an order. Each gets one [`Reply`].
#[derive(Clone, Debug)]
pub enum Command {
    /// The calls that are up, of one account or of all.
    Calls {
        /// Whose.
        account: Option<AccountId>,
    },
    /// One call.
    Call {
        /// Which.
        call: CallId,
    },
    /// Ends a call.
    HangUp {
        /// Which.
        call: CallId,
        /// What its record says.
        cause: EndCause,
    },
    /// The registered devices, of one account or of all.
    Phones {
        /// Whose.
        account: Option<AccountId>,
    },
    /// The sources that are shut out for wrong passwords.
    Bans,
    /// Lets a source in again.
    Unban {
        /// Its address.
        source: std::net::IpAddr,
    },
    /// A stored record changed: the next one who needs it asks again.
    Changed {
        /// Which.
        need: Need,
    },
    /// An account changed, or was made.
    AccountChanged {
        /// Which.
        account: AccountId,
    },
    /// A user's password was reset or the user was disabled: registrations end at once.
    UserRevoked {
        /// Whose account.
        account: AccountId,
        /// Who.
        user: UserId,
        /// The user name of its credentials.
        auth_user: String,
    },
    /// Tells the devices of a user to read their settings anew.
    CheckSync {
        /// Who.
        user: UserId,
        /// Whether they are to start anew even when nothing changed.
        reboot: bool,
    },
    /// A mailbox has so many messages from now on.
    Messages {
        /// Whose.
        user: UserId,
        /// How many.
        messages: Messages,
    },
    /// The static peers, all of them.
    Peers {
        /// The list that replaces the one before.
        peers: Vec<Peer>,
    },
    /// The realms of all accounts, for answers to those whom nobody knows.
    Realms {
        /// The list that replaces the one before.
        realms: Vec<String>,
        /// The account, when there is only one.
        sole: Option<AccountId>,
    },
    /// Where the static peers are, and which of their servers are down.
    PeersSeen,
    /// Counts.
    Status,
    /// Takes no new call from here on (`true`), or again (`false`).
    Drain {
        /// Which of both.
        on: bool,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// Done; `true` when there was something to do.
    Done(bool),
    /// Calls.
    Calls(Vec<CallView>),
    /// Devices.
    Phones(Vec<PhoneView>),
    /// Bans.
    Bans(Vec<BanView>),
    /// Static peers.
    Peers(Vec<PeerView>),
    /// Counts.
    Status(Status),
}
