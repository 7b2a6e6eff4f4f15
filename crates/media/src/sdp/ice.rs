//! ICE in descriptions (RFC 8839): what others say, and what we say as the lite side.
//!
//! Candidates of the other side are compared with its default address and not kept: who is lite checks nobody.

use super::{AudioView, Description};
use crate::ice::Credentials;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// What a description asks for its audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceAsked {
    /// It will check our addresses, and names itself so.
    Checks(Credentials),
    /// It would, but its default address is none of its candidates: somebody on the way changed it, and candidates mean nothing
    /// (RFC 8839 §4.2.5).
    Mismatch,
}

impl AudioView<'_> {
    /// What it says of ICE; `None`: nothing, nothing that can be used, or that its writer is lite as we are. Two of that kind
    /// would check nothing, so each goes by the other's default address as without ICE.
    pub fn ice(&self) -> Option<IceAsked> {
        if !self.has_ice {
            return None;
        }
        let (media, description) = (self.media(), self.media().description);
        let of_session =
            |name: &str| description.attributes().find(|(found, _)| *found == name).map(|(_, value)| value);
        if of_session("ice-lite").is_some() || media.attribute("ice-mismatch").is_some() {
            return None;
        }
        let either = |name: &str| media.attribute(name).or_else(|| of_session(name));
        let credentials = Credentials::parse(either("ice-ufrag")?, either("ice-pwd")?)?;
        Some(if self.default_is_candidate() { IceAsked::Checks(credentials) } else { IceAsked::Mismatch })
    }

    /// Whether its address is one of its candidates for RTP, as far as that can be told: 0.0.0.0 is none, and names are
    /// not looked up.
    fn default_is_candidate(&self) -> bool {
        let Some(default) = self.media().connection().and_then(|connection| connection.ip()) else { return true };
        if default.is_unspecified() {
            return true;
        }
        let default = SocketAddr::new(default.to_canonical(), self.media().port);
        let mut candidates = self.media().attributes().filter(|(name, _)| *name == "candidate");
        candidates.any(|(_, value)| candidate(value).is_some_and(|known| known.is_err() || known == Ok(default)))
    }
}

/// The address of a candidate for RTP over UDP (RFC 8839 §5.1), or that it is a name.
fn candidate(value: &str) -> Option<Result<SocketAddr, ()>> {
    let mut fields = value.split_ascii_whitespace().skip(1);
    let (component, transport) = (fields.next()?, fields.next()?);
    if component != "1" || !transport.eq_ignore_ascii_case("udp") {
        return None;
    }
    let address = fields.nth(1)?;
    let port = fields.next()?.parse().ok()?;
    let ip = address.parse::<IpAddr>().map_err(|_| ());
    Some(ip.map(|ip| SocketAddr::new(ip.to_canonical(), port)))
}

impl Description {
    /// The same with ICE on its audio, as the lite side says it: our credentials, and a candidate for each of so
    /// many components: 1 where RTCP shares the port of RTP, else 2. One that declines its audio stays as it is.
    #[must_use]
    pub fn with_ice(self, ours: &Credentials, components: u16) -> Description {
        let audio = self.live_audio().and_then(|index| self.media_at(index));
        let Some((audio, ip)) = audio.and_then(|audio| Some((audio, audio.connection()?.ip()?))) else { return self };
        let (index, port) = (audio.index, audio.port);
        let mut lines = format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ours.ufrag, ours.pwd.reveal());
        for component in 1..=components {
            let (priority, port) = (HOST_PRIORITY - u32::from(component), port.saturating_add(component - 1));
            let _ = write!(lines, "a=candidate:1 {component} UDP {priority} {ip} {port} typ host\r\n");
        }
        // `ice2` says that we know RFC 8445 and not only the one before it (RFC 8839 §5.6).
        self.insert("a=ice-lite\r\na=ice-options:ice2\r\n", index, &lines)
    }

    /// The same, which tells that the candidates of the offer cannot be used (RFC 8839 §4.2.5).
    #[must_use]
    pub fn with_ice_mismatch(self) -> Description {
        match self.live_audio() {
            Some(audio) => self.insert("", audio, "a=ice-mismatch\r\n"),
            None => self,
        }
    }
}

