//! How people and programs reach the running exchange: the local socket of the command line, and `/metrics` and `/readyz`.
//!
//! It refuses to reach into a call: it sends `switch` commands and reads views, and changes rows through `controller`.
//!
//! A question over the local socket is one line of JSON, and so is its answer:
//!
//! ```
//! let ask: api::Ask = serde_json::from_str(r#"{"ask":"calls","account":"office"}"#).unwrap();
//! assert!(matches!(ask, api::Ask::Calls { account: Some(_) }));
//! ```
//!
//! Limits: [`ASK_BYTES`] per question, [`local::CONNECTIONS`] at a time, [`exchange::COMMANDS_WAITING`] commands waiting.

mod admin;
mod ask;
pub mod exchange;
mod http;
mod live;
pub mod local;
mod sound;

pub use ask::{ASK_BYTES, Answer, Ask};
pub use exchange::{Asked, Exchange, Figures};
pub use http::{Gauges, Histogram, Histograms, Number, Numbers, serve_http};
pub use local::{SOCKET, serve_local};
