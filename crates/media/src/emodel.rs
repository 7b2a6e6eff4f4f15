//! The E-model (ITU-T G.107) for narrowband telephony: how people would judge a talk, reckoned of loss, its bursts and
//! delay. All that is not about the network has its default there.

/// How a codec suffers (ITU-T G.107 §3.5, ITU-T G.113 Appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codec {
    /// What it costs without any loss: `Ie`.
    pub impairment: f64,
    /// How well it stands loss: `Bpl`.
    pub robustness: f64,
}

impl Codec {
    /// G.711 whose receiver conceals what is lost, as phones do (ITU-T G.711 Appendix I).
    pub const G711: Codec = Codec { impairment: 0.0, robustness: 25.1 };
    /// G.723.1 at 6.3 kbit/s.
    pub const G723: Codec = Codec { impairment: 15.0, robustness: 16.1 };
    /// G.729 Annex A with silence suppression.
    pub const G729: Codec = Codec { impairment: 11.0, robustness: 19.0 };
    /// GSM full rate. No robustness is tabled for it: that of the enhanced full rate.
    pub const GSM: Codec = Codec { impairment: 20.0, robustness: 10.0 };

    /// The codec of a payload type (RFC 3551 §6). What is said in descriptions only, and what speaks wideband, is judged
    /// by what the network does to it, as G.711 is.
    pub const fn of(payload_type: u8) -> Codec {
        match payload_type {
            3 => Codec::GSM,
            4 => Codec::G723,
            18 => Codec::G729,
            _ => Codec::G711,
        }
    }
}

/// What the way of a stream does to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// The share of packets that are not heard, from 0 to 1.
    pub loss: f64,
    /// How long runs of lost packets are beside those of loss by chance: 1 for chance, more for bursts.
    pub burst_ratio: f64,
    /// From mouth to ear. Units: milliseconds.
    pub delay_ms: f64,
}

impl Way {
    /// Nothing is lost or late.
    pub const PERFECT: Way = Way { loss: 0.0, burst_ratio: 1.0, delay_ms: 0.0 };
}

/// The transmission rating `R`: 0 to 100; 93.2 for G.711 on a perfect way.
pub fn rating(codec: Codec, way: &Way) -> f64 {
    let rating = NOISE_RATING - SIMULTANEOUS - delay_impairment(way.delay_ms) - effective_impairment(codec, way);
    rating.clamp(0.0, 100.0)
}

/// The mean opinion that people would have, 1 to 4.5 (ITU-T G.107 Annex B).
pub fn opinion(rating: f64) -> f64 {
    if rating <= 0.0 {
        1.0
    } else if rating >= 100.0 {
        4.5
    } else {
        // The curve dips below 1 for the smallest ratings.
        (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0)
    }
}

/// The same in hundredths.
pub fn mos_x100(codec: Codec, way: &Way) -> u16 {
    (opinion(rating(codec, way)) * 100.0).round() as u16
}

/// `Ie,eff` (§3.5).
fn effective_impairment(codec: Codec, way: &Way) -> f64 {
    let Codec { impairment, robustness } = codec;
    let percent = way.loss.clamp(0.0, 1.0) * 100.0;
    impairment + (95.0 - impairment) * percent / (percent / way.burst_ratio.max(1.0) + robustness)
}

/// `Id` (§3.4): echo to the talker, echo to the listener, and delay itself; the round trip is twice the way.
fn delay_impairment(delay_ms: f64) -> f64 {
    let delay = delay_ms.clamp(0.0, DELAY_MAX_MS);
    talker_echo(delay) + listener_echo(2.0 * delay) + lateness(delay)
}

fn talker_echo(delay: f64) -> f64 {
    if delay < 1.0 {
        return 0.0;
    }
    let loudness =
        TELR - 40.0 * ((1.0 + delay / 10.0) / (1.0 + delay / 150.0)).log10() + 6.0 * (-0.3 * delay * delay).exp();
    let of_echo = 80.0 + 2.5 * (loudness - 14.0);
    let half = (NOISE_RATING - of_echo) / 2.0;
    (half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-delay).exp())
}

fn listener_echo(round_trip: f64) -> f64 {
    let of_echo = 10.5 * (WEPL + 7.0) * (round_trip + 1.0).powf(-0.25);
    let half = (NOISE_RATING - of_echo) / 2.0;
    half + (half * half + 169.0).sqrt()
}

