//! Flows of a whole exchange in virtual time. `SEED=7 make sim` replays one seed of each.

mod accounts;
mod call;
mod cancel;
mod change;
mod chaos;
mod codes;
mod corpus;
mod devices;
mod dialects;
mod early;
mod fax;
mod flows;
mod hostile;
mod ice;
mod identity;
mod lamps;
mod loss;
mod messages;
mod model;
mod peers;
mod pickup;
mod ports;
mod quality;
mod redirect;
mod registration;
mod replay;
mod ring;
mod secure;
mod servers;
mod services;
mod shell;
mod snapshot;
mod soak;
mod timers;
mod torture;
mod transfer;
mod transports;
mod trouble;
mod watch;

/// Counts what is in use, for [`soak`].
#[global_allocator]
static HEAP: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);
