//! Transfer by a code that a user types while talking, for phones without a key for it: the code, a number, `#`. The
//! digits are telephone events (RFC 4733) that the relay reports, or INFO with `application/dtmf-relay`; the other side
//! hears them as any others.
//!
//! Off unless [`Config::typed_transfer`](crate::Config::typed_transfer) says what is typed: menus that a user calls may ask
//! for the same keys. Only users of ours may, never who calls from outside.

use crate::call::Call;
use crate::calls::Calls;
use crate::desk::Desk;
use crate::end::End;
use crate::leg::LegState;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use words::{LegId, Time};

/// What a leg has typed of a code and a number.
///
/// Limits: [`TYPED`] digits; what is longer is no number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Typed {
    digits: String,
    last: Time,
}

impl Calls {
    /// A telephone event ended at an end of the relay.
    pub(crate) fn handle_event(&mut self, end: LegId, digit: char, now: Time) {
        if self.desk.config.typed_transfer.is_empty() {
            return;
        }
        let Some(&slot) = self.by_id.get(&end.call) else { return };
        self.with(slot, |call, desk| {
            let speaks = |place: usize| call.ends.get(place).map(|known: &End| known.name) == Some(end);
            if let Some(n) = call.legs.iter().find(|leg| speaks(leg.end)).map(|leg| leg.n) {
                call.handle_digit(desk, n, digit, now);
            }
        });
    }
}

impl Call {
    /// A leg typed something in an INFO.
    pub(crate) fn handle_typed(&mut self, desk: &mut Desk, n: u16, body: &[u8], now: Time) {
        if let Some(digit) = signal(body) {
            self.handle_digit(desk, n, digit, now);
        }
    }

    fn handle_digit(&mut self, desk: &mut Desk, n: u16, digit: char, now: Time) {
        let code = &desk.config.typed_transfer;
        let Some(at) = self.place(n) else { return };
        let leg = &mut self.legs[at];
        if code.is_empty() || leg.party.user.is_none() || leg.state != LegState::Confirmed {
            return;
        }
        let typing = leg.more.as_ref().is_some_and(|more| more.typed.is_some());
        if !typing && !code.starts_with(digit) {
            return;
        }
        let typed = leg.more().typed.get_or_insert_default();
        let number = typed.take(code, digit, now);
        if typed.digits.is_empty() {
            leg.more().typed = None;
        }
        if let Some(number) = number {
            // Where it cannot be done now, everything stays as it is.
            self.refer_by_code(desk, n, &number, None, now);
        }
    }
}

impl Typed {
    /// Takes a digit; the number, when it was the last.
    fn take(&mut self, code: &str, digit: char, now: Time) -> Option<String> {
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

/// The key of an INFO with `application/dtmf-relay`: `Signal=5`; some say 10 and 11 for `*` and `#`.
fn signal(body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
    })?;
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
            number = typed.take("*2", key, Time::from_millis(10_000 + n * pause)).or(number);
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
            assert_eq!(signal(body.as_bytes()), key, "{body}");
        }
        assert_eq!(signal(&[0xff, 0xfe]), None);
    }
}
