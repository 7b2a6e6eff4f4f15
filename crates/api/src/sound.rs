//! How the calls that are up sound, as people and programs are told.

use crate::exchange::Exchange;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use switch::view::CallView;
use words::{CallId, LegId, LiveFigures, LiveStream, Wall};

/// How bad the worst direction of the worst leg of each call sounds. Units: MOS.
pub(crate) async fn worst(exchange: &Exchange, calls: &[CallView]) -> BTreeMap<CallId, f64> {
    let found = exchange.figures_of(calls.iter().flat_map(legs).collect()).await;
    let mut worst = BTreeMap::new();
    for (leg, figures) in found {
        if let Some(mos) = figures.mos_x100() {
            let mos = f64::from(mos) / 100.0;
            worst.entry(leg.call).and_modify(|known: &mut f64| *known = known.min(mos)).or_insert(mos);
        }
    }
    worst
}

/// A call that is up, with what is known of the audio of each leg.
pub(crate) async fn with_figures(exchange: &Exchange, call: &CallView) -> Value {
    let found = exchange.figures_of(legs(call).collect()).await;
    let now = (exchange.wall)();
    let mut shown = serde_json::to_value(call).unwrap_or_default();
    if let Some(legs) = shown.get_mut("legs").and_then(Value::as_array_mut) {
        for (leg, fields) in call.legs.iter().zip(legs) {
            fields["sound"] =
                found.get(&LegId { call: call.call, n: leg.n }).map_or(Value::Null, |of| leg_shown(of, now));
        }
    }
    shown
}

fn legs(call: &CallView) -> impl Iterator<Item = LegId> + use<'_> {
    call.legs.iter().map(|leg| LegId { call: call.call, n: leg.n })
}

fn leg_shown(figures: &LiveFigures, now: Wall) -> Value {
    let stream = |stream: Option<LiveStream>| stream.map(|stream| stream_shown(&stream, now));
    json!({
        "from": stream(figures.from), "to": stream(figures.to),
        "round_trip_ms": figures.round_trip_us.map(|us| f64::from(us) / 1_000.0),
    })
}

fn stream_shown(stream: &LiveStream, now: Wall) -> Value {
    let LiveStream { age, whole, mos_x100, loss_x10000 } = stream;
    let mos = |x100: u16| (x100 != 0).then(|| f64::from(x100) / 100.0);
    json!({
        "at": now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        "mos": mos(*mos_x100), "mos_mean": mos(whole.mos_x100), "mos_min": mos(whole.mos_min_x100),
        "loss_percent": f64::from(*loss_x10000) / 100.0, "packets": whole.packets, "lost": whole.lost,
        "jitter_ms": f64::from(whole.jitter_us) / 1_000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use words::StreamFigures;

    #[test]
    fn figures_are_told_in_the_units_of_people_with_their_time() {
        let whole = StreamFigures { packets: 500, lost: 25, jitter_us: 2_500, mos_x100: 0, mos_min_x100: 338 };
        let from = LiveStream { age: Duration::from_secs(3), whole, mos_x100: 338, loss_x10000: 1_016 };
        let figures = LiveFigures { from: Some(from), to: None, round_trip_us: Some(60_500) };
        let expected = json!({
            "from": {
                "at": 7_000, "mos": 3.38, "mos_mean": null, "mos_min": 3.38, "loss_percent": 10.16, "packets": 500,
                "lost": 25, "jitter_ms": 2.5,
            },
            "to": null, "round_trip_ms": 60.5,
        });
        assert_eq!(leg_shown(&figures, Wall(10_000)), expected);
    }
}
