//! One subscription: its dialog, where its NOTIFYs go, and how fast (RFC 6665 §4.2).

use super::package::Package;
use super::state::State;
use crate::contact::Refusal;
use crate::limit;
use serde::{Deserialize, Serialize};
use sip::{Contact, Dialog, HeaderName, Message, MessageBuilder, Method, Uri};
use std::fmt::Write as _;
use std::time::Duration;
use words::{AccountId, Clock, ConnectionId, Flow, StoredSubscription, Time, TimerToken, Transport, UserId, Wall};

/// Limits: texts as [`limit::SUBSCRIBE_BYTES`] says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) who: Who,
    pub(crate) id: Option<Box<str>>,
    /// The number in our tag.
    pub(crate) secret: u64,
    pub(crate) dialog: Box<Dialog>,
    pub(crate) flow: Flow,
    /// The value of our Contact.
    pub(crate) contact: Box<str>,
    pub(crate) state: State,
    /// Why it ends, once it is to end.
    pub(crate) ending: Option<Ending>,
    /// Whether the store knows it. Who only asks once is not worth it.
    pub(crate) stored: bool,
    /// When it began: numbers that must not be used twice are counted from there after a restart.
    pub(crate) began: Wall,
    pub(crate) expires: Time,
    /// When it was made or refreshed.
    pub(crate) refreshed: Time,
    /// Whether the subscriber spoke to this process.
    pub(crate) heard: bool,
    pub(crate) pace: Pace,
    /// The NOTIFY under way.
    pub(crate) under_way: u32,
    /// Whether it stands in line for a turn.
    pub(crate) in_line: bool,
    pub(crate) expiry: Option<TimerToken>,
    pub(crate) wait: Option<TimerToken>,
}

/// Who watches what of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) account: AccountId,
    pub(crate) watcher: UserId,
    pub(crate) subject: UserId,
    pub(crate) package: Package,
}

/// What a timer is for, with the slot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Due {
    /// The subscription's time is over.
    Expiry(u32),
    /// It may be told again.
    Wait(u32),
}

/// Why a subscription ends (RFC 6665 §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    /// It may be made anew at once, with the password of today.
    Deactivated,
    /// There is no room for it; it may be tried again later.
    GiveUp,
    /// Its time is over, or its subscriber ended it.
    Timeout,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Ending::Deactivated => "terminated;reason=deactivated",
            Ending::GiveUp => "terminated;reason=giveup;retry-after=600",
            Ending::Timeout => "terminated;reason=timeout",
        }
    }
}

impl Subscription {
    /// The next NOTIFY, without its body (RFC 6665 §4.2.2).
    pub(crate) fn notify(&mut self, server: &str, now: Time) -> MessageBuilder {
        let mut builder = self.dialog.request(Method::Notify);
        builder.push_header(HeaderName::Contact, &self.contact);
        builder.push_header(HeaderName::UserAgent, server);
        let package = self.who.package.name();
        match &self.id {
            Some(id) => builder.push_header_fmt(HeaderName::Event, format_args!("{package};id={id}")),
            None => builder.push_header(HeaderName::Event, package),
        }
        if let Some(ending) = self.ending {
            builder.push_header(HeaderName::SubscriptionState, ending.as_str());
        } else {
            let left = self.expires.since(now).as_millis().div_ceil(1_000);
            builder.push_header_fmt(HeaderName::SubscriptionState, format_args!("active;expires={left}"));
        }
        builder
    }

    /// The version of the document in the NOTIFY made last: it counts from 0, as CSeq does from 1.
    pub(crate) fn version(&self) -> u32 {
        self.dialog.local_cseq.saturating_sub(1)
    }

