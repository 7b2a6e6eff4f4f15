//! What holds for any packets and commands: no allocation a packet, no panic, and nothing goes where nobody wants it.
#![expect(clippy::unwrap_used, reason = "tests; the lint knows functions marked as tests only")]

use forward::{Output, SocketId, Table, Verdict};
use media::command::{
    Family, Generation, Keys, MediaAddress, MediaCommand, MediaReport, PayloadTypes, PortPair, Sound, SourceRule,
    Terms, Whereabouts,
};
use media::own::Extended;
use media::sdp::Direction;
use media::srtp::{Inbound, MasterKey, Outbound, Suite, TRAILER_BYTES};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use words::{CallId, Chance, LegId, Seed, Time};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const SLOTS: u16 = 6;

fn leg(n: u16) -> LegId {
    LegId { call: CallId(1), n }
}

fn address(n: u64) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n as u8 + 1], 4_000))
}

fn media(n: u64) -> MediaAddress {
    MediaAddress { rtp: address(n), rtcp: SocketAddr::from(([192, 0, 2, n as u8 + 1], 4_001)) }
}

fn table() -> (Table, Vec<PortPair>) {
    let mut table = Table::new(true);
    let pairs = (0..SLOTS)
        .map(|n| {
            let rtp_port = 10_000 + n * 2;
            PortPair { worker: 0, slot: table.add(0, rtp_port, Family::V4), rtp_port, family: Family::V4 }
        })
        .collect();
    (table, pairs)
}

/// Signalling comes from the host of the first.
fn signalled() -> Whereabouts {
    Whereabouts { host: Some(address(0).ip()), ..Whereabouts::default() }
}

fn open(
    n: u16,
    ports: PortPair,
    remote: Option<MediaAddress>,
    source: SourceRule,
    direction: Direction,
) -> MediaCommand {
    MediaCommand::Open {
        end: leg(n),
        ports,
        generation: Generation(1),
        terms: Terms {
            source,
            whereabouts: signalled(),
            remote,
            payload_types: PayloadTypes::NONE.with(0).with(101),
            clocks: media::clocks::Clocks::NONE,
            telephone_event: Some(101),
            direction,
            extended: Extended::default(),
            silence: Some(Duration::from_secs(1)).into(),
        },
    }
}

/// One test, because `dhat` counts for the whole process.
#[test]
fn packets_allocate_nothing_and_random_work_breaks_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    // The counters belong to the process, and the thread that waits for this one allocates at moments of its own. What
    // a packet allocated would be there each time.
    for blocks in [blocks_of_packets, blocks_of_encrypted_packets, blocks_of_an_echo, blocks_beside_another] {
        assert!((0..5).any(|_| blocks() == 0), "packets allocate");
    }
    for seed in 0..20 {
        random_work(seed);
    }
}

/// Blocks that are allocated while packets pass.
fn blocks_of_packets() -> u64 {
    let (mut table, pairs) = table();
    let now = Time::from_millis(1);
    for n in 0..2 {
        let remote = Some(media(u64::from(n)));
        table.apply(open(n, pairs[usize::from(n)], remote, SourceRule::Strict, Direction::SendRecv), now);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        table.apply(MediaCommand::Link { from: leg(from), to: leg(to), generation: Generation(2) }, now);
    }
    let mut packet = [0x80; 172];
    packet[1] = 0;
    let before = dhat::HeapStats::get().total_blocks;
    let mut sent = 0;
    for n in 0..10_000u16 {
        packet[2..4].copy_from_slice(&n.to_be_bytes());
        let slot = u32::from(n % 2);
        let from = if table.is_connected(slot) { None } else { Some(address(u64::from(slot))) };
        let now = Time::from_millis(u64::from(n) * 10);
        sent += u32::from(matches!(table.forward(SocketId::rtp(slot), from, &packet, now), Verdict::Send(_)));
        while table.poll().is_some() {}
        table.drained(slot);
    }
    let blocks = dhat::HeapStats::get().total_blocks - before;
    assert_eq!(sent, 10_000);
    blocks
}

