//! SUBSCRIBE, PUBLISH and NOTIFY brought to the room that keeps them, and what it watches brought to it: calls as they
//! change, registrations as they come and go.

use crate::account::Account;
use crate::answer::Stop;
use crate::dispatch::Owner;
use crate::gruu::gr_of;
use crate::need::Need;
use crate::switch::{Incoming, Switch};
use crate::whose::Whose;
use b2bua::{CallState, CallView, LegLine, LegState};
use registrar::watch::{
    Asked, Departure, Direction, Line, Notified, Output, Package, Registered, Request, Stage, Subscribed,
    SubscriptionView, Watch, Wish,
};
use registrar::{Reach, Refusal, User};
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, HeaderName, MessageBuilder, Method, Outgoing, Target, Uri};
use std::sync::Arc;
use words::{AccountId, CallId, Chance, ConnectionId, Flow, LegId, OwnMap, Party, StoredSubscription, Time, UserId};

/// The room, and whose calls are up while somebody watches calls at all. Where nobody does, a call costs nothing here.
///
/// Limits: as many entries as there are calls and users in them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lamps {
    pub(crate) room: Watch,
    observing: bool,
    of_call: OwnMap<CallId, Vec<UserId>>,
    of_user: OwnMap<UserId, Vec<CallId>>,
}

impl Lamps {
    pub(crate) fn new(server: &str, chance: Chance, now: Time) -> Self {
        let room = Watch::new(server, chance, now);
        Lamps { room, observing: false, of_call: OwnMap::default(), of_user: OwnMap::default() }
    }

    /// Whether a client transaction is a NOTIFY. Calls keep below our half, pings above.
    #[expect(clippy::unused_self, reason = "asked of the room that owns these transactions")]
    pub(crate) fn is_ours(&self, txn: ClientTxn) -> bool {
        txn.0 >> 62 == OURS >> 62
    }

    /// Whether what is known of calls fits together.
    pub(crate) fn check(&self) -> Result<(), String> {
        let knows = !self.of_call.is_empty() || !self.of_user.is_empty();
        if knows && !self.observing {
            return Err("calls are known that nobody watches".into());
        }
        self.room.check()
    }

    /// Takes the users of a call, none when it is over; gives those whose calls may differ now.
    fn set_users(&mut self, call: CallId, users: Vec<UserId>) -> Vec<UserId> {
        let before =
            if users.is_empty() { self.of_call.remove(&call) } else { self.of_call.insert(call, users.clone()) };
        let mut all = before.unwrap_or_default();
        for &user in all.iter().filter(|user| !users.contains(user)) {
            if let Some(calls) = self.of_user.get_mut(&user) {
                calls.retain(|other| *other != call);
                if calls.is_empty() {
                    self.of_user.remove(&user);
                }
            }
        }
        for user in users {
            if !all.contains(&user) {
                self.of_user.entry(user).or_default().push(call);
                all.push(user);
            }
        }
        all
    }
}

impl Switch {
    /// SUBSCRIBE outside dialogs: who asks is proven, and whom it is about is of the same account.
    pub(crate) fn subscribe(&mut self, incoming: &Incoming, now: Time) -> Result<(), Stop> {
        let asked = Asked::read(&incoming.message).map_err(|refusal| self.refused(incoming, &refusal))?;
        let (account, watcher) = self.sender(incoming, now)?;
        let subject = self.whom(incoming, asked.package, &account, &watcher, now)?;
        if self.stream.is_full() || self.gate.overloaded {
            return Err(Stop::Busy(self.answers.overloaded(&incoming.message, true)));
        }
        let host = self.calls.host_port(&incoming.flow).to_owned();
        let request = Request { message: &incoming.message, flow: incoming.flow, host: &host, clock: &self.clock };
        let wish = Wish {
            account: account.id,
            watcher: watcher.id,
            subject: subject.id,
            entity: format!("sip:{}@{}", subject.extension, account.domain),
        };
        let subscribed = self.lamps.room.subscribe(wish, asked, &request, now);
        let subscribed = subscribed.map_err(|refusal| self.refused(incoming, &refusal))?;
        self.answer_subscribe(incoming, &subscribed, now);
        self.tell_bound(subject.id, now);
        self.tell_calls(subject.id, now);
        Ok(())
    }

