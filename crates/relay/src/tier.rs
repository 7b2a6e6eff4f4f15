//! Which way packets go through this host, and how many fit.

use net::offload::{Change, Config, Hook, Offload, OffloadError, Standing};
use std::fmt;
use std::sync::Arc;
use words::diagnosis::Language;

/// How workers move packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The best that this host allows.
    #[default]
    Auto,
    /// Settled links are forwarded by a programme inside the kernel, everything else as in `Batch`; as `Batch` alone, and
    /// the log says why, where the host does not allow it.
    Kernel,
    /// A socket per port; connected once the peer spoke, so that the kernel refuses others; under load one look at all
    /// sockets each millisecond instead of a wake-up per packet.
    Batch,
    /// The same sockets, never connected, and a wake-up for each packet: the least delay, at two to three times the CPU.
    Basic,
}

impl Mode {
    /// Whether workers connect sockets and tick.
    pub(crate) fn is_batch(self) -> bool {
        match self {
            Mode::Auto | Mode::Kernel | Mode::Batch => true,
            Mode::Basic => false,
        }
    }
}

/// The way that packets really go, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Settled links are forwarded inside the kernel.
    Kernel {
        /// Where the programme is.
        interfaces: Vec<(String, Hook)>,
        /// What it does not serve, or not as it could: what comes there goes by the sockets.
        refused: Vec<OffloadError>,
    },
    /// Workers forward by sockets that they connect, and tick under load.
    Batch {
        /// Why not in the kernel; `None` when it was not asked for.
        why: Option<OffloadError>,
    },
    /// Workers forward by sockets and wait for each packet.
    Basic,
}

impl Tier {
    /// Tries what a mode asks for, and gives the programme if the kernel takes it.
    pub(crate) fn choose(mode: Mode, config: Config) -> (Tier, Option<Arc<Offload>>) {
        match mode {
            Mode::Basic => (Tier::Basic, None),
            Mode::Batch => (Tier::Batch { why: None }, None),
            Mode::Auto | Mode::Kernel => match Offload::open(config) {
                Ok(offload) => (Tier::from(offload.standing()), Some(offload)),
                Err(why) => (Tier::Batch { why: Some(why) }, None),
            },
        }
    }

    /// Its name, as the option `media` has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Tier::Kernel { .. } => "kernel",
            Tier::Batch { .. } => "batch",
            Tier::Basic => "basic",
        }
    }
}

impl From<Standing> for Tier {
    fn from(Standing { interfaces, refused }: Standing) -> Self {
        Tier::Kernel { interfaces, refused }
    }
}

/// The way that packets go at the moment: interfaces come and go. Copies are the same.
#[derive(Clone, Debug)]
pub struct TierNow {
    pub(crate) chosen: Tier,
    pub(crate) offload: Option<Arc<Offload>>,
}

impl TierNow {
    /// Looks, puts the programme where it is missing, and logs what is otherwise than at the last look. It asks the kernel,
    /// which can take milliseconds.
    pub fn look(&self) -> Tier {
        let Some(offload) = &self.offload else { return self.chosen.clone() };
        look_again(offload);
        Tier::from(offload.standing())
    }
}

/// Has the programme follow the interfaces, and logs what changed.
pub(crate) fn look_again(offload: &Offload) {
    match offload.refresh() {
        Ok(changes) => changes.iter().for_each(tell),
        Err(error) => tracing::warn!(%error, "new interfaces are served in user space"),
    }
}

fn tell(change: &Change) {
    match change {
        Change::Came(interface, hook) => {
            tracing::info!(%interface, ?hook, "the kernel forwards media here from now on");
        }
        Change::Went(interface, hook) => {
            tracing::warn!(%interface, ?hook, "the kernel forwards no media here any more: it goes by sockets");
        }
        Change::Lost(interface) => {
            tracing::warn!(%interface, "somebody took the programme that forwards media off here: it is put there again");
        }
        Change::Refused(why) => tell_refused(why),
        Change::Cleared(why) => tracing::info!(what = %why, "this is over"),
    }
}

/// Says why something goes by sockets, and what to do where that is known.
pub(crate) fn tell_refused(why: &OffloadError) {
    if let Some(diagnosis) = why.diagnosis() {
        let text = diagnosis.text(Language::En);
        tracing::warn!(diag = diagnosis.id(), %why, "{} {} {}", text.what, text.means, text.todo);
    } else {
        tracing::warn!(%why, "media here goes by sockets");
    }
}

/// `kernel (tc on lo, eth0)`, `batch (not permitted: …)`, `basic`.
impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Tier::Kernel { interfaces, refused } => {
                let places = interfaces.iter().map(|(name, hook)| match hook {
                    Hook::Tc => format!("tc on {name}"),
                    Hook::Xdp => format!("XDP on {name}"),
                });
                write!(f, " ({}", places.collect::<Vec<_>>().join(", "))?;
                refused.iter().try_for_each(|why| write!(f, "; {why}"))?;
                f.write_str(")")
            }
            Tier::Batch { why: Some(why) } => write!(f, " ({why})"),
            Tier::Batch { why: None } | Tier::Basic => Ok(()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Auto => "auto",
            Mode::Kernel => "kernel",
            Mode::Batch => "batch",
            Mode::Basic => "basic",
        })
    }
}

/// What bounds the number of port pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The configured range of ports.
    Ports,
    /// The hard limit of open files (`LimitNOFILE=` of systemd, `ulimit -Hn`).
    Descriptors,
    /// The memory that the kernel gives to datagrams (`net.ipv4.udp_mem`).
    Buffers,
}

