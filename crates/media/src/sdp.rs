//! Session descriptions (RFC 8866): a text and an index of its lines. Reading copies the text once; views borrow it.
//!
//! Lines that nobody knows are kept, in their place. Printing gives the text back with CRLF line ends.

mod audio;
mod parse;
mod print;

pub(crate) use audio::rtpmap;
pub use audio::{AudioView, CodecView};
pub use parse::{DESCRIPTION_BYTES, FORMATS, LINE_BYTES, LINES, MEDIA, SdpError, SdpFault};

use bytes::Bytes;
use std::net::IpAddr;

/// A description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// All lines, each ended by CRLF.
    text: String,
    lines: Vec<Line>,
    /// The place of each `m=` among the lines.
    media_at: Vec<u16>,
}

/// A line of the text: its letter, and where its value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    letter: u8,
    start: u32,
    end: u32,
}

/// In which directions media flows, as the one says who wrote it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both; what holds when nothing is said.
    #[default]
    SendRecv,
    /// The writer sends only.
    SendOnly,
    /// The writer receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The direction with these two halves.
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same seen from the other side (RFC 3264 §6.1).
    pub const fn reversed(self) -> Self {
        Direction::new(self.receives(), self.sends())
    }

    /// What both allow.
    pub const fn and(self, other: Self) -> Self {
        Direction::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// The name of its attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// The direction of an attribute's name; case matters (RFC 8866 §6).
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }
}

/// The `o=` line (RFC 8866 §5.2). Numbers stay text: some are longer than any integer, and they are only compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The user; may hold blanks, though it should not.
    pub username: &'a str,
    /// The number of the session.
    pub session_id: &'a str,
    /// Its version: rises with each change.
    pub version: &'a str,
    /// `IP4` or `IP6`.
    pub address_type: &'a str,
    /// The address or name.
    pub address: &'a str,
}

/// A `c=` line (RFC 8866 §5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// `IP4` or `IP6`.
    pub address_type: &'a str,
    /// The address or name, without the TTL and count of multicast.
    pub address: &'a str,
}

impl Connection<'_> {
    /// The address, when it is one and not a name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    /// Whether it is the address of nowhere, by which old phones hold (RFC 3264 §8.4).
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

/// One `m=` line with those that follow it (RFC 8866 §5.14).
#[derive(Clone, Copy)]
pub struct MediaView<'a> {
    description: &'a Description,
    /// Its place among the media of the description, from 0.
    pub index: usize,
    /// `audio`, `video`, `image` and so on.
    pub kind: &'a str,
    /// Where it is wanted; 0: declined.
    pub port: u16,
    /// The protocol, such as `RTP/AVP`.
    pub protocol: &'a str,
    formats: &'a str,
}

impl<'a> MediaView<'a> {
    /// The formats: payload types when the protocol is RTP.
    pub fn formats(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.formats.split_ascii_whitespace()
    }

    /// The attributes of this media, each as name and value; the value is empty when there is none.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.lines().filter(|(letter, _)| *letter == b'a').map(|(_, value)| attribute(value))
    }

    /// The value of the first attribute with this name.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Where it is wanted: its own `c=`, else that of the session.
    pub fn connection(&self) -> Option<Connection<'a>> {
        self.lines()
            .find(|(letter, _)| *letter == b'c')
            .and_then(|(_, value)| connection(value))
            .or_else(|| self.description.connection())
    }

    /// The direction that its attribute or that of the session says. An unspecified address takes receiving away.
    pub fn direction(&self) -> Direction {
        let said = self
            .attributes()
            .chain(self.description.attributes())
            .find_map(|(name, _)| Direction::parse(name))
            .unwrap_or_default();
        if self.connection().is_some_and(|c| c.is_unspecified()) {
            return said.and(Direction::SendOnly);
        }
        said
    }

    /// Whether this is audio over plain RTP, wanted somewhere: what the exchange relays. Feedback of RFC 4585 is no
    /// hindrance.
    pub fn is_relayable(&self) -> bool {
        self.kind == "audio" && self.port != 0 && self.is_plain_rtp() && self.payload_types().next().is_some()
    }

    /// Whether the protocol is RTP without encryption.
    pub fn is_plain_rtp(&self) -> bool {
        self.protocol.eq_ignore_ascii_case("RTP/AVP") || self.protocol.eq_ignore_ascii_case("RTP/AVPF")
    }

    /// The formats that are payload types, in the order of preference.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.formats().filter_map(|format| format.parse().ok()).filter(|n| *n < 128)
    }

    /// The lines after the `m=`, each as letter and value.
    pub fn lines(&self) -> impl Iterator<Item = (u8, &'a str)> + use<'a> {
        let description = self.description;
        let first = usize::from(description.media_at[self.index]) + 1;
        let end = description.media_at.get(self.index + 1).map_or(description.lines.len(), |&n| usize::from(n));
        description.lines[first..end].iter().map(move |line| (line.letter, description.value(*line)))
    }
}

