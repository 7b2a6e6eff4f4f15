//! The program from outside: SIPp, baresip and PJSIP as people use them (`skips.toml` has what is not tried), the command line, kill -9. Each test runs a program of its own on
//! free ports of loopback.

mod baresip;
mod cli;
mod codes;
mod crash;
mod in_call;
mod media;
mod names;
mod phones;
mod pjsua2;
mod sipp;
mod streams;
mod transports;
mod verbs;
mod watch;
