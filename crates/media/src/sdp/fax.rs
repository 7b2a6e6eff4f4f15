//! Fax over UDPTL (ITU-T T.38, annex D; RFC 3362): `m=image PORT udptl t38`.

use super::audio::remote;
use super::{Description, MediaView};
use crate::command::{Family, MediaAddress};

impl MediaView<'_> {
    /// Whether this is a fax over UDPTL, wanted somewhere.
    pub fn is_fax(&self) -> bool {
        self.kind == "image"
            && self.port != 0
            && self.protocol.eq_ignore_ascii_case("udptl")
            && self.formats().any(|format| format.eq_ignore_ascii_case("t38"))
    }

    /// Where its packets go; `None` where nothing can be sent.
    pub fn remote(&self) -> Option<MediaAddress> {
        let ip = self.connection().and_then(|connection| connection.ip())?;
        remote(ip, self.port, None)
    }
}

impl Description {
    /// The fax that is carried: the first, where no audio is wanted. Beside audio it is declined, as one pair of ports
    /// carries one of both.
    pub fn fax(&self) -> Option<MediaView<'_>> {
        // Hardly any description has an image, and only then its lines need be read.
        if !self.has_media("image") || self.media().any(|media| media.is_relayable()) {
            return None;
        }
        self.media().find(MediaView::is_fax)
    }

    /// Whether there is anything that the exchange carries.
    pub fn is_carried(&self) -> bool {
        self.media().any(|media| media.is_relayable() || media.is_fax())
    }

    /// The family of addresses that what is carried is wanted at; `None` where nothing is said about it: on hold by an
    /// unspecified address, or wanted at a name.
    pub fn family(&self) -> Option<Family> {
        let carried = self.media().find(|media| media.is_relayable() || media.is_fax())?;
        let address = carried.connection()?.ip()?.to_canonical();
        (!address.is_unspecified()).then(|| Family::of(address))
    }

    /// A number that differs, as good as surely, where the text does.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::Hasher as _;
        let mut hasher = words::OwnHasher::default();
        hasher.write(self.as_str().as_bytes());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdp(media: &str) -> Description {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
        Description::parse(format!("{head}{media}").as_bytes()).unwrap()
    }

    #[test]
    fn a_fax_is_an_image_over_udptl_with_a_port() {
        for fax in ["m=image 5004 udptl t38\r\n", "m=audio 0 RTP/AVP 8\r\nm=image 5004 UDPTL T38\r\n"] {
            let found = sdp(fax);
            let remote = found.fax().unwrap().remote().unwrap();
            assert_eq!(remote.rtp.to_string(), "192.0.2.1:5004");
        }
        for other in
            ["m=image 0 udptl t38\r\n", "m=image 5 TCP t38\r\n", "m=image 5 udptl jpeg\r\n", "m=video 5 udptl t38\r\n"]
        {
            assert!(sdp(other).fax().is_none() && !sdp(other).is_carried(), "{other}");
        }
    }

    #[test]
    fn beside_audio_it_is_none() {
        let both = sdp("m=audio 4000 RTP/AVP 8\r\nm=image 5004 udptl t38\r\n");
        assert!(both.fax().is_none() && both.is_carried());
        assert!(sdp("m=image 5004 udptl t38\r\nc=IN IP4 0.0.0.0\r\n").fax().unwrap().remote().is_none());
    }

    #[test]
    fn the_family_is_that_of_what_is_carried() {
        let (v4, v6) = (Some(Family::V4), Some(Family::V6));
        for (media, family) in [
            ("m=audio 4000 RTP/AVP 8\r\n", v4),
            ("m=audio 4000 RTP/AVP 8\r\nc=IN IP6 2001:db8::1\r\n", v6),
            ("m=audio 4000 RTP/AVP 8\r\nc=IN IP6 ::ffff:192.0.2.7\r\n", v4),
            ("m=video 4002 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 8\r\nc=IN IP6 2001:db8::1\r\n", v6),
            ("m=image 5004 udptl t38\r\nc=IN IP6 2001:db8::1\r\n", v6),
            ("m=audio 4000 RTP/AVP 8\r\nc=IN IP6 ::\r\n", None),
            ("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 phone.example\r\n", None),
            ("m=audio 0 RTP/AVP 8\r\n", None),
        ] {
            assert_eq!(sdp(media).family(), family, "{media}");
        }
    }

    #[test]
    fn another_text_has_another_fingerprint() {
        let (a, b) = (sdp("m=audio 4000 RTP/AVP 8\r\n"), sdp("m=audio 4002 RTP/AVP 8\r\n"));
        assert_eq!(a.fingerprint(), a.clone().fingerprint());
        assert_ne!(a.fingerprint(), b.fingerprint());
    }
}
