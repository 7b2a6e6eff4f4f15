//! The programme itself: loaded, attached to interfaces, and taken off again.

use super::record::{FLOW_WORDS, REST_WORDS};
use super::{Config, Flows, OffloadError, PATIENCE};
use crate::batch::{SharedWords, monotonic_nanos};
use crate::route::{Interface, Link, Routes};
use aya::maps::{Array, Map, MapData, MapError};
use aya::programs::links::FdLink;
use aya::programs::tc::{qdisc_add_clsact, qdisc_detach_program};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, TestRun, TestRunOptions, Xdp, XdpMode};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where on an interface the programme sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Traffic control at the entrance: works on every interface that carries frames.
    Tc,
    /// The driver of a network card.
    Xdp,
}

/// The loaded programme with its interfaces and its memory.
pub struct Offload {
    words: SharedWords,
    places: Mutex<Array<MapData, [u32; 2]>>,
    rests: Mutex<Array<MapData, [u32; REST_WORDS]>>,
    lives: Mutex<Array<MapData, [u64; 2]>>,
    attached: Mutex<Attached>,
    flows: u32,
    config: Config,
}

/// Programmes and where they are.
struct Attached {
    ebpf: Ebpf,
    places: Vec<Place>,
}

struct Place {
    interface: u32,
    name: String,
    hook: Hook,
    /// Dropping it takes the programme off; `None` for a link that the library keeps.
    _link: Option<FdLink>,
}

impl Offload {
    /// Loads the programme and attaches it to every interface that owns a media address, and to loopback.
    ///
    /// # Errors
    /// Why the kernel does not forward; interfaces that refuse while others do not are told by the second value.
    pub fn open(config: Config) -> Result<(Arc<Offload>, Vec<OffloadError>), OffloadError> {
        // Twice, because a record rests before it is used again.
        let records = config.flows.saturating_mul(2).max(2);
        let mut ebpf = load(records)?;
        let Maps { places, rests, words, lives } = maps(&mut ebpf, records)?;
        let offload = Offload {
            words,
            places: Mutex::new(places),
            rests: Mutex::new(rests),
            lives: Mutex::new(lives),
            attached: Mutex::new(Attached { ebpf, places: Vec::new() }),
            flows: config.flows,
            config,
        };
        offload.beat()?;
        let refused = offload.refresh()?;
        if offload.interfaces().is_empty() {
            return Err(refused.into_iter().next().unwrap_or(OffloadError::NoInterface));
        }
        Ok((Arc::new(offload), refused))
    }

    /// The flows of worker `number` of `workers`.
    pub fn flows(self: &Arc<Self>, number: u16, workers: u16) -> Flows {
        let each = (self.words.words().len() / FLOW_WORDS) as u32 / u32::from(workers.max(1));
        let from = each * u32::from(number);
        Flows::new(self.clone(), from..from + each)
    }

    /// Attaches to interfaces that are new, and lets go of those that went away. Gives those that refuse.
    ///
    /// # Errors
    /// When the interfaces cannot be listed.
    pub fn refresh(&self) -> Result<Vec<OffloadError>, OffloadError> {
        let list = Routes::open().and_then(|routes| routes.interfaces());
        let list = list.map_err(|error| OffloadError::of("cannot list interfaces", "", &error))?;
        let wanted: Vec<&Interface> = list.iter().filter(|interface| self.wants(interface)).collect();
        let mut attached = self.attached();
        attached.places.retain(|place| wanted.iter().any(|interface| interface.index == place.interface));
        let mut refused = Vec::new();
        for interface in wanted {
            let hooks = [(Hook::Tc, true), (Hook::Xdp, self.config.xdp && interface.link == Link::Ethernet)];
            for (hook, _) in hooks.into_iter().filter(|(_, wanted)| *wanted) {
                if attached.places.iter().any(|place| place.interface == interface.index && place.hook == hook) {
                    continue;
                }
                match attached.attach(interface, hook) {
                    Ok(place) => attached.places.push(place),
                    Err(error) => refused.push(error),
                }
            }
        }
        Ok(refused)
    }

    /// Where the programme is, by the names of interfaces.
    pub fn interfaces(&self) -> Vec<(String, Hook)> {
        self.attached().places.iter().map(|place| (place.name.clone(), place.hook)).collect()
    }

