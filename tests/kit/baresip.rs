//! baresip (Debian): a softphone without a screen that plays a WAV file into a call and keeps what it hears.

use crate::program::{free, wait_for};
use crate::tone;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running baresip.
pub struct Baresip {
    child: Child,
    control: SocketAddr,
    folder: tempfile::TempDir,
}

/// How a baresip is set up.
pub struct Phone<'a> {
    /// The user part of its address.
    pub user: &'a str,
    /// The user name of its credentials.
    pub auth_user: &'a str,
    /// The password.
    pub password: &'a str,
    /// The exchange.
    pub server: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'a str,
    /// The certificate that TLS is checked against.
    pub trust: Option<&'a Path>,
    /// How its media are encrypted: `srtp` (where the other side takes it up), `srtp-mand` (or not at all).
    pub mediaenc: Option<&'a str>,
    /// The tone that it plays. Units: Hz.
    pub tone: f64,
    /// Whom it calls once it runs; `None`: it answers.
    pub dial: Option<&'a str>,
    /// After how long it ends by itself. Units: seconds.
    pub seconds: u32,
}

impl Baresip {
    /// Starts it.
    pub fn start(phone: &Phone<'_>) -> Baresip {
        Baresip::start_with(phone, "")
    }

    /// The same, that does ICE: the exchange is not on loopback then, as it offers no such address.
    pub fn start_with_ice(phone: &Phone<'_>) -> Baresip {
        Baresip::start_with(phone, ";medianat=ice")
    }

    fn start_with(phone: &Phone<'_>, more: &str) -> Baresip {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (dir, control) = (folder.path(), free());
        tone::write(&dir.join("tone.wav"), phone.tone, phone.seconds + 5);
        let trust = phone.trust.map_or(String::from("sip_verify_server no"), |path| {
            format!("sip_cafile {}\nsip_verify_server yes", path.display())
        });
        let config = format!(
            "poll_method epoll\nnet_interface {host}\n{trust}\naudio_path /usr/share/baresip\naudio_source aufile,{dir}/tone.wav\naudio_srate 8000\naudio_channels 1\n\
             module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aufile.so\nmodule srtp.so\nmodule ice.so\nmodule sndfile.so\nmodule_tmp uuid.so\nmodule_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {control}\nsnd_path {dir}\n",
            dir = dir.display(),
            host = phone.server.ip()
        );
        let account = format!(
            "<sip:{}@{};transport={}>;auth_user={};auth_pass={};answermode=auto;regint=60{}{more}\n",
            phone.user,
            phone.server,
            phone.transport,
            phone.auth_user,
            phone.password,
            phone.mediaenc.map_or(String::new(), |mediaenc| format!(";mediaenc={mediaenc}")),
        );
        for (name, text) in [("config", config), ("accounts", account), ("contacts", "\n".into())] {
            std::fs::write(dir.join(name), text).expect("baresip's files are written");
        }
        let log = std::fs::File::create(dir.join("log")).expect("a log file");
        let copy = log.try_clone().expect("a second handle");
        let mut command = Command::new("baresip");
        command.arg("-f").arg(dir).args(["-t", &phone.seconds.to_string()]);
        if let Some(number) = phone.dial {
            command.args(["-e", &format!("/dial {number}")]);
        }
        let child = command.stdin(Stdio::null()).stdout(log).stderr(copy).spawn().expect("baresip runs");
        Baresip { child, control, folder }
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// Does what a person would type: `hold`, `resume`, `transfer` with an address, and so on.
    pub fn command(&self, command: &str, argument: &str) {
        let mut connection = None;
        wait_for(Duration::from_secs(5), || {
            connection = TcpStream::connect(self.control).ok();
            connection.is_some()
        });
        let mut connection = connection.unwrap_or_else(|| panic!("no control port: {}", self.log()));
        let text = format!("{{\"command\":\"{command}\",\"params\":\"{argument}\"}}");
        write!(connection, "{}:{text},", text.len()).expect("baresip reads commands");
        connection.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        let (mut answer, mut part) = (String::new(), [0; 4_096]);
        // Events may come before the answer.
        while !answer.contains("\"response\":true") {
            let length = connection.read(&mut part).unwrap_or_else(|error| panic!("{command}: {error}: {answer}"));
            assert!(length > 0, "{command}: {answer}");
            answer.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        assert!(answer.contains("\"ok\":true"), "{command}: {answer}\n{}", self.log());
    }

    /// What it sends and hears, as it showed last. Units: bits a second.
    pub fn rates(&self) -> Option<(u32, u32)> {
        let log = self.log();
        let (_, shown) = log.rsplit_once("audio=")?;
        let (sends, hears) = shown.split_once(' ')?.0.split_once('/')?;
        Some((sends.parse().ok()?, hears.parse().ok()?))
    }

    /// Hangs up what it has, and ends it.
    pub fn quit(&mut self) {
        self.command("quit", "");
        self.wait();
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) {
        self.child.wait().expect("our own child can be awaited");
    }

    /// The file with what it heard.
    pub fn heard(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).ok()?;
        entries.flatten().map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with("-dec.wav"))
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
