//! A call: its legs, its media ends, and how it ends.

use crate::body::read_body;
use crate::bridge::{Agreed, Carried};
use crate::cause::{Failure, bye_reason, refusal_of};
use crate::desk::{DUES, Desk, Due};
use crate::early::Ear;
use crate::end::{End, Said};
use crate::event::{Output, Refusal};
use crate::exchange::{Exchange, Move};
use crate::family::warning;
use crate::fork::Fork;
use crate::hold::{Side, settle};
use crate::identity::contact_value;
use crate::leg::{Acking, Leg, LegEffect, LegEvent, LegState};
use crate::newcomer::{NO_MORE, Newcomer};
use crate::refuse::{INCOMPATIBLE, usual};
use crate::relayed::Relayed;
use crate::secure::{Saying, dress};
use crate::setup::Held;
use crate::step::Step;
use crate::transfer::Transfer;
use crate::view::{CallState, CallView, LegLine};
use bytes::Bytes;
use media::command::{Sound, Terms};
use media::offer::Local;
use media::sdp::Description;
use serde::{Deserialize, Serialize};
use sip::{HeaderName, Message, MessageBuilder, Method, Outgoing, ServerTxn};
use std::collections::VecDeque;
use std::time::Duration;
use words::{AccountId, CallId, EndCause, Fact, LegId, Party, Time, TimerToken};

/// One call, from its INVITE to the last answer to its BYE.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    pub(crate) account: AccountId,
    /// Its place in the table of calls.
    pub(crate) slot: u32,
    pub(crate) who: Who,
    pub(crate) times: Times,
    pub(crate) state: CallState,
    pub(crate) legs: Vec<Leg>,
    pub(crate) next_leg: u16,
    pub(crate) ends: Vec<End>,
    /// What is known until an answer, of the caller's or of who is sought for a transfer.
    pub(crate) setup: Option<Box<Setup>>,
    pub(crate) exchange: Option<Box<Exchange>>,
    /// Somebody who waits until he can come in.
    #[serde(default)]
    pub(crate) newcomer: Option<Box<Newcomer>>,
    /// Somebody comes in another's place.
    pub(crate) transfer: Option<Box<Transfer>>,
    /// How often that was so.
    pub(crate) transfers: u8,
    /// Requests on their way to the other leg.
    pub(crate) relayed: Vec<Relayed>,
    /// The leg on the first side: the caller's, until a transfer takes it out.
    pub(crate) caller: u16,
    /// The leg that it talks to.
    pub(crate) talks_with: Option<u16>,
    /// What the exchange does when it is the other side itself.
    pub(crate) service: Option<Service>,
    pub(crate) silence: Option<Duration>,
    #[serde(with = "crate::desk::by_due")]
    pub(crate) timers: [Option<TimerToken>; DUES],
}

/// Who calls whom.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) from: Party,
    pub(crate) to: Party,
}

/// When what happened.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) began: Time,
    pub(crate) answered: Option<Time>,
}

/// What a call needs until it is answered, and drops then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The caller's INVITE; `None` when somebody is sought for a transfer.
    pub(crate) asked: Option<(ServerTxn, Message)>,
    /// The caller's description; `None`: the callee is to offer.
    pub(crate) offer: Option<Description>,
    /// Max-Forwards for those who are rung.
    pub(crate) forwards: u8,
    pub(crate) ear: Ear,
    pub(crate) fork: Option<Fork>,
    /// Whether [`Step::AnswerAfter`] runs, and what waits for it.
    pub(crate) delayed: bool,
    pub(crate) waiting: VecDeque<Step>,
    /// Whether who rings rings alone.
    pub(crate) alone: bool,
    /// An answer that waits for a PRACK, or for the end of a change.
    pub(crate) held: Option<Box<Held>>,
    /// What the caller hears from the exchange itself.
    pub(crate) sound: Option<Sound>,
    /// The tags of legs that ring, kept while somebody observes calls: whoever picks one up names its tag.
    pub(crate) tags: Vec<(u16, Box<str>)>,
}

impl Setup {
    pub(crate) fn new(asked: Option<(ServerTxn, Message)>, offer: Option<Description>, forwards: u8) -> Setup {
        Setup {
            asked,
            offer,
            forwards,
            ear: Ear::default(),
            fork: None,
            delayed: false,
            waiting: VecDeque::new(),
            alone: false,
            held: None,
            sound: None,
            tags: Vec::new(),
        }
    }

