//! The one stream: facts that happened, in order, each written once. CDR, registrations and the console are folds of it.

use crate::{AccountId, CallId, LegFigures, LegId, PeerId, Pii, Seq, ShardId, Time, Transport, UserId, Wall};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A fact with its place in the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Which loop said it.
    pub shard: ShardId,
    /// Its place in that loop's stream.
    pub seq: Seq,
    /// Whose it is.
    pub account: AccountId,
    /// When, on the monotonic clock: durations are differences of these.
    pub at: Time,
    /// When, for people.
    pub wall: Wall,
    /// What happened.
    pub fact: Fact,
}

/// Who somebody in a call is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The user part or number, as it was signalled.
    pub number: Pii,
    /// The display name; empty when none.
    #[serde(default)]
    pub name: Pii,
    /// The user of the account, when it is one.
    #[serde(default)]
    pub user: Option<UserId>,
    /// The static peer, when it came from or goes to one.
    #[serde(default)]
    pub peer: Option<PeerId>,
    /// Others are not to know who it is (RFC 3323): people and peers that are not trusted see nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// An INVITE was accepted for handling.
    CallOpened {
        /// The call.
        call: CallId,
        /// Who calls.
        from: Party,
        /// What was dialled.
        to: Party,
        /// The caller's Call-ID header, to find it in traces.
        sip_call_id: String,
        /// The address the INVITE came from.
        source: SocketAddr,
    },
    /// A leg towards somebody was begun.
    LegOpened {
        /// The leg.
        leg: LegId,
        /// Whom it rings.
        to: Party,
    },
    /// A leg said that it rings.
    LegRang {
        /// The leg.
        leg: LegId,
    },
    /// A leg is out of a call that goes on: it failed, lost, or somebody else took its place.
    LegEnded {
        /// The leg.
        leg: LegId,
        /// Why.
        cause: EndCause,
    },
    /// The call was answered: talk time begins here.
    CallAnswered {
        /// The call.
        call: CallId,
        /// The leg that won; `None` when the exchange itself answered (echo, tone).
        by: Option<LegId>,
        /// Who answered.
        who: Party,
    },
    /// Somebody took the place of a leg (RFC 3515, RFC 3891). Where two calls were joined, each of both says so: the one
    /// that goes on, and the one that ends with [`EndCause::Transferred`].
    CallTransferred {
        /// The call.
        call: CallId,
        /// The leg whose place was taken: who transferred, as a rule.
        by: LegId,
        /// The leg of this call that took it; `None` when that is the exchange itself, or a leg of `with`.
        to: Option<LegId>,
        /// Who is there now.
        who: Party,
        /// The other call, where two were joined.
        with: Option<CallId>,
    },
    /// The call is over: exactly one per [`Fact::CallOpened`].
    CallEnded {
        /// The call.
        call: CallId,
        /// Why.
        cause: EndCause,
        /// The leg that ended it; `None` when the exchange did.
        by: Option<LegId>,
    },
    /// How well the media of a leg went. Told when its ports are free again: after [`Fact::CallEnded`], as a rule.
    LegMeasured {
        /// The leg.
        leg: LegId,
        /// What is known.
        figures: Box<LegFigures>,
    },
    /// A Contact was bound or refreshed (RFC 3261 §10.3).
    Bound {
        /// Whose.
        user: UserId,
        /// The binding, whole: it replaces the one with the same key.
        binding: StoredBinding,
    },
    /// A Contact is no longer bound.
    Unbound {
        /// Whose.
        user: UserId,
        /// The key of the binding, see [`StoredBinding::key`].
        key: String,
    },
    /// Somebody watches something, or goes on doing so (RFC 6665 §4.2.1).
    Subscribed {
        /// Who watches.
        user: UserId,
        /// The subscription, whole: it replaces the one with the same key.
        subscription: Box<StoredSubscription>,
    },
    /// A subscription is over.
    Unsubscribed {
        /// Who watched.
        user: UserId,
        /// The key of the subscription, see [`StoredSubscription::key`].
        key: String,
    },
}

