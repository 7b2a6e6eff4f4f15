//! What the programme does with frames, and with packets between sockets of this host.

use super::*;
use crate::batch::monotonic_nanos;
use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

/// What `open` says where it may not be tried.
fn open(flows: u32) -> Option<Arc<Offload>> {
    let addresses = [Some(std::net::Ipv4Addr::LOCALHOST.into()), Some(std::net::Ipv6Addr::LOCALHOST.into())];
    match Offload::open(Config { flows, addresses, in_driver: InDriver::No, entrance: Entrance::best() }) {
        Ok(offload) => {
            assert_eq!(offload.standing().refused, []);
            Some(offload)
        }
        Err(why @ (OffloadError::NotPermitted | OffloadError::NoBpf | OffloadError::Refused(_))) => {
            eprintln!("skipped: {why}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn flow(local: SocketAddr, remote: SocketAddr, source: SocketAddr, target: SocketAddr) -> Flow {
    let (payload_types, paced) = (1 | 1 << 8 | 1 << 100, 1 | 1 << 8);
    Flow {
        local,
        remote,
        source,
        target,
        payload_types,
        paced,
        clock_hz: 8_000,
        interface: None,
        header: None,
        dscp: 46,
    }
}

fn rtp(payload_type: u8, sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xd5; 160]);
    packet
}

/// The sum over IP and UDP headers and data must come out right in what leaves (RFC 768, 791, 8200).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for two in part.chunks(2) {
            sum += u32::from(two[0]) << 8 | u32::from(*two.get(1).unwrap_or(&0));
        }
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn frame(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let mut udp = [from.port().to_be_bytes(), to.port().to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    udp.extend(payload);
    let mut frame = vec![2; 12];
    match (from.ip(), to.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            frame.extend([8, 0]);
            let mut ip = vec![0x45, 0];
            ip.extend((20 + length).to_be_bytes());
            ip.extend([0, 7, 0x40, 0, 17, 17, 0, 0]);
            ip.extend([a.octets(), b.octets()].concat());
            let sum = checksum(&[&ip]);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend(ip);
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([17, 9]);
            frame.extend([a.octets(), b.octets()].concat());
        }
        _ => panic!("one family"),
    }
    let sum = checksum(&[&addresses(from, to), &[0, 17], &length.to_be_bytes(), &udp]);
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    frame.extend(udp);
    frame
}

fn addresses(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => [a.octets(), b.octets()].concat(),
        (IpAddr::V6(a), IpAddr::V6(b)) => [a.octets(), b.octets()].concat(),
        _ => panic!("one family"),
    }
}

/// Asserts that a frame is a whole datagram of voice from one address to another, and gives its payload.
fn payload(frame: &[u8], from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    payload_marked(frame, from, to, 46)
}

/// The same for any mark.
fn payload_marked(frame: &[u8], from: SocketAddr, to: SocketAddr, dscp: u8) -> Vec<u8> {
    let tos = dscp << 2;
    let ip = if from.is_ipv4() { 20 } else { 40 };
    if from.is_ipv4() {
        assert_eq!(checksum(&[&frame[14..34]]), 0, "the checksum of IPv4");
        assert_eq!((frame[15], frame[22]), (tos, 64));
    } else {
        assert_eq!((frame[14], frame[15] & 0xf0, frame[21]), (0x60 | tos >> 4, tos << 4, 64));
    }
    let udp = &frame[14 + ip..];
    assert_eq!(checksum(&[&addresses(from, to), &[0, 17], &udp[4..6], udp]), 0, "the checksum of UDP");
    assert_eq!(udp[..2], from.port().to_be_bytes());
    assert_eq!(udp[2..4], to.port().to_be_bytes());
    udp[8..].to_vec()
}

const NEXT: u32 = u32::MAX;
const DELIVERED: u32 = 0;

