//! Reliable provisional answers that come to us (RFC 3262 §4): taken in their order, each acknowledged by PRACK in the
//! early dialog that it belongs to.

use crate::body::read_body;
use crate::bridge::agreement;
use crate::call::{Call, SDP};
use crate::desk::Desk;
use crate::event::Output;
use crate::leg::Leg;
use crate::reliable::{OPTION, Told};
use crate::secure::Saying;
use bytes::Bytes;
use media::offer::{Local, carry, carry_answer};
use media::sdp::Description;
use serde::{Deserialize, Serialize};
use sip::{Dialog, HeaderName, Message, MessageBuilder, Method, Outgoing, Target};
use words::Time;

/// The early dialogs of a leg that sends reliable provisional answers. The first is the leg's dialog; a proxy on the way
/// may bring forth more.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) first: Early,
    others: Vec<(Dialog, Early)>,
    /// The RSeq of the provisional answer whose offer waits for the caller's answer.
    owed: Option<u32>,
}

/// What was heard in one early dialog.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Early {
    /// The RSeq heard last.
    rseq: u32,
    /// Its description, when it was said reliably: offer and answer are complete.
    pub(crate) settled: Option<Bytes>,
}

/// What a provisional answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hears {
    /// It does not want a PRACK.
    Plain,
    /// It came before, or too early (RFC 3262 §4).
    Again,
    /// The next one in the leg's dialog.
    Next,
    /// The next one in another early dialog.
    Aside,
}

impl Leg {
    /// Takes a provisional answer into its order.
    pub(crate) fn hear(&mut self, response: &Message) -> Hears {
        if !response.has_token(HeaderName::Require, OPTION) {
            return Hears::Plain;
        }
        let Some(rseq) = response.rseq() else { return Hears::Plain };
        if self.dialog.as_ref().is_none_or(|dialog| dialog.matches(response)) {
            let known = self.dialog.is_some();
            if !known {
                let kept = self.take_early(response).or_else(|| self.early_dialog(response));
                let Some(dialog) = kept else { return Hears::Plain };
                self.dialog = Some(Box::new(dialog));
            }
            let heard = self.more().heard.get_or_insert_default();
            return if heard.first.takes(rseq, known) { Hears::Next } else { Hears::Again };
        }
        let fresh = self.early_dialog(response);
        let heard = self.more().heard.get_or_insert_default();
        if let Some((_, early)) = heard.others.iter_mut().find(|(dialog, _)| dialog.matches(response)) {
            return if early.takes(rseq, true) { Hears::Aside } else { Hears::Again };
        }
        match fresh {
            Some(dialog) if heard.others.len() < EARLY_DIALOGS => {
                heard.others.push((dialog, Early { rseq, settled: None }));
                Hears::Aside
            }
            Some(_) | None => Hears::Again,
        }
    }

    /// The early dialog of a leg that is heard before its answer, though it does not say so reliably: what is typed goes
    /// there (RFC 3261 §12.1).
    pub(crate) fn keep_early(&mut self, response: &Message) {
        let known = |dialog: &Dialog| dialog.matches(response);
        if self.dialog.as_deref().is_some_and(known) || self.early_dialogs().any(known) {
            return;
        }
        let Some(dialog) = self.early_dialog(response) else { return };
        let heard = self.more().heard.get_or_insert_default();
        if heard.others.len() < EARLY_DIALOGS {
            heard.others.push((dialog, Early::default()));
        }
    }

    fn take_early(&mut self, response: &Message) -> Option<Dialog> {
        let heard = self.more.as_mut()?.heard.as_deref_mut()?;
        let at = heard.others.iter().position(|(dialog, _)| dialog.matches(response))?;
        Some(heard.others.swap_remove(at).0)
    }

    /// Its early dialogs beside its own.
    pub(crate) fn early_dialogs(&self) -> impl Iterator<Item = &Dialog> {
        self.heard().into_iter().flat_map(|heard| heard.others.iter().map(|(dialog, _)| dialog))
    }

