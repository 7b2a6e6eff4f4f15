//! Timers A to M: what each waits for, where the RFC defines it, and how long it runs (RFC 3261 §17.1.1.1, Table 4).
//!
//! Timer C is missing: it belongs to proxies (§16.6); whoever rings a phone here bounds that itself and cancels.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The figures that all timers are made of; per instance, never global (RFC 3261 §17.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerConfig {
    /// An estimate of the round trip. Default 500 ms.
    pub t1: Duration,
    /// The longest interval between retransmissions of anything but an INVITE. Default 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network. Default 5 s.
    pub t4: Duration,
    /// How long Timer D absorbs retransmitted final answers on UDP: at least 32 s (§17.1.1.2). Default 32 s.
    pub d: Duration,
    /// After what silence of its user an INVITE is answered 100 (§17.2.1). Default 200 ms.
    pub trying: Duration,
    /// How long a connection may take to come up. Default 10 s.
    pub dial: Duration,
    /// Timers that only end a long wait (B, D, F, H to M, and those of RFC 4320) are put off to multiples of this since the start: each call
    /// leaves several, and each by itself would wake the loop. Default 256 ms.
    pub step: Duration,
}

impl Default for TimerConfig {
    fn default() -> Self {
        TimerConfig {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            d: Duration::from_secs(32),
            trying: Duration::from_millis(200),
            dial: Duration::from_secs(10),
            step: Duration::from_millis(256),
        }
    }
}

/// A timer by its RFC name; the table at the end of the file says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// Sends an INVITE again.
    A,
    /// Gives an INVITE up.
    B,
    /// Absorbs retransmitted 300–699 answers to an INVITE.
    D,
    /// Sends another request again.
    E,
    /// Gives another request up.
    F,
    /// Sends a 300–699 answer to an INVITE again.
    G,
    /// Gives up waiting for the ACK to it.
    H,
    /// Absorbs retransmitted ACKs.
    I,
    /// Absorbs retransmissions of another request.
    J,
    /// Absorbs retransmitted answers to another request.
    K,
    /// Ends an INVITE that was answered 2xx, on the server's side.
    L,
    /// Ends an INVITE that was answered 2xx, on the client's side.
    M,
    /// Answers an INVITE 100.
    Trying,
    /// Sends a 2xx answer to an INVITE again.
    Success,
    /// Gives up an INVITE whose CANCEL brought no final answer.
    Cancelled,
    /// Answers a request other than INVITE 100, as its user takes long.
    Slow,
    /// Forgets a request that its user did not answer while an answer still made sense.
    Late,
    /// Gives up a connection that does not come up.
    Dial,
}

/// How long a timer runs, in terms of [`TimerConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Never set.
    Off,
    /// Over at once.
    Zero,
    /// One T1.
    T1,
    /// Seven times T1: by then a client's Timer E has been set to T2 (T1, twice and four times T1 have passed).
    T1x7,
    /// What is left then of 64 times T1.
    T1x57,
    /// 64 times T1.
    T1x64,
    /// One T4.
    T4,
    /// [`TimerConfig::d`].
    D,
    /// [`TimerConfig::trying`].
    Trying,
    /// [`TimerConfig::dial`].
    Dial,
}

/// One line of the table of timers.
#[derive(Clone, Copy, Debug)]
pub struct TimerRow {
    /// Which timer.
    pub timer: Timer,
    /// Where it is defined.
    pub section: &'static str,
    /// How long it (first) runs on UDP.
    pub unreliable: Length,
    /// How long it (first) runs on a transport that delivers by itself.
    pub reliable: Length,
    /// Whether it is set again with twice its interval, and where the doubling ends.
    pub repeat: Repeat,
}

/// What follows when a timer has fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It fires once.
    Once,
    /// The interval doubles each time.
    Doubles,
    /// The interval doubles up to T2.
    DoublesToT2,
}

impl Timer {
    /// The timer's line in the table.
    pub const fn row(self) -> &'static TimerRow {
        &TABLE[self as usize]
    }

    /// Whether it is set again when it has fired.
    pub const fn repeats(self) -> bool {
        !matches!(self.row().repeat, Repeat::Once)
    }

    /// Whether it only ends a long wait: it must not fire early, and nobody notices when it fires a moment late.
    pub const fn is_patient(self) -> bool {
        matches!(self.row().unreliable, Length::T1x7 | Length::T1x57 | Length::T1x64 | Length::T4 | Length::D)
    }

    /// How long the timer runs the first time; `None` when it is not set on this kind of transport.
    pub fn first(self, config: &TimerConfig, reliable: bool) -> Option<Duration> {
        let row = self.row();
        match if reliable { row.reliable } else { row.unreliable } {
            Length::Off => None,
            Length::Zero => Some(Duration::ZERO),
            Length::T1 => Some(config.t1),
            Length::T1x7 => Some(config.t1 * 7),
            Length::T1x57 => Some(config.t1 * 57),
            Length::T1x64 => Some(config.t1 * 64),
            Length::T4 => Some(config.t4),
            Length::D => Some(config.d),
            Length::Trying => Some(config.trying),
            Length::Dial => Some(config.dial),
        }
    }

    /// The interval after it has fired `fired` times (at least once), for a timer that repeats.
    pub fn again(self, config: &TimerConfig, fired: u8) -> Duration {
        let doubled = config.t1.saturating_mul(1 << u32::from(fired.min(DOUBLINGS)));
        match self.row().repeat {
            Repeat::Once => config.t1,
            Repeat::Doubles => doubled,
            Repeat::DoublesToT2 => doubled.min(config.t2),
        }
    }
}

