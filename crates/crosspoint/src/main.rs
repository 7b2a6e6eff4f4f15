//! The program: reads the command line, then runs the exchange or asks the one that runs.

mod cli;
mod config;
mod directory;
mod doctor;
mod edge;
mod host;
mod peers;
mod profile;
mod run;
mod setup;
mod telemetry;

use clap::Parser;
use cli::{Cli, Verb};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { verb, data, json } = Cli::parse();
    let named = data.clone();
    let data = data.unwrap_or_else(|| PathBuf::from("data"));
    match verb {
        Verb::Run(args) => run::run(&args, named.as_deref()),
        Verb::Check { config } => check(&config),
        Verb::Doctor { config } => doctor::run(config.as_deref(), &data, json),
        Verb::Status => ask(&data, &api::Ask::Status, json),
        Verb::Account(verb) => ask(&data, &verb.ask(), json),
        Verb::User(verb) => match verb.ask() {
            Ok(question) => ask(&data, &question, json),
            Err(error) => fail(&format!("the password cannot be read: {error}")),
        },
        Verb::Peer(verb) => ask(&data, &verb.ask(), json),
        Verb::Route(verb) => ask(&data, &verb.ask(), json),
        Verb::Phones { verb, account } => {
            ask(&data, &verb.map_or(api::Ask::Phones { account }, cli::PhonesVerb::ask), json)
        }
        Verb::Calls { account } => ask(&data, &api::Ask::Calls { account }, json),
        Verb::Call { call, what: None } => ask(&data, &api::Ask::Call { call }, json),
        Verb::Call { call, what: Some(cli::CallVerb::Hangup) } => ask(&data, &api::Ask::HangUp { call }, json),
        Verb::Cdr { account, limit } => ask(&data, &api::Ask::Cdr { account, limit }, json),
        Verb::Trace { filter } => ask(&data, &api::Ask::Trace { filter }, json),
        Verb::Drain { off } => ask(&data, &api::Ask::Drain { on: !off }, json),
    }
}

fn ask(data: &Path, question: &api::Ask, json: bool) -> ExitCode {
    cli::ask_and_print(data, question, json)
}

fn check(path: &Path) -> ExitCode {
    match config::Config::load(path) {
        Ok(_) => {
            println!("{} is good", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// One sentence and exit code 2: what the operator has to change before anything can work.
pub(crate) fn fail(what: &str) -> ExitCode {
    eprintln!("crosspoint: {what}");
    ExitCode::from(2)
}
