//! Transfer by a code that a user types while talking, for phones without a key for it: the code, a number, `#`. The
//! digits are telephone events (RFC 4733) that the relay reports, or INFO with `application/dtmf-relay`; the other side
//! hears them as any others.
//!
//! Off unless the account, or [`Config::typed_transfer`](crate::Config::typed_transfer) where it says nothing, names what is
//! typed: menus that a user calls may ask for the same keys. Only users of ours may, never who calls from outside.
//!
//! A phone may say each key both ways. The way that came first counts until it is silent for [`PAUSE`].

use crate::call::Call;
use crate::calls::Calls;
use crate::desk::Desk;
use crate::end::End;
use crate::leg::LegState;
use crate::relayed::{DTMF, DTMF_RELAY};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use words::{AccountId, LegId, Time};

/// What a leg has typed of a code and a number.
///
/// Limits: [`TYPED`] digits; what is longer is no number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Typed {
    digits: String,
    last: Time,
    /// How the last key came that counted.
    #[serde(default)]
    way: Option<Way>,
}

/// How a key comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    /// A telephone event (RFC 4733).
    Event,
    /// INFO (RFC 6086).
    Info,
}

impl Calls {
    /// A telephone event ended at an end of the relay.
    pub(crate) fn handle_event(&mut self, end: LegId, digit: char, now: Time) {
        let Some(&slot) = self.by_id.get(&end.call) else { return };
        let Some(call) = self.slots.get(slot as usize) else { return };
        if self.desk.typed_transfer(call.account).is_empty() {
            return;
        }
        self.with(slot, |call, desk| {
            let speaks = |place: usize| call.ends.get(place).map(|known: &End| known.name) == Some(end);
            if let Some(n) = call.legs.iter().find(|leg| speaks(leg.end)).map(|leg| leg.n) {
                call.handle_digit(desk, n, Way::Event, digit, now);
            }
        });
    }
}

impl Desk {
    /// An account that has a call says what its users type; `None`: as the configuration has it.
    ///
    /// Limits: one code for each account that has its own.
    pub(crate) fn codes_of(&mut self, account: AccountId, typed_transfer: Option<Box<str>>) {
        match typed_transfer {
            Some(code) => drop(self.typed_transfers.insert(account, code)),
            None if self.typed_transfers.is_empty() => {}
            None => drop(self.typed_transfers.remove(&account)),
        }
    }

    /// What users of an account type before a number; empty where nobody transfers so.
    fn typed_transfer(&self, account: AccountId) -> &str {
        self.typed_transfers.get(&account).map_or(&*self.config.typed_transfer, |code| code)
    }
}

impl Call {
    /// A leg typed something in an INFO.
    pub(crate) fn handle_typed(&mut self, desk: &mut Desk, n: u16, kind: &str, body: &[u8], now: Time) {
        if let Some(digit) = key_of(kind, body) {
            self.handle_digit(desk, n, Way::Info, digit, now);
        }
    }

    fn handle_digit(&mut self, desk: &mut Desk, n: u16, way: Way, digit: char, now: Time) {
        let Some(at) = self.place(n) else { return };
        let code = desk.typed_transfer(self.account);
        let leg = &mut self.legs[at];
        if code.is_empty() || leg.party.user.is_none() || leg.state != LegState::Confirmed {
            return;
        }
        let typing = leg.more.as_ref().is_some_and(|more| more.typed.is_some());
        if !typing && !code.starts_with(digit) {
            return;
        }
        let typed = leg.more().typed.get_or_insert_default();
        // It stays from here on: the same key may be on its way another way.
        let number = typed.take(code, way, digit, now);
        if let Some(number) = number {
            // Where it cannot be done now, everything stays as it is.
            self.refer_by_code(desk, n, &number, None, now);
        }
    }
}

impl Typed {
    /// Takes a digit; the number, when it was the last.
    fn take(&mut self, code: &str, way: Way, digit: char, now: Time) -> Option<String> {
        if self.way.is_some_and(|other| other != way) && now.since(self.last) <= PAUSE {
            return None;
        }
        self.way = Some(way);
        if now.since(self.last) > PAUSE || self.digits.len() >= TYPED {
            self.digits.clear();
        }
        self.last = now;
        if digit == '#' && code.len() < self.digits.len() {
            return Some(std::mem::take(&mut self.digits).split_off(code.len()));
        }
        self.digits.push(digit);
        if !code.starts_with(&self.digits) && !self.digits.starts_with(code) {
            self.digits.clear();
            self.digits.extend(Some(digit).filter(|digit| code.starts_with(*digit)));
        }
        None
    }
}

