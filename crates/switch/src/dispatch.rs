//! Method to room: what a request outside and inside dialogs leads to.

use crate::answer::Stop;
use crate::need::Need;
use crate::switch::{Incoming, Switch, Waiter};
use b2bua::LegView;
use sip::advertise::SUPPORTED;
use sip::{HeaderName, Message, Method, Scheme, Uri};
use std::net::IpAddr;
use words::{AccountId, Flow, PeerId, Time, UserId};

/// Who is at the other side of a dialog.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// A user, who has a password.
    User(AccountId, UserId),
    /// A static peer, whose addresses are its password, and the server behind it that it named.
    Peer(PeerId, Option<IpAddr>),
    /// Somebody who came in by an open listener.
    Nobody,
}

impl Switch {
    /// Takes what the transaction layer says.
    pub(crate) fn handle_sip(&mut self, event: sip::Event, now: Time) {
        if let sip::Event::Response { flow, .. } = &event {
            self.strangers.prove_in_hand(flow.remote, now);
        }
        match event {
            sip::Event::Request { txn, message, flow } => {
                self.dispatch(Incoming::new(txn, message, flow), now);
            }
            sip::Event::Response { txn, .. }
            | sip::Event::Timeout { txn }
            | sip::Event::TransportFailed { txn, .. }
                if self.messages.is_ours(txn) =>
            {
                self.handle_message_answered(&event, now);
            }
            sip::Event::Response { txn, .. }
            | sip::Event::Timeout { txn }
            | sip::Event::TransportFailed { txn, .. }
                if self.pings.is_ours(txn) =>
            {
                self.handle_pong(&event, now);
            }
            sip::Event::Response { txn, .. }
            | sip::Event::Timeout { txn }
            | sip::Event::TransportFailed { txn, .. }
                if self.lamps.is_ours(txn) =>
            {
                self.handle_notified(&event, now);
            }
            sip::Event::Cancelled { txn, .. } if self.cancel_parked(txn, now) => {}
            sip::Event::Ack { message, flow } if self.is_forged_answer(&message, &flow, now) => {
                self.counters.strays += 1;
            }
            sip::Event::Ack { .. }
            | sip::Event::Cancelled { .. }
            | sip::Event::NoAck { .. }
            | sip::Event::Response { .. }
            | sip::Event::ServerFailed { .. }
            | sip::Event::Timeout { .. }
            | sip::Event::TransportFailed { .. } => {
                let left = self.calls.handle(event, now);
                self.count_left(left.as_ref());
            }
        }
    }

    /// Counts what belongs to no call. The ACK to a refusal that was forgotten at once is as it should be: each challenged
    /// caller sends one.
    fn count_left(&mut self, left: Option<&sip::Event>) {
        match left {
            None => {}
            Some(sip::Event::Ack { message, .. }) if self.answers.are_acknowledged_by(message) => {
                self.counters.acks_forgotten += 1;
            }
            Some(_) => self.counters.strays += 1,
        }
    }

    /// A caller gives up while its INVITE waits for the directory: it gets its 487 (RFC 3261 §9.2), and no call begins.
    /// Whether it was so.
    fn cancel_parked(&mut self, txn: sip::ServerTxn, now: Time) -> bool {
        let is_it = |waiter: &Waiter| matches!(waiter, Waiter::Request(incoming) if incoming.txn == txn);
        let Some(Waiter::Request(incoming)) = self.directory.withdraw(is_it) else { return false };
        let response = self.answers.plain(&incoming.message, 487, "Request Terminated");
        self.respond(txn, response, now);
        true
    }