/// An echo, and what the exchange reports of it.
fn blocks_of_an_echo() -> u64 {
    let (mut table, pairs) = table();
    table.apply(open(0, pairs[0], Some(media(0)), SourceRule::Strict, Direction::SendRecv), Time::ZERO);
    table.apply(MediaCommand::Link { from: leg(0), to: leg(0), generation: Generation(2) }, Time::ZERO);
    let (mut before, mut reports, mut buffer) = (0, 0, [0x80; 512]);
    for n in 0..2_000u16 {
        // The first report makes what remembers it.
        if n == 300 {
            before = dhat::HeapStats::get().total_blocks;
        }
        buffer[..172].fill(0x80);
        buffer[1] = 0;
        buffer[2..4].copy_from_slice(&n.to_be_bytes());
        let now = Time::from_millis(u64::from(n) * 20);
        let from = (!table.is_connected(0)).then(|| address(0));
        let (verdict, length) = table.relay(SocketId::rtp(0), from, &mut buffer, 172, now);
        assert!(matches!(verdict, Verdict::Send(_)) && length == 172 && buffer[8..12] != [0x80; 4]);
        table.handle_timeout(now);
        while let Some(output) = table.poll() {
            if output == (Output::Inform { slot: 0 }) {
                reports += u32::from(table.own_report(0, &mut buffer, now).is_some());
            }
        }
        table.drained(0);
    }
    let blocks = dhat::HeapStats::get().total_blocks - before;
    assert_eq!(reports, 7);
    blocks
}

/// Two who speak with each other, of whom the first wants all extended reports, and what the exchange tells it beside.
fn blocks_beside_another() -> u64 {
    let (mut table, pairs) = table();
    for n in 0..2 {
        table.apply(
            open(n, pairs[usize::from(n)], Some(media(n.into())), SourceRule::Strict, Direction::SendRecv),
            Time::ZERO,
        );
        let MediaCommand::Open { end, terms, .. } =
            open(n, pairs[0], Some(media(n.into())), SourceRule::Strict, Direction::SendRecv)
        else {
            panic!("it opens")
        };
        let extended = Extended { metrics: n == 0, round_trip: n == 0, summary: n == 0 };
        let terms = Terms { extended, silence: None.into(), ..terms };
        table.apply(MediaCommand::Latch { end, generation: Generation(2), terms }, Time::ZERO);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        table.apply(MediaCommand::Link { from: leg(from), to: leg(to), generation: Generation(3) }, Time::ZERO);
    }
    let (mut before, mut reports, mut buffer) = (0, 0, [0x80; 512]);
    for n in 0..4_000u16 {
        if n == 600 {
            before = dhat::HeapStats::get().total_blocks;
        }
        buffer[..172].fill(0x80);
        buffer[1] = 0;
        buffer[2..4].copy_from_slice(&(n / 2).to_be_bytes());
        let (slot, now) = (u32::from(n % 2), Time::from_millis(u64::from(n) * 10));
        let from = (!table.is_connected(slot)).then(|| address(slot.into()));
        let (verdict, _) = table.relay(SocketId::rtp(slot), from, &mut buffer, 172, now);
        assert!(matches!(verdict, Verdict::Send(_)));
        table.handle_timeout(now);
        while let Some(output) = table.poll() {
            if output == (Output::Inform { slot: 0 }) {
                reports += u32::from(table.own_report(0, &mut buffer, now).is_some());
            }
        }
        table.drained(slot);
    }
    let blocks = dhat::HeapStats::get().total_blocks - before;
    assert_eq!(reports, 7);
    blocks
}

/// One leg with keys and one without, and two with keys of different suites.
fn blocks_of_encrypted_packets() -> u64 {
    let mut blocks = 0;
    for suites in
        [[Some(Suite::AesCm128HmacSha1Tag80), None], [Some(Suite::AeadAes256Gcm), Some(Suite::AesCm256HmacSha1Tag32)]]
    {
        let (mut table, pairs) = table();
        let now = Time::from_millis(1);
        let mut phones = Vec::new();
        for (n, suite) in (0..).zip(suites) {
            let keys = suite.map(|suite| keys(suite, n as u8));
            phones.push(keys.as_ref().map(|keys| (Outbound::new(&keys.inbound), Inbound::new(&keys.outbound))));
            let (end, ports) = (leg(n), pairs[usize::from(n)]);
            table.apply(MediaCommand::Rekey { end, ports, generation: Generation(1), keys }, now);
            let remote = Some(media(u64::from(n)));
            table.apply(open(n, ports, remote, SourceRule::Strict, Direction::SendRecv), now);
        }
        for (from, to) in [(0, 1), (1, 0)] {
            table.apply(MediaCommand::Link { from: leg(from), to: leg(to), generation: Generation(2) }, now);
        }
        let (mut before, mut buffer) = (0, [0x80; 172 + TRAILER_BYTES]);
        // The first packets make the streams; from then on nothing is made any more.
        for n in 0..2_000u16 {
            if n == 10 {
                before = dhat::HeapStats::get().total_blocks;
            }
            let slot = u32::from(n % 2);
            buffer[..172].fill(0x80);
            buffer[1] = 0;
            buffer[2..4].copy_from_slice(&n.to_be_bytes());
            buffer[8..12].copy_from_slice(&slot.to_be_bytes());
            let length = match &mut phones[usize::from(n % 2)] {
                Some((sender, _)) => sender.protect_rtp(&mut buffer, 172).unwrap(),
                None => 172,
            };
            let from = if table.is_connected(slot) { None } else { Some(address(u64::from(slot))) };
            let now = Time::from_millis(u64::from(n) * 10);
            let (verdict, length) = table.relay(SocketId::rtp(slot), from, &mut buffer, length, now);
            assert!(matches!(verdict, Verdict::Send(_)), "{n}: {verdict:?}");
            let heard = match &mut phones[usize::from(1 - n % 2)] {
                Some((_, receiver)) => receiver.unprotect_rtp(&mut buffer[..length]).unwrap(),
                None => length,
            };
            assert!(heard == 172 && buffer[12..172] == [0x80; 160]);
            while table.poll().is_some() {}
            table.drained(slot);
        }
        blocks += dhat::HeapStats::get().total_blocks - before;
    }
    blocks
}

