//! What strangers, liars and broken phones send, by the rules and bug classes in `tests/security/table.toml`.

mod contacts;
mod dialogs;
mod digest;
mod door;
mod floods;
mod identity;
mod octets;
mod strangers;
mod talks;

use sip::digest::{Account, Challenge};
use sip::{Dialog, HeaderName, Message, Method};
use std::fmt::Write as _;
use std::net::SocketAddr;
use tests::sim::{Heard, PhoneId, World};

/// Where somebody sits whom nobody knows.
pub(crate) fn stranger() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 66], 5060))
}

/// A message written by hand.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) source: SocketAddr,
    pub(crate) branch: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) call_id: String,
    pub(crate) cseq: String,
    pub(crate) forwards: u8,
    /// Further header lines, each with its line end.
    pub(crate) more: String,
    pub(crate) body: String,
}

impl Letter {
    /// From 101 to 102 of the office. `n` tells it from the others of a test.
    pub(crate) fn new(method: &str, source: SocketAddr, n: u32) -> Letter {
        Letter {
            method: method.to_owned(),
            uri: "sip:102@office.example".to_owned(),
            source,
            branch: format!("z9hG4bK{method}{n}x{}", source.port()),
            from: "<sip:101@office.example>;tag=hand".to_owned(),
            to: "<sip:102@office.example>".to_owned(),
            call_id: format!("{method}-{n}@hand"),
            cseq: "1".to_owned(),
            forwards: 70,
            more: String::new(),
            body: String::new(),
        }
    }

    /// A REGISTER of 101 for a Contact.
    pub(crate) fn register(source: SocketAddr, contact: &str, n: u32) -> Letter {
        let (uri, to) = ("sip:office.example".to_owned(), "<sip:101@office.example>".to_owned());
        Letter { uri, to, ..Letter::new("REGISTER", source, n) }.with("Contact", contact)
    }

    /// The next request of a phone's dialog, by its ids, from wherever.
    pub(crate) fn inside(world: &World, phone: PhoneId, method: Method, source: SocketAddr) -> Letter {
        Letter::of_dialog(world.line(phone).dialog().expect("there is a dialog").clone(), method, source)
    }

    pub(crate) fn of_dialog(mut dialog: Dialog, method: Method, source: SocketAddr) -> Letter {
        let request = Message::parse(with_via(dialog.request(method))).expect("we can read what we write");
        let header = |name| request.header(name).expect("each request has it").to_owned();
        let cseq = request.cseq().map_or(0, |cseq| cseq.number).to_string();
        let letter = Letter {
            uri: request.request_uri().to_owned(),
            from: header(HeaderName::From),
            to: header(HeaderName::To),
            call_id: header(HeaderName::CallId),
            branch: format!("z9hG4bKinside{}{cseq}x{}", method.as_str(), source.port()),
            cseq,
            ..Letter::new(method.as_str(), source, 0)
        };
        letter.with("Contact", &format!("<sip:102@{source}>"))
    }

    /// A header line more.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Letter {
        let _ = write!(self.more, "{name}: {value}\r\n");
        self
    }

    #[must_use]
    pub(crate) fn describing(mut self, at: &str) -> Letter {
        self.body = description(at);
        self.with("Content-Type", "application/sdp")
    }

    /// The same request again, answering what it was asked.
    #[must_use]
    pub(crate) fn proving(&self, asked: &Heard, user: &str) -> Letter {
        let asked = asked.header(HeaderName::WwwAuthenticate).expect("strangers are asked who they are");
        let password = format!("secret of {user}");
        let account = Account { user, password: &password };
        let challenge = Challenge::parse(asked).expect("a challenge of ours can be read");
        let credentials = challenge.answer(&account, &self.method, &self.uri, 1, "c0ffee");
        let mut letter = self.clone().with("Authorization", &credentials);
        letter.branch.push('p');
        letter.cseq = (letter.cseq.parse::<u32>().expect("a number") + 1).to_string();
        letter
    }

    pub(crate) fn text(&self) -> String {
        let Letter { method, uri, source, branch, from, to, call_id, cseq, forwards, more, body } = self;
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch={branch}\r\nMax-Forwards: {forwards}\r\nFrom: {from}\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// Sends it; the answers, those that are not final too.
    pub(crate) fn send(&self, world: &mut World) -> Vec<Heard> {
        world.send_by_hand(self.source, &self.text())
    }

    /// Sends it, and gives the status of the one final answer.
    pub(crate) fn status(&self, world: &mut World) -> u16 {
        final_status(&self.send(world))
    }
}

fn with_via(builder: sip::MessageBuilder) -> bytes::Bytes {
    builder.header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bK1").finish()
}

/// The answer that asks for credentials: what was refused before may be repeated beside it.
pub(crate) fn asking(answers: &[Heard]) -> &Heard {
    let asks = |heard: &&Heard| heard.header(HeaderName::WwwAuthenticate).is_some();
    answers.iter().rev().find(asks).expect("strangers are asked who they are")
}

/// The status of the last answer; 0 where none came.
pub(crate) fn final_status(answers: &[Heard]) -> u16 {
    answers.iter().rev().map(|answer| answer.status).find(|status| *status >= 200).unwrap_or(0)
}

/// A description of audio at an address.
pub(crate) fn description(at: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {at}\r\ns=-\r\nc=IN IP4 {at}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
    )
}

/// Requests that end up in nothing but an answer: how many messages the exchange sent to a phone since.
pub(crate) fn lines(world: &World, phone: PhoneId) -> usize {
    world.at_phone(phone).lines.len()
}
