//! All calls of one loop: which call an input belongs to, and what leaves.

use crate::call::{Call, Ending};
use crate::cause::Failure;
use crate::config::{CALLS_MAX, Config};
use crate::desk::{Desk, Due};
use crate::event::{Invite, Output, Refusal};
use crate::exchange::Stage;
use crate::identity;
use crate::leg::Leg;
use crate::servers::Trouble;
use crate::step::{Step, StepError};
use crate::tag::Tag;
use crate::talk::Inside;
use crate::view::{Asked, CallState, CallView, LegView};
use media::command::{Family, MediaReport};
use media::ports::PoolCounts;
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, Event, Message, Method};
use std::collections::VecDeque;
use words::{CallId, Chance, Clock, ConnectionId, EndCause, Fact, Flow, LegId, OwnMap, Places, Time, UserId};

/// The calls of one loop.
#[derive(Debug, Serialize, Deserialize)]
pub struct Calls {
    pub(crate) desk: Desk,
    pub(crate) slots: Places<Box<Call>>,
    pub(crate) by_id: OwnMap<CallId, u32>,
    /// The call that an input touches, to know whom to drop when that panics.
    touched: Option<CallId>,
    /// Calls that were worked on, for whoever observes them.
    changed: VecDeque<CallId>,
}

impl Calls {
    /// No calls yet.
    pub fn new(config: Config, chance: Chance, now: Time) -> Self {
        let desk = Desk::new(config, chance, now);
        Calls { desk, slots: Places::new(), by_id: OwnMap::default(), touched: None, changed: VecDeque::new() }
    }

    /// Takes the configuration of this start: a snapshot has none.
    pub fn configure(&mut self, config: Config) {
        self.desk.pool.configure(config.ports);
        self.desk.config = config;
    }

    /// Takes in an INVITE without a To tag, from somebody who may call. [`Output::AskPlan`] follows.
    pub fn open(&mut self, invite: Invite, clock: &Clock, now: Time) -> Result<CallId, Refusal> {
        if self.desk.live >= self.desk.config.calls || self.slots.len() >= CALLS_MAX {
            return Err(Refusal { status: 503, reason: "Service Unavailable: too many calls", header: None });
        }
        let id = self.fresh_id(clock, now);
        self.touched = Some(id);
        let slot = self.slots.vacant_key();
        let call = Call::open(&mut self.desk, slot as u32, id, invite, now)?;
        self.slots.insert(Box::new(call));
        self.by_id.insert(id, slot as u32);
        self.note(id);
        Ok(id)
    }

    /// Whether somebody looks at calls as they change, by [`Calls::next_changed`]. Unobserved, that costs nothing.
    pub fn observe(&mut self, on: bool) {
        self.desk.observed = on;
        self.changed.clear();
    }

    /// A call whose view may differ from before, in the order of the changes; it may be gone. Call until `None` after
    /// each input.
    pub fn next_changed(&mut self) -> Option<CallId> {
        self.changed.pop_front()
    }

    /// `host:port` of our side of a flow, as the other side should be told it.
    pub fn host_port(&mut self, flow: &Flow) -> &str {
        self.desk.host_port(flow)
    }

    /// Our side of a flow as a Route for the other side, with a `sips` URI where it speaks so.
    pub fn route_value(&mut self, flow: &Flow, secure: bool) -> String {
        identity::route_value(&mut self.desk, flow, secure)
    }

    /// Tells a call what to do.
    pub fn apply(&mut self, call: CallId, step: Step, now: Time) -> Result<(), StepError> {
        let &slot = self.by_id.get(&call).ok_or(StepError::NoCall)?;
        if let Step::HandOver { held, number } = &step {
            self.hand_over(*held, number, now)?;
        }
        self.with(slot, |call, desk| call.apply(desk, step, now)).unwrap_or(Err(StepError::NoCall))
    }

    /// Refuses a call that has no answer yet; nothing happens to others.
    pub fn reject(&mut self, call: CallId, status: u16, reason: &str, now: Time) {
        let cause = if status == 503 { EndCause::Overload } else { crate::cause::cause_of(status) };
        // A call that is answered or gone is none to refuse.
        let _ = self.apply(call, Step::Reject { status, reason: reason.to_owned(), cause }, now);
    }

