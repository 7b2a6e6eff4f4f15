//! The room by itself: what it refuses, what it forgets, and in which order it tells.

use super::*;
use crate::kit::{address, at, stream, udp};
use sip::MessageBuilder;
use words::{CallId, Flow, LegId, Party, Seed, Transport, Wall};

const HOME: &str = "198.51.100.4:5060";
const ANN: UserId = UserId(101);
const BOB: UserId = UserId(102);

/// A room with a clock that starts at one million seconds.
struct Desk {
    watch: Watch,
    clock: Clock,
    now: Time,
    subscribed: u32,
}

/// What left the room.
#[derive(Debug)]
struct Sent {
    id: NotifyId,
    message: Message,
    flow: Flow,
}

impl Sent {
    fn state(&self) -> &str {
        self.message.header(HeaderName::SubscriptionState).unwrap()
    }

    fn body(&self) -> &str {
        std::str::from_utf8(self.message.body()).unwrap()
    }
}

impl Desk {
    fn new() -> Self {
        let clock = Clock { mono: at(0), wall: Wall(1_000_000_000) };
        Desk { watch: Watch::new("Test", Chance::new(Seed::from_number(1)), at(0)), clock, now: at(100), subscribed: 0 }
    }

    fn message(subscribed: u32, cseq: u32, to: &str, headers: &[(&str, &str)]) -> Message {
        let mut builder = MessageBuilder::request("SUBSCRIBE", "sip:102@office.example")
            .header(HeaderName::Via, "SIP/2.0/UDP 198.51.100.4;branch=z9hG4bK1")
            .header(HeaderName::From, "<sip:101@office.example>;tag=a")
            .header(HeaderName::To, to)
            .header(HeaderName::CallId, &format!("c{subscribed}"))
            .header(HeaderName::CSeq, &format!("{cseq} SUBSCRIBE"))
            .header(HeaderName::Contact, "<sip:101@198.51.100.4>");
        for (name, value) in headers {
            builder = builder.raw(name, value);
        }
        Message::parse(builder.finish()).unwrap()
    }

    fn subscribe_as(&mut self, watcher: UserId, flow: Flow, headers: &[(&str, &str)]) -> Result<Subscribed, Refusal> {
        self.subscribed += 1;
        let message = Self::message(self.subscribed, 1, "<sip:102@office.example>", headers);
        let asked = Asked::read(&message)?;
        let wish = Wish { account: AccountId(1), watcher, subject: BOB, entity: "sip:102@office.example".into() };
        let request = Request { message: &message, flow, host: "192.0.2.10:5060", clock: &self.clock };
        let result = self.watch.subscribe(wish, asked, &request, self.now);
        self.watch.check().unwrap();
        result
    }

    fn subscribe(&mut self, event: &str) -> Subscribed {
        self.subscribe_as(ANN, udp(HOME), &[("Event", event)]).unwrap()
    }

    fn refresh(&mut self, tag: &str, cseq: u32, headers: &[(&str, &str)]) -> Result<Subscribed, Refusal> {
        let to = format!("<sip:102@office.example>;tag={tag}");
        let message = Self::message(self.subscribed, cseq, &to, headers);
        let request = Request { message: &message, flow: udp(HOME), host: "192.0.2.10:5060", clock: &self.clock };
        let result = self.watch.refresh(&request, self.now);
        self.watch.check().unwrap();
        result
    }

