//! What each message of the exchange is held to as it leaves.

mod wire;

use crate::sim::store::Store;
use bytes::Bytes;
use sip::{HeaderName, Message, Method};
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use wire::Wire;
use words::{Flow, Time, Transport};

/// What was seen on the wire, as far as laws need it.
#[derive(Debug, Default)]
pub(crate) struct Laws {
    /// Who spoke to us, and whom we were told to call.
    known: BTreeSet<SocketAddr>,
    /// Where DNS sent us.
    hosts: BTreeSet<IpAddr>,
    /// What was told for the last time, the newest last: dialog and what it was about, by the number of that request.
    ended: VecDeque<(String, u32)>,
    /// INVITEs that had their 2xx, the newest last.
    granted: VecDeque<(String, u16)>,
    wire: Wire,
}

impl Laws {
    /// Somebody spoke, or is a peer.
    pub(crate) fn know(&mut self, source: SocketAddr) {
        self.known.insert(source);
    }

    /// The exchange was started anew, and remembers no transaction.
    pub(crate) fn forget(&mut self) {
        self.granted.clear();
        self.wire.forget();
    }

    /// A message comes to the exchange.
    pub(crate) fn hear(&mut self, flow: &Flow, bytes: &Bytes, now: Time) {
        if let Ok(message) = Message::parse(bytes.clone()) {
            self.wire.hear(flow, &message, now);
        }
    }

    /// Time passes.
    pub(crate) fn rest(&mut self, now: Time) {
        self.wire.rest(now);
    }

    /// DNS names this address.
    pub(crate) fn know_host(&mut self, host: IpAddr) {
        self.hosts.insert(host);
    }

    /// A message leaves the exchange. Says what is wrong with it.
    pub(crate) fn judge(&mut self, flow: &Flow, bytes: &Bytes, store: &mut Store, now: Time) -> Result<(), String> {
        // Calls go to the flow that a registration came from, not to where a Contact claims.
        let known = self.known.contains(&flow.remote) || self.hosts.contains(&flow.remote.ip());
        if flow.transport == Transport::Udp && !known {
            return Err(format!("sends to {}, who never spoke to us", flow.remote));
        }
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return Ok(());
        }
        let message =
            Message::parse(bytes.clone()).map_err(|error| format!("writes what cannot be read: {error:?}"))?;
        check_private(&message)?;
        self.check_last(&message)?;
        self.check_answered(&message)?;
        self.wire.judge(flow, &message, now)?;
        check_words(&message)?;
        if message.status() != 200 {
            return Ok(());
        }
        match message.method() {
            Method::Bye => store.may_end(message.call_id().unwrap_or_default(), now),
            Method::Register => {
                let cseq = message.cseq().map_err(|error| error.to_string())?;
                store.may_bind(message.call_id().unwrap_or_default(), cseq.number)
            }
            _ => Ok(()),
        }
    }
}

impl Laws {
    /// Nothing follows a BYE in its dialog, nor a NOTIFY that says `terminated` in its subscription, but the same again.
    fn check_last(&mut self, message: &Message) -> Result<(), String> {
        if !message.is_request() {
            return Ok(());
        }
        let header = |name| message.header(name).unwrap_or_default();
        let tags = (message.from_tag().unwrap_or_default(), message.to_tag().unwrap_or_default());
        let dialog = format!("{} {} {}", header(HeaderName::CallId), tags.0, tags.1);
        let about = format!("{dialog} {}", header(HeaderName::Event));
        let cseq = message.cseq().map_err(|error| error.to_string())?.number;
        let follows = |(over, last): &(String, u32)| (*over == dialog || *over == about) && cseq > *last;
        if self.ended.iter().any(follows) {
            return Err(format!("sends {} after the last word of {about}", message.method_token()));
        }
        let over = match message.method() {
            Method::Bye => dialog,
            Method::Notify if header(HeaderName::SubscriptionState).starts_with("terminated") => about,
            _ => return Ok(()),
        };
        if self.ended.len() >= ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((over, cseq));
        Ok(())
    }
}

impl Laws {
    /// Once an INVITE has had its 2xx its transaction has nothing more to say but that again (RFC 6026 §7.1).
    fn check_answered(&mut self, message: &Message) -> Result<(), String> {
        if message.is_request() || message.method() != Method::Invite {
            return Ok(());
        }
        let header = |name| message.header(name).unwrap_or_default();
        let branch = message.via().ok().and_then(|via| via.branch().map(str::to_owned)).unwrap_or_default();
        let request = format!("{} {branch} {}", header(HeaderName::CallId), header(HeaderName::CSeq));
        let status = message.status();
        match self.granted.iter().find(|(known, _)| *known == request) {
            Some((_, before)) if *before != status => Err(format!("answers {status} after {before} to {request}")),
            None if (200..300).contains(&status) => {
                if self.granted.len() >= ENDED {
                    self.granted.pop_front();
                }
                self.granted.push_back((request, status));
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Statuses whose usual phrase tells nobody what is wrong with what he asked: ours say more.
const UNCLEAR: [u16; 9] = [405, 415, 420, 422, 483, 488, 489, 491, 501];

/// A refusal says what is wrong.
fn check_words(message: &Message) -> Result<(), String> {
    let status = message.status();
    if !message.is_request() && UNCLEAR.contains(&status) && message.reason() == sip::reason_phrase(status) {
        return Err(format!("answers {status} {} and no word more", message.reason()));
    }
    Ok(())
}

/// How many last words are remembered.
const ENDED: usize = 64;

/// Nothing that belongs to one hop crosses: no credentials, and one Via on our requests.
fn check_private(message: &Message) -> Result<(), String> {
    if !message.is_request() {
        return Ok(());
    }
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        if message.header(name).is_some() {
            return Err(format!("{} carries credentials", message.method_token()));
        }
    }
    match message.vias().count() {
        1 => Ok(()),
        vias => Err(format!("{} with {vias} Via", message.method_token())),
    }
}
