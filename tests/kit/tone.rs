//! Tones in WAV files: made for one side of a call, looked for on the other.

use std::path::Path;

/// Samples per second of everything here.
pub const RATE: u32 = 8_000;

/// Writes `seconds` of a sine, mono, 16 bits.
pub fn write(path: &Path, hz: f64, seconds: u32) {
    let samples = (0..RATE * seconds)
        .map(|n| (8_000.0 * (std::f64::consts::TAU * hz * f64::from(n) / f64::from(RATE)).sin()) as i16);
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let size = data.len() as u32;
    let mut file = Vec::with_capacity(data.len() + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(size + 36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    for word in [16u32, 1 | 1 << 16, RATE, RATE * 2, 2 | 16 << 16] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(b"data");
    file.extend_from_slice(&size.to_le_bytes());
    file.extend_from_slice(&data);
    std::fs::write(path, file).expect("a WAV file is written");
}

/// The share of the energy of a WAV file (mono, 16 bits, 8 kHz) that lies at `hz`, over the seconds that are not silent;
/// and how many seconds those are.
pub fn share(path: &Path, hz: f64) -> (f64, f64) {
    let file = std::fs::read(path).expect("a WAV file is read");
    let samples: Vec<f64> = file[44..].as_chunks::<2>().0.iter().map(|b| f64::from(i16::from_le_bytes(*b))).collect();
    let window = RATE as usize / 10;
    let mut shares = Vec::new();
    for block in samples.chunks_exact(window) {
        let energy: f64 = block.iter().map(|s| s * s).sum();
        if energy / (window as f64) > 10_000.0 {
            shares.push(goertzel(block, hz) / (energy * window as f64 / 2.0));
        }
    }
    let heard = shares.len() as f64 / 10.0;
    (shares.iter().sum::<f64>() / shares.len().max(1) as f64, heard)
}

/// The squared amplitude at one frequency, scaled so that a pure sine gives energy × length / 2.
fn goertzel(block: &[f64], hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / f64::from(RATE);
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in block.iter().enumerate() {
        re += sample * (step * n as f64).cos();
        im += sample * (step * n as f64).sin();
    }
    re * re + im * im
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_and_another_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tone.wav");
        write(&path, 440.0, 2);
        let (share_440, heard) = share(&path, 440.0);
        assert!(share_440 > 0.99 && (heard - 2.0).abs() < 0.2, "{share_440} {heard}");
        assert!(share(&path, 1_000.0).0 < 0.01);
    }
}