    /// A leg said its tag. A leg behind a proxy that forks may say several; the first is kept.
    pub(crate) fn keep_tag(&mut self, leg: u16, tag: &str) {
        if self.tag_of(leg).is_none() {
            self.tags.push((leg, tag.into()));
        }
    }

    pub(crate) fn tag_of(&self, leg: u16) -> Option<&str> {
        self.tags.iter().find(|(n, _)| *n == leg).map(|(_, tag)| &**tag)
    }
}

/// What the exchange does with the caller's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Service {
    Silent,
    Echo,
    Play(Sound),
}

/// How a call ends.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) cause: EndCause,
    /// The leg that ended it.
    pub(crate) by: Option<u16>,
    /// What a caller without an answer gets, when the cause alone does not tell.
    pub(crate) failure: Option<Failure>,
    /// The `Reason` of CANCEL or BYE to the others.
    pub(crate) reason: Option<String>,
}

impl Ending {
    pub(crate) fn new(cause: EndCause, by: Option<u16>) -> Self {
        Ending { cause, by, failure: None, reason: bye_reason(cause).map(str::to_owned) }
    }
}

impl Call {
    pub(crate) fn leg_id(&self, n: u16) -> LegId {
        LegId { call: self.id, n }
    }

    /// The leg at the other side of a leg; `None` when that is the exchange itself.
    pub(crate) fn other_of(&self, n: u16) -> Option<u16> {
        if n == self.caller { self.talks_with } else { Some(self.caller) }
    }

    /// The place of a leg in the list.
    pub(crate) fn place(&self, n: u16) -> Option<usize> {
        self.legs.iter().position(|leg| leg.n == n)
    }

    /// Starts a timer anew.
    pub(crate) fn set_timer(&mut self, desk: &mut Desk, due: Due, at: Time) {
        self.clear_timer(desk, due);
        self.timers[due as usize] = Some(desk.set_timer(self.slot, due, at));
    }

    pub(crate) fn clear_timer(&mut self, desk: &mut Desk, due: Due) {
        if let Some(token) = self.timers[due as usize].take() {
            desk.clear_timer(token);
        }
    }

    pub(crate) fn clear_timers(&mut self, desk: &mut Desk) {
        for token in self.timers.iter_mut().filter_map(Option::take) {
            desk.clear_timer(token);
        }
    }

    /// Ends the call: says so, once, and rids itself of every leg and end.
    pub(crate) fn end(&mut self, desk: &mut Desk, ending: &Ending, now: Time) {
        if self.state == CallState::Ended {
            return;
        }
        self.state = CallState::Ended;
        desk.live -= 1;
        self.clear_timers(desk);
        self.turn_newcomer_away(desk, 481, NO_MORE);
        self.transfer = None;
        self.end_exchange(desk, now);
        for relayed in std::mem::take(&mut self.relayed) {
            self.refuse_request(
                desk,
                relayed.from,
                relayed.server,
                &relayed.request,
                487,
                "Request Terminated: the call is over",
            );
        }
        let by = ending.by.map(|n| self.leg_id(n));
        desk.say(self.account, Fact::CallEnded { call: self.id, cause: ending.cause, by });
        for at in 0..self.legs.len() {
            self.rid(desk, at, ending);
        }
        self.setup = None;
        for end in std::mem::take(&mut self.ends) {
            end.close(desk, self.account, now);
        }
        self.set_timer(desk, Due::Linger, now + LINGER);
    }

    /// Gives back what the call holds without a word to its legs.
    pub(crate) fn discard(&mut self, desk: &mut Desk, now: Time) {
        if self.state != CallState::Ended {
            self.state = CallState::Ended;
            desk.live -= 1;
            desk.say(self.account, Fact::CallEnded { call: self.id, cause: EndCause::Internal, by: None });
        }
        for end in std::mem::take(&mut self.ends) {
            end.close(desk, self.account, now);
        }
        self.take_newcomer(desk);
        self.abandon();
        self.sweep(desk);
        self.clear_timers(desk);
    }

    /// Whether the silence of an end ends the call.
    pub(crate) fn counts_silence(&self, end: LegId) -> bool {
        let end = self.ends.iter().find(|known| known.name == end);
        end.and_then(End::setting).is_some_and(|setting| setting.silence.counts())
    }

    /// Makes a leg go, politely.
    pub(crate) fn rid(&mut self, desk: &mut Desk, at: usize, ending: &Ending) {
        let leaves = self.legs[at].more.as_ref().is_some_and(|more| more.leaves);
        // One that says goodbye itself is answered, unless it has no answer to its INVITE yet.
        if self.legs[at].state.is_live() && !(leaves && self.legs[at].state != LegState::Incoming) {
            let effect = self.legs[at].state.apply(LegEvent::HangUp).expect("a live leg can be hung up");
            self.perform(desk, at, effect, ending);
        }
    }

