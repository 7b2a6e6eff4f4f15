//! Flows of a whole exchange in virtual time. `SEED=7 make sim` replays one seed of each.

mod accounts;
mod call;
mod cancel;
mod change;
mod chaos;
mod codes;
mod corpus;
mod early;
mod fax;
mod flows;
mod identity;
mod lamps;
mod loss;
mod messages;
mod peers;
mod redirect;
mod registration;
mod replay;
mod ring;
mod servers;
mod shell;
mod snapshot;
mod timers;
mod transfer;
mod trouble;
mod watch;