    /// A request inside the dialog of a subscription: from its subscriber's address, or from its subscriber.
    pub(crate) fn take_in_subscription(
        &mut self,
        incoming: &Incoming,
        view: SubscriptionView,
        now: Time,
    ) -> Result<(), Stop> {
        self.check_source(incoming, &view.flow, Owner::User(view.account, view.watcher), now)?;
        if incoming.message.method() != Method::Subscribe {
            return Err(Stop::Answer(self.answers.not_allowed(&incoming.message, incoming.answer_bytes())));
        }
        let host = self.calls.host_port(&incoming.flow).to_owned();
        let request = Request { message: &incoming.message, flow: incoming.flow, host: &host, clock: &self.clock };
        let subscribed = self.lamps.room.refresh(&request, now);
        let subscribed = subscribed.map_err(|refusal| self.refused(incoming, &refusal))?;
        self.answer_subscribe(incoming, &subscribed, now);
        Ok(())
    }

    /// PUBLISH (RFC 3903): users say something about themselves, and about nobody else.
    pub(crate) fn publish(&mut self, incoming: &Incoming, now: Time) -> Result<(), Stop> {
        let (_, user) = self.sender(incoming, now)?;
        if named(incoming).is_some_and(|name| !is_named(&user, &name)) {
            return Err(self.plain(incoming, 403, "Forbidden: publish for yourself only"));
        }
        let published = self.lamps.room.publish(user.id, &incoming.message, now);
        let published = published.map_err(|refusal| self.refused(incoming, &refusal))?;
        let builder = self
            .answers
            .builder(&incoming.message, 200, "OK")
            .header(HeaderName::SipEtag, &published.etag)
            .header_number(HeaderName::Expires, published.expires_s);
        self.respond(incoming.txn, builder.into(), now);
        Ok(())
    }

    /// Takes what became of a NOTIFY.
    pub(crate) fn handle_notified(&mut self, event: &sip::Event, now: Time) {
        let (txn, result) = match event {
            sip::Event::Response { txn, message, .. } if message.status() >= 200 => (*txn, Notified::Answer(message)),
            sip::Event::Timeout { txn } => (*txn, Notified::Timeout),
            sip::Event::TransportFailed { txn, .. } => (*txn, Notified::TransportFailed),
            sip::Event::Request { .. }
            | sip::Event::Response { .. }
            | sip::Event::Ack { .. }
            | sip::Event::Cancelled { .. }
            | sip::Event::NoAck { .. }
            | sip::Event::ServerFailed { .. } => return,
        };
        self.lamps.room.notified(txn.0 & !OURS, result, now);
    }

    /// A user registered: who watches it may have to be told, and what it watches may have to follow it.
    pub(crate) fn follow_registration(&mut self, user: UserId, incoming: &Incoming, now: Time) {
        if self.lamps.room.has(user) {
            let host = self.calls.host_port(&incoming.flow).to_owned();
            let request = Request { message: &incoming.message, flow: incoming.flow, host: &host, clock: &self.clock };
            self.lamps.room.registered(user, &request, now);
        }
        self.tell_bound(user, now);
    }

    /// Puts a subscription of the last run back, once the bindings are. Its fact is in the store already.
    pub fn restore_subscription(&mut self, account: AccountId, user: UserId, stored: StoredSubscription, now: Time) {
        // An address that is no longer ours cannot be sent from.
        if !self.config.own.is_empty() && !self.config.own.contains(&stored.local_address) {
            return;
        }
        let flow = Flow {
            transport: stored.transport,
            listener: stored.listener,
            connection: ConnectionId::NONE,
            local: stored.local_address,
            remote: stored.source,
        };
        let host = self.calls.host_port(&flow).to_owned();
        let subject = stored.subject;
        self.lamps.room.restore(account, user, stored, &host, &self.clock, now);
        self.tell_bound(subject, now);
        self.tell_calls(subject, now);
        self.settle(now);
    }

    /// The registrations of a user may have changed, as its devices said.
    pub(crate) fn tell_bound(&mut self, user: UserId, now: Time) {
        self.tell_departed(user, Departure::Unregistered, now);
    }

    /// The same where what went did so for another reason.
    pub(crate) fn tell_departed(&mut self, user: UserId, why: Departure, now: Time) {
        if !self.lamps.room.cares(user) {
            return;
        }
        let devices = self.registrar.lookup(user, now);
        let bound = devices.map(|device| Registered {
            uri: device.contact.to_owned(),
            q: device.q,
            reachable: !device.unreachable && device.reach != Reach::Gone,
            renewed: device.renewed,
        });
        let bound = bound.collect();
        self.lamps.room.set_bound(user, bound, why, now);
    }

