//! How a phone registers.

use super::{Asked, Phone};
use crate::sim::script::Do;
use sip::{HeaderName, Message, MessageBuilder, Method, Outgoing};
use std::time::Duration;
use words::Time;

/// A phone's registration as it knows it.
#[derive(Clone, Debug)]
pub struct Registration {
    /// For how long it was bound by the last 200; `None` when it is not.
    pub granted: Option<u32>,
    /// All final answers.
    pub answers: Vec<Message>,
    /// The OPTIONS that asked whether it is there.
    pub pings: Vec<Message>,
    /// Whether an answer is missing.
    pub asking: bool,
    /// It asks which bindings there are, and names none.
    pub(crate) asks: bool,
    call_id: String,
    cseq: u32,
}

impl Registration {
    pub(crate) fn new(call_id: String) -> Self {
        let (answers, pings) = (Vec::new(), Vec::new());
        Registration { granted: None, answers, pings, asking: false, asks: false, call_id, cseq: 0 }
    }

    /// What its last 200 said about how to send requests (RFC 3608 §6.1); nothing when it said nothing.
    pub fn service_route(&self) -> Vec<String> {
        let last = self.answers.iter().rev().find(|answer| answer.status() == 200);
        last.iter().flat_map(|answer| answer.values(HeaderName::ServiceRoute)).map(str::to_owned).collect()
    }

    /// The statuses of all final answers.
    pub fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(Message::status).collect()
    }
}

impl Phone {
    pub(super) fn register(&mut self, expires: u32, tries: u8, now: Time) {
        self.registration.asking = true;
        self.registration.cseq += 1;
        let uri = format!("sip:{}", self.identity.host);
        let own = format!("<sip:{}@{}>", self.identity.number, self.identity.host);
        let builder = MessageBuilder::request("REGISTER", &uri)
            .header(HeaderName::MaxForwards, "70")
            .header_fmt(HeaderName::From, format_args!("{own};tag={:08x}", self.chance.u32()))
            .header(HeaderName::To, &own)
            .header(HeaderName::CallId, &self.registration.call_id)
            .header_fmt(HeaderName::CSeq, format_args!("{} REGISTER", self.registration.cseq))
            .header(HeaderName::UserAgent, "Simulated phone");
        let builder = if self.registration.asks {
            builder
        } else {
            let contact = self.bound_contact();
            builder.header(HeaderName::Contact, &contact).header_number(HeaderName::Expires, expires)
        };
        let builder = match self.habits.instance {
            Some(_) => builder.header(HeaderName::Supported, "path, outbound, gruu"),
            None => builder,
        };
        let builder = match self.habits.path {
            Some(path) => builder.header(HeaderName::Supported, "path").header(HeaderName::Path, path),
            None => builder,
        };
        let request = Outgoing { builder, body: None };
        self.send(Asked::Register { expires, tries }, Method::Register, &uri, request, true, now);
    }

    pub(super) fn registered(&mut self, expires: u32, tries: u8, message: &Message, now: Time) {
        let status = message.status();
        if status < 200 {
            return;
        }
        self.registration.answers.push(message.clone());
        self.registration.asking = false;
        match status {
            200 if std::mem::take(&mut self.registration.asks) => {}
            200 => {
                self.registration.granted = self.granted(message);
                if let (Some(granted), true) = (self.registration.granted, self.habits.refreshes) {
                    self.later(Duration::from_secs(u64::from(granted / 2)), 0, Do::Register(expires));
                }
            }
            401 if tries < TRIES && self.learn(message) => self.register(expires, tries + 1, now),
            423 if tries < TRIES => {
                let least = message.header(HeaderName::MinExpires).and_then(|least| least.parse().ok());
                self.register(least.unwrap_or(expires), tries + 1, now);
            }
            _ => {}
        }
    }

    fn bound_contact(&self) -> String {
        // It says what it can do (RFC 5768 §5).
        let contact = self.contact() + if self.habits.ice { ";+sip.ice" } else { "" };
        let contact = self.habits.q.map_or(contact.clone(), |q| format!("{contact};q={q}"));
        match self.habits.instance {
            Some((instance, reg_id)) => format!("{contact};+sip.instance=\"<{instance}>\";reg-id={reg_id}"),
            None => contact,
        }
    }

    /// A GRUU of the last 200: `pub-gruu` or `temp-gruu`.
    pub fn gruu(&self, kind: &str) -> Option<String> {
        let own = self.contact();
        let answer = self.registration.answers.last()?;
        let value = answer.values(HeaderName::Contact).find(|value| value.starts_with(&own))?;
        let (_, rest) = value.split_once(&format!(";{kind}=\""))?;
        rest.split('"').next().map(str::to_owned)
    }

    /// How long its own Contact is bound.
    fn granted(&self, message: &Message) -> Option<u32> {
        let own = self.contact();
        let value = message.values(HeaderName::Contact).find(|value| value.starts_with(&own))?;
        let (_, rest) = value.split_once(";expires=")?;
        rest.split(';').next()?.parse().ok()
    }
}

/// A nonce may be old, and then the realm be another: two challenges are answered, not more.
pub(super) const TRIES: u8 = 2;
