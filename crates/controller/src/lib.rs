//! The database of the exchange: accounts and their people, and the one stream of facts on disk.
//!
//! What it is: [`Store`] opens the data folder and changes its rows; [`Directory`] answers the core's questions from a
//! connection of its own; [`CommitLoop`] gathers facts, commits many at once and says what is stored, so that a promise
//! leaves only after the fact behind it is on disk. A commit is one append to the journal, a file whose space is taken
//! beforehand, so it goes on when the disk is full; a second thread folds the journal into SQLite, where records are
//! read: whoever asks for them waits until they hold all that was stored. At the start, what the journal still has is
//! folded, calls that a crash cut off are closed once as interrupted, and the live registrations are handed back.
//!
//! What it refuses: to keep a password (only the three HA1 values of RFC 7616 §3.4.2 and RFC 8760 are stored), to answer
//! about one account from another's rows (every query carries the account), to read a clock or draw entropy (both are
//! handed in), and to share a data folder between two servers.
//!
//! ```
//! use controller::{Durability, NewAccount, NewPassword, NewUser, Store};
//! use words::{Chance, Seed, Wall};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let store = Store::open(dir.path(), Durability::Process).unwrap();
//! let now = Wall(1_700_000_000_000);
//! let account = store.create_account(&NewAccount::named("acme", "acme.example"), now).unwrap();
//! let mut chance = Chance::new(Seed::from_number(1));
//! let made = store.add_user(NewUser::new(account.id, "101", NewPassword::Generated(&mut chance)), now).unwrap();
//! assert_eq!((made.user.auth_user.as_str(), made.password.reveal().len()), ("101", 20));
//! assert!(store.directory().unwrap().user(account.id, "101").unwrap().is_some());
//! ```
//!
//! Limits: [`limit`]. A data folder has `crosspoint.db` (with its `-wal` and `-shm`), `journal` and `lock`.

mod account;
mod calls;
mod commit;
mod directory;
mod error;
pub mod limit;
mod password;
mod peer;
mod profile;
mod recovery;
mod route;
mod store;
mod user;

pub use account::{AccountRecord, AccountSettings, NewAccount};
pub use calls::{CallRecord, CdrFilter, CdrRow};
pub use commit::{CommitLoop, CommitStats, Outcome, QueueFull};
pub use directory::Directory;
pub use error::{AdminError, StoreError};
pub use peer::{NewPeer, PeerRecord};
pub use profile::BenchProfile;
pub use recovery::{LiveBinding, LiveSubscription, Recovered};
pub use route::{Pattern, RouteRecord, RouteTarget, Service, Strategy};
pub use store::{Durability, Store};
pub use user::{AlgorithmPolicy, Credentials, NewPassword, NewUser, UserRecord};
