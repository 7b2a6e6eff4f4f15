//! Audio as samples: G.711 and the tones that the exchange itself makes.
//!
//! This crate refuses to know of packets, clocks and calls: it fills frames, and whoever sends them counts time.
//!
//! ITU-T G.711 (PCM of voice frequencies), ITU-T E.180 (tones of telephone networks).
//!
//! ```
//! use voice::{FRAME_SAMPLES, Law, Tone};
//!
//! let mut tone = Tone::new(440, -10, Law::Mu);
//! let mut frame = [0; FRAME_SAMPLES];
//! tone.next_frame(&mut frame);
//! assert!(frame.iter().map(|&code| Law::Mu.decode(code)).max() > Some(6_000));
//! ```
//!
//! Limits: 8,000 samples a second, frames of 20 ms, tones below 4,000 Hz and up to +3 dBm0.

mod g711;
mod tone;

pub use g711::Law;
pub use tone::{FRAME_SAMPLES, Ringback, SAMPLE_RATE_HZ, Source, Tone};
