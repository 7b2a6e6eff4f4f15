//! G.711: 16-bit samples to and from 8-bit codes, by tables that the compiler fills.

/// One of the two laws of ITU-T G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// µ-law: PCMU.
    Mu,
    /// A-law: PCMA.
    A,
}

impl Law {
    /// The law of a static RTP payload type (RFC 3551 §6): 0 or 8.
    pub const fn of_payload_type(payload_type: u8) -> Option<Law> {
        match payload_type {
            0 => Some(Law::Mu),
            8 => Some(Law::A),
            _ => None,
        }
    }

    /// The code of a sample.
    pub const fn encode(self, sample: i16) -> u8 {
        // One's complement: the codes of -1 and 0 differ in their sign only.
        let magnitude = (sample ^ (sample >> 15)) as usize;
        let code = match self {
            Law::Mu => MU_CODES[magnitude >> 2],
            Law::A => A_CODES[magnitude >> 4],
        };
        if sample < 0 { code ^ 0x80 } else { code }
    }

    /// The sample in the middle of a code's interval.
    pub const fn decode(self, code: u8) -> i16 {
        match self {
            Law::Mu => MU_SAMPLES[code as usize],
            Law::A => A_SAMPLES[code as usize],
        }
    }

    /// Encodes as many samples as both slices have.
    pub fn encode_all(self, samples: &[i16], codes: &mut [u8]) {
        for (code, sample) in codes.iter_mut().zip(samples) {
            *code = self.encode(*sample);
        }
    }

    /// Decodes as many codes as both slices have.
    pub fn decode_all(self, codes: &[u8], samples: &mut [i16]) {
        for (sample, code) in samples.iter_mut().zip(codes) {
            *sample = self.decode(*code);
        }
    }

    /// The code of silence.
    pub const fn silence(self) -> u8 {
        self.encode(0)
    }

    /// The peak of a sine at the highest level that the law can carry. Units: 16-bit samples.
    pub(crate) const fn peak(self) -> f64 {
        match self {
            Law::Mu => 8_159.0 * 4.0,
            Law::A => 4_096.0 * 8.0,
        }
    }

    /// The level of that sine (ITU-T G.711 §5). Units: dBm0.
    pub(crate) const fn peak_dbm0(self) -> f64 {
        match self {
            Law::Mu => 317.0 / 100.0,
            Law::A => 314.0 / 100.0,
        }
    }
}

/// The codes of samples that are not negative, by the 13 bits of magnitude that µ-law looks at.
const MU_CODES: [u8; 8_192] = {
    let mut codes = [0; 8_192];
    let mut n = 0;
    while n < codes.len() {
        codes[n] = mu_code(n as u32);
        n += 1;
    }
    codes
};

/// The codes of samples that are not negative, by the 11 bits of magnitude that A-law looks at.
const A_CODES: [u8; 2_048] = {
    let mut codes = [0; 2_048];
    let mut n = 0;
    while n < codes.len() {
        codes[n] = a_code(n as u32);
        n += 1;
    }
    codes
};

const MU_SAMPLES: [i16; 256] = {
    let mut samples = [0; 256];
    let mut n = 0;
    while n < samples.len() {
        samples[n] = mu_sample(n as u8);
        n += 1;
    }
    samples
};

const A_SAMPLES: [i16; 256] = {
    let mut samples = [0; 256];
    let mut n = 0;
    while n < samples.len() {
        samples[n] = a_sample(n as u8);
        n += 1;
    }
    samples
};

/// ITU-T G.711 table 2a. The bias of 33 makes each of the eight segments begin at a power of two.
const fn mu_code(magnitude: u32) -> u8 {
    let biased = if magnitude + 33 > 8_191 { 8_191 } else { magnitude + 33 };
    let segment = biased.ilog2() - 5;
    let step = (biased >> (segment + 1)) & 15;
    !((segment << 4 | step) as u8) & 0x7f | 0x80
}