    /// Ends a call. Whether there was one.
    pub fn hang_up(&mut self, call: CallId, cause: EndCause, now: Time) -> bool {
        self.apply(call, Step::Hangup { cause }, now).is_ok()
    }

    /// Takes what the transaction layer says; gives back what belongs to no call. Requests must have been checked to
    /// come from the source of the leg that [`Calls::leg_of`] tells.
    pub fn handle(&mut self, event: Event, now: Time) -> Option<Event> {
        let left = self.take(event, now);
        self.run_errands(now);
        left
    }

    fn take(&mut self, event: Event, now: Time) -> Option<Event> {
        match event {
            Event::Request { txn, message, flow } => {
                let Some((slot, n)) = self.find(&message).filter(|&place| self.listens(place, &message)) else {
                    return Some(Event::Request { txn, message, flow });
                };
                if message.method() == Method::Bye {
                    self.join_held(slot, n, now);
                }
                let named = if message.method() == Method::Refer { self.named_by(slot, n, &message) } else { None };
                self.at_leg(slot, n, |call, desk, at| {
                    call.handle_request(desk, at, Inside { txn, message, flow, named }, now);
                });
            }
            Event::Ack { message, flow } => {
                let Some((slot, n)) = self.find(&message) else { return Some(Event::Ack { message, flow }) };
                self.at_leg(slot, n, |call, desk, at| call.handle_ack(desk, at, &message, now));
            }
            Event::Cancelled { txn, message, flow } => {
                let Some((slot, n)) = self.desk.watched(txn) else {
                    return Some(Event::Cancelled { txn, message, flow });
                };
                self.join_held(slot, n, now);
                self.with(slot, |call, desk| call.handle_cancel(desk, n, &message, now));
            }
            Event::NoAck { txn } | Event::ServerFailed { txn } => {
                let Some((slot, n)) = self.desk.watched(txn) else { return Some(event) };
                self.with(slot, |call, desk| match call.place(n) {
                    Some(at) => call.handle_no_ack(desk, at, now),
                    None => drop(call.take_newcomer(desk)),
                });
            }
            Event::Response { txn, message, flow } => {
                self.with(self.desk.slot_of(txn), |call, desk| call.handle_response(desk, txn, &message, flow, now));
            }
            Event::Timeout { txn } => self.no_response(txn, Trouble::Silent, now),
            Event::TransportFailed { txn, why } => self.no_response(txn, why.into(), now),
        }
        None
    }

    /// The leg in whose dialog a request is, by our tag in its To.
    pub fn leg_of(&self, message: &Message) -> Option<LegView> {
        let (slot, n) = self.find(message)?;
        let call = self.slots.get(slot as usize)?;
        let leg = &call.legs[call.place(n)?];
        let (user, peer) = (leg.party.user, leg.party.peer);
        let hop = leg.hop().map(|hop| hop.ip());
        Some(LegView { leg: call.leg_id(n), account: call.account, flow: leg.flow, user, peer, hop })
    }

    /// Whether the ACK of a leg has to bring the answer to an offer of ours (RFC 3261 §13.2.1).
    pub fn owes_answer(&self, leg: LegId) -> bool {
        let call = self.get(leg.call);
        let exchange = call.and_then(|call| call.exchange.as_ref());
        exchange.is_some_and(|exchange| exchange.asker == leg.n && exchange.stage == Stage::AnswerOwed)
    }