    /// Whether a request of its other side comes in its order (RFC 3261 §12.2.2), in whichever of its dialogs.
    pub(crate) fn takes_in_order(&mut self, request: &Message) -> bool {
        if let Some(dialog) = self.dialog.as_mut().filter(|dialog| dialog.matches(request)) {
            return dialog.accept(request).is_ok();
        }
        let others = self.more.as_mut().and_then(|more| more.heard.as_mut()).map(|heard| &mut heard.others);
        let found = others.into_iter().flatten().find(|(dialog, _)| dialog.matches(request));
        found.is_some_and(|(dialog, _)| dialog.accept(request).is_ok())
    }

    /// A request inside its dialog; before its answer in the early one in which it was heard last.
    pub(crate) fn request_early(&mut self, method: Method) -> Option<MessageBuilder> {
        if self.dialog.is_some() {
            return self.request(method);
        }
        let heard = self.more.as_mut()?.heard.as_mut()?;
        heard.others.last_mut().map(|(dialog, _)| dialog.request(method))
    }

    fn early_dialog(&self, response: &Message) -> Option<Dialog> {
        let cseq = self.ours.as_ref()?.cseq;
        let from = response.header(HeaderName::From).unwrap_or_default();
        Dialog::uac(from, response.call_id().ok()?, cseq, response).ok()
    }

    /// The dialog that a 2xx makes: an early one that it confirms, which has counted our PRACKs, or a new one (RFC 3261
    /// §13.2.2.4).
    pub(crate) fn confirm(&mut self, response: &Message) -> bool {
        let heard = self.more.as_mut().and_then(|more| more.heard.as_deref_mut());
        if let Some(heard) = heard {
            if let Some(at) = heard.others.iter().position(|(dialog, _)| dialog.matches(response)) {
                let (dialog, early) = heard.others.swap_remove(at);
                (self.dialog, heard.first) = (Some(Box::new(dialog)), early);
            }
            if let Some(dialog) = self.dialog.as_mut().filter(|dialog| dialog.matches(response)) {
                // Without a Contact the early one's holds.
                return dialog.confirm(response).is_ok();
            }
            heard.first = Early::default();
        }
        let Some(dialog) = self.early_dialog(response) else { return false };
        self.dialog = Some(Box::new(dialog));
        true
    }

    pub(crate) fn heard(&self) -> Option<&Heard> {
        self.more.as_ref()?.heard.as_deref()
    }

    /// What the leg said reliably before its 2xx, when that completes offer and answer.
    pub(crate) fn settled(&self) -> Option<&Bytes> {
        self.heard()?.first.settled.as_ref()
    }

    /// Its words count from here on.
    pub(crate) fn settle(&mut self, words: Bytes) {
        self.more().heard.get_or_insert_default().first.settled = Some(words);
    }
}

impl Early {
    /// Whether it is the next one; the first one may have any number.
    fn takes(&mut self, rseq: u32, known: bool) -> bool {
        let next = !known || self.rseq == 0 || Some(rseq) == self.rseq.checked_add(1);
        if next {
            self.rseq = rseq;
        }
        next
    }
}

impl Call {
    /// Acknowledges a reliable provisional answer, unless it has an offer that the caller has to answer before.
    pub(crate) fn acknowledge_early(
        &mut self,
        desk: &mut Desk,
        at: usize,
        response: &Message,
        hears: Hears,
        now: Time,
    ) {
        let (Some(rseq), offers) = (response.rseq(), self.legs[at].ours.as_ref().is_some_and(|ours| ours.offers))
        else {
            return;
        };
        let body = read_body(response, self.legs[at].srtp).ok().flatten();
        match body {
            Some(answer) if offers => {
                if hears == Hears::Next && self.legs[at].settled().is_none() {
                    self.legs[at].settle(answer.print());
                }
                self.prack(desk, at, response, rseq, None);
            }
            Some(offer) => {
                let passed = hears == Hears::Next && self.offer_early(desk, at, response.status(), rseq, &offer, now);
                if !passed {
                    let answer = self.nothing(desk, at, &offer);
                    self.prack(desk, at, response, rseq, Some(answer));
                }
            }
            None => self.prack(desk, at, response, rseq, None),
        }
    }

