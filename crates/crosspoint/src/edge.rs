//! The edge: what of the bytes that come in is SIP, and what is answered before the exchange sees it.

use bytes::Bytes;
use net::stream::{Framed, Frames};
use sip::framing::{Datagram, Frame, Framer, classify_datagram};
use words::Flow;

/// Cuts streams into SIP messages for `net`, which knows none.
#[derive(Debug, Default)]
pub(crate) struct SipFrames(Framer);

impl Frames for SipFrames {
    fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    fn next(&mut self) -> Result<Option<Framed>, String> {
        let frame = self.0.next().map_err(|error| error.to_string())?;
        Ok(frame.map(|frame| match frame {
            Frame::Message(bytes) => Framed::Message(bytes),
            Frame::KeepAlive => Framed::Reply(b"\r\n"),
            Frame::Pong => Framed::Ignore,
            Frame::Stun(bytes) => Framed::Stun(bytes),
        }))
    }

    fn is_partial(&self) -> bool {
        !self.0.is_idle()
    }
}

/// What becomes of a datagram.
pub(crate) enum Fate {
    /// The exchange takes it.
    Sip(Bytes),
    /// This goes back at once.
    Answer(Vec<u8>),
    /// A keep-alive: it did its work in the routers on its way.
    KeepAlive,
    /// Its sender has been heard often enough; the exchange has counted it.
    Unheard,
    /// Nothing that we know.
    Garbage,
    /// It comes from where nobody may speak.
    Foreign,
}

/// Sorts a datagram where it lies: only what the exchange takes is worth a copy. Keep-alives of every make are welcome:
/// CRLF, zero bytes, nothing at all, STUN (RFC 5626 §8). `hears` is asked about what would cause work or an answer.
pub(crate) fn sort(bytes: &[u8], flow: &Flow, mut hears: impl FnMut(&Flow) -> bool) -> Fate {
    match classify_datagram(bytes) {
        Datagram::Sip if hears(flow) => Fate::Sip(Bytes::copy_from_slice(bytes)),
        Datagram::Stun if hears(flow) => answer_stun(bytes, flow).map_or(Fate::Garbage, Fate::Answer),
        Datagram::Sip | Datagram::Stun => Fate::Unheard,
        Datagram::KeepAlive => Fate::KeepAlive,
        Datagram::Garbage => Fate::Garbage,
    }
}

/// A binding response that tells a device its address (RFC 8489), when `bytes` is a binding request.
pub(crate) fn answer_stun(bytes: &[u8], flow: &Flow) -> Option<Vec<u8>> {
    media::stun::answer(bytes, flow.remote)
}