/// Which of the two objects this build has: the one that clang made of the source, or the one that is checked in beside it.
/// Either carries the hash of the source that it was made of (`tests/house/object.rs` looks whether it is this one).
#[test]
fn the_object_is_the_one_that_the_build_says() {
    let (here, beside) = (program::OBJECT, include_bytes!("../../bpf/relay.bpf.o"));
    let hash = |object: &[u8]| {
        let is_hash = |part: &&[u8]| part.iter().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
        object.windows(64).find(is_hash).map(<[u8]>::to_vec)
    };
    let (ours, theirs) = (hash(here), hash(beside));
    eprintln!("the programme of the kernel tier is {}", env!("RELAY_OBJECT"));
    match env!("RELAY_OBJECT") {
        "built" => {
            assert!(ours.is_some() && ours == theirs, "the one that is checked in is another source's: make bpf");
        }
        "checked in" => assert!(here == beside && ours.is_some()),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_settled_is_rewritten_with_right_checksums_in_both_families() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    for [local, remote, source, target] in [
        ["192.0.2.1:4000", "198.51.100.7:5004", "203.0.113.9:4002", "198.51.100.250:65535"],
        ["[2001:db8::1]:4000", "[2001:db8:1::7]:5004", "[2001:db8::2]:4002", "[2001:db8:ffff::1]:9"],
    ] {
        let flow = flow(at(local), at(remote), at(source), at(target));
        let mut id = flows.install(&flow, &Reception::default(), Time::ZERO).unwrap();
        let packet = rtp(0, 7, 99);
        let (said, out, _) = offload.try_frame(&frame(flow.remote, flow.local, &packet), 1).unwrap();
        assert_eq!(said, DELIVERED);
        assert_eq!(payload(&out, flow.source, flow.target), packet);
        let counts = flows.take(&mut id);
        assert_eq!((counts.packets, counts.bytes), (1, 172));
        assert!(monotonic_nanos() - counts.last_nanos < 10_000_000_000);
        flows.pause(&mut id);
        flows.remove(id, Time::ZERO);
    }
}

#[test]
fn headers_are_rewritten_as_asked() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    let addresses = ["192.0.2.1:4000", "198.51.100.7:5004", "203.0.113.9:4002", "198.51.100.250:65535"].map(at);
    let [local, remote, source, target] = addresses;
    let header =
        Header { ssrc: Some(0x0102_0304), sequence_added: 65_535, timestamp_added: 1_000, payload_type: Some(8) };
    let flow = Flow { header: Some(header), dscp: 24, ..flow(local, remote, source, target) };
    flows.install(&flow, &Reception::default(), Time::ZERO).unwrap();
    let mut packet = rtp(100, 7, 99);
    packet[1] |= 0x80;
    let (said, out, _) = offload.try_frame(&frame(remote, local, &packet), 1).unwrap();
    let out = payload_marked(&out, source, target, 24);
    assert_eq!((said, &out[..4]), (DELIVERED, &[0x80, 0x88, 0, 6][..]));
    assert_eq!((&out[4..8], &out[8..12]), (&(7 * 160 + 1_000u32).to_be_bytes()[..], &[1, 2, 3, 4][..]));
    assert_eq!(out[12..], packet[12..]);
}

#[test]
fn what_needs_eyes_goes_on_untouched() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    let addresses = ["192.0.2.1:4000", "198.51.100.7:5004", "203.0.113.9:4002", "198.51.100.250:65535"].map(at);
    let [local, remote, source, target] = addresses;
    let mut id = flows.install(&flow(local, remote, source, target), &Reception::default(), Time::ZERO).unwrap();
    let stun = [&[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42][..], &[0; 20]].concat();
    let dtls = [&[22, 254, 253][..], &[0; 40]].concat();
    let rtcp = [&[0x80, 200, 0, 6][..], &[0; 24]].concat();
    let mut extension = rtp(0, 1, 1);
    (extension[0], extension[14], extension[15]) = (0x90, 0xff, 0xff);
    let mut padding = rtp(0, 1, 1);
    (padding[0], padding[171]) = (0xa0, 161);
    let mut options = frame(remote, local, &rtp(0, 1, 1));
    options[14] = 0x46;
    let mut fragment = frame(remote, local, &rtp(0, 1, 1));
    fragment[20] = 0x20;
    let short = frame(remote, local, &rtp(0, 1, 1)[..11]);
    let elsewhere = frame(at("198.51.100.7:5006"), local, &rtp(0, 1, 1));
    let other_host = frame(at("198.51.100.8:5004"), local, &rtp(0, 1, 1));
    let udp = |payload: &[u8]| frame(remote, local, payload);
    let all = [
        ("STUN", udp(&stun)),
        ("DTLS", udp(&dtls)),
        ("RTCP", udp(&rtcp)),
        ("a type that was not negotiated", udp(&rtp(101, 1, 1))),
        ("an extension beyond the end", udp(&extension)),
        ("padding beyond the header", udp(&padding)),
        ("IP options", options),
        ("a fragment", fragment),
        ("a packet too short", short),
        ("another port", elsewhere),
        ("another host", other_host),
        ("ARP", [&[2; 12][..], &[8, 6], &[0; 46]].concat()),
    ];
    for (what, frame) in &all {
        let (said, out, _) = offload.try_frame(frame, 1).unwrap();
        assert_eq!((said, &out), (NEXT, frame), "{what}");
    }
    assert_eq!(flows.take(&mut id), Counts::default());
    // A good extension and good padding stay.
    (extension[14], extension[15]) = (0, 1);
    padding[171] = 160;
    for packet in [extension, padding] {
        assert_eq!(offload.try_frame(&udp(&packet), 1).unwrap().0, DELIVERED);
    }
    assert_eq!(flows.take(&mut id).packets, 2);
}

