//! Questions about rows: accounts, users, peers, routes and records. What changes is told to the loop at once.

use crate::ask::Ask;
use crate::exchange::{AskError, Exchange};
use controller::{
    AccountRecord, AlgorithmPolicy, CdrFilter, Credentials, NewAccount, NewPassword, NewPeer, NewUser, Pattern,
    RouteTarget, Store, Strategy,
};
use serde_json::{Value, json};
use switch::{Command, Reply};
use words::{CallId, Secret, Transport};

pub(crate) async fn answer(exchange: &Exchange, ask: Ask) -> Result<Value, AskError> {
    match ask {
        Ask::AccountCreate { name, domain } => create_account(exchange, name, domain).await,
        Ask::AccountSet { name, typed_transfer, ring_for_s } => {
            set_account(exchange, name, typed_transfer, ring_for_s).await
        }
        Ask::AccountList => exchange.with_store(|store| Ok(to_value(&store.accounts()?))).await,
        Ask::UserAdd { .. } => add_user(exchange, ask).await,
        Ask::UserList { account: name } => {
            exchange.with_store(move |store| Ok(to_value(&store.users(account(store, &name)?.id)?))).await
        }
        Ask::UserReset { account, extension, password } => reset_user(exchange, account, extension, password).await,
        Ask::UserEnable { account, extension, enabled } => enable_user(exchange, account, extension, enabled).await,
        Ask::PeerAdd { .. } => add_peer(exchange, ask).await,
        Ask::PeerList { account } => list_peers(exchange, account).await,
        Ask::PeerRemove { account, name } => remove_peer(exchange, account, name).await,
        Ask::RouteAdd { account, pattern, ring, in_order } => {
            add_ring(exchange, account, pattern, ring, in_order).await
        }
        Ask::RouteList { account: name } => {
            exchange.with_store(move |store| Ok(to_value(&store.routes(account(store, &name)?.id)?))).await
        }
        Ask::RouteRemove { account: name, pattern } => {
            let id = exchange
                .with_store(move |store| {
                    let id = account(store, &name)?.id;
                    store.remove_route(id, &Pattern::parse(&pattern)?)?;
                    Ok(id)
                })
                .await?;
            exchange.command(Command::AccountChanged { account: id }).await?;
            Ok(json!("removed"))
        }
        Ask::Cdr { account: name, limit } => {
            exchange
                .with_store(move |store| {
                    let account = name.map(|name| account(store, &name)).transpose()?.map(|account| account.id);
                    Ok(to_value(&store.cdrs(&CdrFilter { account, limit: limit as usize, ..CdrFilter::default() })?))
                })
                .await
        }
        other => Err(AskError::Wrong(format!("{other:?} is not about rows"))),
    }
}

/// The account of this name.
pub(crate) fn account(store: &Store, name: &str) -> Result<AccountRecord, AskError> {
    store.account_named(name)?.ok_or_else(|| AskError::Wrong(format!("there is no account {name}")))
}

/// A call that ended, with its events.
pub(crate) fn ended_call(store: &Store, call: CallId) -> Result<Value, AskError> {
    match store.call(None, call)? {
        Some(record) => Ok(to_value(&record)),
        None => Err(AskError::Wrong(format!("there is no call {call}"))),
    }
}

async fn create_account(exchange: &Exchange, name: String, domain: Option<String>) -> Result<Value, AskError> {
    let now = (exchange.wall)();
    let made = exchange
        .with_store(move |store| {
            let domain = domain.unwrap_or_else(|| name.clone());
            Ok(store.create_account(&NewAccount::named(&name, &domain), now)?)
        })
        .await?;
    exchange.command(Command::AccountChanged { account: made.id }).await?;
    exchange.reload.notify_one();
    Ok(to_value(&made))
}

