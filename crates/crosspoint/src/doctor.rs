//! `crosspoint doctor`: whether this machine allows what the configuration asks for, and what to do where it does not.

use crate::cli;
use crate::config::{Config, Tier};
use crate::host::Capacity;
use net::offload::{self, Entrance, Hook, OffloadError, Standing};
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use words::Seed;
use words::diagnosis::{Diagnosis, Language};

/// What was looked at, and what was found.
struct Finding {
    what: &'static str,
    is_good: bool,
    found: String,
    diagnosis: Option<Diagnosis>,
}

/// Looks, prints, and ends with 1 where something is to be done, with 2 where the configuration cannot be read.
pub(crate) fn run(config: Option<&Path>, data: &Path, as_json: bool) -> ExitCode {
    let config = match config.map_or_else(|| Ok(Config::default()), Config::load) {
        Ok(config) => config,
        Err(error) => return crate::fail(&error.to_string()),
    };
    let language = Language::from(config.language);
    let granted = granted();
    let always = [
        addresses(&config, language),
        capacity(&config, granted, language),
        buffer(granted, language),
        tier(&config, language),
    ];
    let status = cli::ask_if_running(data, &api::Ask::Status);
    let running = status.and_then(|status| media_ports(&status, language));
    let findings: Vec<Finding> = always.into_iter().chain(single_port(&config, language)).chain(running).collect();
    if as_json {
        let rows = findings.iter().map(|finding| {
            let id = finding.diagnosis.map(Diagnosis::id);
            json!({ "what": finding.what, "good": finding.is_good, "found": finding.found, "diagnosis": id })
        });
        println!("{}", serde_json::Value::Array(rows.collect()));
    } else {
        for finding in &findings {
            println!("{:5} {}", if finding.is_good { "ok" } else { "!" }, finding.found);
            if let Some(text) = finding.diagnosis.map(|diagnosis| diagnosis.text(language)) {
                println!("      {} {}", text.means, text.todo);
            }
        }
    }
    if findings.iter().all(|finding| finding.is_good) { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// The receive buffer that the kernel gives a socket of SIP; 0 where none can be opened. Units: bytes, as it counts them.
fn granted() -> usize {
    // Such sockets are opened inside a runtime alone.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return 0 };
    let _inside = runtime.enter();
    net::udp::Udp::bind(&[(0, SocketAddr::from(([127, 0, 0, 1], 0)))]).map_or(0, |udp| udp.receive_buffer_bytes())
}

/// How audio goes on this host, in a sentence.
pub(crate) fn tell_tier(tier: &relay::Tier, language: Language) -> String {
    match (language, tier) {
        (_, relay::Tier::Kernel { interfaces, refused }) => {
            let standing = Standing { interfaces: interfaces.clone(), refused: refused.clone() };
            let places = places(&standing, language);
            match language {
                Language::En => format!("Audio is forwarded inside the kernel: {places}"),
                Language::Ru => format!("Звук передаёт само ядро: {places}"),
            }
        }
        (Language::En, relay::Tier::Batch { .. } | relay::Tier::Basic) => {
            format!("Audio is forwarded by sockets: {tier}")
        }
        (Language::Ru, relay::Tier::Batch { why: Some(why) }) => {
            let why =
                why.diagnosis().map_or_else(|| why.to_string(), |diagnosis| diagnosis.text(language).what.to_owned());
            format!("Звук передаётся через сокеты: {}. {why}", tier.name())
        }
        (Language::Ru, relay::Tier::Batch { why: None } | relay::Tier::Basic) => {
            format!("Звук передаётся через сокеты: {}", tier.name())
        }
    }
}

/// Whether the configured addresses are the host's.
fn addresses(config: &Config, language: Language) -> Finding {
    let own = net::host::addresses().unwrap_or_default();
    let foreign = foreign(&listed(config), &own);
    let names = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let found = match (language, foreign.is_empty()) {
        (Language::En, true) => format!("addresses of this host: {}", names(&own)),
        (Language::Ru, true) => format!("адреса этого компьютера: {}", names(&own)),
        (Language::En, false) => format!("{} is no address of this host, which has {}", names(&foreign), names(&own)),
        (Language::Ru, false) => {
            format!("{} — не адрес этого компьютера; его адреса: {}", names(&foreign), names(&own))
        }
    };
    let diagnosis = (!foreign.is_empty()).then_some(Diagnosis::AddressNotOwned);
    Finding { what: "addresses", is_good: foreign.is_empty(), found, diagnosis }
}

fn listed(config: &Config) -> Vec<IpAddr> {
    let sip = &config.sip;
    let all = [&sip.udp, &sip.tcp, &sip.tls, &sip.ws, &sip.wss].into_iter().flatten();
    all.map(SocketAddr::ip).collect()
}

/// Those that a socket could not be bound to.
fn foreign(listed: &[IpAddr], own: &[IpAddr]) -> Vec<IpAddr> {
    let mut foreign: Vec<IpAddr> =
        listed.iter().filter(|ip| !ip.is_unspecified() && !ip.is_loopback() && !own.contains(ip)).copied().collect();
    foreign.sort_unstable();
    foreign.dedup();
    foreign
}

/// How many calls fit.
fn capacity(config: &Config, receive_buffer: usize, language: Language) -> Finding {
    let ports = config.media.ports;
    let capacity = Capacity {
        port_pairs: (u32::from(ports.max) + 1).saturating_sub(u32::from(ports.min).next_multiple_of(2)) / 2,
        descriptors: net::batch::raise_descriptor_limit(),
        receive_buffer,
        configured: config.limits.calls,
    };
    let is_good = capacity.calls() >= config.limits.calls as u64;
    let found = capacity.tell(language).into_iter().next().unwrap_or_default();
    Finding { what: "calls", is_good, found, diagnosis: (!is_good).then_some(Diagnosis::CapacityLow) }
}

/// Whether the kernel keeps as much for the signalling sockets as was asked for. It counts twice what it is asked.
fn buffer(granted: usize, language: Language) -> Finding {
    let (granted, wanted) = (granted / 2, net::udp::RECEIVE_BYTES);
    let is_good = granted >= wanted;
    let found = match language {
        Language::En => format!("receive buffer of SIP: {} KB of {} KB", granted / 1024, wanted / 1024),
        Language::Ru => format!("буфер приёма SIP: {} КБ из {} КБ", granted / 1024, wanted / 1024),
    };
    Finding { what: "receive-buffer", is_good, found, diagnosis: (!is_good).then_some(Diagnosis::ReceiveBufferSmall) }
}

/// On which port audio comes, when it is to be one for all (`media.single_port`).
pub(crate) fn tell_single_port(port: u16, language: Language) -> String {
    let next = port.saturating_add(1);
    match language {
        Language::En => format!(
            "Audio of all calls comes to UDP ports {port} and {next}; phones that cannot be told apart there get ports of their own, and the log says why"
        ),
        Language::Ru => format!(
            "Звук всех звонков приходит на порты UDP {port} и {next}; телефоны, которых там не отличить друг от друга, получают свои порты, причина — в журнале"
        ),
    }
}

fn single_port(config: &Config, language: Language) -> Option<Finding> {
    let found = tell_single_port(config.media.single_port?, language);
    Some(Finding { what: "single-port", is_good: true, found, diagnosis: None })
}

/// Whether the server that runs had media ports for all calls.
fn media_ports(status: &serde_json::Value, language: Language) -> Option<Finding> {
    let counters = status.get("counters")?.as_array()?;
    let refused = counters.iter().find(|counter| counter[0] == "media_ports_refused")?[1].as_u64()?;
    let is_good = refused == 0;
    let found = match (language, is_good) {
        (Language::En, true) => "the running server had media ports for all calls".to_owned(),
        (Language::Ru, true) => "работающему серверу хватало портов для звука".to_owned(),
        (Language::En, false) => format!("since its start the running server had no media port {refused} times"),
        (Language::Ru, false) => {
            format!("с запуска работающему серверу не хватило порта для звука столько раз: {refused}")
        }
    };
    Some(Finding { what: "media-ports", is_good, found, diagnosis: (!is_good).then_some(Diagnosis::PortsExhausted) })
}

/// Whether the kernel forwards audio, and on which interfaces.
fn tier(config: &Config, language: Language) -> Finding {
    let wanted = match config.media.tier {
        Tier::Auto | Tier::Kernel => true,
        Tier::Batch | Tier::Basic => false,
    };
    let finding = |is_good, found, diagnosis| Finding { what: "media", is_good, found, diagnosis };
    if !wanted {
        let found = match language {
            Language::En => "audio goes by sockets, as media.tier says",
            Language::Ru => "звук идёт через сокеты, как сказано в media.tier",
        };
        return finding(true, found.to_owned(), None);
    }
    // Nothing is put anywhere, so an exchange that is at work here stays as it is.
    let listeners = crate::setup::listeners(config, net::host::has_ipv6()).unwrap_or_default();
    let config = crate::setup::relay_config(config, &listeners, Seed([0; 32])).offload(1);
    match offload::trial(&config) {
        Ok(standing) => {
            let can = match (language, config.entrance) {
                (Language::En, Entrance::Tcx) => "the kernel can forward audio by itself",
                (Language::Ru, Entrance::Tcx) => "ядро может передавать звук само",
                (Language::En, Entrance::Clsact) => {
                    "the kernel can forward audio by itself; from Linux 6.6 on it also stops at once when crosspoint is killed"
                }
                (Language::Ru, Entrance::Clsact) => {
                    "ядро может передавать звук само; начиная с Linux 6.6 оно ещё и перестаёт сразу, если crosspoint убит"
                }
            };
            // A tunnel has no frames: there is nothing that somebody could do about it.
            let is_good = standing.refused.iter().all(|why| matches!(why, OffloadError::NoFrames(_)));
            let diagnosis = standing.refused.iter().find_map(OffloadError::diagnosis);
            finding(is_good, format!("{can}: {}", places(&standing, language)), diagnosis)
        }
        Err(why) => finding(false, tell_why(&why, language), why.diagnosis()),
    }
}

/// Where the programme is, and what is not served and why.
fn places(standing: &Standing, language: Language) -> String {
    let of = |hook| {
        let all = standing.interfaces.iter().filter(|(_, at)| *at == hook).map(|(name, _)| name.as_str());
        all.collect::<Vec<_>>().join(", ")
    };
    let hooks = [("tc", of(Hook::Tc)), ("XDP", of(Hook::Xdp))];
    let there = hooks.iter().filter(|(_, names)| !names.is_empty()).map(|(hook, names)| format!("{hook} {names}"));
    let refused = standing.refused.iter().map(|why| tell_refused(why, language));
    there.chain(refused).collect::<Vec<_>>().join("; ")
}

/// Why an interface is not served, or not as it could be.
fn tell_refused(why: &OffloadError, language: Language) -> String {
    if language == Language::En {
        return why.to_string();
    }
    match why {
        OffloadError::Ahead { interface, programme } => {
            format!(
                "программа {programme} видит пакеты на {interface} раньше нашей: что она пропустит, идёт через сокеты"
            )
        }
        OffloadError::Occupied(interface) => format!("на {interface} стоит другая программа"),
        OffloadError::NoFrames(interface) => {
            format!("{interface} — не Ethernet (туннель или модем): звук там идёт через сокеты")
        }
        OffloadError::NoCard(interface) => format!("{interface} — не сетевая карта: XDP там не включается"),
        OffloadError::ForwardsNothing(interface) => {
            format!("компьютер не пересылает пакеты с {interface} (net.ipv4.ip_forward = 1): XDP там не включается")
        }
        OffloadError::Gone(interface) => format!("{interface} исчез"),
        other => match other.diagnosis() {
            Some(diagnosis) => diagnosis.text(language).what.to_owned(),
            None => other.to_string(),
        },
    }
}

fn tell_why(why: &OffloadError, language: Language) -> String {
    match (language, why.diagnosis()) {
        (Language::En, _) => format!("the kernel does not forward audio: {why}"),
        (Language::Ru, Some(diagnosis)) => format!("ядро не передаёт звук: {}", diagnosis.text(language).what),
        (Language::Ru, None) => format!("ядро не передаёт звук: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_the_host_does_not_own_is_named() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [ip("127.0.0.1"), ip("192.0.2.1")];
        let listed = ["0.0.0.0", "192.0.2.1", "198.51.100.9", "127.0.0.7", "::", "198.51.100.9"].map(ip);
        assert_eq!(foreign(&listed, &own), [ip("198.51.100.9")]);
        let mut config = Config::default();
        config.sip.udp = vec!["198.51.100.9:5060".parse().unwrap()];
        let finding = addresses(&config, Language::En);
        assert!(!finding.is_good && finding.found.starts_with("198.51.100.9 is no address"), "{}", finding.found);
        assert_eq!(finding.diagnosis, Some(Diagnosis::AddressNotOwned));
    }

    #[test]
    fn the_buffer_is_asked_for_without_an_exchange_that_runs() {
        assert!(granted() > 0);
    }

    #[test]
    fn a_small_buffer_is_told_with_what_to_raise() {
        let small = buffer(2 * 212_992, Language::En);
        assert!(!small.is_good && small.found == "receive buffer of SIP: 208 KB of 16384 KB", "{}", small.found);
        assert_eq!(small.diagnosis, Some(Diagnosis::ReceiveBufferSmall));
        assert!(buffer(2 * net::udp::RECEIVE_BYTES, Language::Ru).is_good);
    }

    #[test]
    fn a_tier_is_told_in_both_languages_with_its_reason() {
        let batch = relay::Tier::Batch { why: Some(OffloadError::NotPermitted) };
        let told = tell_tier(&batch, Language::En);
        assert_eq!(told, "Audio is forwarded by sockets: batch (not permitted: it needs CAP_BPF and CAP_NET_ADMIN)");
        assert!(tell_tier(&batch, Language::Ru).contains("нельзя загружать"));
        let interfaces = vec![("lo".into(), Hook::Tc), ("eth0".into(), Hook::Tc), ("eth0".into(), Hook::Xdp)];
        let kernel = relay::Tier::Kernel { interfaces, refused: vec![OffloadError::NoFrames("wg0".into())] };
        let told = tell_tier(&kernel, Language::En);
        assert!(told.contains("kernel: tc lo, eth0; XDP eth0; interface wg0 carries no Ethernet frames"), "{told}");
        let told = tell_tier(&kernel, Language::Ru);
        assert!(told.contains("ядро: tc lo, eth0; XDP eth0; wg0 — не Ethernet"), "{told}");
        let mut config = Config::default();
        config.media.tier = Tier::Batch;
        assert!(tier(&config, Language::Ru).is_good);
    }

    #[test]
    fn calls_that_found_no_media_port_are_told_by_the_server_that_runs() {
        let status = |refused: u64| json!({ "counters": [["calls", 7], ["media_ports_refused", refused]] });
        assert!(media_ports(&status(0), Language::Ru).unwrap().is_good);
        let finding = media_ports(&status(3), Language::En).unwrap();
        assert_eq!((finding.is_good, finding.diagnosis), (false, Some(Diagnosis::PortsExhausted)));
        assert!(finding.found.ends_with("no media port 3 times"), "{}", finding.found);
        assert!(media_ports(&json!({}), Language::En).is_none());
    }

    #[test]
    fn one_port_for_all_is_told_with_the_port_for_rtcp() {
        let mut config = Config::default();
        assert!(single_port(&config, Language::En).is_none());
        config.media.single_port = Some(9_000);
        for language in [Language::En, Language::Ru] {
            let told = single_port(&config, language).unwrap();
            assert!(told.is_good && told.found.contains("9000") && told.found.contains("9001"), "{}", told.found);
        }
    }
}