#[expect(clippy::unnecessary_box_returns, reason = "as the command has them")]
fn keys(suite: Suite, seed: u8) -> Box<Keys> {
    let key = |n| MasterKey::new(suite, &vec![n; suite.key_bytes() + suite.salt_bytes()]).unwrap();
    Box::new(Keys { inbound: key(seed * 2), outbound: key(seed * 2 + 1) })
}

/// What a simple-minded reader of the commands thinks of an end.
#[derive(Clone, Copy)]
struct Model {
    slot: u32,
    remote: Option<u64>,
    rule: SourceRule,
    direction: Direction,
}

/// A table under random work, and what is known of it.
struct Work {
    chance: Chance,
    table: Table,
    pairs: Vec<PortPair>,
    ends: BTreeMap<u16, Model>,
    generation: Generation,
    now: Time,
    opened: u16,
}

fn random_work(seed: u64) {
    let (table, pairs) = table();
    let chance = Chance::new(Seed::from_number(seed));
    let ends = BTreeMap::new();
    let mut work = Work { chance, table, pairs, ends, generation: Generation(1), now: Time::ZERO, opened: 0 };
    for _ in 0..20_000 {
        work.now += Duration::from_micros(work.chance.below(20_000));
        match work.chance.below(40) {
            0 => work.open(),
            1 => work.close(),
            2 => work.latch(),
            3..10 => work.other(),
            _ => packet(&mut work.table, &work.ends, &mut work.chance, work.now),
        }
        work.do_outputs();
        assert_eq!(work.table.open_ends(), work.ends.len());
    }
    work.close_all();
}

impl Work {
    fn somebody(&mut self) -> u16 {
        let n = self.chance.below(self.ends.len().max(1) as u64) as usize;
        self.ends.keys().nth(n).copied().unwrap_or(0)
    }

    fn terms(&mut self) -> (Option<u64>, SourceRule, Direction) {
        let rules = [SourceRule::Strict, SourceRule::LearnOnce, SourceRule::HearOnce];
        let directions = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
        let remote = (self.chance.below(4) > 0).then(|| self.chance.below(4));
        (remote, rules[self.chance.below(3) as usize], directions[self.chance.below(4) as usize])
    }

    /// The next generation, or now and then one that is too old.
    fn generation(&mut self) -> Generation {
        if self.chance.below(20) == 0 { Generation(0) } else { self.generation.step() }
    }

    fn open(&mut self) {
        let pair = self.pairs[self.chance.below(self.pairs.len() as u64) as usize];
        let (remote, rule, direction) = self.terms();
        if self.ends.values().all(|end| end.slot != pair.slot) {
            self.table.apply(open(self.opened, pair, remote.map(media), rule, direction), self.now);
            self.ends.insert(self.opened, Model { slot: pair.slot, remote, rule, direction });
            self.opened += 1;
        }
    }

    fn close(&mut self) {
        let (end, generation) = (self.somebody(), self.generation());
        self.table.apply(MediaCommand::Close { end: leg(end), generation }, self.now);
        if generation.0 > 0 {
            self.ends.remove(&end);
        }
    }

