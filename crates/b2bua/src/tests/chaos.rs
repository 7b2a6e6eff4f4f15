//! Phones that do anything at any time over a network that loses messages: whatever happens, each call ends once, and
//! everything is given back.

use super::kit::*;
use crate::{Config, Step};
use media::command::{MediaReport, Sound};
use sip::{ClientTxn, Dialog, Event, HeaderName, Message, MessageBuilder, Method};
use std::time::Duration;
use words::{Chance, EndCause, LegId, Seed};

/// What a wild phone remembers.
#[derive(Default)]
struct Wild {
    /// INVITEs that it has not answered finally.
    open: Vec<Asked>,
    dialogs: Vec<Dialog>,
    invites: Vec<(ClientTxn, bool)>,
}

struct Chaos {
    world: World,
    chance: Chance,
    phones: Vec<Wild>,
}

impl Chaos {
    fn new(seed: u64) -> Chaos {
        let mut chance = Chance::new(Seed::from_number(seed));
        let mut world = World::with(Config::default(), seed);
        world.silence = (chance.below(2) == 0).then(|| Duration::from_secs(30));
        let loss = [0, 3, 10, 30][chance.below(4) as usize];
        let mut dice = chance.fork();
        world.lose = Box::new(move || dice.below(100) < loss);
        let phones = (0..PHONES).map(|_| Wild::default()).collect();
        Chaos { world, chance, phones }
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.chance.below(n) == 0
    }

    fn plan(&mut self) -> Vec<Step> {
        let ring_for = Duration::from_secs(self.chance.below(30));
        let sound = Sound::Ringback;
        match self.chance.below(8) {
            0 => vec![Step::Answer, Step::Echo],
            1 => vec![Step::Progress { sound: Some(sound) }, Step::Play { sound }],
            2 => vec![Step::Ring, Step::AnswerAfter { delay: ring_for }, Step::Echo],
            _ => {
                let order = |chance: &mut Chance| chance.below(3) as u32;
                let targets = (1..=1 + self.chance.below(4) as usize).map(|n| target(n, order(&mut self.chance)));
                let targets = targets.collect();
                let mut plan = vec![Step::Dial { targets, ring_for }];
                if self.one_in(3) {
                    plan.insert(0, Step::Progress { sound: Some(sound) });
                }
                plan
            }
        }
    }

    fn body(&mut self, phone: usize) -> Option<String> {
        let direction = ["sendrecv", "sendonly", "recvonly", "inactive"][self.chance.below(4) as usize];
        match self.chance.below(12) {
            0 => None,
            1 => Some(sdp(phone).replace("RTP/AVP", "RTP/SAVP")),
            2 => Some("v=0\r\nnonsense".to_owned()),
            3 => Some(sdp(phone).replace("m=audio 4", "m=audio 0 ")),
            _ => Some(sdp_with(phone, direction)),
        }
    }

    /// A phone reacts to what it got.
    fn react(&mut self, phone: usize) {
        while let Some(event) = self.world.phone(phone).events.pop_front() {
            match event {
                Event::Request { txn, message, .. } => self.asked(phone, Asked { txn, message }),
                Event::Response { txn, message, .. } => self.answered(phone, txn, &message),
                Event::Cancelled { txn, .. } => {
                    if let Some(at) = self.phones[phone].open.iter().position(|asked| asked.txn == txn) {
                        let asked = self.phones[phone].open.remove(at);
                        // A phone may have lifted at the same moment.
                        let status = if self.one_in(4) { 200 } else { 487 };
                        self.answer(phone, &asked, status);
                    }
                }
                Event::Ack { .. }
                | Event::Timeout { .. }
                | Event::TransportFailed { .. }
                | Event::NoAck { .. }
                | Event::ServerFailed { .. } => {}
            }
        }
    }

