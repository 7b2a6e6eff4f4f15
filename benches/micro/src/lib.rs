//! What the micro benches measure, as functions, so that a test can count allocations of the same work.
//!
//! `cargo bench -p benches-micro --features bench` prints times; `cargo test -p benches-micro` counts allocations.

pub mod exchange;

use bytes::Bytes;
use sip::{HeaderName, Message, MessageBuilder, Uri};

/// An INVITE as a desk phone sends it: 1.2 KB, 18 header lines, SDP.
pub fn invite() -> Bytes {
    Bytes::from_static(INVITE.as_bytes())
}

/// Reads what a B2BUA reads of each INVITE: Via and branch, From, To, Contact, CSeq, Call-ID, Max-Forwards,
/// Request-URI. The sum keeps the optimiser from leaving anything out.
///
/// # Panics
/// When the message lacks any of these.
pub fn typed_access(message: &Message) -> usize {
    let via = message.via().expect("the message has one");
    let from = message.from().expect("the message has one");
    let to = message.to().expect("the message has one");
    let contact = message.contact().expect("it can be read").expect("the message has one");
    let cseq = message.cseq().expect("the message has one");
    let call_id = message.call_id().expect("the message has one");
    let hops = message.max_forwards().expect("it can be read").unwrap_or(70);
    let uri = Uri::parse(message.request_uri()).expect("it can be read");
    via.host.len()
        + usize::from(via.port.unwrap_or(5060))
        + via.branch().map_or(0, str::len)
        + via.rport().map_or(0, |_| 1)
        + from.tag().map_or(0, str::len)
        + from.display.len()
        + to.tag().map_or(0, str::len)
        + to.uri.len()
        + contact.uri.len()
        + cseq.number as usize
        + call_id.len()
        + usize::from(hops)
        + uri.user.len()
        + uri.host.len()
}

/// Builds the INVITE of the other leg.
pub fn b_leg(message: &Message) -> Bytes {
    MessageBuilder::request("INVITE", "sip:1002@192.0.2.77:5060;line=8f3a")
        .header(HeaderName::From, "\"Ann Example\" <sip:1001@example.com>;tag=5a8f03c2e19b4d76")
        .header(HeaderName::To, "<sip:1002@example.com>")
        .header(HeaderName::CallId, "c7b1f0a2937d4be5@192.0.2.1")
        .header_fmt(HeaderName::CSeq, format_args!("{} INVITE", 1))
        .header_number(HeaderName::MaxForwards, 69)
        .header(HeaderName::Contact, "<sip:192.0.2.1:5060>")
        .copy(message, HeaderName::Allow)
        .copy(message, HeaderName::Supported)
        .copy(message, HeaderName::UserAgent)
        .finish_with_via(
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK01c7b1f0a2937d4be5;rport",
            Some(("application/sdp", message.body())),
        )
}

const INVITE: &str = concat!(
    "INVITE sip:1002@example.com;user=phone SIP/2.0\r\n",
    "Via: SIP/2.0/UDP 192.0.2.55:5060;branch=z9hG4bK1892374982374;rport\r\n",
    "From: \"Ann Example\" <sip:1001@example.com>;tag=3498723984\r\n",
    "To: \"Bob Example\" <sip:1002@example.com>\r\n",
    "Call-ID: 0_3948572034@192.0.2.55\r\n",
    "CSeq: 2 INVITE\r\n",
    "Contact: <sip:1001@192.0.2.55:5060;transport=udp>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-805ec0ffee00>\"\r\n",
    "Max-Forwards: 70\r\n",
    "User-Agent: Yealink SIP-T46S 66.86.0.15\r\n",
    "Allow: INVITE, INFO, PRACK, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REGISTER, SUBSCRIBE, REFER, PUBLISH, UPDATE, MESSAGE\r\n",
    "Supported: replaces, timer, path, outbound\r\n",
    "Session-Expires: 1800;refresher=uac\r\n",
    "Min-SE: 90\r\n",
    "Allow-Events: talk,hold,conference,refer,check-sync\r\n",
    "P-Preferred-Identity: <sip:1001@example.com>\r\n",
    "P-Early-Media: supported\r\n",
    "Privacy: none\r\n",
    "Content-Type: application/sdp\r\n",
    "Content-Length: 380\r\n",
    "\r\n",
    "v=0\r\n",
    "o=- 20518 20518 IN IP4 192.0.2.55\r\n",
    "s=SDP data\r\n",
    "c=IN IP4 192.0.2.55\r\n",
    "t=0 0\r\n",
    "m=audio 11796 RTP/AVP 9 8 0 18 101\r\n",
    "a=rtpmap:9 G722/8000\r\n",
    "a=rtpmap:8 PCMA/8000\r\n",
    "a=rtpmap:0 PCMU/8000\r\n",
    "a=rtpmap:18 G729/8000\r\n",
    "a=fmtp:18 annexb=no\r\n",
    "a=rtpmap:101 telephone-event/8000\r\n",
    "a=fmtp:101 0-15\r\n",
    "a=ptime:20\r\n",
    "a=sendrecv\r\n",
    "a=rtcp:11797\r\n",
    "a=rtcp-xr:voip-metrics\r\n",
    "a=ssrc:2938475123 cname:ann@192.0.2.55\r\n",
);
