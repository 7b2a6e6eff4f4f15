//! Two endpoints and a net between them that loses, repeats and delays, by seed.

use super::super::*;
use super::kit::udp;
use crate::dialog::Dialog;
use std::collections::BTreeMap;
use std::time::Duration;
use words::Seed;

/// A caller (0) and a called one (1) who pick up after a second; the caller hangs up after ten.
struct Net {
    sides: [Endpoint; 2],
    chance: Chance,
    now: Time,
    /// Messages under way, by arrival.
    air: BTreeMap<(Time, u64), (usize, Bytes)>,
    count: u64,
    loss_percent: u64,
    dialogs: [Option<Dialog>; 2],
    pick_up: Option<(Time, ServerTxn, Message)>,
    hang_up: Option<Time>,
    /// What each side's user saw, in short.
    seen: [Vec<&'static str>; 2],
}

const INVITE: ClientTxn = ClientTxn(1);
const BYE: ClientTxn = ClientTxn(2);

impl Net {
    fn new(seed: u64, loss_percent: u64) -> Self {
        let mut chance = Chance::new(Seed::from_number(seed));
        let side = |chance: Chance| Endpoint::new(EndpointConfig::default(), chance, Time::ZERO);
        let sides = [side(chance.fork()), side(chance.fork())];
        let (air, dialogs) = (BTreeMap::new(), [None, None]);
        let (pick_up, hang_up, seen) = (None, None, [Vec::new(), Vec::new()]);
        Net { sides, chance, now: Time::ZERO, air, count: 0, loss_percent, dialogs, pick_up, hang_up, seen }
    }

    fn flow(side: usize) -> Flow {
        let (a, b) = (udp().local, udp().remote);
        if side == 0 { udp() } else { Flow { local: b, remote: a, ..udp() } }
    }

    fn run(&mut self) {
        let invite = MessageBuilder::request("INVITE", "sip:b@192.0.2.9:5070")
            .header(HeaderName::From, "<sip:a@h>;tag=a")
            .header(HeaderName::To, "<sip:b@h>")
            .header(HeaderName::CallId, "c")
            .header(HeaderName::CSeq, "1 INVITE")
            .header(HeaderName::Contact, "<sip:a@192.0.2.1>");
        self.sides[0].request(INVITE, invite.into(), Target::Flow(Net::flow(0)), self.now);
        for _ in 0..10_000 {
            let Some(next) = self.settle() else { return };
            self.now = self.now.max(next);
            self.wake();
        }
        panic!("it never rests");
    }

    /// Polls both sides dry; gives when something happens next.
    fn settle(&mut self) -> Option<Time> {
        let mut next = None;
        for side in 0..2 {
            loop {
                match self.sides[side].poll() {
                    Output::Transmit { bytes, .. } => self.send(1 - side, &bytes),
                    Output::Event(event) => self.react(side, event),
                    Output::Connect { .. } => unreachable!("this net is UDP"),
                    Output::Timeout(at) => {
                        self.sides[side].check().unwrap();
                        next = [next, at].into_iter().flatten().min();
                        break;
                    }
                }
            }
        }
        let others = [self.air.keys().next().map(|key| key.0), self.pick_up.as_ref().map(|due| due.0), self.hang_up];
        others.into_iter().chain([next]).flatten().min()
    }

    fn send(&mut self, to: usize, bytes: &Bytes) {
        for _ in 0..=u64::from(self.chance.below(100) < 10) {
            if self.chance.below(100) >= self.loss_percent {
                self.count += 1;
                let at = self.now + Duration::from_millis(5 + self.chance.below(300));
                self.air.insert((at, self.count), (to, bytes.clone()));
            }
        }
    }

