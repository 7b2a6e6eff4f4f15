//! One port for the media of many legs: who can be told from all others there, and is told that port; and why others have
//! ports of their own.
//!
//! A leg is known by the address that its description names, if it is not behind NAT and nobody else has that address; or
//! by the SSRC that it names. Whoever is called must be told a port before that is known: where a phone of the same site
//! or of IPv6 describes itself is believed in advance.

use crate::call::Call;
use crate::desk::{Desk, is_public};
use crate::end::Said;
use crate::leg::{Leg, LegState};
use crate::secure::{Offered, Saying};
use media::command::{OwnPorts, PortPair, SHARING_WORKER, SourceRule, Terms, Whereabouts};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use words::{Flow, LegId, OwnMap, Party};

/// Which port the legs of an end are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Port {
    /// Its own.
    #[default]
    Own,
    /// Its own, though there is one to share.
    OwnAsIs(OwnPorts),
    /// The one that many share.
    Shared,
}

impl Port {
    /// Its number.
    pub(crate) fn told(self, single: Option<u16>, own: PortPair) -> u16 {
        match self {
            Port::Own | Port::OwnAsIs(_) => own.rtp_port,
            Port::Shared => single.unwrap_or(own.rtp_port),
        }
    }

    /// What the relay must know of it.
    pub(crate) fn whereabouts(self, ssrc: Option<u32>) -> Whereabouts {
        let none = Whereabouts::default();
        match self {
            Port::Own => none,
            Port::OwnAsIs(why) => Whereabouts { own: Some(why), ..none },
            Port::Shared => Whereabouts { single_port: true, ssrc, ..none },
        }
    }
}

/// By what the ends that share the port are known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sources {
    addresses: OwnMap<SocketAddr, LegId>,
    ssrcs: OwnMap<u32, LegId>,
}

impl Sources {
    /// An end's setting changes.
    pub(crate) fn change(&mut self, end: LegId, before: Option<&Terms>, next: Option<&Terms>) {
        if let Some((address, ssrc)) = before.and_then(marks) {
            if let Some(address) = address.filter(|address| self.addresses.get(address) == Some(&end)) {
                self.addresses.remove(&address);
            }
            if let Some(ssrc) = ssrc.filter(|ssrc| self.ssrcs.get(ssrc) == Some(&end)) {
                self.ssrcs.remove(&ssrc);
            }
        }
        if let Some((address, ssrc)) = next.and_then(marks) {
            address.map(|address| *self.addresses.entry(address).or_insert(end));
            ssrc.map(|ssrc| *self.ssrcs.entry(ssrc).or_insert(end));
        }
    }

    /// Whether nobody is known by anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.ssrcs.is_empty()
    }
}

/// By what an end is known that shares the port.
fn marks(setting: &Terms) -> Option<(Option<SocketAddr>, Option<u32>)> {
    let Whereabouts { single_port, ssrc, .. } = setting.whereabouts;
    let described = setting.source != SourceRule::LearnOnce;
    single_port.then(|| (setting.remote.map(|remote| remote.rtp).filter(|_| described), ssrc))
}

impl Call {
    /// Settles which port our next description to a leg names.
    pub(crate) fn choose_port(&mut self, desk: &Desk, at: usize, saying: Saying<'_>) {
        let leg = &self.legs[at];
        let end = &self.ends[leg.end];
        let port = match saying {
            Saying::Answer(offer) => tell(desk, leg, end.name, &Said::of(offer)).unwrap_or(end.single),
            // What it was told in this call stays as long as it asks for nothing else.
            Saying::Offer if leg.state == LegState::Confirmed && end.setting().is_some() => end.single,
            Saying::Offer => match in_advance(&leg.party, leg.nat, &leg.flow) {
                // It may answer without the ICE that it says it does, and would be known by nothing then.
                Port::OwnAsIs(OwnPorts::BehindNat) if leg.ice => Port::OwnAsIs(OwnPorts::Called),
                port => port,
            },
        };
        let end = &mut self.ends[self.legs[at].end];
        end.single = match port {
            Port::Shared if end.ports.worker != SHARING_WORKER => Port::OwnAsIs(OwnPorts::OtherWorker),
            port => port,
        };
    }

    /// The worker that has the port to share, if the caller will be told it, or those who are called.
    pub(crate) fn sharing_worker(&self, desk: &Desk, called: Option<Offering>) -> Option<u16> {
        desk.config.single_port?;
        let caller = || {
            let leg = &self.legs[0];
            let offer = self.setup.as_ref().and_then(|setup| setup.offer.as_ref());
            match offer.and_then(|offer| tell(desk, leg, self.leg_id(0), &Said::of(offer))) {
                Some(port) => port,
                None => in_advance(&leg.party, leg.nat, &leg.flow),
            }
        };
        (called.is_some_and(|called| called.shares) || caller() == Port::Shared).then_some(SHARING_WORKER)
    }
}

/// What those who are rung are told of an end that others may be told of, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offering {
    offered: Offered,
    shares: bool,
    ice: bool,
}

impl Offering {
    /// To whom that is said.
    pub(crate) fn new(desk: &Desk, offered: Offered, who: &Party, nat: bool, flow: &Flow) -> Offering {
        let shares = desk.config.single_port.is_some() && in_advance(who, nat, flow) == Port::Shared;
        Offering { offered, shares, ice: false }
    }

    /// The same to somebody who does ICE.
    pub(crate) fn with_ice(self, ice: bool) -> Offering {
        Offering { ice, ..self }
    }

    /// To somebody who describes itself before it is told anything.
    pub(crate) fn plain() -> Offering {
        Offering { offered: Offered::Plain, shares: false, ice: false }
    }

    /// Whether a leg is told the same. With `single` there is a port to share.
    pub(crate) fn is_for(self, leg: &Leg, single: bool) -> bool {
        let shares = single && in_advance(&leg.party, leg.nat, &leg.flow) == Port::Shared;
        self == Offering { offered: leg.offered(), shares, ice: leg.ice }
    }
}

/// What somebody is told who has not described itself.
fn in_advance(who: &Party, nat: bool, flow: &Flow) -> Port {
    if who.peer.is_some() {
        Port::OwnAsIs(OwnPorts::Trunk)
    } else if nat {
        Port::OwnAsIs(OwnPorts::BehindNat)
    } else if flow.remote.is_ipv4() && is_public(flow.remote.ip()) {
        Port::OwnAsIs(OwnPorts::Called)
    } else {
        Port::Shared
    }
}

/// Whether a leg that describes itself so can be told from all others; `None` when it does not say where it is.
fn tell(desk: &Desk, leg: &Leg, end: LegId, said: &Said) -> Option<Port> {
    let remote = said.remote?;
    if said.ice.is_some() {
        return Some(Port::Shared);
    }
    let free = |known: Option<&LegId>| known.is_none_or(|known| *known == end);
    Some(match leg.source(said) {
        SourceRule::HearOnce => Port::OwnAsIs(OwnPorts::Trunk),
        SourceRule::LearnOnce => match said.ssrc {
            Some(ssrc) if free(desk.sources.ssrcs.get(&ssrc)) => Port::Shared,
            Some(_) | None => Port::OwnAsIs(OwnPorts::BehindNat),
        },
        SourceRule::Strict if free(desk.sources.addresses.get(&remote.rtp)) => Port::Shared,
        SourceRule::Strict => Port::OwnAsIs(OwnPorts::SameAddress),
    })
}
