//! Phones and the switch's side of a relay, for tests.

use media::clocks::Clocks;
use media::command::{
    EndCounters, Family, Generation, Keys, MediaAddress, MediaCommand, MediaReport, PayloadTypes, PortPair, SourceRule,
    Terms, Whereabouts,
};
use media::dtmf::EventPackets;
use media::own::Extended;
use media::rtp::{RtpHeader, RtpView};
use media::sdp::Direction;
use media::srtp::{Inbound, MasterKey, Outbound, Suite, TRAILER_BYTES};
use net::batch::monotonic_nanos;
use relay::{Config, Counters, Mode, Relay, Tier};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::Receiver;
use std::time::Duration;
use words::{CallId, LegFigures, LegId, Seed};

/// A payload type of descriptions, and its clock.
const OPUS: u8 = 111;
const OPUS_HZ: u32 = 48_000;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The relay and what the switch knows of it.
pub(crate) struct Exchange {
    pub(crate) relay: Relay,
    pub(crate) reports: Receiver<MediaReport>,
    pub(crate) ready: Vec<PortPair>,
    pub(crate) address: IpAddr,
    calls: u128,
    single: Option<u16>,
}

impl Exchange {
    /// A relay on 127.0.9.`host` with four pairs.
    pub(crate) fn start(host: u8, mode: Mode) -> Self {
        Self::start_with(host, mode, 1)
    }

    pub(crate) fn start_with(host: u8, mode: Mode, workers: u16) -> Self {
        let address = Ipv4Addr::new(127, 0, 9, host);
        let config = Config { workers, mode, ipv4: Some(address), ipv6: None, ..config() };
        Self::with(&config, address.into(), Family::V4).expect("the relay starts")
    }

    /// On an address of its own, with the tier `kernel`; `None` where the host does not allow it, which is said.
    pub(crate) fn start_in_kernel(address: IpAddr) -> Option<Self> {
        let exchange = Self::start_in_kernel_with(address, |_| ())?;
        assert!(matches!(exchange.relay.tier(), Tier::Kernel { refused, .. } if refused.is_empty()));
        Some(exchange)
    }

    /// The same, with another configuration.
    pub(crate) fn start_in_kernel_with(address: IpAddr, change: impl FnOnce(&mut Config)) -> Option<Self> {
        let (ipv4, ipv6) = match address {
            IpAddr::V4(v4) => (Some(v4), None),
            IpAddr::V6(v6) => (None, Some(v6)),
        };
        let mut config = Config { mode: Mode::Kernel, ipv4, ipv6, ..config() };
        change(&mut config);
        let exchange = Self::with(&config, address, Family::of(address)).expect("the relay starts");
        match exchange.relay.tier() {
            Tier::Kernel { .. } => Some(exchange),
            other @ (Tier::Batch { .. } | Tier::Basic) => {
                eprintln!("skipped: {other}");
                None
            }
        }
    }

