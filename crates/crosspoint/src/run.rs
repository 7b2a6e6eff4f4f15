//! `crosspoint run`: everything is opened in order, then the loop runs until it is told to stop.

mod banner;
mod bell;
mod facts;
mod interface;
mod load;
mod names;
mod promises;
mod start;
mod turn;

use crate::cli::RunArgs;
use crate::setup::Setup;
use crate::{fail, telemetry};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use words::diagnosis::Diagnosis;

/// Lets the allocator keep memory that was freed for ten seconds, where it gives it back to the system after one: under
/// load the next call needs it again, and a fresh page costs a fault (145 against 160 µs per call at 1,000 calls/s, for
/// 0.3 KB more per held call). The allocator reads its environment before `main`, so the program starts itself once more
/// with it, as the same process; an operator's own setting stays.
fn set_up_allocator() {
    if std::env::var_os(KEPT).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = Command::new(program);
    if let Some(name) = std::env::args_os().next() {
        again.arg0(name);
    }
    // It comes back only when it failed; then the program runs with what it has.
    let _ = again.args(std::env::args_os().skip(1)).env(KEPT, "10000").exec();
}

/// The allocator's setting. Units: milliseconds.
const KEPT: &str = "MIMALLOC_PURGE_DELAY";

/// Runs the exchange. Exit code 2 and one sentence when it cannot start.
pub(crate) fn run(args: &RunArgs, data: Option<&Path>) -> ExitCode {
    set_up_allocator();
    let setup = match Setup::new(args, data) {
        Ok(setup) => setup,
        Err(error) => return fail(&error.to_string()),
    };
    telemetry::start();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the runtime does not start: {error}")),
    };
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, async {
        match start::start(setup) {
            Ok(running) => Box::pin(running.until_stopped()).await,
            Err(error) => Err(error),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError { what, diagnosis: Some(diagnosis) }) => {
            let text = diagnosis.text(words::diagnosis::Language::En);
            fail(&format!("{what}: {} [{}]", as_clause(text.todo), diagnosis.id()))
        }
        Err(StartError { what, diagnosis: None }) => fail(&what),
    }
}

/// A sentence as the end of another one.
fn as_clause(sentence: &str) -> String {
    let mut letters = sentence.strip_suffix('.').unwrap_or(sentence).chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

/// Why the exchange does not start, in one sentence.
#[derive(Debug)]
pub(crate) struct StartError {
    pub(crate) what: String,
    pub(crate) diagnosis: Option<Diagnosis>,
}

impl StartError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        StartError { what: what.into(), diagnosis: None }
    }
}

impl From<net::BindError> for StartError {
    fn from(error: net::BindError) -> Self {
        StartError { diagnosis: error.diagnosis(), what: error.to_string() }
    }
}

impl From<controller::AdminError> for StartError {
    fn from(error: controller::AdminError) -> Self {
        StartError::new(error.to_string())
    }
}

impl From<controller::StoreError> for StartError {
    fn from(error: controller::StoreError) -> Self {
        StartError::new(error.to_string())
    }
}
