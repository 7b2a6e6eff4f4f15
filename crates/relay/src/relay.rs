//! The handle by which the switch commands the workers.

use crate::delay::Delays;
use crate::inquiry::{Desk, Inquirer};
use crate::kernel::InKernel;
use crate::orders::{Full, Sender, orders};
use crate::ports::{Pair, Share, Stock};
use crate::report::{Notify, REPORTS, Reports};
use crate::source::Sounds;
use crate::tier::{Capacity, Mode, Tier, TierNow, kernel_buffer_bytes, tell_refused};
use crate::worker::{Published, Worker};
use forward::{Table, Totals};
use media::command::{MediaCommand, MediaReport, Refusal, SHARING_WORKER};
use net::batch::{Poller, monotonic_nanos, raise_descriptor_limit};
use net::offload::{self, Entrance, InDriver};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use words::{Chance, LegId, OwnMap, Seed};

/// What a relay is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many threads move packets: at least one.
    pub workers: u16,
    /// The lowest port; RTP is on even ones.
    pub port_min: u16,
    /// The highest port.
    pub port_max: u16,
    /// The IPv4 address to bind; unspecified binds all, `None` serves no IPv4. A host with several addresses on one link
    /// names the one that it puts into descriptions.
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address to bind, as with IPv4.
    pub ipv6: Option<Ipv6Addr>,
    /// How packets are moved.
    pub mode: Mode,
    /// In the tier `kernel`, also in the drivers of network cards that can.
    pub xdp: bool,
    /// The most flows that the kernel carries at a time, in the tier `kernel`: the others go by sockets.
    pub flows_max: u32,
    /// How packets are marked for routers and switches (RFC 2474): 0 to 63.
    pub dscp: u8,
    /// A port for all ends that can be told apart on it, and the one above it for their RTCP; outside of the range, or
    /// passed over in it. It is of [`SHARING_WORKER`] alone, as are the ends on it.
    pub single_port: Option<u16>,
    /// From which the SSRCs of sounds are drawn.
    pub seed: Seed,
    /// How many descriptors are left to the rest of the process.
    pub descriptors_kept: u32,
}

impl Config {
    /// What the tier `kernel` would be opened with.
    pub fn offload(&self, flows: u32) -> offload::Config {
        let addresses = [self.ipv4.map(IpAddr::V4), self.ipv6.map(IpAddr::V6)];
        let in_driver = if self.xdp { InDriver::Cards } else { InDriver::No };
        offload::Config { flows, addresses, in_driver, entrance: Entrance::best() }
    }

    /// One worker on these ports of all addresses of the host, by the best tier.
    pub fn new(port_min: u16, port_max: u16, seed: Seed) -> Self {
        Config {
            workers: 1,
            port_min,
            port_max,
            ipv4: Some(Ipv4Addr::UNSPECIFIED),
            ipv6: Some(Ipv6Addr::UNSPECIFIED),
            mode: Mode::Auto,
            xdp: false,
            flows_max: FLOWS_MAX,
            dscp: EXPEDITED_FORWARDING,
            single_port: None,
            seed,
            descriptors_kept: 1_024,
        }
    }
}

/// What went through the relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of all workers, at most [`HOUSEKEEPING`](crate::HOUSEKEEPING) old while ends are open.
    pub totals: Totals,
    /// Bound pairs of ports.
    pub pairs: u64,
    /// Flows that the kernel carries, or that are paused there for a moment.
    pub carried: u64,
    /// Packets of `totals` that the kernel forwarded.
    pub packets_carried: u64,
    /// Times that a flow went into the kernel or came back.
    pub switches: u64,
    /// Times that the kernel had no room for a flow.
    pub flows_refused: u64,
    /// How long workers held packets.
    pub delays: Delays,
    /// Times that a command woke a worker.
    pub wakeups: u64,
    /// Digits and first packets that were not reported because the switch did not read.
    pub reports_dropped: u64,
    /// Panics that workers survived.
    pub panics: u64,
}

/// The workers, from the switch's side.
pub struct Relay {
    workers: Vec<Handle>,
    /// Which worker has an end; empty when there is one worker only.
    owners: OwnMap<LegId, u16>,
    reports: SyncSender<MediaReport>,
    notify: Notify,
    capacity: Capacity,
    tier: TierNow,
}

