//! The call detail record, a pure fold from the call's events.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;
use words::{AccountId, CallId, EndCause, Event, Fact, LegFigures, LegId, Party, Time, Wall};

/// What is known about one call: open until its [`Fact::CallEnded`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cdr {
    /// Whose call it is.
    pub account: AccountId,
    /// The call.
    pub call: CallId,
    /// Who called.
    pub from: Party,
    /// What was dialled.
    pub to: Party,
    /// The caller's Call-ID header, to find it in traces.
    pub sip_call_id: String,
    /// The address the INVITE came from.
    pub source: SocketAddr,
    /// When the INVITE was taken.
    pub opened: Moment,
    /// When the first leg rang.
    pub rang: Option<Moment>,
    /// The answer, if there was one.
    pub answered: Option<Answer>,
    /// Who took whose place, in order.
    #[serde(default)]
    pub transfers: Vec<Transfer>,
    /// When the caller left, where the call went on without it.
    #[serde(default)]
    pub caller_left: Option<Moment>,
    /// The end; `None` while the call goes on.
    pub ended: Option<Ending>,
    /// Whom it rang, in order.
    pub legs: Vec<LegRecord>,
    /// Legs past [`LEGS_PER_CALL`] that are not listed.
    pub legs_left_out: u32,
    /// How well the media of its legs went; 0 is the caller's.
    #[serde(default)]
    pub media: Vec<LegMedia>,
}

/// How well the media of a leg went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegMedia {
    /// The number of the leg; of those that rang together the first one's.
    pub n: u16,
    /// In both directions.
    #[serde(flatten)]
    pub figures: LegFigures,
}

/// A reading of both clocks: the monotonic side measures, the wall side is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// On the monotonic clock.
    pub at: Time,
    /// On the wall clock.
    pub wall: Wall,
}

/// How a call was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// When talk time began.
    pub moment: Moment,
    /// The leg that won; `None` when the exchange itself answered.
    pub by: Option<LegId>,
    /// Who answered.
    pub who: Party,
}

/// How a leg's place was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// When.
    pub moment: Moment,
    /// The number of the leg whose place it was; 0 is the caller's.
    pub by: u16,
    /// The leg that took it; `None` when the exchange itself did, or a leg of the other call.
    pub to: Option<u16>,
    /// Who that is.
    pub who: Party,
    /// The other call, where two were joined.
    pub with: Option<CallId>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// When.
    pub moment: Moment,
    /// Why.
    pub cause: EndCause,
    /// The leg that ended it; `None` when the exchange did.
    pub by: Option<LegId>,
}

/// One leg that the exchange opened towards somebody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegRecord {
    /// Its number within the call.
    pub n: u16,
    /// Whom it rang.
    pub to: Party,
    /// When it was begun.
    pub opened: Moment,
    /// When it said that it rings.
    pub rang: Option<Moment>,
    /// When and why it ended.
    pub ended: Option<(Moment, EndCause)>,
}

/// Which way a call went, seen from the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a peer to the account's own.
    Inbound,
    /// Between users, or to a service of the exchange.
    Internal,
    /// From the account's own to a peer.
    Outbound,
    /// From a peer to a peer.
    Transit,
}

impl Direction {
    /// The name in records and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Internal => "internal",
            Direction::Outbound => "outbound",
            Direction::Transit => "transit",
        }
    }
}

/// An event that does not belong where it was applied; the record is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// It is of another call or account, or of none.
    AnotherCall,
    /// The call has ended: a record closes once.
    Ended,
    /// The call was opened or answered before.
    Repeated,
    /// It names a leg that was not opened.
    UnknownLeg,
}

impl std::fmt::Display for Misplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Misplaced::AnotherCall => "the event belongs to another call",
            Misplaced::Ended => "the call has ended",
            Misplaced::Repeated => "the call was opened or answered before",
            Misplaced::UnknownLeg => "the leg was not opened",
        })
    }
}

impl std::error::Error for Misplaced {}

impl Cdr {
    /// Begins a record; `None` unless the event is [`Fact::CallOpened`].
    pub fn open(event: &Event) -> Option<Cdr> {
        let Fact::CallOpened { call, from, to, sip_call_id, source } = &event.fact else { return None };
        Some(Cdr {
            account: event.account,
            call: *call,
            from: from.clone(),
            to: to.clone(),
            sip_call_id: sip_call_id.clone(),
            source: *source,
            opened: Moment::of(event),
            rang: None,
            answered: None,
            transfers: Vec::new(),
            caller_left: None,
            ended: None,
            legs: Vec::new(),
            legs_left_out: 0,
            media: Vec::new(),
        })
    }

