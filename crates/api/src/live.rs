//! Questions about what goes on right now, answered by the loop.

use crate::ask::Ask;
use crate::exchange::{AskError, Exchange};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use switch::{Command, Reply};
use words::{AccountId, CallId, EndCause, UserId};

pub(crate) async fn answer(exchange: &Exchange, ask: Ask) -> Result<Value, AskError> {
    let command = match ask {
        Ask::Call { call } => return one_call(exchange, call).await,
        Ask::Status => Command::Status,
        Ask::Calls { account } => Command::Calls { account: named(exchange, account).await? },
        Ask::Phones { account } => Command::Phones { account: named(exchange, account).await? },
        Ask::HangUp { call } => Command::HangUp { call, cause: EndCause::Administrative },
        Ask::Bans => Command::Bans,
        Ask::Unban { source } => Command::Unban { source },
        Ask::CheckSync { account, user, reboot } => {
            Command::CheckSync { user: user_named(exchange, account, user).await?, reboot }
        }
        Ask::Drain { on } => Command::Drain { on },
        other => return Err(AskError::Wrong(format!("{other:?} is not about what goes on now"))),
    };
    let missing = match &command {
        Command::HangUp { call, .. } => format!("no call {call} is up"),
        Command::Unban { source } => format!("{source} is not shut out"),
        Command::CheckSync { .. } => "no device of this user is registered that can be reached".to_owned(),
        _ => String::new(),
    };
    let reply = exchange.command(command).await?;
    if matches!(reply, Reply::Done(false)) && !missing.is_empty() {
        return Err(AskError::Wrong(missing));
    }
    show(exchange, reply).await
}

async fn named(exchange: &Exchange, account: Option<String>) -> Result<Option<AccountId>, AskError> {
    let Some(name) = account else { return Ok(None) };
    exchange.with_store(move |store| crate::admin::account(store, &name).map(|account| Some(account.id))).await
}

/// The user whom people call so: by extension or by the name of its credentials.
async fn user_named(exchange: &Exchange, account: Option<String>, name: String) -> Result<UserId, AskError> {
    exchange
        .with_store(move |store| {
            let accounts = match account {
                Some(name) => vec![crate::admin::account(store, &name)?],
                None => store.accounts()?,
            };
            let mut found = Vec::new();
            for account in accounts {
                let users = store.users(account.id)?.into_iter();
                found.extend(users.filter(|user| user.extension == name || user.auth_user == name).map(|user| user.id));
            }
            match found[..] {
                [user] => Ok(user),
                [] => Err(AskError::Wrong(format!("there is no user {name}"))),
                [..] => Err(AskError::Wrong(format!("several accounts have a user {name}: name one with --account"))),
            }
        })
        .await
}

/// A call that is up comes from the loop, one that ended from the records.
async fn one_call(exchange: &Exchange, call: CallId) -> Result<Value, AskError> {
    if let Reply::Calls(calls) = exchange.command(Command::Call { call }).await?
        && let Some(call) = calls.first()
    {
        return Ok(crate::sound::with_figures(exchange, call).await);
    }
    exchange.with_store(move |store| crate::admin::ended_call(store, call)).await
}

async fn show(exchange: &Exchange, reply: Reply) -> Result<Value, AskError> {
    match reply {
        Reply::Done(done) => Ok(json!(if done { "done" } else { "nothing to do" })),
        Reply::Calls(calls) => {
            let names = account_names(exchange).await?;
            let worst = crate::sound::worst(exchange, &calls).await;
            let rows = calls.iter().map(|call| {
                let legs: Vec<&str> = call.legs.iter().map(|leg| leg.state).collect();
                json!({
                    "call": call.call, "account": names.get(&call.account), "from": call.from.number, "to": call.to.number,
                    "state": call.state, "began": call.began.0, "answered": call.answered.map(|wall| wall.0), "legs": legs,
                    "mos": worst.get(&call.call),
                })
            });
            Ok(Value::Array(rows.collect()))
        }
        Reply::Phones(phones) => {
            let names = account_names(exchange).await?;
            let users = user_names(exchange).await?;
            let rows = phones.iter().map(|phone| {
                json!({
                    "account": names.get(&phone.account), "extension": users.get(&phone.user), "address": phone.source,
                    "transport": phone.transport.via_token().to_ascii_lowercase(), "agent": phone.agent, "nat": phone.nat,
                    "round_trip_ms": phone.round_trip_us.map(|us| us as f64 / 1000.0), "unreachable": phone.unreachable,
                    "expires": phone.expires.0, "contact": phone.contact,
                })
            });
            Ok(Value::Array(rows.collect()))
        }
        Reply::Bans(bans) => Ok(serde_json::to_value(bans).unwrap_or_default()),
        Reply::Peers(peers) => Ok(serde_json::to_value(peers).unwrap_or_default()),
        Reply::Status(status) => {
            let mut status = serde_json::to_value(status).unwrap_or_default();
            let media = Arc::clone(&exchange.media);
            let media = tokio::task::spawn_blocking(move || media()).await;
            if let Value::Object(fields) = &mut status {
                fields.insert("media".to_owned(), Value::from(media.unwrap_or_default()));
            }
            Ok(status)
        }
    }
}

async fn account_names(exchange: &Exchange) -> Result<BTreeMap<AccountId, String>, AskError> {
    exchange
        .with_store(|store| Ok(store.accounts()?.into_iter().map(|account| (account.id, account.name)).collect()))
        .await
}

async fn user_names(exchange: &Exchange) -> Result<BTreeMap<UserId, String>, AskError> {
    exchange
        .with_store(|store| {
            let mut names = BTreeMap::new();
            for account in store.accounts()? {
                names.extend(store.users(account.id)?.into_iter().map(|user| (user.id, user.extension)));
            }
            Ok(names)
        })
        .await
}
