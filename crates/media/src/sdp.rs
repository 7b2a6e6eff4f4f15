//! Session descriptions (RFC 8866): a text and an index of its lines. Reading copies the text once; views borrow it.
//!
//! Lines that nobody knows are kept, in their place. Printing gives the text back with CRLF line ends.

mod audio;
pub(crate) mod extended;
mod fax;
mod ice;
mod mux;
mod parse;
mod print;

pub(crate) use audio::rtpmap;
pub use audio::{AudioView, CodecView};
pub use ice::IceAsked;
pub(crate) use parse::cut;
pub use parse::{DESCRIPTION_BYTES, FORMATS, LINE_BYTES, LINES, MEDIA, SdpError, SdpFault};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

/// As its text: the index is made again.
impl Serialize for Description {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse::index(String::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("not a description"))
    }
}

/// In which directions media flows, as the one says who wrote it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
        let said = self.attributes().find_map(|(name, _)| Direction::parse(name));
        self.direction_of(said, self.connection().and_then(|c| c.ip()))
    }

    /// The same, with what its own lines say known already.
    pub(crate) fn direction_of(&self, said: Option<Direction>, address: Option<IpAddr>) -> Direction {
        let of_session = || self.description.attributes().find_map(|(name, _)| Direction::parse(name));
        let direction = said.or_else(of_session).unwrap_or_default();
        let is_unspecified = address.is_some_and(|ip| ip.is_unspecified());
        if is_unspecified { direction.and(Direction::SendOnly) } else { direction }
    }

    /// Whether this is audio over RTP, wanted somewhere, plain or with keys that we can use: what the exchange relays.
    /// Feedback of RFC 4585 is no hindrance.
    pub fn is_relayable(&self) -> bool {
        self.kind == "audio" && self.port != 0 && self.is_usable_rtp() && self.payload_types().next().is_some()
    }

    /// Whether the protocol is RTP that we can read: plain, or encrypted with a key in the description (RFC 4568).
    pub(crate) fn is_usable_rtp(&self) -> bool {
        self.is_plain_rtp() || self.is_savp() && self.crypto().is_some()
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

    /// Whether a line is of that kind, as long as nothing more is asked of it.
    fn has_media(&self, kind: &str) -> bool {
        self.media_at.iter().any(|line| self.value(self.lines[usize::from(*line)]).starts_with(kind))
    }

    /// The media in one place.
    pub fn media_at(&self, index: usize) -> Option<MediaView<'_>> {
        let line = self.lines[usize::from(*self.media_at.get(index)?)];
        let (kind, port, protocol, formats) = parse::media(self.value(line))?;
        Some(MediaView { description: self, index, kind, port, protocol, formats })
    }

    /// The audio that is or would be relayed: the first over plain RTP that is not declined, else the first declined.
    pub fn audio(&self) -> Option<AudioView<'_>> {
        self.audio_line().map(AudioView::new)
    }

    /// The place of [`Description::audio`] among the media.
    pub fn audio_index(&self) -> Option<usize> {
        self.audio_line().map(|line| line.index)
    }

    fn audio_line(&self) -> Option<MediaView<'_>> {
        self.media().find(MediaView::is_relayable).or_else(|| self.media().find(|m| m.kind == "audio"))
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
    let (name, value) = parse::cut(value, b':').unwrap_or((value, ""));
    (name.trim_ascii_end(), value.trim_ascii())
}

