//! From where an end is heard and to where it is sent: the address of its description, or one other that it may learn.
//!
//! Whoever knows more has the better right: the address of the description before the host that the end's signalling
//! comes from ([`Whereabouts`]), and that before everybody else; of a trunk, the networks of both come in between.
//!
//! | heard | event | next | effect |
//! |---|---|---|---|
//! | any | valid RTP from the address of the description | spoken | taken; nothing is learnt any more |
//! | nobody, or a source of lesser right | valid RTP from elsewhere, learning allowed | candidate | dropped |
//! | – | the next of the candidate's stream, [`LEARN_PACKETS`] in time | learnt | taken |
//! | – | another stream, or too fast | candidate | dropped, counting starts again |
//! | – | a source of better right than the candidate | that is the candidate | dropped |
//! | spoken, learnt | anything from elsewhere | – | dropped |
//! | learnt, of no right | RTP from elsewhere, [`PASSING_SILENCE`] after the last of fewer than [`PASSING_PACKETS`] | nobody | as for nobody |
//!
//! Of a device behind NAT only the host of its signalling is learnt: a silent phone's packets would go to whoever speaks
//! in its place. A packet that was encrypted with the end's own keys speaks for itself, wherever it comes from. A trunk
//! may be heard from anywhere: what was learnt of it is never sent to. Somebody who came by with a few packets before the trunk
//! spoke does not keep its audio out for the whole call.
//!
//! An end with ICE (`ice.rs`) learns from nothing but checks: until one was genuine it hears the address of the description
//! alone, then only where genuine ones came from, whatever the description says.
//!
//! RTCP follows: it is taken from the address that the description names for it, or, once RTP was learnt, from one port
//! of the same host; where one port has both, from where RTP comes from.

use crate::ice::Checked;
use media::command::{MediaAddress, SourceRule, Whereabouts};
use media::rtp::RtpView;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use words::Time;

/// How many packets in a row an unknown source must send before it is learnt.
pub const LEARN_PACKETS: u32 = 3;

/// The least time that these packets take: faster is no speech.
pub const LEARN_SPAN: Duration = Duration::from_millis(20);

/// How long a candidate may be silent before another source of no better right takes its place.
pub const CANDIDATE_PATIENCE: Duration = Duration::from_millis(200);

/// A source without any right that said less than this was passing by: a second of speech. Units: packets.
pub const PASSING_PACKETS: u64 = 50;

/// How long it has said nothing by then.
pub const PASSING_SILENCE: Duration = Duration::from_secs(1);

/// What UDPTL counts as: it has no SSRC.
const NO_SSRC: u32 = 0;

/// The most that the sequence numbers of a candidate may jump.
const LEARN_GAP: u16 = 50;

/// What an end does with a packet because of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may pass.
    Taken,
    /// It came from elsewhere.
    Refused,
}

/// The addresses of one end.
#[derive(Clone, Debug)]
pub struct Latch {
    rule: SourceRule,
    whereabouts: Whereabouts,
    remote: Option<MediaAddress>,
    heard: Heard,
    candidate: Option<Candidate>,
    /// Where RTCP comes from once RTP was learnt.
    rtcp: Option<SocketAddr>,
    /// What checks told; `None`: it has no ICE.
    pub(crate) checked: Option<Box<Checked>>,
}

#[derive(Clone, Copy, Debug)]
enum Heard {
    Nobody,
    Learnt(SocketAddr),
    Spoken,
}

/// What speaks for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Right {
    Nothing,
    /// It is in the network of the description's address or of the signalling, as the many media hosts of a carrier are.
    Near,
    /// Signalling comes from its host.
    Signalling,
}

/// Who may be learnt.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    packets: u32,
    since: Time,
    last: Time,
}

impl Latch {
    /// An end of which nothing but its description is known. Addresses of IPv4 mapped into IPv6 count as IPv4.
    pub fn new(rule: SourceRule, whereabouts: Whereabouts, remote: Option<MediaAddress>) -> Self {
        let remote = remote.map(|r| MediaAddress { rtp: canonical(r.rtp), rtcp: canonical(r.rtcp) });
        let whereabouts = Whereabouts { host: whereabouts.host.map(|host| host.to_canonical()), ..whereabouts };
        Latch { rule, whereabouts, remote, heard: Heard::Nobody, candidate: None, rtcp: None, checked: None }
    }