    /// An offer of a leg before its answer goes to the caller, who answers it in its PRACK. Whether that can be.
    fn offer_early(
        &mut self,
        desk: &mut Desk,
        at: usize,
        status: u16,
        rseq: u32,
        offer: &Description,
        now: Time,
    ) -> bool {
        let n = self.legs[at].n;
        let open = self.setup.as_ref().is_some_and(|setup| setup.offer.is_none());
        if !open || self.legs[at].settled().is_some() || self.told().is_none_or(Told::has_description) {
            return false;
        }
        let Ok(body) = self.describe(desk, 0, Saying::Offer, |local, _| carry(offer, local)) else { return false };
        self.legs[at].more().heard.get_or_insert_default().owed = Some(rseq);
        let words = offer.print();
        if let Some(setup) = &mut self.setup {
            setup.ear.hear(n, words.clone(), body.clone());
        }
        if let Some(told) = self.told_mut() {
            told.offer = Some((n, offer.clone()));
            told.agreed_with = Some((n, words));
        }
        self.tell(desk, status, Some(body), now);
        true
    }

    /// The caller's answer to a leg's early offer: both agree before the answer to the call.
    pub(crate) fn pass_early_answer(&mut self, desk: &mut Desk, n: u16, answer: &Description, offer: &Description) {
        let Some(at) = self.place(n) else { return };
        let owed = self.legs[at].more().heard.as_mut().and_then(|heard| heard.owed.take());
        let (Some(rseq), Some(body)) = (owed, self.answer_for(desk, at, answer, offer)) else { return };
        self.legs[at].settle(offer.print());
        let (offered, answered) = agreement(offer, answer);
        self.connect(desk, (n, offered), (0, answered));
        let target = self.legs[at].way();
        let Some(builder) = self.legs[at].request(Method::Prack) else { return };
        self.send_prack(desk, at, (builder, target), rseq, Some(body));
    }

    fn prack(&mut self, desk: &mut Desk, at: usize, response: &Message, rseq: u32, body: Option<Bytes>) {
        let leg = &mut self.legs[at];
        let aside = leg.early_dialogs().find(|dialog| dialog.matches(response));
        let target = aside.map_or_else(|| leg.way(), |dialog| leg.way_of(dialog));
        let heard = leg.more.as_mut().and_then(|more| more.heard.as_deref_mut());
        let aside = heard.and_then(|heard| heard.others.iter_mut().find(|(dialog, _)| dialog.matches(response)));
        let dialog = match aside {
            Some((dialog, _)) => Some(dialog),
            None => leg.dialog.as_deref_mut(),
        };
        if let Some(builder) = dialog.map(|dialog| dialog.request(Method::Prack)) {
            self.send_prack(desk, at, (builder, target), rseq, body);
        }
    }

    fn send_prack(
        &self,
        desk: &mut Desk,
        at: usize,
        (mut builder, target): (MessageBuilder, Target),
        rseq: u32,
        body: Option<Bytes>,
    ) {
        let leg = &self.legs[at];
        let cseq = leg.ours.as_ref().map_or(0, |ours| ours.cseq);
        builder.push_header_fmt(HeaderName::RAck, format_args!("{rseq} {cseq} INVITE"));
        builder.push_header(HeaderName::UserAgent, &desk.config.server);
        let request = Outgoing { builder, body: body.map(|body| (SDP, body)) };
        // What becomes of it nobody asks: the INVITE tells.
        let txn = desk.client_txn(self.slot);
        desk.push(Output::Request { txn, request, target });
    }

    /// The answer that declines an offer for which there is no place.
    fn nothing(&self, desk: &mut Desk, at: usize, offer: &Description) -> Bytes {
        let session_id = desk.chance.u64() >> crate::end::SESSION_ID_SPARE;
        let local = Local { session_id, version: 1, address: desk.address(&self.legs[at].flow), ports: &[] };
        carry_answer(offer, offer, &local).print()
    }
}

/// How many early dialogs a leg may have beside its own.
const EARLY_DIALOGS: usize = 8;
