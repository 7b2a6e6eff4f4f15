//! Encrypted packets, and the keys in descriptions.

use media::rtp::{HEADER_BYTES, RtpHeader};
use media::sdes::{Crypto, OFFERED, admit, draw, dress};
use media::sdp::Description;
use media::srtp::{Inbound, MasterKey, Outbound, PACKET_BYTES, Suite, TRAILER_BYTES};
use words::{Chance, Seed, Srtp};

/// Packets one after the other, each with its length in front: as they come from outside, and as they come in plain to
/// be encrypted. What was encrypted is decrypted as it was, and nothing that was not is taken.
pub(super) fn srtp(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else { return };
    let suite = Suite::ALL[usize::from(*first) % Suite::ALL.len()];
    let key = MasterKey::new(suite, &vec![7; suite.key_bytes() + suite.salt_bytes()]).expect("the suite's length");
    let (mut sender, mut receiver) = (Outbound::new(&key), Inbound::new(&key));
    let mut forged = Inbound::new(&key);
    while let [kind, length, tail @ ..] = rest {
        let length = (usize::from(*length) * 4).min(tail.len());
        let (packet, tail) = tail.split_at(length);
        rest = tail;
        let is_rtcp = kind & 1 == 1;
        let mut buffer = [packet, &[0; TRAILER_BYTES]].concat();
        // Nobody guesses a tag of 32 bits or more.
        let taken = unprotect(&mut forged, &mut buffer[..length], is_rtcp);
        assert!(taken.is_none(), "{} took {packet:?}", suite.name());
        buffer[..length].copy_from_slice(packet);
        let sealed =
            if is_rtcp { sender.protect_rtcp(&mut buffer, length) } else { sender.protect_rtp(&mut buffer, length) };
        let Ok(sealed) = sealed else { continue };
        assert!(length >= 8 && sealed > length && sealed <= length + TRAILER_BYTES && length <= PACKET_BYTES);
        let opened = unprotect(&mut receiver, &mut buffer[..sealed], is_rtcp);
        // A sender of reports is remembered by who hears them only, and that of so many.
        let Some(opened) = opened else {
            assert!(is_rtcp, "what we encrypt is decrypted");
            continue;
        };
        // A sender that begins anew goes on under another SSRC.
        let ssrc = if is_rtcp { 4..8 } else { 8..12 };
        let same = |at: usize| ssrc.contains(&at) || buffer[at] == packet[at];
        assert!(opened == length && (0..length).all(same));
    }
    follow(*first, &mut sender);
}

/// Whatever came before, the next packet of a stream of its own is encrypted, unless there are too many.
fn follow(first: u8, sender: &mut Outbound) {
    let header = RtpHeader { marker: false, payload_type: 0, sequence: 1, timestamp: 0, ssrc: u32::from(first) };
    let mut buffer = [0; HEADER_BYTES + TRAILER_BYTES];
    buffer[..HEADER_BYTES].copy_from_slice(&header.print());
    let _ = sender.protect_rtp(&mut buffer, HEADER_BYTES);
}

fn unprotect(receiver: &mut Inbound, packet: &mut [u8], is_rtcp: bool) -> Option<usize> {
    let opened = if is_rtcp { receiver.unprotect_rtcp(packet) } else { receiver.unprotect_rtp(packet) };
    opened.ok()
}

/// A description: what may be answered of it under each rule, and ours with keys. A line with keys: itself again.
pub(super) fn sdes(input: &[u8]) {
    if let Some(crypto) = std::str::from_utf8(input).ok().and_then(Crypto::parse) {
        assert_eq!(Crypto::parse(&crypto.print()), Some(crypto));
    }
    let Ok(description) = Description::parse(input) else { return };
    for srtp in [Srtp::Off, Srtp::Optional, Srtp::Required] {
        let admitted = admit(description.clone(), srtp);
        assert_eq!(admitted.media_count(), description.media_count());
        for media in admitted.media().filter(media::sdp::MediaView::is_relayable) {
            let encrypted = media.crypto().is_some();
            assert!(encrypted || !media.is_savp(), "{srtp}: without keys: {admitted:?}");
            assert!(srtp != Srtp::Required || encrypted, "plain: {admitted:?}");
            assert!(srtp != Srtp::Off || !encrypted, "encrypted: {admitted:?}");
        }
        assert_eq!(admit(admitted.clone(), srtp).as_str(), admitted.as_str());
    }
    let keys = draw(&OFFERED, &mut Chance::new(Seed::from_number(1)));
    let dressed = dress(&description, true, &keys);
    assert_eq!(dressed.media_count(), description.media_count());
}
