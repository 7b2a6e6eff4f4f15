//! The read-only picture of calls.

use crate::identity::call_id_value;
use crate::leg::{Leg, LegState};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use words::{AccountId, CallId, Flow, LegId, Party, PeerId, Time, UserId};

/// Whose dialog a message belongs to, and from where that side may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegView {
    /// The leg, and with it the call.
    pub leg: LegId,
    /// Whose call.
    pub account: AccountId,
    /// The flow that it speaks through.
    pub flow: Flow,
    /// The user at its end, when it is one.
    pub user: Option<UserId>,
    /// The peer at its end, when it is one.
    pub peer: Option<PeerId>,
    /// The server behind that peer which it named to be spoken to: from there it may speak, too.
    pub hop: Option<IpAddr>,
}

/// What is to be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Whose call.
    pub account: AccountId,
    /// What was dialled, by the caller or by who transfers.
    pub number: &'a str,
    /// Who dialled it: it is his rights that count.
    pub by: &'a Party,
    /// The URI that was dialled, where it may name another host than ours: in a transfer.
    pub uri: Option<&'a str>,
    /// The `gr` of what was dialled: one device is meant (RFC 5627 §3.1).
    pub gr: Option<&'a str>,
    /// What was dialled is `sips`: each hop to whoever answers is to be TLS (RFC 3261 §26.2.2).
    pub secure: bool,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CallState {
    /// Nobody answered yet.
    Ringing,
    /// Answered.
    Answered,
    /// Over; last answers are awaited.
    Ended,
}

impl CallState {
    /// Its word for people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            CallState::Ringing => "ringing",
            CallState::Answered => "answered",
            CallState::Ended => "ended",
        }
    }
}

/// A call as others may see it.
#[derive(Clone, Debug)]
pub struct CallView<'a> {
    /// Which.
    pub call: CallId,
    /// Whose.
    pub account: AccountId,
    /// Who calls.
    pub from: &'a Party,
    /// What was dialled.
    pub to: &'a Party,
    /// Where it stands.
    pub state: CallState,
    /// When it began.
    pub began: Time,
    /// When it was answered.
    pub answered: Option<Time>,
    /// Its legs, the caller's first.
    pub legs: Vec<LegLine<'a>>,
}

/// A leg in a [`CallView`].
#[derive(Clone, Copy, Debug)]
pub struct LegLine<'a> {
    /// Its number.
    pub n: u16,
    /// Who is there.
    pub party: &'a Party,
    /// With whom: who was dialled, until somebody answers.
    pub other: &'a Party,
    /// Where it stands.
    pub state: LegState,
    /// The flow that it speaks through.
    pub flow: Flow,
    /// Whether it does not listen: it holds the other.
    pub holds: bool,
    /// Whether the other does not listen.
    pub held: bool,
    pub(crate) call: CallId,
    pub(crate) leg: &'a Leg,
    pub(crate) early_tag: &'a str,
}

/// What a leg's dialog is known by (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogIds {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub ours: String,
    /// The other side's; empty while it has none, or nobody observed calls when it told it.
    pub theirs: String,
    /// Whether it began with an INVITE of ours.
    pub is_ours: bool,
}

impl LegLine<'_> {
    /// What its dialog is known by.
    pub fn ids(&self) -> DialogIds {
        let (call_id, theirs) = match &self.leg.dialog {
            Some(dialog) => (dialog.call_id.clone(), dialog.remote_tag.clone()),
            None => (call_id_value(self.call, self.n), self.early_tag.to_owned()),
        };
        let is_ours = call_id.split_once('-').is_some_and(|(call, _)| call.parse::<CallId>().is_ok());
        DialogIds { call_id, ours: self.leg.tag.text().as_str().to_owned(), theirs, is_ours }
    }
}
