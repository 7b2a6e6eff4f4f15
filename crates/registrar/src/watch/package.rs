//! Event packages: what can be watched, and what a SUBSCRIBE asks for (RFC 6665 §3.1, §4.2.1.1).

use crate::contact::Refusal;
use crate::limit;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, Params};
use std::time::Duration;

/// An event package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Package {
    /// The calls of an extension: lamps (RFC 4235).
    Dialog,
    /// The messages in a mailbox (RFC 3842).
    MessageSummary,
    /// Whether somebody can be reached, and what they say about it (RFC 3856).
    Presence,
    /// The Contacts of a user (RFC 3680).
    Reg,
}

impl Package {
    /// All of them, in the order of their names.
    pub const ALL: [Package; 4] = [Package::Dialog, Package::MessageSummary, Package::Presence, Package::Reg];

    /// Its name in Event.
    pub const fn name(self) -> &'static str {
        match self {
            Package::Dialog => "dialog",
            Package::MessageSummary => "message-summary",
            Package::Presence => "presence",
            Package::Reg => "reg",
        }
    }

    /// The package of that name.
    pub fn parse(name: &str) -> Option<Package> {
        Package::ALL.into_iter().find(|package| package.name() == name)
    }

    /// The one kind of body that it has here.
    pub const fn content_type(self) -> &'static str {
        match self {
            Package::Dialog => "application/dialog-info+xml",
            Package::MessageSummary => "application/simple-message-summary",
            Package::Presence => PIDF,
            Package::Reg => "application/reginfo+xml",
        }
    }

    /// Whether only the user itself may watch it: who rings where, and who left messages, is nobody else's business.
    pub const fn is_own(self) -> bool {
        match self {
            Package::Dialog | Package::Presence => false,
            Package::MessageSummary | Package::Reg => true,
        }
    }

    /// How long it is watched when the request does not say (RFC 4235 §3.4, 3842 §3.4, 3856 §6.4, 3680 §4.4).
    pub(crate) const fn default_expires(self) -> u32 {
        match self {
            Package::Dialog | Package::MessageSummary | Package::Presence => 3_600,
            Package::Reg => 3_761,
        }
    }
}

/// What a SUBSCRIBE asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is to be watched.
    pub package: Package,
    /// What tells it apart from others in its dialog (RFC 6665 §8.2.1).
    pub(crate) id: Option<Box<str>>,
    /// For how long; zero: tell once, and no more.
    pub(crate) expires: Duration,
}

impl Asked {
    /// Reads a SUBSCRIBE, inside a dialog or not.
    ///
    /// # Errors
    /// What is to be answered: 400, 406, 423, 489.
    pub fn read(message: &Message) -> Result<Asked, Refusal> {
        let (package, id) = read_event(message)?;
        if !message.accepts(package.content_type()) {
            let header = Some((HeaderName::Accept, package.content_type().to_owned()));
            return Err(Refusal { status: 406, reason: "Not Acceptable: Accept does not name what is told", header });
        }
        let expires = read_expires(message, package.default_expires())?;
        Ok(Asked { package, id, expires })
    }
}

/// The package and id of Event (RFC 6665 §8.2.1).
fn read_event(message: &Message) -> Result<(Package, Option<Box<str>>), Refusal> {
    let event = message.header(HeaderName::Event).unwrap_or_default();
    let (name, params) = event.split_at(event.find(';').unwrap_or(event.len()));
    let package = Package::parse(name.trim()).ok_or_else(bad_event)?;
    let id = Params::new(params).get("id").filter(|id| !id.is_empty());
    if id.is_some_and(|id| id.len() > limit::EVENT_ID_BYTES) {
        return Err(Refusal::new(400, "Bad Event: the id is too long"));
    }
    Ok((package, id.map(Into::into)))
}

/// 489 with what there is (RFC 6665 §4.2.1.1).
pub(crate) fn bad_event() -> Refusal {
    Refusal {
        status: 489,
        reason: "Bad Event: Allow-Events names what can be watched",
        header: Some((HeaderName::AllowEvents, sip::advertise::ALLOW_EVENTS.into())),
    }
}

