//! REFER inside a call's dialog (RFC 3515, RFC 4488): whether it is taken, and what who refers is told about it.

use crate::call::Call;
use crate::claim::Unnamed;
use crate::desk::{Desk, Due};
use crate::event::Output;
use crate::leg::{Leg, LegState};
use crate::refuse::PENDING;
use crate::transfer::{TRANSFERS, Wish};
use crate::view::CallState;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sip::{ClientTxn, HeaderName, Message, Method, Outgoing, ReferTo, ServerTxn};
use std::time::Duration;
use words::{EndCause, LegId, Time};

/// The subscription that a REFER makes (RFC 3515 §2.4.4), for as long as its dialog lives.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Referral {
    /// The CSeq of the REFER, which names the subscription; none for the first in a dialog (RFC 3515 §2.4.6).
    id: Option<u32>,
    /// Nothing is told: the phone did not want it (RFC 4488), all was told, or it refused to hear more.
    silent: bool,
    /// The NOTIFY that has no answer yet.
    notify: Option<ClientTxn>,
    /// What is to be told when that is answered.
    next: Option<(u16, String)>,
    /// What was told last.
    told: u16,
    /// When it ends, unless it is refreshed.
    #[serde(default)]
    until: Time,
    /// It has ended, or was asked to, and the NOTIFY that says so has to wait.
    #[serde(default)]
    ends: bool,
    /// The leg is out of the call: a BYE follows the last NOTIFY.
    leaves: bool,
}

