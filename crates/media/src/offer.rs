//! Offer and answer (RFC 3264) for an exchange that stands between: what one leg said is carried to the other with our
//! address in it. The first plain audio is relayed, every other media is declined in its place by port 0.

use crate::codec::Codec;
use crate::sdp::{AudioView, Description, Direction, MediaView};
use std::net::IpAddr;

/// What we put in place of the other leg's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local<'a> {
    /// The session's number in our `o=`: one for the life of a leg.
    pub session_id: u64,
    /// The version in it: see [`OurSide`].
    pub version: u64,
    /// Our address of the family that the leg speaks.
    pub address: IpAddr,
    /// The RTP port of each relayed audio, in their order; a missing one or 0 declines.
    pub ports: &'a [u16],
}

/// Why a description cannot be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarryError {
    /// No audio over plain RTP is offered: 488 (RFC 3261 §21.4.26).
    #[error("no audio over RTP/AVP is offered")]
    NoAudio,
}

/// No codec of the offer is ours: 488.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the offer has no codec that the exchange speaks")]
pub struct NoCommonCodec;

/// An offer for the other leg. Each `m=` keeps its place; the audio to be relayed gets our ports, the rest port 0.
///
/// Codecs, their parameters, packet times, bandwidths and attributes that nobody knows go through. What names a way
/// for packets or keys (candidates, ICE, DTLS, SDES, RTCP, SSRC, bundles, capabilities) stays behind, as do names and
/// addresses of people. A hold by `c=0.0.0.0` becomes one by direction.
pub fn carry(description: &Description, ours: &Local<'_>) -> Result<Description, CarryError> {
    if !description.media().any(|media| media.is_relayable()) {
        return Err(CarryError::NoAudio);
    }
    let mut made = begin(description, ours);
    let mut ports = ours.ports.iter().copied();
    for media in description.media() {
        let port = if media.is_relayable() { ports.next().unwrap_or(0) } else { 0 };
        if port == 0 { decline(&mut made, &media) } else { relay(&mut made, &media, port) }
    }
    Ok(made)
}

/// An offer like [`carry`] for a leg that has seen more media before: an offer never has fewer `m=` lines than the one
/// before it in the same dialog (RFC 3264 §8), so those that `previous` (the last that we said there) has beyond are
/// repeated, declined.
pub fn carry_again(
    description: &Description,
    previous: &Description,
    ours: &Local<'_>,
) -> Result<Description, CarryError> {
    let mut made = carry(description, ours)?;
    for media in previous.media().skip(made.media_count()) {
        decline(&mut made, &media);
    }
    Ok(made)
}

/// The answer for the leg that made `offer`, out of the answer that the other leg gave to what [`carry`] made of it.
///
/// It has the `m=` lines of the offer in their order (RFC 3264 §6). What the other leg declined or left out is declined;
/// what it has too much is left out.
pub fn carry_answer(answer: &Description, offer: &Description, ours: &Local<'_>) -> Description {
    let mut made = begin(answer, ours);
    let mut ports = ours.ports.iter().copied();
    for media in offer.media() {
        let port = if media.is_relayable() { ports.next().unwrap_or(0) } else { 0 };
        match answer.media_at(media.index).filter(|answered| port != 0 && answered.is_relayable()) {
            Some(answered) => relay(&mut made, &answered, port),
            None => decline(&mut made, &media),
        }
    }
    made
}

/// An answer that the exchange gives itself: the first codec of the offer that is among `supported`, and telephone
/// events when both have them. PCMU and PCMA count by their static payload types.
pub fn answer_audio(offer: &Description, ours: &Local<'_>, supported: &[Codec]) -> Result<Description, NoCommonCodec> {
    let audio = offer.audio().filter(|audio| audio.is_accepted).ok_or(NoCommonCodec)?;
    let (codec, payload_type) = common_codec(&audio, supported).ok_or(NoCommonCodec)?;
    let port = ours.ports.first().copied().unwrap_or(0);
    let mut made = begin(offer, ours);
    for media in offer.media() {
        if media.index != audio.index || port == 0 {
            decline(&mut made, &media);
            continue;
        }
        let mut codecs = vec![(codec, payload_type)];
        if let Some(event) = audio.telephone_event.filter(|_| supported.contains(&Codec::TelephoneEvent)) {
            codecs.push((Codec::TelephoneEvent, event));
        }
        audio_lines(&mut made, port, media.protocol, &codecs, audio.direction.reversed());
    }
    Ok(made)
}

/// An offer that the exchange makes itself.
pub fn offer_audio(ours: &Local<'_>, codecs: &[Codec]) -> Description {
    let mut made = Description::begin(ours.session_id, ours.version, ours.address);
    made.line(b't', &["0 0"]);
    let codecs: Vec<_> = codecs.iter().map(|&codec| (codec, codec.payload_type())).collect();
    audio_lines(&mut made, ours.ports.first().copied().unwrap_or(0), "RTP/AVP", &codecs, Direction::SendRecv);
    made
}

/// Whether two descriptions of one side are the same: their `o=` lines say so (RFC 3264 §8).
pub fn same_session(a: &Description, b: &Description) -> bool {
    a.origin() == b.origin()
}

