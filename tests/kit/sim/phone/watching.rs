//! How a phone watches others, and publishes itself.

use super::register::TRIES;
use super::{Asked, Phone};
use crate::sim::script::Do;
use bytes::Bytes;
use sip::{Dialog, HeaderName, Message, MessageBuilder, Method, Outgoing, ServerTxn};
use words::Time;

/// A subscription as its phone knows it.
#[derive(Clone, Debug)]
pub struct Watching {
    /// Whom it watches.
    pub number: String,
    /// The value of Event.
    pub event: &'static str,
    /// The final answers to its SUBSCRIBEs.
    pub answers: Vec<Message>,
    /// How many NOTIFYs came.
    pub notifies: u32,
    /// The Subscription-State of the last one.
    pub state: String,
    /// The version of its document, where it has one.
    pub version: Option<u32>,
    /// Its body.
    pub body: String,
    /// Whether it is over.
    pub over: bool,
    call_id: String,
    tag: String,
    cseq: u32,
    dialog: Option<Box<Dialog>>,
    /// The highest CSeq of a NOTIFY.
    heard: u32,
}

impl Watching {
    /// The statuses of all final answers.
    pub fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(Message::status).collect()
    }

    /// For how long it was granted last.
    pub fn granted(&self) -> Option<u32> {
        let last = self.answers.iter().rev().find(|answer| answer.status() == 200)?;
        last.expires().ok()?
    }

    /// What a lamp would show.
    pub fn lamp(&self) -> &'static str {
        let has = |text: &str| self.body.contains(text);
        match () {
            () if self.notifies == 0 => "unknown",
            () if !has("<dialog ") => "unplugged",
            () if has("<state>early</state>") && has("direction=\"recipient\"") => "ringing",
            () if has("<state>early</state>") => "calling",
            () if has("pval=\"no\"/></target></local>") => "holding",
            () if has("pval=\"no\"/></target></remote>") => "held",
            () if has("<state>confirmed</state>") => "busy",
            () => "idle",
        }
    }

    /// The value of an attribute, the first that is there.
    pub fn attribute(&self, name: &str) -> &str {
        let rest = self.body.split_once(&format!(" {name}=\"")).map_or("", |(_, rest)| rest);
        rest.split('"').next().unwrap_or_default()
    }
}

impl Phone {
    /// Its newest subscription.
    ///
    /// # Panics
    /// When it has none.
    pub fn watching(&self) -> &Watching {
        self.watchings.last().expect("the phone watches somebody")
    }

    pub(super) fn watch(&mut self, number: String, event: &'static str, expires: u32, now: Time) {
        let watching = Watching {
            number,
            event,
            answers: Vec::new(),
            notifies: 0,
            state: String::new(),
            version: None,
            body: String::new(),
            over: false,
            call_id: format!("{:016x}", self.chance.u64()),
            tag: format!("{:08x}", self.chance.u32()),
            cseq: 0,
            dialog: None,
            heard: 0,
        };
        self.watchings.push(watching);
        self.subscribe(self.watchings.len() - 1, expires, 0, now);
    }

    /// Refreshes its newest subscription to a number, or ends it.
    pub(super) fn watch_on(&mut self, number: &str, expires: u32, now: Time) {
        let found = self.watchings.iter().rposition(|watching| watching.number == number && !watching.over);
        if let Some(watch) = found {
            self.subscribe(watch, expires, 0, now);
        }
    }

    fn subscribe(&mut self, watch: usize, expires: u32, tries: u8, now: Time) {
        let (contact, host) = (self.contact(), self.identity.host.clone());
        let own = format!("<sip:{}@{host}>", self.identity.number);
        let found = &mut self.watchings[watch];
        let mut uri =
            if found.number.contains(':') { found.number.clone() } else { format!("sip:{}@{host}", found.number) };
        found.cseq += 1;
        let builder = if let Some(dialog) = &mut found.dialog {
            uri.clone_from(&dialog.remote_target);
            dialog.local_cseq = found.cseq - 1;
            dialog.request(Method::Subscribe)
        } else {
            MessageBuilder::request("SUBSCRIBE", &uri)
                .header(HeaderName::MaxForwards, "70")
                .header_fmt(HeaderName::From, format_args!("{own};tag={}", found.tag))
                .header_fmt(HeaderName::To, format_args!("<{uri}>"))
                .header(HeaderName::CallId, &found.call_id)
                .header_fmt(HeaderName::CSeq, format_args!("{} SUBSCRIBE", found.cseq))
        };
        let mut builder = builder
            .header(HeaderName::Contact, &contact)
            .header(HeaderName::Event, found.event)
            .header_number(HeaderName::Expires, expires);
        if let Some(accept) = self.habits.accepts {
            builder.push_header(HeaderName::Accept, accept);
        }
        let inside = self.watchings[watch].dialog.is_some();
        let asked = Asked::Subscribe { watch, expires, tries };
        self.send(asked, Method::Subscribe, &uri, builder.into(), tries > 0 || !inside, now);
    }

