//! Forwarding of settled RTP flows inside the kernel: the programme of `bpf/relay.bpf.c`, its interfaces and its flows.
//!
//! [`Offload::open`] loads and attaches it, each media worker takes its [`Flows`] and installs, pauses and removes them.
//! A flow that is paused or not there costs its packets nothing but a look: they reach the sockets as without all this.
//! Links are descriptors: when the process ends, so does the programme. On kernels before 6.6 it stays behind a process
//! that was killed, lets go after [`PATIENCE`] without a [`Offload::beat`], and the next start removes it; what a living
//! process uses stays where it is, so several may share an interface.
//!
//! Limits: [`Config::flows`] flows; what a flow was given back for rests [`REST`] before another takes its place. 256 addresses of
//! ours with the interfaces by which packets leave them.

mod program;
mod record;
mod seat;
mod sides;

pub use program::{Hook, Offload, trial};
pub use record::{Counts, Header, Reception};
pub use seat::Entrance;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use words::Time;
use words::diagnosis::Diagnosis;

/// How long the programme forwards on kernels before 6.6 when nobody says that the process is there.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// How long the record of a removed flow rests: a packet that was just being looked at finds no other flow in it.
pub const REST: Duration = Duration::from_secs(1);

/// What the tier is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The most flows that are installed at a time, over all workers: each has an equal part. There are twice as many records,
    /// as one that was given back rests.
    pub flows: u32,
    /// The media addresses; unspecified for all of a family.
    pub addresses: [Option<IpAddr>; 2],
    /// Whether to forward in the drivers of network cards too (native XDP).
    pub in_driver: InDriver,
    /// How the programme comes to interfaces.
    pub entrance: Entrance,
}

/// In which drivers the programme is put (native XDP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InDriver {
    /// In none.
    No,
    /// In those of cards, where the host forwards. Virtual ones only seem to take what is sent from the driver: frames lie
    /// in the peer's ring until something else wakes it.
    Cards,
    /// In all that have one, for measurements whose other side was prepared for it.
    Any,
}

/// Where the programme is, and what stands in its way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The interfaces that it is on.
    pub interfaces: Vec<(String, Hook)>,
    /// What is not served by it, or not as it could be: what comes there goes by the sockets.
    pub refused: Vec<OffloadError>,
}

/// What is otherwise than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface is served from here on.
    Came(String, Hook),
    /// An interface is gone, is switched off, or has no media address any more.
    Went(String, Hook),
    /// Somebody had taken the programme off an interface; it was put there again if it could be.
    Lost(String),
    /// Something stands in the way.
    Refused(OffloadError),
    /// What stood in the way is gone.
    Cleared(OffloadError),
}

impl Standing {
    /// What another has that this one has not, and the other way round.
    fn changes_to(&self, next: &Standing) -> Vec<Change> {
        let (before, after) = (&self.interfaces, &next.interfaces);
        let went = before.iter().filter(|place| !after.contains(place));
        let came = after.iter().filter(|place| !before.contains(place));
        let refused = next.refused.iter().filter(|why| !self.refused.contains(why)).cloned();
        let cleared = self.refused.iter().filter(|why| !next.refused.contains(why)).cloned();
        went.map(|(name, hook)| Change::Went(name.clone(), *hook))
            .chain(came.map(|(name, hook)| Change::Came(name.clone(), *hook)))
            .chain(refused.map(Change::Refused))
            .chain(cleared.map(Change::Cleared))
            .collect()
    }
}

/// Why flows are not forwarded in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OffloadError {
    /// The process lacks CAP_BPF or CAP_NET_ADMIN, or a container forbids the call.
    #[error("not permitted: it needs CAP_BPF and CAP_NET_ADMIN")]
    NotPermitted,
    /// The kernel was built without BPF.
    #[error("this kernel has no BPF")]
    NoBpf,
    /// The kernel does not take the programme.
    #[error("this kernel refuses the programme (5.12 or newer is needed): {0}")]
    Refused(String),
    /// Somebody else's programme is where ours would be.
    #[error("another programme is on interface {0}")]
    Occupied(String),
    /// Somebody else's programme sees packets before ours, and may let them pass to the sockets or drop them.
    #[error(
        "programme {programme} sees packets before ours on interface {interface}: what it lets pass goes by sockets"
    )]
    Ahead {
        /// Where.
        interface: String,
        /// Its name.
        programme: String,
    },
    /// The interface is a tunnel or a modem, whose packets have no frames.
    #[error("interface {0} carries no Ethernet frames: media there goes by sockets")]
    NoFrames(String),
    /// XDP is for cards.
    #[error("interface {0} is no network card of its own: no XDP there")]
    NoCard(String),
    /// XDP finds no way on a host that does not forward.
    #[error("the host does not forward what comes to {0} (net.ipv4.ip_forward = 1): no XDP there")]
    ForwardsNothing(String),
    /// The interface went away.
    #[error("interface {0} is gone")]
    Gone(String),
    /// No interface that is up owns a media address.
    #[error("no interface owns a media address that could be served")]
    NoInterface,
    /// All numbers of our addresses are in use.
    #[error("no more than {0} addresses of ours and ways out of them")]
    Addresses(usize),
    /// All flows are in use.
    #[error("no more than {0} flows")]
    Full(u32),
    /// Anything else that the operating system says.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        why: String,
    },
}

