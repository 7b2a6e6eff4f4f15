//! What real phones offer is carried as the files under `tests/golden/sdp` show, and no text whatever does harm.

use media::codec::Codec;
use media::offer::{Local, answer_audio, carry, carry_answer};
use media::sdes::dress;
use media::sdp::{AudioView, Description};
use proptest::prelude::*;
use std::path::PathBuf;

/// What the exchange itself speaks.
const OURS: [Codec; 3] = [Codec::Pcmu, Codec::Pcma, Codec::TelephoneEvent];

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/sdp"))
}

/// Names and texts of the offers.
fn offers() -> Vec<(String, String)> {
    let mut offers = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("the folder is part of the repository") {
        let name = entry.expect("an entry can be read").file_name().into_string().expect("names are ASCII");
        if let Some(stem) = name.strip_suffix(".sdp")
            && ![".carried", ".answered"].iter().any(|made| stem.ends_with(made))
        {
            offers.push((stem.to_owned(), read(&name)));
        }
    }
    offers.sort();
    assert!(offers.len() >= 40);
    offers
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn local(offer: &Description) -> Local<'static> {
    let is_ipv6 = offer.origin().address_type == "IP6";
    let address = if is_ipv6 { "2001:db8:5::1" } else { "203.0.113.5" };
    Local { session_id: 4_711, version: 1, address: address.parse().expect("it is an address"), ports: &[10_000] }
}

/// Whether some audio of it is plain RTP, or has keys that we can use. Those of the others have a file that tells why they are refused.
fn is_plain(offer: &Description) -> bool {
    offer.media().any(|media| media.is_relayable())
}

#[test]
fn each_offer_is_carried_as_its_file_shows() {
    for (name, text) in offers() {
        let offer = Description::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(offer.as_str(), text.replace('\n', "\r\n"), "{name}");
        match carry(&offer, &local(&offer)) {
            Ok(carried) => {
                let shown = carried.as_str().replace("\r\n", "\n");
                assert_eq!(shown, read(&format!("{name}.carried.sdp")), "{name}");
                assert_eq!(Description::parse(carried.as_str().as_bytes()).as_ref(), Ok(&carried), "{name}");
            }
            Err(error) => assert_eq!(format!("{error}\n"), read(&format!("{name}.refused.txt")), "{name}"),
        }
    }
}

#[test]
fn the_exchange_answers_each_offer_as_its_file_shows() {
    for (name, text) in offers() {
        let offer = Description::parse(text.as_bytes()).unwrap();
        let Ok(answer) = answer_audio(&offer, &local(&offer), &OURS) else {
            assert!(!is_plain(&offer), "{name}");
            continue;
        };
        assert_eq!(answer.as_str().replace("\r\n", "\n"), read(&format!("{name}.answered.sdp")), "{name}");
    }
}

/// Each file that shows what is made belongs to an offer that it is made of.
#[test]
fn no_file_is_left_over() {
    let offers = offers();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let made = [".carried.sdp", ".answered.sdp", ".refused.txt"].iter().find_map(|end| name.strip_suffix(end));
        let Some(stem) = made else { continue };
        let offer = offers.iter().find(|(offer, _)| offer == stem);
        let (_, text) = offer.unwrap_or_else(|| panic!("{name} belongs to no offer"));
        let plain = is_plain(&Description::parse(text.as_bytes()).unwrap());
        assert_eq!(plain, !name.ends_with(".refused.txt"), "{name}");
    }
}

#[test]
fn no_address_of_a_phone_reaches_the_other() {
    for (name, text) in offers() {
        let offer = Description::parse(text.as_bytes()).unwrap();
        let made = [carry(&offer, &local(&offer)).ok(), answer_audio(&offer, &local(&offer), &OURS).ok()];
        for made in made.iter().flatten() {
            for theirs in ["198.51.100.", "192.0.2.", "2001:db8:17:", "inline:", "sip:", "0.0.0.0"] {
                assert!(!made.as_str().contains(theirs), "{name}: {theirs}");
            }
        }
    }
}