    /// Takes what the relay reports.
    pub fn handle_media(&mut self, report: MediaReport, now: Time) {
        match report {
            MediaReport::Ready { ports } => self.desk.pool.add_ready(&ports, now),
            MediaReport::Closed { end, ports, counters: _, figures } => {
                // Reported twice, or for an end that is none of ours, it is no reason to free anything.
                if let Some(&(known, account)) = self.desk.closing.get(&end)
                    && known == ports
                {
                    self.desk.closing.remove(&end);
                    // What nobody spoke through has no figures.
                    if let Some(figures) = figures {
                        self.desk.say(account, Fact::LegMeasured { leg: end, figures });
                    }
                    self.desk.pool.give_back(ports, now).expect("ports of a closing end are in use until now");
                }
            }
            MediaReport::Silent { end } => {
                // A report that crossed a hold is none.
                if self.get(end.call).is_some_and(|call| call.counts_silence(end)) {
                    self.end_by_media(end.call, EndCause::MediaLost, now);
                }
            }
            // It was believed to be known by what somebody else is known by.
            MediaReport::Refused { end, why: media::command::Refusal::NotTold } => {
                self.end_by_media(end.call, EndCause::MediaMismatch, now);
            }
            MediaReport::Refused { end, why: _ } => self.end_by_media(end.call, EndCause::Internal, now),
            MediaReport::Dtmf { end, digit, duration_ms: _ } => self.handle_event(end, digit, now),
            MediaReport::FirstPacket { .. } => {}
        }
    }

    /// A connection closed: calls over it that have no answer end, others wait for the phone to come back.
    pub fn handle_flow_closed(&mut self, connection: ConnectionId, now: Time) {
        for slot in self.desk.on_connection(connection) {
            self.with(slot, |call, desk| {
                call.lose_newcomer(desk, connection);
                let on_it: Vec<u16> =
                    call.legs.iter().filter(|leg| leg.flow.connection == connection).map(|leg| leg.n).collect();
                for n in on_it {
                    if let Some(at) = call.place(n) {
                        call.handle_lost(desk, at, now);
                    }
                }
            });
        }
        self.run_errands(now);
    }

    /// A device of a user speaks over another flow from now on: what goes to it in its calls goes there. Looks at every call:
    /// for a device that moved, not for what every call does.
    pub fn handle_moved(&mut self, user: UserId, from: &[Flow], to: Flow) {
        let is_there = |leg: &Leg| leg.party.user == Some(user) && from.contains(&leg.flow);
        let moved = self.slots.iter().filter(|(_, call)| call.legs.iter().any(is_there));
        for slot in moved.map(|(slot, _)| slot as u32).collect::<Vec<_>>() {
            self.with(slot, |call, desk| {
                for at in 0..call.legs.len() {
                    if is_there(&call.legs[at]) {
                        call.follow(desk, at, to);
                    }
                }
            });
        }
    }

