//! How a phone transfers, and how it takes somebody's place.

use super::register::TRIES;
use super::{Asked, Phone};
use crate::sim::line::Ending;
use crate::sim::script::{Do, Parts};
use sip::{HeaderName, Message, Method, Outgoing};
use std::fmt::Write as _;
use words::Time;

impl Phone {
    /// REFER (RFC 3515); with the dialog of another line of its own it is an attended transfer (RFC 5589 §7).
    pub(super) fn refer(&mut self, line: usize, what: &Do, tries: u8, now: Time) {
        let Do::Refer { to, instead_of, silently } = what else { return };
        let host = self.identity.host.clone();
        let (contact, replaces) = (self.contact(), instead_of.and_then(|other| self.replaces(other)));
        let Some(found) = self.lines.get_mut(line).filter(|line| line.talks()) else { return };
        let Some(dialog) = &mut found.sip.dialog else { return };
        let uri = dialog.remote_target.clone();
        let target = if to.contains(':') { to.clone() } else { format!("sip:{to}@{host}") };
        let replaces = replaces.map_or(String::new(), |replaces| format!("?Replaces={}", escape(&replaces)));
        let mut builder = dialog.request(Method::Refer).header(HeaderName::Contact, &contact);
        builder.push_header_fmt(HeaderName::ReferTo, format_args!("<{target}{replaces}>"));
        builder.push_header_fmt(HeaderName::ReferredBy, format_args!("<sip:nobody@{host}>"));
        if *silently {
            builder.push_header(HeaderName::ReferSub, "false");
        }
        found.refer = Some(what.clone());
        let request = Outgoing { builder, body: None };
        self.send(Asked::Refer { line, tries }, Method::Refer, &uri, request, tries > 0, now);
    }

    pub(super) fn refer_answered(&mut self, line: usize, tries: u8, message: &Message, now: Time) {
        let status = message.status();
        if status < 200 {
            return;
        }
        let found = &mut self.lines[line];
        if status == 401 && tries < TRIES && found.talks() && self.learn(message) {
            if let Some(what) = self.lines[line].refer.clone() {
                self.refer(line, &what, tries + 1, now);
            }
            return;
        }
        self.lines[line].refers.push(status);
        if matches!(status, 408 | 481) {
            // RFC 3261 §12.2.1.2: its dialog is over.
            return self.lines[line].end(Ending::Lost);
        }
        if status < 300 && self.habits.parts == Parts::AtOnce {
            self.hang_up(line, now);
        }
    }

    /// A NOTIFY inside a call: what became of its REFER.
    pub(super) fn notified(&mut self, line: usize, message: &Message, now: Time) {
        let body = String::from_utf8_lossy(message.body()).trim_end().to_owned();
        let state = message.header(HeaderName::SubscriptionState).unwrap_or_default().to_owned();
        assert!(message.header(HeaderName::Event).is_some_and(|event| event.starts_with("refer")), "it refers only");
        let succeeded = body.starts_with("SIP/2.0 200");
        let last = body.as_bytes().get(8) >= Some(&b'2') || state == "terminated;reason=timeout";
        assert_eq!(state.starts_with("terminated"), last, "{body}: {state}");
        self.lines[line].notified.push(body);
        if succeeded && self.habits.parts == Parts::AtSuccess {
            self.hang_up(line, now);
        }
    }

    /// The value of Replaces that names a line's dialog to the other side of it (RFC 3891 §4).
    pub fn replaces(&self, line: usize) -> Option<String> {
        let found = self.lines.get(line)?;
        let Some(dialog) = &found.sip.dialog else {
            let (call_id, early_tag) = (&found.sip.call_id, found.early_tag.as_ref()?);
            return Some(format!("{call_id};to-tag={early_tag};from-tag={}", found.sip.tag));
        };
        Some(format!("{};to-tag={};from-tag={}", dialog.call_id, dialog.remote_tag, dialog.local_tag))
    }
}

/// Escapes what may not stand in a URI's header (RFC 3261 §25.1 `hvalue`).
fn escape(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