impl std::fmt::Debug for MediaView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "m={} {} {} {}", self.kind, self.port, self.protocol, self.formats)
    }
}

impl Description {
    /// Reads a description.
    ///
    /// Errors: [`SdpError`] names the line, from 1. Lines may end in LF alone; blank ones are passed over.
    pub fn parse(bytes: &[u8]) -> Result<Description, SdpError> {
        parse::parse(bytes)
    }

    /// The text, with CRLF line ends.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A copy of the text as the bytes of a body.
    pub fn print(&self) -> Bytes {
        Bytes::copy_from_slice(self.text.as_bytes())
    }

    /// The text itself as the bytes of a body.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from(self.text)
    }

    /// The `o=` line.
    pub fn origin(&self) -> Origin<'_> {
        let value = self.session_value(b'o').expect("a description without `o=` is not made");
        parse::origin(value).expect("the `o=` line was read when the description was made")
    }

    /// The `c=` line of the session.
    pub fn connection(&self) -> Option<Connection<'_>> {
        self.session_value(b'c').and_then(connection)
    }

    /// The attributes of the session, each as name and value.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.session_lines().filter(|(letter, _)| *letter == b'a').map(|(_, value)| attribute(value))
    }

    /// The lines before the first `m=`, each as letter and value.
    pub fn session_lines(&self) -> impl Iterator<Item = (u8, &str)> {
        let end = self.media_at.first().map_or(self.lines.len(), |&n| usize::from(n));
        self.lines[..end].iter().map(|line| (line.letter, self.value(*line)))
    }

    /// How many media there are.
    pub fn media_count(&self) -> usize {
        self.media_at.len()
    }

    /// All media, in their order.
    pub fn media(&self) -> impl Iterator<Item = MediaView<'_>> {
        (0..self.media_count()).filter_map(|index| self.media_at(index))
    }

    /// The media in one place.
    pub fn media_at(&self, index: usize) -> Option<MediaView<'_>> {
        let line = self.lines[usize::from(*self.media_at.get(index)?)];
        let (kind, port, protocol, formats) = parse::media(self.value(line))?;
        Some(MediaView { description: self, index, kind, port, protocol, formats })
    }

    /// The audio that is or would be relayed: the first over plain RTP that is not declined, else the first declined.
    pub fn audio(&self) -> Option<AudioView<'_>> {
        let relayed = self.media().find(MediaView::is_relayable);
        relayed.or_else(|| self.media().find(|m| m.kind == "audio")).map(AudioView::new)
    }

    /// The audio in one place: of an answer, where the offer has the one that is relayed.
    pub fn audio_at(&self, index: usize) -> Option<AudioView<'_>> {
        self.media_at(index).filter(|m| m.kind == "audio").map(AudioView::new)
    }

    /// Whether it says the same as `other`, whatever their `o=` lines say.
    pub fn says_the_same(&self, other: &Description) -> bool {
        let around = |d: &'_ Description| -> (usize, usize) {
            let line = d.lines.iter().find(|line| line.letter == b'o').expect("a description without `o=` is not made");
            (line.start as usize, line.end as usize)
        };
        let ((start, end), (other_start, other_end)) = (around(self), around(other));
        self.text[..start] == other.text[..other_start] && self.text[end..] == other.text[other_end..]
    }

    fn session_value(&self, letter: u8) -> Option<&str> {
        self.session_lines().find(|(found, _)| *found == letter).map(|(_, value)| value)
    }

    fn value(&self, line: Line) -> &str {
        &self.text[line.start as usize..line.end as usize]
    }
}

fn attribute(value: &str) -> (&str, &str) {
    let (name, value) = value.split_once(':').unwrap_or((value, ""));
    (name.trim_ascii_end(), value.trim_ascii())
}

fn connection(value: &str) -> Option<Connection<'_>> {
    parse::connection(value)
}
