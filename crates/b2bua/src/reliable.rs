//! Reliable provisional answers to a caller (RFC 3262 §3): each is sent again until its PRACK comes, the next one waits
//! for that, and so does a 2xx while a description is on its way.

use crate::body::read_body;
use crate::call::{Call, Ending, SDP};
use crate::cause::Failure;
use crate::desk::{Desk, Due};
use crate::end::Said;
use crate::event::Output;
use crate::setup::Held;
use crate::view::CallState;
use bytes::Bytes;
use media::sdp::Description;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, Method, Outgoing, RAck, ServerTxn};
use std::time::Duration;
use words::{Chance, EndCause, Time};

/// What is told reliably to a caller, and what it agreed to before the answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// It takes nothing else: Require, not only Supported.
    required: bool,
    /// RSeq of the next.
    next: u32,
    /// The one whose PRACK is missing.
    waits: Option<Waiting>,
    /// What is to be told when it came: status and description.
    pending: Option<(u16, Option<Bytes>)>,
    /// Its INVITE's CSeq.
    cseq: u32,
    /// Whether offer and answer are complete before the 2xx.
    pub(crate) settled: bool,
    /// The offer that its PRACK is to answer, and whose it is: a leg's, or the exchange's own.
    pub(crate) offer: Option<(u16, Description)>,
    /// Whose words its session was agreed with: a leg and its description. They may not be those of who answers.
    pub(crate) agreed_with: Option<(u16, Bytes)>,
    /// The description that it must be offered once it has its 2xx.
    pub(crate) turn: Option<(u16, Description)>,
}

/// A provisional answer whose PRACK is missing.
#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    rseq: u32,
    /// What its description is, if it has one.
    says: Says,
    response: Outgoing,
    since: Time,
    /// How often it was sent again.
    fired: u8,
}

/// What the description of a provisional answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Says {
    /// There is none.
    Nothing,
    /// The answer to the offer in the INVITE.
    Answer,
    /// An offer: the INVITE had none.
    Offer,
}

impl Told {
    /// For a caller that knows reliable provisional answers.
    pub(crate) fn new(invite: &Message, chance: &mut Chance) -> Option<Told> {
        let required = invite.has_token(HeaderName::Require, OPTION);
        if !required && !invite.has_token(HeaderName::Supported, OPTION) {
            return None;
        }
        Some(Told {
            required,
            // RFC 3262 §3: anywhere in the lower half.
            next: 1 + chance.below(FIRST_MAX) as u32,
            waits: None,
            pending: None,
            cseq: invite.cseq().map_or(0, |cseq| cseq.number),
            settled: false,
            offer: None,
            agreed_with: None,
            turn: None,
        })
    }

    /// Whether it has a description that counts: a further one in an answer to its INVITE would be out of place.
    pub(crate) fn has_description(&self) -> bool {
        self.settled || self.describes()
    }

    /// Whether one is on its way.
    pub(crate) fn describes(&self) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.says != Says::Nothing)
            || self.pending.as_ref().is_some_and(|(_, body)| body.is_some())
    }

    /// Whether it still waits for a PRACK.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    /// Whether a PRACK acknowledges what waits for it.
    fn awaits(&self, rack: RAck) -> bool {
        let rseq = self.waits.as_ref().map(|waits| waits.rseq);
        rseq == Some(rack.rseq) && self.cseq == rack.cseq && rack.method == Method::Invite
    }
}

impl Call {
    /// What the caller is told reliably, when it knows of that.
    pub(crate) fn told(&self) -> Option<&Told> {
        self.legs.first().and_then(|leg| leg.more.as_ref()?.told.as_deref())
    }

    pub(crate) fn told_mut(&mut self) -> Option<&mut Told> {
        self.legs.first_mut().and_then(|leg| leg.more.as_mut()?.told.as_deref_mut())
    }

    /// Whether the caller has a description before the answer that it may rely on.
    pub(crate) fn caller_has_description(&self) -> bool {
        self.told().is_some_and(Told::has_description)
    }

    /// A provisional answer to a caller that knows reliable ones.
    pub(crate) fn tell_reliably(&mut self, desk: &mut Desk, status: u16, body: Option<Bytes>, now: Time) {
        let offered = self.setup.as_ref().is_some_and(|setup| setup.offer.is_some());
        let several = self.legs.iter().filter(|leg| leg.state.is_inviting()).count() > 1;
        let Some(told) = self.told_mut() else { return };
        let body = body.filter(|_| !told.has_description());
        let says = match body {
            None => Says::Nothing,
            Some(_) if offered => Says::Answer,
            Some(_) => Says::Offer,
        };
        let reliably = match says {
            // The first reliable answer to an INVITE without an offer must have one (RFC 3261 §13.2.1).
            Says::Nothing => offered || told.has_description(),
            // While several ring, the one who answers will most likely say something else: let the 2xx say it.
            Says::Answer => told.required || !several,
            Says::Offer => true,
        };
        if !reliably {
            if !told.required {
                self.tell_plainly(desk, status, body);
            }
            return;
        }
        if told.waits.is_some() {
            let before = told.pending.take().and_then(|(_, body)| body);
            told.pending = Some((status, body.or(before)));
            return;
        }
        let rseq = told.next;
        told.next += 1;
        let Some((txn, invite)) = self.setup.as_ref().and_then(|setup| setup.asked.as_ref()) else { return };
        let txn = *txn;
        let mut builder = self.dialog_response(desk, 0, invite, status);
        builder.push_header(HeaderName::Require, OPTION);
        builder = builder.header_number(HeaderName::RSeq, rseq);
        let response = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        desk.push(Output::Respond { txn, response: response.clone(), after_facts: false });
        if let Some(told) = self.told_mut() {
            told.waits = Some(Waiting { rseq, says, response, since: now, fired: 0 });
        }
        self.set_timer(desk, Due::Reliable, now + T1);
    }

