//! What a leg has beyond a plain call. Most legs have nothing of it, and pay nothing for it.

use crate::digits::Typed;
use crate::end::Said;
use crate::leg::Leg;
use crate::prack::Heard;
use crate::refer::Referral;
use crate::reliable::Told;
use crate::servers::Servers;
use crate::session::Session;
use crate::step::{DialTarget, Diverted};
use media::own::Extended;
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, Target};
use words::{LegId, Time};

/// What a leg has beyond a plain call.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct More {
    /// What it was called with, until it answers: it may have to be called again.
    pub(crate) dialled: Option<Dialled>,
    /// Its session timer (RFC 4028).
    pub(crate) session: Option<Session>,
    /// Our UPDATE that refreshes it.
    pub(crate) refreshing: Option<ClientTxn>,
    /// What it is told about what it referred to.
    pub(crate) referral: Option<Referral>,
    /// What it is told reliably before the answer (RFC 3262 §3).
    pub(crate) told: Option<Box<Told>>,
    /// What it says reliably before the answer (RFC 3262 §4).
    pub(crate) heard: Option<Box<Heard>>,
    /// It came from another call, as its tag tells.
    pub(crate) moved: bool,
    /// Whom the caller holds meanwhile on this leg of another call: he comes in when the caller hangs up.
    pub(crate) consults: Option<LegId>,
    /// Its own goodbye is here and only waits for its answer: it gets none of ours.
    #[serde(default)]
    pub(crate) leaves: bool,
    /// What it types while it talks.
    #[serde(default)]
    pub(crate) typed: Option<Box<Typed>>,
    /// Where it is reached once its connection is gone.
    #[serde(default)]
    pub(crate) back: Option<Box<Target>>,
    /// The extended reports that its last description wants (RFC 3611 §5).
    #[serde(default)]
    pub(crate) reports: Option<Extended>,
}

/// What an INVITE of ours outside dialogs is made of.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Dialled {
    /// The Request-URI.
    pub(crate) request_uri: String,
    /// The URI in To.
    pub(crate) to_uri: String,
    /// Route values in order.
    pub(crate) route: Vec<String>,
    /// Who sent the call there instead.
    pub(crate) diverted: Option<Diverted>,
    /// The session that it asks for and the shortest that it would take; 0: none. Units: seconds.
    pub(crate) session_s: (u32, u32),
    /// How often it asked for a longer one.
    pub(crate) raised: u8,
    /// The servers to call when this one fails.
    pub(crate) servers: Option<Box<Servers>>,
    /// Until when this one has to say something.
    pub(crate) patience: Option<Time>,
    /// Where else it is, should the way to it fail.
    #[serde(default)]
    pub(crate) instead: Option<Box<DialTarget>>,
}

impl More {
    fn is_empty(&self) -> bool {
        let More { dialled, session, refreshing, referral, told, heard, moved, consults, leaves, typed, back, reports } =
            self;
        let timed = session.is_some() || refreshing.is_some();
        let early = told.is_some() || heard.is_some();
        let coded = consults.is_some() || *leaves || typed.is_some();
        let elsewhere = *moved || back.is_some() || reports.is_some();
        dialled.is_none() && !timed && referral.is_none() && !early && !elsewhere && !coded
    }
}

impl Leg {
    /// What it has beyond a plain call; made when first needed.
    pub(crate) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Whether it came from another call.
    pub(crate) fn is_moved(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.moved)
    }

    /// Once its connection is gone it is reached there.
    pub(crate) fn comes_back_by(&mut self, back: Option<Target>) {
        if let Some(back) = back {
            self.more().back = Some(Box::new(back));
        }
    }

    /// Where it is reached once its connection is gone; `None` when nowhere.
    pub(crate) fn back(&self) -> Option<Target> {
        self.more.as_ref()?.back.as_deref().copied()
    }

    /// The extended reports that it wants, as it said last.
    pub(crate) fn reports(&self) -> Option<Extended> {
        self.more.as_ref()?.reports
    }

    /// Takes note of what its description says of them: what it is offered from then on says so, too.
    pub(crate) fn wants_reports(&mut self, said: &Said) {
        if said.reports != self.reports() {
            self.more().reports = said.reports;
        }
    }

    /// What it is told about what it referred to, once it did.
    pub(crate) fn referral(&mut self) -> Option<&mut Referral> {
        self.more.as_mut().and_then(|more| more.referral.as_mut())
    }

    /// It answered: what it was called with and what it said before are not needed any more. Gives the shortest session
    /// that it was offered.
    pub(crate) fn forget_dialled(&mut self) -> u32 {
        let Some(mut more) = self.more.take() else { return 0 };
        let dialled = more.dialled.take();
        more.heard = None;
        // A call that is up keeps no room for what it does not have.
        self.more = (!more.is_empty()).then_some(more);
        dialled.map_or(0, |dialled| dialled.session_s.1)
    }

    /// What it was told before the answer does not matter any more.
    pub(crate) fn forget_told(&mut self) {
        if let Some(more) = &mut self.more {
            more.told = None;
        }
        self.more.take_if(|more| more.is_empty());
    }
}