#[test]
fn of_ipv6_the_whole_address_is_looked_at() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    let addresses =
        ["[2001:db8::1]:4000", "[2001:db8:1::7]:5004", "[2001:db8::2]:4002", "[2001:db8:ffff::1]:9"].map(at);
    let [local, remote, source, target] = addresses;
    let mut id = flows.install(&flow(local, remote, source, target), &Reception::default(), Time::ZERO).unwrap();
    // Each differs in one of the four words of an address.
    for other in ["2001:db9:1::7", "2001:db8:2::7", "2001:db8:1::1:0:7", "2001:db8:1::8"] {
        let stranger = frame(at(&format!("[{other}]:5004")), local, &rtp(0, 1, 1));
        assert_eq!(offload.try_frame(&stranger, 1).unwrap().0, NEXT, "from {other}");
    }
    for other in ["2001:db9::1", "2001:db8:2::1", "2001:db8::1:0:1", "2001:db8::2"] {
        let elsewhere = frame(remote, at(&format!("[{other}]:4000")), &rtp(0, 1, 1));
        assert_eq!(offload.try_frame(&elsewhere, 1).unwrap().0, NEXT, "to {other}");
    }
    assert_eq!(flows.take(&mut id), Counts::default());
    assert_eq!(offload.try_frame(&frame(remote, local, &rtp(0, 1, 1)), 1).unwrap().0, DELIVERED);
}

/// What waits in the socket is not overtaken: a flow that is held is switched on by who has sent on the very last packet that
/// went there, and by nobody else.
#[test]
fn a_held_flow_is_opened_by_the_last_packet_that_went_to_the_socket() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    let addresses = ["192.0.2.1:4000", "198.51.100.7:5004", "203.0.113.9:4002", "198.51.100.250:65535"].map(at);
    let [local, remote, source, target] = addresses;
    let mut id = flows.install_held(&flow(local, remote, source, target), Time::ZERO).unwrap();
    let send = |sequence| offload.try_frame(&frame(remote, local, &rtp(0, sequence, 5)), 1).unwrap().0;
    let known = Reception { ssrc: 5, base: 7, highest: 9, received: 3, ..Reception::default() };
    let mut opens = |flows: &Flows, n: u16| flows.open(&mut id, &known, n, u32::from(n) * 160);
    assert!(!opens(&flows, 0), "nothing went there since it is held");
    assert_eq!((send(8), opens(&flows, 7)), (NEXT, false));
    // One is on its way while the one before it was sent on.
    assert_eq!((send(9), opens(&flows, 8), opens(&flows, 9), opens(&flows, 9)), (NEXT, false, true, false));
    assert_eq!([send(10), send(11)], [DELIVERED; 2]);
    let (counts, reception) = flows.pause(&mut id);
    assert_eq!((counts.packets, reception.received, reception.highest), (2, 5, 11));
    // Off is off; held again, marks of before do not count.
    assert_eq!((send(12), flows.open(&mut id, &known, 12, 12 * 160)), (NEXT, false));
    flows.hold(&id);
    assert!(!flows.open(&mut id, &known, 12, 12 * 160));
    assert_eq!((send(65_535), flows.open(&mut id, &reception, 65_535, 65_535 * 160)), (NEXT, true));
    assert_eq!(send(0), DELIVERED);
    flows.pause(&mut id);
    flows.hold(&id);
    flows.remove(id, Time::ZERO);
    assert_eq!(send(13), NEXT);
}

