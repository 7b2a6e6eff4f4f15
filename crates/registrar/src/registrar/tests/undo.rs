//! REGISTERs that the store refused are as if they had never come.

use super::*;
use crate::Undo;
use words::ConnectionId;

fn undo_of(outcome: Outcome) -> Undo {
    let Outcome::Accepted { undo, .. } = outcome else { panic!("{outcome:?}") };
    undo
}

impl Exchange {
    fn undo(&mut self, outcome: Outcome, gone: &[ConnectionId]) -> Vec<Fact> {
        let gone = |connection| gone.contains(&connection);
        let facts = self.registrar.undo(undo_of(outcome), gone, &self.clock, self.now);
        self.registrar.check().unwrap();
        facts
    }

    /// What the store would have of the user.
    fn stored(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.registrar.table.of(ANN).iter().map(|binding| format!("{:?}", binding.stored(&self.clock))).collect();
        all.sort();
        all
    }
}

#[test]
fn a_binding_that_was_refused_is_gone() {
    let mut exchange = Exchange::new();
    let outcome = exchange.send(&Register::new(&[OPEN]), udp(HOME));
    assert_eq!(exchange.undo(outcome, &[]), [unbound("sip:101@198.51.100.4:5060")]);
    assert!(exchange.uris().is_empty() && exchange.registrar.is_empty());
    assert_eq!(exchange.pass(10_000), []);
}

#[test]
fn a_refresh_that_was_refused_leaves_the_time_that_was_promised() {
    let mut exchange = Exchange::new();
    let moved = "<sip:101@198.51.100.4:5060;x=1>;q=0.5";
    exchange.send(&Register::new(&[OPEN]).header("Expires", "600"), udp(HOME));
    let (before, expires) = (exchange.stored(), exchange.first().expires);
    exchange.pass(300);
    for (cseq, contact) in [(2, OPEN), (3, moved)] {
        let refresh = Register::new(&[contact]).cseq(cseq).header("User-Agent", "Other").header("Expires", "3600");
        let outcome = exchange.send(&refresh, udp("203.0.113.5:41000"));
        assert_ne!(exchange.first().expires, expires);
        let facts = exchange.undo(outcome, &[]);
        assert!(matches!(facts.last(), Some(Fact::Bound { .. })), "{facts:?}");
        assert_eq!((exchange.stored(), exchange.first().expires), (before.clone(), expires));
    }
    // What the 503 refused may be tried again as it is.
    contacts(&exchange.send(&Register::new(&[OPEN]).cseq(3), udp(HOME)));
}

#[test]
fn a_removal_that_was_refused_leaves_what_was_there() {
    let mut exchange = Exchange::new();
    let two = Register::new(&[OPEN, "<sip:b@198.51.100.4:5070>;q=0.2"]);
    exchange.send(&two, udp(HOME));
    let (before, order) = (exchange.stored(), exchange.uris().join(" "));
    for gone in [
        Register::new(&["*"]).header("Expires", "0").cseq(2),
        Register::new(&["<sip:101@198.51.100.4:5060>;expires=0"]).cseq(2),
    ] {
        let outcome = exchange.send(&gone, udp(HOME));
        assert!(exchange.stored().len() < 2);
        exchange.undo(outcome, &[]);
        assert_eq!((exchange.stored(), exchange.uris().join(" ")), (before.clone(), order.clone()));
    }
}

#[test]
fn several_are_taken_back_from_the_last_to_the_first() {
    let mut exchange = Exchange::new();
    exchange.send(&Register::new(&[OPEN]), udp(HOME));
    let before = exchange.stored();
    let second = exchange.send(&Register::new(&[OPEN, "<sip:b@198.51.100.4:5070>"]).cseq(2), udp(HOME));
    let third = exchange.send(&Register::new(&["*"]).header("Expires", "0").cseq(3), udp(HOME));
    let fourth = exchange.send(&Register::new(&["<sip:c@198.51.100.4:5080>"]).cseq(4), udp(HOME));
    assert_eq!(exchange.uris(), ["sip:c@198.51.100.4:5080"]);
    for outcome in [fourth, third, second] {
        exchange.undo(outcome, &[]);
    }
    assert_eq!(exchange.stored(), before);
}

#[test]
fn what_comes_back_over_a_connection_that_closed_meanwhile_is_closed() {
    let mut exchange = Exchange::new();
    let [old, new] = [1, 2].map(|slot| stream(Transport::Tcp, slot, "203.0.113.7:41000"));
    let contact = "<sip:101@10.0.0.4:5060;transport=tcp>";
    exchange.send(&Register::new(&[contact]), old);
    let outcome = exchange.send(&Register::new(&[contact]).cseq(2), new);
    assert!(exchange.registrar.flow_closed(old.connection).is_empty());
    exchange.undo(outcome, &[old.connection]);
    assert_eq!(exchange.first().reach, Reach::Gone);
}

#[test]
fn what_ended_meanwhile_does_not_come_back() {
    let mut exchange = Exchange::new();
    exchange.send(&Register::new(&[OPEN]), udp(HOME));
    let outcome = exchange.send(&Register::new(&[OPEN]).cseq(2), udp(HOME));
    exchange.registrar.drop_user(ANN);
    assert_eq!(exchange.undo(outcome, &[]), []);
    let outcome = exchange.send(&Register::new(&["<sip:b@198.51.100.4:5070>;expires=100"]).cseq(3), udp(HOME));
    let removal = exchange.send(&Register::new(&["*"]).header("Expires", "0").cseq(4), udp(HOME));
    let mut undo = undo_of(removal);
    undo.forget();
    assert_eq!(exchange.registrar.undo(undo, |_| false, &exchange.clock, exchange.now), []);
    assert_eq!(exchange.undo(outcome, &[]), []);
    assert!(exchange.registrar.is_empty());
}

#[test]
fn a_device_that_is_pinged_is_pinged_again() {
    let mut exchange = Exchange::new();
    let home = udp("203.0.113.5:41000");
    exchange.send(&Register::new(&["<sip:101@10.0.0.4:5060>"]), home);
    let outcome = exchange.send(&Register::new(&["*"]).header("Expires", "0").cseq(2), home);
    exchange.undo(outcome, &[]);
    assert!(exchange.pass(60).iter().any(|output| matches!(output, Output::Ping(_))));
}