    pub(super) fn subscribed(&mut self, watch: usize, expires: u32, tries: u8, message: &Message, now: Time) {
        let status = message.status();
        if status < 200 {
            return;
        }
        let own = format!("<sip:{}@{}>", self.identity.number, self.identity.host);
        let found = &mut self.watchings[watch];
        found.answers.push(message.clone());
        match status {
            200 => {
                let local = format!("{own};tag={}", found.tag);
                let dialog =
                    Dialog::uac(&local, &found.call_id, found.cseq, message).expect("a 200 to SUBSCRIBE is complete");
                found.dialog.get_or_insert_with(|| Box::new(dialog)).refresh_target(message);
                if self.habits.refreshes && expires > 0 {
                    let number = found.number.clone();
                    let after = std::time::Duration::from_secs(u64::from(found.granted().unwrap_or(0) / 2));
                    self.later(after, 0, Do::WatchOn { number, expires });
                }
            }
            401 if tries < TRIES && self.learn(message) => self.subscribe(watch, expires, tries + 1, now),
            423 if tries < TRIES => {
                let least = message.header(HeaderName::MinExpires).and_then(|least| least.parse().ok());
                self.subscribe(watch, least.unwrap_or(expires), tries + 1, now);
            }
            481 => self.watchings[watch].over = true,
            _ => {}
        }
    }

    /// A NOTIFY came that is about no transfer: for a subscription, or unasked.
    pub(super) fn told(&mut self, txn: ServerTxn, message: &Message, now: Time) {
        let ours = |watching: &Watching| {
            !watching.over
                && message.to_tag() == Some(watching.tag.as_str())
                && message.header(HeaderName::CallId) == Some(watching.call_id.as_str())
        };
        let Some(watch) = self.watchings.iter().rposition(ours) else {
            if message.to_tag().is_some() {
                return self.plain(txn, message, 481, now);
            }
            self.unasked.push(message.header(HeaderName::Event).unwrap_or_default().to_owned());
            return self.plain(txn, message, 200, now);
        };
        if let Some(status) = self.habits.refuses_notifies {
            let mut builder = MessageBuilder::response(message, status, "", None);
            if let Some(seconds) = self.habits.retry_after_s {
                builder.push_header(HeaderName::RetryAfter, &seconds.to_string());
            }
            return self.respond(txn, builder, None, now);
        }
        let found = &mut self.watchings[watch];
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        assert!(cseq > found.heard, "NOTIFY {cseq} after {}", found.heard);
        let event = message.header(HeaderName::Event).unwrap_or_default();
        assert_eq!(event, found.event, "a NOTIFY is about the event that was asked for");
        found.heard = cseq;
        found.notifies += 1;
        message.header(HeaderName::SubscriptionState).unwrap_or_default().clone_into(&mut found.state);
        found.body = String::from_utf8_lossy(message.body()).into_owned();
        found.over = found.state.starts_with("terminated");
        if matches!(found.event, "dialog" | "reg") {
            // What is no higher than before is not heeded (RFC 4235 §4.3, RFC 3680 §5.1).
            let rest = found.body.rsplit_once("version=\"").expect("a document with a version").1;
            let version = rest[..rest.find('"').unwrap_or(0)].parse().expect("a version is a number");
            assert!(found.version.is_none_or(|before| before < version), "{:?} then {version}", found.version);
            found.version = Some(version);
        }
        self.respond(txn, MessageBuilder::response(message, 200, "", None), None, now);
    }

    /// Publishes a document about itself, or takes it back with a time of zero.
    pub(super) fn publish(&mut self, note: String, expires: u32, tries: u8, now: Time) {
        let own = format!("sip:{}@{}", self.identity.number, self.identity.host);
        let cseq = self.publication.cseq + 1;
        self.publication.cseq = cseq;
        let mut builder = MessageBuilder::request("PUBLISH", &own)
            .header(HeaderName::MaxForwards, "70")
            .header_fmt(HeaderName::From, format_args!("<{own}>;tag={:08x}", self.chance.u32()))
            .header_fmt(HeaderName::To, format_args!("<{own}>"))
            .header_fmt(HeaderName::CallId, format_args!("{:016x}", self.chance.u64()))
            .header_fmt(HeaderName::CSeq, format_args!("{cseq} PUBLISH"))
            .header(HeaderName::Event, "presence")
            .header_number(HeaderName::Expires, expires);
        if let Some(etag) = &self.publication.etag {
            builder.push_header(HeaderName::SipIfMatch, etag);
        }
        let body = (!note.is_empty()).then(|| {
            let text = format!(
                "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{own}\">\
                 <tuple id=\"a\"><status><basic>open</basic></status><note>{note}</note></tuple></presence>"
            );
            ("application/pidf+xml", Bytes::from(text))
        });
        let asked = Asked::Publish { tries };
        self.publication.last = (note, expires);
        self.send(asked, Method::Publish, &own, Outgoing { builder, body }, true, now);
    }

    pub(super) fn published(&mut self, tries: u8, message: &Message, now: Time) {
        let status = message.status();
        if status < 200 {
            return;
        }
        self.publication.statuses.push(status);
        let (note, expires) = self.publication.last.clone();
        match status {
            200 => {
                let etag = message.header(HeaderName::SipEtag).map(str::to_owned);
                self.publication.etag = etag.filter(|_| expires > 0);
            }
            401 if tries < TRIES && self.learn(message) => self.publish(note, expires, tries + 1, now),
            // RFC 3903 §4.1: it is not known any more.
            412 if tries < TRIES => {
                self.publication.etag = None;
                self.publish(note, expires, tries + 1, now);
            }
            _ => {}
        }
    }
}

/// What a phone published.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// What names its document.
    pub etag: Option<String>,
    /// The final answers.
    pub statuses: Vec<u16>,
    last: (String, u32),
    cseq: u32,
}