    /// Everything that leaves now.
    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            match self.watch.poll() {
                Output::Notify { id, request, flow } => {
                    let bytes = request.finish_with_via("SIP/2.0/UDP us;branch=z9hG4bK1");
                    sent.push(Sent { id, message: Message::parse(bytes).unwrap(), flow });
                }
                Output::Fact { .. } | Output::Heed { .. } => {}
                Output::Timeout(_) => break,
            }
        }
        self.watch.check().unwrap();
        sent
    }

    fn answer(&mut self, sent: &Sent, status: u16, headers: &[(HeaderName, &str)]) {
        let mut builder = MessageBuilder::response(&sent.message, status, "", None);
        for (name, value) in headers {
            builder.push_header(*name, value);
        }
        let answer = Message::parse(builder.finish()).unwrap();
        self.watch.notified(sent.id, Notified::Answer(&answer), self.now);
        self.watch.check().unwrap();
    }

    /// What leaves now, answered 200.
    fn told(&mut self) -> Vec<Sent> {
        let sent = self.sent();
        for one in &sent {
            self.answer(one, 200, &[]);
        }
        sent
    }

    fn pass(&mut self, seconds: u64) {
        self.now += std::time::Duration::from_secs(seconds);
        self.watch.handle_timeout(self.now);
        self.watch.check().unwrap();
    }

    fn ring(&mut self, n: u16) {
        let line = Line {
            leg: LegId { call: CallId(7), n },
            direction: Direction::Recipient,
            stage: Stage::Early,
            call_id: "c".into(),
            local_tag: "theirs".into(),
            remote_tag: "ours".into(),
            remote: Party::default(),
            holds: false,
            held: false,
        };
        self.watch.set_lines(BOB, vec![line], self.now);
    }
}

fn register(contact: &str) -> Message {
    let builder = MessageBuilder::request("REGISTER", "sip:office.example")
        .header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bK2")
        .header(HeaderName::From, "<sip:101@office.example>;tag=r")
        .header(HeaderName::To, "<sip:101@office.example>")
        .header(HeaderName::CallId, "r")
        .header(HeaderName::CSeq, "1 REGISTER")
        .header(HeaderName::Contact, contact);
    Message::parse(builder.finish()).unwrap()
}

#[test]
fn a_notify_has_what_its_subscriber_looks_for() {
    let mut desk = Desk::new();
    let subscribed = desk.subscribe("dialog;id=9");
    assert_eq!(
        (subscribed.expires_s, subscribed.contact),
        (3_600, format!("<sip:{}@192.0.2.10:5060>", subscribed.tag))
    );
    let sent = desk.told();
    let notify = &sent[0].message;
    assert_eq!((notify.request_uri(), sent[0].flow), ("sip:101@198.51.100.4", udp(HOME)));
    assert_eq!((notify.from_tag(), notify.to_tag()), (Some(subscribed.tag.as_str()), Some("a")));
    assert_eq!(notify.header(HeaderName::Event), Some("dialog;id=9"));
    assert_eq!((sent[0].state(), notify.content_type()), ("active;expires=3600", Some("application/dialog-info+xml")));
    assert!(sent[0].body().contains("version=\"0\" state=\"full\""));
    assert!(desk.told().is_empty(), "nothing is said twice");
    desk.ring(1);
    assert!(desk.told()[0].body().contains("version=\"1\""));
}

#[test]
fn what_did_not_change_is_no_news() {
    let mut desk = Desk::new();
    desk.subscribe("dialog");
    desk.told();
    let bound =
        |reachable| vec![Registered { uri: "sip:102@198.51.100.5".into(), q: 1_000, reachable, renewed: false }];
    desk.watch.set_bound(BOB, bound(true), Departure::Expired, desk.now);
    assert_eq!(desk.told().len(), 1, "unplugged became idle");
    desk.watch.set_bound(BOB, bound(true), Departure::Expired, desk.now);
    let other = vec![Registered { uri: "sip:102@198.51.100.6".into(), q: 500, reachable: true, renewed: false }];
    desk.watch.set_bound(BOB, other, Departure::Expired, desk.now);
    assert!(desk.told().is_empty(), "a lamp does not show which device it is");
    desk.watch.set_lines(BOB, Vec::new(), desk.now);
    desk.watch.set_lines(ANN, Vec::new(), desk.now);
    assert!(desk.told().is_empty());
}

