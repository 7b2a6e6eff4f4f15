//! Which extended reports are wanted: `a=rtcp-xr` (RFC 3611 §5).

use super::{Description, MediaView};
use crate::own::Extended;

impl Description {
    /// What whoever wrote this wants to be told of its audio, of what the exchange can tell.
    pub fn extended(&self) -> Extended {
        self.audio().map_or(Extended::default(), |audio| self.extended_of(&audio.media()))
    }

    /// The same for one media: what is said there stands before what is said for all (§5.1).
    pub(crate) fn extended_of(&self, media: &MediaView<'_>) -> Extended {
        let of_session = || self.attributes().find(|(name, _)| *name == REPORTS).map(|(_, value)| value);
        let formats = media.attribute(REPORTS).or_else(of_session).unwrap_or_default();
        let mut wanted = Extended::default();
        for format in formats.split_ascii_whitespace() {
            let (name, value) = super::cut(format, b'=').unwrap_or((format, ""));
            match name {
                VOIP_METRICS => wanted.metrics = true,
                ROUND_TRIP => wanted.round_trip = value.split(':').next().is_some_and(|mode| MODES.contains(&mode)),
                _ => {}
            }
        }
        wanted
    }
}

/// The value of the attribute by which an answer takes that up (§5.2); `None`: nothing is wanted. The round trip takes two:
/// it is known only where both say so.
pub(crate) fn taken_up(wanted: Extended) -> Option<&'static str> {
    match (wanted.metrics, wanted.round_trip) {
        (true, true) => Some("voip-metrics rcvr-rtt=all"),
        (true, false) => Some("voip-metrics"),
        (false, true) => Some("rcvr-rtt=all"),
        (false, false) => None,
    }
}

/// The attribute.
pub(crate) const REPORTS: &str = "rtcp-xr";
const VOIP_METRICS: &str = "voip-metrics";
const ROUND_TRIP: &str = "rcvr-rtt";
/// Who gives times back: everybody, or who sends.
const MODES: [&str; 2] = ["all", "sender"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_from_the_media_or_from_the_session() {
        let wanted = |session: &str, media: &str| {
            let text = format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{session}m=audio 4000 RTP/AVP 8\r\n{media}"
            );
            taken_up(Description::parse(text.as_bytes()).unwrap().extended())
        };
        let both = "a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\r\n";
        assert_eq!([wanted(both, ""), wanted("", both)], [Some("voip-metrics rcvr-rtt=all"); 2]);
        assert_eq!(wanted(both, "a=rtcp-xr:rcvr-rtt=sender\r\n"), Some("rcvr-rtt=all"));
        assert_eq!(wanted("", "a=rtcp-xr:pkt-loss-rle voip-metrics\r\n"), Some("voip-metrics"));
        for nothing in ["", "a=rtcp-xr\r\n", "a=rtcp-xr:rcvr-rtt=nobody rcvr-rtt pkt-dup-rle\r\n"] {
            assert_eq!(wanted("", nothing), None, "{nothing}");
        }
    }
}