impl OffloadError {
    /// The diagnosis that tells an operator what to do, where there is one.
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        match self {
            OffloadError::NotPermitted => Some(Diagnosis::KernelTierForbidden),
            OffloadError::NoBpf | OffloadError::Refused(_) => Some(Diagnosis::KernelTierUnsupported),
            OffloadError::Occupied(_) | OffloadError::Ahead { .. } => Some(Diagnosis::KernelTierOccupied),
            OffloadError::Full(_) => Some(Diagnosis::KernelTierFull),
            OffloadError::NoFrames(_)
            | OffloadError::NoCard(_)
            | OffloadError::ForwardsNothing(_)
            | OffloadError::Gone(_)
            | OffloadError::NoInterface
            | OffloadError::Addresses(_)
            | OffloadError::System { .. } => None,
        }
    }

    /// Reads what lies at the ground of another library's error.
    fn of(what: &'static str, interface: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut at = Some(error);
        while let Some(error) = at {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                match io.raw_os_error() {
                    Some(libc::EPERM | libc::EACCES) if !error_chain(error).contains("erifier") => {
                        return OffloadError::NotPermitted;
                    }
                    Some(libc::ENOSYS) => return OffloadError::NoBpf,
                    Some(libc::EBUSY | libc::EEXIST | libc::ERANGE) => {
                        return OffloadError::Occupied(interface.to_owned());
                    }
                    Some(libc::ENODEV) => return OffloadError::Gone(interface.to_owned()),
                    _ => {}
                }
            }
            at = error.source();
        }
        OffloadError::System { what, why: error_chain(error) }
    }
}

/// An error with what caused it, on one line.
fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        text = format!("{text}: {cause}");
        at = cause.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}

/// A flow: what comes from `remote` to `local` goes out from `source` to `target`. All of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Our address that it comes to.
    pub local: SocketAddr,
    /// Who sends it.
    pub remote: SocketAddr,
    /// Our address that it leaves from.
    pub source: SocketAddr,
    /// Who gets it.
    pub target: SocketAddr,
    /// The payload types that stay in the kernel: a bit for each. Of those below 32 only `paced` ones do.
    pub payload_types: u128,
    /// Those of them whose timestamps run at `clock_hz`, of which jitter is reckoned.
    pub paced: u128,
    /// Units: Hz.
    pub clock_hz: u32,
    /// The interface by which it leaves; `None` when the target is a socket of this host.
    pub interface: Option<u32>,
    /// What changes in RTP headers.
    pub header: Option<Header>,
    /// How its packets are marked for routers (RFC 2474): 46 is Expedited Forwarding.
    pub dscp: u8,
}

/// An installed flow, as its owner knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct FlowId {
    index: u32,
    /// Where the programme finds it.
    place: (u32, usize),
    /// The numbers of our addresses.
    sides: [u8; 2],
    /// Packets taken out of the record since it was switched on: as many must be `done` before its figures are whole.
    taken: u64,
    is_paused: bool,
}

/// The flows of one worker.
#[derive(Debug)]
pub struct Flows {
    offload: Arc<Offload>,
    /// Records that nobody uses, and since when: twice as many as flows are installed at a time, as records rest.
    free: VecDeque<(u32, Time)>,
    installed: u32,
    most: u32,
}

impl Flows {
    pub(super) fn new(offload: Arc<Offload>, records: std::ops::Range<u32>) -> Self {
        let most = (records.len() as u32).div_ceil(2);
        Flows { offload, free: records.map(|index| (index, Time::ZERO)).collect(), installed: 0, most }
    }