    /// Carries out what the room wants, after calls that changed were looked at.
    pub(crate) fn settle_lamps(&mut self, now: Time) -> bool {
        let mut moved = false;
        while let Some(call) = self.calls.next_changed() {
            self.look_at(call, now);
            moved = true;
        }
        loop {
            match self.lamps.room.poll() {
                Output::Notify { id, request, flow } => {
                    self.endpoint.request(ClientTxn(OURS | id), request, Target::Flow(flow), now);
                }
                Output::Fact { account, fact } => self.say(account, fact, now),
                Output::Heed { user, on } => {
                    self.registrar.heed(user, on, now);
                    self.tell_bound(user, now);
                }
                Output::Timeout(at) => {
                    self.wakes.lamps = at;
                    break;
                }
            }
            moved = true;
        }
        if self.lamps.observing && !self.lamps.room.asks_about_calls() {
            self.calls.observe(false);
            self.lamps.observing = false;
            self.lamps.of_call.clear();
            self.lamps.of_user.clear();
        }
        moved
    }

    /// Tells the devices of a user to read their settings anew, or to start anew: a NOTIFY that no subscription asked
    /// for, as phones have come to expect it. Whether there is any.
    pub(crate) fn check_sync(&mut self, user: UserId, reboot: bool, now: Time) -> bool {
        let devices = self.registrar.lookup(user, now).filter_map(|device| {
            let target = device.reach.target()?;
            Some((device.contact.to_owned(), device.path.to_vec(), device.flow, target))
        });
        let devices: Vec<_> = devices.collect();
        for (contact, path, flow, target) in &devices {
            let host = self.calls.host_port(flow);
            let mut builder = MessageBuilder::request("NOTIFY", contact);
            for hop in path {
                builder.push_header(HeaderName::Route, hop);
            }
            let builder = builder
                .header(HeaderName::MaxForwards, "70")
                .header_fmt(HeaderName::From, format_args!("<sip:{host}>;tag={:08x}", self.chance.u32()))
                .header_fmt(HeaderName::To, format_args!("<{contact}>"))
                .header_fmt(HeaderName::CallId, format_args!("{:016x}", self.chance.u64()))
                .header(HeaderName::CSeq, "1 NOTIFY")
                .header_fmt(HeaderName::Contact, format_args!("<sip:{host}>"))
                .header(HeaderName::UserAgent, &self.config.server)
                .header(HeaderName::Event, if reboot { "check-sync;reboot=true" } else { "check-sync;reboot=false" })
                .header(HeaderName::SubscriptionState, "terminated;reason=noresource");
            let txn = self.pings.unasked();
            self.endpoint.request(txn, builder.into(), *target, now);
        }
        !devices.is_empty()
    }

    /// The user who sends a request, and its account.
    fn sender(&mut self, incoming: &Incoming, now: Time) -> Result<(Arc<Account>, Arc<User>), Stop> {
        let presented = self.presented(incoming, now);
        let account = match self.whose(incoming, &presented, now).map_err(Stop::Need)? {
            Whose::Account(account) => Some(account),
            Whose::Peer(..) => return Err(self.plain(incoming, 403, "Forbidden: a static peer is no user")),
            Whose::Stranger => None,
        };
        let user = self.authenticate(incoming, &presented, account.as_deref(), now)?;
        let account = match account {
            Some(account) => Some(account),
            None => self.account(Need::Account(user.account), now).map_err(Stop::Need)?,
        };
        let Some(account) = account else {
            return Err(self.plain(incoming, 403, "Forbidden: the account is gone"));
        };
        Ok((account, user))
    }

    /// Whom a SUBSCRIBE is about: an extension of the account, or the asking user itself.
    fn whom(
        &mut self,
        incoming: &Incoming,
        package: Package,
        account: &Account,
        watcher: &Arc<User>,
        now: Time,
    ) -> Result<Arc<User>, Stop> {
        let Some(name) = named(incoming).filter(|name| !is_named(watcher, name)) else {
            return Ok(Arc::clone(watcher));
        };
        if gr_of(incoming.message.request_uri()) == Some("") {
            return match self.meant(account.id, &name, Some(""), now).and_then(|meant| meant.temporary) {
                Some(user) if user == watcher.id => Ok(Arc::clone(watcher)),
                // Each document names its user, and a temporary name is there to tell nobody (RFC 5627 §3.1.2).
                Some(_) => Err(self.plain(incoming, 403, "Forbidden: a temporary GRUU tells nobody whose it is")),
                None => Err(self.plain(incoming, 404, "Not Found: no device has this GRUU")),
            };
        }
        let need = Need::Extension { account: account.id, extension: name };
        match (self.user(need, now).map_err(Stop::Need)?, package.is_own()) {
            (Some(user), false) => Ok(user),
            (Some(_), true) => Err(self.plain(incoming, 403, "Forbidden: this is told to the user itself only")),
            (None, false) => Err(self.plain(incoming, 404, "Not Found: no extension has this number")),
            // Phones ask the number of the voice mail for what is in the mailbox of whoever asks.
            (None, true) => Ok(Arc::clone(watcher)),
        }
    }

