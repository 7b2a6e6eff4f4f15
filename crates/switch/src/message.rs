//! MESSAGE between users of an account (RFC 3428): proven, carried to all devices of whom it is for, and answered as soon
//! as one of them took it. Nothing is kept for who is away.

use crate::answer::Stop;
use crate::gruu::{Meant, gr_of};
use crate::need::Need;
use crate::switch::{Incoming, Switch};
use crate::whose::Whose;
use bytes::Bytes;
use registrar::User;
use serde::{Deserialize, Serialize};
use sip::advertise::MESSAGE_BODIES;
use sip::{ClientTxn, HeaderName, Message, MessageBuilder, Outgoing, ServerTxn, Target, Uri};
use std::collections::HashMap;
use words::{Party, Time};

/// Messages on their way.
///
/// Limits: [`ON_THEIR_WAY`] at a time; each ends with its transactions.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Messages {
    last: u64,
    /// Which message a request of ours belongs to.
    requests: HashMap<u64, u64>,
    carried: HashMap<u64, Carried>,
}

/// A message that devices have not all answered.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    /// Who sent it, until he has his answer.
    sender: Option<(ServerTxn, Message)>,
    left: usize,
    status: u16,
}

impl Messages {
    /// Whether a client transaction carries a message. Pings have the topmost bit alone.
    #[expect(clippy::unused_self, reason = "asked of the room that owns these transactions")]
    pub(crate) fn is_ours(&self, txn: ClientTxn) -> bool {
        txn.0 >> 62 == OURS >> 62
    }
}

impl Switch {
    /// MESSAGE outside calls.
    pub(crate) fn message(&mut self, incoming: &Incoming, now: Time) -> Result<(), Stop> {
        let presented = self.presented(incoming, now);
        let account = match self.whose(incoming, &presented, now).map_err(Stop::Need)? {
            Whose::Account(account) => Some(account),
            Whose::Stranger => None,
            Whose::Peer(..) => return Err(self.plain(incoming, 403, "Forbidden: messages are between users")),
        };
        let uri = incoming.message.request_uri();
        let dialled = Uri::parse(uri).map(|uri| uri.dialled().into_owned()).unwrap_or_default();
        let gr = gr_of(uri);
        let (account, from, _) = self.user_calls(incoming, &presented, account, now)?;
        let message = &incoming.message;
        let Some(forwards) = message.max_forwards().ok().flatten().unwrap_or(MAX_FORWARDS).checked_sub(1) else {
            return Err(self.plain(incoming, 483, "Too Many Hops: Max-Forwards is used up"));
        };
        if message.body().len() > BODY_BYTES {
            return Err(self.plain(incoming, 413, "Request Entity Too Large: a message has 1,000 bytes at most"));
        }
        let kind = message.content_type().unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let Some(&kind) = MESSAGE_BODIES.iter().find(|known| known.eq_ignore_ascii_case(kind)) else {
            let reason = "Unsupported Media Type: Accept names what is carried";
            let builder = self.answers.builder(message, 415, reason);
            let builder = builder.header(HeaderName::Accept, &MESSAGE_BODIES.join(", "));
            return Err(Stop::Answer(Outgoing { builder, body: None }));
        };
        let Some(meant) = self.meant(account.id, &dialled, gr, now) else {
            return Err(self.plain(incoming, 404, "Not Found: no device has this GRUU"));
        };
        let need = Need::Extension { account: account.id, extension: meant.extension.clone() };
        let user = self.user(need, now).map_err(Stop::Need)?.filter(|user| meant.is(user));
        let Some(user) = user else {
            return Err(self.plain(incoming, 404, "Not Found: no extension has this number"));
        };
        let body = Bytes::copy_from_slice(message.body());
        let to = format!("sip:{}@{}", meant.extension, account.domain);
        let devices = self.message_targets(&user, &meant, now);
        if devices.is_empty() {
            return Err(self.plain(incoming, 480, "Temporarily Unavailable: no device is registered"));
        }
        if self.messages.carried.len() >= ON_THEIR_WAY {
            return Err(Stop::Busy(self.answers.overloaded(message, true)));
        }
        self.messages.last += 1;
        let id = self.messages.last;
        let (sender, left) = (Some((incoming.txn, message.clone())), devices.len());
        self.messages.carried.insert(id, Carried { sender, left, status: 480 });
        let from = sender_value(&from, &account.domain);
        for (target, builder) in devices {
            self.messages.last += 1;
            let txn = ClientTxn(OURS | self.messages.last);
            self.messages.requests.insert(txn.0, id);
            let builder = builder
                .header_number(HeaderName::MaxForwards, u32::from(forwards))
                .header_fmt(HeaderName::From, format_args!("{from};tag={:08x}", self.chance.u32()))
                .header_fmt(HeaderName::To, format_args!("<{to}>"))
                .header_fmt(HeaderName::CallId, format_args!("{:016x}", self.chance.u64()))
                .header(HeaderName::CSeq, "1 MESSAGE")
                .header(HeaderName::UserAgent, &self.config.server);
            let request = Outgoing { builder, body: Some((kind, body.clone())) };
            self.endpoint.request(txn, request, target, now);
        }
        Ok(())
    }