    /// Takes a new description. What was learnt is forgotten when its address differs; true says so.
    pub fn renew(&mut self, rule: SourceRule, whereabouts: Whereabouts, remote: Option<MediaAddress>) -> bool {
        let mut next = Latch::new(rule, whereabouts, remote);
        let differs = next.remote != self.remote;
        if differs {
            next.checked = self.checked.take();
            *self = next;
        } else {
            (self.rule, self.whereabouts) = (rule, next.whereabouts);
            if rule == SourceRule::Strict && !matches!(self.heard, Heard::Spoken) {
                (self.heard, self.candidate, self.rtcp) = (Heard::Nobody, None, None);
            }
        }
        differs
    }

    /// Judges a valid RTP packet of a negotiated payload type, and learns from it. It is `genuine` when it was encrypted
    /// with the end's own keys.
    pub fn judge_rtp(&mut self, from: SocketAddr, rtp: &RtpView<'_>, genuine: bool, now: Time) -> Judgement {
        self.judge(from, rtp.ssrc(), rtp.sequence(), genuine, now)
    }

    /// Judges a datagram of UDPTL (ITU-T T.38 §9.1), which begins with a number that counts upwards, and learns from it.
    pub fn judge_udptl(&mut self, from: SocketAddr, packet: &[u8], now: Time) -> Judgement {
        let Some(&[high, low]) = packet.first_chunk() else { return Judgement::Refused };
        let sequence = u16::from_be_bytes([high, low]);
        if self.candidate.is_some_and(|known| same(from, known.from) && known.sequence == sequence) {
            // Some send each datagram several times.
            return Judgement::Refused;
        }
        self.judge(from, NO_SSRC, sequence, false, now)
    }

    /// Its description's addresses.
    pub(crate) fn remote(&self) -> Option<MediaAddress> {
        self.remote
    }

    /// From where it may be heard.
    pub(crate) fn rule(&self) -> SourceRule {
        self.rule
    }

    /// What signalling knows of it.
    pub(crate) fn whereabouts(&self) -> Whereabouts {
        self.whereabouts
    }

    /// Whether it shares a port with others.
    pub(crate) fn is_single(&self) -> bool {
        self.whereabouts.single_port
    }

    /// Whether it is known where packets go.
    pub fn has_remote(&self) -> bool {
        self.remote.is_some()
    }

    fn judge(&mut self, from: SocketAddr, ssrc: u32, sequence: u16, genuine: bool, now: Time) -> Judgement {
        // A fresh relay port with no description yet has nobody to hear.
        let Some(remote) = self.remote else { return Judgement::Refused };
        if let Some(knows) = self.checked.as_mut().and_then(|checked| checked.hear(from)) {
            return if knows { Judgement::Taken } else { Judgement::Refused };
        }
        if same(from, remote.rtp) {
            (self.heard, self.candidate, self.rtcp) = (Heard::Spoken, None, None);
            return Judgement::Taken;
        }
        if matches!(self.heard, Heard::Learnt(learnt) if same(from, learnt)) {
            return Judgement::Taken;
        }
        if !self.may_learn(from, genuine) {
            return Judgement::Refused;
        }
        let now_it = Candidate { from: canonical(from), ssrc, sequence, packets: 1, since: now, last: now };
        let known = match self.candidate {
            Some(known) if same(from, known.from) => known,
            // Whoever shouts in between does not keep a speaker from being learnt.
            Some(known)
                if now.since(known.last) <= CANDIDATE_PATIENCE && self.right(from) <= self.right(known.from) =>
            {
                return Judgement::Refused;
            }
            _ => {
                self.candidate = Some(now_it);
                return Judgement::Refused;
            }
        };
        let step = sequence.wrapping_sub(known.sequence);
        let (packets, span) = (known.packets + 1, now.since(known.since));
        // At most twice the rate of the shortest packets in use (10 ms), and what a wireless link holds back.
        let too_fast = u128::from(packets) > span.as_millis() / 5 + 10;
        let goes_on = ssrc == known.ssrc && (1..=LEARN_GAP).contains(&step) && !too_fast;
        if goes_on && packets >= LEARN_PACKETS && span >= LEARN_SPAN {
            (self.heard, self.candidate, self.rtcp) = (Heard::Learnt(known.from), None, None);
            return Judgement::Taken;
        }
        self.candidate = Some(if goes_on { Candidate { packets, since: known.since, ..now_it } } else { now_it });
        Judgement::Refused
    }