/// A registration's Contact as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredBinding {
    /// What tells it apart from the user's others: `instance;reg-id` or the Contact URI.
    pub key: String,
    /// The Contact URI as the device wrote it.
    pub contact: String,
    /// The transport it registered over.
    pub transport: Transport,
    /// The listener it registered at.
    pub listener: u16,
    /// Our address it registered at.
    pub local: SocketAddr,
    /// The address it registered from: calls go there.
    pub source: SocketAddr,
    /// Path values, outermost first (RFC 3327); empty when none.
    #[serde(default)]
    pub path: Vec<String>,
    /// Preference in thousandths, 0…1000 (RFC 3261 §20.10).
    pub q: u16,
    /// The Call-ID of the REGISTER.
    pub call_id: String,
    /// Its CSeq.
    pub cseq: u32,
    /// The instance id (RFC 5626), without quotes.
    #[serde(default)]
    pub instance: Option<String>,
    /// The reg-id (RFC 5626).
    #[serde(default)]
    pub reg_id: Option<u32>,
    /// The User-Agent header.
    #[serde(default)]
    pub agent: String,
    /// Whether the source differs from the Contact: the device sits behind NAT.
    pub nat: bool,
    /// When it ends.
    pub expires: Wall,
    /// Whether the device says that it does ICE (RFC 5768 §5).
    #[serde(default)]
    pub ice: bool,
}

/// A subscription as the store keeps it: its dialog, and where its NOTIFYs go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredSubscription {
    /// Our tag in its dialog, which tells it apart from all others.
    pub key: String,
    /// The event package (RFC 6665 §8.2.1).
    pub package: String,
    /// The id of the event.
    #[serde(default)]
    pub id: Option<String>,
    /// Who is watched.
    pub subject: UserId,
    /// The subject as others call it: `sip:extension@domain`.
    pub entity: String,
    /// Call-ID.
    pub call_id: String,
    /// We, as From of our requests.
    pub local: String,
    /// The subscriber, as To of our requests.
    pub remote: String,
    /// The subscriber's tag.
    pub remote_tag: String,
    /// The subscriber's Contact.
    pub target: String,
    /// The route set, nearest first; empty when none.
    #[serde(default)]
    pub route: Vec<String>,
    /// Whether its dialog is `sips` (RFC 3261 §12.1.1).
    #[serde(default)]
    pub secure: bool,
    /// The highest CSeq of the subscriber.
    pub cseq: u32,
    /// The transport of its flow.
    pub transport: Transport,
    /// The listener of its flow.
    pub listener: u16,
    /// Our address on its flow.
    pub local_address: SocketAddr,
    /// The address that it speaks from: NOTIFYs go there.
    pub source: SocketAddr,
    /// When it began.
    pub began: Wall,
    /// When it ends.
    pub expires: Wall,
}

/// Why a leg or call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Somebody hung up after an answer.
    Normal,
    /// The caller gave up before an answer.
    Cancelled,
    /// The callee is busy.
    Busy,
    /// Nobody answered in time.
    NoAnswer,
    /// The callee declined.
    Declined,
    /// Somebody else answered.
    AnsweredElsewhere,
    /// What was dialled does not exist or cannot be reached.
    NotFound,
    /// The callee is known and not registered.
    Unavailable,
    /// The media of the two sides do not fit.
    MediaMismatch,
    /// No media for the configured time.
    MediaLost,
    /// The other side stopped speaking SIP: no ACK, no answer, connection gone.
    SignallingLost,
    /// The call reached the longest time allowed.
    TooLong,
    /// An operator of the exchange ended it.
    Administrative,
    /// The exchange had no room: ports, limits, store.
    Overload,
    /// A failure of the other side with this status that fits nothing above.
    Failed(u16),
    /// The exchange was stopped or killed in the middle; closed at the next start.
    Interrupted,
    /// Our own fault.
    Internal,
    /// Its two sides go on in another call, or a leg's place was taken by another one.
    Transferred,
}
