//! Where phones are and what they say about themselves.

use super::kit::E;
use crate::{DialTarget, Invite, Trust};
use sip::{Message, ServerTxn, Target};
use std::net::SocketAddr;
use std::time::Duration;
use words::{AccountId, ConnectionId, Flow, Party, Srtp, Transport, UserId};

pub(crate) fn exchange_address() -> SocketAddr {
    "10.0.0.1:5060".parse().unwrap()
}

pub(crate) fn phone_address(n: usize) -> SocketAddr {
    format!("10.0.1.{}:5060", n + 1).parse().unwrap()
}

/// A call of the caller's, as it comes in.
pub(crate) fn invite(txn: ServerTxn, message: Message, flow: Flow, silence: Option<Duration>) -> Invite {
    let from = Party { number: "1000".into(), name: "Anna".into(), user: Some(UserId(1)), ..Party::default() };
    let (account, trust, srtp) = (AccountId(1), Trust::default(), Srtp::default());
    Invite { txn, message, flow, back: None, account, from, trust, srtp, silence, typed_transfer: None }
}

/// The flow between the exchange and a phone, as the exchange sees it.
pub(crate) fn flow(phone: usize) -> Flow {
    let stream = phone >= E;
    Flow {
        transport: if stream { Transport::Tcp } else { Transport::Udp },
        listener: 0,
        connection: if stream { ConnectionId { slot: phone as u32, generation: 1 } } else { ConnectionId::NONE },
        local: exchange_address(),
        remote: phone_address(phone),
    }
}

pub(crate) fn to_exchange(phone: usize) -> Flow {
    turned(flow(phone))
}

pub(crate) fn turned(flow: Flow) -> Flow {
    Flow { local: flow.remote, remote: flow.local, ..flow }
}

pub(crate) fn contact(phone: usize) -> String {
    format!("<sip:u{phone}@{}>", phone_address(phone))
}

pub(crate) fn target(phone: usize, order: u32) -> DialTarget {
    DialTarget {
        to: Party {
            number: format!("100{phone}").as_str().into(),
            name: "".into(),
            user: Some(UserId(9)),
            ..Party::default()
        },
        request_uri: format!("sip:u{phone}@{}", phone_address(phone)),
        target: Target::Flow(flow(phone)),
        route: Vec::new(),
        to_uri: format!("sip:100{phone}@office.example"),
        order,
        nat: false,
        ice: false,
        diverted: None,
        trust: Trust::default(),
        servers: None,
        instead: None,
        srtp: Srtp::default(),
    }
}

/// What a phone says about its media.
pub(crate) fn sdp(phone: usize) -> String {
    sdp_with(phone, "sendrecv")
}

pub(crate) fn sdp_with(phone: usize, direction: &str) -> String {
    let ip = phone_address(phone).ip();
    format!(
        "v=0\r\no=- 7{phone} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 4000{phone} RTP/AVP 0 8 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
    )
}

/// The body of a message as text.
pub(crate) fn body(message: &Message) -> &str {
    std::str::from_utf8(message.body()).unwrap()
}