    /// Forgets a source without any right that said so few packets, and nothing for so long: it passed by. Whether it did.
    pub(crate) fn let_go(&mut self, packets: u64, silent: Duration) -> bool {
        let passed = packets < PASSING_PACKETS
            && silent >= PASSING_SILENCE
            && self.rule == SourceRule::HearOnce
            && matches!(self.heard, Heard::Learnt(from) if self.right(from) == Right::Nothing);
        if passed {
            (self.heard, self.candidate, self.rtcp) = (Heard::Nobody, None, None);
        }
        passed
    }

    /// Whether a source beside the description's address may be learnt at this moment.
    fn may_learn(&self, from: SocketAddr, genuine: bool) -> bool {
        let free = match self.heard {
            Heard::Nobody => true,
            Heard::Learnt(_) => self.outranks(from),
            Heard::Spoken => false,
        };
        free && self.checked.is_none()
            && match self.rule {
                SourceRule::Strict => false,
                SourceRule::LearnOnce => genuine || self.right(from) == Right::Signalling,
                SourceRule::HearOnce => true,
            }
    }

    fn right(&self, from: SocketAddr) -> Right {
        let host = from.ip().to_canonical();
        let described = self.remote.map(|remote| remote.rtp.ip());
        if self.whereabouts.host == Some(host) {
            Right::Signalling
        } else if [described, self.whereabouts.host].into_iter().flatten().any(|known| are_near(known, host)) {
            Right::Near
        } else {
            Right::Nothing
        }
    }

    /// Judges a valid RTCP packet.
    pub fn judge_rtcp(&mut self, from: SocketAddr) -> Judgement {
        if !self.may_report(from) {
            return Judgement::Refused;
        }
        if let (Heard::Learnt(_), None, None, false) = (self.heard, self.rtcp, &self.checked, self.is_muxed()) {
            self.rtcp = Some(from);
        }
        Judgement::Taken
    }

    /// Whether a valid RTCP packet from there would be taken.
    pub fn may_report(&self, from: SocketAddr) -> bool {
        let Some(remote) = self.remote else { return false };
        if let Some(knows) = self.checked.as_ref().and_then(|checked| checked.knows(!remote.is_muxed(), from)) {
            return knows;
        }
        match (self.heard, self.rtcp) {
            (Heard::Learnt(rtp), _) if remote.is_muxed() => same(from, rtp),
            (Heard::Learnt(_), Some(rtcp)) => same(from, rtcp),
            (Heard::Learnt(rtp), None) => from.ip() == rtp.ip(),
            (Heard::Nobody | Heard::Spoken, _) => same(from, remote.rtcp),
        }
    }

    /// Whether RTP from there could be taken at all, now or once it is learnt, if it is genuine.
    pub fn may_speak(&self, from: SocketAddr) -> bool {
        let Some(remote) = self.remote else { return false };
        if let Some(knows) = self.proven(from) {
            return knows;
        }
        same(from, remote.rtp)
            || matches!(self.heard, Heard::Learnt(learnt) if same(from, learnt))
            || self.may_learn(from, true)
    }

    /// The one source that is heard at this moment; a packet from there needs no judgement.
    pub fn heard(&self) -> Option<SocketAddr> {
        if let Some(checked) = self.checked.as_ref().filter(|checked| checked.target(false).is_some()) {
            return checked.heard();
        }
        match self.heard {
            Heard::Nobody => None,
            Heard::Learnt(from) => Some(from),
            Heard::Spoken => self.remote.map(|r| r.rtp),
        }
    }

    /// Whether RTP from there takes the place of whom was learnt, or may do so.
    pub(crate) fn outranks(&self, from: SocketAddr) -> bool {
        if let Some(knows) = self.proven(from) {
            return knows;
        }
        let described = self.remote.is_some_and(|remote| same(from, remote.rtp));
        described || matches!(self.heard, Heard::Learnt(learnt) if self.right(from) > self.right(learnt))
    }