    /// On ::1, where the host has it.
    pub(crate) fn start_v6(mode: Mode) -> Option<Self> {
        UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).ok()?;
        let config = Config { mode, ipv4: None, ipv6: Some(Ipv6Addr::LOCALHOST), ..config() };
        Self::with(&config, Ipv6Addr::LOCALHOST.into(), Family::V6)
    }

    /// With so many pairs, and a port that all may share.
    pub(crate) fn start_single(host: u8, mode: Mode, port: u16, pairs: u32) -> Self {
        Self::start_single_with(host, mode, port, pairs, 1)
    }

    pub(crate) fn start_single_with(host: u8, mode: Mode, port: u16, pairs: u32, workers: u16) -> Self {
        let address = Ipv4Addr::new(127, 0, 9, host);
        let config = Config::new(20_000, 20_999, Seed::from_number(1));
        let config = Config { workers, mode, ipv4: Some(address), ipv6: None, single_port: Some(port), ..config };
        let (mut relay, reports) = Relay::start(&config, Box::new(|| ())).expect("the relay starts");
        relay.apply(MediaCommand::Stock { pairs, family: Family::V4 }).unwrap();
        let mut ready = Vec::new();
        while ready.len() < pairs as usize {
            match reports.recv_timeout(PATIENCE) {
                Ok(MediaReport::Ready { ports }) => ready.extend(ports),
                other => panic!("no ports: {other:?}"),
            }
        }
        Exchange { relay, reports, ready, address: address.into(), calls: 0, single: Some(port) }
    }

    /// On 127.0.9.`host` and ::1, where the host has that: the last four pairs are of IPv6.
    pub(crate) fn start_dual(host: u8, mode: Mode) -> Option<Self> {
        UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).ok()?;
        let address = Ipv4Addr::new(127, 0, 9, host);
        let config = Config { mode, ipv4: Some(address), ipv6: Some(Ipv6Addr::LOCALHOST), ..config() };
        let mut exchange = Self::with(&config, address.into(), Family::V4)?;
        exchange.apply(MediaCommand::Stock { pairs: 4, family: Family::V6 });
        exchange.relay.settle();
        while exchange.ready.len() < 8 {
            match exchange.report() {
                MediaReport::Ready { ports } => exchange.ready.extend(ports),
                other => panic!("no ports: {other:?}"),
            }
        }
        Some(exchange)
    }

    fn with(config: &Config, address: IpAddr, family: Family) -> Option<Self> {
        let (mut relay, reports) = Relay::start(config, Box::new(|| ())).ok()?;
        assert!(relay.capacity().pairs >= 4);
        relay.apply(MediaCommand::Stock { pairs: 4, family }).unwrap();
        let mut ready = Vec::new();
        while ready.len() < 4 {
            match reports.recv_timeout(PATIENCE) {
                Ok(MediaReport::Ready { ports }) => ready.extend(ports),
                other => panic!("no ports: {other:?}"),
            }
        }
        Some(Exchange { relay, reports, ready, address, calls: 0, single: None })
    }

    /// A phone on the exchange's own host, described as it is. Its name is leg `n` of a new call if `n` is 0, else of
    /// the last one.
    pub(crate) fn phone(&mut self, n: u16) -> Phone {
        self.phone_at(n, self.address)
    }

    /// A phone elsewhere.
    pub(crate) fn phone_at(&mut self, n: u16, address: IpAddr) -> Phone {
        self.calls += u128::from(n == 0);
        let (rtp, rtcp) = loop {
            let rtp = UdpSocket::bind((address, 0)).unwrap();
            let above = rtp.local_addr().unwrap().port().wrapping_add(1);
            if let Ok(rtcp) = UdpSocket::bind((address, above)) {
                break (rtp, rtcp);
            }
        };
        rtp.set_read_timeout(Some(PATIENCE)).unwrap();
        rtcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = rtp.local_addr().unwrap();
        Phone {
            name: LegId { call: CallId(self.calls), n },
            described: MediaAddress { rtp: address, rtcp: rtcp.local_addr().unwrap() },
            address,
            rtp,
            rtcp,
            to: None,
            ports: None,
            generation: Generation::default(),
            rule: SourceRule::Strict,
            whereabouts: Whereabouts { host: Some(address.ip()), ..Whereabouts::default() },
            silence: None,
            muxes: false,
            extended: Extended::default(),
            keys: None,
            speaks_opus: false,
        }
    }

    pub(crate) fn apply(&mut self, command: MediaCommand) {
        self.relay.apply(command).unwrap();
    }

    pub(crate) fn open(&mut self, phone: &mut Phone) {
        let free =
            self.ready.iter().find(|pair| u16::try_from(pair.slot).is_ok_and(|slot| slot % 4 == phone.name.n % 4));
        let ports = *phone.ports.get_or_insert(*free.unwrap_or(&self.ready[0]));
        self.aim(phone);
        if let Some((keys, _, _)) = &phone.keys {
            let (end, generation) = (phone.name, phone.generation.step());
            let command = MediaCommand::Rekey { end, ports, generation, keys: Some(keys.clone()) };
            self.apply(command);
        }
        self.open_on(phone, ports);
    }

    /// Tells a phone where it sends to.
    pub(crate) fn aim(&self, phone: &mut Phone) {
        let ports = phone.ports();
        let dual = phone.address.is_ipv6() && self.address.is_ipv4();
        let ours = if dual { Ipv6Addr::LOCALHOST.into() } else { self.address };
        let single = self.single.filter(|_| phone.whereabouts.single_port);
        let rtp_port = single.unwrap_or(ports.rtp_port);
        let rtcp_port = if phone.muxes { rtp_port } else { rtp_port + 1 };
        phone.to = Some((SocketAddr::new(ours, rtp_port), SocketAddr::new(ours, rtcp_port)));
    }

    fn open_on(&mut self, phone: &mut Phone, ports: PortPair) {
        let command = MediaCommand::Open {
            end: phone.name,
            ports,
            generation: phone.generation.step(),
            terms: Terms {
                source: phone.rule,
                whereabouts: phone.whereabouts,
                remote: Some(phone.described),
                payload_types: PayloadTypes::NONE.with(0).with(101).with(OPUS),
                clocks: Clocks::NONE.with(OPUS, "opus", OPUS_HZ).with(101, "telephone-event", 8_000),
                telephone_event: Some(101),
                direction: Direction::SendRecv,
                extended: phone.extended,
                silence: phone.silence.into(),
            },
        };
        self.apply(command);
    }

    pub(crate) fn latch(&mut self, phone: &mut Phone, remote: Option<MediaAddress>, direction: Direction) {
        let command = MediaCommand::Latch {
            end: phone.name,
            generation: phone.generation.step(),
            terms: Terms {
                source: phone.rule,
                whereabouts: phone.whereabouts,
                remote,
                payload_types: PayloadTypes::NONE.with(0).with(101).with(OPUS),
                clocks: Clocks::NONE.with(OPUS, "opus", OPUS_HZ).with(101, "telephone-event", 8_000),
                telephone_event: Some(101),
                direction,
                extended: phone.extended,
                silence: phone.silence.into(),
            },
        };
        self.apply(command);
    }

    /// From now on the phone has a fax: no RTP.
    pub(crate) fn latch_fax(&mut self, phone: &mut Phone) {
        let command = MediaCommand::Latch {
            end: phone.name,
            generation: phone.generation.step(),
            terms: Terms {
                source: phone.rule,
                whereabouts: phone.whereabouts,
                remote: Some(phone.described),
                payload_types: PayloadTypes::NONE,
                clocks: Clocks::NONE,
                telephone_event: None,
                direction: Direction::SendRecv,
                extended: Extended::default(),
                silence: None.into(),
            },
        };
        self.apply(command);
    }

    pub(crate) fn link(&mut self, from: &mut Phone, to: &Phone) {
        let generation = from.generation.step();
        self.apply(MediaCommand::Link { from: from.name, to: to.name, generation });
    }

    /// Opens both and links them both ways.
    pub(crate) fn call(&mut self, a: &mut Phone, b: &mut Phone) {
        self.open(a);
        self.open(b);
        self.link(a, b);
        self.link(b, a);
    }

    pub(crate) fn call_on(&mut self, a: &mut Phone, b: &mut Phone, ports: [PortPair; 2]) {
        (a.ports, b.ports) = (Some(ports[0]), Some(ports[1]));
        self.call(a, b);
    }

    /// Waits until the worker has carried out what was said to it so far: a packet to a socket wakes it.
    pub(crate) fn settle(&mut self, _of: &Phone) {
        self.relay.settle();
        // Refused in order, so its refusal says that all before it was done.
        let nobody = LegId { call: CallId(u128::MAX), n: 0 };
        let sound = media::command::Sound::Ringback;
        self.apply(MediaCommand::Play { end: nobody, generation: Generation(1), sound, payload_type: 0 });
        while !matches!(self.report(), MediaReport::Refused { end, .. } if end == nobody) {}
    }

    pub(crate) fn report(&self) -> MediaReport {
        self.reports.recv_timeout(PATIENCE).expect("a report")
    }

    pub(crate) fn apply_close(&mut self, phone: &mut Phone) {
        let (end, generation) = (phone.name, Generation(1_000_000));
        self.apply(MediaCommand::Close { end, generation });
    }

    /// Closes the ends and waits for their counters.
    pub(crate) fn close<const N: usize>(&mut self, phones: [&Phone; N]) -> [EndCounters; N] {
        self.close_measured(phones).map(|(counters, _)| counters)
    }

    /// The same with how well they went.
    pub(crate) fn close_measured<const N: usize>(&mut self, phones: [&Phone; N]) -> [(EndCounters, LegFigures); N] {
        let mut closed = self.close_all(&phones).into_iter();
        phones.map(|_| closed.next().expect("as many as there are phones"))
    }

    /// The same for many at once: reports are sent along with what happens, or a few times a second.
    pub(crate) fn close_all(&mut self, phones: &[&Phone]) -> Vec<(EndCounters, LegFigures)> {
        for phone in phones {
            self.apply(MediaCommand::Close { end: phone.name, generation: Generation(1_000_000) });
        }
        self.relay.settle();
        let mut closed = vec![None; phones.len()];
        while closed.contains(&None) {
            if let MediaReport::Closed { end, counters, figures, .. } = self.report() {
                let figures = figures.map_or_else(LegFigures::default, |figures| *figures);
                for (phone, closed) in phones.iter().zip(&mut closed) {
                    if phone.name == end {
                        *closed = Some((counters, figures));
                    }
                }
            }
        }
        closed.into_iter().map(Option::unwrap).collect()
    }

    /// The counters as soon as they are as expected.
    pub(crate) fn counters_when(&self, expected: impl Fn(&Counters) -> bool) -> Counters {
        let until = monotonic_nanos() + PATIENCE.as_nanos() as u64;
        loop {
            let counters = self.relay.counters();
            if expected(&counters) || monotonic_nanos() > until {
                return counters;
            }
            std::thread::yield_now();
        }
    }
}

