//! Asks the running server over its local socket and prints what it says.

use super::{sound, table};
use api::{Answer, Ask};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Asks, prints, and tells by the exit code: 0 done, 1 refused, 2 nobody there.
pub(crate) fn ask_and_print(data: &Path, ask: &Ask, json: bool) -> ExitCode {
    let socket = data.join(api::SOCKET);
    let mut stream = match UnixStream::connect(&socket) {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!(
                "crosspoint: no running server answers at {}: {error}. Start it, or name its folder with --data.",
                socket.display()
            );
            return ExitCode::from(2);
        }
    };
    let mut line = serde_json::to_string(ask).expect("a question is plain data");
    line.push('\n');
    if let Err(error) = stream.write_all(line.as_bytes()) {
        eprintln!("crosspoint: the server went away: {error}");
        return ExitCode::from(2);
    }
    let endless = matches!(ask, Ask::Trace { .. });
    let mut code = ExitCode::from(2);
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        code = print(&line, json);
        if !endless {
            break;
        }
    }
    code
}

/// What a server says that runs on this folder; `None` when none does, or it does not answer.
pub(crate) fn ask_if_running(data: &Path, ask: &Ask) -> Option<serde_json::Value> {
    let mut stream = UnixStream::connect(data.join(api::SOCKET)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("{}\n", serde_json::to_string(ask).ok()?).as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    match serde_json::from_str(&line) {
        Ok(Answer::Ok(value)) => Some(value),
        Ok(Answer::Error(_)) | Err(_) => None,
    }
}

/// As people read it.
fn shown(mut value: serde_json::Value) -> String {
    match sound::take(&mut value, sound::language()) {
        Some(sound) => format!("{}\n{sound}", table::render(&value)),
        None => table::render(&value),
    }
}

fn print(line: &str, json: bool) -> ExitCode {
    match serde_json::from_str(line) {
        Ok(Answer::Ok(value)) => {
            let text = if json { value.to_string() } else { shown(value) };
            // A reader that closed the pipe has seen enough.
            let _ = writeln!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Ok(Answer::Error(error)) => {
            eprintln!("crosspoint: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("crosspoint: the server's answer cannot be read: {error}");
            ExitCode::from(2)
        }
    }
}

/// How long a running server may take to answer who only wants to know how it is.
const PATIENCE: Duration = Duration::from_secs(5);