#[test]
fn of_many_changes_during_a_notify_the_last_is_told() {
    let mut desk = Desk::new();
    desk.subscribe("dialog");
    let first = desk.sent();
    for n in 1..20 {
        desk.ring(n);
    }
    assert!(desk.sent().is_empty(), "one is under way");
    desk.answer(&first[0], 200, &[]);
    let second = desk.told();
    assert_eq!(second.len(), 1);
    assert!(second[0].body().contains("-19\""));
}

#[test]
fn the_answer_decides_what_becomes_of_it() {
    let cases =
        [(200, None, 1), (481, None, 0), (481, Some("5"), 0), (500, None, 0), (503, Some("5"), 1), (404, None, 0)];
    for (status, later, left) in cases {
        let mut desk = Desk::new();
        desk.subscribe("dialog");
        let sent = desk.sent();
        let headers: Vec<_> = later.map(|later| (HeaderName::RetryAfter, later)).into_iter().collect();
        desk.answer(&sent[0], status, &headers);
        assert_eq!(desk.watch.len(), left, "{status}");
        desk.pass(4);
        assert!(desk.sent().is_empty());
        desk.pass(1);
        assert_eq!(desk.sent().len(), usize::from(status == 503));
    }
    for (result, flow, left) in [
        (Notified::Timeout, udp(HOME), 0),
        (Notified::TransportFailed, udp(HOME), 0),
        (Notified::TransportFailed, stream(Transport::Tcp, 1, HOME), 1),
    ] {
        let mut desk = Desk::new();
        desk.subscribe_as(ANN, flow, &[("Event", "dialog")]).unwrap();
        let sent = desk.sent();
        desk.watch.notified(sent[0].id, result, desk.now);
        desk.watch.check().unwrap();
        assert_eq!(desk.watch.len(), left);
        desk.ring(1);
        assert!(desk.sent().is_empty());
    }
}

#[test]
fn the_answers_that_end_a_subscription_end_it() {
    let ending = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604];
    for (status, left) in ending.map(|status| (status, 0)).into_iter().chain([(500, 1), (503, 1), (600, 1)]) {
        let mut desk = Desk::new();
        desk.subscribe("dialog");
        let sent = desk.sent();
        desk.answer(&sent[0], status, &[(HeaderName::RetryAfter, "5")]);
        assert_eq!(desk.watch.len(), left, "{status}");
    }
}

#[test]
fn answers_to_another_notify_count_for_nothing() {
    let mut desk = Desk::new();
    desk.subscribe("dialog");
    let first = desk.told();
    desk.ring(1);
    let second = desk.sent();
    desk.watch.notified(first[0].id, Notified::Timeout, desk.now);
    assert_eq!(desk.watch.len(), 1);
    desk.answer(&second[0], 200, &[]);
    assert_eq!(desk.watch.len(), 1);
}

#[test]
fn a_refresh_is_of_this_event_in_this_order_and_while_it_lasts() {
    let mut desk = Desk::new();
    let tag = desk.subscribe("dialog").tag;
    desk.told();
    let status = |result: Result<Subscribed, Refusal>| result.unwrap_err().status;
    assert_eq!(status(desk.refresh(&tag, 2, &[("Event", "presence")])), 403);
    assert_eq!(status(desk.refresh(&tag, 2, &[("Event", "dialog;id=1")])), 403);
    assert_eq!(status(desk.refresh("w0000000000000001", 2, &[("Event", "dialog")])), 481);
    assert_eq!(desk.refresh(&tag, 5, &[("Event", "dialog"), ("Expires", "60")]).unwrap().expires_s, 60);
    assert_eq!(status(desk.refresh(&tag, 4, &[("Event", "dialog")])), 500);
    assert_eq!(desk.told().len(), 1, "a refresh is answered with the state");
    assert_eq!(desk.refresh(&tag, 6, &[("Event", "dialog"), ("Expires", "0")]).unwrap().expires_s, 0);
    assert_eq!(status(desk.refresh(&tag, 7, &[("Event", "dialog")])), 481);
    assert_eq!(desk.told()[0].state(), "terminated;reason=timeout");
    assert!(desk.watch.is_empty() && desk.watch.next_at().is_none() && !desk.watch.cares(BOB));
}