    fn asked(&mut self, phone: usize, asked: Asked) {
        match asked.message.method() {
            Method::Invite => {
                let status = [100, 180, 183, 200, 200, 480, 486, 488, 491, 603, 503][self.chance.below(11) as usize];
                if status > 100 {
                    self.answer(phone, &asked, status);
                }
                if status < 200 {
                    self.phones[phone].open.push(asked);
                }
            }
            Method::Bye | Method::Info | Method::Options | Method::Notify => {
                let status = [200, 200, 200, 481, 500][self.chance.below(5) as usize];
                if !self.one_in(6) {
                    self.answer(phone, &asked, status);
                }
            }
            Method::Prack => {
                let status = [200, 200, 200, 200, 481, 500][self.chance.below(6) as usize];
                if !self.one_in(6) {
                    self.answer(phone, &asked, status);
                }
            }
            Method::Update => {
                let status = [200, 200, 200, 405, 422, 481, 488, 491, 500][self.chance.below(9) as usize];
                if !self.one_in(6) {
                    self.answer(phone, &asked, status);
                }
            }
            other => panic!("{other} is never sent"),
        }
    }

    fn answer(&mut self, phone: usize, asked: &Asked, status: u16) {
        let body = (status == 183 || status == 200).then(|| self.body(phone)).flatten();
        let update = asked.message.method() == Method::Update && !asked.message.body().is_empty();
        let body = body.filter(|_| asked.message.method() == Method::Invite || update);
        let mut lines = self.lines();
        let numbers = ["1", "1", "2", "3", "7", "0", "x"];
        if (101..200).contains(&status) && asked.message.knows("100rel") && !self.one_in(3) {
            lines.push((HeaderName::Require, "100rel"));
            lines.push((HeaderName::RSeq, numbers[self.chance.below(7) as usize]));
        }
        self.world.answer_with(phone, asked, status, &lines, body.as_deref());
        if status == 200 && asked.message.method() == Method::Invite && asked.message.to_tag().is_none() {
            self.phones[phone].dialogs.extend(Dialog::uas(&asked.message, &format!("phone{phone}")));
        }
    }

    /// What a phone may say beside.
    fn lines(&mut self) -> Vec<(HeaderName, &'static str)> {
        let mut lines = Vec::new();
        if self.one_in(2) {
            lines.push((HeaderName::Allow, "INVITE, UPDATE"));
        }
        match self.chance.below(5) {
            0 | 1 => lines.push((HeaderName::Supported, "100rel")),
            2 => lines.push((HeaderName::Require, "100rel")),
            _ => {}
        }
        if self.one_in(2) {
            lines.push((HeaderName::Supported, "timer"));
            let session = ["90", "120;refresher=uac", "120;refresher=uas", "5", "nonsense", "4000000000"];
            lines.push((HeaderName::SessionExpires, session[self.chance.below(6) as usize]));
            lines.push((HeaderName::MinSe, ["90", "400"][self.chance.below(2) as usize]));
        }
        lines
    }

    fn answered(&mut self, phone: usize, txn: ClientTxn, message: &Message) {
        let invited = self.phones[phone].invites.iter().find(|invite| invite.0 == txn).copied();
        let Some((_, offered)) = invited else { return };
        if message.rseq().is_some() && !self.one_in(5) {
            self.acknowledge_early(phone, message, offered);
        }
        if !(200..300).contains(&message.status()) {
            return;
        }
        let cseq = message.cseq().unwrap().number;
        let known = self.phones[phone].dialogs.iter().position(|dialog| dialog.matches(message));
        if known.is_none() {
            let from = message.header(HeaderName::From).unwrap();
            let dialog = Dialog::uac(from, message.call_id().unwrap(), cseq, message).expect("a 200 of ours");
            self.phones[phone].dialogs.push(dialog);
        }
        if self.one_in(8) {
            return;
        }
        let body = if offered { None } else { self.body(phone) };
        let known = known.unwrap_or(self.phones[phone].dialogs.len() - 1);
        let builder = self.phones[phone].dialogs[known].ack(cseq);
        self.world.send_ack(phone, builder, body.as_deref());
    }

    /// PRACK, with a description where one is owed and sometimes where none is.
    fn acknowledge_early(&mut self, phone: usize, message: &Message, offered: bool) {
        let known = self.phones[phone].dialogs.iter().position(|dialog| dialog.matches(message));
        let known = known.unwrap_or_else(|| {
            let (from, cseq) = (message.header(HeaderName::From).unwrap(), message.cseq().unwrap().number);
            let dialog = Dialog::uac(from, message.call_id().unwrap(), cseq, message).expect("an early one of ours");
            self.phones[phone].dialogs.push(dialog);
            self.phones[phone].dialogs.len() - 1
        });
        let describes = if offered { self.one_in(6) } else { !self.one_in(6) };
        let body = if describes { self.body(phone) } else { None };
        let mut dialog = self.phones[phone].dialogs[known].clone();
        self.world.prack(phone, &mut dialog, message, body.as_deref());
        self.phones[phone].dialogs[known] = dialog;
    }

