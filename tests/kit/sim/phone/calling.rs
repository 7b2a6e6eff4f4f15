//! How a phone calls, and how its calls end.

use super::register::TRIES;
use super::{Asked, Phone, SDP};
use crate::sim::line::{Ending, LineState};
use bytes::Bytes;
use sip::{Dialog, HeaderName, Message, MessageBuilder, Method, Outgoing};
use words::Time;

impl Phone {
    pub(super) fn call(&mut self, number: String, without_offer: bool, replaces: Option<String>, now: Time) {
        let call_id = format!("{:016x}", self.chance.u64());
        let line = self.new_line(LineState::Calling, number, call_id);
        self.lines[line].without_offer = without_offer;
        self.lines[line].replaces = replaces;
        self.invite(line, 0, now);
    }

    fn invite(&mut self, line: usize, tries: u8, now: Time) {
        let own = self.local(line);
        let contact = self.contact();
        let host = &self.identity.host;
        let found = &mut self.lines[line];
        let uri =
            if found.number.contains(':') { found.number.clone() } else { format!("sip:{}@{host}", found.number) };
        let builder = MessageBuilder::request("INVITE", &uri)
            .header(HeaderName::MaxForwards, "70")
            .header(HeaderName::From, &own)
            .header_fmt(HeaderName::To, format_args!("<{uri}>"))
            .header(HeaderName::CallId, &found.sip.call_id)
            .header_fmt(HeaderName::CSeq, format_args!("{} INVITE", found.sip.cseq))
            .header(HeaderName::Contact, &contact);
        let builder = match &found.replaces {
            Some(replaces) => builder.header(HeaderName::Replaces, replaces).header(HeaderName::Require, "replaces"),
            None => builder,
        };
        let builder = self.habits.says.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        let builder = self
            .registration
            .service_route()
            .iter()
            .filter(|_| self.habits.knows_service_route)
            .fold(builder, |builder, route| builder.header(HeaderName::Route, route));
        let body = (!found.without_offer).then(|| (SDP, found.session.offer()));
        let builder = self.with_timer(builder, line);
        let builder = self.with_rel(builder, line);
        let request = Outgoing { builder, body };
        let txn = self.send(Asked::Invite { line, tries }, Method::Invite, &uri, request, true, now);
        self.lines[line].sip.asking = Some(txn);
    }

    /// The value of From of its call.
    pub(super) fn local(&self, line: usize) -> String {
        if self.habits.anonymous {
            return format!("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag={}", self.lines[line].sip.tag);
        }
        format!("<sip:{}@{}>;tag={}", self.identity.number, self.identity.host, self.lines[line].sip.tag)
    }

    pub(super) fn call_answered(&mut self, line: usize, tries: u8, message: &Message, now: Time) {
        let status = message.status();
        if (200..300).contains(&status) {
            return self.call_accepted(line, message, now);
        }
        if (101..200).contains(&status) && !self.hear(line, message, now) {
            return;
        }
        let own = self.local(line);
        let found = &mut self.lines[line];
        if status > 100 {
            found.statuses.push(status);
        }
        if status < 200 {
            if status > 100 && found.sip.dialog.is_none() {
                let dialog = Dialog::uac(&own, &found.sip.call_id, found.sip.cseq, message);
                found.sip.dialog = dialog.ok().map(Box::new);
            }
            found.early_tag = message.to_tag().map(str::to_owned).or(found.early_tag.take());
            if !message.body().is_empty() && !found.without_offer && message.rseq().is_none() {
                found.session.take(message.body());
            }
            return;
        }
        found.sip.asking = None;
        let goes_on = !found.cancelled && tries < TRIES;
        let again = status == 422 && goes_on && self.raise(line, message);
        if again || status == 401 && goes_on && self.learn(message) {
            self.lines[line].sip.cseq += 1;
            return self.invite(line, tries + 1, now);
        }
        let found = &mut self.lines[line];
        let reason = message.header(HeaderName::Reason).map(str::to_owned);
        message.reason().clone_into(&mut found.phrase);
        found.warning = message.header(HeaderName::Warning).map(str::to_owned);
        found.end(if found.cancelled { Ending::Own } else { Ending::Refused { status, reason } });
    }