/// ITU-T G.711 table 1a. Every second bit is inverted on the line.
const fn a_code(magnitude: u32) -> u8 {
    let code = if magnitude < 32 {
        magnitude
    } else {
        let segment = magnitude.ilog2() - 3;
        let step = (magnitude >> (segment - 1)) & 15;
        segment << 4 | step
    };
    (code as u8 | 0x80) ^ 0x55
}

const fn mu_sample(code: u8) -> i16 {
    let bits = !code;
    let step = (bits & 15) as i16;
    let segment = (bits >> 4) & 7;
    let magnitude = (((step << 3) + 132) << segment) - 132;
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

const fn a_sample(code: u8) -> i16 {
    let bits = code ^ 0x55;
    let step = (bits & 15) as i16;
    let segment = (bits >> 4) & 7;
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 264) << (segment - 1) };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of ITU-T G.191 `ulaw_compress`, in its own words.
    fn mu_reference(sample: i16) -> u8 {
        let mut absno = if sample < 0 { (i32::from(!sample) >> 2) + 33 } else { (i32::from(sample) >> 2) + 33 };
        absno = absno.min(0x1fff);
        let mut i = absno >> 6;
        let mut segno = 1;
        while i != 0 {
            segno += 1;
            i >>= 1;
        }
        let high_nibble = 8 - segno;
        let low_nibble = 0xf - ((absno >> segno) & 0xf);
        let code = (high_nibble << 4 | low_nibble) as u8;
        if sample >= 0 { code | 0x80 } else { code }
    }

    /// The steps of ITU-T G.191 `alaw_compress`.
    fn a_reference(sample: i16) -> u8 {
        let mut ix = if sample < 0 { i32::from(!sample) >> 4 } else { i32::from(sample) >> 4 };
        if ix > 15 {
            let mut iexp = 1;
            while ix > 16 + 15 {
                ix >>= 1;
                iexp += 1;
            }
            ix -= 16;
            ix += iexp << 4;
        }
        if sample >= 0 {
            ix |= 0x80;
        }
        (ix ^ 0x55) as u8
    }

    /// ITU-T G.711 tables 1 and 2: each segment's start and step, in 16-bit samples.
    fn sample_reference(law: Law, code: u8) -> i32 {
        let (bits, is_negative) = match law {
            Law::Mu => (!code, code & 0x80 == 0),
            Law::A => (code ^ 0x55, code & 0x80 == 0),
        };
        let (segment, step) = (u32::from(bits >> 4 & 7), f64::from(bits & 15));
        let magnitude = match law {
            Law::Mu => (2f64.powi(segment as i32) * (step + 16.5) - 16.5) * 8.0,
            Law::A if segment == 0 => (step + 0.5) * 16.0,
            Law::A => 2f64.powi(segment as i32 - 1) * (step + 16.5) * 16.0,
        };
        (if is_negative { -magnitude } else { magnitude }) as i32
    }

    #[test]
    fn every_sample_gets_the_code_of_the_reference() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(Law::Mu.encode(sample), mu_reference(sample), "{sample}");
            assert_eq!(Law::A.encode(sample), a_reference(sample), "{sample}");
        }
    }

    #[test]
    fn every_code_gets_the_sample_of_the_formula_and_comes_back() {
        for code in 0..=255 {
            for law in [Law::Mu, Law::A] {
                assert_eq!(i32::from(law.decode(code)), sample_reference(law, code), "{law:?} {code}");
                // µ-law has two zeros: the negative one is heard as the positive.
                let expected = if (law, code) == (Law::Mu, 0x7f) { 0xff } else { code };
                assert_eq!(law.encode(law.decode(code)), expected, "{law:?} {code}");
            }
        }
    }

    #[test]
    fn silence_is_what_phones_send_as_silence() {
        assert_eq!((Law::Mu.silence(), Law::A.silence()), (0xff, 0xd5));
    }
}
