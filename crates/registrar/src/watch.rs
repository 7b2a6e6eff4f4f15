//! Who watches whom (RFC 6665): lamps (4235), presence (3856, 3903), mailboxes (3842) and registrations (3680).
//!
//! [`Watch`] keeps subscriptions and says which NOTIFY is to be sent. It is told what is to be watched: the calls of an
//! extension ([`Watch::set_lines`]), its Contacts ([`Watch::set_bound`]), its messages ([`Watch::set_messages`]), and takes
//! what users publish themselves. A state is printed once, however many watch it.
//!
//! **NOTIFYs do not flood.** One per subscription is under way at a time; what changes meanwhile is told once it is
//! answered, as it is then. After [`limit::NOTIFY_BURST`] in a row a subscription gets one each [`limit::NOTIFY_EVERY`],
//! and of all together [`limit::NOTIFIES_PER_TURN`] leave per [`limit::NOTIFY_TURN`], so that one extension with thousands
//! of watchers holds up no call.
//!
//! **Subscriptions outlive the process.** A phone learns that its subscription is gone only when it refreshes it, which
//! may take an hour; a lamp that is dark or, worse, red for so long is what people would see of a restart. So each is a
//! fact in the store like a registration is, one per SUBSCRIBE. After a start every subscriber over UDP is told the state
//! as it is; one over a connection, or one that does not answer then, when it has registered again. How many NOTIFYs a subscription had is not stored: CSeq
//! and version go on from the seconds that it lived, and more than one a second there never were. What was published is not
//! stored, since a refresh of it hears 412 and publishes anew.
//!
//! **A phone that comes back elsewhere** (its connection was lost, its router chose another port) shows by its REGISTER
//! where it is; its subscriptions follow.

mod dialog_info;
mod document;
mod event;
mod package;
mod pidf;
mod publication;
mod reginfo;
mod state;
mod subject;
mod subscription;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod turns;
mod xml;

pub use dialog_info::{Direction, Line, Stage};
pub use event::{Notified, NotifyId, Output, Request, Subscribed, SubscriptionView, Wish};
pub use package::{Asked, Package};
pub use publication::Published;
pub use reginfo::{Departure, Registered};
use serde::{Deserialize, Serialize};
pub use summary::Messages;

use crate::contact::Refusal;
use crate::limit;
use package::{GONE, full};
use publication::Publications;
use sip::{Dialog, HeaderName, Message, Outgoing};
use state::{Effect, Event, State};
use std::cell::Cell;
use std::collections::VecDeque;
use subject::Subjects;
use subscription::{Due, Ending, Pace, Subscription, Who, check_size, contact_value, ends, names, retry_after, tag_of};
use table::Table;
use turns::Turns;
use words::{AccountId, Chance, Clock, ConnectionId, Fact, OwnMap, StoredSubscription, Time, TimerQueue, UserId};

/// Subscriptions, and what they are about.
///
/// Limits: [`limit::SUBSCRIPTIONS`], [`limit::SUBSCRIPTIONS_PER_USER`] (the one refreshed longest ago leaves),
/// [`limit::PUBLICATIONS_PER_USER`], [`limit::MAILBOXES`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Watch {
    #[serde(skip)]
    server: String,
    chance: Chance,
    table: Table,
    subjects: Subjects,
    publications: Publications,
    mailboxes: OwnMap<UserId, Messages>,
    timers: TimerQueue<Due>,
    turns: Turns,
    #[serde(skip)]
    outputs: VecDeque<Output>,
    last_notify: u32,
    now: Time,
    /// How often it was checked.
    checks: Cell<u32>,
}

impl Watch {
    /// Nobody watches anybody yet. `server` is what User-Agent says.
    pub fn new(server: &str, chance: Chance, now: Time) -> Self {
        Watch {
            server: server.to_owned(),
            chance,
            table: Table::default(),
            subjects: Subjects::default(),
            publications: Publications::new(now),
            mailboxes: OwnMap::default(),
            timers: TimerQueue::new(now),
            turns: Turns::new(now),
            outputs: VecDeque::new(),
            last_notify: 0,
            now,
            checks: Cell::new(0),
        }
    }

