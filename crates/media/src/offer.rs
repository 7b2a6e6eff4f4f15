//! Offer and answer (RFC 3264) for an exchange that stands between: what one leg said is carried to the other with our
//! address in it. The first plain audio is relayed, or a fax where no audio is wanted; every other media is declined in
//! its place by port 0.

use crate::codec::Codec;
use crate::sdp::extended::{REPORTS, taken_up};
use crate::sdp::{AudioView, Description, Direction, MediaView, cut};
use serde::{Deserialize, Serialize};
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
    /// Neither audio over plain RTP nor a fax is offered: 488 (RFC 3261 §21.4.26).
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
/// addresses of people. Extended reports (RFC 3611 §5) pass with all others, so what is asked of them passes, too. A hold by
/// `c=0.0.0.0` becomes one by direction, and RTP/AVPF becomes RTP/AVP, which every phone takes: its feedback stays behind anyway.
pub fn carry(description: &Description, ours: &Local<'_>) -> Result<Description, CarryError> {
    if !description.is_carried() {
        return Err(CarryError::NoAudio);
    }
    Ok(carry_all(description, ours))
}

fn carry_all(description: &Description, ours: &Local<'_>) -> Description {
    let mut made = begin(description, ours);
    let mut ports = ours.ports.iter().copied();
    let fax = description.fax().map(|fax| fax.index);
    for media in description.media() {
        let is_fax = fax == Some(media.index);
        let port = if media.is_relayable() || is_fax { ports.next().unwrap_or(0) } else { 0 };
        if is_fax && port != 0 {
            relay_fax(&mut made, &media, port, media.direction());
        } else if port == 0 {
            decline(&mut made, &media);
        } else {
            relay(&mut made, &media, port, "RTP/AVP", media.direction());
        }
    }
    made
}

/// Whether a description has media and wants none of it: all of its ports are 0 (RFC 3264 §8.2). In the middle of a
/// call that switches the audio off.
pub fn is_switched_off(description: &Description) -> bool {
    description.media_count() > 0 && description.media().all(|media| media.port == 0)
}

/// An offer like [`carry`] for a leg that has seen more media before: an offer never has fewer `m=` lines than the one
/// before it in the same dialog (RFC 3264 §8), so those that `previous` (the last that we said there) has beyond are
/// repeated, declined. One that switches all media off is carried, too.
pub fn carry_again(
    description: &Description,
    previous: &Description,
    ours: &Local<'_>,
) -> Result<Description, CarryError> {
    let mut made = match carry(description, ours) {
        Err(CarryError::NoAudio) if is_switched_off(description) => carry_all(description, ours),
        carried => carried?,
    };
    for media in previous.media().skip(made.media_count()) {
        decline(&mut made, &media);
    }
    Ok(made)
}

/// The answer for the leg that made `offer`, out of the answer that the other leg gave to what [`carry`] made of it.
///
/// It has the `m=` lines of the offer in their order, with its protocols (RFC 3264 §6). What the other leg declined or left out is declined;
/// what it has too much is left out, and so is a direction that the offer does not allow (§6.1).
pub fn carry_answer(answer: &Description, offer: &Description, ours: &Local<'_>) -> Description {
    // Who asked for no extended reports knows none: what we offered of them in its place is not its business.
    let without = if offer.names_reports() { "" } else { REPORTS };
    let mut made = begin_without(answer, ours, without);
    let mut ports = ours.ports.iter().copied();
    let fax = offer.fax().map(|fax| fax.index);
    for media in offer.media() {
        let is_fax = fax == Some(media.index);
        let port = if media.is_relayable() || is_fax { ports.next().unwrap_or(0) } else { 0 };
        let fits = |answered: &MediaView<'_>| if is_fax { answered.is_fax() } else { answered.is_relayable() };
        match answer.media_at(media.index).filter(|answered| port != 0 && fits(answered)) {
            Some(answered) => {
                let direction = answered.direction().and(media.direction().reversed());
                if is_fax {
                    relay_fax(&mut made, &answered, port, direction);
                } else {
                    relay_without(&mut made, &answered, port, media.protocol, direction, without);
                }
            }
            None => decline(&mut made, &media),
        }
    }
    made
}

