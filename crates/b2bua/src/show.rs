//! What each side is told of who the other is, and of where the call was before: P-Asserted-Identity and Privacy
//! (RFC 3325, RFC 3323), Diversion (RFC 5806) and History-Info (RFC 7044).
//!
//! Nothing of that is carried across by itself: what a leg says counts only when it is believed, what a leg hears is
//! written here. People and peers that are not told see nobody where a party wants to be private.

use crate::bridge::Carried;
use crate::call::Call;
use crate::desk::Desk;
use crate::exchange::{Exchange, Move};
use crate::identity::{self, diversion_value, uri_value};
use crate::leg::{Leg, LegState};
use crate::more::Dialled;
use crate::refresh::NOBODY;
use crate::step::Diverted;
use crate::view::CallState;
use media::sdp::Description;
use sip::{HeaderName, Message, MessageBuilder, NameAddr, Uri};
use std::fmt::Write as _;
use words::{Party, Time};

impl Call {
    /// What our INVITE to a leg says about who calls, beside From, and about where the call was before; at the host that
    /// From names. Nothing for a plain call.
    pub(crate) fn story(&self, at: usize, host: &str, dialled: &Dialled) -> Vec<(HeaderName, String)> {
        let (leg, mut lines) = (&self.legs[at], Vec::new());
        let told = leg.trust.told;
        if told && let Some(asserted) = uri_value(self.calling(), host) {
            lines.push((HeaderName::PAssertedIdentity, asserted));
            if self.calling().private {
                lines.push((HeaderName::Privacy, "id".to_owned()));
            }
        }
        if !told && leg.party.user.is_none() {
            return lines;
        }
        if let Some(by) = self.referred_by(host, told) {
            lines.push((HeaderName::ReferredBy, by));
        }
        let diverted = dialled.diverted.as_ref();
        if let Some(by) = diverted.and_then(|diverted| diversion_value(diverted, host)) {
            lines.push((HeaderName::Diversion, by));
        }
        let before = self.before().filter(|invite| told || !invite.privacy().history);
        let diversions = before.into_iter().flat_map(|invite| invite.diversions(told));
        lines.extend(diversions.map(|value| (HeaderName::Diversion, value.to_owned())));
        push_history(&mut lines, before, told);
        add_history(&mut lines, diverted, host, &dialled.to_uri);
        lines
    }

    /// The caller's INVITE, when what it says about hops before us is believed.
    fn before(&self) -> Option<&Message> {
        let (_, invite) = self.setup.as_ref()?.asked.as_ref()?;
        self.legs.first().filter(|caller| caller.trust.believed)?;
        Some(invite)
    }

    /// Tells a leg, whose display shows it then, who is at the other side (RFC 3325 §9.1).
    pub(crate) fn push_shown(&self, builder: &mut MessageBuilder, at: usize, shown: usize) {
        let (leg, who) = (&self.legs[at], &self.legs[shown].party);
        if leg.party.peer.is_some() && !leg.trust.told {
            return;
        }
        let Some(host) = own_host(leg) else { return };
        if who.private && !leg.trust.told {
            return builder.push_header(HeaderName::PAssertedIdentity, identity::NOBODY);
        }
        let Some(value) = uri_value(who, host) else { return };
        builder.push_header(HeaderName::PAssertedIdentity, &value);
        if who.private {
            builder.push_header(HeaderName::Privacy, "id");
        }
    }

    /// Who is at the other side of a leg is another one than before: it is told, by UPDATE where it takes that, else by an
    /// INVITE that says what we said before. While something else is under way there nothing is said.
    pub(crate) fn show_other(&mut self, desk: &mut Desk, n: u16, now: Time) {
        let Some(other) = self.other_of(n) else { return };
        let Some(at) = self.place(other).filter(|_| self.state == CallState::Answered && self.is_party(n)) else {
            return;
        };
        let (leg, shown) = (&self.legs[at], self.place(n));
        let told = leg.party.peer.is_none() || leg.trust.told;
        let refreshes = leg.more.as_ref().is_some_and(|more| more.refreshing.is_some());
        if !told || refreshes || !leg.is_quiet() || self.exchange.is_some() || self.is_asking() {
            return;
        }
        if leg.takes.update {
            return self.refresh_by_update(desk, at, shown);
        }
        let mut exchange = Exchange::new(NOBODY, Some(other), None, None);
        (exchange.refreshes, exchange.shows) = (true, Some(n));
        let for_other = self.ends.get(leg.end).and_then(|end| end.ours.last()).map(Description::print);
        self.exchange = Some(Box::new(exchange));
        self.advance(desk, Move::Ask, Carried { for_other, ..Carried::default() }, now);
    }

    /// The same in an answer, for a caller who dialled somebody else; mostly it is who was dialled, and nothing need be
    /// said.
    pub(crate) fn push_shown_in_answer(&self, builder: &mut MessageBuilder, at: usize, other: Option<u16>) {
        let other = other.filter(|_| self.legs[at].state == LegState::Incoming).and_then(|n| self.place(n));
        let Some(other) = other else { return };
        let who = &self.legs[other].party;
        if self.legs[at].n != 0 || who.number != self.who.to.number || who.private {
            self.push_shown(builder, at, other);
        }
    }
}