#[test]
fn a_paused_flow_lets_through_and_goes_on_where_it_stopped() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    let addresses = ["192.0.2.1:4000", "198.51.100.7:5004", "203.0.113.9:4002", "198.51.100.250:65535"].map(at);
    let [local, remote, source, target] = addresses;
    let mut id = flows.install(&flow(local, remote, source, target), &Reception::default(), Time::ZERO).unwrap();
    let send = |sequence, ssrc| offload.try_frame(&frame(remote, local, &rtp(0, sequence, ssrc)), 1).unwrap().0;
    assert_eq!([65_534, 65_535, 1, 2].map(|n| send(n, 5)), [DELIVERED; 4]);
    let (counts, reception) = flows.pause(&mut id);
    assert_eq!((counts.packets, counts.bytes), (4, 4 * 172));
    assert_eq!((reception.ssrc, reception.base, reception.highest, reception.received), (5, 65_534, 65_538, 4));
    assert_eq!((send(3, 5), flows.take(&mut id), flows.pause(&mut id).0), (NEXT, Counts::default(), Counts::default()));
    flows.resume(&mut id, &Reception { received: 5, highest: 65_539, ..reception });
    assert_eq!(send(6, 5), DELIVERED);
    assert_eq!(send(9, 6), DELIVERED);
    let (counts, reception) = flows.pause(&mut id);
    // Of the first stream 0, 4 and 5 are missing: once one packet, once two.
    assert_eq!((counts.packets, reception.lost_before, reception.base, reception.received), (2, 3, 9, 1));
    assert_eq!((reception.gaps, reception.gap_packets), (2, 3));
    flows.remove(id, Time::ZERO);
    assert_eq!(send(7, 5), NEXT);
}

/// RFC 3550 A.8 in integers, over when packets came and what they said: the same that user space does.
fn jitter_x16(clock_hz: u32, packets: &[(u64, u32)]) -> u32 {
    let transit = |&(nanos, timestamp): &(u64, u32)| {
        ((nanos / 1_000 * u64::from(clock_hz) / 1_000_000) as u32).wrapping_sub(timestamp)
    };
    packets.windows(2).fold(0, |jitter, two| {
        let difference = transit(&two[1]).wrapping_sub(transit(&two[0])).cast_signed().unsigned_abs();
        jitter + difference - ((jitter + 8) >> 4)
    })
}

#[test]
fn jitter_is_reckoned_by_the_clock_of_the_flow() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    let addresses = ["192.0.2.1:4000", "198.51.100.7:5004", "203.0.113.9:4002", "198.51.100.250:65535"].map(at);
    let [local, remote, source, target] = addresses;
    for clock_hz in [8_000, 16_000, 44_100, 48_000] {
        // 111 has the clock; 101 are telephone events, whose timestamps stand still; 0 would have another clock.
        let types = Flow {
            payload_types: 1 | 1 << 101 | 1 << 111,
            paced: 1 << 111,
            clock_hz,
            ..flow(local, remote, source, target)
        };
        let mut id = flows.install(&types, &Reception::default(), Time::ZERO).unwrap();
        let mut send = |payload_type, sequence, timestamp: u32| {
            let mut packet = rtp(payload_type, sequence, 5);
            packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
            let (said, _, _) = offload.try_frame(&frame(remote, local, &packet), 1).unwrap();
            (said, flows.take(&mut id).last_nanos)
        };
        let mut heard = Vec::new();
        for n in 0..12_u16 {
            let timestamp = (u32::from(n) * clock_hz / 50).wrapping_add(4_294_960_000);
            let (said, at) = send(111, n * 2, timestamp);
            assert_eq!(said, DELIVERED);
            heard.push((at, timestamp));
            assert_eq!(send(101, n * 2 + 1, 7).0, DELIVERED);
            std::thread::sleep(Duration::from_millis(u64::from(n % 3)));
        }
        assert_eq!(send(0, 24, 0).0, NEXT, "what has another clock is for the worker");
        let (_, reception) = flows.pause(&mut id);
        assert_eq!(reception.jitter_x16, jitter_x16(clock_hz, &heard), "{clock_hz} Hz");
        assert!(reception.jitter_x16 > clock_hz / 100, "packets of 20 ms came within two: {reception:?}");
        flows.remove(id, Time::ZERO);
    }
}