    /// Whether the address of the description spoke: then RTP is heard from there and sent there, for good. Of an end with
    /// ICE that is never so.
    pub fn has_spoken(&self) -> bool {
        matches!(self.heard, Heard::Spoken) && self.checked.is_none()
    }

    /// Whether checks have proven that the end is there; `None`: none was genuine so far.
    fn proven(&self, from: SocketAddr) -> Option<bool> {
        self.checked.as_ref()?.knows(false, from)
    }

    /// Where checks say that its packets go, of RTP or of RTCP.
    fn selected(&self, is_rtcp: bool) -> Option<SocketAddr> {
        self.checked.as_ref()?.target(is_rtcp).filter(|_| self.has_remote())
    }

    /// Whether RTCP uses the port of RTP.
    pub fn is_muxed(&self) -> bool {
        self.remote.is_some_and(|remote| remote.is_muxed())
    }

    /// Where RTP goes.
    pub fn rtp_target(&self) -> Option<SocketAddr> {
        if let Some(selected) = self.selected(false) {
            return Some(selected);
        }
        match (self.heard, self.rule) {
            (Heard::Learnt(from), SourceRule::LearnOnce) => Some(from),
            _ => self.remote.map(|r| r.rtp),
        }
    }

    /// Where RTCP goes: nowhere as long as a learnt end has not sent any.
    pub fn rtcp_target(&self) -> Option<SocketAddr> {
        if let Some(selected) = self.selected(!self.is_muxed()) {
            return Some(selected);
        }
        match (self.heard, self.rule) {
            (Heard::Learnt(from), SourceRule::LearnOnce) => {
                if self.is_muxed() {
                    Some(from)
                } else {
                    self.rtcp
                }
            }
            _ => self.remote.map(|r| r.rtcp),
        }
    }
}

/// Whether two hosts are of one network: of 256 addresses of IPv4, or of one link of IPv6.
fn are_near(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.segments()[..4] == b.segments()[..4],
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Whether two addresses are one: flow labels and scopes of IPv6 do not count.
pub(crate) fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip() == b.ip()
}

pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::rtp::RtpHeader;

    const PHONE: &str = "192.0.2.10:4000";
    const NAT: &str = "198.51.100.7:61000";
    const STRANGER: &str = "203.0.113.66:5555";

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn described() -> MediaAddress {
        MediaAddress { rtp: at(PHONE), rtcp: at("192.0.2.10:4001") }
    }

    /// Whose signalling comes from the host of [`NAT`].
    fn latch(rule: SourceRule) -> Latch {
        Latch::new(rule, from_nat(), Some(described()))
    }

    fn from_nat() -> Whereabouts {
        Whereabouts { host: Some(at(NAT).ip()), ..Whereabouts::default() }
    }

    fn packet(sequence: u16, ssrc: u32) -> [u8; 12] {
        let timestamp = u32::from(sequence) * 160;
        RtpHeader { payload_type: 0, marker: false, sequence, timestamp, ssrc }.print()
    }

    fn view(packet: &[u8]) -> RtpView<'_> {
        RtpView::parse(packet).unwrap()
    }

    /// Lets `from` speak as a phone does; gives how many of its packets were taken.
    fn speak(latch: &mut Latch, from: &str, ssrc: u32, packets: u16, every_ms: u64, start_ms: u64) -> usize {
        (0..packets)
            .filter(|&n| {
                let rtp = packet(n, ssrc);
                let now = Time::from_millis(start_ms + u64::from(n) * every_ms);
                latch.judge_rtp(at(from), &view(&rtp), false, now) == Judgement::Taken
            })
            .count()
    }

    #[test]
    fn strict_hears_and_sends_the_description_only() {
        let mut latch = latch(SourceRule::Strict);
        assert_eq!(speak(&mut latch, STRANGER, 1, 50, 20, 0), 0);
        assert_eq!((latch.rtp_target(), latch.heard()), (Some(at(PHONE)), None));
        assert_eq!(speak(&mut latch, PHONE, 2, 5, 20, 1000), 5);
        assert!(latch.has_spoken());
        assert_eq!(speak(&mut latch, STRANGER, 1, 50, 20, 2000), 0);
        assert_eq!(latch.judge_rtcp(at("192.0.2.10:4001")), Judgement::Taken);
        assert_eq!(latch.judge_rtcp(at(STRANGER)), Judgement::Refused);
    }

    #[test]
    fn behind_nat_one_source_is_learnt_and_only_once() {
        let mut latch = latch(SourceRule::LearnOnce);
        assert_eq!(speak(&mut latch, NAT, 7, 20, 20, 0), 18);
        assert_eq!((latch.rtp_target(), latch.heard()), (Some(at(NAT)), Some(at(NAT))));
        assert_eq!(speak(&mut latch, STRANGER, 8, 200, 20, 1000), 0);
        assert_eq!(latch.rtp_target(), Some(at(NAT)));
    }

    #[test]
    fn the_address_of_the_description_wins_at_once_and_for_good() {
        let mut latch = latch(SourceRule::LearnOnce);
        speak(&mut latch, NAT, 8, 20, 20, 0);
        assert_eq!(latch.rtp_target(), Some(at(NAT)));
        assert_eq!(speak(&mut latch, PHONE, 9, 1, 20, 1000), 1);
        assert_eq!((latch.rtp_target(), latch.heard()), (Some(at(PHONE)), Some(at(PHONE))));
        assert_eq!(speak(&mut latch, NAT, 8, 200, 20, 2000), 0);
        assert_eq!(latch.rtp_target(), Some(at(PHONE)));
    }

    #[test]
    fn floods_scans_and_changing_streams_are_not_learnt() {
        let mut flood = latch(SourceRule::LearnOnce);
        assert_eq!(speak(&mut flood, NAT, 8, 2_000, 1, 0), 0);
        let mut scan = latch(SourceRule::LearnOnce);
        assert!((0..100).all(|n| speak(&mut scan, NAT, n, 1, 20, u64::from(n) * 20) == 0));
        assert_eq!(scan.rtp_target(), Some(at(PHONE)));
    }

    #[test]
    fn a_shouting_stranger_does_not_keep_a_speaker_from_being_learnt() {
        let mut latch = latch(SourceRule::HearOnce);
        for n in 0..5 {
            let ms = u64::from(n) * 20;
            let rtp = |ssrc| packet(n, ssrc);
            latch.judge_rtp(at(NAT), &view(&rtp(1)), false, Time::from_millis(ms));
            (0..5).for_each(|k| {
                latch.judge_rtp(at(STRANGER), &view(&rtp(2)), false, Time::from_millis(ms + k));
            });
        }
        assert_eq!(latch.heard(), Some(at(NAT)));
    }

    #[test]
    fn a_trunk_is_heard_from_elsewhere_but_sent_to_as_described() {
        let mut latch = latch(SourceRule::HearOnce);
        assert_eq!(speak(&mut latch, NAT, 7, 20, 20, 0), 18);
        assert_eq!(latch.judge_rtcp(at("198.51.100.7:61001")), Judgement::Taken);
        assert_eq!(latch.rtp_target(), Some(at(PHONE)));
        assert_eq!(latch.rtcp_target(), Some(at("192.0.2.10:4001")));
    }

    #[test]
    fn rtcp_is_learnt_after_rtp_from_the_same_host_once() {
        let mut latch = latch(SourceRule::LearnOnce);
        let (first, second) = ("198.51.100.7:61009", "198.51.100.7:61011");
        assert_eq!(latch.judge_rtcp(at(first)), Judgement::Refused);
        speak(&mut latch, NAT, 7, 5, 20, 0);
        assert_eq!(latch.rtcp_target(), None);
        assert_eq!(latch.judge_rtcp(at(STRANGER)), Judgement::Refused);
        assert_eq!(latch.judge_rtcp(at(first)), Judgement::Taken);
        assert_eq!(latch.judge_rtcp(at(second)), Judgement::Refused);
        assert_eq!(latch.rtcp_target(), Some(at(first)));
    }

    #[test]
    fn a_new_description_forgets_what_was_learnt_only_if_it_differs() {
        let mut latch = latch(SourceRule::LearnOnce);
        let (same_host, same_place) = (from_nat(), Some(described()));
        speak(&mut latch, NAT, 7, 5, 20, 0);
        assert!(!latch.renew(SourceRule::LearnOnce, same_host, same_place));
        assert_eq!(latch.rtp_target(), Some(at(NAT)));
        assert!(latch.renew(SourceRule::LearnOnce, same_host, None));
        assert_eq!((latch.rtp_target(), speak(&mut latch, NAT, 7, 9, 20, 500)), (None, 0));
        assert!(latch.renew(SourceRule::LearnOnce, same_host, same_place));
        assert_eq!(speak(&mut latch, NAT, 7, 5, 20, 1000), 3);
    }

    #[test]
    fn of_a_device_behind_nat_nobody_is_learnt_but_the_host_of_its_signalling() {
        let mut nat = latch(SourceRule::LearnOnce);
        assert_eq!((speak(&mut nat, STRANGER, 8, 2_000, 20, 0), nat.rtp_target()), (0, Some(at(PHONE))));
        assert!(!nat.outranks(at(STRANGER)));
        assert_eq!(speak(&mut nat, NAT, 7, 20, 20, 40_000), 18);
        assert_eq!((nat.rtp_target(), nat.heard()), (Some(at(NAT)), Some(at(NAT))));
        assert_eq!(speak(&mut nat, STRANGER, 8, 500, 20, 41_000), 0);
        // Nor is anybody else of that host, once one was learnt.
        assert_eq!(speak(&mut nat, "198.51.100.7:62000", 9, 500, 20, 51_000), 0);
        // Where signalling is of the other family, or unknown, it is nobody.
        for host in [None, Some("2001:db8::1".parse().unwrap())] {
            let whereabouts = Whereabouts { host, ..Whereabouts::default() };
            let mut latch = Latch::new(SourceRule::LearnOnce, whereabouts, Some(described()));
            assert_eq!(speak(&mut latch, NAT, 8, 2_000, 20, 0), 0);
            assert_eq!(speak(&mut latch, PHONE, 9, 5, 20, 40_000), 5);
        }
    }

    #[test]
    fn what_the_keys_of_the_end_encrypted_is_its_own_wherever_it_comes_from() {
        let mut keyed = latch(SourceRule::LearnOnce);
        assert!(keyed.may_speak(at(STRANGER)));
        let rtp = |n: u16| packet(n, 7);
        let taken = (0..5u16).filter(|&n| {
            let now = Time::from_millis(u64::from(n) * 20);
            keyed.judge_rtp(at(STRANGER), &view(&rtp(n)), true, now) == Judgement::Taken
        });
        assert_eq!(taken.count(), 3);
    }

    #[test]
    fn a_phone_that_moved_is_learnt_anew_where_its_signalling_comes_from() {
        let mut latch = latch(SourceRule::LearnOnce);
        speak(&mut latch, NAT, 7, 5, 20, 0);
        let moved = "203.0.113.99:4444";
        let host = Some(at(moved).ip());
        let whereabouts = Whereabouts { host, ..Whereabouts::default() };
        assert!(!latch.renew(SourceRule::LearnOnce, whereabouts, Some(described())));
        assert_eq!((latch.heard(), speak(&mut latch, moved, 7, 5, 20, 1_000)), (Some(at(NAT)), 3));
        assert_eq!(latch.rtp_target(), Some(at(moved)));
    }

    #[test]
    fn a_trunk_is_heard_from_anywhere_and_rather_from_its_networks_and_its_signalling() {
        let mut latch = latch(SourceRule::HearOnce);
        let steps = [(STRANGER, 18), ("203.0.113.67:1", 0), ("192.0.2.99:9", 18), (STRANGER, 0), (NAT, 18)];
        for (n, (from, taken)) in (0..).zip(steps) {
            assert_eq!(speak(&mut latch, from, 8, 20, 20, 1_000 * n), taken, "{from}");
            assert_eq!(latch.rtp_target(), Some(at(PHONE)));
        }
        assert_eq!(speak(&mut latch, "192.0.2.99:9", 8, 20, 20, 9_000), 0);
        let mut taken_over = Latch::new(SourceRule::HearOnce, from_nat(), Some(described()));
        speak(&mut taken_over, STRANGER, 8, 20, 20, 0);
        assert_eq!(speak(&mut taken_over, "198.51.100.8:7", 9, 20, 20, 1_000), 18);
        assert_eq!(speak(&mut taken_over, PHONE, 9, 20, 20, 2_000), 20);
        assert_eq!(speak(&mut taken_over, NAT, 9, 20, 20, 3_000), 0);
    }
}
