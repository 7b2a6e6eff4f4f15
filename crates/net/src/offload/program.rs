//! The programme itself: loaded, attached to interfaces, and taken off again.

use super::record::{FLOW_WORDS, REST_WORDS, Record, Side};
use super::seat::{Entrance, Usher};
use super::sides::Sides;
use super::{Change, Config, Flows, InDriver, OffloadError, PATIENCE, Standing};
use crate::batch::{SharedWords, monotonic_nanos};
use crate::route::{self, Interface};
use aya::maps::{Array, Map, MapData, MapError};
use aya::programs::{ProgramError, SchedClassifier, TestRun, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use words::Time;

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
    rests: SharedWords,
    places: Mutex<Array<MapData, [u32; 2]>>,
    sides: Mutex<Sides>,
    lives: Mutex<Array<MapData, [u64; 2]>>,
    attached: Mutex<Attached>,
    /// The interfaces in whose drivers it is: apart, so that no worker waits for who asks the kernel about interfaces.
    drivers: Mutex<Vec<u32>>,
    flows: u32,
    config: Config,
}

/// The words of one record of many.
fn part(of: &SharedWords, index: u32, words: usize) -> &[AtomicU64] {
    let from = index as usize * words;
    of.words().get(from..from + words).expect("indices are handed out below the number of records")
}

/// Programmes and where they are.
struct Attached {
    ebpf: Ebpf,
    usher: Usher,
    places: Vec<Place>,
    /// What is not served, or not as it could be, and why.
    refused: Vec<OffloadError>,
}

struct Place {
    interface: u32,
    name: String,
    hook: Hook,
    /// Dropping it takes the programme off.
    link: Link,
}

type Link = Box<dyn std::any::Any + Send>;

impl Offload {
    /// Loads the programme and attaches it to every interface that owns a media address, and to loopback.
    ///
    /// # Errors
    /// Why the kernel does not forward. What refuses while others do not is told by [`Offload::standing`].
    pub fn open(config: Config) -> Result<Arc<Offload>, OffloadError> {
        // Twice, because a record rests before it is used again.
        let records = config.flows.saturating_mul(2).max(2);
        let usher = usher(config.entrance)?;
        let mut ebpf = load(records)?;
        let Maps { places, sides, rests, words, lives } = maps(&mut ebpf, records)?;
        let offload = Offload {
            words,
            places: Mutex::new(places),
            rests,
            sides: Mutex::new(Sides::new(sides)),
            lives: Mutex::new(lives),
            attached: Mutex::new(Attached { ebpf, usher, places: Vec::new(), refused: Vec::new() }),
            drivers: Mutex::new(Vec::new()),
            flows: config.flows,
            config,
        };
        offload.beat()?;
        offload.refresh()?;
        let Standing { interfaces, refused } = offload.standing();
        if interfaces.is_empty() {
            return Err(refused.into_iter().next().unwrap_or(OffloadError::NoInterface));
        }
        Ok(Arc::new(offload))
    }

    /// The flows of worker `number` of `workers`.
    pub fn flows(self: &Arc<Self>, number: u16, workers: u16) -> Flows {
        let each = (self.words.words().len() / FLOW_WORDS) as u32 / u32::from(workers.max(1));
        let from = each * u32::from(number);
        Flows::new(self.clone(), from..from + each)
    }

    /// Attaches to interfaces that are new and where somebody took it off, lets go of those that went away, and looks
    /// what stands in its way. Gives what is otherwise than at the last time.
    ///
    /// # Errors
    /// When the interfaces cannot be listed.
    pub fn refresh(&self) -> Result<Vec<Change>, OffloadError> {
        let mut attached = self.attached();
        let list = list(&attached.usher)?;
        let (wanted, mut refused) = plan(&self.config, &list);
        let before = attached.standing();
        attached
            .places
            .retain(|place| wanted.iter().any(|(it, hook)| it.index == place.interface && *hook == place.hook));
        let mut changes = Vec::new();
        for (interface, hook) in wanted {
            match attached.hold(interface, hook) {
                Ok(false) => {}
                Ok(true) => changes.push(Change::Lost(interface.name.clone())),
                Err(error) => refused.push(error),
            }
            if hook == Hook::Tc {
                refused.extend(attached.hidden(interface));
            }
        }
        attached.refused = refused;
        let in_drivers = attached.places.iter().filter(|place| place.hook == Hook::Xdp);
        *self.drivers() = in_drivers.map(|place| place.interface).collect();
        changes.extend(before.changes_to(&attached.standing()));
        Ok(changes)
    }

