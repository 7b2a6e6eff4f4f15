//! Streams: wherever a network cuts them, the same frames come out.

use sip::{Datagram, Frame, Framer, FramingError, Message, classify_datagram};
use words::limit::MESSAGE_BYTES;

/// The first byte says where to cut, the rest is the stream.
pub(super) fn framing(input: &[u8]) {
    let Some((&cut, stream)) = input.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    for piece in [1, usize::from(cut).max(1), 1_000] {
        assert_eq!(merged(&frames(stream, piece)), merged(&whole), "cut every {piece} bytes");
    }
    let (found, _) = &whole;
    let bytes: usize = found.iter().map(size).sum();
    assert!(bytes <= stream.len(), "more comes out than went in");
    for frame in found {
        match frame {
            Frame::Message(message) => {
                assert!(message.len() <= MESSAGE_BYTES);
                let _ = Message::parse(message.clone());
            }
            Frame::Stun(stun) => assert_eq!(classify_datagram(stun), Datagram::Stun),
            Frame::KeepAlive | Frame::Pong | Frame::Zeros => {}
        }
    }
    let _ = classify_datagram(stream);
}

type Cut = (Vec<Frame>, Option<FramingError>);

fn frames(stream: &[u8], piece: usize) -> Cut {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    for bytes in stream.chunks(piece) {
        framer.push(bytes);
        loop {
            match framer.next() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert!(framer.is_idle() && framer.next() == Err(error), "an error stays");
                    return (found, Some(error));
                }
            }
        }
    }
    (found, None)
}

/// How many line ends or zeros come at once decides how many frames they are: only what lies between them must agree.
fn merged((frames, error): &Cut) -> (Vec<&Frame>, Option<FramingError>) {
    (frames.iter().filter(|frame| size(frame) > 0).collect(), *error)
}

fn size(frame: &Frame) -> usize {
    match frame {
        Frame::Message(bytes) | Frame::Stun(bytes) => bytes.len(),
        Frame::KeepAlive | Frame::Pong | Frame::Zeros => 0,
    }
}
