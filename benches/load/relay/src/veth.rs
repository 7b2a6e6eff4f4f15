//! What a forwarded packet costs between cards: a closed loop over a pair of virtual ones, in namespaces of their own.
//!
//! On one side the tier's programme, on the other `bounce.bpf.c`, which makes of each frame that it gets the next packet
//! of some leg: no generator limits the relay, and what is counted is the run time of the thread that does all for the
//! relay's card (threaded NAPI, alone on processor 0).

use crate::Args;
use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};
use net::batch::monotonic_nanos;
use net::offload::{Config, Entrance, Flow, FlowId, Flows, Header, Hook, InDriver, Offload, Reception};
use net::route::Routes;
use rustix::process::Pid;
use rustix::thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_setaffinity};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;
use words::Time;

/// Measures and prints calls per core; exit 1 when they are too few, 0 with the reason where the host does not allow it.
pub(crate) fn compare(args: &Args) -> ExitCode {
    let (hook, least) = match args.mode.as_str() {
        "xdp" => (Hook::Xdp, CALLS_XDP),
        _ => (Hook::Tc, CALLS_TC),
    };
    let mut held = true;
    for &calls in &args.calls {
        let mut runs = Vec::new();
        for _ in 0..args.rounds {
            match Loop::open(calls, hook).and_then(|around| around.measure(Duration::from_secs(args.secs))) {
                Ok(run) => runs.push(run),
                Err(why) => {
                    println!("skip relay veth {hook:?} @{calls}: {why}");
                    return ExitCode::SUCCESS;
                }
            }
        }
        runs.sort_by(|a, b| a.nanos.total_cmp(&b.nanos));
        let (middle, best, worst) = (&runs[runs.len() / 2], runs[0].nanos, runs[runs.len() - 1].nanos);
        let [strays, spoilt] = [0, 1].map(|n| runs.iter().map(|run| run.wrong[n]).sum::<u64>());
        let per_core = 1e9 / (middle.nanos * PACKETS_PER_CALL);
        let ok = per_core >= least && strays + spoilt == 0;
        held &= ok;
        println!(
            "{} relay veth {hook:?}, {} flows: {:.0} ns per packet [{best:.0}..{worst:.0}], {per_core:.0} calls per core (>= {least}), {:.2} million packets/s, {:.0} % of the core, {strays} at a wrong leg, {spoilt} with a wrong checksum",
            if ok { "ok  " } else { "MISS" },
            2 * u32::from(calls),
            middle.nanos,
            middle.per_second / 1e6,
            middle.busy * 100.0,
        );
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Run {
    nanos: f64,
    per_second: f64,
    busy: f64,
    /// Frames at a wrong leg, and those looked at that had a wrong checksum.
    wrong: [u64; 2],
}

/// The loop, closed when this is dropped.
struct Loop {
    flows: Flows,
    ids: Vec<FlowId>,
    far: Ebpf,
    _near: Option<Ebpf>,
    /// The kernel's thread that does all for the relay's card.
    worker: u32,
    _sides: [Namespace; 2],
}

impl Loop {
    fn open(calls: u16, hook: Hook) -> Result<Self, String> {
        let (object, sides) = (object()?, [Namespace::new()?, Namespace::new()?]);
        let [near, far] = &sides;
        near.run(&format!(
            "ip link add {NEAR} address 02:00:00:00:00:01 type veth peer name {FAR} address 02:00:00:00:00:02 netns {}",
            far.keeper.id()
        ))?;
        for (side, card, address, other, way) in [(near, NEAR, RELAY, PHONES, "02"), (far, FAR, PHONES, RELAY, "01")] {
            side.run(&format!("ip address add {address}/24 dev {card}"))?;
            side.run(&format!("ip link set {card} up"))?;
            side.run(&format!("ip neigh replace {other} lladdr 02:00:00:00:00:{way} dev {card} nud permanent"))?;
        }
        far.enter()?;
        let mut bouncer = load(&object, "bounce", FAR)?;
        say(&mut bouncer, LEGS, 2 * u64::from(calls))?;
        say(&mut bouncer, CHANCE, 0x9e37_79b9_7f4a_7c15)?;
        near.enter()?;
        std::fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1").map_err(|error| error.to_string())?;
        // XDP of ours takes the place itself.
        let near_pass = if hook == Hook::Tc { Some(load(&object, "pass", NEAR)?) } else { None };
        let (flows, ids) = install(2 * u32::from(calls), hook)?;
        for (side, card) in [(near, NEAR), (far, FAR)] {
            // A card has its thread once a programme is on it.
            side.shell(&format!("mount -t sysfs sysfs /sys && echo 1 > /sys/class/net/{card}/threaded"))?;
        }
        let worker = thread_of(NEAR)?;
        bind(worker, 0)?;
        bind(thread_of(FAR)?, 1)?;
        far.enter()?;
        seed(2 * u32::from(calls))?;
        Ok(Loop { flows, ids, far: bouncer, _near: near_pass, worker, _sides: sides })
    }

    fn measure(mut self, during: Duration) -> Result<Run, String> {
        std::thread::sleep(WARM);
        let before = self.take();
        let (from, ran) = (monotonic_nanos(), run_nanos(self.worker)?);
        std::thread::sleep(during);
        let (ran, took) = (run_nanos(self.worker)? - ran, monotonic_nanos() - from);
        let packets = self.take();
        if before == 0 || packets == 0 {
            return Err(format!("the loop stands still: {} frames came round", said(&mut self.far, BOUNCED)?));
        }
        Ok(Run {
            nanos: ran as f64 / packets as f64,
            per_second: packets as f64 * 1e9 / took as f64,
            busy: ran as f64 / took as f64,
            wrong: [said(&mut self.far, WRONG_LEG)?, said(&mut self.far, WRONG_SUM)?],
        })
    }

    fn take(&mut self) -> u64 {
        self.ids.iter_mut().map(|id| self.flows.take(id).packets).sum()
    }
}

fn install(legs: u32, hook: Hook) -> Result<(Flows, Vec<FlowId>), String> {
    // The other side is prepared for frames from a driver, so a virtual card will do.
    let in_driver = if hook == Hook::Xdp { InDriver::Any } else { InDriver::No };
    let config = Config { flows: legs, addresses: [Some(RELAY.into()), None], in_driver, entrance: Entrance::best() };
    let offload = Offload::open(config).map_err(|error| error.to_string())?;
    if !offload.interfaces().iter().any(|(name, at)| name == NEAR && *at == hook) {
        return Err(format!("the programme is not on the card: {:?}", offload.standing().refused));
    }
    let interfaces = Routes::open().and_then(|routes| routes.interfaces()).map_err(|error| error.to_string())?;
    let card = interfaces.iter().find(|interface| interface.name == NEAR).ok_or("the card is gone")?.index;
    let mut flows = offload.flows(0, 1);
    let mut ids = Vec::with_capacity(legs as usize);
    for leg in 0..legs {
        let (heard, spoken) = (port(leg)?, port(leg ^ 1)?);
        let flow = Flow {
            local: SocketAddr::from((RELAY, heard)),
            remote: SocketAddr::from((PHONES, heard)),
            source: SocketAddr::from((RELAY, spoken)),
            target: SocketAddr::from((PHONES, spoken)),
            payload_types: 1,
            paced: 1,
            clock_hz: 8_000,
            interface: Some(card),
            header: Some(Header { ssrc: Some(7), sequence_added: 3, timestamp_added: 480, payload_type: None }),
            dscp: 46,
        };
        ids.push(flows.install(&flow, &Reception::default(), Time::ZERO).map_err(|error| error.to_string())?);
    }
    Ok((flows, ids))
}

/// Puts the frames into the loop that then go round.
fn seed(legs: u32) -> Result<(), String> {
    for leg in (0..legs).cycle().take(FRAMES) {
        let mut packet = [0xd5; 172];
        packet[..12].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        packet[12..16].copy_from_slice(&(leg | SEED).to_be_bytes());
        let socket = UdpSocket::bind((PHONES, port(leg)?)).map_err(|error| error.to_string())?;
        socket.send_to(&packet, (RELAY, port(leg)?)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn port(leg: u32) -> Result<u16, String> {
    u16::try_from(FIRST_PORT + 2 * leg).map_err(|_| "more legs than ports".to_owned())
}

/// The object of `bounce.bpf.c`, made here and now.
fn object() -> Result<Vec<u8>, String> {
    let (source, headers) = (concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/bounce.bpf.c"), "/usr/include/x86_64-linux-gnu");
    let out = std::env::temp_dir().join(format!("bounce-{}.o", std::process::id()));
    let made = Command::new("clang")
        .args(["-O2", "-target", "bpfel", "-mcpu=v3", "-I", headers, "-c", source, "-o"])
        .arg(&out)
        .status();
    let read = std::fs::read(&out);
    let _ = std::fs::remove_file(&out);
    match (made, read) {
        (Ok(status), Ok(object)) if status.success() => Ok(object),
        _ => Err("clang and linux-libc-dev are needed for the far side".to_owned()),
    }
}

fn load(object: &[u8], name: &str, card: &str) -> Result<Ebpf, String> {
    let mut all = Ebpf::load(object).map_err(|error| format!("{error:?}"))?;
    let xdp: &mut Xdp = all
        .program_mut(name)
        .ok_or("the object lacks a programme")?
        .try_into()
        .map_err(|error: aya::programs::ProgramError| error.to_string())?;
    xdp.load().map_err(|error| format!("{error:?}"))?;
    xdp.attach(card, XdpMode::Driver).map_err(|error| format!("{error:?}"))?;
    Ok(all)
}

fn say(far: &mut Ebpf, index: u32, value: u64) -> Result<(), String> {
    let map = far.map_mut("said").ok_or("the object lacks a map")?;
    let mut said = aya::maps::Array::<_, u64>::try_from(map).map_err(|error| error.to_string())?;
    said.set(index, value, 0).map_err(|error| error.to_string())
}

fn said(far: &mut Ebpf, index: u32) -> Result<u64, String> {
    let map = far.map("said").ok_or("the object lacks a map")?;
    let said = aya::maps::Array::<_, u64>::try_from(map).map_err(|error| error.to_string())?;
    said.get(&index, 0).map_err(|error| error.to_string())
}

/// The kernel's thread of a card, `napi/CARD-N`.
fn thread_of(card: &str) -> Result<u32, String> {
    let wanted = format!("napi/{card}-");
    std::fs::read_dir("/proc")
        .map_err(|error| error.to_string())?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with(&wanted))
        })
        .ok_or_else(|| "this kernel gives cards no thread".to_owned())
}

fn bind(thread: u32, cpu: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(Pid::from_raw(thread as i32), &set).map_err(|error| error.to_string())
}

/// How long a thread has run. Units: nanoseconds.
fn run_nanos(thread: u32) -> Result<u64, String> {
    let text = std::fs::read_to_string(format!("/proc/{thread}/schedstat")).map_err(|error| error.to_string())?;
    text.split_whitespace().next().and_then(|word| word.parse().ok()).ok_or_else(|| "no run time".to_owned())
}

/// A network namespace that lives as long as this.
struct Namespace {
    keeper: Child,
    file: File,
}

impl Namespace {
    fn new() -> Result<Self, String> {
        let own = std::fs::read_link("/proc/self/ns/net").map_err(|error| error.to_string())?;
        let mut keeper = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let path = format!("/proc/{}/ns/net", keeper.id());
        for _ in 0..500 {
            if keeper.try_wait().ok().flatten().is_some() {
                break;
            }
            if std::fs::read_link(&path).is_ok_and(|link| link != own) {
                let file = File::open(path).map_err(|error| error.to_string())?;
                return Ok(Namespace { keeper, file });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = keeper.kill();
        Err("no right to make network namespaces".to_owned())
    }

    fn enter(&self) -> Result<(), String> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| error.to_string())
    }

    fn run(&self, words: &str) -> Result<(), String> {
        self.words(&words.split(' ').collect::<Vec<_>>())
    }

    /// With mounts of its own, so that files of the kernel are those of this namespace.
    fn shell(&self, script: &str) -> Result<(), String> {
        self.words(&["unshare", "--mount", "sh", "-c", script])
    }

    fn words(&self, words: &[&str]) -> Result<(), String> {
        let pid = self.keeper.id().to_string();
        let done = Command::new("nsenter").args(["--net", "--target", &pid]).args(words).status();
        if done.is_ok_and(|status| status.success()) { Ok(()) } else { Err(format!("it cannot be done: {words:?}")) }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

const NEAR: &str = "cpr0";
const FAR: &str = "cpp0";
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const PHONES: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
/// As in `bounce.bpf.c`, like the indices below.
const FIRST_PORT: u32 = 10_000;
const SEED: u32 = 1 << 31;
const LEGS: u32 = 0;
const BOUNCED: u32 = 1;
const WRONG_LEG: u32 = 2;
const WRONG_SUM: u32 = 3;
const CHANCE: u32 = 4;
/// Frames that go round.
const FRAMES: usize = 192;
const WARM: Duration = Duration::from_secs(1);
/// Two legs that each send 50.
const PACKETS_PER_CALL: f64 = 100.0;
const CALLS_TC: f64 = 6_000.0;
const CALLS_XDP: f64 = 40_000.0;