    /// Carries out what a leg's move asks.
    pub(crate) fn perform(&mut self, desk: &mut Desk, at: usize, effect: LegEffect, ending: &Ending) {
        match effect {
            LegEffect::Nothing => {}
            LegEffect::Refuse => self.refuse_caller(desk, ending),
            LegEffect::Cancel => {
                if let Some(ours) = &self.legs[at].ours {
                    desk.push(Output::Cancel { txn: ours.txn, reason: ending.reason.clone() });
                }
            }
            LegEffect::Bye | LegEffect::AckAndBye => self.send_bye(desk, at, ending.reason.as_deref()),
        }
    }

    /// The final failure to a caller who had no answer.
    fn refuse_caller(&mut self, desk: &mut Desk, ending: &Ending) {
        let Some((txn, invite)) = self.setup.take().and_then(|setup| setup.asked) else { return };
        let own;
        let failure = if let Some(failure) = &ending.failure {
            failure
        } else {
            own = Failure::own(refusal_of(ending.cause), ending.cause);
            &own
        };
        let mut builder = self.response(desk, 0, &invite, failure.status, &failure.phrase);
        if let Some(reason) = &failure.reason {
            builder.push_header(HeaderName::Reason, reason);
        }
        if let Some(family) = failure.misfit {
            builder.push_header(HeaderName::Warning, warning(family));
        }
        if ending.failure.is_none() && ending.cause == EndCause::MediaMismatch {
            builder.push_header(HeaderName::Warning, INCOMPATIBLE);
        }
        if failure.status == 503 && self.who.from.peer.is_none() {
            // A trunk would park itself for that long (RFC 3261 §21.5.4); a phone tries again.
            builder.push_header(HeaderName::RetryAfter, RETRY_AFTER_S);
        }
        self.forget_theirs(desk, 0);
        desk.respond(txn, builder);
    }

    /// BYE (RFC 3261 §15.1.1).
    fn send_bye(&mut self, desk: &mut Desk, at: usize, reason: Option<&str>) {
        let txn = desk.client_txn(self.slot);
        let leg = &mut self.legs[at];
        let Some(mut builder) = leg.request(Method::Bye) else { return };
        if let Some(reason) = reason {
            builder.push_header(HeaderName::Reason, reason);
        }
        builder.push_header(HeaderName::UserAgent, &desk.config.server);
        leg.bye = Some(txn);
        desk.push(Output::Request { txn, request: builder.into(), target: leg.way() });
    }

    /// The ACK to a 2xx, with an answer where the 2xx had the offer.
    pub(crate) fn acknowledge(&mut self, desk: &mut Desk, at: usize, answer: Option<Bytes>) {
        let leg = &mut self.legs[at];
        let (Some(ours), Some(dialog)) = (&mut leg.ours, &mut leg.dialog) else { return };
        let request = Outgoing { builder: dialog.ack(ours.cseq), body: answer.clone().map(|body| (SDP, body)) };
        ours.ack = Acking::Sent(answer);
        desk.push(Output::Ack { request, target: leg.way() });
    }

    /// A 2xx came again: its ACK was lost.
    pub(crate) fn acknowledge_again(&mut self, desk: &mut Desk, at: usize) {
        if let Some(ours) = &self.legs[at].ours
            && let Acking::Sent(answer) = &ours.ack
        {
            let answer = answer.clone();
            self.acknowledge(desk, at, answer);
        }
    }

    /// The INVITE of a leg has had its final answer and its ACK.
    pub(crate) fn forget_theirs(&mut self, desk: &mut Desk, at: usize) {
        if let Some((txn, _)) = self.legs[at].theirs.take() {
            desk.unwatch(txn);
        }
    }

    /// A leg is out of the call before the call ends.
    pub(crate) fn say_leg_ended(&self, desk: &mut Desk, n: u16, cause: EndCause) {
        desk.say(self.account, Fact::LegEnded { leg: self.leg_id(n), cause });
    }

    /// An answer to a request of a leg.
    pub(crate) fn response(
        &self,
        desk: &Desk,
        at: usize,
        request: &Message,
        status: u16,
        phrase: &str,
    ) -> MessageBuilder {
        let tag = self.legs[at].tag.text();
        let phrase = if phrase.is_empty() { usual(status) } else { phrase };
        let mut builder = MessageBuilder::response(request, status, phrase, Some(tag.as_str()));
        builder.push_header(HeaderName::Server, &desk.config.server);
        builder
    }

