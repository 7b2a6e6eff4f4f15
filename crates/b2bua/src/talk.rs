//! Requests inside a leg's dialog, and answers to ours.

use crate::call::{Call, Ending, SDP};
use crate::cause::{Failure, reason_of};
use crate::claim::Unnamed;
use crate::desk::Desk;
use crate::event::Output;
use crate::exchange::Stage;
use crate::leg::{Acking, Leg, LegEvent, LegState};
use crate::servers::Trouble;
use crate::transfer::Move;
use sip::advertise::{ACCEPT_IN_CALLS, SUPPORTED};
use sip::{ClientTxn, HeaderName, Message, Method, Outgoing, ServerTxn, Target};
use words::{EndCause, Flow, LegId, Time};

/// A request inside a dialog.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) txn: ServerTxn,
    pub(crate) message: Message,
    pub(crate) flow: Flow,
    /// The dialog whose place a REFER names, if it names one.
    pub(crate) named: Option<Result<LegId, Unnamed>>,
}

impl Call {
    /// A request inside the dialog of a leg. Whoever asked has checked that it comes from the leg's own source.
    pub(crate) fn handle_request(&mut self, desk: &mut Desk, at: usize, inside: Inside, now: Time) {
        let Inside { txn, message, flow, named } = inside;
        self.follow(desk, at, flow);
        let in_order = self.legs[at].takes_in_order(&message);
        let n = self.legs[at].n;
        if !in_order {
            return self.refuse_request(desk, n, txn, &message, 500, "CSeq Out Of Order");
        }
        if let Some(refused) = unsupported(&message) {
            let mut builder =
                self.response(desk, at, &message, 420, "Bad Extension: Unsupported names what is not known");
            builder.push_header(HeaderName::Unsupported, &refused);
            return desk.respond(txn, builder);
        }
        match message.method() {
            Method::Invite => self.reinvite(desk, at, txn, message, now),
            Method::Bye => self.handle_bye(desk, at, txn, &message, now),
            Method::Info => self.handle_info(desk, at, txn, message, now),
            Method::Message => self.handle_message(desk, at, txn, message),
            Method::Update => self.handle_update(desk, at, txn, message, now),
            Method::Options => {
                let mut builder = self.dialog_response(desk, at, &message, 200);
                builder.push_header(HeaderName::Accept, ACCEPT_IN_CALLS);
                desk.respond(txn, builder);
            }
            // Some phones keep their NAT binding open so; there is no subscription that could be meant (RFC 6665 §4.1.3).
            Method::Notify if message.header(HeaderName::Event).is_some_and(|event| event == "keep-alive") => {
                self.refuse_request(desk, n, txn, &message, 200, "OK");
            }
            Method::Refer => self.handle_refer(desk, at, txn, &message, named, now),
            Method::Subscribe => self.handle_subscribe(desk, at, txn, &message, now),
            Method::Prack => self.handle_prack(desk, at, txn, message, now),
            Method::Notify => self.refuse_request(desk, n, txn, &message, 481, "Subscription Does Not Exist"),
            Method::Other => self.refuse_method(desk, at, txn, &message, 501),
            // ACK and CANCEL are no requests to answer: the endpoint gives them as events of their own.
            Method::Ack | Method::Cancel | Method::Publish | Method::Register => {
                self.refuse_method(desk, at, txn, &message, 405);
            }
        }
    }

