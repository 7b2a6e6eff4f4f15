//! The program from outside: SIPp and baresip as people use them, the command line, kill -9. Each test runs a program of its own on
//! free ports of loopback.

mod baresip;
mod cli;
mod crash;
mod sipp;
mod watch;
