//! `GET /metrics` for Prometheus and `GET /readyz` for whoever starts and watches the program.

use crate::exchange::Exchange;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use switch::{Command, Reply};
use tokio::net::TcpListener;

/// A number that the shell alone knows. What only rises says so by its name, which ends with `_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// What tells it from others of its name, which stand beside it.
    pub label: Option<(&'static str, &'static str)>,
    /// The number.
    pub value: u64,
}

impl Number {
    /// The only one of its name.
    pub const fn new(name: &'static str, help: &'static str, value: u64) -> Self {
        Number { name, help, label: None, value }
    }

    /// One of several of its name.
    #[must_use]
    pub const fn of(self, label: &'static str, value: &'static str) -> Self {
        Number { label: Some((label, value)), ..self }
    }

    /// As OpenMetrics writes it, under a heading where it is the `first` of its name.
    fn print(&self, first: bool, text: &mut String) {
        let Number { name, help, label, value } = self;
        // A counter's family has the name without what says that it is one.
        let (family, kind) = name.strip_suffix("_total").map_or((*name, "gauge"), |family| (family, "counter"));
        if first {
            let _ = write!(text, "# HELP crosspoint_{family} {help}.\n# TYPE crosspoint_{family} {kind}\n");
        }
        let label = label.map_or_else(String::new, |(name, value)| format!("{{{name}=\"{value}\"}}"));
        let _ = writeln!(text, "crosspoint_{name}{label} {value}");
    }
}

/// Numbers that the shell alone knows, those of one name beside each other.
pub type Gauges = Arc<dyn Fn() -> Vec<Number> + Send + Sync>;

/// A histogram that the shell alone knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// The upper bounds of its buckets, rising.
    pub bounds: Vec<f64>,
    /// What fell into each bucket alone, and past the last one.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: f64,
}

impl Histogram {
    /// As OpenMetrics writes it: each bucket holds those before it.
    fn print(&self, text: &mut String) {
        let Histogram { name, help, bounds, counts, sum } = self;
        let _ = write!(text, "# HELP crosspoint_{name} {help}.\n# TYPE crosspoint_{name} histogram\n");
        let mut count = 0;
        let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, here) in bounds.zip(counts) {
            count += here;
            let _ = writeln!(text, "crosspoint_{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let _ = write!(text, "crosspoint_{name}_sum {sum}\ncrosspoint_{name}_count {count}\n");
    }
}

/// Histograms that the shell alone knows.
pub type Histograms = Arc<dyn Fn() -> Vec<Histogram> + Send + Sync>;

/// Where numbers of the shell come from.
#[derive(Clone)]
pub struct Numbers {
    /// Single ones.
    pub gauges: Gauges,
    /// Histograms.
    pub histograms: Histograms,
}

/// Serves until the future is dropped.
///
/// # Errors
/// The listener fails.
pub async fn serve_http(listener: TcpListener, exchange: Exchange, numbers: Numbers) -> io::Result<()> {
    let router = axum::Router::new()
        .route("/metrics", get(metrics))
        .route("/readyz", get(ready))
        .with_state((exchange, numbers));
    axum::serve(listener, router).await
}

async fn metrics(State((exchange, numbers)): State<(Exchange, Numbers)>) -> impl IntoResponse {
    let Ok(Reply::Status(status)) = exchange.command(Command::Status).await else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::CONTENT_TYPE, TEXT)],
            String::from("the exchange is busy\n"),
        );
    };
    let mut registry = Registry::with_prefix("crosspoint");
    let now = [
        ("calls_active", "Calls that are up", status.calls),
        ("sip_transactions_active", "Live SIP transactions", status.transactions),
        ("registrations_active", "Contacts that are bound", status.registrations),
        ("store_waiting", "Answers that wait for the store", status.held),
        ("store_failing", "1 while the store takes no facts", usize::from(status.store_failing)),
    ];
    for (name, help, value) in now {
        // What only rises says so by its name, which the encoder gives it itself.
        match name.strip_suffix("_total") {
            Some(name) => registry.register(name, help, ConstCounter::new(value)),
            None => registry.register(name, help, ConstGauge::new(value as i64)),
        }
    }
    for (name, value) in status.counters {
        registry.register(name, name.replace('_', " "), ConstCounter::new(value));
    }
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            // The end is said once, after everything.
            text.truncate(text.len() - text.strip_suffix(END).map_or(0, |_| END.len()));
            let mut before = None;
            for number in &(numbers.gauges)() {
                number.print(before.replace(number.name) != Some(number.name), &mut text);
            }
            for histogram in &(numbers.histograms)() {
                histogram.print(&mut text);
            }
            text.push_str(END);
            (StatusCode::OK, [(header::CONTENT_TYPE, TEXT)], text)
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, TEXT)], error.to_string()),
    }
}

/// 200 when calls are taken: the loop answers, the store takes facts, nobody told it to drain.
async fn ready(State((exchange, _)): State<(Exchange, Numbers)>) -> (StatusCode, &'static str) {
    match exchange.command(Command::Status).await {
        Ok(Reply::Status(status)) if status.store_failing => (StatusCode::SERVICE_UNAVAILABLE, "the store fails\n"),
        Ok(Reply::Status(status)) if status.draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Ok(Reply::Status(_)) => (StatusCode::OK, "ready\n"),
        Ok(_) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the exchange is busy\n"),
    }
}

/// How OpenMetrics ends.
const END: &str = "# EOF\n";
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_rises_is_a_counter_and_those_of_one_name_share_a_heading() {
        let all = [
            Number::new("rtp_packets_total", "Packets", 3).of("dir", "in"),
            Number::new("rtp_packets_total", "Packets", 2).of("dir", "out"),
            Number::new("connections_active", "Connections", 1),
        ];
        let mut text = String::new();
        all.iter().zip([true, false, true]).for_each(|(number, first)| number.print(first, &mut text));
        let expected = "# HELP crosspoint_rtp_packets Packets.\n# TYPE crosspoint_rtp_packets counter\n\
            crosspoint_rtp_packets_total{dir=\"in\"} 3\ncrosspoint_rtp_packets_total{dir=\"out\"} 2\n\
            # HELP crosspoint_connections_active Connections.\n# TYPE crosspoint_connections_active gauge\n\
            crosspoint_connections_active 1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_is_printed_with_buckets_that_hold_those_before() {
        let mut text = String::new();
        let (bounds, counts) = (vec![2.6, 4.0], vec![1, 0, 5]);
        Histogram { name: "mos", help: "Opinions", bounds, counts, sum: 25.5 }.print(&mut text);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                r#"crosspoint_mos_bucket{le="2.6"} 1"#,
                r#"crosspoint_mos_bucket{le="4"} 1"#,
                r#"crosspoint_mos_bucket{le="+Inf"} 6"#,
                "crosspoint_mos_sum 25.5",
                "crosspoint_mos_count 6",
            ]
        );
    }
}