#[test]
fn a_user_has_room_for_many_and_the_oldest_leaves() {
    let mut desk = Desk::new();
    for _ in 0..limit::SUBSCRIPTIONS_PER_USER {
        desk.subscribe("dialog");
        desk.told();
        desk.now += limit::NOTIFY_TURN;
    }
    desk.subscribe("dialog");
    let told = desk.told();
    let states: Vec<_> = told.iter().map(Sent::state).collect();
    assert_eq!(states, ["terminated;reason=giveup;retry-after=600", "active;expires=3600"]);
    assert_eq!(desk.watch.len(), limit::SUBSCRIPTIONS_PER_USER);
    // Whose NOTIFYs nobody answers fills no more than twice that.
    let mut last = Ok(());
    for _ in 0..2 * limit::SUBSCRIPTIONS_PER_USER {
        last = desk.subscribe_as(ANN, udp(HOME), &[("Event", "dialog")]).map(drop);
        desk.sent();
        desk.now += limit::NOTIFY_TURN;
    }
    assert_eq!(last.unwrap_err().status, 503);
    assert_eq!(desk.watch.len(), 2 * limit::SUBSCRIPTIONS_PER_USER);
    desk.subscribe_as(BOB, udp("198.51.100.9:5060"), &[("Event", "dialog")]).unwrap();
}

#[test]
fn a_request_that_would_be_kept_has_a_limit() {
    let mut desk = Desk::new();
    let route = format!("<sip:{}@p;lr>", "x".repeat(limit::SUBSCRIBE_BYTES));
    let result = desk.subscribe_as(ANN, udp(HOME), &[("Event", "dialog"), ("Record-Route", &route)]);
    assert_eq!((result.unwrap_err().status, desk.watch.len()), (400, 0));
}

#[test]
fn a_restored_subscription_goes_on_with_higher_numbers() {
    let mut desk = Desk::new();
    desk.subscribe("dialog;id=4");
    let stored = loop {
        match desk.watch.poll() {
            Output::Fact { fact: Fact::Subscribed { subscription, user }, .. } => break (user, *subscription),
            Output::Timeout(_) => panic!("it is not stored"),
            Output::Fact { .. } | Output::Heed { .. } | Output::Notify { .. } => {}
        }
    };
    for n in 0..30 {
        desk.pass(1);
        desk.ring(n);
        desk.told();
    }
    let before = desk.watch.table.iter().next().unwrap().1.dialog.local_cseq;
    // Another process, whose own time begins anew.
    let clock = Clock { mono: at(0), wall: desk.clock.wall_at(desk.now) };
    let mut after = Desk { clock, now: at(0), ..Desk::new() };
    after.watch.restore(AccountId(1), stored.0, stored.1.clone(), "192.0.2.10:5060", &clock, at(0));
    after.watch.restore(AccountId(1), stored.0, stored.1.clone(), "192.0.2.10:5060", &clock, at(0));
    assert_eq!(after.watch.len(), 1, "it is there once");
    let told = after.told();
    let notify = &told[0].message;
    assert!(notify.cseq().unwrap().number > before);
    assert_eq!((notify.header(HeaderName::Event), notify.to_tag()), (Some("dialog;id=4"), Some("a")));
    assert_eq!(told[0].state(), "active;expires=3570");
    // Nobody answered: it is told again when its device registers, from where that is.
    after.ring(1);
    let sent = after.sent();
    after.watch.notified(sent[0].id, Notified::Timeout, after.now);
    assert_eq!(after.watch.len(), 0, "who answered once is given up");
    let mut silent = Desk { clock, now: at(0), ..Desk::new() };
    silent.watch.restore(AccountId(1), stored.0, stored.1.clone(), "192.0.2.10:5060", &clock, at(0));
    let sent = silent.sent();
    silent.watch.notified(sent[0].id, Notified::Timeout, silent.now);
    assert_eq!((silent.watch.len(), silent.sent().len()), (1, 0));
    let message = register("<sip:101@198.51.100.4>;expires=60");
    let request = Request { message: &message, flow: udp(HOME), host: "192.0.2.10:5060", clock: &clock };
    silent.watch.registered(ANN, &request, silent.now);
    assert_eq!(silent.told().len(), 1);
    // What expired meanwhile does not come back.
    let late = Clock { mono: at(0), wall: Wall(desk.clock.wall.0 + 4_000_000) };
    let mut later = Desk::new();
    later.watch.restore(AccountId(1), stored.0, stored.1, "192.0.2.10:5060", &late, at(0));
    assert!(later.watch.is_empty());
}

