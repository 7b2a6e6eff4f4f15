//! What a phone does with requests that come to it.

use super::Phone;
use crate::sim::line::{Ending, LineState, Theirs};
use crate::sim::script::Do;
use bytes::Bytes;
use sip::{Dialog, HeaderName, Message, MessageBuilder, Method, ServerTxn, Uri};
use words::Time;

impl Phone {
    pub(super) fn requested(&mut self, txn: ServerTxn, message: Message, now: Time) {
        let about = message.header(HeaderName::Event).unwrap_or_default();
        if message.method() == Method::Notify && !about.starts_with("refer") {
            return self.told(txn, &message, now);
        }
        if message.to_tag().is_some() {
            return self.requested_inside(txn, &message, now);
        }
        match message.method() {
            Method::Invite if self.too_short(txn, &message, now) => {}
            Method::Invite => self.ring(txn, message),
            Method::Options => {
                self.registration.pings.push(message.clone());
                self.plain(txn, &message, 200, now);
            }
            Method::Message => self.take_message(txn, &message, now),
            _ => self.plain(txn, &message, 405, now),
        }
    }

    pub(super) fn plain(&mut self, txn: ServerTxn, message: &Message, status: u16, now: Time) {
        let tag = format!("{:08x}", self.chance.u32());
        self.respond(txn, MessageBuilder::response(message, status, "", Some(&tag)), None, now);
    }

    fn requested_inside(&mut self, txn: ServerTxn, message: &Message, now: Time) {
        let known = |line: &crate::sim::line::Line| {
            !line.is_over() && line.sip.dialog.as_ref().is_some_and(|dialog| dialog.matches(message))
        };
        let Some(line) = self.lines.iter().position(known) else { return self.plain(txn, message, 481, now) };
        let in_order = self.lines[line].sip.dialog.as_mut().is_some_and(|dialog| dialog.accept(message).is_ok());
        if !in_order {
            return self.plain(txn, message, 500, now);
        }
        match message.method() {
            Method::Update => self.update_asked(line, txn, message, now),
            Method::Prack => self.prack_asked(line, txn, message, now),
            Method::Invite if self.too_short(txn, message, now) => {}
            Method::Invite => self.asked_to_change(line, txn, message, now),
            Method::Bye => {
                let reason = message.header(HeaderName::Reason).map(str::to_owned);
                self.respond(txn, self.response(line, message, 200), None, now);
                // A re-INVITE that has no answer yet gets its last one (RFC 3261 §15.1.2).
                match self.lines[line].sip.theirs.take() {
                    Some(theirs) if theirs.answered => self.endpoint.acked(theirs.txn),
                    Some(theirs) => self.respond(theirs.txn, self.response(line, &theirs.message, 487), None, now),
                    None => {}
                }
                if let Some(txn) = self.lines[line].sip.asking {
                    // The answer to its change may have gone where it was before.
                    self.endpoint.cancel(txn, None, now);
                }
                self.lines[line].end(Ending::Bye { reason });
            }
            Method::Info => {
                self.lines[line].digits.push(String::from_utf8_lossy(message.body()).into_owned());
                self.plain(txn, message, 200, now);
            }
            Method::Options => self.plain(txn, message, 200, now),
            Method::Message => self.take_message(txn, message, now),
            Method::Notify => {
                self.plain(txn, message, 200, now);
                self.notified(line, message, now);
            }
            _ => self.plain(txn, message, 405, now),
        }
    }

    /// A call comes in.
    fn ring(&mut self, txn: ServerTxn, message: Message) {
        let number = message.from().ok().and_then(|from| Uri::parse(from.uri).ok().map(|uri| uri.user.to_owned()));
        let call_id = message.call_id().unwrap_or_default().to_owned();
        let line = self.new_line(LineState::Called, number.unwrap_or_default(), call_id);
        let found = &mut self.lines[line];
        let dialog = Dialog::uas(&message, &found.sip.tag).expect("an INVITE of the exchange makes a dialog");
        found.sip.dialog = Some(Box::new(dialog));
        found.invite = Some(message.clone());
        found.without_offer = message.body().is_empty();
        found.sip.theirs = Some(Theirs { txn, message, offered: false, described: None, answered: false });
        for (after, what) in self.habits.when_called.clone() {
            self.later(after, line, what);
        }
    }

    /// The INVITE that the line was called with, while it has no final answer.
    pub(super) fn waiting(&self, line: usize) -> Option<(ServerTxn, Message)> {
        let found = self.lines.get(line).filter(|line| line.state == LineState::Called)?;
        let theirs = found.sip.theirs.as_ref().filter(|theirs| !theirs.answered)?;
        Some((theirs.txn, theirs.message.clone()))
    }

    pub(super) fn answer(&mut self, line: usize, now: Time) {
        let Some((txn, message)) = self.waiting(line) else { return };
        if self.owes_answer(line) {
            return;
        }
        let body = (!self.lines[line].sip.early.settled).then(|| self.describe(line, &message));
        let builder = self.response(line, &message, 200).header(HeaderName::Contact, &self.contact());
        let builder = self.grant_timer(line, &message, builder);
        let builder = self.habits.says.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        let found = &mut self.lines[line];
        found.state = LineState::Accepted;
        if let Some(theirs) = &mut found.sip.theirs {
            theirs.answered = true;
        }
        self.respond(txn, builder, body, now);
    }