    /// Lets timers fire.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((slot, due)) = self.desk.pop_timer(now) {
            self.with(slot, |call, desk| {
                call.timers[due as usize] = None;
                match due {
                    Due::Plan => call.handle_no_plan(desk, now),
                    Due::Ring => call.handle_ring_timeout(desk, now),
                    Due::Server => call.handle_impatience(desk, now),
                    Due::Refresh => call.handle_refresh(desk, now),
                    Due::Delay => call.handle_delay(desk, now),
                    Due::Exchange => call.handle_patience_over(desk, now),
                    Due::Reliable => call.handle_unacknowledged(desk, now),
                    Due::Session => call.handle_session_due(desk, now),
                    Due::Referral => call.handle_referral_due(desk, now),
                    Due::Join => call.go_on(desk, now),
                    Due::Newcomer => call.handle_newcomer_due(desk, now),
                    Due::Limit => call.end(desk, &Ending::new(EndCause::TooLong, None), now),
                    Due::Lost => call.handle_not_back(desk, now),
                    Due::Linger => call.abandon(),
                }
            });
        }
        self.run_errands(now);
        self.desk.pool.handle_timeout(now);
        for command in self.desk.pool.give_up_idle(now) {
            self.desk.push(Output::Media(command));
        }
    }

    /// What calls want of each other.
    fn run_errands(&mut self, now: Time) {
        while let Some(slot) = self.desk.errands.pop() {
            self.claim(slot, now);
            self.with(slot, |call, desk| call.let_in(desk, now));
        }
    }

    /// What leaves next. Call until [`Output::Timeout`], after each input.
    pub fn poll(&mut self) -> Output {
        self.desk.poll()
    }

    /// When [`Calls::handle_timeout`] should be called next.
    pub fn next_at(&self) -> Option<Time> {
        self.desk.next_at()
    }

    /// How many calls are up.
    pub fn len(&self) -> usize {
        self.desk.live
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.desk.live == 0
    }

    /// How many calls have ended and still wait for a last answer.
    pub fn lingering(&self) -> usize {
        self.slots.len() - self.desk.live
    }

    /// What a call that asks for a plan is about; `None` when it is over.
    pub fn asked(&self, call: CallId) -> Option<Asked<'_>> {
        self.get(call).filter(|call| call.state != CallState::Ended).map(|call| call.asks())
    }

    /// One call.
    pub fn view(&self, call: CallId) -> Option<CallView<'_>> {
        self.get(call).map(Call::view)
    }

    /// The calls that are up, in no order that means anything.
    pub fn views(&self) -> impl Iterator<Item = CallView<'_>> {
        self.slots.iter().map(|(_, call)| call.view()).filter(|view| view.state != CallState::Ended)
    }

    /// The call that was being worked on when a panic struck.
    pub fn touched(&self) -> Option<CallId> {
        self.touched
    }

    /// Forgets a call that cannot even be hung up any more: nothing is sent, but its end is said, and what it held is
    /// given back. For a call that made [`Calls::hang_up`] panic.
    pub fn discard(&mut self, call: CallId, now: Time) {
        if let Some(slot) = self.by_id.remove(&call)
            && let Some(mut call) = self.slots.try_remove(slot as usize)
        {
            call.discard(&mut self.desk, now);
            self.note(call.id);
        }
    }

    /// Whether a call of any family would find media ports.
    pub fn has_ports(&self) -> bool {
        self.desk.config.families.iter().all(|&family| self.ports(family).ready > 1)
    }

    /// How many media ports of a family are where.
    pub fn ports(&self, family: Family) -> PoolCounts {
        self.desk.pool.counts(family)
    }

    /// How often there was no media port for a leg.
    pub fn ports_refused(&self) -> u64 {
        self.desk.pool.refused()
    }

    /// Whether everything adds up. For tests, after each input: it looks at every call.
    pub fn check(&self) -> Result<(), String> {
        let mut sums = Sums::default();
        for (slot, call) in self.slots.iter() {
            call.check(slot as u32).map_err(|broken| format!("{}: {broken}", call.id))?;
            if self.by_id.get(&call.id) != Some(&(slot as u32)) {
                return Err(format!("{} is not found by its id", call.id));
            }
            sums.live += usize::from(call.state != CallState::Ended);
            sums.timers += call.timers.iter().flatten().count();
            sums.watched += call.legs.iter().filter(|leg| leg.theirs.is_some()).count();
            sums.watched += usize::from(call.has_newcomer());
            sums.moved += call.legs.iter().filter(|leg| leg.is_moved()).count();
            sums.ends += call.ends.len();
        }
        let taken = [Family::V4, Family::V6].map(|family| self.desk.pool.counts(family).taken as usize);
        let pairs = [
            ("calls by id", self.by_id.len(), self.slots.len()),
            ("live calls", self.desk.live, sums.live),
            ("legs that moved", self.desk.moved(), sums.moved),
            ("timers", self.desk.timers(), sums.timers),
            ("INVITEs waited for", self.desk.watching(), sums.watched),
            ("ports in use", taken[0] + taken[1], sums.ends + self.desk.closing.len()),
        ];
        for (what, kept, counted) in pairs {
            if kept != counted {
                return Err(format!("{what}: {kept} kept, {counted} counted"));
            }
        }
        if sums.ends == 0 && !self.desk.sources.is_empty() {
            return Err("nobody is here, and somebody is known on the shared port".to_owned());
        }
        self.desk.pool.check()
    }

    fn get(&self, call: CallId) -> Option<&Call> {
        self.slots.get(*self.by_id.get(&call)? as usize).map(|call| &**call)
    }

    /// The leg that a message inside a dialog belongs to: our tag says which, the rest must fit.
    fn find(&self, message: &Message) -> Option<(u32, u16)> {
        let (slot, n) = self.at_tag(Tag::parse(message.to_tag()?)?)?;
        let call = self.slots.get(slot as usize)?;
        call.legs[call.place(n)?].owns(message).then_some((slot, n))
    }

    /// The leg that has a tag of ours: in the call that the tag tells, unless it moved.
    pub(crate) fn at_tag(&self, tag: Tag) -> Option<(u32, u16)> {
        let at = |slot: u32| {
            let call = self.slots.get(slot as usize)?;
            call.legs.iter().find(|leg| leg.tag == tag).map(|leg| (slot, leg.n))
        };
        at(tag.slot).or_else(|| at(self.desk.moved_to(tag)?))
    }

    /// Whether a leg still takes a request: one of an ended call takes BYE only.
    fn listens(&self, (slot, _): (u32, u16), message: &Message) -> bool {
        let ended = self.slots.get(slot as usize).is_none_or(|call| call.state == CallState::Ended);
        !ended || message.method() == sip::Method::Bye
    }

    /// Works on a call, then tidies up after it.
    pub(crate) fn with<T>(&mut self, slot: u32, work: impl FnOnce(&mut Call, &mut Desk) -> T) -> Option<T> {
        let call = self.slots.get_mut(slot as usize)?;
        let id = call.id;
        self.touched = Some(id);
        let result = work(call, &mut self.desk);
        call.sweep(&mut self.desk);
        if call.is_over() {
            self.by_id.remove(&call.id);
            self.slots.try_remove(slot as usize);
        }
        self.note(id);
        Some(result)
    }

    /// Notes for whoever observes that a call was worked on.
    fn note(&mut self, call: CallId) {
        if self.desk.observed && self.changed.back() != Some(&call) {
            self.changed.push_back(call);
        }
    }

    fn at_leg(&mut self, slot: u32, n: u16, work: impl FnOnce(&mut Call, &mut Desk, usize)) {
        self.with(slot, |call, desk| {
            if let Some(at) = call.place(n) {
                work(call, desk, at);
            }
        });
    }

    fn no_response(&mut self, txn: ClientTxn, trouble: Trouble, now: Time) {
        self.with(self.desk.slot_of(txn), |call, desk| call.handle_no_response(desk, txn, trouble, now));
    }

    fn end_by_media(&mut self, call: CallId, cause: EndCause, now: Time) {
        if let Some(&slot) = self.by_id.get(&call) {
            let failure = (cause == EndCause::Internal).then(|| Failure::own(500, cause));
            self.with(slot, |call, desk| call.end(desk, &Ending { failure, ..Ending::new(cause, None) }, now));
        }
    }

    /// 48 bits of wall milliseconds, then 80 bits of chance.
    fn fresh_id(&mut self, clock: &Clock, now: Time) -> CallId {
        let millis = u128::from(clock.wall_at(now).0 as u64 & 0xffff_ffff_ffff);
        let chance = u128::from(self.desk.chance.u64()) << 16 | u128::from(self.desk.chance.u32() & 0xffff);
        CallId(millis << 80 | chance)
    }
}

#[cfg(test)]
impl Calls {
    /// What all calls keep as text. Units: bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        let dialog = |dialog: &sip::Dialog| {
            let texts = [&dialog.call_id, &dialog.local_tag, &dialog.remote_tag, &dialog.local, &dialog.remote];
            texts.iter().map(|text| text.capacity()).sum::<usize>() + dialog.remote_target.capacity()
        };
        let of = |call: &Call| {
            let dialogs = call.legs.iter().filter_map(|leg| leg.dialog.as_deref().map(dialog));
            let said = call.ends.iter().filter_map(|end| end.ours.last().map(|said| said.as_str().len()));
            dialogs.chain(said).sum::<usize>()
        };
        self.slots.iter().map(|(_, call)| of(call)).sum()
    }
}

/// What all calls together have, counted.
#[derive(Default)]
struct Sums {
    live: usize,
    timers: usize,
    watched: usize,
    moved: usize,
    ends: usize,
}
