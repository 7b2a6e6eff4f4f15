//! From where an end is heard and to where it is sent: the address of its description, or one other that it may learn.
//!
//! | state | event | next | effect |
//! |---|---|---|---|
//! | waiting, candidate, learnt | valid RTP from the address of the description | spoken | taken; nothing is learnt any more |
//! | waiting | valid RTP from elsewhere, learning allowed | candidate | dropped |
//! | candidate | the next of the same stream, [`LEARN_PACKETS`] in time | learnt | taken |
//! | candidate | another stream, or too fast | candidate | dropped, counting starts again |
//! | spoken, learnt | anything from elsewhere | – | dropped |
//!
//! RTCP follows: it is taken from the address that the description names for it, or, once RTP was learnt, from one port
//! of the same host.

use media::command::{MediaAddress, SourceRule};
use media::rtp::RtpView;
use std::net::SocketAddr;
use std::time::Duration;
use words::Time;

/// How many packets in a row an unknown source must send before it is learnt.
pub const LEARN_PACKETS: u32 = 3;

/// The least time that these packets take: faster is no speech.
pub const LEARN_SPAN: Duration = Duration::from_millis(20);

/// How long a candidate may be silent before another source takes its place.
pub const CANDIDATE_PATIENCE: Duration = Duration::from_millis(200);

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
    remote: Option<MediaAddress>,
    state: State,
    /// Where RTCP comes from once RTP was learnt.
    rtcp: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting,
    Candidate { from: SocketAddr, ssrc: u32, sequence: u16, packets: u32, since: Time, last: Time },
    Learnt(SocketAddr),
    Spoken,
}

impl Latch {
    /// An end of which nothing but its description is known. Addresses of IPv4 mapped into IPv6 count as IPv4.
    pub fn new(rule: SourceRule, remote: Option<MediaAddress>) -> Self {
        let remote = remote.map(|r| MediaAddress { rtp: canonical(r.rtp), rtcp: canonical(r.rtcp) });
        Latch { rule, remote, state: State::Waiting, rtcp: None }
    }

    /// Takes a new description. What was learnt is forgotten when its address differs; true says so.
    pub fn renew(&mut self, rule: SourceRule, remote: Option<MediaAddress>) -> bool {
        let next = Latch::new(rule, remote);
        let differs = next.remote != self.remote;
        if differs {
            *self = next;
        } else {
            self.rule = rule;
            if rule == SourceRule::Strict && !matches!(self.state, State::Spoken) {
                (self.state, self.rtcp) = (State::Waiting, None);
            }
        }
        differs
    }

    /// Judges a valid RTP packet of a negotiated payload type, and learns from it.
    pub fn judge_rtp(&mut self, from: SocketAddr, rtp: &RtpView<'_>, now: Time) -> Judgement {
        self.judge(from, rtp.ssrc(), rtp.sequence(), now)
    }

    /// Judges a datagram of UDPTL (ITU-T T.38 §9.1), which begins with a number that counts upwards, and learns from it.
    pub fn judge_udptl(&mut self, from: SocketAddr, packet: &[u8], now: Time) -> Judgement {
        let Some(&[high, low]) = packet.first_chunk() else { return Judgement::Refused };
        let sequence = u16::from_be_bytes([high, low]);
        if let State::Candidate { from: known, sequence: last, .. } = self.state
            && same(from, known)
            && sequence == last
        {
            // Some send each datagram several times.
            return Judgement::Refused;
        }
        self.judge(from, NO_SSRC, sequence, now)
    }

    /// Whether it is known where packets go.
    pub fn has_remote(&self) -> bool {
        self.remote.is_some()
    }

    fn judge(&mut self, from: SocketAddr, of: u32, number: u16, now: Time) -> Judgement {
        // A fresh relay port with no description yet has nobody to hear.
        let Some(remote) = self.remote else { return Judgement::Refused };
        if same(from, remote.rtp) {
            (self.state, self.rtcp) = (State::Spoken, None);
            return Judgement::Taken;
        }
        if self.rule == SourceRule::Strict {
            return Judgement::Refused;
        }
        match self.state {
            State::Learnt(learnt) if same(from, learnt) => Judgement::Taken,
            State::Learnt(_) | State::Spoken => Judgement::Refused,
            State::Waiting => self.begin(from, of, number, now),
            State::Candidate { from: known, last, .. } if !same(from, known) => {
                // Whoever shouts in between does not keep a speaker from being learnt.
                if now.since(last) > CANDIDATE_PATIENCE {
                    self.begin(from, of, number, now)
                } else {
                    Judgement::Refused
                }
            }
            State::Candidate { from: known, ssrc, sequence, packets, since, .. } => {
                let step = number.wrapping_sub(sequence);
                if of != ssrc || step == 0 || step > LEARN_GAP {
                    return self.begin(from, of, number, now);
                }
                let (packets, span) = (packets + 1, now.since(since));
                // Twice the rate of the shortest packets in use (10 ms), and what a wireless link holds back.
                if u128::from(packets) > span.as_millis() / 5 + 10 {
                    return self.begin(from, of, number, now);
                }
                if packets < LEARN_PACKETS || span < LEARN_SPAN {
                    let sequence = number;
                    self.state = State::Candidate { from: known, ssrc, sequence, packets, since, last: now };
                    return Judgement::Refused;
                }
                self.state = State::Learnt(known);
                Judgement::Taken
            }
        }
    }