fn config() -> Config {
    Config::new(27_000, 27_099, Seed::from_number(1))
}

/// One phone and its two sockets.
pub(crate) struct Phone {
    pub(crate) name: LegId,
    /// Where it says that it is.
    pub(crate) described: MediaAddress,
    /// Where it is.
    pub(crate) address: SocketAddr,
    pub(crate) ports: Option<PortPair>,
    pub(crate) generation: Generation,
    pub(crate) rule: SourceRule,
    pub(crate) whereabouts: Whereabouts,
    pub(crate) silence: Option<Duration>,
    /// Its reports use the port of RTP.
    muxes: bool,
    pub(crate) extended: Extended,
    /// It speaks Opus, else G.711.
    pub(crate) speaks_opus: bool,
    /// What it encrypts and decrypts with.
    keys: Option<(Box<Keys>, Outbound, Inbound)>,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    to: Option<(SocketAddr, SocketAddr)>,
}

impl Phone {
    pub(crate) fn ports(&self) -> PortPair {
        self.ports.expect("it has ports")
    }

    /// Sends to where `other` sends.
    pub(crate) fn aim_at(&mut self, other: &Phone) {
        self.to = other.to;
    }

    /// It has one port for RTP and RTCP.
    pub(crate) fn share_port(&mut self) {
        self.muxes = true;
        self.described = self.described.muxed();
    }

