//! Packets of all suites through both contexts, and what must not pass.

use super::index::RETIRED;
use super::*;
use crate::rtp::RtpHeader;

const SSRC: u32 = 0xcafe_babe;

fn key(suite: Suite, byte: u8) -> MasterKey {
    let bytes = vec![byte; suite.key_bytes() + suite.salt_bytes()];
    MasterKey::new(suite, &bytes).unwrap()
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let header = RtpHeader { marker: false, payload_type: 8, sequence, timestamp: 160, ssrc };
    [&header.print()[..], &[0xd5; 160]].concat()
}

fn sealed(outbound: &mut Outbound, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
    let length = outbound.protect_rtp(&mut buffer, packet.len())?;
    buffer.truncate(length);
    Ok(buffer)
}

fn opened(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = packet.to_vec();
    let length = inbound.unprotect_rtp(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn sealed_rtcp(outbound: &mut Outbound, packet: &[u8]) -> Vec<u8> {
    let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
    let length = outbound.protect_rtcp(&mut buffer, packet.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn opened_rtcp(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buffer = packet.to_vec();
    let length = inbound.unprotect_rtcp(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn pair(suite: Suite) -> (Outbound, Inbound) {
    (Outbound::new(&key(suite, 9)), Inbound::new(&key(suite, 9)))
}

/// Packets that the reference implementation gives, and that others test themselves with.
#[test]
fn whole_packets_are_those_of_others() {
    let plain = hex("800f1234decafbadcafebabe abababababababababababababababab");
    for (suite, master, expected) in [
        (
            Suite::AesCm128HmacSha1Tag80,
            "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6",
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
        ),
        (
            Suite::AesCm256HmacSha1Tag80,
            "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2",
            "800f1234decafbadcafebabe f1d9de17ff251ff1aa007774b0b4b40d a08d9d9a5b3a55d8873b",
        ),
        (
            Suite::AeadAes128Gcm,
            "000102030405060708090a0b0c0d0e0f a0a1a2a3a4a5a6a7a8a9aaab",
            "800f1234decafbadcafebabe c5002ede04cfdd2eb91159e0880aa06e d2976826f796b201df3131a127e8a392",
        ),
    ] {
        let master = MasterKey::new(suite, &hex(master)).unwrap();
        let made = sealed(&mut Outbound::new(&master), &plain).unwrap();
        assert_eq!(made, hex(expected), "{}", suite.name());
        assert_eq!(opened(&mut Inbound::new(&master), &made).unwrap(), plain);
    }
}

#[test]
fn every_suite_carries_every_shape_of_packet() {
    let mut extended = packet(SSRC, 1);
    extended[0] |= 0x10 | 2;
    extended.splice(12..12, [0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
    let mut padded = packet(SSRC, 2);
    padded[0] |= 0x20;
    padded.extend([0, 0, 3]);
    let empty = packet(SSRC, 3)[..12].to_vec();
    let long = [packet(SSRC, 4), vec![7; 1_000]].concat();
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        for plain in [&extended, &padded, &empty, &long] {
            let made = sealed(&mut sender, plain).unwrap();
            assert_eq!(made.len(), plain.len() + suite.rtp_tag_bytes());
            assert_eq!(opened(&mut receiver, &made).unwrap(), *plain, "{}", suite.name());
        }
        let report = [&[0x81, 200, 0, 12][..], &[7; 48]].concat();
        for _ in 0..3 {
            let made = sealed_rtcp(&mut sender, &report);
            assert_eq!(made.len(), report.len() + suite.rtcp_tag_bytes() + 4);
            assert!(made.len() <= report.len() + TRAILER_BYTES && made[8..20] != report[8..20]);
            assert_eq!(opened_rtcp(&mut receiver, &made).unwrap(), report, "{}", suite.name());
            assert_eq!(opened_rtcp(&mut receiver, &made), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn what_is_changed_anywhere_is_forged_and_teaches_nothing() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let made = sealed(&mut sender, &packet(SSRC, 1)).unwrap();
        for at in 0..made.len() {
            let mut forged = made.clone();
            forged[at] ^= 1;
            assert!(opened(&mut receiver, &forged).is_err(), "{} at {at}", suite.name());
        }
        assert_eq!(opened(&mut Inbound::new(&key(suite, 8)), &made), Err(SrtpError::Forged));
        assert_eq!(opened(&mut receiver, &made).unwrap(), packet(SSRC, 1));
        let report = [&[0x80, 201, 0, 1][..], &[7; 4]].concat();
        let made = sealed_rtcp(&mut sender, &report);
        for at in 0..made.len() {
            let mut forged = made.clone();
            forged[at] ^= 1;
            assert!(opened_rtcp(&mut receiver, &forged).is_err(), "{} at {at}", suite.name());
        }
        assert_eq!(opened_rtcp(&mut receiver, &made).unwrap(), report);
    }
}

#[test]
fn what_is_cut_off_is_refused_at_every_length() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let made = sealed(&mut sender, &packet(SSRC, 1)).unwrap();
        let report = sealed_rtcp(&mut sender, &[0x80, 201, 0, 1, 7, 7, 7, 7]);
        (0..made.len()).for_each(|n| assert!(opened(&mut receiver, &made[..n]).is_err()));
        (0..report.len()).for_each(|n| assert!(opened_rtcp(&mut receiver, &report[..n]).is_err()));
        let mut exact = packet(SSRC, 2);
        let length = exact.len();
        assert_eq!(sender.protect_rtp(&mut exact, length), Err(SrtpError::Malformed));
        assert_eq!(sender.protect_rtp(&mut exact, length + 1), Err(SrtpError::Malformed));
        assert_eq!(sender.protect_rtcp(&mut exact, length), Err(SrtpError::Malformed));
    }
}

#[test]
fn the_rollover_counter_wraps_with_losses_and_disorder() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1Tag80);
    let numbers = (0..200_000u32).filter(|n| n % 7 != 3);
    let mut waiting: Option<Vec<u8>> = None;
    for n in numbers {
        let made = sealed(&mut sender, &packet(SSRC, n as u16)).unwrap();
        // Each fifth packet is overtaken by the next.
        match waiting.take() {
            Some(late) => {
                assert!(opened(&mut receiver, &made).is_ok());
                assert!(opened(&mut receiver, &late).is_ok(), "{n}");
            }
            None if n % 5 == 0 => waiting = Some(made),
            None => assert!(opened(&mut receiver, &made).is_ok(), "{n}"),
        }
    }
    assert!(receiver.rtp.newest().all(|(_, newest)| newest >= 199_000));
}

#[test]
fn a_stream_that_wrapped_before_it_was_heard_is_heard() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let first = sealed(&mut sender, &packet(SSRC, 65_535)).unwrap();
        let second = sealed(&mut sender, &packet(SSRC, 0)).unwrap();
        assert_eq!(opened(&mut receiver, &second).unwrap(), packet(SSRC, 0));
        assert_eq!(opened(&mut receiver, &first).unwrap(), packet(SSRC, 65_535));
        assert_eq!(opened(&mut receiver, &second), Err(SrtpError::Replayed));
    }
}

/// A bridge or a transfer brings a new SSRC each time: whoever has the key is heard, however often that happens.
#[test]
fn a_new_ssrc_takes_the_place_of_the_one_that_was_idle_for_the_longest() {
    let suite = Suite::AesCm128HmacSha1Tag32;
    // Each SSRC has a sender of its own, so that only the receiver has to make room.
    let says = |ssrc: u32, n: u16| sealed(&mut Outbound::new(&key(suite, 9)), &packet(ssrc, n)).unwrap();
    let report = |n: u32, ssrc: u32| {
        let mut sender = Outbound::new(&key(suite, 9));
        let report = [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat();
        (0..n).for_each(|_| _ = sealed_rtcp(&mut sender, &report));
        sealed_rtcp(&mut sender, &report)
    };
    let mut receiver = Inbound::new(&key(suite, 9));
    let all = STREAMS as u32;
    for ssrc in 0..all {
        assert!(
            opened(&mut receiver, &says(ssrc, 1_000)).is_ok() && opened_rtcp(&mut receiver, &report(1, ssrc)).is_ok()
        );
    }
    // The first goes on speaking, so the second is idle for the longest.
    assert!(opened(&mut receiver, &says(0, 1_001)).is_ok() && opened_rtcp(&mut receiver, &report(2, 0)).is_ok());
    // A stranger without the key brings as many SSRCs as he likes, and speaks as those who are there: nobody has to go.
    for ssrc in 1..10 * all {
        let mut forged = says(ssrc, 2_000);
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(opened(&mut receiver, &forged), Err(SrtpError::Forged));
        let mut forged = report(3, ssrc);
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(opened_rtcp(&mut receiver, &forged), Err(SrtpError::Forged));
    }
    // One who caught what was said says it again: none of it is fresh.
    for ssrc in 0..all {
        assert_eq!(opened(&mut receiver, &says(ssrc, 1_000)), Err(SrtpError::Replayed), "{ssrc}");
    }
    assert!(opened(&mut receiver, &says(all, 1)).is_ok() && opened_rtcp(&mut receiver, &report(0, all)).is_ok());
    for (ssrc, n) in [(0, 1_000), (0, 1_001), (1, 1_000), (1, 999), (2, 1_000), (all, 1)] {
        assert_eq!(opened(&mut receiver, &says(ssrc, n)), Err(SrtpError::Replayed), "{ssrc} {n}");
    }
    for (ssrc, n) in [(0, 1), (0, 2), (1, 0), (1, 1), (2, 1), (all, 0)] {
        assert_eq!(opened_rtcp(&mut receiver, &report(n, ssrc)), Err(SrtpError::Replayed), "{ssrc} {n}");
    }
    // Who had to go comes back, and takes the place of the next.
    assert!(opened(&mut receiver, &says(1, 1_001)).is_ok() && opened_rtcp(&mut receiver, &report(2, 1)).is_ok());
    // A call whose SSRC changes with each packet is heard to its end.
    for ssrc in 1_000..5_000 {
        assert!(opened(&mut receiver, &says(ssrc, 7)).is_ok(), "{ssrc}");
        assert_eq!(opened(&mut receiver, &says(ssrc, 7)), Err(SrtpError::Replayed));
    }
    // Of those that left last it is known where they ended.
    for ssrc in 5_000 - all - RETIRED as u32..5_000 {
        assert_eq!(opened(&mut receiver, &says(ssrc, 7)), Err(SrtpError::Replayed), "{ssrc}");
    }
    assert_eq!(receiver.rtp.newest().count(), STREAMS + RETIRED);
}

/// What is passed on may change its SSRC as often; nothing goes out twice under one number, or who listens could add both.
#[test]
fn whatever_ssrcs_come_no_keystream_is_used_twice() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1Tag80);
    let mut used = std::collections::BTreeSet::new();
    let mut chance = words::Chance::new(words::Seed::from_number(3));
    for n in 0..20_000_u32 {
        // Some come back after they were forgotten, many never do, and all begin at the same numbers again.
        let ssrc = if n % 3 == 0 { chance.below(500) as u32 } else { 10_000 + n };
        let Ok(made) = sealed(&mut sender, &packet(ssrc, (n % 7) as u16)) else { continue };
        let out = (word_at(&made, 8), sequence_of(&made));
        assert!(used.insert(out), "{out:?} went out twice");
        // Who receives has forgotten others than we have, and takes what is old of those for a replay.
        match opened(&mut receiver, &made) {
            Ok(heard) => assert_eq!(heard[12..], packet(ssrc, (n % 7) as u16)[12..]),
            Err(error) => assert_eq!(error, SrtpError::Replayed),
        }
    }
    // Only what comes again while its stream is known is refused.
    assert!(used.len() > 19_000, "{}", used.len());
}

#[test]
fn after_a_new_key_rollovers_are_counted_on_or_anew() {
    let suite = Suite::AeadAes128Gcm;
    let (mut sender, mut receiver) = pair(suite);
    for n in (0..70_000u32).step_by(10_000) {
        let made = sealed(&mut sender, &packet(SSRC, n as u16)).unwrap();
        assert!(opened(&mut receiver, &made).is_ok());
    }
    let next = key(suite, 10);
    let anew = sealed(&mut Outbound::new(&next), &packet(SSRC, 4_500)).unwrap();
    assert!(opened(&mut Inbound::succeed(&next, &receiver), &anew).is_ok());
    let mut goes_on = Outbound::new(&next);
    for n in [0, 30_000, 60_000, 4_500] {
        let made = sealed(&mut goes_on, &packet(SSRC, n)).unwrap();
        if n == 4_500 {
            assert!(opened(&mut Inbound::succeed(&next, &receiver), &made).is_ok());
        }
    }
}

#[test]
fn nothing_is_encrypted_twice_and_who_begins_anew_gets_another_ssrc() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1Tag80);
    for n in 1_000..1_010 {
        assert!(opened(&mut receiver, &sealed(&mut sender, &packet(SSRC, n)).unwrap()).is_ok());
    }
    assert_eq!(sealed(&mut sender, &packet(SSRC, 1_005)), Err(SrtpError::Replayed));
    let heard = |sender: &mut Outbound, receiver: &mut Inbound, first: u16| -> Vec<u32> {
        let made = (first..first + 20).filter_map(|n| sealed(sender, &packet(SSRC, n)).ok());
        made.map(|made| word_at(&opened(receiver, &made).unwrap(), 8)).collect()
    };
    assert_eq!(heard(&mut sender, &mut receiver, 10), vec![SSRC + 1; 16]);
    assert_eq!(heard(&mut sender, &mut receiver, 40_000), vec![SSRC + 2; 16]);
    let report = [&[0x80, 201, 0, 1][..], &SSRC.to_be_bytes()].concat();
    let report = opened_rtcp(&mut receiver, &sealed_rtcp(&mut sender, &report)).unwrap();
    assert_eq!(word_at(&report, 4), SSRC + 2);
}