    /// Takes the configuration of this start: a snapshot has none.
    pub fn configure(&mut self, server: &str) {
        server.clone_into(&mut self.server);
    }

    /// Takes a SUBSCRIBE outside dialogs (RFC 6665 §4.2.1). Its 200 must leave, and the subject's state be told, before
    /// the next [`Watch::poll`].
    ///
    /// # Errors
    /// What is to be answered instead.
    pub fn subscribe(
        &mut self,
        wish: Wish,
        asked: Asked,
        request: &Request<'_>,
        now: Time,
    ) -> Result<Subscribed, Refusal> {
        self.begin(now);
        let Request { message, flow, host, clock } = *request;
        check_size(message)?;
        if self.table.len() >= limit::SUBSCRIPTIONS
            || self.table.of(wish.watcher).len() >= 2 * limit::SUBSCRIPTIONS_PER_USER
        {
            return Err(full());
        }
        let secret = self.chance.u64();
        let tag = tag_of(secret);
        let dialog =
            Dialog::uas(message, &tag).map_err(|error| Refusal::new(error.status(), "Bad Contact or Record-Route"))?;
        self.make_room(wish.watcher, now);
        let contact = contact_value(&tag, host, flow.transport, dialog.secure);
        let Wish { account, watcher, subject, entity } = wish;
        let once = asked.expires.is_zero();
        let subscription = Subscription {
            who: Who { account, watcher, subject, package: asked.package },
            id: asked.id,
            secret,
            dialog: Box::new(dialog),
            flow,
            contact: contact.as_str().into(),
            state: State::Told,
            ending: once.then_some(Ending::Timeout),
            stored: !once,
            began: clock.wall_at(now),
            expires: now + asked.expires,
            refreshed: now,
            heard: true,
            pace: Pace::new(now),
            under_way: 0,
            in_line: false,
            expiry: None,
            wait: None,
        };
        let slot = self.enter(subscription, &entity).ok_or_else(full)?;
        self.store(slot, clock);
        self.act(slot, Event::News, now);
        Ok(Subscribed { tag, contact, expires_s: asked.expires.as_secs() as u32 })
    }

    /// The subscription in whose dialog a request is, by our tag in its To.
    pub fn find(&self, message: &Message) -> Option<SubscriptionView> {
        let found = self.table.get(self.slot_of(message)?)?;
        Some(SubscriptionView { account: found.who.account, watcher: found.who.watcher, flow: found.flow })
    }

    /// Takes a SUBSCRIBE inside a dialog: refresh, or end when it asks for no time (RFC 6665 §4.2.1). It must have been
    /// checked to come from the subscriber that [`Watch::find`] tells.
    ///
    /// # Errors
    /// What is to be answered instead; the subscription stays as it was.
    pub fn refresh(&mut self, request: &Request<'_>, now: Time) -> Result<Subscribed, Refusal> {
        self.begin(now);
        let Request { message, flow, host, clock } = *request;
        let slot = self.slot_of(message).ok_or(GONE)?;
        let asked = Asked::read(message)?;
        check_size(message)?;
        let found = self.table.get_mut(slot).filter(|found| found.ending.is_none()).ok_or(GONE)?;
        if (asked.package, &asked.id) != (found.who.package, &found.id) {
            // RFC 6665 §4.5.1 does away with two subscriptions in one dialog.
            return Err(Refusal::new(403, "Forbidden: this dialog is about another event"));
        }
        found
            .dialog
            .accept(message)
            .map_err(|_| Refusal::new(500, "Server Internal Error: CSeq is lower than before"))?;
        found.dialog.refresh_target(message);
        found.heard = true;
        let answer = Subscribed {
            tag: found.dialog.local_tag.clone(),
            contact: contact_value(&found.dialog.local_tag, host, flow.transport, found.dialog.secure),
            expires_s: asked.expires.as_secs() as u32,
        };
        found.contact = answer.contact.as_str().into();
        self.table.set_flow(slot, flow);
        if asked.expires.is_zero() {
            self.act(slot, Event::Back, now);
            self.end(slot, Ending::Timeout, now);
            return Ok(answer);
        }
        if let Some(found) = self.table.get_mut(slot) {
            (found.expires, found.refreshed) = (now + asked.expires, now);
        }
        self.set_expiry(slot);
        self.store(slot, clock);
        // Each SUBSCRIBE is answered with the state, whether it changed or not (RFC 6665 §4.2.1.2).
        self.act(slot, Event::Back, now);
        self.act(slot, Event::News, now);
        Ok(answer)
    }