struct Handle {
    orders: Sender,
    desk: Arc<Desk>,
    published: Arc<Mutex<Published>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts the workers. `on_reports` is called by them, from their threads, when there is something to receive: it
    /// must only wake the receiver. Raises the soft limit of open files to the hard one.
    ///
    /// # Errors
    /// `InvalidInput` when the configuration leaves no pair of ports; else what the operating system says.
    pub fn start(
        config: &Config,
        on_reports: Box<dyn Fn() + Send + Sync>,
    ) -> io::Result<(Relay, Receiver<MediaReport>)> {
        let first = u32::from(config.port_min).next_multiple_of(2);
        let ports = (u32::from(config.port_max) + 1).saturating_sub(first) / 2;
        let addresses = [config.ipv4.map(IpAddr::V4), config.ipv6.map(IpAddr::V6)];
        let families = addresses.iter().flatten().count() as u32;
        if config.workers == 0 || ports == 0 || families == 0 || config.port_min == 0 {
            let why =
                "media needs a worker, an address family and a range of ports that holds an even one and the next";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        if config.single_port.is_some_and(|port| port == 0 || port == u16::MAX) {
            let why = "one media port for many needs a port above it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let descriptors = raise_descriptor_limit().saturating_sub(u64::from(config.descriptors_kept));
        let capacity = Capacity::of(ports, families, descriptors, kernel_buffer_bytes());
        let (sender, receiver) = sync_channel(REPORTS);
        let notify: Notify = Arc::from(on_reports);
        let mut chance = Chance::new(config.seed);
        let (chosen, offload) = Tier::choose(config.mode, config.offload(capacity.pairs.min(config.flows_max)));
        let tier = TierNow { chosen, offload };
        let (workers, owners) = (Vec::new(), OwnMap::default());
        let mut relay = Relay { workers, owners, reports: sender, notify, capacity, tier };
        for number in 0..config.workers {
            let worker = relay.start_worker(number, config, addresses, chance.fork())?;
            relay.workers.push(worker);
        }
        let Capacity { pairs, limit, .. } = capacity;
        let tier = &relay.tier.chosen;
        tracing::info!(asked = %config.mode, %tier, workers = config.workers, pairs, ?limit, "media relay started");
        match tier {
            Tier::Kernel { refused, .. } => refused.iter().for_each(tell_refused),
            Tier::Batch { why } => why.iter().for_each(tell_refused),
            Tier::Basic => {}
        }
        Ok((relay, receiver))
    }

    /// Hands a command to the worker that it is for. Never blocks, and mostly wakes nobody.
    ///
    /// # Errors
    /// [`Full`] when too many commands wait; never for `Open` and `Close`.
    pub fn apply(&mut self, command: MediaCommand) -> Result<(), Full> {
        let worker = match command {
            MediaCommand::Stock { pairs, family } => {
                let pairs = pairs.div_ceil(self.workers.len() as u32);
                let each = MediaCommand::Stock { pairs, family };
                return self.workers.iter_mut().try_for_each(|worker| worker.orders.push(each.clone()));
            }
            MediaCommand::Open { end, ports, terms, .. } => {
                if let Some(why) = terms.whereabouts.own {
                    tracing::info!(%end, port = ports.rtp_port, %why, "a leg has media ports of its own");
                }
                if self.workers.len() > 1 {
                    self.owners.insert(end, ports.worker);
                }
                Some(ports.worker)
            }
            MediaCommand::Rekey { ports, .. } | MediaCommand::Ice { ports, .. } => Some(ports.worker),
            MediaCommand::Unbind { worker, .. } => Some(worker),
            MediaCommand::Close { end, .. } if self.workers.len() > 1 => self.owners.remove(&end),
            MediaCommand::Link { from, to, .. } => {
                let (ours, theirs) = (self.owner(from), self.owner(to));
                if ours.is_some() && theirs.is_some() && ours != theirs {
                    return self.refuse(from, Refusal::DifferentWorkers);
                }
                ours
            }
            MediaCommand::Latch { end, .. }
            | MediaCommand::Unlink { from: end, .. }
            | MediaCommand::Play { end, .. }
            | MediaCommand::Stop { end, .. }
            | MediaCommand::Close { end, .. } => self.owner(end),
        };
        // A command for an end that nobody has goes to the first worker, which says so where it matters.
        let worker = self.workers.get_mut(usize::from(worker.unwrap_or(0)));
        worker.map_or(Err(Full), |worker| worker.orders.push(command))
    }

    /// Lets sleeping workers carry out what waits for them. Worth a call every few seconds: a worker whose ends never
    /// see a packet is not woken otherwise, and the ports of ended calls come back only through it.
    pub fn settle(&self) {
        self.workers.iter().for_each(|worker| worker.orders.settle());
    }

    /// How many pairs of ports fit on this host, and what limits them.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// How packets were moved on this host when the relay was started, and why so.
    pub fn tier(&self) -> &Tier {
        &self.tier.chosen
    }

    /// What looks how they are moved at the moment.
    pub fn tier_now(&self) -> TierNow {
        self.tier.clone()
    }

    /// What went through so far.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for worker in &self.workers {
            let seen = *worker.published.lock().unwrap_or_else(PoisonError::into_inner);
            let (all, of) = (&mut sum.totals, seen.totals);
            all.ends += of.ends;
            all.packets_in += of.packets_in;
            all.packets += of.packets;
            all.bytes += of.bytes;
            all.rtcp += of.rtcp;
            all.dropped_source += of.dropped_source;
            all.dropped_type += of.dropped_type;
            all.dropped_forged += of.dropped_forged;
            all.dropped_replayed += of.dropped_replayed;
            all.dropped_unlinked += of.dropped_unlinked;
            all.dropped_send += of.dropped_send;
            all.judged.add(&of.judged);
            sum.pairs += seen.pairs;
            sum.carried += seen.carried;
            sum.packets_carried += seen.kernel.packets;
            sum.switches += seen.kernel.switches;
            sum.flows_refused += seen.kernel.refused;
            sum.delays.add(&seen.delays);
            sum.reports_dropped += seen.reports_dropped;
            sum.panics += seen.panics;
            sum.wakeups += worker.orders.wakeups();
        }
        sum
    }