    fn reporter(&self) -> &UdpSocket {
        if self.muxes { &self.rtp } else { &self.rtcp }
    }

    /// From here on it speaks SRTP.
    pub(crate) fn encrypt(&mut self, suite: Suite) {
        let key = |n| MasterKey::new(suite, &vec![n; suite.key_bytes() + suite.salt_bytes()]).unwrap();
        let keys = Keys { inbound: key(self.name.n as u8 * 2), outbound: key(self.name.n as u8 * 2 + 1) };
        let (sender, receiver) = (Outbound::new(&keys.inbound), Inbound::new(&keys.outbound));
        self.keys = Some((Box::new(keys), sender, receiver));
    }

    /// Sends a packet that carries `n`.
    pub(crate) fn speak(&mut self, n: u16) {
        drop(self.say(n));
    }

    /// The same; gives the packet as it went out.
    pub(crate) fn say(&mut self, n: u16) -> Vec<u8> {
        let mut packet = [0xd5; 172 + TRAILER_BYTES];
        let (payload_type, ticks) = if self.speaks_opus { (OPUS, OPUS_HZ / 50) } else { (0, 160) };
        let (timestamp, ssrc) = (u32::from(n) * ticks, self.ssrc());
        let header = RtpHeader { marker: false, payload_type, sequence: n, timestamp, ssrc };
        packet[..12].copy_from_slice(&header.print());
        let to = self.to.expect("it knows the exchange").0;
        let length = match &mut self.keys {
            Some((_, sender, _)) => sender.protect_rtp(&mut packet, 172).unwrap(),
            None => 172,
        };
        // What the host refuses, a stranger does not learn of.
        let _ = self.rtp.send_to(&packet[..length], to);
        packet[..length].to_vec()
    }

