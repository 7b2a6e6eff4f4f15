//! The program as a process of its own, as people run it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A running exchange.
pub struct Program {
    child: Child,
    /// Its SIP address, UDP and TCP.
    pub sip: SocketAddr,
    /// Its TLS address, when it has one.
    pub tls: Option<SocketAddr>,
    /// Its WebSocket address, when it has one.
    pub ws: Option<SocketAddr>,
    /// Its secure WebSocket address, when it has one.
    pub wss: Option<SocketAddr>,
    /// The address of /metrics and /readyz.
    pub http: SocketAddr,
    /// Where it sends calls to numbers that begin with 9 (bench profile).
    pub uas: SocketAddr,
    arguments: Vec<String>,
    data: PathBuf,
    _folder: tempfile::TempDir,
}

/// Where it listens.
#[derive(Clone, Copy)]
struct Ports {
    sip: SocketAddr,
    tls: Option<SocketAddr>,
    ws: Option<SocketAddr>,
    wss: Option<SocketAddr>,
    http: SocketAddr,
    uas: SocketAddr,
}

impl Program {
    /// The bench profile on free ports.
    pub fn bench() -> Program {
        Program::bench_on("20000-24000")
    }

    /// The same with these ports for audio.
    pub fn bench_on(ports: &str) -> Program {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (sip, http, uas) = (free(), free(), free());
        let arguments = [
            "run",
            "--profile",
            "bench",
            "--data",
            "DATA",
            "--sip",
            "SIP",
            "--http",
            "HTTP",
            "--uas",
            "UAS",
            "--rtp",
            ports,
        ];
        let arguments = arguments.map(|argument| match argument {
            "DATA" => folder.path().join("data").display().to_string(),
            "SIP" => sip.to_string(),
            "HTTP" => http.to_string(),
            "UAS" => uas.to_string(),
            other => other.to_owned(),
        });
        Program::start(folder, arguments.to_vec(), Ports { sip, tls: None, ws: None, wss: None, http, uas })
    }

    /// As an office runs it: a configuration file, digests on, on loopback and free ports.
    pub fn office() -> Program {
        Program::office_with("")
    }

    /// The same with more lines at the end of its configuration: those about SIP first.
    pub fn office_with(more: &str) -> Program {
        Program::office_at(IpAddr::V4(Ipv4Addr::LOCALHOST), "", more)
    }

    /// The same on an address of this host, with more lines about media.
    pub fn office_at(host: IpAddr, media: &str, more: &str) -> Program {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (sip, tls, http) = (free_at(host), free_at(host), free());
        let (ws, wss) = (free_at(host), free_at(host));
        let config = folder.path().join("crosspoint.toml");
        let text = format!(
            "[media]\nports = \"{}\"\n{media}[http]\nlisten = \"{http}\"\n[sip]\nudp = [\"{sip}\"]\ntcp = [\"{sip}\"]\ntls = [\"{tls}\"]\nws = [\"{ws}\"]\nwss = [\"{wss}\"]\n{more}",
            media_ports()
        );
        std::fs::write(&config, text).expect("the configuration is written");
        let data = folder.path().join("data").display().to_string();
        let arguments = ["run", "--config", &config.display().to_string(), "--data", &data].map(str::to_owned).to_vec();
        let ports = Ports { sip, tls: Some(tls), ws: Some(ws), wss: Some(wss), http, uas: free() };
        Program::start(folder, arguments, ports)
    }

    fn start(folder: tempfile::TempDir, arguments: Vec<String>, ports: Ports) -> Program {
        let data = folder.path().join("data");
        let child = spawn(&arguments, folder.path());
        let Ports { sip, tls, ws, wss, http, uas } = ports;
        let mut program = Program { child, sip, tls, ws, wss, http, uas, arguments, data, _folder: folder };
        program.wait_until_ready();
        program
    }