/// An answer that the exchange gives itself: the first codec of the offer that is among `supported`, and telephone
/// events when both have them. PCMU and PCMA count by their static payload types. An offer that switches the audio off
/// needs no codec.
pub fn answer_audio(offer: &Description, ours: &Local<'_>, supported: &[Codec]) -> Result<Description, NoCommonCodec> {
    if is_switched_off(offer) {
        return Ok(carry_all(offer, ours));
    }
    let audio = offer.audio().filter(|audio| audio.is_accepted).ok_or(NoCommonCodec)?;
    let (codec, payload_type) = common_codec(&audio, supported).ok_or(NoCommonCodec)?;
    let port = ours.ports.first().copied().unwrap_or(0);
    let mut made = begin_without(offer, ours, REPORTS);
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
        if let Some(reports) = offer.extended_of(&media).and_then(taken_up) {
            made.line(b'a', &[REPORTS, ":", &reports]);
        }
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    begin_without(description, ours, "")
}

/// The same without the attributes of one name.
fn begin_without(description: &Description, ours: &Local<'_>, without: &str) -> Description {
    let mut made = Description::begin(ours.session_id, ours.version, ours.address);
    let value = |wanted| description.session_lines().find(|(letter, _)| *letter == wanted).map(|(_, value)| value);
    if let Some(bandwidth) = value(b'b') {
        made.line(b'b', &[bandwidth]);
    }
    // The answer's time is the offer's (RFC 3264 §6).
    made.line(b't', &[value(b't').unwrap_or("0 0")]);
    for (letter, value) in description.session_lines() {
        if letter == b'a' && goes_through(value) && name_of(value) != without {
            made.line(b'a', &[value]);
        }
    }
    made
}

fn decline(made: &mut Description, media: &MediaView<'_>) {
    let none = media.formats().next().is_none().then_some("0");
    made.media_line(media.kind, 0, media.protocol, media.formats().chain(none));
}

fn relay(made: &mut Description, media: &MediaView<'_>, port: u16, protocol: &str, direction: Direction) {
    relay_without(made, media, port, protocol, direction, "");
}

/// The same without the attributes of one name.
fn relay_without(
    made: &mut Description,
    media: &MediaView<'_>,
    port: u16,
    protocol: &str,
    direction: Direction,
    without: &str,
) {
    let formats = media.formats().filter(|format| format.parse::<u8>().is_ok_and(|n| n < 128));
    made.media_line(media.kind, port, protocol, formats);
    for (letter, value) in media.lines() {
        match letter {
            b'b' => made.line(letter, &[value]),
            b'a' if goes_through(value) && name_of(value) != without => made.line(letter, &[value]),
            _ => {}
        }
    }
    made.line(b'a', &[direction.as_str()]);
}

