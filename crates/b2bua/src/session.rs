//! Session timers (RFC 4028) as values: what a leg is granted, what it grants us, and when somebody must speak.
//!
//! Each leg has a timer of its own, or none. Where we may choose we refresh: the other side's silence is then noticed
//! after half of the interval, and no phone that forgets its part loses its call.

use crate::event::Refusal;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, Refresher};
use std::time::Duration;
use words::Time;

/// Settings of session timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// The interval that we ask for; 0: none, but others may ask us. Default 1,800. Units: seconds.
    pub expires_s: u32,
    /// The shortest interval that we accept (Min-SE); RFC 4028 §4 wants no less than 90. Default 90. Units: seconds.
    pub min_s: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig { expires_s: 1_800, min_s: SHORTEST_S }
    }
}

/// The timer of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Units: seconds.
    pub(crate) interval_s: u32,
    /// The shortest that anybody on the way accepts. Units: seconds.
    pub(crate) min_s: u32,
    /// Whether we refresh.
    pub(crate) ours: bool,
    /// It was not agreed on: we only look whether the other side is still there.
    pub(crate) watches: bool,
    /// How often a longer one was wanted since it was agreed on last.
    #[serde(default)]
    raised: u8,
    /// When it was refreshed last.
    last: Time,
    /// When we are to do something.
    pub(crate) at: Time,
}

/// What is to be done when a session's time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Refresh it.
    Refresh,
    /// Give it up: BYE (RFC 4028 §10).
    End,
}

impl Session {
    fn new(interval_s: u32, min_s: u32, ours: bool, now: Time) -> Session {
        let mut session = Session { interval_s, min_s, ours, watches: false, raised: 0, last: now, at: now };
        session.refreshed(now);
        session
    }

    /// For a leg without a timer whose silence does not count, as it is on hold.
    pub(crate) fn watch(config: SessionConfig, now: Time) -> Session {
        let interval_s = if config.expires_s == 0 { WATCH_S } else { config.expires_s };
        Session { watches: true, ..Session::new(interval_s, SHORTEST_S, true, now) }
    }

    /// It was refreshed: we refresh again at half of the interval; who waits gives up a moment before its end (RFC
    /// 4028 §10).
    pub(crate) fn refreshed(&mut self, now: Time) {
        let interval = self.interval();
        self.last = now;
        self.at = now + if self.ours { interval / 2 } else { interval.saturating_sub((interval / 3).min(MARGIN)) };
    }

    /// Its time has come.
    pub(crate) fn overdue(&mut self, now: Time) -> Overdue {
        let end = self.last + self.interval();
        if !self.ours || now >= end {
            return Overdue::End;
        }
        self.at = end;
        Overdue::Refresh
    }

    /// The refresh did not work now, but may after `wait`; it must before the end.
    pub(crate) fn postpone(&mut self, wait: Duration, now: Time) {
        self.at = (now + wait).min(self.last + self.interval());
    }

    /// 422: a longer interval is wanted. Whether it makes a difference, and was not wanted too often: who always wants a
    /// little more would be asked for ever.
    pub(crate) fn raise(&mut self, response: &Message) -> bool {
        let Some(min_s) = response.min_se().filter(|min_s| *min_s > self.interval_s) else { return false };
        if self.raised >= RAISED {
            return false;
        }
        self.raised += 1;
        (self.interval_s, self.min_s) = (min_s, self.min_s.max(min_s));
        true
    }

    /// The value of Session-Expires in a request of ours (RFC 4028 §7.4).
    pub(crate) fn in_request(&self) -> (u32, Refresher) {
        (self.interval_s.max(self.min_s), if self.ours { Refresher::Uac } else { Refresher::Uas })
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s.into())
    }
}

/// Refuses a request whose session would be too short for us (RFC 4028 §9), or cannot be read.
pub(crate) fn check(request: &Message, config: SessionConfig) -> Result<(), Refusal> {
    let bad = Refusal { status: 400, reason: "Bad Session-Expires", header: None };
    match request.session_expires().map_err(|_| bad)? {
        Some(asked) if asked.seconds < config.min_s && request.knows(OPTION) => {
            let header = Some((HeaderName::MinSe, config.min_s.to_string().into()));
            Err(Refusal { status: 422, reason: "Session Interval Too Small: Min-SE names the shortest", header })
        }
        // Who does not know what a 422 means gets a longer one instead.
        Some(_) | None => Ok(()),
    }
}

/// What our 2xx to a request says about the session, and what holds from then on (RFC 4028 §9, table 2). `None`: there
/// is no timer.
pub(crate) fn grant(
    request: &Message,
    known: Option<Session>,
    config: SessionConfig,
    now: Time,
) -> Option<(Session, Refresher)> {
    let asked = request.session_expires().ok().flatten();
    let knows = request.knows(OPTION);
    let wish = if config.expires_s == 0 { u32::MAX } else { config.expires_s };
    let most = asked.map(|asked| asked.seconds).or(known.map(|known| known.interval_s));
    let most = most.or((knows && config.expires_s != 0).then_some(wish))?;
    let min_s = request.min_se().unwrap_or_default().max(config.min_s).max(known.map_or(0, |known| known.min_s));
    let refresher = match asked.and_then(|asked| asked.refresher) {
        Some(Refresher::Uac) if knows => Refresher::Uac,
        Some(Refresher::Uac | Refresher::Uas) | None => Refresher::Uas,
    };
    Some((Session::new(most.min(wish).max(min_s), min_s, refresher == Refresher::Uas, now), refresher))
}