    /// A user registered: its subscriptions follow the device there, when they were where it no longer is.
    pub fn registered(&mut self, user: UserId, request: &Request<'_>, now: Time) {
        if self.table.of(user).is_empty() {
            return;
        }
        self.begin(now);
        let Request { message, flow, host, clock } = *request;
        for slot in self.table.of(user).to_vec() {
            let Some(found) = self.table.get_mut(slot) else { continue };
            let adrift = found.state == State::Adrift;
            if found.flow == flow && !adrift {
                continue;
            }
            // A device whose connection was lost may write another port into its Contact each time.
            let alone = adrift && found.flow.remote.ip() == flow.remote.ip();
            if !alone && !names(message, &found.dialog.remote_target) {
                continue;
            }
            found.contact = contact_value(&found.dialog.local_tag, host, flow.transport, found.dialog.secure).into();
            self.table.set_flow(slot, flow);
            self.store(slot, clock);
            self.act(slot, Event::Back, now);
        }
    }

    /// A connection is gone: who came over it is told nothing until it registers again.
    pub fn flow_closed(&mut self, connection: ConnectionId, now: Time) {
        self.begin(now);
        for slot in self.table.close(connection) {
            self.lose(slot, now);
        }
    }

    /// A user's password changed, or it may do nothing any more: what it watches ends, and what it published.
    pub fn drop_user(&mut self, user: UserId, now: Time) {
        self.begin(now);
        for slot in self.table.of(user).to_vec() {
            self.end(slot, Ending::Deactivated, now);
        }
        self.publications.drop_user(user);
        self.changed(user, Package::Presence, &[], now);
    }

    /// Puts a subscription of the last process back; its fact is in the store already.
    pub fn restore(
        &mut self,
        account: AccountId,
        watcher: UserId,
        stored: StoredSubscription,
        host: &str,
        clock: &Clock,
        now: Time,
    ) {
        self.begin(now);
        let entity = stored.entity.clone();
        let restored = Subscription::restored(account, watcher, stored, host, clock, now);
        let restored = restored.filter(|one| now < one.expires && self.table.len() < limit::SUBSCRIPTIONS);
        if let Some(slot) = restored.and_then(|one| self.enter(one, &entity)) {
            self.act(slot, Event::News, now);
        }
    }

    /// Whether a user watches anything.
    pub fn has(&self, watcher: UserId) -> bool {
        !self.table.of(watcher).is_empty()
    }

    /// Whether somebody watches this user: only then its state is wanted.
    pub fn cares(&self, user: UserId) -> bool {
        self.subjects.contains(user)
    }

    /// Whether somebody watches calls at all.
    pub fn asks_about_calls(&self) -> bool {
        self.subjects.ask_about_calls()
    }

    /// Takes the calls of a user.
    pub fn set_lines(&mut self, user: UserId, lines: Vec<Line>, now: Time) {
        self.begin(now);
        if self.subjects.get_mut(user).is_some_and(|subject| subject.set_lines(lines)) {
            self.changed(user, Package::Dialog, &[], now);
            self.changed(user, Package::Presence, &[], now);
        }
    }