impl Referral {
    /// Whether the parameters of an Event name it (RFC 3515 §2.4.6). The first of a dialog has no name.
    fn is_named(&self, params: &str) -> bool {
        let pairs = params.split(';').filter_map(|param| param.split_once('='));
        let id =
            pairs.map(|(name, value)| (name.trim(), value.trim())).find(|(name, _)| name.eq_ignore_ascii_case("id"));
        match (id, self.id) {
            (None, None) => true,
            (Some((_, named)), Some(id)) => named.parse() == Ok(id),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl Call {
    /// REFER: answered here when it cannot be done; else it becomes a wish.
    pub(crate) fn handle_refer(
        &mut self,
        desk: &mut Desk,
        at: usize,
        txn: ServerTxn,
        message: &Message,
        named: Option<Result<LegId, Unnamed>>,
        now: Time,
    ) {
        let n = self.legs[at].n;
        let refuse =
            |call: &Call, desk: &mut Desk, status, phrase| call.refuse_request(desk, n, txn, message, status, phrase);
        let target = match ReferTo::of(message) {
            Ok(target) => target,
            Err(error) => return refuse(self, desk, 400, error.reason()),
        };
        if !target.is_call() {
            return refuse(self, desk, 403, "Forbidden: only calls can be transferred");
        }
        if self.state != CallState::Answered || !matches!(self.legs[at].state, LegState::Accepted | LegState::Confirmed)
        {
            return refuse(self, desk, 403, "Forbidden: the call is not answered");
        }
        if self.transfer.is_some() || !self.is_party(n) {
            return refuse(self, desk, 491, "Request Pending: a transfer is under way");
        }
        let Some(other) = self.other_of(n) else {
            return refuse(self, desk, 403, "Forbidden: there is nobody to transfer");
        };
        if self.place(other).is_some_and(|at| self.legs[at].state == LegState::Incoming) {
            // A newcomer that waits for an answer.
            return refuse(self, desk, 491, PENDING);
        }
        if self.transfers >= TRANSFERS {
            return refuse(self, desk, 482, "Loop Detected: the call was transferred too often");
        }
        let instead_of = match named.transpose() {
            Ok(place) => place,
            Err((status, phrase)) => return refuse(self, desk, status, phrase),
        };
        let wish = Wish {
            n,
            by: self.legs[at].party.clone(),
            number: target.uri.dialled().into_owned(),
            uri: target.uri.raw().split('?').next().unwrap_or_default().to_owned(),
        };
        let silent = message.header(HeaderName::ReferSub).is_some_and(|wanted| wanted.eq_ignore_ascii_case("false"));
        self.accept_refer(desk, at, txn, message, silent, now);
        self.seek(desk, wish, instead_of, now);
    }

    /// 202, and the first NOTIFY.
    fn accept_refer(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: &Message, silent: bool, now: Time) {
        let mut builder = self.dialog_response(desk, at, message, 202);
        if silent {
            builder.push_header(HeaderName::ReferSub, "false");
        }
        desk.respond(txn, builder);
        let leg = &mut self.legs[at];
        if let Some(dialog) = &mut leg.dialog {
            dialog.refresh_target(message);
        }
        let id = leg.referral().and_then(|_| message.cseq().ok()).map(|cseq| cseq.number);
        // A NOTIFY of an earlier one whose answer is missing has nobody who waits for it any more.
        leg.more().referral = Some(Referral {
            id,
            silent,
            notify: None,
            next: None,
            told: 0,
            until: now + SUBSCRIPTION,
            ends: false,
            leaves: false,
        });
        self.notify(desk, at, 100, "", now);
        self.arm_referrals(desk);
    }

    /// SUBSCRIBE to what a REFER began: refreshes or ends it (RFC 3515 §2.4.4, RFC 6665 §4.2.1). A NOTIFY follows each.
    pub(crate) fn handle_subscribe(
        &mut self,
        desk: &mut Desk,
        at: usize,
        txn: ServerTxn,
        message: &Message,
        now: Time,
    ) {
        let event = message.header(HeaderName::Event).unwrap_or_default();
        let (event, params) = event.split_once(';').unwrap_or((event, ""));
        let n = self.legs[at].n;
        if !event.trim().eq_ignore_ascii_case("refer") {
            let mut builder = self.response(desk, at, message, 489, "Bad Event: inside a call there is refer alone");
            builder.push_header(HeaderName::AllowEvents, "refer");
            return desk.respond(txn, builder);
        }
        let asked = match message.expires() {
            Ok(asked) => asked.map_or(SUBSCRIPTION, |seconds| Duration::from_secs(seconds.into())),
            Err(error) => return self.refuse_request(desk, n, txn, message, 400, error.reason()),
        };
        // RFC 3515 §2.4.4: only a REFER begins it; §2.4.6: which one it is about, its id tells.
        let Some(referral) = self.legs[at].referral().filter(|referral| referral.is_named(params)) else {
            return self.refuse_request(desk, n, txn, message, 403, "Forbidden: there was no such REFER");
        };
        if referral.silent {
            return self.refuse_request(
                desk,
                n,
                txn,
                message,
                481,
                "Subscription Does Not Exist: the REFER wanted none",
            );
        }
        let granted = asked.min(SUBSCRIPTION);
        referral.until = now + granted;
        referral.ends |= granted.is_zero();
        let told = referral.told;
        if let Some(dialog) = &mut self.legs[at].dialog {
            dialog.refresh_target(message);
        }
        let expires = u32::try_from(granted.as_secs()).unwrap_or(0);
        let builder = self.dialog_response(desk, at, message, 200).header_number(HeaderName::Expires, expires);
        desk.respond(txn, builder);
        self.notify_again(desk, at, told, now);
        self.arm_referrals(desk);
    }

    /// Says once more what was said last, unless something newer is to be said anyway.
    fn notify_again(&mut self, desk: &mut Desk, at: usize, told: u16, now: Time) {
        let newer = self.legs[at].referral().is_some_and(|referral| referral.next.is_some());
        if !newer {
            self.notify(desk, at, told, "", now);
        }
    }

    /// Sets the one timer for what all legs referred to.
    pub(crate) fn arm_referrals(&mut self, desk: &mut Desk) {
        let until = |leg: &mut Leg| leg.referral().filter(|it| !it.silent && !it.ends).map(|it| it.until);
        match self.legs.iter_mut().filter_map(until).min().filter(|_| self.state == CallState::Answered) {
            Some(next) => self.set_timer(desk, Due::Referral, next),
            None => self.clear_timer(desk, Due::Referral),
        }
    }

    /// A subscription was not refreshed (RFC 6665 §4.2.1.4): that is its last NOTIFY. What it is about goes on.
    pub(crate) fn handle_referral_due(&mut self, desk: &mut Desk, now: Time) {
        for at in 0..self.legs.len() {
            let due = self.legs[at].referral().filter(|it| !it.silent && !it.ends && it.until <= now);
            let Some(told) = due.map(|referral| {
                referral.ends = true;
                referral.told
            }) else {
                continue;
            };
            self.notify_again(desk, at, told, now);
        }
        self.arm_referrals(desk);
    }

    /// Tells who refers how it goes; one NOTIFY at a time, so that none overtakes another.
    pub(crate) fn notify(&mut self, desk: &mut Desk, at: usize, status: u16, phrase: &str, now: Time) {
        let leg = &mut self.legs[at];
        let speaks = matches!(leg.state, LegState::Accepted | LegState::Confirmed);
        let Some(referral) = leg.referral().filter(|referral| speaks && !referral.silent) else { return };
        if referral.notify.is_some() {
            referral.next = Some((status, phrase.to_owned()));
            return;
        }
        let left = referral.until.since(now).as_secs();
        let state = match status {
            200.. => "terminated;reason=noresource".to_owned(),
            _ if referral.ends => "terminated;reason=timeout".to_owned(),
            _ => format!("active;expires={left}"),
        };
        let txn = desk.client_txn(self.slot);
        let Some(mut builder) = self.target_refresh(desk, at, Method::Notify) else { return };
        let leg = &mut self.legs[at];
        let Some(referral) = leg.referral() else { return };
        referral.notify = Some(txn);
        referral.told = status;
        referral.silent = state.starts_with("terminated");
        match referral.id {
            Some(id) => builder.push_header_fmt(HeaderName::Event, format_args!("refer;id={id}")),
            None => builder.push_header(HeaderName::Event, "refer"),
        }
        builder.push_header(HeaderName::SubscriptionState, &state);
        let phrase = if phrase.is_empty() { sip::reason_phrase(status) } else { phrase };
        let body = Bytes::from(format!("SIP/2.0 {status} {phrase}\r\n"));
        let request = Outgoing { builder, body: Some((SIPFRAG, body)) };
        desk.push(Output::Request { txn, request, target: leg.way() });
    }

    /// A NOTIFY was answered with this status, or will never be. Whether it was one.
    pub(crate) fn handle_notified(&mut self, desk: &mut Desk, txn: ClientTxn, status: u16, now: Time) -> bool {
        let is_it = |leg: &mut Leg| leg.referral().is_some_and(|it| it.notify == Some(txn));
        let Some(at) = self.legs.iter_mut().position(is_it) else { return false };
        let Some(referral) = self.legs[at].referral() else { return false };
        if status < 200 {
            return true;
        }
        referral.notify = None;
        // Who does not understand what it asked for is told no more (RFC 6665 §4.2.2).
        referral.silent |= status >= 300;
        let (next, leaves) = (referral.next.take(), referral.leaves);
        if let Some((status, phrase)) = next {
            self.notify(desk, at, status, &phrase, now);
        }
        if leaves {
            self.part(desk, at);
        }
        true
    }

    /// A leg is out of the call: it gets its BYE once all is told.
    pub(crate) fn part(&mut self, desk: &mut Desk, at: usize) {
        let waits = self.legs[at].referral().is_some_and(|referral| {
            referral.leaves = true;
            referral.notify.is_some()
        });
        if !waits {
            self.rid(desk, at, &crate::call::Ending::new(EndCause::Transferred, None));
        }
    }
}

const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// For how long a subscription that a REFER made is granted, at most: longer than anybody lets phones ring, one after the
/// other. It ends with what it is about.
const SUBSCRIPTION: Duration = Duration::from_hours(1);
