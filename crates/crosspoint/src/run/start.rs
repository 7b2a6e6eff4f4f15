//! Opens everything in order: database, sockets, certificate, relay, threads, interfaces; then tells what is ready.

use super::StartError;
use super::bell::{Ringer, bell};
use super::facts::Facts;
use super::load::Load;
use super::names::Names;
use super::promises::Promises;
use super::turn::{Inbox, Running, Wire, WireCounters};
use crate::cli::Profile;
use crate::directory::{self, PeerAddresses};
use crate::edge::{SipFrames, StreamGate};
use crate::host::Capacity;
use crate::peers;
use crate::profile;
use crate::setup::{self, Listener, Setup};
use api::exchange::{COMMANDS_WAITING, Exchange};
use controller::{CommitLoop, Store};
use media::command::{Family, MediaReport};
use media::ports::PoolConfig;
use net::clock::Clocks;
use net::stream::{Connections, Gate, Limits};
use net::tls::{Acceptor, Authorities, Identity};
use net::udp::Udp;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switch::{Config, ListenerConfig, SessionConfig, Strangers, Switch};
use tokio::sync::{Notify, broadcast, mpsc};
use words::{AccountId, Chance, Seed, Transport};

/// Opens everything, inside the loop's runtime; the first thing that cannot be opened ends the start.
pub(crate) fn start(setup: Setup) -> Result<Running, StartError> {
    let clocks = Clocks::new();
    let descriptors = net::batch::raise_descriptor_limit();
    let mut secrets = Chance::new(entropy()?);
    let store = Store::open(setup.data.path(), setup.config.store.durability.into())?;
    let (bench, demo) = seed_profile(&setup, &store, &mut secrets)?;

    let udp = Udp::bind(&datagrams(&setup))?;
    let gate = StreamGate::new(Strangers::new(secrets.fork()));
    let (connections, net) = open_streams(&setup, clocks, &gate)?;
    let (ringer, bell) = bell();
    let (relay, reports) = open_relay(&setup, entropy()?, ringer.clone())?;
    let pairs = relay.capacity().pairs_per_family;
    let own: Vec<SocketAddr> = udp.locals().map(|(_, address)| address).collect();
    let locals = peers::Locals::of(&udp, &setup);
    let config = Config { ways: locals.ways(), ..switch_config(&setup, bench, own, pairs) };
    let mut switch = Switch::new(config, entropy()?, entropy()?, clocks.clock(), clocks.now());
    restore(&mut switch, &gate, &store, clocks)?;

    let (inputs_in, inputs) = mpsc::channel(INPUTS);
    let promises = Promises::new(ringer);
    let commit = start_commit(&store, clocks, promises.clone())?;
    let addresses = PeerAddresses::default();
    let names =
        Names::new(&setup, inputs_in.clone()).map_err(|e| StartError::new(format!("DNS cannot be asked: {e}")))?;
    let needs = directory::start(store.directory()?, Arc::clone(&addresses), inputs_in)
        .map_err(|e| StartError::new(format!("the directory thread does not start: {e}")))?;

    let (commands_in, commands) = mpsc::channel(COMMANDS_WAITING);
    let (stop_in, stop) = mpsc::channel(1);
    let (trace, _) = broadcast::channel(TRACE_LINES);
    let interrupted = store.recovered().interrupted.len();
    let (inquirer, tier) = (relay.inquirer(), relay.tier_now());
    let exchange = Exchange {
        commands: commands_in,
        store: Arc::new(Mutex::new(store)),
        chance: Arc::new(Mutex::new(secrets.fork())),
        reload: Arc::new(Notify::new()),
        trace: trace.clone(),
        wall: net::clock::wall,
        media: Arc::new(move || tier.look().to_string()),
        figures: Arc::new(move |legs| inquirer.ask(legs, FIGURES_PATIENCE)),
    };
    exchange.reload.notify_one();
    let capacity = Capacity {
        port_pairs: pairs,
        descriptors,
        receive_buffer: udp.receive_buffer_bytes(),
        configured: setup.config.limits.calls,
    };
    let gauges = super::interface::start(&setup, exchange.clone(), stop_in)?;
    tokio::task::spawn_local(peers::follow(exchange, Arc::clone(&addresses), locals));
    let mut running = Running {
        switch,
        clocks,
        wire: Wire { udp, connections, gate, names, peers: addresses, counters: WireCounters::default() },
        inbox: Inbox { net, inputs, reports, bell, commands, stop },
        commit,
        promises,
        needs,
        relay,
        trace,
        gauges,
        facts: Facts::default(),
        replies: std::collections::HashMap::new(),
        last_reply: 0,
        load: Load::default(),
        wake: None,
        alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
        setup,
    };
    running.await_ports();
    super::banner::print(&running, demo.as_deref(), &capacity, interrupted);
    Ok(running)
}

/// Hands back who was registered and who watched when the exchange ended.
fn restore(switch: &mut Switch, gate: &StreamGate, store: &Store, clocks: Clocks) -> Result<(), StartError> {
    for live in store.live_bindings(net::clock::wall())? {
        if live.binding.transport.is_reliable() {
            gate.prove(live.binding.source.ip(), clocks.now());
        }
        switch.restore_binding(live.account, live.user, live.binding, clocks.now());
    }
    for live in store.live_subscriptions(net::clock::wall())? {
        switch.restore_subscription(live.account, live.user, live.subscription, clocks.now());
    }
    Ok(())
}

/// 32 bytes from the operating system.
fn entropy() -> Result<Seed, StartError> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| StartError::new("the operating system gives no random numbers"))?;
    Ok(Seed(seed))
}

