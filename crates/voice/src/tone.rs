//! Tones in frames of 20 ms. The phase runs on from frame to frame, so there is no click at their seams.

use crate::Law;

/// Samples a second.
pub const SAMPLE_RATE_HZ: u32 = 8_000;

/// Samples, and so bytes, in a frame of 20 ms.
pub const FRAME_SAMPLES: usize = 160;

/// Something that fills frames.
#[derive(Clone, Debug)]
pub enum Source {
    /// The tone that a caller hears while somebody is rung.
    Ringback(Ringback),
    /// A sine.
    Tone(Tone),
}

impl Source {
    /// Fills the next 20 ms.
    pub fn next_frame(&mut self, frame: &mut [u8; FRAME_SAMPLES]) {
        match self {
            Source::Ringback(ringback) => ringback.next_frame(frame),
            Source::Tone(tone) => tone.next_frame(frame),
        }
    }
}

/// A sine of one frequency and level, as codes of G.711.
#[derive(Clone, Debug)]
pub struct Tone {
    law: Law,
    /// 2³² is a whole turn.
    phase: u32,
    step: u32,
    /// The peak. Units: 16-bit samples.
    peak: i32,
}

impl Tone {
    /// A tone of `hz` (at most 4,000) at `level_dbm0` (at most +3, which is as loud as G.711 can be).
    pub fn new(hz: u16, level_dbm0: i8, law: Law) -> Self {
        let hz = u64::from(hz).min(u64::from(SAMPLE_RATE_HZ / 2));
        let step = ((hz << 32) / u64::from(SAMPLE_RATE_HZ)) as u32;
        let peak = law.peak() * 10f64.powf((f64::from(level_dbm0.min(3)) - law.peak_dbm0()) / 20.0);
        Tone { law, phase: 0, step, peak: peak as i32 }
    }

    /// Fills the next 20 ms.
    pub fn next_frame(&mut self, frame: &mut [u8; FRAME_SAMPLES]) {
        for code in frame {
            let sample = (i64::from(sine(self.phase)) * i64::from(self.peak)) >> 30;
            *code = self.law.encode(sample.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16);
            self.phase = self.phase.wrapping_add(self.step);
        }
    }
}

/// 425 Hz, one second of tone and four of silence (ITU-T E.180 §4).
#[derive(Clone, Debug)]
pub struct Ringback {
    tone: Tone,
    /// Where in the cadence the next frame lies. Units: frames.
    at: u32,
}

impl Ringback {
    /// Begins with the tone.
    pub fn new(law: Law) -> Self {
        Ringback { tone: Tone::new(RINGBACK_HZ, RINGBACK_DBM0, law), at: 0 }
    }

    /// Fills the next 20 ms.
    pub fn next_frame(&mut self, frame: &mut [u8; FRAME_SAMPLES]) {
        if self.at < RINGBACK_ON_FRAMES {
            self.tone.next_frame(frame);
        } else {
            frame.fill(self.tone.law.silence());
        }
        self.at += 1;
        if self.at == RINGBACK_FRAMES {
            self.at = 0;
            self.tone.phase = 0;
        }
    }
}

const RINGBACK_HZ: u16 = 425;
const RINGBACK_DBM0: i8 = -10;
const RINGBACK_ON_FRAMES: u32 = 50;
const RINGBACK_FRAMES: u32 = 250;

/// The sine of a phase, 2³⁰ being 1: by quarter, with straight lines between the entries of the table.
const fn sine(phase: u32) -> i32 {
    let quarter = phase >> 30;
    let within = phase & QUARTER_MASK;
    // The second and fourth quarters run backwards.
    let within = if quarter & 1 == 0 { within } else { QUARTER_MASK - within };
    let index = (within >> LINE_BITS) as usize;
    let rest = (within & ((1 << LINE_BITS) - 1)) as i64;
    let (low, high) = (SINES[index], SINES[index + 1]);
    let value = low + (((high - low) as i64 * rest) >> LINE_BITS) as i32;
    if quarter & 2 == 0 { value } else { -value }
}

const QUARTER_MASK: u32 = (1 << 30) - 1;
/// 256 entries to a quarter: 22 bits of phase lie between two.
const LINE_BITS: u32 = 22;

