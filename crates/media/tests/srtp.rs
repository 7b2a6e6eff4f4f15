//! SRTP beside another implementation: what one encrypts the other decrypts, and neither takes what is forged.
#![expect(clippy::unwrap_used, reason = "tests; the lint knows functions marked as tests only")]

use media::rtp::RtpHeader;
use media::srtp::{Inbound, MasterKey, Outbound, Suite, TRAILER_BYTES};
use proptest::prelude::*;
use webrtc_srtp::context::Context;
use webrtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use webrtc_srtp::protection_profile::ProtectionProfile;

const SUITES: [(Suite, ProtectionProfile); 4] = [
    (Suite::AesCm128HmacSha1Tag80, ProtectionProfile::Aes128CmHmacSha1_80),
    (Suite::AesCm128HmacSha1Tag32, ProtectionProfile::Aes128CmHmacSha1_32),
    (Suite::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (Suite::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
];

struct Pair {
    sender: Outbound,
    receiver: Inbound,
    other: Context,
    other_receiver: Context,
}

fn pair(suite: Suite, profile: ProtectionProfile, seed: u8) -> Pair {
    let bytes: Vec<u8> =
        (0..suite.key_bytes() + suite.salt_bytes()).map(|n| seed.wrapping_add((n as u8).wrapping_mul(7))).collect();
    let key = MasterKey::new(suite, &bytes).unwrap();
    let (master, salt) = bytes.split_at(suite.key_bytes());
    let context = || {
        let (rtp, rtcp) = (srtp_replay_protection(64), srtcp_replay_protection(64));
        Context::new(master, salt, profile, Some(rtp), Some(rtcp)).unwrap()
    };
    Pair { sender: Outbound::new(&key), receiver: Inbound::new(&key), other: context(), other_receiver: context() }
}

fn sealed(outbound: &mut Outbound, packet: &[u8], rtcp: bool) -> Vec<u8> {
    let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
    let length = if rtcp {
        outbound.protect_rtcp(&mut buffer, packet.len())
    } else {
        outbound.protect_rtp(&mut buffer, packet.len())
    };
    buffer.truncate(length.unwrap());
    buffer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_understand_each_other(seed: u8, ssrc: u32, first in 0u32..80_000, payload in prop::collection::vec(any::<u8>(), 0..400)) {
        for (suite, profile) in SUITES {
            let mut pair = pair(suite, profile, seed);
            // Around the wrap of sequence numbers, too.
            for n in [first, first + 1, first + 30_000, first + 60_000, first + 90_000] {
                let header = RtpHeader { marker: n % 2 == 0, payload_type: 8, sequence: n as u16, timestamp: n, ssrc };
                let plain = [&header.print()[..], &payload].concat();
                let ours = sealed(&mut pair.sender, &plain, false);
                let theirs = pair.other.encrypt_rtp(&plain).unwrap();
                prop_assert_eq!(&ours, &theirs[..], "{}", suite.name());
                prop_assert_eq!(&pair.other_receiver.decrypt_rtp(&ours).unwrap()[..], &plain[..]);
                let mut theirs = theirs.to_vec();
                let length = pair.receiver.unprotect_rtp(&mut theirs);
                prop_assert_eq!(length, Ok(plain.len()));
                prop_assert_eq!(&theirs[..plain.len()], &plain[..]);
            }
            let report = [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes(), &payload].concat();
            for _ in 0..3 {
                let ours = sealed(&mut pair.sender, &report, true);
                prop_assert_eq!(&pair.other_receiver.decrypt_rtcp(&ours).unwrap()[..], &report[..]);
                let mut theirs = pair.other.encrypt_rtcp(&report).unwrap().to_vec();
                prop_assert_eq!(pair.receiver.unprotect_rtcp(&mut theirs), Ok(report.len()));
                prop_assert_eq!(&theirs[..report.len()], &report[..]);
            }
        }
    }
}
