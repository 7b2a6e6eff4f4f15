//! What users publish of themselves (RFC 3903), until it expires.

use super::package::{PIDF, Package, bad_event, read_expires};
use super::pidf::Status;
use crate::contact::Refusal;
use crate::limit;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, Params};
use std::time::Duration;
use words::{Chance, OwnMap, Time, TimerQueue, TimerToken, UserId};

/// The answer to a PUBLISH that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What names the document until the next PUBLISH (RFC 3903 §6 item 6).
    pub etag: String,
    /// For how long it stands. Units: seconds.
    pub expires_s: u32,
}

/// What is published, by user. Nothing of it is stored: after a restart a refresh finds no document, hears 412 and
/// publishes anew (RFC 3903 §6 item 4).
///
/// Limits: [`limit::PUBLICATIONS_PER_USER`]; the one that ends first leaves for a new one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Publications {
    of: OwnMap<UserId, Vec<Publication>>,
    timers: TimerQueue<(UserId, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Publication {
    etag: u64,
    status: Status,
    expires: Time,
    timer: TimerToken,
}

/// A PUBLISH, read.
struct Request {
    expires: Duration,
    /// The document that it is about, when there is one already.
    etag: Option<u64>,
    /// What it says; `None`: what was said stands.
    status: Option<Status>,
}

impl Publications {
    pub(crate) fn new(now: Time) -> Self {
        Publications { of: OwnMap::default(), timers: TimerQueue::new(now) }
    }

    /// Carries out a PUBLISH of `user` about itself (RFC 3903 §6).
    pub(crate) fn publish(
        &mut self,
        user: UserId,
        message: &Message,
        chance: &mut Chance,
        now: Time,
    ) -> Result<Published, Refusal> {
        let Request { expires, etag, status } = read(message)?;
        let before = match etag {
            Some(etag) => Some(self.take(user, etag).ok_or(Refusal::new(412, "Conditional Request Failed"))?),
            None => None,
        };
        let etag = chance.u64();
        if !expires.is_zero() {
            let status = status.or(before.map(|before| before.status)).unwrap_or_default();
            let timer = self.timers.insert(now + expires, (user, etag));
            let all = self.of.entry(user).or_default();
            all.push(Publication { etag, status, expires: now + expires, timer });
            if all.len() > limit::PUBLICATIONS_PER_USER {
                let first = all.iter().min_by_key(|one| one.expires).map(|one| one.etag);
                first.and_then(|first| self.take(user, first));
            }
        }
        Ok(Published { etag: format!("{etag:016x}"), expires_s: expires.as_secs() as u32 })
    }

    /// What a user says of itself, the latest first.
    pub(crate) fn of(&self, user: UserId) -> impl Iterator<Item = &Status> + Clone {
        self.of.get(&user).map_or(&[][..], Vec::as_slice).iter().rev().map(|one| &one.status)
    }

    /// Forgets what a user said.
    pub(crate) fn drop_user(&mut self, user: UserId) {
        for one in self.of.remove(&user).unwrap_or_default() {
            self.timers.cancel(one.timer);
        }
    }

    /// Whose document ended by now.
    pub(crate) fn due(&mut self, now: Time) -> Option<UserId> {
        let (user, etag) = self.timers.pop(now)?;
        self.take(user, etag);
        Some(user)
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.timers.next_at()
    }

    pub(crate) fn len(&self) -> usize {
        self.timers.len()
    }

    fn take(&mut self, user: UserId, etag: u64) -> Option<Publication> {
        let all = self.of.get_mut(&user)?;
        let place = all.iter().position(|one| one.etag == etag)?;
        let one = all.remove(place);
        if all.is_empty() {
            self.of.remove(&user);
        }
        self.timers.cancel(one.timer);
        Some(one)
    }
}

fn read(message: &Message) -> Result<Request, Refusal> {
    let event = message.header(HeaderName::Event).unwrap_or_default();
    let (name, _) = event.split_at(event.find(';').unwrap_or(event.len()));
    if Package::parse(name.trim()) != Some(Package::Presence) {
        return Err(Refusal {
            header: Some((HeaderName::AllowEvents, Package::Presence.name().into())),
            ..bad_event()
        });
    }
    let expires = read_expires(message, Package::Presence.default_expires())?;
    // What is no tag of ours names nothing (RFC 3903 §6 item 4).
    let etag = message.header(HeaderName::SipIfMatch).map(|etag| u64::from_str_radix(etag, 16).unwrap_or(0));
    if message.body().is_empty() {
        if etag.is_none() {
            return Err(Refusal::new(400, "Bad Request: neither a document nor SIP-If-Match"));
        }
        return Ok(Request { expires, etag, status: None });
    }
    if message.body().len() > limit::PUBLISHED_BYTES {
        return Err(Refusal::new(413, "Request Entity Too Large"));
    }
    let kind = message.content_type().unwrap_or(PIDF);
    let (kind, params) = kind.split_at(kind.find(';').unwrap_or(kind.len()));
    let charset = Params::new(params).get("charset").unwrap_or("utf-8");
    if !kind.trim().eq_ignore_ascii_case(PIDF) || !charset.eq_ignore_ascii_case("utf-8") {
        return Err(Refusal {
            status: 415,
            reason: "Unsupported Media Type: presence is published as Accept says",
            header: Some((HeaderName::Accept, PIDF.into())),
        });
    }
    let status = Status::read(message.body()).map_err(|_| Refusal::new(400, "Bad Presence Document"))?;
    Ok(Request { expires, etag, status: Some(status) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::at;
    use sip::MessageBuilder;
    use words::Seed;

    const ANN: UserId = UserId(101);

    struct Desk {
        publications: Publications,
        chance: Chance,
    }

    impl Desk {
        fn new() -> Self {
            Desk { publications: Publications::new(at(0)), chance: Chance::new(Seed::from_number(1)) }
        }

        fn publish(&mut self, headers: &[(&str, &str)], note: &str, now: u64) -> Result<Published, Refusal> {
            let mut builder = MessageBuilder::request("PUBLISH", "sip:101@office.example")
                .header(HeaderName::Via, "SIP/2.0/UDP 10.0.0.4;branch=z9hG4bK1")
                .header(HeaderName::From, "<sip:101@office.example>;tag=a")
                .header(HeaderName::To, "<sip:101@office.example>")
                .header(HeaderName::CallId, "c1")
                .header(HeaderName::CSeq, "1 PUBLISH")
                .header(HeaderName::Event, "presence");
            for (name, value) in headers {
                builder = builder.raw(name, value);
            }
            let bytes = if note.is_empty() {
                builder.finish()
            } else {
                let body = format!("<presence><tuple><note>{note}</note></tuple></presence>");
                builder.finish_with_body(PIDF, body.as_bytes())
            };
            self.publications.publish(ANN, &Message::parse(bytes).unwrap(), &mut self.chance, at(now))
        }

        fn notes(&self) -> Vec<&str> {
            self.publications.of(ANN).map(|status| status.note.as_str()).collect()
        }
    }

    #[test]
    fn a_document_is_made_refreshed_changed_and_removed() {
        let mut desk = Desk::new();
        let made = desk.publish(&[("Expires", "60")], "lunch", 0).unwrap();
        assert_eq!((desk.notes(), made.expires_s), (vec!["lunch"], 60));
        let refreshed = desk.publish(&[("SIP-If-Match", &made.etag), ("Expires", "60")], "", 50).unwrap();
        assert_ne!(made.etag, refreshed.etag);
        assert_eq!(desk.publish(&[("SIP-If-Match", &made.etag)], "", 51).unwrap_err().status, 412);
        assert_eq!(desk.publications.due(at(100)), None, "the refresh counts");
        let changed = desk.publish(&[("SIP-If-Match", &refreshed.etag)], "back", 101).unwrap();
        assert_eq!((desk.notes(), changed.expires_s), (vec!["back"], 3_600));
        desk.publish(&[("SIP-If-Match", &changed.etag), ("Expires", "0")], "", 102).unwrap();
        assert!(desk.notes().is_empty());
        assert_eq!((desk.publications.len(), desk.publications.next_at()), (0, None));
    }

    #[test]
    fn a_document_ends_with_its_time() {
        let mut desk = Desk::new();
        desk.publish(&[("Expires", "60")], "lunch", 0).unwrap();
        assert_eq!((desk.publications.due(at(59)), desk.publications.due(at(60))), (None, Some(ANN)));
        assert!(desk.notes().is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut desk = Desk::new();
        let status =
            |desk: &mut Desk, headers: &[(&str, &str)], note: &str| desk.publish(headers, note, 0).unwrap_err().status;
        assert_eq!(status(&mut desk, &[], ""), 400);
        assert_eq!(status(&mut desk, &[("SIP-If-Match", "x")], "a"), 412);
        assert_eq!(status(&mut desk, &[("Expires", "5")], "a"), 423);
        assert_eq!(status(&mut desk, &[], "</note>"), 400);
        assert_eq!(status(&mut desk, &[], &"x".repeat(limit::PUBLISHED_BYTES)), 413);
    }

    #[test]
    fn a_user_has_room_for_a_few() {
        let mut desk = Desk::new();
        for n in 0..20 {
            desk.publish(&[], &format!("note {n}"), n).unwrap();
        }
        assert_eq!(desk.notes().len(), limit::PUBLICATIONS_PER_USER);
        assert_eq!(desk.notes()[0], "note 19");
        desk.publications.drop_user(ANN);
        assert_eq!(desk.publications.len(), 0);
    }
}
