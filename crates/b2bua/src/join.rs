//! A transfer once somebody came: both sides are asked one after the other until they hear each other.

use crate::body::read_body;
use crate::bridge::PATIENCE;
use crate::bridge::{CODECS, agreement};
use crate::call::{Call, Ending, SDP};
use crate::desk::{Desk, Due};
use crate::end::{End, Said};
use crate::event::Output;
use crate::leg::Leg;
use crate::secure::Saying;
use crate::session;
use crate::transfer::{Effect, Move, Stage};
use media::offer::{carry_again, offer_audio};
use sip::{Message, Method, Outgoing};
use std::convert::Infallible;
use std::time::Duration;
use words::{CallId, EndCause, Time};

impl Call {
    /// Makes a move of the transfer and does what it asks.
    pub(crate) fn move_transfer(&mut self, desk: &mut Desk, event: Move, now: Time) {
        let Some(transfer) = &mut self.transfer else { return };
        let Ok(effect) = transfer.stage.apply(event) else { return };
        let (near, far) = (transfer.near, transfer.far);
        self.clear_timer(desk, Due::Join);
        self.clear_timer(desk, Due::Exchange);
        match effect {
            Effect::Nothing => {}
            Effect::Wait if event == Move::Glare => {
                let wait = self.glare_wait(desk, if self.is_asking_near() { Some(near) } else { far });
                self.set_timer(desk, Due::Join, now + wait);
            }
            Effect::Pause => self.set_timer(desk, Due::Join, now + BEAT),
            Effect::Wait => self.go_on(desk, now),
            Effect::AskFar => self.ask_next(desk, far, Some(near), now),
            Effect::AskNear => self.ask_next(desk, Some(near), far, now),
            // What was agreed on is connected by whoever read it.
            Effect::Connect => {
                self.transfer = None;
                self.tidy_ends(desk, now);
            }
            Effect::ConnectAsBefore => self.connect_as_before(desk, now),
            Effect::EndCall => {
                let cause = if event == Move::Gone { EndCause::SignallingLost } else { EndCause::MediaMismatch };
                self.end(desk, &Ending::new(cause, None), now);
            }
        }
    }

    /// Looks whether the leg that is to be asked next is free.
    pub(crate) fn go_on(&mut self, desk: &mut Desk, now: Time) {
        let Some(transfer) = &self.transfer else { return };
        let next = match transfer.stage {
            Stage::FarNext => transfer.far,
            Stage::NearNext => Some(transfer.near),
            Stage::Claiming => return desk.errands.push(self.slot),
            Stage::Seeking | Stage::FarAsked | Stage::NearAsked | Stage::Joined => return,
        };
        let leg = next.and_then(|n| self.place(n)).map(|at| &self.legs[at]);
        let free = leg.is_some_and(Leg::is_quiet);
        if free && self.exchange.is_none() {
            self.move_transfer(desk, Move::Free, now);
        } else if now.since(transfer.since) >= JOIN {
            self.move_transfer(desk, Move::Gone, now);
        } else {
            self.set_timer(desk, Due::Join, now + BEAT);
        }
    }