    /// The directory did not answer those who wait.
    pub(crate) fn send_away(&mut self, waiting: Vec<Waiter>, now: Time) {
        for waiter in waiting {
            match waiter {
                Waiter::Request(incoming) => self.overloaded(&incoming, now),
                Waiter::Plan(call) => {
                    self.calls.reject(call, 503, "Service Unavailable: the directory does not answer", now);
                }
                Waiter::Redirect(leg) => {
                    let why = "Temporarily Unavailable: redirected, and the directory does not answer";
                    let _ = self.calls.redirect(leg, Vec::new(), why, now);
                }
                // It is looked up again in its time.
                Waiter::Peer(_) => {}
            }
        }
    }

    pub(crate) fn park(&mut self, need: Need, waiter: Waiter, now: Time) {
        if let Err(waiter) = self.directory.park(need, waiter, now) {
            self.send_away(vec![waiter], now);
        }
    }

    /// Carries a request as far as it gets: to its answer, or to what it has to wait for.
    pub(crate) fn dispatch(&mut self, mut incoming: Incoming, now: Time) {
        match self.take(&incoming, now) {
            Ok(()) => {}
            // Credentials prove something once. Whoever showed them and asks again hears what he heard before, and no new
            // challenge (RFC 3261 §8.2.7).
            Err(Stop::Answer(response)) if incoming.proven.borrow().is_some() => {
                self.respond(incoming.txn, response, now);
            }
            // Nothing is kept for whoever else is turned away: a repeated request gets the answer made anew.
            Err(Stop::Answer(response) | Stop::Busy(response)) => self.endpoint.respond_once(incoming.txn, response),
            Err(Stop::Need(need)) => {
                incoming.asked |= matches!(need, Need::AuthUser(_));
                self.park(need, Waiter::Request(Box::new(incoming)), now);
            }
        }
    }

    fn take(&mut self, incoming: &Incoming, now: Time) -> Result<(), Stop> {
        let method = incoming.message.method();
        if method != Method::Invite && incoming.message.header(HeaderName::Replaces).is_some() {
            // RFC 3891 §3.
            return Err(self.plain(incoming, 400, "Bad Request: Replaces is for INVITE"));
        }
        if matches!(method, Method::Subscribe | Method::Notify | Method::Publish)
            && incoming.message.headers(HeaderName::Event).nth(1).is_some()
        {
            // RFC 6665 §8.2.1.
            return Err(self.plain(incoming, 400, "Bad Request: more than one Event"));
        }
        // A To tag without a dialog is 481 before any routing.
        if incoming.message.to_tag().is_some() {
            return self.take_in_dialog(incoming, now);
        }
        self.check_scheme(incoming)?;
        self.check_required(incoming)?;
        match incoming.message.method() {
            Method::Register => self.register(incoming, now),
            Method::Invite => self.invite(incoming, now),
            Method::Options => Err(Stop::Answer(self.answers.capabilities(&incoming.message, incoming.answer_bytes()))),
            // Some phones keep their NAT binding open with a NOTIFY outside any dialog; an answer is all they want.
            Method::Notify if keeps_alive(&incoming.message) => Err(self.plain(incoming, 200, "OK")),
            Method::Notify | Method::Bye | Method::Prack | Method::Update => {
                Err(self.plain(incoming, 481, "Call/Transaction Does Not Exist"))
            }
            Method::Ack | Method::Cancel => Ok(()),
            Method::Subscribe => self.subscribe(incoming, now),
            Method::Publish => self.publish(incoming, now),
            // Nobody is told to call somebody by a stranger to the call.
            Method::Refer => Err(self.plain(incoming, 403, "Forbidden: REFER is taken inside a call only")),
            Method::Message => self.message(incoming, now),
            Method::Info | Method::Other => {
                Err(Stop::Answer(self.answers.not_allowed(&incoming.message, incoming.answer_bytes())))
            }
        }
    }

