//! `orch-tui` as it is: the real program in a real pseudo-terminal, against the real service on a real socket.
//!
//! Waits are for what the screen shows, and bounded. Nothing is left behind: the program is ended with its terminal.

#![expect(clippy::unwrap_used, reason = "in a test whatever is not there is a failure")]

mod fake;
mod samples;
mod stories;
mod terminal;