/// A fax with its `T38…` attributes as they came: both sides settle between them what they mean.
fn relay_fax(made: &mut Description, media: &MediaView<'_>, port: u16, direction: Direction) {
    made.media_line(media.kind, port, media.protocol, media.formats());
    for (letter, value) in media.lines() {
        match letter {
            b'b' => made.line(letter, &[value]),
            b'a' if goes_through(value) => made.line(letter, &[value]),
            _ => {}
        }
    }
    // What holds when nothing is said is not said: gateways for fax know few attributes beside their own.
    if direction != Direction::SendRecv {
        made.line(b'a', &[direction.as_str()]);
    }
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

/// The name of an attribute.
fn name_of(value: &str) -> &str {
    cut(value, b':').map_or(value, |(name, _)| name).trim_ascii_end()
}

/// Whether an attribute is carried to the other leg. Directions are not: they are written anew.
fn goes_through(value: &str) -> bool {
    let (name, rest) = cut(value, b':').unwrap_or((value, ""));
    match name.trim_ascii_end() {
        "" => false,
        // What cannot be read would be read by somebody else.
        "rtpmap" => crate::sdp::rtpmap(rest.trim_ascii()).is_some(),
        "fmtp" => {
            let rest = rest.trim_ascii();
            let number = cut(rest, b' ').map_or(rest, |(number, _)| number);
            number.parse::<u8>().is_ok_and(|n| n < 128)
        }
        "maxptime" | "ptime" | REPORTS => true,
        name => {
            Direction::parse(name).is_none()
                && !STAYS.contains(&name)
                && !STAYS_PREFIX.iter().any(|prefix| name.starts_with(prefix))
        }
    }
}

/// Attributes that belong to one leg only: ways for packets, what was reserved for them (RFC 3312), keys, feedback,
/// grouping, and who wrote it.
const STAYS: [&str; 30] = [
    "acap",
    "acfg",
    "alt",
    "altc",
    "bundle-only",
    "candidate",
    "ccap",
    "conf",
    "connection",
    "creq",
    "crypto",
    "csup",
    "curr",
    "des",
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn sdp(media: &str) -> Description {
        Description::parse(format!("{HEAD}{media}").as_bytes()).unwrap()
    }

    fn ours(ports: &[u16]) -> Local<'_> {
        Local { session_id: 9, version: 1, address: "203.0.113.5".parse().unwrap(), ports }
    }

    fn ports(description: &Description) -> Vec<u16> {
        description.media().map(|m| m.port).collect()
    }

    #[test]
    fn only_the_first_plain_audio_is_relayed_and_all_keep_their_place() {
        let offer = sdp("m=video 5000 RTP/AVP 96\r\nm=audio 5002 RTP/SAVP 0\r\nm=audio 5004 RTP/AVP 0\r\n\
             m=audio 5006 RTP/AVP 0\r\nm=application 5008 TCP/BFCP *\r\n");
        let carried = carry(&offer, &ours(&[10_000])).unwrap();
        assert_eq!(ports(&carried), [0, 0, 10_000, 0, 0]);
        let lines: Vec<_> = carried.as_str().lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(lines[1], "m=audio 0 RTP/SAVP 0");
        assert_eq!(lines[4], "m=application 0 TCP/BFCP *");
    }

    #[test]
    fn an_answer_has_the_lines_of_the_offer_however_many_came() {
        let offer = sdp("m=video 5000 RTP/AVP 96\r\nm=audio 5002 RTP/AVPF 0 8\r\nm=image 5004 udptl t38\r\n");
        let both = "m=video 0 RTP/AVP 96\r\nm=audio 7000 RTP/AVP 8\r\n";
        for (answer, expected) in [
            (both.to_owned(), vec![0, 10_002, 0]),
            (format!("{both}m=image 0 udptl t38\r\nm=audio 7002 RTP/AVP 8\r\n"), vec![0, 10_002, 0]),
            ("m=video 0 RTP/AVP 96\r\n".to_owned(), vec![0, 0, 0]),
            ("m=video 7000 RTP/AVP 96\r\nm=audio 0 RTP/AVP 0\r\n".to_owned(), vec![0, 0, 0]),
            ("m=audio 7000 RTP/AVP 8\r\n".to_owned(), vec![0, 0, 0]),
        ] {
            let carried = carry_answer(&sdp(&answer), &offer, &ours(&[10_002]));
            assert_eq!(ports(&carried), expected, "{answer}");
            assert!(carried.media().zip(offer.media()).all(|(a, o)| (a.kind, a.protocol) == (o.kind, o.protocol)));
        }
        assert_eq!(ports(&carry_answer(&sdp(both), &sdp(""), &ours(&[10_002]))), [0; 0]);
    }

    #[test]
    fn an_answer_allows_no_more_than_its_offer() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        for (offered, answered, carried) in [
            (SendRecv, SendRecv, SendRecv),
            (SendRecv, RecvOnly, RecvOnly),
            (SendOnly, SendRecv, RecvOnly),
            (SendOnly, SendOnly, Inactive),
            (RecvOnly, SendRecv, SendOnly),
            (RecvOnly, Inactive, Inactive),
            (Inactive, SendRecv, Inactive),
        ] {
            let audio = |direction: Direction| sdp(&format!("m=audio 5000 RTP/AVP 0\r\na={}\r\n", direction.as_str()));
            let made = carry_answer(&audio(answered), &audio(offered), &ours(&[10_000]));
            assert_eq!(made.audio().unwrap().direction, carried, "{offered:?} {answered:?}");
        }
    }

    #[test]
    fn a_later_offer_may_switch_everything_off() {
        let off = sdp("m=audio 0 RTP/AVP 0 8\r\nm=video 0 RTP/AVP 96\r\n");
        let before = carry(&sdp("m=audio 5000 RTP/AVP 0\r\n"), &ours(&[10_000])).unwrap();
        assert_eq!(carry(&off, &ours(&[10_000])), Err(CarryError::NoAudio));
        let carried = carry_again(&off, &before, &ours(&[10_000])).unwrap();
        assert!(is_switched_off(&carried) && ports(&carried) == [0, 0]);
        let answer = carry_answer(&carried, &off, &ours(&[10_000]));
        assert_eq!(ports(&answer), [0, 0]);
        assert_eq!(ports(&answer_audio(&off, &ours(&[10_000]), &[Codec::Pcmu]).unwrap()), [0, 0]);
        // What wants something that we do not have is refused as ever.
        for media in ["m=video 5000 RTP/AVP 96\r\n", "m=audio 0 RTP/AVP 0\r\nm=video 5000 RTP/AVP 96\r\n", ""] {
            assert_eq!(carry_again(&sdp(media), &before, &ours(&[10_000])), Err(CarryError::NoAudio));
        }
    }

    #[test]
    fn the_audio_that_is_relayed_may_move_to_another_line() {
        let offer = sdp("m=audio 0 RTP/AVP 0\r\nm=audio 7000 RTP/AVP 8\r\n");
        let before = carry(&sdp("m=audio 5000 RTP/AVP 0\r\n"), &ours(&[10_000])).unwrap();
        assert_eq!(ports(&carry_again(&offer, &before, &ours(&[10_000])).unwrap()), [0, 10_000]);
        let answer = sdp("m=audio 0 RTP/AVP 0\r\nm=audio 9000 RTP/AVP 8\r\n");
        assert_eq!(ports(&carry_answer(&answer, &offer, &ours(&[10_002]))), [0, 10_002]);
    }

    #[test]
    fn a_later_offer_repeats_the_media_that_the_leg_has_seen() {
        let before = carry(&sdp("m=audio 5000 RTP/AVP 0\r\nm=video 5002 RTP/AVP 96\r\n"), &ours(&[10_000])).unwrap();
        let next = carry_again(&sdp("m=audio 7000 RTP/AVP 0\r\n"), &before, &ours(&[10_000])).unwrap();
        assert_eq!(ports(&next), [10_000, 0]);
        assert!(next.as_str().ends_with("m=video 0 RTP/AVP 96\r\n"));
        let more = sdp("m=audio 7000 RTP/AVP 0\r\nm=video 7002 RTP/AVP 96\r\nm=text 7004 RTP/AVP 98\r\n");
        let more = carry_again(&more, &next, &ours(&[10_000])).unwrap();
        let lines: Vec<_> = more.media().map(|line| (line.kind, line.port)).collect();
        assert_eq!(lines, [("audio", 10_000), ("video", 0), ("text", 0)]);
    }

    #[test]
    fn both_kinds_of_hold_are_carried_as_directions() {
        for (media, direction) in [
            ("m=audio 5000 RTP/AVP 0\r\na=sendonly\r\n", Direction::SendOnly),
            ("m=audio 5000 RTP/AVP 0\r\na=inactive\r\n", Direction::Inactive),
            ("m=audio 5000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", Direction::SendOnly),
            ("m=audio 5000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\n", Direction::Inactive),
            ("a=recvonly\r\nm=audio 5000 RTP/AVP 0\r\n", Direction::RecvOnly),
            ("a=inactive\r\nm=audio 5000 RTP/AVP 0\r\na=sendrecv\r\n", Direction::SendRecv),
        ] {
            let offer = sdp(media);
            assert_eq!(offer.audio().unwrap().is_held(), !direction.receives(), "{media}");
            let carried = carry(&offer, &ours(&[10_000])).unwrap();
            assert_eq!(carried.audio().unwrap().direction, direction, "{media}");
            assert!(carried.audio().unwrap().remote.is_some() && !carried.as_str().contains("0.0.0.0"));
            let answer = answer_audio(&offer, &ours(&[10_000]), &[Codec::Pcmu]).unwrap();
            assert_eq!(answer.audio().unwrap().direction, direction.reversed(), "{media}");
        }
    }

    #[test]
    fn without_plain_audio_there_is_nothing_to_carry() {
        for media in [
            "",
            "m=video 5000 RTP/AVP 96\r\n",
            "m=audio 5000 RTP/SAVP 0\r\n",
            "m=audio 5000 RTP/AVP 128 999 x\r\n",
            "m=audio 5000 RTP/AVP\r\n",
        ] {
            assert_eq!(carry(&sdp(media), &ours(&[10_000])), Err(CarryError::NoAudio), "{media}");
            assert_eq!(answer_audio(&sdp(media), &ours(&[10_000]), &[Codec::Pcmu]), Err(NoCommonCodec), "{media}");
        }
    }

    /// ES2018-02 and ES2018-03: an `a=fmtp` or `a=rtpmap` that cannot be read is not handed on either.
    #[test]
    fn ways_keys_and_lines_that_cannot_be_read_stay_behind() {
        let offer = sdp("a=ice-lite\r\na=group:BUNDLE 0\r\nk=clear:secret\r\nm=audio 5000 RTP/AVP 0 96\r\ni=desk\r\n\
             b=AS:80\r\nk=clear:secret\r\nx=?\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 broken\r\na=rtpmap:300 x/8000\r\n\
             a=fmtp:96 useinbandfec=1\r\na=fmtp:xx y\r\na=crypto:1 AES inline:k\r\na=candidate:1 1 UDP 1 192.0.2.1 1\r\n\
             a=rtcp:5001\r\na=rtcp-mux\r\na=ssrc:1 cname:x\r\na=fingerprint:sha-256 AA\r\na=setup:actpass\r\n\
             a=maxptime:40\r\na=silenceSupp:off - - - -\r\na=something:new\r\na=\r\n");
        let carried = carry(&offer, &ours(&[10_000])).unwrap();
        let after = carried.as_str().split_once("m=audio ").unwrap().1;
        assert_eq!(
            after,
            "10000 RTP/AVP 0 96\r\nb=AS:80\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=maxptime:40\r\n\
             a=silenceSupp:off - - - -\r\na=something:new\r\na=sendrecv\r\n"
        );
        assert!(!carried.as_str().contains("ice-lite") && !carried.as_str().contains("group"));
    }

    #[test]
    fn the_exchange_answers_with_the_first_codec_that_is_its_own() {
        let offer = sdp("m=audio 5000 RTP/AVP 9 8 0 97\r\na=rtpmap:97 TELEPHONE-EVENT/8000\r\n");
        let all = [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent];
        let answer = answer_audio(&offer, &ours(&[10_000]), &all).unwrap();
        let audio = answer.audio().unwrap();
        assert_eq!(audio.media().formats().collect::<Vec<_>>(), ["8", "97"]);
        assert_eq!(audio.telephone_event, Some(97));
        let plain = answer_audio(&offer, &ours(&[10_000]), &[Codec::Pcmu]).unwrap();
        assert_eq!(plain.audio().unwrap().media().formats().collect::<Vec<_>>(), ["0"]);
        // Payload type 0 that is said to be something else is not PCMU.
        let odd = sdp("m=audio 5000 RTP/AVP 0\r\na=rtpmap:0 L16/16000\r\n");
        assert_eq!(answer_audio(&odd, &ours(&[10_000]), &all), Err(NoCommonCodec));
    }

    /// RFC 3611 §5.2.
    #[test]
    fn extended_reports_are_asked_for_where_they_were_offered() {
        let audio = "m=audio 5000 RTP/AVP 0\r\n";
        let asked = |text: &Description| text.as_str().matches("a=rtcp-xr:voip-metrics\r\n").count();
        let answer = |text: &str| answer_audio(&sdp(text), &ours(&[10_000]), &[Codec::Pcmu]).unwrap();
        let of_media = format!("{audio}a=rtcp-xr:pkt-loss-rle voip-metrics\r\n");
        let of_session = format!("a=rtcp-xr:voip-metrics stat-summary=TTL\r\n{audio}");
        let (others, overruled) =
            (format!("{audio}a=rtcp-xr:stat-summary=dup\r\n"), format!("{of_session}a=rtcp-xr\r\n"));
        assert_eq!([&of_media, &of_session].map(|text| asked(&answer(text))), [1, 1]);
        for text in [audio, &others, &overruled] {
            assert!(!answer(text).as_str().contains("rtcp-xr"), "{text}");
        }
        assert!(
            carry(&sdp(&of_media), &ours(&[10_000])).unwrap().as_str().contains("a=rtcp-xr:pkt-loss-rle voip-metrics")
        );
        let plain = sdp(audio);
        let carried = |answer: &Description, offer: &Description| {
            carry_answer(answer, offer, &ours(&[10_000])).as_str().contains("rtcp-xr")
        };
        assert!(!carried(&plain, &sdp(&of_session)));
        // What somebody answers passes to who offered it, and to nobody else.
        for answer in [&of_media, &of_session] {
            assert!(carried(&sdp(answer), &sdp(&of_media)) && !carried(&sdp(answer), &plain));
        }
    }

    #[test]
    fn an_offer_of_our_own_is_read_as_it_is_meant() {
        let offer = offer_audio(&ours(&[10_000]), &[Codec::Pcma, Codec::Pcmu, Codec::TelephoneEvent]);
        assert_eq!(Description::parse(offer.as_str().as_bytes()).as_ref(), Ok(&offer));
        let audio = offer.audio().unwrap();
        assert_eq!(audio.codecs().map(|c| c.payload_type).collect::<Vec<_>>(), [8, 0, 101]);
        assert_eq!((audio.telephone_event, audio.direction), (Some(101), Direction::SendRecv));
    }

    #[test]
    fn the_version_rises_with_new_words_only() {
        let mut side = OurSide::new(u64::MAX);
        let version = |d: &Description| d.origin().version.to_owned();
        let offer = sdp("m=audio 5000 RTP/AVP 0\r\n");
        let make = |side: &OurSide, offer: &Description| {
            carry(offer, &side.local("203.0.113.5".parse().unwrap(), &[1])).unwrap()
        };
        let first = side.say(make(&side.clone(), &offer)).clone();
        assert_eq!((version(&first).as_str(), first.origin().session_id), ("1", "9223372036854775807"));
        let again = side.say(make(&side.clone(), &offer)).clone();
        assert!(same_session(&first, &again) && first == again);
        let held = side.say(make(&side.clone(), &sdp("m=audio 5000 RTP/AVP 0\r\na=sendonly\r\n"))).clone();
        assert!(version(&held) == "2" && !same_session(&first, &held));
        let resumed = side.say(make(&side.clone(), &offer)).clone();
        assert_eq!(version(&resumed), "3");
        assert_eq!(side.last(), Some(&resumed));
    }

    #[test]
    fn our_address_is_written_in_its_family() {
        let offer = sdp("m=audio 5000 RTP/AVP 0\r\n");
        for (address, written) in [("2001:db8::5", "IN IP6 2001:db8::5"), ("::ffff:203.0.113.5", "IN IP4 203.0.113.5")]
        {
            let ours = Local { address: address.parse().unwrap(), ..ours(&[10_000]) };
            let carried = carry(&offer, &ours).unwrap();
            assert_eq!(carried.as_str().matches(written).count(), 2);
        }
    }

    #[test]
    fn a_fax_is_carried_with_its_attributes_where_no_audio_is_wanted() {
        let t38 = "a=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxRateManagement:transferredTCF\r\n\
                   a=T38FaxMaxBuffer:72\r\na=T38FaxUdpEC:t38UDPRedundancy\r\na=T38FaxFillBitRemoval\r\n";
        for before in ["", "m=audio 0 RTP/AVP 8\r\n"] {
            let offer = sdp(&format!("{before}m=image 5004 udptl t38\r\n{t38}"));
            let carried = carry(&offer, &ours(&[10_000])).unwrap();
            let expected = format!("{before}m=image 10000 udptl t38\r\n{t38}");
            assert!(carried.as_str().ends_with(&expected), "{}", carried.as_str());
            let answer = sdp(&format!("{before}m=image 7000 udptl t38\r\na=T38FaxVersion:0\r\n"));
            let back = carry_answer(&answer, &offer, &ours(&[10_002]));
            assert!(back.as_str().ends_with(&format!("{before}m=image 10002 udptl t38\r\na=T38FaxVersion:0\r\n")));
            // Audio is no answer to it.
            let wrong = sdp(&format!("{before}m=audio 7000 RTP/AVP 8\r\n"));
            let back = carry_answer(&wrong, &offer, &ours(&[10_002]));
            assert!(back.as_str().ends_with("m=image 0 udptl t38\r\n"));
        }
    }

    #[test]
    fn beside_audio_a_fax_is_declined_and_the_exchange_itself_takes_none() {
        let both = sdp("m=audio 5002 RTP/AVP 8\r\nm=image 5004 udptl t38\r\n");
        assert_eq!(ports(&carry(&both, &ours(&[10_000])).unwrap()), [10_000, 0]);
        let fax = sdp("m=image 5004 udptl t38\r\n");
        assert!(answer_audio(&fax, &ours(&[10_000]), &[Codec::Pcma]).is_err());
        // After a fax the audio is back, and the line of the fax stays.
        let again = carry_again(&sdp("m=audio 5002 RTP/AVP 8\r\n"), &both, &ours(&[10_000])).unwrap();
        assert_eq!(ports(&again), [10_000, 0]);
    }
}