/// 503: there is no room.
pub(crate) fn full() -> Refusal {
    let header = Some((HeaderName::RetryAfter, RETRY_AFTER_S.to_owned()));
    Refusal { status: 503, reason: "Service Unavailable: too many subscriptions", header }
}

/// 481: there is no such subscription, or none any more.
pub(crate) const GONE: Refusal = Refusal::new(481, "Call/Transaction Does Not Exist");

/// How long it is to last: no longer than is asked for (RFC 6665 §4.2.1.1), and not so short that it is all refreshes.
pub(crate) fn read_expires(message: &Message, default: u32) -> Result<Duration, Refusal> {
    let asked = message.expires().map_err(|error| Refusal::new(400, error.reason()))?;
    let asked = Duration::from_secs(asked.unwrap_or(default).into());
    if !asked.is_zero() && asked < limit::EVENT_MIN_EXPIRES {
        let least = limit::EVENT_MIN_EXPIRES.as_secs().to_string();
        return Err(Refusal {
            status: 423,
            reason: "Interval Too Brief: Min-Expires names the shortest",
            header: Some((HeaderName::MinExpires, least)),
        });
    }
    Ok(asked.min(limit::EVENT_MAX_EXPIRES))
}

/// The kind of body that presence comes and goes in (RFC 3863).
pub(crate) const PIDF: &str = "application/pidf+xml";

const RETRY_AFTER_S: &str = "60";

#[cfg(test)]
mod tests {
    use super::*;
    use sip::MessageBuilder;

    fn subscribe(headers: &[(&str, &str)]) -> Result<Asked, Refusal> {
        let mut builder = MessageBuilder::request("SUBSCRIBE", "sip:102@office.example")
            .header(HeaderName::Via, "SIP/2.0/UDP 10.0.0.4;branch=z9hG4bK1")
            .header(HeaderName::From, "<sip:101@office.example>;tag=a")
            .header(HeaderName::To, "<sip:102@office.example>")
            .header(HeaderName::CallId, "c1")
            .header(HeaderName::CSeq, "1 SUBSCRIBE");
        for (name, value) in headers {
            builder = builder.raw(name, value);
        }
        Asked::read(&Message::parse(builder.finish()).unwrap())
    }

    fn refused(headers: &[(&str, &str)]) -> (u16, Option<String>) {
        let refusal = subscribe(headers).unwrap_err();
        (refusal.status, refusal.header.map(|(_, value)| value))
    }

    #[test]
    fn the_event_names_a_package_and_an_id() {
        let asked = subscribe(&[("Event", "dialog;sla;id=7"), ("Expires", "600")]).unwrap();
        assert_eq!((asked.package, asked.id.as_deref(), asked.expires.as_secs()), (Package::Dialog, Some("7"), 600));
        assert_eq!(subscribe(&[("o", "reg")]).unwrap().package, Package::Reg);
        // Two packages are none (RFC 6665 §8.2.1).
        assert_eq!(refused(&[("Event", "dialog, reg")]).0, 489);
    }

    #[test]
    fn unknown_events_hear_what_there_is() {
        for headers in [&[("Event", "dialog.winfo")][..], &[("Event", "ua-profile")], &[("Event", "")], &[]] {
            let (status, header) = refused(headers);
            assert_eq!((status, header.as_deref()), (489, Some("dialog, message-summary, presence, reg")));
        }
    }

    #[test]
    fn a_body_that_is_not_taken_is_not_sent() {
        let accept = |value| subscribe(&[("Event", "dialog"), ("Accept", value)]).map_err(|refusal| refusal.status);
        for value in ["application/dialog-info+xml", "text/plain, Application/Dialog-Info+XML;q=0.1", "*/*", ""] {
            assert!(accept(value).is_ok(), "{value}");
        }
        assert_eq!(accept("application/pidf+xml"), Err(406));
    }

    #[test]
    fn the_time_is_never_longer_than_asked_and_has_bounds() {
        let expires =
            |value| subscribe(&[("Event", "presence"), ("Expires", value)]).map(|asked| asked.expires.as_secs());
        assert_eq!([expires("0"), expires("30"), expires("4000000000")], [Ok(0), Ok(30), Ok(3_600)]);
        assert_eq!(refused(&[("Event", "presence"), ("Expires", "29")]), (423, Some("30".into())));
    }
}
