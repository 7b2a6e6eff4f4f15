//! The description in a message's body.

use crate::call::SDP;
use crate::event::Refusal;
use media::sdes;
use media::sdp::Description;
use sip::advertise::ACCEPT_IN_CALLS;
use sip::{BodyError, HeaderName, Message};
use words::Srtp;

/// Reads the description in a message's body, which may be one of several parts (RFC 5621): what of it may be taken from
/// whoever has this rule for SRTP.
pub(crate) fn read_body(message: &Message, srtp: Srtp) -> Result<Option<Description>, Refusal> {
    if message.body().is_empty() {
        return Ok(None);
    }
    if message.header(HeaderName::ContentEncoding).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        // RFC 3261 §8.2.3, §20.12.
        let header = Some((HeaderName::AcceptEncoding, "identity".into()));
        return Err(Refusal {
            status: 415,
            reason: "Unsupported Media Type: Accept-Encoding names what is read",
            header,
        });
    }
    let bad = |reason| Refusal::new(400, reason);
    let body = message.body_of(SDP).map_err(|error| match error {
        BodyError::Malformed => bad("Bad Multipart Body"),
        BodyError::Unsupported => {
            let header = Some((HeaderName::Accept, ACCEPT_IN_CALLS.into()));
            Refusal { status: 415, reason: "Unsupported Media Type: a part that must be understood", header }
        }
    })?;
    let Some(body) = body else { return Ok(None) };
    let said = Description::parse(body).map_err(|_| bad("Bad Session Description"))?;
    if srtp != Srtp::Required && !sdes::concerns(&said) {
        return Ok(Some(said));
    }
    let wants_any = |said: &Description| said.media().any(|media| media.port != 0);
    let wanted = wants_any(&said);
    let admitted = sdes::admit(said, srtp);
    if !wanted || wants_any(&admitted) { Ok(Some(admitted)) } else { Err(Refusal::of_transport()) }
}
