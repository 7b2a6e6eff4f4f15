//! The settings of the machine: a file, read once, whose mistakes are told with line, column and a guess at what was meant.

use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Everything the file can say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) language: Language,
    pub(crate) sip: Sip,
    pub(crate) media: Media,
    pub(crate) store: Store,
    pub(crate) tls: Tls,
    pub(crate) dns: Dns,
    pub(crate) http: Http,
    pub(crate) limits: Limits,
    pub(crate) codes: Codes,
}

/// The language of what the program prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    #[default]
    En,
    Ru,
}

impl From<Language> for words::diagnosis::Language {
    fn from(language: Language) -> Self {
        match language {
            Language::En => words::diagnosis::Language::En,
            Language::Ru => words::diagnosis::Language::Ru,
        }
    }
}

/// `[sip]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sip {
    pub(crate) udp: Vec<SocketAddr>,
    pub(crate) tcp: Vec<SocketAddr>,
    pub(crate) tls: Vec<SocketAddr>,
    pub(crate) ws: Vec<SocketAddr>,
    pub(crate) wss: Vec<SocketAddr>,
    pub(crate) advertise: Option<IpAddr>,
    pub(crate) silence_s: u64,
    pub(crate) call_limit_s: u64,
    pub(crate) session_expires_s: u32,
    pub(crate) min_se_s: u32,
    pub(crate) connections: usize,
    pub(crate) silent_s: u64,
    pub(crate) service_route: bool,
}

/// `[media]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Media {
    pub(crate) ports: PortRange,
    pub(crate) tier: Tier,
    pub(crate) workers: u16,
    pub(crate) xdp: bool,
    pub(crate) rtcp_mux: bool,
    pub(crate) dscp: u8,
    pub(crate) single_port: Option<u16>,
}

/// A range of UDP ports, written `10000-20000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PortRange {
    pub(crate) min: u16,
    pub(crate) max: u16,
}

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a port range such as \"10000-20000\"");
        let (min, max) = text.split_once('-').ok_or_else(wrong)?;
        let (min, max) = (min.trim().parse().map_err(|_| wrong())?, max.trim().parse().map_err(|_| wrong())?);
        if min < 1024 || max <= min {
            return Err(format!("the port range {text} must begin at 1024 or above and end above its beginning"));
        }
        Ok(PortRange { min, max })
    }
}

/// How audio is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    /// The best that this host allows.
    #[default]
    Auto,
    /// By a programme inside the kernel once a call is settled, before that and beside it as batch.
    Kernel,
    /// Plain sockets with a tick under load and connected sockets.
    Batch,
    /// Plain sockets.
    Basic,
}

/// `[store]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    pub(crate) durability: Durability,
}

/// What a promise survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// A power cut.
    #[default]
    Power,
    /// A crash of the program.
    Process,
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tls {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) names: Vec<String>,
    pub(crate) authorities: Option<PathBuf>,
}

/// `[dns]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Dns {
    pub(crate) servers: Vec<SocketAddr>,
}

/// `[http]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) calls: usize,
}

/// `[codes]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Codes {
    pub(crate) echo: String,
    pub(crate) pickup: String,
    pub(crate) transfer: String,
    pub(crate) consult: String,
    pub(crate) hide: String,
    pub(crate) typed_transfer: String,
}

impl Default for Codes {
    fn default() -> Self {
        let switch::Codes { echo, pickup, hand_over, consult, hide, typed_transfer } = switch::Codes::default();
        Codes { echo, pickup, transfer: hand_over, consult, hide, typed_transfer }
    }
}

impl From<&Codes> for switch::Codes {
    fn from(codes: &Codes) -> Self {
        let Codes { echo, pickup, transfer, consult, hide, typed_transfer } = codes.clone();
        switch::Codes { echo, pickup, hand_over: transfer, consult, hide, typed_transfer }
    }
}