    fn take_in_dialog(&mut self, incoming: &Incoming, now: Time) -> Result<(), Stop> {
        if let Some(view) = self.lamps.room.find(&incoming.message) {
            return self.take_in_subscription(incoming, view, now);
        }
        let Some(leg) = self.calls.leg_of(&incoming.message) else {
            return Err(self.plain(incoming, 481, "Call/Transaction Does Not Exist"));
        };
        self.check_source(incoming, &leg.flow, owner_of(&leg), now)?;
        self.strangers.prove_in_hand(incoming.flow.remote, now);
        let event = sip::Event::Request { txn: incoming.txn, message: incoming.message.clone(), flow: incoming.flow };
        if self.calls.handle(event, now).is_some() {
            return Err(self.plain(incoming, 481, "Call/Transaction Does Not Exist"));
        }
        Ok(())
    }

    /// Whether a request inside a dialog comes from where the other side of that dialog speaks: over its flow, over one
    /// that the same user is registered by, from an address of the same peer or of the server that it named. A user who speaks from elsewhere has
    /// moved, and proves who it is; anybody else is not a party of this dialog.
    pub(crate) fn check_source(
        &mut self,
        incoming: &Incoming,
        flow: &Flow,
        owner: Owner,
        now: Time,
    ) -> Result<(), Stop> {
        if self.speaks_for(&incoming.flow, flow, owner, now) {
            return Ok(());
        }
        match owner {
            Owner::User(account, user) => {
                let account = self.account(Need::Account(account), now).map_err(Stop::Need)?;
                let proven = self.authenticate(incoming, &self.presented(incoming, now), account.as_deref(), now)?;
                if proven.id != user {
                    return Err(self.plain(incoming, 403, "Forbidden: this dialog belongs to another user"));
                }
                Ok(())
            }
            Owner::Peer(..) | Owner::Nobody => {
                Err(self.plain(incoming, 403, "Forbidden: this dialog belongs to another address"))
            }
        }
    }

    /// Whether a flow is one by which the other side of a dialog, whose own is `flow`, is known.
    fn speaks_for(&self, here: &Flow, flow: &Flow, owner: Owner, now: Time) -> bool {
        if here.connection == flow.connection && here.remote == flow.remote {
            return true;
        }
        match owner {
            Owner::User(_, user) => {
                let bound = |device: registrar::Device<'_>| device.reach == registrar::Reach::Flow(*here);
                self.registrar.lookup(user, now).any(bound)
            }
            Owner::Peer(peer, behind) => {
                self.peers.is_from(peer, here.remote) || behind == Some(here.remote.ip().to_canonical())
            }
            // It cannot be asked who it is: over a connection at least its address is no forgery.
            Owner::Nobody => here.transport.is_reliable() && here.remote.ip() == flow.remote.ip(),
        }
    }

    /// Whether an ACK that has to bring the answer to an offer of ours comes from somebody else than the other side of its
    /// dialog: nobody can be challenged by an ACK, and the answer says where the media goes. It is dropped, and the 2xx
    /// repeated for whom it is for.
    fn is_forged_answer(&self, ack: &Message, here: &Flow, now: Time) -> bool {
        let Some(leg) = self.calls.leg_of(ack).filter(|leg| self.calls.owes_answer(leg.leg)) else { return false };
        // A phone may have opened its connection anew meanwhile.
        let again = here.transport.is_reliable() && here.remote.ip() == leg.flow.remote.ip();
        !again && !self.speaks_for(here, &leg.flow, owner_of(&leg), now)
    }

    /// 416 for a Request-URI of a scheme that we do not know (RFC 3261 §8.2.2.1). Which method it is counts before.
    fn check_scheme(&mut self, incoming: &Incoming) -> Result<(), Stop> {
        let uri = Uri::parse(incoming.message.request_uri());
        let served = !matches!(incoming.message.method(), Method::Info | Method::Other);
        if served && uri.is_ok_and(|uri| uri.scheme == Scheme::Other) {
            return Err(self.plain(incoming, 416, "Unsupported URI Scheme: sip, sips and tel are known"));
        }
        Ok(())
    }