    /// Where the programme is, and what stands in its way.
    pub fn standing(&self) -> Standing {
        self.attached().standing()
    }

    /// Where the programme is, by the names of interfaces.
    pub fn interfaces(&self) -> Vec<(String, Hook)> {
        self.standing().interfaces
    }

    /// Says that the process is there; once a second is enough. Costs nothing where the kernel knows by itself.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn beat(&self) -> Result<(), OffloadError> {
        if self.config.entrance == Entrance::Tcx {
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
        self.attached().programme().expect("it is loaded, and the kernel knows it")
    }

    /// The memory of a flow.
    pub(super) fn record(&self, index: u32) -> Record<'_> {
        Record { words: part(&self.words, index, FLOW_WORDS), rest: part(&self.rests, index, REST_WORDS) }
    }

    /// The numbers of our addresses, for one more flow.
    pub(super) fn take_sides(&self, sides: [Side; 2], now: Time) -> Result<[u8; 2], OffloadError> {
        let mut all = self.sides();
        let here = all.take(sides[0], now)?;
        match all.take(sides[1], now) {
            Ok(out) => Ok([here, out]),
            Err(error) => {
                all.give_back(here, now);
                Err(error)
            }
        }
    }

    pub(super) fn give_back_sides(&self, sides: [u8; 2], now: Time) {
        let mut all = self.sides();
        for side in sides {
            all.give_back(side, now);
        }
    }

    fn sides(&self) -> MutexGuard<'_, Sides> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether what leaves by an interface may leave by its driver: where our own programme is in it, the driver has all
    /// that a frame of another card needs.
    pub(super) fn is_in_driver(&self, interface: Option<u32>) -> bool {
        interface.is_some_and(|interface| self.drivers().contains(&interface))
    }

    fn drivers(&self) -> MutexGuard<'_, Vec<u32>> {
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Sees to it that the programme is at a place; whether somebody had taken it off there.
    fn hold(&mut self, interface: &Interface, hook: Hook) -> Result<bool, OffloadError> {
        let at = self.places.iter().position(|place| place.interface == interface.index && place.hook == hook);
        let mut was_lost = false;
        if let Some(at) = at {
            let own = self.programme();
            if hook == Hook::Xdp || own.is_none_or(|own| self.usher.is_seated(own, interface)) {
                return Ok(false);
            }
            // Its place may be somebody else's by now, whom the end of the link would take off.
            std::mem::forget(self.places.swap_remove(at).link);
            was_lost = true;
        }
        let link = self.attach(interface, hook)?;
        self.places.push(Place { interface: interface.index, name: interface.name.clone(), hook, link });
        Ok(was_lost)
    }

    fn attach(&mut self, interface: &Interface, hook: Hook) -> Result<Link, OffloadError> {
        let name = interface.name.as_str();
        let failed = |error: ProgramError| OffloadError::of("cannot attach", name, &error);
        match hook {
            Hook::Tc => {
                let tc = tc_of(&mut self.ebpf)?;
                Ok(Box::new(self.usher.seat(tc, interface).map_err(failed)?))
            }
            Hook::Xdp => {
                let xdp = self.xdp()?;
                let id = xdp.attach(name, XdpMode::Driver).map_err(failed)?;
                Ok(Box::new(xdp.take_link(id).map_err(failed)?))
            }
        }
    }

    /// Whose programme sees packets before ours.
    fn hidden(&mut self, interface: &Interface) -> Option<OffloadError> {
        let own = self.programme()?;
        self.usher.ahead(Some(own), interface)
    }

    fn standing(&self) -> Standing {
        let interfaces = self.places.iter().map(|place| (place.name.clone(), place.hook)).collect();
        Standing { interfaces, refused: self.refused.clone() }
    }

    /// The kernel's number of the programme at tc.
    fn programme(&mut self) -> Option<u32> {
        Some(self.tc().ok()?.info().ok()?.id())
    }

    fn tc(&mut self) -> Result<&mut SchedClassifier, OffloadError> {
        tc_of(&mut self.ebpf)
    }

    fn xdp(&mut self) -> Result<&mut Xdp, OffloadError> {
        xdp_of(&mut self.ebpf)
    }
}

