//! The command line: what can be typed, and which file carries it out.

mod ask;
mod client;
mod sound;
mod table;

pub(crate) use ask::{AccountVerb, PeerVerb, PhonesVerb, RouteVerb, UserVerb};
pub(crate) use client::{ask_and_print, ask_if_running};

use crate::config::{Durability, PortRange, Tier};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use words::CallId;

/// A self-hosted telephone exchange.
#[derive(Debug, Parser)]
#[command(name = "crosspoint", version, about, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// The data folder of the server: its database and its local socket.
    #[arg(long, global = true, env = "CROSSPOINT_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Prints JSON instead of a table.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Starts the exchange.
    Run(RunArgs),
    /// Reads the configuration and says what is wrong with it.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Looks whether this machine allows what the configuration asks for; run it as the user that runs the exchange.
    Doctor {
        /// The configuration file.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Shows what the running exchange does.
    Status,
    /// Accounts: each is a world of its own.
    #[command(subcommand)]
    Account(AccountVerb),
    /// Users: an extension with its credentials.
    #[command(subcommand)]
    User(UserVerb),
    /// Static peers: other SIP servers, known by their address.
    #[command(subcommand)]
    Peer(PeerVerb),
    /// Where dialled strings lead, besides extensions.
    #[command(subcommand)]
    Route(RouteVerb),
    /// Registered devices, and sources that are shut out.
    Phones {
        #[command(subcommand)]
        verb: Option<PhonesVerb>,
        /// Of this account only.
        #[arg(long)]
        account: Option<String>,
    },
    /// The calls that are up, with how the worse direction of the worst leg of each sounds.
    Calls {
        /// Of this account only.
        #[arg(long)]
        account: Option<String>,
    },
    /// One call, up or ended, and how it sounds; `call ID hangup` ends it.
    Call {
        /// Its id.
        call: CallId,
        /// What to do with it.
        #[arg(value_enum)]
        what: Option<CallVerb>,
    },
    /// Records of ended calls, newest first.
    Cdr {
        /// Of this account only.
        #[arg(long)]
        account: Option<String>,
        /// At the most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// SIP messages as they pass.
    Trace {
        /// Only messages that contain this text.
        filter: Option<String>,
    },
    /// Takes no new calls; `drain --off` takes them again.
    Drain {
        /// Takes calls again.
        #[arg(long)]
        off: bool,
    },
}

/// What can be done with a call.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CallVerb {
    /// Ends it.
    Hangup,
}

/// `crosspoint run`
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// The configuration file.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// A ready set-up: a demo account, or the one that load tests use.
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Profile>,
    /// Bench: the SIP address, UDP and TCP.
    #[arg(long)]
    pub(crate) sip: Option<SocketAddr>,
    /// The address of /metrics and /readyz.
    #[arg(long)]
    pub(crate) http: Option<SocketAddr>,
    /// The media ports, such as 10000-20000.
    #[arg(long)]
    pub(crate) rtp: Option<PortRange>,
    /// Bench: the peer that numbers beginning with 9 go to.
    #[arg(long, default_value = "127.0.0.1:5070")]
    pub(crate) uas: SocketAddr,
    /// Bench: a load machine's network besides loopback.
    #[arg(long)]
    pub(crate) allow: Option<String>,
    /// Threads that forward audio.
    #[arg(long)]
    pub(crate) workers: Option<u16>,
    /// How audio is forwarded.
    #[arg(long, value_enum)]
    pub(crate) media: Option<Tier>,
    /// What a promise survives.
    #[arg(long, value_enum)]
    pub(crate) durability: Option<Durability>,
}

/// A ready set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// An account with two extensions, printed with their passwords.
    Demo,
    /// Loopback only, known users, no limits per source.
    Bench,
}
