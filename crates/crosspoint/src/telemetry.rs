//! Logs: lines for a person on a terminal, JSON for a collector. Nobody's number or name is in them at info level.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Begins to log to standard error. `RUST_LOG` chooses what.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if std::io::stderr().is_terminal() {
        builder.compact().init();
    } else {
        builder.json().init();
    }
}