    /// What the store keeps.
    pub(crate) fn stored(&self, entity: &str, clock: &Clock) -> StoredSubscription {
        let dialog = &self.dialog;
        StoredSubscription {
            key: dialog.local_tag.clone(),
            package: self.who.package.name().to_owned(),
            id: self.id.as_deref().map(str::to_owned),
            subject: self.who.subject,
            entity: entity.to_owned(),
            call_id: dialog.call_id.clone(),
            local: dialog.local.clone(),
            remote: dialog.remote.clone(),
            remote_tag: dialog.remote_tag.clone(),
            target: dialog.remote_target.clone(),
            route: dialog.route_set.clone(),
            secure: dialog.secure,
            cseq: dialog.remote_cseq.unwrap_or(0),
            transport: self.flow.transport,
            listener: self.flow.listener,
            local_address: self.flow.local,
            source: self.flow.remote,
            began: self.began,
            expires: clock.wall_at(self.expires),
        }
    }

    /// A subscription of the last process.
    pub(crate) fn restored(
        account: AccountId,
        watcher: UserId,
        stored: StoredSubscription,
        host: &str,
        clock: &Clock,
        now: Time,
    ) -> Option<Subscription> {
        let secret = secret_of(&stored.key)?;
        let package = Package::parse(&stored.package)?;
        let flow = Flow {
            transport: stored.transport,
            listener: stored.listener,
            connection: ConnectionId::NONE,
            local: stored.local_address,
            remote: stored.source,
        };
        // How many NOTIFYs there were is not stored; there were never more than the pace allows.
        let lived = clock.wall_at(now).0.saturating_sub(stored.began.0).max(0) as u64 / 1_000;
        let local_cseq = (lived as u32).saturating_add(SPARE_NUMBERS) & (i32::MAX as u32);
        let expires = clock.time_at(stored.expires).min(now + limit::EVENT_MAX_EXPIRES);
        let contact = contact_value(&stored.key, host, flow.transport, stored.secure);
        let dialog = Dialog {
            call_id: stored.call_id,
            local_tag: stored.key,
            remote_tag: stored.remote_tag,
            local: stored.local,
            remote: stored.remote,
            remote_target: stored.target,
            route_set: stored.route,
            local_cseq,
            remote_cseq: Some(stored.cseq),
            secure: stored.secure,
        };
        Some(Subscription {
            who: Who { account, watcher, subject: stored.subject, package },
            id: stored.id.map(Into::into),
            secret,
            dialog: Box::new(dialog),
            flow,
            contact: contact.into(),
            state: if flow.transport == Transport::Udp { State::Told } else { State::Adrift },
            ending: None,
            stored: true,
            began: stored.began,
            expires,
            refreshed: now,
            heard: false,
            pace: Pace::new(now),
            under_way: 0,
            in_line: false,
            expiry: None,
            wait: None,
        })
    }
}

/// How fast NOTIFYs may follow each other: some at once, then one per [`limit::NOTIFY_EVERY`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Pace {
    left: u8,
    since: Time,
}

impl Pace {
    pub(crate) const fn new(now: Time) -> Self {
        Pace { left: limit::NOTIFY_BURST, since: now }
    }

    /// When the next one may leave.
    pub(crate) fn next(&mut self, now: Time) -> Time {
        while self.left < limit::NOTIFY_BURST && self.since + limit::NOTIFY_EVERY <= now {
            self.left += 1;
            self.since += limit::NOTIFY_EVERY;
        }
        if self.left == limit::NOTIFY_BURST {
            self.since = now;
        }
        if self.left > 0 { now } else { self.since + limit::NOTIFY_EVERY }
    }

