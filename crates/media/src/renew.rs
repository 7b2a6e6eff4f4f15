//! Somebody takes another's place: what was last said to the one who leaves is offered to the one who comes.

use crate::command::PayloadTypes;
use crate::offer::{Local, carry_answer};
use crate::sdp::{CodecView, Description, Direction};

/// The same media with talk both ways, whatever the one who leaves had made of them: nobody holds whom he never heard.
/// `None` when there is no audio in it that could be relayed.
pub fn renew(description: &Description) -> Option<Description> {
    if !description.media().any(|media| media.is_relayable()) {
        return None;
    }
    let mut text = String::with_capacity(description.as_str().len() + 8);
    for line in description.as_str().lines() {
        let is_direction = line.strip_prefix("a=").is_some_and(|name| Direction::parse(name.trim_ascii()).is_some());
        text.push_str(if is_direction { "a=sendrecv" } else { line });
        text.push_str("\r\n");
    }
    Description::parse(text.as_bytes()).ok()
}

/// Whether two sides have a codec in common that carries speech: by name and clock, as numbers differ between dialogs.
pub fn can_talk(a: &Description, b: &Description) -> bool {
    let (Some(a), Some(b)) = (a.audio(), b.audio()) else { return false };
    // Each look at a codec searches its line: the other side's are found once, not once per codec of this one.
    let theirs: Vec<_> = b.codecs().collect();
    let both = |codec: CodecView<'_>| theirs.iter().any(|other| other.is(codec.name, codec.clock_hz));
    a.codecs().filter(is_speech).any(both)
}

/// What two offers have in common, speech among it: the same codecs under the same numbers. Nobody between rewrites
/// packets, so a number that means something else to the other side is no use.
pub fn common(a: &Description, b: &Description) -> Option<PayloadTypes> {
    let (a, b) = (a.audio()?, b.audio()?);
    let theirs: Vec<_> = b.codecs().collect();
    let same = |codec: &CodecView<'_>| {
        theirs.iter().any(|other| other.payload_type == codec.payload_type && other.is(codec.name, codec.clock_hz))
    };
    let shared: Vec<_> = a.codecs().filter(same).collect();
    shared.iter().any(is_speech).then(|| shared.iter().map(|codec| codec.payload_type).collect())
}

/// The answer to `offer` where the other side made an offer too, instead of an answer: what both have in common.
pub fn meet(offer: &Description, other: &Description, ours: &Local<'_>) -> Option<Description> {
    let common = common(offer, other)?;
    let (audio, theirs) = (offer.audio()?, other.audio()?);
    let direction = theirs.direction.and(audio.direction.reversed());
    let mut text = String::with_capacity(offer.as_str().len() + 16);
    for (letter, value) in offer.session_lines() {
        push_line(&mut text, letter, value);
    }
    for media in offer.media() {
        let is_ours = media.index == audio.index;
        let formats = media.formats().filter(|format| !is_ours || kept(format, common));
        let formats: Vec<&str> = formats.collect();
        push_line(&mut text, b'm', &format!("{} {} {} {}", media.kind, media.port, media.protocol, formats.join(" ")));
        for (letter, value) in media.lines().filter(|(letter, value)| !is_ours || stays(*letter, value, common)) {
            push_line(&mut text, letter, value);
        }
        if is_ours {
            push_line(&mut text, b'a', direction.as_str());
        }
    }
    let answer = Description::parse(text.as_bytes()).ok()?;
    Some(carry_answer(&answer, offer, ours))
}

fn is_speech(codec: &CodecView<'_>) -> bool {
    !["telephone-event", "CN", "red"].iter().any(|other| other.eq_ignore_ascii_case(codec.name))
}

fn kept(format: &str, common: PayloadTypes) -> bool {
    format.parse().is_ok_and(|number| common.contains(number))
}

/// Whether a line of an audio is about a format that is kept, or about none; directions are said anew.
fn stays(letter: u8, value: &str, common: PayloadTypes) -> bool {
    if letter != b'a' {
        return true;
    }
    let about = value.strip_prefix("rtpmap:").or_else(|| value.strip_prefix("fmtp:"));
    match about {
        Some(rest) => kept(rest.split_ascii_whitespace().next().unwrap_or_default(), common),
        None => Direction::parse(value.trim_ascii()).is_none(),
    }
}

fn push_line(text: &mut String, letter: u8, value: &str) {
    text.push(char::from(letter));
    text.push('=');
    text.push_str(value);
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn sdp(media: &str) -> Description {
        Description::parse(format!("{HEAD}{media}").as_bytes()).unwrap()
    }

    #[test]
    fn a_hold_does_not_pass_to_the_next_one() {
        let held = sdp("m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=recvonly\r\n");
        let renewed = renew(&held).unwrap();
        assert_eq!(renewed.audio().unwrap().direction, Direction::SendRecv);
        assert_eq!(renewed.as_str(), held.as_str().replace("recvonly", "sendrecv"));
        assert_eq!(renew(&sdp("m=audio 0 RTP/AVP 8\r\n")), None);
    }

    #[test]
    fn speech_counts_and_numbers_do_not() {
        let a =
            sdp("m=audio 4000 RTP/AVP 111 8 101\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n");
        let b = sdp("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n");
        let events = sdp("m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n");
        assert!(can_talk(&a, &b));
        assert!(!can_talk(&a, &events));
    }

    #[test]
    fn two_offers_meet_in_what_both_have_under_one_number() {
        let a = sdp("m=video 5000 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 8 0 96 101\r\na=rtpmap:96 opus/48000/2\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=fmtp:96 useinbandfec=1\r\n");
        let b = sdp(
            "m=audio 4002 RTP/AVP 0 96 101\r\na=rtpmap:96 iLBC/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n",
        );
        let ours = Local { session_id: 9, version: 1, address: "203.0.113.5".parse().unwrap(), ports: &[10_000] };
        let answer = meet(&a, &b, &ours).unwrap();
        let lines: Vec<_> = answer.as_str().lines().filter(|line| line.starts_with("m=")).collect();
        assert_eq!(lines, ["m=video 0 RTP/AVP 96", "m=audio 10000 RTP/AVP 0 101"]);
        assert!(answer.as_str().ends_with("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendonly\r\n"));
        let back = meet(&b, &a, &ours).unwrap();
        assert!(back.as_str().contains("m=audio 10000 RTP/AVP 0 101\r\n") && back.as_str().ends_with("a=recvonly\r\n"));
        let events = sdp("m=audio 4000 RTP/AVP 18 101\r\na=rtpmap:101 telephone-event/8000\r\n");
        assert_eq!(meet(&a, &events, &ours), None);
    }
}