    /// 420 for what a request needs and we do not have (RFC 3261 §8.2.2.3).
    fn check_required(&mut self, incoming: &Incoming) -> Result<(), Stop> {
        let unsupported: Vec<&str> = incoming
            .message
            .values(HeaderName::Require)
            .filter(|tag| !SUPPORTED.iter().any(|ours| ours.eq_ignore_ascii_case(tag)))
            .collect();
        if unsupported.is_empty() {
            return Ok(());
        }
        let builder =
            self.answers.builder(&incoming.message, 420, "Bad Extension: Unsupported names what is not known");
        let builder = builder.header(HeaderName::Unsupported, &unsupported.join(", "));
        Err(Stop::Answer(sip::Outgoing { builder, body: None }))
    }

    pub(crate) fn plain(&mut self, incoming: &Incoming, status: u16, reason: &str) -> Stop {
        Stop::Answer(self.answers.plain(&incoming.message, status, reason))
    }

    pub(crate) fn overloaded(&mut self, incoming: &Incoming, now: Time) {
        let to_phone = self.peers.at(incoming.flow.remote).is_none();
        let response = self.answers.overloaded(&incoming.message, to_phone);
        self.counters.calls_refused += 1;
        self.respond(incoming.txn, response, now);
    }
}

/// Who is at the other side of a leg.
fn owner_of(leg: &LegView) -> Owner {
    match (leg.user, leg.peer) {
        (Some(user), _) => Owner::User(leg.account, user),
        (None, Some(peer)) => Owner::Peer(peer, leg.hop),
        (None, None) => Owner::Nobody,
    }
}

/// Whether a NOTIFY is about nothing but itself.
fn keeps_alive(notify: &Message) -> bool {
    notify.header(HeaderName::Event).is_none_or(|event| event.eq_ignore_ascii_case("keep-alive"))
}

#[cfg(test)]
mod tests {
    use crate::{Command, Config, Input, Output, Reply, Switch};
    use sip::{HeaderName, Message};
    use words::{Clock, ConnectionId, Flow, Seed, Time, Transport};

    fn udp() -> Flow {
        Flow {
            transport: Transport::Udp,
            listener: 0,
            connection: ConnectionId::NONE,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.9:5070".parse().unwrap(),
        }
    }

    /// What a stranger hears who requires these.
    fn heard(method: &str, requires: &str) -> Message {
        told(method, "", &format!("Require: {requires}\r\n"))
    }

    /// What a stranger hears who sends these lines; `to` follows the URI in To.
    fn told(method: &str, to: &str, lines: &str) -> Message {
        let (seed, secrets) = (Seed::from_number(1), Seed::from_number(2));
        let mut switch = Switch::new(Config::default(), seed, secrets, Clock::default(), Time::ZERO);
        let flow = udp();
        let text = format!(
            "{method} sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK1\r\n\
             From: <sip:a@h>;tag=a\r\nTo: <sip:b@h>{to}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n\
             Contact: <sip:a@192.0.2.9>\r\n{lines}\r\n"
        );
        switch.handle(Input::Message { flow, bytes: text.into() }, Time::ZERO);
        loop {
            match switch.poll() {
                Output::Transmit { bytes, .. } => return Message::parse(bytes).unwrap(),
                Output::Timeout(_) => panic!("no answer"),
                other => drop(other),
            }
        }
    }

