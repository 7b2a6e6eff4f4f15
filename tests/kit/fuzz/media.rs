//! What media and their descriptions are made of.

use media::codec::Codec;
use media::demux::protocol;
use media::dtmf::{Detector, Event};
use media::ice::{self, Check, Checks, Credentials, Outcome};
use media::offer::{Local, OurSide, answer_audio, carry, carry_again, carry_answer, same_session};
use media::renew::{can_talk, common, meet, renew};
use media::rtcp::{Packets, RtcpView, print_receiver_report, print_sender_report};
use media::rtp::{HEADER_BYTES, RtpHeader, RtpView};
use media::sdp::{DESCRIPTION_BYTES, Description};
use media::stun::{StunView, answer, message_bytes};
use std::net::SocketAddr;

/// A description: every view of it, and itself again in print.
pub(super) fn sdp(input: &[u8]) {
    let Ok(description) = Description::parse(input) else { return };
    view(&description);
    let printed = description.print();
    // Bytes that are no UTF-8 are read as Latin-1, and line ends of one byte become two: it may grow past the limit.
    match Description::parse(&printed) {
        Ok(again) => assert_eq!(again, description),
        Err(error) => assert!(printed.len() > DESCRIPTION_BYTES || !input.is_ascii(), "{error}: {description:?}"),
    }
    assert!(description.says_the_same(&description) && same_session(&description, &description));
    let _ = can_talk(&description, &description);
    if let Some(renewed) = renew(&description) {
        view(&renewed);
    }
}

fn view(description: &Description) {
    let _ = (description.origin(), description.connection(), description.attributes().count());
    assert_eq!(description.media().count(), description.media_count());
    for media in description.media() {
        let _ = (media.connection(), media.direction(), media.lines().count(), media.attribute("rtpmap"));
        let _ = (media.payload_types().count(), format!("{media:?}"));
    }
    if let Some(audio) = description.audio() {
        let _ = audio.ice();
        assert_eq!(audio.remote.is_some() || !audio.is_accepted, audio.remote.is_some() == audio.is_accepted);
        assert!(audio.codecs().count() <= media::sdp::FORMATS);
        let _ = audio.is_held();
    }
}

/// Two descriptions with a NUL between them: an offer, and the other leg's answer.
pub(super) fn offer(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let Ok(offer) = Description::parse(&input[..at]) else { return };
    let answer = Description::parse(input.get(at + 1..).unwrap_or_default());
    let mut side = OurSide::new(7);
    let address = "192.0.2.1".parse().expect("an address");
    let ours = side.local(address, &[10_000, 10_002]);
    if let Ok(made) = answer_audio(&offer, &ours, &[Codec::Pcma, Codec::TelephoneEvent]) {
        follows(&made, &offer, &ours);
    }
    let Ok(carried) = carry(&offer, &ours) else { return };
    follows(&carried, &offer, &ours);
    assert!(carried.audio().is_some_and(|audio| audio.is_accepted), "what can be relayed is offered");
    if let Ok(answer) = &answer {
        follows(&carry_answer(answer, &offer, &ours), &offer, &ours);
        if let Ok(again) = carry_again(answer, &carried, &ours) {
            assert!(again.media_count() >= carried.media_count(), "an offer never has fewer media than before");
            view(&again);
        }
        let is_met = meet(&offer, answer, &ours).inspect(|met| follows(met, &offer, &ours)).is_some();
        assert!(common(&offer, answer).is_some() || !is_met, "they meet in nothing");
        let _ = can_talk(&offer, answer);
    }
    let first = side.say(carried.clone()).clone();
    assert_eq!(side.say(carried), &first, "the same words keep their version");
}

/// What we say has the offer's media in their order, nobody's address but ours, and can be read.
fn follows(made: &Description, offer: &Description, ours: &Local<'_>) {
    assert!(made.media().map(|media| media.kind).eq(offer.media().map(|media| media.kind)), "{made:?}");
    for media in made.media() {
        assert_eq!(media.connection().and_then(|connection| connection.ip()), Some(ours.address));
        assert!(media.port == 0 || ours.ports.contains(&media.port));
    }
    view(made);
    match Description::parse(made.as_str().as_bytes()) {
        Ok(read) => assert_eq!(&read, made),
        Err(error) => assert!(offer.as_str().len() > DESCRIPTION_BYTES / 2, "{error}: {made:?}"),
    }
}

/// A STUN message and what we answer to it.
pub(super) fn stun(input: &[u8]) {
    let source: SocketAddr = "[2001:db8::7]:40123".parse().expect("an address");
    let answered = answer(input, source);
    check(input, source);
    let Some(view) = StunView::parse(input) else { return assert_eq!(answered, None) };
    assert_eq!(message_bytes(input), Some(input.len()));
    assert!(view.attributes().map(|(_, value)| value.len()).sum::<usize>() <= input.len());
    let _ = (view.class(), view.method(), view.error_code(), view.fingerprint_is_right(), view.xor_mapped_address());
    let Some(answered) = answered else { return };
    assert!(answered.len() <= input.len() + 32, "{} bytes to {}", answered.len(), input.len());
    let read = StunView::parse(&answered).expect("an answer can be read");
    assert_eq!(read.transaction_id(), view.transaction_id());
    assert!(read.error_code().is_some() || read.xor_mapped_address() == Some(source));
    assert_ne!(read.fingerprint_is_right(), Some(false));
    assert_eq!(answer(&answered, source), None, "an answer is not answered");
}