fn datagrams(setup: &Setup) -> Vec<(u16, SocketAddr)> {
    let all = setup.opened().filter(|(_, listener)| listener.transport == Transport::Udp);
    all.map(|(n, listener)| (n, listener.address)).collect()
}

fn seed_profile(
    setup: &Setup,
    store: &Store,
    chance: &mut Chance,
) -> Result<(Option<AccountId>, Option<String>), StartError> {
    let now = net::clock::wall();
    match setup.profile {
        Some(Profile::Bench) => {
            let made = store.seed_bench(setup.uas, now)?;
            Ok((Some(made.account), None))
        }
        Some(Profile::Demo) => {
            let made = profile::demo(store, setup.data.path(), chance, now).map_err(StartError::new)?;
            Ok((None, Some(made)))
        }
        None => Ok((None, None)),
    }
}

fn open_streams(
    setup: &Setup,
    clocks: Clocks,
    gate: &StreamGate,
) -> Result<(Connections, mpsc::Receiver<net::stream::NetEvent>), StartError> {
    let secure = setup.opened().any(|(_, listener)| listener.transport.is_secure());
    let acceptor = if secure { Some(open_certificate(setup)?) } else { None };
    let sip = &setup.config.sip;
    let silent = Duration::from_secs(sip.silent_s);
    let mut limits = Limits { connections: sip.connections, silent, ..Limits::default() };
    if setup.is_bench() {
        limits.per_source = limits.connections;
        // A load test holds idle connections on purpose.
        limits.silent = Duration::from_hours(1);
        limits.idle = Duration::from_hours(1);
    }
    let authorities = open_authorities(setup)?;
    let frames = Box::new(|| Box::new(SipFrames::default()) as Box<dyn net::stream::Frames>);
    // As for datagrams: in the bench profile everybody is heard.
    let gate = Some(gate.clone()).filter(|_| !setup.is_bench()).map(|gate| Box::new(gate) as Box<dyn Gate>);
    let config = net::stream::Config { limits, clocks, frames, gate, acceptor, authorities };
    let (connections, events) = Connections::new(config);
    for (n, listener) in setup.opened().filter(|(_, listener)| listener.transport != Transport::Udp) {
        connections.listen(n, listener.transport, listener.address)?;
    }
    Ok((connections, events))
}

fn open_certificate(setup: &Setup) -> Result<Acceptor, StartError> {
    let data = setup.data.path();
    let tls = &setup.config.tls;
    let identity = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Identity::load(&data.join(certificate), &data.join(key)),
        (None, _) | (_, None) => Identity::load_or_make(data, &tls.names),
    };
    let acceptor = identity.and_then(|identity| Acceptor::new(&identity));
    acceptor.map_err(|error| StartError { what: error.to_string(), diagnosis: Some(error.diagnosis()) })
}

/// Who vouches for those to whom we connect.
fn open_authorities(setup: &Setup) -> Result<Authorities, StartError> {
    let Some(file) = &setup.config.tls.authorities else { return Ok(Authorities::OfHost) };
    let authorities = Authorities::File(setup.data.path().join(file));
    authorities.check().map_err(|error| StartError::new(format!("tls.authorities cannot be used: {error}")))?;
    Ok(authorities)
}

fn start_commit(store: &Store, clocks: Clocks, promises: Promises) -> Result<CommitLoop, StartError> {
    Ok(CommitLoop::start(store, move || clocks.clock(), move |outcome| promises.put(outcome))?)
}

/// The relay, what it reports, and how many pairs of ports it can have. `ringer` tells the loop when there is something.
fn open_relay(
    setup: &Setup,
    seed: Seed,
    ringer: Ringer,
) -> Result<(relay::Relay, std::sync::mpsc::Receiver<MediaReport>), StartError> {
    let config = setup::relay_config(&setup.config, &setup.listeners, seed);
    relay::Relay::start(&config, Box::new(move || ringer.ring()))
        .map_err(|error| StartError::new(format!("the relay does not start: {error}")))
}

fn switch_config(setup: &Setup, bench: Option<AccountId>, own: Vec<SocketAddr>, pairs: u32) -> Config {
    let listener = |listener: &Listener| ListenerConfig {
        account: bench,
        open: bench.is_some(),
        port: setup.config.sip.advertise.map(|_| listener.address.port()),
    };
    Config {
        server: concat!("Crosspoint/", env!("CARGO_PKG_VERSION")).into(),
        listeners: setup.listeners.iter().map(listener).collect(),
        codes: (&setup.config.codes).into(),
        calls: setup.config.limits.calls,
        transactions: Config::default().transactions,
        silence: setup.silence(),
        call_limit: Duration::from_secs(setup.config.sip.call_limit_s),
        session: SessionConfig { expires_s: setup.config.sip.session_expires_s, min_s: setup.config.sip.min_se_s },
        advertised: setup.config.sip.advertise,
        throttle: !setup.is_bench(),
        asks_devices: !setup.is_bench(),
        service_route: setup.config.sip.service_route,
        own,
        ways: Vec::new(),
        rtcp_mux: setup.config.media.rtcp_mux,
        single_port: setup.config.media.single_port,
        ports: PoolConfig { pairs_max: pairs, ..PoolConfig::default() },
        families: families(setup),
    }
}

fn families(setup: &Setup) -> Vec<Family> {
    let (v4, v6) = setup::media_addresses(&setup.listeners);
    let both = [v4.map(|_| Family::V4), v6.map(|_| Family::V6)];
    both.into_iter().flatten().collect()
}

/// How long people wait for the figures of running calls; a worker answers within some milliseconds.
const FIGURES_PATIENCE: Duration = Duration::from_secs(1);
/// Answers of the directory that wait for the loop.
const INPUTS: usize = 8_192;
/// SIP messages that a slow trace may lag behind.
const TRACE_LINES: usize = 1_024;