    /// Ends it as a power cut of the process would.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be awaited");
    }

    /// Starts it again on the same data and ports.
    pub fn restart(&mut self) {
        self.child = spawn(&self.arguments, self.data.parent().expect("data lies in a folder"));
        self.wait_until_ready();
    }

    /// Whether it ends by itself, and well, within ten seconds.
    pub fn ends(&mut self) -> bool {
        wait_for(Duration::from_secs(10), || matches!(self.child.try_wait(), Ok(Some(status)) if status.success()))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it alone takes, and its part of what it shares. Units: KB.
    pub fn pss_kb(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let folder = self.data.parent().expect("data lies in a folder");
        std::fs::read_to_string(folder.join("log")).unwrap_or_default()
    }

    /// Runs a verb of the command line against it.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with(arguments, "")
    }

    /// What a person reads whose terminal speaks this language, as `LC_ALL` names it.
    pub fn read_in(&self, locale: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--data").arg(&self.data).env("LC_ALL", locale).stdin(Stdio::null());
        String::from_utf8(command.output().expect("the program runs").stdout).expect("it says words")
    }

    /// The same with something on standard input.
    pub fn cli_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--data").arg(&self.data);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the program reads");
        child.wait_with_output().expect("the program ends")
    }

    /// Runs a verb with `--json` and reads what it says.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.cli(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// Makes an account with users and given passwords. Their digest names are `ACCOUNTEXTENSION`, as two accounts share
    /// extensions; they are offered MD5 only, as Debian's baresip gives up at any other challenge.
    pub fn people(&self, account: &str, users: &[(&str, &str)]) {
        self.json(&["account", "create", account, "--domain", &format!("{account}.example")]);
        for (extension, password) in users {
            self.person(account, extension, password, "optional");
        }
    }

    /// Makes one such user, whose audio is encrypted by this rule.
    pub fn person(&self, account: &str, extension: &str, password: &str, srtp: &str) {
        let auth_user = format!("{account}{extension}");
        let name = ["--auth-user", &auth_user, "--password-stdin"];
        let arguments =
            [&["user", "add", account, extension][..], &name, &["--algorithms", "md5", "--srtp", srtp, "--json"]];
        let output = self.cli_with(&arguments.concat(), password);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The value of a metric.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let value = line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name} in {text}"))
    }

    /// The body of a page.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).expect("HTTP answers");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http)
            .expect("HTTP takes a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("HTTP answers in text");
        text
    }

    fn wait_until_ready(&mut self) {
        let http = self.http;
        let mut ended = None;
        let ready = wait_for(Duration::from_secs(20), || {
            ended = self.child.try_wait().expect("our own child can be asked");
            ended.is_some() || TcpStream::connect(http).is_ok()
        });
        assert!(ready && ended.is_none(), "the program does not start ({ended:?}): {}", self.log());
        assert!(self.get("/readyz").contains("200"), "the program is not ready: {}", self.log());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program with these arguments until it ends by itself.
pub fn run_to_end(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("the program runs")
}

/// The program, as cargo built it for this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let binary = folder.join("crosspoint");
    assert!(binary.exists(), "{} is missing: cargo builds it for the tests of its own package", binary.display());
    binary
}

/// A range of media ports that no other program of these tests has (fewer than eighteen run at a time), below the ports that the system gives out.
fn media_ports() -> String {
    static STARTED: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + STARTED.fetch_add(1, Ordering::Relaxed) % 18 * 1_250;
    format!("{first}-{}", first + 1_249)
}

/// An address on loopback whose port is free for UDP and TCP at this moment.
pub fn free() -> SocketAddr {
    free_at(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The address by which this host reaches others, if it has one.
pub fn host_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system says which way it would take.
    socket.connect("198.51.100.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// The same on another address of this host. Ports are handed out in turn, from above those that the system gives to sockets
/// which ask for any: between this moment and the one in which a program binds it, nobody else comes upon such a port.
pub fn free_at(host: IpAddr) -> SocketAddr {
    const FIRST: u16 = 61_000;
    const COUNT: u16 = 4_400;
    // SIPp takes those beside its media port, too.
    const STEP: u16 = 4;
    static TURN: LazyLock<AtomicU16> = LazyLock::new(|| {
        // Two of these tests' executables, if somebody runs them side by side, begin at different ports.
        AtomicU16::new(u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default())
    });
    for _ in 0..COUNT / STEP {
        let turn = TURN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |turn| Some((turn + STEP) % COUNT));
        let port = FIRST + turn.unwrap_or_default() / STEP * STEP;
        if UdpSocket::bind((host, port)).is_ok() && TcpListener::bind((host, port)).is_ok() {
            return SocketAddr::new(host, port);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

/// Looks every 20 ms whether something has come true, for `limit` at the most.
pub fn wait_for(limit: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let end = now() + limit;
    while now() < end {
        if is_true() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    is_true()
}

#[expect(clippy::disallowed_methods, reason = "tests of processes wait in real time")]
fn now() -> Instant {
    Instant::now()
}

fn spawn(arguments: &[String], folder: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log file");
    let copy = log.try_clone().expect("a second handle");
    Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .spawn()
        .expect("the program runs")
}