    /// Whatever is dropped is counted.
    #[test]
    fn each_drop_has_its_counter() {
        let (seed, secrets) = (Seed::from_number(1), Seed::from_number(2));
        let mut switch = Switch::new(Config::default(), seed, secrets, Clock::default(), Time::ZERO);
        let flow = udp();
        let request = |method: &str, to: &str| {
            format!(
                "{method} sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bK{method}\r\n\
                 From: <sip:a@h>;tag=a\r\nTo: <sip:b@h>{to}\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\
                 Contact: <sip:a@192.0.2.9>\r\n\r\n"
            )
        };
        let mut sent = Vec::new();
        let mut take = |switch: &mut Switch, text: &str| {
            switch.handle(Input::Message { flow, bytes: text.to_owned().into() }, Time::ZERO);
            loop {
                match switch.poll() {
                    Output::Transmit { bytes, .. } => sent.extend(Message::parse(bytes)),
                    Output::Timeout(_) => return sent.last().and_then(|m: &Message| m.to_tag().map(str::to_owned)),
                    _ => {}
                }
            }
        };
        let count = |switch: &mut Switch, name: &str| {
            switch.handle(Input::Command { id: 1, command: Command::Status }, Time::ZERO);
            loop {
                if let Output::Reply { reply: Reply::Status(status), .. } = switch.poll() {
                    return status.counters.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
                }
            }
        };
        take(&mut switch, "GET / HTTP/1.1\r\n\r\n");
        take(&mut switch, &request("OPTIONS", "").replace("CSeq: 1", "CSeq: x"));
        take(&mut switch, &request("OPTIONS", "").replacen("OPTIONS sip:b@192.0.2.1 SIP/2.0", "SIP/2.0 200 OK", 1));
        assert_eq!(count(&mut switch, "messages_refused"), Some(3));
        take(&mut switch, &request("ACK", ";tag=0123"));
        assert_eq!(count(&mut switch, "strays"), Some(1));
        switch.handle(Input::Overloaded(true), Time::ZERO);
        let tag = take(&mut switch, &request("INVITE", "")).expect("it is refused");
        take(&mut switch, &request("ACK", &format!(";tag={tag}")));
        let counts = ["acks_forgotten", "calls_refused", "messages_refused"].map(|name| count(&mut switch, name));
        assert_eq!(counts, [Some(1), Some(1), Some(3)]);
    }

    #[test]
    fn replaces_is_for_invite() {
        for method in ["OPTIONS", "REGISTER", "SUBSCRIBE", "MESSAGE", "BYE"] {
            let answer = heard(method, "replaces\r\nReplaces: c;to-tag=a;from-tag=b");
            assert_eq!((answer.status(), answer.reason()), (400, "Bad Request: Replaces is for INVITE"), "{method}");
        }
    }

    /// RFC 6665 §8.2.1, in dialogs and outside; a method that has no events has none to count.
    #[test]
    fn a_request_is_about_one_event() {
        let two = "Event: dialog\r\no: reg\r\n";
        for method in ["SUBSCRIBE", "NOTIFY", "PUBLISH"] {
            for to in ["", ";tag=b"] {
                let answer = told(method, to, two);
                assert_eq!((answer.status(), answer.reason()), (400, "Bad Request: more than one Event"), "{method}");
            }
            assert_eq!(told(method, ";tag=b", "Event: dialog\r\n").status(), 481, "{method}");
        }
        assert_eq!(told("OPTIONS", "", two).status(), 200);
    }

    #[test]
    fn a_notify_that_nobody_asked_for_is_481_unless_it_keeps_a_way_open() {
        for (event, status) in [("", 200), ("Event: keep-alive\r\n", 200), ("Event: dialog\r\n", 481)] {
            assert_eq!(told("NOTIFY", "", event).status(), status, "{event}");
        }
        let state = "Event: message-summary\r\nSubscription-State: active\r\n";
        assert_eq!(told("NOTIFY", "", state).status(), 481);
    }

    #[test]
    fn what_is_required_and_not_known_is_named() {
        for method in ["OPTIONS", "INVITE", "REGISTER", "SUBSCRIBE"] {
            let answer = heard(method, "path, no-such-thing, 100rel, Neither");
            let named = answer.header(HeaderName::Unsupported);
            assert_eq!((answer.status(), named), (420, Some("no-such-thing, Neither")), "{method}");
        }
        assert_eq!(heard("OPTIONS", "PATH, 100rel").status(), 200);
    }
}
