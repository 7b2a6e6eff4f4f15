//! Telephone events (RFC 4733): digits as packets of their own.

/// The payload of an event. Units: bytes.
pub const EVENT_BYTES: usize = 4;

/// What an event's packet says (§2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number: 0 to 9, 10 for `*`, 11 for `#`, 12 to 15 for A to D.
    pub code: u8,
    /// Whether it has ended.
    pub is_end: bool,
    /// Its level below zero. Units: -dBm0, 0 to 63.
    pub volume: u8,
    /// How long it has lasted. Units: ticks of the codec's clock.
    pub duration_ticks: u16,
}

impl Event {
    /// Reads a payload; `None` when it is too short. What stands behind the first event is not read.
    pub const fn parse(payload: &[u8]) -> Option<Event> {
        match payload {
            &[code, second, high, low, ..] => Some(Event {
                code,
                is_end: second & 0x80 != 0,
                volume: second & 0x3f,
                duration_ticks: u16::from_be_bytes([high, low]),
            }),
            _ => None,
        }
    }

    /// The payload.
    pub const fn print(self) -> [u8; EVENT_BYTES] {
        let [high, low] = self.duration_ticks.to_be_bytes();
        [self.code, if self.is_end { 0x80 } else { 0 } | self.volume & 0x3f, high, low]
    }

    /// The digit, when it is one.
    pub const fn digit(self) -> Option<char> {
        match self.code {
            0..=15 => Some(DIGITS[self.code as usize] as char),
            _ => None,
        }
    }

    /// The number of a digit; small letters count as large ones.
    pub fn code_of(digit: char) -> Option<u8> {
        DIGITS.iter().position(|&known| char::from(known) == digit.to_ascii_uppercase()).map(|code| code as u8)
    }
}

const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// A digit that somebody pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// `0`…`9`, `*`, `#`, `A`…`D`.
    pub digit: char,
    /// How long it was held. Units: ticks of the codec's clock.
    pub duration_ticks: u32,
}

/// Gathers the packets of each event to one digit: all packets of an event have one timestamp, its end comes thrice, and
/// any of them may be lost (§2.5.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Detector {
    current: Option<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    timestamp: u32,
    digit: char,
    duration_ticks: u16,
    is_told: bool,
}

impl Detector {
    /// Takes the payload of an event's packet. A digit is told at its end, or when the next begins and no packet of its
    /// end was heard.
    pub fn packet(&mut self, timestamp: u32, payload: &[u8]) -> Option<Digit> {
        let event = Event::parse(payload)?;
        let digit = event.digit()?;
        let mut missed = None;
        let heard = match &mut self.current {
            Some(heard) if heard.timestamp == timestamp => heard,
            // Of an event before this one, come late.
            Some(heard) if timestamp.wrapping_sub(heard.timestamp) > 1 << 31 => return None,
            _ => {
                missed = self.finish();
                self.current.insert(Heard { timestamp, digit, duration_ticks: 0, is_told: false })
            }
        };
        heard.duration_ticks = heard.duration_ticks.max(event.duration_ticks);
        if missed.is_some() {
            // One at a time: this one's end comes twice more.
            return missed;
        }
        if event.is_end { self.finish() } else { None }
    }

    /// Tells the digit whose end was not heard, when nothing comes any more.
    pub fn finish(&mut self) -> Option<Digit> {
        let heard = self.current.as_mut().filter(|heard| !heard.is_told)?;
        heard.is_told = true;
        Some(Digit { digit: heard.digit, duration_ticks: u32::from(heard.duration_ticks) })
    }
}

/// The packets of one digit: one each 20 ms while it lasts, then its end three times. All have the timestamp of its
/// begin, and the first has the marker (§2.5.1.1).
#[derive(Clone, Debug)]
pub struct EventPackets {
    code: u8,
    duration_ticks: u16,
    sent_ticks: u16,
    ends: u8,
}

impl EventPackets {
    /// A digit of this length, at 8,000 ticks a second; at least 40 ms and at most 8 s. `None` when it is no digit.
    pub fn new(digit: char, duration_ms: u32) -> Option<Self> {
        let duration_ticks = (duration_ms.clamp(40, 8_000) * 8) as u16;
        Some(EventPackets { code: Event::code_of(digit)?, duration_ticks, sent_ticks: 0, ends: 0 })
    }
}

impl Iterator for EventPackets {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.ends == 3 {
            return None;
        }
        self.sent_ticks = self.sent_ticks.saturating_add(160).min(self.duration_ticks);
        let is_end = self.sent_ticks == self.duration_ticks;
        self.ends += u8::from(is_end);
        Some(Event { code: self.code, is_end, volume: 10, duration_ticks: self.sent_ticks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(packets: impl IntoIterator<Item = (u32, Event)>) -> String {
        let mut detector = Detector::default();
        let mut digits: Vec<_> =
            packets.into_iter().filter_map(|(timestamp, event)| detector.packet(timestamp, &event.print())).collect();
        digits.extend(detector.finish());
        digits.iter().map(|d| d.digit).collect()
    }

    fn packets(digit: char, timestamp: u32) -> impl Iterator<Item = (u32, Event)> {
        EventPackets::new(digit, 100).unwrap().map(move |event| (timestamp, event))
    }

    #[test]
    fn each_digit_is_told_once_with_its_length() {
        let all: String = "0123456789*#ABCD".into();
        let stream = all.chars().enumerate().flat_map(|(n, digit)| packets(digit, n as u32 * 1_600));
        assert_eq!(told(stream), all);
        let mut detector = Detector::default();
        let ends: Vec<_> = packets('5', 9).filter_map(|(t, event)| detector.packet(t, &event.print())).collect();
        assert_eq!(ends, [Digit { digit: '5', duration_ticks: 800 }]);
    }

    #[test]
    fn a_lost_end_and_a_late_packet_tell_no_digit_twice_and_lose_none() {
        let first = packets('1', 100).filter(|(_, event)| !event.is_end);
        let late = packets('1', 100).take(1);
        assert_eq!(told(first.chain(packets('2', 2_000)).chain(late)), "12");
        // Of the second only its three ends arrive.
        let second = packets('2', 2_000).filter(|(_, event)| event.is_end);
        assert_eq!(told(packets('1', 100).take(2).chain(second)), "12");
    }

    #[test]
    fn the_same_digit_pressed_twice_is_two() {
        assert_eq!(told(packets('7', u32::MAX - 10).chain(packets('7', 1_000))), "77");
    }

    #[test]
    fn short_payloads_and_other_events_are_no_digits() {
        let mut detector = Detector::default();
        assert_eq!(detector.packet(1, &[1, 0x80, 0]), None);
        assert_eq!(detector.packet(1, &[36, 0x80, 0, 1]), None);
        assert_eq!(detector.finish(), None);
        assert_eq!(Event::code_of('d'), Some(15));
        assert!(EventPackets::new('x', 100).is_none());
    }

    #[test]
    fn the_end_is_sent_three_times() {
        let sent: Vec<_> = EventPackets::new('3', 50).unwrap().collect();
        assert_eq!(sent.iter().map(|e| e.duration_ticks).collect::<Vec<_>>(), [160, 320, 400, 400, 400]);
        assert_eq!(sent.iter().filter(|e| e.is_end).count(), 3);
    }
}
