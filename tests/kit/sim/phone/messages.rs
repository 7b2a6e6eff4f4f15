//! How a phone sends messages and takes them.

use super::register::TRIES;
use super::{Asked, Phone};
use bytes::Bytes;
use sip::{HeaderName, Message, MessageBuilder, Method, Outgoing, ServerTxn};
use words::Time;

/// What a phone was sent, and what became of what it sent.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Who sent what.
    pub taken: Vec<(String, String)>,
    /// What came, whole.
    pub requests: Vec<Message>,
    /// The final answers to its own.
    pub statuses: Vec<u16>,
    /// How often it was asked for its password.
    pub challenges: u32,
    last: Option<(String, String)>,
}

impl Phone {
    pub(super) fn message(&mut self, number: &str, text: &str, tries: u8, now: Time) {
        self.messages.last = Some((number.to_owned(), text.to_owned()));
        let (tag, call_id) = (self.chance.u32(), self.chance.u64());
        let host = &self.identity.host;
        let uri = if number.contains(':') { number.to_owned() } else { format!("sip:{number}@{host}") };
        let own = if self.habits.anonymous {
            "sip:anonymous@anonymous.invalid".to_owned()
        } else {
            format!("sip:{}@{host}", self.identity.number)
        };
        let builder = MessageBuilder::request("MESSAGE", &uri)
            .header(HeaderName::MaxForwards, "70")
            .header_fmt(HeaderName::From, format_args!("<{own}>;tag={tag:08x}"))
            .header_fmt(HeaderName::To, format_args!("<{uri}>"))
            .header_fmt(HeaderName::CallId, format_args!("{call_id:016x}"))
            .header(HeaderName::CSeq, "1 MESSAGE");
        let request = Outgoing { builder, body: Some(("text/plain", Bytes::copy_from_slice(text.as_bytes()))) };
        self.send(Asked::Message { tries }, Method::Message, &uri, request, true, now);
    }

    pub(super) fn message_answered(&mut self, tries: u8, message: &Message, now: Time) {
        let status = message.status();
        if status < 200 {
            return;
        }
        self.messages.challenges += u32::from(status == 401);
        if status == 401 && tries < TRIES && self.learn(message) {
            if let Some((number, text)) = self.messages.last.clone() {
                self.message(&number, &text, tries + 1, now);
            }
            return;
        }
        self.messages.statuses.push(status);
    }

    pub(super) fn take_message(&mut self, txn: ServerTxn, message: &Message, now: Time) {
        let from = message.from().map(|from| from.uri.to_owned()).unwrap_or_default();
        self.messages.taken.push((from, String::from_utf8_lossy(message.body()).into_owned()));
        self.messages.requests.push(message.clone());
        self.plain(txn, message, 200, now);
    }
}