    /// What an answer that makes or refreshes a dialog says beside (§12.1.1, §12.2.2).
    pub(crate) fn dialog_response(&self, desk: &mut Desk, at: usize, request: &Message, status: u16) -> MessageBuilder {
        let mut builder = self.response(desk, at, request, status, "");
        let leg = &self.legs[at];
        builder.push_copy(request, HeaderName::RecordRoute);
        builder.push_header(HeaderName::Contact, &contact_value(desk, &leg.flow, leg.tag, leg.secure));
        builder.push_header(HeaderName::Allow, &desk.config.allow);
        builder
    }

    /// A failure as whoever found the fault says it.
    pub(crate) fn refuse_with(&self, desk: &mut Desk, at: usize, txn: ServerTxn, request: &Message, refusal: &Refusal) {
        desk.refuse(self.legs[at].tag.text().as_str(), txn, request, refusal);
    }

    /// A plain failure.
    pub(crate) fn refuse_request(
        &self,
        desk: &mut Desk,
        n: u16,
        txn: ServerTxn,
        request: &Message,
        status: u16,
        phrase: &str,
    ) {
        if let Some(at) = self.place(n) {
            let builder = self.response(desk, at, request, status, phrase);
            desk.respond(txn, builder);
        }
    }

    /// Makes our next description for a leg, and keeps it as said.
    pub(crate) fn describe<E>(
        &mut self,
        desk: &mut Desk,
        at: usize,
        saying: Saying<'_>,
        make: impl FnOnce(&Local<'_>, Option<&Description>) -> Result<Description, E>,
    ) -> Result<Bytes, E> {
        if desk.config.single_port.is_some() {
            self.choose_port(desk, at, saying);
        }
        let leg = &mut self.legs[at];
        let end = &mut self.ends[leg.end];
        let port = [end.single.told(desk.config.single_port, end.ports)];
        let local = end.ours.local(desk.media_address(&leg.flow, end.ports.family), &port);
        let made = make(&local, end.ours.last())?;
        // Whom it is for asked for extended reports, and whoever it hears may not know them: then we do.
        let made = made.with_reports(match saying {
            Saying::Offer => leg.reports(),
            Saying::Answer(offer) => offer.extended(),
        });
        let made = dress(end, leg, made, saying, &mut desk.chance);
        let made = end.say_ways(made, saying, leg, desk.config.rtcp_mux, &mut desk.chance);
        let body = end.ours.say(made).print();
        if self.state == CallState::Answered {
            end.trim();
        }
        Ok(body)
    }

    /// Two legs agreed: their ends get what was said, and hear each other.
    pub(crate) fn connect(&mut self, desk: &mut Desk, offer: (u16, Said), answer: (u16, Said)) {
        let (Some(offering), Some(answering)) = (self.place(offer.0), self.place(answer.0)) else { return };
        let silence = self.silence.filter(|_| self.state == CallState::Answered);
        let keys = [self.keys_of(desk, offering, &offer.1), self.keys_of(desk, answering, &answer.1)];
        for (at, said) in [(offering, &offer.1), (answering, &answer.1)] {
            self.legs[at].words = said.words;
            self.legs[at].wants_reports(said);
        }
        let settings = settle(&self.side(offering, offer.1), &self.side(answering, answer.1), silence);
        let ends = [self.legs[offering].end, self.legs[answering].end];
        let names = ends.map(|end| self.ends[end].name);
        let [of_offering, of_answering] = keys;
        self.agree(desk, offering, settings.0, of_offering);
        self.agree(desk, answering, settings.1, of_answering);
        self.ends[ends[0]].stop(desk);
        self.ends[ends[1]].stop(desk);
        self.ends[ends[0]].link(names[1], desk);
        self.ends[ends[1]].link(names[0], desk);
    }

    /// What a leg says about its media when nothing was asked: where it is may have changed.
    pub(crate) fn follow_media(&mut self, desk: &mut Desk, n: u16, said: &Said) {
        let Some(at) = self.place(n) else { return };
        let (source, whereabouts) = self.sources(at, said);
        self.legs[at].words = said.words;
        if let Some(setting) = self.ends.get(self.legs[at].end).and_then(End::setting) {
            let (keys, remote) = (self.keys_of(desk, at, said), self.reached(at, said));
            self.agree(desk, at, Terms { source, whereabouts, remote, ..setting }, keys);
        }
    }

    /// What an answer to the INVITE that refreshed a leg's session says about its media.
    pub(crate) fn moved(&self, at: usize, response: &Message) -> Option<Agreed> {
        let said = Said::of(&read_body(response, self.legs[at].srtp).ok()??);
        // What it declines now it declines until it asks for a change itself.
        said.remote.map(|_| Agreed::Moved(self.legs[at].n, said))
    }

    /// The exchange is the other side of the caller: sets its end, and what it hears.
    pub(crate) fn serve(&mut self, desk: &mut Desk, said: Said, answer: bool) {
        let silence = self.silence.filter(|_| self.state == CallState::Answered);
        let ours = said.of_exchange();
        let Some(at) = self.place(self.caller) else { return };
        let keys = self.keys_of(desk, at, &said);
        self.legs[at].words = said.words;
        self.legs[at].wants_reports(&said);
        let caller = self.side(at, said);
        let exchange = Side { said: ours, source: caller.source, whereabouts: caller.whereabouts };
        let setting =
            if answer { settle(&exchange, &caller, silence).1 } else { settle(&caller, &exchange, silence).0 };
        self.agree(desk, at, setting, keys);
        self.perform_service(desk);
    }

    /// What the caller hears from the exchange.
    pub(crate) fn perform_service(&mut self, desk: &mut Desk) {
        let Some(at) = self.place(self.caller) else { return };
        let Some(end) = self.ends.get_mut(self.legs[at].end) else { return };
        let early = self.setup.as_ref().and_then(|setup| setup.sound).map(Service::Play);
        match self.service.or(early) {
            Some(Service::Echo) => {
                end.stop(desk);
                end.link(end.name, desk);
            }
            Some(Service::Play(sound)) => end.play(sound, desk),
            Some(Service::Silent) | None => end.stop(desk),
        }
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.state == CallState::Ended && self.legs.is_empty()
    }

    /// Drops legs that are done with; called after each input.
    pub(crate) fn sweep(&mut self, desk: &mut Desk) {
        let slot = self.slot;
        let before = self.legs.len();
        self.legs.retain(|leg| {
            let keep = leg.state != LegState::Ended;
            if !keep {
                desk.leave(leg.flow.connection, slot);
                desk.forget_moved(leg);
                if let Some((txn, _)) = leg.theirs {
                    desk.unwatch(txn);
                }
            }
            keep
        });
        if self.legs.len() < before {
            self.legs.shrink_to(2);
        }
        if self.is_over() {
            self.clear_timers(desk);
        }
    }

    /// The last answers did not come: forget who owes them.
    pub(crate) fn abandon(&mut self) {
        for leg in &mut self.legs {
            leg.state = LegState::Ended;
        }
    }

    /// The exchange that runs, if any, ends with the call.
    fn end_exchange(&mut self, desk: &mut Desk, now: Time) {
        if self.exchange.is_some() {
            // Its table has this move in each stage, and no effect of it ends the call again.
            self.advance(desk, Move::End, Carried::default(), now);
        }
    }

    pub(crate) fn view(&self) -> CallView<'_> {
        CallView {
            call: self.id,
            account: self.account,
            from: &self.who.from,
            to: &self.who.to,
            state: self.state,
            began: self.times.began,
            answered: self.times.answered,
            legs: self.legs.iter().map(|leg| self.line(leg)).collect(),
        }
    }
}