#[test]
fn a_subscription_follows_its_device_and_no_other() {
    let mut desk = Desk::new();
    desk.subscribe("dialog");
    desk.told();
    let elsewhere = udp("203.0.113.9:40001");
    for (contact, follows) in [("<sip:101@10.0.0.9>", false), ("<sip:101@198.51.100.4>;expires=60", true)] {
        let message = register(contact);
        let request = Request { message: &message, flow: elsewhere, host: "192.0.2.10:5060", clock: &desk.clock };
        desk.watch.registered(ANN, &request, desk.now);
        let told = desk.told();
        assert_eq!(told.len(), usize::from(follows), "{contact}");
        assert!(told.iter().all(|one| one.flow.remote == address("203.0.113.9:40001")));
    }
}

#[test]
fn random_work_keeps_everything_whole() {
    let mut chance = Chance::new(Seed::from_number(11));
    let mut desk = Desk::new();
    let mut under_way: Vec<Sent> = Vec::new();
    for _ in 0..6_000 {
        match chance.below(12) {
            0 | 1 => {
                let event = ["dialog", "presence", "reg", "message-summary"][chance.below(4) as usize];
                let expires = ["0", "30", "600"][chance.below(3) as usize];
                let flow =
                    if chance.below(2) == 0 { udp(HOME) } else { stream(Transport::Tcp, chance.below(3) as u32, HOME) };
                let headers = [("Event", event), ("Expires", expires)];
                desk.subscribe_as(UserId(chance.below(3) as u32), flow, &headers).unwrap();
            }
            2 => desk.ring(chance.below(3) as u16),
            3 => desk.watch.set_lines(BOB, Vec::new(), desk.now),
            4 => desk.watch.flow_closed(ConnectionId { slot: chance.below(3) as u32, generation: 1 }, desk.now),
            5 if chance.below(20) == 0 => desk.watch.drop_user(UserId(chance.below(3) as u32), desk.now),
            6 => desk.pass(chance.below(20)),
            7 => {
                desk.watch.set_messages(BOB, Messages { new: chance.below(3) as u32, ..Messages::default() }, desk.now);
            }
            _ if !under_way.is_empty() => {
                let one = under_way.swap_remove(chance.below(under_way.len() as u64) as usize);
                match chance.below(8) {
                    0 => desk.watch.notified(one.id, Notified::Timeout, desk.now),
                    1 => desk.watch.notified(one.id, Notified::TransportFailed, desk.now),
                    2 => desk.answer(&one, 503, &[(HeaderName::RetryAfter, "3")]),
                    _ => desk.answer(&one, 200, &[]),
                }
            }
            _ => {}
        }
        under_way.extend(desk.sent());
    }
    for user in 0..3 {
        desk.watch.drop_user(UserId(user), desk.now);
    }
    for _ in 0..40 {
        under_way.extend(desk.sent());
        for one in std::mem::take(&mut under_way) {
            desk.answer(&one, 200, &[]);
        }
        desk.pass(10);
    }
    assert!(desk.watch.is_empty() && !desk.watch.cares(BOB) && !desk.watch.asks_about_calls());
    assert_eq!(desk.watch.next_at(), None);
}