/// What a 2xx to a request of ours says; `None`: there is no timer (RFC 4028 §7.2).
pub(crate) fn learn(response: &Message, min_s: u32, config: SessionConfig, now: Time) -> Option<Session> {
    let said = response.session_expires().ok().flatten()?;
    // Who answers must name one of us. Who does not cannot mean itself: it was not made to refresh.
    let ours = said.refresher != Some(Refresher::Uas);
    Some(Session::new(said.seconds.max(config.min_s), min_s, ours, now))
}

/// The option tag.
pub(crate) const OPTION: &str = "timer";

/// How often a leg may want a longer session than it is asked for: each proxy on the way may, once.
pub(crate) const RAISED: u8 = 4;

/// The shortest interval that there is, and what no Min-SE means (RFC 4028 §5). Units: seconds.
pub(crate) const SHORTEST_S: u32 = 90;

/// The interval at which a leg on hold is watched where no interval is set. Units: seconds.
const WATCH_S: u32 = 1_800;

/// How long before the end of a session who waits for a refresh gives up, at most (RFC 4028 §10).
const MARGIN: Duration = Duration::from_secs(32);

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const CONFIG: SessionConfig = SessionConfig { expires_s: 1_800, min_s: 90 };
    const NOW: Time = Time::from_millis(5_000);

    fn message(lines: &str) -> Message {
        let text = format!(
            "INVITE sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Interval, whether we refresh, and the word in the answer.
    fn granted(lines: &str) -> Option<(u32, bool, &'static str)> {
        let (session, refresher) = grant(&message(lines), None, CONFIG, NOW)?;
        Some((session.interval_s, session.ours, refresher.as_str()))
    }

    #[test]
    fn who_knows_nothing_of_timers_gets_none() {
        assert_eq!(granted(""), None);
        assert_eq!(granted("Supported: 100rel\r\n"), None);
        let off = SessionConfig { expires_s: 0, ..CONFIG };
        assert_eq!(grant(&message("Supported: timer\r\n"), None, off, NOW), None);
    }

    /// Table 2 of RFC 4028.
    #[test]
    fn the_refresher_is_whom_the_request_names() {
        assert_eq!(granted("Supported: timer\r\n"), Some((1_800, true, "uas")));
        assert_eq!(granted("Supported: timer\r\nSession-Expires: 600\r\n"), Some((600, true, "uas")));
        assert_eq!(granted("Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n"), Some((600, false, "uac")));
        assert_eq!(granted("Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n"), Some((600, true, "uas")));
        // A proxy asks; the caller cannot refresh.
        assert_eq!(granted("Session-Expires: 600\r\n"), Some((600, true, "uas")));
    }

    #[test]
    fn an_interval_is_cut_to_ours_and_never_below_what_others_accept() {
        assert_eq!(granted("Supported: timer\r\nSession-Expires: 7200\r\n").unwrap().0, 1_800);
        assert_eq!(granted("Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600\r\n").unwrap().0, 3_600);
        assert_eq!(granted("Session-Expires: 30\r\n").unwrap().0, 90);
    }

    #[test]
    fn what_is_too_short_is_refused_where_that_is_understood() {
        let refused = |lines: &str| check(&message(lines), CONFIG).err();
        let refusal = refused("Supported: timer\r\nSession-Expires: 89\r\n").unwrap();
        assert_eq!((refusal.status, refusal.header), (422, Some((HeaderName::MinSe, "90".into()))));
        assert_eq!(refused("Session-Expires: x\r\n").map(|refusal| refusal.status), Some(400));
        for fine in ["", "Session-Expires: 89\r\n", "Supported: timer\r\nSession-Expires: 90\r\n"] {
            assert_eq!(refused(fine), None);
        }
    }

    #[test]
    fn we_refresh_at_half_and_others_have_until_shortly_before_the_end() {
        let learned = |line: &str| learn(&message(line), 90, CONFIG, NOW).unwrap();
        let mut ours = learned("Session-Expires: 1800;refresher=uac\r\n");
        assert_eq!((ours.ours, ours.at), (true, NOW + secs(900)));
        assert_eq!(ours.overdue(ours.at), Overdue::Refresh);
        assert_eq!(ours.at, NOW + secs(1_800));
        ours.postpone(secs(3), NOW + secs(910));
        assert_eq!(ours.at, NOW + secs(913));
        ours.postpone(secs(3), NOW + secs(1_799));
        assert_eq!(ours.overdue(ours.at), Overdue::End);
        let mut theirs = learned("Session-Expires: 1800;refresher=uas\r\n");
        assert_eq!((theirs.ours, theirs.at), (false, NOW + secs(1_768)));
        assert_eq!(theirs.overdue(theirs.at), Overdue::End);
        assert_eq!(learned("Session-Expires: 90;refresher=uas\r\n").at, NOW + secs(60));
        assert_eq!(learn(&message(""), 90, CONFIG, NOW), None);
        assert!(learned("Session-Expires: 1\r\n").interval_s == 90, "nobody makes us refresh twice a second");
    }

    #[test]
    fn a_longer_interval_is_taken_when_it_is_one() {
        let mut session = learn(&message("Session-Expires: 100\r\n"), 90, CONFIG, NOW).unwrap();
        assert!(!session.raise(&message("")) && !session.raise(&message("Min-SE: 100\r\n")));
        assert!(session.raise(&message("Min-SE: 200\r\n")));
        assert_eq!(session.in_request(), (200, Refresher::Uac));
        let wanted = (201..).take_while(|min_s| session.raise(&message(&format!("Min-SE: {min_s}\r\n"))));
        assert_eq!(wanted.count(), usize::from(RAISED) - 1, "who wants more each time is not asked for ever");
    }
}