/// The same as it comes to an end with ICE: nobody makes a check without the password, and one that was made is one.
fn check(input: &[u8], source: SocketAddr) {
    let ours = Credentials::parse("evtj", "VOkJxbRl1RmTxUk/WvJxBt").expect("a name and a password");
    let checks = Checks { ours, theirs: "h6vY".into(), rtcp_mux: false };
    let outcome = ice::judge(input, &checks, source);
    assert_eq!(outcome == Outcome::Other, StunView::parse(input).is_none());
    if let Outcome::Refused(answer) | Outcome::Valid(_, answer) = &outcome {
        assert!(answer.len() <= input.len() + 40, "{} bytes to {}", answer.len(), input.len());
        assert!(StunView::parse(answer).is_some_and(|view| view.fingerprint_is_right() == Some(true)));
        assert_eq!(ice::judge(answer, &checks, source), Outcome::Silent);
    }
    let _ = ice::named(input);
    // What it asks for is asked with the password.
    let Some(&[first, second, ..]) = input.first_chunk::<13>() else { return };
    let mut transaction_id = [0; 12];
    transaction_id.copy_from_slice(&input[1..13]);
    let said = Check { transaction_id, priority: u32::from(second), nominates: first & 1 == 1 };
    let sent = ice::request(&checks.ours, "h6vY", &said, first & 2 == 0);
    match ice::judge(&sent, &checks, source) {
        Outcome::Valid(check, _) => assert_eq!((check, first & 2), (said, 0)),
        Outcome::Refused(_) => assert_eq!(first & 2, 2, "who is lite does not control"),
        other @ (Outcome::Other | Outcome::Silent) => panic!("{other:?}"),
    }
}

/// A packet.
pub(super) fn rtp(input: &[u8]) {
    let _ = protocol(input);
    let Some(view) = RtpView::parse(input) else { return };
    assert!(view.payload().len() + HEADER_BYTES + view.csrcs().count() * 4 <= input.len());
    let header = RtpHeader {
        marker: view.marker(),
        payload_type: view.payload_type(),
        sequence: view.sequence(),
        timestamp: view.timestamp(),
        ssrc: view.ssrc(),
    };
    let printed = [&header.print()[..], view.payload()].concat();
    let again = RtpView::parse(&printed).expect("what was read and printed is a packet");
    assert_eq!(
        (again.marker(), again.payload_type(), again.sequence()),
        (header.marker, header.payload_type, header.sequence)
    );
    assert_eq!((again.timestamp(), again.ssrc(), again.payload()), (header.timestamp, header.ssrc, view.payload()));
}

/// A compound packet.
pub(super) fn rtcp(input: &[u8]) {
    let packets = Packets::new(input);
    let _ = (packets.is_compound(), protocol(input));
    assert!(packets.clone().count() <= input.len() / 4);
    for packet in packets {
        let mut printed = Vec::new();
        match packet {
            RtcpView::SenderReport { ssrc, sender, reports } => {
                let blocks: Vec<_> = reports.iter().collect();
                print_sender_report(&mut printed, ssrc, &sender, &blocks);
            }
            RtcpView::ReceiverReport { ssrc, reports } => {
                let blocks: Vec<_> = reports.iter().collect();
                print_receiver_report(&mut printed, ssrc, &blocks);
            }
            RtcpView::Bye(bye) => {
                let _ = (bye.ssrcs().count(), bye.reason.len());
                continue;
            }
            RtcpView::SourceDescription(_) | RtcpView::Other { .. } => continue,
        }
        let again = Packets::new(&printed).next();
        assert!(again.is_some_and(|again| same_report(&again, &packet)), "{packet:?} in print");
    }
}

fn same_report(a: &RtcpView<'_>, b: &RtcpView<'_>) -> bool {
    match (a, b) {
        (
            RtcpView::SenderReport { ssrc, sender, reports },
            RtcpView::SenderReport { ssrc: other_ssrc, sender: other_sender, reports: other },
        ) => ssrc == other_ssrc && sender == other_sender && reports.iter().eq(other.iter()),
        (RtcpView::ReceiverReport { ssrc, reports }, RtcpView::ReceiverReport { ssrc: other_ssrc, reports: other }) => {
            ssrc == other_ssrc && reports.iter().eq(other.iter())
        }
        _ => false,
    }
}

/// Rows of eight bytes: a timestamp and the payload of an event.
pub(super) fn dtmf(input: &[u8]) {
    let mut detector = Detector::default();
    let (mut told, mut packets) = (0, 0);
    for row in input.chunks(8) {
        let Some((timestamp, payload)) = row.split_first_chunk::<4>() else { break };
        packets += 1;
        if let Some(event) = Event::parse(payload) {
            let (read, digit) = (Event::parse(&event.print()), event.digit());
            assert_eq!(read, Some(event));
            assert!(digit.is_none_or(|digit| Event::code_of(digit) == Some(event.code)));
        }
        told += usize::from(detector.packet(u32::from_be_bytes(*timestamp), payload).is_some());
    }
    told += usize::from(detector.finish().is_some());
    assert!(told <= packets && detector.finish().is_none(), "no digit is told twice");
}