    /// The record of a call from its events in order; `None` when they do not begin with its opening. Misplaced events
    /// are passed over.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Cdr> {
        let mut events = events.into_iter();
        let mut cdr = Cdr::open(events.next()?)?;
        for event in events {
            // A record with a gap is worth more than none.
            let _ = cdr.apply(event);
        }
        Some(cdr)
    }

    /// Takes the next event of the call in.
    pub fn apply(&mut self, event: &Event) -> Result<(), Misplaced> {
        if event.account != self.account || call_of(&event.fact) != Some(self.call) {
            return Err(Misplaced::AnotherCall);
        }
        if let Fact::LegMeasured { leg, figures } = &event.fact {
            // Ports are free a moment after the end.
            if self.media.len() < LEGS_PER_CALL {
                self.media.push(LegMedia { n: leg.n, figures: **figures });
            }
            return Ok(());
        }
        if self.ended.is_some() {
            return Err(Misplaced::Ended);
        }
        let moment = Moment::of(event);
        match &event.fact {
            Fact::CallOpened { .. } => return Err(Misplaced::Repeated),
            Fact::LegOpened { leg, to } => self.open_leg(*leg, to, moment),
            Fact::LegRang { leg } => {
                self.leg(*leg)?.rang.get_or_insert(moment);
                self.rang.get_or_insert(moment);
            }
            Fact::LegEnded { leg, .. } if leg.n == 0 => {
                self.caller_left.get_or_insert(moment);
            }
            Fact::LegEnded { leg, cause } => {
                self.leg(*leg)?.ended.get_or_insert((moment, *cause));
            }
            Fact::CallAnswered { by, who, .. } => {
                if self.answered.is_some() {
                    return Err(Misplaced::Repeated);
                }
                self.answered = Some(Answer { moment, by: *by, who: who.clone() });
            }
            Fact::CallTransferred { by, to, who, with, .. } => {
                if self.transfers.len() < TRANSFERS_PER_CALL {
                    let (by, to) = (by.n, to.map(|leg| leg.n));
                    self.transfers.push(Transfer { moment, by, to, who: who.clone(), with: *with });
                }
            }
            Fact::CallEnded { cause, by, .. } => self.ended = Some(Ending { moment, cause: *cause, by: *by }),
            Fact::LegMeasured { .. }
            | Fact::Bound { .. }
            | Fact::Unbound { .. }
            | Fact::Subscribed { .. }
            | Fact::Unsubscribed { .. } => {
                return Err(Misplaced::AnotherCall);
            }
        }
        Ok(())
    }

    /// Which way the call went.
    pub fn direction(&self) -> Direction {
        let to_peer = match &self.answered {
            Some(answer) => answer.who.peer.is_some(),
            None => self.to.peer.is_some() || self.legs.last().is_some_and(|leg| leg.to.peer.is_some()),
        };
        match (self.from.peer.is_some(), to_peer) {
            (true, false) => Direction::Inbound,
            (false, false) => Direction::Internal,
            (false, true) => Direction::Outbound,
            (true, true) => Direction::Transit,
        }
    }

    /// How it sounded, in the worst direction of the worst leg (MOS). Units: hundredths.
    pub fn mos_x100(&self) -> Option<u16> {
        self.media.iter().filter_map(|media| media.figures.mos_x100()).min()
    }

    /// Talk time: from the answer to the end, on the monotonic clock. Zero without an answer or while the call goes on.
    pub fn talk(&self) -> Duration {
        match (&self.answered, &self.ended) {
            (Some(answer), Some(end)) => end.moment.at.since(answer.moment.at),
            (None | Some(_), None) | (None, Some(_)) => Duration::ZERO,
        }
    }

    /// From the opening to the answer, or to the end when nobody answered.
    pub fn wait(&self) -> Duration {
        let until = self.answered.as_ref().map(|answer| answer.moment).or(self.ended.map(|end| end.moment));
        until.map_or(Duration::ZERO, |moment| moment.at.since(self.opened.at))
    }

    /// From the opening to the end; zero while the call goes on.
    pub fn total(&self) -> Duration {
        self.ended.map_or(Duration::ZERO, |end| end.moment.at.since(self.opened.at))
    }

    fn open_leg(&mut self, leg: LegId, to: &Party, opened: Moment) {
        if self.legs.len() == LEGS_PER_CALL {
            self.legs_left_out += 1;
            return;
        }
        self.legs.push(LegRecord { n: leg.n, to: to.clone(), opened, rang: None, ended: None });
    }

    fn leg(&mut self, leg: LegId) -> Result<&mut LegRecord, Misplaced> {
        // From the back: facts are mostly about the leg that was opened last.
        self.legs.iter_mut().rev().find(|record| record.n == leg.n).ok_or(Misplaced::UnknownLeg)
    }
}