    /// The PRACK did not come yet: the answer is sent again, after twice as long each time, and at last the INVITE is
    /// refused (RFC 3262 §3).
    pub(crate) fn handle_unacknowledged(&mut self, desk: &mut Desk, now: Time) {
        let Some(txn) = self.setup.as_ref().and_then(|setup| Some(setup.asked.as_ref()?.0)) else { return };
        let Some(waits) = self.told_mut().and_then(|told| told.waits.as_mut()) else { return };
        let end = waits.since + T1 * 64;
        if now >= end {
            let failure = Failure { phrase: "No PRACK".to_owned(), ..Failure::own(504, EndCause::SignallingLost) };
            let ending = Ending::new(EndCause::SignallingLost, Some(0));
            return self.end(desk, &Ending { failure: Some(failure), ..ending }, now);
        }
        waits.fired += 1;
        let next = (now + T1 * (1 << waits.fired)).min(end);
        let response = waits.response.clone();
        desk.push(Output::Respond { txn, response, after_facts: false });
        self.set_timer(desk, Due::Reliable, next);
    }

    /// PRACK (RFC 3262 §3). It may bring the answer to our offer, or an offer of its own (§5).
    pub(crate) fn handle_prack(&mut self, desk: &mut Desk, at: usize, txn: ServerTxn, message: Message, now: Time) {
        let n = self.legs[at].n;
        let told = self.legs[at].more.as_ref().and_then(|more| more.told.as_deref());
        let says = match (told, message.rack()) {
            (Some(_), Err(error)) => return self.refuse_request(desk, n, txn, &message, 400, error.reason()),
            (Some(told), Ok(rack)) if told.awaits(rack) => {
                told.waits.as_ref().map_or(Says::Nothing, |waits| waits.says)
            }
            (Some(_) | None, _) => return self.refuse_request(desk, n, txn, &message, 481, NOT_AWAITED),
        };
        let owes = says == Says::Offer;
        let body = match read_body(&message, self.legs[at].srtp) {
            Ok(body) => body,
            Err(refusal) => return self.refuse_with(desk, at, txn, &message, &refusal),
        };
        let refusal = match &body {
            None if owes => return self.refuse_request(desk, n, txn, &message, 400, "No Answer To The Offer"),
            Some(answer) if owes => match self.refusal_of_answer(at, answer) {
                // Our offer waits on: the next PRACK may have an answer to it.
                Some(refusal) => return self.refuse_with(desk, at, txn, &message, &refusal),
                None => None,
            },
            Some(offer) => self.refusal_of_family(at, offer),
            None => None,
        };
        if let Some(told) = self.legs[at].more.as_mut().and_then(|more| more.told.as_deref_mut()) {
            told.waits = None;
            told.settled |= says != Says::Nothing;
        }
        self.clear_timer(desk, Due::Reliable);
        match (body, refusal) {
            // What it acknowledges it has heard all the same: what was agreed stays.
            (Some(_), Some(refusal)) => self.refuse_with(desk, at, txn, &message, &refusal),
            (Some(offer), None) if !owes => self.change_early(desk, at, txn, message, offer, now),
            (answer, _) => {
                self.refuse_request(desk, n, txn, &message, 200, "OK");
                if let Some(answer) = answer {
                    self.take_early_answer(desk, answer);
                }
            }
        }
        self.go_on_ringing(desk, now);
    }

    /// The caller's answer to what it was offered before the 2xx.
    fn take_early_answer(&mut self, desk: &mut Desk, answer: Description) {
        let Some((n, offer)) = self.told_mut().and_then(|told| told.offer.take()) else { return };
        if n == 0 {
            self.serve(desk, Said::of(&answer), true);
        } else {
            self.pass_early_answer(desk, n, &answer, &offer);
        }
        if let Some(setup) = &mut self.setup {
            setup.offer = Some(answer);
        }
    }

    /// Perhaps nothing is on its way any more: what waited for that goes on.
    pub(crate) fn go_on_ringing(&mut self, desk: &mut Desk, now: Time) {
        if self.state != CallState::Ringing {
            return;
        }
        let held = self.setup.as_ref().is_some_and(|setup| setup.held.is_some());
        if let Some(told) = self.told_mut().filter(|told| told.waits.is_none())
            && let Some((status, body)) = told.pending.take()
            && (body.is_some() || !held)
        {
            self.tell_reliably(desk, status, body, now);
        }
        if self.must_wait() {
            return;
        }
        if let Some(held) = self.setup.as_mut().and_then(|setup| setup.held.take()) {
            let Held { other, body, agreed, owed } = *held;
            self.accept(desk, other, body, agreed, owed, now);
        } else if self.has_newcomer() {
            // Who is in the middle of something goes on with that first.
            desk.errands.push(self.slot);
        }
    }

    /// Whether a 2xx to the caller must wait: it may not overtake a description (RFC 3262 §3), nor a change.
    pub(crate) fn must_wait(&self) -> bool {
        self.exchange.is_some() || self.told().is_some_and(Told::describes)
    }
}

/// The option tag.
pub(crate) const OPTION: &str = "100rel";

/// The first interval of retransmissions (RFC 3261 §17.1.1.1); the last is over after 64 of it.
const T1: Duration = Duration::from_millis(500);

/// The most that the numbers of provisional answers begin with (RFC 3262 §3).
const FIRST_MAX: u64 = i32::MAX as u64;

const NOT_AWAITED: &str = "Call/Transaction Does Not Exist: no answer waits for this PRACK";
