//! What a call can be told. Steps are data: a built-in route and a scenario say the same ones.

use crate::servers::Servers;
use media::command::Sound;
use serde::{Deserialize, Deserializer, Serialize};
use sip::endpoint::Target;
use std::time::Duration;
use words::{EndCause, LegId, Party, Srtp};

/// One thing for a call to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// 180 to the caller, and nothing else until somebody cancels, tells another step, or the ring time is over.
    Ring,
    /// 183 with SDP to the caller, who hears `sound` (or silence) before an answer.
    Progress {
        /// What is heard.
        sound: Option<Sound>,
    },
    /// 200 to the caller; the exchange is the other side.
    Answer,
    /// Answer, and send the caller's media back.
    Echo,
    /// Answer if need be, and play.
    Play {
        /// What is heard.
        sound: Sound,
    },
    /// Answers after `delay`; steps that are told meanwhile wait for it.
    AnswerAfter {
        /// How long the caller waits.
        delay: Duration,
    },
    /// A final failure to the caller: the call ends.
    Reject {
        /// 300…699; others become 500.
        status: u16,
        /// The reason phrase; empty for the usual one.
        reason: String,
        /// What the record says.
        cause: EndCause,
    },
    /// Rings targets: those of equal order together, then those of the next. Who answers first talks.
    Dial {
        /// At least one, at most [`MAX_TARGETS`]; at most [`words::limit::FORK_WIDTH`] of equal order.
        targets: Vec<DialTarget>,
        /// How long those of equal order ring.
        ring_for: Duration,
    },
    /// From here on nobody but the account's own people knows who calls: as if the caller had asked for privacy.
    Hide,
    /// Who is held on a leg of another call goes to a number: a blind transfer (RFC 5589 §6). This call itself goes on
    /// with its next step.
    HandOver {
        /// The leg, as [`crate::Calls::held_by`] gave it.
        held: LegId,
        /// Where to, as its user would dial it.
        number: String,
    },
    /// When the caller hangs up, who is held on a leg of another call takes his place: an attended transfer (RFC 5589
    /// §7), semi-attended while it rings.
    Consult {
        /// The leg, as [`crate::Calls::held_by`] gave it.
        held: LegId,
    },
    /// Ends the call.
    Hangup {
        /// What the record says.
        cause: EndCause,
    },
}

/// Somebody to ring.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DialTarget {
    /// Who that is, for the records.
    pub to: Party,
    /// The Request-URI: the Contact a device registered, or the peer's URI.
    pub request_uri: String,
    /// Where the INVITE and all later requests go.
    pub target: Target,
    /// Route values in order (the Path of the registration, RFC 3327 §5.3); empty when none.
    pub route: Vec<String>,
    /// The URI in To, without brackets.
    pub to_uri: String,
    /// Equal ones ring together, higher ones after them.
    pub order: u32,
    /// Whether it sits behind NAT: its media may come from another address than its SDP says.
    pub nat: bool,
    /// Whether it says that it does ICE (RFC 5768 §5): then it is offered it.
    #[serde(default)]
    pub ice: bool,
    /// Who sent the call here instead, when somebody did.
    pub diverted: Option<Diverted>,
    /// What it and we tell each other.
    #[serde(default)]
    pub trust: Trust,
    /// What else to call when nobody answers at `target`; `None` when there is but one place.
    pub servers: Option<Box<Servers>>,
    /// The same device by another flow, where this one fails (RFC 5626 §5.3).
    pub instead: Option<Box<DialTarget>>,
    /// Whether its media are to be encrypted.
    #[serde(default)]
    pub srtp: Srtp,
}

/// What a side of a call and we tell each other about who somebody is: whether it belongs to our trust domain (RFC 3325
/// §2.3). Users' phones do not: what they say about themselves is not believed, what others want to hide they do not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// What it says about who calls, and about where a call was before, is believed.
    pub believed: bool,
    /// It is told who calls, also when the caller wants that kept from others: it will keep it.
    pub told: bool,
}

/// A diversion (RFC 5806).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diverted {
    /// Who was called before.
    pub by: Party,
    /// Why, as `Diversion` says it.
    #[serde(deserialize_with = "reason")]
    pub reason: DiversionReason,
}

/// One of those that are named here.
pub type DiversionReason = &'static str;

/// A diversion because nobody answered.
pub(crate) const NO_ANSWER: DiversionReason = "no-answer";

/// A diversion whatever happens.
pub(crate) const UNCONDITIONAL: DiversionReason = "unconditional";

/// Reads the reason of a diversion in a snapshot.
pub(crate) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DiversionReason, D::Error> {
    let written = String::deserialize(deserializer)?;
    let known = [NO_ANSWER, UNCONDITIONAL].into_iter().find(|known| *known == written);
    known.ok_or_else(|| serde::de::Error::custom("a diversion without a reason"))
}

/// A step that a call cannot take where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The call is not (or no longer) there.
    #[error("no such call")]
    NoCall,
    /// The call was answered already: what rings or refuses comes too late.
    #[error("the call is answered")]
    Answered,
    /// Nobody to dial.
    #[error("no target")]
    NoTarget,
    /// More targets than a call may ring.
    #[error("too many targets")]
    TooWide,
    /// Targets ring already.
    #[error("the call rings others")]
    Dialling,
    /// The caller's description has nothing that the exchange can hear or play; the call ended with 488.
    #[error("no codec in common")]
    NoCommonCodec,
    /// No media port is free; the call ended with 503.
    #[error("no media port")]
    NoPort,
    /// Too many steps wait.
    #[error("too many steps wait")]
    Full,
}

/// The most targets of one [`Step::Dial`], over all orders.
pub const MAX_TARGETS: usize = 128;

/// The most steps that wait for an [`Step::AnswerAfter`].
pub const MAX_WAITING: usize = 8;