    /// An answer to a request of ours.
    pub(crate) fn handle_response(
        &mut self,
        desk: &mut Desk,
        txn: ClientTxn,
        response: &Message,
        flow: Flow,
        now: Time,
    ) {
        if let Some(at) = self.legs.iter().position(|leg| leg.bye == Some(txn)) {
            if response.status() >= 200 {
                self.say_no_more(desk, at);
                let _ = self.legs[at].state.apply(LegEvent::Done);
            }
            return;
        }
        if let Some(at) = self.refreshing(txn) {
            return self.handle_refreshed(desk, at, response, now);
        }
        if let Some(at) = self.updating(txn) {
            if response.status() >= 200 {
                self.handle_answer(desk, at, response, now);
            }
            return;
        }
        let Some(at) = self.inviting(txn) else {
            if self.handle_notified(desk, txn, response.status(), now) {
                return;
            }
            self.acknowledge_earlier(desk, txn);
            return self.handle_relayed(desk, txn, response);
        };
        if let Target::Dial { .. } = self.legs[at].target {
            self.follow(desk, at, flow);
        }
        let status = response.status();
        match self.legs[at].state {
            LegState::Calling | LegState::Ringing | LegState::Cancelling => match status {
                100 => self.legs[at].speaks(),
                101..200 => self.handle_provisional(desk, at, response, now),
                200..300 => self.handle_success(desk, at, response, now),
                422 if self.call_again(desk, at, response) => {}
                503 => self.handle_trouble(desk, at, Trouble::busy(response), now),
                430 if self.fail_over(desk, at, 503, now) => {}
                300..400 => {
                    let failure = self.note_redirection(desk, at, response);
                    self.handle_failure(desk, at, failure, now);
                }
                _ => self.handle_failure(desk, at, Failure::of_response(response), now),
            },
            LegState::Confirmed | LegState::Leaving | LegState::ByeOwed if status >= 200 => {
                let other = self.legs[at].dialog.as_ref().is_some_and(|dialog| !dialog.matches(response));
                if other && status < 300 {
                    self.dismiss(desk, at, response);
                } else if self.asked(self.legs[at].n) {
                    self.handle_answer(desk, at, response, now);
                } else if self.is_joining(self.legs[at].n) {
                    self.handle_joined(desk, at, response, now);
                } else if status < 300 {
                    self.handle_late_success(desk, at, response);
                }
            }
            LegState::Incoming
            | LegState::Accepted
            | LegState::ByeOwed
            | LegState::Confirmed
            | LegState::Leaving
            | LegState::Ended => {}
        }
    }

    /// A request of ours got no answer or could not be delivered.
    pub(crate) fn handle_no_response(&mut self, desk: &mut Desk, txn: ClientTxn, trouble: Trouble, now: Time) {
        let status = trouble.status();
        if let Some(at) = self.legs.iter().position(|leg| leg.bye == Some(txn)) {
            self.say_no_more(desk, at);
            let _ = self.legs[at].state.apply(LegEvent::Done);
            return;
        }
        if let Some(at) = self.refreshing(txn) {
            return self.handle_not_refreshed(desk, at, status, now);
        }
        if self.updating(txn).is_some() {
            return self.handle_no_answer(desk, now);
        }
        if let Some(at) = self.inviting(txn) {
            if self.asked(self.legs[at].n) {
                self.handle_no_answer(desk, now);
            } else if self.is_joining(self.legs[at].n) {
                self.move_transfer(desk, Move::Gone, now);
            } else if !self.fail_over(desk, at, status, now) {
                self.handle_trouble(desk, at, trouble, now);
            }
            return;
        }
        if self.handle_notified(desk, txn, status, now) {
            return;
        }
        // After a time-out nobody waits for an answer any more, and none may be a 408 (RFC 4320 §4.2).
        if let Some(relayed) = self.take_relayed(txn).filter(|_| status != 408) {
            self.refuse_request(desk, relayed.from, relayed.server, &relayed.request, 480, UNHEARD);
        }
    }

    /// The connection of a leg closed.
    pub(crate) fn handle_lost(&mut self, desk: &mut Desk, at: usize, now: Time) {
        let waits = self.is_waiting(at);
        let leg = &mut self.legs[at];
        if matches!(leg.target, Target::Dial { .. }) {
            // It is opened anew for the next request.
            return;
        }
        match leg.state {
            // Its INVITE is answered all the same: nothing else ends the transaction, and §18.2.2 knows another way.
            LegState::Incoming if !waits => self.refuse_asker(desk, 480),
            LegState::Incoming => {
                let n = leg.n;
                self.end(desk, &Ending::new(EndCause::SignallingLost, Some(n)), now);
            }
            LegState::Calling | LegState::Ringing => {
                if !self.fail_over(desk, at, 503, now) {
                    self.handle_failure(desk, at, Failure::unreachable(503), now);
                }
            }
            // The phone may be back over a new connection; its media goes on meanwhile.
            LegState::Accepted | LegState::Confirmed => {
                if let Some(back) = leg.back() {
                    leg.target = back;
                    return;
                }
                leg.lost = true;
                self.set_timer(desk, crate::desk::Due::Lost, now + GRACE);
            }
            LegState::ByeOwed | LegState::Cancelling | LegState::Leaving => {
                let _ = leg.state.apply(LegEvent::Gone);
                self.forget_theirs(desk, at);
            }
            LegState::Ended => {}
        }
    }

