//! What the tests share: the program as a process, SIPp and baresip beside it, tones in WAV files.
//!
//! Everything here ends what it started, by its process id, when it goes out of scope.

pub mod baresip;
pub mod fuzz;
pub mod program;
pub mod sim;
pub mod sipp;
pub mod tone;