impl Moment {
    /// When `event` happened.
    pub const fn of(event: &Event) -> Moment {
        Moment { at: event.at, wall: event.wall }
    }
}

/// The call that a fact is about; `None` for registrations and subscriptions.
pub const fn call_of(fact: &Fact) -> Option<CallId> {
    match fact {
        Fact::CallOpened { call, .. }
        | Fact::CallAnswered { call, .. }
        | Fact::CallTransferred { call, .. }
        | Fact::CallEnded { call, .. } => Some(*call),
        Fact::LegOpened { leg, .. }
        | Fact::LegRang { leg }
        | Fact::LegMeasured { leg, .. }
        | Fact::LegEnded { leg, .. } => Some(leg.call),
        Fact::Bound { .. } | Fact::Unbound { .. } | Fact::Subscribed { .. } | Fact::Unsubscribed { .. } => None,
    }
}

/// The most transfers that a record lists.
pub const TRANSFERS_PER_CALL: usize = 32;

/// The most legs that a record lists: ring lists and their retries over hours stay bounded.
pub const LEGS_PER_CALL: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use words::{PeerId, Seq, ShardId, UserId};

    const CALL: CallId = CallId(9);

    fn event(ms: u64, wall: i64, fact: Fact) -> Event {
        let (shard, seq) = (ShardId(0), Seq(ms));
        Event { shard, seq, account: AccountId(1), at: Time::from_millis(ms), wall: Wall(wall), fact }
    }

    fn party(number: &str) -> Party {
        Party { number: number.into(), ..Party::default() }
    }

    fn leg(n: u16) -> LegId {
        LegId { call: CALL, n }
    }

    fn opened(from: Party, to: Party) -> Event {
        let source = "192.0.2.1:5060".parse().unwrap();
        event(0, 0, Fact::CallOpened { call: CALL, from, to, sip_call_id: "x".into(), source })
    }

    #[test]
    fn a_fork_with_one_winner_is_told_leg_by_leg() {
        let mut cdr = Cdr::open(&opened(party("100"), party("600"))).unwrap();
        for (ms, fact) in [
            (10, Fact::LegOpened { leg: leg(1), to: party("101") }),
            (11, Fact::LegOpened { leg: leg(2), to: party("102") }),
            (50, Fact::LegRang { leg: leg(2) }),
            (60, Fact::LegRang { leg: leg(1) }),
            (3_000, Fact::CallAnswered { call: CALL, by: Some(leg(1)), who: party("101") }),
            (3_001, Fact::LegEnded { leg: leg(2), cause: EndCause::AnsweredElsewhere }),
            (8_000, Fact::LegEnded { leg: leg(1), cause: EndCause::Normal }),
            (8_000, Fact::CallEnded { call: CALL, cause: EndCause::Normal, by: Some(leg(1)) }),
        ] {
            cdr.apply(&event(ms, ms as i64, fact)).unwrap();
        }
        assert_eq!((cdr.wait().as_millis(), cdr.talk().as_millis(), cdr.total().as_millis()), (3_000, 5_000, 8_000));
        assert_eq!(cdr.rang.unwrap().at, Time::from_millis(50));
        let ends: Vec<_> = cdr.legs.iter().map(|leg| (leg.n, leg.ended.unwrap().1)).collect();
        assert_eq!(ends, [(1, EndCause::Normal), (2, EndCause::AnsweredElsewhere)]);
    }

    #[test]
    fn a_transfer_tells_who_spoke_with_whom() {
        let mut cdr = Cdr::open(&opened(party("100"), party("101"))).unwrap();
        let other = CallId(10);
        for (ms, fact) in [
            (10, Fact::LegOpened { leg: leg(1), to: party("101") }),
            (1_000, Fact::CallAnswered { call: CALL, by: Some(leg(1)), who: party("101") }),
            (2_000, Fact::LegOpened { leg: leg(2), to: party("102") }),
            (3_000, Fact::CallTransferred { call: CALL, by: leg(1), to: Some(leg(2)), who: party("102"), with: None }),
            (3_000, Fact::LegEnded { leg: leg(1), cause: EndCause::Transferred }),
            (5_000, Fact::CallTransferred { call: CALL, by: leg(0), to: None, who: party("7"), with: Some(other) }),
            (5_000, Fact::LegEnded { leg: leg(0), cause: EndCause::Transferred }),
            (5_000, Fact::CallEnded { call: CALL, cause: EndCause::Transferred, by: None }),
        ] {
            cdr.apply(&event(ms, ms as i64, fact)).unwrap();
        }
        let told: Vec<_> = cdr.transfers.iter().map(|t| (t.by, t.to, t.who.number.as_str(), t.with)).collect();
        assert_eq!(told, [(1, Some(2), "102", None), (0, None, "7", Some(other))]);
        assert_eq!(cdr.legs[0].ended.unwrap().1, EndCause::Transferred);
        assert_eq!((cdr.caller_left.unwrap().at, cdr.talk()), (Time::from_millis(5_000), Duration::from_secs(4)));
    }

    #[test]
    fn durations_ignore_the_wall_clock() {
        for jump_ms in [3_600_000, -3_600_000, 315_360_000_000, -2_592_000_000] {
            let mut cdr = Cdr::open(&opened(party("100"), party("101"))).unwrap();
            cdr.apply(&event(1_000, 1_000, Fact::CallAnswered { call: CALL, by: None, who: party("101") })).unwrap();
            let end = Fact::CallEnded { call: CALL, cause: EndCause::Normal, by: None };
            cdr.apply(&event(61_000, 61_000 + jump_ms, end)).unwrap();
            assert_eq!(cdr.talk(), Duration::from_mins(1));
        }
    }

    #[test]
    fn a_record_closes_once_and_takes_only_its_own_events() {
        let mut cdr = Cdr::open(&opened(party("100"), party("101"))).unwrap();
        let end = event(5, 5, Fact::CallEnded { call: CALL, cause: EndCause::Cancelled, by: Some(leg(0)) });
        let mut foreign = end.clone();
        foreign.account = AccountId(2);
        assert_eq!(cdr.apply(&foreign), Err(Misplaced::AnotherCall));
        assert_eq!(cdr.apply(&event(1, 1, Fact::LegRang { leg: leg(3) })), Err(Misplaced::UnknownLeg));
        cdr.apply(&end).unwrap();
        let before = cdr.clone();
        assert_eq!(cdr.apply(&end), Err(Misplaced::Ended));
        assert_eq!((cdr.clone(), cdr.talk()), (before, Duration::ZERO));
    }

    #[test]
    fn the_direction_follows_the_peers_on_both_sides() {
        let peer = || Party { number: "84950000000".into(), peer: Some(PeerId(1)), ..Party::default() };
        let user = || Party { number: "100".into(), user: Some(UserId(1)), ..Party::default() };
        for (from, to, direction) in [
            (user(), user(), Direction::Internal),
            (user(), peer(), Direction::Outbound),
            (peer(), user(), Direction::Inbound),
            (peer(), peer(), Direction::Transit),
        ] {
            let mut cdr = Cdr::open(&opened(from, party("600"))).unwrap();
            cdr.apply(&event(1, 1, Fact::LegOpened { leg: leg(1), to })).unwrap();
            assert_eq!(cdr.direction(), direction);
        }
    }

    #[test]
    fn legs_past_the_limit_are_counted() {
        let mut cdr = Cdr::open(&opened(party("100"), party("600"))).unwrap();
        for n in 0..LEGS_PER_CALL as u16 + 3 {
            cdr.apply(&event(1, 1, Fact::LegOpened { leg: leg(n), to: party("1") })).unwrap();
        }
        assert_eq!((cdr.legs.len(), cdr.legs_left_out), (LEGS_PER_CALL, 3));
    }
}