/// The priority of a host's only address, from which the number of its component is taken (RFC 8445 §5.1.2.1).
const HOST_PRIORITY: u32 = (126 << 24 | 65_535 << 8) + 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::{Local, carry, carry_answer};

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    const NAMES: &str = "a=ice-ufrag:h6vY\r\na=ice-pwd:VOkJxbRl1RmTxUk/WvJxBt\r\n";
    const HOST: &str = "a=candidate:1 1 UDP 2130706431 192.0.2.1 4000 typ host\r\n";
    const AUDIO: &str = "m=audio 4000 RTP/AVP 8\r\n";

    fn sdp(rest: &str) -> Description {
        Description::parse(format!("{HEAD}{rest}").as_bytes()).unwrap()
    }

    fn asked(rest: &str) -> Option<IceAsked> {
        sdp(rest).audio().unwrap().ice()
    }

    fn checks() -> IceAsked {
        IceAsked::Checks(Credentials::parse("h6vY", "VOkJxbRl1RmTxUk/WvJxBt").unwrap())
    }

    #[test]
    fn credentials_stand_at_the_media_or_at_the_session() {
        assert_eq!(asked(&format!("{AUDIO}{NAMES}{HOST}")), Some(checks()));
        assert_eq!(asked(&format!("{NAMES}{AUDIO}{HOST}")), Some(checks()));
        // Of the media alone, where both have some.
        let other = NAMES.replace("h6vY", "other");
        assert_eq!(asked(&format!("{other}{AUDIO}{HOST}{NAMES}")), Some(checks()));
        for none in [
            AUDIO.to_owned(),
            format!("{NAMES}{AUDIO}"),
            format!("a=ice-lite\r\n{AUDIO}{HOST}{NAMES}"),
            format!("{AUDIO}{HOST}{NAMES}a=ice-mismatch\r\n"),
            format!("{AUDIO}{HOST}a=ice-ufrag:h6vY\r\n"),
            format!("{AUDIO}{HOST}{}", NAMES.replace("VOkJ", "")),
            format!("{AUDIO}{HOST}{}", NAMES.replace("h6vY", "h6v")),
        ] {
            assert_eq!(asked(&none), None, "{none}");
        }
    }

    #[test]
    fn a_default_address_that_is_no_candidate_is_a_mismatch() {
        let with = |candidates: &str| asked(&format!("{AUDIO}{NAMES}{candidates}"));
        let elsewhere = HOST.replace("192.0.2.1", "10.0.0.7");
        assert_eq!(with(&elsewhere), Some(IceAsked::Mismatch));
        assert_eq!(with(&format!("{elsewhere}{HOST}")), Some(checks()));
        assert_eq!(with(&format!("{elsewhere}{}", HOST.replace(" 1 UDP", " 2 UDP"))), Some(IceAsked::Mismatch));
        assert_eq!(with(&HOST.replace("UDP", "TCP")), Some(IceAsked::Mismatch));
        assert_eq!(with("a=candidate:1 1\r\na=candidate:\r\n"), Some(IceAsked::Mismatch));
        // What follows in a candidate, and one of another kind, is passed over.
        let unknown = HOST.replace("192.0.2.1", "2001:db8::1%4");
        let known = HOST.replace("host", "host generation 0 network-id 1 network-cost 50");
        assert_eq!(with(&format!("{unknown}{known}")), Some(checks()));
        // A name may be that address; so may be what comes later, where there is none yet.
        assert_eq!(with(&HOST.replace("192.0.2.1", "b5a1f0c2.local")), Some(checks()));
        for nowhere in ["IP4 0.0.0.0", "IP6 ::", "IP4 phone.example.com"] {
            assert_eq!(asked(&format!("m=audio 9 RTP/AVP 8\r\nc=IN {nowhere}\r\n{NAMES}{HOST}")), Some(checks()));
        }
    }

    #[test]
    fn ours_say_who_is_lite_and_where_it_is() {
        let ours = Credentials::parse("evtj", "VOkJxbRl1RmTxUk/WvJxBt").unwrap();
        let lines =
            |text: &str| text.lines().filter(|line| line.starts_with("a=")).map(str::to_owned).collect::<Vec<_>>();
        let video = "m=video 0 RTP/AVP 96\r\n";
        let names = ["a=ice-ufrag:evtj", "a=ice-pwd:VOkJxbRl1RmTxUk/WvJxBt"];
        let (rtp, rtcp) = (HOST.trim_end(), "a=candidate:1 2 UDP 2130706430 192.0.2.1 4001 typ host");
        for (before, after) in [("", ""), (video, ""), ("", video)] {
            let made = sdp(&format!("{before}{AUDIO}{after}")).with_ice(&ours, 2);
            let expected = ["a=ice-lite", "a=ice-options:ice2", names[0], names[1], rtp, rtcp];
            assert_eq!(lines(made.as_str()), expected);
            assert_eq!(Description::parse(made.as_str().as_bytes()).as_ref(), Ok(&made));
            assert!(made.as_str().find("a=ice-lite") < made.as_str().find("m="));
            assert_eq!(made.audio().unwrap().media().attribute("ice-ufrag"), Some("evtj"));
            let mismatch = sdp(&format!("{before}{AUDIO}{after}")).with_ice_mismatch();
            assert_eq!(lines(mismatch.as_str()), ["a=ice-mismatch"]);
            assert!(mismatch.audio().unwrap().media().attribute("ice-mismatch").is_some());
        }
        let muxed = sdp(AUDIO).with_rtcp_mux().with_ice(&ours, 1);
        assert_eq!(lines(muxed.as_str()).iter().filter(|line| line.starts_with("a=candidate")).count(), 1);
        let off = sdp("m=audio 0 RTP/AVP 8\r\n");
        assert_eq!((off.clone().with_ice(&ours, 2), off.clone().with_ice_mismatch()), (off.clone(), off));
    }

    #[test]
    fn it_is_never_carried_to_the_other_leg() {
        let ours = Local { session_id: 1, version: 1, address: "203.0.113.5".parse().unwrap(), ports: &[10_000] };
        let said = sdp(&format!(
            "{NAMES}a=ice-options:trickle\r\n{AUDIO}{HOST}{NAMES}a=remote-candidates:1 203.0.113.5 10000\r\na=ice-pacing:50\r\na=end-of-candidates\r\n"
        ));
        for made in [carry(&said, &ours).unwrap(), carry_answer(&said, &said, &ours)] {
            assert!(!made.as_str().contains("ice-") && !made.as_str().contains("candidate"), "{}", made.as_str());
        }
    }
}