    /// A leg says that its dialog is over (RFC 3261 §12.2.1.2). Mostly its own goodbye crossed what it was asked: then
    /// that tells who ended the call, and whether it goes on without him. Without one it is gone.
    pub(crate) fn handle_gone(&mut self, desk: &mut Desk, at: usize, now: Time) {
        let leg = &mut self.legs[at];
        if leg.state.is_live() && !std::mem::replace(&mut leg.lost, true) {
            self.set_timer(desk, crate::desk::Due::Lost, now + GOODBYE);
        }
    }

    /// A lost leg did not come back.
    pub(crate) fn handle_not_back(&mut self, desk: &mut Desk, now: Time) {
        if let Some(at) = self.legs.iter().position(|leg| leg.lost && leg.state.is_live()) {
            let n = self.legs[at].n;
            if self.goes_on_without(n) {
                return self.lose_leg(desk, at, now);
            }
            let _ = self.legs[at].state.apply(LegEvent::Gone);
            self.forget_theirs(desk, at);
            self.end(desk, &Ending::new(EndCause::SignallingLost, Some(n)), now);
        }
    }

    /// From here on a leg speaks through another flow.
    pub(crate) fn follow(&mut self, desk: &mut Desk, at: usize, flow: Flow) {
        let leg = &mut self.legs[at];
        if leg.flow == flow {
            return;
        }
        desk.leave(leg.flow.connection, self.slot);
        desk.enter(flow.connection, self.slot);
        leg.flow = flow;
        leg.lost = false;
        if matches!(leg.target, Target::Flow(_)) || leg.back().is_some() {
            leg.target = Target::Flow(flow);
        }
    }

    /// BYE (RFC 3261 §15.1.2): the call is over. Its 200 waits until that is stored.
    fn handle_bye(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: &Message, now: Time) {
        let n = self.legs[at].n;
        if matches!(self.legs[at].state, LegState::Calling | LegState::Ringing | LegState::Cancelling) {
            // A callee refuses; it does not end what it has not begun (§15).
            return self.refuse_request(desk, n, txn, message, 481, NOT_BEGUN);
        }
        let response = Outgoing { builder: self.response(desk, at, message, 200, "OK"), body: None };
        if self.legs[at].state == LegState::Incoming && !self.is_waiting(at) {
            self.handle_cancelled_change(desk, n, now);
        } else if self.legs[at].state == LegState::Incoming {
            // A caller may end its early dialog so (§15); its INVITE gets 487 as with CANCEL.
            self.handle_cancelled(desk, message, now);
        } else if self.legs[at].state.apply(LegEvent::Bye).is_ok() {
            if self.goes_on_without(n) {
                self.leave(desk, n, now);
            } else {
                let reason = reason_of(message);
                self.end(desk, &Ending { reason, ..Ending::new(EndCause::Normal, Some(n)) }, now);
            }
            self.say_no_more(desk, at);
        }
        desk.push(Output::Respond { txn, response, after_facts: true });
    }

    /// A dialog is over whose INVITE had our 2xx: its ACK is lost, or comes later and finds nobody.
    fn say_no_more(&mut self, desk: &mut Desk, at: usize) {
        if let Some((invite, _)) = self.legs[at].theirs {
            desk.push(Output::Acked(invite));
        }
        self.forget_theirs(desk, at);
    }

    /// 405 or 501 with what we can do (§8.2.1).
    fn refuse_method(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: &Message, status: u16) {
        let mut builder = self.response(desk, at, message, status, "");
        builder.push_header(HeaderName::Allow, &desk.config.allow);
        desk.respond(txn, builder);
    }

