//! What a phone says about its media, and what it was told.

use bytes::Bytes;
use media::sdp::{Description, Direction};
use std::net::SocketAddr;

/// A phone's side of the media of one line.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where it hears and from where it speaks.
    pub address: SocketAddr,
    /// What it wants: it holds the other side when it does not receive.
    pub wish: Direction,
    /// What it said last.
    said: Direction,
    /// Where the other side hears, and what it said last.
    remote: Option<(SocketAddr, Direction)>,
    id: u64,
    version: u32,
    /// It wants or has a fax (T.38), not speech.
    pub fax: bool,
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
            id: id >> 34,
            version: 0,
            fax: false,
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

    /// Offers what it wishes.
    pub(crate) fn offer(&mut self) -> Bytes {
        self.said = self.wish;
        self.print(None)
    }

    /// Offers what it said last.
    pub(crate) fn again(&mut self) -> Bytes {
        self.version -= 1;
        self.print(None)
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
        self.take(offer);
        let theirs = self.remote.map_or(Direction::SendRecv, |(_, direction)| direction);
        // A phone that is held may still send; one that holds does not begin to hear because it was asked.
        self.said = self.wish.and(theirs.reversed());
        self.fax = self.theirs_fax;
        self.print(Some(offer))
    }

    /// Whether both have a fax.
    pub fn faxes(&self) -> bool {
        self.fax && self.theirs_fax
    }

    /// Takes the other side's description.
    pub(crate) fn take(&mut self, description: &[u8]) {
        self.before = None;
        let description = Description::parse(description).expect("the exchange writes descriptions that can be read");
        self.theirs_fax = description.fax().is_some();
        let (at, direction) = if let Some(fax) = description.fax() {
            (fax.remote(), fax.direction())
        } else {
            let audio = description.audio().expect("the exchange describes audio");
            (audio.remote, audio.direction)
        };
        self.remote = at.map(|at| at.rtp).or(self.remote()).map(|address| (address, direction));
    }

    fn print(&mut self, offer: Option<&[u8]>) -> Bytes {
        self.version += 1;
        let SocketAddrText { family, ip } = SocketAddrText::of(self.address);
        // An answer has as many media as its offer (RFC 3264 §6).
        let others =
            offer.map_or(0, |offer| Description::parse(offer).map_or(0, |offer| offer.media_count())).max(1) - 1;
        if self.fax || self.faxed {
            self.faxed = true;
            return self.print_fax();
        }
        let mut text = format!(
            "v=0\r\no=phone {} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 8 0 101\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na={}\r\n",
            self.id,
            self.version,
            self.address.port(),
            self.said.as_str(),
        );
        for _ in 0..others {
            text.push_str("m=video 0 RTP/AVP 99\r\n");
        }
        Bytes::from(text)
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