fn connection(value: &str) -> Option<Connection<'_>> {
    parse::connection(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::MediaAddress;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn parse(text: &str) -> Result<Description, SdpError> {
        Description::parse(text.as_bytes())
    }

    fn fault(text: &str) -> (u32, SdpFault) {
        let error = parse(text).unwrap_err();
        (error.line, error.fault)
    }

    fn remote(media: &str) -> Option<MediaAddress> {
        parse(&format!("{HEAD}{media}")).unwrap().audio().unwrap().remote
    }

    #[test]
    fn line_ends_and_blank_lines_do_not_matter_and_unknown_lines_are_kept() {
        let text = format!("{HEAD}y=what\r\nm=audio 4000 RTP/AVP 0\r\nf=v/2//5///a/1/8/1\r\n");
        let tidy = parse(&text).unwrap();
        assert_eq!(tidy.as_str(), text);
        for untidy in [text.replace("\r\n", "\n"), text.replace("t=", "\r\n\r\nt="), text.replace("\r\n", "\r\r\n")] {
            assert_eq!(parse(&untidy).as_ref(), Ok(&tidy));
        }
        assert_eq!(parse(text.trim_end()).as_ref(), Ok(&tidy));
        assert_eq!(tidy.media().next().unwrap().lines().next(), Some((b'f', "v/2//5///a/1/8/1")));
        assert_eq!(tidy.print(), tidy.clone().into_bytes());
    }

    #[test]
    fn errors_name_the_line() {
        let o = "o=- 1 1 IN IP4 192.0.2.1\n";
        assert_eq!(fault(""), (1, SdpFault::Version));
        assert_eq!(fault("v=1\n"), (1, SdpFault::Version));
        assert_eq!(fault(&format!("{o}v=0\n")), (1, SdpFault::Version));
        assert_eq!(fault(&format!("v=0\n{o}v=0\n")), (3, SdpFault::Version));
        assert_eq!(fault("v=0\no=x\n"), (2, SdpFault::Origin));
        assert_eq!(fault(&format!("v=0\n{o}{o}")), (3, SdpFault::Origin));
        assert_eq!(fault("v=0\nm=audio 1 RTP/AVP 0\n"), (2, SdpFault::NoOrigin));
        assert_eq!(fault(&format!("v=0\n{o}c=IN IP4\n")), (3, SdpFault::Connection));
        assert_eq!(fault(&format!("v=0\n{o}\nhello\n")), (4, SdpFault::Shape));
        assert_eq!(fault(&format!("v=0\n{o}a=x\0y\n")), (3, SdpFault::Control));
        assert_eq!(fault(&format!("v=0\n{o}a=x\ry\n")), (3, SdpFault::Control));
        for media in ["audio", "audio 65536 RTP/AVP 0", "audio x RTP/AVP 0", "audio +5 RTP/AVP 0", "audio 1"] {
            assert_eq!(fault(&format!("v=0\n{o}m={media}\n")), (3, SdpFault::Media), "{media}");
        }
        let error = parse("v=0\no=x\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: the o= line cannot be read");
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let too_large =
            |tail: String| assert_eq!(parse(&format!("{HEAD}{tail}")).unwrap_err().fault, SdpFault::TooLarge);
        too_large("a=x\n".repeat(LINES));
        too_large(format!("a={}\n", "x".repeat(LINE_BYTES)));
        too_large("m=audio 0 RTP/AVP 0\n".repeat(MEDIA + 1));
        too_large(format!("m=audio 1 RTP/AVP{}\n", " 0".repeat(FORMATS + 1)));
        too_large(format!("{}\n", "a=".to_owned() + &"x".repeat(DESCRIPTION_BYTES)));
        assert!(parse(&format!("{HEAD}{}", "m=audio 0 RTP/AVP 0\n".repeat(MEDIA))).is_ok());
    }

    #[test]
    fn an_origin_may_have_blanks_in_its_name_and_long_numbers() {
        let text = HEAD.replace("o=- 1 1", "o=Reception Desk 99999999999999999999999 2");
        let description = parse(&text).unwrap();
        let origin = description.origin();
        assert_eq!((origin.username, origin.session_id), ("Reception Desk", "99999999999999999999999"));
        assert_eq!((origin.version, origin.address), ("2", "192.0.2.1"));
    }

    #[test]
    fn latin_1_is_read_too() {
        let mut text = HEAD.as_bytes().to_vec();
        text.extend(b"a=name:M\xfcller\r\n");
        assert_eq!(Description::parse(&text).unwrap().attributes().next(), Some(("name", "Müller")));
    }

    #[test]
    fn the_address_is_that_of_the_media_or_of_the_session() {
        let address =
            |rtp: &str, rtcp: &str| Some(MediaAddress { rtp: rtp.parse().unwrap(), rtcp: rtcp.parse().unwrap() });
        assert_eq!(remote("m=audio 4000 RTP/AVP 0\n"), address("192.0.2.1:4000", "192.0.2.1:4001"));
        let own = "m=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::1\na=rtcp:4010\n";
        assert_eq!(remote(own), address("[2001:db8::1]:4000", "[2001:db8::1]:4010"));
        // An address in a=rtcp is not followed.
        let other = "m=audio 4000 RTP/AVP 0\na=rtcp:4010 IN IP4 198.51.100.9\n";
        assert_eq!(remote(other), address("192.0.2.1:4000", "192.0.2.1:4010"));
        assert_eq!(remote("m=audio 65535 RTP/AVP 0\n"), address("192.0.2.1:65535", "192.0.2.1:65535"));
        assert_eq!(remote("m=audio 4000/2 RTP/AVP 0\n"), address("192.0.2.1:4000", "192.0.2.1:4001"));
    }

    #[test]
    fn packets_are_sent_to_no_group_name_or_nowhere() {
        for connection in ["0.0.0.0", "224.2.1.1/127", "255.255.255.255", "phone.example.org", "::", "ff02::1"] {
            assert_eq!(remote(&format!("m=audio 4000 RTP/AVP 0\nc=IN IP4 {connection}\n")), None, "{connection}");
        }
        assert_eq!(remote("m=audio 0 RTP/AVP 0\n"), None);
    }

    #[test]
    fn codecs_are_named_by_rtpmap_or_by_the_static_table() {
        let text = format!(
            "{HEAD}m=audio 4000 RTP/AVP 111 0 9 105 101 13\na=rtpmap:111 opus/48000/2\na=rtpmap:101 telephone-event/8000\na=rtpmap:7 telephone-event/8000\n"
        );
        let description = parse(&text).unwrap();
        let audio = description.audio().unwrap();
        let codecs: Vec<_> = audio.codecs().map(|c| (c.payload_type, c.name, c.clock_hz, c.channels)).collect();
        assert_eq!(
            codecs,
            [
                (111, "opus", 48_000, 2),
                (0, "PCMU", 8_000, 1),
                (9, "G722", 8_000, 1),
                (101, "telephone-event", 8_000, 1),
                (13, "CN", 8_000, 1)
            ]
        );
        assert_eq!(audio.telephone_event, Some(101));
        assert_eq!(audio.payload_types.len(), 6);
    }

    #[test]
    fn events_at_the_clock_of_g711_are_preferred() {
        let text = format!(
            "{HEAD}m=audio 4000 RTP/AVP 0 101 100\na=rtpmap:101 telephone-event/48000\na=rtpmap:100 telephone-event/8000\n"
        );
        assert_eq!(parse(&text).unwrap().audio().unwrap().telephone_event, Some(100));
    }

    /// ES2018-02 and ES2018-03: others fell over such lines.
    #[test]
    fn broken_rtpmaps_are_no_codecs() {
        for value in [
            "",
            "0",
            "0 ",
            "0 /8000",
            "0 PCMU",
            "0 PCMU/",
            "0 PCMU/0",
            "0 PCMU/99999999999",
            "128 X/8000",
            "0 X/8000/999",
        ] {
            assert_eq!(rtpmap(value), None, "{value}");
        }
    }

    #[test]
    fn the_same_words_under_another_version_are_the_same() {
        let one = parse(HEAD).unwrap();
        let two = parse(&HEAD.replace("- 1 1", "- 1 22")).unwrap();
        let three = parse(&HEAD.replace("s=-", "s=x")).unwrap();
        assert!(one.says_the_same(&two) && one != two && !one.says_the_same(&three));
    }

    #[test]
    fn a_direction_reverses_and_meets() {
        for (direction, reversed) in [
            (Direction::SendRecv, Direction::SendRecv),
            (Direction::SendOnly, Direction::RecvOnly),
            (Direction::RecvOnly, Direction::SendOnly),
            (Direction::Inactive, Direction::Inactive),
        ] {
            assert_eq!((direction.reversed(), reversed.reversed()), (reversed, direction));
            assert_eq!(Direction::parse(direction.as_str()), Some(direction));
            assert_eq!(direction.and(Direction::SendOnly), Direction::new(direction.sends(), false));
        }
    }
}