    /// The leg whose INVITE of ours has that name.
    fn inviting(&self, txn: ClientTxn) -> Option<usize> {
        self.legs.iter().position(|leg| leg.ours.as_ref().is_some_and(|ours| ours.txn == txn))
    }

    /// The leg whose answer to that UPDATE of ours, with an offer, is missing.
    fn updating(&self, txn: ClientTxn) -> Option<usize> {
        let exchange = self.exchange.as_ref().filter(|exchange| exchange.asking == Some(txn))?;
        self.place(exchange.other?)
    }

    /// Whether a leg's final answer to a question of the other is missing.
    fn asked(&self, n: u16) -> bool {
        self.exchange
            .as_ref()
            .is_some_and(|exchange| exchange.stage == Stage::Asked && exchange.other == Some(n) && !exchange.by_update)
    }

    /// A 2xx that nobody waits for: a repetition, or the answer to a change that crossed our BYE.
    fn handle_late_success(&mut self, desk: &mut Desk, at: usize, response: &Message) {
        let unanswered = matches!(self.legs[at].ours.as_ref().map(|ours| &ours.ack), Some(Acking::Unneeded));
        if unanswered {
            self.acknowledge_unwanted(desk, at, response);
        } else {
            self.acknowledge_again(desk, at);
        }
    }

    /// The 2xx to an INVITE before the last came again.
    fn acknowledge_earlier(&self, desk: &mut Desk, txn: ClientTxn) {
        let earlier = |leg: &Leg| leg.earlier.clone().filter(|earlier| earlier.txn == txn);
        let Some((leg, earlier)) = self.legs.iter().find_map(|leg| Some((leg, earlier(leg)?))) else { return };
        if let (Some(dialog), Acking::Sent(answer)) = (&leg.dialog, earlier.ack) {
            let request = Outgoing { builder: dialog.ack(earlier.cseq), body: answer.map(|body| (SDP, body)) };
            desk.push(Output::Ack { request, target: leg.way() });
        }
    }

    /// A second 2xx from another branch behind the callee's proxy: acknowledged and ended (§13.2.2.4).
    fn dismiss(&mut self, desk: &mut Desk, at: usize, response: &Message) {
        let leg = &self.legs[at];
        let Some(ours) = &leg.ours else { return };
        let from = response.header(HeaderName::From).unwrap_or_default();
        let call_id = response.call_id().unwrap_or_default();
        let Ok(mut dialog) = sip::Dialog::uac(from, call_id, ours.cseq, response) else { return };
        let target = leg.way_of(&dialog);
        let body = self.declined(desk, at, response).map(|body| (SDP, body));
        desk.push(Output::Ack { request: Outgoing { builder: dialog.ack(ours.cseq), body }, target });
        let mut builder = dialog.request(Method::Bye);
        builder.push_header(HeaderName::Reason, crate::cause::ELSEWHERE);
        let txn = desk.client_txn(self.slot);
        desk.push(Output::Request { txn, request: builder.into(), target });
    }
}

/// What a request requires and we do not have (RFC 3261 §8.2.2.3).
fn unsupported(request: &Message) -> Option<String> {
    request.header(HeaderName::Require)?;
    let tags = request.values(HeaderName::Require);
    let unknown = tags.filter(|tag| !SUPPORTED.iter().any(|ours| ours.eq_ignore_ascii_case(tag)));
    let unknown: Vec<&str> = unknown.collect();
    (!unknown.is_empty()).then(|| unknown.join(", "))
}

/// How long a phone whose connection closed may take to come back: 64*T1, as long as a transaction would have tried.
pub(crate) const GRACE: std::time::Duration = std::time::Duration::from_secs(32);

/// How long the goodbye of a leg may take that says that its dialog is over: sent again three times, as UDP loses it.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(4);

const UNHEARD: &str = "Temporarily Unavailable: the other side cannot be reached";

const NOT_BEGUN: &str = "Call/Transaction Does Not Exist: a callee that has not answered refuses";
