//! Limits that more than one room keeps. Each room names its own beside the queue or map it bounds.

use std::time::Duration;

/// The largest SIP message taken in. Units: bytes. Offsets inside a message are 16 bits wide.
pub const MESSAGE_BYTES: usize = 65_535;

/// The most header lines in one message.
pub const HEADER_LINES: usize = 256;

/// The most legs that one call rings at a time.
pub const FORK_WIDTH: usize = 32;

/// The most bindings of one user.
pub const BINDINGS_PER_USER: usize = 10;

/// How long a call may last unless the configuration says otherwise.
pub const CALL: Duration = Duration::from_hours(12);

/// What a slow reader of a stream may leave unread before its connection ends. Units: bytes.
pub const STREAM_BACKLOG_BYTES: usize = 256 * 1024;

/// How long the core waits for what it asked the directory before it answers 503.
pub const NEED: Duration = Duration::from_secs(2);