async fn add_user(exchange: &Exchange, ask: Ask) -> Result<Value, AskError> {
    let Ask::UserAdd { account: of, extension, name, auth_user, password, algorithms, srtp } = ask else {
        return Err(AskError::Wrong("not a new user".into()));
    };
    let algorithms = match algorithms.as_deref() {
        None | Some("all") => AlgorithmPolicy::All,
        Some("md5") => AlgorithmPolicy::Md5Only,
        Some("sha256") => AlgorithmPolicy::Sha256Only,
        Some(other) => return Err(AskError::Wrong(format!("algorithms are all, md5 or sha256, not {other}"))),
    };
    let (mut chance, now) = (exchange.fork_chance(), (exchange.wall)());
    let made = exchange
        .with_store(move |store| {
            let password = password.map_or(NewPassword::Generated(&mut chance), NewPassword::Given);
            let new = NewUser::new(account(store, &of)?.id, &extension, password);
            let new = NewUser { display_name: name.unwrap_or_default(), auth_user, algorithms, srtp, ..new };
            Ok(store.add_user(new, now)?)
        })
        .await?;
    exchange.command(Command::AccountChanged { account: made.user.account }).await?;
    Ok(credentials(&made))
}

async fn set_account(
    exchange: &Exchange,
    name: String,
    typed_transfer: Option<String>,
    ring_for_s: Option<u32>,
) -> Result<Value, AskError> {
    let changed = exchange
        .with_store(move |store| {
            let mut record = account(store, &name)?;
            match typed_transfer.as_deref() {
                None => {}
                Some("default") => record.settings.typed_transfer = None,
                Some("off") => record.settings.typed_transfer = Some(String::new()),
                Some(code) => record.settings.typed_transfer = Some(code.to_owned()),
            }
            record.settings.ring_for_s = ring_for_s.or(record.settings.ring_for_s);
            store.set_account(record.id, &record.settings)?;
            Ok(record)
        })
        .await?;
    exchange.command(Command::AccountChanged { account: changed.id }).await?;
    Ok(to_value(&changed))
}

async fn reset_user(
    exchange: &Exchange,
    of: String,
    extension: String,
    password: Option<Secret>,
) -> Result<Value, AskError> {
    let (mut chance, now) = (exchange.fork_chance(), (exchange.wall)());
    let made = exchange
        .with_store(move |store| {
            let password = password.map_or(NewPassword::Generated(&mut chance), NewPassword::Given);
            Ok(store.reset_user(account(store, &of)?.id, &extension, password, now)?)
        })
        .await?;
    revoke(exchange, &made.user).await?;
    Ok(credentials(&made))
}

async fn enable_user(exchange: &Exchange, of: String, extension: String, enabled: bool) -> Result<Value, AskError> {
    let now = (exchange.wall)();
    let user = exchange
        .with_store(move |store| Ok(store.enable_user(account(store, &of)?.id, &extension, enabled, now)?))
        .await?;
    revoke(exchange, &user).await?;
    Ok(json!(if enabled { "enabled" } else { "disabled" }))
}

/// The loop forgets what it knew of the user, and the registrations end.
async fn revoke(exchange: &Exchange, user: &controller::UserRecord) -> Result<(), AskError> {
    let command = Command::UserRevoked { account: user.account, user: user.id, auth_user: user.auth_user.clone() };
    exchange.command(command).await.map(|_| ())
}

async fn add_peer(exchange: &Exchange, ask: Ask) -> Result<Value, AskError> {
    let Ask::PeerAdd { account: of, name, host, transport, insecure, prefix, trust_identity, tell_identity, srtp } =
        ask
    else {
        return Err(AskError::Wrong("not a new peer".into()));
    };
    let transport = match transport.as_str() {
        "auto" => None,
        "udp" => Some(Transport::Udp),
        "tcp" => Some(Transport::Tcp),
        "tls" => Some(Transport::Tls),
        other => return Err(AskError::Wrong(format!("a peer speaks udp, tcp or tls, not {other}"))),
    };
    let (host, port) = split_port(&host)?;
    let now = (exchange.wall)();
    let made = exchange
        .with_store(move |store| {
            let account = account(store, &of)?.id;
            let verify = !insecure;
            let peer = NewPeer { account, name, host, port, transport, verify, trust_identity, tell_identity, srtp };
            let peer = store.add_peer(&peer, now)?;
            if let Some(prefix) = prefix {
                let target = RouteTarget::Peer { peer: peer.id, strip: 0, prepend: String::new() };
                store.add_route(account, &Pattern::Prefix(prefix), &target)?;
            }
            Ok(peer)
        })
        .await?;
    exchange.command(Command::AccountChanged { account: made.account }).await?;
    exchange.reload.notify_one();
    Ok(to_value(&made))
}