    /// Something happens out of the blue.
    fn act(&mut self) {
        let phone = self.chance.below(PHONES as u64) as usize;
        match self.chance.below(20) {
            18 => self.send(phone, Method::Refer),
            0..=3 => self.call(phone),
            4..=6 => {
                if let Some(asked) = self.phones[phone].open.pop() {
                    let status = [200, 200, 200, 486, 603][self.chance.below(5) as usize];
                    self.answer(phone, &asked, status);
                }
            }
            7 => {
                if let Some(&(txn, _)) = self.phones[phone].invites.last() {
                    self.world.cancel(phone, txn);
                }
            }
            8 | 9 => self.send(phone, Method::Bye),
            10..=12 => self.send(phone, Method::Invite),
            13 => self.send(phone, Method::Info),
            17 => self.send(phone, Method::Update),
            14 => {
                if let Some(&call) = self.world.asked.last() {
                    let end = LegId { call, n: self.chance.below(2) as u16 };
                    self.world.report(MediaReport::Silent { end });
                }
            }
            15 if self.one_in(3) => self.world.close(E),
            _ => {
                if let Some(&call) = self.world.asked.last() {
                    let now = self.world.now;
                    self.world.calls.hang_up(call, EndCause::Administrative, now);
                    self.world.run();
                }
            }
        }
    }

    fn call(&mut self, phone: usize) {
        self.world.plan = self.plan();
        let body = self.body(phone);
        let builder = self.world.invite_builder(phone, "1001");
        let lines = self.lines();
        let builder = lines.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        let txn = self.world.request(phone, builder, body.as_deref());
        self.phones[phone].invites.push((txn, body.is_some()));
    }

    fn send(&mut self, phone: usize, method: Method) {
        let many = self.phones[phone].dialogs.len() as u64;
        if many == 0 {
            return;
        }
        let at = self.chance.below(many) as usize;
        let body = if matches!(method, Method::Invite | Method::Update) { self.body(phone) } else { None };
        let mut dialog = self.phones[phone].dialogs[at].clone();
        if method == Method::Info {
            let builder: MessageBuilder = dialog.request(method);
            self.world.request_with(phone, builder, Some(("application/dtmf", "5")));
        } else if method == Method::Refer {
            self.world.plan = self.plan();
            let other = self.chance.below(many) as usize;
            let attended = self.one_in(2);
            let named = self.phones[phone].dialogs.get(other).filter(|_| attended);
            let replaces = named.map(|d| {
                let (call_id, to, from) = (&d.call_id, &d.remote_tag, &d.local_tag);
                format!("?Replaces={call_id}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}")
            });
            let target = format!("<sip:1001@10.0.0.1{}>", replaces.unwrap_or_default());
            let mut builder = dialog.request(method).header(HeaderName::ReferTo, &target);
            if self.one_in(4) {
                builder.push_header(HeaderName::ReferSub, "false");
            }
            self.world.request(phone, builder, None);
        } else {
            let txn = self.world.send(phone, &mut dialog, method, body.as_deref());
            if method == Method::Invite {
                self.phones[phone].invites.push((txn, body.is_some()));
            }
        }
        self.phones[phone].dialogs[at] = dialog;
    }

    fn run(mut self, steps: u32) {
        for _ in 0..steps {
            self.act();
            for _ in 0..3 {
                (0..PHONES).for_each(|phone| self.react(phone));
            }
            let span = [0, 5, 300, 1_500, 40_000][self.chance.below(5) as usize];
            let span = Duration::from_millis(self.chance.below(span + 1));
            self.world.pass(span);
        }
        self.world.lose = Box::new(|| false);
        // Whoever is still talking reaches the longest call.
        for _ in 0..4 {
            self.world.pass(Duration::from_hours(4));
            (0..PHONES).for_each(|phone| self.react(phone));
        }
        self.world.is_clean();
    }
}

#[test]
fn whatever_happens_each_call_ends_once_and_nothing_leaks() {
    for seed in super::host::seeds(SEEDS) {
        println!("SEED={seed}");
        Chaos::new(seed).run(60);
    }
}

const SEEDS: u64 = 500;
const PHONES: usize = 5;
