//! Frames of a WebSocket: wherever a network cuts them, the same messages come out.

use net::ws::read_frames;
use words::limit::MESSAGE_BYTES;

/// The first byte says where to cut, the rest is what comes after the handshake.
pub(super) fn websocket(input: &[u8]) {
    let Some((&cut, stream)) = input.split_first() else { return };
    let whole = read_frames(stream, stream.len().max(1));
    let bytes: usize = whole.messages.iter().map(bytes::Bytes::len).sum();
    assert!(bytes <= stream.len(), "more comes out than went in");
    assert!(whole.messages.iter().all(|message| message.len() <= MESSAGE_BYTES));
    // A pong is as long as its ping, and a client's frame has four bytes more than ours.
    assert!(whole.answered <= stream.len() + CLOSE_BYTES, "{} bytes of answers to {}", whole.answered, stream.len());
    for piece in [1, usize::from(cut).max(1)] {
        let pieces = read_frames(stream, piece);
        assert_eq!(pieces.messages, whole.messages, "cut every {piece} bytes");
    }
}

/// The longest frame that says goodbye: its head, a code and a reason. Units: bytes.
const CLOSE_BYTES: usize = 2 + 125;