fn tc_of(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, OffloadError> {
    let programme = ebpf.program_mut(TC).and_then(|programme| programme.try_into().ok());
    programme.ok_or_else(|| OffloadError::Refused("it holds no programme for tc".into()))
}

fn xdp_of(ebpf: &mut Ebpf) -> Result<&mut Xdp, OffloadError> {
    let programme = ebpf.program_mut(XDP).and_then(|programme| programme.try_into().ok());
    programme.ok_or_else(|| OffloadError::Refused("it holds no programme for XDP".into()))
}

/// Where the programme is wanted, and what else could be served and is not.
fn plan<'a>(config: &Config, list: &'a [Interface]) -> (Vec<(&'a Interface, Hook)>, Vec<OffloadError>) {
    let (mut wanted, mut refused) = (Vec::new(), Vec::new());
    for interface in list.iter().filter(|interface| interface.is_up) {
        match interface.link {
            // What this host sends to itself comes by loopback, whoever owns the address.
            route::Link::Loopback => wanted.push((interface, Hook::Tc)),
            route::Link::Ethernet if owns(config, interface) => {
                wanted.push((interface, Hook::Tc));
                match may_be_in_driver(config, interface) {
                    Ok(true) => wanted.push((interface, Hook::Xdp)),
                    Ok(false) => {}
                    Err(error) => refused.push(error),
                }
            }
            route::Link::Other if owns(config, interface) => {
                refused.push(OffloadError::NoFrames(interface.name.clone()));
            }
            route::Link::Ethernet | route::Link::Other => {}
        }
    }
    (wanted, refused)
}

/// Whether media comes to an address of an interface.
fn owns(config: &Config, interface: &Interface) -> bool {
    let serves = |address: &IpAddr| {
        let same_family = |media: &IpAddr| media.is_ipv4() == address.is_ipv4();
        let mut all = config.addresses.iter().flatten();
        all.any(|media| media == address || media.is_unspecified() && same_family(media))
    };
    // A link-local address alone is what each interface has.
    let is_own = |address: &&IpAddr| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    interface.addresses.iter().filter(is_own).any(serves)
}

/// Whether the programme belongs into the driver of an interface, and why not where it was asked for. A virtual card takes
/// frames for its peer and wakes nobody there; where nothing is forwarded, no way is found in the driver.
fn may_be_in_driver(config: &Config, interface: &Interface) -> Result<bool, OffloadError> {
    let name = &interface.name;
    match config.in_driver {
        InDriver::No => Ok(false),
        InDriver::Cards if interface.is_virtual => Err(OffloadError::NoCard(name.clone())),
        InDriver::Cards if !forwards(config, name) => Err(OffloadError::ForwardsNothing(name.clone())),
        InDriver::Cards | InDriver::Any => Ok(true),
    }
}

/// Whether the host forwards what comes to an interface, in a family that media has.
fn forwards(config: &Config, name: &str) -> bool {
    config.addresses.iter().flatten().any(|address| {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        let said = std::fs::read_to_string(format!("/proc/sys/net/{family}/conf/{name}/forwarding"));
        said.is_ok_and(|said| said.trim() != "0")
    })
}

fn list(usher: &Usher) -> Result<Vec<Interface>, OffloadError> {
    usher.interfaces().map_err(|error| OffloadError::of("cannot list interfaces", "", &error))
}

fn usher(entrance: Entrance) -> Result<Usher, OffloadError> {
    Usher::new(entrance).map_err(|error| OffloadError::of("cannot look at interfaces", "", &error))
}

/// Whether and where this host forwards in the kernel, and why not elsewhere. The programme is loaded and tried, and put
/// nowhere: one that is at work stays as it is.
///
/// # Errors
/// Why it does not.
pub fn trial(config: &Config) -> Result<Standing, OffloadError> {
    let mut ebpf = load(2)?;
    let mut options = TestRunOptions::new();
    options.data_in = Some(&NO_MEDIA);
    let tried = tc_of(&mut ebpf)?.test_run(options);
    tried.map_err(|error| OffloadError::of("cannot try the programme", "", &error))?;
    let usher = usher(config.entrance)?;
    let list = list(&usher)?;
    let (wanted, mut refused) = plan(config, &list);
    let mut interfaces = Vec::new();
    for (interface, hook) in wanted {
        match (hook, interface.in_driver) {
            (Hook::Xdp, Some(programme)) if !is_ours_in_driver(programme) => {
                refused.push(OffloadError::Occupied(interface.name.clone()));
                continue;
            }
            (Hook::Tc, _) => refused.extend(usher.ahead(None, interface)),
            (Hook::Xdp, _) => {}
        }
        interfaces.push((interface.name.clone(), hook));
    }
    if interfaces.is_empty() {
        return Err(refused.into_iter().next().unwrap_or(OffloadError::NoInterface));
    }
    Ok(Standing { interfaces, refused })
}

/// Whether a programme in a driver is one of ours; what may not be asked counts as ours.
fn is_ours_in_driver(programme: u32) -> bool {
    let mut all = aya::programs::loaded_programs().filter_map(Result::ok);
    all.find(|info| info.id() == programme).is_none_or(|info| info.name_as_str() == Some(XDP))
}

fn load(records: u32) -> Result<Ebpf, OffloadError> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("flows", records).map_max_entries("rests", records);
    let failed = |error: EbpfError| OffloadError::of("cannot make the memory of flows", "", &error);
    let mut ebpf = loader.load(OBJECT).map_err(failed)?;
    tc_of(&mut ebpf)?.load().map_err(|error| refused(&error))?;
    xdp_of(&mut ebpf)?.load().map_err(|error| refused(&error))?;
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
    sides: Array<MapData, [u32; 2]>,
    words: SharedWords,
    rests: SharedWords,
    lives: Array<MapData, [u64; 2]>,
}

