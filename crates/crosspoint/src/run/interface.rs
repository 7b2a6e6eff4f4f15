//! The interfaces for people and programs, on a thread of their own: a slow page must not delay a call.

use super::StartError;
use crate::setup::Setup;
use api::Exchange;
use relay::{DELAY_BOUNDS_US, Delays, JITTER_BOUNDS_MS, Judged, MOS_BOUNDS_X100};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Numbers of the loop's edge, written once a while by the loop and read by `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct EdgeGauges {
    pub(crate) connections: AtomicU64,
    pub(crate) rtp_in: AtomicU64,
    pub(crate) rtp_out: AtomicU64,
    pub(crate) rtp_dropped: AtomicU64,
    pub(crate) rtp_forged: AtomicU64,
    pub(crate) rtp_replayed: AtomicU64,
    pub(crate) rtp_packets_in_kernel: AtomicU64,
    pub(crate) rtp_flows_in_kernel: AtomicU64,
    pub(crate) rtp_flows_refused: AtomicU64,
    /// How well streams went, and how long packets were held.
    pub(crate) judged: Mutex<(Judged, Delays)>,
}

/// Starts the thread: local socket, HTTP, signals.
pub(crate) fn start(setup: &Setup, exchange: Exchange, stop: mpsc::Sender<()>) -> Result<Arc<EdgeGauges>, StartError> {
    let http = setup.config.http.listen;
    let listener = std::net::TcpListener::bind(http)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| net::BindError { transport: words::Transport::Tcp, address: http, source })?;
    let data = setup.data.path().to_owned();
    let numbers = Arc::new(EdgeGauges::default());
    let shown = api::Numbers { gauges: gauges(Arc::clone(&numbers)), histograms: histograms(Arc::clone(&numbers)) };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| StartError::new(format!("the interface's runtime does not start: {error}")))?;
    let run = move || {
        runtime.block_on(async move {
            let http = async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => api::serve_http(listener, exchange.clone(), shown).await,
                    Err(error) => Err(error),
                }
            };
            tokio::select! {
                ended = http => tracing::error!(?ended, "HTTP ended"),
                ended = api::serve_local(&data, exchange.clone()) => tracing::error!(?ended, "the local socket ended"),
                () = signals(stop) => {}
                () = follow_interfaces(Arc::clone(&exchange.media)) => {}
            }
        });
    };
    std::thread::Builder::new()
        .name("interface".into())
        .spawn(run)
        .map_err(|error| StartError::new(format!("the interface's thread does not start: {error}")))?;
    Ok(numbers)
}

/// Looks now and then whether the tier of media is still as it was: the log says what changed.
async fn follow_interfaces(media: Arc<dyn Fn() -> String + Send + Sync>) {
    let mut often = tokio::time::interval(LOOK_EVERY);
    loop {
        often.tick().await;
        let media = Arc::clone(&media);
        // What it finds is logged where it is found.
        let _ = tokio::task::spawn_blocking(move || media()).await;
    }
}

/// The first signal stops the loop; the second ends the process at once.
async fn signals(stop: mpsc::Sender<()>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    for count in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if count > 0 {
            std::process::exit(1);
        }
        // The loop may be stopping already.
        let _ = stop.try_send(());
    }
}

fn gauges(numbers: Arc<EdgeGauges>) -> api::Gauges {
    Arc::new(move || {
        let of = |name, help, number: &AtomicU64| api::Number::new(name, help, number.load(Ordering::Relaxed));
        let lost = numbers.judged.lock().unwrap_or_else(PoisonError::into_inner).0.lost;
        let packets = "RTP packets that were taken from those who may speak, and that were sent";
        vec![
            of("rtp_packets_total", packets, &numbers.rtp_in).of("dir", "in"),
            of("rtp_packets_total", packets, &numbers.rtp_out).of("dir", "out"),
            of(
                "rtp_packets_in_kernel_total",
                "RTP packets that the kernel forwarded by itself",
                &numbers.rtp_packets_in_kernel,
            ),
            of(
                "rtp_flows_in_kernel",
                "Directions of audio that the kernel forwards by itself",
                &numbers.rtp_flows_in_kernel,
            ),
            of(
                "rtp_flows_refused_total",
                "Times that the kernel had no room for a direction of audio, which went by sockets",
                &numbers.rtp_flows_refused,
            ),
            of(
                "rtp_dropped_total",
                "RTP packets of strangers or of a type that was not agreed; of strangers to a socket that the kernel guards \
                 (settled calls, tiers batch and kernel) it counts itself, among NoPorts of UDP in /proc/net/snmp",
                &numbers.rtp_dropped,
            ),
            of("rtp_forged_total", "Packets to legs with keys that were not encrypted with them", &numbers.rtp_forged),
            of("rtp_replayed_total", "Packets to legs with keys that had been heard before", &numbers.rtp_replayed),
            api::Number::new("rtp_lost_total", "RTP packets of ended streams that did not arrive", lost),
            of("connections_active", "TCP, TLS and WebSocket connections", &numbers.connections),
        ]
    })
}

fn histograms(numbers: Arc<EdgeGauges>) -> api::Histograms {
    Arc::new(move || {
        let (judged, delays) = *numbers.judged.lock().unwrap_or_else(PoisonError::into_inner);
        vec![
            api::Histogram {
                name: "mos",
                help: "How streams sounded, judged every few seconds in both directions (ITU-T G.107)",
                bounds: MOS_BOUNDS_X100.iter().map(|bound| f64::from(*bound) / 100.0).collect(),
                counts: judged.mos.to_vec(),
                sum: judged.mos_sum_x100 as f64 / 100.0,
            },
            api::Histogram {
                name: "rtp_jitter_seconds",
                help: "Interarrival jitter of what came, at the same moments",
                bounds: JITTER_BOUNDS_MS.iter().map(|bound| f64::from(*bound) / 1_000.0).collect(),
                counts: judged.jitter.to_vec(),
                sum: judged.jitter_sum_us as f64 / 1_000_000.0,
            },
            api::Histogram {
                name: "rtp_forward_seconds",
                help: "How long workers held RTP packets at the most, of one packet in 64",
                bounds: DELAY_BOUNDS_US.iter().map(|bound| f64::from(*bound) / 1_000_000.0).collect(),
                counts: delays.counts.to_vec(),
                sum: delays.sum_ns as f64 / 1_000_000_000.0,
            },
        ]
    })
}

/// How often it is looked whether somebody took the programme of the kernel tier off, and what stands before it. A worker
/// that is at work hears at once of interfaces that come and go.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Threads for work on the database.
const BLOCKING_THREADS: usize = 2;