/// How many port pairs fit, of which a call takes two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Pairs in all.
    pub pairs: u32,
    /// Pairs of one address family.
    pub pairs_per_family: u32,
    /// What bounds `pairs`.
    pub limit: Limit,
    /// Pairs that the range of ports holds, over the families served.
    pub by_ports: u32,
    /// Pairs that the descriptors allow.
    pub by_descriptors: u32,
    /// Pairs that the kernel's memory for datagrams allows; `None` when it does not say.
    pub by_buffers: Option<u32>,
}

impl Capacity {
    /// The smallest of what the host gives.
    pub(crate) fn of(ports_per_family: u32, families: u32, descriptors: u64, buffer_bytes: Option<u64>) -> Self {
        let by_ports = ports_per_family * families;
        let by_descriptors = u32::try_from(descriptors / DESCRIPTORS_PER_PAIR).unwrap_or(u32::MAX);
        let by_buffers = buffer_bytes.map(|bytes| u32::try_from(bytes / BUFFER_BYTES_PER_PAIR).unwrap_or(u32::MAX));
        let known = [(by_ports, Limit::Ports), (by_descriptors, Limit::Descriptors)];
        let (pairs, limit) = known
            .into_iter()
            .chain(by_buffers.map(|pairs| (pairs, Limit::Buffers)))
            .min_by_key(|(pairs, _)| *pairs)
            .unwrap_or((by_ports, Limit::Ports));
        let pairs_per_family = pairs.min(ports_per_family);
        Capacity { pairs, pairs_per_family, limit, by_ports, by_descriptors, by_buffers }
    }
}

/// The most that the kernel queues for datagram sockets. Units: bytes.
pub(crate) fn kernel_buffer_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/sys/net/ipv4/udp_mem").ok()?;
    pages.split_whitespace().nth(2)?.parse::<u64>().ok().map(|pages| pages.saturating_mul(PAGE_BYTES))
}

const DESCRIPTORS_PER_PAIR: u64 = 2;
/// What waits in a pair's sockets when a worker is late by some 160 ms: eight packets, each in a buffer of its own.
const BUFFER_BYTES_PER_PAIR: u64 = 8 * 1_024;
const PAGE_BYTES: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcest_decides() {
        let ports = Capacity::of(5_000, 1, 20_000, None);
        assert_eq!((ports.pairs, ports.limit), (5_000, Limit::Ports));
        let descriptors = Capacity::of(11_000, 2, 19_000, Some(1 << 30));
        assert_eq!((descriptors.pairs, descriptors.limit), (9_500, Limit::Descriptors));
        assert_eq!(descriptors.pairs_per_family, 9_500);
        let buffers = Capacity::of(11_000, 1, u64::MAX, Some(8_192 * 100));
        assert_eq!((buffers.pairs, buffers.limit), (100, Limit::Buffers));
    }

    #[test]
    fn a_tier_says_where_it_is_or_why_it_is_not_another() {
        let interfaces = vec![("lo".into(), Hook::Tc), ("eth0".into(), Hook::Xdp)];
        let refused = vec![OffloadError::Occupied("eth1".into())];
        let kernel = Tier::Kernel { interfaces, refused };
        assert_eq!(kernel.to_string(), "kernel (tc on lo, XDP on eth0; another programme is on interface eth1)");
        let batch = Tier::Batch { why: Some(OffloadError::NoBpf) };
        assert_eq!(
            (batch.to_string(), Tier::Basic.to_string()),
            ("batch (this kernel has no BPF)".into(), "basic".into())
        );
    }

    /// What becomes of interfaces is in the log, in the tier as it is told, and with what to do where that is known.
    #[test]
    fn what_becomes_of_an_interface_is_told() {
        let told = |change: &Change| {
            let log = crate::log::Log::of_this_thread();
            tell(change);
            let [line] = &log.lines()[..] else { panic!("{change:?} is one line: {:?}", log.lines()) };
            line.clone()
        };
        let ahead = OffloadError::Ahead { interface: "eth0".into(), programme: "bpf".into() };
        for (change, level, words) in [
            (Change::Came("eth0".into(), Hook::Tc), "INFO", "forwards media here from now on"),
            (Change::Went("eth0".into(), Hook::Tc), "WARN", "forwards no media here any more: it goes by sockets"),
            (Change::Lost("eth0".into()), "WARN", "it is put there again"),
            (Change::Refused(OffloadError::NoFrames("eth0".into())), "WARN", "media here goes by sockets"),
            (Change::Cleared(ahead.clone()), "INFO", "this is over"),
        ] {
            let line = told(&change);
            assert!(line.starts_with(level) && line.contains(words) && line.contains("eth0"), "{line}");
        }
        for (why, id) in [(ahead, "kernel-tier-occupied"), (OffloadError::Full(2), "kernel-tier-full")] {
            let line = told(&Change::Refused(why.clone()));
            let text = why.diagnosis().unwrap().text(Language::En);
            assert!(line.starts_with("WARN") && line.contains(&format!("diag={id:?}")), "{line}");
            assert!([text.what, text.means, text.todo].iter().all(|words| line.contains(words)), "{line}");
        }
        let tier = |names: &[&str]| {
            let interfaces = names.iter().map(|name| ((*name).to_owned(), Hook::Tc)).collect();
            Tier::from(Standing { interfaces, refused: Vec::new() }).to_string()
        };
        assert_eq!([tier(&["lo", "eth0"]), tier(&["lo"])], ["kernel (tc on lo, tc on eth0)", "kernel (tc on lo)"]);
    }

    #[test]
    fn this_host_says_how_much_it_queues() {
        assert!(kernel_buffer_bytes().is_none_or(|bytes| bytes > 1 << 20));
    }
}