    /// Judges a valid RTCP packet.
    pub fn judge_rtcp(&mut self, from: SocketAddr) -> Judgement {
        let Some(remote) = self.remote else { return Judgement::Refused };
        let known = match (self.state, self.rtcp) {
            (State::Learnt(_), Some(rtcp)) => same(from, rtcp),
            (State::Learnt(rtp), None) if from.ip() == rtp.ip() => {
                self.rtcp = Some(from);
                true
            }
            (State::Learnt(_), None) => false,
            (State::Waiting | State::Candidate { .. } | State::Spoken, _) => same(from, remote.rtcp),
        };
        if known { Judgement::Taken } else { Judgement::Refused }
    }

    /// Whether RTP from there could be taken at all, now or once it is learnt.
    pub fn may_speak(&self, from: SocketAddr) -> bool {
        let Some(remote) = self.remote else { return false };
        if same(from, remote.rtp) {
            return true;
        }
        match self.state {
            State::Learnt(learnt) => same(from, learnt),
            State::Spoken => false,
            State::Waiting | State::Candidate { .. } => self.rule != SourceRule::Strict,
        }
    }

    /// The one source that is heard at this moment; a packet from there needs no judgement.
    pub fn heard(&self) -> Option<SocketAddr> {
        match self.state {
            State::Waiting | State::Candidate { .. } => None,
            State::Learnt(from) => Some(from),
            State::Spoken => self.remote.map(|r| r.rtp),
        }
    }

    /// Whether the description names this address for RTP: it is heard whatever was learnt before.
    pub(crate) fn describes(&self, from: SocketAddr) -> bool {
        self.remote.is_some_and(|remote| same(from, remote.rtp))
    }

    /// Whether the address of the description spoke: then RTP is heard from there and sent there, for good.
    pub fn has_spoken(&self) -> bool {
        matches!(self.state, State::Spoken)
    }

    /// Where RTP goes.
    pub fn rtp_target(&self) -> Option<SocketAddr> {
        match (self.state, self.rule) {
            (State::Learnt(from), SourceRule::LearnOnce) => Some(from),
            _ => self.remote.map(|r| r.rtp),
        }
    }

    /// Where RTCP goes: nowhere as long as a learnt end has not sent any.
    pub fn rtcp_target(&self) -> Option<SocketAddr> {
        match (self.state, self.rule) {
            (State::Learnt(_), SourceRule::LearnOnce) => self.rtcp,
            _ => self.remote.map(|r| r.rtcp),
        }
    }

    fn begin(&mut self, from: SocketAddr, ssrc: u32, sequence: u16, now: Time) -> Judgement {
        self.state = State::Candidate { from: canonical(from), ssrc, sequence, packets: 1, since: now, last: now };
        Judgement::Refused
    }
}

/// Whether two addresses are one: flow labels and scopes of IPv6 do not count.
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip() == b.ip()
}

fn canonical(address: SocketAddr) -> SocketAddr {
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

    fn latch(rule: SourceRule) -> Latch {
        Latch::new(rule, Some(MediaAddress { rtp: at(PHONE), rtcp: at("192.0.2.10:4001") }))
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
                latch.judge_rtp(at(from), &view(&rtp), now) == Judgement::Taken
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
        speak(&mut latch, STRANGER, 8, 20, 20, 0);
        assert_eq!(latch.rtp_target(), Some(at(STRANGER)));
        assert_eq!(speak(&mut latch, PHONE, 9, 1, 20, 1000), 1);
        assert_eq!((latch.rtp_target(), latch.heard()), (Some(at(PHONE)), Some(at(PHONE))));
        assert_eq!(speak(&mut latch, STRANGER, 8, 200, 20, 2000), 0);
        assert_eq!(latch.rtp_target(), Some(at(PHONE)));
    }

    #[test]
    fn floods_scans_and_changing_streams_are_not_learnt() {
        let mut flood = latch(SourceRule::LearnOnce);
        assert_eq!(speak(&mut flood, STRANGER, 8, 2_000, 1, 0), 0);
        let mut scan = latch(SourceRule::LearnOnce);
        assert!((0..100).all(|n| speak(&mut scan, STRANGER, n, 1, 20, u64::from(n) * 20) == 0));
        assert_eq!(scan.rtp_target(), Some(at(PHONE)));
    }

    #[test]
    fn a_shouting_stranger_does_not_keep_a_speaker_from_being_learnt() {
        let mut latch = latch(SourceRule::LearnOnce);
        for n in 0..5 {
            let ms = u64::from(n) * 20;
            let rtp = |ssrc| packet(n, ssrc);
            latch.judge_rtp(at(NAT), &view(&rtp(1)), Time::from_millis(ms));
            (0..5).for_each(|k| {
                latch.judge_rtp(at(STRANGER), &view(&rtp(2)), Time::from_millis(ms + k));
            });
        }
        assert_eq!(latch.rtp_target(), Some(at(NAT)));
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
        let same_place = Some(MediaAddress { rtp: at(PHONE), rtcp: at("192.0.2.10:4001") });
        speak(&mut latch, NAT, 7, 5, 20, 0);
        assert!(!latch.renew(SourceRule::LearnOnce, same_place));
        assert_eq!(latch.rtp_target(), Some(at(NAT)));
        assert!(latch.renew(SourceRule::LearnOnce, None));
        assert_eq!((latch.rtp_target(), speak(&mut latch, NAT, 7, 9, 20, 500)), (None, 0));
        assert!(latch.renew(SourceRule::LearnOnce, same_place));
        assert_eq!(speak(&mut latch, NAT, 7, 5, 20, 1000), 3);
    }
}