    /// Sends bytes to where reports go.
    pub(crate) fn send_report(&mut self, packet: &[u8]) {
        let mut sealed = vec![0; packet.len() + TRAILER_BYTES];
        sealed[..packet.len()].copy_from_slice(packet);
        let length = match &mut self.keys {
            Some((_, sender, _)) => sender.protect_rtcp(&mut sealed, packet.len()).unwrap(),
            None => packet.len(),
        };
        let _ = self.reporter().send_to(&sealed[..length], self.to.expect("it knows the exchange").1);
    }

    /// Sends bytes to any port of the exchange.
    pub(crate) fn send_to(&mut self, port: u16, packet: &[u8]) {
        let _ = self.rtp.send_to(packet, SocketAddr::new(self.address.ip(), port));
    }

    /// The number in the next packet, which must come from this sender.
    pub(crate) fn hear_of(&mut self, ssrc: u32) -> u16 {
        let packet = self.hear_packet();
        let rtp = RtpView::parse(&packet).unwrap();
        assert_eq!(rtp.ssrc(), ssrc, "a packet of somebody else");
        rtp.sequence()
    }

    /// The number in the next packet, if one comes soon.
    pub(crate) fn heard_within_a_moment(&mut self) -> Option<u16> {
        self.heard_within(Duration::from_secs(1))
    }