/// Past so many doublings Timer B or H has long ended the transaction (64 = 2⁶).
const DOUBLINGS: u8 = 8;

/// All timers, in the order of [`Timer`].
pub const TABLE: [TimerRow; 18] = [
    row(Timer::A, "RFC 3261 §17.1.1.2", Length::T1, Length::Off, Repeat::Doubles),
    row(Timer::B, "RFC 3261 §17.1.1.2", Length::T1x64, Length::T1x64, Repeat::Once),
    row(Timer::D, "RFC 3261 §17.1.1.2", Length::D, Length::Zero, Repeat::Once),
    row(Timer::E, "RFC 3261 §17.1.2.2", Length::T1, Length::Off, Repeat::DoublesToT2),
    row(Timer::F, "RFC 3261 §17.1.2.2", Length::T1x64, Length::T1x64, Repeat::Once),
    row(Timer::G, "RFC 3261 §17.2.1", Length::T1, Length::Off, Repeat::DoublesToT2),
    row(Timer::H, "RFC 3261 §17.2.1", Length::T1x64, Length::T1x64, Repeat::Once),
    row(Timer::I, "RFC 3261 §17.2.1", Length::T4, Length::Zero, Repeat::Once),
    row(Timer::J, "RFC 3261 §17.2.2", Length::T1x64, Length::Zero, Repeat::Once),
    row(Timer::K, "RFC 3261 §17.1.2.2", Length::T4, Length::Zero, Repeat::Once),
    row(Timer::L, "RFC 6026 §8.7", Length::T1x64, Length::T1x64, Repeat::Once),
    row(Timer::M, "RFC 6026 §8.4", Length::T1x64, Length::T1x64, Repeat::Once),
    row(Timer::Trying, "RFC 3261 §17.2.1", Length::Trying, Length::Trying, Repeat::Once),
    // The 2xx is sent again on streams too: a hop further on may be UDP.
    row(Timer::Success, "RFC 3261 §13.3.1.4", Length::T1, Length::T1, Repeat::DoublesToT2),
    row(Timer::Cancelled, "RFC 3261 §9.1", Length::T1x64, Length::T1x64, Repeat::Once),
    row(Timer::Slow, "RFC 4320 §4.1", Length::T1x7, Length::T1x7, Repeat::Once),
    row(Timer::Late, "RFC 4320 §4.2", Length::T1x57, Length::T1x57, Repeat::Once),
    row(Timer::Dial, "ours", Length::Dial, Length::Dial, Repeat::Once),
];

const fn row(timer: Timer, section: &'static str, unreliable: Length, reliable: Length, repeat: Repeat) -> TimerRow {
    TimerRow { timer, section, unreliable, reliable, repeat }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_finds_its_own_row() {
        for (n, row) in TABLE.iter().enumerate() {
            assert_eq!(row.timer as usize, n);
        }
    }

    #[test]
    fn defaults_are_those_of_table_4() {
        let config = TimerConfig::default();
        let udp = |timer: Timer| timer.first(&config, false).unwrap().as_millis();
        assert_eq!([Timer::A, Timer::E, Timer::G].map(udp), [500; 3]);
        assert_eq!([Timer::B, Timer::F, Timer::H, Timer::J, Timer::L, Timer::M].map(udp), [32_000; 6]);
        assert_eq!([Timer::D, Timer::I, Timer::K].map(udp), [32_000, 5_000, 5_000]);
        let tcp = |timer: Timer| timer.first(&config, true);
        assert_eq!([Timer::A, Timer::E, Timer::G].map(tcp), [None; 3]);
        assert_eq!([Timer::D, Timer::I, Timer::J, Timer::K].map(tcp), [Some(Duration::ZERO); 4]);
    }

    #[test]
    fn retransmissions_double_up_to_their_cap() {
        let config = TimerConfig::default();
        let of = |timer: Timer| (1..=5).map(|n| timer.again(&config, n).as_millis()).collect::<Vec<_>>();
        assert_eq!(of(Timer::A), [1_000, 2_000, 4_000, 8_000, 16_000]);
        assert_eq!(of(Timer::E), [1_000, 2_000, 4_000, 4_000, 4_000]);
        assert_eq!(of(Timer::Success), of(Timer::G));
        // Whatever T1 is.
        let slow = TimerConfig { t1: Duration::from_secs(2), ..config };
        let of = |timer: Timer| (1..=4).map(|n| timer.again(&slow, n).as_secs()).collect::<Vec<_>>();
        assert_eq!((of(Timer::A), of(Timer::E)), (vec![4, 8, 16, 32], vec![4, 4, 4, 4]));
        assert_eq!([Timer::A, Timer::B].map(|timer| timer.first(&slow, false).unwrap().as_secs()), [2, 128]);
    }
}