#[test]
fn the_exchange_answers_each_that_has_g711_and_keeps_its_media_in_order() {
    for (name, text) in offers() {
        let offer = Description::parse(text.as_bytes()).unwrap();
        if !is_plain(&offer) {
            continue;
        }
        let answer = answer_audio(&offer, &local(&offer), &OURS).unwrap_or_else(|error| panic!("{name}: {error}"));
        let keys = offer.audio().and_then(|audio| audio.media().crypto());
        let answer = dress(&answer, false, keys.as_slice());
        let kinds = |d: &Description| d.media().map(|m| (m.kind.to_owned(), m.protocol.to_owned())).collect::<Vec<_>>();
        assert_eq!(kinds(&answer), kinds(&offer), "{name}");
        let audio = answer.audio().unwrap();
        let offered = offer.audio().unwrap();
        assert_eq!(audio.index, offered.index, "{name}");
        assert_eq!(audio.telephone_event, offered.telephone_event, "{name}");
        assert_eq!(audio.direction, offered.direction.reversed(), "{name}");
        // And the other phone's answer comes back through us in the order of the offer.
        let carried = carry_answer(&answer, &offer, &local(&offer));
        assert_eq!(kinds(&carried), kinds(&offer), "{name}");
        assert_eq!(carried.audio().unwrap().payload_types, audio.payload_types, "{name}");
    }
}

/// Everything that is done with a description that came from outside.
fn use_in_all_ways(bytes: &[u8], other: &Description) {
    let Ok(description) = Description::parse(bytes) else { return };
    let ours = local(&description);
    // Printed and read again it is the same, and so is what is made of it.
    let again = Description::parse(description.as_str().as_bytes());
    assert_eq!(again.as_ref().map(Description::as_str), Ok(description.as_str()));
    let _ = description.audio().map(|audio: AudioView<'_>| (audio.codecs().count(), audio.is_held()));
    let made = [
        carry(&description, &ours).ok(),
        answer_audio(&description, &ours, &OURS).ok(),
        Some(carry_answer(&description, other, &ours)),
        Some(carry_answer(other, &description, &ours)),
    ];
    for made in made.into_iter().flatten() {
        let read = Description::parse(made.as_str().as_bytes());
        assert!(made.media().filter(|m| m.port != 0).count() <= 1);
        assert_eq!(read.as_ref(), Ok(&made));
    }
}

/// A line as a phone might write it, and now and then as none should.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]=[ -~]{0,20}",
        "a=(rtpmap|fmtp|rtcp|ptime|crypto|candidate):[0-9]{1,3} [a-zA-Z-]{0,15}(/[0-9]{1,6}){0,2}",
        "a=(sendrecv|sendonly|recvonly|inactive)",
        "c=IN IP4 (0\\.0\\.0\\.0|192\\.0\\.2\\.[0-9]|224\\.0\\.0\\.1/3|x)",
        "m=(audio|video|image) [0-9]{1,5}(/2)? (RTP/AVP|RTP/SAVP|RTP/AVPF|udptl)( [0-9]{1,3}){0,4}",
    ]
}

proptest! {
    #[test]
    fn lines_of_all_kinds_are_carried_or_refused(lines in prop::collection::vec(line(), 0..30)) {
        let text = format!("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nt=0 0\n{}", lines.join("\n"));
        let other = Description::parse(b"v=0\no=- 1 1 IN IP4 192.0.2.2\nm=audio 1 RTP/AVP 0\n").unwrap();
        use_in_all_ways(text.as_bytes(), &other);
    }

    #[test]
    fn changed_bytes_never_panic(which in 0usize..100, changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..8)) {
        let offers = offers();
        let other = Description::parse(offers[0].1.as_bytes()).unwrap();
        let mut bytes = offers[which % offers.len()].1.clone().into_bytes();
        for (at, value) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        use_in_all_ways(&bytes, &other);
        let half = bytes.len() / 2;
        use_in_all_ways(&bytes[..half], &other);
    }

    #[test]
    fn any_datagram_is_looked_at_in_all_ways(mut bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0u8..3) {
        if let Some(byte) = bytes.first_mut() {
            *byte = [*byte, 0x80 | *byte >> 2, *byte & 1][usize::from(first)];
        }
        let _ = media::demux::protocol(&bytes);
        if let Some(packet) = media::rtp::RtpView::parse(&bytes) {
            prop_assert!(packet.payload().len() + packet.csrcs().count() * 4 + 12 <= bytes.len());
        }
        for packet in media::rtcp::Packets::new(&bytes) {
            if let media::rtcp::RtcpView::ReceiverReport { reports, .. } = packet {
                prop_assert!(reports.iter().count() * 24 < bytes.len());
            }
        }
        let _ = media::stun::answer(&bytes, "192.0.2.1:5060".parse().unwrap());
        let _ = media::dtmf::Detector::default().packet(1, &bytes);
    }
}