/// What we said to a leg: its session's number and version, and the last words.
#[derive(Clone, Debug)]
pub struct OurSide {
    session_id: u64,
    version: u64,
    last: Option<Description>,
}

impl OurSide {
    /// Nothing was said so far. The number comes from chance; it is kept below 2⁶³, past which some phones misread it.
    pub fn new(session_id: u64) -> Self {
        OurSide { session_id: session_id >> 1, version: 0, last: None }
    }

    /// What the next description is made with.
    pub fn local<'a>(&self, address: IpAddr, ports: &'a [u16]) -> Local<'a> {
        Local { session_id: self.session_id, version: self.version + 1, address, ports }
    }

    /// Takes what was made with [`OurSide::local`] and gives what to send: the version rises by one for new words, and
    /// words that were said before go out again under their old version (RFC 3264 §8).
    pub fn say(&mut self, next: Description) -> &Description {
        if self.last.as_ref().is_none_or(|last| !last.says_the_same(&next)) {
            self.version += 1;
            self.last = None;
        }
        self.last.get_or_insert(next)
    }

    /// The last words.
    pub fn last(&self) -> Option<&Description> {
        self.last.as_ref()
    }
}

/// `v=` to `t=`, with bandwidths and attributes of the session that go through.
fn begin(description: &Description, ours: &Local<'_>) -> Description {
    let mut made = Description::begin(ours.session_id, ours.version, ours.address);
    let value = |wanted| description.session_lines().find(|(letter, _)| *letter == wanted).map(|(_, value)| value);
    if let Some(bandwidth) = value(b'b') {
        made.line(b'b', &[bandwidth]);
    }
    // The answer's time is the offer's (RFC 3264 §6).
    made.line(b't', &[value(b't').unwrap_or("0 0")]);
    for (letter, value) in description.session_lines() {
        if letter == b'a' && goes_through(value) {
            made.line(b'a', &[value]);
        }
    }
    made
}

fn decline(made: &mut Description, media: &MediaView<'_>) {
    let none = media.formats().next().is_none().then_some("0");
    made.media_line(media.kind, 0, media.protocol, media.formats().chain(none));
}

fn relay(made: &mut Description, media: &MediaView<'_>, port: u16) {
    let formats = media.formats().filter(|format| format.parse::<u8>().is_ok_and(|n| n < 128));
    made.media_line(media.kind, port, media.protocol, formats);
    for (letter, value) in media.lines() {
        match letter {
            b'b' => made.line(letter, &[value]),
            b'a' if goes_through(value) => made.line(letter, &[value]),
            _ => {}
        }
    }
    made.line(b'a', &[media.direction().as_str()]);
}

fn audio_lines(made: &mut Description, port: u16, protocol: &str, codecs: &[(Codec, u8)], direction: Direction) {
    let numbers: Vec<String> = codecs.iter().map(|(_, payload_type)| payload_type.to_string()).collect();
    made.media_line("audio", port, protocol, numbers.iter().map(String::as_str));
    for ((codec, _), number) in codecs.iter().zip(&numbers) {
        made.line(b'a', &["rtpmap:", number, " ", codec.name(), "/8000"]);
        if *codec == Codec::TelephoneEvent {
            made.line(b'a', &["fmtp:", number, " 0-15"]);
        }
    }
    made.line(b'a', &["ptime:20"]);
    made.line(b'a', &[direction.as_str()]);
}

fn common_codec(audio: &AudioView<'_>, supported: &[Codec]) -> Option<(Codec, u8)> {
    audio.codecs().find_map(|offered| {
        let ours = [Codec::Pcmu, Codec::Pcma].into_iter().find(|codec| {
            supported.contains(codec)
                && offered.payload_type == codec.payload_type()
                && offered.is(codec.name(), codec.clock_hz())
        })?;
        Some((ours, offered.payload_type))
    })
}

/// Whether an attribute is carried to the other leg. Directions are not: they are written anew.
fn goes_through(value: &str) -> bool {
    let (name, rest) = value.split_once(':').unwrap_or((value, ""));
    let name = name.trim_ascii_end();
    if Direction::parse(name).is_some() || STAYS.contains(&name) || STAYS_PREFIX.iter().any(|p| name.starts_with(p)) {
        return false;
    }
    // What cannot be read would be read by somebody else.
    match name {
        "rtpmap" => crate::sdp::rtpmap(rest).is_some(),
        "fmtp" => rest.trim_ascii().split(' ').next().is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n < 128)),
        _ => !name.is_empty(),
    }
}

/// Attributes that belong to one leg only: ways for packets, keys, feedback, grouping, and who wrote it.
const STAYS: [&str; 27] = [
    "acap",
    "acfg",
    "alt",
    "altc",
    "bundle-only",
    "candidate",
    "ccap",
    "connection",
    "creq",
    "crypto",
    "csup",
    "direction",
    "dtls-id",
    "end-of-candidates",
    "fingerprint",
    "group",
    "identity",
    "key-mgmt",
    "mid",
    "msid",
    "nortpproxy",
    "pcfg",
    "remote-candidates",
    "setup",
    "tcap",
    "tls-id",
    "tool",
];

/// The same by how their names begin.
const STAYS_PREFIX: [&str; 9] = ["extmap", "ice-", "msid-", "rtcp", "rtpengine", "source-filter", "ssrc", "X-", "zrtp"];