impl Call {
    fn line<'a>(&'a self, leg: &'a Leg) -> LegLine<'a> {
        let talks_to = self.other_of(leg.n).and_then(|n| self.place(n)).map(|at| &self.legs[at]);
        let planned = if leg.n == self.caller { &self.who.to } else { &self.who.from };
        let setting_of = |leg: &Leg| self.ends.get(leg.end).and_then(End::setting);
        let holds = |leg: &Leg| setting_of(leg).is_some_and(|setting| !setting.direction.sends());
        LegLine {
            n: leg.n,
            party: &leg.party,
            other: talks_to.map_or(planned, |other| &other.party),
            state: leg.state,
            flow: leg.flow,
            holds: holds(leg),
            held: talks_to.is_some_and(holds),
            call: self.id,
            leg,
            early_tag: self.setup.as_ref().and_then(|setup| setup.tag_of(leg.n)).unwrap_or_default(),
        }
    }
}

/// The one kind of body that we carry.
pub(crate) const SDP: &str = "application/sdp";

/// How long the last answers of an ended call are waited for: a transaction's 64*T1 after a CANCEL that itself had to
/// wait that long for a provisional answer, and a little more.
const LINGER: Duration = Duration::from_secs(70);

const RETRY_AFTER_S: &str = "5";