#[test]
fn rtcp_that_is_tagged_but_not_encrypted_is_taken() {
    let suite = Suite::AeadAes128Gcm;
    let (mut sender, mut receiver) = pair(suite);
    let plain = [0x80, 201, 0, 1, 1, 2, 3, 4];
    let Transform::Gcm(keys) = &sender.transform else { panic!() };
    let word = 5u32.to_be_bytes();
    let about = [&plain[..], &word].concat();
    let iv = Iv { ssrc: 0x0102_0304, index: 5 };
    let mut tag = [0; 16];
    keys[1].seal(keys[1].rtcp_nonce(iv), &about, &mut [], &mut tag).unwrap();
    assert_eq!(opened_rtcp(&mut receiver, &[&plain[..], &tag, &word].concat()).unwrap(), plain);
    let made = sealed_rtcp(&mut sender, &plain);
    assert_eq!(opened_rtcp(&mut receiver, &made).unwrap(), plain);
    let (_, mut cm) = pair(Suite::AesCm128HmacSha1Tag80);
    let Transform::Cm128(keys) = &Outbound::new(&key(Suite::AesCm128HmacSha1Tag80, 9)).transform else { panic!() };
    let mut buffer = [&plain[..], &[0; TRAILER_BYTES]].concat();
    let span = cm::Span { from: plain.len(), end: plain.len() };
    let length = keys.rtcp().seal(&mut buffer, span, iv, word, RTCP_INDEX_BYTES);
    assert_eq!(opened_rtcp(&mut cm, &buffer[..length]).unwrap(), plain);
}

#[test]
fn a_context_is_small() {
    assert!(size_of::<CmPair<Aes128>>() <= 1_100, "{}", size_of::<CmPair<Aes128>>());
    assert!(size_of::<Inbound>() + size_of::<Outbound>() <= 256);
}