    fn wake(&mut self) {
        while let Some((&key, _)) = self.air.first_key_value().filter(|(key, _)| key.0 <= self.now) {
            let (to, bytes) = self.air.remove(&key).unwrap();
            // Strays and late ACKs are refused, which is what this test is about.
            let _ = self.sides[to].handle_message(Net::flow(to), bytes, self.now);
            self.settle();
        }
        if let Some((_, txn, request)) = self.pick_up.take_if(|due| due.0 <= self.now) {
            self.dialogs[1] = Some(Dialog::uas(&request, "b").unwrap());
            let ok = MessageBuilder::response(&request, 200, "", Some("b"))
                .header(HeaderName::Contact, "<sip:b@192.0.2.9:5070>");
            self.sides[1].respond(txn, ok.into(), self.now);
            self.seen[1].push("picked up");
        }
        if self.hang_up.take_if(|at| *at <= self.now).is_some() {
            let bye = self.dialogs[0].as_mut().unwrap().request(Method::Bye);
            self.sides[0].request(BYE, bye.into(), Target::Flow(Net::flow(0)), self.now);
        }
        self.sides.iter_mut().for_each(|side| side.handle_timeout(self.now));
    }

    fn react(&mut self, side: usize, event: Event) {
        match event {
            Event::Request { txn, message, .. } if message.method() == Method::Invite => {
                let ringing = MessageBuilder::response(&message, 180, "", Some("b"));
                self.sides[1].respond(txn, ringing.into(), self.now);
                self.pick_up = Some((self.now + Duration::from_secs(1), txn, message));
                self.seen[side].push("invite");
            }
            Event::Request { txn, message, .. } => {
                self.dialogs[1].as_mut().unwrap().accept(&message).unwrap();
                self.sides[1].respond(txn, MessageBuilder::response(&message, 200, "", None).into(), self.now);
                self.seen[side].push("bye");
            }
            Event::Response { txn: INVITE, message, .. } if message.status() == 200 => {
                let dialog = Dialog::uac("<sip:a@h>;tag=a", "c", 1, &message).unwrap();
                self.sides[0].send_ack(dialog.ack(1).into(), Target::Flow(Net::flow(0)), self.now);
                if self.dialogs[0].is_none() {
                    self.hang_up = Some(self.now + Duration::from_secs(10));
                    self.dialogs[0] = Some(dialog);
                    self.seen[side].push("answered");
                }
            }
            Event::Response { txn: BYE, .. } => self.seen[side].push("ended"),
            Event::Ack { message, .. } => {
                assert!(self.dialogs[1].as_ref().unwrap().matches(&message));
                self.seen[side].push("ack");
                self.sides[side].acked(PICKED_UP);
            }
            Event::Timeout { .. } => self.seen[side].push("timeout"),
            Event::NoAck { .. } => self.seen[side].push("no ack"),
            Event::Response { .. } => {}
            Event::Cancelled { .. } | Event::TransportFailed { .. } | Event::ServerFailed { .. } => unreachable!(),
        }
    }
}

/// The called side has one transaction before any other.
const PICKED_UP: ServerTxn = ServerTxn { slot: 0, generation: 1 };

#[test]
fn a_call_survives_a_third_of_all_messages_lost() {
    for seed in 0..200 {
        let mut net = Net::new(seed, 33);
        net.run();
        let count = |side: usize, what: &str| net.seen[side].iter().filter(|seen| **seen == what).count();
        assert!(count(1, "invite") <= 1, "seed {seed}: {:?}", net.seen);
        if count(0, "answered") == 1 {
            assert!(count(0, "ended") + count(0, "timeout") == 1, "seed {seed}: {:?}", net.seen);
        } else {
            assert!(count(0, "timeout") == 1 || count(1, "no ack") == 1, "seed {seed}: {:?}", net.seen);
        }
        let rest = net.sides.each_ref().map(Endpoint::transactions);
        assert_eq!(rest, [0, 0], "seed {seed}");
    }
}

#[test]
fn without_loss_every_step_happens_once() {
    for seed in 0..50 {
        let mut net = Net::new(seed, 0);
        net.run();
        net.seen[1].dedup();
        assert_eq!(net.seen[0], ["answered", "ended"], "seed {seed}");
        assert_eq!(net.seen[1], ["invite", "picked up", "ack", "bye"], "seed {seed}");
    }
}