    /// Says that the process is there; once a second is enough. Costs nothing where the kernel knows by itself.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn beat(&self) -> Result<(), OffloadError> {
        if is_tcx() {
            return Ok(());
        }
        self.live([monotonic_nanos(), PATIENCE.as_nanos() as u64])
    }

    /// How many flows fit.
    pub fn capacity(&self) -> u32 {
        self.flows
    }

    /// What the programme does at tc with a frame and how long that takes, without an interface: `repeat` times the same.
    /// Gives its answer, the frame as it came out of the last time, and the time of one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn try_frame(&self, frame: &[u8], repeat: u32) -> Result<(u32, Vec<u8>, Duration), OffloadError> {
        let mut out = vec![0; frame.len()];
        let mut options = TestRunOptions::new();
        (options.data_in, options.data_out, options.repeat) = (Some(frame), Some(&mut out[..]), repeat);
        let result = self.attached().tc()?.test_run(options);
        let result = result.map_err(|error| OffloadError::of("cannot try the programme", "", &error))?;
        Ok((result.return_value, out, result.duration))
    }

    /// The same at XDP, for a frame that came to an interface where the programme is attached so.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn try_frame_at(&self, interface: u32, frame: &[u8]) -> Result<(u32, Vec<u8>), OffloadError> {
        let mut out = vec![0; frame.len()];
        // `struct xdp_md`: the frame's begin and end, the interface, its first queue.
        let context: Vec<u8> =
            [0, frame.len() as u32, 0, interface, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut options = TestRunOptions::new();
        (options.data_in, options.data_out, options.ctx_in) = (Some(frame), Some(&mut out[..]), Some(&context[..]));
        let result = self.attached().xdp()?.test_run(options);
        let result = result.map_err(|error| OffloadError::of("cannot try the programme", "", &error))?;
        Ok((result.return_value, out))
    }

    pub(super) fn live(&self, life: [u64; 2]) -> Result<(), OffloadError> {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.set(0, life, 0).map_err(|error| OffloadError::of("cannot say that the process is there", "", &error))
    }

    /// The kernel's number of the programme at tc.
    #[cfg(test)]
    pub(super) fn programme(&self) -> u32 {
        let mut attached = self.attached();
        let info = attached.tc().expect("it is loaded").info();
        info.expect("the kernel knows it").id()
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        self.words.words()
    }

    pub(super) fn set_rest(&self, index: u32, rest: [u32; REST_WORDS]) -> Result<(), OffloadError> {
        let mut rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.set(index, rest, 0).map_err(|error| OffloadError::of("cannot install a flow", "", &error))
    }

    /// Lets packets find a record. One flow comes to a port at a time: the latest.
    pub(super) fn insert(&self, (at, which): (u32, usize), index: u32) -> Result<(), OffloadError> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error: MapError| OffloadError::of("cannot install a flow", "", &error);
        let mut pair = places.get(&at, 0).map_err(failed)?;
        pair[which] = index + 1;
        places.set(at, pair, 0).map_err(failed)
    }

    pub(super) fn remove(&self, (at, which): (u32, usize), index: u32) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(mut pair) = places.get(&at, 0)
            && pair[which] == index + 1
        {
            pair[which] = 0;
            // The place exists, and what it leads to is closed already.
            let _ = places.set(at, pair, 0);
        }
    }

    fn wants(&self, interface: &Interface) -> bool {
        let owns = |address: &IpAddr| {
            let same_family = |media: &IpAddr| media.is_ipv4() == address.is_ipv4();
            self.config
                .addresses
                .iter()
                .flatten()
                .any(|media| media == address || media.is_unspecified() && same_family(media))
        };
        // What this host sends to itself comes by loopback, whoever owns the address.
        let link = match interface.link {
            Link::Loopback => true,
            Link::Ethernet => interface.addresses.iter().any(owns),
            Link::Other => false,
        };
        link && interface.is_up
    }

    fn attached(&self) -> MutexGuard<'_, Attached> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Offload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offload").field("interfaces", &self.interfaces()).finish_non_exhaustive()
    }
}