    /// Installs a flow; packets are forwarded from here on.
    ///
    /// # Errors
    /// [`OffloadError::Full`], or what the kernel says.
    pub fn install(&mut self, flow: &Flow, reception: &Reception, now: Time) -> Result<FlowId, OffloadError> {
        let mut id = self.install_held(flow, now)?;
        self.resume(&mut id, reception);
        Ok(id)
    }

    /// Installs a flow whose packets go to the socket until [`Flows::open`] finds that none waits there.
    ///
    /// # Errors
    /// [`OffloadError::Full`], or what the kernel says.
    pub fn install_held(&mut self, flow: &Flow, now: Time) -> Result<FlowId, OffloadError> {
        let rested = |(_, since): &&(u32, Time)| *since == Time::ZERO || now.since(*since) >= REST;
        let full = OffloadError::Full(self.most);
        let has_room = |_: &&(u32, Time)| self.installed < self.most;
        let index = self.free.front().filter(rested).filter(has_room).map(|(index, _)| *index).ok_or(full)?;
        let sides = self.offload.take_sides(record::sides(flow), now)?;
        let record = self.offload.record(index);
        record.write(flow, sides, self.offload.is_in_driver(flow.interface));
        record.hold();
        let place = record::place(flow.local);
        if let Err(error) = self.offload.insert(place, index) {
            self.offload.give_back_sides(sides, now);
            return Err(error);
        }
        self.free.pop_front();
        self.installed += 1;
        Ok(FlowId { index, place, sides, taken: 0, is_paused: true })
    }

    /// Takes what went through since it was asked last.
    pub fn take(&self, id: &mut FlowId) -> Counts {
        if id.is_paused {
            return Counts::default();
        }
        let counts = self.offload.record(id.index).take();
        id.taken += counts.packets;
        counts
    }

    /// Lets the flow's packets through to the socket, and takes what went through and what was found out.
    pub fn pause(&self, id: &mut FlowId) -> (Counts, Reception) {
        let record = self.offload.record(id.index);
        if id.is_paused {
            return (Counts::default(), record.reception());
        }
        let counts = record.pause();
        id.taken += counts.packets;
        id.is_paused = true;
        // A packet that is being looked at on another processor is counted, but not yet understood: it takes less than
        // a microsecond, unless the host of this machine halts that processor.
        for _ in 0..SPINS {
            if record.has_done(id.taken) {
                break;
            }
            std::hint::spin_loop();
        }
        (counts, record.reception())
    }

    /// What was found out so far of a flow that goes on: right but for a packet that is just being looked at.
    pub fn peek(&self, id: &FlowId) -> Reception {
        self.offload.record(id.index).reception()
    }

    /// Forwards the packets of a paused flow again.
    pub fn resume(&self, id: &mut FlowId, reception: &Reception) {
        if std::mem::take(&mut id.is_paused) {
            id.taken = 0;
            self.offload.record(id.index).resume(reception);
        }
    }

    /// The same as soon as nothing waits in the socket: see [`Flows::open`].
    pub fn hold(&self, id: &FlowId) {
        if id.is_paused {
            self.offload.record(id.index).hold();
        }
    }

    /// Forwards the packets of a held flow, if the last one that went to the socket is that with this number and timestamp,
    /// which was taken from there and sent on: then none is overtaken. Whether it was.
    pub fn open(&self, id: &mut FlowId, reception: &Reception, sequence: u16, timestamp: u32) -> bool {
        let opens = id.is_paused && self.offload.record(id.index).open(reception, sequence, timestamp);
        if opens {
            (id.taken, id.is_paused) = (0, false);
        }
        opens
    }

    /// Removes a flow, which is to be paused before.
    #[expect(clippy::needless_pass_by_value, reason = "a flow that was removed has no name any more")]
    pub fn remove(&mut self, id: FlowId, now: Time) {
        let FlowId { index, place, sides, .. } = id;
        self.offload.record(index).close();
        self.offload.remove(place, index);
        self.offload.give_back_sides(sides, now);
        self.free.push_back((index, now));
        self.installed = self.installed.saturating_sub(1);
    }

    /// What they are flows of.
    pub fn offload(&self) -> &Offload {
        &self.offload
    }
}

/// How often a figure that another processor is writing is looked at: half a millisecond, as long as an interrupt takes there.
const SPINS: usize = 20_000;

#[cfg(test)]
mod entrances;
#[cfg(test)]
mod tests;
