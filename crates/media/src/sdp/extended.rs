//! Which extended reports are wanted: `a=rtcp-xr` (RFC 3611 §5).

use super::{Description, MediaView};
use crate::own::Extended;

impl Description {
    /// What whoever wrote this wants to be told of its audio, of what the exchange can tell; `None`: it knows nothing of
    /// extended reports.
    pub fn extended(&self) -> Option<Extended> {
        // Most know nothing of it, and their audio need not be read for that.
        if self.names_reports() { self.extended_of(&self.audio()?.media()) } else { None }
    }

    /// Whether it has anything to say of extended reports, in whatever media.
    pub(crate) fn names_reports(&self) -> bool {
        self.as_str().contains(LINE)
    }

    /// The same for one media: what is said there stands before what is said for all (§5.1).
    pub fn extended_of(&self, media: &MediaView<'_>) -> Option<Extended> {
        if !self.names_reports() {
            return None;
        }
        let of_session = || self.attributes().find(|(name, _)| *name == REPORTS).map(|(_, value)| value);
        let formats = media.attribute(REPORTS).or_else(of_session)?;
        let mut wanted = Extended::default();
        for format in formats.split_ascii_whitespace() {
            let (name, value) = super::cut(format, b'=').unwrap_or((format, ""));
            match name {
                VOIP_METRICS => wanted.metrics = true,
                ROUND_TRIP => wanted.round_trip = value.split(':').next().is_some_and(|mode| MODES.contains(&mode)),
                // Without flags it is all of them.
                SUMMARY => wanted.summary = value.is_empty() || value.split(',').any(|flag| flag == LOSS),
                _ => {}
            }
        }
        Some(wanted)
    }

    /// The same with an attribute of ours on its audio that takes up what the one it is for wants; one that has such an
    /// attribute, or declines its audio, stays as it is.
    #[must_use]
    pub fn with_reports(mut self, wanted: Option<Extended>) -> Description {
        let Some(reports) = wanted.and_then(taken_up).filter(|_| self.extended().is_none()) else { return self };
        match self.live_audio() {
            Some(audio) if audio + 1 < self.media_count() => {
                self.insert("", audio, &format!("a={REPORTS}:{reports}\r\n"))
            }
            Some(_) => {
                self.line(b'a', &[REPORTS, ":", &reports]);
                self
            }
            None => self,
        }
    }
}

/// The value of the attribute by which an answer takes that up (§5.2); `None`: nothing is wanted. The round trip takes two:
/// it is known only where both say so.
pub(crate) fn taken_up(wanted: Extended) -> Option<String> {
    let Extended { metrics, round_trip, summary } = wanted;
    let reports = [(metrics, "voip-metrics"), (round_trip, "rcvr-rtt=all"), (summary, "stat-summary=loss")];
    let reports: Vec<_> = reports.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name).collect();
    (!reports.is_empty()).then(|| reports.join(" "))
}

/// The attribute.
pub(crate) const REPORTS: &str = "rtcp-xr";
/// How a line begins that has it.
const LINE: &str = "a=rtcp-xr";
const VOIP_METRICS: &str = "voip-metrics";
const ROUND_TRIP: &str = "rcvr-rtt";
const SUMMARY: &str = "stat-summary";
/// The one of its flags that the exchange has figures for.
const LOSS: &str = "loss";
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
            Description::parse(text.as_bytes()).unwrap().extended().map(|wanted| taken_up(wanted).unwrap_or_default())
        };
        let all = "a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\r\n";
        let taken = Some("voip-metrics rcvr-rtt=all stat-summary=loss".to_owned());
        assert_eq!([wanted(all, ""), wanted("", all)], [taken.clone(), taken]);
        assert_eq!(wanted(all, "a=rtcp-xr:rcvr-rtt=sender\r\n").as_deref(), Some("rcvr-rtt=all"));
        assert_eq!(wanted("", "a=rtcp-xr:pkt-loss-rle voip-metrics\r\n").as_deref(), Some("voip-metrics"));
        assert_eq!(wanted("", "a=rtcp-xr:stat-summary\r\n").as_deref(), Some("stat-summary=loss"));
        for nothing in ["a=rtcp-xr\r\n", "a=rtcp-xr:rcvr-rtt=nobody rcvr-rtt pkt-dup-rle stat-summary=dup,TTL\r\n"] {
            assert_eq!(wanted("", nothing).as_deref(), Some(""), "{nothing}");
        }
        assert_eq!(wanted("", ""), None);
    }

    #[test]
    fn what_is_wanted_is_taken_up_once_and_where_the_audio_is() {
        let text =
            |media: &str| format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{media}");
        let made = |media: &str, wanted| {
            let made = Description::parse(text(media).as_bytes()).unwrap().with_reports(wanted);
            assert_eq!(Description::parse(made.as_str().as_bytes()).as_ref(), Ok(&made));
            made.as_str().to_owned()
        };
        let metrics = Some(Extended { metrics: true, ..Extended::default() });
        let (audio, video) = ("m=audio 4000 RTP/AVP 8\r\n", "m=video 0 RTP/AVP 96\r\n");
        let ours = "a=rtcp-xr:voip-metrics\r\n";
        assert_eq!(made(audio, metrics), text(&format!("{audio}{ours}")));
        assert_eq!(made(&format!("{audio}{video}"), metrics), text(&format!("{audio}{ours}{video}")));
        let theirs = format!("{audio}a=rtcp-xr:pkt-loss-rle\r\n");
        for (media, wanted) in [
            (theirs.as_str(), metrics),
            (audio, None),
            (audio, Some(Extended::default())),
            ("m=audio 0 RTP/AVP 8\r\n", metrics),
        ] {
            assert_eq!(made(media, wanted), text(media));
        }
    }
}