impl Attached {
    fn attach(&mut self, interface: &Interface, hook: Hook) -> Result<Place, OffloadError> {
        let name = interface.name.as_str();
        let failed = |error: ProgramError| OffloadError::of("cannot attach", name, &error);
        let link = match hook {
            Hook::Tc => {
                if !is_tcx() {
                    // Whoever was killed left it behind; who else uses the interface has made the place already.
                    let _ = qdisc_detach_program(name, TcAttachType::Ingress, TC);
                    let _ = qdisc_add_clsact(name);
                }
                let tc = self.tc()?;
                let id = tc.attach(name, TcAttachType::Ingress).map_err(failed)?;
                if is_tcx() { tc.take_link(id).ok().and_then(|link| FdLink::try_from(link).ok()) } else { None }
            }
            Hook::Xdp => {
                let xdp = self.xdp()?;
                let id = xdp.attach(name, XdpMode::Driver).map_err(failed)?;
                xdp.take_link(id).ok().and_then(|link| FdLink::try_from(link).ok())
            }
        };
        Ok(Place { interface: interface.index, name: name.to_owned(), hook, _link: link })
    }

    fn tc(&mut self) -> Result<&mut SchedClassifier, OffloadError> {
        let programme = self.ebpf.program_mut(TC).and_then(|programme| programme.try_into().ok());
        programme.ok_or_else(|| OffloadError::Refused("it holds no programme for tc".into()))
    }

    fn xdp(&mut self) -> Result<&mut Xdp, OffloadError> {
        let programme = self.ebpf.program_mut(XDP).and_then(|programme| programme.try_into().ok());
        programme.ok_or_else(|| OffloadError::Refused("it holds no programme for XDP".into()))
    }
}

/// Whether the kernel takes the programme off by itself when the process ends (tcx).
pub fn is_tcx() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

/// Loads the programme, attaches it to loopback and takes it off again: whether and why not this host forwards in the
/// kernel.
///
/// # Errors
/// Why not.
pub fn trial() -> Result<(), OffloadError> {
    let addresses = [Some(std::net::Ipv4Addr::LOCALHOST.into()), None];
    Offload::open(Config { flows: 1, addresses, xdp: false }).map(|_| ())
}

fn load(records: u32) -> Result<Ebpf, OffloadError> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("flows", records).map_max_entries("rests", records);
    let failed = |error: EbpfError| OffloadError::of("cannot make the memory of flows", "", &error);
    let mut ebpf = loader.load(OBJECT).map_err(failed)?;
    let mut attached = Attached { ebpf, places: Vec::new() };
    attached.tc()?.load().map_err(|error| refused(&error))?;
    attached.xdp()?.load().map_err(|error| refused(&error))?;
    ebpf = attached.ebpf;
    Ok(ebpf)
}

/// A kernel that does not know what the programme uses says so by `EINVAL`, or in the words of its verifier.
fn refused(error: &ProgramError) -> OffloadError {
    if let ProgramError::LoadError { io_error, verifier_log } = error
        && (io_error.raw_os_error() == Some(libc::EINVAL) || !verifier_log.to_string().trim().is_empty())
    {
        let log = verifier_log.to_string();
        let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
        return OffloadError::Refused(format!("{io_error} {last}"));
    }
    OffloadError::of("cannot load the programme", "", error)
}

struct Maps {
    places: Array<MapData, [u32; 2]>,
    rests: Array<MapData, [u32; REST_WORDS]>,
    words: SharedWords,
    lives: Array<MapData, [u64; 2]>,
}

fn maps(ebpf: &mut Ebpf, records: u32) -> Result<Maps, OffloadError> {
    let mut take = |name| ebpf.take_map(name).ok_or_else(|| OffloadError::Refused(format!("it holds no map {name}")));
    let (places, rests, flows, lives) = (take("places")?, take("rests")?, take("flows")?, take("lives")?);
    let failed = |error: MapError| OffloadError::of("the memory of flows is of another kind", "", &error);
    let Map::Array(flows) = flows else { return Err(OffloadError::Refused("its flows are no array".into())) };
    let words = SharedWords::map(flows.fd().as_fd(), records as usize * FLOW_WORDS);
    let words = words.map_err(|error| OffloadError::of("cannot map the memory of flows", "", &error))?;
    Ok(Maps {
        places: Array::try_from(places).map_err(failed)?,
        rests: Array::try_from(rests).map_err(failed)?,
        words,
        lives: Array::try_from(lives).map_err(failed)?,
    })
}

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/relay.bpf.o"));
const TC: &str = "crosspoint_tc";
const XDP: &str = "crosspoint_xdp";
