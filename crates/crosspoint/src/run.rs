//! `crosspoint run`: everything is opened in order, then the loop runs until it is told to stop.

mod banner;
mod interface;
mod promises;
mod start;
mod turn;

use crate::cli::RunArgs;
use crate::setup::Setup;
use crate::{fail, telemetry};
use std::path::Path;
use std::process::ExitCode;
use words::diagnosis::Diagnosis;

/// Runs the exchange. Exit code 2 and one sentence when it cannot start.
pub(crate) fn run(args: &RunArgs, data: Option<&Path>) -> ExitCode {
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
            Ok(running) => running.until_stopped().await,
            Err(error) => Err(error),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError { what, diagnosis: Some(diagnosis) }) => {
            let text = diagnosis.text(words::diagnosis::Language::En);
            fail(&format!("{what}. {} [{}]", text.todo, diagnosis.id()))
        }
        Err(StartError { what, diagnosis: None }) => fail(&what),
    }
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

impl From<controller::StoreError> for StartError {
    fn from(error: controller::StoreError) -> Self {
        StartError::new(error.to_string())
    }
}
