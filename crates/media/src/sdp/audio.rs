//! What an audio line says, put together: address, direction, codecs.

use super::{Direction, MediaView, cut};
use crate::clocks::Clocks;
use crate::codec;
use crate::command::{MediaAddress, PayloadTypes};
use crate::sdes::Crypto;
use std::net::{IpAddr, SocketAddr};

/// An audio line and what belongs to it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a line of its own in a description, and none excludes another"
)]
#[derive(Clone, Copy, Debug)]
pub struct AudioView<'a> {
    media: MediaView<'a>,
    /// Its place among the media.
    pub index: usize,
    /// Where its packets go; `None` when it is declined, on hold by an unspecified address, or wanted at a name, a
    /// multicast or broadcast address.
    pub remote: Option<MediaAddress>,
    /// The direction as its writer sees it. An unspecified address takes receiving away (RFC 3264 §8.4).
    pub direction: Direction,
    /// The payload types.
    pub payload_types: PayloadTypes,
    /// What is said of their clocks.
    pub clocks: Clocks,
    /// The payload type of telephone events (RFC 4733), that of 8,000 Hz first.
    pub telephone_event: Option<u8>,
    /// Whether it is RTP that we can read, with a port: declined otherwise, or not for us.
    pub is_accepted: bool,
    /// Whether RTCP may come on the port of RTP, and is wanted there if both sides say so (RFC 5761 §5.1.1). `remote` does
    /// not tell: an answer to an offer without it means nothing by it.
    pub rtcp_mux: bool,
    /// The SSRC that its packets will have (RFC 5576 §4.1): the first that it names.
    pub ssrc: Option<u32>,
    /// Whether it has any `a=crypto`.
    has_keys: bool,
    /// Whether it says anything of ICE.
    pub(super) has_ice: bool,
}

/// A codec that an audio line lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecView<'a> {
    /// Its number in packets.
    pub payload_type: u8,
    /// Its encoding name as it is written; case does not matter.
    pub name: &'a str,
    /// Units: Hz of the RTP timestamp.
    pub clock_hz: u32,
    /// How many channels.
    pub channels: u8,
}

impl CodecView<'_> {
    /// Whether it is the codec with this name and clock.
    pub fn is(&self, name: &str, clock_hz: u32) -> bool {
        self.clock_hz == clock_hz && self.name.eq_ignore_ascii_case(name)
    }
}

impl<'a> AudioView<'a> {
    pub(super) fn new(media: MediaView<'a>) -> Self {
        let payload_types: PayloadTypes = media.payload_types().collect();
        let is_accepted =
            media.kind == "audio" && media.port != 0 && media.is_usable_rtp() && !payload_types.is_empty();
        let (mut direction, mut rtcp_port, mut event) = (None, None, None::<CodecView<'_>>);
        let mut clocks = Clocks::NONE;
        let (mut has_keys, mut has_ice, mut rtcp_mux, mut ssrc) = (false, false, false, None);
        for (name, value) in media.attributes() {
            match name {
                "rtpmap" => {
                    let codec = rtpmap(value).filter(|codec| payload_types.contains(codec.payload_type));
                    if let Some(codec) = codec {
                        clocks = clocks.with(codec.payload_type, codec.name, codec.clock_hz);
                    }
                    let codec = codec.filter(|codec| codec.name.eq_ignore_ascii_case("telephone-event"));
                    event = match (event, codec) {
                        (Some(known), Some(codec)) if known.clock_hz != 8_000 && codec.clock_hz == 8_000 => Some(codec),
                        (known, codec) => known.or(codec),
                    };
                }
                "candidate" | "ice-ufrag" => has_ice = true,
                "crypto" => has_keys = true,
                "rtcp-mux" => rtcp_mux = true,
                "ssrc" => ssrc = ssrc.or_else(|| value.split_ascii_whitespace().next()?.parse().ok()),
                "rtcp" => rtcp_port = rtcp_port.or(Some(value)),
                _ => direction = direction.or_else(|| Direction::parse(name)),
            }
        }
        let address = media.connection().and_then(|connection| connection.ip());
        AudioView {
            media,
            index: media.index,
            remote: address.filter(|_| is_accepted).and_then(|ip| remote(ip, media.port, rtcp_port)),
            direction: media.direction_of(direction, address),
            payload_types,
            clocks,
            telephone_event: event.map(|codec| codec.payload_type),
            is_accepted,
            rtcp_mux,
            ssrc,
            has_keys,
            has_ice,
        }
    }

    /// The line itself.
    pub fn media(&self) -> MediaView<'a> {
        self.media
    }