    /// Takes the Contacts of a user, and why those that are missing went.
    pub fn set_bound(&mut self, user: UserId, bound: Vec<Registered>, why: Departure, now: Time) {
        self.begin(now);
        let Some(gone) = self.subjects.get_mut(user).and_then(|subject| subject.set_bound(bound, why)) else { return };
        self.changed(user, Package::Dialog, &[], now);
        self.changed(user, Package::Presence, &[], now);
        self.changed(user, Package::Reg, &gone, now);
    }

    /// Takes how many messages a mailbox has. Whether there is room to know that.
    pub fn set_messages(&mut self, user: UserId, messages: Messages, now: Time) -> bool {
        self.begin(now);
        if messages == Messages::default() {
            self.mailboxes.remove(&user);
        } else if self.mailboxes.len() < limit::MAILBOXES || self.mailboxes.contains_key(&user) {
            self.mailboxes.insert(user, messages);
        } else {
            return false;
        }
        self.changed(user, Package::MessageSummary, &[], now);
        true
    }

    /// Takes a PUBLISH of a user about itself (RFC 3903).
    ///
    /// # Errors
    /// What is to be answered instead.
    pub fn publish(&mut self, user: UserId, message: &Message, now: Time) -> Result<Published, Refusal> {
        self.begin(now);
        let published = self.publications.publish(user, message, &mut self.chance, now)?;
        self.changed(user, Package::Presence, &[], now);
        Ok(published)
    }

    /// What became of a NOTIFY (RFC 6665 §4.2.2).
    pub fn notified(&mut self, id: NotifyId, result: Notified<'_>, now: Time) {
        self.begin(now);
        let (slot, serial) = ((id >> 32) as u32, id as u32);
        let ours = |found: &&mut Subscription| found.under_way == serial && found.state.is_telling();
        let Some(found) = self.table.get_mut(slot).filter(ours) else { return };
        let was_heard = found.heard;
        found.heard |= matches!(result, Notified::Answer(_));
        match result {
            Notified::Answer(answer) if answer.status() < 300 => self.act(slot, Event::Answered, now),
            Notified::Answer(answer) => {
                let later = answer.header(HeaderName::RetryAfter).filter(|_| !ends(answer.status()));
                match later.and_then(retry_after) {
                    Some(after) => {
                        let at = now + after;
                        self.act(slot, Event::Later, now);
                        self.wait(slot, at);
                    }
                    None => self.act(slot, Event::Failed, now),
                }
            }
            // Its connection is gone, whoever says so first.
            Notified::TransportFailed if found.flow.transport.is_reliable() => self.lose(slot, now),
            // While we were away its router may have forgotten us: its device will register.
            Notified::Timeout | Notified::TransportFailed if !was_heard => self.lose(slot, now),
            Notified::Timeout | Notified::TransportFailed => self.act(slot, Event::Failed, now),
        }
    }