/// Most flows have one payload type or two; those of others, and ports that share a place with another, are found as well.
#[test]
fn any_number_of_types_stays_and_odd_ports_are_not_even_ones() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    let addresses = ["192.0.2.1:4001", "198.51.100.7:5004", "203.0.113.9:4002", "198.51.100.250:65535"].map(at);
    let [local, remote, source, target] = addresses;
    let mine = [0, 8, 9, 31, 96, 111, 127];
    for count in 0..=mine.len() {
        let types = mine[..count].iter().fold(0, |all, of| all | 1 << of);
        let flow = Flow { payload_types: types, paced: types, ..flow(local, remote, source, target) };
        let id = flows.install(&flow, &Reception::default(), Time::ZERO).unwrap();
        for of in [0, 3, 8, 9, 31, 32, 95, 96, 100, 111, 127] {
            let wanted = if types >> of & 1 == 1 { DELIVERED } else { NEXT };
            let said = offload.try_frame(&frame(remote, local, &rtp(of, 1, 1)), 1).unwrap().0;
            assert_eq!(said, wanted, "{of} of {:?}", &mine[..count]);
        }
        let (even, packet) = (at("192.0.2.1:4000"), rtp(0, 2, 1));
        assert_eq!(offload.try_frame(&frame(remote, even, &packet), 1).unwrap().0, NEXT);
        flows.remove(id, Time::ZERO);
    }
}

#[test]
fn addresses_of_ours_have_a_number_as_long_as_they_are_needed() {
    let Some(offload) = open(1_024) else { return };
    let mut flows = offload.flows(0, 1);
    let now = Time::from_millis(5_000);
    // Each comes to an address of its own and leaves from one that all have.
    let nth = |n: u16| {
        let local = SocketAddr::from(([192, 0, 2 + (n >> 8) as u8, n as u8], 4_000 + 2 * n));
        flow(local, at("198.51.100.7:5004"), at("203.0.113.9:4002"), at("198.51.100.250:65535"))
    };
    let mut install = |n, now| flows.install(&nth(n), &Reception::default(), now);
    let mut ids: Vec<FlowId> = (0..255).map(|n| install(n, now).unwrap()).collect();
    assert_eq!(install(255, now), Err(OffloadError::Addresses(256)));
    // Another port of an address that has its number.
    let beside = Flow { local: SocketAddr::new(nth(254).local.ip(), 60_000), ..nth(254) };
    ids.push(flows.install(&beside, &Reception::default(), now).unwrap());
    let send = |n: u16| offload.try_frame(&frame(nth(n).remote, nth(n).local, &rtp(0, 1, 1)), 1).unwrap();
    for n in 0..255 {
        let (said, out, _) = send(n);
        assert_eq!(said, DELIVERED);
        payload(&out, nth(n).source, nth(n).target);
    }
    // One that two flows have stays when one of them goes, one that nobody has is free after its rest.
    flows.remove(ids.pop().unwrap(), now);
    flows.remove(ids.swap_remove(7), now);
    assert_eq!(flows.install(&nth(255), &Reception::default(), now), Err(OffloadError::Addresses(256)));
    ids.push(flows.install(&nth(255), &Reception::default(), now + REST).unwrap());
    assert_eq!([send(7).0, send(254).0, send(255).0], [NEXT, DELIVERED, DELIVERED]);
}

#[test]
fn records_rest_before_they_are_used_again_and_the_last_is_not_exceeded() {
    let Some(offload) = open(1) else { return };
    let mut flows = offload.flows(0, 1);
    let now = Time::from_millis(5_000);
    let nth = |n: u16| {
        flow(at("192.0.2.1:4000"), SocketAddr::from(([198, 51, 100, 7], n)), at("192.0.2.1:4002"), at("192.0.2.9:2"))
    };
    // One at a time, and each time another record while the last one rests.
    for n in 1..=2 {
        let mut id = flows.install(&nth(n), &Reception::default(), now).unwrap();
        assert_eq!(flows.install(&nth(3), &Reception::default(), now), Err(OffloadError::Full(1)));
        flows.pause(&mut id);
        flows.remove(id, now);
    }
    let soon = now + REST / 2;
    assert_eq!(flows.install(&nth(3), &Reception::default(), soon), Err(OffloadError::Full(1)));
    assert!(flows.install(&nth(3), &Reception::default(), now + REST).is_ok());
}