fn maps(ebpf: &mut Ebpf, records: u32) -> Result<Maps, OffloadError> {
    let mut take = |name| ebpf.take_map(name).ok_or_else(|| OffloadError::Refused(format!("it holds no map {name}")));
    let (places, sides, lives) = (take("places")?, take("sides")?, take("lives")?);
    let (flows, rests) = (take("flows")?, take("rests")?);
    let failed = |error: MapError| OffloadError::of("the memory of flows is of another kind", "", &error);
    let mapped = |of: Map, words: usize| {
        let Map::Array(of) = of else { return Err(OffloadError::Refused("its flows are no array".into())) };
        SharedWords::map(of.fd().as_fd(), records as usize * words)
            .map_err(|error| OffloadError::of("cannot map the memory of flows", "", &error))
    };
    Ok(Maps {
        places: Array::try_from(places).map_err(failed)?,
        sides: Array::try_from(sides).map_err(failed)?,
        words: mapped(flows, FLOW_WORDS)?,
        rests: mapped(rests, REST_WORDS)?,
        lives: Array::try_from(lives).map_err(failed)?,
    })
}

pub(super) static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/relay.bpf.o"));
/// A frame that is none of ours.
const NO_MEDIA: [u8; 60] = [0; 60];
pub(super) const TC: &str = "crosspoint_tc";
const XDP: &str = "crosspoint_xdp";