    pub(super) fn refuse(&mut self, line: usize, status: u16, now: Time) {
        let Some((txn, message)) = self.waiting(line) else { return };
        self.respond(txn, self.response(line, &message, status), None, now);
        self.lines[line].sip.theirs = None;
        self.lines[line].end(Ending::Declined);
    }

    /// Sends a call elsewhere: to numbers, or to whole values of Contact.
    pub(super) fn redirect(&mut self, line: usize, contacts: &[String], now: Time) {
        let Some((txn, message)) = self.waiting(line) else { return };
        let mut builder = self.response(line, &message, 302);
        for contact in contacts {
            let own = format!("<sip:{contact}@{}>", self.identity.host);
            builder.push_header(HeaderName::Contact, if contact.contains(':') { contact } else { &own });
        }
        self.respond(txn, builder, None, now);
        self.lines[line].sip.theirs = None;
        self.lines[line].end(Ending::Declined);
    }

    /// What it says to an INVITE: an answer, or an offer when there is none; the same each time it is asked.
    pub(super) fn describe(&mut self, line: usize, message: &Message) -> Bytes {
        let found = &mut self.lines[line];
        let (session, theirs) = (&mut found.session, &mut found.sip.theirs);
        let Some(theirs) = theirs else { return session.offer() };
        if let Some(described) = &theirs.described {
            return described.clone();
        }
        theirs.offered = message.body().is_empty();
        let body = if theirs.offered { session.offer() } else { session.answer(message.body()) };
        theirs.described = Some(body.clone());
        body
    }

    pub(super) fn cancelled(&mut self, txn: ServerTxn, message: &Message, now: Time) {
        let Some(line) = self.lines.iter().position(|line| line.sip.theirs.as_ref().is_some_and(|it| it.txn == txn))
        else {
            return;
        };
        if self.lines[line].state != LineState::Called {
            // A change is answered at once, so its CANCEL comes too late.
            return;
        }
        if self.habits.stubborn {
            return self.tell(line, Do::Answer, now);
        }
        let Some((txn, invite)) = self.waiting(line) else { return };
        let reason = message.header(HeaderName::Reason).map(str::to_owned);
        self.respond(txn, self.response(line, &invite, 487), None, now);
        self.lines[line].sip.theirs = None;
        self.lines[line].end(Ending::Cancelled { reason });
    }

    fn asked_to_change(&mut self, line: usize, txn: ServerTxn, message: &Message, now: Time) {
        let contact = self.contact();
        let found = &mut self.lines[line];
        let refusal = match found.state {
            LineState::Talking if found.sip.is_busy() => Some(491),
            LineState::Talking => self.habits.refuses_changes,
            LineState::Accepted => Some(491),
            LineState::Calling | LineState::Called | LineState::Leaving | LineState::Ended => Some(481),
        };
        if let Some(status) = refusal {
            let builder = self.response(line, message, status);
            return self.respond(txn, builder, None, now);
        }
        found.asked += 1;
        found.shows.extend(message.header(HeaderName::PAssertedIdentity).map(str::to_owned));
        if let Some(dialog) = &mut found.sip.dialog {
            dialog.refresh_target(message);
        }
        found.sip.theirs =
            Some(Theirs { txn, message: message.clone(), offered: false, described: None, answered: true });
        let body = self.describe(line, message);
        let builder = self.response(line, message, 200).header(HeaderName::Contact, &contact);
        let builder = self.grant_timer(line, message, builder);
        self.respond(txn, builder, Some(body), now);
    }

    pub(super) fn acknowledged(&mut self, message: &Message, now: Time) {
        let of_line = |line: &crate::sim::line::Line| {
            let fits = line.sip.dialog.as_ref().is_some_and(|dialog| dialog.matches(message));
            let cseq = |of: &Message| of.cseq().map(|cseq| cseq.number).ok();
            fits && line.sip.theirs.as_ref().is_some_and(|it| it.answered && cseq(&it.message) == cseq(message))
        };
        let Some(line) = self.lines.iter().position(of_line) else { return };
        let found = &mut self.lines[line];
        let Some(theirs) = found.sip.theirs.take() else { return };
        if theirs.offered {
            found.session.take(message.body());
        }
        if found.state == LineState::Accepted {
            found.state = LineState::Talking;
        }
        let owed = std::mem::take(&mut found.bye_owed);
        self.endpoint.acked(theirs.txn);
        if owed {
            self.bye(line, 0, now);
        }
    }

    /// Nobody acknowledged its answer (RFC 3261 §13.3.1.4): goodbye.
    pub(super) fn unacknowledged(&mut self, txn: ServerTxn, now: Time) {
        let Some(line) = self.lines.iter().position(|line| line.sip.theirs.as_ref().is_some_and(|it| it.txn == txn))
        else {
            return;
        };
        self.lines[line].sip.theirs = None;
        if matches!(self.lines[line].state, LineState::Accepted | LineState::Talking) {
            self.bye(line, 0, now);
        }
    }
}
