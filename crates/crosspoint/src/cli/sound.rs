//! How a call that is up sounds, as a person reads it.

use super::table;
use serde_json::{Map, Value};
use words::diagnosis::Language;

/// The language of whoever sits before the terminal, as POSIX says it: the first of these that is set.
pub(crate) fn language() -> Language {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    language_of(["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set).as_deref())
}

fn language_of(locale: Option<&str>) -> Language {
    if locale.is_some_and(|locale| locale.starts_with("ru")) { Language::Ru } else { Language::En }
}

/// Takes what is known of the sound of each leg out of a call, to be printed below it.
pub(crate) fn take(call: &mut Value, language: Language) -> Option<String> {
    let legs = call.get_mut("legs")?.as_array_mut()?;
    let mut rows = Vec::new();
    for leg in legs.iter_mut().filter_map(Value::as_object_mut) {
        let Some(sound) = leg.shift_remove("sound") else { continue };
        let number = leg.get("n").cloned().unwrap_or_default();
        for from in [true, false] {
            let stream = &sound[if from { "from" } else { "to" }];
            if stream.is_object() {
                let round_trip = if from { &Value::Null } else { &sound["round_trip_ms"] };
                rows.push(row(&number, from, stream, round_trip, language));
            }
        }
    }
    if rows.is_empty() {
        return None;
    }
    let heading = if language == Language::Ru { "звук" } else { "sound" };
    Some(format!("{heading}:\n{}", table::indent(&table::table(&rows))))
}

fn row(number: &Value, from: bool, stream: &Value, round_trip: &Value, language: Language) -> Value {
    let names = if language == Language::Ru { &RU } else { &EN };
    let (lost, packets) = (&stream["lost"], &stream["packets"]);
    let now = stream["loss_percent"].as_f64().unwrap_or(0.0);
    let cells = [
        number.clone(),
        names.ways[usize::from(!from)].into(),
        time_of_day(stream["at"].as_i64().unwrap_or(0)).into(),
        stream["mos"].clone(),
        stream["mos_mean"].clone(),
        stream["mos_min"].clone(),
        format!("{now} %").into(),
        names.lost.replacen("{}", &lost.to_string(), 1).replacen("{}", &packets.to_string(), 1).into(),
        stream["jitter_ms"].clone(),
        round_trip.clone(),
    ];
    Value::Object(names.columns.iter().map(|name| (*name).to_owned()).zip(cells).collect::<Map<_, _>>())
}

/// `12:30:05 UTC`, of milliseconds since 1970.
fn time_of_day(wall_ms: i64) -> String {
    let seconds = wall_ms.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

struct Names {
    columns: [&'static str; 10],
    ways: [&'static str; 2],
    lost: &'static str,
}

const EN: Names = Names {
    columns: ["leg", "way", "at", "mos", "mean", "worst", "loss", "lost", "jitter ms", "round trip ms"],
    ways: ["from it", "to it"],
    lost: "{} of {}",
};
const RU: Names = Names {
    columns: [
        "плечо",
        "куда",
        "когда",
        "mos",
        "среднее",
        "худшее",
        "потери",
        "потеряно",
        "джиттер мс",
        "туда и обратно мс",
    ],
    ways: ["от него", "к нему"],
    lost: "{} из {}",
};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call() -> Value {
        let from = json!({
            "at": 45_005_999, "mos": 3.38, "mos_mean": 4.1, "mos_min": 3.38, "loss_percent": 10.16, "packets": 500,
            "lost": 25, "jitter_ms": 2.5,
        });
        let to = json!({
            "at": 45_004_000, "mos": 4.4, "mos_mean": 4.4, "mos_min": 4.2, "loss_percent": 0.0, "packets": 480,
            "lost": 0, "jitter_ms": 0.125,
        });
        json!({"state": "answered", "legs": [
            {"n": 0, "sound": {"from": from, "to": to, "round_trip_ms": 60.5}},
            {"n": 1, "sound": null},
        ]})
    }

    #[test]
    fn each_direction_has_a_line_and_the_call_is_shown_without_it() {
        let mut shown = call();
        let text = take(&mut shown, Language::En).unwrap();
        assert_eq!(shown, json!({"state": "answered", "legs": [{"n": 0}, {"n": 1}]}));
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(words[0], ["sound:"]);
        assert_eq!(
            words[1],
            ["LEG", "WAY", "AT", "MOS", "MEAN", "WORST", "LOSS", "LOST", "JITTER MS", "ROUND TRIP MS"]
        );
        let from = ["0", "from it", "12:30:05 UTC", "3.38", "4.1", "3.38", "10.16 %", "25 of 500", "2.5", "-"];
        assert_eq!(words[2], from);
        let to = ["0", "to it", "12:30:04 UTC", "4.4", "4.4", "4.2", "0 %", "0 of 480", "0.125", "60.5"];
        assert_eq!(words[3], to);
    }

    #[test]
    fn russian_says_the_same_and_silence_nothing() {
        let text = take(&mut call(), Language::Ru).unwrap();
        assert!(text.starts_with("звук:\n") && text.contains("25 из 500") && text.contains("к нему"), "{text}");
        assert!(text.contains("ДЖИТТЕР МС") && text.lines().count() == 4, "{text}");
        // As wide in letters as the other lines, whatever letters take in bytes.
        let column = |line: &str, of: &str| line.find(of).map(|at| line[..at].chars().count());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(column(lines[1], "MOS"), column(lines[2], "3.38"));
        let mut silent = json!({"legs": [{"n": 0, "sound": null}]});
        assert_eq!(take(&mut silent, Language::Ru), None);
        assert_eq!((take(&mut json!({"cdr": {}}), Language::En), take(&mut json!("none"), Language::En)), (None, None));
    }

    #[test]
    fn the_language_is_that_of_the_terminal() {
        assert_eq!([Some("ru_RU.UTF-8"), Some("C"), None].map(language_of), [Language::Ru, Language::En, Language::En]);
    }
}
