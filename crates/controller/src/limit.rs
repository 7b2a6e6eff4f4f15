//! The limits of the database and of the commit loop.

use std::time::Duration;

/// Events that wait for a commit. At the limit [`crate::CommitLoop::append`] refuses.
pub const QUEUED_EVENTS: usize = 65_536;

/// Batches of events that wait for a commit; a loop of the exchange hands over one per turn.
pub const QUEUED_BATCHES: usize = 16_384;

/// The most events in one commit; more wait for the next.
pub const EVENTS_PER_COMMIT: usize = 8_192;

/// The shortest time from the beginning of one commit to the beginning of the next: facts gather meanwhile.
pub const GATHER: Duration = Duration::from_millis(10);

/// How long a failing store rests before it is tried again.
pub const RETRY: Duration = Duration::from_millis(500);

/// Facts of calls that a failing store leaves in memory. Units: bytes. Past that the queue fills.
pub const UNSTORED_BYTES: usize = 64 << 20;

/// Disk space kept for facts of running calls while the disk is full. Units: bytes.
pub const RESERVE_BYTES: u64 = 8 << 20;

/// How often the tables of registrations and open calls are brought up to the journal.
pub const FOLD_EVERY: Duration = Duration::from_secs(15);

/// Rows that one commit moves from the journal to the tables, so that no commit is long.
pub const FOLD_ROWS: usize = 64;

/// How often a server with open calls says that it is alive: the end of an interrupted call is known to this.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// Commits after which the write-ahead log is copied back to the database.
pub const CHECKPOINT_COMMITS: u64 = 256;

/// Pages in the write-ahead log at which the commit loop itself ends a checkpoint, so that the log starts anew.
pub const WAL_PAGES: u32 = 4_096;

/// Rows of one answer, whatever was asked for.
pub const ROWS: usize = 10_000;

/// The longest name of an account, peer or person, user name, pattern and host. Units: bytes.
pub const NAME_BYTES: usize = 128;

/// Routes of one account.
pub const ROUTES_PER_ACCOUNT: usize = 1_000;

/// Peers of one account.
pub const PEERS_PER_ACCOUNT: usize = 1_000;

/// Extensions in one ring list.
pub const RING_LIST: usize = words::limit::FORK_WIDTH;

/// The shortest password that is taken from outside. Units: characters.
pub const PASSWORD_CHARS: usize = 8;