    /// The codecs in the order of preference. A dynamic type without `a=rtpmap` is none (RFC 3264 §5.1).
    pub fn codecs(&self) -> impl Iterator<Item = CodecView<'a>> + use<'a> {
        let maps = rtpmaps(&self.media);
        self.media.payload_types().filter_map(move |payload_type| {
            maps.get(usize::from(payload_type))?.or_else(|| {
                let (name, clock_hz, channels) = codec::static_codec(payload_type)?;
                Some(CodecView { payload_type, name, clock_hz, channels })
            })
        })
    }

    /// The key that an answer takes up, or that an answer has (RFC 4568 §5.1).
    pub fn crypto(&self) -> Option<Crypto> {
        if self.has_keys { self.media.crypto() } else { None }
    }

    /// Whether its writer wants to hear nothing: a hold, in one form or the other.
    pub fn is_held(&self) -> bool {
        !self.direction.receives()
    }
}

/// The `a=rtpmap` of each payload type that has one, found in one walk: to look for each by itself would cost who takes a long
/// description as many walks as it names types.
fn rtpmaps<'a>(media: &MediaView<'a>) -> [Option<CodecView<'a>>; 128] {
    let mut maps = [None; 128];
    let values = media.attributes().filter(|(name, _)| *name == "rtpmap");
    for codec in values.filter_map(|(_, value)| rtpmap(value)) {
        if let Some(map) = maps.get_mut(usize::from(codec.payload_type)) {
            *map = map.or(Some(codec));
        }
    }
    maps
}

/// The value of `a=rtpmap` (RFC 8866 §6.6): `101 telephone-event/8000`, `111 opus/48000/2`.
pub(crate) fn rtpmap(value: &str) -> Option<CodecView<'_>> {
    let blank = value.bytes().position(|b| matches!(b, b' ' | b'\t'))?;
    let (payload_type, encoding) = (&value[..blank], value[blank + 1..].trim_ascii());
    let (name, rest) = cut(encoding, b'/').filter(|(name, _)| !name.is_empty())?;
    let (clock, rest) = cut(rest, b'/').map_or((rest, None), |(clock, rest)| (clock, Some(rest)));
    let clock_hz = clock.trim_ascii().parse().ok().filter(|hz| *hz != 0)?;
    let channels = rest.map(|rest| cut(rest, b'/').map_or(rest, |(channels, _)| channels));
    let channels = channels.map_or(Ok(1), |n| n.trim_ascii().parse()).ok()?;
    let payload_type = payload_type.parse().ok().filter(|n| *n < 128)?;
    Some(CodecView { payload_type, name, clock_hz, channels })
}

pub(super) fn remote(ip: IpAddr, port: u16, rtcp: Option<&str>) -> Option<MediaAddress> {
    // A mapped IPv4 address stands for its own: the sockets of its family send to it.
    let ip = ip.to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || is_broadcast {
        return None;
    }
    // `a=rtcp` may name another port (RFC 3605). An address in it is not followed: packets go only where RTP goes.
    let rtcp_port = rtcp.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok());
    let rtcp_port = rtcp_port.filter(|port| *port != 0).unwrap_or(port.saturating_add(1));
    Some(MediaAddress { rtp: SocketAddr::new(ip, port), rtcp: SocketAddr::new(ip, rtcp_port) })
}