    /// The number in the next packet, if one comes in time.
    pub(crate) fn heard_within(&mut self, patience: Duration) -> Option<u16> {
        self.rtp.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 512];
        let heard = self.rtp.recv(&mut buffer).ok();
        self.rtp.set_read_timeout(Some(PATIENCE)).unwrap();
        heard.and_then(|length| Some(RtpView::parse(&buffer[..length])?.sequence()))
    }

    /// The next datagram of any kind to its RTP socket, if one comes in time.
    pub(crate) fn datagram(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.rtp.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 512];
        let heard = self.rtp.recv_from(&mut buffer).ok();
        self.rtp.set_read_timeout(Some(PATIENCE)).unwrap();
        heard.map(|(length, from)| {
            assert_eq!(Some(from), self.to.map(|to| to.0), "a packet from another port");
            buffer[..length].to_vec()
        })
    }

    /// How many packets wait.
    pub(crate) fn count_heard(&mut self) -> usize {
        self.rtp.set_nonblocking(true).unwrap();
        let heard = std::iter::repeat_with(|| self.rtp.recv(&mut [0; 512])).take_while(Result::is_ok).count();
        self.rtp.set_nonblocking(false).unwrap();
        heard
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, packet: &[u8]) {
        let _ = self.rtp.send_to(packet, self.to.expect("it knows the exchange").0);
    }

    /// Speaks at the pace of a phone until the other hears it.
    pub(crate) fn speak_until_heard_by(&mut self, other: &mut Phone) {
        other.rtp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let heard = (100..600).any(|n| {
            self.speak(n);
            other.rtp.recv(&mut [0; 512]).is_ok()
        });
        other.drain();
        other.rtp.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(heard, "nobody was learnt");
    }

    /// Speaks at the pace of a phone, from number `n` on; whether one of so many packets was heard.
    pub(crate) fn speaks_to(&mut self, other: &mut Phone, n: u16, packets: u16) -> bool {
        (n..n + packets).any(|n| {
            self.speak(n);
            other.heard_within(Duration::from_millis(20)).is_some()
        })
    }

    /// Whether the packet with this number comes soon, maybe after others.
    pub(crate) fn hears(&mut self, n: u16) -> bool {
        std::iter::from_fn(|| self.heard_within(Duration::from_millis(300))).any(|heard| heard == n)
    }

    /// Presses a digit for so long, all its packets at once.
    pub(crate) fn press(&mut self, digit: char, duration_ms: u32) {
        let to = self.to.expect("it knows the exchange").0;
        for (sequence, event) in (0..).zip(EventPackets::new(digit, duration_ms).unwrap()) {
            let header =
                RtpHeader { marker: sequence == 0, payload_type: 101, sequence, timestamp: 99, ssrc: self.ssrc() };
            self.rtp.send_to(&[&header.print()[..], &event.print()].concat(), to).unwrap();
        }
    }

    pub(crate) fn hear_packet(&mut self) -> Vec<u8> {
        let mut buffer = [0; 512];
        let (length, from) = self.rtp.recv_from(&mut buffer).expect("a packet in time");
        assert_eq!(Some(from), self.to.map(|to| to.0), "a packet from another port");
        let length = match &mut self.keys {
            Some((_, _, receiver)) => receiver.unprotect_rtp(&mut buffer[..length]).expect("a genuine packet"),
            None => length,
        };
        buffer[..length].to_vec()
    }

    /// The number in the next packet.
    pub(crate) fn hear(&mut self) -> u16 {
        let packet = self.hear_packet();
        assert_eq!(packet.len(), 172);
        RtpView::parse(&packet).unwrap().sequence()
    }

    /// The number in the next packet, if one waits.
    pub(crate) fn heard(&mut self) -> Option<u16> {
        self.rtp.set_nonblocking(true).unwrap();
        let mut buffer = [0; 512];
        let heard = self.rtp.recv(&mut buffer).ok();
        self.rtp.set_nonblocking(false).unwrap();
        heard.and_then(|length| Some(RtpView::parse(&buffer[..length])?.sequence()))
    }

    /// Sends a receiver report.
    pub(crate) fn report(&mut self) {
        let to = self.to.expect("it knows the exchange").1;
        let mut packet = [0; 8 + TRAILER_BYTES];
        packet[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 0, self.name.n as u8]);
        let length = match &mut self.keys {
            Some((_, sender, _)) => sender.protect_rtcp(&mut packet, 8).unwrap(),
            None => 8,
        };
        let _ = self.reporter().send_to(&packet[..length], to);
    }

    pub(crate) fn hear_report(&mut self) {
        assert_eq!(self.hear_report_packet().len(), 8);
    }

    /// The next report.
    pub(crate) fn hear_report_packet(&mut self) -> Vec<u8> {
        let mut buffer = [0; 256];
        let (length, from) = self.reporter().recv_from(&mut buffer).expect("a report in time");
        let length = match &mut self.keys {
            Some((_, _, receiver)) => receiver.unprotect_rtcp(&mut buffer[..length]).expect("a genuine report"),
            None => length,
        };
        assert_eq!(Some(from), self.to.map(|to| to.1), "a report from another port");
        buffer[..length].to_vec()
    }

    /// Forgets what waits.
    pub(crate) fn drain(&mut self) {
        self.rtp.set_nonblocking(true).unwrap();
        while self.rtp.recv(&mut [0; 512]).is_ok() {}
        self.rtp.set_nonblocking(false).unwrap();
    }

    /// Nothing waits: to be asked when something that was sent later has arrived elsewhere.
    pub(crate) fn assert_heard_nothing(&mut self) {
        for socket in [&self.rtp, &self.rtcp] {
            socket.set_nonblocking(true).unwrap();
            let heard = std::iter::repeat_with(|| socket.recv(&mut [0; 512]));
            // A refusal of the host is told like a packet and is none.
            let heard =
                heard.map(|r| r.map_err(|e| e.kind())).find(|r| r != &Err(std::io::ErrorKind::ConnectionRefused));
            assert_eq!(heard, Some(Err(std::io::ErrorKind::WouldBlock)));
            socket.set_nonblocking(false).unwrap();
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        0xa000 + u32::from(self.name.n)
    }
}

/// How many datagram sockets this host has on a local address, as /proc writes it.
pub(crate) fn sockets_of(address: &str) -> usize {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    table.lines().filter(|line| line.contains(&format!(" {address}:"))).count()
}