    /// The devices that are meant of a user, each with the beginning of its request.
    fn message_targets(&self, user: &User, meant: &Meant, now: Time) -> Vec<(Target, MessageBuilder)> {
        let devices = self.registrar.lookup(user.id, now).filter(|device| user.enabled && meant.has(device));
        devices
            .filter_map(|device| {
                let target = device.reach.target()?;
                let mut builder = MessageBuilder::request("MESSAGE", device.contact);
                for hop in device.path {
                    builder.push_header(HeaderName::Route, hop);
                }
                Some((target, builder))
            })
            .collect()
    }

    /// A device's answer to a message, or that none came.
    pub(crate) fn handle_message_answered(&mut self, event: &sip::Event, now: Time) {
        let (txn, status) = match event {
            sip::Event::Response { txn, message, .. } if message.status() >= 200 => (*txn, message.status()),
            sip::Event::Timeout { txn } | sip::Event::TransportFailed { txn, .. } => (*txn, 480),
            sip::Event::Request { .. }
            | sip::Event::Response { .. }
            | sip::Event::Ack { .. }
            | sip::Event::Cancelled { .. }
            | sip::Event::NoAck { .. }
            | sip::Event::ServerFailed { .. } => return,
        };
        let Some(id) = self.messages.requests.remove(&txn.0) else { return };
        let Some(carried) = self.messages.carried.get_mut(&id) else { return };
        carried.left -= 1;
        let taken = status < 300;
        if !taken && TOLD.contains(&status) {
            carried.status = status;
        }
        let told = if taken { status } else { carried.status };
        let answered = if taken || carried.left == 0 { carried.sender.take() } else { None };
        if carried.left == 0 {
            self.messages.carried.remove(&id);
        }
        if let Some((txn, request)) = answered {
            let words = match told {
                413 => "Request Entity Too Large: the other side takes none of this size",
                415 => "Unsupported Media Type: the other side does not read it",
                _ => "",
            };
            let response = self.answers.plain(&request, told, words);
            self.respond(txn, response, now);
        }
    }
}

/// The value of From: who that is we say, not the sender.
fn sender_value(from: &Party, domain: &str) -> String {
    if from.private {
        return "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned();
    }
    let name: String = from.name.as_str().chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
    let name = if name.is_empty() { String::new() } else { format!("\"{name}\" ") };
    format!("{name}<sip:{}@{domain}>", from.number.as_str())
}

/// The names of our transactions: the two topmost bits.
const OURS: u64 = 3 << 62;

/// The longest body: the whole request stays near what a datagram carries unbroken (RFC 3428 §8).
const BODY_BYTES: usize = 1_000;

/// The most messages on their way at a time.
const ON_THEIR_WAY: usize = 1_000;

/// What a request without Max-Forwards counts as (RFC 3261 §16.6).
const MAX_FORWARDS: u8 = 70;

/// The failures of a device that its sender is told as they are.
const TOLD: [u16; 6] = [413, 415, 480, 486, 600, 603];
