//! What goes into the room and what comes out of it.

use crate::servers::Trouble;
use crate::step::Trust;
use media::command::MediaCommand;
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, Message, Outgoing, ServerTxn, Target};
use std::borrow::Cow;
use std::time::Duration;
use words::{AccountId, CallId, Fact, Flow, LegId, Party, Srtp, Time};

/// An INVITE outside dialogs, from somebody who is known and may call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invite {
    /// Its transaction.
    pub txn: ServerTxn,
    /// The request.
    pub message: Message,
    /// How it came.
    pub flow: Flow,
    /// Where else its sender is reached once the connection that it came over is gone: a peer may close those that it does
    /// not need, and opens others.
    #[serde(default)]
    pub back: Option<Target>,
    /// Whose call it is.
    pub account: AccountId,
    /// Who calls: what callees see, and what is recorded.
    pub from: Party,
    /// What its sender and we tell each other.
    pub trust: Trust,
    /// Whether its media are to be encrypted.
    pub srtp: Srtp,
    /// After how long without media an answered call ends; `None`: never.
    pub silence: Option<Duration>,
    /// What its users type before the number that they transfer to: of its account, which may say that they do not (empty);
    /// `None`: as [`Config::typed_transfer`](crate::Config::typed_transfer) says.
    pub typed_transfer: Option<Box<str>>,
}

/// Why an INVITE was not taken. The caller's answer is made by whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The reason phrase: what a person can do about it.
    pub reason: &'static str,
    /// A header that the answer needs, such as `Accept` with 415.
    pub header: Option<(sip::HeaderName, Cow<'static, str>)>,
}

/// What leaves the room, in this order.
#[derive(Debug)]
pub enum Output {
    /// A request begins.
    Request {
        /// Its name: answers come back under it.
        txn: ClientTxn,
        /// The request.
        request: Outgoing,
        /// Where it goes.
        target: Target,
    },
    /// An answer to a request.
    Respond {
        /// Whose.
        txn: ServerTxn,
        /// The answer.
        response: Outgoing,
        /// Hold it until all facts that were said before it are stored: the 200 to BYE.
        after_facts: bool,
    },
    /// An INVITE of ours is not wanted any more (RFC 3261 §9.1).
    Cancel {
        /// Which.
        txn: ClientTxn,
        /// The value of its `Reason` header.
        reason: Option<String>,
    },
    /// The ACK to a 2xx (RFC 3261 §13.2.2.4).
    Ack {
        /// The request.
        request: Outgoing,
        /// Where it goes.
        target: Target,
    },
    /// The ACK to our 2xx came: it need not be repeated.
    Acked(ServerTxn),
    /// For the relay.
    Media(MediaCommand),
    /// Something happened. A leg that is up when its call ends has no end of its own: the call's end is its end.
    Fact {
        /// Whose.
        account: AccountId,
        /// What.
        fact: Fact,
    },
    /// What is to happen to a call? The answer is [`crate::Calls::apply`].
    AskPlan {
        /// The call.
        call: CallId,
    },
    /// Where does a leg that answered 3xx send the call? The answer is [`crate::Calls::redirect`].
    AskRedirect {
        /// The leg.
        leg: LegId,
    },
    /// A server of a peer failed: others are to be called before it for a while.
    ServerFailed {
        /// Where it is.
        target: Target,
        /// What happened.
        trouble: Trouble,
    },
    /// Nothing more now; wake the room then, if at all.
    Timeout(Option<Time>),
}