#[test]
fn without_a_sign_of_life_packets_go_to_the_sockets() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    let addresses = ["192.0.2.1:4000", "198.51.100.7:5004", "203.0.113.9:4002", "198.51.100.250:65535"].map(at);
    let [local, remote, source, target] = addresses;
    flows.install(&flow(local, remote, source, target), &Reception::default(), Time::ZERO).unwrap();
    let send = || offload.try_frame(&frame(remote, local, &rtp(0, 1, 1)), 1).unwrap().0;
    let patience = PATIENCE.as_nanos() as u64;
    offload.live([monotonic_nanos() - patience - 1, patience]).unwrap();
    assert_eq!(send(), NEXT);
    offload.live([monotonic_nanos(), patience]).unwrap();
    assert_eq!(send(), DELIVERED);
}

#[test]
fn over_loopback_a_packet_reaches_the_other_phone_and_no_socket_of_ours() {
    let Some(offload) = open(8) else { return };
    let mut flows = offload.flows(0, 1);
    for host in ["127.0.8.1", "::1"] {
        let host: IpAddr = host.parse().unwrap();
        let Ok(ours) = UdpSocket::bind((host, 0)) else { continue };
        let (from, to) = (UdpSocket::bind((host, 0)).unwrap(), UdpSocket::bind((host, 0)).unwrap());
        let [here, phone, other] = [&ours, &from, &to].map(|socket| socket.local_addr().unwrap());
        ours.set_nonblocking(true).unwrap();
        to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut id = flows.install(&flow(here, phone, here, other), &Reception::default(), Time::ZERO).unwrap();
        let mut buffer = [0; 300];
        for n in 0..20 {
            from.send_to(&rtp(0, n, 1), here).unwrap();
            let (length, sender) = to.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], sender), (&rtp(0, n, 1)[..], here));
        }
        assert_eq!(ours.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        from.send_to(&rtp(101, 20, 1), here).unwrap();
        ours.set_nonblocking(false).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(ours.recv(&mut buffer).unwrap(), 172);
        assert_eq!(flows.take(&mut id).packets, 20);
    }
}

/// The kernel's numbers of the programmes on loopback.
fn on_loopback() -> Vec<u32> {
    // One of another test may go away between being listed and being looked at.
    let listed = (0..100).find_map(|_| SchedClassifier::query_tcx("lo", TcAttachType::Ingress).ok());
    listed.expect("they can be listed").1.iter().map(ProgramInfo::id).collect()
}

/// Runs a test in another process, where the variable is set: it says which programme it holds, and goes on holding it.
pub(super) fn another(test: &str, variable: &str) -> (Child, u32) {
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.find_map(|line| line.split_once("programme ")?.1.trim().parse::<u32>().ok());
    (other, said.expect("the other process says its number"))
}

#[test]
fn a_process_that_is_killed_leaves_nothing_behind() {
    const HOLDS: &str = "CROSSPOINT_TEST_HOLDS";
    let Some(offload) = open(1) else { return };
    if std::env::var_os(HOLDS).is_some() {
        println!("programme {}", offload.programme());
        return std::thread::sleep(Duration::from_mins(1));
    }
    if Entrance::best() == Entrance::Clsact {
        return eprintln!("skipped: kernels before 6.6 let go by the heartbeat");
    }
    let name = "offload::tests::a_process_that_is_killed_leaves_nothing_behind";
    let (mut other, programme) = another(name, HOLDS);
    assert!(on_loopback().contains(&programme));
    other.kill().unwrap();
    other.wait().unwrap();
    let until = monotonic_nanos() + PATIENCE.as_nanos() as u64;
    while on_loopback().contains(&programme) {
        assert!(monotonic_nanos() < until, "it is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(on_loopback().contains(&offload.programme()));
}

#[test]
fn errors_of_the_system_have_names() {
    let of = |code| OffloadError::of("x", "eth7", &io::Error::from_raw_os_error(code));
    assert_eq!([of(libc::EPERM), of(libc::ENOSYS)], [OffloadError::NotPermitted, OffloadError::NoBpf]);
    assert_eq!(of(libc::EBUSY), OffloadError::Occupied("eth7".into()));
    assert_eq!(of(libc::ENODEV), OffloadError::Gone("eth7".into()));
    let OffloadError::System { what: "x", why } = of(libc::ENOMEM) else { panic!("{}", of(libc::ENOMEM)) };
    assert!(why.contains("memory"), "{why}");
}