    /// Lets what is due happen.
    pub fn handle_timeout(&mut self, now: Time) {
        self.begin(now);
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Expiry(slot) => {
                    if let Some(found) = self.table.get_mut(slot) {
                        found.expiry = None;
                    }
                    self.end(slot, Ending::Timeout, now);
                }
                Due::Wait(slot) => {
                    if let Some(found) = self.table.get_mut(slot) {
                        found.wait = None;
                    }
                    self.line_up(slot, now);
                }
            }
        }
        while let Some(user) = self.publications.due(now) {
            self.changed(user, Package::Presence, &[], now);
        }
    }

    /// When [`Watch::handle_timeout`] should be called next.
    pub fn next_at(&self) -> Option<Time> {
        [self.timers.next_at(), self.publications.next_at(), self.turns.next_at()].into_iter().flatten().min()
    }

    /// The next thing to do; [`Output::Timeout`] is the last.
    pub fn poll(&mut self) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            let Some((slot, secret)) = self.turns.next() else { return Output::Timeout(self.next_at()) };
            if let Some(found) = self.table.get_mut(slot).filter(|found| found.secret == secret) {
                found.in_line = false;
                if found.state == State::Owed {
                    self.tell(slot);
                }
            }
        }
    }

    /// How many subscriptions there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// How many documents are published.
    pub fn published(&self) -> usize {
        self.publications.len()
    }

    /// Whether everything adds up; tests ask after every input. Of thousands it looks each [`CHECK_EVERY`]th time only.
    pub fn check(&self) -> Result<(), String> {
        self.checks.set(self.checks.get().wrapping_add(1));
        if self.table.len() > CHECK_ALWAYS && !self.checks.get().is_multiple_of(CHECK_EVERY) {
            return Ok(());
        }
        let timers = self.table.check()?;
        if let Some((slot, _)) = self.table.iter().find(|(_, found)| !self.subjects.contains(found.who.subject)) {
            return Err(format!("subscription {slot} is about nobody"));
        }
        if timers == self.timers.len() { Ok(()) } else { Err(format!("{} timers, not {timers}", self.timers.len())) }
    }

    fn begin(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.turns.begin(self.now);
    }

    fn slot_of(&self, message: &Message) -> Option<u32> {
        let slot = self.table.find(message.to_tag()?)?;
        self.table.get(slot).filter(|found| found.dialog.matches(message)).map(|_| slot)
    }

    /// Takes a subscription in.
    fn enter(&mut self, subscription: Subscription, entity: &str) -> Option<u32> {
        let Who { subject, package, .. } = subscription.who;
        let slot = self.table.insert(subscription)?;
        if self.subjects.enter(subject, entity, package, slot) {
            self.outputs.push_back(Output::Heed { user: subject, on: true });
        }
        self.set_expiry(slot);
        Some(slot)
    }

    /// A user who has no room for another loses the one refreshed longest ago: a phone that starts anew subscribes anew,
    /// and knows nothing of those before.
    fn make_room(&mut self, watcher: UserId, now: Time) {
        let standing = self.table.of(watcher).iter().filter_map(|&slot| Some((self.table.get(slot)?, slot)));
        let standing = standing.filter(|(found, _)| found.ending.is_none());
        if standing.clone().count() >= limit::SUBSCRIPTIONS_PER_USER
            && let Some((_, slot)) = standing.min_by_key(|(found, slot)| (found.refreshed, *slot))
        {
            self.end(slot, Ending::GiveUp, now);
        }
    }

    /// Says to the store what there is.
    fn store(&mut self, slot: u32, clock: &Clock) {
        let Some(found) = self.table.get(slot).filter(|found| found.stored) else { return };
        let Some(subject) = self.subjects.get(found.who.subject) else { return };
        let subscription = Box::new(found.stored(&subject.entity, clock));
        let (account, user) = (found.who.account, found.who.watcher);
        self.outputs.push_back(Output::Fact { account, fact: Fact::Subscribed { user, subscription } });
    }

    fn set_expiry(&mut self, slot: u32) {
        let Some(found) = self.table.get_mut(slot) else { return };
        if let Some(token) = found.expiry.take() {
            self.timers.cancel(token);
        }
        if found.ending.is_none() {
            found.expiry = Some(self.timers.insert(found.expires, Due::Expiry(slot)));
        }
    }

    /// Makes a move of a subscription.
    fn act(&mut self, slot: u32, event: Event, now: Time) {
        let Some(found) = self.table.get_mut(slot) else { return };
        match found.state.apply(event) {
            Ok(Effect::LineUp) => self.line_up(slot, now),
            Ok(Effect::Forget) => self.forget(slot),
            // Who makes a turn or has to wait carries these out.
            Ok(Effect::Nothing | Effect::Notify | Effect::LineUpLater) | Err(state::IllegalMove) => {}
        }
    }

    /// Ends a subscription; the subscriber is told when it can be.
    fn end(&mut self, slot: u32, ending: Ending, now: Time) {
        let Some(found) = self.table.get_mut(slot) else { return };
        found.ending.get_or_insert(ending);
        let adrift = found.state == State::Adrift;
        self.set_expiry(slot);
        self.act(slot, if adrift { Event::Drop } else { Event::News }, now);
    }

    /// Its connection is gone.
    fn lose(&mut self, slot: u32, now: Time) {
        let ends = self.table.get(slot).is_some_and(|found| found.ending.is_some());
        self.act(slot, if ends { Event::Drop } else { Event::Lost }, now);
    }

    fn line_up(&mut self, slot: u32, now: Time) {
        let Some(found) = self.table.get_mut(slot) else { return };
        if found.state != State::Owed || found.in_line || found.wait.is_some() {
            return;
        }
        let at = found.pace.next(now);
        if at > now {
            return self.wait(slot, at);
        }
        found.in_line = true;
        self.turns.wait(slot, found.secret);
    }

    fn wait(&mut self, slot: u32, at: Time) {
        let Some(found) = self.table.get_mut(slot).filter(|found| found.state == State::Owed) else { return };
        if let Some(token) = found.wait.take() {
            self.timers.cancel(token);
        }
        found.wait = Some(self.timers.insert(at, Due::Wait(slot)));
    }

    /// It is the subscription's turn.
    fn tell(&mut self, slot: u32) {
        let now = self.now;
        let Some(found) = self.table.get_mut(slot) else { return };
        let Who { subject, package, .. } = found.who;
        let event = if found.ending.is_some() { Event::LastTurn } else { Event::Turn };
        if found.state.apply(event) != Ok(Effect::Notify) {
            return;
        }
        self.turns.spend();
        found.pace.take();
        self.last_notify = self.last_notify.wrapping_add(1);
        found.under_way = self.last_notify;
        let builder = found.notify(&self.server, now);
        let (version, flow) = (found.version(), found.flow);
        let known = self.subjects.get(subject).is_some_and(|subject| subject.document(package).is_some());
        if !known {
            self.print(subject, package, &[]);
        }
        let document = self.subjects.get(subject).and_then(|subject| subject.document(package));
        let body = document.map(|document| (package.content_type(), document.body(version)));
        let id = NotifyId::from(slot) << 32 | NotifyId::from(self.last_notify);
        self.outputs.push_back(Output::Notify { id, request: Outgoing { builder, body }, flow });
    }

    /// Prints a state anew. Whether its watchers have to be told.
    fn print(&mut self, user: UserId, package: Package, gone: &[(Registered, Departure)]) -> bool {
        let messages = self.mailboxes.get(&user).copied().unwrap_or_default();
        let Some(subject) = self.subjects.get_mut(user).filter(|subject| subject.is_watched(package)) else {
            return false;
        };
        let document = subject.print(package, messages, self.publications.of(user), gone);
        subject.take(package, document)
    }

    /// Something about a user may have changed: whoever watches that is told.
    fn changed(&mut self, user: UserId, package: Package, gone: &[(Registered, Departure)], now: Time) {
        if !self.print(user, package, gone) {
            return;
        }
        let Some(watchers) = self.subjects.get_mut(user).map(|subject| subject.take_watchers(package)) else { return };
        for &slot in &watchers {
            self.act(slot, Event::News, now);
        }
        if let Some(subject) = self.subjects.get_mut(user) {
            subject.put_watchers(package, watchers);
        }
    }

    fn forget(&mut self, slot: u32) {
        let Some(found) = self.table.remove(slot) else { return };
        for token in [found.expiry, found.wait].into_iter().flatten() {
            self.timers.cancel(token);
        }
        if self.subjects.leave(found.who.subject, found.who.package, slot) {
            self.outputs.push_back(Output::Heed { user: found.who.subject, on: false });
        }
        if found.stored {
            let fact = Fact::Unsubscribed { user: found.who.watcher, key: found.dialog.local_tag };
            self.outputs.push_back(Output::Fact { account: found.who.account, fact });
        }
    }
}

/// So many subscriptions are looked at each time.
const CHECK_ALWAYS: usize = 100;
/// More of them this seldom.
const CHECK_EVERY: u32 = 500;
