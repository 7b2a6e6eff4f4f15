//! The simulator: a whole [`switch::Switch`] in virtual time, scripted phones around it, and a network with a seed
//! between them.
//!
//! A [`World`] plays everything that the program's shell does: it carries messages (and loses, delays, doubles and
//! reorders them), answers what the exchange asks the directory, stores its facts after a while, and plays the relay.
//! After each input the exchange must hold together; what it says is held to laws as it says it ([`Store`], [`Relay`]);
//! and [`World::finish`] checks that nothing is left of any call. Everything random comes from one seed, and all that
//! happens is written into a [`Transcript`], so that the same seed gives the same bytes again.
//!
//! ```
//! use std::time::Duration;
//! use tests::sim::{Do, World};
//!
//! let mut world = World::new(7);
//! let (ann, bob) = (world.phone("101"), world.phone("102"));
//! world.register(&[ann, bob]);
//! world.tell(ann, Do::call("102"));
//! assert!(world.until(Duration::from_secs(5), |world| world.rings(bob)));
//! world.tell(bob, Do::Answer);
//! assert!(world.until(Duration::from_secs(5), |world| world.talk(ann, bob)));
//! assert_eq!(world.finish().len(), 1);
//! ```
//!
//! Limits: a world is made for tens of phones; media is not sent as packets, the relay's double knows where it would go.

mod directory;
mod dns;
mod laws;
mod line;
mod net;
mod phone;
mod relay;
mod script;
mod seed;
mod session;
mod store;
mod transcript;
mod world;

pub use directory::{Directory, Mood};
pub use dns::Dns;
pub use line::{Ending, Line, LineState};
pub use net::{Nat, Network, Weather};
pub use phone::{Identity, Messages, Phone, Publication, Registration, TimedSession, Watching};
pub use relay::{Relay, SINGLE_PORT};
pub use script::{Do, Habits, Parts, Rel, Timers};
pub use seed::{Replay, for_seeds, seeds};
pub use session::{Keying, Session};
pub use store::Store;
pub use transcript::{Transcript, fnv};
pub use world::{AccountKey, Heard, NatKey, PhoneId, Site, World};