    fn answer_subscribe(&mut self, incoming: &Incoming, subscribed: &Subscribed, now: Time) {
        let builder = MessageBuilder::response(&incoming.message, 200, "OK", Some(&subscribed.tag))
            .header(HeaderName::Server, &self.config.server)
            .copy(&incoming.message, HeaderName::RecordRoute)
            .header(HeaderName::Contact, &subscribed.contact)
            .header_number(HeaderName::Expires, subscribed.expires_s);
        self.respond(incoming.txn, builder.into(), now);
    }

    fn refused(&mut self, incoming: &Incoming, refusal: &Refusal) -> Stop {
        let mut builder = self.answers.builder(&incoming.message, refusal.status, refusal.reason);
        if let Some((name, value)) = &refusal.header {
            builder.push_header(*name, value);
        }
        Stop::Answer(Outgoing { builder, body: None })
    }

    /// A call was worked on: its users' lamps may differ.
    fn look_at(&mut self, call: CallId, now: Time) {
        let view = self.calls.view(call).filter(|view| view.state != CallState::Ended);
        let users = view.as_ref().map(users_of).unwrap_or_default();
        for user in self.lamps.set_users(call, users) {
            self.tell_calls(user, now);
        }
    }

    /// The calls of a user may have changed.
    fn tell_calls(&mut self, user: UserId, now: Time) {
        if !self.lamps.room.cares(user) || !self.lamps.room.asks_about_calls() {
            return;
        }
        if !self.lamps.observing {
            self.lamps.observing = true;
            self.calls.observe(true);
            for view in self.calls.views() {
                self.lamps.set_users(view.call, users_of(&view));
            }
        }
        let calls = self.lamps.of_user.get(&user).map_or(&[][..], Vec::as_slice);
        let lines = calls.iter().filter_map(|call| self.calls.view(*call)).flat_map(|view| lines_of(&view, user));
        let lines = lines.collect();
        self.lamps.room.set_lines(user, lines, now);
    }
}

/// The users in a call.
fn users_of(view: &CallView<'_>) -> Vec<UserId> {
    let mut users = Vec::new();
    for user in view.legs.iter().filter_map(|leg| leg.party.user) {
        if !users.contains(&user) {
            users.push(user);
        }
    }
    users
}

/// A call as the lamps of one of its users show it.
fn lines_of(view: &CallView<'_>, user: UserId) -> Vec<Line> {
    let ours = view.legs.iter().filter(|leg| leg.party.user == Some(user));
    ours.filter_map(|leg| line_of(view, leg)).collect()
}

fn line_of(view: &CallView<'_>, leg: &LegLine<'_>) -> Option<Line> {
    let stage = match leg.state {
        LegState::Incoming | LegState::Ringing => Stage::Early,
        LegState::Accepted | LegState::Confirmed => Stage::Confirmed,
        // What does not ring yet is not to be seen, and what leaves is no more.
        LegState::Calling | LegState::ByeOwed | LegState::Cancelling | LegState::Leaving | LegState::Ended => {
            return None;
        }
    };
    let ids = leg.ids();
    Some(Line {
        leg: LegId { call: view.call, n: leg.n },
        direction: if ids.is_ours { Direction::Recipient } else { Direction::Initiator },
        stage,
        call_id: ids.call_id,
        local_tag: ids.theirs,
        remote_tag: ids.ours,
        remote: if leg.other.private { Party::default() } else { leg.other.clone() },
        holds: stage == Stage::Confirmed && leg.holds,
        held: stage == Stage::Confirmed && leg.held,
    })
}

/// Whom a request is about, by its Request-URI; by To where that names our address only. `None`: nobody.
fn named(incoming: &Incoming) -> Option<String> {
    let user = |uri: &str| Uri::parse(uri).ok().map(|uri| uri.dialled().into_owned());
    let name = user(incoming.message.request_uri()).filter(|name| !name.is_empty());
    name.or_else(|| user(incoming.message.to().ok()?.uri)).filter(|name| !name.is_empty())
}

fn is_named(user: &User, name: &str) -> bool {
    name == user.extension || name == user.auth_user
}

/// The mark of our transactions: NOTIFYs are named below it.
const OURS: u64 = 1 << 62;
