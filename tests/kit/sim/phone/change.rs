//! How a phone changes the media of a call: hold, resume, another address.

use super::register::TRIES;
use super::{Asked, Phone, SDP};
use crate::sim::line::Ending;
use crate::sim::script::Do;
use media::sdp::Direction;
use sip::{HeaderName, Message, MessageBuilder, Method, Outgoing};
use std::net::SocketAddr;
use std::time::Duration;
use words::Time;

impl Phone {
    pub(super) fn change(&mut self, line: usize, what: Do, now: Time) {
        if !self.may_change(line, &what) {
            return;
        }
        let found = &mut self.lines[line];
        let busy = if found.talks() { found.sip.is_busy() } else { found.sip.updating.is_some() };
        if busy {
            // One at a time (RFC 3261 §14.1).
            return self.later(BUSY, line, what);
        }
        found.session.save();
        match what {
            Do::Hold => found.session.wish = Direction::SendOnly,
            Do::Resume => (found.session.wish, found.session.fax) = (Direction::SendRecv, false),
            Do::Fax => found.session.fax = true,
            Do::Move => {
                self.next_media_port += 2;
                let ip = self.habits.media_ip.unwrap_or(self.address.ip());
                found.session.address = SocketAddr::new(ip, self.next_media_port);
                // Other addresses are checked anew (RFC 8445 §9).
                found.session.restarts += u8::from(found.session.ice);
            }
            _ => {}
        }
        if self.habits.changes_by_update && !matches!(what, Do::Refresh | Do::Keep(_)) {
            return self.update(line, Some(&what), 0, now);
        }
        found.change = Some(what);
        self.reinvite(line, 0, now);
    }

    fn reinvite(&mut self, line: usize, tries: u8, now: Time) {
        let contact = self.contact();
        let found = &mut self.lines[line];
        let Some(dialog) = &mut found.sip.dialog else { return };
        let uri = dialog.remote_target.clone();
        let builder = dialog.request(Method::Invite).header(HeaderName::Contact, &contact);
        found.sip.cseq = dialog.local_cseq;
        let body = match found.change {
            Some(Do::Refresh) => None,
            Some(Do::Repeated) => Some((SDP, found.session.again())),
            _ => Some((SDP, found.session.offer())),
        };
        let builder = self.with_timer(builder, line);
        let builder = self.says_later(builder);
        let request = Outgoing { builder, body };
        let txn = self.send(Asked::Change { line, tries }, Method::Invite, &uri, request, tries > 0, now);
        self.lines[line].sip.asking = Some(txn);
    }

    /// What it says beside in the middle of a call.
    pub(super) fn says_later(&self, builder: MessageBuilder) -> MessageBuilder {
        self.habits.says_later.iter().fold(builder, |builder, (name, value)| builder.header(*name, value))
    }

    pub(super) fn change_answered(&mut self, line: usize, tries: u8, message: &Message, now: Time) {
        let (status, found) = (message.status(), &mut self.lines[line]);
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        if (200..300).contains(&status) && found.sip.acked.as_ref().is_some_and(|(acked, _)| *acked == cseq) {
            return self.acknowledge_again(line, now);
        }
        if status < 200 || found.sip.asking.is_none() {
            return;
        }
        found.sip.asking = None;
        let again = status == 422 && self.raise(line, message);
        if tries < TRIES && (again || status == 401 && self.learn(message)) {
            return self.reinvite(line, tries + 1, now);
        }
        let found = &mut self.lines[line];
        let change = found.change.take();
        match change {
            Some(Do::Keep(_)) => found.refreshes += u32::from(status < 300),
            _ => found.changes.push(status),
        }
        match status {
            200..300 => {
                if let Some(dialog) = &mut found.sip.dialog {
                    dialog.refresh_target(message);
                }
                let answer = if change == Some(Do::Refresh) {
                    Some(found.session.answer(message.body()))
                } else {
                    found.session.take(message.body());
                    None
                };
                self.timer_granted(line, message);
                self.acknowledge(line, cseq, answer, now);
            }
            491 => {
                found.session.restore();
                if let Some(change) = change {
                    let wait = self.patience(line);
                    self.later(wait, line, change);
                }
            }
            // RFC 3261 §12.2.1.2.
            408 | 481 => {
                found.session.restore();
                if !found.is_over() {
                    found.end(Ending::Lost);
                }
            }
            _ => found.session.restore(),
        }
    }

    /// How long it waits after a glare: whoever made the Call-ID 2.1 to 4 s, the other up to 2 s (RFC 3261 §14.1).
    pub(super) fn patience(&mut self, line: usize) -> Duration {
        let tens =
            if self.lines[line].invite.is_none() { 210 + self.chance.below(191) } else { self.chance.below(201) };
        Duration::from_millis(tens * 10)
    }
}

/// When a change that does not fit in is tried again.
const BUSY: Duration = Duration::from_millis(700);
