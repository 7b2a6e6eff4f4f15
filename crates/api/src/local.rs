//! The local socket: a question per line, an answer per line. Only the owner of the data folder can open it.

use crate::ask::{ASK_BYTES, Answer, Ask};
use crate::exchange::{AskError, Exchange};
use crate::{admin, live};
use serde_json::Value;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;

/// The name of the socket in the data folder.
pub const SOCKET: &str = "crosspoint.sock";

/// The most askers at a time; more wait.
pub const CONNECTIONS: usize = 32;

/// Listens in `data` until the future is dropped.
///
/// # Errors
/// The socket cannot be made.
pub async fn serve_local(data: &Path, exchange: Exchange) -> io::Result<()> {
    let path = data.join(SOCKET);
    // A socket file that the last process left behind refuses nobody; the lock of the store told that it is gone.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut askers = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let (stream, _) = listener.accept().await?;
        let exchange = exchange.clone();
        askers.spawn(async move {
            if let Err(error) = converse(stream, &exchange).await {
                tracing::debug!(%error, "an asker went away");
            }
            drop(place);
        });
        while askers.try_join_next().is_some() {}
    }
}

async fn converse(stream: UnixStream, exchange: &Exchange) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    loop {
        line.clear();
        let read = (&mut reader).take(ASK_BYTES as u64 + 1).read_line(&mut line).await?;
        if read == 0 {
            return Ok(());
        }
        let ask = if read > ASK_BYTES {
            Err(format!("a question has at most {ASK_BYTES} bytes"))
        } else {
            serde_json::from_str(&line).map_err(|error| format!("the question cannot be read: {error}"))
        };
        match ask {
            Ok(Ask::Trace { filter }) => return trace(&mut writer, exchange, filter.as_deref()).await,
            Ok(ask) => {
                let answer = answer(exchange, ask).await;
                say(&mut writer, &answer.map_or_else(|error| Answer::Error(error.to_string()), Answer::Ok)).await?;
            }
            Err(error) => say(&mut writer, &Answer::Error(error)).await?,
        }
        if read > ASK_BYTES {
            return Ok(());
        }
    }
}

async fn say(writer: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_string(answer).map_err(io::Error::other)?;
    line.push('\n');
    writer.write_all(line.as_bytes()).await
}

/// Says each message that passes until the asker goes.
async fn trace(writer: &mut (impl AsyncWriteExt + Unpin), exchange: &Exchange, filter: Option<&str>) -> io::Result<()> {
    let mut messages = exchange.trace.subscribe();
    loop {
        match messages.recv().await {
            Ok(message) if filter.is_none_or(|text| message.contains(text)) => {
                say(writer, &Answer::Ok(Value::String(message.as_ref().to_owned()))).await?;
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                say(writer, &Answer::Ok(Value::String(format!("… {lost} messages passed too fast to show")))).await?;
            }
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        }
    }
}

async fn answer(exchange: &Exchange, ask: Ask) -> Result<Value, AskError> {
    match ask {
        Ask::Status
        | Ask::Calls { .. }
        | Ask::Call { .. }
        | Ask::HangUp { .. }
        | Ask::Phones { .. }
        | Ask::Bans
        | Ask::Unban { .. }
        | Ask::CheckSync { .. }
        | Ask::Drain { .. } => live::answer(exchange, ask).await,
        Ask::AccountCreate { .. }
        | Ask::AccountSet { .. }
        | Ask::AccountList
        | Ask::UserAdd { .. }
        | Ask::UserList { .. }
        | Ask::UserReset { .. }
        | Ask::UserEnable { .. }
        | Ask::PeerAdd { .. }
        | Ask::PeerList { .. }
        | Ask::PeerRemove { .. }
        | Ask::RouteAdd { .. }
        | Ask::RouteList { .. }
        | Ask::RouteRemove { .. }
        | Ask::Cdr { .. } => admin::answer(exchange, ask).await,
        Ask::Trace { .. } => Err(AskError::Wrong("a trace has no single answer".into())),
    }
}
