//! RTP and RTCP on one port: `a=rtcp-mux` (RFC 5761 §5.1.1).

use super::Description;

impl Description {
    /// The same with `a=rtcp-mux` on its audio; one that declines its audio stays as it is.
    #[must_use]
    pub fn with_rtcp_mux(mut self) -> Description {
        match self.live_audio() {
            Some(audio) if audio + 1 < self.media_count() => self.insert("", audio, "a=rtcp-mux\r\n"),
            Some(_) => {
                self.line(b'a', &["rtcp-mux"]);
                self
            }
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::{Local, carry, carry_answer};

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    const AUDIO: &str = "m=audio 4000 RTP/AVP 8\r\n";

    fn sdp(media: &str) -> Description {
        Description::parse(format!("{HEAD}{media}").as_bytes()).unwrap()
    }

    #[test]
    fn the_attribute_of_the_audio_alone_is_read() {
        let muxes = |media: &str| sdp(media).audio().unwrap().rtcp_mux;
        assert!(muxes(&format!("{AUDIO}a=sendrecv\r\na=rtcp-mux\r\n")));
        assert!(!muxes(AUDIO) && !muxes(&format!("{AUDIO}a=rtcp-mux-only\r\n")));
        assert!(!muxes(&format!("{AUDIO}m=video 4002 RTP/AVP 96\r\na=rtcp-mux\r\n")));
        // It changes nothing of where RTCP goes as long as the other side has not said it.
        let audio = sdp(&format!("{AUDIO}a=rtcp:4009\r\na=rtcp-mux\r\n"));
        assert_eq!(audio.audio().unwrap().remote.map(|remote| remote.rtcp.port()), Some(4009));
    }

    #[test]
    fn the_first_ssrc_of_the_audio_is_read() {
        let ssrc = |lines: &str| sdp(&format!("{AUDIO}{lines}")).audio().unwrap().ssrc;
        assert_eq!(ssrc("a=ssrc:4022250974 cname:x\r\na=ssrc:7 cname:x\r\n"), Some(4_022_250_974));
        assert_eq!((ssrc("a=ssrc:x\r\n"), ssrc("a=ssrc:4294967296 cname:x\r\n"), ssrc("")), (None, None, None));
    }

    #[test]
    fn it_is_written_on_the_audio_wherever_that_stands() {
        for (before, after) in [("", ""), ("m=video 0 RTP/AVP 96\r\n", ""), ("", "m=video 0 RTP/AVP 96\r\na=x\r\n")] {
            let made = sdp(&format!("{before}{AUDIO}a=ptime:20\r\n{after}")).with_rtcp_mux();
            let expected = format!("{HEAD}{before}{AUDIO}a=ptime:20\r\na=rtcp-mux\r\n{after}");
            assert_eq!(made.as_str(), expected);
            assert_eq!(Description::parse(made.as_str().as_bytes()).as_ref(), Ok(&made));
            assert!(made.audio().unwrap().rtcp_mux);
        }
        let off = sdp("m=audio 0 RTP/AVP 8\r\n");
        assert_eq!(off.clone().with_rtcp_mux(), off);
    }

    #[test]
    fn it_is_never_carried_to_the_other_leg() {
        let ours = Local { session_id: 1, version: 1, address: "203.0.113.5".parse().unwrap(), ports: &[10_000] };
        let muxed = sdp(&format!("{AUDIO}a=rtcp-mux\r\n"));
        assert!(!carry(&muxed, &ours).unwrap().as_str().contains("rtcp-mux"));
        assert!(!carry_answer(&muxed, &muxed, &ours).as_str().contains("rtcp-mux"));
    }
}