    /// What asks how well ends go that are open.
    pub fn inquirer(&self) -> Inquirer {
        Inquirer::new(self.workers.iter().map(|worker| Arc::clone(&worker.desk)))
    }

    /// Waits until all ends are closed, at most for `patience`, and stops the workers. The last reports can still be
    /// received after it.
    pub fn drain(mut self, patience: Duration) {
        self.settle();
        let until = monotonic_nanos().saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
        let mut now = monotonic_nanos();
        while now < until && !(self.workers.iter().all(|w| w.orders.is_settled()) && self.counters().totals.ends == 0) {
            std::thread::sleep(DRAIN_LOOK.min(Duration::from_nanos(until - now)));
            now = monotonic_nanos();
        }
        self.stop();
    }

    fn start_worker(
        &self,
        number: u16,
        config: &Config,
        [ipv4, ipv6]: [Option<IpAddr>; 2],
        chance: Chance,
    ) -> io::Result<Handle> {
        let poller = Poller::new()?;
        let (sender, orders) = orders(poller.waker());
        let desk = Arc::new(Desk::new(poller.waker()));
        let published = Arc::new(Mutex::new(Published::default()));
        let share = Share {
            port_min: config.port_min,
            port_max: config.port_max,
            worker: number,
            workers: config.workers,
            pairs_max: (self.capacity.pairs / u32::from(config.workers)).max(1) as usize,
            dscp: config.dscp,
        };
        let single_port = config.single_port.filter(|_| number == SHARING_WORKER);
        let single = [ipv4, ipv6].map(|address| Some((address?, single_port?)));
        let [v4, v6] =
            single.map(|single| single.map(|(address, port)| bind_single(address, port, config.dscp)).transpose());
        let single = [v4?, v6?];
        let (table, flows) = (Table::new(config.mode.is_batch()), self.tier.offload.as_ref());
        let (table, kernel) =
            match flows.map(|offload| InKernel::new(offload.flows(number, config.workers), config.dscp)) {
                Some(kernel) => (table.with_carriage(), Some(Box::new(kernel?))),
                None => (table, None),
            };
        let worker = Worker {
            number,
            table,
            kernel,
            stock: Stock::new(share, ipv4, ipv6),
            single,
            orders,
            reports: Reports::new(self.reports.clone(), self.notify.clone()),
            sounds: Sounds::new(chance),
            published: published.clone(),
            poller,
            desk: Arc::clone(&desk),
            ticks: config.mode.is_batch(),
        };
        let thread = std::thread::Builder::new().name(format!("media-{number}")).stack_size(STACK_BYTES);
        Ok(Handle { orders: sender, desk, published, thread: Some(thread.spawn(move || worker.run())?) })
    }

    fn owner(&self, end: LegId) -> Option<u16> {
        self.owners.get(&end).copied()
    }

    fn refuse(&self, end: LegId, why: Refusal) -> Result<(), Full> {
        self.reports.try_send(MediaReport::Refused { end, why }).map_err(|_| Full)?;
        (self.notify)();
        Ok(())
    }

    fn stop(&mut self) {
        self.workers.iter().for_each(|worker| worker.orders.stop());
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

fn bind_single(address: IpAddr, port: u16, dscp: u8) -> io::Result<Pair> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("media port {port}: {error}"));
    Pair::bind_single(address, port, dscp).map_err(named)
}

/// The most flows that the kernel carries at a time: a gigabit of G.711 and more than a worker's ports. Each takes some
/// 600 bytes there.
const FLOWS_MAX: u32 = 16_384;
/// Voice (RFC 3246).
const EXPEDITED_FORWARDING: u8 = 46;
/// How often [`Relay::drain`] looks.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// A worker's calls are shallow. Units: bytes.
const STACK_BYTES: usize = 256 * 1_024;