/// The sine over a quarter turn, filled by the compiler.
const SINES: [i32; 257] = {
    let mut sines = [0; 257];
    let mut n = 0;
    while n < sines.len() {
        let x = n as f64 * std::f64::consts::FRAC_PI_2 / 256.0;
        let square = x * x;
        // The series of the sine up to x¹³: right to 10⁻⁹ at a quarter turn.
        let mut term = x;
        let mut sum = x;
        let mut k = 1;
        while k <= 6 {
            term *= -square / ((2 * k) * (2 * k + 1)) as f64;
            sum += term;
            k += 1;
        }
        sines[n] = (sum * (1u32 << 30) as f64) as i32;
        n += 1;
    }
    sines
};

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(law: Law, frames: usize, mut next_frame: impl FnMut(&mut [u8; FRAME_SAMPLES])) -> Vec<f64> {
        let mut all = Vec::new();
        for _ in 0..frames {
            let mut frame = [0; FRAME_SAMPLES];
            next_frame(&mut frame);
            all.extend(frame.iter().map(|&code| f64::from(law.decode(code))));
        }
        all
    }

    /// The level by root mean square, a full sine being `peak_dbm0`.
    fn level_dbm0(law: Law, samples: &[f64]) -> f64 {
        let mean = samples.iter().map(|s| s * s).sum::<f64>() / samples.len() as f64;
        20.0 * (mean.sqrt() * 2f64.sqrt() / law.peak()).log10() + law.peak_dbm0()
    }

    /// The share of the energy that lies at `hz`.
    fn share_at(samples: &[f64], hz: f64) -> f64 {
        let turn = |n: usize| n as f64 * hz * std::f64::consts::TAU / 8_000.0;
        let (mut re, mut im) = (0.0, 0.0);
        for (n, s) in samples.iter().enumerate() {
            re += s * turn(n).cos();
            im += s * turn(n).sin();
        }
        let energy: f64 = samples.iter().map(|s| s * s).sum();
        2.0 * (re * re + im * im) / (samples.len() as f64 * energy)
    }

    #[test]
    fn the_level_is_right_within_a_decibel() {
        for law in [Law::Mu, Law::A] {
            for level in [3, 0, -3, -10, -20, -30, -40] {
                let mut tone = Tone::new(440, level, law);
                let heard = level_dbm0(law, &samples(law, 50, |frame| tone.next_frame(frame)));
                assert!((heard - f64::from(level)).abs() < 1.0, "{law:?}: {level} is heard as {heard:.2}");
            }
        }
    }

    #[test]
    fn almost_all_energy_lies_at_the_frequency_over_many_frames() {
        // A jump of phase at the seams of frames would spread it.
        for hz in [300, 425, 440, 1_004, 3_400] {
            let mut tone = Tone::new(hz, -10, Law::Mu);
            let share = share_at(&samples(Law::Mu, 50, |frame| tone.next_frame(frame)), f64::from(hz));
            assert!(share > 0.999, "{hz} Hz holds {share:.4}");
        }
    }

    #[test]
    fn the_table_is_a_sine() {
        for n in 0..10_000u32 {
            let phase = n.wrapping_mul(429_497);
            let exact = (f64::from(phase) / 2f64.powi(32) * std::f64::consts::TAU).sin();
            assert!((f64::from(sine(phase)) / 2f64.powi(30) - exact).abs() < 1e-5);
        }
    }

    #[test]
    fn ringback_sounds_one_second_of_five() {
        let mut source = Source::Ringback(Ringback::new(Law::A));
        let heard = samples(Law::A, 500, |frame| source.next_frame(frame));
        for (second, part) in heard.chunks(8_000).enumerate() {
            let is_loud = level_dbm0(Law::A, part) > -12.0;
            assert_eq!(is_loud, second % 5 == 0, "second {second}");
            assert!(is_loud || part.iter().all(|s| s.abs() <= 8.0));
        }
    }

    #[test]
    fn out_of_range_wishes_are_brought_into_it() {
        for (hz, level) in [(u16::MAX, i8::MAX), (0, i8::MIN), (4_000, 3)] {
            Tone::new(hz, level, Law::A).next_frame(&mut [0; FRAME_SAMPLES]);
        }
    }
}
