//! The limits of the database and of the commit loop.

use crate::store::journal::{SEGMENT_BYTES, SEGMENTS};
use std::time::Duration;

/// Events that wait for a commit. At the limit [`crate::CommitLoop::append`] refuses.
pub const QUEUED_EVENTS: usize = 65_536;

/// Batches of events that wait for a commit; a loop of the exchange hands over one per turn.
pub const QUEUED_BATCHES: usize = 16_384;

/// The most that one commit writes. Units: bytes, give or take one event.
pub const COMMIT_BYTES: usize = 1 << 20;

/// The shortest rest between two commits where a crash of the process is what must be survived: facts gather meanwhile,
/// and a crash loses no more than these, none of which anybody was told. A lone fact does not wait.
pub const GATHER: Duration = Duration::from_millis(10);

/// The same where a power cut must be survived: a commit with its sync costs 100 to 200 µs of CPU, and nobody hears that a
/// 200 to BYE or REGISTER comes 50 ms later: a tenth of the time after which the request would be repeated (T1).
pub const GATHER_SYNCED: Duration = Duration::from_millis(50);

/// How long a failing store rests before it is tried again.
pub const RETRY: Duration = Duration::from_millis(500);

/// The journal: facts that are not in the database yet. Units: bytes. Past three quarters of it registrations are
/// refused; the rest takes the facts of calls that are up, also when the disk is full.
pub const JOURNAL_BYTES: u64 = SEGMENTS * SEGMENT_BYTES;

/// Facts of calls that wait in memory while not even the journal takes them. Units: bytes. Past that the queue fills.
pub const UNWRITTEN_BYTES: usize = 16 << 20;

/// How long records gather before they go from the journal to the database, unless somebody asks for them.
pub const FOLD: Duration = Duration::from_millis(500);

/// How long a question waits for the newest records before it is answered without them.
pub const FOLD_ASKED: Duration = Duration::from_secs(2);

/// How often a server with open calls says that it is alive: the end of an interrupted call is known to this.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

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