fn lateness(delay: f64) -> f64 {
    if delay <= 100.0 {
        return 0.0;
    }
    let x = (delay / 100.0).log2();
    let sixth = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
    25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0)
}

/// `Ro` where all else has its default.
const NOISE_RATING: f64 = 94.768_8;
/// `Is` there.
const SIMULTANEOUS: f64 = 1.413_6;
/// How much weaker an echo is for who talks. Units: dB.
const TELR: f64 = 65.0;
/// How much weaker it is for who listens. Units: dB.
const WEPL: f64 = 110.0;
/// Later than this makes no difference.
const DELAY_MAX_MS: f64 = 5_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn lossy(loss: f64) -> Way {
        Way { loss, ..Way::PERFECT }
    }

    #[test]
    fn the_defaults_give_what_the_recommendation_says() {
        let best = rating(Codec::G711, &Way::PERFECT);
        assert!((best - 93.2).abs() < 0.05, "{best}");
        // R = 93.2: 1 + 0.035 * 93.2 + 93.2 * 33.2 * 6.8 * 7e-6 = 1 + 3.2620 + 0.1473 = 4.409.
        assert_eq!(mos_x100(Codec::G711, &Way::PERFECT), 441);
        assert!((opinion(93.2) - 4.41).abs() < 0.005 && (opinion(50.0) - 2.58).abs() < 0.01);
        assert!((opinion(80.0) - 4.02).abs() < 0.01 && (opinion(70.0) - 3.60).abs() < 0.01);
        assert_eq!((opinion(-3.0), opinion(0.5), opinion(100.0)), (1.0, 1.0, 4.5));
    }

    #[test]
    fn codecs_cost_what_is_tabled_for_them() {
        for (codec, costs) in [(Codec::G729, 11.0), (Codec::G723, 15.0), (Codec::GSM, 20.0)] {
            let less = rating(Codec::G711, &Way::PERFECT) - rating(codec, &Way::PERFECT);
            assert!((less - costs).abs() < 1e-9, "{codec:?}");
        }
        assert_eq!((Codec::of(18), Codec::of(0), Codec::of(111)), (Codec::G729, Codec::G711, Codec::G711));
    }

    #[test]
    fn loss_costs_by_chance_and_more_in_bursts() {
        // G.113: 2 % of G.711 with concealment, 95 * 2 / (2 + 25.1); G.729A 11 + 84 * 2 / (2 + 19).
        assert!((effective_impairment(Codec::G711, &lossy(0.02)) - 7.011).abs() < 0.001);
        assert!((effective_impairment(Codec::G729, &lossy(0.02)) - 19.0).abs() < 0.001);
        // BurstR = 2: 95 * 2 / (2 / 2 + 25.1).
        let bursts = Way { burst_ratio: 2.0, ..lossy(0.02) };
        assert!((effective_impairment(Codec::G711, &bursts) - 7.280).abs() < 0.001);
        assert!(mos_x100(Codec::G711, &bursts) < mos_x100(Codec::G711, &lossy(0.02)));
        assert!(mos_x100(Codec::G711, &lossy(1.0)) < 150);
    }

    #[test]
    fn delay_costs_as_people_feel_it() {
        let cost = |delay_ms| delay_impairment(delay_ms) - delay_impairment(0.0);
        // The usual straight lines, 0.024 d + 0.11 (d - 177.3), come within two of it.
        for delay in [0.0, 50.0, 100.0, 150.0, 200.0, 300.0, 400.0] {
            let straight = 0.024 * delay + 0.11 * f64::max(delay - 177.3, 0.0);
            assert!((cost(delay) - straight).abs() < 2.0 + delay / 100.0, "{delay}: {} {straight}", cost(delay));
        }
        // Delay itself (3-27), T = 200 ms: X = lg(2) / lg(2) = 1, Idd = 25 (2^(1/6) - 3 (1 + 3^-6)^(1/6) + 2).
        // 2^(1/6) = 1.122462, (1.00137174)^(1/6) = 1.000228: 25 * 0.121776 = 3.0444.
        assert!((lateness(200.0) - 3.0444).abs() < 0.001 && lateness(100.0) == 0.0);
        let steps: Vec<f64> = (0..50).map(|n| cost(f64::from(n) * 20.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9));
        assert!(cost(1e12).is_finite());
    }
}
