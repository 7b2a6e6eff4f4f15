//! What fuzzing runs: one function per way in, each fed with any bytes at all.
//!
//! The same functions serve libFuzzer (`make fuzz`, the package in `tests/fuzz`) and the replay of the stored inputs
//! among the tests, which needs no fuzzer. A function panics when a property that must hold for every input does not:
//! what is printed is read back as it was, views agree with each other, outputs stay bounded, the exchange holds
//! together.

mod exchange;
mod framing;
mod header;
mod media;
mod message;
mod multipart;
mod snapshot;
mod srtp;
mod websocket;

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// One way in.
pub struct Target {
    /// Its name: also that of the directory with its inputs.
    pub name: &'static str,
    /// The longest input that is worth trying. Units: bytes.
    pub longest: usize,
    feed: fn(&[u8]),
}

impl Target {
    /// Feeds it one input.
    ///
    /// # Panics
    /// When a property does not hold, or when the input costs more than [`COST`] of this thread's time.
    pub fn run(&self, input: &[u8]) {
        let before = cost();
        (self.feed)(input);
        let spent = cost().saturating_sub(before);
        assert!(spent <= COST, "{}: an input of {} bytes cost {spent:?}", self.name, input.len());
    }
}

/// All of them.
pub const TARGETS: [Target; 18] = [
    Target { name: "message", longest: 4_096, feed: message::message },
    Target { name: "uri", longest: 512, feed: header::uri },
    Target { name: "header", longest: 1_024, feed: header::header },
    Target { name: "credentials", longest: 1_024, feed: header::credentials },
    Target { name: "challenge", longest: 1_024, feed: header::challenge },
    Target { name: "framing", longest: 4_096, feed: framing::framing },
    Target { name: "sdp", longest: 8_192, feed: media::sdp },
    Target { name: "offer", longest: 16_384, feed: media::offer },
    Target { name: "multipart", longest: 8_192, feed: multipart::multipart },
    Target { name: "websocket", longest: 8_192, feed: websocket::websocket },
    Target { name: "stun", longest: 1_024, feed: media::stun },
    Target { name: "rtp", longest: 512, feed: media::rtp },
    Target { name: "rtcp", longest: 1_024, feed: media::rtcp },
    Target { name: "dtmf", longest: 512, feed: media::dtmf },
    Target { name: "srtp", longest: 4_096, feed: srtp::srtp },
    Target { name: "sdes", longest: 8_192, feed: srtp::sdes },
    Target { name: "exchange", longest: 8_192, feed: exchange::exchange },
    Target { name: "snapshot", longest: 65_536, feed: snapshot::snapshot },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// What this thread has worked so far: what others do on the machine does not count.
fn cost() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}

/// The most that one input may cost.
pub const COST: Duration = Duration::from_millis(100);
