//! What a phone says about its media, and what it was told.

use bytes::Bytes;
use media::ice::{Checks, Credentials};
use media::sdes::Crypto;
use media::sdp::{Description, Direction};
use media::srtp::{MasterKey, Suite};
use std::net::SocketAddr;

/// How a phone asks for encrypted media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keying {
    /// It does not, and knows nothing of it.
    #[default]
    Never,
    /// By keys in RTP/AVP, which it takes up as well (RFC 8643).
    Optional,
    /// By RTP/SAVP; it takes nothing else.
    Always,
    /// By two audio lines, one of each kind.
    Both,
    /// Not at all: it answers RTP/SAVP by RTP/AVP.
    Careless,
}

/// A phone's side of the media of one line.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what a phone wants and what was agreed on vary by themselves")]
pub struct Session {
    /// Where it hears and from where it speaks.
    pub address: SocketAddr,
    /// What it wants: it holds the other side when it does not receive.
    pub wish: Direction,
    /// What it said last.
    said: Direction,
    /// Where the other side hears, and what it said last.
    remote: Option<(SocketAddr, Direction)>,
    /// How it asks for encrypted media.
    pub keying: Keying,
    /// With another number it offers other keys.
    pub keys: u8,
    /// The payload types that it has, in its order, out of 8, 0 and 101.
    pub codecs: &'static [u8],
    /// Those that the other side named last.
    told: Vec<u8>,
    /// It offers one port for RTP and RTCP, and takes that up (RFC 5761).
    pub rtcp_mux: bool,
    /// Both sides said so.
    muxed: bool,
    /// What it wants of extended reports (RFC 3611 §5), if it knows them.
    pub reports: Option<&'static str>,
    /// What the other side said of them last.
    told_reports: Option<String>,
    /// It does ICE where the other side does too.
    pub ice: bool,
    /// How often its ICE was begun anew.
    pub restarts: u8,
    /// What it said last has ICE.
    says_ice: bool,
    /// How the other side is named in checks, if it said so last.
    told_ice: Option<Credentials>,
    /// Its key and that of the other side, if both encrypt.
    agreed: Option<(MasterKey, MasterKey)>,
    id: u64,
    version: u32,
    /// It wants or has a fax (T.38), not speech.
    pub fax: bool,
    /// It answers a fax by declining all that is offered, instead of refusing.
    pub declines_fax: bool,
    /// It had one: the line stays in its descriptions (RFC 3264 §8).
    faxed: bool,
    /// What the other side said last was a fax.
    theirs_fax: bool,
    /// What it had before an offer that has no answer yet.
    before: Option<(SocketAddr, Direction, Direction, bool)>,
}

impl Session {
    pub(crate) fn new(address: SocketAddr, id: u64) -> Self {
        let (wish, said) = (Direction::SendRecv, Direction::SendRecv);
        Session {
            address,
            wish,
            said,
            remote: None,
            keying: Keying::Never,
            keys: 0,
            codecs: CODECS,
            told: Vec::new(),
            rtcp_mux: false,
            muxed: false,
            reports: None,
            told_reports: None,
            ice: false,
            restarts: 0,
            says_ice: false,
            told_ice: None,
            agreed: None,
            id: id >> 34,
            version: 0,
            fax: false,
            declines_fax: false,
            faxed: false,
            theirs_fax: false,
            before: None,
        }
    }

