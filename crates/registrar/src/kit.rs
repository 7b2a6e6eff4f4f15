//! Devices for tests: users, the REGISTERs they send and the answers they give to a challenge.

use crate::{AlgorithmPolicy, NatPolicy, User};
use sip::digest::{Account, Challenge, Ha1};
use sip::{HeaderName, Message, MessageBuilder};
use std::net::SocketAddr;
use words::{AccountId, ConnectionId, Flow, Time, Transport, UserId};

pub(crate) const REALM: &str = "office.example";
pub(crate) const URI: &str = "sip:office.example";

pub(crate) fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1_000)
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A user whose name is its number and whose password is `secret<number>`.
pub(crate) fn user(number: u32) -> User {
    let name = number.to_string();
    User {
        account: AccountId(1),
        id: UserId(number),
        extension: name.clone(),
        ha1: Ha1::new(&name, REALM, &format!("secret{number}")),
        auth_user: name,
        realm: REALM.into(),
        algorithms: AlgorithmPolicy::All,
        display_name: String::new(),
        enabled: true,
        nat: NatPolicy::Detect,
        srtp: words::Srtp::default(),
    }
}

pub(crate) fn udp(remote: &str) -> Flow {
    Flow {
        transport: Transport::Udp,
        listener: 0,
        connection: ConnectionId::NONE,
        local: address("192.0.2.10:5060"),
        remote: address(remote),
    }
}

pub(crate) fn stream(transport: Transport, slot: u32, remote: &str) -> Flow {
    let connection = ConnectionId { slot, generation: 1 };
    Flow { transport, connection, ..udp(remote) }
}

/// A REGISTER in the making.
#[derive(Clone)]
pub(crate) struct Register {
    contacts: Vec<String>,
    call_id: String,
    cseq: u32,
    headers: Vec<(String, String)>,
}

impl Register {
    pub(crate) fn new(contacts: &[&str]) -> Self {
        Register {
            contacts: contacts.iter().map(|&contact| contact.to_owned()).collect(),
            call_id: "call-1".into(),
            cseq: 1,
            headers: Vec::new(),
        }
    }

    pub(crate) fn cseq(mut self, cseq: u32) -> Self {
        self.cseq = cseq;
        self
    }

    pub(crate) fn call_id(mut self, call_id: &str) -> Self {
        self.call_id = call_id.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn build(&self) -> Message {
        let mut builder = MessageBuilder::request("REGISTER", URI)
            .header(HeaderName::Via, "SIP/2.0/UDP 10.0.0.4:5060;branch=z9hG4bK1;rport")
            .header(HeaderName::From, "<sip:101@office.example>;tag=a")
            .header(HeaderName::To, "<sip:101@office.example>")
            .header(HeaderName::CallId, &self.call_id)
            .header(HeaderName::CSeq, &format!("{} REGISTER", self.cseq));
        for contact in &self.contacts {
            builder = builder.header(HeaderName::Contact, contact);
        }
        for (name, value) in &self.headers {
            builder = builder.raw(name, value);
        }
        Message::parse(builder.finish()).unwrap()
    }

    /// With the answer to a challenge.
    pub(crate) fn answering(&self, challenge: &str, name: &str, password: &str, count: u32) -> Message {
        self.clone().header("Authorization", &answer(challenge, name, password, count)).build()
    }
}

/// The answer to a challenge.
pub(crate) fn answer(challenge: &str, name: &str, password: &str, count: u32) -> String {
    let challenge = Challenge::parse(challenge).unwrap();
    challenge.answer(&Account { user: name, password }, "REGISTER", URI, count, "0a4f113b")
}

// What the tests take from their host stands apart: nothing else here may.
pub(crate) use host::golden;

#[cfg(test)]
mod host {
    use std::fmt::{Debug, Write};

    /// Compares a machine's table with its graph on file; `UPDATE_GOLDEN=1` rewrites that.
    pub(crate) fn golden<R, S: Debug + PartialEq, E: Debug + PartialEq, F: Debug>(
        name: &str,
        title: &str,
        table: &[R],
        row: impl Fn(&R) -> (S, E, S, F),
    ) {
        let mut text = format!("{title}\n\n");
        for (n, line) in table.iter().enumerate() {
            let (from, event, to, effect) = row(line);
            let again = table[..n].iter().map(&row).any(|other| other.0 == from && other.1 == event);
            assert!(!again, "two rows for {event:?} in {from:?}");
            writeln!(text, "{from:?} --{event:?}--> {to:?}\n    {effect:?}").unwrap();
        }
        let path = format!("{}/../../tests/golden/graphs/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == text, "{path} differs from the table; UPDATE_GOLDEN=1 rewrites it:\n{text}");
    }
}