/// The key of an INFO: `Signal=5` in `application/dtmf-relay`, the key alone in `application/dtmf`; some say 10 and 11 for
/// `*` and `#`.
fn key_of(kind: &str, body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let value = match kind {
        DTMF_RELAY => text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?,
        DTMF => text.trim(),
        _ => return None,
    };
    match value {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => value.chars().next().filter(|key| value.len() == 1 && (key.is_ascii_digit() || matches!(key, '*' | '#'))),
    }
}

/// Who waits longer between two keys begins anew.
const PAUSE: Duration = Duration::from_secs(5);
/// The most that is typed: the longest number that is dialled anywhere, and a code.
const TYPED: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str, pause: u64) -> Option<String> {
        let mut typed = Typed::default();
        let mut number = None;
        for (n, key) in (0..).zip(keys.chars()) {
            number = typed.take("*2", Way::Event, key, Time::from_millis(10_000 + n * pause)).or(number);
            assert!(typed.digits.len() <= TYPED);
        }
        number
    }

    #[test]
    fn a_code_a_number_and_the_end_are_a_wish() {
        assert_eq!(typed("*2103#", 300).as_deref(), Some("103"));
        assert_eq!(typed("17**2103#", 300).as_deref(), Some("103"));
        assert_eq!(typed("*3*2*43#", 300).as_deref(), Some("*43"));
        assert_eq!(typed("*21#*22#", 300).as_deref(), Some("2"));
    }

    #[test]
    fn anything_else_is_for_the_other_side() {
        for keys in ["*2#", "2103#", "*3103#", "*103#", "#", "*#2103#"] {
            assert_eq!(typed(keys, 300), None, "{keys}");
        }
        assert_eq!(typed("*2103#", 6_000), None);
        assert_eq!(typed(&format!("*2{}#", "1".repeat(50)), 300), None);
    }

    /// What comes of keys, each with its way and when.
    fn heard(keys: &[(Way, char, u64)]) -> Option<String> {
        let mut typed = Typed::default();
        let take = |number: Option<String>, &(way, key, at): &(Way, char, u64)| {
            typed.take("*2", way, key, Time::from_millis(10_000 + at)).or(number)
        };
        keys.iter().fold(None, take)
    }

    #[test]
    fn a_key_that_comes_both_ways_counts_once() {
        for [first, second] in [[Way::Event, Way::Info], [Way::Info, Way::Event]] {
            let both = |late: u64| -> Vec<(Way, char, u64)> {
                let keys = (0..)
                    .zip("*2103#".chars())
                    .flat_map(|(n, key)| [(first, key, n * 300), (second, key, n * 300 + late)]);
                let mut keys: Vec<_> = keys.collect();
                keys.sort_by_key(|(.., at)| *at);
                keys
            };
            for late in [1, 150, 700] {
                assert_eq!(heard(&both(late)).as_deref(), Some("103"), "{first:?}, {late} ms later");
            }
        }
    }

    #[test]
    fn a_way_that_falls_silent_gives_way_to_the_other() {
        let mut keys = vec![(Way::Info, '*', 0), (Way::Event, '7', 1_000)];
        keys.extend((0..).zip("*2103#".chars()).map(|(n, key)| (Way::Event, key, 6_000 + n * 300)));
        assert_eq!(heard(&keys).as_deref(), Some("103"));
    }

    #[test]
    fn signals_are_read_as_phones_write_them() {
        for (body, key) in [
            ("Signal=5\r\nDuration=160\r\n", Some('5')),
            ("Signal= *\r\nDuration= 160", Some('*')),
            ("signal=11\n", Some('#')),
            ("Duration=100\r\nSignal=10", Some('*')),
            ("Signal=16", None),
            ("Signal=", None),
            ("5", None),
        ] {
            assert_eq!(key_of(DTMF_RELAY, body.as_bytes()), key, "{body}");
        }
        for (body, key) in [("5", Some('5')), ("*\r\n", Some('*')), ("11", Some('#')), ("Signal=5", None), ("", None)] {
            assert_eq!(key_of(DTMF, body.as_bytes()), key, "{body}");
        }
        assert_eq!(key_of(DTMF_RELAY, &[0xff, 0xfe]), None);
        assert_eq!(key_of("application/media_control+xml", b"5"), None);
    }
}