    fn call_accepted(&mut self, line: usize, message: &Message, now: Time) {
        let own = self.local(line);
        let found = &mut self.lines[line];
        if found.sip.acked.as_ref().is_some_and(|(cseq, _)| Ok(*cseq) == message.cseq().map(|cseq| cseq.number)) {
            return self.acknowledge_again(line, now);
        }
        found.statuses.push(message.status());
        found.shows.extend(message.header(HeaderName::PAssertedIdentity).map(str::to_owned));
        found.sip.asking = None;
        if let Some(dialog) = &mut found.sip.dialog {
            assert!(dialog.matches(message), "one dialog per call");
            dialog.confirm(message).expect("a 200 of the exchange is complete");
        } else {
            let dialog = Dialog::uac(&own, &found.sip.call_id, found.sip.cseq, message);
            found.sip.dialog = Some(Box::new(dialog.expect("a 200 of the exchange is complete")));
        }
        assert_eq!(found.sip.early.settled, message.body().is_empty(), "each description once");
        let answer = match found.without_offer {
            _ if found.sip.early.settled => None,
            true => Some(found.session.answer(message.body())),
            false => {
                found.session.take(message.body());
                None
            }
        };
        let cseq = found.sip.cseq;
        found.state = LineState::Talking;
        let gave_up = found.cancelled;
        self.timer_granted(line, message);
        self.acknowledge(line, cseq, answer, now);
        if gave_up {
            return self.bye(line, 0, now);
        }
        for (after, what) in self.habits.when_answered.clone() {
            self.later(after, line, what);
        }
    }

    /// ACK to a 2xx.
    pub(super) fn acknowledge(&mut self, line: usize, cseq: u32, answer: Option<Bytes>, now: Time) {
        self.lines[line].sip.acked = Some((cseq, answer));
        self.acknowledge_again(line, now);
    }

    pub(super) fn acknowledge_again(&mut self, line: usize, now: Time) {
        let found = &self.lines[line];
        let (Some(dialog), Some((cseq, answer))) = (&found.sip.dialog, &found.sip.acked) else { return };
        if self.habits.acknowledges {
            let body = answer.clone().map(|answer| (SDP, answer));
            let request = Outgoing { builder: dialog.ack(*cseq), body };
            self.endpoint.send_ack(request, self.target(), now);
        }
    }

    /// Whatever it takes to be out of a call.
    pub(super) fn hang_up(&mut self, line: usize, now: Time) {
        let Some(found) = self.lines.get_mut(line) else { return };
        match found.state {
            LineState::Calling => {
                found.cancelled = true;
                if let Some(txn) = found.sip.asking {
                    self.endpoint.cancel(txn, None, now);
                }
            }
            LineState::Called => self.refuse(line, 486, now),
            // RFC 3261 §15: no BYE before the ACK.
            LineState::Accepted => found.bye_owed = true,
            LineState::Talking => self.bye(line, 0, now),
            LineState::Leaving | LineState::Ended => {}
        }
    }

    pub(super) fn bye(&mut self, line: usize, tries: u8, now: Time) {
        let found = &mut self.lines[line];
        let Some(dialog) = &mut found.sip.dialog else { return };
        found.state = LineState::Leaving;
        // A change that has no final answer would wait for one for ever.
        if let Some(txn) = found.sip.asking {
            self.endpoint.cancel(txn, None, now);
        }
        let uri = dialog.remote_target.clone();
        let request = Outgoing { builder: dialog.request(Method::Bye), body: None };
        self.send(Asked::Bye { line, tries }, Method::Bye, &uri, request, tries > 0, now);
    }

    pub(super) fn bye_answered(&mut self, line: usize, tries: u8, message: &Message, now: Time) {
        match message.status() {
            ..200 => {}
            401 if tries < TRIES && self.learn(message) => self.bye(line, tries + 1, now),
            200.. => self.lines[line].end(Ending::Own),
        }
    }

    pub(super) fn digit(&mut self, line: usize, digit: char, now: Time) {
        // Nothing follows a goodbye: it would overtake it, and make it come out of order.
        let talking =
            self.lines.get_mut(line).filter(|line| !matches!(line.state, LineState::Leaving | LineState::Ended));
        let Some(dialog) = talking.and_then(|line| line.sip.dialog.as_mut()) else { return };
        let uri = dialog.remote_target.clone();
        let (kind, body) = if self.habits.bare_digits {
            ("application/dtmf", format!("{digit}\r\n"))
        } else {
            ("application/dtmf-relay", format!("Signal={digit}\r\nDuration=160\r\n"))
        };
        let request = Outgoing { builder: dialog.request(Method::Info), body: Some((kind, Bytes::from(body))) };
        self.send(Asked::Info { line }, Method::Info, &uri, request, false, now);
    }
}
