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
use std::io;
use std::sync::Arc;
use switch::{Command, Reply};
use tokio::net::TcpListener;

/// Numbers that the shell alone knows, by the names that metrics have without their prefix.
pub type Gauges = Arc<dyn Fn() -> Vec<(&'static str, &'static str, u64)> + Send + Sync>;

/// Serves until the future is dropped.
///
/// # Errors
/// The listener fails.
pub async fn serve_http(listener: TcpListener, exchange: Exchange, gauges: Gauges) -> io::Result<()> {
    let router =
        axum::Router::new().route("/metrics", get(metrics)).route("/readyz", get(ready)).with_state((exchange, gauges));
    axum::serve(listener, router).await
}

async fn metrics(State((exchange, gauges)): State<(Exchange, Gauges)>) -> impl IntoResponse {
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
        registry.register(name, help, ConstGauge::new(value as i64));
    }
    for (name, value) in status.counters {
        registry.register(name, name.replace('_', " "), ConstCounter::new(value));
    }
    for (name, help, value) in gauges() {
        registry.register(name, help, ConstGauge::new(value as i64));
    }
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, TEXT)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, TEXT)], error.to_string()),
    }
}

/// 200 when calls are taken: the loop answers, the store takes facts, nobody told it to drain.
async fn ready(State((exchange, _)): State<(Exchange, Gauges)>) -> (StatusCode, &'static str) {
    match exchange.command(Command::Status).await {
        Ok(Reply::Status(status)) if status.store_failing => (StatusCode::SERVICE_UNAVAILABLE, "the store fails\n"),
        Ok(Reply::Status(status)) if status.draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Ok(Reply::Status(_)) => (StatusCode::OK, "ready\n"),
        Ok(_) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the exchange is busy\n"),
    }
}

const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
