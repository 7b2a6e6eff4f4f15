//! Somebody takes another's place: what was last said to the one who leaves is offered to the one who comes.

use crate::sdp::{Description, Direction};

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
    let speech = |name: &str| {
        let other = ["telephone-event", "CN", "red"];
        !other.iter().any(|word| word.eq_ignore_ascii_case(name))
    };
    a.codecs()
        .filter(|codec| speech(codec.name))
        .any(|codec| b.codecs().any(|other| other.is(codec.name, codec.clock_hz)))
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
}
