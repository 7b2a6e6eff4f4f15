//! What goes into the room and what comes out of it.

use sip::{Message, Outgoing};
use words::{AccountId, Clock, Fact, Flow, Time, UserId};

/// Who is watched, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The account of both.
    pub account: AccountId,
    /// Who watches; it has proven its password.
    pub watcher: UserId,
    /// Who is watched.
    pub subject: UserId,
    /// The subject as others call it: `sip:extension@domain`.
    pub entity: String,
}

/// A SUBSCRIBE, or a REGISTER that shows where a subscriber is.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The message.
    pub message: &'a Message,
    /// How it came.
    pub flow: Flow,
    /// Our `host:port` on that flow, as the sender should be told it.
    pub host: &'a str,
    /// Both clocks.
    pub clock: &'a Clock,
}

/// The answer to a SUBSCRIBE that was taken: 200 with these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Our tag.
    pub tag: String,
    /// The value of Contact.
    pub contact: String,
    /// For how long. Units: seconds.
    pub expires_s: u32,
}

/// Whose subscription a request belongs to, and from where its subscriber may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionView {
    /// Whose account.
    pub account: AccountId,
    /// Who watches.
    pub watcher: UserId,
    /// The flow that its NOTIFYs take.
    pub flow: Flow,
}

/// Names a NOTIFY until its answer; below 2⁶².
pub type NotifyId = u64;

/// What became of a NOTIFY.
#[derive(Clone, Copy, Debug)]
pub enum Notified<'a> {
    /// A final answer.
    Answer(&'a Message),
    /// None in time.
    Timeout,
    /// It could not be sent.
    TransportFailed,
}

/// What the room wants.
#[derive(Debug)]
pub enum Output {
    /// Send this NOTIFY and say [`super::Watch::notified`].
    Notify {
        /// Its name.
        id: NotifyId,
        /// The request.
        request: Outgoing,
        /// Its way.
        flow: Flow,
    },
    /// Store this.
    Fact {
        /// Whose.
        account: AccountId,
        /// What happened.
        fact: Fact,
    },
    /// Somebody is interested in whether this user can be reached, or nobody any more.
    Heed {
        /// Who.
        user: UserId,
        /// Which of both.
        on: bool,
    },
    /// Nothing more until then.
    Timeout(Option<Time>),
}