impl Leg {
    /// Learns from its answer who is there: it may want to be private (RFC 3323), and one that is believed may name
    /// somebody else than was called (RFC 3325 §9.1).
    pub(crate) fn learn_who(&mut self, answer: &Message) {
        let mut secret = false;
        if self.trust.believed
            && let Some((who, private)) = answer.asserted()
            && let Ok(uri) = Uri::parse(who.uri)
        {
            secret = private;
            self.party.number = uri.dialled().as_ref().into();
            self.party.name = who.display_name().as_ref().into();
        }
        self.party.private |= secret || answer.privacy().identity;
    }

    /// A request of its in the middle of the call may name somebody else than before, where it is believed: there the call
    /// was passed on. Whether it does.
    pub(crate) fn learn_other(&mut self, request: &Message) -> bool {
        if !self.trust.believed {
            return false;
        }
        let Some((who, secret)) = request.asserted() else { return false };
        let Ok(uri) = Uri::parse(who.uri) else { return false };
        let other = Party {
            number: uri.dialled().as_ref().into(),
            name: who.display_name().as_ref().into(),
            private: secret || request.privacy().identity,
            ..self.party.clone()
        };
        let differs = other != self.party;
        self.party = other;
        differs
    }
}

/// The host that we have in a leg's dialog.
fn own_host(leg: &Leg) -> Option<&str> {
    let ours = NameAddr::parse(HeaderName::From, &leg.dialog.as_ref()?.local).ok()?;
    Some(Uri::parse(ours.uri).ok()?.host)
}

/// Who a party is to people and to peers that are not told; `None`: nobody.
pub(crate) fn seen(who: &Party) -> Option<&Party> {
    (!who.private && !who.number.as_str().is_empty()).then_some(who)
}

/// The hops before us as a believed caller told them.
fn push_history(lines: &mut Vec<(HeaderName, String)>, before: Option<&Message>, told: bool) {
    let entries = before.into_iter().flat_map(|invite| invite.history(told));
    lines.extend(entries.map(|entry| (HeaderName::HistoryInfo, entry.into_owned())));
}

/// The hop that we make of it: where there is a history already, and where somebody sent the call elsewhere (RFC 7044
/// §7.1, §9.3).
fn add_history(lines: &mut Vec<(HeaderName, String)>, diverted: Option<&Diverted>, host: &str, to_uri: &str) {
    let last = lines.iter().rev().find(|(name, _)| *name == HeaderName::HistoryInfo);
    let before = last.and_then(|(_, entry)| NameAddr::parse(HeaderName::HistoryInfo, entry).ok()?.param("index"));
    let mut index = before.map(|index| format!("{index}.1"));
    if index.as_ref().is_some_and(|index| index.len() > INDEX_BYTES) {
        return;
    }
    let mut hops = Vec::new();
    let mut mapped = String::new();
    if let Some(by) = diverted.and_then(|diverted| uri_value(&Party { name: "".into(), ..diverted.by.clone() }, host)) {
        let index = index.get_or_insert_with(|| "1".to_owned());
        // It answered 302 (RFC 7044 §9.2): the reason belongs to whom the call was for.
        hops.push(format!("{}?Reason=SIP%3Bcause%3D302>;index={index}", by.trim_end_matches('>')));
        // Writing to a String cannot fail.
        let _ = write!(mapped, ";mp={index}");
        index.push_str(".1");
    }
    let Some(index) = index else { return };
    hops.push(format!("<{to_uri}>;index={index}{mapped}"));
    lines.extend(hops.into_iter().map(|hop| (HeaderName::HistoryInfo, hop)));
}

/// The longest index that is lengthened. Units: bytes.
const INDEX_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(before: &[&str], by: Option<&str>) -> Vec<String> {
        let mut lines: Vec<_> = before.iter().map(|entry| (HeaderName::HistoryInfo, (*entry).to_owned())).collect();
        let by = by.map(|number| Party { number: number.into(), name: "Bob".into(), ..Party::default() });
        let diverted = by.map(|by| Diverted { by, reason: "no-answer" });
        add_history(&mut lines, diverted.as_ref(), "h", "sip:103@h");
        lines.into_iter().skip(before.len()).map(|(_, value)| value).collect()
    }

    #[test]
    fn a_hop_is_added_to_a_history_and_where_a_call_went_elsewhere() {
        assert!(hops(&[], None).is_empty());
        assert_eq!(hops(&["<sip:1@x>;index=1", "<sip:2@x>;index=1.2"], None), ["<sip:103@h>;index=1.2.1"]);
        let elsewhere = ["<sip:102@h?Reason=SIP%3Bcause%3D302>;index=1", "<sip:103@h>;index=1.1;mp=1"];
        assert_eq!(hops(&[], Some("102")), elsewhere);
        let later = ["<sip:102@h?Reason=SIP%3Bcause%3D302>;index=3.1", "<sip:103@h>;index=3.1.1;mp=3.1"];
        assert_eq!(hops(&["<sip:1@x>;index=3"], Some("102")), later);
        let long = format!("<sip:1@x>;index=1{}", ".1".repeat(INDEX_BYTES));
        assert!(hops(&[&long], Some("102")).is_empty());
    }
}