impl Default for Sip {
    fn default() -> Self {
        let any = |port| vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
        Sip {
            udp: any(5060),
            tcp: any(5060),
            tls: any(5061),
            ws: Vec::new(),
            wss: any(8443),
            advertise: None,
            silence_s: 30,
            call_limit_s: words::limit::CALL.as_secs(),
            session_expires_s: 1_800,
            min_se_s: SHORTEST_S,
            connections: 20_000,
            silent_s: 60,
            service_route: false,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Media {
            ports: PortRange { min: 10_000, max: 20_000 },
            tier: Tier::Auto,
            workers: 1,
            xdp: false,
            rtcp_mux: false,
            dscp: 46,
            single_port: None,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Http { listen: SocketAddr::from(([127, 0, 0, 1], 8080)) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { calls: 5_000 }
    }
}

/// What is wrong with the settings, in one sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a file.
    pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("the configuration {} cannot be read: {error}", path.display())))?;
        Config::parse(&text, &path.display().to_string())
    }

    /// Reads the text of a file called `name`.
    pub(crate) fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            let message = error.message().lines().next().unwrap_or("cannot be read").to_owned();
            let hint = suggestion(&message).map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
            ConfigError(format!("{name}:{line}:{column}: {message}{hint}"))
        })?;
        config.sane().map_err(|what| ConfigError(format!("{name}: {what}")))?;
        Ok(config)
    }

    fn sane(&self) -> Result<(), String> {
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err("tls.certificate and tls.key go together: set both or none".into());
        }
        if self.media.workers == 0 || self.media.workers > 64 {
            return Err(format!("media.workers is {}: from 1 to 64 are possible", self.media.workers));
        }
        if self.media.dscp > 63 {
            return Err(format!("media.dscp is {}: from 0 to 63 are possible (RFC 2474)", self.media.dscp));
        }
        let Sip { session_expires_s, min_se_s, .. } = self.sip;
        if min_se_s < SHORTEST_S {
            return Err(format!("sip.min_se_s is {min_se_s}: no session is shorter than {SHORTEST_S} s (RFC 4028 §5)"));
        }
        if self.sip.silent_s == 0 || self.sip.silent_s > 3_600 {
            return Err(format!("sip.silent_s is {}: from 1 to 3600 s are possible", self.sip.silent_s));
        }
        if session_expires_s != 0 && session_expires_s < min_se_s {
            return Err(format!("sip.session_expires_s is {session_expires_s}: less than sip.min_se_s, {min_se_s}"));
        }
        let Sip { udp, tcp, tls, ws, wss, .. } = &self.sip;
        if [udp, tcp, tls, ws, wss].iter().all(|addresses| addresses.is_empty()) {
            return Err("no listener is left: set one of sip.udp, sip.tcp, sip.tls, sip.ws, sip.wss".into());
        }
        Ok(())
    }
}

/// The shortest session that there is (RFC 4028 §5).
const SHORTEST_S: u32 = 90;

/// Line and column, counted from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The key that was probably meant, from serde's "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> Option<String> {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = names.split_first()?;
    if !message.starts_with("unknown field") && !message.starts_with("unknown variant") {
        return None;
    }
    let (distance, best) = known.iter().map(|name| (strsim::damerau_levenshtein(unknown, name), name)).min()?;
    (distance <= 1 + unknown.len() / 3).then(|| (*best).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_its_place_and_a_guess() {
        let error = Config::parse("[sip]\nudp = [\"0.0.0.0:5060\"]\nsilense_s = 3\n", "pbx.toml").unwrap_err();
        assert!(error.0.starts_with("pbx.toml:3:1: unknown field `silense_s`"), "{error}");
        assert!(error.0.ends_with("did you mean `silence_s`?"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place() {
        let error = Config::parse("[media]\nports = \"20000-10000\"\n", "pbx.toml").unwrap_err();
        assert!(error.0.starts_with("pbx.toml:2:9: the port range"), "{error}");
    }

    #[test]
    fn sessions_are_not_shorter_than_they_may_be() {
        let error = |text: &str| Config::parse(&format!("[sip]\n{text}\n"), "x").err().map(|error| error.0);
        assert!(error("min_se_s = 60").unwrap().contains("no session is shorter than 90 s"));
        assert!(error("session_expires_s = 100\nmin_se_s = 120").unwrap().contains("less than sip.min_se_s, 120"));
        assert_eq!(error("session_expires_s = 0"), None);
    }

    #[test]
    fn a_first_start_listens_on_both_families() {
        let Sip { udp, tcp, tls, ws, wss, .. } = Sip::default();
        let families = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::is_ipv4).collect::<Vec<_>>();
        assert_eq!([udp, tcp, tls, wss].map(|addresses| families(&addresses)), [[true, false]; 4]);
        assert!(ws.is_empty());
    }

    #[test]
    fn any_listener_will_do() {
        let none = "udp = []\ntcp = []\ntls = []\nwss = []\n";
        let read = |more: &str| Config::parse(&format!("[sip]\n{none}{more}"), "x").map_err(|error| error.0);
        assert!(read("").unwrap_err().contains("no listener is left"));
        assert_eq!(read("ws = [\"127.0.0.1:8088\"]\n").unwrap().sip.ws.len(), 1);
    }

    #[test]
    fn half_a_certificate_is_refused() {
        assert!(Config::parse("[tls]\nkey = \"k.pem\"\n", "x").unwrap_err().0.contains("go together"));
    }

    #[test]
    fn the_shipped_file_shows_the_defaults() {
        let shipped = include_str!("../../../conf/crosspoint.toml");
        assert!(Config::parse(shipped, "conf").is_ok());
        let uncommented: String = shipped
            .lines()
            .filter(|line| {
                !line.contains("advertise")
                    && !line.starts_with("# certificate")
                    && !line.starts_with("# key")
                    && !line.starts_with("# names")
                    && !line.starts_with("# authorities")
                    && !line.starts_with("# single_port")
            })
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") && !rest.starts_with("Every") => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let read = Config::parse(&uncommented, "conf").unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", Config::default()));
    }
}