    /// Whether a leg was asked for the transfer and has not answered.
    pub(crate) fn is_joining(&self, n: u16) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| match transfer.stage {
            Stage::FarAsked => transfer.far == Some(n),
            Stage::NearAsked => transfer.near == n,
            Stage::Claiming | Stage::Seeking | Stage::FarNext | Stage::NearNext | Stage::Joined => false,
        })
    }

    /// Whether anybody was.
    pub(crate) fn is_asking(&self) -> bool {
        let asks = |stage| matches!(stage, Stage::FarAsked | Stage::NearAsked);
        self.transfer.as_ref().is_some_and(|transfer| asks(transfer.stage))
    }

    fn is_asking_near(&self) -> bool {
        let near = |stage| matches!(stage, Stage::NearNext | Stage::NearAsked);
        self.transfer.as_ref().is_some_and(|transfer| near(transfer.stage))
    }

    /// The final answer of a leg that was asked.
    pub(crate) fn handle_joined(&mut self, desk: &mut Desk, at: usize, response: &Message, now: Time) {
        match response.status() {
            ..300 => self.learn_session(desk, at, response, session::SHORTEST_S, now),
            422 if self.raise_session(at, response) => return self.move_transfer(desk, Move::Longer, now),
            491 => return self.move_transfer(desk, Move::Glare, now),
            // Its goodbye ends the call, or the time for it.
            481 => return self.handle_gone(desk, at, now),
            408 => return self.move_transfer(desk, Move::Gone, now),
            _ => return self.move_transfer(desk, Move::Refused, now),
        }
        if let Some(dialog) = &mut self.legs[at].dialog {
            dialog.refresh_target(response);
        }
        self.acknowledge(desk, at, None);
        let Some(answer) =
            read_body(response, self.legs[at].srtp).ok().flatten().filter(|said| self.fits(at, said, true))
        else {
            return self.move_transfer(desk, Move::Refused, now);
        };
        let Some(transfer) = &mut self.transfer else { return };
        let (near, far) = (transfer.near, transfer.far);
        let words = transfer.words.take();
        if transfer.stage == Stage::FarAsked {
            transfer.words = Some(answer);
            return self.move_transfer(desk, Move::Agreed, now);
        }
        match (words, far) {
            (Some(words), Some(far)) => {
                let (offered, answered) = agreement(&words, &answer);
                self.connect(desk, (far, offered), (near, answered));
            }
            (_, None) => self.serve(desk, Said::of(&answer), true),
            (None, Some(_)) => {}
        }
        self.move_transfer(desk, Move::Agreed, now);
    }

    /// A leg that was asked thinks too long.
    pub(crate) fn cancel_joining(&mut self, desk: &mut Desk) {
        let asked = self.legs.iter().find(|leg| self.is_joining(leg.n));
        if let Some(ours) = asked.and_then(|leg| leg.ours.as_ref()) {
            desk.push(Output::Cancel { txn: ours.txn, reason: None });
        }
    }

    /// Our INVITE to one side, with the words of the other and its name.
    fn ask_next(&mut self, desk: &mut Desk, asked: Option<u16>, shown: Option<u16>, now: Time) {
        let Some(at) = asked.and_then(|n| self.place(n)) else { return self.move_transfer(desk, Move::Gone, now) };
        let words = self.transfer.as_mut().and_then(|transfer| transfer.words.take());
        let body = if let Some(words) = &words {
            self.describe(desk, at, Saying::Offer, |local, last| carry_again(words, last.unwrap_or(words), local)).ok()
        } else {
            self.describe(desk, at, Saying::Offer, |local, _| Ok::<_, Infallible>(offer_audio(local, &CODECS))).ok()
        };
        if let Some(transfer) = &mut self.transfer {
            transfer.words = words;
        }
        let Some(body) = body else { return self.move_transfer(desk, Move::Refused, now) };
        let shown = shown.and_then(|n| self.place(n));
        let txn = desk.client_txn(self.slot);
        let Some(mut builder) = self.target_refresh(desk, at, Method::Invite) else { return };
        self.push_session(at, &mut builder);
        if let Some(shown) = shown {
            self.push_shown(&mut builder, at, shown);
        }
        let leg = &mut self.legs[at];
        leg.invites(txn, true);
        let request = Outgoing { builder, body: Some((SDP, body)) };
        desk.push(Output::Request { txn, request, target: leg.way() });
        self.set_timer(desk, Due::Exchange, now + PATIENCE);
    }

    /// The near leg keeps what it had, and hears the far one all the same.
    fn connect_as_before(&mut self, desk: &mut Desk, now: Time) {
        let Some(transfer) = self.transfer.take() else { return };
        let near_at = self.place(transfer.near);
        let near_end = near_at.map(|at| &self.ends[self.legs[at].end]);
        let (setting, ice) = (near_end.and_then(End::setting), near_end.and_then(End::heard_ice));
        let crypto = near_end.and_then(End::heard_keys);
        let (Some(setting), Some(words), Some(far)) = (setting, transfer.words, transfer.far) else {
            if transfer.far.is_some() {
                self.end(desk, &Ending::new(EndCause::MediaMismatch, None), now);
            }
            return;
        };
        let near = Said {
            remote: setting.remote,
            payload_types: setting.payload_types,
            clocks: setting.clocks,
            telephone_event: setting.telephone_event,
            direction: setting.direction.reversed(),
            fax: false,
            ssrc: None,
            reports: near_at.and_then(|at| self.legs[at].reports()),
            rtcp_mux: false,
            words: 0,
            crypto,
            ice,
        };
        self.connect(desk, (far, Said::of(&words)), (transfer.near, near));
        self.tidy_ends(desk, now);
    }

    /// How long we wait after a glare: 2.1 to 4 s where the dialog's Call-ID is ours, up to 2 s where it is not, in
    /// steps of 10 ms (RFC 3261 §14.1).
    fn glare_wait(&self, desk: &mut Desk, n: Option<u16>) -> Duration {
        let dialog = n.and_then(|n| self.place(n)).and_then(|at| self.legs[at].dialog.as_ref());
        let ours = dialog
            .and_then(|dialog| dialog.call_id.split_once('-'))
            .is_some_and(|(call, _)| call.parse::<CallId>().is_ok());
        let steps = if ours { 210 + desk.chance.below(191) } else { desk.chance.below(201) };
        Duration::from_millis(steps * 10)
    }
}

/// How often it is looked whether a leg is free.
pub(crate) const BEAT: Duration = Duration::from_millis(100);

/// How long the legs may be busy with something else.
pub(crate) const JOIN: Duration = Duration::from_secs(20);