    fn latch(&mut self) {
        let (end, generation) = (self.somebody(), self.generation());
        let (remote, rule, direction) = self.terms();
        let [metrics, round_trip, summary] = [0; 3].map(|_| self.chance.below(2) == 0);
        let command = MediaCommand::Latch {
            end: leg(end),
            generation,
            terms: Terms {
                source: rule,
                whereabouts: signalled(),
                remote: remote.map(media),
                payload_types: PayloadTypes::NONE.with(0).with(101),
                clocks: media::clocks::Clocks::NONE,
                telephone_event: Some(101),
                direction,
                extended: Extended { metrics, round_trip, summary },
                silence: Some(Duration::from_secs(1)).into(),
            },
        };
        self.table.apply(command, self.now);
        if let Some(end) = self.ends.get_mut(&end).filter(|_| generation.0 > 0) {
            (end.remote, end.rule, end.direction) = (remote, rule, direction);
        }
    }

    fn other(&mut self) {
        let (one, other, generation) = (leg(self.somebody()), leg(self.somebody()), self.generation());
        let command = match self.chance.below(7) {
            0..3 => MediaCommand::Link { from: one, to: other, generation },
            3 => MediaCommand::Unlink { from: one, generation },
            4 => MediaCommand::Play { end: one, generation, sound: Sound::Ringback, payload_type: 0 },
            5 => MediaCommand::Stop { end: one, generation },
            _ => return self.table.handle_timeout(self.now),
        };
        self.table.apply(command, self.now);
    }

    fn do_outputs(&mut self) {
        while let Some(output) = self.table.poll() {
            if let Output::Inform { slot } = output {
                assert!(self.table.own_report(slot, &mut [0; 512], self.now).is_some());
            }
            let Output::Connect { slot, to } = output else { continue };
            let end = self.ends.values().find(|end| end.slot == slot).expect("only an open end is connected");
            assert_eq!(Some(to), end.remote.map(address), "connected to where the description points");
            match self.chance.below(3) {
                0 => self.table.connect_failed(slot),
                1 => self.table.drained(slot),
                _ => {}
            }
        }
    }

    fn close_all(&mut self) {
        let names: Vec<u16> = self.ends.keys().copied().collect();
        for n in names {
            self.table.apply(MediaCommand::Close { end: leg(n), generation: self.generation.step() }, self.now);
        }
        let closed = std::iter::from_fn(|| self.table.poll());
        let closed = closed.filter(|output| matches!(output, Output::Report(MediaReport::Closed { .. }))).count();
        assert_eq!((closed, self.table.open_ends()), (self.ends.len(), 0));
    }
}

fn packet(table: &mut Table, ends: &BTreeMap<u16, Model>, chance: &mut Chance, now: Time) {
    let mut bytes = [0; 40];
    chance.fill(&mut bytes);
    if chance.below(8) > 0 {
        // Mostly a packet as a phone sends it, of one of few streams.
        bytes[0] = 0x80;
        bytes[1] = [0, 0, 0, 101, 8, 200, 201][chance.below(7) as usize];
        bytes[2..4].copy_from_slice(&((now.as_millis() / 20) as u16).to_be_bytes());
        bytes[8..12].copy_from_slice(&[0, 0, 0, chance.below(2) as u8]);
    }
    let length = if chance.below(8) > 0 { 40 } else { chance.below(41) as usize };
    let slot = chance.below(u64::from(SLOTS)) as u32;
    let source = chance.below(4);
    let rtcp = chance.below(5) == 0;
    let (socket, from) = if rtcp {
        (SocketId::rtcp(slot), Some(media(source).rtcp))
    } else if table.is_connected(slot) {
        (SocketId::rtp(slot), None)
    } else {
        (SocketId::rtp(slot), Some(address(source)))
    };
    let Verdict::Send(route) = table.forward(socket, from, &bytes[..length], now) else { return };
    assert_eq!(route.socket.is_rtcp(), rtcp);
    let sender = ends.values().find(|end| end.slot == slot).expect("a free pair forwards nothing");
    let hearer = ends.values().find(|end| end.slot == route.socket.slot()).expect("nothing goes to a free pair");
    if !rtcp {
        assert!(sender.direction.receives() && hearer.direction.sends(), "hold is kept");
    }
    if sender.rule == SourceRule::Strict && from.is_some() {
        assert_eq!(Some(source), sender.remote, "only the described address is heard");
    }
    if let Some(to) = route.to
        && hearer.rule != SourceRule::LearnOnce
    {
        let described = hearer.remote.map(|n| if rtcp { media(n).rtcp } else { address(n) });
        assert_eq!(Some(to), described, "only the described address is sent to");
    }
}