/// The peers of an account: what is configured, where each is, and which of its servers are down.
async fn list_peers(exchange: &Exchange, name: String) -> Result<Value, AskError> {
    let records = exchange.with_store(move |store| Ok(store.peers(account(store, &name)?.id)?)).await?;
    let Reply::Peers(seen) = exchange.command(Command::PeersSeen).await? else { return Err(AskError::Busy) };
    let rows = records.iter().map(|record| {
        let seen = seen.iter().find(|seen| seen.peer == record.id);
        let servers = seen.map_or(&[][..], |seen| &seen.servers).iter().map(|server| {
            let down = server.down.zip(server.down_s).map(|(why, left)| format!(" down ({why}, {left} s)"));
            format!("{}:{}{}", server.transport.uri_token(), server.address, down.unwrap_or_default())
        });
        let tls = match (record.may_use_tls(), record.verify) {
            (false, _) => None,
            (true, true) => Some("verified"),
            (true, false) => Some("NOT VERIFIED"),
        };
        json!({
            "id": record.id, "name": record.name, "host": record.host, "port": record.port,
            "transport": record.transport.map_or("auto", Transport::uri_token), "tls": tls,
            "servers": servers.collect::<Vec<_>>(), "trouble": seen.and_then(|seen| seen.trouble),
            "sources": seen.map(|seen| &seen.sources), "trust_identity": record.trust_identity,
            "tell_identity": record.tell_identity, "created": record.created,
        })
    });
    Ok(Value::Array(rows.collect()))
}

async fn remove_peer(exchange: &Exchange, of: String, name: String) -> Result<Value, AskError> {
    let account = exchange
        .with_store(move |store| {
            let account = account(store, &of)?.id;
            let found = store.peers(account)?.into_iter().find(|peer| peer.name == name);
            let Some(peer) = found else { return Err(AskError::Wrong(format!("there is no peer {name}"))) };
            for route in store.routes(account)? {
                if matches!(route.target, RouteTarget::Peer { peer: id, .. } if id == peer.id) {
                    store.remove_route(account, &route.pattern)?;
                }
            }
            store.remove_peer(account, &name)?;
            Ok(account)
        })
        .await?;
    exchange.command(Command::AccountChanged { account }).await?;
    exchange.reload.notify_one();
    Ok(json!("removed"))
}

async fn add_ring(
    exchange: &Exchange,
    of: String,
    pattern: String,
    ring: Vec<String>,
    in_order: bool,
) -> Result<Value, AskError> {
    let id = exchange
        .with_store(move |store| {
            let id = account(store, &of)?.id;
            let strategy = if in_order { Strategy::InOrder } else { Strategy::All };
            let target = RouteTarget::Ring { extensions: ring, ring_for_s: RING_SECONDS, strategy };
            store.add_route(id, &Pattern::parse(&pattern)?, &target)?;
            Ok(id)
        })
        .await?;
    exchange.command(Command::AccountChanged { account: id }).await?;
    Ok(json!("added"))
}

/// What is typed into the phone; told this once.
fn credentials(made: &Credentials) -> Value {
    json!({
        "extension": made.user.extension, "user": made.user.auth_user, "password": made.password.reveal(),
        "domain": made.domain, "realm": made.user.realm,
    })
}

/// `host`, `host:port`, `[v6]:port`.
fn split_port(text: &str) -> Result<(String, Option<u16>), AskError> {
    let wrong = || AskError::Wrong(format!("{text} is not a host with an optional port"));
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Ok((address.ip().to_string(), Some(address.port())));
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((host.to_owned(), Some(port.parse().map_err(|_| wrong())?))),
        None => Ok((text.to_owned(), None)),
    }
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// How long each round of a ring list rings. Units: seconds.
const RING_SECONDS: u32 = 30;