    /// One leaves.
    pub(crate) fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

/// Our tag with a number in it that nobody guesses. It begins so that no tag of a call looks like it.
pub(crate) fn tag_of(secret: u64) -> String {
    format!("w{secret:016x}")
}

/// The number in a tag of ours.
pub(crate) fn secret_of(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('w').filter(|digits| digits.len() == 16)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.bytes().all(is_digit) { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// The value of Contact: a token that finds the subscription, at `host`, which is ours.
pub(crate) fn contact_value(tag: &str, host: &str, transport: Transport, secure: bool) -> String {
    let mut value = String::with_capacity(tag.len() + host.len() + 24);
    value.push_str(if secure { "<sips:" } else { "<sip:" });
    value.push_str(tag);
    value.push('@');
    value.push_str(host);
    if transport != Transport::Udp {
        // In a sips URI TLS is meant already (RFC 3261 §26.2.2). Writing to a String cannot fail.
        let token = if secure && transport == Transport::Tls { Transport::Tcp } else { transport }.uri_token();
        let _ = write!(value, ";transport={token}");
    }
    value.push('>');
    value
}

/// Whether a REGISTER comes from the device at that Contact: the same user at the same address.
pub(crate) fn names(register: &Message, contact: &str) -> bool {
    let Ok(ours) = Uri::parse(contact) else { return false };
    register.contacts().any(|contact| match contact {
        Ok(Contact::Address(address)) => Uri::parse(address.uri).is_ok_and(|uri| {
            uri.user == ours.user && uri.host.eq_ignore_ascii_case(ours.host) && uri.port == ours.port
        }),
        Ok(Contact::Star) | Err(_) => false,
    })
}

/// What a subscription would keep of a SUBSCRIBE has a limit.
pub(crate) fn check_size(message: &Message) -> Result<(), Refusal> {
    let call_id = message.call_id().map_err(|error| Refusal::new(400, error.reason()))?;
    let kept = [HeaderName::From, HeaderName::To, HeaderName::Contact, HeaderName::RecordRoute];
    let bytes: usize = kept.into_iter().flat_map(|name| message.headers(name)).map(str::len).sum();
    if call_id.len() > limit::CALL_ID_BYTES || bytes > limit::SUBSCRIBE_BYTES {
        return Err(Refusal::new(400, "Bad Request: Call-ID, From, To, Contact or Record-Route is too long"));
    }
    Ok(())
}

/// Whether such an answer to a NOTIFY ends its subscription, whatever else it says (RFC 6665 §4.2.2).
pub(crate) const fn ends(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

/// How long Retry-After asks us to wait.
pub(crate) fn retry_after(value: &str) -> Option<Duration> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).map_or(value, |end| &value[..end]);
    Some(Duration::from_secs(digits.parse().ok()?).min(limit::NOTIFY_RETRY))
}

/// How many CSeq numbers are left out after a restart, besides one for each second.
const SPARE_NUMBERS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::at;

    #[test]
    fn some_leave_at_once_and_then_one_each_second() {
        let mut pace = Pace::new(at(0));
        for _ in 0..limit::NOTIFY_BURST {
            assert_eq!(pace.next(at(10)), at(10));
            pace.take();
        }
        assert_eq!(pace.next(at(10)), at(11));
        assert_eq!(pace.next(at(11)), at(11));
        pace.take();
        assert_eq!(pace.next(at(11)), at(12));
        // After a rest there is as much room as in the beginning, and not more.
        for _ in 0..limit::NOTIFY_BURST {
            assert_eq!(pace.next(at(100)), at(100));
            pace.take();
        }
        assert_eq!(pace.next(at(100)), at(101));
    }

    #[test]
    fn tags_are_ours_or_not() {
        assert_eq!(secret_of(&tag_of(u64::MAX - 7)), Some(u64::MAX - 7));
        for tag in ["", "w", "w00", "wFEED000000000001", "0001000111700002feed000000000001", "w+eed000000000001"] {
            assert_eq!(secret_of(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_contact_says_how_it_is_reached() {
        assert_eq!(contact_value("t", "h:5060", Transport::Udp, false), "<sip:t@h:5060>");
        assert_eq!(contact_value("t", "h:5061", Transport::Tls, true), "<sips:t@h:5061;transport=tcp>");
        assert_eq!(contact_value("t", "h:443", Transport::Wss, false), "<sip:t@h:443;transport=ws>");
    }

    #[test]
    fn retry_after_is_read_and_bounded() {
        assert_eq!(retry_after("7 (in a meeting)"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("99999"), Some(limit::NOTIFY_RETRY));
        assert_eq!(retry_after("soon"), None);
    }
}
