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
    /// What it had before an offer that has no answer yet.
    before: Option<(SocketAddr, Direction, Direction)>,
}

impl Session {
    pub(crate) fn new(address: SocketAddr, id: u64) -> Self {
        let (wish, said) = (Direction::SendRecv, Direction::SendRecv);
        Session { address, wish, said, remote: None, id: id >> 34, version: 0, before: None }
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

    /// Remembers what holds now, in case that the next offer is refused.
    pub(crate) fn save(&mut self) {
        self.before = Some((self.address, self.wish, self.said));
    }

    /// The offer was refused: all is as before.
    pub(crate) fn restore(&mut self) {
        if let Some((address, wish, said)) = self.before.take() {
            (self.address, self.wish, self.said) = (address, wish, said);
        }
    }

    /// Takes an offer and answers it.
    pub(crate) fn answer(&mut self, offer: &[u8]) -> Bytes {
        self.take(offer);
        let theirs = self.remote.map_or(Direction::SendRecv, |(_, direction)| direction);
        // A phone that is held may still send; one that holds does not begin to hear because it was asked.
        self.said = self.wish.and(theirs.reversed());
        self.print(Some(offer))
    }

    /// Takes the other side's description.
    pub(crate) fn take(&mut self, description: &[u8]) {
        self.before = None;
        let description = Description::parse(description).expect("the exchange writes descriptions that can be read");
        let audio = description.audio().expect("the exchange describes audio");
        let at = audio.remote.map(|remote| remote.rtp);
        self.remote = at.or(self.remote()).map(|address| (address, audio.direction));
    }

    fn print(&mut self, offer: Option<&[u8]>) -> Bytes {
        self.version += 1;
        let SocketAddrText { family, ip } = SocketAddrText::of(self.address);
        // An answer has as many media as its offer (RFC 3264 §6).
        let others =
            offer.map_or(0, |offer| Description::parse(offer).map_or(0, |offer| offer.media_count())).max(1) - 1;
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