    /// Where the other side hears, once it has said so.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote.map(|(address, _)| address)
    }

    /// Whether it sends, by what both said.
    pub fn sends(&self) -> bool {
        self.said.sends() && self.remote.is_some_and(|(_, theirs)| theirs.receives())
    }

    /// Whether it hears, by what both said.
    pub fn hears(&self) -> bool {
        self.said.receives() && self.remote.is_some_and(|(_, theirs)| theirs.sends())
    }

    /// The payload types that both sides named last, in its order.
    pub fn agreed(&self) -> Vec<u8> {
        self.codecs.iter().copied().filter(|codec| self.told.contains(codec)).collect()
    }

    /// Whether one port has RTP and RTCP, by what both said.
    pub fn is_muxed(&self) -> bool {
        self.muxed
    }

    /// What the other side said last of extended reports.
    pub fn told_reports(&self) -> Option<&str> {
        self.told_reports.as_deref()
    }

    /// Its line of extended reports, where it may say one.
    fn report_line(&self, says: bool) -> String {
        self.reports.filter(|_| says).map_or(String::new(), |wanted| format!("a=rtcp-xr:{wanted}\r\n"))
    }

    /// By what its checks are known, if both sides do ICE.
    pub fn checks(&self) -> Option<Checks> {
        let ours = self.told_ice.clone().filter(|_| self.says_ice)?;
        Some(Checks { ours, theirs: self.ice_names().ufrag, rtcp_mux: self.muxed })
    }

    /// How it is named in checks.
    fn ice_names(&self) -> Credentials {
        let name = format!("{:08x}{:02x}", self.id as u32, self.restarts);
        Credentials::parse(&name, &name.repeat(3)).expect("digits are long enough")
    }

    fn ice_lines(&self) -> String {
        let Credentials { ufrag, pwd } = self.ice_names();
        let (ip, port) = (self.address.ip(), self.address.port());
        let candidate = format!("a=candidate:1 1 UDP 2130706431 {ip} {port} typ host\r\n");
        format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{}\r\n{candidate}", pwd.reveal())
    }

    /// The key of what it sends, if that is encrypted.
    pub fn speaks_with(&self) -> Option<&MasterKey> {
        self.agreed.as_ref().map(|(ours, _)| ours)
    }

    /// The key of what it hears.
    pub fn hears_with(&self) -> Option<&MasterKey> {
        self.agreed.as_ref().map(|(_, theirs)| theirs)
    }

    /// Its key for a suite.
    fn key(&self, suite: Suite) -> MasterKey {
        let bytes = [self.id.to_be_bytes(), [self.keys; 8]].concat().repeat(3);
        MasterKey::new(suite, &bytes[..suite.key_bytes() + suite.salt_bytes()]).expect("as long as the suite says")
    }

    /// What it offers.
    fn lines(&self) -> [Crypto; 2] {
        let line = |tag, suite| Crypto { tag, key: self.key(suite) };
        [line(1, Suite::AesCm128HmacSha1Tag80), line(2, Suite::AeadAes256Gcm)]
    }

    /// Offers what it wishes.
    pub(crate) fn offer(&mut self) -> Bytes {
        self.said = self.wish;
        self.says_ice = self.ice;
        let port = self.address.port();
        let keys = self.lines().map(|line| format!("a=crypto:{}\r\n", line.print())).concat();
        let reports = self.report_line(true);
        let keys = keys + &reports;
        let media = match self.keying {
            Keying::Never | Keying::Careless => self.audio(port, "RTP/AVP", self.codecs, &reports),
            Keying::Optional => self.audio(port, "RTP/AVP", self.codecs, &keys),
            Keying::Always => self.audio(port, "RTP/SAVP", self.codecs, &keys),
            Keying::Both => {
                self.audio(port, "RTP/AVP", self.codecs, &reports) + &self.audio(port, "RTP/SAVP", self.codecs, &keys)
            }
        };
        self.print(&media)
    }

    /// Offers what it said last.
    pub(crate) fn again(&mut self) -> Bytes {
        self.version -= 1;
        self.offer()
    }

    /// Remembers what holds now, in case that the next offer is refused.
    pub(crate) fn save(&mut self) {
        self.before = Some((self.address, self.wish, self.said, self.fax));
    }

    /// The offer was refused: all is as before.
    pub(crate) fn restore(&mut self) {
        if let Some((address, wish, said, fax)) = self.before.take() {
            (self.address, self.wish, self.said, self.fax) = (address, wish, said, fax);
        }
    }

    /// Takes an offer and answers it.
    pub(crate) fn answer(&mut self, offer: &[u8]) -> Bytes {
        self.listen(offer);
        let theirs = self.remote.map_or(Direction::SendRecv, |(_, direction)| direction);
        // A phone that is held may still send; one that holds does not begin to hear because it was asked.
        self.said = self.wish.and(theirs.reversed());
        self.fax = self.theirs_fax && !self.declines_fax;
        if self.theirs_fax && self.declines_fax {
            self.said = Direction::Inactive;
            return self.print("m=audio 0 RTP/AVP 8\r\nm=image 0 udptl t38\r\n");
        }
        if self.fax || self.faxed {
            return self.print("");
        }
        let offer = Description::parse(offer).expect("the exchange writes descriptions that can be read");
        let offered = offer.audio().expect("the exchange offers audio");
        let can = !matches!(self.keying, Keying::Never | Keying::Careless);
        let crypto = offered.crypto().filter(|_| can);
        let plain = crypto.is_none();
        assert!(
            self.keying == Keying::Careless || !(plain && offered.media().is_savp()),
            "who cannot encrypt is asked to"
        );
        assert!(self.keying != Keying::Always || !plain, "who must encrypt is asked not to");
        self.agreed = crypto.as_ref().map(|theirs| (self.key(theirs.key.suite()), theirs.key.clone()));
        let line = crypto.map(|theirs| Crypto { tag: theirs.tag, key: self.key(theirs.key.suite()) });
        self.muxed = self.rtcp_mux && offered.rtcp_mux;
        self.says_ice = self.ice && self.told_ice.is_some();
        let keys = line.map_or(String::new(), |line| format!("a=crypto:{}\r\n", line.print()));
        let keys = keys + &self.report_line(self.told_reports.is_some());
        // An answer has as many media as its offer (RFC 3264 §6).
        let media = offer.media().map(|line| {
            if line.index != offered.index {
                return format!("m={} 0 {} 99\r\n", line.kind, line.protocol);
            }
            let protocol = if plain { "RTP/AVP" } else { line.protocol };
            let offers = |codec: &u8| line.formats().any(|format| format == codec.to_string());
            let codecs: Vec<u8> = self.codecs.iter().copied().filter(offers).collect();
            assert!(!codecs.is_empty(), "nothing in common");
            self.audio(self.address.port(), protocol, &codecs, &keys)
        });
        self.print(&media.collect::<String>())
    }

    /// Whether both have a fax.
    pub fn faxes(&self) -> bool {
        self.fax && self.theirs_fax
    }

    /// Takes the other side's answer.
    pub(crate) fn take(&mut self, description: &[u8]) {
        self.listen(description);
        let answer = Description::parse(description).expect("the exchange writes descriptions that can be read");
        let audio = answer.audio().filter(|audio| audio.is_accepted);
        self.muxed = audio.as_ref().is_some_and(|audio| audio.rtcp_mux);
        assert!(self.ice || self.told_ice.is_none(), "ICE, which nobody asked for");
        assert!(self.rtcp_mux || !self.muxed, "one port for both, which nobody asked for");
        let theirs = audio.as_ref().and_then(media::sdp::AudioView::crypto);
        self.agreed = theirs.map(|theirs| {
            let ours = self.lines().into_iter().find(|line| line.tag == theirs.tag).expect("a tag that was offered");
            assert!(self.keying != Keying::Never && ours.key.suite() == theirs.key.suite(), "an answer to nothing");
            (ours.key, theirs.key)
        });
        assert!(audio.is_none() || self.agreed.is_some() || self.keying != Keying::Always, "talk is not encrypted");
    }

    fn listen(&mut self, description: &[u8]) {
        self.before = None;
        let description = Description::parse(description).expect("the exchange writes descriptions that can be read");
        self.theirs_fax = description.fax().is_some();
        let (at, direction) = if let Some(fax) = description.fax() {
            (fax.remote(), fax.direction())
        } else {
            let audio = description.audio().expect("the exchange describes audio");
            self.told = audio.media().formats().filter_map(|format| format.parse().ok()).collect();
            self.told_ice = lite(&description);
            self.told_reports = audio.media().attribute("rtcp-xr").map(str::to_owned);
            (audio.remote, audio.direction)
        };
        self.remote = at.map(|at| at.rtp).or(self.remote()).map(|address| (address, direction));
    }

    fn audio(&self, port: u16, protocol: &str, codecs: &[u8], keys: &str) -> String {
        // An offer says it for the phone, an answer for both.
        let mux = if self.rtcp_mux && (self.muxed || self.remote.is_none()) { "a=rtcp-mux\r\n" } else { "" };
        let ice = if self.says_ice { self.ice_lines() } else { String::new() };
        let formats: Vec<String> = codecs.iter().map(ToString::to_string).collect();
        let formats = formats.join(" ");
        let maps: String = codecs.iter().map(|codec| map(*codec)).collect();
        format!("m=audio {port} {protocol} {formats}\r\n{maps}a={}\r\n{mux}{ice}{keys}", self.said.as_str())
    }

    fn print(&mut self, media: &str) -> Bytes {
        self.version += 1;
        let SocketAddrText { family, ip } = SocketAddrText::of(self.address);
        if self.fax || self.faxed {
            self.faxed = true;
            return self.print_fax();
        }
        Bytes::from(format!(
            "v=0\r\no=phone {} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n{media}",
            self.id, self.version,
        ))
    }
}

