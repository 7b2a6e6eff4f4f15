//! Who may register, where they are reachable, and who watches them.
//!
//! [`Door`] says whether a request comes from whom it claims: digest with nonces that cost nothing to give out, and a
//! count of wrong passwords that stops guessers and never the owner. [`Registrar`] keeps the Contacts of users: it
//! carries out REGISTER (and takes it back where it could not be stored), forgets what expires, wishes for pings to devices behind NAT and says by which flow each device is
//! called. [`watch::Watch`] keeps subscriptions to lamps, presence, mailboxes and registrations, and says what is to be
//! told to whom.
//!
//! The crate refuses to open sockets, to read clocks, to resolve names and to send: whoever owns it stores the facts before
//! it answers 200, and sends the pings. It never sends to where a Contact claims to be unless the REGISTER came from there.
//!
//! RFCs: 3261 §10 (registration), §22 (authentication), 3327 (Path), 5626 (flows, instance and reg-id, keep-alive), 5627 (GRUU),
//! 7616 and 8760 (digest); 6665 (events), 4235 (dialog), 3856, 3863, 3903 and 4480 (presence), 3842 (message-summary),
//! 3680 (reg).
//!
//! ```
//! use registrar::{AlgorithmPolicy, NatPolicy, Outcome, Reach, Registrar, RegistrarConfig, User};
//! use sip::{HeaderName, Message, MessageBuilder, digest::Ha1};
//! use words::{AccountId, Clock, ConnectionId, Flow, Time, Transport, UserId};
//!
//! let ann = User {
//!     account: AccountId(1),
//!     id: UserId(7),
//!     extension: "101".into(),
//!     auth_user: "office-101".into(),
//!     realm: "office.example".into(),
//!     ha1: Ha1::new("office-101", "office.example", "secret"),
//!     algorithms: AlgorithmPolicy::All,
//!     display_name: "Ann".into(),
//!     enabled: true,
//!     nat: NatPolicy::Detect,
//!     srtp: words::Srtp::Optional,
//! };
//! let flow = Flow {
//!     transport: Transport::Udp,
//!     listener: 0,
//!     connection: ConnectionId::NONE,
//!     local: "192.0.2.10:5060".parse()?,
//!     remote: "198.51.100.4:40321".parse()?,
//! };
//! let request = MessageBuilder::request("REGISTER", "sip:office.example")
//!     .header(HeaderName::Via, "SIP/2.0/UDP 10.0.0.4:5060;branch=z9hG4bK1;rport")
//!     .header(HeaderName::From, "<sip:101@office.example>;tag=a")
//!     .header(HeaderName::To, "<sip:101@office.example>")
//!     .header(HeaderName::CallId, "c1")
//!     .header(HeaderName::CSeq, "2 REGISTER")
//!     .header(HeaderName::Contact, "<sip:101@10.0.0.4:5060>;expires=600")
//!     .finish();
//! let mut registrar = Registrar::new(RegistrarConfig::default(), Time::ZERO);
//! let outcome = registrar.register(&ann, &Message::parse(request)?, flow, &Clock::default(), Time::ZERO);
//! let Outcome::Accepted { headers, facts, .. } = outcome else { panic!("refused") };
//! assert_eq!(headers, [(HeaderName::Contact, "<sip:101@10.0.0.4:5060>;expires=120".to_owned())]);
//! assert_eq!(facts.len(), 1);
//! // The Contact is a private address: the device sits behind NAT and is called where it came from.
//! let device = registrar.lookup(UserId(7), Time::ZERO).next().unwrap();
//! assert_eq!((device.reach, device.nat), (Reach::Flow(flow), true));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Limits: [`words::limit::BINDINGS_PER_USER`] bindings per user (the one refreshed longest ago leaves); the rest stands in
//! [`limit`].

mod binding;
mod challenge;
mod contact;
mod directory;
mod door;
mod gruu;
#[cfg(test)]
mod kit;
pub mod limit;
mod nonce;
mod outbound;
mod recent;
mod registrar;
mod same;
mod table;
mod throttle;
mod undo;
pub mod watch;

pub use binding::{Device, Reach};
pub use challenge::{Challenger, Claim, Presented, Verdict};
pub use contact::Refusal;
pub use directory::{AlgorithmPolicy, NatPolicy, User};
pub use door::{Admission, Door, Miss};
pub use gruu::{Temporary, gr_of};
pub use outbound::{Ping, PingId, PingKind};
pub use registrar::{Outcome, Output, Registrar, RegistrarConfig};
pub use throttle::{Ban, Sender, Throttle};
pub use undo::Undo;