impl Session {
    /// An audio and an image, of which one is wanted.
    fn print_fax(&self) -> Bytes {
        let SocketAddrText { family, ip } = SocketAddrText::of(self.address);
        let port = |wanted: bool| if wanted { self.address.port() } else { 0 };
        let (audio, image) = (port(!self.fax), port(self.fax));
        let direction = if self.fax { "" } else { self.said.as_str() };
        let of_audio = format!("a=rtpmap:8 PCMA/8000\r\na={direction}\r\n");
        let text = format!(
            "v=0\r\no=phone {} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {audio} RTP/AVP 8\r\n\
             {}m=image {image} udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n",
            self.id,
            self.version,
            if self.fax { "" } else { &of_audio },
        );
        Bytes::from(text)
    }
}

/// How the exchange names itself in a description, which says that it is lite, and where: at its default address.
fn lite(description: &Description) -> Option<Credentials> {
    let audio = description.audio()?.media();
    let is_lite = description.attributes().any(|(name, _)| name == "ice-lite");
    assert_eq!(is_lite, audio.attribute("ice-ufrag").is_some(), "{description:?}");
    let names = Credentials::parse(audio.attribute("ice-ufrag")?, audio.attribute("ice-pwd")?)?;
    let ip = audio.connection().and_then(|connection| connection.ip()).expect("an address");
    let candidate = audio.attribute("candidate").expect("a candidate");
    assert!(candidate.ends_with(&format!(" {ip} {} typ host", audio.port)), "{description:?}");
    Some(names)
}

/// What a phone has that says nothing else.
pub(crate) const CODECS: &[u8] = &[8, 0, 101];

/// The lines about a payload type.
const fn map(payload_type: u8) -> &'static str {
    match payload_type {
        8 => "a=rtpmap:8 PCMA/8000\r\n",
        0 => "a=rtpmap:0 PCMU/8000\r\n",
        _ => "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
    }
}

struct SocketAddrText {
    family: &'static str,
    ip: String,
}

impl SocketAddrText {
    fn of(address: SocketAddr) -> Self {
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        SocketAddrText { family, ip: address.ip().to_string() }
    }
}
